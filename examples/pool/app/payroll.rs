//! The payroll: a channel from the pool to each worker, and vouchers of what PPS owes.

use std::collections::BTreeMap;

use bitcoin::{OutPoint, ScriptBuf};
use millstream::keys::Context;
use millstream::ledger::{Credit, WorkerKey};
use millstream::node::{Command, LinkId};
use millstream::sim::world::{EndId, Machine, World};
use millstream::units::{FeeRate, Seconds, SessionId, UtcSeconds};

use super::crew::WORKERS;
use crate::common::books::{Books, Kind};
use crate::common::dice::Dice;
use crate::common::stage::{self, DEPTH, Payer, Size, settle, till, wrong};
use crate::common::{Error, Sabotage};

/// 0.1 bitcoin for four days: more than the fastest earns in a shift.
const SIZE: Size = Size { delay: 576, capacity: 10_000_000 };
/// 1 sat a virtual byte.
const RATE: u64 = 1_000;

/// A worker's machine and the pool's channel to it.
struct Member {
    end: EndId,
    key: WorkerKey,
    outpoint: OutPoint,
    script: ScriptBuf,
    till: ScriptBuf,
    link: Option<LinkId>,
}

/// What became of the pay.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paid {
    /// By vouchers, msat, and how many of them.
    pub(crate) msat: u64,
    pub(crate) vouchers: u64,
    pub(crate) commits: u64,
    pub(crate) faults: u64,
    /// Workers whose pay was worth a settlement, what that cost them, and what they got, sat.
    pub(crate) settled: u64,
    pub(crate) fees: u64,
    pub(crate) got: u64,
    pub(crate) checks: u64,
    pub(crate) broken: Vec<String>,
}

/// The pool's machine, its workers', and the chain.
pub(crate) struct Payroll {
    world: World,
    pool: EndId,
    members: Vec<Member>,
    keys: Vec<WorkerKey>,
    chaos: u8,
    faults: u64,
    dice: Dice,
}

impl Payroll {
    /// Opens a channel for each worker, so that all are buried when the clock shows `start`.
    pub(crate) fn open(start: u64, seed: u64, chaos: u8) -> Result<Self, Error> {
        let mut world = stage::set(start)?;
        let (context, mut dice) = (Context::new(), Dice::new(seed, "seeds"));
        let pool_seed = dice.secret();
        let pool = world.add(SIZE.paying(Machine::payer("pool", pool_seed))?)?;
        let dice = Dice::new(seed, "lines");
        let (members, keys) = (Vec::new(), Vec::new());
        let mut payroll = Self { world, pool, members, keys, chaos, faults: 0, dice };
        let mut seeds = Dice::new(seed, "workers");
        let seeds: Vec<[u8; 32]> = (0..WORKERS).map(|_| seeds.secret()).collect();
        payroll.fund(&context, pool_seed, &seeds)?;
        stage::bury(&mut payroll.world, DEPTH)?;
        for at in 0..payroll.members.len() {
            payroll.connect(at)?;
        }
        payroll.world.settle_down()?;
        stage::wait_for(&mut payroll.world, start)?;
        payroll.bind()?;
        Ok(payroll)
    }

    /// Whose work it pays.
    pub(crate) fn keys(&self) -> &[WorkerKey] {
        &self.keys
    }

    /// One transaction with an output for each worker.
    fn fund(&mut self, context: &Context, pool: [u8; 32], seeds: &[[u8; 32]]) -> Result<(), Error> {
        let (payer, capacity) = (Payer { end: self.pool, seed: &pool }, SIZE.capacity()?);
        let mut openings = Vec::new();
        for (number, seed) in (0..).zip(seeds) {
            let terms = SIZE.terms(context, seed)?;
            let end = self.world.add(Machine::payee("worker", *seed, terms.clone()))?;
            let key = WorkerKey::new(terms.base.serialize());
            let opening = SIZE.opening(&self.world, context, payer, &terms, number)?;
            openings.push((end, key, till(context, seed)?, opening));
        }
        let outputs = openings.iter().map(|(.., opening)| (opening.script().clone(), capacity));
        let (funding, outpoints) = self.world.fundings(outputs.collect())?;
        for ((end, key, till, opening), outpoint) in openings.into_iter().zip(outpoints) {
            let script = stage::fund(&mut self.world, payer, opening, &funding, outpoint)?;
            self.keys.push(key);
            self.members.push(Member { end, key, outpoint, script, till, link: None });
        }
        Ok(())
    }

