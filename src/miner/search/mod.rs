//! The walk over all headers of a job, step by step, none of them twice.
//!
//! ```text
//!   extranonce  0 ----------------- 1 ----------- ...     never back within a tip (N2)
//!   time        t      t+1 ..  end  t      t+1            within the job's roll
//!   version     0 1 ..  0 1 ..      0 1 ..                every bit of the mask
//!   nonce       0..2^32 each: one lap, one midstate; or 0..2^32 of four versions at once
//! ```
//!
//! [`Search::take`] says on what to work, [`Search::step`] works. What happens at a new job:
//!
//! | the job | goes on at | [`Start`] |
//! | --- | --- | --- |
//! | of another tip | the beginning | `Fresh` |
//! | same tip, same headers | where it was; its later times first, if it has any | `Continued` |
//! | same tip, other headers, with extranonce | the next extranonce | `Past` |
//! | without: a root that this tip did not have | the beginning | `Fresh` |
//! | without: a root that it had, or may have had | a time that this tip did not have | `Past` |
//!
//! Same headers means that a place in the walk is the same header in both: a new id, target, expiry
//! or a longer roll change nothing. A pool that goes back to a tip after another one is not
//! expected: the search begins again.
//!
//! A root without extranonce is remembered by four of 256 bits, so the answer to whether it is new
//! errs to the safe side: after forty jobs of a tip one in twenty is taken for an old one, begins
//! at a later time, and is idle only if its pool lets no time be rolled.
//!
//! A kernel that hashes several versions of a header faster together
//! ([`Backend::shares_versions`]) is given four at once: those whose numbers differ in the last two
//! bits, and all four go through the nonces side by side. Whether a lap is such a group is settled
//! when it begins, and it ends as it began, by whatever kernel and over a restart. A job of fewer
//! than four versions has no groups, nor has bare metal, where no kernel gains by them.
//!
//! Used by whoever drives a search. All is bounded: about 240 bytes, 150 on bare metal, no
//! recursion, one kernel call a lap or less, and in a group up to six more for a budget that is no
//! multiple of four.

mod checkpoint;
mod lap;
mod place;
mod seen;

#[cfg(test)]
mod tests;

pub use checkpoint::Checkpoint;

use super::kernel::Backend;
use super::{Found, Job, MinerError};
use crate::units::UtcSeconds;
use checkpoint::Marks;
use lap::Lap;
use place::{GROUP, Place};
use seen::Seen;

/// Where a job was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At its beginning.
    Fresh,
    /// Where the search was in the same headers.
    Continued,
    /// Behind all that another job, or one unknown after a restart, may have hashed.
    Past,
}

/// What a step did, and why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Step {
    /// Headers that were hashed.
    pub hashes: u32,
    /// What comes next.
    pub next: Next,
}

/// Why a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// The budget is used up: the next step goes on.
    More,
    /// Idle until then: only times are left that are still to come.
    Wait {
        /// When the next header may be hashed.
        until: UtcSeconds,
    },
    /// Idle: shares of the job are no longer wanted.
    Expired {
        /// Since when.
        at: UtcSeconds,
    },
    /// Idle: the search did not [`take`](Search::take) this job, or took another one since.
    NotTaken,
    /// Every header of the job was hashed, or may have been before a restart.
    Exhausted,
}

