//! What the payee makes of the chain: a pure function of its record and the output's status.

use alloc::vec::Vec;

use bitcoin::Txid;

use super::{Payee, PayeePhase, PayeeRecord};
use crate::stream::channel;
use crate::stream::error::StreamError;
use crate::stream::spend::SpendKind;
use crate::tx::seen::{OutputStatus, Spend, Tip};
use crate::units::{Height, Msat};

/// The record after a look at the chain, and what is new in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Noticed {
    record: PayeeRecord,
    news: Vec<PayeeNews>,
}

impl Noticed {
    /// What is to be stored, if there are news.
    pub const fn record(&self) -> &PayeeRecord {
        &self.record
    }

    /// What changed.
    pub fn news(&self) -> &[PayeeNews] {
        &self.news
    }
}

/// What happened to a payee's channel on the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayeeNews {
    /// The output has confirmed, or moved to another height.
    Confirmed {
        /// The height at which the payer's refund can confirm.
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
    /// A reorg has undone the spend.
    SpendUndone,
    /// The spend is buried: the channel's end.
    Closed {
        /// What the payee got, before fees; what it claims of holds comes to it.
        kept: Msat,
    },
}

impl Payee {
    /// Compares the record with what the chain shows of the output; `None` if it knows none.
    ///
    /// Repeating it without a change on the chain has no effect. After a reorg the same call with
    /// the new status undoes what was undone: the deadline moves, a spend is forgotten.
    ///
    /// # Errors
    /// [`StreamError::WrongScript`], [`StreamError::WrongValue`]: that is another output.
    pub fn notice(&self, status: Option<&OutputStatus>, tip: &Tip) -> Result<Noticed, StreamError> {
        if let Some(status) = status {
            channel::check_status(&self.channel, status)?;
        }
        let mut record = self.record.clone();
        let mut news = Vec::new();
        if let PayeePhase::Closed { .. } = record.phase {
            return Ok(Noticed { record, news });
        }
        let confirmed = status.and_then(|status| status.confirmed);
        if confirmed != record.confirmed {
            record.confirmed = confirmed;
            news.push(match confirmed {
                Some(height) => {
                    PayeeNews::Confirmed { deadline: channel::deadline(height, record.delay) }
                }
                None => PayeeNews::Unconfirmed,
            });
        }
        let spend = status.and_then(|status| status.spent.as_ref());
        match spend.and_then(|spend| Some((spend, SpendKind::of(&self.channel, &spend.tx)?))) {
            Some((spend, kind)) => self.notice_spend(&mut record, &mut news, spend, kind, tip),
            None => Self::notice_unspent(&mut record, &mut news),
        }
        Ok(Noticed { record, news })
    }

    fn notice_spend(
        &self,
        record: &mut PayeeRecord,
        news: &mut Vec<PayeeNews>,
        spend: &Spend,
        kind: SpendKind,
        tip: &Tip,
    ) {
        let (by, at) = (spend.tx.compute_txid(), spend.confirmed);
        let before = record.phase.stated();
        // S6: whoever made it, this spend carries a payee signature, also one of a lost record.
        let stated = match kind {
            SpendKind::Settlement { paid, .. } => Some(before.map_or(paid, |b| b.min(paid))),
            SpendKind::Joint { rest, .. } | SpendKind::HoldSettlement { rest, .. } => {
                Some(before.unwrap_or(rest))
            }
            SpendKind::Refund => before,
        };
        let phase = PayeePhase::Spent { by, at, stated };
        if record.phase != phase {
            record.phase = phase;
            news.push(PayeeNews::Spent { by, kind, at });
        }
        if channel::is_buried(at, tip.height, &record.rules) {
            let kept = match kind {
                SpendKind::Settlement { paid, .. } => paid,
                SpendKind::Joint { .. } | SpendKind::HoldSettlement { .. } => {
                    before.unwrap_or(self.paid())
                }
                SpendKind::Refund => Msat::ZERO,
            };
            record.phase = PayeePhase::Closed { kept };
            news.push(PayeeNews::Closed { kept });
        }
    }

    fn notice_unspent(record: &mut PayeeRecord, news: &mut Vec<PayeeNews>) {
        if let PayeePhase::Spent { stated, .. } = record.phase {
            // S6: what a payee signature stated stays promised after a reorg.
            record.phase = match stated {
                Some(stated) => PayeePhase::Promised { stated },
                None => PayeePhase::Open,
            };
            news.push(PayeeNews::SpendUndone);
        }
    }
}
