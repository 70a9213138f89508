//! Bundles: many conditional micropayments that resolve together, behind one hash, held as one.
//!
//! ```text
//!  Bundling --push, fail, split_off--> items that will be offered --seal(sum)--> Bundle
//!     |  partial failure happens here                                              |
//!     '-- below the dust limit: waits for more, or is given back     Payer::offer_bundle
//!                                                                                  |
//!                      one hold of floor(total) sat: all of it, or none of it <----'
//! ```
//!
//! Before a bundle is offered any of its items can fail, or go into another bundle. Afterwards it
//! has one hash, one expiry and one fate: a preimage pays every item, a release or the expiry none.
//! That is kept by the types: a [`Bundle`] has no method that takes an item out.
//!
//! What the items are is the matter of a batch (a tree of sums over them, whose root travels with
//! the hold); this room needs three numbers of it, [`BundleSum`]. Whoever takes a bundle recomputes
//! root, count and total from the items that it received before it accepts the hold.
//!
//! A hold is whole satoshis and a total need not be: the hold is worth `floor(total)`, and a fold
//! pays the total to the millisatoshi. Less than one satoshi a bundle is promised and not held;
//! a claim on the chain forgoes it.
//!
//! Used by the machines of `stream`; `node` fills bundles from its sessions.
//!
//! ```
//! use millstream::stream::bundle::{BundleSum, Bundling};
//! use millstream::tx::hold::Preimage;
//! use millstream::units::{Height, Msat, Sat};
//!
//! let preimage = Preimage::new([7; 32]);
//! let mut bundling = Bundling::new(preimage.hash(), Height::new(900_100)?);
//! for msat in [400_250, 300_250, 500_250] {
//!     bundling.push(Msat::new(msat)?)?;
//! }
//! // The second car never came: its toll leaves before anything is offered.
//! bundling.fail(1)?;
//! assert_eq!(bundling.total(), Msat::new(900_500)?);
//! let sum = BundleSum::new([3; 32], bundling.count(), bundling.total())?;
//! let bundle = bundling.seal(sum)?;
//! assert_eq!(bundle.sum().amount(), Sat::new(900)?);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use alloc::vec::Vec;

use bitcoin::OutPoint;
use bitcoin::secp256k1::{XOnlyPublicKey, constants::GENERATOR_X};

use super::bytes::{Reader, Writer};
use super::error::StreamError;
use crate::batch::item::LeafSize;
use crate::batch::lanes::Lanes;
use crate::batch::{Batch, BatchError, Builder, Channel, Claim, Sealed};
use crate::tx::TxError;
use crate::tx::hold::{Hold, PaymentHash};
use crate::units::{Height, Lane, Msat, Sat};

/// 2^20: what one batch has at most.
const ITEMS_MAX: u32 = 1 << 20;

/// What a tree of sums says of a bundle's items: its root, how many there are, what they cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleSum {
    root: [u8; 32],
    items: u32,
    total: Msat,
}

impl BundleSum {
    /// `items`: 1 ..= 2^20.
    ///
    /// # Errors
    /// [`StreamError::BundleItems`].
    pub const fn new(root: [u8; 32], items: u32, total: Msat) -> Result<Self, StreamError> {
        if items == 0 || items > ITEMS_MAX {
            return Err(StreamError::BundleItems { got: items, max: ITEMS_MAX });
        }
        Ok(Self { root, items, total })
    }

    /// The root of the tree over the items.
    #[must_use]
    pub const fn root(&self) -> &[u8; 32] {
        &self.root
    }

    /// How many items there are.
    #[must_use]
    pub const fn items(&self) -> u32 {
        self.items
    }

    /// What a fold pays.
    #[must_use]
    pub const fn total(&self) -> Msat {
        self.total
    }

    /// What the hold is worth: the total in whole satoshis, rounded down.
    #[must_use]
    pub const fn amount(&self) -> Sat {
        self.total.floor_to_sat()
    }

