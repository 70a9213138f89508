//! Close, top-up and refund, as the payer starts them.

use alloc::vec::Vec;

use bitcoin::secp256k1::schnorr;
use bitcoin::{OutPoint, ScriptBuf, Transaction};

use super::{Payer, PayerPhase, PayerRecord};
use crate::keys::{Context, Entropy};
use crate::signer::{Past, Request, Signer};
use crate::stream::error::StreamError;
use crate::stream::joint::{
    CloseProposal, TopUpProposal, check_close_script, rest_of, top_up_spend,
};
use crate::stream::view::View;
use crate::tx::{FeeInput, JointSpend, Refund, Voucher};
use crate::units::{Blocks, FeeRate, Sat, SessionId};

/// A signed close proposal. Commit the record, then send the proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct CloseStep {
    record: PayerRecord,
    proposal: CloseProposal,
}

impl CloseStep {
    /// What is to be stored first.
    pub const fn record(&self) -> &PayerRecord {
        &self.record
    }

    /// What to send.
    pub const fn proposal(&self) -> &CloseProposal {
        &self.proposal
    }
}

/// A top-up proposal. Commit both records, send the proposal, and wait for the payee's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct TopUpStep {
    record: PayerRecord,
    successor: PayerRecord,
    proposal: TopUpProposal,
    spend: JointSpend,
}

impl TopUpStep {
    /// The old outpoint's record.
    pub const fn record(&self) -> &PayerRecord {
        &self.record
    }

    /// The new outpoint's record.
    pub const fn successor(&self) -> &PayerRecord {
        &self.successor
    }

    /// What to send.
    pub const fn proposal(&self) -> &TopUpProposal {
        &self.proposal
    }

    /// The transaction, which the payer signs after the payee did.
    pub const fn spend(&self) -> &JointSpend {
        &self.spend
    }
}

/// A signed refund. Broadcast it; no record changes before the chain shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RefundStep {
    tx: Transaction,
}

impl RefundStep {
    /// The transaction to broadcast.
    pub const fn transaction(&self) -> &Transaction {
        &self.tx
    }
}

impl Payer {
    /// Proposes to close at what is signed; the rest less `fee` goes to `script`, the payee's part
    /// to `payee`.
    ///
    /// If the payee never answers, nothing is lost: it can still settle, and the payer refunds.
    ///
    /// # Errors
    /// [`StreamError::WrongPhase`], [`StreamError::MustResume`], [`StreamError::Unconfirmed`],
    /// [`StreamError::CloseScript`], [`StreamError::Tx`], [`StreamError::Signer`].
    pub fn propose_close(
        &self,
        signer: &mut dyn Signer,
        script: ScriptBuf,
        payee: ScriptBuf,
        fee: Sat,
        view: &View,
        aux: &Entropy,
    ) -> Result<CloseStep, StreamError> {
        self.check_may_leave("close")?;
        self.check_no_live_holds(view.tip.height)?;
        self.check_confirmed()?;
        check_close_script(&self.channel, &script)?;
        let paid = self.record.signed;
        let channel = self.channel.clone();
        let spend = JointSpend::close(channel, paid, script.clone(), payee, fee)?;
        let signature = signer.sign(&Request::Close { spend: &spend }, view.now, aux)?;
        let proposal = CloseProposal { paid, script, fee, signature };
        Ok(CloseStep { record: self.leaving(), proposal })
    }

    /// Proposes to go on at a new outpoint of `capacity`, fed by `inputs`.
    ///
    /// With `carries` the balance moves along; without it the payee is paid out to `payee`. Either
    /// way the payer signs its first voucher there, of what the new outpoint starts with: that was
    /// spent already, and costs no budget.
    ///
    /// # Errors
    /// As [`Self::propose_close`].
    #[expect(clippy::too_many_arguments, reason = "each is one choice of the payer")]
    pub fn propose_top_up(
        &self,
        signer: &mut dyn Signer,
        inputs: Vec<FeeInput>,
        capacity: Sat,
        carries: Option<SessionId>,
        payee: ScriptBuf,
        view: &View,
        aux: &Entropy,
    ) -> Result<TopUpStep, StreamError> {
        self.check_may_leave("top up")?;
        self.check_no_live_holds(view.tip.height)?;
        self.check_confirmed()?;
        let paid = self.record.signed;
        let payout = carries.is_none().then_some(payee);
        let spend = top_up_spend(&self.channel, paid, &inputs, capacity, payout)?;
        let outpoint = OutPoint { txid: spend.transaction().compute_txid(), vout: 0 };
        let start = match carries {
            Some(_) => paid,
            None => rest_of(paid),
        };
        let successor = self.record.successor(outpoint, capacity, start, PayerPhase::Open);
        let next = self.beside(successor.clone())?;
        let past = Past::Descends { from: self.outpoint(), carried: start };
        next.register(signer, past)?;
        let session = carries.unwrap_or(SessionId::MIN);
        let request = Request::Voucher { channel: next.channel(), paid: start, session };
        let signature = signer.sign(&request, view.now, aux)?;
        let carried = Some(Voucher { paid: start, signature });
        let proposal = TopUpProposal { paid, capacity, inputs, carried };
        Ok(TopUpStep { record: self.leaving(), successor, proposal, spend })
    }

