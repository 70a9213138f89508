//! A vending machine: money is reserved by a hold until the item drops; then things go wrong, one
//! after the other. No network, no configuration.
//!
//! ```text
//! cargo run --release --example vending [-- --seed 1 --chaos 0..3 --out DIR --quiet]
//!
//!  machine: quote (item, price, hash)        the preimage is the machine's, and so is the motor
//!  buyer:   hold: the price for the preimage of that hash, until a height
//!  machine: record "turning" -> motor -> counter -> record "dropped" -> preimage: paid
//!                                               or -> record "empty" -> release: not paid
//! ```
//!
//! Who trusts whom for what:
//!
//! - The machine trusts nobody: before the motor turns it holds what it needs to take the price on
//!   the chain without the buyer, and it turns no motor when the time for that is short.
//! - The buyer trusts the machine with the price of the open order, no more: whoever knows the
//!   preimage could claim and drop nothing, as a machine that takes coins could. A lock that only
//!   the dropped item opens would turn that round, and let the buyer keep the item and the money.
//! - What the buyer gets for it: an order that nobody serves costs it nothing but the chain's fees,
//!   whoever vanishes, and from a height on that is known beforehand; and a claim shows the preimage,
//!   so that the machine cannot say later that it was not paid for that order.
//! - A release is a promise. The old voucher stays valid, so the price of a jam stays AT RISK until
//!   the hold's expiry: `Node::exposure`, and the summary here. In the episode `cheat` a machine
//!   breaks its word: it costs the buyer just that, and the proof is on the chain.
//!
//! The nodes, stores, monitors and the chain are the library's own; scripts are run by Bitcoin
//! Core's interpreter. The example adds the shelf, the machine's journal, the people, and an oracle
//! that adds up items and money on its own and compares.

mod app;
#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;

fn main() -> ExitCode {
    common::run("vending", "A vending machine, paid by holds", app::run)
}
