//! A car, a station, a chain and the channel between them: what they do to each other, in words.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bitcoin::{Network, OutPoint, ScriptBuf};
use millstream::keys::{Context, Seed};
use millstream::meter::{Session, State, Window};
use millstream::node::{Command, Event, LinkId, NodeError};
use millstream::signer::budget::Policy;
use millstream::sim::world::{EndId, Fate, Machine, Weather, World, WorldError};
use millstream::stream::Terms;
use millstream::stream::payer::Opening;
use millstream::tx::{ChangeScript, Delay, payee_script};
use millstream::units::{
    Blocks, FeeRate, KeyIndex, Msat, Ppm, Quantity, Sat, Seconds, SessionId, UtcSeconds,
};

use crate::common::Error;
use crate::common::books::{Books, Owner};
use crate::common::dice::Dice;
use crate::common::prices::Prices;

/// 100 sat: a little more than three seconds at 150 kW in the evening. It is all that the station
/// risks; the car risks nothing, because it pays behind.
pub(crate) const CREDIT: u64 = 100_000;
/// 2.5 %: what a car's own meter and a calibrated one may differ by.
pub(crate) const TOLERANCE_PPM: u64 = 25_000;
/// Two minutes: a reading that waited for the line to come back keeps its stamp, and is refused if
/// it is older. At the end of the peak it is worth at most 750 sat to a station that lies about it.
pub(crate) const SKEW: u64 = 120;
/// One second at 150 kW: a reading that the car's meter has not made yet.
pub(crate) const SLACK: u64 = 150_000;
/// What the car puts into the channel, sat.
pub(crate) const CAPACITY: u64 = 100_000;
/// A day: the station settles within it, and the car waits so long for a station that is gone.
pub(crate) const DELAY: u16 = 144;
/// 30 minutes: how deep funding and spends are buried before they count for good.
pub(crate) const DEPTH: u32 = 3;
/// 3 sat a virtual byte.
const RATE: u64 = 3_000;
/// The fee of a close, sat: above 3 sat/vB for its 186 vB.
const CLOSE_FEE: u64 = 600;
const NETWORK: Network = Network::Regtest;

/// Breaks the connection at a random message: it and everything behind it are lost.
#[derive(Debug)]
struct Breaks {
    dice: Dice,
    ppm: u64,
    broken: Rc<Cell<bool>>,
}

impl Weather for Breaks {
    fn fate(&mut self, _from: EndId, _bytes: usize) -> Fate {
        if self.dice.chance(self.ppm) {
            self.broken.set(true);
        }
        if self.broken.get() { Fate::Lost } else { Fate::Arrives }
    }
}

/// The world of one episode.
#[derive(Debug)]
pub(crate) struct Scene {
    /// Machines, links, chain, time.
    pub(crate) world: World,
    /// The car.
    pub(crate) car: EndId,
    /// The station.
    pub(crate) station: EndId,
    /// The cable's data line, if it is up.
    pub(crate) link: Option<LinkId>,
    /// Where the channel is now.
    pub(crate) outpoint: OutPoint,
    /// Where it was funded.
    pub(crate) funded: OutPoint,
    /// The session that counts.
    pub(crate) session: SessionId,
    broken: Rc<Cell<bool>>,
    credit: Msat,
    till: ScriptBuf,
    wallet: ScriptBuf,
    channel: ScriptBuf,
}

impl Scene {
    /// Opens a channel on the chain, so that it is buried when the clock shows `start`.
    pub(crate) fn open(start: u64, seed: u64, credit: u64) -> Result<Self, Error> {
        let mut world = World::new()?;
        let early = UtcSeconds::new(start - 7_200)?;
        world.chain().with(|chain| chain.mine_at(early))?;
        world.pass(early.saturating_since(world.now().time))?;
        let context = Context::new();
        let (car_seed, station_seed) =
            (Dice::new(seed, "car").secret(), Dice::new(seed, "station").secret());
        let base = Seed::new(station_seed).base_key(&context, NETWORK)?.public();
        let terms = terms(base, Prices::USUAL)?;
        let car = world.add(car_machine(car_seed)?)?;
        let station = world.add(Machine::payee("station", station_seed, terms.clone()))?;
        let link = world.connect(car, station)?;

        let car_seed = Seed::new(car_seed);
        let index = KeyIndex::new(0)?;
        let key = car_seed.payer_key(&context, NETWORK, index)?.public();
        let node = world.end(car).ok_or("no car")?.node();
        let view = node.view(world.now().time)?;
        let (delay, own) = (Delay::new(DELAY)?, ChangeScript::Own);
        let capacity = Sat::new(CAPACITY)?;
        let opening = Opening::new(&context, &terms, index, key, delay, capacity, own, &view)?;
        let channel = opening.script().clone();
        let (funding, outpoint) = world.funding(channel.clone(), capacity)?;
        let (_, backup, _) = opening.funded(outpoint);
        let backup = backup.seal(&car_seed.backup_key(NETWORK));
        let (opening, vout) = (Box::new(opening), outpoint.vout);
        let fund = Command::Fund { link: Some(link), opening, funding, vout, backup };
        world.command(car, fund)?;
        world.settle_down()?;
        world.mine(Blocks::new(DEPTH)?);
        world.settle_down()?;
        let now = world.now().time;
        world.pass(UtcSeconds::new(start)?.saturating_since(now))?;

        let machine = world.end(station).and_then(|end| end.node().payee(outpoint));
        let payee = machine.ok_or("the station did not take the channel")?;
        let till = payee_script(&context, payee.channel().output().payee())?;
        let coin = car_seed.coin_key(&context, NETWORK, index)?.public();
        let wallet = ScriptBuf::new_p2tr(context.secp(), coin, None);
        let (link, session) = (Some(link), SessionId::MIN);
        let (broken, credit) = (Rc::new(Cell::new(false)), Msat::new(credit)?);
        let funded = outpoint;
        Ok(Self {
            world,
            car,
            station,
            link,
            outpoint,
            funded,
            session,
            broken,
            credit,
            till,
            wallet,
            channel,
        })
    }

