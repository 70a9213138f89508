//! What a swap refuses, and who is to blame.

use crate::store::StoreError;
use crate::tx::TxError;
use crate::tx::hold::PaymentHash;
use crate::units::{Blame, Blocks, Height, Sat, Seconds, UtcSeconds};

/// Why a swap refused an input; it is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SwapError {
    /// A pace that no chain has, or without time to act.
    #[error("blocks from {fast} to {slow}; reaction, settling and depth must be one or more")]
    Pace {
        /// The fastest.
        fast: Seconds,
        /// The slowest.
        slow: Seconds,
    },
    /// The hold has another hash than was agreed.
    #[error("the hold is not for {want}")]
    WrongHash {
        /// The agreed one.
        want: PaymentHash,
    },
    /// The hold is smaller than agreed.
    #[error("a hold of {got} where {want} was agreed")]
    Underpaid {
        /// What is held.
        got: Sat,
        /// What was agreed.
        want: Sat,
    },
    /// The hold ends before the agreed height.
    #[error("a hold until {got} where {want} was agreed")]
    EndsEarly {
        /// When it ends.
        got: Height,
        /// What was agreed.
        want: Height,
    },
    /// The hold is claimed later than agreed.
    #[error("a claim after {got} blocks where {want} were agreed")]
    ClaimsLate {
        /// Its delay in blocks.
        got: u16,
        /// What was agreed.
        want: u16,
    },
    /// The first leg could end before the responder has used the secret.
    #[error("the first hold ends at {got}, and must not before {want}")]
    ExpiryTooNear {
        /// When it ends.
        got: Height,
        /// The earliest that it may.
        want: Height,
    },
    /// The claim of what is published late could come before its timeout.
    #[error("a claim's delay of {k} is not above {above}")]
    DelayShort {
        /// The delay in blocks.
        k: u16,
        /// Reaction and depth.
        above: Blocks,
    },
    /// The own hold could lock its money for too long.
    #[error("an own hold of up to {lasts} is longer than {max}")]
    LockTooLong {
        /// How long it may last.
        lasts: Seconds,
        /// The longest that is allowed.
        max: Seconds,
    },
    /// The second leg could not be enforced any more.
    #[error("at {tip} it is too late for the second hold, which must be known before {by}")]
    TooLate {
        /// The second chain's tip.
        tip: Height,
        /// The first height that is too late.
        by: Height,
    },
    /// No height is late enough for the first leg.
    #[error("no height is late enough after {second}")]
    NoHeight {
        /// When the second leg ends.
        second: Height,
    },
    /// One of the chains stands still, or is hidden from us.
    #[error("a tip is {age} old, above {max}")]
    StalledTip {
        /// Its age.
        age: Seconds,
        /// The oldest that a tip can be.
        max: Seconds,
    },
    /// A tip is dated after the time, so that nobody knows how old it is. Miners may do that by up
    /// to two hours: it passes.
    #[error("a tip of {time} is ahead of {now}")]
    TipAhead {
        /// What the tip says.
        time: UtcSeconds,
        /// The time.
        now: UtcSeconds,
    },
    /// The swap is in a stage that does not do this.
    #[error("swap is {stage}, which does not allow to {act}")]
    WrongStage {
        /// The stage's name.
        stage: &'static str,
        /// What was asked.
        act: &'static str,
    },
    /// The own hold is paid, and the preimage was not given first.
    #[error("the own hold is claimed without a known preimage")]
    NoPreimage,
    /// A step that was decided before another one was applied.
    #[error("step is older than one that was applied")]
    OldStep,
    /// A stored record has the right version and checksum, and still makes no sense.
    #[error("record is broken at byte {at}")]
    BrokenRecord {
        /// Where reading stopped.
        at: usize,
    },
    /// A preimage of another hash.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// The store, or the envelope of a record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SwapError {
    /// What was agreed and offered is the other side's; what was asked at the wrong time or is
    /// stored is ours; the chains' pace is the world's.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::WrongHash { .. }
            | Self::Underpaid { .. }
            | Self::EndsEarly { .. }
            | Self::ClaimsLate { .. }
            | Self::ExpiryTooNear { .. }
            | Self::DelayShort { .. }
            | Self::LockTooLong { .. }
            | Self::NoHeight { .. } => Blame::Peer,
            Self::TooLate { .. } | Self::StalledTip { .. } | Self::TipAhead { .. } => Blame::World,
            Self::Pace { .. }
            | Self::WrongStage { .. }
            | Self::NoPreimage
            | Self::OldStep
            | Self::BrokenRecord { .. } => Blame::Us,
            Self::Tx(error) => error.blame(),
            Self::Store(error) => error.blame(),
        }
    }
}
