//! What the hub refuses, and who is to blame.

use bitcoin::OutPoint;

use super::HoldRef;
use crate::store::StoreError;
use crate::units::{Blame, Blocks, Height, Msat, Overflow, Sat};

/// Why the hub refused an input; its table is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A policy without time to act.
    #[error("reaction {reaction}, settling {settling}, depth {depth}: each must be one or more")]
    Policy {
        /// Blocks for a timeout.
        reaction: Blocks,
        /// Blocks for a settlement.
        settling: Blocks,
        /// How deep what stays is.
        depth: Blocks,
    },
    /// The incoming hold does not cover what goes on and the fee.
    #[error("{got} comes in where {want} is asked for")]
    Underpaid {
        /// What comes in.
        got: Msat,
        /// The least that must.
        want: Msat,
    },
    /// The hold is not worth its bundle.
    #[error("a hold of {held} for {due}")]
    WrongDue {
        /// What is held.
        held: Sat,
        /// What a fold is to pay.
        due: Msat,
    },
    /// The incoming hold is not worth claiming on the chain.
    #[error("a hold of {got} is below the least of {least}")]
    BelowLeast {
        /// What is held.
        got: Sat,
        /// The least.
        least: Sat,
    },
    /// The fee, or the sum with it, is above all money.
    #[error("the fee is above all money")]
    Fee(#[from] Overflow),
    /// The incoming hold ends too early to be claimed after the outgoing one.
    #[error("the incoming hold ends at {got}, and must not before {want}")]
    ExpiryTooNear {
        /// When it ends.
        got: Height,
        /// The earliest that it may.
        want: Height,
    },
    /// The outgoing hold is past, or would lock the hub's money for too long.
    #[error("an outgoing hold until {expiry} is outside {tip}..={last}")]
    LockTooLong {
        /// When it would end.
        expiry: Height,
        /// The tip, which is too early.
        tip: Height,
        /// The latest.
        last: Height,
    },
    /// No height is late enough for the incoming hold.
    #[error("no height is late enough after {onward}")]
    NoHeight {
        /// When the outgoing hold would end.
        onward: Height,
    },
    /// The receiver could claim what is published late before the hub times it out.
    #[error("the outgoing claim's delay of {k} is not above {above}")]
    DelayShort {
        /// The delay in blocks.
        k: u16,
        /// Reaction and depth.
        above: Blocks,
    },
    /// From a channel into itself.
    #[error("{channel} is on both sides")]
    SameChannel {
        /// The channel.
        channel: OutPoint,
    },
    /// A bundle without items, or with too many.
    #[error("a bundle of {got} items, 1 to {max} can be")]
    BundleItems {
        /// How many.
        got: u32,
        /// The limit.
        max: u32,
    },
    /// The incoming hold is being forwarded already, to somebody else or for another amount.
    #[error("hold {} of {} is forwarded already", at.id, at.channel)]
    Twice {
        /// The incoming hold.
        at: HoldRef,
    },
    /// A bundle of the same hash and expiry goes through the same outgoing channel: the payer would
    /// merge both into one hold. With another expiry it is a hold of its own.
    #[error("the bundle would be merged into that of hold {} of {}", with.id, with.channel)]
    WouldMerge {
        /// The incoming hold of the other forward.
        with: HoldRef,
    },
    /// The table is full.
    #[error("{max} forwards are open")]
    TooMany {
        /// The limit.
        max: u32,
    },
    /// There is no forward of this hold, on either side.
    #[error("no forward of hold {} of {}", at.id, at.channel)]
    NoForward {
        /// The hold.
        at: HoldRef,
    },
    /// The outgoing hold belongs to another forward.
    #[error("hold {} of {} belongs to another forward", outgoing.id, outgoing.channel)]
    OutgoingTaken {
        /// The outgoing hold.
        outgoing: HoldRef,
    },
    /// The forward is in a stage that does not do this.
    #[error("forward is {stage}, which does not allow to {act}")]
    WrongStage {
        /// The stage's name.
        stage: &'static str,
        /// What was asked.
        act: &'static str,
    },
    /// A claim was seen, and its preimage was not given first.
    #[error("hold {} of {} is claimed without a known preimage", outgoing.id, outgoing.channel)]
    NoPreimage {
        /// The outgoing hold.
        outgoing: HoldRef,
    },
    /// A step that was decided before another one was applied.
    #[error("step on hold {} of {} is older than one that was applied", at.id, at.channel)]
    OldStep {
        /// The incoming hold.
        at: HoldRef,
    },
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

impl HubError {
    /// What an order gets wrong is the sender's; what was asked at the wrong time or is stored is
    /// ours.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Underpaid { .. }
            | Self::WrongDue { .. }
            | Self::BelowLeast { .. }
            | Self::Fee(_)
            | Self::ExpiryTooNear { .. }
            | Self::LockTooLong { .. }
            | Self::NoHeight { .. }
            | Self::DelayShort { .. }
            | Self::SameChannel { .. }
            | Self::BundleItems { .. }
            | Self::Twice { .. }
            | Self::WouldMerge { .. } => Blame::Peer,
            Self::Policy { .. }
            | Self::TooMany { .. }
            | Self::NoForward { .. }
            | Self::OutgoingTaken { .. }
            | Self::WrongStage { .. }
            | Self::NoPreimage { .. }
            | Self::OldStep { .. }
            | Self::BrokenRecord { .. } => Blame::Us,
            Self::Store(error) => error.blame(),
        }
    }
}
