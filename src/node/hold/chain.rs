//! Holds on the chain: a monitor for each channel that has them or had them, on either side.
//!
//! ```text
//!  a step of the channel's machine --follow--> the watch's record, in the same batch
//!  Tip: all that was seen is of another chain
//!  Output, Output ..: once all that the monitor watches is shown, it decides
//!     --> its record in the batch --> look-ups of what is new --> events --> act.rs
//!  everything buried: record forgotten, and the channel with it
//! ```
//!
//! Nothing that is sent here is stored: a monitor asks for it again at every look, for as long as
//! the chain does not show it. So a power cut, an eviction and a reorg are only another look.
//!
//! A watch's records are `monitor`'s own. What is kept in memory beside them is what the chain has
//! shown since the last tip.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bitcoin::{OutPoint, Txid};

use crate::monitor::{self, Monitor, MonitorError, News, Policy, Sight, Step, Watch, Watched};
use crate::node::effects::Event;
use crate::node::lineage::Side;
use crate::node::watch::{payee_holds, payee_subject, payer_holds, payer_subject};
use crate::node::{Node, NodeError, Now};
use crate::signer::Signer;
use crate::store::Key;
use crate::stream::payee::PayeePhase;
use crate::stream::payer::PayerPhase;
use crate::tx::seen::OutputStatus;
use crate::tx::{FeeInput, Voucher, payee_script};
use crate::units::{FeeRate, Height, Sat};

/// All watches of a node, and how they act.
#[derive(Debug, Default)]
pub(in crate::node) struct Watches {
    of: BTreeMap<(OutPoint, Side), Box<Watching>>,
    /// What is watched beside the channels, and of which channel it is.
    coins: BTreeMap<OutPoint, OutPoint>,
    tending: Option<Tending>,
}

/// One monitor, and what the chain has shown it since the last tip.
#[derive(Debug)]
pub(super) struct Watching {
    pub(super) monitor: Monitor,
    seen: BTreeMap<OutPoint, Option<OutputStatus>>,
    /// What was sent or asked for since the last tip.
    pub(super) sent: BTreeSet<Txid>,
    /// The fee that was told to be missing.
    missing: Option<Sat>,
    /// It was told that nobody tends the holds.
    is_told: bool,
}

/// What the caller has said last of how holds are brought home.
#[derive(Debug)]
struct Tending {
    policy: Box<Policy>,
    rate: FeeRate,
    coins: Vec<FeeInput>,
}

impl Watching {
    fn new(monitor: Monitor) -> Self {
        let (seen, sent) = (BTreeMap::new(), BTreeSet::new());
        Self { monitor, seen, sent, missing: None, is_told: false }
    }

    /// What is watched beside the channel.
    fn coins(&self) -> impl Iterator<Item = OutPoint> + use<> {
        self.monitor.watched().into_iter().skip(1)
    }

    /// What the chain shows of everything that is watched, once all of it was looked up.
    fn outputs(&self) -> Option<Vec<(OutPoint, OutputStatus)>> {
        let mut outputs = Vec::new();
        for outpoint in self.monitor.watched() {
            if let Some(status) = self.seen.get(&outpoint)? {
                outputs.push((outpoint, status.clone()));
            }
        }
        Some(outputs)
    }
}

impl Watches {
    /// Whether the channel is watched: its keys are needed.
    pub(in crate::node) fn has(&self, side: Side, outpoint: OutPoint) -> bool {
        self.of.contains_key(&(outpoint, side))
    }

