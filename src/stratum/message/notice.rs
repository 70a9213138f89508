//! What a pool sends without being asked.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use serde_json::value::RawValue;

use super::json::{self, Params};
use super::request::print_method;
use super::{Extranonce, Label, RequestId};
use crate::miner::Coinbase;
use crate::stratum::{Difficulty, StratumError};
use crate::wire::PeerText;

/// 12 parameters: `mining.notify` has 9.
const PARAMS_MAX: usize = 12;
/// 20 branches of a coinbase: 2^20 transactions, sixty times what a block holds.
const BRANCHES_MAX: usize = Coinbase::BRANCHES_MAX;
/// 16 KiB a part of a coinbase: some pools pay a few hundred outputs in it.
const PART_MAX: usize = 16_384;
/// A text to show; it is cut when it is shown.
const TEXT_MAX: usize = 4_096;
/// A host's name has at most 253 characters.
const HOST_MAX: usize = 253;

/// What a pool tells a miner, or asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// `mining.set_difficulty`: for every job from the next one on.
    SetDifficulty(Difficulty),
    /// `mining.set_extranonce`: for every job from the next one on.
    SetExtranonce {
        /// What every coinbase begins its extranonce with.
        extranonce1: Extranonce,
        /// How many bytes the miner's part has.
        size: u8,
    },
    /// `mining.set_version_mask` (BIP310): at once.
    SetVersionMask(u32),
    /// `mining.notify`.
    Notify(Notify),
    /// `client.reconnect`: leave, and come back.
    Reconnect {
        /// Where to; `None`: to the same host.
        host: Option<String>,
        /// At which port; `None`: at the same one.
        port: Option<u16>,
        /// After how many seconds.
        wait_s: u32,
    },
    /// `client.show_message`.
    ShowMessage(PeerText),
    /// `client.get_version`, which is owed an answer.
    GetVersion,
    /// `mining.ping`, which is owed an answer.
    Ping,
    /// A method that this release does not know.
    Unknown,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Its name, which a share carries.
    pub job: Label,
    /// The previous block, as its 32 bytes stand in a header.
    pub previous: [u8; 32],
    /// The coinbase before the extranonces.
    pub prefix: Vec<u8>,
    /// The coinbase behind them.
    pub suffix: Vec<u8>,
    /// What the coinbase's hash is paired with, from below.
    pub branches: Vec<[u8; 32]>,
    /// The header's version.
    pub version: u32,
    /// The header's compact target.
    pub bits: u32,
    /// The header's time.
    pub time: u32,
    /// Whether every earlier job is worthless from now on.
    pub clean: bool,
}

impl Notice {
    pub(super) fn read(method: &str, raw: Option<&RawValue>) -> Result<Self, StratumError> {
        let mut params = Params::read(raw, PARAMS_MAX)?;
        Ok(match method {
            "mining.notify" => Self::Notify(Notify::read(&mut params)?),
            "mining.set_difficulty" => {
                let number = json::number(params.required("difficulty")?, "difficulty")?;
                Self::SetDifficulty(number.parse()?)
            }
            "mining.set_extranonce" => {
                let (extranonce1, size) = read_extranonce(&mut params)?;
                Self::SetExtranonce { extranonce1, size }
            }
            "mining.set_version_mask" => Self::SetVersionMask(params.hex_u32("version mask")?),
            "client.reconnect" => {
                let host = params.optional().map(|raw| json::text(raw, "host", HOST_MAX));
                let host = host.transpose()?.map(Cow::into_owned).filter(|host| !host.is_empty());
                let port = params.optional().map(|raw| json::whole(raw, "port")).transpose()?;
                let wait_s = params.optional().map(|raw| json::whole(raw, "wait")).transpose()?;
                let port = port.filter(|port| *port != 0);
                Self::Reconnect { host, port, wait_s: wait_s.unwrap_or(0) }
            }
            "client.show_message" => {
                let text = params.text("text", TEXT_MAX)?;
                Self::ShowMessage(PeerText::new(text.as_bytes().to_vec()).unwrap_or_default())
            }
            "client.get_version" => Self::GetVersion,
            "mining.ping" => Self::Ping,
            _ => Self::Unknown,
        })
    }

