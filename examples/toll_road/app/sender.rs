//! The gantry as the hub's customer: what the cars have paid for an owner goes on in bundles.

use std::collections::BTreeMap;

use bitcoin::XOnlyPublicKey;
use millstream::batch::Sealed;
use millstream::keys::Context;
use millstream::store::{Batch, Key, Store};
use millstream::stream::payer::{Payer, PayerHoldState};
use millstream::stream::{HoldVoucher, View};
use millstream::tx::hold::{PaymentHash, Preimage};
use millstream::units::{Height, UtcSeconds};

use super::desk::{AUX, Desk, Toll, bundle, session, tolls};
use super::road::OWNERS;
use crate::common::Error;

/// The room byte of the bundles in the gantry's store; the library's rooms are below.
const BUNDLES: u8 = 0xf0;

/// A bundle that is not paid yet.
#[derive(Debug, Clone)]
pub(crate) struct Flying {
    /// Its number.
    pub(crate) round: u64,
    /// Behind what.
    pub(crate) hash: PaymentHash,
    /// Until when the owner is offered it.
    pub(crate) expiry: Height,
    /// Its tolls, and the hub's fee.
    pub(crate) bytes: Vec<u8>,
}

/// The gantry's side of its channel to the hub.
pub(crate) struct Sender {
    /// Its machine.
    pub(crate) desk: Desk,
    /// Its side.
    pub(crate) payer: Payer,
    /// Who is at the other end.
    pub(crate) hub: XOnlyPublicKey,
    /// What has gone on for each owner and car, msat: the sum of the bundles in the store.
    pub(crate) gone: [BTreeMap<usize, u64>; OWNERS.len()],
    /// The bundle of each owner that is on its way.
    pub(crate) flying: [Option<Flying>; OWNERS.len()],
    /// The number of the next bundle.
    pub(crate) round: u64,
}

impl Sender {
    /// Offers a bundle until the first height, which the hub offers on until the second: its bytes,
    /// and the hold, are durable before the voucher leaves.
    pub(crate) fn offer(
        &mut self,
        context: &Context,
        owner: usize,
        (hash, until, expiry): (PaymentHash, Height, Height),
        sealed: &Sealed,
        view: &View,
    ) -> Result<HoldVoucher, Error> {
        let bundle = bundle(sealed, hash, until)?;
        let (session, signer) = (session(0)?, &mut self.desk.signer);
        let step = self.payer.offer_bundle(context, signer, &bundle, session, view, &AUX)?;
        let mut batch = Batch::default();
        let flying = Flying { round: self.round, hash, expiry, bytes: sealed.bytes.clone() };
        let mut value = hash.as_bytes().to_vec();
        value.extend_from_slice(&expiry.to_u32().to_be_bytes());
        value.extend_from_slice(&flying.bytes);
        batch.put(bundle_key(owner, self.round)?, &value)?;
        let voucher = self.desk.commit_payer(&mut self.payer, step, batch)?;
        self.count(owner, &tolls(&flying.bytes)?);
        self.round += 1;
        if let Some(place) = self.flying.get_mut(owner) {
            *place = Some(flying);
        }
        Ok(voucher)
    }

    /// Pays the hub for the preimage of an owner's bundle.
    pub(crate) fn fold(
        &mut self,
        context: &Context,
        owner: usize,
        preimage: &Preimage,
        view: &View,
    ) -> Result<Option<HoldVoucher>, Error> {
        let hash = preimage.hash();
        let held = self.payer.holds().iter().find(|kept| kept.hold.hash == hash);
        let Some(id) = held.map(|kept| kept.hold.id) else { return Ok(None) };
        let (session, signer) = (session(0)?, &mut self.desk.signer);
        let step = self.payer.fold(context, signer, id, preimage, session, view, &AUX)?;
        let voucher = self.desk.commit_payer(&mut self.payer, step, Batch::default())?;
        if let Some(place) = self.flying.get_mut(owner) {
            *place = None;
        }
        Ok(Some(voucher))
    }

    /// The power is back: what is on its way, and what has gone, is what the store says.
    pub(crate) fn restart(&mut self, context: &Context, now: UtcSeconds) -> Result<(), Error> {
        self.desk.restart(now)?;
        self.payer = self.desk.payer(context, self.payer.outpoint(), 0)?;
        (self.gone, self.flying, self.round) = Default::default();
        let mut stored = Vec::new();
        self.desk.store.scan(&[BUNDLES], &mut |key, value| {
            stored.push((*key, value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })?;
        for (key, value) in stored {
            let [_, owner, round @ ..] = key.as_bytes() else { return Err("a short key".into()) };
            let (owner, round) = (usize::from(*owner), u64::from_be_bytes(round.try_into()?));
            let (hash, bytes) = value.split_at_checked(32).ok_or("a short bundle")?;
            let (expiry, bytes) = bytes.split_at_checked(4).ok_or("a short bundle")?;
            let expiry = Height::new(u32::from_be_bytes(expiry.try_into()?))?;
            let hash = PaymentHash::new(hash.try_into()?);
            self.count(owner, &tolls(bytes)?);
            self.round = self.round.max(round + 1);
            let mut open = self.payer.holds().iter();
            if open.any(|kept| kept.hold.hash == hash && kept.state == PayerHoldState::Open) {
                let flying = Flying { round, hash, expiry, bytes: bytes.to_vec() };
                *self.flying.get_mut(owner).ok_or("no such owner")? = Some(flying);
            }
        }
        Ok(())
    }

    fn count(&mut self, owner: usize, tolls: &[Toll]) {
        let Some(gone) = self.gone.get_mut(owner) else { return };
        for (car, toll) in tolls {
            *gone.entry(*car).or_default() += toll;
        }
    }
}

fn bundle_key(owner: usize, round: u64) -> Result<Key, Error> {
    Ok(Key::from_parts(&[&[BUNDLES, u8::try_from(owner)?], &round.to_be_bytes()])?)
}
