//! Readings and what is paid for them.

use bitcoin::OutPoint;

use super::super::{LinkId, Node, NodeError, Now, Payment};
use crate::meter::{Input, State};
use crate::signer::Signer;
use crate::stream::StreamError;
use crate::stream::payer::Ending;
use crate::units::{Quantity, Seconds, SessionId, UtcSeconds};
use crate::wire::Reading;

/// 256 readings that the buyer may not have seen; beyond it the newest replaces the one before,
/// which costs exactness only where a price border lies between the two (M7 of `meter`).
const CLAIMS_MAX: usize = 256;

impl<S: Signer> Node<S> {
    /// The own meter: billed if this side sells, held against the claims if it buys.
    pub(in crate::node) fn meter(
        &mut self,
        now: &Now,
        session: SessionId,
        total: Quantity,
    ) -> Result<(), NodeError> {
        let entered = self.step(now.time, session, Input::Meter { total })?;
        let first = self.first_repeat(now);
        let slot = self.session_mut(session)?;
        if !slot.is_seller() {
            slot.measured();
            return Ok(());
        }
        if let Some(Input::Claim { at, total, idle }) = slot.meter.claim() {
            let idle = Some(idle).filter(|idle| *idle > Seconds::MIN);
            let reading = Reading { session, time: at, quantity: total, idle };
            if slot.claims.len() >= CLAIMS_MAX {
                slot.claims.pop_back();
            }
            slot.claims.push_back((slot.meter.owed(), reading));
            let link = slot.link;
            if let Some(link) = link.filter(|_| self.is_up(link)) {
                self.effects.send(link, reading);
                if entered == Some(State::Paused) {
                    // No newer reading will ask for what this one does.
                    self.session_mut(session)?.repeat = Some(first);
                }
            }
        }
        if entered == Some(State::Paused) {
            // M4: a restart must not open the credit again.
            self.store_session(session)?;
        } else {
            self.store_if_timed(session)?;
        }
        self.tell_entered(session, entered)?;
        // What was paid before it was owed counts with the reading that owes it.
        match self.session_slot(session)?.place {
            Some(place) => self.count_paid(now, place.outpoint),
            None => Ok(()),
        }
    }

    pub(in crate::node) fn receive_reading(
        &mut self,
        now: &Now,
        link: LinkId,
        reading: Reading,
    ) -> Result<(), NodeError> {
        let session = reading.session;
        let slot = self.session_over(link, session)?;
        let (record, ended) = (slot.meter.record(), slot.is_ended());
        if record.state() == State::Offered && !slot.is_seller() {
            // The seller's start is lost, or behind it: it reads out the same with the next one.
            return Ok(());
        }
        let (at, total) = (reading.time, reading.quantity);
        let idle = reading.idle.unwrap_or(Seconds::MIN);
        // Sent again after a reconnect: what was counted already is no claim.
        let seen = if ended {
            // M9: one that crossed the end is a claim, until the seller has stated what it came to.
            slot.over || record.covers(total, idle)
        } else {
            at < record.at() || (at == record.at() && total <= record.quantity())
        };
        let place = slot.place;
        if !seen {
            let clock = if !ended && slot.was_apart(&reading) { at } else { now.time };
            match self.step(clock, session, Input::Claim { at, total, idle }) {
                // It was paid before the restart, and the own meter has not been told again yet.
                Err(_) if self.signed_more(session) => return Ok(()),
                counted => counted?,
            };
            if ended {
                // It is not sent again once it is paid, and the statement says it.
                self.store_session(session)?;
            } else {
                self.store_if_timed(session)?;
            }
        }
        if let Some(place) = place {
            self.count_signed(None, place.outpoint)?;
        }
        self.pay_due(now, session)
    }

