//! One operator, a thousand cars, each with a channel of its own: a day of charging, and one night in
//! which all of it is settled by sixteen transactions. No network, no configuration.
//!
//! ```text
//! cargo run --release --example fleet [-- --seed 1 --chaos 0..3 --out DIR --quiet]
//! ```

mod app;
#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;

fn main() -> ExitCode {
    common::run("fleet", "A thousand cars charge for a day, and are settled in a night", app::run)
}
