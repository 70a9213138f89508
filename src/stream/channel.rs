//! What both sides keep of a channel and never change: one outpoint, its script, its rules.

use bitcoin::{Network, OutPoint};

use super::bytes::{Reader, Writer};
use super::error::StreamError;
use super::terms::{HoldRules, Terms};
use crate::tx::seen::OutputStatus;
use crate::tx::{ChangeScript, Channel, Delay, FundingOutput};
use crate::units::{Blocks, Height, Sat, UtcSeconds};

/// The rules that a channel was opened under; later terms do not change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// How deep the output, and a spend of it, must be buried.
    pub confirmation_depth: Blocks,
    /// How many blocks before the deadline a settlement must be confirmed.
    pub settle_margin: Blocks,
    /// What is accepted on a shallower output.
    pub zero_conf_limit: Sat,
    /// Conditional payments; none on channels that were opened before there were any.
    pub holds: HoldRules,
}

impl Rules {
    /// The rules that `terms` state.
    #[must_use]
    pub const fn of(terms: &Terms) -> Self {
        Self {
            confirmation_depth: terms.confirmation_depth,
            settle_margin: terms.settle_margin,
            zero_conf_limit: terms.zero_conf_limit,
            holds: terms.holds,
        }
    }

    /// From this tip height on, vouchers on an output confirmed at `confirmed` are refused.
    #[must_use]
    pub fn last_call(&self, confirmed: Height, delay: Delay) -> Height {
        deadline(confirmed, delay).saturating_before(self.settle_margin)
    }

    pub(super) fn write(&self, w: &mut Writer) {
        let narrow = |blocks: Blocks| u16::try_from(blocks.to_u32()).unwrap_or(u16::MAX);
        w.u16(narrow(self.confirmation_depth));
        w.u16(narrow(self.settle_margin));
        w.sat(self.zero_conf_limit);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            confirmation_depth: Blocks::new(u32::from(r.u16()?)).ok()?,
            settle_margin: Blocks::new(u32::from(r.u16()?)).ok()?,
            zero_conf_limit: r.sat()?,
            // They stand in the part of the record that only channels with holds have.
            holds: HoldRules::NONE,
        })
    }
}

/// The height at which a refund can confirm: the output's confirmation plus the delay.
#[must_use]
pub fn deadline(confirmed: Height, delay: Delay) -> Height {
    confirmed.saturating_after(delay.to_blocks())
}

/// What a payer asks for when it shows a payee its funded channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRequest {
    /// The chain.
    pub network: Network,
    /// The payee's base key, as in its terms.
    pub base: bitcoin::XOnlyPublicKey,
    /// The payer's key of this channel.
    pub payer: bitcoin::XOnlyPublicKey,
    /// The refund's delay.
    pub delay: Delay,
    /// The funding outpoint.
    pub outpoint: OutPoint,
    /// Where the change goes.
    pub change: ChangeScript,
    /// The hash of the terms that the payer read.
    pub terms: [u8; 32],
}

impl OpenRequest {
    /// Checks the request against the terms that the payee offers at `now`.
    pub(super) fn check(&self, terms: &Terms, now: UtcSeconds) -> Result<(), StreamError> {
        terms.check()?;
        if self.network != terms.network {
            return Err(StreamError::WrongNetwork { want: terms.network, got: self.network });
        }
        if self.base != terms.base {
            return Err(StreamError::WrongPayee { want: terms.base, got: self.base });
        }
        if self.terms != terms.hash() {
            return Err(StreamError::OtherTerms);
        }
        if now > terms.expiry {
            return Err(StreamError::TermsExpired { expiry: terms.expiry, now });
        }
        check_delay(terms, self.delay)
    }
}

pub(super) fn check_delay(terms: &Terms, delay: Delay) -> Result<(), StreamError> {
    let (from, to) = terms.delay;
    if delay < from || delay > to {
        return Err(StreamError::DelayOutOfTerms {
            got: delay.to_u16(),
            from: from.to_u16(),
            to: to.to_u16(),
        });
    }
    Ok(())
}

pub(super) fn check_capacity(terms: &Terms, capacity: Sat) -> Result<(), StreamError> {
    let (from, to) = terms.capacity;
    if capacity < from || capacity > to {
        return Err(StreamError::CapacityOutOfTerms { got: capacity, from, to });
    }
    Ok(())
}

/// The change as this room keeps it: a wallet's script that is the channel's own means the same
/// outputs and the same signatures as [`ChangeScript::Own`], and rolls over like it.
pub(super) fn own_or_wallet(change: ChangeScript, output: &FundingOutput) -> ChangeScript {
    match change {
        ChangeScript::Wallet(script) if *script.as_script() == **output.script() => {
            ChangeScript::Own
        }
        change => change,
    }
}

/// Checks that the chain shows the output unspent with this script, and makes the channel of it.
pub(super) fn channel_of(
    outpoint: OutPoint,
    output: FundingOutput,
    change: ChangeScript,
    status: &OutputStatus,
) -> Result<Channel, StreamError> {
    if status.script != *output.script() {
        return Err(StreamError::WrongScript { outpoint });
    }
    if status.spent.is_some() {
        return Err(StreamError::SpentOutput { outpoint });
    }
    let change = own_or_wallet(change, &output);
    Ok(Channel::new(outpoint, status.value, output, change)?)
}

/// How deep an output is under the tip: 0 while it is unconfirmed.
pub(super) fn depth(confirmed: Option<Height>, tip: Height) -> Blocks {
    confirmed.map_or(Blocks::MIN, |height| height.depth_at(tip))
}

/// Whether `at` is buried as deep as `rules` ask.
pub(super) fn is_buried(at: Option<Height>, tip: Height, rules: &Rules) -> bool {
    depth(at, tip) >= rules.confirmation_depth
}

/// Checks that what the chain shows is the channel's own output.
pub(super) fn check_status(channel: &Channel, status: &OutputStatus) -> Result<(), StreamError> {
    let outpoint = channel.outpoint();
    if status.script != *channel.output().script() {
        return Err(StreamError::WrongScript { outpoint });
    }
    if status.value != channel.capacity() {
        let want = channel.capacity();
        return Err(StreamError::WrongValue { outpoint, want, got: status.value });
    }
    Ok(())
}
