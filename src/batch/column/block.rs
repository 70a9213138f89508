//! One block of a column: a frame of reference, packed low bits, and patched outliers (`PFor`).
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | bits of each packed number, 0..=64; 0x80 is added if outliers follow |
//! | 1..=10 | base, the smallest number of the block, LEB128 |
//! | bits x numbers / 8 | the low bits of each number above the base |
//! | 1..=2 | outliers: how many, LEB128 |
//! | 1 | bits of each outlier's high part, 1..=64 |
//! | (9 + bits) x outliers / 8 | place in the block (9 bits), high part; places rise |
//!
//! The widths are the ones that take the fewest bits by [`shape`]'s count; of several the widest
//! packing. A reader counts the same and refuses any other, so a block has one encoding.
//!
//! The method is `PFor` of Zukowski, Heman, Nes and Boncz (2006), "Super-Scalar RAM-CPU Cache
//! Compression", with the outliers' low bits kept in place as in Lemire and Boytsov (2015).

use alloc::vec::Vec;

use super::pack::{mask, pack, unpack};
use super::{BLOCK, BatchError};
use crate::batch::varint;

/// Bits of a place in a block of 512.
const PLACE_BITS: u32 = 9;
/// Bits that the outliers' own header takes: how many and how wide, a byte each.
const OUTLIER_HEADER_BITS: u32 = 16;
/// Marks a block with outliers.
const OUTLIERS: u8 = 0x80;

/// How the numbers of a block are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    /// Bits of each packed number.
    width: u32,
    /// Bits of the largest number.
    top: u32,
    /// Numbers of more than `width` bits.
    outliers: u32,
}

/// Appends `values`, at least one and at most [`BLOCK`]; they are left as differences to the base.
pub(super) fn put(values: &mut [u64], out: &mut Vec<u8>) {
    let base = values.iter().copied().fold(u64::MAX, u64::min);
    for value in values.iter_mut() {
        *value = value.wrapping_sub(base);
    }
    let Shape { width, top, outliers } = shape(values);
    let marker = if outliers == 0 { 0 } else { OUTLIERS };
    out.push(byte(width) | marker);
    varint::put(base, out);
    pack(values.iter().copied(), width, out);
    if outliers == 0 {
        return;
    }
    varint::put(u64::from(outliers), out);
    let high_bits = top.saturating_sub(width);
    out.push(byte(high_bits));
    let above = mask(width);
    let places = (0_u64..).zip(values.iter()).filter(|(_, value)| **value > above);
    put_outliers(places.map(|(place, value)| (place, value.wrapping_shr(width))), high_bits, out);
}

/// Packs pairs of 9 + `bits` bits, 73 at most, through 128 bits.
fn put_outliers(pairs: impl Iterator<Item = (u64, u64)>, bits: u32, out: &mut Vec<u8>) {
    let (mut word, mut filled) = (0_u128, 0_u32);
    for (place, high) in pairs {
        for (part, width) in [(place, PLACE_BITS), (high, bits)] {
            // Below 64 before, so at most 128 after.
            word |= u128::from(part).wrapping_shl(filled);
            filled = filled.saturating_add(width);
            if filled >= u64::BITS {
                out.extend(word.to_le_bytes().into_iter().take(8));
                word = word.wrapping_shr(u64::BITS);
                filled = filled.saturating_sub(u64::BITS);
            }
        }
    }
    let tail = usize::try_from(filled.div_ceil(8)).unwrap_or(0);
    out.extend(word.to_le_bytes().into_iter().take(tail));
}

/// Takes a block off the front of `from` into `out`, which is as long as the block.
///
/// # Errors
/// [`BatchError::Truncated`], [`BatchError::Padding`], [`BatchError::NotMinimal`] for any shape but
/// the one that [`put`] writes, [`BatchError::Range`] if a number has more than 64 bits.
pub(super) fn take(from: &mut &[u8], out: &mut [u64]) -> Result<(), BatchError> {
    let [head] = varint::take_array(from)?;
    let width = u32::from(head & !OUTLIERS);
    if width > u64::BITS {
        return Err(BatchError::NotMinimal { what: "width" });
    }
    let base = varint::take(from)?;
    let length = unpack(from, width, out)?;
    *from = from.get(length..).ok_or(BatchError::Truncated)?;
    let outliers = if head & OUTLIERS == 0 { 0 } else { take_outliers(from, width, out)? };
    let found = shape(out);
    if (found.width, found.outliers) != (width, outliers) {
        return Err(BatchError::NotMinimal { what: "width" });
    }
    if !out.contains(&0) {
        return Err(BatchError::NotMinimal { what: "base" });
    }
    if base.checked_add(mask(found.top)).is_none() {
        let most = out.iter().copied().fold(0, u64::max);
        base.checked_add(most).ok_or(BatchError::Range { what: "number" })?;
    }
    for value in out {
        *value = value.wrapping_add(base);
    }
    Ok(())
}

