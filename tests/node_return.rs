//! What is said again until it is heard, and who comes back without a memory: offers, statements
//! over a prepayment, and a payer that has nothing but its seed while its old session is open.

#[path = "node_attacks/street.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod street;

use std::cell::Cell;
use std::rc::Rc;

use bitcoin::hashes::Hash;
use millstream::meter::tariff::{Measure, Tariff};
use millstream::meter::{self, MeterError, State};
use millstream::node::{Command, Event, Input, NodeError, WakeReason};
use millstream::sim::world::{Clear, EndId, Fate, Machine, Weather, WorldError};
use millstream::stream::payer::Ending;
use millstream::units::{Blame, Blocks, ChannelAlias, Msat, Ppm, Price};
use millstream::wire::{self, Message, Refusal, Resume, SessionStart};
use street::{Street, id, msat, secs, signed_statement, tariff};

/// Loses offers, as many as it is told.
#[derive(Debug)]
struct LosesOffers {
    left: Rc<Cell<u32>>,
    next: bool,
}

impl Weather for LosesOffers {
    fn fate(&mut self, _from: EndId, _bytes: usize) -> Fate {
        if self.next { Fate::Lost } else { Fate::Arrives }
    }

    fn sees(&mut self, _from: EndId, message: &Message) {
        self.next = self.left.get() > 0 && matches!(message, Message::SessionOffer(_));
        self.left.set(self.left.get() - u32::from(self.next));
    }
}

/// How often the car was told of an offer since the last call.
fn offers_told(street: &mut Street) -> usize {
    let events = street.world.take_events(street.car).unwrap();
    events.iter().filter(|event| matches!(event, Event::SessionOffered { .. })).count()
}

#[test]
fn offer_lost_on_a_live_line_is_repeated_in_time() {
    let mut street = Street::open();
    let left = Rc::new(Cell::new(2));
    let weather = LosesOffers { left: Rc::clone(&left), next: false };
    street.world.set_weather(Box::new(weather));
    street.offer(street.link, 7);
    street.world.settle_down().unwrap();
    assert_eq!(offers_told(&mut street), 0);
    assert!(street.accept(7).is_err(), "it has not heard of it");
    let wake = street.world.end(street.station).unwrap().node().wake().unwrap();
    assert_eq!(wake.why, WakeReason::Repeat);
    for _ in 0..3 {
        street.world.pass(secs(10)).unwrap();
        street.world.settle_down().unwrap();
    }
    assert_eq!(left.get(), 0);
    assert_eq!(offers_told(&mut street), 1);
    street.world.set_weather(Box::new(Clear));
    street.accept(7).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(street.state(street.station, 7), State::Active, "{:?}", street.refusals());
    assert_eq!(street.world.end(street.station).unwrap().node().wake(), None);
    street.tick();
    assert_eq!(street.paid(), street.owed());
}

#[test]
fn offer_that_is_heard_again_is_told_once_and_takes_no_second_place() {
    let mut street = Street::open();
    street.offer(street.link, 7);
    street.world.settle_down().unwrap();
    // The owner thinks about it for an hour.
    for _ in 0..6 {
        street.world.pass(secs(600)).unwrap();
        street.world.settle_down().unwrap();
    }
    assert_eq!(offers_told(&mut street), 1);
    // One that crosses the start on its way is no offer of another session.
    let offer = wire::SessionOffer {
        session: id(7),
        tariff_hash: tariff().hash().0,
        credit: msat(5_000_000),
        prepay: Msat::ZERO,
        skew: secs(5),
        tolerance: Ppm::new(25_000).unwrap(),
        tariff: Some(wire::Bytes::new(tariff().encode()).unwrap()),
    };
    street.accept(7).unwrap();
    let link = street.link;
    street.inject(street.car, link, offer).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(offers_told(&mut street), 0);
    let car = street.world.end(street.car).unwrap().node();
    assert!(car.offer(link, id(7)).is_none());
    assert_eq!(street.state(street.car, 7), State::Active);
}

#[test]
fn offer_to_a_line_that_has_gone_wakes_nobody() {
    let mut street = Street::open();
    street.offer(street.link, 7);
    let link = street.link;
    street.world.disconnect(link).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(street.world.end(street.station).unwrap().node().wake(), None);
}

