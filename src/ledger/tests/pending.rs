//! Blocks that wait for the chain: shared over the work of their moment, once, or not at all.

use super::blocks::{block, dues, last, log};
use super::*;
use crate::ledger::scheme::FoundBlock;
use crate::store::fault::{Cut, FaultStore};
use crate::store::{StoreError, envelope};
use crate::units::{Blocks, Height};
use alloc::vec::Vec;

fn found(id: u8, reward: u64, fee: u32, reach: Reach) -> Input {
    Input::Found(FoundBlock {
        id: [id; 32],
        coinbase: channel(id),
        height: Height::new(100).unwrap(),
        depth: Blocks::new(6).unwrap(),
        reward: msat(reward),
        fee: Ppm::new(fee).unwrap(),
        reach,
    })
}

const fn buried(id: u8) -> Input {
    Input::Buried { id: [id; 32] }
}

const fn lost(id: u8) -> Input {
    Input::Lost { id: [id; 32] }
}

fn ids(ledger: &Ledger) -> Vec<u8> {
    ledger.pending().map(|block| block.id[0]).collect()
}

fn load(store: &MemoryStore) -> Result<Ledger, LedgerError> {
    Ledger::load(ledger().limits(), store)
}

fn of(store: &MemoryStore) -> impl Iterator<Item = (Key, Vec<u8>)> {
    let mut records = Vec::new();
    let mut keep = |key: &Key, bytes: &[u8]| {
        records.push((*key, bytes.to_vec()));
        core::ops::ControlFlow::Continue(())
    };
    store.scan(&[], &mut keep).unwrap();
    records.into_iter()
}

#[test]
fn block_is_shared_over_the_work_of_its_moment_when_it_is_buried() {
    for reach in [Reach::Round, last(40)] {
        let (mut ledger, mut store) = after(&[log(1, 30, reach), log(2, 10, reach)]);
        take(&mut ledger, &mut store, found(7, 1_003, 2_000, reach)).unwrap();
        // Who comes between is of a later block.
        take(&mut ledger, &mut store, log(3, 500, reach)).unwrap();
        assert_eq!(dues(&ledger), [0, 0, 0]);
        let mut ledger = load(&store).unwrap();
        assert_eq!(ids(&ledger), [7]);
        take(&mut ledger, &mut store, buried(7)).unwrap();
        // 2 are the fee; 1,001 in quarters.
        assert_eq!(dues(&ledger), [751, 250, 0]);
        assert_eq!(ledger.totals().fee(), Exact::from(msat(2)));
        ledger.holds_together().unwrap();
        assert_eq!(load(&store).unwrap().accounts, ledger.accounts);
        assert!(of(&store).all(|(key, _)| !matches!(key.as_bytes(), [6, 5 | 6, ..])));
    }
}

#[test]
fn block_that_is_told_again_in_any_state_changes_nothing() {
    let reach = last(100);
    let (mut ledger, mut store) = after(&[log(1, 30, reach), found(7, 1_000, 0, reach)]);
    let again = [found(7, 1_000, 0, reach), found(7, 9, 9, Reach::Round), block(7, 5, 0, reach)];
    let is_known = |ledger: &Ledger| again.iter().all(|it| ledger.decide(it).unwrap().is_empty());
    assert!(is_known(&ledger));
    for fate in [buried(7), lost(7)] {
        let (mut ledger, mut store) = (ledger.clone(), store.clone());
        take(&mut ledger, &mut store, fate).unwrap();
        for ledger in [&ledger, &load(&store).unwrap()] {
            assert!(is_known(ledger));
            assert!([buried(7), lost(7)].iter().all(|it| ledger.decide(it).unwrap().is_empty()));
        }
    }
    assert_eq!(take(&mut ledger, &mut store, lost(8)), Err(LedgerError::NoBlock { id: [8; 32] }));
    take(&mut ledger, &mut store, block(9, 5, 0, reach)).unwrap();
    assert!(ledger.decide(&found(9, 5, 0, reach)).unwrap().is_empty());
}

