//! The power of the pool, or of the worker, goes at every write between the first share and the
//! grave of a channel: what was credited is paid exactly, neither twice nor never.

#[path = "node_work/pool.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod pool;

use millstream::chain::regtest::Regtest;
use millstream::ledger::Account;
use millstream::node::{Command, WorkPolicy};
use millstream::sim::world::{EndId, World, WorldError};
use millstream::store::fault::Cut;
use millstream::stream::Payer;
use millstream::tx::ChangeScript;
use millstream::units::{FeeRate, Msat};
use pool::{Stage, blocks, credit, msat, secs};

/// Work of the shares, at 2^-16 x 7 msat a hash: parts of a millisatoshi are always open.
const SHARES: [u64; 9] =
    [40_000_000_001, 3, 90_000_000, 5_000, 700_000_000, 12_345, 1, 65_536, 20_000_000_000];
const PARTS: u64 = 7;

/// A pool and a worker whose power may go.
struct Story {
    stage: Stage,
    /// Whether it has gone.
    hit: bool,
    /// What the worker's settlements have brought it.
    settled: Msat,
}

impl Story {
    fn new(chain: Regtest, pay_at: u64) -> Self {
        let stage = Stage::on(World::on_filled(chain), 1, &ChangeScript::Own);
        let mut story = Self { stage, hit: false, settled: Msat::ZERO };
        story.tend(pay_at);
        story
    }

    fn tend(&mut self, pay_at: u64) {
        let policy = WorkPolicy { pay_at: msat(pay_at), pay_after: secs(30), ..Default::default() };
        let tend = Command::TendWork(policy);
        self.stage.world.command(self.stage.pool, tend).unwrap();
    }

    /// Lets everybody act. Whose power goes comes back and is met again.
    fn settle_down(&mut self) {
        let stopped = match self.stage.world.settle_down() {
            Ok(_) => None,
            Err(WorldError::Stopped { end, .. }) => Some(end),
            Err(error) => panic!("{error}"),
        };
        if let Some(end) = stopped {
            assert!(!self.hit, "once");
            self.hit = true;
            self.stage.world.reboot(end).unwrap();
            self.stage.settle_down();
            self.meet();
        }
        self.stage.settle_down();
    }

    fn account(&self) -> Option<&Account> {
        self.stage.node().ledger().account(self.stage.workers[0].key)
    }

    /// A line to the worker, and every channel taken up.
    fn meet(&mut self) {
        let link = self.stage.world.connect(self.stage.pool, self.stage.workers[0].end).unwrap();
        self.stage.workers[0].link = link;
        let outpoints: Vec<_> = self.stage.node().payers().map(Payer::outpoint).collect();
        for outpoint in outpoints {
            let _spent =
                self.stage.world.command(self.stage.pool, Command::Attach { link, outpoint });
            self.settle_down();
        }
    }

    /// A share is submitted until the pool has it: what it lost before it was told is sent again.
    fn share(&mut self, work: u64) {
        let before = self.account().map_or(0, Account::shares);
        for _ in 0..2 {
            self.stage.credit(0, credit(work, PARTS));
            self.settle_down();
            if self.account().map_or(0, Account::shares) > before {
                break;
            }
            assert!(self.hit, "it is lost in a power cut only");
        }
        assert_eq!(self.account().map_or(0, Account::shares), before + 1);
    }

    fn bind(&mut self) {
        for _ in 0..2 {
            self.stage.bind(0).unwrap();
            self.settle_down();
            if self.account().and_then(Account::channel).is_some() {
                return;
            }
        }
        panic!("not bound: {:?}", self.stage.refusals());
    }

    /// The worker settles, and the channel goes on.
    fn settle(&mut self) {
        let (end, from) = (self.stage.workers[0].end, self.stage.workers[0].outpoint);
        for _ in 0..2 {
            let chain = self.stage.world.chain();
            let spent = chain.with(|chain| chain.output(from)).and_then(|status| status.spent);
            if spent.is_some() {
                break;
            }
            let (outpoints, rate) = (vec![from], FeeRate::new(1_000).unwrap());
            let script = self.stage.till(0);
            let settle = Command::Settle { outpoints, script, rate };
            self.stage.world.command(end, settle).unwrap();
            self.settle_down();
        }
        let to = self.account().and_then(Account::channel).unwrap();
        assert_ne!(from, to, "{:?}", self.stage.refusals());
        let value = |at| self.stage.node().payer(at).unwrap().channel().capacity().to_sat();
        self.settled = msat((value(from) - value(to)) * 1_000);
        self.stage.workers[0].outpoint = to;
        self.mine(1);
    }

    fn mine(&mut self, count: u32) {
        self.stage.world.mine(blocks(count));
        self.settle_down();
    }

    fn pass(&mut self, seconds: u64) {
        self.stage.world.pass(secs(seconds)).unwrap();
        self.settle_down();
    }

    /// From the first share to the burial of the channel that paid the first of them.
    fn live(&mut self) {
        let mut shares = SHARES.into_iter();
        let mut share = |story: &mut Self| story.share(shares.next().unwrap());
        share(self);
        share(self);
        self.bind();
        share(self);
        share(self);
        self.pass(31);
        share(self);
        self.settle();
        share(self);
        share(self);
        self.mine(4);
        share(self);
        share(self);
        // What is less than a voucher's worth, and what was lost on its way, takes its time.
        self.pass(31);
        self.pass(31);
        self.meet();
        self.pass(31);
    }

    fn check(&self, what: &str) {
        let total: u128 = SHARES.iter().map(|work| u128::from(work * PARTS)).sum();
        let owed = msat(u64::try_from(total >> 16).unwrap());
        let account = self.account().unwrap();
        assert_eq!(account.owed().floor_msat(), owed, "{what}");
        assert_eq!((account.paid(), account.due()), (owed, Msat::ZERO), "{what}");
        let held = self.stage.held(0);
        // The successor holds what a satoshi was not enough for.
        let got = self.settled.add(held).unwrap();
        assert_eq!(got, owed, "{what}: {:?}", self.stage.refusals());
        assert_eq!(self.stage.node().payers().count(), 1, "{what}");
    }
}

fn cut_at(story: &mut Story, end: EndId, write: u64, side: Cut) {
    let store = story.stage.world.end_mut(end).unwrap().store_mut();
    let now = store.commits();
    store.cut_at(now + write, side);
}

#[test]
fn power_cut_at_every_write_of_a_workers_life_pays_all_of_it_once() {
    let mut chain = Regtest::unchecked_scripts();
    World::fill(&mut chain);
    let mut cuts = 0;
    for pay_at in [1, 50_000] {
        for is_pool in [true, false] {
            for side in [Cut::Before, Cut::After] {
                for write in 1.. {
                    let mut story = Story::new(chain.clone(), pay_at);
                    let end = if is_pool { story.stage.pool } else { story.stage.workers[0].end };
                    cut_at(&mut story, end, write, side);
                    story.live();
                    let what = format!("pay at {pay_at}, pool {is_pool}, {side:?} {write}");
                    story.check(&what);
                    if !story.hit {
                        break;
                    }
                    cuts += 1;
                }
            }
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 60, "{cuts}");
}
