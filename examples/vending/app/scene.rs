//! A buyer, a machine, a chain and the channel between them: what they do to each other, in words.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use bitcoin::{Network, OutPoint, ScriptBuf, Transaction, XOnlyPublicKey};
use millstream::keys::{Context, Seed};
use millstream::node::{Command, Event, LinkId, Node};
use millstream::signer::{MemorySigner, PeerId, Signer};
use millstream::sim::world::{EndId, Endpoint, Fate, Machine, Weather, World};
use millstream::stream::payer::Opening;
use millstream::stream::{HoldRules, Payer, Terms};
use millstream::tx::hold::{PaymentHash, Preimage};
use millstream::tx::{ChangeScript, Delay, FundingOutput, payee_script};
use millstream::units::{
    Blocks, FeeRate, Height, HoldId, KeyIndex, Sat, Seconds, SessionId, UtcSeconds,
};
use millstream::wire::Message;

use crate::common::Error;
use crate::common::books::{Books, Owner};
use crate::common::dice::Dice;

/// What the buyer puts into the channel, sat.
pub(crate) const CAPACITY: u64 = 60_000;
/// Two days: the buyer waits so long for a machine that is gone.
pub(crate) const DELAY: u16 = 288;
/// 30 minutes: how deep funding and spends are buried before they count for good.
pub(crate) const DEPTH: u32 = 3;
/// Two hours: by when before a deadline the machine's settlement must be in a block.
const MARGIN: u32 = 12;
/// An hour: the claim's relative lock; of it the buyer has five blocks for itself.
pub(crate) const K: u16 = 6;
/// The agreed fee of a settlement with holds, sat: 2 sat/vB for one hold.
pub(crate) const HOLD_FEE: u64 = 500;
/// Six hours: k and the margin, and three hours in which the machine may serve and be told.
pub(crate) const HOLD_BLOCKS: u32 = 36;
/// Blocks come every ten minutes.
pub(crate) const BLOCK_SECONDS: u64 = 600;
/// 3 sat a virtual byte.
pub(crate) const RATE: u64 = 3_000;
/// The fee of a close, sat: above 3 sat/vB for its 186 vB.
const CLOSE_FEE: u64 = 600;
const NETWORK: Network = Network::Regtest;

/// A state with holds that the buyer signed: paid in msat, holds as (sat, expiry).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    /// Cumulative, msat.
    pub(crate) paid: u64,
    /// What is held.
    pub(crate) holds: Vec<(u64, u32)>,
}

/// What is in the air between the two: the oracle notes each state that leaves the buyer, and the
/// connection may break at a message; it and everything behind it are lost.
#[derive(Debug)]
struct Air {
    buyer: EndId,
    dice: Dice,
    ppm: u64,
    broken: Rc<Cell<bool>>,
    signed: Rc<RefCell<Vec<Signed>>>,
}

impl Weather for Air {
    fn fate(&mut self, _from: EndId, _bytes: usize) -> Fate {
        if self.dice.chance(self.ppm) {
            self.broken.set(true);
        }
        if self.broken.get() { Fate::Lost } else { Fate::Arrives }
    }

    fn sees(&mut self, from: EndId, message: &Message) {
        let Message::HoldVoucher(voucher) = message else { return };
        if from == self.buyer {
            let holds = voucher.holds.as_slice().iter();
            let holds = holds.map(|hold| (hold.amount.to_sat(), hold.expiry.to_u32())).collect();
            let state = Signed { paid: voucher.paid.to_msat(), holds };
            let mut signed = self.signed.borrow_mut();
            // Sent again, it is the same.
            if signed.last() != Some(&state) {
                signed.push(state);
            }
        }
    }
}

