//! The payee's side: received bytes, checked whole, with a visit at each item.

use alloc::vec::Vec;

use super::hashing::Hashing;
use super::head::{Columns, Head};
use super::item::{Item, LeafSize};
use super::lanes::{Credited, Lanes};
use super::stretch::{Amounts, Wrong};
use super::tally::{Found, Tally};
use super::walk::Walk;
use super::{BatchError, Channel, Claim, LEAF_ITEMS_MAX};
use crate::merkle::{Proof, Root};
use crate::units::{ItemId, Lane, Msat};

/// A batch in received bytes: its head is read, its items are not.
///
/// Memory is bounded by the bytes: a few bytes can say a million equal items, which are visited one
/// by one and never collected. What they cost in time is said by [`Self::items`] and
/// [`Self::leaf_size`] before any of it is spent; a payee checks the voucher's signature first.
///
/// See [`batch`](super) for an example.
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    pub(super) head: Head,
    pub(super) columns: Columns<'a>,
}

impl<'a> Batch<'a> {
    /// Reads the head of `bytes`, which are one batch and nothing else.
    ///
    /// # Errors
    /// [`BatchError`]; what is wrong inside the columns is found by [`Self::check`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let mut from = bytes;
        let head = Head::take(&mut from)?;
        let columns = head.columns(from)?;
        Ok(Self { head, columns })
    }

    /// How many items it says that it has, 1 ..= 2^20.
    pub const fn items(&self) -> u32 {
        self.head.items
    }

    /// How many items a leaf of its tree has.
    pub const fn leaf_size(&self) -> LeafSize {
        self.head.leaf_size
    }

    /// Checks everything, and returns the lanes after the batch: its one canonical form, where it
    /// starts, each item's id, lane and limit, the room of the channel, the sum beside the voucher,
    /// and the root, recomputed from these bytes.
    ///
    /// `each` is shown every item with its amount, in order; an error afterwards takes all of them
    /// back. O(items); one leaf and one path of the tree in memory.
    ///
    /// # Errors
    /// [`BatchError`]; nothing has changed.
    pub fn check(
        &self,
        channel: &impl Channel,
        lanes: &Lanes,
        claim: &Claim,
        mut each: impl FnMut(&Item, Msat),
    ) -> Result<Credited, BatchError> {
        let paid = channel.paid();
        lanes.check_paid(paid)?;
        if claim.start != paid {
            return Err(BatchError::WrongStart { got: claim.start, paid });
        }
        if claim.items != self.head.items {
            return Err(BatchError::ItemsDiffer { got: self.head.items, claimed: claim.items });
        }
        let mut tally = Tally::new(channel.room());
        let mut hashing = Hashing::new(self.head.leaf_size);
        let mut walk = Walk::new(&self.head, &self.columns)?;
        let mut amounts = Amounts::new();
        let mut at = 0_u32;
        while let Some(stretch) = walk.next(LEAF_ITEMS_MAX)? {
            let (amounts, sum) = amounts.of(&stretch).map_err(|wrong| wrong.after(at))?;
            let found = tally.find(lanes, stretch.lane, stretch.first);
            let found = found.map_err(|error| BatchError::Item { at, error })?;
            let Some(sum) = sum.filter(|sum| *sum <= found.free) else {
                return Err(first_over(&found, amounts).after(at));
            };
            tally.count(&found, stretch.last(), sum);
            hashing.extend(&stretch, amounts);
            for (item, amount) in stretch.items().zip(amounts) {
                each(&item, *amount);
            }
            at = at.saturating_add(u32::try_from(amounts.len()).unwrap_or(u32::MAX));
        }
        let total = tally.total();
        let claimed = claim.paid.checked_sub(claim.start).unwrap_or(Msat::ZERO);
        if total != claimed {
            return Err(BatchError::SumDiffers { got: total, claimed });
        }
        if total == Msat::ZERO {
            return Err(BatchError::PaysNothing);
        }
        if hashing.finish(self.head.items)?.hash != claim.root {
            return Err(BatchError::RootDiffers);
        }
        Ok(Credited { lanes: tally.after(lanes), claim: *claim })
    }

    /// Visits every item with its amount, and checks the form of the bytes alone: for a batch that
    /// was counted before. [`Self::check`] is what counts money.
    ///
    /// # Errors
    /// [`BatchError`], after some items were visited.
    pub fn visit(&self, mut each: impl FnMut(&Item, Msat)) -> Result<(), BatchError> {
        let mut walk = Walk::new(&self.head, &self.columns)?;
        let mut amounts = Amounts::new();
        let mut at = 0_u32;
        while let Some(stretch) = walk.next(LEAF_ITEMS_MAX)? {
            let (amounts, _) = amounts.of(&stretch).map_err(|wrong| wrong.after(at))?;
            for (item, amount) in stretch.items().zip(amounts) {
                each(&item, *amount);
            }
            at = at.saturating_add(u32::try_from(amounts.len()).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    /// The place of item `id` of `lane`, if it is in the batch. O(items).
    ///
    /// # Errors
    /// As [`Self::visit`].
    pub fn place_of(&self, lane: Lane, id: ItemId) -> Result<Option<u32>, BatchError> {
        let (mut at, mut found) = (0_u32, None);
        self.visit(|item, _| {
            if (item.lane, item.id) == (lane, id) {
                found = Some(at);
            }
            at = at.saturating_add(1);
        })?;
        Ok(found)
    }

    /// Leaf and path of the item at place `at`.
    pub(super) fn prove(&self, at: u32) -> Result<Shown, BatchError> {
        if at >= self.head.items {
            return Err(BatchError::NoItem { at });
        }
        let size = u32::from(self.head.leaf_size.to_u8());
        let index = at.checked_div(size).unwrap_or(0);
        let place = at.saturating_sub(index.saturating_mul(size));
        let mut hashing = Hashing::proving(self.head.leaf_size, index);
        let mut walk = Walk::new(&self.head, &self.columns)?;
        let mut amounts = Amounts::new();
        let mut at = 0_u32;
        while let Some(stretch) = walk.next(LEAF_ITEMS_MAX)? {
            let (amounts, _) = amounts.of(&stretch).map_err(|wrong| wrong.after(at))?;
            hashing.extend(&stretch, amounts);
            at = at.saturating_add(u32::try_from(amounts.len()).unwrap_or(u32::MAX));
        }
        let (root, leaf, proof) = hashing.finish_proof(self.head.items)?;
        let place = u8::try_from(place).unwrap_or(u8::MAX);
        Ok(Shown { root, leaf, place, proof })
    }
}

/// An item with its way to the root.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) root: Root,
    /// The leaf's bytes.
    pub(super) leaf: Vec<u8>,
    /// Where in the leaf the item is.
    pub(super) place: u8,
    pub(super) proof: Proof,
}

/// The first item of a stretch that goes above what is free.
#[cold]
fn first_over(found: &Found, amounts: &[Msat]) -> Wrong {
    let mut paid = Msat::ZERO;
    for (place, amount) in amounts.iter().enumerate() {
        match paid.checked_add(*amount).filter(|sum| *sum <= found.free) {
            Some(sum) => paid = sum,
            None => return Wrong { place, error: found.over(paid, *amount) },
        }
    }
    // The sum is above what is free, so one of them was.
    Wrong { place: 0, error: found.over(Msat::ZERO, Msat::MAX) }
}

impl Wrong {
    /// The error of a stretch whose first item is at `at` in the batch.
    fn after(self, at: u32) -> BatchError {
        let place = u32::try_from(self.place).unwrap_or(u32::MAX);
        BatchError::Item { at: at.saturating_add(place), error: self.error }
    }
}
