//! One worker's channel: its jobs, what it was credited, what it may be.

mod check;
mod good;
mod many;
mod policy;

use alloc::vec::Vec;

use super::job::PoolJob;
use super::seen::{Key, Seen};
use super::{JobError, Space};
use crate::Arc;
use crate::sha256::Engine;
use crate::units::{JobId, Target, UtcSeconds, Work};

pub use good::Good;
pub use policy::{Grace, Policy};

/// A job as this worker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Issued {
    id: JobId,
    tip: u32,
    job: Arc<PoolJob>,
    target: Target,
    work: Work,
}

/// Credit that seconds bring and shares take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    shares: u64,
    at: UtcSeconds,
}

impl Bucket {
    /// With what came since.
    fn filled(self, policy: &Policy, now: UtcSeconds) -> Self {
        let seconds = now.saturating_since(self.at).to_u64();
        let more = seconds.saturating_mul(policy.shares_per_second.into());
        let shares = self.shares.saturating_add(more).min(policy.burst.into());
        // A clock that goes back brings nothing, then or later.
        Self { shares, at: self.at.max(now) }
    }

    const fn less_one(self) -> Self {
        Self { shares: self.shares.saturating_sub(1), ..self }
    }
}

/// One worker's channel at the pool.
///
/// ```text
///            new_tip                    new_tip
///   current ---------> in grace, if any ---------> left: never comes back
///     ^ assign            |
///     '-------- check, apply
/// ```
///
/// All of it is in memory: what was credited is the ledger's to keep. See V4 for a restart.
///
/// ```
/// use std::sync::Arc;
/// use millstream::shares::{Desk, Head, Policy, PoolJob, Refused, Share, Space};
/// use millstream::units::{JobId, Seconds, Target, UtcSeconds, Work, WorkBits};
///
/// let now = UtcSeconds::new(1_800_000_000)?;
/// let policy = Policy::for_aim(Seconds::new(60)?);
/// let mut desk = Desk::new(Space::numbered(1, 4)?, policy, [7; 32], now);
/// let (start, roll_max) = (1_800_000_000, Seconds::new(600)?);
/// let (version_mask, bits) = (Head::MASK_MAX, 0x1b00_ffff);
/// let previous = [7; 32];
/// let min_time = start - 3_000;
/// let version = 0x2000_0000;
/// let head = Head { version, version_mask, previous, bits, min_time, start, roll_max };
/// let job = Arc::new(PoolJob::header_only(head, [9; 32])?);
/// let id = JobId::new(1)?;
/// desk.assign(id, job, Target::of_work_bits(WorkBits::new(4)?))?;
///
/// // Sixteen hashes a share.
/// let of = |nonce| Share { job: id, extranonce: 0, version, time: start, nonce };
/// let (good, refused): (Vec<_>, Vec<_>) =
///     (0..1_000).map(|nonce| desk.check(now, &of(nonce))).partition(Result::is_ok);
/// assert!(good.len() > 30);
/// assert!(refused.iter().all(|refused| matches!(refused, Err(Refused::Low { .. }))));
/// let good = good[0]?;
/// assert_eq!(good.work(), Work::new(16));
/// desk.apply(&good)?;
/// assert_eq!(desk.check(now, good.share()), Err(Refused::Duplicate { job: id }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desk {
    engine: Engine,
    space: Space,
    policy: Policy,
    /// In the order of their ids, which is the order of their tips too.
    jobs: Vec<Issued>,
    /// Number of the tip, and since when.
    tip: u32,
    since: UtcSeconds,
    /// What the current tip's blocks build on.
    previous: [u8; 32],
    /// The tips before, the newest last.
    left: Vec<[u8; 32]>,
    seen: Seen,
    /// Counted on the tip before; stays empty without a grace.
    seen_before: Seen,
    bucket: Bucket,
}

impl Desk {
    /// 64: half an hour of a job each thirty seconds. Older ones are unknown.
    pub const JOBS_MAX: usize = 64;
    /// 16: a chain that comes back to a tip by a longer way than this has undone 17 blocks.
    pub const TIPS_MAX: usize = 16;

