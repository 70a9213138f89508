//! The miner's end: one standard channel of a pool.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use common_messages_sv2::{
    CHANNEL_BIT_SETUP_CONNECTION, MESSAGE_TYPE_RECONNECT, MESSAGE_TYPE_SETUP_CONNECTION,
    MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, Protocol, SetupConnectionOwned, SetupConnectionSuccess,
};
use mining_sv2 as mining;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::Sv2Error;
use super::link::{Frame, Frames, Writer, initiate};
use super::message::{VERSION, hash, read, target, target_bytes, words};
use crate::miner::Found;
use crate::miner::job::{Parts, Root, TimeRoll};
use crate::units::{JobId, Target, UtcSeconds};

/// Jobs for a tip that is still to come: pools have one or two.
const FUTURE_MAX: usize = 16;
/// News that wait for the searcher, and finds that wait for the pool.
const WAITING_MAX: usize = 64;
/// How long an answer to a greeting may take.
const GREETING_MAX: Duration = Duration::from_secs(30);
/// A pool that says nothing for 15 minutes is gone, whatever the line says: its tip is an old one.
const SILENCE_MAX: Duration = Duration::from_secs(900);
/// Only standard jobs are understood here.
const FLAG_STANDARD_JOBS: u32 = 1;

/// A connection to a pool; dropped, it ends.
#[derive(Debug)]
pub struct Sv2Client {
    submits: mpsc::Sender<Found>,
}

/// What a pool says.
#[derive(Debug)]
#[non_exhaustive]
pub enum Sv2News {
    /// From now on this is worked on.
    Job(Sv2Job),
    /// Shares that count.
    Accepted {
        /// How many.
        count: u32,
        /// The pool's own sum of their worth.
        sum: u64,
    },
    /// A share that does not.
    Refused {
        /// The n-th that was submitted, from 1.
        number: u32,
        /// Why.
        why: RefusedShare,
    },
    /// The connection is over.
    Ended(Sv2Error),
}

/// Why a pool does not count a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedShare {
    /// Its job or its tip is over, or was never known.
    Stale,
    /// Its hash is above the target.
    Low,
    /// It was counted before.
    Duplicate,
    /// Anything else.
    Other,
}

/// A standard job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sv2Job {
    /// What the pool calls it.
    pub id: JobId,
    /// The header's version.
    pub version: u32,
    /// Hash of the previous block, in wire order.
    pub previous: [u8; 32],
    /// The merkle root, in wire order.
    pub root: [u8; 32],
    /// The network's target in compact form.
    pub bits: u32,
    /// The earliest time.
    pub time: u32,
    /// What a share must meet.
    pub target: Target,
}

impl Sv2Job {
    /// What a [`Search`](crate::miner::Search) works on; the version may be rolled by BIP320, the
    /// time as the clock goes on.
    pub const fn parts(&self, expires: UtcSeconds) -> Parts<'static> {
        Parts {
            id: self.id,
            version: self.version,
            version_mask: crate::shares::Head::MASK_MAX,
            previous: self.previous,
            root: Root::Fixed(self.root),
            bits: self.bits,
            time: self.time,
            roll: TimeRoll::Clock(600),
            nonce_first: 0,
            nonce_last: u32::MAX,
            target: self.target,
            expires,
        }
    }
}

impl Sv2Client {
    /// Connects and opens a channel for `user`. Within a runtime of tokio.
    ///
    /// `authority`: the pool's public key; without it nothing says whose pool it is.
    /// `max_target`: the easiest that is wanted. `nominal_hash_rate`: hashes a second, from which
    /// some pools choose the first target.
    ///
    /// # Errors
    /// [`Sv2Error`]: no connection, no certificate of that key, no answer, no channel.
    pub async fn connect(
        pool: SocketAddr,
        authority: Option<[u8; 32]>,
        user: &str,
        max_target: Target,
        nominal_hash_rate: f32,
    ) -> Result<(Self, mpsc::Receiver<Sv2News>), Sv2Error> {
        let of = (user, max_target, nominal_hash_rate);
        Self::connect_until(pool, authority, of, SILENCE_MAX).await
    }

