//! The store on redb: a copy-on-write B-tree in one file, without a log to replay.
//!
//! It is crash-only: no orderly end is ever written, so that every opening takes the way of an
//! opening after a power cut, on which redb walks the file and verifies every page. After an
//! orderly end it would trust the file, and rot in it was seen to panic and, once, to show an older
//! state. Opening costs one reading of the file: 3 ms for 10,000 records, 45 ms for 100,000.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::{Bound, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::redb::backends::{FileBackend, InMemoryBackend};
use ::redb::{
    Builder, Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable,
    StorageBackend, TableDefinition, TableError,
};

use super::ending::Ending;
use super::{DbError, make_whole};
use crate::store::{Batch, Durability, Key, Store, StoreError};

/// The one table: key bytes to record bytes.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// 16 MiB: the records of 20,000 channels; redb's own default of 1 GiB is more than a charger has.
const CACHE_BYTES: usize = 16_777_216;

/// A durable store in one redb file, held by one process at a time.
///
/// ```no_run
/// use millstream::db::RedbStore;
/// let store = RedbStore::open("channels.redb".as_ref())?;
/// # Ok::<(), millstream::db::DbError>(())
/// ```
pub struct RedbStore {
    database: Database,
    /// A lazy commit waits for a barrier.
    pending: bool,
    ended: Arc<AtomicBool>,
}

impl RedbStore {
    /// Opens the store in `path`, or creates it with mode 0600, and verifies all of it.
    ///
    /// # Errors
    /// [`DbError::Locked`] while another process has it open, [`DbError::Refused`],
    /// [`DbError::Unreadable`].
    pub fn open(path: &Path) -> Result<Self, DbError> {
        make_whole(path, |new| Self::open_file(new).map(drop))?;
        Self::open_file(path)
    }

    fn open_file(path: &Path) -> Result<Self, DbError> {
        let refused = |source| DbError::Refused { path: path.to_path_buf(), source };
        let file = File::options().read(true).write(true).open(path).map_err(refused)?;
        let storage = FileBackend::new(file).map_err(|error| opening(path, error))?;
        Self::create(storage).map_err(|error| opening(path, error))
    }

    /// Opens the store on a storage of the caller's, as the simulator does to tear it.
    ///
    /// # Errors
    /// What redb found, as a [`StoreError`].
    pub fn on(storage: impl StorageBackend) -> Result<Self, StoreError> {
        Self::create(storage).map_err(|error| failed(error.into()))
    }

    fn create(storage: impl StorageBackend) -> Result<Self, DatabaseError> {
        let ended = Arc::new(AtomicBool::new(false));
        let storage = Ending::new(storage, Arc::clone(&ended));
        let database = create(storage)?;
        Ok(Self { database, pending: false, ended })
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), ::redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(match durability {
            Durability::Barrier => ::redb::Durability::Immediate,
            Durability::Lazy => ::redb::Durability::None,
        })?;
        let mut table = transaction.open_table(RECORDS)?;
        for (key, value) in batch.iter() {
            match value {
                Some(value) => table.insert(key.as_bytes(), value)?,
                None => table.remove(key.as_bytes())?,
            };
        }
        drop(table);
        Ok(transaction.commit()?)
    }
}

impl Store for RedbStore {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        get(&self.database, key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&Key, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        scan(&self.database, prefix, visitor)
    }

    fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        let barrier = durability == Durability::Barrier;
        if batch.is_empty() && !(barrier && self.pending) {
            return Ok(());
        }
        guarded(|| self.write(batch, durability))?;
        self.pending = !barrier;
        Ok(())
    }
}

/// Leaves the file as a power cut would; see the head of this file.
impl Drop for RedbStore {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("pending", &self.pending).finish_non_exhaustive()
    }
}

/// The records of a redb file, without ever writing to it.
///
/// What is read is a verified copy in memory, as large as the file: redb repairs before it reads,
/// and what is inspected must stay as it was found.
pub struct RedbReader(Database);

