//! Two machines on loopback: what the tests of the driver share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::time::Duration;

use bitcoin::{Network, OutPoint};
use millstream::chain::regtest::{Regtest, Shared, miner_coins};
use millstream::chain::{Coins, MemoryCoins, Payment};
use millstream::keys::{Context, Entropy, Seed};
use millstream::node::{Command, Config, Event, LinkId, Node};
use millstream::rt::{Driver, LinkEnd, News, Options, Parts, Told};
use millstream::signer::budget::{BudgetRecord, Policy};
use millstream::signer::{KeyName, MemorySigner, PeerId, Signer};
use millstream::store::{MemoryStore, Store};
use millstream::stream::payer::{Ending, Opening};
use millstream::stream::{HoldRules, Terms};
use millstream::tx::{ChangeScript, Delay};
use millstream::units::{Blocks, FeeRate, KeyIndex, Msat, Sat, Seconds, SessionId, UtcSeconds};

pub(crate) const NETWORK: Network = Network::Regtest;
pub(crate) const SESSION: u64 = 9;
/// Long on a busy machine, short against a hang.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

pub(crate) fn sat(sat: u64) -> Sat {
    Sat::new(sat).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the driver's clock is the system's")]
fn utc() -> UtcSeconds {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UtcSeconds::new(now.as_secs()).unwrap()
}

/// A chain of the present with coins to fund channels from.
pub(crate) struct Chain {
    pub(crate) shared: Shared,
    coins: MemoryCoins,
    events: millstream::chain::regtest::Source,
}

impl Chain {
    pub(crate) fn new() -> Self {
        let mut chain = Regtest::new().unwrap();
        chain.mine(Blocks::new(110).unwrap());
        let shared = chain.share();
        let events = shared.source();
        let mut chain = Self { shared, coins: miner_coins().unwrap(), events };
        chain.mine(1);
        chain
    }

    /// Mines blocks of the present, all of them at once to whoever looks.
    pub(crate) fn mine(&mut self, blocks: u64) {
        self.shared.with(|chain| {
            for _ in 0..blocks {
                let next = chain.tip().time.to_u64() + 1;
                chain.mine_at(utc().max(UtcSeconds::new(next).unwrap())).unwrap();
            }
        });
        self.read();
    }

    fn read(&mut self) {
        use millstream::chain::ChainSource;
        while let Some(event) = self.events.next_event().unwrap() {
            self.coins.apply(&event).unwrap();
        }
    }

    fn fund(&mut self, script: bitcoin::ScriptBuf, value: Sat) -> bitcoin::Transaction {
        let rate = FeeRate::new(2_000).unwrap();
        let mut psbt = self.coins.fund(&Payment::new(script, value, rate)).unwrap();
        self.coins.sign(&mut psbt).unwrap();
        psbt.extract_tx().unwrap()
    }
}

pub(crate) fn terms(seed: u8) -> Terms {
    let base = Seed::new([seed; 32]).base_key(&Context::new(), NETWORK).unwrap().public();
    let mut terms = Terms::new(NETWORK, base).unwrap();
    terms.delay = (Delay::new(100).unwrap(), Delay::new(1_000).unwrap());
    terms.confirmation_depth = Blocks::new(3).unwrap();
    terms.settle_margin = Blocks::new(20).unwrap();
    terms.holds = HoldRules { k: 6, fee: sat(500), dust: sat(1_000), count: 4 };
    terms
}

pub(crate) fn parts(
    seed: u8,
    store: impl Store + Send + 'static,
    chain: &Chain,
) -> Parts<MemorySigner> {
    let config = Config {
        network: NETWORK,
        terms: Some(terms(seed)),
        tip_age_max: Seconds::new(86_400).unwrap(),
        resend_after: Seconds::new(1).unwrap(),
        pay_step: Msat::ZERO,
        relay_floor: millstream::units::FeeRate::new(100).unwrap(),
    };
    let (all, slice) = (Msat::MAX, msat(10_000_000));
    let policy = Policy { hour: all, day: all, peer: all, slice };
    let record = BudgetRecord::load(&store).unwrap();
    let aux = Entropy::new([0; 32]);
    let seed = Seed::new([seed; 32]);
    let mut signer = MemorySigner::new(seed, NETWORK, policy, record.as_ref(), &aux).unwrap();
    if record.is_none() {
        signer.release_day_budget_without_record(utc()).unwrap();
    }
    let node = Node::load(config, Context::new(), signer, &store).unwrap();
    Parts { node, store: Box::new(store), chain: Box::new(chain.shared.source_from_now()) }
}

pub(crate) fn options() -> Options {
    let mut options = Options::new(NETWORK);
    options.listen = Some(([127, 0, 0, 1], 0).into());
    options.chain_interval = Duration::from_millis(20);
    options
}

/// A driver and what it tells.
pub(crate) struct Machine {
    pub(crate) driver: Driver<MemorySigner>,
    pub(crate) news: News,
}

impl Machine {
    pub(crate) async fn start(seed: u8, chain: &Chain) -> Self {
        Self::with(parts(seed, MemoryStore::default(), chain), options()).await
    }

    pub(crate) async fn with(parts: Parts<MemorySigner>, options: Options) -> Self {
        let driver = Driver::start(parts, options).await.unwrap();
        let news = driver.news();
        Self { driver, news }
    }

    pub(crate) async fn connect(&mut self, to: &Self) -> LinkId {
        self.driver.connect(to.driver.address().unwrap()).await.unwrap()
    }

    /// The first news that `wanted` takes.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(&Told) -> Option<T>) -> T {
        let mut seen = Vec::new();
        let search = async {
            loop {
                let told = self.news.next().await.unwrap();
                if let Some(found) = wanted(&told) {
                    return found;
                }
                seen.push(told);
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(found) => found,
            Err(tokio::time::error::Elapsed { .. }) => {
                panic!("not told within {PATIENCE:?}: {seen:?}")
            }
        }
    }

    pub(crate) async fn until_inbound(&mut self) -> LinkId {
        self.until(|told| match told {
            Told::LinkUp { link, inbound: true, .. } => Some(*link),
            _ => None,
        })
        .await
    }

    pub(crate) async fn until_down(&mut self) -> LinkEnd {
        self.until(|told| match told {
            Told::LinkDown { why, .. } => Some(*why),
            _ => None,
        })
        .await
    }

    pub(crate) async fn until_event(&mut self, mut wanted: impl FnMut(&Event) -> bool) {
        self.until(|told| match told {
            Told::Node(event) if wanted(event) => Some(()),
            _ => None,
        })
        .await;
    }

    pub(crate) async fn until_acknowledged(&mut self, amount: Msat) {
        self.until_event(
            |event| matches!(event, Event::Acknowledged { paid, .. } if *paid == amount),
        )
        .await;
    }

    /// Funds a channel over `link` by the payee's terms, and sees it buried deep enough.
    pub(crate) async fn open(
        &mut self,
        link: LinkId,
        payee: &mut Self,
        chain: &mut Chain,
    ) -> OutPoint {
        self.driver.command(Command::AskTerms(link)).await.unwrap();
        let terms = self
            .until(|told| match told {
                Told::Node(Event::TermsReceived { terms, .. }) => Some(terms.clone()),
                _ => None,
            })
            .await;
        let outpoint = self.fund(link, terms, chain).await;
        self.until_event(|event| matches!(event, Event::Ready { .. })).await;
        chain.mine(3);
        for machine in [self, payee] {
            let confirmed = |event: &Event| matches!(event, Event::Confirmed { .. });
            machine.until_event(confirmed).await;
        }
        outpoint
    }

    /// Funds a channel by `terms` and shows it to whoever is at the other end of `link`.
    pub(crate) async fn fund(&self, link: LinkId, terms: Terms, chain: &mut Chain) -> OutPoint {
        let (opening, backup_key) =
            self.driver.look(move |node| opening(node, &terms)).await.unwrap();
        let funding = chain.fund(opening.script().clone(), opening.capacity());
        let outpoint = OutPoint { txid: funding.compute_txid(), vout: 0 };
        let backup = opening.funded(outpoint).1.seal(&backup_key);
        let (link, opening) = (Some(link), Box::new(opening));
        let fund = Command::Fund { link, opening, funding, vout: 0, backup };
        self.driver.command(fund).await.unwrap();
        outpoint
    }

    pub(crate) async fn open_session(&self, outpoint: OutPoint) {
        let open = move |node: &mut Node<MemorySigner>| {
            let peer = PeerId::new(node.payer(outpoint).unwrap().record().base());
            let session = SessionId::new(SESSION).unwrap();
            node.signer_mut().open_session(peer, session, msat(1_000_000_000)).unwrap();
        };
        self.driver.look(open).await.unwrap();
    }

    pub(crate) async fn pay(&self, outpoint: OutPoint, more: Msat) {
        let session = SessionId::new(SESSION).unwrap();
        let pay = Command::Pay { outpoint, more, session, ending: Ending::KeepsChange };
        self.driver.command(pay).await.unwrap();
    }

    pub(crate) async fn paid_to(&self, outpoint: OutPoint) -> Msat {
        self.driver.look(move |node| node.payee(outpoint).unwrap().paid()).await.unwrap()
    }
}

fn opening(node: &mut Node<MemorySigner>, terms: &Terms) -> (Opening, millstream::keys::BackupKey) {
    let index = KeyIndex::new(0).unwrap();
    let key = node.signer_mut().public(KeyName::Payer(index)).unwrap();
    let view = node.view(utc()).unwrap();
    let (delay, capacity) = (Delay::new(144).unwrap(), sat(1_000_000));
    let change = ChangeScript::Own;
    let context = node.context();
    let opening = Opening::new(context, terms, index, key, delay, capacity, change, &view).unwrap();
    // The tests' seeds guard nothing, and the backup is not opened here.
    (opening, Seed::new([0; 32]).backup_key(NETWORK))
}
