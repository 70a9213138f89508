//! The payer's side: windows signed and sent, acknowledged, and sent again.

use alloc::vec::Vec;

use bitcoin::OutPoint;

use super::bill::{Bill, bill, brought_to};
use super::{Sending, WINDOW_BYTES_MAX, WINDOW_ITEMS_MAX, Window};
use crate::batch::flight::{Flight, FlightError};
use crate::batch::lanes::Lanes;
use crate::batch::{BatchError, Sealed};
use crate::node::effects::Event;
use crate::node::{LinkId, Node, NodeError, Now, Payment};
use crate::signer::Signer;
use crate::stream::payer::{Ending, PayerPhase};
use crate::tx::Voucher;
use crate::units::{Msat, SessionId};
use crate::wire::{Bytes, LanesQuery, LanesTold, Refusal, Refused};

impl<S: Signer> Node<S> {
    /// What this payer has signed and the payee has not acknowledged: the payee could settle it and
    /// deny what it was for.
    pub fn at_risk(&self, outpoint: OutPoint) -> Option<Msat> {
        let slot = self.payers.get(&outpoint)?;
        Some(slot.machine.signed().saturating_sub(slot.acked))
    }

    /// Signs a window and sends it; a budget that is not reserved yet is reserved by the next flush
    /// first.
    pub(in crate::node) fn pay_batch(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        batch: Sealed,
        session: SessionId,
    ) -> Result<(), NodeError> {
        self.check_no_holds(outpoint)?;
        self.check_window(outpoint, &batch)?;
        if let Some(session) = self.session_on(outpoint) {
            return Err(NodeError::Busy { session });
        }
        let paid = batch.credited.claim.paid;
        self.sending(outpoint)?.unsigned = Some(batch);
        let payment = Payment { outpoint, paid, session, ending: Ending::KeepsChange };
        let sent = self.pay_to(now, payment);
        if sent.is_err() {
            self.sending(outpoint)?.unsigned = None;
        }
        sent
    }

    /// Everything about a window that can be refused before it is signed.
    fn check_window(&self, outpoint: OutPoint, batch: &Sealed) -> Result<(), NodeError> {
        let claim = &batch.credited.claim;
        let items = usize::try_from(claim.items).unwrap_or(usize::MAX);
        let items_max = usize::try_from(WINDOW_ITEMS_MAX).unwrap_or(usize::MAX);
        for (what, got, max) in
            [("items", items, items_max), ("bytes", batch.bytes.len(), WINDOW_BYTES_MAX)]
        {
            if got > max {
                return Err(NodeError::WindowTooLarge { what, got, max });
            }
        }
        let slot = self.slot(outpoint)?;
        let sending = slot.batches.as_deref().ok_or(NodeError::NoLanes { outpoint })?;
        let signed = slot.machine.signed();
        let in_flight = sending.flight.batches() > 0;
        // A plain payment that is on its way would be overtaken, or lost beneath the batch.
        let waits = self.waiting.iter().any(|(waiting, _)| waiting.outpoint == outpoint);
        if waits
            || sending.unsigned.is_some()
            || sending.asking
            || (!in_flight && slot.acked < signed)
        {
            return Err(NodeError::InFlight { outpoint });
        }
        if claim.start != signed {
            return Err(FlightError::NotNext { got: claim.start, want: signed }.into());
        }
        let before = sending.lanes.caught_up(signed)?;
        before.check_paid_to(&batch.credited.lanes)?;
        let amount = claim.paid.saturating_sub(claim.start);
        let fresh = Flight::within(signed, sending.limits);
        let flight = if in_flight { &sending.flight } else { &fresh };
        Ok(flight.check_room(amount, batch.bytes.len())?)
    }

