//! The head of a batch: counts and tables; and where its columns lie.

use alloc::vec::Vec;

use super::column::Column;
use super::item::LeafSize;
use super::lanes::LANES_MAX;
use super::{BatchError, ITEMS_MAX, PRICES_MAX, varint};
use crate::units::{ItemId, Lane, Msat, Price};

/// High half of the first byte.
const VERSION: u8 = 0x10;
pub(super) const GAPS: u8 = 1;
pub(super) const LANES: u8 = 2;
pub(super) const PRICES: u8 = 4;
pub(super) const HASHES: u8 = 8;
/// Bytes of a hash.
pub(super) const HASH_BYTES: u64 = 32;

/// The counts and tables at the front of a batch.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) leaf_size: LeafSize,
    pub(super) items: u32,
    /// Lane and first id, by first use.
    pub(super) lanes: Vec<(Lane, ItemId)>,
    /// By first use.
    pub(super) prices: Vec<Price>,
    /// Items without a price.
    pub(super) bare: u32,
    /// Items with a hash.
    pub(super) hashed: u32,
    /// Whether a gap between two ids of a lane is more than none.
    pub(super) gaps: bool,
}

/// The columns of a batch, found in its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'a> {
    /// Which lane, as a place in the table.
    pub(super) lanes: Column<'a>,
    /// Ids that are left out before each item but the first of its lane.
    pub(super) gaps: Column<'a>,
    /// Which price, as a place in the table from 1; 0 for none.
    pub(super) prices: Column<'a>,
    pub(super) counts: Column<'a>,
    pub(super) amounts: Column<'a>,
    /// Items without a hash before each one with it.
    pub(super) places: Column<'a>,
    pub(super) hashes: &'a [u8],
}

impl Head {
    /// Items that are not the first of their lane.
    pub(super) fn followers(&self) -> u64 {
        let lanes = u64::try_from(self.lanes.len()).unwrap_or(u64::MAX);
        u64::from(self.items).saturating_sub(lanes)
    }

    /// Items with a price.
    pub(super) const fn priced(&self) -> u32 {
        self.items.saturating_sub(self.bare)
    }

    /// Whether the price of each item has to be said.
    pub(super) fn prices_vary(&self) -> bool {
        self.prices.len() > 1 || (self.prices.len() == 1 && self.bare > 0)
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let mut flags = VERSION;
        for (set, flag) in [
            (self.gaps, GAPS),
            (self.lanes.len() > 1, LANES),
            (!self.prices.is_empty(), PRICES),
            (self.hashed > 0, HASHES),
        ] {
            flags |= if set { flag } else { 0 };
        }
        out.push(flags);
        out.push(self.leaf_size.to_u8());
        varint::put(u64::from(self.items), out);
        if self.lanes.len() > 1 {
            varint::put(u64::try_from(self.lanes.len()).unwrap_or(0), out);
        }
        for (lane, first) in &self.lanes {
            varint::put(u64::from(lane.to_u16()), out);
            varint::put(first.to_u64(), out);
        }
        if !self.prices.is_empty() {
            varint::put(u64::try_from(self.prices.len()).unwrap_or(0), out);
            for price in &self.prices {
                varint::put(price.msat().to_msat(), out);
                varint::put(price.per().get(), out);
            }
            varint::put(u64::from(self.bare), out);
        }
        if self.hashed > 0 {
            varint::put(u64::from(self.hashed), out);
        }
    }