/// Adds the high parts to `out`, and returns how many there were.
#[cold]
fn take_outliers(from: &mut &[u8], width: u32, out: &mut [u64]) -> Result<u32, BatchError> {
    let count = varint::take(from)?;
    let count = usize::try_from(count).ok().filter(|count| (1..=out.len()).contains(count));
    let count = count.ok_or(BatchError::NotMinimal { what: "outliers" })?;
    let [bits] = varint::take_array(from)?;
    let bits = u32::from(bits);
    if bits == 0 || bits.saturating_add(width) > u64::BITS {
        return Err(BatchError::NotMinimal { what: "outlier width" });
    }
    let mut parts = [0_u64; 2];
    let mut stream = Pairs { word: 0, filled: 0, from };
    let (mut next, mut seen) = (0_usize, 0_u64);
    for _ in 0..count {
        for (part, wide) in parts.iter_mut().zip([PLACE_BITS, bits]) {
            *part = stream.take(wide)?;
        }
        let [place, high] = parts;
        let place = usize::try_from(place).map_err(|_| BatchError::Truncated)?;
        let value = out.get_mut(place).filter(|_| place >= next);
        let value = value.ok_or(BatchError::NotMinimal { what: "outlier place" })?;
        if high == 0 {
            return Err(BatchError::NotMinimal { what: "outlier" });
        }
        *value |= high.wrapping_shl(width);
        next = place.saturating_add(1);
        seen |= high;
    }
    if seen <= mask(bits.saturating_sub(1)) {
        return Err(BatchError::NotMinimal { what: "outlier width" });
    }
    *from = stream.finish()?;
    u32::try_from(count).map_err(|_| BatchError::Truncated)
}

/// Numbers of several widths off the front of bytes.
struct Pairs<'a> {
    word: u128,
    filled: u32,
    from: &'a [u8],
}

impl<'a> Pairs<'a> {
    fn take(&mut self, width: u32) -> Result<u64, BatchError> {
        while self.filled < width {
            let [byte] = varint::take_array(&mut self.from)?;
            self.word |= u128::from(byte).wrapping_shl(self.filled);
            self.filled = self.filled.saturating_add(8);
        }
        let low = self.word & u128::from(mask(width));
        self.word = self.word.wrapping_shr(width);
        self.filled = self.filled.saturating_sub(width);
        u64::try_from(low).map_err(|_| BatchError::Truncated)
    }

    /// What is left of the bytes.
    fn finish(self) -> Result<&'a [u8], BatchError> {
        if self.word == 0 { Ok(self.from) } else { Err(BatchError::Padding) }
    }
}

/// The cheapest shape of differences.
fn shape(values: &[u64]) -> Shape {
    let all = values.iter().fold(0, |all, value| all | value);
    let top = u64::BITS.saturating_sub(all.leading_zeros());
    if is_full(values, top) {
        return Shape { width: top, top, outliers: 0 };
    }
    let mut wide = [0_u32; 128];
    for value in values {
        let bits = usize::try_from(u64::BITS.saturating_sub(value.leading_zeros())).unwrap_or(0);
        if let Some(count) = wide.get_mut(bits & 127) {
            *count = count.wrapping_add(1);
        }
    }
    let count = u32::try_from(values.len().min(BLOCK)).unwrap_or(0);
    let mut best = Shape { width: top, top, outliers: 0 };
    let mut least = count.saturating_mul(top);
    // The numbers of more than `bits` bits.
    let mut outliers = 0_u32;
    for (bits, n) in (0..128_u32).zip(wide).rev().skip_while(|(_, n)| *n == 0) {
        if outliers > 0 {
            let each = PLACE_BITS.saturating_add(top).saturating_sub(bits);
            let cost = count
                .saturating_mul(bits)
                .saturating_add(OUTLIER_HEADER_BITS)
                .saturating_add(outliers.saturating_mul(each));
            if cost < least {
                least = cost;
                best = Shape { width: bits, top, outliers };
            }
        }
        outliers = outliers.saturating_add(n);
    }
    best
}

/// Whether the top of the range is so full that outliers cannot pay, as in most blocks; without it
/// [`shape`] would come to the same, by counting the numbers of every width.
///
/// A packing by `d` bits less saves `n d` and costs 16 and, for each number that is too wide then,
/// `9 + d`. Of these there are `halves` for one bit less, `quarters` for two, and at least
/// `eighths` for more, where the cost falls with `d`: so three comparisons decide.
fn is_full(values: &[u64], top: u32) -> bool {
    let Some(shift) = top.checked_sub(3) else { return false };
    let (mut halves, mut quarters, mut eighths) = (0_u64, 0_u64, 0_u64);
    for value in values {
        let high = value.wrapping_shr(shift);
        let either = high >> 2 | high >> 1;
        halves = halves.wrapping_add(high >> 2);
        quarters = quarters.wrapping_add(either & 1);
        eighths = eighths.wrapping_add((either | high) & 1);
    }
    let n = u64::try_from(values.len()).unwrap_or(u64::MAX);
    let pays = |less: u64, wide: u64| {
        let cost = u64::from(PLACE_BITS).saturating_add(less).saturating_mul(wide);
        cost.saturating_add(u64::from(OUTLIER_HEADER_BITS)) < n.saturating_mul(less)
    };
    !pays(1, halves) && !pays(2, quarters) && !pays(u64::from(top), eighths)
}

/// A width: at most 64.
fn byte(width: u32) -> u8 {
    u8::try_from(width).unwrap_or(0)
}
