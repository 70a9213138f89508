//! One episode, second by second: power flows, meters are read, money follows, things go wrong.

use millstream::meter::{MeterError, State};
use millstream::node::{Event, NodeError};
use millstream::sim::world::Clear;
use millstream::stream::payee::{SettleAdvice, SettlePolicy};
use millstream::units::{Blocks, FeeRate, Msat, Quantity, Sat, Seconds};
use serde::Serialize;

use super::curve::Battery;
use super::episode::{Ending, Episode, Fault, Mark, Outcome, Sample};
use super::guard::Guard;
use super::scene::{CREDIT, DELAY, DEPTH, Scene};
use crate::common::dice::Dice;
use crate::common::output::{Lines, Screen, clock, sat};
use crate::common::prices::{KWH, Prices};
use crate::common::{Error, Options, Sabotage};

/// What the car pays at most, sat a kilowatt-hour.
const PRICE_MAX: u64 = 700;
/// What a session may cost the car, sat.
const BUDGET: u64 = 60_000;
/// The station settles when it holds so much, sat.
const SETTLE_AT: u64 = 15_000;
/// A car that was refused nothing for so many seconds in a row leaves, if it is refused now.
const PATIENCE: u64 = 10;
/// A station that was not paid for so long ends the session, seconds.
const UNPAID_MAX: u64 = 60;
/// Blocks come every ten minutes.
const BLOCK_SECONDS: u64 = 600;

/// The state of an episode.
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of the scene")]
pub(crate) struct Drive<'a> {
    scene: Scene,
    episode: Episode,
    prices: Prices,
    battery: Battery,
    guard: Guard,
    dice: Dice,
    screen: &'a mut Screen,
    lines: &'a mut Lines,
    samples: Vec<Sample>,
    marks: Vec<Mark>,
    t: u64,
    /// Both meters since the session's start, watt-seconds.
    totals: (u64, u64),
    energy: u64,
    ticks: u64,
    drift: u64,
    peak: u64,
    next_block: u64,
    /// When each side and the line are back; 0: now.
    car_back: u64,
    station_back: u64,
    line_back: u64,
    /// Prices that the station wants to offer next.
    wanted: Option<Prices>,
    refused: u64,
    unpaid: u64,
    silent: bool,
    gone: bool,
    leaving: bool,
    agreed: bool,
}

impl<'a> Drive<'a> {
    /// Opens the channel of an episode.
    pub(crate) fn new(
        episode: Episode,
        options: &Options,
        screen: &'a mut Screen,
        lines: &'a mut Lines,
    ) -> Result<Self, Error> {
        let twice = options.sabotage == Some(Sabotage::Window);
        let credit = if twice { 2 * CREDIT } else { CREDIT };
        let scene = Scene::open(episode.start, options.seed, credit)?;
        let (battery, next_block) = (Battery::at(episode.charge.0), episode.start + BLOCK_SECONDS);
        Ok(Self {
            scene,
            prices: Prices::USUAL,
            battery,
            guard: Guard::new(options.sabotage),
            dice: Dice::new(options.seed, episode.name),
            screen,
            lines,
            samples: Vec::new(),
            marks: Vec::new(),
            t: 0,
            totals: (0, 0),
            energy: 0,
            ticks: 0,
            drift: 0,
            peak: 0,
            next_block,
            car_back: 0,
            station_back: 0,
            line_back: 0,
            wanted: Some(Prices::USUAL),
            refused: 0,
            unpaid: 0,
            silent: false,
            gone: false,
            leaving: false,
            agreed: false,
            episode,
        })
    }

    /// Plays the episode to its end. `breaks`: the chance that a message breaks the line, ppm.
    pub(crate) fn play(mut self, breaks: u64) -> Result<Outcome, Error> {
        self.bargain()?;
        if breaks > 0 {
            let dice = Dice::new(self.dice.between(0, u64::MAX), "breaks");
            self.scene.set_breaks(dice, breaks);
        }
        // An hour and a half at most, whatever goes wrong.
        while self.t < 5_400 && !self.leaving {
            self.second()?;
        }
        self.scene.world.set_weather(Box::new(Clear));
        self.finish()
    }

