//! What the tests of this room share: a buyer and a seller that are joined by hand, so that every
//! message can be held back, and a chain that shows what it is told to.

mod batches;
mod full;
mod holds;
mod holds_chain;
mod inputs;
mod matrix;
mod scenes;
mod work;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, BlockHash, Network, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Txid,
    transaction::Version,
};

use super::*;
use crate::keys::Seed;
use crate::meter::Window;
use crate::meter::tariff::{Measure, Tariff};
use crate::signer::MemorySigner;
use crate::signer::budget::{BudgetRecord, Policy};
use crate::store::MemoryStore;
use crate::stream::HoldRules;
use crate::stream::payer::Opening;
use crate::tx::{ChangeScript, Delay};
use crate::units::{Blocks, FeeRate, Height, KeyIndex, Ppm, Price, Sat};
use scenes::Scene;

const BUYER: usize = 0;
const SELLER: usize = 1;
const LINK: LinkId = LinkId(1);
const CAPACITY: u64 = 1_000_000;
/// Where the funding confirms, and a tip under which it is deep enough.
const CONFIRMED: u32 = 100;
const DEEP: u32 = 110;

fn sat(amount: u64) -> Sat {
    Sat::new(amount).unwrap()
}

fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

fn secs(seconds: u64) -> Seconds {
    Seconds::new(seconds).unwrap()
}

fn id(session: u64) -> SessionId {
    SessionId::new(session).unwrap()
}

fn height(height: u32) -> Height {
    Height::new(height).unwrap()
}

/// 12.5 msat a watt-second, dearer by `more` for another tariff in the same measure.
fn tariff(more: u64) -> Tariff {
    let price = Price::new(msat(45_000_000 + more), 3_600_000).unwrap();
    Tariff::flat(Measure::WattSecond, price).unwrap()
}

/// 5,000 sat of credit: four readings of 100,000 Ws.
fn window() -> Window {
    Window { credit: msat(5_000_000), prepay: Msat::ZERO }
}

fn seed(side: usize) -> Seed {
    Seed::new([if side == BUYER { 1 } else { 2 }; 32])
}

fn base() -> bitcoin::XOnlyPublicKey {
    seed(SELLER).base_key(&Context::new(), Network::Regtest).unwrap().public()
}

fn terms() -> Terms {
    let mut terms = Terms::new(Network::Regtest, base()).unwrap();
    terms.delay = (Delay::new(50).unwrap(), Delay::new(1_000).unwrap());
    terms.capacity = (sat(10_000), sat(10_000_000));
    terms.confirmation_depth = Blocks::new(3).unwrap();
    terms.settle_margin = Blocks::new(10).unwrap();
    terms.tariff = tariff(0).hash().0;
    terms.holds = HoldRules { k: 4, fee: sat(500), dust: sat(1_000), count: 8 };
    terms.credit = window().credit;
    terms.expiry = UtcSeconds::new(u64::MAX).unwrap();
    terms
}

fn config(side: usize) -> Config {
    Config {
        network: Network::Regtest,
        terms: (side == SELLER).then(terms),
        tip_age_max: secs(1_000_000),
        resend_after: secs(10),
        pay_step: Msat::ZERO,
        relay_floor: FeeRate::new(100).unwrap(),
    }
}

fn tip(at: u32) -> Tip {
    let time = UtcSeconds::new(1_800_000_000).unwrap();
    Tip { height: height(at), hash: BlockHash::all_zeros(), time }
}

/// A wallet's P2TR script.
fn wallet(byte: u8) -> ScriptBuf {
    let key = Seed::new([byte; 32]).base_key(&Context::new(), Network::Regtest).unwrap().public();
    ScriptBuf::new_p2tr(Context::new().secp(), key, None)
}

/// Two nodes, their stores, and everything that stands between them.
struct Stage {
    nodes: [Node<MemorySigner>; 2],
    stores: [MemoryStore; 2],
    now: Now,
    chain: BTreeMap<OutPoint, OutputStatus>,
    opening: Opening,
    funding: Transaction,
    /// The channel that was funded.
    outpoint: OutPoint,
    /// The totals of both meters.
    total: u64,
}

impl Stage {
    fn new() -> Self {
        let time = UtcSeconds::new(1_800_000_000).unwrap();
        let now = Now { time, aux: Entropy::new([0; 32]) };
        let stores = [MemoryStore::default(), MemoryStore::default()];
        let mut nodes = [BUYER, SELLER].map(|side| load(side, &stores[side], &now));
        for node in &mut nodes {
            node.handle(&now, Input::Tip(tip(DEEP))).unwrap();
        }
        let index = KeyIndex::new(0).unwrap();
        let key = seed(BUYER).payer_key(&Context::new(), Network::Regtest, index).unwrap().public();
        let view = nodes[BUYER].view(time).unwrap();
        let (delay, own) = (Delay::new(144).unwrap(), ChangeScript::Own);
        let capacity = sat(CAPACITY);
        let opening =
            Opening::new(&Context::new(), &terms(), index, key, delay, capacity, own, &view)
                .unwrap();
        let coin = OutPoint { txid: Txid::from_byte_array([9; 32]), vout: 0 };
        let funding = Transaction {
            version: Version(3),
            lock_time: bitcoin::absolute::LockTime::ZERO,
            input: Vec::from([TxIn { previous_output: coin, ..TxIn::default() }]),
            output: Vec::from([TxOut {
                value: Amount::from_sat(CAPACITY),
                script_pubkey: opening.script().clone(),
            }]),
        };
        let outpoint = OutPoint { txid: funding.compute_txid(), vout: 0 };
        let chain = BTreeMap::new();
        Self { nodes, stores, now, chain, opening, funding, outpoint, total: 0 }
    }

