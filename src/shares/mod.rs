//! Shares: what a worker claims to have found, and whether it is so.
//!
//! ```text
//!  template --> PoolJob --assign(id, target)--> Desk of one worker <--Share-- worker
//!                                                |  check: pure     '- Refused, with its reason
//!                                                '- Good (proof) --> apply, Tally, Vardiff, ledger
//! ```
//!
//! A [`PoolJob`] is a template as workers get it: with a merkle root that is one worker's own, or
//! with the text of a coinbase that has room for an extranonce. A [`Desk`] is one worker's channel:
//! the jobs that it was given, each with the target that it was given it at, a [`Space`] of
//! coinbases that no other worker has, the shares already counted, and a budget.
//! [`Desk::check`] rebuilds the header from the desk's own job and gives a [`Good`], which nothing
//! else can make; [`Desk::apply`] counts it. [`Desk::check_many`] does both for many shares, whose
//! headers are hashed on all lanes of the processor. A [`Seat`](seat::Seat) is a desk with what a
//! server has around it, whatever protocol it speaks.
//!
//! # The rules
//! - V1. The checks, in this order: the job is known, it is not stale, the version differs within
//!   the mask only, the time is in the job's window, the extranonce fits the job's space, there is
//!   budget left, the hash meets the target, the share was not counted before. The first that fails
//!   is the answer; only the last three cost a hash.
//! - V2. A share is worth the work of the target that was assigned to its worker for its job,
//!   whatever its hash achieved. A change of target counts from the next job on.
//! - V3. A share counts once. What is compared is 128 bits of its header's double hash: equal
//!   headers are one share, under whatever job ids they come, and unequal ones never collide by
//!   anybody's choice but at the cost of 2^64 hashes, which would lose the finder a share.
//! - V4. What was counted is forgotten at a new tip only, when no old header is good any more. So a
//!   desk never goes back to a tip that it left, and a desk that is made anew (after a restart)
//!   takes a space that was not used on this tip. A line that was cut is not a new desk.
//! - V5. Nothing grows without bound: jobs, counted shares and credit per second have limits; above
//!   them a share is refused as over budget.
//! - V6. A share whose hash meets the network's target is a block, and a good share too: a target
//!   harder than the network's is never assigned. Where blocks are too easy for that, as on a test
//!   chain, the house sets what makes one ([`PoolJob::with_harder_blocks`]).
//! - V7. A stale share is refused without a hash. Where a [`Grace`] takes shares of the tip before,
//!   a block among them is told as one: it is a rival of the tip, which may yet win.
//! - V8. A block is never thrown away for the budget: it is worth more than all hashes that were
//!   saved. A share above the budget is hashed, and if it is a block it is good, worth no work, and
//!   told once as long as there is room to count it. So a flood costs one hash a share, which is
//!   less than to read its line; whoever reads the lines bounds those.
//!
//! Double hashes cost three compressions of a header. A worker that rolls no version bits costs
//! two, because the first block of its headers is the same for all of them; nothing else is cached
//! that a worker could make miss.
//!
//! Nobody can prove that a worker withholds blocks: [`Tally::suspicion`] says how unlikely its luck
//! is, and no more. Under a scheme that pays per share, a worker that throws blocks away is paid.
//!
//! Rank 2, for the pool's side. Used by `node`, which turns the work of a [`Good`] into money by
//! `ledger`, and by the Stratum server.

mod desk;
mod job;

pub mod seat;
mod seen;
mod share;
mod space;
mod tally;
mod text;
mod vardiff;

use crate::units::{Blame, JobId, Seconds, Target, TargetError};

pub use desk::{Desk, Good, Grace, Policy};
pub use job::{Coinbase, Head, PoolJob};
pub use share::Share;
pub use space::Space;
pub use tally::{Counts, Tally};
pub use vardiff::Vardiff;