    /// Lets connections break with this chance a message.
    pub(crate) fn set_breaks(&mut self, dice: Dice, ppm: u64) {
        let broken = Rc::clone(&self.broken);
        self.world.set_weather(Box::new(Breaks { dice, ppm, broken }));
    }

    /// Whether the connection broke since the last call.
    pub(crate) fn take_break(&self) -> bool {
        self.broken.replace(false)
    }

    /// The clock, seconds UTC.
    pub(crate) fn utc(&self) -> u64 {
        self.world.now().time.to_u64()
    }

    /// The station offers a session at these prices.
    pub(crate) fn offer(&mut self, prices: Prices) -> Result<(), Error> {
        let Some(link) = self.link else { return Ok(()) };
        self.session = SessionId::new(self.session.to_u64() + 1)?;
        let offer = Command::OfferSession {
            link,
            session: self.session,
            tariff: prices.tariff()?,
            window: Window { credit: self.credit, prepay: Msat::ZERO },
            skew: Seconds::new(SKEW)?,
            tolerance: Ppm::new(u32::try_from(TOLERANCE_PPM)?)?,
        };
        self.world.command(self.station, offer)?;
        self.quiet()
    }

    /// What the car was offered and has not taken.
    pub(crate) fn offered(&self) -> Option<&Session> {
        self.world.end(self.car)?.node().offer(self.link?, self.session)
    }

    /// The car takes the session that it was offered, up to `budget` sat. Not before its last payment
    /// is acknowledged: whether it took it.
    pub(crate) fn accept(&mut self, budget: u64) -> Result<bool, Error> {
        let (session, outpoint) = (self.session, self.outpoint);
        let (budget, slack) = (Sat::new(budget)?.to_msat(), Quantity::new(SLACK)?);
        let node = self.world.end(self.car).ok_or("no car")?.node();
        let named = self.link.and_then(|link| node.offer_hash(link, session));
        let Some(offer) = named else { return Ok(false) };
        let accept = Command::AcceptSession { session, offer, outpoint, budget, slack };
        match self.world.command(self.car, accept) {
            Ok(()) => self.quiet().map(|()| true),
            Err(WorldError::Node(NodeError::NotAsked { .. } | NodeError::Busy { .. })) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Both meters are read, the car's first.
    pub(crate) fn read_meters(
        &mut self,
        car: Option<u64>,
        station: Option<u64>,
    ) -> Result<(), Error> {
        for (end, total) in [(self.car, car), (self.station, station)] {
            let state = self.session_of(end).map(|session| session.record().state());
            let takes = match state {
                Some(State::Active) => true,
                Some(State::Paused) => end == self.car,
                _ => false,
            };
            let Some(total) = total.filter(|_| takes) else { continue };
            let (session, total) = (self.session, Quantity::new(total)?);
            self.world.command(end, Command::Meter { session, total })?;
        }
        self.quiet()
    }

    /// One side ends the session, if it has not ended.
    pub(crate) fn end_session(&mut self, end: EndId) -> Result<(), Error> {
        let over = |session: &Session| session.record().state() == State::Ended;
        if self.session_of(end).is_some_and(|session| !over(session)) {
            self.world.command(end, Command::EndSession(self.session))?;
        }
        self.quiet()
    }

    /// The data line goes.
    pub(crate) fn disconnect(&mut self) -> Result<(), Error> {
        match self.link.take() {
            Some(link) => Ok(self.world.disconnect(link)?),
            None => Ok(()),
        }
    }

    /// The data line comes back, and the car takes its channel up again.
    pub(crate) fn reconnect(&mut self) -> Result<(), Error> {
        self.disconnect()?;
        self.broken.set(false);
        let link = self.world.connect(self.car, self.station)?;
        self.link = Some(link);
        let outpoint = self.outpoint;
        self.world.command(self.car, Command::Attach { link, outpoint })?;
        self.quiet()
    }

    /// Power cut and restart of one side; the line is down afterwards.
    pub(crate) fn reboot(&mut self, end: EndId) -> Result<(), Error> {
        self.link = None;
        Ok(self.world.reboot(end)?)
    }

    /// The station takes what it holds to the chain; the channel goes on with the rest.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        let outpoints = vec![self.outpoint];
        let (script, rate) = (self.till.clone(), FeeRate::new(RATE)?);
        self.world.command(self.station, Command::Settle { outpoints, script, rate })?;
        self.quiet()
    }

    /// Both sign the channel away.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        let (outpoint, script) = (self.outpoint, self.wallet.clone());
        let close = Command::Close { outpoint, script, fee: Sat::new(CLOSE_FEE)? };
        self.world.command(self.car, close)?;
        self.quiet()
    }