    fn connect(&mut self, at: usize) -> Result<(), Error> {
        let member = self.members.get_mut(at).ok_or("no worker")?;
        if member.link.is_some() {
            return Ok(());
        }
        let link = self.world.connect(self.pool, member.end)?;
        member.link = Some(link);
        let attach = Command::Attach { link, outpoint: member.outpoint };
        Ok(self.world.command(self.pool, attach)?)
    }

    /// Each worker is paid by its channel from now on; after a restart said again.
    fn bind(&mut self) -> Result<(), Error> {
        let budget = SIZE.capacity()?.to_msat();
        for (number, member) in (1..).zip(&self.members) {
            let (worker, outpoint) = (member.key, member.outpoint);
            let session = SessionId::new(number)?;
            let bind = Command::BindWorker { worker, outpoint, session, budget };
            self.world.command(self.pool, bind)?;
        }
        self.world.settle_down()?;
        Ok(())
    }

    /// Credits what was earned since the last payday. Returns what each worker holds, msat.
    pub(crate) fn pay(
        &mut self,
        now: u64,
        earned: &BTreeMap<WorkerKey, Credit>,
    ) -> Result<Vec<u64>, Error> {
        let time = self.world.now().time;
        self.world.pass(UtcSeconds::new(now)?.saturating_since(time).max(Seconds::MIN))?;
        for (worker, credit) in earned {
            let (worker, credit) = (*worker, *credit);
            self.world.command(self.pool, Command::CreditWork { worker, credit })?;
        }
        self.go_wrong()?;
        self.world.settle_down()?;
        Ok(self.members.iter().map(|member| self.held(member)).collect())
    }

    /// Lines break and the pool loses power, between the credit and its voucher too.
    fn go_wrong(&mut self) -> Result<(), Error> {
        let [cuts, breaks] = [[0, 0], [50_000, 10_000], [200_000, 50_000], [400_000, 200_000]]
            [usize::from(self.chaos)];
        if self.dice.chance(cuts) {
            // What was credited in this drain is committed first: the pool acknowledged the shares.
            self.world.settle_down()?;
            self.faults += 1;
            self.members.iter_mut().for_each(|member| member.link = None);
            self.world.reboot(self.pool)?;
        }
        for at in 0..self.members.len() {
            if self.dice.chance(breaks) {
                self.faults += 1;
                let link = self.members.get_mut(at).and_then(|member| member.link.take());
                link.map_or(Ok(()), |link| self.world.disconnect(link))?;
            }
        }
        for at in 0..self.members.len() {
            self.connect(at)?;
        }
        self.world.settle_down()?;
        if self.chaos > 0 { self.bind() } else { Ok(()) }
    }

    fn held(&self, member: &Member) -> u64 {
        stage::held(&self.world, member.end, member.outpoint)
    }

    /// What all hold, msat.
    pub(crate) fn total(&self) -> u64 {
        self.members.iter().map(|member| self.held(member)).sum()
    }

    /// The workers settle what is worth it, each by its own plan; and the chain's books.
    pub(crate) fn settle(&mut self, sabotage: Option<Sabotage>) -> Result<Paid, Error> {
        let (mut due, mut settled) = (0, 0);
        let held: Vec<u64> = self.members.iter().map(|member| self.held(member)).collect();
        for (member, held) in self.members.iter().zip(&held) {
            let rate = FeeRate::new(RATE)?;
            let plan = settle(&mut self.world, member.end, &member.till, rate, usize::MAX)?;
            if !plan.groups.is_empty() {
                (due, settled) = (due + held / 1_000, settled + 1);
            }
        }
        stage::bury(&mut self.world, DEPTH + 1)?;
        let channels = self.members.iter().map(|member| (member.outpoint, member.script.clone()));
        let tills = self.members.iter().map(|member| member.till.clone());
        let books = Books::of(&self.world, channels, tills);
        let ends = self.members.iter().map(|member| member.end).chain([self.pool]);
        let commits = ends.filter_map(|end| self.world.end(end)).map(|end| end.store().commits());
        Ok(Paid {
            msat: held.iter().sum(),
            vouchers: self.world.sent().get("Voucher").map_or(0, |sent| sent.messages),
            commits: commits.sum(),
            faults: self.faults,
            settled,
            fees: books.kept(Kind::Settlement).fees_sat,
            got: books.to_payee,
            checks: 2,
            broken: wrong(&self.world, &[(&books, due)], sabotage),
        })
    }
}