#[test]
fn lost_block_brings_nothing_and_its_round_counts_in_the_next() {
    let reach = Reach::Round;
    let (mut ledger, mut store) = after(&[log(1, 30, reach), log(2, 10, reach)]);
    take(&mut ledger, &mut store, found(7, 1_000, 0, reach)).unwrap();
    assert_eq!(
        take(&mut ledger, &mut store, found(8, 1, 0, reach)),
        Err(LedgerError::NobodyWorked)
    );
    take(&mut ledger, &mut store, log(2, 20, reach)).unwrap();
    take(&mut ledger, &mut store, lost(7)).unwrap();
    assert_eq!(dues(&ledger), [0, 0]);
    let weights: Vec<_> = ledger.weights(reach).values().map(|work| work.hashes()).collect();
    assert_eq!(weights, [30, 30]);
    take(&mut ledger, &mut store, found(8, 1_000, 0, reach)).unwrap();
    take(&mut ledger, &mut store, buried(8)).unwrap();
    assert_eq!(dues(&ledger), [500, 500]);
    let again = load(&store).unwrap();
    assert_eq!((again.window, again.accounts), (ledger.window, ledger.accounts));
    // Of a window nothing was taken out.
    let (mut ledger, mut store) = after(&[log(1, 30, last(50)), found(7, 9, 0, last(50))]);
    take(&mut ledger, &mut store, lost(7)).unwrap();
    assert_eq!(ledger.weights(reach).values().map(|work| work.hashes()).sum::<u128>(), 30);
}

#[test]
fn as_many_blocks_wait_as_a_coinbase_takes_to_mature() {
    let reach = last(100);
    let (mut ledger, mut store) = after(&[log(1, 30, reach)]);
    for id in 0..128 {
        take(&mut ledger, &mut store, found(id, 1, 0, reach)).unwrap();
    }
    let full = Err(LedgerError::TooManyBlocks { max: 128 });
    assert_eq!(take(&mut ledger, &mut store, found(128, 1, 0, reach)), full);
    take(&mut ledger, &mut store, buried(0)).unwrap();
    take(&mut ledger, &mut store, found(128, 1, 0, reach)).unwrap();
    assert_eq!(load(&store).unwrap().pending, ledger.pending);
}

