//! Mining, blocks from elsewhere, and reorganisations.

use std::collections::BTreeSet;
use std::sync::Arc;

use bitcoin::{Transaction, Txid};

use crate::chain::Reason;
use crate::chain::regtest::consensus::ScriptCheck;
use crate::chain::regtest::{Logged, Regtest};
use crate::tx::seen::Tip;
use crate::units::{Blocks, Seconds, UtcSeconds};

/// Header time from block to block on the chain.
const BLOCK_SECONDS: u64 = 600;
/// Header time from block to block on a branch that replaces others: one more, so that its blocks
/// differ from those that they replace although the coinbases do not.
const BRANCH_SECONDS: u64 = 601;

impl Regtest {
    /// Mines blocks, each 600 s after the one below, with the best-paying of the mempool.
    pub fn mine(&mut self, blocks: Blocks) -> Tip {
        for _ in 0..blocks.to_u32() {
            let time = self.next_time(BLOCK_SECONDS);
            // What the mempool holds is valid in the next block; if it were not, an empty one is.
            if self.mine_at(time).is_err() {
                let _ = self.connect_at(&[], time);
            }
        }
        self.tip()
    }

    /// Mines one block with this header time.
    ///
    /// # Errors
    /// [`Reason::BadBlock`] if the time is not above the median of the eleven blocks below.
    pub fn mine_at(&mut self, time: UtcSeconds) -> Result<Tip, Reason> {
        let txs = self.template();
        // Every entry's scripts were run when it came; they need not be run again.
        self.extend(&txs, time, ScriptCheck::Unchecked)
    }

    /// Connects a block of exactly these transactions after the coinbase, as another miner's; no
    /// relay policy applies.
    ///
    /// # Errors
    /// The class of the first consensus rule that it breaks; nothing has changed then.
    pub fn connect(&mut self, txs: &[Transaction]) -> Result<Tip, Reason> {
        self.connect_at(txs, self.next_time(BLOCK_SECONDS))
    }

    /// Connects a block of exactly these transactions with this header time.
    ///
    /// # Errors
    /// As [`Regtest::connect`].
    pub fn connect_at(&mut self, txs: &[Transaction], time: UtcSeconds) -> Result<Tip, Reason> {
        self.extend(txs, time, self.policy.scripts)
    }

    /// Replaces the last `depth` blocks by `branch`, one list of transactions a block. What left
    /// the chain goes back to the mempool where it still can.
    ///
    /// # Errors
    /// [`Reason::BadBlock`] if the branch is not longer than what it replaces or the chain not so
    /// high; else the class of the first rule that the branch breaks. Nothing has changed then.
    pub fn reorg(&mut self, depth: Blocks, branch: &[Vec<Transaction>]) -> Result<Tip, Reason> {
        let depth = usize::try_from(depth.to_u32()).unwrap_or(usize::MAX);
        let height = usize::try_from(self.tip().height.to_u32()).unwrap_or(0);
        if branch.len() <= depth || depth > height {
            return Err(Reason::BadBlock);
        }
        // A branch can fail anywhere: the work is done on a copy of the confirmed chain.
        let mut ledger = self.ledger.clone();
        let mut log = Vec::new();
        let mut left: Vec<Transaction> = Vec::new();
        for _ in 0..depth {
            let Some(stored) = ledger.disconnect() else { return Err(Reason::BadBlock) };
            log.push(Logged::Disconnected { block: stored.tip, tip: ledger.tip() });
            // The newest block comes first; its transactions must go behind the older ones.
            let txs = stored.block.txdata.into_iter().skip(1);
            left.splice(0..0, txs);
        }
        for txs in branch {
            let time = ledger.tip().time.saturating_after(seconds(BRANCH_SECONDS));
            let stored = ledger.connect(txs, time, self.policy.scripts)?;
            let txs = Arc::new(stored.block.txdata.clone());
            log.push(Logged::Connected(stored.tip, txs));
        }
        self.ledger = ledger;
        for logged in &log {
            if let Logged::Connected(_, txs) = logged {
                self.pool.block_connected(txs);
            }
        }
        self.pool.reorganised(left, &self.ledger);
        self.log.append(&mut log);
        Ok(self.tip())
    }

    /// Adds a block to the chain, tells of it and cleans the mempool.
    fn extend(
        &mut self,
        txs: &[Transaction],
        time: UtcSeconds,
        scripts: ScriptCheck,
    ) -> Result<Tip, Reason> {
        let stored = self.ledger.connect(txs, time, scripts)?;
        let tip = stored.tip;
        let confirmed = Arc::new(stored.block.txdata.clone());
        self.pool.block_connected(&confirmed);
        self.log.push(Logged::Connected(tip, confirmed));
        Ok(tip)
    }

    /// What a miner takes from the mempool: the best chunks that fit, parents before children.
    fn template(&self) -> Vec<Transaction> {
        let mut taken: BTreeSet<Txid> = BTreeSet::new();
        let mut txs: Vec<Transaction> = Vec::new();
        let mut left = self.market.block_weight;
        for chunk in self.pool.chunks() {
            let Some(rest) = left.checked_sub(chunk.weight) else { continue };
            let entries = || chunk.txids.iter().filter_map(|txid| self.pool.get(txid));
            let missing = entries().flat_map(|entry| &entry.tx.input).any(|input| {
                let parent = input.previous_output.txid;
                self.in_mempool(parent)
                    && !taken.contains(&parent)
                    && !chunk.txids.contains(&parent)
            });
            if missing || chunk.pays_below(self.market.to_mine) {
                continue;
            }
            left = rest;
            txs.extend(entries().map(|entry| entry.tx.clone()));
            taken.extend(chunk.txids);
        }
        txs
    }

    fn next_time(&self, after: u64) -> UtcSeconds {
        self.tip().time.saturating_after(seconds(after))
    }
}

fn seconds(count: u64) -> Seconds {
    Seconds::new(count).unwrap_or(Seconds::MAX)
}
