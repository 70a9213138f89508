//! Batches: up to a million payments under one root, paid by one voucher.
//!
//! ```text
//!  Item --push--> Builder --seal--> Sealed { bytes, claim, lanes } --> voucher signs claim.paid
//!                    |                                                    |
//!                 Lanes, room                         Batch::parse(bytes).check(claim, lanes)
//!                                                                         |
//!                  Flight <--acknowledged paid-- Credited lanes, stored with the voucher
//! ```
//!
//! An [`item::Item`] is one payment of one lane; ticks under one price become one item by
//! [`item::Run`]. [`lanes::Lanes`] hold what each session of the channel paid and may pay. The tree
//! over the items is `merkle`'s, the bytes of its leaves stand in `leaf`. [`flight::Flight`] keeps
//! what was sent and not acknowledged; [`receipt::Receipt`] shows a third party one item.
//!
//! # The bytes
//! One encoding a batch; everything else is refused. LEB128 numbers in their shortest form.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | 0x10 (version 1) + 1 if ids leave gaps + 2 if several lanes + 4 if prices + 8 if hashes |
//! | 1 | items a leaf, 1..=64 |
//! | LEB128 | items, 1..=2^20 |
//! | LEB128 | if several: lanes, 2..=64 |
//! | 2 x LEB128 | of each lane, by first use: its number, the id of its first item here |
//! | LEB128 | if prices: prices, 1..=64 |
//! | 2 x LEB128 | of each price, by first use: msat, per |
//! | LEB128 | if prices: items without a price |
//! | LEB128 | if hashes: items with a hash |
//! | column | if several lanes: the item's place in the table of lanes |
//! | column | if gaps: ids left out before the item; not of a lane's first item |
//! | column | if several prices, or one and items without: place in the table from 1, 0 for none |
//! | column | of the items with a price: their count |
//! | column | of the items without: their amount in msat |
//! | column | of the items with a hash: items without one before it |
//! | 32 each | the hashes |
//!
//! A column is one number if all are equal, else blocks of 512 with a frame of reference, packed
//! bits and patched outliers (see `column`). A constant batch is 9 to 20 bytes.
//!
//! # The rules
//! - B1. Ids rise strictly within a lane for the channel's life: the payee keeps the last one, and
//!   a replayed item is refused.
//! - B2. The sum of the lanes' totals, and what was paid outside of them, is the channel's `paid`.
//! - B3. An item's amount is `floor(count x price)`, computed on both sides and never sent.
//! - B4. A batch counts whole or not at all: the sum is `paid(new) - paid(start)`, the root is the
//!   one of the received bytes, and no lane goes above its limit.
//! - B5. A batch pays something, because it is acknowledged by what was paid.
//!
//! ```
//! use bitcoin::{OutPoint, XOnlyPublicKey};
//! use millstream::batch::item::{Charge, Item, LeafSize};
//! use millstream::batch::lanes::Lanes;
//! use millstream::batch::{Batch, Builder, Channel};
//! use millstream::units::{ItemId, Lane, Msat};
//!
//! /// Either side's view of a channel.
//! struct View {
//!     payee: XOnlyPublicKey,
//!     paid: Msat,
//! }
//!
//! impl Channel for View {
//!     fn outpoint(&self) -> OutPoint {
//!         OutPoint::null()
//!     }
//!     fn payee(&self) -> XOnlyPublicKey {
//!         self.payee
//!     }
//!     fn paid(&self) -> Msat {
//!         self.paid
//!     }
//!     fn room(&self) -> Msat {
//!         Msat::MAX.saturating_sub(self.paid)
//!     }
//! }
//!
//! let payee = XOnlyPublicKey::from_slice(&bitcoin::secp256k1::constants::GENERATOR_X)?;
//! let channel = View { payee, paid: Msat::ZERO };
//! let mut lanes = Lanes::new(Msat::ZERO);
//! let lane = Lane::new(0)?;
//! lanes.open(lane, Msat::new(1_000_000)?)?;
//!
//! // The payer.
//! let mut builder = Builder::new(&channel, &lanes, LeafSize::new(16)?)?;
//! for number in 1..=1_000 {
//!     let charge = Charge::Amount(Msat::new(250)?);
//!     builder.push(&Item { lane, id: ItemId::new(number)?, charge, hash: None })?;
//! }
//! let sealed = builder.seal()?;
//! assert!(sealed.bytes.len() < 20);
//!
//! // The payee, from the bytes and what the voucher says.
//! let claim = sealed.credited.claim;
//! let mut sum = Msat::ZERO;
//! let credited = Batch::parse(&sealed.bytes)?.check(&channel, &lanes, &claim, |_, amount| {
//!     sum = sum.saturating_add(amount);
//! })?;
//! assert_eq!(sum, Msat::new(250_000)?);
//! assert_eq!(credited, sealed.credited);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! Rank 2, builds on `core` and `alloc`. `stream` carries batches in its vouchers by implementing
//! [`Channel`]; `signer` signs receipts; `node` joins hashes with the documents that they are of.

mod build;
mod column;
mod error;
pub mod flight;
mod hashing;
mod head;
pub mod item;
pub mod lanes;
mod leaf;
mod read;
pub mod receipt;
mod stretch;
mod tally;
mod varint;
mod walk;

use bitcoin::OutPoint;
use bitcoin::secp256k1::XOnlyPublicKey;

use crate::units::Msat;

pub use build::{Builder, Sealed};
pub use error::BatchError;
pub use read::Batch;

/// 2^20: at one item a leaf a path of 20 steps, and a window of 0.2 s of work on both sides.
pub(crate) const ITEMS_MAX: u32 = 1 << 20;
/// 64 prices: the bands and tiers of a few tariffs; each item's is found by looking through them.
const PRICES_MAX: u32 = 64;
/// The largest leaf.
const LEAF_ITEMS_MAX: usize = 64;

/// What a channel offers to batches; `stream` and later the two-way channel implement it.
pub trait Channel {
    /// The output that the channel lives in.
    fn outpoint(&self) -> OutPoint;

    /// The payee's base key, which signs receipts.
    fn payee(&self) -> XOnlyPublicKey;

    /// What is paid by now. On the payer's side that is the last voucher which it signed, on the
    /// payee's the last one which it took.
    fn paid(&self) -> Msat;

    /// How much more may be paid: capacity less what is paid and held.
    fn room(&self) -> Msat;
}

/// What a voucher says of the batch that it pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// What was paid before the batch.
    pub start: Msat,
    /// What is paid with it: the voucher's own amount.
    pub paid: Msat,
    /// How many items it has.
    pub items: u32,
    /// Hash of the tree's root, which counts them and their sum.
    pub root: [u8; 32],
}

#[cfg(test)]
mod tests;
