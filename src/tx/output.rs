//! The channel's output: its two leaves, its key, and the payee's own script.

use bitcoin::opcodes::all::{OP_CHECKSIG, OP_CHECKSIGVERIFY, OP_CSV};
use bitcoin::script::Builder;
use bitcoin::secp256k1::{Parity, Scalar, XOnlyPublicKey};
use bitcoin::taproot::{LeafVersion, TapLeafHash, TapNodeHash, TapTweakHash};
use bitcoin::{ScriptBuf, WitnessProgram, WitnessVersion};

use alloc::vec::Vec;

use super::TxError;
use super::delay::Delay;
use crate::keys::{Context, KeyError, payee_key, tagged_hash};

/// BIP341's point whose discrete logarithm nobody knows: H = `lift_x` of this.
const UNSPENDABLE: [u8; 32] = [
    0x50, 0x92, 0x9b, 0x74, 0xc1, 0xa0, 0x49, 0x54, 0xb7, 0x8b, 0x4b, 0x60, 0x35, 0xe9, 0x7a, 0x5e,
    0x07, 0x8a, 0x5a, 0x0f, 0x28, 0xec, 0x96, 0xd5, 0x47, 0xbf, 0xee, 0x9a, 0xce, 0x80, 0x3a, 0xc0,
];
/// The tag that shifts H, so that the internal key commits to the channel's parameters.
const INTERNAL_TAG: &[u8] = b"millstream/stream/internal";
/// The on-chain format that this crate writes and reads.
const FORMAT_VERSION: u8 = 1;

/// Everything that both sides compute from the two keys and the delay: P2TR with two leaves.
///
/// ```text
/// internal key = H + r G, r = tagged hash("millstream/stream/internal", 1 || payer || payee || D)
///   settle leaf: <payer> OP_CHECKSIGVERIFY <payee> OP_CHECKSIG
///   refund leaf: <payer> OP_CHECKSIGVERIFY <D> OP_CHECKSEQUENCEVERIFY
/// ```
/// Keys are x-only, D in the tag is two bytes little-endian, both leaves have version 0xc0 and
/// depth 1, numbers in scripts are pushed minimally (1-16 as OP_1-OP_16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FundingOutput {
    payer: XOnlyPublicKey,
    payee: XOnlyPublicKey,
    delay: Delay,
    internal: XOnlyPublicKey,
    parity: Parity,
    settle_leaf: TapLeafHash,
    refund_leaf: TapLeafHash,
    script: ScriptBuf,
}

impl FundingOutput {
    /// The output of a channel between `payer` and the payee who published `base`.
    ///
    /// # Errors
    /// [`TxError::Key`] if a key and its tweak cancel out, which nobody can provoke.
    pub fn new(
        context: &Context,
        payer: XOnlyPublicKey,
        base: XOnlyPublicKey,
        delay: Delay,
    ) -> Result<Self, TxError> {
        let payee = payee_key(context, base, payer)?;
        let internal = internal_key(context, payer, payee, delay)?;
        let settle_leaf =
            TapLeafHash::from_script(&settle_script(payer, payee), LeafVersion::TapScript);
        let refund_leaf =
            TapLeafHash::from_script(&refund_script(payer, delay), LeafVersion::TapScript);
        let (script, parity) = two_leaves(context, internal, settle_leaf, refund_leaf)?;
        Ok(Self { payer, payee, delay, internal, parity, settle_leaf, refund_leaf, script })
    }

    /// The payer's key in both leaves.
    pub const fn payer(&self) -> XOnlyPublicKey {
        self.payer
    }

    /// The payee's key of this channel (its base key, tweaked).
    pub const fn payee(&self) -> XOnlyPublicKey {
        self.payee
    }

    /// The refund's relative lock.
    pub const fn delay(&self) -> Delay {
        self.delay
    }

    /// The output's script, 34 bytes: what is funded and watched.
    pub const fn script(&self) -> &ScriptBuf {
        &self.script
    }

    /// The internal key, whose secret nobody knows.
    pub const fn internal_key(&self) -> XOnlyPublicKey {
        self.internal
    }

    /// The leaf hash of the settle leaf (BIP341), which voucher signatures commit to.
    pub const fn settle_leaf_hash(&self) -> TapLeafHash {
        self.settle_leaf
    }

