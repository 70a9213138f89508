//! Replays the seeds of every fuzz target through its body.
//!
//! `fuzz/seeds/TARGET/` holds hand-made inputs and whatever a fuzzer once found; `fuzz/` runs the
//! same bodies under libFuzzer. A target without a body or without seeds fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bitcoin::Network;
use millstream::keys::{Context, Entropy, Seed};
use millstream::meter::tariff::Tariff;
use millstream::meter::{Record, Statement};
use millstream::node::{Node, NodeError};
use millstream::signer::MemorySigner;
use millstream::signer::budget::BudgetRecord;
use millstream::sim::fuzz;
use millstream::sim::pair::{Counters, Pairs};
use millstream::sim::world::Machine;
use millstream::store::{Batch, Durability, Key, MemoryStore, Store, envelope};
use millstream::stream::Terms;

struct Target {
    /// As in `fuzz/Cargo.toml`.
    name: &'static str,
    body: fn(&[u8]),
}

const TARGETS: &[Target] = &[
    Target { name: "backup", body: fuzz::backup },
    Target { name: "files", body: fuzz::files },
    Target { name: "hold_ops", body: fuzz::hold_ops },
    Target { name: "hub_ops", body: fuzz::hub_ops },
    Target { name: "ledger_ops", body: fuzz::ledger_ops },
    Target { name: "meter", body: fuzz::meter },
    Target { name: "miner_job", body: fuzz::miner_job },
    Target { name: "batch_decode", body: fuzz::batch_decode },
    Target { name: "pair", body: fuzz::pair },
    Target { name: "receipt_verify", body: fuzz::receipt_verify },
    Target { name: "records", body: fuzz::records },
    Target { name: "stratum_lines", body: fuzz::stratum_lines },
    Target { name: "share_verify", body: fuzz::share_verify },
    Target { name: "terms", body: fuzz::terms },
    Target { name: "voucher", body: fuzz::voucher },
    Target { name: "windows", body: fuzz::windows },
    Target { name: "wire", body: fuzz::wire },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names_in(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn every_seed_passes_the_body_of_its_target() {
    for Target { name, body } in TARGETS {
        let dir = root().join("seeds").join(name);
        let mut count = 0;
        for entry in fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.unwrap().path();
            let data = fs::read(&path).unwrap();
            let result = std::panic::catch_unwind(|| body(&data));
            assert!(result.is_ok(), "seed {} fails", path.display());
            count += 1;
        }
        println!("{name}: {count} seeds");
        assert!(count > 0, "{name} has no seeds");
    }
}

#[test]
fn targets_of_the_fuzzer_and_of_this_test_are_the_same() {
    let ours: BTreeSet<String> = TARGETS.iter().map(|target| target.name.into()).collect();
    assert_eq!(names_in(&root().join("fuzz_targets")), ours, "fuzz/fuzz_targets");
    assert_eq!(names_in(&root().join("seeds")), ours, "fuzz/seeds");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for name in &ours {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in the manifest");
    }
}

/// The seeds of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(root().join("seeds").join(target)).unwrap();
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

/// A node that holds the one record of a seed, its key of `key` bytes before its body.
fn node_of(seed: &[u8], key: usize) -> Result<Node<MemorySigner>, NodeError> {
    let (key, body) = seed.split_at(key);
    let key = Key::new(key).unwrap();
    let (mut store, mut batch) = (MemoryStore::default(), Batch::default());
    batch.put(key, &envelope::seal(&key, 1, body)).unwrap();
    store.commit(&batch, Durability::Barrier).unwrap();
    let budgets = BudgetRecord::load(&store).unwrap();
    let machine = if seed[0] == 0x04 {
        let base = Seed::new([2; 32]).base_key(&Context::new(), Network::Regtest).unwrap();
        Machine::payee("payee", [2; 32], Terms::new(Network::Regtest, base.public()).unwrap())
    } else {
        Machine::payer("payer", [1; 32])
    };
    let (network, aux) = (Network::Regtest, Entropy::new([0; 32]));
    let signer =
        MemorySigner::new(machine.seed(), network, machine.policy, budgets.as_ref(), &aux).unwrap();
    Node::load(machine.config, Context::new(), signer, &store)
}

/// A seed that is refused at its first byte would show nothing.
#[test]
fn every_kind_of_stored_record_has_a_seed_that_a_node_loads() {
    let seeds = seeds("records");
    for (kind, key) in [
        (&[0x01, 0x03][..], 34),
        (&[0x01, 0x04], 39),
        (&[0x02, 0x01], 2),
        (&[0x03], 37),
        (&[0x04], 37),
        (&[0x05], 9),
    ] {
        let of_kind = seeds.iter().filter(|seed| seed.starts_with(kind));
        let loaded = of_kind.filter(|seed| node_of(seed, key).is_ok()).count();
        println!("{kind:02x?}: {loaded} seeds");
        assert!(loaded > 0, "no seed of {kind:02x?} is loaded");
    }
}

#[test]
fn every_document_of_a_meter_has_a_seed_that_is_read() {
    let seeds = seeds("meter");
    let tariffs = seeds.iter().filter(|seed| Tariff::parse(seed).is_ok()).count();
    let statements = seeds.iter().filter(|seed| Statement::decode(seed).is_ok()).count();
    let records = seeds.iter().filter(|seed| Record::decode(seed).is_ok()).count();
    println!("{tariffs} tariffs, {statements} statements, {records} records");
    assert!(tariffs > 1 && statements > 1 && records > 1);
}

/// Both files of the target: a seed that is read, and a chain up to a block with a transaction.
#[test]
fn every_file_of_a_machine_has_a_seed_that_is_read() {
    use millstream::chain::remote::ChainHost;
    use millstream::db::seed_file;
    let dir = tempfile::tempdir().unwrap();
    let (mut secrets, mut chains) = (0, 0);
    for (n, bytes) in seeds("files").into_iter().enumerate() {
        let path = dir.path().join(n.to_string());
        fs::write(&path, &bytes).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        secrets += usize::from(seed_file::load(&path).is_ok());
        let long = bytes.split(|byte| *byte == b'\n').any(|line| line.len() > 100);
        chains += usize::from(long && ChainHost::kept_in(&path).is_ok());
    }
    println!("{secrets} seed files, {chains} chains");
    assert!(secrets > 1 && chains > 0);
}

#[test]
fn seeds_of_the_hub_forward_release_claim_and_fail() {
    use millstream::sim::hub;
    let hubs = hub::Hubs::new().unwrap();
    let mut counters = hub::Counters::default();
    for seed in seeds("hub_ops") {
        counters.add(&hubs.run_bytes(&seed).counters);
    }
    for (count, number) in counters.iter() {
        println!("{number:>6} {}", count.name());
        assert!(number > 0, "no {}", count.name());
    }
}

#[test]
fn seeds_of_the_pair_choose_every_deed_and_every_fault() {
    let pairs = Pairs::unchecked();
    let mut counters = Counters::default();
    for seed in seeds("pair") {
        let report = pairs.run_bytes(&seed, &mut |_| {});
        assert_eq!(report.failure, None);
        counters.add(&report.counters);
    }
    for (count, number) in counters.iter() {
        println!("{number:>6} {}", count.name());
        assert!(number > 0, "no {}", count.name());
    }
}
