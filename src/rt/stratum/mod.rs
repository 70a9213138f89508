//! Stratum V1 over TCP: a server that real miners mine on, and a client of real pools.
//!
//! ```text
//!  miner <--TCP--> connection: ServerSession, Seat --Credit (bounded)--> whoever pays
//!                       ^
//!                  newest Job (watch)  <-- StratumServer::publish
//!
//!  pool  <--TCP--> connection: ClientSession --ClientNews (bounded)--> whoever searches
//!                       ^                                                    |
//!                       +------------------ Find (bounded) ------------------+
//! ```
//!
//! Each connection is one task that owns its session and its desk, so a share is checked where it
//! arrives and there are no locks on its way. What a worker is owed leaves as [`Credit`]s, in
//! order, and a share is answered only after its credit was taken: whoever pays sees at least what
//! the miner was told.
//!
//! # What a peer can cost
//!
//! Plain text, like [`Driver`](super::Driver): loopback only unless the options say otherwise. A
//! miner has 4 kB of an unfinished line, 4 kB of read buffer, what one job and the lines of a
//! buffer are answered by, and its desk. Floods of bytes, lines or refusals, silence, a line that
//! does not end, a greeting that does not come and answers that are not read end its connection by
//! name ([`ConnectionEnd`]) and nothing else. Of a connection that is cut the desk is kept for a
//! while, so that the session can be resumed without counting a share twice.

pub mod client;
mod places;
mod serve;
mod server;
mod waits;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::XOnlyPublicKey;

pub use server::{Connections, Credits, StratumServer};

use crate::shares::{Coinbase, Good, Head, JobError, Policy, PoolJob, Space};
use crate::stratum::message::{Label, Notify};
use crate::stratum::server::Verdict;
use crate::stratum::{StratumError, WorkerName};
use crate::units::{Blame, Seconds, Target, WorkBits};

/// How a server behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Where it takes connections; port 0 for any free one.
    pub listen: SocketAddr,
    /// Allows miners that are not on this machine, although nothing encrypts or authenticates them.
    pub expose_unencrypted_beyond_loopback: bool,
    /// How many miners there may be at once.
    pub connections_max: usize,
    /// How many of them may be of one address, so that nobody takes all places: of one IPv4
    /// address, or of the 64 leading bits of IPv6 that one customer has.
    pub connections_of_address_max: usize,
    /// How long a miner may take to subscribe and authorize.
    pub greeting_max: Duration,
    /// How long a line may take to end, or an answer to be read.
    pub stall_max: Duration,
    /// How long a miner may say nothing.
    pub idle_max: Duration,
    /// For how long the session of a cut connection can be resumed.
    pub resume_max: Duration,
    /// After how long without a new job the last one is given out again, with the present time:
    /// there are miners that stop when they hear nothing for two minutes.
    pub repeat_after: Duration,
    /// The work of a share: least, most, and at the beginning. Whoever finds more shares at the
    /// beginning than `lines` allows is cut before the first look at its speed: for machines of
    /// more than a terahash a second begin above the default.
    pub work: (WorkBits, WorkBits, WorkBits),
    /// How often a miner should find a share.
    pub aim: Seconds,
    /// The limits of a desk.
    pub desk: Policy,
    /// Bytes of a miner's part of the coinbase: what jobs must have room for, 1 ..= 8.
    pub extranonce2_size: u8,
    /// Bytes a second, and at once.
    pub bytes: (u32, u32),
    /// Lines a second, and at once.
    pub lines: (u32, u32),
    /// Refused lines a second, and at once; shares that are stale or above the desk's budget do not
    /// count.
    pub refusals: (u32, u32),
}

impl ServerOptions {
    /// Loopback only; 1,024 miners, 256 of one address; a share each 10 s of 2^16 to 2^64 hashes,
    /// at first 2^32.
    pub fn new(listen: SocketAddr) -> Self {
        let bits = |bits| WorkBits::new(bits).unwrap_or(WorkBits::MIN);
        let aim = Seconds::new(10).unwrap_or(Seconds::MIN);
        Self {
            listen,
            expose_unencrypted_beyond_loopback: false,
            connections_max: 1_024,
            connections_of_address_max: 256,
            greeting_max: Duration::from_secs(30),
            stall_max: Duration::from_secs(30),
            idle_max: Duration::from_secs(900),
            resume_max: Duration::from_secs(600),
            repeat_after: Duration::from_secs(60),
            work: (bits(16), bits(64), bits(32)),
            aim,
            desk: Policy::for_aim(aim),
            extranonce2_size: 8,
            bytes: (65_536, 262_144),
            lines: (256, 1_024),
            refusals: (1, 32),
        }
    }
}

/// A job as miners get it.
#[derive(Debug)]
pub struct Job {
    notify: Notify,
    pool: Arc<PoolJob>,
}

