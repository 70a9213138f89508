//! Viewers pay a studio by the second of a stream: they pause, change the quality, and leave what
//! gets too dear; lines and machines fail meanwhile. On a simulated chain.
//!
//! ```text
//! cargo run --release --example content_stream [-- --seed 1 --chaos 0..3 --out DIR --quiet]
//! ```
//!
//! Each quality at each price is a tariff, and another tariff is another session: the studio ends
//! the one and offers its successor in one step, the viewer looks at the price and takes it, or asks
//! for less. A second is sent when the credit allows it, and paid by one voucher when it has come.

mod app;
#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;

fn main() -> ExitCode {
    common::run("content_stream", "Viewers pay a studio by the second", app::run)
}
