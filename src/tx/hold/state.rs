//! The state that a voucher with holds signs: what is paid, the open holds, and its outputs.

use alloc::vec::Vec;

use bitcoin::TxOut;
use bitcoin::secp256k1::{Message, schnorr};

use super::super::change::{ChangeScript, dust_limit};
use super::super::delay::ClaimDelay;
use super::super::draft::output;
use super::super::voucher::{Channel, VoucherKind, hash_outputs};
use super::super::{TxError, payee_script};
use super::output::{HoldOutput, PaymentHash};
use crate::keys::{ChannelKey, Context, Entropy};
use crate::units::{Height, HoldId, Msat, Sat};

/// One conditional payment: `amount` for the preimage of `hash`, until height `expiry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Its id, above every earlier one of the outpoint.
    pub id: HoldId,
    /// Whole satoshis, at least the dust limit of its output.
    pub amount: Sat,
    /// The lock.
    pub hash: PaymentHash,
    /// The height t: the payer can take the amount back in block t + 1.
    pub expiry: Height,
    /// The claim's relative lock k.
    pub delay: ClaimDelay,
}

impl Hold {
    /// The scripts of its output in the channel with the output `channel`.
    ///
    /// # Errors
    /// As [`HoldOutput::new`].
    pub fn output(
        &self,
        context: &Context,
        channel: &super::super::FundingOutput,
    ) -> Result<HoldOutput, TxError> {
        HoldOutput::new(context, channel, self.hash, self.expiry, self.delay)
    }

    /// Whether `other` is this hold, with the same amount or a larger one.
    #[must_use]
    pub fn may_grow_to(&self, other: &Self) -> bool {
        Self { amount: other.amount, ..*self } == *other && other.amount >= self.amount
    }
}

/// One state of a channel with open holds: what its voucher signs, output by output.
///
/// Whoever holds one knows that its settlement can be paid for, and that no output of it is dust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    channel: Channel,
    paid: Msat,
    fee: Sat,
    holds: Vec<(Hold, HoldOutput)>,
    outputs: Vec<TxOut>,
    has_change: bool,
    has_payee: bool,
}

/// Proof that the payer's signature fits a state: only [`Held::verify`] makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct HeldChecked {
    held: Held,
    signature: schnorr::Signature,
}

impl HeldChecked {
    /// The state that was signed.
    pub const fn held(&self) -> &Held {
        &self.held
    }

    /// The payer's signature.
    pub const fn signature(&self) -> schnorr::Signature {
        self.signature
    }
}

impl Held {
    /// 225: with change, payee output and two P2TR fee inputs the settlement has 9,995 vB, and a
    /// version-3 transaction may have 10,000.
    pub const HOLDS_MAX: usize = 225;

