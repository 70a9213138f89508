//! One party: a swap, a payer's end, a payee's end, one store; and what it does at each moment.

use bitcoin::ScriptBuf;
use millstream::keys::Context;
use millstream::node::watch::{payee_holds, payer_holds};
use millstream::store::{Batch, Durability, MemoryStore, Store};
use millstream::stream::HoldVoucher;
use millstream::stream::payer::HoldStep;
use millstream::swap::{Deal, Input, Policy, Swap, SwapStep, Tips};
use millstream::tx::hold::Preimage;
use millstream::units::{HoldId, UtcSeconds};

use super::chains::{Chain, Kind};
use super::ends::{In, Out};
use crate::common::Error;

/// What goes over the line between the two.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// A payer was off: show me your best voucher.
    Hello,
    /// A payee's best voucher.
    Best(Option<HoldVoucher>),
    /// A payer's newest voucher.
    Voucher(HoldVoucher),
    /// A payee has fulfilled its hold.
    Preimage(Preimage),
    /// A payee will not claim its hold.
    Release(HoldId),
}

/// Why a party stops in the middle of something.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Its power is gone: what was not committed did not happen.
    Gone,
    /// The example itself is broken.
    Broken(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// On which side of a commit the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Before,
    After,
}

/// Something that a party does against the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Its hold has another hash.
    Hash,
    /// Its hold is a satoshi smaller.
    Amount,
    /// Its hold ends a block earlier.
    Expiry,
    /// It never tells its secret, and says nothing.
    Silence,
    /// It publishes the hold that it could claim, and does not claim it.
    Publish,
}

/// Both chains and the time, as a party sees them: its own payer's chain first.
pub(crate) struct Sky<'a> {
    pub(crate) chains: &'a mut [Chain; 2],
    pub(crate) now: u64,
}

impl Sky<'_> {
    pub(crate) fn tips(&self) -> Result<Tips, Error> {
        let [first, second] = &*self.chains;
        Ok(Tips { first: first.tip(), second: second.tip(), now: UtcSeconds::new(self.now)? })
    }

    pub(super) fn now(&self) -> Result<UtcSeconds, Error> {
        Ok(UtcSeconds::new(self.now)?)
    }
}

/// Alice or Bob.
pub(crate) struct Party {
    pub(crate) name: &'static str,
    pub(crate) seed: u8,
    /// Which chain it pays on, 0 or 1; it is paid on the other one.
    pub(crate) pays_on: usize,
    pub(crate) context: Context,
    pub(crate) policy: Policy,
    pub(crate) store: MemoryStore,
    pub(crate) swap: Option<Swap>,
    pub(crate) out: Out,
    pub(crate) inn: In,
    /// Where its claims and timeouts go, by chain.
    pub(crate) tills: [ScriptBuf; 2],
    pub(crate) outbox: Vec<Message>,
    /// Commits so far, and the one at which the power goes.
    pub(crate) commits: u32,
    pub(crate) cut: Option<(u32, Cut)>,
    pub(crate) lie: Option<Lie>,
    /// What it has told since it was connected.
    pub(super) told: bool,
    /// What happened, for the log.
    pub(crate) lines: Vec<String>,
}

pub(crate) struct Parts {
    pub(crate) name: &'static str,
    pub(crate) seed: u8,
    pub(crate) pays_on: usize,
    pub(crate) policy: Policy,
    pub(crate) out: Out,
    pub(crate) inn: In,
    pub(crate) tills: [ScriptBuf; 2],
}

impl Party {
    /// A party whose ends are durable and whose swap has not begun.
    pub(crate) fn new(parts: Parts) -> Result<Self, Error> {
        let Parts { name, seed, pays_on, policy, out, inn, tills } = parts;
        let mut store = MemoryStore::default();
        let mut batch = Batch::default();
        let (payer, payee) = (out.payer.record(), inn.payee.record());
        batch.put(payer.key()?, &payer.encode()?)?;
        batch.put(payee.key()?, &payee.encode()?)?;
        for monitor in [&out.monitor, &inn.monitor] {
            batch.put(monitor.record().key()?, &monitor.record().encode()?)?;
        }
        store.commit(&batch, Durability::Barrier)?;
        Ok(Self {
            name,
            seed,
            pays_on,
            context: Context::new(),
            policy,
            store,
            swap: None,
            out,
            inn,
            tills,
            outbox: Vec::new(),
            commits: 0,
            cut: None,
            lie: None,
            told: false,
            lines: Vec::new(),
        })
    }

    pub(super) const fn paid_on(&self) -> usize {
        1 - self.pays_on
    }

    pub(super) fn say(&mut self, what: &str) {
        self.lines.push(format!("{} {what}", self.name));
    }

