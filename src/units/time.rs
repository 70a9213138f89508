//! Time: block heights and counts, and UTC seconds. The core has no clock; these come in as values.

pub use blocks::Blocks;
pub use height::Height;
pub use seconds::Seconds;
pub use utc::UtcSeconds;

mod height {
    use crate::units::{Blocks, bounded};

    bounded! {
        /// The height of a block, 0 ..= 499,999,999 (above, a lock time means seconds: BIP65).
        Height(u32), 0, 499_999_999, "", to_u32
    }

    impl Height {
        /// The height `blocks` later, or the largest height.
        #[must_use]
        pub const fn saturating_after(self, blocks: Blocks) -> Self {
            match Self::new(self.to_u32().saturating_add(blocks.to_u32())) {
                Ok(height) => height,
                Err(_) => Self::MAX,
            }
        }

        /// The height `blocks` earlier, or zero.
        #[must_use]
        pub const fn saturating_before(self, blocks: Blocks) -> Self {
            match Self::new(self.to_u32().saturating_sub(blocks.to_u32())) {
                Ok(height) => height,
                Err(_) => Self::MIN,
            }
        }

        /// The blocks from `earlier` to this height, zero if it is not earlier.
        #[must_use]
        pub const fn saturating_since(self, earlier: Self) -> Blocks {
            match Blocks::new(self.to_u32().saturating_sub(earlier.to_u32())) {
                Ok(blocks) => blocks,
                Err(_) => Blocks::MAX,
            }
        }

        /// How deep a transaction confirmed at this height is under `tip`: 1 in the tip block
        /// itself, 0 if the tip is below.
        #[must_use]
        pub const fn depth_at(self, tip: Self) -> Blocks {
            if tip.to_u32() < self.to_u32() {
                return Blocks::MIN;
            }
            match Blocks::new(tip.to_u32().saturating_sub(self.to_u32()).saturating_add(1)) {
                Ok(blocks) => blocks,
                Err(_) => Blocks::MAX,
            }
        }
    }
}

mod blocks {
    use crate::units::bounded;

    bounded! {
        /// A number of blocks, 0 ..= 499,999,999.
        Blocks(u32), 0, 499_999_999, " blocks", to_u32
    }
}

mod utc {
    use crate::units::{Seconds, bounded};

    bounded! {
        /// Seconds since 1970-01-01 00:00 UTC, leap seconds not counted, as in a block header.
        UtcSeconds(u64), 0, u64::MAX, " s UTC", to_u64
    }

    impl UtcSeconds {
        /// The instant `seconds` later, or the last one.
        #[must_use]
        pub const fn saturating_after(self, seconds: Seconds) -> Self {
            match Self::new(self.to_u64().saturating_add(seconds.to_u64())) {
                Ok(utc) => utc,
                Err(_) => Self::MAX,
            }
        }

        /// The seconds from `earlier` to this instant, zero if it is not earlier.
        #[must_use]
        pub const fn saturating_since(self, earlier: Self) -> Seconds {
            match Seconds::new(self.to_u64().saturating_sub(earlier.to_u64())) {
                Ok(seconds) => seconds,
                Err(_) => Seconds::MAX,
            }
        }
    }
}

mod seconds {
    use crate::units::bounded;

    bounded! {
        /// A length of time in seconds.
        Seconds(u64), 0, u64::MAX, " s", to_u64
    }
}
