//! Every way in which the signer says no.

use bitcoin::OutPoint;
use bitcoin::secp256k1::XOnlyPublicKey;

use super::budget::{Ahead, Budget};
use crate::keys::KeyError;
use crate::store::StoreError;
use crate::tx::TxError;
use crate::units::{Blame, HoldId, Msat, SessionId, UtcSeconds};

/// Why the signer refused. It is as it was before it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// The channel is not registered.
    #[error("channel {outpoint} is not registered")]
    UnknownChannel {
        /// The outpoint asked for.
        outpoint: OutPoint,
    },
    /// The request's channel has the outpoint of a registered one, and other values.
    #[error("channel {outpoint} differs from the one registered")]
    OtherChannel {
        /// The outpoint.
        outpoint: OutPoint,
    },
    /// The channel is registered already, with other values.
    #[error("channel {outpoint} is registered already, otherwise")]
    AlreadyRegistered {
        /// The outpoint.
        outpoint: OutPoint,
    },
    /// Only the other side of the channel signs this.
    #[error("not in our role in channel {outpoint}")]
    OtherRole {
        /// The outpoint.
        outpoint: OutPoint,
    },
    /// The key that the role names is not in the channel's script.
    #[error("the channel's key is {want}, ours is {got}")]
    WrongKey {
        /// The key in the script.
        want: XOnlyPublicKey,
        /// The signer's.
        got: XOnlyPublicKey,
    },
    /// The channel's past is unknown; the payee's best voucher must be shown first.
    #[error("channel {outpoint} must be resumed first")]
    MustResume {
        /// The outpoint.
        outpoint: OutPoint,
    },
    /// It states less than what was signed before.
    #[error("paid {asked} after {signed} was signed")]
    Backwards {
        /// The largest `paid` signed on the outpoint.
        signed: Msat,
        /// What was asked.
        asked: Msat,
    },
    /// A joint spend states more than vouchers were signed for.
    #[error("{asked} in a joint spend, with an exposure of {exposure}")]
    AboveExposure {
        /// The exposure on the outpoint.
        exposure: Msat,
        /// What was asked.
        asked: Msat,
    },
    /// Vouchers were signed on another outpoint of the same script.
    #[error("vouchers were signed on {first} of the same script")]
    SecondOutpoint {
        /// That outpoint.
        first: OutPoint,
    },
    /// The outpoint that a channel is said to descend from has another script.
    #[error("no descendant of {from}: it has another script or role")]
    NotADescendant {
        /// The outpoint.
        from: OutPoint,
    },
    /// A voucher with holds on an outpoint that is not confirmed: it can be replaced, and the hold
    /// with it.
    #[error("hold on {outpoint}, which is not confirmed")]
    Unconfirmed {
        /// The outpoint.
        outpoint: OutPoint,
    },
    /// Another hold was signed under this id, or a newer one; or it would shrink.
    #[error("hold {id} was signed before, otherwise")]
    HoldReused {
        /// The hold.
        id: HoldId,
    },
    /// A payee's signature on this outpoint left already, and this changes more than its fee.
    #[error("a payee's signature at {stated} left; {asked} changes more than the fee")]
    MoreThanTheFee {
        /// What the earlier signature states.
        stated: Msat,
        /// What was asked.
        asked: Msat,
    },
    /// Time ran backwards.
    #[error("{now} is before {last}")]
    ClockBackwards {
        /// The latest time that the signer was given.
        last: UtcSeconds,
        /// What it was given now.
        now: UtcSeconds,
    },
    /// The payment would exceed a budget.
    #[error("{asked} would exceed the {budget} budget of {limit}, of which {used} is used")]
    OverBudget {
        /// Which budget.
        budget: Budget,
        /// Its limit.
        limit: Msat,
        /// What was spent of it, slices that were open at a restart included.
        used: Msat,
        /// What the payment adds.
        asked: Msat,
    },
    /// The payment is within the budget, and not yet reserved durably: reserve `ahead`, commit,
    /// apply, ask again.
    #[error("{} exceeds what is reserved of the {budget} budget: {ready}", ahead.amount)]
    NeedsReservation {
        /// Which budget.
        budget: Budget,
        /// What is left of its open slice.
        ready: Msat,
        /// The payment, as [`super::Signer::reserve`] takes it.
        ahead: Ahead,
    },
    /// The session was not opened, or has ended.
    #[error("session {session} is not open with this peer")]
    NoSuchSession {
        /// The session.
        session: SessionId,
    },
    /// The record of what was spent is missing: the day's budget counts as used until it is
    /// released explicitly.
    #[error("the budget record is missing; the day counts as used")]
    RecordMissing,
    /// There is a record: nothing is to be released.
    #[error("the budget record is not missing")]
    RecordPresent,
    /// A newer reservation was issued since.
    #[error("reservation {got} is not the newest, {want}")]
    StaleReservation {
        /// Its serial number.
        got: u64,
        /// That of the newest.
        want: u64,
    },
    /// More channels than a signer holds.
    #[error("more than {max} channels")]
    TooManyChannels {
        /// The limit.
        max: usize,
    },
    /// More open sessions than a signer holds.
    #[error("more than {max} sessions")]
    TooManySessions {
        /// The limit.
        max: usize,
    },
    /// More peers than a signer holds.
    #[error("more than {max} peers")]
    TooManyPeers {
        /// The limit.
        max: usize,
    },
    /// A key could not be derived.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The template is refused by `tx`.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// The stored record is refused by `store`.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored record has a field outside its range.
    #[error("budget record: {field} is out of range")]
    BadRecord {
        /// The field's name.
        field: &'static str,
    },
}

impl SignerError {
    /// Ours: only our own machines ask the signer, and its policy is our own. Time alone is not.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::UnknownChannel { .. }
            | Self::OtherChannel { .. }
            | Self::AlreadyRegistered { .. }
            | Self::OtherRole { .. }
            | Self::WrongKey { .. }
            | Self::MustResume { .. }
            | Self::Backwards { .. }
            | Self::AboveExposure { .. }
            | Self::SecondOutpoint { .. }
            | Self::NotADescendant { .. }
            | Self::HoldReused { .. }
            | Self::MoreThanTheFee { .. }
            | Self::OverBudget { .. }
            | Self::NeedsReservation { .. }
            | Self::NoSuchSession { .. }
            | Self::RecordMissing
            | Self::RecordPresent
            | Self::StaleReservation { .. }
            | Self::TooManyChannels { .. }
            | Self::TooManySessions { .. }
            | Self::TooManyPeers { .. }
            | Self::Key(_)
            | Self::Tx(_)
            | Self::BadRecord { .. } => Blame::Us,
            Self::ClockBackwards { .. } | Self::Unconfirmed { .. } => Blame::World,
            Self::Store(error) => error.blame(),
        }
    }
}
