//! Metered sessions of a run: offered, delivered, paid, ended, and the prices that they go by.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Script, ScriptBuf};

use super::Flaw;
use super::counters::Count;
use super::stage::{Pair, QUANTITY_MOST};
use crate::meter::tariff::{Band, Measure, Repeat, Tariff, Tier};
use crate::meter::{State, Window};
use crate::node::{Command, NodeError};
use crate::sim::world::{Endpoint, WorldError};
use crate::units::{Msat, Ppm, Price, Quantity, Seconds, SessionId};

/// How many tariffs the seller changes between.
pub(super) const TARIFFS: u64 = 3;
/// In which of them the price goes with the time of day.
const TIMED: u64 = 2;
/// Its bands: every other quarter of an hour, so that a block's ten minutes often cross a border.
const QUARTER: u64 = 900;
/// Watt-seconds in a kilowatt-hour.
const KWH: u64 = 3_600_000;
const DAY: u64 = 86_400;
/// What the largest tick costs at the highest price, in msat: 20,000 Ws at 30 msat.
pub(super) const TICK_MOST: u64 = 600_001;

/// What is known of a session besides what the two sides remember.
#[derive(Debug)]
pub(super) struct Sold {
    /// Of the channel that pays it.
    pub(super) script: ScriptBuf,
    /// Where it began.
    pub(super) outpoint: OutPoint,
    /// What was delivered in it.
    pub(super) total: u64,
    /// Whether its price goes with the time of day.
    pub(super) timed: bool,
    /// Up to where a dear reading may have priced what the buyer had not seen, and by how much.
    repriced: (u64, Msat),
    /// Whether what the buyer has not seen may come to it by no stamp that it believes.
    unstamped: bool,
    /// Whether its channel was paid by hand meanwhile, which the seller counts for it.
    pub(super) beside: bool,
}

impl Sold {
    /// A reading at `price` says what the buyer had not seen when it had counted `seen`.
    fn price_unseen(&mut self, seen: u64, price: u64) {
        let (to, sum) = self.repriced;
        let unseen = self.total.saturating_sub(seen.max(to));
        let dearer = price.saturating_sub(price_at(TIMED, 0));
        if unseen == 0 || dearer == 0 {
            return;
        }
        let more = unseen.saturating_mul(dearer).div_euclid(KWH).saturating_add(1);
        let more = Msat::new(more).unwrap_or(Msat::MAX);
        self.repriced = (self.total, sum.saturating_add(more));
    }
}

/// The session of the moment, and what all of them came to.
#[derive(Debug)]
pub(super) struct Metered {
    pub(super) now: Option<SessionId>,
    /// The script of the channel that pays it, whatever the outpoint.
    pub(super) script: ScriptBuf,
    pub(super) all: Vec<SessionId>,
    pub(super) sold: BTreeMap<SessionId, Sold>,
    /// Whose statement the buyer agreed to.
    pub(super) stated: BTreeSet<SessionId>,
    /// Whose statement the buyer found to say more than it had counted.
    pub(super) disputed: BTreeSet<SessionId>,
    pub(super) next: u64,
    /// What the seller has delivered in this session.
    pub(super) total: u64,
    /// What that costs.
    pub(super) costs: Msat,
    pub(super) credit: Msat,
    /// Delivered in all sessions, at the tariff's price.
    pub(super) owed: Msat,
    pub(super) tick_most: Msat,
    /// Which tariff the seller offers, and which the session of the moment goes by.
    pub(super) offered: u64,
    pub(super) agreed: u64,
    /// The price of the last tick, msat a kilowatt-hour.
    last_price: u64,
}

impl Metered {
    pub(super) const fn none() -> Self {
        let zero = Msat::ZERO;
        Self {
            now: None,
            script: ScriptBuf::new(),
            all: Vec::new(),
            sold: BTreeMap::new(),
            stated: BTreeSet::new(),
            disputed: BTreeSet::new(),
            next: 100,
            total: 0,
            costs: zero,
            credit: zero,
            owed: zero,
            tick_most: zero,
            offered: 0,
            agreed: 0,
            last_price: 0,
        }
    }
}

