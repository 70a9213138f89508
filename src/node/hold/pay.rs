//! The payer's side: holds offered, grown, folded and dropped; each a record, then a voucher.

use alloc::vec::Vec;

use bitcoin::OutPoint;

use super::{
    Holding, PART_BYTES, bundles_from_wire, bundles_to_wire, holds_from_wire, holds_to_wire,
};
use crate::Arc;
use crate::node::batch::WINDOW_BYTES_MAX;
use crate::node::effects::Event;
use crate::node::lineage::Side;
use crate::node::{LinkId, Node, NodeError, Now};
use crate::signer::budget::Ahead;
use crate::signer::{Signer, SignerError};
use crate::store::Key;
use crate::stream::bundle::Bundle;
use crate::stream::payer::{HoldStep, PayerHoldState};
use crate::stream::{HoldVoucher, StreamError};
use crate::tx::hold::{PaymentHash, Preimage};
use crate::units::{Height, HoldId, Msat, Sat, SessionId};
use crate::wire::{self, HoldAck, HoldFulfilled, HoldReleased};

/// What a payee takes of a bundle, as of a window.
const ITEMS_MAX: usize = 131_072;

/// What is to be done about the holds of a channel.
#[derive(Debug, Clone)]
pub(in crate::node) enum Order {
    /// A new one.
    Offer { hash: PaymentHash, amount: Sat, expiry: Height },
    /// A new one, or more of one, for these items.
    Bundle { bundle: Bundle, items: Arc<[u8]> },
    /// More of one.
    Grow { id: HoldId, amount: Sat },
    /// One is paid.
    Fold { id: HoldId, preimage: Preimage },
    /// The released and the past ones go.
    Drop,
    /// So much is paid in all, beside them.
    Pay(Msat),
    /// So much more is paid: what waits does so whatever is folded or paid meanwhile.
    More(Msat),
}

/// An order that waits for a budget reservation to be durable.
#[derive(Debug)]
pub(in crate::node) struct Waiting {
    pub(in crate::node) outpoint: OutPoint,
    pub(in crate::node) session: SessionId,
    pub(in crate::node) order: Order,
    pub(in crate::node) ahead: Ahead,
}

impl Order {
    /// Whether it holds more than before.
    const fn is_new(&self) -> bool {
        matches!(self, Self::Offer { .. } | Self::Bundle { .. } | Self::Grow { .. })
    }
}

impl<S: Signer> Node<S> {
    /// What the channel can cost its payer at most while its output is not spent: paid, and every
    /// hold in any voucher that it ever signed whose expiry has not passed, released ones too. What
    /// a spend has put on the chain a monitor says.
    pub fn exposure(&self, outpoint: OutPoint) -> Option<Msat> {
        let machine = &self.payers.get(&outpoint)?.machine;
        Some(self.tip.map_or_else(|| machine.exposure(), |tip| machine.exposure_at(tip.height)))
    }

    /// Signs, stores and sends; a budget that is not reserved yet is reserved by the next flush
    /// first.
    pub(in crate::node) fn order_hold(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        session: SessionId,
        order: Order,
    ) -> Result<(), NodeError> {
        if order.is_new() {
            self.check_holdable(outpoint)?;
            // Before it is signed: what waited for a reservation comes in the middle of a drain.
            self.effects.check_room()?;
        }
        let step = match self.decide_hold(now, outpoint, session, &order) {
            Err(NodeError::Stream(StreamError::Signer(SignerError::NeedsReservation {
                ahead,
                ..
            }))) => {
                let signed = self.slot(outpoint)?.machine.signed();
                let order = match order {
                    Order::Pay(paid) => Order::More(paid.saturating_sub(signed)),
                    order => order,
                };
                self.waiting_holds.push(Waiting { outpoint, session, order, ahead });
                return Ok(());
            }
            step => step?,
        };
        if let Order::Bundle { bundle, items } = &order {
            self.keep_items(outpoint, &step, bundle, items)?;
        }
        let slot = self.slot_mut(outpoint)?;
        let before = slot.machine.signed();
        slot.machine.apply(step.record())?;
        slot.held.session = session;
        let is_news = slot.machine.signed() > before;
        self.work_shown(outpoint)?;
        // P4, S9: the outbox opens only after the barrier that this sets.
        let voucher = step.stage(self.effects.batch_for_barrier())?.after_barrier();
        self.follow_holds(Side::Payer, outpoint)?;
        self.tell_signed(outpoint, &order, &voucher);
        self.send_holds(now, outpoint, &voucher)?;
        self.count_signed(is_news.then_some(now.time), outpoint)
    }

