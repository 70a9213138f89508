//! Where time and randomness come from.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::RtError;
use crate::keys::Entropy;
use crate::node::Now;
use crate::units::UtcSeconds;

/// The operating system's clock, held still while that runs backwards.
///
/// A clock that is set back by a time server would else stop every payment until it has caught up,
/// because a signer refuses the past.
#[derive(Debug)]
pub(super) struct Clock {
    last: UtcSeconds,
}

impl Clock {
    pub(super) const fn new() -> Self {
        Self { last: UtcSeconds::MIN }
    }

    /// The time, and fresh randomness for signatures.
    pub(super) fn now(&mut self) -> Result<Now, RtError> {
        Ok(Now { time: self.hold(since_epoch()), aux: entropy()? })
    }

    /// The time alone.
    pub(super) fn time(&mut self) -> UtcSeconds {
        self.hold(since_epoch())
    }

    /// How long it is until `at`.
    pub(super) fn until(&self, at: UtcSeconds) -> Duration {
        self.until_from(since_epoch(), at)
    }

    fn hold(&mut self, read: Duration) -> UtcSeconds {
        let read = UtcSeconds::new(read.as_secs()).unwrap_or(UtcSeconds::MAX);
        self.last = self.last.max(read);
        self.last
    }

    fn until_from(&self, read: Duration, at: UtcSeconds) -> Duration {
        // While the system's clock is behind, what was due by the time held here is due now: else
        // it would wait for as long as the clock was set back.
        if at <= self.last {
            return Duration::ZERO;
        }
        Duration::from_secs(at.to_u64()).saturating_sub(read)
    }
}

/// 32 bytes of the operating system's randomness.
pub(super) fn entropy() -> Result<Entropy, RtError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| RtError::NoEntropy)?;
    Ok(Entropy::new(bytes))
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the driver")]
fn since_epoch() -> Duration {
    // Before 1970 it is 1970.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UtcSeconds {
        UtcSeconds::new(seconds).unwrap()
    }

    fn read(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn clock_that_runs_backwards_is_held_still_until_it_has_caught_up() {
        let mut clock = Clock::new();
        let held = [1_000, 400, 999, 1_000, 1_001].map(|seconds| clock.hold(read(seconds)));
        assert_eq!(held, [1_000, 1_000, 1_000, 1_000, 1_001].map(at));
    }

    #[test]
    fn clock_before_its_range_or_beyond_it_is_held_within() {
        let mut clock = Clock::new();
        assert_eq!(clock.hold(Duration::ZERO), UtcSeconds::MIN);
        assert_eq!(clock.hold(Duration::MAX), UtcSeconds::MAX);
        assert_eq!(clock.hold(read(1)), UtcSeconds::MAX);
    }

    #[test]
    fn wake_up_waits_for_its_time_to_the_millisecond_and_never_for_the_past() {
        let mut clock = Clock::new();
        let now = Duration::from_millis(1_000_250);
        clock.hold(now);
        assert_eq!(clock.until_from(now, at(1_003)), Duration::from_millis(2_750));
        assert_eq!(clock.until_from(now, at(1_001)), Duration::from_millis(750));
        for past in [0, 999, 1_000] {
            assert_eq!(clock.until_from(now, at(past)), Duration::ZERO);
        }
    }

    #[test]
    fn wake_up_that_was_due_before_the_clock_was_set_back_is_due_still() {
        let mut clock = Clock::new();
        clock.hold(read(10_000));
        assert_eq!(clock.until_from(read(6_400), at(10_000)), Duration::ZERO);
        // What was not due yet comes when the clock says so: time stands still until then.
        assert_eq!(clock.until_from(read(6_400), at(10_001)), read(3_601));
    }
}
