//! Settling: when one channel must, and what a settlement of any number of channels leaves behind.

use alloc::vec::Vec;

use bitcoin::{OutPoint, ScriptBuf};

use super::holds::PayeeHolds;
use super::{Payee, PayeePhase, PayeeRecord, balance};
use crate::keys::Context;
use crate::stream::error::StreamError;
use crate::stream::view::View;
use crate::tx::{ChangeScript, FeeInput, Settled, Settlement, dust_limit};
use crate::units::{Blocks, FeeRate, Height, Msat, Sat};

/// Weight units of a settlement of one channel with a P2TR change and one P2TR payee output.
const ALONE_WEIGHT: u64 = 817;
/// What a payer can make replacing a settlement cost on top, with a child of 1,000 vB on a change
/// that is a wallet's (BIP431, BIP125 rule 3).
const PINNING_WEIGHT: u64 = 4_000;

/// What the payee knows about fees and how it likes to settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettlePolicy {
    /// The fee rate at which a settlement confirms within `lead`.
    pub rate: FeeRate,
    /// How many blocks before the last call settling starts.
    pub lead: Blocks,
    /// The balance from which on it settles whatever the deadline; [`Sat::MAX`] for never.
    pub balance_max: Sat,
}

/// Whether one channel should settle now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a channel that does not settle in time is refunded"]
#[non_exhaustive]
pub enum SettleAdvice {
    /// No voucher, or the output is spent already.
    Nothing,
    /// There is time until this height.
    Wait {
        /// From this tip height on the advice is to settle.
        until: Height,
    },
    /// A settlement should go out now.
    Now {
        /// It must be confirmed below this height.
        by: Height,
        /// What it brings after its fee.
        worth: Sat,
    },
    /// It should, but its fee would take everything: the balance is unsecured credit.
    NotWorthIt {
        /// The balance.
        balance: Sat,
        /// What settling would cost.
        cost: Sat,
    },
}

/// Channels whose best vouchers go into one settlement, each checked once more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct SettlementPlan {
    parts: Vec<Settled>,
}

impl SettlementPlan {
    /// Takes the best voucher of each channel. One verification a channel.
    ///
    /// # Errors
    /// [`StreamError::NothingToSettle`] for a channel without a voucher,
    /// [`StreamError::HoldsOpen`] for one with holds, [`StreamError::WrongPhase`] for one that is
    /// spent or closed.
    pub fn new<'a>(
        context: &Context,
        payees: impl IntoIterator<Item = &'a Payee>,
    ) -> Result<Self, StreamError> {
        let parts =
            payees.into_iter().map(|payee| payee.settled(context)).collect::<Result<_, _>>();
        Ok(Self { parts: parts? })
    }

    /// The settlement to `script` at `rate`, which the payee's key of each channel then signs.
    ///
    /// # Errors
    /// [`StreamError::Tx`]; see [`Settlement::at_rate`].
    pub fn build(
        &self,
        fee_inputs: &[FeeInput],
        script: ScriptBuf,
        rate: FeeRate,
    ) -> Result<Settlement, StreamError> {
        Ok(Settlement::at_rate(self.parts.clone(), fee_inputs, script, rate)?)
    }
}

impl Payee {
    /// Whether this channel should settle now.
    ///
    /// # Errors
    /// [`StreamError::Tx`] if the fee is above all money.
    pub fn settle_advice(
        &self,
        view: &View,
        policy: &SettlePolicy,
    ) -> Result<SettleAdvice, StreamError> {
        let paid = self.record.best.map(|best| best.paid);
        let Some(paid) = paid.filter(|_| self.may_settle()) else {
            return Ok(SettleAdvice::Nothing);
        };
        let Some(by) = self.settle_by() else {
            return Ok(SettleAdvice::Nothing);
        };
        let from = by.saturating_before(policy.lead);
        let balance = balance(paid);
        if view.tip.height < from && balance < policy.balance_max {
            return Ok(SettleAdvice::Wait { until: from });
        }
        let cost = self.settle_cost(policy.rate)?;
        // What holds bring is worth settling for, even where nothing is paid.
        let balance = match self.check_no_holds() {
            Ok(()) => balance,
            Err(_) => self.worth_with_holds().saturating_add(cost),
        };
        Ok(match balance.checked_sub(cost) {
            Some(worth) if worth >= dust_limit(self.channel.output().script()) => {
                SettleAdvice::Now { by, worth }
            }
            _ => SettleAdvice::NotWorthIt { balance, cost },
        })
    }