    /// The same; the pool may be silent for so long.
    pub(super) async fn connect_until(
        pool: SocketAddr,
        authority: Option<[u8; 32]>,
        (user, max_target, nominal_hash_rate): (&str, Target, f32),
        silence_max: Duration,
    ) -> Result<(Self, mpsc::Receiver<Sv2News>), Sv2Error> {
        let greeting = async {
            let stream = TcpStream::connect(pool).await?;
            let (mut frames, mut to) = initiate(stream, authority, GREETING_MAX).await?;
            greet(&mut frames, &mut to, pool).await?;
            let channel = open(&mut frames, &mut to, user, max_target, nominal_hash_rate).await?;
            Ok::<_, Sv2Error>((frames, to, channel))
        };
        let greeted = timeout(GREETING_MAX, greeting).await.map_err(|_| Sv2Error::TooSlow)?;
        let (frames, to, channel) = greeted?;
        let (submits, found) = mpsc::channel(WAITING_MAX);
        let (news, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            let Err(end) = channel.run(frames, to, found, &news, silence_max).await;
            // Who does not listen any more has no need to know.
            let _ = news.send(Sv2News::Ended(end)).await;
        });
        Ok((Self { submits }, receiver))
    }

    /// Submits a share, once there is room.
    ///
    /// # Errors
    /// [`Sv2Error::Closed`]: the news say why.
    pub async fn submit(&self, found: Found) -> Result<(), Sv2Error> {
        self.submits.send(found).await.map_err(|_| Sv2Error::Closed)
    }
}

/// What the pool said of the channel so far.
#[derive(Debug)]
struct Channel {
    id: u32,
    target: Target,
    tip: Option<Tip>,
    /// Version and root of jobs for a tip that is still to come.
    future: BTreeMap<u32, (u32, [u8; 32])>,
    submitted: u32,
}

#[derive(Debug, Clone, Copy)]
struct Tip {
    previous: [u8; 32],
    bits: u32,
}

impl Channel {
    async fn run(
        mut self,
        mut frames: Frames,
        mut to: Writer,
        mut found: mpsc::Receiver<Found>,
        news: &mpsc::Sender<Sv2News>,
        silence_max: Duration,
    ) -> Result<std::convert::Infallible, Sv2Error> {
        let mut heard_at = Instant::now();
        loop {
            // The pool is heard only while there is room for what it says, and finds go to it
            // either way: who submits many before it listens would else wait for itself.
            let heard = async {
                let room = news.reserve().await.map_err(|_| Sv2Error::Closed)?;
                let silent = heard_at.checked_add(silence_max).unwrap_or(heard_at);
                let frame = timeout_at(silent, frames.next()).await;
                Ok::<_, Sv2Error>((room, frame.map_err(|_| Sv2Error::TooSlow)??))
            };
            tokio::select! {
                heard = heard => {
                    let (room, frame) = heard?;
                    heard_at = Instant::now();
                    if let Some(said) = self.hear(frame)? {
                        room.send(said);
                    }
                }
                found = found.recv() => {
                    self.submit(&found.ok_or(Sv2Error::Closed)?, &mut to).await?;
                }
            }
        }
    }

    async fn submit(&mut self, found: &Found, to: &mut Writer) -> Result<(), Sv2Error> {
        self.submitted = self.submitted.wrapping_add(1);
        let message = mining::SubmitSharesStandard {
            channel_id: self.id,
            sequence_number: self.submitted,
            job_id: found.job.to_u32(),
            nonce: found.nonce,
            ntime: found.time,
            version: found.version,
        };
        let of_channel = mining::CHANNEL_BIT_SUBMIT_SHARES_STANDARD;
        to.send(message, mining::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, of_channel).await
    }

