//! Answers, and what a line of a pool is.

use alloc::string::{String, ToString};
use core::fmt::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{self, Envelope, Params};
use super::notice::read_extranonce;
use super::{Configure, Extranonce, Label, Notice, RequestId};
use crate::stratum::StratumError;
use crate::wire::PeerText;

/// A text behind a refusal; it is cut when it is shown.
const TEXT_MAX: usize = 4_096;
/// Methods that a subscription lists, each with a name.
const SUBSCRIPTIONS_MAX: usize = 16;

/// A line of a pool.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FromPool<'a> {
    /// It answers.
    Answer(Answer<'a>),
    /// It tells or asks something.
    Notice {
        /// What the answer shall carry, if one is owed.
        id: RequestId,
        /// What it tells.
        notice: Notice,
    },
}

impl<'a> FromPool<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// [`StratumError`]: what is wrong with it. A pool whose lines are wrong is left.
    pub fn parse(line: &'a [u8]) -> Result<Self, StratumError> {
        let envelope = Envelope::read(line)?;
        let id = RequestId::read(envelope.id)?;
        let Some(method) = envelope.method else {
            return Answer::of(id, &envelope).map(Self::Answer);
        };
        let method = json::text(method, "method", 64)?;
        let notice = Notice::read(&method, envelope.params)?;
        Ok(Self::Notice { id, notice })
    }
}

/// What came back for a request: its meaning depends on what was asked.
#[derive(Debug, Clone)]
pub struct Answer<'a> {
    /// What it answers.
    pub id: RequestId,
    result: Option<&'a RawValue>,
    refusal: Option<Refusal>,
}

/// Why a request was refused, as the other side says it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// By which number.
    pub code: Code,
    /// In which words.
    pub text: PeerText,
}

/// The numbers of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// 20: anything else.
    Other,
    /// 21: the job is not known, or was given up.
    JobNotFound,
    /// 22: the share was sent before.
    Duplicate,
    /// 23: the hash is above the job's target.
    LowDifficulty,
    /// 24: the worker is not authorized.
    Unauthorized,
    /// 25: the connection is not subscribed.
    NotSubscribed,
    /// Another pool's number.
    Foreign(i32),
}

impl Code {
    /// The number.
    pub const fn to_i32(self) -> i32 {
        match self {
            Self::Other => 20,
            Self::JobNotFound => 21,
            Self::Duplicate => 22,
            Self::LowDifficulty => 23,
            Self::Unauthorized => 24,
            Self::NotSubscribed => 25,
            Self::Foreign(number) => number,
        }
    }

    /// What the number means.
    #[must_use]
    pub const fn of_i32(number: i32) -> Self {
        match number {
            20 => Self::Other,
            21 => Self::JobNotFound,
            22 => Self::Duplicate,
            23 => Self::LowDifficulty,
            24 => Self::Unauthorized,
            25 => Self::NotSubscribed,
            _ => Self::Foreign(number),
        }
    }
}

/// The answer to `mining.subscribe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    /// By which the session can be resumed.
    pub session: Option<Label>,
    /// What every coinbase begins its extranonce with.
    pub extranonce1: Extranonce,
    /// How many bytes the miner's part has.
    pub size: u8,
}

/// The answer to `mining.configure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Configured {
    /// The bits of the version that may be rolled; `None`: none of them.
    pub version_mask: Option<u32>,
    /// Whether the least difficulty is kept.
    pub minimum_difficulty: bool,
    /// Whether `mining.set_extranonce` may come.
    pub subscribe_extranonce: bool,
}

impl<'a> Answer<'a> {
    pub(super) fn of(id: RequestId, envelope: &Envelope<'a>) -> Result<Self, StratumError> {
        if envelope.result.is_none() && envelope.error.is_none() && id == RequestId::null() {
            return Err(StratumError::NotAMessage);
        }
        let refusal = envelope.error.map(Refusal::read);
        Ok(Self { id, result: envelope.result, refusal })
    }

    /// Nothing, if the answer is `true` or, as some pools have it, anything but `false`.
    ///
    /// # Errors
    /// [`Refusal`]: the other side's.
    pub fn accepted(&self) -> Result<(), Refusal> {
        match (&self.refusal, self.result.map(RawValue::get)) {
            (Some(refusal), _) => Err(refusal.clone()),
            (None, None | Some("false")) => Err(Refusal::without_reason()),
            (None, Some(_)) => Ok(()),
        }
    }

    /// The answer to `mining.subscribe`.
    ///
    /// # Errors
    /// [`StratumError::Refused`], or what is wrong with it.
    pub fn subscribed(&self) -> Result<Subscribed, StratumError> {
        let result = self.result()?;
        let mut params = Params::read(Some(result), 8)?;
        let what = "subscriptions";
        let lists = json::array(params.required(what)?, what, SUBSCRIPTIONS_MAX)?;
        let (extranonce1, size) = read_extranonce(&mut params)?;
        Ok(Subscribed { session: session_of(&lists), extranonce1, size })
    }

    /// The answer to `mining.configure`.
    ///
    /// # Errors
    /// [`StratumError::Refused`], or what is wrong with it.
    pub fn configured(&self) -> Result<Configured, StratumError> {
        let what = "extensions";
        let named: Named<'_> = serde_json::from_str(self.result()?.get())
            .map_err(|_| StratumError::WrongType { what })?;
        let is_true = |raw: Option<&RawValue>| raw.is_some_and(|raw| raw.get() == "true");
        let version_mask = match named.mask {
            Some(mask) if is_true(named.rolling) => Some(json::hex_u32(mask, "version mask")?),
            _ => None,
        };
        Ok(Configured {
            version_mask,
            minimum_difficulty: is_true(named.minimum),
            subscribe_extranonce: is_true(named.extranonce),
        })
    }

