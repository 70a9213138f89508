//! A store in memory: the model that every other backend is compared with.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::ops::ControlFlow;

use super::{Batch, Durability, Key, Store, StoreError};

/// Records in an ordered map. Nothing survives the process; both durabilities are the same.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MemoryStore {
    records: BTreeMap<Key, Vec<u8>>,
}

impl MemoryStore {
    /// The number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The sum of key and value bytes.
    pub fn bytes(&self) -> usize {
        let size =
            |(key, value): (&Key, &Vec<u8>)| key.as_bytes().len().saturating_add(value.len());
        self.records.iter().map(size).fold(0, usize::saturating_add)
    }

    /// The stored value itself, for a fault to damage.
    pub(super) fn value_mut(&mut self, key: &Key) -> Option<&mut Vec<u8>> {
        self.records.get_mut(key)
    }

    /// Applies `batch`; memory cannot refuse.
    pub(super) fn apply(&mut self, batch: &Batch) {
        for (key, value) in batch.iter() {
            match value {
                Some(value) => self.records.insert(*key, value.to_vec()),
                None => self.records.remove(key),
            };
        }
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.records.get(key).cloned())
    }

    fn scan(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&Key, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        // A prefix that is no key is empty (every record) or too long (none).
        let records = match Key::new(prefix) {
            Ok(first) => self.records.range(first..),
            Err(StoreError::KeyEmpty) => self.records.range(..),
            Err(_) => return Ok(()),
        };
        for (key, value) in records {
            if !key.as_bytes().starts_with(prefix) || visitor(key, value) == ControlFlow::Break(())
            {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch, _: Durability) -> Result<(), StoreError> {
        self.apply(batch);
        Ok(())
    }
}

/// Counts, not contents: a dump of every record helps nobody.
impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("records", &self.len()).finish()
    }
}
