//! Messages that are cut short, of nobody, or without end: on both sides.

use common_messages_sv2 as common;

use super::super::message::{hash_bytes, target_bytes, words};
use super::channels::Raw;
use super::*;

/// What the pool reads.
const TO_POOL: [u8; 5] = [
    mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL,
    mining::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL,
    mining::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD,
    mining::MESSAGE_TYPE_UPDATE_CHANNEL,
    mining::MESSAGE_TYPE_CLOSE_CHANNEL,
];
/// What the miner reads.
const TO_MINER: [u8; 5] = [
    mining::MESSAGE_TYPE_NEW_MINING_JOB,
    mining::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH,
    mining::MESSAGE_TYPE_SET_TARGET,
    mining::MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS,
    mining::MESSAGE_TYPE_SUBMIT_SHARES_ERROR,
];

#[tokio::test]
async fn messages_that_are_cut_short_end_a_miners_connection_and_no_other() {
    let (server, mut credits) = server(8).await;
    let (_client, mut said) = client(&server).await;
    for kind in TO_POOL {
        let mut raw = Raw::greet(&server).await;
        // Four bytes are too few for any of them.
        raw.to.send(7_u32, kind, true).await.unwrap();
        assert!(matches!(end(&mut raw.frames).await, Sv2Error::Io(_)), "{kind:#04x}");
    }
    server.publish(plan(1)).unwrap();
    job(&mut said).await;
    assert!(credits.try_recv().is_err());
}

#[tokio::test]
async fn flood_of_a_miner_ends_its_connection() {
    let (server, _credits) = server(8).await;
    let mut raw = Raw::greet(&server).await;
    let flood = async {
        loop {
            // To a channel that there is not, so that nothing but the flood can be the reason.
            let close =
                mining::CloseChannelOwned { channel_id: 9, reason_code: words("").unwrap() };
            let kind = mining::MESSAGE_TYPE_CLOSE_CHANNEL;
            if raw.to.send(close, kind, true).await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENCE, flood).await.unwrap();
    // Below the limit a miner stays.
    let mut raw = Raw::greet(&server).await;
    for _ in 0..1_000 {
        let close = mining::CloseChannelOwned { channel_id: 9, reason_code: words("").unwrap() };
        raw.to.send(close, mining::MESSAGE_TYPE_CLOSE_CHANNEL, true).await.unwrap();
    }
    raw.open(USER, Target::of_work_bits(bits(1))).await;
}

/// A pool that our miner has a channel of, number 1, at 2^8 hashes; it says what it likes.
async fn pool() -> (Sv2Client, Receiver<Sv2News>, Frames, Writer) {
    pool_until(PATIENCE).await
}

/// The same, and it may be silent for so long.
async fn pool_until(silence_max: Duration) -> (Sv2Client, Receiver<Sv2News>, Frames, Writer) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let welcoming = async {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut frames, mut to) = respond(stream, &authority(), PATIENCE).await.unwrap();
        let _greeting = frames.next().await.unwrap();
        let welcome = common::SetupConnectionSuccess { used_version: 2, flags: 0 };
        let kind = common::MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS;
        to.send(welcome, kind, false).await.unwrap();
        let _open = frames.next().await.unwrap();
        let opened = mining::OpenStandardMiningChannelSuccessOwned {
            request_id: 1,
            channel_id: 1,
            target: target_bytes(Target::of_work_bits(bits(8))).unwrap(),
            extranonce_prefix: vec![1; 4].try_into().unwrap(),
            group_channel_id: 0,
        };
        let kind = mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS;
        to.send(opened, kind, false).await.unwrap();
        (frames, to)
    };
    let easy = Target::of_work_bits(bits(1));
    let connecting = Sv2Client::connect_until(address, None, (USER, easy, 1e6), silence_max);
    let (connected, (frames, to)) = tokio::join!(connecting, welcoming);
    let (client, news) = connected.unwrap();
    (client, news, frames, to)
}

/// A job for a tip that is to come.
async fn future_job(to: &mut Writer, channel_id: u32, job_id: u32) {
    let message = mining::NewMiningJobOwned {
        channel_id,
        job_id,
        min_ntime: binary_sv2::Sv2OptionOwned::new(None),
        version: 0x2000_0000,
        merkle_root: hash_bytes(&[3; 32]).unwrap(),
    };
    to.send(message, mining::MESSAGE_TYPE_NEW_MINING_JOB, true).await.unwrap();
}

