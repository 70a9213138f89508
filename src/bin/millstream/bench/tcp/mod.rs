//! Windows of items between two processes: over loopback, and over lines of 20 and 215 ms.
//!
//! ```text
//!  this process                                            a child of it
//!  a thread: push x n, seal --> driver, redb ==TCP==> driver, redb --> a task: visit x n
//!                                   '------ or TCP through threads that hold every byte back
//! ```
//!
//! Every item is one call of the payer's API with all its checks and, at the payee, one place in
//! the check of its batch and one visit behind it, after the record is synced. What counts is what
//! was acknowledged, by wall time; the processor time of both processes stands beside it.

mod delay;
mod ends;
mod payee;
mod payer;

use std::error::Error;
use std::time::Duration;

use millstream::batch::item::LeafSize;
use millstream::sha256::{Engine, Kernel};

use super::Args;
use super::row::{Goal, Row};
use super::windows::{Mix, Windows};
pub(crate) use payee::run as run_payee;
use payer::{Measured, Plan};

/// What this file gives.
pub(crate) const NAMES: &[&str] =
    &["tcp_items_leaf16_per_s", "tcp_items_leaf1_per_s", "rtt215_items_per_s"];

/// What it gives beside them: other windows, amounts and lines.
pub(crate) const LONG_NAMES: &[&str] = &[
    "tcp_items_leaf16_constant_per_s",
    "tcp_items_leaf16_to1000000_per_s",
    "tcp_items_leaf16_skewed_per_s",
    "tcp_items_leaf1_constant_per_s",
    "tcp_items_leaf1_to1000000_per_s",
    "tcp_items_leaf1_skewed_per_s",
    "tcp_items_w10000_leaf16_per_s",
    "tcp_items_w1000_leaf16_per_s",
    "rtt20_items_per_s",
    "rtt20_items_leaf1_per_s",
    "rtt215_items_leaf1_per_s",
];

/// Items of a window.
const WINDOW: u32 = 100_000;
/// Windows in flight.
const FLIGHT: u8 = 12;
/// Half of a round trip of 20 ms, and of 215 ms.
const NEAR: Duration = Duration::from_millis(10);
const FAR: Duration = Duration::from_micros(107_500);

/// One row: its name, and what is measured for it.
struct Cell {
    name: &'static str,
    leaf_size: u8,
    mix: Mix,
    window: u32,
    one_way: Option<Duration>,
}

impl Cell {
    /// Windows of 100,000 items of 0 to 1,000 msat, over loopback.
    const fn new(name: &'static str, leaf_size: u8) -> Self {
        Self { name, leaf_size, mix: Mix::To1000, window: WINDOW, one_way: None }
    }

    const fn mix(self, mix: Mix) -> Self {
        Self { mix, ..self }
    }

    const fn window(self, window: u32) -> Self {
        Self { window, ..self }
    }

    const fn far(self, one_way: Duration) -> Self {
        Self { one_way: Some(one_way), ..self }
    }
}

/// The rows of the goals; each takes seconds.
pub(crate) fn rows(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    Windows::new(None)?.refuses_changes()?;
    let kernel = Engine::best().kernel();
    let simd = matches!(kernel, Kernel::ShaNi | Kernel::Avx512);
    let fast = simd || matches!(kernel, Kernel::Avx2);
    [
        (Cell::new("tcp_items_leaf16_per_s", 16), simd.then_some(20e6)),
        (Cell::new("tcp_items_leaf1_per_s", 1), simd.then_some(8e6)),
        (Cell::new("rtt215_items_per_s", 16).far(FAR), fast.then_some(5e6)),
    ]
    .iter()
    .map(|(cell, goal)| {
        let row = measure(args, cell, args.rounds)?;
        Ok(goal.map_or(row.clone(), |goal| row.goal(Goal::AtLeast(goal))))
    })
    .collect()
}

/// The rows without a goal.
pub(crate) fn long_rows(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    Windows::new(None)?.refuses_changes()?;
    [
        Cell::new("tcp_items_leaf16_constant_per_s", 16).mix(Mix::Constant),
        Cell::new("tcp_items_leaf16_to1000000_per_s", 16).mix(Mix::To1000000),
        Cell::new("tcp_items_leaf16_skewed_per_s", 16).mix(Mix::Skewed),
        Cell::new("tcp_items_leaf1_constant_per_s", 1).mix(Mix::Constant),
        Cell::new("tcp_items_leaf1_to1000000_per_s", 1).mix(Mix::To1000000),
        Cell::new("tcp_items_leaf1_skewed_per_s", 1).mix(Mix::Skewed),
        Cell::new("tcp_items_w10000_leaf16_per_s", 16).window(10_000),
        Cell::new("tcp_items_w1000_leaf16_per_s", 16).window(1_000),
        Cell::new("rtt20_items_per_s", 16).far(NEAR),
        Cell::new("rtt20_items_leaf1_per_s", 1).far(NEAR),
        Cell::new("rtt215_items_leaf1_per_s", 1).far(FAR),
    ]
    .iter()
    .map(|cell| measure(args, cell, args.rounds.min(9)))
    .collect()
}

/// The row of `cell`, if it is wanted.
fn measure(args: &Args, cell: &Cell, rounds: u32) -> Result<Row, Box<dyn Error>> {
    let &Cell { name, leaf_size, mix, window, one_way } = cell;
    if !args.wants(name) {
        return Ok(Row::missing(name, "1/s", "not asked for"));
    }
    let leaf_size = LeafSize::new(leaf_size)?;
    let plan = Plan { leaf_size, mix, window, one_way, rounds, flight: FLIGHT };
    let measured = payer::run(args, &plan)?;
    let row = Row::new(name, measured.items_per_s, "1/s").note(note(&plan, &measured));
    // Its amounts have seven places: 1.0 of them is compared with 1 sat here.
    let starlight = match (one_way, mix) {
        (Some(FAR), _) => Some(("Starlight at 215 ms, published, 1/s", 131_422.0)),
        (Some(_), _) | (None, Mix::Skewed) => None,
        (None, Mix::Constant) => Some(("Starlight, constant, published, 1/s", 1_198_099.0)),
        (None, Mix::To1000) => Some(("Starlight, 0-1.0, published, 1/s", 700_000.0)),
        (None, Mix::To1000000) => Some(("Starlight, 0-1000, published, 1/s", 413_000.0)),
    };
    Ok(match starlight {
        Some((what, value)) => row.against(what, value),
        None => row,
    })
}

fn note(plan: &Plan, measured: &Measured) -> String {
    let items = f64::from(measured.items);
    let (payer, payee) = (measured.payer_cpu * 1e9 / items, measured.payee_cpu * 1e9 / items);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let processors = f64::from(u32::try_from(processors).unwrap_or(1));
    format!(
        "{}, window {}, {}, {FLIGHT} in flight, redb on both ends; CPU an item: payer {payer:.1} \
         ns, payee {payee:.1} ns, so {processors} processors could do {:.1} M/s; at risk: {} msat \
         at most",
        Engine::best().kernel().name(),
        plan.window,
        plan.mix.name(),
        processors * 1e3 / (payer + payee),
        measured.at_risk.to_msat(),
    )
}
