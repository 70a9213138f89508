//! The holds that a payer keeps: those of its newest voucher, and those that an older one could
//! still put on the chain to its loss.

use alloc::vec::Vec;

use crate::signer::Exposure;
use crate::stream::bundle::{BundleSum, due, is_worth, read_optional, write_optional};
use crate::stream::bytes::{Reader, Writer};
use crate::stream::error::StreamError;
use crate::stream::hold::{ids_rise, read_hold, write_hold};
use crate::tx::hold::{ClaimDelay, Held, Hold};
use crate::units::{Height, HoldId, Msat};

/// One hold that the payer keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayerHold {
    /// The hold.
    pub hold: Hold,
    /// Where it stands.
    pub state: PayerHoldState,
    /// The most that a voucher with it could cost: once more than that is paid, the hold is
    /// forgotten, because publishing such a voucher would only hurt the payee.
    pub worst: Msat,
    /// The items that it pays, if it is a bundle.
    pub bundle: Option<BundleSum>,
}

/// Where a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayerHoldState {
    /// It stands in the newest voucher.
    Open,
    /// It stands in the newest voucher, and the payee promised not to claim it.
    Released,
    /// After its release it stands in older vouchers only, which stay valid.
    GivenUp,
    /// After its expiry it stands in older vouchers only: a settlement that is published late is
    /// timed out.
    Expired,
}

impl PayerHoldState {
    /// Whether it stands in the newest voucher.
    #[must_use]
    pub const fn is_present(self) -> bool {
        matches!(self, Self::Open | Self::Released)
    }

    /// Whether the payee promised not to claim it.
    #[must_use]
    pub const fn is_released(self) -> bool {
        matches!(self, Self::Released | Self::GivenUp)
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Released => 1,
            Self::GivenUp => 2,
            Self::Expired => 3,
        }
    }
}

/// All of them, and what they can cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stream) struct PayerHolds {
    /// The highest id that was ever used on this outpoint; zero if none was.
    pub(in crate::stream) last: HoldId,
    pub(in crate::stream) exposure: Exposure,
    /// In the order of their ids.
    pub(in crate::stream) kept: Vec<PayerHold>,
}

impl PayerHolds {
    pub(in crate::stream) const NONE: Self =
        Self { last: HoldId::MIN, exposure: Exposure::NONE, kept: Vec::new() };
    /// 256: the record stays below 28 KiB; 225 is the most that one voucher can have.
    pub(super) const KEPT_MAX: usize = 256;

    /// The holds of the newest voucher.
    pub(in crate::stream) fn open(&self) -> Vec<Hold> {
        let present = self.kept.iter().filter(|kept| kept.state.is_present());
        present.map(|kept| kept.hold).collect()
    }

    /// The bundles behind them.
    pub(super) fn bundles(&self) -> Vec<(HoldId, BundleSum)> {
        let present = self.kept.iter().filter(|kept| kept.state.is_present());
        present.filter_map(|kept| Some((kept.hold.id, kept.bundle?))).collect()
    }

    /// What folding all of them would pay.
    pub(super) fn due(&self) -> Msat {
        let present = self.kept.iter().filter(|kept| kept.state.is_present());
        present.fold(Msat::ZERO, |sum, kept| {
            // Each is below the capacity.
            sum.saturating_add(due(&kept.hold, kept.bundle.as_ref()))
        })
    }

    /// Puts bundles behind holds, as a voucher states them.
    pub(super) fn bundle(&mut self, bundles: &[(HoldId, BundleSum)]) {
        for (id, sum) in bundles {
            for kept in self.kept.iter_mut().filter(|kept| kept.hold.id == *id) {
                kept.bundle = Some(*sum);
            }
        }
    }

    /// Whether a signed voucher with these holds, of what this record has paid, is newer: holds
    /// were durable before they left, and at equal `paid` none of them is forgotten.
    ///
    /// Ids are not signed, so they say nothing: a hold is known if one of its script is kept, in
    /// its full amount and for each time that it is there. Else a payee could show a hold that was
    /// released under another id, and have it held again.
    pub(super) fn is_older_than(&self, signed: &[Hold]) -> bool {
        let mut unmatched: Vec<&Hold> = self.kept.iter().map(|kept| &kept.hold).collect();
        let mut signed: Vec<&Hold> = signed.iter().collect();
        // The largest first, so that each takes one that no larger one needs.
        signed.sort_by_key(|hold| core::cmp::Reverse(hold.amount));
        unmatched.sort_by_key(|hold| core::cmp::Reverse(hold.amount));
        signed.into_iter().any(|hold| {
            let covers = |kept: &&Hold| {
                (kept.hash, kept.expiry, kept.delay) == (hold.hash, hold.expiry, hold.delay)
                    && kept.amount >= hold.amount
            };
            let found = unmatched.iter().position(covers);
            found.map(|at| unmatched.remove(at)).is_none()
        })
    }

    pub(super) fn get(&self, id: HoldId) -> Result<&PayerHold, StreamError> {
        let mut kept = self.kept.iter();
        kept.find(|kept| kept.hold.id == id).ok_or(StreamError::NoSuchHold { id })
    }

