//! Windows of items between two processes: over loopback, and over a line of 215 ms.
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
use super::windows::Windows;
pub(crate) use payee::run as run_payee;
use payer::{Measured, Plan};

/// What this file gives.
pub(crate) const NAMES: &[&str] =
    &["tcp_items_leaf16_per_s", "tcp_items_leaf1_per_s", "rtt215_items_per_s"];

/// Items of a window.
const WINDOW: u32 = 100_000;
/// Windows in flight.
const FLIGHT: u8 = 12;
/// Half of the round trip.
const ONE_WAY: Duration = Duration::from_micros(107_500);

/// Measures all of them that are `wanted`: each takes seconds.
pub(crate) fn rows(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    Windows::new(None)?.refuses_changes()?;
    let kernel = Engine::best().kernel();
    let simd = matches!(kernel, Kernel::ShaNi | Kernel::Avx512);
    let fast = simd || matches!(kernel, Kernel::Avx2);
    let sixteen = LeafSize::new(16)?;
    let mut rows = Vec::new();
    for (name, leaf_size, one_way, goal) in [
        ("tcp_items_leaf16_per_s", sixteen, None, simd.then_some(20e6)),
        ("tcp_items_leaf1_per_s", LeafSize::ONE, None, simd.then_some(8e6)),
        ("rtt215_items_per_s", sixteen, Some(ONE_WAY), fast.then_some(5e6)),
    ] {
        if !args.wants(name) {
            rows.push(Row::missing(name, "1/s", "not asked for"));
            continue;
        }
        let plan = Plan { leaf_size, one_way, rounds: args.rounds, flight: FLIGHT };
        let measured = payer::run(args, &plan)?;
        let row = Row::new(name, measured.items_per_s, "1/s").note(note(&measured, kernel));
        rows.push(match goal {
            Some(goal) => row.goal(Goal::AtLeast(goal)),
            None => row,
        });
    }
    Ok(rows)
}

fn note(measured: &Measured, kernel: Kernel) -> String {
    let items = f64::from(measured.items);
    format!(
        "{}, window 100,000, 0-1,000 msat, {FLIGHT} in flight, redb on both ends; CPU an item: \
         payer {:.1} ns, payee {:.1} ns; at risk: {} msat at most",
        kernel.name(),
        measured.payer_cpu * 1e9 / items,
        measured.payee_cpu * 1e9 / items,
        measured.at_risk.to_msat(),
    )
}
