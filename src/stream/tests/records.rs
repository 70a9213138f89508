//! Tests of both records: frozen bytes, sizes, every truncation and flipped bit.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};

use super::*;
use crate::store::{Key, StoreError};

/// Records of version 1 by name: what every later release must read, or refuse by its version.
const GOLDEN: &str = include_str!("../../../tests/vectors/stream_records_v1.json");

/// One record as it is stored.
struct Stored {
    name: &'static str,
    key: Key,
    bytes: Vec<u8>,
}

/// A channel whose records are as long as they get: a wallet's change, every option present.
fn long() -> Pair {
    let mut pair = Pair::with(Choice { change: wallet_change(5), ..Choice::default() });
    pair.pay(20_000_500);
    pair
}

/// Both records of both sides in every phase.
fn every_phase() -> Vec<Stored> {
    let mut all = Vec::new();
    let mut keep = |pair: &Pair, payer: &'static str, payee: &'static str| {
        let record = pair.payer.record();
        let (key, bytes) = (record.key().unwrap(), record.encode().unwrap());
        all.push(Stored { name: payer, key, bytes });
        let record = pair.payee.record();
        let (key, bytes) = (record.key().unwrap(), record.encode().unwrap());
        all.push(Stored { name: payee, key, bytes });
    };
    let fresh = Pair::with(Choice { confirmed: None, ..Choice::default() });
    keep(&fresh, "payer fresh", "payee fresh");
    let mut pair = long();
    keep(&pair, "payer open", "payee open");
    let (tx, _) = pair.settle(1_000);
    let _proposal = joint::propose_close(&mut pair, sat(300)).unwrap();
    keep(&pair, "payer leaving", "payee promised");
    pair.notice(&spent(&pair.payee.channel().clone(), &tx, None), DEEP);
    keep(&pair, "payer spent unconfirmed", "payee spent unconfirmed");
    pair.notice(&spent(&pair.payee.channel().clone(), &tx, Some(DEEP)), DEEP);
    keep(&pair, "payer spent", "payee spent");
    pair.notice(&spent(&pair.payee.channel().clone(), &tx, Some(DEEP)), DEEP + 2);
    keep(&pair, "payer closed", "payee closed");
    all
}

fn decode(stored: &Stored, bytes: &[u8]) -> Result<(), StreamError> {
    if stored.name.starts_with("payer") {
        PayerRecord::decode(&stored.key, bytes).map(|_| ())
    } else {
        PayeeRecord::decode(&stored.key, bytes).map(|_| ())
    }
}

#[test]
fn records_of_version_one_are_frozen() {
    let golden: BTreeMap<String, [String; 2]> = serde_json::from_str(GOLDEN).unwrap();
    let hex = |bytes: &[u8]| hex::DisplayHex::to_lower_hex_string(bytes);
    let now: BTreeMap<String, [String; 2]> = every_phase()
        .iter()
        .map(|s| (s.name.to_string(), [hex(s.key.as_bytes()), hex(&s.bytes)]))
        .collect();
    if golden != now {
        std::println!("{}", serde_json::to_string_pretty(&now).unwrap());
    }
    assert_eq!(golden, now);
    assert_eq!(golden.len(), 12);
}

#[test]
fn records_read_are_what_was_written_but_for_the_payers_certainty() {
    let mut pair = long();
    pair.restart_payee();
    for phase in ["open", "leaving"] {
        assert_eq!(pair.payer.phase().name(), phase);
        let before = pair.payer.record().clone();
        let bytes = before.encode().unwrap();
        let after = PayerRecord::decode(&before.key().unwrap(), &bytes).unwrap();
        assert_eq!(after, PayerRecord { phase: payer::PayerPhase::Unsure, ..before });
        let _proposal = joint::propose_close(&mut pair, sat(300)).unwrap();
    }
    for stored in every_phase() {
        if stored.name.starts_with("payee") {
            let record = PayeeRecord::decode(&stored.key, &stored.bytes).unwrap();
            assert_eq!(record.encode().unwrap(), stored.bytes, "{}", stored.name);
        } else if !stored.name.contains("leaving") {
            let record = PayerRecord::decode(&stored.key, &stored.bytes).unwrap();
            assert_eq!(record.encode().unwrap(), stored.bytes, "{}", stored.name);
        }
    }
}

#[test]
fn records_in_every_phase_are_within_their_sizes() {
    for stored in every_phase() {
        let (length, limit) =
            (stored.bytes.len(), if stored.name.starts_with("payer") { 256 } else { 320 });
        std::println!("{}: {length} bytes", stored.name);
        assert!(length <= limit, "{}: {length}", stored.name);
    }
}

#[test]
fn records_keep_their_size_after_a_million_payments() {
    // Counted by amount: the millionth payment of 90 msat states 90,000,000 msat.
    let mut pair = Pair::open();
    let mut sizes = Vec::new();
    for payment in [1, 2, 1_000, 1_000_000] {
        pair.pay(payment * 90);
        sizes.push([
            pair.payer.record().encode().unwrap().len(),
            pair.payee.record().encode().unwrap().len(),
        ]);
    }
    assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
}

