//! One standard channel: its worker's desk, its jobs, and what it tells the miner of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use binary_sv2::Sv2OptionOwned;
use bitcoin::hashes::Hash;
use mining_sv2::{
    CHANNEL_BIT_MINING_SET_NEW_PREV_HASH, CHANNEL_BIT_NEW_MINING_JOB,
    CHANNEL_BIT_SET_EXTRANONCE_PREFIX, CHANNEL_BIT_SET_TARGET,
    MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, MESSAGE_TYPE_NEW_MINING_JOB,
    MESSAGE_TYPE_SET_EXTRANONCE_PREFIX, MESSAGE_TYPE_SET_TARGET, NewMiningJobOwned,
    SetExtranoncePrefixOwned, SetNewPrevHashOwned, SetTargetOwned, SubmitSharesStandard,
};

use super::link::Writer;
use super::message::{hash_bytes, target_bytes};
use super::server::Spaces;
use super::{Credit, Sv2Error, Sv2Options};
use crate::chain::template::BlockPlan;
use crate::shares::{Desk, JobError, Policy, Refused, Share, Space, Vardiff};
use crate::stratum::WorkerName;
use crate::units::{JobId, Seconds, Target, UtcSeconds, Work};

/// Ten minutes: a new job comes sooner.
const ROLL_MAX: Seconds = match Seconds::new(600) {
    Ok(seconds) => seconds,
    Err(_) => Seconds::MIN,
};
/// `new_shares_sum` is told in units of 2^32 hashes.
const SUM_BITS: u32 = 32;

/// A worker's standard channel.
pub(super) struct Channel {
    id: u32,
    worker: Arc<WorkerName>,
    pub(super) space: Space,
    policy: Policy,
    /// None before the first job.
    desk: Option<Desk>,
    vardiff: Vardiff,
    /// The easiest target that the miner takes.
    hardest: Target,
    /// What the miner was told last.
    target: Target,
    jobs: BTreeMap<JobId, (Arc<BlockPlan>, u64)>,
    next_job: u32,
    /// Work that was counted, and how much of it was told.
    work: Work,
    told: u128,
}

impl Channel {
    pub(super) fn new(
        id: u32,
        worker: WorkerName,
        max_target: Target,
        space: Space,
        options: &Sv2Options,
        now: UtcSeconds,
    ) -> Self {
        let (least, most, start) = options.work;
        let vardiff = Vardiff::new(least, most, start, options.aim, now);
        Self {
            id,
            worker: Arc::new(worker),
            space,
            policy: options.desk,
            desk: None,
            target: vardiff.target().min(max_target),
            vardiff,
            hardest: max_target,
            jobs: BTreeMap::new(),
            next_job: 1,
            work: Work::ZERO,
            told: 0,
        }
    }

    /// What shares must meet from the next job on, as far as it was told.
    pub(super) const fn target(&self) -> Target {
        self.target
    }

    /// Takes another easiest target, from the next job on.
    pub(super) fn harden(&mut self, max_target: Target) {
        self.hardest = max_target;
    }

    /// Whether the target of the newest job is not what it would be now.
    pub(super) fn wants_other_target(&mut self, now: UtcSeconds) -> bool {
        self.vardiff.wake(now);
        let network = self.network();
        let wanted = self.vardiff.target().min(self.hardest);
        self.target != network.map_or(wanted, |network| wanted.max(network))
    }

    fn network(&self) -> Option<Target> {
        let (plan, _) = self.jobs.last_key_value()?.1;
        Target::from_compact(plan.template().bits.to_consensus()).ok()
    }

    /// Gives the channel a job of `plan`, with its target and, at a new tip, the block before it.
    pub(super) async fn issue(
        &mut self,
        plan: &Arc<BlockPlan>,
        spaces: &Spaces,
        now: UtcSeconds,
        to: &mut Writer,
    ) -> Result<(), Sv2Error> {
        let template = plan.template();
        let previous = template.previous.to_byte_array();
        let newest = self.jobs.last_key_value().map(|(_, (plan, _))| plan.template().previous);
        let fresh = newest != Some(template.previous);
        let (space, policy) = (self.space, self.policy);
        let desk = self.desk.get_or_insert_with(|| Desk::new(space, policy, previous, now));
        match desk.new_tip(previous, now) {
            Ok(()) => {}
            Err(JobError::TipLeft) => self.move_to(spaces.next()?, previous, now, to).await?,
            Err(error) => return Err(error.into()),
        }
        // The job's number is its extranonce too: no two jobs have a root in common.
        let (number, extranonce) = (self.next_job, u64::from(self.next_job));
        let id = JobId::new(number).map_err(|_| Sv2Error::Closed)?;
        let job = Arc::new(plan.fixed_job(&self.space, extranonce, ROLL_MAX)?);
        let start = job.head().start;
        let wanted = self.vardiff.target().min(self.hardest);
        let desk = self.desk.as_mut().ok_or(Sv2Error::Closed)?;
        let target = desk.assign(id, job, wanted)?;
        self.next_job = number.checked_add(1).ok_or(Sv2Error::Closed)?;
        self.jobs.insert(id, (Arc::clone(plan), extranonce));
        while self.jobs.len() > Desk::JOBS_MAX {
            self.jobs.pop_first();
        }
        self.tell(number, target, fresh, start, to).await
    }