impl Metered {
    /// Somebody pays by hand where sessions are paid.
    pub(super) fn paid_beside(&mut self, script: &Script) {
        let here = self.sold.values_mut().filter(|sold| *sold.script == *script);
        here.for_each(|sold| sold.beside = true);
    }
}

/// 12.5 msat a watt-second; 20; or 12.5 and in every other quarter of an hour 30.
pub(super) fn tariff(which: u64) -> Result<Tariff, Flaw> {
    let price = |msat| Price::new(Msat::new(msat)?, KWH);
    let base = price(price_at(which, 0))?;
    let flat = Tariff::flat(Measure::WattSecond, base).map_err(NodeError::from)?;
    if which != TIMED {
        return Ok(flat);
    }
    let dear = price(price_at(which, QUARTER))?;
    let bands = (0..DAY.div_euclid(QUARTER).div_euclid(2)).map(|nth| {
        let from = nth.saturating_mul(2).saturating_add(1).saturating_mul(QUARTER);
        let to = Seconds::new(from.saturating_add(QUARTER))?;
        let tiers = vec![Tier { from: Quantity::ZERO, price: dear }];
        Ok::<_, Flaw>(Band { from: Seconds::new(from)?, to, tiers })
    });
    let bands = bands.collect::<Result<Vec<_>, _>>()?;
    Ok(flat.with_bands(Repeat::Daily, bands).map_err(NodeError::from)?)
}

/// The price of a tariff at a second, in msat a kilowatt-hour: the model that the tariff is held
/// against.
fn price_at(which: u64, second: u64) -> u64 {
    let dear = second.div_euclid(QUARTER).rem_euclid(2) == 1;
    match which {
        0 => 45_000_000,
        TIMED if dear => 108_000_000,
        TIMED => 45_000_000,
        _ => 72_000_000,
    }
}

impl Pair {
    fn state_at(&self, end: Option<&Endpoint>) -> Option<State> {
        let session = self.metered.now?;
        end.and_then(|end| end.node().session(session)).map(|meter| meter.record().state())
    }

    /// A second of service: delivered while the seller's session is active.
    pub(super) fn tick(&mut self) -> Result<(), Flaw> {
        self.pass(1)?;
        let Some(session) = self.metered.now else { return Ok(()) };
        self.price_missed_reading(session);
        let seller = self.state_at(self.world.end(self.payee));
        let buyer = self.state_at(self.world.end(self.payer));
        // One side has lost a session that was never durable there: both start anew.
        let over = |state| matches!(state, None | Some(State::Ended));
        if over(seller) && over(buyer) {
            self.metered.now = None;
            if self.is_wide() && buyer.is_none() && seller.is_some() {
                // Nobody is left who could pay its rest: the seller's owner writes it off.
                self.command(self.payee, Command::ForgetSession(session))?;
            }
            return Ok(());
        }
        // A seller that was off reads its meter before it delivers again.
        self.price_late_reading(session)?;
        let total = Quantity::new(self.metered.total)?;
        self.command(self.payee, Command::Meter { session, total })?;
        if self.state_at(self.world.end(self.payee)) != Some(State::Active) || !self.has_read() {
            return Ok(());
        }
        let quantity = self.dice.within(1, QUANTITY_MOST);
        self.deliver(session, quantity)
    }

    /// A reading that was lost on a line that stays up is not believed later, by its stamp, and so
    /// is what a restart took of either side: the buyer counts what it said at the price of the
    /// next. So it may cost the difference of the two prices, once, on what the buyer had not seen.
    fn price_missed_reading(&mut self, session: SessionId) {
        let seen = self.seen_by_buyer(session);
        let missed = self.observer.seen().is_missed(session);
        let now = price_at(self.metered.agreed, self.world.now().time.to_u64());
        let Some(sold) = self.metered.sold.get_mut(&session) else { return };
        sold.unstamped &= seen < sold.total;
        let missed = missed || sold.unstamped;
        if missed && self.metered.agreed == TIMED {
            sold.price_unseen(seen, now);
        }
    }

