//! Relative locks in blocks (BIP68): the refund's, and the one of a hold's claim.

use super::TxError;
use crate::units::Blocks;

/// Defines a number of blocks from `$least` to 65,535, and the error below that.
macro_rules! relative_lock {
    ($(#[$doc:meta])* $name:ident, $least:literal, $broken:literal, |$got:ident| $error:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u16);

        impl $name {
            /// Checks the range.
            ///
            /// # Errors
            #[doc = concat!("[`TxError::", $broken, "`] below ", $least, ".")]
            pub const fn new($got: u16) -> Result<Self, TxError> {
                if $got < $least { Err($error) } else { Ok(Self($got)) }
            }

            /// The number of blocks.
            #[must_use]
            pub const fn to_u16(self) -> u16 {
                self.0
            }

            /// The number of blocks, to add to a height.
            #[must_use]
            pub fn to_blocks(self) -> Blocks {
                // A u16 is always in the range of Blocks.
                Blocks::new(u32::from(self.0)).unwrap_or(Blocks::MAX)
            }
        }
    };
}

relative_lock! {
    /// The refund's relative lock in blocks, 1 ..= 65,535 (BIP68), from the output's confirmation.
    Delay, 1, "ZeroDelay", |got| TxError::ZeroDelay
}

relative_lock! {
    /// The claim's relative lock k in blocks, 2 ..= 65,535, from the settlement's confirmation.
    ///
    /// The k - 1 blocks before it are the payer's alone: without them the payee could publish
    /// settlement and claim in one block, long after the expiry.
    ClaimDelay, 2, "ClaimDelayTooShort", |got| TxError::ClaimDelayTooShort { got }
}
