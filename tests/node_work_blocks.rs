//! Work that blocks pay: who worked for a block is paid when the chain has buried it, to the last
//! millisatoshi and once, whatever the chain, the power and the caller do in between.

#[path = "node_work/pool.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod pool;

use bitcoin::hashes::Hash;
use bitcoin::{Block, OutPoint, ScriptBuf};
use millstream::chain::regtest::Regtest;
use millstream::chain::template::{BlockPlan, Layout, TemplateError};
use millstream::ledger::scheme::{FoundBlock, Reach};
use millstream::ledger::{Account, Credit, LedgerError};
use millstream::node::{Command, Event, Input, NodeError};
use millstream::sim::world::{World, WorldError};
use millstream::store::fault::Cut;
use millstream::tx::ChangeScript;
use millstream::units::{Height, Msat, Ppm, Work};
use pool::{Stage, blocks, msat, session};

const REWARD: u64 = 1_000_003;
const FEE: u64 = 20_000;

fn last(work: u128) -> Reach {
    Reach::Last(Work::new(work))
}

fn share(stage: &Stage, nth: usize, work: u64, reach: Reach) -> Command {
    let credit = Credit::unpriced(Work::new(work.into()));
    Command::LogWork { worker: stage.workers[nth].key, credit, reach }
}

fn log(stage: &mut Stage, nth: usize, work: u64, reach: Reach) {
    let share = share(stage, nth, work, reach);
    stage.world.command(stage.pool, share).unwrap();
}

/// The chain's next block, mined by the pool: its coinbase is like no other's.
fn mine_own(stage: &Stage, number: u8) -> Block {
    stage.world.chain().with(|chain| {
        let layout = Layout::new(ScriptBuf::from_bytes(vec![0x51]));
        let plan = BlockPlan::new(chain.block_template(), &layout).unwrap();
        let mut solution = plan.first_solution(&[number; 4], &[2; 8]);
        let block = loop {
            match plan.solve(&solution) {
                Ok(block) => break block,
                Err(TemplateError::HighHash { .. }) => solution.nonce += 1,
                Err(error) => panic!("{error}"),
            }
        };
        chain.connect_block(&block).unwrap();
        block
    })
}

fn found(block: &Block, depth: u32, reach: Reach) -> FoundBlock {
    let coinbase = OutPoint { txid: block.txdata[0].compute_txid(), vout: 0 };
    let height = Height::new(u32::try_from(block.bip34_block_height().unwrap()).unwrap()).unwrap();
    let (id, depth) = (block.block_hash().to_byte_array(), blocks(depth));
    let fee = Ppm::new(u32::try_from(FEE).unwrap()).unwrap();
    FoundBlock { id, coinbase, height, depth, reward: msat(REWARD), fee, reach }
}

fn find(stage: &mut Stage, block: FoundBlock) {
    stage.world.command(stage.pool, Command::FindBlock(block)).unwrap();
    stage.settle_down();
}

fn told(stage: &mut Stage) -> Vec<Event> {
    let about =
        |event: &Event| matches!(event, Event::BlockShared { .. } | Event::BlockLost { .. });
    stage.events().into_iter().filter(about).collect()
}

fn shared(block: &FoundBlock, workers: u32) -> Event {
    let fee = msat(REWARD * FEE / 1_000_000);
    Event::BlockShared { id: block.id, reward: msat(REWARD), fee, workers }
}

/// Everything that is owed and the fee, in millisatoshis.
fn credited(stage: &Stage) -> u64 {
    let ledger = stage.node().ledger();
    let owed: u64 = ledger.accounts().map(|account| account.owed().floor_msat().to_msat()).sum();
    owed + ledger.totals().fee().floor_msat().to_msat()
}