#[test]
fn statement_of_a_surplus_above_the_prepayment_is_a_dispute() {
    const PREPAY: u64 = 2_000_000;
    for (surplus, agreed) in [(PREPAY, true), (PREPAY + 1, false)] {
        let mut street = Street::open();
        let window = meter::Window { credit: msat(50_000_000), prepay: msat(PREPAY) };
        street.start_with(tariff(), window);
        for _ in 0..4 {
            street.tick();
        }
        // The car's side ends before the station hears of it.
        let (session, link) = (id(7), street.link);
        street.handle(street.car, Input::Do(Command::EndSession(session))).unwrap();
        let own = street.world.end(street.car).unwrap().node().session(session).unwrap();
        let (txid, vout) = (street.outpoint.txid.to_byte_array(), street.outpoint.vout);
        let mut statement = own.statement(txid, vout).unwrap();
        assert_eq!(statement.paid, statement.owed.saturating_add(msat(PREPAY)));
        statement.owed = statement.paid.saturating_sub(msat(surplus));
        let said = street.inject(street.car, link, signed_statement(&statement));
        let why = MeterError::StatementDiffers { field: "ahead", got: surplus, own: PREPAY };
        let want = if agreed { Ok(()) } else { Err(NodeError::Meter(why)) };
        assert_eq!(said, want);
        street.world.settle_down().unwrap();
        let events = street.world.take_events(street.car).unwrap();
        let disputed = Event::StatementDisputed { statement, why };
        assert_eq!(events.contains(&disputed), !agreed, "{events:?}");
        assert_eq!(events.contains(&Event::StatementAgreed { statement }), agreed, "{events:?}");
    }
}

/// The car loses its store in the middle of session 7 and comes back with its seed alone; with
/// `unpaid` readings that it never heard of. The station offers session 8 over the new line.
fn come_back(unpaid: u32) -> Street {
    let mut street = Street::in_session();
    let old = street.link;
    street.world.disconnect(old).unwrap();
    street.world.settle_down().unwrap();
    for _ in 0..unpaid {
        street.tick();
    }
    let record = street.fresh_record();
    street.car = street.world.add(Machine::payer("car again", [1; 32])).unwrap();
    street.world.command(street.car, Command::Adopt(Box::new(record))).unwrap();
    street.world.settle_down().unwrap();
    street.reconnect();
    street.offer(street.link, 8);
    street.world.settle_down().unwrap();
    let _ = street.world.take_events(street.station).unwrap();
    street.accept(8).unwrap();
    street.world.settle_down().unwrap();
    street
}

fn debt(street: &Street, session: u64) -> Msat {
    street.world.end(street.station).unwrap().node().session(id(session)).unwrap().debt()
}

/// Session 8 is served and paid.
fn assert_served(mut street: Street) {
    for end in [street.car, street.station] {
        assert_eq!(street.state(end, 8), State::Active, "{:?}", street.refusals());
    }
    (street.session, street.total) = (8, 0);
    for _ in 0..3 {
        street.tick();
    }
    assert!(street.owed() > Msat::ZERO);
    assert_eq!(street.paid(), street.owed(), "{:?}", street.refusals());
}

#[test]
fn payer_restored_from_its_seed_takes_a_new_session_and_ends_the_old_one() {
    let mut street = come_back(0);
    let events = street.world.take_events(street.station).unwrap();
    let owed = street.world.end(street.station).unwrap().node().session(id(7)).unwrap().owed();
    assert!(events.contains(&Event::SessionEnded { session: id(7), owed }), "{events:?}");
    assert_eq!(street.state(street.station, 7), State::Ended);
    assert_served(street);
}

/// The station holds the new session back while the old one is owed for.
fn assert_held_back(street: &mut Street) {
    assert_eq!(street.state(street.station, 7), State::Ended);
    assert_eq!(street.state(street.station, 8), State::Offered);
    assert!(debt(street, 7) > Msat::ZERO);
    let events = street.world.take_events(street.car).unwrap();
    let busy = |event: &Event| matches!(event, Event::Refused { code: Refusal::Busy, .. });
    assert!(events.iter().any(busy), "{events:?}");
    // Asking again changes nothing.
    street.world.pass(secs(10)).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(street.state(street.station, 8), State::Offered);
}

