//! Refund: the payer takes its coin back after the delay.

use bitcoin::secp256k1::schnorr;
use bitcoin::transaction::Version;
use bitcoin::{OutPoint, ScriptBuf, Sequence, Transaction, Witness};

use super::TxError;
use super::change::dust_limit;
use super::draft::{Draft, output};
use super::output::FundingOutput;
use crate::units::{FeeRate, Sat};

/// The refund leaf's spend before its signature: version 2, lock time 0, sequence D, one output.
///
/// It confirms from the output's confirmation height + D on. Its output is an ordinary one, so a
/// child can raise its fee.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Refund {
    draft: Draft,
    from: FundingOutput,
}

impl Refund {
    /// A refund of the output `from` with `value` at `outpoint` to `script`, with a fee of `rate`.
    ///
    /// # Errors
    /// [`TxError::NotWorthIt`] if what is left would be dust.
    pub fn at_rate(
        outpoint: OutPoint,
        value: Sat,
        from: FundingOutput,
        script: ScriptBuf,
        rate: FeeRate,
    ) -> Result<Self, TxError> {
        let fee = Self::draft(outpoint, value, &from, value, script.clone()).fee_at(rate)?;
        Self::with_fee(outpoint, value, from, script, fee)
    }

    /// The same with the fee given.
    ///
    /// # Errors
    /// [`TxError::NotWorthIt`] if what is left would be dust.
    pub fn with_fee(
        outpoint: OutPoint,
        value: Sat,
        from: FundingOutput,
        script: ScriptBuf,
        fee: Sat,
    ) -> Result<Self, TxError> {
        let dust = dust_limit(&script);
        let rest = value.checked_sub(fee).filter(|rest| *rest >= dust);
        let rest = rest.ok_or(TxError::NotWorthIt { left: value, fee, dust })?;
        Ok(Self { draft: Self::draft(outpoint, value, &from, rest, script), from })
    }

    fn draft(
        outpoint: OutPoint,
        value: Sat,
        from: &FundingOutput,
        rest: Sat,
        script: ScriptBuf,
    ) -> Draft {
        let mut draft = Draft::new(Version::TWO);
        draft.push_input(
            outpoint,
            Sequence::from_height(from.delay().to_u16()),
            Self::witness(from, [0; 64]),
            output(value, from.script().clone()),
        );
        draft.tx.output.push(output(rest, script));
        draft
    }

    /// The output that is taken back.
    pub const fn from(&self) -> &FundingOutput {
        &self.from
    }

    /// The transaction as it will be; the signature is zeros of the same size.
    pub const fn transaction(&self) -> &Transaction {
        &self.draft.tx
    }

    /// What the payer signs (BIP341/342, `SIGHASH_DEFAULT`, refund leaf).
    ///
    /// # Errors
    /// None that construction did not already exclude.
    pub fn digest(&self) -> Result<[u8; 32], TxError> {
        self.draft.digest(0, self.from.refund_leaf_hash())
    }

    /// Puts in the payer's signature.
    ///
    /// # Errors
    /// None that construction did not already exclude.
    pub fn finish(mut self, signature: &schnorr::Signature) -> Result<Transaction, TxError> {
        self.draft.set_witness(0, Self::witness(&self.from, signature.serialize()))?;
        Ok(self.draft.tx)
    }

    fn witness(from: &FundingOutput, signature: [u8; 64]) -> Witness {
        let mut witness = Witness::new();
        witness.push(signature);
        witness.push(from.refund_script().as_bytes());
        witness.push(from.refund_control());
        witness
    }
}
