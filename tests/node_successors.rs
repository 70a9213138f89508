//! What comes after a spend: rollovers that strangers name first, and settlements that are replaced
//! while the payer was away.

#[path = "node_attacks/street.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod street;

use millstream::node::Input;
use millstream::tx::ChangeScript;
use millstream::units::Msat;
use millstream::wire::{self, Change};
use street::{Street, blocks};

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
