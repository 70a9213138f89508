//! A pool with a hundred workers: devices, desktops, a few machines built for it, and cheats; every
//! share is really mined and really checked, and five ways to pay for it are kept side by side.
//!
//! ```text
//! cargo run --release --example pool [-- --seed 1 --chaos 0..3 --out DIR --quiet]
//!
//!  worker: Search over its own coinbases --share--> Desk: known, fresh, in its space, low, twice?
//!                                                     |  good: worth the work of its target
//!                                                     v
//!            a ledger for each scheme: PPS, PPLNS, TIDES, proportional, a private price
//!                     |                        PPS: vouchers of the pool's channel to the worker
//!                     v
//!            who earned what for a hash, and does it all add up?
//! ```
//!
//! The network is small: a block takes 2^20 hashes on average, so that ten hours of mining bring
//! some twenty blocks; all else is as it would be. The cheats: one sends every share twice, one
//! makes shares up, one sends those of others, one sends old ones, one sets its clock ahead; one
//! throws its blocks away, which nobody can prove; one hops: it works for young rounds only.
//!
//! The oracle adds up on its own: each ledger owes what the good shares of its workers are worth,
//! to the millisatoshi, in every minute; and the chain pays what the vouchers say.

mod app;
#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;

fn main() -> ExitCode {
    common::run("pool", "A pool of a hundred workers, paid in five ways", app::run)
}
