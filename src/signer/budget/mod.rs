//! Budgets of a payer: a session, an hour, a day, a peer; durable before they are spent.
//!
//! ```text
//!            limit |-----------------------------------------------| refused: OverBudget
//!         reserved |----------------------------|                    NeedsReservation
//!             used |-------------|<-- slice --->|                    signed
//!                                      ^ below half a slice: reserve() gives the next record
//!
//! reserve() -> Reservation --stage, barrier, durable--> Committed -> apply()
//! ```
//!
//! * B1. What is spent is the increase of exposure: what a voucher adds to the largest one signed
//!   on its outpoint. It counts at once in the four budgets; all four must allow it.
//! * B2. Signing takes only from what is reserved in a durable record. Slices are reserved ahead,
//!   so that no payment waits for a write; after a restart whatever was reserved counts as spent.
//! * B3. The windows are fixed: hour `floor(now / 3600)`, day `floor(now / 86400)` of UTC. A fixed
//!   window is two numbers however many payments there are, and after a restart it is the same
//!   window; the price is that twice an hour's budget may be spent around a full hour, never more
//!   than a day's in a day. A jump of the clock forward opens new windows and gives nothing back to
//!   old ones; backwards is refused.
//! * B4. One slice of the next hour and day is always reserved with the current one, so that the
//!   first payment after the full hour does not wait either.
//! * B5. A peer's budget is for a day, over all its channels and sessions. A session's is for its
//!   life.
//! * B6. Without the record the day counts as used, until
//!   [`MemorySigner::release_day_budget_without_record`](super::MemorySigner::release_day_budget_without_record).

mod record;
mod window;

use alloc::collections::BTreeMap;
use core::fmt;

pub use record::{BudgetRecord, Committed, Reservation, Staged};

use super::{PeerId, SignerError};
use crate::units::{Msat, SessionId, UtcSeconds};
use window::{Slice, Window};

/// 512: the record with as many of both still fits one value of the store (65,535 bytes), and a
/// payer that pays more peers in a day is a hub, which has signers in the plural.
pub const PEERS_MAX: usize = 512;
/// 512 open sessions, for the same reason.
pub const SESSIONS_MAX: usize = 512;

/// What a payer may spend. [`Msat::MAX`] means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// In an hour of UTC, over all peers.
    pub hour: Msat,
    /// In a day of UTC, over all peers.
    pub day: Msat,
    /// In a day of UTC, to one peer.
    pub peer: Msat,
    /// What is reserved ahead in each budget: a restart costs up to this of each, and a smaller
    /// slice costs more writes. An hour's budget divided by 16 is a fair value.
    pub slice: Msat,
}

/// The budgets by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Budget {
    /// Of a session, for its life.
    Session,
    /// Of an hour.
    Hour,
    /// Of a day.
    Day,
    /// Of a peer, a day.
    Peer,
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "session",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Peer => "peer",
        })
    }
}

/// A payment that is larger than what its open slices have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// Who is paid.
    pub peer: PeerId,
    /// In which session.
    pub session: SessionId,
    /// What it adds to the exposure.
    pub amount: Msat,
}

/// An open session's budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Session {
    limit: Msat,
    slice: Slice,
}

/// All budgets with what is used of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Purse {
    policy: Policy,
    hour: Window,
    day: Window,
    peers: BTreeMap<PeerId, Window>,
    sessions: BTreeMap<(PeerId, SessionId), Session>,
    /// Serial number of the newest reservation.
    issued: u64,
    /// Some slice is below its low-water mark, or something is not in the record yet.
    low: bool,
    /// A session has ended since the newest reservation.
    ended: bool,
}

impl Purse {
    /// Nothing is used yet, nothing is reserved.
    pub(super) const fn empty(policy: Policy) -> Self {
        Self {
            policy,
            hour: Window::EMPTY,
            day: Window::EMPTY,
            peers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            issued: 0,
            low: true,
            ended: false,
        }
    }

