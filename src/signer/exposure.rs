//! What one outpoint can cost its payer, as a function of the height: small however many vouchers.

use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::tx::hold::Held;
use crate::units::{Height, Msat};

/// The largest cost of any voucher with holds that was ever signed on one outpoint, at each height.
///
/// A voucher costs what it pays, the payer's part of its fee ([`Held::payer_fee`]), and every hold
/// in it whose expiry has not passed; a hold that was released since still counts, because the old
/// voucher stays valid. The most of all vouchers is a falling staircase over the heights:
///
/// ```text
/// cost |------.
///      |      '---------.
///      |                '-------------------  floor
///      '------|---------|------------------> height
///         expiry 1   expiry 2
/// ```
///
/// At most [`Exposure::STEPS_MAX`] steps are kept; beyond that the two that differ least become the
/// higher one, so that the answer is never too small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    floor: Msat,
    /// Until which height (itself included) the cost is how much; heights rise, costs fall.
    steps: Vec<(Height, Msat)>,
}

impl Exposure {
    /// 16: a record of them has 192 bytes, and a session seldom has more expiries open at once.
    pub const STEPS_MAX: usize = 16;
    /// Nothing was signed.
    pub const NONE: Self = Self { floor: Msat::ZERO, steps: Vec::new() };

    /// The exposure with this floor and these steps, as [`Self::floor`] and [`Self::steps`] gave
    /// them; `None` if they are too many, or not a falling staircase above the floor.
    #[must_use]
    pub fn from_parts(floor: Msat, steps: Vec<(Height, Msat)>) -> Option<Self> {
        let falls = |pair: &[(Height, Msat)]| match pair {
            [(until, cost), (later, less)] => until < later && cost > less,
            _ => true,
        };
        let above = steps.last().is_none_or(|(_, cost)| *cost > floor);
        let kept = steps.len() <= Self::STEPS_MAX && steps.windows(2).all(falls) && above;
        kept.then_some(Self { floor, steps })
    }

    /// What stays at risk when every expiry has passed.
    #[must_use]
    pub const fn floor(&self) -> Msat {
        self.floor
    }

    /// Until which height the cost is how much.
    #[must_use]
    pub fn steps(&self) -> &[(Height, Msat)] {
        &self.steps
    }

    /// The cost while the tip is at `height`: a hold counts up to its expiry, that block included.
    #[must_use]
    pub fn at(&self, height: Height) -> Msat {
        let step = self.steps.iter().find(|(until, _)| *until >= height);
        step.map_or(self.floor, |(_, cost)| (*cost).max(self.floor))
    }

    /// The same after a voucher of the state `held` was signed too.
    #[must_use]
    pub fn with(&self, held: &Held) -> Self {
        let base = held.paid().saturating_add(held.payer_fee().to_msat());
        let mut holds: Vec<(Height, Msat)> =
            held.holds().iter().map(|(hold, _)| (hold.expiry, hold.amount.to_msat())).collect();
        // From the last expiry back: what is added there counts at every earlier height too.
        holds.sort_unstable_by_key(|(until, _)| Reverse(*until));
        let mut cost = base;
        let staircase = holds.into_iter().map(|(until, amount)| {
            cost = cost.saturating_add(amount);
            (until, cost)
        });
        self.joined(base, staircase.collect())
    }

    /// The larger of both at every height.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        self.joined(other.floor, other.steps.clone())
    }

    fn joined(&self, floor: Msat, more: Vec<(Height, Msat)>) -> Self {
        let floor = self.floor.max(floor);
        let mut all = more;
        all.extend_from_slice(&self.steps);
        // The last expiry first, and of equal ones the dearest.
        all.sort_unstable_by(|a, b| b.cmp(a));
        let mut steps: Vec<(Height, Msat)> = Vec::new();
        let mut most = floor;
        for (until, cost) in all {
            if cost > most {
                most = cost;
                steps.push((until, cost));
            }
        }
        steps.reverse();
        let mut joined = Self { floor, steps };
        while joined.steps.len() > Self::STEPS_MAX {
            joined.merge_nearest();
        }
        joined
    }

    /// Makes one of the two neighbours that differ least: the higher cost until the later height.
    fn merge_nearest(&mut self) {
        let gaps = self.steps.windows(2).map(|pair| match pair {
            [(_, cost), (_, less)] => cost.saturating_sub(*less),
            _ => Msat::MAX,
        });
        let Some((index, _)) = gaps.enumerate().min_by_key(|(_, gap)| *gap) else {
            return;
        };
        let (_, cost) = self.steps.remove(index);
        if let Some((_, less)) = self.steps.get_mut(index) {
            *less = cost;
        }
    }
}
