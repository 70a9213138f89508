//! The search for proof of work: a job in, shares out, on any machine.
//!
//! ```text
//!   Job (template, what may be changed, until when)       Limits (duty, heat, energy)
//!        |                                                     |
//!        v              hashes                                 v
//!   Search::step  <----------------------------------  Governor::grant
//!        |   nonce, then version, then time, then extranonce; none twice; Checkpoint
//!        v
//!   kernel (double SHA-256 of one header with many nonces)
//!        |
//!        '--> Found, every one of them
//! ```
//!
//! Nothing here allocates, waits or knows the time: a step takes a budget in hashes and the present
//! as arguments and returns. So the same search runs in an interrupt of a microcontroller and on
//! every core of a server, each core with an extranonce of its own before its coinbase.
//!
//! | | rule |
//! | --- | --- |
//! | N1 | No header is hashed twice: not over jobs of one tip, in any order, nor after a restart. |
//! | N2 | An extranonce, once used, is not used again before the tip changes. |
//! | N3 | Every hash that meets the target is told, not only the best of a step. |
//! | N4 | A step hashes no more than it was asked, the governor grants no more than its limits. |
//!
//! Rank 1: builds on `core` alone, without an allocator. Used by `shares`, which checks what is
//! found here, and by whoever drives a search: `rt`, the firmware, the command line.

pub mod governor;
pub mod job;
pub mod kernel;
pub mod search;

mod header;

pub use header::Header;
pub use job::{Coinbase, Job};
pub use search::Search;

use crate::units::{Blame, JobId};

/// A hash that meets its job's target, and where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// The job.
    pub job: JobId,
    /// The searcher's part of the extranonce, 0 if the job has none.
    pub extranonce: u64,
    /// The header's whole version.
    pub version: u32,
    /// The header's time.
    pub time: u32,
    /// The nonce.
    pub nonce: u32,
    /// The hash, in wire order.
    pub hash: [u8; 32],
}

/// A header or a job that cannot be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MinerError {
    /// A header has 80 bytes.
    #[error("header of {got} bytes")]
    HeaderLength {
        /// Bytes that were given.
        got: usize,
    },
    /// The extranonce is wider than [`Coinbase::EXTRANONCE_SIZE_MAX`].
    #[error("extranonce of {got} bytes, the limit is 8")]
    ExtranonceSize {
        /// Bytes that were asked for.
        got: u8,
    },
    /// The way from the coinbase to the root is longer than [`Coinbase::BRANCHES_MAX`].
    #[error("{got} merkle branches, the limit is 20")]
    Branches {
        /// How many there are.
        got: usize,
    },
    /// More than [`Job::VERSION_BITS_MAX`] bits of the version may be changed.
    #[error("version mask {mask:#010x} has more than 16 bits")]
    VersionMask {
        /// The mask.
        mask: u32,
    },
    /// The range of nonces ends before it begins.
    #[error("nonces from {first} to {last}")]
    Nonces {
        /// The first of them.
        first: u32,
        /// The last of them.
        last: u32,
    },
    /// The time may be set further ahead than nodes accept, or than a header can hold.
    #[error("time {time} rolled by up to {roll} s, the limit is 7200 s")]
    TimeRoll {
        /// The job's time.
        time: u32,
        /// Seconds ahead.
        roll: u16,
    },
    /// Jobs of one tip have an extranonce, or they have none.
    #[error("a job with an extranonce among those without, or the reverse, on one tip")]
    Mixed,
}

impl MinerError {
    /// The peer's: jobs and headers come from a pool.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::HeaderLength { .. }
            | Self::ExtranonceSize { .. }
            | Self::Branches { .. }
            | Self::VersionMask { .. }
            | Self::Nonces { .. }
            | Self::TimeRoll { .. }
            | Self::Mixed => Blame::Peer,
        }
    }
}
