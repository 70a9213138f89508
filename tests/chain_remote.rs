//! The simulated chain over TCP against a hostile other end: a host that lies to its client, and
//! clients that abuse their host. Whoever is hostile loses its own connection; nobody waits for it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bitcoin::hashes::Hash;
use bitcoin::{Block, OutPoint, ScriptBuf, Txid};
use millstream::chain::regtest::Regtest;
use millstream::chain::remote::{ChainHost, ChainServer, RemoteChain, RemoteError};
use millstream::chain::template::{BlockPlan, Layout};
use millstream::chain::{ChainError, ChainSource, Reason};
use millstream::units::{Blocks, Sat};

const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
/// The longest line that either side takes.
const LINE_MAX: usize = 16_777_216;
/// How many clients a host serves at once.
const CLIENTS_MAX: usize = 32;

fn tip() -> String {
    format!("7 {} 1700000000", Txid::from_byte_array([3; 32]))
}

/// A host that answers each connection's first request by `first`, the rest by `rest`, as bytes.
/// It ends after as many connections as it is told.
fn liar(connections: usize, first: Vec<u8>, rest: Vec<u8>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(SocketAddr::from(LOOPBACK)).unwrap();
    let address = listener.local_addr().unwrap();
    let host = std::thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let stream = stream.unwrap();
            let mut writer = stream.try_clone().unwrap();
            let mut lines = BufReader::new(stream).lines();
            let mut answer = &first;
            while let Some(Ok(_request)) = lines.next() {
                // The client may have seen enough before all of it is out.
                if writer.write_all(answer).is_err() {
                    break;
                }
                answer = &rest;
            }
            let _gone = writer.shutdown(Shutdown::Both);
        }
    });
    (address, host)
}

fn line(words: &str) -> Vec<u8> {
    format!("{words}\n").into_bytes()
}

#[test]
fn answers_of_a_lying_host_are_as_good_as_none() {
    let outpoint = OutPoint { txid: Txid::all_zeros(), vout: 0 };
    let hash = Txid::from_byte_array([3; 32]).to_string();
    let lies = [
        String::new(),
        "ok".into(),
        "none none none".into(),
        "-1 00 none 3 none".into(),
        "2100000000000001 00 none 3 none".into(),
        "99999999999999999999999999 00 none 3 none".into(),
        "1000 0 none 3 none".into(),
        "1000 00 4294967296 3 none".into(),
        "1000 00 none 3 0200".into(),
        "1000 00 none 3".into(),
        format!("connected 7 {hash}"),
        format!("connected 7 {hash} -5"),
        "seen 00".into(),
        "\u{1f980} \u{0}".into(),
    ];
    for lie in lies {
        let (address, host) = liar(2, line(&tip()), line(&lie));
        let mut chain = RemoteChain::connect(address).unwrap();
        assert_eq!(chain.output(outpoint).unwrap_err(), ChainError::Unavailable, "{lie:?}");
        // A cut is told once, so that the driver looks at everything again.
        assert_eq!(chain.next_event().unwrap_err(), ChainError::Unavailable, "{lie:?}");
        assert_eq!(chain.tip().unwrap().height.to_u32(), 7, "it connects again");
        drop(chain);
        host.join().unwrap();
    }
}

#[test]
fn host_that_speaks_nonsense_from_the_start_is_no_chain() {
    let nonsense = [
        line("HTTP/1.1 400 Bad Request"),
        vec![0xff, 0xfe, b'\n'],
        b"7 half a line".to_vec(),
        Vec::new(),
        line("refused because"),
    ];
    for bytes in nonsense {
        let half = !bytes.ends_with(b"\n");
        // A line without an end is cut off by closing, as a host that dies in the middle.
        let (address, host) = if half {
            let listener = TcpListener::bind(SocketAddr::from(LOOPBACK)).unwrap();
            let address = listener.local_addr().unwrap();
            let host = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(&bytes).unwrap();
            });
            (address, host)
        } else {
            liar(1, bytes.clone(), bytes)
        };
        let unreachable = RemoteChain::connect(address).unwrap_err();
        assert!(matches!(unreachable, RemoteError::Unreachable { .. }), "{unreachable}");
        host.join().unwrap();
    }
}