    fn handle(&mut self, side: usize, input: Input) -> Result<(), NodeError> {
        self.nodes[side].handle(&self.now, input)
    }

    fn run(&mut self, side: usize, command: Command) {
        self.handle(side, Input::Do(command)).unwrap();
    }

    /// Both sides do the same with session 7, and hear nothing of each other.
    fn run_both(&mut self, command: fn(SessionId) -> Command) {
        for side in [BUYER, SELLER] {
            self.run(side, command(id(7)));
        }
    }

    /// What a side lets out; its look-ups stay unanswered.
    fn flush(&mut self, side: usize) -> Outbox {
        self.nodes[side].flush(&self.now, &mut self.stores[side]).unwrap()
    }

    /// Both sides let out what they have, and nobody hears it.
    fn lose_all(&mut self) {
        for side in [BUYER, SELLER] {
            let _lost = self.flush(side);
        }
    }

    /// Delivers until nobody has anything to say; the chain answers look-ups.
    fn settle_down(&mut self) {
        let mut idle = 0;
        let mut side = BUYER;
        while idle < 2 {
            let left = self.flush(side);
            idle = if left.sends.is_empty() && left.look_ups.is_empty() { idle + 1 } else { 0 };
            for outpoint in left.look_ups {
                let status = self.chain.get(&outpoint).cloned();
                let _refused = self.handle(side, Input::Output(outpoint, status));
            }
            let other = 1 - side;
            for (link, message) in left.sends {
                let _refused = self.handle(other, Input::Received(link, message));
            }
            side = other;
        }
    }

    /// Both sides are shown an outpoint.
    fn show(&mut self, outpoint: OutPoint, status: &OutputStatus) {
        self.chain.insert(outpoint, status.clone());
        for side in [BUYER, SELLER] {
            self.handle(side, Input::Output(outpoint, Some(status.clone()))).unwrap();
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now.time = self.now.time.saturating_after(secs(seconds));
    }

    /// A second of 100 kW: both meters count.
    fn meter(&mut self) {
        self.total += 100_000;
        self.pass(1);
        for side in [BUYER, SELLER] {
            let total = Quantity::new(self.total).unwrap();
            self.run(side, Command::Meter { session: id(7), total });
        }
    }

    /// Power cut and restart of both.
    fn reboot(&mut self) {
        for side in [BUYER, SELLER] {
            self.nodes[side] = load(side, &self.stores[side], &self.now);
            self.handle(side, Input::Tip(tip(DEEP))).unwrap();
            let watched: Vec<_> = self.nodes[side].watched().collect();
            for outpoint in watched {
                let status = self.chain.get(&outpoint).cloned();
                self.handle(side, Input::Output(outpoint, status)).unwrap();
            }
        }
    }

    /// What the chain shows of the funded output.
    fn status(&self) -> OutputStatus {
        OutputStatus {
            value: sat(CAPACITY),
            script: self.opening.script().clone(),
            confirmed: Some(height(CONFIRMED)),
            truc: true,
            spent: None,
        }
    }

    fn fund(&self, link: Option<LinkId>) -> Command {
        Command::Fund {
            link,
            opening: Box::new(self.opening.clone()),
            funding: self.funding.clone(),
            vout: 0,
            backup: Vec::from([7; 100]),
        }
    }
}

fn load(side: usize, store: &MemoryStore, now: &Now) -> Node<MemorySigner> {
    let policy =
        Policy { hour: Msat::MAX, day: Msat::MAX, peer: Msat::MAX, slice: msat(100_000_000) };
    let record = BudgetRecord::load(store).unwrap();
    let (seed, aux) = (seed(side), Entropy::new([0; 32]));
    let mut signer =
        MemorySigner::new(seed, Network::Regtest, policy, record.as_ref(), &aux).unwrap();
    if record.is_none() {
        signer.release_day_budget_without_record(now.time).unwrap();
    }
    Node::load(config(side), Context::new(), signer, store).unwrap()
}

fn offer(session: u64) -> Command {
    Command::OfferSession {
        link: LINK,
        session: id(session),
        tariff: tariff(0),
        window: window(),
        skew: secs(5),
        tolerance: Ppm::new(25_000).unwrap(),
    }
}

fn accept(session: u64, outpoint: OutPoint) -> Command {
    let (budget, slack) = (msat(500_000_000), Quantity::new(1_000_000).unwrap());
    let offer = offer_hash(session, &tariff(0));
    Command::AcceptSession { session: id(session), offer, outpoint, budget, slack }
}

fn offer_hash(session: u64, tariff: &Tariff) -> OfferHash {
    let Window { credit, prepay } = window();
    let message = crate::wire::SessionOffer {
        session: id(session),
        tariff_hash: tariff.hash().0,
        credit,
        prepay,
        skew: secs(5),
        tolerance: Ppm::new(25_000).unwrap(),
        tariff: None,
    };
    message.hash()
}
