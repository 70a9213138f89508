//! Messages against their text, the main chain, and whatever is no message.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bitcoin::hashes::{Hash, HashEngine, sha256d};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::stratum::{Difficulty, DifficultyError};
use crate::units::Target;
use crate::wire::PeerText;

/// Block 170 of the main chain as a pool would have given it out: two transactions, the coinbase
/// cut behind its `ffff001d` (extranonce1 of four bytes) and before `0102`.
const BLOCK_170: &str = concat!(
    r#"{"id":null,"method":"mining.notify","params":["bf","#,
    r#""0a84bd55d08a7978683f85da183d4f97dbd12b3e1f2c846a2a22cfee00000000","#,
    r#""01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff0704","#,
    r#""ffffffff0100f2052a01000000434104d46c4968bde02899d2aa0963367c7a6ce34eec332b32e42e5f3407e0"#,
    r#"52d64ac625da6f0718e7b302140434bd725706957c092db53805b821a85b23a7ac61725bac00000000","#,
    r#"["169e1e83e930853391bc6f35f605c6754cfead57cf8387639d3b4096c54f18f4"],"#,
    r#""00000001","1d00ffff","496ab951",true]}"#
);
/// Its nonce 1,889,418,792, as a miner submits it.
const SHARE_170: &str = concat!(
    r#"{"id":4,"method":"mining.submit","params":"#,
    r#"["user.rig","bf","0102","496ab951","709e3e28"]}"#
);
const HASH_170: &str = "00000000d1145790a8694403d4063f323d499e655c83426834d4ce2f8dd4a2ee";

fn notice(line: &str) -> Result<Notice, StratumError> {
    match FromPool::parse(line.trim_end().as_bytes())? {
        FromPool::Notice { notice, .. } => Ok(notice),
        FromPool::Answer(answer) => panic!("{answer:?}"),
    }
}

fn request(line: &str) -> Result<Request, StratumError> {
    match FromMiner::parse(line.trim_end().as_bytes())? {
        FromMiner::Request { request, .. } => Ok(request),
        FromMiner::Malformed { error, .. } => Err(error),
        FromMiner::Answer(answer) => panic!("{answer:?}"),
    }
}

fn answer(line: &str) -> Answer<'_> {
    match FromPool::parse(line.as_bytes()).unwrap() {
        FromPool::Answer(answer) => answer,
        FromPool::Notice { notice, .. } => panic!("{notice:?}"),
    }
}

fn hashed(parts: &[&[u8]]) -> [u8; 32] {
    let mut engine = sha256d::Hash::engine();
    for part in parts {
        engine.input(part);
    }
    sha256d::Hash::from_engine(engine).to_byte_array()
}

#[test]
fn block_of_the_main_chain_is_rebuilt_from_its_notify_and_its_share() {
    let Ok(Notice::Notify(job)) = notice(BLOCK_170) else { panic!() };
    let Ok(Request::Submit(share)) = request(SHARE_170) else { panic!() };
    assert_eq!((job.bits, job.time, share.nonce), (0x1d00_ffff, 1_231_731_025, 1_889_418_792));
    assert!(job.clean);
    let extranonce1 = Vec::from_hex("ffff001d").unwrap();
    let extranonce2 = share.extranonce2.as_bytes();
    let coinbase = hashed(&[&job.prefix, &extranonce1, extranonce2, &job.suffix]);
    let root = job.branches.iter().fold(coinbase, |root, branch| hashed(&[&root, branch]));
    let words = [share.time, job.bits, share.nonce].map(u32::to_le_bytes);
    let header =
        [&job.version.to_le_bytes()[..], &job.previous, &root, &words[0], &words[1], &words[2]];
    assert_eq!(sha256d::Hash::from_byte_array(hashed(&header)).to_string(), HASH_170);
    let mut printed = String::new();
    Notice::Notify(job).print(&RequestId::null(), &mut printed);
    assert_eq!(printed.trim_end(), BLOCK_170);
    let mut printed = String::new();
    Request::Submit(share).print(&RequestId::number(4), &mut printed);
    assert_eq!(printed.trim_end(), SHARE_170);
}

