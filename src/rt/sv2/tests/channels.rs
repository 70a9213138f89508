//! Targets that change, and several channels of one connection.

use common_messages_sv2 as common;

use super::super::message::{read, target, target_bytes, words};
use super::*;

/// A connection of a miner that has greeted, message by message.
pub(super) struct Raw {
    pub(super) frames: Frames,
    pub(super) to: Writer,
}

/// A standard channel as the pool opened it.
pub(super) struct Opened {
    pub(super) id: u32,
    pub(super) target: Target,
    pub(super) prefix: Vec<u8>,
}

impl Raw {
    pub(super) async fn greet(server: &Sv2Server) -> Self {
        let (frames, mut to) = stranger(server).await;
        let greeting = common::SetupConnectionOwned {
            protocol: common::Protocol::MiningProtocol,
            min_version: 2,
            max_version: 2,
            flags: 1,
            endpoint_host: words("localhost").unwrap(),
            endpoint_port: 1,
            vendor: words("").unwrap(),
            hardware_version: words("").unwrap(),
            firmware: words("").unwrap(),
            device_id: words("").unwrap(),
        };
        to.send(greeting, common::MESSAGE_TYPE_SETUP_CONNECTION, false).await.unwrap();
        let mut raw = Self { frames, to };
        let welcome = raw.next().await;
        assert_eq!(welcome.kind, common::MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS);
        raw
    }

    pub(super) async fn next(&mut self) -> super::super::link::Frame {
        timeout(PATIENCE, self.frames.next()).await.unwrap().unwrap()
    }

    /// The next message of this kind, and nothing before it.
    async fn expect(&mut self, kind: u8) -> super::super::link::Frame {
        let frame = self.next().await;
        assert_eq!(frame.kind, kind, "{:#04x} is not {kind:#04x}", frame.kind);
        frame
    }

    async fn ask(&mut self, user: &str, most: Target) -> super::super::link::Frame {
        let message = mining::OpenStandardMiningChannelOwned {
            request_id: 7,
            user_identity: words(user).unwrap(),
            nominal_hash_rate: 1e6,
            max_target: target_bytes(most).unwrap(),
        };
        let kind = mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL;
        self.to.send(message, kind, false).await.unwrap();
        self.next().await
    }

