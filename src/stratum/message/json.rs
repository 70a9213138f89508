//! The JSON of a line: taken apart without reading a number as a float, each part with its limit.
//!
//! The parser does not recurse into what is kept raw, so depth costs it nothing; and nothing here
//! allocates more than the line is long.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use bitcoin::hex::{DisplayHex, FromHex};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::stratum::StratumError;

/// The members of a message; what else is in it is passed over.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) method: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) params: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) result: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(line: &'a [u8]) -> Result<Self, StratumError> {
        let text = core::str::from_utf8(line).map_err(|_| StratumError::NotUtf8)?;
        serde_json::from_str(text).map_err(|_| StratumError::NotJson)
    }
}

/// The parameters of a method, in order.
pub(super) struct Params<'a> {
    all: Vec<&'a RawValue>,
    next: usize,
}

impl<'a> Params<'a> {
    /// At most `max`; none if there are no parameters at all.
    pub(super) fn read(raw: Option<&'a RawValue>, max: usize) -> Result<Self, StratumError> {
        let all = match raw {
            Some(raw) => array(raw, "params", max)?,
            None => Vec::new(),
        };
        Ok(Self { all, next: 0 })
    }

    /// The next one, if there is one that is not null.
    pub(super) fn optional(&mut self) -> Option<&'a RawValue> {
        let found = self.all.get(self.next).copied();
        self.next = self.next.saturating_add(1);
        found.filter(|raw| raw.get() != "null")
    }

    pub(super) fn required(&mut self, what: &'static str) -> Result<&'a RawValue, StratumError> {
        self.optional().ok_or(StratumError::Missing { what })
    }

    /// A text of at most `max` bytes.
    pub(super) fn text(
        &mut self,
        what: &'static str,
        max: usize,
    ) -> Result<Cow<'a, str>, StratumError> {
        text(self.required(what)?, what, max)
    }

    /// A number of eight hexadecimal digits.
    pub(super) fn hex_u32(&mut self, what: &'static str) -> Result<u32, StratumError> {
        hex_u32(self.required(what)?, what)
    }
}

/// A list of at most `max` values.
pub(super) fn array<'a>(
    raw: &'a RawValue,
    what: &'static str,
    max: usize,
) -> Result<Vec<&'a RawValue>, StratumError> {
    if !raw.get().starts_with('[') {
        return Err(StratumError::WrongType { what });
    }
    // It is JSON, so that only the limit can fail.
    serde_json::Deserializer::from_str(raw.get())
        .deserialize_seq(Few { max })
        .map_err(|_| StratumError::TooMany { what, max })
}

struct Few {
    max: usize,
}

impl<'de> Visitor<'de> for Few {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a short list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            if values.len() >= self.max {
                return Err(A::Error::custom("too many"));
            }
            values.push(value);
        }
        Ok(values)
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A text of at most `max` bytes, without its escapes.
pub(super) fn text<'a>(
    raw: &'a RawValue,
    what: &'static str,
    max: usize,
) -> Result<Cow<'a, str>, StratumError> {
    let read: Result<Text<'a>, _> = serde_json::from_str(raw.get());
    let text = read.map_err(|_| StratumError::WrongType { what })?.0;
    if text.len() > max {
        return Err(StratumError::TooLong { what, got: text.len(), max });
    }
    Ok(text)
}

/// The digits of a number, as they stand there.
pub(super) fn number<'a>(raw: &'a RawValue, what: &'static str) -> Result<&'a str, StratumError> {
    let text = raw.get();
    if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        Ok(text)
    } else {
        Err(StratumError::WrongType { what })
    }
}

/// A whole number, also as a text: pools write ports either way.
pub(super) fn whole<T: core::str::FromStr>(
    raw: &RawValue,
    what: &'static str,
) -> Result<T, StratumError> {
    let text = raw.get().trim_matches('"');
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(StratumError::WrongType { what });
    }
    text.parse().map_err(|_| StratumError::OutOfRange { what })
}

/// Whether it is `true`.
pub(super) fn truth(raw: &RawValue, what: &'static str) -> Result<bool, StratumError> {
    match raw.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(StratumError::WrongType { what }),
    }
}

/// A number of eight hexadecimal digits, the highest first.
pub(super) fn hex_u32(raw: &RawValue, what: &'static str) -> Result<u32, StratumError> {
    let bytes = <[u8; 4]>::from_hex(&text(raw, what, 64)?);
    bytes.map(u32::from_be_bytes).map_err(|_| StratumError::NotHex { what })
}

/// Any number of bytes up to `max`.
pub(super) fn hex_vec(
    raw: &RawValue,
    what: &'static str,
    max: usize,
) -> Result<Vec<u8>, StratumError> {
    let text = text(raw, what, max.saturating_mul(2))?;
    Vec::from_hex(&text).map_err(|_| StratumError::NotHex { what })
}

/// Exactly 32 bytes.
pub(super) fn hex_hash(raw: &RawValue, what: &'static str) -> Result<[u8; 32], StratumError> {
    <[u8; 32]>::from_hex(&text(raw, what, 64)?).map_err(|_| StratumError::NotHex { what })
}

/// Appends a text with its quotes and escapes.
pub(super) fn write_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "\"\"".into()));
}

/// Appends bytes as a text of hexadecimal digits.
pub(super) fn write_hex(bytes: &[u8], out: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(out, "\"{}\"", bytes.as_hex());
}
