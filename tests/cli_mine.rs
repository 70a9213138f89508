//! `mine` as users drive it, against a Stratum server and against pools that are none.

mod cli_support;
mod stratum_support;

use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cli_support::{BIN, bad, text};
use millstream::rt::stratum::{Credits, StratumServer};
use millstream::units::Work;
use stratum_support::{KEY, PATIENCE, job, options, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// 2^16 hashes a share: some hundred shares a second at the most.
const BITS: u8 = 16;

/// A miner that runs until it ends by itself.
async fn mine(pool: &str, more: &[&str]) -> Output {
    let args = ["mine", "--pool", pool, "--user", KEY];
    let mut command = Command::new(BIN);
    command.args(args).args(more).stdin(Stdio::null());
    let ending = tokio::task::spawn_blocking(move || command.output().unwrap());
    timeout(PATIENCE, ending).await.expect("the miner does not end").unwrap()
}

fn address(server: &StratumServer) -> String {
    server.address().to_string()
}

/// The numbers of the line that a miner ends with: hashes, accepted, refused, lost.
fn sum(printed: &str) -> [u64; 4] {
    let line = printed.lines().last().unwrap();
    let numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    numbers.collect::<Vec<u64>>().try_into().unwrap_or_else(|_| panic!("{printed}"))
}

/// Counts what is credited, as it comes: a server whose credits nobody takes waits with everything.
fn counted(mut credits: Credits) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&count);
    tokio::spawn(async move {
        while let Some(credit) = credits.next().await {
            assert_eq!(credit.worker.to_string(), KEY);
            assert_eq!(credit.good.work(), Work::new(1 << BITS));
            counting.fetch_add(1, Ordering::SeqCst);
        }
    });
    count
}

/// At least so many are credited, now or soon.
async fn credits_reach(count: &AtomicU64, accepted: u64) {
    let reached = async {
        while count.load(Ordering::SeqCst) < accepted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, reached).await.expect("a share was accepted and not credited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn miner_ends_after_its_shares_and_all_of_them_are_credited() {
    let (server, credits) = server(options(BITS)).await;
    let credited = counted(credits);
    let done = mine(&address(&server), &["--shares", "20", "--threads", "2"]).await;
    let printed = text(&done.stdout);
    assert!(done.status.success(), "{printed}{}", text(&done.stderr));
    let [hashes, accepted, refused, _] = sum(&printed);
    assert!(accepted >= 20 && refused == 0, "{printed}");
    // Half of what is expected: with 20 shares it is less once in a million tests.
    assert!(hashes >= 10 << BITS, "{printed}");
    // Those that were answered when it had enough may be more.
    credits_reach(&credited, accepted).await;
    assert!(printed.contains(&format!("{} hashes a share", 1 << BITS)), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn miner_goes_on_after_a_new_tip_and_ends_in_time() {
    let (server, credits) = server(options(BITS)).await;
    let credited = counted(credits);
    let mining = async { mine(&address(&server), &["--seconds", "3"]).await };
    let tips = async {
        for tip in 2..6 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.publish(job(tip, b"before")).unwrap();
        }
    };
    let (done, ()) = tokio::join!(mining, tips);
    let printed = text(&done.stdout);
    assert!(done.status.success(), "{printed}{}", text(&done.stderr));
    assert_eq!(printed.matches("a job for a new tip").count(), 5, "{printed}");
    let [_, accepted, refused, _] = sum(&printed);
    // A share may cross a new tip on its way, and is late then; nothing else is wrong with one.
    let late = printed.matches("refused, code 21").count();
    assert_eq!(refused, u64::try_from(late).unwrap(), "{printed}");
    assert!(accepted > 0, "{printed}");
    credits_reach(&credited, accepted).await;
}

/// A pool that says this to each connection.
async fn saying(lines: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _gone = stream.write_all(lines.as_bytes()).await;
                let _gone = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_that_are_none_are_left_soon_with_one_sentence_that_says_why() {
    let subscribed = "{\"id\":2,\"result\":[[],\"aabb\",4],\"error\":null}\n";
    let no_worker = "{\"id\":3,\"result\":null,\"error\":[24,\"Unauthorized worker\",null]}\n";
    let refusing: &'static str = format!("{subscribed}{no_worker}").leak();
    for (lines, why) in
        [("HTTP/1.1 400 Bad Request\r\n\r\n", "garbage"), (refusing, "with code 24")]
    {
        let pool = saying(lines).await;
        let done = mine(&pool, &[]).await;
        let stderr = text(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{stderr}");
        let start = format!("millstream: pool {pool} was left: ");
        assert!(stderr.starts_with(&start) && stderr.contains(why), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert_eq!(sum(&text(&done.stdout))[1..], [0, 0, 0]);
    }
}

#[test]
fn pool_that_cannot_be_one_is_refused_at_once() {
    for pool in ["nowhere", "127.0.0.1:port", "no.such.host.invalid:3333"] {
        let refused = bad(&["mine", "--pool", pool, "--user", KEY]);
        assert!(refused.starts_with(&format!("{pool} is no pool")), "{refused}");
    }
}
