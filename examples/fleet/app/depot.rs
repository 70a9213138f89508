//! The operator, its cars and the chain: what they do to each other, in words.

use std::collections::BTreeMap;

use bitcoin::{Network, OutPoint, ScriptBuf};
use millstream::keys::{Context, Seed};
use millstream::meter::{Session, Window};
use millstream::node::plan::{Forecast, Plan, Policy};
use millstream::node::{Command, LinkId};
use millstream::sim::world::{EndId, Machine, World};
use millstream::stream::Terms;
use millstream::stream::payer::Opening;
use millstream::tx::{ChangeScript, Delay};
use millstream::units::{
    Blocks, FeeRate, KeyIndex, Msat, Ppm, Quantity, Sat, Seconds, SessionId, UtcSeconds,
};

use crate::common::Error;
use crate::common::books::{Books, Owner};
use crate::common::dice::Dice;
use crate::common::prices::Prices;

/// 1,500 sat: two steps of two minutes at 50 kW, because here a day takes seconds and meters are read
/// every two minutes; a charger that reads every second needs a hundredth (see `ev_charger`).
pub(crate) const CREDIT: u64 = 1_500_000;
/// What a car puts into its channel, sat.
pub(crate) const CAPACITY: u64 = 40_000;
/// Four days: every night has time to settle, and bad ones too.
const DELAY: u16 = 576;
/// How deep fundings and spends are buried.
pub(crate) const DEPTH: u32 = 3;
/// 200 channels a funding transaction: 8,700 vB, below the 10,000 of version 3.
const FUNDED_AT_ONCE: usize = 200;
/// 1 sat a virtual byte: the night is cheap.
const RATE: u64 = 1_000;
/// Ten minutes: how long a reading may have waited for its line.
const SKEW: u64 = 600;
const NETWORK: Network = Network::Regtest;

/// A car and its channel.
#[derive(Debug)]
pub(crate) struct Car {
    /// Its machine.
    pub(crate) end: EndId,
    /// Its connection, while it is there.
    pub(crate) link: Option<LinkId>,
    /// Where its channel is.
    pub(crate) outpoint: OutPoint,
    /// Its channel's script.
    pub(crate) script: ScriptBuf,
}

/// The world of the example.
#[derive(Debug)]
pub(crate) struct Depot {
    /// Machines, links, chain, time.
    pub(crate) world: World,
    /// The operator.
    pub(crate) station: EndId,
    /// Its cars.
    pub(crate) cars: Vec<Car>,
    fundings: Vec<OutPoint>,
    till: ScriptBuf,
    context: Context,
    credit: Msat,
}

impl Depot {
    /// Opens a channel for each of `count` cars, so that all are buried when the clock shows `start`.
    pub(crate) fn open(start: u64, seed: u64, count: u64, credit: u64) -> Result<Self, Error> {
        let mut world = World::new()?;
        let early = UtcSeconds::new(start - 14_400)?;
        world.chain().with(|chain| chain.mine_at(early))?;
        world.pass(early.saturating_since(world.now().time))?;
        let context = Context::new();
        let mut dice = Dice::new(seed, "seeds");
        let station_seed = secret(&mut dice);
        let base = Seed::new(station_seed).base_key(&context, NETWORK)?.public();
        let coin = Seed::new(station_seed).coin_key(&context, NETWORK, KeyIndex::new(0)?)?;
        let till = ScriptBuf::new_p2tr(context.secp(), coin.public(), None);
        let terms = terms(base)?;
        let station = world.add(Machine::payee("station", station_seed, terms.clone()))?;
        let (cars, fundings, credit) = (Vec::new(), Vec::new(), Msat::new(credit)?);
        let mut depot = Self { world, station, cars, fundings, till, context, credit };
        let seeds: Vec<[u8; 32]> = (0..count).map(|_| secret(&mut dice)).collect();
        for seeds in seeds.chunks(FUNDED_AT_ONCE) {
            depot.open_some(&terms, seeds)?;
        }
        depot.world.mine(Blocks::new(DEPTH)?);
        depot.world.settle_down()?;
        let now = depot.world.now().time;
        depot.world.pass(UtcSeconds::new(start)?.saturating_since(now))?;
        Ok(depot)
    }

