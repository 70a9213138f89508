//! A real miner on our Stratum server: every share that it finds is accepted and credited.
//!
//! The miner is pooler's `minerd` or another program that takes the same arguments (`-a sha256d -o
//! URL -u USER -p PASSWORD -t THREADS`) and prints `accepted: GOOD/ALL`. It is not a part of this
//! project: `MILLSTREAM_MINERD=/path/to/minerd cargo test --test peers_minerd -- --nocapture`, or
//! have it in the PATH. Without one the test says so in capitals.

mod stratum_support;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millstream::rt::stratum::{Credit, Credits, ServerNews, StratumServer};
use millstream::stratum::message::Notice;
use millstream::units::{Work, WorkBits};
use stratum_support::{KEY, job, options, server};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

/// Shares that must be accepted, all of them.
const SHARES: usize = 40;
/// 2^18 hashes a share: a fiftieth of a second of one core, of which the miner takes only what nobody
/// else wants.
const BITS: u8 = 18;
/// A slow machine needs seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// The program, if there is one.
fn minerd() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("MILLSTREAM_MINERD") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "MILLSTREAM_MINERD={} is no file", path.display());
        return Some(path);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("minerd")).find(|path| path.is_file())
}

/// A miner with one thread, killed when it is dropped.
struct Miner {
    child: Child,
    lines: UnboundedReceiver<String>,
}

impl Drop for Miner {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

impl Miner {
    fn start(program: &PathBuf, server: &StratumServer) -> Self {
        let mut child = Command::new(program)
            .args(["-a", "sha256d", "-t", "1", "-R", "1", "-p", "x", "-o"])
            .arg(format!("stratum+tcp://{}", server.address()))
            .args(["-u", &format!("{KEY}.minerd")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the miner does not start");
        let stderr = child.stderr.take().expect("it was piped");
        let (send, lines) = unbounded_channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stderr).lines();
            lines.map_while(Result::ok).all(|line| send.send(line).is_ok())
        });
        Self { child, lines }
    }

    /// Good and all shares, as the miner counts them, after its next answer.
    async fn counted(&mut self) -> (usize, usize) {
        loop {
            let line = timeout(PATIENCE, self.lines.recv()).await.expect("the miner is mute");
            let line = line.expect("the miner has ended");
            let Some((_, counts)) = line.split_once("accepted: ") else { continue };
            let counts = counts.split(' ').next().unwrap();
            let (good, all) = counts.split_once('/').unwrap();
            return (good.parse().unwrap(), all.parse().unwrap());
        }
    }
}

async fn credit(credits: &mut Credits) -> Credit {
    timeout(PATIENCE, credits.next()).await.expect("no credit").expect("the server has ended")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_share_of_a_real_miner_is_accepted_and_credited() {
    let Some(program) = minerd() else {
        println!("SKIPPED: NO MINERD. SET MILLSTREAM_MINERD TO ITS PATH TO RUN THIS TEST.");
        return;
    };
    let (server, mut credits) = server(options(BITS)).await;
    let mut miner = Miner::start(&program, &server);
    for share in 1..=SHARES {
        assert_eq!(miner.counted().await, (share, share), "a share was refused");
        let credit = credit(&mut credits).await;
        assert_eq!(credit.good.work(), Work::new(1 << BITS));
        assert_eq!(credit.worker.to_string(), format!("{KEY}.minerd"));
        if share % 10 == 0 {
            // New work on the same tip: what is on its way of the old one still counts.
            server.publish(job(1, &share.to_be_bytes())).unwrap();
        }
    }
    println!("{SHARES} of {SHARES} shares of {} were accepted", program.display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_miner_follows_difficulty_tip_and_a_lost_connection() {
    let Some(program) = minerd() else {
        println!("SKIPPED: NO MINERD. SET MILLSTREAM_MINERD TO ITS PATH TO RUN THIS TEST.");
        return;
    };
    // From 2^14 hashes a share upwards: minerd finds hundreds a second at first.
    let mut floating = options(BITS);
    let bits = |bits| WorkBits::new(bits).unwrap();
    floating.work = (bits(14), bits(22), bits(14));
    let (server, mut credits) = server(floating).await;
    let _miner = Miner::start(&program, &server);
    let first = credit(&mut credits).await;
    assert_eq!(first.good.work(), Work::new(1 << 14));
    for _ in 0..100 {
        credit(&mut credits).await;
    }
    // A new tip: the miner goes on there, at the difficulty that it was told of meanwhile.
    server.publish(job(2, b"next")).unwrap();
    let next = of_tip(&mut credits, 2).await;
    assert!(next.good.work() > first.good.work(), "{}", next.good.work());
    // Sent away, it comes back: to the session that it had if that was cut by then, which is not
    // waited for, else to a new one.
    let (host, port) = (Some("127.0.0.1".into()), Some(server.address().port()));
    let mut news = server.news();
    assert!(server.tell(Notice::Reconnect { host, port, wait_s: 0 }));
    while !matches!(news.next().await, Some(ServerNews::Up { .. })) {}
    server.publish(job(3, b"and next")).unwrap();
    let back = of_tip(&mut credits, 3).await;
    println!("shares of {} to {}", first.good.work(), back.good.work());
}

/// The first credit of a tip.
async fn of_tip(credits: &mut Credits, tip: u8) -> Credit {
    let found = async {
        loop {
            let credit = credit(credits).await;
            if credit.job.pool().head().previous == [tip; 32] {
                return credit;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("no share of the new tip")
}
