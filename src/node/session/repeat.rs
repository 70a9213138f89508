//! What one side of a session waits for, it asks for again; and what was said while it could not
//! hear.

use alloc::vec::Vec;

use bitcoin::OutPoint;

use super::super::{LinkId, Node, NodeError, Now, Repeat};
use super::{Meeting, SessionSlot, Starts};
use crate::meter::{Record, State};
use crate::signer::Signer;
use crate::units::{Msat, SessionId, UtcSeconds};
use crate::wire::{Reading, SessionEnd, SessionStart};

impl Meeting {
    pub(super) fn of(at: UtcSeconds, record: &Record) -> Self {
        Self { at, allowed: record.allowed(), read: false }
    }
}

impl SessionSlot {
    /// Seller: whether nothing newer than what was read will ask for its payment.
    pub(super) fn waits_for_payment(&self) -> bool {
        let silent = matches!(self.meter.record().state(), State::Paused | State::Ended);
        self.is_seller() && silent && self.meter.debt() > Msat::ZERO
    }

    /// Buyer: the own meter was read.
    pub(super) fn measured(&mut self) {
        let allowed = self.meter.record().allowed();
        if let Some(met) = self.met.as_mut().filter(|met| !met.read) {
            (met.allowed, met.read) = (allowed, true);
        }
    }

    /// Buyer: whether a reading was made while the two could not speak, so that the own clock says
    /// nothing against its stamp.
    ///
    /// It must say no more than the own meter had counted when they met again: what is delivered
    /// later is priced at its own time. Within the outage the stamps are the seller's word, and so
    /// is which of the prices of that time counts; never before its last reading, by M2.
    pub(super) fn was_apart(&self, reading: &Reading) -> bool {
        let met = self.met.filter(|met| reading.time <= met.at);
        met.is_some_and(|met| reading.quantity <= met.allowed)
    }
}

impl<S: Signer> Node<S> {
    /// Says again, over every line that is up, what was not answered in time.
    pub(in crate::node) fn repeat_sessions(&mut self, now: &Now) -> Result<(), NodeError> {
        let due = self.sessions.iter().filter_map(|(session, slot)| {
            let repeat = slot.repeat.filter(|repeat| repeat.at <= now.time)?;
            Some((*session, repeat))
        });
        for (session, repeat) in due.collect::<Vec<_>>() {
            let slot = self.session_slot(session)?;
            let link = slot.link.filter(|link| self.is_up(Some(*link)));
            let wanted = match (link, slot.is_seller(), slot.meter.record().state()) {
                // Nobody hears it: it is asked when the two meet.
                (None, ..) => false,
                (Some(link), true, State::Offered) => self.offer_again(link, session),
                (Some(link), true, _) => self.ask_for_payment(link, session),
                (Some(link), false, _) => self.ask_for_answer(now, link, session),
            };
            let again: Option<Repeat> = wanted.then(|| repeat.again(now.time));
            self.session_mut(session)?.repeat = again;
        }
        Ok(())
    }

    /// Seller: the readings that are not paid, and that there will be no more. Whether it waits for
    /// payment at all.
    fn ask_for_payment(&mut self, link: LinkId, session: SessionId) -> bool {
        let Some(slot) = self.sessions.get(&session) else { return false };
        let (ended, record) = (slot.is_ended(), *slot.meter.record());
        if !slot.waits_for_payment() {
            return false;
        }
        self.resend_claims(link, session);
        if ended {
            let (time, quantity) = (record.at(), record.quantity());
            self.effects.send(link, SessionEnd { session, time, quantity });
        }
        true
    }