#[test]
fn line_that_never_ends_fills_no_memory_of_the_client() {
    // One byte more than a line may have, and no end.
    let endless = vec![b'7'; LINE_MAX + 1];
    let (address, host) = liar(1, line(&tip()), endless);
    let chain = RemoteChain::connect(address).unwrap();
    assert_eq!(chain.tip().unwrap_err(), ChainError::Unavailable);
    drop(chain);
    host.join().unwrap();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the slowness is the point")]
fn answer_that_drips_is_given_up_as_a_whole() {
    let listener = TcpListener::bind(SocketAddr::from(LOOPBACK)).unwrap();
    let address = listener.local_addr().unwrap();
    let host = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        lines.next().unwrap().unwrap();
        stream.write_all(&line(&tip())).unwrap();
        lines.next().unwrap().unwrap();
        // Each byte is in time, the line never.
        while stream.write_all(b"7").is_ok() {
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let chain = RemoteChain::connect(address).unwrap();
    let asked = Instant::now();
    assert_eq!(chain.tip().unwrap_err(), ChainError::Unavailable);
    let waited = asked.elapsed();
    assert!((9..15).contains(&waited.as_secs()), "{waited:?} for one answer");
    drop(chain);
    host.join().unwrap();
}

#[test]
fn broadcast_is_taken_only_if_the_host_says_so() {
    for lie in ["none", "", "okay", "ok ok", "refused because", "refused"] {
        let (address, host) = liar(1, line(&tip()), line(lie));
        let mut chain = RemoteChain::connect(address).unwrap();
        assert_eq!(chain.broadcast(&[]).unwrap_err(), ChainError::Unavailable, "{lie:?}");
        drop(chain);
        host.join().unwrap();
    }
}

#[test]
fn chain_and_server_are_for_one_machine_only() {
    let far: SocketAddr = ([192, 0, 2, 1], 9).into();
    let refused = RemoteChain::connect(far).unwrap_err();
    assert!(matches!(refused, RemoteError::NotLoopback { address } if address == far));
    let host = Arc::new(ChainHost::new(Regtest::new().unwrap()).unwrap());
    let everywhere: SocketAddr = ([0, 0, 0, 0], 0).into();
    let refused = ChainServer::start(Arc::clone(&host), everywhere).unwrap_err();
    assert!(matches!(refused, RemoteError::NotLoopback { .. }));
    let server = ChainServer::start(Arc::clone(&host), LOOPBACK.into()).unwrap();
    let taken = ChainServer::start(host, server.address()).unwrap_err();
    assert!(matches!(taken, RemoteError::PortInUse { address } if address == server.address()));
}

fn server() -> (ChainServer, RemoteChain) {
    let mut chain = Regtest::new().unwrap();
    chain.mine(Blocks::new(1).unwrap());
    let host = Arc::new(ChainHost::new(chain).unwrap());
    let server = ChainServer::start(host, LOOPBACK.into()).unwrap();
    let honest = RemoteChain::connect(server.address()).unwrap();
    (server, honest)
}

/// Whether the host has closed, having answered nothing more.
fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => rest.is_empty(),
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn request_that_makes_no_sense_costs_its_own_connection() {
    let (server, mut honest) = server();
    let height = honest.tip().unwrap().height;
    let long = "f".repeat(100_000);
    let requests = [
        "\n",
        "tip tip\n",
        "output\n",
        "output 00:0\n",
        "outputs zz\n",
        "broadcast 00\n",
        "mine -1\n",
        "mine 4294967296\n",
        "fund 51 -5\n",
        "fund 51 2100000000000001\n",
        "event now\n",
        "GET / HTTP/1.1\r\n",
    ];
    for request in requests.iter().map(ToString::to_string).chain([format!("{long}\n")]) {
        let mut hostile = TcpStream::connect(server.address()).unwrap();
        hostile.write_all(request.as_bytes()).unwrap();
        assert!(is_closed(hostile), "{request:.40}");
        assert_eq!(honest.tip().unwrap().height, height);
        assert_eq!(honest.next_event().unwrap(), None);
    }
    let mut hostile = TcpStream::connect(server.address()).unwrap();
    hostile.write_all(&[0xff, 0xfe, b'\n']).unwrap();
    assert!(is_closed(hostile), "bytes that are no text");
}

#[test]
fn line_beyond_the_limit_costs_its_own_connection() {
    let (server, honest) = server();
    let mut hostile = TcpStream::connect(server.address()).unwrap();
    let chunk = vec![b'a'; 1 << 20];
    // One chunk beyond the limit: the host has closed before it has read all of it.
    for _ in 0..=LINE_MAX / chunk.len() {
        if hostile.write_all(&chunk).is_err() {
            break;
        }
    }
    assert!(is_closed(hostile));
    honest.tip().unwrap();
}

#[test]
fn half_a_request_and_a_slow_one_delay_nobody_else() {
    let (server, honest) = server();
    let mut slow = TcpStream::connect(server.address()).unwrap();
    let mut dead = TcpStream::connect(server.address()).unwrap();
    dead.write_all(b"mine 10").unwrap();
    dead.shutdown(Shutdown::Write).unwrap();
    let height = honest.tip().unwrap().height;
    for byte in b"mine 1" {
        slow.write_all(&[*byte]).unwrap();
        assert_eq!(honest.tip().unwrap().height, height, "half a request did something");
    }
    assert!(is_closed(dead), "half a request is none");
    assert_eq!(honest.tip().unwrap().height, height);
    slow.write_all(b"\n").unwrap();
    let mut answer = String::new();
    BufReader::new(slow).read_line(&mut answer).unwrap();
    assert_eq!(answer, format!("{}\n", height.to_u32() + 1));
}

#[test]
fn clients_beyond_the_limit_are_let_go_and_the_places_come_back() {
    let (server, honest) = server();
    // A client whose question was answered has its place; one was there already.
    let ask = |server: &ChainServer| {
        let mut client = TcpStream::connect(server.address()).unwrap();
        let asked = client.write_all(b"rate\n");
        let mut answer = String::new();
        let read = BufReader::new(client.try_clone().unwrap()).read_line(&mut answer);
        (asked.is_ok() && read.is_ok() && answer.ends_with('\n')).then_some(client)
    };
    let mut clients: Vec<_> = (1..CLIENTS_MAX).map(|_| ask(&server).unwrap()).collect();
    assert!(ask(&server).is_none(), "one more than {CLIENTS_MAX}");
    honest.tip().unwrap();
    // Each that goes makes room, again and again.
    for _ in 0..3 * CLIENTS_MAX {
        drop(clients.remove(0));
        let next = loop {
            if let Some(next) = ask(&server) {
                break next;
            }
            std::thread::yield_now();
        };
        clients.push(next);
    }
    honest.tip().unwrap();
}

#[test]
fn refusals_arrive_with_their_class() {
    let (_server, mut honest) = server();
    let script = ScriptBuf::from_bytes([&[0x51, 0x20][..], &[7; 32]].concat());
    let short = honest.fund(script, Sat::new(1_000_000).unwrap()).unwrap_err();
    assert_eq!(short, ChainError::Refused(Reason::MissingInputs));
    let outpoint = OutPoint { txid: Txid::from_byte_array([9; 32]), vout: 0 };
    assert_eq!(honest.output(outpoint).unwrap(), None);
    let input = bitcoin::TxIn { previous_output: outpoint, ..bitcoin::TxIn::default() };
    let tx = bitcoin::Transaction {
        version: bitcoin::transaction::Version(3),
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![input],
        output: vec![bitcoin::TxOut {
            value: bitcoin::Amount::from_sat(1_000),
            script_pubkey: ScriptBuf::from_bytes([&[0x51, 0x20][..], &[7; 32]].concat()),
        }],
    };
    let refused = honest.broadcast(&[tx]).unwrap_err();
    assert_eq!(refused, ChainError::Refused(Reason::MissingInputs));
}

#[test]
fn blocks_that_many_ask_for_at_once_are_all_mined() {
    let (server, chain) = server();
    let before = chain.tip().unwrap().height.to_u32();
    let miners: Vec<_> = (0..4)
        .map(|_| {
            let address = server.address();
            std::thread::spawn(move || {
                let miner = RemoteChain::connect(address).unwrap();
                for _ in 0..10 {
                    miner.mine(Blocks::new(20).unwrap()).unwrap();
                }
            })
        })
        .collect();
    for miner in miners {
        miner.join().unwrap();
    }
    assert_eq!(chain.tip().unwrap().height.to_u32(), before + 4 * 10 * 20);
}

#[test]
fn block_of_a_miner_outside_stands_after_a_restart_and_its_rival_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain.txt");
    let host = ChainHost::kept_in(&path).unwrap();
    let layout = Layout::new(ScriptBuf::from_bytes([&[0x51, 0x20][..], &[7; 32]].concat()));
    let mined = |miner: u8| {
        let template = host.chain().with(|chain| chain.block_template());
        let plan = BlockPlan::new(template, &layout).unwrap();
        let mut solution = plan.first_solution(&[miner; 4], &[0; 8]);
        loop {
            match plan.solve(&solution) {
                Ok(block) => return block,
                Err(_) => solution.nonce += 1,
            }
        }
    };
    let (first, rival) = (mined(1), mined(2));
    let tip = host.connect(&first).unwrap();
    assert_eq!(tip.hash, first.block_hash());
    let refused = host.connect(&rival).unwrap_err();
    assert!(matches!(refused, RemoteError::Refused(Reason::StaleBlock)), "{refused}");
    let above = host.mine(Blocks::new(1).unwrap()).unwrap();
    drop(host);

    let host = ChainHost::kept_in(&path).unwrap();
    let hash_at = |height| host.chain().with(|chain| chain.block(height).map(Block::block_hash));
    assert_eq!(hash_at(tip.height), Some(first.block_hash()));
    assert_eq!(hash_at(above.height), Some(above.hash));
}
