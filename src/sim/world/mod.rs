//! A small world: machines with real nodes and stores, links between them, one simulated chain.
//!
//! ```text
//!   World::command(end, ..) --> Endpoint { node, store, chain source }
//!   World::settle_down()    --> chain news -> flush (one barrier) -> broadcast, send -> deliver ..
//!   World::mine, pass       --> blocks and seconds, as values
//!   World::reboot(end)      --> power cut: what was not durable is lost; load again
//! ```
//!
//! Nothing here decides anything: it is the driver of `rt` without sockets, clocks and threads, so
//! that examples, properties and the soak run the code that machines run. Messages cross a link as
//! bytes. What a link does to them is the world's [`Weather`].

mod endpoint;
mod faucet;
mod link;

use std::collections::BTreeMap;

use bitcoin::{OutPoint, ScriptBuf, Transaction, TxOut, Witness};

pub use endpoint::{Endpoint, Machine};
pub use link::{Clear, Fate, Link, Sent, Weather};

use crate::chain::regtest::{Regtest, RegtestError, Shared};
use crate::keys::Entropy;
use crate::node::{Command, Event, Input, LinkId, NodeError, Now};
use crate::store::StoreError;
use crate::tx::FeeInput;
use crate::units::{Blame, Blocks, Sat, Seconds, UtcSeconds};
use faucet::Faucet;

/// 10,000 rounds: a world of two machines is quiet after a handful; one that talks for ever is a
/// defect that must not hang the campaign.
const ROUNDS_MAX: usize = 10_000;

/// Which endpoint of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndId(usize);

/// Why a world stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// The chain could not start.
    #[error(transparent)]
    Chain(#[from] RegtestError),
    /// A node could not be loaded or flushed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The world has no such endpoint.
    #[error("no endpoint of that number")]
    NoSuchEnd,
    /// The machines did not fall silent.
    #[error("no silence after {rounds} rounds")]
    NeverQuiet {
        /// The limit.
        rounds: usize,
    },
    /// A machine's store failed: it is to be rebooted before anything else.
    #[error("store of machine {}: {error}", end.0)]
    Stopped {
        /// Whose.
        end: EndId,
        /// How.
        error: StoreError,
    },
    /// The faucet's coins are spent.
    #[error("the faucet is dry")]
    Dry,
}

impl WorldError {
    /// Ours, who wrote the story; what a machine refuses is whose that machine says.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::NoSuchEnd | Self::NeverQuiet { .. } | Self::Dry => Blame::Us,
            Self::Chain(error) => error.blame(),
            Self::Node(error) => error.blame(),
            Self::Stopped { error, .. } => error.blame(),
        }
    }
}

/// Machines, links, a chain and the time.
#[derive(Debug)]
pub struct World {
    chain: Shared,
    faucet: Faucet,
    time: UtcSeconds,
    ends: Vec<Endpoint>,
    links: Vec<Link>,
    next_link: u64,
    weather: Box<dyn Weather>,
    delivered: u64,
    sent: BTreeMap<&'static str, Sent>,
}

impl World {
    /// A world whose chain has mature coins; scripts are checked by Bitcoin Core's interpreter.
    ///
    /// # Errors
    /// [`WorldError::Chain`] without the feature `consensus`.
    pub fn new() -> Result<Self, WorldError> {
        Ok(Self::on(Regtest::new()?))
    }

    /// A world on a given chain.
    pub fn on(mut chain: Regtest) -> Self {
        Self::fill(&mut chain);
        Self::on_filled(chain)
    }

    /// Mines what a world needs for its coins.
    pub fn fill(chain: &mut Regtest) {
        Faucet::fill(chain);
    }

    /// A world on a chain that [`Self::fill`] has filled: clones of one start many worlds.
    pub fn on_filled(chain: Regtest) -> Self {
        let faucet = Faucet::default();
        let time = chain.tip().time;
        Self {
            chain: chain.share(),
            faucet,
            time,
            ends: Vec::new(),
            links: Vec::new(),
            next_link: 0,
            weather: Box::new(Clear),
            delivered: 0,
            sent: BTreeMap::new(),
        }
    }

