//! The payee's side: the voucher first, then a bundle's items; the caller's decision; what became
//! of each hold, told until it is heard.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bitcoin::OutPoint;

use super::{bundles_from_wire, bundles_to_wire, holds_from_wire, holds_to_wire};
use crate::node::batch::{WINDOW_BYTES_MAX, WINDOW_ITEMS_MAX};
use crate::node::effects::{Event, ReceivedBundle};
use crate::node::lineage::Side;
use crate::node::{LinkId, Node, NodeError, Now, Repeat};
use crate::signer::Signer;
use crate::stream::payee::{Accepted, PayeeHold, PayeeHoldState};
use crate::stream::{HoldVoucher, StreamError};
use crate::tx::TxError;
use crate::tx::hold::Preimage;
use crate::units::{ChannelAlias, Height, HoldId, UtcSeconds};
use crate::wire::{self, BestHeld, HoldAck, HoldFulfilled, HoldItems, HoldReleased};

/// A voucher whose bundles' items have not all come.
#[derive(Debug)]
pub(in crate::node) struct Pending {
    outpoint: OutPoint,
    message: wire::HoldVoucher,
    /// The items of each bundle that is new, as far as they have come, and how long they will be.
    items: BTreeMap<HoldId, (usize, Vec<u8>)>,
}

impl Pending {
    /// Whether everything is here.
    fn is_whole(&self) -> bool {
        self.items.values().all(|(length, bytes)| *length > 0 && bytes.len() == *length)
    }

    fn bytes(&self) -> usize {
        self.items.values().fold(0, |sum, (length, _)| sum.saturating_add(*length))
    }
}

impl<S: Signer> Node<S> {
    /// A state with holds: one verification, then the items of what is new, then its record.
    pub(in crate::node) fn receive_hold_voucher(
        &mut self,
        now: &Now,
        link: LinkId,
        message: wire::HoldVoucher,
    ) -> Result<(), NodeError> {
        let (alias, outpoint) = (message.alias, self.named(link, message.alias)?);
        let ids: Vec<HoldId> = message.holds.as_slice().iter().map(|hold| hold.id).collect();
        self.pending_holds.remove(&link);
        let taken = self.begin_holds(now, link, outpoint, message);
        self.release_refused(link, alias, outpoint, &ids, &taken);
        taken
    }

    fn begin_holds(
        &mut self,
        now: &Now,
        link: LinkId,
        outpoint: OutPoint,
        message: wire::HoldVoucher,
    ) -> Result<(), NodeError> {
        let (offered, accepted) = self.judge_holds(now, outpoint, &message)?;
        let slot = self.payees.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let known = |id: &HoldId| slot.machine.holds().iter().find(|held| held.hold.id == *id);
        let is_new =
            |(id, sum): &&(HoldId, _)| known(id).and_then(|held| held.bundle) != Some(*sum);
        let new = offered.bundles.iter().filter(is_new);
        let items: BTreeMap<_, _> = new.map(|(id, _)| (*id, (0, Vec::new()))).collect();
        if items.is_empty() {
            return self.take_holds(now, link, outpoint, &message, &accepted);
        }
        // P5: only what its payer has signed for is kept, and once a channel, however many lines
        // its payer has.
        self.pending_holds.retain(|_, pending| pending.outpoint != outpoint);
        self.pending_holds.insert(link, Box::new(Pending { outpoint, message, items }));
        Ok(())
    }

