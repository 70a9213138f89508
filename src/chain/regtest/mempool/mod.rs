//! The mempool, with the relay policy of Bitcoin Core 31.99.
//!
//! ```text
//!   transaction --> standard --> locks --> amounts --> fees --> truc --> replacement --> scripts
//!                      |           |          |          |        |          |             |
//!                      +-----------+----------+-- Reason +--------+----------+-------------+
//! ```
//!
//! One file a rule. Left out, because no transaction of this crate depends on it: eviction when the
//! memory is full, expiry, the orphan pool, and the policy flags of the script interpreter (the
//! consensus flags are all there).

mod accept;
mod chunks;
mod fees;
mod package;
mod replacement;
mod standard;
mod truc;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bitcoin::{OutPoint, Transaction, Txid};

use crate::chain::regtest::consensus::ScriptCheck;
use crate::chain::regtest::ledger::Ledger;
use crate::units::FeeRate;

/// What a node of this network asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// Smallest fee rate of a transaction or package.
    pub(super) min_relay: FeeRate,
    /// What a replacement pays for its own relay.
    pub(super) incremental: FeeRate,
    pub(super) scripts: ScriptCheck,
}

/// A transaction in the mempool.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) tx: Transaction,
    /// In satoshis.
    pub(super) fee: u64,
    /// In weight units, raised for many signature operations.
    weight: u64,
    /// The n-th transaction that came.
    order: u64,
}

/// Unconfirmed transactions, each of which could stand in the next block, its parents before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Mempool {
    entries: BTreeMap<Txid, Entry>,
    /// Which entry spends an outpoint.
    spends: BTreeMap<OutPoint, Txid>,
    /// Entries that ever came.
    came: u64,
}

impl Mempool {
    /// Removes what a block confirmed, and what conflicts with it.
    pub(super) fn block_connected(&mut self, txs: &[Transaction]) {
        for tx in txs {
            self.remove_one(tx.compute_txid());
            for input in &tx.input {
                if let Some(conflict) = self.spender(&input.previous_output) {
                    self.remove_with_descendants(conflict);
                }
            }
        }
    }

    /// Takes back what left the chain (oldest first), and drops what can no longer be mined.
    pub(super) fn reorganised(&mut self, left: Vec<Transaction>, chain: &Ledger) {
        let before = core::mem::take(self);
        self.came = before.came;
        let mut kept: Vec<Entry> = before.entries.into_values().collect();
        kept.sort_by_key(|entry| entry.order);
        for tx in left.into_iter().chain(kept.into_iter().map(|entry| entry.tx)) {
            // What no longer fits is dropped, and everything that hangs on it with it.
            let _ = self.accept_after_reorg(&tx, chain);
        }
    }

    /// Drops what is mined at less than `rate`, and what hangs on it.
    pub(super) fn drop_below(&mut self, rate: FeeRate) {
        for chunk in self.chunks().iter().filter(|chunk| chunk.pays_below(rate)) {
            for txid in &chunk.txids {
                self.remove_with_descendants(*txid);
            }
        }
    }

    pub(super) fn get(&self, txid: &Txid) -> Option<&Entry> {
        self.entries.get(txid)
    }

    /// The entry that spends `outpoint`.
    pub(super) fn spender(&self, outpoint: &OutPoint) -> Option<Txid> {
        self.spends.get(outpoint).copied()
    }

    /// All entries in the order in which they came.
    pub(super) fn in_order(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.entries.values().collect();
        entries.sort_by_key(|entry| entry.order);
        entries
    }

    pub(super) fn transactions(&self) -> impl Iterator<Item = (&Txid, &Transaction)> {
        self.entries.iter().map(|(txid, entry)| (txid, &entry.tx))
    }

    fn insert(&mut self, txid: Txid, tx: Transaction, fee: u64, weight: u64) {
        self.came = self.came.saturating_add(1);
        for input in &tx.input {
            self.spends.insert(input.previous_output, txid);
        }
        self.entries.insert(txid, Entry { tx, fee, weight, order: self.came });
    }

    fn remove_one(&mut self, txid: Txid) {
        let Some(entry) = self.entries.remove(&txid) else { return };
        for input in &entry.tx.input {
            self.spends.remove(&input.previous_output);
        }
    }

    fn remove_with_descendants(&mut self, txid: Txid) {
        for gone in self.descendants(txid) {
            self.remove_one(gone);
        }
    }

    /// The entries that `tx` spends outputs of.
    fn parents(&self, tx: &Transaction) -> BTreeSet<Txid> {
        tx.input
            .iter()
            .map(|input| input.previous_output.txid)
            .filter(|txid| self.entries.contains_key(txid))
            .collect()
    }

    /// The entries that spend outputs of the entry `txid`.
    fn children(&self, txid: Txid) -> BTreeSet<Txid> {
        let first = OutPoint { txid, vout: 0 };
        let last = OutPoint { txid, vout: u32::MAX };
        self.spends.range(first..=last).map(|(_, spender)| *spender).collect()
    }

    /// `txid` and everything that hangs on it.
    fn descendants(&self, txid: Txid) -> BTreeSet<Txid> {
        self.reach(txid, |at| self.children(at))
    }

    /// `txid` and everything that it hangs on.
    fn ancestors(&self, txid: Txid) -> BTreeSet<Txid> {
        self.reach(txid, |at| self.parents_of(at))
    }

    /// Everything connected with `txid`, itself included.
    fn cluster(&self, txid: Txid) -> BTreeSet<Txid> {
        self.reach(txid, |at| {
            let mut near = self.children(at);
            near.append(&mut self.parents_of(at));
            near
        })
    }

    fn parents_of(&self, txid: Txid) -> BTreeSet<Txid> {
        self.entries.get(&txid).map(|entry| self.parents(&entry.tx)).unwrap_or_default()
    }

    fn reach(&self, from: Txid, near: impl Fn(Txid) -> BTreeSet<Txid>) -> BTreeSet<Txid> {
        let mut found = BTreeSet::new();
        let mut open = VecDeque::from([from]);
        while let Some(at) = open.pop_front() {
            if self.entries.contains_key(&at) && found.insert(at) {
                open.extend(near(at));
            }
        }
        found
    }
}
