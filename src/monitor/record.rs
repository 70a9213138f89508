//! What a monitor stores: whose outpoint it is, the holds, and what the chain has shown of them.
//!
//! Version 1, numbers big-endian, one after the other:
//!
//! | field | bytes |
//! | --- | --- |
//! | side: 0 payer, 1 payee | 1 |
//! | payer key, payee base key, refund delay | 32, 32, 2 |
//! | outpoint, capacity | 36, 8 |
//! | confirmation depth, settle margin, agreed fee | 4, 4, 8 |
//! | height of the output, 0xffffffff for none | 4 |
//! | 0, or 1 with paid and signature of the best voucher | 1, or 73 |
//! | 0 unspent; 1 spent with txid, height, 0 or 1 and number of the payee's output; 2 over | 1, or 38, or 42 |
//! | count of holds | 2 |
//! | each: id, amount, hash, expiry, claim's delay | 8, 8, 32, 4, 2 |
//! | standing: 0 open, 1 released, 2 given up, 3 expired | 1 |
//! | 0, or 1 with the preimage | 1, or 33 |
//! | fate: 0 held; 1 published with output number; 2 claimed, 3 timed out with it, txid, height | 1, 5 or 41 |

use alloc::vec::Vec;

use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::schnorr;
use bitcoin::{OutPoint, Txid, XOnlyPublicKey};

use super::MonitorError;
use crate::store::{Key, envelope};
use crate::tx::hold::{ClaimDelay, Hold, PaymentHash, Preimage};
use crate::tx::{Delay, Voucher};
use crate::units::{Blocks, Height, HoldId, Msat, Sat};
use crate::wire::Reader;

const ROOM: u8 = 0x08;
const VERSION: u8 = 1;

/// Which side of the channel is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It takes back what is not claimed in time.
    Payer,
    /// It claims what it knows the preimage of.
    Payee,
}

/// What of a watch never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// For whom.
    pub side: Side,
    /// The payer's key of the channel.
    pub payer: XOnlyPublicKey,
    /// The payee's base key.
    pub base: XOnlyPublicKey,
    /// The refund's delay.
    pub delay: Delay,
    /// The channel's outpoint.
    pub outpoint: OutPoint,
    /// Its value.
    pub capacity: Sat,
    /// How deep a spend is buried.
    pub depth: Blocks,
    /// How many blocks before a deadline a settlement must be in a block.
    pub margin: Blocks,
    /// The agreed fee of a settlement with holds.
    pub fee: Sat,
}

/// Where a hold stands between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In the newest voucher.
    Open,
    /// In the newest voucher, though the payee promised not to claim it.
    Released,
    /// After its release in older vouchers only.
    GivenUp,
    /// After its expiry in older vouchers only.
    Expired,
}

impl Standing {
    /// Whether the payee promised not to claim it.
    #[must_use]
    pub const fn is_released(self) -> bool {
        matches!(self, Self::Released | Self::GivenUp)
    }

    /// Whether the newest voucher has it.
    #[must_use]
    pub const fn is_present(self) -> bool {
        matches!(self, Self::Open | Self::Released)
    }
}

/// What the chain shows of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// No settlement with it is known.
    Held,
    /// Its output is there, and nothing is known to spend it.
    Published {
        /// The number of the output in the transaction that spends the channel.
        vout: u32,
    },
    /// The payee claimed it with the preimage.
    Claimed {
        /// The number of the output.
        vout: u32,
        /// The claim.
        by: Txid,
        /// In which block.
        at: Option<Height>,
    },
    /// The payer took it back.
    TimedOut {
        /// The number of the output.
        vout: u32,
        /// The timeout.
        by: Txid,
        /// In which block.
        at: Option<Height>,
    },
}

impl Fate {
    pub(super) const fn vout(self) -> Option<u32> {
        match self {
            Self::Held => None,
            Self::Published { vout } | Self::Claimed { vout, .. } | Self::TimedOut { vout, .. } => {
                Some(vout)
            }
        }
    }

    /// The block of the spend of its output.
    pub(super) const fn ended(self) -> Option<Height> {
        match self {
            Self::Held | Self::Published { .. } => None,
            Self::Claimed { at, .. } | Self::TimedOut { at, .. } => at,
        }
    }
}

/// One hold that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// The hold, with the largest amount that it ever had.
    pub hold: Hold,
    /// Where it stands.
    pub standing: Standing,
    /// What unlocks it, if that is known here.
    pub preimage: Option<Preimage>,
    /// What the chain shows of it.
    pub fate: Fate,
}

