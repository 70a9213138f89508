//! One episode, step by step: prices are shown, holds come, motors turn, things go wrong.

use millstream::monitor::{Fate, News, Side};
use millstream::node::Event;
use millstream::stream::{Payee, Payer};
use millstream::tx::hold::PaymentHash;
use millstream::units::Seconds;
use serde::Serialize;

use super::episode::{Cut, Ending, Episode, Mark, Outcome, Released, Sample, Step, Twist};
use super::guard::{Guard, Stand};
use super::keeper::Keeper;
use super::scene::{BLOCK_SECONDS, Scene, secret};
use super::vendor::{Quote, Vendor};
use crate::common::dice::Dice;
use crate::common::output::{Lines, Screen, clock, sat};
use crate::common::{Error, Options};

/// Monday, 2 March 2026, 09:00 UTC.
const START: u64 = 1_772_409_600 + 9 * 3_600;
/// How long a buyer stands before the machine, in steps of ten seconds.
const PATIENCE: u32 = 60;
/// Seconds of a step.
const STEP: u64 = 10;
/// The machine serves only if so many blocks are left before it has to settle: the monitor begins
/// six blocks ahead, and the line may be down for a while.
pub(crate) const LEAD: u32 = 9;

/// The state of an episode.
pub(crate) struct Drive<'a> {
    pub(crate) scene: Scene,
    pub(crate) vendor: Vendor,
    pub(crate) buyer: Keeper,
    pub(crate) machine: Keeper,
    pub(crate) guard: Guard,
    pub(crate) episode: Episode,
    pub(crate) dice: Dice,
    screen: &'a mut Screen,
    lines: &'a mut Lines,
    samples: Vec<Sample>,
    marks: Vec<Mark>,
    released: Vec<Released>,
    quotes: u64,
    next_block: u64,
    /// Where the machine's power goes next.
    pub(crate) cut: Option<Cut>,
    /// Whether the buyer's phone restarts before it hears the next answer.
    pub(crate) restarts: bool,
    /// When the line is back.
    pub(crate) line_back: u64,
    pub(crate) buyer_gone: bool,
    pub(crate) machine_gone: bool,
    /// What the voucher says that was closed or settled with, and what was claimed beside it, sat.
    pub(crate) got: (u64, u64),
    /// The voucher with the last hold, which a machine that cheats keeps.
    pub(crate) kept: Option<millstream::stream::HoldVoucher>,
}

impl<'a> Drive<'a> {
    /// Opens the channel of an episode.
    pub(crate) fn new(
        episode: Episode,
        options: &Options,
        screen: &'a mut Screen,
        lines: &'a mut Lines,
    ) -> Result<Self, Error> {
        Ok(Self {
            scene: Scene::open(START, options.seed)?,
            vendor: Vendor::new(secret(options.seed, "preimages")),
            buyer: Keeper::new(Side::Payer),
            machine: Keeper::new(Side::Payee),
            guard: Guard::new(options.sabotage),
            dice: Dice::new(options.seed, episode.name),
            episode,
            screen,
            lines,
            samples: Vec::new(),
            marks: Vec::new(),
            released: Vec::new(),
            quotes: 0,
            next_block: START + BLOCK_SECONDS,
            cut: None,
            restarts: false,
            line_back: 0,
            buyer_gone: false,
            machine_gone: false,
            got: (0, 0),
            kept: None,
        })
    }

    /// Plays the episode to its end. `breaks`: the chance that a message breaks the line, ppm.
    pub(crate) fn play(mut self, breaks: u64) -> Result<Outcome, Error> {
        self.look()?;
        let dice = Dice::new(self.dice.between(0, u64::MAX), "breaks");
        self.scene.set_breaks(dice, breaks);
        for step in self.episode.steps.clone() {
            match step {
                Step::Buy(slot, twist) => self.buy(slot, twist)?,
                Step::Blocks(count) => self.blocks(count)?,
                Step::Cheat => self.cheat()?,
            }
        }
        let none = Dice::new(0, "none");
        self.scene.set_breaks(none, 0);
        match self.episode.ending {
            Ending::Agreed => self.part_in_peace()?,
            Ending::Refund => self.wait_for_refund()?,
        }
        Ok(self.outcome())
    }