    /// What happens to messages from now on.
    pub fn set_weather(&mut self, weather: Box<dyn Weather>) {
        self.weather = weather;
    }

    /// Adds a machine.
    ///
    /// # Errors
    /// [`WorldError::Node`] if its node cannot be loaded.
    pub fn add(&mut self, machine: Machine) -> Result<EndId, WorldError> {
        let now = self.now();
        let end = Endpoint::start(machine, self.chain.source_from_now(), &now)?;
        self.ends.push(end);
        Ok(EndId(self.ends.len().saturating_sub(1)))
    }

    /// Connects two machines.
    ///
    /// # Errors
    /// [`WorldError::NoSuchEnd`], [`WorldError::Node`].
    pub fn connect(&mut self, from: EndId, to: EndId) -> Result<LinkId, WorldError> {
        let id = LinkId(self.next_link);
        self.next_link = self.next_link.saturating_add(1);
        let now = self.now();
        for end in [from, to] {
            self.end_mut(end)?.handle(&now, Input::Connected(id))?;
        }
        self.links.push(Link::new(id, from, to));
        Ok(id)
    }

    /// Cuts a connection; what is on the way is lost.
    ///
    /// # Errors
    /// [`WorldError::NoSuchEnd`], [`WorldError::Node`].
    pub fn disconnect(&mut self, id: LinkId) -> Result<(), WorldError> {
        let now = self.now();
        let Ok(at) = self.link_at(id) else { return Ok(()) };
        let link = self.links.remove(at);
        for end in link.ends() {
            self.end_mut(end)?.handle(&now, Input::Disconnected(id))?;
        }
        Ok(())
    }

    /// Where a link is: their names rise.
    fn link_at(&self, id: LinkId) -> Result<usize, usize> {
        self.links.binary_search_by_key(&id, Link::id)
    }

    /// Gives a machine a command. Call [`Self::settle_down`] to let it act.
    ///
    /// # Errors
    /// [`WorldError::NoSuchEnd`]; what the node says of the command.
    pub fn command(&mut self, end: EndId, command: Command) -> Result<(), WorldError> {
        let now = self.now();
        Ok(self.end_mut(end)?.handle(&now, Input::Do(command))?)
    }

    /// Lets everybody act until nobody has anything to say. Returns how many messages were
    /// delivered.
    ///
    /// # Errors
    /// [`WorldError::NeverQuiet`]; [`WorldError::Stopped`] if a commit fails.
    pub fn settle_down(&mut self) -> Result<u64, WorldError> {
        let before = self.delivered;
        // Who has something to look at: everybody at first, then who acted or was sent something.
        let mut due = vec![true; self.ends.len()];
        for _ in 0..ROUNDS_MAX {
            let now = self.now();
            for end in 0..due.len() {
                if due.get_mut(end).is_some_and(core::mem::take) {
                    self.act(EndId(end), &now, &mut due)?;
                }
            }
            self.deliver(&now, &mut due)?;
            if !due.contains(&true) {
                return Ok(self.delivered.saturating_sub(before));
            }
        }
        Err(WorldError::NeverQuiet { rounds: ROUNDS_MAX })
    }

    /// Chain news, a flush, and what it lets out. Who did any of that is due again, and with a
    /// broadcast everybody is.
    fn act(&mut self, id: EndId, now: &Now, due: &mut [bool]) -> Result<(), WorldError> {
        let end = self.end_mut(id)?;
        let news = end.hear_chain(now)?;
        let (outbox, broadcast) = end.flush(now).map_err(|error| match error {
            WorldError::Node(NodeError::Store(error)) => WorldError::Stopped { end: id, error },
            error => error,
        })?;
        let sends = outbox.sends;
        for (link, message) in &sends {
            self.weather.sees(id, message);
            if let Ok(at) = self.link_at(*link)
                && let Some(link) = self.links.get_mut(at)
            {
                let bytes = link.push(id, message, self.weather.as_mut());
                self.sent.entry(message.name()).or_default().count(bytes);
            }
        }
        if broadcast {
            due.fill(true);
        }
        if let Some(due) = due.get_mut(id.0) {
            *due |= news || !sends.is_empty();
        }
        Ok(())
    }

