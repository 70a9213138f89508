//! The places of one session along its channel: where it is paid, and where it was paid before.
//!
//! ```text
//!   A --settled--> B --settled--> C      before: A, B   place: C
//!   A --settled again, dearer--> B'      before: A      place: B', counted on from A
//! ```
//!
//! A spend may be replaced until it is buried, so what a session had paid at each outpoint is kept
//! that long: the outpoint's own record says what its newest spend states, and no more what one
//! before that did, by which the later places were counted.

use alloc::vec::Vec;

use bitcoin::OutPoint;
use bitcoin::hashes::Hash;

use super::super::NodeError;
use super::SessionSlot;
use crate::units::Msat;
use crate::wire;

/// 16 spends of one channel that are not buried: one in each block, at a depth of 16. What is older
/// is forgotten, and a session does not follow a spend that replaces one of those.
pub(in crate::node) const BEFORE_MAX: usize = 16;

/// An outpoint that pays a session, and how its cumulative amount counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) struct Place {
    pub(in crate::node) outpoint: OutPoint,
    /// What this session paid on earlier outpoints of the channel.
    pub(in crate::node) earlier: Msat,
    /// What the outpoint had counted when the session came to it.
    pub(in crate::node) from: Msat,
}

impl Place {
    /// What the session has paid when the channel's cumulative amount is `paid`.
    pub(in crate::node) const fn paid(&self, paid: Msat) -> Msat {
        self.earlier.saturating_add(paid.saturating_sub(self.from))
    }

    /// Its 52 bytes.
    pub(in crate::node) fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.outpoint.txid.as_byte_array());
        to.extend_from_slice(&self.outpoint.vout.to_be_bytes());
        to.extend_from_slice(&self.earlier.to_msat().to_be_bytes());
        to.extend_from_slice(&self.from.to_msat().to_be_bytes());
    }

    pub(in crate::node) fn read(from: &mut wire::Reader<'_>) -> Result<Self, NodeError> {
        let txid = bitcoin::Txid::from_byte_array(from.array::<32>()?);
        let outpoint = OutPoint { txid, vout: from.u32()? };
        let earlier = Msat::new(from.u64()?).map_err(crate::tx::TxError::from)?;
        let counted = Msat::new(from.u64()?).map_err(crate::tx::TxError::from)?;
        Ok(Self { outpoint, earlier, from: counted })
    }
}

/// Lets a line of places, oldest first, go on from `from` to `to`: what was paid there in all is
/// `stated` by the spend, and what is there counts from `start` on. False if `from` is not in it.
pub(in crate::node) fn go_along(
    line: &mut Vec<Place>,
    from: OutPoint,
    to: OutPoint,
    (stated, start): (Msat, Msat),
) -> bool {
    let Some(at) = line.iter().position(|place| place.outpoint == from) else { return false };
    let (_, later) = line.split_at_mut(at);
    let Some((base, later)) = later.split_first_mut() else { return false };
    let earlier = base.paid(stated);
    let next = later.first().filter(|next| next.outpoint == to).map(|next| next.earlier);
    if let Some(was) = next {
        // It has come there already: only what the spend states is known better now.
        for place in later {
            place.earlier = place.earlier.saturating_sub(was).saturating_add(earlier);
        }
    } else {
        line.truncate(at.saturating_add(1));
        line.push(Place { outpoint: to, earlier, from: start });
    }
    true
}

impl SessionSlot {
    /// Whether it is paid on `outpoint`, or was before spends that the peer may not have seen.
    pub(super) fn is_at_or_before(&self, outpoint: OutPoint) -> bool {
        self.is_on(outpoint) || self.was_on(outpoint)
    }

    /// Whether it was paid on `outpoint` before it came to where it is.
    pub(super) fn was_on(&self, outpoint: OutPoint) -> bool {
        self.before.iter().any(|place| place.outpoint == outpoint)
    }

    /// Goes from one outpoint to the next, also from where it was before a spend that was replaced.
    /// Whether that is news.
    pub(super) fn goes_on(
        &mut self,
        from: OutPoint,
        to: OutPoint,
        stated: Msat,
        start: Msat,
    ) -> bool {
        let Some(last) = self.place else { return false };
        let mut line = self.before.clone();
        line.push(last);
        let base = line.iter_mut().find(|place| place.outpoint == from);
        if let Some(base) = base.filter(|_| !self.meter.record().has_begun()) {
            // What is paid before its start is paid beside it.
            base.from = base.from.max(stated);
        }
        go_along(&mut line, from, to, (stated, start)) && self.goes_along(line)
    }

    /// Goes back to where it was before a spend that is undone. Whether that is news.
    pub(super) fn goes_back(&mut self, outpoint: OutPoint) -> bool {
        let Some(at) = self.before.iter().position(|place| place.outpoint == outpoint) else {
            return false;
        };
        let mut line = self.before.clone();
        line.truncate(at.saturating_add(1));
        self.goes_along(line)
    }