    /// Nothing is signed for items that the payee would refuse.
    pub(in crate::node) fn offer_bundle(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        bundle: Bundle,
        items: &[u8],
        session: SessionId,
    ) -> Result<(), NodeError> {
        bundle.sum().check_items(items)?;
        for (what, got, max) in [
            ("items", usize::try_from(bundle.sum().items()).unwrap_or(usize::MAX), ITEMS_MAX),
            ("bytes", items.len(), WINDOW_BYTES_MAX),
        ] {
            if got > max {
                return Err(NodeError::WindowTooLarge { what, got, max });
            }
        }
        self.order_hold(now, outpoint, session, Order::Bundle { bundle, items: items.into() })
    }

    /// The reservation is durable. What is refused now was refused for good.
    pub(in crate::node) fn order_again(&mut self, now: &Now, waiting: Vec<Waiting>) {
        for Waiting { outpoint, session, order, .. } in waiting {
            let is_new = order.is_new();
            if self.order_hold(now, outpoint, session, order).is_err() && is_new {
                self.effects.tell(Event::HoldUnsigned { outpoint, session });
            }
        }
    }

    /// Nothing is held beside batches that are on their way, nor where a session is paid.
    fn check_holdable(&self, outpoint: OutPoint) -> Result<(), NodeError> {
        let slot = self.slot(outpoint)?;
        self.check_no_work(outpoint)?;
        if let Some(session) = self.unstated_on(outpoint) {
            return Err(NodeError::Busy { session });
        }
        if let Some(next) = slot.next {
            return Err(NodeError::Busy { session: next.session });
        }
        let waits = self.waiting.iter().any(|(waiting, _)| waiting.outpoint == outpoint);
        let flies = slot.batches.as_deref().is_some_and(|sending| !sending.is_at_rest());
        if waits || flies { Err(NodeError::InFlight { outpoint }) } else { Ok(()) }
    }

    /// A session is not begun, nor a batch paid, on a channel that holds.
    pub(in crate::node) fn check_no_holds(&self, outpoint: OutPoint) -> Result<(), NodeError> {
        let Some(slot) = self.payers.get(&outpoint) else { return Ok(()) };
        let count = slot.machine.holds().iter().filter(|kept| kept.state.is_present()).count();
        let waits = self.waiting_holds.iter().filter(|waiting| waiting.outpoint == outpoint);
        match count.saturating_add(waits.count()) {
            0 => Ok(()),
            count => Err(StreamError::HoldsOpen { count }.into()),
        }
    }

    /// Whether the next voucher of a channel is one with holds, or ends such.
    pub(in crate::node) fn holds_stand(&self, outpoint: OutPoint) -> bool {
        self.payers.get(&outpoint).is_some_and(|slot| {
            slot.held.is_unheard()
                || slot.machine.holds().iter().any(|kept| kept.state.is_present())
        })
    }

    fn decide_hold(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        session: SessionId,
        order: &Order,
    ) -> Result<HoldStep, NodeError> {
        let view = self.view(now.time)?;
        let slot = self.payers.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let (machine, context, signer) = (&slot.machine, &self.context, &mut self.signer);
        let aux = &now.aux;
        Ok(match order {
            Order::Offer { hash, amount, expiry } => {
                machine.offer(context, signer, *hash, *amount, *expiry, session, &view, aux)
            }
            Order::Bundle { bundle, .. } => {
                machine.offer_bundle(context, signer, bundle, session, &view, aux)
            }
            Order::Grow { id, amount } => {
                machine.grow(context, signer, *id, *amount, session, &view, aux)
            }
            Order::Fold { id, preimage } => {
                machine.fold(context, signer, *id, preimage, session, &view, aux)
            }
            Order::Drop => machine.drop_holds(context, signer, session, &view, aux),
            Order::Pay(paid) => machine.pay_held(context, signer, *paid, session, &view, aux),
            Order::More(more) => {
                let paid = machine.signed().saturating_add(*more);
                machine.pay_held(context, signer, paid, session, &view, aux)
            }
        }?)
    }

