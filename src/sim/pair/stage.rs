//! The two machines of a run, their terms, and the opening of their channel.

use core::fmt::{self, Write};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::{Network, OutPoint, ScriptBuf, Transaction};

use super::counters::{Count, Counters};
use super::dice::Dice;
use super::sky::{Observer, Rates, Sky};
use super::{Failure, Flaw, PowerCut, Report};
use crate::chain::regtest::Regtest;
use crate::keys::{Context, Seed};
use crate::meter::tariff::{Measure, Tariff};
use crate::node::{Command, Event, LinkId, NodeError};
use crate::sim::world::{EndId, Machine, World, WorldError};
use crate::store::StoreError;
use crate::stream::payee::PayeeRecord;
use crate::stream::payer::Opening;
use crate::stream::{SpendKind, Terms};
use crate::tx::{ChangeScript, Channel, Delay};
use crate::units::{
    Blocks, FeeRate, KeyIndex, Msat, Price, Sat, Seconds, SessionId, UnitError, UtcSeconds,
};

/// 12: each restart of a machine within one step ends with a fault removed, and few are planned.
const RESTARTS_MAX: usize = 12;
/// The session that pays what no meter counts.
pub(super) const BY_HAND: u64 = 1;
/// What a tick delivers at most, in watt-seconds.
pub(super) const QUANTITY_MOST: u64 = 20_000;
/// What it costs then, in msat, rounded up.
pub(super) const TICK_MOST: u64 = 250_001;
const PAYER_SEED: [u8; 32] = [1; 32];
const PAYEE_SEED: [u8; 32] = [2; 32];

/// A running pair with everything that its oracles know.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) seed: u64,
    pub(super) world: World,
    pub(super) payer: EndId,
    pub(super) payee: EndId,
    pub(super) link: Option<LinkId>,
    pub(super) observer: Observer,
    pub(super) counters: Counters,
    pub(super) dice: Dice,
    pub(super) terms: Terms,
    pub(super) delay: Delay,
    pub(super) funding: Option<Transaction>,
    /// Every channel that either side ever knew.
    pub(super) channels: BTreeMap<OutPoint, Channel>,
    pub(super) started: BTreeMap<OutPoint, Msat>,
    pub(super) metered: Metered,
    /// What commands told the payer to pay.
    pub(super) told: Msat,
    /// The highest fee rate so far: what settling may cost.
    pub(super) rate_most: FeeRate,
    /// How often a full disk stays full.
    pub(super) full_for: u64,
    pub(super) counted: BTreeSet<(OutPoint, Count)>,
    pub(super) step: usize,
    pub(super) refusal: Option<NodeError>,
    pub(super) lost: Msat,
    /// The payee's records that were found sound; what has not changed is not verified again.
    pub(super) sound: BTreeMap<OutPoint, PayeeRecord>,
    cut: Option<PowerCut>,
    trace: Trace,
}

/// The session of the moment, and what all of them came to.
#[derive(Debug)]
pub(super) struct Metered {
    pub(super) now: Option<SessionId>,
    pub(super) all: Vec<SessionId>,
    pub(super) next: u64,
    /// What the seller has delivered in this session.
    pub(super) total: u64,
    pub(super) credit: Msat,
    /// Delivered in all sessions, at the tariff's price.
    pub(super) owed: Msat,
    pub(super) tick_most: Msat,
}

/// Both machines in a few lines, for whoever looks for a fault.
pub(super) struct Standing<'a>(pub(super) &'a Pair);

impl fmt::Display for Standing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = self.0;
        let tip = pair.world.chain().with(|chain| chain.tip().height);
        writeln!(f, "  tip {tip}, link {:?}, refused {:?}", pair.link, pair.refusal)?;
        for end in [pair.payer, pair.payee].into_iter().filter_map(|end| pair.world.end(end)) {
            for payer in end.node().payers() {
                let (at, signed, phase) = (payer.outpoint(), payer.signed(), payer.phase());
                let status = pair.world.chain().with(|chain| chain.output(at).is_some());
                writeln!(
                    f,
                    "  payer {at}: {signed} {phase:?} until {:?}, on chain {status}",
                    payer.deadline()
                )?;
            }
            for payee in end.node().payees() {
                let (at, paid, phase) = (payee.outpoint(), payee.paid(), payee.phase());
                writeln!(f, "  payee {at}: {paid} {phase:?}")?;
            }
            if let Some(session) = &pair.metered.now {
                let meter = end.node().session(*session).map(crate::meter::Session::record);
                writeln!(f, "  session {meter:?}")?;
            }
            for refusal in end.refusals().collect::<Vec<_>>().into_iter().rev().take(2) {
                writeln!(f, "  {} refused {refusal:?}", end.name())?;
            }
        }
        Ok(())
    }
}

