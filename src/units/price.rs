//! Exact prices: a rational number of millisatoshis per unit of what is sold.

pub use encapsulate::Price;
pub use quantity::Quantity;

mod quantity {
    use crate::units::bounded;

    bounded! {
        /// How much of what is sold: watt-seconds, seconds, bytes or items. What it counts is said
        /// by the tariff.
        Quantity(u64), 0, u64::MAX, "", to_u64
    }

    impl Quantity {
        /// None of it.
        pub const ZERO: Self = Self::MIN;
    }
}

mod encapsulate {
    use core::num::NonZeroU64;

    use crate::units::{Msat, Overflow, Quantity, UnitError};

    /// A price of `msat` millisatoshis for each `per` units; exact, never a float.
    ///
    /// ```
    /// use millstream::units::{Msat, Price, Quantity};
    ///
    /// // 450 sat a kilowatt-hour, sold by the watt-second.
    /// let price = Price::new(Msat::new(450_000)?, 3_600_000)?;
    /// assert_eq!(price.floor_msat(Quantity::new(10_000)?)?, Msat::new(1_250)?);
    /// # Ok::<(), millstream::units::UnitError>(())
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    pub struct Price {
        msat: Msat,
        per: NonZeroU64,
    }

    impl Price {
        /// A price of `msat` for each `per` units.
        ///
        /// # Errors
        /// [`UnitError::Zero`] if `per` is zero.
        pub const fn new(msat: Msat, per: u64) -> Result<Self, UnitError> {
            match NonZeroU64::new(per) {
                Some(per) => Ok(Self { msat, per }),
                None => Err(UnitError::Zero { unit: "Price" }),
            }
        }

        /// Millisatoshis for each [`Self::per`] units.
        pub const fn msat(self) -> Msat {
            self.msat
        }

        /// How many units [`Self::msat`] buys.
        pub const fn per(self) -> NonZeroU64 {
            self.per
        }

        /// The price of `quantity`, rounded down to the millisatoshi.
        ///
        /// # Errors
        /// [`Overflow`] if it is above all money.
        pub fn floor_msat(self, quantity: Quantity) -> Result<Msat, Overflow> {
            let whole = self.product(quantity).checked_div(u128::from(self.per.get()));
            into_msat(whole)
        }

        /// The price of `quantity`, rounded up to the millisatoshi.
        ///
        /// # Errors
        /// [`Overflow`] if it is above all money.
        pub fn ceil_msat(self, quantity: Quantity) -> Result<Msat, Overflow> {
            into_msat(Some(self.product(quantity).div_ceil(u128::from(self.per.get()))))
        }

        /// `msat` x `quantity`: below 2^61 x 2^64, so it always fits 128 bits.
        const fn product(self, quantity: Quantity) -> u128 {
            // Widening conversions, which `From` cannot do in a const function.
            #[allow(clippy::as_conversions, clippy::cast_lossless)]
            (self.msat.to_msat() as u128).saturating_mul(quantity.to_u64() as u128)
        }
    }

    fn into_msat(value: Option<u128>) -> Result<Msat, Overflow> {
        value
            .and_then(|msat| u64::try_from(msat).ok())
            .and_then(|msat| Msat::new(msat).ok())
            .ok_or(Overflow { unit: "Msat" })
    }
}
