//! The variable-length numbers of BOLT-1, written. [`Reader`](super::Reader) reads them.

use alloc::vec::Vec;

/// Appends `value` as a `BigSize`: 1, 3, 5 or 9 bytes.
///
/// ```
/// let mut out = Vec::new();
/// millstream::wire::put_bigsize(0xfd, &mut out);
/// assert_eq!(out, [0xfd, 0x00, 0xfd]);
/// ```
pub fn put_bigsize(value: u64, out: &mut Vec<u8>) {
    if let Some(small) = u8::try_from(value).ok().filter(|small| *small < 0xfd) {
        out.push(small);
    } else if let Ok(two) = u16::try_from(value) {
        out.push(0xfd);
        out.extend_from_slice(&two.to_be_bytes());
    } else if let Ok(four) = u32::try_from(value) {
        out.push(0xfe);
        out.extend_from_slice(&four.to_be_bytes());
    } else {
        out.push(0xff);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends `value` without its leading zero bytes (`tu16`, `tu32`, `tu64`): 0 to 8 bytes.
///
/// ```
/// let mut out = Vec::new();
/// millstream::wire::put_truncated(256, &mut out);
/// assert_eq!(out, [1, 0]);
/// ```
pub fn put_truncated(value: u64, out: &mut Vec<u8>) {
    out.extend(value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0));
}

/// Appends `value` in two's complement of the fewest of 1, 2, 4 and 8 bytes.
///
/// ```
/// let mut out = Vec::new();
/// millstream::wire::put_signed(-129, &mut out);
/// assert_eq!(out, [0xff, 0x7f]);
/// ```
pub fn put_signed(value: i64, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    let dropped = bytes.len().saturating_sub(signed_width(value));
    out.extend(bytes.into_iter().skip(dropped));
}

/// The fewest of 1, 2, 4 and 8 bytes that hold `value` in two's complement.
pub(super) fn signed_width(value: i64) -> usize {
    if i8::try_from(value).is_ok() {
        1
    } else if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}
