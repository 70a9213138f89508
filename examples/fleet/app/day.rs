//! A day: cars come, charge and leave; things go wrong; and the night settles it all.

use std::collections::BTreeSet;

use millstream::meter::State;
use millstream::node::Event;
use millstream::units::{Quantity, Seconds};
use serde::Serialize;

use super::depot::{CAPACITY, CREDIT, Depot};
use crate::common::books::Books;
use crate::common::dice::Dice;
use crate::common::output::{Lines, Screen, clock, sat};
use crate::common::prices::{KWH, Prices, Sum};
use crate::common::stage::{night, wrong};
use crate::common::{Error, Options, Sabotage};

/// Monday, 2 March 2026, 00:00 UTC.
const MONDAY: u64 = 1_772_409_600;
/// Meters are read every two minutes: a day takes seconds here.
const STEP: u64 = 120;
const DAY: u64 = 86_400;
/// The last car comes at half past eight in the evening, and the longest stay is three hours.
const LAST_ARRIVAL: u64 = 20 * 3_600 + 1_800;
/// Chargers of three sizes, watts.
const CHARGERS: [u64; 3] = [11_000, 22_000, 50_000];
/// All invariants of all machines, which costs a verification a channel, every so many steps.
const CHECK_EVERY: u64 = 90;
/// 5: more of the same would only hide the first.
const BROKEN_MAX: usize = 5;

/// What a car wants and what it got.
#[derive(Debug, Clone, Copy)]
struct Visit {
    arrives: u64,
    power: u64,
    wants: u64,
    got: u64,
    cost: Sum,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Away,
    Here,
    Left,
}

/// Two minutes of the whole fleet.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// Seconds since midnight.
    pub(crate) t: u64,
    /// Cars that charge.
    pub(crate) cars: u64,
    /// Their power, watts.
    pub(crate) power_w: u64,
    /// The price, sat a kilowatt-hour.
    pub(crate) price: u64,
    /// Owed by all so far, msat.
    pub(crate) owed: u64,
    /// The largest debt of one car just before it paid, msat.
    pub(crate) peak: u64,
}

/// What a day came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) cars: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) energy: u64,
    pub(crate) paid: u64,
    pub(crate) peak: u64,
    pub(crate) ticks: u64,
    pub(crate) statements: u64,
    pub(crate) faults: u64,
    pub(crate) vouchers: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) commits: (u64, u64),
    pub(crate) books: Books,
    pub(crate) checks: u64,
    pub(crate) broken: Vec<String>,
}

/// The state of a day.
pub(crate) struct Day<'a> {
    depot: Depot,
    visits: Vec<Visit>,
    dice: Dice,
    chaos: u8,
    sabotage: Option<Sabotage>,
    screen: &'a mut Screen,
    lines: &'a mut Lines,
    samples: Vec<Sample>,
    t: u64,
    peak: u64,
    ticks: u64,
    faults: u64,
    checks: u64,
    stated: BTreeSet<usize>,
    broken: Vec<String>,
}

impl<'a> Day<'a> {
    /// Opens all channels before midnight.
    pub(crate) fn open(
        options: &Options,
        screen: &'a mut Screen,
        lines: &'a mut Lines,
        cars: u64,
    ) -> Result<Self, Error> {
        screen.line(&format!("-- {cars} cars open a channel each"));
        let twice = options.sabotage == Some(Sabotage::Window);
        let credit = if twice { 2 * CREDIT } else { CREDIT };
        let depot = Depot::open(MONDAY, options.seed, cars, credit)?;
        let mut dice = Dice::new(options.seed, "visits");
        let visits = (0..cars).map(|_| visit(&mut dice)).collect();
        Ok(Self {
            depot,
            visits,
            dice: Dice::new(options.seed, "faults"),
            chaos: options.chaos,
            sabotage: options.sabotage,
            screen,
            lines,
            samples: Vec::new(),
            t: 0,
            peak: 0,
            ticks: 0,
            faults: 0,
            checks: 0,
            stated: BTreeSet::new(),
            broken: Vec::new(),
        })
    }

