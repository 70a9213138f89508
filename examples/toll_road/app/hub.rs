//! The hub: one channel from the gantry, one to each owner, and the forwarding table between them.

use millstream::hub::{Duty, Forward, HoldRef, Hub, Incoming, Input, Load, Onward, Stage};
use millstream::keys::Context;
use millstream::store::{Batch, Key, Store};
use millstream::stream::payee::Payee;
use millstream::stream::payer::Payer;
use millstream::stream::{HoldVoucher, View};
use millstream::tx::hold::{ClaimDelay, PaymentHash, Preimage};
use millstream::units::{Blocks, Height, HoldId, UtcSeconds};

use super::desk::{AUX, Desk, bundle, check, seal, session, tolls};
use super::owner::Owner;
use super::road::OWNERS;
use crate::common::Error;

/// The room byte of the bundles that go on in the hub's store.
const BUNDLES: u8 = 0xf1;

/// What a sender asks for beside its hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    /// To whom.
    pub(crate) owner: usize,
    /// The bundle's number.
    pub(crate) round: u64,
    /// Behind what.
    pub(crate) hash: PaymentHash,
    /// Until when.
    pub(crate) expiry: Height,
    /// The tolls and the fee.
    pub(crate) bytes: &'a [u8],
}

/// The hub's machine.
pub(crate) struct Middle {
    /// Its key, store and signer.
    pub(crate) desk: Desk,
    /// What it forwards.
    pub(crate) hub: Hub,
    /// Its side of the gantry's channel.
    pub(crate) payee: Payee,
    /// Its sides of the owners' channels.
    pub(crate) payers: [Payer; OWNERS.len()],
    /// The settle margin of every channel.
    pub(crate) margin: Blocks,
    /// The claim's delay in every channel.
    pub(crate) delay: ClaimDelay,
}

impl Middle {
    /// Takes the gantry's voucher, and what it orders with it. A fold pays its forward.
    pub(crate) fn take(
        &mut self,
        context: &Context,
        voucher: &HoldVoucher,
        order: Option<&Order<'_>>,
        view: &View,
    ) -> Result<(), Error> {
        let accepted = self.payee.accept_held(context, voucher, view)?;
        let mut batch = Batch::default();
        let mut staged = Vec::new();
        for input in self.inputs(voucher) {
            staged.push(self.hub.decide(&input)?.stage(&mut batch)?);
        }
        if let Some(order) = order {
            let (input, bytes) = self.order(context, voucher, order, view)?;
            staged.push(self.hub.decide(&input)?.stage(&mut batch)?);
            let mut value = order.round.to_be_bytes().to_vec();
            value.extend_from_slice(&bytes);
            batch.put(bundle_key(order.hash)?, &value)?;
        }
        self.desk.commit_payee(&mut self.payee, accepted.record(), batch)?;
        for staged in &staged {
            self.hub.apply(staged)?;
        }
        Ok(())
    }

    /// The forwards whose holds are gone from the gantry's voucher: they are paid.
    fn inputs(&self, voucher: &HoldVoucher) -> Vec<Input> {
        let gone = |id: HoldId| voucher.holds.iter().all(|hold| hold.id != id);
        let forwards = self.hub.forwards().map(Forward::incoming);
        let paid = forwards.filter(|incoming| gone(incoming.id));
        paid.map(|incoming| Input::Paid { incoming }).collect()
    }

    /// Every toll is checked, and goes into a bundle of the owner's own.
    fn order(
        &self,
        context: &Context,
        voucher: &HoldVoucher,
        order: &Order<'_>,
        view: &View,
    ) -> Result<(Input, Vec<u8>), Error> {
        let hold = voucher.holds.iter().find(|hold| hold.hash == order.hash);
        let hold = *hold.ok_or("an order without its hold")?;
        let sum = voucher.bundle(hold.id).ok_or("an order without its bundle")?;
        let channel = self.payee.outpoint();
        let tolls = check((channel, self.desk.base(context)?), order.bytes, sum)?;
        let onward = self.payers.get(order.owner).ok_or("no such owner")?;
        let sealed = seal((onward.outpoint(), onward.record().base()), order.round, &tolls, None)?;
        let claim = sealed.credited.claim;
        let load = Load::Bundle { root: claim.root, items: claim.items, total: claim.paid };
        let incoming = Incoming { channel, hold, due: sum.total(), margin: self.margin };
        let (delay, expiry) = (self.delay, order.expiry);
        let onward = Onward { channel: onward.outpoint(), delay, load, expiry };
        Ok((Input::Order { incoming, onward, tip: view.tip.height }, sealed.bytes))
    }

    /// What the hub owes now.
    pub(crate) fn duties(&self, view: &View) -> Vec<Duty> {
        self.hub.duties(view.tip.height).collect()
    }

    /// The owner that an outgoing channel leads to.
    pub(crate) fn owner_of(&self, channel: bitcoin::OutPoint) -> Result<usize, Error> {
        let at = self.payers.iter().position(|payer| payer.outpoint() == channel);
        Ok(at.ok_or("no such owner")?)
    }

