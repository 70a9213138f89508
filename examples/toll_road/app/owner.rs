//! An owner of a part of the road: sells a hash for each bundle, checks every toll, and shows the
//! preimage.

use std::collections::BTreeMap;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use millstream::keys::Context;
use millstream::store::Batch;
use millstream::stream::payee::{Payee, PayeeHoldState};
use millstream::stream::{HoldVoucher, View};
use millstream::tx::hold::{PaymentHash, Preimage};

use super::desk::{Desk, check};
use crate::common::Error;

/// The owner, where it is paid.
pub(crate) struct Owner {
    /// Its machine.
    pub(crate) desk: Desk,
    /// Its side of the hub's channel.
    pub(crate) payee: Payee,
    /// What it has been paid for each car, msat.
    pub(crate) tolls: BTreeMap<usize, u64>,
    /// Tolls that it has checked.
    pub(crate) items: u64,
}

impl Owner {
    /// The secret of a bundle: a function of the seed, so that no power cut loses it.
    fn secret(&self, round: u64) -> Preimage {
        let mut engine = sha256::Hash::engine();
        engine.input(&self.desk.secret);
        engine.input(&round.to_be_bytes());
        Preimage::new(sha256::Hash::from_engine(engine).to_byte_array())
    }

    /// The hash for the bundle of number `round`.
    pub(crate) fn hash(&self, round: u64) -> PaymentHash {
        self.secret(round).hash()
    }

    /// Takes the hub's voucher, and the tolls of the bundle of number `round` if it has it. Gives
    /// the preimage of that.
    pub(crate) fn take(
        &mut self,
        context: &Context,
        voucher: &HoldVoucher,
        (round, bytes): (u64, &[u8]),
        view: &View,
    ) -> Result<Option<Preimage>, Error> {
        let accepted = self.payee.accept_held(context, voucher, view)?;
        if accepted.is_new() {
            self.desk.commit_payee(&mut self.payee, accepted.record(), Batch::default())?;
        }
        let preimage = self.secret(round);
        let hash = preimage.hash();
        let held = self.payee.holds().iter().find(|held| held.hold.hash == hash);
        let Some(held) = held.copied() else { return Ok(None) };
        if let PayeeHoldState::Open = held.state {
            let sum = held.bundle.ok_or("a hold without a bundle")?;
            let at = (self.payee.outpoint(), self.desk.base(context)?);
            let tolls = check(at, bytes, &sum)?;
            let record = self.payee.fulfil(held.hold.id, preimage, view)?;
            self.desk.commit_payee(&mut self.payee, &record, Batch::default())?;
            for (car, toll) in tolls {
                *self.tolls.entry(car).or_default() += toll;
                self.items += 1;
            }
        }
        Ok(Some(preimage))
    }
}
