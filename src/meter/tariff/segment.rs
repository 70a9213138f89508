//! The price at one instant and one total: where it begins to differ, and the exact sum.

use crate::units::{Msat, Overflow, Price, Quantity, Seconds, UtcSeconds};

use super::{Repeat, Tariff, Tier};

/// A stretch of time and quantity in which one price counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::meter) struct Segment {
    /// The first second at which another price may count.
    pub(in crate::meter) until: UtcSeconds,
    /// The largest session total whose last unit still costs this price.
    pub(in crate::meter) last: Quantity,
    /// Price of one unit, in parts of a millisatoshi: the tariff's scale says how many are one.
    pub(in crate::meter) rate: u64,
}

/// An exact amount: whole millisatoshis and a rest in parts of the tariff's scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::meter) struct Exact {
    pub(in crate::meter) msat: Msat,
    pub(in crate::meter) rest: u64,
}

impl Exact {
    /// The exact price of `units` at `rate`.
    pub(in crate::meter) fn product(units: u64, rate: u64, scale: u64) -> Result<Self, Overflow> {
        let too_much = Overflow { unit: "Msat" };
        // Below 2^128 by their types; the 64-bit way is the usual one and four times as fast.
        let (whole, rest) = if let Some(parts) = units.checked_mul(rate) {
            (parts.checked_div(scale), parts.checked_rem(scale))
        } else {
            let parts = u128::from(units).saturating_mul(u128::from(rate));
            let whole = parts.checked_div(u128::from(scale));
            let rest = parts.checked_rem(u128::from(scale));
            (
                whole.and_then(|whole| u64::try_from(whole).ok()),
                rest.and_then(|rest| u64::try_from(rest).ok()),
            )
        };
        let (Some(whole), Some(rest)) = (whole, rest) else { return Err(too_much) };
        Ok(Self { msat: Msat::new(whole).map_err(|_| too_much)?, rest })
    }

    /// The exact sum; both rests are below `scale`, which is at most 2^62.
    pub(in crate::meter) fn plus(self, other: Self, scale: u64) -> Result<Self, Overflow> {
        let msat = self.msat.add(other.msat)?;
        // Cannot wrap: two rests below 2^62.
        let rest = self.rest.wrapping_add(other.rest);
        if rest < scale {
            return Ok(Self { msat, rest });
        }
        Ok(Self { msat: msat.add(ONE_MSAT)?, rest: rest.wrapping_sub(scale) })
    }
}

impl Tariff {
    /// Whether the tariff counts at `at`.
    pub(in crate::meter) fn is_valid_at(&self, at: UtcSeconds) -> bool {
        self.valid_from <= at && at < self.valid_to
    }

    /// Parts of a millisatoshi that make one.
    pub(in crate::meter) const fn scale(&self) -> u64 {
        self.scale
    }

    /// The price of the unit that follows `total`, stamped `at` (which is inside the validity).
    pub(in crate::meter) fn segment(&self, at: UtcSeconds, total: Quantity) -> Segment {
        let (tiers, until) = self.tiers_at(at);
        let mut rate = 0;
        let mut last = Quantity::MAX;
        for tier in tiers {
            if tier.from > total {
                last = tier.from;
                break;
            }
            // Never zero by failure: `scale_of` has seen every price of the tariff pass.
            rate = rate_of(tier.price, self.scale).unwrap_or(u64::MAX);
        }
        Segment { until, last, rate }
    }

    /// The exact price of `step` units after `total`, all stamped `at`.
    ///
    /// Each unit costs the price of its tier, so a step over a tier's border is cut there.
    pub(in crate::meter) fn cost(
        &self,
        at: UtcSeconds,
        total: Quantity,
        step: Quantity,
    ) -> Result<Exact, Overflow> {
        let mut sum = Exact { msat: Msat::ZERO, rest: 0 };
        let end = total.add(step)?;
        let mut total = total;
        // At most MAX_TIERS rounds: each one ends at a higher tier.
        while total < end {
            let segment = self.segment(at, total);
            let edge = segment.last.min(end);
            let units = edge.saturating_sub(total).to_u64();
            sum = sum.plus(Exact::product(units, segment.rate, self.scale)?, self.scale)?;
            total = edge;
        }
        Ok(sum)
    }

    /// The exact price of `idle` seconds without delivery.
    pub(in crate::meter) fn idle_cost(&self, idle: Seconds) -> Result<Exact, Overflow> {
        let rate = rate_of(self.idle, self.scale).ok_or(Overflow { unit: "Price" })?;
        Exact::product(idle.to_u64(), rate, self.scale)
    }

    /// The tiers that count at `at`, and the first second at which others may.
    fn tiers_at(&self, at: UtcSeconds) -> (&[Tier], UtcSeconds) {
        let offset = offset_in(self.repeat, at);
        let mut tiers = self.base.as_slice();
        let mut border = self.repeat.cycle();
        for band in &self.bands {
            if offset < band.from {
                border = band.from;
                break;
            }
            if offset < band.to {
                tiers = band.tiers.as_slice();
                border = band.to;
                break;
            }
        }
        let until = at.saturating_after(border.saturating_sub(offset));
        (tiers, until.min(self.valid_to))
    }
}

/// The seconds since the day or the Monday began.
fn offset_in(repeat: Repeat, at: UtcSeconds) -> Seconds {
    let cycle = repeat.cycle_s();
    let shift = match repeat {
        Repeat::Daily => 0,
        Repeat::Weekly => EPOCH_AFTER_MONDAY_S,
    };
    // The first remainder is below a week, so the sum is far from wrapping.
    let offset = at.to_u64().checked_rem(cycle).unwrap_or(0).wrapping_add(shift);
    Seconds::new(offset.checked_rem(cycle).unwrap_or(0)).unwrap_or(Seconds::MIN)
}

/// The price of one unit over the common denominator; `None` if it leaves 64 bits.
pub(super) fn rate_of(price: Price, scale: u64) -> Option<u64> {
    price.msat().to_msat().checked_mul(scale.checked_div(price.per().get())?)
}

/// 1970-01-01 was a Thursday: three days after a Monday.
const EPOCH_AFTER_MONDAY_S: u64 = 3 * 86_400;
const ONE_MSAT: Msat = match Msat::new(1) {
    Ok(msat) => msat,
    Err(_) => Msat::MAX,
};
