//! One place of the walk, and the next one.

use super::Next;
use crate::miner::Job;
use crate::units::UtcSeconds;

/// The next header to hash. The derived order is the order of the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The searcher's part of the extranonce; 0 if the job has none.
    pub(super) extranonce: u32,
    /// Seconds from the job's time on; if the job has no extranonce, from 1970 on, so that it means
    /// the same in every job of the tip.
    pub(super) time: u32,
    /// Which version.
    pub(super) version: u16,
    /// How far from the job's first nonce.
    pub(super) nonce: u32,
}

impl Place {
    /// Behind the end of every job.
    pub(super) const SPENT: Self = Self { extranonce: 0, time: u32::MAX, version: 0, nonce: 0 };

    /// Whether it is behind the end of every job.
    pub(super) const fn is_spent(self) -> bool {
        self.time == Self::SPENT.time
    }

    /// The job's first place.
    pub(super) fn first(job: &Job<'_>) -> Self {
        let time = job.parts().time.saturating_sub(origin(job));
        Self { extranonce: 0, time, version: 0, nonce: 0 }
    }

    /// This place, or the first one behind that time.
    pub(super) fn behind_time(self, time: u32) -> Self {
        // A job's last time is at most the one before the largest.
        Self { time: self.time.max(time.saturating_add(1)), ..self }
    }

    /// Whether the job has its version and nonce: it does unless a stored place is not the job's.
    pub(super) fn is_in(self, job: &Job<'_>) -> bool {
        u32::from(self.version) < job.versions()
            && self.nonce <= job.nonces_behind_first()
            && self.extranonce <= job.extranonce_last()
    }

    /// The header's time here.
    pub(super) fn header_time(self, job: &Job<'_>) -> u32 {
        // Settled: within the roll of a job whose last time was checked.
        origin(job).saturating_add(self.time)
    }

    /// Nonces from here to the end of the lap, at least one; 2^32 are told in two parts.
    pub(super) fn nonces_left(self, job: &Job<'_>) -> u32 {
        job.nonces_behind_first().saturating_sub(self.nonce).saturating_add(1)
    }

    /// Goes to the next extranonce if the times of this one are walked, as far as they have come.
    ///
    /// # Errors
    /// Why there is nothing to hash.
    pub(super) fn settle(&mut self, job: &Job<'_>, now: UtcSeconds) -> Result<(), Next> {
        let first = Self::first(job);
        let (until, longest) = job.roll_at(now);
        if self.time <= first.time.saturating_add(until) {
            return Ok(());
        }
        match self.extranonce.checked_add(1) {
            Some(extranonce) if extranonce <= job.extranonce_last() => {
                *self = Self { extranonce, ..first };
                Ok(())
            }
            _ if self.time <= first.time.saturating_add(longest) => {
                let until = UtcSeconds::try_from(u64::from(self.header_time(job)));
                Err(Next::Wait { until: until.unwrap_or(UtcSeconds::MAX) })
            }
            _ => Err(Next::Exhausted),
        }
    }

    /// Goes `done` nonces on, 1 ..= [`Self::nonces_left`]; whether the lap is still the same.
    pub(super) fn advance(&mut self, job: &Job<'_>, done: u32) -> bool {
        let behind = done.saturating_sub(1);
        if behind < job.nonces_behind_first().saturating_sub(self.nonce) {
            self.nonce = self.nonce.saturating_add(done);
            return true;
        }
        self.nonce = 0;
        let next = u32::from(self.version).saturating_add(1);
        match u16::try_from(next) {
            Ok(version) if next < job.versions() => self.version = version,
            _ => {
                self.version = 0;
                self.time = self.time.saturating_add(1);
            }
        }
        false
    }
}

/// What [`Place::time`] counts from.
fn origin(job: &Job<'_>) -> u32 {
    if job.rolls_extranonce() { job.parts().time } else { 0 }
}
