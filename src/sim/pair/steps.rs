//! The steps of a run: what the owners do, and what the world does to them.

use core::ops::ControlFlow;

use bitcoin::OutPoint;

use super::Flaw;
use super::counters::Count;
use super::stage::{BY_HAND, Pair, QUANTITY_MOST, tariff};
use crate::keys::Context;
use crate::meter::{State, Window};
use crate::node::Command;
use crate::sim::world::{EndId, WorldError};
use crate::store::fault::{Cut, FaultStore};
use crate::store::{Key, Store};
use crate::stream::payer::{Ending, PayerPhase};
use crate::stream::{Payee, Payer};
use crate::tx::payee_script;
use crate::units::{Blocks, FeeRate, Msat, Ppm, Quantity, Sat, Seconds, SessionId};

/// What can happen in a run, with its weight.
const STEPS: &[(Step, u64)] = &[
    (Step::Pay, 200),
    (Step::Tick, 300),
    (Step::Start, 60),
    (Step::Finish, 20),
    (Step::Mine, 90),
    (Step::Pass, 60),
    (Step::CutLink, 40),
    (Step::Reboot, 40),
    (Step::CutAtCommit, 60),
    (Step::FillDisk, 20),
    (Step::Rot, 20),
    (Step::OldStore, 20),
    (Step::Reorg, 40),
    (Step::Stall, 20),
    (Step::Spike, 20),
    (Step::Settle, 25),
    (Step::Replace, 20),
    (Step::Close, 8),
];

#[derive(Debug, Clone, Copy)]
enum Step {
    Pay,
    Tick,
    Start,
    Finish,
    Mine,
    Pass,
    CutLink,
    Reboot,
    CutAtCommit,
    FillDisk,
    Rot,
    OldStore,
    Reorg,
    Stall,
    Spike,
    Settle,
    Replace,
    Close,
}

impl Step {
    const fn is_fault(self) -> bool {
        match self {
            Self::Pay
            | Self::Tick
            | Self::Start
            | Self::Finish
            | Self::Mine
            | Self::Pass
            | Self::Settle
            | Self::Replace
            | Self::Close => false,
            Self::CutLink
            | Self::Reboot
            | Self::CutAtCommit
            | Self::FillDisk
            | Self::Rot
            | Self::OldStore
            | Self::Reorg
            | Self::Stall
            | Self::Spike => true,
        }
    }
}

impl Pair {
    pub(super) fn one_step(
        &mut self,
        faults: bool,
        tell: &mut dyn FnMut(&dyn core::fmt::Display),
    ) -> Result<(), Flaw> {
        let total = STEPS.iter().map(|(_, weight)| *weight).fold(0, u64::saturating_add);
        let mut drawn = self.dice.below(total);
        let mut step = Step::Pay;
        for (one, weight) in STEPS {
            step = *one;
            match drawn.checked_sub(*weight) {
                Some(rest) => drawn = rest,
                None => break,
            }
        }
        if !faults && step.is_fault() {
            step = Step::Tick;
        }
        tell(&format_args!("{} {step:?}", self.step));
        match step {
            Step::Pay => self.pay(),
            Step::Tick => self.tick(),
            Step::Start => self.start_session(),
            Step::Finish => self.end_session(),
            Step::Mine => {
                let blocks = self.dice.within(1, 3);
                self.mine(u32::try_from(blocks).unwrap_or(1))
            }
            Step::Pass => {
                let seconds = self.dice.within(5, 30);
                self.pass(seconds)
            }
            Step::CutLink => self.cut_link(),
            Step::Reboot => self.reboot(),
            Step::CutAtCommit => self.cut_at_commit(),
            Step::FillDisk => self.fill_disk(),
            Step::Rot => self.rot(),
            Step::OldStore => self.old_store(),
            Step::Reorg => self.reorg(),
            Step::Stall => self.stall(),
            Step::Spike => self.spike(),
            Step::Settle => self.settle_some(1_000),
            Step::Replace => self.replace(),
            Step::Close => self.close(),
        }
    }

    /// The channel that the payer pays on: unspent on the chain, and open.
    pub(super) fn current(&self) -> Option<OutPoint> {
        let open = |payer: &&Payer| {
            matches!(
                payer.phase(),
                PayerPhase::Open | PayerPhase::Unsure | PayerPhase::Leaving { .. }
            )
        };
        let node = self.world.end(self.payer)?.node();
        node.payers().filter(open).map(Payer::outpoint).find(|outpoint| {
            let status = self.world.chain().with(|chain| chain.output(*outpoint));
            status.is_some_and(|status| status.spent.is_none())
        })
    }

    pub(super) fn payer_of(&self, outpoint: OutPoint) -> Option<&Payer> {
        self.world.end(self.payer)?.node().payer(outpoint)
    }

    pub(super) fn payee_of(&self, outpoint: OutPoint) -> Option<&Payee> {
        self.world.end(self.payee)?.node().payee(outpoint)
    }

