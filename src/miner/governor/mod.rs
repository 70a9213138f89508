//! How much may be hashed now: duty, heat and energy as budgets in hashes.
//!
//! ```text
//!   grant(now, temperature)  ->  hashes  ->  Search::step  ->  worked(now, hashes)
//!        |                                                          |
//!        '-> or rest: too much of the time, too hot, no energy      '-> what it took is charged
//! ```
//!
//! Mining is what a device does with what is left over, so every doubt is against it: whoever
//! starts, or starts again, has nothing yet and earns it; a thermometer that is silent counts as
//! hot; a clock that jumps back earns nothing until it is where it was, and a slice of unknown
//! length counts as a whole one; a grant that nobody accounts for counts as used up.
//!
//! Let `d` be the duty and `s` the longest slice that was worked: in any time `t` mining takes at
//! most `d * t + s`. Of an energy budget no hour, and no day, wherever it begins, sees more than
//! all of it: an eighth may be spent at once, and the rest comes back evenly.
//!
//! Used by whoever drives a search. Integers of 64 bits, two divisions a slice.

mod bucket;

#[cfg(test)]
mod tests;

use core::num::{NonZeroU32, NonZeroU64};

use crate::units::{Blame, Ppm};
use bucket::{Bucket, DAY_MS, Duty, HOUR_MS};

/// Microseconds: a length of time, or the time since the device started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Micros(u64);

impl Micros {
    /// That many microseconds.
    #[must_use]
    pub const fn new(micros: u64) -> Self {
        Self(micros)
    }

    /// The bare number.
    pub const fn to_u64(self) -> u64 {
        self.0
    }
}

/// What mining may take of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a configuration that callers write out")]
pub struct Limits {
    /// The part of the time.
    pub duty: Ppm,
    /// How long the device's own work may wait: at most 60 s, at least 1 us.
    pub slice: Micros,
    /// Hashes of a slice at most, whatever it takes: on bare metal
    /// [`Search::BARE_METAL_STEP`](crate::miner::Search::BARE_METAL_STEP).
    pub hashes_max: NonZeroU32,
    /// The temperature, if it is measured.
    pub heat: Option<Heat>,
    /// The energy, if it is limited.
    pub energy: Option<Energy>,
}

/// Mining stops at one temperature and goes on below another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a configuration that callers write out")]
pub struct Heat {
    /// Too hot, in thousandths of a degree Celsius.
    pub stop_at_millicelsius: i32,
    /// Cool enough again; lower than the other.
    pub resume_at_millicelsius: i32,
}

/// Energy for mining, spent by the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a configuration that callers write out")]
pub struct Energy {
    /// What a hash takes: 6,400,000 pJ of a microcontroller, 15 of a mining chip.
    pub picojoules_a_hash: NonZeroU64,
    /// The most in any hour.
    pub microjoules_an_hour: u64,
    /// The most in any day.
    pub microjoules_a_day: u64,
}

/// What may be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Grant {
    /// Hash so many headers, then tell by [`Governor::worked`].
    Hash(NonZeroU32),
    /// Nothing.
    Rest {
        /// Why not.
        reason: Reason,
        /// Earlier there is nothing; of heat nobody knows, so that is when to look again.
        pause: Micros,
    },
}

/// Why there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Mining has had its part of the time.
    Duty,
    /// It is too hot, or was and is not yet cool, or nobody knows.
    Heat,
    /// The budget of the hour or the day is spent.
    Energy,
}

/// Limits that contradict themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GovernorError {
    /// A slice is 1 us to 60 s long.
    #[error("slice of {got} us, the limit is 60000000 us")]
    Slice {
        /// What was asked for.
        got: u64,
    },
    /// Mining would stop and go on at one temperature.
    #[error("mining stops at {stop} and goes on at {resume} thousandths of a degree")]
    Heat {
        /// Where it stops.
        stop: i32,
        /// Where it would go on.
        resume: i32,
    },
}

impl GovernorError {
    /// Ours: limits are configuration.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Slice { .. } | Self::Heat { .. } => Blame::Us,
        }
    }
}

/// Turns limits into budgets in hashes.
///
/// ```
/// use core::num::NonZeroU32;
/// use millstream::miner::governor::{Governor, Grant, Limits, Micros};
/// use millstream::units::Ppm;
///
/// let limits = Limits {
///     duty: Ppm::new(50_000)?,
///     slice: Micros::new(10_000),
///     hashes_max: NonZeroU32::new(256).unwrap(),
///     heat: None,
///     energy: None,
/// };
/// let mut governor = Governor::new(limits)?;
/// // A twentieth of the time: 10 ms are earned in 200 ms.
/// let Grant::Rest { pause, .. } = governor.grant(Micros::new(0), None) else { unreachable!() };
/// assert_eq!(pause, Micros::new(200_000));
/// let Grant::Hash(hashes) = governor.grant(pause, None) else { unreachable!() };
/// governor.worked(Micros::new(200_040), hashes.get());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Governor {
    limits: Limits,
    duty: Duty,
    /// Of hashes, for an hour and for a day.
    energy: Option<[Bucket; 2]>,
    hot: bool,
    /// The latest time that was seen: none before the first.
    latest: Option<u64>,
    open: Option<Open>,
    /// How many hashes fit into a slice, as far as is known.
    pace: u32,
}