impl Watched {
    /// A hold that the chain does not show yet.
    #[must_use]
    pub const fn new(hold: Hold, standing: Standing, preimage: Option<Preimage>) -> Self {
        Self { hold, standing, preimage, fate: Fate::Held }
    }
}

/// Who spends the channel's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Unspent,
    /// `own`: the number of this payee's output, of which a child can raise the fee.
    Spent {
        by: Txid,
        at: Option<Height>,
        own: Option<u32>,
    },
    Over,
}

/// The whole state of one watch: its record, keyed by the outpoint and the side, newest wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    pub(super) subject: Subject,
    pub(super) confirmed: Option<Height>,
    pub(super) best: Option<Voucher>,
    pub(super) holds: Vec<Watched>,
    pub(super) stage: Stage,
}

impl Watch {
    /// The prefix of every record, for a scan.
    pub const PREFIX: [u8; 1] = [ROOM];
    /// 512: twice what a payer's own record keeps, because what is on the chain is kept too.
    pub const HOLDS_MAX: usize = 512;

    /// The watch over an outpoint on which no hold was signed yet.
    #[must_use]
    pub const fn new(subject: Subject) -> Self {
        let stage = Stage::Unspent;
        Self { subject, confirmed: None, best: None, holds: Vec::new(), stage }
    }

    /// What never changes.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The holds, in the order of their ids.
    #[must_use]
    pub fn holds(&self) -> &[Watched] {
        &self.holds
    }

    /// Whether all that could happen is buried: the record may be forgotten.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// The store key: the room, the outpoint, the side.
    ///
    /// # Errors
    /// None: 38 bytes are a key.
    pub fn key(&self) -> Result<Key, MonitorError> {
        let Subject { outpoint, side, .. } = self.subject;
        let mut bytes = Vec::with_capacity(38);
        bytes.push(ROOM);
        bytes.extend_from_slice(outpoint.txid.as_byte_array());
        bytes.extend_from_slice(&outpoint.vout.to_be_bytes());
        bytes.push(side_byte(side));
        Ok(Key::new(&bytes)?)
    }

    /// The bytes to store, envelope included.
    ///
    /// # Errors
    /// None: see [`Self::key`].
    pub fn encode(&self) -> Result<Vec<u8>, MonitorError> {
        let mut w = Vec::with_capacity(256);
        write_subject(&mut w, &self.subject);
        write_height(&mut w, self.confirmed);
        match self.best {
            None => w.push(0),
            Some(best) => {
                w.push(1);
                w.extend_from_slice(&best.paid.to_msat().to_be_bytes());
                w.extend_from_slice(&best.signature.serialize());
            }
        }
        match self.stage {
            Stage::Unspent => w.push(0),
            Stage::Spent { by, at, own } => {
                w.push(1);
                w.extend_from_slice(by.as_byte_array());
                write_height(&mut w, at);
                w.push(u8::from(own.is_some()));
                w.extend(own.into_iter().flat_map(u32::to_be_bytes));
            }
            Stage::Over => w.push(2),
        }
        // Bounded where it is made.
        let count = u16::try_from(self.holds.len()).unwrap_or(u16::MAX);
        w.extend_from_slice(&count.to_be_bytes());
        for held in &self.holds {
            write_held(&mut w, held);
        }
        Ok(envelope::seal(&self.key()?, VERSION, &w))
    }

    /// Reads what [`Self::encode`] wrote under `key`.
    ///
    /// # Errors
    /// [`MonitorError::Store`] for an unknown version or rot, [`MonitorError::BrokenRecord`].
    pub fn decode(key: &Key, bytes: &[u8]) -> Result<Self, MonitorError> {
        let body = envelope::open(key, VERSION, bytes)?;
        let mut r = Reader::new(body);
        let watch = read(&mut r);
        let at = body.len().saturating_sub(r.rest().len());
        let broken = MonitorError::BrokenRecord { at };
        let watch = watch.ok_or(broken)?;
        // Assert twice: what is read must be what could have been written.
        if !r.rest().is_empty() || watch.key()? != *key || !watch.holds_together() {
            return Err(broken);
        }
        Ok(watch)
    }

    /// Where a hold's output is, if there is one.
    pub(super) fn coin_of(&self, held: &Watched) -> Option<OutPoint> {
        let Stage::Spent { by, .. } = self.stage else { return None };
        held.fate.vout().map(|vout| OutPoint { txid: by, vout })
    }

