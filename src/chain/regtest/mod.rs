//! A whole regtest chain inside the process: real blocks, consensus, and a mempool with the relay
//! policy of Bitcoin Core 31.99.
//!
//! ```text
//!   submit ----> mempool (policy) --mine--> ledger (consensus) --> log of events --> cursors
//!                    |                          |    ^
//!                    +--> block_template        |    |
//!   connect, connect_block ---------------->    |    |
//!   reorg   -------------------------------> disconnect, connect
//! ```
//!
//! Deterministic: the same calls give the same blocks, ids and events. There is no clock; a block's
//! header time is that of the block below plus 600 s, unless the caller says otherwise. Scripts are
//! run by Bitcoin Core's interpreter (feature `consensus`). That the rest gives Bitcoin Core's
//! verdicts too is shown by `tests/judge`, which runs the scenarios of `sim` on Core itself.
//!
//! [`Regtest`] is owned by whoever simulates; [`Shared`] hands the same chain to several endpoints.
//! Used by `sim`, the examples, the command line and tests.
//!
//! ```
//! use millstream::chain::regtest::{Regtest, coinbase};
//! use millstream::units::{Blocks, Height};
//!
//! let mut chain = Regtest::unchecked_scripts();
//! chain.mine(Blocks::new(101)?);
//! assert_eq!(chain.tip().height, Height::new(101)?);
//! let first = coinbase(Height::new(1)?).compute_txid();
//! let coin = chain.output(bitcoin::OutPoint { txid: first, vout: 0 });
//! assert_eq!(coin.and_then(|coin| coin.confirmed), Some(Height::new(1)?));
//! # Ok::<(), millstream::units::UnitError>(())
//! ```

mod block;
mod consensus;
mod ledger;
mod locks;
mod mempool;
mod shared;
mod whole;
mod work;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::{Block, Network, OutPoint, Script, Transaction, Txid};

use crate::chain::Reason;
use crate::tx::seen::{ChainEvent, OutputStatus, Spend, Tip};
use crate::units::{Blame, FeeRate, Height, UtcSeconds};

pub use block::{build_block, coinbase, miner_coins, miner_key};
pub use shared::{Shared, Source};

use consensus::ScriptCheck;
use ledger::Ledger;
use mempool::{Mempool, Policy};

/// What a node relays at least, and what a replacement pays for its own relay: 0.1 sat/vB.
const MIN_RELAY_SAT_PER_KVB: u64 = 100;
/// What a block holds besides its coinbase, as Core's miner leaves room for it.
const BLOCK_WEIGHT: u64 = 3_992_000;

/// The simulated chain and its one mempool.
#[derive(Debug, Clone)]
pub struct Regtest {
    ledger: Ledger,
    pool: Mempool,
    policy: Policy,
    market: Market,
    log: Vec<Logged>,
}

/// A place in the chain's log of events: which come next. The default is the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor(usize);

/// Why the chain does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegtestError {
    /// The crate was built without the script interpreter.
    #[error("no script check: build with the feature consensus, or take unchecked_scripts()")]
    NoScriptCheck,
}

impl RegtestError {
    /// Ours, who chose the features.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::NoScriptCheck => Blame::Us,
        }
    }
}

/// What miners take, and what wallets are told to pay.
#[derive(Debug, Clone, Copy)]
struct Market {
    estimate: FeeRate,
    to_mine: FeeRate,
    block_weight: u64,
}

/// An event as it is kept: shared between all cursors.
#[derive(Debug, Clone)]
enum Logged {
    Connected(Tip, Arc<Vec<Transaction>>),
    Disconnected { block: Tip, tip: Tip },
    Seen(Arc<Transaction>),
}

impl Regtest {
    /// A chain of the genesis block alone, every script run by Bitcoin Core's interpreter.
    ///
    /// # Errors
    /// [`RegtestError::NoScriptCheck`] without the feature `consensus`.
    pub fn new() -> Result<Self, RegtestError> {
        #[cfg(feature = "consensus")]
        let started = Ok(Self::with(ScriptCheck::Core));
        #[cfg(not(feature = "consensus"))]
        let started = Err(RegtestError::NoScriptCheck);
        started
    }

    /// A chain that runs no script: every signature passes. For builds without a C++ compiler; all
    /// other rules hold.
    pub fn unchecked_scripts() -> Self {
        Self::with(ScriptCheck::Unchecked)
    }

    fn with(scripts: ScriptCheck) -> Self {
        let genesis = bitcoin::constants::genesis_block(Network::Regtest);
        let time = UtcSeconds::new(u64::from(genesis.header.time)).unwrap_or(UtcSeconds::MIN);
        let rate = FeeRate::new(MIN_RELAY_SAT_PER_KVB).unwrap_or(FeeRate::MIN);
        Self {
            ledger: Ledger::new(genesis.block_hash(), time),
            pool: Mempool::default(),
            policy: Policy { min_relay: rate, incremental: rate, scripts },
            market: Market { estimate: rate, to_mine: FeeRate::MIN, block_weight: BLOCK_WEIGHT },
            log: Vec::new(),
        }
    }

    /// Offers a transaction to the mempool.
    ///
    /// # Errors
    /// The class of the first rule that it breaks; nothing has changed then.
    pub fn submit(&mut self, tx: &Transaction) -> Result<(), Reason> {
        self.pool.accept(tx, &self.ledger, self.policy)?;
        self.log.push(Logged::Seen(Arc::new(tx.clone())));
        Ok(())
    }

