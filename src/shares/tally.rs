//! What a worker did, and how likely it is.

use super::{Good, Refused};
use crate::units::{UtcSeconds, Work};

/// Counts of one worker: what was found, what was refused, how fast, how lucky.
///
/// Nothing here decides about money. It lives as long as its owner wants, over tips and desks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    counts: Counts,
    work: Work,
    /// Millionths of blocks expected under earlier network targets.
    expected: u128,
    /// Work under the present one, and that one.
    lately: Work,
    network_work: Work,
    speed: Speed,
}

/// How many shares came to which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Counted; blocks are among them.
    pub good: u64,
    /// Met the network's target.
    pub blocks: u64,
    /// Too late.
    pub stale: u64,
    /// Counted before.
    pub duplicate: u64,
    /// Above the assigned target.
    pub low: u64,
    /// Above the budget.
    pub over_budget: u64,
    /// Not of a job that the worker has, in what it may vary: no honest worker sends them.
    pub foreign: u64,
}

impl Tally {
    /// Nothing yet; the hash rate counts from here.
    #[must_use]
    pub fn new(now: UtcSeconds) -> Self {
        Self {
            counts: Counts::default(),
            work: Work::ZERO,
            expected: 0,
            lately: Work::ZERO,
            network_work: Work::ZERO,
            speed: Speed { began: now, newest: Speed::number(now), spans: [0; SPANS] },
        }
    }

    /// Counts the answer to a share.
    pub fn count(&mut self, now: UtcSeconds, answer: &Result<Good, Refused>) {
        let counts = &mut self.counts;
        let count = match answer {
            Ok(good) => {
                if good.is_block() {
                    counts.blocks = counts.blocks.saturating_add(1);
                }
                self.found(now, good);
                &mut self.counts.good
            }
            Err(Refused::Stale { .. }) => &mut counts.stale,
            Err(Refused::Duplicate { .. }) => &mut counts.duplicate,
            Err(Refused::Low { .. }) => &mut counts.low,
            Err(Refused::OverBudget { .. }) => &mut counts.over_budget,
            Err(
                Refused::UnknownJob { .. }
                | Refused::BadVersion { .. }
                | Refused::BadTime { .. }
                | Refused::NotYourSpace { .. },
            ) => &mut counts.foreign,
        };
        *count = count.saturating_add(1);
    }

    fn found(&mut self, now: UtcSeconds, good: &Good) {
        if good.network_work() != self.network_work {
            self.expected = self.expected_millionths();
            (self.lately, self.network_work) = (Work::ZERO, good.network_work());
        }
        self.work = self.work.saturating_add(good.work());
        self.lately = self.lately.saturating_add(good.work());
        self.speed.add(now, good.work());
    }

    /// The shares by their ends.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The work of all good shares.
    #[must_use]
    pub const fn work(&self) -> Work {
        self.work
    }

    /// Hashes a second, by the work of good shares in the last ten minutes, rounded down.
    ///
    /// After n shares its error is one part in the root of n.
    #[must_use]
    pub fn hash_rate(&self, now: UtcSeconds) -> u128 {
        self.speed.hashes_per_second(now)
    }

    /// Millionths of blocks that this work should have found: work / network work, summed, rounded
    /// down once for each target that the network had.
    #[must_use]
    pub fn expected_millionths(&self) -> u128 {
        let (work, network) = (self.lately.hashes(), self.network_work.hashes().max(1));
        let whole = work.div_euclid(network).saturating_mul(MILLION);
        let part = work.rem_euclid(network).saturating_mul(MILLION).div_euclid(network);
        self.expected.saturating_add(whole).saturating_add(part)
    }

    /// Whether an honest worker would have found as few blocks with a chance of less than one in a
    /// million.
    ///
    /// It is a reason to look closer, and no proof: of a million honest workers one is this
    /// unlucky, and one that withholds every second block shows it only after some hundred blocks'
    /// worth of work. Whoever pays per share bears that risk.
    ///
    /// Found blocks are Poisson distributed about the expected number; the bounds are in
    /// a table up to 15 blocks, above by Chernoff's P(X <= m - t) <= exp(-t^2 / 2m).
    #[must_use]
    pub fn suspicion(&self) -> bool {
        // Beyond 2^60 millionths no product below would fit; nobody expects as many blocks.
        let mean = self.expected_millionths().min(1 << 60);
        let found = usize::try_from(self.counts.blocks).unwrap_or(usize::MAX);
        if let Some(least) = LEAST_MEANS.get(found) {
            return mean >= u128::from(*least).saturating_mul(1_000);
        }
        let found = u128::from(self.counts.blocks).saturating_mul(MILLION);
        let short = mean.saturating_sub(found);
        short > 0
            && short.saturating_mul(short) >= mean.saturating_mul(2).saturating_mul(LN_OF_MILLION)
    }
}

