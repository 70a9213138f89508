//! Packages: one child with its parents, judged by what they pay together.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Transaction, Txid};

use crate::chain::Reason;
use crate::chain::regtest::ledger::{Ledger, Prevout};
use crate::chain::regtest::mempool::accept::Candidate;
use crate::chain::regtest::mempool::{Mempool, Policy, fees, replacement, standard, truc};

/// Most transactions in a package.
const MAX_COUNT: usize = 25;
/// Most weight of a package of several transactions.
const MAX_WEIGHT: u64 = 404_000;

impl Mempool {
    /// Takes a package: first each member alone, and then, together, those that pay too little by
    /// themselves or whose parents do.
    ///
    /// # Errors
    /// The reason of the package as a whole, or that of the last member with a reason of its own.
    /// Members that were taken alone stay.
    pub(in crate::chain::regtest) fn accept_package(
        &mut self,
        txs: &[Transaction],
        chain: &Ledger,
        policy: Policy,
    ) -> Result<(), Reason> {
        check_shape(txs)?;
        let mut refused: Vec<Reason> = Vec::new();
        let mut together: Vec<Transaction> = Vec::new();
        let mut hopeless = false;
        for tx in txs {
            if self.get(&tx.compute_txid()).is_some() {
                continue;
            }
            match self.accept(tx, chain, policy) {
                Ok(()) => {}
                Err(reason) => {
                    refused.push(reason);
                    hopeless |= txs.len() == 1 || !may_pass_together(reason);
                    together.push(tx.clone());
                }
            }
        }
        if together.is_empty() {
            return Ok(());
        }
        if hopeless {
            return Err(last_own_reason(&refused));
        }
        self.accept_together(&together, chain, policy)
    }

    fn accept_together(
        &mut self,
        txs: &[Transaction],
        chain: &Ledger,
        policy: Policy,
    ) -> Result<(), Reason> {
        if let [tx] = txs {
            return self.accept(tx, chain, policy);
        }
        let mut made = BTreeMap::new();
        let mut package: Vec<Candidate> = Vec::new();
        for tx in txs {
            let candidate = self.precheck(tx, chain, &made)?;
            if truc::check_single(self, &candidate)?.is_some() {
                // A sibling is evicted only by a transaction that comes alone.
                return Err(Reason::Truc);
            }
            for (vout, output) in (0_u32..).zip(&tx.output) {
                let height = chain.next_height();
                let prevout = Prevout { output: output.clone(), height, coinbase: false };
                made.insert(OutPoint { txid: candidate.txid, vout }, prevout);
            }
            package.push(candidate);
        }
        truc::check_package(self, &package)?;
        let fee = package.iter().fold(0_u64, |sum, member| sum.saturating_add(member.fee));
        let vsize = package.iter().fold(0_u64, |sum, member| sum.saturating_add(member.vsize()));
        fees::check(fee, vsize, policy.min_relay)?;
        let evicted = replacement::check_package(self, &package, policy.incremental)?;
        self.check_clusters(&package, &evicted)?;
        for candidate in &package {
            standard::check_dust_swept(self, &package, candidate)?;
        }
        for candidate in &package {
            policy.scripts.check(&candidate.tx, &candidate.prevouts)?;
        }
        self.admit(package, &evicted);
        Ok(())
    }
}

/// Sorted, without conflicts inside, and the last one a child of all others.
fn check_shape(txs: &[Transaction]) -> Result<(), Reason> {
    let weight = txs.iter().fold(0_u64, |sum, tx| sum.saturating_add(tx.weight().to_wu()));
    let mut later: BTreeSet<Txid> = txs.iter().map(Transaction::compute_txid).collect();
    let too_large = txs.len() > MAX_COUNT || (txs.len() > 1 && weight > MAX_WEIGHT);
    let Some((child, parents)) = txs.split_last() else { return Err(Reason::BadPackage) };
    if too_large || later.len() != txs.len() {
        return Err(Reason::BadPackage);
    }
    let spent_by_child: BTreeSet<Txid> = spent(child).map(|outpoint| outpoint.txid).collect();
    if !parents.iter().all(|parent| spent_by_child.contains(&parent.compute_txid())) {
        return Err(Reason::BadPackage);
    }
    let mut outpoints: BTreeSet<OutPoint> = BTreeSet::new();
    for tx in txs {
        if spent(tx).any(|outpoint| later.contains(&outpoint.txid)) {
            return Err(Reason::BadPackage);
        }
        later.remove(&tx.compute_txid());
        // Twice in one transaction is that transaction's own fault, and judged with it.
        let own: BTreeSet<OutPoint> = spent(tx).collect();
        if own.is_empty() || !own.is_disjoint(&outpoints) {
            return Err(Reason::BadPackage);
        }
        outpoints.extend(own);
    }
    Ok(())
}

/// Whether another member of the package can heal the refusal.
fn may_pass_together(reason: Reason) -> bool {
    matches!(reason, Reason::MinRelayFee | Reason::InsufficientReplacement | Reason::MissingInputs)
}

/// A child whose parent was refused misses its inputs; that says nothing about it.
fn last_own_reason(refused: &[Reason]) -> Reason {
    let own = refused.iter().rev().find(|reason| **reason != Reason::MissingInputs);
    own.copied().unwrap_or(Reason::MissingInputs)
}

fn spent(tx: &Transaction) -> impl Iterator<Item = OutPoint> + '_ {
    tx.input.iter().map(|input| input.previous_output)
}
