//! How sessions end: whatever crosses the end, whichever side ends, whatever is lost and whoever
//! loses its power meanwhile, a statement is agreed and the channel serves the next session.

#[path = "node_attacks/street.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod street;

use millstream::meter::{State, Tariff, Window};
use millstream::node::Command;
use millstream::sim::world::{Clear, EndId, Fate, Weather};
use millstream::stream::payer::Ending;
use millstream::units::{Msat, Price, Seconds};
use millstream::wire::{Message, Reading, SessionEnd};
use street::{Street, id, msat, secs, tariff};

/// Nothing is delivered between two of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    CarReads,
    StationReads,
    CarEnds,
    StationEnds,
}

use Act::{CarEnds, CarReads, StationEnds, StationReads};

/// What befalls the line, counted in messages of both sides from the first act on.
#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    /// This one message is lost.
    Lost(u32),
    /// From this message on nothing arrives; who is rebooted before the two meet again.
    Cut(u32, Option<Who>),
}

#[derive(Debug, Clone, Copy)]
enum Who {
    Car,
    Station,
}

/// Loses the messages of a range.
#[derive(Debug)]
struct Loses {
    seen: u32,
    from: u32,
    to: u32,
}

impl Weather for Loses {
    fn fate(&mut self, _from: EndId, _bytes: usize) -> Fate {
        let now = self.seen;
        self.seen += 1;
        if (self.from..self.to).contains(&now) { Fate::Lost } else { Fate::Arrives }
    }
}

/// 8 messages: more than any of these endings needs.
const MESSAGES: u32 = 8;

fn faults() -> Vec<Fault> {
    let mut faults = vec![Fault::None];
    for nth in 0..MESSAGES {
        faults.push(Fault::Lost(nth));
        for who in [None, Some(Who::Car), Some(Who::Station)] {
            faults.push(Fault::Cut(nth, who));
        }
    }
    faults
}

fn begin_fault(street: &mut Street, fault: Fault) {
    let (from, to) = match fault {
        Fault::None => return,
        Fault::Lost(nth) => (nth, nth + 1),
        Fault::Cut(nth, _) => (nth, u32::MAX),
    };
    street.world.set_weather(Box::new(Loses { seen: 0, from, to }));
}

/// The two meet again, and are given ten minutes.
fn end_fault(street: &mut Street, fault: Fault) {
    street.world.settle_down().unwrap();
    if let Fault::Cut(_, who) = fault {
        street.world.set_weather(Box::new(Clear));
        let link = street.link;
        street.world.disconnect(link).unwrap();
        street.world.settle_down().unwrap();
        let rebooted = who.map(|who| match who {
            Who::Car => street.car,
            Who::Station => street.station,
        });
        if let Some(end) = rebooted {
            street.world.reboot(end).unwrap();
        }
        street.reconnect();
    }
    for _ in 0..20 {
        street.world.pass(secs(30)).unwrap();
        street.world.settle_down().unwrap();
    }
    street.world.set_weather(Box::new(Clear));
}

fn act(street: &mut Street, act: Act) {
    street.world.pass(secs(1)).unwrap();
    let (session, total) = (id(street.session), street.quantity());
    let (end, command) = match act {
        CarReads => (street.car, Command::Meter { session, total }),
        StationReads => (street.station, Command::Meter { session, total }),
        CarEnds => (street.car, Command::EndSession(session)),
        StationEnds => (street.station, Command::EndSession(session)),
    };
    street.world.command(end, command).unwrap();
}

/// The session is over on both sides: all of it is paid, both say the same, and the next is served.
fn assert_over(street: &mut Street, case: &str) {
    let session = id(street.session);
    let stated = street.statements();
    let statement = stated.iter().find(|statement| statement.session == session);
    let refusals = street.refusals();
    let statement = statement.unwrap_or_else(|| panic!("{case}: no statement: {refusals:?}"));
    assert_eq!(statement.paid, statement.owed, "{case}");
    assert_eq!(street.paid(), street.owed(), "{case}");
    street.world.check_invariants().unwrap();
    (street.session, street.total) = (8, 0);
    street.start_session(8);
    for end in [street.car, street.station] {
        assert_eq!(street.state(end, 8), State::Active, "{case}: {:?}", street.refusals());
    }
    street.tick();
    assert!(street.owed() > Msat::ZERO);
    assert_eq!(street.paid(), street.owed(), "{case}: {:?}", street.refusals());
}