    /// Offers a forward onward: its record and the payer's are one commit.
    pub(crate) fn offer(
        &mut self,
        context: &Context,
        (incoming, hash, onward): (HoldRef, PaymentHash, Onward),
        view: &View,
    ) -> Result<HoldVoucher, Error> {
        let owner = self.owner_of(onward.channel)?;
        let (round, bytes) = self.bundle(hash)?;
        let payer = self.payers.get(owner).ok_or("no such owner")?;
        let tolls = tolls(&bytes)?;
        let sealed = seal((payer.outpoint(), payer.record().base()), round, &tolls, None)?;
        let bundle = bundle(&sealed, hash, onward.expiry)?;
        let (session, signer) = (session(owner)?, &mut self.desk.signer);
        let step = payer.offer_bundle(context, signer, &bundle, session, view, &AUX)?;
        let mut next = payer.clone();
        next.apply(step.record())?;
        let id = next.holds().last().ok_or("no hold was offered")?.hold.id;
        let mut batch = Batch::default();
        let staged = self.hub.decide(&Input::Offered { incoming, id })?.stage(&mut batch)?;
        let payer = self.payers.get_mut(owner).ok_or("no such owner")?;
        let voucher = self.desk.commit_payer(payer, step, batch)?;
        self.hub.apply(&staged)?;
        Ok(voucher)
    }

    /// A preimage came: durable before it is used.
    pub(crate) fn learn(&mut self, preimage: Preimage) -> Result<(), Error> {
        let step = self.hub.decide(&Input::Preimage(preimage))?;
        if step.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        let staged = step.stage(&mut batch)?;
        self.desk.commit(&batch)?;
        Ok(self.hub.apply(&staged)?)
    }

    /// Fulfils backward: the preimage may go to the gantry then.
    pub(crate) fn fulfil(
        &mut self,
        id: HoldId,
        preimage: Preimage,
        view: &View,
    ) -> Result<(), Error> {
        let record = self.payee.fulfil(id, preimage, view)?;
        if record == *self.payee.record() {
            return Ok(());
        }
        self.desk.commit_payee(&mut self.payee, &record, Batch::default())
    }

    /// Pays an owner for its preimage.
    pub(crate) fn fold(
        &mut self,
        context: &Context,
        outgoing: HoldRef,
        preimage: &Preimage,
        view: &View,
    ) -> Result<(usize, HoldVoucher), Error> {
        let owner = self.owner_of(outgoing.channel)?;
        let payer = self.payers.get(owner).ok_or("no such owner")?;
        let (session, signer) = (session(owner)?, &mut self.desk.signer);
        let step = payer.fold(context, signer, outgoing.id, preimage, session, view, &AUX)?;
        let mut batch = Batch::default();
        let staged = self.hub.decide(&Input::Folded { outgoing })?.stage(&mut batch)?;
        let payer = self.payers.get_mut(owner).ok_or("no such owner")?;
        let voucher = self.desk.commit_payer(payer, step, batch)?;
        self.hub.apply(&staged)?;
        Ok((owner, voucher))
    }

    /// Says once more what an owner has not answered.
    pub(crate) fn repeat(
        &mut self,
        context: &Context,
        owner: usize,
        view: &View,
    ) -> Result<HoldVoucher, Error> {
        let payer = self.payers.get_mut(owner).ok_or("no such owner")?;
        self.desk.repeat(context, payer, session(owner)?, view)
    }

    /// The hash and the bundle that an owner has been offered and has not answered.
    pub(crate) fn offered(&self, owner: usize) -> Option<PaymentHash> {
        let channel = self.payers.get(owner)?.outpoint();
        let mut into = self.hub.into_channel(channel);
        into.find(|forward| matches!(forward.stage(), Stage::Offered { .. })).map(Forward::hash)
    }

    /// The number and the bytes of the bundle that goes on behind `hash`.
    pub(crate) fn bundle(&self, hash: PaymentHash) -> Result<(u64, Vec<u8>), Error> {
        let value = self.desk.store.get(&bundle_key(hash)?)?.ok_or("no such bundle")?;
        let (round, bytes) = value.split_at_checked(8).ok_or("a short bundle")?;
        Ok((u64::from_be_bytes(round.try_into()?), bytes.to_vec()))
    }

    /// The power is back: table and channels are what the store says, and each owner is asked.
    pub(crate) fn restart(
        &mut self,
        context: &Context,
        owners: &[Owner; OWNERS.len()],
        now: UtcSeconds,
    ) -> Result<(), Error> {
        self.desk.restart(now)?;
        self.hub = Hub::load(*self.hub.policy(), &self.desk.store)?;
        self.payee = self.desk.payee(context, self.payee.outpoint())?;
        for ((payer, owner), index) in self.payers.iter_mut().zip(owners).zip(0..) {
            *payer = self.desk.payer(context, payer.outpoint(), index)?;
            self.desk.reserve(now)?;
            self.desk.resume(context, payer, &owner.payee)?;
        }
        Ok(())
    }
}

fn bundle_key(hash: PaymentHash) -> Result<Key, Error> {
    Ok(Key::from_parts(&[&[BUNDLES], hash.as_bytes()])?)
}
