//! Close and top-up: both sides sign one transaction with `SIGHASH_DEFAULT`.

use alloc::vec::Vec;

use bitcoin::secp256k1::{Message, schnorr};
use bitcoin::transaction::Version;
use bitcoin::{ScriptBuf, Transaction, TxOut, Witness};

use super::change::dust_limit;
use super::draft::{Draft, FeeInput, TRUC_CHILD_VBYTES, draft_views, output};
use super::voucher::Channel;
use super::{TxError, settle_witness};
use crate::keys::Context;
use crate::units::{Msat, Sat};

/// A spend of the settle leaf that payer and payee sign together: version 3, lock time 0, the
/// channel's input first with a voucher's sequence, fee inputs after it, at most 1,000 vB.
///
/// | kind | output 0 | output 1 |
/// | --- | --- | --- |
/// | close | payer: capacity - floor(paid / 1000) - fee | payee: floor(paid / 1000) |
/// | top-up that pays out | the channel's script: new capacity | payee: floor(paid / 1000) |
/// | top-up that carries | the channel's script: new capacity | none |
///
/// The payer bears the fee of each: the payee's part is never less than the whole satoshis of
/// `paid`. In a close an output below its dust limit is left out (the other is then output 0): the
/// payee's dust pays the fee first, and what is over of it goes to the miner, never to the payer.
/// The inputs must be confirmed, which the caller checks.
/// At most 1,000 vB, so that whoever broadcasts it at a low fee cannot make replacing it dear.
///
/// A peer's proposal is never signed as it is: it is rebuilt by [`Self::close`] or [`Self::top_up`]
/// from the channel, the proposal's first output and fee, and refused if the txids differ.
/// The payee's signature on it can never be revoked: until the outpoint's spend is buried, vouchers
/// above `paid` are zero-conf credit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct JointSpend {
    draft: Draft,
    channel: Channel,
    paid: Msat,
}

draft_views!(JointSpend);

impl JointSpend {
    /// A cooperative close at `paid`: outputs in the order payer, payee.
    ///
    /// The payee gets the whole satoshis of `paid`, the payer the rest less the fee; an output
    /// below its dust limit is left out, and what it would have held counts towards the fee.
    ///
    /// # Errors
    /// [`TxError::AboveCapacity`], [`TxError::NoOutputs`]; [`TxError::NotWorthIt`] if the payer's
    /// rest does not cover the fee; [`TxError::TooLarge`].
    pub fn close(
        channel: Channel,
        paid: Msat,
        payer: ScriptBuf,
        payee: ScriptBuf,
        fee: Sat,
    ) -> Result<Self, TxError> {
        let limit = channel.capacity().to_msat();
        if paid > limit {
            return Err(TxError::AboveCapacity { paid, limit });
        }
        let balance = paid.floor_to_sat();
        let (payee_output, given_up) = kept_or_dust(balance, payee);
        let rest = channel.capacity().saturating_sub(balance);
        let (payer_output, _) = match rest.add(given_up)?.checked_sub(fee) {
            // Dust that the payee gives up pays for the fee; it never becomes the payer's.
            Some(left) => kept_or_dust(left.min(rest), payer),
            None => return Err(TxError::NotWorthIt { left: rest, fee, dust: Sat::ZERO }),
        };
        let outputs = payer_output.into_iter().chain(payee_output).collect();
        Self::with_outputs(channel, paid, &[], outputs)
    }

    /// A top-up at `paid`: the channel's script again with `capacity`, and the balance either paid
    /// out to the script `payout`, or carried; `fee_inputs` bring the new money.
    ///
    /// Paid out, the new outpoint starts from zero, and the sub-satoshi part of `paid` is its first
    /// debt. Carried, it starts from `paid`: the payee signs only after it holds, durably, the
    /// payer's voucher of `paid` on [`Self::topped_up`].
    ///
    /// # Errors
    /// [`TxError::CapacityBelowDust`], [`TxError::OutputsAboveInputs`], [`TxError::SpentTwice`],
    /// [`TxError::TooLarge`]; [`TxError::OutputBelowDust`] for a balance too small to be paid out
    /// (carry it); [`TxError::AboveCapacity`] and [`TxError::ChangeBelowDust`] if no voucher of the
    /// new channel could state the balance that it carries.
    pub fn top_up(
        channel: Channel,
        paid: Msat,
        fee_inputs: &[FeeInput],
        capacity: Sat,
        payout: Option<ScriptBuf>,
    ) -> Result<Self, TxError> {
        let script = channel.output().script().clone();
        let dust = dust_limit(&script);
        if capacity < dust {
            return Err(TxError::CapacityBelowDust { capacity, dust });
        }
        let carried = payout.is_none();
        let payout = payout.map(|payee| output(paid.floor_to_sat(), payee));
        let outputs = core::iter::once(output(capacity, script)).chain(payout).collect();
        let spend = Self::with_outputs(channel, paid, fee_inputs, outputs)?;
        if let (true, Some(next)) = (carried, spend.topped_up()?) {
            next.change_output(paid)?;
        }
        Ok(spend)
    }

