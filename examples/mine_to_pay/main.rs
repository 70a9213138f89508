//! A fridge earns by shares of proof of work, and spends it on power by the tariff of the minute.
//!
//! ```text
//! cargo run --release --example mine_to_pay [-- --seed 1 --chaos 0..3 --out DIR --quiet]
//!
//!            job, shares                     shares verified, priced by a private table
//!  fridge ------------------------------------------> house
//!         <------------- channel of work -------------  vouchers: what the shares earned
//!         -------------- channel of power ----------->  vouchers: what the meter counted
//!            governor: idle time, duty, heat, energy        both in one funding transaction
//! ```
//!
//! It mines only while its compressor rests, for a fifth of the time at most, not while its board
//! is hot, and not more energy than its owner allows; and it stops where the house owes it more than
//! its window. A house that stops paying loses it at once.
//!
//! Honest economics: on the real network the day's hashes are worth nothing that anybody could see;
//! the summary says how little. What pays here is a private price: for heat that was wanted, against
//! spam, or to give a new device its first balance.

mod app;
#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;

fn main() -> ExitCode {
    common::run("mine_to_pay", "A fridge that mines for a part of its power", app::run)
}