    /// Offers a package, parents first and the child last, to the mempool.
    ///
    /// # Errors
    /// The reason of the package as a whole, or of the last refused member that has one of its own.
    /// Members that can stand alone stay in the mempool.
    pub fn submit_package(&mut self, txs: &[Transaction]) -> Result<(), Reason> {
        let known: Vec<bool> = txs.iter().map(|tx| self.in_mempool(tx.compute_txid())).collect();
        let outcome = self.pool.accept_package(txs, &self.ledger, self.policy);
        for (tx, known) in txs.iter().zip(known) {
            if !known && self.in_mempool(tx.compute_txid()) {
                self.log.push(Logged::Seen(Arc::new(tx.clone())));
            }
        }
        outcome
    }

    /// Sets the rate that [`Regtest::fee_rate`] answers.
    pub fn set_fee_rate(&mut self, rate: FeeRate) {
        self.market.estimate = rate;
    }

    /// Sets the smallest rate that is relayed, as a mempool that fills up or empties does; what now
    /// pays less is dropped.
    pub fn set_min_relay(&mut self, rate: FeeRate) {
        self.policy.min_relay = rate;
        self.pool.drop_below(rate);
    }

    /// Sets the smallest rate that miners take: a fee spike.
    pub fn set_mining_rate(&mut self, rate: FeeRate) {
        self.market.to_mine = rate;
    }

    /// Sets the weight that miners leave to transactions in each block, at most 3,992,000: full
    /// blocks.
    pub fn set_block_weight(&mut self, weight_units: u64) {
        self.market.block_weight = weight_units.min(BLOCK_WEIGHT);
    }

    /// The last block.
    pub fn tip(&self) -> Tip {
        self.ledger.tip()
    }

    /// The block at `height`; `None` above the tip and for the genesis block.
    pub fn block(&self, height: Height) -> Option<&Block> {
        self.ledger.block(height).map(|stored| &stored.block)
    }

    /// Whether the mempool holds the transaction.
    pub fn in_mempool(&self, txid: Txid) -> bool {
        self.pool.get(&txid).is_some()
    }

    /// The transactions of the mempool in the order in which they came.
    pub fn mempool(&self) -> impl Iterator<Item = &Transaction> {
        self.pool.in_order().into_iter().map(|entry| &entry.tx)
    }

    /// The rate that wallets are told to pay: what was set, at least the relay minimum.
    pub fn fee_rate(&self) -> FeeRate {
        self.market.estimate.max(self.policy.min_relay)
    }

    /// The output at `outpoint`, in the chain or in the mempool, and what spends it.
    pub fn output(&self, outpoint: OutPoint) -> Option<OutputStatus> {
        let mut status = self.ledger.status(&outpoint).or_else(|| self.unconfirmed(outpoint))?;
        if status.spent.is_none() {
            let spender = self.pool.spender(&outpoint).and_then(|txid| self.pool.get(&txid));
            status.spent = spender.map(|entry| Spend { tx: entry.tx.clone(), confirmed: None });
        }
        Some(status)
    }

    /// Every output, spent or not, in the chain or in the mempool, that pays to `script`.
    pub fn outputs_of(&self, script: &Script) -> Vec<(OutPoint, OutputStatus)> {
        let unconfirmed = self.pool.transactions().flat_map(|(txid, tx)| {
            (0_u32..)
                .zip(&tx.output)
                .filter(|(_, output)| *output.script_pubkey == *script)
                .map(|(vout, _)| OutPoint { txid: *txid, vout })
        });
        let found: BTreeMap<OutPoint, OutputStatus> = self
            .ledger
            .outputs_of(script)
            .chain(unconfirmed)
            .filter_map(|outpoint| Some((outpoint, self.output(outpoint)?)))
            .collect();
        found.into_iter().collect()
    }

    /// The cursor behind the last event.
    pub fn cursor(&self) -> Cursor {
        Cursor(self.log.len())
    }

    /// The event at `cursor`, which then moves on; `None` when there is none yet.
    pub fn next_event(&self, cursor: &mut Cursor) -> Option<ChainEvent> {
        let logged = self.log.get(cursor.0)?;
        cursor.0 = cursor.0.saturating_add(1);
        Some(match logged {
            Logged::Connected(tip, txs) => {
                ChainEvent::BlockConnected { tip: *tip, txs: txs.to_vec() }
            }
            Logged::Disconnected { block, tip } => {
                ChainEvent::BlockDisconnected { block: *block, tip: *tip }
            }
            Logged::Seen(tx) => ChainEvent::TxSeen { tx: Transaction::clone(tx) },
        })
    }

    /// Moves `cursor` behind the last event: whether there were any, and the tip if it changed.
    fn pass_events(&self, cursor: &mut Cursor) -> (bool, Option<Tip>) {
        let passed = self.log.get(cursor.0..).unwrap_or_default();
        cursor.0 = self.log.len();
        let tip = passed.iter().rev().find_map(|logged| match logged {
            Logged::Connected(tip, _) | Logged::Disconnected { tip, .. } => Some(*tip),
            Logged::Seen(_) => None,
        });
        (!passed.is_empty(), tip)
    }

    /// Hands the chain to several endpoints.
    pub fn share(self) -> Shared {
        Shared::new(self)
    }

    fn unconfirmed(&self, outpoint: OutPoint) -> Option<OutputStatus> {
        let entry = self.pool.get(&outpoint.txid)?;
        let output = entry.tx.output.get(usize::try_from(outpoint.vout).ok()?)?;
        Some(OutputStatus {
            value: ledger::sat(output),
            script: output.script_pubkey.clone(),
            confirmed: None,
            truc: ledger::is_truc(&entry.tx),
            spent: None,
        })
    }
}