    /// Buyer: the seller's start, or its statement. Whether it still waits for that.
    fn ask_for_answer(&mut self, now: &Now, link: LinkId, session: SessionId) -> bool {
        let Some(slot) = self.sessions.get(&session) else { return false };
        let payer = slot.place.and_then(|place| self.payers.get(&place.outpoint));
        let Some(alias) = payer.map(|payer| payer.alias) else { return false };
        let (ended, record) = (slot.is_ended(), *slot.meter.record());
        let Some(offer) = slot.taken_offer() else { return false };
        let unanswered = payer.is_some_and(|payer| payer.acked < payer.machine.signed());
        if slot.meter.record().state() == State::Offered && unanswered {
            // The two would begin at different amounts.
            return true;
        }
        if slot.starts.unproved
            && let Some(place) = slot.place
        {
            // A start that is refused for want of it is answered after it.
            let _ = self.show_payer(now, place.outpoint);
        }
        self.start_sent(session);
        // The seller answers with its own, and with what it has read since.
        self.effects.send(link, SessionStart { session, alias, offer, time: now.time });
        if ended {
            let (time, quantity) = (record.at(), record.quantity());
            self.effects.send(link, SessionEnd { session, time, quantity });
        }
        true
    }

    /// Buyer: with a new block a channel may be deep enough for the start that its payee refused.
    pub(in crate::node) fn ask_for_starts(&mut self, now: &Now) {
        let soon = self.first_repeat(now);
        for slot in self.sessions.values_mut() {
            let waits = !slot.is_seller() && slot.meter.record().state() == State::Offered;
            slot.repeat =
                slot.repeat.map(|again| if waits && again.at > soon.at { soon } else { again });
        }
    }

    /// Buyer: a start is on its way.
    pub(super) fn start_sent(&mut self, session: SessionId) {
        if let Some(slot) = self.sessions.get_mut(&session) {
            let asked = slot.starts.asked.saturating_add(1);
            slot.starts = Starts { asked, refused: false, unproved: false };
        }
    }

    /// Buyer: the seller has refused to begin, by an answer to a start; on a line they come in
    /// order, so after the last one none is on its way that could still begin it.
    ///
    /// One that is refused before the seller looked at the session says nothing of it.
    pub(in crate::node) fn start_refused(
        &mut self,
        outpoint: OutPoint,
        named: Option<SessionId>,
        unproved: bool,
    ) {
        let slot = named.and_then(|session| self.sessions.get_mut(&session));
        let Some(slot) = slot.filter(|slot| slot.is_on(outpoint) && !slot.is_seller()) else {
            return;
        };
        let asked = slot.starts.asked.saturating_sub(1);
        let refused = asked == 0 && !unproved;
        slot.starts = Starts { asked, refused, unproved };
    }

    /// Buyer: a payment while a start is on its way may or may not count for the session, by the
    /// order in which the seller sees the two; so the answer comes first.
    pub(in crate::node) fn check_no_start(&self, outpoint: OutPoint) -> Result<(), NodeError> {
        let Some(session) = self.session_on(outpoint) else { return Ok(()) };
        let slot = self.session_slot(session)?;
        let waits = slot.meter.record().state() == State::Offered
            && !slot.is_seller()
            && !slot.starts.refused;
        if waits { Err(NodeError::Busy { session }) } else { Ok(()) }
    }

    /// Buyer: what is paid before the session begins is none of its money: an older debt, without
    /// which the seller begins nothing. Stored with the payment.
    pub(super) fn begin_above(
        &mut self,
        session: SessionId,
        signed: Msat,
    ) -> Result<(), NodeError> {
        let slot = self.session_mut(session)?;
        let Some(place) = slot.place.as_mut().filter(|place| place.from < signed) else {
            return Ok(());
        };
        if !slot.starts.refused {
            return Ok(());
        }
        place.from = signed;
        self.store_session(session)
    }

    /// A line has gone: what was asked over it is asked again when the two meet.
    pub(in crate::node) fn rest_sessions(&mut self, link: LinkId) {
        for slot in self.sessions.values_mut().filter(|slot| slot.link == Some(link)) {
            slot.repeat = None;
            // One that was refused stays so: no other start is under way.
            slot.starts.asked = 0;
        }
    }
}
