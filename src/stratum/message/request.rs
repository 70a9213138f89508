//! What a miner sends.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{self, Envelope, Params};
use super::{Answer, Extranonce, Label, RequestId, USER_MAX};
use crate::stratum::{Difficulty, DifficultyError, StratumError};
use crate::units::Target;
use crate::wire::PeerText;

/// 8 parameters: the longest list has 6.
const PARAMS_MAX: usize = 8;
/// 8 extensions of BIP310: four are defined.
const EXTENSIONS_MAX: usize = 8;
/// An agent's name and version.
const AGENT_MAX: usize = 256;
/// A password, which only ever holds a wish for a difficulty.
const PASSWORD_MAX: usize = 256;

/// A line of a miner.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FromMiner<'a> {
    /// It asks for something.
    Request {
        /// What the answer shall carry.
        id: RequestId,
        /// What it asks.
        request: Request,
    },
    /// It asks for something in a form that nobody understands; it is owed an answer still.
    Malformed {
        /// What the answer shall carry.
        id: RequestId,
        /// What is wrong.
        error: StratumError,
    },
    /// It answers.
    Answer(Answer<'a>),
}

/// What a miner asks of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// `mining.configure` (BIP310).
    Configure(Configure),
    /// `mining.subscribe`.
    Subscribe {
        /// The miner's name for itself.
        agent: PeerText,
        /// The session that it would like to go on with.
        session: Option<Label>,
    },
    /// `mining.extranonce.subscribe`: it can follow `mining.set_extranonce`.
    ExtranonceSubscribe,
    /// `mining.authorize`.
    Authorize {
        /// Who is to be paid; see [`WorkerName`](crate::stratum::WorkerName).
        user: String,
        /// Ignored, but for a wish of the form `d=0.01`.
        password: String,
    },
    /// `mining.submit`.
    Submit(Submit),
    /// `mining.suggest_difficulty`.
    SuggestDifficulty(Difficulty),
    /// `mining.suggest_target`.
    SuggestTarget(Target),
    /// `mining.ping`.
    Ping,
    /// A method that this release does not know.
    Unknown,
}

/// The extensions that a miner asks for (BIP310).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Configure {
    /// `version-rolling`.
    pub version_rolling: Option<VersionRolling>,
    /// `minimum-difficulty`: shares below it are not worth sending. The easiest there is stands for
    /// zero, which takes an earlier one back.
    pub minimum_difficulty: Option<Difficulty>,
    /// `subscribe-extranonce`.
    pub subscribe_extranonce: bool,
    /// Extensions that this release does not know: they are answered by `false`.
    pub unknown: Vec<Label>,
}

/// Which bits of the version a miner would roll, and how few are of no use to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRolling {
    /// The bits.
    pub mask: u32,
    /// The fewest.
    pub min_bits: u8,
}

/// A share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submit {
    /// The name that was authorized.
    pub user: String,
    /// The job's name.
    pub job: Label,
    /// The miner's part of the coinbase.
    pub extranonce2: Extranonce,
    /// The header's time.
    pub time: u32,
    /// The header's nonce.
    pub nonce: u32,
    /// The bits of the version under the mask, if it rolls them.
    pub version_bits: Option<u32>,
}

impl<'a> FromMiner<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// If it is no message at all: [`StratumError::NotUtf8`], [`StratumError::NotJson`],
    /// [`StratumError::NotAMessage`], or what is wrong with its id.
    pub fn parse(line: &'a [u8]) -> Result<Self, StratumError> {
        let envelope = Envelope::read(line)?;
        let id = RequestId::read(envelope.id)?;
        let Some(method) = envelope.method else {
            return Answer::of(id, &envelope).map(Self::Answer);
        };
        let request = json::text(method, "method", 64);
        let request = request.and_then(|method| Request::read(&method, envelope.params));
        Ok(match request {
            Ok(request) => Self::Request { id, request },
            Err(error) => Self::Malformed { id, error },
        })
    }
}

impl Request {
    fn read(method: &str, raw: Option<&RawValue>) -> Result<Self, StratumError> {
        let of_list = || Params::read(raw, PARAMS_MAX);
        Ok(match method {
            "mining.submit" => Self::Submit(Submit::read(&mut of_list()?)?),
            "mining.configure" => Self::Configure(Configure::read(&mut of_list()?)?),
            "mining.subscribe" => {
                let mut params = of_list()?;
                let agent = params.optional().map(|raw| json::text(raw, "agent", AGENT_MAX));
                let agent = agent.transpose()?.unwrap_or_default();
                let agent = PeerText::new(agent.as_bytes().to_vec());
                let session = params.optional().map(|raw| Label::read(raw, "session"));
                Self::Subscribe { agent: agent.unwrap_or_default(), session: session.transpose()? }
            }
            "mining.extranonce.subscribe" => Self::ExtranonceSubscribe,
            "mining.authorize" => {
                let mut params = of_list()?;
                let user = params.text("user", USER_MAX)?.into_owned();
                let password = params.optional();
                let password = password.map(|raw| json::text(raw, "password", PASSWORD_MAX));
                let password = password.transpose()?.map(Cow::into_owned).unwrap_or_default();
                Self::Authorize { user, password }
            }
            "mining.suggest_difficulty" => {
                let number = of_list()?.required("difficulty")?;
                Self::SuggestDifficulty(json::number(number, "difficulty")?.parse()?)
            }
            "mining.suggest_target" => {
                let text = of_list()?.text("target", 64)?;
                let target = text.parse();
                Self::SuggestTarget(
                    target.map_err(|_| StratumError::OutOfRange { what: "target" })?,
                )
            }
            "mining.ping" => Self::Ping,
            _ => Self::Unknown,
        })
    }

