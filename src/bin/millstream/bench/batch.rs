//! Batches on one core: both ends of a window, its bytes, and what a receipt costs to check.
//!
//! ```text
//!   push x n -> seal -> launch -> sign ..bytes.. verify -> parse, check, visit x n -> write, sync
//!                         '------------------ acknowledge <-------------------------------'
//! ```
//!
//! Every item is one call of the payer's API with all its checks and one visit at the payee. All
//! figures are this thread's CPU time; the bytes of a window are its batch, cut into messages, and
//! its voucher.

use core::num::NonZeroUsize;
use std::error::Error;

use bitcoin::Network;
use bitcoin::secp256k1::Message;
use millstream::batch::Batch;
use millstream::batch::item::LeafSize;
use millstream::batch::receipt::Receipt;
use millstream::keys::{Context, Entropy, Seed};
use millstream::sha256::{Engine, Kernel, State};

use super::Args;
use super::clock::{Clock, Plan, compare};
use super::row::{Goal, Row};
use super::windows::{Mix, Windows};

/// What this file gives.
pub(crate) const NAMES: &[&str] = &[
    "items_leaf1_per_s",
    "items_leaf1_over_hash",
    "items_leaf16_per_s",
    "ticks_per_s",
    "ticks_window1000_per_s",
    "constant_window_bytes",
    "item_bytes_1000",
    "item_bytes_1000000",
    "item_bytes_skewed",
    "receipt_check_over_verify_us",
    "receipt_bytes",
];

/// Items of a window.
const WINDOW: u32 = 100_000;
/// Compressions of an item at one item a leaf: its leaf and one node, on both ends.
pub(super) const COMPRESSIONS: u32 = 6;
/// Lanes of the bare compressions: many for every kernel, and within the first cache.
const LANES: usize = 256;

/// Measures all of them.
pub(crate) fn rows(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let scratch = tempfile::tempdir_in(&args.dir)?;
    let mut windows = Windows::new(Some(scratch.path()))?;
    windows.refuses_changes()?;
    let engine = Engine::best();
    let simd = matches!(engine.kernel(), Kernel::ShaNi | Kernel::Avx512);
    let mut hash = Hash::new(engine);
    let plan = Plan { clock: Clock::Cpu, rounds: args.rounds, turns: 2, operations: 1 };
    let count = f64::from(WINDOW);
    let mut rows = Vec::new();
    let random = Mix::To1000.charges(WINDOW);
    for (name, leaf_size, goal) in [("items_leaf1_per_s", 1, 5e6), ("items_leaf16_per_s", 16, 15e6)]
    {
        let (leaf_size, each) = (LeafSize::new(leaf_size)?, COMPRESSIONS * WINDOW);
        let mut paid = 0_u64;
        let before = windows.acknowledged;
        let cost = compare(
            plan,
            &mut || {
                paid += u64::from(WINDOW);
                windows.pay(&random, leaf_size).map(drop)
            },
            &mut || hash.compress(each),
        )?;
        check_count("items", windows.acknowledged - before, paid)?;
        let compression = cost.bare / f64::from(each) * 1e9;
        let note = format!(
            "{}, window 100,000, 0-1,000 msat; a compression: {compression:.1} ns",
            engine.kernel().name()
        );
        let row = Row::new(name, count / cost.ours, "1/s");
        let row = row.against("six compressions an item, 1/s", count / cost.bare).note(note);
        rows.push(if simd { row.goal(Goal::AtLeast(goal)) } else { row });
        if leaf_size == LeafSize::ONE {
            let row = Row::new("items_leaf1_over_hash", cost.ratio, "x");
            let row = row.note(format!("over six compressions by {}", engine.kernel().name()));
            rows.push(match engine.kernel() {
                Kernel::Avx512 => row.goal(Goal::AtMost(1.5)),
                Kernel::Avx2 => row.goal(Goal::AtMost(1.25)),
                Kernel::Portable => row.goal(Goal::AtMost(1.12)),
                _ => row,
            });
        }
    }
    check_count("visits", windows.visited, windows.acknowledged)?;
    rows.push(ticks(&mut windows, plan, "ticks_per_s", WINDOW, 100e6)?);
    rows.push(ticks(&mut windows, plan, "ticks_window1000_per_s", 1_000, 4e6)?);
    rows.extend(bytes(&mut windows)?);
    rows.extend(receipt(args)?);
    Ok(rows)
}