    /// A machine starts again. What is not in a record is gone (SECURITY.md, times of day): of the
    /// seller's readings all but the last, and of the buyer's own meter what bears out the stamps
    /// of a time in which it heard nothing.
    pub(super) fn doubt_stamps(&mut self) {
        let Some(session) = self.metered.now else { return };
        let (seen, last) = (self.seen_by_buyer(session), self.metered.last_price);
        let timed = self.metered.agreed == TIMED;
        let Some(sold) = self.metered.sold.get_mut(&session) else { return };
        sold.unstamped = true;
        if timed {
            // The last reading says all of it, at its own price.
            sold.price_unseen(seen, last);
        }
    }

    /// What the buyer's session counts as delivered.
    fn seen_by_buyer(&self, session: SessionId) -> u64 {
        let buyer = self.world.end(self.payer).and_then(|end| end.node().session(session));
        buyer.map_or(0, |meter| meter.record().quantity().to_u64())
    }

    /// A buyer that has not heard of the start has its own meter refused. It believes the stamps
    /// that come with the start as far as its slack goes, which is one tick.
    fn doubt_stamps_before_start(&mut self, session: SessionId) {
        let buyer = self.world.end(self.payer).and_then(|end| end.node().session(session));
        let begun = buyer.is_some_and(|meter| meter.record().has_begun());
        if let Some(sold) = self.metered.sold.get_mut(&session) {
            sold.unstamped |= !begun && sold.total > QUANTITY_MOST;
        }
    }

    /// What a buyer may count above the price, for readings that it missed.
    pub(super) fn repriced(&self, session: SessionId) -> Msat {
        self.metered.sold.get(&session).map_or(Msat::ZERO, |sold| sold.repriced.1)
    }

    /// Whether the seller has read its meter to the end: a power cut at that very commit takes the
    /// reading with it, and the pause to which it leads, so that it has to read again first.
    fn has_read(&self) -> bool {
        let seller = self.world.end(self.payee).map(Endpoint::node);
        let meter = self.metered.now.and_then(|now| seller.and_then(|node| node.session(now)));
        meter.is_some_and(|meter| meter.record().quantity().to_u64() == self.metered.total)
    }

    /// What the seller delivered and lost the reading of, it reads again now, at the price of now:
    /// nobody can tell when it was delivered. It is one tick, because each is read before the next.
    pub(super) fn price_late_reading(&mut self, session: SessionId) -> Result<(), Flaw> {
        let seller = self.world.end(self.payee).and_then(|end| end.node().session(session));
        let Some(read) = seller.map(|meter| meter.record().quantity().to_u64()) else {
            return Ok(());
        };
        let late = self.metered.total.saturating_sub(read);
        let price = price_at(self.metered.agreed, self.world.now().time.to_u64());
        let dearer = price.saturating_sub(self.metered.last_price);
        if late > QUANTITY_MOST && self.metered.agreed == TIMED {
            return Err(Flaw::Wedged { what: "a reading that is more than a tick late" });
        }
        if late > 0 && dearer > 0 {
            let more = late.saturating_mul(dearer).div_euclid(KWH).saturating_add(1);
            let more = Msat::new(more)?;
            self.metered.owed = self.metered.owed.saturating_add(more);
            self.metered.costs = self.metered.costs.saturating_add(more);
            // One that is lost once more cannot cost that again.
            self.metered.last_price = price;
        }
        Ok(())
    }

    fn deliver(&mut self, session: SessionId, quantity: u64) -> Result<(), Flaw> {
        let price = price_at(self.metered.agreed, self.world.now().time.to_u64());
        // Rounded up: no reading may cost more than this.
        let cost = quantity.saturating_mul(price).div_euclid(KWH).saturating_add(1);
        let cost = Msat::new(cost)?;
        if self.metered.last_price != price && self.metered.total > 0 {
            self.counters.count(Count::Price);
        }
        self.metered.last_price = price;
        self.metered.total = self.metered.total.saturating_add(quantity);
        self.metered.owed = self.metered.owed.saturating_add(cost);
        self.metered.costs = self.metered.costs.saturating_add(cost);
        self.metered.tick_most = self.metered.tick_most.max(cost);
        if let Some(sold) = self.metered.sold.get_mut(&session) {
            sold.total = self.metered.total;
        }
        self.read_meters(session, self.metered.total)?;
        self.doubt_stamps_before_start(session);
        self.counters.count(Count::Tick);
        Ok(())
    }

