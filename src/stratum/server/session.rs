//! One connection of a miner.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bitcoin::secp256k1::XOnlyPublicKey;

use super::{Claim, Heard, Issue, Judge, Offer, Refused, Verdict};
use crate::stratum::message::{
    Code, Configure, Configured, FromMiner, Label, Notice, Notify, Request, RequestId, Submit,
    Subscribed, print_refusal, print_true,
};
use crate::stratum::{Difficulty, StratumError, WorkerName};
use crate::units::{JobId, Target};

/// 16 machines behind one connection: a proxy with more opens more connections.
const NAMES_MAX: usize = 16;
/// What a pool asks of its own accord carries ids far from any miner's.
const OWN_ID: u64 = 1 << 48;

/// The pool's side of one connection; see the [module](super).
#[derive(Debug)]
pub struct ServerSession {
    offer: Offer,
    stage: Stage,
    /// The bits that were agreed on; none before.
    mask: u32,
    /// The miner's own limit.
    minimum: Option<Difficulty>,
    follows_extranonce: bool,
    /// What was stated last, and for which target.
    stated: Option<(Target, Difficulty)>,
}

/// How far the greeting has come.
#[derive(Debug)]
enum Stage {
    Fresh,
    Subscribed,
    Authorized(Names),
    Mining(Names),
}

/// Who mines: one key, under some names.
#[derive(Debug)]
struct Names {
    key: XOnlyPublicKey,
    users: Vec<String>,
}

impl ServerSession {
    /// A connection that has said nothing yet.
    #[must_use]
    pub const fn new(offer: Offer) -> Self {
        Self {
            offer,
            stage: Stage::Fresh,
            mask: 0,
            minimum: None,
            follows_extranonce: false,
            stated: None,
        }
    }

    /// Takes a line, and appends what is answered to `out`: at most 4 kB.
    ///
    /// # Errors
    /// [`StratumError`] if it is no message: the connection has lost its lines, and is closed.
    pub fn receive(
        &mut self,
        line: &[u8],
        judge: &mut impl Judge,
        out: &mut String,
    ) -> Result<Heard, StratumError> {
        let (id, request) = match FromMiner::parse(line)? {
            FromMiner::Request { id, request } => (id, request),
            FromMiner::Malformed { id, error } => {
                print_refusal(&id, Code::Other, &error.to_string(), out);
                return Ok(Heard::Refused(Refused::Malformed(error)));
            }
            FromMiner::Answer(answer) => {
                let is_version = answer.id.to_u64() == Some(OWN_ID);
                let version = answer.version().ok().filter(|_| is_version);
                return Ok(version.map_or(Heard::Answered, Heard::Version));
            }
        };
        let heard = self.decide(request, &id, judge, out);
        Ok(heard.unwrap_or_else(|refused| {
            let (code, text) = words(refused);
            print_refusal(&id, code, text, out);
            Heard::Refused(refused)
        }))
    }

    /// Answers, or says why not; then nothing has changed and nothing was answered.
    fn decide(
        &mut self,
        request: Request,
        id: &RequestId,
        judge: &mut impl Judge,
        out: &mut String,
    ) -> Result<Heard, Refused> {
        match request {
            Request::Submit(submit) => return self.share(&submit, id, judge, out),
            Request::Subscribe { session, .. } => return self.subscribe(session, id, judge, out),
            Request::Authorize { user, password } => {
                return self.authorize(user, &password, id, judge, out);
            }
            Request::Configure(asked) => {
                self.configure(&asked).print(&asked, id, out);
                return Ok(Heard::Answered);
            }
            Request::ExtranonceSubscribe => self.follows_extranonce = true,
            Request::SuggestDifficulty(wish) => judge.suggest(wish.target()),
            Request::SuggestTarget(wish) => judge.suggest(wish),
            Request::Ping => {}
            Request::Unknown => return Err(Refused::UnknownMethod),
        }
        print_true(id, out);
        Ok(Heard::Answered)
    }

    fn configure(&mut self, asked: &Configure) -> Configured {
        let mut configured = Configured::default();
        if let Some(rolling) = asked.version_rolling {
            let mask = rolling.mask & self.offer.version_mask;
            // Fewer bits than it needs are of no use to it.
            if mask != 0 && mask.count_ones() >= u32::from(rolling.min_bits) {
                self.mask = mask;
                configured.version_mask = Some(mask);
            }
        }
        if let Some(minimum) = asked.minimum_difficulty {
            self.minimum = Some(minimum);
            configured.minimum_difficulty = true;
        }
        self.follows_extranonce |= asked.subscribe_extranonce;
        configured.subscribe_extranonce = asked.subscribe_extranonce;
        configured
    }