    fn goes_along(&mut self, mut line: Vec<Place>) -> bool {
        let place = line.pop();
        let many = line.len().saturating_sub(BEFORE_MAX);
        line.drain(..many);
        let goes = self.place != place || self.before != line;
        (self.place, self.before) = (place, line);
        goes
    }

    /// The spend of `outpoint` is buried: nothing before it can be replaced any more.
    pub(super) fn is_past(&mut self, outpoint: OutPoint) {
        if let Some(at) = self.before.iter().position(|place| place.outpoint == outpoint) {
            self.before.drain(..at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::tariff::{Measure, Tariff};
    use crate::meter::{Input, Role, Session, Window};
    use crate::units::{Price, SessionId, UtcSeconds};

    fn at(nth: u8) -> OutPoint {
        OutPoint { txid: bitcoin::Txid::from_byte_array([nth; 32]), vout: 0 }
    }

    fn msat(msat: u64) -> Msat {
        Msat::new(msat).unwrap()
    }

    /// Taken on the first outpoint, on which 100 were counted before.
    fn taken(begun: bool) -> SessionSlot {
        let tariff = Tariff::flat(Measure::Second, Price::new(msat(1), 1).unwrap()).unwrap();
        let window = Window { credit: msat(1), prepay: msat(1) };
        let id = SessionId::new(7).unwrap();
        let mut meter = Session::offer(id, Role::Seller, window, tariff);
        if begun {
            let now = UtcSeconds::new(1_700_000_000).unwrap();
            let start = Input::Start { at: now, tariff: meter.tariff().hash() };
            meter.apply(&meter.decide(now, start).unwrap().record).unwrap();
        }
        let mut slot = SessionSlot::new(meter, None);
        slot.place = Some(Place { outpoint: at(1), earlier: Msat::ZERO, from: msat(100) });
        slot
    }

    fn place(slot: &SessionSlot) -> (OutPoint, u64, u64) {
        let Place { outpoint, earlier, from } = slot.place.unwrap();
        (outpoint, earlier.to_msat(), from.to_msat())
    }

    #[test]
    fn spend_that_states_more_than_was_promised_counts_at_every_later_place() {
        let mut slot = taken(true);
        assert!(slot.goes_on(at(1), at(2), msat(400), msat(0)));
        assert!(slot.goes_on(at(2), at(3), msat(50), msat(7)));
        assert_eq!(place(&slot), (at(3), 300 + 50, 7));
        assert!(slot.goes_on(at(1), at(2), msat(450), msat(0)));
        assert_eq!(place(&slot), (at(3), 350 + 50, 7));
        assert!(!slot.goes_on(at(1), at(2), msat(450), msat(0)), "it is no news twice");
    }

    #[test]
    fn spend_that_replaces_another_goes_on_from_where_the_session_was_before_it() {
        let mut slot = taken(true);
        assert!(slot.goes_on(at(1), at(2), msat(400), msat(0)));
        assert!(slot.goes_on(at(2), at(3), msat(50), msat(7)));
        assert!(slot.goes_on(at(1), at(4), msat(500), msat(9)));
        assert_eq!(place(&slot), (at(4), 400, 9));
        assert!(!slot.is_at_or_before(at(2)) && slot.is_at_or_before(at(1)));
        assert!(!slot.goes_back(at(2)), "it was never there");
        assert!(slot.goes_back(at(1)));
        assert_eq!(place(&slot), (at(1), 0, 100));
    }

    #[test]
    fn session_that_begins_behind_a_spend_counts_nothing_before_it() {
        let mut slot = taken(false);
        assert!(slot.goes_on(at(1), at(2), msat(400), msat(0)));
        slot.meter = taken(true).meter;
        slot.place = Some(Place { outpoint: at(2), earlier: Msat::ZERO, from: msat(30) });
        // The spend again, in a block now.
        assert!(!slot.goes_on(at(1), at(2), msat(400), msat(0)));
        assert_eq!(place(&slot), (at(2), 0, 30));
        assert!(slot.goes_on(at(1), at(3), msat(400), msat(5)));
        assert_eq!(place(&slot), (at(3), 0, 5));
    }

    #[test]
    fn oldest_places_are_forgotten_beyond_the_limit_and_behind_a_buried_spend() {
        let mut slot = taken(true);
        for nth in 1..=17 {
            assert_eq!(slot.before.len(), usize::from(nth - 1).min(BEFORE_MAX));
            assert!(slot.goes_on(at(nth), at(nth + 1), msat(400), msat(0)));
        }
        assert!(!slot.is_at_or_before(at(1)) && slot.is_at_or_before(at(2)));
        slot.is_past(at(16));
        assert!(!slot.is_at_or_before(at(15)) && slot.is_at_or_before(at(16)));
        slot.is_past(at(99));
        assert_eq!(slot.before.len(), 2);
    }
}
