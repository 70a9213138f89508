//! Readings on both sides of a price border, of which some are lost or paid beforehand: each is
//! counted at the price of its own stamp, or at one that SECURITY.md names.

#[path = "node_attacks/street.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod street;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use millstream::meter::{State, Window};
use millstream::node::Command;
use millstream::sim::world::{Clear, EndId, Fate, Weather};
use millstream::stream::payer::Ending;
use millstream::units::Msat;
use millstream::wire::Message;
use street::{Street, border_tariff, id, msat, secs};

/// A session in which the price doubles 15 seconds after its start.
fn in_session() -> Street {
    let mut street = Street::open();
    let tariff = border_tariff(&street, 15, 90_000_000);
    street.start_with(tariff, Window { credit: msat(50_000_000), prepay: Msat::ZERO });
    street
}

fn owed(street: &Street, end: EndId) -> Msat {
    street.world.end(end).unwrap().node().session(id(7)).unwrap().owed()
}

fn pay_by_hand(street: &mut Street, sessions: core::ops::Range<u64>) {
    for other in sessions {
        street.open_budget(other);
        let (outpoint, session) = (street.outpoint, id(other));
        let ending = Ending::KeepsChange;
        let pay = Command::Pay { outpoint, more: msat(1_000_000), session, ending };
        street.world.command(street.car, pay).unwrap();
        street.world.settle_down().unwrap();
    }
}

/// Loses the first message of each name that is on its list.
#[derive(Debug)]
struct Losing {
    names: Rc<RefCell<BTreeSet<&'static str>>>,
    next: bool,
}

impl Weather for Losing {
    fn fate(&mut self, _from: EndId, _bytes: usize) -> Fate {
        if self.next { Fate::Lost } else { Fate::Arrives }
    }

    fn sees(&mut self, _from: EndId, message: &Message) {
        self.next = self.names.borrow_mut().remove(message.name());
    }
}

fn lose(street: &mut Street, names: &[&'static str]) -> Rc<RefCell<BTreeSet<&'static str>>> {
    let names = Rc::new(RefCell::new(names.iter().copied().collect::<BTreeSet<_>>()));
    street.world.set_weather(Box::new(Losing { names: Rc::clone(&names), next: false }));
    names
}

#[test]
fn readings_that_are_paid_beforehand_are_read_out_each_at_its_own_price() {
    let mut street = in_session();
    street.tick();
    pay_by_hand(&mut street, 100..130);
    let link = street.link;
    street.world.disconnect(link).unwrap();
    street.world.settle_down().unwrap();
    // 5 s before the border, 3 s behind it: all of it was paid before it was read.
    for _ in 0..5 {
        street.tick();
    }
    street.world.pass(secs(30)).unwrap();
    for _ in 0..3 {
        street.tick();
    }
    assert_eq!(street.paid(), street.owed());
    street.reconnect();
    // 600,000 Ws x 12.5 msat + 300,000 Ws x 25 msat.
    for end in [street.car, street.station] {
        assert_eq!(owed(&street, end), msat(15_000_000), "{:?}", street.refusals());
    }
}

#[test]
fn newest_line_of_the_payer_hears_what_the_old_one_lost_before_the_price_changes() {
    let mut street = in_session();
    street.tick();
    // The old line hangs: what is read is lost on it, and neither side hears of its end.
    let lost = lose(&mut street, &["Reading"]);
    street.tick();
    assert!(lost.borrow().is_empty());
    // The payer shows itself on a new one; its question for the readings is lost there.
    let lost = lose(&mut street, &["SessionStart"]);
    street.reconnect();
    assert!(lost.borrow().is_empty());
    street.world.set_weather(Box::new(Clear));
    street.world.pass(secs(15)).unwrap();
    street.tick();
    // 200,000 Ws x 12.5 msat + 100,000 Ws x 25 msat.
    for end in [street.car, street.station] {
        assert_eq!(owed(&street, end), msat(5_000_000), "{:?}", street.refusals());
    }
    assert_eq!(street.state(street.station, 7), State::Active);
}

#[test]
fn reading_that_a_standing_line_loses_costs_the_price_of_the_one_that_arrives() {
    let mut street = in_session();
    street.tick();
    let lost = lose(&mut street, &["Reading"]);
    street.tick();
    assert!(lost.borrow().is_empty());
    street.world.set_weather(Box::new(Clear));
    street.world.pass(secs(15)).unwrap();
    street.tick();
    // The seller: 200,000 Ws x 12.5 msat + 100,000 Ws x 25 msat. The buyer: 100,000 and 200,000.
    assert_eq!(owed(&street, street.station), msat(5_000_000));
    assert_eq!(owed(&street, street.car), msat(6_250_000));
    // It has paid that; the seller counts, and states, its own.
    assert_eq!((street.signed(), street.paid()), (msat(6_250_000), msat(5_000_000)));
    street.end_session(7);
    let stated = street.statements();
    assert_eq!(stated.first().map(|stated| stated.owed), Some(msat(5_000_000)));
}
