//! Sessions along a line of settlements of which no block holds the last: whichever of them is
//! replaced, the session goes on from where it was before that, and is stated.

#[path = "node_attacks/street.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod street;

use millstream::node::Command;
use millstream::store::Store;
use millstream::stream::Payer;
use millstream::units::{FeeRate, Msat};
use street::{Street, blocks, id};

/// What the settlement of `from` makes, on the car's side.
fn next_of(street: &Street, from: bitcoin::OutPoint) -> bitcoin::OutPoint {
    let spend = street.world.chain().with(|chain| chain.output(from).unwrap().spent.unwrap().tx);
    let txid = spend.compute_txid();
    let node = street.world.end(street.car).unwrap().node();
    node.payers().map(Payer::outpoint).find(|at| at.txid == txid).unwrap()
}

/// What the station holds on an outpoint.
fn paid_on(street: &Street, outpoint: bitcoin::OutPoint) -> Msat {
    street.world.end(street.station).unwrap().node().payee(outpoint).unwrap().paid()
}

/// Two settlements in a row that no block holds, with a second of service after each.
fn twice_settled() -> Street {
    let mut street = Street::in_session();
    for _ in 0..2 {
        street.settle(1_000);
        street.outpoint = next_of(&street, street.outpoint);
        street.tick();
    }
    street
}

/// The first settlement is replaced by a dearer one, after a reboot of one side or none.
fn replace_first(street: &mut Street, rebooted: Option<&str>) {
    if let Some(who) = rebooted {
        let end = if who == "car" { street.car } else { street.station };
        street.world.reboot(end).unwrap();
        street.reconnect();
    }
    street.outpoint = street.first;
    street.settle(5_000);
    street.outpoint = next_of(street, street.first);
}

/// A session that begins behind a settlement that no block holds.
fn begun_behind_a_settlement() -> Street {
    let mut street = Street::in_session();
    street.end_session(7);
    street.settle(1_000);
    street.outpoint = next_of(&street, street.first);
    street.reset_meter();
    street.session = 8;
    street.start_session(8);
    street.tick();
    assert!(street.paid() > Msat::ZERO, "{:?}", street.refusals());
    street
}

fn assert_stated(street: &mut Street, session: u64) {
    street.tick();
    let session = id(session);
    let owed = |end| street.world.end(end).unwrap().node().session(session).unwrap().owed();
    assert_eq!(owed(street.car), owed(street.station), "{:?}", street.refusals());
    assert_eq!(
        street.paid(),
        street.owed(),
        "{} {:?} {:?}",
        street.outpoint,
        street.first,
        street.refusals()
    );
    // To the millisatoshi what was signed, over all outpoints that are left.
    street.world.command(street.car, Command::EndSession(session)).unwrap();
    street.world.settle_down().unwrap();
    let stated = street.statements();
    assert!(stated.iter().any(|stated| stated.session == session), "{:?}", street.refusals());
}

#[test]
fn session_goes_on_where_the_first_of_two_waiting_settlements_is_replaced() {
    for rebooted in [None, Some("car"), Some("station")] {
        let mut street = twice_settled();
        let before = street.outpoint;
        replace_first(&mut street, rebooted);
        assert_ne!(street.outpoint, before);
        assert!(street.world.chain().with(|chain| chain.output(before).is_none()));
        street.attach();
        assert_stated(&mut street, 7);
        street.world.mine(blocks(8));
        street.world.settle_down().unwrap();
        assert_eq!(street.world.end(street.car).unwrap().node().payers().count(), 1);
    }
}

#[test]
fn session_goes_back_along_two_settlements_that_are_undone_and_follows_them_again() {
    for reappear in [false, true] {
        let mut street = twice_settled();
        let last = street.outpoint;
        let rate = |rate| FeeRate::new(rate).unwrap();
        street.world.chain().with(|chain| chain.set_min_relay(rate(50_000)));
        street.world.mine(blocks(1));
        street.world.settle_down().unwrap();
        assert!(street.world.chain().with(|chain| chain.output(last).is_none()));
        for _ in 0..2 {
            street.tick();
        }
        let node = street.world.end(street.station).unwrap().node();
        assert_eq!(node.payee(street.first).unwrap().paid(), street.owed());
        if reappear {
            street.world.chain().with(|chain| chain.set_min_relay(rate(1_000)));
            street.world.mine(blocks(4));
            street.world.settle_down().unwrap();
            for _ in 0..2 {
                street.tick();
            }
        }
        assert_stated(&mut street, 7);
    }
}

#[test]
fn session_that_begins_behind_a_settlement_follows_the_one_that_replaces_it() {
    for rebooted in [None, Some("car"), Some("station")] {
        let mut street = begun_behind_a_settlement();
        let before = street.outpoint;
        replace_first(&mut street, rebooted);
        assert_ne!(street.outpoint, before);
        street.attach();
        street.tick();
        // All of it is owed on what there is, and nothing of what was paid before it began counts.
        let node = street.world.end(street.station).unwrap().node();
        let start = node.payee(street.outpoint).unwrap().start();
        let paid = paid_on(&street, street.outpoint).saturating_sub(start);
        assert_eq!(paid, street.owed(), "{:?}", street.refusals());
        assert_stated(&mut street, 8);
        street.world.mine(blocks(8));
        street.world.settle_down().unwrap();
        (street.session, street.total) = (9, 0);
        street.start_session(9);
        assert_stated(&mut street, 9);
    }
}

#[test]
fn session_that_begins_behind_a_settlement_goes_back_when_that_is_undone() {
    let mut street = begun_behind_a_settlement();
    let (first, paid) = (street.first, paid_on(&street, street.first));
    let rate = FeeRate::new(50_000).unwrap();
    street.world.chain().with(|chain| chain.set_min_relay(rate));
    street.world.mine(blocks(1));
    street.world.settle_down().unwrap();
    street.outpoint = first;
    for _ in 0..2 {
        street.tick();
    }
    // What was paid there before it began counts for nothing.
    assert_eq!(paid_on(&street, first).to_msat(), paid.to_msat() + street.owed().to_msat());
    assert_stated(&mut street, 8);
}

#[test]
fn line_of_many_settlements_keeps_its_session_and_its_size() {
    let mut street = Street::in_session();
    let record = |street: &Street| {
        let mut bytes = 0;
        let store = street.world.end(street.station).unwrap().store();
        store
            .scan(&[0x05], &mut |_, value| {
                bytes = value.len();
                core::ops::ControlFlow::Continue(())
            })
            .unwrap();
        bytes
    };
    let mut sizes = Vec::new();
    // One in each block: none of the newest three is buried.
    for _ in 0..24 {
        street.settle(1_000);
        street.outpoint = next_of(&street, street.outpoint);
        street.world.mine(blocks(1));
        street.world.settle_down().unwrap();
        street.tick();
        sizes.push(record(&street));
    }
    assert_eq!(sizes.last(), sizes.get(8), "{sizes:?}");
    assert_stated(&mut street, 7);
}
