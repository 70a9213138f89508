//! The checks of items, the same on both sides: rising ids, lane limits, room of the channel.

use alloc::vec::Vec;

use super::item::ItemError;
use super::lanes::{Lanes, Seat};
use crate::units::{ItemId, Lane, Msat};

/// The lanes that a batch pays in, by first use, with what it has paid so far.
#[derive(Debug)]
pub(super) struct Tally {
    seats: Vec<Seat>,
    /// The seat that was used last: most items follow one of their own lane.
    recent: usize,
    total: Msat,
    room: Msat,
}

/// A lane found for the next items.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// Its place among the batch's lanes; the one after the last if it is new there.
    pub(super) place: usize,
    pub(super) seat: Seat,
    /// Whether the batch has paid in it before.
    pub(super) known: bool,
    /// What may be paid next, in one item or in many: the least of what lane and channel have.
    pub(super) free: Msat,
}

impl Tally {
    pub(super) const fn new(room: Msat) -> Self {
        Self { seats: Vec::new(), recent: 0, total: Msat::ZERO, room }
    }

    /// Finds `lane`, whose next item is `id`.
    #[inline]
    pub(super) fn find(&self, lanes: &Lanes, lane: Lane, id: ItemId) -> Result<Found, ItemError> {
        let (place, seat, known) = match self.seats.get(self.recent) {
            Some(seat) if seat.lane == lane => (self.recent, *seat, true),
            _ => self.search(lanes, lane)?,
        };
        if id.to_u64() <= seat.last {
            return Err(ItemError::NotRising { lane, id, last: seat.last });
        }
        let in_lane = seat.limit.saturating_sub(seat.total);
        let free = in_lane.min(self.room.saturating_sub(self.total));
        Ok(Found { place, seat, known, free })
    }

    /// Counts items up to the id `last` that cost `sum`, at most what is free.
    #[inline]
    pub(super) fn count(&mut self, found: &Found, last: u64, sum: Msat) {
        // Neither saturates: `sum` is at most what lane and channel have free.
        let total = found.seat.total.saturating_add(sum);
        let seat = Seat { last, total, ..found.seat };
        match self.seats.get_mut(found.place) {
            Some(known) => *known = seat,
            None => self.seats.push(seat),
        }
        self.recent = found.place;
        self.total = self.total.saturating_add(sum);
    }

    pub(super) const fn total(&self) -> Msat {
        self.total
    }

    /// The lanes after the batch.
    pub(super) fn after(&self, lanes: &Lanes) -> Lanes {
        lanes.with(&self.seats)
    }

    #[inline(never)]
    fn search(&self, lanes: &Lanes, lane: Lane) -> Result<(usize, Seat, bool), ItemError> {
        if let Some(place) = self.seats.iter().position(|seat| seat.lane == lane)
            && let Some(seat) = self.seats.get(place)
        {
            return Ok((place, *seat, true));
        }
        let seat = lanes.seat(lane).ok_or(ItemError::UnknownLane { lane })?;
        Ok((self.seats.len(), *seat, false))
    }
}

impl Found {
    /// Why `amount` is not free, after `paid` of it was used up by earlier items.
    #[cold]
    pub(super) fn over(&self, paid: Msat, amount: Msat) -> ItemError {
        let in_lane = self.seat.limit.saturating_sub(self.seat.total).saturating_sub(paid);
        if amount > in_lane {
            let by = amount.saturating_sub(in_lane);
            return ItemError::Overdrawn { lane: self.seat.lane, by };
        }
        let free = self.free.saturating_sub(paid);
        ItemError::OverRoom { by: amount.saturating_sub(free) }
    }
}
