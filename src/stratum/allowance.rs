//! How much a peer may do a second.

use core::time::Duration;

/// Millionths: what a microsecond adds at a rate of one a second.
const PARTS: u64 = 1_000_000;

/// So many a second, and so many at once: a bucket that fills over time.
///
/// ```
/// use core::time::Duration;
/// use millstream::stratum::Allowance;
///
/// let mut lines = Allowance::new(2, 3);
/// let now = Duration::from_secs(100);
/// assert!(lines.take(now, 3));
/// assert!(!lines.take(now, 1));
/// assert!(lines.take(now + Duration::from_millis(500), 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    per_second: u32,
    burst: u32,
    /// Millionths that are left.
    left: u64,
    at: Duration,
}

impl Allowance {
    /// A full bucket.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst, left: full(burst), at: Duration::ZERO }
    }

    /// Takes `count`, if that many are left; a refused one takes nothing.
    ///
    /// `now`: since any fixed moment. A clock that runs backwards adds nothing.
    #[must_use]
    pub fn take(&mut self, now: Duration, count: u32) -> bool {
        let passed = now.saturating_sub(self.at).as_micros();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let added = passed.saturating_mul(self.per_second.into());
        let left = self.left.saturating_add(added).min(full(self.burst));
        (self.left, self.at) = (left, self.at.max(now));
        match left.checked_sub(full(count)) {
            Some(rest) => {
                self.left = rest;
                true
            }
            None => false,
        }
    }
}

const fn full(count: u32) -> u64 {
    #[expect(clippy::as_conversions, reason = "widens, and `From` is not const")]
    let count = count as u64;
    count.saturating_mul(PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_burst_are_kept_to_the_last_one() {
        let mut allowance = Allowance::new(10, 5);
        let at = |ms: u64| Duration::from_millis(1_000_000 + ms);
        assert!(allowance.take(at(0), 5));
        assert!(!allowance.take(at(99), 1));
        assert!(allowance.take(at(100), 1));
        assert!(!allowance.take(at(100), 1));
        // A second has passed: five, not ten.
        assert!(!allowance.take(at(1_200), 6));
        assert!(allowance.take(at(1_200), 5));
        // Backwards adds nothing, and takes nothing away.
        assert!(!allowance.take(at(0), 1));
        assert!(!allowance.take(at(1_200), 1));
        assert!(allowance.take(at(1_300), 1));
        assert!(allowance.take(Duration::MAX, 5));
        assert!(!allowance.take(Duration::MAX, 1));
    }
}
