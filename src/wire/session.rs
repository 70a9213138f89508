//! The messages of a metered session: what is sold, how much of it, and what it came to.
//!
//! Used by `meter` and `node`. The money travels in vouchers; these say what it is for.

use super::Bytes;
use super::field::codec;
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

/// The payer takes the offer and names the channel that pays (type 0x9143).
///
/// On the wire: session (8), alias (4), tariff hash (32), time (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionStart {
    /// The session.
    pub session: SessionId,
    /// The channel that pays for it.
    pub alias: ChannelAlias,
    /// Hash of the tariff that the payer agreed to.
    pub tariff_hash: [u8; 32],
    /// When it starts.
    pub time: UtcSeconds,
}

codec! { SessionStart = 0x9143 { session, alias, tariff_hash, time } }

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
