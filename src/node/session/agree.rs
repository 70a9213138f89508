//! How a session begins: an offer, its acceptance, and the seller's stamp of the start.

use bitcoin::OutPoint;

use super::super::effects::Event;
use super::super::{LinkId, Node, NodeError, Now};
use super::{Place, SessionSlot};
use crate::meter::tariff::{Tariff, TariffHash};
use crate::meter::{Input, MeterError, Role, Session, State, Window};
use crate::signer::{PeerId, Signer};
use crate::stream::StreamError;
use crate::stream::payer::PayerPhase;
use crate::units::{Msat, Ppm, Quantity, Seconds, SessionId};
use crate::wire::{Bytes, SessionEnd, SessionOffer, SessionStart};

/// 16 offers of one link that the caller has not taken: about 4 KiB each, gone with the link.
const OFFERS_MAX: usize = 16;

/// A seller's offer, as the buyer keeps it until it accepts. It takes no place of a session.
#[derive(Debug)]
pub(in crate::node) struct Offer {
    message: SessionOffer,
    pub(in crate::node) meter: Session,
}

impl<S: Signer> Node<S> {
    pub(in crate::node) fn offer_session(
        &mut self,
        link: LinkId,
        session: SessionId,
        tariff: Tariff,
        window: Window,
        skew: Seconds,
        tolerance: Ppm,
    ) -> Result<(), NodeError> {
        if !self.links.contains_key(&link) {
            return Err(NodeError::NoLink { link });
        }
        let offer = SessionOffer {
            session,
            tariff_hash: tariff.hash().0,
            credit: window.credit,
            prepay: window.prepay,
            skew,
            tolerance,
            tariff: Some(Bytes::new(tariff.encode())?),
        };
        self.check_room(session)?;
        let meter = Session::offer(session, Role::Seller, window, tariff);
        self.sessions.insert(session, SessionSlot::new(meter, Some(link)));
        self.effects.send(link, offer);
        Ok(())
    }

    /// The seller's offer: nothing is agreed before the caller accepts it.
    pub(in crate::node) fn receive_offer(
        &mut self,
        link: LinkId,
        offer: &SessionOffer,
    ) -> Result<(), NodeError> {
        let session = offer.session;
        let of_link = (link, SessionId::MIN)..=(link, SessionId::MAX);
        let known = self.offers.contains_key(&(link, session));
        if !known && self.offers.range(of_link).count() >= OFFERS_MAX {
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
        let mut message = offer.clone();
        message.tariff = None;
        let meter = Session::offer(session, role, window, tariff);
        self.offers.insert((link, session), Offer { message, meter });
        self.effects.tell(Event::SessionOffered {
            link,
            session,
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
        session: SessionId,
        outpoint: OutPoint,
        budget: Msat,
        slack: Quantity,
    ) -> Result<(), NodeError> {
        let payer = self.slot(outpoint)?;
        let (alias, signed) = (payer.alias, payer.machine.signed());
        let peer = PeerId::new(payer.machine.record().base());
        match payer.machine.phase() {
            PayerPhase::Open | PayerPhase::Leaving { .. } => {}
            // What was signed before would count as this session's.
            _ => return Err(StreamError::MustResume { at_least: signed }.into()),
        }
        let waits = self.waiting.iter().any(|(waiting, _)| waiting.outpoint == outpoint);
        if waits || payer.acked < signed {
            return Err(NodeError::NotAsked { what: "a session before the last payment's answer" });
        }
        let link = payer.link.ok_or(NodeError::NoSession { session })?;
        if !self.offers.contains_key(&(link, session)) {
            return Err(NodeError::NotAsked { what: "this session" });
        }
        if let Some(session) = self.session_on(outpoint) {
            return Err(NodeError::Busy { session });
        }
        self.check_room(session)?;
        self.signer.open_session(peer, session, budget)?;
        let offer = self.offers.remove(&(link, session)).ok_or(NodeError::NoSession { session })?;
        let Offer { message: offer, meter } = offer;
        let window = Window { credit: offer.credit, prepay: offer.prepay };
        let role = buyer(&offer, slack, budget);
        let meter = Session::offer(session, role, window, meter.tariff().clone());
        let mut slot = SessionSlot::new(meter, Some(link));
        slot.place = Some(Place { outpoint, earlier: Msat::ZERO, from: signed });
        (slot.taken, slot.peer) = (Some(now.time), Some(peer));
        self.sessions.insert(session, slot);
        let (tariff_hash, time) = (offer.tariff_hash, now.time);
        self.effects.send(link, SessionStart { session, alias, tariff_hash, time });
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
        let slot = self.session_slot(session)?;
        if slot.meter.record().state() != State::Offered {
            return Ok(());
        }
        // The answer may come late, over another connection: any stamp since the offer was taken
        // is as good as one of just now.
        let since = slot.taken.unwrap_or(now.time);
        let late = message.time >= since && message.time <= now.time;
        let clock = if late { message.time } else { now.time };
        let input = Input::Start { at: message.time, tariff: TariffHash(message.tariff_hash) };
        let entered = self.step(clock, session, input)?;
        self.store_session(session)?;
        self.tell_entered(session, entered)?;
        self.pay_due(now, session)
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
            return Err(NodeError::NoSession { session });
        }
        if slot.meter.record().state() == State::Offered {
            if let Some(session) = self.session_on(outpoint) {
                return Err(NodeError::Busy { session });
            }
            let tariff = TariffHash(message.tariff_hash);
            let entered = self.step(now.time, session, Input::Start { at: now.time, tariff })?;
            let slot = self.session_mut(session)?;
            slot.place = Some(Place { outpoint, earlier: Msat::ZERO, from: paid });
            slot.link = Some(link);
            self.store_session(session)?;
            self.tell_entered(session, entered)?;
        } else if !self.session_slot(session)?.is_at_or_before(outpoint) {
            return Err(NodeError::NoSession { session });
        }
        let slot = self.session_mut(session)?;
        slot.link = Some(link);
        let (record, ended) = (*slot.meter.record(), slot.is_ended());
        let (alias, tariff_hash) = (message.alias, message.tariff_hash);
        self.effects
            .send(link, SessionStart { session, alias, tariff_hash, time: record.started() });
        self.resend_claims(link, session);
        if ended {
            let (time, quantity) = (record.at(), record.quantity());
            self.effects.send(link, SessionEnd { session, time, quantity });
            self.state_if_settled(now, session)?;
        }
        Ok(())
    }
}

const fn buyer(offer: &SessionOffer, slack: Quantity, budget: Msat) -> Role {
    Role::Buyer { meter_ppm: offer.tolerance, meter_slack: slack, skew: offer.skew, budget }
}
