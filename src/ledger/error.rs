//! What the ledger refuses, and who is to blame.

use bitcoin::OutPoint;

use super::WorkerKey;
use crate::store::StoreError;
use crate::units::{Blame, Msat, Overflow, Work};

/// Why the ledger refused an input; it is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// A hash is worth less than 2^-96 millisatoshis.
    #[error("a price that rounds to nothing")]
    PriceZero,
    /// A hash is worth 2^32 millisatoshis or more.
    #[error("a price of 2^32 msat a hash or more")]
    PriceTooHigh,
    /// A network that finds blocks without work has no price.
    #[error("a network of no work")]
    NoNetworkWork,
    /// Rows of a price table that do not rise, or too few or many of them.
    #[error("a table of {rows} rows; 1 to 16 must rise")]
    Table {
        /// How many.
        rows: usize,
    },
    /// A share that is smaller than the table's smallest.
    #[error("shares of {share} have no price")]
    NoPrice {
        /// Its work.
        share: Work,
    },
    /// Work that was priced, and should be paid by blocks too.
    #[error("work of worker {worker} has a price, and blocks pay it no second time")]
    Priced {
        /// Who did it.
        worker: WorkerKey,
    },
    /// More blocks that wait for the chain than are kept.
    #[error("{max} blocks are not buried")]
    TooManyBlocks {
        /// The most.
        max: usize,
    },
    /// The fate of a block that was never told, or so long ago that it is forgotten.
    #[error("no such block was found")]
    NoBlock {
        /// Its hash.
        id: [u8; 32],
    },
    /// A block that nobody worked for.
    #[error("there is no work that the block could be shared over")]
    NobodyWorked,
    /// More workers in the window than it can have.
    #[error("{max} entries of work, each of another worker")]
    WindowFull {
        /// The most entries.
        max: usize,
    },
    /// More workers than a block could pay in one commit, or none.
    #[error("{got} workers, 1 to {max} can be")]
    Limits {
        /// What was given.
        got: u32,
        /// The most that can be.
        max: u32,
    },
    /// The worker is owed as much as the pool risks to owe it, or the worker risks to work for.
    #[error("worker {worker} is owed {due}, which has reached the limit of {max}")]
    UnpaidLimit {
        /// Whose account.
        worker: WorkerKey,
        /// What it is owed.
        due: Msat,
        /// The limit.
        max: Msat,
    },
    /// There is no room for another worker; forget those that are idle.
    #[error("{max} workers have accounts")]
    TooManyWorkers {
        /// The limit.
        max: u32,
    },
    /// The worker has no account.
    #[error("worker {worker} has no account")]
    NoWorker {
        /// Who.
        worker: WorkerKey,
    },
    /// No channel is bound to the account.
    #[error("no channel pays worker {worker}")]
    NotBound {
        /// Whose account.
        worker: WorkerKey,
    },
    /// Another channel is bound to the account.
    #[error("worker {worker} is paid by {bound}, not by {got}")]
    OtherChannel {
        /// Whose account.
        worker: WorkerKey,
        /// The channel that was named.
        got: OutPoint,
        /// The channel that is bound.
        bound: OutPoint,
    },
    /// A payment of more than is due.
    #[error("worker {worker} would be paid {by} more than it is owed")]
    AboveOwed {
        /// Whose account.
        worker: WorkerKey,
        /// How much.
        by: Msat,
    },
    /// The account cannot be forgotten: a channel is bound, or more or less is owed than was paid.
    #[error("worker {worker} is owed {due}, is {ahead} ahead, or has a channel")]
    NotIdle {
        /// Whose account.
        worker: WorkerKey,
        /// What it is owed.
        due: Msat,
        /// What it was paid too much.
        ahead: Msat,
    },
    /// A step that was decided before another one was applied.
    #[error("step {got} is applied where step {want} comes next")]
    OldStep {
        /// Where it was decided.
        got: u64,
        /// Where the ledger stands.
        want: u64,
    },
    /// Accounts, fee and what is gone are not what was credited.
    #[error("the accounts do not add up to what was credited")]
    Unbalanced,
    /// The sum leaves the range of amounts, or of work.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// A stored record has the right version and checksum, and still makes no sense.
    #[error("record is broken at byte {at}")]
    BrokenRecord {
        /// Where reading stopped.
        at: usize,
    },
    /// The store, or the envelope of a record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LedgerError {
    /// Ours, but for what stands open between the two.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::UnpaidLimit { .. } => Blame::Peer,
            Self::PriceZero
            | Self::PriceTooHigh
            | Self::NoNetworkWork
            | Self::Table { .. }
            | Self::NoPrice { .. }
            | Self::Priced { .. }
            | Self::NobodyWorked
            | Self::TooManyBlocks { .. }
            | Self::NoBlock { .. }
            | Self::WindowFull { .. }
            | Self::Limits { .. }
            | Self::TooManyWorkers { .. }
            | Self::NoWorker { .. }
            | Self::NotBound { .. }
            | Self::OtherChannel { .. }
            | Self::AboveOwed { .. }
            | Self::NotIdle { .. }
            | Self::OldStep { .. }
            | Self::Unbalanced
            | Self::BrokenRecord { .. } => Blame::Us,
            Self::Overflow(error) => error.blame(),
            Self::Store(error) => error.blame(),
        }
    }
}