/// The world of one episode.
#[derive(Debug)]
pub(crate) struct Scene {
    /// Machines, links, chain, time.
    pub(crate) world: World,
    /// The buyer.
    pub(crate) buyer: EndId,
    /// The vending machine.
    pub(crate) machine: EndId,
    /// The connection, if it is up.
    pub(crate) link: Option<LinkId>,
    /// Where the channel is now.
    pub(crate) outpoint: OutPoint,
    /// Where it was funded.
    pub(crate) funded: OutPoint,
    /// The machine's key in its printed code.
    pub(crate) base: XOnlyPublicKey,
    /// Where the machine's claims go.
    pub(crate) shelf: ScriptBuf,
    /// Where the buyer's money comes home.
    pub(crate) wallet: ScriptBuf,
    broken: Rc<Cell<bool>>,
    signed: Rc<RefCell<Vec<Signed>>>,
    machine_seed: [u8; 32],
    output: FundingOutput,
    till: ScriptBuf,
    /// Scripts of all holds that were offered, for the books.
    holds: Vec<ScriptBuf>,
    context: Context,
}

impl Scene {
    /// Opens a channel on the chain, so that it is buried when the clock shows `start`.
    pub(crate) fn open(start: u64, seed: u64) -> Result<Self, Error> {
        let mut world = World::new()?;
        let early = UtcSeconds::new(start - 7_200)?;
        world.chain().with(|chain| chain.mine_at(early))?;
        world.pass(early.saturating_since(world.now().time))?;
        let context = Context::new();
        let (buyer_seed, machine_seed) = (secret(seed, "buyer"), secret(seed, "machine"));
        let base = Seed::new(machine_seed).base_key(&context, NETWORK)?.public();
        let terms = terms(base)?;
        let mut buyer = Machine::payer("buyer", buyer_seed);
        buyer.config.resend_after = Seconds::new(2)?;
        let mut machine = Machine::payee("machine", machine_seed, terms.clone());
        machine.config.resend_after = Seconds::new(2)?;
        let (buyer, machine) = (world.add(buyer)?, world.add(machine)?);
        let link = world.connect(buyer, machine)?;
        let (broken, signed) = (Rc::default(), Rc::default());
        let index = KeyIndex::new(0)?;
        let coin = |seed| -> Result<ScriptBuf, Error> {
            let key = Seed::new(seed).coin_key(&context, NETWORK, index)?.public();
            Ok(ScriptBuf::new_p2tr(context.secp(), key, None))
        };
        let (wallet, shelf) = (coin(buyer_seed)?, coin(machine_seed)?);

        let buyer_seed = Seed::new(buyer_seed);
        let key = buyer_seed.payer_key(&context, NETWORK, index)?.public();
        let view = world.end(buyer).ok_or("no buyer")?.node().view(world.now().time)?;
        let (delay, own) = (Delay::new(DELAY)?, ChangeScript::Own);
        let capacity = Sat::new(CAPACITY)?;
        let opening = Opening::new(&context, &terms, index, key, delay, capacity, own, &view)?;
        let (funding, outpoint) = world.funding(opening.script().clone(), capacity)?;
        let (_, backup, _) = opening.funded(outpoint);
        let backup = backup.seal(&buyer_seed.backup_key(NETWORK));
        let (opening, vout) = (Box::new(opening), outpoint.vout);
        let fund = Command::Fund { link: Some(link), opening, funding, vout, backup };
        world.command(buyer, fund)?;
        world.settle_down()?;
        world.mine(Blocks::new(DEPTH)?);
        world.settle_down()?;
        let now = world.now().time;
        world.pass(UtcSeconds::new(start)?.saturating_since(now))?;

        let payee = world.end(machine).and_then(|end| end.node().payee(outpoint));
        let output = payee.ok_or("the machine did not take the channel")?.channel().output();
        let (output, till) = (output.clone(), payee_script(&context, output.payee())?);
        let mut scene = Self {
            world,
            buyer,
            machine,
            link: Some(link),
            outpoint,
            funded: outpoint,
            base,
            shelf,
            wallet,
            broken,
            signed,
            machine_seed,
            output,
            till,
            holds: Vec::new(),
            context,
        };
        scene.set_breaks(Dice::new(seed, "none"), 0);
        scene.open_budget()?;
        Ok(scene)
    }

