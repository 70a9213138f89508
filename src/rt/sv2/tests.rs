//! Both ends against each other, and each against hostile peers.

mod channels;
mod hostile;

use std::net::Ipv4Addr;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, ScriptBuf};
use mining_sv2 as mining;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::link::{FRAME_BYTES_MAX, Frames, Writer, initiate, respond};
use super::*;
use crate::chain::regtest::Regtest;
use crate::chain::template::{Layout, Template};
use crate::miner::kernel::Kernel;
use crate::miner::{Found, Job, Search};
use crate::rt::clock::Clock;
use crate::units::{Height, Sat, Target, UtcSeconds, Work};

const PATIENCE: Duration = Duration::from_secs(60);
/// The generator's x coordinate: a key.
const USER: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798.roof";

fn bits(bits: u8) -> WorkBits {
    WorkBits::new(bits).unwrap()
}

fn authority() -> Authority {
    Authority::new(&[5; 32]).unwrap()
}

async fn server(work: u8) -> (Sv2Server, Receiver<Credit>) {
    let mut options = Sv2Options::new((Ipv4Addr::LOCALHOST, 0).into(), authority());
    options.work = (bits(work), bits(work), bits(work));
    Sv2Server::start(options).await.unwrap()
}

async fn client(server: &Sv2Server) -> (Sv2Client, Receiver<Sv2News>) {
    let easy = Target::of_work_bits(bits(1));
    let key = Some(authority().public());
    Sv2Client::connect(server.address(), key, USER, easy, 1e6).await.unwrap()
}

fn layout() -> Layout {
    Layout::new(ScriptBuf::from_bytes(vec![0x51]))
}

/// A plan on a tip of this name, at difficulty 1, as of now.
fn plan(tip: u8) -> Arc<BlockPlan> {
    let previous = BlockHash::from_byte_array([tip; 32]);
    let height = Height::new(800_000).unwrap();
    let now = Clock::new().time();
    let value = Sat::new(312_500_000).unwrap();
    let hard = CompactTarget::from_consensus(0x1d00_ffff);
    let template = Template::empty(previous, height, hard, now, value);
    Arc::new(BlockPlan::new(template, &layout()).unwrap())
}

async fn news(from: &mut Receiver<Sv2News>) -> Sv2News {
    timeout(PATIENCE, from.recv()).await.unwrap().unwrap()
}

async fn job(from: &mut Receiver<Sv2News>) -> Sv2Job {
    match news(from).await {
        Sv2News::Job(job) => job,
        other => panic!("{other:?}"),
    }
}

/// The first shares of a job.
fn shares(job: &Sv2Job, count: usize) -> Vec<Found> {
    let job = Job::new(job.parts(UtcSeconds::MAX)).unwrap();
    let (mut search, mut kernel, mut found) = (Search::new(), Kernel::best(), Vec::new());
    let _start = search.take(&job).unwrap();
    while found.len() < count {
        let now = UtcSeconds::new(job.parts().time.into()).unwrap();
        let _step = search.step(&job, now, 4_096, &mut kernel, &mut |it| found.push(it));
    }
    found.truncate(count);
    found
}

#[tokio::test]
async fn shares_of_a_miner_are_all_accepted_and_credited_to_the_last_hash() {
    let (server, mut credits) = server(8).await;
    let (client, mut said) = client(&server).await;
    server.publish(plan(1)).unwrap();
    let first = job(&mut said).await;
    assert_eq!(first.target, Target::of_work_bits(bits(8)));
    for found in shares(&first, 30) {
        client.submit(found).await.unwrap();
    }
    let mut accepted = 0;
    while accepted < 30 {
        match news(&mut said).await {
            Sv2News::Accepted { count, .. } => accepted += count,
            other => panic!("{other:?}"),
        }
    }
    let mut work = Work::ZERO;
    for _ in 0..30 {
        let credit = timeout(PATIENCE, credits.recv()).await.unwrap().unwrap();
        assert_eq!(credit.worker.to_string(), USER);
        work = work.saturating_add(credit.good.work());
    }
    assert_eq!(work, Work::new(30 << 8));
    // The same tip again: another root, so that no header comes twice.
    server.publish(plan(1)).unwrap();
    let second = job(&mut said).await;
    assert_eq!(second.previous, first.previous);
    assert_ne!(second.root, first.root);
}

