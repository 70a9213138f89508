//! A full ledger: who comes takes the place of those who lose least, in one step.

use super::blocks::{block, dues};
use super::*;
use crate::ledger::scheme::Reach;
use alloc::vec::Vec;

/// So many parts of 2^-16 of a millisatoshi.
fn parts(number: u8, parts: u128) -> Input {
    Input::Credit { worker: worker(number), credit: credit(parts, 1) }
}

fn log(number: u8) -> Input {
    let credit = Credit::unpriced(Work::new(10));
    Input::Log { worker: worker(number), credit, reach: Reach::Round }
}

/// The step, in a commit of its own; none of `kept` may leave. How many records it was.
fn make_room(
    ledger: &mut Ledger,
    store: &mut MemoryStore,
    input: &Input,
    kept: &[u8],
) -> Result<usize, LedgerError> {
    let may_go = |worker: WorkerKey| !kept.contains(&worker.as_bytes()[0]);
    let step = ledger.decide_with_room(input, may_go)?;
    let mut batch = Batch::default();
    let staged = step.stage(&mut batch).unwrap();
    ledger.apply(&staged).unwrap();
    store.commit(&batch, Durability::Barrier).unwrap();
    ledger.holds_together().unwrap();
    let stored = Ledger::load(ledger.limits(), store).unwrap();
    assert_eq!((&stored.accounts, stored.totals), (&ledger.accounts, ledger.totals));
    Ok(batch.len())
}

fn workers(ledger: &Ledger) -> Vec<u8> {
    ledger.accounts().map(|account| account.worker().as_bytes()[0]).collect()
}

#[test]
fn newcomer_takes_the_place_of_who_loses_least_and_may_go() {
    let (mut ledger, mut store) =
        after(&[parts(1, 9), parts(2, 5), bind(3, 1, 0), parts(3, 65_536 + 7), paid(3, 1, 1)]);
    take(&mut ledger, &mut store, unbind(3, 1, 1)).unwrap();
    take(&mut ledger, &mut store, parts(4, 65_536)).unwrap();
    let mut come = |number, kept: &[u8]| {
        let records = make_room(&mut ledger, &mut store, &parts(number, 65_536), kept)?;
        // Two accounts and the sums.
        assert_eq!(records, 3);
        Ok(workers(&ledger))
    };
    assert_eq!(come(5, &[2]), Ok(Vec::from([1, 2, 4, 5])));
    assert_eq!(come(6, &[2]), Ok(Vec::from([2, 4, 5, 6])));
    let full = Err(LedgerError::TooManyWorkers { max: 4 });
    assert_eq!(come(7, &[2]), full);
    assert_eq!(come(7, &[]), Ok(Vec::from([4, 5, 6, 7])));
    assert_eq!(come(8, &[]), full);
    let totals = ledger.totals();
    assert_eq!((totals.fee(), totals.gone()), (credit(7 + 9 + 5, 1).value(), msat(1)));
}

#[test]
fn step_that_is_refused_or_empty_makes_no_room() {
    let (mut ledger, mut store) = after(&[log(1), log(2), log(3), log(4)]);
    let priced = Input::Log { worker: worker(5), credit: credit(1, 1), reach: Reach::Round };
    let refused = make_room(&mut ledger, &mut store, &priced, &[]);
    assert_eq!(refused, Err(LedgerError::Priced { worker: worker(5) }));
    let nothing = Input::Credit { worker: worker(5), credit: Credit::NONE };
    assert_eq!(make_room(&mut ledger, &mut store, &nothing, &[]), Ok(0));
    // Nor does one of an account that is there, or of a block.
    assert_eq!(make_room(&mut ledger, &mut store, &parts(1, 1), &[]), Ok(2));
    make_room(&mut ledger, &mut store, &block(1, 4_000, 0, Reach::Round), &[]).unwrap();
    assert_eq!(dues(&ledger), [1_000; 4]);
}

#[test]
fn overfilled_ledger_comes_down_to_its_limit_by_sixteen_with_each_who_comes() {
    let limits = |workers_max| Limits { unpaid_max: Msat::MAX, workers_max };
    let (mut ledger, mut store) = (Ledger::new(limits(40)).unwrap(), MemoryStore::default());
    (1..=30).for_each(|number| take(&mut ledger, &mut store, log(number)).unwrap());
    // The operator allows fewer than there are.
    let mut ledger = Ledger::load(limits(4), &store).unwrap();
    for (number, left) in [(101, 15), (102, 4), (103, 4), (104, 4)] {
        make_room(&mut ledger, &mut store, &parts(number, 65_536), &[]).unwrap();
        assert_eq!(ledger.accounts().count(), left);
    }
    assert_eq!(workers(&ledger), [101, 102, 103, 104]);
    let full = make_room(&mut ledger, &mut store, &parts(105, 65_536), &[]);
    assert_eq!(full, Err(LedgerError::TooManyWorkers { max: 4 }));
    // Those who left are paid for what they have logged.
    make_room(&mut ledger, &mut store, &block(1, 30_000, 0, Reach::Round), &[]).unwrap();
    assert_eq!(ledger.accounts().count(), 34);
    assert!((1..=30).all(|number| ledger.due(worker(number)) == msat(1_000)));
}
