//! Metered sessions: readings one way, payments the other, and the channel that pays them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bitcoin::OutPoint;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::schnorr::Signature;

use super::effects::Event;
use super::{LinkId, Node, NodeError, Now, Payment};
use crate::meter::tariff::{Tariff, TariffHash};
use crate::meter::{self, Input, MeterError, Record, Role, Session, State, Statement, Window};
use crate::signer::{Attest, PeerId, Request, Signer};
use crate::store::{Key, envelope};
use crate::stream::payer::Ending;
use crate::units::{Msat, Ppm, Quantity, Seconds, SessionId};
use crate::wire::{self, Bytes, Reading, SessionEnd, SessionOffer, SessionPause, SessionStart};

/// The store's room byte of sessions.
const ROOM: u8 = 0x05;
/// The session record format that this release writes and reads.
const VERSION: u8 = 1;
/// 1,024 sessions at a node; each holds a tariff and its readings that are not paid yet.
const SESSIONS_MAX: usize = 1_024;
/// 256 readings that the buyer may not have seen; beyond it the newest replaces the one before,
/// which costs exactness only where a price border lies between the two (M7 of `meter`).
const CLAIMS_MAX: usize = 256;

/// A session, the channel that pays it, and what the peer has not seen yet.
#[derive(Debug)]
pub(super) struct SessionSlot {
    meter: Session,
    link: Option<LinkId>,
    /// The channel that pays; none before the buyer has chosen it.
    outpoint: Option<OutPoint>,
    /// What this session paid on earlier outpoints of the channel.
    earlier: Msat,
    /// What the current outpoint had counted when the session came to it.
    from: Msat,
    /// Readings that are not paid yet, with what was owed at each; the seller sends them again.
    claims: VecDeque<(Msat, Reading)>,
    /// The seller's offer, as the buyer keeps it until it accepts.
    offer: Option<SessionOffer>,
}

impl SessionSlot {
    pub(super) const fn meter(&self) -> &Session {
        &self.meter
    }

    pub(super) const fn link(&self) -> Option<LinkId> {
        self.link
    }

    fn new(meter: Session, link: Option<LinkId>) -> Self {
        let (earlier, from) = (Msat::ZERO, Msat::ZERO);
        Self { meter, link, outpoint: None, earlier, from, claims: VecDeque::new(), offer: None }
    }

    fn is_seller(&self) -> bool {
        matches!(self.meter.record().role(), Role::Seller)
    }

    /// What the session has paid when the channel's cumulative amount is `paid`.
    fn paid(&self, paid: Msat) -> Msat {
        self.earlier.saturating_add(paid.saturating_sub(self.from))
    }

    fn key(session: SessionId) -> Result<Key, NodeError> {
        Ok(Key::from_parts(&[&[ROOM], &session.to_u64().to_be_bytes()])?)
    }

    /// | bytes | field, numbers big-endian |
    /// | --- | --- |
    /// | 36 | the channel's outpoint, zeros for none |
    /// | 8 + 8 | paid on earlier outpoints; counted on this one before |
    /// | 167 | the meter's record |
    /// | rest | the tariff |
    fn encode(&self, key: &Key) -> Vec<u8> {
        let outpoint = self.outpoint.unwrap_or_default();
        let mut body = Vec::with_capacity(512);
        body.extend_from_slice(outpoint.txid.as_byte_array());
        body.extend_from_slice(&outpoint.vout.to_be_bytes());
        body.extend_from_slice(&self.earlier.to_msat().to_be_bytes());
        body.extend_from_slice(&self.from.to_msat().to_be_bytes());
        body.extend_from_slice(&self.meter.record().encode());
        body.extend_from_slice(&self.meter.tariff().encode());
        envelope::seal(key, VERSION, &body)
    }

