//! The store: where a machine's whole small state waits for the next power cut.
//!
//! ```text
//!   drain of one machine          Store                         medium
//!   records r1 r2 r3 --> Batch --> commit(batch, Barrier) ------> one fsync, all or nothing
//!                                  commit(batch, Lazy) ---------> rides on the next barrier
//!   reload           <-- get, scan (ordered by key) <------------ newest value of each key
//! ```
//!
//! A record is the whole state of one machine under one [`Key`]; the newest value wins and nothing
//! grows with the number of payments. [`Store`] has three functions, so that a database, a flash
//! chip or a replicated log can stand behind it: [`MemoryStore`] is here, the databases are in `db`
//! (rank 6), and [`conformance`] is the suite that each of them passes. [`fault`] wraps a store in
//! power cuts for tests and simulation. [`envelope`] gives every record its format version and its
//! checksum.
//!
//! Rank 1, `alloc` only. Used by every room that keeps a record, and by the driver that commits.
//!
//! # Keys
//!
//! The first byte of a key names the room that owns the record, so that no two rooms can meet on
//! one key and a scan by that byte lists one room's records:
//!
//! | bytes | room | record | rest of the key |
//! | --- | --- | --- | --- |
//! | `01 02` | `node` | a channel's sealed backup, without envelope | the outpoint that was funded |
//! | `01 03` | `node` | a signed transaction, sent again until it is final | its id |
//! | `01 04` | `node` | the outpoint that a channel descends from | 0 payee or 1 payer, the outpoint |
//! | `01 06` | `node` | the lanes of one side of a channel | 0 payee or 1 payer, the outpoint |
//! | `01 07` | `node` | a part of a bundle's items | outpoint, the hold's id, 8 bytes, 2 of the part |
//! | `01 08` | `node` | which channel pays a worker | the worker's key, 32 bytes |
//! | `02 01` | `signer` | what was spent of the budgets | nothing |
//! | `03` | `stream` | a payer's channel | its outpoint |
//! | `04` | `stream` | a payee's channel | its outpoint |
//! | `05` | `node` | a session: where it is paid, `meter`'s record, the tariff | its id, 8 bytes |
//! | `06 01` | `ledger` | a worker's account | the worker's key, 32 bytes |
//! | `06 02` | `ledger` | the totals of all accounts | nothing |
//! | `06 03` | `ledger` | the blocks that were shared out or lost last | nothing |
//! | `06 04` | `ledger` | work that blocks are shared over | its bucket, 8 bytes, the worker's key |
//! | `06 05` | `ledger` | a block that is not buried | its hash, 32 bytes |
//! | `06 06` | `ledger` | those who worked for it | its hash, the part's number, 2 bytes |
//! | `07` | `hub` | a forward | incoming outpoint, and the hold's id in it, 8 bytes |
//! | `08` | `monitor` | the watch of an outpoint | the outpoint, and the side, 1 byte |
//! | `09` to `ef` | | kept for later rooms | |
//! | `f0` to `ff` | the application | this crate never uses them | its own |
//!
//! An outpoint is 32 bytes of the transaction's id, as in a transaction, and 4 of the index,
//! big-endian. `millstream inspect` shows every one of them.
//!
//! # Order
//!
//! Commits take effect in the order in which they were made. What a [`Durability::Barrier`] commit
//! returned from is durable, and so is every commit before it, lazy ones included. After a power
//! cut the store holds the state after some commit at or after the last barrier: never a part of a
//! batch, and never a later lazy commit without the earlier ones.
//!
//! ```
//! use millstream::store::{Batch, Durability, Key, MemoryStore, Store};
//!
//! let mut store = MemoryStore::default();
//! let key = Key::new(&[0x04, 7])?;
//! let mut batch = Batch::default();
//! batch.put(key, b"paid 12")?;
//! batch.put(key, b"paid 13")?;
//! store.commit(&batch, Durability::Barrier)?;
//! assert_eq!(store.get(&key)?.as_deref(), Some(&b"paid 13"[..]));
//! # Ok::<(), millstream::store::StoreError>(())
//! ```

mod batch;
pub mod conformance;
pub mod envelope;
pub mod fault;
mod memory;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::ControlFlow;

pub use batch::{Batch, Key};
pub use memory::MemoryStore;

use crate::units::Blame;

/// Durable records by key: read one, read a range, write many at once.
///
/// The trait is object safe. Its errors are [`StoreError`] for every backend, so that a machine
/// can act on them without knowing the backend.
pub trait Store {
    /// The newest value under `key`, or `None`.
    ///
    /// Sees every commit made before, lazy ones too.
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError>;

