//! How one field lies on the wire, and how a message is made of its fields.
//!
//! A message lists its fields once, in wire order, by `codec!`; both directions come from that
//! list.

use alloc::vec::Vec;
use core::num::NonZeroU16;

use bitcoin::constants::ChainHash;
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::{OutPoint, Txid, XOnlyPublicKey};

use super::{Reader, WireError};
use crate::units::{
    ChannelAlias, Height, HoldId, Msat, Ppm, Quantity, Sat, Seconds, SessionId, UtcSeconds,
};

/// A value with one encoding.
pub(super) trait Field: Sized {
    /// Appends the encoding.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes it from the front of `from`.
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError>;
}

/// A message by itself: its type, and fields in wire order with the TLV extension behind them.
///
/// For devices that speak a part of the protocol: what they never name is not linked, which
/// [`Message`](super::Message), that knows every message, cannot give.
///
/// ```
/// use millstream::units::{ChannelAlias, Msat};
/// use millstream::wire::{Ack, Message, Payload, Pong};
///
/// let ack = Ack { alias: ChannelAlias::new(7)?, paid: Msat::new(1_250)? };
/// let (mut alone, mut bytes) = (Vec::new(), Vec::new());
/// ack.put_message(&mut alone);
/// Message::Ack(ack).encode(&mut bytes);
/// assert_eq!(alone, bytes);
/// assert_eq!(Ack::take_message(&bytes)?, Some(ack));
/// assert_eq!(Pong::take_message(&bytes)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Payload: Sized {
    /// The message type.
    const TYPE: u16;

    /// Appends everything after the type.
    fn put_payload(&self, out: &mut Vec<u8>);

    /// Reads everything after the type, to the end of the message.
    ///
    /// # Errors
    /// What is wrong with the payload.
    fn take_payload(from: &mut Reader<'_>) -> Result<Self, WireError>;

    /// Appends type and payload. Allocates only if `out` has to grow.
    fn put_message(&self, out: &mut Vec<u8>) {
        Self::TYPE.put(out);
        self.put_payload(out);
    }

    /// Reads a whole message of this type; `None` for one of another type.
    ///
    /// # Errors
    /// As [`Self::take_payload`]; [`WireError::Truncated`] for bytes without a type.
    fn take_message(bytes: &[u8]) -> Result<Option<Self>, WireError> {
        let mut from = Reader::new(bytes);
        if from.u16()? == Self::TYPE { Self::take_payload(&mut from).map(Some) } else { Ok(None) }
    }
}

/// Implements [`Payload`] from the list of fields. Fields behind `tlv` are `Option`s, each with its
/// record type, in rising order.
macro_rules! codec {
    (
        $message:ident = $kind:literal {
            $($field:ident),* $(,)?
        } $(tlv { $($record:literal => $optional:ident),+ $(,)? })?
    ) => {
        impl $crate::wire::field::Payload for $message {
            const TYPE: u16 = $kind;

            #[inline]
            fn put_payload(&self, out: &mut alloc::vec::Vec<u8>) {
                // A message without fields leaves it unused.
                let _ = &out;
                $($crate::wire::field::Field::put(&self.$field, out);)*
                $($($crate::wire::field::put_optional($record, self.$optional.as_ref(), out);)+)?
            }

            #[inline]
            fn take_payload(
                from: &mut $crate::wire::Reader<'_>,
            ) -> Result<Self, $crate::wire::WireError> {
                $(let $field = $crate::wire::field::Field::take(from)?;)*
                $($(let mut $optional = None;)+)?
                let mut extension = $crate::wire::TlvStream::new(from.take_rest());
                while let Some(record) = extension.next_record()? {
                    match record.kind() {
                        $($($record => {
                            $optional = Some($crate::wire::field::take_record(&record)?);
                        })+)?
                        _ => record.skip_unknown()?,
                    }
                }
                Ok(Self { $($field,)* $($($optional,)+)? })
            }
        }
    };
}
pub(super) use codec;

/// Appends the record of an optional field, if it is there.
pub(super) fn put_optional<F: Field>(kind: u64, value: Option<&F>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        let mut bytes = Vec::new();
        value.put(&mut bytes);
        super::put_record(kind, &bytes, out);
    }
}

/// Reads the value of a record, which it has to fill.
pub(super) fn take_record<F: Field>(record: &super::TlvRecord<'_>) -> Result<F, WireError> {
    let mut from = Reader::new(record.value());
    let value = F::take(&mut from)?;
    from.finish("TLV record", record.value().len())?;
    Ok(value)
}

impl<const N: usize> Field for [u8; N] {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    #[inline]
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.array()
    }
}

/// Fields that are an unsigned integer inside a unit.
macro_rules! number_field {
    ($($unit:ty: $int:ty, $getter:ident;)+) => {
        $(impl Field for $unit {
            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                self.$getter().to_be_bytes().put(out);
            }

            #[inline]
            fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
                Ok(Self::new(<$int>::from_be_bytes(from.array()?))?)
            }
        })+
    };
}

number_field! {
    ChannelAlias: u32, to_u32;
    Height: u32, to_u32;
    HoldId: u64, to_u64;
    Msat: u64, to_msat;
    Ppm: u32, to_ppm;
    Quantity: u64, to_u64;
    Sat: u64, to_sat;
    Seconds: u64, to_u64;
    SessionId: u64, to_u64;
    UtcSeconds: u64, to_u64;
}

impl Field for u16 {
    fn put(&self, out: &mut Vec<u8>) {
        self.to_be_bytes().put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.u16()
    }
}

impl Field for u32 {
    fn put(&self, out: &mut Vec<u8>) {
        self.to_be_bytes().put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.u32()
    }
}

impl Field for NonZeroU16 {
    fn put(&self, out: &mut Vec<u8>) {
        self.get().put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Self::new(from.u16()?).ok_or(WireError::BadValue { what: "delay", got: 0 })
    }
}

impl Field for Signature {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        self.as_ref().put(out);
    }

    #[inline]
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let bytes: [u8; 64] = from.array()?;
        // Only the length is checked here; whether it verifies is the machines' question.
        Self::from_slice(&bytes)
            .map_err(|_| WireError::WrongLength { what: "signature", got: bytes.len() })
    }
}

impl Field for XOnlyPublicKey {
    fn put(&self, out: &mut Vec<u8>) {
        self.serialize().put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let bytes: [u8; 32] = from.array()?;
        Self::from_slice(&bytes).map_err(|_| WireError::BadKey)
    }
}

impl Field for ChainHash {
    fn put(&self, out: &mut Vec<u8>) {
        self.to_bytes().put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.array::<32>().map(Self::from)
    }
}

impl Field for Txid {
    fn put(&self, out: &mut Vec<u8>) {
        self.to_byte_array().put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.array().map(Self::from_byte_array)
    }
}

impl Field for OutPoint {
    fn put(&self, out: &mut Vec<u8>) {
        self.txid.put(out);
        self.vout.to_be_bytes().put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { txid: Txid::take(from)?, vout: from.u32()? })
    }
}