    /// The car takes its money back after the deadline.
    pub(crate) fn refund(&mut self) -> Result<(), Error> {
        let (outpoint, script) = (self.outpoint, self.wallet.clone());
        let refund = Command::Refund { outpoint, script, rate: FeeRate::new(RATE)? };
        self.world.command(self.car, refund)?;
        self.quiet()
    }

    /// A block at the clock's time.
    pub(crate) fn block(&mut self) -> Result<(), Error> {
        let time = self.world.now().time;
        self.world.chain().with(|chain| chain.mine_at(time))?;
        self.quiet()
    }

    /// The last `depth` blocks are replaced by as many and one more, all of them empty.
    pub(crate) fn reorg(&mut self, depth: u32) -> Result<(), Error> {
        let branch: Vec<Vec<bitcoin::Transaction>> = (0..=depth).map(|_| Vec::new()).collect();
        let depth = Blocks::new(depth)?;
        self.world.chain().with(|chain| chain.reorg(depth, &branch))?;
        self.quiet()
    }

    /// Mines until neither side has a channel, at most `blocks`.
    pub(crate) fn bury(&mut self, blocks: u32) -> Result<(), Error> {
        for _ in 0..blocks {
            if !self.has_channels() {
                break;
            }
            self.world.mine(Blocks::new(1)?);
            self.quiet()?;
        }
        Ok(())
    }

    /// Whether either side still knows a channel.
    pub(crate) fn has_channels(&self) -> bool {
        let ends = [self.car, self.station].into_iter().filter_map(|end| self.world.end(end));
        ends.into_iter().any(|end| end.node().payers().count() + end.node().payees().count() > 0)
    }

    /// Everybody acts until it is quiet; the car remembers where its channel is.
    pub(crate) fn quiet(&mut self) -> Result<(), Error> {
        self.world.settle_down()?;
        Ok(())
    }

    /// What a machine has told.
    pub(crate) fn take_events(&mut self, end: EndId) -> Result<Vec<Event>, Error> {
        Ok(self.world.take_events(end)?)
    }

    /// What a machine has refused.
    pub(crate) fn take_refusals(&mut self, end: EndId) -> Result<Vec<NodeError>, Error> {
        Ok(self.world.end_mut(end)?.take_refusals())
    }

    /// One side's view of the session that counts.
    pub(crate) fn session_of(&self, end: EndId) -> Option<&Session> {
        self.world.end(end)?.node().session(self.session)
    }

    /// Commits and barriers of both stores.
    pub(crate) fn commits(&self) -> (u64, u64) {
        let ends = [self.car, self.station].into_iter().filter_map(|end| self.world.end(end));
        ends.fold((0, 0), |(commits, barriers), end| {
            (commits + end.store().commits(), barriers + end.store().barriers())
        })
    }

    /// Where the channel's money went on the chain.
    pub(crate) fn books(&self) -> Books {
        let owners = BTreeMap::from([
            (self.channel.clone(), Owner::Channel),
            (self.till.clone(), Owner::Payee),
            (self.wallet.clone(), Owner::Payer),
        ]);
        Books::read(self.world.chain(), &[self.funded], &owners)
    }
}

/// A car that pays at most so much, whatever it is told.
fn car_machine(seed: [u8; 32]) -> Result<Machine, Error> {
    let mut machine = Machine::payer("car", seed);
    let budget = |sat: u64| -> Result<Msat, Error> { Ok(Sat::new(sat)?.to_msat()) };
    machine.policy = Policy {
        hour: budget(80_000)?,
        day: budget(150_000)?,
        peer: budget(100_000)?,
        slice: budget(2_000)?,
    };
    machine.config.resend_after = Seconds::new(2)?;
    Ok(machine)
}

/// What the station's printed code says.
fn terms(base: bitcoin::XOnlyPublicKey, prices: Prices) -> Result<Terms, Error> {
    let mut terms = Terms::new(NETWORK, base)?;
    terms.delay = (Delay::new(DELAY)?, Delay::new(1_008)?);
    terms.capacity = (Sat::new(20_000)?, Sat::new(1_000_000)?);
    terms.confirmation_depth = Blocks::new(DEPTH)?;
    terms.settle_margin = Blocks::new(18)?;
    // A rollover of its own making: the station goes on serving before it is buried.
    terms.zero_conf_limit = Sat::new(50_000)?;
    terms.tariff = prices.tariff()?.hash().0;
    terms.credit = Msat::new(CREDIT)?;
    terms.prepay = Msat::ZERO;
    Ok(terms)
}
