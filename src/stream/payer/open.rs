//! Opening: from a payee's terms to a funded channel, without asking the payee anything.

use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::{OutPoint, ScriptBuf};

use super::holds::PayerHolds;
use super::{Payer, PayerPhase, PayerRecord};
use crate::keys::Context;
use crate::stream::backup::Backup;
use crate::stream::channel::{self, OpenRequest, Rules};
use crate::stream::error::StreamError;
use crate::stream::terms::{HoldRules, Terms};
use crate::stream::view::View;
use crate::tx::seen::OutputStatus;
use crate::tx::{ChangeScript, Delay, FundingOutput, TxError, dust_limit};
use crate::units::{Blocks, KeyIndex, Msat, Sat};

/// A channel that is about to be funded.
///
/// Fund [`Opening::script`] with [`Opening::capacity`] in a version-3 transaction; then commit the
/// record and the backup of [`Opening::funded`], and only then broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Opening {
    index: KeyIndex,
    terms: Terms,
    delay: Delay,
    capacity: Sat,
    change: ChangeScript,
    output: FundingOutput,
}

impl Opening {
    /// A channel of `capacity` with the payee of `terms`, by the payer's key `key` of `index`.
    ///
    /// # Errors
    /// [`StreamError::Terms`], [`StreamError::TermsExpired`], [`StreamError::DelayOutOfTerms`],
    /// [`StreamError::CapacityOutOfTerms`], [`StreamError::Tx`] for a capacity that is dust.
    #[expect(clippy::too_many_arguments, reason = "each is one choice of the payer")]
    pub fn new(
        context: &Context,
        terms: &Terms,
        index: KeyIndex,
        key: XOnlyPublicKey,
        delay: Delay,
        capacity: Sat,
        change: ChangeScript,
        view: &View,
    ) -> Result<Self, StreamError> {
        terms.check()?;
        if view.now > terms.expiry {
            return Err(StreamError::TermsExpired { expiry: terms.expiry, now: view.now });
        }
        channel::check_delay(terms, delay)?;
        channel::check_capacity(terms, capacity)?;
        let output = FundingOutput::new(context, key, terms.base, delay)?;
        let dust = dust_limit(output.script());
        if capacity < dust {
            return Err(TxError::CapacityBelowDust { capacity, dust }.into());
        }
        let change = channel::own_or_wallet(change, &output);
        Ok(Self { index, terms: terms.clone(), delay, capacity, change, output })
    }

    /// What to fund.
    pub const fn script(&self) -> &ScriptBuf {
        self.output.script()
    }

    /// With how much.
    pub const fn capacity(&self) -> Sat {
        self.capacity
    }

    /// The payer's key in it.
    pub const fn key(&self) -> XOnlyPublicKey {
        self.output.payer()
    }

    /// The machine of the channel at `outpoint`, with the record of [`Opening::funded`]: what
    /// [`Payer::load`] gives, without a point multiplication.
    ///
    /// # Errors
    /// None that construction did not already exclude.
    pub fn machine(&self, outpoint: OutPoint) -> Result<Payer, StreamError> {
        let (record, ..) = self.funded(outpoint);
        Payer::on_output(self.output.clone(), record)
    }

    /// The record, the backup and the request to the payee, once the outpoint is known.
    #[must_use]
    pub fn funded(&self, outpoint: OutPoint) -> (PayerRecord, Backup, OpenRequest) {
        let terms = self.terms.hash();
        let record = PayerRecord {
            index: self.index,
            base: self.terms.base,
            delay: self.delay,
            terms,
            change: self.change.clone(),
            outpoint,
            capacity: self.capacity,
            rules: Rules::of(&self.terms),
            start: Msat::ZERO,
            confirmed: None,
            signed: Msat::ZERO,
            holds: PayerHolds::NONE,
            phase: PayerPhase::Open,
        };
        let backup = Backup {
            network: self.terms.network,
            index: self.index,
            base: self.terms.base,
            delay: self.delay,
            terms,
            outpoint,
        };
        let request = OpenRequest {
            network: self.terms.network,
            base: self.terms.base,
            payer: self.output.payer(),
            delay: self.delay,
            outpoint,
            change: self.change.clone(),
            terms,
        };
        (record, backup, request)
    }
}

impl Payer {
    /// What to send to the payee of a channel that exists already, after a rollover for instance.
    #[must_use]
    pub fn open_request(&self, network: bitcoin::Network) -> OpenRequest {
        OpenRequest {
            network,
            base: self.record.base,
            payer: self.channel.output().payer(),
            delay: self.record.delay,
            outpoint: self.record.outpoint,
            change: self.record.change.clone(),
            terms: self.record.terms,
        }
    }

    /// The record of a channel whose payer has nothing but its seed and the backup.
    ///
    /// `outpoint` and `status` come from a look-up of [`Backup::output`]'s script, so that a
    /// replaced funding transaction or a rollover is found too. The change script is taken as the
    /// channel's own until the payee's best voucher proves another. Without `terms` the record
    /// serves for a refund, and for resuming under rules that wait longer than most.
    ///
    /// # Errors
    /// [`StreamError::OtherTerms`] for terms of another hash; [`StreamError::WrongScript`],
    /// [`StreamError::SpentOutput`], [`StreamError::Tx`].
    pub fn restore(
        context: &Context,
        key: XOnlyPublicKey,
        backup: &Backup,
        terms: Option<&Terms>,
        outpoint: OutPoint,
        status: &OutputStatus,
    ) -> Result<PayerRecord, StreamError> {
        if terms.is_some_and(|terms| terms.hash() != backup.terms) {
            return Err(StreamError::OtherTerms);
        }
        let output = FundingOutput::new(context, key, backup.base, backup.delay)?;
        let channel = channel::channel_of(outpoint, output, ChangeScript::Own, status)?;
        Ok(PayerRecord {
            index: backup.index,
            base: backup.base,
            delay: backup.delay,
            terms: backup.terms,
            change: ChangeScript::Own,
            outpoint,
            capacity: channel.capacity(),
            rules: terms.map_or_else(careful_rules, Rules::of),
            start: Msat::ZERO,
            confirmed: status.confirmed,
            signed: Msat::ZERO,
            holds: PayerHolds::NONE,
            phase: PayerPhase::Unsure,
        })
    }
}

/// Rules where the payee's are not known: spends count as final only after a day.
fn careful_rules() -> Rules {
    let day = Blocks::new(144).unwrap_or(Blocks::MAX);
    let holds = HoldRules::NONE;
    Rules { confirmation_depth: day, settle_margin: day, zero_conf_limit: Sat::ZERO, holds }
}
