//! The bytes of a leaf: what the tree hashes, and what a receipt shows.
//!
//! A leaf is a list of stretches. A stretch is up to 64 items of one lane with consecutive ids
//! under one price, or without one; an item with a hash is a stretch by itself. Numbers are
//! big-endian.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | width code (0: 1 byte, 1: 2, 2: 4, 3: 8), + 4 if priced, + 8 with a hash |
//! | 1 | items, 1..=64 |
//! | 2 + 8 | lane, id of the first item |
//! | 8 + 8 | if priced: msat, per |
//! | width x items | counts if priced, else amounts in msat, in the narrowest width for all |
//! | 32 | with a hash: the hash |
//!
//! Stretches are as long as they can be, so items have one form. An item alone takes at most 52
//! bytes (one block of SHA-256 after the tag), but 68 with price and hash together.

use alloc::vec::Vec;

use super::item::{Charge, Item};
use super::stretch::Stretch;
use super::varint::take_array;
use super::{BatchError, LEAF_ITEMS_MAX};
use crate::units::{ItemId, Lane, Msat, Price, Quantity};

const PRICED: u8 = 4;
const HASHED: u8 = 8;

/// Collects the items of one leaf after the other.
#[derive(Debug)]
pub(super) struct LeafWriter {
    /// Closed stretches.
    bytes: Vec<u8>,
    lane: Lane,
    price: Option<Price>,
    first: u64,
    next: u64,
    /// Counts or amounts of the open stretch.
    values: Vec<u64>,
    items: usize,
    sum: Msat,
}

impl LeafWriter {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            lane: Lane::MIN,
            price: None,
            first: 0,
            next: 0,
            values: Vec::with_capacity(LEAF_ITEMS_MAX),
            items: 0,
            sum: Msat::ZERO,
        }
    }

    /// Appends `stretch`, which costs `sum`. The caller keeps to the leaf size.
    #[inline]
    pub(super) fn extend(&mut self, stretch: &Stretch<'_>, sum: Msat) {
        let first = stretch.first.to_u64();
        let goes_on = !self.values.is_empty()
            && stretch.hash.is_none()
            && (first, stretch.lane, stretch.price) == (self.next, self.lane, self.price);
        if !goes_on {
            self.close(None);
            self.first = first;
            self.lane = stretch.lane;
            self.price = stretch.price;
        }
        // After the last id of all nothing goes on: ids start at 1.
        self.next = stretch.last().wrapping_add(1);
        self.values.extend_from_slice(stretch.values);
        if stretch.hash.is_some() {
            self.close(stretch.hash.as_ref());
        }
        // Does not saturate: the batch's total was checked before.
        self.sum = self.sum.saturating_add(sum);
        self.items = self.items.saturating_add(stretch.values.len());
    }

    /// Items of the leaf so far.
    pub(super) const fn items(&self) -> usize {
        self.items
    }

    /// The leaf and what its items cost together. [`Self::clear`] starts the next one.
    #[inline]
    pub(super) fn message(&mut self) -> (&[u8], Msat) {
        self.close(None);
        (&self.bytes, self.sum)
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.items = 0;
        self.sum = Msat::ZERO;
    }

    fn close(&mut self, hash: Option<&[u8; 32]>) {
        if self.values.is_empty() {
            return;
        }
        let code = width_code(self.values.iter().fold(0, |seen, value| seen | value));
        let count = u8::try_from(self.values.len()).unwrap_or(u8::MAX);
        let (priced, hashed) = (self.price.is_some(), hash.is_some());
        let head = head(code, priced, hashed, count, self.lane, self.first);
        self.bytes.extend_from_slice(&head);
        if let Some(price) = self.price {
            self.bytes.extend_from_slice(&price.msat().to_msat().to_be_bytes());
            self.bytes.extend_from_slice(&price.per().get().to_be_bytes());
        }
        match code {
            0 => put_values::<1>(&self.values, &mut self.bytes),
            1 => put_values::<2>(&self.values, &mut self.bytes),
            2 => put_values::<4>(&self.values, &mut self.bytes),
            _ => put_values::<8>(&self.values, &mut self.bytes),
        }
        if let Some(hash) = hash {
            self.bytes.extend_from_slice(hash);
        }
        self.values.clear();
    }
}

/// How wide a number, or the bits of several, has to be written.
#[inline]
pub(super) const fn width_code(seen: u64) -> u8 {
    match seen {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        0x1_0000..=0xffff_ffff => 2,
        _ => 3,
    }
}