    /// Somebody wants an item.
    fn buy(&mut self, slot: usize, twist: Twist) -> Result<(), Error> {
        let Some(quote) = self.vendor.quote(slot, self.scene.utc())? else {
            let item = self.vendor.slots.get(slot).map_or("it", |slot| slot.item);
            return self.mark(format!("{item} is sold out: no price is shown"));
        };
        self.quotes += 1;
        let Quote { number, item, price, hash } = quote;
        self.mark(format!("order {number}: {item} for {price} sat"))?;
        match twist {
            Twist::Jam => self.vendor.jammed = true,
            Twist::PowerCut(cut) => self.cut = Some(cut),
            Twist::SoldOut => self.vendor.sell_for_cash(slot),
            Twist::PriceRise(more, seconds) => {
                if let Some(slot) = self.vendor.slots.get_mut(slot) {
                    slot.price += more;
                }
                self.wait(seconds)?;
            }
            Twist::BuyerRestarts => self.restarts = true,
            _ => {}
        }
        if !self.reserve(&quote)? {
            return self.mark("the buyer cannot reach its channel, and leaves".into());
        }
        if !self.arrives(hash)? {
            self.guard.fail(format!("the hold of order {number} does not arrive"));
            return Ok(());
        }
        match twist {
            Twist::MachineVanishes => {
                (self.machine_gone, self.guard.abandoned) = (true, true);
                self.scene.disconnect()?;
                return self.mark("the machine is gone".into());
            }
            Twist::Removed => return self.remove(),
            Twist::BuyerVanishes => {
                self.scene.disconnect()?;
                self.buyer_gone = true;
                self.mark("the buyer says nothing any more".into())?;
            }
            _ => {}
        }
        self.stand_before(hash)
    }

    /// The hold is offered, once the line is up.
    fn reserve(&mut self, quote: &Quote) -> Result<bool, Error> {
        for _ in 0..PATIENCE {
            if self.scene.reserve(quote.hash, quote.price)? {
                self.note_break()?;
                return Ok(true);
            }
            self.wait(STEP)?;
        }
        Ok(false)
    }

    /// Until the machine has taken the hold.
    fn arrives(&mut self, hash: PaymentHash) -> Result<bool, Error> {
        for _ in 0..PATIENCE {
            let node = self.scene.node(self.scene.machine).ok_or("no machine")?;
            let best = node.payee(self.scene.outpoint).and_then(Payee::best_held);
            self.kept = best.filter(|best| best.holds.iter().any(|hold| hold.hash == hash));
            if self.kept.is_some() {
                return self.look().map(|()| true);
            }
            self.wait(STEP)?;
        }
        Ok(false)
    }

    /// Until the buyer knows what became of its hold.
    fn stand_before(&mut self, hash: PaymentHash) -> Result<(), Error> {
        for _ in 0..PATIENCE {
            self.serve()?;
            let node = self.scene.node(self.scene.buyer).ok_or("no buyer")?;
            let payer = node.payer(self.scene.funded);
            let open = payer.is_some_and(|payer| {
                let mut holds = payer.holds().iter();
                holds.any(|kept| kept.hold.hash == hash && kept.state.is_present())
            });
            if !open || self.buyer_gone {
                return self.look();
            }
            self.wait(STEP)?;
        }
        self.guard.fail("a buyer waited for ten minutes in vain".into());
        Ok(())
    }

    /// Blocks with what is in the mempool, ten minutes each.
    pub(crate) fn blocks(&mut self, count: u32) -> Result<(), Error> {
        for _ in 0..count {
            let rest = self.next_block.saturating_sub(self.scene.utc());
            self.wait(rest.max(1))?;
        }
        Ok(())
    }

