//! Metered sessions: readings one way, payments the other, and the channel that pays them.
//!
//! ```text
//!  seller                 buyer                  allowed when
//!  OfferSession --Offer-> kept per link          at most OFFERS_MAX of a link
//!  receive_start <-Start- AcceptSession          the channel pays no other session
//!  Start ---------------> Active                 answered however late
//!  Meter --Reading------> checked, paid          Active
//!  EndSession <---------> EndSession             Offered, Active, Paused
//!  Reading -------------> checked, paid          Ended and not stated: it crossed the end (M9)
//!  Statement -----------> StatementAgreed        Ended and paid
//!  ForgetSession          ForgetSession          Ended
//! ```
//!
//! A session that has ended and is paid is kept until [`SETTLED_MAX`] others came after it.
//!
//! Whatever one side waits for it asks for again (`repeat.rs`): the buyer for the seller's start
//! and its statement, the seller for an answer to its offer, and for the payment of its readings
//! when no newer one will ask.
//!
//! A buyer that was restored without its sessions takes a new one on its channel all the same: its
//! fresh signature ends what the seller still holds there (`agree.rs`, `end_for_successor`).
//!
//! Another price is another session: `ChangeTariff` ends one and offers the next in one command.

mod agree;
mod count;
mod end;
pub(super) mod line;
mod place;
mod repeat;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bitcoin::OutPoint;

use agree::Offered;
pub(super) use agree::{NewSession, Offer, Successor};
use line::{BEFORE_MAX, Place};

use super::effects::Event;
use super::{LinkId, Node, NodeError, Now, Repeat};
use crate::meter::tariff::Tariff;
use crate::meter::{self, Input, Record, Role, Session, State};
use crate::signer::{PeerId, Signer};
use crate::store::{Key, envelope};
use crate::units::{Msat, Quantity, Seconds, SessionId, UtcSeconds};
use crate::wire::{self, Reading, SessionPause};

/// The store's room byte of sessions.
const ROOM: u8 = 0x05;
/// The session record format that this release writes and reads.
const VERSION: u8 = 1;
/// 1,024 sessions at a node; each holds a tariff and its readings that are not paid yet.
const SESSIONS_MAX: usize = 1_024;
/// 64 offers to peers that are gone: who took one just before its line broke comes back for it.
const LEFT_MAX: usize = 64;
/// 64 sessions that are over and paid: long enough to show the last ones to their owner.
const SETTLED_MAX: usize = 64;

/// A session, the channel that pays it, and what the peer has not seen yet.
#[derive(Debug)]
pub(super) struct SessionSlot {
    meter: Session,
    link: Option<LinkId>,
    /// Where it is paid; none before the buyer has chosen the channel.
    place: Option<Place>,
    /// Where it was paid before, oldest first: spends that may still be replaced led away from it.
    before: Vec<Place>,
    /// Readings that are not paid yet, with what was owed at each; the seller sends them again.
    claims: VecDeque<(Msat, Reading)>,
    /// When the seller offered it, or the buyer took it.
    since: Option<UtcSeconds>,
    /// Seller: what it says again while nobody has taken it.
    offered: Option<Offered>,
    /// Buyer: whose signer's budget pays.
    peer: Option<PeerId>,
    /// Buyer: when the two met again last, and what may have been delivered until then.
    met: Option<Meeting>,
    /// What the peer has not answered.
    repeat: Option<Repeat>,
    /// It comes from the store: its record may be older than what was signed under it.
    restored: bool,
    /// Buyer: the seller has stated it, or knows nothing of it, so that no claim is on its way.
    over: bool,
    /// Buyer: the seller knows nothing of it, so that nothing of it is to be paid.
    unknown: bool,
    /// Buyer: the starts that are not answered on this line, and whether the last answer was that
    /// the session has not begun.
    starts: Starts,
}

/// A buyer's starts of a session that it has taken.
#[derive(Debug, Clone, Copy, Default)]
struct Starts {
    asked: u32,
    refused: bool,
    /// The seller has seen no proof on this line that the channel is this side's.
    unproved: bool,
}

/// The end of a time in which the two sides could not speak.
#[derive(Debug, Clone, Copy)]
struct Meeting {
    at: UtcSeconds,
    /// The largest total that the own meter bore out then.
    allowed: Quantity,
    /// Whether the own meter was read since: after a restart it may know more than the record.
    read: bool,
}

