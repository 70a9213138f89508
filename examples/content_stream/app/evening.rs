//! An evening: viewers come, watch, pause, change what they see, and pay each second; at eight it
//! gets dearer; things go wrong.

use millstream::meter::State;
use millstream::node::Event;
use millstream::units::{Quantity, Seconds};
use serde::Serialize;

use super::outcome::Outcome;
use super::studio::{CREDIT, Prices, Studio, number_of, worth};
use super::viewer::{Act, Bill, Stage, Viewer, first, name, viewer};
use crate::common::crowd::Lossy;
use crate::common::dice::Dice;
use crate::common::output::{Lines, Screen, clock, sat};
use crate::common::{Error, Options, Sabotage};

/// Monday, 2 March 2026, 19:50 UTC.
const START: u64 = 1_772_409_600 + 19 * 3_600 + 50 * 60;
/// Eight o'clock.
const DEARER: u64 = 600;
/// Ten: the first one's evening is drawn.
const VIEWERS: u64 = 10;
/// From here on nothing more goes wrong, and half an hour later everybody has left.
const CALM: u64 = 1_500;
const END: u64 = 3_600;
/// The last viewer says nothing any more from here on, if anything goes wrong.
const MUTE: u64 = 700;
/// After a minute without a payment the studio ends a session.
const PATIENCE: u64 = 60;
/// An offer that was not taken for so long was lost with its line.
const OFFER_LOST: u64 = 30;
const BLOCK: u64 = 600;
/// 5: more of the same would only hide the first.
const BROKEN_MAX: usize = 5;
/// Of a million: messages lost; a second's lines broken; a second's viewers restarted.
const RATES: [[u64; 3]; 4] = [[0, 0, 0], [0, 0, 0], [1_000, 1_000, 300], [5_000, 3_000, 1_000]];

/// A second of the first viewer, and of all.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) t: u64,
    /// What it sees: 0 nothing, 1 the cheapest, ..
    pub(crate) sees: u64,
    /// What a minute costs it, msat.
    pub(crate) minute: u64,
    /// Sent and not paid, just before the second was paid, msat.
    pub(crate) peak: u64,
    /// What it has paid, msat.
    pub(crate) paid: u64,
    /// Who watches.
    pub(crate) watching: u64,
    /// What all have paid, msat.
    pub(crate) all_paid: u64,
}

/// Something that happened to the first viewer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Mark {
    /// Seconds since the start.
    pub(crate) t: u64,
    /// What.
    pub(crate) what: String,
}

/// The state of the evening.
pub(crate) struct Evening<'a> {
    pub(super) studio: Studio,
    pub(super) viewers: Vec<Viewer>,
    prices: Prices,
    dice: Dice,
    seed: u64,
    pub(super) chaos: u8,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) screen: &'a mut Screen,
    lines: &'a mut Lines,
    pub(super) samples: Vec<Sample>,
    pub(super) marks: Vec<Mark>,
    t: u64,
    /// The largest debt of the first viewer in this second, and of anyone ever, msat.
    peak: (u64, u64),
    pub(super) faults: u64,
    pub(super) checks: u64,
    pub(super) broken: Vec<String>,
}

impl<'a> Evening<'a> {
    /// Opens all channels before the film.
    pub(crate) fn open(
        options: &Options,
        screen: &'a mut Screen,
        lines: &'a mut Lines,
    ) -> Result<Self, Error> {
        screen.line(&format!("-- {VIEWERS} viewers open a channel each"));
        let twice = options.sabotage == Some(Sabotage::Window);
        let credit = if twice { 2 * CREDIT } else { CREDIT };
        let studio = Studio::open(START, options.seed, VIEWERS, credit)?;
        let mut dice = Dice::new(options.seed, "viewers");
        let mut viewers = vec![first()];
        viewers.extend((1..VIEWERS).map(|_| viewer(&mut dice)));
        Ok(Self {
            studio,
            viewers,
            prices: Prices::AFTERNOON,
            dice: Dice::new(options.seed, "faults"),
            seed: options.seed,
            chaos: options.chaos.min(3),
            sabotage: options.sabotage,
            screen,
            lines,
            samples: Vec::new(),
            marks: Vec::new(),
            t: 0,
            peak: (0, 0),
            faults: 0,
            checks: 0,
            broken: Vec::new(),
        })
    }

    /// The evening and the night after it.
    pub(crate) fn play(mut self) -> Result<Outcome, Error> {
        self.set_weather(false);
        let here = |viewer: &Viewer| !matches!(viewer.stage, Stage::Left | Stage::CutOff);
        while self.t < END && self.viewers.iter().any(here) {
            self.second()?;
        }
        let stay = self.viewers.iter().filter(|viewer| here(viewer)).count();
        if stay > 0 {
            self.fail(format!("{stay} viewers have not left"));
        }
        let peak = self.peak.1;
        self.outcome(peak)
    }