    /// The items are durable with the voucher that promises them.
    fn keep_items(
        &mut self,
        outpoint: OutPoint,
        step: &HoldStep,
        bundle: &Bundle,
        items: &Arc<[u8]>,
    ) -> Result<(), NodeError> {
        let mut kept = step.record().holds().iter();
        let kept = kept.find(|kept| {
            // Equal items have an equal root behind any hash.
            kept.state.is_present()
                && bundle.fits(&kept.hold)
                && kept.bundle.as_ref() == Some(bundle.sum())
        });
        let Some(id) = kept.map(|kept| kept.hold.id) else { return Ok(()) };
        let before = self.slot_mut(outpoint)?.held.items.insert(id, Arc::clone(items));
        for (number, part) in super::parts(items.len()).zip(items.chunks(PART_BYTES)) {
            let key = super::key(outpoint, id, number)?;
            self.effects.put(key, &super::encode(&key, part))?;
        }
        // More items can be fewer bytes.
        let before = super::parts(before.map_or(0, |before| before.len())).end;
        self.delete_parts(outpoint, id, super::parts(items.len()).end..before)
    }

    fn delete_parts(
        &mut self,
        outpoint: OutPoint,
        id: HoldId,
        parts: core::ops::Range<u16>,
    ) -> Result<(), NodeError> {
        for number in parts {
            self.effects.delete(super::key(outpoint, id, number)?)?;
        }
        Ok(())
    }

    fn tell_signed(&mut self, outpoint: OutPoint, order: &Order, voucher: &HoldVoucher) {
        let id = match order {
            Order::Offer { .. } => voucher.holds.last().map(|hold| hold.id),
            Order::Bundle { bundle, .. } => {
                let mut of = voucher.bundles.iter().filter(|(_, sum)| sum == bundle.sum());
                of.next_back().map(|(id, _)| *id)
            }
            Order::Grow { id, .. } => Some(*id),
            Order::Fold { .. } | Order::Drop | Order::Pay(_) | Order::More(_) => None,
        };
        if let (Some(id), Some(exposure)) = (id, self.exposure(outpoint)) {
            self.effects.tell(Event::HoldSigned { outpoint, id, exposure });
        }
    }

    fn send_holds(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        voucher: &HoldVoucher,
    ) -> Result<(), NodeError> {
        let resend_at = self.first_repeat(now).at;
        let slot = self.slot_mut(outpoint)?;
        let (alias, paid, signature) = (slot.alias, voucher.paid, voucher.signature);
        let holds = holds_to_wire(&voucher.holds)?;
        let bundles = bundles_to_wire(&voucher.bundles)?;
        let message = wire::HoldVoucher { alias, paid, signature, holds, bundles };
        slot.held.sent = Some(message.state());
        let Some(link) = slot.link else { return Ok(()) };
        slot.resend_at = Some(resend_at);
        let items = slot.held.items_of(alias, voucher)?;
        self.effects.send(link, message);
        for message in items {
            self.effects.send(link, message);
        }
        Ok(())
    }

    /// The whole state once more: signed anew, so that the payee sees who is at this end.
    pub(in crate::node) fn show_holds(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let now = self.fresh(now, outpoint)?;
        let slot = self.slot(outpoint)?;
        let (paid, session) = (slot.machine.signed(), slot.held.session);
        self.order_hold(&now, outpoint, session, Order::Pay(paid))
    }