#[tokio::test]
async fn miner_that_submits_more_than_waits_before_it_listens_is_heard_and_hears_all() {
    let mut options = Sv2Options::new((Ipv4Addr::LOCALHOST, 0).into(), authority());
    options.work = (bits(8), bits(8), bits(8));
    options.desk.burst = 1_024;
    options.desk.shares_per_tip = 1_024;
    let (server, mut credits) = Sv2Server::start(options).await.unwrap();
    let (client, mut said) = client(&server).await;
    server.publish(plan(1)).unwrap();
    let job = job(&mut said).await;
    let finds = shares(&job, 400);
    let submits = async {
        for found in finds {
            client.submit(found).await.unwrap();
        }
    };
    timeout(PATIENCE, submits).await.unwrap();
    for _ in 0..400 {
        let accepted = news(&mut said).await;
        assert!(matches!(accepted, Sv2News::Accepted { .. }), "{accepted:?}");
        credits.recv().await.unwrap();
    }
}

#[tokio::test]
async fn wrong_shares_are_refused_by_name_and_credited_to_nobody() {
    let (server, mut credits) = server(8).await;
    let (client, mut said) = client(&server).await;
    server.publish(plan(1)).unwrap();
    let first = job(&mut said).await;
    let good = shares(&first, 1)[0];
    let mut low = good;
    while first.target.is_met_by(&hash_of(&first, &low)) {
        low.nonce += 1;
    }
    let mut late = good;
    late.time += 601;
    let mut foreign = good;
    foreign.version ^= 1;
    let mut unknown = good;
    unknown.job = crate::units::JobId::new(77).unwrap();
    for (found, want) in [
        (low, Some(RefusedShare::Low)),
        (foreign, Some(RefusedShare::Other)),
        (late, Some(RefusedShare::Other)),
        (unknown, Some(RefusedShare::Stale)),
        (good, None),
        (good, Some(RefusedShare::Duplicate)),
    ] {
        client.submit(found).await.unwrap();
        match (news(&mut said).await, want) {
            (Sv2News::Accepted { count: 1, .. }, None) => {}
            (Sv2News::Refused { why, .. }, Some(want)) => assert_eq!(why, want),
            other => panic!("{other:?}"),
        }
    }
    server.publish(plan(2)).unwrap();
    let next = job(&mut said).await;
    assert_eq!(next.previous, [2; 32]);
    client.submit(shares(&first, 2)[1]).await.unwrap();
    let stale = news(&mut said).await;
    assert!(matches!(stale, Sv2News::Refused { why: RefusedShare::Stale, .. }), "{stale:?}");
    credits.try_recv().unwrap();
    assert!(credits.try_recv().is_err());
}

fn hash_of(job: &Sv2Job, found: &Found) -> [u8; 32] {
    let job = Job::new(job.parts(UtcSeconds::MAX)).unwrap();
    let engine = crate::sha256::Engine::best();
    job.header_of(found, engine).unwrap().hash(engine)
}

#[tokio::test]
async fn share_that_is_a_block_extends_the_chain() {
    let mut chain = Regtest::unchecked_scripts();
    let (server, mut credits) = server(8).await;
    let (client, mut said) = client(&server).await;
    for height in 1..=3 {
        let plan = Arc::new(BlockPlan::new(chain.block_template(), &layout()).unwrap());
        server.publish(plan).unwrap();
        let job = job(&mut said).await;
        client.submit(shares(&job, 1)[0]).await.unwrap();
        let credit = timeout(PATIENCE, credits.recv()).await.unwrap().unwrap();
        assert!(credit.good.is_block());
        let tip = chain.connect_block(&credit.block().unwrap()).unwrap();
        assert_eq!(tip.height.to_u32(), height);
        assert!(matches!(news(&mut said).await, Sv2News::Accepted { .. }));
    }
}

#[tokio::test]
async fn strangers_are_refused_on_both_ends() {
    let (server, _credits) = server(8).await;
    let easy = Target::of_work_bits(bits(1));
    let other = Authority::new(&[6; 32]).unwrap().public();
    let mistaken = Sv2Client::connect(server.address(), Some(other), USER, easy, 1e6).await;
    assert!(matches!(mistaken.unwrap_err(), Sv2Error::Noise));
    for user in ["", "nobody", "79be667e.x"] {
        let nobody = Sv2Client::connect(server.address(), None, user, easy, 1e6).await;
        assert!(matches!(nobody.unwrap_err(), Sv2Error::Refused), "{user}");
    }
}