    /// One funding transaction for all of these cars.
    fn open_some(&mut self, terms: &Terms, seeds: &[[u8; 32]]) -> Result<(), Error> {
        let (index, delay, capacity) = (KeyIndex::new(0)?, Delay::new(DELAY)?, Sat::new(CAPACITY)?);
        let mut openings = Vec::with_capacity(seeds.len());
        for seed in seeds {
            let end = self.world.add(Machine::payer("car", *seed))?;
            let seed = Seed::new(*seed);
            let key = seed.payer_key(&self.context, NETWORK, index)?.public();
            let view = self.world.end(end).ok_or("no car")?.node().view(self.world.now().time)?;
            let own = ChangeScript::Own;
            let opening =
                Opening::new(&self.context, terms, index, key, delay, capacity, own, &view)?;
            openings.push((end, seed, opening));
        }
        let outputs = openings.iter().map(|(_, _, o)| (o.script().clone(), capacity)).collect();
        let (funding, outpoints) = self.world.fundings(outputs)?;
        for ((end, seed, opening), outpoint) in openings.into_iter().zip(outpoints) {
            let link = self.world.connect(end, self.station)?;
            let (_, backup, _) = opening.funded(outpoint);
            let backup = backup.seal(&seed.backup_key(NETWORK));
            let (script, vout) = (opening.script().clone(), outpoint.vout);
            let (opening, funding) = (Box::new(opening), funding.clone());
            let fund = Command::Fund { link: Some(link), opening, funding, vout, backup };
            self.world.command(end, fund)?;
            self.cars.push(Car { end, link: Some(link), outpoint, script });
            self.fundings.push(outpoint);
        }
        self.world.settle_down()?;
        for car in &mut self.cars {
            if let Some(link) = car.link.take() {
                self.world.disconnect(link)?;
            }
        }
        Ok(())
    }

    /// The clock, seconds UTC.
    pub(crate) fn utc(&self) -> u64 {
        self.world.now().time.to_u64()
    }

    /// A car plugs in, or is back, and takes up its channel.
    pub(crate) fn connect(&mut self, car: usize) -> Result<(), Error> {
        let station = self.station;
        let car = self.cars.get_mut(car).ok_or("no car")?;
        let link = self.world.connect(car.end, station)?;
        car.link = Some(link);
        let attach = Command::Attach { link, outpoint: car.outpoint };
        Ok(self.world.command(car.end, attach)?)
    }

    /// A car's line is gone.
    pub(crate) fn disconnect(&mut self, car: usize) -> Result<(), Error> {
        let car = self.cars.get_mut(car).ok_or("no car")?;
        match car.link.take() {
            Some(link) => Ok(self.world.disconnect(link)?),
            None => Ok(()),
        }
    }

    /// A machine loses power; its connections are gone.
    pub(crate) fn reboot(&mut self, car: Option<usize>) -> Result<(), Error> {
        let end = if let Some(car) = car {
            let car = self.cars.get_mut(car).ok_or("no car")?;
            car.link = None;
            car.end
        } else {
            for car in &mut self.cars {
                car.link = None;
            }
            self.station
        };
        Ok(self.world.reboot(end)?)
    }

    /// The operator offers a session to a car that is connected.
    pub(crate) fn offer(&mut self, car: usize, prices: Prices) -> Result<(), Error> {
        let link = self.cars.get(car).and_then(|car| car.link).ok_or("not connected")?;
        let offer = Command::OfferSession {
            link,
            session: session_id(car)?,
            tariff: prices.tariff()?,
            window: Window { credit: self.credit, prepay: Msat::ZERO },
            skew: Seconds::new(SKEW)?,
            tolerance: Ppm::new(25_000)?,
        };
        Ok(self.world.command(self.station, offer)?)
    }

