//! The store on redb: a copy-on-write B-tree in one file, without a log to replay.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use ::redb::backends::InMemoryBackend;
use ::redb::{
    Builder, Database, DatabaseError, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase,
    ReadableTable, StorageBackend, TableDefinition, TableError,
};

use super::{DbError, private_file};
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
}

impl RedbStore {
    /// Opens the store in `path`, or creates it with mode 0600.
    ///
    /// After a power cut redb repairs the file first: it walks the whole file once.
    ///
    /// # Errors
    /// [`DbError::Locked`] while another process has it open, [`DbError::Refused`],
    /// [`DbError::Unreadable`].
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let file = private_file(path)?;
        let database = builder().create_file(file).map_err(|error| opening(path, error))?;
        Ok(Self { database, pending: false })
    }

    /// Opens the store on a storage of the caller's, as the simulator does to tear it.
    ///
    /// # Errors
    /// What redb found, as a [`StoreError`].
    pub fn on(storage: impl StorageBackend) -> Result<Self, StoreError> {
        let database = builder().create_with_backend(storage).map_err(refused)?;
        Ok(Self { database, pending: false })
    }

    /// Checks every page against its checksum; false if something was wrong and was repaired.
    ///
    /// Reads the whole file. Commits check nothing that they do not touch, so this finds rot before
    /// a record is needed.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it cannot be repaired.
    pub fn check(&mut self) -> Result<bool, StoreError> {
        self.database.check_integrity().map_err(refused)
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
        self.write(batch, durability).map_err(failed)?;
        self.pending = !barrier;
        Ok(())
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("pending", &self.pending).finish_non_exhaustive()
    }
}

/// The records of a redb file, without ever writing to it.
///
/// After a power cut redb would repair the file first; this one then repairs a copy in memory, so
/// that what is inspected stays as it was found.
pub struct RedbReader(Source);

enum Source {
    File(ReadOnlyDatabase),
    Copy(Database),
}

impl RedbReader {
    /// Opens the store in `path` for reading.
    ///
    /// # Errors
    /// [`DbError::Locked`] while another process writes to it, [`DbError::Refused`],
    /// [`DbError::Unreadable`].
    pub fn open(path: &Path) -> Result<Self, DbError> {
        match builder().open_read_only(path) {
            Ok(database) => return Ok(Self(Source::File(database))),
            Err(DatabaseError::RepairAborted) => {}
            Err(error) => return Err(opening(path, error)),
        }
        let refused = |source| DbError::Refused { path: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(refused)?;
        // The same lock as redb's, so that no writer repairs the file under the copy.
        file.try_lock_shared().map_err(|_| DbError::Locked { path: path.to_path_buf() })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(refused)?;
        let copy = InMemoryBackend::new();
        let filled = u64::try_from(bytes.len())
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
            .and_then(|len| copy.set_len(len))
            .and_then(|()| copy.write(0, &bytes));
        filled.map_err(refused)?;
        let database = builder().create_with_backend(copy).map_err(|error| opening(path, error))?;
        Ok(Self(Source::Copy(database)))
    }
}

impl Store for RedbReader {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        match &self.0 {
            Source::File(database) => get(database, key),
            Source::Copy(database) => get(database, key),
        }
    }

    fn scan(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&Key, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        match &self.0 {
            Source::File(database) => scan(database, prefix, visitor),
            Source::Copy(database) => scan(database, prefix, visitor),
        }
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

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// The table of records, or `None` before the first commit.
fn records(
    database: &impl ReadableDatabase,
) -> Result<Option<ReadOnlyTable<&'static [u8], &'static [u8]>>, ::redb::Error> {
    match database.begin_read()?.open_table(RECORDS) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn get(database: &impl ReadableDatabase, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(table) = records(database).map_err(failed)? else { return Ok(None) };
    let value = ReadableTable::get(&table, key.as_bytes()).map_err(|error| failed(error.into()))?;
    Ok(value.map(|value| value.value().to_vec()))
}

fn scan(
    database: &impl ReadableDatabase,
    prefix: &[u8],
    visitor: &mut dyn FnMut(&Key, &[u8]) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let Some(table) = records(database).map_err(failed)? else { return Ok(()) };
    let range = ReadableTable::range::<&[u8]>(&table, prefix..);
    for record in range.map_err(|error| failed(error.into()))? {
        let (key, value) = record.map_err(|error| failed(error.into()))?;
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
        error => DbError::Unreadable { path, source: refused(error) },
    }
}

fn refused(error: DatabaseError) -> StoreError {
    failed(error.into())
}

/// What redb's error means to a machine; its text says more than a machine can use.
fn failed(error: ::redb::Error) -> StoreError {
    use ::redb::Error;
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => StoreError::Full,
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
