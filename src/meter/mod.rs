//! Metering: what is owed, second by second and unit by unit, and how far either side may be ahead.
//!
//! ```text
//!   meter ---> Input::Meter ---> seller's Session --- claim() ---> buyer's Session <--- own meter
//!                                 owed, debt            wire         |  checks total, stamp, idle
//!                                    ^                               v
//!                 Input::Paid (durable voucher) <----------------- pay_to(): sign up to here
//! ```
//!
//! A [`Tariff`] says the price, a [`Session`] counts under it. Both sides run the same machine: the
//! seller prices its own meter and stamps each reading; the buyer repeats the sum from the seller's
//! claims and refuses one that its own meter, its own clock or its budget does not bear out. What
//! is owed is a function of the sequence of readings alone, so honest sides agree to the
//! millisatoshi.
//!
//! # The rules
//! - M1. Rounding: `owed = floor(exact rational sum)` over everything under one tariff. A change
//!   of tariff drops the sum's rest (less than 1 msat, in the buyer's favour) and goes on. How a
//!   reading is cut into ticks of the same stamp, each of them more than nothing, never matters.
//! - M2. A unit costs the price of its stamp (the reading that reports it) and of its place in the
//!   session's total. So at a border of two bands at most one reading falls on the wrong side.
//! - M3. Idle time is the seconds between two readings of equal totals, counted from the grace
//!   after the last delivery. A service that is paused for debt is not idle. Which of the seconds
//!   since the last reading it saw were idle a buyer cannot tell; it takes no more than there were.
//!   Nor can it tell whether the seller paused at a reading that it had paid beforehand.
//! - M4. Service is paused if and only if `owed - paid > credit` ([`Window`]). It is paid for only
//!   what is durable on the seller's side. Nothing is delivered or counted while paused, so the
//!   debt is never above credit + one tick.
//! - M5. The buyer never authorises above `owed + prepay`, nor above its budget. What a tariff asks
//!   for at the start ([`Tariff::upfront`]) is owed from the start.
//! - M6. The tariff is fixed by its hash. Another one counts only after the buyer has accepted it
//!   by [`Session::accept_tariff`]; else the session ends at the old price.
//! - M7. Readings are cumulative, and a repeated one changes nothing. A skipped one is healed by
//!   the next as long as no price border or tariff change lies between; beyond these
//!   the seller sends it again, because the buyer would count it at another price. So both sides
//!   store their record when a price changes, if they want to meet to the millisatoshi after a
//!   restart.
//! - M8. A final statement is the seller's word against the buyer's count: it may say less, never
//!   more. What it says was paid above the cost is the prepayment that was not used, so it is at
//!   most the window's `prepay`; anything else is refused, and told as a dispute.
//! - M9. Nothing that was delivered is lost by crossing the end: until the statement an ended buyer
//!   takes the claims that its own meter (tolerance and slack), its budget and its clock bear out,
//!   and its own meter may still be read. Idle time counts up to its own end and the skew, however
//!   late it is claimed: no stamp of the seller moves that end. What the buyer's
//!   meter and end do not bear out stays the seller's risk: at most the credit and one tick.
//!
//! Rank 2, no allocation but for the tariff's lists. Used by `signer` (statements), `stream` and
//! `node`, which carry claims over `wire` and turn [`Session::pay_to`] into vouchers.

mod after;
mod record;
mod session;
mod statement;
pub mod tariff;
mod tick;
mod window;

use crate::units::{Blame, Msat, Overflow, Ppm, Quantity, Seconds, SessionId, UtcSeconds};

pub use record::Record;
pub use session::{Input, Session, Step};
pub use statement::Statement;
pub use tariff::Tariff;

use tariff::{Measure, TariffHash};

/// How far service and money may be ahead of each other; both sides hold the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// The unpaid service that the seller gives: it pauses above, not at, this debt.
    pub credit: Msat,
    /// How much the buyer may have authorised above what is owed.
    pub prepay: Msat,
}

/// Which side of the session this machine is, with what only that side needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The payee: its meter and its clock count.
    Seller,
    /// The payer: it checks the seller's.
    Buyer {
        /// Part of its own reading by which the seller's may be above it.
        meter_ppm: Ppm,
        /// Quantity by which the seller's reading may be above that: covers a reading that the own
        /// meter has not made yet.
        meter_slack: Quantity,
        /// How far the seller's stamp may be from the own clock, either way.
        skew: Seconds,
        /// The most that this session may cost.
        budget: Msat,
    },
}

/// Where a session stands.
///
/// ```text
/// Offered --Start--> Active <--Paid / Meter, Claim, Change--> Paused
///    |                  |                                        |
///    +------End---------+------------------End-------------------+--> Ended
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Tariff and window are agreed; nothing is owed.
    Offered,
    /// Service is delivered: the debt is within the credit.
    Active,
    /// Service has stopped until the debt is within the credit again.
    Paused,
    /// Nothing is delivered any more; what is owed may still be claimed and paid (M9).
    Ended,
}

