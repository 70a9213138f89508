//! Messages of the reference crates to values of ours, and back.

use binary_sv2::{Str0255Owned, U256Owned};

use super::Sv2Error;
use crate::units::Target;

/// The version of the protocol that both ends speak.
pub(super) const VERSION: u16 = 2;

/// Reads a frame's payload as a message of the type that its kind says.
macro_rules! read {
    ($frame:expr, $message:ty) => {
        binary_sv2::from_bytes::<$message>(&mut $frame.payload)
            .map_err(|_| Sv2Error::Malformed { kind: $frame.kind })
    };
}
pub(super) use read;

/// A target as messages have it: a little-endian number.
pub(super) fn target_bytes(target: Target) -> Result<U256Owned, Sv2Error> {
    let mut bytes = target.to_be_bytes();
    bytes.reverse();
    hash_bytes(&bytes)
}

/// A hash as messages have it: as in a header.
pub(super) fn hash_bytes(hash: &[u8; 32]) -> Result<U256Owned, Sv2Error> {
    // 32 bytes are a U256.
    hash.to_vec().try_into().map_err(|_| Sv2Error::Closed)
}

/// The target in a message of `kind`; one that is harder than a work of 2^128 is none.
pub(super) fn target(bytes: &[u8], kind: u8) -> Result<Target, Sv2Error> {
    let mut bytes = hash(bytes, kind)?;
    bytes.reverse();
    Target::from_be_bytes(&bytes).map_err(|_| Sv2Error::Malformed { kind })
}

/// The 32 bytes in a message of `kind`.
pub(super) fn hash(bytes: &[u8], kind: u8) -> Result<[u8; 32], Sv2Error> {
    bytes.try_into().map_err(|_| Sv2Error::Malformed { kind })
}

/// Words of the protocol: short and known.
pub(super) fn words(text: &str) -> Result<Str0255Owned, Sv2Error> {
    text.try_into().map_err(|_| Sv2Error::Closed)
}