#[test]
fn buried_block_pays_who_worked_for_it_in_one_commit() {
    for reach in [Reach::Round, last(4_000)] {
        let mut stage = Stage::open(3);
        (0..2).for_each(|nth| stage.bind(nth).unwrap());
        log(&mut stage, 0, 3_000, reach);
        log(&mut stage, 1, 500, reach);
        log(&mut stage, 2, 500, reach);
        let block = found(&mine_own(&stage, 1), 3, reach);
        find(&mut stage, block);
        // Who works from now on is of the next block.
        log(&mut stage, 1, 9_000, reach);
        stage.mine(1);
        assert_eq!((credited(&stage), told(&mut stage)), (0, vec![]));
        let store = stage.world.end(stage.pool).unwrap().store();
        let before = store.commits();
        stage.mine(1);
        assert_eq!(told(&mut stage), [shared(&block, 3)]);
        assert_eq!(credited(&stage), REWARD);
        // 980,003 by 3,000, 500 and 500; what is left of the division goes to one of the last two.
        assert_eq!(stage.owed(0), msat(735_002));
        let small = [stage.owed(1).to_msat(), stage.owed(2).to_msat()];
        assert_eq!((small[0].min(small[1]), small[0] + small[1]), (122_500, 245_001));
        assert_eq!((stage.held(0), stage.held(1)), (stage.owed(0), stage.owed(1)));
        // Accounts and vouchers were one.
        let store = stage.world.end(stage.pool).unwrap().store();
        assert_eq!(store.commits(), before + 1);
        // Who has no channel is paid when one is bound.
        assert_eq!((stage.paid(2), stage.due(2)), (Msat::ZERO, stage.owed(2)));
        stage.bind(2).unwrap();
        stage.settle_down();
        assert_eq!(stage.held(2), stage.owed(2));
        stage.mine(10);
        find(&mut stage, block);
        assert_eq!((credited(&stage), told(&mut stage)), (REWARD, vec![]));
    }
}

#[test]
fn block_that_the_caller_does_not_wait_for_is_paid_at_once_and_once() {
    let mut stage = Stage::bound(1);
    log(&mut stage, 0, 10, Reach::Round);
    let block = found(&mine_own(&stage, 1), 0, Reach::Round);
    for _ in 0..2 {
        find(&mut stage, block);
        stage.world.reboot(stage.pool).unwrap();
        stage.reconnect(0);
    }
    assert_eq!(told(&mut stage), [shared(&block, 1)]);
    assert_eq!((credited(&stage), stage.held(0)), (REWARD, stage.owed(0)));
    assert_eq!(stage.node().watched().filter(|at| *at == block.coinbase).count(), 0);
}

#[test]
fn block_that_a_reorg_drops_is_lost_a_hundred_blocks_later_and_its_round_counts_on() {
    let mut stage = Stage::bound(2);
    log(&mut stage, 0, 30, Reach::Round);
    let block = found(&mine_own(&stage, 1), 3, Reach::Round);
    find(&mut stage, block);
    stage.mine(1);
    let longer = [vec![], vec![], vec![]];
    stage.world.chain().with(|chain| chain.reorg(blocks(2), &longer)).unwrap();
    stage.settle_down();
    stage.mine(97);
    let height = stage.world.chain().with(|chain| chain.tip()).height;
    assert_eq!(height.saturating_since(block.height), blocks(99));
    assert_eq!((credited(&stage), told(&mut stage)), (0, vec![]));
    stage.world.reboot(stage.pool).unwrap();
    (0..2).for_each(|nth| stage.reconnect(nth));
    stage.mine(1);
    assert_eq!(told(&mut stage), [Event::BlockLost { id: block.id }]);
    // Told again it stays lost.
    find(&mut stage, block);
    assert_eq!((credited(&stage), stage.node().ledger().pending().count()), (0, 0));
    log(&mut stage, 1, 70, Reach::Round);
    let next = found(&mine_own(&stage, 2), 1, Reach::Round);
    find(&mut stage, next);
    assert_eq!(told(&mut stage), [shared(&next, 2)]);
    // 980,003 x 0.3 is 294,000.9.
    assert_eq!((stage.held(0), stage.held(1)), (msat(294_001), msat(686_002)));
}

#[test]
fn block_that_comes_back_before_it_is_given_up_is_paid() {
    let mut stage = Stage::bound(1);
    log(&mut stage, 0, 30, last(100));
    let block = found(&mine_own(&stage, 1), 3, last(100));
    find(&mut stage, block);
    let now = stage.world.now();
    for _ in 0..2 {
        let node = stage.world.end_mut(stage.pool).unwrap().node_mut();
        node.handle(&now, Input::Output(block.coinbase, None)).unwrap();
        stage.settle_down();
    }
    assert_eq!(credited(&stage), 0);
    stage.mine(2);
    assert_eq!((credited(&stage), told(&mut stage)), (REWARD, vec![shared(&block, 1)]));
    assert_eq!(stage.held(0), stage.owed(0));
}

#[test]
fn block_without_work_and_work_with_a_price_are_refused() {
    let mut stage = Stage::open(1);
    let block = found(&mine_own(&stage, 1), 3, Reach::Round);
    for depth in [0, 3] {
        let block = FoundBlock { depth: blocks(depth), ..block };
        let error = stage.world.command(stage.pool, Command::FindBlock(block)).unwrap_err();
        assert_eq!(refused(error), NodeError::Ledger(LedgerError::NobodyWorked));
    }
    let (worker, credit) = (stage.workers[0].key, pool::worth(1));
    let priced = Command::LogWork { worker, credit, reach: Reach::Round };
    let error = stage.world.command(stage.pool, priced).unwrap_err();
    assert_eq!(refused(error), NodeError::Ledger(LedgerError::Priced { worker }));
    assert_eq!(stage.node().ledger().accounts().count(), 0);
}

