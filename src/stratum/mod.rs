//! Stratum V1, without any I/O: lines, messages, and the two sides of a session.
//!
//! ```text
//!  bytes --LineReader--> line --FromMiner::parse--> Request --+
//!                                                             v
//!      miner's side: ClientSession                     ServerSession --asks--> Judge
//!                                                             |
//!  bytes <--------------------- Notice::print, answers <------+
//! ```
//!
//! The protocol is what real miners and pools speak: JSON, a line a message, plain text. A miner is
//! known by the key that it is paid to ([`WorkerName`]), so there are no accounts and no passwords.
//! Difficulties are exact decimals ([`Difficulty`]); no number is read as a float.
//!
//! # What a peer can cost
//!
//! A line is bounded before it is read as JSON ([`LineReader`]), every list and text in it after
//! that; nothing allocates more than a few times the line. What is wrong is refused by name
//! ([`StratumError`]) and changes nothing. How many lines a second may come is an [`Allowance`].
//!
//! Rank 5, feature `stratum`, which `rt` and `sim` bring. Used by the server and the client in
//! `rt`, and by the fuzz target `stratum_lines`.

mod allowance;
pub mod client;
mod difficulty;
mod line;
pub mod message;
mod name;
pub mod server;

pub use allowance::Allowance;
pub use difficulty::{Difficulty, DifficultyError};
pub use line::LineReader;
pub use name::WorkerName;

use crate::units::Blame;

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StratumError {
    /// A line that does not end in time.
    #[error("line of more than {max} bytes")]
    LineTooLong {
        /// The limit.
        max: usize,
    },
    /// The line is no UTF-8.
    #[error("line is not UTF-8")]
    NotUtf8,
    /// The line is no JSON object, or has a member twice.
    #[error("line is not a JSON object")]
    NotJson,
    /// The object is neither a request nor an answer.
    #[error("neither a method nor a result")]
    NotAMessage,
    /// A value that must be there is not.
    #[error("{what} is missing")]
    Missing {
        /// Which.
        what: &'static str,
    },
    /// A value is of another type.
    #[error("{what} is of the wrong type")]
    WrongType {
        /// Which.
        what: &'static str,
    },
    /// A list is longer than any honest one.
    #[error("more than {max} {what}")]
    TooMany {
        /// Which.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A text or its bytes are longer than any honest one.
    #[error("{what} of {got} bytes, above {max}")]
    TooLong {
        /// Which.
        what: &'static str,
        /// How long.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// Not hexadecimal digits, or not as many as there must be.
    #[error("{what} is not hexadecimal of its length")]
    NotHex {
        /// Which.
        what: &'static str,
    },
    /// A number, well written, that cannot be meant.
    #[error("{what} is out of range")]
    OutOfRange {
        /// Which.
        what: &'static str,
    },
    /// A user name that is no payout key and no terms.
    #[error("user name is neither a payout key nor terms")]
    NoWorkerName,
    /// A number that is no difficulty.
    #[error(transparent)]
    Difficulty(#[from] DifficultyError),
    /// A job before the subscription was answered.
    #[error("a job before the subscription")]
    OutOfTurn,
    /// A pool that leaves less to search than any job needs.
    #[error("extranonce2 of no bytes")]
    NoRoom,
    /// What a session cannot go on without was refused.
    #[error("refused by the pool with code {code}")]
    Refused {
        /// The pool's number.
        code: i32,
    },
}

impl StratumError {
    /// The peer's: only what a peer sent is read here.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::LineTooLong { .. }
            | Self::NotUtf8
            | Self::NotJson
            | Self::NotAMessage
            | Self::Missing { .. }
            | Self::WrongType { .. }
            | Self::TooMany { .. }
            | Self::TooLong { .. }
            | Self::NotHex { .. }
            | Self::OutOfRange { .. }
            | Self::NoWorkerName
            | Self::OutOfTurn
            | Self::NoRoom
            | Self::Refused { .. } => Blame::Peer,
            Self::Difficulty(error) => error.blame(),
        }
    }
}
