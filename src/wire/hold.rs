//! The messages of conditional payments: a voucher with its holds, and what becomes of each.
//!
//! ```text
//!  HoldVoucher (the whole state) | HoldItems .. of each bundle that is new
//!                                           <-- HoldAck, or Refused and HoldReleased
//!                                           <-- HoldFulfilled (preimage), or HoldReleased
//!  HoldVoucher without the hold: folded, or dropped
//!                                           <-- HoldAck
//!  after a reconnect: Resume -->
//!                                           <-- BestHeld, where the best voucher has holds
//! ```
//!
//! Each voucher states everything that is held, so that a lost one is healed by the next. Used by
//! `node`; `stream` decides.

use alloc::vec::Vec;
use core::fmt;

use bitcoin::OutPoint;
use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use bitcoin::secp256k1::schnorr::Signature;

use super::field::{Field, codec};
use super::{BATCH_PART_MAX, Bytes, Reader, WireError};
use crate::units::{ChannelAlias, Height, HoldId, Msat, Sat};

/// One hold of a voucher; the claim's delay is the channel's.
///
/// On the wire: id (8), amount (8), hash (32), expiry (4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldAmount {
    /// Its id.
    pub id: HoldId,
    /// Whole satoshis.
    pub amount: Sat,
    /// SHA-256 of the preimage.
    pub hash: [u8; 32],
    /// Until which height.
    pub expiry: Height,
}

/// What the tree over a bundle's items says.
///
/// On the wire: id (8), root (32), items (4), total (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBundle {
    /// The hold that it stands behind.
    pub id: HoldId,
    /// The root over the items.
    pub root: [u8; 32],
    /// How many there are.
    pub items: u32,
    /// What a fold pays.
    pub total: Msat,
}

/// The holds of a voucher, at most 255; whether their ids rise is the machines' question.
///
/// On the wire: count (1), holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeldAmounts(Vec<HeldAmount>);

/// The bundles behind the holds of a voucher, 1 ..= 255; a voucher without any has no record.
///
/// On the wire: 52 bytes each, to the end of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBundles(Vec<HeldBundle>);

/// What one count byte can say.
const COUNT_MAX: usize = 255;

impl HeldAmounts {
    /// Checks the number of holds.
    pub fn new(holds: Vec<HeldAmount>) -> Result<Self, WireError> {
        check_count("holds", holds.len())?;
        Ok(Self(holds))
    }

    /// The holds.
    pub fn as_slice(&self) -> &[HeldAmount] {
        &self.0
    }
}

impl HeldBundles {
    /// Checks the number of bundles; none is `None`.
    pub fn new(bundles: Vec<HeldBundle>) -> Result<Option<Self>, WireError> {
        check_count("bundles", bundles.len())?;
        Ok(if bundles.is_empty() { None } else { Some(Self(bundles)) })
    }

    /// The bundles.
    pub fn as_slice(&self) -> &[HeldBundle] {
        &self.0
    }
}

const fn check_count(what: &'static str, got: usize) -> Result<(), WireError> {
    if got > COUNT_MAX {
        return Err(WireError::TooLong { what, got, max: COUNT_MAX });
    }
    Ok(())
}

impl Field for HeldAmount {
    fn put(&self, out: &mut Vec<u8>) {
        self.id.put(out);
        self.amount.put(out);
        self.hash.put(out);
        self.expiry.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            id: Field::take(from)?,
            amount: Field::take(from)?,
            hash: Field::take(from)?,
            expiry: Field::take(from)?,
        })
    }
}

impl Field for HeldBundle {
    fn put(&self, out: &mut Vec<u8>) {
        self.id.put(out);
        self.root.put(out);
        self.items.put(out);
        self.total.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            id: Field::take(from)?,
            root: Field::take(from)?,
            items: Field::take(from)?,
            total: Field::take(from)?,
        })
    }
}

impl Field for HeldAmounts {
    fn put(&self, out: &mut Vec<u8>) {
        // `new` keeps the count within a byte.
        out.push(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        self.0.iter().for_each(|hold| hold.put(out));
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        // Grown as the bytes come: a count alone allocates nothing.
        let mut holds = Vec::new();
        for _ in 0..from.u8()? {
            holds.push(HeldAmount::take(from)?);
        }
        Ok(Self(holds))
    }
}

impl Field for HeldBundles {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|bundle| bundle.put(out));
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let got = from.rest().len();
        let mut bundles = Vec::new();
        while !from.rest().is_empty() {
            bundles.push(HeldBundle::take(from)?);
        }
        Self::new(bundles)?.ok_or(WireError::WrongLength { what: "bundles", got })
    }
}