    /// The record of this outpoint after a top-up to it was proposed once more, with `successor`,
    /// if that carries more than is known here.
    ///
    /// The transaction says no more of what is carried than its sub-satoshi part. So the same one
    /// may carry more by the time it is proposed again, and the first voucher of the new amount is
    /// signed: a record that stayed behind would have the sessions that move here count the
    /// difference as paid, and would let the payer sign below it (S7).
    pub(crate) fn carries_more(&self, successor: &PayerRecord) -> Option<PayerRecord> {
        let (start, signed) = (successor.start, successor.signed);
        let more = signed > self.record.signed;
        more.then(|| PayerRecord { start, signed, ..self.record.clone() })
    }

    /// Signs the top-up once the payee has; the coins' owner adds their witnesses.
    ///
    /// # Errors
    /// [`StreamError::Tx`] if the payee's signature does not fit; [`StreamError::Signer`].
    pub fn sign_top_up(
        &self,
        context: &Context,
        signer: &mut dyn Signer,
        spend: &JointSpend,
        payee: &schnorr::Signature,
        view: &View,
        aux: &Entropy,
    ) -> Result<schnorr::Signature, StreamError> {
        self.check_may_leave("top up")?;
        spend.verify_payee(context, payee)?;
        Ok(signer.sign(&Request::TopUp { spend }, view.now, aux)?)
    }

    /// Takes the coin back to `script` at `rate`, from one block before the deadline on. Registers
    /// the channel with a signer that does not know it.
    ///
    /// # Errors
    /// [`StreamError::TooEarly`], [`StreamError::WrongPhase`] while unconfirmed or when spent,
    /// [`StreamError::Tx`], [`StreamError::Signer`].
    pub fn refund(
        &self,
        signer: &mut dyn Signer,
        script: ScriptBuf,
        rate: FeeRate,
        view: &View,
        aux: &Entropy,
    ) -> Result<RefundStep, StreamError> {
        match self.record.phase {
            PayerPhase::Open
            | PayerPhase::Unsure
            | PayerPhase::Leaving { .. }
            | PayerPhase::Spent { at: None, .. } => {}
            PayerPhase::Spent { .. } | PayerPhase::Closed => {
                return Err(self.wrong_phase("refund"));
            }
        }
        let deadline = self.deadline().ok_or_else(|| self.wrong_phase("refund"))?;
        // Mempools judge by the next block, so they take it when the tip is one below.
        let one = Blocks::new(1).unwrap_or(Blocks::MIN);
        let from = deadline.saturating_before(one);
        if view.tip.height < from {
            return Err(StreamError::TooEarly { height: view.tip.height, from });
        }
        let output = self.channel.output().clone();
        let capacity = self.channel.capacity();
        let refund = Refund::at_rate(self.outpoint(), capacity, output, script, rate)?;
        // It needs no resuming; the signer only has to know the key, also after a restart with a
        // settlement in the mempool. What it knows already stays as it is.
        self.register(signer, Past::Unknown { from: None })?;
        let signature = signer.sign(&Request::Refund { refund: &refund }, view.now, aux)?;
        Ok(RefundStep { tx: refund.finish(&signature)? })
    }

    fn check_may_leave(&self, act: &'static str) -> Result<(), StreamError> {
        match self.record.phase {
            PayerPhase::Open | PayerPhase::Leaving { .. } => Ok(()),
            PayerPhase::Unsure => Err(StreamError::MustResume { at_least: self.record.signed }),
            PayerPhase::Spent { .. } | PayerPhase::Closed => Err(self.wrong_phase(act)),
        }
    }

    /// A joint spend has confirmed inputs only: else it could not be relayed.
    fn check_confirmed(&self) -> Result<(), StreamError> {
        let outpoint = self.outpoint();
        self.record.confirmed.map(|_| ()).ok_or(StreamError::Unconfirmed { outpoint })
    }

    fn leaving(&self) -> PayerRecord {
        let phase = PayerPhase::Leaving { stated: self.record.signed };
        PayerRecord { phase, ..self.record.clone() }
    }
}