    /// What is to be looked up beside the channels.
    pub(in crate::node) fn coins(&self) -> impl Iterator<Item = OutPoint> + '_ {
        self.coins.keys().copied()
    }

    /// At a new tip: what was seen is of the tip before.
    pub(in crate::node) fn look_anew(&mut self) {
        for watching in self.of.values_mut() {
            watching.seen.clear();
            watching.sent.clear();
            watching.is_told = false;
        }
    }

    pub(super) fn get_mut(&mut self, side: Side, outpoint: OutPoint) -> Option<&mut Watching> {
        self.of.get_mut(&(outpoint, side)).map(|watching| &mut **watching)
    }

    fn insert(&mut self, side: Side, monitor: Monitor) {
        let (outpoint, watching) = (monitor.outpoint(), Watching::new(monitor));
        self.coins.extend(watching.coins().map(|coin| (coin, outpoint)));
        self.of.insert((outpoint, side), Box::new(watching));
    }

    /// What the channel's watches watch now: those that are new.
    fn index(&mut self, outpoint: OutPoint) -> Vec<OutPoint> {
        let sides = [Side::Payee, Side::Payer];
        let watching = sides.iter().filter_map(|side| self.of.get(&(outpoint, *side)));
        let now: BTreeSet<OutPoint> = watching.flat_map(|watching| watching.coins()).collect();
        self.coins.retain(|coin, of| *of != outpoint || now.contains(coin));
        let new = now.into_iter().filter(|coin| !self.coins.contains_key(coin));
        let new: Vec<OutPoint> = new.collect();
        self.coins.extend(new.iter().map(|coin| (*coin, outpoint)));
        new
    }
}

impl<S: Signer> Node<S> {
    /// The records of the watches over channels that have holds or had them: what the chain has
    /// shown of each, and the preimages.
    pub fn watches(&self) -> impl Iterator<Item = &Watch> {
        self.watches.of.values().map(|watching| watching.monitor.record())
    }

    /// How holds are brought home from now on; what is due is sent.
    #[expect(clippy::unnecessary_wraps, reason = "what a command comes to, as of every other")]
    pub(in crate::node) fn tend_holds(
        &mut self,
        now: &Now,
        policy: Box<Policy>,
        rate: FeeRate,
        coins: Vec<FeeInput>,
    ) -> Result<(), NodeError> {
        self.watches.tending = Some(Tending { policy, rate, coins });
        let all: Vec<(OutPoint, Side)> = self.watches.of.keys().copied().collect();
        for (outpoint, side) in all {
            // What one channel cannot do now is tried at the next look.
            let _next_look = self.tend(now, side, outpoint);
        }
        Ok(())
    }

    /// After a step of the channel's own machine: what it holds is watched from here on. The record
    /// is in the batch of that step (P4).
    pub(in crate::node) fn follow_holds(
        &mut self,
        side: Side,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let (subject, best, holds) = self.watched_holds(side, outpoint)?;
        if let Some(watching) = self.watches.get_mut(side, outpoint) {
            let record = watching.monitor.follow(best, &holds)?;
            if record != *watching.monitor.record() {
                watching.monitor.apply(&record)?;
                self.effects.put(record.key()?, &record.encode()?)?;
            }
            return Ok(());
        }
        if holds.is_empty() {
            return Ok(());
        }
        let mut monitor = Monitor::load(&self.context, Watch::new(subject))?;
        let record = monitor.follow(best, &holds)?;
        monitor.apply(&record)?;
        self.effects.put(record.key()?, &record.encode()?)?;
        self.watches.insert(side, monitor);
        Ok(())
    }

    fn watched_holds(
        &self,
        side: Side,
        outpoint: OutPoint,
    ) -> Result<(monitor::Subject, Option<Voucher>, Vec<Watched>), NodeError> {
        let missing = NodeError::NoChannel { outpoint };
        Ok(match side {
            Side::Payee => {
                let machine = self.payee(outpoint).ok_or(missing)?;
                let terms = self.config.terms.as_ref().ok_or(NodeError::NotAPayee)?;
                let subject = payee_subject(machine, terms.base);
                (subject, machine.best(), payee_holds(machine))
            }
            Side::Payer => {
                let machine = self.payer(outpoint).ok_or(missing)?;
                (payer_subject(machine), None, payer_holds(machine))
            }
        })
    }

    /// A look at a channel, or at one of its holds.
    pub(in crate::node) fn hold_output(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        status: Option<&OutputStatus>,
    ) -> Result<(), NodeError> {
        let channel = self.watches.coins.get(&outpoint).copied().unwrap_or(outpoint);
        let mut first = Ok(());
        for side in [Side::Payee, Side::Payer] {
            // P2: a source that forgets spent outputs undoes no buried spend.
            if status.is_none() && channel == outpoint && self.is_closed(side, outpoint) {
                continue;
            }
            if let Some(watching) = self.watches.get_mut(side, channel) {
                watching.seen.insert(outpoint, status.cloned());
                first = first.and(self.tend(now, side, channel));
            }
        }
        first
    }