fn labels() -> impl Strategy<Value = Label> {
    "[ -~\u{e4}\u{1f600}]{0,16}".prop_filter_map("too long", |text| Label::new(&text).ok())
}

fn extranonces() -> impl Strategy<Value = Extranonce> {
    vec(any::<u8>(), 0..=16).prop_map(|bytes| Extranonce::new(&bytes).unwrap())
}

fn difficulties() -> impl Strategy<Value = Difficulty> {
    "(0\\.[0-9]{1,9}|[1-9][0-9]{0,12}(\\.[0-9]{1,9})?)"
        .prop_filter_map("zero", |text| text.parse().ok())
}

fn texts() -> impl Strategy<Value = PeerText> {
    "[ -~]{0,60}".prop_map(|text| PeerText::new(text.into_bytes()).unwrap())
}

fn notices() -> impl Strategy<Value = Notice> {
    let bytes = || vec(any::<u8>(), 0..40);
    let words = (any::<u32>(), any::<u32>(), any::<u32>(), any::<bool>());
    let branches = vec(any::<[u8; 32]>(), 0..=20);
    let jobs = (labels(), any::<[u8; 32]>(), bytes(), bytes(), branches, words).prop_map(
        |(job, previous, prefix, suffix, branches, (version, bits, time, clean))| {
            let (job, previous) = (job, previous);
            Notify { job, previous, prefix, suffix, branches, version, bits, time, clean }
        },
    );
    let hosts = option::of("[a-z.]{1,20}".prop_map(String::from));
    prop_oneof![
        jobs.prop_map(Notice::Notify),
        difficulties().prop_map(Notice::SetDifficulty),
        (extranonces(), 0_u8..=16)
            .prop_map(|(extranonce1, size)| Notice::SetExtranonce { extranonce1, size }),
        any::<u32>().prop_map(Notice::SetVersionMask),
        (hosts, option::of(1_u16..), any::<u32>())
            .prop_map(|(host, port, wait_s)| Notice::Reconnect { host, port, wait_s }),
        texts().prop_map(Notice::ShowMessage),
        Just(Notice::GetVersion),
        Just(Notice::Ping),
    ]
}

fn requests() -> impl Strategy<Value = Request> {
    let words = (any::<u32>(), any::<u32>(), option::of(any::<u32>()));
    let shares = ("[ -~]{0,40}", labels(), extranonces(), words).prop_map(
        |(user, job, extranonce2, (time, nonce, version_bits))| Submit {
            user,
            job,
            extranonce2,
            time,
            nonce,
            version_bits,
        },
    );
    let rolling =
        (any::<u32>(), any::<u8>()).prop_map(|(mask, min_bits)| VersionRolling { mask, min_bits });
    let known = ["version-rolling", "minimum-difficulty", "subscribe-extranonce"];
    let unknown = labels().prop_filter("known", move |label| !known.contains(&label.0.as_str()));
    let configures =
        (option::of(rolling), option::of(difficulties()), any::<bool>(), vec(unknown, 0..3));
    prop_oneof![
        shares.prop_map(Request::Submit),
        configures.prop_map(
            |(version_rolling, minimum_difficulty, subscribe_extranonce, unknown)| {
                Request::Configure(Configure {
                    version_rolling,
                    minimum_difficulty,
                    subscribe_extranonce,
                    unknown,
                })
            }
        ),
        (texts(), option::of(labels()))
            .prop_map(|(agent, session)| Request::Subscribe { agent, session }),
        ("[ -~\u{e4}]{0,40}", "[ -~]{0,20}")
            .prop_map(|(user, password)| Request::Authorize { user, password }),
        difficulties().prop_map(Request::SuggestDifficulty),
        any::<[u8; 32]>().prop_filter_map("too hard", |bytes| {
            Target::from_be_bytes(&bytes).ok().map(Request::SuggestTarget)
        }),
        Just(Request::ExtranonceSubscribe),
        Just(Request::Ping),
    ]
}

