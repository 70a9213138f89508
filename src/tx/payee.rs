//! The payee's own output of a settlement: spent by its key, to raise the fee or to bring it home.

use bitcoin::secp256k1::schnorr;
use bitcoin::transaction::Version;
use bitcoin::{OutPoint, ScriptBuf, Transaction, Witness};

use super::change::dust_limit;
use super::draft::{Draft, REPLACEABLE, output};
use super::{Channel, TxError, payee_script};
use crate::keys::Context;
use crate::units::{FeeRate, Sat};

/// A key-path spend of an output to [`payee_script`] before its signature: one input, one output,
/// version 3, lock time 0, sequence 0xfffffffd.
///
/// Of an unconfirmed settlement it is the one child, far below the 1,000 vB that such a one may
/// have (BIP431), and pays for both; of a confirmed one it moves the balance to a wallet. To a P2TR
/// script it weighs 444 units, 111 vB.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct PayeeSpend {
    draft: Draft,
    value: Sat,
}

impl PayeeSpend {
    /// The spend of the first output of `settlement` to the payee of `channel`, to `script` with
    /// `fee`; `None` if there is no such output. One point multiplication.
    ///
    /// # Errors
    /// [`TxError::NotWorthIt`] if what is left would be dust.
    pub fn of(
        context: &Context,
        channel: &Channel,
        settlement: &Transaction,
        script: ScriptBuf,
        fee: Sat,
    ) -> Result<Option<Self>, TxError> {
        let Some((outpoint, value)) = Self::coin(context, channel, settlement)? else {
            return Ok(None);
        };
        let own = payee_script(context, channel.output().payee())?;
        let mut draft = Draft::new(Version(3));
        let placeholder = Witness::from_slice(&[[0; 64]]);
        draft.push_input(outpoint, REPLACEABLE, placeholder, output(value, own));
        draft.tx.output.push(output(value, script));
        Self { draft, value }.with_fee(fee).map(Some)
    }

    /// Where the payee of `channel` has its output in `settlement`, and what it is worth.
    ///
    /// # Errors
    /// [`TxError::Key`], which nobody can provoke.
    pub fn coin(
        context: &Context,
        channel: &Channel,
        settlement: &Transaction,
    ) -> Result<Option<(OutPoint, Sat)>, TxError> {
        let own = payee_script(context, channel.output().payee())?;
        let mut outputs = (0_u32..).zip(&settlement.output);
        let Some((vout, found)) = outputs.find(|(_, output)| output.script_pubkey == own) else {
            return Ok(None);
        };
        let outpoint = OutPoint { txid: settlement.compute_txid(), vout };
        Ok(Some((outpoint, Sat::new(found.value.to_sat())?)))
    }

    /// The same with another fee.
    ///
    /// # Errors
    /// [`TxError::NotWorthIt`] if what is left would be dust.
    pub fn with_fee(mut self, fee: Sat) -> Result<Self, TxError> {
        let left = self.value;
        let target = self.draft.tx.output.first_mut().ok_or(TxError::NoOutputs)?;
        let dust = dust_limit(&target.script_pubkey);
        let rest = left.checked_sub(fee).filter(|rest| *rest >= dust);
        let rest = rest.ok_or(TxError::NotWorthIt { left, fee, dust })?;
        target.value = bitcoin::Amount::from_sat(rest.to_sat());
        Ok(self)
    }

    /// The same with a fee of `rate`, for itself alone.
    ///
    /// # Errors
    /// As [`Self::with_fee`].
    pub fn at_rate(self, rate: FeeRate) -> Result<Self, TxError> {
        let fee = self.draft.fee_at(rate)?;
        self.with_fee(fee)
    }

    /// What the output is worth that it spends.
    #[must_use]
    pub const fn value(&self) -> Sat {
        self.value
    }

    /// The output that it spends, to be compared with a channel's.
    #[must_use]
    pub fn spent(&self) -> Option<&bitcoin::TxOut> {
        self.draft.spent.first()
    }

    /// The transaction as it will be; the signature is zeros of the same size.
    pub const fn transaction(&self) -> &Transaction {
        &self.draft.tx
    }

    /// What the payee's key, tweaked by BIP341 without scripts, signs: `SIGHASH_DEFAULT`, key path.
    ///
    /// # Errors
    /// None that construction did not already exclude.
    pub fn digest(&self) -> Result<[u8; 32], TxError> {
        self.draft.key_digest(0)
    }

    /// Puts in the signature.
    ///
    /// # Errors
    /// None that construction did not already exclude.
    pub fn finish(mut self, signature: &schnorr::Signature) -> Result<Transaction, TxError> {
        self.draft.set_witness(0, Witness::from_slice(&[signature.serialize()]))?;
        Ok(self.draft.tx)
    }
}
