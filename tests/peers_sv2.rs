//! Our miners on the reference pool of Stratum V2, and through its translator: every share that
//! they find is accepted.
//!
//! Pool and translator are no part of this project. They are built from their packages, which takes
//! some minutes, and need no node: a small template provider is here.
//!
//! ```text
//! apt-get install capnproto libcapnp-dev
//! cargo install --locked --root PEERS pool_sv2@0.7.0 translator_sv2@0.6.0
//! MILLSTREAM_POOL_SV2=PEERS/bin/pool_sv2 MILLSTREAM_TRANSLATOR_SV2=PEERS/bin/translator_sv2 \
//!     cargo test --features sv2 --test peers_sv2 -- --nocapture
//! ```
//!
//! Without them each test says in capitals that it is skipped.

mod sv2_support;

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget};
use millstream::chain::regtest::Regtest;
use millstream::chain::template::Template;
use millstream::miner::job::TimeRoll;
use millstream::miner::kernel::Kernel;
use millstream::miner::{Found, Job, Search};
use millstream::rt::stratum::client::{ClientNews, ClientOptions, StratumClient};
use millstream::rt::sv2::{Sv2Client, Sv2Job, Sv2News};
use millstream::stratum::client::{Find, Task};
use millstream::units::{Height, JobId, Sat, Target, UtcSeconds, WorkBits};
use sv2_support::{BATCH, HASHES_PER_SECOND, Peer, Provider, program, public};
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};

/// Shares that must be accepted, all of them.
const SHARES: u32 = 40;
/// A slow machine needs seconds.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a peer that is not ready is left alone.
const REST: Duration = Duration::from_millis(200);

/// Seconds since 1970: the peers have the machine's clock.
#[expect(clippy::disallowed_methods, reason = "the peers have the machine's clock")]
fn now() -> UtcSeconds {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UtcSeconds::new(now.as_secs()).unwrap()
}

/// A template of difficulty 1, where no share here is a block.
fn hard() -> Template {
    let previous = BlockHash::from_byte_array([7; 32]);
    let bits = CompactTarget::from_consensus(0x1d00_ffff);
    let (height, value) = (Height::new(800_000).unwrap(), Sat::new(312_500_000).unwrap());
    Template::empty(previous, height, bits, now(), value)
}

/// A channel of the pool, once it is there and has a template.
async fn connect(pool: &Peer) -> (Sv2Client, Receiver<Sv2News>) {
    let easy = Target::of_work_bits(WorkBits::new(1).unwrap());
    let rate = f32::from(u16::try_from(HASHES_PER_SECOND).unwrap());
    let connecting = async {
        loop {
            let key = Some(public());
            match Sv2Client::connect(pool.address, key, "roof", easy, rate).await {
                Ok(connected) => return connected,
                Err(_) => sleep(REST).await,
            }
        }
    };
    timeout(PATIENCE, connecting).await.expect("the pool takes no miner")
}

async fn news(from: &mut Receiver<Sv2News>) -> Sv2News {
    timeout(PATIENCE, from.recv()).await.expect("the pool is mute").expect("the client has ended")
}

async fn job(from: &mut Receiver<Sv2News>) -> Sv2Job {
    match news(from).await {
        Sv2News::Job(job) => job,
        other => panic!("{other:?}"),
    }
}

