//! The node's own records after damage that no checksum shows: stored under another key, longer
//! than what was written, or signed by nobody. Each is a typed error that names the value.

#[path = "node_attacks/street.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod street;

use core::ops::ControlFlow;

use millstream::keys::{Context, Entropy};
use millstream::meter::MeterError;
use millstream::meter::tariff::TariffError;
use millstream::node::{Node, NodeError};
use millstream::signer::MemorySigner;
use millstream::sim::world::EndId;
use millstream::store::{Batch, Durability, Key, MemoryStore, Store, envelope};
use millstream::stream::StreamError;
use street::{Street, msat};

const SESSION: &[u8] = &[0x05];
const UNCONFIRMED: &[u8] = &[0x01, 0x03];
const PARENT: &[u8] = &[0x01, 0x04];
const PAYEE: &[u8] = &[0x04];

/// A street whose store holds a record of every kind: a session, and a rollover on its way.
fn settled() -> Street {
    let mut street = Street::in_session();
    street.settle(1_000);
    street
}

fn records(street: &Street, end: EndId) -> Vec<(Key, Vec<u8>)> {
    let mut all = Vec::new();
    let store = street.world.end(end).unwrap().store();
    store
        .scan(&[], &mut |key, value| {
            all.push((*key, value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    all
}

/// Loads the machine's node from `records`.
fn load(street: &Street, end: EndId, records: &[(Key, Vec<u8>)]) -> Result<(), NodeError> {
    let mut store = MemoryStore::default();
    let mut batch = Batch::default();
    for (key, value) in records {
        batch.put(*key, value).unwrap();
    }
    store.commit(&batch, Durability::Barrier).unwrap();
    let before = store.clone();
    let machine = street.world.end(end).unwrap().machine();
    let zeros = Entropy::new([0; 32]);
    let (network, policy) = (machine.config.network, machine.policy);
    let signer = MemorySigner::new(machine.seed(), network, policy, None, &zeros).unwrap();
    let loaded = Node::load(machine.config.clone(), Context::new(), signer, &store);
    assert!(store == before, "the store was touched");
    loaded.map(|_| ())
}

/// What becomes of the store if one record of `prefix` is changed: its key and its body, sealed
/// anew with a right checksum.
fn load_with(
    street: &Street,
    prefix: &[u8],
    change: impl Fn(&Key, Vec<u8>) -> (Key, Vec<u8>),
) -> Result<(), NodeError> {
    let mut all = records(street, street.station);
    let record = all.iter_mut().find(|(key, _)| key.as_bytes().starts_with(prefix));
    let (key, bytes) = record.expect("a record of the kind");
    let body = envelope::open(key, 1, bytes).unwrap().to_vec();
    let (other, body) = change(key, body);
    (*key, *bytes) = (other, envelope::seal(&other, 1, &body));
    load(street, street.station, &all)
}

fn flip_last(key: &Key) -> Key {
    let mut bytes = key.as_bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    Key::new(&bytes).unwrap()
}

fn longer(key: &Key, mut body: Vec<u8>) -> (Key, Vec<u8>) {
    body.push(0);
    (*key, body)
}

fn broken(result: Result<(), NodeError>) -> &'static str {
    match result {
        Err(NodeError::BrokenRecord { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn records_as_they_were_written_load() {
    let street = settled();
    for prefix in [SESSION, UNCONFIRMED, PARENT, PAYEE] {
        assert_eq!(load_with(&street, prefix, |key, body| (*key, body)), Ok(()));
    }
    load(&street, street.car, &records(&street, street.car)).unwrap();
}

#[test]
fn session_under_another_id_or_longer_is_refused() {
    let street = settled();
    let moved = load_with(&street, SESSION, |key, body| (flip_last(key), body));
    assert_eq!(broken(moved), "session id");
    let extended = load_with(&street, SESSION, longer);
    assert_eq!(extended, Err(NodeError::Tariff(TariffError::TrailingBytes { extra: 1 })));
    let cut = load_with(&street, SESSION, |key, mut body| {
        body.truncate(8 + 160);
        (*key, body)
    });
    assert!(
        matches!(cut, Err(NodeError::Wire(_) | NodeError::Meter(MeterError::WrongLength { .. }))),
        "{cut:?}"
    );
}

#[test]
fn transaction_under_another_id_or_longer_is_refused() {
    let street = settled();
    let moved = load_with(&street, UNCONFIRMED, |key, body| (flip_last(key), body));
    assert_eq!(broken(moved), "transaction id");
    assert_eq!(broken(load_with(&street, UNCONFIRMED, longer)), "transaction");
}

#[test]
fn parent_of_no_side_of_itself_or_longer_is_refused() {
    let street = settled();
    assert_eq!(broken(load_with(&street, PARENT, longer)), "length");
    let long_key = load_with(&street, PARENT, |key, body| {
        (Key::new(&[key.as_bytes(), &[0]].concat()).unwrap(), body)
    });
    assert_eq!(broken(long_key), "length");
    let third_side = load_with(&street, PARENT, |key, body| {
        let mut bytes = key.as_bytes().to_vec();
        bytes[2] = 2;
        (Key::new(&bytes).unwrap(), body)
    });
    assert_eq!(broken(third_side), "side");
    let own = load_with(&street, PARENT, |key, _| (*key, key.as_bytes()[3..].to_vec()));
    assert_eq!(broken(own), "parent");
}

#[test]
fn payee_record_with_a_voucher_that_nobody_signed_is_refused() {
    let street = Street::in_session();
    let paid = street.world.end(street.station).unwrap().node().payee(street.outpoint);
    let paid = paid.unwrap().paid();
    let more = paid.saturating_add(msat(1_000));
    let forged = load_with(&street, PAYEE, |key, mut body| {
        let old = paid.to_msat().to_be_bytes();
        let at = body.windows(8).position(|bytes| bytes == old).unwrap();
        body[at..at + 8].copy_from_slice(&more.to_msat().to_be_bytes());
        (*key, body)
    });
    let outpoint = street.outpoint;
    let want = StreamError::ForgedRecord { outpoint, paid: more };
    assert_eq!(forged, Err(NodeError::Stream(want)));
}
