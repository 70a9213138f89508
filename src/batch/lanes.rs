//! Lanes: many sessions in one channel, each with a total and a limit of its own.
//!
//! Used by [`Builder`](super::Builder) and [`Batch`](super::Batch), which say what the lanes are
//! after a batch; `node` opens and closes them, and stores them beside the channel's record.

use alloc::vec::Vec;

use super::varint::take_array;
use super::{BatchError, Claim};
use crate::units::{Blame, ItemId, Lane, Msat};

/// 64 open lanes: sockets, feeds and jars of one machine. Both sides keep 26 bytes of each.
pub(super) const LANES_MAX: usize = 64;
/// The only version of the record.
const VERSION: u8 = 1;
/// Bytes of the record before its lanes, and of each lane.
const HEAD_BYTES: usize = 18;
const LANE_BYTES: usize = 26;

/// Where one lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneState {
    /// The id that its next item must be above: its last one, or of a lane that has not paid yet
    /// the highest of all closed ones, if there are any.
    pub last: Option<ItemId>,
    /// What was paid in it since it was opened.
    pub total: Msat,
    /// What that total may reach: the lane is drained there, and never overdrawn.
    pub limit: Msat,
}

/// The lanes of one channel: their totals, and what was paid outside of them, are its `paid`.
///
/// Item ids rise within a lane for the channel's life. A closed lane is forgotten, but for its
/// total and for the highest id of all closed lanes: a lane that opens later starts above it. So
/// the record is at most 1,682 bytes, whatever was opened and closed.
///
/// ```
/// use millstream::batch::lanes::Lanes;
/// use millstream::units::{Lane, Msat};
///
/// let mut lanes = Lanes::new(Msat::ZERO);
/// let (left, right) = (Lane::new(0)?, Lane::new(1)?);
/// lanes.open(left, Msat::new(5_000)?)?;
/// lanes.open(right, Msat::new(2_000)?)?;
/// assert_eq!(lanes.paid()?, Msat::ZERO);
/// assert_eq!(lanes.close(right)?, Msat::ZERO);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lanes {
    /// Rising by lane.
    open: Vec<Seat>,
    /// Paid in lanes that are closed, and without a lane.
    outside: Msat,
    /// The highest id of closed lanes; 0 for none.
    closed_last: u64,
}

/// A lane at work; also of a batch that is not counted yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) lane: Lane,
    /// The last id, 0 for none.
    pub(super) last: u64,
    pub(super) total: Msat,
    pub(super) limit: Msat,
}

impl Seat {
    fn state(&self) -> LaneState {
        LaneState { last: ItemId::new(self.last).ok(), total: self.total, limit: self.limit }
    }
}

/// What stands after a batch: the lanes with its items counted. The caller stores them together
/// with the voucher, or drops them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the batch counts only once these lanes are stored"]
#[non_exhaustive]
pub struct Credited {
    /// The lanes after it.
    pub lanes: Lanes,
    /// What the batch was claimed to be, and is.
    pub claim: Claim,
}

/// What lanes cannot do, or bytes that are no lanes. The lanes are as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LanesError {
    /// The lane is open.
    #[error("lane {lane} is open already")]
    Open {
        /// The lane.
        lane: Lane,
    },
    /// The lane is not open.
    #[error("lane {lane} is not open")]
    NotOpen {
        /// The lane.
        lane: Lane,
    },
    /// As many lanes as there can be.
    #[error("{max} lanes are open")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// A limit below what was paid already.
    #[error("a limit of {limit} is below the {total} that lane {lane} paid")]
    BelowTotal {
        /// The lane.
        lane: Lane,
        /// What was given.
        limit: Msat,
        /// What was paid.
        total: Msat,
    },
    /// The other side says that more was paid in a lane than was.
    #[error("lane {lane} paid {ours}, not {theirs}")]
    Ahead {
        /// The lane.
        lane: Lane,
        /// What was paid.
        ours: Msat,
        /// What the other side says.
        theirs: Msat,
    },
    /// The payer states another lane than is held, or says otherwise of the closed ones.
    #[error("the lanes are stated otherwise than they are held")]
    Differ {
        /// The first lane that differs; none if it is the closed ones.
        lane: Option<Lane>,
    },
    /// The totals are not the channel's `paid`, or are above all money.
    #[error("the lanes' totals are not the channel's")]
    SumDiffers,
    /// Bytes that no lanes are written as.
    #[error("not a record of lanes")]
    Malformed,
}

