//! The tokio driver: a node, its store and its chain, and TCP links to its peers.
//!
//! ```text
//!  peer <--TCP--> link task --arrivals (bounded)--> owner thread: Node, Store, ChainSource
//!  peer <--TCP--> link task <--frames (bounded)---     |    ^
//!                                                 events    commands, looks
//!                                                      v    |
//!                                                   [Driver], the caller's handle
//! ```
//!
//! One owner has the node, so there are no locks. It takes everything that has arrived, flushes
//! once (one durability barrier, however many payments), and only then broadcasts, sends and tells
//! (P4). The clock and the randomness of the machine enter here, as values.
//!
//! # Where the owner runs
//!
//! On a thread of its own, and it commits in place. A commit must return before anything of it
//! leaves, and the next one cannot begin before, so there is nothing else that the owner could do
//! meanwhile; on a thread of tokio's it would keep links from being read, and a move of the store
//! to a blocking thread and back would cost more than a commit in memory. While it waits for the
//! disk, arrivals queue up and share the next barrier. The chain source blocks there as well, so a
//! source must answer within seconds or say that it is cut off.
//!
//! # What a peer can cost
//!
//! A link is plain: the encrypted transport is not in this release. So a driver listens on, and
//! connects to, loopback addresses only, unless [`Options::expose_unencrypted_beyond_loopback`] is
//! set: beyond loopback whoever is on the way can read what is paid, and can forge messages in a
//! peer's name. (It cannot forge a voucher; it can cut, delay and mislead.)
//!
//! A peer has one link with at most 65 kB of an unfinished frame, 8 kB of read buffer, one message
//! that waits for the owner and 256 kB that wait for it; and 1 MiB each of an unfinished batch and
//! an unfinished bundle a channel, once it has signed for them, however many links it has. Batches
//! that this side pays wait for it beside that, as many as may be in flight. Garbage, silence, a
//! frame that does not end in time, a queue that it does not empty, and 64 refused messages in a
//! row end its link and nothing else; refusals are told as their number doubles. Messages of all
//! links come to the owner in turn, so a flood slows its sender.
//!
//! Rank 7, feature `rt`. Used by the command line and by whoever runs a node on an operating
//! system.

mod clock;
mod driver;
mod link;
mod owner;
pub mod stratum;
#[cfg(feature = "sv2")]
pub mod sv2;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bitcoin::Network;

pub use driver::{Driver, News, Shown};

use crate::chain::{ChainError, ChainSource};
use crate::node::{Event, LinkId, Node, NodeError};
use crate::store::Store;
use crate::units::Blame;
use crate::wire::WireError;

/// What a driver drives.
pub struct Parts<S> {
    /// The node, loaded from `store`.
    pub node: Node<S>,
    /// Where its records are.
    pub store: Box<dyn Store + Send>,
    /// What shows it the chain.
    pub chain: Box<dyn ChainSource + Send>,
}

/// How a driver behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The node's network: a peer that serves others only is let go.
    pub network: Network,
    /// Where it takes connections; port 0 for any free one; `None`: it only makes connections.
    pub listen: Option<SocketAddr>,
    /// Allows links that are not on this machine, although nothing encrypts or authenticates them.
    pub expose_unencrypted_beyond_loopback: bool,
    /// How often the chain is asked for news.
    pub chain_interval: Duration,
    /// How long a connection may take to be made and greeted.
    pub greeting_max: Duration,
    /// How long a peer may be silent before it is asked whether it is there.
    pub ping_after: Duration,
    /// How long a peer may be silent, a frame unfinished, or a write stuck, before its link ends.
    pub idle_max: Duration,
    /// How many links there may be at once, in both directions together. An eighth of them is kept
    /// for those that this side makes.
    pub links_max: usize,
}

impl Options {
    /// No listener, loopback only; the chain once a second; 10 s to greet, a ping after 30 s, the
    /// end after 90 s; 1,024 links, which hold at most 350 MB
    /// beside the items that are on their way in channels.
    pub fn new(network: Network) -> Self {
        Self {
            network,
            listen: None,
            expose_unencrypted_beyond_loopback: false,
            chain_interval: Duration::from_secs(1),
            greeting_max: Duration::from_secs(10),
            ping_after: Duration::from_secs(30),
            idle_max: Duration::from_secs(90),
            links_max: 1_024,
        }
    }

    /// Nothing but loopback without the word of the caller.
    fn check(&self, address: SocketAddr) -> Result<(), RtError> {
        if address.ip().is_loopback() || self.expose_unencrypted_beyond_loopback {
            Ok(())
        } else {
            Err(RtError::NotLoopback { address })
        }
    }
}