impl Job {
    /// Bytes of the pool's part of the coinbase: the room between prefix and suffix is this, and a
    /// miner's own part behind it.
    pub const EXTRANONCE1_SIZE: u8 = 4;

    /// Checks a template's parts.
    ///
    /// `extranonce2_size`: as in the server's options.
    ///
    /// # Errors
    /// [`JobError`]: what does not fit.
    pub fn new(
        head: Head,
        prefix: &[u8],
        suffix: &[u8],
        branches: &[[u8; 32]],
        extranonce2_size: u8,
    ) -> Result<Self, JobError> {
        let (space_size, extranonce_size) = (Self::EXTRANONCE1_SIZE, extranonce2_size);
        let coinbase = Coinbase { prefix, suffix, space_size, extranonce_size, branches };
        let pool = Arc::new(PoolJob::with_coinbase(head, &coinbase)?);
        let notify = Notify {
            // Each connection has a name of its own for it.
            job: Label::of_u32(0),
            previous: head.previous,
            prefix: prefix.to_vec(),
            suffix: suffix.to_vec(),
            branches: branches.to_vec(),
            version: head.version,
            bits: head.bits,
            time: head.start,
            clean: false,
        };
        Ok(Self { notify, pool })
    }

    /// The same with a rule of the house, as [`PoolJob::with_harder_blocks`].
    #[must_use]
    pub fn with_harder_blocks(self, target: Target) -> Self {
        let Self { notify, pool } = self;
        Self { notify, pool: Arc::new(Arc::unwrap_or_clone(pool).with_harder_blocks(target)) }
    }

    /// What shares are checked against.
    pub fn pool(&self) -> &PoolJob {
        &self.pool
    }
}

/// Work that a miner is to be paid for. It was counted once, and is never told again.
#[derive(Debug, Clone)]
pub struct Credit {
    /// Who is paid.
    pub worker: Arc<WorkerName>,
    /// The share; if it is a block, submit it at once.
    pub good: Good,
    /// The job that it is of.
    pub job: Arc<Job>,
    /// The pool's part of its coinbase.
    pub extranonce1: Space,
}

/// What a server tells of its connections.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ServerNews {
    /// A miner is ready.
    Up {
        /// Its address.
        peer: SocketAddr,
        /// Whom it mines for.
        key: XOnlyPublicKey,
    },
    /// A share was refused.
    Refused {
        /// The miner's address.
        peer: SocketAddr,
        /// Whom it mines for.
        key: XOnlyPublicKey,
        /// What it was told.
        why: Verdict,
    },
    /// A connection has ended, of a miner that was ready or not.
    Down {
        /// Its address.
        peer: SocketAddr,
        /// Why.
        why: ConnectionEnd,
    },
    /// This listener was too slow, and so much was not told to it.
    Missed(u64),
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionEnd {
    /// This side has ended.
    #[error("ended by this side")]
    Ended,
    /// The peer closed it.
    #[error("closed by the peer")]
    Closed,
    /// The connection broke, or could not be made.
    #[error("broken: {0}")]
    Broken(std::io::ErrorKind),
    /// There are as many connections of its address as there may be.
    #[error("too many connections of one address")]
    Crowded,
    /// A line that is none of the protocol.
    #[error("garbage: {0}")]
    Garbage(StratumError),
    /// No greeting in time.
    #[error("no greeting in time")]
    NotGreeted,
    /// A line that does not end.
    #[error("a line that does not end")]
    Unfinished,
    /// Nothing for too long.
    #[error("silent for too long")]
    Silent,
    /// The peer does not read what is sent to it.
    #[error("the peer reads too slowly")]
    Slow,
    /// More bytes or lines a second than any miner sends.
    #[error("too many bytes or lines")]
    Flood,
    /// More refused requests than an honest peer makes.
    #[error("too many refused requests")]
    Refused,
    /// The chain went back to a tip that the miner was on, and it cannot follow to another
    /// extranonce.
    #[error("the chain went back, and the miner cannot follow")]
    WentBack,
    /// The pool has asked to reconnect.
    #[error("sent away by the pool")]
    SentAway,
    /// The pool has asked to connect to another host, which is not allowed.
    #[error("sent to another host by the pool")]
    SentElsewhere,
}

impl ConnectionEnd {
    /// What the peer sent, or did not, is the peer's; how a connection breaks or ends in order is
    /// the world's.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Ended => Blame::Us,
            Self::Closed | Self::Broken(_) | Self::WentBack | Self::SentAway => Blame::World,
            Self::Garbage(error) => error.blame(),
            Self::Crowded
            | Self::NotGreeted
            | Self::Unfinished
            | Self::Silent
            | Self::Slow
            | Self::Flood
            | Self::Refused
            | Self::SentElsewhere => Blame::Peer,
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn broken(error: std::io::Error) -> ConnectionEnd {
    ConnectionEnd::Broken(error.kind())
}