    fn is_closed(&self, side: Side, outpoint: OutPoint) -> bool {
        match side {
            Side::Payee => self
                .payee(outpoint)
                .is_some_and(|machine| matches!(machine.phase(), PayeePhase::Closed { .. })),
            Side::Payer => {
                self.payer(outpoint).is_some_and(|machine| machine.phase() == PayerPhase::Closed)
            }
        }
    }

    /// Decides once everything was looked up; record first, then what is told, then what is sent.
    pub(in crate::node) fn tend(
        &mut self,
        now: &Now,
        side: Side,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let Some(tip) = self.tip.map(|tip| tip.height) else { return Ok(()) };
        loop {
            let Some(step) = self.decide_holds(side, outpoint, tip)? else { return Ok(()) };
            let Some(watching) = self.watches.get_mut(side, outpoint) else { return Ok(()) };
            if step.record != *watching.monitor.record() {
                watching.monitor.apply(&step.record)?;
                self.effects.put(step.record.key()?, &step.record.encode()?)?;
            }
            let is_over = step.record.is_over();
            for news in &step.news {
                self.tell_news(now, side, outpoint, *news);
            }
            if is_over {
                return self.end_watch(now, side, outpoint);
            }
            let new = self.watches.index(outpoint);
            if new.is_empty() && step.news.is_empty() {
                return self.act_on_holds(now, side, outpoint, step);
            }
            for coin in new {
                self.effects.look_up(coin);
            }
            // Decided once more on what is known now, or when the look-ups are answered.
        }
    }

    fn decide_holds(
        &self,
        side: Side,
        outpoint: OutPoint,
        tip: Height,
    ) -> Result<Option<Step>, NodeError> {
        let Some(watching) = self.watches.of.get(&(outpoint, side)) else { return Ok(None) };
        let Some(outputs) = watching.outputs() else { return Ok(None) };
        let own;
        let (policy, rate, coins) = if let Some(tending) = &self.watches.tending {
            (&*tending.policy, tending.rate, &tending.coins[..])
        } else {
            own = self.own_policy(side, &watching.monitor)?;
            (&own, self.config.relay_floor, &[][..])
        };
        let sight = Sight { tip, outputs: &outputs, preimages: &[], rate, coins };
        Ok(Some(watching.monitor.decide(&self.context, &sight, policy)?))
    }

    /// What stands in for the caller's, to see whether anything is due: nothing is sent by it.
    fn own_policy(&self, side: Side, monitor: &Monitor) -> Result<Policy, NodeError> {
        let output = monitor.channel().output();
        let key = match side {
            Side::Payee => output.payee(),
            Side::Payer => output.payer(),
        };
        Ok(Policy::new(payee_script(&self.context, key)?))
    }

    /// Signs and sends what is due, each transaction once between two tips.
    fn act_on_holds(
        &mut self,
        now: &Now,
        side: Side,
        outpoint: OutPoint,
        step: Step,
    ) -> Result<(), NodeError> {
        let is_tended = self.watches.tending.is_some();
        let Some(watching) = self.watches.get_mut(side, outpoint) else { return Ok(()) };
        if !is_tended {
            if !step.acts.is_empty() && !core::mem::replace(&mut watching.is_told, true) {
                self.effects.tell(Event::HoldsUntended { outpoint });
            }
            return Ok(());
        }
        let before = core::mem::replace(&mut watching.missing, step.missing_fee);
        if let Some(missing) = step.missing_fee.filter(|_| before != step.missing_fee) {
            self.effects.tell(Event::HoldFeeMissing { outpoint, missing });
        }
        let mut first = Ok(());
        for act in step.acts {
            first = first.and(self.act_on_hold(now, side, outpoint, act));
        }
        first
    }