#[test]
fn payer_restored_with_a_debt_begins_once_the_seller_has_written_it_off() {
    let mut street = come_back(2);
    assert_held_back(&mut street);
    street.world.command(street.station, Command::ForgetSession(id(7))).unwrap();
    street.world.pass(secs(60)).unwrap();
    street.world.settle_down().unwrap();
    assert_served(street);
}

#[test]
fn payer_restored_with_a_debt_begins_once_it_has_paid_it() {
    let mut street = come_back(2);
    assert_held_back(&mut street);
    let pay = Command::Pay {
        outpoint: street.outpoint,
        more: debt(&street, 7),
        session: id(8),
        ending: Ending::KeepsChange,
    };
    street.world.command(street.car, pay).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(debt(&street, 7), Msat::ZERO);
    street.world.pass(secs(60)).unwrap();
    street.world.settle_down().unwrap();
    let node = street.world.end(street.station).unwrap().node();
    assert_eq!(node.session(id(8)).unwrap().record().paid(), Msat::ZERO);
    assert_stated(street);
}

/// The old debt counts for the new session at neither side, over a restart of the buyer too.
#[test]
fn debt_that_is_paid_before_a_restart_counts_for_no_later_session() {
    let mut street = come_back(2);
    let (outpoint, ending) = (street.outpoint, Ending::KeepsChange);
    let pay = Command::Pay { outpoint, more: debt(&street, 7), session: id(8), ending };
    street.world.command(street.car, pay).unwrap();
    street.world.settle_down().unwrap();
    let old = street.link;
    street.world.disconnect(old).unwrap();
    street.world.settle_down().unwrap();
    street.world.reboot(street.car).unwrap();
    street.reconnect();
    assert_eq!(debt(&street, 7), Msat::ZERO);
    assert_stated(street);
}

/// Session 8 is served, paid, ended and stated.
fn assert_stated(mut street: Street) {
    for end in [street.car, street.station] {
        assert_eq!(street.state(end, 8), State::Active, "{:?}", street.refusals());
    }
    (street.session, street.total) = (8, 0);
    for _ in 0..4 {
        street.tick();
    }
    street.world.command(street.car, Command::EndSession(id(8))).unwrap();
    street.world.settle_down().unwrap();
    assert!(street.owed() > Msat::ZERO);
    assert_eq!(street.paid(), street.owed());
    let stated: Vec<_> = street.statements().iter().map(|stated| stated.session).collect();
    assert!(stated.contains(&id(8)), "{stated:?}");
}

/// Nothing that the station sends arrives.
#[derive(Debug)]
struct Deaf(EndId);

impl Weather for Deaf {
    fn fate(&mut self, from: EndId, _bytes: usize) -> Fate {
        if from == self.0 { Fate::Arrives } else { Fate::Lost }
    }
}

#[test]
fn payment_while_a_start_is_on_its_way_waits_for_the_answer() {
    let mut street = Street::open();
    street.offer(street.link, 7);
    street.world.settle_down().unwrap();
    street.world.set_weather(Box::new(Deaf(street.car)));
    street.accept(7).unwrap();
    street.world.settle_down().unwrap();
    let (outpoint, ending) = (street.outpoint, Ending::KeepsChange);
    let pay = Command::Pay { outpoint, more: msat(1_000), session: id(7), ending };
    let refused = street.handle(street.car, Input::Do(pay));
    assert_eq!(refused, Err(NodeError::Busy { session: id(7) }));
}

#[test]
fn offer_that_changes_after_it_was_accepted_is_refused() {
    let mut street = Street::in_session();
    let (car, link) = (street.car, street.link);
    street.offer(link, 8);
    street.world.settle_down().unwrap();
    // The last session is not stated yet, so the acceptance waits.
    street.world.set_weather(Box::new(Deaf(car)));
    street.world.command(car, Command::EndSession(id(7))).unwrap();
    street.accept(8).unwrap();
    street.world.settle_down().unwrap();
    let price = Price::new(msat(45_000_000_000), 3_600_000).unwrap();
    let dear = Tariff::flat(Measure::WattSecond, price).unwrap();
    let cheap = Street::offer_message(8);
    let blob = Some(wire::Bytes::new(dear.encode()).unwrap());
    let hash = dear.hash().0;
    let other_price = wire::SessionOffer { tariff_hash: hash, tariff: blob, ..cheap.clone() };
    let other_window = wire::SessionOffer { prepay: Msat::MAX, ..cheap };
    for offer in [other_price, other_window] {
        let refused = street.inject(car, link, offer).unwrap_err();
        assert_eq!(refused, NodeError::NotAsked { what: "another offer of the same session" });
        assert_eq!(refused.blame(), Blame::Peer);
    }
    street.world.set_weather(Box::new(Clear));
    for _ in 0..5 {
        street.world.pass(secs(60)).unwrap();
        street.world.settle_down().unwrap();
    }
    assert_eq!(street.state(car, 8), State::Active, "{:?}", street.refusals());
    let taken = street.world.end(car).unwrap().node().session(id(8)).unwrap();
    assert_eq!(taken.tariff().hash(), tariff().hash());
    assert_eq!(taken.record().window().prepay, Msat::ZERO);
}

