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
        self.last = self.last.max(utc());
        Ok(Now { time: self.last, aux: entropy()? })
    }

    /// How long it is until `at`.
    pub(super) fn until(at: UtcSeconds) -> Duration {
        let now = since_epoch();
        Duration::from_secs(at.to_u64()).saturating_sub(now)
    }
}

/// 32 bytes of the operating system's randomness.
pub(super) fn entropy() -> Result<Entropy, RtError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| RtError::NoEntropy)?;
    Ok(Entropy::new(bytes))
}

fn utc() -> UtcSeconds {
    UtcSeconds::new(since_epoch().as_secs()).unwrap_or(UtcSeconds::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the driver")]
fn since_epoch() -> Duration {
    // Before 1970 it is 1970.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
