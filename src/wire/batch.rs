//! The messages of batches: many payments under one voucher, and what the lanes are.
//!
//! ```text
//!  BatchVoucher (alias, voucher, start, root, first part) | BatchPart | BatchPart ..
//!                                                  <-- Ack, or Refused
//!  LanesQuery (a voucher of what is signed)  -->
//!                                       <-- LanesTold (what the payee holds of each lane)
//! ```
//!
//! The voucher comes first, so that the payee verifies it before it keeps or decodes anything of
//! the batch. A window of 100,000 items is about 125 kB, more than a frame holds: what does not fit
//! the first message follows in parts, in order, each with its place. Used by `node`; `batch` reads
//! the bytes and the lanes.

use bitcoin::secp256k1::schnorr::Signature;

use super::Bytes;
use super::field::codec;
use crate::units::{ChannelAlias, Msat};

/// 62 KiB of a batch a message: with all other fields and the longest lanes below a frame's 65,535
/// bytes; a window of 100,000 random items takes two.
pub const BATCH_PART_MAX: usize = 63_488;
/// 1,682: 64 lanes with their totals, as `batch` writes them.
pub const LANES_MAX: usize = 1_682;

/// A voucher that pays a batch, and the batch or its first part (type 0x911b).
///
/// On the wire: alias (4), paid (8), signature (64), start (8), root (32), length (2), part; TLV 1:
/// length of the whole batch (4), TLV 3: lanes with their length (2). How many items there are
/// stands in the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchVoucher {
    /// The channel.
    pub alias: ChannelAlias,
    /// The cumulative amount with the batch.
    pub paid: Msat,
    /// Over the settlement template of `paid`.
    pub signature: Signature,
    /// The cumulative amount before the batch.
    pub start: Msat,
    /// The root over the items.
    pub root: [u8; 32],
    /// The front of the batch's bytes.
    pub part: Bytes<BATCH_PART_MAX>,
    /// Length of all of them; absent if `part` is the whole batch.
    pub length: Option<u32>,
    /// What the lanes are before the batch, if any was opened, closed or limited since the last.
    pub lanes: Option<Bytes<LANES_MAX>>,
}

codec! {
    BatchVoucher = 0x911b { alias, paid, signature, start, root, part }
    tlv { 1 => length, 3 => lanes }
}

/// A further part of a batch (type 0x911d).
///
/// On the wire: alias (4), paid (8), offset (4), length (2), part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPart {
    /// The channel.
    pub alias: ChannelAlias,
    /// The voucher's amount, which says which batch it is.
    pub paid: Msat,
    /// Where in the batch's bytes the part begins.
    pub offset: u32,
    /// The part.
    pub part: Bytes<BATCH_PART_MAX>,
}

codec! { BatchPart = 0x911d { alias, paid, offset, part } }

/// Asks what the payee holds of each lane (type 0x911f). A payer asks that finds the payee behind
/// and has lost the batches; nobody else can sign it.
///
/// On the wire: alias (4), paid (8), signature (64).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanesQuery {
    /// The channel.
    pub alias: ChannelAlias,
    /// The highest amount that the payer signed.
    pub paid: Msat,
    /// Over the settlement template of `paid`. The payee checks it and does not count it: what it
    /// pays for comes in a batch.
    pub signature: Signature,
}

codec! { LanesQuery = 0x911f { alias, paid, signature } }

/// What the payee holds of each lane (type 0x9121).
///
/// On the wire: alias (4), paid (8), length (2), lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanesTold {
    /// The channel.
    pub alias: ChannelAlias,
    /// The cumulative amount that is durable at the payee.
    pub paid: Msat,
    /// The lanes; `batch` reads them.
    pub lanes: Bytes<LANES_MAX>,
}

codec! { LanesTold = 0x9121 { alias, paid, lanes } }
