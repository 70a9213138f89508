//! Accepting a voucher: the one thing that a payee does all day.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Payee, PayeePhase, PayeeRecord};
use crate::keys::Context;
use crate::stream::channel;
use crate::stream::error::StreamError;
use crate::stream::hold::HoldVoucher;
use crate::stream::view::View;
use crate::tx::hold::HeldChecked;
use crate::tx::seen::Tip;
use crate::tx::{TxError, Voucher, VoucherChecked};
use crate::units::{Msat, Sat};

/// An accepted voucher. Commit the record, then acknowledge and count [`Accepted::paid`] as paid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Accepted {
    record: PayeeRecord,
    gained: Msat,
    proof: AcceptedProof,
}

/// How an accepted voucher relates to what the payee had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptedProof {
    /// The same amount again: nothing changes, the acknowledgement is repeated.
    Repeated,
    /// A newer one, its signature checked.
    Newer(VoucherChecked),
    /// A newer state with open holds, its signature checked.
    Held(Box<HeldChecked>),
}

impl Accepted {
    /// What is to be stored before anything leaves.
    pub const fn record(&self) -> &PayeeRecord {
        &self.record
    }

    /// The cumulative amount that counts as paid once the record is durable.
    #[must_use]
    pub fn paid(&self) -> Msat {
        self.record.paid()
    }

    /// How much more that is than before.
    pub const fn gained(&self) -> Msat {
        self.gained
    }

    /// Whether there is anything new to store.
    pub const fn is_new(&self) -> bool {
        !matches!(self.proof, AcceptedProof::Repeated)
    }
}

impl Payee {
    /// Decides on a voucher: one verification, no write. Where the best one has holds, this one
    /// ends them ([`Payee::accept_held`]).
    ///
    /// S2: the signature fits exactly this outpoint and template. S3: paid never falls. S4: what is
    /// not secured by depth is within the zero-conf limit. S5: nothing is accepted at or after the
    /// last call, or on a stalled chain.
    ///
    /// # Errors
    /// [`StreamError::Stale`] (answer with [`Payee::best`]), [`StreamError::BelowStart`],
    /// [`StreamError::Tx`], [`StreamError::NotDeepEnough`], [`StreamError::TooLate`],
    /// [`StreamError::StalledTip`], [`StreamError::WrongPhase`].
    pub fn accept(
        &self,
        context: &Context,
        voucher: Voucher,
        view: &View,
    ) -> Result<Accepted, StreamError> {
        self.accept_beside(context, voucher, Msat::ZERO, view)
    }

