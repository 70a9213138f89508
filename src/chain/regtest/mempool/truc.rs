//! Version 3 (BIP431): topologically restricted until confirmation.
//!
//! An unconfirmed version-3 transaction has at most one unconfirmed parent and one unconfirmed
//! child; it is at most 10,000 vB large, and 1,000 vB if it has an unconfirmed parent; and
//! unconfirmed, version 3 spends only version 3 and is spent only by version 3. So nobody can pin
//! it with a large or long tail of descendants.

use std::collections::BTreeSet;

use bitcoin::{Transaction, Txid};

use crate::chain::Reason;
use crate::chain::regtest::ledger::is_truc;
use crate::chain::regtest::mempool::Mempool;
use crate::chain::regtest::mempool::accept::Candidate;

const MAX_VSIZE: u64 = 10_000;
const MAX_CHILD_VSIZE: u64 = 1_000;

/// Checks a transaction that comes alone.
///
/// Returns the sibling that it may evict: the only other child of its parent.
pub(super) fn check_single(pool: &Mempool, candidate: &Candidate) -> Result<Option<Txid>, Reason> {
    check_versions(pool, candidate)?;
    if !is_truc(&candidate.tx) {
        return Ok(None);
    }
    if candidate.vsize() > MAX_VSIZE || candidate.parents.len() > 1 {
        return Err(Reason::Truc);
    }
    let Some(parent) = candidate.parents.first() else { return Ok(None) };
    if pool.ancestors(*parent).len() > 1 || candidate.vsize() > MAX_CHILD_VSIZE {
        return Err(Reason::Truc);
    }
    let mut siblings = pool.descendants(*parent);
    siblings.remove(parent);
    let replaces_one = siblings.iter().any(|sibling| candidate.conflicts.contains(sibling));
    match siblings.first() {
        Some(sibling) if !replaces_one => {
            let alone = siblings.len() == 1 && pool.ancestors(*sibling).len() == 2;
            if alone { Ok(Some(*sibling)) } else { Err(Reason::Truc) }
        }
        _ => Ok(None),
    }
}

/// Checks the members of a package against each other and the mempool; nothing is evicted here.
pub(super) fn check_package(pool: &Mempool, package: &[Candidate]) -> Result<(), Reason> {
    let txids: BTreeSet<Txid> = package.iter().map(|candidate| candidate.txid).collect();
    for candidate in package {
        check_versions(pool, candidate)?;
        let inside: BTreeSet<Txid> =
            spent_ids(&candidate.tx).filter(|txid| txids.contains(txid)).collect();
        let parent_of = |txid: &Txid| package.iter().find(|other| other.txid == *txid);
        let mixed = inside
            .iter()
            .filter_map(parent_of)
            .any(|parent| is_truc(&parent.tx) != is_truc(&candidate.tx));
        if mixed {
            return Err(Reason::Truc);
        }
        if is_truc(&candidate.tx) {
            check_truc_member(pool, package, candidate, &inside)?;
        }
    }
    Ok(())
}

fn check_truc_member(
    pool: &Mempool,
    package: &[Candidate],
    candidate: &Candidate,
    inside: &BTreeSet<Txid>,
) -> Result<(), Reason> {
    let parents: BTreeSet<Txid> = candidate.parents.union(inside).copied().collect();
    if candidate.vsize() > MAX_VSIZE || parents.len() > 1 {
        return Err(Reason::Truc);
    }
    let Some(parent) = parents.first() else { return Ok(()) };
    let grandparents = pool.ancestors(*parent).len() > 1;
    let others = package.iter().filter(|other| other.txid != candidate.txid);
    let family = others
        .flat_map(|other| spent_ids(&other.tx))
        .any(|txid| txid == *parent || txid == candidate.txid);
    let has_child = !pool.children(*parent).is_empty();
    if grandparents || candidate.vsize() > MAX_CHILD_VSIZE || family || has_child {
        return Err(Reason::Truc);
    }
    Ok(())
}

/// Version 3 and others do not mix among the unconfirmed.
fn check_versions(pool: &Mempool, candidate: &Candidate) -> Result<(), Reason> {
    let mixed = candidate
        .parents
        .iter()
        .filter_map(|parent| pool.get(parent))
        .any(|parent| is_truc(&parent.tx) != is_truc(&candidate.tx));
    if mixed { Err(Reason::Truc) } else { Ok(()) }
}

fn spent_ids(tx: &Transaction) -> impl Iterator<Item = Txid> + '_ {
    tx.input.iter().map(|input| input.previous_output.txid)
}
