//! The window against a list of every share, and at its bound.

use super::*;
use crate::ledger::scheme::Reach;
use crate::ledger::window::{Slot, Window};

/// What each worker's shares count in the last `window`, share by share; the one that is cut
/// counts with the part that is inside.
fn model(shares: &[(u8, u128)], window: u128) -> BTreeMap<WorkerKey, u128> {
    let mut left = window;
    let mut weights = BTreeMap::new();
    for (who, work) in shares.iter().rev() {
        let inside = left.min(*work);
        *weights.entry(worker(*who)).or_default() += inside;
        left -= inside;
    }
    weights
}

fn shares() -> impl Strategy<Value = alloc::vec::Vec<(u8, u128)>> {
    proptest::collection::vec((0_u8..6, 1_u128..400), 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn weights_add_up_to_the_reach_and_are_right_to_a_bucket(
        shares in shares(), window in 1_u128..20_000,
    ) {
        let reach = Reach::Last(Work::new(window));
        let mut log = Window::new(Window::ENTRIES_MAX);
        for (who, work) in &shares {
            let slots = log.log(worker(*who), Work::new(*work), reach).unwrap();
            log.apply(&slots);
            prop_assert!(log.holds_together());
        }
        let weights = log.weights(reach);
        let sum: u128 = weights.values().map(|work| work.hashes()).sum();
        let logged: u128 = shares.iter().map(|(_, work)| work).sum();
        prop_assert_eq!(sum, window.min(logged));
        // A bucket is a 64th, and the share that filled it.
        let bucket = window / 64 + 400;
        for (who, exact) in model(&shares, window) {
            let weight = weights.get(&who).map_or(0, |work| work.hashes());
            prop_assert!(weight.abs_diff(exact) <= bucket, "{weight} of {exact}");
        }
        // It keeps no more than it needs.
        prop_assert!(log.total().unwrap().hashes() <= window + bucket);
    }

    #[test]
    fn full_window_keeps_every_hash_and_its_worker(shares in shares()) {
        let reach = Reach::Last(Work::new(40_000));
        let mut log = Window::new(12);
        let mut records = BTreeMap::new();
        for (who, work) in &shares {
            let slots = log.log(worker(*who), Work::new(*work), reach).unwrap();
            log.apply(&slots);
            let mut batch = Batch::default();
            slots.iter().try_for_each(|slot| slot.stage(&mut batch)).unwrap();
            for (key, value) in batch.iter() {
                match value {
                    Some(value) => records.insert(*key, value.to_vec()),
                    None => records.remove(key),
                };
            }
            prop_assert!(log.holds_together());
        }
        let mut sums = BTreeMap::new();
        for (who, work) in &shares {
            *sums.entry(worker(*who)).or_default() += work;
        }
        let total: u128 = sums.values().sum();
        if total <= 40_000 {
            let weights = log.weights(Reach::Round);
            let weights: BTreeMap<_, _> =
                weights.into_iter().map(|(who, work)| (who, work.hashes())).collect();
            prop_assert_eq!(weights, sums);
        }
        // What a restart reads is what there is.
        let mut again = Window::new(12);
        for (key, value) in &records {
            again.apply(&[Slot::decode(key, value).unwrap()]);
        }
        prop_assert_eq!(again, log);
    }
}

#[test]
fn one_worker_more_than_entries_is_refused() {
    let mut log = Window::new(3);
    let reach = Reach::Last(Work::new(64));
    for who in 0..3 {
        let slots = log.log(worker(who), Work::new(1), reach).unwrap();
        log.apply(&slots);
    }
    let full = log.log(worker(3), Work::new(1), reach);
    assert_eq!(full, Err(LedgerError::WindowFull { max: 3 }));
    // Whoever is in it goes on.
    let slots = log.log(worker(2), Work::new(5), reach).unwrap();
    log.apply(&slots);
    assert_eq!(log.total().unwrap(), Work::new(8));
}

#[test]
fn entry_that_could_not_have_been_written_is_refused() {
    let mut log = Window::new(3);
    let slots = log.log(worker(1), Work::new(7), Reach::Round).unwrap();
    log.apply(&slots);
    let mut batch = Batch::default();
    slots[0].stage(&mut batch).unwrap();
    let (key, value) = batch.iter().next().unwrap();
    assert_eq!(Slot::decode(key, value.unwrap()), Ok(slots[0]));
    let sealed = |body: &[u8]| crate::store::envelope::seal(key, 1, body);
    for body in [&[0_u8; 16][..], &[1; 15], &[1; 17]] {
        assert!(Slot::decode(key, &sealed(body)).is_err());
    }
    let longer = Key::from_parts(&[key.as_bytes(), &[0]]).unwrap();
    assert!(Slot::decode(&longer, &crate::store::envelope::seal(&longer, 1, &[1; 16])).is_err());
}
