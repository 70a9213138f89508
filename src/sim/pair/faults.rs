//! What the world does to a run: power, disks, copies, reorganisations, stalls and fees.

use core::ops::ControlFlow;

use bitcoin::OutPoint;

use super::Flaw;
use super::counters::Count;
use super::stage::Pair;
use crate::sim::world::{EndId, WorldError};
use crate::store::fault::{Cut, FaultStore};
use crate::store::{Key, Store};
use crate::units::{Blocks, FeeRate, Msat};

impl Pair {
    pub(super) fn cut_link(&mut self) -> Result<(), Flaw> {
        let Some(link) = self.link.take() else { return Ok(()) };
        self.counters.count(Count::LinkCut);
        self.world.disconnect(link)?;
        self.settle()
    }

    fn either(&mut self) -> EndId {
        if self.dice.chance(500) { self.payer } else { self.payee }
    }

    pub(super) fn reboot(&mut self) -> Result<(), Flaw> {
        let end = self.either();
        let count = if end == self.payer { Count::PayerReboot } else { Count::PayeeReboot };
        self.counters.count(count);
        self.restart(end)?;
        self.settle()
    }

    /// Plans a power cut at one of the next commits.
    pub(super) fn cut_at_commit(&mut self) -> Result<(), Flaw> {
        let end = self.either();
        let ahead = self.dice.within(1, 4);
        let side = if self.dice.chance(500) { Cut::Before } else { Cut::After };
        let store = self.world.end_mut(end)?.store_mut();
        let commit = store.commits().saturating_add(ahead);
        store.cut_at(commit, side);
        let count = match side {
            Cut::Before => Count::CutBefore,
            Cut::After => Count::CutAfter,
        };
        self.counters.count(count);
        Ok(())
    }

    pub(super) fn fill_disk(&mut self) -> Result<(), Flaw> {
        let end = self.either();
        self.full_for = self.dice.within(1, 2);
        let store = self.world.end_mut(end)?.store_mut();
        let bytes = store.durable().bytes();
        store.fill_at(Some(bytes));
        Ok(())
    }

    /// One bit of a stored record flips while the machine is off: it refuses to start, until the
    /// record is restored from a copy.
    pub(super) fn rot(&mut self) -> Result<(), Flaw> {
        let end = self.either();
        let seed = self.dice.below(1 << 20);
        let store = self.world.end_mut(end)?.store_mut();
        let Some((key, length)) = some_record(store, seed)? else { return Ok(()) };
        let at = usize::try_from(self.dice.below(length)).unwrap_or(0);
        let mask = 1_u8.wrapping_shl(u32::try_from(self.dice.below(8)).unwrap_or(0));
        self.link = None;
        let store = self.world.end_mut(end)?.store_mut();
        store.cut();
        store.restart(usize::MAX);
        store.rot(&key, at, mask);
        if self.world.reboot(end).is_ok() {
            return Err(Flaw::RotUnnoticed);
        }
        self.world.end_mut(end)?.store_mut().rot(&key, at, mask);
        let count = if end == self.payer { Count::PayerRot } else { Count::PayeeRot };
        self.counters.count(count);
        self.restart(end)?;
        self.settle()
    }

    /// A machine comes back from a copy of its store that is a few payments old.
    ///
    /// The payer's costs nothing: the payee shows what was signed. The payee's may cost what was
    /// paid since, which the payer signs again if it is still there. No promise can cover a disk
    /// that goes back behind a barrier that had returned, so what was acknowledged since the copy
    /// is forgiven, to the millisatoshi and no more: whatever the payee acknowledges from then on,
    /// the same amounts again included, counts anew.
    pub(super) fn old_store(&mut self) -> Result<(), Flaw> {
        let end = self.either();
        let copy = self.world.end_mut(end)?.store_mut().durable().clone();
        for _ in 0..self.dice.within(1, 3) {
            self.pay()?;
        }
        self.forgive_since(end, &copy)?;
        let before = self.sold();
        *self.world.end_mut(end)?.store_mut() = FaultStore::new(copy);
        self.link = None;
        self.world.reboot(end)?;
        // What its session had counted as paid since the copy is owed again, and no more than that.
        let forgotten = before.saturating_sub(self.sold());
        self.metered.credit = self.metered.credit.saturating_add(forgotten);
        let count = if end == self.payer { Count::OldPayer } else { Count::OldPayee };
        self.counters.count(count);
        self.started_again(end)?;
        self.settle()
    }

    /// What the seller's session counts as paid.
    fn sold(&self) -> Msat {
        let session = self.metered.now;
        let node = self.world.end(self.payee).map(crate::sim::world::Endpoint::node);
        let meter = node.and_then(|node| session.and_then(|session| node.session(session)));
        meter.map_or(Msat::ZERO, |meter| meter.record().paid())
    }

