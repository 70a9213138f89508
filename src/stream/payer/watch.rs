//! What the payer makes of the chain: a pure function of its record and the output's status.

use alloc::vec::Vec;

use bitcoin::Txid;

use super::{Payer, PayerPhase, PayerRecord};
use crate::stream::channel;
use crate::stream::error::StreamError;
use crate::stream::spend::SpendKind;
use crate::tx::seen::{OutputStatus, Tip};
use crate::units::{Height, Msat};

/// The record after a look at the chain, what is new in it, and where the channel goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct PayerNoticed {
    record: PayerRecord,
    news: Vec<PayerNews>,
    successor: Option<PayerRecord>,
}

impl PayerNoticed {
    /// What is to be stored, if there are news.
    pub const fn record(&self) -> &PayerRecord {
        &self.record
    }

    /// What changed.
    pub fn news(&self) -> &[PayerNews] {
        &self.news
    }

    /// The record of the outpoint where the channel goes on, if this spend is a rollover or a
    /// top-up; durable before anything is signed there.
    ///
    /// It is told again whenever the spend moves. A record of that outpoint which exists already
    /// (of an earlier look, or of a top-up that this payer negotiated) is kept: it knows more. It
    /// comes as [`PayerPhase::Unsure`] if this payer cannot know that it signed nothing there.
    pub const fn successor(&self) -> Option<&PayerRecord> {
        self.successor.as_ref()
    }
}

/// What happened to a payer's channel on the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayerNews {
    /// The output has confirmed, or moved to another height.
    Confirmed {
        /// The height at which the refund can confirm.
        deadline: Height,
    },
    /// The output is not in a block any more.
    Unconfirmed,
    /// The output is spent.
    Spent {
        /// The spending transaction.
        by: Txid,
        /// How.
        kind: SpendKind,
        /// Its height, if it has confirmed.
        at: Option<Height>,
    },
    /// The payee settled more than this payer knows to have signed: it lost its memory, or its
    /// key is in other hands.
    SettledAboveSigned {
        /// What the settlement states.
        paid: Msat,
        /// What this payer knew of.
        signed: Msat,
    },
    /// A reorg has undone the spend.
    SpendUndone,
    /// The spend is buried: the channel's end.
    Closed,
}

impl Payer {
    /// Compares the record with what the chain shows of the output; `None` if it knows none.
    ///
    /// Repeating it without a change on the chain has no effect.
    ///
    /// # Errors
    /// [`StreamError::WrongScript`], [`StreamError::WrongValue`]: that is another output.
    pub fn notice(
        &self,
        status: Option<&OutputStatus>,
        tip: &Tip,
    ) -> Result<PayerNoticed, StreamError> {
        if let Some(status) = status {
            channel::check_status(&self.channel, status)?;
        }
        let mut record = self.record.clone();
        let mut news = Vec::new();
        if record.phase == PayerPhase::Closed {
            return Ok(PayerNoticed { record, news, successor: None });
        }
        let confirmed = status.and_then(|status| status.confirmed);
        if confirmed != record.confirmed {
            record.confirmed = confirmed;
            news.push(match confirmed {
                Some(height) => {
                    PayerNews::Confirmed { deadline: channel::deadline(height, record.delay) }
                }
                None => PayerNews::Unconfirmed,
            });
        }
        let spend = status.and_then(|status| status.spent.as_ref());
        let spend = spend.and_then(|s| Some((s, SpendKind::of(&self.channel, &s.tx)?)));
        let Some((spend, kind)) = spend else {
            if let PayerPhase::Spent { .. } = record.phase {
                // What was signed before the spend may have been more than this record knows.
                record.phase = PayerPhase::Unsure;
                news.push(PayerNews::SpendUndone);
            }
            return Ok(PayerNoticed { record, news, successor: None });
        };
        let (by, at) = (spend.tx.compute_txid(), spend.confirmed);
        let mut successor = None;
        if record.phase != (PayerPhase::Spent { by, at }) {
            record.phase = PayerPhase::Spent { by, at };
            news.push(PayerNews::Spent { by, kind, at });
            successor = kind.successor().map(|(outpoint, capacity, start)| {
                let phase = successor_phase(kind, self.record.phase);
                self.record.successor(outpoint, capacity, start, phase)
            });
        }
        if let SpendKind::Settlement { paid, .. } = kind
            && paid > record.signed
        {
            news.push(PayerNews::SettledAboveSigned { paid, signed: record.signed });
            record.signed = paid.min(self.channel.capacity().to_msat());
        }
        if channel::is_buried(at, tip.height, &record.rules) {
            record.phase = PayerPhase::Closed;
            news.push(PayerNews::Closed);
        }
        Ok(PayerNoticed { record, news, successor })
    }
}

/// S7: nothing was signed on a rollover that this payer sees first. After a restart it may have
/// been seen and paid on before; and what a top-up carried is in the record that negotiated it.
const fn successor_phase(kind: SpendKind, before: PayerPhase) -> PayerPhase {
    match (kind, before) {
        (SpendKind::Settlement { .. } | SpendKind::HoldSettlement { .. }, PayerPhase::Unsure)
        | (SpendKind::Joint { .. }, _) => PayerPhase::Unsure,
        _ => PayerPhase::Open,
    }
}
