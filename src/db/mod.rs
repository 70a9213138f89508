//! Databases behind the store's trait: what a machine keeps its records in on a real disk.
//!
//! ```text
//!   Batch ──> RedbStore::commit ──> one write transaction ──> one fdatasync
//!             SqliteStore::commit ─> one WAL append ────────> one fsync
//!   inspect ─> RedbReader (never writes, also after a power cut)
//! ```
//!
//! A file is created with mode 0600, its directory entry is durable before the first record is, and
//! one process at a time has it open. None of these needs a runtime: a commit blocks until it is
//! durable, and the driver decides on which thread.
//!
//! Rank 6, `std`. Used by the driver, by the command line and by whoever embeds the node.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "redb")]
pub use self::redb::{RedbReader, RedbStore};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

use crate::store::StoreError;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// Another process, or another handle in this one, has the file open.
    #[error("{} is open in another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused the file.
    #[error("{} cannot be opened: {source}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file is not a store of this kind, or is damaged beyond the database's own repair.
    #[error("{} cannot be read as a store: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the database found.
        source: StoreError,
    },
}

/// Opens `path` for reading and writing; a new file is private to its owner and durably named.
fn private_file(path: &Path) -> Result<File, DbError> {
    let refused = |source| DbError::Refused { path: path.to_path_buf(), source };
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.open(path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
        opened => return opened.map_err(refused),
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.create(true).truncate(false).open(path).map_err(refused)?;
    // Without this a power cut may take the name of the file, and every durable record with it.
    #[cfg(unix)]
    {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = File::open(parent.unwrap_or(Path::new("."))).map_err(refused)?;
        parent.sync_all().map_err(refused)?;
    }
    Ok(file)
}
