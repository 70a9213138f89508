//! The messages of Stratum V1: one line of JSON each, read into types and printed from them.
//!
//! ```text
//!  miner -> pool   {"id":7,"method":"mining.submit","params":[..]}    Request
//!  pool -> miner   {"id":7,"result":true,"error":null}                Answer
//!  pool -> miner   {"id":null,"method":"mining.notify","params":[..]} Notice
//! ```
//!
//! | method | from | parameters |
//! | --- | --- | --- |
//! | `mining.configure` | miner | \[extensions\], {parameters by name} (BIP310) |
//! | `mining.subscribe` | miner | agent, session to resume (both may be absent) |
//! | `mining.extranonce.subscribe` | miner | |
//! | `mining.authorize` | miner | user, password |
//! | `mining.suggest_difficulty` | miner | number |
//! | `mining.suggest_target` | miner | 64 hex digits, the highest first |
//! | `mining.submit` | miner | user, job, extranonce2, time, nonce, version bits (may be absent) |
//! | `mining.ping` | both | |
//! | `mining.set_difficulty` | pool | number |
//! | `mining.set_extranonce` | pool | extranonce1, size of extranonce2 |
//! | `mining.set_version_mask` | pool | 8 hex digits |
//! | `mining.notify` | pool | job, previous, two parts of a coinbase, \[branches\], version, bits, time, clean |
//! | `client.reconnect` | pool | host, port, seconds (all may be absent) |
//! | `client.show_message` | pool | text |
//! | `client.get_version` | pool | |
//!
//! # Byte orders
//!
//! | field | as text |
//! | --- | --- |
//! | previous block | the 32 bytes as they stand in a header, the four of each word reversed |
//! | version, bits, time, nonce | the number, its highest digit first |
//! | parts of a coinbase, extranonces, branches | the bytes in the order in which they are hashed |
//!
//! Here they are all what they are in a header: numbers, and bytes in its order.

mod answer;
mod json;
mod notice;
mod request;

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use core::fmt;

use bitcoin::hex::{DisplayHex, FromHex};

pub use answer::{Answer, Code, Configured, FromPool, Refusal, Subscribed};
pub(super) use answer::{print_refusal, print_true, print_words};
pub use notice::{Notice, Notify};
pub use request::{Configure, FromMiner, Request, Submit, VersionRolling};
use serde_json::value::RawValue;

use super::StratumError;

/// 64 bytes: a job's or a session's name; most are 8 to 32 hexadecimal digits.
const LABEL_MAX: usize = 64;
/// 20 digits of a number, or a short text.
const ID_MAX: usize = 64;
/// 16 bytes: pools use 4 to 12, and a coinbase has room for less than 100 in all.
const EXTRANONCE_MAX: usize = 16;
/// A worker's name, and what may be behind it.
const USER_MAX: usize = 320;

/// What a request is answered by: a JSON scalar, kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(String);

impl RequestId {
    /// The id of a notification, and of an answer to what could not be read.
    #[must_use]
    pub fn null() -> Self {
        Self("null".into())
    }

    /// A number.
    #[must_use]
    pub fn number(number: u64) -> Self {
        Self(number.to_string())
    }

    /// The number that it is, if it is one.
    pub fn to_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    fn read(raw: Option<&RawValue>) -> Result<Self, StratumError> {
        let what = "id";
        let Some(raw) = raw else { return Ok(Self::null()) };
        let text = raw.get();
        if text.starts_with(['[', '{']) {
            return Err(StratumError::WrongType { what });
        }
        if text.len() > ID_MAX {
            return Err(StratumError::TooLong { what, got: text.len(), max: ID_MAX });
        }
        Ok(Self(text.to_owned()))
    }

    fn as_json(&self) -> &str {
        &self.0
    }
}

/// The name of a job or of a session: any text of at most 64 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label(String);

impl Label {
    /// Checks the length.
    ///
    /// # Errors
    /// [`StratumError::TooLong`].
    pub fn new(text: &str) -> Result<Self, StratumError> {
        if text.len() > LABEL_MAX {
            let what = "name of a job or session";
            return Err(StratumError::TooLong { what, got: text.len(), max: LABEL_MAX });
        }
        Ok(Self(text.to_owned()))
    }

    /// Eight hexadecimal digits.
    #[must_use]
    pub fn of_u32(number: u32) -> Self {
        Self(alloc::format!("{number:08x}"))
    }

    /// The number, if it is written as [`Label::of_u32`] writes it.
    pub fn to_u32(&self) -> Option<u32> {
        <[u8; 4]>::from_hex(&self.0).ok().map(u32::from_be_bytes)
    }

    /// The text as it came: not for a log or a terminal.
    pub fn as_untrusted_str(&self) -> &str {
        &self.0
    }

    fn read(raw: &RawValue, what: &'static str) -> Result<Self, StratumError> {
        // Some pools name jobs by bare numbers.
        if json::number(raw, what).is_ok() && raw.get().len() <= LABEL_MAX {
            return Ok(Self(raw.get().to_owned()));
        }
        Ok(Self(json::text(raw, what, LABEL_MAX)?.into_owned()))
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_default())
    }
}

/// A part of the coinbase that is searched through, or that tells miners apart: at most 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extranonce {
    bytes: [u8; EXTRANONCE_MAX],
    length: u8,
}

impl Extranonce {
    /// Copies the bytes.
    ///
    /// # Errors
    /// [`StratumError::TooLong`].
    pub fn new(from: &[u8]) -> Result<Self, StratumError> {
        let (what, max) = ("extranonce", EXTRANONCE_MAX);
        let too_long = StratumError::TooLong { what, got: from.len(), max };
        let mut bytes = [0; EXTRANONCE_MAX];
        bytes.get_mut(..from.len()).ok_or(too_long)?.copy_from_slice(from);
        Ok(Self { bytes, length: u8::try_from(from.len()).map_err(|_| too_long)? })
    }

    /// `number` in `size` bytes, the highest first; `None` if it does not fit them.
    pub fn of_u64(number: u64, size: usize) -> Option<Self> {
        let bytes = number.to_be_bytes();
        let (high, low) = match bytes.len().checked_sub(size) {
            Some(cut) => bytes.split_at_checked(cut)?,
            None => (&[][..], &bytes[..]),
        };
        if high.iter().any(|byte| *byte != 0) {
            return None;
        }
        let mut padded = [0; EXTRANONCE_MAX];
        let padded = padded.get_mut(..size)?;
        padded.get_mut(size.checked_sub(low.len())?..)?.copy_from_slice(low);
        Self::new(padded).ok()
    }

    /// The number that the bytes are, the highest first; `None` if it has more than 64 bits.
    pub fn to_u64(self) -> Option<u64> {
        let mut number = 0_u64;
        for byte in self.as_bytes() {
            number = number.checked_mul(256)?.checked_add(u64::from(*byte))?;
        }
        Some(number)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    fn read(raw: &RawValue, what: &'static str) -> Result<Self, StratumError> {
        Self::new(&json::hex_vec(raw, what, EXTRANONCE_MAX)?)
    }
}

impl fmt::Debug for Extranonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().as_hex())
    }
}

#[cfg(test)]
mod tests;