    fn pay(&mut self) -> Result<(), Flaw> {
        let Some(outpoint) = self.current() else { return Ok(()) };
        let most = if self.dice.chance(500) { 3_000 } else { 3_000_000 };
        let mut more = Msat::new(self.dice.within(1, most))?;
        let mut ending = Ending::KeepsChange;
        // Now and then everything that is left, the dust rest included.
        if self.dice.chance(20)
            && let Some(payer) = self.payer_of(outpoint)
        {
            more = payer.channel().capacity().to_msat().saturating_sub(payer.signed());
            ending = Ending::GivesUpChange;
        }
        self.pay_more(outpoint, more, ending).map(|_| ())
    }

    pub(super) fn pay_more(
        &mut self,
        outpoint: OutPoint,
        more: Msat,
        ending: Ending,
    ) -> Result<bool, Flaw> {
        let session = SessionId::new(BY_HAND)?;
        let before = self.told;
        self.told = self.told.saturating_add(more);
        let command = Command::Pay { outpoint, more, session, ending };
        let paid = self.command(self.payer, command)?;
        if !paid {
            self.told = before;
        }
        Ok(paid)
    }

    /// A second of service: delivered while the seller's session is active.
    pub(super) fn tick(&mut self) -> Result<(), Flaw> {
        self.pass(1)?;
        let Some(session) = self.metered.now else { return Ok(()) };
        let state = |end: Option<&crate::sim::world::Endpoint>| {
            end.and_then(|end| end.node().session(session)).map(|meter| meter.record().state())
        };
        let (seller, buyer) =
            (state(self.world.end(self.payee)), state(self.world.end(self.payer)));
        // One side has lost a session that was never durable there: both start anew.
        let over = |state| matches!(state, None | Some(State::Ended));
        if over(seller) && over(buyer) {
            self.metered.now = None;
            return Ok(());
        }
        // A seller that was off reads its meter before it delivers again.
        let total = Quantity::new(self.metered.total)?;
        self.command(self.payee, Command::Meter { session, total })?;
        if state(self.world.end(self.payee)) != Some(State::Active) {
            return Ok(());
        }
        let quantity = self.dice.within(1, QUANTITY_MOST);
        let cost = Msat::new(quantity.saturating_mul(25).div_euclid(2).saturating_add(1))?;
        self.metered.total = self.metered.total.saturating_add(quantity);
        self.metered.owed = self.metered.owed.saturating_add(cost);
        self.metered.tick_most = self.metered.tick_most.max(cost);
        let total = Quantity::new(self.metered.total)?;
        for end in [self.payer, self.payee] {
            self.command(end, Command::Meter { session, total })?;
        }
        self.counters.count(Count::Tick);
        Ok(())
    }

    fn start_session(&mut self) -> Result<(), Flaw> {
        let (Some(link), None) = (self.link, self.metered.now) else { return Ok(()) };
        let Some(outpoint) = self.current() else { return Ok(()) };
        let session = SessionId::new(self.metered.next)?;
        self.metered.next = self.metered.next.saturating_add(1);
        let credit = Msat::new(self.dice.within(100_000, 3_000_000))?;
        let window = Window { credit, prepay: Msat::ZERO };
        let (skew, tolerance) = (Seconds::new(30)?, Ppm::new(0)?);
        let offer =
            Command::OfferSession { link, session, tariff: tariff()?, window, skew, tolerance };
        self.command(self.payee, offer)?;
        // The buyer looks at what it is offered: a changed message may ask for anything.
        let buyer = self.world.end(self.payer).ok_or(WorldError::NoSuchEnd)?;
        let offered = buyer.node().offer(link, session).map(|meter| meter.record().window());
        if offered != Some(window) {
            return Ok(());
        }
        let (budget, slack) = (Msat::new(10_000_000_000)?, Quantity::new(QUANTITY_MOST)?);
        let accept = Command::AcceptSession { session, outpoint, budget, slack };
        if self.command(self.payer, accept)? {
            self.metered.now = Some(session);
            self.metered.total = 0;
            self.metered.credit = credit;
        }
        Ok(())
    }

    pub(super) fn end_session(&mut self) -> Result<(), Flaw> {
        let Some(session) = self.metered.now else { return Ok(()) };
        let end = if self.dice.chance(500) { self.payer } else { self.payee };
        self.command(end, Command::EndSession(session))?;
        Ok(())
    }

    pub(super) fn pass(&mut self, seconds: u64) -> Result<(), Flaw> {
        self.world.pass(Seconds::new(seconds)?)?;
        self.settle()
    }

    fn cut_link(&mut self) -> Result<(), Flaw> {
        let Some(link) = self.link.take() else { return Ok(()) };
        self.counters.count(Count::LinkCut);
        self.world.disconnect(link)?;
        self.settle()
    }

