//! A template with its coinbase laid out: parts for jobs, and the block of a solution.

use bitcoin::block::{Header, Version};
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{Block, Target, Transaction, TxMerkleNode, Weight, consensus};

use crate::chain::template::{Layout, RESERVED, Template, TemplateError, join};

/// Largest weight of a block.
const WEIGHT_MAX: u64 = 4_000_000;
/// What the signature operations of a block may cost (BIP141), four for each outside of a witness.
const SIGOPS_MAX: u64 = 80_000;
/// What nodes leave of it for the coinbase, in templates that do not say what is used.
const SIGOPS_LEFT: u64 = 400;
/// How far a header's time may be ahead of the node's: two hours.
const AHEAD_MAX: u64 = 7_200;

/// A template with its coinbase laid out.
///
/// ```
/// use bitcoin::ScriptBuf;
/// use millstream::chain::regtest::Regtest;
/// use millstream::chain::template::{BlockPlan, Layout};
///
/// let mut chain = Regtest::unchecked_scripts();
/// let layout = Layout::new(ScriptBuf::from_bytes([&[0x51, 0x20][..], &[7; 32]].concat()));
/// let plan = BlockPlan::new(chain.block_template(), &layout)?;
/// let mut solution = plan.first_solution(&[0; 4], &[0; 8]);
/// let block = loop {
///     match plan.solve(&solution) {
///         Ok(block) => break block,
///         Err(_) => solution.nonce += 1,
///     }
/// };
/// assert_eq!(chain.connect_block(&block)?.hash, block.block_hash());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPlan {
    pub(super) template: Template,
    pub(super) prefix: Vec<u8>,
    pub(super) suffix: Vec<u8>,
    pub(super) branches: Vec<[u8; 32]>,
    /// Bytes of both parts of the extranonce: the pool's, the miner's.
    pub(super) sizes: (usize, usize),
}

/// What a miner found: everything that it may choose of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    /// The pool's part of the extranonce.
    pub extranonce1: Vec<u8>,
    /// The miner's part.
    pub extranonce2: Vec<u8>,
    /// The header's version.
    pub version: u32,
    /// The header's time.
    pub time: u32,
    /// The header's nonce.
    pub nonce: u32,
}

impl BlockPlan {
    /// Lays the coinbase out.
    ///
    /// # Errors
    /// [`TemplateError::Overspend`], [`TemplateError::ExtranonceSize`],
    /// [`TemplateError::CoinbaseScript`], [`TemplateError::TooHeavy`],
    /// [`TemplateError::TooManySigops`], [`TemplateError::NoTarget`].
    pub fn new(template: Template, layout: &Layout) -> Result<Self, TemplateError> {
        if Target::from_compact(template.bits) == Target::ZERO {
            return Err(TemplateError::NoTarget { bits: template.bits.to_consensus() });
        }
        let (coinbase, before) = layout.coinbase(&template)?;
        let bytes = consensus::serialize(&coinbase);
        let end = before.saturating_add(layout.extranonce_size());
        let (Some(prefix), Some(suffix)) = (bytes.get(..before), bytes.get(end..)) else {
            return Err(TemplateError::Broken);
        };
        let (prefix, suffix) = (prefix.to_vec(), suffix.to_vec());
        let branches = template.branches();
        let sizes = (layout.extranonce1_size, layout.extranonce2_size);
        let plan = Self { template, prefix, suffix, branches, sizes };
        plan.check_sigops(&coinbase)?;
        plan.check_weight(coinbase)?;
        Ok(plan)
    }

    /// The coinbase up to the extranonce, as it is hashed for its id.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// The coinbase behind the extranonce, as it is hashed for its id.
    pub fn suffix(&self) -> &[u8] {
        &self.suffix
    }

    /// The hashes that lead from the coinbase to the merkle root, from the bottom up.
    pub fn branches(&self) -> &[[u8; 32]] {
        &self.branches
    }

    /// The template.
    pub const fn template(&self) -> &Template {
        &self.template
    }

    /// The merkle root in a header with this extranonce, whose sizes are not checked.
    pub fn merkle_root(&self, extranonce1: &[u8], extranonce2: &[u8]) -> [u8; 32] {
        let bytes = self.coinbase_bytes(extranonce1, extranonce2);
        let coinbase = sha256d::Hash::hash(&bytes).to_byte_array();
        self.branches.iter().fold(coinbase, |node, beside| join(&node, beside))
    }