    /// Appends the line, its end included. `id`: [`RequestId::null`] but for what is owed an
    /// answer. [`Notice::Unknown`] has no line.
    pub fn print(&self, id: &RequestId, out: &mut String) {
        let mut params = String::new();
        let method = match self {
            Self::SetDifficulty(number) => {
                params = number.to_string();
                "mining.set_difficulty"
            }
            Self::SetExtranonce { extranonce1, size } => {
                json::write_hex(extranonce1.as_bytes(), &mut params);
                let _ = write!(params, ",{size}");
                "mining.set_extranonce"
            }
            Self::SetVersionMask(mask) => {
                let _ = write!(params, "\"{mask:08x}\"");
                "mining.set_version_mask"
            }
            Self::Notify(notify) => {
                notify.write(&notify.job, notify.time, notify.clean, &mut params);
                "mining.notify"
            }
            // No parameters at all: every miner takes that as the same host and port.
            Self::Reconnect { host: None, port: None, wait_s: 0 } => "client.reconnect",
            Self::Reconnect { host, port, wait_s } => {
                json::write_text(host.as_deref().unwrap_or_default(), &mut params);
                let _ = write!(params, ",{},{wait_s}", port.unwrap_or(0));
                "client.reconnect"
            }
            Self::ShowMessage(text) => {
                json::write_text(&text.to_string(), &mut params);
                "client.show_message"
            }
            Self::GetVersion => "client.get_version",
            Self::Ping => "mining.ping",
            Self::Unknown => return,
        };
        print_method(id, method, &params, out);
    }
}

/// Extranonce1 and the size of extranonce2.
pub(super) fn read_extranonce(params: &mut Params<'_>) -> Result<(Extranonce, u8), StratumError> {
    let extranonce1 = Extranonce::read(params.required("extranonce1")?, "extranonce1")?;
    let what = "size of extranonce2";
    let size: u8 = json::whole(params.required(what)?, what)?;
    // Within our own limit, so that a share's extranonce can be kept.
    Extranonce::of_u64(0, size.into()).ok_or(StratumError::OutOfRange { what })?;
    Ok((extranonce1, size))
}

impl Notify {
    fn read(params: &mut Params<'_>) -> Result<Self, StratumError> {
        let job = Label::read(params.required("job")?, "job")?;
        let previous = json::hex_hash(params.required("previous block")?, "previous block")?;
        let prefix = json::hex_vec(params.required("coinbase")?, "coinbase", PART_MAX)?;
        let suffix = json::hex_vec(params.required("coinbase")?, "coinbase", PART_MAX)?;
        let branches = json::array(params.required("branches")?, "branches", BRANCHES_MAX)?;
        let branches = branches.into_iter().map(|raw| json::hex_hash(raw, "branch"));
        Ok(Self {
            job,
            previous: reverse_words(previous),
            prefix,
            suffix,
            branches: branches.collect::<Result<_, _>>()?,
            version: params.hex_u32("version")?,
            bits: params.hex_u32("bits")?,
            time: params.hex_u32("time")?,
            clean: params.optional().map(|raw| json::truth(raw, "clean")).transpose()?
                == Some(true),
        })
    }

    /// Appends the line under another name and time than its own: one template is many miners'
    /// job, again and again, and to some of them a clean one.
    pub(in crate::stratum) fn print_as(
        &self,
        name: &Label,
        time: u32,
        clean: bool,
        out: &mut String,
    ) {
        let mut params = String::new();
        self.write(name, time, clean, &mut params);
        print_method(&RequestId::null(), "mining.notify", &params, out);
    }

    fn write(&self, name: &Label, time: u32, clean: bool, params: &mut String) {
        json::write_text(name.as_untrusted_str(), params);
        for bytes in [&reverse_words(self.previous)[..], &self.prefix, &self.suffix] {
            params.push(',');
            json::write_hex(bytes, params);
        }
        params.push_str(",[");
        for (index, branch) in self.branches.iter().enumerate() {
            if index > 0 {
                params.push(',');
            }
            json::write_hex(branch, params);
        }
        let Self { version, bits, .. } = self;
        let _ = write!(params, "],\"{version:08x}\",\"{bits:08x}\",\"{time:08x}\",{clean}");
    }
}

/// The four bytes of each word in the other order: how the previous block is written.
fn reverse_words(mut bytes: [u8; 32]) -> [u8; 32] {
    for word in bytes.chunks_exact_mut(4) {
        word.reverse();
    }
    bytes
}
