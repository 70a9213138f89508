//! The pool's end of one connection: greeting, channels, shares.

use std::collections::BTreeMap;
use std::sync::Arc;

use common_messages_sv2::{
    CHANNEL_BIT_SETUP_CONNECTION_ERROR, CHANNEL_BIT_SETUP_CONNECTION_SUCCESS,
    ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH,
    ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS,
    ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL, MESSAGE_TYPE_SETUP_CONNECTION,
    MESSAGE_TYPE_SETUP_CONNECTION_ERROR, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, Protocol,
    SetupConnection, SetupConnectionErrorOwned, SetupConnectionSuccess,
};
use mining_sv2 as mining;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant, interval, sleep, timeout};

use super::channel::Channel;
use super::link::{Frame, Frames, Writer, respond};
use super::message::{VERSION, read, target, target_bytes, words};
use super::server::Spaces;
use super::{Credit, Sv2Error, Sv2Options};
use crate::chain::template::BlockPlan;
use crate::rt::clock::Clock;
use crate::shares::Refused;
use crate::stratum::{Allowance, WorkerName};

/// 64, closed ones included: each has taken a part of the coinbase that nobody else gets, and there
/// are not more than 2^32. A proxy without extended channels would open more.
const CHANNELS_MAX: u32 = 64;
/// 64 refused shares in a row: a miner on the wrong job sends fewer before it hears of it.
const REFUSED_MAX: u32 = 64;
/// The protocol's words for it; the reference crates' name of them is longer than a line.
const NO_EXTENDED_CHANNELS: &str = "extended-channels-not-supported-for-standard-jobs";
/// Work selection, which is not offered here.
const FLAG_WORK_SELECTION: u32 = 0b10;

/// One connection of the server.
pub(super) struct Session {
    options: Arc<Sv2Options>,
    spaces: Arc<Spaces>,
    plans: watch::Receiver<Option<Arc<BlockPlan>>>,
    /// The one that every channel has a job of. Only who gives all of them a job of the next one
    /// may take that from `plans`: a plan that is taken is not announced again.
    plan: Option<Arc<BlockPlan>>,
    credits: mpsc::Sender<Credit>,
    clock: Clock,
    channels: BTreeMap<u32, Channel>,
    /// Channels that were opened; the last one's number.
    opened: u32,
    refused: u32,
    frames: Allowance,
}

impl Session {
    pub(super) fn new(
        options: Arc<Sv2Options>,
        spaces: Arc<Spaces>,
        plans: watch::Receiver<Option<Arc<BlockPlan>>>,
        credits: mpsc::Sender<Credit>,
    ) -> Self {
        let (per_second, burst) = options.frames;
        Self {
            options,
            spaces,
            plans,
            plan: None,
            credits,
            clock: Clock::new(),
            channels: BTreeMap::new(),
            opened: 0,
            refused: 0,
            frames: Allowance::new(per_second, burst),
        }
    }

    /// Runs until the connection ends.
    pub(super) async fn run(mut self, stream: TcpStream) -> Result<(), Sv2Error> {
        let options = Arc::clone(&self.options);
        let greeting = async {
            let stall_max = options.stall_max;
            let (mut frames, mut to) = respond(stream, &options.authority, stall_max).await?;
            greet(&mut frames, &mut to).await?;
            Ok::<_, Sv2Error>((frames, to))
        };
        let greeted = timeout(options.greeting_max, greeting).await;
        let (mut frames, mut to) = greeted.map_err(|_| Sv2Error::TooSlow)??;
        let aim = Duration::from_secs(options.aim.to_u64().max(1));
        let mut ticks = interval(aim);
        let began = Instant::now();
        let mut silence = Box::pin(sleep(options.idle_max));
        loop {
            tokio::select! {
                frame = frames.next() => {
                    let frame = frame?;
                    if !self.frames.take(began.elapsed(), 1) {
                        return Err(Sv2Error::Flood);
                    }
                    self.handle(frame, &mut to).await?;
                    silence = Box::pin(sleep(options.idle_max));
                }
                () = &mut silence => return Err(Sv2Error::TooSlow),
                changed = self.plans.changed() => {
                    changed.map_err(|_| Sv2Error::Closed)?;
                    self.plan.clone_from(&self.plans.borrow_and_update());
                    self.issue_all(|_, _| true, &mut to).await?;
                }
                _ = ticks.tick() => {
                    self.issue_all(Channel::wants_other_target, &mut to).await?;
                }
            }
        }
    }

