//! The home: the fridge's machine and the house's, a channel in each direction, both funded by one
//! transaction.

use std::collections::BTreeMap;

use bitcoin::{OutPoint, ScriptBuf, Transaction};
use millstream::keys::{Context, Seed};
use millstream::ledger::{Credit, WorkerKey};
use millstream::meter::{Session, Window};
use millstream::node::{Command, Event, LinkId, WorkPolicy};
use millstream::sim::world::{EndId, Endpoint, Machine, World, WorldError};
use millstream::stream::Terms;
use millstream::stream::payer::Opening;
use millstream::tx::{ChangeScript, Delay};
use millstream::units::{
    Blocks, FeeRate, KeyIndex, Msat, Ppm, Quantity, Sat, Seconds, SessionId, UtcSeconds,
};

use crate::common::Error;
use crate::common::books::{Books, Owner};
use crate::common::crowd::{DEPTH, NETWORK, settle, till};
use crate::common::dice::Dice;
use crate::common::prices::Prices;

/// 3 sat: some minutes of power. All that the house risks.
pub(crate) const CREDIT: u64 = 3_000;
/// What each puts into its channel, sat.
const CAPACITY: u64 = 50_000;
/// A week.
const DELAY: u16 = 1_008;
/// Two minutes: how long a reading may have waited for its line.
const SKEW: u64 = 120;
/// Before the start: time for the funding's blocks.
const EARLY: u64 = 14_400;
/// 1 sat a virtual byte.
const RATE: u64 = 1_000;
/// 40 restarts leave half of a budget of all that is in a channel.
const SLICES: u64 = 80;
/// The house signs a voucher for work once six satoshis are due, or after ten minutes.
pub(crate) const PAY_AT: u64 = 6_000;
const PAY_AFTER: u64 = 600;

/// One side.
struct Side {
    end: EndId,
    seed: [u8; 32],
    terms: Terms,
    till: ScriptBuf,
}

/// A channel.
#[derive(Debug, Clone)]
struct Channel {
    outpoint: OutPoint,
    script: ScriptBuf,
}

/// Both machines, and the chain.
pub(crate) struct Home {
    pub(crate) world: World,
    fridge: Side,
    house: Side,
    /// From the house to the fridge, for work; from the fridge to the house, for power.
    work: Channel,
    power: Channel,
    link: Option<LinkId>,
    credit: Msat,
}

impl Home {
    /// Opens both channels, so that they are buried when the clock shows `start`.
    pub(crate) fn open(start: u64, seed: u64) -> Result<Self, Error> {
        let mut world = World::new()?;
        let early = UtcSeconds::new(start - EARLY)?;
        world.chain().with(|chain| chain.mine_at(early))?;
        world.pass(early.saturating_since(world.now().time))?;
        let (context, mut dice, credit) =
            (Context::new(), Dice::new(seed, "seeds"), Msat::new(CREDIT)?);
        let fridge = side(&mut world, &context, "fridge", dice.secret(), credit)?;
        let house = side(&mut world, &context, "house", dice.secret(), credit)?;
        let link = world.connect(fridge.end, house.end)?;
        let work = opening(&world, &context, &house, &fridge)?;
        let power = opening(&world, &context, &fridge, &house)?;
        let capacity = Sat::new(CAPACITY)?;
        let outputs = [&work, &power].map(|opening| (opening.script().clone(), capacity));
        let (funding, outpoints) = world.fundings(outputs.to_vec())?;
        let [of_work, of_power] = outpoints[..] else { return Err("two outputs".into()) };
        let work = fund(&mut world, &house, work, &funding, of_work)?;
        let power = fund(&mut world, &fridge, power, &funding, of_power)?;
        let mut home = Self { world, fridge, house, work, power, link: Some(link), credit };
        home.world.settle_down()?;
        home.world.mine(Blocks::new(DEPTH)?);
        home.world.settle_down()?;
        home.attach(link)?;
        home.world.settle_down()?;
        let now = home.world.now().time;
        home.world.pass(UtcSeconds::new(start)?.saturating_since(now))?;
        home.tend()?;
        Ok(home)
    }

    /// The fridge as the house's ledger knows it: the base key of its terms.
    pub(crate) fn worker(&self) -> WorkerKey {
        WorkerKey::new(self.fridge.terms.base.serialize())
    }

    /// The clock.
    pub(crate) fn now(&self) -> UtcSeconds {
        self.world.now().time
    }

