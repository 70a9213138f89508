//! A day, second by second: the fridge keeps cool, mines when it may, and pays; things go wrong.

use millstream::ledger::{Credit, Input};
use millstream::meter::State;
use millstream::store::Batch;
use millstream::units::{Msat, Seconds};
use serde::Serialize;

use super::fridge::Fridge;
use super::home::{CREDIT, Home};
use super::outcome::Outcome;
use super::work::{Miner, Office, TOO_HOT, WINDOW, share_msat, share_work};
use crate::common::output::{Lines, Screen, clock, sat};
use crate::common::prices::{Prices, Sum};
use crate::common::{Error, Options, Sabotage};

/// Thursday, 5 March 2026, midnight UTC.
const START: u64 = 1_772_668_800;
const HOUR: u64 = 3_600;
/// Meters are read and payments made so often, seconds.
const READING: u64 = 10;
/// A job each half hour, a new tip each two hours.
const JOB: u64 = 1_800;
const TIP: u64 = 7_200;
const BLOCK: u64 = 600;
/// What goes wrong, seconds since the start: the line is down; the fridge and the house restart;
/// the house credits nothing.
const DOWN: (u64, u64) = (40 * 60, 70 * 60);
const CUTS: (u64, u64) = (90 * 60, 110 * 60);
const STINGY: (u64, u64) = (135 * 60, 178 * 60);
/// 5: more of the same would only hide the first.
const BROKEN_MAX: usize = 5;

/// A moment of the day.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) t: u64,
    /// Thousandths of a degree.
    pub(crate) inside: i64,
    pub(crate) board: i64,
    /// Of the seconds since the last moment, thousandths: the compressor ran, the board hashed.
    pub(crate) cooling: u64,
    pub(crate) hashing: u64,
    /// What the house owes for work by the fridge's own books, msat.
    pub(crate) owed: u64,
    /// Vouchers, msat: for work, for power.
    pub(crate) earned: u64,
    pub(crate) spent: u64,
}

/// The state of the day.
pub(crate) struct Day<'a> {
    pub(super) home: Home,
    fridge: Fridge,
    pub(super) miner: Miner,
    pub(super) office: Office,
    pub(super) chaos: u8,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) screen: &'a mut Screen,
    lines: &'a mut Lines,
    t: u64,
    /// Drawn, milliwatt-seconds; read by both meters, watt-seconds; and what that is worth.
    drawn: u64,
    pub(super) read: u64,
    pub(super) bill: Sum,
    /// Seconds of this sample, thousandths.
    cooling: u64,
    hashing: u64,
    /// Hashed while it must not: none, ever.
    pub(super) credited: u64,
    /// The most that was owed for work, and for power, msat.
    pub(super) risks: (u64, u64),
    pub(super) hottest: i64,
    pub(super) samples: Vec<Sample>,
    pub(super) faults: u64,
    pub(super) checks: u64,
    pub(super) broken: Vec<String>,
}

impl<'a> Day<'a> {
    pub(crate) fn begin(
        options: &Options,
        screen: &'a mut Screen,
        lines: &'a mut Lines,
    ) -> Result<Self, Error> {
        screen.line("-- two channels, one each way, out of one funding transaction");
        let trusts = options.sabotage == Some(Sabotage::Window);
        let window = if trusts { 4 * WINDOW } else { WINDOW };
        let home = Home::open(START, options.seed)?;
        let office = Office::open(options.seed, home.now())?;
        let mut day = Self {
            fridge: Fridge::new(options.seed),
            miner: Miner::new(window)?,
            office,
            home,
            chaos: options.chaos.min(3),
            sabotage: options.sabotage,
            screen,
            lines,
            t: 0,
            drawn: 0,
            read: 0,
            bill: Sum::default(),
            cooling: 0,
            hashing: 0,
            credited: 0,
            risks: (0, 0),
            hottest: 0,
            samples: Vec::new(),
            faults: 0,
            checks: 0,
            broken: Vec::new(),
        };
        let (worker, channel) = (day.home.worker(), day.home.work_channel());
        day.note(&Input::Bind { worker, channel, paid: Msat::ZERO })?;
        day.home.begin_power()?;
        Ok(day)
    }

