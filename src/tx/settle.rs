//! Settlement: the payee puts its best vouchers on the chain, one channel or many at once.

use alloc::vec::Vec;

use bitcoin::secp256k1::{XOnlyPublicKey, schnorr};
use bitcoin::transaction::Version;
use bitcoin::{ScriptBuf, Transaction, TxOut, Witness};

use super::change::{ChangeScript, dust_limit};
use super::draft::{Draft, FeeInput, TRUC_VBYTES, draft_views, output};
use super::voucher::{Channel, VoucherChecked, VoucherKind};
use super::{TxError, settle_witness};
use crate::units::FeeRate;

/// One channel's part in a settlement: the channel and the best voucher that it accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    channel: Channel,
    voucher: VoucherChecked,
}

impl Settled {
    /// Pairs a channel with a voucher that was checked against it.
    ///
    /// # Errors
    /// Those of [`VoucherChecked::check_fits`].
    pub fn new(channel: Channel, voucher: VoucherChecked) -> Result<Self, TxError> {
        voucher.check_fits(&channel)?;
        Ok(Self { channel, voucher })
    }

    /// The channel.
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The voucher.
    pub const fn voucher(&self) -> &VoucherChecked {
        &self.voucher
    }

    fn has_change(&self) -> bool {
        match self.voucher.kind() {
            VoucherKind::Single => true,
            // ALL settles alone, as a transaction of its own kind.
            VoucherKind::None | VoucherKind::All => false,
        }
    }
}

/// A settlement before the payee's signatures.
///
/// | inputs | outputs |
/// | --- | --- |
/// | SINGLE vouchers, in the order given | input i's change is output i |
/// | NONE vouchers (fully spent channels) | then the payee's outputs |
/// | fee inputs | |
///
/// Version 3, lock time 0. The payee signs each channel's input with `SIGHASH_DEFAULT`, so that
/// nobody can change anything afterwards; anybody may broadcast it. To replace it by a better fee,
/// build it again from the same parts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Settlement {
    draft: Draft,
    parts: Vec<Settled>,
}

draft_views!(Settlement);

impl Settlement {
    /// A settlement whose only payee output, to `payee`, is everything that is not change or fee.
    ///
    /// `rate` is met exactly, rounded up to the satoshi.
    ///
    /// # Errors
    /// As [`Self::with_outputs`]; [`TxError::NotWorthIt`] if the payee's output would be dust or
    /// the fee exceeds what comes in.
    pub fn at_rate(
        parts: Vec<Settled>,
        fee_inputs: &[FeeInput],
        payee: ScriptBuf,
        rate: FeeRate,
    ) -> Result<Self, TxError> {
        let dust = dust_limit(&payee);
        let mut settlement = Self::assemble(parts, fee_inputs, Vec::from([output(dust, payee)]))?;
        let draft = &mut settlement.draft;
        let fee = draft.fee_at(rate)?;
        // The placeholder output counts `dust`; what is really left replaces it.
        let left = draft.total_in()?.saturating_sub(draft.total_out()?.saturating_sub(dust));
        let value = left.checked_sub(fee).filter(|value| *value >= dust);
        let value = value.ok_or(TxError::NotWorthIt { left, fee, dust })?;
        if let Some(last) = draft.tx.output.last_mut() {
            last.value = bitcoin::Amount::from_sat(value.to_sat());
        }
        Ok(settlement)
    }

    /// A settlement with the payee's outputs given; what they leave is the fee.
    ///
    /// # Errors
    /// [`TxError::NoParts`], [`TxError::SpentTwice`], [`TxError::OutputsAboveInputs`],
    /// [`TxError::NoOutputs`], [`TxError::OutputBelowDust`]; [`TxError::TooLarge`] above 10,000 vB
    /// (TRUC).
    pub fn with_outputs(
        parts: Vec<Settled>,
        fee_inputs: &[FeeInput],
        payee_outputs: Vec<TxOut>,
    ) -> Result<Self, TxError> {
        let settlement = Self::assemble(parts, fee_inputs, payee_outputs)?;
        settlement.draft.check_dust()?;
        settlement.draft.fee()?;
        Ok(settlement)
    }

