//! A batch from the payer's first item to the payee's count, without the standard library.

use bitcoin::secp256k1::constants::GENERATOR_X;
use bitcoin::{OutPoint, XOnlyPublicKey};
use millstream::batch::item::{Charge, Item, LeafSize};
use millstream::batch::lanes::Lanes;
use millstream::batch::{Batch, Builder, Channel};
use millstream::units::{ItemId, Lane, Msat};

/// A channel without payments.
struct Fresh(XOnlyPublicKey);

impl Channel for Fresh {
    fn outpoint(&self) -> OutPoint {
        OutPoint::null()
    }

    fn payee(&self) -> XOnlyPublicKey {
        self.0
    }

    fn paid(&self) -> Msat {
        Msat::ZERO
    }

    fn room(&self) -> Msat {
        Msat::MAX
    }
}

/// What the payee counts of `items` items of 1, 2, 3 .. msat; `u64::MAX` if it refuses them.
#[unsafe(no_mangle)]
pub extern "C" fn millstream_batches(items: u64) -> u64 {
    counted(items).map_or(u64::MAX, Msat::to_msat)
}

fn counted(items: u64) -> Option<Msat> {
    let channel = Fresh(XOnlyPublicKey::from_slice(&GENERATOR_X).ok()?);
    let mut lanes = Lanes::new(Msat::ZERO);
    lanes.open(Lane::MIN, Msat::MAX).ok()?;
    let mut builder = Builder::new(&channel, &lanes, LeafSize::new(16).ok()?).ok()?;
    for number in 1..=items {
        let id = ItemId::new(number).ok()?;
        let charge = Charge::Amount(Msat::new(number).ok()?);
        builder.push(&Item { lane: Lane::MIN, id, charge, hash: None }).ok()?;
    }
    let sealed = builder.seal().ok()?;
    let claim = sealed.credited.claim;
    let batch = Batch::parse(&sealed.bytes).ok()?;
    let credited = batch.check(&channel, &lanes, &claim, |_, _| {}).ok()?;
    credited.lanes.paid().ok()
}