    /// So many hours, and the night after them.
    pub(crate) fn live(mut self, hours: u64) -> Result<Outcome, Error> {
        while self.t < hours * HOUR {
            self.second()?;
        }
        self.outcome()
    }

    fn second(&mut self) -> Result<(), Error> {
        if self.t.is_multiple_of(JOB) {
            let new_tip = self.t > 0 && self.t.is_multiple_of(TIP);
            let job = self.office.issue(self.home.now(), new_tip)?;
            self.miner.take(job);
        }
        self.t += 1;
        self.go_wrong()?;
        let now = self.home.now();
        let worker = self.home.worker();
        // Its compressor comes first; without a line nobody would hear of its shares; and who owes
        // it enough gets no more.
        let idle = !self.fridge.compressor
            && self.home.is_connected()
            && !self.miner.is_owed_enough(worker);
        let second = self.miner.second(now, idle, self.fridge.board)?;
        if self.fridge.compressor && second.hashing > 0 {
            self.fail("it mined while it had to cool".into());
        }
        self.drawn += self.fridge.second(now.to_u64(), second.hashing);
        self.hottest = self.hottest.max(self.fridge.board);
        self.cooling += u64::from(self.fridge.compressor) * 1_000;
        self.hashing += second.hashing;
        for share in &second.shares {
            self.checks += 1;
            match self.office.take(now, share) {
                Ok(good) => self.take(good.work())?,
                Err(refused) => self.fail(format!("an honest share is refused: {refused}")),
            }
        }
        if self.t.is_multiple_of(READING) {
            self.pay()?;
        }
        Ok(())
    }

    /// A good share: the house credits it, the fridge notes it.
    fn take(&mut self, work: millstream::units::Work) -> Result<(), Error> {
        let price = self.office.price;
        if work != share_work()? {
            self.fail(format!("a share of {work} hashes"));
        }
        let noted = self.miner.count(self.home.worker(), price)?;
        if !noted {
            self.fail("it worked beyond its window".into());
        }
        if self.chaos >= 1 && (STINGY.0..STINGY.1).contains(&self.t) {
            return Ok(());
        }
        self.credited += 1;
        self.home.credit(Credit::priced(work, price)?)
    }

    /// Both meters are read; vouchers go both ways; every sum is looked at.
    fn pay(&mut self) -> Result<(), Error> {
        let world = &mut self.home.world;
        world.pass(Seconds::new(READING)?)?;
        if self.t.is_multiple_of(BLOCK) {
            let time = world.now().time;
            world.chain().with(|chain| chain.mine_at(time))?;
        }
        world.settle_down()?;
        if self.home.is_connected() {
            let total = self.drawn / 1_000;
            let price = Prices::USUAL.at(self.home.now().to_u64());
            self.bill.add(total - self.read, price);
            self.read = total;
            self.home.meter(total)?;
        }
        let (earned, spent) = self.home.held();
        let (worker, channel) = (self.home.worker(), self.home.work_channel());
        self.note(&Input::Paid { worker, channel, paid: Msat::new(earned)? })?;
        self.check(earned, spent);
        self.home.hear()?;
        if self.t.is_multiple_of(60) {
            self.sample(earned, spent)?;
        }
        Ok(())
    }

    /// The books against sums of this side.
    fn check(&mut self, earned: u64, spent: u64) {
        self.checks += 3;
        let owed = self.miner.own.due(self.home.worker()).to_msat();
        self.risks.0 = self.risks.0.max(owed);
        if owed > WINDOW {
            self.fail(format!("the house owes {owed} msat for work, the window is {WINDOW}"));
        }
        let worth = self.credited * share_msat();
        if earned > worth || spent > self.bill.msat() {
            self.fail(format!("{earned} of {worth} msat earned, {spent} spent"));
        }
        let power = self.home.power().map(|it| (it.debt().to_msat(), it.record().state()));
        if let Some((debt, state)) = power {
            self.risks.1 = self.risks.1.max(debt);
            if debt > CREDIT {
                self.fail(format!("{debt} msat of power on credit, the window is {CREDIT}"));
            }
            if state == State::Ended {
                self.fail("the session of power has ended".into());
            }
        }
        if self.fridge.board > i64::from(TOO_HOT) + 1_000 {
            let board = self.fridge.board;
            self.fail(format!("the board is at {board} thousandths of a degree"));
        }
    }