    fn deliver(&mut self, now: &Now, due: &mut [bool]) -> Result<(), WorldError> {
        for at in 0..self.links.len() {
            while let Some((to, id, message)) = self.links.get_mut(at).and_then(Link::pop) {
                if let Some(due) = due.get_mut(to.0) {
                    *due = true;
                }
                self.delivered = self.delivered.saturating_add(1);
                // A refusal is the node's answer to its peer, not the world's end.
                let end = self.end_mut(to)?;
                end.receive(now, id, message);
            }
        }
        Ok(())
    }

    /// Mines blocks with what the mempool holds; the time goes on with the headers.
    pub fn mine(&mut self, blocks: Blocks) {
        let time = self.time;
        let tip = self.chain.with(|chain| {
            for _ in 0..blocks.to_u32() {
                chain.mine(Blocks::new(1).unwrap_or(Blocks::MIN));
            }
            chain.tip()
        });
        self.time = time.max(tip.time);
    }

    /// Lets time pass, and wakes who asked for it.
    ///
    /// # Errors
    /// None: what a node refuses to do on waking is among its refusals.
    pub fn pass(&mut self, time: Seconds) -> Result<(), WorldError> {
        self.time = self.time.saturating_after(time);
        let now = self.now();
        for end in &mut self.ends {
            if end.node().wake().is_some_and(|wake| wake.at <= now.time) {
                end.wake(&now);
            }
        }
        Ok(())
    }

    /// Cuts a machine's power and starts it again from what was durable. Its connections are gone.
    ///
    /// # Errors
    /// [`WorldError::NoSuchEnd`]; [`WorldError::Node`] if what is stored cannot be loaded.
    pub fn reboot(&mut self, id: EndId) -> Result<(), WorldError> {
        self.reboot_keeping(id, 0)
    }

    /// As [`Self::reboot`]; the oldest `kept` of the lazy commits had reached the medium.
    ///
    /// # Errors
    /// As [`Self::reboot`]: the machine then stands as it was, and is to be rebooted again.
    pub fn reboot_keeping(&mut self, id: EndId, kept: usize) -> Result<(), WorldError> {
        let cut: Vec<LinkId> =
            self.links.iter().filter(|link| link.ends().contains(&id)).map(Link::id).collect();
        for link in cut {
            self.disconnect(link)?;
        }
        let (now, source) = (self.now(), self.chain.source_from_now());
        self.end_mut(id)?.reboot(source, &now, kept)
    }

    /// A version-3 transaction that pays `value` to `script` out of the faucet, and the index of
    /// that output.
    ///
    /// # Errors
    /// [`WorldError::Dry`].
    pub fn funding(
        &mut self,
        script: ScriptBuf,
        value: Sat,
    ) -> Result<(Transaction, OutPoint), WorldError> {
        first(self.faucet.pay(vec![(script, value)]))
    }

    /// A version-3 transaction that pays each of `outputs` out of one coin of the faucet: up to 200
    /// of them, so that it stays below the 10,000 vB of its version.
    ///
    /// # Errors
    /// [`WorldError::Dry`], also if one coin does not cover them all.
    pub fn fundings(
        &mut self,
        outputs: Vec<(ScriptBuf, Sat)>,
    ) -> Result<(Transaction, Vec<OutPoint>), WorldError> {
        self.faucet.pay(outputs).ok_or(WorldError::Dry)
    }

    /// As [`Self::funding`], in version 2: until it confirms, no settlement of it is relayed.
    ///
    /// # Errors
    /// [`WorldError::Dry`].
    pub fn funding_v2(
        &mut self,
        script: ScriptBuf,
        value: Sat,
    ) -> Result<(Transaction, OutPoint), WorldError> {
        first(self.faucet.pay_as(bitcoin::transaction::Version::TWO, vec![(script, value)]))
    }