    /// Opens a channel, before there is a job.
    pub(super) async fn open(&mut self, user: &str, most: Target) -> Opened {
        let mut frame = self.ask(user, most).await;
        let kind = mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS;
        assert_eq!(frame.kind, kind);
        let it = read!(frame, mining::OpenStandardMiningChannelSuccess<'_>).unwrap();
        assert_eq!(it.request_id, 7);
        let target = target(it.target.as_bytes(), kind).unwrap();
        Opened { id: it.channel_id, target, prefix: it.extranonce_prefix.as_bytes().to_vec() }
    }

    /// The job that comes with its tip.
    async fn fresh_job(&mut self, of: &Opened) -> Sv2Job {
        let mut frame = self.expect(mining::MESSAGE_TYPE_NEW_MINING_JOB).await;
        let job = read!(frame, mining::NewMiningJob<'_>).unwrap();
        let (channel, id, version) = (job.channel_id, job.job_id, job.version);
        let root = job.merkle_root.as_bytes().try_into().unwrap();
        assert_eq!(channel, of.id);
        let mut frame = self.expect(mining::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH).await;
        let tip = read!(frame, mining::SetNewPrevHash<'_>).unwrap();
        assert_eq!((tip.channel_id, tip.job_id), (channel, id));
        Sv2Job {
            id: crate::units::JobId::new(id).unwrap(),
            version,
            previous: tip.prev_hash.as_bytes().try_into().unwrap(),
            root,
            bits: tip.nbits,
            time: tip.min_ntime,
            target: of.target,
        }
    }

    pub(super) async fn submit(&mut self, channel_id: u32, found: &Found) {
        let message = mining::SubmitSharesStandard {
            channel_id,
            sequence_number: 1,
            job_id: found.job.to_u32(),
            nonce: found.nonce,
            ntime: found.time,
            version: found.version,
        };
        let kind = mining::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD;
        self.to.send(message, kind, true).await.unwrap();
    }

    /// The channel and the words of a refused share.
    async fn refusal(&mut self) -> (u32, String) {
        let mut frame = self.expect(mining::MESSAGE_TYPE_SUBMIT_SHARES_ERROR).await;
        let it = read!(frame, mining::SubmitSharesError<'_>).unwrap();
        (it.channel_id, String::from_utf8(it.error_code.as_bytes().to_vec()).unwrap())
    }

    async fn update(&mut self, channel_id: u32, most: [u8; 32]) {
        let message = mining::UpdateChannelOwned {
            channel_id,
            nominal_hash_rate: 1e6,
            maximum_target: most.to_vec().try_into().unwrap(),
        };
        self.to.send(message, mining::MESSAGE_TYPE_UPDATE_CHANNEL, true).await.unwrap();
    }
}

fn little_endian(target: Target) -> [u8; 32] {
    let mut bytes = target.to_be_bytes();
    bytes.reverse();
    bytes
}

const EASY: fn() -> Target = || Target::of_work_bits(bits(1));

#[tokio::test]
async fn channel_that_is_updated_gets_its_target_before_another_job() {
    let (server, _credits) = server(8).await;
    let mut raw = Raw::greet(&server).await;
    let opened = raw.open(USER, EASY()).await;
    assert_eq!(opened.target, Target::of_work_bits(bits(8)));
    server.publish(plan(1)).unwrap();
    let job = raw.fresh_job(&opened).await;
    let harder = Target::of_work_bits(bits(11));
    raw.update(opened.id, little_endian(harder)).await;
    let mut frame = raw.expect(mining::MESSAGE_TYPE_SET_TARGET).await;
    let set = read!(frame, mining::SetTarget<'_>).unwrap();
    assert_eq!(set.channel_id, opened.id);
    assert_eq!(target(set.maximum_target.as_bytes(), 0).unwrap(), harder);
    let mut frame = raw.expect(mining::MESSAGE_TYPE_NEW_MINING_JOB).await;
    let next = read!(frame, mining::NewMiningJob<'_>).unwrap();
    assert_ne!(next.merkle_root.as_bytes(), job.root);
    // It is on the tip that is known, and to be worked on at once.
    assert!(next.min_ntime.into_inner().is_some());
    // Impossible or of nobody: refused by name, and nothing has changed.
    for (channel, most, code) in [
        (opened.id, [0; 32], mining::ERROR_CODE_UPDATE_CHANNEL_MAX_TARGET_OUT_OF_RANGE),
        (77, little_endian(harder), mining::ERROR_CODE_UPDATE_CHANNEL_INVALID_CHANNEL_ID),
    ] {
        raw.update(channel, most).await;
        let mut frame = raw.expect(mining::MESSAGE_TYPE_UPDATE_CHANNEL_ERROR).await;
        let error = read!(frame, mining::UpdateChannelError<'_>).unwrap();
        assert_eq!((error.channel_id, error.error_code.as_bytes()), (channel, code.as_bytes()));
    }
    // The job before keeps the target that it was given at.
    let good = shares(&job, 1)[0];
    raw.submit(opened.id, &good).await;
    raw.expect(mining::MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS).await;
}

#[tokio::test]
async fn plan_that_comes_with_a_frame_or_at_a_look_is_given_out() {
    let (server, _credits) = server(8).await;
    let mut raw = Raw::greet(&server).await;
    let opened = raw.open(USER, EASY()).await;
    for round in 1..=64_u8 {
        // Asks for a look at the target, which stays; and the plan comes now, or a little later.
        raw.update(opened.id, little_endian(EASY())).await;
        for _ in 0..round % 16 {
            tokio::task::yield_now().await;
        }
        server.publish(plan(round)).unwrap();
        assert_eq!(raw.fresh_job(&opened).await.previous, [round; 32]);
    }
}

#[tokio::test]
async fn miner_that_finds_too_much_is_given_a_harder_target() {
    let mut options = Sv2Options::new((Ipv4Addr::LOCALHOST, 0).into(), authority());
    options.work = (bits(4), bits(40), bits(4));
    let (server, mut credits) = Sv2Server::start(options).await.unwrap();
    let (client, mut said) = client(&server).await;
    server.publish(plan(1)).unwrap();
    let first = job(&mut said).await;
    assert_eq!(first.target, Target::of_work_bits(bits(4)));
    // Eight in far less than the ten seconds that one should take.
    let found = shares(&first, 9);
    for found in &found[..8] {
        client.submit(*found).await.unwrap();
    }
    let mut accepted = 0;
    let next = loop {
        match news(&mut said).await {
            Sv2News::Accepted { count, .. } => accepted += count,
            Sv2News::Job(job) => break job,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((accepted, next.previous), (8, first.previous));
    assert_eq!(next.target, Target::of_work_bits(bits(5)));
    // A late one of the first job is worth what that job's were, and one of the next its own.
    client.submit(found[8]).await.unwrap();
    client.submit(shares(&next, 1)[0]).await.unwrap();
    let mut work = Work::ZERO;
    for _ in 0..10 {
        let credit = timeout(PATIENCE, credits.recv()).await.unwrap().unwrap();
        work = work.saturating_add(credit.good.work());
    }
    assert_eq!(work, Work::new(9 * 16 + 32));
}

#[tokio::test]
async fn channels_of_one_connection_have_nothing_in_common() {
    let (server, mut credits) = server(8).await;
    let mut raw = Raw::greet(&server).await;
    let users = [".a", ".b"].map(|rig| USER.replace(".roof", rig));
    let first = raw.open(&users[0], EASY()).await;
    let second = raw.open(&users[1], EASY()).await;
    assert_ne!((first.id, &first.prefix), (second.id, &second.prefix));
    server.publish(plan(1)).unwrap();
    let jobs = [raw.fresh_job(&first).await, raw.fresh_job(&second).await];
    assert_eq!(jobs[0].id, jobs[1].id);
    assert_ne!(jobs[0].root, jobs[1].root);
    let found = shares(&jobs[0], 1)[0];
    // The second's header with the same numbers: by chance a share once in 256 runs.
    let is_one = jobs[1].target.is_met_by(&hash_of(&jobs[1], &found));
    raw.submit(second.id, &found).await;
    if is_one {
        raw.expect(mining::MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS).await;
        let credit = timeout(PATIENCE, credits.recv()).await.unwrap().unwrap();
        assert_eq!(credit.worker.to_string(), users[1]);
    } else {
        let low = mining::ERROR_CODE_SUBMIT_SHARES_DIFFICULTY_TOO_LOW;
        assert_eq!(raw.refusal().await, (second.id, low.into()));
    }
    raw.submit(first.id, &found).await;
    raw.expect(mining::MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS).await;
    let credit = timeout(PATIENCE, credits.recv()).await.unwrap().unwrap();
    assert_eq!(credit.worker.to_string(), users[0]);
    // One is closed; the other goes on.
    let closed =
        mining::CloseChannelOwned { channel_id: first.id, reason_code: words("").unwrap() };
    raw.to.send(closed, mining::MESSAGE_TYPE_CLOSE_CHANNEL, true).await.unwrap();
    raw.submit(first.id, &found).await;
    let unknown = mining::ERROR_CODE_SUBMIT_SHARES_INVALID_CHANNEL_ID;
    assert_eq!(raw.refusal().await, (first.id, unknown.into()));
    server.publish(plan(2)).unwrap();
    let next = raw.fresh_job(&second).await;
    raw.submit(second.id, &shares(&next, 1)[0]).await;
    raw.expect(mining::MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS).await;
}

#[tokio::test]
async fn connection_opens_64_channels_closed_ones_included() {
    let (server, _credits) = server(8).await;
    let mut raw = Raw::greet(&server).await;
    for _ in 0..64 {
        let channel_id = raw.open(USER, EASY()).await.id;
        let closed = mining::CloseChannelOwned { channel_id, reason_code: words("").unwrap() };
        raw.to.send(closed, mining::MESSAGE_TYPE_CLOSE_CHANNEL, true).await.unwrap();
    }
    let mut frame = raw.ask(USER, EASY()).await;
    assert_eq!(frame.kind, mining::MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR);
    let error = read!(frame, mining::OpenMiningChannelError<'_>).unwrap();
    let full = mining::ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED;
    assert_eq!(error.error_code.as_bytes(), full.as_bytes());
}