    /// Seller: an accepted voucher counts for the session on its channel, in the same commit.
    pub(in crate::node) fn count_paid(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let Some(session) = self.session_on(outpoint) else { return Ok(()) };
        let payee = self.payees.get(&outpoint).map(|slot| slot.machine.paid());
        // A channel that is closed pays nothing more.
        let Some(paid) = payee else { return Ok(()) };
        let slot = self.session_mut(session)?;
        let Some(place) = slot.place.filter(|_| slot.is_seller()) else { return Ok(()) };
        // What was paid beside the session, or again after a settlement was replaced, counts once
        // it is owed.
        let total = place.paid(paid).min(slot.meter.pay_to());
        // After a replaced settlement, or a restart, less may count than did before.
        if total <= slot.meter.record().paid() {
            return Ok(());
        }
        // A payment by hand shows nothing of what the buyer has seen. Where the price goes with the
        // time, it would count at a dearer price what it never saw at the one before (M7).
        let beside = place.paid(paid) > total && slot.meter.tariff().depends_on_time();
        if !beside {
            slot.claims.retain(|(owed, _)| *owed > total);
        }
        if total >= slot.meter.owed() || slot.claims.is_empty() {
            slot.repeat = None;
        }
        let entered = self.step(now.time, session, Input::Paid { total })?;
        self.store_session(session)?;
        self.tell_entered(session, entered)?;
        self.state_if_settled(now, session)
    }

    /// Buyer: pays what the meter says is due, if it is worth a voucher.
    pub(in crate::node) fn pay_due(
        &mut self,
        now: &Now,
        session: SessionId,
    ) -> Result<(), NodeError> {
        let slot = self.session_slot(session)?;
        let pays = !slot.is_seller() && !slot.unknown;
        let Some(place) = slot.place.filter(|_| pays) else { return Ok(()) };
        let outpoint = place.outpoint;
        // A channel that is closed pays nothing more.
        let Some(payer) = self.payers.get(&outpoint) else { return Ok(()) };
        let machine = &payer.machine;
        let (signed, most) = (machine.signed(), machine.channel().largest_with_change());
        let due = slot.meter.pay_to().saturating_sub(place.paid(signed));
        let small = due < self.config.pay_step && slot.meter.record().state() == State::Active;
        let paid = signed.saturating_add(due).min(most.max(signed));
        if paid == signed || (small && !self.is_urgent(session)) {
            return Ok(());
        }
        let payment = Payment { outpoint, paid, session, ending: Ending::KeepsChange };
        match self.pay_to(now, payment) {
            // After a restart: what is due shows once the payee has said what was signed.
            Err(NodeError::Stream(StreamError::MustResume { .. })) => Ok(()),
            paid => paid,
        }
    }

    /// Whether the debt comes near the credit, so that waiting for a full step would stop service.
    fn is_urgent(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|slot| {
            let credit = slot.meter.record().window().credit.to_msat();
            slot.meter.debt().to_msat() >= credit.div_euclid(2)
        })
    }

    /// Buyer: a voucher was signed, so the session counts it.
    ///
    /// `signed_at`: of one that is signed now, which ends a pause now (M3). What was signed before,
    /// by hand or before a restart, the seller may have had before its reading, so that it never
    /// paused: there a pause that is over as it is heard of is none.
    pub(in crate::node) fn count_signed(
        &mut self,
        signed_at: Option<UtcSeconds>,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let Some(session) = self.session_on(outpoint) else { return Ok(()) };
        let Some(payer) = self.payers.get(&outpoint) else { return Ok(()) };
        let signed = payer.machine.signed();
        let slot = self.session_slot(session)?;
        let Some(place) = slot.place.filter(|_| !slot.is_seller()) else { return Ok(()) };
        if slot.meter.record().state() == State::Offered {
            return self.begin_above(session, signed);
        }
        // After a restart the session's record may be older than what was signed under it: the
        // rest counts once the claims that it paid have come again.
        let total = place.paid(signed).min(slot.meter.pay_to());
        if total <= slot.meter.record().paid() {
            return Ok(());
        }
        let at = signed_at.unwrap_or(slot.meter.record().at());
        let entered = self.step(at, session, Input::Paid { total })?;
        // No payment waits for it: what a power cut takes of it the seller reads out again.
        self.store_session_lazily(session)?;
        self.tell_entered(session, entered)
    }

    /// Buyer: whether it signed more in this session before its restart than its record counts.
    pub(super) fn signed_more(&self, session: SessionId) -> bool {
        let Some(slot) = self.sessions.get(&session).filter(|slot| slot.restored) else {
            return false;
        };
        slot.place.is_some_and(|place| {
            let signed = self.payers.get(&place.outpoint).map(|payer| payer.machine.signed());
            signed.is_some_and(|signed| place.paid(signed) > slot.meter.record().paid())
        })
    }
}
