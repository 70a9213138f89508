//! Templates from a node over JSON-RPC: recorded replies, lies, and a node of our own on the
//! simulated chain, asked over loopback HTTP.
#![cfg(feature = "rpc")]

mod vector_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Block, ScriptBuf, transaction};
use hex::FromHex;
use millstream::chain::Reason;
use millstream::chain::regtest::Regtest;
use millstream::chain::template::rpc::{
    Login, LongPollId, NodeRpc, RpcError, Submitted, read_submitted, read_template, submit_request,
    template_request,
};
use millstream::chain::template::{
    BlockPlan, Layout, Solution, Template, TemplateError, VERSION_ROLLING,
};
use millstream::units::{Blocks, Sat};
use serde_json::{Value, json};
use vector_support::{document, each_case};

const FILE: &str = "getblocktemplate";

fn bytes(value: &Value) -> Vec<u8> {
    Vec::from_hex(value.as_str().unwrap()).unwrap()
}

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn script(value: &Value) -> ScriptBuf {
    ScriptBuf::from_bytes(bytes(value))
}

/// The first reply of our own file, as a caller may change it.
fn recorded(change: impl Fn(&mut Value)) -> String {
    let text = include_str!("vectors/getblocktemplate.json");
    let mut document: Value = serde_json::from_str(text).unwrap();
    let reply = &mut document["cases"][0]["reply"];
    change(&mut reply["result"]);
    reply.to_string()
}

