//! Money: whole satoshis on the chain, millisatoshis in a channel.

pub use msat::Msat;
pub use sat::Sat;

/// 21 million bitcoin in satoshis: no amount is larger.
const MAX_SAT: u64 = 2_100_000_000_000_000;
/// The same in millisatoshis.
const MAX_MSAT: u64 = 2_100_000_000_000_000_000;
/// A satoshi's worth in millisatoshis.
const MSAT_PER_SAT: u64 = 1_000;

mod sat {
    use super::MSAT_PER_SAT;
    use crate::units::{Msat, bounded};

    bounded! {
        /// An amount on the chain, in satoshis, 0 ..= 21e14.
        Sat(u64), 0, crate::units::amount::MAX_SAT, " sat", to_sat
    }

    impl Sat {
        /// Nothing.
        pub const ZERO: Self = Self::MIN;

        /// The same amount in millisatoshis; always fits.
        #[must_use]
        pub const fn to_msat(self) -> Msat {
            // At most 21e14 x 1000 = 2.1e18, below u64::MAX.
            match Msat::new(self.to_sat().saturating_mul(MSAT_PER_SAT)) {
                Ok(msat) => msat,
                Err(_) => Msat::MAX,
            }
        }
    }
}

mod msat {
    use super::MSAT_PER_SAT;
    use crate::units::{Sat, bounded};

    bounded! {
        /// An amount in a channel, in millisatoshis, 0 ..= 21e17.
        Msat(u64), 0, crate::units::amount::MAX_MSAT, " msat", to_msat
    }

    impl Msat {
        /// Nothing.
        pub const ZERO: Self = Self::MIN;

        /// The whole satoshis in it, rounded down.
        #[must_use]
        pub const fn floor_to_sat(self) -> Sat {
            match Sat::new(self.to_msat().div_euclid(MSAT_PER_SAT)) {
                Ok(sat) => sat,
                Err(_) => Sat::MAX,
            }
        }

        /// The whole satoshis that cover it, rounded up.
        #[must_use]
        pub const fn ceil_to_sat(self) -> Sat {
            match Sat::new(self.to_msat().div_ceil(MSAT_PER_SAT)) {
                Ok(sat) => sat,
                Err(_) => Sat::MAX,
            }
        }

        /// What is left above the whole satoshis, 0 ..= 999.
        #[must_use]
        pub const fn sub_sat(self) -> u16 {
            // A remainder by 1000 is below 1000, so the narrowing keeps it.
            #[allow(clippy::as_conversions, clippy::cast_possible_truncation)]
            {
                self.to_msat().rem_euclid(MSAT_PER_SAT) as u16
            }
        }
    }
}
