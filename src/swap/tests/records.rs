//! The records: written as read, refused where they rot, and the same duties after a restart.

use super::*;
use crate::store::{Store, StoreError, envelope};

fn stored() -> impl Iterator<Item = Swap> {
    states().into_iter().map(|(_, swap)| swap).filter(|swap| !swap.is_over())
}

#[test]
fn record_of_every_stage_reads_as_written() {
    let mut longest = 0;
    for swap in stored() {
        let (key, bytes) = (swap.key().unwrap(), swap.encode().unwrap());
        assert_eq!(Swap::decode(&key, &bytes), Ok(swap));
        assert_eq!(&key.as_bytes()[..1], &Swap::PREFIX);
        longest = longest.max(bytes.len());
    }
    assert_eq!((stored().count(), longest), (17, 196));
}

#[test]
fn record_with_any_bit_flipped_or_cut_short_is_refused() {
    for swap in stored() {
        let (key, bytes) = (swap.key().unwrap(), swap.encode().unwrap());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Swap::decode(&key, &flipped).is_err());
        }
        for length in 0..bytes.len() {
            assert!(Swap::decode(&key, &bytes[..length]).is_err());
        }
    }
}

/// Where the stage stands in a responder's record, behind both legs.
const STAGE: usize = 108;

#[test]
fn record_that_makes_no_sense_is_refused_behind_a_right_checksum() {
    let open = states()[9].1;
    let key = open.key().unwrap();
    let body = envelope::open(&key, 1, &open.encode().unwrap()).unwrap().to_vec();
    assert_eq!(body[STAGE], 3);
    let broken = |at: usize, byte: u8| {
        let mut body = body.clone();
        body[at] = byte;
        Swap::decode(&key, &envelope::seal(&key, 1, &body))
    };
    assert_eq!(broken(STAGE, 3), Ok(open));
    let stages = [0, 1, 2, 4, 6].map(|stage| (STAGE, stage));
    // Tags of both sides, an id where there is none, and none where there is one.
    let sides = [(STAGE + 1, 0), (STAGE + 1, 2), (STAGE + 1, 4), (STAGE + 10, 0), (STAGE + 10, 2)];
    for (at, byte) in stages.into_iter().chain(sides) {
        let read = broken(at, byte);
        assert!(matches!(read, Err(SwapError::BrokenRecord { .. })), "{at} {byte}: {read:?}");
    }
    let longer = [body.as_slice(), &[0]].concat();
    let read = Swap::decode(&key, &envelope::seal(&key, 1, &longer));
    assert_eq!(read, Err(SwapError::BrokenRecord { at: body.len() }));
    let read = Swap::decode(&key, &envelope::seal(&key, 2, &body));
    assert!(matches!(read, Err(SwapError::Store(StoreError::UnknownVersion { .. }))), "{read:?}");
}

#[test]
fn record_of_an_initiator_with_another_secret_is_refused() {
    let swap = initiator();
    let key = swap.key().unwrap();
    let mut body = envelope::open(&key, 1, &swap.encode().unwrap()).unwrap().to_vec();
    body[0] ^= 1;
    let read = Swap::decode(&key, &envelope::seal(&key, 1, &body));
    assert!(matches!(read, Err(SwapError::BrokenRecord { .. })), "{read:?}");
}

#[test]
fn swap_comes_back_with_the_same_duties_and_is_forgotten_when_it_is_over() {
    let mut store = MemoryStore::default();
    let mut swap = responder();
    let path = [
        held(first_hold()),
        Input::Offered { id: id(9) },
        Input::Preimage(secret(7)),
        Input::Over(End::Folded),
        Input::Paid,
    ];
    for input in path {
        swap.take_into(input, &mut store).unwrap();
        let key = swap.key().unwrap();
        let bytes = store.get(&key).unwrap();
        assert_eq!(bytes.is_none(), swap.is_over());
        let Some(bytes) = bytes else { continue };
        let back = Swap::decode(&key, &bytes).unwrap();
        assert_eq!(back.due(start()), swap.due(start()));
    }
    assert!(swap.is_over());
}

#[test]
fn step_that_is_older_than_the_swap_is_refused() {
    let mut swap = responder();
    let early = swap.decide(&policy(), &Input::CallOff).unwrap();
    let early = early.commit(&mut MemoryStore::default()).unwrap();
    swap.take(held(first_hold())).unwrap();
    let before = swap;
    assert_eq!(swap.apply(&early), Err(SwapError::OldStep));
    assert_eq!(swap, before);
}