    /// Takes one message; what is for another channel, or of no use, is passed over.
    fn hear(&mut self, mut frame: Frame) -> Result<Option<Sv2News>, Sv2Error> {
        let kind = frame.kind;
        match kind {
            mining::MESSAGE_TYPE_NEW_MINING_JOB => {
                let job = read!(frame, mining::NewMiningJob<'_>)?;
                if job.channel_id != self.id {
                    return Ok(None);
                }
                let (id, version) = (job.job_id, job.version);
                let root = hash(job.merkle_root.as_bytes(), kind)?;
                if let Some(time) = job.min_ntime.into_inner() {
                    return Ok(self.job(id, version, root, time));
                }
                while self.future.len() >= FUTURE_MAX {
                    self.future.pop_first();
                }
                self.future.insert(id, (version, root));
                Ok(None)
            }
            mining::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH => {
                let tip = read!(frame, mining::SetNewPrevHash<'_>)?;
                if tip.channel_id != self.id {
                    return Ok(None);
                }
                let previous = hash(tip.prev_hash.as_bytes(), kind)?;
                let (id, bits, time) = (tip.job_id, tip.nbits, tip.min_ntime);
                self.tip = Some(Tip { previous, bits });
                let job = self.future.remove(&id);
                self.future.clear();
                let (version, root) = job.ok_or(Sv2Error::Malformed { kind })?;
                Ok(self.job(id, version, root, time))
            }
            mining::MESSAGE_TYPE_SET_TARGET => {
                let set = read!(frame, mining::SetTarget<'_>)?;
                if set.channel_id == self.id {
                    self.target = target(set.maximum_target.as_bytes(), kind)?;
                }
                Ok(None)
            }
            mining::MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS => {
                let told = read!(frame, mining::SubmitSharesSuccess)?;
                if told.channel_id != self.id {
                    return Ok(None);
                }
                let (count, sum) = (told.new_submits_accepted_count, told.new_shares_sum);
                Ok(Some(Sv2News::Accepted { count, sum }))
            }
            mining::MESSAGE_TYPE_SUBMIT_SHARES_ERROR => {
                let told = read!(frame, mining::SubmitSharesError<'_>)?;
                if told.channel_id != self.id {
                    return Ok(None);
                }
                let why = why(told.error_code.as_bytes());
                Ok(Some(Sv2News::Refused { number: told.sequence_number, why }))
            }
            // The root of a standard job holds the prefix already.
            mining::MESSAGE_TYPE_SET_EXTRANONCE_PREFIX | mining::MESSAGE_TYPE_SET_GROUP_CHANNEL => {
                Ok(None)
            }
            mining::MESSAGE_TYPE_CLOSE_CHANNEL | MESSAGE_TYPE_RECONNECT => Err(Sv2Error::Refused),
            kind => Err(Sv2Error::Unexpected { kind }),
        }
    }

    /// A job on the tip that is known; none before there is one.
    fn job(&self, id: u32, version: u32, root: [u8; 32], time: u32) -> Option<Sv2News> {
        let Tip { previous, bits } = self.tip?;
        let id = JobId::new(id).ok()?;
        let target = self.target;
        Some(Sv2News::Job(Sv2Job { id, version, previous, root, bits, time, target }))
    }
}

async fn greet(frames: &mut Frames, to: &mut Writer, pool: SocketAddr) -> Result<(), Sv2Error> {
    let empty = || words("");
    let message = SetupConnectionOwned {
        protocol: Protocol::MiningProtocol,
        min_version: VERSION,
        max_version: VERSION,
        flags: FLAG_STANDARD_JOBS,
        endpoint_host: words(&pool.ip().to_string())?,
        endpoint_port: pool.port(),
        vendor: words("millstream")?,
        hardware_version: empty()?,
        firmware: empty()?,
        device_id: empty()?,
    };
    to.send(message, MESSAGE_TYPE_SETUP_CONNECTION, CHANNEL_BIT_SETUP_CONNECTION).await?;
    let mut frame = frames.next().await?;
    if frame.kind != MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS {
        return Err(Sv2Error::Refused);
    }
    let success = read!(frame, SetupConnectionSuccess)?;
    // A flag here demands what only other kinds of channel have: fixed versions, extended ones.
    if success.used_version == VERSION && success.flags == 0 {
        Ok(())
    } else {
        Err(Sv2Error::Refused)
    }
}

async fn open(
    frames: &mut Frames,
    to: &mut Writer,
    user: &str,
    max_target: Target,
    nominal_hash_rate: f32,
) -> Result<Channel, Sv2Error> {
    let kind = mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL;
    let user_identity = user.try_into().map_err(|_| Sv2Error::Malformed { kind })?;
    let max_target = target_bytes(max_target)?;
    let message = mining::OpenStandardMiningChannelOwned {
        request_id: 1,
        user_identity,
        nominal_hash_rate,
        max_target,
    };
    to.send(message, kind, mining::CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL).await?;
    let mut frame = frames.next().await?;
    if frame.kind != mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS {
        return Err(Sv2Error::Refused);
    }
    let kind = frame.kind;
    let success = read!(frame, mining::OpenStandardMiningChannelSuccess<'_>)?;
    Ok(Channel {
        id: success.channel_id,
        target: target(success.target.as_bytes(), kind)?,
        tip: None,
        future: BTreeMap::new(),
        submitted: 0,
    })
}

fn why(code: &[u8]) -> RefusedShare {
    let is = |known: &str| code == known.as_bytes();
    if is(mining::ERROR_CODE_SUBMIT_SHARES_STALE_SHARE)
        || is(mining::ERROR_CODE_SUBMIT_SHARES_INVALID_JOB_ID)
    {
        RefusedShare::Stale
    } else if is(mining::ERROR_CODE_SUBMIT_SHARES_DIFFICULTY_TOO_LOW) {
        RefusedShare::Low
    } else if is(mining::ERROR_CODE_SUBMIT_SHARES_DUPLICATE_SHARE) {
        RefusedShare::Duplicate
    } else {
        RefusedShare::Other
    }
}
