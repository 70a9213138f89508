//! Close and top-up, as the payee answers them.

use bitcoin::ScriptBuf;
use bitcoin::secp256k1::schnorr;

use super::{Payee, PayeePhase, PayeeRecord};
use crate::keys::Context;
use crate::stream::error::StreamError;
use crate::stream::joint::{
    CloseProposal, TopUpProposal, check_close_script, rest_of, top_up_spend,
};
use crate::stream::view::View;
use crate::tx::JointSpend;
use crate::units::Msat;

/// A close that the payee agrees to. Commit the record, sign [`CloseAnswer::spend`] with the
/// payee's key, then broadcast it with the payer's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct CloseAnswer {
    record: PayeeRecord,
    spend: JointSpend,
    payer: schnorr::Signature,
}

impl CloseAnswer {
    /// What is to be stored before the payee signs.
    pub const fn record(&self) -> &PayeeRecord {
        &self.record
    }

    /// The transaction.
    pub const fn spend(&self) -> &JointSpend {
        &self.spend
    }

    /// The payer's signature, checked.
    pub const fn payer(&self) -> &schnorr::Signature {
        &self.payer
    }
}

/// A top-up that the payee agrees to. Commit both records, then sign and send the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct TopUpAnswer {
    record: PayeeRecord,
    successor: PayeeRecord,
    spend: JointSpend,
}

impl TopUpAnswer {
    /// The old outpoint's record.
    pub const fn record(&self) -> &PayeeRecord {
        &self.record
    }

    /// The new outpoint's record, with its first voucher if the balance is carried.
    pub const fn successor(&self) -> &PayeeRecord {
        &self.successor
    }

    /// The transaction.
    pub const fn spend(&self) -> &JointSpend {
        &self.spend
    }
}

impl Payee {
    /// Decides on a cooperative close; the payee's output goes to `script`.
    ///
    /// # Errors
    /// [`StreamError::WrongProposal`] unless it states exactly what the payee holds;
    /// [`StreamError::CloseScript`], [`StreamError::Unconfirmed`]; [`StreamError::Tx`] for a bad
    /// signature or a fee that the payer's rest does not cover.
    pub fn answer_close(
        &self,
        context: &Context,
        proposal: &CloseProposal,
        script: ScriptBuf,
        view: &View,
    ) -> Result<CloseAnswer, StreamError> {
        self.check_proposal(proposal.paid, view, "close")?;
        check_close_script(&self.channel, &proposal.script)?;
        let spend = JointSpend::close(
            self.channel.clone(),
            proposal.paid,
            proposal.script.clone(),
            script,
            proposal.fee,
        )?;
        spend.verify_payer(context, &proposal.signature)?;
        Ok(CloseAnswer { record: self.promised(proposal.paid), spend, payer: proposal.signature })
    }

    /// Decides on a top-up; a payout goes to `script`. The caller checks the new capacity against
    /// the terms that it offers.
    ///
    /// The payee agrees only together with the payer's first voucher on the new outpoint, which the
    /// successor's record holds. It must be durable before the payee signs, because from then on
    /// the old vouchers can be spent from under it; and it shows that it is the payer who asks.
    /// A voucher of what is paid carries the balance over, one of its sub-satoshi part has the
    /// whole satoshis paid out.
    ///
    /// # Errors
    /// [`StreamError::NoFirstVoucher`], [`StreamError::WrongProposal`],
    /// [`StreamError::Unconfirmed`], [`StreamError::Tx`].
    pub fn answer_top_up(
        &self,
        context: &Context,
        proposal: &TopUpProposal,
        script: ScriptBuf,
        view: &View,
    ) -> Result<TopUpAnswer, StreamError> {
        self.check_proposal(proposal.paid, view, "top up")?;
        let first = proposal.carried.ok_or(StreamError::NoFirstVoucher)?;
        let carries = first.paid == proposal.paid;
        if !carries && first.paid != rest_of(proposal.paid) {
            return Err(StreamError::WrongProposal { want: proposal.paid, got: first.paid });
        }
        let payout = (!carries).then_some(script);
        let spend = top_up_spend(
            &self.channel,
            proposal.paid,
            &proposal.inputs,
            proposal.capacity,
            payout,
        )?;
        let next = spend.topped_up()?.ok_or(StreamError::NoFirstVoucher)?;
        let _checked = next.verify(context, first)?;
        let mut successor = self.successor(next.outpoint(), next.capacity(), first.paid);
        successor.best = Some(first);
        Ok(TopUpAnswer { record: self.promised(proposal.paid), successor, spend })
    }

    fn check_proposal(&self, got: Msat, view: &View, act: &'static str) -> Result<(), StreamError> {
        match self.record.phase {
            PayeePhase::Open | PayeePhase::Promised { .. } => {}
            PayeePhase::Spent { .. } | PayeePhase::Closed { .. } => {
                return Err(self.wrong_phase(act));
            }
        }
        let want = self.paid();
        // A payee signature that has left states the least: another spend may only change the fee.
        if got != want || self.record.phase.stated().is_some_and(|stated| stated != got) {
            return Err(StreamError::WrongProposal { want, got });
        }
        // A joint spend has confirmed inputs only: else it could not be relayed.
        self.check_no_live_holds(view.tip.height)?;
        let outpoint = self.outpoint();
        self.record.confirmed.ok_or(StreamError::Unconfirmed { outpoint })?;
        self.check_last_call(view)
    }
}
