//! The payer's machine: signs cumulative vouchers, and takes its coin back after the deadline.
//!
//! Every method that decides takes `&self` and returns a step with the next [`PayerRecord`];
//! [`Payer::apply`] is the only mutation, live and on reload alike. For a plain payment the record
//! need not be durable: after a restart the payee's best voucher says what was signed
//! ([`Payer::resume`]), and the payer checks its own signature on it.

mod batch;
mod held;
mod holds;
mod joint;
mod open;
mod pay;
mod record;
mod watch;

use bitcoin::OutPoint;
use bitcoin::secp256k1::XOnlyPublicKey;

pub use held::{HoldStaged, HoldStep};
pub use holds::{PayerHold, PayerHoldState};
pub use joint::{CloseStep, RefundStep, TopUpStep};
pub use open::Opening;
pub use pay::{Ending, Paid, Resumed};
pub use record::{PayerPhase, PayerRecord};
pub use watch::{PayerNews, PayerNoticed};

use super::channel;
use super::error::StreamError;
use crate::keys::Context;
use crate::signer::{Past, PeerId, Role, Signer};
use crate::tx::{Channel, FundingOutput};
use crate::units::{Height, Msat, Sat};

/// One channel as its payer keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer {
    record: PayerRecord,
    channel: Channel,
}

impl Payer {
    /// The machine of a record, just made or read from the store; three point multiplications.
    ///
    /// `key` is the public key of the record's index.
    ///
    /// # Errors
    /// [`StreamError::Tx`] if the record's keys do not make a channel.
    pub fn load(
        context: &Context,
        key: XOnlyPublicKey,
        record: PayerRecord,
    ) -> Result<Self, StreamError> {
        let output = FundingOutput::new(context, key, record.base, record.delay)?;
        Self::on_output(output, record)
    }

    /// The machine of another channel on the same script: where this one goes on, or another
    /// funding of it. What [`Self::load`] gives, without a point multiplication.
    ///
    /// # Errors
    /// [`StreamError::BrokenRecord`] for a record of other keys or another delay;
    /// [`StreamError::Tx`].
    pub fn beside(&self, record: PayerRecord) -> Result<Self, StreamError> {
        if !record.has_output_of(&self.record) {
            return Err(StreamError::BrokenRecord { at: 0 });
        }
        Self::on_output(self.channel.output().clone(), record)
    }

    /// The machine of a record whose keys and delay make `output`.
    fn on_output(output: FundingOutput, record: PayerRecord) -> Result<Self, StreamError> {
        let channel =
            Channel::new(record.outpoint, record.capacity, output, record.change.clone())?;
        Ok(Self { record, channel })
    }

    /// Takes the record of a step. The only mutation.
    ///
    /// # Errors
    /// [`StreamError::BrokenRecord`] for another channel's record, or one that breaks S1;
    /// [`StreamError::OldStep`] for a step that was decided before another one was applied, if it
    /// would take back what is signed (S7).
    pub fn apply(&mut self, record: &PayerRecord) -> Result<(), StreamError> {
        if !record.is_same_channel(&self.record) || !record.holds_together() {
            return Err(StreamError::BrokenRecord { at: 0 });
        }
        if !record.may_follow(&self.record) {
            return Err(StreamError::OldStep { phase: record.phase.name() });
        }
        if record.change != self.record.change {
            self.channel = Channel::new(
                record.outpoint,
                record.capacity,
                self.channel.output().clone(),
                record.change.clone(),
            )?;
        }
        self.record = record.clone();
        Ok(())
    }

    /// The channel: outpoint, capacity, scripts.
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// What is stored.
    pub const fn record(&self) -> &PayerRecord {
        &self.record
    }

    /// The channel's identity.
    pub const fn outpoint(&self) -> OutPoint {
        self.record.outpoint
    }

    /// The highest amount that this payer knows to have signed.
    pub const fn signed(&self) -> Msat {
        self.record.signed
    }

