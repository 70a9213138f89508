//! A Stratum server on loopback with a job that anybody can search, and a miner of our own.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::sync::Arc;
use std::time::Duration;

use millstream::miner::Search;
use millstream::miner::job::TimeRoll;
use millstream::miner::kernel::Kernel;
use millstream::rt::stratum::client::{ClientNews, ClientOptions, StratumClient};
use millstream::rt::stratum::{Credits, Job, ServerOptions, StratumServer};
use millstream::shares::Head;
use millstream::stratum::client::{Find, Task};
use millstream::units::{JobId, Seconds, UtcSeconds, WorkBits};

/// The generator point's x: a key that everybody knows.
pub(crate) const KEY: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
/// Twice that.
pub(crate) const OTHER: &str = "c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";
/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Loopback, any port; shares of 2^`bits` hashes, always.
pub(crate) fn options(bits: u8) -> ServerOptions {
    let mut options = ServerOptions::new(([127, 0, 0, 1], 0).into());
    let bits = WorkBits::new(bits).unwrap();
    options.work = (bits, bits, bits);
    options.extranonce2_size = 4;
    // A test finds in a second what a miner finds in minutes.
    options.desk.shares_per_second = 100_000;
    options.desk.burst = 100_000;
    options.desk.shares_per_tip = 100_000;
    options.lines = (100_000, 100_000);
    options.bytes = (100_000_000, 100_000_000);
    options
}

/// A job of difficulty 1 on the block `tip`, with coinbases of this text.
pub(crate) fn job(tip: u8, text: &[u8]) -> Job {
    let start = u32::try_from(now().to_u64()).unwrap();
    let head = Head {
        version: 0x2000_0000,
        version_mask: Head::MASK_MAX,
        previous: [tip; 32],
        bits: 0x1d00_ffff,
        min_time: start - 3_600,
        start,
        roll_max: Seconds::new(7_200).unwrap(),
    };
    Job::new(head, text, b"behind", &[[3; 32], [4; 32]], 4).unwrap()
}

/// The machine's time: the server checks a share's time against it.
#[expect(clippy::disallowed_methods, reason = "the server has the machine's clock")]
pub(crate) fn now() -> UtcSeconds {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UtcSeconds::new(now.as_secs()).unwrap()
}

pub(crate) async fn server(options: ServerOptions) -> (StratumServer, Credits) {
    let (server, credits) = StratumServer::start(options).await.unwrap();
    server.publish(job(1, b"before")).unwrap();
    (server, credits)
}

pub(crate) fn client_of(server: &StratumServer, user: &str) -> ClientOptions {
    let mut options = ClientOptions::new("127.0.0.1", server.address().port(), user);
    options.retry_after = Duration::from_millis(10);
    options
}

/// The next news that is what the test waits for.
pub(crate) async fn until<T>(
    client: &mut StratumClient,
    mut wanted: impl FnMut(ClientNews) -> Option<T>,
) -> T {
    let found = async {
        loop {
            let news = client.next().await.expect("the client has ended");
            if let Some(found) = wanted(news) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("nothing came")
}

pub(crate) async fn until_task(client: &mut StratumClient) -> Arc<Task> {
    until(client, |news| match news {
        ClientNews::Task(task) => Some(task),
        _ => None,
    })
    .await
}

pub(crate) async fn until_judged(client: &mut StratumClient) -> (Find, Result<(), i32>) {
    until(client, |news| match news {
        ClientNews::Judged { find, answer } => {
            Some((find, answer.map_err(|refusal| refusal.code.to_i32())))
        }
        _ => None,
    })
    .await
}

/// The first `count` shares of a task.
pub(crate) fn search(task: &Task, count: usize) -> Vec<Find> {
    let expires = UtcSeconds::MAX;
    let job = task.job(JobId::new(1).unwrap(), TimeRoll::Free(0), expires).unwrap();
    let (mut search, mut kernel, mut finds) = (Search::new(), Kernel::best(), Vec::new());
    search.take(&job).unwrap();
    while finds.len() < count {
        let mut found = |found| finds.push(Find::from(found));
        let _step = search.step(&job, now(), 4_096, &mut kernel, &mut found);
    }
    finds.truncate(count);
    finds
}
