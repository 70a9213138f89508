//! The fast path: equal ticks cost a few integer operations.

use crate::units::{Msat, Quantity, Seconds, UtcSeconds};

use super::tariff::segment::{Exact, Segment};
use super::{Input, MeterError, Role, Session, State};

/// The price that counts from the session's last reading on, and what the last tick cost under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    segment: Segment,
    step: Quantity,
    cost: Exact,
    scale: u64,
    /// The buyer's budget, or all money.
    budget: Msat,
    skew: Seconds,
}

impl Session {
    /// Counts `step` more, stamped `at` by the seller; `now` is the own clock (the seller's two are
    /// the same).
    ///
    /// Exactly [`Self::decide`] and [`Self::apply`] of a [`Input::Meter`] (seller) or an
    /// [`Input::Claim`] without new idle time (buyer) with a total higher by `step`. No allocation;
    /// inside one price a multiplication and a division, and if `step` is the one before a few
    /// additions and comparisons.
    ///
    /// # Errors
    /// As [`Self::decide`]; a refused tick changes nothing.
    pub fn tick(
        &mut self,
        now: UtcSeconds,
        at: UtcSeconds,
        step: Quantity,
    ) -> Result<State, MeterError> {
        if let Some(state) = self.tick_at_pace(now, at, step) {
            return Ok(state);
        }
        let account = &self.record.account;
        let (total, idle) = (account.quantity.add(step)?, account.idle);
        let input = match self.record.role {
            Role::Seller => {
                self.check_stamp(now, at)?;
                Input::Meter { total }
            }
            Role::Buyer { .. } => Input::Claim { at, total, idle },
        };
        let next = self.decide(now, input)?.record;
        self.apply(&next)?;
        self.pace = self.pace_of(at, step);
        Ok(next.state)
    }

    /// Takes the buyer's own total; exactly [`Self::decide`] and [`Self::apply`] of
    /// [`Input::Meter`], and on the seller's side a priced reading as that is.
    ///
    /// # Errors
    /// As [`Self::decide`]; a refused reading changes nothing.
    pub fn measure(&mut self, now: UtcSeconds, total: Quantity) -> Result<State, MeterError> {
        let own = &mut self.record;
        if let (Role::Buyer { .. }, State::Active) = (own.role, own.state)
            && total >= own.account.measured
        {
            own.account.measured = total;
            return Ok(own.state);
        }
        let next = self.decide(now, Input::Meter { total })?.record;
        self.apply(&next)?;
        Ok(next.state)
    }

    /// The tick if the pace covers it, else `None` and no change: the slow path decides, and says
    /// what is wrong.
    #[inline]
    fn tick_at_pace(&mut self, now: UtcSeconds, at: UtcSeconds, step: Quantity) -> Option<State> {
        let pace = self.pace.as_mut()?;
        let account = &self.record.account;
        let total = account.quantity.checked_add(step)?;
        let at_pace = self.record.state == State::Active
            && step > Quantity::ZERO
            && at >= account.at
            && at < pace.segment.until
            && at.to_u64().abs_diff(now.to_u64()) <= pace.skew.to_u64()
            && total <= pace.segment.last
            && total <= self.record.allowed();
        if !at_pace {
            return None;
        }
        if step != pace.step {
            // Only the shortcut changes, and it stays true, whatever becomes of the tick.
            pace.cost = Exact::product(step.to_u64(), pace.segment.rate, pace.scale).ok()?;
            pace.step = step;
        }
        let sum = Exact { msat: account.accrued, rest: account.rest };
        let sum = sum.plus(pace.cost, pace.scale).ok()?;
        if sum.msat > pace.budget {
            return None;
        }
        let account = &mut self.record.account;
        account.accrued = sum.msat;
        account.rest = sum.rest;
        account.at = at;
        account.quiet_since = at;
        account.quantity = total;
        self.record.state = self.record.serving();
        Some(self.record.state)
    }

    /// What the next tick costs if it is like the last; `None` for empty ticks, which may be idle
    /// time, and for ticks that end their price's stretch.
    fn pace_of(&self, at: UtcSeconds, step: Quantity) -> Option<Pace> {
        if step == Quantity::ZERO {
            return None;
        }
        let segment = self.tariff.segment(at, self.record.account.quantity);
        let scale = self.tariff.scale();
        let cost = Exact::product(step.to_u64(), segment.rate, scale).ok()?;
        let budget = match self.record.role {
            Role::Seller => Msat::MAX,
            Role::Buyer { budget, .. } => budget,
        };
        Some(Pace { segment, step, cost, scale, budget, skew: self.skew() })
    }
}
