//! The suite that every backend passes.
//!
//! Each case empties the store, writes, and reads back twice: at once, and after the caller's
//! closure closed the store and opened it again. What a power cut leaves is not asked here, since
//! only the backend's own medium can be cut; see [`fault`](super::fault) and `sim`.
//!
//! Used by the tests of every backend, those of other crates included.
//!
//! ```
//! use millstream::store::{MemoryStore, conformance};
//!
//! let checks = conformance::run(MemoryStore::default(), |store| store)?;
//! assert!(checks > 20);
//! # Ok::<(), conformance::Failure>(())
//! ```

use alloc::vec;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::{Batch, Durability, Key, MemoryStore, Store, StoreError};

/// Which case a backend failed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The store answered something else than the trait promises.
    #[error("{case}, reopened {reopened}: {why}")]
    Wrong {
        /// Name of the case.
        case: &'static str,
        /// Whether the store had been opened again.
        reopened: bool,
        /// What was expected.
        why: &'static str,
    },
    /// The store refused what it must accept.
    #[error("{case}, reopened {reopened}: {error}")]
    Refused {
        /// Name of the case.
        case: &'static str,
        /// Whether the store had been opened again.
        reopened: bool,
        /// The error.
        error: StoreError,
    },
}

/// Runs every case on `store`, which it empties; returns the number of read-backs that agreed.
///
/// `reopen` closes the store in the usual way and opens it again on the same medium. A store that
/// is only memory returns what it was given.
///
/// # Errors
/// The first [`Failure`].
pub fn run<S: Store>(store: S, mut reopen: impl FnMut(S) -> S) -> Result<u32, Failure> {
    let mut store = store;
    let mut checks: u32 = 0;
    for case in CASES {
        let failed = |reopened, fault| match fault {
            Fault::Why(why) => Failure::Wrong { case: case.name, reopened, why },
            Fault::Store(error) => Failure::Refused { case: case.name, reopened, error },
        };
        empty(&mut store).map_err(|fault| failed(false, fault))?;
        (case.write)(&mut store).map_err(|fault| failed(false, fault))?;
        (case.check)(&store, false).map_err(|fault| failed(false, fault))?;
        store = reopen(store);
        (case.check)(&store, true).map_err(|fault| failed(true, fault))?;
        checks = checks.saturating_add(2);
    }
    Ok(checks)
}

