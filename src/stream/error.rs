//! What a channel refuses, and who is to blame.

use bitcoin::{Network, OutPoint, XOnlyPublicKey};

use super::terms::TermsError;
use crate::batch::BatchError;
use crate::signer::SignerError;
use crate::store::StoreError;
use crate::tx::TxError;
use crate::units::{Blame, Blocks, Height, HoldId, Msat, Sat, Seconds, UtcSeconds};

/// Why a machine refused an input; its state is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Less than the payee holds already; the payee answers with its best voucher.
    #[error("voucher of {got} is older than the best, {best}")]
    Stale {
        /// What the voucher states.
        got: Msat,
        /// What the best one states.
        best: Msat,
    },
    /// A voucher must state at least what the channel started with.
    #[error("voucher of {got} does not cover the channel's first debt of {start}")]
    BelowStart {
        /// What the voucher states.
        got: Msat,
        /// What was carried into this outpoint.
        start: Msat,
    },
    /// More than the output's depth and the zero-conf limit allow.
    #[error("{asked} on an output {depth} deep is above the zero-conf limit of {limit}")]
    NotDeepEnough {
        /// What would be unsecured.
        asked: Msat,
        /// How deep the output is.
        depth: Blocks,
        /// What is accepted at that depth.
        limit: Msat,
    },
    /// Too close to the deadline, from which on the payer can refund.
    #[error("height {height} is not below the last call at {last_call}")]
    TooLate {
        /// The tip's height.
        height: Height,
        /// From this height on vouchers are refused.
        last_call: Height,
    },
    /// The refund's delay has not passed.
    #[error("refund at height {height} before {from}")]
    TooEarly {
        /// The tip's height.
        height: Height,
        /// The first tip height at which mempools take it.
        from: Height,
    },
    /// The chain has not moved for too long: it may be eclipsed or stalled.
    #[error("tip is {age} old, above {max}")]
    StalledTip {
        /// Its age.
        age: Seconds,
        /// The oldest that is trusted.
        max: Seconds,
    },
    /// The machine is in a phase that does not do this.
    #[error("channel is {phase}, which does not allow to {act}")]
    WrongPhase {
        /// The phase's name.
        phase: &'static str,
        /// What was asked.
        act: &'static str,
    },
    /// After a restart the payer asks the payee for its best voucher before it signs again.
    #[error("at least {at_least} is signed; the payee's best voucher must be seen first")]
    MustResume {
        /// A lower bound of what was signed.
        at_least: Msat,
    },
    /// Amounts only rise.
    #[error("payment to {got} is below {signed}, which is signed")]
    Backwards {
        /// What was asked.
        got: Msat,
        /// What is signed.
        signed: Msat,
    },
    /// The last voucher gives up the dust rest, and the caller did not opt in.
    #[error("payment of the whole capacity {capacity} gives up the change")]
    LastNotAllowed {
        /// The capacity.
        capacity: Msat,
    },
    /// The request is for another payee.
    #[error("request for payee {got}, not {want}")]
    WrongPayee {
        /// This payee's base key.
        want: XOnlyPublicKey,
        /// The request's.
        got: XOnlyPublicKey,
    },
    /// The request is for another chain.
    #[error("network {got}, not {want}")]
    WrongNetwork {
        /// The machine's.
        want: Network,
        /// The request's.
        got: Network,
    },
    /// The request was made from other terms.
    #[error("terms of another hash")]
    OtherTerms,
    /// The terms are not offered any more.
    #[error("terms expired at {expiry}, now {now}")]
    TermsExpired {
        /// Until when they stood.
        expiry: UtcSeconds,
        /// The time given.
        now: UtcSeconds,
    },
    /// A delay outside the terms.
    #[error("delay of {got} outside {from}..={to}")]
    DelayOutOfTerms {
        /// The request's.
        got: u16,
        /// The smallest.
        from: u16,
        /// The largest.
        to: u16,
    },
    /// A capacity outside the terms.
    #[error("capacity of {got} outside {from}..={to}")]
    CapacityOutOfTerms {
        /// The output's value.
        got: Sat,
        /// The smallest.
        from: Sat,
        /// The largest.
        to: Sat,
    },
    /// The chain knows no such output.
    #[error("output {outpoint} is not known to the chain")]
    NoOutput {
        /// The outpoint.
        outpoint: OutPoint,
    },
    /// The output has another script than the channel's.
    #[error("output {outpoint} has another script than the channel's")]
    WrongScript {
        /// The outpoint.
        outpoint: OutPoint,
    },
    /// The output has another value than the record or the request says.
    #[error("output {outpoint} is worth {got}, not {want}")]
    WrongValue {
        /// The outpoint.
        outpoint: OutPoint,
        /// What was expected.
        want: Sat,
        /// What the chain says.
        got: Sat,
    },
    /// The output is spent.
    #[error("output {outpoint} is spent")]
    SpentOutput {
        /// The outpoint.
        outpoint: OutPoint,
    },
    /// Nothing was paid, so there is nothing to settle.
    #[error("no voucher to settle")]
    NothingToSettle,
    /// Holds are open: the channel settles alone, does not close or top up, and every payment is a
    /// step of its own.
    #[error("{count} holds are open")]
    HoldsOpen {
        /// How many.
        count: usize,
    },
    /// There is no such hold.
    #[error("no hold {id}")]
    NoSuchHold {
        /// The id.
        id: HoldId,
    },
    /// A hold shrank, or has another hash, expiry or delay than before.
    #[error("hold {id} is not the same, nor has it grown")]
    HoldChanged {
        /// The id.
        id: HoldId,
    },
    /// An id that was used before.
    #[error("hold {id} is not above {last}, which was used")]
    HoldReused {
        /// The id.
        id: HoldId,
        /// The highest id so far.
        last: HoldId,
    },
    /// Holds are gone that were neither released nor past, and paid did not rise by their amount.
    #[error("paid rose by {got} where {want} was held")]
    NotFolded {
        /// The sum of the holds that are gone.
        want: Msat,
        /// How much paid rose.
        got: Msat,
    },
    /// The payee could not settle and claim before the expiry any more.
    #[error("hold until {expiry} had to be settled below {settle_by}, the tip is at {height}")]
    HoldTooNear {
        /// The hold's expiry.
        expiry: Height,
        /// The tip's height.
        height: Height,
        /// Expiry less claim's delay and settle margin.
        settle_by: Height,
    },
    /// The hold would outlive the time to settle.
    #[error("hold until {expiry}, which is not below the last call at {last_call}")]
    HoldTooFar {
        /// The hold's expiry.
        expiry: Height,
        /// The channel's last call.
        last_call: Height,
    },
    /// The hold's expiry has passed.
    #[error("hold {id} ended at {expiry}")]
    HoldPast {
        /// The id.
        id: HoldId,
        /// Its expiry.
        expiry: Height,
    },
    /// The payee has promised not to claim the hold.
    #[error("hold {id} was released")]
    HoldReleased {
        /// The id.
        id: HoldId,
    },
    /// The payee knows the preimage; the hold is paid.
    #[error("hold {id} was fulfilled")]
    HoldFulfilled {
        /// The id.
        id: HoldId,
    },
    /// A bundle without items, or with too many.
    #[error("a bundle of {got} items, 1 to {max} can be")]
    BundleItems {
        /// How many.
        got: u32,
        /// The limit.
        max: u32,
    },
    /// A bundle has no item of this number, or it failed before.
    #[error("no item {number} in the bundle")]
    NoSuchItem {
        /// The number.
        number: u32,
    },
    /// A part of a bundle under the same hash could not fail apart from the rest.
    #[error("a bundle is split off under another hash only")]
    SameHash,
    /// The root is of other items than the bundle's.
    #[error("a bundle of {want} with the root of one of {got}")]
    OtherBundle {
        /// What the bundle's items cost.
        want: Msat,
        /// What the root's items cost.
        got: Msat,
    },
    /// A hold that is not worth its bundle, or whose bundle is gone, or is not more of the same.
    #[error("hold {id} does not hold its bundle")]
    WrongBundle {
        /// The hold.
        id: HoldId,
    },
    /// Old vouchers with given-up holds must be watched for, and only so many can be; a rollover,
    /// a top-up, or payments above what they could cost make room.
    #[error("more than {max} holds to watch on one outpoint")]
    TooManyKept {
        /// The limit.
        max: usize,
    },
    /// A proposed close or top-up differs from what the payee would build.
    #[error("proposal states {got} where {want} is owed")]
    WrongProposal {
        /// What the payee holds.
        want: Msat,
        /// What the proposal states.
        got: Msat,
    },
    /// Where a close sends the payer's rest is non-standard, or the channel itself.
    #[error("close to a script of {bytes} bytes that is non-standard or the channel's own")]
    CloseScript {
        /// The script's length.
        bytes: usize,
    },
    /// A close or top-up spends confirmed outputs only.
    #[error("output {outpoint} is not confirmed")]
    Unconfirmed {
        /// The outpoint.
        outpoint: OutPoint,
    },
    /// A top-up without the payer's first voucher on the new outpoint.
    #[error("top-up without a first voucher on the new outpoint")]
    NoFirstVoucher,
    /// A step that was decided before another one was applied.
    #[error("step to {phase} was decided before a later one was applied")]
    OldStep {
        /// The phase that it leads to.
        phase: &'static str,
    },
    /// A stored record has the right version and checksum, and still makes no sense.
    #[error("record is broken at byte {at}")]
    BrokenRecord {
        /// Where reading stopped.
        at: usize,
    },
    /// A stored record holds a voucher that its channel's payer has not signed.
    #[error("record of {outpoint} holds a voucher of {paid} that its payer has not signed")]
    ForgedRecord {
        /// The channel.
        outpoint: OutPoint,
        /// What the voucher states.
        paid: Msat,
    },
    /// A batch, or the lanes that it pays in, do not check.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A transaction or voucher does not check.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// The terms cannot be read, or contradict themselves.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// The signer's policy said no.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// A stored record cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StreamError {
    /// What a message carries is the peer's, depth, deadline and tip are the world's; what was
    /// asked at the wrong time or is stored is ours.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Stale { .. }
            | Self::BelowStart { .. }
            | Self::WrongPayee { .. }
            | Self::WrongNetwork { .. }
            | Self::OtherTerms
            | Self::TermsExpired { .. }
            | Self::DelayOutOfTerms { .. }
            | Self::CapacityOutOfTerms { .. }
            | Self::NoOutput { .. }
            | Self::WrongScript { .. }
            | Self::WrongValue { .. }
            | Self::SpentOutput { .. }
            | Self::WrongProposal { .. }
            | Self::HoldChanged { .. }
            | Self::HoldReused { .. }
            | Self::NotFolded { .. }
            | Self::WrongBundle { .. }
            | Self::CloseScript { .. }
            | Self::NoFirstVoucher => Blame::Peer,
            Self::NotDeepEnough { .. }
            | Self::TooLate { .. }
            | Self::HoldTooNear { .. }
            | Self::HoldTooFar { .. }
            | Self::HoldPast { .. }
            | Self::TooEarly { .. }
            | Self::Unconfirmed { .. }
            | Self::StalledTip { .. } => Blame::World,
            Self::WrongPhase { .. }
            | Self::MustResume { .. }
            | Self::Backwards { .. }
            | Self::LastNotAllowed { .. }
            | Self::NothingToSettle
            | Self::HoldsOpen { .. }
            | Self::NoSuchHold { .. }
            | Self::HoldReleased { .. }
            | Self::HoldFulfilled { .. }
            | Self::TooManyKept { .. }
            | Self::BundleItems { .. }
            | Self::NoSuchItem { .. }
            | Self::SameHash
            | Self::OtherBundle { .. }
            | Self::OldStep { .. }
            | Self::BrokenRecord { .. }
            | Self::ForgedRecord { .. } => Blame::Us,
            Self::Batch(error) => error.blame(),
            Self::Tx(error) => error.blame(),
            Self::Terms(error) => error.blame(),
            Self::Signer(error) => error.blame(),
            Self::Store(error) => error.blame(),
        }
    }
}
