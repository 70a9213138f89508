//! How a session begins: an offer, its acceptance, and the seller's stamp of the start.

use bitcoin::OutPoint;

use super::super::effects::Event;
use super::super::lineage::Side;
use super::super::{Acceptance, LinkId, Node, NodeError, Now};
use super::{Meeting, Place, SessionSlot};
use crate::meter::tariff::{Tariff, TariffHash};
use crate::meter::{Input, MeterError, Role, Session, State, Window};
use crate::signer::{PeerId, Signer};
use crate::stream::StreamError;
use crate::stream::payer::PayerPhase;
use crate::units::{Msat, Ppm, Quantity, Seconds, SessionId};
use crate::wire::{Bytes, OfferHash, SessionEnd, SessionOffer, SessionStart, TARIFF_MAX};

/// 16 offers of one link that the caller has not taken: about 4 KiB each, gone with the link.
const OFFERS_MAX: usize = 16;

/// A seller's offer, as the buyer keeps it until it accepts. It takes no place of a session.
#[derive(Debug)]
pub(in crate::node) struct Offer {
    message: SessionOffer,
    pub(in crate::node) hash: OfferHash,
    pub(in crate::node) meter: Session,
}

/// What an offer says beside what the seller's meter knows: kept to say it again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered {
    skew: Seconds,
    tolerance: Ppm,
}

impl Offered {
    fn message(self, meter: &Session) -> Result<SessionOffer, NodeError> {
        let (record, tariff) = (meter.record(), meter.tariff());
        let Window { credit, prepay } = record.window();
        Ok(SessionOffer {
            session: record.id(),
            tariff_hash: tariff.hash().0,
            credit,
            prepay,
            skew: self.skew,
            tolerance: self.tolerance,
            tariff: Some(Bytes::new(tariff.encode())?),
        })
    }
}

/// What a seller offers to the buyer of another session.
#[derive(Debug)]
pub(in crate::node) struct Successor {
    pub(in crate::node) session: SessionId,
    pub(in crate::node) tariff: Tariff,
    pub(in crate::node) skew: Seconds,
    pub(in crate::node) tolerance: Ppm,
}

/// What a seller offers, and to whom.
#[derive(Debug)]
pub(in crate::node) struct NewSession {
    pub(in crate::node) link: LinkId,
    pub(in crate::node) session: SessionId,
    pub(in crate::node) tariff: Tariff,
    pub(in crate::node) window: Window,
    pub(in crate::node) skew: Seconds,
    pub(in crate::node) tolerance: Ppm,
}

impl SessionSlot {
    /// Buyer: the offer that it took, as its record has it after a restart too.
    pub(super) fn taken_offer(&self) -> Option<OfferHash> {
        let record = self.meter.record();
        let (session, tariff_hash) = (record.id(), self.meter.tariff().hash().0);
        let Window { credit, prepay } = record.window();
        let Role::Buyer { meter_ppm: tolerance, skew, .. } = record.role() else { return None };
        let tariff = None;
        let offer = SessionOffer { session, tariff_hash, credit, prepay, skew, tolerance, tariff };
        Some(offer.hash())
    }
}

impl<S: Signer> Node<S> {
    pub(in crate::node) fn new_session(
        &mut self,
        now: &Now,
        new: NewSession,
    ) -> Result<(), NodeError> {
        let NewSession { link, session, tariff, window, skew, tolerance } = new;
        if !self.links.contains_key(&link) {
            return Err(NodeError::NoLink { link });
        }
        let offered = Offered { skew, tolerance };
        let meter = Session::offer(session, Role::Seller, window, tariff);
        let offer = offered.message(&meter)?;
        self.check_room(session)?;
        let mut slot = SessionSlot::new(meter, Some(link));
        (slot.since, slot.offered) = (Some(now.time), Some(offered));
        slot.repeat = Some(self.first_repeat(now));
        self.sessions.insert(session, slot);
        self.effects.send(link, offer);
        Ok(())
    }

    /// Seller: the offer once more, while nobody has taken it. Whether it still stands.
    pub(super) fn offer_again(&mut self, link: LinkId, session: SessionId) -> bool {
        let Some(slot) = self.sessions.get(&session) else { return false };
        let offer = slot.offered.and_then(|offered| offered.message(&slot.meter).ok());
        let Some(offer) = offer else { return false };
        self.effects.send(link, offer);
        true
    }