    /// Shows every record whose key starts with `prefix` to `visitor`, in ascending key order.
    ///
    /// An empty prefix means every record. `visitor` stops the scan by [`ControlFlow::Break`]. It
    /// cannot write: collect into a [`Batch`] and commit after the scan.
    fn scan(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&Key, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Applies the whole of `batch`, or nothing of it.
    ///
    /// With [`Durability::Barrier`] it returns only when the batch, and every commit before it, is
    /// durable. An empty batch with a barrier makes the lazy commits before it durable.
    ///
    /// # Errors
    /// After any error it is unknown whether the batch became durable, whole, and a database may
    /// refuse all further work: drop the store, open it again and read. A caller that sends only
    /// after `Ok` is right in both cases.
    fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StoreError>;
}

/// When a commit must have reached the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before `commit` returns, together with every commit before it.
    Barrier,
    /// At the latest with the next barrier; a power cut before it may lose the commit, whole.
    Lazy,
}

/// What was wrong with a record, a batch or the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A key without a byte has no room that owns it.
    #[error("a key of no bytes")]
    KeyEmpty,
    /// The key is longer than [`Key::MAX`].
    #[error("a key of {got} bytes is above the largest of {max}")]
    KeyTooLong {
        /// Its length in bytes.
        got: usize,
        /// The longest allowed.
        max: usize,
    },
    /// The value is longer than [`Batch::VALUE_MAX`].
    #[error("a value of {got} bytes is above the largest of {max}")]
    ValueTooLong {
        /// Its length in bytes.
        got: usize,
        /// The longest allowed.
        max: usize,
    },
    /// The batch would hold more keys than [`Batch::ENTRIES_MAX`].
    #[error("a batch of more than {max} keys")]
    BatchEntries {
        /// The most that are allowed.
        max: usize,
    },
    /// The batch would hold more key and value bytes than [`Batch::BYTES_MAX`].
    #[error("a batch of {got} bytes is above the largest of {max}")]
    BatchBytes {
        /// What it would hold.
        got: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// A record of a format version that this release does not know; its bytes stay as they are.
    #[error("a record of format version {got}; this release reads version {known}")]
    UnknownVersion {
        /// The version that the record states.
        got: u8,
        /// The version that the reader knows.
        known: u8,
    },
    /// A record shorter than its envelope.
    #[error("a record of {got} bytes is shorter than its envelope of {min}")]
    Truncated {
        /// Its length in bytes.
        got: usize,
        /// The length of an envelope.
        min: usize,
    },
    /// The checksum of a record does not fit its key and bytes: they rotted or were moved.
    #[error("a record whose checksum is {got:#010x}, not the stored {want:#010x}")]
    Rotted {
        /// The checksum of the bytes as they are.
        got: u32,
        /// The checksum that was stored with them.
        want: u32,
    },
    /// The database found its own structure damaged; restore it from another copy.
    #[error("the database is damaged: {what}")]
    Damaged {
        /// Which of its checks failed.
        what: &'static str,
    },
    /// The medium has no room for the batch; what was durable before is safe.
    #[error("the medium is full")]
    Full,
    /// The medium refused a read or a write.
    #[error("the medium failed with code {code}")]
    Medium {
        /// The operating system's error code, 0 when there is none.
        code: i32,
    },
    /// The store was opened for reading.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The power failed at this commit, counted from 1; the store answers nothing until it is
    /// opened again.
    #[error("the power failed at commit {commit}")]
    PowerLost {
        /// Number of the commit.
        commit: u64,
    },
}

impl StoreError {
    /// Ours, every one: batches are the caller's, records and medium the machine's own.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::KeyEmpty
            | Self::KeyTooLong { .. }
            | Self::ValueTooLong { .. }
            | Self::BatchEntries { .. }
            | Self::BatchBytes { .. }
            | Self::UnknownVersion { .. }
            | Self::Truncated { .. }
            | Self::Rotted { .. }
            | Self::Damaged { .. }
            | Self::Full
            | Self::Medium { .. }
            | Self::ReadOnly
            | Self::PowerLost { .. } => Blame::Us,
        }
    }
}

impl<S: Store + ?Sized> Store for &mut S {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).get(key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&Key, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        (**self).scan(prefix, visitor)
    }

    fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        (**self).commit(batch, durability)
    }
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).get(key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&Key, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        (**self).scan(prefix, visitor)
    }

    fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        (**self).commit(batch, durability)
    }
}

#[cfg(test)]
mod tests;