    /// The payee presents a best voucher with holds: it is checked, and answered with what is
    /// signed, which also shows the payee who is here.
    pub(in crate::node) fn receive_best_held(
        &mut self,
        now: &Now,
        link: LinkId,
        message: &wire::BestHeld,
    ) -> Result<(), NodeError> {
        let outpoint = message.outpoint;
        self.check_asked(link, outpoint)?;
        let (paid, signature) = (message.paid, message.signature);
        let delay = self.slot(outpoint)?.machine.record().rules().holds.k;
        let holds = holds_from_wire(&message.holds, delay)?;
        let bundles = bundles_from_wire(message.bundles.as_ref())?;
        self.register_line(outpoint, true)?;
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let best = HoldVoucher { paid, holds, bundles, signature };
        let resumed = slot.machine.resume_held(&self.context, &mut self.signer, &best)?;
        let record = resumed.record();
        // S9: holds that an older record did not know are kept from here on.
        self.effects.put(record.key()?, &record.encode()?)?;
        slot.machine.apply(record)?;
        let (behind, signed) = (resumed.behind(), slot.machine.signed());
        slot.acked = signed.saturating_sub(behind);
        slot.asked = None;
        self.follow_holds(Side::Payer, outpoint)?;
        self.effects.tell(Event::Ready { outpoint, signed, behind });
        self.work_met(outpoint)?;
        // The channel is taken up whatever keeps this side from signing now: the next payment, or
        // the time, shows the state again.
        let shown = self.show_holds(now, outpoint);
        let folded = shown.and_then(|()| self.fold_known(now, outpoint));
        let _later = folded.and_then(|()| self.drop_ended(now, outpoint));
        Ok(())
    }

    /// The payee holds the state durably; what it names and is not the newest is passed over.
    pub(in crate::node) fn receive_hold_ack(
        &mut self,
        now: &Now,
        link: LinkId,
        message: HoldAck,
    ) -> Result<(), NodeError> {
        let outpoint = self.payer_named(link, message.alias)?;
        let slot = self.slot_mut(outpoint)?;
        if message.paid <= slot.machine.signed() && slot.held.sent == Some(message.state) {
            slot.held.sent = None;
            let items = core::mem::take(&mut slot.held.items);
            for (id, items) in items {
                self.delete_parts(outpoint, id, super::parts(items.len()))?;
            }
            if let Some(exposure) = self.exposure(outpoint) {
                self.effects.tell(Event::HoldsAcknowledged { outpoint, exposure });
            }
        }
        self.receive_ack(now, link, message.alias, message.paid)
    }

    /// The payee reveals a preimage: that is the proof of payment, and the hold is folded at once.
    pub(in crate::node) fn receive_fulfilled(
        &mut self,
        now: &Now,
        link: LinkId,
        message: HoldFulfilled,
    ) -> Result<(), NodeError> {
        let outpoint = self.payer_named(link, message.alias)?;
        let (id, preimage) = (message.id, Preimage::new(message.preimage));
        let slot = self.slot(outpoint)?;
        let mut kept = slot.machine.holds().iter();
        let Some(kept) = kept.find(|kept| kept.hold.id == id) else {
            // Folded already, and the payee has not heard of it: the voucher is sent again.
            return Ok(());
        };
        preimage.check(kept.hold.hash)?;
        if !kept.state.is_present() {
            // Given up: it is worth nothing to this payee, and may be to whoever is owed upstream.
            self.effects.tell(Event::HoldRevealed { outpoint, id, preimage });
            return Ok(());
        }
        let session = slot.held.session;
        let folded = self.order_hold(now, outpoint, session, Order::Fold { id, preimage });
        // Learnt is learnt, whatever keeps this side from paying now.
        self.effects.tell(Event::HoldRevealed { outpoint, id, preimage });
        match folded {
            // The payee says it again.
            Err(error) if error.heals() => Ok(()),
            folded => folded,
        }
    }

