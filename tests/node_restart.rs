//! Machines that lose their power in the middle of a session: the two agree afterwards on what was
//! counted, no timer stays due, and no budget outlives its session.

#[path = "node_attacks/street.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod street;

use std::cell::Cell;
use std::rc::Rc;

use bitcoin::hashes::Hash;
use millstream::meter::{self, MeterError, State, Window};
use millstream::node::{Command, Event, LinkId, NodeError};
use millstream::signer::SignerError;
use millstream::sim::world::{Clear, EndId, Fate, Weather, WorldError};
use millstream::stream::StreamError;
use millstream::stream::payer::Ending;
use millstream::units::{ChannelAlias, Msat, Ppm, Quantity, SessionId, UtcSeconds};
use millstream::wire::{self, Message};
use proptest::prelude::*;
use street::{Street, id, msat, secs, signed_statement};

/// Loses one message of a name, or all of every name.
#[derive(Debug)]
struct Loses {
    name: Option<&'static str>,
    left: Rc<Cell<u32>>,
    next: bool,
}

impl Weather for Loses {
    fn fate(&mut self, _from: EndId, _bytes: usize) -> Fate {
        if self.next { Fate::Lost } else { Fate::Arrives }
    }

    fn sees(&mut self, _from: EndId, message: &Message) {
        let named = self.name.is_none_or(|name| name == message.name());
        self.next = named && self.left.get() > 0;
        self.left.set(self.left.get() - u32::from(self.next));
    }
}

fn lose(street: &mut Street, name: Option<&'static str>, most: u32) -> Rc<Cell<u32>> {
    let left = Rc::new(Cell::new(most));
    let weather = Loses { name, left: Rc::clone(&left), next: false };
    street.world.set_weather(Box::new(weather));
    left
}

fn clear(street: &mut Street) {
    street.world.set_weather(Box::new(Clear));
}

fn ends(street: &Street) -> [EndId; 2] {
    [street.car, street.station]
}

fn wait(street: &mut Street, seconds: u64) {
    street.world.pass(secs(seconds)).unwrap();
    assert_nobody_is_due(street);
    street.world.settle_down().unwrap();
}

/// Whoever asked to be woken has been, so that a driver does not wake it again at once.
fn assert_nobody_is_due(street: &Street) {
    for end in ends(street) {
        let wake = street.world.end(end).unwrap().node().wake();
        assert!(wake.is_none_or(|wake| wake.at > street.time()), "{wake:?} at {}", street.time());
    }
}

/// One machine's meter runs on, whether the other one hears of it or not.
fn meter(street: &mut Street, end: EndId, more: u64) -> Result<(), WorldError> {
    street.total += more;
    let (session, total) = (id(street.session), street.quantity());
    street.world.command(end, Command::Meter { session, total })
}

fn owed(street: &Street, end: EndId) -> Msat {
    street.world.end(end).unwrap().node().session(id(street.session)).unwrap().owed()
}

/// The seller ends the session, and both say the same of it.
fn assert_stated(street: &mut Street) {
    let session = id(street.session);
    street.world.command(street.station, Command::EndSession(session)).unwrap();
    street.world.settle_down().unwrap();
    let events = street.world.take_events(street.car).unwrap();
    let agreed = |event: &Event| matches!(event, Event::StatementAgreed { statement } if statement.session == session);
    assert!(events.iter().any(agreed), "{events:?}, {:?}", street.refusals());
    let blamed =
        |event: &Event| matches!(event, Event::StatementDisputed { .. } | Event::Misbehaved { .. });
    assert!(!events.iter().any(blamed), "{events:?}");
}

#[test]
fn seller_that_pauses_after_its_restart_and_before_the_meeting_sleeps_and_is_paid() {
    let mut street = Street::in_session();
    let station = street.station;
    street.world.reboot(station).unwrap();
    street.world.settle_down().unwrap();
    street.world.pass(secs(1)).unwrap();
    meter(&mut street, station, 10_000_000).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(street.state(station, 7), State::Paused);
    for _ in 0..5 {
        wait(&mut street, 100);
    }
    assert_eq!(street.world.end(station).unwrap().node().wake(), None);
    let (session, total) = (id(7), street.quantity());
    street.world.command(street.car, Command::Meter { session, total }).unwrap();
    // What waited is read out at the meeting, when the payer shows itself and again as it starts;
    // both are lost, and it is asked for once more in time.
    let left = lose(&mut street, Some("Reading"), 2);
    street.reconnect();
    assert_eq!((left.get(), street.state(station, 7)), (0, State::Paused));
    wait(&mut street, 10);
    assert_eq!(street.state(station, 7), State::Active, "{:?}", street.refusals());
    assert_eq!(street.paid(), street.owed());
}

