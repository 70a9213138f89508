//! Conditional payments in a channel's vouchers: held until a preimage, a release or an expiry.
//!
//! ```text
//!  payer                                                       payee
//!  OfferHold, OfferBundle, GrowHold
//!    signed; record durable
//!            --------- HoldVoucher, HoldItems .. -----------> voucher verified first,
//!                                                              then a bundle's items are kept
//!                                                              and counted; record durable
//!  acknowledged <----- HoldAck -----------------------------  HoldOffered: the caller decides
//!                                                              FulfilHold: preimage durable
//!  folded: record durable <- HoldFulfilled -----------------
//!            --------- HoldVoucher without it --------------> paid
//!                                                              ReleaseHold: record durable
//!  dropped, and watched <--- HoldReleased ------------------
//!            --------- HoldVoucher without it --------------> gone
//!  past its expiry: dropped at the tip's word
//!  after a reconnect, a restart or a time-out: the whole state is signed and sent once more
//! ```
//!
//! A payee takes every hold that keeps to the rules, because it costs nothing; whether it delivers
//! is the caller's decision: [`super::Command::FulfilHold`] or [`super::Command::ReleaseHold`].
//! One that breaks them it refuses, and says so as of a release: the payer drops it, where the two
//! would wait for each other until the expiry.
//!
//! What became of a hold is told to the payer alone: to the line that brought a voucher which
//! nobody else can have signed. It is told again, at growing intervals, until a voucher shows that
//! it was heard.
//!
//! A channel pays a metered session, or batches, or it holds: what a fold pays would count for the
//! session too, and a batch counts only from where it starts.
//!
//! # What is stored
//!
//! The machines' records say what is held; they are in the commit before the voucher, the
//! acknowledgement or the preimage leaves. Beside them a payer keeps the items of a bundle until
//! the payee has acknowledged it, so that a restart can show them again; in parts, because a record
//! is smaller than a bundle may be:
//!
//! | bytes | field of the record under 0x01, 0x07, outpoint, id, number of the part (2) |
//! | --- | --- |
//! | all | a part of the items, as `batch` writes them; all but the last have 60,000 bytes |

mod act;
mod chain;
mod pay;
mod take;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bitcoin::OutPoint;
use bitcoin::hashes::Hash as _;

pub(super) use chain::Watches;
pub(super) use pay::{Order, Waiting};
pub(super) use take::Pending;

use super::NodeError;
use crate::Arc;
use crate::store::{Key, envelope};
use crate::stream::bundle::BundleSum;
use crate::stream::{HoldVoucher, StreamError};
use crate::tx::TxError;
use crate::tx::hold::{ClaimDelay, Hold, PaymentHash};
use crate::units::{HoldId, SessionId};
use crate::wire::{
    BATCH_PART_MAX, Bytes, HeldAmount, HeldAmounts, HeldBundle, HeldBundles, HoldItems, Message,
    Reader,
};

/// The store's room byte of the node's own records, and which of them these are.
pub(super) const PREFIX: [u8; 2] = [0x01, 0x07];
/// The format that this release writes and reads.
const VERSION: u8 = 1;
/// 60,000 bytes of items in one record: below the store's limit of 65,535 with its envelope.
const PART_BYTES: usize = 60_000;

/// What a payer keeps of the holds of one channel beside its machine.
#[derive(Debug)]
pub(super) struct Holding {
    /// Whose budget paid last.
    session: SessionId,
    /// The state that was sent last and is not acknowledged.
    sent: Option<[u8; 32]>,
    /// The items of bundles that the payee has not acknowledged.
    items: BTreeMap<HoldId, Arc<[u8]>>,
}

impl Holding {
    /// Whether the payee has not said that it has the newest state.
    pub(super) const fn is_unheard(&self) -> bool {
        self.sent.is_some()
    }

