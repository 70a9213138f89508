//! One worker's seat behind its connection, and the shelf where it waits when that is cut.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::XOnlyPublicKey;

use super::{Credit, Job, ServerOptions};
use crate::rt::RtError;
use crate::rt::clock::entropy;
use crate::shares::seat::{Issued, Seat};
use crate::shares::{Head, JobError, Refused, Share, Space, Vardiff};
use crate::stratum::WorkerName;
use crate::stratum::message::{Extranonce, Label};
use crate::stratum::server::{Claim, Issue, Judge, Offer, ServerSession, Verdict};
use crate::units::{JobId, Target, UtcSeconds};

/// Cut sessions that wait: as many as a server has connections by default. The oldest goes first.
const KEPT_MAX: usize = 1_024;

/// What makes each connection's coinbases its own, and keeps desks of cut connections.
#[derive(Debug)]
pub(super) struct Shelf {
    next: AtomicU32,
    /// By the session's name; the front was cut first.
    kept: Mutex<VecDeque<(Label, Instant, Kept)>>,
    resume_max: Duration,
    extranonce2_size: u8,
}

/// What must not be forgotten of a cut connection while it can come back: what was counted.
#[derive(Debug)]
struct Kept {
    offer: Offer,
    key: XOnlyPublicKey,
    seat: Seat<Arc<Job>>,
}

impl Shelf {
    /// Extranonces begin anywhere: a server that starts again on the same tip must not meet those
    /// that it gave out before.
    pub(super) fn new(options: &ServerOptions) -> Result<Self, RtError> {
        let [a, b, c, d, ..] = random()?;
        Ok(Self {
            next: AtomicU32::new(u32::from_be_bytes([a, b, c, d])),
            kept: Mutex::new(VecDeque::new()),
            resume_max: options.resume_max,
            extranonce2_size: options.extranonce2_size,
        })
    }

