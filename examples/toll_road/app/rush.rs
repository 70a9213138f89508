//! A rush hour: cars come, drive and pay by the metre; things go wrong; what is paid goes on.

use millstream::units::Seconds;
use serde::Serialize;

use super::desk::Toll;
use super::outcome::Outcome;
use super::relay::{LEAST, Relay};
use super::road::{CAPACITY, CREDIT, LANES, Metres, OWNERS, Road, worth};
use crate::common::crowd::Lossy;
use crate::common::dice::Dice;
use crate::common::output::{Lines, Screen, clock, sat};
use crate::common::{Error, Options, Sabotage};

/// Monday, 2 March 2026, 07:00 UTC.
const START: u64 = 1_772_409_600 + 7 * 3_600;
/// A window a minute.
const STEP: u64 = 60;
/// The last car comes after an hour.
const LAST: u64 = 60;
/// And the last one leaves long before this.
const STEPS_MAX: u64 = 120;
/// So many minutes a car waits unpaid before it is led off the road.
const PATIENCE: u32 = 8;
/// 5: more of the same would only hide the first.
const BROKEN_MAX: usize = 5;
/// Of a million: messages lost; a minute's lines broken; a minute's cars restarted; cars that stop
/// paying.
const RATES: [[u64; 4]; 4] =
    [[0, 0, 0, 0], [0, 0, 0, 0], [500, 2_000, 1_000, 1_000], [3_000, 10_000, 5_000, 5_000]];

/// A car's way.
#[derive(Debug, Clone)]
pub(super) struct Car {
    arrives: u64,
    pub(super) from: u64,
    wants: u64,
    speed: u64,
    pub(super) driven: u64,
    /// By the gantry's count.
    pub(super) gantry: Metres,
    /// By the car's, since its last window.
    own: Metres,
    /// After so many metres it stops paying.
    silent_from: u64,
    waited: u32,
    pub(super) stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Away,
    Here,
    Left,
    TurnedOff,
}

/// A minute of the road.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) t: u64,
    /// Cars on the road.
    pub(crate) cars: u64,
    /// Metres driven, each of them a payment.
    pub(crate) payments: u64,
    /// Paid by all cars so far, msat.
    pub(crate) paid: u64,
    /// Received by all owners so far, msat.
    pub(crate) received: u64,
    /// The largest debt of one car just before it paid, msat.
    pub(crate) peak: u64,
}

/// The state of the hour.
pub(crate) struct Rush<'a> {
    pub(super) road: Road,
    pub(super) relay: Relay,
    pub(super) cars: Vec<Car>,
    dice: Dice,
    seed: u64,
    pub(super) chaos: u8,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) screen: &'a mut Screen,
    lines: &'a mut Lines,
    pub(super) samples: Vec<Sample>,
    step: u64,
    pub(super) payments: u64,
    peak: u64,
    pub(super) faults: u64,
    pub(super) checks: u64,
    pub(super) broken: Vec<String>,
}

impl<'a> Rush<'a> {
    /// Opens all channels before seven.
    pub(crate) fn open(
        options: &Options,
        screen: &'a mut Screen,
        lines: &'a mut Lines,
        count: u64,
    ) -> Result<Self, Error> {
        screen.line(&format!("-- {count} cars open a channel each to the gantry"));
        let seed = options.seed;
        let mut road = Road::open(START, seed, count)?;
        let relay = Relay::open(&mut road.crowd.world, seed, CAPACITY * count.max(1_000))?;
        let mut dice = Dice::new(seed, "cars");
        let ppm = RATES[usize::from(options.chaos.min(3))][3];
        let mut cars = Vec::new();
        for number in 0..count {
            let silent = dice.chance(ppm) || (options.chaos == 1 && number == count / 3);
            cars.push(car(&mut dice, silent)?);
        }
        Ok(Self {
            road,
            relay,
            cars,
            dice: Dice::new(seed, "faults"),
            seed,
            chaos: options.chaos.min(3),
            sabotage: options.sabotage,
            screen,
            lines,
            samples: Vec::new(),
            step: 0,
            payments: 0,
            peak: 0,
            faults: 0,
            checks: 0,
            broken: Vec::new(),
        })
    }

    /// The hour and the night after it.
    pub(crate) fn play(mut self) -> Result<Outcome, Error> {
        let [ppm, ..] = self.rates();
        self.set_loss(ppm);
        #[expect(clippy::disallowed_methods, reason = "shown on the terminal only")]
        let started = std::time::Instant::now();
        while self.step < STEPS_MAX && (self.step < LAST || !self.here().is_empty()) {
            self.minute()?;
        }
        self.last_bundles()?;
        // The only measured rate; it is in no file.
        let (million, seconds) = (self.payments as f64 / 1e6, started.elapsed().as_secs_f64());
        let rate = million / seconds;
        self.screen.line(&format!(
            "{million:.1} million payments in {seconds:.1} s: {rate:.1} million a second on one core"
        ));
        if !self.here().is_empty() {
            self.fail(format!("{} cars have not left", self.here().len()));
        }
        self.outcome()
    }