#[test]
fn record_of_an_unknown_version_is_refused_with_it() {
    for stored in every_phase() {
        for got in (0..=255).filter(|version| *version != 1) {
            let mut other = stored.bytes.clone();
            other[0] = got;
            let refused = decode(&stored, &other).unwrap_err();
            if got == 2 {
                // Known, for channels with holds, and under the checksum.
                assert!(matches!(refused, StreamError::Store(StoreError::Rotted { .. })));
            } else {
                let unknown = StoreError::UnknownVersion { got, known: 2 };
                assert_eq!(refused, StreamError::Store(unknown));
            }
        }
    }
}

#[test]
fn record_with_any_bit_flipped_is_refused() {
    let mut flips = 0;
    for stored in every_phase() {
        for bit in 0..stored.bytes.len() * 8 {
            let mut other = stored.bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&stored, &other).is_err(), "{} bit {bit}", stored.name);
            flips += 1;
        }
    }
    std::println!("{flips} flipped bits");
    assert!(flips > 15_000, "{flips}");
}

#[test]
fn record_cut_short_or_lengthened_is_refused() {
    for stored in every_phase() {
        for length in 0..stored.bytes.len() {
            assert!(decode(&stored, &stored.bytes[..length]).is_err(), "{}", stored.name);
        }
        let longer = [&stored.bytes[..], &[0]].concat();
        assert!(decode(&stored, &longer).is_err());
    }
}

#[test]
fn record_with_a_valid_checksum_and_a_broken_body_is_refused() {
    // The checksum is no authentication: what is read is checked as if it came from a stranger.
    use crate::store::envelope;
    for stored in every_phase() {
        let body = envelope::open(&stored.key, 1, &stored.bytes).unwrap();
        for length in 0..body.len() {
            let cut = envelope::seal(&stored.key, 1, &body[..length]);
            let refused = decode(&stored, &cut);
            assert!(matches!(refused, Err(StreamError::BrokenRecord { at }) if at <= length));
        }
        let longer = envelope::seal(&stored.key, 1, &[body, &[0]].concat());
        let refused = decode(&stored, &longer);
        assert!(matches!(refused, Err(StreamError::BrokenRecord { at }) if at == body.len()));
        for byte in 0..body.len() {
            let mut other = body.to_vec();
            other[byte] ^= 0xff;
            // Whatever comes out, it is no panic, and S1 holds.
            let bytes = envelope::seal(&stored.key, 1, &other);
            if let Ok(record) = PayeeRecord::decode(&stored.key, &bytes) {
                assert!(record.holds_together());
            }
            if let Ok(record) = PayerRecord::decode(&stored.key, &bytes) {
                assert!(record.holds_together());
            }
        }
    }
}

#[test]
fn record_under_another_channels_key_is_refused() {
    let pair = long();
    let bytes = pair.payee.record().encode().unwrap();
    let other = PayeeRecord::key_of(outpoint(2)).unwrap();
    assert!(PayeeRecord::decode(&other, &bytes).is_err());
    let payer = PayerRecord::key_of(outpoint(1)).unwrap();
    assert!(PayeeRecord::decode(&payer, &bytes).is_err());
    assert_ne!(PayeeRecord::PREFIX, PayerRecord::PREFIX);
}

#[test]
fn record_with_open_holds_is_refused_by_this_release() {
    use crate::store::envelope;
    let pair = long();
    let (key, bytes) = (pair.payee.record().key().unwrap(), pair.payee.record().encode().unwrap());
    let mut body = envelope::open(&key, 1, &bytes).unwrap().to_vec();
    *body.last_mut().unwrap() = 1;
    let refused = PayeeRecord::decode(&key, &envelope::seal(&key, 1, &body));
    assert!(matches!(refused, Err(StreamError::BrokenRecord { .. })));
}

#[test]
fn step_of_another_channel_or_of_the_past_is_not_applied() {
    let mut pair = Pair::open();
    pair.pay(1_000_000);
    let (old_payer, old_payee) = (pair.payer.record().clone(), pair.payee.record().clone());
    pair.pay(2_000_000);
    let (payer, payee) = (pair.payer.clone(), pair.payee.clone());
    let old = Err(StreamError::OldStep { phase: "open" });
    assert_eq!(pair.payer.apply(&old_payer), old);
    assert_eq!(pair.payee.apply(&old_payee), old);
    let _tx = pair.settle(1_000);
    let promised = pair.payee.clone();
    assert_eq!(pair.payee.apply(payee.record()), old);
    assert_eq!((&pair.payer, &pair.payee), (&payer, &promised));
    let other = PayeeRecord { outpoint: outpoint(2), ..promised.record().clone() };
    assert_eq!(pair.payee.apply(&other), Err(StreamError::BrokenRecord { at: 0 }));
    let other = PayerRecord { outpoint: outpoint(2), ..payer.record().clone() };
    assert_eq!(pair.payer.apply(&other), Err(StreamError::BrokenRecord { at: 0 }));
    let above = PayerRecord { signed: msat(CAPACITY * 1_000 + 1), ..payer.record().clone() };
    assert_eq!(pair.payer.apply(&above), Err(StreamError::BrokenRecord { at: 0 }));
    assert_eq!((&pair.payer, &pair.payee), (&payer, &promised));
}