    fn either(&mut self) -> EndId {
        if self.dice.chance(500) { self.payer } else { self.payee }
    }

    fn reboot(&mut self) -> Result<(), Flaw> {
        let end = self.either();
        let count = if end == self.payer { Count::PayerReboot } else { Count::PayeeReboot };
        self.counters.count(count);
        self.restart(end)?;
        self.settle()
    }

    /// Plans a power cut at one of the next commits.
    fn cut_at_commit(&mut self) -> Result<(), Flaw> {
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

    fn fill_disk(&mut self) -> Result<(), Flaw> {
        let end = self.either();
        self.full_for = self.dice.within(1, 2);
        let store = self.world.end_mut(end)?.store_mut();
        let bytes = store.durable().bytes();
        store.fill_at(Some(bytes));
        Ok(())
    }

    /// One bit of a stored record flips while the machine is off: it refuses to start, until the
    /// record is restored from a copy.
    fn rot(&mut self) -> Result<(), Flaw> {
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
    /// paid since, which the payer signs again if it is still there.
    fn old_store(&mut self) -> Result<(), Flaw> {
        let end = self.either();
        let copy = self.world.end_mut(end)?.store_mut().durable().clone();
        for _ in 0..self.dice.within(1, 3) {
            self.pay()?;
        }
        self.forgive_since(end, &copy)?;
        *self.world.end_mut(end)?.store_mut() = FaultStore::new(copy);
        self.link = None;
        self.world.reboot(end)?;
        let count = if end == self.payer { Count::OldPayer } else { Count::OldPayee };
        self.counters.count(count);
        self.started_again(end)?;
        self.settle()
    }

    fn forgive_since(&mut self, end: EndId, copy: &crate::store::MemoryStore) -> Result<(), Flaw> {
        if end != self.payee {
            return Ok(());
        }
        // What its session had counted as paid is owed again.
        self.metered.credit = Msat::MAX;
        for outpoint in self.channels.keys().copied().collect::<Vec<_>>() {
            let key = crate::stream::payee::PayeeRecord::key_of(outpoint)
                .map_err(crate::node::NodeError::from)?;
            let stored = copy.get(&key).map_err(crate::node::NodeError::from)?;
            let Some(bytes) = stored else { continue };
            let record = crate::stream::payee::PayeeRecord::decode(&key, &bytes)
                .map_err(crate::node::NodeError::from)?;
            self.observer.seen().forgive(outpoint, record.paid());
        }
        Ok(())
    }

    /// Another branch wins, shallower than what counts as buried.
    fn reorg(&mut self) -> Result<(), Flaw> {
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
    fn stall(&mut self) -> Result<(), Flaw> {
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
    fn spike(&mut self) -> Result<(), Flaw> {
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

    /// The payee settles a channel before it must.
    pub(super) fn settle_some(&mut self, least: u64) -> Result<(), Flaw> {
        let Some(outpoint) = self.current() else { return Ok(()) };
        let rate = FeeRate::new(self.dice.within(least, 3_000))?;
        self.settle_at(outpoint, rate).map(|_| ())
    }

    pub(super) fn settle_at(&mut self, outpoint: OutPoint, rate: FeeRate) -> Result<bool, Flaw> {
        self.rate_most = self.rate_most.max(rate);
        let Some(payee) = self.payee_of(outpoint) else { return Ok(false) };
        let script = payee_script(&Context::new(), payee.channel().output().payee());
        let script = script.map_err(crate::node::NodeError::from)?;
        let command = Command::Settle { outpoints: vec![outpoint], script, rate };
        self.command(self.payee, command)
    }

    /// A settlement that waits in the mempool is replaced by one that pays more.
    fn replace(&mut self) -> Result<(), Flaw> {
        let waiting = self.channels.keys().copied().find(|outpoint| {
            let status = self.world.chain().with(|chain| chain.output(*outpoint));
            let spend = status.and_then(|status| status.spent);
            spend.is_some_and(|spend| spend.confirmed.is_none())
        });
        let Some(outpoint) = waiting else {
            self.settle_some(1_000)?;
            return self.pay();
        };
        let spender = |pair: &Self| {
            let status = pair.world.chain().with(|chain| chain.output(outpoint));
            status.and_then(|status| status.spent).map(|spend| spend.tx.compute_txid())
        };
        let before = spender(self);
        self.pay()?;
        let rate = FeeRate::new(self.dice.within(3_000, 9_000))?;
        self.settle_at(outpoint, rate)?;
        if before != spender(self) {
            self.counters.count(Count::Replaced);
        }
        Ok(())
    }

    pub(super) fn close(&mut self) -> Result<(), Flaw> {
        let Some(outpoint) = self.current() else { return Ok(()) };
        let (script, fee) = (self.payers_script(), Sat::new(self.dice.within(250, 500))?);
        self.command(self.payer, Command::Close { outpoint, script, fee })?;
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
