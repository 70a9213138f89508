//! One worker at a pool: its desk, how hard its shares should be, and what its jobs were made of.

use alloc::collections::BTreeMap;

use super::{Desk, Good, JobError, Policy, PoolJob, Refused, Share, Space, Vardiff};
use crate::Arc;
use crate::units::{JobId, Target, UtcSeconds};

/// Where a worker sits, whatever protocol it speaks: its [`Desk`], its [`Vardiff`], and beside each
/// job the `W` that it was made of, until the desk forgets the job.
///
/// ```text
///   template --> issue --Issued: id, target, fresh--> told to the worker
///                  | TipLeft: move_to another space, then again
///   share -----> take --Good, with the job's W--> credited
///   the clock -> wants_other_target --true--> issue
/// ```
///
/// A job's target is the vardiff's, or the worker's own limit where that is harder, or the
/// network's where that is easier than both.
///
/// ```
/// use std::sync::Arc;
/// use millstream::shares::seat::Seat;
/// use millstream::shares::{Head, Policy, PoolJob, Space, Vardiff};
/// use millstream::units::{Seconds, UtcSeconds, WorkBits};
///
/// let (now, aim) = (UtcSeconds::new(1_800_000_000)?, Seconds::new(60)?);
/// let bits = WorkBits::new(20)?;
/// let vardiff = Vardiff::new(bits, bits, bits, aim, now);
/// let mut seat = Seat::new(Space::numbered(1, 4)?, Policy::for_aim(aim), vardiff);
/// let (start, roll_max) = (1_800_000_000, Seconds::new(600)?);
/// let (version, version_mask, bits) = (0x2000_0000, Head::MASK_MAX, 0x1d00_ffff);
/// let (previous, min_time) = ([7; 32], start);
/// let head = Head { version, version_mask, previous, bits, min_time, start, roll_max };
/// let job = Arc::new(PoolJob::header_only(head, [9; 32])?);
/// let issued = seat.issue(now, job, "what it is made of")?;
/// assert!(issued.fresh);
/// assert_eq!(seat.made_of(issued.id), Some(&"what it is made of"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Seat<W> {
    space: Space,
    policy: Policy,
    vardiff: Vardiff,
    /// The easiest target that the worker takes.
    easiest: Target,
    /// None before the first job in this space.
    desk: Option<Desk>,
    jobs: BTreeMap<JobId, W>,
    next: u32,
    newest: Option<Newest>,
}

/// What of the newest job decides about the next.
#[derive(Debug, Clone, Copy)]
struct Newest {
    previous: [u8; 32],
    network: Target,
    target: Target,
}

/// What a worker is told of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// Its number at this seat, higher than every one before.
    pub id: JobId,
    /// What its shares must meet.
    pub target: Target,
    /// Whether it builds on another block than the job before: then that is worthless.
    pub fresh: bool,
}

impl<W> Seat<W> {
    /// A seat without a job.
    ///
    /// `space`: no other worker's, nor one that was used before a restart on this tip.
    #[must_use]
    pub const fn new(space: Space, policy: Policy, vardiff: Vardiff) -> Self {
        Self {
            space,
            policy,
            vardiff,
            easiest: Target::MAX,
            desk: None,
            jobs: BTreeMap::new(),
            next: 1,
            newest: None,
        }
    }

    /// Goes to the tip whose hash is `previous`, as [`Self::issue`] does: for callers whose jobs
    /// depend on the space that they are for.
    ///
    /// # Errors
    /// [`JobError::TipLeft`]: a chain that goes back needs [`Self::move_to`].
    pub fn enter(&mut self, now: UtcSeconds, previous: [u8; 32]) -> Result<(), JobError> {
        let (space, policy) = (self.space, self.policy);
        let desk = self.desk.get_or_insert_with(|| Desk::new(space, policy, previous, now));
        desk.new_tip(previous, now)
    }

    /// Assigns a job, made of `of`, under [`Self::next_job`].
    ///
    /// # Errors
    /// [`JobError::TipLeft`]: see [`Self::move_to`]. [`JobError::SpaceMisfit`];
    /// [`JobError::JobBackwards`] after 2^32 jobs. No job has changed then.
    pub fn issue(&mut self, now: UtcSeconds, job: Arc<PoolJob>, of: W) -> Result<Issued, JobError> {
        let (previous, network) = (job.head().previous, job.network());
        self.enter(now, previous)?;
        let (id, wanted) = (self.next_job(), self.wanted());
        let desk = self.desk.as_mut().ok_or(JobError::WrongTip)?;
        let target = desk.assign(id, job, wanted)?;
        // The last number stays: the desk refuses it when it comes again.
        self.next = self.next.saturating_add(1);
        self.jobs.insert(id, of);
        while self.jobs.len() > Desk::JOBS_MAX {
            self.jobs.pop_first();
        }
        let fresh = self.newest.is_none_or(|newest| newest.previous != previous);
        self.newest = Some(Newest { previous, network, target });
        Ok(Issued { id, target, fresh })
    }

