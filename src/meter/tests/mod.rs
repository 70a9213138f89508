//! Tests of the room: limits, the whole state x input matrix, golden bytes, and the model.

mod after;
mod golden;
mod model;
mod session;
mod tariff;

use super::tariff::{Band, Measure, Repeat, Tariff, Tier};
use super::*;
use crate::units::Price;

fn msat(value: u64) -> Msat {
    Msat::new(value).unwrap()
}

fn units(value: u64) -> Quantity {
    Quantity::new(value).unwrap()
}

fn secs(value: u64) -> Seconds {
    Seconds::new(value).unwrap()
}

fn utc(value: u64) -> UtcSeconds {
    UtcSeconds::new(value).unwrap()
}

fn price(amount: u64, per: u64) -> Price {
    Price::new(msat(amount), per).unwrap()
}

fn tier(from: u64, amount: u64, per: u64) -> Tier {
    Tier { from: units(from), price: price(amount, per) }
}

fn band(from: u64, to: u64, tiers: &[Tier]) -> Band {
    Band { from: secs(from), to: secs(to), tiers: tiers.to_vec() }
}

/// 10 msat an item.
fn flat() -> Tariff {
    Tariff::flat(Measure::Item, price(10, 1)).unwrap()
}

/// Credit 100 msat, prepayment 50 msat.
fn window() -> Window {
    Window { credit: msat(100), prepay: msat(50) }
}

/// Ten percent and 5 items, 30 s of skew, 1,000 msat.
fn buyer() -> Role {
    Role::Buyer {
        meter_ppm: Ppm::new(100_000).unwrap(),
        meter_slack: units(5),
        skew: secs(30),
        budget: msat(1_000),
    }
}

/// A Friday, 2023-11-17, 00:00 UTC.
const FRIDAY: u64 = 1_700_179_200;
const T0: u64 = FRIDAY + 36_000;

fn offered(role: Role, tariff: Tariff) -> Session {
    Session::offer(SessionId::new(7).unwrap(), role, window(), tariff)
}

fn started(role: Role, tariff: Tariff) -> Session {
    let mut session = offered(role, tariff);
    let tariff = session.tariff().hash();
    step(&mut session, T0, Input::Start { at: utc(T0), tariff }).unwrap();
    session
}

/// Decides and applies; checks that a refusal has no effect.
fn step(session: &mut Session, now: u64, input: Input) -> Result<Option<State>, MeterError> {
    let before = session.clone();
    match session.decide(utc(now), input) {
        Ok(step) => {
            session.apply(&step.record).unwrap();
            session.check_invariants().unwrap();
            assert_eq!(
                step.entered,
                (before.record().state() != session.record().state())
                    .then_some(session.record().state())
            );
            assert_eq!(Record::decode(&session.record().encode()), Ok(*session.record()));
            Ok(step.entered)
        }
        Err(error) => {
            assert_eq!(*session, before);
            Err(error)
        }
    }
}

fn meter(session: &mut Session, now: u64, total: u64) -> Result<Option<State>, MeterError> {
    step(session, now, Input::Meter { total: units(total) })
}

fn paid(session: &mut Session, now: u64, total: u64) -> Result<Option<State>, MeterError> {
    step(session, now, Input::Paid { total: msat(total) })
}

fn claim(
    session: &mut Session,
    now: u64,
    at: u64,
    total: u64,
    idle: u64,
) -> Result<Option<State>, MeterError> {
    step(session, now, Input::Claim { at: utc(at), total: units(total), idle: secs(idle) })
}
