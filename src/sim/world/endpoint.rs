//! One machine: its node, its store, its view of the chain, and what it has told.

use std::collections::VecDeque;

use bitcoin::Network;

use super::WorldError;
use crate::chain::regtest::Source;
use crate::chain::{ChainError, ChainSource};
use crate::keys::{Context, Entropy, Seed};
use crate::node::{Config, Event, Input, LinkId, Node, NodeError, Now, Outbox};
use crate::signer::MemorySigner;
use crate::signer::budget::{BudgetRecord, Policy};
use crate::store::MemoryStore;
use crate::store::fault::FaultStore;
use crate::units::Seconds;
use crate::wire::Message;

/// What a machine is made of, kept so that it can be started again.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its name in logs.
    pub name: &'static str,
    /// Its seed. A simulation's, worth nothing.
    pub seed: [u8; 32],
    /// How its node behaves.
    pub config: Config,
    /// What it may spend.
    pub policy: Policy,
}

/// A running machine.
#[derive(Debug)]
pub struct Endpoint {
    machine: Machine,
    node: Node<MemorySigner>,
    store: FaultStore,
    source: Source,
    events: Vec<Event>,
    refusals: VecDeque<NodeError>,
    unsent: Vec<ChainError>,
}

/// How many refusals are kept for whoever wants to look.
const REFUSALS_KEPT: usize = 64;

impl Machine {
    /// A machine on the simulated chain that pays: no terms, no limits, patient with the chain.
    pub fn payer(name: &'static str, seed: [u8; 32]) -> Self {
        let config = Config {
            network: Network::Regtest,
            terms: None,
            tip_age_max: Seconds::new(86_400).unwrap_or(Seconds::MAX),
            resend_after: Seconds::new(10).unwrap_or(Seconds::MAX),
            pay_step: crate::units::Msat::ZERO,
            relay_floor: crate::units::FeeRate::new(100).unwrap_or(crate::units::FeeRate::MAX),
        };
        let all = crate::units::Msat::MAX;
        // A restart costs up to a slice of each budget, so it is small beside a session's.
        let slice = crate::units::Msat::new(10_000_000).unwrap_or(all);
        let policy = Policy { hour: all, day: all, peer: all, slice };
        Self { name, seed, config, policy }
    }

    /// A machine that is paid under `terms`.
    pub fn payee(name: &'static str, seed: [u8; 32], terms: crate::stream::Terms) -> Self {
        let mut machine = Self::payer(name, seed);
        machine.config.terms = Some(terms);
        machine
    }

    /// Its seed.
    pub fn seed(&self) -> Seed {
        Seed::new(self.seed)
    }
}

impl Endpoint {
    pub(super) fn start(machine: Machine, source: Source, now: &Now) -> Result<Self, WorldError> {
        let store = FaultStore::new(MemoryStore::default());
        let node = load(&machine, &store, now)?;
        let mut end = Self {
            machine,
            node,
            store,
            source,
            events: Vec::new(),
            refusals: VecDeque::new(),
            unsent: Vec::new(),
        };
        end.look_at_everything(now)?;
        Ok(end)
    }

    /// Power cut and restart: of the lazy commits since the last barrier the oldest `kept` survive.
    pub(super) fn reboot(
        &mut self,
        source: Source,
        now: &Now,
        kept: usize,
    ) -> Result<(), WorldError> {
        self.store.cut();
        self.store.restart(kept);
        self.node = load(&self.machine, &self.store, now)?;
        self.source = source;
        self.look_at_everything(now)
    }

    fn look_at_everything(&mut self, now: &Now) -> Result<(), WorldError> {
        if let Ok(tip) = self.source.tip() {
            self.node.handle(now, Input::Tip(tip))?;
            self.refresh(now);
        }
        Ok(())
    }

    pub(super) fn handle(&mut self, now: &Now, input: Input) -> Result<(), NodeError> {
        self.node.handle(now, input)
    }

    pub(super) fn receive(&mut self, now: &Now, link: LinkId, message: Message) {
        if let Err(error) = self.node.handle(now, Input::Received(link, message)) {
            self.note(error);
        }
    }

