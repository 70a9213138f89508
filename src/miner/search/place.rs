//! One place of the walk, and the next one.

use super::Next;
use crate::miner::Job;
use crate::units::UtcSeconds;

/// Bits of the number of a version that count within a group.
///
/// Four versions save three quarters of the schedules that could be shared, and each one more would
/// add 36 bytes to a search. None on bare metal: no kernel there gains by it, and no device pays.
const GROUP_BITS: u32 = if cfg!(target_os = "none") { 0 } else { 2 };

/// These bits.
const WITHIN: u16 = 1_u16.wrapping_shl(GROUP_BITS).wrapping_sub(1);

/// Versions of a group.
pub(super) const GROUP: usize = 1_usize.wrapping_shl(GROUP_BITS);

/// The next header to hash.
///
/// In a group all versions walk the nonces together, so there the number of the version changes
/// first: what is before the place are all versions of the nonces before, and of its own nonce the
/// versions before. The derived order is that of the walk, but within a group.
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
    /// Whether the version is walked together with the others of its group: those whose numbers
    /// differ in [`GROUP_BITS`] alone.
    pub(super) group: bool,
}

impl Place {
    /// Behind the end of every job.
    pub(super) const SPENT: Self = Self::at_time(u32::MAX);

    /// The first place of a time.
    pub(super) const fn at_time(time: u32) -> Self {
        Self { extranonce: 0, time, version: 0, nonce: 0, group: false }
    }

    /// Whether it is behind the end of every job.
    pub(super) const fn is_spent(self) -> bool {
        self.time == Self::SPENT.time
    }

    /// The job's first place.
    pub(super) fn first(job: &Job<'_>) -> Self {
        Self::at_time(job.parts().time.saturating_sub(origin(job)))
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
            && (!self.is_in_group() || has_groups(job))
    }

    /// Whether it is in a group.
    pub(super) const fn is_in_group(self) -> bool {
        // On bare metal nothing of a group is left by this.
        GROUP_BITS > 0 && self.group
    }

    /// Before the first hash of a lap: whether it is one of a group, which is what the kernel wants
    /// if `together`.
    pub(super) fn begin(&mut self, job: &Job<'_>, together: bool) {
        if GROUP_BITS > 0 && self.nonce == 0 && self.within() == 0 {
            self.group = together && has_groups(job);
        }
    }

    /// The versions that are walked together.
    pub(super) fn versions(self) -> impl Iterator<Item = u16> {
        let (first, more) =
            if self.is_in_group() { (self.version & !WITHIN, WITHIN) } else { (self.version, 0) };
        // An inclusive range would take more flash on bare metal, where this is one version.
        (0..more.saturating_add(1)).map(move |within| first | within)
    }

    /// The number of the version in its group.
    pub(super) const fn within(self) -> u16 {
        self.version & WITHIN
    }

    /// How many nonces of a group so many headers are, none if the place is within a nonce.
    pub(super) const fn whole_nonces(self, headers: u32) -> u32 {
        if self.within() == 0 { headers.wrapping_shr(GROUP_BITS) } else { 0 }
    }

    /// How many headers so many nonces of a group are.
    pub(super) const fn headers(whole_nonces: u32) -> u32 {
        // As many as once were a number of headers, or fewer.
        whole_nonces.wrapping_shl(GROUP_BITS)
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

    /// Goes `done` headers on, 1 ..= what is left of the lap; whether the lap is still the same.
    pub(super) fn advance(&mut self, job: &Job<'_>, done: u32) -> bool {
        let mut nonces = done;
        if self.is_in_group() {
            // Headers of the group at this nonce and behind, all that were hashed of it counted.
            let ahead = u32::from(self.within()).saturating_add(done);
            nonces = ahead.wrapping_shr(GROUP_BITS);
            let within = ahead & u32::from(WITHIN);
            self.version = self.version & !WITHIN | u16::try_from(within).unwrap_or(WITHIN);
        }
        if nonces <= job.nonces_behind_first().saturating_sub(self.nonce) {
            self.nonce = self.nonce.saturating_add(nonces);
            return true;
        }
        let last = if self.is_in_group() { self.version | WITHIN } else { self.version };
        let next = u32::from(last).saturating_add(1);
        (self.nonce, self.group) = (0, false);
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

/// Whether its versions are groups: their number is a power of two.
fn has_groups(job: &Job<'_>) -> bool {
    job.versions() > u32::from(WITHIN)
}
