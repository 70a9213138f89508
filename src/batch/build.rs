//! The payer's side: items are pushed one by one, and sealed into a batch.

use alloc::vec::Vec;

use super::column::ColumnWriter;
use super::hashing::Hashing;
use super::head::Head;
use super::item::{Item, ItemError, LeafSize};
use super::lanes::{Credited, Lanes};
use super::stretch::Stretch;
use super::tally::{Found, Tally};
use super::{BatchError, Channel, Claim, ITEMS_MAX, LEAF_ITEMS_MAX, PRICES_MAX};
use crate::units::{ItemId, Lane, Msat, Price};

/// Collects the items of one batch, in memory of the size of its bytes.
///
/// See [`batch`](super) for an example.
#[derive(Debug)]
pub struct Builder {
    lanes: Lanes,
    start: Msat,
    tally: Tally,
    open: Option<Open>,
    /// Of the open stretch: counts if it has a price, else amounts.
    values: [u64; LEAF_ITEMS_MAX],
    /// What its items cost.
    amounts: [Msat; LEAF_ITEMS_MAX],
    table: Vec<(Lane, ItemId)>,
    prices: Vec<Price>,
    bare: u32,
    /// Without those of the open stretch.
    items: u32,
    columns: Writers,
    leaf_size: LeafSize,
    hashing: Hashing,
}

/// A batch as it is sent, with what it claims and what the lanes are after it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a batch that is not sent is not paid"]
#[non_exhaustive]
pub struct Sealed {
    /// The canonical bytes.
    pub bytes: Vec<u8>,
    /// What the voucher says beside them, and the lanes after the batch.
    pub credited: Credited,
}

/// The stretch that the last item is in: an item that goes on in it costs a few comparisons.
#[derive(Debug, Clone, Copy)]
struct Open {
    found: Found,
    first: ItemId,
    /// The id that goes on; 0 if none does.
    next: u64,
    price: Option<Price>,
    /// Place of the price in the table from 1; 0 for none.
    price_index: u64,
    count: usize,
    /// How many values there may be, by 64 and by the end of the batch.
    count_max: usize,
    sum: Msat,
    /// What the last item cost, by its value: equal items are priced once.
    recent: (u64, Msat),
}

#[derive(Debug, Default)]
struct Writers {
    lanes: ColumnWriter,
    gaps: ColumnWriter,
    prices: ColumnWriter,
    counts: ColumnWriter,
    amounts: ColumnWriter,
    places: ColumnWriter,
    hashes: Vec<u8>,
    /// Items since the last one with a hash.
    since_hash: u64,
}

impl Builder {
    /// Starts a batch where `channel` stands, with `lanes` as they stand there.
    ///
    /// While earlier batches are in flight, `channel` and `lanes` are those after the last of them.
    ///
    /// # Errors
    /// [`BatchError::Lanes`] if the lanes' totals are not what the channel paid.
    pub fn new(
        channel: &impl Channel,
        lanes: &Lanes,
        leaf_size: LeafSize,
    ) -> Result<Self, BatchError> {
        let start = channel.paid();
        lanes.check_paid(start)?;
        Ok(Self {
            lanes: lanes.clone(),
            start,
            tally: Tally::new(channel.room()),
            open: None,
            values: [0; LEAF_ITEMS_MAX],
            amounts: [Msat::ZERO; LEAF_ITEMS_MAX],
            table: Vec::new(),
            prices: Vec::new(),
            bare: 0,
            items: 0,
            columns: Writers::default(),
            leaf_size,
            hashing: Hashing::new(leaf_size),
        })
    }

    /// Appends `item` and returns what it costs. Its share of the hashing is done here too.
    ///
    /// # Errors
    /// [`ItemError`]; the batch is as it was, and may go out or take other items.
    #[inline]
    pub fn push(&mut self, item: &Item) -> Result<Msat, ItemError> {
        if let Some(open) = &mut self.open
            && let Some(amount) = open.take(item, &mut self.values, &mut self.amounts)
        {
            if open.count >= open.count_max {
                self.close(None);
            }
            return Ok(amount);
        }
        self.turn(item)
    }

    /// How many items it has.
    pub fn items(&self) -> u32 {
        let open = self.open.as_ref().and_then(|open| u32::try_from(open.count).ok());
        self.items.saturating_add(open.unwrap_or(0))
    }

    /// What they cost together.
    pub fn total(&self) -> Msat {
        let open = self.open.as_ref().map_or(Msat::ZERO, |open| open.sum);
        self.tally.total().saturating_add(open)
    }

    /// Ends the batch.
    ///
    /// # Errors
    /// [`BatchError::Empty`], [`BatchError::PaysNothing`].
    pub fn seal(mut self) -> Result<Sealed, BatchError> {
        self.close(None);
        if self.items == 0 {
            return Err(BatchError::Empty);
        }
        let total = self.tally.total();
        if total == Msat::ZERO {
            return Err(BatchError::PaysNothing);
        }
        let root = self.hashing.finish(self.items)?.hash;
        let paid = self.start.checked_add(total).ok_or(BatchError::Range { what: "paid" })?;
        let claim = Claim { start: self.start, paid, items: self.items, root };
        let credited = Credited { lanes: self.tally.after(&self.lanes), claim };
        let head = Head {
            leaf_size: self.leaf_size,
            items: self.items,
            lanes: self.table,
            prices: self.prices,
            bare: self.bare,
            hashed: u32::try_from(self.columns.places.count()).unwrap_or(u32::MAX),
            gaps: self.columns.gaps.constant() != Some(0),
        };
        let mut bytes = Vec::new();
        head.put(&mut bytes);
        self.columns.finish(&head, &mut bytes);
        Ok(Sealed { bytes, credited })
    }

