//! The records: written as read, refused where they rot, and the same duties after a restart.

use super::*;
use crate::store::{Key, Store, StoreError, envelope};

/// Every stage of a forward that is stored, as a single hold and as a bundle.
fn all() -> alloc::vec::Vec<Forward> {
    let id = outgoing().id;
    let won = |settled| Stage::Won { id, preimage: preimage(7), settled };
    let (incoming, single) = order();
    let load = Load::Bundle { root: [3; 32], items: 70_000, total: msat(49_999_999) };
    let bundle = Onward { load, ..single };
    let mut all = alloc::vec::Vec::new();
    for onward in [single, bundle] {
        for stage in [Stage::Ready, Stage::Offered { id }, won(false), won(true), Stage::Dead] {
            for upstream in [Upstream::Held, Upstream::Paid, Upstream::Past] {
                let forward = Forward { stage, upstream, ..Forward::new(&incoming, onward) };
                all.extend(Some(forward).filter(|forward| !forward.is_over()));
            }
        }
    }
    all
}

#[test]
fn record_of_every_stage_reads_as_written() {
    let mut longest = 0;
    for forward in all() {
        let (key, bytes) = (forward.key().unwrap(), forward.encode().unwrap());
        assert_eq!(Forward::decode(&key, &bytes), Ok(forward));
        assert_eq!(&key.as_bytes()[..1], &Forward::PREFIX);
        longest = longest.max(bytes.len());
    }
    assert_eq!((all().len(), longest), (20, 183));
}

#[test]
fn record_with_any_bit_flipped_or_cut_short_is_refused() {
    for forward in all() {
        let (key, bytes) = (forward.key().unwrap(), forward.encode().unwrap());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Forward::decode(&key, &flipped).is_err());
        }
        for length in 0..bytes.len() {
            assert!(Forward::decode(&key, &bytes[..length]).is_err());
        }
    }
}

#[test]
fn record_that_makes_no_sense_is_refused_behind_a_right_checksum() {
    let forward = Forward::new(&order().0, order().1);
    let key = forward.key().unwrap();
    let body = envelope::open(&key, 1, &forward.encode().unwrap()).unwrap().to_vec();
    let broken = |at: usize, byte: u8| {
        let mut body = body.clone();
        body[at] = byte;
        Forward::decode(&key, &envelope::seal(&key, 1, &body))
    };
    let last = body.len() - 1;
    assert_eq!(broken(last, 0), Ok(forward));
    // Stage, upstream and load that there are not; won without a preimage; less than goes on.
    for (at, byte) in [(last, 4), (last - 1, 3), (last - 10, 2), (last, 2), (32, 0xff), (37, 0)] {
        assert!(matches!(broken(at, byte), Err(HubError::BrokenRecord { .. })), "{at}");
    }
    let other = Key::new(&[0x07; 45]).unwrap();
    let moved = Forward::decode(&other, &forward.encode().unwrap());
    assert!(matches!(moved, Err(HubError::Store(StoreError::Rotted { .. }))));
}

#[test]
fn hub_comes_back_with_every_forward_and_the_same_duties() {
    let mut store = MemoryStore::default();
    let mut hub = hub();
    let id = outgoing().id;
    let over = Input::Over { outgoing: outgoing(), end: End::Claimed };
    for (input, left) in [
        (ordered(order()), 1),
        (Input::Offered { incoming: incoming(), id }, 1),
        (Input::Preimage(preimage(7)), 1),
        (Input::Paid { incoming: incoming() }, 1),
        (over, 0),
    ] {
        hub.take_into(input, &mut store).unwrap();
        let back = Hub::load(policy(), &store).unwrap();
        assert_eq!(back, hub);
        assert_eq!(back.due_at(TIP), hub.due_at(TIP));
        assert_eq!(back.forwards().count(), left);
    }
    // H7: and only then nothing is left of it.
    assert_eq!(store.get(&Forward::new(&order().0, order().1).key().unwrap()), Ok(None));
}

#[test]
fn store_with_one_outgoing_hold_twice_is_refused() {
    let (mut store, mut batch) = (MemoryStore::default(), Batch::default());
    for id in [5, 6] {
        let (mut incoming, onward) = order();
        incoming.hold.id = HoldId::new(id).unwrap();
        let stage = Stage::Offered { id: outgoing().id };
        let forward = Forward { stage, ..Forward::new(&incoming, onward) };
        batch.put(forward.key().unwrap(), &forward.encode().unwrap()).unwrap();
    }
    store.commit(&batch, crate::store::Durability::Barrier).unwrap();
    let taken = HubError::OutgoingTaken { outgoing: outgoing() };
    assert_eq!(Hub::load(policy(), &store).unwrap_err(), taken);
}