    /// Whether a payment may be signed now: nothing beside batches while they are in flight, since
    /// a batch counts only from where it starts.
    pub(in crate::node) fn check_flight(&mut self, payment: &Payment) -> Result<(), NodeError> {
        let outpoint = payment.outpoint;
        let slot = self.slot(outpoint)?;
        let Some(sending) = slot.batches.as_deref() else { return Ok(()) };
        let again = payment.paid <= slot.machine.signed();
        // A window that waits for its budget comes first: a voucher above it would pay for its
        // items in no lane, and leave it waiting for good.
        let overtakes = sending.unsigned.is_some() && !sending.is_next(payment.paid);
        if overtakes && !again {
            return Err(NodeError::InFlight { outpoint });
        }
        // A plain voucher above windows that the payee lacks would pay for them in no lane.
        let lacks = slot.acked < sending.lanes.paid()?;
        if again || !(lacks || sending.flight.batches() > 0) || sending.is_next(payment.paid) {
            return Ok(());
        }
        Err(NodeError::InFlight { outpoint })
    }

    /// A payment was signed. If it was a window's: puts the records into the commit, and sends it.
    pub(in crate::node) fn launch(
        &mut self,
        outpoint: OutPoint,
        voucher: Voucher,
        session: SessionId,
    ) -> Result<bool, NodeError> {
        let slot = self.slot_mut(outpoint)?;
        let Some(sending) = slot.batches.as_deref_mut() else { return Ok(false) };
        if !sending.is_next(voucher.paid) {
            return Ok(false);
        }
        let Some(sealed) = sending.unsigned.take() else { return Ok(false) };
        let start = sealed.credited.claim.start;
        let before = sending.lanes.caught_up(start)?;
        let lanes = if sending.changed { Some(Bytes::new(before.encode())?) } else { None };
        if sending.flight.batches() == 0 {
            sending.flight = Flight::within(start, sending.limits);
        }
        let window = Window { signature: voucher.signature, lanes };
        let mut messages = Vec::new();
        window.put(slot.alias, &sealed, &mut messages)?;
        let after = sealed.credited.lanes.clone();
        sending.flight.launch(sealed)?;
        sending.windows.push_back(window);
        (sending.lanes, sending.session, sending.changed) = (after, session, false);
        // P4: what was signed, and what its items were, are durable before the batch leaves.
        let (record, link) = (slot.machine.record(), slot.link);
        let (key, bytes) = (record.key()?, record.encode()?);
        self.effects.put(key, &bytes)?;
        self.put_payer_lanes(outpoint)?;
        for message in messages {
            if let Some(link) = link {
                self.effects.send(link, message);
            }
        }
        Ok(true)
    }

    /// A window that its budget refused when its turn came.
    pub(in crate::node) fn drop_unsigned(&mut self, payment: &Payment) {
        let outpoint = payment.outpoint;
        let Ok(sending) = self.sending(outpoint) else { return };
        if sending.is_next(payment.paid) {
            sending.unsigned = None;
            self.effects.tell(Event::BatchUnpaid { outpoint, paid: payment.paid });
        }
    }

    /// Windows that are acknowledged leave the flight.
    pub(in crate::node) fn windows_acknowledged(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        paid: Msat,
    ) -> Result<(), NodeError> {
        let first = self.first_repeat(now).at;
        let slot = self.slot_mut(outpoint)?;
        let Some(sending) = slot.batches.as_deref_mut() else { return Ok(()) };
        if sending.flight.batches() == 0 {
            return Ok(());
        }
        // The payee counted a window that was given up before: what it lacks now is another sum.
        let Ok(count) = sending.flight.acknowledge(paid) else {
            sending.give_up();
            return self.send_windows(now, outpoint, usize::MAX);
        };
        sending.windows.drain(..count.min(sending.windows.len()));
        if count > 0 {
            sending.resent = None;
            // There is progress, so that nothing of the rest is late yet.
            slot.resend_at = Some(first);
        }
        Ok(())
    }