    /// The day and the night after it.
    pub(crate) fn play(mut self) -> Result<Outcome, Error> {
        while self.t < DAY {
            self.step()?;
        }
        let here = self.visits.iter().filter(|visit| visit.stage != Stage::Left).count();
        if here > 0 || self.stated.len() != self.visits.len() {
            self.fail(format!("{here} cars have not left, {} statements", self.stated.len()));
        }
        self.night()?;
        self.outcome()
    }

    fn step(&mut self) -> Result<(), Error> {
        self.t += STEP;
        self.depot.crowd.world.pass(Seconds::new(STEP)?)?;
        if self.t.is_multiple_of(600) {
            let time = self.depot.crowd.world.now().time;
            self.depot.crowd.world.chain().with(|chain| chain.mine_at(time))?;
        }
        self.go_wrong()?;
        self.arrive()?;
        let (cars, power) = self.charge()?;
        self.leave()?;
        if self.t.is_multiple_of(CHECK_EVERY * STEP) {
            self.checks += 1;
            if let Err(error) = self.depot.crowd.world.check_invariants() {
                self.fail(format!("at {}: {error}", clock(self.t)));
            }
        }
        let _told = self.depot.crowd.world.take_events(self.depot.crowd.payee)?;
        self.sample(cars, power)
    }

    /// Lines break, machines reboot: more of it with more chaos.
    fn go_wrong(&mut self) -> Result<(), Error> {
        let (lines, reboots) =
            [(0, 0), (2_000, 0), (10_000, 2_000), (40_000, 10_000)][usize::from(self.chaos.min(3))];
        let here = self.here();
        for car in here {
            if self.depot.crowd.members.get(car).is_none_or(|car| car.link.is_none()) {
                // It was down for one step: the car is back, and tells its own meter first.
                self.read(car, false)?;
                self.depot.crowd.connect(car)?;
            } else if self.dice.chance(lines) {
                self.faults += 1;
                self.depot.crowd.disconnect(car)?;
            } else if self.dice.chance(reboots) {
                self.faults += 1;
                self.depot.crowd.reboot(Some(car))?;
            }
        }
        if self.chaos >= 2 && self.t == 12 * 3_600 {
            self.faults += 1;
            self.screen.line("12:00:00 the operator's machine loses power");
            self.depot.crowd.reboot(None)?;
        }
        self.depot.crowd.world.settle_down()?;
        Ok(())
    }

    fn arrive(&mut self) -> Result<(), Error> {
        let now = self.t;
        let due = |visit: &Visit| visit.stage == Stage::Away && visit.arrives <= now;
        let arriving: Vec<usize> =
            (0..self.visits.len()).filter(|car| self.visits.get(*car).is_some_and(due)).collect();
        if arriving.is_empty() {
            return Ok(());
        }
        for car in &arriving {
            self.depot.crowd.connect(*car)?;
        }
        self.depot.crowd.world.settle_down()?;
        for car in &arriving {
            self.depot.offer(*car, Prices::USUAL)?;
        }
        self.depot.crowd.world.settle_down()?;
        for car in arriving {
            self.depot.accept(car)?;
            if let Some(visit) = self.visits.get_mut(car) {
                visit.stage = Stage::Here;
            }
        }
        self.depot.crowd.world.settle_down()?;
        Ok(())
    }

