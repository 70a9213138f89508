//! The holds that a payee's best voucher has, and what became of each.

use alloc::vec::Vec;

use crate::stream::bundle::{BundleSum, is_worth, read_optional, write_optional};
use crate::stream::bytes::{Reader, Writer};
use crate::stream::hold::{ids_rise, read_hold, write_hold};
use crate::tx::hold::{ClaimDelay, Hold, Preimage};
use crate::units::HoldId;

/// One hold in the payee's best voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayeeHold {
    /// The hold.
    pub hold: Hold,
    /// What became of it.
    pub state: PayeeHoldState,
    /// The items that it pays, if it is a bundle.
    pub bundle: Option<BundleSum>,
}

/// What became of a hold that stands in the best voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayeeHoldState {
    /// The preimage is not known here, or not used yet.
    Open,
    /// The payee promised not to claim it; the payer may drop it.
    Released,
    /// The payee knows the preimage: the payer folds it, or it is claimed on the chain.
    Fulfilled(Preimage),
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stream) struct PayeeHolds {
    /// The highest id that was ever used on this outpoint; zero if none was.
    pub(in crate::stream) last: HoldId,
    /// In the order of their ids.
    pub(in crate::stream) list: Vec<PayeeHold>,
}

impl PayeeHolds {
    pub(in crate::stream) const NONE: Self = Self { last: HoldId::MIN, list: Vec::new() };

    pub(super) fn write(&self, w: &mut Writer) {
        w.u64(self.last.to_u64());
        // The terms' count is one byte.
        w.u8(u8::try_from(self.list.len()).unwrap_or(u8::MAX));
        for held in &self.list {
            write_hold(w, &held.hold);
            match held.state {
                PayeeHoldState::Open => w.u8(0),
                PayeeHoldState::Released => w.u8(1),
                PayeeHoldState::Fulfilled(preimage) => {
                    w.u8(2);
                    w.bytes(preimage.as_bytes());
                }
            }
            write_optional(w, held.bundle.as_ref());
        }
    }

    pub(super) fn read(r: &mut Reader<'_>, delay: ClaimDelay) -> Option<Self> {
        let last = HoldId::new(r.u64()?).ok()?;
        let count = r.u8()?;
        let mut list = Vec::new();
        for _ in 0..count {
            let hold = read_hold(r, delay)?;
            let state = match r.u8()? {
                0 => PayeeHoldState::Open,
                1 => PayeeHoldState::Released,
                2 => PayeeHoldState::Fulfilled(Preimage::new(*r.array::<32>()?)),
                _ => return None,
            };
            list.push(PayeeHold { hold, state, bundle: read_optional(r)? });
        }
        Some(Self { last, list })
    }

    /// Ids rise, preimages fit, and holds stand in a voucher.
    pub(super) fn holds_together(&self, has_voucher: bool) -> bool {
        let fits = |held: &PayeeHold| match held.state {
            PayeeHoldState::Fulfilled(preimage) => preimage.hash() == held.hold.hash,
            PayeeHoldState::Open | PayeeHoldState::Released => true,
        };
        ids_rise(self.list.iter().map(|held| &held.hold), self.last)
            && self.list.iter().all(fits)
            && self.list.iter().all(|held| is_worth(&held.hold, held.bundle.as_ref()))
            && (has_voucher || self.list.is_empty())
    }

    /// Whether these may come after `before` by one step or more.
    pub(super) fn may_follow(&self, before: &Self) -> bool {
        let kept = before.list.iter().all(|was| match (was.state, self.get(was.hold.id)) {
            (PayeeHoldState::Open, _) | (_, None) => true,
            (state, Some(now)) => now.state == state,
        });
        kept && self.last >= before.last
    }

    pub(super) fn get(&self, id: HoldId) -> Option<&PayeeHold> {
        self.list.iter().find(|held| held.hold.id == id)
    }

    /// The holds as the best voucher states them.
    pub(super) fn stated(&self) -> Vec<Hold> {
        self.list.iter().map(|held| held.hold).collect()
    }

    /// The bundles behind them.
    pub(super) fn bundles(&self) -> Vec<(HoldId, BundleSum)> {
        self.list.iter().filter_map(|held| Some((held.hold.id, held.bundle?))).collect()
    }
}