/// All orders in which a side's own reading comes before its own end, or the car's after it.
fn orders(acts: &[Act]) -> Vec<Vec<Act>> {
    if acts.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, first) in acts.iter().enumerate() {
        let mut rest = acts.to_vec();
        rest.remove(at);
        if *first == StationEnds && rest.contains(&StationReads) {
            continue;
        }
        for order in orders(&rest) {
            all.push([&[*first][..], &order].concat());
        }
    }
    all
}

/// What the last second delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Service,
    /// Nothing: it is idle, and every second of that is billed.
    Idle,
}

/// An idle second costs 10,000 msat, from the first one on.
fn with_idle() -> Tariff {
    tariff().with_idle(Price::new(msat(10_000), 1).unwrap(), Seconds::MIN).unwrap()
}

fn crossing(order: &[Act], fault: Fault, last: Last) -> Street {
    let mut street = Street::open();
    offer(&mut street, if last == Last::Idle { with_idle() } else { tariff() });
    street.accept(7).unwrap();
    street.world.settle_down().unwrap();
    street.tick();
    street.tick();
    begin_fault(&mut street, fault);
    street.total += if last == Last::Idle { 0 } else { 100_000 };
    for step in order {
        act(&mut street, *step);
    }
    end_fault(&mut street, fault);
    street
}

#[test]
fn reading_that_crosses_the_buyers_end_is_paid_and_stated() {
    let mut street = crossing(&[CarReads, StationReads, CarEnds], Fault::None, Last::Service);
    let session = id(7);
    for end in [street.car, street.station] {
        let meter = street.world.end(end).unwrap().node().session(session).unwrap();
        // 3 s at 100 kW: 300,000 Ws x 12.5 msat.
        assert_eq!(meter.owed(), msat(3_750_000));
        assert_eq!(meter.debt(), Msat::ZERO);
    }
    assert_over(&mut street, "crossing");
}

fn both(fault: Fault) -> [(Fault, Last); 2] {
    [(fault, Last::Service), (fault, Last::Idle)]
}