    /// The house pays this worker by the channel of work; said again after each start.
    pub(crate) fn tend(&mut self) -> Result<(), Error> {
        let (pay_at, pay_after) = (Msat::new(PAY_AT)?, Seconds::new(PAY_AFTER)?);
        let policy = WorkPolicy { pay_at, pay_after, owed_max: Msat::MAX };
        self.world.command(self.house.end, Command::TendWork(policy))?;
        let (worker, outpoint) = (self.worker(), self.work.outpoint);
        let (session, budget) = (SessionId::new(1)?, Sat::new(CAPACITY)?.to_msat());
        let bind = Command::BindWorker { worker, outpoint, session, budget };
        self.world.command(self.house.end, bind)?;
        Ok(self.world.settle_down().map(|_| ())?)
    }

    fn attach(&mut self, link: LinkId) -> Result<(), Error> {
        let work = Command::Attach { link, outpoint: self.work.outpoint };
        self.world.command(self.house.end, work)?;
        let power = Command::Attach { link, outpoint: self.power.outpoint };
        Ok(self.world.command(self.fridge.end, power)?)
    }

    /// The line is up, again.
    pub(crate) fn connect(&mut self) -> Result<(), Error> {
        if self.link.is_none() {
            let link = self.world.connect(self.fridge.end, self.house.end)?;
            self.link = Some(link);
            self.attach(link)?;
            self.world.settle_down()?;
        }
        Ok(())
    }

    /// The line is down.
    pub(crate) fn disconnect(&mut self) -> Result<(), Error> {
        self.link.take().map_or(Ok(()), |link| Ok(self.world.disconnect(link)?))
    }

    pub(crate) const fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// The house loses power, or the fridge; with it the line.
    pub(crate) fn reboot(&mut self, house: bool) -> Result<(), Error> {
        self.link = None;
        Ok(self.world.reboot(if house { self.house.end } else { self.fridge.end })?)
    }

    /// The house credits work that it verified.
    pub(crate) fn credit(&mut self, credit: Credit) -> Result<(), Error> {
        let worker = self.worker();
        let command = Command::CreditWork { worker, credit };
        Ok(self.world.command(self.house.end, command)?)
    }

    /// What the fridge holds for its work, and the house for its power, msat, by their vouchers.
    pub(crate) fn held(&self) -> (u64, u64) {
        let held = |side: &Side, channel: &Channel| {
            let node = self.world.end(side.end).map(Endpoint::node);
            let payee = node.and_then(|node| node.payee(channel.outpoint));
            payee.map_or(0, |payee| payee.paid().to_msat())
        };
        (held(&self.fridge, &self.work), held(&self.house, &self.power))
    }

    /// The channel of work, for the fridge's own books.
    pub(crate) const fn work_channel(&self) -> OutPoint {
        self.work.outpoint
    }

    /// The house offers the session of power, the fridge takes it.
    pub(crate) fn begin_power(&mut self) -> Result<(), Error> {
        let (link, session) = (self.link.ok_or("no line")?, power_session()?);
        let window = Window { credit: self.credit, prepay: Msat::ZERO };
        let (skew, tolerance) = (Seconds::new(SKEW)?, Ppm::new(10_000)?);
        let tariff = Prices::USUAL.tariff()?;
        let offer = Command::OfferSession { link, session, tariff, window, skew, tolerance };
        self.world.command(self.house.end, offer)?;
        self.world.settle_down()?;
        let node = self.world.end(self.fridge.end).ok_or("no fridge")?.node();
        let offer = node.offer_hash(link, session).ok_or("no offer")?;
        let (outpoint, budget) = (self.power.outpoint, Sat::new(CAPACITY)?.to_msat());
        let slack = Quantity::new(1_000)?;
        let accept = Command::AcceptSession { session, offer, outpoint, budget, slack };
        self.world.command(self.fridge.end, accept)?;
        self.world.settle_down()?;
        Ok(())
    }

