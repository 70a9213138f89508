//! The lines of both directions, and the values in them.

use std::str::FromStr;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{BlockHash, OutPoint, ScriptBuf, Transaction};

use crate::chain::Reason;
use crate::tx::seen::{ChainEvent, OutputStatus, Spend, Tip};
use crate::units::{Height, Sat, UtcSeconds};

/// 16 MB: the hex of a full block.
pub(super) const LINE_MAX: u64 = 16_777_216;
/// Stands for what is not there.
const NONE: &str = "none";

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Tip,
    Rate,
    Output(OutPoint),
    Outputs(ScriptBuf),
    Broadcast(Vec<Transaction>),
    Event,
    Mine(u32),
    Fund(ScriptBuf, Sat),
}

impl Request {
    pub(super) fn to_line(&self) -> String {
        match self {
            Self::Tip => "tip".into(),
            Self::Rate => "rate".into(),
            Self::Output(outpoint) => format!("output {outpoint}"),
            Self::Outputs(script) => format!("outputs {}", script.to_hex_string()),
            Self::Broadcast(txs) => {
                txs.iter().fold("broadcast".into(), |line, tx| line + " " + &serialize_hex(tx))
            }
            Self::Event => "event".into(),
            Self::Mine(blocks) => format!("mine {blocks}"),
            Self::Fund(script, value) => {
                format!("fund {} {}", script.to_hex_string(), value.to_sat())
            }
        }
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let request = match words.next()? {
            "tip" => Self::Tip,
            "rate" => Self::Rate,
            "output" => Self::Output(words.next()?.parse().ok()?),
            "outputs" => Self::Outputs(ScriptBuf::from_hex(words.next()?).ok()?),
            "broadcast" => Self::Broadcast(transactions(&mut words)?),
            "event" => Self::Event,
            "mine" => Self::Mine(words.next()?.parse().ok()?),
            "fund" => {
                let script = ScriptBuf::from_hex(words.next()?).ok()?;
                Self::Fund(script, Sat::new(words.next()?.parse().ok()?).ok()?)
            }
            _ => return None,
        };
        words.next().is_none().then_some(request)
    }
}

/// The words of an answer, from the front.
pub(super) struct Words<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self(line.split_whitespace())
    }

    pub(super) fn word(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    pub(super) fn value<T: FromStr>(&mut self) -> Option<T> {
        self.word()?.parse().ok()
    }

    pub(super) fn height(&mut self) -> Option<Height> {
        Height::new(self.value()?).ok()
    }

    pub(super) fn tip(&mut self) -> Option<Tip> {
        let (height, hash) = (self.height()?, self.value::<BlockHash>()?);
        Some(Tip { height, hash, time: UtcSeconds::new(self.value()?).ok()? })
    }

    pub(super) fn transaction(&mut self) -> Option<Transaction> {
        deserialize_hex(self.word()?).ok()
    }

    pub(super) fn status(&mut self) -> Option<OutputStatus> {
        let value = Sat::new(self.value()?).ok()?;
        let script = match self.word()? {
            NONE => ScriptBuf::new(),
            hex => ScriptBuf::from_hex(hex).ok()?,
        };
        let confirmed = self.maybe_height()?;
        let truc = self.word()? == "3";
        let spent = match self.word()? {
            NONE => None,
            hex => {
                let tx = deserialize_hex(hex).ok()?;
                Some(Spend { tx, confirmed: self.maybe_height()? })
            }
        };
        Some(OutputStatus { value, script, confirmed, truc, spent })
    }

    pub(super) fn event(&mut self) -> Option<ChainEvent> {
        Some(match self.word()? {
            "connected" => {
                let tip = self.tip()?;
                ChainEvent::BlockConnected { tip, txs: transactions(&mut self.0)? }
            }
            "disconnected" => {
                ChainEvent::BlockDisconnected { block: self.tip()?, tip: self.tip()? }
            }
            "seen" => ChainEvent::TxSeen { tx: self.transaction()? },
            _ => return None,
        })
    }

    #[expect(clippy::option_option, reason = "malformed, absent, or a height")]
    fn maybe_height(&mut self) -> Option<Option<Height>> {
        match self.word()? {
            NONE => Some(None),
            word => Some(Some(Height::new(word.parse().ok()?).ok()?)),
        }
    }
}

fn transactions<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Vec<Transaction>> {
    words.map(|hex| deserialize_hex(hex).ok()).collect()
}

/// What is said of transactions that the mempool took.
pub(super) const OK: &str = "ok";

/// Whether the answer is that, and nothing more.
pub(super) fn is_ok(words: &mut Words<'_>) -> bool {
    words.word() == Some(OK) && words.word().is_none()
}

/// Whether the answer says that there is nothing.
pub(super) fn is_none(line: &str) -> bool {
    line == NONE
}

pub(super) fn none() -> String {
    NONE.into()
}

pub(super) fn tip_line(tip: &Tip) -> String {
    format!("{} {} {}", tip.height.to_u32(), tip.hash, tip.time.to_u64())
}

pub(super) fn status_line(status: &OutputStatus) -> String {
    let height =
        |height: Option<Height>| height.map_or_else(none, |height| height.to_u32().to_string());
    let script = if status.script.is_empty() { none() } else { status.script.to_hex_string() };
    let version = if status.truc { "3" } else { "2" };
    let spent = status.spent.as_ref().map_or_else(none, |spend| {
        format!("{} {}", serialize_hex(&spend.tx), height(spend.confirmed))
    });
    let (value, confirmed) = (status.value.to_sat(), height(status.confirmed));
    format!("{value} {script} {confirmed} {version} {spent}")
}

pub(super) fn event_line(event: &ChainEvent) -> String {
    match event {
        ChainEvent::BlockConnected { tip, txs } => {
            let line = format!("connected {}", tip_line(tip));
            txs.iter().fold(line, |line, tx| line + " " + &serialize_hex(tx))
        }
        ChainEvent::BlockDisconnected { block, tip } => {
            format!("disconnected {} {}", tip_line(block), tip_line(tip))
        }
        ChainEvent::TxSeen { tx } => format!("seen {}", serialize_hex(tx)),
    }
}

pub(super) fn refused_line(reason: Reason) -> String {
    format!("refused {reason}")
}

/// The reason in a line of [`refused_line`].
pub(super) fn refused(line: &str) -> Option<Reason> {
    let words = line.strip_prefix("refused ")?;
    Reason::ALL.iter().find(|reason| reason.to_string() == words).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_of_every_class_is_read_as_itself() {
        for reason in Reason::ALL {
            assert_eq!(refused(&refused_line(*reason)), Some(*reason));
        }
        assert_eq!(refused("refused for a new reason"), None);
    }
}