    pub(super) fn decode(key: &Key, bytes: &[u8]) -> Result<(SessionId, Self), NodeError> {
        let body = envelope::open(key, VERSION, bytes)?;
        let mut from = wire::Reader::new(body);
        let txid = bitcoin::Txid::from_byte_array(from.array::<32>()?);
        let outpoint = OutPoint { txid, vout: from.u32()? };
        let outpoint = (outpoint != OutPoint::default()).then_some(outpoint);
        let earlier = Msat::new(from.u64()?).map_err(crate::tx::TxError::from)?;
        let counted = Msat::new(from.u64()?).map_err(crate::tx::TxError::from)?;
        let record = Record::decode(from.take(Record::LENGTH)?)?;
        let tariff = Tariff::parse(from.take_rest())?;
        let meter = Session::restore(&record, tariff)?;
        let mut slot = Self::new(meter, None);
        (slot.outpoint, slot.earlier, slot.from) = (outpoint, earlier, counted);
        Ok((record.id(), slot))
    }
}

impl<S: Signer> Node<S> {
    pub(super) fn offer_session(
        &mut self,
        link: LinkId,
        session: SessionId,
        tariff: Tariff,
        window: Window,
        skew: Seconds,
        tolerance: Ppm,
    ) -> Result<(), NodeError> {
        self.check_new_session(session)?;
        let offer = SessionOffer {
            session,
            tariff_hash: tariff.hash().0,
            credit: window.credit,
            prepay: window.prepay,
            skew,
            tolerance,
            tariff: Some(Bytes::new(tariff.encode())?),
        };
        let meter = Session::offer(session, Role::Seller, window, tariff);
        self.sessions.insert(session, SessionSlot::new(meter, Some(link)));
        self.effects.send(link, offer);
        Ok(())
    }

    fn check_new_session(&self, session: SessionId) -> Result<(), NodeError> {
        if self.sessions.contains_key(&session) {
            return Err(NodeError::SessionExists { session });
        }
        if self.sessions.len() >= SESSIONS_MAX {
            return Err(NodeError::TooMany { what: "sessions", max: SESSIONS_MAX });
        }
        Ok(())
    }

    /// The seller's offer: nothing is agreed before the caller accepts it.
    pub(super) fn receive_offer(
        &mut self,
        link: LinkId,
        offer: &SessionOffer,
    ) -> Result<(), NodeError> {
        let session = offer.session;
        self.check_new_session(session)?;
        let blob = offer.tariff.as_ref().ok_or(NodeError::NotAsked { what: "a bare hash" })?;
        let tariff = Tariff::parse(blob.as_slice())?;
        if tariff.hash().0 != offer.tariff_hash {
            return Err(MeterError::TariffUnknown { got: TariffHash(offer.tariff_hash) }.into());
        }
        let window = Window { credit: offer.credit, prepay: offer.prepay };
        let role = Role::Buyer {
            meter_ppm: offer.tolerance,
            meter_slack: Quantity::ZERO,
            skew: offer.skew,
            budget: Msat::ZERO,
        };
        let hash = tariff.hash();
        let mut slot = SessionSlot::new(Session::offer(session, role, window, tariff), Some(link));
        slot.offer = Some(offer.clone());
        self.sessions.insert(session, slot);
        self.effects.tell(Event::SessionOffered { link, session, tariff: hash });
        Ok(())
    }

    pub(super) fn accept_session(
        &mut self,
        now: &Now,
        session: SessionId,
        outpoint: OutPoint,
        budget: Msat,
        slack: Quantity,
    ) -> Result<(), NodeError> {
        let payer = self.slot(outpoint)?;
        let (alias, signed) = (payer.alias, payer.machine.signed());
        let peer = PeerId::new(payer.machine.record().base());
        let slot = self.sessions.get_mut(&session).ok_or(NodeError::NoSession { session })?;
        let offer = slot.offer.clone().ok_or(NodeError::NotAsked { what: "this session" })?;
        let link = slot.link.ok_or(NodeError::NoSession { session })?;
        self.signer.open_session(peer, session, budget)?;
        let role = Role::Buyer {
            meter_ppm: offer.tolerance,
            meter_slack: slack,
            skew: offer.skew,
            budget,
        };
        let window = Window { credit: offer.credit, prepay: offer.prepay };
        slot.meter = Session::offer(session, role, window, slot.meter.tariff().clone());
        (slot.outpoint, slot.from, slot.offer) = (Some(outpoint), signed, None);
        let (tariff_hash, time) = (offer.tariff_hash, now.time);
        self.effects.send(link, SessionStart { session, alias, tariff_hash, time });
        Ok(())
    }

