//! Vectors of the wire: the published ones of BOLT-1, and golden bytes of our own messages.
//!
//! `MILLSTREAM_VECTORS=DIR` reads files of the same names and format from DIR instead; one that is
//! not there is printed as absent. A file without cases fails, and so does a DIR without files.

mod vector_support;

use millstream::wire::{
    Init, Message, Reader, TlvStream, WireError, put_bigsize, put_signed, put_truncated,
};
use serde_json::Value;
use vector_support::{directory, each_case};

const FILES: [&str; 6] = [
    "bolt1_bigsize_decode",
    "bolt1_bigsize_encode",
    "bolt1_init_extension",
    "bolt1_signed_int",
    "bolt1_tlv",
    "wire_v1",
];

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_else(|| panic!("{key} in {case}"))
}

fn bytes(case: &Value, key: &str) -> Vec<u8> {
    hex::FromHex::from_hex(text(case, key)).unwrap_or_else(|e| panic!("{case}: {e}"))
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn vectors_directory_holds_at_least_one_file() {
    let (dir, _) = directory();
    let present =
        FILES.iter().filter(|file| dir.join(file).with_extension("json").exists()).count();
    println!("{present} of {} vector files in {}", FILES.len(), dir.display());
    assert!(present > 0, "no vector file of the wire in {}", dir.display());
}

#[test]
fn bigsize_decode_cases_give_their_value_or_fail() {
    each_case("bolt1_bigsize_decode", |case| {
        let bytes = bytes(case, "bytes");
        let mut reader = Reader::new(&bytes);
        match (reader.bigsize(), case["exp_error"].as_str()) {
            (Ok(value), None) => {
                assert_eq!(Some(value), case["value"].as_u64(), "{case}");
                assert!(reader.rest().is_empty(), "{case}");
            }
            (Err(WireError::NotMinimal { .. }), Some("decoded bigsize is not canonical"))
            | (Err(WireError::Truncated { .. }), Some("unexpected EOF")) => {}
            (got, _) => panic!("{got:?} for {case}"),
        }
    });
}

#[test]
fn bigsize_encode_cases_give_their_bytes() {
    each_case("bolt1_bigsize_encode", |case| {
        let value = case["value"].as_u64().unwrap_or_else(|| panic!("{case}"));
        assert_eq!(written(|out| put_bigsize(value, out)), bytes(case, "bytes"), "{case}");
    });
}

#[test]
fn signed_numbers_give_their_bytes_and_back() {
    each_case("bolt1_signed_int", |case| {
        let value = case["value"].as_i64().unwrap_or_else(|| panic!("{case}"));
        let bytes = bytes(case, "bytes");
        assert_eq!(written(|out| put_signed(value, out)), bytes, "{case}");
        assert_eq!(Reader::new(&bytes).signed(), Ok(value), "{case}");
    });
}

#[test]
fn init_extensions_are_taken_or_refused() {
    each_case("bolt1_init_extension", |case| {
        let decoded = Message::decode(&bytes(case, "message"));
        if case["valid"] == true {
            assert_eq!(decoded, Ok(Some(Init::default().into())), "{case}");
        } else {
            assert!(decoded.is_err(), "{decoded:?} for {case}");
        }
    });
}

/// Namespace n1 or n2 of BOLT-1's appendix B: the records as (name, fields), unknown odd ones left
/// out.
fn read_namespace(namespace: &str, stream: &[u8]) -> Result<Vec<(&'static str, Value)>, WireError> {
    let mut stream = TlvStream::new(stream);
    let mut records = Vec::new();
    while let Some(record) = stream.next_record()? {
        let mut from = Reader::new(record.value());
        records.push(match (namespace, record.kind()) {
            ("n1", 1) | ("n2", 0) => {
                let amount = from.truncated_number(8)?;
                assert_eq!(written(|out| put_truncated(amount, out)), record.value());
                ("tlv1", serde_json::json!({ "amount_msat": amount.to_string() }))
            }
            ("n1", 2) => {
                let scid = from.u64()?;
                let (block, index, output) = (scid >> 40, (scid >> 16) & 0xff_ffff, scid & 0xffff);
                ("tlv2", serde_json::json!({ "scid": format!("{block}x{index}x{output}") }))
            }
            ("n1", 3) => {
                let point = bitcoin::secp256k1::PublicKey::from_slice(from.take(33)?)
                    .map_err(|_| WireError::BadKey)?;
                let (one, two) = (from.u64()?, from.u64()?);
                (
                    "tlv3",
                    serde_json::json!({ "node_id": point.to_string(),
                    "amount_msat_1": one.to_string(), "amount_msat_2": two.to_string() }),
                )
            }
            ("n1", 254) => ("tlv4", serde_json::json!({ "cltv_delta": from.u16()?.to_string() })),
            ("n2", 11) => (
                "tlv2",
                serde_json::json!({ "cltv_expiry": from.truncated_number(4)?.to_string() }),
            ),
            _ => {
                record.skip_unknown()?;
                continue;
            }
        });
        let left = from.rest().len();
        if matches!((namespace, record.kind()), ("n1", 1..=3 | 254) | ("n2", 0 | 11)) && left > 0 {
            return Err(WireError::WrongLength { what: "record", got: record.value().len() });
        }
    }
    Ok(records)
}

#[test]
fn tlv_streams_are_taken_or_refused_in_their_namespaces() {
    each_case("bolt1_tlv", |case| {
        let stream = bytes(case, "stream");
        let namespaces = match text(case, "namespace") {
            "any" | "either" => vec!["n1", "n2"],
            one => vec![one],
        };
        for namespace in namespaces {
            let records = read_namespace(namespace, &stream);
            match text(case, "expect") {
                "fail" => assert!(records.is_err(), "{records:?} for {case}"),
                "ok_ignored" => assert_eq!(records, Ok(vec![]), "{case}"),
                "ok" => {
                    let records = records.unwrap_or_else(|e| panic!("{e} for {case}"));
                    let [(name, fields)] = records.as_slice() else {
                        panic!("{records:?}, {case}")
                    };
                    assert_eq!(*name, text(case, "record"), "{case}");
                    assert_eq!(*fields, case["fields"], "{case}");
                }
                other => panic!("{other} in {case}"),
            }
        }
    });
}

/// The file's note: an invalid stream behind a valid one fails; a valid stream of higher types
/// behind a valid one of lower types is taken.
#[test]
fn tlv_streams_joined_follow_their_order() {
    let (mut valid, mut invalid) = (Vec::new(), Vec::new());
    each_case("bolt1_tlv", |case| {
        let stream = bytes(case, "stream");
        match (text(case, "expect"), text(case, "namespace")) {
            ("fail", "any" | "either" | "n1") => invalid.push(stream),
            ("ok" | "ok_ignored", "either" | "n1") if !stream.is_empty() => valid.push(stream),
            _ => {}
        }
    });
    let first_kind = |stream: &[u8]| Reader::new(stream).bigsize().unwrap_or_default();
    let mut joined = 0;
    for low in &valid {
        for bad in &invalid {
            assert!(read_namespace("n1", &[low.as_slice(), bad].concat()).is_err());
            joined += 1;
        }
        for high in &valid {
            let both = read_namespace("n1", &[low.as_slice(), high].concat());
            assert_eq!(both.is_ok(), first_kind(low) < first_kind(high), "{low:?} {high:?}");
            joined += 1;
        }
    }
    println!("bolt1_tlv: {joined} joined streams");
}

#[test]
fn own_messages_keep_their_golden_bytes() {
    let mut seen = std::collections::BTreeSet::new();
    each_case("wire_v1", |case| {
        let bytes = bytes(case, "bytes");
        let decoded = Message::decode(&bytes);
        match text(case, "expect") {
            "ok" => {
                let Ok(Some(message)) = decoded else { panic!("{decoded:?} for {case}") };
                assert_eq!(message.name(), text(case, "message"), "{case}");
                assert_eq!(written(|out| message.encode(out)), bytes, "{case}");
                seen.insert(message.name());
            }
            "ok_shorter" => {
                let Ok(Some(message)) = decoded else { panic!("{decoded:?} for {case}") };
                assert_eq!(message.name(), text(case, "message"), "{case}");
                let shorter = written(|out| message.encode(out));
                assert!(shorter.len() < bytes.len() && bytes.starts_with(&shorter), "{case}");
            }
            "ignored" => assert_eq!(decoded, Ok(None), "{case}"),
            "fail" => match decoded {
                Err(error) => assert_eq!(error.to_string(), text(case, "error"), "{case}"),
                Ok(message) => panic!("{message:?} for {case}"),
            },
            other => panic!("{other} in {case}"),
        }
    });
    if !directory().1 {
        let missing: Vec<_> = Message::NAMES.iter().filter(|name| !seen.contains(*name)).collect();
        assert!(missing.is_empty(), "no golden bytes of {missing:?}");
    }
}
