//! What every transaction of this room is made from: inputs with what they spend, and outputs.

use alloc::vec;
use alloc::vec::Vec;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::taproot::TapLeafHash;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn, TxOut, Witness,
};

use super::TxError;
use super::change::{ChangeScript, dust_limit};
use super::output::FundingOutput;
use super::voucher::Channel;
use crate::units::{FeeRate, Sat};

/// BIP125's sequence: replaceable, no relative lock.
pub(super) const REPLACEABLE: Sequence = Sequence(0xffff_fffd);
/// A TRUC transaction's largest size in virtual bytes (BIP431).
pub(super) const TRUC_VBYTES: u64 = 10_000;
/// A TRUC child's largest size in virtual bytes (BIP431).
pub(super) const TRUC_CHILD_VBYTES: u64 = 1_000;
/// The longest DER signature with its type byte, as an input of P2WPKH carries it.
const ECDSA_BYTES: usize = 72;

/// A coin that pays fees: a confirmed P2TR (key path) or P2WPKH output of the caller's wallet.
///
/// Its input has the sequence 0xfffffffd and is consumed whole. Its witness is counted at the
/// largest size that a wallet makes, and must not be larger:
///
/// | kind | witness | bytes counted |
/// | --- | --- | --- |
/// | P2TR | one signature of `SIGHASH_DEFAULT`, without a type byte | 64 |
/// | P2WPKH | DER signature (low S) with `SIGHASH_ALL`'s type byte, compressed key | 72 and 33 |
///
/// A shorter DER signature makes the transaction one or two weight units lighter than counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeInput {
    outpoint: OutPoint,
    output: TxOut,
    placeholder: Witness,
}

impl FeeInput {
    /// Takes a coin of a kind whose witness has a known size.
    ///
    /// # Errors
    /// [`TxError::FeeInputKind`] for anything but P2TR and P2WPKH.
    pub fn new(outpoint: OutPoint, output: TxOut) -> Result<Self, TxError> {
        let placeholder = if output.script_pubkey.is_p2tr() {
            Witness::from_slice(&[[0; 64]])
        } else if output.script_pubkey.is_p2wpkh() {
            Witness::from_slice(&[vec![0; ECDSA_BYTES], vec![0; 33]])
        } else {
            return Err(TxError::FeeInputKind { outpoint });
        };
        Ok(Self { outpoint, output, placeholder })
    }

    /// The coin's outpoint.
    pub const fn outpoint(&self) -> OutPoint {
        self.outpoint
    }

    /// The output that it spends.
    pub const fn output(&self) -> &TxOut {
        &self.output
    }
}

/// A transaction in the making; every witness is either final or a placeholder of its final size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) tx: Transaction,
    pub(super) spent: Vec<TxOut>,
}

impl Draft {
    pub(super) const fn new(version: Version) -> Self {
        Self {
            tx: Transaction { version, lock_time: LockTime::ZERO, input: vec![], output: vec![] },
            spent: vec![],
        }
    }

    pub(super) fn push_input(
        &mut self,
        outpoint: OutPoint,
        sequence: Sequence,
        witness: Witness,
        spends: TxOut,
    ) {
        self.tx.input.push(TxIn {
            previous_output: outpoint,
            script_sig: ScriptBuf::new(),
            sequence,
            witness,
        });
        self.spent.push(spends);
    }

    pub(super) fn push_fee_inputs(&mut self, inputs: &[FeeInput]) {
        for input in inputs {
            self.push_input(
                input.outpoint,
                REPLACEABLE,
                input.placeholder.clone(),
                input.output.clone(),
            );
        }
    }

    /// Two inputs of one outpoint would be an invalid transaction.
    pub(super) fn check_inputs_differ(&self) -> Result<(), TxError> {
        let mut outpoints: Vec<_> = self.tx.input.iter().map(|i| i.previous_output).collect();
        outpoints.sort_unstable();
        match outpoints.windows(2).find(|pair| pair.first() == pair.get(1)) {
            Some(pair) => {
                Err(TxError::SpentTwice { outpoint: pair.first().copied().unwrap_or_default() })
            }
            None => Ok(()),
        }
    }

    pub(super) fn total_in(&self) -> Result<Sat, TxError> {
        sum(&self.spent)
    }

    pub(super) fn total_out(&self) -> Result<Sat, TxError> {
        sum(&self.tx.output)
    }

    /// What the transaction leaves to the miner. P1: outputs and fee are worth the inputs, always.
    pub(super) fn fee(&self) -> Result<Sat, TxError> {
        let (inputs, outputs) = (self.total_in()?, self.total_out()?);
        inputs.checked_sub(outputs).ok_or(TxError::OutputsAboveInputs { inputs, outputs })
    }

    /// The fee of this transaction, every witness at its final size, at `rate`.
    pub(super) fn fee_at(&self, rate: FeeRate) -> Result<Sat, TxError> {
        Ok(rate.ceil_fee(self.tx.weight().to_wu())?)
    }

