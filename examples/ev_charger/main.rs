//! A car charges and pays per watt-second, over a channel on a simulated chain; then things go
//! wrong, one after the other. No network, no configuration.
//!
//! ```text
//! cargo run --release --example ev_charger [-- --seed 1 --chaos 0..3 --out DIR --quiet]
//! ```
//!
//! Everything here is the library's own code: two nodes with stores, exchanging bytes, and a chain
//! whose scripts are run by Bitcoin Core's interpreter. The example adds the car, the weather, and
//! an oracle that adds up energy and money on its own and compares.

mod app;
#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;

fn main() -> ExitCode {
    common::run("ev_charger", "A car charges, and pays per watt-second", app::run)
}