    /// Seller: the buyer takes the offer, or comes back. Buyer: the seller's stamp of the start.
    pub(super) fn receive_start(
        &mut self,
        now: &Now,
        link: LinkId,
        message: &SessionStart,
    ) -> Result<(), NodeError> {
        let session = message.session;
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        let tariff = TariffHash(message.tariff_hash);
        if !slot.is_seller() {
            self.session_over(link, session)?;
            if slot.meter.record().state() != State::Offered || slot.offer.is_some() {
                return Ok(());
            }
            self.step(now, session, Input::Start { at: message.time, tariff })?;
            self.store_session(session)?;
            self.effects.tell(Event::ServiceOn { session });
            return self.pay_due(now, session);
        }
        let outpoint = self.named(link, message.alias)?;
        let paid = self.payees.get(&outpoint).map(|slot| slot.machine.paid());
        let paid = paid.ok_or(NodeError::NoChannel { outpoint })?;
        if slot.meter.record().state() == State::Offered {
            self.session_over(link, session)?;
            self.step(now, session, Input::Start { at: now.time, tariff })?;
            let slot = self.sessions.get_mut(&session).ok_or(NodeError::NoSession { session })?;
            (slot.outpoint, slot.from) = (Some(outpoint), paid);
            self.store_session(session)?;
            self.effects.tell(Event::ServiceOn { session });
        } else if slot.outpoint != Some(outpoint) {
            return Err(NodeError::NoSession { session });
        }
        let slot = self.sessions.get_mut(&session).ok_or(NodeError::NoSession { session })?;
        slot.link = Some(link);
        let time = slot.meter.record().started();
        let (alias, tariff_hash) = (message.alias, message.tariff_hash);
        self.effects.send(link, SessionStart { session, alias, tariff_hash, time });
        self.resend_claims(link, outpoint);
        self.repeat_end(now, link, session)
    }

    /// Seller: a buyer that comes back may have missed the end, and the statement.
    fn repeat_end(&mut self, now: &Now, link: LinkId, session: SessionId) -> Result<(), NodeError> {
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        let record = slot.meter.record();
        if record.state() != State::Ended {
            return Ok(());
        }
        let (time, quantity) = (record.at(), record.quantity());
        self.effects.send(link, SessionEnd { session, time, quantity });
        self.state_if_settled(now, session)
    }

    /// The own meter: billed if this side sells, held against the claims if it buys.
    pub(super) fn meter(
        &mut self,
        now: &Now,
        session: SessionId,
        total: Quantity,
    ) -> Result<(), NodeError> {
        let entered = self.step(now, session, Input::Meter { total })?;
        let slot = self.sessions.get_mut(&session).ok_or(NodeError::NoSession { session })?;
        if !slot.is_seller() {
            return Ok(());
        }
        if let Some(Input::Claim { at, total, idle }) = slot.meter.claim() {
            let idle = Some(idle).filter(|idle| *idle > Seconds::MIN);
            let reading = Reading { session, time: at, quantity: total, idle };
            if slot.claims.len() >= CLAIMS_MAX {
                slot.claims.pop_back();
            }
            slot.claims.push_back((slot.meter.owed(), reading));
            if let Some(link) = slot.link.filter(|link| self.links.contains_key(link)) {
                self.effects.send(link, reading);
            }
        }
        if entered == Some(State::Paused) {
            // M4: a restart must not open the credit again.
            self.store_session(session)?;
        }
        self.tell_entered(session, entered)?;
        self.count_ahead(now, session)
    }

