//! Schemes: when a share is paid, and by what.
//!
//! | scheme | a share is paid | who bears the luck | who gains by hopping |
//! | --- | --- | --- | --- |
//! | [`Pps`] | at once, at the price of a hash | the pool | nobody |
//! | [`PriceTable`] | at once, at a private price for its size | the buyer | nobody |
//! | [`Pplns`] | in every block of the next N work | the workers | nobody, at one difficulty |
//! | [`Tides`] | in every block of the next 8 network difficulties of work | the workers | nobody |
//! | [`Proportional`] | in the next block, by its round | the workers | who leaves old rounds |
//!
//! A scheme is one answer of two: a [`HashPrice`] for jobs that are issued now, or a [`Reach`] of
//! the work that a block is shared over. The first kind is paid by
//! [`Input::Credit`](super::Input). The second is kept by `Input::Log` and paid by `Input::Block`,
//! or by `Input::Found` once the block is buried.
//!
//! A block is shared in whole millisatoshis: each worker's part is rounded down, and what is left
//! goes, one each, to those with the largest remainders; of equal ones to the lower key. The sum is
//! the reward, to the millisatoshi, and no order of anything is in it.
//!
//! # What no scheme can prove
//!
//! Under a price the pool pays for shares whether or not they bring blocks. A worker that withholds
//! the shares that are blocks is paid like an honest one, and costs the pool what they were worth;
//! over a time it only looks unlucky. Who shares rewards loses its own part with them.

mod split;

use alloc::vec::Vec;

pub(super) use split::split;

use bitcoin::OutPoint;

use super::{HashPrice, LedgerError};
use crate::units::{Blocks, Height, Msat, Overflow, Ppm, Work, WorkBits};

/// What a block takes, and what it brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Market {
    /// Subsidy and fees of a block.
    pub reward: Msat,
    /// The hashes that a block takes on average.
    pub network: Work,
}

/// Over which work a block is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// All since the block before.
    Round,
    /// The newest so much, to the hash, whatever blocks were found in it.
    Last(Work),
}

/// A block that was found: what it brings, over what it is shared, and when the chain is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundBlock {
    /// Its hash.
    pub id: [u8; 32],
    /// An output of its coinbase, which the chain shows as long as it has the block.
    pub coinbase: OutPoint,
    /// Its height.
    pub height: Height,
    /// It is shared once it lies so deep, itself included; with 0 at once, and if the chain drops
    /// it then the loss is the pool's. A coinbase can be spent at a depth of 101.
    pub depth: Blocks,
    /// Subsidy and fees.
    pub reward: Msat,
    /// What the pool keeps of it.
    pub fee: Ppm,
    /// What it is shared over.
    pub reach: Reach,
}

/// When a share is paid, and by what.
pub trait Scheme {
    /// What a job that is issued now pays for a hash, if it asks for shares of `share` work; `None`
    /// if shares are paid by blocks.
    ///
    /// # Errors
    /// [`LedgerError`] if the market has no price, or the scheme none for such shares.
    fn price(&self, market: &Market, share: Work) -> Result<Option<HashPrice>, LedgerError>;

    /// Over which work a block is shared that is found now; `None` if shares have a price.
    ///
    /// # Errors
    /// [`LedgerError::Overflow`] if it is above all work.
    fn reach(&self, market: &Market) -> Result<Option<Reach>, LedgerError>;

    /// What the pool keeps.
    fn fee(&self) -> Ppm;
}

/// Pay per share: the pool buys each share at what it is worth on average.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pps {
    /// What the pool keeps.
    pub fee: Ppm,
}

impl Scheme for Pps {
    fn price(&self, market: &Market, _share: Work) -> Result<Option<HashPrice>, LedgerError> {
        HashPrice::pps(market.reward, self.fee, market.network).map(Some)
    }

    fn reach(&self, _market: &Market) -> Result<Option<Reach>, LedgerError> {
        Ok(None)
    }

    fn fee(&self) -> Ppm {
        self.fee
    }
}

