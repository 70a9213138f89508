//! A shift: minute by minute everybody works, the pool judges, the books are added up.

use millstream::miner::kernel::Kernel;
use millstream::shares::{Refused, Share};
use millstream::units::UtcSeconds;
use serde::Serialize;

use super::books::{NAMES, PAID};
use super::crew::{Habit, WORKERS, Worker, crew};
use super::house::House;
use super::payroll::{Paid, Payroll};
use crate::common::output::{Lines, Screen, clock, sat};
use crate::common::{Error, Options, Sabotage};

/// Wednesday, 4 March 2026, 06:00 UTC.
const START: u64 = 1_772_582_400 + 6 * 3_600;
/// A new job for all, minutes.
const JOB: u64 = 5;
/// The books go to the payroll, minutes.
const PAYDAY: u64 = 10;
/// A round is young for this part of the work that a block takes, for whoever hops.
const YOUNG: u128 = 4;
/// 5: more of the same would only hide the first.
const BROKEN_MAX: usize = 5;

/// What was answered to shares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Answers {
    pub(crate) good: u64,
    pub(crate) blocks: u64,
    pub(crate) duplicate: u64,
    pub(crate) low: u64,
    pub(crate) stale: u64,
    pub(crate) bad_time: u64,
    pub(crate) other: u64,
    /// Blocks that were thrown away by their finder.
    pub(crate) withheld: u64,
}

/// A moment of the shift.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    /// Minutes since the start.
    pub(crate) minute: u64,
    /// Good work of this minute.
    pub(crate) work: u64,
    pub(crate) blocks: u64,
    /// What is owed by each scheme, msat.
    pub(crate) owed: [u64; NAMES.len()],
    /// What blocks brought, msat.
    pub(crate) rewards: u64,
    /// What was paid through channels, msat.
    pub(crate) paid: u64,
}

/// A worker at the end.
#[derive(Debug, Clone)]
pub(crate) struct Earned {
    pub(crate) power: u32,
    pub(crate) habit: Habit,
    pub(crate) hashes: u64,
    /// Good work, and what is owed for it by each scheme, msat.
    pub(crate) work: u64,
    pub(crate) owed: [u64; NAMES.len()],
    /// Whether its blocks are fewer than luck explains.
    pub(crate) suspect: bool,
}

/// All of it in numbers.
pub(crate) struct Outcome {
    pub(crate) samples: Vec<Sample>,
    pub(crate) earned: Vec<Earned>,
    pub(crate) answers: Answers,
    pub(crate) rewards: u64,
    pub(crate) fees: [u64; NAMES.len()],
    pub(crate) paid: Paid,
    pub(crate) checks: u64,
    pub(crate) broken: Vec<String>,
}

/// The state of the shift.
pub(crate) struct Shift<'a> {
    crew: Vec<Worker>,
    house: House,
    payroll: Payroll,
    kernel: Kernel,
    now: u64,
    sabotage: Option<Sabotage>,
    screen: &'a mut Screen,
    lines: &'a mut Lines,
    samples: Vec<Sample>,
    answers: Answers,
    checks: u64,
    broken: Vec<String>,
}

impl<'a> Shift<'a> {
    /// Everybody comes, and has a channel from the pool.
    pub(crate) fn begin(
        options: &Options,
        screen: &'a mut Screen,
        lines: &'a mut Lines,
    ) -> Result<Self, Error> {
        screen.line(&format!("-- the pool opens a channel to each of {WORKERS} workers"));
        let chaos = options.chaos.min(3);
        let payroll = Payroll::open(START, options.seed, chaos)?;
        let house = House::open(payroll.keys(), options.seed, UtcSeconds::new(START)?)?;
        Ok(Self {
            crew: crew(options.seed, chaos),
            house,
            payroll,
            kernel: Kernel::best(),
            now: START,
            sabotage: options.sabotage,
            screen,
            lines,
            samples: Vec::new(),
            answers: Answers::default(),
            checks: 0,
            broken: Vec::new(),
        })
    }

    /// So many minutes, and the settlement after them.
    pub(crate) fn work(mut self, minutes: u64) -> Result<Outcome, Error> {
        self.issue(true)?;
        for minute in 1..=minutes {
            self.now += 60;
            self.minute(minute)?;
            if minute.is_multiple_of(PAYDAY) || minute == minutes {
                self.pay()?;
            }
        }
        self.end()
    }

    fn minute(&mut self, minute: u64) -> Result<(), Error> {
        let now = UtcSeconds::new(self.now)?;
        let (mut work, mut new_tip) = (0, false);
        for worker in 0..self.crew.len() {
            let shares = self.shares_of(worker, now)?;
            for share in shares {
                let answer = self.house.submit(worker, &share, now)?;
                self.count(worker, &answer)?;
                let Ok(good) = answer else { continue };
                work += u64::try_from(good.work().hashes())?;
                if good.is_block() {
                    new_tip = true;
                    let (hour, blocks) = (clock(self.now), self.house.blocks.len());
                    self.screen.line(&format!("{hour} worker {worker} finds block {blocks}"));
                    // What was found for the old tip is stale from here on: the next is at once.
                    self.issue(true)?;
                }
            }
        }
        if !new_tip && minute.is_multiple_of(JOB) {
            self.issue(false)?;
        }
        let (checks, broken) = self.house.books.check();
        self.checks += checks;
        if let Some(what) = broken {
            self.fail(what);
        }
        self.sample(minute, work)
    }

