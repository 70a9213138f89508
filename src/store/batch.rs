//! A key, and a batch of puts and deletes that takes effect as one.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use super::StoreError;

/// The key of one record: 1 to 64 bytes, ordered as bytes; the first byte names the room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The bytes, zeros after the end. Equal prefixes of different length differ in `len`, which
    /// is compared second, so that the derived order is the order of the byte strings.
    bytes: [u8; Key::MAX],
    len: u8,
}

impl Key {
    /// 64: a tag, a whole outpoint (36 bytes) and 27 bytes more, and still one small `Copy` value.
    pub const MAX: usize = 64;

    /// Checks the length.
    ///
    /// # Errors
    /// [`StoreError::KeyEmpty`], [`StoreError::KeyTooLong`].
    pub fn new(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::from_parts(&[bytes])
    }

    /// The key of `parts` one after the other: a tag, then an id.
    ///
    /// # Errors
    /// [`StoreError::KeyEmpty`], [`StoreError::KeyTooLong`].
    pub fn from_parts(parts: &[&[u8]]) -> Result<Self, StoreError> {
        let got = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        if got == 0 {
            return Err(StoreError::KeyEmpty);
        }
        let too_long = StoreError::KeyTooLong { got, max: Self::MAX };
        if got > Self::MAX {
            return Err(too_long);
        }
        let mut bytes = [0; Self::MAX];
        let from = parts.iter().flat_map(|part| part.iter());
        for (to, byte) in bytes.iter_mut().zip(from) {
            *to = *byte;
        }
        Ok(Self { bytes, len: u8::try_from(got).map_err(|_| too_long)? })
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(")?;
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ")")
    }
}

/// Puts and deletes that take effect together, or not at all.
///
/// Of two writes to one key the later one counts. The batch is bounded; a write that would leave
/// the bounds is refused and changes nothing, so that the caller commits and goes on with a new
/// batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    writes: BTreeMap<Key, Option<Vec<u8>>>,
    bytes: usize,
}

impl Batch {
    /// 65,536: one drain of a node that writes every channel of a large fleet once.
    pub const ENTRIES_MAX: usize = 65_536;
    /// 32 MiB: a batch lives in memory, and in a write-ahead log, twice.
    pub const BYTES_MAX: usize = 33_554_432;
    /// 65,535: no record is larger than the largest frame of the wire.
    pub const VALUE_MAX: usize = 65_535;

    /// Puts `value` under `key`.
    ///
    /// # Errors
    /// [`StoreError::ValueTooLong`], [`StoreError::BatchEntries`], [`StoreError::BatchBytes`]; the
    /// batch is as it was.
    pub fn put(&mut self, key: Key, value: &[u8]) -> Result<(), StoreError> {
        if value.len() > Self::VALUE_MAX {
            return Err(StoreError::ValueTooLong { got: value.len(), max: Self::VALUE_MAX });
        }
        self.write(key, Some(value))
    }

    /// Deletes the record under `key`, if there is one.
    ///
    /// # Errors
    /// [`StoreError::BatchEntries`], [`StoreError::BatchBytes`]; the batch is as it was.
    pub fn delete(&mut self, key: Key) -> Result<(), StoreError> {
        self.write(key, None)
    }

    /// Adds the writes of `later`; its writes count where both have one.
    ///
    /// # Errors
    /// [`StoreError::BatchEntries`], [`StoreError::BatchBytes`]; the batch is as it was.
    pub fn append(&mut self, later: Self) -> Result<(), StoreError> {
        let mut entries = self.writes.len();
        let mut bytes = self.bytes.saturating_add(later.bytes);
        for key in later.writes.keys() {
            match self.writes.get(key) {
                Some(replaced) => bytes = bytes.saturating_sub(size(key, replaced.as_deref())),
                None => entries = entries.saturating_add(1),
            }
        }
        Self::check(entries, bytes)?;
        self.writes.extend(later.writes);
        self.bytes = bytes;
        Ok(())
    }

    /// Forgets every write and keeps nothing allocated.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The writes in ascending key order: `Some` puts, `None` deletes.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Option<&[u8]>)> {
        self.writes.iter().map(|(key, value)| (key, value.as_deref()))
    }

    /// The number of keys written.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The sum of key and value bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn write(&mut self, key: Key, value: Option<&[u8]>) -> Result<(), StoreError> {
        let replaced = self.writes.get(&key);
        let entries = self.writes.len().saturating_add(usize::from(replaced.is_none()));
        let replaced = replaced.map_or(0, |value| size(&key, value.as_deref()));
        let bytes = self.bytes.saturating_sub(replaced).saturating_add(size(&key, value));
        Self::check(entries, bytes)?;
        self.writes.insert(key, value.map(<[u8]>::to_vec));
        self.bytes = bytes;
        Ok(())
    }

    const fn check(entries: usize, bytes: usize) -> Result<(), StoreError> {
        if entries > Self::ENTRIES_MAX {
            return Err(StoreError::BatchEntries { max: Self::ENTRIES_MAX });
        }
        if bytes > Self::BYTES_MAX {
            return Err(StoreError::BatchBytes { got: bytes, max: Self::BYTES_MAX });
        }
        Ok(())
    }
}

/// Key and value bytes of one write.
fn size(key: &Key, value: Option<&[u8]>) -> usize {
    key.as_bytes().len().saturating_add(value.map_or(0, <[u8]>::len))
}