    /// Starts the items of a bundle: a batch of lane 0 that starts at nothing, wherever the channel
    /// stands, because they count only with the preimage.
    ///
    /// # Errors
    /// None: a fresh lane can be opened.
    pub fn builder(leaf_size: LeafSize) -> Result<Builder, StreamError> {
        let (nowhere, lanes) = items_channel()?;
        Ok(Builder::new(&nowhere, &lanes, leaf_size)?)
    }

    /// What the tree over those items says.
    ///
    /// # Errors
    /// [`StreamError::BundleItems`].
    pub const fn of(sealed: &Sealed) -> Result<Self, StreamError> {
        let claim = &sealed.credited.claim;
        Self::new(claim.root, claim.items, claim.paid)
    }

    /// Counts a bundle's received items again: their form, their number, their sum and their root.
    ///
    /// # Errors
    /// [`StreamError::Batch`].
    pub fn check_items(&self, bytes: &[u8]) -> Result<(), StreamError> {
        let (nowhere, lanes) = items_channel()?;
        let (start, paid) = (Msat::ZERO, self.total);
        let claim = Claim { start, paid, items: self.items, root: self.root };
        let _counted = Batch::parse(bytes)?.check(&nowhere, &lanes, &claim, |_, _| {})?;
        Ok(())
    }

    /// Whether `later` may follow it: more of the same, or itself.
    pub(super) fn may_grow_to(&self, later: &Self) -> bool {
        let more = later.items > self.items && later.total >= self.total;
        more || self == later
    }

    /// 44 bytes: root, items, total.
    pub(super) fn write(&self, w: &mut Writer) {
        w.bytes(&self.root);
        w.u32(self.items);
        w.msat(self.total);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Option<Self> {
        let root = *r.array::<32>()?;
        Self::new(root, r.u32()?, r.msat()?).ok()
    }
}

/// Where the items of bundles are: in no channel, and paid with nothing yet.
#[derive(Debug)]
struct Nowhere(XOnlyPublicKey);

impl Channel for Nowhere {
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

fn items_channel() -> Result<(Nowhere, Lanes), StreamError> {
    // No receipt is made of it: any point will do, and the generator is one.
    let broken = StreamError::BrokenRecord { at: 0 };
    let key = XOnlyPublicKey::from_slice(&GENERATOR_X).map_err(|_| broken)?;
    let mut lanes = Lanes::new(Msat::ZERO);
    lanes.open(Lane::MIN, Msat::MAX).map_err(BatchError::from)?;
    Ok((Nowhere(key), lanes))
}

/// Items that are collected under one hash and expiry, and are not offered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundling {
    hash: PaymentHash,
    expiry: Height,
    /// By number; none where the item failed.
    items: Vec<Option<Msat>>,
    count: u32,
    total: Msat,
}

impl Bundling {
    /// Without items.
    #[must_use]
    pub const fn new(hash: PaymentHash, expiry: Height) -> Self {
        Self { hash, expiry, items: Vec::new(), count: 0, total: Msat::ZERO }
    }

    /// Adds an item of any amount, and gives its number: they count from 0.
    ///
    /// # Errors
    /// [`StreamError::BundleItems`] if it is full, [`TxError::Overflow`] above all money; it is as
    /// it was.
    pub fn push(&mut self, amount: Msat) -> Result<u32, StreamError> {
        let number = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        if number >= ITEMS_MAX {
            return Err(StreamError::BundleItems { got: number, max: ITEMS_MAX });
        }
        self.total = self.total.add(amount).map_err(TxError::from)?;
        self.count = self.count.saturating_add(1);
        self.items.push(Some(amount));
        Ok(number)
    }

    /// Takes an item out, and gives its amount: partial failure, before offering.
    ///
    /// # Errors
    /// [`StreamError::NoSuchItem`] if there is none of this number, or it was taken out before.
    pub fn fail(&mut self, number: u32) -> Result<Msat, StreamError> {
        let missing = StreamError::NoSuchItem { number };
        let index = usize::try_from(number).map_err(|_| missing)?;
        let amount = self.items.get_mut(index).and_then(Option::take).ok_or(missing)?;
        // Both were raised by it.
        self.count = self.count.saturating_sub(1);
        self.total = self.total.saturating_sub(amount);
        Ok(amount)
    }