    /// Ends the open stretch and begins one with `item`.
    #[inline(never)]
    fn turn(&mut self, item: &Item) -> Result<Msat, ItemError> {
        self.close(None);
        let amount = item.charge.amount()?;
        let found = self.tally.find(&self.lanes, item.lane, item.id)?;
        if amount > found.free {
            return Err(found.over(Msat::ZERO, amount));
        }
        let batch_free = ITEMS_MAX.saturating_sub(self.items);
        if batch_free == 0 {
            return Err(ItemError::Full { what: "items", max: ITEMS_MAX });
        }
        let (price, value) = item.charge.parts();
        let price_index = price.map_or(Ok(0), |price| self.price_index(price))?;
        // From here on nothing fails.
        let ([slot, ..], [cost, ..]) = (&mut self.values, &mut self.amounts);
        (*slot, *cost) = (value, amount);
        let batch_free = usize::try_from(batch_free).unwrap_or(usize::MAX);
        self.open = Some(Open {
            found,
            first: item.id,
            next: item.id.to_u64().wrapping_add(1),
            price,
            price_index,
            count: 1,
            count_max: batch_free.min(LEAF_ITEMS_MAX),
            sum: amount,
            recent: (value, amount),
        });
        if item.hash.is_some() || batch_free <= 1 {
            self.close(item.hash);
        }
        Ok(amount)
    }

    /// Counts and writes the open stretch; with `hash` it has one item.
    #[inline]
    fn close(&mut self, hash: Option<[u8; 32]>) {
        let Some(open) = self.open.take() else { return };
        let values = self.values.get(..open.count).unwrap_or_default();
        let (lane, first, price) = (open.found.seat.lane, open.first, open.price);
        let stretch = Stretch { lane, first, price, values, hash };
        if !open.found.known {
            self.table.push((lane, first));
        }
        let narrow = u32::try_from(open.count).unwrap_or(u32::MAX);
        self.items = self.items.saturating_add(narrow);
        if price.is_none() {
            self.bare = self.bare.saturating_add(narrow);
        }
        self.columns.extend(&open, &stretch);
        self.tally.count(&open.found, stretch.last(), open.sum);
        let amounts = self.amounts.get(..open.count).unwrap_or_default();
        self.hashing.extend(&stretch, amounts);
    }

    /// Place of `price` in the table, from 1; it is entered if it is new.
    fn price_index(&mut self, price: Price) -> Result<u64, ItemError> {
        let found = (1_u64..).zip(self.prices.iter()).find(|(_, known)| **known == price);
        if let Some((index, _)) = found {
            return Ok(index);
        }
        let index = u64::try_from(self.prices.len()).unwrap_or(u64::MAX);
        if index >= u64::from(PRICES_MAX) {
            return Err(ItemError::Full { what: "prices", max: PRICES_MAX });
        }
        self.prices.push(price);
        Ok(index.saturating_add(1))
    }
}

impl Open {
    /// Takes `item` if it goes on in this stretch and is free to; returns what it costs.
    #[inline]
    fn take(
        &mut self,
        item: &Item,
        values: &mut [u64; LEAF_ITEMS_MAX],
        amounts: &mut [Msat; LEAF_ITEMS_MAX],
    ) -> Option<Msat> {
        let (price, value) = item.charge.parts();
        let goes_on = item.id.to_u64() == self.next
            && item.lane == self.found.seat.lane
            && price == self.price
            && item.hash.is_none();
        if !goes_on {
            return None;
        }
        let amount = match self.recent {
            (known, amount) if known == value => amount,
            _ => item.charge.amount().ok()?,
        };
        let sum = self.sum.checked_add(amount).filter(|sum| *sum <= self.found.free)?;
        (*values.get_mut(self.count)?, *amounts.get_mut(self.count)?) = (value, amount);
        self.count = self.count.wrapping_add(1);
        self.next = self.next.wrapping_add(1);
        self.sum = sum;
        self.recent = (value, amount);
        Some(amount)
    }
}

impl Writers {
    #[inline]
    fn extend(&mut self, open: &Open, stretch: &Stretch<'_>) {
        let count = stretch.values.len();
        self.lanes.push_run(u64::try_from(open.found.place).unwrap_or(u64::MAX), count);
        if open.found.known {
            // The id is above the lane's last one.
            let gap = stretch.first.to_u64().wrapping_sub(open.found.seat.last).wrapping_sub(1);
            self.gaps.push(gap);
        }
        self.gaps.push_run(0, count.saturating_sub(1));
        self.prices.push_run(open.price_index, count);
        let values = if open.price.is_some() { &mut self.counts } else { &mut self.amounts };
        values.extend(stretch.values);
        match stretch.hash {
            None => {
                let count = u64::try_from(count).unwrap_or(0);
                self.since_hash = self.since_hash.saturating_add(count);
            }
            Some(hash) => {
                self.places.push(self.since_hash);
                self.hashes.extend_from_slice(&hash);
                self.since_hash = 0;
            }
        }
    }

    fn finish(self, head: &Head, out: &mut Vec<u8>) {
        for (there, column) in [
            (head.lanes.len() > 1, self.lanes),
            (head.gaps, self.gaps),
            (head.prices_vary(), self.prices),
            (true, self.counts),
            (true, self.amounts),
            (true, self.places),
        ] {
            if there {
                column.finish(out);
            }
        }
        out.extend_from_slice(&self.hashes);
    }
}
