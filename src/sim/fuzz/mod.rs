//! Fuzz bodies: plain functions of bytes, which panic where a promise is broken.
//!
//! `fuzz/` runs each of them under libFuzzer, and `tests/fuzz_seeds.rs` replays the seeds of each
//! through the same function, so that what a fuzzer once found stays found. One file a target.

mod batch;
mod files;
mod hold;
mod hub;
mod ledger;
mod meter;
mod miner;
mod pair;
mod records;
mod shares;
mod stratum;
mod terms;
mod voucher;
mod windows;
mod wire;

pub use batch::{batch_decode, receipt_verify};
pub use files::files;
pub use hold::hold_ops;
pub use hub::hub_ops;
pub use ledger::ledger_ops;
pub use meter::meter;
pub use miner::miner_job;
pub use pair::pair;
pub use records::records;
pub use shares::share_verify;
pub use stratum::stratum_lines;
pub use terms::{backup, terms};
pub use voucher::voucher;
pub use windows::windows;
pub use wire::wire;
