//! The confirmed chain: its blocks, and every output that it ever held.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Block, BlockHash, OutPoint, Script, ScriptBuf, Transaction, TxOut, Txid};

use crate::chain::Reason;
use crate::chain::regtest::block::build_block;
use crate::chain::regtest::consensus::{self, ScriptCheck};
use crate::chain::regtest::{locks, whole};
use crate::tx::seen::{OutputStatus, Spend, Tip};
use crate::units::{Height, Sat, UtcSeconds};

/// Blocks whose header times the median time past is taken of (BIP113).
const MEDIAN_TIME_SPAN: usize = 11;
const TRUC_VERSION: i32 = 3;

/// An output in the chain. Spent ones stay, for look-ups and so that disconnecting needs no
/// separate undo data.
#[derive(Debug, Clone)]
pub(super) struct Coin {
    pub(super) prevout: Prevout,
    /// Whether its transaction is version 3.
    truc: bool,
    /// Where its spender stands: height and position in the block.
    spent: Option<(Height, usize)>,
}

/// What an input spends: the output, and where it was made.
#[derive(Debug, Clone)]
pub(super) struct Prevout {
    pub(super) output: TxOut,
    /// The block that holds it; the next one for an output in the mempool.
    pub(super) height: Height,
    pub(super) coinbase: bool,
}

/// One block of the chain.
#[derive(Debug, Clone)]
pub(super) struct StoredBlock {
    pub(super) tip: Tip,
    pub(super) block: Block,
}

/// The chain. Never empty: the genesis block stands at the bottom and cannot be disconnected.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    genesis: Tip,
    /// The blocks above genesis, lowest first.
    blocks: Vec<StoredBlock>,
    coins: BTreeMap<OutPoint, Coin>,
    by_script: BTreeMap<ScriptBuf, BTreeSet<OutPoint>>,
}

impl Ledger {
    pub(super) fn new(genesis: BlockHash, time: UtcSeconds) -> Self {
        Self {
            genesis: Tip { height: Height::MIN, hash: genesis, time },
            blocks: Vec::new(),
            coins: BTreeMap::new(),
            by_script: BTreeMap::new(),
        }
    }

    /// Builds, checks and connects a block of `txs`.
    ///
    /// # Errors
    /// The class of the rule that it breaks; the chain is then as it was.
    pub(super) fn connect(
        &mut self,
        txs: &[Transaction],
        time: UtcSeconds,
        scripts: ScriptCheck,
    ) -> Result<&StoredBlock, Reason> {
        if u32::try_from(time.to_u64()).is_err() {
            return Err(Reason::BadBlock);
        }
        self.connect_block(build_block(self.tip().hash, self.next_height(), time, txs), scripts)
    }

    /// Checks and connects a block, whoever made it.
    ///
    /// # Errors
    /// The class of the rule that it breaks; the chain is then as it was.
    pub(super) fn connect_block(
        &mut self,
        block: Block,
        scripts: ScriptCheck,
    ) -> Result<&StoredBlock, Reason> {
        let below = self.tip();
        let height = self.next_height();
        let time = UtcSeconds::new(u64::from(block.header.time)).unwrap_or(UtcSeconds::MIN);
        if block.header.prev_blockhash != below.hash {
            return Err(Reason::StaleBlock);
        }
        if time <= self.median_time_past(below.height) {
            return Err(Reason::BadBlock);
        }
        whole::check(&block, height)?;
        let Some((coinbase, txs)) = block.txdata.split_first() else {
            return Err(Reason::BadBlock);
        };
        let fees = self.check_spends(coinbase, txs, height, scripts)?;
        whole::check_reward(coinbase, height, fees)?;
        for (position, tx) in block.txdata.iter().enumerate() {
            self.apply(tx, height, position);
        }
        let tip = Tip { height, hash: block.block_hash(), time };
        self.blocks.push(StoredBlock { tip, block });
        // It was pushed a line above.
        self.blocks.last().ok_or(Reason::BadBlock)
    }

    /// Takes the last block off; `None` on the genesis block.
    pub(super) fn disconnect(&mut self) -> Option<StoredBlock> {
        let stored = self.blocks.pop()?;
        for tx in stored.block.txdata.iter().rev() {
            let txid = tx.compute_txid();
            for (vout, output) in (0_u32..).zip(&tx.output) {
                let outpoint = OutPoint { txid, vout };
                self.coins.remove(&outpoint);
                if let Some(paid) = self.by_script.get_mut(&output.script_pubkey) {
                    paid.remove(&outpoint);
                }
            }
            for input in &tx.input {
                if let Some(coin) = self.coins.get_mut(&input.previous_output) {
                    coin.spent = None;
                }
            }
        }
        Some(stored)
    }

    pub(super) fn tip(&self) -> Tip {
        self.blocks.last().map_or(self.genesis, |stored| stored.tip)
    }

    pub(super) fn next_height(&self) -> Height {
        Height::new(self.tip().height.to_u32().saturating_add(1)).unwrap_or(Height::MAX)
    }

    /// The block at `height`; `None` for genesis and above the tip.
    pub(super) fn block(&self, height: Height) -> Option<&StoredBlock> {
        let index = height.to_u32().checked_sub(1)?;
        self.blocks.get(usize::try_from(index).ok()?)
    }

