//! What is earned evenly and spent in pieces: time, and hashes.

use crate::units::Ppm;

/// Milliseconds of an hour.
pub(super) const HOUR_MS: u64 = 3_600_000;
/// Milliseconds of a day.
pub(super) const DAY_MS: u64 = 86_400_000;

const MILLION: u64 = 1_000_000;
/// Time that is earned at once: an hour, so that its product with a million fits 64 bits.
const EARNED_US_MAX: u64 = 3_600_000_000;

/// Time for mining, in microseconds; at most a slice is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Duty {
    ppm: u64,
    slice: u64,
    /// Earned and not spent.
    credit: u64,
    /// Spent and not earned; one of both is zero.
    debt: u64,
    /// Millionths of a microsecond that were earned beyond.
    part: u64,
}

impl Duty {
    pub(super) fn new(duty: Ppm, slice: u64) -> Self {
        Self { ppm: duty.to_ppm().into(), slice, credit: 0, debt: 0, part: 0 }
    }

    /// Time has gone by.
    pub(super) fn earn(&mut self, micros: u64) {
        // At most 3.6e9 * 1e6 and less than a million.
        let earned = micros.min(EARNED_US_MAX).saturating_mul(self.ppm).saturating_add(self.part);
        self.part = earned % MILLION;
        let whole = earned / MILLION;
        let beyond = whole.saturating_sub(self.debt);
        self.debt = self.debt.saturating_sub(whole);
        self.credit = self.credit.saturating_add(beyond).min(self.slice);
    }

    pub(super) fn spend(&mut self, micros: u64) {
        self.debt = self.debt.saturating_add(micros.saturating_sub(self.credit));
        self.credit = self.credit.saturating_sub(micros);
    }

    /// Whether there is time for a slice, or when there will be.
    pub(super) fn check(&self) -> Result<(), u64> {
        let missing = self.slice.saturating_sub(self.credit).saturating_add(self.debt);
        if missing == 0 {
            return Ok(());
        }
        let parts = missing.saturating_mul(MILLION).saturating_sub(self.part);
        // Of no part of the time there is never a slice.
        Err(parts
            .checked_add(self.ppm.saturating_sub(1))
            .and_then(|up| up.checked_div(self.ppm))
            .unwrap_or(u64::MAX))
    }
}

/// Hashes for mining: in any window no more than a budget.
///
/// `capacity` may be spent at once and `budget - capacity - 1` come back in a window, so the sum is
/// below the budget wherever the window begins, with the hash that a remainder may add.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    left: u64,
    capacity: u64,
    /// What comes back in a window.
    earned: u64,
    /// Milliseconds of the window, and one: both of its ends may be rounded.
    window: u64,
    /// What was earned beyond, in parts of a hash.
    part: u64,
}

impl Bucket {
    pub(super) fn new(budget: u64, window_ms: u64) -> Self {
        // An eighth: spent at once it warms nothing up, and no more than it is lost of the budget.
        let capacity = budget.div_ceil(8);
        let earned = budget.saturating_sub(capacity).saturating_sub(1);
        Self { left: 0, capacity, earned, window: window_ms.saturating_add(1), part: 0 }
    }

    /// Time has gone by, from one microsecond to another.
    pub(super) fn earn(&mut self, from: u64, to: u64) {
        let millis = (to / 1_000).saturating_sub(from / 1_000).min(self.window);
        // What is beyond 64 bits is lost: a device that hashes so fast does not rest so long.
        let earned = self.earned.saturating_mul(millis).saturating_add(self.part);
        self.part = earned.checked_rem(self.window).unwrap_or(0);
        let whole = earned.checked_div(self.window).unwrap_or(0);
        self.left = self.left.saturating_add(whole).min(self.capacity);
    }

    pub(super) fn spend(&mut self, hashes: u64) {
        self.left = self.left.saturating_sub(hashes);
    }

    pub(super) fn give_back(&mut self, hashes: u64) {
        self.left = self.left.saturating_add(hashes).min(self.capacity);
    }

    /// So many hashes, or all that there are.
    pub(super) fn at_most(&self, hashes: u32) -> u32 {
        u32::try_from(self.left).map_or(hashes, |left| left.min(hashes))
    }

    /// Whether there are so many hashes, or as many as there can be; or in how many microseconds.
    pub(super) fn check(&self, hashes: u32) -> Result<(), u64> {
        let missing = u64::from(hashes).min(self.capacity).saturating_sub(self.left);
        if missing == 0 {
            return Ok(());
        }
        let parts = missing.saturating_mul(self.window).saturating_sub(self.part);
        let millis =
            parts.checked_div(self.earned).map_or(u64::MAX, |millis| millis.saturating_add(1));
        Err(millis.saturating_mul(1_000))
    }
}