    /// Seller: ends a session, and offers its successor to the same buyer.
    ///
    /// A session of its own, because a tariff is what a session's statement is about: each of the
    /// two is stated, and disputed, under one price. And because a change inside a session would
    /// have to be told, accepted and stamped across power cuts of either side, which is what the
    /// end of one session and the start of another do already.
    pub(in crate::node) fn change_tariff(
        &mut self,
        now: &Now,
        session: SessionId,
        next: Successor,
    ) -> Result<(), NodeError> {
        let slot = self.session_slot(session)?;
        let (window, over) = (slot.meter.record().window(), slot.is_ended());
        let link = slot.link.filter(|link| slot.is_seller() && self.links.contains_key(link));
        let link = link.ok_or(NodeError::NoSession { session })?;
        let Successor { session: id, tariff, skew, tolerance } = next;
        let (got, want) = (tariff.measure(), slot.meter.tariff().measure());
        if got != want {
            return Err(MeterError::MeasureChanged { got, want }.into());
        }
        // Both or neither: the offer is what can be refused, and it goes behind the end.
        self.check_room(id)?;
        Bytes::<TARIFF_MAX>::new(tariff.encode())?;
        if !over {
            self.end_session(now, session)?;
        }
        let new = NewSession { link, session: id, tariff, window, skew, tolerance };
        self.new_session(now, new)
    }

    /// The seller's offer: nothing is agreed before the caller accepts it.
    pub(in crate::node) fn receive_offer(
        &mut self,
        link: LinkId,
        offer: &SessionOffer,
    ) -> Result<(), NodeError> {
        let session = offer.session;
        let of_link = (link, SessionId::MIN)..=(link, SessionId::MAX);
        // Said again before the seller heard that it is taken.
        if self.session_over(link, session).is_ok() {
            return Ok(());
        }
        if let Some(before) = self.offers.get(&(link, session)) {
            // What the caller was told, and perhaps accepts right now, cannot change.
            let (same, what) = (before.hash == offer.hash(), "another offer of the same session");
            return if same { Ok(()) } else { Err(NodeError::NotAsked { what }) };
        }
        if self.offers.range(of_link).count() >= OFFERS_MAX {
            return Err(NodeError::TooMany { what: "offers on a link", max: OFFERS_MAX });
        }
        let blob = offer.tariff.as_ref().ok_or(NodeError::NotAsked { what: "a bare hash" })?;
        let tariff = Tariff::parse(blob.as_slice())?;
        if tariff.hash().0 != offer.tariff_hash {
            return Err(MeterError::TariffUnknown { got: TariffHash(offer.tariff_hash) }.into());
        }
        let window = Window { credit: offer.credit, prepay: offer.prepay };
        let (skew, tolerance, hash) = (offer.skew, offer.tolerance, tariff.hash());
        let role = buyer(offer, Quantity::ZERO, Msat::ZERO);
        let (message, named) = (SessionOffer { tariff: None, ..offer.clone() }, offer.hash());
        let meter = Session::offer(session, role, window, tariff);
        self.offers.insert((link, session), Offer { message, hash: named, meter });
        self.effects.tell(Event::SessionOffered {
            link,
            session,
            offer: named,
            tariff: hash,
            window,
            skew,
            tolerance,
        });
        Ok(())
    }

    /// Buyer: takes what the payee of `outpoint` offered on that channel's link.
    pub(in crate::node) fn accept_session(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        acceptance: Acceptance,
    ) -> Result<(), NodeError> {
        let session = acceptance.session;
        // What a fold pays would count for it, and what is paid for work.
        self.check_no_holds(outpoint)?;
        self.check_no_work(outpoint)?;
        let payer = self.slot(outpoint)?;
        let signed = payer.machine.signed();
        match payer.machine.phase() {
            PayerPhase::Open | PayerPhase::Leaving { .. } => {}
            // What was signed before would count as this session's.
            _ => return Err(StreamError::MustResume { at_least: signed }.into()),
        }
        let link = payer.link.ok_or(NodeError::NoSession { session })?;
        let Some(offer) = self.offers.get(&(link, session)) else {
            return Err(NodeError::NotAsked { what: "this session" });
        };
        if acceptance.offer != offer.hash {
            return Err(NodeError::OtherOffer { session });
        }
        let waits = self.waiting.iter().any(|(waiting, _)| waiting.outpoint == outpoint);
        let unanswered = waits || payer.acked < signed;
        match self.unstated_on(outpoint) {
            Some(session) if !self.session_slot(session)?.is_ended() => {
                Err(NodeError::Busy { session })
            }
            before if before.is_some() || unanswered => {
                if payer.next.is_some_and(|next| next.session != session) {
                    let what = "a second session before the last payment's answer";
                    return Err(NodeError::NotAsked { what });
                }
                self.slot_mut(outpoint)?.next = Some(acceptance);
                Ok(())
            }
            _ => self.take_session(now, link, outpoint, acceptance),
        }
    }

