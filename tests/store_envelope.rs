//! The bytes around a record, frozen: what version 1 wrote must be read by every later release.

use hex::{DisplayHex, FromHex};
use millstream::store::{Batch, Durability, Key, MemoryStore, Store, StoreError, envelope};

/// Key, body and record of version 1, as the first release wrote them.
const GOLDEN: [(&str, &str, &str); 3] = [
    ("04", "", "01dbd3c479"),
    ("0400000001", "00", "0118820af700"),
    ("03ff", "6d696c6c73747265616d", "01707500e26d696c6c73747265616d"),
];

#[test]
fn golden_records_of_version_1_are_written_and_read() {
    for (key, body, record) in GOLDEN {
        let key = Key::new(&Vec::from_hex(key).unwrap()).unwrap();
        let body = Vec::from_hex(body).unwrap();
        assert_eq!(envelope::seal(&key, 1, &body).to_lower_hex_string(), record);
        assert_eq!(envelope::open(&key, 1, &Vec::from_hex(record).unwrap()), Ok(&body[..]));
    }
}

#[test]
fn record_of_an_unknown_version_is_refused_and_stays() {
    let key = Key::new(b"k").unwrap();
    // Its checksum need not be ours: of a foreign version nothing but the first byte is known.
    let foreign = [2, 0xde, 0xad];
    let mut store = MemoryStore::default();
    let mut batch = Batch::default();
    batch.put(key, &foreign).unwrap();
    store.commit(&batch, Durability::Barrier).unwrap();
    let before = store.clone();
    let record = store.get(&key).unwrap().unwrap();
    let refused = envelope::open(&key, 1, &record).unwrap_err();
    assert_eq!(refused, StoreError::UnknownVersion { got: 2, known: 1 });
    assert_eq!(refused.to_string(), "a record of format version 2; this release reads version 1");
    assert_eq!(store, before);
}
