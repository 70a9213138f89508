//! Batches in a channel's vouchers: windows of many payments, in lanes, several on their way.
//!
//! ```text
//!  payer                                                       payee
//!  OpenLane: lane in the record
//!  front -> build, push x n -> seal
//!  PayBatch: signed; record and lanes durable
//!            --------- BatchVoucher, BatchPart .. -----------> voucher verified first,
//!            --------- the next windows ---------------------> then the parts are kept,
//!                                                              then every item is checked;
//!                                                              record and lanes durable
//!  window leaves the flight <----------- Ack (cumulative) ---
//!  after a reconnect, a gap or a time-out: what is in flight is sent again
//!  after a restart of the payer, or if the payee went back:
//!            --------- LanesQuery ---------------------------> signature verified
//!            <-------- LanesTold (what it holds) -------------
//!  what is missing in each lane is billed in one new batch; a payer that went back itself takes
//!  the payee's lanes for its own: what both signed for is known by the voucher
//! ```
//!
//! # What is stored
//!
//! Each side keeps its lanes in one record beside the channel's, written in the same commit as the
//! voucher that moves them: one commit a window on either side, and it grows with the open lanes
//! alone. The payer's is durable before the batch leaves (its ids are never used twice, and it can
//! tell what the payee lacks); the payee's before its acknowledgement leaves (P4). The batches
//! themselves are in the payer's memory until they are acknowledged.
//!
//! | bytes | field of the record under 0x01, 0x06, side, outpoint |
//! | --- | --- |
//! | 8 | payer: the session whose budget paid last; payee: zeros |
//! | rest | the lanes, as `batch` writes them |
//!
//! # What both sides hold to
//!
//! - A window has at most [`WINDOW_ITEMS_MAX`] items and [`WINDOW_BYTES_MAX`] bytes. A payee keeps
//!   the parts of one window a link, and only of one whose voucher is signed for that amount, so a
//!   stranger makes it keep nothing.
//! - The payer's [`FlightLimits`] bound what is sent and not acknowledged, in number and amount.
//!   That amount is at risk: a payee could settle those vouchers and deny the batches.
//! - Lanes are opened, closed and limited by the payer, and stated in the next batch: the payee
//!   checks the statement against what it holds, so lanes on both sides never drift apart.
//! - Money that comes by plain vouchers counts outside of all lanes. None is signed while windows
//!   are in flight, and no batch where a metered session is paid: it would count twice.
//! - Lanes belong to an outpoint: where a rollover or top-up goes on they are opened anew.

mod bill;
mod lanes;
mod pay;
mod receipts;
mod take;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

pub use receipts::Receipts;

use bitcoin::OutPoint;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::schnorr;

use super::NodeError;
use super::lineage::Side;
use crate::Arc;
use crate::batch::flight::{Flight, FlightLimits};
use crate::batch::item::Item;
use crate::batch::lanes::Lanes;
use crate::batch::{Batch, BatchError, Claim, Sealed};
use crate::store::{Key, envelope};
use crate::units::{ChannelAlias, Msat, SessionId};
use crate::wire::{BATCH_PART_MAX, BatchPart, BatchVoucher, Bytes, LANES_MAX, Message, Reader};

/// 131,072 items of a window: about 13 ms of hashing at one item a leaf, which a payer can cause
/// for a millisatoshi.
pub(super) const WINDOW_ITEMS_MAX: u32 = 131_072;
/// 1 MiB of a window: eight bytes an item, or a hash each for 30,000 of them.
pub(super) const WINDOW_BYTES_MAX: usize = 1_048_576;
/// The store's room byte of the node's own records, and which of them these are.
pub(super) const PREFIX: [u8; 2] = [0x01, 0x06];
/// The format that this release writes and reads.
const VERSION: u8 = 1;

/// A batch that a payee has taken, durably: its items are shown by [`Self::visit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedBatch {
    outpoint: OutPoint,
    claim: Claim,
    bytes: Arc<[u8]>,
}

impl ReceivedBatch {
    /// The channel.
    pub const fn outpoint(&self) -> OutPoint {
        self.outpoint
    }

    /// From where to where it paid, how many items, and the root: what a receipt is made of.
    pub const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The canonical bytes, for receipts.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Shows every item with its amount, in order. O(items), no allocation for each.
    ///
    /// # Errors
    /// None: it was checked when it was taken.
    pub fn visit(&self, each: impl FnMut(&Item, Msat)) -> Result<(), BatchError> {
        Batch::parse(&self.bytes)?.visit(each)
    }
}