    /// The answer to `client.get_version`.
    ///
    /// # Errors
    /// [`StratumError::Refused`], or what is wrong with it.
    pub fn version(&self) -> Result<PeerText, StratumError> {
        let text = json::text(self.result()?, "version", TEXT_MAX)?;
        Ok(PeerText::new(text.as_bytes().to_vec()).unwrap_or_default())
    }

    fn result(&self) -> Result<&'a RawValue, StratumError> {
        let refused = |code: Code| StratumError::Refused { code: code.to_i32() };
        match (&self.refusal, self.result) {
            (Some(refusal), _) => Err(refused(refusal.code)),
            (None, None) => Err(refused(Code::Other)),
            (None, Some(result)) => Ok(result),
        }
    }
}

/// The name behind `mining.notify` in a list of subscriptions: pairs, or one pair.
fn session_of(lists: &[&RawValue]) -> Option<Label> {
    let of_pair = |method: &RawValue, name: &RawValue| {
        let method = json::text(method, "subscription", 64).ok()?;
        if method.eq_ignore_ascii_case("mining.notify") {
            Label::read(name, "session").ok()
        } else {
            None
        }
    };
    if let [method, name] = lists
        && let Some(found) = of_pair(method, name)
    {
        return Some(found);
    }
    lists.iter().find_map(|pair| match json::array(pair, "subscription", 4).ok()?.as_slice() {
        [method, name, ..] => of_pair(method, name),
        _ => None,
    })
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, rename = "version-rolling")]
    rolling: Option<&'a RawValue>,
    #[serde(borrow, rename = "version-rolling.mask")]
    mask: Option<&'a RawValue>,
    #[serde(borrow, rename = "minimum-difficulty")]
    minimum: Option<&'a RawValue>,
    #[serde(borrow, rename = "subscribe-extranonce")]
    extranonce: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct AsObject<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

impl Refusal {
    pub(in crate::stratum) fn without_reason() -> Self {
        Self { code: Code::Other, text: PeerText::default() }
    }

    /// `[code, text, ..]`, `{"code": .., "message": ..}` or a text: pools differ. What cannot be
    /// read is a refusal all the same.
    fn read(raw: &RawValue) -> Self {
        let list = json::array(raw, "error", 8).unwrap_or_default();
        let object: Option<AsObject<'_>> = serde_json::from_str(raw.get()).ok();
        let (code, words) = match (list.as_slice(), object) {
            ([code, words, ..], _) => (Some(*code), Some(*words)),
            ([code], _) => (Some(*code), None),
            (_, Some(AsObject { code, message })) if raw.get().starts_with('{') => (code, message),
            _ => (None, Some(raw)),
        };
        let code = code.and_then(|raw| raw.get().parse().ok()).map_or(Code::Other, Code::of_i32);
        let words = words.and_then(|raw| json::text(raw, "error", TEXT_MAX).ok());
        let words = words.unwrap_or_default().as_bytes().to_vec();
        Self { code, text: PeerText::new(words).unwrap_or_default() }
    }
}

/// Appends the answer `true`.
pub(in crate::stratum) fn print_true(id: &RequestId, out: &mut String) {
    print_result(id, "true", out);
}

/// Appends a refusal.
pub(in crate::stratum) fn print_refusal(id: &RequestId, code: Code, text: &str, out: &mut String) {
    let (id, code) = (id.as_json(), code.to_i32());
    let _ = write!(out, "{{\"id\":{id},\"result\":null,\"error\":[{code},");
    json::write_text(text, out);
    out.push_str(",null]}\n");
}

/// Appends a text as an answer.
pub(in crate::stratum) fn print_words(id: &RequestId, text: &str, out: &mut String) {
    let mut result = String::new();
    json::write_text(text, &mut result);
    print_result(id, &result, out);
}

fn print_result(id: &RequestId, result: &str, out: &mut String) {
    let id = id.as_json();
    let _ = writeln!(out, "{{\"id\":{id},\"result\":{result},\"error\":null}}");
}

impl Subscribed {
    /// Appends the answer.
    pub fn print(&self, id: &RequestId, out: &mut String) {
        let mut session = String::new();
        json::write_text(self.session.as_ref().map_or("", Label::as_untrusted_str), &mut session);
        let mut result = alloc::format!(
            "[[[\"mining.set_difficulty\",{session}],[\"mining.notify\",{session}]],"
        );
        json::write_hex(self.extranonce1.as_bytes(), &mut result);
        let _ = write!(result, ",{}]", self.size);
        print_result(id, &result, out);
    }
}

impl Configured {
    /// Appends the answer to `asked`: one value for each extension that was asked for.
    pub fn print(&self, asked: &Configure, id: &RequestId, out: &mut String) {
        let mut values = alloc::vec::Vec::new();
        if asked.version_rolling.is_some() {
            values.push(match self.version_mask {
                Some(mask) => alloc::format!(
                    "\"version-rolling\":true,\"version-rolling.mask\":\"{mask:08x}\""
                ),
                None => "\"version-rolling\":false".to_string(),
            });
        }
        if asked.minimum_difficulty.is_some() {
            values.push(alloc::format!("\"minimum-difficulty\":{}", self.minimum_difficulty));
        }
        if asked.subscribe_extranonce {
            values.push(alloc::format!("\"subscribe-extranonce\":{}", self.subscribe_extranonce));
        }
        for name in &asked.unknown {
            let mut value = String::new();
            json::write_text(name.as_untrusted_str(), &mut value);
            value.push_str(":false");
            values.push(value);
        }
        print_result(id, &alloc::format!("{{{}}}", values.join(",")), out);
    }
}