    /// S9: what is kept after the state `held` is signed. `folded`: the hold that is paid by it.
    pub(super) fn after(
        &self,
        held: &Held,
        folded: Option<HoldId>,
        tip: Height,
    ) -> Result<Self, StreamError> {
        let cost = held.holds().iter().fold(held.payer_fee(), |sum, (hold, _)| {
            // The sum is below the capacity, or the state had not been made.
            sum.saturating_add(hold.amount)
        });
        let cost = held.paid().saturating_add(cost.to_msat());
        let mut next = self.without(folded, |id| held.holds().iter().any(|(h, _)| h.id == id), tip);
        for (hold, _) in held.holds() {
            if let Some(kept) = next.kept.iter_mut().find(|kept| kept.hold.id == hold.id) {
                kept.hold = *hold;
                kept.worst = kept.worst.max(cost);
            } else {
                let (hold, state) = (*hold, PayerHoldState::Open);
                next.kept.push(PayerHold { hold, state, worst: cost, bundle: None });
            }
            next.last = next.last.max(hold.id);
        }
        next.kept.sort_unstable_by_key(|kept| kept.hold.id);
        next.exposure = self.exposure.with(held);
        next.forget(held.paid());
        if next.kept.len() > Self::KEPT_MAX {
            return Err(StreamError::TooManyKept { max: Self::KEPT_MAX });
        }
        Ok(next)
    }

    /// What is kept after a voucher of `paid` without holds is signed.
    pub(super) fn after_plain(&self, folded: Option<HoldId>, paid: Msat, tip: Height) -> Self {
        let mut next = self.without(folded, |_| false, tip);
        next.forget(paid);
        next
    }

    /// What is kept where the payee shows a later voucher without holds, of `paid`. What became of
    /// each is not known here, so none counts as released.
    pub(super) fn ended(&self, paid: Msat) -> Self {
        self.after_plain(None, paid, Height::MAX)
    }

    /// The holds that `stays` does not name are folded or given up.
    fn without(&self, folded: Option<HoldId>, stays: impl Fn(HoldId) -> bool, tip: Height) -> Self {
        let mut next = self.clone();
        next.kept.retain(|kept| folded != Some(kept.hold.id));
        for kept in &mut next.kept {
            if kept.state.is_present() && !stays(kept.hold.id) {
                let passed = kept.hold.expiry < tip && !kept.state.is_released();
                kept.state = if passed { PayerHoldState::Expired } else { PayerHoldState::GivenUp };
            }
        }
        next
    }

    /// A hold that no voucher can bring more with than is paid anyway.
    fn forget(&mut self, paid: Msat) {
        self.kept.retain(|kept| kept.state.is_present() || kept.worst > paid);
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.u64(self.last.to_u64());
        w.msat(self.exposure.floor());
        // Both lists are bounded where they are made.
        w.u8(u8::try_from(self.exposure.steps().len()).unwrap_or(u8::MAX));
        for (until, cost) in self.exposure.steps() {
            w.u32(until.to_u32());
            w.msat(*cost);
        }
        w.u16(u16::try_from(self.kept.len()).unwrap_or(u16::MAX));
        for kept in &self.kept {
            write_hold(w, &kept.hold);
            w.u8(kept.state.byte());
            w.msat(kept.worst);
            write_optional(w, kept.bundle.as_ref());
        }
    }

    pub(super) fn read(r: &mut Reader<'_>, delay: ClaimDelay) -> Option<Self> {
        let last = HoldId::new(r.u64()?).ok()?;
        let floor = r.msat()?;
        let steps = (0..r.u8()?).map(|_| Some((Height::new(r.u32()?).ok()?, r.msat()?)));
        let exposure = Exposure::from_parts(floor, steps.collect::<Option<Vec<_>>>()?)?;
        let count = r.u16()?;
        if usize::from(count) > Self::KEPT_MAX {
            return None;
        }
        let mut kept = Vec::new();
        for _ in 0..count {
            let hold = read_hold(r, delay)?;
            let state = match r.u8()? {
                0 => PayerHoldState::Open,
                1 => PayerHoldState::Released,
                2 => PayerHoldState::GivenUp,
                3 => PayerHoldState::Expired,
                _ => return None,
            };
            let (worst, bundle) = (r.msat()?, read_optional(r)?);
            kept.push(PayerHold { hold, state, worst, bundle });
        }
        Some(Self { last, exposure, kept })
    }

    /// Ids rise, the exposure covers every hold's worst, and bundles are worth their holds.
    pub(super) fn holds_together(&self) -> bool {
        ids_rise(self.kept.iter().map(|kept| &kept.hold), self.last)
            && self.kept.iter().all(|kept| kept.worst <= self.exposure.at(Height::MIN))
            && self.kept.iter().all(|kept| is_worth(&kept.hold, kept.bundle.as_ref()))
    }

    /// Whether these may come after `before` by one step or more: ids and exposure only rise.
    pub(super) fn may_follow(&self, before: &Self) -> bool {
        self.last >= before.last && self.exposure.max(&before.exposure) == self.exposure
    }
}
