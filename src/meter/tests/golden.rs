//! Bytes of version 1, as they were first written: they must never change.

use super::*;

/// A tariff in which every field is used.
pub(super) fn full_tariff() -> Tariff {
    let night = band(0, 21_600, &[tier(0, 300_000, 3_600_000)]);
    let peak = band(61_200, 72_000, &[tier(0, 600_000, 3_600_000), tier(36_000_000, 700, 3_600)]);
    Tariff::flat(Measure::WattSecond, price(450_000, 3_600_000))
        .and_then(|tariff| tariff.with_bands(Repeat::Weekly, vec![night, peak]))
        .and_then(|tariff| tariff.with_fees(msat(5_000), msat(20_000)))
        .and_then(|tariff| tariff.with_idle(price(1_000, 60), secs(600)))
        .and_then(|tariff| tariff.with_validity(utc(1_700_000_000), utc(1_800_000_000)))
        .unwrap()
}

fn full_record() -> Record {
    let mut session = Session::offer(
        SessionId::new(0x0102_0304_0506_0708).unwrap(),
        Role::Buyer {
            meter_ppm: Ppm::new(20_000).unwrap(),
            meter_slack: units(10_000),
            skew: secs(30),
            budget: msat(9_000_000),
        },
        Window { credit: msat(30_000), prepay: msat(10_000) },
        full_tariff(),
    );
    let tariff = session.tariff().hash();
    step(&mut session, T0, Input::Start { at: utc(T0), tariff }).unwrap();
    meter(&mut session, T0 + 10, 99_999).unwrap();
    claim(&mut session, T0 + 11, T0 + 10, 100_001, 0).unwrap();
    claim(&mut session, T0 + 999, T0 + 1_000, 100_001, 390).unwrap();
    paid(&mut session, T0 + 999, 12_345).unwrap();
    *session.record()
}

fn full_statement() -> Statement {
    let mut session = Session::restore(&full_record(), full_tariff()).unwrap();
    step(&mut session, T0 + 1_001, Input::End { at: utc(T0 + 1_002) }).unwrap();
    session.statement([0xab; 32], 3).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    hex::DisplayHex::to_lower_hex_string(bytes)
}

#[test]
fn tariff_version_1_has_its_golden_bytes_and_hash() {
    assert_eq!(hex(&full_tariff().encode()), TARIFF_V1);
    assert_eq!(full_tariff().hash().to_string(), TARIFF_HASH_V1);
}

#[test]
fn record_version_1_has_its_golden_bytes() {
    assert_eq!(hex(&full_record().encode()), RECORD_V1);
}

#[test]
fn statement_version_1_has_its_golden_bytes_and_digest() {
    assert_eq!(hex(&full_statement().encode()), STATEMENT_V1);
    assert_eq!(hex(&full_statement().digest()), STATEMENT_DIGEST_V1);
}

#[test]
fn record_of_an_unknown_version_or_length_is_refused() {
    let bytes = full_record().encode();
    for version in [0, 2, 255] {
        let mut other = bytes;
        other[0] = version;
        assert_eq!(Record::decode(&other), Err(MeterError::UnknownVersion { got: version }));
    }
    for end in 0..bytes.len() {
        let short = MeterError::WrongLength { got: end, want: 167 };
        assert_eq!(Record::decode(&bytes[..end]), Err(short));
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(Record::decode(&longer).is_err());
}

#[test]
fn record_that_contradicts_itself_is_refused_with_its_field() {
    let put = |at: usize, value: u64| {
        let mut bytes = full_record().encode();
        bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
        Record::decode(&bytes)
    };
    let misfit = |field| Err(MeterError::Misfit { field });
    assert_eq!(put(11, u64::MAX), misfit("credit"));
    assert_eq!(put(87, T0 + 1_001), misfit("at"));
    assert_eq!(put(127, 1_001), misfit("idle"));
    assert_eq!(put(159, 40_001), misfit("paid"));
    assert_eq!(put(47, 20_000), misfit("budget"));
    assert_eq!(put(135, 9_000_000), misfit("state"));
    let mut role = full_record().encode();
    role[1] = 0;
    assert_eq!(Record::decode(&role), misfit("role"));
    let mut state = full_record().encode();
    state[2] = 4;
    assert_eq!(Record::decode(&state), misfit("state"));
    state[2] = 0;
    assert_eq!(Record::decode(&state), misfit("state"));
}

#[test]
fn statement_decodes_to_itself_and_every_other_length_or_version_is_refused() {
    let statement = full_statement();
    let bytes = statement.encode();
    assert_eq!(Statement::decode(&bytes), Ok(statement));
    for end in 0..bytes.len() {
        assert!(Statement::decode(&bytes[..end]).is_err());
    }
    let mut newer = bytes;
    newer[0] = 9;
    assert_eq!(Statement::decode(&newer), Err(MeterError::UnknownVersion { got: 9 }));
    let mut backwards = bytes;
    backwards[85..93].fill(0);
    assert_eq!(Statement::decode(&backwards), Err(MeterError::Misfit { field: "end" }));
}

const TARIFF_V1: &str = "\
    0100000000006553f100000000006b49d20000000000000013880000000000004e20000000000000\
    03e8000000000000003c000000000000025801010000000000000000000000000006ddd000000000\
    0036ee8002000000000000546001000000000000000000000000000493e0000000000036ee800000\
    ef100001194002000000000000000000000000000927c0000000000036ee80000000000225510000\
    000000000002bc0000000000000e10";
const TARIFF_HASH_V1: &str = "\
    71576157bc315f8414f986006bfe370537e6157a24444d548e9e76f70fe8f371";
const RECORD_V1: &str = "\
    01010101020304050607080000000000007530000000000000271000004e20000000000000271000\
    0000000000001e000000000089544071576157bc315f8414f986006bfe370537e6157a24444d548e\
    9e76f70fe8f37100000000655739a00000000065573d8800000000655739aa00000000000186a100\
    0000000001869f00000000000001860000000000005dc0000000000006ddd00000000000004e2000\
    00000000003039";
const STATEMENT_V1: &str = "\
    010102030405060708ababababababababababababababababababababababababababababababab\
    ab0000000371576157bc315f8414f986006bfe370537e6157a24444d548e9e76f70fe8f371000000\
    00655739a00000000065573d8a00000000000186a100000000000001860000000000005dc0000000\
    0000003039";
const STATEMENT_DIGEST_V1: &str = "\
    71fabb7d1014e091fc76b3734e6d0c4a96beec859f3b18d376d2e4368bc7e9f7";