    /// The leaf hash of the refund leaf (BIP341).
    pub const fn refund_leaf_hash(&self) -> TapLeafHash {
        self.refund_leaf
    }

    /// The settle leaf's script.
    #[must_use]
    pub fn settle_script(&self) -> ScriptBuf {
        settle_script(self.payer, self.payee)
    }

    /// The refund leaf's script.
    #[must_use]
    pub fn refund_script(&self) -> ScriptBuf {
        refund_script(self.payer, self.delay)
    }

    /// The settle leaf's control block, 65 bytes.
    #[must_use]
    pub fn settle_control(&self) -> Vec<u8> {
        control_block(self.parity, self.internal, self.refund_leaf)
    }

    /// The refund leaf's control block, 65 bytes.
    #[must_use]
    pub fn refund_control(&self) -> Vec<u8> {
        control_block(self.parity, self.internal, self.settle_leaf)
    }
}

/// The script of a P2TR output with two leaves at depth 1, and the parity of its key.
pub(super) fn two_leaves(
    context: &Context,
    internal: XOnlyPublicKey,
    one: TapLeafHash,
    other: TapLeafHash,
) -> Result<(ScriptBuf, Parity), TxError> {
    let root = TapNodeHash::from_node_hashes(one.into(), other.into());
    let tweak = TapTweakHash::from_key_and_tweak(internal, Some(root)).to_scalar();
    let (key, parity) =
        internal.add_tweak(context.secp(), &tweak).map_err(|_| KeyError::Cancelled)?;
    Ok((p2tr(key), parity))
}

/// The control block of the leaf beside `sibling`, 65 bytes.
pub(super) fn control_block(
    parity: Parity,
    internal: XOnlyPublicKey,
    sibling: TapLeafHash,
) -> Vec<u8> {
    let mut block = Vec::with_capacity(65);
    block.push(LeafVersion::TapScript.to_consensus() | parity.to_u8());
    block.extend_from_slice(&internal.serialize());
    block.extend_from_slice(sibling.as_ref());
    block
}

/// The payee's default output: P2TR of its channel key without a script tree (BIP341, key only).
///
/// # Errors
/// [`TxError::Key`] if the key and its tweak cancel out, which nobody can provoke.
pub fn payee_script(context: &Context, payee: XOnlyPublicKey) -> Result<ScriptBuf, TxError> {
    let tweak = TapTweakHash::from_key_and_tweak(payee, None).to_scalar();
    let (key, _) = payee.add_tweak(context.secp(), &tweak).map_err(|_| KeyError::Cancelled)?;
    Ok(p2tr(key))
}

fn internal_key(
    context: &Context,
    payer: XOnlyPublicKey,
    payee: XOnlyPublicKey,
    delay: Delay,
) -> Result<XOnlyPublicKey, TxError> {
    let shift = tagged_hash(
        INTERNAL_TAG,
        &[&[FORMAT_VERSION], &payer.serialize(), &payee.serialize(), &delay.to_u16().to_le_bytes()],
    );
    let shift = Scalar::from_be_bytes(shift).map_err(|_| KeyError::Cancelled)?;
    let point = XOnlyPublicKey::from_slice(&UNSPENDABLE).map_err(|_| KeyError::NotAPoint)?;
    Ok(point.add_tweak(context.secp(), &shift).map_err(|_| KeyError::Cancelled)?.0)
}

fn settle_script(payer: XOnlyPublicKey, payee: XOnlyPublicKey) -> ScriptBuf {
    Builder::new()
        .push_x_only_key(&payer)
        .push_opcode(OP_CHECKSIGVERIFY)
        .push_x_only_key(&payee)
        .push_opcode(OP_CHECKSIG)
        .into_script()
}

fn refund_script(payer: XOnlyPublicKey, delay: Delay) -> ScriptBuf {
    Builder::new()
        .push_x_only_key(&payer)
        .push_opcode(OP_CHECKSIGVERIFY)
        .push_int(i64::from(delay.to_u16()))
        .push_opcode(OP_CSV)
        .into_script()
}

/// P2TR of an output key that is tweaked already.
fn p2tr(output_key: XOnlyPublicKey) -> ScriptBuf {
    // 32 bytes with version 1 are a witness program by definition.
    WitnessProgram::new(WitnessVersion::V1, &output_key.serialize())
        .map(|program| ScriptBuf::new_witness_program(&program))
        .unwrap_or_default()
}
