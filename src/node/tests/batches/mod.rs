//! Batches between two nodes: a line that loses, repeats and reorders, restarts at every write, and
//! sums that a child could add up.

mod attacks;
mod heal;
mod model;
mod records;

use alloc::collections::{BTreeMap, VecDeque};

use super::*;
use crate::batch::Sealed;
use crate::batch::flight::FlightLimits;
use crate::batch::item::{Charge, Item, LeafSize};
use crate::signer::PeerId;
use crate::units::{ItemId, Lane};

/// Whose budget pays for windows.
const BUDGET: u64 = 3;

fn lane(lane: u16) -> Lane {
    Lane::new(lane).unwrap()
}

fn item(at: u16, number: u64, amount: u64) -> Item {
    let charge = Charge::Amount(msat(amount));
    Item { lane: lane(at), id: ItemId::new(number).unwrap(), charge, hash: None }
}

/// A buyer and a seller with an open channel, and what is on its way between them.
struct Pair {
    stage: Stage,
    /// To the seller, to the buyer.
    lines: [VecDeque<Message>; 2],
    /// What the payer was told to pay in each lane, over all that was closed and opened again.
    told: BTreeMap<u16, u64>,
    /// What the payee was shown of each lane.
    shown: BTreeMap<u16, u64>,
    /// The next item of each lane.
    next: BTreeMap<u16, u64>,
    events: [Vec<Event>; 2],
    limits: FlightLimits,
    /// What both disks had at the beginning.
    first: [MemoryStore; 2],
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            stage: Scene::Open.build(),
            lines: [VecDeque::new(), VecDeque::new()],
            told: BTreeMap::new(),
            shown: BTreeMap::new(),
            next: BTreeMap::new(),
            events: [Vec::new(), Vec::new()],
            limits: FlightLimits::default(),
            first: [MemoryStore::default(), MemoryStore::default()],
        };
        pair.open_budget();
        pair
    }

    /// With lanes 0 and 1 open.
    fn with_lanes() -> Self {
        let mut pair = Self::new();
        for at in [0, 1] {
            pair.open_lane(at, u64::MAX >> 14);
        }
        pair.flush(BUYER);
        pair
    }

    fn open_budget(&mut self) {
        // A slice that was open at a restart counts as spent, so there must be many.
        let signer = self.stage.nodes[BUYER].signer_mut();
        signer.open_session(PeerId::new(base()), id(BUDGET), Msat::MAX).unwrap();
    }

    fn open_lane(&mut self, at: u16, limit: u64) {
        let (outpoint, lane, limit) = (self.stage.outpoint, lane(at), msat(limit));
        let session = id(BUDGET);
        self.stage.run(BUYER, Command::OpenLane { outpoint, lane, limit, session });
    }

    fn close_lane(&mut self, at: u16) {
        let (outpoint, lane) = (self.stage.outpoint, lane(at));
        self.stage.run(BUYER, Command::CloseLane { outpoint, lane });
    }

    fn limit_flight(&mut self, windows: u8, amount: u64) {
        let windows = core::num::NonZeroU8::new(windows).unwrap();
        self.limits = FlightLimits { windows, amount: msat(amount) };
        self.set_limits();
    }

    /// They are the caller's, and no record keeps them.
    fn set_limits(&mut self) {
        let (outpoint, limits) = (self.stage.outpoint, self.limits);
        let _without_lanes =
            self.stage.handle(BUYER, Input::Do(Command::LimitFlight { outpoint, limits }));
    }

    fn buyer(&self) -> &Node<MemorySigner> {
        &self.stage.nodes[BUYER]
    }

    fn seller(&self) -> &Node<MemorySigner> {
        &self.stage.nodes[SELLER]
    }

    fn signed(&self) -> Msat {
        self.buyer().payer(self.stage.outpoint).unwrap().signed()
    }

    fn paid(&self) -> Msat {
        self.seller().payee(self.stage.outpoint).unwrap().paid()
    }

    /// A sealed batch of `items` (lane, amount) at the front.
    fn sealed(&mut self, items: &[(u16, u64)]) -> Sealed {
        let front = self.buyer().front(self.stage.outpoint).unwrap();
        let mut builder = front.build(LeafSize::new(4).unwrap()).unwrap();
        for (at, amount) in items {
            let last = front.lanes().state(lane(*at)).and_then(|state| state.last);
            let least = last.map_or(1, |id| id.to_u64() + 1);
            let next = self.next.entry(*at).or_default();
            *next = least.max(*next + 1);
            builder.push(&item(*at, *next, *amount)).unwrap();
        }
        builder.seal().unwrap()
    }

    fn send(&mut self, batch: Sealed) -> Result<(), NodeError> {
        let (outpoint, session, batch) = (self.stage.outpoint, id(BUDGET), Box::new(batch));
        self.stage.handle(BUYER, Input::Do(Command::PayBatch { outpoint, batch, session }))
    }

    /// Pays `items` if the node takes them, and counts what it was told.
    fn pay(&mut self, items: &[(u16, u64)]) -> Result<(), NodeError> {
        let sealed = self.sealed(items);
        self.send(sealed)?;
        for (at, amount) in items {
            *self.told.entry(*at).or_default() += amount;
        }
        Ok(())
    }

    /// Commits; what leaves is put on the lines.
    fn flush(&mut self, side: usize) {
        let left = self.stage.flush(side);
        for batch in &left.batches {
            batch
                .visit(|item, amount| {
                    *self.shown.entry(item.lane.to_u16()).or_default() += amount.to_msat();
                })
                .unwrap();
        }
        self.events[side].extend(left.events);
        self.lines[1 - side].extend(left.sends.into_iter().map(|(_, message)| message));
        for outpoint in left.look_ups {
            let status = self.stage.chain.get(&outpoint).cloned();
            let _refused = self.stage.handle(side, Input::Output(outpoint, status));
        }
    }

    /// Delivers one message to `side`; what it refuses is its own matter.
    fn deliver(&mut self, side: usize, at: usize) -> Option<Result<(), NodeError>> {
        let message = self.lines[side].remove(at)?;
        Some(self.stage.handle(side, Input::Received(LINK, message)))
    }

    /// Everything arrives in order until nobody has anything to say.
    fn settle(&mut self) {
        loop {
            for side in [BUYER, SELLER] {
                self.flush(side);
            }
            if self.lines.iter().all(VecDeque::is_empty) {
                return;
            }
            for side in [SELLER, BUYER] {
                while self.deliver(side, 0).is_some() {}
            }
        }
    }

    /// The line breaks, with everything on it, and is made again.
    fn reconnect(&mut self) {
        self.lines = [VecDeque::new(), VecDeque::new()];
        let outpoint = self.stage.outpoint;
        for side in [BUYER, SELLER] {
            self.stage.handle(side, Input::Disconnected(LINK)).unwrap();
            self.stage.handle(side, Input::Connected(LINK)).unwrap();
        }
        self.stage.run(BUYER, Command::Attach { link: LINK, outpoint });
    }

    /// A power cut: `side` has what its store has, and everything that it had not let out is gone.
    fn reboot(&mut self, side: usize) {
        self.stage.nodes[side] = load(side, &self.stage.stores[side], &self.stage.now);
        self.stage.handle(side, Input::Tip(tip(DEEP))).unwrap();
        let watched: Vec<_> = self.stage.nodes[side].watched().collect();
        for outpoint in watched {
            let status = self.stage.chain.get(&outpoint).cloned();
            self.stage.handle(side, Input::Output(outpoint, status)).unwrap();
        }
        if side == BUYER {
            self.open_budget();
            self.set_limits();
        }
        self.reconnect();
    }

    /// Waits until something that was not answered is said again.
    fn wait(&mut self) {
        self.stage.pass(11);
        for side in [BUYER, SELLER] {
            let _refused = self.stage.handle(side, Input::Woken);
        }
    }

    /// P1 and B2 on both sides: lanes never have more than the channel, and nobody is ahead.
    fn check(&self) {
        self.check_nodes();
        assert!(self.paid() <= self.signed(), "{} > {}", self.paid(), self.signed());
    }

    /// The same of each side by itself: a payer on an old disk has signed more than it knows.
    fn check_nodes(&self) {
        let outpoint = self.stage.outpoint;
        for node in &self.stage.nodes {
            node.check_invariants().unwrap();
        }
        for (node, paid) in [(self.buyer(), self.signed()), (self.seller(), self.paid())] {
            if let Some(lanes) = node.lanes(outpoint) {
                assert!(lanes.paid().unwrap() <= paid);
            }
        }
    }

    /// Both sides hold what was told, to the millisatoshi, in every lane.
    fn check_all_paid(&self) {
        self.check();
        let outpoint = self.stage.outpoint;
        let total: u64 = self.told.values().sum();
        assert_eq!((self.paid(), self.signed()), (msat(total), msat(total)));
        assert_eq!(self.shown.values().sum::<u64>(), total);
        assert_eq!(self.buyer().at_risk(outpoint), Some(Msat::ZERO));
        assert_eq!(self.buyer().flight(outpoint).unwrap().batches(), 0);
    }

    fn total_of(&self, side: usize, at: u16) -> Option<u64> {
        let lanes = self.stage.nodes[side].lanes(self.stage.outpoint)?;
        lanes.state(lane(at)).map(|state| state.total.to_msat())
    }

    /// As [`Self::check_all_paid`], lane by lane, where none was closed.
    fn check_lanes(&self) {
        self.check_all_paid();
        for (at, told) in &self.told {
            for side in [BUYER, SELLER] {
                assert_eq!(self.total_of(side, *at), Some(*told), "lane {at} of side {side}");
            }
            assert_eq!(self.shown.get(at), Some(told));
        }
    }

    /// Time passes until everything that was lost is made good, in a bounded number of waits.
    fn heal(&mut self) {
        for _ in 0..8 {
            self.settle();
            if self.paid() == self.signed() && self.buyer().front(self.stage.outpoint).is_ok() {
                break;
            }
            self.wait();
        }
        self.settle();
    }
}
