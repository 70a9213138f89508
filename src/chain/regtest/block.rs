//! Real blocks: coinbase, witness commitment, merkle root, and the (easy) work of regtest.

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version as BlockVersion};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::secp256k1::{self, Keypair, Secp256k1, Signing};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Witness, WitnessMerkleNode,
};

use crate::chain::{CoinsError, MemoryCoins};
use crate::keys::{ChannelKey, Context, KeyError};
use crate::units::{Height, Sat, UtcSeconds};

/// Blocks between two halvings of the subsidy on regtest.
const HALVING_BLOCKS: u32 = 150;
/// The first subsidy, 50 bitcoin, in satoshis.
const FIRST_SUBSIDY_SAT: u64 = 5_000_000_000;
/// The easiest target there is: half of all hashes meet it.
pub(super) const REGTEST_BITS: u32 = 0x207f_ffff;
/// Stands before the commitment hash (BIP141).
const COMMITMENT_HEADER: [u8; 4] = [0xaa, 0x21, 0xa9, 0xed];
/// The key that [`miner_key`] tweaks to (BIP86), so that mining needs no curve arithmetic.
const MINER_OUTPUT_KEY: [u8; 32] = [
    0xed, 0x6a, 0x2e, 0x66, 0x06, 0x4b, 0x4f, 0x25, 0x5b, 0x55, 0xbe, 0x94, 0x9b, 0xac, 0xb5, 0x42,
    0x1e, 0x13, 0x6d, 0xfa, 0xe3, 0xb3, 0x39, 0xdc, 0x95, 0x12, 0x07, 0x02, 0xfb, 0xb4, 0xf4, 0x56,
];

/// The key whose key-path P2TR script (BIP86) every coinbase pays. It is public knowledge: regtest
/// coins are worth nothing.
///
/// # Errors
/// Never in practice: the fixed secret is a valid one.
pub fn miner_key<C: Signing>(secp: &Secp256k1<C>) -> Result<Keypair, secp256k1::Error> {
    let secret = sha256::Hash::hash(b"millstream/regtest/miner").to_byte_array();
    Keypair::from_seckey_slice(secp, &secret)
}

/// The coins of [`miner_key`], none of them known yet: they pay whoever needs coins on this chain.
///
/// # Errors
/// Never in practice, as [`miner_key`].
pub fn miner_coins() -> Result<MemoryCoins, CoinsError> {
    let context = Context::new();
    let pair = miner_key(context.secp()).map_err(|_| KeyError::NotASecret)?;
    let key = ChannelKey::from_secret(&context, &pair.secret_bytes())?;
    MemoryCoins::new(context, &key)
}

/// The coinbase of the block at `height`, without a witness commitment: that of an empty block.
///
/// It pays the subsidy (50 bitcoin, halved every 150 blocks), and no fees, to the script of
/// [`miner_key`], and its script is the height and `OP_0`. So its id is the same in every run, and
/// the first output of any empty block is a coin that is known beforehand.
pub fn coinbase(height: Height) -> Transaction {
    let script_sig = Builder::new().push_int(i64::from(height.to_u32())).push_int(0).into_script();
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig,
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(subsidy(height).to_sat()),
            script_pubkey: miner_script(),
        }],
    }
}

/// A block with its coinbase and exactly `txs` after it, mined.
///
/// Deterministic: the nonce is the first that meets the target. A block with transactions carries
/// a witness commitment, an empty one does not.
pub fn build_block(
    previous: BlockHash,
    height: Height,
    time: UtcSeconds,
    txs: &[Transaction],
) -> Block {
    let header = Header {
        version: BlockVersion::from_consensus(0x2000_0000),
        prev_blockhash: previous,
        merkle_root: TxMerkleNode::all_zeros(),
        time: u32::try_from(time.to_u64()).unwrap_or(u32::MAX),
        bits: CompactTarget::from_consensus(REGTEST_BITS),
        nonce: 0,
    };
    let mut txdata = Vec::with_capacity(txs.len().saturating_add(1));
    txdata.push(coinbase(height));
    txdata.extend_from_slice(txs);
    let mut block = Block { header, txdata };
    if !txs.is_empty() {
        commit_to_witnesses(&mut block);
    }
    // There is always a coinbase, so there is always a root.
    if let Some(root) = block.compute_merkle_root() {
        block.header.merkle_root = root;
    }
    let target = block.header.target();
    while !target.is_met_by(block.header.block_hash()) {
        block.header.nonce = block.header.nonce.wrapping_add(1);
    }
    block
}

