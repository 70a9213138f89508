//! Five ledgers over the same shares, each with its scheme; and what they must come to, counted
//! once more.

use std::collections::BTreeMap;

use millstream::ledger::scheme::{Market, Pplns, Pps, PriceTable, Proportional, Scheme, Tides};
use millstream::ledger::{Credit, HashPrice, Input, Ledger, Limits, WorkerKey};
use millstream::store::Batch;
use millstream::units::{Msat, Ppm, Sat, Work, WorkBits};

use super::house::House;
use crate::common::Error;

/// What the pool keeps: 2 % under PPS, where luck is its own; 1 % elsewhere.
const FEES: (u32, u32) = (20_000, 10_000);
/// The private price: for 2^4 hashes, msat. Near what they are worth, because heat was wanted too.
const PRIVATE: u64 = 38_000;

/// The scheme that is paid through channels.
pub(crate) const PAID: usize = 0;
/// The names of the schemes, in the order of the books.
pub(crate) const NAMES: [&str; 5] = ["PPS", "PPLNS", "TIDES", "proportional", "private price"];

/// What a hash of a job is worth, by scheme; none where blocks pay.
pub(crate) type Prices = [Option<HashPrice>; NAMES.len()];

struct Book {
    scheme: Box<dyn Scheme>,
    ledger: Ledger,
    /// What a second pen adds up.
    oracle: Oracle,
}

/// Sums that need no ledger.
#[derive(Debug, Default)]
struct Oracle {
    /// Work x price in 2^-96 msat, by worker: high part and low part.
    priced: BTreeMap<WorkerKey, (u128, u128)>,
    /// What blocks brought, msat.
    rewards: u64,
}

/// All of them.
pub(crate) struct Books {
    books: Vec<Book>,
    /// What the paid scheme's shares earned since it was asked for.
    unpaid: BTreeMap<WorkerKey, Credit>,
}

impl Books {
    pub(crate) fn open() -> Result<Self, Error> {
        let window = Work::new(2 * House::network_work()?.hashes());
        let (dear, cheap) = (Ppm::new(FEES.0)?, Ppm::new(FEES.1)?);
        let private = PriceTable::new(&[(WorkBits::new(4)?, Msat::new(PRIVATE)?)])?;
        let schemes: [Box<dyn Scheme>; NAMES.len()] = [
            Box::new(Pps { fee: dear }),
            Box::new(Pplns { window, fee: cheap }),
            Box::new(Tides { fee: cheap }),
            Box::new(Proportional { fee: cheap }),
            Box::new(private),
        ];
        let limits = Limits { unpaid_max: Msat::MAX, workers_max: 1_000 };
        let book = |scheme| -> Result<Book, Error> {
            Ok(Book { scheme, ledger: Ledger::new(limits)?, oracle: Oracle::default() })
        };
        let books = schemes.into_iter().map(book).collect::<Result<_, Error>>()?;
        Ok(Self { books, unpaid: BTreeMap::new() })
    }

    /// What a block takes and brings.
    pub(crate) const fn market(reward: Sat, network: Work) -> Market {
        Market { reward: reward.to_msat(), network }
    }

    /// What a hash is worth in a job that is issued now, for shares of this work.
    pub(crate) fn prices(&self, market: &Market, share: Work) -> Result<Prices, Error> {
        let mut prices = [None; NAMES.len()];
        for (price, book) in prices.iter_mut().zip(&self.books) {
            *price = book.scheme.price(market, share)?;
        }
        Ok(prices)
    }

    /// A good share.
    pub(crate) fn credit(
        &mut self,
        worker: WorkerKey,
        work: Work,
        prices: &Prices,
        market: &Market,
    ) -> Result<(), Error> {
        if let Some(price) = prices[PAID] {
            let credit = Credit::priced(work, price)?;
            let sum = self.unpaid.get(&worker).map_or(Ok(credit), |sum| sum.plus(&credit))?;
            self.unpaid.insert(worker, sum);
        }
        for (book, price) in self.books.iter_mut().zip(prices) {
            let input = if let Some(price) = price {
                let sum = book.oracle.priced.entry(worker).or_default();
                *sum = add(*sum, product(work.hashes(), price.q96()));
                Input::Credit { worker, credit: Credit::priced(work, *price)? }
            } else {
                let reach = book.scheme.reach(market)?.ok_or("neither price nor reach")?;
                Input::Log { worker, credit: Credit::unpriced(work), reach }
            };
            book.take(&input)?;
        }
        Ok(())
    }