    /// Seller: what was paid before it was owed counts with the reading that owes it.
    fn count_ahead(&mut self, now: &Now, session: SessionId) -> Result<(), NodeError> {
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        let Some(outpoint) = slot.outpoint else { return Ok(()) };
        let paid = self.payees.get(&outpoint).map(|payee| slot.paid(payee.machine.paid()));
        if paid.is_some_and(|paid| paid > slot.meter.record().paid()) {
            self.count_paid(now, outpoint)?;
        }
        Ok(())
    }

    pub(super) fn receive_reading(
        &mut self,
        now: &Now,
        link: LinkId,
        reading: Reading,
    ) -> Result<(), NodeError> {
        let session = reading.session;
        let slot = self.session_over(link, session)?;
        let record = slot.meter.record();
        // Sent again after a reconnect: what was counted already is no claim.
        let seen = reading.time < record.at()
            || (reading.time == record.at() && reading.quantity < record.quantity());
        if !seen {
            let (at, total) = (reading.time, reading.quantity);
            let idle = reading.idle.unwrap_or(Seconds::MIN);
            self.step(now, session, Input::Claim { at, total, idle })?;
        }
        if let Some(outpoint) = self.sessions.get(&session).and_then(|slot| slot.outpoint) {
            self.count_signed(now, outpoint)?;
        }
        self.pay_due(now, session)
    }

    /// Seller: an accepted voucher counts for the session on its channel, in the same commit.
    pub(super) fn count_paid(&mut self, now: &Now, outpoint: OutPoint) -> Result<(), NodeError> {
        let Some(session) = self.session_on(outpoint) else { return Ok(()) };
        let paid = self.payees.get(&outpoint).map(|slot| slot.machine.paid());
        let paid = paid.ok_or(NodeError::NoChannel { outpoint })?;
        let slot = self.sessions.get_mut(&session).ok_or(NodeError::NoSession { session })?;
        // What was paid beside the session, or again after a settlement was replaced, counts once
        // it is owed.
        let total = slot.paid(paid).min(slot.meter.pay_to());
        slot.claims.retain(|(owed, _)| *owed > total);
        if total > slot.meter.record().paid() {
            let entered = self.step(now, session, Input::Paid { total })?;
            self.store_session(session)?;
            self.tell_entered(session, entered)?;
        }
        self.state_if_settled(now, session)
    }

    /// Buyer: pays what the meter says is due, if it is worth a voucher.
    fn pay_due(&mut self, now: &Now, session: SessionId) -> Result<(), NodeError> {
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        let Some(outpoint) = slot.outpoint.filter(|_| !slot.is_seller()) else { return Ok(()) };
        let machine = &self.slot(outpoint)?.machine;
        let (signed, most) = (machine.signed(), machine.channel().largest_with_change());
        let due = slot.meter.pay_to().saturating_sub(slot.paid(signed));
        let small = due < self.config.pay_step && slot.meter.record().state() == State::Active;
        let paid = signed.saturating_add(due).min(most.max(signed));
        if paid == signed || (small && !self.is_urgent(session)) {
            return Ok(());
        }
        self.pay_to(now, Payment { outpoint, paid, session, ending: Ending::KeepsChange })
    }

