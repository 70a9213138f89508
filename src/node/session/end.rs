//! How a session ends: the last stamp, the last payment, and the statement of both.

use alloc::vec::Vec;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::{OutPoint, XOnlyPublicKey};

use super::super::effects::Event;
use super::super::lineage::Side;
use super::super::{LinkId, Node, NodeError, Now};
use super::{Place, SessionSlot};
use crate::meter::{Input, MeterError, Session, State, Statement};
use crate::signer::{Attest, PeerId, Request, Signer};
use crate::units::{Msat, SessionId, UtcSeconds};
use crate::wire::{self, Bytes, SessionEnd};

impl SessionSlot {
    /// The meter as it is after an end at `at`, or after the end that there was.
    fn ended(&self, at: UtcSeconds) -> Result<Session, NodeError> {
        let mut meter = self.meter.clone();
        if !self.is_ended() {
            let at = at.max(meter.record().at());
            let step = meter.decide(at, Input::End { at })?;
            meter.apply(&step.record)?;
        }
        Ok(meter)
    }
}

impl<S: Signer> Node<S> {
    pub(in crate::node) fn end_session(
        &mut self,
        now: &Now,
        session: SessionId,
    ) -> Result<(), NodeError> {
        let slot = self.session_slot(session)?;
        if slot.is_ended() {
            return Err(MeterError::WrongState { state: State::Ended, input: "end" }.into());
        }
        // An offer that nobody has taken ends unheard; the start of a taken one may be under way.
        let begun = slot.meter.record().state() != State::Offered || slot.place.is_some();
        let (link, quantity) = (slot.link, slot.meter.record().quantity());
        // Nothing is billed by the end, so it never fails for a clock that stepped back.
        let time = now.time.max(slot.meter.record().at());
        self.finish(session, time)?;
        if let Some(link) = link.filter(|_| self.is_up(link)) {
            self.effects.send(link, SessionEnd { session, time, quantity });
            let first = self.first_repeat(now);
            self.session_mut(session)?.repeat = begun.then_some(first);
        }
        self.pay_due(now, session)?;
        self.state_if_settled(now, session)
    }

    /// The peer has ended the session, perhaps long ago and told only now. Its stamp counts, within
    /// the last reading and the own clock; where both ended it, each keeps its own.
    pub(in crate::node) fn receive_end(
        &mut self,
        now: &Now,
        link: LinkId,
        message: &SessionEnd,
    ) -> Result<(), NodeError> {
        let session = message.session;
        let slot = self.session_over(link, session)?;
        let (last, at) = (slot.meter.record().at(), message.time.min(now.time));
        if !slot.is_ended() {
            self.finish(session, at.max(last))?;
            if !self.session_slot(session)?.is_seller() {
                // It waits for the statement now.
                self.session_mut(session)?.repeat = Some(self.first_repeat(now));
            }
        }
        self.pay_due(now, session)?;
        self.state_if_settled(now, session)
    }

    /// Seller: the channel pays nothing more, so that no service is given on it either.
    pub(in crate::node) fn end_sessions_on(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let open = self
            .sessions
            .iter()
            .filter(|(_, slot)| slot.is_seller() && slot.is_on(outpoint) && !slot.is_ended());
        let open: Vec<SessionId> = open.map(|(session, _)| *session).collect();
        open.into_iter().try_for_each(|session| self.end_session(now, session))
    }

    pub(super) fn finish(&mut self, session: SessionId, at: UtcSeconds) -> Result<(), NodeError> {
        self.step(at, session, Input::End { at })?;
        self.store_session(session)?;
        let owed = self.session_slot(session)?.meter.owed();
        self.effects.tell(Event::SessionEnded { session, owed });
        Ok(())
    }

    /// Seller: once an ended session is paid in full, signs what it came to.
    pub(super) fn state_if_settled(
        &mut self,
        now: &Now,
        session: SessionId,
    ) -> Result<(), NodeError> {
        let slot = self.session_slot(session)?;
        let (Some(link), Some(place)) = (slot.link, slot.place) else { return Ok(()) };
        if !slot.is_seller() || !slot.is_settled() || !self.is_up(slot.link) {
            return Ok(());
        }
        let OutPoint { txid, vout } = place.outpoint;
        let statement = slot.meter.statement(txid.to_byte_array(), vout)?;
        let bytes = statement.encode();
        self.session_mut(session)?.repeat = None;
        let request = Request::Attest { kind: Attest::Statement, bytes: &bytes };
        let signature = self.signer.sign(&request, now.time, &now.aux)?;
        let blob = Bytes::new([&bytes[..], &signature.serialize()].concat())?;
        self.effects.send(link, wire::Statement { session, statement: blob });
        Ok(())
    }

