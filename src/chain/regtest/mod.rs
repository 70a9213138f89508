//! A whole regtest chain inside the process.

mod block;

pub use block::{build_block, coinbase, miner_key};
