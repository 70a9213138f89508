//! Fees against a deadline, and what a replacement must pay.

use bitcoin::{Amount, Transaction, Weight};

use super::Policy;
use crate::units::{Blocks, FeeRate, Height, Sat};

/// Twelve times a half more is 129 times the chain's own rate: beyond that something else than the
/// fee keeps it out.
const STEPS_MAX: u32 = 12;

/// How hard a transaction presses: how often its rate has risen by a half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pressure {
    steps: u32,
}

impl Pressure {
    pub(super) const NONE: Self = Self { steps: 0 };

    /// `last`: the last good block of it. What is late presses on: nobody has won yet.
    pub(super) fn of(tip: Height, last: Height, policy: &Policy) -> Self {
        let (left, past) = (last.saturating_since(tip), tip.saturating_since(last));
        let missing = policy.lead.to_u32().saturating_sub(left.to_u32());
        Self { steps: missing.saturating_add(past.to_u32()).min(STEPS_MAX) }
    }

    /// Whether it has no time at all to wait for a cheaper one.
    pub(super) const fn is_high(self) -> bool {
        self.steps > 0
    }

    /// W4: the chain's rate, and for each step half as much more.
    pub(super) fn rate(self, chain: FeeRate, policy: &Policy) -> FeeRate {
        let mut rate = chain.max(policy.relay_floor).min(policy.rate_max);
        for _ in 0..self.steps {
            let now = rate.to_sat_per_kvb();
            let more = now.checked_div(2).unwrap_or(0).max(1);
            rate = FeeRate::new(now.saturating_add(more)).unwrap_or(FeeRate::MAX);
            rate = rate.min(policy.rate_max);
        }
        rate
    }
}

/// A transaction in the mempool that spends what we would spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rival {
    /// None if it spends coins of unknown value: it may pay anything.
    fee: Option<Sat>,
    weight: Weight,
}

impl Rival {
    /// `value`: of all that it spends, if that is known.
    pub(super) fn new(tx: &Transaction, value: Option<Sat>) -> Self {
        let out: Amount = tx.output.iter().map(|output| output.value).sum();
        let out = Sat::new(out.to_sat()).unwrap_or(Sat::MAX);
        Self { fee: value.map(|value| value.saturating_sub(out)), weight: tx.weight() }
    }

    /// One that pays `fee`.
    pub(super) const fn paying(fee: Sat, weight: Weight) -> Self {
        Self { fee: Some(fee), weight }
    }

    pub(super) const fn is_known(&self) -> bool {
        self.fee.is_some()
    }

    /// It and its child, as blocks judge them.
    pub(super) fn with(self, child: Option<Self>) -> Self {
        child.map_or(self, |child| Self {
            fee: self.fee.zip(child.fee).map(|(own, more)| own.saturating_add(more)),
            weight: self.weight.checked_add(child.weight).unwrap_or(Weight::MAX),
        })
    }

    /// What a child of `weight` must pay so that both pay `rate`; for both, where it is not known
    /// what this one pays.
    pub(super) fn lacks(&self, weight: Weight, rate: FeeRate) -> Sat {
        let both = self.weight.checked_add(weight).unwrap_or(Weight::MAX);
        fee(rate, both).saturating_sub(self.fee.unwrap_or(Sat::ZERO))
    }

    /// Whether it pays more by size than another one.
    pub(super) fn is_above(&self, other: &Self) -> bool {
        let by = |fee: Option<Sat>, weight: Weight| {
            u128::from(fee.map_or(0, Sat::to_sat)).saturating_mul(u128::from(weight.to_wu()))
        };
        by(self.fee, other.weight) > by(other.fee, self.weight)
    }

    /// W5: whether it pays `rate` already, or nearly, so that replacing it would be for nothing.
    /// Where time is short there is no nearly; nor is what nobody knows enough then.
    pub(super) fn pays(&self, rate: FeeRate, pressure: Pressure) -> bool {
        let Some(fee) = self.fee else { return !pressure.is_high() };
        let parts: u128 = if pressure.is_high() { 4 } else { 5 };
        let fee = u128::from(fee.to_sat()).saturating_mul(4_000).saturating_mul(parts);
        let want =
            u128::from(rate.to_sat_per_kvb()).saturating_mul(u128::from(self.weight.to_wu()));
        // All of it, or four fifths.
        fee >= want.saturating_mul(4)
    }

    /// W5: the least fee of a replacement of `weight`: more in all, by the relay's floor for its
    /// own size, and more by size. None where what it pays is not known.
    pub(super) fn least(&self, weight: Weight, policy: &Policy) -> Option<Sat> {
        let paid = self.fee?;
        let own = fee(policy.relay_floor, weight);
        let own_weight = u128::from(weight.to_wu());
        let by_size = u128::from(paid.to_sat()).saturating_mul(own_weight);
        let by_size = by_size.div_euclid(u128::from(self.weight.to_wu().max(1))).saturating_add(1);
        let by_size = u64::try_from(by_size).ok().and_then(|sat| Sat::new(sat).ok());
        Some(paid.saturating_add(own).max(by_size.unwrap_or(Sat::MAX)))
    }

    /// The same, or `most` where what it pays is not known and time is short: a bid that is too low
    /// is refused, and nothing says how much more is asked for. With time left it is the relay's
    /// floor, as if it were not there.
    pub(super) fn bid(
        &self,
        weight: Weight,
        most: Sat,
        pressure: Pressure,
        policy: &Policy,
    ) -> Sat {
        let floor = fee(policy.relay_floor, weight);
        let blind = if pressure.is_high() { most.max(floor) } else { floor };
        self.least(weight, policy).unwrap_or(blind)
    }
}

/// The fee, of whole virtual bytes as nodes count them; all money where it is above that.
pub(super) fn fee(rate: FeeRate, weight: Weight) -> Sat {
    rate.ceil_fee(weight.to_vbytes_ceil().saturating_mul(4)).unwrap_or(Sat::MAX)
}

/// The next block.
pub(super) fn next(height: Height) -> Height {
    height.saturating_after(Blocks::new(1).unwrap_or(Blocks::MIN))
}

/// The block before.
pub(super) fn before(height: Height) -> Height {
    height.saturating_before(Blocks::new(1).unwrap_or(Blocks::MIN))
}
