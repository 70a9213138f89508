//! The limits of a desk, and what becomes of late shares.

use crate::units::Seconds;

/// What is done with shares of the tip before the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Grace {
    /// They are stale.
    #[default]
    None,
    /// For this long they are good and worth nothing, so that a worker is not told that it errs.
    Unpaid(Seconds),
    /// For this long they are worth their work, which cannot become a block of the tip any more.
    Paid(Seconds),
}

/// The limits of a desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Shares that may be counted on one tip: 1 ..= [`Self::PER_TIP_MAX`]; what is outside is taken
    /// as the nearer end. Each takes 16 to 43 bytes of memory.
    pub shares_per_tip: u32,
    /// Shares that may be counted in a second, over time.
    pub shares_per_second: u32,
    /// Shares that may be counted at once, saved up from seconds with fewer.
    pub burst: u32,
    /// Whether shares of the tip before count.
    pub grace: Grace,
    /// How far a share's time may be ahead of the clock: at most two hours, above which no node
    /// takes a block.
    pub ahead_max: Seconds,
}

impl Policy {
    /// 2^20: a share each half millisecond of ten minutes, in 32 MiB.
    pub const PER_TIP_MAX: u32 = 1 << 20;
    /// The tolerance of Bitcoin's nodes.
    pub const AHEAD_MAX: Seconds = match Seconds::new(7_200) {
        Ok(seconds) => seconds,
        Err(_) => Seconds::MIN,
    };
    /// Shares that are expected in ten minutes, times this: a tip of an hour, and a worker at twice
    /// the rate, are within it by more than chance.
    const SLACK: u64 = 16;
    /// So that a worker that begins far below its rate is not cut off at once.
    const PER_TIP_LEAST: u64 = 1_024;

    /// The policy for workers that are meant to find a share each `aim`.
    #[must_use]
    pub fn for_aim(aim: Seconds) -> Self {
        let aim = aim.to_u64().max(1);
        let slack = 600_u64.saturating_mul(Self::SLACK).div_ceil(aim).max(Self::PER_TIP_LEAST);
        Self {
            shares_per_tip: u32::try_from(slack).unwrap_or(Self::PER_TIP_MAX),
            shares_per_second: 16,
            burst: 128,
            grace: Grace::None,
            ahead_max: Self::AHEAD_MAX,
        }
    }
}
