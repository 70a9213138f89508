//! The operator and its cars: sessions of a crowd, in words.

use millstream::meter::{Session, Window};
use millstream::node::Command;
use millstream::node::plan::Plan;
use millstream::stream::Terms;
use millstream::units::{FeeRate, Msat, Ppm, Quantity, Sat, Seconds, SessionId};

use crate::common::Error;
use crate::common::crowd::{Crowd, Member, Setting};
use crate::common::prices::Prices;
use crate::common::stage::{Size, settle};

/// 1,500 sat: two steps of two minutes at 50 kW, because here a day takes seconds and meters are read
/// every two minutes; a charger that reads every second needs a hundredth (see `ev_charger`).
pub(crate) const CREDIT: u64 = 1_500_000;
/// What a car puts into its channel, sat.
pub(crate) const CAPACITY: u64 = 40_000;
/// Four days: every night has time to settle, and bad ones too.
const DELAY: u16 = 576;
/// 1 sat a virtual byte: the night is cheap.
const RATE: u64 = 1_000;
/// Ten minutes: how long a reading may have waited for its line.
const SKEW: u64 = 600;

/// The world of the example.
#[derive(Debug)]
pub(crate) struct Depot {
    /// The operator, its cars, their channels, the chain.
    pub(crate) crowd: Crowd,
    credit: Msat,
}

impl Depot {
    /// Opens a channel for each of `count` cars, so that all are buried when the clock shows `start`.
    pub(crate) fn open(start: u64, seed: u64, count: u64, credit: u64) -> Result<Self, Error> {
        let names = ("station", "car");
        let size = Size { delay: DELAY, capacity: CAPACITY };
        let setting = Setting { names, start, count, size, terms };
        Ok(Self { crowd: Crowd::open(&setting, seed)?, credit: Msat::new(credit)? })
    }

    /// The operator offers a session to a car that is connected.
    pub(crate) fn offer(&mut self, car: usize, prices: Prices) -> Result<(), Error> {
        let link = self.crowd.members.get(car).and_then(|car| car.link).ok_or("not connected")?;
        let offer = Command::OfferSession {
            link,
            session: session_id(car)?,
            tariff: prices.tariff()?,
            window: Window { credit: self.credit, prepay: Msat::ZERO },
            skew: Seconds::new(SKEW)?,
            tolerance: Ppm::new(25_000)?,
        };
        Ok(self.crowd.world.command(self.crowd.payee, offer)?)
    }

    /// The car takes it.
    pub(crate) fn accept(&mut self, car: usize) -> Result<(), Error> {
        let session = session_id(car)?;
        let Member { end, outpoint, link, .. } = *self.crowd.members.get(car).ok_or("no car")?;
        let (budget, slack) = (Sat::new(CAPACITY)?.to_msat(), Quantity::new(1_000)?);
        let node = self.crowd.world.end(end).ok_or("no car")?.node();
        let named = link.and_then(|link| node.offer_hash(link, session));
        let offer = named.ok_or("no offer")?;
        let accept = Command::AcceptSession { session, offer, outpoint, budget, slack };
        Ok(self.crowd.world.command(end, accept)?)
    }

    /// Both meters of a car's session.
    pub(crate) fn read_meters(
        &mut self,
        car: usize,
        total: u64,
        station: bool,
    ) -> Result<(), Error> {
        let (session, total) = (session_id(car)?, Quantity::new(total)?);
        let end = self.crowd.members.get(car).ok_or("no car")?.end;
        self.crowd.world.command(end, Command::Meter { session, total })?;
        if station {
            self.crowd.world.command(self.crowd.payee, Command::Meter { session, total })?;
        }
        Ok(())
    }

    /// The car ends its session.
    pub(crate) fn end_session(&mut self, car: usize) -> Result<(), Error> {
        let end = self.crowd.members.get(car).ok_or("no car")?.end;
        Ok(self.crowd.world.command(end, Command::EndSession(session_id(car)?))?)
    }

    /// One side's view of a car's session: the operator's, or the car's own.
    pub(crate) fn session(&self, car: usize, own: bool) -> Option<&Session> {
        let end = if own { self.crowd.members.get(car)?.end } else { self.crowd.payee };
        self.crowd.world.end(end)?.node().session(session_id(car).ok()?)
    }

    /// Settles what the night is cheap enough for, by the operator's own plan.
    pub(crate) fn settle(&mut self) -> Result<Plan, Error> {
        let Crowd { world, payee, till, .. } = &mut self.crowd;
        settle(world, *payee, till, FeeRate::new(RATE)?, usize::MAX)
    }
}

/// A car has one session in the day.
fn session_id(car: usize) -> Result<SessionId, Error> {
    Ok(SessionId::new(u64::try_from(car)? + 1)?)
}

fn terms(terms: &mut Terms) -> Result<(), Error> {
    terms.tariff = Prices::USUAL.tariff()?.hash().0;
    terms.credit = Msat::new(CREDIT)?;
    Ok(())
}