impl LanesError {
    /// Ours, but for what the other side says of its lanes.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Open { .. }
            | Self::NotOpen { .. }
            | Self::TooMany { .. }
            | Self::BelowTotal { .. }
            | Self::SumDiffers
            | Self::Malformed => Blame::Us,
            Self::Ahead { .. } | Self::Differ { .. } => Blame::Peer,
        }
    }
}

impl Lanes {
    /// No lanes, in a channel that has `paid` already: by a rollover or by plain vouchers.
    pub const fn new(paid: Msat) -> Self {
        Self { open: Vec::new(), outside: paid, closed_last: 0 }
    }

    /// Opens `lane`, which may pay up to `limit`.
    ///
    /// # Errors
    /// [`LanesError::Open`], [`LanesError::TooMany`].
    pub fn open(&mut self, lane: Lane, limit: Msat) -> Result<(), LanesError> {
        match self.open.binary_search_by_key(&lane, |seat| seat.lane) {
            Ok(_) => Err(LanesError::Open { lane }),
            Err(_) if self.open.len() >= LANES_MAX => Err(LanesError::TooMany { max: LANES_MAX }),
            Err(place) => {
                let (last, total) = (self.closed_last, Msat::ZERO);
                self.open.insert(place, Seat { lane, last, total, limit });
                Ok(())
            }
        }
    }

    /// Sets what the total of `lane` may reach, as its session's window moves on.
    ///
    /// # Errors
    /// [`LanesError::NotOpen`], [`LanesError::BelowTotal`].
    pub fn set_limit(&mut self, lane: Lane, limit: Msat) -> Result<(), LanesError> {
        let seat = self.open.iter_mut().find(|seat| seat.lane == lane);
        let seat = seat.ok_or(LanesError::NotOpen { lane })?;
        if limit < seat.total {
            return Err(LanesError::BelowTotal { lane, limit, total: seat.total });
        }
        seat.limit = limit;
        Ok(())
    }

    /// Closes `lane`, and returns its total.
    ///
    /// # Errors
    /// [`LanesError::NotOpen`].
    pub fn close(&mut self, lane: Lane) -> Result<Msat, LanesError> {
        let place = self.open.binary_search_by_key(&lane, |seat| seat.lane);
        let place = place.map_err(|_| LanesError::NotOpen { lane })?;
        let seat = self.open.get(place).copied().ok_or(LanesError::NotOpen { lane })?;
        self.outside = self.outside.checked_add(seat.total).ok_or(LanesError::SumDiffers)?;
        self.closed_last = self.closed_last.max(seat.last);
        self.open.remove(place);
        Ok(seat.total)
    }

    /// Counts `amount` that a plain voucher paid, outside of all lanes.
    ///
    /// # Errors
    /// [`LanesError::SumDiffers`] above all money.
    pub fn pay_plain(&mut self, amount: Msat) -> Result<(), LanesError> {
        self.paid()?.checked_add(amount).ok_or(LanesError::SumDiffers)?;
        self.outside = self.outside.checked_add(amount).ok_or(LanesError::SumDiffers)?;
        Ok(())
    }

    /// Where `lane` stands, if it is open.
    pub fn state(&self, lane: Lane) -> Option<LaneState> {
        self.seat(lane).map(Seat::state)
    }