    fn tell_news(&mut self, now: &Now, side: Side, outpoint: OutPoint, news: News) {
        self.effects.tell(match news {
            News::Published { id, amount } => Event::HoldPublished { outpoint, id, amount },
            News::Claimed { id, at, after_release } => {
                Event::HoldClaimed { outpoint, id, at, after_release }
            }
            News::TimedOut { id, at, lost } => Event::HoldTimedOut { outpoint, id, at, lost },
            News::Revealed { id, preimage } => Event::HoldShown { outpoint, id, preimage },
            News::Over => Event::HoldsOver { outpoint },
            // The channel's own machine tells it.
            News::Spent { .. } | News::SpendUndone => return,
        });
        if side == Side::Payer && matches!(news, News::Revealed { .. }) {
            // What cannot be folded now is folded when the channel is resumed, if ever.
            let _later = self.fold_known(now, outpoint);
        }
    }

    /// Everything is buried: nobody needs the record any more, nor the channel's keys.
    fn end_watch(&mut self, now: &Now, side: Side, outpoint: OutPoint) -> Result<(), NodeError> {
        let watching = self.watches.of.get(&(outpoint, side));
        let status = watching.and_then(|watching| watching.seen.get(&outpoint)?.as_ref());
        let by = status.and_then(|status| Some(status.spent.as_ref()?.tx.compute_txid()));
        self.forget_watch(side, outpoint)?;
        if self.is_closed(side, outpoint) {
            return self.close_channel(now, side, outpoint, by);
        }
        Ok(())
    }

    pub(in crate::node) fn forget_watch(
        &mut self,
        side: Side,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let Some(watching) = self.watches.of.remove(&(outpoint, side)) else { return Ok(()) };
        self.effects.delete(watching.monitor.record().key()?)?;
        let _none_is_new = self.watches.index(outpoint);
        Ok(())
    }

    /// A watch; one of a channel that is gone is passed over.
    pub(in crate::node) fn load_watch(&mut self, key: &Key, bytes: &[u8]) -> Result<(), NodeError> {
        let watch = Watch::decode(key, bytes)?;
        let subject = watch.subject();
        let (side, known) = match subject.side {
            monitor::Side::Payee => (Side::Payee, self.payees.contains_key(&subject.outpoint)),
            monitor::Side::Payer => (Side::Payer, self.payers.contains_key(&subject.outpoint)),
        };
        if known {
            let monitor = Monitor::load(&self.context, watch)?;
            self.watches.insert(side, monitor);
        }
        Ok(())
    }

    /// Watches what a store without these records holds, from the next flush on.
    pub(in crate::node) fn watch_holds(&mut self) -> Result<(), NodeError> {
        let payees = self.payees.keys().map(|outpoint| (Side::Payee, *outpoint));
        let payers = self.payers.keys().map(|outpoint| (Side::Payer, *outpoint));
        let all: Vec<(Side, OutPoint)> = payees.chain(payers).collect();
        for (side, outpoint) in all {
            if !self.watches.has(side, outpoint) {
                self.follow_holds(side, outpoint)?;
            }
        }
        Ok(())
    }

    /// Every hold of every machine is watched, with its amount.
    pub(in crate::node) fn check_watches(&self) -> Result<(), NodeError> {
        let payees = self.payees.keys().map(|outpoint| (Side::Payee, *outpoint));
        let payers = self.payers.keys().map(|outpoint| (Side::Payer, *outpoint));
        for (side, outpoint) in payees.chain(payers) {
            let (_, _, holds) = self.watched_holds(side, outpoint)?;
            let watching = self.watches.of.get(&(outpoint, side));
            let watched = watching.map_or(&[][..], |watching| watching.monitor.record().holds());
            let is_watched = |held: &Watched| {
                watched.iter().any(|known| {
                    (known.hold.id, known.standing) == (held.hold.id, held.standing)
                        && known.hold.amount >= held.hold.amount
                        && (held.preimage.is_none() || known.preimage == held.preimage)
                })
            };
            if !holds.iter().all(is_watched) {
                return Err(MonitorError::BrokenRecord { at: 0 }.into());
            }
        }
        Ok(())
    }
}