    /// Buyer: what was paid is acknowledged or stated, so what waited for it begins.
    pub(in crate::node) fn accept_next(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        // The statement of a session may come when its channel is gone.
        let waits = self.payers.get(&outpoint).is_some_and(|payer| payer.next.is_some());
        if !waits || self.unstated_on(outpoint).is_some() {
            return Ok(());
        }
        let next = self.slot_mut(outpoint)?.next.take();
        next.map_or(Ok(()), |next| self.accept_session(now, outpoint, next))
    }

    /// Buyer: begins an offered session on a channel that pays no other.
    fn take_session(
        &mut self,
        now: &Now,
        link: LinkId,
        outpoint: OutPoint,
        acceptance: Acceptance,
    ) -> Result<(), NodeError> {
        let Acceptance { session, budget, slack, .. } = acceptance;
        let payer = self.slot(outpoint)?;
        let (alias, signed) = (payer.alias, payer.machine.signed());
        let peer = PeerId::new(payer.machine.record().base());
        self.check_room(session)?;
        self.signer.open_session(peer, session, budget)?;
        // Before the start, so that the payee knows by then that this line is the payer's.
        self.show_payer(now, outpoint).inspect_err(|_| self.signer.end_session(peer, session))?;
        let offer = self.offers.remove(&(link, session)).ok_or(NodeError::NoSession { session })?;
        let Offer { message: offer, hash, meter } = offer;
        let window = Window { credit: offer.credit, prepay: offer.prepay };
        let role = buyer(&offer, slack, budget);
        let meter = Session::offer(session, role, window, meter.tariff().clone());
        let mut slot = SessionSlot::new(meter, Some(link));
        slot.place = Some(Place { outpoint, earlier: Msat::ZERO, from: signed });
        slot.before = self.line_before(Side::Payer, outpoint);
        (slot.since, slot.peer) = (Some(now.time), Some(peer));
        slot.starts.asked = 1;
        slot.repeat = Some(self.first_repeat(now));
        self.sessions.insert(session, slot);
        // The seller may have begun when the answer is lost: this side must know of it after a cut.
        self.store_session(session)?;
        let start = SessionStart { session, alias, offer: hash, time: now.time };
        self.effects.send(link, start);
        Ok(())
    }

    /// Seller: the buyer takes the offer, or comes back. Buyer: the seller's stamp of the start.
    pub(in crate::node) fn receive_start(
        &mut self,
        now: &Now,
        link: LinkId,
        message: &SessionStart,
    ) -> Result<(), NodeError> {
        if self.session_slot(message.session)?.is_seller() {
            self.sell(now, link, message)
        } else {
            self.session_over(link, message.session)?;
            self.buy(now, message)
        }
    }

    fn buy(&mut self, now: &Now, message: &SessionStart) -> Result<(), NodeError> {
        let session = message.session;
        let slot = self.session_mut(session)?;
        let ended = slot.is_ended();
        if !ended {
            slot.repeat = None;
        }
        // Ended before the start came: what the start costs is owed all the same (M9).
        let late_start = ended && !slot.over && !slot.meter.record().has_begun();
        if slot.meter.record().state() != State::Offered && !late_start {
            return Ok(());
        }
        // The answer may come late, over another connection: any stamp since the offer was taken
        // is as good as one of just now.
        let since = slot.since.unwrap_or(now.time);
        let late = message.time >= since && message.time <= now.time;
        let clock = if late { message.time } else { now.time };
        if slot.taken_offer() != Some(message.offer) {
            return Err(NodeError::OtherOffer { session });
        }
        let input = Input::Start { at: message.time, tariff: slot.meter.tariff().hash() };
        let entered = self.step(clock, session, input)?;
        // What the seller has read until now it reads out behind its start, and was not heard
        // before: those stamps are believed as the start's is, or all of it would count at the
        // price of the next reading (M7).
        let slot = self.session_mut(session)?;
        slot.met = Some(Meeting::of(now.time, slot.meter.record()));
        self.count_from_start(session)?;
        self.store_session(session)?;
        self.tell_entered(session, entered)?;
        self.pay_due(now, session)
    }

    /// Buyer: nothing is due before the start, so what was paid since the session was taken was
    /// paid beside it. A seller that heard of the payment first counts it before the session too;
    /// one that heard of the start first counts more than this side asks of it, never less.
    fn count_from_start(&mut self, session: SessionId) -> Result<(), NodeError> {
        let Some(Place { outpoint, .. }) = self.session_slot(session)?.place else { return Ok(()) };
        let Some(payer) = self.payers.get(&outpoint) else { return Ok(()) };
        let place = Place { outpoint, earlier: Msat::ZERO, from: payer.machine.signed() };
        self.session_mut(session)?.place = Some(place);
        Ok(())
    }

