//! The messages of a stream channel's life: terms, open, pay, resume.
//!
//! Used by the machines of `stream`, which decide what each of them means; `node` finds the machine
//! by its alias.

use alloc::vec::Vec;
use core::num::NonZeroU16;

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::{OutPoint, XOnlyPublicKey};

use super::field::{Field, codec};
use super::{Bytes, Reader, WireError};
use crate::units::{ChannelAlias, Msat, SessionId};

/// 1,024: terms fit a QR code, which holds less than 3,000 bytes.
pub const TERMS_MAX: usize = 1_024;

/// The payer asks for the payee's terms (type 0x9101). No fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TermsQuery {}

codec! { TermsQuery = 0x9101 {} }

/// The payee's terms (type 0x9103).
///
/// On the wire: length (2), terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The encoded terms; `stream` reads them.
    pub terms: Bytes<TERMS_MAX>,
}

codec! { Terms = 0x9103 { terms } }

/// The payer shows a channel that it funded (type 0x9105).
///
/// On the wire: alias (4), chain (32), payer (32), delay (2), outpoint (36), change (1 and 0, 20 or
/// 32), paid (8), payee base (32), terms hash (32).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The short name that this connection uses from now on.
    pub alias: ChannelAlias,
    /// The chain, by the hash of its first block.
    pub chain: ChainHash,
    /// The payer's key of this channel.
    pub payer: XOnlyPublicKey,
    /// The refund's relative lock in blocks.
    pub delay: NonZeroU16,
    /// The channel's output.
    pub outpoint: OutPoint,
    /// Where the payer's change goes.
    pub change: Change,
    /// What counts as paid from the start: zero, or the rest of a rollover or top-up.
    pub paid: Msat,
    /// The payee's base key, as the terms name it.
    pub payee_base: XOnlyPublicKey,
    /// Hash of the terms under which the channel was funded.
    pub terms_hash: [u8; 32],
}

codec! {
    Open = 0x9105 { alias, chain, payer, delay, outpoint, change, paid, payee_base, terms_hash }
}

/// The payer's change script, fixed at open.
///
/// On the wire: kind (1), then the witness program. Kinds: 0 own, 1 P2TR (32), 2 P2WPKH (20),
/// 3 P2WSH (32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The channel's own script: a settlement is a rollover.
    Own,
    /// A Taproot output key.
    P2tr([u8; 32]),
    /// The hash of a public key.
    P2wpkh([u8; 20]),
    /// The hash of a witness script.
    P2wsh([u8; 32]),
}

impl Field for Change {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Own => out.push(0),
            Self::P2tr(program) => {
                out.push(1);
                program.put(out);
            }
            Self::P2wpkh(program) => {
                out.push(2);
                program.put(out);
            }
            Self::P2wsh(program) => {
                out.push(3);
                program.put(out);
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        match from.u8()? {
            0 => Ok(Self::Own),
            1 => from.array().map(Self::P2tr),
            2 => from.array().map(Self::P2wpkh),
            3 => from.array().map(Self::P2wsh),
            got => Err(WireError::BadValue { what: "kind of change script", got: got.into() }),
        }
    }
}

/// The payee takes a channel, or takes it up again (type 0x9107).
///
/// On the wire: alias (4), paid (8), standing (1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The channel.
    pub alias: ChannelAlias,
    /// What the payee holds durably as paid.
    pub paid: Msat,
    /// What the payee does with vouchers now.
    pub standing: Standing,
}

codec! { Accepted = 0x9107 { alias, paid, standing } }

/// Where an accepted channel stands with its payee.
///
/// On the wire: one byte, in the order below from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The output is not deep enough, and vouchers do not count yet.
    Waiting,
    /// The output is not deep enough; vouchers count up to the payee's zero-conf credit.
    ZeroConf,
    /// Vouchers count up to the capacity.
    Ready,
}

impl Field for Standing {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Waiting => 0,
            Self::ZeroConf => 1,
            Self::Ready => 2,
        });
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        match from.u8()? {
            0 => Ok(Self::Waiting),
            1 => Ok(Self::ZeroConf),
            2 => Ok(Self::Ready),
            got => Err(WireError::BadValue { what: "standing", got: got.into() }),
        }
    }
}

/// A payment: the payer's signature over everything paid so far (type 0x9109).
///
/// On the wire: alias (4), paid (8), signature (64); 80 bytes with type and frame length. Encoding
/// into a buffer with room and decoding allocate nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voucher {
    /// The channel.
    pub alias: ChannelAlias,
    /// The cumulative amount. All of the capacity means a NONE|ANYONECANPAY signature, anything
    /// else SINGLE|ANYONECANPAY: the type byte is not sent.
    pub paid: Msat,
    /// Over the settlement template of `paid`.
    pub signature: Signature,
}