    /// The open lanes, rising.
    pub fn iter(&self) -> impl Iterator<Item = (Lane, LaneState)> + '_ {
        self.open.iter().map(|seat| (seat.lane, seat.state()))
    }

    /// Checks that `next` is what these lanes are once some are closed, opened and limited: what a
    /// payer states before a batch. A lane that stays has its last id and total; a new one, or one
    /// that was closed and opened again, has paid nothing, and its ids begin above all that were
    /// closed before.
    ///
    /// # Errors
    /// [`LanesError::Differ`].
    pub fn check_followed_by(&self, next: &Self) -> Result<(), LanesError> {
        let same = |one: &Seat, other: &Seat| (one.last, one.total) == (other.last, other.total);
        let (mut outside, mut closed_last) = (self.outside, self.closed_last);
        for seat in &self.open {
            if !next.seat(seat.lane).is_some_and(|now| same(seat, now)) {
                outside = outside.checked_add(seat.total).ok_or(LanesError::SumDiffers)?;
                closed_last = closed_last.max(seat.last);
            }
        }
        for seat in &next.open {
            let held = self.seat(seat.lane);
            let least = held.map_or(self.closed_last, |held| held.last.max(self.closed_last));
            let fresh = seat.total == Msat::ZERO && (least..=closed_last).contains(&seat.last);
            if !fresh && !held.is_some_and(|held| same(held, seat)) {
                return Err(LanesError::Differ { lane: Some(seat.lane) });
            }
        }
        if (next.outside, next.closed_last) != (outside, closed_last) {
            return Err(LanesError::Differ { lane: None });
        }
        Ok(())
    }

    /// Checks that `after` is what a batch makes of these lanes: the same ones, none of which has
    /// less or goes back.
    pub(crate) fn check_paid_to(&self, after: &Self) -> Result<(), LanesError> {
        let closed = (self.outside, self.closed_last) == (after.outside, after.closed_last);
        if !closed || self.open.len() != after.open.len() {
            return Err(LanesError::Differ { lane: None });
        }
        for (was, is) in self.open.iter().zip(&after.open) {
            let same = (was.lane, was.limit) == (is.lane, is.limit);
            if !same || is.total < was.total || is.last < was.last {
                return Err(LanesError::Differ { lane: Some(was.lane) });
            }
        }
        Ok(())
    }

    /// The same with everything that a channel which has `paid` paid beside batches, by plain
    /// vouchers, counted outside of all lanes.
    ///
    /// # Errors
    /// [`LanesError::SumDiffers`] if the lanes have paid more than the channel.
    pub(crate) fn caught_up(&self, paid: Msat) -> Result<Self, LanesError> {
        let plain = paid.checked_sub(self.paid()?).ok_or(LanesError::SumDiffers)?;
        let mut next = self.clone();
        next.pay_plain(plain)?;
        Ok(next)
    }

    /// What was paid in all lanes and outside of them: the channel's `paid`, always.
    ///
    /// # Errors
    /// [`LanesError::SumDiffers`] above all money, which no batch leads to.
    pub fn paid(&self) -> Result<Msat, LanesError> {
        let mut totals = self.open.iter().map(|seat| seat.total);
        totals.try_fold(self.outside, Msat::checked_add).ok_or(LanesError::SumDiffers)
    }

    /// What the payer paid in each lane and the payee does not have: the meter bills it in a new
    /// batch where the old ones are lost. `payee` is what the payee presents, beside its voucher.
    ///
    /// # Errors
    /// [`LanesError::Ahead`] if the payee says more than was paid in a lane; lanes that only one
    /// side has are not compared.
    pub fn missing_at(&self, payee: &Self) -> Result<Vec<(Lane, Msat)>, LanesError> {
        let mut missing = Vec::new();
        for seat in &self.open {
            let (lane, ours) = (seat.lane, seat.total);
            let theirs = payee.seat(lane).map_or(Msat::ZERO, |seat| seat.total);
            match ours.checked_sub(theirs) {
                None => return Err(LanesError::Ahead { lane, ours, theirs }),
                Some(Msat::ZERO) => {}
                Some(amount) => missing.push((lane, amount)),
            }
        }
        Ok(missing)
    }

    /// The record, version 1; numbers are big-endian.
    ///
    /// | bytes | what |
    /// | --- | --- |
    /// | 1 | version, 1 |
    /// | 8 | paid outside of open lanes, msat |
    /// | 8 | highest item id of closed lanes, 0 for none |
    /// | 1 | open lanes, 0..=64 |
    /// | 26 each | lane (2), last id (8), total (8), limit (8), rising by lane |
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let lanes = self.open.len().saturating_mul(LANE_BYTES);
        let mut out = Vec::with_capacity(HEAD_BYTES.saturating_add(lanes));
        out.push(VERSION);
        out.extend_from_slice(&self.outside.to_msat().to_be_bytes());
        out.extend_from_slice(&self.closed_last.to_be_bytes());
        out.push(u8::try_from(self.open.len()).unwrap_or(0));
        for seat in &self.open {
            out.extend_from_slice(&seat.lane.to_u16().to_be_bytes());
            for number in [seat.last, seat.total.to_msat(), seat.limit.to_msat()] {
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        out
    }

    /// Reads exactly one record.
    ///
    /// # Errors
    /// [`LanesError::Malformed`], [`LanesError::SumDiffers`] if the totals are above all money.
    pub fn decode(bytes: &[u8]) -> Result<Self, LanesError> {
        let lanes = parse(bytes).map_err(|_| LanesError::Malformed)?;
        lanes.paid().map(|_| lanes)
    }

    /// Checks that these are the lanes of a channel that has `paid`.
    pub(super) fn check_paid(&self, paid: Msat) -> Result<(), LanesError> {
        if self.paid()? == paid { Ok(()) } else { Err(LanesError::SumDiffers) }
    }

    pub(super) fn seat(&self, lane: Lane) -> Option<&Seat> {
        let place = self.open.binary_search_by_key(&lane, |seat| seat.lane).ok()?;
        self.open.get(place)
    }

    /// The same lanes with `seats` in place of theirs.
    pub(super) fn with(&self, seats: &[Seat]) -> Self {
        let mut next = self.clone();
        for seat in &mut next.open {
            if let Some(moved) = seats.iter().find(|moved| moved.lane == seat.lane) {
                *seat = *moved;
            }
        }
        next
    }
}