    /// An offer that no other connection has: 2^32 connections until one comes again.
    pub(super) fn offer(&self) -> Result<(Offer, Space), RtError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let [name @ .., _, _, _, _] = random()?.map(char_of);
        let name: String = name.iter().collect();
        // Both have room for four bytes, and a label for 28 letters.
        let none = |_| RtError::NoEntropy;
        let space = Space::new(&number).map_err(|_| RtError::NoEntropy)?;
        let offer = Offer {
            session: Label::new(&name).map_err(none)?,
            extranonce1: Extranonce::new(&number).map_err(none)?,
            size: self.extranonce2_size,
            version_mask: Head::MASK_MAX,
        };
        Ok((offer, space))
    }

    fn keep(&self, session: Label, kept: Kept) {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while all.len() >= KEPT_MAX || all.front().is_some_and(|(_, at, _)| self.is_old(*at)) {
            all.pop_front();
        }
        all.push_back((session, now(), kept));
    }

    fn take(&self, session: &Label) -> Option<Kept> {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|(name, _, _)| name == session)?;
        let (_, at, kept) = all.remove(at)?;
        (!self.is_old(at)).then_some(kept)
    }

    fn is_old(&self, at: Instant) -> bool {
        now().saturating_duration_since(at) > self.resume_max
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a session waits is not a matter of UTC")]
pub(super) fn now() -> Instant {
    Instant::now()
}

fn random() -> Result<[u8; 32], RtError> {
    Ok(*entropy()?.as_bytes())
}

/// One of 32 letters and digits.
fn char_of(byte: u8) -> char {
    char::from_digit(u32::from(byte & 31), 32).unwrap_or('0')
}

/// A worker: what its session asks about, and what it has found.
#[derive(Debug)]
pub(super) struct Worker {
    shelf: Arc<Shelf>,
    /// Set by the driver before each line.
    pub(super) now: UtcSeconds,
    name: Option<Arc<WorkerName>>,
    /// Whose session was resumed.
    resumed: Option<XOnlyPublicKey>,
    seat: Seat<Arc<Job>>,
    /// Whether this connection has a job in its space: earlier ones are another's.
    begun: bool,
    found: Vec<Credit>,
    /// Whether nobody is to blame for the refused share: it came too late, or its worker is faster
    /// than the target that it was given.
    pub(super) is_blameless: bool,
}

/// Why a job cannot be given to a worker.
pub(super) enum NotIssued {
    /// It went back to a tip that it left: it needs another space.
    WentBack,
    /// A defect of ours.
    Broken,
}

impl Worker {
    pub(super) fn new(
        shelf: Arc<Shelf>,
        options: &ServerOptions,
        space: Space,
        now: UtcSeconds,
    ) -> Self {
        let (least, most, start) = options.work;
        let vardiff = Vardiff::new(least, most, start, options.aim, now);
        Self {
            shelf,
            now,
            name: None,
            resumed: None,
            seat: Seat::new(space, options.desk, vardiff),
            begun: false,
            found: Vec::new(),
            is_blameless: false,
        }
    }

    /// Gives the session a job, at this worker's target; the difficulty goes with it.
    ///
    /// Does nothing before the session is mining.
    pub(super) fn issue(
        &mut self,
        session: &mut ServerSession,
        job: &Arc<Job>,
        out: &mut String,
    ) -> Result<(), NotIssued> {
        if !session.is_mining() {
            return Ok(());
        }
        self.seat.harden(session.hardened(Target::MAX));
        let issued = self.seat.issue(self.now, Arc::clone(&job.pool), Arc::clone(job));
        let Issued { id, target, fresh } = issued.map_err(|error| match error {
            JobError::TipLeft => NotIssued::WentBack,
            _ => NotIssued::Broken,
        })?;
        // The first job of a connection is clean: whatever was searched before is another's.
        let clean = fresh || !self.begun;
        self.begun = true;
        session.allow_versions(job.pool.head().version_mask, out);
        let time = Self::time_of(self.now, job.pool.head());
        session.issue(&Issue { id, target, time, clean }, &job.notify, out);
        Ok(())
    }

    /// The present, as far as the job allows it.
    fn time_of(now: UtcSeconds, head: &Head) -> u32 {
        let roll = u32::try_from(head.roll_max.to_u64()).unwrap_or(u32::MAX);
        let present = u32::try_from(now.to_u64()).unwrap_or(u32::MAX);
        present.min(head.start.saturating_add(roll)).max(head.start)
    }

    /// Whether the newest job's target is not what it would be now.
    pub(super) fn wants_other_target(&mut self, session: &ServerSession) -> bool {
        self.seat.harden(session.hardened(Target::MAX));
        self.seat.wants_other_target(self.now) && self.begun
    }

    /// Starts anew in another space, after the chain went back.
    pub(super) fn move_to(&mut self, space: Space) {
        self.seat.move_to(space);
        self.begun = false;
    }

    /// What was found since the last call.
    pub(super) fn take_found(&mut self) -> Vec<Credit> {
        std::mem::take(&mut self.found)
    }

    /// Keeps what was counted for whoever resumes the session.
    pub(super) fn shelve(self, offer: &Offer) {
        if let Some(name) = self.name.filter(|_| self.seat.is_used()) {
            let (offer, key, seat) = (offer.clone(), name.key, self.seat);
            self.shelf.keep(offer.session.clone(), Kept { offer, key, seat });
        }
    }
}

impl Judge for Worker {
    fn resume(&mut self, session: &Label) -> Option<Offer> {
        // Its own desk would be lost by it.
        if self.seat.is_used() || self.resumed.is_some() {
            return None;
        }
        let kept = self.shelf.take(session)?;
        if self.name.as_ref().is_some_and(|name| name.key != kept.key) {
            // Somebody else's: put it back.
            self.shelf.keep(session.clone(), kept);
            return None;
        }
        (self.resumed, self.seat) = (Some(kept.key), kept.seat);
        Some(kept.offer)
    }

    fn authorize(&mut self, worker: &WorkerName) -> bool {
        if self.resumed.is_some_and(|key| key != worker.key) {
            return false;
        }
        if self.name.is_none() {
            self.name = Some(Arc::new(worker.clone()));
        }
        true
    }

    fn version_of(&self, job: JobId) -> Option<u32> {
        self.seat.made_of(job).map(|job| job.pool.head().version)
    }

    fn suggest(&mut self, target: Target) {
        self.seat.suggest(target);
    }

    fn judge(&mut self, claim: &Claim) -> Verdict {
        self.is_blameless = false;
        let Some(worker) = self.name.clone() else { return Verdict::Stale };
        let Claim { job, extranonce, version, time, nonce } = *claim;
        let share = Share { job, extranonce, version, time, nonce };
        match self.seat.take(self.now, &share) {
            Ok((good, job)) => {
                let job = Arc::clone(job);
                let extranonce1 = *self.seat.space();
                self.found.push(Credit { worker, good, job, extranonce1 });
                Verdict::Good
            }
            Err(refused) => {
                self.is_blameless =
                    matches!(refused, Refused::Stale { .. } | Refused::OverBudget { .. });
                verdict_of(&refused)
            }
        }
    }
}

fn verdict_of(refused: &Refused) -> Verdict {
    match refused {
        Refused::UnknownJob { .. } | Refused::Stale { .. } => Verdict::Stale,
        Refused::Duplicate { .. } => Verdict::Duplicate,
        Refused::Low { .. } => Verdict::Low,
        Refused::BadVersion { .. } => Verdict::Other("version outside the mask"),
        Refused::BadTime { .. } => Verdict::Other("time out of range"),
        Refused::NotYourSpace { .. } => Verdict::Other("extranonce2 out of range"),
        Refused::OverBudget { .. } => Verdict::Other("too many shares"),
    }
}
