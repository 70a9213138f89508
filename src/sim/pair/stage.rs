//! The two machines of a run, their terms, and the opening of their channel.

use core::fmt::{self, Write};
use std::collections::BTreeMap;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::{Network, OutPoint, ScriptBuf, XOnlyPublicKey};

use super::accounts::Started;
use super::counters::{Count, Counters};
use super::lines::Line;
use super::metered::{Metered, tariff};
use super::sky::{Observer, Rates, Sky};
use super::standing::Standing;
use super::topup::TopUp;
use super::{Failure, Flaw, PowerCut, Report};
use crate::chain::regtest::Regtest;
use crate::keys::{Context, Seed};
use crate::node::{Command, Event, LinkId, NodeError};
use crate::sim::dice::Dice;
use crate::sim::world::{EndId, Machine, World, WorldError};
use crate::store::StoreError;
use crate::stream::Terms;
use crate::tx::{Channel, Delay, JointSpend};
use crate::units::{
    Blocks, FeeRate, KeyIndex, Msat, Sat, Seconds, SessionId, UnitError, UtcSeconds,
};

/// 12: each restart of a machine within one step ends with a fault removed, and few are planned.
const RESTARTS_MAX: usize = 12;
/// The session that pays what no meter counts.
pub(super) const BY_HAND: u64 = 1;
/// What a tick delivers at most, in watt-seconds.
pub(super) const QUANTITY_MOST: u64 = 20_000;
pub(super) const PAYER_SEED: [u8; 32] = [1; 32];
const PAYEE_SEED: [u8; 32] = [2; 32];

/// 200 steps of a fuzzer's bytes.
const STEERED_MAX: u64 = 200;

/// What a run is a function of.
#[derive(Debug, Clone)]
pub(super) enum Plan {
    /// One channel, in version 3, whose change is its own script, under one tariff. It stays as it
    /// is, so that the seeds at which it once failed keep their meaning.
    Small(u64),
    /// Several channels of every kind, top-ups, batches, prices.
    Wide(u64),
    /// The same in calm weather, with one power cut and no other fault.
    Cut(u64, PowerCut),
    /// The same, with every choice made by bytes as long as there are any.
    Steered(Vec<u8>),
}

impl Plan {
    pub(super) const fn seed(&self) -> u64 {
        match self {
            Self::Small(seed) | Self::Wide(seed) | Self::Cut(seed, _) => *seed,
            Self::Steered(_) => 0,
        }
    }

    const fn cut(&self) -> Option<PowerCut> {
        match self {
            Self::Cut(_, cut) => Some(*cut),
            _ => None,
        }
    }
}

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
    /// The payer's channels, and which of them is used at the moment.
    pub(super) lines: Vec<Line>,
    pub(super) focus: usize,
    /// The next key index of the payer.
    pub(super) index: u32,
    /// A key-path script of the payer's own.
    pub(super) wallet: ScriptBuf,
    /// Where the payee has each channel's money go; a point multiplication each.
    pub(super) payout: BTreeMap<XOnlyPublicKey, ScriptBuf>,
    pub(super) pending_top_up: Option<TopUp>,
    /// What the payee has signed, as the payer was told.
    pub(super) agreed: Option<(OutPoint, Box<JointSpend>)>,
    /// Every channel that either side ever knew.
    pub(super) channels: BTreeMap<OutPoint, Channel>,
    pub(super) started: BTreeMap<OutPoint, Started>,
    pub(super) metered: Metered,
    /// What commands told the payer to pay.
    pub(super) told: Msat,
    /// The highest fee rate so far: what settling may cost.
    pub(super) rate_most: FeeRate,
    /// How often a full disk stays full.
    pub(super) full_for: u64,
    pub(super) step: usize,
    pub(super) refusal: Option<NodeError>,
    pub(super) lost: Msat,
    plan: Plan,
    trace: Trace,
}

