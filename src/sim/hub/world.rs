//! A run: the steps of everybody, the blocks, and the end.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::Txid;

use super::cast::{BEGIN, CHANNELS, Cast, FUNDED};
use super::counters::{Count, Counters};
use super::house::{House, Stop};
use super::model::Model;
use super::sky::Sky;
use super::watch::Coins;
use super::{Flaw, Report};
use crate::hub::{HoldRef, Onward, Policy};
use crate::signer::MemorySigner;
use crate::sim::dice::Dice;
use crate::store::fault::Cut;
use crate::stream::{HoldVoucher, Payee, Payer};
use crate::tx::hold::{PaymentHash, Preimage};
use crate::units::{Blocks, HoldId, Msat, Ppm, Sat};

/// Blocks that the hub may be off, and its transactions wait: together what its policy counts on.
pub(super) const OFF: u32 = 2;
pub(super) const TIMEOUT_WAITS: u32 = 4;
pub(super) const SETTLE_WAITS: u32 = 3;
pub(super) const DEPTH: u32 = 3;
/// From one reorg to the next: longer than a forward's whole delta.
const REORG_PAUSE: u32 = 60;
/// The last blocks in which anything is published: what follows of it takes no longer than this.
const QUIET_FROM: u32 = 25;
/// After this many blocks every height of a run has passed, and what follows it is deep.
const LAST_BLOCKS: u32 = 150;

/// Somebody who pays into the hub.
pub(super) struct Sender {
    pub(super) payer: Payer,
    pub(super) signer: MemorySigner,
    /// Every voucher that it signed, in order.
    pub(super) sent: Vec<HoldVoucher>,
    pub(super) orders: BTreeMap<HoldId, Onward>,
    /// What the hub revealed to it, and released.
    pub(super) told: Vec<Preimage>,
    pub(super) released: BTreeSet<HoldId>,
}

/// Somebody whom the hub pays.
pub(super) struct Receiver {
    pub(super) payee: Payee,
    /// Every voucher that left the hub for it, delivered or not.
    pub(super) got: Vec<HoldVoucher>,
    /// Which of them each of its settlements puts on the chain.
    pub(super) published: BTreeMap<Txid, usize>,
    /// Holds that it said it released.
    pub(super) released: BTreeSet<HoldId>,
}

/// Everything that there is.
pub(super) struct World<'a> {
    pub(super) cast: &'a Cast,
    pub(super) dice: Dice,
    pub(super) counters: Counters,
    pub(super) sky: Sky,
    pub(super) house: House<'a>,
    pub(super) senders: Vec<Sender>,
    pub(super) receivers: Vec<Receiver>,
    /// Every preimage that was ever drawn; the receivers know those whose flag is set.
    pub(super) secrets: Vec<(Preimage, bool)>,
    pub(super) model: Model,
    pub(super) coins: Coins,
    /// The hub is off until this height.
    off_until: u32,
    /// Whether the hub pays receivers of its own money too, which hides what a forward may cost.
    pub(super) pays: bool,
    /// Cuts are planned by the run itself.
    cuts: bool,
    steps: u32,
}

/// The hub's prices and blocks in every run.
fn policy() -> Result<Policy, Flaw> {
    let blocks = |count| Blocks::new(count).map_err(|_| Flaw::Stage);
    Ok(Policy {
        base: Msat::new(1_000).map_err(|_| Flaw::Stage)?,
        rate: Ppm::new(500).map_err(|_| Flaw::Stage)?,
        least: Sat::new(1_000).map_err(|_| Flaw::Stage)?,
        lock_max: blocks(100)?,
        reaction: blocks(OFF.saturating_add(TIMEOUT_WAITS))?,
        settling: blocks(OFF.saturating_add(SETTLE_WAITS))?,
        depth: blocks(DEPTH)?,
        forwards_max: 32,
    })
}