impl SessionSlot {
    pub(super) const fn meter(&self) -> &Session {
        &self.meter
    }

    pub(super) const fn link(&self) -> Option<LinkId> {
        self.link
    }

    const fn new(meter: Session, link: Option<LinkId>) -> Self {
        let claims = VecDeque::new();
        Self {
            meter,
            link,
            place: None,
            before: Vec::new(),
            claims,
            since: None,
            offered: None,
            peer: None,
            met: None,
            repeat: None,
            restored: false,
            over: false,
            unknown: false,
            starts: Starts { asked: 0, refused: false, unproved: false },
        }
    }

    pub(super) const fn repeat(&self) -> Option<Repeat> {
        self.repeat
    }

    fn is_seller(&self) -> bool {
        matches!(self.meter.record().role(), Role::Seller)
    }

    fn is_ended(&self) -> bool {
        self.meter.record().state() == State::Ended
    }

    /// Whether nothing of it is open between the two sides.
    fn is_settled(&self) -> bool {
        self.is_ended() && (self.unknown || self.meter.debt() == Msat::ZERO)
    }

    /// Whether the seller's start was taken, be it after the end.
    fn has_begun(&self) -> bool {
        self.meter.record().has_begun()
    }

    fn is_on(&self, outpoint: OutPoint) -> bool {
        self.place.is_some_and(|place| place.outpoint == outpoint)
    }

    fn key(session: SessionId) -> Result<Key, NodeError> {
        Ok(Key::from_parts(&[&[ROOM], &session.to_u64().to_be_bytes()])?)
    }

    /// | bytes | field, numbers big-endian |
    /// | --- | --- |
    /// | 8 | the time at which the buyer took it, 0 for a seller and once it has begun |
    /// | 167 | the meter's record |
    /// | 1 | how many places follow |
    /// | 52 each | where it is paid, and before that where it was paid before, oldest first |
    /// | rest | the tariff |
    fn encode(&self, key: &Key) -> Vec<u8> {
        let mut body = Vec::with_capacity(512);
        let taken = self.since.filter(|_| !self.has_begun()).unwrap_or(UtcSeconds::MIN);
        body.extend_from_slice(&taken.to_u64().to_be_bytes());
        body.extend_from_slice(&self.meter.record().encode());
        let places = || self.before.iter().chain(self.place.as_ref());
        body.push(u8::try_from(places().count()).unwrap_or(u8::MAX));
        places().for_each(|place| place.write(&mut body));
        body.extend_from_slice(&self.meter.tariff().encode());
        envelope::seal(key, VERSION, &body)
    }

    pub(super) fn decode(key: &Key, bytes: &[u8]) -> Result<(SessionId, Self), NodeError> {
        let body = envelope::open(key, VERSION, bytes)?;
        let mut from = wire::Reader::new(body);
        let taken = from.u64()?;
        let record = Record::decode(from.take(Record::LENGTH)?)?;
        if Self::key(record.id())? != *key {
            return Err(NodeError::BrokenRecord { key: *key, what: "session id" });
        }
        let places = usize::from(from.u8()?);
        if places > BEFORE_MAX.saturating_add(1) {
            return Err(NodeError::BrokenRecord { key: *key, what: "places" });
        }
        let mut before = Vec::with_capacity(places);
        for _ in 0..places {
            before.push(Place::read(&mut from)?);
        }
        // To the last byte: a longer record is refused here.
        let tariff = Tariff::parse(from.take_rest())?;
        let meter = Session::restore(&record, tariff)?;
        let mut slot = Self::new(meter, None);
        if !slot.has_begun() {
            slot.since = UtcSeconds::new(taken).ok().filter(|at| *at > UtcSeconds::MIN);
        }
        (slot.place, slot.before, slot.restored) = (before.pop(), before, true);
        if slot.is_seller() && slot.meter.debt() > Msat::ZERO {
            // What the buyer may not have seen: the last reading says all of it.
            slot.claims.push_back((slot.meter.owed(), last_reading(&record)));
        }
        Ok((record.id(), slot))
    }
}

