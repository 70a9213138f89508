//! The pool's side of one connection, without I/O.
//!
//! ```text
//!            subscribe              authorize
//!   Fresh ---------------> Subscribed -------+
//!     |                                      v
//!     +----authorize---> Authorized ----> Mining <---issue-- the caller's jobs
//!                                  subscribe
//! ```
//!
//! `mining.configure`, suggestions and pings are answered in every stage; a share only in `Mining`.
//! One connection works for one payout key, under the names of several machines if it likes.
//!
//! What a session cannot know (who may mine, whether a share is good) it asks its [`Judge`], which
//! the caller implements on a [`Desk`](crate::shares::Desk). A line that is no message ends the
//! connection; everything else is answered, and changes nothing if it is refused.

mod session;

pub use session::ServerSession;

use super::message::{Extranonce, Label};
use super::{StratumError, WorkerName};
use crate::units::{JobId, Target};
use crate::wire::PeerText;

/// What a connection is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// By which the session can be resumed on another connection.
    pub session: Label,
    /// The worker's own part of every coinbase: no other connection's.
    pub extranonce1: Extranonce,
    /// Bytes of the coinbase that the worker searches through, 1 ..= 8.
    pub size: u8,
    /// The bits of the version that may be rolled.
    pub version_mask: u32,
}

/// A share as the session read it; its names are not the judge's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The job.
    pub job: JobId,
    /// The worker's part of the coinbase.
    pub extranonce: u64,
    /// The version, rolled bits included.
    pub version: u32,
    /// The header's time.
    pub time: u32,
    /// The header's nonce.
    pub nonce: u32,
}

/// What is one miner's own of a job that many have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issue {
    /// Its number, higher than every one before, and its name on the wire.
    pub id: JobId,
    /// What it is assigned at.
    pub target: Target,
    /// The time to begin with. One that moves on makes a job that comes again another: miners that
    /// compare headers would go on with the old one, and with its difficulty.
    pub time: u32,
    /// Whether earlier jobs are worthless from now on.
    pub clean: bool,
}

/// What the pool decides.
pub trait Judge {
    /// The offer of a session that was cut and may go on, taken from where it is kept.
    fn resume(&mut self, session: &Label) -> Option<Offer>;

    /// Whether work is taken from this worker.
    fn authorize(&mut self, worker: &WorkerName) -> bool;

    /// The version of a job that this worker was given, before a resumed session was cut included.
    fn version_of(&self, job: JobId) -> Option<u32>;

    /// What the miner would like its shares' target to be; the judge may follow or not.
    fn suggest(&mut self, target: Target);

    /// Whether a share counts; if so it is counted when this returns.
    fn judge(&mut self, claim: &Claim) -> Verdict;
}

/// What becomes of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It counts.
    Good,
    /// The job is unknown, or its tip was left.
    Stale,
    /// It was counted before.
    Duplicate,
    /// The hash is above the job's target.
    Low,
    /// Version, time, extranonce or budget: in these words.
    Other(&'static str),
}

/// What a line came to, for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// It was answered; there is nothing to do.
    Answered,
    /// The miner is ready: give it a job by [`ServerSession::issue`].
    Ready,
    /// A share counts.
    Good,
    /// Something was refused; so much of it, and the connection is not worth keeping.
    Refused(Refused),
    /// What the miner is, as it says.
    Version(PeerText),
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Its form.
    Malformed(StratumError),
    /// A method that there is not.
    UnknownMethod,
    /// It was subscribed already.
    SubscribedTwice,
    /// A share before `mining.subscribe`.
    NotSubscribed,
    /// A worker that is unknown, another key than the first, or too many names.
    NotAuthorized,
    /// A share that does not count.
    Share(Verdict),
}