proptest! {
    #[test]
    fn notice_is_read_as_it_was_printed(sent in notices()) {
        let mut line = String::new();
        sent.print(&RequestId::number(3), &mut line);
        prop_assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
        prop_assert_eq!(notice(&line).unwrap(), sent);
    }

    #[test]
    fn request_is_read_as_it_was_printed(sent in requests()) {
        let mut line = String::new();
        sent.print(&RequestId::number(3), &mut line);
        prop_assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
        prop_assert_eq!(request(&line).unwrap(), sent);
    }

    #[test]
    fn any_line_is_read_or_refused(
        any in "[ -~]{0,80}",
        method in "mining.[a-z_]{4,10}",
        params in "[0-9a-f\",\\[\\]{}.e-]{0,40}",
    ) {
        let line = format!("{{\"id\":1,\"method\":\"{method}\",\"params\":[{params}]}}");
        let _ = FromMiner::parse(any.as_bytes());
        let _ = FromPool::parse(any.as_bytes());
        let _ = FromMiner::parse(line.as_bytes());
        let _ = FromPool::parse(line.as_bytes());
    }

    #[test]
    fn number_in_an_extranonce_is_the_number_that_was_put_there(number: u64, size in 0_usize..=16) {
        match Extranonce::of_u64(number, size) {
            Some(extranonce) => {
                prop_assert_eq!(extranonce.as_bytes().len(), size);
                prop_assert_eq!(extranonce.to_u64(), Some(number));
            }
            None => prop_assert!(size < 8 && number >> (8 * size) != 0),
        }
    }
}

#[test]
fn extranonce_of_more_than_its_size_is_refused() {
    assert!(Extranonce::new(&[1; 16]).is_ok());
    let too_long = StratumError::TooLong { what: "extranonce", got: 17, max: 16 };
    assert_eq!(Extranonce::new(&[1; 17]), Err(too_long));
    assert_eq!(Extranonce::of_u64(0, 17), None);
    assert_eq!(Extranonce::new(&[1; 9]).unwrap().to_u64(), None);
    assert_eq!(Extranonce::of_u64(255, 1).unwrap().as_bytes(), [255]);
    assert_eq!(Extranonce::of_u64(256, 1), None);
    assert!(Extranonce::of_u64(0, 0).unwrap().as_bytes().is_empty());
}

