//! The work: the fridge's search under its governor, and the house's desk.

use core::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use millstream::ledger::{Credit, HashPrice, Input, Ledger, LedgerError, Limits, WorkerKey};
use millstream::miner::governor::{self, Energy, Governor, Grant, Heat, Micros};
use millstream::miner::job::{Parts, Root, TimeRoll};
use millstream::miner::kernel::Kernel;
use millstream::miner::search::Checkpoint;
use millstream::miner::{Found, Job, Search};
use millstream::shares::{Desk, Good, Head, Policy, PoolJob, Refused, Share, Space};
use millstream::store::Batch;
use millstream::units::{JobId, Msat, Ppm, Seconds, Target, UtcSeconds, Work, WorkBits};

use crate::common::Error;
use crate::common::dice::Dice;

/// What the board does, hashes a second: a small microcontroller's tenth, so that a day is simulated
/// in seconds.
pub(crate) const HASH_RATE: u64 = 1_000;
/// 2^12 hashes a share: four seconds of hashing.
const SHARE_BITS: u8 = 12;
/// The private price of a share, msat.
const SHARE_MSAT: u64 = 400;
/// What the house may owe before the fridge stops, msat: half an hour of work.
pub(crate) const WINDOW: u64 = 18_000;
/// A fifth of the time.
const DUTY_PPM: u32 = 200_000;
/// Slices of a second.
const SLICE_US: u64 = 1_000_000;
/// The board's limits, thousandths of a degree.
pub(crate) const TOO_HOT: i32 = 45_000;
const COOL_AGAIN: i32 = 40_000;
/// 3 W at 1,000 hashes a second are 3 mJ a hash.
const PICOJOULES_A_HASH: u64 = 3_000_000_000;
/// A watt-hour and a half an hour at most; ten a day.
const MICROJOULES: (u64, u64) = (5_400_000_000, 36_000_000_000);
/// A network whose blocks the fridge will never see.
const NETWORK_BITS: u32 = 0x1d00_ffff;

/// The fridge's side.
pub(crate) struct Miner {
    governor: Governor,
    search: Search,
    job: Option<(JobId, Head, [u8; 32])>,
    /// What it believes to be owed: a ledger with one account, its own.
    pub(crate) own: Ledger,
    /// What may be owed to it, msat.
    pub(crate) window: u64,
    kernel: Kernel,
    /// Seconds since its start.
    uptime: u64,
    pub(crate) hashes: u64,
    pub(crate) stopped: u64,
}

/// The house's side.
pub(crate) struct Office {
    desk: Desk,
    job: u32,
    tip: [u8; 32],
    dice: Dice,
    pub(crate) price: HashPrice,
    pub(crate) shares: u64,
    pub(crate) refused: u64,
}

/// What a second of the fridge's work came to.
pub(crate) struct Second {
    /// Thousandths of it that it hashed.
    pub(crate) hashing: u64,
    pub(crate) shares: Vec<Share>,
}

impl Miner {
    pub(crate) fn new(window: u64) -> Result<Self, Error> {
        let energy = Energy {
            picojoules_a_hash: NonZeroU64::new(PICOJOULES_A_HASH).ok_or("no energy")?,
            microjoules_an_hour: MICROJOULES.0,
            microjoules_a_day: MICROJOULES.1,
        };
        let heat = Heat { stop_at_millicelsius: TOO_HOT, resume_at_millicelsius: COOL_AGAIN };
        let limits = governor::Limits {
            duty: Ppm::new(DUTY_PPM)?,
            slice: Micros::new(SLICE_US),
            hashes_max: NonZeroU32::new(u32::try_from(HASH_RATE)?).ok_or("no hashes")?,
            heat: Some(heat),
            energy: Some(energy),
        };
        let unpaid_max = Msat::new(window)?;
        Ok(Self {
            governor: Governor::new(limits)?,
            search: Search::new(),
            job: None,
            window,
            own: Ledger::new(Limits { unpaid_max, workers_max: 1 })?,
            kernel: Kernel::best(),
            uptime: 0,
            hashes: 0,
            stopped: 0,
        })
    }

    pub(crate) fn take(&mut self, (id, head, root): (JobId, Head, [u8; 32])) {
        self.job = Some((id, head, root));
    }

    /// A second: idle or not, at this board temperature. What it may do the governor says.
    pub(crate) fn second(
        &mut self,
        now: UtcSeconds,
        idle: bool,
        board: i64,
    ) -> Result<Second, Error> {
        self.uptime += 1;
        let mut second = Second { hashing: 0, shares: Vec::new() };
        let start = Micros::new(self.uptime * 1_000_000);
        let Some((id, head, root)) = self.job.filter(|_| idle) else {
            return Ok(second);
        };
        let Grant::Hash(hashes) = self.governor.grant(start, i32::try_from(board).ok()) else {
            return Ok(second);
        };
        let job = job(id, &head, root, now)?;
        let _start = self.search.take(&job)?;
        let mut found = |found: Found| {
            let Found { job, extranonce, version, time, nonce, .. } = found;
            second.shares.push(Share { job, extranonce, version, time, nonce });
        };
        let step = self.search.step(&job, now, hashes.get(), &mut self.kernel, &mut found);
        self.hashes += u64::from(step.hashes);
        let took = u64::from(step.hashes) * 1_000_000 / HASH_RATE;
        self.governor.worked(Micros::new(start.to_u64() + took), step.hashes);
        second.hashing = took / 1_000;
        Ok(second)
    }

