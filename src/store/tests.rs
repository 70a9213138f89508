//! Unit tests of `store`: one behaviour each, named for it.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::fault::{Cut, FaultStore};
use super::*;

fn key(bytes: &[u8]) -> Key {
    Key::new(bytes).unwrap()
}

fn one(bytes: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(key(bytes), value).unwrap();
    batch
}

#[test]
fn key_length_is_checked_on_both_sides() {
    assert_eq!(Key::new(&[]), Err(StoreError::KeyEmpty));
    assert_eq!(key(&[1]).as_bytes(), [1]);
    assert_eq!(key(&[7; 64]).as_bytes(), [7; 64]);
    assert_eq!(Key::new(&[7; 65]), Err(StoreError::KeyTooLong { got: 65, max: 64 }));
    assert_eq!(Key::from_parts(&[&[1], &[2, 3]]), Ok(key(&[1, 2, 3])));
}

#[test]
fn keys_order_as_their_bytes_do() {
    let mut keys: Vec<&[u8]> = Vec::from([
        &[0][..],
        &[0, 0],
        &[0, 1],
        &[1],
        &[1, 0],
        &[1, 0, 255],
        &[1, 1],
        &[255],
        &[255, 0],
    ]);
    keys.reverse();
    keys.sort_by_key(|bytes| key(bytes));
    assert!(keys.is_sorted());
}

#[test]
fn batch_of_two_writes_to_one_key_keeps_the_later() {
    let mut batch = one(b"k", b"first");
    batch.delete(key(b"k")).unwrap();
    assert_eq!(batch.iter().collect::<Vec<_>>(), [(&key(b"k"), None)]);
    assert_eq!((batch.len(), batch.bytes()), (1, 1));
    batch.append(one(b"k", b"third")).unwrap();
    assert_eq!(batch, one(b"k", b"third"));
    assert_eq!((batch.len(), batch.bytes()), (1, 6));
}

#[test]
fn batch_above_a_limit_is_refused_unchanged() {
    let mut batch = one(b"k", &vec![0; Batch::VALUE_MAX]);
    let before = batch.clone();
    let long = StoreError::ValueTooLong { got: 65_536, max: 65_535 };
    assert_eq!(batch.put(key(b"l"), &vec![0; Batch::VALUE_MAX + 1]), Err(long));
    assert_eq!(batch, before);

    for n in 1..511_u16 {
        let key = Key::from_parts(&[b"x", &n.to_be_bytes()]).unwrap();
        batch.put(key, &vec![0; Batch::VALUE_MAX]).unwrap();
    }
    let room = Batch::BYTES_MAX - batch.bytes();
    let before = batch.clone();
    let heavy = StoreError::BatchBytes { got: Batch::BYTES_MAX + 1, max: Batch::BYTES_MAX };
    assert_eq!(batch.put(key(b"z"), &vec![0; 65_535][..room]), Err(heavy));
    assert_eq!(batch.append(one(b"z", &vec![0; 65_535][..room])), Err(heavy));
    assert_eq!(batch, before);
    batch.put(key(b"z"), &vec![0; 65_535][..room - 1]).unwrap();
    assert_eq!(batch.bytes(), Batch::BYTES_MAX);
}

#[test]
fn batch_of_too_many_keys_is_refused_unchanged() {
    let mut batch = Batch::default();
    for n in 0..65_536_u32 {
        batch.delete(key(&n.to_be_bytes())).unwrap();
    }
    let before = batch.clone();
    let crowded = StoreError::BatchEntries { max: 65_536 };
    assert_eq!(batch.delete(key(b"k")), Err(crowded));
    assert_eq!(batch.append(one(b"k", b"v")), Err(crowded));
    assert_eq!(batch, before);
    // A key that it has already takes no further place.
    batch.put(key(&7_u32.to_be_bytes()), b"v").unwrap();
}

#[test]
fn memory_and_fault_store_conform() {
    assert_eq!(conformance::run(MemoryStore::default(), |store| store), Ok(22));
    let reopen = |mut store: FaultStore| {
        store.cut();
        store.restart(1);
        store
    };
    assert_eq!(conformance::run(FaultStore::default(), reopen), Ok(22));
}

/// A store that breaks one promise, to see that the suite notices.
struct Broken(MemoryStore, u8);

