//! The chain: where its events come from, where transactions go to, and the coins that pay.
//!
//! ```text
//!            events, look-ups                      funding, fee inputs, change
//!   [ChainSource] ----------> node (rank 5)            [Coins] ------> node
//!        ^      <---------- broadcast                    ^
//!        |                                               |
//!   regtest::Source                          MemoryCoins, WalletCoins (bdk)
//!   (later: bitcoind, Esplora, Electrum, BIP157)
//! ```
//!
//! What the next block is made of is a [`template::Template`]: the simulated chain gives it, or a
//! node. A [`template::BlockPlan`] makes jobs of it, and of a miner's solution the block.
//!
//! The core never calls these traits: a driver drains a source into the node and sends what the
//! node says. [`regtest`] is a whole chain inside the process: the default of every example and
//! test.
//!
//! Rank 6. Used by `rt`, `sim`, the examples and the command line.

mod coins;
mod reason;
mod source;

pub mod regtest;
#[cfg(feature = "sim")]
pub mod remote;
pub mod template;

#[cfg(feature = "bdk")]
pub use coins::WalletCoins;
pub use coins::{Coins, CoinsError, MemoryCoins, Payment, unsigned_psbt};
pub use reason::Reason;
pub use source::{ChainError, ChainSource};