/// The subsidy of the block at `height`.
pub(super) fn subsidy(height: Height) -> Sat {
    let halvings = height.to_u32().div_euclid(HALVING_BLOCKS);
    Sat::new(FIRST_SUBSIDY_SAT.checked_shr(halvings).unwrap_or(0)).unwrap_or(Sat::ZERO)
}

/// The script that every coinbase pays.
pub(super) fn miner_script() -> ScriptBuf {
    Builder::new().push_int(1).push_slice(MINER_OUTPUT_KEY).into_script()
}

/// Adds the commitment output and its reserved value to the coinbase of `block` (BIP141).
fn commit_to_witnesses(block: &mut Block) {
    const RESERVED: [u8; 32] = [0; 32];
    let root = block.witness_root().unwrap_or_else(WitnessMerkleNode::all_zeros);
    let commitment = Block::compute_witness_commitment(&root, &RESERVED);
    let mut data = PushBytesBuf::new();
    // 36 bytes; a push holds up to 2^32.
    let _ = data.extend_from_slice(&COMMITMENT_HEADER);
    let _ = data.extend_from_slice(commitment.as_byte_array());
    let Some(coinbase) = block.txdata.first_mut() else { return };
    coinbase
        .output
        .push(TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new_op_return(data) });
    if let Some(input) = coinbase.input.first_mut() {
        input.witness.push(RESERVED);
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::key::TapTweak;

    use super::*;

    fn at(height: u32) -> Height {
        Height::new(height).unwrap()
    }

    #[test]
    fn miner_script_is_the_key_path_of_the_miner_key() {
        let secp = Secp256k1::new();
        let key = miner_key(&secp).unwrap();
        let output = key.tap_tweak(&secp, None).to_keypair().x_only_public_key().0;
        assert_eq!(output.serialize(), MINER_OUTPUT_KEY, "{output}");
        assert!(miner_script().is_p2tr());
    }

    #[test]
    fn subsidy_halves_every_150_blocks_and_ends() {
        for (height, sat) in
            [(1, 5_000_000_000), (149, 5_000_000_000), (150, 2_500_000_000), (300, 1_250_000_000)]
        {
            assert_eq!(subsidy(at(height)).to_sat(), sat, "height {height}");
        }
        assert_eq!(subsidy(at(150 * 64)), Sat::ZERO);
        assert_eq!(subsidy(at(150 * 33)), Sat::ZERO);
    }

    #[test]
    fn block_with_a_transaction_commits_to_its_witness() {
        let mut tx = coinbase(at(1));
        tx.input[0].witness.push([1, 2, 3]);
        let previous = BlockHash::all_zeros();
        let block = build_block(previous, at(20), UtcSeconds::new(1_300_000_000).unwrap(), &[tx]);
        assert!(block.check_merkle_root());
        assert!(block.check_witness_commitment());
        assert!(block.header.validate_pow(block.header.target()).is_ok());
        assert_eq!(block.bip34_block_height(), Ok(20));
    }

    #[test]
    fn coinbase_of_an_empty_block_is_known_beforehand() {
        let previous = BlockHash::all_zeros();
        let block = build_block(previous, at(7), UtcSeconds::new(1_300_000_000).unwrap(), &[]);
        assert_eq!(block.txdata, vec![coinbase(at(7))]);
    }
}
