//! One connection to a pool.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;

use super::{Find, Follow, Space, Task, Told, Wanted};
use crate::stratum::message::{
    Answer, Configure, Extranonce, FromPool, Label, Notice, Notify, Request, RequestId, Submit,
    VersionRolling, print_true, print_words,
};
use crate::stratum::{Difficulty, StratumError};
use crate::wire::PeerText;

/// 1,024 shares that the pool has not answered: beyond that it does not listen.
const UNANSWERED_MAX: usize = 1_024;
/// An hour: a pool that would send its miners away for longer is left instead.
const WAIT_MAX_S: u32 = 3_600;
/// 8 bytes, which a day of the fastest machine does not search through.
const SEARCHED_MAX: u8 = 8;

/// The miner's side of one connection; see the [module](super).
#[derive(Debug)]
pub struct ClientSession {
    wanted: Wanted,
    /// The host that it is connected to.
    host: String,
    stage: Stage,
    next_id: u64,
    unanswered: BTreeMap<u64, Asked>,
    /// For the next job.
    difficulty: Difficulty,
    version_mask: u32,
    /// By which the session can be resumed.
    session: Option<Label>,
}

/// How far the greeting has come.
#[derive(Debug)]
enum Stage {
    New,
    Greeting,
    /// Subscribed; a job may have come before the name was accepted.
    Naming {
        space: Space,
        early: Option<Box<Notify>>,
    },
    Mining {
        space: Space,
    },
}

/// What was asked under an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Configure,
    Subscribe,
    Authorize,
    Share,
    /// Whatever comes back makes no difference.
    Wish,
}

impl ClientSession {
    /// A connection to `host` that has said nothing yet.
    #[must_use]
    pub fn new(wanted: Wanted, host: &str) -> Self {
        Self {
            wanted,
            host: host.into(),
            stage: Stage::New,
            next_id: 1,
            unanswered: BTreeMap::new(),
            difficulty: Difficulty::ONE,
            version_mask: 0,
            session: None,
        }
    }

    /// Appends the greeting: extensions, subscription, name. Once a connection.
    pub fn start(&mut self, out: &mut String) {
        if !matches!(self.stage, Stage::New) {
            return;
        }
        self.stage = Stage::Greeting;
        if self.wanted.version_mask != 0 {
            let rolling = VersionRolling { mask: self.wanted.version_mask, min_bits: 1 };
            let configure = Configure {
                version_rolling: Some(rolling),
                subscribe_extranonce: true,
                ..Configure::default()
            };
            self.ask(Asked::Configure, &Request::Configure(configure), out);
        }
        let agent = PeerText::new(self.wanted.agent.as_bytes().to_vec()).unwrap_or_default();
        let subscribe = Request::Subscribe { agent, session: self.wanted.resume.clone() };
        self.ask(Asked::Subscribe, &subscribe, out);
    }

    /// Takes a line, and appends what is answered to `out`.
    ///
    /// # Errors
    /// [`StratumError`]: what is wrong with it. The pool is left; nothing has changed.
    pub fn receive(&mut self, line: &[u8], out: &mut String) -> Result<Told, StratumError> {
        match FromPool::parse(line)? {
            FromPool::Answer(answer) => self.answered(&answer, out),
            FromPool::Notice { id, notice } => self.noticed(&id, notice, out),
        }
    }

    fn answered(&mut self, answer: &Answer<'_>, out: &mut String) -> Result<Told, StratumError> {
        let id = answer.id.to_u64();
        let Some((id, asked)) = id.and_then(|id| Some((id, *self.unanswered.get(&id)?))) else {
            return Ok(Told::Foreign);
        };
        let told = match asked {
            // A pool that does not know extensions refuses; then there are none.
            Asked::Configure => {
                let configured = answer.configured().unwrap_or_default();
                let mask = configured.version_mask.unwrap_or(0) & self.wanted.version_mask;
                self.version_mask = mask;
                Told::Nothing
            }
            Asked::Subscribe => {
                let subscribed = answer.subscribed()?;
                let space = Space::checked(subscribed.extranonce1, subscribed.size)?;
                self.session = subscribed.session;
                self.stage = Stage::Naming { space, early: None };
                self.name(out);
                Told::Nothing
            }
            Asked::Authorize => {
                if let Err(refusal) = answer.accepted() {
                    return Err(StratumError::Refused { code: refusal.code.to_i32() });
                }
                self.begin()
            }
            Asked::Share => Told::Judged { share: id, answer: answer.accepted() },
            Asked::Wish => Told::Nothing,
        };
        self.unanswered.remove(&id);
        Ok(told)
    }

    /// Says who mines, and what it would like.
    fn name(&mut self, out: &mut String) {
        let (user, password) = (self.wanted.user.clone(), self.wanted.password.clone());
        self.ask(Asked::Authorize, &Request::Authorize { user, password }, out);
        self.ask(Asked::Wish, &Request::ExtranonceSubscribe, out);
        if let Some(wish) = self.wanted.difficulty {
            self.ask(Asked::Wish, &Request::SuggestDifficulty(wish), out);
        }
    }

