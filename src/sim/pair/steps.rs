//! The steps of a run: what the owners do, and what the world does to them.

use bitcoin::OutPoint;

use super::Flaw;
use super::counters::Count;
use super::stage::{BY_HAND, Pair};
use crate::node::{Command, NodeError};
use crate::stream::payer::Ending;
use crate::stream::{Payee, Payer, StreamError};
use crate::units::{FeeRate, Msat, Sat, Seconds, SessionId};

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

/// What can happen besides in a run of several channels.
const MORE_STEPS: &[(Step, u64)] = &[
    (Step::Open, 25),
    (Step::TopUp, 40),
    (Step::Batch, 25),
    (Step::ChangeTariff, 15),
    (Step::ReplaceFunding, 30),
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
    Open,
    TopUp,
    Batch,
    ChangeTariff,
    ReplaceFunding,
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
            | Self::Close
            | Self::Open
            | Self::TopUp
            | Self::Batch
            | Self::ChangeTariff
            | Self::ReplaceFunding => false,
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
        let mut step = self.draw_step();
        if !faults && step.is_fault() {
            step = Step::Tick;
        }
        self.turn_if_wide();
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
            Step::Open => self.open(),
            Step::TopUp => self.top_up(),
            Step::Batch => self.settle_batch(),
            Step::ChangeTariff => self.change_tariff(),
            Step::ReplaceFunding => self.replace_funding(),
        }
    }

    /// By weight; a fuzzer's byte names the step itself.
    fn draw_step(&mut self) -> Step {
        let more = if self.is_wide() { MORE_STEPS } else { &[] };
        let steps = || STEPS.iter().chain(more);
        if self.is_steered() {
            let count = u64::try_from(steps().count()).unwrap_or(1);
            let at = usize::try_from(self.dice.below(count)).unwrap_or(0);
            return steps().nth(at).map_or(Step::Pay, |(step, _)| *step);
        }
        let total = steps().map(|(_, weight)| *weight).fold(0, u64::saturating_add);
        let mut drawn = self.dice.below(total);
        let mut step = Step::Pay;
        for (one, weight) in steps() {
            step = *one;
            match drawn.checked_sub(*weight) {
                Some(rest) => drawn = rest,
                None => break,
            }
        }
        step
    }

    fn turn_if_wide(&mut self) {
        if self.is_wide() {
            self.turn();
        }
    }

    pub(super) fn payer_of(&self, outpoint: OutPoint) -> Option<&Payer> {
        self.world.end(self.payer)?.node().payer(outpoint)
    }

    pub(super) fn payee_of(&self, outpoint: OutPoint) -> Option<&Payee> {
        self.world.end(self.payee)?.node().payee(outpoint)
    }

    pub(super) fn pay(&mut self) -> Result<(), Flaw> {
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
        let script = self.script_of(outpoint);
        self.metered.paid_beside(&script);
        self.count_refused_version2(outpoint);
        Ok(paid)
    }

    /// A payee that would take a payment on a shallow version 3 refuses it on a version 2.
    fn count_refused_version2(&mut self, outpoint: OutPoint) {
        if !self.is_version2(outpoint) || self.terms.zero_conf_limit == Sat::ZERO {
            return;
        }
        let refused = |error: &NodeError| {
            let none = Sat::ZERO.to_msat();
            matches!(
                error,
                NodeError::Stream(StreamError::NotDeepEnough { limit, .. }) if *limit == none
            )
        };
        let last = self.world.end(self.payee).and_then(|end| end.refusals().last());
        if last.is_some_and(refused) {
            self.counters.count(Count::Version2Waits);
        }
    }

    pub(super) fn pass(&mut self, seconds: u64) -> Result<(), Flaw> {
        self.world.pass(Seconds::new(seconds)?)?;
        self.settle()
    }

    /// The payee settles a channel before it must.
    pub(super) fn settle_some(&mut self, least: u64) -> Result<(), Flaw> {
        let Some(outpoint) = self.current() else { return Ok(()) };
        let rate = FeeRate::new(self.dice.within(least, 3_000))?;
        self.settle_at(outpoint, rate).map(|_| ())
    }

    pub(super) fn settle_at(&mut self, outpoint: OutPoint, rate: FeeRate) -> Result<bool, Flaw> {
        self.settle_all(vec![outpoint], rate)
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