    fn set_weather(&mut self, mute: bool) {
        let ppm = if self.t < CALM { self.rates()[0] } else { 0 };
        let last = self.studio.crowd.members.last().map(|member| member.end);
        let mute = last.filter(|_| mute);
        let dice = Dice::new(self.seed + self.t, "air");
        self.studio.crowd.world.set_weather(Box::new(Lossy { dice, ppm, mute }));
    }

    const fn rates(&self) -> [u64; 3] {
        RATES[self.chaos as usize]
    }

    fn second(&mut self) -> Result<(), Error> {
        self.t += 1;
        let world = &mut self.studio.crowd.world;
        world.pass(Seconds::new(1)?)?;
        if self.t.is_multiple_of(BLOCK) {
            let time = world.now().time;
            world.chain().with(|chain| chain.mine_at(time))?;
        }
        if self.t == DEARER {
            self.prices = Prices::EVENING;
            self.screen.line(&format!("{} it gets dearer", clock(self.utc())));
            for viewer in self.viewers.iter_mut().filter(|v| v.stage == Stage::Watching) {
                viewer.wants = true;
            }
        }
        self.go_wrong()?;
        self.act()?;
        self.bargain()?;
        self.send()?;
        self.hear()?;
        self.part()?;
        self.sample()
    }

    /// Lines break, machines lose power: more of it with more chaos.
    fn go_wrong(&mut self) -> Result<(), Error> {
        if self.chaos >= 1 && (self.t == MUTE || self.t == CALM) {
            self.set_weather(true);
        }
        if self.chaos == 0 || self.t >= CALM {
            return Ok(());
        }
        let [_, breaks, restarts] = self.rates();
        for viewer in 0..self.viewers.len() {
            let once = |at, who| self.chaos == 1 && self.t == at && viewer == who;
            let (broken, cut) = (once(150, 0), once(250, 1));
            let connected = self.member(viewer).is_some_and(|member| member.link.is_some());
            if !connected {
                continue;
            }
            let back = self.t + self.dice.between(5, 25);
            if self.dice.chance(breaks) || broken {
                self.mark(viewer, "its line breaks")?;
                self.studio.crowd.disconnect(viewer)?;
            } else if self.dice.chance(restarts) || cut {
                self.mark(viewer, "its machine loses power")?;
                self.studio.crowd.reboot(Some(viewer))?;
            } else {
                continue;
            }
            self.faults += 1;
            if let Some(viewer) = self.viewers.get_mut(viewer) {
                viewer.back_at = back;
            }
        }
        if self.t == 400 || (self.chaos == 3 && self.t == 1_000) {
            self.faults += 1;
            self.screen.line(&format!("{} the studio loses power", clock(self.utc())));
            self.studio.crowd.reboot(None)?;
            for (number, viewer) in self.viewers.iter().enumerate() {
                let Some(bill) = viewer.bills.last() else { continue };
                let current = viewer.bills.len() as u64 - 1;
                self.studio.read_again(number, current, bill.seconds)?;
            }
        }
        Ok(())
    }

    /// Viewers come, are back, pause, and want to see something else.
    fn act(&mut self) -> Result<(), Error> {
        for number in 0..self.viewers.len() {
            let connected = self.member(number).is_some_and(|member| member.link.is_some());
            let Some(viewer) = self.viewers.get_mut(number) else { continue };
            if viewer.stage == Stage::Away && viewer.starts <= self.t {
                (viewer.stage, viewer.wants, viewer.paid_at) = (Stage::Watching, true, self.t);
            }
            let here = matches!(viewer.stage, Stage::Watching | Stage::Leaving);
            let due = viewer.acts.iter().filter(|(at, _)| *at == self.t).map(|(_, act)| *act);
            let due: Vec<Act> = due.filter(|_| viewer.stage == Stage::Watching).collect();
            let current = viewer.bills.len().checked_sub(1);
            let seconds = viewer.bills.last().map_or(0, |bill| bill.seconds);
            for act in &due {
                match *act {
                    Act::Pause(seconds) => viewer.paused_until = self.t + seconds,
                    Act::See(quality) => (viewer.quality, viewer.wants) = (quality, true),
                }
            }
            if here && !connected && viewer.back_at <= self.t {
                // It must know its own meter before it hears what the studio says.
                if let Some(current) = current {
                    let _own = self.studio.read(number, current as u64, seconds, false)?;
                }
                self.studio.crowd.connect(number)?;
            }
            for act in due {
                let what = match act {
                    Act::Pause(seconds) => format!("pauses for {seconds} s"),
                    Act::See(quality) => format!("wants {}", name(quality)),
                };
                self.mark(number, &what)?;
            }
        }
        self.studio.crowd.world.settle_down()?;
        Ok(())
    }

