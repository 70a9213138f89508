//! The store on `SQLite`: a write-ahead log with one synced append a barrier.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, ffi, params};

use super::{DbError, make_whole};
use crate::store::{Batch, Durability, Key, Store, StoreError};

/// A durable store in one `SQLite` file beside its log, held by one process at a time.
///
/// ```no_run
/// use millstream::db::SqliteStore;
/// let store = SqliteStore::open("channels.sqlite".as_ref())?;
/// # Ok::<(), millstream::db::DbError>(())
/// ```
pub struct SqliteStore {
    connection: Connection,
    /// What `synchronous` is set to.
    durability: Durability,
    /// A lazy commit waits for a barrier.
    pending: bool,
}

const GET: &str = "SELECT value FROM records WHERE key = ?1";
const SCAN: &str = "SELECT key, value FROM records WHERE key >= ?1 ORDER BY key";
const PUT: &str = "INSERT INTO records (key, value) VALUES (?1, ?2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const DELETE: &str = "DELETE FROM records WHERE key = ?1";

/// The lock first: in exclusive mode the log needs no shared memory, and a second process is
/// refused at its first read.
const OPEN: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cell_size_check = ON;
    CREATE TABLE IF NOT EXISTS records (
        key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL
    ) WITHOUT ROWID;
    BEGIN EXCLUSIVE; COMMIT;";

impl SqliteStore {
    /// Opens the store in `path`, or creates it with mode 0600, and checks its structure.
    ///
    /// The log gets the same mode. The check reads the whole file; it finds no rotted bit inside a
    /// value, for which the file has no checksum.
    ///
    /// # Errors
    /// [`DbError::Locked`] while another process has it open, [`DbError::Refused`],
    /// [`DbError::Unreadable`].
    pub fn open(path: &Path) -> Result<Self, DbError> {
        make_whole(path, |new| Self::open_file(new).map(drop))?;
        Self::open_file(path)
    }

    fn open_file(path: &Path) -> Result<Self, DbError> {
        let unreadable = |source| DbError::Unreadable { path: path.to_path_buf(), source };
        let connection = Self::connect(path).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                DbError::Locked { path: path.to_path_buf() }
            }
            Some(ErrorCode::CannotOpen) => {
                DbError::Refused { path: path.to_path_buf(), source: io::Error::other(error) }
            }
            _ => unreadable(failed(&error)),
        })?;
        let ask = "PRAGMA integrity_check(1)";
        let says = connection.query_row(ask, [], |row| row.get::<_, String>(0));
        if says.map_err(|error| unreadable(failed(&error)))? != "ok" {
            return Err(unreadable(StoreError::Damaged { what: "the structure of the file" }));
        }
        Ok(Self { connection, durability: Durability::Barrier, pending: false })
    }

    fn connect(path: &Path) -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        // Who holds the lock keeps it: waiting would only delay the answer.
        connection.busy_timeout(Duration::ZERO)?;
        connection.execute_batch(OPEN)?;
        Ok(connection)
    }

    fn write(&mut self, batch: &Batch, durability: Durability) -> rusqlite::Result<()> {
        if durability != self.durability {
            self.connection.execute_batch(match durability {
                Durability::Barrier => "PRAGMA synchronous = FULL",
                Durability::Lazy => "PRAGMA synchronous = NORMAL",
            })?;
            self.durability = durability;
        }
        if batch.is_empty() {
            // A transaction that writes nothing syncs nothing; a checkpoint syncs the log.
            return self.connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(()));
        }
        let transaction = self.connection.transaction()?;
        {
            let mut put = transaction.prepare_cached(PUT)?;
            let mut delete = transaction.prepare_cached(DELETE)?;
            for (key, value) in batch.iter() {
                match value {
                    Some(value) => put.execute(params![key.as_bytes(), value])?,
                    None => delete.execute(params![key.as_bytes()])?,
                };
            }
        }
        transaction.commit()
    }

    fn read(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&Key, &[u8]) -> ControlFlow<()>,
    ) -> rusqlite::Result<Result<(), StoreError>> {
        let mut statement = self.connection.prepare_cached(SCAN)?;
        let mut rows = statement.query(params![prefix])?;
        while let Some(row) = rows.next()? {
            let (key, value) = (row.get_ref(0)?, row.get_ref(1)?);
            let (Ok(key), Ok(value)) = (key.as_blob(), value.as_blob()) else {
                return Ok(Err(StoreError::Damaged { what: "a record that is no bytes" }));
            };
            if !key.starts_with(prefix) {
                break;
            }
            let Ok(key) = Key::new(key) else {
                return Ok(Err(StoreError::Damaged { what: "a key out of bounds" }));
            };
            if visitor(&key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(Ok(()))
    }
}

impl Store for SqliteStore {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let get = || {
            let mut statement = self.connection.prepare_cached(GET)?;
            statement.query_row(params![key.as_bytes()], |row| row.get(0)).optional()
        };
        get().map_err(|error| failed(&error))
    }

    fn scan(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&Key, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.read(prefix, visitor).map_err(|error| failed(&error))?
    }

    fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        let barrier = durability == Durability::Barrier;
        if batch.is_empty() && !(barrier && self.pending) {
            return Ok(());
        }
        self.write(batch, durability).map_err(|error| failed(&error))?;
        self.pending = !barrier;
        Ok(())
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("pending", &self.pending).finish_non_exhaustive()
    }
}

/// What `SQLite`'s error means to a machine.
fn failed(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly,
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged { what: "a page of the file" },
        Some(ErrorCode::NotADatabase) => {
            StoreError::Damaged { what: "the file is no SQLite database" }
        }
        Some(_) => StoreError::Medium {
            code: error.sqlite_error().map_or(ffi::SQLITE_ERROR, |e| e.extended_code),
        },
        None => StoreError::Damaged { what: "a record of another type" },
    }
}