/// A voucher with every hold that is open in it (type 0x9123): an offer, a growth, a fold, a drop.
///
/// On the wire: alias (4), paid (8), signature (64), count (1), holds (52 each); TLV 0: bundles
/// (52 each).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldVoucher {
    /// The channel.
    pub alias: ChannelAlias,
    /// The cumulative amount.
    pub paid: Msat,
    /// Over the settlement template of `paid` with the holds: ALL|ANYONECANPAY; of a plain
    /// voucher, if there is none.
    pub signature: Signature,
    /// The open holds.
    pub holds: HeldAmounts,
    /// The bundles behind those that are one. Whoever does not know bundles must not take it.
    pub bundles: Option<HeldBundles>,
}

codec! { HoldVoucher = 0x9123 { alias, paid, signature, holds } tlv { 0 => bundles } }

impl HoldVoucher {
    /// What its acknowledgement names: tagged SHA-256 of paid, holds and bundles as they are
    /// encoded, tag "millstream/holds". Another signature of the same state has the same.
    #[must_use]
    pub fn state(&self) -> [u8; 32] {
        let mut bytes = Vec::new();
        self.paid.put(&mut bytes);
        self.holds.put(&mut bytes);
        if let Some(bundles) = &self.bundles {
            bundles.put(&mut bytes);
        }
        let tag = sha256::Hash::hash(b"millstream/holds");
        let mut engine = sha256::Hash::engine();
        for part in [tag.as_byte_array(), tag.as_byte_array(), bytes.as_slice()] {
            engine.input(part);
        }
        sha256::Hash::from_engine(engine).to_byte_array()
    }
}

/// The items of a bundle, or a part of them (type 0x9125): the bytes of a batch in lane 0 that
/// starts at nothing. They follow the voucher that brings the bundle.
///
/// On the wire: alias (4), id (8), whole length (4), offset (4), length (2), part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldItems {
    /// The channel.
    pub alias: ChannelAlias,
    /// The hold that the bundle stands behind.
    pub id: HoldId,
    /// Length of the whole batch.
    pub length: u32,
    /// Where in its bytes the part begins.
    pub offset: u32,
    /// The part.
    pub part: Bytes<BATCH_PART_MAX>,
}

codec! { HoldItems = 0x9125 { alias, id, length, offset, part } }

/// The payee has stored a voucher with holds, or one that ended them (type 0x9127).
///
/// On the wire: alias (4), paid (8), state (32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldAck {
    /// The channel.
    pub alias: ChannelAlias,
    /// The cumulative amount that is durable at the payee.
    pub paid: Msat,
    /// [`HoldVoucher::state`] of what is durable: equal amounts can hold different things.
    pub state: [u8; 32],
}

codec! { HoldAck = 0x9127 { alias, paid, state } }

/// The payee reveals the preimage of a hold: the payer folds it (type 0x9129).
///
/// On the wire: alias (4), id (8), preimage (32).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HoldFulfilled {
    /// The channel.
    pub alias: ChannelAlias,
    /// The hold.
    pub id: HoldId,
    /// What its hash is of.
    pub preimage: [u8; 32],
}

codec! { HoldFulfilled = 0x9129 { alias, id, preimage } }

/// The preimage is not shown: it is worth the money until it is folded.
impl fmt::Debug for HoldFulfilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("HoldFulfilled");
        shown.field("alias", &self.alias).field("id", &self.id).finish_non_exhaustive()
    }
}

/// The payee promises not to claim a hold, of its best voucher or of one that it refused: the payer
/// drops it (type 0x912b).
///
/// On the wire: alias (4), id (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldReleased {
    /// The channel.
    pub alias: ChannelAlias,
    /// The hold.
    pub id: HoldId,
}

codec! { HoldReleased = 0x912b { alias, id } }

/// The payee presents its best voucher, which has holds (type 0x912d). The change is the channel's
/// own script: nothing else can be held on.
///
/// On the wire: outpoint (36), paid (8), signature (64), count (1), holds (52 each); TLV 0: bundles
/// (52 each).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BestHeld {
    /// The channel.
    pub outpoint: OutPoint,
    /// The cumulative amount.
    pub paid: Msat,
    /// The payer's signature.
    pub signature: Signature,
    /// The open holds.
    pub holds: HeldAmounts,
    /// The bundles behind those that are one.
    pub bundles: Option<HeldBundles>,
}

codec! { BestHeld = 0x912d { outpoint, paid, signature, holds } tlv { 0 => bundles } }