    fn forgive_since(&mut self, end: EndId, copy: &crate::store::MemoryStore) -> Result<(), Flaw> {
        if end != self.payee {
            return Ok(());
        }
        for outpoint in self.channels.keys().copied().collect::<Vec<_>>() {
            let key = crate::stream::payee::PayeeRecord::key_of(outpoint)
                .map_err(crate::node::NodeError::from)?;
            let stored = copy.get(&key).map_err(crate::node::NodeError::from)?;
            let Some(bytes) = stored else {
                self.observer.seen().forgive(outpoint, Msat::ZERO);
                continue;
            };
            let record = crate::stream::payee::PayeeRecord::decode(&key, &bytes)
                .map_err(crate::node::NodeError::from)?;
            self.observer.seen().forgive(outpoint, record.paid());
        }
        Ok(())
    }

    /// Another branch wins, shallower than what counts as buried.
    pub(super) fn reorg(&mut self) -> Result<(), Flaw> {
        let most = self.terms.confirmation_depth.to_u32().saturating_sub(1);
        let depth = u32::try_from(self.dice.within(1, u64::from(most))).unwrap_or(1);
        let before = self.confirmations();
        let branch = vec![Vec::new(); usize::try_from(depth).unwrap_or(1).saturating_add(1)];
        let depth = Blocks::new(depth)?;
        let outcome = self.world.chain().with(|chain| chain.reorg(depth, &branch));
        outcome.map_err(|_| Flaw::Wedged { what: "a reorg of the simulator" })?;
        let after = self.confirmations();
        for ((funded, spent), (funded_now, spent_now)) in before.into_iter().zip(after) {
            if funded && !funded_now {
                self.counters.count(Count::FundingReorg);
            }
            if spent && !spent_now {
                self.counters.count(Count::SpendReorg);
            }
        }
        self.settle()
    }

    /// For each channel: whether its output, and whether its spend is in a block.
    fn confirmations(&self) -> Vec<(bool, bool)> {
        self.world.chain().with(|chain| {
            let status = |outpoint: &OutPoint| chain.output(*outpoint);
            self.channels
                .keys()
                .map(|outpoint| match status(outpoint) {
                    Some(status) => (
                        status.confirmed.is_some(),
                        status.spent.is_some_and(|spend| spend.confirmed.is_some()),
                    ),
                    None => (false, false),
                })
                .collect()
        })
    }

    /// A machine does not see the chain for a block or two, or for hours.
    pub(super) fn stall(&mut self) -> Result<(), Flaw> {
        let end = self.either();
        self.counters.count(Count::Stall);
        self.world.end_mut(end)?.source_mut().set_cut_off(true);
        let blocks = self.dice.within(0, 2);
        self.mine(u32::try_from(blocks).unwrap_or(0))?;
        let seconds = if self.dice.chance(500) { 10_000 } else { 10 };
        self.pass(seconds)?;
        self.pay()?;
        self.tick()?;
        self.world.end_mut(end)?.source_mut().set_cut_off(false);
        self.settle()?;
        // The next block brings the tip's time up again.
        self.mine_late()
    }

    /// A block whose time is now.
    pub(super) fn mine_late(&mut self) -> Result<(), Flaw> {
        let time = self.world.now().time;
        let mined = self.world.chain().with(|chain| chain.mine_at(time).is_ok());
        if mined { self.settle() } else { self.mine(1) }
    }

    /// Miners want more than yesterday, for one or two blocks.
    pub(super) fn spike(&mut self) -> Result<(), Flaw> {
        self.counters.count(Count::Spike);
        let rate = FeeRate::new(self.dice.within(2_000, 20_000))?;
        self.rate_most = self.rate_most.max(rate);
        let surprise = self.dice.chance(500);
        self.world.chain().with(|chain| {
            chain.set_mining_rate(rate);
            if !surprise {
                chain.set_fee_rate(rate);
            }
        });
        self.settle_some(1_000)?;
        let blocks = self.dice.within(1, 2);
        self.mine(u32::try_from(blocks).unwrap_or(1))?;
        self.world.chain().with(|chain| {
            chain.set_mining_rate(FeeRate::MIN);
            chain.set_fee_rate(FeeRate::MIN);
        });
        Ok(())
    }
}

/// A record of the store by lot: its key, and its length.
fn some_record(store: &FaultStore, seed: u64) -> Result<Option<(Key, u64)>, Flaw> {
    let mut keys = Vec::new();
    let scanned = store.scan(&[], &mut |key, value| {
        // The node never reads a backup: its owner does.
        if !key.as_bytes().starts_with(&[0x01, 0x02]) {
            keys.push((*key, u64::try_from(value.len()).unwrap_or(0)));
        }
        ControlFlow::Continue(())
    });
    scanned.map_err(|error| WorldError::from(crate::node::NodeError::from(error)))?;
    let count = u64::try_from(keys.len()).unwrap_or(0);
    let at = usize::try_from(seed.checked_rem(count).unwrap_or(0)).unwrap_or(0);
    Ok(keys.get(at).copied())
}