    /// Another funding out of the coin that `tx` spends, at a fee that replaces `tx` in mempools.
    ///
    /// # Errors
    /// [`WorldError::Dry`] if `tx` is none of the faucet's.
    pub fn replacing_funding(
        &self,
        tx: &Transaction,
        script: ScriptBuf,
        value: Sat,
    ) -> Result<(Transaction, OutPoint), WorldError> {
        first(Faucet::replace(tx, vec![(script, value)]))
    }

    /// A transaction that makes a coin of `value` for a top-up, and that coin.
    ///
    /// # Errors
    /// [`WorldError::Dry`].
    pub fn coin(&mut self, value: Sat) -> Result<(Transaction, FeeInput), WorldError> {
        let script = crate::chain::regtest::coinbase(crate::units::Height::MIN)
            .output
            .first()
            .map(|output| output.script_pubkey.clone())
            .ok_or(WorldError::Dry)?;
        let (tx, outpoint) = first(self.faucet.pay(vec![(script, value)]))?;
        let output = tx.output.first().cloned().ok_or(WorldError::Dry)?;
        let coin = FeeInput::new(outpoint, output).map_err(|_| WorldError::Dry)?;
        Ok((tx, coin))
    }

    /// The witnesses of the coins of [`Self::coin`] in a transaction, in the order of its inputs.
    ///
    /// # Errors
    /// [`WorldError::Dry`] if it cannot be signed.
    pub fn sign_coins(
        &self,
        tx: &Transaction,
        spent: &[TxOut],
    ) -> Result<Vec<Witness>, WorldError> {
        Faucet::sign(tx, spent).ok_or(WorldError::Dry)
    }

    /// What was sent so far over all links, by the messages' names.
    pub const fn sent(&self) -> &BTreeMap<&'static str, Sent> {
        &self.sent
    }

    /// The same out of the coin that the last funding spent: only one of the two can confirm.
    ///
    /// # Errors
    /// [`WorldError::Dry`] before the first funding.
    pub fn conflicting_funding(
        &mut self,
        script: bitcoin::ScriptBuf,
        value: crate::units::Sat,
    ) -> Result<(Transaction, OutPoint), WorldError> {
        first(self.faucet.pay_again(vec![(script, value)]))
    }

    /// The time and the auxiliary randomness of an input: zeros, so that runs repeat.
    pub fn now(&self) -> Now {
        Now { time: self.time, aux: Entropy::new([0; 32]) }
    }

    /// The chain, for blocks, reorgs and weather.
    pub const fn chain(&self) -> &Shared {
        &self.chain
    }

    /// A machine.
    pub fn end(&self, id: EndId) -> Option<&Endpoint> {
        self.ends.get(id.0)
    }

    /// A machine, to be changed.
    ///
    /// # Errors
    /// [`WorldError::NoSuchEnd`].
    pub fn end_mut(&mut self, id: EndId) -> Result<&mut Endpoint, WorldError> {
        self.ends.get_mut(id.0).ok_or(WorldError::NoSuchEnd)
    }

    /// What a machine has told since the last call.
    ///
    /// # Errors
    /// [`WorldError::NoSuchEnd`].
    pub fn take_events(&mut self, id: EndId) -> Result<Vec<Event>, WorldError> {
        Ok(self.end_mut(id)?.take_events())
    }

    /// Checks every machine's promises to itself.
    ///
    /// # Errors
    /// [`WorldError::Node`] with the first that is broken.
    pub fn check_invariants(&self) -> Result<(), WorldError> {
        for end in &self.ends {
            end.node().check_invariants()?;
        }
        Ok(())
    }
}

fn first(
    paid: Option<(Transaction, Vec<OutPoint>)>,
) -> Result<(Transaction, OutPoint), WorldError> {
    let (tx, outpoints) = paid.ok_or(WorldError::Dry)?;
    let outpoint = outpoints.first().copied().ok_or(WorldError::Dry)?;
    Ok((tx, outpoint))
}