    /// Counts a share, if it is good; returns what its job was made of beside it.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn take(&mut self, now: UtcSeconds, share: &Share) -> Result<(Good, &W), Refused> {
        let unknown = Refused::UnknownJob { job: share.job };
        // The desk has no job that is not here: both forget by number, at the same one.
        let of = self.jobs.get(&share.job).ok_or(unknown)?;
        let good = self.desk.as_mut().ok_or(unknown)?.take(now, share)?;
        self.vardiff.found(now, good.work());
        Ok((good, of))
    }

    /// Starts anew in another space, after the chain went back to a tip that it had left; numbers
    /// of jobs go on, and so does the vardiff.
    pub fn move_to(&mut self, space: Space) {
        self.space = space;
        self.desk = None;
        self.jobs.clear();
        self.newest = None;
    }

    /// Takes another easiest target of the worker, from the next job on.
    pub const fn harden(&mut self, easiest: Target) {
        self.easiest = easiest;
    }

    /// Takes a worker's wish; see [`Vardiff::suggest`].
    pub fn suggest(&mut self, target: Target) {
        self.vardiff.suggest(target);
    }

    /// Looks at the time, and whether a job that is issued now had another target than the newest.
    /// `false` before there is one.
    pub fn wants_other_target(&mut self, now: UtcSeconds) -> bool {
        self.vardiff.wake(now);
        let wanted = self.wanted();
        // A target above the network's is raised to it when it is assigned.
        self.newest.is_some_and(|newest| newest.target != wanted.max(newest.network))
    }

    /// What the next job's target will be, but for the network's.
    #[must_use]
    pub fn wanted(&self) -> Target {
        self.vardiff.target().min(self.easiest)
    }

    /// The number of the next job.
    #[must_use]
    pub const fn next_job(&self) -> JobId {
        match JobId::new(self.next) {
            Ok(id) => id,
            Err(_) => JobId::MAX,
        }
    }

    /// What a job was made of, until it is forgotten.
    #[must_use]
    pub fn made_of(&self, job: JobId) -> Option<&W> {
        self.jobs.get(&job)
    }

    /// The worker's part of every coinbase.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }

    /// Whether it had a job in this space: then there may be what must not be counted again.
    #[must_use]
    pub const fn is_used(&self) -> bool {
        self.desk.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shares::Head;
    use crate::units::{Seconds, Work, WorkBits};

    const START: u32 = 1_800_000_000;

    fn now(after: u64) -> UtcSeconds {
        UtcSeconds::new(u64::from(START) + after).unwrap()
    }

    fn bits(bits: u8) -> WorkBits {
        WorkBits::new(bits).unwrap()
    }

    /// Shares of 2^4 hashes at first, 2^2 to 2^40.
    fn seat() -> Seat<u32> {
        let aim = Seconds::new(10).unwrap();
        let vardiff = Vardiff::new(bits(2), bits(40), bits(4), aim, now(0));
        Seat::new(Space::numbered(1, 4).unwrap(), Policy::for_aim(aim), vardiff)
    }

    /// A job on a tip; difficulty 1 or the simulated chain's.
    fn job(tip: u8, root: u8, compact: u32) -> Arc<PoolJob> {
        let head = Head {
            version: 0x2000_0000,
            version_mask: Head::MASK_MAX,
            previous: [tip; 32],
            bits: compact,
            min_time: START,
            start: START,
            roll_max: Seconds::new(600).unwrap(),
        };
        Arc::new(PoolJob::header_only(head, [root; 32]).unwrap())
    }

    const HARD: u32 = 0x1d00_ffff;

    /// The first good shares of a job from a nonce on.
    fn find(seat: &mut Seat<u32>, id: JobId, from: u32, count: usize) -> Vec<Good> {
        let (extranonce, version, time) = (0, 0x2000_0000, START);
        let of = |nonce| Share { job: id, extranonce, version, time, nonce };
        let found = (from..).filter_map(|nonce| {
            let (good, made) = seat.take(now(0), &of(nonce)).ok()?;
            assert_eq!(*made, id.to_u32());
            Some(good)
        });
        found.take(count).collect()
    }

    #[test]
    fn job_is_fresh_where_it_builds_on_another_block_than_the_one_before() {
        let mut seat = seat();
        assert!(!seat.is_used());
        let fresh = [(1, true), (1, false), (2, true), (2, false)].map(|(tip, fresh)| {
            let issued = seat.issue(now(0), job(tip, 1, HARD), 0).unwrap();
            assert_eq!(issued.fresh, fresh);
            issued.id.to_u32()
        });
        assert_eq!(fresh, [1, 2, 3, 4]);
        assert!(seat.is_used());
    }

    #[test]
    fn share_of_no_job_is_of_an_unknown_one() {
        let mut seat = seat();
        let job = JobId::new(1).unwrap();
        let share = Share { job, extranonce: 0, version: 0, time: START, nonce: 0 };
        assert_eq!(seat.take(now(0), &share).unwrap_err(), Refused::UnknownJob { job });
    }

    #[test]
    fn target_is_the_vardiffs_within_the_workers_limit_and_the_networks() {
        let mut seat = seat();
        assert!(!seat.wants_other_target(now(0)));
        let first = seat.issue(now(0), job(1, 1, HARD), 1).unwrap();
        assert_eq!(first.target, Target::of_work_bits(bits(4)));
        assert!(!seat.wants_other_target(now(0)));
        // The worker's own limit is harder.
        seat.harden(Target::of_work_bits(bits(9)));
        assert!(seat.wants_other_target(now(0)));
        let next = seat.issue(now(0), job(1, 2, HARD), 2).unwrap();
        assert_eq!(next.target, Target::of_work_bits(bits(9)));
        assert!(!seat.wants_other_target(now(0)));
        // The simulated chain's target is easier than both, and no share is harder than a block.
        let easy = seat.issue(now(0), job(2, 3, 0x207f_ffff), 3).unwrap();
        assert_eq!(easy.target, Target::from_compact(0x207f_ffff).unwrap());
        assert!(!seat.wants_other_target(now(0)));
        // The limit is taken back.
        seat.harden(Target::MAX);
        let back = seat.issue(now(0), job(3, 4, HARD), 4).unwrap();
        assert_eq!(back.target, first.target);
    }

    #[test]
    fn many_shares_make_the_next_job_harder_and_the_old_one_keeps_its_worth() {
        let mut seat = seat();
        let old = seat.issue(now(0), job(1, 1, HARD), 1).unwrap();
        let good = find(&mut seat, old.id, 0, 8);
        assert!(good.iter().all(|good| good.work() == Work::new(16)));
        assert!(seat.wants_other_target(now(0)));
        let new = seat.issue(now(0), job(1, 2, HARD), 2).unwrap();
        assert_eq!(new.target, Target::of_work_bits(bits(5)));
        let last = good.last().unwrap().share().nonce;
        let late = find(&mut seat, old.id, last + 1, 1);
        assert_eq!(late.first().unwrap().work(), Work::new(16));
        // None for long makes it easier again.
        let wants = (1..40).any(|steps| seat.wants_other_target(now(steps * 30)));
        assert!(wants);
        assert!(seat.wanted() > new.target);
    }

    #[test]
    fn jobs_are_forgotten_where_the_desk_forgets_them() {
        let mut seat = seat();
        let most = u32::try_from(Desk::JOBS_MAX).unwrap();
        for number in 1..=most + 1 {
            assert_eq!(seat.next_job().to_u32(), number);
            seat.issue(now(0), job(1, 1, HARD), number).unwrap();
        }
        let [first, second] = [1, 2].map(|number| JobId::new(number).unwrap());
        assert_eq!((seat.made_of(first), seat.made_of(second)), (None, Some(&2)));
        let share = Share { job: first, extranonce: 0, version: 0, time: START, nonce: 0 };
        assert_eq!(seat.take(now(0), &share).unwrap_err(), Refused::UnknownJob { job: first });
        assert_eq!(find(&mut seat, second, 0, 1).len(), 1);
    }

    #[test]
    fn chain_that_goes_back_needs_another_space_and_numbers_go_on() {
        let mut seat = seat();
        let first = seat.issue(now(0), job(1, 1, HARD), 1).unwrap();
        let good = find(&mut seat, first.id, 0, 1);
        seat.issue(now(0), job(2, 1, HARD), 2).unwrap();
        assert_eq!(seat.enter(now(0), [1; 32]), Err(JobError::TipLeft));
        assert_eq!(seat.issue(now(0), job(1, 1, HARD), 3), Err(JobError::TipLeft));
        assert_eq!(seat.next_job().to_u32(), 3);
        seat.move_to(Space::numbered(2, 4).unwrap());
        assert!(!seat.is_used());
        let back = seat.issue(now(0), job(1, 1, HARD), 3).unwrap();
        assert_eq!((back.id.to_u32(), back.fresh), (3, true));
        // What was counted in the other space is of a job that is gone.
        let again = seat.take(now(0), good.first().unwrap().share());
        assert_eq!(again.unwrap_err(), Refused::UnknownJob { job: first.id });
    }
}