#[test]
fn numbers_of_a_difficulty_are_read_exactly_also_with_an_exponent() {
    for (number, printed) in
        [("0.1", "0.1"), ("1e3", "1000"), ("4.0E-3", "0.004"), ("1.0", "1"), ("16384", "16384")]
    {
        let line = format!(r#"{{"id":null,"method":"mining.set_difficulty","params":[{number}]}}"#);
        let Ok(Notice::SetDifficulty(difficulty)) = notice(&line) else { panic!("{line}") };
        assert_eq!(difficulty.to_string(), printed);
    }
    for (number, error) in [
        ("0", DifficultyError::Zero),
        ("-1", DifficultyError::Negative),
        ("1e400", DifficultyError::TooHard),
        ("1e-400", DifficultyError::TooEasy),
    ] {
        let line = format!(r#"{{"id":null,"method":"mining.set_difficulty","params":[{number}]}}"#);
        assert_eq!(notice(&line), Err(error.into()), "{number}");
    }
}

#[test]
fn forms_that_differ_between_pools_are_all_read() {
    let plain = concat!(
        r#"{"id":2,"result":[[["mining.set_difficulty","a1"],["mining.notify","b2"]],"#,
        r#""08000002",4],"error":null}"#
    );
    let subscribed = answer(plain).subscribed().unwrap();
    assert_eq!(subscribed.session, Label::new("b2").ok());
    assert_eq!((subscribed.extranonce1.as_bytes(), subscribed.size), (&[8, 0, 0, 2][..], 4));
    for (subscriptions, session) in [
        (r#"["mining.notify","b2"]"#, Some("b2")),
        ("[]", None),
        (r#"[["mining.set_difficulty","a1"]]"#, None),
        (r#"[["mining.notify",7]]"#, Some("7")),
    ] {
        let line = format!(r#"{{"id":2,"result":[{subscriptions},"",8],"error":null}}"#);
        let found = answer(&line).subscribed().unwrap();
        assert_eq!(found.session, session.map(|text| Label::new(text).unwrap()), "{line}");
    }
    for (line, code, text) in [
        (r#"{"id":5,"result":null,"error":[21,"Job not found",null]}"#, 21, "Job not found"),
        (r#"{"id":5,"result":false,"error":[23,"low"]}"#, 23, "low"),
        (r#"{"id":5,"error":{"code":-3,"message":"gone"}}"#, -3, "gone"),
        (r#"{"id":5,"result":null,"error":"banned"}"#, 20, "banned"),
        (r#"{"id":5,"result":false,"error":null}"#, 20, ""),
        (r#"{"id":5,"result":false}"#, 20, ""),
        (r#"{"id":5,"result":null,"error":[1e9,[[]]]}"#, 20, ""),
    ] {
        let refusal = answer(line).accepted().unwrap_err();
        assert_eq!(
            (refusal.code.to_i32(), refusal.text.to_string()),
            (code, text.into()),
            "{line}"
        );
    }
    for line in [r#"{"id":5,"result":true,"error":null}"#, r#"{"result":{},"id":5}"#] {
        assert_eq!(answer(line).accepted(), Ok(()), "{line}");
    }
    let bare = r#"{"id":null,"method":"client.reconnect","params":[]}"#;
    let none = Notice::Reconnect { host: None, port: None, wait_s: 0 };
    assert_eq!(notice(bare), Ok(none));
    let full = r#"{"method":"client.reconnect","params":["pool.example","3334","30"]}"#;
    let host = Some("pool.example".into());
    assert_eq!(notice(full), Ok(Notice::Reconnect { host, port: Some(3_334), wait_s: 30 }));
}

#[test]
fn answers_of_a_configuration_are_read_as_they_were_printed() {
    let asked = Configure {
        version_rolling: Some(VersionRolling { mask: 0x1fff_e000, min_bits: 2 }),
        minimum_difficulty: Some("0.5".parse().unwrap()),
        subscribe_extranonce: true,
        unknown: Vec::from([Label::new("info").unwrap()]),
    };
    for configured in [
        Configured::default(),
        Configured { version_mask: Some(0x00ff_e000), ..Configured::default() },
        Configured {
            minimum_difficulty: true,
            subscribe_extranonce: true,
            ..Configured::default()
        },
    ] {
        let mut line = String::new();
        configured.print(&asked, &RequestId::number(1), &mut line);
        assert!(line.contains(r#""info":false"#), "{line}");
        assert_eq!(answer(line.trim_end()).configured(), Ok(configured));
    }
}

/// Each with what it is refused by; a miner's and a pool's lines alike.
#[test]
fn malformed_lines_are_refused_by_name() {
    use StratumError::{
        Missing, NotAMessage, NotHex, NotJson, NotUtf8, OutOfRange, TooLong, TooMany, WrongType,
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_object = r#"{"a":"#.repeat(100_000);
    let many = |count: usize| {
        let branches = alloc::vec![format!("\"{}\"", "0".repeat(64)); count].join(",");
        let hash = "0".repeat(64);
        let words = r#""00000001","1d00ffff","496ab951",true"#;
        let params = format!(r#"["j","{hash}","","",[{branches}],{words}]"#);
        format!(r#"{{"method":"mining.notify","params":{params}}}"#)
    };
    let long = "a".repeat(65);
    for (line, error) in [
        ("", NotJson),
        ("x", NotJson),
        ("[]", NotJson),
        ("{", NotJson),
        ("{}", NotAMessage),
        (r#"{"id":null,"result":null}"#, NotAMessage),
        (r#"{"id":1,"id":2,"method":"mining.ping"}"#, NotJson),
        (&deep, NotJson),
        (&deep_object, NotJson),
        (&format!(r#"{{"id":{deep},"method":"mining.ping"}}"#), WrongType { what: "id" }),
        (
            &format!(r#"{{"id":"{long}","method":"mining.ping"}}"#),
            TooLong { what: "id", got: 67, max: 64 },
        ),
        (r#"{"method":7}"#, WrongType { what: "method" }),
        (&format!(r#"{{"method":"{long}"}}"#), TooLong { what: "method", got: 65, max: 64 }),
        (r#"{"method":"mining.set_difficulty"}"#, Missing { what: "difficulty" }),
        (r#"{"method":"mining.set_difficulty","params":7}"#, WrongType { what: "params" }),
        (r#"{"method":"mining.set_difficulty","params":["7"]}"#, WrongType { what: "difficulty" }),
        (
            r#"{"method":"mining.set_version_mask","params":["1fffe00"]}"#,
            NotHex { what: "version mask" },
        ),
        (
            r#"{"method":"mining.set_extranonce","params":["abc",4]}"#,
            NotHex { what: "extranonce1" },
        ),
        (
            r#"{"method":"mining.set_extranonce","params":["ab",17]}"#,
            OutOfRange { what: "size of extranonce2" },
        ),
        (
            r#"{"method":"mining.set_extranonce","params":["ab",-1]}"#,
            WrongType { what: "size of extranonce2" },
        ),
        (r#"{"method":"client.reconnect","params":["h",65536]}"#, OutOfRange { what: "port" }),
        (&many(21), TooMany { what: "branches", max: 20 }),
        (&many(10_000), TooMany { what: "branches", max: 20 }),
        (&BLOCK_170.replace("169e1e", "169e1"), NotHex { what: "branch" }),
        (&BLOCK_170.replace("0a84bd", "0a84bg"), NotHex { what: "previous block" }),
        (&BLOCK_170.replace("0704\"", "070\""), NotHex { what: "coinbase" }),
        (&BLOCK_170.replace("true", "1"), WrongType { what: "clean" }),
        (&format!("[{}]", ",".repeat(1_000)), NotJson),
    ] {
        let shown = &line[..line.len().min(100)];
        assert_eq!(notice(line).unwrap_err(), error, "{shown}");
    }
    assert!(matches!(FromPool::parse(b"{\"method\":\"\xff\"}"), Err(NotUtf8)));
    assert!(matches!(FromMiner::parse(b"\xff"), Err(NotUtf8)));
    assert!(notice(&many(20)).is_ok());
}

/// A request that is read in part is refused under its own id.
#[test]
fn malformed_requests_keep_their_id() {
    use StratumError::{Missing, NotHex, OutOfRange, TooLong, TooMany, WrongType};
    let seventeen = "00".repeat(17);
    for (method, params, error) in [
        ("submit", r#"["u","j","00","00000000"]"#, Missing { what: "nonce" }),
        ("submit", r#"["u","j","0","00000000","00000000"]"#, NotHex { what: "extranonce2" }),
        ("submit", r#"["u","j","00","0000000","00000000"]"#, NotHex { what: "time" }),
        ("submit", r#"["u","j","00","00000000",0]"#, WrongType { what: "nonce" }),
        ("submit", r#"["u","j","00","00000000","00000000","x"]"#, NotHex { what: "version bits" }),
        ("submit", r"[1,2,3,4,5,6,7,8,9]", TooMany { what: "params", max: 8 }),
        (
            "submit",
            &format!(r#"["u","j","{seventeen}","00000000","00000000"]"#),
            TooLong { what: "extranonce2", got: 34, max: 32 },
        ),
        (
            "authorize",
            &format!(r#"["{}",""]"#, "u".repeat(321)),
            TooLong { what: "user", got: 321, max: 320 },
        ),
        ("authorize", "[]", Missing { what: "user" }),
        ("authorize", "{}", WrongType { what: "params" }),
        ("suggest_difficulty", "[0]", DifficultyError::Zero.into()),
        ("suggest_target", r#"["00"]"#, OutOfRange { what: "target" }),
        ("suggest_target", &format!(r#"["{}"]"#, "0".repeat(64)), OutOfRange { what: "target" }),
        ("configure", "[]", Missing { what: "extensions" }),
        ("configure", r#"[["minimum-difficulty"],{}]"#, Missing { what: "minimum difficulty" }),
        (
            "configure",
            r#"[["version-rolling"],{"version-rolling.mask":"x"}]"#,
            NotHex { what: "version mask" },
        ),
        (
            "configure",
            r#"[["a","b","c","d","e","f","g","h","i"],{}]"#,
            TooMany { what: "extensions", max: 8 },
        ),
    ] {
        let line = format!(r#"{{"id":"k","method":"mining.{method}","params":{params}}}"#);
        match FromMiner::parse(line.as_bytes()).unwrap() {
            FromMiner::Malformed { id, error: found } => {
                assert_eq!((id.as_json(), found), ("\"k\"", error), "{line}");
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}