/// What a driver tells. What the node states in it is durable.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Told {
    /// The node's own news.
    Node(Event),
    /// A peer has connected and greeted.
    LinkUp {
        /// The link's name from now on.
        link: LinkId,
        /// The peer's address.
        address: SocketAddr,
        /// Whether the peer made the connection.
        inbound: bool,
    },
    /// A link has ended; its name is not used again.
    LinkDown {
        /// Which.
        link: LinkId,
        /// Why.
        why: LinkEnd,
    },
    /// A peer's message or the chain's news were refused; the state is as it was.
    ///
    /// Of a link the first is told, the second, the fourth, the eighth and so on: strangers must
    /// not push other news out.
    Refused {
        /// The peer's link, if it was a message.
        link: Option<LinkId>,
        /// How many of this link were refused so far; 1 without a link.
        count: u32,
        /// Why.
        error: NodeError,
    },
    /// The chain did not take a transaction; the node offers it again with every block.
    Unsent {
        /// Why.
        error: ChainError,
    },
    /// The listener failed to take a connection; it goes on.
    NotAccepted {
        /// The operating system's reason.
        why: io::ErrorKind,
    },
    /// The store failed: nothing that depended on it has left, and the driver has ended. Load the
    /// node again from the store.
    Failed {
        /// Why.
        error: NodeError,
    },
    /// This listener was too slow, and so much was not told to it; [`Driver::look`] shows all.
    Missed(u64),
}

/// Why a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkEnd {
    /// This side ended it.
    #[error("cut by this side")]
    Cut,
    /// The peer closed it.
    #[error("closed by the peer")]
    Closed,
    /// The connection broke.
    #[error("broken: {0}")]
    Broken(io::ErrorKind),
    /// The peer's bytes are no messages.
    #[error("garbage: {0}")]
    Garbage(WireError),
    /// The first message was no greeting.
    #[error("no greeting first")]
    NotGreeted,
    /// The peer serves other networks only.
    #[error("the peer is on another network")]
    OtherNetwork,
    /// The peer requires a feature that this release does not have.
    #[error("the peer requires feature {bit}")]
    UnknownFeature {
        /// Its number.
        bit: usize,
    },
    /// The peer sent an error, which ends a link (BOLT-1).
    #[error("given up by the peer")]
    GivenUp,
    /// No whole message came in time.
    #[error("silent for too long")]
    Silent,
    /// The peer does not read what is sent to it.
    #[error("the peer reads too slowly")]
    Slow,
    /// Too many refused messages in a row.
    #[error("too many refused messages")]
    Refused,
}

impl LinkEnd {
    /// What the peer sent, or did not, is the peer's; how a connection breaks or ends in order is
    /// the world's.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Cut => Blame::Us,
            Self::Closed | Self::Broken(_) => Blame::World,
            Self::Garbage(_)
            | Self::NotGreeted
            | Self::OtherNetwork
            | Self::UnknownFeature { .. }
            | Self::GivenUp
            | Self::Silent
            | Self::Slow
            | Self::Refused => Blame::Peer,
        }
    }
}

/// Why the driver did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RtError {
    /// Links are not encrypted in this release.
    #[error(
        "{address} is not a loopback address, and links are not encrypted or authenticated in this \
         release: set expose_unencrypted_beyond_loopback to accept that"
    )]
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
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The connection cannot be made.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The peer and this side do not greet each other.
    #[error("no link with {address}: {why}")]
    Greeting {
        /// The address.
        address: SocketAddr,
        /// Why.
        why: LinkEnd,
    },
    /// All links are taken.
    #[error("more than {max} links")]
    TooManyLinks {
        /// The limit.
        max: usize,
    },
    /// The node refused, or its store failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The operating system has no randomness.
    #[error("the operating system gives no randomness")]
    NoEntropy,
    /// The operating system refused a thread.
    #[error("no thread for the node: {0}")]
    NoThread(io::Error),
    /// This listener was too slow, and so many batches or bundles were not shown to it. They count
    /// all the same.
    #[error("{count} batches or bundles were missed")]
    NotShown {
        /// How many.
        count: u64,
    },
    /// The driver has ended.
    #[error("the driver has ended")]
    Ended,
}

impl RtError {
    /// Ours, the machine's and its settings'; the world's if nobody answers at an address; and what
    /// a link or the node refuses is whose that says.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::NotLoopback { .. }
            | Self::PortInUse { .. }
            | Self::Listen { .. }
            | Self::TooManyLinks { .. }
            | Self::NoEntropy
            | Self::NoThread(_)
            | Self::NotShown { .. }
            | Self::Ended => Blame::Us,
            Self::Connect { .. } => Blame::World,
            Self::Greeting { why, .. } => why.blame(),
            Self::Node(error) => error.blame(),
        }
    }
}