/// A walk over the headers of jobs.
///
/// ```
/// use millstream::miner::job::{Parts, Root, TimeRoll};
/// use millstream::miner::kernel::Kernel;
/// use millstream::miner::search::{Next, Start};
/// use millstream::miner::{Job, Search};
/// use millstream::units::{JobId, Target, UtcSeconds, WorkBits};
///
/// let job = Job::new(Parts {
///     id: JobId::new(1)?,
///     version: 0x2000_0000,
///     version_mask: 0x1fff_e000,
///     previous: [7; 32],
///     root: Root::Fixed([8; 32]),
///     bits: 0x1d00_ffff,
///     time: 1_800_000_000,
///     roll: TimeRoll::Clock(600),
///     nonce_first: 0,
///     nonce_last: u32::MAX,
///     target: Target::of_work_bits(WorkBits::new(6)?),
///     expires: UtcSeconds::new(1_800_000_120)?,
/// })?;
/// let (now, mut kernel, mut shares) = (UtcSeconds::new(1_800_000_005)?, Kernel::best(), vec![]);
/// let mut search = Search::new();
/// assert_eq!(search.take(&job)?, Start::Fresh);
/// let step = search.step(&job, now, 1_000, &mut kernel, &mut |found| shares.push(found));
/// assert_eq!((step.hashes, step.next), (1_000, Next::More));
/// assert!(shares.iter().all(|found| job.parts().target.is_met_by(&found.hash)));
///
/// // A power cut: 16 bytes are enough to go on with the nonce behind the last one.
/// let stored = search.checkpoint().map(|checkpoint| checkpoint.to_bytes()).unwrap();
/// let mut search = Search::resume(millstream::miner::search::Checkpoint::from_bytes(stored));
/// assert_eq!(search.take(&job)?, Start::Continued);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Nothing before the first job.
    at: Option<At>,
    /// Roots without extranonce that were hashed on this tip.
    seen: Seen,
    /// The latest time with which such a root was hashed on this tip.
    time_used: Option<u32>,
    /// The lap that was prepared last, if it is still the one.
    lap: Option<Lap>,
}

/// Which job, and the next place of it.
#[derive(Debug, Clone, Copy)]
struct At {
    names: Names,
    place: Place,
    /// Whether something was hashed at this extranonce or, without one, of this root.
    used: bool,
}

/// What is known of the job that the place is in.
#[derive(Debug, Clone, Copy)]
enum Names {
    /// It was taken.
    Whole { tip: u64, space: u64, rolls: bool },
    /// It is only known from a checkpoint.
    Marked(Marks),
}

impl Search {
    /// Hashes of the longest step on bare metal: about 10 ms of a Cortex-M4 at 100 MHz, so that a
    /// device's own work never waits longer.
    pub const BARE_METAL_STEP: u32 = 256;

    /// A search that has not hashed anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A search that was stopped by a power cut.
    ///
    /// What it hashed after the checkpoint was made is not known to it: make one before stopping.
    /// It goes on in the job of the checkpoint; in any other of the same tip it begins behind
    /// everything that may have been hashed.
    #[must_use]
    pub fn resume(checkpoint: Checkpoint) -> Self {
        let (marks, place, time_used) = checkpoint.open(GROUP > 1);
        Self {
            at: Some(At { names: Names::Marked(marks), place, used: true }),
            seen: Seen::ALL,
            time_used,
            lap: None,
        }
    }

    /// Says on which job to work from now on.
    ///
    /// Taking the same job again changes nothing.
    ///
    /// # Errors
    /// [`MinerError::Mixed`] if one of both has an extranonce and they are of one tip; the search
    /// stays in the job where it was.
    pub fn take(&mut self, job: &Job<'_>) -> Result<Start, MinerError> {
        let first = Place::first(job);
        let (start, place, used) = match self.at.filter(|at| at.names.are_of_tip(job)) {
            None => {
                (self.seen, self.time_used) = (Seen::default(), None);
                (Start::Fresh, first, false)
            }
            Some(at) if at.names.roll() != job.rolls_extranonce() => return Err(MinerError::Mixed),
            Some(at) if at.names.are_of(job) && at.place.is_in(job) => {
                (Start::Continued, at.place.max(first), at.used)
            }
            Some(at) if job.rolls_extranonce() => (Start::Past, at.behind(job), false),
            Some(_) if self.seen.may_have(job.root()) => {
                let place = self.time_used.map_or(first, |time| first.behind_time(time));
                (Start::Past, place, false)
            }
            Some(_) => (Start::Fresh, first, false),
        };
        let names =
            Names::Whole { tip: job.tip(), space: job.space(), rolls: job.rolls_extranonce() };
        self.at = Some(At { names, place, used });
        self.lap = None;
        Ok(start)
    }