/// Ticks that both ends count, paid as one item a window.
fn ticks(
    windows: &mut Windows,
    plan: Plan,
    name: &'static str,
    window: u32,
    goal: f64,
) -> Result<Row, Box<dyn Error>> {
    // As many ticks a lap in either row, so that a lap is long enough for the clock.
    let laps = WINDOW / window * 4;
    let (before, mut paid) = (windows.acknowledged, 0_u64);
    let cost = compare(
        Plan { operations: laps, ..plan },
        &mut || {
            paid += 1;
            windows.tick(window)
        },
        &mut || Ok(()),
    )?;
    check_count("windows of ticks", windows.acknowledged - before, paid)?;
    let row = Row::new(name, f64::from(window) / cost.ours, "1/s").goal(Goal::AtLeast(goal));
    Ok(row.note("one call on each end, a voucher and a sync a window"))
}

/// What the windows of each mix take on the wire.
fn bytes(windows: &mut Windows) -> Result<Vec<Row>, Box<dyn Error>> {
    let leaf_size = LeafSize::new(16)?;
    let mut of = |mix: Mix| windows.pay(&mix.charges(WINDOW), leaf_size);
    let mut rows = Vec::new();
    let constant = f64::from(u32::try_from(of(Mix::Constant)?)?);
    rows.push(
        Row::new("constant_window_bytes", constant, "B")
            .goal(Goal::AtMost(135.0))
            .note("batch and voucher with framing; the acknowledgement is a message of its own"),
    );
    for (name, mix, goal) in [
        ("item_bytes_1000", Mix::To1000, 1.26),
        ("item_bytes_1000000", Mix::To1000000, 2.51),
        ("item_bytes_skewed", Mix::Skewed, 1.0),
    ] {
        let bytes = f64::from(u32::try_from(of(mix)?)?);
        let row = Row::new(name, bytes / f64::from(WINDOW), "B").goal(Goal::AtMost(goal));
        let row = row.note("batch, voucher and framing");
        rows.push(row.against("Starlight, a payment, published, B", 2.58));
    }
    Ok(rows)
}

/// What the receipt of one of 1,000,000 items costs, beyond the signature.
fn receipt(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut windows = Windows::new(None)?;
    let sealed = windows.seal(&Mix::To1000.charges(1_000_000), LeafSize::ONE)?;
    let context = Context::new();
    let key = Seed::new([2; 32]).base_key(&context, Network::Regtest)?;
    let statement = windows.statement(&sealed.credited.claim);
    let signature = key.pair().sign(&context, statement.digest(), &Entropy::new([0; 32]));
    let batch = Batch::parse(&sealed.bytes)?;
    let receipt = Receipt::new(&batch, 777_777, statement, key.public(), signature)?;
    let bytes = receipt.encode();
    let message = Message::from_digest(statement.digest());
    let plan = Plan { clock: Clock::Cpu, rounds: args.rounds, turns: 8, operations: 32 };
    let cost = compare(
        plan,
        &mut || {
            let proven = Receipt::decode(&bytes)?.verify(&context, key.public())?;
            if proven.statement == statement { Ok(()) } else { Err("another receipt".into()) }
        },
        &mut || Ok(context.secp().verify_schnorr(&signature, &message, &key.public())?),
    )?;
    Ok(vec![
        Row::new("receipt_check_over_verify_us", (cost.ours - cost.bare) * 1e6, "us")
            .goal(Goal::AtMost(15.0))
            .against("the verification alone, us", cost.bare * 1e6)
            .note("one item of 1,000,000, one a leaf"),
        Row::new("receipt_bytes", f64::from(u32::try_from(bytes.len())?), "B")
            .goal(Goal::AtMost(1_000.0)),
    ])
}

/// Compressions on many lanes, and nothing else.
pub(super) struct Hash {
    pub(super) engine: Engine,
    states: Vec<State>,
    blocks: Vec<[u8; 64]>,
}

impl Hash {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, states: vec![State::INITIAL; LANES], blocks: vec![[0x5a; 64]; LANES] }
    }

    pub(super) fn compress(&mut self, count: u32) -> Result<(), Box<dyn Error>> {
        let mut left = usize::try_from(count)?;
        while left > 0 {
            let now = left.min(LANES);
            let (states, blocks) = (self.states.get_mut(..now), self.blocks.get(..now));
            if let (Some(states), Some(blocks)) = (states, blocks) {
                self.engine.absorb(states, core::hint::black_box(blocks), NonZeroUsize::MIN);
            }
            left -= now;
        }
        Ok(())
    }
}

/// That as many were counted as were meant.
pub(super) fn check_count(what: &str, got: u64, want: u64) -> Result<(), Box<dyn Error>> {
    if got == want { Ok(()) } else { Err(format!("{got} {what}, {want} were meant").into()) }
}
