//! Databases behind the store's trait: what a machine keeps its records in on a real disk.
//!
//! ```text
//!   Batch --> RedbStore::commit --> one write transaction --> one fdatasync
//!             SqliteStore::commit -> one WAL append --------> one fsync
//!   inspect -> RedbReader (never writes, also after a power cut)
//! ```
//!
//! A file is created with mode 0600, its directory entry is durable before the first record is, and
//! one process at a time has it open. It gets its name when it is whole, so that an empty file is
//! damage and never taken for a new store. None of these needs a runtime: a commit blocks until it
//! is durable, and the driver decides on which thread.
//!
//! # Which one
//!
//! `RedbStore` is the default. Medians of 256-byte records, every commit a barrier, interleaved
//! in one run with a pre-allocated file that takes the same bytes and one `fdatasync` (x86-64, two
//! busy cores, ext4; `cargo bench --bench store` measures them on the reader's machine):
//!
//! | store | commit / file | file / (33 us of verifying + commit) | the same, 64 a commit |
//! | --- | --- | --- | --- |
//! | redb, 64 records | 1.4-1.6 | 0.55-0.66 | 0.42-0.56 |
//! | redb, 10,000 and 100,000 records | 1.7-1.9 | 0.49-0.50 | 0.16, 0.09 |
//! | `SQLite` WAL, FULL, 64 records | 0.9-1.1 | 0.76-0.88 | 0.57-0.65 |
//! | `SQLite`, 10,000 and 100,000 records | 0.9-1.0 | 0.81-0.87 | 0.24, 0.26 |
//!
//! `SQLite` is faster, and both meet the need (0.4 one by one, and 1,000 commits a second). redb is
//! preferred because it is torn in tests through its own storage trait; because every page has a
//! checksum, while `SQLite`'s main file has none; because it is fast from the first commit on,
//! while a fresh `SQLite` log must grow first (the mean of the first 3,000 commits was up to seven
//! times their median); and because it needs no C compiler. A node with very many channels that
//! fall due at once, or that wants the last microseconds, takes `SqliteStore`.
//!
//! Rank 6, `std`. Used by the driver, by the command line and by whoever embeds the node.

use std::fs::File;
#[cfg(any(feature = "redb", feature = "sqlite"))]
use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use std::path::PathBuf;

#[cfg(feature = "redb")]
mod ending;
#[cfg(feature = "redb")]
mod redb;
pub mod seed_file;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "redb")]
pub use self::redb::{RedbReader, RedbStore};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

use crate::store::StoreError;
use crate::units::Blame;

/// Less than this is no store of either kind: the header of the smaller one.
#[cfg(any(feature = "redb", feature = "sqlite"))]
const HEADER_MIN: u64 = 100;

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

impl DbError {
    /// Ours: the file is on our own disk.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Locked { .. } | Self::Refused { .. } => Blame::Us,
            Self::Unreadable { source, .. } => source.blame(),
        }
    }
}

#[cfg(any(feature = "redb", feature = "sqlite"))]
impl DbError {
    /// The same error about the file that the caller named.
    fn named(self, path: &Path) -> Self {
        let path = path.to_path_buf();
        match self {
            Self::Locked { .. } => Self::Locked { path },
            Self::Refused { source, .. } => Self::Refused { path, source },
            Self::Unreadable { source, .. } => Self::Unreadable { path, source },
        }
    }
}

/// Sees to it that there is a store in `path`: `fill` makes an empty one, in a file of mode 0600
/// that gets this name only when it is whole.
///
/// A power cut in the middle leaves no file of this name: redb refuses a half-made one, and an
/// empty one looks like a store that lost everything.
///
/// # Errors
/// [`DbError::Unreadable`] for an empty file, [`DbError::Refused`], those of `fill`.
#[cfg(any(feature = "redb", feature = "sqlite"))]
fn make_whole(path: &Path, fill: impl FnOnce(&Path) -> Result<(), DbError>) -> Result<(), DbError> {
    let refused = |source| DbError::Refused { path: path.to_path_buf(), source };
    match fs::metadata(path) {
        // A byte or so counts: SQLite takes it for nothing too.
        Ok(file) if file.is_file() && file.len() < HEADER_MIN => {
            let source = StoreError::Damaged { what: "the file is empty" };
            return Err(DbError::Unreadable { path: path.to_path_buf(), source });
        }
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(refused(error)),
    }
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new-{}", std::process::id()));
    let new = PathBuf::from(new);
    // Left behind by an earlier process of the same number.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(error)),
        _ => {}
    }
    create_private(&new)
        .map_err(refused)
        .and_then(|()| fill(&new))
        // The caller knows the file by the name that it gave.
        .map_err(|error| error.named(path))?;
    // A link, unlike a rename, never replaces the store that another process made meanwhile.
    let linked = fs::hard_link(&new, path).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Ok(()),
        // The file system of many memory cards has no links.
        _ if !path.exists() => fs::rename(&new, path),
        _ => Err(error),
    });
    linked.map_err(refused)?;
    // It may be gone by the rename.
    let _ = fs::remove_file(&new);
    sync_name(path).map_err(refused)
}

/// Creates `path`, which must not exist, private to its owner.
#[cfg(any(feature = "redb", feature = "sqlite"))]
fn create_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Makes the name of `path` durable: a power cut may take it, and every durable record with it.
fn sync_name(path: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened as a file.
    if cfg!(unix) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}
