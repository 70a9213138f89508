//! The seeds of a campaign: fixed ones, fresh ones, or one that somebody looks at.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seeds that every run repeats; `SIM_FROM` and `SIM_COUNT` ask for others.
pub(crate) fn fixed(count: u64) -> Range<u64> {
    let from = number("SIM_FROM").unwrap_or(0);
    from..from + number("SIM_COUNT").unwrap_or(count)
}

/// Seeds that nobody has tried before; they are printed.
#[expect(clippy::disallowed_methods, reason = "fresh seeds come from the clock, and are printed")]
pub(crate) fn fresh(count: u64) -> Range<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let from = u64::try_from(now & 0xffff_ffff_ffff).unwrap();
    println!("fresh seeds from {from}");
    from..from + count
}

/// The one seed of `SIM_SEED`, for whoever looks for a fault.
pub(crate) fn asked() -> Option<u64> {
    std::env::var("SIM_SEED").ok().map(|seed| seed.parse().unwrap())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}
