//! What a chain must offer so that scenarios can run on it.

use bitcoin::{Block, Transaction, Txid};

use crate::chain::Reason;
use crate::tx::seen::Tip;
use crate::units::Blocks;

/// What a chain says to a transaction, a package or a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken.
    Accept,
    /// It is refused, for a reason of this class.
    Refuse(Reason),
}

/// A fresh regtest chain, with its genesis block only, and an empty mempool.
///
/// Blocks are built by [`regtest::build_block`](crate::chain::regtest::build_block), so that their
/// coinbases, and with them the coins of the scenarios, are the same everywhere. The header time of
/// a block is that of the block below it plus 600 s, and 601 s in a branch made by
/// [`Arena::reorg`], so that the branches differ although their coinbases may not.
pub trait Arena {
    /// Offers one transaction to the mempool.
    fn submit(&mut self, tx: &Transaction) -> Verdict;

    /// Offers a package, parents first, child last, to the mempool.
    ///
    /// The reason that counts is that of the package as a whole, if it has one of its own (such as
    /// `TRUC-violation` or `package RBF failed`); else that of the last refused transaction whose
    /// reason is not [`Reason::MissingInputs`] (a child whose parent was refused has always that
    /// one too); else [`Reason::MissingInputs`].
    fn submit_package(&mut self, txs: &[Transaction]) -> Verdict;

    /// Mines blocks: the first with everything that the mempool holds, the others empty.
    fn mine(&mut self, blocks: Blocks) -> Verdict;

    /// Connects a block of exactly these transactions after the coinbase.
    fn connect(&mut self, txs: &[Transaction]) -> Verdict;

    /// Connects a block that was made elsewhere, as it stands, on top of the tip.
    fn connect_block(&mut self, block: &Block) -> Verdict;

    /// Replaces the last `depth` blocks by the blocks of `branch`, which are more. Transactions
    /// that left the chain return to the mempool where they still can.
    fn reorg(&mut self, depth: Blocks, branch: &[Vec<Transaction>]) -> Verdict;

    /// The last block of the best chain.
    fn tip(&self) -> Tip;

    /// Whether the mempool holds the transaction.
    fn in_mempool(&self, txid: Txid) -> bool;
}