impl<'a> World<'a> {
    pub(super) fn new(
        cast: &'a Cast,
        mut dice: Dice,
        cut: Option<(u64, Cut)>,
    ) -> Result<Self, Flaw> {
        let count = |dice: &mut Dice| usize::try_from(dice.within(1, CHANNELS.into())).unwrap_or(1);
        let (into, out) = (count(&mut dice), count(&mut dice));
        let pays = dice.chance(300);
        let mut house = House::open(cast, policy()?, into, out)?;
        if let Some((at, side)) = cut {
            house.store.cut_at(at, side);
        }
        let mut senders = Vec::new();
        for (number, line) in (0_u8..).zip(cast.into.iter().take(into)) {
            let mut signer = cast.sender_signer(number)?;
            line.payer.register(&mut signer, crate::signer::Past::New)?;
            senders.push(Sender {
                payer: line.payer.clone(),
                signer,
                sent: Vec::new(),
                orders: BTreeMap::new(),
                told: Vec::new(),
                released: BTreeSet::new(),
            });
        }
        let receivers = cast.out.iter().take(out).map(|line| Receiver {
            payee: line.payee.clone(),
            got: Vec::new(),
            published: BTreeMap::new(),
            released: BTreeSet::new(),
        });
        let (receivers, sky) = (receivers.collect(), Sky::new(BEGIN, FUNDED));
        Ok(Self {
            cast,
            dice,
            counters: Counters::default(),
            sky,
            house,
            senders,
            receivers,
            secrets: Vec::new(),
            model: Model::default(),
            coins: Coins::default(),
            off_until: 0,
            pays,
            cuts: cut.is_none(),
            steps: 0,
        })
    }

    /// Lives to the end, or to the first broken promise.
    pub(super) fn live(
        &mut self,
        tell: &mut dyn FnMut(&dyn core::fmt::Display),
    ) -> Result<(), Flaw> {
        let steps = self.dice.within(20, 80);
        for _ in 0..steps {
            self.steps = self.steps.saturating_add(1);
            let deed = self.deed(tell);
            self.mend(deed)?;
            if let Err(flaw) = self.check() {
                tell(&self.picture());
                return Err(flaw);
            }
        }
        // From here on every height passes. The neighbours go on as they like; the hub does too.
        self.cuts = false;
        for block in 0..LAST_BLOCKS {
            if block > QUIET_FROM.saturating_mul(2) && self.house.hub.forwards().next().is_none() {
                break;
            }
            self.steps = self.steps.saturating_add(1);
            if block < QUIET_FROM && self.dice.chance(100) {
                let late = self.publish();
                self.mend(late)?;
            }
            self.block()?;
            if let Err(flaw) = self.check() {
                tell(&self.picture());
                return Err(flaw);
            }
        }
        self.house.hub.check_invariants()?;
        let open = self.house.hub.forwards().count();
        if open > 0 {
            tell(&self.picture());
            return Err(Flaw::Wedged { open });
        }
        let lost = self.lost();
        if lost > Msat::ZERO { Err(Flaw::Lost { lost }) } else { Ok(()) }
    }

    pub(super) fn report(&self, seed: u64, flaw: Option<Flaw>) -> Report {
        let (lost, earned) = self.balance();
        let (mut counters, commits) = (self.counters.clone(), self.house.store.commits());
        for (tx, is_hubs) in self.sky.confirmed() {
            let is_timeout = tx.lock_time.to_consensus_u32() > 0;
            let is_claim = tx.version == bitcoin::transaction::Version::TWO;
            match (is_timeout, is_claim, is_hubs) {
                (true, _, true) => counters.count(Count::TimedOut),
                (true, _, false) => counters.count(Count::TakenBack),
                (false, true, true) => counters.count(Count::Collected),
                (false, true, false) => counters.count(Count::Claimed),
                (false, false, _) => {}
            }
        }
        Report { seed, counters, lost, earned, commits, flaw }
    }

    pub(super) const fn is_off(&self) -> bool {
        self.sky.height < self.off_until
    }

    /// A power cut ends what the hub was doing; it starts again at once from its store.
    pub(super) fn mend(&mut self, done: Result<(), Stop>) -> Result<(), Flaw> {
        match done {
            Ok(()) => Ok(()),
            Err(Stop::Flaw(flaw)) => Err(flaw),
            Err(Stop::PowerLost) => {
                self.house.restart()?;
                Ok(())
            }
        }
    }

