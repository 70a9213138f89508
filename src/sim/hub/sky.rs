//! A chain in small: which transaction stands in which block, and nothing else. Scripts are not
//! run: whoever broadcasts here is held to what it could sign by the one who wrote the deed.
//!
//! Miners are on the neighbours' side. The hub's own transactions stand in a block by the height
//! that its policy counts on, and not before if a neighbour has a use for the time.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Transaction, Txid};

use crate::sim::dice::Dice;
use crate::tx::seen::Spend;
use crate::units::Height;

/// A transaction that no block holds.
#[derive(Debug, Clone, Copy)]
struct Pending {
    txid: Txid,
    /// The hub's: the last height that can be without it.
    by: Option<u32>,
}

/// The chain and its mempool.
#[derive(Debug, Clone)]
pub(super) struct Sky {
    pub(super) height: u32,
    /// What the fundings confirmed in.
    funded: u32,
    txs: BTreeMap<Txid, Transaction>,
    confirmed: BTreeMap<Txid, u32>,
    spent: BTreeMap<OutPoint, Txid>,
    blocks: Vec<Vec<Txid>>,
    pool: Vec<Pending>,
    /// What the hub broadcast.
    hubs: BTreeSet<Txid>,
    /// No block below it is undone any more.
    settled: u32,
}

impl Sky {
    pub(super) const fn new(height: u32, funded: u32) -> Self {
        Self {
            height,
            funded,
            txs: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            spent: BTreeMap::new(),
            blocks: Vec::new(),
            pool: Vec::new(),
            hubs: BTreeSet::new(),
            settled: height,
        }
    }

    pub(super) fn tip(&self) -> Height {
        Height::new(self.height).unwrap_or(Height::MAX)
    }

    /// Takes a transaction into the mempool; the hub's is in a block within `within` blocks from
    /// when it can be.
    /// Whether it is new.
    pub(super) fn broadcast(&mut self, tx: Transaction, within: Option<u32>) -> bool {
        let txid = tx.compute_txid();
        let known = self.pool.iter().any(|pending| pending.txid == txid);
        if known || self.confirmed.contains_key(&txid) {
            return false;
        }
        let by = within.map(|within| self.height.saturating_add(within));
        if by.is_some() {
            self.hubs.insert(txid);
        }
        self.txs.insert(txid, tx);
        self.pool.push(Pending { txid, by });
        true
    }

    /// What stands in blocks, and whether the hub broadcast it.
    pub(super) fn confirmed(&self) -> impl Iterator<Item = (&Transaction, bool)> {
        let known = self.confirmed.keys().filter_map(|txid| Some((txid, self.txs.get(txid)?)));
        known.map(|(txid, tx)| (tx, self.hubs.contains(txid)))
    }

    /// What spends `outpoint`: in a block, or first in the mempool.
    pub(super) fn spend_of(&self, outpoint: OutPoint) -> Option<Spend> {
        let pending = || {
            let mut pool = self.pool.iter().map(|pending| pending.txid);
            pool.find(|txid| self.inputs(*txid).any(|spent| spent == outpoint))
        };
        let txid = self.spent.get(&outpoint).copied().or_else(pending)?;
        let confirmed = self.confirmed.get(&txid).and_then(|height| Height::new(*height).ok());
        Some(Spend { tx: self.txs.get(&txid)?.clone(), confirmed })
    }

    /// One more block.
    pub(super) fn mine(&mut self, dice: &mut Dice) {
        let height = self.height.saturating_add(1);
        let pool = self.pool.clone();
        let mut block = Vec::new();
        // What must be in it; what the neighbours want; what happens to be in it.
        let due = pool.iter().filter(|one| one.by.is_some_and(|by| by <= height));
        self.take(due, height, &mut block);
        let (ours, theirs): (Vec<_>, Vec<_>) = pool.iter().partition(|one| one.by.is_some());
        let lucky: Vec<_> = theirs.into_iter().filter(|_| dice.chance(700)).collect();
        self.take(lucky, height, &mut block);
        let lucky: Vec<_> = ours.into_iter().filter(|_| dice.chance(400)).collect();
        self.take(lucky, height, &mut block);
        self.close(block);
    }

    /// Undoes the last blocks, fewer than `depth`, and puts one more in their place, without
    /// anything that must be in one. Not again before `pause` more blocks: each reorg is one of
    /// those that the hub's blocks allow for.
    pub(super) fn reorg(&mut self, depth: u32, pause: u32, dice: &mut Dice) -> bool {
        let most = u64::from(depth.saturating_sub(1).min(self.height.saturating_sub(self.settled)));
        if most == 0 {
            return false;
        }
        let undone = dice.within(1, most);
        for _ in 0..undone {
            for txid in self.blocks.pop().into_iter().flatten() {
                self.confirmed.remove(&txid);
                self.spent.retain(|_, by| *by != txid);
                // The hub sees it go, and sends it again.
                let by = self.hubs.contains(&txid).then_some(0);
                self.pool.push(Pending { txid, by });
            }
            self.height = self.height.saturating_sub(1);
        }
        for _ in 0..=undone {
            let height = self.height.saturating_add(1);
            let pool = self.pool.clone();
            let lucky: Vec<_> = pool
                .iter()
                .filter(|one| dice.chance(if one.by.is_some() { 200 } else { 600 }))
                .collect();
            let mut block = Vec::new();
            // The neighbours first.
            let (ours, theirs): (Vec<_>, Vec<_>) =
                lucky.into_iter().partition(|one| one.by.is_some());
            self.take(theirs, height, &mut block);
            self.take(ours, height, &mut block);
            self.close(block);
        }
        let next = self.height.saturating_add(1);
        for pending in &mut self.pool {
            pending.by = pending.by.map(|by| by.max(next));
        }
        self.settled = self.height.saturating_add(pause);
        true
    }

    fn inputs(&self, txid: Txid) -> impl Iterator<Item = OutPoint> + '_ {
        self.txs.get(&txid).into_iter().flat_map(|tx| tx.input.iter().map(|i| i.previous_output))
    }

    fn take<'a>(
        &mut self,
        candidates: impl IntoIterator<Item = &'a Pending>,
        height: u32,
        block: &mut Vec<Txid>,
    ) {
        for Pending { txid, .. } in candidates {
            if block.contains(txid) || !self.fits(*txid, height) {
                continue;
            }
            let spent: Vec<_> = self.inputs(*txid).collect();
            self.spent.extend(spent.into_iter().map(|outpoint| (outpoint, *txid)));
            block.push(*txid);
        }
    }

    /// Inputs that are there, in a block before, and unspent; lock time and relative locks.
    fn fits(&self, txid: Txid, height: u32) -> bool {
        let Some(tx) = self.txs.get(&txid) else { return false };
        let inputs = tx.input.iter().all(|input| {
            let from = input.previous_output.txid;
            let parent = if self.txs.contains_key(&from) {
                self.confirmed.get(&from).copied()
            } else {
                Some(self.funded)
            };
            let sequence = input.sequence.to_consensus_u32();
            let lock = if sequence >> 31 == 0 { sequence & 0xffff } else { 1 };
            parent.is_some_and(|parent| height >= parent.saturating_add(lock.max(1)))
                && !self.spent.contains_key(&input.previous_output)
        });
        inputs && tx.lock_time.to_consensus_u32() < height
    }

    fn close(&mut self, block: Vec<Txid>) {
        self.height = self.height.saturating_add(1);
        for txid in &block {
            self.confirmed.insert(*txid, self.height);
        }
        self.pool.retain(|pending| !block.contains(&pending.txid));
        self.blocks.push(block);
    }
}