/// The first twelve bytes of a stretch.
#[inline]
pub(super) fn head(
    code: u8,
    priced: bool,
    hashed: bool,
    count: u8,
    lane: Lane,
    first: u64,
) -> [u8; 12] {
    let priced = if priced { PRICED } else { 0 };
    let hashed = if hashed { HASHED } else { 0 };
    // In two numbers, as they are copied: bytes that were written one by one would be waited for.
    let kind = u64::from(code | priced | hashed).wrapping_shl(56);
    let count = u64::from(count).wrapping_shl(48);
    let lane = u64::from(lane.to_u16()).wrapping_shl(32);
    let front = kind | count | lane | first.wrapping_shr(32);
    let mut head = [0; 12];
    if let Some((to, rest)) = head.split_first_chunk_mut()
        && let (Some(back), Some(low)) =
            (rest.first_chunk_mut(), first.to_be_bytes().last_chunk::<4>())
    {
        (*to, *back) = (front.to_be_bytes(), *low);
    }
    head
}

/// Appends the `N` lowest bytes of each value.
#[inline]
fn put_values<const N: usize>(values: &[u64], out: &mut Vec<u8>) {
    for value in values {
        if let Some(low) = value.to_be_bytes().last_chunk::<N>() {
            out.extend_from_slice(low);
        }
    }
}

/// The items of a leaf, with what each costs.
///
/// # Errors
/// [`BatchError::Truncated`], [`BatchError::Range`], [`BatchError::NotMinimal`] unless these are
/// exactly the bytes that [`LeafWriter`] makes of the items.
pub(super) fn read(message: &[u8]) -> Result<Vec<(Item, Msat)>, BatchError> {
    let mut items = Vec::new();
    let mut from = message;
    while !from.is_empty() {
        stretch(&mut from, &mut items)?;
        if items.len() > LEAF_ITEMS_MAX {
            return Err(BatchError::Range { what: "items of a leaf" });
        }
    }
    let mut again = LeafWriter::new();
    for (item, amount) in &items {
        let (price, value) = item.charge.parts();
        let (lane, first, hash) = (item.lane, item.id, item.hash);
        let stretch = Stretch { lane, first, price, values: &[value], hash };
        again.extend(&stretch, *amount);
    }
    if items.is_empty() || again.message().0 != message {
        return Err(BatchError::NotMinimal { what: "leaf" });
    }
    Ok(items)
}

fn stretch(from: &mut &[u8], items: &mut Vec<(Item, Msat)>) -> Result<(), BatchError> {
    let [kind, count] = take_array(from)?;
    if kind > (HASHED | PRICED | 3) {
        return Err(BatchError::NotMinimal { what: "leaf" });
    }
    let lane = Lane::new(u16::from_be_bytes(take_array(from)?));
    let lane = lane.map_err(|_| BatchError::Range { what: "lane" })?;
    let first = u64::from_be_bytes(take_array(from)?);
    let price = if kind & PRICED == 0 { None } else { Some(take_price(from)?) };
    let start = items.len();
    for place in 0..u64::from(count) {
        let id = first.checked_add(place).and_then(|id| ItemId::new(id).ok());
        let id = id.ok_or(BatchError::Range { what: "item id" })?;
        let value = match kind & 3 {
            0 => take_value::<1>(from)?,
            1 => take_value::<2>(from)?,
            2 => take_value::<4>(from)?,
            _ => take_value::<8>(from)?,
        };
        let charge = charge(price, value)?;
        let amount = charge.amount().map_err(|_| BatchError::Range { what: "amount" })?;
        items.push((Item { lane, id, charge, hash: None }, amount));
    }
    if kind & HASHED != 0 {
        let hash = take_array(from)?;
        for (item, _) in items.iter_mut().skip(start) {
            item.hash = Some(hash);
        }
    }
    Ok(())
}

/// What `value` means: a count if there is a price, else an amount.
#[inline]
fn charge(price: Option<Price>, value: u64) -> Result<Charge, BatchError> {
    match price {
        Some(price) => {
            let count = Quantity::new(value).map_err(|_| BatchError::Range { what: "count" })?;
            Ok(Charge::Metered { count, price })
        }
        None => {
            Msat::new(value).map(Charge::Amount).map_err(|_| BatchError::Range { what: "amount" })
        }
    }
}

fn take_price(from: &mut &[u8]) -> Result<Price, BatchError> {
    let msat = Msat::new(u64::from_be_bytes(take_array(from)?));
    let per = u64::from_be_bytes(take_array(from)?);
    let price = msat.and_then(|msat| Price::new(msat, per));
    price.map_err(|_| BatchError::Range { what: "price" })
}

fn take_value<const N: usize>(from: &mut &[u8]) -> Result<u64, BatchError> {
    let bytes: [u8; N] = take_array(from)?;
    Ok(bytes.iter().fold(0, |value: u64, byte| value.wrapping_shl(8) | u64::from(*byte)))
}
