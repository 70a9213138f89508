//! Vouchers: the payer's cumulative signature, and the digest that it signs.

use core::cmp::Ordering;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::{Message, schnorr};
use bitcoin::sighash::TapSighash;
use bitcoin::{OutPoint, Script, ScriptBuf, Sequence, TxOut};

use super::TxError;
use super::change::{ChangeScript, dust_limit};
use super::output::FundingOutput;
use crate::keys::{ChannelKey, Context, Entropy};
use crate::units::{Msat, Sat};

/// TRUC (BIP431): else the payer could pin the settlement with descendants of its change.
const TEMPLATE_VERSION: u32 = 3;
/// Switches BIP68 off, so that the low bits of the sequence can carry the sub-satoshi part.
const SEQUENCE_FLAG: u32 = 1 << 31;
/// The length of a P2TR script.
const P2TR_LEN: u8 = 34;
/// BIP341: an input without annex, spent by a script path (extension flag 1).
const SPEND_TYPE_SCRIPT: u8 = 2;
/// BIP342: the only key version there is.
const KEY_VERSION: u8 = 0;
/// BIP342: no `OP_CODESEPARATOR` was executed.
const NO_CODE_SEPARATOR: u32 = u32::MAX;

/// What a voucher's signature says of the outputs of its settlement: BIP341's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoucherKind {
    /// SINGLE and ANYONECANPAY: the change is output i for input i, all else is the payee's choice.
    Single,
    /// NONE and ANYONECANPAY, the last voucher of the whole capacity: every output is the payee's.
    None,
    /// ALL and ANYONECANPAY, while a hold is open: every output is fixed, inputs may be added.
    All,
}

impl VoucherKind {
    /// BIP341's type byte, the 65th of the signature in a witness.
    #[must_use]
    pub const fn sighash_byte(self) -> u8 {
        match self {
            Self::All => 0x81,
            Self::None => 0x82,
            Self::Single => 0x83,
        }
    }

    /// A voucher's signature as it stands in the witness: 64 bytes and the type.
    #[must_use]
    pub fn witness_signature(self, signature: &schnorr::Signature) -> [u8; 65] {
        let mut bytes = [0; 65];
        let (front, kind) = bytes.split_at_mut(64);
        front.copy_from_slice(&signature.serialize());
        kind.fill(self.sighash_byte());
        bytes
    }

    /// The signature in a witness: exactly 64 bytes and this type's byte.
    ///
    /// # Errors
    /// [`TxError::SignatureForm`] for any other length or byte.
    pub fn parse_signature(self, bytes: &[u8]) -> Result<schnorr::Signature, TxError> {
        let (implied, kind) = (self.sighash_byte(), bytes.get(64).copied());
        let wrong = TxError::SignatureForm { bytes: bytes.len(), kind, implied };
        if bytes.len() != 65 || kind != Some(implied) {
            return Err(wrong);
        }
        let (front, _) = bytes.split_at_checked(64).ok_or(wrong)?;
        schnorr::Signature::from_slice(front).map_err(|_| wrong)
    }
}

/// One funded channel: all that a voucher's signature depends on but the amount.
///
/// The channel's identity is the outpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    outpoint: OutPoint,
    capacity: Sat,
    output: FundingOutput,
    change: ChangeScript,
}

/// A cumulative payment: `paid` millisatoshis since the channel opened, signed by the payer.
///
/// A newer voucher replaces an older one. What it says is what [`Channel::digest`] hashes; the
/// signature is BIP340's, without a type byte (the amount implies it: [`Channel::kind`]). A voucher
/// with open holds is a [`Held`](super::hold::Held) template with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voucher {
    /// The cumulative amount, 0 ..= capacity x 1000.
    pub paid: Msat,
    /// The payer's signature of the settle leaf.
    pub signature: schnorr::Signature,
}

/// Proof that a voucher's signature fits one channel: only [`Channel::verify`] makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct VoucherChecked {
    voucher: Voucher,
    kind: VoucherKind,
    outpoint: OutPoint,
    /// What the signature fits: it stands for outpoint, capacity, scripts, change and amount.
    digest: [u8; 32],
}

impl VoucherChecked {
    /// The voucher that was checked.
    pub const fn voucher(&self) -> Voucher {
        self.voucher
    }

    /// Which type its signature has: SINGLE, or NONE for the last voucher.
    pub const fn kind(&self) -> VoucherKind {
        self.kind
    }

    /// The channel that it was checked against.
    pub const fn outpoint(&self) -> OutPoint {
        self.outpoint
    }

    /// Checks that it was made against this very channel, without the curve: the digest that the
    /// signature fits commits to outpoint, capacity, change, and through the leaf to the keys.
    ///
    /// # Errors
    /// [`TxError::OtherChannel`] if the voucher was checked against another outpoint;
    /// [`TxError::BadSignature`] and those of [`Channel::digest`] if it was the same outpoint with
    /// another capacity, script or change.
    pub fn check_fits(&self, channel: &Channel) -> Result<(), TxError> {
        let (want, got) = (channel.outpoint(), self.outpoint);
        if want != got {
            return Err(TxError::OtherChannel { want, got });
        }
        let paid = self.voucher.paid;
        if channel.digest(paid)? == self.digest {
            Ok(())
        } else {
            Err(TxError::BadSignature { paid })
        }
    }
}

