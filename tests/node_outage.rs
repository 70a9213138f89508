//! Sessions and channels across outages, half-open lines, lost messages, reorgs and fundings that
//! never confirm: what was open between two machines is closed to the millisatoshi afterwards.

#[path = "node_attacks/street.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod street;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use bitcoin::hashes::Hash;
use millstream::meter::tariff::Tariff;
use millstream::meter::{self, MeterError, State, Window};
use millstream::node::{Command, Event, Input, LinkId, NodeError, WakeReason};
use millstream::sim::world::{Clear, EndId, Fate, Weather, WorldError};
use millstream::stream::StreamError;
use millstream::stream::payer::Ending;
use millstream::units::{ChannelAlias, FeeRate, Msat, Ppm, Price, Quantity};
use millstream::wire::{Message, Reading, Resume, SessionEnd};
use street::{Street, blocks, border_tariff, id, msat, sat, secs, signed_statement, tariff};

fn offer_at(street: &mut Street, session: u64, tariff: Tariff, prepay: Msat) {
    street.offer_with(session, tariff, Window { credit: msat(50_000_000), prepay });
}

fn begin(street: &mut Street, tariff: Tariff) {
    street.start_with(tariff, Window { credit: msat(50_000_000), prepay: Msat::ZERO });
}

fn cut(street: &mut Street) {
    let link = street.link;
    street.world.disconnect(link).unwrap();
    street.world.settle_down().unwrap();
}

/// Both sides count the same, all of it is paid, and it is stated.
fn assert_agreed(street: &mut Street) {
    let session = id(street.session);
    let owed = |street: &Street, end| {
        street.world.end(end).unwrap().node().session(session).unwrap().owed()
    };
    let refusals = street.refusals();
    assert_eq!(owed(street, street.car), owed(street, street.station), "{refusals:?}");
    assert_eq!(street.paid(), street.owed(), "{refusals:?}");
    street.world.command(street.car, Command::EndSession(session)).unwrap();
    street.world.settle_down().unwrap();
    let stated = street.statements();
    assert!(stated.iter().any(|statement| statement.session == session), "{:?}", street.refusals());
}

#[test]
fn outage_over_a_price_border_is_paid_to_the_millisatoshi() {
    // Dearer and cheaper after the border; the car rebooted meanwhile or not.
    for (late, reboot) in [(90_000_000, false), (9_000_000, false), (9_000_000, true)] {
        let mut street = Street::open();
        let tariff = border_tariff(&street, 15, late);
        begin(&mut street, tariff);
        for _ in 0..5 {
            street.tick();
        }
        cut(&mut street);
        for _ in 0..20 {
            street.tick();
        }
        street.world.pass(secs(60)).unwrap();
        if reboot {
            street.world.reboot(street.car).unwrap();
            // The owner's meter has run on.
            let (session, total) = (id(7), street.quantity());
            street.world.command(street.car, Command::Meter { session, total }).unwrap();
        }
        street.reconnect();
        for _ in 0..5 {
            street.tick();
        }
        assert_agreed(&mut street);
    }
}

#[test]
fn seller_that_restarts_behind_a_price_border_prices_nothing_anew() {
    let mut street = Street::open();
    let tariff = border_tariff(&street, 15, 90_000_000);
    begin(&mut street, tariff);
    for _ in 0..5 {
        street.tick();
    }
    let owed = street.owed();
    // 500,000 Ws at 12.5 msat.
    assert_eq!(owed, msat(6_250_000));
    street.world.pass(secs(60)).unwrap();
    street.world.reboot(street.station).unwrap();
    let (session, total) = (id(7), street.quantity());
    street.world.command(street.station, Command::Meter { session, total }).unwrap();
    assert_eq!(street.owed(), owed, "what was read before the border costs what it did");
    street.reconnect();
    street.tick();
    assert_agreed(&mut street);
}

#[test]
fn service_that_paused_in_an_outage_goes_on_after_it() {
    let mut street = Street::in_session();
    cut(&mut street);
    for _ in 0..5 {
        street.tick();
    }
    assert_eq!(street.state(street.station, 7), State::Paused);
    street.world.pass(secs(600)).unwrap();
    street.reconnect();
    assert_eq!(street.state(street.station, 7), State::Active, "{:?}", street.refusals());
    street.tick();
    assert_agreed(&mut street);
}