    /// The studio offers what is wanted, and the viewer looks at the price.
    fn bargain(&mut self) -> Result<(), Error> {
        for number in 0..self.viewers.len() {
            let Some(viewer) = self.viewers.get_mut(number) else { continue };
            let (next, minute) = (viewer.bills.len() as u64, self.prices.of(viewer.quality));
            if viewer.stage != Stage::Watching || !viewer.wants {
                continue;
            }
            if self.studio.offer(number, next, minute)? {
                viewer.bills.push(Bill { minute, seconds: 0 });
                (viewer.wants, viewer.taken, viewer.offered_at) = (false, false, self.t);
            }
        }
        self.studio.crowd.world.settle_down()?;
        for number in 0..self.viewers.len() {
            let Some(viewer) = self.viewers.get_mut(number) else { continue };
            let Some(current) = viewer.bills.len().checked_sub(1) else { continue };
            let current = current as u64;
            if viewer.stage != Stage::Watching || viewer.wants {
                continue;
            }
            if let Some(minute) = self.studio.offered(number, current)? {
                if minute > viewer.limit && viewer.quality > 0 {
                    (viewer.quality, viewer.wants) = (viewer.quality - 1, true);
                    let what = format!("{} sat a minute is too dear", minute / 1_000);
                    self.mark(number, &what)?;
                } else if self.studio.accept(number, current)? && !viewer.taken {
                    viewer.taken = true;
                    let what = format!("takes {} sat a minute", sat(minute));
                    self.mark(number, &what)?;
                }
            } else if self.t > viewer.offered_at + OFFER_LOST {
                let offered = self.studio.session(number, current, false);
                let lost = offered.is_none_or(|s| s.record().state() == State::Offered);
                viewer.wants = lost && self.studio.session(number, current, true).is_none();
            }
        }
        self.studio.crowd.world.settle_down()?;
        Ok(())
    }

    /// A second goes to everybody who watches and has credit for it, and is paid.
    fn send(&mut self) -> Result<(), Error> {
        let now = self.studio.crowd.world.now().time;
        self.peak.0 = 0;
        for number in 0..self.viewers.len() {
            let connected = self.member(number).is_some_and(|member| member.link.is_some());
            let Some(viewer) = self.viewers.get_mut(number) else { continue };
            let Some(current) = viewer.bills.len().checked_sub(1) else { continue };
            let current = current as u64;
            let plays = viewer.stage == Stage::Watching
                && connected
                && viewer.paused_until <= self.t
                && viewer.watched < viewer.film;
            let own = self.studio.session(number, current, true);
            let sees = own.is_some_and(|session| session.record().state() == State::Active);
            let Some(session) = self.studio.session(number, current, false) else { continue };
            let one = Quantity::new(1)?;
            if !plays || !sees || !session.may_deliver(now, one).unwrap_or(false) {
                continue;
            }
            let after = session.owed_after(now, one)?;
            let debt = after.saturating_sub(session.record().paid()).to_msat();
            let Some(bill) = viewer.bills.last_mut() else { continue };
            if !self.studio.read(number, current, bill.seconds + 1, true)? {
                continue;
            }
            bill.seconds += 1;
            viewer.watched += 1;
            self.peak.1 = self.peak.1.max(debt);
            if number == 0 {
                self.peak.0 = debt;
            }
            if debt > CREDIT {
                self.fail(format!("{debt} msat on credit, the window is {CREDIT}"));
            }
        }
        self.studio.crowd.world.settle_down()?;
        for number in 0..self.viewers.len() {
            self.check(number);
        }
        Ok(())
    }

    /// The studio's meter against the sums of this side.
    fn check(&mut self, number: usize) {
        let Some(viewer) = self.viewers.get_mut(number) else { return };
        let Some(bill) = viewer.bills.last().copied() else { return };
        let current = viewer.bills.len() as u64 - 1;
        let Some(session) = self.studio.session(number, current, false) else { return };
        self.checks += 1;
        let (owed, debt) = (session.owed().to_msat(), session.debt().to_msat());
        if debt == 0 {
            viewer.paid_at = self.t;
        }
        let want = worth(bill.seconds, bill.minute);
        if owed > want || debt > CREDIT {
            self.fail(format!("viewer {number}: {owed} msat owed of {want}, {debt} not paid"));
        }
    }