    /// Whether the debt comes near the credit, so that waiting for a full step would stop service.
    fn is_urgent(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|slot| {
            let credit = slot.meter.record().window().credit.to_msat();
            slot.meter.debt().to_msat() >= credit.div_euclid(2)
        })
    }

    /// Buyer: a voucher was signed, so the session counts it.
    pub(super) fn count_signed(&mut self, now: &Now, outpoint: OutPoint) -> Result<(), NodeError> {
        let Some(session) = self.session_on(outpoint) else { return Ok(()) };
        let signed = self.slot(outpoint)?.machine.signed();
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        if slot.is_seller() {
            return Ok(());
        }
        // After a restart the session's record may be older than what was signed under it: the
        // rest counts once the claims that it paid have come again.
        let total = slot.paid(signed).min(slot.meter.pay_to());
        if total <= slot.meter.record().paid() {
            return Ok(());
        }
        let entered = self.step(now, session, Input::Paid { total })?;
        self.tell_entered(session, entered)
    }

    pub(super) fn end_session(&mut self, now: &Now, session: SessionId) -> Result<(), NodeError> {
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        let (link, quantity) = (slot.link, slot.meter.record().quantity());
        // The buyer cannot end before the seller's last stamp.
        let time = now.time.max(slot.meter.record().at());
        self.finish(now, session, time)?;
        if let Some(link) = link.filter(|link| self.links.contains_key(link)) {
            self.effects.send(link, SessionEnd { session, time, quantity });
        }
        self.pay_due(now, session)?;
        self.state_if_settled(now, session)
    }

    pub(super) fn receive_end(
        &mut self,
        now: &Now,
        link: LinkId,
        message: &SessionEnd,
    ) -> Result<(), NodeError> {
        let session = message.session;
        let slot = self.session_over(link, session)?;
        if slot.meter.record().state() != State::Ended {
            let last = slot.meter.record().at();
            let own = if slot.is_seller() { now.time } else { message.time };
            self.finish(now, session, own.max(last))?;
        }
        self.pay_due(now, session)?;
        self.state_if_settled(now, session)
    }

    fn finish(
        &mut self,
        now: &Now,
        session: SessionId,
        at: crate::units::UtcSeconds,
    ) -> Result<(), NodeError> {
        self.step(now, session, Input::End { at })?;
        self.store_session(session)?;
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        self.effects.tell(Event::SessionEnded { session, owed: slot.meter.owed() });
        Ok(())
    }

    /// Seller: once an ended session is paid in full, signs what it came to.
    fn state_if_settled(&mut self, now: &Now, session: SessionId) -> Result<(), NodeError> {
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        let ended = slot.meter.record().state() == State::Ended;
        let (Some(link), Some(outpoint)) = (slot.link, slot.outpoint) else { return Ok(()) };
        if !slot.is_seller() || !ended || slot.meter.debt() > Msat::ZERO {
            return Ok(());
        }
        let statement = slot.meter.statement(outpoint.txid.to_byte_array(), outpoint.vout)?;
        let bytes = statement.encode();
        let request = Request::Attest { kind: Attest::Statement, bytes: &bytes };
        let signature = self.signer.sign(&request, now.time, &now.aux)?;
        let blob = Bytes::new([&bytes[..], &signature.serialize()].concat())?;
        self.effects.send(link, wire::Statement { session, statement: blob });
        Ok(())
    }

    /// Buyer: the seller's signed statement must be what this side counted.
    pub(super) fn receive_statement(
        &mut self,
        link: LinkId,
        message: &wire::Statement,
    ) -> Result<(), NodeError> {
        let session = message.session;
        let slot = self.session_over(link, session)?;
        let malformed = NodeError::NotAsked { what: "a statement of another length" };
        let outpoint = slot.outpoint.ok_or(NodeError::NoSession { session })?;
        let (bytes, signature) =
            message.statement.as_slice().split_at_checked(Statement::LENGTH).ok_or(malformed)?;
        let statement = Statement::decode(bytes)?;
        let signature = Signature::from_slice(signature).map_err(|_| malformed)?;
        let base = self.slot(outpoint)?.machine.record().base();
        statement.verify(&self.context, base, &signature)?;
        let slot = self.session_over(link, session)?;
        slot.meter.check_statement(&statement, outpoint.txid.to_byte_array(), outpoint.vout)?;
        self.signer.end_session(PeerId::new(base), session);
        self.effects.tell(Event::StatementAgreed { statement });
        Ok(())
    }

    /// Buyer: after a reconnect its sessions on this channel go on; the seller repeats its claims.
    pub(super) fn restart_sessions(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let payer = self.slot(outpoint)?;
        let (link, alias) = (payer.link, payer.alias);
        let peer = PeerId::new(payer.machine.record().base());
        let Some(session) = self.session_on(outpoint) else { return Ok(()) };
        let slot = self.sessions.get_mut(&session).ok_or(NodeError::NoSession { session })?;
        if let Role::Buyer { budget, .. } = slot.meter.record().role() {
            self.signer.open_session(peer, session, budget)?;
        }
        slot.link = link;
        let tariff_hash = slot.meter.tariff().hash().0;
        if let Some(link) = link {
            self.effects.send(link, SessionStart { session, alias, tariff_hash, time: now.time });
        }
        self.count_signed(now, outpoint)?;
        self.pay_due(now, session)
    }

    pub(super) fn resend_claims(&mut self, link: LinkId, outpoint: OutPoint) {
        for slot in self.sessions.values_mut().filter(|slot| slot.outpoint == Some(outpoint)) {
            slot.link = Some(link);
            for (_, reading) in &slot.claims {
                self.effects.send(link, *reading);
            }
        }
    }

    /// The channel goes on at another outpoint: `stated` was settled on the old one, `start` is
    /// what the new one begins with.
    pub(super) fn move_sessions(
        &mut self,
        from: OutPoint,
        to: OutPoint,
        stated: Msat,
        start: Msat,
    ) {
        let siblings: Vec<(OutPoint, Msat)> = self
            .sessions
            .values()
            .filter_map(|slot| slot.outpoint)
            .filter_map(|at| Some((at, self.parent_of(at).filter(|(p, _)| *p == from)?.1)))
            .collect();
        for slot in self.sessions.values_mut() {
            let Some(at) = slot.outpoint else { continue };
            // A replaced spend: what the first one stated is counted already.
            let counted = if at == from {
                slot.from
            } else if let Some((_, stated)) = siblings.iter().find(|(sibling, _)| *sibling == at) {
                *stated
            } else {
                continue;
            };
            slot.earlier = slot.earlier.saturating_add(stated.saturating_sub(counted));
            slot.from = start;
            slot.outpoint = Some(to);
        }
    }

    /// A session that a peer speaks of: only the one at its other end may, so that no third party
    /// can bill, end or restart it.
    fn session_over(&self, link: LinkId, session: SessionId) -> Result<&SessionSlot, NodeError> {
        let slot = self.sessions.get(&session).filter(|slot| slot.link == Some(link));
        slot.ok_or(NodeError::NoSession { session })
    }

    /// The session that a channel pays; one at a time.
    pub(super) fn session_on(&self, outpoint: OutPoint) -> Option<SessionId> {
        let on = |slot: &SessionSlot| slot.outpoint == Some(outpoint);
        let due = |slot: &SessionSlot| slot.meter.record().state() != State::Ended;
        let open = self.sessions.iter().find(|(_, slot)| on(slot) && due(slot));
        // An ended one counts until another begins: its last payment may still come.
        open.or_else(|| self.sessions.iter().rev().find(|(_, slot)| on(slot))).map(|(id, _)| *id)
    }

    fn step(
        &mut self,
        now: &Now,
        session: SessionId,
        input: Input,
    ) -> Result<Option<State>, NodeError> {
        let slot = self.sessions.get_mut(&session).ok_or(NodeError::NoSession { session })?;
        let meter::Step { record, entered, .. } = slot.meter.decide(now.time, input)?;
        slot.meter.apply(&record)?;
        Ok(entered)
    }

    fn tell_entered(
        &mut self,
        session: SessionId,
        entered: Option<State>,
    ) -> Result<(), NodeError> {
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        match entered {
            Some(State::Active) => self.effects.tell(Event::ServiceOn { session }),
            Some(State::Paused) => {
                let (debt, owed) = (slot.meter.debt(), slot.meter.owed());
                self.effects.tell(Event::ServiceOff { session, debt });
                if let Some(link) = slot.link.filter(|_| slot.is_seller()) {
                    let time = slot.meter.record().at();
                    self.effects.send(link, SessionPause { session, time, owed });
                }
            }
            Some(State::Offered | State::Ended) | None => {}
        }
        Ok(())
    }

    fn store_session(&mut self, session: SessionId) -> Result<(), NodeError> {
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        let key = SessionSlot::key(session)?;
        Ok(self.effects.put(key, &slot.encode(&key))?)
    }
}