    /// Mines from now on; a job that came early is taken up.
    fn begin(&mut self) -> Told {
        let (space, early) = match core::mem::replace(&mut self.stage, Stage::New) {
            Stage::Naming { space, early } => (space, early),
            other => {
                self.stage = other;
                return Told::Foreign;
            }
        };
        self.stage = Stage::Mining { space };
        early.map_or(Told::Nothing, |job| self.task(*job, space))
    }

    fn noticed(
        &mut self,
        id: &RequestId,
        notice: Notice,
        out: &mut String,
    ) -> Result<Told, StratumError> {
        Ok(match notice {
            Notice::SetDifficulty(difficulty) => {
                self.difficulty = difficulty;
                Told::Nothing
            }
            Notice::SetExtranonce { extranonce1, size } => {
                let next = Space::checked(extranonce1, size)?;
                match &mut self.stage {
                    Stage::Naming { space, .. } | Stage::Mining { space } => *space = next,
                    Stage::New | Stage::Greeting => return Err(StratumError::OutOfTurn),
                }
                Told::Nothing
            }
            Notice::SetVersionMask(mask) => {
                self.version_mask = mask & self.wanted.version_mask;
                Told::VersionMask(self.version_mask)
            }
            Notice::Notify(job) => match &mut self.stage {
                Stage::New | Stage::Greeting => return Err(StratumError::OutOfTurn),
                Stage::Naming { early, .. } => {
                    *early = Some(Box::new(job));
                    Told::Nothing
                }
                Stage::Mining { space } => {
                    let space = *space;
                    self.task(job, space)
                }
            },
            Notice::Reconnect { host, port, wait_s } => self.reconnect(host, port, wait_s),
            Notice::ShowMessage(text) => Told::Message(text),
            Notice::GetVersion => {
                print_words(id, &self.wanted.agent, out);
                Told::Nothing
            }
            Notice::Ping => {
                print_true(id, out);
                Told::Nothing
            }
            Notice::Unknown => Told::Foreign,
        })
    }

    fn task(&self, job: Notify, space: Space) -> Told {
        let mut prefix = job.prefix.clone();
        prefix.extend_from_slice(space.extranonce1.as_bytes());
        // Bytes that are not searched through are a part of the prefix, and stay zero.
        let size = space.size.min(SEARCHED_MAX);
        let fixed = space.size.saturating_sub(size);
        prefix.extend(core::iter::repeat_n(0, usize::from(fixed)));
        let (target, version_mask) = (self.difficulty.target(), self.version_mask);
        Told::Task(Box::new(Task { job, prefix, size, target, version_mask, space }))
    }

    fn reconnect(&self, host: Option<String>, port: Option<u16>, wait_s: u32) -> Told {
        let other = host.filter(|host| !host.eq_ignore_ascii_case(&self.host));
        if other.is_some() && self.wanted.follow == Follow::SameHost {
            return Told::NotFollowed;
        }
        Told::Reconnect { host: other, port, wait_s: wait_s.min(WAIT_MAX_S) }
    }

    /// Appends a share of `task`; returns the name under which it is judged. `None` if the session
    /// is not mining, the find is not of the task, or the pool owes too many answers: nothing is
    /// sent then.
    pub fn submit(&mut self, task: &Task, find: &Find, out: &mut String) -> Option<u64> {
        let Stage::Mining { .. } = self.stage else { return None };
        let &Find { extranonce2, version, time, nonce } = find;
        let changed = version ^ task.job.version;
        if changed & !task.version_mask != 0 || self.unanswered.len() >= UNANSWERED_MAX {
            return None;
        }
        // It must fit the bytes that are searched through, and travels in all that there are.
        Extranonce::of_u64(extranonce2, task.size.into())?;
        let submit = Submit {
            user: self.wanted.user.clone(),
            job: task.job.job.clone(),
            extranonce2: Extranonce::of_u64(extranonce2, task.space.size.into())?,
            time,
            nonce,
            version_bits: (task.version_mask != 0).then_some(version & task.version_mask),
        };
        Some(self.ask(Asked::Share, &Request::Submit(submit), out))
    }

    /// By what the session can be resumed on another connection, once it is subscribed.
    pub const fn session(&self) -> Option<&Label> {
        self.session.as_ref()
    }

    /// The host that it is connected to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the pool has accepted the name.
    pub const fn is_mining(&self) -> bool {
        matches!(self.stage, Stage::Mining { .. })
    }

    /// Shares and other requests that the pool has not answered.
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    fn ask(&mut self, asked: Asked, request: &Request, out: &mut String) -> u64 {
        let id = self.next_id;
        // 2^64 requests are never sent.
        self.next_id = id.wrapping_add(1);
        self.unanswered.insert(id, asked);
        request.print(&RequestId::number(id), out);
        id
    }
}

impl Space {
    /// There must be something to search through.
    fn checked(extranonce1: Extranonce, size: u8) -> Result<Self, StratumError> {
        if size == 0 { Err(StratumError::NoRoom) } else { Ok(Self { extranonce1, size }) }
    }
}
