//! Terms and backups against any bytes and any text.

use bitcoin::Network;

use crate::keys::Seed;
use crate::stream::{Backup, Terms};

/// Reads `data` as terms, as their text, and as a backup.
///
/// # Panics
/// If terms have a second encoding or a second text, or bytes open as a backup that nobody sealed.
pub fn terms(data: &[u8]) {
    if let Ok(terms) = Terms::parse(data) {
        assert_eq!(terms.encode(), data, "{terms:?} has a second encoding");
        assert_eq!(Terms::from_text(&terms.to_text()).as_ref(), Ok(&terms));
        assert_eq!(terms.check(), Ok(()));
    }
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(terms) = Terms::from_text(text)
    {
        assert!(terms.to_text().eq_ignore_ascii_case(text), "{terms:?} has a second text");
    }
}

/// Opens `data` as a backup of a known seed.
///
/// # Panics
/// If what opens is not sealed as the same bytes again.
pub fn backup(data: &[u8]) {
    let seed = Seed::new([1; 32]);
    if let Ok(backup) = Backup::open(data, &seed, Network::Regtest) {
        assert_eq!(backup.seal(&seed.backup_key(Network::Regtest)), data);
    }
}
