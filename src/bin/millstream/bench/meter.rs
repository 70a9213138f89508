//! Ticks of a metered session on one core: metered, claimed, checked and paid.

use std::error::Error;

use cpu_time::ThreadTime;
use millstream::meter::tariff::{Measure, Tariff};
use millstream::meter::{Input, Role, Session, State, Window};
use millstream::units::{Msat, Ppm, Price, Quantity, Seconds, SessionId, UtcSeconds};
use millstream::wire::{Message, Reading};

use super::clock::{Clock, Plan, compare};
use super::row::{Goal, Row};
use super::stage::Stage;
use super::{Args, Rows};

/// What this file gives.
pub(crate) const NAMES: &[&str] = &["session_ticks_per_s", "meter_ticks_per_s"];

/// Ticks that one voucher pays.
const TICKS: u32 = 64;
/// Watt-seconds of a tick, about: 22 kW for a second.
const POWER: u64 = 22_000;

/// Both ends of one session.
struct Meters {
    seller: Session,
    buyer: Session,
    now: UtcSeconds,
    frame: Vec<u8>,
    ticks: u64,
}

impl Meters {
    fn start(now: UtcSeconds) -> Result<Self, Box<dyn Error>> {
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
    fn tick(&mut self) -> Result<(), Box<dyn Error>> {
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
    fn pay(
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

    fn check(&self, ticks: u64) -> Result<(), Box<dyn Error>> {
        let owed = [self.seller.owed(), self.buyer.owed()];
        let paid = [self.seller.record().paid(), self.buyer.record().paid()];
        if self.ticks != ticks || owed != paid || owed[0] != owed[1] || owed[0] == Msat::ZERO {
            return Err(format!("{} of {ticks} ticks, {owed:?}, {paid:?}", self.ticks).into());
        }
        Ok(())
    }
}

/// Ticks a second of this thread's CPU time, with and without their vouchers.
pub(crate) fn rows(args: &Args) -> Rows {
    let began = ThreadTime::now();
    let mut stage = Stage::own(1)?;
    let mut paid = Meters::start(stage.view.now)?;
    let mut unpaid = Meters::start(stage.view.now)?;
    let (mut rounds, mut bare_rounds) = (0_u64, 0_u64);
    let plan = Plan { clock: Clock::Cpu, rounds: args.rounds, turns: 16, operations: 16 };
    let cost = compare(
        plan,
        &mut || {
            for _ in 0..TICKS {
                paid.tick()?;
            }
            rounds += 1;
            paid.pay(|more| stage.pay(0, more).map(drop))
        },
        &mut || {
            for _ in 0..TICKS {
                unpaid.tick()?;
            }
            bare_rounds += 1;
            unpaid.pay(|_| Ok(()))
        },
    )?;
    assert!(began.elapsed().as_secs_f64() > 0.0, "the clock stands");
    stage.check(rounds)?;
    paid.check(rounds * u64::from(TICKS))?;
    unpaid.check(bare_rounds * u64::from(TICKS))?;
    let ticks = f64::from(TICKS);
    Ok(vec![
        Row::new("session_ticks_per_s", ticks / cost.ours, "1/s")
            .goal(Goal::AtLeast(500_000.0))
            .against("the same without vouchers, 1/s", ticks / cost.bare)
            .note("both sides on one core, each tick a reading on the wire, a voucher each 64"),
        Row::new("meter_ticks_per_s", ticks / cost.bare, "1/s"),
    ])
}
