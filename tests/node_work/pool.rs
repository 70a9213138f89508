//! A pool, its workers, and a channel from it to each of them.

use bitcoin::{Network, OutPoint, ScriptBuf};
use millstream::keys::{Context, Seed};
use millstream::ledger::{Credit, HashPrice, WorkerKey};
use millstream::node::{Command, Event, LinkId, NodeError};
use millstream::sim::world::{EndId, Machine, World, WorldError};
use millstream::stream::Terms;
use millstream::stream::payer::Opening;
use millstream::tx::{ChangeScript, Delay, payee_script};
use millstream::units::{
    Blocks, FeeRate, KeyIndex, Msat, Sat, Seconds, SessionId, UtcSeconds, Work,
};

pub(crate) const NETWORK: Network = Network::Regtest;
pub(crate) const CAPACITY: u64 = 100_000;

pub(crate) fn sat(sat: u64) -> Sat {
    Sat::new(sat).unwrap()
}

pub(crate) fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

pub(crate) fn blocks(blocks: u32) -> Blocks {
    Blocks::new(blocks).unwrap()
}

pub(crate) fn secs(seconds: u64) -> Seconds {
    Seconds::new(seconds).unwrap()
}

pub(crate) fn session() -> SessionId {
    SessionId::new(9).unwrap()
}

/// What one share of `work` hashes is worth at `parts` x 2^-16 msat a hash.
pub(crate) fn credit(work: u64, parts: u64) -> Credit {
    let price = HashPrice::from_q96(u128::from(parts) << 80).unwrap();
    Credit::priced(Work::new(u128::from(work)), price).unwrap()
}

/// A share that is worth so many millisatoshis.
pub(crate) fn worth(msat: u64) -> Credit {
    credit(msat, 1 << 16)
}

pub(crate) fn base(seed: u8) -> bitcoin::XOnlyPublicKey {
    Seed::new([seed; 32]).base_key(&Context::new(), NETWORK).unwrap().public()
}

pub(crate) fn terms(seed: u8) -> Terms {
    let mut terms = Terms::new(NETWORK, base(seed)).unwrap();
    terms.delay = (Delay::new(100).unwrap(), Delay::new(1_000).unwrap());
    terms.capacity = (sat(1_000), sat(10_000_000));
    terms.confirmation_depth = blocks(3);
    terms.settle_margin = blocks(20);
    terms.zero_conf_limit = sat(50_000);
    terms.expiry = UtcSeconds::new(u64::MAX).unwrap();
    terms
}

/// A worker: where it is, and the channels that were funded for it, in turn.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) end: EndId,
    pub(crate) key: WorkerKey,
    pub(crate) seed: u8,
    pub(crate) link: LinkId,
    pub(crate) outpoint: OutPoint,
}

/// The stage of every test.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) pool: EndId,
    pub(crate) workers: Vec<Worker>,
    next_index: u32,
}

impl Stage {
    /// So many workers with a channel each, buried, and bound to none.
    pub(crate) fn open(workers: u8) -> Self {
        Self::on(World::new().unwrap(), workers, &ChangeScript::Own)
    }

    pub(crate) fn on(mut world: World, workers: u8, change: &ChangeScript) -> Self {
        let pool = world.add(Machine::payer("pool", [1; 32])).unwrap();
        let mut stage = Self { world, pool, workers: Vec::new(), next_index: 0 };
        for nth in 0..workers {
            let seed = 10 + nth;
            let machine = Machine::payee("worker", [seed; 32], terms(seed));
            let end = stage.world.add(machine).unwrap();
            let link = stage.world.connect(pool, end).unwrap();
            let key = WorkerKey::from(base(seed));
            let outpoint = OutPoint::null();
            stage.workers.push(Worker { end, key, seed, link, outpoint });
        }
        let channels = (0..usize::from(workers)).map(|nth| (nth, CAPACITY)).collect();
        stage.fund(channels, change);
        stage
    }

    /// The same, with each channel bound to its worker.
    pub(crate) fn bound(workers: u8) -> Self {
        let mut stage = Self::open(workers);
        for nth in 0..stage.workers.len() {
            stage.bind(nth).unwrap();
        }
        stage.settle_down();
        stage
    }

    /// One transaction that funds a channel for each of these workers; all are buried with it.
    pub(crate) fn fund(&mut self, channels: Vec<(usize, u64)>, change: &ChangeScript) {
        let context = Context::new();
        let mut openings = Vec::new();
        for (nth, capacity) in channels {
            let index = KeyIndex::new(self.next_index).unwrap();
            self.next_index += 1;
            let key = Seed::new([1; 32]).payer_key(&context, NETWORK, index).unwrap().public();
            let view = self.node().view(self.world.now().time).unwrap();
            let (terms, delay) = (terms(self.workers[nth].seed), Delay::new(144).unwrap());
            let (capacity, change) = (sat(capacity), change.clone());
            let opening =
                Opening::new(&context, &terms, index, key, delay, capacity, change, &view);
            openings.push((nth, opening.unwrap()));
        }
        let outputs = openings.iter().map(|(_, o)| (o.script().clone(), o.capacity())).collect();
        let (funding, outpoints) = self.world.fundings(outputs).unwrap();
        for ((nth, opening), outpoint) in openings.into_iter().zip(outpoints) {
            self.workers[nth].outpoint = outpoint;
            let (_, backup, _) = opening.funded(outpoint);
            let backup = backup.seal(&Seed::new([1; 32]).backup_key(NETWORK));
            let (link, opening) = (Some(self.workers[nth].link), Box::new(opening));
            let (funding, vout) = (funding.clone(), outpoint.vout);
            let fund = Command::Fund { link, opening, funding, vout, backup };
            self.world.command(self.pool, fund).unwrap();
        }
        self.settle_down();
        self.mine(3);
    }

