//! The file that holds a machine's seed: 64 hex digits and a newline, for its owner's eyes only.
//!
//! ```no_run
//! use millstream::db::seed_file;
//! # let fresh = [7; 32];
//! let path = "seed".as_ref();
//! seed_file::create(path, &fresh)?;
//! let seed = seed_file::load(path)?;
//! # Ok::<(), seed_file::SeedFileError>(())
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::{Zeroize, Zeroizing};

use super::sync_name;
use crate::keys::Seed;
use crate::units::Blame;

/// 32 bytes in hex, and a newline.
const LENGTH: usize = 65;

/// Why a seed file cannot be used. None of these shows a byte of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedFileError {
    /// The mode lets others read or write it, so the seed may be known already.
    #[error(
        "seed file {} has mode {mode:04o}: others can read it; it must be 0600",
        path.display()
    )]
    OthersCanRead {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It exists already, and is never replaced.
    #[error("seed file {} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It is not 64 hex digits and a newline.
    #[error(
        "seed file {} is malformed: {got} bytes, not 64 hex digits and a newline",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// How many bytes were read, at most one more than it should have.
        got: usize,
    },
    /// The operating system refused it.
    #[error("seed file {} cannot be used: {source}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl SeedFileError {
    /// Ours, every one: the file is on our own disk.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::OthersCanRead { .. }
            | Self::Exists { .. }
            | Self::Malformed { .. }
            | Self::Refused { .. } => Blame::Us,
        }
    }
}

/// Reads the seed. The bytes on the way are wiped.
///
/// On systems without permission bits every file passes.
///
/// # Errors
/// [`SeedFileError::OthersCanRead`] before a byte is read; [`SeedFileError::Malformed`],
/// [`SeedFileError::Refused`].
pub fn load(path: &Path) -> Result<Seed, SeedFileError> {
    let refused = |source| SeedFileError::Refused { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(refused)?;
    // Of the open file, so that it cannot be another one that is read.
    let mode = mode(&file.metadata().map_err(refused)?);
    if mode & 0o077 != 0 {
        return Err(SeedFileError::OthersCanRead { path: path.to_path_buf(), mode });
    }
    // One byte more than it should have; never grown, so that no copy is left behind.
    let mut text = Zeroizing::new(Vec::with_capacity(LENGTH.saturating_add(1)));
    let most = u64::try_from(LENGTH).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut text).map_err(refused)?;
    let bytes = parse(&text);
    let malformed = || SeedFileError::Malformed { path: path.to_path_buf(), got: text.len() };
    Ok(Seed::new(*bytes.ok_or_else(malformed)?))
}

/// The seed of a file's bytes: 64 hex digits of either case and a newline, and nothing else.
pub(crate) fn parse(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let (digits, b"\n") = text.split_last_chunk::<1>()? else { return None };
    let digits = <&[u8; 64]>::try_from(digits).ok()?;
    let mut bytes = Zeroizing::new([0_u8; 32]);
    let (pairs, _) = digits.as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(bytes)
}

/// Writes a new seed file of mode 0600: whole and durable, or not there at all.
///
/// # Errors
/// [`SeedFileError::Exists`], [`SeedFileError::Refused`].
pub fn create(path: &Path, seed: &[u8; 32]) -> Result<(), SeedFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => SeedFileError::Exists { path: path.to_path_buf() },
        _ => SeedFileError::Refused { path: path.to_path_buf(), source },
    };
    if path.exists() {
        return Err(SeedFileError::Exists { path: path.to_path_buf() });
    }
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new-{}", std::process::id()));
    let new = PathBuf::from(new);
    let written = write(&new, seed).and_then(|()| {
        // A link, unlike a rename, never replaces a seed that another process made meanwhile.
        fs::hard_link(&new, path)
    });
    let _may_be_missing = fs::remove_file(&new);
    written.and_then(|()| sync_name(path)).map_err(failed)
}

fn write(path: &Path, seed: &[u8; 32]) -> io::Result<()> {
    // Left behind by an earlier process of the same number.
    let _may_be_missing = fs::remove_file(path);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let mut text = [b'\n'; LENGTH];
    let digit = |value: u8| {
        char::from_digit(u32::from(value), 16).map_or(b'0', |c| u8::try_from(c).unwrap_or(b'0'))
    };
    for (pair, byte) in text.chunks_exact_mut(2).zip(seed) {
        if let [high, low] = pair {
            (*high, *low) = (digit(byte >> 4), digit(byte & 0x0f));
        }
    }
    let written = file.write_all(&text).and_then(|()| file.sync_all());
    text.zeroize();
    written
}

#[cfg(unix)]
fn mode(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777
}

#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> u32 {
    0o600
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use bitcoin::Network;

    use super::*;
    use crate::keys::Context;

    #[test]
    fn seed_written_is_the_seed_read_and_nobody_elses_to_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        let bytes: [u8; 32] = core::array::from_fn(|n| u8::try_from(n * 8).unwrap());
        create(&path, &bytes).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something was left behind");
        let key = |seed: Seed| seed.base_key(&Context::new(), Network::Regtest).unwrap().public();
        assert_eq!(key(load(&path).unwrap()), key(Seed::new(bytes)));
        assert!(matches!(create(&path, &[0; 32]), Err(SeedFileError::Exists { .. })));
        assert_eq!(key(load(&path).unwrap()), key(Seed::new(bytes)));
    }

    #[test]
    fn seed_file_that_others_can_read_or_write_is_refused_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        create(&path, &[7; 32]).unwrap();
        for bad in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(bad)).unwrap();
            let refused = load(&path).err().unwrap();
            assert!(matches!(refused, SeedFileError::OthersCanRead { mode, .. } if mode == bad));
            assert!(refused.to_string().contains(&format!("{bad:04o}")));
        }
        for good in [0o600, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(good)).unwrap();
            load(&path).unwrap();
        }
    }

    #[test]
    fn seed_file_of_another_length_or_with_other_digits_is_malformed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        create(&path, &[7; 32]).unwrap();
        let good = fs::read(&path).unwrap();
        let mut odd = good.clone();
        odd[63] = b'g';
        let long = [&good[..], b"\n"].concat();
        let mut other_end = good.clone();
        other_end[64] = b'0';
        for bad in [&[][..], &good[..64], &long[..], &odd[..], &other_end[..]] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(load(&path), Err(SeedFileError::Malformed { .. })), "{}", bad.len());
        }
        fs::write(&path, &good).unwrap();
        load(&path).unwrap();
    }
}
