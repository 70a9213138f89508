//! Hexadecimal as Stratum writes it: bytes in their order, or a 32-bit number with its highest
//! digit first.

use alloc::string::String;
use alloc::vec::Vec;

/// Fills `bytes` from exactly twice as many digits; `None` for any other text.
pub(super) fn read(text: &str, bytes: &mut [u8]) -> Option<()> {
    if text.len() != bytes.len().saturating_mul(2) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let &[high, low] = digits else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(())
}

/// Reads any number of whole bytes.
pub(super) fn read_vec(text: &str) -> Option<Vec<u8>> {
    let mut bytes = alloc::vec![0; text.len() / 2];
    read(text, &mut bytes).map(|()| bytes)
}

/// Reads a number of exactly eight digits, the highest first.
pub(super) fn read_u32(text: &str) -> Option<u32> {
    let mut bytes = [0; 4];
    read(text, &mut bytes).map(|()| u32::from_be_bytes(bytes))
}

/// Appends the digits of `bytes`.
pub(super) fn write(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            out.push(char::from_digit(half.into(), 16).unwrap_or('0'));
        }
    }
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(byte.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_in_both_cases_and_written_in_small_letters() {
        let bytes = [0x00, 0x9a, 0xbc, 0xde, 0xff];
        assert_eq!(read_vec("009aBCdeFF").unwrap(), bytes);
        let mut text = String::new();
        write(&bytes, &mut text);
        assert_eq!(text, "009abcdeff");
        assert_eq!(read_u32("1d00ffff"), Some(0x1d00_ffff));
    }

    #[test]
    fn odd_digits_wrong_lengths_and_other_letters_are_refused() {
        for text in ["0", "abc", "0g", "g0", "0x", " 0", "\u{e4}", "+1"] {
            assert_eq!(read_vec(text), None, "{text}");
        }
        for text in ["1d00fff", "1d00fffff", "", "0x1d00ff"] {
            assert_eq!(read_u32(text), None, "{text}");
        }
    }
}
