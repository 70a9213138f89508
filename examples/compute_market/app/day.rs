//! A day at the market, second by second: orders meet, units are done, judged and paid; things go
//! wrong.

use millstream::meter::State;
use millstream::node::Event;
use millstream::units::{Quantity, Seconds};
use serde::Serialize;

use super::book::Book;
use super::cast::{Habit, Provider, Requester, Want, providers, requesters, wants};
use super::contract::{Contract, Job, Stage};
use super::hall::{CREDIT, Hall, Who, contract_of};
use super::outcome::Outcome;
use super::task::KINDS;
use crate::common::crowd::Lossy;
use crate::common::dice::Dice;
use crate::common::output::{Lines, Screen, clock, sat};
use crate::common::{Error, Options, Sabotage};

/// Tuesday, 3 March 2026, 08:00 UTC.
const START: u64 = 1_772_496_000 + 8 * 3_600;
/// From here on nothing more goes wrong, and all that can be done is done long before the end.
const CALM: u64 = 1_500;
const END: u64 = 3_600;
/// A contract that says nothing for so long is broken off.
pub(super) const PATIENCE: u64 = 60;
/// An offer that was not taken for so long was lost with its line.
pub(super) const OFFER_LOST: u64 = 20;
const BLOCK: u64 = 600;
/// Seconds after which whoever lost its line or its power is back.
const BACK: u64 = 15;
/// 5: more of the same would only hide the first.
const BROKEN_MAX: usize = 5;
/// Of a million: messages lost; a second's lines broken; a second's machines restarted.
const RATES: [[u64; 3]; 4] = [[0, 0, 0], [0, 0, 0], [1_000, 500, 200], [5_000, 2_000, 800]];

/// A second of the market.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) t: u64,
    /// Contracts at work.
    pub(crate) working: u64,
    /// What was traded last of each kind, msat a unit.
    pub(crate) prices: [u64; KINDS.len()],
    /// The largest debt of any contract, msat.
    pub(crate) peak: u64,
    /// What all were paid, msat.
    pub(crate) paid: u64,
    /// The providers' standing.
    pub(crate) standings: Vec<u32>,
}

/// Units, by what came of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Units {
    /// Verified, and to be paid.
    pub(crate) verified: u64,
    /// Wrong: found out, and not paid.
    pub(crate) wrong: u64,
    /// Debit notes that claimed a unit which was wrong.
    pub(crate) claims_refused: u64,
}

/// The state of the day.
pub(crate) struct Day<'a> {
    pub(super) hall: Hall,
    pub(super) book: Book,
    pub(super) providers: Vec<Provider>,
    pub(super) requesters: Vec<Requester>,
    pub(super) wants: Vec<Want>,
    pub(super) jobs: Vec<Job>,
    pub(super) contracts: Vec<Contract>,
    pub(super) dice: Dice,
    seed: u64,
    pub(super) chaos: u8,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) screen: &'a mut Screen,
    lines: &'a mut Lines,
    /// Who is back when.
    away: Vec<(u64, usize)>,
    pub(super) prices: [u64; KINDS.len()],
    pub(super) samples: Vec<Sample>,
    pub(super) t: u64,
    /// The largest debt of this second, and of all, msat.
    pub(super) peak: (u64, u64),
    pub(super) units: Units,
    pub(super) trades: u64,
    pub(super) statements: u64,
    pub(super) faults: u64,
    pub(super) checks: u64,
    pub(super) broken: Vec<String>,
}

impl<'a> Day<'a> {
    /// Opens all channels before the market does.
    pub(crate) fn open(
        options: &Options,
        screen: &'a mut Screen,
        lines: &'a mut Lines,
    ) -> Result<Self, Error> {
        let chaos = options.chaos.min(3);
        let (providers, requesters) = (providers(chaos), requesters(chaos));
        let size = (requesters.len(), providers.len());
        screen.line(&format!("-- {} requesters open a channel to each of {}", size.0, size.1));
        let twice = options.sabotage == Some(Sabotage::Window);
        let credit = if twice { 2 * CREDIT } else { CREDIT };
        Ok(Self {
            hall: Hall::open(START, options.seed, size, credit)?,
            book: Book::default(),
            providers,
            requesters,
            wants: wants(&mut Dice::new(options.seed, "wants")),
            jobs: Vec::new(),
            contracts: Vec::new(),
            dice: Dice::new(options.seed, "faults"),
            seed: options.seed,
            chaos,
            sabotage: options.sabotage,
            screen,
            lines,
            away: Vec::new(),
            prices: [0; KINDS.len()],
            samples: Vec::new(),
            t: 0,
            peak: (0, 0),
            units: Units::default(),
            trades: 0,
            statements: 0,
            faults: 0,
            checks: 0,
            broken: Vec::new(),
        })
    }

