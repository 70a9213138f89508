//! LEB128: numbers of 1 to 10 bytes, seven bits a byte, the lowest first, in the shortest form.

use alloc::vec::Vec;

use super::BatchError;

/// A byte with it is followed by another one.
const MORE: u8 = 0x80;
/// Bits of a number in each byte.
const STEP: u32 = 7;

/// Appends `value`.
pub(super) fn put(value: u64, out: &mut Vec<u8>) {
    let mut rest = value;
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest = rest.wrapping_shr(STEP);
        if rest == 0 {
            out.push(low);
            return;
        }
        out.push(low | MORE);
    }
}

/// Takes a number off the front of `from`.
///
/// # Errors
/// [`BatchError::Truncated`]; [`BatchError::NotMinimal`] with a last byte of zero, or above 64
/// bits.
#[inline]
pub(super) fn take(from: &mut &[u8]) -> Result<u64, BatchError> {
    let (first, rest) = from.split_first().ok_or(BatchError::Truncated)?;
    *from = rest;
    if *first < MORE {
        return Ok(u64::from(*first));
    }
    longer(*first, from)
}

fn longer(first: u8, from: &mut &[u8]) -> Result<u64, BatchError> {
    let mut value = u64::from(first & !MORE);
    // Nine groups of seven bits are left, of which the last has one bit.
    for shift in [7, 14, 21, 28, 35, 42, 49, 56, 63] {
        let (byte, rest) = from.split_first().ok_or(BatchError::Truncated)?;
        *from = rest;
        let group = u64::from(byte & !MORE);
        let placed = group.wrapping_shl(shift);
        if placed.wrapping_shr(shift) != group {
            return Err(BatchError::NotMinimal { what: "number" });
        }
        value |= placed;
        if *byte == 0 {
            return Err(BatchError::NotMinimal { what: "number" });
        }
        if *byte < MORE {
            return Ok(value);
        }
    }
    Err(BatchError::NotMinimal { what: "number" })
}

/// Takes `count` bytes off the front of `from`.
///
/// # Errors
/// [`BatchError::Truncated`].
pub(super) fn take_bytes<'a>(from: &mut &'a [u8], count: u64) -> Result<&'a [u8], BatchError> {
    let count = usize::try_from(count).map_err(|_| BatchError::Truncated)?;
    let (taken, rest) = from.split_at_checked(count).ok_or(BatchError::Truncated)?;
    *from = rest;
    Ok(taken)
}

/// Takes `N` bytes off the front of `from`.
///
/// # Errors
/// [`BatchError::Truncated`].
pub(super) fn take_array<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], BatchError> {
    let (taken, rest) = from.split_first_chunk::<N>().ok_or(BatchError::Truncated)?;
    *from = rest;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_read_as_it_was_written_at_every_width() {
        for bits in 0..64 {
            for value in [1_u64 << bits, (1 << bits) - 1, u64::MAX >> bits] {
                let mut out = Vec::new();
                put(value, &mut out);
                let width = (64 - value.leading_zeros()).div_ceil(7).max(1);
                assert_eq!(out.len(), usize::try_from(width).unwrap(), "{value}");
                let mut from = &out[..];
                assert_eq!(take(&mut from), Ok(value));
                assert!(from.is_empty());
                out.pop();
                assert_eq!(take(&mut &out[..]), Err(BatchError::Truncated));
            }
        }
    }

    #[test]
    fn number_in_a_longer_form_is_refused() {
        let error = Err(BatchError::NotMinimal { what: "number" });
        assert_eq!(take(&mut &[0x80, 0][..]), error);
        assert_eq!(take(&mut &[0xff, 0x80, 0][..]), error);
        let mut ten = [0xff; 10];
        ten[9] = 1;
        assert_eq!(take(&mut &ten[..]), Ok(u64::MAX));
        ten[9] = 2;
        assert_eq!(take(&mut &ten[..]), error);
        assert_eq!(take(&mut &[0xff; 11][..]), error);
    }
}