    /// This payee's output of a settlement that is in no block yet.
    pub(super) const fn own_coin(&self) -> Option<OutPoint> {
        match self.stage {
            Stage::Spent { by, at: None, own: Some(vout) } => Some(OutPoint { txid: by, vout }),
            Stage::Unspent | Stage::Spent { .. } | Stage::Over => None,
        }
    }

    pub(super) fn following(
        &self,
        best: Option<Voucher>,
        holds: &[Watched],
    ) -> Result<Self, MonitorError> {
        let mut next = self.clone();
        next.best = best.or(self.best);
        // What is on the chain stays until it is over there; W1: what was known stays known.
        next.holds.retain(|held| held.fate != Fate::Held || held_in(holds, held.hold.id));
        for held in next.holds.iter_mut().filter(|held| !held_in(holds, held.hold.id)) {
            let released = held.standing.is_released();
            held.standing = if released { Standing::GivenUp } else { Standing::Expired };
        }
        for named in holds {
            match next.holds.iter_mut().find(|held| held.hold.id == named.hold.id) {
                Some(held) => {
                    held.hold.amount = held.hold.amount.max(named.hold.amount);
                    held.standing = named.standing;
                    held.preimage = held.preimage.or(named.preimage);
                }
                None => next.holds.push(Watched { fate: Fate::Held, ..*named }),
            }
        }
        next.holds.sort_unstable_by_key(|held| held.hold.id);
        let (got, max) = (next.holds.len(), Self::HOLDS_MAX);
        if got > max {
            return Err(MonitorError::TooMany { got, max });
        }
        if next.holds_together() { Ok(next) } else { Err(MonitorError::BrokenRecord { at: 0 }) }
    }

    /// Ids rise, preimages fit, what is paid is below the capacity, and outputs have a spend.
    pub(super) fn holds_together(&self) -> bool {
        let rises = self.holds.windows(2).all(|pair| match pair {
            [one, next] => one.hold.id < next.hold.id,
            _ => true,
        });
        let fits =
            |held: &Watched| held.preimage.is_none_or(|known| known.hash() == held.hold.hash);
        let paid = self.best.is_none_or(|best| best.paid <= self.subject.capacity.to_msat());
        let shown =
            self.stage != Stage::Unspent || self.holds.iter().all(|held| held.fate == Fate::Held);
        rises && paid && shown && self.holds.len() <= Self::HOLDS_MAX && self.holds.iter().all(fits)
    }

    /// W1, W6: no preimage of a hold that is still watched is forgotten, and over is over.
    pub(super) fn may_follow(&self, before: &Self) -> bool {
        let kept = |was: &Watched| {
            let now = self.holds.iter().find(|held| held.hold.id == was.hold.id);
            was.preimage.is_none() || now.is_none_or(|now| now.preimage.is_some())
        };
        before.holds.iter().all(kept) && (!before.is_over() || self.is_over())
    }
}

fn held_in(holds: &[Watched], id: HoldId) -> bool {
    holds.iter().any(|held| held.hold.id == id)
}

const fn side_byte(side: Side) -> u8 {
    match side {
        Side::Payer => 0,
        Side::Payee => 1,
    }
}

fn write_height(w: &mut Vec<u8>, height: Option<Height>) {
    w.extend_from_slice(&height.map_or(u32::MAX, Height::to_u32).to_be_bytes());
}

fn write_subject(w: &mut Vec<u8>, subject: &Subject) {
    w.push(side_byte(subject.side));
    w.extend_from_slice(&subject.payer.serialize());
    w.extend_from_slice(&subject.base.serialize());
    w.extend_from_slice(&subject.delay.to_u16().to_be_bytes());
    w.extend_from_slice(subject.outpoint.txid.as_byte_array());
    w.extend_from_slice(&subject.outpoint.vout.to_be_bytes());
    w.extend_from_slice(&subject.capacity.to_sat().to_be_bytes());
    w.extend_from_slice(&subject.depth.to_u32().to_be_bytes());
    w.extend_from_slice(&subject.margin.to_u32().to_be_bytes());
    w.extend_from_slice(&subject.fee.to_sat().to_be_bytes());
}