    fn subscribe(
        &mut self,
        session: Option<Label>,
        id: &RequestId,
        judge: &mut impl Judge,
        out: &mut String,
    ) -> Result<Heard, Refused> {
        let (next, heard) = match core::mem::replace(&mut self.stage, Stage::Fresh) {
            Stage::Fresh => (Stage::Subscribed, Heard::Answered),
            Stage::Authorized(names) => (Stage::Mining(names), Heard::Ready),
            subscribed @ (Stage::Subscribed | Stage::Mining(_)) => {
                self.stage = subscribed;
                return Err(Refused::SubscribedTwice);
            }
        };
        self.stage = next;
        if let Some(offer) = session.and_then(|session| judge.resume(&session)) {
            self.offer = offer;
            self.mask &= self.offer.version_mask;
        }
        let Offer { session, extranonce1, size, .. } = self.offer.clone();
        Subscribed { session: Some(session), extranonce1, size }.print(id, out);
        Ok(heard)
    }

    fn authorize(
        &mut self,
        user: String,
        password: &str,
        id: &RequestId,
        judge: &mut impl Judge,
        out: &mut String,
    ) -> Result<Heard, Refused> {
        let worker = WorkerName::parse(&user).map_err(|_| Refused::NotAuthorized)?;
        let known = self.names();
        let is_known = known.is_some_and(|names| names.users.contains(&user));
        let has_room = known.is_none_or(|names| {
            names.key == worker.key && (is_known || names.users.len() < NAMES_MAX)
        });
        if !has_room || !judge.authorize(&worker) {
            return Err(Refused::NotAuthorized);
        }
        if let Some(wish) = wish_of(password) {
            judge.suggest(wish.target());
        }
        let first = || Names { key: worker.key, users: Vec::new() };
        let (mut stage, heard) = match core::mem::replace(&mut self.stage, Stage::Fresh) {
            Stage::Fresh => (Stage::Authorized(first()), Heard::Answered),
            Stage::Subscribed => (Stage::Mining(first()), Heard::Ready),
            more @ (Stage::Authorized(_) | Stage::Mining(_)) => (more, Heard::Answered),
        };
        if let Stage::Authorized(names) | Stage::Mining(names) = &mut stage
            && !is_known
        {
            names.users.push(user);
        }
        self.stage = stage;
        print_true(id, out);
        Ok(heard)
    }

    fn share(
        &self,
        submit: &Submit,
        id: &RequestId,
        judge: &mut impl Judge,
        out: &mut String,
    ) -> Result<Heard, Refused> {
        let Stage::Mining(names) = &self.stage else {
            return Err(match self.stage {
                Stage::Fresh | Stage::Authorized(_) => Refused::NotSubscribed,
                Stage::Subscribed | Stage::Mining(_) => Refused::NotAuthorized,
            });
        };
        if !names.users.contains(&submit.user) {
            return Err(Refused::NotAuthorized);
        }
        match judge.judge(&self.claim(submit, judge).map_err(Refused::Share)?) {
            Verdict::Good => {
                print_true(id, out);
                Ok(Heard::Good)
            }
            verdict => Err(Refused::Share(verdict)),
        }
    }

    /// The share, with the version that its bits make of the job's.
    fn claim(&self, submit: &Submit, judge: &impl Judge) -> Result<Claim, Verdict> {
        let Submit { extranonce2, time, nonce, version_bits, .. } = *submit;
        let job = submit.job.to_u32().and_then(|job| JobId::new(job).ok()).ok_or(Verdict::Stale)?;
        let version = judge.version_of(job).ok_or(Verdict::Stale)?;
        let bits = version_bits.unwrap_or(version & self.mask);
        if bits & !self.mask != 0 {
            return Err(Verdict::Other("version bits outside the mask"));
        }
        let version = (version & !self.mask) | bits;
        let other_size = Verdict::Other("extranonce2 of another size");
        if extranonce2.as_bytes().len() != usize::from(self.offer.size) {
            return Err(other_size);
        }
        let extranonce = extranonce2.to_u64().ok_or(other_size)?;
        Ok(Claim { job, extranonce, version, time, nonce })
    }

