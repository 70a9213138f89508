//! What each side does on the chain about its holds: the library's monitor, driven as whoever
//! builds on `node` drives it.
//!
//! Its record follows from the channel's own, which is durable before a voucher leaves or counts;
//! so it is enough to follow after every step of the node, and after every restart.

use bitcoin::Transaction;
use millstream::monitor::{Act, Monitor, News, Policy, Side, Sight, Watch};
use millstream::node::Command;
use millstream::node::watch::{payee_holds, payee_subject, payer_holds, payer_subject};
use millstream::sim::world::EndId;
use millstream::store::fault::FaultStore;
use millstream::store::{Batch, Durability, Store};
use millstream::units::FeeRate;

use super::scene::{RATE, Scene};
use crate::common::Error;

/// 8: more looks than a spend has steps; one that goes on for ever is a defect.
const LOOKS_MAX: usize = 8;

/// One side's watch over the channel's first output, the only one that has holds here.
#[derive(Debug)]
pub(crate) struct Keeper {
    side: Side,
    store: FaultStore,
    monitor: Option<Monitor>,
    /// What the chain showed.
    pub(crate) news: Vec<News>,
}

impl Keeper {
    /// A watch that begins with the first hold.
    pub(crate) fn new(side: Side) -> Self {
        Self { side, store: FaultStore::default(), monitor: None, news: Vec::new() }
    }

    /// What it watches, if there ever was a hold.
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.monitor.as_ref().map(Monitor::record)
    }

    /// Takes over what the node's machine holds now, and does what is due. Whether there is more to
    /// be seen on the chain now.
    pub(crate) fn act(&mut self, scene: &mut Scene) -> Result<(), Error> {
        self.follow(scene)?;
        for _ in 0..LOOKS_MAX {
            if !self.look(scene)? {
                return Ok(());
            }
        }
        Err("a monitor has no end of things to do".into())
    }

    /// The power is gone and back.
    pub(crate) fn power_cut(&mut self, scene: &Scene) -> Result<(), Error> {
        self.store.cut();
        self.store.restart(0);
        let Some(monitor) = &self.monitor else { return Ok(()) };
        let key = monitor.record().key()?;
        let bytes = self.store.get(&key)?.ok_or("the monitor's record is lost")?;
        self.monitor = Some(Monitor::load(scene.context(), Watch::decode(&key, &bytes)?)?);
        Ok(())
    }

    fn end(&self, scene: &Scene) -> EndId {
        if self.side == Side::Payer { scene.buyer } else { scene.machine }
    }

    fn follow(&mut self, scene: &Scene) -> Result<(), Error> {
        let node = scene.node(self.end(scene)).ok_or("no such side")?;
        let (best, holds, subject) = match self.side {
            Side::Payer => {
                let Some(payer) = node.payer(scene.funded) else { return Ok(()) };
                (None, payer_holds(payer), payer_subject(payer))
            }
            Side::Payee => {
                let Some(payee) = node.payee(scene.funded) else { return Ok(()) };
                (payee.best(), payee_holds(payee), payee_subject(payee, scene.base))
            }
        };
        if self.monitor.is_none() && holds.is_empty() {
            return Ok(());
        }
        let monitor = match self.monitor.take() {
            Some(monitor) => monitor,
            None => Monitor::load(scene.context(), Watch::new(subject))?,
        };
        let record = monitor.follow(best, &holds)?;
        self.monitor = Some(monitor);
        self.keep(&record)
    }

    /// One look. Whether something was sent, or there is more to look up.
    fn look(&mut self, scene: &mut Scene) -> Result<bool, Error> {
        let Some(monitor) = self.monitor.as_ref().filter(|m| !m.record().is_over()) else {
            return Ok(false);
        };
        let before = monitor.watched();
        let outputs: Vec<_> = scene
            .world
            .chain()
            .with(|chain| before.iter().filter_map(|at| Some((*at, chain.output(*at)?))).collect());
        let (tip, rate) = (scene.tip(), FeeRate::new(RATE)?);
        let sight = Sight { tip, outputs: &outputs, preimages: &[], rate, coins: &[] };
        let till = if self.side == Side::Payer { &scene.wallet } else { &scene.shelf };
        let policy = Policy::new(till.clone());
        let step = monitor.decide(scene.context(), &sight, &policy)?;
        let record = step.record;
        self.keep(&record)?;
        self.news.extend(step.news);
        let more = self.monitor.as_ref().is_some_and(|monitor| monitor.watched() != before);
        let any = !step.acts.is_empty();
        for act in step.acts {
            self.send(act, scene)?;
        }
        Ok(more || any)
    }

    /// Durable, then applied.
    fn keep(&mut self, record: &Watch) -> Result<(), Error> {
        let Some(monitor) = &mut self.monitor else { return Ok(()) };
        if self.store.commits() == 0 || record != monitor.record() {
            let mut batch = Batch::default();
            batch.put(record.key()?, &record.encode()?)?;
            self.store.commit(&batch, Durability::Barrier)?;
            monitor.apply(record)?;
        }
        Ok(())
    }

    /// A settlement is a promise of the channel's own record, so that the node signs it; the rest
    /// is signed here.
    fn send(&self, act: Act, scene: &mut Scene) -> Result<(), Error> {
        let (end, now) = (self.end(scene), scene.world.now());
        let monitor = self.monitor.as_ref().ok_or("no watch")?;
        let sign = |scene: &mut Scene, act| -> Result<Transaction, Error> {
            let signer = scene.world.end_mut(end)?.node_mut().signer_mut();
            Ok(match act {
                Act::Spend(spend) => monitor.sign(spend, signer, now.time, &now.aux)?,
                Act::Bump(child) => monitor.sign_child(child, signer, now.time, &now.aux)?,
                Act::Settle(..) => return Err("a settlement is the node's to sign".into()),
            })
        };
        match act {
            Act::Settle(settlement, child) => {
                let settle =
                    Command::SettleHeld { settlement: Box::new(settlement), witnesses: Vec::new() };
                scene.world.command(end, settle)?;
                scene.quiet()?;
                match child {
                    Some(child) => {
                        let child = sign(scene, Act::Bump(child))?;
                        scene.submit(&[child])
                    }
                    None => Ok(()),
                }
            }
            other => {
                let tx = sign(scene, other)?;
                scene.submit(&[tx])
            }
        }
    }
}