impl Channel {
    /// A channel of `capacity` at `outpoint`.
    ///
    /// The caller has seen on the chain that the output exists with this value and
    /// `output.script()`. A wallet's script that is the channel's own counts as that.
    ///
    /// # Errors
    /// [`TxError::CapacityBelowDust`] if the output is too small to be relayed.
    pub fn new(
        outpoint: OutPoint,
        capacity: Sat,
        output: FundingOutput,
        change: ChangeScript,
    ) -> Result<Self, TxError> {
        let dust = dust_limit(output.script());
        if capacity < dust {
            return Err(TxError::CapacityBelowDust { capacity, dust });
        }
        // The own script given as a wallet's is still a rollover, and must be seen as one.
        let change = match change {
            ChangeScript::Wallet(script) if script.as_script() == output.script().as_script() => {
                ChangeScript::Own
            }
            change => change,
        };
        Ok(Self { outpoint, capacity, output, change })
    }

    /// The funding outpoint.
    pub const fn outpoint(&self) -> OutPoint {
        self.outpoint
    }

    /// The value of the funding output.
    pub const fn capacity(&self) -> Sat {
        self.capacity
    }

    /// The funding output's scripts and keys.
    pub const fn output(&self) -> &FundingOutput {
        &self.output
    }

    /// Where the change goes.
    pub const fn change(&self) -> &ChangeScript {
        &self.change
    }

    /// The change script itself.
    pub fn change_script(&self) -> &Script {
        match &self.change {
            ChangeScript::Own => self.output.script(),
            ChangeScript::Wallet(script) => script.as_script(),
        }
    }

    /// The channel's output as a transaction output, as sighashes of other inputs need it.
    #[must_use]
    pub fn to_txout(&self) -> TxOut {
        TxOut {
            value: bitcoin::Amount::from_sat(self.capacity.to_sat()),
            script_pubkey: self.output.script().clone(),
        }
    }

    /// The sequence of every settle-leaf spend at `paid`: bit 31 and the sub-satoshi part.
    #[must_use]
    pub fn sequence(paid: Msat) -> Sequence {
        Sequence(SEQUENCE_FLAG | u32::from(paid.sub_sat()))
    }

    /// The kind of a voucher of `paid` without holds: the last one, of the full capacity, signs no
    /// output.
    ///
    /// # Errors
    /// [`TxError::AboveCapacity`].
    pub fn kind(&self, paid: Msat) -> Result<VoucherKind, TxError> {
        let limit = self.capacity.to_msat();
        match paid.cmp(&limit) {
            Ordering::Less => Ok(VoucherKind::Single),
            Ordering::Equal => Ok(VoucherKind::None),
            Ordering::Greater => Err(TxError::AboveCapacity { paid, limit }),
        }
    }

    /// The change output at `paid`, or `None` at the full capacity (the last voucher).
    ///
    /// # Errors
    /// [`TxError::AboveCapacity`]; [`TxError::ChangeBelowDust`] if the change would be dust and
    /// `paid` is not the full capacity.
    pub fn change_output(&self, paid: Msat) -> Result<Option<TxOut>, TxError> {
        match self.kind(paid)? {
            VoucherKind::Single => {}
            VoucherKind::None | VoucherKind::All => return Ok(None),
        }
        let change = self.capacity.saturating_sub(paid.floor_to_sat());
        let dust = dust_limit(self.change_script());
        if change < dust {
            return Err(TxError::ChangeBelowDust { change, dust });
        }
        Ok(Some(TxOut {
            value: bitcoin::Amount::from_sat(change.to_sat()),
            script_pubkey: ScriptBuf::from(self.change_script()),
        }))
    }

    /// The largest `paid` below the full capacity that a voucher can state.
    #[must_use]
    pub fn largest_with_change(&self) -> Msat {
        let dust = dust_limit(self.change_script());
        // Below the next satoshi, the change is still `dust`.
        let sub_satoshi = Msat::new(999).unwrap_or(Msat::ZERO);
        match self.capacity.checked_sub(dust) {
            Some(most) => most.to_msat().saturating_add(sub_satoshi),
            None => Msat::ZERO,
        }
    }

