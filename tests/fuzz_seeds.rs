//! Replays the seeds of every fuzz target through its body.
//!
//! `fuzz/seeds/TARGET/` holds hand-made inputs and whatever a fuzzer once found; `fuzz/` runs the
//! same bodies under libFuzzer. A target without a body or without seeds fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use millstream::sim::fuzz;

struct Target {
    /// As in `fuzz/Cargo.toml`.
    name: &'static str,
    body: fn(&[u8]),
}

const TARGETS: &[Target] = &[
    Target { name: "backup", body: fuzz::backup },
    Target { name: "pair", body: fuzz::pair },
    Target { name: "records", body: fuzz::records },
    Target { name: "terms", body: fuzz::terms },
    Target { name: "voucher", body: fuzz::voucher },
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
