//! The book: who sells which work at which price, who wants it, and who meets whom.
//!
//! Price first, then time: a bid takes the cheapest ask that it may take, of equal ones the oldest;
//! and trades at the price of whoever was there first.

/// A provider's offer: as many contracts as it has slots, at one price.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// Whose.
    pub(crate) provider: usize,
    /// The kind of work.
    pub(crate) kind: usize,
    /// Of a unit, msat.
    pub(crate) price: u64,
    /// When it came: the order of all orders.
    pub(crate) order: u64,
}

/// A requester's wish for one provider.
#[derive(Debug, Clone)]
pub(crate) struct Bid {
    /// For which job: its requester is the job's.
    pub(crate) job: usize,
    /// The kind of work.
    pub(crate) kind: usize,
    /// The highest price of a unit, msat.
    pub(crate) limit: u64,
    /// Providers of a lower standing are not taken.
    pub(crate) standing: u32,
    /// When it came.
    pub(crate) order: u64,
}

/// A bid and an ask that met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trade {
    /// The bid's job.
    pub(crate) job: usize,
    /// The ask's provider.
    pub(crate) provider: usize,
    /// The kind of work.
    pub(crate) kind: usize,
    /// Of a unit, msat.
    pub(crate) price: u64,
}

/// All open orders.
#[derive(Debug, Default)]
pub(crate) struct Book {
    asks: Vec<Ask>,
    bids: Vec<Bid>,
    orders: u64,
}

impl Book {
    /// A provider offers a slot.
    pub(crate) fn ask(&mut self, provider: usize, kind: usize, price: u64) {
        self.orders += 1;
        self.asks.push(Ask { provider, kind, price, order: self.orders });
    }

    /// A requester wants a provider.
    pub(crate) fn bid(&mut self, job: usize, kind: usize, limit: u64, standing: u32) {
        self.orders += 1;
        self.bids.push(Bid { job, kind, limit, standing, order: self.orders });
    }

    /// A provider is gone: its offers too.
    pub(crate) fn withdraw(&mut self, provider: usize) {
        self.asks.retain(|ask| ask.provider != provider);
    }

    /// Takes out what meets, oldest bid first among those that can trade. `fits` says whether a
    /// provider may work for a job: not twice for the same, and not below its standing.
    pub(crate) fn meet(&mut self, fits: &dyn Fn(&Bid, usize) -> bool) -> Option<Trade> {
        let able = |bid: &Bid, ask: &Ask| {
            ask.kind == bid.kind && ask.price <= bid.limit && fits(bid, ask.provider)
        };
        // The highest bid first, then the oldest; against it the cheapest ask, then the oldest.
        let mut bids: Vec<usize> = (0..self.bids.len()).collect();
        bids.sort_by_key(|at| (u64::MAX - self.bids[*at].limit, self.bids[*at].order));
        for at in bids {
            let bid = &self.bids[at];
            let asks = self.asks.iter().enumerate().filter(|(_, ask)| able(bid, ask));
            let Some((best, ask)) = asks.min_by_key(|(_, ask)| (ask.price, ask.order)) else {
                continue;
            };
            let price = if ask.order < bid.order { ask.price } else { bid.limit };
            let trade = Trade { job: bid.job, provider: ask.provider, kind: ask.kind, price };
            self.asks.remove(best);
            self.bids.remove(at);
            return Some(trade);
        }
        None
    }

    /// A job's open wishes.
    pub(crate) fn wishes(&self, job: usize) -> usize {
        self.bids.iter().filter(|bid| bid.job == job).count()
    }

    /// A job needs nobody any more.
    pub(crate) fn cancel(&mut self, job: usize) {
        self.bids.retain(|bid| bid.job != job);
    }
}