/// A session's last reading, as it is stored.
fn last_reading(record: &Record) -> Reading {
    let idle = Some(record.idle()).filter(|idle| *idle > Seconds::MIN);
    Reading { session: record.id(), time: record.read_at(), quantity: record.quantity(), idle }
}

impl<S: Signer> Node<S> {
    /// A session that a peer speaks of: only the one at its other end may, so that no third party
    /// can bill, end or restart it.
    fn session_over(&self, link: LinkId, session: SessionId) -> Result<&SessionSlot, NodeError> {
        let slot = self.sessions.get(&session).filter(|slot| slot.link == Some(link));
        slot.ok_or(NodeError::NoSession { session })
    }

    fn session_slot(&self, session: SessionId) -> Result<&SessionSlot, NodeError> {
        self.sessions.get(&session).ok_or(NodeError::NoSession { session })
    }

    fn session_mut(&mut self, session: SessionId) -> Result<&mut SessionSlot, NodeError> {
        self.sessions.get_mut(&session).ok_or(NodeError::NoSession { session })
    }

    /// The session that a channel pays: there is one that is not settled at most.
    pub(super) fn session_on(&self, outpoint: OutPoint) -> Option<SessionId> {
        let mut on = self.sessions.iter().filter(|(_, slot)| slot.is_on(outpoint));
        on.find(|(_, slot)| !slot.is_settled()).map(|(id, _)| *id)
    }

    /// Buyer: the session that a channel still pays, or whose last claims may be on their way (M9):
    /// the last one that has ended, until the seller has said what it came to.
    pub(super) fn unstated_on(&self, outpoint: OutPoint) -> Option<SessionId> {
        let on = self.sessions.iter().filter(|(_, slot)| slot.is_on(outpoint));
        let last = || on.max_by_key(|(_, slot)| slot.meter.record().at());
        let waits = |slot: &SessionSlot| !slot.is_seller() && !slot.over;
        let unstated = || last().filter(|(_, slot)| waits(slot)).map(|(id, _)| *id);
        self.session_on(outpoint).or_else(unstated)
    }

    /// Whether a connection is up.
    fn is_up(&self, link: Option<LinkId>) -> bool {
        link.is_some_and(|link| self.links.contains_key(&link))
    }

    /// Makes room for one more session: what is over goes first, then offers to nobody.
    fn check_room(&mut self, session: SessionId) -> Result<(), NodeError> {
        if self.sessions.contains_key(&session) {
            return Err(NodeError::SessionExists { session });
        }
        self.forget_settled(SETTLED_MAX)?;
        self.forget_left(LEFT_MAX)?;
        if self.sessions.len() >= SESSIONS_MAX {
            self.forget_left(0)?;
            self.forget_settled(0)?;
        }
        if self.sessions.len() >= SESSIONS_MAX {
            return Err(NodeError::TooMany { what: "sessions", max: SESSIONS_MAX });
        }
        Ok(())
    }

    /// Forgets the oldest of a seller's offers to peers that are gone, down to `most` of them.
    fn forget_left(&mut self, most: usize) -> Result<(), NodeError> {
        let left = |slot: &SessionSlot| {
            let untaken = slot.is_seller() && slot.meter.record().state() == State::Offered;
            untaken && !self.is_up(slot.link)
        };
        let left = self.sessions.iter().filter(|(_, slot)| left(slot));
        let mut left: Vec<_> = left.map(|(id, slot)| (slot.since, *id)).collect();
        left.sort_unstable();
        let many = left.len().saturating_sub(most);
        for (_, session) in left.into_iter().take(many) {
            self.drop_session(session)?;
        }
        Ok(())
    }

    /// Forgets the oldest of the sessions that are over, down to `most` of them. Whose channel is
    /// gone cannot be paid any more, and is over too.
    fn forget_settled(&mut self, most: usize) -> Result<(), NodeError> {
        let mut over: Vec<(UtcSeconds, SessionId)> = self
            .sessions
            .iter()
            .filter(|(_, slot)| slot.is_settled() || (slot.is_ended() && !self.has_place(slot)))
            .map(|(id, slot)| (slot.meter.record().at(), *id))
            .collect();
        over.sort_unstable();
        let many = over.len().saturating_sub(most);
        for (_, session) in over.into_iter().take(many) {
            self.drop_session(session)?;
        }
        Ok(())
    }