fn parse(bytes: &[u8]) -> Result<Lanes, BatchError> {
    let mut from = bytes;
    let [version] = take_array(&mut from)?;
    if version != VERSION {
        return Err(BatchError::UnknownVersion { got: version });
    }
    let outside = take_msat(&mut from)?;
    let closed_last = u64::from_be_bytes(take_array(&mut from)?);
    let [count] = take_array(&mut from)?;
    let count = usize::from(count);
    if count > LANES_MAX || from.len() != count.saturating_mul(LANE_BYTES) {
        return Err(BatchError::Range { what: "lanes" });
    }
    let mut open: Vec<Seat> = Vec::with_capacity(count);
    for _ in 0..count {
        let lane = Lane::new(u16::from_be_bytes(take_array(&mut from)?));
        let lane = lane.map_err(|_| BatchError::Range { what: "lane" })?;
        let last = u64::from_be_bytes(take_array(&mut from)?);
        let (total, limit) = (take_msat(&mut from)?, take_msat(&mut from)?);
        let rising = open.last().is_none_or(|before| before.lane < lane);
        if !rising || total > limit {
            return Err(BatchError::Range { what: "lane" });
        }
        open.push(Seat { lane, last, total, limit });
    }
    Ok(Lanes { open, outside, closed_last })
}

fn take_msat(from: &mut &[u8]) -> Result<Msat, BatchError> {
    let msat = Msat::new(u64::from_be_bytes(take_array(from)?));
    msat.map_err(|_| BatchError::Range { what: "amount" })
}
