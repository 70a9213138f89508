//! A pool's records after damage: cut short, flipped, of another format, or with a right checksum
//! over what was never written. Each is a typed error, and loading writes nothing.

#[path = "node_work/pool.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod pool;

use core::ops::ControlFlow;

use millstream::keys::{Context, Entropy};
use millstream::ledger::scheme::{FoundBlock, Reach};
use millstream::ledger::{Credit, LedgerError};
use millstream::node::{Command, Node, NodeError};
use millstream::signer::MemorySigner;
use millstream::store::{Batch, Durability, Key, MemoryStore, Store, StoreError, envelope};
use millstream::units::{Height, Ppm, Work};
use pool::{Stage, blocks, msat};

/// A worker's line; and of the ledger: blocks that were decided, logged work, a block that waits,
/// and who worked for it.
const KINDS: [&[u8]; 5] =
    [&[0x01, 0x08], &[0x06, 0x03], &[0x06, 0x04], &[0x06, 0x05], &[0x06, 0x06]];

/// Two workers; one block was shared, one waits, and there is work for the next.
fn stage() -> Stage {
    let mut stage = Stage::bound(2);
    let reach = Reach::Last(Work::new(1_000));
    for (id, depth) in [(1, 0), (2, 6)] {
        for nth in 0..2 {
            let (worker, credit) = (stage.workers[nth].key, Credit::unpriced(Work::new(10)));
            let log = Command::LogWork { worker, credit, reach };
            stage.world.command(stage.pool, log).unwrap();
        }
        let block = FoundBlock {
            id: [id; 32],
            coinbase: bitcoin::OutPoint { vout: id.into(), ..bitcoin::OutPoint::null() },
            height: Height::new(1_000).unwrap(),
            depth: blocks(depth),
            reward: msat(1_000),
            fee: Ppm::MIN,
            reach,
        };
        stage.world.command(stage.pool, Command::FindBlock(block)).unwrap();
        stage.settle_down();
    }
    stage
}

fn records(stage: &Stage) -> Vec<(Key, Vec<u8>)> {
    let mut all = Vec::new();
    let mut keep = |key: &Key, value: &[u8]| {
        all.push((*key, value.to_vec()));
        ControlFlow::Continue(())
    };
    stage.world.end(stage.pool).unwrap().store().scan(&[], &mut keep).unwrap();
    all
}

/// The pool's node from its records, one of them in another form.
fn load(stage: &Stage, changed: &Key, bytes: &[u8]) -> Result<(), NodeError> {
    let (mut store, mut batch) = (MemoryStore::default(), Batch::default());
    for (key, value) in records(stage) {
        batch.put(key, if key == *changed { bytes } else { &value }).unwrap();
    }
    store.commit(&batch, Durability::Barrier).unwrap();
    let before = store.clone();
    let machine = stage.world.end(stage.pool).unwrap().machine();
    let zeros = Entropy::new([0; 32]);
    let (network, policy) = (machine.config.network, machine.policy);
    let signer = MemorySigner::new(machine.seed(), network, policy, None, &zeros).unwrap();
    let loaded = Node::load(machine.config.clone(), Context::new(), signer, &store);
    assert!(store == before, "the store was touched");
    loaded.map(|_| ())
}

/// Each kind's first record.
fn each(stage: &Stage) -> Vec<(Key, Vec<u8>)> {
    let all = records(stage);
    let first = |kind: &&[u8]| all.iter().find(|(key, _)| key.as_bytes().starts_with(kind));
    KINDS.iter().map(|kind| first(kind).expect("one of each kind").clone()).collect()
}

fn of_store(error: NodeError) -> StoreError {
    match error {
        NodeError::Store(error) | NodeError::Ledger(LedgerError::Store(error)) => error,
        error => panic!("{error:?}"),
    }
}

#[test]
fn records_of_work_load_as_they_were_written() {
    let stage = stage();
    for (key, bytes) in each(&stage) {
        assert_eq!(load(&stage, &key, &bytes), Ok(()));
    }
}

#[test]
fn record_of_work_that_is_cut_short_or_flipped_is_refused() {
    let stage = stage();
    for (key, bytes) in each(&stage) {
        for len in 0..bytes.len() {
            let error = of_store(load(&stage, &key, &bytes[..len]).unwrap_err());
            let named = matches!(error, StoreError::Truncated { .. } | StoreError::Rotted { .. });
            assert!(named, "{key:?} {len}: {error:?}");
        }
        for at in 1..bytes.len() {
            let mut rotten = bytes.clone();
            rotten[at] ^= 0x10;
            let error = of_store(load(&stage, &key, &rotten).unwrap_err());
            assert!(matches!(error, StoreError::Rotted { .. }), "{key:?} {at}: {error:?}");
        }
    }
}

#[test]
fn record_of_work_in_another_format_is_refused_by_its_number() {
    let stage = stage();
    for (key, bytes) in each(&stage) {
        let newer = envelope::seal(&key, 2, &bytes[envelope::LEN..]);
        let error = of_store(load(&stage, &key, &newer).unwrap_err());
        assert_eq!(error, StoreError::UnknownVersion { got: 2, known: 1 });
    }
}

#[test]
fn record_of_work_with_bytes_too_few_or_too_many_is_refused() {
    let stage = stage();
    for (key, bytes) in each(&stage) {
        let body = &bytes[envelope::LEN..];
        for body in [&body[..body.len() - 1], &body[1..], &[body, &[0]].concat()] {
            let refused = load(&stage, &key, &envelope::seal(&key, 1, body)).unwrap_err();
            let named = matches!(
                refused,
                NodeError::BrokenRecord { .. }
                    | NodeError::Wire(_)
                    | NodeError::Ledger(LedgerError::BrokenRecord { .. })
            );
            assert!(named, "{key:?}: {refused:?}");
        }
    }
}

#[test]
fn line_of_a_worker_that_its_account_does_not_know_is_refused() {
    let stage = stage();
    let (key, bytes) = each(&stage).swap_remove(0);
    let mut body = bytes[envelope::LEN..].to_vec();
    // The first byte of the channel, behind the budget and the count.
    body[17] ^= 1;
    let refused = load(&stage, &key, &envelope::seal(&key, 1, &body));
    assert_eq!(refused, Err(NodeError::BrokenRecord { key, what: "channel" }));
}
