//! The way of one transaction into the mempool: the checks in the order of Bitcoin Core's own.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Transaction, Txid};

use crate::chain::Reason;
use crate::chain::regtest::consensus;
use crate::chain::regtest::ledger::{Ledger, Prevout};
use crate::chain::regtest::locks;
use crate::chain::regtest::mempool::{Mempool, Policy, fees, replacement, standard, truc};

/// Most transactions that may hang together unconfirmed.
const CLUSTER_COUNT_MAX: usize = 64;
/// Most weight of such a cluster: 101,000 vB.
const CLUSTER_WEIGHT_MAX: u64 = 404_000;

/// A transaction that passed the checks which need neither its fee rate nor its rivals.
pub(super) struct Candidate {
    pub(super) tx: Transaction,
    pub(super) txid: Txid,
    pub(super) prevouts: Vec<Prevout>,
    /// In satoshis.
    pub(super) fee: u64,
    /// Weight units, raised for many signature operations.
    pub(super) weight: u64,
    /// Entries that spend what it spends, and the sibling that it evicts.
    pub(super) conflicts: BTreeSet<Txid>,
    /// Entries that it spends outputs of.
    pub(super) parents: BTreeSet<Txid>,
}

impl Candidate {
    pub(super) fn vsize(&self) -> u64 {
        fees::vsize(self.weight)
    }
}

impl Mempool {
    /// Takes one transaction, replacing what it conflicts with if it pays for that.
    ///
    /// # Errors
    /// The class of the first rule that it breaks; the mempool is then as it was.
    pub(in crate::chain::regtest) fn accept(
        &mut self,
        tx: &Transaction,
        chain: &Ledger,
        policy: Policy,
    ) -> Result<(), Reason> {
        let mut candidate = self.precheck(tx, chain, &BTreeMap::new())?;
        fees::check(candidate.fee, candidate.vsize(), policy.min_relay)?;
        if let Some(sibling) = truc::check_single(self, &candidate)? {
            candidate.conflicts.insert(sibling);
        }
        let evicted = replacement::check_single(self, &candidate, policy.incremental)?;
        self.check_clusters(core::slice::from_ref(&candidate), &evicted)?;
        self.check_not_own_ancestor(&candidate)?;
        standard::check_dust_swept(self, &[], &candidate)?;
        policy.scripts.check(&candidate.tx, &candidate.prevouts)?;
        self.admit(vec![candidate], &evicted);
        Ok(())
    }

    /// Takes back what a reorganisation freed: no fees, topology or scripts are judged again.
    pub(super) fn accept_after_reorg(
        &mut self,
        tx: &Transaction,
        chain: &Ledger,
    ) -> Result<(), Reason> {
        let candidate = self.precheck(tx, chain, &BTreeMap::new())?;
        if !candidate.conflicts.is_empty() {
            return Err(Reason::InsufficientReplacement);
        }
        self.admit(vec![candidate], &BTreeSet::new());
        Ok(())
    }

    /// The checks of a transaction by itself: shape, standardness, locks, inputs, amounts, dust.
    pub(super) fn precheck(
        &self,
        tx: &Transaction,
        chain: &Ledger,
        made: &BTreeMap<OutPoint, Prevout>,
    ) -> Result<Candidate, Reason> {
        let height = chain.next_height();
        let median_time = chain.median_time_past(chain.tip().height);
        consensus::check_transaction(tx)?;
        if tx.is_coinbase() {
            return Err(Reason::Malformed);
        }
        standard::check_transaction(tx)?;
        if !locks::is_final(tx, height, median_time) {
            return Err(Reason::NotFinal);
        }
        let txid = tx.compute_txid();
        if self.get(&txid).is_some() {
            return Err(Reason::AlreadyKnown);
        }
        let prevouts = self.prevouts(tx, txid, chain, made)?;
        if !locks::sequence_locks_passed(tx, &prevouts, chain, height) {
            return Err(Reason::NotFinal);
        }
        let fee = consensus::check_amounts(tx, &prevouts, height)?.to_sat();
        let (weight, sigop_cost) = fees::weight_and_sigops(tx, &prevouts);
        standard::check_inputs(tx, &prevouts, sigop_cost)?;
        standard::check_dust_fee(tx, fee)?;
        let spenders = tx.input.iter().filter_map(|input| self.spender(&input.previous_output));
        Ok(Candidate {
            conflicts: spenders.collect(),
            parents: self.parents(tx),
            tx: tx.clone(),
            txid,
            prevouts,
            fee,
            weight,
        })
    }

    /// What the inputs spend: in the chain, in the mempool (spent there or not), in the package.
    fn prevouts(
        &self,
        tx: &Transaction,
        txid: Txid,
        chain: &Ledger,
        made: &BTreeMap<OutPoint, Prevout>,
    ) -> Result<Vec<Prevout>, Reason> {
        let height = chain.next_height();
        let found = |outpoint: &OutPoint| {
            let unconfirmed = || {
                let entry = self.get(&outpoint.txid)?;
                let output = entry.tx.output.get(usize::try_from(outpoint.vout).ok()?)?.clone();
                Some(Prevout { output, height, coinbase: false })
            };
            let in_chain = || chain.unspent(outpoint).cloned();
            made.get(outpoint).cloned().or_else(unconfirmed).or_else(in_chain)
        };
        let prevouts: Option<Vec<Prevout>> =
            tx.input.iter().map(|input| found(&input.previous_output)).collect();
        let confirmed = || {
            (0_u32..)
                .zip(&tx.output)
                .any(|(vout, _)| chain.unspent(&OutPoint { txid, vout }).is_some())
        };
        prevouts.ok_or_else(
            || {
                if confirmed() { Reason::AlreadyKnown } else { Reason::MissingInputs }
            },
        )
    }

    /// Checks the size of the clusters that the candidates would make.
    pub(super) fn check_clusters(
        &self,
        candidates: &[Candidate],
        evicted: &BTreeSet<Txid>,
    ) -> Result<(), Reason> {
        let parents = candidates.iter().flat_map(|candidate| &candidate.parents);
        let mut around: BTreeSet<Txid> = parents.flat_map(|txid| self.cluster(*txid)).collect();
        around.retain(|txid| !evicted.contains(txid));
        let old = around.iter().filter_map(|txid| self.get(txid)).map(|entry| entry.weight);
        let weight = old
            .chain(candidates.iter().map(|candidate| candidate.weight))
            .fold(0_u64, u64::saturating_add);
        let count = around.len().saturating_add(candidates.len());
        if count > CLUSTER_COUNT_MAX || weight > CLUSTER_WEIGHT_MAX {
            return Err(Reason::ClusterLimit);
        }
        Ok(())
    }

    /// A transaction cannot replace what it spends an output of.
    fn check_not_own_ancestor(&self, candidate: &Candidate) -> Result<(), Reason> {
        let ancestors = candidate.parents.iter().flat_map(|txid| self.ancestors(*txid));
        let mut overlap = ancestors.filter(|txid| candidate.conflicts.contains(txid));
        if overlap.next().is_some() { Err(Reason::InsufficientReplacement) } else { Ok(()) }
    }

    /// Removes the evicted, then adds the candidates, parents first.
    pub(super) fn admit(&mut self, candidates: Vec<Candidate>, evicted: &BTreeSet<Txid>) {
        for txid in evicted {
            self.remove_one(*txid);
        }
        for Candidate { txid, tx, fee, weight, .. } in candidates {
            self.insert(txid, tx, fee, weight);
        }
    }
}