    pub(crate) fn bind(&mut self, nth: usize) -> Result<(), WorldError> {
        self.bind_within(nth, msat(CAPACITY * 10_000))
    }

    pub(crate) fn bind_within(&mut self, nth: usize, budget: Msat) -> Result<(), WorldError> {
        let Worker { key: worker, outpoint, .. } = self.workers[nth];
        let bind = Command::BindWorker { worker, outpoint, session: session(), budget };
        self.world.command(self.pool, bind)
    }

    pub(crate) fn credit(&mut self, nth: usize, credit: Credit) {
        let worker = self.workers[nth].key;
        self.world.command(self.pool, Command::CreditWork { worker, credit }).unwrap();
    }

    /// Credited, paid and acknowledged.
    pub(crate) fn earn(&mut self, nth: usize, msat: u64) {
        self.credit(nth, worth(msat));
        self.settle_down();
    }

    pub(crate) fn settle_down(&mut self) {
        self.world.settle_down().unwrap();
        self.world.check_invariants().unwrap();
        self.node().ledger().holds_together().unwrap();
    }

    pub(crate) fn mine(&mut self, count: u32) {
        self.world.mine(blocks(count));
        self.settle_down();
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.world.pass(secs(seconds)).unwrap();
        self.settle_down();
    }

    pub(crate) fn node(&self) -> &millstream::node::Node<millstream::signer::MemorySigner> {
        self.world.end(self.pool).unwrap().node()
    }

    pub(crate) fn worker_node(
        &self,
        nth: usize,
    ) -> &millstream::node::Node<millstream::signer::MemorySigner> {
        self.world.end(self.workers[nth].end).unwrap().node()
    }

    /// What a worker holds of the pool's vouchers on its newest channel.
    pub(crate) fn held(&self, nth: usize) -> Msat {
        let payee = self.worker_node(nth).payee(self.workers[nth].outpoint);
        payee.map_or(Msat::ZERO, millstream::stream::Payee::paid)
    }

    pub(crate) fn signed(&self, nth: usize) -> Msat {
        self.node().payer(self.workers[nth].outpoint).unwrap().signed()
    }

    pub(crate) fn due(&self, nth: usize) -> Msat {
        self.node().work_due(self.workers[nth].key)
    }

    /// What the ledger counts as paid in all.
    pub(crate) fn paid(&self, nth: usize) -> Msat {
        let account = self.node().ledger().account(self.workers[nth].key);
        account.map_or(Msat::ZERO, millstream::ledger::Account::paid)
    }

    pub(crate) fn owed(&self, nth: usize) -> Msat {
        let account = self.node().ledger().account(self.workers[nth].key);
        account.map_or(Msat::ZERO, |account| account.owed().floor_msat())
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        self.world.take_events(self.pool).unwrap()
    }

    pub(crate) fn refusals(&self) -> Vec<NodeError> {
        self.world.end(self.pool).unwrap().refusals().copied().collect()
    }

    /// A line to a worker again, and its channel taken up.
    pub(crate) fn reconnect(&mut self, nth: usize) {
        let link = self.world.connect(self.pool, self.workers[nth].end).unwrap();
        self.workers[nth].link = link;
        let outpoint = self.workers[nth].outpoint;
        self.world.command(self.pool, Command::Attach { link, outpoint }).unwrap();
        self.settle_down();
    }

    pub(crate) fn part(&mut self, nth: usize) {
        let link = self.workers[nth].link;
        self.world.disconnect(link).unwrap();
    }

    /// The worker settles its channel on the chain; where it goes on is its newest one then.
    pub(crate) fn settle(&mut self, nth: usize, rate: u64) {
        let Worker { end, outpoint, .. } = self.workers[nth];
        let (outpoints, rate) = (vec![outpoint], FeeRate::new(rate).unwrap());
        let script = self.till(nth);
        self.world.command(end, Command::Settle { outpoints, script, rate }).unwrap();
        self.settle_down();
        assert_eq!(self.world.end_mut(end).unwrap().take_unsent(), []);
    }

    pub(crate) fn till(&self, nth: usize) -> ScriptBuf {
        payee_script(&Context::new(), base(self.workers[nth].seed)).unwrap()
    }

    /// Where the pool's channel to a worker goes on.
    pub(crate) fn follow(&mut self, nth: usize) {
        let to = self.events().into_iter().rev().find_map(|event| match event {
            Event::RolledOver { from, to, .. } if from == self.workers[nth].outpoint => Some(to),
            _ => None,
        });
        self.workers[nth].outpoint = to.unwrap();
    }
}
