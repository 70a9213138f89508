//! The payee's machine: accepts vouchers, and settles the best of them in time.
//!
//! Every method that decides takes `&self` and returns a step with the next [`PayeeRecord`];
//! [`Payee::apply`] is the only mutation, live and on reload alike. `node` commits the record
//! before it lets anything of the step leave.

mod accept;
mod batch;
mod held;
mod holds;
mod joint;
mod record;
mod settle;
mod watch;

use bitcoin::OutPoint;
use bitcoin::secp256k1::XOnlyPublicKey;

pub use accept::{Accepted, AcceptedProof};
pub use batch::BatchAccepted;
pub use holds::{PayeeHold, PayeeHoldState};
pub use joint::{CloseAnswer, TopUpAnswer};
pub use record::{PayeePhase, PayeeRecord};
pub use settle::{SettleAdvice, SettlePolicy, SettlementPlan};
pub use watch::{Noticed, PayeeNews};

use super::channel::{self, OpenRequest, Rules};
use super::error::StreamError;
use super::terms::Terms;
use super::view::View;
use crate::keys::Context;
use crate::tx::seen::OutputStatus;
use crate::tx::{Channel, FundingOutput, TxError, Voucher};
use crate::units::{Height, Msat, Sat};

/// One channel as its payee keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payee {
    record: PayeeRecord,
    channel: Channel,
    /// Its base key, which signs receipts.
    base: XOnlyPublicKey,
}

impl Payee {
    /// The machine of a channel that a payer shows, if the terms and the chain agree with it: three
    /// point multiplications.
    ///
    /// `status` is what a look-up of `request.outpoint` says, however long ago it was funded. The
    /// caller commits its record, and answers only then. An outpoint that it has a record of is
    /// opened again only while no voucher was accepted on it ([`Payee::is_fresh`]): so a payer that
    /// lost its memory may name its change script anew. Any other record would be overwritten.
    ///
    /// # Errors
    /// Whatever the request gets wrong: network, payee, terms, expiry, delay, capacity, script,
    /// a spent or unknown output; [`StreamError::TooLate`] too close to the deadline.
    pub fn open(
        context: &Context,
        terms: &Terms,
        request: &OpenRequest,
        status: Option<&OutputStatus>,
        view: &View,
    ) -> Result<Self, StreamError> {
        request.check(terms, view.now)?;
        let outpoint = request.outpoint;
        let status = status.ok_or(StreamError::NoOutput { outpoint })?;
        let output = FundingOutput::new(context, request.payer, request.base, request.delay)?;
        let channel = channel::channel_of(outpoint, output, request.change.clone(), status)?;
        channel::check_capacity(terms, channel.capacity())?;
        let record = PayeeRecord {
            payer: request.payer,
            delay: request.delay,
            change: channel.change().clone(),
            outpoint,
            capacity: channel.capacity(),
            rules: Rules::of(terms),
            truc: status.truc,
            start: Msat::ZERO,
            confirmed: status.confirmed,
            best: None,
            holds: holds::PayeeHolds::NONE,
            phase: PayeePhase::Open,
        };
        let payee = Self { record, channel, base: request.base };
        payee.check_last_call(view)?;
        Ok(payee)
    }

    /// The machine of a record, just made or read from the store: three point multiplications, and
    /// one verification if it holds a voucher.
    ///
    /// The voucher is verified again (S2): a record that was forged, or that was stored under
    /// another base key, would settle nothing, and credit would be given for it until then.
    ///
    /// # Errors
    /// [`StreamError::Tx`] if the record's keys do not make a channel;
    /// [`StreamError::ForgedRecord`] if its voucher is not the payer's.
    pub fn load(
        context: &Context,
        base: XOnlyPublicKey,
        record: PayeeRecord,
    ) -> Result<Self, StreamError> {
        let output = FundingOutput::new(context, record.payer, base, record.delay)?;
        Self::on_output(context, base, output, record)
    }

    /// The machine of another channel of this payee on the same script: where this one goes on.
    /// What [`Self::load`] gives, without a point multiplication; its voucher is verified as there.
    ///
    /// # Errors
    /// [`StreamError::BrokenRecord`] for a record of another key or delay; as [`Self::load`].
    pub fn beside(&self, context: &Context, record: PayeeRecord) -> Result<Self, StreamError> {
        if !record.has_output_of(&self.record) {
            return Err(StreamError::BrokenRecord { at: 0 });
        }
        Self::on_output(context, self.base, self.channel.output().clone(), record)
    }

    /// The machine of a record whose key and delay make `output`.
    fn on_output(
        context: &Context,
        base: XOnlyPublicKey,
        output: FundingOutput,
        record: PayeeRecord,
    ) -> Result<Self, StreamError> {
        let channel =
            Channel::new(record.outpoint, record.capacity, output, record.change.clone())?;
        let payee = Self { record, channel, base };
        let (outpoint, paid) = (payee.outpoint(), payee.paid());
        let forged = |_| StreamError::ForgedRecord { outpoint, paid };
        payee.check_best(context).map_err(forged)?;
        Ok(payee)
    }