    /// The payee promises not to claim a hold, or says that it never took it: it is dropped, and
    /// at risk until its expiry all the same, because old vouchers stay valid.
    pub(in crate::node) fn receive_released(
        &mut self,
        now: &Now,
        link: LinkId,
        message: HoldReleased,
    ) -> Result<(), NodeError> {
        let outpoint = self.payer_named(link, message.alias)?;
        let id = message.id;
        let slot = self.slot_mut(outpoint)?;
        let mut kept = slot.machine.holds().iter();
        let Some(kept) = kept.find(|kept| kept.hold.id == id && kept.state.is_present()) else {
            return Ok(());
        };
        let (is_news, at_risk_until) = (kept.state == PayerHoldState::Open, kept.hold.expiry);
        if is_news {
            let record = slot.machine.released(id)?;
            slot.machine.apply(&record)?;
            self.effects.put(record.key()?, &record.encode()?)?;
            self.follow_holds(Side::Payer, outpoint)?;
            self.effects.tell(Event::HoldReleased { outpoint, id, at_risk_until });
        }
        self.drop_ended(now, outpoint)
    }

    /// Leaves out what was released and what is past, if there is anything.
    fn drop_ended(&mut self, now: &Now, outpoint: OutPoint) -> Result<(), NodeError> {
        let (Some(tip), slot) = (self.tip, self.slot(outpoint)?) else { return Ok(()) };
        let ended = slot.machine.holds().iter().any(|kept| match kept.state {
            PayerHoldState::Open => kept.hold.expiry < tip.height,
            PayerHoldState::Released => true,
            PayerHoldState::GivenUp | PayerHoldState::Expired => false,
        });
        let session = slot.held.session;
        match ended.then(|| self.order_hold(now, outpoint, session, Order::Drop)) {
            // Without the payee's word, or where the channel ends, the chain decides. What cannot
            // be signed now is left out at a later tip.
            Some(Err(NodeError::Stream(
                StreamError::MustResume { .. }
                | StreamError::WrongPhase { .. }
                | StreamError::TooLate { .. }
                | StreamError::Signer(_),
            )))
            | None => Ok(()),
            Some(dropped) => dropped,
        }
    }

    /// At a new tip: what is past goes out of the newest voucher.
    pub(in crate::node) fn drop_past(&mut self, now: &Now) -> Result<(), NodeError> {
        let holding = |(outpoint, slot): (&OutPoint, &crate::node::PayerSlot)| {
            let any = slot.machine.holds().iter().any(|kept| kept.state.is_present());
            any.then_some(*outpoint)
        };
        let holding: Vec<OutPoint> = self.payers.iter().filter_map(holding).collect();
        let mut first = Ok(());
        for outpoint in holding {
            first = first.and(self.drop_ended(now, outpoint));
        }
        first
    }

    /// A part of a bundle's items, in the order of the keys; those of a channel that is gone are
    /// passed over.
    pub(in crate::node) fn load_items(&mut self, key: &Key, bytes: &[u8]) -> Result<(), NodeError> {
        let part = super::decode(key, bytes)?;
        let Some(slot) = self.payers.get_mut(&part.outpoint) else { return Ok(()) };
        let before = slot.held.items.get(&part.id).map_or(&[][..], |items| items);
        if before.len() != usize::from(part.number).saturating_mul(PART_BYTES) {
            return Err(NodeError::BrokenRecord { key: *key, what: "part" });
        }
        let items = [before, part.bytes].concat();
        slot.held.items.insert(part.id, items.into());
        Ok(())
    }

    /// With the channel its items are forgotten.
    pub(in crate::node) fn delete_items(
        &mut self,
        side: Side,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let Some(slot) = self.payers.get(&outpoint).filter(|_| side == Side::Payer) else {
            return Ok(());
        };
        let kept = slot.held.items.iter().map(|(id, items)| (*id, super::parts(items.len())));
        let kept: Vec<_> = kept.collect();
        for (id, parts) in kept {
            self.delete_parts(outpoint, id, parts)?;
        }
        self.waiting_holds.retain(|waiting| waiting.outpoint != outpoint);
        Ok(())
    }
}

impl Holding {
    /// Without a state that waits.
    pub(in crate::node) const NONE: Self =
        Self { session: SessionId::MIN, sent: None, items: alloc::collections::BTreeMap::new() };
}
