//! The pool's ledger at its limit of workers, and timers that are due all at once.

use super::*;
use crate::ledger::{Account, Credit, HashPrice, Ledger, LedgerError, Limits, WorkerKey};
use crate::node::work::WorkPolicy;
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