    /// Time passes.
    fn wait(&mut self, seconds: u64) -> Result<(), Error> {
        let until = self.scene.utc() + seconds;
        while self.scene.utc() < until {
            let block = self.next_block.saturating_sub(self.scene.utc()).max(1);
            // Where nobody talks, nothing happens between two blocks.
            let alone = self.buyer_gone || self.machine_gone;
            let most = if alone { BLOCK_SECONDS } else { 60 };
            let step = block.min(until - self.scene.utc()).min(most);
            self.scene.world.pass(Seconds::new(step)?)?;
            if self.scene.utc() >= self.next_block {
                self.next_block += BLOCK_SECONDS;
                let now = self.scene.world.now().time;
                self.scene.world.chain().with(|chain| chain.mine_at(now))?;
            }
            self.scene.quiet()?;
            self.note_break()?;
            self.come_back()?;
        }
        self.look()
    }

    fn note_break(&mut self) -> Result<(), Error> {
        if self.scene.take_break() && self.scene.link.is_some() {
            self.mark("the line breaks".into())?;
            self.scene.disconnect()?;
            self.line_back = self.scene.utc() + self.dice.between(5, 60);
        }
        Ok(())
    }

    fn come_back(&mut self) -> Result<(), Error> {
        let alone = self.buyer_gone || self.machine_gone;
        if self.scene.link.is_some() || alone || self.scene.utc() < self.line_back {
            return Ok(());
        }
        self.scene.reconnect()?;
        self.note_break()
    }

    /// Both look at the chain, the oracle at everything.
    pub(crate) fn look(&mut self) -> Result<(), Error> {
        if !self.machine_gone {
            self.machine.act(&mut self.scene)?;
        }
        self.buyer.act(&mut self.scene)?;
        self.hear()?;
        self.sample()
    }

