//! At the end: what the chain gave to whom, against what left the payer and what was acknowledged.

use std::collections::BTreeMap;

use bitcoin::{OutPoint, Transaction, Txid};

use super::Flaw;
use super::counters::Count;
use super::ending::WORTH_SPENDING;
use super::stage::Pair;
use crate::sim::world::Endpoint;
use crate::stream::SpendKind;
use crate::tx::{ChangeScript, Channel, dust_limit};
use crate::units::{FeeRate, Msat, Sat};

/// Weight units of a settlement of one channel, and of the child that a payer can hang on a
/// wallet's change to make replacing it dear, as `stream` counts them.
const ALONE_WEIGHT: u64 = 817;
const PINNING_WEIGHT: u64 = 4_000;
/// The most that a payer offers for a close, and an output below dust that goes to the miner.
const CLOSE_FEE_MOST: u64 = 500 + 330;

/// What an outpoint started with: debt that a rollover or a top-up carried in.
///
/// A top-up that carries is one transaction whatever its whole satoshis are, so that the payer can
/// propose the same one again when more is paid. What moves with it is what the payee held the
/// first voucher of when it signed, and only before that what the payer last proposed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Started {
    heard: Option<Msat>,
    agreed: Option<Msat>,
}

impl Started {
    /// A side knows the outpoint.
    pub(super) fn heard(&mut self, start: Msat) {
        self.heard = Some(start).max(self.heard);
    }

    /// The payee, which signed the top-up, holds this much of it. A payee that has lost its store
    /// since, and is shown the channel again, takes all of it for new: that changes nothing.
    fn agreed(&mut self, start: Msat) {
        self.agreed = Some(start).max(self.agreed);
    }

    fn with(self) -> Msat {
        self.agreed.or(self.heard).unwrap_or(Msat::ZERO)
    }
}

/// A confirmed spend of one channel or more.
struct Spent {
    tx: Transaction,
    parts: Vec<(Channel, SpendKind)>,
}

impl Pair {
    /// What became of each outpoint on the chain, against what was acknowledged and signed there.
    pub(super) fn make_up_accounts(&mut self) -> Result<(), Flaw> {
        let spends = self.spends();
        for spent in spends.values() {
            self.audit(spent)?;
            self.count_spend(spent);
        }
        let (mut realised, mut flaw) = (Msat::ZERO, None);
        for (outpoint, channel) in self.channels.clone() {
            let kind = self.spend_of(&channel).map(|(_, kind)| kind);
            let start = self.started_with(outpoint);
            let (signed, acked, credit) = {
                let seen = self.observer.seen();
                let (signed, acked) = (seen.signed(outpoint), seen.acked_from(outpoint, start));
                (signed.max(start), acked, seen.credit(outpoint))
            };
            let cheap = self.not_worth_it(&channel)?;
            // What an outpoint that never came to be started with was not moved there either.
            let exists = self.world.chain().with(|chain| chain.output(outpoint)).is_some();
            let (got, allowed) = match kind {
                Some(SpendKind::Settlement { paid, .. }) => (paid, credit),
                Some(SpendKind::Joint { .. }) => {
                    (self.joint_at(&channel).unwrap_or(Msat::ZERO), credit)
                }
                // Simulated pairs hold nothing: the audit refused it.
                Some(SpendKind::HoldSettlement { .. }) => (Msat::ZERO, Msat::ZERO),
                Some(SpendKind::Refund) => (Msat::ZERO, cheap),
                None if !exists => (start, credit),
                // Nobody can take it by any transaction that is relayed.
                None if channel.capacity().to_sat() < WORTH_SPENDING => (Msat::ZERO, Msat::MAX),
                None => return Err(Flaw::Wedged { what: "an output that nobody spent" }),
            };
            if got > signed {
                return Err(Flaw::NotSigned { outpoint, signed, paid: got });
            }
            realised = realised.saturating_add(got.saturating_sub(start));
            let lost = acked.saturating_sub(got);
            if lost > allowed {
                self.lost = self.lost.saturating_add(lost.saturating_sub(allowed));
                flaw = flaw.or(Some(Flaw::LostMoney { outpoint, lost, allowed }));
            }
        }
        flaw.map_or_else(|| self.check_overpaid(realised), Err)
    }

    fn started_with(&self, outpoint: OutPoint) -> Msat {
        self.started.get(&outpoint).copied().unwrap_or_default().with()
    }

    /// What the payee's signatures on top-ups have made.
    pub(super) fn note_agreed(&mut self) {
        let Some(node) = self.world.end(self.payee).map(Endpoint::node) else { return };
        let seen = self.observer.seen();
        for payee in node.payees().filter(|payee| seen.has_agreed(payee.outpoint())) {
            self.started.entry(payee.outpoint()).or_default().agreed(payee.start());
        }
    }

    /// The confirmed spend of a channel.
    fn spend_of(&self, channel: &Channel) -> Option<(Transaction, SpendKind)> {
        let status = self.world.chain().with(|chain| chain.output(channel.outpoint()));
        let spend = status?.spent.filter(|spend| spend.confirmed.is_some())?;
        let kind = SpendKind::of(channel, &spend.tx)?;
        Some((spend.tx, kind))
    }

    fn spends(&self) -> BTreeMap<Txid, Spent> {
        let mut spends: BTreeMap<Txid, Spent> = BTreeMap::new();
        for channel in self.channels.values() {
            let Some((tx, kind)) = self.spend_of(channel) else { continue };
            let spent = spends.entry(tx.compute_txid());
            let spent = spent.or_insert_with(|| Spent { tx, parts: Vec::new() });
            spent.parts.push((channel.clone(), kind));
        }
        spends
    }