impl Store for Broken {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.0.get(key)?;
        Ok(if self.1 == 0 { value.filter(|value| !value.is_empty()) } else { value })
    }

    fn scan(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&Key, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut seen = Vec::new();
        self.0.scan(if self.1 == 1 { &[] } else { prefix }, &mut |key, value| {
            seen.push((*key, value.to_vec()));
            ControlFlow::Continue(())
        })?;
        if self.1 == 2 {
            seen.reverse();
        }
        for (key, value) in seen {
            if visitor(&key, &value).is_break() && self.1 != 3 {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        let mut batch = batch.clone();
        match self.1 {
            // Loses what is lazy, half of what is large, or every delete.
            4 if durability == Durability::Lazy => batch.clear(),
            5 if batch.len() > 500 => {
                batch.put(key(&7_u16.to_be_bytes()), b"half").unwrap();
            }
            6 => {
                let puts = batch.clone();
                batch.clear();
                for (key, value) in puts.iter().filter_map(|(key, value)| Some((key, value?))) {
                    batch.put(*key, value).unwrap();
                }
            }
            _ => {}
        }
        self.0.commit(&batch, durability)
    }
}

#[test]
fn conformance_of_a_broken_store_fails() {
    for broken in 0..=6 {
        let found = conformance::run(Broken(MemoryStore::default(), broken), |store| store);
        assert!(found.is_err(), "breach {broken} was not noticed");
    }
    let sound = conformance::run(Broken(MemoryStore::default(), 7), |store| store);
    assert_eq!(sound, Ok(22));
    // A store that forgets when it is closed; and one that keeps a later lazy commit only.
    let forgets = |_| MemoryStore::default();
    assert!(conformance::run(MemoryStore::default(), forgets).is_err());
}

#[test]
fn cut_loses_lazy_commits_from_the_newest_on() {
    for kept in 0..=4 {
        let mut store = FaultStore::default();
        store.commit(&one(b"a", b"0"), Durability::Barrier).unwrap();
        for n in [b"1", b"2", b"3"] {
            store.commit(&one(b"a", n), Durability::Lazy).unwrap();
        }
        store.cut();
        assert_eq!(store.get(&key(b"a")), Err(StoreError::PowerLost { commit: 4 }));
        store.restart(kept);
        let lasted = [b"0", b"1", b"2", b"3", b"3"][kept];
        assert_eq!(store.get(&key(b"a")).unwrap().as_deref(), Some(&lasted[..]));
    }
}

#[test]
fn cut_at_a_commit_stops_the_store_before_or_after_it() {
    for (side, lasted) in [(Cut::Before, None), (Cut::After, Some(&b"v"[..]))] {
        let mut store = FaultStore::default();
        store.cut_at(2, side);
        store.commit(&one(b"a", b"v"), Durability::Barrier).unwrap();
        let lost = StoreError::PowerLost { commit: 2 };
        assert_eq!(store.commit(&one(b"b", b"v"), Durability::Barrier), Err(lost));
        assert_eq!(store.commit(&one(b"c", b"v"), Durability::Barrier), Err(lost));
        assert_eq!(store.scan(&[], &mut |_, _| ControlFlow::Continue(())), Err(lost));
        store.restart(0);
        assert!(store.get(&key(b"a")).unwrap().is_some());
        assert_eq!(store.get(&key(b"b")).unwrap().as_deref(), lasted);
        assert!(store.get(&key(b"c")).unwrap().is_none());
        assert_eq!((store.commits(), store.barriers()), (2, 1));
        store.commit(&one(b"c", b"v"), Durability::Barrier).unwrap();
    }
}

#[test]
fn full_store_refuses_and_keeps_what_it_has() {
    let mut store = FaultStore::new(MemoryStore::default());
    store.fill_at(Some(4));
    store.commit(&one(b"a", b"123"), Durability::Barrier).unwrap();
    assert_eq!(store.commit(&one(b"b", b""), Durability::Barrier), Err(StoreError::Full));
    assert_eq!(store.get(&key(b"b")), Ok(None));
    // A smaller value and a delete still fit.
    store.commit(&one(b"a", b"12"), Durability::Barrier).unwrap();
    store.fill_at(None);
    store.commit(&one(b"b", b"123"), Durability::Barrier).unwrap();
    assert_eq!(store.durable().bytes(), 7);
}

#[test]
fn rotted_record_is_refused_by_its_envelope() {
    let mut store = FaultStore::default();
    let record = envelope::seal(&key(b"a"), 1, b"body");
    store.commit(&one(b"a", &record), Durability::Barrier).unwrap();
    assert!(!store.rot(&key(b"b"), 0, 1));
    assert!(!store.rot(&key(b"a"), record.len(), 1));
    assert!(store.rot(&key(b"a"), 7, 0x10));
    let rotted = store.get(&key(b"a")).unwrap().unwrap();
    assert!(matches!(envelope::open(&key(b"a"), 1, &rotted), Err(StoreError::Rotted { .. })));
}