fn write_held(w: &mut Vec<u8>, held: &Watched) {
    let hold = &held.hold;
    w.extend_from_slice(&hold.id.to_u64().to_be_bytes());
    w.extend_from_slice(&hold.amount.to_sat().to_be_bytes());
    w.extend_from_slice(hold.hash.as_bytes());
    w.extend_from_slice(&hold.expiry.to_u32().to_be_bytes());
    w.extend_from_slice(&hold.delay.to_u16().to_be_bytes());
    w.push(match held.standing {
        Standing::Open => 0,
        Standing::Released => 1,
        Standing::GivenUp => 2,
        Standing::Expired => 3,
    });
    w.push(u8::from(held.preimage.is_some()));
    if let Some(preimage) = held.preimage {
        w.extend_from_slice(preimage.as_bytes());
    }
    let (byte, vout, end) = match held.fate {
        Fate::Held => return w.push(0),
        Fate::Published { vout } => (1, vout, None),
        Fate::Claimed { vout, by, at } => (2, vout, Some((by, at))),
        Fate::TimedOut { vout, by, at } => (3, vout, Some((by, at))),
    };
    w.push(byte);
    w.extend_from_slice(&vout.to_be_bytes());
    if let Some((by, at)) = end {
        w.extend_from_slice(by.as_byte_array());
        write_height(w, at);
    }
}

fn read(r: &mut Reader<'_>) -> Option<Watch> {
    let subject = read_subject(r)?;
    let confirmed = read_height(r)?;
    let best = if flag(r)? {
        let paid = Msat::new(r.u64().ok()?).ok()?;
        let signature = schnorr::Signature::from_slice(&r.array::<64>().ok()?).ok()?;
        Some(Voucher { paid, signature })
    } else {
        None
    };
    let stage = match r.u8().ok()? {
        0 => Stage::Unspent,
        1 => Stage::Spent {
            by: txid(r)?,
            at: read_height(r)?,
            own: if flag(r)? { Some(r.u32().ok()?) } else { None },
        },
        2 => Stage::Over,
        _ => return None,
    };
    let count = usize::from(r.u16().ok()?);
    let mut holds = Vec::new();
    for _ in 0..count {
        holds.push(read_held(r)?);
    }
    Some(Watch { subject, confirmed, best, holds, stage })
}

fn read_subject(r: &mut Reader<'_>) -> Option<Subject> {
    let side = match r.u8().ok()? {
        0 => Side::Payer,
        1 => Side::Payee,
        _ => return None,
    };
    Some(Subject {
        side,
        payer: XOnlyPublicKey::from_slice(&r.array::<32>().ok()?).ok()?,
        base: XOnlyPublicKey::from_slice(&r.array::<32>().ok()?).ok()?,
        delay: Delay::new(r.u16().ok()?).ok()?,
        outpoint: OutPoint { txid: txid(r)?, vout: r.u32().ok()? },
        capacity: Sat::new(r.u64().ok()?).ok()?,
        depth: Blocks::new(r.u32().ok()?).ok()?,
        margin: Blocks::new(r.u32().ok()?).ok()?,
        fee: Sat::new(r.u64().ok()?).ok()?,
    })
}

fn read_held(r: &mut Reader<'_>) -> Option<Watched> {
    let hold = Hold {
        id: HoldId::new(r.u64().ok()?).ok()?,
        amount: Sat::new(r.u64().ok()?).ok()?,
        hash: PaymentHash::new(r.array().ok()?),
        expiry: Height::new(r.u32().ok()?).ok()?,
        delay: ClaimDelay::new(r.u16().ok()?).ok()?,
    };
    let standing = match r.u8().ok()? {
        0 => Standing::Open,
        1 => Standing::Released,
        2 => Standing::GivenUp,
        3 => Standing::Expired,
        _ => return None,
    };
    let preimage = if flag(r)? { Some(Preimage::new(r.array().ok()?)) } else { None };
    let fate = match r.u8().ok()? {
        0 => Fate::Held,
        1 => Fate::Published { vout: r.u32().ok()? },
        2 => Fate::Claimed { vout: r.u32().ok()?, by: txid(r)?, at: read_height(r)? },
        3 => Fate::TimedOut { vout: r.u32().ok()?, by: txid(r)?, at: read_height(r)? },
        _ => return None,
    };
    Some(Watched { hold, standing, preimage, fate })
}

fn flag(r: &mut Reader<'_>) -> Option<bool> {
    match r.u8().ok()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn txid(r: &mut Reader<'_>) -> Option<Txid> {
    Some(Txid::from_byte_array(r.array().ok()?))
}

#[expect(clippy::option_option, reason = "outside: is it there; inside: is it in a block")]
fn read_height(r: &mut Reader<'_>) -> Option<Option<Height>> {
    match r.u32().ok()? {
        u32::MAX => Some(None),
        height => Height::new(height).ok().map(Some),
    }
}
