//! Both ends of one metered session, driven tick by tick.
//!
//! Also the fixture of `benches/session.rs`, which includes this file.

use std::error::Error;

use millstream::meter::tariff::{Measure, Tariff};
use millstream::meter::{Input, Role, Session, State, Window};
use millstream::units::{Msat, Ppm, Price, Quantity, Seconds, SessionId, UtcSeconds};
use millstream::wire::{Message, Reading};

/// Ticks that one voucher pays.
pub(crate) const TICKS: u32 = 64;
/// Watt-seconds of a tick, about: 22 kW for a second.
const POWER: u64 = 22_000;

/// A seller and a buyer under one tariff, who agree.
pub(crate) struct Meters {
    seller: Session,
    buyer: Session,
    now: UtcSeconds,
    frame: Vec<u8>,
    ticks: u64,
}

impl Meters {
    pub(crate) fn start(now: UtcSeconds) -> Result<Self, Box<dyn Error>> {
        // 450 sat a kilowatt-hour.
        let price = Price::new(Msat::new(450_000)?, 3_600_000)?;
        let tariff = Tariff::flat(Measure::WattSecond, price)?;
        let window = Window { credit: Msat::new(1_000_000)?, prepay: Msat::ZERO };
        let buyer = Role::Buyer {
            meter_ppm: Ppm::new(20_000)?,
            meter_slack: Quantity::new(POWER)?,
            skew: Seconds::new(30)?,
            budget: Msat::MAX,
        };
        let session = |role| -> Result<Session, Box<dyn Error>> {
            let mut session = Session::offer(SessionId::new(1)?, role, window, tariff.clone());
            let start = Input::Start { at: now, tariff: tariff.hash() };
            let record = session.decide(now, start)?.record;
            session.apply(&record)?;
            Ok(session)
        };
        Ok(Self {
            seller: session(Role::Seller)?,
            buyer: session(buyer)?,
            now,
            frame: Vec::with_capacity(64),
            ticks: 0,
        })
    }

    /// One tick of changing size: the seller's meter, the reading on the wire, the buyer's own
    /// meter, the claim.
    pub(crate) fn tick(&mut self) -> Result<(), Box<dyn Error>> {
        let step = Quantity::new(POWER + self.ticks % 7)?;
        let state = self.seller.tick(self.now, self.now, step)?;
        let quantity = self.seller.record().quantity();
        let (session, time) = (self.seller.record().id(), self.now);
        self.frame.clear();
        Message::from(Reading { session, time, quantity, idle: None }).encode(&mut self.frame);
        let Some(Message::Reading(got)) = Message::decode(&self.frame)? else {
            return Err("another message".into());
        };
        self.buyer.measure(self.now, quantity)?;
        let claimed = got.quantity.sub(self.buyer.record().quantity())?;
        let claim = self.buyer.tick(self.now, got.time, claimed)?;
        if (state, claim) != (State::Active, State::Active) {
            return Err("the service paused".into());
        }
        self.ticks += 1;
        Ok(())
    }

    /// The payment of everything that is owed; `pay` carries it over.
    pub(crate) fn pay(
        &mut self,
        pay: impl FnOnce(u64) -> Result<(), Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        let total = self.buyer.pay_to();
        pay(total.sub(self.buyer.record().paid())?.to_msat())?;
        for side in [&mut self.buyer, &mut self.seller] {
            let record = side.decide(self.now, Input::Paid { total })?.record;
            side.apply(&record)?;
        }
        Ok(())
    }

    pub(crate) fn check(&self, ticks: u64) -> Result<(), Box<dyn Error>> {
        let owed = [self.seller.owed(), self.buyer.owed()];
        let paid = [self.seller.record().paid(), self.buyer.record().paid()];
        if self.ticks != ticks || owed != paid || owed[0] != owed[1] || owed[0] == Msat::ZERO {
            return Err(format!("{} of {ticks} ticks, {owed:?}, {paid:?}", self.ticks).into());
        }
        Ok(())
    }
}