    /// The day and the night after it.
    pub(crate) fn play(mut self) -> Result<Outcome, Error> {
        self.weather();
        self.offer_slots();
        while self.t < END && (self.t < CALM || self.busy()) {
            self.second()?;
        }
        if self.busy() {
            let t = self.t;
            self.fail(format!("work or sessions are still open after {t} s"));
        }
        self.outcome()
    }

    fn busy(&self) -> bool {
        let open = |contract: &Contract| contract.alive() || contract.stage == Stage::Ending;
        self.contracts.iter().any(open)
    }

    fn second(&mut self) -> Result<(), Error> {
        self.t += 1;
        let world = &mut self.hall.world;
        world.pass(Seconds::new(1)?)?;
        if self.t.is_multiple_of(BLOCK) {
            let time = world.now().time;
            world.chain().with(|chain| chain.mine_at(time))?;
        }
        self.go_wrong()?;
        self.ask_for_work()?;
        self.trade()?;
        self.bargain()?;
        self.deliver()?;
        self.verify()?;
        self.part()?;
        self.hear()?;
        self.sample()
    }

    fn weather(&mut self) {
        let ppm = if self.t < CALM { self.rates()[0] } else { 0 };
        let mute = self.requesters.iter().position(|r| r.mute_from.is_some_and(|t| t <= self.t));
        let mute = mute.and_then(|requester| self.hall.requester(requester).ok());
        let dice = Dice::new(self.seed + self.t, "air");
        self.hall.world.set_weather(Box::new(Lossy { dice, ppm, mute }));
    }

    const fn rates(&self) -> [u64; 3] {
        RATES[self.chaos as usize]
    }

    /// Lines break, machines lose power, one for good; a requester says nothing more.
    fn go_wrong(&mut self) -> Result<(), Error> {
        let muted = self.requesters.iter().any(|requester| requester.mute_from == Some(self.t));
        if muted || self.t == CALM {
            self.weather();
        }
        for provider in 0..self.providers.len() {
            let Some(who) = self.providers.get_mut(provider) else { continue };
            if who.habit == Habit::Vanishes(self.t) {
                (who.gone, self.faults) = (true, self.faults + 1);
                self.book.withdraw(provider);
                self.hall.reboot(Who::Provider(provider))?;
                self.tell(provider, "loses power, and does not come back today")?;
            }
        }
        let rates = self.rates();
        if self.chaos >= 1 && self.t < CALM {
            for at in 0..self.hall.channels.len() {
                let once = self.chaos == 1 && self.t == 100 + 7 * at as u64;
                if self.dice.chance(rates[1]) || once {
                    self.faults += 1;
                    self.hall.disconnect(at)?;
                    self.away.push((self.t + BACK, at));
                }
            }
            for requester in 0..self.requesters.len() {
                let once = self.chaos == 1 && self.t == 200 && requester == 0;
                if self.dice.chance(rates[2]) || once {
                    self.faults += 1;
                    self.hall.reboot(Who::Requester(requester))?;
                }
            }
            for provider in 0..self.providers.len() {
                let once = self.chaos == 1 && self.t == 400 && provider == 0;
                if self.dice.chance(rates[2]) || once {
                    self.faults += 1;
                    self.hall.reboot(Who::Provider(provider))?;
                }
            }
        }
        self.come_back()
    }