    /// Hashes at most `hashes_max` headers of the job that was taken.
    ///
    /// `now`: the present, which ends jobs and lets times come that follow the clock. Each hash
    /// that meets the job's target is told to `found`, in the order of the walk, but within a group
    /// of versions only those of each are in order. On bare metal a step is never longer than
    /// [`Self::BARE_METAL_STEP`].
    pub fn step(
        &mut self,
        job: &Job<'_>,
        now: UtcSeconds,
        hashes_max: u32,
        by: &mut impl Backend,
        found: &mut impl FnMut(Found),
    ) -> Step {
        let bare_metal = cfg!(target_os = "none");
        let hashes_max =
            if bare_metal { hashes_max.min(Self::BARE_METAL_STEP) } else { hashes_max };
        let mut hashes = 0_u32;
        let Some(mut at) = self.at.filter(|at| at.names.are_exactly(job)) else {
            return Step { hashes, next: Next::NotTaken };
        };
        if now >= job.parts().expires {
            return Step { hashes, next: Next::Expired { at: job.parts().expires } };
        }
        let next = loop {
            let before = at.place;
            if let Err(next) = at.place.settle(job, now) {
                break next;
            }
            if at.place != before {
                // A clock that was set back ends a lap before its end.
                (at.used, self.lap) = (false, None);
            }
            let left = hashes_max.saturating_sub(hashes);
            if left == 0 {
                break Next::More;
            }
            if self.lap.is_none() {
                at.place.begin(job, by.shares_versions());
            }
            let Some(lap) = self.lap.or_else(|| Lap::new(job, &at.place, by)) else {
                // The place is one of the job's, so its extranonce is.
                debug_assert!(false, "extranonce {} does not fit", at.place.extranonce);
                break Next::Exhausted;
            };
            self.use_place(&mut at, job, lap.time());
            let done = lap.scan(job, &at.place, left, by, found);
            hashes = hashes.saturating_add(done);
            self.lap = at.place.advance(job, done).then_some(lap);
        };
        self.at = Some(at);
        Step { hashes, next }
    }

    /// Where the search is, to go on after a restart; nothing before the first job.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let At { names, place, .. } = self.at?;
        Some(Checkpoint::new(names.marks(), place, self.time_used))
    }

    /// Notes what is about to be hashed, before it is.
    fn use_place(&mut self, at: &mut At, job: &Job<'_>, time: u32) {
        if !job.rolls_extranonce() {
            if !at.used {
                self.seen.insert(job.root());
            }
            self.time_used = self.time_used.max(Some(time));
        }
        at.used = true;
    }
}

impl At {
    /// The first place of a job with extranonce that nothing of this tip was hashed at.
    fn behind(&self, job: &Job<'_>) -> Place {
        let first = Place::first(job);
        // N2: what cannot go further is spent, whatever the job, and stays so.
        if !self.used && !self.place.is_spent() {
            return Place { extranonce: self.place.extranonce, ..first };
        }
        match self.place.extranonce.checked_add(1) {
            Some(extranonce) if extranonce <= job.extranonce_last() => {
                Place { extranonce, ..first }
            }
            _ => Place { extranonce: self.place.extranonce, ..Place::SPENT },
        }
    }
}

impl Names {
    /// Whether the job is of the same tip, or may be.
    fn are_of_tip(&self, job: &Job<'_>) -> bool {
        match self {
            Self::Whole { tip, .. } => *tip == job.tip(),
            Self::Marked(marks) => marks.is_of_tip(job.tip()),
        }
    }

    /// Whether the job has the same headers.
    fn are_of(&self, job: &Job<'_>) -> bool {
        match self {
            Self::Whole { .. } => self.are_exactly(job),
            Self::Marked(marks) => {
                *marks == Marks::new(job.tip(), job.space(), job.rolls_extranonce())
            }
        }
    }

    /// Whether a job with the same headers was taken.
    fn are_exactly(&self, job: &Job<'_>) -> bool {
        matches!(self, Self::Whole { tip, space, .. } if (*tip, *space) == (job.tip(), job.space()))
    }

    /// Whether the job has an extranonce.
    const fn roll(&self) -> bool {
        match self {
            Self::Whole { rolls, .. } => *rolls,
            Self::Marked(marks) => marks.roll(),
        }
    }

    const fn marks(&self) -> Marks {
        match self {
            Self::Whole { tip, space, rolls } => Marks::new(*tip, *space, *rolls),
            Self::Marked(marks) => *marks,
        }
    }
}