    /// The car takes it.
    pub(crate) fn accept(&mut self, car: usize) -> Result<(), Error> {
        let session = session_id(car)?;
        let Car { end, outpoint, link, .. } = *self.cars.get(car).ok_or("no car")?;
        let (budget, slack) = (Sat::new(CAPACITY)?.to_msat(), Quantity::new(1_000)?);
        let node = self.world.end(end).ok_or("no car")?.node();
        let named = link.and_then(|link| node.offer_hash(link, session));
        let offer = named.ok_or("no offer")?;
        let accept = Command::AcceptSession { session, offer, outpoint, budget, slack };
        Ok(self.world.command(end, accept)?)
    }

    /// Both meters of a car's session.
    pub(crate) fn read_meters(
        &mut self,
        car: usize,
        total: u64,
        station: bool,
    ) -> Result<(), Error> {
        let (session, total) = (session_id(car)?, Quantity::new(total)?);
        let end = self.cars.get(car).ok_or("no car")?.end;
        self.world.command(end, Command::Meter { session, total })?;
        if station {
            self.world.command(self.station, Command::Meter { session, total })?;
        }
        Ok(())
    }

    /// The car ends its session.
    pub(crate) fn end_session(&mut self, car: usize) -> Result<(), Error> {
        let end = self.cars.get(car).ok_or("no car")?.end;
        Ok(self.world.command(end, Command::EndSession(session_id(car)?))?)
    }

    /// One side's view of a car's session: the operator's, or the car's own.
    pub(crate) fn session(&self, car: usize, own: bool) -> Option<&Session> {
        let end = if own { self.cars.get(car)?.end } else { self.station };
        self.world.end(end)?.node().session(session_id(car).ok()?)
    }

    /// Settles what the night is cheap enough for, by the operator's own plan.
    pub(crate) fn settle(&mut self) -> Result<Plan, Error> {
        let (rate, mut policy) = (FeeRate::new(RATE)?, Policy::new(self.till.clone()));
        policy.early = Blocks::new(u32::from(DELAY))?;
        let from = self.world.chain().with(|chain| chain.tip()).height;
        let night = Some(Forecast { from, rate });
        let station = self.world.end(self.station).ok_or("no station")?;
        let plan = station.node().plan(rate, night, &[], &policy)?;
        for group in &plan.groups {
            let (outpoints, script) = (group.outpoints.clone(), self.till.clone());
            let settle = Command::Settle { outpoints, script, rate: group.rate };
            self.world.command(self.station, settle)?;
        }
        Ok(plan)
    }

    /// Where the money went on the chain.
    pub(crate) fn books(&self) -> Books {
        let mut owners: BTreeMap<ScriptBuf, Owner> =
            self.cars.iter().map(|car| (car.script.clone(), Owner::Channel)).collect();
        owners.insert(self.till.clone(), Owner::Payee);
        Books::read(self.world.chain(), &self.fundings, &owners)
    }
}

/// A car has one session in the day.
fn session_id(car: usize) -> Result<SessionId, Error> {
    Ok(SessionId::new(u64::try_from(car)? + 1)?)
}

fn terms(base: bitcoin::XOnlyPublicKey) -> Result<Terms, Error> {
    let mut terms = Terms::new(NETWORK, base)?;
    terms.delay = (Delay::new(144)?, Delay::new(1_008)?);
    terms.capacity = (Sat::new(20_000)?, Sat::new(1_000_000)?);
    terms.confirmation_depth = Blocks::new(DEPTH)?;
    terms.settle_margin = Blocks::new(36)?;
    terms.tariff = Prices::USUAL.tariff()?.hash().0;
    terms.credit = Msat::new(CREDIT)?;
    Ok(terms)
}

/// A seed for a simulation: worth nothing.
fn secret(dice: &mut Dice) -> [u8; 32] {
    core::array::from_fn(|_| u8::try_from(dice.between(0, 256)).unwrap_or(0))
}