    /// The deal is struck: its side is durable before anything else.
    pub(crate) fn begin(
        &mut self,
        deal: Deal,
        secret: Option<Preimage>,
        sky: &Sky<'_>,
    ) -> Result<(), Stop> {
        let tips = sky.tips()?;
        let step = match secret {
            Some(secret) => Swap::initiate(secret, deal, &self.policy, &tips)?,
            None => Swap::respond(deal, &self.policy, &tips)?,
        };
        if self.store.get(&step.swap().key()?)?.is_some() {
            return Err("there is a swap of this hash".into());
        }
        let mut batch = Batch::default();
        let staged = step.stage(&mut batch)?;
        self.commit(&batch)?;
        self.swap = Some(*staged.swap());
        Ok(())
    }

    /// P4: nothing leaves before its barrier; and the power may go on either side of it.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(), Stop> {
        self.commits += 1;
        let cut = self.cut.filter(|(at, _)| *at == self.commits).map(|(_, cut)| cut);
        if cut != Some(Cut::Before) {
            self.store.commit(batch, Durability::Barrier)?;
        }
        if cut.is_some() { Err(Stop::Gone) } else { Ok(()) }
    }

    /// After a power cut: everything as the store has it.
    pub(crate) fn restart(&mut self, kinds: [&Kind; 2], now: u64) -> Result<(), Error> {
        let now = UtcSeconds::new(now)?;
        let (pays, paid) = (kinds[self.pays_on], kinds[self.paid_on()]);
        self.out = self.out.load(&self.context, &self.store, (self.seed, pays), now)?;
        self.inn = self.inn.load(&self.context, &self.store, (self.seed, paid), now)?;
        let mut found = None;
        self.store.scan(&Swap::PREFIX, &mut |key, bytes| {
            found = Swap::decode(key, bytes).ok();
            core::ops::ControlFlow::Continue(())
        })?;
        self.swap = found;
        self.outbox.clear();
        self.cut = None;
        self.connected();
        Ok(())
    }

    /// The line stands, or stands again.
    pub(crate) fn connected(&mut self) {
        self.told = false;
        // Also one that was not off asks: the other side may have missed its last voucher.
        self.outbox.push(Message::Hello);
    }

    /// Decides, makes it durable with `batch`, applies.
    pub(super) fn take(&mut self, input: &Input, mut batch: Batch) -> Result<(), Stop> {
        let Some(swap) = self.swap else { return Ok(()) };
        let step = swap.decide(&self.policy, input)?;
        let changes = !step.is_empty();
        let staged = step.stage(&mut batch)?;
        if changes {
            self.commit(&batch)?;
            let over = staged.swap().is_over();
            let stage = staged.swap().stage().name();
            self.swap = Some(*staged.swap()).filter(|_| !over);
            if swap.stage().name() != stage || over {
                self.say(&format!("is {}{}", stage, if over { ", and done" } else { "" }));
            }
        }
        Ok(())
    }

    /// What is durable of a step of the payer, with what its monitor follows.
    pub(super) fn put_step(&mut self, step: HoldStep, also: Option<SwapStep>) -> Result<(), Stop> {
        let record = step.record().clone();
        let mut payer = self.out.payer.clone();
        payer.apply(&record)?;
        let watch = self.out.monitor.follow(None, &payer_holds(&payer))?;
        let mut batch = Batch::default();
        let staged = step.stage(&mut batch)?;
        batch.put(watch.key()?, &watch.encode()?)?;
        let swap = also.map(|step| step.stage(&mut batch)).transpose()?;
        self.commit(&batch)?;
        self.out.payer = payer;
        self.out.monitor.apply(&watch)?;
        if let Some(staged) = swap {
            self.swap = Some(*staged.swap()).filter(|swap| !swap.is_over());
        }
        self.outbox.push(Message::Voucher(staged.after_barrier()));
        Ok(())
    }

    /// What is durable of a step of the payee, with what its monitor follows.
    pub(super) fn put_payee(
        &mut self,
        record: &millstream::stream::payee::PayeeRecord,
        also: Option<SwapStep>,
    ) -> Result<(), Stop> {
        if record == self.inn.payee.record() && also.is_none() {
            return Ok(());
        }
        let mut payee = self.inn.payee.clone();
        payee.apply(record)?;
        let watch = self.inn.monitor.follow(payee.best(), &payee_holds(&payee))?;
        let mut batch = Batch::default();
        batch.put(record.key()?, &record.encode()?)?;
        batch.put(watch.key()?, &watch.encode()?)?;
        let swap = also.map(|step| step.stage(&mut batch)).transpose()?;
        self.commit(&batch)?;
        self.inn.payee = payee;
        self.inn.monitor.apply(&watch)?;
        if let Some(staged) = swap {
            self.swap = Some(*staged.swap()).filter(|swap| !swap.is_over());
        }
        Ok(())
    }
}