    fn has_place(&self, slot: &SessionSlot) -> bool {
        slot.place.is_some_and(|Place { outpoint, .. }| {
            self.payees.contains_key(&outpoint) || self.payers.contains_key(&outpoint)
        })
    }

    /// Forgets a session that has ended, on the caller's word.
    pub(super) fn forget_session(
        &mut self,
        now: &Now,
        session: SessionId,
    ) -> Result<(), NodeError> {
        let slot = self.session_slot(session)?;
        if !slot.is_ended() {
            return Err(NodeError::Busy { session });
        }
        let place = slot.place.filter(|place| self.payers.contains_key(&place.outpoint));
        self.drop_session(session)?;
        place.map_or(Ok(()), |place| self.accept_next(now, place.outpoint))
    }

    fn drop_session(&mut self, session: SessionId) -> Result<(), NodeError> {
        self.effects.delete(SessionSlot::key(session)?)?;
        if let Some(peer) = self.sessions.remove(&session).and_then(|slot| slot.peer) {
            self.signer.end_session(peer, session);
        }
        Ok(())
    }

    fn step(
        &mut self,
        time: UtcSeconds,
        session: SessionId,
        input: Input,
    ) -> Result<Option<State>, NodeError> {
        let slot = self.session_mut(session)?;
        let meter::Step { record, entered, .. } = slot.meter.decide(time, input)?;
        slot.meter.apply(&record)?;
        Ok(entered)
    }

    fn tell_entered(
        &mut self,
        session: SessionId,
        entered: Option<State>,
    ) -> Result<(), NodeError> {
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        match entered {
            Some(State::Active) => self.effects.tell(Event::ServiceOn { session }),
            Some(State::Paused) => {
                let (debt, owed) = (slot.meter.debt(), slot.meter.owed());
                let link = slot.link.filter(|_| slot.is_seller() && self.is_up(slot.link));
                let time = slot.meter.record().at();
                self.effects.tell(Event::ServiceOff { session, debt });
                if let Some(link) = link {
                    self.effects.send(link, SessionPause { session, time, owed });
                }
            }
            Some(State::Offered | State::Ended) | None => {}
        }
        Ok(())
    }

    /// M7, P3: where the price depends on the time, what a reading cost is durable before the
    /// seller tells of it, and before the buyer pays it. Whoever restarted from an older record
    /// would price all of it anew, at the price of its first reading after the restart.
    fn store_if_timed(&mut self, session: SessionId) -> Result<(), NodeError> {
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        if slot.meter.tariff().depends_on_time() { self.store_session(session) } else { Ok(()) }
    }

    fn store_session(&mut self, session: SessionId) -> Result<(), NodeError> {
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        let key = SessionSlot::key(session)?;
        Ok(self.effects.put(key, &slot.encode(&key))?)
    }

    fn store_session_lazily(&mut self, session: SessionId) -> Result<(), NodeError> {
        let slot = self.sessions.get(&session).ok_or(NodeError::NoSession { session })?;
        let key = SessionSlot::key(session)?;
        Ok(self.effects.put_lazily(key, &slot.encode(&key))?)
    }

    /// Takes a stored session, with the payee whose budget pays it. The signer's record may still
    /// hold the budget of one that is over.
    pub(super) fn keep_session(&mut self, session: SessionId, mut slot: SessionSlot) {
        let payer = slot.place.filter(|_| !slot.is_seller());
        let payer = payer.and_then(|place| self.payers.get(&place.outpoint));
        slot.peer = payer.map(|payer| PeerId::new(payer.machine.record().base()));
        if let Some(peer) = slot.peer.filter(|_| slot.is_settled()) {
            self.signer.end_session(peer, session);
        }
        self.sessions.insert(session, slot);
    }

    /// Buyer: the channel pays nothing more, so the budgets of its sessions are not needed.
    pub(super) fn close_budgets(&mut self, outpoint: OutPoint) {
        for (session, slot) in self.sessions.iter_mut().filter(|(_, slot)| slot.is_on(outpoint)) {
            if let Some(peer) = slot.peer.take() {
                self.signer.end_session(peer, *session);
            }
        }
    }
}