impl Metered {
    const fn none() -> Self {
        let (credit, owed, tick_most) = (Msat::ZERO, Msat::ZERO, Msat::ZERO);
        Self { now: None, all: Vec::new(), next: 100, total: 0, credit, owed, tick_most }
    }
}

/// Feeds text to SHA-256.
#[derive(Default)]
struct Trace(sha256::HashEngine);

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace(..)")
    }
}

impl Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.input(text.as_bytes());
        Ok(())
    }
}

impl From<NodeError> for Flaw {
    fn from(error: NodeError) -> Self {
        Self::World(error.into())
    }
}

impl From<UnitError> for Flaw {
    fn from(_: UnitError) -> Self {
        Self::Wedged { what: "a number of the simulator" }
    }
}

/// 12.5 msat a watt-second.
pub(super) fn tariff() -> Result<Tariff, Flaw> {
    let price = Price::new(Msat::new(45_000_000)?, 3_600_000)?;
    Tariff::flat(Measure::WattSecond, price).map_err(|error| NodeError::from(error).into())
}

impl Pair {
    /// Two machines without a channel, on a chain of their own.
    pub(super) fn new(chain: Regtest, seed: u64, cut: Option<PowerCut>) -> Result<Self, Flaw> {
        let mut dice = Dice::new(seed, 0);
        let observer = Observer::default();
        let sky = Sky { dice: Dice::new(seed, 1), observer: observer.clone() };
        let mut world = World::on_filled(chain);
        let (terms, delay) = terms(&mut dice)?;
        let mut payer = Machine::payer("payer", PAYER_SEED);
        let mut payee = Machine::payee("payee", PAYEE_SEED, terms.clone());
        payer.config.pay_step = Msat::new(dice.below(2).saturating_mul(100_000))?;
        for machine in [&mut payer, &mut payee] {
            machine.config.tip_age_max = Seconds::new(7_200)?;
        }
        let payer = world.add(payer)?;
        let payee = world.add(payee)?;
        world.set_weather(Box::new(sky));
        let trace = Trace::default();
        Ok(Self {
            seed,
            world,
            payer,
            payee,
            link: None,
            observer,
            counters: Counters::default(),
            dice,
            terms,
            delay,
            funding: None,
            channels: BTreeMap::new(),
            started: BTreeMap::new(),
            metered: Metered::none(),
            told: Msat::ZERO,
            rate_most: FeeRate::new(1_000)?,
            full_for: 0,
            counted: BTreeSet::new(),
            step: 0,
            refusal: None,
            lost: Msat::ZERO,
            sound: BTreeMap::new(),
            cut,
            trace,
        })
    }

    /// From the opening to the end of the last channel.
    pub(super) fn live(
        &mut self,
        tell: &mut dyn FnMut(&dyn core::fmt::Display),
    ) -> Result<(), Flaw> {
        let cut = self.cut;
        if let Some(PowerCut { payer, commit, side }) = cut {
            let end = if payer { self.payer } else { self.payee };
            self.world.end_mut(end)?.store_mut().cut_at(commit, side);
        }
        self.open()?;
        if cut.is_none() {
            self.draw_rates();
        }
        let steps = self.dice.within(20, 60);
        for _ in 0..steps {
            self.step = self.step.saturating_add(1);
            self.one_step(cut.is_none(), tell)?;
            self.do_duties()?;
            self.check()?;
            tell(&Standing(self));
        }
        tell(&"calm");
        self.come_to_rest(tell)
    }

    pub(super) fn report(self, failure: Option<Failure>) -> Report {
        let mut counters = self.counters;
        counters.add(&self.observer.seen().counters);
        let trace = sha256::Hash::from_engine(self.trace.0).to_byte_array();
        let commits = [self.payer, self.payee]
            .map(|end| self.world.end(end).map_or(0, |end| end.store().commits()));
        Report { seed: self.seed, counters, trace, commits, lost: self.lost, failure }
    }

