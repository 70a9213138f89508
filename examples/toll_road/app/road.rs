//! The road: who owns which metre, what it costs, and the cars' windows of metres.

use std::collections::BTreeMap;

use millstream::batch::item::{Item, LeafSize, Run};
use millstream::node::Command;
use millstream::signer::{PeerId, Signer};
use millstream::sim::world::WorldError;
use millstream::stream::Terms;
use millstream::units::{ItemId, Lane, Msat, Price, Quantity, SessionId};

use crate::common::Error;
use crate::common::crowd::{Crowd, Setting};
use crate::common::stage::Size;

/// Whose metres they are.
pub(crate) const OWNERS: [&str; 3] = ["motorway", "bridge", "tunnel"];
/// The lane of what the gantry asks for itself.
const SERVICE: usize = OWNERS.len();
/// The lanes of every channel: one of each owner, and the gantry's own.
pub(crate) const LANES: usize = OWNERS.len() + 1;
/// What a metre costs in each lane, msat.
const PRICES: [u64; LANES] = [120, 400, 600, 5];
/// Ten kilometres, again and again: where each owner's part ends, metres.
const ENDS: [u64; OWNERS.len()] = [7_000, 8_500, 10_000];
/// 1,500 sat: the dearest minute at 120 km/h and a quarter of another. All that the gantry risks.
pub(crate) const CREDIT: u64 = 1_500_000;
/// What a car puts into its channel, sat.
pub(crate) const CAPACITY: u64 = 20_000;
/// Four days.
const DELAY: u16 = 576;
const SESSION: SessionId = SessionId::MIN;

/// Metres in each lane, counted one by one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metres([Run; LANES]);

impl Metres {
    /// None, in runs that may cost a channel at most.
    pub(crate) fn none() -> Result<Self, Error> {
        let cap = Msat::new(CAPACITY * 1_000)?;
        let run = |lane: usize| -> Result<Run, Error> { Ok(Run::new(price(lane)?, cap)) };
        Ok(Self([run(0)?, run(1)?, run(2)?, run(SERVICE)?]))
    }

    /// Drives `metres` from position `from` on: each is one tick of its owner's run.
    pub(crate) fn drive(&mut self, from: u64, metres: u64) -> Result<(), Error> {
        let one = Quantity::new(1)?;
        for metre in from..from + metres {
            self.0[owner_of(metre)].tick(one)?;
            self.0[SERVICE].tick(one)?;
        }
        Ok(())
    }

    /// What they cost in each lane, msat.
    pub(crate) fn cost(&self) -> [u64; LANES] {
        let mut cost = [0; LANES];
        for (cost, run) in cost.iter_mut().zip(&self.0) {
            // A run of nothing has no charge.
            *cost = run.charge().amount().map_or(0, Msat::to_msat);
        }
        cost
    }
}

/// Whose metre it is.
fn owner_of(metre: u64) -> usize {
    let along = metre % ENDS[OWNERS.len() - 1];
    ENDS.iter().position(|end| along < *end).unwrap_or(0)
}

/// What `metres` from `from` on cost, msat; counted without the library, to check it.
pub(crate) fn worth(from: u64, metres: u64) -> u64 {
    (from..from + metres).map(|metre| PRICES[owner_of(metre)] + PRICES[SERVICE]).sum()
}

fn price(lane: usize) -> Result<Price, Error> {
    Ok(Price::new(Msat::new(PRICES[lane])?, 1)?)
}

/// The lane of a number.
pub(crate) fn lane(lane: usize) -> Result<Lane, Error> {
    Ok(Lane::new(u16::try_from(lane)?)?)
}

/// The cars, the gantry and their channels.
#[derive(Debug)]
pub(crate) struct Road {
    /// All of them.
    pub(crate) crowd: Crowd,
    /// Windows that were signed.
    pub(crate) windows: u64,
    /// Items in them.
    pub(crate) items: u64,
}