    /// Buyer: whether it paid for what the statement says, though its record has lost the count.
    ///
    /// What it signed it had checked, so its own signatures say that it owed as much; only after a
    /// restart, and only as long as they say more than the record.
    fn signed_for(
        &self,
        session: SessionId,
        place: Place,
        statement: &Statement,
        why: &MeterError,
    ) -> bool {
        let lost = self.signed_more(session)
            && matches!(
                why,
                MeterError::StatementDiffers { field: "quantity" | "idle" | "owed" | "paid", .. }
            );
        let payer = self.payers.get(&place.outpoint).filter(|_| lost);
        let signed = payer.map(|payer| place.paid(payer.machine.signed()));
        let ahead = statement.paid.saturating_sub(statement.owed);
        let prepay = self.sessions.get(&session).map(|slot| slot.meter.record().window().prepay);
        signed.is_some_and(|signed| statement.owed.max(statement.paid) <= signed)
            && prepay.is_some_and(|prepay| ahead <= prepay)
    }

    /// Buyer: the seller's signed statement must be what this side counted, or signed before a
    /// restart.
    pub(in crate::node) fn receive_statement(
        &mut self,
        now: &Now,
        link: LinkId,
        message: &wire::Statement,
    ) -> Result<(), NodeError> {
        let session = message.session;
        let slot = self.session_over(link, session)?;
        let settled = slot.meter.debt() == Msat::ZERO;
        let malformed = NodeError::NotAsked { what: "a statement of another length" };
        let place = slot.place.ok_or(NodeError::NoSession { session })?;
        let (bytes, signature) =
            message.statement.as_slice().split_at_checked(Statement::LENGTH).ok_or(malformed)?;
        let statement = Statement::decode(bytes)?;
        let signature = Signature::from_slice(signature).map_err(|_| malformed)?;
        let base = self.base_of(slot, place.outpoint)?;
        statement.verify(&self.context, base, &signature)?;
        // A rollover that one side has seen and the other has not: either outpoint is the channel.
        let txid = bitcoin::Txid::from_byte_array(statement.txid);
        let stated = Some(OutPoint { txid, vout: statement.vout });
        let stated = stated.filter(|stated| self.is_of_line(Side::Payer, slot, *stated));
        let OutPoint { txid, vout } = stated.unwrap_or(place.outpoint);
        let (before_end, at) = (!slot.is_ended(), statement.end.min(now.time));
        let meter = slot.ended(at)?;
        let checked = meter.check_statement(&statement, txid.to_byte_array(), vout);
        let checked = checked.and_then(|()| meter.check_stated_end(now.time, &statement));
        let checked = match checked {
            Err(why) if self.signed_for(session, place, &statement, &why) => Ok(()),
            checked => checked,
        };
        if before_end {
            // The word of an end that was lost on its way. Before the end a statement that is not
            // borne out is no dispute: what is missing may be on its way too.
            checked
                .or_else(|_| slot.meter.check_statement(&statement, txid.to_byte_array(), vout))?;
            self.finish(session, meter.record().at())?;
            self.pay_due(now, session)?;
        }
        // Signed is said: asking again brings no other answer, and no claim comes after it.
        let slot = self.session_mut(session)?;
        (slot.repeat, slot.over) = (None, true);
        if let Err(why) = checked {
            self.effects.tell(Event::StatementDisputed { statement, why });
            return self.accept_next(now, place.outpoint).and(Err(why.into()));
        }
        // A statement of less than was paid is agreed to, but the rest is still the buyer's debt.
        if settled {
            self.signer.end_session(PeerId::new(base), session);
        }
        self.effects.tell(Event::StatementAgreed { statement });
        self.accept_next(now, place.outpoint)
    }

    /// Buyer: the key of the session's seller, also when its channel is gone: what was paid on a
    /// top-up, and what replaced that is buried.
    fn base_of(&self, slot: &SessionSlot, outpoint: OutPoint) -> Result<XOnlyPublicKey, NodeError> {
        if let Some(payer) = self.payers.get(&outpoint) {
            return Ok(payer.machine.record().base());
        }
        let base = slot.peer.and_then(|peer| XOnlyPublicKey::from_slice(peer.as_bytes()).ok());
        base.ok_or(NodeError::NoChannel { outpoint })
    }

    /// Buyer: the seller knows nothing of the session on a channel (`named`; one that is
    /// not named is the last one, if it is paid), so that it will begin nothing,
    /// claim nothing and state nothing. It is over: what this side counted may only be claimed by
    /// who knows of it.
    pub(in crate::node) fn end_unheard(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        named: Option<SessionId>,
    ) -> Result<(), NodeError> {
        let Some(session) = self.unstated_on(outpoint) else { return Ok(()) };
        let slot = self.session_slot(session)?;
        let open = named.is_none() && !slot.is_settled();
        if open || slot.is_seller() || named.is_some_and(|named| named != session) {
            return Ok(());
        }
        if !slot.is_ended() {
            let at = now.time.max(slot.meter.record().at());
            self.finish(session, at)?;
        }
        let slot = self.session_mut(session)?;
        (slot.repeat, slot.over, slot.unknown) = (None, true, true);
        if let Some(peer) = slot.peer {
            self.signer.end_session(peer, session);
        }
        if self.unstated_on(outpoint).is_some() {
            // After a restart there may be another one, of which the seller was not asked yet.
            return self.restart_sessions(now, outpoint);
        }
        self.accept_next(now, outpoint)
    }
}
