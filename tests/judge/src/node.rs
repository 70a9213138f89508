//! The node: Bitcoin Core's chain state and mempool behind a safe face.
//!
//! Core's clock belongs to the process, so that one [`Core`] lives at a time in a process; a second
//! one waits for the first to be dropped. The clock is set to the tip's time whenever the tip moves.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash, Transaction, Txid, consensus};
use millstream::chain::regtest;
use millstream::tx::seen::Tip;
use millstream::units::{Blocks, Height, Seconds, UtcSeconds};

use crate::ffi::{Answer, Node};

/// One node a process, because mock time is the process's.
static ALONE: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether this thread holds `ALONE`; waiting for itself would never end.
    static HERE: Cell<bool> = const { Cell::new(false) };
}

/// The time from one block to the next.
const SPACING: Seconds = seconds(600);
/// The same in a branch that replaces others, so that no two blocks are equal.
const SPACING_OF_BRANCH: Seconds = seconds(601);

/// Core's refusal of a transaction, a package or a block.
///
/// `reason` is Core's own text: the reject reason, then a comma and its debug message if there is
/// one (`bad-txns-inputs-missingorspent, CheckTxInputs: inputs missing/spent`). Text, unlike the
/// errors of the crate, because Core's words are what this package is there to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Core refuses: {reason}")]
pub struct Reject {
    /// Core's words.
    pub reason: String,
}

/// A regtest node of Bitcoin Core in this process.
///
/// It starts at the genesis block. Every method panics if Core itself fails (a full disk, a broken
/// invariant of its own): a judge that does not work must not look like a verdict.
///
/// ```
/// let mut core = millstream_judge::Core::new();
/// core.mine_empty(101);
/// assert_eq!(core.tip().height.to_u32(), 101);
/// ```
#[derive(Debug)]
pub struct Core {
    /// Dropped first: it uses the folder, under the lock.
    node: Node,
    _folder: tempfile::TempDir,
    /// Every block that Core took, on whatever branch, with its parent's hash.
    blocks: BTreeMap<BlockHash, (Tip, BlockHash)>,
    /// Everything ever shown to Core, so that ids in its mempool have their transactions.
    known: BTreeMap<Txid, Transaction>,
    _alone: Alone,
}

impl Core {
    /// Starts a node. Waits until no other thread of the process has one.
    ///
    /// # Panics
    /// If this thread has one already, or if Core cannot start (its reason is in the message).
    #[expect(clippy::new_without_default, reason = "starting a node is too much for a default")]
    pub fn new() -> Self {
        let alone = Alone::wait();
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder: {error}"));
        let path = folder.path().to_str().unwrap_or_else(|| panic!("folder is not UTF-8"));
        let node = Node::new(path).unwrap_or_else(|reason| panic!("Core does not start: {reason}"));
        let mut core = Self {
            node,
            _folder: folder,
            blocks: BTreeMap::new(),
            known: BTreeMap::new(),
            _alone: alone,
        };
        let genesis = core.tip();
        core.blocks.insert(genesis.hash, (genesis, BlockHash::all_zeros()));
        core.set_mock_time(genesis.time);
        core
    }

    /// Hands one transaction to the mempool.
    ///
    /// # Errors
    /// Core's reason; the mempool is as before.
    pub fn submit(&mut self, tx: &Transaction) -> Result<(), Reject> {
        let answer = self.node.tx(&consensus::serialize(tx), false);
        verdict(answer)?;
        self.remember(tx);
        Ok(())
    }

    /// Whether the mempool would take the transaction. Changes nothing.
    ///
    /// # Errors
    /// Core's reason.
    pub fn test_accept(&mut self, tx: &Transaction) -> Result<(), Reject> {
        verdict(self.node.tx(&consensus::serialize(tx), true))
    }