impl Road {
    /// Opens a channel for each car, and its lanes.
    pub(crate) fn open(start: u64, seed: u64, count: u64) -> Result<Self, Error> {
        let (names, size) = (("gantry", "car"), Size { delay: DELAY, capacity: CAPACITY });
        let setting = Setting { names, start, count, size, terms };
        let crowd = Crowd::open(&setting, seed)?;
        let mut road = Self { crowd, windows: 0, items: 0 };
        for car in 0..road.crowd.members.len() {
            road.open_budget(car)?;
            let member = road.crowd.members.get(car).ok_or("no car")?;
            let (end, outpoint) = (member.end, member.outpoint);
            for at in 0..LANES {
                let (lane, limit) = (lane(at)?, Msat::new(CAPACITY * 1_000)?);
                let open = Command::OpenLane { outpoint, lane, limit, session: SESSION };
                road.crowd.world.command(end, open)?;
            }
        }
        road.crowd.world.settle_down()?;
        Ok(road)
    }

    /// What a car may spend: its signer forgets that with its power.
    fn open_budget(&mut self, car: usize) -> Result<(), Error> {
        let base = self.crowd.terms.base;
        let end = self.crowd.members.get(car).ok_or("no car")?.end;
        let signer = self.crowd.world.end_mut(end)?.node_mut().signer_mut();
        Ok(signer.open_session(PeerId::new(base), SESSION, Msat::new(CAPACITY * 1_000)?)?)
    }

    /// A car's computer restarts.
    pub(crate) fn reboot_car(&mut self, car: usize) -> Result<(), Error> {
        self.crowd.reboot(Some(car))?;
        self.open_budget(car)
    }

    /// Signs and sends a window of `metres`, one item a lane. False if the channel does not take it
    /// now: something is on its way, or to be sent again.
    pub(crate) fn pay(&mut self, car: usize, metres: &Metres) -> Result<bool, Error> {
        let member = self.crowd.members.get(car).ok_or("no car")?;
        let (end, outpoint) = (member.end, member.outpoint);
        let node = self.crowd.world.end(end).ok_or("no car")?.node();
        let Ok(front) = node.front(outpoint) else { return Ok(false) };
        let mut builder = front.build(LeafSize::new(4)?)?;
        for (at, (run, cost)) in metres.0.iter().zip(metres.cost()).enumerate() {
            if cost == 0 {
                continue;
            }
            let lane = lane(at)?;
            let last = front.lanes().state(lane).and_then(|state| state.last);
            let id = ItemId::new(last.map_or(0, ItemId::to_u64) + 1)?;
            builder.push(&Item { lane, id, charge: run.charge(), hash: None })?;
        }
        let items = u64::from(builder.items());
        let batch = Box::new(builder.seal()?);
        let pay = Command::PayBatch { outpoint, batch, session: SESSION };
        match self.crowd.world.command(end, pay) {
            Ok(()) => {
                (self.windows, self.items) = (self.windows + 1, self.items + items);
                Ok(true)
            }
            // It resumes first, or its last window is not acknowledged.
            Err(WorldError::Node(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What the gantry holds of a car in each lane, msat.
    pub(crate) fn held(&self, car: usize) -> Result<[u64; LANES], Error> {
        let outpoint = self.crowd.members.get(car).ok_or("no car")?.outpoint;
        let node = self.crowd.world.end(self.crowd.payee).ok_or("no gantry")?.node();
        let mut held = [0; LANES];
        let Some(lanes) = node.lanes(outpoint) else { return Ok(held) };
        for (at, held) in held.iter_mut().enumerate() {
            *held = lanes.state(lane(at)?).map_or(0, |state| state.total.to_msat());
        }
        Ok(held)
    }

    /// What every car has paid, msat, by the channels' vouchers.
    pub(crate) fn paid(&self) -> Result<Vec<u64>, Error> {
        let node = self.crowd.world.end(self.crowd.payee).ok_or("no gantry")?.node();
        let paid: BTreeMap<_, _> =
            node.payees().map(|payee| (payee.outpoint(), payee.paid().to_msat())).collect();
        let members = self.crowd.members.iter();
        Ok(members.map(|member| paid.get(&member.outpoint).copied().unwrap_or(0)).collect())
    }
}

fn terms(terms: &mut Terms) -> Result<(), Error> {
    terms.credit = Msat::new(CREDIT)?;
    Ok(())
}
