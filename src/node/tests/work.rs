//! The pool's ledger at its limit of workers, and timers that are due all at once.

use super::*;
use crate::ledger::scheme::{FoundBlock, Reach};
use crate::ledger::{Account, Credit, HashPrice, Ledger, LedgerError, Limits, WorkerKey};
use crate::node::effects::Event;
use crate::node::work::WorkPolicy;
use crate::store::{Batch, Durability};
use crate::stream::StreamError;
use crate::stream::payer::Ending;
use crate::units::Work;

/// What is worth so many quarters of a millisatoshi.
fn credit(quarters: u128) -> Credit {
    let price = HashPrice::from_q96(1 << 94).unwrap();
    Credit::priced(Work::new(quarters), price).unwrap()
}

fn worker(nth: u8) -> WorkerKey {
    WorkerKey::new([nth; 32])
}

fn earn(stage: &mut Stage, worker: WorkerKey, quarters: u128) -> Result<(), NodeError> {
    let credit = credit(quarters);
    stage.handle(BUYER, Input::Do(Command::CreditWork { worker, credit }))
}

/// A pool with room for three workers, of which one has a channel.
fn pool() -> (Stage, WorkerKey) {
    let mut stage = Scene::Open.build();
    let limits = Limits { workers_max: 3, ..Limits::default() };
    stage.nodes[BUYER].load_work(Ledger::new(limits).unwrap());
    let (worker, outpoint) = (WorkerKey::from(base()), stage.outpoint);
    let budget = msat(1_000_000);
    stage.run(BUYER, Command::BindWorker { worker, outpoint, session: id(9), budget });
    stage.settle_down();
    (stage, worker)
}

#[test]
fn ledger_full_of_parts_of_a_millisatoshi_lets_another_worker_in() {
    let (mut stage, bound) = pool();
    earn(&mut stage, worker(1), 3).unwrap();
    earn(&mut stage, worker(2), 1).unwrap();
    // Whoever loses least goes; never the one with a channel, though it has earned nothing.
    earn(&mut stage, worker(3), 4).unwrap();
    stage.settle_down();
    let ledger = stage.nodes[BUYER].ledger();
    let mut all: Vec<WorkerKey> = ledger.accounts().map(Account::worker).collect();
    all.sort_unstable();
    let mut wanted = Vec::from([worker(1), worker(3), bound]);
    wanted.sort_unstable();
    assert_eq!(all, wanted);
    ledger.holds_together().unwrap();
    assert_eq!(ledger.totals().fee(), credit(1).value());
    // What is owed a whole millisatoshi stays.
    earn(&mut stage, worker(1), 1).unwrap();
    let full = earn(&mut stage, worker(4), 1);
    assert_eq!(full, Err(LedgerError::TooManyWorkers { max: 3 }.into()));
    stage.settle_down();
    let stored = Ledger::load(Limits::default(), &stage.stores[BUYER]).unwrap();
    assert!(stored.accounts().eq(stage.nodes[BUYER].ledger().accounts()));
}

/// What a block is shared over.
fn log(stage: &mut Stage, worker: WorkerKey, credit: Credit) -> Result<(), NodeError> {
    let reach = Reach::Round;
    stage.handle(BUYER, Input::Do(Command::LogWork { worker, credit, reach }))
}

/// Two workers log, a block is found, and two others take their places in the ledger, of
/// `quarters` each, before the block is shared, half and half. The events of that.
fn block_for_workers_who_left(depth: u32, quarters: [u128; 2]) -> (Stage, Vec<Event>) {
    let (mut stage, _) = pool();
    for nth in [1, 2] {
        log(&mut stage, worker(nth), Credit::unpriced(Work::new(10))).unwrap();
    }
    let block = FoundBlock {
        id: [7; 32],
        coinbase: OutPoint { txid: Txid::from_byte_array([8; 32]), vout: 0 },
        height: height(DEEP - 2),
        depth: Blocks::new(depth).unwrap(),
        reward: msat(8_000),
        fee: Ppm::MIN,
        reach: Reach::Round,
    };
    if depth > 0 {
        stage.run(BUYER, Command::FindBlock(block));
    }
    for (nth, quarters) in [3, 4].into_iter().zip(quarters) {
        earn(&mut stage, worker(nth), quarters).unwrap();
    }
    let _told = stage.flush(BUYER);
    let ledger = stage.nodes[BUYER].ledger();
    assert!([1, 2].iter().all(|nth| ledger.account(worker(*nth)).is_none()));
    if depth > 0 {
        let status = OutputStatus { confirmed: Some(block.height), ..stage.status() };
        stage.handle(BUYER, Input::Output(block.coinbase, Some(status))).unwrap();
    } else {
        stage.run(BUYER, Command::FindBlock(block));
    }
    let told = stage.flush(BUYER);
    (stage, told.events)
}

