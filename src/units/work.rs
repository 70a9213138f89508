//! Proof of work: targets, what they stand for in hashes, and the id of a job.
//!
//! A [`Target`] is the bound that a block hash, read as a number, must not exceed. It is at least
//! 2^128, so that its [`Work`], the hashes that it takes on average to meet it, always fits 128
//! bits. (Bitcoin's own target of 2026 is near 2^177.) All of it is exact integer arithmetic.
//!
//! Used by `miner`, which searches for hashes, by `shares`, which credits targets, and by `ledger`,
//! which prices work.

pub use bits::WorkBits;
pub use hashes::Work;
pub use job::JobId;
pub use target::{Target, TargetError};

mod job {
    use crate::units::bounded;

    bounded! {
        /// One job of a pool on one connection; means nothing elsewhere.
        JobId(u32), 0, u32::MAX, "", to_u32
    }
}

mod bits {
    use crate::units::bounded;

    bounded! {
        /// The exponent of a power of two of work, 0 ..= 127: 2^b hashes a share.
        WorkBits(u8), 0, 127, " bits of work", to_u8
    }
}

mod hashes {
    use super::WorkBits;
    use crate::units::Overflow;

    /// A number of hashes: what was done on average by whoever met a [`Target`](super::Target).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    #[cfg_attr(feature = "serde", serde(transparent))]
    pub struct Work(u128);

    impl Work {
        /// No work.
        pub const ZERO: Self = Self(0);
        /// The most that there can be.
        pub const MAX: Self = Self(u128::MAX);

        /// That many hashes.
        #[must_use]
        pub const fn new(hashes: u128) -> Self {
            Self(hashes)
        }

        /// 2^`bits` hashes.
        #[must_use]
        pub const fn of_bits(bits: WorkBits) -> Self {
            // A shift by a number out of 0 ..= 127 wraps nothing.
            #[expect(clippy::as_conversions, reason = "widens, and `From` is not const")]
            let bits = bits.to_u8() as u32;
            Self(1_u128.wrapping_shl(bits))
        }

        /// The number of hashes.
        pub const fn hashes(self) -> u128 {
            self.0
        }

        /// The sum, or `None` above [`Self::MAX`].
        #[must_use]
        pub const fn checked_add(self, other: Self) -> Option<Self> {
            match self.0.checked_add(other.0) {
                Some(sum) => Some(Self(sum)),
                None => None,
            }
        }

        /// The difference, or `None` below zero.
        #[must_use]
        pub const fn checked_sub(self, other: Self) -> Option<Self> {
            match self.0.checked_sub(other.0) {
                Some(difference) => Some(Self(difference)),
                None => None,
            }
        }

        /// The sum.
        ///
        /// # Errors
        /// [`Overflow`] above [`Self::MAX`].
        pub const fn add(self, other: Self) -> Result<Self, Overflow> {
            match self.checked_add(other) {
                Some(sum) => Ok(sum),
                None => Err(Overflow { unit: "Work" }),
            }
        }

        /// The difference.
        ///
        /// # Errors
        /// [`Overflow`] below zero.
        pub const fn sub(self, other: Self) -> Result<Self, Overflow> {
            match self.checked_sub(other) {
                Some(difference) => Ok(difference),
                None => Err(Overflow { unit: "Work" }),
            }
        }

        /// The sum, or [`Self::MAX`].
        #[must_use]
        pub const fn saturating_add(self, other: Self) -> Self {
            Self(self.0.saturating_add(other.0))
        }

        /// The difference, or [`Self::ZERO`].
        #[must_use]
        pub const fn saturating_sub(self, other: Self) -> Self {
            Self(self.0.saturating_sub(other.0))
        }
    }

    impl core::fmt::Display for Work {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            write!(f, "{} hashes", self.0)
        }
    }
}

mod target {
    use core::fmt;
    use core::num::{NonZeroU64, NonZeroU128};
    use core::str::FromStr;

    use super::{Work, WorkBits};
    use crate::units::Blame;

