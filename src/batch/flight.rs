//! Batches in flight: sent, not acknowledged yet, bounded in number and amount.
//!
//! ```text
//!   Sealed --launch--> [ start..paid | start..paid | start..paid ] --resend_from(paid)--> again
//!                           <--acknowledge(paid)--
//! ```
//!
//! With several windows on their way a long round trip does not cost throughput; what is in flight
//! is at risk meanwhile, and the bound says how much. The payee acknowledges by what is durably
//! paid. Used by the payer in `node`; nothing of it is stored: a payer that restarts, and finds the
//! payee behind, bills [`Lanes::missing_at`](super::lanes::Lanes::missing_at) in a new batch.

use alloc::collections::VecDeque;
use core::num::NonZeroU8;

use bitcoin::OutPoint;
use bitcoin::secp256k1::XOnlyPublicKey;

use super::item::LeafSize;
use super::lanes::Lanes;
use super::{BatchError, Builder, Channel, Sealed};
use crate::units::{Blame, Msat};

/// 12 windows: with 100,000 items each, 5 million items a second over a round trip of 0.2 s.
const WINDOWS: u8 = 12;
/// 10,000 sat: what a payer loses at most, unless it says otherwise, to a payee that takes vouchers
/// and acknowledges nothing.
const AMOUNT: u64 = 10_000_000;
/// 16 MiB of batches are kept for one channel: 128 windows of 100,000 random items.
const BYTES_MAX: usize = 16_777_216;

/// How much of a channel may be sent and not acknowledged: what its payer has at risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlightLimits {
    /// Batches.
    pub windows: NonZeroU8,
    /// What they pay together.
    pub amount: Msat,
}

impl Default for FlightLimits {
    /// 12 windows and 10,000 sat.
    fn default() -> Self {
        let windows = NonZeroU8::new(WINDOWS).unwrap_or(NonZeroU8::MIN);
        Self { windows, amount: Msat::new(AMOUNT).unwrap_or(Msat::ZERO) }
    }
}

/// Where the next batch starts: a channel and its lanes as they are once everything that is in
/// flight has arrived. A payer builds on it while earlier batches are still being sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    outpoint: OutPoint,
    payee: XOnlyPublicKey,
    paid: Msat,
    room: Msat,
    lanes: Lanes,
}

impl Front {
    /// Where `channel` stands, with its `lanes`.
    pub fn new(channel: &impl Channel, lanes: Lanes) -> Self {
        let (outpoint, payee) = (channel.outpoint(), channel.payee());
        Self { outpoint, payee, paid: channel.paid(), room: channel.room(), lanes }
    }

    /// The lanes there.
    pub const fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Begins a batch.
    ///
    /// # Errors
    /// [`BatchError::Lanes`] if the lanes' totals are not what the channel paid.
    pub fn build(&self, leaf_size: LeafSize) -> Result<Builder, BatchError> {
        Builder::new(self, &self.lanes, leaf_size)
    }

    /// Where the batch after `batch` starts.
    ///
    /// # Errors
    /// [`FlightError::NotNext`] if `batch` does not start here.
    pub fn after(&self, batch: &Sealed) -> Result<Self, FlightError> {
        let claim = batch.credited.claim;
        if claim.start != self.paid {
            return Err(FlightError::NotNext { got: claim.start, want: self.paid });
        }
        let room = self.room.saturating_sub(claim.paid.saturating_sub(claim.start));
        Ok(Self { paid: claim.paid, room, lanes: batch.credited.lanes.clone(), ..*self })
    }
}

impl Channel for Front {
    fn outpoint(&self) -> OutPoint {
        self.outpoint
    }

    fn payee(&self) -> XOnlyPublicKey {
        self.payee
    }

    fn paid(&self) -> Msat {
        self.paid
    }

    fn room(&self) -> Msat {
        self.room
    }
}

/// The batches that a payer keeps until they are acknowledged.
#[derive(Debug, Clone)]
pub struct Flight {
    batches_max: usize,
    amount_max: Msat,
    sent: VecDeque<Sealed>,
    /// The payee's last acknowledgement.
    acknowledged: Msat,
}

/// Why a batch does not go out, or what cannot be acknowledged. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlightError {
    /// As many batches as there may be: the payer waits for the payee.
    #[error("{max} batches are in flight")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// More at risk than there may be.
    #[error("{amount} would be in flight, {max} may be")]
    TooMuch {
        /// What it would be.
        amount: Msat,
        /// The limit.
        max: Msat,
    },
    /// More memory than the batches of a channel may take.
    #[error("batches of {bytes} bytes would be in flight, {max} may be")]
    TooManyBytes {
        /// What it would be.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A batch that does not start where the last one ends.
    #[error("the batch starts at {got}, the last one ends at {want}")]
    NotNext {
        /// Where it starts.
        got: Msat,
        /// Where it should.
        want: Msat,
    },
    /// An acknowledgement inside a batch, which counts whole or not at all, or above all that was
    /// sent.
    #[error("{got} acknowledged, where no batch ends; {sent} was sent")]
    NotSent {
        /// What was acknowledged.
        got: Msat,
        /// The end of the last batch.
        sent: Msat,
    },
}

