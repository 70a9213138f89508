//! Why a node's words lead to no template.

use crate::units::Blame;

/// Why a node was not asked, did not answer, or is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// No answer: no connection, a time-out, an answer beyond the limits.
    #[error("no answer from the node")]
    Http(#[from] bitreq::Error),
    /// The file with the node's cookie cannot be read.
    #[error("the node's cookie file cannot be read")]
    Cookie(#[from] std::io::Error),
    /// Name and password are not the node's.
    #[error("the node does not take our name and password")]
    Unauthorized,
    /// An answer of HTTP alone, without a reply in it: a busy node says 503, and one that closes
    /// without a word counts as such.
    #[error("the node answers with HTTP status {status}")]
    Status {
        /// The status.
        status: i32,
    },
    /// The reply is no JSON of the shape that the call has.
    #[error("the reply has not the shape of its call")]
    Json(#[from] serde_json::Error),
    /// The node refuses the call. Bitcoin Core says -9 without peers, -10 while it catches up, -28
    /// while it starts.
    #[error("the node refuses the call with code {code}")]
    Refused {
        /// Its code.
        code: i64,
    },
    /// A field of the template does not hold what it should.
    #[error("field {field} of the template is wrong")]
    Field {
        /// Its name.
        field: &'static str,
    },
    /// A rule of the chain that a miner has to know, and this crate does not (BIP9, BIP23).
    #[error("the node demands a rule that is not known here")]
    UnknownRule,
    /// The id in the reply is not that of the transaction.
    #[error("transaction {index} has another id than the node says")]
    WrongId {
        /// Its place in the template.
        index: usize,
    },
    /// The node's witness commitment is not that of its transactions.
    #[error("the node commits to other witnesses than it shows")]
    WrongCommitment,
}

impl RpcError {
    /// The node is the operator's own: what it says wrongly, and that it is not there, is the
    /// world's; how it is asked is ours.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Cookie(_) | Self::Unauthorized | Self::UnknownRule => Blame::Us,
            Self::Http(_)
            | Self::Status { .. }
            | Self::Json(_)
            | Self::Refused { .. }
            | Self::Field { .. }
            | Self::WrongId { .. }
            | Self::WrongCommitment => Blame::World,
        }
    }
}