    /// The payee has said what it holds of the channel. Returns whether it lacks batches, which
    /// are sent again or asked about.
    pub(in crate::node) fn windows_resumed(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
    ) -> Result<bool, NodeError> {
        let slot = self.slot_mut(outpoint)?;
        let acked = slot.acked;
        let Some(sending) = slot.batches.as_deref_mut() else { return Ok(false) };
        if !sending.settle_at(acked)? {
            return Ok(false);
        }
        self.send_windows(now, outpoint, usize::MAX)?;
        Ok(true)
    }

    /// What was not acknowledged in time: the oldest window, or the question that stands for it.
    pub(in crate::node) fn resend_windows(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
    ) -> Result<bool, NodeError> {
        let slot = self.slot_mut(outpoint)?;
        let Some(sending) = slot.batches.as_deref_mut() else { return Ok(false) };
        if !sending.is_behind() {
            return Ok(false);
        }
        sending.resent = None;
        self.send_windows(now, outpoint, 1)?;
        Ok(true)
    }

    /// The payee refused a window because of what it holds, `best`: everything from there on is
    /// sent again, or its lanes are asked for. Once until there is progress or time has passed:
    /// all that is behind a lost window is refused.
    pub(in crate::node) fn window_refused(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        refused: &Refused,
    ) -> Result<(), NodeError> {
        let slot = self.slot_mut(outpoint)?;
        let signed = slot.machine.signed();
        let Some(sending) = slot.batches.as_deref_mut() else { return Ok(()) };
        let again = sending.resent == Some(refused.best);
        if again || !sending.is_behind() || refused.best >= signed {
            return Ok(());
        }
        if refused.code == Refusal::OtherLanes {
            sending.give_up();
        } else {
            let _behind = sending.settle_at(refused.best)?;
        }
        sending.resent = Some(refused.best);
        self.send_windows(now, outpoint, usize::MAX)
    }

    /// Sends windows in flight again, `most` of them at most, or asks for the payee's lanes.
    fn send_windows(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        most: usize,
    ) -> Result<(), NodeError> {
        let first = self.first_repeat(now).at;
        let slot = self.slot_mut(outpoint)?;
        // A spend of the outpoint has ended it, and nobody has to hear more of it.
        let ended = matches!(slot.machine.phase(), PayerPhase::Spent { .. } | PayerPhase::Closed);
        let Some(link) = slot.link.filter(|_| !ended) else { return Ok(()) };
        slot.resend_at = Some(first);
        let alias = slot.alias;
        let Some(sending) = slot.batches.as_deref() else { return Ok(()) };
        if sending.asking {
            let (paid, session) = (slot.machine.signed(), sending.session);
            let voucher = self.sign_again(now, outpoint, paid, session)?;
            let signature = voucher.signature;
            self.effects.send(link, LanesQuery { alias, paid, signature });
            return Ok(());
        }
        for message in sending.messages(alias, most)? {
            self.effects.send(link, message);
        }
        Ok(())
    }

    /// Another signature of what is signed, which nobody but the payer can make.
    fn sign_again(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        paid: Msat,
        session: SessionId,
    ) -> Result<Voucher, NodeError> {
        let now = self.fresh(now, outpoint)?;
        let view = self.view(now.time)?;
        let ending = self.ending_for(outpoint, paid);
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let signer = &mut self.signer;
        let step = slot.machine.pay(signer, paid, ending, session, &view, &now.aux)?;
        slot.machine.apply(step.record())?;
        Ok(step.voucher())
    }

    /// Asks what the payee holds of each lane, if its payer may sign by now.
    pub(super) fn ask_for_lanes(&mut self, now: &Now, outpoint: OutPoint) -> Result<(), NodeError> {
        // Else it is asked when the payee has presented its best voucher.
        let open = self.slot(outpoint)?.machine.phase() == PayerPhase::Open;
        if open { self.send_windows(now, outpoint, 1) } else { Ok(()) }
    }

