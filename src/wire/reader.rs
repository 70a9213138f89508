//! A cursor over borrowed bytes. Used by every decoder of this room, and by rooms that store TLVs.

use super::WireError;

/// Reads fields from the front of borrowed bytes; never copies more than a field, never allocates.
///
/// ```
/// use millstream::wire::Reader;
///
/// let mut reader = Reader::new(&[0, 7, 0xfd, 1, 0]);
/// assert_eq!(reader.u16()?, 7);
/// assert_eq!(reader.bigsize()?, 256);
/// assert!(reader.rest().is_empty());
/// # Ok::<(), millstream::wire::WireError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| self.truncated(count))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes `N` bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.truncated(N))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes one byte.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_be_bytes)
    }

    /// Takes two bytes as a big-endian number.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes four bytes as a big-endian number.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes eight bytes as a big-endian number.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes a `BigSize` (BOLT-1): one byte below 0xfd, else a marker and 2, 4 or 8 bytes, in the
    /// shortest form that holds the value.
    pub fn bigsize(&mut self) -> Result<u64, WireError> {
        let (value, least) = match self.u8()? {
            0xfd => (u64::from(self.u16()?), 0xfd),
            0xfe => (u64::from(self.u32()?), 0x1_0000),
            0xff => (self.u64()?, 0x1_0000_0000),
            small => (u64::from(small), 0),
        };
        if value < least {
            return Err(WireError::NotMinimal { what: "BigSize" });
        }
        Ok(value)
    }

    /// Takes all that is left as a truncated number (BOLT-1 `tu16`, `tu32`, `tu64`), of at most
    /// `bytes_max` bytes, 2, 4 or 8, without leading zeros.
    pub fn truncated_number(&mut self, bytes_max: usize) -> Result<u64, WireError> {
        let digits = self.take_rest();
        if digits.len() > bytes_max.min(8) {
            return Err(WireError::WrongLength { what: "truncated number", got: digits.len() });
        }
        if digits.first() == Some(&0) {
            return Err(WireError::NotMinimal { what: "truncated number" });
        }
        // At most eight digits, so that the shift drops nothing.
        Ok(digits.iter().fold(0, |value: u64, digit| value.wrapping_shl(8) | u64::from(*digit)))
    }

    /// Takes all that is left as a signed number in two's complement of 1, 2, 4 or 8 bytes, the
    /// fewest that hold it (BOLT-1, appendix D).
    pub fn signed(&mut self) -> Result<i64, WireError> {
        let wrong = WireError::WrongLength { what: "signed number", got: self.rest.len() };
        let (value, least_width) = match self.rest.len() {
            1 => (i64::from(i8::from_be_bytes(self.array()?)), 1),
            2 => (i64::from(i16::from_be_bytes(self.array()?)), 2),
            4 => (i64::from(i32::from_be_bytes(self.array()?)), 4),
            8 => (i64::from_be_bytes(self.array()?), 8),
            _ => return Err(wrong),
        };
        if super::number::signed_width(value) != least_width {
            return Err(WireError::NotMinimal { what: "signed number" });
        }
        Ok(value)
    }

    /// Takes all that is left.
    pub const fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// What was not taken yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks that nothing is left of the field called `what`, which was `length` bytes long.
    pub(super) fn finish(&self, what: &'static str, length: usize) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::WrongLength { what, got: length })
        }
    }

    fn truncated(&self, need: usize) -> WireError {
        let need = u64::try_from(need).unwrap_or(u64::MAX);
        WireError::Truncated { need, have: self.rest.len() }
    }
}