fn offer(link: LinkId, session: SessionId) -> Command {
    Command::OfferSession {
        link,
        session,
        tariff: street::tariff(),
        window: Window { credit: msat(5_000_000), prepay: Msat::ZERO },
        skew: secs(5),
        tolerance: Ppm::new(25_000).unwrap(),
    }
}

/// What may befall the two machines, from a number each.
fn befalls(street: &mut Street, what: u8) {
    let (car, station, session) = (street.car, street.station, id(street.session));
    let [either, other] = if what & 0x80 == 0 { [car, station] } else { [station, car] };
    // What is refused just does not happen: the timers must be right all the same.
    let _refused = match what & 0x0f {
        0 => street.world.reboot(either),
        1 => street.world.disconnect(street.link),
        2 => {
            lose(street, None, u32::from(what >> 4));
            Ok(())
        }
        3 => {
            clear(street);
            Ok(())
        }
        4 => street.world.command(either, Command::EndSession(session)),
        5 => street.world.command(either, Command::ForgetSession(session)),
        6 => {
            street.session += 1;
            street.reset_meter();
            let (link, session) = (street.link, id(street.session));
            street.world.command(station, offer(link, session))
        }
        7 => street.accept(street.session),
        8 => {
            street.link = street.world.connect(car, station).unwrap();
            let (link, outpoint) = (street.link, street.outpoint);
            street.world.command(car, Command::Attach { link, outpoint })
        }
        10 => meter(street, either, 1_000_000),
        11 | 12 => meter(street, either, 100_000).and_then(|()| meter(street, other, 0)),
        _ => street.world.settle_down().map(drop),
    };
    street.world.pass(secs(u64::from(what >> 4))).unwrap();
    assert_nobody_is_due(street);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_timer_is_due_after_its_wake_whatever_befell(
        story in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        let mut street = Street::in_session();
        for what in story {
            befalls(&mut street, what);
        }
        for _ in 0..3 {
            street.world.pass(secs(5_000)).unwrap();
            assert_nobody_is_due(&street);
            street.world.settle_down().unwrap();
        }
    }
}

#[test]
fn buyer_cut_between_its_start_and_the_answer_buys_on_and_takes_another_session() {
    let mut street = Street::open();
    let (car, station) = (street.car, street.station);
    street.offer(street.link, 7);
    street.world.settle_down().unwrap();
    street.accept(7).unwrap();
    // The station hears the start; its answer does not arrive.
    street.world.set_weather(Box::new(Deaf { car }));
    street.world.settle_down().unwrap();
    assert_eq!(street.state(station, 7), State::Active);
    street.world.reboot(car).unwrap();
    clear(&mut street);
    street.world.pass(secs(60)).unwrap();
    meter(&mut street, station, 1_000).unwrap();
    street.reconnect();
    for end in ends(&street) {
        assert_eq!(street.state(end, 7), State::Active, "{:?}", street.refusals());
    }
    assert_eq!(owed(&street, car), street.owed());
    assert_stated(&mut street);
    street.session = 8;
    street.reset_meter();
    street.start_session(8);
    assert_eq!(street.state(station, 8), State::Active, "{:?}", street.refusals());
    street.tick();
    assert_eq!(street.paid(), street.owed());
}

/// Nothing arrives at the car.
#[derive(Debug)]
struct Deaf {
    car: EndId,
}

impl Weather for Deaf {
    fn fate(&mut self, from: EndId, _bytes: usize) -> Fate {
        if from == self.car { Fate::Arrives } else { Fate::Lost }
    }
}