    /// The payee has told its lanes: what it lacks in each is billed in one batch.
    pub(in crate::node) fn receive_lanes_told(
        &mut self,
        now: &Now,
        link: LinkId,
        message: &LanesTold,
    ) -> Result<(), NodeError> {
        let outpoint = self.payer_named(link, message.alias)?;
        let theirs = Lanes::decode(message.lanes.as_slice()).map_err(BatchError::from)?;
        let slot = self.slot(outpoint)?;
        let signed = slot.machine.signed();
        let sending = slot.batches.as_deref().filter(|sending| sending.asking);
        let sending = sending.ok_or(NodeError::NotAsked { what: "what is held of each lane" })?;
        if theirs.paid().ok() != Some(message.paid) || message.paid > signed {
            return Err(BatchError::WrongStart { got: message.paid, paid: signed }.into());
        }
        let ours = sending.lanes.caught_up(signed)?;
        let session = sending.session;
        if message.paid == signed {
            return self.take_lanes(outpoint, brought_to(&ours, &theirs)?, signed);
        }
        let bill = bill(&slot.machine, &ours, &theirs, message.paid)?;
        let voucher = self.sign_again(now, outpoint, signed, session)?;
        let slot = self.slot_mut(outpoint)?;
        slot.acked = message.paid;
        self.send_bill(now, outpoint, bill, voucher)
    }

    /// The payee holds everything that is signed, so what it says of the lanes stands: where this
    /// side went back to an old disk, it knows more.
    fn take_lanes(
        &mut self,
        outpoint: OutPoint,
        lanes: Lanes,
        signed: Msat,
    ) -> Result<(), NodeError> {
        let slot = self.slot_mut(outpoint)?;
        (slot.acked, slot.resend_at) = (signed, None);
        // What plain vouchers paid is in them, and must not be more than is durable.
        let record = slot.machine.record();
        let (key, bytes) = (record.key()?, record.encode()?);
        self.effects.put(key, &bytes)?;
        let sending = self.sending(outpoint)?;
        (sending.lanes, sending.asking, sending.changed) = (lanes, false, true);
        self.put_payer_lanes(outpoint)
    }

    /// The bill takes the place of all windows that were in flight.
    fn send_bill(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        bill: Bill,
        voucher: Voucher,
    ) -> Result<(), NodeError> {
        let Bill { sealed, before, after } = bill;
        let window =
            Window { signature: voucher.signature, lanes: Some(Bytes::new(before.encode())?) };
        let sending = self.sending(outpoint)?;
        // It is signed already, so no limit of what may be at risk keeps it back.
        sending.flight = Flight::new(sealed.credited.claim.start, 1, Msat::MAX);
        sending.flight.launch(sealed)?;
        sending.flight.set_limits(sending.limits);
        sending.windows.clear();
        sending.windows.push_back(window);
        (sending.lanes, sending.changed, sending.asking) = (after, true, false);
        let record = self.slot(outpoint)?.machine.record();
        let (key, bytes) = (record.key()?, record.encode()?);
        self.effects.put(key, &bytes)?;
        self.put_payer_lanes(outpoint)?;
        self.send_windows(now, outpoint, usize::MAX)
    }
}

impl Sending {
    /// Whether a window up to `paid` waits for its signature.
    fn is_next(&self, paid: Msat) -> bool {
        self.unsigned.as_ref().is_some_and(|sealed| sealed.credited.claim.paid == paid)
    }

    /// Takes what the payee holds for acknowledged. Returns whether it lacks batches: those in
    /// flight, or if they do not begin there, some that are lost.
    fn settle_at(&mut self, held: Msat) -> Result<bool, NodeError> {
        if self.flight.batches() > 0 {
            match self.flight.resend_from(held).map(Iterator::count) {
                Ok(left) => {
                    let gone = self.windows.len().saturating_sub(left);
                    self.windows.drain(..gone);
                    return Ok(left > 0);
                }
                Err(_) => self.give_up(),
            }
        }
        self.asking |= held < self.lanes.paid()?;
        Ok(self.asking)
    }
}