    /// B2: after a restart everything that was reserved counts as spent.
    pub(super) fn restart(policy: Policy, record: &BudgetRecord) -> Self {
        let session = |limit, reserved| Session { limit, slice: Slice::spent(reserved) };
        Self {
            policy,
            hour: record.hour.spent(),
            day: record.day.spent(),
            peers: record.peers.iter().map(|(peer, window)| (*peer, window.spent())).collect(),
            sessions: record
                .sessions
                .iter()
                .map(|(id, entry)| (*id, session(entry.limit, entry.reserved)))
                .collect(),
            issued: record.serial,
            low: true,
            ended: false,
        }
    }

    pub(super) fn open_session(
        &mut self,
        peer: PeerId,
        session: SessionId,
        limit: Msat,
    ) -> Result<(), SignerError> {
        let known = self.sessions.contains_key(&(peer, session));
        if !known && self.sessions.len() >= SESSIONS_MAX {
            return Err(SignerError::TooManySessions { max: SESSIONS_MAX });
        }
        if !self.peers.contains_key(&peer) && self.peers.len() >= PEERS_MAX {
            return Err(SignerError::TooManyPeers { max: PEERS_MAX });
        }
        self.peers.entry(peer).or_insert(Window::EMPTY);
        let slice = Slice::EMPTY;
        self.sessions.entry((peer, session)).or_insert(Session { limit, slice }).limit = limit;
        self.low = true;
        Ok(())
    }

    pub(super) fn end_session(&mut self, peer: PeerId, session: SessionId) {
        // Until a record says so, a restart would bring it back, and nobody would end it again.
        let ended = self.sessions.remove(&(peer, session)).is_some();
        self.ended |= ended;
        self.low |= ended;
    }

    /// B1: counts `ahead` in its four budgets, or in none.
    pub(super) fn spend(&mut self, ahead: &Ahead, now: UtcSeconds) -> Result<(), SignerError> {
        let Ahead { peer, session: id, amount } = *ahead;
        let missing = SignerError::NoSuchSession { session: id };
        let session = self.sessions.get_mut(&(peer, id)).ok_or(missing)?;
        let of_peer = self.peers.get_mut(&peer).ok_or(missing)?;
        let policy = &self.policy;
        let hour = self.hour.at(hour_of(now));
        let day = self.day.at(day_of(now));
        let peer_day = of_peer.at(day_of(now));
        let four = [
            (Budget::Session, session.limit, session.slice),
            (Budget::Hour, policy.hour, hour.current),
            (Budget::Day, policy.day, day.current),
            (Budget::Peer, policy.peer, peer_day.current),
        ];
        // Every limit before any slice: what no reservation can help must not ask for one.
        for (budget, limit, slice) in four {
            if slice.used.checked_add(amount).is_none_or(|used| used > limit) {
                let used = slice.used;
                return Err(SignerError::OverBudget { budget, limit, used, asked: amount });
            }
        }
        for (budget, _, slice) in four {
            let ready = slice.ready();
            if ready < amount {
                return Err(SignerError::NeedsReservation { budget, ready, ahead: *ahead });
            }
        }
        session.slice = session.slice.spend(amount);
        self.hour = hour.spend(amount);
        self.day = day.spend(amount);
        *of_peer = peer_day.spend(amount);
        // Half a slice: the other half lasts while the next record is written.
        let mark = amount_half(policy.slice);
        let low = |limit, slice: Slice| slice.reserved < limit && slice.ready() < mark;
        self.low |= low(session.limit, session.slice)
            | low(policy.hour, self.hour.current)
            | low(policy.day, self.day.current)
            | low(policy.peer, of_peer.current);
        Ok(())
    }