    /// The median of the header times of the eleven blocks up to `height`.
    pub(super) fn median_time_past(&self, height: Height) -> UtcSeconds {
        let mut times: Vec<UtcSeconds> = (0..=height.to_u32())
            .rev()
            .take(MEDIAN_TIME_SPAN)
            .filter_map(|at| match at {
                0 => Some(self.genesis.time),
                at => Some(self.block(Height::new(at).ok()?)?.tip.time),
            })
            .collect();
        times.sort_unstable();
        times.get(times.len().div_euclid(2)).copied().unwrap_or(self.genesis.time)
    }

    /// The output, if it exists in the chain and is not spent there.
    pub(super) fn unspent(&self, outpoint: &OutPoint) -> Option<&Prevout> {
        self.coins.get(outpoint).filter(|coin| coin.spent.is_none()).map(|coin| &coin.prevout)
    }

    /// The output and its spender in the chain, spent or not.
    pub(super) fn status(&self, outpoint: &OutPoint) -> Option<OutputStatus> {
        let coin = self.coins.get(outpoint)?;
        let spent = coin.spent.and_then(|(height, position)| {
            let tx = self.block(height)?.block.txdata.get(position)?.clone();
            Some(Spend { tx, confirmed: Some(height) })
        });
        Some(OutputStatus {
            value: sat(&coin.prevout.output),
            script: coin.prevout.output.script_pubkey.clone(),
            confirmed: Some(coin.prevout.height),
            truc: coin.truc,
            spent,
        })
    }

    /// Every output in the chain that pays to `script`, spent or not.
    pub(super) fn outputs_of(&self, script: &Script) -> impl Iterator<Item = OutPoint> + '_ {
        self.by_script.get(script).into_iter().flatten().copied()
    }

    /// Checks amounts, maturity, locks and scripts of a block's transactions, in order; returns the
    /// sum of their fees.
    fn check_spends(
        &self,
        coinbase: &Transaction,
        txs: &[Transaction],
        height: Height,
        scripts: ScriptCheck,
    ) -> Result<Sat, Reason> {
        let median_time = self.median_time_past(self.tip().height);
        let mut all = core::iter::once(coinbase).chain(txs);
        if !all.all(|tx| locks::is_final(tx, height, median_time)) {
            return Err(Reason::NotFinal);
        }
        let mut made: BTreeMap<OutPoint, Prevout> = BTreeMap::new();
        let mut spent: BTreeSet<OutPoint> = BTreeSet::new();
        let mut sigop_cost = consensus::sigop_cost(coinbase, &[]);
        let mut fees = Sat::ZERO;
        for tx in txs {
            let prevouts: Vec<Prevout> = tx
                .input
                .iter()
                .map(|input| &input.previous_output)
                .map(|at| {
                    let fresh = spent.insert(*at);
                    let found = self.unspent(at).or_else(|| made.get(at));
                    found.filter(|_| fresh).cloned().ok_or(Reason::MissingInputs)
                })
                .collect::<Result<_, _>>()?;
            let fee = consensus::check_amounts(tx, &prevouts, height)?;
            fees = fees.checked_add(fee).ok_or(Reason::Malformed)?;
            if !locks::sequence_locks_passed(tx, &prevouts, self, height) {
                return Err(Reason::NotFinal);
            }
            sigop_cost = sigop_cost.saturating_add(consensus::sigop_cost(tx, &prevouts));
            scripts.check(tx, &prevouts)?;
            let txid = tx.compute_txid();
            for (vout, output) in (0_u32..).zip(&tx.output) {
                let prevout = Prevout { output: output.clone(), height, coinbase: false };
                made.insert(OutPoint { txid, vout }, prevout);
            }
        }
        if sigop_cost > consensus::MAX_BLOCK_SIGOP_COST {
            return Err(Reason::BadBlock);
        }
        Ok(fees)
    }

    /// Spends the inputs and makes the outputs of a checked transaction.
    fn apply(&mut self, tx: &Transaction, height: Height, position: usize) {
        for input in &tx.input {
            if let Some(coin) = self.coins.get_mut(&input.previous_output) {
                coin.spent = Some((height, position));
            }
        }
        let txid: Txid = tx.compute_txid();
        let coinbase = tx.is_coinbase();
        let truc = is_truc(tx);
        for (vout, output) in (0_u32..).zip(&tx.output) {
            if output.script_pubkey.is_op_return() {
                continue;
            }
            let outpoint = OutPoint { txid, vout };
            let prevout = Prevout { output: output.clone(), height, coinbase };
            self.coins.insert(outpoint, Coin { prevout, truc, spent: None });
            self.by_script.entry(output.script_pubkey.clone()).or_default().insert(outpoint);
        }
    }
}

/// Whether it is a version-3 transaction (BIP431).
pub(super) fn is_truc(tx: &Transaction) -> bool {
    tx.version.0 == TRUC_VERSION
}

/// The value of an output; the largest if a transaction claims more than all money.
pub(super) fn sat(output: &TxOut) -> Sat {
    Sat::new(output.value.to_sat()).unwrap_or(Sat::MAX)
}