    /// Statements that both agree on.
    fn hear(&mut self) -> Result<(), Error> {
        let off = u64::from(self.sabotage == Some(Sabotage::Statement));
        for at in 0..self.viewers.len() {
            let end = self.member(at).ok_or("no viewer")?.end;
            for event in self.studio.crowd.world.take_events(end)? {
                let Event::StatementAgreed { statement } = event else { continue };
                self.checks += 1;
                let (_, number) = number_of(statement.session);
                let (owed, paid) = (statement.owed.to_msat() + off, statement.paid.to_msat());
                let Some(viewer) = self.viewers.get_mut(at) else { continue };
                let bill = viewer.bills.get(usize::try_from(number)?).copied();
                let want = bill.map_or(0, |bill| worth(bill.seconds, bill.minute));
                viewer.stated.insert(number);
                if owed != want || paid != want {
                    self.fail(format!("viewer {at}: {owed} owed, {paid} paid, worth {want} msat"));
                }
            }
        }
        let _told = self.studio.crowd.world.take_events(self.studio.crowd.payee)?;
        Ok(())
    }

    /// Who has seen the film leaves, once both agree on all of it; who does not pay is cut off.
    fn part(&mut self) -> Result<(), Error> {
        for number in 0..self.viewers.len() {
            let Some(viewer) = self.viewers.get_mut(number) else { continue };
            let Some(current) = viewer.bills.len().checked_sub(1) else { continue };
            let current = current as u64;
            // Not before the last second is paid: what a viewer ends is over for both.
            let own = self.studio.session(number, current, true);
            let want = viewer.bills.last().map_or(0, |bill| worth(bill.seconds, bill.minute));
            let paid = own.is_some_and(|session| session.record().paid().to_msat() == want);
            if viewer.stage == Stage::Watching && viewer.watched == viewer.film && paid {
                viewer.stage = Stage::Leaving;
                self.studio.end(number, current, false)?;
            }
            let Some(viewer) = self.viewers.get_mut(number) else { continue };
            let mut sold = (0..).zip(&viewer.bills).filter(|(_, bill)| bill.seconds > 0);
            if viewer.stage == Stage::Leaving && sold.all(|(at, _)| viewer.stated.contains(&at)) {
                viewer.stage = Stage::Left;
                self.studio.crowd.disconnect(number)?;
                self.mark(number, "has seen it all, and leaves")?;
            } else if matches!(viewer.stage, Stage::Watching | Stage::Leaving)
                && self.t > viewer.paid_at + PATIENCE
            {
                viewer.stage = Stage::CutOff;
                self.studio.end(number, current, true)?;
                self.studio.crowd.disconnect(number)?;
                self.mark(number, "does not pay, and is cut off")?;
            }
        }
        self.studio.crowd.world.settle_down()?;
        Ok(())
    }

    fn sample(&mut self) -> Result<(), Error> {
        let Some(viewer) = self.viewers.first() else { return Ok(()) };
        let minute = viewer.bills.last().map_or(0, |bill| bill.minute);
        let before = self.samples.last().map_or(0, |sample| sample.paid);
        let paid = self.studio.paid(0);
        let sees = if paid > before { viewer.quality as u64 + 1 } else { 0 };
        let here = |viewer: &&Viewer| viewer.stage == Stage::Watching;
        let watching = self.viewers.iter().filter(here).count() as u64;
        let all_paid = (0..self.viewers.len()).map(|number| self.studio.paid(number)).sum();
        let minute = if viewer.stage == Stage::Left { 0 } else { minute };
        let (t, peak) = (self.t, self.peak.0);
        let sample = Sample { t, sees, minute, peak, paid, watching, all_paid };
        self.samples.push(sample);
        if t.is_multiple_of(10) {
            self.lines.push(&sample)?;
        }
        if t.is_multiple_of(30) {
            self.screen.status(&format!(
                "{} {watching:>2} watch  paid {} sat",
                clock(self.utc()),
                sat(all_paid),
            ));
        }
        Ok(())
    }

    fn mark(&mut self, viewer: usize, what: &str) -> Result<(), Error> {
        let line = Line { t: self.t, viewer, what };
        self.lines.push(&line)?;
        self.screen.line(&format!("{} viewer {viewer} {what}", clock(self.utc())));
        if viewer == 0 {
            self.marks.push(Mark { t: self.t, what: what.into() });
        }
        Ok(())
    }

    fn member(&self, viewer: usize) -> Option<&crate::common::crowd::Member> {
        self.studio.crowd.members.get(viewer)
    }

    fn utc(&self) -> u64 {
        self.studio.crowd.utc()
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
    viewer: usize,
    what: &'a str,
}
