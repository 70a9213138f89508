//! Rates: fees on the chain, and parts per million.

pub use fee::FeeRate;
pub use ppm::Ppm;

mod fee {
    use crate::units::{Overflow, Sat, bounded};

    bounded! {
        /// A fee rate in satoshis per 1,000 virtual bytes, 1 ..= 10^9.
        ///
        /// The scale of Bitcoin Core's own `CFeeRate`: a tenth of a satoshi a virtual byte, today's
        /// smallest relay fee, is 100.
        FeeRate(u64), 1, 1_000_000_000, " sat/kvB", to_sat_per_kvb
    }

    impl FeeRate {
        /// The fee of `weight` weight units, rounded up to the satoshi.
        ///
        /// # Errors
        /// [`Overflow`] if the fee is above all money.
        pub fn ceil_fee(self, weight_units: u64) -> Result<Sat, Overflow> {
            const WEIGHT_PER_KVB: u128 = 4_000;
            let fee = u128::from(self.to_sat_per_kvb())
                .saturating_mul(u128::from(weight_units))
                .div_ceil(WEIGHT_PER_KVB);
            u64::try_from(fee)
                .ok()
                .and_then(|sat| Sat::new(sat).ok())
                .ok_or(Overflow { unit: "Sat" })
        }
    }
}

mod ppm {
    use crate::units::{Msat, bounded};

    bounded! {
        /// Parts per million, 0 ..= 10^6 (all of it).
        Ppm(u32), 0, 1_000_000, " ppm", to_ppm
    }

    impl Ppm {
        /// This part of `amount`, rounded down; never above `amount`.
        #[must_use]
        pub fn floor_of(self, amount: Msat) -> Msat {
            Self::part(self.parts(amount).div_euclid(1_000_000), amount)
        }

        /// This part of `amount`, rounded up; never above `amount`.
        #[must_use]
        pub fn ceil_of(self, amount: Msat) -> Msat {
            Self::part(self.parts(amount).div_ceil(1_000_000), amount)
        }

        /// Millionths of `amount`.
        fn parts(self, amount: Msat) -> u128 {
            u128::from(amount.to_msat()).saturating_mul(u128::from(self.to_ppm()))
        }

        fn part(part: u128, amount: Msat) -> Msat {
            // At most `amount`, because the factor is at most one.
            u64::try_from(part).ok().and_then(|msat| Msat::new(msat).ok()).unwrap_or(amount)
        }
    }
}
