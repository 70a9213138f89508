//! Replacement: what conflicts with the mempool must pay for everything that it pushes out.
//!
//! Every entry may be replaced, whatever its sequences say (full RBF). A replacement pays at least
//! the fees of all that goes, and the incremental rate for its own size on top; and the mempool
//! must be worth more to miners afterwards, at every size of block.

use std::collections::BTreeSet;

use bitcoin::Txid;

use crate::chain::Reason;
use crate::chain::regtest::mempool::accept::Candidate;
use crate::chain::regtest::mempool::chunks::{Chunk, Graph, improves};
use crate::chain::regtest::mempool::{Mempool, fees};
use crate::units::FeeRate;

/// Most clusters that one replacement may touch.
const CLUSTERS_MAX: usize = 100;

/// Checks a transaction that comes alone; returns what it evicts.
pub(super) fn check_single(
    pool: &Mempool,
    candidate: &Candidate,
    incremental: FeeRate,
) -> Result<BTreeSet<Txid>, Reason> {
    if candidate.conflicts.is_empty() {
        return Ok(BTreeSet::new());
    }
    let evicted = evicted(pool, &candidate.conflicts)?;
    check_paid(pool, &evicted, candidate.fee, candidate.vsize(), incremental)?;
    check_diagram(pool, &evicted, core::slice::from_ref(candidate))?;
    Ok(evicted)
}

/// Checks a package that conflicts with the mempool; returns what it evicts.
///
/// It must be one parent and one child without other unconfirmed ancestors, and the child must pay
/// a higher rate than the parent.
pub(super) fn check_package(
    pool: &Mempool,
    package: &[Candidate],
    incremental: FeeRate,
) -> Result<BTreeSet<Txid>, Reason> {
    let conflicts: BTreeSet<Txid> =
        package.iter().flat_map(|candidate| &candidate.conflicts).copied().collect();
    if conflicts.is_empty() {
        return Ok(BTreeSet::new());
    }
    let [parent, child] = package else { return Err(Reason::InsufficientReplacement) };
    if !parent.parents.is_empty() || !child.parents.is_empty() {
        return Err(Reason::InsufficientReplacement);
    }
    let evicted = evicted(pool, &conflicts)?;
    let fee = parent.fee.saturating_add(child.fee);
    let vsize = parent.vsize().saturating_add(child.vsize());
    check_paid(pool, &evicted, fee, vsize, incremental)?;
    let package_rate = u128::from(fee).saturating_mul(u128::from(parent.vsize()));
    let parent_rate = u128::from(parent.fee).saturating_mul(u128::from(vsize));
    if package_rate <= parent_rate {
        return Err(Reason::InsufficientReplacement);
    }
    check_diagram(pool, &evicted, package)?;
    Ok(evicted)
}

/// The conflicts and everything that hangs on them.
fn evicted(pool: &Mempool, conflicts: &BTreeSet<Txid>) -> Result<BTreeSet<Txid>, Reason> {
    let clusters: BTreeSet<Option<Txid>> =
        conflicts.iter().map(|txid| pool.cluster(*txid).first().copied()).collect();
    if clusters.len() > CLUSTERS_MAX {
        return Err(Reason::InsufficientReplacement);
    }
    Ok(conflicts.iter().flat_map(|txid| pool.descendants(*txid)).collect())
}

/// The old fees are covered, and the relay of the new bytes is paid on top.
fn check_paid(
    pool: &Mempool,
    evicted: &BTreeSet<Txid>,
    fee: u64,
    vsize: u64,
    incremental: FeeRate,
) -> Result<(), Reason> {
    let old = evicted.iter().filter_map(|txid| pool.get(txid)).map(|entry| entry.fee);
    let old = old.fold(0_u64, u64::saturating_add);
    let needed = old.saturating_add(fees::fee_at(incremental, vsize));
    if fee < needed { Err(Reason::InsufficientReplacement) } else { Ok(()) }
}

/// What is left is worth more to miners than what was there.
fn check_diagram(
    pool: &Mempool,
    evicted: &BTreeSet<Txid>,
    candidates: &[Candidate],
) -> Result<(), Reason> {
    let parents = candidates.iter().flat_map(|candidate| &candidate.parents);
    let touched: BTreeSet<Txid> =
        evicted.iter().chain(parents).flat_map(|txid| pool.cluster(*txid)).collect();
    let old: Vec<Chunk> = Graph::of(pool, touched.iter().copied()).chunks();
    let mut graph = Graph::of(pool, touched.difference(evicted).copied());
    for candidate in candidates {
        graph.add(candidate.txid, &candidate.tx, candidate.fee, candidate.weight);
    }
    if improves(&graph.chunks(), &old) { Ok(()) } else { Err(Reason::InsufficientReplacement) }
}