    /// Funds a channel from the published terms and shows it; in half of the runs it is used at
    /// once, in the others it is buried first.
    fn open(&mut self) -> Result<(), Flaw> {
        self.give_budget()?;
        self.link = Some(self.world.connect(self.payer, self.payee)?);
        let opening = self.opening()?;
        let (script, capacity) = (opening.script().clone(), opening.capacity());
        let (funding, outpoint) = self.world.funding(script, capacity)?;
        self.funding = Some(funding.clone());
        let (_, backup, _) = opening.funded(outpoint);
        let key = Seed::new(PAYER_SEED).backup_key(Network::Regtest);
        // A power cut at its commit takes the channel back; its owner tries again.
        for _ in 0..3 {
            if self.payer_of(outpoint).is_some() {
                break;
            }
            let command = Command::Fund {
                link: self.link,
                opening: Box::new(opening.clone()),
                funding: funding.clone(),
                vout: outpoint.vout,
                backup: backup.seal(&key),
            };
            self.world.command(self.payer, command)?;
            self.settle()?;
        }
        if self.dice.chance(500) {
            self.mine(self.terms.confirmation_depth.to_u32())?;
        }
        Ok(())
    }

    fn opening(&mut self) -> Result<Opening, Flaw> {
        let capacity = Sat::new(self.dice.within(20_000, 400_000))?;
        let node = self.world.end(self.payer).ok_or(WorldError::NoSuchEnd)?.node();
        let index = KeyIndex::new(0)?;
        let seed = Seed::new(PAYER_SEED);
        let key = seed.payer_key(node.context(), Network::Regtest, index);
        let key = key.map_err(|_| Flaw::Wedged { what: "the payer's key" })?.public();
        let view = node.view(self.world.now().time)?;
        let (terms, delay, change) = (&self.terms, self.delay, ChangeScript::Own);
        Opening::new(node.context(), terms, index, key, delay, capacity, change, &view)
            .map_err(|error| NodeError::from(error).into())
    }

    fn draw_rates(&mut self) {
        let dice = &mut self.dice;
        // Each kind is off in half of the runs, so that none hides what another would show.
        let mut rate = |most: u64| if dice.chance(500) { dice.within(1, most) } else { 0 };
        let (lost, twice, overtakes) = (rate(150), rate(150), rate(150));
        let corrupted = rate(60);
        self.observer.seen().rates = Rates { lost, twice, overtakes, corrupted };
    }

    /// Whoever pays by hand has said so, again after each restart.
    pub(super) fn give_budget(&mut self) -> Result<(), Flaw> {
        let session = SessionId::new(BY_HAND)?;
        let peer = crate::signer::PeerId::new(self.terms.base);
        let signer = self.world.end_mut(self.payer)?.node_mut().signer_mut();
        crate::signer::Signer::open_session(signer, peer, session, Msat::MAX)
            .map_err(|error| NodeError::from(error).into())
    }