    /// Tells the miner of its newest job: the target if it changed, then the job, and the tip if
    /// that is new.
    async fn tell(
        &mut self,
        number: u32,
        target: Target,
        fresh: bool,
        start: u32,
        to: &mut Writer,
    ) -> Result<(), Sv2Error> {
        let Some((_, (plan, extranonce))) = self.jobs.last_key_value() else { return Ok(()) };
        let template = plan.template();
        if target != self.target {
            self.target = target;
            let channel_id = self.id;
            let message = SetTargetOwned { channel_id, maximum_target: target_bytes(target)? };
            to.send(message, MESSAGE_TYPE_SET_TARGET, CHANNEL_BIT_SET_TARGET).await?;
        }
        let root = plan.fixed_root(&self.space, *extranonce)?;
        let message = NewMiningJobOwned {
            channel_id: self.id,
            job_id: number,
            min_ntime: Sv2OptionOwned::new((!fresh).then_some(start)),
            version: template.version,
            merkle_root: hash_bytes(&root)?,
        };
        to.send(message, MESSAGE_TYPE_NEW_MINING_JOB, CHANNEL_BIT_NEW_MINING_JOB).await?;
        if fresh {
            let message = SetNewPrevHashOwned {
                channel_id: self.id,
                job_id: number,
                prev_hash: hash_bytes(template.previous.as_byte_array())?,
                min_ntime: start,
                nbits: template.bits.to_consensus(),
            };
            let of_channel = CHANNEL_BIT_MINING_SET_NEW_PREV_HASH;
            to.send(message, MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, of_channel).await?;
        }
        Ok(())
    }

    /// Starts anew in another space, after the chain went back to a tip that it had left.
    async fn move_to(
        &mut self,
        space: Space,
        previous: [u8; 32],
        now: UtcSeconds,
        to: &mut Writer,
    ) -> Result<(), Sv2Error> {
        self.space = space;
        self.desk = Some(Desk::new(space, self.policy, previous, now));
        self.jobs.clear();
        let kind = MESSAGE_TYPE_SET_EXTRANONCE_PREFIX;
        let prefix = space.as_slice().to_vec().try_into();
        let message = SetExtranoncePrefixOwned {
            channel_id: self.id,
            extranonce_prefix: prefix.map_err(|_| Sv2Error::Malformed { kind })?,
        };
        to.send(message, kind, CHANNEL_BIT_SET_EXTRANONCE_PREFIX).await
    }

    /// Judges a share, and counts it if it is good.
    pub(super) fn judge(
        &mut self,
        submit: &SubmitSharesStandard,
        now: UtcSeconds,
    ) -> Result<Credit, Refused> {
        let unknown = |job| Refused::UnknownJob { job };
        let job = JobId::new(submit.job_id).unwrap_or(JobId::MAX);
        let desk = self.desk.as_mut().ok_or(unknown(job))?;
        let share = Share {
            job,
            extranonce: 0,
            version: submit.version,
            time: submit.ntime,
            nonce: submit.nonce,
        };
        let good = desk.take(now, &share)?;
        // The desk has the job, so that it is here too: both keep the same number.
        let (plan, extranonce) = self.jobs.get(&job).ok_or(unknown(job))?;
        self.vardiff.found(now, good.work());
        self.work = self.work.saturating_add(good.work());
        let (worker, plan) = (Arc::clone(&self.worker), Arc::clone(plan));
        Ok(Credit { worker, good, plan, space: self.space, extranonce: *extranonce })
    }

    /// The counted work that was not told yet, in units of 2^32 hashes; the rest is told later.
    pub(super) fn tell_sum(&mut self) -> u64 {
        let all = self.work.hashes().wrapping_shr(SUM_BITS);
        let fresh = all.saturating_sub(self.told);
        self.told = all;
        u64::try_from(fresh).unwrap_or(u64::MAX)
    }
}