    /// Whoever has no line and is not away for longer gets one; both know their meters first.
    fn come_back(&mut self) -> Result<(), Error> {
        let t = self.t;
        self.away.retain(|(back, _)| *back > t);
        for at in 0..self.hall.channels.len() {
            let Some(channel) = self.hall.channels.get(at) else { continue };
            let (requester, provider) = (channel.requester, channel.provider);
            let gone = self.providers.get(provider).is_none_or(|provider| provider.gone);
            if channel.link.is_some() || gone || self.away.iter().any(|(_, away)| *away == at) {
                continue;
            }
            for number in 0..self.contracts.len() {
                let Some(contract) = self.contracts.get(number) else { continue };
                let here = self.requester_of(contract) == requester;
                if !here || contract.provider != provider || contract.offered.is_none() {
                    continue;
                }
                let (verified, noted) = (contract.verified, contract.noted);
                let _own = self.hall.read(number, self.hall.requester(requester)?, verified)?;
                let _noted = self.hall.read(number, self.hall.provider(provider)?, noted)?;
            }
            self.hall.connect(at)?;
        }
        self.hall.world.settle_down()?;
        Ok(())
    }

    /// Statements that both agree on.
    fn hear(&mut self) -> Result<(), Error> {
        let off = u64::from(self.sabotage == Some(Sabotage::Statement));
        for requester in 0..self.requesters.len() {
            let end = self.hall.requester(requester)?;
            for event in self.hall.world.take_events(end)? {
                let Event::StatementAgreed { statement } = event else { continue };
                let number = contract_of(statement.session);
                let Some(contract) = self.contracts.get_mut(number) else { continue };
                if contract.stage == Stage::Ending {
                    contract.stage = Stage::Stated;
                }
                let want = contract.verified * contract.price;
                let (owed, paid) = (statement.owed.to_msat() + off, statement.paid.to_msat());
                self.checks += 1;
                self.statements += 1;
                if owed != want || paid != want {
                    self.fail(format!("contract {number}: {owed} owed, {paid} paid, worth {want}"));
                }
            }
        }
        for provider in 0..self.providers.len() {
            let end = self.hall.provider(provider)?;
            let _told = self.hall.world.take_events(end)?;
        }
        Ok(())
    }

    /// The requester of a contract.
    pub(super) fn requester_of(&self, contract: &Contract) -> usize {
        self.jobs.get(contract.job).map_or(0, |job| job.requester)
    }

    /// Whether the provider may do one more unit, by its own node, and what it has on credit then.
    pub(super) fn may_do(&self, number: usize) -> Result<Option<u64>, Error> {
        let contract = self.contracts.get(number).ok_or("no contract")?;
        let end = self.hall.provider(contract.provider)?;
        let Some(session) = self.hall.session(number, end) else { return Ok(None) };
        let done = contract.results.len() as u64;
        let (now, more) = (self.hall.world.now().time, Quantity::new(done + 1 - contract.noted)?);
        if session.record().state() != State::Active || !session.may_deliver(now, more)? {
            return Ok(None);
        }
        let owed = session.owed_after(now, more)?;
        Ok(Some(owed.saturating_sub(session.record().paid()).to_msat()))
    }

    fn sample(&mut self) -> Result<(), Error> {
        let working = self.contracts.iter().filter(|c| c.stage == Stage::Works).count() as u64;
        let paid = (0..self.hall.channels.len()).map(|at| self.hall.paid(at)).sum();
        let standings = self.providers.iter().map(|provider| provider.standing).collect();
        let (t, peak, prices) = (self.t, self.peak.0, self.prices);
        let sample = Sample { t, working, prices, peak, paid, standings };
        if t.is_multiple_of(10) {
            self.lines.push(&sample)?;
        }
        if t.is_multiple_of(30) {
            self.screen.status(&format!(
                "{} {working:>2} contracts at work  {} units verified  paid {} sat",
                clock(self.hall.utc()),
                self.units.verified,
                sat(paid),
            ));
        }
        self.samples.push(sample);
        Ok(())
    }

    /// Something that a provider did or that was done to it.
    pub(super) fn tell(&mut self, provider: usize, what: &str) -> Result<(), Error> {
        let name = self.providers.get(provider).map_or("nobody", |provider| provider.name);
        self.say(name, what)
    }

    /// A line of the log and of the screen.
    pub(super) fn say(&mut self, who: &str, what: &str) -> Result<(), Error> {
        self.lines.push(&Line { t: self.t, who, what })?;
        self.screen.line(&format!("{} {who}: {what}", clock(self.hall.utc())));
        Ok(())
    }

    pub(super) fn fail(&mut self, what: String) {
        if self.broken.len() < BROKEN_MAX {
            self.broken.push(what);
        }
    }
}

/// One line of the log.
#[derive(Serialize)]
struct Line<'a> {
    t: u64,
    who: &'a str,
    what: &'a str,
}