/// An input, record or statement that the session refuses; its state is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeterError {
    /// The state does not take this input.
    #[error("{input} while {state:?}")]
    WrongState {
        /// Where the session stands.
        state: State,
        /// Name of the input.
        input: &'static str,
    },
    /// The input belongs to the other side.
    #[error("{input} is not an input of this side")]
    WrongRole {
        /// Name of the input.
        input: &'static str,
    },
    /// A stamp before the last one.
    #[error("stamp {got} is before {last}")]
    TimeBackwards {
        /// What was given.
        got: UtcSeconds,
        /// The last stamp.
        last: UtcSeconds,
    },
    /// A stamp too far from the own clock.
    #[error("stamp {got} is more than {allowed} from {now}")]
    SkewTooLarge {
        /// The stamp.
        got: UtcSeconds,
        /// The own clock.
        now: UtcSeconds,
        /// The most on which was agreed.
        allowed: Seconds,
    },
    /// A reading below the last one.
    #[error("reading {got} is below {last}")]
    MeterBackwards {
        /// What was given.
        got: Quantity,
        /// The last reading.
        last: Quantity,
    },
    /// The seller claims more than the buyer's own meter bears out.
    #[error("{claimed} claimed, {measured} measured, {allowed} allowed")]
    ToleranceExceeded {
        /// The seller's total.
        claimed: Quantity,
        /// The buyer's own.
        measured: Quantity,
        /// The own one with its tolerance.
        allowed: Quantity,
    },
    /// The seller claims idle seconds that cannot have been, or fewer than before.
    #[error("{claimed} idle claimed, {least} to {most} possible")]
    IdleImpossible {
        /// The seller's total.
        claimed: Seconds,
        /// The last total.
        least: Seconds,
        /// The largest total that the stamps allow.
        most: Seconds,
    },
    /// Another tariff than the one agreed on, or one that was not accepted.
    #[error("tariff {got} was not accepted")]
    TariffUnknown {
        /// Its hash.
        got: TariffHash,
    },
    /// A stamp outside the tariff's validity.
    #[error("tariff counts from {from} to {to}, not at {at}")]
    TariffNotValid {
        /// The stamp.
        at: UtcSeconds,
        /// First second of validity.
        from: UtcSeconds,
        /// First second after it.
        to: UtcSeconds,
    },
    /// A session's measure never changes.
    #[error("tariff counts in {got:?}, the session in {want:?}")]
    MeasureChanged {
        /// The new tariff's.
        got: Measure,
        /// The session's.
        want: Measure,
    },
    /// Nothing counts while the service is paused for debt.
    #[error("service is paused: debt {debt}, credit {credit}")]
    ServicePaused {
        /// What is owed and not paid.
        debt: Msat,
        /// What the window allows.
        credit: Msat,
    },
    /// The buyer would be ahead by more than it agreed to.
    #[error("paying {paid} for {owed} owed is above the prepayment of {prepay}")]
    PrepayExceeded {
        /// What would be paid.
        paid: Msat,
        /// What is owed.
        owed: Msat,
        /// What the window allows.
        prepay: Msat,
    },
    /// The session would cost more than its budget.
    #[error("{amount} is above the budget of {budget}")]
    BudgetExceeded {
        /// What would be owed or paid.
        amount: Msat,
        /// The most.
        budget: Msat,
    },
    /// A payment below the one before; payments are cumulative.
    #[error("paid {got} is below {last}")]
    PaidBackwards {
        /// What was given.
        got: Msat,
        /// What was paid.
        last: Msat,
    },
    /// A sum outside its unit's range.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// Bytes of a record or statement of a version that this release does not know.
    #[error("version {got} is unknown")]
    UnknownVersion {
        /// What was given.
        got: u8,
    },
    /// A record or statement of the wrong length.
    #[error("{got} bytes, not {want}")]
    WrongLength {
        /// What was given.
        got: usize,
        /// The length of its version.
        want: usize,
    },
    /// A field of a record or statement that no session writes, or a record that does not belong
    /// to this session.
    #[error("field `{field}` does not fit")]
    Misfit {
        /// Its name.
        field: &'static str,
    },
    /// A statement that says more than the own session does.
    #[error("statement says {got} for `{field}`, the session {own}")]
    StatementDiffers {
        /// Its name.
        field: &'static str,
        /// What the statement says.
        got: u64,
        /// What the session says.
        own: u64,
    },
    /// A signature that is not the seller's over this statement.
    #[error("statement of session {session} is not signed by the seller")]
    BadSignature {
        /// The statement's session.
        session: SessionId,
    },
}

impl MeterError {
    /// What a claim, tariff or statement says is the peer's; two clocks that disagree are the
    /// world's. States, limits and records are ours: a message that crossed the session's end on
    /// its way is nobody's fault. The bytes of a statement are the peer's, in spite of the answer.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::WrongState { .. }
            | Self::WrongRole { .. }
            | Self::PrepayExceeded { .. }
            | Self::BudgetExceeded { .. }
            | Self::PaidBackwards { .. }
            | Self::UnknownVersion { .. }
            | Self::WrongLength { .. }
            | Self::Misfit { .. } => Blame::Us,
            Self::MeterBackwards { .. }
            | Self::ToleranceExceeded { .. }
            | Self::IdleImpossible { .. }
            | Self::TariffUnknown { .. }
            | Self::MeasureChanged { .. }
            | Self::ServicePaused { .. }
            | Self::StatementDiffers { .. }
            | Self::BadSignature { .. } => Blame::Peer,
            Self::TimeBackwards { .. }
            | Self::SkewTooLarge { .. }
            | Self::TariffNotValid { .. } => Blame::World,
            Self::Overflow(error) => error.blame(),
        }
    }
}

#[cfg(test)]
mod tests;
