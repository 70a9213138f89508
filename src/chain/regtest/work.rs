//! Mining, blocks from elsewhere, and reorganisations.

use std::collections::BTreeSet;
use std::sync::Arc;

use bitcoin::{Block, CompactTarget, Transaction, Txid};

use crate::chain::Reason;
use crate::chain::regtest::block::{REGTEST_BITS, subsidy};
use crate::chain::regtest::consensus::ScriptCheck;
use crate::chain::regtest::mempool::Entry;
use crate::chain::regtest::{Logged, Regtest};
use crate::chain::template::{Template, TemplateTx};
use crate::tx::seen::Tip;
use crate::units::{Blocks, Sat, Seconds, UtcSeconds};

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
        let txs: Vec<Transaction> = self.best().map(|entry| entry.tx.clone()).collect();
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

    /// What the next block is made of, for a miner outside: the best-paying of the mempool, and the
    /// subsidy with their fees.
    ///
    /// The time is that of the tip plus 600 s, as the chain's own blocks have it.
    pub fn block_template(&self) -> Template {
        let below = self.ledger.tip();
        let height = self.ledger.next_height();
        let txs: Vec<TemplateTx> = self
            .best()
            .map(|entry| TemplateTx::new(entry.tx.clone(), Sat::new(entry.fee).ok()))
            .collect();
        let fees = txs.iter().filter_map(TemplateTx::fee);
        let value = fees.fold(subsidy(height), |sum, fee| sum.checked_add(fee).unwrap_or(sum));
        let median = self.ledger.median_time_past(below.height);
        let min_time = median.saturating_after(seconds(1));
        let time = self.next_time(BLOCK_SECONDS).max(min_time);
        let bits = CompactTarget::from_consensus(REGTEST_BITS);
        let mut template = Template::empty(below.hash, height, bits, time, value);
        (template.min_time, template.txs) = (min_time, txs);
        template
    }

    /// Connects a block that was mined outside, on top of the tip.
    ///
    /// The chain has no clock, so that a header's time may be any that is above the median.
    ///
    /// # Errors
    /// The class of the first consensus rule that it breaks; nothing has changed then.
    /// [`Reason::StaleBlock`] if it follows another block than the tip: the chain keeps no branches
    /// but those of [`Regtest::reorg`].
    pub fn connect_block(&mut self, block: &Block) -> Result<Tip, Reason> {
        let stored = self.ledger.connect_block(block.clone(), self.policy.scripts)?;
        let tip = stored.tip;
        let confirmed = Arc::new(stored.block.txdata.clone());
        Ok(self.tell_connected(tip, confirmed))
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
        Ok(self.tell_connected(tip, confirmed))
    }

    /// Cleans the mempool, and tells of a block that now stands in the chain.
    fn tell_connected(&mut self, tip: Tip, confirmed: Arc<Vec<Transaction>>) -> Tip {
        self.pool.block_connected(&confirmed);
        self.log.push(Logged::Connected(tip, confirmed));
        tip
    }

    /// What a miner takes from the mempool: the best chunks that fit, parents before children.
    fn best(&self) -> impl Iterator<Item = &Entry> {
        let mut taken: BTreeSet<Txid> = BTreeSet::new();
        let mut best: Vec<&Entry> = Vec::new();
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
            best.extend(entries());
            taken.extend(chunk.txids);
        }
        best.into_iter()
    }

    fn next_time(&self, after: u64) -> UtcSeconds {
        self.tip().time.saturating_after(seconds(after))
    }
}

fn seconds(count: u64) -> Seconds {
    Seconds::new(count).unwrap_or(Seconds::MAX)
}
