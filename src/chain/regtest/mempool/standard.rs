//! Standardness: which kinds of transactions nodes relay at all.

use std::collections::BTreeSet;

use bitcoin::opcodes::all::{OP_PUSHNUM_1, OP_PUSHNUM_3};
use bitcoin::taproot::{TAPROOT_ANNEX_PREFIX, TAPROOT_LEAF_MASK, TAPROOT_LEAF_TAPSCRIPT};
use bitcoin::{OutPoint, Script, Transaction, TxIn, TxOut, WitnessVersion};

use crate::chain::Reason;
use crate::chain::regtest::ledger::Prevout;
use crate::chain::regtest::mempool::Mempool;
use crate::chain::regtest::mempool::accept::Candidate;

const MAX_VERSION: i32 = 3;
const MAX_WEIGHT: u64 = 400_000;
/// Transactions of 64 bytes could pass for inner nodes of a merkle tree (CVE-2017-12842).
const MIN_BASE_SIZE: usize = 65;
const MAX_SCRIPT_SIG: usize = 1_650;
/// All data outputs of a transaction together.
const MAX_DATA_CARRIER: usize = 100_000;
const MAX_P2SH_SIGOPS: usize = 15;
const MAX_P2WSH_SCRIPT: usize = 3_600;
const MAX_P2WSH_ITEMS: usize = 100;
/// Largest element of the initial stack of a P2WSH or Tapscript input.
const MAX_WITNESS_ITEM: usize = 80;
/// A fifth of what a block may hold.
const MAX_SIGOP_COST: u64 = 16_000;
/// Pay-to-anchor: spendable by anybody, and with an empty witness only.
const ANCHOR: [u8; 4] = [0x51, 0x02, 0x4e, 0x73];

/// Checks the transaction without what it spends.
pub(super) fn check_transaction(tx: &Transaction) -> Result<(), Reason> {
    let data: usize = tx
        .output
        .iter()
        .filter(|output| output.script_pubkey.is_op_return())
        .fold(0, |sum, output| sum.saturating_add(output.script_pubkey.len()));
    let standard = (1..=MAX_VERSION).contains(&tx.version.0)
        && tx.weight().to_wu() <= MAX_WEIGHT
        && tx.input.iter().all(|input| {
            input.script_sig.len() <= MAX_SCRIPT_SIG && input.script_sig.is_push_only()
        })
        && tx.output.iter().all(|output| is_standard_script(&output.script_pubkey))
        && data <= MAX_DATA_CARRIER
        && tx.base_size() >= MIN_BASE_SIZE;
    if !standard {
        return Err(Reason::NonStandard);
    }
    // One dust output may be ephemeral; whether it is comes out with the fee and the child.
    if dust(tx).count() > 1 { Err(Reason::Dust) } else { Ok(()) }
}

/// Checks what the transaction spends, and how.
pub(super) fn check_inputs(
    tx: &Transaction,
    prevouts: &[Prevout],
    sigop_cost: u64,
) -> Result<(), Reason> {
    let standard = sigop_cost <= MAX_SIGOP_COST
        && tx.input.iter().zip(prevouts).all(|(input, prevout)| {
            is_standard_spend(input, &prevout.output.script_pubkey)
                && is_standard_witness(input, &prevout.output.script_pubkey)
        });
    if standard { Ok(()) } else { Err(Reason::NonStandard) }
}

/// A transaction with dust pays no fee, so that nobody gains by mining it without the child that
/// sweeps the dust.
pub(super) fn check_dust_fee(tx: &Transaction, fee: u64) -> Result<(), Reason> {
    if fee != 0 && dust(tx).next().is_some() { Err(Reason::Dust) } else { Ok(()) }
}