    /// Lets everybody act; a machine whose store fails is started again.
    pub(super) fn settle(&mut self) -> Result<(), Flaw> {
        for _ in 0..RESTARTS_MAX {
            match self.world.settle_down() {
                Ok(_) => return self.hear(),
                Err(WorldError::Stopped { end, error }) => self.recover(end, error)?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Flaw::Wedged { what: "a machine that restarts for ever" })
    }

    fn recover(&mut self, end: EndId, error: StoreError) -> Result<(), Flaw> {
        if error == StoreError::Full {
            self.counters.count(Count::DiskFull);
            self.full_for = self.full_for.saturating_sub(1);
            if self.full_for == 0 {
                self.world.end_mut(end)?.store_mut().fill_at(None);
            }
        }
        self.restart(end)
    }

    /// Starts a machine again from what is durable, and perhaps a part of what was lazy.
    pub(super) fn restart(&mut self, end: EndId) -> Result<(), Flaw> {
        let queued = self.world.end_mut(end)?.store_mut().queued();
        let kept = self.dice.below(u64::try_from(queued).unwrap_or(0).saturating_add(1));
        let kept = usize::try_from(kept).unwrap_or(0);
        if kept < queued {
            self.counters.count(Count::LazyLost);
        }
        self.link = None;
        self.world.reboot_keeping(end, kept)?;
        self.started_again(end)
    }

    pub(super) fn started_again(&mut self, end: EndId) -> Result<(), Flaw> {
        if end != self.payer {
            return Ok(());
        }
        self.observer.seen().new_life();
        self.give_budget()
    }

    /// Takes what both sides told into the trace, and knows every new channel.
    fn hear(&mut self) -> Result<(), Flaw> {
        for end in [self.payer, self.payee] {
            for event in self.world.take_events(end)? {
                // Hashing never fails.
                let _ = write!(self.trace, "{} {end:?} {event:?}", self.step);
                self.note(end, &event);
            }
        }
        let ends = [self.payer, self.payee].map(|end| self.world.end(end));
        for end in ends.into_iter().flatten() {
            let payers = end.node().payers().map(|m| (m.channel(), m.start()));
            let payees = end.node().payees().map(|m| (m.channel(), m.start()));
            for (channel, start) in payers.chain(payees) {
                let outpoint = channel.outpoint();
                if let Entry::Vacant(new) = self.channels.entry(outpoint) {
                    new.insert(channel.clone());
                    self.started.insert(outpoint, start);
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, end: EndId, event: &Event) {
        let count = match event {
            Event::Acknowledged { .. } => Count::Acknowledged,
            Event::StatementAgreed { .. } => Count::Statement,
            Event::RolledOver { .. } if end == self.payer => Count::RolledOver,
            Event::ServiceOn { session } if end == self.payer => {
                if self.metered.all.contains(session) {
                    return;
                }
                self.metered.all.push(*session);
                Count::Session
            }
            Event::Received { outpoint, .. } => {
                let shallow = self.payee_of(*outpoint).is_some_and(|payee| {
                    let tip = self.world.chain().with(|chain| chain.tip().height);
                    let confirmed =
                        payee.deadline().map(|at| at.saturating_before(self.delay.to_blocks()));
                    let depth = confirmed.map(|at| at.depth_at(tip));
                    depth.is_none_or(|depth| depth < self.terms.confirmation_depth)
                });
                if !shallow {
                    return;
                }
                Count::ZeroConf
            }
            _ => return,
        };
        self.counters.count(count);
    }

    /// Counts how each buried spend ended its channel, once.
    pub(super) fn count_spend(&mut self, outpoint: OutPoint, kind: SpendKind) {
        let count = match kind {
            SpendKind::Settlement { .. } => Count::Settled,
            SpendKind::Joint { .. } => Count::Closed,
            SpendKind::Refund => Count::Refunded,
        };
        if self.counted.insert((outpoint, count)) {
            self.counters.count(count);
        }
    }

    pub(super) fn mine(&mut self, blocks: u32) -> Result<(), Flaw> {
        self.world.mine(Blocks::new(blocks)?);
        self.settle()
    }

    /// Gives a command; what is refused leaves everything as it was.
    pub(super) fn command(&mut self, end: EndId, command: Command) -> Result<bool, Flaw> {
        let done = match self.world.command(end, command) {
            Ok(()) => true,
            Err(WorldError::Node(error)) => {
                let _ = write!(self.trace, "{} {end:?} refuses: {error:?}", self.step);
                self.refusal = Some(error);
                false
            }
            Err(error) => return Err(error.into()),
        };
        self.settle()?;
        Ok(done)
    }

    /// A key-path script of the payer's own.
    pub(super) fn payers_script(&self) -> ScriptBuf {
        let key = self.channels.values().next().map(|channel| channel.output().payer());
        let key = key.map(bitcoin::key::TweakedPublicKey::dangerous_assume_tweaked);
        key.map(ScriptBuf::new_p2tr_tweaked).unwrap_or_default()
    }
}

fn terms(dice: &mut Dice) -> Result<(Terms, Delay), Flaw> {
    let base = Seed::new(PAYEE_SEED).base_key(&Context::new(), Network::Regtest);
    let base = base.map_err(|_| Flaw::Wedged { what: "the payee's key" })?.public();
    let mut terms = Terms::new(Network::Regtest, base).map_err(NodeError::from)?;
    let depth = dice.within(2, 3);
    // A settlement that starts at the last call has time for a stall, a spike and a reorg.
    let margin = dice.within(9, 12);
    let delay = u16::try_from(dice.within(24, 60)).unwrap_or(u16::MAX);
    let delay = Delay::new(delay).map_err(NodeError::from)?;
    terms.delay = (delay, delay);
    terms.capacity = (Sat::new(10_000)?, Sat::new(10_000_000)?);
    terms.confirmation_depth = Blocks::new(u32::try_from(depth).unwrap_or(2))?;
    terms.settle_margin = Blocks::new(u32::try_from(margin).unwrap_or(9))?;
    terms.zero_conf_limit = match dice.below(3) {
        0 => Sat::ZERO,
        1 => Sat::new(2_000)?,
        _ => Sat::new(30_000)?,
    };
    terms.tariff = tariff()?.hash().0;
    terms.credit = Msat::new(5_000_000)?;
    terms.prepay = Msat::ZERO;
    terms.expiry = UtcSeconds::new(u64::MAX)?;
    Ok((terms, delay))
}