    /// The next record, or nothing if no slice is low at `now` and none is too small for `ahead`.
    pub(super) fn reserve(&mut self, now: UtcSeconds, ahead: Option<Ahead>) -> Option<Reservation> {
        let turned = self.hour.index != hour_of(now) || self.day.index != day_of(now);
        if !self.low && !turned && ahead.is_none() {
            return None;
        }
        let record = self.refilled(now, ahead);
        if !self.ended && self.covers(&record) {
            // Every budget is reserved to its limit.
            self.low = false;
            return None;
        }
        self.issued = record.serial;
        self.ended = false;
        Some(Reservation::new(record))
    }

    pub(super) fn apply(&mut self, record: &BudgetRecord) -> Result<(), SignerError> {
        let (got, want) = (record.serial, self.issued);
        if got != want {
            return Err(SignerError::StaleReservation { got, want });
        }
        self.hour.open(record.hour);
        self.day.open(record.day);
        for (peer, window) in &record.peers {
            if let Some(of_peer) = self.peers.get_mut(peer) {
                of_peer.open(*window);
            }
        }
        for (id, entry) in &record.sessions {
            if let Some(session) = self.sessions.get_mut(id) {
                session.slice.reserved = session.slice.reserved.max(entry.reserved);
            }
        }
        self.low = self.ended;
        Ok(())
    }

    /// Whether the open slices are those of `record` already.
    fn covers(&self, record: &BudgetRecord) -> bool {
        let same = self.hour.reserved_as(record.hour) && self.day.reserved_as(record.day);
        let peers = record.peers.iter().all(|(peer, window)| {
            self.peers.get(peer).is_some_and(|of_peer| of_peer.reserved_as(*window))
        });
        let sessions = record.sessions.iter().all(|(id, entry)| {
            self.sessions.get(id).is_some_and(|open| open.slice.reserved == entry.reserved)
        });
        same && peers && sessions
    }

    /// Every budget with a full slice ahead of what is used, as far as its limit reaches.
    fn refilled(&mut self, now: UtcSeconds, ahead: Option<Ahead>) -> BudgetRecord {
        let Policy { hour, day, peer: peer_limit, slice } = self.policy;
        let most = ahead.map_or(slice, |ahead| slice.max(ahead.amount));
        self.forget_idle_peers(now);
        let for_peer = |peer: &PeerId| match ahead {
            Some(ahead) if ahead.peer == *peer => most,
            _ => slice,
        };
        let for_session = |id: &(PeerId, SessionId)| match ahead {
            Some(ahead) if (ahead.peer, ahead.session) == *id => most,
            _ => slice,
        };
        let peers = self.peers.iter().map(|(peer, window)| {
            let window = window.at(day_of(now));
            (*peer, window.refilled(for_peer(peer), slice, peer_limit))
        });
        let sessions = self.sessions.iter().map(|(id, session)| {
            let reserved = session.slice.refilled(for_session(id), session.limit);
            (*id, record::SessionEntry { limit: session.limit, reserved })
        });
        BudgetRecord {
            // 2^64 reservations are out of reach.
            serial: self.issued.saturating_add(1),
            clock: now,
            hour: self.hour.at(hour_of(now)).refilled(most, slice, hour),
            day: self.day.at(day_of(now)).refilled(most, slice, day),
            peers: peers.collect(),
            sessions: sessions.collect(),
        }
    }

    /// A peer without a session, of whose days nothing is reserved any more, is new when it
    /// returns.
    fn forget_idle_peers(&mut self, now: UtcSeconds) {
        let sessions = &self.sessions;
        self.peers.retain(|peer, window| {
            let mut open = sessions.range((*peer, SessionId::MIN)..=(*peer, SessionId::MAX));
            open.next().is_some() || !window.at(day_of(now)).is_empty()
        });
    }
}

const fn hour_of(now: UtcSeconds) -> u64 {
    now.to_u64().div_euclid(3_600)
}

const fn day_of(now: UtcSeconds) -> u64 {
    now.to_u64().div_euclid(86_400)
}

fn amount_half(amount: Msat) -> Msat {
    Msat::new(amount.to_msat().div_euclid(2)).unwrap_or(Msat::ZERO)
}