#[test]
fn offer_that_changes_with_the_line_is_not_taken_for_the_one_that_was_told() {
    let mut street = Street::open();
    let (car, station) = (street.car, street.station);
    street.offer(street.link, 8);
    street.world.settle_down().unwrap();
    let events = street.world.take_events(car).unwrap();
    let told = events.iter().find_map(|event| match event {
        Event::SessionOffered { offer, .. } => Some(*offer),
        _ => None,
    });
    let told = told.unwrap();
    assert_eq!(told, Street::offer_message(8).hash());
    // The line breaks; on the next one the same session is dearer to the buyer.
    let link = street.link;
    street.world.disconnect(link).unwrap();
    street.world.settle_down().unwrap();
    street.world.command(station, Command::EndSession(id(8))).unwrap();
    street.world.command(station, Command::ForgetSession(id(8))).unwrap();
    street.reconnect();
    let prepay = msat(400_000_000);
    street.offer_with(8, tariff(), meter::Window { credit: msat(5_000_000), prepay });
    let (outpoint, budget) = (street.outpoint, msat(500_000_000));
    let slack = millstream::units::Quantity::new(1_000_000).unwrap();
    let accept = |offer| Command::AcceptSession { session: id(8), offer, outpoint, budget, slack };
    let refused = street.world.command(car, accept(told));
    let other = NodeError::OtherOffer { session: id(8) };
    assert!(matches!(refused, Err(WorldError::Node(error)) if error == other), "{refused:?}");
    assert!(street.world.end(car).unwrap().node().session(id(8)).is_none());
    assert_eq!(street.signed(), Msat::ZERO);
    // Who has heard of the new one may take it.
    let node = street.world.end(car).unwrap().node();
    let heard = node.offer_hash(street.link, id(8)).unwrap();
    street.world.command(car, accept(heard)).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(street.state(car, 8), State::Active, "{:?}", street.refusals());
}

#[test]
fn start_on_other_terms_than_are_offered_begins_nothing_and_frees_the_buyer() {
    let other_tariff = wire::SessionOffer { tariff_hash: [7; 32], ..Street::offer_message(8) };
    let other_skew = wire::SessionOffer { skew: secs(6), ..Street::offer_message(8) };
    for other in [other_tariff, other_skew] {
        let mut street = Street::in_session();
        street.end_session(7);
        street.offer(street.link, 8);
        street.world.settle_down().unwrap();
        let alias = ChannelAlias::new(0).unwrap();
        let (link, station, time) = (street.link, street.station, street.time());
        let start = SessionStart { session: id(8), alias, offer: other.hash(), time };
        let refused = street.inject(station, link, start);
        assert_eq!(refused, Err(NodeError::OtherOffer { session: id(8) }));
        assert_eq!(street.state(station, 8), State::Offered);
        let sent = street.flush(station);
        let told = sent.iter().any(|(_, message)| {
            matches!(message, Message::Refused(m)
                if m.code == Refusal::UnknownSession && m.session == Some(id(8)))
        });
        assert!(told, "{sent:?}");
        // The right one begins.
        let start = SessionStart { offer: Street::offer_message(8).hash(), ..start };
        street.inject(station, link, start).unwrap();
        assert_eq!(street.state(station, 8), State::Active);
    }
}