#[test]
fn start_is_taken_after_a_cut_if_stamped_since_the_buyer_took_the_session() {
    let mut street = Street::open();
    let car = street.car;
    street.offer(street.link, 7);
    street.world.settle_down().unwrap();
    lose(&mut street, Some("SessionStart"), u32::MAX);
    street.accept(7).unwrap();
    let taken = street.time();
    street.world.settle_down().unwrap();
    street.world.reboot(car).unwrap();
    street.world.pass(secs(600)).unwrap();
    street.reconnect();
    assert_eq!(street.state(car, 7), State::Offered);
    let node = street.world.end(car).unwrap().node();
    assert!(node.session(id(7)).is_some());
    let offer = Street::offer_message(7).hash();
    let start = |time| wire::SessionStart {
        session: id(7),
        alias: ChannelAlias::new(0).unwrap(),
        offer,
        time: UtcSeconds::new(time).unwrap(),
    };
    let (link, taken) = (street.link, taken.to_u64());
    let refused = street.inject(car, link, start(taken - 1));
    let skew =
        |error: &NodeError| matches!(error, NodeError::Meter(MeterError::SkewTooLarge { .. }));
    assert!(refused.as_ref().is_err_and(skew), "{refused:?}");
    street.inject(car, link, start(taken)).unwrap();
    assert_eq!(street.state(car, 7), State::Active);
}

#[test]
fn statement_after_power_cuts_is_agreed_by_what_was_counted_or_signed() {
    // Within the slack of the buyer's meter after the cut, and beyond it.
    for ticks in [0, 10] {
        for (car, station) in [(true, false), (false, true), (true, true)] {
            let mut street = Street::in_session();
            for _ in 0..ticks {
                street.tick();
            }
            let cut = [(car, street.car), (station, street.station)];
            for (_, end) in cut.into_iter().filter(|(cut, _)| *cut) {
                street.world.reboot(end).unwrap();
            }
            street.reconnect();
            assert_eq!(street.paid(), street.owed());
            let signed = street.signed();
            assert_stated(&mut street);
            assert_eq!(street.signed(), signed, "paid twice");
        }
    }
}

#[test]
fn count_of_a_buyer_rides_on_the_writes_that_its_payments_do_not_wait_for() {
    let mut street = Street::in_session();
    let counted = owed(&street, street.car);
    street.world.reboot_keeping(street.car, usize::MAX).unwrap();
    assert!(counted > Msat::ZERO);
    assert_eq!(owed(&street, street.car), counted);
}

#[test]
fn statement_of_more_than_the_buyer_signed_is_disputed_also_after_a_power_cut() {
    let mut street = Street::in_session();
    let (car, session) = (street.car, id(7));
    let own = street.world.end(street.station).unwrap().node().session(session).unwrap();
    let mut seller = own.clone();
    let outpoint = street.outpoint;
    street.world.reboot(car).unwrap();
    street.reconnect();
    let now = street.time();
    street.world.command(car, Command::EndSession(session)).unwrap();
    seller.tick(now, now, Quantity::new(80).unwrap()).unwrap();
    let over = seller.decide(now, meter::Input::End { at: now }).unwrap();
    seller.apply(&over.record).unwrap();
    let statement = seller.statement(outpoint.txid.to_byte_array(), outpoint.vout).unwrap();
    let link = street.link;
    let refused = street.inject(car, link, signed_statement(&statement));
    let differs =
        |error: &NodeError| matches!(error, NodeError::Meter(MeterError::StatementDiffers { .. }));
    assert!(refused.as_ref().is_err_and(differs), "{refused:?}");
}

/// What a payment in the session's budget comes to.
fn pays(street: &mut Street) -> Result<(), WorldError> {
    let (outpoint, session) = (street.outpoint, id(street.session));
    let (more, ending) = (msat(1_000), Ending::KeepsChange);
    street.world.command(street.car, Command::Pay { outpoint, more, session, ending })
}

#[test]
fn budget_of_a_session_that_is_forgotten_is_gone_whenever_the_power_was_cut() {
    for (before, after) in [(true, false), (false, true), (true, true)] {
        let mut street = Street::in_session();
        let (car, session) = (street.car, id(7));
        // The seller vanishes: no statement ends it.
        lose(&mut street, None, u32::MAX);
        street.world.command(car, Command::EndSession(session)).unwrap();
        street.world.settle_down().unwrap();
        if before {
            street.world.reboot(car).unwrap();
        }
        street.world.command(car, Command::ForgetSession(session)).unwrap();
        street.world.settle_down().unwrap();
        if after {
            street.world.reboot(car).unwrap();
        }
        clear(&mut street);
        street.world.settle_down().unwrap();
        street.reconnect();
        let gone = |error: &WorldError| {
            let WorldError::Node(NodeError::Stream(StreamError::Signer(error))) = error else {
                return false;
            };
            *error == SignerError::NoSuchSession { session }
        };
        let refused = pays(&mut street);
        assert!(refused.as_ref().is_err_and(gone), "{before}, {after}: {refused:?}");
    }
}
