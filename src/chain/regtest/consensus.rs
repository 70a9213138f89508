//! Consensus: the shape of transactions, amounts, maturity, scripts.

use std::collections::BTreeSet;

use bitcoin::{Amount, OutPoint, Transaction};

use crate::chain::Reason;
use crate::chain::regtest::ledger::Prevout;
use crate::units::{Height, Sat};

/// Blocks above a coinbase before it may be spent.
const COINBASE_MATURITY: u32 = 100;
/// Largest weight of a block.
pub(super) const MAX_BLOCK_WEIGHT: u64 = 4_000_000;
/// Largest cost of the signature operations of a block.
pub(super) const MAX_BLOCK_SIGOP_COST: usize = 80_000;

/// Whether scripts are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScriptCheck {
    /// By Bitcoin Core's interpreter.
    #[cfg(feature = "consensus")]
    Core,
    /// Not at all: every script and signature passes.
    Unchecked,
}

impl ScriptCheck {
    /// Runs the scripts of all inputs of `tx` against what they spend, Taproot included.
    #[cfg_attr(
        not(feature = "consensus"),
        expect(clippy::unnecessary_wraps, reason = "only the interpreter refuses scripts")
    )]
    pub(super) fn check(self, tx: &Transaction, prevouts: &[Prevout]) -> Result<(), Reason> {
        match self {
            #[cfg(feature = "consensus")]
            Self::Core => run_scripts(tx, prevouts),
            Self::Unchecked => {
                debug_assert_eq!(tx.input.len(), prevouts.len());
                Ok(())
            }
        }
    }
}

/// What can be said of a transaction without knowing the chain.
pub(super) fn check_transaction(tx: &Transaction) -> Result<(), Reason> {
    let outpoints: BTreeSet<OutPoint> = tx.input.iter().map(|i| i.previous_output).collect();
    let total = tx
        .output
        .iter()
        .try_fold(Amount::ZERO, |sum, output| sum.checked_add(output.value))
        .filter(|total| total.to_sat() <= Sat::MAX.to_sat());
    let well_formed = !tx.input.is_empty()
        && !tx.output.is_empty()
        && outpoints.len() == tx.input.len()
        && total.is_some()
        && tx.base_size().saturating_mul(4) <= usize::try_from(MAX_BLOCK_WEIGHT).unwrap_or(0)
        && (tx.is_coinbase() || !outpoints.contains(&OutPoint::null()));
    if well_formed { Ok(()) } else { Err(Reason::Malformed) }
}

/// Checks maturity and sums; returns the fee.
pub(super) fn check_amounts(
    tx: &Transaction,
    prevouts: &[Prevout],
    height: Height,
) -> Result<Sat, Reason> {
    let immature = |prevout: &Prevout| {
        prevout.coinbase && height.saturating_since(prevout.height).to_u32() < COINBASE_MATURITY
    };
    if prevouts.iter().any(immature) {
        return Err(Reason::Immature);
    }
    let spent = total(prevouts.iter().map(|prevout| prevout.output.value))?;
    let paid = total(tx.output.iter().map(|output| output.value))?;
    let fee = spent.checked_sub(paid).ok_or(Reason::Overspend)?;
    Sat::new(fee.to_sat()).map_err(|_| Reason::Malformed)
}

fn total(mut amounts: impl Iterator<Item = Amount>) -> Result<Amount, Reason> {
    amounts.try_fold(Amount::ZERO, Amount::checked_add).ok_or(Reason::Malformed)
}

/// The cost of the signature operations of `tx` (BIP141).
pub(super) fn sigop_cost(tx: &Transaction, prevouts: &[Prevout]) -> usize {
    tx.total_sigop_cost(|outpoint| {
        let spends = |(input, _): &(&bitcoin::TxIn, &Prevout)| input.previous_output == *outpoint;
        tx.input.iter().zip(prevouts).find(spends).map(|(_, prevout)| prevout.output.clone())
    })
}

#[cfg(feature = "consensus")]
fn run_scripts(tx: &Transaction, prevouts: &[Prevout]) -> Result<(), Reason> {
    use bitcoinconsensus::{Utxo, VERIFY_ALL_PRE_TAPROOT, VERIFY_TAPROOT, verify_with_flags};

    let bytes = bitcoin::consensus::serialize(tx);
    let spent: Vec<Utxo> = prevouts
        .iter()
        .map(|prevout| {
            let script = prevout.output.script_pubkey.as_bytes();
            Some(Utxo {
                script_pubkey: script.as_ptr(),
                script_pubkey_len: u32::try_from(script.len()).ok()?,
                value: i64::try_from(prevout.output.value.to_sat()).ok()?,
            })
        })
        .collect::<Option<_>>()
        .ok_or(Reason::Malformed)?;
    for (index, prevout) in prevouts.iter().enumerate() {
        verify_with_flags(
            prevout.output.script_pubkey.as_bytes(),
            prevout.output.value.to_sat(),
            &bytes,
            Some(&spent),
            index,
            // Without the Taproot flag a bad Taproot signature would pass.
            VERIFY_ALL_PRE_TAPROOT | VERIFY_TAPROOT,
        )
        .map_err(|_| Reason::BadScript)?;
    }
    Ok(())
}
