//! What is wrong with a batch.

use super::item::ItemError;
use super::lanes::LanesError;
use crate::merkle::MerkleError;
use crate::units::{Blame, Msat};

/// A batch that is refused, whole: nothing of it counts, and nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes end inside a field.
    #[error("bytes end too early")]
    Truncated,
    /// Bytes after the end.
    #[error("{bytes} bytes too many")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A version, or a flag, that this release does not know.
    #[error("version and flags {got:#04x} are unknown")]
    UnknownVersion {
        /// The byte.
        got: u8,
    },
    /// Something that has a shorter or another canonical form.
    #[error("{what} is not in its one form")]
    NotMinimal {
        /// What.
        what: &'static str,
    },
    /// A free bit that is not zero.
    #[error("padding is not zero")]
    Padding,
    /// A value outside its unit.
    #[error("{what} is out of range")]
    Range {
        /// What.
        what: &'static str,
    },
    /// A column with more or fewer numbers than items need.
    #[error("a column does not fit the number of items")]
    Miscounted,
    /// A leaf size outside 1 ..= 64.
    #[error("{got} items a leaf, not 1 to 64")]
    LeafSize {
        /// What was given.
        got: u8,
    },
    /// A batch without items.
    #[error("the batch is empty")]
    Empty,
    /// More items than a batch holds.
    #[error("{got} items, more than {max}")]
    TooManyItems {
        /// What was given.
        got: u64,
        /// The limit.
        max: u32,
    },
    /// All items together cost nothing. Batches are acknowledged by what is paid, so this one never
    /// would be.
    #[error("the batch pays nothing")]
    PaysNothing,
    /// An item that does not stand.
    #[error("item {at} of the batch: {error}")]
    Item {
        /// Its place in the batch, from 0.
        at: u32,
        /// Why.
        error: ItemError,
    },
    /// Items beside the claim.
    #[error("{got} items, {claimed} claimed")]
    ItemsDiffer {
        /// In the batch.
        got: u32,
        /// In the claim.
        claimed: u32,
    },
    /// A batch that starts elsewhere than the channel stands: it was counted already, or one before
    /// it is missing.
    #[error("the batch starts at {got}, the channel stands at {paid}")]
    WrongStart {
        /// Where it starts.
        got: Msat,
        /// What the channel has paid.
        paid: Msat,
    },
    /// The items cost another sum than the voucher pays for them.
    #[error("the items cost {got}, the voucher pays {claimed}")]
    SumDiffers {
        /// The items.
        got: Msat,
        /// The claim.
        claimed: Msat,
    },
    /// The items lead to another root.
    #[error("the items do not lead to the claimed root")]
    RootDiffers,
    /// The lanes are not those of this channel.
    #[error(transparent)]
    Lanes(#[from] LanesError),
    /// There is no such item in the batch.
    #[error("no item {at} in the batch")]
    NoItem {
        /// The place that was asked for.
        at: u32,
    },
    /// The tree does not take these leaves.
    #[error(transparent)]
    Tree(#[from] MerkleError),
}

impl BatchError {
    /// The peer's where it sent the batch; ours where we build one or ask for something.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Truncated
            | Self::Trailing { .. }
            | Self::UnknownVersion { .. }
            | Self::NotMinimal { .. }
            | Self::Padding
            | Self::Range { .. }
            | Self::Miscounted
            | Self::TooManyItems { .. }
            | Self::Item { .. }
            | Self::ItemsDiffer { .. }
            | Self::WrongStart { .. }
            | Self::SumDiffers { .. }
            | Self::RootDiffers => Blame::Peer,
            Self::LeafSize { .. } | Self::Empty | Self::PaysNothing | Self::NoItem { .. } => {
                Blame::Us
            }
            Self::Tree(error) => error.blame(),
            Self::Lanes(error) => error.blame(),
        }
    }
}