/// The first `count` shares of a job.
fn search(job: &Sv2Job, count: usize) -> Vec<Found> {
    let job = Job::new(job.parts(UtcSeconds::MAX)).unwrap();
    let (mut search, mut kernel, mut found) = (Search::new(), Kernel::best(), Vec::new());
    search.take(&job).unwrap();
    while found.len() < count {
        let _step = search.step(&job, now(), 65_536, &mut kernel, &mut |it| found.push(it));
    }
    found.truncate(count);
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_share_of_our_v2_miner_is_accepted_by_the_reference_pool() {
    let Some(program) = program("MILLSTREAM_POOL_SV2") else { return };
    let mut provider = Provider::start(hard()).await;
    let pool = Peer::pool(&program, &provider);
    let (client, mut said) = connect(&pool).await;
    let first = job(&mut said).await;
    for found in search(&first, usize::try_from(SHARES).unwrap()) {
        client.submit(found).await.unwrap();
    }
    let mut accepted = 0;
    while accepted < SHARES {
        match news(&mut said).await {
            Sv2News::Accepted { count, .. } => accepted += count,
            // The pool looks at its difficulties once a minute.
            Sv2News::Job(_) => {}
            other => panic!("after {accepted} shares: {other:?}"),
        }
    }
    assert_eq!(accepted, SHARES, "in batches of {BATCH}");
    println!("{SHARES} of {SHARES} shares of {} were accepted", first.target.work());
    // On another chain every share is a block; it comes back through the pool, and extends it.
    let mut chain = Regtest::unchecked_scripts();
    for height in 1..=2 {
        provider.publish(chain.block_template());
        let next = loop {
            let next = job(&mut said).await;
            if next.previous == chain.tip().hash.to_byte_array() {
                break next;
            }
        };
        client.submit(search(&next, 1)[0]).await.unwrap();
        assert!(matches!(news(&mut said).await, Sv2News::Accepted { .. }));
        let solution = timeout(PATIENCE, provider.solutions.recv()).await.unwrap().unwrap();
        let tip = chain.connect_block(&solution.block()).unwrap();
        assert_eq!(tip.height.to_u32(), height);
    }
    println!("2 of 2 blocks extended the chain");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_share_of_our_v1_miner_is_accepted_through_the_translator() {
    let Some(pool) = program("MILLSTREAM_POOL_SV2") else { return };
    let Some(translator) = program("MILLSTREAM_TRANSLATOR_SV2") else { return };
    let provider = Provider::start(hard()).await;
    let pool = Peer::pool(&pool, &provider);
    // The translator gives up on a pool that is not ready.
    drop(connect(&pool).await);
    let translator = Peer::translator(&translator, &pool);
    let address = translator.address;
    let mut options = ClientOptions::new(&address.ip().to_string(), address.port(), "roof.v1");
    options.retry_after = REST;
    let mut miner = StratumClient::start(options);
    let (task, shares) = loop {
        match v1_news(&mut miner).await {
            ClientNews::Task(task) => break (Arc::clone(&task), finds(&task)),
            // Until the translator listens; and what the client says before its first task.
            ClientNews::Down(_) | ClientNews::VersionMask(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let count = shares.len();
    for find in shares {
        assert!(miner.submit(&task, find));
        loop {
            match v1_news(&mut miner).await {
                ClientNews::Judged { answer: Ok(()), .. } => break,
                // The same work at a later time.
                ClientNews::Task(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    println!("{SHARES} of {SHARES} shares were accepted by the translator");
    // The translator answers by itself: what the pool made of them, the pool says.
    let taken = async {
        loop {
            let silent = pool.count(&["SubmitSharesExtended: valid share"]);
            let told = pool.count(&["SubmitSharesExtended: SubmitSharesSuccess"]);
            if silent + told >= count {
                return;
            }
            sleep(REST).await;
        }
    };
    timeout(PATIENCE, taken).await.expect("the pool has not taken all shares");
    assert_eq!(pool.count(&["SubmitSharesError"]), 0);
    println!("{SHARES} of {SHARES} shares were accepted by the pool behind it");
}

async fn v1_news(miner: &mut StratumClient) -> ClientNews {
    let said = timeout(PATIENCE, miner.next()).await.expect("the translator is mute");
    said.expect("the client has ended")
}

/// As many shares of one task as are wanted.
fn finds(task: &Task) -> Vec<Find> {
    let id = JobId::new(1).unwrap();
    let job = task.job(id, TimeRoll::Free(0), UtcSeconds::MAX).unwrap();
    let (mut search, mut kernel, mut finds) = (Search::new(), Kernel::best(), Vec::new());
    search.take(&job).unwrap();
    let count = usize::try_from(SHARES).unwrap();
    while finds.len() < count {
        let mut found = |found| finds.push(Find::from(found));
        let _step = search.step(&job, now(), 65_536, &mut kernel, &mut found);
    }
    finds.truncate(count);
    finds
}
