//! Tests of the room: a naive model, one encoding, attacks, hostile bytes, limits, lanes, receipts.

mod attacks;
mod hostile;
mod lanes;
mod limits;
mod model;
mod receipts;

use alloc::vec::Vec;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Txid, XOnlyPublicKey};

use super::item::{Charge, Item, ItemError, LeafSize};
use super::lanes::{Credited, Lanes};
use super::*;
use crate::units::{ItemId, Lane, Price, Quantity};

/// A channel as a value.
#[derive(Clone, Copy)]
struct At {
    outpoint: OutPoint,
    payee: XOnlyPublicKey,
    paid: Msat,
    room: Msat,
}

impl Channel for At {
    fn outpoint(&self) -> OutPoint {
        self.outpoint
    }

    fn payee(&self) -> XOnlyPublicKey {
        self.payee
    }

    fn paid(&self) -> Msat {
        self.paid
    }

    fn room(&self) -> Msat {
        self.room
    }
}

fn msat(value: u64) -> Msat {
    Msat::new(value).unwrap()
}

fn lane(number: u16) -> Lane {
    Lane::new(number).unwrap()
}

fn id(number: u64) -> ItemId {
    ItemId::new(number).unwrap()
}

fn size(items: u8) -> LeafSize {
    LeafSize::new(items).unwrap()
}

/// A channel that has paid `paid`, with all money for room.
fn channel(paid: u64) -> At {
    let outpoint = OutPoint { txid: Txid::from_byte_array([7; 32]), vout: 1 };
    let payee = XOnlyPublicKey::from_slice(&bitcoin::secp256k1::constants::GENERATOR_X).unwrap();
    At { outpoint, payee, paid: msat(paid), room: msat(Msat::MAX.to_msat() - paid) }
}

/// Open lanes 0, 1, 2 and 300 without limits, in a channel that paid `paid` before.
fn open_lanes(paid: u64) -> Lanes {
    let mut lanes = Lanes::new(msat(paid));
    for number in [0, 1, 2, 300] {
        lanes.open(lane(number), Msat::MAX).unwrap();
    }
    lanes
}

fn amount(number: u64, value: u64) -> Item {
    Item { lane: lane(0), id: id(number), charge: Charge::Amount(msat(value)), hash: None }
}

fn metered(number: u64, count: u64, price: (u64, u64)) -> Item {
    let price = Price::new(msat(price.0), price.1).unwrap();
    let charge = Charge::Metered { count: Quantity::new(count).unwrap(), price };
    Item { lane: lane(0), id: id(number), charge, hash: None }
}

/// A batch of `items` at the start of a channel.
fn sealed(items: &[Item], leaf_size: u8) -> Sealed {
    let mut builder = Builder::new(&channel(0), &open_lanes(0), size(leaf_size)).unwrap();
    for item in items {
        builder.push(item).unwrap();
    }
    builder.seal().unwrap()
}

fn check(bytes: &[u8], claim: &Claim) -> Result<(Credited, Vec<(Item, Msat)>), BatchError> {
    let mut seen = Vec::new();
    let batch = Batch::parse(bytes)?;
    let credited = batch.check(&channel(0), &open_lanes(0), claim, |item, amount| {
        seen.push((*item, amount));
    })?;
    Ok((credited, seen))
}