    /// Both meters count, in watt-seconds.
    pub(crate) fn meter(&mut self, total: u64) -> Result<(), Error> {
        let (session, total) = (power_session()?, Quantity::new(total)?);
        for end in [self.fridge.end, self.house.end] {
            match self.world.command(end, Command::Meter { session, total }) {
                // While a machine waits for its peer.
                Ok(()) | Err(WorldError::Node(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.world.settle_down()?;
        Ok(())
    }

    /// The session of power as the house counts it.
    pub(crate) fn power(&self) -> Option<&Session> {
        self.world.end(self.house.end)?.node().session(power_session().ok()?)
    }

    /// The fridge ends the session of power; what both then agree on, owed and paid, msat.
    pub(crate) fn end_power(&mut self) -> Result<Option<(u64, u64)>, Error> {
        let end = Command::EndSession(power_session()?);
        self.world.command(self.fridge.end, end)?;
        self.world.settle_down()?;
        let events = self.world.take_events(self.fridge.end)?;
        Ok(events.into_iter().find_map(|event| match event {
            Event::StatementAgreed { statement } => {
                Some((statement.owed.to_msat(), statement.paid.to_msat()))
            }
            _ => None,
        }))
    }

    /// Forgets what the machines told.
    pub(crate) fn hear(&mut self) -> Result<(), Error> {
        for end in [self.fridge.end, self.house.end] {
            let _told = self.world.take_events(end)?;
        }
        Ok(())
    }

    /// Both settle what they hold, in the night. Returns what the vouchers say, sat, and the books.
    pub(crate) fn night(&mut self) -> Result<(u64, Books), Error> {
        let ((worked, powered), mut due) = (self.held(), 0);
        for (side, held) in [(&self.fridge, worked), (&self.house, powered)] {
            let rate = FeeRate::new(RATE)?;
            let plan = settle(&mut self.world, side.end, &side.till, rate, usize::MAX)?;
            due += if plan.groups.is_empty() { 0 } else { held / 1_000 };
        }
        self.world.settle_down()?;
        self.world.mine(Blocks::new(DEPTH + 1)?);
        self.world.settle_down()?;
        let owners = BTreeMap::from([
            (self.work.script.clone(), Owner::Channel),
            (self.power.script.clone(), Owner::Channel),
            (self.fridge.till.clone(), Owner::Payee),
            (self.house.till.clone(), Owner::Payee),
        ]);
        let fundings = [self.work.outpoint, self.power.outpoint];
        Ok((due, Books::read(self.world.chain(), &fundings, &owners)))
    }
}

fn power_session() -> Result<SessionId, Error> {
    Ok(SessionId::new(2)?)
}

/// A machine that is paid and pays.
fn side(
    world: &mut World,
    context: &Context,
    name: &'static str,
    seed: [u8; 32],
    credit: Msat,
) -> Result<Side, Error> {
    let base = Seed::new(seed).base_key(context, NETWORK)?.public();
    let mut terms = Terms::new(NETWORK, base)?;
    let (delay, capacity) = (Delay::new(DELAY)?, Sat::new(CAPACITY)?);
    (terms.delay, terms.capacity) = ((delay, delay), (capacity, capacity));
    terms.confirmation_depth = Blocks::new(DEPTH)?;
    terms.settle_margin = Blocks::new(36)?;
    terms.credit = credit;
    terms.tariff = Prices::USUAL.tariff()?.hash().0;
    let mut machine = Machine::payee(name, seed, terms.clone());
    machine.policy.slice = Sat::new(CAPACITY / SLICES)?.to_msat();
    let end = world.add(machine)?;
    Ok(Side { end, seed, terms, till: till(context, &seed)? })
}

fn opening(world: &World, context: &Context, from: &Side, to: &Side) -> Result<Opening, Error> {
    let (index, delay) = (KeyIndex::new(0)?, Delay::new(DELAY)?);
    let key = Seed::new(from.seed).payer_key(context, NETWORK, index)?.public();
    let view = world.end(from.end).ok_or("no machine")?.node().view(world.now().time)?;
    let (capacity, own) = (Sat::new(CAPACITY)?, ChangeScript::Own);
    Ok(Opening::new(context, &to.terms, index, key, delay, capacity, own, &view)?)
}

fn fund(
    world: &mut World,
    from: &Side,
    opening: Opening,
    funding: &Transaction,
    outpoint: OutPoint,
) -> Result<Channel, Error> {
    let (_, backup, _) = opening.funded(outpoint);
    let backup = backup.seal(&Seed::new(from.seed).backup_key(NETWORK));
    let script = opening.script().clone();
    let (opening, funding, vout) = (Box::new(opening), funding.clone(), outpoint.vout);
    world.command(from.end, Command::Fund { link: None, opening, funding, vout, backup })?;
    Ok(Channel { outpoint, script })
}
