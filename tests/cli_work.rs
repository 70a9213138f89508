//! What `inspect` shows of work for pay: every kind of record that a pool keeps.

mod cli_support;

use std::fs;

use bitcoin::OutPoint;
use cli_support::{Dirs, bad, good, path};
use millstream::db::RedbStore;
use millstream::ledger::scheme::{FoundBlock, Reach};
use millstream::ledger::{Credit, HashPrice, Input, Ledger, Limits, WorkerKey};
use millstream::store::{Batch, Durability, Key, Store, envelope};
use millstream::units::{Blocks, Height, Msat, Ppm, Work};
use serde_json::{Value, json};

/// Two workers, one of them with a channel; a block that was shared, and one that waits.
fn stage(batch: &mut Batch) {
    let mut ledger = Ledger::new(Limits::default()).unwrap();
    let mut take = |input: Input| {
        let staged = ledger.decide(&input).unwrap().stage(batch).unwrap();
        ledger.apply(&staged).unwrap();
    };
    let worker = |byte| WorkerKey::new([byte; 32]);
    let price = HashPrice::from_q96(1 << 95).unwrap();
    let credit = Credit::priced(Work::new(3), price).unwrap();
    take(Input::Credit { worker: worker(1), credit });
    take(Input::Bind { worker: worker(1), channel: OutPoint::null(), paid: Msat::ZERO });
    let reach = Reach::Last(Work::new(100));
    for byte in [1, 2] {
        let credit = Credit::unpriced(Work::new(10));
        take(Input::Log { worker: worker(byte), credit, reach });
    }
    let reward = Msat::new(1_000).unwrap();
    let fee = Ppm::new(10_000).unwrap();
    take(Input::Block { id: [7; 32], reward, fee, reach });
    let (height, depth) = (Height::new(9).unwrap(), Blocks::new(6).unwrap());
    let mut id = [8; 32];
    id[31] = 9;
    let coinbase = OutPoint::null();
    take(Input::Found(FoundBlock { id, coinbase, height, depth, reward, fee, reach }));
}

#[test]
fn inspect_shows_every_record_of_work_and_names_one_that_is_damaged() {
    let dirs = Dirs::new();
    let house = dirs.at("house");
    fs::create_dir(&house).unwrap();
    let mut batch = Batch::default();
    stage(&mut batch);
    // Budget 5 of 700 msat; one place, whose outpoint is output 1 of a transaction of ones.
    let line = Key::new(&[&[0x01, 0x08][..], &[1; 32]].concat()).unwrap();
    let parts = [&5_u64.to_be_bytes()[..], &700_u64.to_be_bytes(), &[1], &[0x11; 32]].concat();
    let body = [&parts[..], &[0, 0, 0, 1], &[0; 16]].concat();
    batch.put(line, &envelope::seal(&line, 1, &body)).unwrap();
    let mut store = RedbStore::open(&house.join("store.redb")).unwrap();
    store.commit(&batch, Durability::Barrier).unwrap();
    drop(store);
    let shown = good(&["inspect", "--dir", path(&house), "--json"]);
    let records: Vec<Value> = shown.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let of = |kind: &str| {
        let found = records.iter().filter(|record| record["record"] == kind);
        found.cloned().collect::<Vec<_>>()
    };
    assert!(of("unknown").is_empty() && of("unreadable").is_empty(), "{shown}");
    assert_eq!(of("work line")[0]["channel"], format!("{}:1", "11".repeat(32)));
    assert_eq!((&of("work line")[0]["budget_msat"], &json!(700)), (&json!(700), &json!(700)));
    assert_eq!(of("account").len(), 2);
    // Half of 990, and of three hashes.
    assert_eq!(of("account")[0]["due_msat"], 496);
    assert_eq!(of("ledger").len(), 1);
    assert_eq!(of("blocks decided")[0]["ids"], json!(["07".repeat(32)]));
    assert_eq!(of("logged work").len(), 2);
    assert_eq!(of("logged work")[0]["work"], "10");
    let block = &of("block")[0];
    let id = format!("09{}", "08".repeat(31));
    assert_eq!((&block["id"], &block["depth"]), (&json!(id), &json!(6)));
    assert_eq!((&block["over_work"], &block["reward_msat"]), (&json!("100"), &json!(1_000)));
    assert_eq!(of("block's workers")[0]["workers"], 2);

    // A line without a place.
    let mut batch = Batch::default();
    batch.put(line, &envelope::seal(&line, 1, &body[..17])).unwrap();
    let mut store = RedbStore::open(&house.join("store.redb")).unwrap();
    store.commit(&batch, Durability::Barrier).unwrap();
    drop(store);
    let refused = bad(&["inspect", "--dir", path(&house)]);
    assert!(refused.contains("1 records cannot be read"), "{refused}");
    assert!(refused.contains("the line of a worker"), "{refused}");
}