    /// Where a search begins: the template's version and time, nonce 0.
    pub fn first_solution(&self, extranonce1: &[u8], extranonce2: &[u8]) -> Solution {
        Solution {
            extranonce1: extranonce1.to_vec(),
            extranonce2: extranonce2.to_vec(),
            version: self.template.version,
            time: u32::try_from(self.template.current_time.to_u64()).unwrap_or(u32::MAX),
            nonce: 0,
        }
    }

    /// The whole block of a solution that meets the network's target.
    ///
    /// # Errors
    /// [`TemplateError::ExtranonceSize`], [`TemplateError::Version`], [`TemplateError::Time`];
    /// [`TemplateError::HighHash`] if it is no block, as nearly all shares are.
    pub fn solve(&self, solution: &Solution) -> Result<Block, TemplateError> {
        self.check_choices(solution)?;
        let root = self.merkle_root(&solution.extranonce1, &solution.extranonce2);
        let header = Header {
            version: Version::from_consensus(solution.version.cast_signed()),
            prev_blockhash: self.template.previous,
            merkle_root: TxMerkleNode::from_byte_array(root),
            time: solution.time,
            bits: self.template.bits,
            nonce: solution.nonce,
        };
        // The header first: the transactions are copied for a block only.
        let hash = header.block_hash();
        if !header.target().is_met_by(hash) {
            return Err(TemplateError::HighHash { hash });
        }
        let bytes = self.coinbase_bytes(&solution.extranonce1, &solution.extranonce2);
        let mut coinbase: Transaction =
            consensus::deserialize(&bytes).map_err(|_| TemplateError::Broken)?;
        let input = coinbase.input.first_mut().ok_or(TemplateError::Broken)?;
        input.witness.push(RESERVED);
        let rest = self.template.txs.iter().map(|tx| tx.tx().clone());
        let block = Block { header, txdata: core::iter::once(coinbase).chain(rest).collect() };
        debug_assert!(block.check_merkle_root() && block.check_witness_commitment());
        Ok(block)
    }

    fn check_choices(&self, solution: &Solution) -> Result<(), TemplateError> {
        let (size1, size2) = self.sizes;
        for (part, want) in [(&solution.extranonce1, size1), (&solution.extranonce2, size2)] {
            if part.len() != want {
                return Err(TemplateError::ExtranonceSize { got: part.len(), want });
            }
        }
        let (got, mask) = (solution.version, self.template.version_mask);
        if (got ^ self.template.version) & !mask != 0 {
            return Err(TemplateError::Version { got, mask });
        }
        let min = self.template.min_time.to_u64();
        let max = self.template.current_time.to_u64().saturating_add(AHEAD_MAX);
        if !(min..=max).contains(&u64::from(solution.time)) {
            return Err(TemplateError::Time { got: solution.time, min, max });
        }
        Ok(())
    }

    /// Outputs to keys and their hashes, of before witnesses, each cost the block something.
    fn check_sigops(&self, coinbase: &Transaction) -> Result<(), TemplateError> {
        let inputs = coinbase.input.iter().map(|input| input.script_sig.count_sigops_legacy());
        let outputs =
            coinbase.output.iter().map(|output| output.script_pubkey.count_sigops_legacy());
        let count = inputs.chain(outputs).fold(0_usize, usize::saturating_add);
        let got = u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(4);
        let costs = self.template.txs.iter().map(|tx| tx.sigops().map(u64::from));
        let used = costs.sum::<Option<u64>>();
        let left = used.map_or(SIGOPS_LEFT, |used| SIGOPS_MAX.saturating_sub(used));
        if got > left { Err(TemplateError::TooManySigops { got, left }) } else { Ok(()) }
    }

    fn check_weight(&self, coinbase: Transaction) -> Result<(), TemplateError> {
        // The block's own: 80 bytes of header, and at most 9 for the number of transactions.
        let head = Weight::from_non_witness_data_size(89);
        let mut coinbase = coinbase;
        if let Some(input) = coinbase.input.first_mut() {
            input.witness.push(RESERVED);
        }
        let txs = self.template.txs.iter().map(|tx| tx.tx().weight());
        let weight = txs
            .fold(head, |sum, weight| Weight::from_wu(sum.to_wu().saturating_add(weight.to_wu())));
        let got = weight.to_wu().saturating_add(coinbase.weight().to_wu());
        if got > WEIGHT_MAX { Err(TemplateError::TooHeavy { got }) } else { Ok(()) }
    }

    fn coinbase_bytes(&self, extranonce1: &[u8], extranonce2: &[u8]) -> Vec<u8> {
        [self.prefix.as_slice(), extranonce1, extranonce2, &self.suffix].concat()
    }
}
