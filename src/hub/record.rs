//! The record of a forward.

use alloc::vec::Vec;

use bitcoin::hashes::Hash as _;
use bitcoin::{OutPoint, Txid};

use super::{Forward, HoldRef, HubError, Load, Onward, Stage, Upstream};
use crate::store::{Key, envelope};
use crate::tx::hold::{ClaimDelay, PaymentHash, Preimage};
use crate::units::{Height, HoldId, Msat, Sat};
use crate::wire::Reader;

/// The store's room byte of the hub's records.
const ROOM: u8 = 0x07;
const VERSION: u8 = 1;
/// The largest body there is: a bundle that is won.
const BODY: usize = 192;

impl Forward {
    /// The prefix of every forward's record, for a scan.
    pub const PREFIX: [u8; 1] = [ROOM];

    /// The store key: the room byte, and outpoint and id of the incoming hold.
    ///
    /// # Errors
    /// None: 45 bytes are a key.
    pub fn key(&self) -> Result<Key, HubError> {
        let HoldRef { channel, id } = self.incoming;
        let (vout, id) = (channel.vout.to_be_bytes(), id.to_u64().to_be_bytes());
        Ok(Key::from_parts(&[&[ROOM], channel.txid.as_byte_array(), &vout, &id])?)
    }

    /// The bytes to store, envelope included.
    ///
    /// | bytes | field, numbers big-endian |
    /// | --- | --- |
    /// | 32 | hash |
    /// | 8 + 4 + 4 | incoming: due in msat, expiry, settled by |
    /// | 36 + 2 + 4 | outgoing: channel, claim's delay, expiry |
    /// | 1 + 8 | 0 and sat |
    /// | or 1 + 32 + 4 + 8 | 1 and a bundle: root, items, total in msat |
    /// | 1 | upstream: 0 held, 1 paid, 2 past |
    /// | 1 | stage: 0 ready, 1 offered, 2 won, 3 dead |
    /// | 8 | outgoing id, if offered or won |
    /// | 32 + 1 | preimage, and 1 if settled, if won |
    ///
    /// At most 178 bytes and the envelope; P7: what becomes of a forward replaces its record or
    /// deletes it.
    ///
    /// # Errors
    /// None: see [`Self::key`].
    pub fn encode(&self) -> Result<Vec<u8>, HubError> {
        let mut w = Vec::with_capacity(BODY);
        w.extend_from_slice(self.hash.as_bytes());
        w.extend_from_slice(&self.due.to_msat().to_be_bytes());
        w.extend_from_slice(&self.expiry.to_u32().to_be_bytes());
        w.extend_from_slice(&self.settle_by.to_u32().to_be_bytes());
        let Onward { channel, delay, load, expiry } = &self.onward;
        w.extend_from_slice(channel.txid.as_byte_array());
        w.extend_from_slice(&channel.vout.to_be_bytes());
        w.extend_from_slice(&delay.to_u16().to_be_bytes());
        w.extend_from_slice(&expiry.to_u32().to_be_bytes());
        match load {
            Load::Single(amount) => {
                w.push(0);
                w.extend_from_slice(&amount.to_sat().to_be_bytes());
            }
            Load::Bundle { root, items, total } => {
                w.push(1);
                w.extend_from_slice(root);
                w.extend_from_slice(&items.to_be_bytes());
                w.extend_from_slice(&total.to_msat().to_be_bytes());
            }
        }
        w.push(match self.upstream {
            Upstream::Held => 0,
            Upstream::Paid => 1,
            Upstream::Past => 2,
        });
        match &self.stage {
            Stage::Ready => w.push(0),
            Stage::Offered { id } => {
                w.push(1);
                w.extend_from_slice(&id.to_u64().to_be_bytes());
            }
            Stage::Won { id, preimage, settled } => {
                w.push(2);
                w.extend_from_slice(&id.to_u64().to_be_bytes());
                w.extend_from_slice(preimage.as_bytes());
                w.push(u8::from(*settled));
            }
            Stage::Dead => w.push(3),
        }
        Ok(envelope::seal(&self.key()?, VERSION, &w))
    }

    /// Reads what [`Self::encode`] wrote under `key`.
    ///
    /// # Errors
    /// [`HubError::Store`] for an unknown version or rot, [`HubError::BrokenRecord`].
    pub fn decode(key: &Key, bytes: &[u8]) -> Result<Self, HubError> {
        let body = envelope::open(key, VERSION, bytes)?;
        let mut r = Reader::new(body);
        let read = Self::read(key, &mut r);
        let at = body.len().saturating_sub(r.rest().len());
        let forward = read.filter(|_| r.rest().is_empty()).ok_or(HubError::BrokenRecord { at })?;
        // Assert twice: what is read must be what could have been written.
        if forward.key()? != *key || !forward.holds_together() || forward.is_over() {
            return Err(HubError::BrokenRecord { at });
        }
        Ok(forward)
    }

    fn read(key: &Key, r: &mut Reader<'_>) -> Option<Self> {
        let mut k = Reader::new(key.as_bytes());
        k.u8().ok()?;
        let incoming = HoldRef { channel: outpoint(&mut k)?, id: id(&mut k)? };
        let hash = PaymentHash::new(r.array().ok()?);
        let due = msat(r)?;
        let (expiry, settle_by) = (height(r)?, height(r)?);
        let channel = outpoint(r)?;
        let delay = ClaimDelay::new(r.u16().ok()?).ok()?;
        let until = height(r)?;
        let load = match r.u8().ok()? {
            0 => Load::Single(Sat::new(r.u64().ok()?).ok()?),
            1 => Load::Bundle { root: r.array().ok()?, items: r.u32().ok()?, total: msat(r)? },
            _ => return None,
        };
        let upstream = match r.u8().ok()? {
            0 => Upstream::Held,
            1 => Upstream::Paid,
            2 => Upstream::Past,
            _ => return None,
        };
        let stage = match r.u8().ok()? {
            0 => Stage::Ready,
            1 => Stage::Offered { id: id(r)? },
            2 => {
                let (id, preimage) = (id(r)?, Preimage::new(r.array().ok()?));
                let settled = match r.u8().ok()? {
                    0 => false,
                    1 => true,
                    _ => return None,
                };
                Stage::Won { id, preimage, settled }
            }
            3 => Stage::Dead,
            _ => return None,
        };
        let onward = Onward { channel, delay, load, expiry: until };
        Some(Self { incoming, hash, due, expiry, settle_by, onward, stage, upstream })
    }
}

fn msat(r: &mut Reader<'_>) -> Option<Msat> {
    Msat::new(r.u64().ok()?).ok()
}

fn height(r: &mut Reader<'_>) -> Option<Height> {
    Height::new(r.u32().ok()?).ok()
}

fn id(r: &mut Reader<'_>) -> Option<HoldId> {
    HoldId::new(r.u64().ok()?).ok()
}

fn outpoint(r: &mut Reader<'_>) -> Option<OutPoint> {
    let txid = Txid::from_byte_array(r.array().ok()?);
    Some(OutPoint { txid, vout: r.u32().ok()? })
}
