//! A market for computing: requesters and providers meet by price and time, work is done by several
//! and believed when enough of them agree, and each is paid as it delivers, through channels of its
//! own. Cheats, vanishing machines and requesters that do not pay among them.
//!
//! ```text
//! cargo run --release --example compute_market [-- --seed 1 --chaos 0..3 --out DIR --quiet]
//!
//!  provider: ask (kind of work, price of a unit, slots) --+
//!                                                         +-> book: best price first, then time
//!  requester: bid (kind, highest price, reputation) ------+        |
//!                                                                  v
//!  provider --- result of a unit ---> requester: do n of k agree, or does it prove itself?
//!           --- debit note (reading) ---------->          no: not a millisatoshi, and it is told
//!           <-- voucher over all verified units           yes: paid at once
//! ```
//!
//! Who trusts whom for what: a provider works on credit for a few units, its window, and stops
//! there; a requester pays nothing that it has not verified. Work that proves itself (shares of
//! proof of work are one kind of it) takes one provider; other work takes three, of whom two must
//! agree. A provider that is wrong loses what it had not yet been paid, and its reputation.
//!
//! The channels, meters and vouchers are the library's own; the example adds the book, the kinds of
//! work, the people, and an oracle that knows what is right and adds up on its own.

mod app;
#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;

fn main() -> ExitCode {
    common::run("compute_market", "A market for computing, paid unit by unit", app::run)
}
