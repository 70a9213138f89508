//! Ten thousand cars pay a road by the metre, over one hub, on a simulated chain, while lines and
//! machines fail.
//!
//! ```text
//! cargo run --release --example toll_road [-- --seed 1 --chaos 0..3 --out DIR --quiet]
//!
//!  cars ----- windows of ticks, in lanes ----> gantry ---- bundles ---> hub ---- bundles ---> owners
//!       one channel each; a lane an owner              one hash each         of the same hash
//!       node, batch                           stream                hub                 stream
//! ```
//!
//! Each metre is a payment of its own, counted by the car and by the gantry. A window of them is one
//! voucher. What an owner is due for a minute of all cars goes on behind one hash of its own: its
//! preimage, which it shows once it has checked every toll, pays gantry, hub and owner at once. What
//! one car owes one owner for a minute is mostly less than a hold may be, so the cars pay the gantry
//! outright, and that puts all of their tolls into one bundle. At night all channels settle in
//! batches, by the planner.

mod app;
#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;

fn main() -> ExitCode {
    common::run("toll_road", "Ten thousand cars pay a road by the metre", app::run)
}