    fn hear(&mut self) -> Result<(), Error> {
        for event in self.scene.take_events(self.scene.buyer)? {
            match event {
                Event::RolledOver { to, capacity, .. } => {
                    self.scene.outpoint = to;
                    self.mark(format!("the channel goes on with {capacity}"))?;
                }
                Event::HoldReleased { id, at_risk_until, .. } => {
                    self.note_release(id.to_u64(), at_risk_until.to_u32())?;
                }
                Event::HoldRevealed { .. } => {
                    self.mark("paid: the buyer has the preimage".into())?;
                }
                _ => {}
            }
        }
        let _told = self.scene.take_events(self.scene.machine)?;
        for news in std::mem::take(&mut self.machine.news) {
            if let News::Spent { at: Some(at), .. } = news {
                self.mark(format!("the channel is spent in block {at}"))?;
            }
        }
        for news in std::mem::take(&mut self.buyer.news) {
            match news {
                News::Claimed { at: Some(at), after_release, .. } => {
                    let against = if after_release { ", against its word" } else { "" };
                    self.mark(format!("the machine has claimed the hold in block {at}{against}"))?;
                    self.note_claim(after_release);
                }
                News::Revealed { .. } => {
                    self.mark("the chain shows the buyer the preimage".into())?;
                }
                News::TimedOut { at: Some(at), .. } => {
                    self.mark(format!("the buyer has taken the hold back in block {at}"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A claim is in a block: it was worth the hold's amount.
    fn note_claim(&mut self, after_release: bool) {
        let last = self.kept.as_ref().and_then(|kept| kept.holds.last());
        self.got.1 = last.map_or(0, |hold| hold.amount.to_sat());
        if after_release {
            self.guard.cheated = true;
            if let Some(released) = self.released.last_mut() {
                released.claimed = true;
            }
        }
    }

    fn note_release(&mut self, id: u64, at_risk_until: u32) -> Result<(), Error> {
        let at = self.scene.tip().to_u32();
        let Some(stand) = self.guard.check(&self.scene) else { return Ok(()) };
        let node = self.scene.node(self.scene.buyer).ok_or("no buyer")?;
        let kept = node.payer(self.scene.funded).map(Payer::holds).unwrap_or_default();
        let hold = kept.iter().find(|kept| kept.hold.id.to_u64() == id).map(|kept| kept.hold);
        let Some(hold) = hold else { return Ok(()) };
        let order = self.vendor.order_of(hold.hash).map(|(_, order)| order.slot);
        let item = order.and_then(|slot| self.vendor.slots.get(slot)).map_or("", |slot| slot.item);
        let price = hold.amount.to_sat();
        let (exposure, at_risk) = (stand.exposure, stand.at_risk());
        let claimed = false;
        let released = Released { item, price, at, at_risk_until, exposure, at_risk, claimed };
        self.released.push(released);
        self.mark(format!("released: {price} sat stay at risk until block {at_risk_until}"))
    }

    fn sample(&mut self) -> Result<(), Error> {
        let Some(stand) = self.guard.check(&self.scene) else { return Ok(()) };
        let stand = self.on_chain().unwrap_or(stand);
        let (t, height) = (self.scene.utc() - START, self.scene.tip().to_u32());
        let (paid, reserved, exposure) = (stand.paid, stand.reserved, stand.exposure);
        let sample = Sample { t, height, paid, reserved, exposure };
        self.samples.push(sample);
        self.lines.push(&self.line(&sample))?;
        self.screen.status(&format!(
            "{} {:<9} block {height}  paid {:>9} sat  reserved {:>9} sat  at most {:>9} sat",
            when(self.scene.utc()),
            self.episode.name,
            sat(paid),
            sat(reserved),
            sat(exposure),
        ));
        Ok(())
    }

    /// How the channel stands once a settlement put its holds on the chain: then nothing else of
    /// what was signed counts.
    fn on_chain(&self) -> Option<Stand> {
        let (watch, kept) = (self.buyer.watch()?, self.kept.as_ref()?);
        let sum = |counts: fn(&Fate) -> bool| -> u64 {
            let holds = watch.holds().iter().filter(|held| counts(&held.fate));
            holds.map(|held| held.hold.amount.to_msat().to_msat()).sum()
        };
        if watch.holds().iter().all(|held| held.fate == Fate::Held) {
            return None;
        }
        let paid = kept.paid.to_msat() + sum(|fate| matches!(fate, Fate::Claimed { .. }));
        let reserved = sum(|fate| matches!(fate, Fate::Published { .. }));
        Some(Stand { paid, reserved, exposure: paid + reserved })
    }

    pub(crate) fn mark(&mut self, what: String) -> Result<(), Error> {
        let utc = self.scene.utc();
        self.screen.line(&format!("{} {:<9} {what}", when(utc), self.episode.name));
        let mark = Mark { t: utc - START, what };
        self.lines.push(&self.line(&mark))?;
        self.marks.push(mark);
        Ok(())
    }

    fn line<'b, T>(&self, is: &'b T) -> Line<'b, T> {
        Line { episode: self.episode.name, time: when(self.scene.utc()), is }
    }

    fn outcome(mut self) -> Outcome {
        let books = self.scene.books();
        let losses = self.guard.check_end(&books, self.got.0, self.got.1);
        let sent = self.scene.world.sent();
        Outcome {
            samples: self.samples,
            marks: self.marks,
            released: self.released,
            quotes: self.quotes,
            drops: self.guard.dropped.0,
            got: self.got,
            losses,
            exposure_max: self.guard.exposure_max,
            at_risk_max: self.guard.at_risk_max,
            messages: sent.values().map(|sent| sent.messages).sum(),
            bytes: sent.values().map(|sent| sent.bytes + 2 * sent.messages).sum(),
            commits: self.scene.commits() + self.vendor.commits(),
            books,
            checks: self.guard.checks,
            broken: self.guard.broken,
            episode: self.episode,
        }
    }
}

/// The day of the episode and the time of the day.
fn when(utc: u64) -> String {
    let midnight = START - START % 86_400;
    format!("day {} {}", (utc - midnight) / 86_400 + 1, clock(utc))
}

/// One line of the log.
#[derive(Serialize)]
struct Line<'a, T> {
    episode: &'static str,
    time: String,
    #[serde(flatten)]
    is: &'a T,
}