    /// Lets connections break with this chance a message.
    pub(crate) fn set_breaks(&mut self, dice: Dice, ppm: u64) {
        let (broken, signed) = (Rc::clone(&self.broken), Rc::clone(&self.signed));
        self.world.set_weather(Box::new(Air { buyer: self.buyer, dice, ppm, broken, signed }));
    }

    /// Whether the connection broke since the last call.
    pub(crate) fn take_break(&self) -> bool {
        self.broken.replace(false)
    }

    /// Every state with holds, or that ended them, that left the buyer.
    pub(crate) fn signed(&self) -> Vec<Signed> {
        self.signed.borrow().clone()
    }

    /// The clock, seconds UTC.
    pub(crate) fn utc(&self) -> u64 {
        self.world.now().time.to_u64()
    }

    /// The height of the tip.
    pub(crate) fn tip(&self) -> Height {
        self.world.chain().with(|chain| chain.tip()).height
    }

    /// A side's node.
    pub(crate) fn node(&self, end: EndId) -> Option<&Node<MemorySigner>> {
        self.world.end(end).map(Endpoint::node)
    }

    /// What the buyer may spend in all, again after each of its restarts.
    pub(crate) fn open_budget(&mut self) -> Result<(), Error> {
        let (peer, budget) = (PeerId::new(self.base), Sat::new(CAPACITY)?.to_msat());
        let signer = self.world.end_mut(self.buyer)?.node_mut().signer_mut();
        Ok(signer.open_session(peer, SessionId::MIN, budget)?)
    }

    /// The buyer reserves `price` for the preimage of `hash`. Whether its node could.
    pub(crate) fn reserve(&mut self, hash: PaymentHash, price: u64) -> Result<bool, Error> {
        let expiry = self.tip().saturating_after(Blocks::new(HOLD_BLOCKS)?);
        let (outpoint, amount, session) = (self.outpoint, Sat::new(price)?, SessionId::MIN);
        let offer = Command::OfferHold { outpoint, hash, amount, expiry, session };
        if self.world.command(self.buyer, offer).is_err() {
            return Ok(false);
        }
        self.quiet()?;
        let kept = self.node(self.buyer).and_then(|node| node.payer(outpoint)).map(Payer::holds);
        let found = kept.and_then(|kept| kept.iter().find(|kept| kept.hold.hash == hash));
        let Some(hold) = found.map(|kept| kept.hold) else { return Ok(false) };
        self.holds.push(hold.output(&self.context, &self.output)?.script().clone());
        Ok(true)
    }

    /// The machine's word on a hold: the preimage, or a release.
    pub(crate) fn answer(&mut self, id: HoldId, known: Option<Preimage>) -> Result<(), Error> {
        let outpoint = self.outpoint;
        let answer = match known {
            Some(preimage) => Command::FulfilHold { outpoint, id, preimage },
            None => Command::ReleaseHold { outpoint, id },
        };
        Ok(self.world.command(self.machine, answer)?)
    }

    /// The connection goes.
    pub(crate) fn disconnect(&mut self) -> Result<(), Error> {
        match self.link.take() {
            Some(link) => Ok(self.world.disconnect(link)?),
            None => Ok(()),
        }
    }

    /// The connection comes back, and the buyer takes its channel up again.
    pub(crate) fn reconnect(&mut self) -> Result<(), Error> {
        self.disconnect()?;
        self.broken.set(false);
        let link = self.world.connect(self.buyer, self.machine)?;
        self.link = Some(link);
        let outpoint = self.outpoint;
        self.world.command(self.buyer, Command::Attach { link, outpoint })?;
        self.quiet()
    }

