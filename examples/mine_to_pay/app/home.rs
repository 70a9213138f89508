//! The home: the fridge's machine and the house's, a channel in each direction, both funded by one
//! transaction.

use bitcoin::{OutPoint, ScriptBuf, Transaction};
use millstream::keys::Context;
use millstream::ledger::{Credit, WorkerKey};
use millstream::meter::{Session, Window};
use millstream::node::{Command, Event, LinkId, WorkPolicy};
use millstream::sim::world::{EndId, Machine, World};
use millstream::stream::Terms;
use millstream::stream::payer::Opening;
use millstream::units::{FeeRate, Msat, Ppm, Quantity, Seconds, SessionId, UtcSeconds};

use crate::common::Error;
use crate::common::books::Books;
use crate::common::dice::Dice;
use crate::common::prices::Prices;
use crate::common::stage::{self, DEPTH, Payer, Size, settle, till};

/// 3 sat: some minutes of power. All that the house risks.
pub(crate) const CREDIT: u64 = 3_000;
/// What each puts into its channel, for a week.
const SIZE: Size = Size { delay: 1_008, capacity: 50_000 };
/// Two minutes: how long a reading may have waited for its line.
const SKEW: u64 = 120;
/// 1 sat a virtual byte.
const RATE: u64 = 1_000;
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

impl Side {
    const fn payer(&self) -> Payer<'_> {
        Payer { end: self.end, seed: &self.seed }
    }
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
        let mut world = stage::set(start)?;
        let (context, mut dice, credit) =
            (Context::new(), Dice::new(seed, "seeds"), Msat::new(CREDIT)?);
        let fridge = side(&mut world, &context, "fridge", dice.secret(), credit)?;
        let house = side(&mut world, &context, "house", dice.secret(), credit)?;
        let link = world.connect(fridge.end, house.end)?;
        let work = SIZE.opening(&world, &context, house.payer(), &fridge.terms, 0)?;
        let power = SIZE.opening(&world, &context, fridge.payer(), &house.terms, 0)?;
        let capacity = SIZE.capacity()?;
        let outputs = [&work, &power].map(|opening| (opening.script().clone(), capacity));
        let (funding, outpoints) = world.fundings(outputs.to_vec())?;
        let [of_work, of_power] = outpoints[..] else { return Err("two outputs".into()) };
        let work = fund(&mut world, &house, work, &funding, of_work)?;
        let power = fund(&mut world, &fridge, power, &funding, of_power)?;
        let mut home = Self { world, fridge, house, work, power, link: Some(link), credit };
        stage::bury(&mut home.world, DEPTH)?;
        home.attach(link)?;
        home.world.settle_down()?;
        stage::wait_for(&mut home.world, start)?;
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
        let (session, budget) = (SessionId::new(1)?, SIZE.capacity()?.to_msat());
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
        let held = |side: &Side, channel| stage::held(&self.world, side.end, channel);
        (held(&self.fridge, self.work.outpoint), held(&self.house, self.power.outpoint))
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
        let (outpoint, budget) = (self.power.outpoint, SIZE.capacity()?.to_msat());
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
            let _ready = stage::run(&mut self.world, end, Command::Meter { session, total })?;
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
        stage::bury(&mut self.world, DEPTH + 1)?;
        let channels = [&self.work, &self.power].map(|at| (at.outpoint, at.script.clone()));
        let tills = [&self.fridge, &self.house].map(|side| side.till.clone());
        Ok((due, Books::of(&self.world, channels.into_iter(), tills)))
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
    let mut terms = SIZE.terms(context, &seed)?;
    terms.credit = credit;
    terms.tariff = Prices::USUAL.tariff()?.hash().0;
    let end = world.add(SIZE.paying(Machine::payee(name, seed, terms.clone()))?)?;
    Ok(Side { end, seed, terms, till: till(context, &seed)? })
}

/// The payer's side of a channel.
fn fund(
    world: &mut World,
    from: &Side,
    opening: Opening,
    funding: &Transaction,
    outpoint: OutPoint,
) -> Result<Channel, Error> {
    let script = stage::fund(world, from.payer(), opening, funding, outpoint)?;
    Ok(Channel { outpoint, script })
}