    /// A desk for one worker, on the tip whose hash is `previous`.
    ///
    /// `space`: no other desk's on this tip, nor one that this worker had on it before a restart.
    #[must_use]
    pub fn new(space: Space, policy: Policy, previous: [u8; 32], now: UtcSeconds) -> Self {
        let limit = policy.shares_per_tip.clamp(1, Policy::PER_TIP_MAX);
        Self {
            engine: Engine::best(),
            space,
            policy,
            jobs: Vec::new(),
            tip: 0,
            since: now,
            previous,
            left: Vec::new(),
            seen: Seen::new(limit),
            seen_before: Seen::new(limit),
            bucket: Bucket { shares: policy.burst.into(), at: now },
        }
    }

    /// The same desk with this engine: for benches, and for tests that compare them.
    #[must_use]
    pub fn with_engine(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    /// Gives the worker a job at this target, or at the network's where that is easier (V6);
    /// returns the one that counts.
    ///
    /// The oldest job is forgotten above [`Self::JOBS_MAX`].
    ///
    /// # Errors
    /// [`JobError::JobBackwards`], [`JobError::WrongTip`], [`JobError::SpaceMisfit`].
    pub fn assign(
        &mut self,
        id: JobId,
        job: Arc<PoolJob>,
        target: Target,
    ) -> Result<Target, JobError> {
        if let Some(last) = self.jobs.last().filter(|last| last.id >= id) {
            return Err(JobError::JobBackwards { got: id, last: last.id });
        }
        if job.head().previous != self.previous {
            return Err(JobError::WrongTip);
        }
        if let Some(room) = job.space_size().filter(|room| *room != self.space.size()) {
            return Err(JobError::SpaceMisfit { got: self.space.size(), room });
        }
        if self.jobs.len() >= Self::JOBS_MAX {
            self.jobs.remove(0);
        }
        let target = target.max(job.network());
        self.jobs.push(Issued { id, tip: self.tip, job, target, work: target.work() });
        Ok(target)
    }

    /// Goes to the tip whose hash is `previous`: all jobs are stale, but for a grace, and what was
    /// counted is forgotten.
    ///
    /// # Errors
    /// [`JobError::TipLeft`] for one that the desk was on before: a chain that goes back and forth
    /// could have a share counted twice. Make a desk with another space. The tip that it is on
    /// changes nothing.
    pub fn new_tip(&mut self, previous: [u8; 32], now: UtcSeconds) -> Result<(), JobError> {
        if previous == self.previous {
            return Ok(());
        }
        let next = self.tip.checked_add(1).filter(|_| !self.left.contains(&previous));
        self.tip = next.ok_or(JobError::TipLeft)?;
        if self.left.len() >= Self::TIPS_MAX {
            self.left.remove(0);
        }
        self.left.push(self.previous);
        (self.previous, self.since) = (previous, now);
        if self.policy.grace != Grace::None {
            core::mem::swap(&mut self.seen, &mut self.seen_before);
        }
        self.seen.clear();
        Ok(())
    }

    /// Counts a share that [`Self::check`] found good.
    ///
    /// # Errors
    /// [`JobError::NotChecked`] if it was counted since, or its tip was left.
    pub fn apply(&mut self, good: &Good) -> Result<(), JobError> {
        let before = good.tip != self.tip;
        if before && !self.in_grace(good.at, good.tip) {
            return Err(JobError::NotChecked);
        }
        let seen = if before { &mut self.seen_before } else { &mut self.seen };
        let is_new = seen.insert(Key::of(&good.hash));
        if !good.within {
            // V8: nothing was taken out of the budget; where there is room it is told once.
            return Ok(());
        }
        if !is_new {
            return Err(JobError::NotChecked);
        }
        self.bucket = self.bucket.filled(&self.policy, good.at).less_one();
        Ok(())
    }

    /// What the worker's coinbases are marked by.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }

    /// Shares that were counted on this tip.
    #[must_use]
    pub const fn counted(&self) -> u32 {
        self.seen.held()
    }
}