    fn assemble(
        parts: Vec<Settled>,
        fee_inputs: &[FeeInput],
        payee_outputs: Vec<TxOut>,
    ) -> Result<Self, TxError> {
        if parts.is_empty() {
            return Err(TxError::NoParts);
        }
        let (mut parts, full): (Vec<_>, Vec<_>) = parts.into_iter().partition(Settled::has_change);
        parts.extend(full);
        let mut draft = Draft::new(Version(3));
        for part in &parts {
            let paid = part.voucher.voucher().paid;
            let channel = &part.channel;
            draft.push_input(
                channel.outpoint(),
                Channel::sequence(paid),
                Self::witness(part, [0; 64]),
                channel.to_txout(),
            );
            draft.tx.output.extend(channel.change_output(paid)?);
        }
        draft.push_fee_inputs(fee_inputs);
        draft.tx.output.extend(payee_outputs);
        if draft.tx.output.is_empty() {
            return Err(TxError::NoOutputs);
        }
        draft.check_inputs_differ()?;
        draft.check_vbytes(TRUC_VBYTES)?;
        Ok(Self { draft, parts })
    }

    /// The channels in the order of their inputs.
    pub fn parts(&self) -> &[Settled] {
        &self.parts
    }

    /// The channel that goes on after this settlement, if input `index` is a rollover: a SINGLE
    /// voucher whose change is the channel's own script.
    ///
    /// Its outpoint is output `index` of this transaction (whose txid no signature changes), its
    /// delay counts from this transaction's confirmation. The sub-satoshi part of the old `paid` is
    /// its first debt: the payer's first voucher there states at least that.
    ///
    /// # Errors
    /// [`TxError::NoSuchInput`] if that is no channel's input.
    pub fn rollover(&self, index: usize) -> Result<Option<Channel>, TxError> {
        let inputs = self.parts.len();
        let part = self.parts.get(index).ok_or(TxError::NoSuchInput { index, inputs })?;
        if *part.channel.change() != ChangeScript::Own || !part.has_change() {
            return Ok(None);
        }
        self.draft.continued(index, part.channel.output().clone(), ChangeScript::Own).map(Some)
    }

    /// The payee key of the channel of input `index`.
    pub fn payee(&self, index: usize) -> Option<XOnlyPublicKey> {
        self.parts.get(index).map(|part| part.channel.output().payee())
    }

    /// What the payee signs for input `index` (BIP341/342, `SIGHASH_DEFAULT`, settle leaf).
    ///
    /// # Errors
    /// [`TxError::NoSuchInput`] if that is no channel's input.
    pub fn digest(&self, index: usize) -> Result<[u8; 32], TxError> {
        let inputs = self.parts.len();
        let part = self.parts.get(index).ok_or(TxError::NoSuchInput { index, inputs })?;
        self.draft.digest(index, part.channel.output().settle_leaf_hash())
    }

    /// Puts in the payee's signatures, one a channel in the order of [`Self::parts`], and the
    /// witnesses of the fee inputs.
    ///
    /// # Errors
    /// [`TxError::WitnessCount`] if a list is too short or too long.
    pub fn finish(
        mut self,
        payee_signatures: &[schnorr::Signature],
        fee_witnesses: Vec<Witness>,
    ) -> Result<Transaction, TxError> {
        let want = self.parts.len();
        if payee_signatures.len() != want {
            return Err(TxError::WitnessCount { want, got: payee_signatures.len() });
        }
        for (index, (part, signature)) in self.parts.iter().zip(payee_signatures).enumerate() {
            self.draft.set_witness(index, Self::witness(part, signature.serialize()))?;
        }
        self.draft.finish(want, fee_witnesses)
    }

    /// Whether [`Self::finish`] takes these witnesses of the fee inputs: asked before the payee
    /// signs.
    ///
    /// # Errors
    /// [`TxError::WitnessCount`]; [`TxError::FeeWitnessSize`] for one that is missing or larger
    /// than its kind's is counted.
    pub fn check_fee_witnesses(&self, witnesses: &[Witness]) -> Result<(), TxError> {
        self.draft.check_fee_witnesses(self.parts.len(), witnesses)
    }

    fn witness(part: &Settled, payee_signature: [u8; 64]) -> Witness {
        settle_witness(
            part.channel.output(),
            &payee_signature,
            &part.voucher.kind().witness_signature(&part.voucher.voucher().signature),
        )
    }
}