    /// One output below dust would keep nodes from relaying the whole.
    pub(super) fn check_dust(&self) -> Result<(), TxError> {
        for output in &self.tx.output {
            let value = Sat::new(output.value.to_sat())?;
            let dust = dust_limit(&output.script_pubkey);
            if value < dust {
                return Err(TxError::OutputBelowDust { value, dust });
            }
        }
        Ok(())
    }

    pub(super) fn check_vbytes(&self, limit: u64) -> Result<(), TxError> {
        let vbytes = self.tx.weight().to_vbytes_ceil();
        if vbytes > limit { Err(TxError::TooLarge { vbytes, limit }) } else { Ok(()) }
    }

    /// BIP341's digest of input `index` with `SIGHASH_DEFAULT`: a script path if a leaf is given.
    pub(super) fn digest(&self, index: usize, leaf: TapLeafHash) -> Result<[u8; 32], TxError> {
        SighashCache::new(&self.tx)
            .taproot_script_spend_signature_hash(
                index,
                &Prevouts::All(&self.spent),
                leaf,
                TapSighashType::Default,
            )
            .map(Hash::to_byte_array)
            .map_err(|_| TxError::NoSuchInput { index, inputs: self.tx.input.len() })
    }

    /// BIP341's digest of input `index` with `SIGHASH_DEFAULT`, key path.
    pub(super) fn key_digest(&self, index: usize) -> Result<[u8; 32], TxError> {
        SighashCache::new(&self.tx)
            .taproot_key_spend_signature_hash(
                index,
                &Prevouts::All(&self.spent),
                TapSighashType::Default,
            )
            .map(Hash::to_byte_array)
            .map_err(|_| TxError::NoSuchInput { index, inputs: self.tx.input.len() })
    }

    /// The channel that output `index` of this transaction funds.
    pub(super) fn continued(
        &self,
        index: usize,
        from: FundingOutput,
        change: ChangeScript,
    ) -> Result<Channel, TxError> {
        let inputs = self.tx.input.len();
        let no_such = TxError::NoSuchInput { index, inputs };
        let output = self.tx.output.get(index).ok_or(no_such)?;
        let vout = u32::try_from(index).map_err(|_| no_such)?;
        let outpoint = OutPoint { txid: self.tx.compute_txid(), vout };
        Channel::new(outpoint, Sat::new(output.value.to_sat())?, from, change)
    }

    pub(super) fn set_witness(&mut self, index: usize, witness: Witness) -> Result<(), TxError> {
        let inputs = self.tx.input.len();
        let input = self.tx.input.get_mut(index).ok_or(TxError::NoSuchInput { index, inputs })?;
        input.witness = witness;
        Ok(())
    }

    /// Whether these fit the fee inputs, which start at `first`.
    pub(super) fn check_fee_witnesses(
        &self,
        first: usize,
        witnesses: &[Witness],
    ) -> Result<(), TxError> {
        let want = self.tx.input.len().saturating_sub(first);
        if witnesses.len() != want {
            return Err(TxError::WitnessCount { want, got: witnesses.len() });
        }
        for (input, witness) in self.tx.input.iter().skip(first).zip(witnesses) {
            let (limit, got) = (input.witness.size(), witness.size());
            // A larger one would pay less than the rate and could pass the size limit; none at all
            // would leave the transaction unsigned.
            if witness.is_empty() || got > limit {
                let outpoint = input.previous_output;
                return Err(TxError::FeeWitnessSize { outpoint, got, limit });
            }
        }
        Ok(())
    }

    /// Replaces the placeholders of the fee inputs, which start at `first`, and hands out all.
    pub(super) fn finish(
        mut self,
        first: usize,
        witnesses: Vec<Witness>,
    ) -> Result<Transaction, TxError> {
        self.check_fee_witnesses(first, &witnesses)?;
        for (input, witness) in self.tx.input.iter_mut().skip(first).zip(witnesses) {
            input.witness = witness;
        }
        Ok(self.tx)
    }
}

/// What anybody may see of a transaction in the making, of a type with a `draft`.
macro_rules! draft_views {
    ($of:ident) => {
        impl $of {
            /// The transaction as it will be; signatures that are missing are zeros of the same
            /// size.
            pub const fn transaction(&self) -> &bitcoin::Transaction {
                &self.draft.tx
            }

            /// The outputs that the inputs spend, in their order: what signers of the inputs need.
            pub fn spent(&self) -> &[bitcoin::TxOut] {
                &self.draft.spent
            }

            /// What the miner gets: all that the outputs leave of the inputs.
            ///
            /// # Errors
            /// None that construction did not already exclude.
            pub fn fee(&self) -> Result<crate::units::Sat, crate::tx::TxError> {
                self.draft.fee()
            }
        }
    };
}
pub(super) use draft_views;

/// An output of `value` to `script`.
pub(super) fn output(value: Sat, script: ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(value.to_sat()), script_pubkey: script }
}

fn sum(outputs: &[TxOut]) -> Result<Sat, TxError> {
    outputs
        .iter()
        .try_fold(Sat::ZERO, |total, output| Ok(total.add(Sat::new(output.value.to_sat())?)?))
}