/// Two thousand workers: three records beside the block's own.
fn crowd() -> (Ledger, MemoryStore) {
    let limits = Limits { unpaid_max: Msat::MAX, workers_max: 3_000 };
    let (mut ledger, mut store) = (Ledger::new(limits).unwrap(), MemoryStore::default());
    let mut batch = Batch::default();
    let mut take = |input: &Input| {
        let step = ledger.decide(input).unwrap();
        let (before, writes) = (batch.len(), step.writes());
        let staged = step.stage(&mut batch).unwrap();
        assert!(batch.len() <= before + writes);
        ledger.apply(&staged).unwrap();
    };
    for number in 0..2_049_u16 {
        let mut key = [9; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        let credit = Credit::unpriced(Work::new(u128::from(number) + 1));
        take(&Input::Log { worker: WorkerKey::new(key), credit, reach: Reach::Round });
    }
    take(&found(7, 77_777_777, 0, Reach::Round));
    store.commit(&batch, Durability::Barrier).unwrap();
    (ledger, store)
}

#[test]
fn block_of_many_workers_is_kept_and_shared_whole() {
    let (mut ledger, mut store) = crowd();
    assert_eq!(of(&store).filter(|(key, _)| key.as_bytes().starts_with(&[6, 6])).count(), 3);
    let limits = ledger.limits();
    assert_eq!(Ledger::load(limits, &store).unwrap().pending, ledger.pending);
    take(&mut ledger, &mut store, buried(7)).unwrap();
    assert_eq!(dues(&ledger).iter().sum::<u64>(), 77_777_777);
    assert!(Ledger::load(limits, &store).unwrap().pending.is_empty());
}

#[test]
fn damaged_record_of_a_block_or_of_its_workers_is_refused() {
    let (ledger, store) = crowd();
    let kinds: [&[u8]; 4] = [&[6, 3], &[6, 4], &[6, 5], &[6, 6]];
    let mut store = store;
    let (mut shared, reach) = (ledger.clone(), Reach::Round);
    take(&mut shared, &mut store, log(1, 5, reach)).unwrap();
    take(&mut shared, &mut store, block(1, 5, 0, reach)).unwrap();
    take(&mut shared, &mut store, log(1, 5, reach)).unwrap();
    let records: Vec<_> = of(&store).collect();
    let with = |key: &Key, bytes: Option<&[u8]>| {
        let (mut damaged, mut batch) = (store.clone(), Batch::default());
        match bytes {
            Some(bytes) => batch.put(*key, bytes).unwrap(),
            None => batch.delete(*key).unwrap(),
        }
        damaged.commit(&batch, Durability::Barrier).unwrap();
        let before = damaged.clone();
        let loaded = Ledger::load(ledger.limits(), &damaged).map(|_| ());
        assert!(damaged == before, "loading writes nothing");
        loaded
    };
    for kind in kinds {
        let of_kind = |(key, _): &&(Key, Vec<u8>)| key.as_bytes().starts_with(kind);
        let (key, bytes) = records.iter().find(of_kind).expect("one of each kind");
        assert_eq!(with(key, Some(bytes)), Ok(()));
        for at in 0..bytes.len().min(150) {
            let mut rotten = bytes.clone();
            rotten[at] ^= 1;
            assert!(
                matches!(with(key, Some(&rotten)), Err(LedgerError::Store(_))),
                "{kind:?} {at}"
            );
        }
        for len in (0..bytes.len()).step_by(bytes.len().div_ceil(50)) {
            assert!(matches!(with(key, Some(&bytes[..len])), Err(LedgerError::Store(_))));
        }
        let other = envelope::seal(key, 2, &bytes[envelope::LEN..]);
        let unknown = StoreError::UnknownVersion { got: 2, known: 1 };
        assert_eq!(with(key, Some(&other)), Err(LedgerError::Store(unknown)));
        // The checksum is right, and the body is not.
        let body = &bytes[envelope::LEN..];
        for body in [&body[1..], &[body, &[0]].concat(), &[]] {
            let refused = with(key, Some(&envelope::seal(key, 1, body)));
            let is_empty_list = kind == [6, 3] && body.is_empty();
            let broken = matches!(refused, Err(LedgerError::BrokenRecord { .. }));
            assert!(broken || is_empty_list, "{kind:?} {refused:?}");
        }
    }
    // A part that is gone, or whose block is.
    for (key, _) in records.iter().filter(|(key, _)| matches!(key.as_bytes(), [6, 5 | 6, ..])) {
        assert!(matches!(with(key, None), Err(LedgerError::BrokenRecord { .. })), "{key:?}");
    }
}

#[test]
fn cut_around_every_step_of_a_block_decides_it_once() {
    let reach = Reach::Round;
    let story = [
        log(1, 300, reach),
        log(2, 77, reach),
        found(1, 99_999, 20_000, reach),
        log(2, 5, reach),
        found(2, 1_001, 0, reach),
        lost(2),
        buried(1),
        found(3, 500, 0, reach),
        buried(3),
    ];
    for at in 1..=9 {
        for side in [Cut::Before, Cut::After] {
            let mut store = FaultStore::default();
            store.cut_at(at, side);
            let (mut ledger, mut hit) = (ledger(), false);
            for input in story {
                // Shares that are in are not told again, as their count says; all else is.
                let counted = |ledger: &Ledger| ledger.accounts().map(Account::shares).sum::<u64>();
                let had = counted(&ledger);
                if let Ok(staged) = ledger.decide(&input).unwrap().commit(&mut store) {
                    ledger.apply(&staged).unwrap();
                    continue;
                }
                hit = true;
                store.restart(0);
                ledger = Ledger::load(ledger.limits(), &store).unwrap();
                if !matches!(input, Input::Log { .. }) || counted(&ledger) == had {
                    let step = ledger.decide(&input).unwrap();
                    if !step.is_empty() {
                        let staged = step.commit(&mut store).unwrap();
                        ledger.apply(&staged).unwrap();
                    }
                }
            }
            assert!(hit, "commit {at}");
            ledger.holds_together().unwrap();
            // 98,000 by 300 and 77, then 500 for the work of the block that was lost.
            assert_eq!(dues(&ledger), [77_984, 20_516], "commit {at}, {side:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever is found, buried and lost, in any order: what was buried is owed, to the last.
    #[test]
    fn only_what_is_buried_is_owed_and_all_of_it(
        steps in proptest::collection::vec((0_u8..4, 0_u8..4, 0_u8..6, 1_u128..1 << 90), 1..60),
        window in 1_u128..1 << 92,
        fee in 0_u32..=1_000_000,
    ) {
        let (mut ledger, mut store) = (ledger(), MemoryStore::default());
        let mut owed = 0;
        for (what, who, id, work) in steps {
            let reach = if window & 1 == 0 { Reach::Round } else { last(window) };
            let reward = 312_500_000_000 + u64::from(id);
            let waits = ids(&ledger).contains(&id);
            let input = match what {
                0 => log(who, work, reach),
                1 => found(id, reward, fee, reach),
                2 => buried(id),
                _ => lost(id),
            };
            let taken = take(&mut ledger, &mut store, input);
            if what == 2 && waits {
                taken.unwrap();
                owed += reward;
            }
            ledger.holds_together().unwrap();
        }
        let fee = ledger.totals().fee().floor_msat().to_msat();
        prop_assert_eq!(dues(&ledger).iter().sum::<u64>() + fee, owed);
        let again = load(&store).unwrap();
        prop_assert_eq!(again.window, ledger.window);
        prop_assert_eq!(again.accounts, ledger.accounts);
        prop_assert_eq!(again.pending, ledger.pending);
    }
}
