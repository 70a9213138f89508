//! The record of a swap: its key and its bytes.

use alloc::vec::Vec;

use bitcoin::hashes::Hash as _;
use bitcoin::{OutPoint, Txid};

use super::{Deal, Incoming, Leg, Role, Stage, Swap, SwapError};
use crate::store::{Key, envelope};
use crate::tx::hold::{ClaimDelay, PaymentHash, Preimage};
use crate::units::{Blocks, Height, HoldId, Sat};
use crate::wire::Reader;

/// The store's room byte of swaps.
const ROOM: u8 = 0x0a;
const VERSION: u8 = 1;
/// The largest body there is: one that is won.
const BODY: usize = 224;

impl Swap {
    /// The prefix of every swap's record, for a scan.
    pub const PREFIX: [u8; 1] = [ROOM];

    /// The store key: the room byte, 0 for the initiator or 1 for the responder, and the hash.
    ///
    /// A hash is of one swap: a driver whose store has this key already begins no other on it, or
    /// the first would be forgotten.
    ///
    /// # Errors
    /// None: 34 bytes are a key.
    pub fn key(&self) -> Result<Key, SwapError> {
        let role = match self.role {
            Role::Initiator { .. } => 0,
            Role::Responder => 1,
        };
        Ok(Key::from_parts(&[&[ROOM, role], self.deal.hash.as_bytes()])?)
    }

    /// The bytes to store, envelope included. The record of an initiator holds its secret.
    ///
    /// | bytes | field, numbers big-endian |
    /// | --- | --- |
    /// | 32 | the secret, of an initiator |
    /// | 2 x (36 + 8 + 4 + 2 + 4) | each leg: channel, sat, expiry, claim's delay, settle margin |
    /// | 1 | stage: 0 agreed, 1 taken, 2 waiting, 3 open, 4 won, 5 stopped |
    /// | 32 | preimage, if won |
    /// | 1 + 8 | incoming: 0 none, 1 held with its id, 2 paid, 3 past; id 0 but for 1 |
    /// | 1 + 8 | own hold: 0 none, 1 with its id |
    ///
    /// At most 191 bytes and the envelope; P7: what becomes of a swap replaces its record or
    /// deletes it.
    ///
    /// # Errors
    /// None: see [`Self::key`].
    pub fn encode(&self) -> Result<Vec<u8>, SwapError> {
        let mut w = Vec::with_capacity(BODY);
        if let Role::Initiator { secret } = self.role {
            w.extend_from_slice(secret.as_bytes());
        }
        for leg in [&self.deal.first, &self.deal.second] {
            w.extend_from_slice(leg.channel.txid.as_byte_array());
            w.extend_from_slice(&leg.channel.vout.to_be_bytes());
            w.extend_from_slice(&leg.amount.to_sat().to_be_bytes());
            w.extend_from_slice(&leg.expiry.to_u32().to_be_bytes());
            w.extend_from_slice(&leg.delay.to_u16().to_be_bytes());
            w.extend_from_slice(&leg.margin.to_u32().to_be_bytes());
        }
        w.push(self.stage.rank());
        if let Stage::Won { preimage, .. } = self.stage {
            w.extend_from_slice(preimage.as_bytes());
        }
        let (tag, id) = match self.stage.upstream() {
            None => (0, None),
            Some(Incoming::Held { id }) => (1, Some(id)),
            Some(Incoming::Paid) => (2, None),
            Some(Incoming::Past) => (3, None),
        };
        let mut side = |tag: u8, id: Option<HoldId>| {
            w.push(tag);
            w.extend_from_slice(&id.map_or(0, HoldId::to_u64).to_be_bytes());
        };
        side(tag, id);
        let own = self.stage.outgoing();
        side(u8::from(own.is_some()), own);
        Ok(envelope::seal(&self.key()?, VERSION, &w))
    }

    /// Reads what [`Self::encode`] wrote under `key`.
    ///
    /// # Errors
    /// [`SwapError::Store`] for an unknown version or rot, [`SwapError::BrokenRecord`].
    pub fn decode(key: &Key, bytes: &[u8]) -> Result<Self, SwapError> {
        let body = envelope::open(key, VERSION, bytes)?;
        let mut r = Reader::new(body);
        let read = Self::read(key, &mut r);
        let at = body.len().saturating_sub(r.rest().len());
        let swap = read.filter(|_| r.rest().is_empty()).ok_or(SwapError::BrokenRecord { at })?;
        // Assert twice: what is read must be what could have been written.
        if swap.key()? != *key || !swap.holds_together() || swap.is_over() {
            return Err(SwapError::BrokenRecord { at });
        }
        Ok(swap)
    }

    fn read(key: &Key, r: &mut Reader<'_>) -> Option<Self> {
        let mut k = Reader::new(key.as_bytes());
        k.u8().ok()?;
        let role = k.u8().ok()?;
        let hash = PaymentHash::new(k.array().ok()?);
        let role = match role {
            0 => Role::Initiator { secret: Preimage::new(r.array().ok()?) },
            1 => Role::Responder,
            _ => return None,
        };
        let deal = Deal { hash, first: leg(r)?, second: leg(r)? };
        let rank = r.u8().ok()?;
        let preimage = if rank == 4 { Some(Preimage::new(r.array().ok()?)) } else { None };
        let (incoming, outgoing) = (side(r)?, side(r)?);
        let held = match incoming {
            (0, None) => None,
            (1, Some(id)) => Some(Incoming::Held { id }),
            (2, None) => Some(Incoming::Paid),
            (3, None) => Some(Incoming::Past),
            _ => return None,
        };
        let outgoing = match outgoing {
            (0, None) => None,
            (1, Some(id)) => Some(id),
            _ => return None,
        };
        let id = match held {
            Some(Incoming::Held { id }) => Some(id),
            _ => None,
        };
        let stage = match (rank, preimage, held, outgoing) {
            (0, None, None, None) => Stage::Agreed,
            (1, None, Some(Incoming::Held { id }), None) => Stage::Taken { incoming: id },
            (2, None, None, Some(outgoing)) => Stage::Waiting { outgoing },
            (3, None, Some(incoming), Some(outgoing)) => Stage::Open { incoming, outgoing },
            (4, Some(preimage), Some(incoming), outgoing) => {
                Stage::Won { preimage, incoming, outgoing }
            }
            (5, None, _, outgoing) if id.is_some() == held.is_some() => {
                Stage::Stopped { incoming: id, outgoing }
            }
            _ => return None,
        };
        Some(Self { deal, role, stage })
    }
}

fn leg(r: &mut Reader<'_>) -> Option<Leg> {
    let txid = Txid::from_byte_array(r.array().ok()?);
    let channel = OutPoint { txid, vout: r.u32().ok()? };
    Some(Leg {
        channel,
        amount: Sat::new(r.u64().ok()?).ok()?,
        expiry: Height::new(r.u32().ok()?).ok()?,
        delay: ClaimDelay::new(r.u16().ok()?).ok()?,
        margin: Blocks::new(r.u32().ok()?).ok()?,
    })
}

/// A tag and an id, which is 0 where the tag has none.
fn side(r: &mut Reader<'_>) -> Option<(u8, Option<HoldId>)> {
    let (tag, id) = (r.u8().ok()?, r.u64().ok()?);
    match tag {
        1 => Some((tag, Some(HoldId::new(id).ok()?))),
        _ => (id == 0).then_some((tag, None)),
    }
}
