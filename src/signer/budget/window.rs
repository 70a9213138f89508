//! A window of time: what is reserved and used of it, and the slice reserved of the next one.

use super::record::WindowEntry;
use crate::units::Msat;

/// What is reserved of a budget, and the part of it that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) used: Msat,
    pub(super) reserved: Msat,
}

impl Slice {
    pub(super) const EMPTY: Self = Self { used: Msat::ZERO, reserved: Msat::ZERO };

    pub(super) const fn spent(reserved: Msat) -> Self {
        Self { used: reserved, reserved }
    }

    /// What is left of it.
    pub(super) const fn ready(self) -> Msat {
        self.reserved.saturating_sub(self.used)
    }

    pub(super) fn spend(self, amount: Msat) -> Self {
        debug_assert!(self.ready() >= amount);
        // The caller compared with `ready`, so that the sum stays below `reserved`.
        Self { used: self.used.saturating_add(amount), ..self }
    }

    /// What would be reserved with `slice` ahead of what is used; never less than now.
    pub(super) fn refilled(self, slice: Msat, limit: Msat) -> Msat {
        self.used.saturating_add(slice).min(limit).max(self.reserved)
    }
}

/// The window `index` of time, counted from 1970, and the one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) index: u64,
    pub(super) current: Slice,
    pub(super) next: Slice,
}

impl Window {
    pub(super) const EMPTY: Self = Self { index: 0, current: Slice::EMPTY, next: Slice::EMPTY };

    /// The same seen from a later window: what lies before is gone, and never comes back.
    pub(super) const fn at(self, index: u64) -> Self {
        match index.checked_sub(self.index) {
            // An earlier one cannot be asked for, since `now` never runs backwards.
            None | Some(0) => self,
            Some(1) => Self { index, current: self.next, next: Slice::EMPTY },
            Some(_) => Self { index, ..Self::EMPTY },
        }
    }

    pub(super) fn spend(self, amount: Msat) -> Self {
        Self { current: self.current.spend(amount), ..self }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.current == Slice::EMPTY && self.next == Slice::EMPTY
    }

    /// What is to be reserved: `most` ahead in this window, and one slice in all of the next one,
    /// so that many restarts in one hour cost the next hour one slice and not many.
    pub(super) fn refilled(self, most: Msat, slice: Msat, limit: Msat) -> WindowEntry {
        WindowEntry {
            index: self.index,
            reserved: self.current.refilled(most, limit),
            next: slice.min(limit).max(self.next.reserved),
        }
    }

    /// Opens what is reserved durably. The record may be of an earlier window than this.
    pub(super) fn open(&mut self, entry: WindowEntry) {
        let mut window = self.at(entry.index);
        window.raise(entry.index, entry.reserved);
        window.raise(entry.index.saturating_add(1), entry.next);
        *self = window;
    }

    pub(super) fn reserved_as(&self, entry: WindowEntry) -> bool {
        let reserved = (self.current.reserved, self.next.reserved);
        self.index == entry.index && reserved == (entry.reserved, entry.next)
    }

    fn raise(&mut self, index: u64, reserved: Msat) {
        let slice = match index.checked_sub(self.index) {
            Some(0) => &mut self.current,
            Some(1) => &mut self.next,
            _ => return,
        };
        slice.reserved = slice.reserved.max(reserved);
    }
}
