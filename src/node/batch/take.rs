//! The payee's side: the voucher first, then the parts, then all items at once.

use alloc::boxed::Box;

use bitcoin::OutPoint;

use super::{Assembly, ReceivedBatch, WINDOW_BYTES_MAX, WINDOW_ITEMS_MAX};
use crate::batch::lanes::Lanes;
use crate::batch::{Batch, BatchError};
use crate::node::effects::Event;
use crate::node::{LinkId, Node, NodeError, Now};
use crate::signer::Signer;
use crate::stream::payee::Accepted;
use crate::tx::Voucher;
use crate::wire::{Ack, BatchPart, BatchVoucher, Bytes, LanesQuery, LanesTold};

impl<S: Signer> Node<S> {
    /// Whether a window was taken since the last drain: it is worth a barrier of its own, because
    /// its payer waits for the acknowledgement and the next one takes milliseconds.
    pub const fn holds_window(&self) -> bool {
        self.effects.holds_window()
    }

    /// A window, or its front. What the payee holds already is acknowledged again.
    pub(in crate::node) fn receive_batch(
        &mut self,
        now: &Now,
        link: LinkId,
        message: BatchVoucher,
    ) -> Result<(), NodeError> {
        let outpoint = self.named(link, message.alias)?;
        let slot = self.payees.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let paid = slot.machine.paid();
        if message.paid <= paid {
            self.effects.send(link, Ack { alias: message.alias, paid });
            return Ok(());
        }
        let have = message.part.as_slice().len();
        let length =
            message.length.map_or(have, |length| usize::try_from(length).unwrap_or(usize::MAX));
        if length > WINDOW_BYTES_MAX {
            let (what, max) = ("bytes", WINDOW_BYTES_MAX);
            return Err(NodeError::WindowTooLarge { what, got: length, max });
        }
        if message.length.is_some() && length <= have {
            return Err(BatchError::NotMinimal { what: "parts" }.into());
        }
        // P5: only what its payer has signed for is kept.
        let accepted = self.check_batch(now, outpoint, &message)?;
        if length == have {
            return self.take_batch(link, outpoint, &message, accepted, message.part.as_slice());
        }
        let bytes = message.part.as_slice().to_vec();
        // P5: a channel has one, however many lines its payer has.
        self.assemblies.retain(|_, assembly| assembly.outpoint != outpoint);
        let assembly = Assembly { outpoint, head: message, length, bytes };
        self.assemblies.insert(link, Box::new(assembly));
        Ok(())
    }

    /// A further part. What belongs to no window here is passed over: its first message was lost
    /// or refused, and the payer hears of that.
    pub(in crate::node) fn receive_part(
        &mut self,
        now: &Now,
        link: LinkId,
        message: &BatchPart,
    ) -> Result<(), NodeError> {
        let Some(assembly) = self.assemblies.get_mut(&link) else { return Ok(()) };
        let head = &assembly.head;
        let offset = usize::try_from(message.offset).unwrap_or(usize::MAX);
        let same = (head.alias, head.paid) == (message.alias, message.paid);
        if !same || offset != assembly.bytes.len() {
            return Ok(());
        }
        let part = message.part.as_slice();
        let got = offset.saturating_add(part.len());
        if got > assembly.length {
            let bytes = got.saturating_sub(assembly.length);
            return Err(BatchError::Trailing { bytes }.into());
        }
        assembly.bytes.extend_from_slice(part);
        if got < assembly.length {
            return Ok(());
        }
        let Some(assembly) = self.assemblies.remove(&link) else { return Ok(()) };
        let Assembly { head, bytes, .. } = *assembly;
        let outpoint = self.named(link, head.alias)?;
        // Again: much may have happened since the first part.
        let accepted = self.check_batch(now, outpoint, &head)?;
        self.take_batch(link, outpoint, &head, accepted, &bytes)
    }