    /// The amount that the channel started with: debt that a rollover or a top-up carried in.
    pub const fn start(&self) -> Msat {
        self.record.start
    }

    /// The most that a voucher with change can still add, beside the open holds and their fee.
    #[must_use]
    pub fn spendable(&self) -> Msat {
        let rest = self.channel.largest_with_change().saturating_sub(self.record.signed);
        let due = self.record.holds.due();
        if due == Msat::ZERO {
            return rest;
        }
        let missing = self.record.rules.holds.fee.saturating_sub(self.record.signed.floor_to_sat());
        rest.saturating_sub(due.saturating_add(missing.to_msat()))
    }

    /// What this outpoint can cost the payer at most: the largest cost of any voucher signed on it
    /// so far, with every hold that was ever in it.
    #[must_use]
    pub fn exposure(&self) -> Msat {
        self.exposure_at(Height::MIN)
    }

    /// The same while the tip is at `height`: holds count, released ones too, up to their expiry.
    #[must_use]
    pub fn exposure_at(&self, height: Height) -> Msat {
        self.record.signed.max(self.record.holds.exposure.at(height))
    }

    /// Where the channel stands.
    pub const fn phase(&self) -> PayerPhase {
        self.record.phase
    }

    /// The height at which the refund can confirm; none while unconfirmed.
    #[must_use]
    pub fn deadline(&self) -> Option<Height> {
        self.record.confirmed.map(|height| channel::deadline(height, self.record.delay))
    }

    /// The tip height from which on the payee refuses vouchers; none while unconfirmed.
    #[must_use]
    pub fn last_call(&self) -> Option<Height> {
        self.record.confirmed.map(|height| self.record.rules.last_call(height, self.record.delay))
    }

    /// Whether the channel's own output is final by its rules.
    #[must_use]
    pub fn is_deep(&self, tip: Height) -> bool {
        self.is_final(self.record.confirmed, tip)
    }

    /// Whether a transaction at that height counts as final by this channel's rules.
    #[must_use]
    pub fn is_final(&self, at: Option<Height>, tip: Height) -> bool {
        channel::is_buried(at, tip, &self.record.rules)
    }

    /// Makes the channel known to the signer.
    ///
    /// # Errors
    /// [`StreamError::Signer`].
    pub fn register(&self, signer: &mut dyn Signer, past: Past) -> Result<(), StreamError> {
        let peer = PeerId::new(self.record.base);
        let role = Role::Payer { index: self.record.index, peer, past };
        Ok(signer.register(&self.channel, role)?)
    }

    /// Whether the machine's promises to itself hold; simulation calls it after every step.
    ///
    /// # Errors
    /// [`StreamError::BrokenRecord`] if not.
    pub fn check_invariants(&self) -> Result<(), StreamError> {
        let same = self.record.outpoint == self.channel.outpoint()
            && self.record.capacity == self.channel.capacity()
            && self.record.change == *self.channel.change();
        if same && self.record.holds_together() {
            Ok(())
        } else {
            Err(StreamError::BrokenRecord { at: 0 })
        }
    }

    const fn wrong_phase(&self, act: &'static str) -> StreamError {
        StreamError::WrongPhase { phase: self.record.phase.name(), act }
    }
}

impl PayerRecord {
    /// Whether both stand on one script.
    fn has_output_of(&self, other: &Self) -> bool {
        let of = |record: &Self| (record.index, record.base, record.delay);
        of(self) == of(other)
    }

    /// The record of the outpoint where this channel goes on.
    pub(super) fn successor(
        &self,
        outpoint: OutPoint,
        capacity: Sat,
        start: Msat,
        phase: PayerPhase,
    ) -> Self {
        let (signed, confirmed, holds) = (start, None, holds::PayerHolds::NONE);
        Self { outpoint, capacity, start, confirmed, signed, holds, phase, ..self.clone() }
    }
}