/// The buyer takes the next offer, and is served.
fn assert_serves_the_next(mut street: Street) {
    assert_eq!(street.state(street.car, 7), State::Ended);
    street.offer(street.link, 8);
    street.world.settle_down().unwrap();
    street.accept(8).unwrap();
    street.world.settle_down().unwrap();
    assert_served(street);
}

#[test]
fn session_that_the_seller_lost_before_it_began_makes_room_for_the_next() {
    for reboots in [false, true] {
        let mut street = Street::open();
        street.offer(street.link, 7);
        street.world.settle_down().unwrap();
        street.accept(7).unwrap();
        // The station loses its power before the start arrives.
        let link = street.link;
        street.world.disconnect(link).unwrap();
        street.world.settle_down().unwrap();
        street.world.reboot(street.station).unwrap();
        if reboots {
            street.world.reboot(street.car).unwrap();
        }
        street.reconnect();
        assert_serves_the_next(street);
    }
}

#[test]
fn session_that_was_written_off_while_its_buyer_was_away_makes_room_for_the_next() {
    for reboots in [false, true] {
        let mut street = Street::in_session();
        let (car, station, link) = (street.car, street.station, street.link);
        street.world.disconnect(link).unwrap();
        street.world.settle_down().unwrap();
        street.world.command(station, Command::EndSession(id(7))).unwrap();
        street.world.command(station, Command::ForgetSession(id(7))).unwrap();
        if reboots {
            street.world.reboot(car).unwrap();
        }
        street.reconnect();
        assert_serves_the_next(street);
    }
}

/// A refusal that says nothing of the session leaves it, and its last second is paid.
#[test]
fn payer_whose_proof_was_refused_keeps_its_session_and_shows_itself_again() {
    let mut street = Street::in_session();
    let (car, station, link) = (street.car, street.station, street.link);
    street.world.disconnect(link).unwrap();
    street.world.settle_down().unwrap();
    street.world.pass(secs(1)).unwrap();
    street.total += 100_000;
    let (session, total) = (id(7), street.quantity());
    for end in [car, station] {
        street.world.command(end, Command::Meter { session, total }).unwrap();
    }
    street.world.command(car, Command::EndSession(id(7))).unwrap();
    street.world.settle_down().unwrap();
    let stranger = street.stranger_at(station);
    let alias = ChannelAlias::new(9).unwrap();
    street.inject(station, stranger, Resume { alias, outpoint: Some(street.outpoint) }).unwrap();
    // The station's tip is too old to take a voucher.
    street.world.pass(secs(100_000)).unwrap();
    street.reconnect();
    assert!(street.refusals().contains(&NodeError::NotHere { session }), "{:?}", street.refusals());
    assert!(debt(&street, 7) > Msat::ZERO);
    street.world.mine(Blocks::new(100).unwrap());
    street.world.settle_down().unwrap();
    for _ in 0..5 {
        street.world.pass(secs(60)).unwrap();
        street.world.settle_down().unwrap();
    }
    assert_eq!(debt(&street, 7), Msat::ZERO, "{:?}", street.refusals());
    assert_eq!(street.statements().len(), 1);
}

#[test]
fn stranger_with_an_offer_of_its_own_ends_no_session_of_an_absent_payer() {
    let mut street = Street::in_session();
    let line = street.link;
    street.world.disconnect(line).unwrap();
    street.world.settle_down().unwrap();
    let stranger = street.stranger_at(street.station);
    let alias = ChannelAlias::new(9).unwrap();
    let resume = Resume { alias, outpoint: Some(street.outpoint) };
    street.inject(street.station, stranger, resume).unwrap();
    street.offer(stranger, 8);
    // It was shown the best voucher, and repeats it.
    let node = street.world.end(street.station).unwrap().node();
    let best = node.payee(street.outpoint).unwrap().best().unwrap();
    let again = wire::Voucher { alias, paid: best.paid, signature: best.signature };
    street.inject(street.station, stranger, again).unwrap();
    let start = SessionStart {
        session: id(8),
        alias,
        offer: Street::offer_message(8).hash(),
        time: street.time(),
    };
    let refused = street.inject(street.station, stranger, start);
    assert_eq!(refused, Err(NodeError::Busy { session: id(7) }));
    assert_eq!(street.state(street.station, 7), State::Active);
    street.reconnect();
    street.tick();
    assert_eq!(street.paid(), street.owed(), "{:?}", street.refusals());
}
