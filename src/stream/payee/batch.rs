//! Accepting a batch: the voucher first, then every item, then the lanes; all of it or nothing.
//!
//! ```text
//!  first message: start, voucher --check_batch--> Accepted      one verification, nothing kept
//!  last part:     bytes ----------accept_batch--> BatchAccepted { record, credited lanes }
//! ```
//!
//! Whoever drives the machine commits the record and the lanes together, and acknowledges only
//! then.

use super::{Accepted, Payee, PayeeRecord};
use crate::batch::lanes::{Credited, Lanes};
use crate::batch::{Batch, BatchError, Channel, Claim};
use crate::keys::Context;
use crate::stream::error::StreamError;
use crate::stream::view::View;
use crate::tx::Voucher;
use crate::units::Msat;
use bitcoin::OutPoint;
use bitcoin::secp256k1::XOnlyPublicKey;

/// An accepted batch: record and lanes are stored in one commit, then it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct BatchAccepted {
    accepted: Accepted,
    credited: Credited,
}

impl BatchAccepted {
    /// What is to be stored before anything leaves.
    pub const fn record(&self) -> &PayeeRecord {
        self.accepted.record()
    }

    /// How much more counts as paid once it is stored.
    pub const fn gained(&self) -> Msat {
        self.accepted.gained()
    }

    /// The lanes after the batch, to be stored in the same commit, and what it was claimed to be.
    pub const fn credited(&self) -> &Credited {
        &self.credited
    }
}

impl Payee {
    /// Decides on the voucher of a batch that says to start at `start`: order, phase, deadline,
    /// depth and signature, before anything of the batch is kept or decoded.
    ///
    /// # Errors
    /// [`StreamError::Batch`] with [`BatchError::WrongStart`] for a batch that is not the next one,
    /// [`StreamError::HoldsOpen`]; else as [`Payee::accept_beside`].
    pub fn check_batch(
        &self,
        context: &Context,
        voucher: Voucher,
        start: Msat,
        beside: Msat,
        view: &View,
    ) -> Result<Accepted, StreamError> {
        let paid = self.paid();
        if start != paid {
            return Err(BatchError::WrongStart { got: start, paid }.into());
        }
        if voucher.paid <= start {
            return Err(StreamError::Stale { got: voucher.paid, best: start });
        }
        let count = self.record.holds.list.len();
        if count > 0 {
            return Err(StreamError::HoldsOpen { count });
        }
        self.accept_beside(context, voucher, beside, view)
    }

    /// Decides on a whole batch whose voucher was `accepted`: `bytes` lead to `root`, cost what the
    /// voucher adds, and fit `lanes`, which are those before it. Decoding and hashing of all items.
    ///
    /// # Errors
    /// [`StreamError::Batch`]; nothing of it counts. [`StreamError::OldStep`] if the machine went
    /// on since.
    pub fn accept_batch(
        &self,
        accepted: Accepted,
        lanes: &Lanes,
        batch: &Batch<'_>,
        root: [u8; 32],
    ) -> Result<BatchAccepted, StreamError> {
        let start = self.paid();
        if accepted.paid().checked_sub(accepted.gained()) != Some(start) {
            return Err(StreamError::OldStep { phase: accepted.record().phase().name() });
        }
        let claim = Claim { start, paid: accepted.paid(), items: batch.items(), root };
        let credited = batch.check(self, lanes, &claim, |_, _| {})?;
        Ok(BatchAccepted { accepted, credited })
    }
}

impl Channel for Payee {
    fn outpoint(&self) -> OutPoint {
        self.record.outpoint
    }

    fn payee(&self) -> XOnlyPublicKey {
        self.base
    }

    fn paid(&self) -> Msat {
        self.record.paid()
    }

    fn room(&self) -> Msat {
        self.channel.capacity().to_msat().saturating_sub(self.record.paid())
    }
}