/// The accounts are those of these workers and the one with a channel, stored as they are.
fn assert_accounts(stage: &Stage, workers: &[u8]) {
    let ledger = stage.nodes[BUYER].ledger();
    let mut wanted: Vec<_> = workers.iter().map(|nth| worker(*nth)).collect();
    wanted.push(base().into());
    wanted.sort_unstable();
    let all: Vec<_> = ledger.accounts().map(Account::worker).collect();
    assert_eq!(all, wanted);
    ledger.holds_together().unwrap();
    let stored = Ledger::load(Limits::default(), &stage.stores[BUYER]).unwrap();
    assert!(stored.accounts().eq(ledger.accounts()));
}

#[test]
fn block_is_shared_with_workers_whose_places_in_a_full_ledger_were_taken() {
    for depth in [0, 3] {
        // Those who came are owed something: no account can be forgotten.
        let (stage, told) = block_for_workers_who_left(depth, [4, 4]);
        let (id, reward, fee) = ([7; 32], msat(8_000), Msat::ZERO);
        assert_eq!(told, [Event::BlockShared { id, reward, fee, workers: 2 }]);
        assert_accounts(&stage, &[1, 2, 3, 4]);
        let node = &stage.nodes[BUYER];
        assert_eq!([1, 2].map(|nth| node.work_due(worker(nth))), [msat(4_000); 2]);
        assert_eq!(node.ledger().pending().count(), 0);
    }
}

#[test]
fn ledger_that_a_block_overfilled_lets_one_in_for_those_who_are_idle() {
    let (mut stage, _) = block_for_workers_who_left(3, [3, 1]);
    assert_accounts(&stage, &[1, 2, 3, 4]);
    earn(&mut stage, worker(5), 4).unwrap();
    let _told = stage.flush(BUYER);
    assert_accounts(&stage, &[1, 2, 5]);
    assert_eq!(stage.nodes[BUYER].ledger().totals().fee(), credit(4).value());
    let full = earn(&mut stage, worker(6), 4);
    assert_eq!(full, Err(LedgerError::TooManyWorkers { max: 3 }.into()));
    assert_accounts(&stage, &[1, 2, 5]);
}

#[test]
fn newcomer_that_is_refused_takes_nobodys_place() {
    let (mut stage, _) = pool();
    earn(&mut stage, worker(1), 3).unwrap();
    earn(&mut stage, worker(2), 1).unwrap();
    let _told = stage.flush(BUYER);
    let refused = log(&mut stage, worker(3), credit(4));
    assert_eq!(refused, Err(LedgerError::Priced { worker: worker(3) }.into()));
    assert!(stage.nodes[BUYER].effects.is_empty());
    assert_accounts(&stage, &[1, 2]);
    // Nor does who brings nothing.
    let (worker, credit) = (worker(3), Credit::NONE);
    stage.run(BUYER, Command::CreditWork { worker, credit });
    assert_accounts(&stage, &[1, 2]);
}

#[test]
fn timers_that_are_due_are_paid_by_the_flush_which_commits_in_between() {
    let (mut stage, bound) = pool();
    let policy = WorkPolicy { pay_at: msat(100), pay_after: secs(600), ..WorkPolicy::default() };
    stage.run(BUYER, Command::TendWork(policy));
    earn(&mut stage, bound, 40).unwrap();
    stage.settle_down();
    stage.now.time = stage.now.time.saturating_after(secs(600));
    stage.handle(BUYER, Input::Woken).unwrap();
    assert_eq!(stage.nodes[BUYER].work_due(bound), msat(10));
    assert!(stage.nodes[BUYER].wake().is_none_or(|wake| wake.at > stage.now.time));
    stage.settle_down();
    assert_eq!(stage.nodes[BUYER].work_due(bound), Msat::ZERO);
}

/// What a channel says to being bound.
fn bound(stage: &mut Stage) -> Result<(), NodeError> {
    let (worker, outpoint) = (WorkerKey::from(base()), stage.outpoint);
    let (session, budget) = (id(9), msat(1_000_000));
    let bind = Command::BindWorker { worker, outpoint, session, budget };
    stage.handle(BUYER, Input::Do(bind))
}

#[test]
fn channel_that_is_not_sure_ends_or_pays_for_something_else_is_not_bound() {
    let mut stage = Scene::Open.build();
    stage.reboot();
    let unsure = bound(&mut stage);
    assert!(matches!(unsure, Err(NodeError::Stream(StreamError::MustResume { .. }))), "{unsure:?}");
    let mut stage = Scene::Leaving.build();
    let leaving = bound(&mut stage);
    assert!(
        matches!(leaving, Err(NodeError::Stream(StreamError::WrongPhase { .. }))),
        "{leaving:?}"
    );
    assert_eq!(bound(&mut Scene::Running.build()), Err(NodeError::Busy { session: id(7) }));
    let mut stage = Scene::Flying.build();
    let outpoint = stage.outpoint;
    assert_eq!(bound(&mut stage), Err(NodeError::Taken { outpoint }));
    assert!(bound(&mut Scene::Holding.build()).is_err());
    // A payment that waits for its budget is signed by the flush, after this.
    let mut stage = Scene::Open.build();
    stage.open_budget();
    let (more, ending) = (msat(900), Ending::KeepsChange);
    stage.run(BUYER, Command::Pay { outpoint, more, session: id(3), ending });
    let outpoint = stage.outpoint;
    assert_eq!(bound(&mut stage), Err(NodeError::InFlight { outpoint }));
    stage.settle_down();
    assert_eq!(bound(&mut stage), Ok(()));
}

