//! What both sides say and check of conditional payments: the voucher with its holds, the window
//! of heights that an expiry must lie in, and the bytes of holds in records.

use alloc::vec::Vec;

use bitcoin::Transaction;
use bitcoin::secp256k1::schnorr;

use super::bundle::{BundleSum, is_worth};
use super::bytes::{Reader, Writer};
use super::channel::Rules;
use super::error::StreamError;
use super::terms::HoldRules;
use super::view::View;
use crate::keys::{Context, Entropy};
use crate::signer::{Request, Signer};
use crate::tx::hold::{ClaimDelay, Held, HeldChecked, Hold, HoldCoin, HoldSpend, PaymentHash};
use crate::tx::{Channel, TxError, Voucher};
use crate::units::{Blocks, Height, HoldId, Msat, Sat};

/// A voucher with every hold that is open in it; without holds it is a plain voucher.
///
/// This is what the payer sends after an offer, a growth, a fold or a drop, and what the payee
/// presents to a payer that lost its memory: the whole state, so that no message depends on
/// another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldVoucher {
    /// The cumulative amount.
    pub paid: Msat,
    /// The open holds, in the order of their ids.
    pub holds: Vec<Hold>,
    /// The bundles behind those that are one, in the order of their ids. Not signed: the transport
    /// says whose they are.
    pub bundles: Vec<(HoldId, BundleSum)>,
    /// The payer's signature of this state.
    pub signature: schnorr::Signature,
}

impl HoldVoucher {
    /// The plain part of it; with holds its signature is of another kind than a plain voucher's.
    pub(super) const fn voucher(&self) -> Voucher {
        Voucher { paid: self.paid, signature: self.signature }
    }

    /// The bundle behind hold `id`.
    #[must_use]
    pub fn bundle(&self, id: HoldId) -> Option<&BundleSum> {
        self.bundles.iter().find(|(of, _)| *of == id).map(|(_, sum)| sum)
    }

    /// Each bundle stands behind a hold of its worth, once, in their order.
    pub(super) fn check_bundles(&self) -> Result<(), StreamError> {
        let mut holds = self.holds.iter();
        for (id, sum) in &self.bundles {
            // The search goes on where the last one ended, so that ids must rise.
            let worth =
                holds.find(|hold| hold.id == *id).is_some_and(|hold| is_worth(hold, Some(sum)));
            if !worth {
                return Err(StreamError::WrongBundle { id: *id });
            }
        }
        Ok(())
    }

    /// Checks the signature of a state that has holds, with the fee of the channel's rules.
    pub(super) fn check(
        &self,
        context: &Context,
        channel: &Channel,
        rules: &Rules,
    ) -> Result<HeldChecked, TxError> {
        let (channel, holds) = (channel.clone(), self.holds.clone());
        Held::new(context, channel, self.paid, rules.holds.fee, holds)?
            .verify(context, &self.signature)
    }
}

impl Rules {
    /// The claim's delay, if the payee takes holds at all.
    pub(super) fn claim_delay(&self) -> Option<ClaimDelay> {
        ClaimDelay::new(self.holds.k).ok().filter(|_| self.holds.count > 0)
    }

    /// By when a payee that knows the preimage has its settlement confirmed: t - k - margin.
    #[must_use]
    pub fn settle_by(&self, expiry: Height) -> Height {
        let k = Blocks::new(u32::from(self.holds.k)).unwrap_or(Blocks::MIN);
        expiry.saturating_before(k).saturating_before(self.settle_margin)
    }

    /// Checks that a payee could still enforce a hold with this expiry, and before its deadline.
    pub(super) fn check_expiry(
        &self,
        expiry: Height,
        tip: Height,
        last_call: Height,
    ) -> Result<(), StreamError> {
        let settle_by = self.settle_by(expiry);
        if tip >= settle_by {
            return Err(StreamError::HoldTooNear { expiry, height: tip, settle_by });
        }
        if expiry >= last_call {
            return Err(StreamError::HoldTooFar { expiry, last_call });
        }
        Ok(())
    }

