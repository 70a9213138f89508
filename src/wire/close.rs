//! The messages that spend a channel's output by agreement: cooperative close and top-up.
//!
//! Used by `node`. Both are one round. A request states amounts, scripts and coins, never a
//! transaction: each side builds that by itself from the same words.

use alloc::vec::Vec;

use bitcoin::Txid;
use bitcoin::secp256k1::schnorr::Signature;

use super::field::{Field, codec};
use super::{Bytes, Reader, WireError};
use crate::units::{ChannelAlias, Msat, Sat};

/// 34: the longest witness program with its two opcodes, which is all that a change may be.
pub const SCRIPT_MAX: usize = 34;
/// 1,000: a top-up has at most 1,000 vB; a coin costs at least 57 of them, and 79 bytes here.
pub const COINS_MAX: usize = 1_000;

/// Asks to close the channel now (type 0x9113).
///
/// On the wire: alias (4), paid (8), fee (8), length (2), script, signature (64).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseRequest {
    /// The channel.
    pub alias: ChannelAlias,
    /// The final amount.
    pub paid: Msat,
    /// The miner's fee, out of the payer's rest.
    pub fee: Sat,
    /// Where the payer's rest goes.
    pub script: Bytes<SCRIPT_MAX>,
    /// The sender's signature of the settle leaf.
    pub signature: Signature,
}

codec! { CloseRequest = 0x9113 { alias, paid, fee, script, signature } }

/// Agrees to a close (type 0x9115).
///
/// On the wire: alias (4), paid (8), txid (32), signature (64).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseSigned {
    /// The channel.
    pub alias: ChannelAlias,
    /// The final amount.
    pub paid: Msat,
    /// The transaction that was asked for.
    pub txid: Txid,
    /// The sender's signature of the settle leaf.
    pub signature: Signature,
}

codec! { CloseSigned = 0x9115 { alias, paid, txid, signature } }

/// Asks to move the channel to an output of more value (type 0x9117).
///
/// On the wire: alias (4), paid (8), capacity (8), length (2), coins; TLV 0: carried (72).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopUpRequest {
    /// The channel.
    pub alias: ChannelAlias,
    /// What is paid on the old output.
    pub paid: Msat,
    /// The new output's value.
    pub capacity: Sat,
    /// The coins that bring the new money, one after the other: outpoint (36), value in sat (8),
    /// length (1), script.
    pub coins: Bytes<COINS_MAX>,
    /// The balance that goes over to the new output; absent: the payee is paid out.
    pub carried: Option<Carried>,
}

codec! { TopUpRequest = 0x9117 { alias, paid, capacity, coins } tlv { 0 => carried } }

/// The payer's first voucher on the new output of a top-up.
///
/// On the wire: paid (8), signature (64).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// What counts as paid there from the start.
    pub paid: Msat,
    /// Over the settlement template of `paid` on the new outpoint.
    pub signature: Signature,
}

impl Field for Carried {
    fn put(&self, out: &mut Vec<u8>) {
        self.paid.put(out);
        self.signature.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { paid: Field::take(from)?, signature: Field::take(from)? })
    }
}

/// Agrees to a top-up (type 0x9119).
///
/// On the wire: alias (4), paid (8), txid (32), signature (64).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopUpSigned {
    /// The channel.
    pub alias: ChannelAlias,
    /// What is paid on the old output.
    pub paid: Msat,
    /// The transaction that was asked for.
    pub txid: Txid,
    /// The payee's signature of the settle leaf.
    pub signature: Signature,
}

codec! { TopUpSigned = 0x9119 { alias, paid, txid, signature } }