    /// Appends the line, its end included. [`Request::Unknown`] has none.
    pub fn print(&self, id: &RequestId, out: &mut String) {
        let (method, params) = match self {
            Self::Configure(configure) => ("mining.configure", configure.params()),
            Self::Subscribe { agent, session } => {
                let mut params = String::new();
                json::write_text(&agent.to_string(), &mut params);
                if let Some(session) = session {
                    params.push(',');
                    json::write_text(session.as_untrusted_str(), &mut params);
                }
                ("mining.subscribe", params)
            }
            Self::ExtranonceSubscribe => ("mining.extranonce.subscribe", String::new()),
            Self::Authorize { user, password } => {
                let mut params = String::new();
                json::write_text(user, &mut params);
                params.push(',');
                json::write_text(password, &mut params);
                ("mining.authorize", params)
            }
            Self::Submit(submit) => ("mining.submit", submit.params()),
            Self::SuggestDifficulty(number) => ("mining.suggest_difficulty", number.to_string()),
            Self::SuggestTarget(target) => {
                ("mining.suggest_target", alloc::format!("\"{target}\""))
            }
            Self::Ping => ("mining.ping", String::new()),
            Self::Unknown => return,
        };
        print_method(id, method, &params, out);
    }
}

/// Appends a message with a method.
pub(super) fn print_method(id: &RequestId, method: &str, params: &str, out: &mut String) {
    let id = id.as_json();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{{\"id\":{id},\"method\":\"{method}\",\"params\":[{params}]}}");
}

impl Submit {
    fn read(params: &mut Params<'_>) -> Result<Self, StratumError> {
        Ok(Self {
            user: params.text("user", USER_MAX)?.into_owned(),
            job: Label::read(params.required("job")?, "job")?,
            extranonce2: Extranonce::read(params.required("extranonce2")?, "extranonce2")?,
            time: params.hex_u32("time")?,
            nonce: params.hex_u32("nonce")?,
            version_bits: match params.optional() {
                Some(raw) => Some(json::hex_u32(raw, "version bits")?),
                None => None,
            },
        })
    }

    fn params(&self) -> String {
        let mut params = String::with_capacity(160);
        json::write_text(&self.user, &mut params);
        params.push(',');
        json::write_text(self.job.as_untrusted_str(), &mut params);
        params.push(',');
        json::write_hex(self.extranonce2.as_bytes(), &mut params);
        let _ = write!(params, ",\"{:08x}\",\"{:08x}\"", self.time, self.nonce);
        if let Some(bits) = self.version_bits {
            let _ = write!(params, ",\"{bits:08x}\"");
        }
        params
    }
}

#[derive(Deserialize, Default)]
struct Named<'a> {
    #[serde(borrow, rename = "version-rolling.mask")]
    mask: Option<&'a RawValue>,
    #[serde(borrow, rename = "version-rolling.min-bit-count")]
    min_bits: Option<&'a RawValue>,
    #[serde(borrow, rename = "minimum-difficulty.value")]
    minimum: Option<&'a RawValue>,
}

/// A least difficulty, where BIP310 means none by zero: what every share meets is the same.
fn least_of(number: &str) -> Result<Difficulty, DifficultyError> {
    match number.parse() {
        Err(DifficultyError::Zero | DifficultyError::TooEasy) => {
            Ok(Difficulty::not_easier_than(Target::MAX))
        }
        least => least,
    }
}

impl Configure {
    fn read(params: &mut Params<'_>) -> Result<Self, StratumError> {
        let names = json::array(params.required("extensions")?, "extensions", EXTENSIONS_MAX)?;
        let named: Named<'_> = match params.optional() {
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|_| StratumError::WrongType { what: "extension parameters" })?,
            None => Named::default(),
        };
        let mut configure = Self::default();
        for raw in names {
            let name = json::text(raw, "extension", 64)?;
            match name.as_ref() {
                "version-rolling" => {
                    // Both are optional: all bits, however few are left.
                    let (mask, bits) = ("version mask", "least number of version bits");
                    let mask = named.mask.map(|raw| json::hex_u32(raw, mask)).transpose()?;
                    let min_bits = named.min_bits.map(|raw| json::whole(raw, bits)).transpose()?;
                    let (mask, min_bits) = (mask.unwrap_or(u32::MAX), min_bits.unwrap_or(0));
                    configure.version_rolling = Some(VersionRolling { mask, min_bits });
                }
                "minimum-difficulty" => {
                    let what = "minimum difficulty";
                    let raw = named.minimum.ok_or(StratumError::Missing { what })?;
                    configure.minimum_difficulty = Some(least_of(json::number(raw, what)?)?);
                }
                "subscribe-extranonce" => configure.subscribe_extranonce = true,
                other => configure.unknown.push(Label(other.to_owned())),
            }
        }
        Ok(configure)
    }

    fn params(&self) -> String {
        let (mut names, mut named) = (Vec::new(), Vec::new());
        if let Some(VersionRolling { mask, min_bits }) = self.version_rolling {
            names.push("\"version-rolling\"".to_string());
            named.push(alloc::format!("\"version-rolling.mask\":\"{mask:08x}\""));
            named.push(alloc::format!("\"version-rolling.min-bit-count\":{min_bits}"));
        }
        if let Some(minimum) = self.minimum_difficulty {
            names.push("\"minimum-difficulty\"".to_string());
            named.push(alloc::format!("\"minimum-difficulty.value\":{minimum}"));
        }
        if self.subscribe_extranonce {
            names.push("\"subscribe-extranonce\"".to_string());
        }
        for name in &self.unknown {
            let mut text = String::new();
            json::write_text(name.as_untrusted_str(), &mut text);
            names.push(text);
        }
        alloc::format!("[{}],{{{}}}", names.join(","), named.join(","))
    }
}