/// What a case found.
enum Fault {
    Why(&'static str),
    Store(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Writes once, and reads back at once (false) and after the store was opened again (true).
struct Case {
    name: &'static str,
    write: fn(&mut dyn Store) -> Result<(), Fault>,
    check: fn(&dyn Store, bool) -> Result<(), Fault>,
}

const CASES: [Case; 11] = [
    Case { name: "an emptied store is empty", write: |_| Ok(()), check: |s, _| holds(s, &[]) },
    Case { name: "the newest value wins", write: newest, check: newest_wins },
    Case { name: "a delete removes one key", write: delete, check: deleted },
    Case { name: "an empty value is a value", write: no_bytes, check: no_bytes_kept },
    Case { name: "the limits are allowed", write: largest, check: largest_kept },
    Case { name: "a scan is ordered and bounded", write: ladder, check: ladder_scanned },
    Case { name: "a batch applies whole", write: crowd, check: crowd_replaced },
    Case { name: "an empty batch changes nothing", write: nothing, check: nothing_changed },
    Case { name: "a barrier carries lazy commits", write: lazy, check: lazy_kept },
    Case { name: "lazy commits keep their order", write: all_lazy, check: lazy_ordered },
    Case { name: "commits agree with the model", write: mixed, check: model_agrees },
];

fn newest(store: &mut dyn Store) -> Result<(), Fault> {
    put(store, &[(b"k", b"1"), (b"l", b"1")], Durability::Barrier)?;
    put(store, &[(b"k", b"2"), (b"k", b"3")], Durability::Barrier)
}

fn newest_wins(store: &dyn Store, _: bool) -> Result<(), Fault> {
    holds(store, &[(b"k", b"3"), (b"l", b"1")])
}

fn delete(store: &mut dyn Store) -> Result<(), Fault> {
    put(store, &[(b"a", b"1"), (b"b", b"1"), (b"c", b"1"), (b"d", b"1")], Durability::Barrier)?;
    let mut batch = Batch::default();
    batch.delete(Key::new(b"a")?)?;
    batch.delete(Key::new(b"absent")?)?;
    // Within one batch, too, the later write counts.
    batch.delete(Key::new(b"b")?)?;
    batch.put(Key::new(b"b")?, b"2")?;
    batch.put(Key::new(b"c")?, b"2")?;
    batch.delete(Key::new(b"c")?)?;
    Ok(store.commit(&batch, Durability::Barrier)?)
}

fn deleted(store: &dyn Store, _: bool) -> Result<(), Fault> {
    holds(store, &[(b"b", b"2"), (b"d", b"1")])?;
    require(store.get(&Key::new(b"a")?)?.is_none(), "a deleted key reads as absent")
}

fn no_bytes(store: &mut dyn Store) -> Result<(), Fault> {
    put(store, &[(b"k", b"")], Durability::Barrier)
}

fn no_bytes_kept(store: &dyn Store, _: bool) -> Result<(), Fault> {
    holds(store, &[(b"k", b"")])
}

fn largest_records() -> Result<[(Key, Vec<u8>); 3], StoreError> {
    let value: Vec<u8> = (0..=u8::MAX).cycle().take(Batch::VALUE_MAX).collect();
    Ok([
        (Key::new(&[0])?, vec![0; Batch::VALUE_MAX]),
        (Key::new(&[0; Key::MAX])?, Vec::new()),
        (Key::new(&[u8::MAX; Key::MAX])?, value),
    ])
}

fn largest(store: &mut dyn Store) -> Result<(), Fault> {
    let mut batch = Batch::default();
    for (key, value) in largest_records()? {
        batch.put(key, &value)?;
    }
    Ok(store.commit(&batch, Durability::Barrier)?)
}

fn largest_kept(store: &dyn Store, _: bool) -> Result<(), Fault> {
    let records = largest_records()?;
    let want: Vec<(&[u8], &[u8])> =
        records.iter().map(|(key, value)| (key.as_bytes(), value.as_slice())).collect();
    holds(store, &want)
}

/// Keys around the ends of the prefixes `03` and `ff`, in order.
const LADDER: [&[u8]; 8] =
    [&[2, 255], &[3], &[3, 0], &[3, 0, 0], &[3, 255], &[3, 255, 255], &[4], &[255, 255]];

fn ladder(store: &mut dyn Store) -> Result<(), Fault> {
    let rungs: Vec<(&[u8], &[u8])> = LADDER.iter().rev().map(|key| (*key, *key)).collect();
    put(store, &rungs, Durability::Barrier)
}

fn ladder_scanned(store: &dyn Store, _: bool) -> Result<(), Fault> {
    let too_long = [3; 65];
    let prefixes: [&[u8]; 10] =
        [&[], &[2], &[3], &[3, 0], &[3, 255], &[4], &[5], &[255], &[255, 255], &too_long];
    for prefix in prefixes {
        let want: Vec<&[u8]> =
            LADDER.iter().filter(|key| key.starts_with(prefix)).copied().collect();
        let seen = scan(store, prefix)?;
        let seen: Vec<&[u8]> = seen.iter().map(|(key, _)| key.as_bytes()).collect();
        require(seen == want, "a scan shows the keys of its prefix, all and in order")?;
    }
    let mut seen: u32 = 0;
    store.scan(&[3], &mut |_, _| {
        seen = seen.saturating_add(1);
        if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    require(seen == 2, "a scan stops when it is told to")
}

/// 1,000 keys do not fit into one page of any database.
const CROWD: u16 = 1_000;

fn crowd(store: &mut dyn Store) -> Result<(), Fault> {
    for round in [1_u8, 2] {
        let mut batch = Batch::default();
        for n in 0..CROWD {
            batch.put(Key::new(&n.to_be_bytes())?, &[round; 100])?;
        }
        if round == 2 {
            batch.delete(Key::new(&0_u16.to_be_bytes())?)?;
        }
        store.commit(&batch, Durability::Barrier)?;
    }
    Ok(())
}

fn crowd_replaced(store: &dyn Store, _: bool) -> Result<(), Fault> {
    let seen = scan(store, &[])?;
    let keys: Vec<Vec<u8>> = (1..CROWD).map(|n| n.to_be_bytes().to_vec()).collect();
    let in_order = seen.iter().map(|(key, _)| key.as_bytes()).eq(keys.iter().map(Vec::as_slice));
    require(in_order, "every key of the batch stands, in order, and the deleted one is gone")?;
    require(seen.iter().all(|(_, value)| *value == [2; 100]), "every value is of the last batch")
}

fn nothing(store: &mut dyn Store) -> Result<(), Fault> {
    put(store, &[(b"k", b"1")], Durability::Barrier)?;
    store.commit(&Batch::default(), Durability::Lazy)?;
    Ok(store.commit(&Batch::default(), Durability::Barrier)?)
}

fn nothing_changed(store: &dyn Store, _: bool) -> Result<(), Fault> {
    holds(store, &[(b"k", b"1")])
}

fn lazy(store: &mut dyn Store) -> Result<(), Fault> {
    put(store, &[(b"k", b"1"), (b"l", b"1")], Durability::Lazy)?;
    put(store, &[(b"k", b"2")], Durability::Barrier)?;
    put(store, &[(b"m", b"3")], Durability::Lazy)?;
    Ok(store.commit(&Batch::default(), Durability::Barrier)?)
}

fn lazy_kept(store: &dyn Store, _: bool) -> Result<(), Fault> {
    holds(store, &[(b"k", b"2"), (b"l", b"1"), (b"m", b"3")])
}

fn all_lazy(store: &mut dyn Store) -> Result<(), Fault> {
    put(store, &[(b"k", b"1")], Durability::Lazy)?;
    put(store, &[(b"k", b"2"), (b"l", b"2")], Durability::Lazy)?;
    put(store, &[(b"m", b"3")], Durability::Lazy)
}

fn lazy_ordered(store: &dyn Store, reopened: bool) -> Result<(), Fault> {
    let all: &[(&[u8], &[u8])] = &[(b"k", b"2"), (b"l", b"2"), (b"m", b"3")];
    if !reopened {
        return holds(store, all);
    }
    // Without a barrier any number of the oldest commits may have lasted, in their order.
    let may: [&[(&[u8], &[u8])]; 4] = [&[], &[(b"k", b"1")], &[(b"k", b"2"), (b"l", b"2")], all];
    let lasted = may.iter().any(|want| holds(store, want).is_ok());
    require(lasted, "a later lazy commit lasts only with the earlier ones")
}

/// 200 commits of 1 to 8 writes over 50 keys, from a fixed sequence, ending with a barrier.
fn mixture() -> Result<Vec<(Batch, Durability)>, StoreError> {
    let mut state: u32 = 1;
    let mut draw = |below: u32| {
        // Any sequence serves as long as it is always the same: Numerical Recipes' generator.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8).checked_rem(below).unwrap_or_default()
    };
    let mut commits = Vec::new();
    for n in 0_u32..200 {
        let mut batch = Batch::default();
        for _ in 0..=draw(8) {
            let key = Key::from_parts(&[b"k", &draw(50).to_be_bytes()])?;
            match usize::try_from(draw(400)).unwrap_or_default() {
                len @ 80.. => batch.put(key, &n.to_be_bytes().repeat(len / 4))?,
                _ => batch.delete(key)?,
            }
        }
        let barrier = draw(3) == 0 || n == 199;
        commits.push((batch, if barrier { Durability::Barrier } else { Durability::Lazy }));
    }
    Ok(commits)
}

fn mixed(store: &mut dyn Store) -> Result<(), Fault> {
    let mut model = MemoryStore::default();
    for (batch, durability) in mixture()? {
        store.commit(&batch, durability)?;
        model.commit(&batch, durability)?;
        require(
            scan(store, &[])? == scan(&model, &[])?,
            "each commit leaves what the model holds",
        )?;
    }
    Ok(())
}

fn model_agrees(store: &dyn Store, _: bool) -> Result<(), Fault> {
    let mut model = MemoryStore::default();
    for (batch, durability) in mixture()? {
        model.commit(&batch, durability)?;
    }
    require(scan(store, &[])? == scan(&model, &[])?, "the store holds what the model holds")
}

fn put(
    store: &mut dyn Store,
    records: &[(&[u8], &[u8])],
    durability: Durability,
) -> Result<(), Fault> {
    let mut batch = Batch::default();
    for (key, value) in records {
        batch.put(Key::new(key)?, value)?;
    }
    Ok(store.commit(&batch, durability)?)
}

/// The store holds exactly `want`, by scan and by look-up.
fn holds(store: &dyn Store, want: &[(&[u8], &[u8])]) -> Result<(), Fault> {
    let seen = scan(store, &[])?;
    let same = seen.iter().map(|(key, value)| (key.as_bytes(), value.as_slice()));
    require(same.eq(want.iter().copied()), "a scan of everything shows just what was written")?;
    for (key, value) in want {
        let got = store.get(&Key::new(key)?)?;
        require(got.as_deref() == Some(*value), "a look-up agrees with the scan")?;
    }
    require(store.get(&Key::new(b"never written")?)?.is_none(), "an absent key reads as absent")
}

fn scan(store: &dyn Store, prefix: &[u8]) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
    let mut seen = Vec::new();
    store.scan(prefix, &mut |key, value| {
        seen.push((*key, value.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(seen)
}

fn empty(store: &mut dyn Store) -> Result<(), Fault> {
    let mut batch = Batch::default();
    for (key, _) in scan(store, &[])? {
        batch.delete(key)?;
    }
    Ok(store.commit(&batch, Durability::Barrier)?)
}

fn require(holds: bool, why: &'static str) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::Why(why)) }
}
