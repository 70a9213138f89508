//! The items of received bytes, stretch by stretch.

use alloc::vec::Vec;

use super::column::ColumnReader;
use super::head::{Columns, Head};
use super::stretch::Stretch;
use super::{BatchError, varint};
use crate::units::{ItemId, Price};

/// Reads the columns side by side.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    head: &'a Head,
    lanes: ColumnReader<'a>,
    gaps: ColumnReader<'a>,
    prices: ColumnReader<'a>,
    counts: ColumnReader<'a>,
    amounts: ColumnReader<'a>,
    places: ColumnReader<'a>,
    hashes: &'a [u8],
    /// Last id of each lane that was seen, by first use.
    last: Vec<u64>,
    prices_seen: usize,
    left: u32,
    /// Items until the next one with a hash; `None` after the last.
    until_hash: Option<u64>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(head: &'a Head, columns: &Columns<'a>) -> Result<Self, BatchError> {
        let items = u64::from(head.items);
        let mut places = columns.places.read(u64::from(head.hashed));
        let until_hash = if head.hashed > 0 { Some(places.next()?) } else { None };
        Ok(Self {
            head,
            lanes: columns.lanes.read(items),
            gaps: columns.gaps.read(head.followers()),
            prices: columns.prices.read(items),
            counts: columns.counts.read(u64::from(head.priced())),
            amounts: columns.amounts.read(u64::from(head.bare)),
            places,
            hashes: columns.hashes,
            last: Vec::new(),
            prices_seen: 0,
            left: head.items,
            until_hash,
        })
    }

    /// The next items, `most` of them at most; `None` after the last, when all has come out even.
    pub(super) fn next(&mut self, most: usize) -> Result<Option<Stretch<'_>>, BatchError> {
        if self.left == 0 {
            return self.finish().map(|()| None);
        }
        let (hashed, most) = match self.until_hash {
            None => (false, most),
            Some(0) => (true, 1),
            Some(items) => (false, most.min(usize::try_from(items).unwrap_or(usize::MAX))),
        };
        let lane_index = self.lanes.peek()?;
        let most = self.lanes.run_of(lane_index, most);
        let place = usize::try_from(lane_index).unwrap_or(usize::MAX);
        let (lane, first) =
            *self.head.lanes.get(place).ok_or(BatchError::Range { what: "lane" })?;
        let first = self.first_id(place, first)?;
        let most = self.gaps.run_of(0, most.saturating_sub(1)).saturating_add(1);
        let price_index = self.prices.peek()?;
        let most = self.prices.run_of(price_index, most);
        let price = self.price(price_index)?;
        let values = if price.is_some() { &mut self.counts } else { &mut self.amounts };
        let range = values.grab(most)?;
        let count = range.len();
        self.lanes.advance(count);
        self.prices.advance(count);
        self.gaps.advance(count.saturating_sub(1));
        let narrow = u32::try_from(count).unwrap_or(u32::MAX);
        self.left = self.left.checked_sub(narrow).ok_or(BatchError::Miscounted)?;
        let after = u64::from(narrow).saturating_sub(1);
        let last =
            first.to_u64().checked_add(after).ok_or(BatchError::Range { what: "item id" })?;
        if let Some(slot) = self.last.get_mut(place) {
            *slot = last;
        }
        let hash = if hashed { Some(self.hash()?) } else { None };
        if !hashed && let Some(items) = &mut self.until_hash {
            *items = items.saturating_sub(u64::from(narrow));
        }
        let values = if price.is_some() { &self.counts } else { &self.amounts };
        Ok(Some(Stretch { lane, first, price, values: values.taken(range), hash }))
    }

    /// The id of the next item, which is in the lane at `place`, where ids start at `start`.
    fn first_id(&mut self, place: usize, start: ItemId) -> Result<ItemId, BatchError> {
        let Some(last) = self.last.get(place) else {
            // A lane's first item. The table has lanes in the order of their first use.
            if place != self.last.len() {
                return Err(BatchError::NotMinimal { what: "lanes" });
            }
            self.last.push(0);
            return Ok(start);
        };
        let id = last.checked_add(self.gaps.next()?).and_then(|id| id.checked_add(1));
        let id = id.and_then(|id| ItemId::new(id).ok());
        id.ok_or(BatchError::Range { what: "item id" })
    }

    fn price(&mut self, index: u64) -> Result<Option<Price>, BatchError> {
        let Some(place) = index.checked_sub(1) else { return Ok(None) };
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        // The table has prices in the order of their first use.
        if place > self.prices_seen {
            return Err(BatchError::NotMinimal { what: "prices" });
        }
        self.prices_seen = self.prices_seen.max(place.saturating_add(1));
        let price = self.head.prices.get(place).ok_or(BatchError::Range { what: "price" })?;
        Ok(Some(*price))
    }

    fn hash(&mut self) -> Result<[u8; 32], BatchError> {
        let hash = varint::take_array(&mut self.hashes)?;
        self.until_hash = if self.hashes.is_empty() { None } else { Some(self.places.next()?) };
        Ok(hash)
    }

    fn finish(&self) -> Result<(), BatchError> {
        for column in
            [&self.lanes, &self.gaps, &self.prices, &self.counts, &self.amounts, &self.places]
        {
            column.finish()?;
        }
        if self.until_hash.is_some() {
            return Err(BatchError::Range { what: "place of a hash" });
        }
        if self.last.len() != self.head.lanes.len() {
            return Err(BatchError::NotMinimal { what: "lanes" });
        }
        if self.prices_seen != self.head.prices.len() {
            return Err(BatchError::NotMinimal { what: "prices" });
        }
        Ok(())
    }
}