    /// What a worker sends in this minute.
    fn shares_of(&mut self, worker: usize, now: UtcSeconds) -> Result<Vec<Share>, Error> {
        let network = House::network_work()?.hashes();
        let young = self.house.round < network / YOUNG;
        let beside = worker.checked_sub(1).and_then(|at| self.crew.get(at));
        let overheard = beside.map(Worker::overheard).unwrap_or_default();
        let place = self.house.places.get(worker).ok_or("no worker")?;
        let space = place.desk.space().as_slice().to_vec();
        let crew = self.crew.get_mut(worker).ok_or("no worker")?;
        let shares = crew.work(now, &space, (young, &overheard), &mut self.kernel)?;
        if crew.habit != Habit::Withholds {
            return Ok(shares);
        }
        let desk = &place.desk;
        let block = |share: &Share| desk.check(now, share).is_ok_and(|good| good.is_block());
        let (blocks, rest): (Vec<_>, Vec<_>) = shares.into_iter().partition(block);
        self.answers.withheld += blocks.len() as u64;
        Ok(rest)
    }

    fn issue(&mut self, new_tip: bool) -> Result<(), Error> {
        let (id, notice, targets) = self.house.issue(UtcSeconds::new(self.now)?)?;
        for (worker, target) in self.crew.iter_mut().zip(targets) {
            worker.take(id, &notice, target, new_tip);
        }
        Ok(())
    }

    /// Counts an answer; the cheats' must be what they earn.
    fn count<T: Copy>(&mut self, worker: usize, answer: &Result<T, Refused>) -> Result<(), Error> {
        let at = &mut self.answers;
        match answer {
            Ok(_) => at.good += 1,
            Err(Refused::Duplicate { .. }) => at.duplicate += 1,
            Err(Refused::Low { .. }) => at.low += 1,
            Err(Refused::Stale { .. }) => at.stale += 1,
            Err(Refused::BadTime { .. }) => at.bad_time += 1,
            Err(_) => at.other += 1,
        }
        self.checks += 1;
        let habit = self.crew.get(worker).ok_or("no worker")?.habit;
        let fits = match habit {
            Habit::Honest | Habit::Withholds | Habit::Hops => {
                matches!(answer, Ok(_) | Err(Refused::Stale { .. }))
            }
            Habit::Repeats => {
                matches!(answer, Ok(_) | Err(Refused::Stale { .. } | Refused::Duplicate { .. }))
            }
            Habit::Late => matches!(answer, Ok(_) | Err(Refused::Stale { .. })),
            Habit::Ahead => matches!(answer, Err(Refused::BadTime { .. } | Refused::Stale { .. })),
            // By luck one in 2^4 of what is made up is a share, and was worth its work then.
            Habit::MakesUp | Habit::Steals => true,
        };
        if !fits {
            let why = answer.as_ref().err().map(ToString::to_string).unwrap_or_default();
            self.fail(format!("worker {worker}, {habit:?}: {why}"));
        }
        Ok(())
    }

    /// What PPS owes goes through the channels.
    fn pay(&mut self) -> Result<(), Error> {
        let more = u64::from(self.sabotage == Some(Sabotage::Statement));
        let owed = |place: &super::house::Place| self.house.books.owed(PAID, place.key) + more;
        let owed: Vec<u64> = self.house.places.iter().map(owed).collect();
        let paid = self.payroll.pay(self.now, &self.house.books.take_unpaid())?;
        for (worker, (paid, owed)) in paid.iter().zip(&owed).enumerate() {
            self.checks += 1;
            if paid != owed {
                self.fail(format!("worker {worker} was paid {paid} msat of {owed}"));
            }
        }
        Ok(())
    }

    fn sample(&mut self, minute: u64, work: u64) -> Result<(), Error> {
        let sum = |scheme| {
            let places = self.house.places.iter();
            places.map(|place| self.house.books.owed(scheme, place.key)).sum()
        };
        let mut owed = [0; NAMES.len()];
        for (scheme, owed) in owed.iter_mut().enumerate() {
            *owed = sum(scheme);
        }
        let (blocks, rewards) = (self.house.blocks.len() as u64, self.house.rewards);
        let paid = self.payroll.total();
        let sample = Sample { minute, work, blocks, owed, rewards, paid };
        self.lines.push(&sample)?;
        if minute.is_multiple_of(10) {
            self.screen.status(&format!(
                "{} {} good shares, {blocks} blocks, {} sat paid",
                clock(self.now),
                self.answers.good,
                sat(paid),
            ));
        }
        self.samples.push(sample);
        Ok(())
    }

    fn end(mut self) -> Result<Outcome, Error> {
        self.answers.blocks = self.house.blocks.len() as u64;
        let earned = |(worker, place): (&Worker, &super::house::Place)| Earned {
            power: worker.power,
            habit: worker.habit,
            hashes: worker.hashes,
            work: u64::try_from(place.tally.work().hashes()).unwrap_or(u64::MAX),
            owed: core::array::from_fn(|scheme| self.house.books.owed(scheme, place.key)),
            suspect: place.tally.suspicion(),
        };
        let earned = self.crew.iter().zip(&self.house.places).map(earned).collect();
        let paid = self.payroll.settle(self.sabotage)?;
        self.checks += paid.checks;
        for what in &paid.broken {
            self.fail(what.clone());
        }
        Ok(Outcome {
            fees: core::array::from_fn(|scheme| self.house.books.fee(scheme)),
            samples: self.samples,
            earned,
            answers: self.answers,
            rewards: self.house.rewards,
            paid,
            checks: self.checks,
            broken: self.broken,
        })
    }

    fn fail(&mut self, what: String) {
        if self.broken.len() < BROKEN_MAX {
            self.broken.push(what);
        }
    }
}