    /// The 32 bytes that a voucher of `paid` signs: the tagged hash `TapSighash` of BIP341's
    /// signature message with BIP342's extension, of the template (version 3, lock time 0, this
    /// input, the change as output 0).
    ///
    /// | bytes | field |
    /// | --- | --- |
    /// | 1 | epoch 0 |
    /// | 1 | type: 0x83, or 0x82 at the full capacity |
    /// | 4 + 4 | version 3, lock time 0, little-endian as all numbers here |
    /// | 1 | spend type 2 |
    /// | 32 + 4 | outpoint: txid as hashed (not reversed for display), output number |
    /// | 8 + 35 + 4 | capacity, funding script after its length, sequence |
    /// | 32 | SHA-256 of the change output: value 8, script after its length; absent at capacity |
    /// | 32 + 1 + 4 | settle leaf's hash, key version 0, code separator 0xffffffff |
    ///
    /// # Errors
    /// As [`Self::change_output`].
    pub fn digest(&self, paid: Msat) -> Result<[u8; 32], TxError> {
        let kind = self.kind(paid)?;
        let outputs = match self.change_output(paid)? {
            Some(change) => Some(hash_outputs(core::slice::from_ref(&change))?),
            None => None,
        };
        Ok(self.digest_of(kind, paid, outputs))
    }

    /// The digest of a voucher of `kind`, whose signed outputs have this hash.
    pub(super) fn digest_of(
        &self,
        kind: VoucherKind,
        paid: Msat,
        outputs: Option<sha256::Hash>,
    ) -> [u8; 32] {
        // ALL signs the outputs before the input (BIP341's `sha_outputs`), SINGLE its one after it.
        let (before, after) = match kind {
            VoucherKind::All => (outputs, None),
            VoucherKind::Single | VoucherKind::None => (None, outputs),
        };
        let mut engine = TapSighash::engine();
        engine.input(&[0, kind.sighash_byte()]);
        engine.input(&TEMPLATE_VERSION.to_le_bytes());
        engine.input(&0_u32.to_le_bytes());
        if let Some(hash) = before {
            engine.input(hash.as_byte_array());
        }
        engine.input(&[SPEND_TYPE_SCRIPT]);
        engine.input(self.outpoint.txid.as_byte_array());
        engine.input(&self.outpoint.vout.to_le_bytes());
        engine.input(&self.capacity.to_sat().to_le_bytes());
        engine.input(&[P2TR_LEN]);
        engine.input(self.output.script().as_bytes());
        engine.input(&Self::sequence(paid).to_consensus_u32().to_le_bytes());
        if let Some(hash) = after {
            engine.input(hash.as_byte_array());
        }
        engine.input(self.output.settle_leaf_hash().as_byte_array());
        engine.input(&[KEY_VERSION]);
        engine.input(&NO_CODE_SEPARATOR.to_le_bytes());
        TapSighash::from_engine(engine).to_byte_array()
    }

    /// Signs a voucher of `paid` with the payer's key.
    ///
    /// The machines never call this themselves: `signer` does, after its policy said yes.
    ///
    /// # Errors
    /// As [`Self::change_output`]; [`TxError::WrongKey`] if `key` is not this channel's payer's.
    pub fn sign(
        &self,
        context: &Context,
        key: &ChannelKey,
        paid: Msat,
        aux: &Entropy,
    ) -> Result<Voucher, TxError> {
        if key.public() != self.output.payer() {
            return Err(TxError::WrongKey { want: self.output.payer() });
        }
        let digest = self.digest(paid)?;
        Ok(Voucher { paid, signature: key.sign(context, digest, aux) })
    }

    /// Checks a voucher against exactly this channel's template. One verification.
    ///
    /// # Errors
    /// As [`Self::change_output`]; [`TxError::BadSignature`] if the payer did not sign this.
    pub fn verify(&self, context: &Context, voucher: Voucher) -> Result<VoucherChecked, TxError> {
        let (kind, digest) = (self.kind(voucher.paid)?, self.digest(voucher.paid)?);
        context
            .secp()
            .verify_schnorr(&voucher.signature, &Message::from_digest(digest), &self.output.payer())
            .map_err(|_| TxError::BadSignature { paid: voucher.paid })?;
        Ok(VoucherChecked { voucher, kind, outpoint: self.outpoint, digest })
    }

    /// A voucher whose signature comes as it stands in the witness, from a chain or from another
    /// program: 64 bytes and the type byte that `paid` implies. [`Self::verify`] comes after it.
    ///
    /// # Errors
    /// As [`Self::change_output`]; [`TxError::SignatureForm`] for any other length or type byte.
    pub fn parse_witness(&self, paid: Msat, signature: &[u8]) -> Result<Voucher, TxError> {
        // A change below dust has no voucher, whatever the signature looks like.
        self.change_output(paid)?;
        let signature = self.kind(paid)?.parse_signature(signature)?;
        Ok(Voucher { paid, signature })
    }
}

/// SHA-256 of transaction outputs as consensus serialises them (BIP341: `sha_outputs`, and of one
/// output `sha_single_output`).
pub(super) fn hash_outputs(outputs: &[TxOut]) -> Result<sha256::Hash, TxError> {
    let mut engine = sha256::Hash::engine();
    for output in outputs {
        let script = output.script_pubkey.as_bytes();
        // All of them are witness programs of at most 34 bytes, so one byte holds the length.
        let length = u8::try_from(script.len())
            .map_err(|_| TxError::NonStandardChange { bytes: script.len() })?;
        engine.input(&output.value.to_sat().to_le_bytes());
        engine.input(&[length]);
        engine.input(script);
    }
    Ok(sha256::Hash::from_engine(engine))
}