async fn tip(to: &mut Writer, channel_id: u32, job_id: u32) {
    let message = mining::SetNewPrevHashOwned {
        channel_id,
        job_id,
        prev_hash: hash_bytes(&[1; 32]).unwrap(),
        min_ntime: 1_800_000_000,
        nbits: 0x1d00_ffff,
    };
    to.send(message, mining::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, true).await.unwrap();
}

#[tokio::test]
async fn messages_that_are_cut_short_end_a_pools_connection_by_name() {
    for kind in TO_MINER {
        let (_client, mut said, _frames, mut to) = pool().await;
        to.send(7_u32, kind, true).await.unwrap();
        let ended = news(&mut said).await;
        assert!(
            matches!(ended, Sv2News::Ended(Sv2Error::Malformed { kind: of }) if of == kind),
            "{kind:#04x}: {ended:?}"
        );
    }
}

#[tokio::test]
async fn impossible_values_of_a_pool_end_its_connection_by_name() {
    // A target that no hash meets.
    let (_client, mut said, _frames, mut to) = pool().await;
    let none = hash_bytes(&[0; 32]).unwrap();
    let set = mining::SetTargetOwned { channel_id: 1, maximum_target: none };
    to.send(set, mining::MESSAGE_TYPE_SET_TARGET, true).await.unwrap();
    assert!(matches!(news(&mut said).await, Sv2News::Ended(Sv2Error::Malformed { .. })));
    // A tip for a job that was never told.
    let (_client, mut said, _frames, mut to) = pool().await;
    tip(&mut to, 1, 5).await;
    assert!(matches!(news(&mut said).await, Sv2News::Ended(Sv2Error::Malformed { .. })));
    // What only a miner says.
    let (_client, mut said, _frames, mut to) = pool().await;
    to.send(7_u32, mining::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, true).await.unwrap();
    assert!(matches!(news(&mut said).await, Sv2News::Ended(Sv2Error::Unexpected { .. })));
    // A frame above the limit.
    let (_client, mut said, _frames, mut to) = pool().await;
    let long: binary_sv2::B064KOwned = vec![7; FRAME_BYTES_MAX].try_into().unwrap();
    // The miner may be gone before all of it is sent.
    let _gone = to.send(long, mining::MESSAGE_TYPE_NEW_MINING_JOB, true).await;
    let ended = news(&mut said).await;
    assert!(matches!(ended, Sv2News::Ended(Sv2Error::FrameTooLong { .. })), "{ended:?}");
}

#[tokio::test]
async fn pool_that_talks_of_other_channels_and_of_jobs_without_end_is_mined_for_still() {
    let (client, mut said, mut frames, mut to) = pool().await;
    // None of these is for us.
    future_job(&mut to, 2, 1).await;
    tip(&mut to, 2, 1).await;
    accepted(&mut to, 2, 1_000).await;
    let none = hash_bytes(&[0; 32]).unwrap();
    let set = mining::SetTargetOwned { channel_id: 2, maximum_target: none };
    to.send(set, mining::MESSAGE_TYPE_SET_TARGET, true).await.unwrap();
    // A thousand jobs for a tip that is to come: the newest sixteen are kept.
    for number in 1..=1_000 {
        future_job(&mut to, 1, number).await;
    }
    tip(&mut to, 1, 985).await;
    let kept = job(&mut said).await;
    assert_eq!((kept.id.to_u32(), kept.previous), (985, [1; 32]));
    client.submit(shares(&kept, 1)[0]).await.unwrap();
    let share = timeout(PATIENCE, frames.next()).await.unwrap().unwrap();
    assert_eq!(share.kind, mining::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD);
    future_job(&mut to, 1, 2_000).await;
    for number in 2_001..=2_016 {
        future_job(&mut to, 1, number).await;
    }
    tip(&mut to, 1, 2_000).await;
    assert!(matches!(news(&mut said).await, Sv2News::Ended(Sv2Error::Malformed { .. })));
}

#[tokio::test]
async fn pool_that_falls_silent_is_left_and_one_that_speaks_now_and_then_is_not() {
    let (silence_max, pause) = (Duration::from_secs(3), Duration::from_millis(500));
    let (_client, mut said, _frames, mut to) = pool_until(silence_max).await;
    // Longer than it may be silent, and never so long.
    for _ in 0..7 {
        tokio::time::sleep(pause).await;
        accepted(&mut to, 1, 1).await;
        let heard = news(&mut said).await;
        assert!(matches!(heard, Sv2News::Accepted { count: 1, .. }), "{heard:?}");
    }
    let end = news(&mut said).await;
    assert!(matches!(end, Sv2News::Ended(Sv2Error::TooSlow)), "{end:?}");
}