    /// Gives a job of the plan to each channel that shall have one.
    async fn issue_all(
        &mut self,
        wanted: impl Fn(&mut Channel, crate::units::UtcSeconds) -> bool,
        to: &mut Writer,
    ) -> Result<(), Sv2Error> {
        let now = self.clock.time();
        let Some(plan) = &self.plan else { return Ok(()) };
        for channel in self.channels.values_mut() {
            if wanted(channel, now) {
                channel.issue(plan, &self.spaces, now, to).await?;
            }
        }
        Ok(())
    }

    async fn handle(&mut self, frame: Frame, to: &mut Writer) -> Result<(), Sv2Error> {
        let mut frame = frame;
        match frame.kind {
            mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL => self.open(frame, to).await,
            mining::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD => self.submitted(frame, to).await,
            mining::MESSAGE_TYPE_UPDATE_CHANNEL => self.update(frame, to).await,
            mining::MESSAGE_TYPE_CLOSE_CHANNEL => {
                let close = read!(frame, mining::CloseChannel<'_>)?;
                self.channels.remove(&close.channel_id);
                Ok(())
            }
            mining::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL => {
                let open = read!(frame, mining::OpenExtendedMiningChannel<'_>)?;
                refuse(open.request_id, NO_EXTENDED_CHANNELS, to).await
            }
            kind => Err(Sv2Error::Unexpected { kind }),
        }
    }

    async fn open(&mut self, mut frame: Frame, to: &mut Writer) -> Result<(), Sv2Error> {
        let kind = frame.kind;
        let open = read!(frame, mining::OpenStandardMiningChannel<'_>)?;
        let request_id = open.request_id;
        let name = std::str::from_utf8(open.user_identity.as_bytes());
        let Some(worker) = name.ok().and_then(|name| WorkerName::parse(name).ok()) else {
            return refuse(request_id, mining::ERROR_CODE_OPEN_MINING_CHANNEL_UNKNOWN_USER, to)
                .await;
        };
        let Ok(most) = target(open.max_target.as_bytes(), kind) else {
            let code = mining::ERROR_CODE_OPEN_MINING_CHANNEL_MAX_TARGET_OUT_OF_RANGE;
            return refuse(request_id, code, to).await;
        };
        if self.opened >= CHANNELS_MAX {
            let code = mining::ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED;
            return refuse(request_id, code, to).await;
        }
        self.opened = self.opened.saturating_add(1);
        let channel_id = self.opened;
        let (now, space) = (self.clock.time(), self.spaces.next()?);
        let mut channel = Channel::new(channel_id, worker, most, space, &self.options, now);
        let kind = mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS;
        let prefix = space.as_slice().to_vec().try_into();
        let message = mining::OpenStandardMiningChannelSuccessOwned {
            request_id,
            channel_id,
            target: target_bytes(channel.target())?,
            extranonce_prefix: prefix.map_err(|_| Sv2Error::Malformed { kind })?,
            // No group: each channel gets its own messages.
            group_channel_id: 0,
        };
        let of_channel = mining::CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL_SUCCESS;
        to.send(message, kind, of_channel).await?;
        if let Some(plan) = &self.plan {
            channel.issue(plan, &self.spaces, now, to).await?;
        }
        self.channels.insert(channel_id, channel);
        Ok(())
    }

    /// Takes another easiest target of a channel.
    async fn update(&mut self, mut frame: Frame, to: &mut Writer) -> Result<(), Sv2Error> {
        let kind = frame.kind;
        let update = read!(frame, mining::UpdateChannel<'_>)?;
        let channel_id = update.channel_id;
        let most = target(update.maximum_target.as_bytes(), kind);
        let code = match (self.channels.get_mut(&channel_id), most) {
            (Some(channel), Ok(most)) => {
                channel.harden(most);
                return self.issue_all(Channel::wants_other_target, to).await;
            }
            (Some(_), Err(_)) => mining::ERROR_CODE_UPDATE_CHANNEL_MAX_TARGET_OUT_OF_RANGE,
            (None, _) => mining::ERROR_CODE_UPDATE_CHANNEL_INVALID_CHANNEL_ID,
        };
        let message = mining::UpdateChannelErrorOwned { channel_id, error_code: words(code)? };
        let of_channel = mining::CHANNEL_BIT_UPDATE_CHANNEL_ERROR;
        to.send(message, mining::MESSAGE_TYPE_UPDATE_CHANNEL_ERROR, of_channel).await
    }

    async fn submitted(&mut self, mut frame: Frame, to: &mut Writer) -> Result<(), Sv2Error> {
        let submit = read!(frame, mining::SubmitSharesStandard)?;
        let (channel_id, sequence_number) = (submit.channel_id, submit.sequence_number);
        let now = self.clock.time();
        let judged = match self.channels.get_mut(&channel_id) {
            Some(channel) => channel.judge(&submit, now).map_err(|refused| code_of(&refused)),
            None => Err(mining::ERROR_CODE_SUBMIT_SHARES_INVALID_CHANNEL_ID),
        };
        let credit = match judged {
            Ok(credit) => credit,
            Err(code) => {
                self.refused = self.refused.saturating_add(1);
                let error_code = words(code)?;
                let message =
                    mining::SubmitSharesErrorOwned { channel_id, sequence_number, error_code };
                let kind = mining::MESSAGE_TYPE_SUBMIT_SHARES_ERROR;
                to.send(message, kind, mining::CHANNEL_BIT_SUBMIT_SHARES_ERROR).await?;
                let limit = REFUSED_MAX;
                let over = self.refused >= limit;
                return if over { Err(Sv2Error::TooManyRefused { limit }) } else { Ok(()) };
            }
        };
        self.refused = 0;
        // Answered only when whoever pays has it.
        self.credits.send(credit).await.map_err(|_| Sv2Error::Closed)?;
        let sum = self.channels.get_mut(&channel_id).map_or(0, Channel::tell_sum);
        let message = mining::SubmitSharesSuccess {
            channel_id,
            last_sequence_number: sequence_number,
            new_submits_accepted_count: 1,
            new_shares_sum: sum,
        };
        let of_channel = mining::CHANNEL_BIT_SUBMIT_SHARES_SUCCESS;
        to.send(message, mining::MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, of_channel).await?;
        let wanted = |channel: &mut Channel, now| channel.wants_other_target(now);
        self.issue_all(wanted, to).await
    }
}

/// Takes the greeting of a miner.
async fn greet(frames: &mut Frames, to: &mut Writer) -> Result<(), Sv2Error> {
    let mut frame = frames.next().await?;
    if frame.kind != MESSAGE_TYPE_SETUP_CONNECTION {
        return Err(Sv2Error::Unexpected { kind: frame.kind });
    }
    let setup = read!(frame, SetupConnection<'_>)?;
    let code = if setup.protocol != Protocol::MiningProtocol {
        Some(ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL)
    } else if !(setup.min_version..=setup.max_version).contains(&VERSION) {
        Some(ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH)
    } else if setup.flags & FLAG_WORK_SELECTION != 0 {
        Some(ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS)
    } else {
        None
    };
    if let Some(code) = code {
        let flags = setup.flags & FLAG_WORK_SELECTION;
        let message = SetupConnectionErrorOwned { flags, error_code: words(code)? };
        let of_channel = CHANNEL_BIT_SETUP_CONNECTION_ERROR;
        to.send(message, MESSAGE_TYPE_SETUP_CONNECTION_ERROR, of_channel).await?;
        return Err(Sv2Error::Refused);
    }
    let message = SetupConnectionSuccess { used_version: VERSION, flags: 0 };
    let of_channel = CHANNEL_BIT_SETUP_CONNECTION_SUCCESS;
    to.send(message, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, of_channel).await
}

async fn refuse(request_id: u32, code: &str, to: &mut Writer) -> Result<(), Sv2Error> {
    let message = mining::OpenMiningChannelErrorOwned { request_id, error_code: words(code)? };
    let of_channel = mining::CHANNEL_BIT_OPEN_MINING_CHANNEL_ERROR;
    to.send(message, mining::MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, of_channel).await
}

const fn code_of(refused: &Refused) -> &'static str {
    match refused {
        Refused::UnknownJob { .. } => mining::ERROR_CODE_SUBMIT_SHARES_INVALID_JOB_ID,
        Refused::Stale { .. } => mining::ERROR_CODE_SUBMIT_SHARES_STALE_SHARE,
        Refused::Duplicate { .. } => mining::ERROR_CODE_SUBMIT_SHARES_DUPLICATE_SHARE,
        Refused::Low { .. } => mining::ERROR_CODE_SUBMIT_SHARES_DIFFICULTY_TOO_LOW,
        Refused::BadVersion { .. } => {
            mining::ERROR_CODE_SUBMIT_SHARES_INVALID_NON_ROLLABLE_VERSION_BIT
        }
        Refused::NotYourSpace { .. } => mining::ERROR_CODE_SUBMIT_SHARES_BAD_EXTRANONCE_SIZE,
        Refused::BadTime { .. } | Refused::OverBudget { .. } => {
            mining::ERROR_CODE_SUBMIT_SHARES_INVALID_SHARE
        }
    }
}
