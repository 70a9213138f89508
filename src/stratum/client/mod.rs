//! The miner's side of one connection, without I/O.
//!
//! ```text
//!        start            subscribed          authorized
//!   New -------> Greeting ----------> Naming ------------> Mining --> Task, Judged, ..
//! ```
//!
//! A pool is not believed: what it sends is bounded, a difficulty that cannot be meant or a job
//! that cannot be read ends the connection by name, and nothing that it says makes this side
//! connect elsewhere ([`Wanted::follow`]).

mod session;

use alloc::string::String;
use alloc::vec::Vec;

pub use session::ClientSession;

use super::message::{Extranonce, Label, Notify, Refusal};
use crate::miner::job::{Parts, Root, TimeRoll};
use crate::miner::{Coinbase, Found, Job, MinerError};
use crate::stratum::Difficulty;
use crate::units::{JobId, Target, UtcSeconds};
use crate::wire::PeerText;

/// What this side wants of a pool.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Wanted {
    /// Who is paid, in the pool's own form.
    pub user: String,
    /// What else the pool wants to hear; most ignore it.
    pub password: String,
    /// This miner's name and version.
    pub agent: String,
    /// The session to go on with.
    pub resume: Option<Label>,
    /// The bits of the version that this side can roll; 0: none.
    pub version_mask: u32,
    /// The difficulty that this side would like.
    pub difficulty: Option<Difficulty>,
    /// Where a pool may send it to.
    pub follow: Follow,
}

/// Which requests to reconnect are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Follow {
    /// To the same host, at any port.
    #[default]
    SameHost,
    /// To any host: whoever is on the way can take the work then.
    AnyHost,
}

impl Wanted {
    /// All that there is to agree on, for this user.
    #[must_use]
    pub fn new(user: &str) -> Self {
        Self {
            user: user.into(),
            password: "x".into(),
            agent: concat!("millstream/", env!("CARGO_PKG_VERSION")).into(),
            resume: None,
            version_mask: Self::VERSION_MASK,
            difficulty: None,
            follow: Follow::SameHost,
        }
    }

    /// The general purpose bits of BIP320.
    pub const VERSION_MASK: u32 = 0x1fff_e000;
}

/// A job with all that it takes to search it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The pool's job.
    pub job: Notify,
    /// The coinbase before this side's part: the job's prefix, and the pool's extranonce.
    pub prefix: Vec<u8>,
    /// How many bytes this side's part has, 1 ..= 8.
    pub size: u8,
    /// What a share's hash must meet.
    pub target: Target,
    /// The bits of the version that may be rolled.
    pub version_mask: u32,
    /// For [`ClientSession::submit`].
    pub(super) space: Space,
}

impl Task {
    /// The job as a search walks it.
    ///
    /// `id`: this side's own number for it; `roll`: how far its time may be set ahead, which the
    /// protocol leaves open; `expires`: likewise.
    ///
    /// # Errors
    /// [`MinerError::VersionMask`] for a mask of more than 16 bits, which this side did not ask
    /// for.
    pub fn job(
        &self,
        id: JobId,
        roll: TimeRoll,
        expires: UtcSeconds,
    ) -> Result<Job<'_>, MinerError> {
        let Notify { suffix, branches, previous, version, bits, time, .. } = &self.job;
        Job::new(Parts {
            id,
            version: *version,
            version_mask: self.version_mask,
            previous: *previous,
            root: Root::Coinbase(Coinbase::new(&self.prefix, &[], self.size, suffix, branches)?),
            bits: *bits,
            time: *time,
            roll,
            nonce_first: 0,
            nonce_last: u32::MAX,
            target: self.target,
            expires,
        })
    }
}

/// Which part of the coinbases is this connection's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) extranonce1: Extranonce,
    /// Bytes that the pool leaves to this side; those above 8 stay zero.
    pub(super) size: u8,
}

/// A share that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Find {
    /// This side's part of the coinbase, in the task's size.
    pub extranonce2: u64,
    /// The header's version.
    pub version: u32,
    /// The header's time.
    pub time: u32,
    /// The header's nonce.
    pub nonce: u32,
}

impl From<Found> for Find {
    fn from(found: Found) -> Self {
        let Found { extranonce, version, time, nonce, .. } = found;
        Self { extranonce2: extranonce, version, time, nonce }
    }
}

/// What a pool's line came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// Nothing to do.
    Nothing,
    /// Search this from now on; where the job is clean, earlier ones are worthless.
    Task(alloc::boxed::Box<Task>),
    /// These bits of the version may be rolled, also in the tasks before.
    VersionMask(u32),
    /// A share was taken, or not.
    Judged {
        /// What [`ClientSession::submit`] returned for it.
        share: u64,
        /// The pool's words, if it was refused.
        answer: Result<(), Refusal>,
    },
    /// A text for whoever operates this miner.
    Message(PeerText),
    /// Leave, and connect again there.
    Reconnect {
        /// The host, if it is another and [`Wanted::follow`] allows it.
        host: Option<String>,
        /// The port, if it is another.
        port: Option<u16>,
        /// After how many seconds, at most an hour.
        wait_s: u32,
    },
    /// The pool wants this side at another host, which [`Wanted::follow`] does not allow.
    NotFollowed,
    /// An answer that nobody asked for, or a method that this release does not know.
    Foreign,
}