    pub(super) fn wake(&mut self, now: &Now) {
        if let Err(error) = self.node.handle(now, Input::Woken) {
            self.note(error);
        }
    }

    fn note(&mut self, error: NodeError) {
        if self.refusals.len() >= REFUSALS_KEPT {
            self.refusals.pop_front();
        }
        self.refusals.push_back(error);
    }

    /// Takes the chain's events, and the status of everything watched if there were any.
    pub(super) fn hear_chain(&mut self, now: &Now) -> Result<bool, WorldError> {
        // A source that is cut off tells nothing.
        let (any, tip) = self.source.pass_events().unwrap_or_default();
        if let Some(tip) = tip {
            self.node.handle(now, Input::Tip(tip))?;
        }
        if any {
            self.refresh(now);
        }
        Ok(any)
    }

    fn refresh(&mut self, now: &Now) {
        let watched: Vec<_> = self.node.watched().collect();
        self.look_up(now, watched);
    }

    fn look_up(&mut self, now: &Now, outpoints: Vec<bitcoin::OutPoint>) {
        for outpoint in outpoints {
            // A source that is cut off answers nothing; the node keeps what it knew.
            let Ok(status) = self.source.output(outpoint) else { continue };
            if let Err(error) = self.node.handle(now, Input::Output(outpoint, status)) {
                self.note(error);
            }
        }
    }

    /// Flushes until the node has nothing left: look-ups are answered at once. Also says whether
    /// anything went to the chain, which others will hear of.
    pub(super) fn flush(&mut self, now: &Now) -> Result<(Outbox, bool), WorldError> {
        let mut outbox = self.node.flush(now, &mut self.store)?;
        let mut broadcast = false;
        loop {
            for package in &outbox.broadcasts {
                broadcast = true;
                // A refused broadcast is repeated by whoever depends on it.
                if let Err(error) = self.source.broadcast(package) {
                    self.unsent.push(error);
                }
            }
            outbox.broadcasts.clear();
            self.events.append(&mut outbox.events);
            let look_ups = core::mem::take(&mut outbox.look_ups);
            if look_ups.is_empty() {
                return Ok((outbox, broadcast));
            }
            self.look_up(now, look_ups);
            let later = self.node.flush(now, &mut self.store)?;
            outbox.sends.extend(later.sends);
            outbox.broadcasts = later.broadcasts;
            outbox.look_ups = later.look_ups;
            outbox.events = later.events;
        }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.machine.name
    }

    /// What it is made of.
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Its node.
    pub const fn node(&self) -> &Node<MemorySigner> {
        &self.node
    }

    /// Its node, to be given budgets.
    pub const fn node_mut(&mut self) -> &mut Node<MemorySigner> {
        &mut self.node
    }

    /// Its store, for faults.
    pub const fn store_mut(&mut self) -> &mut FaultStore {
        &mut self.store
    }

    /// Its store.
    pub const fn store(&self) -> &FaultStore {
        &self.store
    }

    /// Its view of the chain.
    pub const fn source_mut(&mut self) -> &mut Source {
        &mut self.source
    }

    /// What it has told since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }

    /// Why its chain did not take what it broadcast, since the last call.
    pub fn take_unsent(&mut self) -> Vec<ChainError> {
        core::mem::take(&mut self.unsent)
    }

    /// What it refused since the last call, at most the newest 64.
    pub fn take_refusals(&mut self) -> Vec<NodeError> {
        self.refusals.drain(..).collect()
    }

    /// What it refused last, newest at the end.
    pub fn refusals(&self) -> impl Iterator<Item = &NodeError> {
        self.refusals.iter()
    }
}

fn load(
    machine: &Machine,
    store: &FaultStore,
    now: &Now,
) -> Result<Node<MemorySigner>, WorldError> {
    let record = BudgetRecord::load(store).map_err(NodeError::from)?;
    let mut signer = MemorySigner::new(
        machine.seed(),
        machine.config.network,
        machine.policy,
        record.as_ref(),
        &Entropy::new([0; 32]),
    )
    .map_err(NodeError::from)?;
    if record.is_none() {
        signer.release_day_budget_without_record(now.time).map_err(NodeError::from)?;
    }
    Ok(Node::load(machine.config.clone(), Context::new(), signer, store)?)
}
