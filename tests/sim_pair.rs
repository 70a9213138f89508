//! A campaign of simulated pairs: fixed seeds and fresh ones, every fault counted, none missing.

use std::time::{SystemTime, UNIX_EPOCH};

use millstream::sim::pair::{Counters, Pairs};

/// Seeds that every run repeats.
const FIXED: u64 = 300;
/// Seeds that nobody has tried before.
const FRESH: u64 = 100;

/// Runs `seeds`, prints what fails with the command that repeats it, and returns the counts.
fn campaign(seeds: impl Iterator<Item = u64>) -> (Counters, Vec<u64>) {
    let pairs = Pairs::new();
    let (mut counters, mut failed) = (Counters::default(), Vec::new());
    for seed in seeds {
        let report = pairs.run(seed);
        counters.add(&report.counters);
        if let Some(failure) = report.failure {
            println!("seed {seed}: {failure}; replay: millstream soak --only-seed {seed}");
            failed.push(seed);
        }
    }
    for (count, number) in counters.iter() {
        println!("{number:>8} {}", count.name());
    }
    (counters, failed)
}

#[test]
fn fixed_seeds_lose_nothing_and_meet_every_fault() {
    let from = std::env::var("SIM_FROM").ok().and_then(|from| from.parse().ok()).unwrap_or(0);
    let count = std::env::var("SIM_COUNT").ok().and_then(|n| n.parse().ok()).unwrap_or(FIXED);
    let (counters, failed) = campaign(from..from + count);
    assert_eq!(failed, [0; 0]);
    for (count, number) in counters.iter() {
        assert!(number > 0, "no {}", count.name());
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "fresh seeds come from the clock, and are printed")]
fn fresh_seeds_lose_nothing() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let from = u64::try_from(now & 0xffff_ffff_ffff).unwrap();
    println!("fresh seeds from {from}");
    let (_, failed) = campaign(from..from + FRESH);
    assert_eq!(failed, [0; 0]);
}

#[test]
fn one_seed_told() {
    // A tool for whoever looks for a fault: SIM_SEED=n cargo test --test sim_pair one_seed
    let Ok(seed) = std::env::var("SIM_SEED") else { return };
    let seed = seed.parse().unwrap();
    let report = Pairs::new().run_told(seed, &mut |step| println!("{step}"));
    println!("{report:?}");
    assert_eq!(report.failure, None);
}
