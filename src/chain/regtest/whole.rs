//! Consensus on a block as a whole: work, merkle root, coinbase, commitment, weight, reward.
//!
//! In the order of Bitcoin Core, so that the first rule that a block breaks is the same here and
//! there. Every block passes here, those too that the chain builds itself.

use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{Amount, Block, Transaction, WitnessMerkleNode};

use crate::chain::Reason;
use crate::chain::regtest::block::{REGTEST_BITS, subsidy};
use crate::chain::regtest::consensus::{self, MAX_BLOCK_WEIGHT};
use crate::chain::template;
use crate::units::{Height, Sat};

/// The smallest version that is taken since BIP65, which is in force from the first block here.
const VERSION_MIN: i32 = 4;
/// Sizes of a coinbase's script.
const COINBASE_SCRIPT: core::ops::RangeInclusive<usize> = 2..=100;
/// What the script of the witness commitment begins with (BIP141).
const COMMITMENT_START: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// Its smallest length: that and the hash.
const COMMITMENT_BYTES: usize = 38;

/// Checks everything about `block` at `height` that needs no outputs of others.
pub(super) fn check(block: &Block, height: Height) -> Result<(), Reason> {
    let header = &block.header;
    if header.bits.to_consensus() != REGTEST_BITS || header.version.to_consensus() < VERSION_MIN {
        return Err(Reason::BadBlock);
    }
    if !header.target().is_met_by(header.block_hash()) {
        return Err(Reason::HighHash);
    }
    check_transactions(block)?;
    check_coinbase_height(block, height)?;
    check_commitment(block)?;
    if block.weight().to_wu() > MAX_BLOCK_WEIGHT { Err(Reason::BadBlock) } else { Ok(()) }
}

/// Checks that the coinbase pays no more than the subsidy and the fees.
pub(super) fn check_reward(
    coinbase: &Transaction,
    height: Height,
    fees: Sat,
) -> Result<(), Reason> {
    let reward = subsidy(height).checked_add(fees).ok_or(Reason::Overspend)?;
    let paid = coinbase
        .output
        .iter()
        .try_fold(Amount::ZERO, |sum, output| sum.checked_add(output.value))
        .ok_or(Reason::Overspend)?;
    if paid.to_sat() > reward.to_sat() { Err(Reason::Overspend) } else { Ok(()) }
}

/// The merkle root, one coinbase at the front, and the shape of every transaction.
fn check_transactions(block: &Block) -> Result<(), Reason> {
    if block.txdata.is_empty() || !block.check_merkle_root() {
        return Err(Reason::BadMerkleRoot);
    }
    if doubled(block.txdata.iter().map(|tx| tx.compute_txid().to_byte_array()).collect()) {
        return Err(Reason::BadBlock);
    }
    for (position, tx) in block.txdata.iter().enumerate() {
        if tx.is_coinbase() != (position == 0) {
            return Err(Reason::BadBlock);
        }
    }
    let script = block.coinbase().and_then(|tx| tx.input.first()).map(|input| &input.script_sig);
    if !script.is_some_and(|script| COINBASE_SCRIPT.contains(&script.len())) {
        return Err(Reason::BadBlock);
    }
    block.txdata.iter().try_for_each(consensus::check_transaction)
}

/// Whether two equal nodes are paired anywhere in the tree: such a block has the root of another,
/// that holds less (CVE-2012-2459).
fn doubled(mut level: Vec<[u8; 32]>) -> bool {
    while level.len() > 1 {
        if level.chunks_exact(2).any(|pair| pair.first() == pair.last()) {
            return true;
        }
        level = level.chunks(2).map(template::pair).collect();
    }
    false
}

/// The coinbase's script begins with the height (BIP34).
fn check_coinbase_height(block: &Block, height: Height) -> Result<(), Reason> {
    let wanted = Builder::new().push_int(i64::from(height.to_u32())).into_script();
    let script = block.coinbase().and_then(|tx| tx.input.first()).map(|input| &input.script_sig);
    let begins = script.is_some_and(|script| script.as_bytes().starts_with(wanted.as_bytes()));
    if begins { Ok(()) } else { Err(Reason::BadBlock) }
}

/// A commitment must be right, whether there are witnesses or not; without one there must be none.
fn check_commitment(block: &Block) -> Result<(), Reason> {
    let coinbase = block.coinbase().ok_or(Reason::BadBlock)?;
    let mut scripts = coinbase.output.iter().map(|output| output.script_pubkey.as_bytes());
    // The last one counts.
    let committed = scripts
        .rfind(|script| script.len() >= COMMITMENT_BYTES && script.starts_with(&COMMITMENT_START))
        .and_then(|script| script.get(COMMITMENT_START.len()..COMMITMENT_BYTES));
    let Some(committed) = committed else {
        let mut inputs = block.txdata.iter().flat_map(|tx| &tx.input);
        let bare = inputs.all(|input| input.witness.is_empty());
        return if bare { Ok(()) } else { Err(Reason::BadCommitment) };
    };
    let witness = coinbase.input.first().map(|input| &input.witness);
    let reserved = witness.filter(|witness| witness.len() == 1).and_then(|one| one.nth(0));
    let reserved = reserved.filter(|bytes| bytes.len() == 32).ok_or(Reason::BadCommitment)?;
    let root = block.witness_root().unwrap_or_else(WitnessMerkleNode::all_zeros);
    let wanted = Block::compute_witness_commitment(&root, reserved);
    if wanted.as_byte_array() == committed { Ok(()) } else { Err(Reason::BadCommitment) }
}
