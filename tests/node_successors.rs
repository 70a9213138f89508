//! What comes after a spend: rollovers that strangers name first, and settlements that are replaced
//! while the payer was away.

#[path = "node_attacks/street.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod street;

use bitcoin::OutPoint;
use millstream::meter::State;
use millstream::node::{Command, Event, Input};
use millstream::sim::world::{Clear, EndId, Fate, Weather};
use millstream::tx::ChangeScript;
use millstream::units::{FeeRate, Msat, Seconds};
use millstream::wire::{self, Change, Message};
use street::{Street, blocks, id, msat, sat};

/// A session over a settled channel, buried while the payer was away, and nothing paid on it yet.
fn buried_rollover() -> Street {
    let mut street = Street::in_session();
    street.end_session(7);
    street.settle(1_000);
    let link = street.link;
    street.world.disconnect(link).unwrap();
    street.world.mine(blocks(4));
    street.world.settle_down().unwrap();
    street.outpoint = street.newest();
    assert_ne!(street.outpoint, street.first);
    street
}

#[test]
fn stranger_that_names_a_buried_rollover_with_another_change_changes_nothing() {
    for rebooted in [false, true] {
        let mut street = buried_rollover();
        if rebooted {
            street.world.reboot(street.station).unwrap();
            street.world.settle_down().unwrap();
        }
        let stranger = street.stranger_at(street.station);
        let open = wire::Open {
            outpoint: street.outpoint,
            change: Change::P2tr(street.open_message().payer.serialize()),
            ..street.open_message()
        };
        street.inject(street.station, stranger, open).unwrap();
        let _sent = street.flush(street.station);
        street.handle(street.station, Input::Disconnected(stranger)).unwrap();
        let node = street.world.end(street.station).unwrap().node();
        let channel = node.payee(street.outpoint).unwrap().channel();
        assert_eq!(*channel.change(), ChangeScript::Own);
        street.reconnect();
        street.reset_meter();
        street.session = 8;
        street.start_session(8);
        for _ in 0..3 {
            street.tick();
        }
        assert!(street.paid() > Msat::ZERO);
        assert_eq!(street.paid(), street.owed(), "{:?}", street.refusals());
    }
}

#[test]
fn replaced_settlement_is_paid_on_at_once_after_the_payers_restart() {
    for with_the_spent_one in [false, true] {
        let mut street = Street::in_session();
        street.settle(1_000);
        for _ in 0..3 {
            street.tick();
        }
        let first_rollover = street.newest();
        let attached: &[OutPoint] =
            if with_the_spent_one { &[first_rollover, street.first] } else { &[first_rollover] };
        street.world.reboot(street.car).unwrap();
        street.link = street.world.connect(street.car, street.station).unwrap();
        for outpoint in attached {
            let attach = Command::Attach { link: street.link, outpoint: *outpoint };
            street.world.command(street.car, attach).unwrap();
            street.world.settle_down().unwrap();
        }
        street.outpoint = first_rollover;
        for _ in 0..3 {
            street.tick();
        }
        assert_eq!(street.paid(), street.owed(), "{:?}", street.refusals());
        // A higher fee: another transaction, and so another outpoint.
        street.outpoint = street.first;
        street.settle(3_000);
        street.outpoint = street.newest();
        assert_ne!(street.outpoint, first_rollover);
        for _ in 0..3 {
            street.tick();
        }
        street.world.pass(Seconds::new(60).unwrap()).unwrap();
        street.world.settle_down().unwrap();
        assert_eq!(street.paid(), street.owed(), "{:?}", street.refusals());
        let station = street.world.end(street.station).unwrap().node();
        assert!(station.payee(street.outpoint).unwrap().paid() > Msat::ZERO);
        street.world.mine(blocks(4));
        street.world.settle_down().unwrap();
        street.tick();
        street.world.command(street.car, Command::EndSession(id(7))).unwrap();
        street.world.settle_down().unwrap();
        let stated = street.statements();
        let last = stated.last().unwrap_or_else(|| panic!("{:?}", street.refusals()));
        assert_eq!((last.session, last.paid), (id(7), last.owed));
    }
}

#[test]
fn session_keeps_what_was_paid_above_an_earlier_settlement_when_it_is_paid_on() {
    let mut street = Street::in_session();
    let rate = |rate| FeeRate::new(rate).unwrap();
    // A settlement that the mempool drops: the station has stated little, and is paid more.
    street.settle(1_000);
    street.world.chain().with(|chain| chain.set_min_relay(rate(50_000)));
    street.world.mine(blocks(1));
    street.world.settle_down().unwrap();
    for _ in 0..3 {
        street.tick();
    }
    let (on_first, owed) = (street.outpoint, street.owed());
    let station = street.world.end(street.station).unwrap().node();
    let first = station.payee(on_first).unwrap();
    let stated = first.phase().stated().unwrap();
    assert!(stated < first.paid());
    assert_eq!(first.paid(), owed);
    // Another states all of it, and both sides see that before anything is paid on what it makes.
    street.world.chain().with(|chain| chain.set_min_relay(rate(1_000)));
    let _refused = street.world.end_mut(street.station).unwrap().take_unsent();
    street.settle(3_000);
    street.world.mine(blocks(1));
    street.world.settle_down().unwrap();
    street.outpoint = street.newest();
    assert_ne!(street.outpoint, on_first);
    for _ in 0..3 {
        street.tick();
    }
    assert_eq!(street.paid(), street.owed(), "{:?}", street.refusals());
    street.world.command(street.car, Command::EndSession(id(7))).unwrap();
    street.world.settle_down().unwrap();
    let stated = street.statements();
    let last = stated.last().unwrap_or_else(|| panic!("{:?}", street.refusals()));
    assert_eq!((last.session, last.paid), (id(7), last.owed));
}

