//! All messages in one enum, and the one door between them and bytes.

use alloc::vec::Vec;

use super::field::Payload;
use super::{
    Accepted, Ack, BatchPart, BatchVoucher, Best, BestHeld, CloseRequest, CloseSigned, HoldAck,
    HoldFulfilled, HoldItems, HoldReleased, HoldVoucher, Init, LanesQuery, LanesTold, Open,
    PeerError, PeerWarning, Ping, Pong, Reader, Reading, Refused, Resume, SessionEnd, SessionOffer,
    SessionPause, SessionStart, Statement, Terms, TermsQuery, TopUpRequest, TopUpSigned, Voucher,
    WireError,
};

/// Defines the enum and both directions from one list, so that no message can be left out of one.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// A message of this protocol. Each has one encoding.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Message {
            $($(#[$doc])* $name($name),)+
        }

        impl Message {
            /// Appends type and payload to `out`. Allocates only if `out` has to grow.
            pub fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(message) => message.put_message(out),)+
                }
            }

            /// Reads a whole message; `None` for one of an unknown odd type, which is ignored.
            ///
            /// Never panics, never allocates more than `bytes`; a voucher, an ack and every other
            /// message without a blob allocates nothing.
            ///
            /// # Errors
            /// [`WireError::UnknownEvenMessage`] for an unknown even type; else what is wrong with
            /// the payload.
            pub fn decode(bytes: &[u8]) -> Result<Option<Self>, WireError> {
                let mut from = Reader::new(bytes);
                match from.u16()? {
                    $($name::TYPE => $name::take_payload(&mut from).map(Self::$name).map(Some),)+
                    // The lowest bit is the parity.
                    kind if kind & 1 == 0 => Err(WireError::UnknownEvenMessage { kind }),
                    _ => Ok(None),
                }
            }

            /// The message type.
            pub const fn kind(&self) -> u16 {
                match self {
                    $(Self::$name(_) => $name::TYPE,)+
                }
            }

            /// The message's name, for logs and counters.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)+
                }
            }

            /// The names of all messages, in the order of their definition.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)+];
        }

        $(impl From<$name> for Message {
            fn from(message: $name) -> Self {
                Self::$name(message)
            }
        })+
    };
}

messages! {
    /// First on the fast path: a payment.
    Voucher,
    /// A payment is durable.
    Ack,
    /// Many payments under one voucher.
    BatchVoucher,
    /// The rest of them.
    BatchPart,
    /// A meter reading.
    Reading,
    /// The payee refuses something on a channel.
    Refused,
    /// Asks for terms.
    TermsQuery,
    /// The payee's terms.
    Terms,
    /// Shows a funded channel.
    Open,
    /// The payee takes a channel.
    Accepted,
    /// Takes up a channel again.
    Resume,
    /// The payee's best voucher.
    Best,
    /// Asks what is held of each lane.
    LanesQuery,
    /// What is held of each lane.
    LanesTold,
    /// A payment with conditional ones beside it.
    HoldVoucher,
    /// The items of a conditional bundle.
    HoldItems,
    /// Such a payment is durable.
    HoldAck,
    /// The preimage of a conditional payment.
    HoldFulfilled,
    /// A conditional payment that will not be claimed.
    HoldReleased,
    /// The payee's best voucher with its holds.
    BestHeld,
    /// Asks for a cooperative close.
    CloseRequest,
    /// Agrees to it.
    CloseSigned,
    /// Asks for a top-up.
    TopUpRequest,
    /// Agrees to it.
    TopUpSigned,
    /// Offers a session.
    SessionOffer,
    /// Takes the offer.
    SessionStart,
    /// Service pauses.
    SessionPause,
    /// The session is over.
    SessionEnd,
    /// What the session came to.
    Statement,
    /// Greets.
    Init,
    /// Warns.
    PeerWarning,
    /// Gives up.
    PeerError,
    /// Asks whether the peer is there.
    Ping,
    /// Says so.
    Pong,
}