    /// It counts what it is owed for a share that the house took; false where that is enough.
    pub(crate) fn count(&mut self, worker: WorkerKey, price: HashPrice) -> Result<bool, Error> {
        let credit = Credit::priced(share_work()?, price)?;
        match self.own.decide(&Input::Credit { worker, credit }) {
            Ok(step) => {
                let staged = step.stage(&mut Batch::default())?;
                self.own.apply(&staged)?;
                Ok(true)
            }
            Err(LedgerError::UnpaidLimit { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the house owes so much that the next share could be for nothing.
    pub(crate) fn is_owed_enough(&mut self, worker: WorkerKey) -> bool {
        let due = self.own.due(worker).to_msat();
        let stop = due + SHARE_MSAT > self.window;
        self.stopped += u64::from(stop);
        stop
    }

    /// A power cut: 16 bytes of its search are left, and its clock begins anew.
    pub(crate) fn reboot(&mut self) -> Result<(), Error> {
        let stored = self.search.checkpoint().map(Checkpoint::to_bytes);
        let new = Self::new(self.window)?;
        let own = core::mem::replace(&mut self.own, Self::new(self.window)?.own);
        let (hashes, stopped) = (self.hashes, self.stopped);
        *self = Self { own, hashes, stopped, ..new };
        if let Some(stored) = stored {
            self.search = Search::resume(Checkpoint::from_bytes(stored));
        }
        Ok(())
    }
}

impl Office {
    pub(crate) fn open(seed: u64, now: UtcSeconds) -> Result<Self, Error> {
        let mut dice = Dice::new(seed, "tips");
        let tip = dice.secret();
        let desk = desk(tip, 1, now)?;
        let price = HashPrice::per_bits(Msat::new(SHARE_MSAT)?, WorkBits::new(SHARE_BITS)?)?;
        Ok(Self { desk, job: 0, tip, dice, price, shares: 0, refused: 0 })
    }

    /// A job of its own for the fridge, on a new tip if that is wanted.
    pub(crate) fn issue(
        &mut self,
        now: UtcSeconds,
        new_tip: bool,
    ) -> Result<(JobId, Head, [u8; 32]), Error> {
        if new_tip {
            self.tip = self.dice.secret();
            self.desk.new_tip(self.tip, now)?;
        }
        self.job += 1;
        let (id, start) = (JobId::new(self.job)?, u32::try_from(now.to_u64())?);
        let head = Head {
            version: 0x2000_0000,
            version_mask: Head::MASK_MAX,
            previous: self.tip,
            bits: NETWORK_BITS,
            min_time: start - 3_600,
            start,
            roll_max: Seconds::new(7_200)?,
        };
        // The root of a coinbase that nobody else has.
        let root = self.dice.secret();
        let job = Arc::new(PoolJob::header_only(head, root)?);
        self.desk.assign(id, job, Target::of_work_bits(WorkBits::new(SHARE_BITS)?))?;
        Ok((id, head, root))
    }

    /// A share comes in.
    pub(crate) fn take(&mut self, now: UtcSeconds, share: &Share) -> Result<Good, Refused> {
        let answer = self.desk.take(now, share);
        match answer {
            Ok(_) => self.shares += 1,
            Err(_) => self.refused += 1,
        }
        answer
    }

    /// A power cut: what was counted on this tip is forgotten, so it makes a desk of another space,
    /// and jobs of other roots.
    pub(crate) fn reboot(&mut self, now: UtcSeconds) -> Result<(), Error> {
        self.desk = desk(self.tip, u64::from(self.job) + 2, now)?;
        Ok(())
    }
}

fn desk(tip: [u8; 32], number: u64, now: UtcSeconds) -> Result<Desk, Error> {
    let policy = Policy::for_aim(Seconds::new(4)?);
    Ok(Desk::new(Space::numbered(number, 4)?, policy, tip, now))
}

fn job(id: JobId, head: &Head, root: [u8; 32], now: UtcSeconds) -> Result<Job<'static>, Error> {
    Ok(Job::new(Parts {
        id,
        version: head.version,
        version_mask: head.version_mask,
        previous: head.previous,
        root: Root::Fixed(root),
        bits: head.bits,
        time: head.start,
        roll: TimeRoll::Clock(7_200),
        nonce_first: 0,
        nonce_last: u32::MAX,
        target: Target::of_work_bits(WorkBits::new(SHARE_BITS)?),
        expires: UtcSeconds::new(now.to_u64() + 7_200)?,
    })?)
}

/// What a share is worth in hashes.
pub(crate) fn share_work() -> Result<Work, Error> {
    Ok(Work::of_bits(WorkBits::new(SHARE_BITS)?))
}

/// What a share is worth, msat: for the oracle.
pub(crate) const fn share_msat() -> u64 {
    SHARE_MSAT
}