    /// Every car that is there takes power, as far as its credit goes, and pays.
    fn charge(&mut self) -> Result<(u64, u64), Error> {
        let (mut cars, mut power) = (0, 0);
        let now = self.depot.crowd.world.now().time;
        let price = Prices::USUAL.at(now.to_u64());
        let mut largest = 0;
        for car in self.here() {
            let Some(visit) = self.visits.get_mut(car) else { continue };
            let energy = (visit.power * STEP).min(visit.wants - visit.got);
            let Some(session) = self.depot.session(car, false) else { continue };
            let step = Quantity::new(energy)?;
            largest = largest.max(session.debt().to_msat());
            let serves = energy > 0 && session.may_deliver(now, step)?;
            if serves {
                let paid = session.record().paid();
                largest =
                    largest.max(session.owed_after(now, step)?.saturating_sub(paid).to_msat());
                visit.got += energy;
                visit.cost.add(energy, price);
                (cars, power, self.ticks) = (cars + 1, power + energy / STEP, self.ticks + 1);
            }
            self.read(car, serves)?;
        }
        self.peak = largest;
        self.depot.crowd.world.settle_down()?;
        for car in self.here() {
            self.check(car);
        }
        Ok((cars, power))
    }

    fn read(&mut self, car: usize, station: bool) -> Result<(), Error> {
        let total = self.visits.get(car).map_or(0, |visit| visit.got);
        self.depot.read_meters(car, total, station)
    }

    fn leave(&mut self) -> Result<(), Error> {
        let full = |visit: &Visit| visit.stage == Stage::Here && visit.got == visit.wants;
        let leaving: Vec<usize> = (0..self.visits.len())
            .filter(|car| self.visits.get(*car).is_some_and(full))
            .filter(|car| self.depot.crowd.members.get(*car).is_some_and(|car| car.link.is_some()))
            .collect();
        for car in &leaving {
            let over = |s: &millstream::meter::Session| s.record().state() == State::Ended;
            if !self.depot.session(*car, true).is_some_and(over) {
                self.depot.end_session(*car)?;
            }
        }
        self.depot.crowd.world.settle_down()?;
        for car in leaving {
            let end = self.depot.crowd.members.get(car).ok_or("no car")?.end;
            for event in self.depot.crowd.world.take_events(end)? {
                let Event::StatementAgreed { statement } = event else { continue };
                self.checks += 1;
                let off = u64::from(self.sabotage == Some(Sabotage::Statement));
                let want = self.visits.get(car).map_or(0, |visit| visit.cost.msat());
                let (owed, paid) = (statement.owed.to_msat() + off, statement.paid.to_msat());
                if owed != want || paid != want {
                    self.fail(format!("car {car}: {owed} owed, {paid} paid, worth {want} msat"));
                }
                self.stated.insert(car);
            }
            if self.stated.contains(&car) {
                self.depot.crowd.disconnect(car)?;
                if let Some(visit) = self.visits.get_mut(car) {
                    visit.stage = Stage::Left;
                }
            }
        }
        Ok(())
    }

    /// A car's session against the sums of this side, and its debt against the window.
    fn check(&mut self, car: usize) {
        self.checks += 1;
        let want = self.visits.get(car).map_or(0, |visit| visit.cost.msat());
        let Some(session) = self.depot.session(car, false) else { return };
        let (owed, debt) = (session.owed().to_msat(), session.debt().to_msat());
        if owed > want || debt > CREDIT {
            self.fail(format!("car {car}: {owed} msat owed, {debt} not paid, worth {want}"));
        }
        if self.peak > CREDIT {
            self.fail(format!("{} msat on credit, the window is {CREDIT}", self.peak));
        }
    }

    /// The operator's settlements, and the blocks that bury them; with much chaos a reorg among them.
    fn night(&mut self) -> Result<(), Error> {
        let plan = self.depot.settle()?;
        let settled: usize = plan.groups.iter().map(|group| group.outpoints.len()).sum();
        let (count, batches) = (self.visits.len(), plan.groups.len());
        if settled != count {
            self.fail(format!("the night settles {settled} of {count} channels: {plan:?}"));
        }
        self.depot.crowd.world.settle_down()?;
        self.screen.line(&format!("24:00:00 {count} channels settle in {batches} transactions"));
        let reorg = self.chaos >= 3;
        if reorg {
            self.faults += 1;
            self.screen.line("24:10:00 a reorg undoes them");
        }
        night(&mut self.depot.crowd.world, reorg)?;
        self.check_rollovers()
    }