#[test]
fn what_was_paid_before_the_work_is_durable_with_the_binding() {
    let mut stage = Scene::Open.build();
    stage.open_budget();
    let (outpoint, more, ending) = (stage.outpoint, msat(900), Ending::KeepsChange);
    stage.run(BUYER, Command::Pay { outpoint, more, session: id(3), ending });
    stage.settle_down();
    assert_eq!(bound(&mut stage), Ok(()));
    let _sent = stage.flush(BUYER);
    let loaded = load(BUYER, &stage.stores[BUYER], &stage.now);
    assert_eq!(loaded.payer(outpoint).unwrap().signed(), more);
    assert_eq!(loaded.ledger().account(base().into()).unwrap().paid(), Msat::ZERO);
}

#[test]
fn what_was_paid_on_a_channel_that_never_came_to_be_is_due_again() {
    let mut stage = Scene::Working.build();
    let worker = WorkerKey::from(base());
    let paid = stage.nodes[BUYER].ledger().account(worker).unwrap().paid();
    assert!(paid > Msat::ZERO && stage.nodes[BUYER].work_due(worker) == Msat::ZERO);
    vanish(&mut stage);
    let loaded = load(BUYER, &stage.stores[BUYER], &stage.now);
    for node in [&stage.nodes[BUYER], &loaded] {
        assert_eq!(node.work_due(worker), paid);
        assert_eq!(node.ledger().account(worker).unwrap().channel(), None);
    }
}

#[test]
fn line_whose_account_is_missing_is_not_loaded() {
    let mut stage = Scene::Open.build();
    bound(&mut stage).unwrap();
    let _told = stage.flush(BUYER);
    let mut batch = Batch::default();
    batch.delete(Account::key(base().into()).unwrap()).unwrap();
    stage.stores[BUYER].commit(&batch, Durability::Barrier).unwrap();
    let signer = MemorySigner::new(
        seed(BUYER),
        Network::Regtest,
        Policy { hour: Msat::MAX, day: Msat::MAX, peer: Msat::MAX, slice: msat(1) },
        None,
        &Entropy::new([0; 32]),
    );
    let loaded = Node::load(config(BUYER), Context::new(), signer.unwrap(), &stage.stores[BUYER]);
    assert!(matches!(loaded, Err(NodeError::BrokenRecord { what: "channel", .. })));
}

/// The funding is taken by a reorg, something else that spends its coins is buried, and the channel
/// is given up.
fn vanish(stage: &mut Stage) {
    let outpoint = stage.outpoint;
    let status = OutputStatus { confirmed: None, ..stage.status() };
    stage.handle(BUYER, Input::Output(outpoint, Some(status))).unwrap();
    stage.nodes[BUYER].payers.get_mut(&outpoint).unwrap().conflict = Some(Txid::all_zeros());
    stage.run(BUYER, Command::Abandon { outpoint });
    let _told = stage.flush(BUYER);
}

#[test]
fn account_whose_line_rests_is_not_forgotten_for_another() {
    let mut stage = Scene::Open.build();
    let limits = Limits { workers_max: 2, ..Limits::default() };
    stage.nodes[BUYER].load_work(Ledger::new(limits).unwrap());
    bound(&mut stage).unwrap();
    vanish(&mut stage);
    earn(&mut stage, worker(1), 3).unwrap();
    earn(&mut stage, worker(2), 3).unwrap();
    let _told = stage.flush(BUYER);
    let ledger = stage.nodes[BUYER].ledger();
    assert!(ledger.account(worker(1)).is_none() && ledger.account(base().into()).is_some());
    let _loads = load(BUYER, &stage.stores[BUYER], &stage.now);
}

#[test]
fn work_is_paid_from_its_budget_after_a_restart() {
    let mut stage = Scene::Working.build();
    let worker = WorkerKey::from(base());
    stage.reboot();
    stage.connect();
    let outpoint = stage.outpoint;
    stage.run(BUYER, Command::Attach { link: LINK, outpoint });
    stage.settle_down();
    earn(&mut stage, worker, 4_000).unwrap();
    stage.settle_down();
    assert_eq!(stage.nodes[BUYER].work_due(worker), Msat::ZERO);
}