#[test]
fn session_reaches_its_statement_in_every_order_and_through_every_single_fault() {
    let mut cases = 0;
    for acts in [
        &[CarReads, StationReads, CarEnds][..],
        &[StationReads, CarEnds],
        &[CarReads, StationReads, StationEnds],
        &[CarReads, StationReads, CarEnds, StationEnds],
    ] {
        for order in orders(acts) {
            for (fault, last) in faults().into_iter().flat_map(both) {
                let mut street = crossing(&order, fault, last);
                let sold = street.world.end(street.station).unwrap().node().session(id(7)).unwrap();
                assert_eq!(sold.record().idle() > Seconds::MIN, last == Last::Idle);
                assert_over(&mut street, &format!("{order:?} {fault:?} {last:?}"));
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 2 * (6 + 2 + 3 + 12) * (1 + 4 * MESSAGES));
}

/// A start that costs 1,000 msat, whatever follows.
fn with_fee() -> Tariff {
    tariff().with_fees(msat(1_000), Msat::ZERO).unwrap()
}

fn offer(street: &mut Street, tariff: Tariff) {
    street.offer_with(7, tariff, Window { credit: msat(5_000_000), prepay: Msat::ZERO });
}

#[test]
fn session_ended_before_its_start_was_heard_leaves_the_channel_free() {
    for lost in 0..MESSAGES {
        let mut street = Street::open();
        offer(&mut street, with_fee());
        begin_fault(&mut street, Fault::Lost(lost));
        street.accept(7).unwrap();
        street.world.command(street.car, Command::EndSession(id(7))).unwrap();
        end_fault(&mut street, Fault::None);
        let debt = |end| street.world.end(end).unwrap().node().session(id(7)).unwrap().debt();
        assert_eq!(debt(street.car), Msat::ZERO, "{lost}");
        assert_eq!(debt(street.station), Msat::ZERO, "{lost}: {:?}", street.refusals());
        (street.session, street.total) = (8, 0);
        street.start_session(8);
        for end in [street.car, street.station] {
            assert_eq!(street.state(end, 8), State::Active, "{lost}: {:?}", street.refusals());
        }
    }
}

#[test]
fn seller_that_serves_on_because_it_heard_no_end_is_paid_what_the_buyers_meter_bears_out() {
    let mut street = Street::in_session();
    let link = street.link;
    street.world.disconnect(link).unwrap();
    street.world.settle_down().unwrap();
    act(&mut street, CarEnds);
    for _ in 0..3 {
        // The owner leaves the plug in: its meter runs on.
        street.tick();
    }
    street.world.pass(secs(600)).unwrap();
    street.reconnect();
    assert_over(&mut street, "served on");
}

#[test]
fn claim_after_the_end_above_the_buyers_meter_is_refused_and_stays_the_sellers_risk() {
    let mut street = Street::in_session();
    let link = street.link;
    street.world.disconnect(link).unwrap();
    street.world.settle_down().unwrap();
    let before = street.signed();
    // 12 s: above the slack of 10, and the tolerance of 2.5 in a hundred. Credit ends it at 5.
    street.total += 1_200_000;
    act(&mut street, StationReads);
    act(&mut street, CarEnds);
    street.reconnect();
    assert_eq!(street.signed(), before);
    assert!(street.paid() < street.owed());
    assert!(street.statements().is_empty());
    // Written off by its owner, the channel is free again.
    street.world.command(street.station, Command::ForgetSession(id(7))).unwrap();
    for _ in 0..10 {
        street.world.pass(secs(60)).unwrap();
        street.world.settle_down().unwrap();
    }
    (street.session, street.total) = (8, 0);
    street.start_session(8);
    assert_eq!(street.state(street.car, 8), State::Active, "{:?}", street.refusals());
}

#[test]
fn payment_by_hand_waits_for_the_start_or_counts_for_no_session() {
    let (mut taken, mut waited) = (0, 0);
    for lost in 0..MESSAGES {
        let mut street = Street::open();
        let link = street.link;
        street.offer(link, 7);
        street.world.settle_down().unwrap();
        begin_fault(&mut street, Fault::Lost(lost));
        street.accept(7).unwrap();
        street.world.settle_down().unwrap();
        let (outpoint, session, ending) = (street.outpoint, id(7), Ending::KeepsChange);
        let pay = Command::Pay { outpoint, more: msat(500_000), session, ending };
        match street.world.command(street.car, pay) {
            Ok(()) => taken += 1,
            Err(error) => {
                assert!(error.to_string().contains("session 7"), "{error}");
                waited += 1;
            }
        }
        end_fault(&mut street, Fault::None);
        for _ in 0..3 {
            street.tick();
        }
        street.world.command(street.car, Command::EndSession(session)).unwrap();
        end_fault(&mut street, Fault::None);
        let case = format!("{lost}");
        let stated = street.statements();
        let statement = stated.first().unwrap_or_else(|| panic!("{case}: {:?}", street.refusals()));
        assert_eq!(statement.paid, statement.owed, "{case}");
    }
    assert!(taken > 0 && waited > 0, "{taken} taken, {waited} waited");
}

#[test]
fn session_that_a_restart_left_unstated_keeps_no_channel_that_served_another_since() {
    let mut street = Street::in_session();
    street.end_session(7);
    street.world.pass(secs(1)).unwrap();
    let link = street.link;
    street.offer(link, 8);
    street.world.settle_down().unwrap();
    begin_fault(&mut street, Fault::Cut(0, None));
    street.accept(8).unwrap();
    street.world.command(street.car, Command::EndSession(id(8))).unwrap();
    // The station forgets its offer, the car that the session before was stated.
    let station = street.station;
    street.world.disconnect(link).unwrap();
    street.world.reboot(station).unwrap();
    end_fault(&mut street, Fault::Cut(0, Some(Who::Car)));
    street.world.command(street.car, Command::ForgetSession(id(8))).unwrap();
    (street.session, street.total) = (9, 0);
    street.start_session(9);
    assert_eq!(street.state(street.car, 9), State::Active, "{:?}", street.refusals());
}

/// Nothing that the station says arrives.
#[derive(Debug)]
struct Deaf {
    car: EndId,
}

impl Weather for Deaf {
    fn fate(&mut self, from: EndId, _bytes: usize) -> Fate {
        if from == self.car { Fate::Arrives } else { Fate::Lost }
    }
}

/// The station keeps its statements to itself.
#[derive(Debug, Default)]
struct Unstated {
    is_statement: bool,
}

impl Weather for Unstated {
    fn fate(&mut self, _from: EndId, _bytes: usize) -> Fate {
        if self.is_statement { Fate::Lost } else { Fate::Arrives }
    }

    fn sees(&mut self, _from: EndId, message: &Message) {
        self.is_statement = matches!(message, Message::Statement(_));
    }
}

#[test]
fn idle_time_after_the_buyers_own_end_is_not_paid_though_no_statement_comes() {
    for rebooted in [false, true] {
        let mut street = Street::open();
        offer(&mut street, with_idle());
        street.accept(7).unwrap();
        street.world.settle_down().unwrap();
        street.tick();
        let (car, before) = (street.car, street.signed());
        street.world.set_weather(Box::new(Unstated::default()));
        act(&mut street, CarEnds);
        street.world.settle_down().unwrap();
        if rebooted {
            let link = street.link;
            street.world.disconnect(link).unwrap();
            street.world.settle_down().unwrap();
            street.world.reboot(car).unwrap();
            street.reconnect();
        }
        let tell = |street: &mut Street, idle: u64| {
            let (link, quantity, time) = (street.link, street.quantity(), street.time());
            let idle = Some(secs(idle));
            let told = street.inject(car, link, Reading { session: id(7), time, quantity, idle });
            street.world.settle_down().unwrap();
            told
        };
        for hour in 1..=3 {
            street.world.pass(secs(3_600)).unwrap();
            let (link, quantity, time) = (street.link, street.quantity(), street.time());
            // The seller's end is of just now, too.
            street.inject(car, link, SessionEnd { session: id(7), time, quantity }).unwrap();
            assert!(tell(&mut street, 3_600 * hour).is_err(), "{rebooted}");
            assert_eq!(street.signed(), before, "{rebooted}");
        }
        // A second before the end, and the five by which the clocks may differ.
        assert!(tell(&mut street, 7).is_err(), "{rebooted}");
        for _again in 0..2 {
            tell(&mut street, 6).unwrap();
            assert_eq!(street.signed(), before.add(msat(60_000)).unwrap(), "{rebooted}");
        }
    }
}

#[test]
fn start_that_was_not_heard_before_the_end_is_taken_after_a_power_cut() {
    for rebooted in [None, Some(Who::Car), Some(Who::Station)] {
        let mut street = Street::open();
        offer(&mut street, with_fee());
        street.accept(7).unwrap();
        street.world.set_weather(Box::new(Deaf { car: street.car }));
        street.world.settle_down().unwrap();
        // A second is delivered; the line of the car is dead, and it gives up.
        street.total += 100_000;
        act(&mut street, StationReads);
        street.world.settle_down().unwrap();
        let link = street.link;
        street.world.disconnect(link).unwrap();
        street.world.settle_down().unwrap();
        act(&mut street, CarEnds);
        street.world.pass(secs(60)).unwrap();
        end_fault(&mut street, Fault::Cut(0, rebooted));
        assert_over(&mut street, &format!("{rebooted:?}"));
    }
}
