//! Which channel pays a worker, and what others have paid it before.

use alloc::vec::Vec;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Txid};

use crate::ledger::WorkerKey;
use crate::node::NodeError;
use crate::node::session::line::{BEFORE_MAX, Place, go_along};
use crate::store::{Key, envelope};
use crate::units::{Msat, SessionId};
use crate::wire;

/// The store's room byte of the node's own records, and which of them these are.
pub(in crate::node) const PREFIX: [u8; 2] = [0x01, 0x08];
/// The format that this release writes and reads.
const VERSION: u8 = 1;
/// Where a line rests whose channel has come to its end: no transaction has this id.
fn nowhere() -> OutPoint {
    OutPoint { txid: Txid::all_zeros(), vout: 0 }
}

/// A worker's places, oldest first, and whose budget pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkLine {
    pub(super) session: SessionId,
    pub(super) budget: Msat,
    /// Those before the last may come back by a reorg; never empty.
    places: Vec<Place>,
}

impl WorkLine {
    /// On `outpoint`, where `from` had been paid for other things, after `earlier` elsewhere.
    pub(super) fn new(outpoint: OutPoint, earlier: Msat, from: Msat) -> Self {
        let places = Vec::from([Place { outpoint, earlier, from }]);
        Self { session: SessionId::MIN, budget: Msat::ZERO, places }
    }

    /// The same, out of this budget.
    pub(super) fn with_budget(&self, session: SessionId, budget: Msat) -> Self {
        Self { session, budget, places: self.places.clone() }
    }

    fn last(&self) -> Place {
        let rest = Place { outpoint: nowhere(), earlier: Msat::ZERO, from: Msat::ZERO };
        self.places.last().copied().unwrap_or(rest)
    }

    /// The channel that pays; none where the last one has come to its end.
    pub(super) fn outpoint(&self) -> Option<OutPoint> {
        Some(self.last().outpoint).filter(|outpoint| *outpoint != nowhere())
    }

    /// The outpoints before it whose spends may still be undone.
    pub(super) fn before(&self) -> impl Iterator<Item = OutPoint> + '_ {
        self.places.iter().rev().skip(1).map(|place| place.outpoint)
    }

    /// Whether `outpoint` is one of its places.
    pub(super) fn knows(&self, outpoint: OutPoint) -> bool {
        self.places.iter().any(|place| place.outpoint == outpoint)
    }

    /// What earlier channels have paid.
    pub(super) fn earlier(&self) -> Msat {
        self.last().earlier
    }

    /// From which amount on the channel counts.
    pub(super) fn from(&self) -> Msat {
        self.last().from
    }

    /// The channel goes on at `to`: `stated` is what its spend states. Whether that is news.
    pub(super) fn goes_on(
        &mut self,
        from: OutPoint,
        to: OutPoint,
        stated: Msat,
        start: Msat,
    ) -> bool {
        let before = self.places.clone();
        if !go_along(&mut self.places, from, to, (stated, start)) {
            return false;
        }
        let most = BEFORE_MAX.saturating_add(1);
        let many = self.places.len().saturating_sub(most);
        self.places.drain(..many);
        self.places != before
    }

    /// A reorg has undone the spend of `outpoint`. Whether that is news.
    pub(super) fn goes_back(&mut self, outpoint: OutPoint) -> bool {
        let Some(at) = self.places.iter().position(|place| place.outpoint == outpoint) else {
            return false;
        };
        let keeps = at.saturating_add(1);
        let news = keeps < self.places.len();
        self.places.truncate(keeps);
        news
    }

    /// The channel at `outpoint` is spent and does not go on; `stated` is what it has paid. Whether
    /// that is news.
    pub(super) fn comes_to_rest(&mut self, outpoint: OutPoint, stated: Msat) -> bool {
        self.goes_on(outpoint, nowhere(), stated, Msat::ZERO)
    }

    /// The channel at `outpoint` is known no more: its spend is buried and nothing brings it back,
    /// or it never came to be, and has paid nothing. Whether that is news.
    pub(super) fn is_past(&mut self, outpoint: OutPoint) -> bool {
        if self.outpoint() == Some(outpoint) {
            self.comes_to_rest(outpoint, Msat::ZERO);
        }
        let Some(at) = self.places.iter().position(|place| place.outpoint == outpoint) else {
            return false;
        };
        self.places.drain(..=at);
        true
    }

    pub(super) fn encode(&self, key: &Key) -> Vec<u8> {
        let mut body = Vec::with_capacity(64);
        body.extend_from_slice(&self.session.to_u64().to_be_bytes());
        body.extend_from_slice(&self.budget.to_msat().to_be_bytes());
        body.push(u8::try_from(self.places.len()).unwrap_or(u8::MAX));
        self.places.iter().for_each(|place| place.write(&mut body));
        envelope::seal(key, VERSION, &body)
    }

    pub(super) fn decode(key: &Key, bytes: &[u8]) -> Result<(WorkerKey, Self), NodeError> {
        let broken = |what| NodeError::BrokenRecord { key: *key, what };
        let mut of = wire::Reader::new(key.as_bytes());
        let _prefix = of.take(PREFIX.len())?;
        let worker = WorkerKey::new(of.array::<32>()?);
        if !of.rest().is_empty() {
            return Err(broken("key"));
        }
        let mut from = wire::Reader::new(envelope::open(key, VERSION, bytes)?);
        let session = SessionId::new(from.u64()?).map_err(|_| broken("session"))?;
        let budget = Msat::new(from.u64()?).map_err(|_| broken("budget"))?;
        let count = usize::from(from.u8()?);
        if count == 0 || count > BEFORE_MAX.saturating_add(1) {
            return Err(broken("places"));
        }
        let mut places = Vec::with_capacity(count);
        for _ in 0..count {
            places.push(Place::read(&mut from)?);
        }
        if !from.rest().is_empty() {
            return Err(broken("length"));
        }
        Ok((worker, Self { session, budget, places }))
    }
}

/// The store key of a worker's line.
pub(super) fn key(worker: WorkerKey) -> Result<Key, NodeError> {
    Ok(Key::from_parts(&[&PREFIX, worker.as_bytes()])?)
}