    /// Hands a package to the mempool: parents first, the one child last.
    ///
    /// # Errors
    /// The reason of the package as a whole, or else of its last transaction that was refused for
    /// itself: missing inputs count only if nothing else was refused, since a child whose parent
    /// was refused has always that reason too. Core may have taken some of the transactions.
    pub fn submit_package(&mut self, txs: &[Transaction]) -> Result<(), Reject> {
        let mut bytes = Vec::new();
        for tx in txs {
            bytes.extend(consensus::serialize(tx));
            self.remember(tx);
        }
        verdict(self.node.package(&bytes, txs.len())).map_err(|Reject { reason }| {
            let said: Vec<&str> = reason.lines().filter(|line| !line.is_empty()).collect();
            // These only repeat what another line says.
            let follows = |line: &str| line == "transaction failed" || line == "not looked at";
            let missing = |line: &str| line.starts_with("bad-txns-inputs-missingorspent");
            let own = said.first().filter(|line| reason.starts_with(**line) && !follows(line));
            let cause = own
                .or_else(|| said.iter().rfind(|line| !follows(line) && !missing(line)))
                .or_else(|| said.iter().find(|line| missing(line)));
            Reject { reason: (*cause.or(said.first()).unwrap_or(&"no reason")).to_owned() }
        })
    }

    /// Mines a block of exactly `txs`, in this order, on the tip.
    ///
    /// # Errors
    /// Core's reason; the chain is as before.
    pub fn mine(&mut self, txs: &[Transaction]) -> Result<Block, Reject> {
        let block = self.next_block(txs);
        // Tested first, because Core remembers a refused block: the same transactions on the same
        // tip would get no reason of their own the second time.
        self.test_block(&block)?;
        self.connect_block(&block)?;
        Ok(block)
    }

    /// Mines `count` blocks with nothing but their coinbases.
    ///
    /// # Panics
    /// If Core refuses an empty block.
    pub fn mine_empty(&mut self, count: u32) {
        for _ in 0..count {
            self.mine(&[]).unwrap_or_else(|reject| panic!("an empty block: {reject}"));
        }
    }

    /// Mines a block of the whole mempool, parents before children, and returns it.
    ///
    /// # Errors
    /// Core's reason: its mempool and its consensus would then disagree.
    pub fn mine_mempool(&mut self) -> Result<Block, Reject> {
        let txs = self.mempool_txs();
        self.mine(&txs)
    }

    /// Whether the block could follow the tip. Changes nothing, and Core forgets it.
    ///
    /// # Errors
    /// Core's reason.
    pub fn test_block(&mut self, block: &Block) -> Result<(), Reject> {
        let tip = self.tip();
        self.set_mock_time(utc(block.header.time));
        let answer = self.node.block_test(&consensus::serialize(block));
        self.set_mock_time(tip.time);
        verdict(answer)
    }

    /// The block that would be mined of `txs` on the tip; valid only if `txs` are.
    pub fn next_block(&self, txs: &[Transaction]) -> Block {
        block_on(self.tip(), SPACING, txs)
    }

    /// Shows Core a block. On a branch with less work than the best chain it is stored only.
    ///
    /// # Errors
    /// Core's reason. Core remembers the block's hash as invalid; another block of the same
    /// transactions is judged afresh.
    pub fn connect_block(&mut self, block: &Block) -> Result<(), Reject> {
        // The time first: a block too far ahead of the clock would be refused for that.
        self.set_mock_time(utc(block.header.time));
        let answer = self.node.block(&consensus::serialize(block));
        if answer == Answer::Yes {
            self.remember_block(block);
        }
        let tip = self.tip();
        self.set_mock_time(tip.time);
        verdict(answer)?;
        Ok(())
    }

    /// Replaces the last `depth` blocks by a longer branch: one block for each element of `blocks`,
    /// holding those transactions.
    ///
    /// The branch is shown as a peer would show it, block by block, so that Core stores it first
    /// and switches when it has more work. What the new branch does not hold goes back to the
    /// mempool, as far as policy still takes it.
    ///
    /// # Errors
    /// Core's reason for the first block that it refuses.
    ///
    /// # Panics
    /// If `blocks` are not more than `depth`, or `depth` reaches below the genesis block.
    pub fn reorg(&mut self, depth: u32, blocks: &[Vec<Transaction>]) -> Result<(), Reject> {
        let wins = u32::try_from(blocks.len()).is_ok_and(|count| count > depth);
        assert!(wins, "a branch of {} blocks loses", blocks.len());
        let mut last = self.below_tip(depth);
        for txs in blocks {
            let block = block_on(last, SPACING_OF_BRANCH, txs);
            // An earlier branch may have begun with the same blocks.
            if !self.blocks.contains_key(&block.block_hash()) {
                self.connect_block(&block)?;
            }
            last = self.blocks[&block.block_hash()].0;
        }
        assert_eq!(self.tip(), last, "the longer branch is the best chain");
        Ok(())
    }

