//! The messages of a metered session: what is sold, how much of it, and what it came to.
//!
//! Used by `meter` and `node`. The money travels in vouchers; these say what it is for.

use alloc::vec::Vec;
use core::fmt;

use bitcoin::hashes::{Hash, HashEngine, sha256};

use super::field::{Field, codec};
use super::{Bytes, Reader, WireError};
use crate::units::{ChannelAlias, Msat, Ppm, Quantity, Seconds, SessionId, UtcSeconds};

/// 4,096: a tariff of a week in quarter-hours would be larger; one with its steps and its times of
/// use is a few hundred bytes.
pub const TARIFF_MAX: usize = 4_096;
/// 4,096: a final statement is a few numbers and two signatures, with room for items.
pub const STATEMENT_MAX: usize = 4_096;

/// The payee offers a session (type 0x9141).
///
/// On the wire: session (8), tariff hash (32), credit (8), prepay (8), skew (8), tolerance (4);
/// TLV 1: tariff with its length (2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOffer {
    /// The session.
    pub session: SessionId,
    /// Hash of the tariff.
    pub tariff_hash: [u8; 32],
    /// Unpaid service that the payee gives.
    pub credit: Msat,
    /// How far the payer may be ahead.
    pub prepay: Msat,
    /// How far the two clocks may be apart.
    pub skew: Seconds,
    /// How far the two meters may be apart.
    pub tolerance: Ppm,
    /// The encoded tariff, unless the payer has it; `meter` reads it.
    pub tariff: Option<Bytes<TARIFF_MAX>>,
}

codec! {
    SessionOffer = 0x9141 { session, tariff_hash, credit, prepay, skew, tolerance }
    tlv { 1 => tariff }
}

impl SessionOffer {
    /// What the payer names when it takes the offer.
    #[must_use]
    pub fn hash(&self) -> OfferHash {
        let mut bytes = Vec::with_capacity(68);
        self.session.put(&mut bytes);
        self.tariff_hash.put(&mut bytes);
        self.credit.put(&mut bytes);
        self.prepay.put(&mut bytes);
        self.skew.put(&mut bytes);
        self.tolerance.put(&mut bytes);
        let tag = sha256::Hash::hash(b"millstream/offer");
        let mut engine = sha256::Hash::engine();
        for part in [tag.as_byte_array(), tag.as_byte_array(), bytes.as_slice()] {
            engine.input(part);
        }
        OfferHash(sha256::Hash::from_engine(engine).to_byte_array())
    }
}

/// Tagged SHA-256 of an offer, `SHA256(SHA256(tag) || SHA256(tag) || bytes)`, tag
/// "millstream/offer": of its 68 bytes from the session to the tolerance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferHash(pub [u8; 32]);

impl fmt::Display for OfferHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for OfferHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Field for OfferHash {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.array::<32>().map(Self)
    }
}

/// The payer takes the offer and names the channel that pays; the payee answers with its own stamp
/// of the start (type 0x9143).
///
/// On the wire: session (8), alias (4), offer hash (32), time (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionStart {
    /// The session.
    pub session: SessionId,
    /// The channel that pays for it.
    pub alias: ChannelAlias,
    /// The offer that the payer took; in the answer the same.
    pub offer: OfferHash,
    /// When it starts.
    pub time: UtcSeconds,
}

codec! { SessionStart = 0x9143 { session, alias, offer, time } }

/// The payee's meter, cumulative (type 0x9145).
///
/// On the wire: session (8), time (8), quantity (8); TLV 1: idle (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The session.
    pub session: SessionId,
    /// The payee's stamp, which prices it.
    pub time: UtcSeconds,
    /// Everything delivered in the session so far.
    pub quantity: Quantity,
    /// The idle seconds billed in the session so far; absent for none.
    pub idle: Option<Seconds>,
}

codec! { Reading = 0x9145 { session, time, quantity } tlv { 1 => idle } }

/// The payee stops serving until the debt is paid (type 0x9147).
///
/// On the wire: session (8), time (8), owed (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPause {
    /// The session.
    pub session: SessionId,
    /// Since when.
    pub time: UtcSeconds,
    /// What is owed.
    pub owed: Msat,
}

codec! { SessionPause = 0x9147 { session, time, owed } }

/// Either side ends the session (type 0x9149).
///
/// On the wire: session (8), time (8), quantity (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionEnd {
    /// The session.
    pub session: SessionId,
    /// When.
    pub time: UtcSeconds,
    /// Everything that the sender's meter counted in it.
    pub quantity: Quantity,
}

codec! { SessionEnd = 0x9149 { session, time, quantity } }

/// The final statement of a session (type 0x914b).
///
/// On the wire: session (8), length (2), statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The session.
    pub session: SessionId,
    /// The encoded statement; `meter` reads and verifies it.
    pub statement: Bytes<STATEMENT_MAX>,
}

codec! { Statement = 0x914b { session, statement } }