    fn sell(&mut self, now: &Now, link: LinkId, message: &SessionStart) -> Result<(), NodeError> {
        let session = message.session;
        let outpoint = self.named(link, message.alias)?;
        let channel = self.payees.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let (paid, here) = (channel.machine.paid(), channel.at.map(|(at, _)| at) == Some(link));
        let slot = self.session_slot(session)?;
        // Who only names a channel, or a session, has shown nothing: as long as the one that was
        // there first is connected, it takes neither.
        if !here || (slot.link != Some(link) && self.is_up(slot.link)) {
            return Err(NodeError::NotHere { session });
        }
        if slot.meter.record().state() == State::Offered {
            let own = slot.offered.map(|offered| offered.message(&slot.meter)).transpose()?;
            let tariff = slot.meter.tariff().hash();
            // The two would count by different tolerances, or pause at different debts.
            if own.map(|own| own.hash()) != Some(message.offer) {
                return Err(NodeError::OtherOffer { session });
            }
            // P2: no service on the credit of a channel that could not pay for it now.
            let view = self.view(now.time)?;
            channel.machine.check_payable(self.credit_beside(outpoint, &view.tip), &view)?;
            if let Some(before) = self.session_on(outpoint)
                && !self.end_for_successor(now, link, outpoint, before)?
            {
                let busy = NodeError::Busy { session: before };
                self.refuse(link, message.alias, Some(session), &busy);
                return Ok(());
            }
            let entered = self.step(now.time, session, Input::Start { at: now.time, tariff })?;
            let before = self.line_before(Side::Payee, outpoint);
            let slot = self.session_mut(session)?;
            slot.place = Some(Place { outpoint, earlier: Msat::ZERO, from: paid });
            slot.before = before;
            (slot.link, slot.offered, slot.repeat) = (Some(link), None, None);
            self.store_session(session)?;
            self.tell_entered(session, entered)?;
        } else if !self.is_of_line(Side::Payee, self.session_slot(session)?, outpoint) {
            // An offer that ended before anybody took it is nothing that a buyer could pay.
            let taken = self.session_slot(session)?.place.is_some();
            return Err(if taken {
                NodeError::NotHere { session }
            } else {
                NodeError::NoSession { session }
            });
        }
        let first = self.first_repeat(now);
        let slot = self.session_mut(session)?;
        slot.link = Some(link);
        slot.repeat = slot.waits_for_payment().then_some(first);
        let (record, ended) = (*slot.meter.record(), slot.is_ended());
        self.effects.send(link, SessionStart { time: record.started(), ..*message });
        self.read_out(link, session);
        if ended {
            let (time, quantity) = (record.at(), record.quantity());
            self.effects.send(link, SessionEnd { session, time, quantity });
            self.state_if_settled(now, session)?;
        }
        Ok(())
    }

    /// Seller: the payer of a channel takes another session while one is open on it, so it knows of
    /// that one no more: it was restored from its seed and its backup. Whether the new one begins.
    ///
    /// Only the payer can do that, by a signature that it made on this line; for anybody else the
    /// channel is busy. What was counted stands: with nothing owed the old session is over.
    /// Otherwise it ends too, but keeps the channel until its debt is paid (`Command::Pay`) or
    /// written off (`Command::ForgetSession`): a payer that could drop its debts by forgetting
    /// them would take the credit again and again. The buyer asks again by itself.
    fn end_for_successor(
        &mut self,
        now: &Now,
        link: LinkId,
        outpoint: OutPoint,
        before: SessionId,
    ) -> Result<bool, NodeError> {
        let proved = self.payees.get(&outpoint).and_then(|slot| slot.proved);
        if proved != Some(link) {
            return Err(NodeError::Busy { session: before });
        }
        let slot = self.session_mut(before)?;
        // Nothing more is said of it to who does not know it; by its start it is taken up again.
        (slot.link, slot.repeat) = (None, None);
        if !slot.is_ended() {
            let time = now.time.max(slot.meter.record().at());
            self.finish(before, time)?;
        }
        Ok(self.session_on(outpoint).is_none())
    }
}

const fn buyer(offer: &SessionOffer, slack: Quantity, budget: Msat) -> Role {
    Role::Buyer { meter_ppm: offer.tolerance, meter_slack: slack, skew: offer.skew, budget }
}