    /// Takes the last `depth` blocks off the chain, and marks them invalid for good: an equal
    /// block is refused from then on.
    ///
    /// # Panics
    /// If `depth` reaches the genesis block.
    pub fn invalidate(&mut self, depth: u32) {
        let Some(below) = depth.checked_sub(1) else { return };
        let left = self.below_tip(depth);
        let first = self.below_tip(below);
        verdict(self.node.invalidate(first.hash.as_byte_array()))
            .unwrap_or_else(|reject| panic!("{reject}"));
        assert_eq!(self.tip(), left, "no other branch took over");
        self.set_mock_time(left.time);
    }

    /// Sets the clock of Core, until the next block is shown to it.
    pub fn set_mock_time(&mut self, time: UtcSeconds) {
        self.node.mock_time(i64::try_from(time.to_u64()).unwrap_or(i64::MAX));
    }

    /// The last block of the best chain.
    ///
    /// # Panics
    /// If Core failed.
    pub fn tip(&self) -> Tip {
        let raw = self.node.tip().unwrap_or_else(|reason| panic!("Core failed: {reason}"));
        Tip {
            height: Height::new(raw.height).unwrap_or(Height::MAX),
            hash: BlockHash::from_byte_array(raw.hash),
            time: utc(raw.time),
        }
    }

    /// The ids in the mempool, parents before children.
    pub fn mempool(&self) -> Vec<Txid> {
        self.node.mempool().into_iter().map(Txid::from_byte_array).collect()
    }

    /// Whether a transaction is in the mempool.
    pub fn contains(&self, txid: Txid) -> bool {
        self.mempool().contains(&txid)
    }

    /// The transactions in the mempool, parents before children.
    pub fn mempool_txs(&self) -> Vec<Transaction> {
        self.mempool().into_iter().filter_map(|txid| self.known.get(&txid).cloned()).collect()
    }

    /// The block `depth` blocks below the tip.
    fn below_tip(&self, depth: u32) -> Tip {
        let mut tip = self.tip();
        for _ in 0..depth {
            let parent = self.blocks[&tip.hash].1;
            let found = self.blocks.get(&parent);
            tip = found.unwrap_or_else(|| panic!("no block {depth} below the tip")).0;
        }
        tip
    }

    fn remember_block(&mut self, block: &Block) {
        block.txdata.iter().for_each(|tx| self.remember(tx));
        let parent = block.header.prev_blockhash;
        // Core took it, so that Core knows its parent; and so do we, who showed it.
        let below = self.blocks.get(&parent);
        let (below, _) = below.unwrap_or_else(|| panic!("a block on an unknown parent"));
        let height = below.height.saturating_after(ONE_BLOCK);
        let tip = Tip { height, hash: block.block_hash(), time: utc(block.header.time) };
        self.blocks.insert(tip.hash, (tip, parent));
    }

    fn remember(&mut self, tx: &Transaction) {
        self.known.insert(tx.compute_txid(), tx.clone());
    }
}

/// The right to be the process's only node.
#[derive(Debug)]
struct Alone(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Alone {
    fn wait() -> Self {
        assert!(!HERE.get(), "this thread already has a Core; drop it first");
        // A panic under the lock left no shared state behind: each node is its own.
        let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        HERE.set(true);
        Self(guard)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        HERE.set(false);
    }
}

fn block_on(parent: Tip, spacing: Seconds, txs: &[Transaction]) -> Block {
    let time = parent.time.saturating_after(spacing);
    regtest::build_block(parent.hash, parent.height.saturating_after(ONE_BLOCK), time, txs)
}

const ONE_BLOCK: Blocks = match Blocks::new(1) {
    Ok(blocks) => blocks,
    Err(_) => Blocks::MIN,
};

const fn seconds(number: u64) -> Seconds {
    match Seconds::new(number) {
        Ok(seconds) => seconds,
        Err(_) => Seconds::MIN,
    }
}

fn utc(header_time: u32) -> UtcSeconds {
    UtcSeconds::new(u64::from(header_time)).unwrap_or(UtcSeconds::MAX)
}

fn verdict(answer: Answer) -> Result<(), Reject> {
    match answer {
        Answer::Yes => Ok(()),
        Answer::No(reason) => Err(Reject { reason }),
        Answer::Broken(reason) => panic!("Core failed, which is no verdict: {reason}"),
    }
}