#[test]
fn reading_made_before_the_meeting_bills_nothing_delivered_after_it() {
    let mut street = Street::open();
    begin(&mut street, tariff());
    street.tick();
    cut(&mut street);
    street.world.pass(secs(60)).unwrap();
    let old = street.time();
    street.world.pass(secs(60)).unwrap();
    street.reconnect();
    let met = street.total;
    for _ in 0..40 {
        street.total += 100_000;
        street.world.pass(secs(1)).unwrap();
        let (session, total) = (id(7), street.quantity());
        street.world.command(street.car, Command::Meter { session, total }).unwrap();
    }
    let reading = |quantity| Reading {
        session: id(7),
        time: old,
        quantity: Quantity::new(quantity).unwrap(),
        idle: None,
    };
    let link = street.link;
    let refused = street.inject(street.car, link, reading(street.total));
    let skew = |error: &NodeError| matches!(error, NodeError::Meter(MeterError::SkewTooLarge { got, .. }) if *got == old);
    assert!(refused.as_ref().is_err_and(skew), "{refused:?}");
    // What could have been delivered until then is another matter.
    street.inject(street.car, link, reading(met + 100_000)).unwrap();
}

#[test]
fn stranger_that_names_a_fresh_channel_first_delays_nobody() {
    let mut street = Street::unopened();
    let stranger = street.stranger_at(street.station);
    let open = street.open_message();
    street.inject(street.station, stranger, open).unwrap();
    let _ = street.flush(street.station);
    let alias = ChannelAlias::new(9).unwrap();
    let resume = Resume { alias, outpoint: Some(street.outpoint) };
    street.inject(street.station, stranger, resume).unwrap();
    street.show();
    street.start_session(7);
    assert_eq!(street.state(street.station, 7), State::Active, "{:?}", street.refusals());
    street.tick();
    assert_agreed(&mut street);
}

#[test]
fn newest_line_of_the_payer_has_its_session_while_the_old_one_hangs() {
    for ticks in [0, 3] {
        let mut street = Street::open();
        street.start_session(7);
        for _ in 0..ticks {
            street.tick();
        }
        // Neither side hears of the old line's end.
        let old = street.link;
        street.reconnect();
        assert_ne!(street.link, old);
        for _ in 0..3 {
            street.tick();
        }
        let node = street.world.end(street.station).unwrap().node();
        let at: Vec<_> = node.sessions().map(|(_, link)| link).collect();
        assert_eq!(at, [Some(street.link)]);
        assert_agreed(&mut street);
    }
}

#[test]
fn reading_that_comes_with_a_late_start_is_counted_at_its_own_stamp() {
    let mut street = Street::open();
    let tariff = border_tariff(&street, 15, 90_000_000);
    offer_at(&mut street, 7, tariff, Msat::ZERO);
    street.accept(7).unwrap();
    let of = Some(street.station);
    let names = lose_of(&mut street, of, &["SessionStart"]);
    street.world.settle_down().unwrap();
    assert!(names.borrow().is_empty());
    let states = |street: &Street| [street.car, street.station].map(|end| street.state(end, 7));
    assert_eq!(states(&street), [State::Offered, State::Active]);
    street.total = 500_000;
    street.world.pass(secs(1)).unwrap();
    let (session, total) = (id(7), street.quantity());
    street.world.command(street.station, Command::Meter { session, total }).unwrap();
    street.world.settle_down().unwrap();
    // The car asks for the start again, behind the border.
    street.world.mine(blocks(1));
    street.world.pass(secs(1)).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(states(&street), [State::Active, State::Active], "{:?}", street.refusals());
    assert_eq!((street.paid(), street.owed()), (msat(6_250_000), msat(6_250_000)));
    street.tick();
    assert_agreed(&mut street);
}