impl FlightError {
    /// Ours, but for what the payee acknowledges.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::TooMany { .. }
            | Self::TooMuch { .. }
            | Self::TooManyBytes { .. }
            | Self::NotNext { .. } => Blame::Us,
            Self::NotSent { .. } => Blame::Peer,
        }
    }
}

impl Flight {
    /// Nothing in flight in a channel whose payee holds `paid`; at most `batches_max` batches and
    /// `amount_max` at once.
    pub const fn new(paid: Msat, batches_max: usize, amount_max: Msat) -> Self {
        Self { batches_max, amount_max, sent: VecDeque::new(), acknowledged: paid }
    }

    /// Nothing in flight, within `limits`.
    pub fn within(paid: Msat, limits: FlightLimits) -> Self {
        Self::new(paid, usize::from(limits.windows.get()), limits.amount)
    }

    /// Sets what may be in flight from now on; what is stays.
    pub fn set_limits(&mut self, limits: FlightLimits) {
        (self.batches_max, self.amount_max) = (usize::from(limits.windows.get()), limits.amount);
    }

    /// Checks that one more batch of `amount` and `bytes` may go out.
    ///
    /// # Errors
    /// [`FlightError::TooMany`], [`FlightError::TooMuch`], [`FlightError::TooManyBytes`].
    pub fn check_room(&self, amount: Msat, bytes: usize) -> Result<(), FlightError> {
        if self.sent.len() >= self.batches_max {
            return Err(FlightError::TooMany { max: self.batches_max });
        }
        let bytes = self.bytes().saturating_add(bytes);
        if bytes > BYTES_MAX {
            return Err(FlightError::TooManyBytes { bytes, max: BYTES_MAX });
        }
        let (at_risk, max) = (self.at_risk().saturating_add(amount), self.amount_max);
        if at_risk > max { Err(FlightError::TooMuch { amount: at_risk, max }) } else { Ok(()) }
    }

    /// Keeps a batch that goes out now.
    ///
    /// # Errors
    /// [`FlightError::NotNext`], [`FlightError::TooMany`], [`FlightError::TooMuch`],
    /// [`FlightError::TooManyBytes`].
    pub fn launch(&mut self, batch: Sealed) -> Result<(), FlightError> {
        let claim = batch.credited.claim;
        if claim.start != self.end() {
            return Err(FlightError::NotNext { got: claim.start, want: self.end() });
        }
        self.check_room(claim.paid.saturating_sub(claim.start), batch.bytes.len())?;
        self.sent.push_back(batch);
        Ok(())
    }

    /// Drops what the payee holds: everything up to `paid`. Returns how many batches that were; an
    /// acknowledgement that was overtaken by a later one changes nothing.
    ///
    /// # Errors
    /// [`FlightError::NotSent`].
    pub fn acknowledge(&mut self, paid: Msat) -> Result<usize, FlightError> {
        if paid <= self.acknowledged {
            return Ok(0);
        }
        let end = self.sent.iter().position(|batch| batch.credited.claim.paid == paid);
        let end = end.ok_or(FlightError::NotSent { got: paid, sent: self.end() })?;
        let count = end.saturating_add(1);
        self.sent.drain(..count);
        self.acknowledged = paid;
        Ok(count)
    }

    /// After a reconnect: the batches that the payee, which holds `paid`, has not, oldest first.
    ///
    /// # Errors
    /// [`FlightError::NotSent`] if it holds less than it acknowledged, or what was never sent: then
    /// it cannot be healed by sending again.
    pub fn resend_from(
        &mut self,
        paid: Msat,
    ) -> Result<impl Iterator<Item = &Sealed>, FlightError> {
        if paid < self.acknowledged {
            return Err(FlightError::NotSent { got: paid, sent: self.end() });
        }
        self.acknowledge(paid)?;
        Ok(self.sent.iter())
    }

    /// What is sent and not acknowledged: at risk until it is.
    pub fn at_risk(&self) -> Msat {
        self.end().saturating_sub(self.acknowledged)
    }

    /// What is paid once everything has arrived: where the next batch starts.
    pub fn end(&self) -> Msat {
        self.sent.back().map_or(self.acknowledged, |batch| batch.credited.claim.paid)
    }

    /// The lanes after the last batch, from which the next one is built; `None` if nothing is in
    /// flight.
    pub fn lanes(&self) -> Option<&Lanes> {
        self.sent.back().map(|batch| &batch.credited.lanes)
    }

    /// The batches in flight, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Sealed> {
        self.sent.iter()
    }

    /// Batches in flight.
    pub fn batches(&self) -> usize {
        self.sent.len()
    }

    /// Bytes of the batches that are kept.
    pub fn bytes(&self) -> usize {
        self.sent.iter().fold(0, |sum, batch| sum.saturating_add(batch.bytes.len()))
    }
}