    /// The target that the miner wants at least, if that is harder than `target`.
    #[must_use]
    pub fn hardened(&self, target: Target) -> Target {
        self.minimum.map_or(target, |minimum| target.min(minimum.target()))
    }

    /// Gives the miner a job, its difficulty before it where that has changed. `false` if it is not
    /// mining yet; nothing is said then.
    ///
    /// `issue` stands for what `job` says of its name, its time and whether it is clean.
    pub fn issue(&mut self, issue: &Issue, job: &Notify, out: &mut String) -> bool {
        if !matches!(self.stage, Stage::Mining(_)) {
            return false;
        }
        let target = issue.target;
        if self.stated.is_none_or(|(stated, _)| stated != target) {
            let difficulty = Difficulty::not_easier_than(target);
            if self.stated.is_none_or(|(_, stated)| stated != difficulty) {
                Notice::SetDifficulty(difficulty).print(&RequestId::null(), out);
            }
            self.stated = Some((target, difficulty));
        }
        job.print_as(&Label::of_u32(issue.id.to_u32()), issue.time, issue.clean, out);
        true
    }

    /// Moves the miner to another space of coinbases, from the next job on. `false` if it has not
    /// said that it can follow; nothing is said then.
    pub fn move_to(&mut self, offer: Offer, out: &mut String) -> bool {
        let can_move = self.follows_extranonce && matches!(self.stage, Stage::Mining(_));
        if can_move {
            let (extranonce1, size) = (offer.extranonce1, offer.size);
            let notice = Notice::SetExtranonce { extranonce1, size };
            notice.print(&RequestId::null(), out);
            self.offer = offer;
        }
        can_move
    }

    /// Changes which bits of the version the pool takes (BIP310); told where they were agreed on.
    pub fn allow_versions(&mut self, mask: u32, out: &mut String) {
        self.offer.version_mask = mask;
        let next = self.mask & mask;
        if next != self.mask {
            self.mask = next;
            Notice::SetVersionMask(next).print(&RequestId::null(), out);
        }
    }

    /// Says something that changes nothing here: a message, a wish to reconnect, a question.
    pub fn tell(&self, notice: &Notice, out: &mut String) {
        let id = match notice {
            Notice::GetVersion => RequestId::number(OWN_ID),
            Notice::Ping => RequestId::number(OWN_ID.saturating_add(1)),
            _ => RequestId::null(),
        };
        notice.print(&id, out);
    }

    /// What the connection was given.
    pub const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The bits of the version that were agreed on.
    pub const fn version_mask(&self) -> u32 {
        self.mask
    }

    /// Whom it mines for, once it may.
    pub fn key(&self) -> Option<XOnlyPublicKey> {
        self.names().map(|names| names.key)
    }

    /// Whether it is subscribed and authorized.
    pub const fn is_mining(&self) -> bool {
        matches!(self.stage, Stage::Mining(_))
    }

    const fn names(&self) -> Option<&Names> {
        match &self.stage {
            Stage::Fresh | Stage::Subscribed => None,
            Stage::Authorized(names) | Stage::Mining(names) => Some(names),
        }
    }
}

/// How a refusal is told to the miner.
const fn words(refused: Refused) -> (Code, &'static str) {
    match refused {
        Refused::Malformed(_) => (Code::Other, "malformed"),
        Refused::UnknownMethod => (Code::Other, "unknown method"),
        Refused::SubscribedTwice => (Code::Other, "already subscribed"),
        Refused::NotSubscribed => (Code::NotSubscribed, "not subscribed"),
        Refused::NotAuthorized => (Code::Unauthorized, "unauthorized worker"),
        Refused::Share(verdict) => match verdict {
            Verdict::Good => (Code::Other, "good"),
            Verdict::Stale => (Code::JobNotFound, "job not found"),
            Verdict::Duplicate => (Code::Duplicate, "duplicate share"),
            Verdict::Low => (Code::LowDifficulty, "low difficulty share"),
            Verdict::Other(words) => (Code::Other, words),
        },
    }
}

/// A wish for a difficulty in a password: `d=0.01`, alone or among others.
fn wish_of(password: &str) -> Option<Difficulty> {
    let mut parts = password.split([',', ';', ' ']);
    parts.find_map(|part| part.strip_prefix("d=")).and_then(|wish| wish.parse().ok())
}