codec! { Voucher = 0x9109 { alias, paid, signature } }

impl Voucher {
    /// Length of a voucher's frame: length prefix (2), type (2), fields.
    pub const FRAME_BYTES: usize = 80;
}

/// The payee has stored everything up to `paid` (type 0x910b).
///
/// On the wire: alias (4), paid (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The channel.
    pub alias: ChannelAlias,
    /// The cumulative amount that is durable at the payee.
    pub paid: Msat,
}

codec! { Ack = 0x910b { alias, paid } }

/// The payee refuses what the payer sent on a channel (type 0x910d).
///
/// On the wire: alias (4), code (2), best (8); TLV 1: session (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The channel, as the refused message named it.
    pub alias: ChannelAlias,
    /// Why.
    pub code: Refusal,
    /// What the payee holds durably as paid; zero if it does not know the channel.
    pub best: Msat,
    /// The session whose start is refused; absent for any other message.
    pub session: Option<SessionId>,
}

codec! { Refused = 0x910d { alias, code, best } tlv { 1 => session } }

/// Takes up a channel after a reconnect or a loss of memory (type 0x910f). The payee answers with
/// [`Best`], with [`Accepted`] if it holds no voucher yet, or with [`Refused`].
///
/// On the wire: alias (4); TLV 0: outpoint (36).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// The channel's short name on this connection.
    pub alias: ChannelAlias,
    /// The channel that the alias shall name; absent: the one that it names already.
    pub outpoint: Option<OutPoint>,
}

codec! { Resume = 0x910f { alias } tlv { 0 => outpoint } }

/// The payee presents its best voucher; the payer verifies its own signature (type 0x9111).
///
/// On the wire: outpoint (36), paid (8), signature (64), change (1 and 0, 20 or 32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Best {
    /// The channel.
    pub outpoint: OutPoint,
    /// The cumulative amount.
    pub paid: Msat,
    /// The payer's signature.
    pub signature: Signature,
    /// The change script that the signature covers.
    pub change: Change,
}

codec! { Best = 0x9111 { outpoint, paid, signature, change } }

/// Defines the codes of [`Refusal`] once, for both directions.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)+) => {
        /// Why something was refused.
        ///
        /// On the wire: two bytes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Refusal {
            $($(#[$doc])* $name,)+
            /// A code of a later version.
            Other(OtherCode),
        }

        impl Refusal {
            /// The code's meaning.
            pub const fn from_code(code: u16) -> Self {
                match code {
                    $($code => Self::$name,)+
                    other => Self::Other(OtherCode(other)),
                }
            }

            /// The code.
            pub const fn code(self) -> u16 {
                match self {
                    $(Self::$name => $code,)+
                    Self::Other(other) => other.0,
                }
            }
        }
    };
}

refusals! {
    /// 1: no channel has this alias or outpoint here.
    UnknownChannel = 1,
    /// 2: less than what is held already.
    Stale = 2,
    /// 3: more than the capacity.
    OverCapacity = 3,
    /// 4: the signature does not fit outpoint and template.
    BadSignature = 4,
    /// 5: the output is not deep enough and the zero-conf credit is used up.
    NotConfirmed = 5,
    /// 6: the deadline is nearer than the settle margin.
    TooLate = 6,
    /// 7: another chain.
    WrongNetwork = 7,
    /// 8: the terms expired, or are not the payee's.
    WrongTerms = 8,
    /// 9: delay or capacity is outside the terms.
    OutOfRange = 9,
    /// 10: the output is not what the message says.
    WrongFunding = 10,
    /// 11: the change script is not one of the four kinds, or not the channel's.
    WrongChange = 11,
    /// 12: a spend of the channel's output was signed or seen.
    Closing = 12,
    /// 13: the payee's chain tip is too old to accept money.
    StaleTip = 13,
    /// 14: a limit of channels, sessions or memory, or another session is not over or not paid.
    Busy = 14,
    /// 15: the payee cannot store now, or this line has not shown that the channel is its own; the
    /// payer may send it again.
    Unavailable = 15,
    /// 16: no such session, or it is over.
    UnknownSession = 16,
    /// 17: a signature was asked for that the rules do not allow.
    NotAllowed = 17,
    /// 18: a batch before this one is missing.
    Gap = 18,
    /// 19: the lanes are not those that the payee holds.
    OtherLanes = 19,
    /// 20: items, sum, root or form of a batch are wrong.
    WrongBatch = 20,
}

/// A code that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherCode(u16);

impl Field for Refusal {
    fn put(&self, out: &mut Vec<u8>) {
        self.code().put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.u16().map(Self::from_code)
    }
}