fn refused(error: WorldError) -> NodeError {
    let WorldError::Node(error) = error else { panic!("{error}") };
    error
}

/// A pool whose power may go at one of its writes.
struct Story {
    stage: Stage,
    hit: bool,
}

impl Story {
    /// Lets everybody act; a pool whose power goes comes back, and meets its workers.
    fn settle_down(&mut self) {
        match self.stage.world.settle_down() {
            Ok(_) => return,
            Err(WorldError::Stopped { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(!self.hit, "once");
        self.hit = true;
        self.stage.world.reboot(self.stage.pool).unwrap();
        for worker in &mut self.stage.workers {
            worker.link = self.stage.world.connect(self.stage.pool, worker.end).unwrap();
            let (link, outpoint) = (worker.link, worker.outpoint);
            let attach = Command::Attach { link, outpoint };
            self.stage.world.command(self.stage.pool, attach).unwrap();
        }
        self.stage.settle_down();
    }

    fn shares(&self, nth: usize) -> u64 {
        let account = self.stage.node().ledger().account(self.stage.workers[nth].key);
        account.map_or(0, Account::shares)
    }

    /// Submitted until the pool has it; nobody was answered before.
    fn log(&mut self, nth: usize, work: u64) {
        let before = self.shares(nth);
        while self.shares(nth) == before {
            log(&mut self.stage, nth, work, Reach::Round);
            self.settle_down();
        }
        assert_eq!(self.shares(nth), before + 1);
    }

    /// Told twice, as who cannot know whether the first time was kept.
    fn find(&mut self, block: FoundBlock) {
        for _ in 0..2 {
            self.stage.world.command(self.stage.pool, Command::FindBlock(block)).unwrap();
            self.settle_down();
        }
    }

    fn mine(&mut self, count: u32) {
        self.stage.world.mine(blocks(count));
        self.settle_down();
    }

    fn live(&mut self) {
        for nth in 0..2 {
            let worker = &self.stage.workers[nth];
            let (worker, outpoint) = (worker.key, worker.outpoint);
            let budget = msat(1_000_000_000);
            let bind = || Command::BindWorker { worker, outpoint, session: session(), budget };
            for _ in 0..2 {
                self.stage.world.command(self.stage.pool, bind()).unwrap();
                self.settle_down();
            }
        }
        self.log(0, 300);
        self.log(1, 100);
        let first = found(&mine_own(&self.stage, 1), 3, Reach::Round);
        self.settle_down();
        self.find(first);
        self.log(1, 40);
        let second = found(&mine_own(&self.stage, 2), 3, Reach::Round);
        self.settle_down();
        self.find(second);
        // The second is dropped, with its round; the first is not.
        let longer = [vec![], vec![]];
        self.stage.world.chain().with(|chain| chain.reorg(blocks(1), &longer)).unwrap();
        self.settle_down();
        self.log(0, 60);
        self.mine(98);
        self.mine(1);
        let third = found(&mine_own(&self.stage, 3), 1, Reach::Round);
        self.settle_down();
        self.find(third);
    }

    fn check(&mut self, what: &str) {
        assert_eq!(credited(&self.stage), 2 * REWARD, "{what}");
        assert_eq!(self.stage.node().ledger().pending().count(), 0, "{what}");
        // 980,003 by 300 and 100, and by 60 and 40.
        let parts = [735_002 + 588_002, 245_001 + 392_001];
        for (nth, part) in parts.into_iter().enumerate() {
            assert_eq!(self.stage.owed(nth), msat(part), "{what}");
            assert_eq!((self.stage.held(nth), self.stage.paid(nth)), (msat(part), msat(part)));
        }
    }
}

#[test]
fn power_cut_at_every_write_pays_each_buried_block_once() {
    let mut chain = Regtest::unchecked_scripts();
    World::fill(&mut chain);
    let mut cuts = 0;
    for side in [Cut::Before, Cut::After] {
        for write in 1.. {
            let world = World::on_filled(chain.clone());
            let mut story = Story { stage: Stage::on(world, 2, &ChangeScript::Own), hit: false };
            let pool = story.stage.pool;
            let store = story.stage.world.end_mut(pool).unwrap().store_mut();
            let now = store.commits();
            store.cut_at(now + write, side);
            story.live();
            story.check(&format!("{side:?} {write}"));
            if !story.hit {
                break;
            }
            cuts += 1;
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 20, "{cuts}");
}
