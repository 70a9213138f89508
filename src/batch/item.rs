//! Items: the single payments of a batch, and the runs of ticks that become one item.

use core::num::NonZeroU64;

use crate::units::{Blame, ItemId, Lane, Msat, Overflow, Price, Quantity};

/// One payment: where, which, for what, and what it refers to.
///
/// ```
/// use millstream::batch::item::{Charge, Item};
/// use millstream::units::{ItemId, Lane, Msat, Price, Quantity};
///
/// let (lane, id) = (Lane::new(0)?, ItemId::new(1)?);
/// let price = Price::new(Msat::new(450_000)?, 3_600_000)?;
/// let charge = Charge::Metered { count: Quantity::new(22_000)?, price };
/// let item = Item { lane, id, charge, hash: None };
/// assert_eq!(item.charge.amount()?, Msat::new(2_750)?);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// The session that it is paid in.
    pub lane: Lane,
    /// Its number, above every earlier one of the lane.
    pub id: ItemId,
    /// What it costs.
    pub charge: Charge,
    /// Hash of what it pays for: a tariff document, a signed meter statement. This room does not
    /// look into it; an item of zero millisatoshis may carry one.
    pub hash: Option<[u8; 32]>,
}

/// What an item costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// An amount without a price.
    Amount(Msat),
    /// `count` units at `price`, rounded down to the millisatoshi: the amount is computed on both
    /// sides and never sent.
    Metered {
        /// How many units, at least one.
        count: Quantity,
        /// What they cost.
        price: Price,
    },
}

impl Charge {
    /// The amount.
    ///
    /// # Errors
    /// [`ItemError::ZeroCount`], or [`ItemError::Overflow`] above all money.
    #[inline]
    pub fn amount(&self) -> Result<Msat, ItemError> {
        match self {
            Self::Amount(amount) => Ok(*amount),
            Self::Metered { count, price } => metered(*count, *price),
        }
    }

    /// The price, and the number that is written: the count if there is one, else the amount.
    #[inline]
    pub(super) const fn parts(&self) -> (Option<Price>, u64) {
        match self {
            Self::Amount(amount) => (None, amount.to_msat()),
            Self::Metered { count, price } => (Some(*price), count.to_u64()),
        }
    }
}

/// The product in 64 bits where it fits, which saves a division of 128.
fn metered(count: Quantity, price: Price) -> Result<Msat, ItemError> {
    if count == Quantity::ZERO {
        return Err(ItemError::ZeroCount);
    }
    let per: NonZeroU64 = price.per();
    let narrow = price.msat().to_msat().checked_mul(count.to_u64());
    match narrow.and_then(|product| product.checked_div(per.get())).map(Msat::new) {
        Some(Ok(amount)) => Ok(amount),
        _ => Ok(price.floor_msat(count)?),
    }
}

/// Why an item is not taken into a batch. The batch is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// A price without anything counted; the encoding has no place for it.
    #[error("an item with a price counts nothing")]
    ZeroCount,
    /// An id that is not above the lane's last one: an old item, or the same one twice.
    #[error("item {id} of lane {lane} is not above {last}")]
    NotRising {
        /// The lane.
        lane: Lane,
        /// The item.
        id: ItemId,
        /// The lane's last item; 0 if it has none.
        last: u64,
    },
    /// A lane that is not open.
    #[error("lane {lane} is not open")]
    UnknownLane {
        /// The lane.
        lane: Lane,
    },
    /// More than the lane may reach.
    #[error("lane {lane} would be overdrawn by {by}")]
    Overdrawn {
        /// The lane.
        lane: Lane,
        /// How far it would be above its limit.
        by: Msat,
    },
    /// More than the channel has room for.
    #[error("the channel has no room for {by} more")]
    OverRoom {
        /// How far it would be above the room.
        by: Msat,
    },
    /// The batch is full: it goes out, and the item opens the next one.
    #[error("the batch has its {max} {what} already")]
    Full {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: u32,
    },
    /// An amount above all money.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

impl ItemError {
    /// Ours: the caller gave the item. From a received batch it comes inside
    /// [`BatchError::Item`](super::BatchError::Item), which is the peer's.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::ZeroCount
            | Self::NotRising { .. }
            | Self::UnknownLane { .. }
            | Self::Overdrawn { .. }
            | Self::OverRoom { .. }
            | Self::Full { .. }
            | Self::Overflow(_) => Blame::Us,
        }
    }
}

/// Equal or unequal ticks under one price, on their way to become one item.
///
/// Both sides count one: the payer turns its run into an item, and the payee compares the item with
/// its own run. A run is rounded once, at its end, so how it was cut into ticks never matters.
///
/// ```
/// use millstream::batch::item::Run;
/// use millstream::units::{Msat, Price, Quantity};
///
/// // One millisatoshi for two units, and at most 3 msat.
/// let mut run = Run::new(Price::new(Msat::new(1)?, 2)?, Msat::new(3)?);
/// run.tick(Quantity::new(7)?)?;
/// assert!(run.tick(Quantity::new(1)?).is_err());
/// assert_eq!(run.charge().amount()?, Msat::new(3)?);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    price: Price,
    count: u64,
    /// The largest count whose amount is within the cap.
    count_max: u64,
}

impl Run {
    /// Starts a run at `price` that may cost at most `cap`.
    pub fn new(price: Price, cap: Msat) -> Self {
        // floor(count x msat / per) <= cap, that is count x msat < (cap + 1) x per.
        let below = u128::from(cap.to_msat()).saturating_add(1);
        let below = below.saturating_mul(u128::from(price.per().get()));
        let count_max = below
            .saturating_sub(1)
            .checked_div(u128::from(price.msat().to_msat()))
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or(u64::MAX);
        Self { price, count: 0, count_max }
    }

    /// Counts `units` more: an addition and a comparison.
    ///
    /// # Errors
    /// [`ItemError::OverRoom`] above the cap; the run is as it was.
    #[inline]
    pub fn tick(&mut self, units: Quantity) -> Result<(), ItemError> {
        match self.count.checked_add(units.to_u64()).filter(|count| *count <= self.count_max) {
            Some(count) => {
                self.count = count;
                Ok(())
            }
            None => Err(self.over(units)),
        }
    }

    /// What the item of this run costs.
    pub fn charge(&self) -> Charge {
        let count = Quantity::new(self.count).unwrap_or(Quantity::MAX);
        Charge::Metered { count, price: self.price }
    }

    #[cold]
    fn over(&self, units: Quantity) -> ItemError {
        let count = self.count.saturating_add(units.to_u64()).saturating_sub(self.count_max);
        let over = Quantity::new(count).unwrap_or(Quantity::MAX);
        ItemError::OverRoom { by: self.price.ceil_msat(over).unwrap_or(Msat::MAX) }
    }
}

mod leaf_size {
    use crate::batch::BatchError;

    /// Items a leaf of the tree, 1 ..= 64.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct LeafSize(u8);

    impl LeafSize {
        /// One item a leaf: a receipt shows nothing but its item.
        pub const ONE: Self = Self(1);

        /// Checks the range.
        ///
        /// # Errors
        /// [`BatchError::LeafSize`].
        pub const fn new(items: u8) -> Result<Self, BatchError> {
            match items {
                1..=64 => Ok(Self(items)),
                got => Err(BatchError::LeafSize { got }),
            }
        }

        /// The bare number.
        pub const fn to_u8(self) -> u8 {
            self.0
        }
    }
}
pub use leaf_size::LeafSize;