    fn with_outputs(
        channel: Channel,
        paid: Msat,
        fee_inputs: &[FeeInput],
        outputs: Vec<TxOut>,
    ) -> Result<Self, TxError> {
        let limit = channel.capacity().to_msat();
        if paid > limit {
            return Err(TxError::AboveCapacity { paid, limit });
        }
        if outputs.is_empty() {
            return Err(TxError::NoOutputs);
        }
        let mut draft = Draft::new(Version(3));
        draft.push_input(
            channel.outpoint(),
            Channel::sequence(paid),
            settle_witness(channel.output(), &[0; 64], &[0; 64]),
            channel.to_txout(),
        );
        draft.push_fee_inputs(fee_inputs);
        draft.tx.output = outputs;
        draft.check_inputs_differ()?;
        draft.check_dust()?;
        draft.fee()?;
        draft.check_vbytes(TRUC_CHILD_VBYTES)?;
        Ok(Self { draft, channel, paid })
    }

    /// The channel that is spent.
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The cumulative amount that the spend states.
    pub const fn paid(&self) -> Msat {
        self.paid
    }

    /// The channel that a top-up makes, `None` for a close: output 0, with the same scripts and
    /// change, and a delay that counts from this transaction's confirmation.
    ///
    /// # Errors
    /// None that construction did not already exclude.
    pub fn topped_up(&self) -> Result<Option<Channel>, TxError> {
        let from = self.channel.output();
        match self.draft.tx.output.first() {
            Some(first) if first.script_pubkey == *from.script() => {
                let change = self.channel.change().clone();
                self.draft.continued(0, from.clone(), change).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What both sides sign (BIP341/342, `SIGHASH_DEFAULT`, settle leaf).
    ///
    /// # Errors
    /// None that construction did not already exclude.
    pub fn digest(&self) -> Result<[u8; 32], TxError> {
        self.draft.digest(0, self.channel.output().settle_leaf_hash())
    }

    /// Checks the payer's signature.
    ///
    /// # Errors
    /// [`TxError::BadSignature`].
    pub fn verify_payer(
        &self,
        context: &Context,
        signature: &schnorr::Signature,
    ) -> Result<(), TxError> {
        self.verify(context, signature, self.channel.output().payer())
    }

    /// Checks the payee's signature.
    ///
    /// # Errors
    /// [`TxError::BadSignature`].
    pub fn verify_payee(
        &self,
        context: &Context,
        signature: &schnorr::Signature,
    ) -> Result<(), TxError> {
        self.verify(context, signature, self.channel.output().payee())
    }

    fn verify(
        &self,
        context: &Context,
        signature: &schnorr::Signature,
        key: bitcoin::XOnlyPublicKey,
    ) -> Result<(), TxError> {
        let message = Message::from_digest(self.digest()?);
        context
            .secp()
            .verify_schnorr(signature, &message, &key)
            .map_err(|_| TxError::BadSignature { paid: self.paid })
    }

    /// Puts in both signatures and the witnesses of the fee inputs.
    ///
    /// # Errors
    /// [`TxError::WitnessCount`] if there are more or fewer witnesses than fee inputs.
    pub fn finish(
        mut self,
        payer: &schnorr::Signature,
        payee: &schnorr::Signature,
        fee_witnesses: Vec<Witness>,
    ) -> Result<Transaction, TxError> {
        let witness = settle_witness(self.channel.output(), &payee.serialize(), &payer.serialize());
        self.draft.set_witness(0, witness)?;
        self.draft.finish(1, fee_witnesses)
    }
}

/// An output of `value`, or none and the value that is given up because it would be dust.
fn kept_or_dust(value: Sat, script: ScriptBuf) -> (Option<TxOut>, Sat) {
    if value >= dust_limit(&script) && value > Sat::ZERO {
        (Some(output(value, script)), Sat::ZERO)
    } else {
        (None, value)
    }
}