/// A miner that has shaken hands, and may say anything.
async fn stranger(server: &Sv2Server) -> (Frames, Writer) {
    let stream = TcpStream::connect(server.address()).await.unwrap();
    initiate(stream, None, PATIENCE).await.unwrap()
}

/// A pool's word that so many shares of a channel count.
async fn accepted(to: &mut Writer, channel_id: u32, count: u32) {
    let told = mining::SubmitSharesSuccess {
        channel_id,
        last_sequence_number: 1,
        new_submits_accepted_count: count,
        new_shares_sum: count.into(),
    };
    to.send(told, mining::MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, true).await.unwrap();
}

/// What ends a connection.
async fn end(frames: &mut Frames) -> Sv2Error {
    loop {
        if let Err(end) = timeout(PATIENCE, frames.next()).await.unwrap() {
            return end;
        }
    }
}

#[tokio::test]
async fn hostile_miners_cost_their_own_connection() {
    let (server, mut credits) = server(8).await;
    // No handshake at all.
    let mut garbage = TcpStream::connect(server.address()).await.unwrap();
    garbage.write_all(&[0xff; 4_096]).await.unwrap();
    let mut rest = Vec::new();
    let _closed = timeout(PATIENCE, garbage.read_to_end(&mut rest)).await.unwrap();
    // A share before the greeting, a greeting that is none, a frame above the limit.
    let (mut frames, mut to) = stranger(&server).await;
    let share = mining::SubmitSharesStandard {
        channel_id: 1,
        sequence_number: 1,
        job_id: 1,
        nonce: 1,
        ntime: 1,
        version: 1,
    };
    to.send(share.clone(), mining::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, true).await.unwrap();
    assert!(matches!(end(&mut frames).await, Sv2Error::Io(_)));
    let (mut frames, mut to) = stranger(&server).await;
    to.send(share, 0, false).await.unwrap();
    assert!(matches!(end(&mut frames).await, Sv2Error::Io(_)));
    let (mut frames, mut to) = stranger(&server).await;
    let long: binary_sv2::B064KOwned = vec![7; FRAME_BYTES_MAX].try_into().unwrap();
    to.send(long, 0, false).await.unwrap();
    assert!(matches!(end(&mut frames).await, Sv2Error::Io(_)));
    // Nobody else noticed.
    let (_client, mut said) = client(&server).await;
    server.publish(plan(1)).unwrap();
    job(&mut said).await;
    assert!(credits.try_recv().is_err());
}

#[tokio::test]
async fn refused_shares_without_end_end_the_connection() {
    let (server, mut credits) = server(8).await;
    let (client, mut said) = client(&server).await;
    server.publish(plan(1)).unwrap();
    let job = job(&mut said).await;
    let mut low = shares(&job, 1)[0];
    low.version ^= 1;
    let mut refused = 0;
    let ended = loop {
        let _gone = client.submit(low).await;
        match news(&mut said).await {
            Sv2News::Refused { .. } => refused += 1,
            Sv2News::Ended(end) => break end,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(ended, Sv2Error::Io(_)), "{ended:?}");
    assert!(refused <= 64, "{refused}");
    assert!(credits.try_recv().is_err());
}

#[tokio::test]
async fn hostile_pools_cost_a_miner_its_connection() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let easy = Target::of_work_bits(bits(1));
    let pool = tokio::spawn(async move {
        let key = authority();
        // Closes at once; speaks no Noise; answers the greeting with a share.
        drop(listener.accept().await.unwrap());
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(&[1; 512]).await;
        let (stream, _) = listener.accept().await.unwrap();
        let (mut frames, mut to) = respond(stream, &key, PATIENCE).await.unwrap();
        let _greeting = frames.next().await.unwrap();
        accepted(&mut to, 1, 1).await;
        let _left = frames.next().await;
    });
    let ask = || Sv2Client::connect(address, None, USER, easy, 1e6);
    assert!(matches!(ask().await.unwrap_err(), Sv2Error::Io(_)));
    assert!(matches!(ask().await.unwrap_err(), Sv2Error::Noise | Sv2Error::Io(_)));
    assert!(matches!(ask().await.unwrap_err(), Sv2Error::Refused));
    timeout(PATIENCE, pool).await.unwrap().unwrap();
}
