//! Why no block comes of a template, a layout or a solution.

use bitcoin::BlockHash;

use crate::units::{Blame, Sat};

/// Why a layout does not fit its template, or a solution its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The shares of a layout are more than the coinbase has.
    #[error("the coinbase has only {value}")]
    Overspend {
        /// What it may pay.
        value: Sat,
    },
    /// The coinbase's script would be shorter than 2 or longer than 100 bytes.
    #[error("a coinbase script of {got} bytes, consensus takes 2 to 100")]
    CoinbaseScript {
        /// Its length.
        got: usize,
    },
    /// Extranonces of another size than the plan's; or, of a layout, more than 75 bytes together.
    #[error("an extranonce of {got} bytes, not {want}")]
    ExtranonceSize {
        /// Its size.
        got: usize,
        /// The size that is asked for, or the largest.
        want: usize,
    },
    /// The block would be heavier than 4,000,000 weight units.
    #[error("a block of {got} weight units")]
    TooHeavy {
        /// Its weight.
        got: u64,
    },
    /// The coinbase has more signature operations than the block has left for it.
    #[error("a coinbase whose signature operations cost {got}, with {left} left in the block")]
    TooManySigops {
        /// What they cost: four for each outside of a witness.
        got: u64,
        /// What is left of the block's 80,000.
        left: u64,
    },
    /// The target is zero, negative or above 256 bits: no hash meets it.
    #[error("target {bits:#010x} is no target")]
    NoTarget {
        /// In compact form.
        bits: u32,
    },
    /// The version changes bits that are not the miner's.
    #[error("version {got:#010x} changes bits outside {mask:#010x}")]
    Version {
        /// The version.
        got: u32,
        /// What may be changed.
        mask: u32,
    },
    /// The header's time is too early for consensus, or more than two hours ahead.
    #[error("time {got} is not within {min} to {max}")]
    Time {
        /// The time.
        got: u32,
        /// The earliest.
        min: u64,
        /// The latest.
        max: u64,
    },
    /// The block's hash does not meet the network's target.
    #[error("hash {hash} is above the target")]
    HighHash {
        /// The hash.
        hash: BlockHash,
    },
    /// The coinbase that was laid out cannot be read again: a defect of this crate.
    #[error("the coinbase cannot be read")]
    Broken,
}

impl TemplateError {
    /// Layouts and templates are ours and our node's; solutions come from miners.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Overspend { .. }
            | Self::CoinbaseScript { .. }
            | Self::TooManySigops { .. }
            | Self::Broken => Blame::Us,
            Self::TooHeavy { .. } | Self::NoTarget { .. } => Blame::World,
            Self::ExtranonceSize { .. }
            | Self::Version { .. }
            | Self::Time { .. }
            | Self::HighHash { .. } => Blame::Peer,
        }
    }
}