    /// The largest number that a block hash may be to count: 2^128 ..= 2^256 - 1.
    ///
    /// Larger is easier. `Display` and `FromStr`: 64 hexadecimal digits, the highest first, as
    /// block explorers write hashes.
    ///
    /// ```
    /// use millstream::units::{Target, Work, WorkBits};
    ///
    /// let genesis = Target::from_compact(0x1d00_ffff)?;
    /// assert_eq!(genesis, Target::DIFFICULTY_ONE);
    /// assert_eq!(genesis.work(), Work::new(0x1_0001_0001));
    /// let share = Target::of_work_bits(WorkBits::new(20)?);
    /// assert_eq!(share.work(), Work::new(1 << 20));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Target {
        // The high half comes first, so that the derived order is the order of the numbers.
        high: NonZeroU128,
        low: u128,
    }

    /// Bytes or numbers that are not a [`Target`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
    #[non_exhaustive]
    pub enum TargetError {
        /// The compact form has its sign bit set.
        #[error("compact target {bits:#010x} is negative")]
        Negative {
            /// What was given.
            bits: u32,
        },
        /// No hash is small enough.
        #[error("target is zero")]
        Zero,
        /// The compact form stands for 2^256 or more.
        #[error("compact target {bits:#010x} has more than 256 bits")]
        Overflow {
            /// What was given.
            bits: u32,
        },
        /// Below 2^128: its work would not fit 128 bits.
        #[error("target {got} is below 2^128")]
        TooHard {
            /// What was given.
            got: u128,
        },
        /// The text is not 64 hexadecimal digits.
        #[error("target of {length} bytes of text is not 64 hexadecimal digits")]
        NotHex {
            /// Bytes of the text.
            length: usize,
        },
    }

    impl TargetError {
        /// Ours: the rooms that read a peer's bytes wrap it in an error of theirs.
        #[must_use]
        pub const fn blame(&self) -> Blame {
            match self {
                Self::Negative { .. }
                | Self::Zero
                | Self::Overflow { .. }
                | Self::TooHard { .. }
                | Self::NotHex { .. } => Blame::Us,
            }
        }
    }

    impl Target {
        /// Every hash meets it: 2^256 - 1.
        pub const MAX: Self = Self { high: NonZeroU128::MAX, low: u128::MAX };
        /// The hardest: 2^128, whose work is 2^128 - 1.
        pub const MIN: Self = Self { high: NonZeroU128::MIN, low: 0 };
        /// What pools call difficulty 1: 0xffff x 2^208.
        pub const DIFFICULTY_ONE: Self =
            Self { high: NonZeroU128::MIN.saturating_add((0xffff << 80) - 1), low: 0 };

        /// The number whose halves these are.
        const fn of_halves(high: u128, low: u128) -> Result<Self, TargetError> {
            match (NonZeroU128::new(high), low) {
                (Some(high), low) => Ok(Self { high, low }),
                (None, 0) => Err(TargetError::Zero),
                (None, got) => Err(TargetError::TooHard { got }),
            }
        }

        /// Reads 32 bytes, the highest first.
        ///
        /// # Errors
        /// [`TargetError::Zero`], [`TargetError::TooHard`] below 2^128.
        pub const fn from_be_bytes(bytes: &[u8; 32]) -> Result<Self, TargetError> {
            // 32 bytes are two chunks of 16.
            let ([high, low], _) = bytes.as_chunks::<16>() else { return Err(TargetError::Zero) };
            Self::of_halves(u128::from_be_bytes(*high), u128::from_be_bytes(*low))
        }

        /// Reads the compact form of a block header (`nBits`), by the rules of consensus: a digit
        /// to base 256 that counts bytes, and three bytes of a signed mantissa.
        ///
        /// # Errors
        /// [`TargetError::Negative`], [`TargetError::Zero`], [`TargetError::Overflow`] where
        /// consensus refuses it, [`TargetError::TooHard`] below 2^128.
        pub const fn from_compact(bits: u32) -> Result<Self, TargetError> {
            let size = bits >> 24;
            let mantissa = bits & 0x007f_ffff;
            // Below three bytes the lower bytes of the mantissa are cut off.
            let word = if size < 3 {
                mantissa.wrapping_shr(3_u32.saturating_sub(size).saturating_mul(8))
            } else {
                mantissa
            };
            if word == 0 {
                return Err(TargetError::Zero);
            }
            if bits & 0x0080_0000 != 0 {
                return Err(TargetError::Negative { bits });
            }
            let shift = size.saturating_sub(3).saturating_mul(8);
            let used = 32_u32.saturating_sub(word.leading_zeros());
            if shift.saturating_add(used) > 256 {
                return Err(TargetError::Overflow { bits });
            }
            #[expect(clippy::as_conversions, reason = "widens, and `From` is not const")]
            let (high, low) = shifted(word as u128, shift);
            Self::of_halves(high, low)
        }

        /// The easiest target that takes exactly 2^`bits` hashes: 2^(256 - bits) - 1.
        #[must_use]
        pub const fn of_work_bits(bits: WorkBits) -> Self {
            #[expect(clippy::as_conversions, reason = "widens, and `From` is not const")]
            let high = u128::MAX.wrapping_shr(bits.to_u8() as u32);
            match NonZeroU128::new(high) {
                Some(high) => Self { high, low: u128::MAX },
                // At most 127 bits are shifted out.
                None => Self::MIN,
            }
        }

        /// The target of a pool's difficulty `units / scale`: [`Self::DIFFICULTY_ONE`] divided by
        /// it, rounded down, at most [`Self::MAX`].
        ///
        /// A decimal fraction keeps its digits: 0.004 is 4 / 1000.
        pub fn of_difficulty(units: NonZeroU64, scale: NonZeroU64) -> Self {
            let divisor = NonZeroU128::from(units);
            let whole = u128::from(scale.get()).wrapping_mul(0xffff);
            let (mut quotient, mut rest) = (whole / divisor, whole % divisor);
            if quotient >> 48 != 0 {
                return Self::MAX;
            }
            let mut high = 0_u128;
            // 208 bits behind the point, 16 at a time: the rest is below 2^64, so nothing is lost.
            for _ in 0..13 {
                let dividend = rest << 16;
                high = high << 16 | quotient >> 112;
                quotient = (quotient << 16) | (dividend / divisor);
                rest = dividend % divisor;
            }
            // At least 0xffff x 2^208 / 2^64.
            Self::of_halves(high, quotient).unwrap_or(Self::MIN)
        }

        /// 32 bytes, the highest first.
        #[must_use]
        pub fn to_be_bytes(self) -> [u8; 32] {
            let mut bytes = [0; 32];
            let (high, low) = bytes.split_at_mut(16);
            high.copy_from_slice(&self.high.get().to_be_bytes());
            low.copy_from_slice(&self.low.to_be_bytes());
            bytes
        }

        /// The compact form (`nBits`), rounded down to three bytes.
        #[must_use]
        pub const fn floor_compact(self) -> u32 {
            // At least 17 bytes: the target is above 2^128.
            let used = 128_u32.saturating_sub(self.high.leading_zeros());
            let mut size = used.div_ceil(8).saturating_add(16);
            // Three bytes whose lowest stands at this bit; of a high half below 2^16 some are low.
            let shift = size.saturating_sub(3).saturating_mul(8);
            let mut mantissa = match shift.checked_sub(128) {
                Some(shift) => self.high.get() >> shift,
                None => self.high.get() << 128_u32.saturating_sub(shift) | self.low >> shift,
            };
            if mantissa & 0x0080_0000 != 0 {
                // It would read as a negative number.
                mantissa >>= 8;
                size = size.saturating_add(1);
            }
            #[expect(clippy::as_conversions, reason = "three bytes are left")]
            let mantissa = (mantissa & 0x007f_ffff) as u32;
            size << 24 | mantissa
        }

        /// How many hashes it takes on average to meet it: floor(2^256 / (target + 1)).
        ///
        /// At most 128 steps of shift and subtract; compute it once a job, not once a share.
        #[must_use]
        pub const fn work(self) -> Work {
            let (high, low) = (self.high.get(), self.low);
            let (low_next, carry) = low.overflowing_add(1);
            #[expect(clippy::as_conversions, reason = "a bit, and `From` is not const")]
            let (high_next, over) = high.overflowing_add(carry as u128);
            if over {
                return Work::new(1);
            }
            // 2^256 itself does not fit, so: floor((2^256 - (T + 1)) / (T + 1)) + 1.
            let (mut rest_high, mut rest_low) = (!high, !low);
            let mut quotient = 0_u128;
            let mut shift = high_next.leading_zeros();
            loop {
                let (part_high, part_low) = doubled(high_next, low_next, shift);
                if rest_high > part_high || (rest_high == part_high && rest_low >= part_low) {
                    let (difference, borrow) = rest_low.overflowing_sub(part_low);
                    rest_low = difference;
                    #[expect(clippy::as_conversions, reason = "a bit, and `From` is not const")]
                    let borrow = borrow as u128;
                    rest_high = rest_high.wrapping_sub(part_high).wrapping_sub(borrow);
                    quotient |= 1_u128.wrapping_shl(shift);
                }
                match shift.checked_sub(1) {
                    Some(next) => shift = next,
                    // The quotient is at most 2^128 - 2: its divisor is above 2^128.
                    None => return Work::new(quotient.saturating_add(1)),
                }
            }
        }

        /// Whether a hash meets it.
        ///
        /// `hash`: the bytes as double SHA-256 gives them; the last one counts most.
        #[must_use]
        #[inline]
        pub const fn is_met_by(&self, hash: &[u8; 32]) -> bool {
            // 32 bytes are two chunks of 16.
            let ([low, high], _) = hash.as_chunks::<16>() else { return false };
            let (high, low) = (u128::from_le_bytes(*high), u128::from_le_bytes(*low));
            high < self.high.get() || (high == self.high.get() && low <= self.low)
        }
    }

    /// A number of at most 32 bits, `shift` bits higher; its halves. What is beyond is lost.
    const fn shifted(word: u128, shift: u32) -> (u128, u128) {
        match shift.checked_sub(128) {
            Some(shift) => (word.wrapping_shl(shift), 0),
            None => doubled(0, word, shift),
        }
    }

    /// A number, doubled `times` times, fewer than 128; its halves. What is beyond is lost.
    const fn doubled(high: u128, low: u128, times: u32) -> (u128, u128) {
        let carried = low.wrapping_shr(1).wrapping_shr(127_u32.saturating_sub(times));
        (high.wrapping_shl(times) | carried, low.wrapping_shl(times))
    }

    impl From<Target> for [u8; 32] {
        fn from(target: Target) -> Self {
            target.to_be_bytes()
        }
    }

    impl fmt::Display for Target {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:032x}{:032x}", self.high, self.low)
        }
    }

    impl fmt::Debug for Target {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("0x").and_then(|()| fmt::Display::fmt(self, f))
        }
    }

    impl FromStr for Target {
        type Err = TargetError;

        fn from_str(text: &str) -> Result<Self, Self::Err> {
            let refused = TargetError::NotHex { length: text.len() };
            let half = |part: Option<&str>| {
                // `from_str_radix` would take a sign.
                let digits = part.filter(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
                digits.and_then(|digits| u128::from_str_radix(digits, 16).ok()).ok_or(refused)
            };
            if text.len() != 64 {
                return Err(refused);
            }
            Self::of_halves(half(text.get(..32))?, half(text.get(32..))?)
        }
    }

    #[cfg(feature = "serde")]
    impl serde::Serialize for Target {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    #[cfg(feature = "serde")]
    impl<'de> serde::Deserialize<'de> for Target {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Hex;

            impl serde::de::Visitor<'_> for Hex {
                type Value = Target;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a target of 64 hexadecimal digits")
                }

                fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Target, E> {
                    text.parse().map_err(E::custom)
                }
            }

            deserializer.deserialize_str(Hex)
        }
    }
}