    /// Order, session, depth, expiries, and the payer's signature.
    fn judge_holds(
        &self,
        now: &Now,
        outpoint: OutPoint,
        message: &wire::HoldVoucher,
    ) -> Result<(HoldVoucher, Accepted), NodeError> {
        let view = self.view(now.time)?;
        let slot = self.payees.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let delay = slot.machine.record().rules().holds.k;
        let (paid, signature) = (message.paid, message.signature);
        let holds = holds_from_wire(&message.holds, delay)?;
        let bundles = bundles_from_wire(message.bundles.as_ref())?;
        if let Some((_, sum)) = bundles.iter().find(|(_, sum)| sum.items() > WINDOW_ITEMS_MAX) {
            let got = usize::try_from(sum.items()).unwrap_or(usize::MAX);
            let max = usize::try_from(WINDOW_ITEMS_MAX).unwrap_or(usize::MAX);
            return Err(NodeError::WindowTooLarge { what: "items", got, max });
        }
        // What a fold pays would count for the session too.
        if let Some(session) = self.session_on(outpoint).filter(|_| !holds.is_empty()) {
            return Err(NodeError::Busy { session });
        }
        let offered = HoldVoucher { paid, holds, bundles, signature };
        let beside = self.credit_beside(outpoint, &view.tip);
        let accepted = slot.machine.accept_held_beside(&self.context, &offered, beside, &view)?;
        Ok((offered, accepted))
    }

    /// A part of a bundle's items. What belongs to no voucher here is passed over: that was lost
    /// or refused, and the payer hears of it.
    pub(in crate::node) fn receive_hold_items(
        &mut self,
        now: &Now,
        link: LinkId,
        message: &HoldItems,
    ) -> Result<(), NodeError> {
        let Some(pending) = self.pending_holds.get_mut(&link) else { return Ok(()) };
        if pending.message.alias != message.alias {
            return Ok(());
        }
        let others = pending.bytes();
        let Some((length, bytes)) = pending.items.get_mut(&message.id) else { return Ok(()) };
        let stated = usize::try_from(message.length).unwrap_or(usize::MAX);
        let offset = usize::try_from(message.offset).unwrap_or(usize::MAX);
        if offset != bytes.len() || (*length != 0 && *length != stated) {
            return Ok(());
        }
        let part = message.part.as_slice();
        let got = offset.saturating_add(part.len());
        let all = others.saturating_sub(*length).saturating_add(stated);
        if all > WINDOW_BYTES_MAX || got > stated || part.is_empty() {
            let (what, max) = ("bytes", WINDOW_BYTES_MAX);
            self.pending_holds.remove(&link);
            return Err(NodeError::WindowTooLarge { what, got: all.max(got), max });
        }
        *length = stated;
        bytes.extend_from_slice(part);
        if !pending.is_whole() {
            return Ok(());
        }
        let Some(pending) = self.pending_holds.remove(&link) else { return Ok(()) };
        let (alias, outpoint) = (message.alias, self.named(link, message.alias)?);
        let ids: Vec<HoldId> = pending.items.keys().copied().collect();
        let taken = self.take_bundles(now, link, outpoint, *pending);
        self.release_refused(link, alias, outpoint, &ids, &taken);
        taken
    }

    /// Everything has come: each bundle is counted again, and much may have happened since the
    /// voucher was judged.
    fn take_bundles(
        &mut self,
        now: &Now,
        link: LinkId,
        outpoint: OutPoint,
        pending: Pending,
    ) -> Result<(), NodeError> {
        let (offered, accepted) = self.judge_holds(now, outpoint, &pending.message)?;
        let mut taken = Vec::new();
        for (id, (_, bytes)) in pending.items {
            let sum = *offered.bundle(id).ok_or(StreamError::WrongBundle { id })?;
            sum.check_items(&bytes)?;
            taken.push(ReceivedBundle { outpoint, id, sum, items: bytes.into() });
        }
        self.take_holds(now, link, outpoint, &pending.message, &accepted)?;
        for bundle in taken {
            self.effects.hand_over_bundle(bundle);
        }
        Ok(())
    }

