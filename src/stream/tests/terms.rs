//! Tests of the terms: round trip, frozen bytes, text form, every refusal.

use alloc::string::String;

use super::*;

/// Version 1 of the terms of `super::terms()`, byte for byte.
const GOLDEN: &str = include_str!("../../../tests/vectors/stream_terms_v1.txt");

fn hex(bytes: &[u8]) -> String {
    hex::DisplayHex::to_lower_hex_string(bytes)
}

#[test]
fn terms_encoded_and_read_are_the_same() {
    let mut terms = terms();
    assert_eq!(Terms::parse(&terms.encode()), Ok(terms.clone()));
    assert_eq!(Terms::from_text(&terms.to_text()), Ok(terms.clone()));
    assert_eq!(Terms::from_text(&terms.to_text().to_lowercase()), Ok(terms.clone()));
    terms.holds = HoldRules { k: 2, fee: sat(u32::MAX.into()), dust: sat(330), count: 8 };
    terms.tariff = [9; 32];
    assert_eq!(Terms::parse(&terms.encode()), Ok(terms.clone()));
    assert_eq!(Terms::from_text(&terms.to_text()), Ok(terms));
}

#[test]
fn terms_of_version_one_are_frozen() {
    let terms = terms();
    let now: Vec<String> = [hex(&terms.encode()), terms.to_text(), hex(&terms.hash())].into();
    assert_eq!(GOLDEN.lines().collect::<Vec<_>>(), now);
    assert_eq!(terms.encode().len(), 133);
    // QR version 9 holds 262 capitals and digits at error correction M.
    assert_eq!(terms.to_text().len(), 224);
    assert!(terms.to_text().chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()));
}

#[test]
fn terms_of_any_other_length_or_version_are_refused() {
    let bytes = terms().encode();
    assert_eq!(Terms::parse(&[]), Err(TermsError::Malformed { at: 0 }));
    for len in 1..bytes.len() {
        let refused = Terms::parse(&bytes[..len]);
        assert!(matches!(refused, Err(TermsError::Malformed { at }) if at <= len), "{len}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Terms::parse(&longer), Err(TermsError::Malformed { at: 133 }));
    for got in (0..=255).filter(|version| *version != 1) {
        let mut other = bytes.clone();
        other[0] = got;
        assert_eq!(Terms::parse(&other), Err(TermsError::UnknownVersion { got }));
    }
}

#[test]
fn terms_field_out_of_range_is_malformed() {
    let bytes = terms().encode();
    // Network, key, both delays, both capacities, zero-conf limit, credit, prepay.
    let fields = [(1, 1), (2, 32), (34, 2), (36, 2), (38, 8), (46, 8), (58, 8), (109, 8), (117, 8)];
    for (from, length) in fields {
        let mut other = bytes.clone();
        let fill = if length == 2 { 0 } else { 0xff };
        other[from..from + length].fill(fill);
        let Err(TermsError::Malformed { at }) = Terms::parse(&other) else { panic!("{from}") };
        assert!((from..=from + length).contains(&at), "field at {from}, said to be at {at}");
    }
}

#[test]
fn terms_that_contradict_themselves_are_refused_with_the_values() {
    let refused = |change: fn(&mut Terms)| {
        let mut terms = terms();
        change(&mut terms);
        let error = terms.check().unwrap_err();
        assert_eq!(Terms::parse(&terms.encode()), Err(error));
        error
    };
    let delay = |blocks| Delay::new(blocks).unwrap();
    assert_eq!(
        refused(|t| t.delay = (Delay::new(51).unwrap(), Delay::new(50).unwrap())),
        TermsError::EmptyRange { what: "delay", from: 51, to: 50 }
    );
    assert_eq!(
        refused(|t| t.capacity = (sat(2), sat(1))),
        TermsError::EmptyRange { what: "capacity", from: 2, to: 1 }
    );
    let depth = |got| TermsError::Depth { got: blocks(got), max: 1_000 };
    assert_eq!(refused(|t| t.confirmation_depth = blocks(0)), depth(0));
    assert_eq!(refused(|t| t.confirmation_depth = blocks(1_001)), depth(1_001));
    let margin = TermsError::MarginTooShort { margin: blocks(3), depth: blocks(3) };
    assert_eq!(refused(|t| t.settle_margin = blocks(3)), margin);
    let short = TermsError::DelayTooShort { delay: 13, depth: blocks(3), margin: blocks(10) };
    assert_eq!(refused(|t| t.delay.0 = Delay::new(13).unwrap()), short);
    let mut terms = terms();
    terms.delay.0 = delay(14);
    assert_eq!(terms.check(), Ok(()));
    for (k, count) in [(1, 1), (0, 1), (2, 0), (1, 0)] {
        terms.holds = HoldRules { k, count, ..HoldRules::NONE };
        assert!(matches!(terms.check(), Err(TermsError::Holds { .. })), "{k} {count}");
    }
    terms.holds = HoldRules { k: 2, count: 1, fee: sat(1 << 32), dust: sat(330) };
    assert!(matches!(terms.check(), Err(TermsError::Holds { .. })));
    terms.holds.fee = sat(300);
    assert_eq!(terms.check(), Ok(()));
}

#[test]
fn terms_text_with_any_character_changed_is_refused() {
    let text = terms().to_text();
    for at in 0..text.len() {
        let mut other = text.clone().into_bytes();
        other[at] = if other[at] == b'Q' { b'P' } else { b'Q' };
        let other = String::from_utf8(other).unwrap();
        assert_eq!(Terms::from_text(&other), Err(TermsError::NotText), "{at}");
        assert_eq!(Terms::from_text(&text[..at]), Err(TermsError::NotText), "{at}");
    }
    for text in ["", "mill1", "MILL1QQ", "not a text", "\u{fc}"] {
        assert_eq!(Terms::from_text(text), Err(TermsError::NotText), "{text}");
    }
}

#[test]
fn terms_text_of_another_prefix_checksum_or_padding_is_refused() {
    use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
    use bech32::{Bech32, Bech32m, Hrp};
    let bytes = terms().encode();
    let other = bech32::encode_upper::<Bech32m>(Hrp::parse("milk").unwrap(), &bytes).unwrap();
    assert_eq!(Terms::from_text(&other), Err(TermsError::NotText));
    let old = bech32::encode_upper::<Bech32>(Hrp::parse("mill").unwrap(), &bytes).unwrap();
    assert_eq!(Terms::from_text(&old), Err(TermsError::NotText));
    // The one padding bit set, under a checksum that fits.
    let mut words: Vec<_> = bytes.iter().copied().bytes_to_fes().collect();
    let last = words.last_mut().unwrap();
    *last = bech32::Fe32::try_from(last.to_u8() | 1).unwrap();
    let hrp = Hrp::parse("mill").unwrap();
    let text: String = words.into_iter().with_checksum::<Bech32m>(&hrp).chars().collect();
    assert_eq!(Terms::from_text(&text), Err(TermsError::NotText));
}

#[test]
fn hash_of_terms_changes_with_every_byte() {
    let bytes = terms().encode();
    let hash = terms().hash();
    let mut read = 0;
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1;
        if let Ok(other) = Terms::parse(&other) {
            assert_ne!(other.hash(), hash, "{at}");
            read += 1;
        }
    }
    assert!(read > 60, "{read}");
}
