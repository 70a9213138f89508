//! Stratum V1 over TCP: our client mines on our server, sessions are cut and resumed, and strangers
//! cost their own connection.

mod stratum_support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millstream::rt::stratum::client::{ClientNews, ClientOptions, StratumClient};
use millstream::rt::stratum::{
    ConnectionEnd, Connections, ServerNews, ServerOptions, StratumServer,
};
use millstream::stratum::client::Find;
use millstream::stratum::message::Notice;
use millstream::stratum::{DifficultyError, StratumError};
use millstream::units::{Target, Work, WorkBits};
use millstream::wire::PeerText;
use stratum_support::{
    KEY, OTHER, PATIENCE, client_of, job, options, search, server, until, until_judged, until_task,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// 2^8 hashes a share.
const BITS: u8 = 8;

async fn down(news: &mut Connections) -> ConnectionEnd {
    let down = async {
        loop {
            if let ServerNews::Down { why, .. } = news.next().await.expect("the server has ended") {
                return why;
            }
        }
    };
    timeout(PATIENCE, down).await.expect("no connection ended")
}

#[tokio::test]
async fn shares_of_our_miner_are_credited_once_and_all_of_them() {
    let (server, mut credits) = server(options(BITS)).await;
    let mut miner = StratumClient::start(client_of(&server, &format!("{KEY}.roof")));
    let task = until_task(&mut miner).await;
    assert_eq!(task.version_mask, 0x1fff_e000);
    assert!(task.target <= Target::of_work_bits(WorkBits::new(BITS).unwrap()));
    let finds = search(&task, 30);
    for find in &finds {
        assert!(miner.submit(&task, *find));
        assert_eq!(until_judged(&mut miner).await, (*find, Ok(())));
        let credit = credits.next().await.unwrap();
        assert_eq!(credit.good.work(), Work::new(1 << BITS));
        assert_eq!(credit.worker.to_string(), format!("{KEY}.roof"));
        assert_eq!(credit.good.share().nonce, find.nonce);
    }
    // Again: a duplicate; of a time beyond the window; not hard enough.
    assert!(miner.submit(&task, finds[0]));
    assert_eq!(until_judged(&mut miner).await.1, Err(22));
    let late = Find { time: finds[0].time + 7_201, ..finds[0] };
    assert!(miner.submit(&task, late));
    assert_eq!(until_judged(&mut miner).await.1, Err(20));
    let easy = Find { nonce: finds[0].nonce ^ 1, ..finds[0] };
    assert!(miner.submit(&task, easy));
    assert_eq!(until_judged(&mut miner).await.1, Err(23));
    // Another tip: the old task is worth nothing any more.
    let other = Arc::new(job(2, b"before"));
    server.publish(Arc::clone(&other)).unwrap();
    let next = until_task(&mut miner).await;
    assert!(next.job.clean);
    let more = search(&task, 31);
    assert!(miner.submit(&task, more[30]));
    assert_eq!(until_judged(&mut miner).await.1, Err(21));
    assert!(timeout(Duration::from_millis(50), credits.next()).await.is_err());
    // A credit names the job that was published: its price is found by that.
    assert!(miner.submit(&next, search(&next, 1)[0]));
    assert!(Arc::ptr_eq(&credits.next().await.unwrap().job, &other));
}

#[tokio::test]
async fn cut_session_is_resumed_with_its_extranonce_and_counts_no_share_twice() {
    let (server, mut credits) = server(options(BITS)).await;
    // The server has seen the end of the old connection when the new one comes.
    let mut patient = client_of(&server, KEY);
    patient.retry_after = Duration::from_millis(300);
    let mut miner = StratumClient::start(patient);
    let before = until_task(&mut miner).await;
    let find = search(&before, 1)[0];
    assert!(miner.submit(&before, find));
    assert_eq!(until_judged(&mut miner).await.1, Ok(()));
    assert!(credits.next().await.is_some());
    // The pool sends it away; it comes back at once, to the same session.
    assert!(server.tell(Notice::Reconnect { host: None, port: None, wait_s: 0 }));
    let after = until_task(&mut miner).await;
    assert_eq!(after.prefix, before.prefix);
    assert!(miner.submit(&after, find));
    assert_eq!(until_judged(&mut miner).await.1, Err(22));
    // A task of the cut connection cannot be submitted on the new one.
    assert!(miner.submit(&before, find));
    until(&mut miner, |news| matches!(news, ClientNews::Lost(_)).then_some(())).await;
    // Somebody else has another space.
    let mut other = StratumClient::start(client_of(&server, OTHER));
    assert_ne!(until_task(&mut other).await.prefix, before.prefix);
}

#[tokio::test]
async fn words_for_all_miners_arrive_and_other_notices_are_not_sent() {
    let (server, _credits) = server(options(BITS)).await;
    let mut miner = StratumClient::start(client_of(&server, KEY));
    until_task(&mut miner).await;
    assert!(!server.tell(Notice::SetVersionMask(0)));
    let words = PeerText::new(b"maintenance at noon".to_vec()).unwrap();
    assert!(server.tell(Notice::ShowMessage(words.clone())));
    let heard = until(&mut miner, |news| match news {
        ClientNews::Message(text) => Some(text),
        _ => None,
    })
    .await;
    assert_eq!(heard, words);
}

#[tokio::test]
async fn work_of_a_share_follows_the_miner() {
    let mut wide = options(BITS);
    let bits = |bits| WorkBits::new(bits).unwrap();
    wide.work = (bits(4), bits(30), bits(4));
    let (server, mut credits) = server(wide).await;
    tokio::spawn(async move { while credits.next().await.is_some() {} });
    let mut miner = StratumClient::start(client_of(&server, KEY));
    let first = until_task(&mut miner).await;
    // Sixteen hashes a share each ten seconds: whatever machine this is, it is faster.
    for find in search(&first, 32) {
        assert!(miner.submit(&first, find));
    }
    let harder = until(&mut miner, |news| match news {
        ClientNews::Judged { answer, .. } => {
            assert_eq!(answer, Ok(()));
            None
        }
        ClientNews::Task(task) => Some(task),
        _ => None,
    });
    let harder = harder.await;
    // The same work, in a job of its own; the old one keeps its target.
    assert!(harder.target < first.target && !harder.job.clean);
    for task in [&first, &harder] {
        let find = search(task, 40)[39];
        assert!(miner.submit(task, find));
        assert_eq!(until_judged(&mut miner).await.1, Ok(()));
    }
}

async fn stranger(to: SocketAddr) -> BufReader<TcpStream> {
    BufReader::new(TcpStream::connect(to).await.unwrap())
}

async fn greeted(to: SocketAddr, key: &str) -> BufReader<TcpStream> {
    let mut stream = stranger(to).await;
    let greeting = format!(
        "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}}\n\
         {{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"{key}\",\"x\"]}}\n"
    );
    stream.write_all(greeting.as_bytes()).await.unwrap();
    stream
}

/// Small enough to be reached within a test.
fn tight() -> ServerOptions {
    let mut tight = options(BITS);
    // Far enough apart that a machine with too much to do does not mix them up.
    tight.greeting_max = Duration::from_secs(2);
    tight.stall_max = Duration::from_millis(400);
    tight.idle_max = Duration::from_secs(4);
    tight.bytes = (1_000, 1_100_000);
    tight.lines = (10, 100);
    tight.refusals = (1, 8);
    tight
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_miners_end_their_own_connection_by_name_while_another_mines_on() {
    let mut patient = tight();
    patient.greeting_max = PATIENCE;
    patient.stall_max = PATIENCE;
    patient.idle_max = PATIENCE;
    let (server, mut credits) = server(patient).await;
    let mut news = server.news();
    let mut honest = StratumClient::start(client_of(&server, KEY));
    let task = until_task(&mut honest).await;
    let mut finds = search(&task, 8).into_iter();

    let garbage = |error| ConnectionEnd::Garbage(error);
    let too_long = garbage(StratumError::LineTooLong { max: 4_096 });
    let share = format!(
        "{{\"id\":1,\"method\":\"mining.submit\",\"params\":[\"{OTHER}\",\"00000001\",\
         \"00000000\",\"00000000\",\"00000000\"]}}\n"
    );
    let ping = "{\"id\":1,\"method\":\"mining.ping\",\"params\":[]}\n";
    for (hostile, is_greeted, why) in [
        ("x".repeat(100_000), false, too_long),
        ("[".repeat(1_000_000), true, too_long),
        (format!("{}\n", "[".repeat(4_096)), true, garbage(StratumError::NotJson)),
        ("GET / HTTP/1.1\r\n\r\n".into(), false, garbage(StratumError::NotJson)),
        ("{}\n".into(), true, garbage(StratumError::NotAMessage)),
        // Before they are authorized, and of jobs that they were never given.
        (share.repeat(20), false, ConnectionEnd::Refused),
        (share.repeat(20), true, ConnectionEnd::Refused),
        (ping.repeat(1_000), true, ConnectionEnd::Flood),
        ("\n".repeat(2_000_000), true, ConnectionEnd::Flood),
    ] {
        let mut stream = if is_greeted {
            greeted(server.address(), OTHER).await
        } else {
            stranger(server.address()).await
        };
        let reading = tokio::spawn(async move {
            let _reset = stream.write_all(hostile.as_bytes()).await;
            let _reset = stream.read_to_end(&mut Vec::new()).await;
        });
        assert_eq!(down(&mut news).await, why);
        reading.await.unwrap();
        if let Some(find) = finds.next() {
            assert!(honest.submit(&task, find));
            assert_eq!(until_judged(&mut honest).await.1, Ok(()));
            assert_eq!(credits.next().await.unwrap().worker.key.to_string(), KEY);
        }
    }
    // Nothing was credited but the honest one's.
    assert!(timeout(Duration::from_millis(50), credits.next()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_trickle_and_deaf_miners_end_in_time() {
    let (server, _credits) = server(tight()).await;
    let mut news = server.news();
    let _silent = stranger(server.address()).await;
    assert_eq!(down(&mut news).await, ConnectionEnd::NotGreeted);
    let _quiet = greeted(server.address(), KEY).await;
    assert_eq!(down(&mut news).await, ConnectionEnd::Silent);
    // A byte now and then of a line that does not end.
    let mut trickle = greeted(server.address(), KEY).await;
    let dripping = tokio::spawn(async move {
        while trickle.write_all(b"[").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(down(&mut news).await, ConnectionEnd::Unfinished);
    dripping.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_miner_whose_reads_all_end_within_a_line_stays() {
    let mut options = options(BITS);
    // Far more than a busy machine lets a miner wait between two of its writes.
    options.stall_max = Duration::from_secs(8);
    let (server, _credits) = server(options).await;
    let mut news = server.news();
    let mut busy = greeted(server.address(), KEY).await;
    let talking = tokio::spawn(async move {
        // The rest of the line before, and the beginning of the next.
        let cut = "\"method\":\"mining.ping\",\"params\":[]}\n{\"id\":1,";
        busy.write_all(b"{\"id\":1,").await.unwrap();
        for _ in 0..100 {
            busy.write_all(cut.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        busy
    });
    let ended = async { while !matches!(news.next().await, Some(ServerNews::Down { .. })) {} };
    assert!(timeout(Duration::from_secs(10), ended).await.is_err(), "an honest miner was cut");
    drop(talking.await.unwrap());
}

#[tokio::test]
async fn miner_is_not_silent_while_whoever_pays_keeps_it_waiting() {
    let mut options = options(4);
    options.idle_max = Duration::from_secs(8);
    let (server, mut credits) = server(options).await;
    let mut miner = StratumClient::start(client_of(&server, KEY));
    let task = until_task(&mut miner).await;
    let finds = search(&task, 1_024 + 16);
    // So many wait for whoever pays; then the miner waits, and is not read.
    let (first, more) = finds.split_at(1_024);
    for lot in first.chunks(16) {
        for find in lot {
            assert!(miner.submit(&task, *find));
        }
        for _ in lot {
            assert_eq!(until_judged(&mut miner).await.1, Ok(()));
        }
    }
    for find in more {
        assert!(miner.submit(&task, *find));
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_secs(9)).await;
    for find in &finds {
        let credit = timeout(PATIENCE, credits.next()).await.unwrap().unwrap();
        assert_eq!(credit.good.share().nonce, find.nonce);
    }
    for _ in more {
        assert_eq!(until_judged(&mut miner).await.1, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn miner_that_does_not_read_its_jobs_is_let_go() {
    let mut patient = options(BITS);
    patient.stall_max = Duration::from_millis(400);
    let (server, _credits) = server(patient).await;
    let mut news = server.news();
    let deaf = greeted(server.address(), KEY).await;
    // A coinbase of 30 kB, again and again, into a socket that nobody empties.
    let long = vec![7; 30_000];
    let publishing = async {
        loop {
            server.publish(job(1, &long)).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = publishing => {}
        why = down(&mut news) => assert_eq!(why, ConnectionEnd::Slow),
    }
    drop(deaf);
}

#[tokio::test]
async fn miners_beyond_the_limit_wait_for_a_place() {
    let mut few = options(BITS);
    few.connections_max = 1;
    let (server, _credits) = server(few).await;
    let mut news = server.news();
    let mut first = greeted(server.address(), KEY).await;
    let mut line = String::new();
    first.read_line(&mut line).await.unwrap();
    let mut second = greeted(server.address(), OTHER).await;
    let mut waiting = String::new();
    let waits = timeout(Duration::from_millis(100), second.read_line(&mut waiting)).await;
    assert!(waits.is_err(), "{waiting}");
    drop(first);
    let why = down(&mut news).await;
    assert!(matches!(why, ConnectionEnd::Closed | ConnectionEnd::Broken(_)), "{why}");
    timeout(PATIENCE, second.read_line(&mut waiting)).await.unwrap().unwrap();
}

#[tokio::test]
async fn server_and_client_keep_to_loopback_unless_they_are_told_otherwise() {
    let outside: SocketAddr = ([192, 0, 2, 1], 3_333).into();
    let refused = StratumServer::start(ServerOptions::new(outside)).await.unwrap_err();
    assert!(refused.to_string().contains("not a loopback address"), "{refused}");
    let mut options = ClientOptions::new("192.0.2.1", 3_333, KEY);
    options.failures_max = 0;
    let mut client = StratumClient::start(options);
    let why = until(&mut client, |news| match news {
        ClientNews::Down(why) => Some(why),
        _ => None,
    });
    let denied = ConnectionEnd::Broken(std::io::ErrorKind::PermissionDenied);
    assert_eq!(why.await, denied);
    assert!(matches!(client.next().await, Some(ClientNews::GaveUp)));
    assert!(client.next().await.is_none());
}

/// A pool that says what the test wants to each connection, behind a greeting.
async fn lying_pool(lines: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let lines = lines.clone();
            tokio::spawn(async move {
                let greeting = "{\"id\":2,\"result\":[[],\"aabb\",4],\"error\":null}\n\
                                {\"id\":3,\"result\":true,\"error\":null}\n";
                let _gone = stream.write_all(greeting.as_bytes()).await;
                let _gone = stream.write_all(lines.as_bytes()).await;
                let _gone = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lying_pools_are_left_by_name_and_given_up_in_the_end() {
    let hash = "0".repeat(64);
    let notify = |prefix: &str, branches: &str| {
        format!(
            "{{\"method\":\"mining.notify\",\"params\":[\"j\",\"{hash}\",\"{prefix}\",\"\",\
             [{branches}],\"20000000\",\"1d00ffff\",\"65538800\",true]}}\n"
        )
    };
    let difficulty =
        |number| format!("{{\"method\":\"mining.set_difficulty\",\"params\":[{number}]}}\n");
    let branches = |count| vec![format!("\"{hash}\""); count].join(",");
    let garbage = |error| ConnectionEnd::Garbage(error);
    let of_number = |error| garbage(StratumError::Difficulty(error));
    let answer = "{\"id\":99,\"result\":true,\"error\":null}\n";
    let reconnect =
        |host: &str| format!("{{\"method\":\"client.reconnect\",\"params\":[\"{host}\",0,0]}}\n");
    for (lines, why) in [
        (difficulty("0"), of_number(DifficultyError::Zero)),
        (difficulty("-5"), of_number(DifficultyError::Negative)),
        (difficulty("1e400"), of_number(DifficultyError::TooHard)),
        (difficulty("1e-400"), of_number(DifficultyError::TooEasy)),
        (notify("abc", ""), garbage(StratumError::NotHex { what: "coinbase" })),
        (notify("", &branches(21)), garbage(StratumError::TooMany { what: "branches", max: 20 })),
        (notify("", &branches(10_000)), garbage(StratumError::LineTooLong { max: 81_920 })),
        ("[".repeat(1_000_000), garbage(StratumError::LineTooLong { max: 81_920 })),
        ("\n".repeat(3_000_000), ConnectionEnd::Flood),
        (answer.repeat(100), ConnectionEnd::Refused),
        (reconnect("evil.example"), ConnectionEnd::SentElsewhere),
        // A loop of reconnects is a failure each time.
        (reconnect(""), ConnectionEnd::SentAway),
    ] {
        let port = lying_pool(lines).await;
        let mut options = ClientOptions::new("127.0.0.1", port, KEY);
        options.retry_after = Duration::from_millis(1);
        options.failures_max = 2;
        let mut client = StratumClient::start(options);
        let mut ends = Vec::new();
        let given_up = async {
            loop {
                match client.next().await {
                    Some(ClientNews::Down(why)) => ends.push(why),
                    Some(ClientNews::GaveUp) => break,
                    Some(_) => {}
                    None => panic!("ended without a word"),
                }
            }
        };
        timeout(PATIENCE, given_up).await.expect("it never gives up");
        assert_eq!(ends, [why; 3]);
    }
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_no_more() {
    let mut few = options(BITS);
    few.connections_of_address_max = 2;
    let (server, _credits) = server(few).await;
    let mut news = server.news();
    let first = TcpStream::connect(server.address()).await.unwrap();
    let mut second = TcpStream::connect(server.address()).await.unwrap();
    let mut third = TcpStream::connect(server.address()).await.unwrap();
    assert_eq!(down(&mut news).await, ConnectionEnd::Crowded);
    assert_eq!(third.read(&mut [0; 16]).await.unwrap_or(0), 0);
    // Those before it are served, and a place that is left is free again.
    second.write_all(b"{\"id\":1,\"method\":\"mining.ping\",\"params\":[]}\n").await.unwrap();
    let mut line = String::new();
    BufReader::new(&mut second).read_line(&mut line).await.unwrap();
    assert!(line.contains("true"), "{line}");
    drop(first);
    assert_eq!(down(&mut news).await, ConnectionEnd::Closed);
    let mut miner = StratumClient::start(client_of(&server, KEY));
    until_task(&mut miner).await;
}
