//! What can be wrong with bytes of a peer. None of these changes anything on our side.

use crate::units::{Blame, UnitError};

/// Bytes that are not a message, or a message that does not fit a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("field of {need} bytes with {have} bytes left")]
    Truncated {
        /// Bytes that the field takes.
        need: u64,
        /// Bytes that were left.
        have: usize,
    },
    /// A field has bytes left over, or has a length that its type does not allow.
    #[error("{what} of {got} bytes")]
    WrongLength {
        /// Name of the field.
        what: &'static str,
        /// Its length in bytes.
        got: usize,
    },
    /// A field is longer than its limit.
    #[error("{what} of {got}, the limit is {max}")]
    TooLong {
        /// Name of the field.
        what: &'static str,
        /// Its length in bytes or items.
        got: usize,
        /// The largest length.
        max: usize,
    },
    /// A number is written with more bytes than it needs.
    #[error("{what} is not in its shortest form")]
    NotMinimal {
        /// The kind of number.
        what: &'static str,
    },
    /// A number is outside the range of its unit.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// A field has a value that its type does not know.
    #[error("{what} cannot be {got}")]
    BadValue {
        /// Name of the field.
        what: &'static str,
        /// The value.
        got: u64,
    },
    /// 32 bytes are not the x coordinate of a point.
    #[error("public key is not on the curve")]
    BadKey,
    /// A TLV record does not stand above the one before it.
    #[error("TLV record {got} after {last}")]
    TlvOrder {
        /// Type of the record before.
        last: u64,
        /// Type of this record.
        got: u64,
    },
    /// A TLV record of an even type that this version does not know.
    #[error("unknown even TLV record {kind}")]
    UnknownEvenRecord {
        /// Its type.
        kind: u64,
    },
    /// A message of an even type that this version does not know.
    #[error("unknown even message {kind}")]
    UnknownEvenMessage {
        /// Its type.
        kind: u16,
    },
    /// A frame that is too short to hold a message type. The stream cannot be read on.
    #[error("frame of {got} bytes")]
    FrameTooShort {
        /// Length that the frame states.
        got: usize,
    },
    /// An own message is longer than a frame can be; nothing was written.
    #[error("message of {got} bytes does not fit a frame")]
    MessageTooLong {
        /// Length of the message.
        got: usize,
    },
}

impl WireError {
    /// The peer wrote what we read; only a message that is too long is our own.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Truncated { .. }
            | Self::WrongLength { .. }
            | Self::TooLong { .. }
            | Self::NotMinimal { .. }
            | Self::Unit(_)
            | Self::BadValue { .. }
            | Self::BadKey
            | Self::TlvOrder { .. }
            | Self::UnknownEvenRecord { .. }
            | Self::UnknownEvenMessage { .. }
            | Self::FrameTooShort { .. } => Blame::Peer,
            Self::MessageTooLong { .. } => Blame::Us,
        }
    }
}
