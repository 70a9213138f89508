//! The checks of one share, in their order (V1).

use super::{Desk, Good, Grace, Issued, Policy};
use crate::sha256::State;
use crate::shares::seen::{Key, Seen};
use crate::shares::text::rehashed;
use crate::shares::{Refused, Share};
use crate::units::{JobId, UtcSeconds, Work};

/// A share that passed every check that looks at the share and its job alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) issued: &'a Issued,
    /// The job's tip is the one before, in its grace.
    pub(super) before: bool,
}

impl Desk {
    /// Whether a share counts, and what it is worth. Changes nothing.
    ///
    /// # Errors
    /// The first reason against it, in the order of V1.
    #[inline]
    pub fn check(&self, now: UtcSeconds, share: &Share) -> Result<Good, Refused> {
        let place = self.place(now, share)?;
        let budget = self.within_budget(now, place.before);
        let (mut first, mut last) = ([0; 64], [0; 64]);
        let known = place.issued.job.build(self.engine, &self.space, share, &mut first, &mut last);
        let mut state = known.unwrap_or(State::INITIAL);
        if known.is_none() {
            self.engine.absorb_one(&mut state, &[first]);
        }
        self.engine.absorb_one(&mut state, &[last]);
        self.judge(now, &place, share, rehashed(self.engine, state), budget)
    }

    /// [`Self::check`] and [`Self::apply`] in one.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn take(&mut self, now: UtcSeconds, share: &Share) -> Result<Good, Refused> {
        let answer = self.check(now, share);
        if let Ok(good) = &answer {
            self.count(good);
        }
        answer
    }

    /// The header of a share that was found good, for a block; `None` if its job is forgotten.
    #[must_use]
    pub fn header(&self, good: &Good) -> Option<[u8; 80]> {
        let issued = self.issued(good.share.job)?;
        let (mut first, mut last) = ([0; 64], [0; 64]);
        issued.job.build(self.engine, &self.space, &good.share, &mut first, &mut last);
        [first, last].as_flattened().first_chunk().copied()
    }

    /// Job, tip, version, time, space: nothing here needs a hash or depends on other shares.
    #[inline]
    pub(super) fn place(&self, now: UtcSeconds, share: &Share) -> Result<Place<'_>, Refused> {
        let Share { job, extranonce, version, time, .. } = *share;
        let issued = self.issued(job).ok_or(Refused::UnknownJob { job })?;
        let before = issued.tip != self.tip;
        if before && !self.in_grace(now, issued.tip) {
            return Err(Refused::Stale { job, ago: now.saturating_since(self.since) });
        }
        let head = issued.job.head();
        if (version ^ head.version) & !head.version_mask != 0 {
            let (base, mask) = (head.version, head.version_mask);
            return Err(Refused::BadVersion { got: version, base, mask });
        }
        let last = self.time_max(now).min(issued.job.time_max());
        if time < head.min_time || time > last {
            return Err(Refused::BadTime { got: time, first: head.min_time, last });
        }
        let size = issued.job.extranonce_size();
        if extranonce & !largest(size) != 0 {
            return Err(Refused::NotYourSpace { got: extranonce, size });
        }
        Ok(Place { issued, before })
    }

    /// That one share more may be counted, if it is good.
    #[inline]
    pub(super) fn within_budget(&self, now: UtcSeconds, before: bool) -> Result<(), Refused> {
        let seen = self.seen_of(before);
        if seen.is_full() {
            return Err(Refused::OverBudget { limit: seen.limit(), span: "tip" });
        }
        if self.bucket.filled(&self.policy, now).shares == 0 {
            let limit = self.policy.shares_per_second;
            return Err(Refused::OverBudget { limit, span: "second" });
        }
        Ok(())
    }

    /// That the hash meets the target that was assigned, and that it was not counted; or if the
    /// budget does not allow the share, that it is a block (V8).
    #[inline]
    pub(super) fn judge(
        &self,
        now: UtcSeconds,
        place: &Place<'_>,
        share: &Share,
        hash: [u8; 32],
        budget: Result<(), Refused>,
    ) -> Result<Good, Refused> {
        let Place { issued, before } = *place;
        if budget.is_err() && !issued.job.network().is_met_by(&hash) {
            budget?;
        }
        if !issued.target.is_met_by(&hash) {
            return Err(Refused::Low { hash, target: issued.target });
        }
        // V3: by the hash of the header, whatever the share calls its job.
        if self.seen_of(before).holds(Key::of(&hash)) {
            return Err(Refused::Duplicate { job: share.job });
        }
        // V2: the assigned target, not the hash, says what it is worth.
        let work = match self.policy.grace {
            Grace::Unpaid(_) if before => Work::ZERO,
            _ if budget.is_err() => Work::ZERO,
            Grace::None | Grace::Unpaid(_) | Grace::Paid(_) => issued.work,
        };
        Ok(Good {
            share: *share,
            hash,
            work,
            network_work: issued.job.network_work(),
            block: issued.job.network().is_met_by(&hash),
            tip: issued.tip,
            within: budget.is_ok(),
            at: now,
        })
    }

    /// A share that was found good on the desk as it is counts.
    #[inline]
    pub(super) fn count(&mut self, good: &Good) {
        let applied = self.apply(good);
        debug_assert_eq!(applied, Ok(()));
    }

    /// The newest first: nearly every share is of it.
    #[inline]
    fn issued(&self, job: JobId) -> Option<&Issued> {
        self.jobs.iter().rev().find(|issued| issued.id == job)
    }

    /// Whether the jobs of a tip that is not the current one still count.
    pub(super) fn in_grace(&self, now: UtcSeconds, tip: u32) -> bool {
        match self.policy.grace {
            Grace::None => false,
            Grace::Unpaid(lasts) | Grace::Paid(lasts) => {
                self.is_before(tip) && now.saturating_since(self.since) <= lasts
            }
        }
    }

    /// Whether a tip is the one before the current one.
    pub(super) fn is_before(&self, tip: u32) -> bool {
        tip.checked_add(1) == Some(self.tip)
    }

    const fn seen_of(&self, before: bool) -> &Seen {
        if before { &self.seen_before } else { &self.seen }
    }

    /// The last time that a header may have at this time.
    fn time_max(&self, now: UtcSeconds) -> u32 {
        let ahead = self.policy.ahead_max.min(Policy::AHEAD_MAX);
        u32::try_from(now.saturating_after(ahead).to_u64()).unwrap_or(u32::MAX)
    }
}

/// The largest number of so many bytes.
const fn largest(bytes: u8) -> u64 {
    match bytes {
        0 => 0,
        1..=7 => {
            #[expect(clippy::as_conversions, reason = "widens, and `From` is not const")]
            let bits = (bytes as u32).wrapping_mul(8);
            u64::MAX.wrapping_shr(64_u32.wrapping_sub(bits))
        }
        _ => u64::MAX,
    }
}