    const fn rates(&self) -> [u64; 4] {
        RATES[self.chaos as usize]
    }

    fn set_loss(&mut self, ppm: u64) {
        let dice = Dice::new(self.seed, "air");
        self.road.crowd.world.set_weather(Box::new(Lossy { dice, ppm, mute: None }));
        self.relay.ppm = ppm * 10;
    }

    fn minute(&mut self) -> Result<(), Error> {
        self.step += 1;
        if self.step == LAST {
            self.set_loss(0);
        }
        let world = &mut self.road.crowd.world;
        world.pass(Seconds::new(STEP)?)?;
        if self.step.is_multiple_of(10) {
            let time = world.now().time;
            world.chain().with(|chain| chain.mine_at(time))?;
        }
        self.go_wrong()?;
        self.come()?;
        self.road.crowd.world.settle_down()?;
        let payments = self.drive()?;
        self.road.crowd.world.settle_down()?;
        let cars = self.here();
        self.leave(&cars)?;
        let due = self.due(true)?;
        self.relay.pump(&self.road.crowd.world, &due)?;
        self.sample(cars.len() as u64, payments)
    }

    /// Lines break, machines lose power: more of it with more chaos.
    fn go_wrong(&mut self) -> Result<(), Error> {
        if self.step >= LAST || self.chaos == 0 {
            return Ok(());
        }
        let [_, breaks, restarts, _] = self.rates();
        let here = self.here();
        let once = |step| self.chaos == 1 && self.step == step;
        let (one_breaks, one_restarts) = (once(8), once(10));
        for (at, car) in here.into_iter().enumerate() {
            if self.dice.chance(breaks) || (one_breaks && at == 0) {
                self.faults += 1;
                self.road.crowd.disconnect(car)?;
            } else if self.dice.chance(restarts) || (one_restarts && at == 0) {
                self.faults += 1;
                self.road.reboot_car(car)?;
            }
        }
        let (every, gantry) = [(LAST, LAST), (20, 15), (10, 25), (4, 30)][usize::from(self.chaos)];
        if self.step.is_multiple_of(every) {
            self.faults += 1;
            let writes = self.dice.between(1, 8);
            self.relay.cut_hub(writes);
        }
        if self.step == gantry {
            self.faults += 1;
            self.screen.line(&format!("{} the gantry loses power", clock(self.utc())));
            self.road.crowd.reboot(None)?;
            self.relay.restart_sender(&self.road.crowd.world)?;
        }
        Ok(())
    }

    /// Cars come, and those whose line broke are back.
    fn come(&mut self) -> Result<(), Error> {
        for (number, car) in self.cars.iter_mut().enumerate() {
            if car.stage == Stage::Away && car.arrives <= self.step {
                car.stage = Stage::Here;
            }
            let connected = self.road.crowd.members.get(number).is_some_and(|m| m.link.is_some());
            if car.stage == Stage::Here && !connected {
                self.road.crowd.connect(number)?;
            }
        }
        Ok(())
    }

    /// Every car drives as far as its credit goes, and pays for what it drove.
    fn drive(&mut self) -> Result<u64, Error> {
        let credit = if self.sabotage == Some(Sabotage::Window) { 2 * CREDIT } else { CREDIT };
        let (mut payments, mut peak) = (0, 0);
        for number in self.here() {
            let held: u64 = self.road.held(number)?.iter().sum();
            let Some(car) = self.cars.get_mut(number) else { continue };
            let debt = car.gantry.cost().iter().sum::<u64>().saturating_sub(held);
            let metres = car.speed.min(car.wants - car.driven);
            let from = car.from + car.driven;
            let after = debt + worth(from, metres);
            if metres > 0 && after <= credit {
                // Both count every metre.
                car.gantry.drive(from, metres)?;
                car.own.drive(from, metres)?;
                (car.driven, car.waited) = (car.driven + metres, 0);
                payments += metres;
                peak = peak.max(after);
            } else {
                car.waited += 1;
                peak = peak.max(debt);
            }
            let pays = car.driven < car.silent_from;
            if pays && car.own.cost() != [0; LANES] && self.road.pay(number, &car.own)? {
                car.own = Metres::none()?;
            }
        }
        (self.peak, self.payments) = (peak, self.payments + payments);
        if peak > CREDIT {
            self.fail(format!("{peak} msat on credit, the window is {CREDIT}"));
        }
        Ok(payments)
    }