    fn second(&mut self) -> Result<(), Error> {
        self.t += 1;
        self.scene.world.pass(Seconds::new(1)?)?;
        if self.scene.utc() >= self.next_block {
            self.next_block += BLOCK_SECONDS;
            self.scene.block()?;
        }
        self.go_wrong()?;
        self.come_back()?;
        self.bargain()?;
        let power = self.deliver();
        let car = (self.t >= self.car_back).then_some(self.totals.0);
        let station = (self.t >= self.station_back && !self.gone).then_some(self.totals.1);
        self.scene.read_meters(car, station.filter(|_| power > 0))?;
        if self.scene.take_break() && self.scene.link.is_some() {
            self.mark("the line breaks".into())?;
            self.scene.disconnect()?;
            self.line_back = self.t + self.dice.between(1, 5);
        }
        self.hear()?;
        self.settle_if_due()?;
        self.decide_to_leave(power)?;
        self.guard.check_second(&self.scene, self.t);
        if let Some(session) = self.scene.session_of(self.scene.station).filter(|_| power > 0) {
            self.guard.check_owed(session, self.t);
        }
        self.sample(power)
    }

    /// Power flows while the station gives credit for one more second of it.
    fn deliver(&mut self) -> u64 {
        let target = self.episode.charge.1 * 100;
        self.peak = 0;
        if self.gone || self.leaving || self.battery.charge() >= target {
            return 0;
        }
        let power = self.battery.takes(self.episode.station);
        let metered = power + power * self.drift / 1_000_000;
        let now = self.scene.world.now().time;
        let session = self.scene.session_of(self.scene.station);
        let Some(session) = session.filter(|_| self.t >= self.station_back) else { return 0 };
        let step = Quantity::new(metered).unwrap_or(Quantity::MAX);
        self.peak = session.debt().to_msat();
        if !session.may_deliver(now, step).unwrap_or(false) {
            return 0;
        }
        let after = session.owed_after(now, step).unwrap_or(Msat::MAX);
        self.peak = after.saturating_sub(session.record().paid()).to_msat();
        self.guard.check_peak(self.peak, self.t);
        self.battery.fill(power);
        self.energy += power;
        self.ticks += 1;
        self.totals.0 += power;
        self.totals.1 += metered;
        let price = self.prices.at(now.to_u64());
        self.guard.metered.add(metered, price);
        self.guard.true_cost.add(power, price);
        power
    }

    fn go_wrong(&mut self) -> Result<(), Error> {
        let due: Vec<Fault> =
            self.episode.faults.iter().filter(|(at, _)| *at == self.t).map(|(_, f)| *f).collect();
        for fault in due {
            match fault {
                Fault::LineDown(seconds) => {
                    self.mark(format!("the line is down for {seconds} s"))?;
                    self.scene.disconnect()?;
                    self.line_back = self.t + seconds;
                }
                Fault::CarReboot(seconds) => {
                    self.mark(format!("the car loses power for {seconds} s"))?;
                    self.scene.reboot(self.scene.car)?;
                    self.car_back = self.t + seconds;
                }
                Fault::StationReboot(seconds) => {
                    self.mark(format!("the station loses power for {seconds} s"))?;
                    self.scene.reboot(self.scene.station)?;
                    self.station_back = self.t + seconds;
                }
                Fault::Prices(prices) => {
                    self.mark(format!("the station asks {} sat/kWh", prices.day))?;
                    self.wanted = Some(prices);
                    self.scene.end_session(self.scene.station)?;
                }
                Fault::Drift(ppm) => {
                    self.mark(format!("the station's meter runs {ppm} ppm fast"))?;
                    self.drift = ppm;
                }
                Fault::CarSilent => {
                    self.mark("the car says nothing any more".into())?;
                    self.scene.disconnect()?;
                    self.silent = true;
                }
                Fault::StationGone => {
                    self.mark("the station is gone".into())?;
                    self.scene.disconnect()?;
                    self.gone = true;
                }
                Fault::Settle => self.settle("on demand")?,
                Fault::Reorg(depth) => {
                    self.mark(format!("a reorg replaces the last {depth} block(s)"))?;
                    self.scene.reorg(depth)?;
                }
            }
        }
        Ok(())
    }