    /// Checks how many holds are open, and the smallest of those that are new.
    pub(super) fn check_count(&self, open: usize) -> Result<(), StreamError> {
        let max = usize::from(self.holds.count);
        if open > max { Err(TxError::TooManyHolds { got: open, max }.into()) } else { Ok(()) }
    }

    pub(super) fn check_dust(&self, hold: &Hold) -> Result<(), StreamError> {
        let dust = self.holds.dust;
        if hold.amount < dust {
            return Err(TxError::HoldBelowDust { id: hold.id, amount: hold.amount, dust }.into());
        }
        Ok(())
    }
}

/// The outputs of `tx` that are these holds', in the order of their ids. Two holds of equal hash,
/// expiry and delay have one script: the earlier id has the earlier output.
pub(super) fn coins<'a>(
    context: &Context,
    channel: &Channel,
    holds: impl IntoIterator<Item = &'a Hold>,
    tx: &Transaction,
) -> Result<Vec<(Hold, HoldCoin)>, TxError> {
    let mut found: Vec<(Hold, HoldCoin)> = Vec::new();
    for hold in holds {
        let scripts = hold.output(context, channel.output())?;
        let same = |(_, coin): &&(Hold, HoldCoin)| coin.scripts() == &scripts;
        let skip = found.iter().filter(same).count();
        if let Some(coin) = HoldCoin::find(scripts, tx, skip) {
            found.push((*hold, coin));
        }
    }
    Ok(found)
}

/// Signs a claim or a timeout after a settlement in block `settled`, once mempools take it.
pub(super) fn sign_spend(
    channel: &Channel,
    spend: HoldSpend,
    settled: Height,
    signer: &mut dyn Signer,
    view: &View,
    aux: &Entropy,
) -> Result<Transaction, StreamError> {
    // Mempools judge by the next block, so they take it when the tip is one below.
    let one = Blocks::new(1).unwrap_or(Blocks::MIN);
    let from = spend.earliest(settled).saturating_before(one);
    if view.tip.height < from {
        return Err(StreamError::TooEarly { height: view.tip.height, from });
    }
    let request = Request::HoldSpend { channel, spend: &spend };
    let signature = signer.sign(&request, view.now, aux)?;
    Ok(spend.finish(&signature)?)
}

impl HoldRules {
    /// 11 bytes, as in the terms.
    pub(super) fn write(&self, w: &mut Writer) {
        w.u16(self.k);
        w.u32(u32::try_from(self.fee.to_sat()).unwrap_or(u32::MAX));
        w.u32(u32::try_from(self.dust.to_sat()).unwrap_or(u32::MAX));
        w.u8(self.count);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            k: r.u16()?,
            fee: Sat::new(u64::from(r.u32()?)).ok()?,
            dust: Sat::new(u64::from(r.u32()?)).ok()?,
            count: r.u8()?,
        })
    }
}

/// 52 bytes: id, amount, hash, expiry. The delay is the channel's.
pub(super) fn write_hold(w: &mut Writer, hold: &Hold) {
    w.u64(hold.id.to_u64());
    w.sat(hold.amount);
    w.bytes(hold.hash.as_bytes());
    w.u32(hold.expiry.to_u32());
}

pub(super) fn read_hold(r: &mut Reader<'_>, delay: ClaimDelay) -> Option<Hold> {
    Some(Hold {
        id: HoldId::new(r.u64()?).ok()?,
        amount: r.sat()?,
        hash: PaymentHash::new(*r.array::<32>()?),
        expiry: Height::new(r.u32()?).ok()?,
        delay,
    })
}

/// Ids rise, and none is above the last one that was used.
pub(super) fn ids_rise<'a>(holds: impl Iterator<Item = &'a Hold> + Clone, last: HoldId) -> bool {
    let rises = holds.clone().zip(holds.clone().skip(1)).all(|(one, next)| one.id < next.id);
    rises && holds.last().is_none_or(|hold| hold.id <= last)
}