    /// Cars that have paid for their way leave; one that does not pay is led off.
    fn leave(&mut self, cars: &[usize]) -> Result<(), Error> {
        for &number in cars {
            self.checks += 1;
            let held = self.road.held(number)?;
            let Some(car) = self.cars.get_mut(number) else { continue };
            let cost = car.gantry.cost();
            let pays = car.silent_from == u64::MAX;
            if held.iter().zip(cost).any(|(held, cost)| *held > cost) {
                self.fail(format!("car {number} has paid {held:?} msat, its metres cost {cost:?}"));
            } else if car.driven == car.wants && held == cost {
                car.stage = Stage::Left;
                self.road.crowd.disconnect(number)?;
            } else if car.waited >= PATIENCE {
                car.stage = Stage::TurnedOff;
                self.road.crowd.disconnect(number)?;
                if pays {
                    self.fail(format!("car {number} pays, and was led off the road"));
                }
            }
        }
        Ok(())
    }

    /// What cars have paid for each owner and has not gone on. `more_comes`: the smallest bundle
    /// is kept back of it, so that in the end no rest is too small for one.
    fn due(&self, more_comes: bool) -> Result<[Vec<Toll>; OWNERS.len()], Error> {
        let mut due: [Vec<Toll>; OWNERS.len()] = Default::default();
        for number in 0..self.cars.len() {
            let held = self.road.held(number)?;
            for ((due, held), gone) in due.iter_mut().zip(held).zip(&self.relay.sender.gone) {
                let more = held.saturating_sub(gone.get(&number).copied().unwrap_or(0));
                if more > 0 {
                    due.push((number, more));
                }
            }
        }
        for due in due.iter_mut().filter(|_| more_comes) {
            let mut kept = 0;
            while kept < LEAST * 1_000 {
                let Some((_, toll)) = due.pop() else { break };
                kept += toll;
            }
        }
        Ok(due)
    }

    /// Whatever has not gone on goes on now: first what is on its way, then all the rest.
    fn last_bundles(&mut self) -> Result<(), Error> {
        let none: [Vec<Toll>; OWNERS.len()] = Default::default();
        self.relay.pump(&self.road.crowd.world, &none)?;
        let due = self.due(false)?;
        for due in [&due, &none] {
            self.relay.pump(&self.road.crowd.world, due)?;
        }
        if !self.relay.is_quiet() {
            self.fail("a bundle is still on its way".into());
        }
        Ok(())
    }

    fn sample(&mut self, cars: u64, payments: u64) -> Result<(), Error> {
        let paid = self.road.paid()?.iter().sum();
        let received = self.relay.owners.iter().map(|owner| owner.payee.paid().to_msat()).sum();
        let (t, peak) = (self.step * STEP, self.peak);
        let sample = Sample { t, cars, payments, paid, received, peak };
        self.samples.push(sample);
        self.lines.push(&sample)?;
        self.screen.status(&format!(
            "{} {cars:>4} cars on the road, {:>5.2} million payments so far  paid {} sat, \
             the owners have {} sat",
            clock(self.utc()),
            self.payments as f64 / 1e6,
            sat(paid),
            sat(received),
        ));
        Ok(())
    }

    fn utc(&self) -> u64 {
        self.road.crowd.utc()
    }

    fn here(&self) -> Vec<usize> {
        let here = |(_, car): &(usize, &Car)| car.stage == Stage::Here;
        self.cars.iter().enumerate().filter(here).map(|(number, _)| number).collect()
    }

    pub(super) fn fail(&mut self, what: String) {
        if self.broken.len() < BROKEN_MAX {
            self.broken.push(what);
        }
    }
}

/// Four to sixteen kilometres at 80 to 120 km/h, from anywhere; on the hour more than before and
/// after.
fn car(dice: &mut Dice, silent: bool) -> Result<Car, Error> {
    // The sum of three dice is near the middle more often than not.
    let arrives = (0..3).map(|_| dice.between(0, LAST / 3)).sum();
    let (from, wants) = (dice.between(0, 10_000), dice.between(4_000, 16_000));
    let speed = dice.between(1_333, 2_001);
    // One that does not mean to pay drives as far as it can.
    let (wants, silent_from) = if silent { (16_000, 4_000) } else { (wants, u64::MAX) };
    let (gantry, own) = (Metres::none()?, Metres::none()?);
    let (driven, waited, stage) = (0, 0, Stage::Away);
    Ok(Car { arrives, from, wants, speed, driven, gantry, own, silent_from, waited, stage })
}
