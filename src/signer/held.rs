//! Signing conditional payments: the payer's vouchers with holds, the payee's settlement of them,
//! claim and timeout.

use bitcoin::OutPoint;
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::taproot::TapTweakHash;

use super::budget::Ahead;
use super::channel::Side;
use super::{Exposure, MemorySigner, SignerError};
use crate::keys::Entropy;
use crate::tx::hold::{Held, HeldChecked, HoldSettlement, HoldSpend};
use crate::tx::{Channel, PayeeSpend, payee_script};
use crate::units::{Height, Msat, SessionId, UtcSeconds};

/// What a voucher with holds is judged by beside its state.
pub(super) struct HeldAt {
    pub(super) session: SessionId,
    pub(super) tip: Height,
    pub(super) confirmed: Option<Height>,
    pub(super) now: UtcSeconds,
}

impl MemorySigner {
    pub(super) fn held_voucher(
        &mut self,
        held: &Held,
        at: &HeldAt,
        aux: &Entropy,
    ) -> Result<Signature, SignerError> {
        let outpoint = held.channel().outpoint();
        self.check_one_outpoint(outpoint)?;
        self.check_clock(at.now)?;
        let missing = SignerError::UnknownChannel { outpoint };
        let entry = self.channels.get_mut(&outpoint).ok_or(missing)?;
        entry.check_same(held.channel())?;
        // S8: what is unconfirmed can be replaced, and the hold with it.
        if at.confirmed.is_none_or(|confirmed| confirmed > at.tip) {
            return Err(SignerError::Unconfirmed { outpoint });
        }
        let digest = held.digest()?;
        let payer = entry.payer_mut()?;
        payer.check_forward(outpoint, held.paid())?;
        payer.check_ids(held)?;
        let next = payer.held.with(held);
        let before = payer.exposure_at(at.tip);
        let amount = next.at(at.tip).saturating_sub(before);
        if amount > Msat::ZERO {
            let purse = self.purse.as_mut().ok_or(SignerError::RecordMissing)?;
            purse.spend(&Ahead { peer: payer.peer, session: at.session, amount }, at.now)?;
        }
        payer.vouched(held.paid());
        payer.holds_signed(held, next, at.tip);
        payer.cleared = true;
        self.clock = at.now;
        Ok(entry.key.sign(&self.context, digest, aux))
    }

    pub(super) fn hold_settlement(
        &mut self,
        settlement: &HoldSettlement,
        aux: &Entropy,
    ) -> Result<Signature, SignerError> {
        let held = settlement.held();
        let outpoint = held.channel().outpoint();
        let missing = SignerError::UnknownChannel { outpoint };
        let entry = self.channels.get_mut(&outpoint).ok_or(missing)?;
        entry.check_same(held.channel())?;
        let digest = settlement.digest()?;
        let payee = entry.payee_mut()?;
        payee.check_settlement(held.paid())?;
        payee.signed(held.paid(), None);
        Ok(entry.key.sign(&self.context, digest, aux))
    }

    /// The payee's claim, or the payer's timeout: no budget, no clock; what is due on the chain
    /// takes nothing from the signer.
    pub(super) fn hold_spend(
        &self,
        channel: &Channel,
        spend: &HoldSpend,
        aux: &Entropy,
    ) -> Result<Signature, SignerError> {
        let outpoint = channel.outpoint();
        let entry = self.entry(outpoint)?;
        entry.check_same(channel)?;
        let ours = match entry.side {
            Side::Payer(_) => !spend.is_claim(),
            Side::Payee(_) => spend.is_claim(),
        };
        if !ours {
            return Err(SignerError::OtherRole { outpoint });
        }
        if spend.coin().scripts().channel() != entry.channel.output() {
            return Err(SignerError::OtherChannel { outpoint });
        }
        Ok(entry.key.sign(&self.context, spend.digest()?, aux))
    }

    /// The payee's spend of what a settlement paid it: no budget and no clock either.
    pub(super) fn payee_spend(
        &self,
        channel: &Channel,
        spend: &PayeeSpend,
        aux: &Entropy,
    ) -> Result<Signature, SignerError> {
        let outpoint = channel.outpoint();
        let entry = self.entry(outpoint)?;
        entry.check_same(channel)?;
        let payee = channel.output().payee();
        match entry.side {
            Side::Payee(_) => {}
            Side::Payer(_) => return Err(SignerError::OtherRole { outpoint }),
        }
        let own = payee_script(&self.context, payee)?;
        if spend.spent().is_none_or(|output| output.script_pubkey != own) {
            return Err(SignerError::OtherChannel { outpoint });
        }
        let tweak = TapTweakHash::from_key_and_tweak(payee, None).to_byte_array();
        let key = entry.key.tweaked(&self.context, tweak)?;
        Ok(key.sign(&self.context, spend.digest()?, aux))
    }

    pub(super) fn take_up_held(&mut self, checked: &HeldChecked) -> Result<(), SignerError> {
        let held = checked.held();
        let outpoint = held.channel().outpoint();
        let missing = SignerError::UnknownChannel { outpoint };
        let entry = self.channels.get_mut(&outpoint).ok_or(missing)?;
        entry.check_same(held.channel())?;
        let payer = entry.payer_mut()?;
        let next = payer.held.with(held);
        payer.vouched(held.paid());
        payer.holds_shown(held, next);
        Ok(())
    }

    pub(super) fn take_up_exposure(
        &mut self,
        outpoint: OutPoint,
        exposure: &Exposure,
    ) -> Result<(), SignerError> {
        let missing = SignerError::UnknownChannel { outpoint };
        let entry = self.channels.get_mut(&outpoint).ok_or(missing)?;
        let payer = entry.payer_mut()?;
        payer.held = payer.held.max(exposure);
        Ok(())
    }
}
