//! Batches in flight: sent, not acknowledged yet, bounded in number and amount.
//!
//! ```text
//!   Sealed --launch--> [ start..paid | start..paid | start..paid ] --resend_from(paid)--> again
//!                           <--acknowledge(paid)--
//! ```
//!
//! With several windows on their way a long round trip does not cost throughput; what is in flight
//! is at risk meanwhile, and the bound says how much. The payee acknowledges by what is durably
//! paid. Used by the payer in `stream`; nothing of it is stored: a payer that restarts, and finds
//! the payee behind, bills [`Lanes::missing_at`](super::lanes::Lanes::missing_at) in a new batch.

use alloc::collections::VecDeque;

use super::Sealed;
use super::lanes::Lanes;
use crate::units::{Blame, Msat};

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
            Self::TooMany { .. } | Self::TooMuch { .. } | Self::NotNext { .. } => Blame::Us,
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

    /// Checks that one more batch of `amount` may go out.
    ///
    /// # Errors
    /// [`FlightError::TooMany`], [`FlightError::TooMuch`].
    pub fn check_room(&self, amount: Msat) -> Result<(), FlightError> {
        if self.sent.len() >= self.batches_max {
            return Err(FlightError::TooMany { max: self.batches_max });
        }
        let (at_risk, max) = (self.at_risk().saturating_add(amount), self.amount_max);
        if at_risk > max { Err(FlightError::TooMuch { amount: at_risk, max }) } else { Ok(()) }
    }

    /// Keeps a batch that goes out now.
    ///
    /// # Errors
    /// [`FlightError::NotNext`], [`FlightError::TooMany`], [`FlightError::TooMuch`].
    pub fn launch(&mut self, batch: Sealed) -> Result<(), FlightError> {
        let claim = batch.credited.claim;
        if claim.start != self.end() {
            return Err(FlightError::NotNext { got: claim.start, want: self.end() });
        }
        self.check_room(claim.paid.saturating_sub(claim.start))?;
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

    /// Batches in flight.
    pub fn batches(&self) -> usize {
        self.sent.len()
    }

    /// Bytes of the batches that are kept.
    pub fn bytes(&self) -> usize {
        self.sent.iter().fold(0, |sum, batch| sum.saturating_add(batch.bytes.len()))
    }
}