    /// The line, both machines, and a house that forgets what it owes.
    fn go_wrong(&mut self) -> Result<(), Error> {
        if self.chaos == 0 {
            return Ok(());
        }
        let every = [u64::MAX, u64::MAX, 4 * HOUR, HOUR][usize::from(self.chaos)];
        let again = |at: u64| self.t == at || (self.t > at && (self.t - at).is_multiple_of(every));
        let (down, up) = (again(DOWN.0), again(DOWN.1));
        let (fridge, house) = (again(CUTS.0), again(CUTS.1));
        if down {
            self.tell("the line is down")?;
            self.home.disconnect()?;
        }
        if fridge {
            self.tell("the fridge's board restarts, from 16 bytes")?;
            self.miner.reboot()?;
            self.home.reboot(false)?;
        }
        if house {
            self.tell("the house restarts")?;
            let now = self.home.now();
            self.home.reboot(true)?;
            self.office.reboot(now)?;
            let job = self.office.issue(now, false)?;
            self.miner.take(job);
        }
        if fridge || house {
            self.read_again()?;
        }
        if self.t == STINGY.0 {
            self.tell("the house takes shares and credits nothing")?;
        }
        if self.t == STINGY.1 {
            self.tell("the house pays again; what it did not credit is lost, and no more")?;
            self.forgive()?;
        }
        if up || fridge || house {
            self.home.connect()?;
        }
        if house {
            // Once it has seen the best voucher of its own.
            self.home.tend()?;
        }
        self.faults += u64::from(down) + u64::from(fridge) + u64::from(house);
        Ok(())
    }

    /// Both know their meters before they hear of each other.
    fn read_again(&mut self) -> Result<(), Error> {
        self.home.meter(self.read)
    }

    /// The fridge writes off what the house never credited: its own books begin with what is paid.
    fn forgive(&mut self) -> Result<(), Error> {
        let lost = self.miner.own.due(self.home.worker()).to_msat();
        self.checks += 1;
        if lost > WINDOW {
            self.fail(format!("{lost} msat of work are lost, the window is {WINDOW}"));
        }
        self.miner.own = Miner::new(self.miner.window)?.own;
        let (worker, channel) = (self.home.worker(), self.home.work_channel());
        let paid = Msat::new(self.home.held().0)?;
        self.note(&Input::Bind { worker, channel, paid })
    }

    fn note(&mut self, input: &Input) -> Result<(), Error> {
        let staged = self.miner.own.decide(input)?.stage(&mut Batch::default())?;
        Ok(self.miner.own.apply(&staged)?)
    }

    fn sample(&mut self, earned: u64, spent: u64) -> Result<(), Error> {
        let owed = self.miner.own.due(self.home.worker()).to_msat();
        let (inside, board) = (self.fridge.inside, self.fridge.board);
        let (cooling, hashing) = (self.cooling / 60, self.hashing / 60);
        (self.cooling, self.hashing) = (0, 0);
        let sample = Sample { t: self.t, inside, board, cooling, hashing, owed, earned, spent };
        if self.t.is_multiple_of(600) {
            self.lines.push(&sample)?;
            self.screen.status(&format!(
                "{} {:>2} C inside, board {:>2} C, {} shares, earned {} sat, spent {} sat",
                clock(self.home.now().to_u64()),
                inside / 1_000,
                board / 1_000,
                self.office.shares,
                sat(earned),
                sat(spent),
            ));
        }
        self.samples.push(sample);
        Ok(())
    }

    fn tell(&mut self, what: &str) -> Result<(), Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            t: u64,
            what: &'a str,
        }
        self.lines.push(&Line { t: self.t, what })?;
        self.screen.line(&format!("{} {what}", clock(self.home.now().to_u64())));
        Ok(())
    }

    pub(super) fn fail(&mut self, what: String) {
        if self.broken.len() < BROKEN_MAX {
            self.broken.push(what);
        }
    }
}