    /// What the paid scheme's shares earned since the last call.
    pub(crate) fn take_unpaid(&mut self) -> BTreeMap<WorkerKey, Credit> {
        core::mem::take(&mut self.unpaid)
    }

    /// A block was found.
    pub(crate) fn block(&mut self, id: [u8; 32], market: &Market) -> Result<(), Error> {
        for book in &mut self.books {
            let Some(reach) = book.scheme.reach(market)? else { continue };
            let (reward, fee) = (market.reward, book.scheme.fee());
            book.take(&Input::Block { id, reward, fee, reach })?;
            book.oracle.rewards += reward.to_msat();
        }
        Ok(())
    }

    /// What a worker is owed by a scheme, whole msat.
    pub(crate) fn owed(&self, scheme: usize, worker: WorkerKey) -> u64 {
        let account = self.books.get(scheme).and_then(|book| book.ledger.account(worker));
        account.map_or(0, |account| account.owed().floor_msat().to_msat())
    }

    /// What a pool kept by a scheme's fee, whole msat.
    pub(crate) fn fee(&self, scheme: usize) -> u64 {
        self.books.get(scheme).map_or(0, |book| book.ledger.totals().fee().floor_msat().to_msat())
    }

    /// Every ledger against the second pen; what does not fit. How often was looked.
    pub(crate) fn check(&self) -> (u64, Option<String>) {
        let mut checks = 0;
        for (name, book) in NAMES.iter().zip(&self.books) {
            checks += 1;
            if let Err(error) = book.ledger.holds_together() {
                return (checks, Some(format!("{name}: {error}")));
            }
            for (worker, (high, low)) in &book.oracle.priced {
                checks += 1;
                let want = (high << 32) | (low >> 96);
                let account = book.ledger.account(*worker);
                let owed = account.map_or(0, |it| it.owed().floor_msat().to_msat());
                if u128::from(owed) != want {
                    return (checks, Some(format!("{name}: {owed} msat are owed, not {want}")));
                }
            }
            if book.oracle.priced.is_empty() {
                checks += 1;
                let owed = book.ledger.accounts().map(|it| it.owed().floor_msat().to_msat());
                let fee = book.ledger.totals().fee().floor_msat().to_msat();
                let (sum, want) = (owed.sum::<u64>() + fee, book.oracle.rewards);
                if sum != want {
                    return (checks, Some(format!("{name}: {sum} msat of {want} are owed")));
                }
            }
        }
        (checks, None)
    }
}

impl Book {
    fn take(&mut self, input: &Input) -> Result<(), Error> {
        let staged = self.ledger.decide(input)?.stage(&mut Batch::default())?;
        Ok(self.ledger.apply(&staged)?)
    }
}

/// The 256 bits of a product, for numbers below 2^120: schoolbook, 60 bits a digit.
const fn product(a: u128, b: u128) -> (u128, u128) {
    const DIGIT: u128 = (1 << 60) - 1;
    let (a1, a0, b1, b0) = (a >> 60, a & DIGIT, b >> 60, b & DIGIT);
    let middle = a1 * b0 + a0 * b1;
    let (low, carry) = (a0 * b0).overflowing_add(middle << 60);
    let high = ((a1 * b1) >> 8) + (middle >> 68) + carry as u128;
    let (low, carry) = low.overflowing_add((a1 * b1) << 120);
    (high + carry as u128, low)
}

const fn add(a: (u128, u128), b: (u128, u128)) -> (u128, u128) {
    let (low, carry) = a.1.overflowing_add(b.1);
    (a.0 + b.0 + carry as u128, low)
}