    /// The state of `channel` at `paid` with `holds` open, in the order of their ids, and the
    /// settlement's `fee` as the terms say. One point multiplication a hold, and one.
    ///
    /// # Errors
    /// [`TxError::HoldsNeedOwnChange`], [`TxError::NoHolds`], [`TxError::TooManyHolds`],
    /// [`TxError::HoldOrder`], [`TxError::HoldBelowDust`], [`TxError::AboveCapacity`];
    /// [`TxError::HoldsAboveCapacity`] if balance, holds and what is missing of the fee exceed the
    /// capacity.
    pub fn new(
        context: &Context,
        channel: Channel,
        paid: Msat,
        fee: Sat,
        holds: Vec<Hold>,
    ) -> Result<Self, TxError> {
        check_holds(&channel, &holds)?;
        let limit = channel.capacity().to_msat();
        if paid > limit {
            return Err(TxError::AboveCapacity { paid, limit });
        }
        let holds = holds.into_iter().map(|hold| {
            let scripts = hold.output(context, channel.output())?;
            let dust = dust_limit(scripts.script());
            if hold.amount < dust {
                return Err(TxError::HoldBelowDust { id: hold.id, amount: hold.amount, dust });
            }
            Ok((hold, scripts))
        });
        let holds = holds.collect::<Result<Vec<_>, TxError>>()?;

        let balance = paid.floor_to_sat();
        let missing = fee.saturating_sub(balance);
        let mut needed = balance.add(missing)?;
        for (hold, _) in &holds {
            needed = needed.add(hold.amount)?;
        }
        let capacity = channel.capacity();
        let change =
            capacity.checked_sub(needed).ok_or(TxError::HoldsAboveCapacity { needed, capacity })?;

        let kept = |value: Sat, script| Some(output(value, script)).filter(is_above_dust);
        let change = kept(change, channel.output().script().clone());
        let payee = payee_script(context, channel.output().payee())?;
        let payee = kept(balance.saturating_sub(fee), payee);
        let (has_change, has_payee) = (change.is_some(), payee.is_some());
        let mut outputs: Vec<TxOut> = change.into_iter().chain(payee).collect();
        outputs.extend(
            holds.iter().map(|(hold, scripts)| output(hold.amount, scripts.script().clone())),
        );
        Ok(Self { channel, paid, fee, holds, outputs, has_change, has_payee })
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// What is paid without condition, cumulative.
    #[must_use]
    pub const fn paid(&self) -> Msat {
        self.paid
    }

    /// The fee of the whole settlement, as the terms say.
    #[must_use]
    pub const fn fee(&self) -> Sat {
        self.fee
    }

    /// The open holds in the order of their ids, each with its scripts.
    #[must_use]
    pub fn holds(&self) -> &[(Hold, HoldOutput)] {
        &self.holds
    }

    /// The outputs that are signed: change, payee output, holds.
    #[must_use]
    pub fn outputs(&self) -> &[TxOut] {
        &self.outputs
    }

    /// The number of the first hold's output.
    #[must_use]
    pub fn first_hold(&self) -> usize {
        usize::from(self.has_change).saturating_add(usize::from(self.has_payee))
    }

    /// Whether the channel goes on: the change is not left out.
    #[must_use]
    pub const fn has_change(&self) -> bool {
        self.has_change
    }

    /// Whether the payee has an output that a child can bump.
    #[must_use]
    pub const fn has_payee(&self) -> bool {
        self.has_payee
    }

    /// What the payer loses with this state though it is neither paid nor held: the part of the fee
    /// that the balance does not cover, and a change that is left out.
    #[must_use]
    pub fn payer_fee(&self) -> Sat {
        let kept = self.outputs.first().filter(|_| self.has_change);
        let kept = kept.map_or(Sat::ZERO, sat_of);
        let held = self.holds.iter().fold(self.paid.floor_to_sat(), |sum, (hold, _)| {
            // The sum was below the capacity when the state was made.
            sum.saturating_add(hold.amount)
        });
        self.channel.capacity().saturating_sub(kept).saturating_sub(held)
    }

    /// The 32 bytes that the voucher signs; see [`hold`](super).
    ///
    /// # Errors
    /// None that construction did not already exclude.
    pub fn digest(&self) -> Result<[u8; 32], TxError> {
        let outputs = hash_outputs(&self.outputs)?;
        Ok(self.channel.digest_of(VoucherKind::All, self.paid, Some(outputs)))
    }

    /// Signs the state with the payer's key.
    ///
    /// The machines never call this themselves: `signer` does, after its policy said yes.
    ///
    /// # Errors
    /// [`TxError::WrongKey`] if `key` is not this channel's payer's.
    pub fn sign(
        &self,
        context: &Context,
        key: &ChannelKey,
        aux: &Entropy,
    ) -> Result<schnorr::Signature, TxError> {
        let want = self.channel.output().payer();
        if key.public() != want {
            return Err(TxError::WrongKey { want });
        }
        Ok(key.sign(context, self.digest()?, aux))
    }

    /// Checks the payer's signature of exactly this state. One verification.
    ///
    /// # Errors
    /// [`TxError::BadSignature`].
    pub fn verify(
        self,
        context: &Context,
        signature: &schnorr::Signature,
    ) -> Result<HeldChecked, TxError> {
        let message = Message::from_digest(self.digest()?);
        context
            .secp()
            .verify_schnorr(signature, &message, &self.channel.output().payer())
            .map_err(|_| TxError::BadSignature { paid: self.paid })?;
        Ok(HeldChecked { held: self, signature: *signature })
    }
}

/// What can be refused without a point multiplication.
fn check_holds(channel: &Channel, holds: &[Hold]) -> Result<(), TxError> {
    if *channel.change() != ChangeScript::Own {
        return Err(TxError::HoldsNeedOwnChange { outpoint: channel.outpoint() });
    }
    if holds.is_empty() {
        return Err(TxError::NoHolds);
    }
    if holds.len() > Held::HOLDS_MAX {
        return Err(TxError::TooManyHolds { got: holds.len(), max: Held::HOLDS_MAX });
    }
    for pair in holds.windows(2) {
        if let [before, after] = pair
            && before.id >= after.id
        {
            return Err(TxError::HoldOrder { before: before.id, after: after.id });
        }
    }
    Ok(())
}

fn is_above_dust(output: &TxOut) -> bool {
    sat_of(output) >= dust_limit(&output.script_pubkey)
}

/// The value of an output that was made of a `Sat`.
fn sat_of(output: &TxOut) -> Sat {
    Sat::new(output.value.to_sat()).unwrap_or(Sat::MAX)
}