    /// P4: the record is in the batch before the acknowledgement is in the outbox.
    fn take_holds(
        &mut self,
        now: &Now,
        link: LinkId,
        outpoint: OutPoint,
        message: &wire::HoldVoucher,
        accepted: &Accepted,
    ) -> Result<(), NodeError> {
        let tip = self.view(now.time)?.tip.height;
        let slot = self.payees.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let presented = slot.machine.best().map(|best| best.signature);
        if accepted.is_new() {
            let before = slot.machine.holds().to_vec();
            let record = accepted.record();
            self.effects.put(record.key()?, &record.encode()?)?;
            slot.machine.apply(record)?;
            let (gained, paid) = (accepted.gained(), accepted.paid());
            let after = slot.machine.holds().to_vec();
            self.follow_holds(Side::Payee, outpoint)?;
            if gained > crate::units::Msat::ZERO {
                self.effects.tell(Event::Received { outpoint, gained, paid });
            }
            self.tell_holds(outpoint, &before, &after, tip);
        }
        let (alias, paid, state) = (message.alias, accepted.paid(), message.state());
        self.effects.send(link, HoldAck { alias, paid, state });
        // Anybody can repeat the voucher that is presented; only the payer can make another.
        if presented != Some(message.signature) {
            self.payer_is_at(link, alias, outpoint);
            self.tell_outcomes(now, outpoint);
        }
        if accepted.is_new() {
            self.follow_payer(outpoint)?;
            self.count_paid(now, outpoint)?;
        }
        Ok(())
    }

    pub(in crate::node) fn tell_holds(
        &mut self,
        outpoint: OutPoint,
        before: &[PayeeHold],
        after: &[PayeeHold],
        tip: Height,
    ) {
        for held in after {
            if !before.iter().any(|was| was.hold == held.hold && was.bundle == held.bundle) {
                let (hold, bundle) = (held.hold, held.bundle);
                self.effects.tell(Event::HoldOffered { outpoint, hold, bundle });
            }
        }
        for was in before {
            let id = was.hold.id;
            if after.iter().any(|held| held.hold.id == id) {
                continue;
            }
            // What may be dropped may also be paid, but nobody owes it.
            let droppable = was.state == PayeeHoldState::Released || was.hold.expiry <= tip;
            self.effects.tell(if droppable {
                Event::HoldDropped { outpoint, id }
            } else {
                Event::HoldFolded { outpoint, id }
            });
        }
    }

    /// What this payee refused for good it does not claim: it says so, or the payer would hold the
    /// money until the expiry.
    fn release_refused(
        &mut self,
        link: LinkId,
        alias: ChannelAlias,
        outpoint: OutPoint,
        ids: &[HoldId],
        taken: &Result<(), NodeError>,
    ) {
        let Err(error) = taken else { return };
        let Some(slot) = self.payees.get(&outpoint).filter(|_| is_for_good(error)) else { return };
        let unknown = ids.iter().filter(|id| !slot.machine.may_claim(**id));
        for id in unknown {
            self.effects.send(link, HoldReleased { alias, id: *id });
        }
    }

    /// The caller delivers: the preimage is durable, then revealed.
    pub(in crate::node) fn fulfil_hold(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        id: HoldId,
        preimage: Preimage,
    ) -> Result<(), NodeError> {
        let view = self.view(now.time)?;
        let slot = self.payees.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let record = slot.machine.fulfil(id, preimage, &view)?;
        // P4: without the preimage in the record a power cut would have given the money away.
        self.effects.put(record.key()?, &record.encode()?)?;
        slot.machine.apply(&record)?;
        self.follow_holds(Side::Payee, outpoint)?;
        self.tell_outcomes(now, outpoint);
        // It may be due at once; what keeps it from being sent the next look says.
        let _next_look = self.tend(now, Side::Payee, outpoint);
        Ok(())
    }

    /// The caller does not deliver: the promise is durable, then told.
    pub(in crate::node) fn release_hold(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        id: HoldId,
    ) -> Result<(), NodeError> {
        let slot = self.payees.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let record = slot.machine.release(id)?;
        self.effects.put(record.key()?, &record.encode()?)?;
        slot.machine.apply(&record)?;
        self.follow_holds(Side::Payee, outpoint)?;
        self.tell_outcomes(now, outpoint);
        Ok(())
    }

