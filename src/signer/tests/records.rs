//! The budget record: its bytes, what is refused of it, and what a restart makes of it.

use super::super::budget::BudgetRecord;
use super::*;
use crate::store::{Batch, Durability, Key, StoreError};

fn policy() -> Policy {
    Policy { hour: msat(1_000), day: msat(10_000), peer: msat(5_000), slice: msat(100) }
}

fn stored() -> (MemorySigner, MemoryStore, Channel) {
    let mut signer = signer(1, policy());
    let channel = channel(0, 1);
    signer.register(&channel, payer_role(0, Past::New)).unwrap();
    signer.open_session(peer(2), session(7), msat(2_000)).unwrap();
    signer.open_session(peer(2), session(1), msat(60)).unwrap();
    let mut store = MemoryStore::default();
    reserve(&mut signer, &mut store, NOON);
    pay(&mut signer, &channel, 30).unwrap();
    (signer, store, channel)
}

fn restarted(store: &MemoryStore) -> MemorySigner {
    let record = BudgetRecord::load(store).unwrap();
    MemorySigner::new(seed(1), Network::Regtest, policy(), record.as_ref(), &AUX).unwrap()
}

#[test]
fn record_of_version_one_is_frozen() {
    let (_, store, _) = stored();
    let key = Key::new(&[0x02, 0x01]).unwrap();
    let bytes = store.get(&key).unwrap().unwrap();
    let hex = hex::DisplayHex::to_lower_hex_string(bytes.as_slice());
    assert_eq!(hex, GOLDEN);
    let record = BudgetRecord::load(&store).unwrap().unwrap();
    assert_eq!(bytes[5..], record.encode());
    assert_eq!(record.clock(), at(NOON));
    assert_eq!(bytes.len(), 5 + 68 + 56 + 2 * 56);
}

#[test]
fn open_slice_counts_as_spent_after_a_restart() {
    let (_, store, channel) = stored();
    let mut signer = restarted(&store);
    signer.register(&channel, payer_role(0, Past::Unknown { from: None })).unwrap();
    signer.resume(&old_voucher(&channel, 0, 30)).unwrap();
    // The session's whole budget of 60 was reserved, and 30 of it were used.
    let refused = SignerError::OverBudget {
        budget: Budget::Session,
        limit: msat(60),
        used: msat(60),
        asked: msat(1),
    };
    assert_eq!(pay(&mut signer, &channel, 31), Err(refused));
    signer.open_session(peer(2), session(1), Msat::MAX).unwrap();
    let mut store = store;
    reserve(&mut signer, &mut store, NOON);
    // One slice of the hour's 1,000 is gone.
    let next = signer.reserve(
        at(NOON),
        Some(super::super::budget::Ahead { peer: peer(2), session: session(1), amount: msat(900) }),
    );
    signer.apply(next.unwrap().unwrap().commit(&mut store).unwrap()).unwrap();
    let refused = pay(&mut signer, &channel, 30 + 901).unwrap_err();
    assert!(matches!(refused, SignerError::OverBudget { budget: Budget::Hour, .. }), "{refused}");
    pay(&mut signer, &channel, 30 + 900).unwrap();
}

#[test]
fn clock_of_the_record_holds_after_a_restart() {
    let (_, store, channel) = stored();
    let mut signer = restarted(&store);
    signer.register(&channel, payer_role(0, Past::New)).unwrap();
    let refused = SignerError::ClockBackwards { last: at(NOON), now: at(NOON - 1) };
    assert_eq!(pay_at(&mut signer, &channel, 0, NOON - 1), Err(refused));
}

#[test]
fn staged_reservation_is_durable_with_its_batch() {
    let (mut signer, mut store, _) = stored();
    let session_two = session(2);
    signer.open_session(peer(2), session_two, msat(9)).unwrap();
    let mut batch = Batch::default();
    let staged = signer.reserve(at(NOON), None).unwrap().unwrap().stage(&mut batch).unwrap();
    store.commit(&batch, Durability::Barrier).unwrap();
    signer.apply(staged.after_barrier()).unwrap();
    let record = BudgetRecord::load(&store).unwrap().unwrap();
    assert_eq!(record.encode().len(), 68 + 56 + 3 * 56);
}

#[test]
fn record_cut_prolonged_or_out_of_order_is_refused() {
    let (_, store, _) = stored();
    let bytes = BudgetRecord::load(&store).unwrap().unwrap().encode();
    assert!(BudgetRecord::decode(&bytes).is_ok());
    for len in 0..bytes.len() {
        let refused = BudgetRecord::decode(&bytes[..len]);
        assert!(matches!(refused, Err(SignerError::BadRecord { .. })), "{len}");
    }
    let refused = |bytes: &[u8]| match BudgetRecord::decode(bytes) {
        Err(SignerError::BadRecord { field }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&[&bytes[..], &[0]].concat()), "length");
    let (head, sessions) = bytes.split_at(68 + 56);
    let (first, second) = sessions.split_at(56);
    assert_eq!(refused(&[head, second, first].concat()), "order of sessions");
    assert_eq!(refused(&[head, first, first].concat()), "order of sessions");
    let with = |at: usize, patch: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        bytes
    };
    assert_eq!(refused(&with(64, &513_u16.to_le_bytes())), "peer count");
    assert_eq!(refused(&with(66, &513_u16.to_le_bytes())), "session count");
    assert_eq!(refused(&with(24, &u64::MAX.to_le_bytes())), "hour");
    assert_eq!(refused(&with(48, &u64::MAX.to_le_bytes())), "day");
    assert_eq!(refused(&with(68, &[9; 32])), "session's peer");
}

#[test]
fn record_that_rotted_or_is_of_another_version_is_refused() {
    let (_, mut store, _) = stored();
    let key = Key::new(&[0x02, 0x01]).unwrap();
    let bytes = store.get(&key).unwrap().unwrap();
    let mut load = |bytes: &[u8]| {
        let mut batch = Batch::default();
        batch.put(key, bytes).unwrap();
        store.commit(&batch, Durability::Barrier).unwrap();
        BudgetRecord::load(&store)
    };
    let mut newer = bytes.clone();
    newer[0] = 2;
    let refused = StoreError::UnknownVersion { got: 2, known: 1 };
    assert_eq!(load(&newer), Err(SignerError::Store(refused)));
    let mut rotted = bytes;
    rotted[40] ^= 1;
    assert!(matches!(load(&rotted), Err(SignerError::Store(StoreError::Rotted { .. }))));
    assert_eq!(BudgetRecord::load(&MemoryStore::default()), Ok(None));
}

/// Envelope, serial, clock, hour, day, counts, one peer, two sessions.
const GOLDEN: &str = concat!(
    "01dff49b9a",
    "010000000000000048114a6b00000000",
    "24a107000000000064000000000000006400000000000000",
    "615100000000000064000000000000006400000000000000",
    "01000200",
    "535885a9f941fd573e01c7a0c6afe2e86ccb68dbc97b94ac748b4895787ac5b86151000000000000",
    "64000000000000006400000000000000",
    "535885a9f941fd573e01c7a0c6afe2e86ccb68dbc97b94ac748b4895787ac5b80100000000000000",
    "3c000000000000003c00000000000000",
    "535885a9f941fd573e01c7a0c6afe2e86ccb68dbc97b94ac748b4895787ac5b80700000000000000",
    "d0070000000000006400000000000000",
);