    pub(super) fn read_meters(&mut self, session: SessionId, total: u64) -> Result<(), Flaw> {
        let total = Quantity::new(total)?;
        for end in [self.payer, self.payee] {
            self.command(end, Command::Meter { session, total })?;
        }
        Ok(())
    }

    pub(super) fn start_session(&mut self) -> Result<(), Flaw> {
        let (Some(link), None) = (self.link, self.metered.now) else { return Ok(()) };
        let Some(outpoint) = self.current() else { return Ok(()) };
        let session = SessionId::new(self.metered.next)?;
        self.metered.next = self.metered.next.saturating_add(1);
        let credit = Msat::new(self.dice.within(100_000, 3_000_000))?;
        let window = Window { credit, prepay: Msat::ZERO };
        let (skew, tolerance) = (Seconds::new(30)?, Ppm::new(0)?);
        let which = self.metered.offered;
        let tariff = tariff(which)?;
        let hash = tariff.hash();
        let offer = Command::OfferSession { link, session, tariff, window, skew, tolerance };
        self.command(self.payee, offer)?;
        // The buyer looks at what it is offered: a changed message may ask for anything.
        let buyer = self.world.end(self.payer).ok_or(WorldError::NoSuchEnd)?;
        let offered = buyer.node().offer(link, session);
        let same = offered.is_some_and(|meter| {
            meter.record().window() == window && meter.tariff().hash() == hash
        });
        let named = buyer.node().offer_hash(link, session);
        let Some(offer) = named.filter(|_| same) else { return Ok(()) };
        let (budget, slack) = (Msat::new(10_000_000_000)?, Quantity::new(QUANTITY_MOST)?);
        let accept = Command::AcceptSession { session, offer, outpoint, budget, slack };
        if self.command(self.payer, accept)? {
            let script = self.script_of(outpoint);
            if which != self.metered.agreed {
                self.counters.count(Count::Tariff);
            }
            let metered = &mut self.metered;
            let (here, total, timed) = (script.clone(), 0, which == TIMED);
            let sold = Sold {
                script: here,
                outpoint,
                total,
                timed,
                repriced: (0, Msat::ZERO),
                unstamped: false,
                beside: false,
            };
            metered.sold.insert(session, sold);
            (metered.now, metered.script, metered.agreed) = (Some(session), script, which);
            (metered.total, metered.costs, metered.credit) = (0, Msat::ZERO, credit);
            metered.tick_most = Msat::ZERO;
        }
        Ok(())
    }

    pub(super) fn end_session(&mut self) -> Result<(), Flaw> {
        let Some(session) = self.metered.now else { return Ok(()) };
        let end = if self.dice.chance(500) { self.payer } else { self.payee };
        self.command(end, Command::EndSession(session))?;
        Ok(())
    }

    /// The seller asks another price: a session goes by its tariff to its end, so it ends.
    pub(super) fn change_tariff(&mut self) -> Result<(), Flaw> {
        let on = self.dice.within(1, TARIFFS.saturating_sub(1));
        self.metered.offered = self.metered.offered.saturating_add(on).rem_euclid(TARIFFS);
        if let Some(session) = self.metered.now {
            self.command(self.payee, Command::EndSession(session))?;
        }
        Ok(())
    }

    /// A session whose channel has come to its end, with a wallet's change for instance, is ended
    /// by both and written off: what it still owes is within the credit.
    pub(super) fn drop_stranded_session(&mut self) -> Result<(), Flaw> {
        let Some(session) = self.metered.now else { return Ok(()) };
        let script = self.metered.script.clone();
        if self.current_on(&script).is_some() {
            return Ok(());
        }
        self.forget_session(session)
    }

    /// Every session that either side knows.
    pub(super) fn known_sessions(&self) -> BTreeSet<SessionId> {
        let nodes = [self.payer, self.payee].map(|end| self.world.end(end).map(Endpoint::node));
        let sessions = nodes.into_iter().flatten().flat_map(crate::node::Node::sessions);
        sessions.map(|(meter, _)| meter.record().id()).collect()
    }

    pub(super) fn forget_session(&mut self, session: SessionId) -> Result<(), Flaw> {
        for end in [self.payer, self.payee] {
            self.command(end, Command::EndSession(session))?;
            self.command(end, Command::ForgetSession(session))?;
        }
        self.metered.now = None;
        Ok(())
    }
}
