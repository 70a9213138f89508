//! Why a window, a statement or a receipt is refused.

use bitcoin::secp256k1::XOnlyPublicKey;

use crate::ledger::Exact;
use crate::merkle::MerkleError;
use crate::units::{Blame, Msat, Overflow, Work};

/// What is wrong with a share of a window, a statement, or bytes that should be a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareReceiptError {
    /// A share of no bytes, or of too many.
    #[error("a share of {got} bytes, 1 to 32 can be")]
    ShareBytes {
        /// Its length.
        got: usize,
    },
    /// A credit that is not of one share.
    #[error("a credit of {got} shares for one")]
    NotOne {
        /// How many.
        got: u64,
    },
    /// The tree does not take it: no share, or more than 2^20.
    #[error(transparent)]
    Tree(MerkleError),
    /// The sum leaves the range of amounts, or of work.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// The statement counts another number of shares than the worker.
    #[error("{got} shares are stated where {want} were accepted")]
    Shares {
        /// What it states.
        got: u64,
        /// What the worker counted.
        want: u64,
    },
    /// The statement counts other work than the worker.
    #[error("{got} are stated where {want} were done")]
    Work {
        /// What it states.
        got: Work,
        /// What the worker counted.
        want: Work,
    },
    /// The statement counts another value than the worker.
    #[error("owed is stated to go from {from} to {to}, and should grow by {want}")]
    Value {
        /// What it states was owed before.
        from: Exact,
        /// What it states is owed.
        to: Exact,
        /// What the worker counted.
        want: Exact,
    },
    /// Not the next window of the same worker, or one that begins with less.
    #[error("window {got} does not go on where window {before} ended")]
    NotNext {
        /// Its number.
        got: u64,
        /// The number of the one before.
        before: u64,
    },
    /// The bytes are not in the one form of a receipt.
    #[error("not a receipt of a share, at byte {at}")]
    Form {
        /// Where reading stopped.
        at: usize,
    },
    /// The path of the share does not stand.
    #[error("the share is not under the root: {0}")]
    Path(MerkleError),
    /// The path is of a tree with another number of shares.
    #[error("the path is in a window of {got} shares, {want} are stated")]
    Counted {
        /// The path's.
        got: u32,
        /// The statement's.
        want: u32,
    },
    /// The path's sum is not what the statement adds.
    #[error("the path sums up to {got}, which is not what is stated")]
    TotalDiffers {
        /// What the path makes.
        got: Msat,
    },
    /// The path leads to another root than the statement's.
    #[error("the share does not lead to the stated root")]
    RootDiffers,
    /// Not the pool's signature over the statement.
    #[error("the signature is not {pool}'s over this statement")]
    BadSignature {
        /// Whose it should be.
        pool: XOnlyPublicKey,
    },
}

impl ShareReceiptError {
    /// The pool's where it shows what does not stand; ours where we build it.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::ShareBytes { .. } | Self::NotOne { .. } => Blame::Us,
            Self::Tree(error) => error.blame(),
            Self::Overflow(error) => error.blame(),
            Self::Shares { .. }
            | Self::Work { .. }
            | Self::Value { .. }
            | Self::NotNext { .. }
            | Self::Form { .. }
            | Self::Path(_)
            | Self::Counted { .. }
            | Self::TotalDiffers { .. }
            | Self::RootDiffers
            | Self::BadSignature { .. } => Blame::Peer,
        }
    }
}