    fn come_back(&mut self) -> Result<(), Error> {
        let back = self.line_back.max(self.car_back).max(self.station_back);
        if self.scene.link.is_some() || self.t < back || self.silent || self.gone {
            return Ok(());
        }
        // The channel may have moved meanwhile.
        self.hear()?;
        // A car that was off must know its own meter before it hears the station's claims.
        self.scene.read_meters(Some(self.totals.0), None)?;
        self.scene.reconnect()?;
        self.mark("connected again".into())
    }

    /// The station offers what it wants once the last session is settled; the car takes what it
    /// finds cheap enough, or leaves.
    fn bargain(&mut self) -> Result<(), Error> {
        let state = self.scene.session_of(self.scene.station).map(|s| s.record().state());
        if state == Some(State::Offered) && self.scene.link.is_some() {
            if self.scene.offered().is_some() {
                return self.answer();
            }
            // An offer was lost with the line: another one. A lost acceptance is repeated by itself.
            if self.scene.session_of(self.scene.car).is_none() {
                self.scene.end_session(self.scene.station)?;
                self.wanted = self.wanted.or(Some(self.prices));
            }
        }
        let Some(prices) = self.wanted.filter(|_| self.scene.link.is_some()) else { return Ok(()) };
        let old = self.scene.session_of(self.scene.station);
        if let Some(old) = old {
            if old.debt() > Msat::ZERO || (old.owed() > Msat::ZERO && !self.agreed) {
                return Ok(());
            }
            let (owed, paid) = (old.owed().to_msat(), old.record().paid().to_msat());
            self.hear()?;
            self.guard.before.0 += owed;
            self.guard.before.1 += paid;
            self.guard.true_before += self.guard.true_cost.msat();
        }
        (self.guard.metered, self.guard.true_cost) = Default::default();
        self.scene.offer(prices)?;
        (self.prices, self.wanted, self.totals) = (prices, None, (0, 0));
        self.answer()
    }

    /// The car looks at the price of the offered session.
    fn answer(&mut self) -> Result<(), Error> {
        let now = self.scene.world.now().time;
        let Some(offered) = self.scene.offered() else { return Ok(()) };
        let kwh = offered.owed_after(now, Quantity::new(KWH)?)?.to_msat() / 1_000;
        if kwh > PRICE_MAX {
            self.leaving = true;
            return self.mark(format!("the car declines {kwh} sat/kWh and leaves"));
        }
        if self.scene.accept(BUDGET)? {
            self.agreed = false;
            self.mark(format!("the car accepts {kwh} sat/kWh"))?;
        }
        Ok(())
    }

    fn settle_if_due(&mut self) -> Result<(), Error> {
        if self.gone || self.t < self.station_back {
            return Ok(());
        }
        let station = self.scene.world.end(self.scene.station).ok_or("no station")?.node();
        let Some(payee) = station.payee(self.scene.outpoint) else { return Ok(()) };
        let policy = SettlePolicy {
            rate: FeeRate::new(3_000)?,
            lead: Blocks::new(DEPTH)?,
            balance_max: Sat::new(SETTLE_AT)?,
        };
        let view = station.view(self.scene.world.now().time)?;
        let open = payee.phase() == millstream::stream::payee::PayeePhase::Open;
        if open && matches!(payee.settle_advice(&view, &policy)?, SettleAdvice::Now { .. }) {
            self.settle("it holds enough")?;
        }
        Ok(())
    }

    fn settle(&mut self, why: &str) -> Result<(), Error> {
        self.scene.settle()?;
        self.mark(format!("the station settles on the chain: {why}"))
    }

