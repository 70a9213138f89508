//! What a monitor refuses, and who is to blame.

use bitcoin::OutPoint;

use crate::signer::SignerError;
use crate::store::StoreError;
use crate::tx::TxError;
use crate::units::Blame;

/// Why a monitor refused an input; its state is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The look-up of the channel's outpoint shows another script or value.
    #[error("the chain shows another output at {outpoint} than the channel's")]
    OtherOutput {
        /// The channel's outpoint.
        outpoint: OutPoint,
    },
    /// More holds than a record may have.
    #[error("{got} holds are to be watched, above {max}")]
    TooMany {
        /// How many were given.
        got: usize,
        /// The most.
        max: usize,
    },
    /// A record that cannot have been written, or is another outpoint's.
    #[error("the record breaks a promise at byte {at}")]
    BrokenRecord {
        /// How far it could be read.
        at: usize,
    },
    /// A step that was decided before another one was applied.
    #[error("the step for {outpoint} is older than what is known")]
    OldStep {
        /// The channel's outpoint.
        outpoint: OutPoint,
    },
    /// A key, script or transaction.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// The signer's policy said no.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// A stored record cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MonitorError {
    /// What the chain shows is the world's; what was given or is stored is ours.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::OtherOutput { .. } => Blame::World,
            Self::TooMany { .. } | Self::BrokenRecord { .. } | Self::OldStep { .. } => Blame::Us,
            Self::Tx(error) => error.blame(),
            Self::Signer(error) => error.blame(),
            Self::Store(error) => error.blame(),
        }
    }
}
