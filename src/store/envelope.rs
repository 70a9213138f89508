//! What stands around every stored record: its format version and a checksum.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | format version of the body, never 0 |
//! | 4 | CRC-32C of key, version and body, little endian |
//! | rest | body |
//!
//! Five bytes a record. The version comes first, so that every later format can be told from this
//! one; a record of an unknown version is refused with its number and is not touched, whatever
//! follows it. The checksum is ours because the databases' own do not reach far enough: redb checks
//! its pages when it repairs or is asked to, not at each read, and `SQLite` has none on its main
//! file. A bit that rots in a `paid` amount would be served as money. Four bytes find every burst
//! of up to 32 bits and all but one in 2^32 of the rest; the key is under the checksum too, so that
//! a record which the medium returns in another one's place is refused as well. It is no
//! authentication: who can write the store can write a checksum.
//!
//! ```
//! use millstream::store::{Key, StoreError, envelope};
//!
//! let key = Key::new(&[0x03, 1])?;
//! let record = envelope::seal(&key, 1, b"body");
//! assert_eq!(record.len(), envelope::LEN + 4);
//! assert_eq!(envelope::open(&key, 1, &record)?, b"body");
//! let newer = envelope::seal(&key, 9, b"body");
//! let refused = Err(StoreError::UnknownVersion { got: 9, known: 1 });
//! assert_eq!(envelope::open(&key, 1, &newer), refused);
//! # Ok::<(), StoreError>(())
//! ```

use alloc::vec::Vec;

use crc::{CRC_32_ISCSI, Crc, Table};

use super::{Key, StoreError};

/// The bytes that an envelope adds to a body.
pub const LEN: usize = 5;

/// Wraps `body`, written in format `version`, for storing under `key`.
pub fn seal(key: &Key, version: u8, body: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(LEN.saturating_add(body.len()));
    record.push(version);
    record.extend_from_slice(&checksum(key, version, body).to_le_bytes());
    record.extend_from_slice(body);
    record
}

/// The body of `record`, which was read from under `key`, if its format is `known`.
///
/// # Errors
/// [`StoreError::Truncated`], [`StoreError::UnknownVersion`], [`StoreError::Rotted`].
pub fn open<'a>(key: &Key, known: u8, record: &'a [u8]) -> Result<&'a [u8], StoreError> {
    let truncated = StoreError::Truncated { got: record.len(), min: LEN };
    let (version, rest) = record.split_first().ok_or(truncated)?;
    // Before all else: of a foreign format nothing but its first byte is known.
    if *version != known {
        return Err(StoreError::UnknownVersion { got: *version, known });
    }
    let (stored, body) = rest.split_first_chunk::<4>().ok_or(truncated)?;
    let want = u32::from_le_bytes(*stored);
    let got = checksum(key, *version, body);
    if got != want {
        return Err(StoreError::Rotted { got, want });
    }
    Ok(body)
}

/// CRC-32C over the key's length, the key, the version and the body.
///
/// The length stands first so that no byte can move between key and body unseen.
fn checksum(key: &Key, version: u8, body: &[u8]) -> u32 {
    let key = key.as_bytes();
    // A key is at most 64 bytes long.
    let len = u8::try_from(key.len()).unwrap_or(u8::MAX);
    let mut crc = CRC.digest();
    for part in [&[len][..], key, &[version], body] {
        crc.update(part);
    }
    crc.finalize()
}

/// By 16 bytes at a time, from tables of 16 kB: 0.1 instead of 0.7 us for a channel's record.
#[cfg(feature = "std")]
static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
/// Byte by byte, from a table of 1 kB: a device has less flash than time.
#[cfg(not(feature = "std"))]
static CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_check_string_is_the_published_one() {
        // RFC 3720, B.4: 32 bytes of zeros and of ones; and the catalogue's "123456789".
        assert_eq!(CRC.checksum(b"123456789"), 0xe306_9283);
        assert_eq!(CRC.checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(CRC.checksum(&[0xff; 32]), 0x62a8_ab43);
    }

    /// The bytes of version 1: what a store holds must be readable by every later release.
    #[test]
    fn envelope_of_version_one_is_frozen() {
        let key = Key::new(b"key").unwrap();
        let record = [1, 0x29, 0xc7, 0xb9, 0x34, b'b', b'o', b'd', b'y'];
        assert_eq!(seal(&key, 1, b"body"), record);
        assert_eq!(open(&key, 1, &record), Ok(&b"body"[..]));
    }

    #[test]
    fn record_with_any_bit_flipped_is_refused() {
        let key = Key::new(b"key").unwrap();
        let record = seal(&key, 1, b"some body");
        let mut flipped = 0;
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut rotted = record.clone();
                rotted[at] ^= 1 << bit;
                let refused = open(&key, 1, &rotted).unwrap_err();
                let typed = match at {
                    0 => refused == StoreError::UnknownVersion { got: rotted[0], known: 1 },
                    _ => matches!(refused, StoreError::Rotted { got, want } if got != want),
                };
                assert!(typed, "byte {at} bit {bit}: {refused:?}");
                flipped += 1;
            }
        }
        assert_eq!(flipped, record.len() * 8);
    }

    #[test]
    fn record_cut_short_is_refused() {
        let key = Key::new(b"key").unwrap();
        let record = seal(&key, 1, b"");
        assert_eq!(open(&key, 1, &record), Ok(&b""[..]));
        for len in 0..LEN {
            let refused = Err(StoreError::Truncated { got: len, min: LEN });
            assert_eq!(open(&key, 1, &record[..len]), refused);
        }
    }

    #[test]
    fn record_under_another_key_is_refused() {
        let [key, other] = [b"ka", b"kb"].map(|bytes| Key::new(bytes).unwrap());
        let record = seal(&key, 1, b"body");
        assert!(matches!(open(&other, 1, &record), Err(StoreError::Rotted { .. })));
    }
}