    /// The car leaves when it is full, or refuses what the station claims for too long; the station
    /// ends what nobody pays.
    fn decide_to_leave(&mut self, power: u64) -> Result<(), Error> {
        let too_much = |error: &NodeError| {
            matches!(error, NodeError::Meter(MeterError::ToleranceExceeded { .. }))
        };
        let refused = self.scene.take_refusals(self.scene.car)?.iter().any(too_much);
        self.refused = if refused { self.refused + 1 } else { self.refused };
        self.unpaid = if power > 0 { 0 } else { self.unpaid + 1 };
        if self.battery.charge() >= self.episode.charge.1 * 100 {
            self.leaving = true;
        } else if self.refused > 0 && self.unpaid >= PATIENCE {
            self.leaving = true;
            self.mark("the car's own meter says less: it pays no more, and leaves".into())?;
        } else if self.gone && self.unpaid >= PATIENCE {
            self.leaving = true;
            self.mark("no power: the car leaves".into())?;
        } else if self.unpaid >= UNPAID_MAX {
            self.leaving = true;
            self.mark("not paid: the station ends the session".into())?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Outcome, Error> {
        match self.episode.ending {
            Ending::Agreed => self.part_in_peace()?,
            Ending::Quarrel => self.quarrel()?,
            Ending::Deserted => self.desert()?,
        }
        self.hear()?;
        if self.scene.has_channels() {
            self.guard.fail("a channel is still open".into());
        }
        self.outcome()
    }

    fn part_in_peace(&mut self) -> Result<(), Error> {
        for _ in 0..3 {
            if self.scene.link.is_none() {
                self.scene.reconnect()?;
            }
            self.scene.end_session(self.scene.car)?;
            self.scene.end_session(self.scene.station)?;
            self.hear()?;
            if self.agreed {
                break;
            }
            self.scene.disconnect()?;
        }
        if !self.agreed {
            self.guard.fail("no statement that both agree on".into());
        }
        if self.scene.link.is_none() {
            self.scene.reconnect()?;
        }
        self.close()?;
        self.scene.bury(4 * DEPTH)
    }

    /// Both sign the channel away, once the output that it is in has confirmed.
    fn close(&mut self) -> Result<(), Error> {
        for _ in 0..DEPTH {
            let car = self.scene.world.end(self.scene.car).ok_or("no car")?.node();
            if car.payer(self.scene.outpoint).is_some_and(|payer| payer.deadline().is_some()) {
                break;
            }
            self.scene.world.mine(Blocks::new(1)?);
            self.scene.quiet()?;
            self.hear()?;
        }
        self.scene.close()
    }

    fn quarrel(&mut self) -> Result<(), Error> {
        self.scene.end_session(self.scene.car)?;
        self.scene.end_session(self.scene.station)?;
        self.scene.disconnect()?;
        self.settle("the session is over")?;
        self.hear()?;
        self.scene.world.mine(Blocks::new(u32::from(DELAY))?);
        self.scene.quiet()?;
        self.hear()?;
        self.scene.refund()?;
        self.mark("the car takes the rest back after the deadline".into())?;
        self.scene.bury(4 * DEPTH)
    }

    fn desert(&mut self) -> Result<(), Error> {
        self.scene.end_session(self.scene.car)?;
        self.scene.world.mine(Blocks::new(u32::from(DELAY))?);
        self.scene.quiet()?;
        self.scene.refund()?;
        self.mark("the car takes everything back after the deadline".into())?;
        self.scene.bury(4 * DEPTH)
    }

    fn outcome(mut self) -> Result<Outcome, Error> {
        let session = self.scene.session_of(self.scene.station);
        let (owed, paid) = session.map_or((0, 0), |session| {
            (session.owed().to_msat(), session.record().paid().to_msat())
        });
        let (owed, paid) = (owed + self.guard.before.0, paid + self.guard.before.1);
        let books = self.scene.books();
        let losses = self.guard.check_end(&books, Msat::new(owed)?, Msat::new(paid)?, self.gone);
        let sent = self.scene.world.sent();
        let count = |name: &str| sent.get(name).map_or(0, |sent| sent.messages);
        let messages = sent.values().map(|sent| sent.messages).sum();
        let bytes = sent.values().map(|sent| sent.bytes + 2 * sent.messages).sum();
        let kinds = &books.kinds;
        let on_chain: u64 =
            kinds.iter().map(|(kind, kept)| kept.channels * kind.signatures()).sum();
        Ok(Outcome {
            samples: self.samples,
            marks: self.marks,
            energy: self.energy,
            owed,
            paid,
            debt_max: self.guard.debt_max,
            losses,
            ticks: self.ticks,
            vouchers: count("Voucher"),
            messages,
            bytes,
            signatures: count("Voucher") + count("Statement") + on_chain,
            commits: self.scene.commits(),
            books,
            checks: self.guard.checks,
            broken: self.guard.broken,
            episode: self.episode,
        })
    }

    fn hear(&mut self) -> Result<(), Error> {
        for event in self.scene.take_events(self.scene.car)? {
            match event {
                Event::RolledOver { to, capacity, .. } => {
                    self.scene.outpoint = to;
                    self.mark(format!("the channel goes on with {capacity}"))?;
                }
                Event::StatementAgreed { statement } => {
                    // The last session's may come once more.
                    if statement.session != self.scene.session {
                        continue;
                    }
                    self.agreed = true;
                    if let Some(session) = self.scene.session_of(self.scene.station) {
                        self.guard.check_statement(&statement, session);
                    }
                    let paid = sat(statement.paid.to_msat());
                    self.mark(format!("both agree on a statement of {paid} sat"))?;
                }
                Event::SpendUndone { .. } => self.mark("a reorg undoes the settlement".into())?,
                Event::Spent { at: Some(at), .. } => {
                    self.mark(format!("the spend of the channel is in block {at}"))?;
                }
                _ => {}
            }
        }
        let _told = self.scene.take_events(self.scene.station)?;
        Ok(())
    }

    fn sample(&mut self, power: u64) -> Result<(), Error> {
        let session = self.scene.session_of(self.scene.station);
        let (owed, paid) = session.map_or((0, 0), |session| {
            (session.owed().to_msat(), session.record().paid().to_msat())
        });
        let utc = self.scene.utc();
        let sample = Sample {
            t: self.t,
            charge: self.battery.charge(),
            power_w: power,
            price: self.prices.at(utc),
            owed: owed + self.guard.before.0,
            paid: paid + self.guard.before.1,
            peak: self.peak,
            debt: owed.saturating_sub(paid),
        };
        self.samples.push(sample);
        if self.t.is_multiple_of(10) {
            self.lines.push(&Line { episode: self.episode.name, utc: clock(utc), is: &sample })?;
        }
        if self.t.is_multiple_of(30) {
            self.screen.status(&format!(
                "{} {:<14} {:>3} % {:>6.1} kW  {} sat/kWh  paid {:>9} sat  debt {:>7} of {} sat",
                clock(utc),
                self.episode.name,
                sample.charge / 100,
                sample.power_w as f64 / 1_000.0,
                sample.price,
                sat(sample.paid),
                sat(sample.debt),
                CREDIT / 1_000,
            ));
        }
        Ok(())
    }

    fn mark(&mut self, what: String) -> Result<(), Error> {
        let utc = self.scene.utc();
        self.screen.line(&format!("{} {:<14} {what}", clock(utc), self.episode.name));
        let mark = Mark { t: self.t, what };
        self.lines.push(&Line { episode: self.episode.name, utc: clock(utc), is: &mark })?;
        self.marks.push(mark);
        Ok(())
    }
}

/// One line of the log.
#[derive(Serialize)]
struct Line<'a, T> {
    episode: &'a str,
    utc: String,
    #[serde(flatten)]
    is: &'a T,
}