/// A private price of shares by their size, whatever the chain pays for blocks.
///
/// What it is for: spam, bootstrapped balances, wanted heat, other work than a chain's.
///
/// ```
/// use millstream::ledger::scheme::{Market, PriceTable, Scheme};
/// use millstream::units::{Msat, Work, WorkBits};
///
/// // Small shares at 1 msat for 2^20 hashes, from 2^32 on at three times as much.
/// let small = (WorkBits::new(20)?, Msat::new(1)?);
/// let large = (WorkBits::new(32)?, Msat::new(3 << 12)?);
/// let table = PriceTable::new(&[small, large])?;
/// let market = Market { reward: Msat::ZERO, network: Work::new(1) };
/// let price = |bits: u32| table.price(&market, Work::new(1_u128 << bits));
/// assert_eq!(price(31)?.map(|price| price.q96()), Some(1 << 76));
/// assert_eq!(price(32)?.map(|price| price.q96()), Some(3 << 76));
/// assert!(price(19).is_err());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceTable {
    /// By the least work of a share, rising.
    rows: Vec<(Work, HashPrice)>,
}

impl PriceTable {
    /// 16 sizes of shares: each is twice the one before, at the least.
    pub const ROWS_MAX: usize = 16;

    /// A table of rows: shares of at least 2^bits hashes cost so much for each 2^bits. Rising.
    ///
    /// # Errors
    /// [`LedgerError::Table`] if there is no row, one too many, or one out of order;
    /// [`LedgerError::PriceZero`], [`LedgerError::PriceTooHigh`].
    pub fn new(rows: &[(WorkBits, Msat)]) -> Result<Self, LedgerError> {
        let bits = rows.iter().map(|(bits, _)| *bits);
        let rises = bits.clone().zip(bits.skip(1)).all(|(low, high)| low < high);
        if rows.is_empty() || rows.len() > Self::ROWS_MAX || !rises {
            return Err(LedgerError::Table { rows: rows.len() });
        }
        let priced = |(bits, msat): &(WorkBits, Msat)| {
            Ok((Work::of_bits(*bits), HashPrice::per_bits(*msat, *bits)?))
        };
        Ok(Self { rows: rows.iter().map(priced).collect::<Result<_, LedgerError>>()? })
    }
}

impl Scheme for PriceTable {
    fn price(&self, _market: &Market, share: Work) -> Result<Option<HashPrice>, LedgerError> {
        let row = self.rows.iter().rev().find(|(least, _)| *least <= share);
        row.map(|(_, price)| Some(*price)).ok_or(LedgerError::NoPrice { share })
    }

    fn reach(&self, _market: &Market) -> Result<Option<Reach>, LedgerError> {
        Ok(None)
    }

    fn fee(&self) -> Ppm {
        Ppm::MIN
    }
}

/// Pay per last N shares: a block is shared over the last `window` work, round or no round.
///
/// A share counts in every block of the `window` work after it, so that it earns the same on
/// average whenever it comes: nothing is gained by leaving a round that has lasted long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pplns {
    /// How much work a block is shared over.
    pub window: Work,
    /// What the pool keeps.
    pub fee: Ppm,
}

impl Scheme for Pplns {
    fn price(&self, _market: &Market, _share: Work) -> Result<Option<HashPrice>, LedgerError> {
        Ok(None)
    }

    fn reach(&self, _market: &Market) -> Result<Option<Reach>, LedgerError> {
        Ok(Some(Reach::Last(self.window)))
    }

    fn fee(&self) -> Ppm {
        self.fee
    }
}

/// A share log of eight times the network's difficulty: a share is paid in eight blocks on average.
///
/// Where the difficulty rises the window does too, over work that is still there: what has left it
/// does not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tides {
    /// What the pool keeps.
    pub fee: Ppm,
}

impl Tides {
    /// The blocks' work in the window.
    pub const BLOCKS: u128 = 8;
}

impl Scheme for Tides {
    fn price(&self, _market: &Market, _share: Work) -> Result<Option<HashPrice>, LedgerError> {
        Ok(None)
    }

    fn reach(&self, market: &Market) -> Result<Option<Reach>, LedgerError> {
        let work = market.network.hashes().checked_mul(Self::BLOCKS);
        let work = work.ok_or(Overflow { unit: "Work" })?;
        Ok(Some(Reach::Last(Work::new(work))))
    }

    fn fee(&self) -> Ppm {
        self.fee
    }
}

/// A block is shared over its round: all work since the block before.
///
/// Here for comparison and for closed groups. A share in a young round earns more than one in an
/// old round, so whoever hops to the pools with young rounds earns more than those who stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proportional {
    /// What the pool keeps.
    pub fee: Ppm,
}

impl Scheme for Proportional {
    fn price(&self, _market: &Market, _share: Work) -> Result<Option<HashPrice>, LedgerError> {
        Ok(None)
    }

    fn reach(&self, _market: &Market) -> Result<Option<Reach>, LedgerError> {
        Ok(Some(Reach::Round))
    }

    fn fee(&self) -> Ppm {
        self.fee
    }
}