/// What a payer keeps of the batches of one channel.
#[derive(Debug)]
pub(super) struct Sending {
    /// The lanes after everything that was sent, with what is opened, closed and limited since.
    lanes: Lanes,
    /// Whose budget paid last.
    session: SessionId,
    limits: FlightLimits,
    flight: Flight,
    /// What goes with each window in flight, oldest first.
    windows: VecDeque<Window>,
    /// Whether the payee has yet to be told what the lanes are.
    changed: bool,
    /// A window that waits for a budget's reservation to be durable.
    unsigned: Option<Sealed>,
    /// The payee's lanes are asked for: the batches that it lacks are gone, or after a restart this
    /// side cannot know what it holds. Nothing is paid until it has told.
    asking: bool,
    /// From where everything was sent again, since the last time-out or progress.
    resent: Option<Msat>,
}

/// What goes with a batch.
#[derive(Debug)]
struct Window {
    signature: schnorr::Signature,
    /// The lanes before it, where they changed.
    lanes: Option<Bytes<LANES_MAX>>,
}

/// The parts of a window that a payee has so far.
#[derive(Debug)]
pub(super) struct Assembly {
    outpoint: OutPoint,
    /// The first message, its part included; the others are appended to `bytes`.
    head: BatchVoucher,
    length: usize,
    bytes: Vec<u8>,
}

impl Sending {
    fn new(lanes: Lanes, session: SessionId, asking: bool) -> Self {
        let limits = FlightLimits::default();
        Self {
            lanes,
            session,
            limits,
            flight: Flight::within(Msat::ZERO, limits),
            windows: VecDeque::new(),
            // A payee that does not know the lanes is told them with the first batch.
            changed: true,
            unsigned: None,
            asking,
            resent: None,
        }
    }

    /// Forgets the windows in flight: they are billed anew.
    fn give_up(&mut self) {
        self.flight = Flight::within(Msat::ZERO, self.limits);
        self.windows.clear();
        self.asking = true;
    }

    /// Whether the payee's lanes are asked for.
    pub(super) const fn is_asking(&self) -> bool {
        self.asking
    }

    /// Whether anything is sent or asked that the payee has not answered.
    fn is_behind(&self) -> bool {
        self.asking || self.flight.batches() > 0
    }

    /// Whether nothing is on its way, nor about to be.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.is_behind() && self.unsigned.is_none()
    }

    /// The messages of every window in flight, oldest first, `most` windows at most.
    fn messages(&self, alias: ChannelAlias, most: usize) -> Result<Vec<Message>, NodeError> {
        let mut messages = Vec::new();
        for (sealed, window) in self.flight.iter().zip(&self.windows).take(most) {
            window.put(alias, sealed, &mut messages)?;
        }
        Ok(messages)
    }
}

impl Window {
    fn put(
        &self,
        alias: ChannelAlias,
        sealed: &Sealed,
        out: &mut Vec<Message>,
    ) -> Result<(), NodeError> {
        let Claim { start, paid, root, .. } = sealed.credited.claim;
        let mut parts = sealed.bytes.chunks(BATCH_PART_MAX);
        let first = parts.next().unwrap_or_default();
        let whole = first.len() == sealed.bytes.len();
        let length = u32::try_from(sealed.bytes.len()).ok().filter(|_| !whole);
        let (signature, lanes) = (self.signature, self.lanes.clone());
        let part = Bytes::new(first.to_vec())?;
        out.push(BatchVoucher { alias, paid, signature, start, root, part, length, lanes }.into());
        let mut offset = first.len();
        for part in parts {
            let at = u32::try_from(offset).unwrap_or(u32::MAX);
            offset = offset.saturating_add(part.len());
            let part = Bytes::new(part.to_vec())?;
            out.push(BatchPart { alias, paid, offset: at, part }.into());
        }
        Ok(())
    }
}

/// The store key of the lanes of one side of a channel.
pub(super) fn key(side: Side, outpoint: OutPoint) -> Result<Key, NodeError> {
    let [room, kind] = PREFIX;
    let vout = outpoint.vout.to_be_bytes();
    Ok(Key::from_parts(&[&[room, kind, side.byte()], outpoint.txid.as_byte_array(), &vout])?)
}

/// The bytes to store under `key`.
fn encode(key: &Key, session: SessionId, lanes: &Lanes) -> Vec<u8> {
    let mut body = session.to_u64().to_be_bytes().to_vec();
    body.extend_from_slice(&lanes.encode());
    envelope::seal(key, VERSION, &body)
}

fn decode(key: &Key, bytes: &[u8]) -> Result<(SessionId, Lanes), NodeError> {
    let mut from = Reader::new(envelope::open(key, VERSION, bytes)?);
    let broken = |what| NodeError::BrokenRecord { key: *key, what };
    let session = SessionId::new(from.u64()?).map_err(|_| broken("session"))?;
    let lanes = Lanes::decode(from.rest()).map_err(|_| broken("lanes"))?;
    Ok((session, lanes))
}
