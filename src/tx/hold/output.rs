//! A hold's output: hash and preimage, the two leaves.

use alloc::vec::Vec;
use core::fmt;

use bitcoin::ScriptBuf;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::opcodes::all::{
    OP_CHECKSIG, OP_CHECKSIGVERIFY, OP_CLTV, OP_CSV, OP_DROP, OP_EQUALVERIFY, OP_SHA256, OP_SIZE,
};
use bitcoin::script::Builder;
use bitcoin::secp256k1::Parity;
use bitcoin::taproot::{LeafVersion, TapLeafHash};

use super::super::delay::ClaimDelay;
use super::super::output::{control_block, two_leaves};
use super::super::{FundingOutput, TxError};
use crate::keys::Context;
use crate::units::Height;

/// SHA-256 of a preimage: the lock of a conditional payment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentHash([u8; 32]);

impl PaymentHash {
    /// The hash with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PaymentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PaymentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What unlocks a conditional payment: 32 bytes, and the proof that it was paid.
///
/// A secret of the payee until it is revealed, and everybody's after it. `Debug` shows the hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Preimage([u8; 32]);

impl Preimage {
    /// The preimage with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A preimage as it stands in a witness.
    ///
    /// # Errors
    /// [`TxError::PreimageLength`] for any other length than 32 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, TxError> {
        let wrong = TxError::PreimageLength { bytes: bytes.len() };
        Ok(Self(<[u8; 32]>::try_from(bytes).map_err(|_| wrong)?))
    }

    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> PaymentHash {
        PaymentHash(sha256::Hash::hash(&self.0).to_byte_array())
    }

    /// The bytes, for encoding.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks that it unlocks `hash`.
    ///
    /// # Errors
    /// [`TxError::WrongPreimage`].
    pub fn check(&self, hash: PaymentHash) -> Result<(), TxError> {
        if self.hash() == hash { Ok(()) } else { Err(TxError::WrongPreimage { want: hash }) }
    }
}

impl fmt::Debug for Preimage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Preimage(of {})", self.hash())
    }
}

/// The scripts of one hold's output; hash, expiry and delay decide them, not the amount.
///
/// ```text
/// internal key: the channel's
///   claim leaf:   OP_SIZE 32 OP_EQUALVERIFY OP_SHA256 <h> OP_EQUALVERIFY
///                 <payee> OP_CHECKSIGVERIFY <k> OP_CHECKSEQUENCEVERIFY
///   timeout leaf: <t> OP_CHECKLOCKTIMEVERIFY OP_DROP <payer> OP_CHECKSIG
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldOutput {
    channel: FundingOutput,
    hash: PaymentHash,
    expiry: Height,
    delay: ClaimDelay,
    parity: Parity,
    claim_leaf: TapLeafHash,
    timeout_leaf: TapLeafHash,
    script: ScriptBuf,
}

impl HoldOutput {
    /// The output of a hold of the channel with the output `channel`. One point multiplication.
    ///
    /// # Errors
    /// [`TxError::Key`] if the key and its tweak cancel out, which nobody can provoke.
    pub fn new(
        context: &Context,
        channel: &FundingOutput,
        hash: PaymentHash,
        expiry: Height,
        delay: ClaimDelay,
    ) -> Result<Self, TxError> {
        let leaf = |script: &ScriptBuf| TapLeafHash::from_script(script, LeafVersion::TapScript);
        let claim_leaf = leaf(&claim_script(channel, hash, delay));
        let timeout_leaf = leaf(&timeout_script(channel, expiry));
        let (script, parity) =
            two_leaves(context, channel.internal_key(), claim_leaf, timeout_leaf)?;
        let channel = channel.clone();
        Ok(Self { channel, hash, expiry, delay, parity, claim_leaf, timeout_leaf, script })
    }

    /// The channel's output, whose keys and internal key this one has.
    #[must_use]
    pub const fn channel(&self) -> &FundingOutput {
        &self.channel
    }

    /// The hash whose preimage the payee needs.
    #[must_use]
    pub const fn hash(&self) -> PaymentHash {
        self.hash
    }

    /// The height t, after which the payer takes the amount back.
    #[must_use]
    pub const fn expiry(&self) -> Height {
        self.expiry
    }

    /// The claim's relative lock k.
    #[must_use]
    pub const fn delay(&self) -> ClaimDelay {
        self.delay
    }

    /// The output's script, 34 bytes.
    #[must_use]
    pub const fn script(&self) -> &ScriptBuf {
        &self.script
    }

    /// The leaf hash of the claim leaf (BIP341).
    #[must_use]
    pub const fn claim_leaf_hash(&self) -> TapLeafHash {
        self.claim_leaf
    }

    /// The leaf hash of the timeout leaf (BIP341).
    #[must_use]
    pub const fn timeout_leaf_hash(&self) -> TapLeafHash {
        self.timeout_leaf
    }

    /// The claim leaf's script.
    #[must_use]
    pub fn claim_script(&self) -> ScriptBuf {
        claim_script(&self.channel, self.hash, self.delay)
    }

    /// The timeout leaf's script.
    #[must_use]
    pub fn timeout_script(&self) -> ScriptBuf {
        timeout_script(&self.channel, self.expiry)
    }

    /// The claim leaf's control block, 65 bytes.
    #[must_use]
    pub fn claim_control(&self) -> Vec<u8> {
        control_block(self.parity, self.channel.internal_key(), self.timeout_leaf)
    }

    /// The timeout leaf's control block, 65 bytes.
    #[must_use]
    pub fn timeout_control(&self) -> Vec<u8> {
        control_block(self.parity, self.channel.internal_key(), self.claim_leaf)
    }
}

fn claim_script(channel: &FundingOutput, hash: PaymentHash, delay: ClaimDelay) -> ScriptBuf {
    Builder::new()
        .push_opcode(OP_SIZE)
        .push_int(32)
        .push_opcode(OP_EQUALVERIFY)
        .push_opcode(OP_SHA256)
        .push_slice(hash.as_bytes())
        .push_opcode(OP_EQUALVERIFY)
        .push_x_only_key(&channel.payee())
        .push_opcode(OP_CHECKSIGVERIFY)
        .push_int(i64::from(delay.to_u16()))
        .push_opcode(OP_CSV)
        .into_script()
}

fn timeout_script(channel: &FundingOutput, expiry: Height) -> ScriptBuf {
    Builder::new()
        .push_int(i64::from(expiry.to_u32()))
        .push_opcode(OP_CLTV)
        .push_opcode(OP_DROP)
        .push_x_only_key(&channel.payer())
        .push_opcode(OP_CHECKSIG)
        .into_script()
}