/// Why a share is not counted. The desk is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The worker never had this job, or so long ago that it is forgotten.
    #[error("job {job} is not known")]
    UnknownJob {
        /// What the share names.
        job: JobId,
    },
    /// The job is for a tip that was left.
    #[error("job {job} is stale: its tip was left {ago} ago")]
    Stale {
        /// What the share names.
        job: JobId,
        /// Since the newest tip.
        ago: Seconds,
    },
    /// A version bit was changed that may not be.
    #[error("version {got:#010x} is not {base:#010x} but for the bits {mask:#010x}")]
    BadVersion {
        /// The share's.
        got: u32,
        /// The job's.
        base: u32,
        /// The bits that may differ.
        mask: u32,
    },
    /// A time outside the job's window.
    #[error("time {got} is outside {first} to {last}")]
    BadTime {
        /// The share's.
        got: u32,
        /// The first that is taken.
        first: u32,
        /// The last that is taken now.
        last: u32,
    },
    /// An extranonce outside the worker's space.
    #[error("extranonce {got:#x} has more than {size} bytes")]
    NotYourSpace {
        /// The share's.
        got: u64,
        /// Bytes that the job has room for; none if its root is fixed.
        size: u8,
    },
    /// More shares than the worker may be credited on this tip, or in this second.
    #[error("more shares than {limit} a {span}")]
    OverBudget {
        /// How many may be counted.
        limit: u32,
        /// In what: a tip, or a second.
        span: &'static str,
    },
    /// The hash is above the target that the worker has for this job.
    #[error("hash {} is above the target {target}", Shown(*.hash))]
    Low {
        /// The header's double hash as it comes out; the last byte counts most.
        hash: [u8; 32],
        /// The assigned one.
        target: Target,
    },
    /// This header was counted before.
    #[error("share of job {job} was counted before")]
    Duplicate {
        /// What the share names.
        job: JobId,
    },
}

impl Refused {
    /// A stale share crossed the new job on its way, which is nobody's fault; everything else an
    /// honest worker does not send.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Stale { .. } => Blame::World,
            Self::UnknownJob { .. }
            | Self::BadVersion { .. }
            | Self::BadTime { .. }
            | Self::NotYourSpace { .. }
            | Self::OverBudget { .. }
            | Self::Low { .. }
            | Self::Duplicate { .. } => Blame::Peer,
        }
    }
}

/// A hash as block explorers write it.
struct Shown([u8; 32]);

impl core::fmt::Display for Shown {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A job, a space or a step that does not fit. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// Bits beyond the general purpose ones of BIP320.
    #[error("version mask {got:#010x} is not within {allowed:#010x}")]
    MaskTooWide {
        /// What was given.
        got: u32,
        /// [`Head::MASK_MAX`].
        allowed: u32,
    },
    /// The network's target in the header.
    #[error(transparent)]
    Bits(#[from] TargetError),
    /// A job that begins before the first time that a block may have, or whose window does not fit
    /// a header.
    #[error("window from {min_time}, start {start}, roll {roll_max} is not one")]
    BadWindow {
        /// The first time that a block may have.
        min_time: u32,
        /// Where the worker starts.
        start: u32,
        /// How far it may go from there.
        roll_max: Seconds,
    },
    /// A coinbase, its parts or its branches above their limits.
    #[error("{got} {what}, at most {most}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// What was given.
        got: usize,
        /// The limit.
        most: usize,
    },
    /// A job with room for a space of another size.
    #[error("job has room for a space of {room} bytes, the worker's has {got}")]
    SpaceMisfit {
        /// The worker's.
        got: u8,
        /// The job's.
        room: u8,
    },
    /// Ids rise: a late share must never meet another job under its id.
    #[error("job {got} does not come after {last}")]
    JobBackwards {
        /// What was given.
        got: JobId,
        /// The last one.
        last: JobId,
    },
    /// A job for another tip than the desk's.
    #[error("job does not extend the tip")]
    WrongTip,
    /// A tip that the desk left, whose shares it has forgotten (V4).
    #[error("tip was left before: its shares need another space")]
    TipLeft,
    /// A step that another desk decided, or that is of a tip left since, or that was applied.
    #[error("share was not checked by this desk as it is now")]
    NotChecked,
}

impl JobError {
    /// Ours: a template is our node's, and the caller gives jobs out and applies steps.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Bits(error) => error.blame(),
            Self::MaskTooWide { .. }
            | Self::BadWindow { .. }
            | Self::TooMany { .. }
            | Self::SpaceMisfit { .. }
            | Self::JobBackwards { .. }
            | Self::WrongTip
            | Self::TipLeft
            | Self::NotChecked => Blame::Us,
        }
    }
}

#[cfg(test)]
mod tests;