    /// P1 and P6 on the chain: every settlement states a voucher that left the payer, each owner
    /// gets to the satoshi what was stated, and the fee is one that its payer agreed to.
    fn audit(&mut self, spent: &Spent) -> Result<(), Flaw> {
        let Some((first, kind)) = spent.parts.first() else { return Ok(()) };
        let outpoint = first.outpoint();
        let ins = spent.parts.iter().map(|(channel, _)| channel.capacity());
        let ins = ins.fold(Sat::ZERO, Sat::saturating_add);
        let mut due = Sat::ZERO;
        for (channel, kind) in &spent.parts {
            let SpendKind::Settlement { paid, .. } = *kind else { continue };
            let outpoint = channel.outpoint();
            let seen = self.observer.seen();
            if !seen.has_stated(outpoint, paid) {
                return Err(Flaw::NotSigned { outpoint, signed: seen.signed(outpoint), paid });
            }
            due = due.saturating_add(paid.floor_to_sat());
        }
        let (payees, others) = self.sums(spent);
        let fee_most = self.rate_most.ceil_fee(spent.tx.weight().to_wu()).unwrap_or(Sat::MAX);
        let (got, want) = (payees, due);
        let right = match kind {
            // Change to the satoshi, and a fee out of the payee's part alone.
            SpendKind::Settlement { .. } => {
                let fee = want.checked_sub(got);
                fee.is_some_and(|fee| fee <= fee_most) && others == ins.saturating_sub(want)
            }
            SpendKind::Joint { top_up, .. } => {
                let fee = ins.checked_sub(payees.saturating_add(others));
                let cheap = fee.is_none_or(|fee| fee <= Sat::new(CLOSE_FEE_MOST).unwrap_or(fee));
                self.joint_at(first).is_some() && (top_up.is_some() || cheap)
            }
            SpendKind::HoldSettlement { .. } => false,
            SpendKind::Refund => {
                let fee = ins.checked_sub(others);
                got == Sat::ZERO && fee.is_some_and(|fee| fee <= fee_most)
            }
        };
        if !right {
            return Err(Flaw::Unbalanced { outpoint, got, want });
        }
        self.counters.count(Count::Audited);
        Ok(())
    }

    /// What a spend pays to the payee, and to everybody else.
    fn sums(&self, spent: &Spent) -> (Sat, Sat) {
        let (mut payees, mut others) = (Sat::ZERO, Sat::ZERO);
        for output in &spent.tx.output {
            let value = Sat::new(output.value.to_sat()).unwrap_or(Sat::MAX);
            let own = output.script_pubkey == self.wallet
                || spent.parts.iter().any(|(channel, _)| match channel.change() {
                    ChangeScript::Wallet(change) => *change.as_script() == *output.script_pubkey,
                    ChangeScript::Own => *channel.output().script() == output.script_pubkey,
                })
                || spent
                    .parts
                    .iter()
                    .any(|(channel, _)| *channel.output().script() == output.script_pubkey);
            let sum = if own { &mut others } else { &mut payees };
            *sum = sum.saturating_add(value);
        }
        (payees, others)
    }

    /// The amount at which a close or a top-up ended its channel: one that the payer proposed, of
    /// which the payee got the whole satoshis, or what the channel that goes on started with.
    fn joint_at(&self, channel: &Channel) -> Option<Msat> {
        let (tx, kind) = self.spend_of(channel)?;
        let SpendKind::Joint { rest, top_up } = kind else { return None };
        let outputs = tx.output.len();
        let (paid, _) = self.sums(&Spent { tx, parts: vec![(channel.clone(), kind)] });
        let carried = top_up.map(|(next, _)| self.started_with(next));
        let dust = dust_limit(channel.output().script());
        let seen = self.observer.seen();
        let mut proposed = seen.proposed(channel.outpoint());
        proposed.find(|stated| {
            let whole = stated.floor_to_sat();
            let given_up = top_up.is_none() && paid == Sat::ZERO && whole < dust;
            let moved = outputs == 1 && carried == Some(*stated);
            stated.sub_sat() == rest.sub_sat() && (paid == whole || given_up || moved)
        })
    }

    /// Counts how a buried spend ended its channels.
    fn count_spend(&mut self, spent: &Spent) {
        if spent.parts.len() > 1 {
            self.counters.count(Count::Batch);
        }
        for (_, kind) in &spent.parts {
            let count = match kind {
                SpendKind::Settlement { .. } | SpendKind::HoldSettlement { .. } => Count::Settled,
                SpendKind::Refund => Count::Refunded,
                SpendKind::Joint { top_up: None, .. } => Count::Closed,
                SpendKind::Joint { .. } if spent.tx.output.len() > 1 => Count::PaidOut,
                SpendKind::Joint { top_up: Some((next, _)), .. } => {
                    let start = self.started_with(*next);
                    // Of a channel that nothing was paid on nobody can tell which it was.
                    if start.floor_to_sat() == Sat::ZERO {
                        continue;
                    }
                    Count::Carried
                }
            };
            self.counters.count(count);
        }
    }

    /// A balance below this was not worth settling at the highest rate so far.
    fn not_worth_it(&self, channel: &Channel) -> Result<Msat, Flaw> {
        let rate = self.rate_most.max(FeeRate::new(1_000)?);
        let pinning = match channel.change() {
            ChangeScript::Own => 0,
            ChangeScript::Wallet(_) => PINNING_WEIGHT,
        };
        let cost = rate.ceil_fee(ALONE_WEIGHT.saturating_add(pinning)).unwrap_or(Sat::MAX);
        let least = cost.saturating_add(dust_limit(channel.output().script()));
        Ok(least.saturating_add(Sat::new(1)?).to_msat())
    }
}
