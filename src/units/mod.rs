//! Amounts, rates, heights, times, prices, work and ids: one newtype each, with a checked range.
//!
//! No bare integer crosses a module border of this crate. The inner value of every type here is
//! private even to its own file (each lives in a module `encapsulate`), so that a value that exists
//! is a value in range. Arithmetic is checked and returns [`Overflow`]; rounding is in the name of
//! the function that does it. There is no floating point.
//!
//! Rank 0: builds on `core` alone, imports nothing. Every other room uses it.
//!
//! ```
//! use millstream::units::{Msat, Sat};
//!
//! let paid = Msat::new(1_500)?;
//! assert_eq!(paid.floor_to_sat(), Sat::new(1)?);
//! assert_eq!(paid.ceil_to_sat(), Sat::new(2)?);
//! # Ok::<(), millstream::units::UnitError>(())
//! ```

mod amount;
mod blame;
mod id;
mod price;
mod rate;
mod time;
mod work;

pub use amount::{Msat, Sat};
pub use blame::Blame;
pub use id::{ChannelAlias, HoldId, ItemId, KeyIndex, Lane, SessionId};
pub use price::{Price, Quantity};
pub use rate::{FeeRate, Ppm};
pub use time::{Blocks, Height, Seconds, UtcSeconds};
pub use work::{JobId, Target, TargetError, Work, WorkBits};

/// A value that a unit cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// The value is outside the unit's range.
    #[error("{unit} of {got} is above its largest value {max}")]
    TooLarge {
        /// Name of the unit.
        unit: &'static str,
        /// What was given.
        got: u64,
        /// The largest value that the unit holds.
        max: u64,
    },
    /// The value is zero where the unit starts at one.
    #[error("{unit} of zero")]
    Zero {
        /// Name of the unit.
        unit: &'static str,
    },
    /// A sum, difference or product left the unit's range.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// The result of an operation is outside the unit's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("arithmetic on {unit} leaves its range")]
pub struct Overflow {
    /// Name of the unit.
    pub unit: &'static str,
}

impl UnitError {
    /// Ours: the rooms that read a peer's bytes wrap it in an error of theirs.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::TooLarge { .. } | Self::Zero { .. } => Blame::Us,
            Self::Overflow(error) => error.blame(),
        }
    }
}

impl Overflow {
    /// Ours: nothing that a peer may send leads here unchecked.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        Blame::Us
    }
}

/// Defines a newtype over an unsigned integer in `min..=max` whose inside only its own module sees.
macro_rules! bounded {
    (
        $(#[$doc:meta])*
        $name:ident($int:ty), $min:expr, $max:expr, $suffix:literal, $getter:ident
    ) => {
        mod encapsulate {
            use crate::units::UnitError;

            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
            #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
            #[cfg_attr(feature = "serde", serde(try_from = "u64", into = "u64"))]
            pub struct $name($int);

            impl $name {
                /// The smallest value.
                pub const MIN: Self = Self($min);
                /// The largest value.
                pub const MAX: Self = Self($max);

                /// Checks the range.
                ///
                /// # Errors
                /// [`UnitError::TooLarge`] above [`Self::MAX`], [`UnitError::Zero`] below
                /// [`Self::MIN`].
                #[allow(
                    clippy::allow_attributes,
                    unused_comparisons,
                    clippy::absurd_extreme_comparisons
                )]
                pub const fn new(value: $int) -> Result<Self, UnitError> {
                    if value < $min {
                        return Err(UnitError::Zero { unit: stringify!($name) });
                    }
                    if value > $max {
                        // Widening to u64 loses nothing for the unsigned types that this macro is
                        // used with, and `u64::from` is not const.
                        #[allow(clippy::as_conversions, clippy::cast_lossless)]
                        return Err(UnitError::TooLarge {
                            unit: stringify!($name),
                            got: value as u64,
                            max: $max as u64,
                        });
                    }
                    Ok(Self(value))
                }

                /// The bare number, for encoding and for display.
                pub const fn $getter(self) -> $int {
                    self.0
                }
            }
        }
        pub use encapsulate::$name;

        impl $name {
            /// The sum, or `None` outside the range.
            #[must_use]
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.$getter().checked_add(other.$getter()) {
                    Some(sum) => match Self::new(sum) {
                        Ok(value) => Some(value),
                        Err(_) => None,
                    },
                    None => None,
                }
            }

            /// The difference, or `None` outside the range.
            #[must_use]
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.$getter().checked_sub(other.$getter()) {
                    Some(difference) => match Self::new(difference) {
                        Ok(value) => Some(value),
                        Err(_) => None,
                    },
                    None => None,
                }
            }

            /// The sum.
            ///
            /// # Errors
            /// [`Overflow`](crate::units::Overflow) outside the range.
            pub const fn add(self, other: Self) -> Result<Self, crate::units::Overflow> {
                match self.checked_add(other) {
                    Some(sum) => Ok(sum),
                    None => Err(crate::units::Overflow { unit: stringify!($name) }),
                }
            }

            /// The difference.
            ///
            /// # Errors
            /// [`Overflow`](crate::units::Overflow) outside the range.
            pub const fn sub(self, other: Self) -> Result<Self, crate::units::Overflow> {
                match self.checked_sub(other) {
                    Some(difference) => Ok(difference),
                    None => Err(crate::units::Overflow { unit: stringify!($name) }),
                }
            }

            /// The difference, or the smallest value where it would be below.
            #[must_use]
            pub const fn saturating_sub(self, other: Self) -> Self {
                match self.checked_sub(other) {
                    Some(difference) => difference,
                    None => Self::MIN,
                }
            }

            /// The sum, or the largest value where it would be above.
            #[must_use]
            pub const fn saturating_add(self, other: Self) -> Self {
                match self.checked_add(other) {
                    Some(sum) => sum,
                    None => Self::MAX,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!("{}", $suffix), self.$getter())
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> Self {
                Self::from(value.$getter())
            }
        }

        impl TryFrom<u64> for $name {
            type Error = crate::units::UnitError;

            fn try_from(value: u64) -> Result<Self, Self::Error> {
                match <$int>::try_from(value) {
                    Ok(narrow) => Self::new(narrow),
                    Err(_) => Err(crate::units::UnitError::TooLarge {
                        unit: stringify!($name),
                        got: value,
                        max: Self::MAX.into(),
                    }),
                }
            }
        }
    };
}
use bounded;

#[cfg(test)]
mod tests;