/// What is the same in every run.
#[derive(Debug)]
pub(super) struct Keys {
    /// What the payee prints in its terms.
    base: XOnlyPublicKey,
    /// A key-path script of the payer's own.
    wallet: ScriptBuf,
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

impl Pair {
    /// Two machines without a channel, on a chain of their own.
    pub(super) fn new(chain: Regtest, plan: Plan, keys: &Keys) -> Result<Self, Flaw> {
        let seed = plan.seed();
        let mut dice = match &plan {
            Plan::Steered(bytes) => Dice::of_bytes(bytes),
            _ => Dice::new(seed, 0),
        };
        let observer = Observer::default();
        // Which messages the weather strikes is a fuzzer's choice too, by one byte.
        let luck = if let Plan::Steered(_) = plan { dice.below(256) } else { seed };
        let sky = Sky::new(Dice::new(luck, 1), observer.clone());
        let mut world = World::on_filled(chain);
        let (terms, delay) = terms(&mut dice, keys.base)?;
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
            lines: Vec::new(),
            focus: 0,
            index: 0,
            wallet: keys.wallet.clone(),
            payout: BTreeMap::new(),
            pending_top_up: None,
            agreed: None,
            channels: BTreeMap::new(),
            started: BTreeMap::new(),
            metered: Metered::none(),
            told: Msat::ZERO,
            rate_most: FeeRate::new(1_000)?,
            full_for: 0,
            step: 0,
            refusal: None,
            lost: Msat::ZERO,
            plan,
            trace,
        })
    }

    /// From the opening to the end of the last channel.
    pub(super) fn live(
        &mut self,
        tell: &mut dyn FnMut(&dyn core::fmt::Display),
    ) -> Result<(), Flaw> {
        let cut = self.plan.cut();
        if let Some(PowerCut { payer, commit, side }) = cut {
            let end = if payer { self.payer } else { self.payee };
            self.world.end_mut(end)?.store_mut().cut_at(commit, side);
        }
        self.give_budget()?;
        self.link = Some(self.world.connect(self.payer, self.payee)?);
        self.open()?;
        if cut.is_none() {
            self.draw_rates();
        }
        let steps = if self.is_steered() { STEERED_MAX } else { self.dice.within(20, 60) };
        for _ in 0..steps {
            if self.is_steered() && self.dice.is_spent() {
                break;
            }
            self.step = self.step.saturating_add(1);
            self.one_step(cut.is_none(), tell)?;
            self.do_duties()?;
            self.check()?;
            tell(&Standing(self));
        }
        tell(&"calm");
        self.come_to_rest(tell)
    }

    /// Whether this run has several channels, of every kind.
    pub(super) const fn is_wide(&self) -> bool {
        !matches!(self.plan, Plan::Small(_))
    }

    /// Whether a fuzzer's bytes choose.
    pub(super) const fn is_steered(&self) -> bool {
        matches!(self.plan, Plan::Steered(_))
    }

    pub(super) fn report(self, failure: Option<Failure>) -> Report {
        let mut counters = self.counters;
        counters.add(&self.observer.seen().counters);
        let trace = sha256::Hash::from_engine(self.trace.0).to_byte_array();
        let commits = [self.payer, self.payee]
            .map(|end| self.world.end(end).map_or(0, |end| end.store().commits()));
        Report { seed: self.seed, counters, trace, commits, lost: self.lost, failure }
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
        self.doubt_stamps();
        if end != self.payer {
            return Ok(());
        }
        // What it told before the cut is of the life before: a channel that it had taken up there
        // is not taken up now.
        self.hear()?;
        self.observer.seen().new_life();
        self.give_budget()
    }

    /// Takes what both sides told into the trace, and knows every new channel.
    fn hear(&mut self) -> Result<(), Flaw> {
        for end in [self.payer, self.payee] {
            for event in self.world.take_events(end)? {
                // Hashing never fails.
                let _ = write!(self.trace, "{} {end:?} {event:?}", self.step);
                self.note(end, &event)?;
            }
        }
        self.note_credit()?;
        let ends = [self.payer, self.payee].map(|end| self.world.end(end));
        for end in ends.into_iter().flatten() {
            let payers = end.node().payers().map(|m| (m.channel(), m.start()));
            let payees = end.node().payees().map(|m| (m.channel(), m.start()));
            for (channel, start) in payers.chain(payees) {
                let outpoint = channel.outpoint();
                self.channels.entry(outpoint).or_insert_with(|| channel.clone());
                self.started.entry(outpoint).or_default().heard(start);
            }
        }
        self.note_agreed();
        Ok(())
    }

    fn note(&mut self, end: EndId, event: &Event) -> Result<(), Flaw> {
        let count = match event {
            Event::Acknowledged { outpoint, .. } => {
                if self.is_replacing(*outpoint) {
                    self.counters.count(Count::PaidOnReplacing);
                }
                Count::Acknowledged
            }
            Event::StatementAgreed { statement } => {
                self.metered.stated.insert(statement.session);
                Count::Statement
            }
            Event::RolledOver { .. } if end == self.payer => Count::RolledOver,
            Event::StatementDisputed { statement, .. } => {
                self.metered.disputed.insert(statement.session);
                return Ok(());
            }
            Event::TopUpAgreed { outpoint, spend } => {
                self.agreed = Some((*outpoint, spend.clone()));
                return Ok(());
            }
            Event::Ready { outpoint, signed, .. } if end == self.payer => {
                self.observer.seen().resumes(*outpoint, *signed);
                return Ok(());
            }
            Event::ServiceOn { session } if end == self.payer => {
                if self.metered.all.contains(session) {
                    return Ok(());
                }
                self.metered.all.push(*session);
                Count::Session
            }
            Event::Received { outpoint, paid, .. } => return self.check_received(*outpoint, *paid),
            _ => return Ok(()),
        };
        self.counters.count(count);
        Ok(())
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

    pub(super) fn payers_script(&self) -> ScriptBuf {
        self.wallet.clone()
    }
}

impl Keys {
    /// Both, once for any number of runs.
    pub(super) fn derive() -> Option<Self> {
        let (context, network) = (Context::new(), Network::Regtest);
        let base = Seed::new(PAYEE_SEED).base_key(&context, network).ok()?.public();
        let index = KeyIndex::new(0).ok()?;
        let key = Seed::new(PAYER_SEED).payer_key(&context, network, index).ok()?.public();
        let key = bitcoin::key::TweakedPublicKey::dangerous_assume_tweaked(key);
        Some(Self { base, wallet: ScriptBuf::new_p2tr_tweaked(key) })
    }
}

fn terms(dice: &mut Dice, base: XOnlyPublicKey) -> Result<(Terms, Delay), Flaw> {
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
    terms.tariff = tariff(0)?.hash().0;
    terms.credit = Msat::new(5_000_000)?;
    terms.prepay = Msat::ZERO;
    terms.expiry = UtcSeconds::new(u64::MAX)?;
    Ok((terms, delay))
}