    /// The messages of the items of `voucher`'s bundles, as far as they are unacknowledged.
    fn items_of(
        &self,
        alias: crate::units::ChannelAlias,
        voucher: &HoldVoucher,
    ) -> Result<Vec<Message>, NodeError> {
        let mut messages = Vec::new();
        for (id, _) in &voucher.bundles {
            let Some(bytes) = self.items.get(id) else { continue };
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let mut at = 0_usize;
            for part in bytes.chunks(BATCH_PART_MAX) {
                let offset = u32::try_from(at).unwrap_or(u32::MAX);
                at = at.saturating_add(part.len());
                let part = Bytes::new(part.to_vec())?;
                messages.push(HoldItems { alias, id: *id, length, offset, part }.into());
            }
        }
        Ok(messages)
    }
}

fn holds_to_wire(holds: &[Hold]) -> Result<HeldAmounts, NodeError> {
    let hold = |hold: &Hold| HeldAmount {
        id: hold.id,
        amount: hold.amount,
        hash: *hold.hash.as_bytes(),
        expiry: hold.expiry,
    };
    Ok(HeldAmounts::new(holds.iter().map(hold).collect())?)
}

fn bundles_to_wire(bundles: &[(HoldId, BundleSum)]) -> Result<Option<HeldBundles>, NodeError> {
    let bundle = |(id, sum): &(HoldId, BundleSum)| {
        let (root, items, total) = (*sum.root(), sum.items(), sum.total());
        HeldBundle { id: *id, root, items, total }
    };
    Ok(HeldBundles::new(bundles.iter().map(bundle).collect())?)
}

/// The holds that a message states, on a channel whose claims have this delay. Without a delay the
/// channel takes none.
fn holds_from_wire(holds: &HeldAmounts, delay: u16) -> Result<Vec<Hold>, NodeError> {
    if holds.as_slice().is_empty() {
        return Ok(Vec::new());
    }
    let delay = ClaimDelay::new(delay).map_err(|_| {
        let got = holds.as_slice().len();
        NodeError::Stream(StreamError::Tx(TxError::TooManyHolds { got, max: 0 }))
    })?;
    let hold = |hold: &HeldAmount| Hold {
        id: hold.id,
        amount: hold.amount,
        hash: PaymentHash::new(hold.hash),
        expiry: hold.expiry,
        delay,
    };
    Ok(holds.as_slice().iter().map(hold).collect())
}

fn bundles_from_wire(bundles: Option<&HeldBundles>) -> Result<Vec<(HoldId, BundleSum)>, NodeError> {
    let bundles = bundles.map_or(&[][..], HeldBundles::as_slice).iter();
    let bundle = |b: &HeldBundle| Ok((b.id, BundleSum::new(b.root, b.items, b.total)?));
    bundles.map(bundle).collect()
}

/// The store key of a part of a bundle's items.
fn key(outpoint: OutPoint, id: HoldId, part: u16) -> Result<Key, NodeError> {
    let (vout, id) = (outpoint.vout.to_be_bytes(), id.to_u64().to_be_bytes());
    let part = part.to_be_bytes();
    Ok(Key::from_parts(&[&PREFIX, outpoint.txid.as_byte_array(), &vout, &id, &part])?)
}

fn encode(key: &Key, part: &[u8]) -> Vec<u8> {
    envelope::seal(key, VERSION, part)
}

/// The numbers of the parts that so many bytes are kept in.
fn parts(bytes: usize) -> core::ops::Range<u16> {
    0..u16::try_from(bytes.div_ceil(PART_BYTES)).unwrap_or(u16::MAX)
}

/// A part of a bundle's items, as it is stored.
struct StoredPart<'a> {
    outpoint: OutPoint,
    id: HoldId,
    number: u16,
    bytes: &'a [u8],
}

fn decode<'a>(key: &Key, bytes: &'a [u8]) -> Result<StoredPart<'a>, NodeError> {
    let mut of = Reader::new(key.as_bytes());
    let _prefix = of.take(PREFIX.len())?;
    let txid = bitcoin::Txid::from_byte_array(of.array::<32>()?);
    let outpoint = OutPoint { txid, vout: of.u32()? };
    let broken = |what| NodeError::BrokenRecord { key: *key, what };
    let id = HoldId::new(of.u64()?).map_err(|_| broken("id"))?;
    let number = of.u16()?;
    if !of.rest().is_empty() {
        return Err(broken("key"));
    }
    Ok(StoredPart { outpoint, id, number, bytes: envelope::open(key, VERSION, bytes)? })
}