/// The dust of every unconfirmed parent of `candidate` is spent by it.
pub(super) fn check_dust_swept(
    pool: &Mempool,
    package: &[Candidate],
    candidate: &Candidate,
) -> Result<(), Reason> {
    let spent: BTreeSet<OutPoint> =
        candidate.tx.input.iter().map(|input| input.previous_output).collect();
    let parents: BTreeSet<_> = spent.iter().map(|outpoint| outpoint.txid).collect();
    let left = parents.iter().any(|txid| {
        let parent = package
            .iter()
            .find(|other| other.txid == *txid)
            .map(|other| &other.tx)
            .or_else(|| pool.get(txid).map(|entry| &entry.tx));
        parent
            .is_some_and(|tx| dust(tx).any(|vout| !spent.contains(&OutPoint { txid: *txid, vout })))
    });
    if left { Err(Reason::Dust) } else { Ok(()) }
}

/// The outputs that cost more to spend, at 3 sat/vB, than they are worth.
fn dust(tx: &Transaction) -> impl Iterator<Item = u32> + '_ {
    let is_dust = |output: &TxOut| output.value < output.script_pubkey.minimal_non_dust();
    (0_u32..).zip(&tx.output).filter(move |(_, output)| is_dust(output)).map(|(vout, _)| vout)
}

fn is_standard_script(script: &Script) -> bool {
    let undefined_v0 = script.witness_version() == Some(WitnessVersion::V0)
        && !script.is_p2wpkh()
        && !script.is_p2wsh();
    if script.is_op_return() {
        let bytes = script.as_bytes().get(1..).unwrap_or_default();
        return Script::from_bytes(bytes).is_push_only();
    }
    (script.is_witness_program() && !undefined_v0)
        || script.is_p2pkh()
        || script.is_p2sh()
        || script.is_p2pk()
        || is_small_multisig(script)
}

/// Bare multisignatures of at most three keys.
fn is_small_multisig(script: &Script) -> bool {
    let keys = OP_PUSHNUM_1.to_u8()..=OP_PUSHNUM_3.to_u8();
    let count = script.len().checked_sub(2).and_then(|at| script.as_bytes().get(at));
    script.is_multisig() && count.is_some_and(|count| keys.contains(count))
}

/// The spent script is one that nodes know, and its P2SH script is not too expensive.
fn is_standard_spend(input: &TxIn, spent: &Script) -> bool {
    if !is_standard_script(spent) || spent.is_op_return() {
        return false;
    }
    if spent.is_p2sh() {
        let redeem = redeem_script(input, spent);
        return redeem.is_some_and(|script| script.count_sigops() <= MAX_P2SH_SIGOPS);
    }
    let unknown = spent.is_witness_program()
        && !spent.is_p2wpkh()
        && !spent.is_p2wsh()
        && !spent.is_p2tr()
        && spent.as_bytes() != ANCHOR;
    !unknown
}

fn is_standard_witness(input: &TxIn, spent: &Script) -> bool {
    if input.witness.is_empty() {
        return true;
    }
    let redeem = redeem_script(input, spent);
    let program = redeem.unwrap_or(spent);
    if !program.is_witness_program() || program.as_bytes() == ANCHOR {
        return false;
    }
    let items: Vec<&[u8]> = input.witness.iter().collect();
    if program.is_p2wsh() {
        let Some((script, items)) = items.split_last() else { return true };
        return script.len() <= MAX_P2WSH_SCRIPT
            && items.len() <= MAX_P2WSH_ITEMS
            && items.iter().all(|item| item.len() <= MAX_WITNESS_ITEM);
    }
    if !(program.is_p2tr() && redeem.is_none()) {
        return true;
    }
    match items.as_slice() {
        [_, .., last] if last.first() == Some(&TAPROOT_ANNEX_PREFIX) => false,
        [items @ .., _script, control] => control.first().is_some_and(|leaf| {
            leaf & TAPROOT_LEAF_MASK != TAPROOT_LEAF_TAPSCRIPT
                || items.iter().all(|item| item.len() <= MAX_WITNESS_ITEM)
        }),
        _ => true,
    }
}

/// The script that a P2SH input presents.
fn redeem_script<'a>(input: &'a TxIn, spent: &Script) -> Option<&'a Script> {
    if spent.is_p2sh() { input.script_sig.redeem_script() } else { None }
}
