//! One standard channel: its worker's seat, and what it tells the miner of its jobs.

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
use crate::shares::seat::{Issued, Seat};
use crate::shares::{JobError, Refused, Share, Space, Vardiff};
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
    seat: Seat<Made>,
    /// What the miner was told last.
    target: Target,
    counted: Counted,
}

/// What a job is made of.
struct Made {
    plan: Arc<BlockPlan>,
    extranonce: u64,
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
        let mut seat = Seat::new(space, options.desk, vardiff);
        seat.harden(max_target);
        Self {
            id,
            worker: Arc::new(worker),
            target: seat.wanted(),
            seat,
            counted: Counted::default(),
        }
    }

    /// What shares must meet from the next job on, as far as it was told.
    pub(super) const fn target(&self) -> Target {
        self.target
    }

    /// Takes another easiest target, from the next job on.
    pub(super) fn harden(&mut self, max_target: Target) {
        self.seat.harden(max_target);
    }

    /// Whether the target of the newest job is not what it would be now.
    pub(super) fn wants_other_target(&mut self, now: UtcSeconds) -> bool {
        self.seat.wants_other_target(now)
    }

    /// Gives the channel a job of `plan`, with its target and, at a new tip, the block before it.
    pub(super) async fn issue(
        &mut self,
        plan: &Arc<BlockPlan>,
        spaces: &Spaces,
        now: UtcSeconds,
        to: &mut Writer,
    ) -> Result<(), Sv2Error> {
        let previous = plan.template().previous.to_byte_array();
        match self.seat.enter(now, previous) {
            Ok(()) => {}
            Err(JobError::TipLeft) => self.move_to(spaces.next()?, to).await?,
            Err(error) => return Err(error.into()),
        }
        // The job's number is its extranonce too: no two jobs have a root in common.
        let extranonce = self.seat.next_job().to_u32().into();
        let job = Arc::new(plan.fixed_job(self.seat.space(), extranonce, ROLL_MAX)?);
        let start = job.head().start;
        let made = Made { plan: Arc::clone(plan), extranonce };
        let issued = self.seat.issue(now, job, made)?;
        self.tell(&issued, start, to).await
    }

    /// Tells the miner of its newest job: the target if it changed, then the job, and the tip if
    /// that is new.
    async fn tell(&mut self, issued: &Issued, start: u32, to: &mut Writer) -> Result<(), Sv2Error> {
        let Issued { id, target, fresh } = *issued;
        let Some(Made { plan, extranonce }) = self.seat.made_of(id) else { return Ok(()) };
        let template = plan.template();
        let number = id.to_u32();
        if target != self.target {
            self.target = target;
            let channel_id = self.id;
            let message = SetTargetOwned { channel_id, maximum_target: target_bytes(target)? };
            to.send(message, MESSAGE_TYPE_SET_TARGET, CHANNEL_BIT_SET_TARGET).await?;
        }
        let root = plan.fixed_root(self.seat.space(), *extranonce)?;
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
    async fn move_to(&mut self, space: Space, to: &mut Writer) -> Result<(), Sv2Error> {
        self.seat.move_to(space);
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
        let job = JobId::new(submit.job_id).unwrap_or(JobId::MAX);
        let share = Share {
            job,
            extranonce: 0,
            version: submit.version,
            time: submit.ntime,
            nonce: submit.nonce,
        };
        let (good, Made { plan, extranonce }) = self.seat.take(now, &share)?;
        let (plan, extranonce) = (Arc::clone(plan), *extranonce);
        self.counted.add(good.work());
        let (worker, space) = (Arc::clone(&self.worker), *self.seat.space());
        Ok(Credit { worker, good, plan, space, extranonce })
    }

    /// The counted work that was not told yet.
    pub(super) fn tell_sum(&mut self) -> u64 {
        self.counted.tell()
    }
}

/// Work that was counted, and how much of it was told, in units of 2^32 hashes.
#[derive(Default)]
struct Counted {
    hashes: u128,
    told: u128,
}

impl Counted {
    const fn add(&mut self, work: Work) {
        self.hashes = self.hashes.saturating_add(work.hashes());
    }

    /// The whole units that were not told yet; what is left of one is told later.
    fn tell(&mut self) -> u64 {
        let all = self.hashes.wrapping_shr(SUM_BITS);
        let fresh = all.saturating_sub(self.told);
        self.told = all;
        u64::try_from(fresh).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::WorkBits;

    #[test]
    fn shares_below_a_unit_are_told_to_the_last_of_them() {
        // What a microcontroller finds: 2^20 hashes, difficulty 0.00024; and one of 2^19 each
        // time, so that no sum ends at a unit.
        let mut counted = Counted::default();
        let (mut told, mut hashes) = (0, 0_u128);
        for _ in 0..10_000 {
            for bits in [20, 19] {
                let work = Target::of_work_bits(WorkBits::new(bits).unwrap()).work();
                counted.add(work);
                hashes += work.hashes();
                told += counted.tell();
            }
            assert_eq!(u128::from(told), hashes >> 32);
        }
        assert_eq!(told, 3);
    }

    #[test]
    fn large_shares_are_told_at_once_and_once() {
        let mut counted = Counted::default();
        counted.add(Work::new((5 << 32) + 7));
        assert_eq!(counted.tell(), 5);
        assert_eq!(counted.tell(), 0);
        counted.add(Work::new((1 << 32) - 7));
        assert_eq!(counted.tell(), 1);
    }
}
