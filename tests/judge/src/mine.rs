//! Blocks for regtest, the same in every run: the coinbase depends on the height and on the block's
//! transactions alone.
//!
//! Used by `node`.

use bitcoin::absolute::LockTime;
use bitcoin::block::{Block, Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::opcodes::OP_0;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Witness, WitnessMerkleNode, transaction,
};
use millstream::units::{Height, UtcSeconds};

/// What every coinbase pays to: P2WSH of `OP_TRUE`, which anybody spends with that one-byte script
/// as the whole witness.
pub const MINER_SCRIPT: [u8; 34] = {
    // SHA-256 of the byte 0x51 (`mine::tests` recomputes it).
    let program = [
        0x4a, 0xe8, 0x15, 0x72, 0xf0, 0x6e, 0x1b, 0x88, 0xfd, 0x5c, 0xed, 0x7a, 0x1a, 0x00, 0x09,
        0x45, 0x43, 0x2e, 0x83, 0xe1, 0x55, 0x1e, 0x6f, 0x72, 0x1e, 0xe9, 0xc0, 0x0b, 0x8c, 0xc3,
        0x32, 0x60,
    ];
    let mut script = [0; 34];
    script[1] = 32;
    let mut index = 0;
    while index < 32 {
        script[index + 2] = program[index];
        index += 1;
    }
    script
};

/// Regtest's easiest target: every second hash fits.
const BITS: u32 = 0x207f_ffff;
/// Regtest halves its subsidy every 150 blocks.
const HALVING_BLOCKS: u32 = 150;
/// The first bytes of a witness commitment's script: `OP_RETURN`, a push of 36 bytes, the tag.
const COMMITMENT_TAG: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// The subsidy of the block at `height`: 50 BTC, halved every 150 blocks.
pub fn subsidy(height: Height) -> Amount {
    let halvings = height.to_u32() / HALVING_BLOCKS;
    Amount::from_sat(Amount::from_int_btc(50).to_sat().checked_shr(halvings).unwrap_or(0))
}

/// Where a block goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) parent: BlockHash,
    pub(crate) height: Height,
    pub(crate) time: UtcSeconds,
    /// Sets apart two blocks that are otherwise equal, as on two branches.
    pub(crate) branch: u32,
}

/// Mines the block at `place` that holds `txs`, in this order, after its coinbase.
pub(crate) fn block(place: Place, txs: &[Transaction]) -> Block {
    let mut txdata = vec![coinbase(place.height, txs)];
    txdata.extend_from_slice(txs);
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: place.parent,
        merkle_root: TxMerkleNode::all_zeros(),
        time: u32::try_from(place.time.to_u64()).unwrap_or(u32::MAX),
        bits: CompactTarget::from_consensus(BITS),
        // A branch has nonces of its own; the search below takes two steps on average.
        nonce: place.branch << 16,
    };
    let mut block = Block { header, txdata };
    if let Some(root) = block.compute_merkle_root() {
        block.header.merkle_root = root;
    }
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce = block.header.nonce.wrapping_add(1);
    }
    block
}

/// Claims the whole subsidy and no fees, so that the output is the same whatever the block holds.
fn coinbase(height: Height, txs: &[Transaction]) -> Transaction {
    let reserved = [0; 32];
    let leaves = std::iter::once(WitnessMerkleNode::all_zeros())
        .chain(txs.iter().map(|tx| tx.compute_wtxid().into()));
    let root = bitcoin::merkle_tree::calculate_root(leaves.map(to_hash))
        .map_or_else(WitnessMerkleNode::all_zeros, WitnessMerkleNode::from_raw_hash);
    let commitment = Block::compute_witness_commitment(&root, &reserved);
    let mut commitment_script = COMMITMENT_TAG.to_vec();
    commitment_script.extend_from_slice(commitment.as_byte_array());
    let input = TxIn {
        previous_output: OutPoint::null(),
        script_sig: Builder::new()
            .push_int(i64::from(height.to_u32()))
            .push_opcode(OP_0)
            .into_script(),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[reserved]),
    };
    let pay =
        TxOut { value: subsidy(height), script_pubkey: ScriptBuf::from(MINER_SCRIPT.to_vec()) };
    let commit = TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from(commitment_script) };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input],
        output: vec![pay, commit],
    }
}

fn to_hash(node: WitnessMerkleNode) -> bitcoin::hashes::sha256d::Hash {
    node.to_raw_hash()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn miner_script_is_p2wsh_of_op_true() {
        let script = ScriptBuf::from(vec![0x51]);
        assert_eq!(script.to_p2wsh().as_bytes(), MINER_SCRIPT);
    }

    #[test]
    fn subsidy_halves_at_150_blocks_and_ends_at_zero() {
        for (height, sat) in
            [(149, 5_000_000_000), (150, 2_500_000_000), (4_949, 1), (4_950, 0), (9_600, 0)]
        {
            assert_eq!(subsidy(Height::new(height).unwrap()).to_sat(), sat, "at {height}");
        }
    }
}