/// A grant that was not accounted for yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    since: u64,
    hashes: u32,
}

impl Governor {
    /// The longest slice.
    pub const SLICE_MAX: Micros = Micros(60_000_000);
    /// When to look at the thermometer again.
    pub const HEAT_PAUSE: Micros = Micros(1_000_000);

    /// A governor that has earned nothing yet.
    ///
    /// # Errors
    /// [`GovernorError::Slice`], [`GovernorError::Heat`].
    pub fn new(limits: Limits) -> Result<Self, GovernorError> {
        let got = limits.slice.0;
        if got == 0 || limits.slice > Self::SLICE_MAX {
            return Err(GovernorError::Slice { got });
        }
        if let Some(Heat { stop_at_millicelsius: stop, resume_at_millicelsius: resume }) =
            limits.heat
            && resume >= stop
        {
            return Err(GovernorError::Heat { stop, resume });
        }
        Ok(Self {
            limits,
            duty: Duty::new(limits.duty, got),
            energy: limits.energy.map(|energy| {
                [
                    Bucket::new(energy.hashes(energy.microjoules_an_hour), HOUR_MS),
                    Bucket::new(energy.hashes(energy.microjoules_a_day), DAY_MS),
                ]
            }),
            hot: false,
            latest: None,
            open: None,
            pace: 1,
        })
    }

    /// What may be done at `now`, the time since the device started.
    ///
    /// `millicelsius`: the temperature in thousandths of a degree, none if it cannot be read.
    pub fn grant(&mut self, now: Micros, millicelsius: Option<i32>) -> Grant {
        if let Some(Open { hashes, .. }) = self.open {
            self.worked(now, hashes);
        }
        let latest = self.latest.unwrap_or(now.0);
        // A clock that jumped back has seen this time already.
        let behind = latest.saturating_sub(now.0);
        let arrived = latest.max(now.0);
        self.latest = Some(arrived);
        self.duty.earn(arrived.saturating_sub(latest));
        for bucket in self.energy.iter_mut().flatten() {
            bucket.earn(latest, arrived);
        }
        let rest = |reason, pause: u64| Grant::Rest {
            reason,
            pause: Micros(pause.saturating_add(behind)),
        };
        if self.is_hot(millicelsius) {
            return rest(Reason::Heat, Self::HEAT_PAUSE.0);
        }
        if let Err(pause) = self.duty.check() {
            return rest(Reason::Duty, pause);
        }
        let hashes = self.pace;
        for bucket in self.energy.iter().flatten() {
            if let Err(pause) = bucket.check(hashes) {
                return rest(Reason::Energy, pause);
            }
        }
        let energy = self.energy.iter().flatten();
        let left = energy.fold(hashes, |hashes, bucket| bucket.at_most(hashes));
        let Some(granted) = NonZeroU32::new(left) else {
            return rest(Reason::Energy, HOUR_MS.saturating_mul(1_000));
        };
        for bucket in self.energy.iter_mut().flatten() {
            bucket.spend(left.into());
        }
        self.open = Some(Open { since: now.0, hashes: left });
        Grant::Hash(granted)
    }

    /// Accounts for the last grant: at `now` so many hashes were done.
    ///
    /// What was not done is given back, of energy; without a grant nothing happens.
    pub fn worked(&mut self, now: Micros, hashes: u32) {
        let Some(open) = self.open.take() else { return };
        for bucket in self.energy.iter_mut().flatten() {
            bucket.spend(hashes.saturating_sub(open.hashes).into());
            bucket.give_back(open.hashes.saturating_sub(hashes).into());
        }
        let slice = self.limits.slice.0;
        let Some(took) = now.0.checked_sub(open.since) else {
            // The clock jumped back: how long it took is not known.
            self.duty.spend(slice);
            return;
        };
        self.duty.spend(took);
        if hashes > 0 {
            let twice = u64::from(self.pace).saturating_mul(2);
            let fitting =
                u64::from(hashes).saturating_mul(slice).checked_div(took).unwrap_or(twice);
            let pace = u32::try_from(fitting.min(twice)).unwrap_or(u32::MAX);
            self.pace = pace.clamp(1, self.limits.hashes_max.get());
        }
    }

    /// Notes the temperature; whether it forbids to mine.
    fn is_hot(&mut self, millicelsius: Option<i32>) -> bool {
        let Some(heat) = self.limits.heat else { return false };
        self.hot = match millicelsius {
            None => true,
            Some(now) if self.hot => now > heat.resume_at_millicelsius,
            Some(now) => now >= heat.stop_at_millicelsius,
        };
        self.hot
    }
}

impl Energy {
    /// How many hashes that energy is enough for, rounded down.
    fn hashes(&self, microjoules: u64) -> u64 {
        const PICO_A_MICRO: u64 = 1_000_000;
        match microjoules.checked_mul(PICO_A_MICRO) {
            Some(picojoules) => picojoules / self.picojoules_a_hash,
            // More than 5 kWh: rounded down to a microjoule's worth.
            None => (microjoules / self.picojoules_a_hash).saturating_mul(PICO_A_MICRO),
        }
    }
}
