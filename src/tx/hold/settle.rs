//! The settlement of one channel with open holds: always alone, its outputs as the payer signed.

use alloc::vec::Vec;

use bitcoin::secp256k1::schnorr;
use bitcoin::transaction::Version;
use bitcoin::{OutPoint, Transaction, TxOut, Witness};

use super::super::change::ChangeScript;
use super::super::draft::{Draft, FeeInput, TRUC_VBYTES, draft_views};
use super::super::voucher::{Channel, VoucherKind};
use super::super::{TxError, settle_witness};
use super::spend::HoldCoin;
use super::state::{Held, HeldChecked};
use crate::units::HoldId;

/// A settlement with holds before the payee's signature.
///
/// Version 3, lock time 0; the payee signs with `SIGHASH_DEFAULT`. Nothing in it can be chosen but
/// the further inputs, whose value goes to the miner whole: to replace it by a better fee, build it
/// again with other ones.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct HoldSettlement {
    draft: Draft,
    checked: HeldChecked,
}

draft_views!(HoldSettlement);

impl HoldSettlement {
    /// The settlement of a checked state, with confirmed coins added for its fee.
    ///
    /// # Errors
    /// [`TxError::SpentTwice`]; [`TxError::TooLarge`] above 10,000 vB (TRUC).
    pub fn new(checked: HeldChecked, added: &[FeeInput]) -> Result<Self, TxError> {
        let held = checked.held();
        let mut draft = Draft::new(Version(3));
        draft.push_input(
            held.channel().outpoint(),
            Channel::sequence(held.paid()),
            Self::witness(&checked, [0; 64]),
            held.channel().to_txout(),
        );
        draft.push_fee_inputs(added);
        draft.tx.output.extend_from_slice(held.outputs());
        draft.check_inputs_differ()?;
        draft.check_dust()?;
        draft.fee()?;
        draft.check_vbytes(TRUC_VBYTES)?;
        Ok(Self { draft, checked })
    }

    /// The state that is settled.
    pub const fn held(&self) -> &Held {
        self.checked.held()
    }

    /// The channel that goes on after this settlement, unless its change is left out.
    ///
    /// Its outpoint is output 0, its delay counts from this transaction's confirmation; the
    /// sub-satoshi part of the old `paid` is its first debt.
    ///
    /// # Errors
    /// None that construction did not already exclude.
    pub fn rollover(&self) -> Result<Option<Channel>, TxError> {
        let held = self.held();
        if !held.has_change() {
            return Ok(None);
        }
        self.draft.continued(0, held.channel().output().clone(), ChangeScript::Own).map(Some)
    }

    /// The payee's output that a child can bump, if it is not left out.
    #[must_use]
    pub fn payee_output(&self) -> Option<(OutPoint, &TxOut)> {
        let held = self.held();
        let index = held.first_hold().checked_sub(1).filter(|_| held.has_payee())?;
        let vout = u32::try_from(index).ok()?;
        let txid = self.draft.tx.compute_txid();
        Some((OutPoint { txid, vout }, self.draft.tx.output.get(index)?))
    }

    /// The holds' outputs in the order of their ids.
    ///
    /// # Errors
    /// None that construction did not already exclude.
    pub fn coins(&self) -> Result<Vec<HoldCoin>, TxError> {
        let txid = self.draft.tx.compute_txid();
        let held = self.held();
        let outputs = self.draft.tx.output.iter().enumerate().skip(held.first_hold());
        held.holds()
            .iter()
            .zip(outputs)
            .map(|((hold, scripts), (index, _))| {
                let vout = u32::try_from(index)
                    .map_err(|_| TxError::NoSuchInput { index, inputs: held.holds().len() })?;
                let outpoint = OutPoint { txid, vout };
                Ok(HoldCoin::new(outpoint, hold.amount, scripts.clone()))
            })
            .collect()
    }

    /// The id of the hold whose output is `outpoint`.
    #[must_use]
    pub fn hold_at(&self, outpoint: OutPoint) -> Option<HoldId> {
        let index = usize::try_from(outpoint.vout).ok()?.checked_sub(self.held().first_hold())?;
        let (hold, _) = self.held().holds().get(index)?;
        (outpoint.txid == self.draft.tx.compute_txid()).then_some(hold.id)
    }

    /// What the payee signs (BIP341/342, `SIGHASH_DEFAULT`, settle leaf).
    ///
    /// # Errors
    /// None that construction did not already exclude.
    pub fn digest(&self) -> Result<[u8; 32], TxError> {
        self.draft.digest(0, self.held().channel().output().settle_leaf_hash())
    }

    /// Whether [`Self::finish`] takes these witnesses of the added inputs: asked before the payee
    /// signs.
    ///
    /// # Errors
    /// [`TxError::WitnessCount`], [`TxError::FeeWitnessSize`].
    pub fn check_fee_witnesses(&self, witnesses: &[Witness]) -> Result<(), TxError> {
        self.draft.check_fee_witnesses(1, witnesses)
    }

    /// Puts in the payee's signature and the witnesses of the added inputs.
    ///
    /// # Errors
    /// [`TxError::WitnessCount`], [`TxError::FeeWitnessSize`].
    pub fn finish(
        mut self,
        payee: &schnorr::Signature,
        witnesses: Vec<Witness>,
    ) -> Result<Transaction, TxError> {
        let witness = Self::witness(&self.checked, payee.serialize());
        self.draft.set_witness(0, witness)?;
        self.draft.finish(1, witnesses)
    }

    fn witness(checked: &HeldChecked, payee: [u8; 64]) -> Witness {
        let payer = VoucherKind::All.witness_signature(&checked.signature());
        settle_witness(checked.held().channel().output(), &payee, &payer)
    }
}
