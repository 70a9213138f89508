//! What the next block is made of, and the block that a share which meets the network makes of it.
//!
//! ```text
//!   a node (getblocktemplate) --+
//!                               +--> Template --[Layout]--> BlockPlan --> prefix, suffix, branches
//!   regtest::Regtest -----------+                               |         (jobs for miners)
//!                                                               |
//!               Solution of a miner, or a Share --> solve(), block() --> Block
//! ```
//!
//! [`Template`] is what the chain asks for. [`Layout`] is what the pool wants in its coinbase: who
//! is paid, how many bytes miners may vary. [`BlockPlan`] joins both: it gives the parts that a job
//! is made of, and puts a solution together as the whole block, from the very bytes that were
//! hashed.
//!
//! ```text
//!   coinbase = prefix | extranonce1 (the pool's, by channel) | extranonce2 (the miner's) | suffix
//!   root     = fold of the branches, starting at the coinbase's hash
//! ```
//!
//! The jobs are those of [`shares`](crate::shares): [`BlockPlan::job`] for workers that vary the
//! extranonce, [`BlockPlan::fixed_job`] for one whose merkle root is given, and
//! [`BlockPlan::block`] is the way back from a share that is a block.
//!
//! The module `rpc`, behind a feature of that name, asks a node over JSON-RPC.
//!
//! Used by `rt` (the pool's server), the command line and the simulated chain.

mod coinbase;
mod error;
mod plan;
#[cfg(feature = "rpc")]
pub mod rpc;
mod work;

#[cfg(test)]
pub(in crate::chain) mod tests;

pub use coinbase::Layout;
pub use error::TemplateError;
pub use plan::{BlockPlan, Solution};

use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, Transaction, Txid, WitnessMerkleNode, Wtxid,
    merkle_tree,
};

use crate::units::{Height, Sat, UtcSeconds};

/// The bits of a version that miners roll (BIP320).
pub const VERSION_ROLLING: u32 = 0x1fff_e000;
/// What the coinbase's witness holds, and the commitment is hashed with (BIP141).
const RESERVED: [u8; 32] = [0; 32];

/// What the chain asks of its next block, and the transactions that pay most for being in it.
///
/// Public fields, since a template is what a source of templates says and no more; what it leads
/// to is checked by [`BlockPlan::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Template {
    /// The header's version, with the bits of deployments that the node signals.
    pub version: u32,
    /// The bits of the version that a miner may choose.
    pub version_mask: u32,
    /// The block that it follows.
    pub previous: BlockHash,
    /// The target, in compact form.
    pub bits: CompactTarget,
    /// Its height.
    pub height: Height,
    /// The time now, as the node sees it.
    pub current_time: UtcSeconds,
    /// The earliest header time: one second after the median of the eleven blocks below.
    pub min_time: UtcSeconds,
    /// What the coinbase may pay: subsidy and fees.
    pub coinbase_value: Sat,
    /// What follows the coinbase, in this order: parents before children.
    pub txs: Vec<TemplateTx>,
}

/// A transaction of a template, with its ids computed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateTx {
    tx: Transaction,
    txid: Txid,
    wtxid: Wtxid,
    fee: Option<Sat>,
    sigops: Option<u32>,
}

impl Template {
    /// A template without transactions, that lets miners roll the version by BIP320.
    ///
    /// `current_time` stands in for the earliest time, too; set `min_time` if it is known.
    pub const fn empty(
        previous: BlockHash,
        height: Height,
        bits: CompactTarget,
        current_time: UtcSeconds,
        coinbase_value: Sat,
    ) -> Self {
        Self {
            version: 0x2000_0000,
            version_mask: VERSION_ROLLING,
            previous,
            bits,
            height,
            current_time,
            min_time: current_time,
            coinbase_value,
            txs: Vec::new(),
        }
    }

    /// The hash by which the coinbase commits to all witnesses (BIP141), its own reserved value
    /// being 32 zero bytes.
    pub fn witness_commitment(&self) -> [u8; 32] {
        // The coinbase stands in its own commitment as zeros.
        let leaves = self.txs.iter().map(|tx| tx.wtxid);
        let leaves = core::iter::once(Wtxid::all_zeros()).chain(leaves);
        // There is a root: the coinbase is a leaf.
        let root = merkle_tree::calculate_root(leaves).map_or([0; 32], Wtxid::to_byte_array);
        let root = WitnessMerkleNode::from_byte_array(root);
        Block::compute_witness_commitment(&root, &RESERVED).to_byte_array()
    }

    /// The hashes that lead from the coinbase to the merkle root, from the bottom up.
    pub fn branches(&self) -> Vec<[u8; 32]> {
        let mut branches = Vec::new();
        // The coinbase's place is empty: nothing that hangs on it is computed here.
        let mut level: Vec<[u8; 32]> = self.txs.iter().map(|tx| tx.txid.to_byte_array()).collect();
        while let Some((beside, rest)) = level.split_first() {
            branches.push(*beside);
            level = rest.chunks(2).map(pair).collect();
        }
        branches
    }
}

impl TemplateTx {
    /// Takes a transaction; `fee`, if it is known.
    pub fn new(tx: Transaction, fee: Option<Sat>) -> Self {
        let (txid, wtxid) = (tx.compute_txid(), tx.compute_wtxid());
        Self { tx, txid, wtxid, fee, sigops: None }
    }

    /// The same, whose signature operations cost so much (BIP141) by the node's word.
    #[must_use]
    pub const fn with_sigops(mut self, cost: u32) -> Self {
        self.sigops = Some(cost);
        self
    }

    /// The transaction, its witness included.
    pub const fn tx(&self) -> &Transaction {
        &self.tx
    }

    /// Its id.
    pub const fn txid(&self) -> Txid {
        self.txid
    }

    /// Its id with the witness.
    pub const fn wtxid(&self) -> Wtxid {
        self.wtxid
    }

    /// What its signature operations cost, if it is known.
    pub const fn sigops(&self) -> Option<u32> {
        self.sigops
    }

    /// Its fee, if it is known.
    pub const fn fee(&self) -> Option<Sat> {
        self.fee
    }
}

/// The parent of one or two nodes.
pub(in crate::chain) fn pair(nodes: &[[u8; 32]]) -> [u8; 32] {
    let (Some(left), Some(right)) = (nodes.first(), nodes.last()) else { return [0; 32] };
    join(left, right)
}

fn join(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256d::Hash::hash(&[left.as_slice(), right.as_slice()].concat()).to_byte_array()
}

fn amount(sat: Sat) -> Amount {
    Amount::from_sat(sat.to_sat())
}
