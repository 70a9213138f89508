//! Bit packing: numbers of one width, one after the other, the first in the lowest bits.

use alloc::vec::Vec;

use super::BatchError;

/// Bits of the word that is packed through.
const WORD: u32 = 64;
/// Widest number that lies in eight bytes wherever it starts: 64 - 7 bits.
const WIDTH_FAST: u32 = 57;

/// The `width` lowest bits, 0..=64.
pub(super) const fn mask(width: u32) -> u64 {
    match u64::MAX.checked_shr(WORD.saturating_sub(width)) {
        Some(mask) => mask,
        None => 0,
    }
}

/// Appends the `width` lowest bits of each value; the last byte's free bits are zero.
pub(super) fn pack(values: impl IntoIterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let mask = mask(width);
    let (mut word, mut filled) = (0_u64, 0_u32);
    for value in values {
        let value = value & mask;
        word |= value.wrapping_shl(filled);
        let end = filled.saturating_add(width);
        if end >= WORD {
            out.extend_from_slice(&word.to_le_bytes());
            // What did not fit; nothing if the word was full to the bit.
            word = value.checked_shr(WORD.saturating_sub(filled)).unwrap_or(0);
            filled = end.saturating_sub(WORD);
        } else {
            filled = end;
        }
    }
    let tail = usize::try_from(filled.div_ceil(8)).unwrap_or(0);
    out.extend(word.to_le_bytes().into_iter().take(tail));
}

/// Fills `out` with numbers of `width` bits from the front of `bytes`, and returns how many bytes
/// they took. Reads, but does not use, up to sixteen bytes after them.
///
/// # Errors
/// [`BatchError::Truncated`]; [`BatchError::Padding`] if a free bit of the last byte is set.
pub(super) fn unpack(bytes: &[u8], width: u32, out: &mut [u64]) -> Result<usize, BatchError> {
    let wide = usize::try_from(width).map_err(|_| BatchError::Truncated)?;
    let bits = out.len().saturating_mul(wide);
    let length = bits.div_ceil(8);
    let own = bytes.get(..length).ok_or(BatchError::Truncated)?;
    let used = bits.wrapping_rem(8);
    if used != 0 && own.last().is_some_and(|last| u32::from(*last) >= 1_u32.wrapping_shl(low(used)))
    {
        return Err(BatchError::Padding);
    }
    let mask = mask(width);
    let mut at = 0_usize;
    for value in out {
        let byte = at.wrapping_shr(3);
        let shift = low(at & 7);
        let word = match bytes.get(byte..).and_then(<[u8]>::first_chunk::<8>) {
            Some(word) if width <= WIDTH_FAST => u64::from_le_bytes(*word),
            _ => {
                *value = edge(bytes, byte, shift) & mask;
                at = at.wrapping_add(wide);
                continue;
            }
        };
        *value = word.wrapping_shr(shift) & mask;
        at = at.wrapping_add(wide);
    }
    Ok(length)
}

/// The 64 bits from bit `shift` of byte `at` on, zeros where `bytes` has ended.
fn edge(bytes: &[u8], at: usize, shift: u32) -> u64 {
    let mut word = [0_u8; 16];
    for (to, from) in word.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    let shifted = u128::from_le_bytes(word).wrapping_shr(shift).to_le_bytes();
    shifted.first_chunk::<8>().map_or(0, |low| u64::from_le_bytes(*low))
}

/// A number below 8.
fn low(bits: usize) -> u32 {
    u32::try_from(bits & 7).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unpacked_as_they_were_packed_at_every_width() {
        for width in 0..=64 {
            for count in [1_usize, 7, 8, 9, 63, 64, 512] {
                let values: Vec<u64> = (1..=u64::try_from(count).unwrap())
                    .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask(width))
                    .collect();
                let mut bytes = Vec::new();
                pack(values.iter().copied(), width, &mut bytes);
                assert_eq!(bytes.len(), (count * usize::try_from(width).unwrap()).div_ceil(8));
                let mut out = vec![1; count];
                // The same whether other bytes follow or not.
                assert_eq!(unpack(&bytes, width, &mut out), Ok(bytes.len()));
                assert_eq!(out, values, "{width} bits");
                let length = bytes.len();
                bytes.extend([0xff; 20]);
                assert_eq!(unpack(&bytes, width, &mut out), Ok(length));
                assert_eq!(out, values, "{width} bits");
            }
        }
    }

    #[test]
    fn padding_that_is_not_zero_and_missing_bytes_are_refused() {
        let mut out = [0; 3];
        assert_eq!(unpack(&[0xff, 0x7f], 5, &mut out), Ok(2));
        assert_eq!(unpack(&[0xff, 0xff], 5, &mut out), Err(BatchError::Padding));
        assert_eq!(unpack(&[0xff], 5, &mut out), Err(BatchError::Truncated));
    }
}