impl RedbReader {
    /// Opens the store in `path` for reading.
    ///
    /// # Errors
    /// [`DbError::Locked`] while another process writes to it, [`DbError::Refused`],
    /// [`DbError::Unreadable`].
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let refused = |source| DbError::Refused { path: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(refused)?;
        // The lock of redb's own readers: no writer may repair the file under the copy.
        let locks = FileBackend::new(file.try_clone().map_err(refused)?)
            .map_err(|error| opening(path, error))?;
        let locked = locks.try_lock_shared_range(Bound::Unbounded, Bound::Unbounded);
        if !locked.is_ok_and(|locked| locked) {
            return Err(DbError::Locked { path: path.to_path_buf() });
        }
        let mut bytes = Vec::new();
        let read = file.read_to_end(&mut bytes);
        locks.close().and(read).map_err(refused)?;
        // redb would make a new store of an empty file.
        if bytes.is_empty() {
            let source = StoreError::Damaged { what: "the file is empty" };
            return Err(DbError::Unreadable { path: path.to_path_buf(), source });
        }
        let copy = InMemoryBackend::new();
        let filled = u64::try_from(bytes.len())
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
            .and_then(|len| copy.set_len(len))
            .and_then(|()| copy.write(0, &bytes));
        filled.map_err(refused)?;
        let database = create(copy).map_err(|error| opening(path, error))?;
        Ok(Self(database))
    }
}

impl Store for RedbReader {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        get(&self.0, key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&Key, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        scan(&self.0, prefix, visitor)
    }

    fn commit(&mut self, _: &Batch, _: Durability) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }
}

impl fmt::Debug for RedbReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbReader").finish_non_exhaustive()
    }
}

fn create(storage: impl StorageBackend) -> Result<Database, DatabaseError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    // The name of a system table is looked up before the pages are verified, and rot in it panics.
    catch_unwind(AssertUnwindSafe(|| builder.create_with_backend(storage)))
        .unwrap_or_else(|_| Err(::redb::StorageError::Corrupted(String::new()).into()))
}

/// Runs `work`, and takes a panic of the database for what it is: bytes that rotted after the
/// pages were verified. Without unwinding (`panic = "abort"`) it still ends the process.
fn guarded<T>(work: impl FnOnce() -> Result<T, ::redb::Error>) -> Result<T, StoreError> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.map_err(|_| StoreError::Damaged { what: "a page that the database cannot follow" })?
        .map_err(failed)
}

/// The table of records, or `None` before the first commit.
#[expect(clippy::type_complexity, reason = "a name for it would hide that it is redb's own table")]
fn records(
    database: &Database,
) -> Result<Option<ReadOnlyTable<&'static [u8], &'static [u8]>>, ::redb::Error> {
    match database.begin_read()?.open_table(RECORDS) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn get(database: &Database, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
    guarded(|| {
        let Some(table) = records(database)? else { return Ok(None) };
        let value = ReadableTable::get(&table, key.as_bytes())?;
        Ok(value.map(|value| value.value().to_vec()))
    })
}

fn scan(
    database: &Database,
    prefix: &[u8],
    visitor: &mut dyn FnMut(&Key, &[u8]) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let Some(table) = guarded(|| records(database))? else { return Ok(()) };
    let mut range = guarded(|| Ok(ReadableTable::range::<&[u8]>(&table, prefix..)?))?;
    while let Some((key, value)) = guarded(|| Ok(range.next().transpose()?))? {
        if !key.value().starts_with(prefix) {
            break;
        }
        let damaged = |_| StoreError::Damaged { what: "a key out of bounds" };
        let key = Key::new(key.value()).map_err(damaged)?;
        if visitor(&key, value.value()) == ControlFlow::Break(()) {
            break;
        }
    }
    Ok(())
}

fn opening(path: &Path, error: DatabaseError) -> DbError {
    let path = path.to_path_buf();
    match error {
        DatabaseError::DatabaseAlreadyOpen => DbError::Locked { path },
        DatabaseError::Storage(::redb::StorageError::Io(source))
            if source.raw_os_error().is_some() =>
        {
            DbError::Refused { path, source }
        }
        error => DbError::Unreadable { path, source: failed(error.into()) },
    }
}

/// What redb's error means to a machine; its text says more than a machine can use.
fn failed(error: ::redb::Error) -> StoreError {
    use ::redb::Error;
    match error {
        Error::Io(error) if is_full(&error) => StoreError::Full,
        Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            StoreError::Damaged { what: "the file is no redb database" }
        }
        Error::Io(error) => StoreError::Medium { code: error.raw_os_error().unwrap_or(0) },
        // An earlier failure; redb answers nothing more until the file is opened again.
        Error::PreviousIo | Error::DatabaseClosed => StoreError::Medium { code: 0 },
        Error::UpgradeRequired(_) => StoreError::Damaged { what: "a file format of another redb" },
        Error::TableTypeMismatch { .. } | Error::TableIsMultimap(_) => {
            StoreError::Damaged { what: "the table of records has another type" }
        }
        _ => StoreError::Damaged { what: "a page, a checksum or the allocator's state" },
    }
}

/// The medium, the owner's quota or the largest file allowed.
fn is_full(error: &io::Error) -> bool {
    let kinds =
        [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
    kinds.contains(&error.kind())
}
