//! The order in which a miner takes unconfirmed transactions, and the fees that it earns so.
//!
//! Transactions that hang together are mined parents first; a child with a high fee draws its
//! parents along. The transactions of a cluster fall into chunks, each mined as one, with falling
//! fee rates. Bitcoin Core searches the best order; here the ancestor set with the best rate goes
//! first, which is the same unless several children must pay for one parent together.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bitcoin::{Transaction, Txid};

use crate::chain::regtest::mempool::{Mempool, fees};
use crate::units::FeeRate;

/// Transactions that are mined as one.
#[derive(Debug, Clone, Default)]
pub(in crate::chain::regtest) struct Chunk {
    /// Parents first.
    pub(in crate::chain::regtest) txids: Vec<Txid>,
    /// In satoshis.
    pub(in crate::chain::regtest) fee: u64,
    /// In weight units.
    pub(in crate::chain::regtest) weight: u64,
}

impl Chunk {
    /// Compares fee rates, exactly.
    fn cmp_rate(&self, other: &Self) -> Ordering {
        let cross = |fee: u64, weight: u64| u128::from(fee).saturating_mul(u128::from(weight));
        cross(self.fee, other.weight).cmp(&cross(other.fee, self.weight))
    }

    /// Whether it pays less than `rate`.
    pub(in crate::chain::regtest) fn pays_below(&self, rate: FeeRate) -> bool {
        self.fee < fees::fee_at(rate, fees::vsize(self.weight))
    }

    fn append(&mut self, later: Self) {
        self.txids.extend(later.txids);
        self.fee = self.fee.saturating_add(later.fee);
        self.weight = self.weight.saturating_add(later.weight);
    }
}

/// Unconfirmed transactions and which hangs on which.
pub(super) struct Graph {
    nodes: BTreeMap<Txid, Node>,
}

struct Node {
    fee: u64,
    weight: u64,
    /// Everything that it spends outputs of, in the graph or not.
    spends: BTreeSet<Txid>,
}

impl Graph {
    /// These entries of the mempool.
    pub(super) fn of(pool: &Mempool, txids: impl Iterator<Item = Txid>) -> Self {
        let mut graph = Self { nodes: BTreeMap::new() };
        for txid in txids {
            if let Some(entry) = pool.get(&txid) {
                graph.add(txid, &entry.tx, entry.fee, entry.weight);
            }
        }
        graph
    }

    pub(super) fn add(&mut self, txid: Txid, tx: &Transaction, fee: u64, weight: u64) {
        let spends = tx.input.iter().map(|input| input.previous_output.txid).collect();
        self.nodes.insert(txid, Node { fee, weight, spends });
    }

    /// All chunks, the best fee rate first; parents always stand before their children.
    pub(super) fn chunks(&self) -> Vec<Chunk> {
        let mut chunks: Vec<Chunk> =
            self.clusters().into_iter().flat_map(|cluster| self.cluster_chunks(cluster)).collect();
        // Stable, so that chunks of one cluster with equal rates keep their order.
        chunks.sort_by(|one, other| other.cmp_rate(one));
        chunks
    }

    fn clusters(&self) -> Vec<BTreeSet<Txid>> {
        let mut near: BTreeMap<Txid, BTreeSet<Txid>> = BTreeMap::new();
        for (txid, node) in &self.nodes {
            for parent in node.spends.iter().filter(|parent| self.nodes.contains_key(*parent)) {
                near.entry(*txid).or_default().insert(*parent);
                near.entry(*parent).or_default().insert(*txid);
            }
        }
        let mut seen: BTreeSet<Txid> = BTreeSet::new();
        let mut clusters = Vec::new();
        for txid in self.nodes.keys() {
            let mut cluster = BTreeSet::new();
            let mut open = VecDeque::from([*txid]);
            while let Some(at) = open.pop_front() {
                if seen.insert(at) {
                    cluster.insert(at);
                    open.extend(near.get(&at).into_iter().flatten());
                }
            }
            if !cluster.is_empty() {
                clusters.push(cluster);
            }
        }
        clusters
    }

    fn cluster_chunks(&self, mut left: BTreeSet<Txid>) -> Vec<Chunk> {
        let mut chunks: Vec<Chunk> = Vec::new();
        while let Some(first) = left.first().copied() {
            let mut best = self.with_ancestors(first, &left);
            for txid in left.iter().skip(1) {
                let other = self.with_ancestors(*txid, &left);
                if other.cmp_rate(&best) == Ordering::Greater {
                    best = other;
                }
            }
            for txid in &best.txids {
                left.remove(txid);
            }
            // A chunk that pays more than the one before it is mined together with it.
            while chunks.last().is_some_and(|last| best.cmp_rate(last) == Ordering::Greater) {
                let Some(mut last) = chunks.pop() else { break };
                last.append(best);
                best = last;
            }
            chunks.push(best);
        }
        chunks
    }

    /// `txid` after those of its ancestors that are still left.
    fn with_ancestors(&self, txid: Txid, left: &BTreeSet<Txid>) -> Chunk {
        let mut chunk = Chunk::default();
        let mut found = BTreeSet::from([txid]);
        let mut path = vec![(txid, false)];
        while let Some((at, parents_done)) = path.pop() {
            let Some(node) = self.nodes.get(&at) else { continue };
            if parents_done {
                chunk.txids.push(at);
                chunk.fee = chunk.fee.saturating_add(node.fee);
                chunk.weight = chunk.weight.saturating_add(node.weight);
                continue;
            }
            path.push((at, true));
            for parent in node.spends.iter().filter(|parent| left.contains(*parent)) {
                if found.insert(*parent) {
                    path.push((*parent, false));
                }
            }
        }
        chunk
    }
}

impl Mempool {
    /// All entries as a miner takes them.
    pub(in crate::chain::regtest) fn chunks(&self) -> Vec<Chunk> {
        Graph::of(self, self.entries.keys().copied()).chunks()
    }
}

/// Whether the fees of `new` are at every size at least those of `old`, and at some size more.
pub(super) fn improves(new: &[Chunk], old: &[Chunk]) -> bool {
    let sizes: BTreeSet<u64> = corners(new).chain(corners(old)).collect();
    let mut better = false;
    for size in sizes {
        match cmp_fractions(fees_until(new, size), fees_until(old, size)) {
            Ordering::Less => return false,
            Ordering::Greater => better = true,
            Ordering::Equal => {}
        }
    }
    better
}

/// The sizes at which the slope of the diagram changes.
fn corners(chunks: &[Chunk]) -> impl Iterator<Item = u64> + '_ {
    chunks.iter().scan(0_u64, |size, chunk| {
        *size = size.saturating_add(chunk.weight);
        Some(*size)
    })
}

/// The fees of the first `size` weight units, as numerator and denominator.
fn fees_until(chunks: &[Chunk], size: u64) -> (u128, u128) {
    let mut left = size;
    let mut fee = 0_u128;
    for chunk in chunks {
        if left < chunk.weight {
            let weight = u128::from(chunk.weight);
            let part = u128::from(chunk.fee).saturating_mul(u128::from(left));
            return (fee.saturating_mul(weight).saturating_add(part), weight);
        }
        left = left.saturating_sub(chunk.weight);
        fee = fee.saturating_add(u128::from(chunk.fee));
    }
    (fee, 1)
}

fn cmp_fractions(one: (u128, u128), other: (u128, u128)) -> Ordering {
    one.0.saturating_mul(other.1).cmp(&other.0.saturating_mul(one.1))
}