/// Loses the first top-up that anybody proposes.
#[derive(Debug, Default)]
struct LosesTopUp {
    next: bool,
    lost: bool,
}

impl Weather for LosesTopUp {
    fn fate(&mut self, _from: EndId, _bytes: usize) -> Fate {
        let loses = self.next && !self.lost;
        self.lost |= loses;
        if loses { Fate::Lost } else { Fate::Arrives }
    }

    fn sees(&mut self, _from: EndId, message: &Message) {
        self.next = matches!(message, Message::TopUpRequest(_));
    }
}

#[test]
fn top_up_that_is_proposed_again_after_more_was_paid_carries_all_of_it() {
    let mut street = Street::in_session();
    let (tx, coin) = street.world.coin(sat(101_000)).unwrap();
    street.world.chain().with(|chain| chain.submit(&tx)).unwrap();
    street.world.mine(blocks(1));
    street.world.settle_down().unwrap();
    street.world.set_weather(Box::<LosesTopUp>::default());
    let (from, capacity) = (street.outpoint, sat(1_100_000));
    let propose = |street: &mut Street| {
        let (inputs, carries) = (vec![coin.clone()], Some(id(7)));
        let top_up = Command::TopUp { outpoint: from, inputs, capacity, carries };
        street.world.command(street.car, top_up).unwrap();
        street.world.settle_down().unwrap();
    };
    propose(&mut street);
    let before = street.signed();
    // 1,250 sat: the next proposal is the same transaction, with another first voucher.
    street.tick();
    propose(&mut street);
    let (carried, car) = (street.signed(), street.world.end(street.car).unwrap().node());
    assert_eq!(carried.saturating_sub(before), msat(1_250_000));
    assert_eq!(car.payers().count(), 2);
    let next = car.payers().find(|payer| payer.outpoint() != from).unwrap();
    assert_eq!((next.start(), next.signed()), (carried, carried));
    let to = next.outpoint();
    let station = street.world.end(street.station).unwrap().node();
    assert_eq!(station.payee(to).unwrap().start(), carried, "{:?}", street.refusals());
    let spend = street.world.take_events(street.car).unwrap().into_iter().find_map(|event| {
        if let Event::TopUpAgreed { spend, .. } = event { Some(spend) } else { None }
    });
    let spend = spend.unwrap();
    let witnesses = street.world.sign_coins(spend.transaction(), spend.spent()).unwrap();
    let finish = Command::FinishTopUp { outpoint: from, witnesses };
    street.world.command(street.car, finish).unwrap();
    street.world.settle_down().unwrap();
    // The mempools drop it, it is sent again, and the session goes back and forth with it.
    street.world.chain().with(|chain| {
        chain.set_min_relay(FeeRate::new(100_000_000).unwrap());
        chain.set_min_relay(FeeRate::new(100).unwrap());
        assert_eq!(chain.mempool().count(), 0);
    });
    for _ in 0..4 {
        street.world.settle_down().unwrap();
        street.world.mine(blocks(1));
    }
    street.world.settle_down().unwrap();
    street.outpoint = street.newest();
    assert_eq!(street.outpoint, to);
    for _ in 0..3 {
        street.tick();
    }
    assert_eq!(street.paid(), street.owed(), "{:?}", street.refusals());
    assert_eq!(street.signed(), carried.saturating_add(msat(3_750_000)));
}

/// Loses every stamp of a start that one end sends.
#[derive(Debug)]
struct LosesStarts {
    of: EndId,
    next: bool,
}

impl Weather for LosesStarts {
    fn fate(&mut self, from: EndId, _bytes: usize) -> Fate {
        if self.next && from == self.of { Fate::Lost } else { Fate::Arrives }
    }

    fn sees(&mut self, _from: EndId, message: &Message) {
        self.next = matches!(message, Message::SessionStart(_));
    }
}

#[test]
fn session_whose_start_was_lost_begins_after_a_rollover_and_a_restart() {
    let mut street = Street::in_session();
    street.end_session(7);
    street.world.set_weather(Box::new(LosesStarts { of: street.station, next: false }));
    street.reset_meter();
    street.session = 8;
    street.start_session(8);
    assert_eq!(street.state(street.station, 8), State::Active);
    assert_eq!(street.state(street.car, 8), State::Offered);
    street.settle(1_000);
    street.outpoint = street.newest();
    assert_ne!(street.outpoint, street.first);
    street.world.reboot(street.car).unwrap();
    street.world.settle_down().unwrap();
    // The stamp is as old as the start by now, and good all the same.
    street.world.mine(blocks(4));
    street.world.set_weather(Box::new(Clear));
    street.link = street.world.connect(street.car, street.station).unwrap();
    street.attach();
    assert_eq!(street.state(street.car, 8), State::Active, "{:?}", street.refusals());
    street.tick();
    assert_eq!(street.paid(), street.owed(), "{:?}", street.refusals());
}