fn solved(template: Template) -> Block {
    let plan = BlockPlan::new(template, &Layout::new(ScriptBuf::from_bytes(vec![0x51]))).unwrap();
    let mut solution = plan.first_solution(&[1; 4], &[2; 8]);
    loop {
        match plan.solve(&solution) {
            Ok(block) => return block,
            Err(TemplateError::HighHash { .. }) => solution.nonce += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn recorded_replies_lead_to_the_blocks_that_were_mined_of_them() {
    each_case(FILE, |case| {
        let name = case["name"].as_str().unwrap();
        let offer = read_template(&case["reply"].to_string()).unwrap();
        let fields = &case["reply"]["result"];
        let template = &offer.template;
        assert_eq!(template.version_mask, VERSION_ROLLING, "{name}");
        assert_eq!(template.height.to_u32(), number(&fields["height"]), "{name}");
        assert_eq!(template.min_time.to_u64(), fields["mintime"].as_u64().unwrap(), "{name}");
        assert_eq!(offer.long_poll.unwrap().as_str(), fields["longpollid"], "{name}");
        let Some(layout) = case.get("layout") else {
            assert_eq!(solved(offer.template).txdata.len(), 1, "{name}");
            return;
        };
        let mut wanted = Layout::new(script(&layout["pay_to"]));
        wanted.markers = layout["markers"].as_array().unwrap().iter().map(script).collect();
        wanted.before = bytes(&layout["before"]);
        wanted.tag = bytes(&layout["tag"]);
        wanted.version = transaction::Version(number(&layout["coinbase_version"]).cast_signed());
        let found = &case["solution"];
        let solution = Solution {
            extranonce1: bytes(&found["extranonce1"]),
            extranonce2: bytes(&found["extranonce2"]),
            version: number(&found["version"]),
            time: number(&found["time"]),
            nonce: number(&found["nonce"]),
        };
        (wanted.extranonce1_size, wanted.extranonce2_size) =
            (solution.extranonce1.len(), solution.extranonce2.len());
        let block = BlockPlan::new(offer.template, &wanted).unwrap().solve(&solution).unwrap();
        assert_eq!(block.block_hash().to_string(), case["hash"], "{name}");
        assert_eq!(block.header.merkle_root.to_string(), case["merkle_root"], "{name}");
    });
}

#[test]
fn vectors_of_templates_are_there() {
    if let Some(document) = document(FILE) {
        assert!(document["license"].is_string());
    }
}

#[test]
fn lies_and_gaps_of_a_reply_are_named() {
    let field = |error: RpcError| match error {
        RpcError::Field { field } => field,
        other => panic!("{other}"),
    };
    for (name, value, wrong) in [
        ("previousblockhash", json!("00"), "previousblockhash"),
        ("bits", json!("1a0213eff"), "bits"),
        ("bits", json!("0x1a0213ef"), "bits"),
        ("height", json!(500_000_000), "height"),
        ("curtime", json!(4_294_967_296_u64), "curtime"),
        ("curtime", json!(1_000_000_000), "curtime"),
        ("mintime", json!(4_294_967_296_u64), "mintime"),
        ("coinbasevalue", json!(2_100_000_000_000_001_u64), "coinbasevalue"),
        ("longpollid", json!("x".repeat(129)), "longpollid"),
        ("rules", json!(["csv"]), "rules"),
    ] {
        let reply = recorded(|it| it[name] = value.clone());
        assert_eq!(field(read_template(&reply).unwrap_err()), wrong, "{value}");
    }
    let tx = |name: &'static str, value: Value| {
        recorded(move |it| it["transactions"][1][name] = value.clone())
    };
    let zeros = json!("0".repeat(64));
    assert_eq!(field(read_template(&tx("data", json!("00"))).unwrap_err()), "transactions");
    let wrong = read_template(&tx("txid", zeros.clone())).unwrap_err();
    assert!(matches!(wrong, RpcError::WrongId { index: 1 }));
    let wrong = read_template(&tx("hash", zeros)).unwrap_err();
    assert!(matches!(wrong, RpcError::WrongId { index: 1 }));
    let swapped = recorded(|it| it["transactions"].as_array_mut().unwrap().reverse());
    assert!(matches!(read_template(&swapped).unwrap_err(), RpcError::WrongCommitment));
    let demanded = recorded(|it| it["rules"] = json!(["!segwit", "!signet"]));
    assert!(matches!(read_template(&demanded).unwrap_err(), RpcError::UnknownRule));
    for shape in ["", "{}x", "[]", "{\"result\": 7}", &recorded(|it| it["bits"] = json!(null))] {
        assert!(matches!(read_template(shape).unwrap_err(), RpcError::Json(_)), "{shape:.40}");
    }
    for (code, reply) in [
        (-10, r#"{"result":null,"error":{"code":-10,"message":"is in initial sync"},"id":1}"#),
        (-8, r#"{"jsonrpc":"2.0","error":{"code":-8,"message":"rules"},"id":1}"#),
    ] {
        let refused = read_template(reply).unwrap_err();
        assert!(matches!(refused, RpcError::Refused { code: got } if got == code), "{refused}");
    }
    assert_eq!(field(read_template(r#"{"result":null,"error":null}"#).unwrap_err()), "result");
}

#[test]
fn bits_of_deployments_are_not_the_miners() {
    let reply = recorded(|it| {
        it["vbavailable"] = json!({"testdummy": 28, "other": 13, "odd": 77});
        it["vbrequired"] = json!(1 << 20);
    });
    let mask = read_template(&reply).unwrap().template.version_mask;
    assert_eq!(mask, VERSION_ROLLING & !(1 << 28 | 1 << 13 | 1 << 20));
    assert_eq!(mask.count_ones(), 13);
}

#[test]
fn answers_to_a_block_are_read_with_their_class() {
    let said = |words: &str| {
        read_submitted(&json!({"result": words, "error": null, "id": 1}).to_string()).unwrap()
    };
    assert_eq!(read_submitted(r#"{"result":null,"error":null}"#).unwrap(), Submitted::Accepted);
    assert_eq!(said("duplicate"), Submitted::Duplicate);
    assert_eq!(said("inconclusive"), Submitted::Inconclusive);
    for (words, reason) in [
        ("high-hash", Reason::HighHash),
        ("bad-txnmrklroot", Reason::BadMerkleRoot),
        ("bad-witness-merkle-match", Reason::BadCommitment),
        ("bad-cb-amount", Reason::Overspend),
        ("bad-prevblk", Reason::StaleBlock),
        ("time-too-old", Reason::BadBlock),
    ] {
        assert_eq!(said(words), Submitted::Refused(Some(reason)), "{words}");
    }
    assert_eq!(said("rejected"), Submitted::Refused(None));
    let refused = read_submitted(r#"{"result":null,"error":{"code":-22,"message":""}}"#);
    assert!(matches!(refused, Err(RpcError::Refused { code: -22 })));
}

/// One HTTP request: its head, and its body of JSON.
fn request(stream: &TcpStream) -> (String, Value) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "half a head: {head}");
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    (head, serde_json::from_slice(&body).unwrap_or_default())
}

fn answer(mut stream: TcpStream, status: &str, body: &str) {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    // A client that has heard enough may have closed.
    let _gone = stream.write_all(text.as_bytes());
}

/// Answers one connection after another on a thread; ends with the last of `turns`.
fn node(turns: Vec<Box<dyn FnOnce(TcpStream) + Send>>) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let serve = move || turns.into_iter().for_each(|turn| turn(listener.accept().unwrap().0));
    (url, std::thread::spawn(serve))
}

fn login() -> Login {
    Login::Password { name: "miner".into(), password: "secret".to_owned().into() }
}

/// The template as a node tells it.
fn told(template: &Template) -> Value {
    let txs: Vec<Value> = template
        .txs
        .iter()
        .map(|tx| {
            json!({
                "data": serialize_hex(tx.tx()),
                "txid": tx.txid().to_string(),
                "hash": tx.wtxid().to_string(),
                "fee": tx.fee().map(Sat::to_sat),
            })
        })
        .collect();
    json!({
        "version": template.version.cast_signed(),
        "rules": ["!segwit"],
        "previousblockhash": template.previous.to_string(),
        "transactions": txs,
        "coinbasevalue": template.coinbase_value.to_sat(),
        "mintime": template.min_time.to_u64(),
        "curtime": template.current_time.to_u64(),
        "bits": format!("{:08x}", template.bits.to_consensus()),
        "height": template.height.to_u32(),
    })
}

#[test]
fn block_mined_of_a_nodes_template_is_taken_by_that_node() {
    let mut chain = Regtest::new().unwrap();
    chain.mine(Blocks::new(5).unwrap());
    let template = chain.block_template();
    let offered = template.clone();
    let (url, served) = node(vec![
        Box::new(move |stream| {
            let (head, call) = request(&stream);
            // "miner:secret" in base64.
            assert!(head.contains("Authorization: Basic bWluZXI6c2VjcmV0\r\n"), "{head}");
            assert_eq!(call["method"], "getblocktemplate");
            assert_eq!(call["params"][0]["rules"], json!(["segwit"]));
            let reply = json!({"result": told(&offered), "error": null, "id": call["id"]});
            answer(stream, "200 OK", &reply.to_string());
        }),
        Box::new(move |stream| {
            let (_, call) = request(&stream);
            assert_eq!(call["method"], "submitblock");
            let block: Block = deserialize_hex(call["params"][0].as_str().unwrap()).unwrap();
            let said = chain.connect_block(&block).err().map(|reason| reason.to_string());
            let reply = json!({"result": said, "error": null, "id": call["id"]});
            answer(stream, "200 OK", &reply.to_string());
        }),
    ]);
    let node = NodeRpc::new(&url, login());
    let offer = node.template().unwrap();
    assert_eq!(offer.template, template);
    assert_eq!(node.submit(&solved(offer.template)).unwrap(), Submitted::Accepted);
    served.join().unwrap();
}

#[test]
fn long_poll_names_the_offer_and_gives_up_in_time() {
    let (url, served) = node(vec![
        Box::new(|stream| {
            let (_, call) = request(&stream);
            assert_eq!(call["params"][0]["longpollid"], "tip and 7");
            answer(stream, "200 OK", &recorded(|_| {}));
        }),
        // Silence, until the client leaves.
        Box::new(|mut stream| {
            let _left = stream.read_to_end(&mut Vec::new());
        }),
    ]);
    let node = NodeRpc::new(&url, login());
    let offer = LongPollId::new("tip and 7").unwrap();
    assert!(node.template_after(&offer, Duration::from_secs(60)).unwrap().is_some());
    assert_eq!(node.template_after(&offer, Duration::from_millis(500)).unwrap(), None);
    // Should this machine have been too slow to connect in time, the silent turn ends here.
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    drop(TcpStream::connect(address));
    served.join().unwrap();
}

#[test]
fn node_that_refuses_or_floods_is_an_error_and_no_more() {
    let status = |status: &'static str, body: &'static str| -> Box<dyn FnOnce(TcpStream) + Send> {
        Box::new(move |stream| {
            request(&stream);
            answer(stream, status, body);
        })
    };
    let (url, served) = node(vec![
        status("401 Unauthorized", ""),
        status("503 Service Unavailable", "Work queue depth exceeded"),
        status("500 Internal Server Error", r#"{"result":null,"error":{"code":-28},"id":1}"#),
        status("302 Found\r\nLocation: http://192.0.2.1/", ""),
        Box::new(|mut stream| {
            request(&stream);
            let line = [b'x'; 1 << 12];
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nA: ");
            while stream.write_all(&line).is_ok() {}
        }),
        Box::new(|mut stream| {
            request(&stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{");
            let spaces = [b' '; 1 << 16];
            while stream.write_all(&spaces).is_ok() {}
        }),
        // It is read first: what is closed with words unread is reset, which is another error.
        Box::new(|stream| drop(request(&stream))),
    ]);
    let node = NodeRpc::new(&url, login());
    let ask = || node.template().unwrap_err();
    assert!(matches!(ask(), RpcError::Unauthorized));
    assert!(matches!(ask(), RpcError::Status { status: 503 }));
    assert!(matches!(ask(), RpcError::Refused { code: -28 }));
    for what in ["redirection", "head without end", "body beyond the limit"] {
        let error = ask();
        assert!(matches!(error, RpcError::Http(_)), "{what}: {error:?}");
    }
    // A connection that is closed without a word.
    assert!(matches!(ask(), RpcError::Status { status: 503 }));
    served.join().unwrap();
}

#[test]
fn cookie_is_read_at_each_call_and_passwords_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".cookie");
    let expect = |coded: &'static str| -> Box<dyn FnOnce(TcpStream) + Send> {
        Box::new(move |stream| {
            let (head, _) = request(&stream);
            assert!(head.contains(&format!("Basic {coded}\r\n")), "{head}");
            answer(stream, "200 OK", &recorded(|_| {}));
        })
    };
    let (url, served) = node(vec![expect("YTox"), expect("YToy")]);
    let node = NodeRpc::new(&url, Login::CookieFile(path.clone()));
    assert!(matches!(node.template().unwrap_err(), RpcError::Cookie(_)));
    for cookie in ["a:1\n", "a:2"] {
        std::fs::write(&path, cookie).unwrap();
        node.template().unwrap();
    }
    served.join().unwrap();
    assert!(!format!("{:?}", NodeRpc::new(&url, login())).contains("secret"));
}

#[test]
fn requests_are_one_object_with_the_fields_of_their_call() {
    let call: Value = serde_json::from_str(&template_request(None)).unwrap();
    assert_eq!(call["params"][0].get("longpollid"), None);
    let block = solved(Regtest::new().unwrap().block_template());
    let call: Value = serde_json::from_str(&submit_request(&block)).unwrap();
    assert_eq!(call["params"], json!([serialize_hex(&block)]));
    assert_eq!(LongPollId::new(&"x".repeat(128)).map(|id| id.as_str().len()), Some(128));
    assert_eq!(LongPollId::new(&"x".repeat(129)), None);
}
