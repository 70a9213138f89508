//! Why a connection ends.

use std::io;
use std::net::SocketAddr;

use crate::units::Blame;

/// Why a connection of Stratum V2 is not made, or ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Sv2Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The operating system gives no randomness.
    #[error("no randomness")]
    NoEntropy,
    /// The handshake failed, or a frame is not encrypted as it should be.
    #[error("the peer's encryption or certificate is wrong")]
    Noise,
    /// A frame above the limit.
    #[error("frame of more than {limit} bytes")]
    FrameTooLong {
        /// The limit.
        limit: usize,
    },
    /// A message that does not belong here.
    #[error("message {kind:#04x} is not expected")]
    Unexpected {
        /// Its type.
        kind: u8,
    },
    /// A message that cannot be read, or whose values are impossible.
    #[error("message {kind:#04x} is malformed")]
    Malformed {
        /// Its type.
        kind: u8,
    },
    /// The peer did not greet, did not read, or said nothing for too long.
    #[error("the peer is too slow")]
    TooSlow,
    /// The peer does not take our greeting or our channel.
    #[error("the peer refuses the connection or the channel")]
    Refused,
    /// More frames a second than any miner sends.
    #[error("too many frames")]
    Flood,
    /// Too many refused shares in a row.
    #[error("{limit} refused shares in a row")]
    TooManyRefused {
        /// The limit.
        limit: u32,
    },
    /// A job that does not fit our own template: a defect of the caller's layout.
    #[error(transparent)]
    Job(#[from] crate::shares::JobError),
    /// The other half of this process has gone.
    #[error("nobody takes what comes")]
    Closed,
}

impl Sv2Error {
    /// What a peer says is the peer's; sockets are the world's.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Listen { .. } | Self::Job(_) | Self::Closed => Blame::Us,
            Self::Io(_) | Self::NoEntropy | Self::TooSlow | Self::Refused => Blame::World,
            Self::Noise
            | Self::FrameTooLong { .. }
            | Self::Unexpected { .. }
            | Self::Malformed { .. }
            | Self::Flood
            | Self::TooManyRefused { .. } => Blame::Peer,
        }
    }
}