    /// Takes a head off the front of `from`. Allocates at most what the tables' bytes say.
    pub(super) fn take(from: &mut &[u8]) -> Result<Self, BatchError> {
        let [flags, leaf_size] = varint::take_array(from)?;
        if flags & !(GAPS | LANES | PRICES | HASHES) != VERSION {
            return Err(BatchError::UnknownVersion { got: flags });
        }
        let leaf_size = LeafSize::new(leaf_size)?;
        let got = varint::take(from)?;
        let items = u32::try_from(got).ok().filter(|items| *items <= ITEMS_MAX);
        let items = items.ok_or(BatchError::TooManyItems { got, max: ITEMS_MAX })?;
        if items == 0 {
            return Err(BatchError::Empty);
        }
        let lanes = take_lanes(from, flags & LANES != 0)?;
        let (prices, bare) =
            if flags & PRICES == 0 { (Vec::new(), items) } else { take_prices(from, items)? };
        let hashed = if flags & HASHES == 0 { 0 } else { take_count(from, 1, items, "hashes")? };
        let gaps = flags & GAPS != 0;
        let head = Self { leaf_size, items, lanes, prices, bare, hashed, gaps };
        if gaps && head.followers() == 0 {
            return Err(BatchError::NotMinimal { what: "gaps" });
        }
        Ok(head)
    }

    /// Finds the columns, which are all that is left of the bytes.
    pub(super) fn columns<'a>(&self, bytes: &'a [u8]) -> Result<Columns<'a>, BatchError> {
        let mut from = bytes;
        let mut column = |there: bool, otherwise: u64| {
            if there { Column::take(&mut from) } else { Ok(Column::Constant(otherwise)) }
        };
        let lanes = column(self.lanes.len() > 1, 0)?;
        let gaps = column(self.gaps, 0)?;
        let priced = u64::from(!self.prices.is_empty());
        let prices = column(self.prices_vary(), priced)?;
        let counts = column(self.priced() > 0, 0)?;
        let amounts = column(self.bare > 0, 0)?;
        let places = column(self.hashed > 0, 0)?;
        if self.gaps && matches!(gaps, Column::Constant(0)) {
            return Err(BatchError::NotMinimal { what: "gaps" });
        }
        let length = u64::from(self.hashed).saturating_mul(HASH_BYTES);
        let hashes = varint::take_bytes(&mut from, length)?;
        if !from.is_empty() {
            return Err(BatchError::Trailing { bytes: from.len() });
        }
        Ok(Columns { lanes, gaps, prices, counts, amounts, places, hashes })
    }
}

fn take_lanes(from: &mut &[u8], several: bool) -> Result<Vec<(Lane, ItemId)>, BatchError> {
    let max = u32::try_from(LANES_MAX).unwrap_or(u32::MAX);
    let count = if several { take_count(from, 2, max, "lanes")? } else { 1 };
    let mut lanes: Vec<(Lane, ItemId)> = Vec::new();
    for _ in 0..count {
        let lane = Lane::try_from(varint::take(from)?);
        let lane = lane.map_err(|_| BatchError::Range { what: "lane" })?;
        let first = ItemId::new(varint::take(from)?);
        let first = first.map_err(|_| BatchError::Range { what: "item id" })?;
        if lanes.iter().any(|(other, _)| *other == lane) {
            return Err(BatchError::NotMinimal { what: "lanes" });
        }
        lanes.push((lane, first));
    }
    Ok(lanes)
}

fn take_prices(from: &mut &[u8], items: u32) -> Result<(Vec<Price>, u32), BatchError> {
    let count = take_count(from, 1, PRICES_MAX, "prices")?;
    let mut prices: Vec<Price> = Vec::new();
    for _ in 0..count {
        let msat = Msat::new(varint::take(from)?);
        let per = varint::take(from)?;
        let price = msat.and_then(|msat| Price::new(msat, per));
        let price = price.map_err(|_| BatchError::Range { what: "price" })?;
        if prices.contains(&price) {
            return Err(BatchError::NotMinimal { what: "prices" });
        }
        prices.push(price);
    }
    let bare = take_count(from, 0, items.saturating_sub(count), "items without a price")?;
    Ok((prices, bare))
}

fn take_count(
    from: &mut &[u8],
    least: u32,
    most: u32,
    what: &'static str,
) -> Result<u32, BatchError> {
    let count = u32::try_from(varint::take(from)?).ok();
    count.filter(|count| (least..=most).contains(count)).ok_or(BatchError::Range { what })
}
