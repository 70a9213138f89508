//! Two strangers swap money of one chain for money of another, with one hash on both: off the chain
//! when all goes well, and with everything that can go wrong. No network, no configuration.
//!
//! ```text
//! cargo run --release --example swap [-- --seed 1 --chaos 0..3 --out DIR --quiet]
//! ```
//!
//! Everything that decides is the library's: the swap's rules, both channels' machines, the monitors
//! on two simulated chains whose scripts are run by Bitcoin Core's interpreter. The example adds
//! blocks at two paces, power cuts, a broken line, lies, and counts the money afterwards.

mod app;
#[allow(dead_code, reason = "tariffs and books of one-way channels are the other examples'")]
#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;

fn main() -> ExitCode {
    common::run("swap", "Money of one chain for money of another, both or neither", app::run)
}
