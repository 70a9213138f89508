//! The workers: how fast they are, how they behave, and their search.

use millstream::miner::job::{Coinbase, Job, Parts, Root, TimeRoll};
use millstream::miner::kernel::Kernel;
use millstream::miner::{Found, Search};
use millstream::shares::Share;
use millstream::units::{JobId, Target, UtcSeconds};

use super::house::{EXTRANONCE_SIZE, Notice};
use crate::common::Error;
use crate::common::dice::Dice;

/// A hundred.
pub(crate) const WORKERS: usize = 100;
/// Three hours: no header may be so far ahead.
const AHEAD: u32 = 3 * 3_600;

/// How a worker behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    Honest,
    /// Sends every share twice.
    Repeats,
    /// Makes shares up: any nonce will do.
    MakesUp,
    /// Sends the shares of the worker before it.
    Steals,
    /// Sends the shares of the job before once more when there is a new tip.
    Late,
    /// Sets the time of its shares ahead.
    Ahead,
    /// Throws its blocks away.
    Withholds,
    /// Works for young rounds only.
    Hops,
}

/// The cheats, and where they stand among the workers: fast enough to be seen.
const CHEATS: [(usize, Habit); 7] = [
    (61, Habit::Repeats),
    (63, Habit::MakesUp),
    (65, Habit::Steals),
    (67, Habit::Late),
    (69, Habit::Ahead),
    (92, Habit::Withholds),
    (95, Habit::Hops),
];

/// A worker's side.
pub(crate) struct Worker {
    /// Hashes a minute.
    pub(crate) power: u32,
    pub(crate) habit: Habit,
    search: Search,
    job: Option<(JobId, Notice)>,
    target: Target,
    /// What it found for the job before.
    old: Vec<Share>,
    found: Vec<Share>,
    /// Hashes that it has done.
    pub(crate) hashes: u64,
}

/// All of them: sixty devices, thirty desktops, ten machines that are built for it.
pub(crate) fn crew(seed: u64, chaos: u8) -> Vec<Worker> {
    let mut dice = Dice::new(seed, "power");
    let worker = |number: usize| {
        let power = match number {
            0..60 => dice.between(20, 100),
            60..90 => dice.between(200, 1_000),
            _ => dice.between(1_500, 3_000),
        };
        let cheat = CHEATS.iter().find(|(at, _)| *at == number && chaos > 0);
        Worker {
            power: u32::try_from(power).unwrap_or(0),
            habit: cheat.map_or(Habit::Honest, |(_, habit)| *habit),
            search: Search::new(),
            job: None,
            target: Target::MAX,
            old: Vec::new(),
            found: Vec::new(),
            hashes: 0,
        }
    };
    (0..WORKERS).map(worker).collect()
}

impl Worker {
    /// Takes a job; on a new tip what was found for the old one is old.
    pub(crate) fn take(&mut self, id: JobId, notice: &Notice, target: Target, new_tip: bool) {
        if new_tip {
            self.old = core::mem::take(&mut self.found);
        }
        (self.job, self.target) = (Some((id, notice.clone())), target);
    }

    /// A minute's work: what it sends. `young` says whether the round is, for one that hops.
    pub(crate) fn work(
        &mut self,
        now: UtcSeconds,
        space: &[u8],
        (young, neighbour): (bool, &[Share]),
        kernel: &mut Kernel,
    ) -> Result<Vec<Share>, Error> {
        let Some((id, notice)) = self.job.clone() else { return Ok(Vec::new()) };
        if self.habit == Habit::Hops && !young {
            return Ok(Vec::new());
        }
        let mut shares = Vec::new();
        if !matches!(self.habit, Habit::MakesUp | Habit::Steals) {
            let coinbase = notice.coinbase(space)?;
            let job = Job::new(notice.parts(id, coinbase, self.target, now)?)?;
            let _start = self.search.take(&job)?;
            let share = |found: Found| Share {
                job: found.job,
                extranonce: found.extranonce,
                version: found.version,
                time: found.time,
                nonce: found.nonce,
            };
            let mut found = |hit| shares.push(share(hit));
            let step = self.search.step(&job, now, self.power, kernel, &mut found);
            self.hashes += u64::from(step.hashes);
        }
        self.found.extend(&shares);
        Ok(self.bend(id, now, shares, neighbour))
    }

    /// What it does with what it has found.
    fn bend(
        &mut self,
        job: JobId,
        now: UtcSeconds,
        mut shares: Vec<Share>,
        neighbour: &[Share],
    ) -> Vec<Share> {
        match self.habit {
            Habit::Honest | Habit::Withholds | Habit::Hops => {}
            Habit::Repeats => shares.extend(shares.clone()),
            Habit::MakesUp => {
                let time = u32::try_from(now.to_u64()).unwrap_or(0);
                let made = |nonce| Share { job, extranonce: 0, version: 0x2000_0000, time, nonce };
                shares.extend((0..4).map(|nonce| made(time.wrapping_mul(31).wrapping_add(nonce))));
            }
            Habit::Steals => {
                shares.extend(neighbour.iter().map(|share| Share { job, ..*share }));
            }
            Habit::Late => shares.append(&mut self.old),
            Habit::Ahead => {
                for share in &mut shares {
                    share.time += AHEAD;
                }
            }
        }
        shares
    }

    /// The shares of its last minute that others could overhear.
    pub(crate) fn overheard(&self) -> Vec<Share> {
        self.found.iter().rev().take(2).copied().collect()
    }
}

impl Notice {
    /// The coinbase with this worker's space in it.
    fn coinbase<'a>(&'a self, space: &'a [u8]) -> Result<Coinbase<'a>, Error> {
        let (prefix, suffix) = (&self.prefix, &self.suffix);
        Ok(Coinbase::new(prefix, space, EXTRANONCE_SIZE, suffix, &self.branches)?)
    }

    fn parts<'a>(
        &self,
        id: JobId,
        coinbase: Coinbase<'a>,
        target: Target,
        now: UtcSeconds,
    ) -> Result<Parts<'a>, Error> {
        Ok(Parts {
            id,
            version: self.head.version,
            version_mask: 0,
            previous: self.head.previous,
            root: Root::Coinbase(coinbase),
            bits: self.head.bits,
            time: self.head.start,
            roll: TimeRoll::Clock(600),
            nonce_first: 0,
            nonce_last: u32::MAX,
            target,
            expires: UtcSeconds::new(now.to_u64() + 3_600)?,
        })
    }
}