    /// Tells the payer what became of each hold that its newest voucher still has, and again later
    /// unless that is heard. Nobody but the payer is told: a preimage is worth money.
    fn tell_outcomes(&mut self, now: &Now, outpoint: OutPoint) {
        let first = self.first_repeat(now);
        let Some(slot) = self.payees.get_mut(&outpoint) else { return };
        let (ended, told) = (slot.machine.holds().iter().any(is_decided), slot.told.take());
        let at = slot.at.filter(|(link, _)| slot.proved == Some(*link));
        let Some((link, alias)) = at.filter(|_| ended) else { return };
        // Told anew, the intervals begin anew; told again, they grow.
        let due = told.filter(|told| told.at <= now.time).map(|told| told.again(now.time));
        slot.told = Some(due.unwrap_or(first));
        for held in slot.machine.holds() {
            let id = held.hold.id;
            match held.state {
                PayeeHoldState::Open => {}
                PayeeHoldState::Released => self.effects.send(link, HoldReleased { alias, id }),
                PayeeHoldState::Fulfilled(preimage) => {
                    let preimage = *preimage.as_bytes();
                    self.effects.send(link, HoldFulfilled { alias, id, preimage });
                }
            }
        }
    }

    /// What was told and not heard.
    pub(in crate::node) fn tell_outcomes_again(&mut self, now: &Now) {
        let due = self
            .payees
            .iter()
            .filter(|(_, slot)| slot.told.is_some_and(|told| told.at <= now.time));
        let due: Vec<OutPoint> = due.map(|(outpoint, _)| *outpoint).collect();
        for outpoint in due {
            self.tell_outcomes(now, outpoint);
        }
    }

    /// Seller: no session begins on a channel that holds.
    pub(in crate::node) fn check_start_beside_holds(
        &self,
        link: LinkId,
        message: &wire::SessionStart,
    ) -> Result<(), NodeError> {
        let Ok(outpoint) = self.named(link, message.alias) else { return Ok(()) };
        let slot = self.payees.get(&outpoint);
        match slot.map_or(0, |slot| slot.machine.holds().len()) {
            0 => Ok(()),
            count => Err(StreamError::HoldsOpen { count }.into()),
        }
    }

    /// When what became of holds is told again.
    pub(in crate::node) fn next_told(&self) -> Option<UtcSeconds> {
        self.payees.values().filter_map(|slot| slot.told).map(|told: Repeat| told.at).min()
    }

    /// The best voucher of a channel, if it has holds.
    pub(in crate::node) fn present_held(
        &mut self,
        link: LinkId,
        outpoint: OutPoint,
    ) -> Result<bool, NodeError> {
        let best = self.payees.get(&outpoint).and_then(|slot| slot.machine.best_held());
        let Some(best) = best.filter(|best| !best.holds.is_empty()) else { return Ok(false) };
        let (paid, signature) = (best.paid, best.signature);
        let holds = holds_to_wire(&best.holds)?;
        let bundles = bundles_to_wire(&best.bundles)?;
        self.effects.send(link, BestHeld { outpoint, paid, signature, holds, bundles });
        Ok(true)
    }
}

/// Whether the caller has decided on it.
const fn is_decided(held: &PayeeHold) -> bool {
    !matches!(held.state, PayeeHoldState::Open)
}

/// Whether the same holds will be refused again, whenever they come.
const fn is_for_good(error: &NodeError) -> bool {
    matches!(
        error,
        NodeError::WindowTooLarge { .. }
            | NodeError::Batch(_)
            | NodeError::Stream(
                StreamError::HoldTooNear { .. }
                    | StreamError::HoldTooFar { .. }
                    | StreamError::HoldReused { .. }
                    | StreamError::WrongBundle { .. }
                    | StreamError::BundleItems { .. }
                    | StreamError::Batch(_)
                    | StreamError::Tx(
                        TxError::HoldBelowDust { .. }
                            | TxError::TooManyHolds { .. }
                            | TxError::HoldOrder { .. }
                    )
            )
    )
}