    /// The same, where `beside` is accepted already on other outpoints that come out of the same
    /// one and are not deep enough either: at most one of them will ever be, so that their
    /// zero-conf credit is one.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub fn accept_beside(
        &self,
        context: &Context,
        voucher: Voucher,
        beside: Msat,
        view: &View,
    ) -> Result<Accepted, StreamError> {
        if !self.record.holds.list.is_empty() {
            let (paid, signature) = (voucher.paid, voucher.signature);
            let ended = HoldVoucher { paid, holds: Vec::new(), bundles: Vec::new(), signature };
            return self.accept_held_beside(context, &ended, beside, view);
        }
        if self.record.best == Some(voucher) {
            return Ok(self.repeated());
        }
        self.check_newer(voucher.paid, beside, view)?;
        // Last, because it is the only check that costs anything.
        let checked = self.channel.verify(context, voucher)?;
        if self.record.best.is_some_and(|best| best.paid == voucher.paid) {
            // Another signature of the same state: a payer must not cause writes for nothing.
            return Ok(self.repeated());
        }
        let mut record = self.record.clone();
        record.best = Some(voucher);
        Ok(self.accepted(record, AcceptedProof::Newer(checked)))
    }

    /// Phase, order, deadline and depth: what every voucher that is not a repetition must pass.
    pub(super) fn check_newer(
        &self,
        got: Msat,
        beside: Msat,
        view: &View,
    ) -> Result<(), StreamError> {
        self.check_unspent()?;
        if let Some(best) = self.record.best
            && got < best.paid
        {
            return Err(StreamError::Stale { got, best: best.paid });
        }
        if got < self.record.start {
            return Err(StreamError::BelowStart { got, start: self.record.start });
        }
        self.check_last_call(view)?;
        self.check_secured(got, beside, view)
    }

    pub(super) fn repeated(&self) -> Accepted {
        let (record, proof) = (self.record.clone(), AcceptedProof::Repeated);
        Accepted { record, gained: Msat::ZERO, proof }
    }

    pub(super) fn accepted(&self, record: PayeeRecord, proof: AcceptedProof) -> Accepted {
        let gained = record.paid().saturating_sub(self.paid());
        Accepted { record, gained, proof }
    }

    /// S8: nothing is held on a shallow output, whatever credit there is.
    pub(super) fn check_deep(&self, amount: Sat, view: &View) -> Result<(), StreamError> {
        let depth = channel::depth(self.record.confirmed, view.tip.height);
        if depth < self.record.rules.confirmation_depth {
            let (asked, limit) = (amount.to_msat(), Msat::ZERO);
            return Err(StreamError::NotDeepEnough { asked, depth, limit });
        }
        Ok(())
    }

    /// Whether anything above what is paid could be accepted now, `beside` as in
    /// [`Self::accept_beside`]: service on a channel that fails this is given away.
    ///
    /// # Errors
    /// [`StreamError::WrongPhase`], [`StreamError::TooLate`], [`StreamError::StalledTip`],
    /// [`StreamError::NotDeepEnough`], [`StreamError::Tx`] if the whole capacity is paid.
    pub fn check_payable(&self, beside: Msat, view: &View) -> Result<(), StreamError> {
        self.check_unspent()?;
        self.check_last_call(view)?;
        let limit = self.channel.capacity().to_msat();
        let more = self.paid().saturating_add(Msat::new(1).unwrap_or(Msat::MAX));
        if more > limit {
            return Err(TxError::AboveCapacity { paid: more, limit }.into());
        }
        self.check_secured(more, beside, view)
    }

    /// What was paid here, beside what was carried in, and is lost if the output never gets deep.
    #[must_use]
    pub fn shallow(&self, tip: &Tip) -> Msat {
        let depth = channel::depth(self.record.confirmed, tip.height);
        let deep = depth >= self.record.rules.confirmation_depth;
        if deep { Msat::ZERO } else { self.earned() }
    }

    fn check_unspent(&self) -> Result<(), StreamError> {
        match self.record.phase {
            PayeePhase::Open | PayeePhase::Promised { .. } => Ok(()),
            PayeePhase::Spent { .. } | PayeePhase::Closed { .. } => {
                Err(self.wrong_phase("accept a voucher"))
            }
        }
    }

    /// P2: the loss is bounded. S4: on a shallow output, and above what a payee signature already
    /// states, only so much.
    fn check_secured(&self, asked: Msat, beside: Msat, view: &View) -> Result<(), StreamError> {
        let rules = &self.record.rules;
        let depth = channel::depth(self.record.confirmed, view.tip.height);
        // The debt that was carried in was counted before this outpoint existed.
        let shallow = depth < rules.confirmation_depth;
        let unsecured = if shallow {
            asked.saturating_sub(self.record.start).saturating_add(beside)
        } else if let PayeePhase::Promised { stated } = self.record.phase {
            asked.saturating_sub(stated)
        } else {
            return Ok(());
        };
        // While a version-2 funding is reorganised out, no settlement of it can be relayed.
        let credit = self.record.truc || !shallow;
        let limit = if credit { rules.zero_conf_limit.to_msat() } else { Msat::ZERO };
        // A voucher of nothing more is no credit, whatever the others have used up.
        let more = asked > self.paid() || beside == Msat::ZERO;
        if more && unsecured > limit {
            return Err(StreamError::NotDeepEnough { asked: unsecured, depth, limit });
        }
        Ok(())
    }
}
