//! The simulated chain over loopback TCP, so that two processes share one: a demo, not a network.
//!
//! ```text
//!   serve process                                        pay process
//!   ChainHost { Shared chain, miner's coins, file } <-- lines --> RemoteChain: ChainSource
//!     ChainServer: a thread a connection
//! ```
//!
//! One line a request, one line an answer, words separated by spaces, bytes in hex:
//!
//! | request | answer |
//! | --- | --- |
//! | `tip` | height, hash, time |
//! | `rate` | sat/kvB |
//! | `output` outpoint | status, or `none` |
//! | `outputs` script | outpoint and status, for each |
//! | `broadcast` transactions | `ok` |
//! | `event` | the connection's next event, or `none` |
//! | `mine` blocks | height |
//! | `fund` script sat | a signed transaction, not broadcast |
//!
//! What is refused is answered by `refused` and its class. Anybody on the machine may mine and take
//! coins: they are worth nothing, and no other chain can stand behind it. It takes and makes
//! loopback connections only. A host that keeps a file shows the same blocks after a restart; its
//! mempool is lost, as a node's may be.
//!
//! Rank 6, feature `sim`. Used by the command line and its tests.

mod client;
mod file;
mod host;
mod protocol;
mod server;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use client::RemoteChain;
pub(crate) use file::{line, parse};
pub use host::ChainHost;
pub use server::ChainServer;

use crate::chain::regtest::RegtestError;
use crate::chain::{ChainError, CoinsError, Reason};
use crate::units::Blame;

/// Why the simulated chain is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// It is a simulation of one machine.
    #[error("{address} is not a loopback address; the simulated chain is for one machine")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// Another program listens there.
    #[error("{address} is in use by another program")]
    PortInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot offer the simulated chain on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Nobody offers a chain there.
    #[error("no simulated chain at {address}: {source}")]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: ChainError,
    },
    /// The file of blocks cannot be read or written.
    #[error("{} cannot be used: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A line of the file is no block of this chain.
    #[error("line {line} of {} is no block", path.display())]
    BadBlock {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The chain refused a block.
    #[error("the simulated chain refused a block: {0}")]
    Refused(Reason),
    /// The miner's coins do not suffice.
    #[error(transparent)]
    Coins(#[from] CoinsError),
    /// The chain does not start.
    #[error(transparent)]
    Chain(#[from] RegtestError),
}

impl RemoteError {
    /// Ours, the machine's and its settings'; the world's if nobody offers a chain there; and what
    /// chain or coins refuse is whose they say.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::NotLoopback { .. }
            | Self::PortInUse { .. }
            | Self::Listen { .. }
            | Self::File { .. }
            | Self::BadBlock { .. } => Blame::Us,
            Self::Unreachable { source, .. } => source.blame(),
            Self::Refused(reason) => reason.blame(),
            Self::Coins(error) => error.blame(),
            Self::Chain(error) => error.blame(),
        }
    }
}