    /// Moves the items from `number` on into a bundle of their own, under another hash: two that
    /// share one would not fail apart. Their numbers count from 0 there.
    ///
    /// # Errors
    /// [`StreamError::SameHash`].
    pub fn split_off(&mut self, number: u32, hash: PaymentHash) -> Result<Self, StreamError> {
        if hash == self.hash {
            return Err(StreamError::SameHash);
        }
        let index = usize::try_from(number).unwrap_or(usize::MAX).min(self.items.len());
        let mut rest = Self::new(hash, self.expiry);
        rest.items = self.items.split_off(index);
        for amount in rest.items.iter().flatten() {
            // A part of a sum that did not overflow.
            rest.total = rest.total.saturating_add(*amount);
            rest.count = rest.count.saturating_add(1);
        }
        self.total = self.total.saturating_sub(rest.total);
        self.count = self.count.saturating_sub(rest.count);
        Ok(rest)
    }

    /// The items that are left, with their numbers, in order: what the tree is made over.
    pub fn items(&self) -> impl Iterator<Item = (u32, Msat)> + '_ {
        (0..).zip(&self.items).filter_map(|(number, amount)| Some((number, (*amount)?)))
    }

    /// How many items are left.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// What they cost together.
    #[must_use]
    pub const fn total(&self) -> Msat {
        self.total
    }

    /// The end of partial failure: what is offered from here on is paid whole or not at all.
    ///
    /// `sum`: of the tree over [`Self::items`].
    ///
    /// # Errors
    /// [`StreamError::OtherBundle`] if `sum` is of other items.
    pub fn seal(self, sum: BundleSum) -> Result<Bundle, StreamError> {
        if sum.items != self.count || sum.total != self.total {
            return Err(StreamError::OtherBundle { want: self.total, got: sum.total });
        }
        Ok(Bundle { hash: self.hash, expiry: self.expiry, sum })
    }
}

/// A bundle to be offered: one hash, one expiry, one fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bundle {
    hash: PaymentHash,
    expiry: Height,
    sum: BundleSum,
}

impl Bundle {
    /// The hash whose preimage pays every item, and proves it.
    #[must_use]
    pub const fn hash(&self) -> PaymentHash {
        self.hash
    }

    /// The height until which.
    #[must_use]
    pub const fn expiry(&self) -> Height {
        self.expiry
    }

    /// What the tree over the items says.
    #[must_use]
    pub const fn sum(&self) -> &BundleSum {
        &self.sum
    }

    /// Whether it can be merged into `hold`, or is it already: that takes equal hash and expiry.
    #[must_use]
    pub fn fits(&self, hold: &Hold) -> bool {
        hold.hash == self.hash && hold.expiry == self.expiry
    }
}

/// What a fold pays: the bundle's total, or the hold's own amount.
pub(super) fn due(hold: &Hold, bundle: Option<&BundleSum>) -> Msat {
    bundle.map_or(hold.amount.to_msat(), BundleSum::total)
}

/// Whether a hold may stand there with this bundle: it is worth its whole satoshis.
pub(super) fn is_worth(hold: &Hold, bundle: Option<&BundleSum>) -> bool {
    bundle.is_none_or(|sum| sum.amount() == hold.amount)
}

/// One byte, or 1 and the bundle.
pub(super) fn write_optional(w: &mut Writer, bundle: Option<&BundleSum>) {
    w.u8(u8::from(bundle.is_some()));
    if let Some(sum) = bundle {
        sum.write(w);
    }
}

#[expect(clippy::option_option, reason = "unreadable, or read as none")]
pub(super) fn read_optional(r: &mut Reader<'_>) -> Option<Option<BundleSum>> {
    Some(if r.flag()? { Some(BundleSum::read(r)?) } else { None })
}