const MILLION: u128 = 1_000_000;
/// Millionths of the natural logarithm of a million, rounded up.
const LN_OF_MILLION: u128 = 13_815_511;

/// Thousandths of the mean at which finding as few blocks as the index has a chance of 10^-6,
/// rounded up.
const LEAST_MEANS: [u32; 16] = [
    13_816, 16_689, 19_130, 21_351, 23_432, 25_413, 27_318, 29_163, 30_958, 32_711, 34_428, 36_115,
    37_774, 39_409, 41_023, 42_616,
];

/// Work of the last spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Speed {
    began: UtcSeconds,
    /// Number of the newest span since 1970.
    newest: u64,
    /// By the span's number, modulo their count.
    spans: [u128; SPANS],
}

/// Spans of [`SPAN`] seconds: ten minutes.
const SPANS: usize = 10;
/// Seconds of a span.
const SPAN: u64 = 60;

impl Speed {
    const fn number(now: UtcSeconds) -> u64 {
        now.to_u64().div_euclid(SPAN)
    }

    fn add(&mut self, now: UtcSeconds, work: Work) {
        *self = self.at(now);
        let spans = u64::try_from(SPANS).unwrap_or(u64::MAX);
        let at = usize::try_from(self.newest.rem_euclid(spans)).unwrap_or(0);
        if let Some(span) = self.spans.get_mut(at) {
            *span = span.saturating_add(work.hashes());
        }
    }

    /// Without the spans that are over. A clock that goes back stays in the newest one.
    fn at(mut self, now: UtcSeconds) -> Self {
        let number = Self::number(now).max(self.newest);
        let spans = u64::try_from(SPANS).unwrap_or(u64::MAX);
        let passed = number.saturating_sub(self.newest).min(spans);
        for next in 1..=passed {
            let at = self.newest.saturating_add(next).rem_euclid(spans);
            if let Some(span) = usize::try_from(at).ok().and_then(|at| self.spans.get_mut(at)) {
                *span = 0;
            }
        }
        // Where more than all of them passed, all are empty, whichever is the newest.
        self.newest = number;
        self
    }

    fn hashes_per_second(&self, now: UtcSeconds) -> u128 {
        let here = self.at(now);
        let work = here.spans.iter().fold(0, |sum: u128, span| sum.saturating_add(*span));
        let spans = u64::try_from(SPANS).unwrap_or(u64::MAX);
        let first = here.newest.saturating_add(1).saturating_sub(spans).saturating_mul(SPAN);
        let seconds = now.to_u64().saturating_sub(first.max(self.began.to_u64()));
        work.div_euclid(seconds.max(1).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chance that a Poisson variable of this mean is at most `most`.
    fn lower_tail(most: u32, mean: f64) -> f64 {
        let mut term = (-mean).exp();
        let mut sum = term;
        for n in 1..=most {
            term *= mean / f64::from(n);
            sum += term;
        }
        sum
    }

    #[test]
    fn suspicion_begins_where_an_honest_worker_is_unlucky_once_in_a_million() {
        for found in (0..=40).chain([100, 300]) {
            let mut tally = Tally::new(UtcSeconds::MIN);
            tally.counts.blocks = found.into();
            let least = (0..1_000_000_u32).find(|thousandths| {
                tally.expected = u128::from(*thousandths) * 1_000;
                tally.suspicion()
            });
            let mean = f64::from(least.unwrap()) / 1_000.0;
            let chance = lower_tail(found, mean);
            assert!(chance <= 1e-6, "{found} of {mean}: {chance}");
            // Exact up to 15 blocks; above, Chernoff's bound waits longer.
            let before = if found > 15 { mean * 0.78 } else { mean - 0.002 };
            assert!(lower_tail(found, before) > 1e-6, "{found} of {mean}");
        }
    }

    #[test]
    fn suspicion_of_numbers_without_bounds_is_no_panic() {
        let mut tally = Tally::new(UtcSeconds::MAX);
        (tally.expected, tally.counts.blocks) = (u128::MAX, u64::MAX);
        assert!(!tally.suspicion());
        tally.counts.blocks = 16;
        assert!(tally.suspicion());
        (tally.lately, tally.network_work) = (Work::MAX, Work::new(1));
        assert_eq!(tally.expected_millionths(), u128::MAX);
        assert_eq!(tally.hash_rate(UtcSeconds::MIN), 0);
    }
}