    /// Plans a power cut at one of the hub's next commits.
    pub(super) fn plan_cut(&mut self) {
        if !self.cuts {
            return;
        }
        let ahead = self.dice.within(1, 6);
        let (side, count) = if self.dice.chance(500) {
            (Cut::Before, Count::CutBefore)
        } else {
            (Cut::After, Count::CutAfter)
        };
        self.counters.count(count);
        self.house.store.cut_at(self.house.store.commits().saturating_add(ahead), side);
    }

    /// The hub goes off for as long as its policy allows.
    pub(super) fn outage(&mut self) -> Result<(), Flaw> {
        if !self.cuts || self.is_off() || self.off_until == self.sky.height {
            return Ok(());
        }
        self.counters.count(Count::Outage);
        self.house.restart()?;
        let blocks = u32::try_from(self.dice.within(1, OFF.into())).unwrap_or(1);
        self.off_until = self.sky.height.saturating_add(blocks).saturating_add(1);
        Ok(())
    }

    /// What the neighbours have for it, one more block, and the hub looks at it unless it is off.
    pub(super) fn block(&mut self) -> Result<(), Flaw> {
        let (ambush, claims) = (self.ambush(), self.claim_somewhere());
        self.mend(ambush)?;
        self.mend(claims)?;
        self.sky.mine(&mut self.dice);
        self.look()
    }

    pub(super) fn reorg(&mut self) -> Result<(), Flaw> {
        if self.sky.reorg(DEPTH, REORG_PAUSE, &mut self.dice) {
            self.counters.count(Count::Reorg);
            return self.look();
        }
        Ok(())
    }

    /// P3: however often the power fails, the hub does what a block asks of it before the next one.
    fn look(&mut self) -> Result<(), Flaw> {
        while !self.is_off() {
            match self.watch() {
                Ok(()) => break,
                Err(Stop::PowerLost) => self.house.restart()?,
                Err(Stop::Flaw(flaw)) => return Err(flaw),
            }
        }
        Ok(())
    }

    /// Everything that matters where a promise was broken.
    fn picture(&self) -> String {
        let mut lines = vec![format!("tip {}", self.sky.height)];
        let forwards = self.house.hub.forwards();
        lines.extend(forwards.map(|forward| format!("forward {forward:#?}")));
        for payee in &self.house.payees {
            let (paid, phase, holds) = (payee.paid(), payee.phase(), payee.holds());
            lines.push(format!("in {paid} {phase:?} {holds:#?}"));
        }
        for payer in &self.house.payers {
            let (signed, phase, holds) = (payer.signed(), payer.phase(), payer.holds());
            lines.push(format!("out {signed} {phase:?} {holds:#?}"));
        }
        for receiver in &self.receivers {
            lines.extend(receiver.got.iter().enumerate().map(|(at, voucher)| {
                let holds = voucher.holds.iter();
                let holds: Vec<_> = holds.map(|hold| (hold.id, hold.amount, hold.expiry)).collect();
                format!("voucher {at}: {} {holds:?}", voucher.paid)
            }));
            let spend = self.sky.spend_of(receiver.payee.outpoint());
            lines.extend(spend.map(|spend| {
                let at = receiver.published.get(&spend.tx.compute_txid());
                format!("published {at:?} in {:?}", spend.confirmed)
            }));
        }
        lines.join("\n")
    }

    fn check(&mut self) -> Result<(), Flaw> {
        self.house.hub.check_invariants()?;
        for forward in self.house.hub.forwards() {
            if let Some(outgoing) = forward.outgoing() {
                self.model.link(outgoing, forward);
            }
        }
        self.check_solvent(self.steps)
    }

    pub(super) fn secret_of(&self, hash: PaymentHash) -> Option<(Preimage, bool)> {
        self.secrets.iter().copied().find(|(secret, _)| secret.hash() == hash)
    }

    /// Which of the channels into the hub, and of those out of it.
    pub(super) fn sender_of(&self, hold: HoldRef) -> Option<usize> {
        self.senders.iter().position(|sender| sender.payer.outpoint() == hold.channel)
    }
}
