//! TLV streams (BOLT-1): records of `type, length, value` in strictly rising order of type.

use alloc::vec::Vec;

use super::number::put_bigsize;
use super::{Reader, WireError};

/// Reads a TLV stream record by record, with the strict rules of BOLT-1.
///
/// ```
/// use millstream::wire::{TlvStream, put_record};
///
/// let mut bytes = Vec::new();
/// put_record(1, &[42], &mut bytes);
/// put_record(3, &[], &mut bytes);
///
/// let mut stream = TlvStream::new(&bytes);
/// while let Some(record) = stream.next_record()? {
///     match record.kind() {
///         1 => assert_eq!(record.value(), [42]),
///         _ => record.skip_unknown()?,
///     }
/// }
/// # Ok::<(), millstream::wire::WireError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TlvStream<'a> {
    from: Reader<'a>,
    last: Option<u64>,
}

impl<'a> TlvStream<'a> {
    /// Starts at the front of `bytes`, which the stream fills to the end.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { from: Reader::new(bytes), last: None }
    }

    /// The next record, or `None` at the end.
    ///
    /// # Errors
    /// [`WireError::TlvOrder`] for a type that repeats or falls, [`WireError::NotMinimal`] for a
    /// type or length that is not in its shortest form, [`WireError::Truncated`] for bytes that end
    /// early (whatever length the record states).
    pub fn next_record(&mut self) -> Result<Option<TlvRecord<'a>>, WireError> {
        if self.from.rest().is_empty() {
            return Ok(None);
        }
        let kind = self.from.bigsize()?;
        let length = self.from.bigsize()?;
        if let Some(last) = self.last.filter(|last| kind <= *last) {
            return Err(WireError::TlvOrder { last, got: kind });
        }
        self.last = Some(kind);
        let have = self.from.rest().len();
        let length =
            usize::try_from(length).map_err(|_| WireError::Truncated { need: length, have })?;
        Ok(Some(TlvRecord { kind, value: self.from.take(length)? }))
    }
}

/// One record of a TLV stream, borrowed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlvRecord<'a> {
    kind: u64,
    value: &'a [u8],
}

impl<'a> TlvRecord<'a> {
    /// Its type.
    pub const fn kind(&self) -> u64 {
        self.kind
    }

    /// Its value.
    pub const fn value(&self) -> &'a [u8] {
        self.value
    }

    /// Passes over a record that the caller does not know, if its type is odd.
    ///
    /// # Errors
    /// [`WireError::UnknownEvenRecord`] if its type is even: the sender demands that it is
    /// understood.
    pub const fn skip_unknown(&self) -> Result<(), WireError> {
        // The lowest bit is the parity; no arithmetic that could fail.
        if self.kind & 1 == 0 {
            return Err(WireError::UnknownEvenRecord { kind: self.kind });
        }
        Ok(())
    }
}

/// Appends one record. The caller appends records in rising order of `kind`.
pub fn put_record(kind: u64, value: &[u8], out: &mut Vec<u8>) {
    put_bigsize(kind, out);
    // A slice is never longer than isize::MAX, which fits.
    put_bigsize(u64::try_from(value.len()).unwrap_or(u64::MAX), out);
    out.extend_from_slice(value);
}