    /// Order, session, and the payer's signature.
    fn check_batch(
        &self,
        now: &Now,
        outpoint: OutPoint,
        message: &BatchVoucher,
    ) -> Result<Accepted, NodeError> {
        // Its money would count for the session too.
        if let Some(session) = self.session_on(outpoint) {
            return Err(NodeError::Busy { session });
        }
        let view = self.view(now.time)?;
        let beside = self.credit_beside(outpoint, &view.tip);
        let slot = self.payees.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let voucher = Voucher { paid: message.paid, signature: message.signature };
        let (context, start) = (&self.context, message.start);
        Ok(slot.machine.check_batch(context, voucher, start, beside, &view)?)
    }

    /// The lanes of a payee's channel, with what plain vouchers paid.
    fn payee_lanes(&self, outpoint: OutPoint) -> Result<Lanes, NodeError> {
        let slot = self.payees.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let paid = slot.machine.paid();
        Ok(match slot.lanes.as_deref() {
            Some(lanes) => lanes.caught_up(paid)?,
            None => Lanes::new(paid),
        })
    }

    fn take_batch(
        &mut self,
        link: LinkId,
        outpoint: OutPoint,
        head: &BatchVoucher,
        accepted: Accepted,
        bytes: &[u8],
    ) -> Result<(), NodeError> {
        let held = self.payee_lanes(outpoint)?;
        let lanes = match &head.lanes {
            Some(stated) => {
                let stated = Lanes::decode(stated.as_slice()).map_err(BatchError::from)?;
                held.check_followed_by(&stated).map_err(BatchError::from)?;
                stated
            }
            None => held,
        };
        let batch = Batch::parse(bytes)?;
        // Before anything is spent on them: a few bytes can say a million items.
        if batch.items() > WINDOW_ITEMS_MAX {
            let got = usize::try_from(batch.items()).unwrap_or(usize::MAX);
            let max = usize::try_from(WINDOW_ITEMS_MAX).unwrap_or(usize::MAX);
            return Err(NodeError::WindowTooLarge { what: "items", got, max });
        }
        let slot = self.payees.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let step = slot.machine.accept_batch(accepted, &lanes, &batch, head.root)?;
        let (record, credited) = (step.record(), step.credited());
        // P4: record and lanes are in one commit, before the acknowledgement is in the outbox.
        self.effects.put(record.key()?, &record.encode()?)?;
        slot.machine.apply(record)?;
        let (paid, gained, claim) = (slot.machine.paid(), step.gained(), credited.claim);
        self.put_payee_lanes(outpoint, credited.lanes.clone())?;
        self.effects.tell(Event::Received { outpoint, gained, paid });
        self.effects.hand_over(ReceivedBatch { outpoint, claim, bytes: bytes.into() });
        self.effects.send(link, Ack { alias: head.alias, paid });
        self.payer_is_at(link, head.alias, outpoint);
        self.follow_payer(outpoint)
    }

    /// What is held of each lane, told to nobody but the payer: it signs for the question.
    pub(in crate::node) fn receive_lanes_query(
        &mut self,
        now: &Now,
        link: LinkId,
        message: LanesQuery,
    ) -> Result<(), NodeError> {
        let outpoint = self.named(link, message.alias)?;
        let view = self.view(now.time)?;
        let beside = self.credit_beside(outpoint, &view.tip);
        let slot = self.payees.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let voucher = Voucher { paid: message.paid, signature: message.signature };
        // Anybody can repeat the voucher that is presented.
        if slot.machine.best() == Some(voucher) {
            return Err(NodeError::NotAsked { what: "what another than the payer asks for" });
        }
        // Decided and not applied: what it pays for comes in a batch.
        let _signed = slot.machine.accept_beside(&self.context, voucher, beside, &view)?;
        let paid = slot.machine.paid();
        let lanes = Bytes::new(self.payee_lanes(outpoint)?.encode())?;
        self.payer_is_at(link, message.alias, outpoint);
        self.effects.send(link, LanesTold { alias: message.alias, paid, lanes });
        Ok(())
    }
}