    /// Every car's channel goes on with exactly the rest, on both sides.
    fn check_rollovers(&mut self) -> Result<(), Error> {
        for car in 0..self.visits.len() {
            self.checks += 1;
            let paid = self.visits.get(car).map_or(0, |visit| visit.cost.msat());
            let rest = CAPACITY - paid / 1_000;
            let end = self.depot.crowd.members.get(car).ok_or("no car")?.end;
            let node = self.depot.crowd.world.end(end).ok_or("no car")?.node();
            let payers: Vec<_> = node.payers().map(|payer| payer.channel().capacity()).collect();
            if payers.iter().map(|capacity| capacity.to_sat()).ne([rest]) {
                self.fail(format!("car {car}: its channels hold {payers:?}, not {rest} sat"));
            }
        }
        Ok(())
    }

    fn outcome(mut self) -> Result<Outcome, Error> {
        self.checks += 1;
        let books = self.depot.crowd.books();
        let paid = |visit: &Visit| visit.cost.msat();
        let due: u64 = self.visits.iter().map(|visit| paid(visit) / 1_000).sum();
        self.broken.extend(wrong(&self.depot.crowd.world, &[(&books, due)], self.sabotage));
        let (messages, bytes) = self.depot.crowd.wire();
        let sent = self.depot.crowd.world.sent();
        let vouchers = sent.get("Voucher").map_or(0, |sent| sent.messages);
        Ok(Outcome {
            cars: u64::try_from(self.visits.len())?,
            energy: self.visits.iter().map(|visit| visit.got).sum(),
            paid: self.visits.iter().map(paid).sum(),
            peak: self.samples.iter().map(|sample| sample.peak).max().unwrap_or(0),
            ticks: self.ticks,
            statements: u64::try_from(self.stated.len())?,
            faults: self.faults,
            vouchers,
            messages,
            bytes,
            commits: self.depot.crowd.commits(),
            books,
            checks: self.checks,
            broken: self.broken,
            samples: self.samples,
        })
    }

    fn sample(&mut self, cars: u64, power_w: u64) -> Result<(), Error> {
        let utc = self.depot.crowd.utc();
        let owed = self.visits.iter().map(|visit| visit.cost.msat()).sum();
        let price = Prices::USUAL.at(utc);
        let sample = Sample { t: self.t, cars, power_w, price, owed, peak: self.peak };
        self.samples.push(sample);
        self.lines.push(&sample)?;
        if self.t.is_multiple_of(3_600) {
            self.screen.status(&format!(
                "{} {cars:>3} cars charge with {:>7.1} kW at {price} sat/kWh  owed {} sat",
                clock(utc),
                power_w as f64 / 1_000.0,
                sat(owed),
            ));
        }
        Ok(())
    }

    fn here(&self) -> Vec<usize> {
        let here = |(_, visit): &(usize, &Visit)| visit.stage == Stage::Here;
        self.visits.iter().enumerate().filter(here).map(|(car, _)| car).collect()
    }

    fn fail(&mut self, what: String) {
        if self.broken.len() < BROKEN_MAX {
            self.broken.push(what);
        }
    }
}

/// Two waves, around eight and around six; 4 to 14 kWh, so that even the slowest is done by night.
fn visit(dice: &mut Dice) -> Visit {
    let around = if dice.chance(450_000) { 8 * 3_600 } else { 18 * 3_600 };
    // The sum of three dice is near the middle more often than not.
    let spread: u64 = (0..3).map(|_| dice.between(0, 2 * 3_600)).sum();
    let arrives = (around + spread).saturating_sub(3 * 3_600).min(LAST_ARRIVAL);
    let charger = usize::try_from(dice.between(0, 3)).unwrap_or(0);
    let wants = dice.between(4_000, 14_000) * KWH / 1_000;
    let power = CHARGERS.get(charger).copied().unwrap_or(CHARGERS[0]);
    Visit { arrives, power, wants, got: 0, cost: Sum::default(), stage: Stage::Away }
}
