//! The record of a forward.

use alloc::vec::Vec;

use bitcoin::hashes::Hash as _;
use bitcoin::{OutPoint, Txid};

use super::{Forward, HoldRef, HubError, Load, Onward, Stage, Upstream};
use crate::store::{Key, envelope};
use crate::tx::hold::{ClaimDelay, PaymentHash, Preimage};
use crate::units::{Height, HoldId, Msat, Sat};

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
        let mut r = Reader { left: body };
        let read = Self::read(key, &mut r);
        let at = body.len().saturating_sub(r.left.len());
        let forward = read.filter(|_| r.left.is_empty()).ok_or(HubError::BrokenRecord { at })?;
        // Assert twice: what is read must be what could have been written.
        if forward.key()? != *key || !forward.holds_together() || forward.is_over() {
            return Err(HubError::BrokenRecord { at });
        }
        Ok(forward)
    }

    fn read(key: &Key, r: &mut Reader<'_>) -> Option<Self> {
        let mut k = Reader { left: key.as_bytes() };
        k.array::<1>()?;
        let incoming = HoldRef { channel: k.outpoint()?, id: k.id()? };
        let hash = PaymentHash::new(*r.array::<32>()?);
        let due = r.msat()?;
        let (expiry, settle_by) = (r.height()?, r.height()?);
        let channel = r.outpoint()?;
        let delay = ClaimDelay::new(u16::from_be_bytes(*r.array::<2>()?)).ok()?;
        let until = r.height()?;
        let load = match r.array::<1>()? {
            [0] => Load::Single(Sat::new(r.u64()?).ok()?),
            [1] => Load::Bundle { root: *r.array::<32>()?, items: r.u32()?, total: r.msat()? },
            _ => return None,
        };
        let upstream = match r.array::<1>()? {
            [0] => Upstream::Held,
            [1] => Upstream::Paid,
            [2] => Upstream::Past,
            _ => return None,
        };
        let stage = match r.array::<1>()? {
            [0] => Stage::Ready,
            [1] => Stage::Offered { id: r.id()? },
            [2] => {
                let (id, preimage) = (r.id()?, Preimage::new(*r.array::<32>()?));
                let settled = match r.array::<1>()? {
                    [0] => false,
                    [1] => true,
                    _ => return None,
                };
                Stage::Won { id, preimage, settled }
            }
            [3] => Stage::Dead,
            _ => return None,
        };
        let onward = Onward { channel, delay, load, expiry: until };
        Some(Self { incoming, hash, due, expiry, settle_by, onward, stage, upstream })
    }
}

/// Takes fields off the front of a slice; `None` as soon as one is missing or out of range.
struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, left) = self.left.split_first_chunk::<N>()?;
        self.left = left;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }

    fn msat(&mut self) -> Option<Msat> {
        Msat::new(self.u64()?).ok()
    }

    fn height(&mut self) -> Option<Height> {
        Height::new(self.u32()?).ok()
    }

    fn id(&mut self) -> Option<HoldId> {
        HoldId::new(self.u64()?).ok()
    }

    fn outpoint(&mut self) -> Option<OutPoint> {
        let txid = Txid::from_byte_array(*self.array::<32>()?);
        Some(OutPoint { txid, vout: self.u32()? })
    }
}