    /// Takes the record of a step. The only mutation.
    ///
    /// # Errors
    /// [`StreamError::BrokenRecord`] for another channel's record, or one that breaks S1;
    /// [`StreamError::OldStep`] for a step that was decided before another one was applied, if it
    /// would take back what is paid (S3) or what a payee signature stated (S6).
    pub fn apply(&mut self, record: &PayeeRecord) -> Result<(), StreamError> {
        if !record.is_same_channel(&self.record) || !record.holds_together() {
            return Err(StreamError::BrokenRecord { at: 0 });
        }
        if !record.may_follow(&self.record) {
            return Err(StreamError::OldStep { phase: record.phase.name() });
        }
        self.record = record.clone();
        Ok(())
    }

    /// The channel: outpoint, capacity, scripts.
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// What is stored.
    pub const fn record(&self) -> &PayeeRecord {
        &self.record
    }

    /// The channel's identity.
    pub const fn outpoint(&self) -> OutPoint {
        self.record.outpoint
    }

    /// The cumulative amount that counts as paid.
    #[must_use]
    pub fn paid(&self) -> Msat {
        self.record.paid()
    }

    /// The amount that the channel started with: debt that a rollover or a top-up carried in.
    pub const fn start(&self) -> Msat {
        self.record.start
    }

    /// What was paid in this channel since it started.
    #[must_use]
    pub fn earned(&self) -> Msat {
        self.paid().saturating_sub(self.record.start)
    }

    /// The best voucher: what the payee presents to a payer that lost its memory. Where it has
    /// holds, [`Payee::best_held`] is the whole of it.
    pub const fn best(&self) -> Option<Voucher> {
        self.record.best
    }

    /// Where the channel stands.
    pub const fn phase(&self) -> PayeePhase {
        self.record.phase
    }

    /// Whether no voucher was accepted and no payee signature has left: nothing is lost if the
    /// payer opens the outpoint again.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.record.best.is_none() && self.record.phase == PayeePhase::Open
    }

    /// The height at which the payer's refund can confirm; none while unconfirmed.
    #[must_use]
    pub fn deadline(&self) -> Option<Height> {
        self.record.confirmed.map(|height| channel::deadline(height, self.record.delay))
    }

    /// The tip height from which on vouchers are refused; none while unconfirmed.
    #[must_use]
    pub fn last_call(&self) -> Option<Height> {
        self.record.confirmed.map(|height| self.record.rules.last_call(height, self.record.delay))
    }

    /// What the terms put at risk before the output is deep enough.
    pub const fn zero_conf_limit(&self) -> Sat {
        self.record.rules.zero_conf_limit
    }

    /// Whether anything is accepted before the output is deep enough.
    #[must_use]
    pub fn takes_zero_conf(&self) -> bool {
        self.record.truc && self.record.rules.zero_conf_limit > Sat::ZERO
    }

    /// Whether the channel's output was made by a version-3 transaction: only then can it be
    /// settled before that is in a block.
    pub const fn is_truc(&self) -> bool {
        self.record.truc
    }

    /// Whether the machine's promises to itself hold; simulation calls it after every step.
    ///
    /// # Errors
    /// [`StreamError::BrokenRecord`] if not.
    pub fn check_invariants(&self, context: &Context) -> Result<(), StreamError> {
        if !self.record.holds_together() || self.record.outpoint != self.channel.outpoint() {
            return Err(StreamError::BrokenRecord { at: 0 });
        }
        self.check_best(context)?;
        Ok(())
    }

    /// S2: whether the best voucher, with its holds, is the payer's.
    fn check_best(&self, context: &Context) -> Result<(), TxError> {
        match self.best_held() {
            Some(best) if best.holds.is_empty() => {
                let _checked = self.channel.verify(context, best.voucher())?;
            }
            Some(best) => {
                let _checked = best.check(context, &self.channel, &self.record.rules)?;
            }
            None => {}
        }
        Ok(())
    }

    fn check_last_call(&self, view: &View) -> Result<(), StreamError> {
        let height = view.live_height()?;
        match self.last_call() {
            Some(last_call) if height >= last_call => {
                Err(StreamError::TooLate { height, last_call })
            }
            _ => Ok(()),
        }
    }

    const fn wrong_phase(&self, act: &'static str) -> StreamError {
        StreamError::WrongPhase { phase: self.record.phase.name(), act }
    }
}

impl PayeeRecord {
    /// Whether both stand on one script, of one payee.
    fn has_output_of(&self, other: &Self) -> bool {
        (self.payer, self.delay) == (other.payer, other.delay)
    }
}

/// The whole satoshis of `paid`, which is what a settlement pays out.
const fn balance(paid: Msat) -> Sat {
    paid.floor_to_sat()
}
