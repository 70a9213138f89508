//! The table of aggregation: windows, items a leaf and mixes of amounts, both ends on one core.
//!
//! As [`batch`](super::batch), one durable record a window; every cell is a row.

use std::error::Error;

use millstream::batch::item::LeafSize;
use millstream::sha256::Engine;

use super::Args;
use super::batch::{COMPRESSIONS, Hash, check_count};
use super::clock::{Clock, Plan, compare};
use super::row::Row;
use super::windows::{Mix, Windows};

/// Items of a lap in every cell, so that it is long enough for the clock.
const LAP: u32 = 100_000;

/// Names and cells from one list, so that none is left out of either.
macro_rules! cells {
    ($($name:literal: $window:literal, $leaf_size:literal, $mix:ident;)+) => {
        /// What this file gives.
        pub(crate) const NAMES: &[&str] = &[$($name),+];
        /// Name, items of a window, items a leaf, amounts.
        const CELLS: &[(&str, u32, u8, Mix)] = &[$(($name, $window, $leaf_size, Mix::$mix)),+];
    };
}

cells! {
    "items_w1000_leaf1_constant_per_s": 1_000, 1, Constant;
    "items_w1000_leaf1_to1000_per_s": 1_000, 1, To1000;
    "items_w1000_leaf1_to1000000_per_s": 1_000, 1, To1000000;
    "items_w1000_leaf1_skewed_per_s": 1_000, 1, Skewed;
    "items_w1000_leaf16_constant_per_s": 1_000, 16, Constant;
    "items_w1000_leaf16_to1000_per_s": 1_000, 16, To1000;
    "items_w1000_leaf16_to1000000_per_s": 1_000, 16, To1000000;
    "items_w1000_leaf16_skewed_per_s": 1_000, 16, Skewed;
    "items_w10000_leaf1_constant_per_s": 10_000, 1, Constant;
    "items_w10000_leaf1_to1000_per_s": 10_000, 1, To1000;
    "items_w10000_leaf1_to1000000_per_s": 10_000, 1, To1000000;
    "items_w10000_leaf1_skewed_per_s": 10_000, 1, Skewed;
    "items_w10000_leaf16_constant_per_s": 10_000, 16, Constant;
    "items_w10000_leaf16_to1000_per_s": 10_000, 16, To1000;
    "items_w10000_leaf16_to1000000_per_s": 10_000, 16, To1000000;
    "items_w10000_leaf16_skewed_per_s": 10_000, 16, Skewed;
    "items_w100000_leaf1_constant_per_s": 100_000, 1, Constant;
    "items_w100000_leaf1_to1000_per_s": 100_000, 1, To1000;
    "items_w100000_leaf1_to1000000_per_s": 100_000, 1, To1000000;
    "items_w100000_leaf1_skewed_per_s": 100_000, 1, Skewed;
    "items_w100000_leaf16_constant_per_s": 100_000, 16, Constant;
    "items_w100000_leaf16_to1000_per_s": 100_000, 16, To1000;
    "items_w100000_leaf16_to1000000_per_s": 100_000, 16, To1000000;
    "items_w100000_leaf16_skewed_per_s": 100_000, 16, Skewed;
}

/// Measures those that are wanted.
pub(crate) fn rows(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let scratch = tempfile::tempdir_in(&args.dir)?;
    let mut windows = Windows::new(Some(scratch.path()))?;
    windows.refuses_changes()?;
    let mut hash = Hash::new(Engine::best());
    let mut rows = Vec::new();
    for &(name, window, leaf_size, mix) in CELLS {
        rows.push(if args.wants(name) {
            cell(args, &mut windows, &mut hash, (name, window, leaf_size, mix))?
        } else {
            Row::missing(name, "1/s", "not asked for")
        });
    }
    check_count("visits", windows.visited, windows.acknowledged)?;
    Ok(rows)
}

fn cell(
    args: &Args,
    windows: &mut Windows,
    hash: &mut Hash,
    (name, window, leaf_size, mix): (&'static str, u32, u8, Mix),
) -> Result<Row, Box<dyn Error>> {
    let leaf_size = LeafSize::new(leaf_size)?;
    let charges = mix.charges(window);
    let (before, mut paid) = (windows.acknowledged, 0_u64);
    let (rounds, operations) = (args.rounds.min(9), LAP / window);
    let each = COMPRESSIONS * window / u32::from(leaf_size.to_u8());
    let cost = compare(
        Plan { clock: Clock::Cpu, rounds, turns: 2, operations },
        &mut || {
            paid += u64::from(window);
            windows.pay(&charges, leaf_size).map(drop)
        },
        &mut || hash.compress(each),
    )?;
    check_count("items", windows.acknowledged - before, paid)?;
    let count = f64::from(window);
    let compression = cost.bare / f64::from(each) * 1e9;
    let kernel = hash.engine.kernel().name();
    Ok(Row::new(name, count / cost.ours, "1/s")
        .note(format!("{kernel}; a compression: {compression:.1} ns; a sync a window")))
}