/// Loses the first message of each name that is on its list, of one end or of any.
#[derive(Debug)]
struct Losing {
    of: Option<EndId>,
    names: Rc<RefCell<BTreeSet<&'static str>>>,
    next: bool,
}

impl Weather for Losing {
    fn fate(&mut self, _from: EndId, _bytes: usize) -> Fate {
        if self.next { Fate::Lost } else { Fate::Arrives }
    }

    fn sees(&mut self, from: EndId, message: &Message) {
        let here = self.of.is_none_or(|of| of == from);
        self.next = here && self.names.borrow_mut().remove(message.name());
    }
}

fn lose(street: &mut Street, names: &[&'static str]) -> Rc<RefCell<BTreeSet<&'static str>>> {
    lose_of(street, None, names)
}

fn lose_of(
    street: &mut Street,
    of: Option<EndId>,
    names: &[&'static str],
) -> Rc<RefCell<BTreeSet<&'static str>>> {
    let names = Rc::new(RefCell::new(names.iter().copied().collect::<BTreeSet<_>>()));
    street.world.set_weather(Box::new(Losing { of, names: Rc::clone(&names), next: false }));
    names
}

#[test]
fn start_lost_on_a_live_line_is_repeated_in_time() {
    let mut street = Street::open();
    street.offer(street.link, 7);
    street.world.settle_down().unwrap();
    let lost = lose(&mut street, &["SessionStart"]);
    street.accept(7).unwrap();
    street.world.settle_down().unwrap();
    assert!(lost.borrow().is_empty());
    assert_eq!(street.state(street.station, 7), State::Offered);
    let wake = street.world.end(street.car).unwrap().node().wake().unwrap();
    assert_eq!(wake.why, WakeReason::Repeat);
    street.world.pass(secs(10)).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(street.state(street.station, 7), State::Active, "{:?}", street.refusals());
    assert_eq!(street.world.end(street.car).unwrap().node().wake(), None);
    street.tick();
    assert_agreed(&mut street);
}

#[test]
fn resume_and_readings_lost_on_a_live_line_are_repeated_in_time() {
    let mut street = Street::in_session();
    cut(&mut street);
    for _ in 0..5 {
        street.tick();
    }
    let lost = lose(&mut street, &["Resume", "Reading", "SessionStart"]);
    street.reconnect();
    for _ in 0..4 {
        street.world.pass(secs(40)).unwrap();
        street.world.settle_down().unwrap();
    }
    assert!(lost.borrow().is_empty(), "{lost:?}");
    street.world.set_weather(Box::new(Clear));
    assert_eq!(street.state(street.station, 7), State::Active, "{:?}", street.refusals());
    street.tick();
    assert_agreed(&mut street);
}

#[test]
fn session_follows_a_settlement_that_is_undone_back_to_its_channel() {
    for reappears in [false, true] {
        let mut street = Street::in_session();
        street.settle(1_000);
        for _ in 0..3 {
            street.tick();
        }
        let rolled = street.newest();
        assert_ne!(rolled, street.first);
        // The mempool drops it, as it does one whose block a reorg has undone.
        let rate = |rate| FeeRate::new(rate).unwrap();
        street.world.chain().with(|chain| chain.set_min_relay(rate(50_000)));
        street.world.mine(blocks(1));
        street.world.settle_down().unwrap();
        let events = street.world.take_events(street.car).unwrap();
        let undone = Event::SpendUndone { outpoint: street.first };
        assert!(events.contains(&undone), "{events:?}");
        for _ in 0..3 {
            street.tick();
        }
        // It is paid where a settlement can still take it.
        let on_first = street.world.end(street.station).unwrap().node().payee(street.first);
        assert_eq!(on_first.unwrap().paid(), street.owed(), "{:?}", street.refusals());
        assert_eq!(street.paid(), street.owed(), "{:?}", street.refusals());
        if reappears {
            street.world.chain().with(|chain| chain.set_min_relay(rate(1_000)));
            street.world.mine(blocks(4));
            street.world.settle_down().unwrap();
            for _ in 0..3 {
                street.tick();
            }
        }
        assert_agreed(&mut street);
    }
}

fn abandon(street: &mut Street) -> Result<(), WorldError> {
    let outpoint = street.first;
    street.world.command(street.car, Command::Abandon { outpoint })
}

fn funded_unconfirmed() -> Street {
    let mut street = Street::unfunded();
    let fund = street.fund_command(Some(street.link));
    street.world.command(street.car, fund).unwrap();
    street.world.settle_down().unwrap();
    street
}

#[test]
fn funding_on_which_nothing_is_paid_is_abandoned_and_its_backup_kept() {
    let mut street = funded_unconfirmed();
    abandon(&mut street).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(street.world.end(street.car).unwrap().node().payers().count(), 0);
    assert_eq!(street.records(street.car, &[0x03]), 0, "the channel's record stays");
    assert_eq!(street.records(street.car, &[0x01, 0x03]), 0, "the funding is sent again");
    assert_eq!(street.records(street.car, &[0x01, 0x02]), 1, "the backup is lost");
    street.world.reboot(street.car).unwrap();
    street.world.mine(blocks(1));
    street.world.settle_down().unwrap();
    assert!(abandon(&mut street).is_err(), "it is gone");
}

#[test]
fn funding_that_has_confirmed_is_not_abandoned() {
    let mut street = Street::open();
    let wrong = |error: &WorldError| {
        let WorldError::Node(NodeError::Stream(error)) = error else { return false };
        matches!(error, StreamError::WrongPhase { act: "abandon", .. })
    };
    assert!(abandon(&mut street).is_err_and(|error| wrong(&error)));
    assert_eq!(street.world.end(street.car).unwrap().node().payers().count(), 1);
}

#[test]
fn funding_with_a_payment_on_it_is_abandoned_only_once_it_cannot_confirm() {
    let mut street = Street::unfunded();
    let fund = street.fund_command(Some(street.link));
    street.world.command(street.car, fund).unwrap();
    street.world.settle_down().unwrap();
    street.open_budget(8);
    let pay = Command::Pay {
        outpoint: street.first,
        more: msat(1_000),
        session: id(8),
        ending: Ending::KeepsChange,
    };
    street.world.command(street.car, pay).unwrap();
    street.world.settle_down().unwrap();
    let may = |error: &WorldError| {
        matches!(error, WorldError::Node(NodeError::MayConfirm { signed, .. })
            if *signed == msat(1_000))
    };
    assert!(abandon(&mut street).is_err_and(|error| may(&error)));

    // The coin goes elsewhere: dearer, so that it replaces the funding.
    let elsewhere =
        bitcoin::ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_raw_hash(Hash::all_zeros()));
    let (other, _) = street.world.conflicting_funding(elsewhere, sat(500_000)).unwrap();
    let by = other.compute_txid();
    street.world.chain().with(|chain| chain.connect(&[other])).unwrap();
    street.world.settle_down().unwrap();
    assert!(abandon(&mut street).is_err_and(|error| may(&error)), "one block is undone easily");
    street.world.mine(blocks(3));
    street.world.settle_down().unwrap();
    let events = street.world.take_events(street.car).unwrap();
    let conflicted = Event::FundingConflicted { outpoint: street.first, by };
    assert_eq!(events.iter().filter(|event| **event == conflicted).count(), 1, "{events:?}");
    abandon(&mut street).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(street.world.end(street.car).unwrap().node().payers().count(), 0);
    assert_eq!(street.world.end(street.car).unwrap().node().watched().count(), 0);
}

#[test]
fn statement_that_says_more_than_was_counted_is_a_dispute() {
    let mut street = Street::in_session();
    // The seller's meter runs on after the last message that the car gets.
    let session = id(7);
    let end = SessionEnd { session, time: street.time(), quantity: street.quantity() };
    let link = street.link;
    street.inject(street.car, link, end).unwrap();
    let node = street.world.end(street.station).unwrap().node();
    let own = node.session(session).unwrap();
    let (owed, outpoint) = (own.owed(), street.outpoint);
    let mut seller = own.clone();
    let now = street.world.now().time;
    seller.tick(now, now, Quantity::new(80).unwrap()).unwrap();
    let over = seller.decide(now, meter::Input::End { at: now }).unwrap();
    seller.apply(&over.record).unwrap();
    let txid = outpoint.txid.to_byte_array();
    let statement = seller.statement(txid, outpoint.vout).unwrap();
    let message = signed_statement(&statement);
    let refused = street.inject(street.car, link, message);
    let why = MeterError::StatementDiffers {
        field: "quantity",
        got: street.total + 80,
        own: street.total,
    };
    assert_eq!(refused, Err(NodeError::Meter(why)));
    street.world.settle_down().unwrap();
    let events = street.world.take_events(street.car).unwrap();
    assert!(events.contains(&Event::StatementDisputed { statement, why }), "{owed}: {events:?}");
}

#[test]
fn tariff_changes_by_one_command_and_one_answer_without_an_unbilled_unit() {
    let mut street = Street::in_session();
    // A payment is on its way while the price changes.
    street.total += 100_000;
    street.world.pass(secs(1)).unwrap();
    let (session, total) = (id(7), street.quantity());
    for end in [street.car, street.station] {
        street.world.command(end, Command::Meter { session, total }).unwrap();
    }
    let dear = Price::new(msat(90_000_000), 3_600_000).unwrap();
    let measure = millstream::meter::tariff::Measure::WattSecond;
    let tariff = Tariff::flat(measure, dear).unwrap();
    let change = Command::ChangeTariff {
        session,
        next: id(8),
        tariff,
        skew: secs(5),
        tolerance: Ppm::new(25_000).unwrap(),
    };
    street.world.command(street.station, change).unwrap();
    let mut accepted = false;
    // The car answers the offer the moment that it hears of it, whatever is still unpaid.
    street.world.settle_down().unwrap();
    for event in street.world.take_events(street.car).unwrap() {
        if matches!(event, Event::SessionOffered { session, .. } if session == id(8)) {
            street.accept(8).unwrap();
            accepted = true;
        }
    }
    assert!(accepted);
    street.world.settle_down().unwrap();
    for end in [street.car, street.station] {
        assert_eq!(street.state(end, 7), State::Ended);
        assert_eq!(street.state(end, 8), State::Active);
    }
    let at_old_price = street.total;
    (street.session, street.total) = (8, 0);
    for _ in 0..4 {
        street.tick();
    }
    assert_eq!(at_old_price, 1_100_000);
    // 400,000 Ws at 25 msat.
    assert_eq!(street.owed(), msat(10_000_000));
    assert_agreed(&mut street);
}

#[test]
fn successor_accepted_before_the_last_payment_is_acknowledged_begins_after_it() {
    let mut street = Street::in_session();
    street.offer(street.link, 8);
    street.world.settle_down().unwrap();
    assert!(street.accept(8).is_err(), "the old one still runs");
    let lost = lose(&mut street, &["Ack"]);
    street.tick();
    street.world.command(street.car, Command::EndSession(id(7))).unwrap();
    street.accept(8).unwrap();
    assert!(street.world.end(street.car).unwrap().node().session(id(8)).is_none());
    assert!(lost.borrow().is_empty());
    street.world.pass(secs(10)).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(street.state(street.car, 8), State::Active, "{:?}", street.refusals());
    assert_eq!(street.state(street.station, 8), State::Active);
}

#[test]
fn offers_to_thousands_of_connections_leave_a_bounded_rest() {
    let mut street = Street::in_session();
    for n in 0..3_000 {
        let link = LinkId(10_000 + n);
        street.handle(street.station, Input::Connected(link)).unwrap();
        street.offer(link, 10_000 + n);
        let _ = street.flush(street.station);
        street.handle(street.station, Input::Disconnected(link)).unwrap();
    }
    let node = street.world.end(street.station).unwrap().node();
    let kept: Vec<_> = node.sessions().map(|(meter, _)| meter.record().id().to_u64()).collect();
    assert!(kept.len() <= 66, "{} sessions kept", kept.len());
    // The newest ones, and the one that runs.
    assert!(kept.contains(&7) && kept.contains(&12_999), "{kept:?}");
    street.tick();
    assert_agreed(&mut street);
}
