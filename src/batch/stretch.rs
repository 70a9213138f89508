//! Stretches: items of one lane with consecutive ids under one price, handled together.
//!
//! Whatever can be checked of many items at once is checked of a stretch: its sum against what is
//! free also proves it for each of its items, since no amount is negative.

use super::LEAF_ITEMS_MAX;
use super::item::{Charge, Item, ItemError};
use crate::units::{ItemId, Lane, Msat, Price, Quantity};

/// Up to 64 items of one lane with consecutive ids under one price, or without one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch<'a> {
    pub(super) lane: Lane,
    pub(super) first: ItemId,
    pub(super) price: Option<Price>,
    /// Counts if there is a price, else amounts in msat; 1..=64.
    pub(super) values: &'a [u64],
    /// An item with a hash is a stretch by itself.
    pub(super) hash: Option<[u8; 32]>,
}

/// What the items of a stretch cost, one by one.
#[derive(Debug)]
pub(super) struct Amounts([Msat; LEAF_ITEMS_MAX]);

impl Amounts {
    pub(super) const fn new() -> Self {
        Self([Msat::ZERO; LEAF_ITEMS_MAX])
    }

    /// The amounts of `stretch`, and their sum; `None` above all money.
    ///
    /// # Errors
    /// The place of the first item that has none, and why.
    #[inline]
    pub(super) fn of(&mut self, stretch: &Stretch<'_>) -> Result<(&[Msat], Option<Msat>), Wrong> {
        let amounts = self.0.get_mut(..stretch.values.len()).unwrap_or_default();
        let mut sum = 0_u128;
        match stretch.price {
            None => {
                let mut all = 0;
                for (to, value) in amounts.iter_mut().zip(stretch.values) {
                    *to = Msat::new(*value).unwrap_or(Msat::MAX);
                    sum = sum.wrapping_add(u128::from(*value));
                    all |= *value;
                }
                if all > Msat::MAX.to_msat() {
                    out_of_range(stretch.values)?;
                }
            }
            Some(price) => {
                let (mut known, mut amount) = (0, Msat::ZERO);
                for (place, (to, value)) in amounts.iter_mut().zip(stretch.values).enumerate() {
                    if *value != known {
                        let count = Quantity::new(*value).unwrap_or(Quantity::MAX);
                        let charge = Charge::Metered { count, price };
                        amount = charge.amount().map_err(|error| Wrong { place, error })?;
                        known = *value;
                    } else if *value == 0 {
                        return Err(Wrong { place, error: ItemError::ZeroCount });
                    }
                    *to = amount;
                    sum = sum.wrapping_add(u128::from(amount.to_msat()));
                }
            }
        }
        Ok((amounts, u64::try_from(sum).ok().and_then(|sum| Msat::new(sum).ok())))
    }
}

/// An item of a stretch that does not stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wrong {
    pub(super) place: usize,
    pub(super) error: ItemError,
}

#[cold]
fn out_of_range(values: &[u64]) -> Result<(), Wrong> {
    match values.iter().position(|value| *value > Msat::MAX.to_msat()) {
        Some(place) => Err(Wrong { place, error: crate::units::Overflow { unit: "Msat" }.into() }),
        None => Ok(()),
    }
}

impl Stretch<'_> {
    /// The id of its last item. Whoever makes a stretch has checked that there is one.
    #[inline]
    pub(super) fn last(&self) -> u64 {
        let after = u64::try_from(self.values.len()).unwrap_or(u64::MAX).saturating_sub(1);
        self.first.to_u64().saturating_add(after)
    }

    /// Its items, one by one.
    #[inline]
    pub(super) fn items(&self) -> impl Iterator<Item = Item> + '_ {
        // Not a range of ids: it would count on past the last id of all.
        let first = self.first.to_u64();
        (0_u64..).zip(self.values).map(move |(place, value)| Item {
            lane: self.lane,
            id: ItemId::new(first.wrapping_add(place)).unwrap_or(ItemId::MAX),
            charge: match self.price {
                None => Charge::Amount(Msat::new(*value).unwrap_or(Msat::MAX)),
                Some(price) => {
                    Charge::Metered { count: Quantity::new(*value).unwrap_or(Quantity::MAX), price }
                }
            },
            hash: self.hash,
        })
    }
}