    /// What settling this channel alone can cost at `rate`: its own weight, and what a payer can
    /// add by pinning where the change is a wallet's. With holds it is the agreed fee.
    ///
    /// # Errors
    /// [`StreamError::Tx`] if that is above all money.
    pub fn settle_cost(&self, rate: FeeRate) -> Result<Sat, StreamError> {
        if self.check_no_holds().is_err() {
            return Ok(self.record.rules.holds.fee);
        }
        let pinning = match self.record.change {
            ChangeScript::Own => 0,
            ChangeScript::Wallet(_) => PINNING_WEIGHT,
        };
        let weight = ALONE_WEIGHT.saturating_add(pinning);
        Ok(rate.ceil_fee(weight).map_err(crate::tx::TxError::from)?)
    }

    /// How much of what counts as paid no settlement at `rate` would bring home.
    ///
    /// # Errors
    /// As [`Self::settle_cost`].
    pub fn unsecured(&self, rate: FeeRate) -> Result<Msat, StreamError> {
        let floor =
            self.settle_cost(rate)?.saturating_add(dust_limit(self.channel.output().script()));
        let paid = self.paid();
        Ok(if balance(paid) < floor { paid } else { Msat::ZERO })
    }

    /// The record after the payee's signature on `settlement` has left, and the record of the
    /// channel that goes on if its change is its own script. Commit both, then sign.
    ///
    /// # Errors
    /// [`StreamError::WrongPhase`], [`StreamError::NothingToSettle`] if this channel is not in it,
    /// [`StreamError::WrongProposal`] if it is there with another voucher.
    pub fn promise(
        &self,
        settlement: &Settlement,
    ) -> Result<(PayeeRecord, Option<PayeeRecord>), StreamError> {
        if !self.may_settle() {
            return Err(self.wrong_phase("settle"));
        }
        self.check_no_holds()?;
        let (index, part) = settlement
            .parts()
            .iter()
            .enumerate()
            .find(|(_, part)| *part.channel() == self.channel)
            .ok_or(StreamError::NothingToSettle)?;
        let (got, want) = (part.voucher().voucher().paid, self.paid());
        if got != want {
            return Err(StreamError::WrongProposal { want, got });
        }
        let change = settlement.transaction().output.get(index);
        let rolls_over =
            self.record.change == ChangeScript::Own && got != self.channel.capacity().to_msat();
        let successor = match change.filter(|_| rolls_over) {
            Some(change) => {
                let txid = settlement.transaction().compute_txid();
                let vout = u32::try_from(index).unwrap_or(u32::MAX);
                let capacity = Sat::new(change.value.to_sat()).map_err(crate::tx::TxError::from)?;
                let rest = Msat::new(u64::from(got.sub_sat())).unwrap_or(Msat::ZERO);
                Some(self.successor(OutPoint { txid, vout }, capacity, rest))
            }
            None => None,
        };
        Ok((self.promised(got), successor))
    }

    /// The record of the outpoint where the channel goes on, unconfirmed and unpaid.
    pub(super) fn successor(&self, outpoint: OutPoint, capacity: Sat, start: Msat) -> PayeeRecord {
        PayeeRecord {
            outpoint,
            capacity,
            start,
            truc: true,
            confirmed: None,
            best: None,
            holds: PayeeHolds::NONE,
            phase: PayeePhase::Open,
            ..self.record.clone()
        }
    }

    /// S6: what any payee signature stated stays the least that the payee relies on.
    pub(super) fn promised(&self, paid: Msat) -> PayeeRecord {
        let stated = self.record.phase.stated().map_or(paid, |before| before.min(paid));
        PayeeRecord { phase: PayeePhase::Promised { stated }, ..self.record.clone() }
    }

    pub(super) const fn may_settle(&self) -> bool {
        // An unconfirmed spend may be replaced: our own by a better fee, and a refund that came
        // into the mempool before our settlement did.
        matches!(
            self.record.phase,
            PayeePhase::Open | PayeePhase::Promised { .. } | PayeePhase::Spent { at: None, .. }
        )
    }

    fn settled(&self, context: &Context) -> Result<Settled, StreamError> {
        if !self.may_settle() {
            return Err(self.wrong_phase("settle"));
        }
        // A channel with holds settles alone, by `Payee::hold_settlement`.
        self.check_no_holds()?;
        let best = self.record.best.ok_or(StreamError::NothingToSettle)?;
        let checked = self.channel.verify(context, best)?;
        Ok(Settled::new(self.channel.clone(), checked)?)
    }
}