    /// Power cut and restart of one side; the line is down afterwards.
    pub(crate) fn reboot(&mut self, end: EndId) -> Result<(), Error> {
        self.link = None;
        self.world.reboot(end)?;
        if end == self.buyer { self.open_budget() } else { Ok(()) }
    }

    /// Both sign the channel away.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        let (outpoint, script) = (self.outpoint, self.wallet.clone());
        let close = Command::Close { outpoint, script, fee: Sat::new(CLOSE_FEE)? };
        self.world.command(self.buyer, close)?;
        self.quiet()
    }

    /// The buyer takes its money back after the deadline.
    pub(crate) fn refund(&mut self) -> Result<(), Error> {
        let (outpoint, script) = (self.outpoint, self.wallet.clone());
        let refund = Command::Refund { outpoint, script, rate: FeeRate::new(RATE)? };
        self.world.command(self.buyer, refund)?;
        self.quiet()
    }

    /// A transaction of whoever has one.
    pub(crate) fn submit(&mut self, txs: &[Transaction]) -> Result<(), Error> {
        let sent = self.world.chain().with(|chain| match txs {
            [one] => chain.submit(one),
            all => chain.submit_package(all),
        });
        sent.map_err(|why| format!("the chain refuses a transaction: {why:?}"))?;
        self.quiet()
    }

    /// Everybody acts until it is quiet.
    pub(crate) fn quiet(&mut self) -> Result<(), Error> {
        self.world.settle_down()?;
        Ok(())
    }

    /// What a side has told.
    pub(crate) fn take_events(&mut self, end: EndId) -> Result<Vec<Event>, Error> {
        Ok(self.world.take_events(end)?)
    }

    /// Whether either side still knows a channel.
    pub(crate) fn has_channels(&self) -> bool {
        let nodes = [self.buyer, self.machine].into_iter().filter_map(|end| self.node(end));
        nodes.into_iter().any(|node| node.payers().count() + node.payees().count() > 0)
    }

    /// The machine's secret, for its preimages, and for what it does against its word.
    pub(crate) fn machine_seed(&self) -> Seed {
        Seed::new(self.machine_seed)
    }

    /// For keys and signatures.
    pub(crate) const fn context(&self) -> &Context {
        &self.context
    }

    /// Commits of both nodes' stores.
    pub(crate) fn commits(&self) -> u64 {
        let ends = [self.buyer, self.machine].into_iter().filter_map(|end| self.world.end(end));
        ends.map(|end| end.store().commits()).sum()
    }

    /// Where the channel's money went on the chain.
    pub(crate) fn books(&self) -> Books {
        let mut owners = BTreeMap::from([
            (self.output.script().clone(), Owner::Channel),
            (self.till.clone(), Owner::Payee),
            (self.shelf.clone(), Owner::Payee),
            (self.wallet.clone(), Owner::Payer),
        ]);
        owners.extend(self.holds.iter().map(|script| (script.clone(), Owner::Hold)));
        Books::read(self.world.chain(), &[self.funded], &owners)
    }
}

/// What the machine's printed code says.
fn terms(base: XOnlyPublicKey) -> Result<Terms, Error> {
    let mut terms = Terms::new(NETWORK, base)?;
    terms.delay = (Delay::new(DELAY)?, Delay::new(1_008)?);
    terms.capacity = (Sat::new(20_000)?, Sat::new(1_000_000)?);
    terms.confirmation_depth = Blocks::new(DEPTH)?;
    terms.settle_margin = Blocks::new(MARGIN)?;
    terms.holds = HoldRules { k: K, fee: Sat::new(HOLD_FEE)?, dust: Sat::new(1_000)?, count: 4 };
    Ok(terms)
}

/// A secret for a simulation: worth nothing.
pub(crate) fn secret(seed: u64, who: &str) -> [u8; 32] {
    let mut dice = Dice::new(seed, who);
    core::array::from_fn(|_| u8::try_from(dice.between(0, 256)).unwrap_or(0))
}
