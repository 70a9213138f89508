//! What the records of both sides have alike: two formats, how each ends, and how both are read.
//!
//! Version 1 is of channels that take no holds, and ends with a zero byte. In version 2 the rules
//! for holds and the holds stand in its place. Used by the records of `payer` and `payee`.

use alloc::vec::Vec;

use super::bytes::{Reader, Writer};
use super::error::StreamError;
use super::terms::HoldRules;
use crate::store::{Key, envelope};

/// The format of records of channels that take no holds.
const VERSION: u8 = 1;
/// The format of records of channels that take holds.
const HOLD_VERSION: u8 = 2;

/// The bytes to store under `key`: what `w` has, then the rules for holds and what `holds` writes.
pub(super) fn seal(
    key: &Key,
    mut w: Writer,
    rules: HoldRules,
    holds: impl FnOnce(&mut Writer),
) -> Vec<u8> {
    let version = if rules == HoldRules::NONE {
        w.u8(0);
        VERSION
    } else {
        rules.write(&mut w);
        holds(&mut w);
        HOLD_VERSION
    };
    envelope::seal(key, version, &w.finish())
}

/// Reads what [`seal`] made under `key`. `read` is told whether holds come; `fits` says whether
/// what it read could have been written there.
pub(super) fn open<T>(
    key: &Key,
    bytes: &[u8],
    read: impl FnOnce(&mut Reader<'_>, bool) -> Option<T>,
    fits: impl FnOnce(&T) -> Result<bool, StreamError>,
) -> Result<T, StreamError> {
    let with_holds = bytes.first() != Some(&VERSION);
    let version = if with_holds { HOLD_VERSION } else { VERSION };
    let mut r = Reader::new(envelope::open(key, version, bytes)?);
    let record = read(&mut r, with_holds).ok_or(StreamError::BrokenRecord { at: r.at() })?;
    // Assert twice: what is read must be what could have been written.
    if r.is_empty() && fits(&record)? {
        Ok(record)
    } else {
        Err(StreamError::BrokenRecord { at: r.at() })
    }
}

/// The rules for holds, at which both formats part: without holds nothing comes after them.
pub(super) fn read_rules(r: &mut Reader<'_>, with_holds: bool) -> Option<HoldRules> {
    if with_holds {
        HoldRules::read(r).filter(|rules| *rules != HoldRules::NONE)
    } else {
        (r.u8()? == 0).then_some(HoldRules::NONE)
    }
}
