//! Idle time across outages, power cuts and ends: the seller is paid for what the buyer cannot
//! disprove, and states it; for nothing beyond that.

#[path = "node_attacks/street.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod street;

use millstream::meter::tariff::Tariff;
use millstream::meter::{MeterError, State, Window};
use millstream::node::{Command, NodeError};
use millstream::stream::payer::Ending;
use millstream::units::{Msat, Price, Seconds};
use millstream::wire::Reading;
use street::{Street, id, msat, secs, tariff};

/// An idle second costs 1,000 msat, from the first one on.
fn with_idle() -> Tariff {
    tariff().with_idle(Price::new(msat(1_000), 1).unwrap(), Seconds::MIN).unwrap()
}

/// A session with a credit of three seconds of service, of which ten were delivered and paid.
fn in_session(tariff: Tariff) -> Street {
    let mut street = Street::open();
    street.start_with(tariff, Window { credit: msat(4_000_000), prepay: Msat::ZERO });
    for _ in 0..10 {
        street.tick();
    }
    street
}

fn cut(street: &mut Street) {
    let link = street.link;
    street.world.disconnect(link).unwrap();
    street.world.settle_down().unwrap();
}

/// Both meters are read, and nothing was delivered since.
fn stand_idle(street: &mut Street, seconds: u64) {
    street.world.pass(secs(seconds)).unwrap();
    read_both(street);
}

fn read_both(street: &mut Street) {
    let (session, total) = (id(7), street.quantity());
    for end in [street.car, street.station] {
        street.world.command(end, Command::Meter { session, total }).unwrap();
    }
    street.world.settle_down().unwrap();
}

/// The idle seconds that both sides count, after the seller's end and its statement.
fn stated_idle(street: &mut Street) -> Seconds {
    street.world.command(street.station, Command::EndSession(id(7))).unwrap();
    street.world.settle_down().unwrap();
    let stated = street.statements();
    let [statement] = &stated[..] else { panic!("{stated:?}, {:?}", street.refusals()) };
    assert_eq!(statement.paid, statement.owed);
    let bought = street.world.end(street.car).unwrap().node().session(id(7)).unwrap();
    assert_eq!(bought.record().idle(), statement.idle);
    statement.idle
}

#[test]
fn idle_time_is_stated_after_a_power_cut_took_the_readings_that_were_paid() {
    // Free of charge, and counted all the same: at a price each reading is durable.
    let mut street = in_session(tariff());
    for _ in 0..4 {
        street.tick();
    }
    street.world.reboot(street.car).unwrap();
    let left = street.world.end(street.car).unwrap().node().session(id(7)).unwrap().owed();
    let taken = street.owed().sub(left).unwrap();
    assert!(taken > msat(4_000_000), "{taken} is not more than the credit");
    // Nothing is delivered any more. What its meter shows the buyer hears of ten minutes later.
    street.world.pass(secs(600)).unwrap();
    let (session, total) = (id(7), street.quantity());
    street.world.command(street.car, Command::Meter { session, total }).unwrap();
    street.reconnect();
    stand_idle(&mut street, 100);
    assert_eq!(stated_idle(&mut street), secs(700));
}

#[test]
fn idle_time_of_an_outage_is_stated_where_a_payment_by_hand_had_covered_it() {
    let mut street = in_session(with_idle());
    let (outpoint, more, ending) = (street.outpoint, msat(1_000_000), Ending::KeepsChange);
    for other in 100..110 {
        street.open_budget(other);
        let pay = Command::Pay { outpoint, more, session: id(other), ending };
        street.world.command(street.car, pay).unwrap();
        street.world.settle_down().unwrap();
    }
    cut(&mut street);
    // Twice the credit is served, because it is paid beforehand.
    for _ in 0..8 {
        street.tick();
    }
    assert_eq!(street.state(street.station, 7), State::Active);
    street.world.pass(secs(600)).unwrap();
    street.reconnect();
    stand_idle(&mut street, 100);
    assert_eq!(stated_idle(&mut street), secs(700));
}

#[test]
fn idle_time_of_a_pause_is_refused_where_the_buyer_ends_the_pause() {
    let mut street = in_session(with_idle());
    cut(&mut street);
    // Five seconds in one reading.
    street.total += 400_000;
    street.tick();
    assert_eq!(street.state(street.station, 7), State::Paused);
    street.world.pass(secs(600)).unwrap();
    street.reconnect();
    assert_eq!(street.state(street.station, 7), State::Active, "{:?}", street.refusals());
    street.world.pass(secs(100)).unwrap();
    let (car, link, time, quantity) = (street.car, street.link, street.time(), street.quantity());
    let reading = |idle| Reading { session: id(7), time, quantity, idle: Some(secs(idle)) };
    // A hundred since it was paid, and the five by which the clocks may differ.
    let refused = street.inject(car, link, reading(106));
    let most = |error: &NodeError| matches!(error, NodeError::Meter(MeterError::IdleImpossible { most, .. }) if *most == secs(105));
    assert!(refused.as_ref().is_err_and(most), "{refused:?}");
    street.inject(car, link, reading(105)).unwrap();
}
