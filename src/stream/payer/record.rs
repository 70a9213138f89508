//! The payer's record. A plain payment does not need it durable: the seed and the backup do.

use alloc::vec::Vec;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::{OutPoint, Txid};

use crate::store::Key;
use crate::stream::bytes::{Reader, Writer, outpoint_key};
use crate::stream::channel::Rules;
use crate::stream::error::StreamError;
use crate::stream::payer::holds::{PayerHold, PayerHolds};
use crate::stream::record;
use crate::tx::{ChangeScript, Delay};
use crate::units::{Height, KeyIndex, Msat, Sat};

/// The store's room byte of payer records.
const ROOM: u8 = 0x03;

/// What the payer stores of a channel, under [`PayerRecord::key`]; newest wins.
///
/// | bytes | field, numbers big-endian |
/// | --- | --- |
/// | 4 + 32 + 2 | key index, payee's base key, delay |
/// | 32 | hash of the payee's terms |
/// | 1, 23 or 35 | change script: its length (0: the channel's own), then it |
/// | 36 + 8 | outpoint, capacity in sat |
/// | 2 + 2 + 8 | rules: confirmation depth, settle margin, zero-conf limit in sat |
/// | 8 | what the channel started with, msat |
/// | 4 | confirmation height, or 0xffffffff |
/// | 8 | signed: the highest `paid` that this record knows of, msat |
/// | 1 + .. | phase: 0 open; 1 leaving + 8 stated; 2 spent + 32 txid + 4 height; 3 closed |
/// | 1 | 0: no holds |
///
/// That is version 1, with the envelope at most 224 bytes. Where the terms took holds, the record
/// has version 2 and in place of the last byte:
///
/// | bytes | field |
/// | --- | --- |
/// | 2 + 4 + 4 + 1 | rules for holds: k, agreed fee, dust, count, as in the terms |
/// | 8 | highest id that was ever used; 0 if none was |
/// | 8 + 1 | exposure: its floor in msat, number of steps |
/// | 4 + 8 each | until which height, msat |
/// | 2 | number of holds that are kept, at most 256 |
/// | 52 + 1 + 8 each | id, sat, hash, expiry; 0 open, 1 released, 2 given up after its release, 3 given up after its expiry; most that a voucher with it could cost, msat |
/// | 1, or 1 + 44 after each | 0; 1 and its bundle: root, items, total in msat |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayerRecord {
    pub(in crate::stream) index: KeyIndex,
    pub(in crate::stream) base: XOnlyPublicKey,
    pub(in crate::stream) delay: Delay,
    pub(in crate::stream) terms: [u8; 32],
    pub(in crate::stream) change: ChangeScript,
    pub(in crate::stream) outpoint: OutPoint,
    pub(in crate::stream) capacity: Sat,
    pub(in crate::stream) rules: Rules,
    pub(in crate::stream) start: Msat,
    pub(in crate::stream) confirmed: Option<Height>,
    pub(in crate::stream) signed: Msat,
    pub(in crate::stream) holds: PayerHolds,
    pub(in crate::stream) phase: PayerPhase,
}

/// Where a payer's channel stands.
///
/// ```text
/// (from the store or a backup) Unsure --payee's best voucher seen--> Open
/// Open --close or top-up signed--> Leaving --+
///   |                                        | spend seen
///   +----------------------------------------+--> Spent --buried--> Closed
///                                            ^     | undone by a reorg
/// Open, Leaving, Unsure --refund signed------+     '--> Unsure
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayerPhase {
    /// Payments are signed; `signed` is exact. A record never comes back from the store like this.
    Open,
    /// After a restart: `signed` is a lower bound until the payee's best voucher was seen.
    Unsure,
    /// A close or a top-up of this outpoint is signed; to the payee, further vouchers are credit.
    Leaving {
        /// The `paid` that it states.
        stated: Msat,
    },
    /// The output is spent, in the mempool or in a block.
    Spent {
        /// The spending transaction.
        by: Txid,
        /// Its height.
        at: Option<Height>,
    },
    /// The spend is buried; the record may be forgotten.
    Closed,
}

impl PayerPhase {
    /// The phase in one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Unsure => "unsure",
            Self::Leaving { .. } => "leaving",
            Self::Spent { .. } => "spent",
            Self::Closed => "closed",
        }
    }
}

impl PayerRecord {
    /// The prefix of every payer record, for a scan.
    pub const PREFIX: [u8; 1] = [ROOM];

    /// The store key: the room byte and the outpoint.
    ///
    /// # Errors
    /// None: 37 bytes are a key.
    pub fn key(&self) -> Result<Key, StreamError> {
        Self::key_of(self.outpoint)
    }

    /// The store key of the channel at `outpoint`.
    ///
    /// # Errors
    /// None: 37 bytes are a key.
    pub fn key_of(outpoint: OutPoint) -> Result<Key, StreamError> {
        Ok(outpoint_key(ROOM, outpoint)?)
    }

    /// The channel's outpoint.
    pub const fn outpoint(&self) -> OutPoint {
        self.outpoint
    }

    /// The refund's delay.
    pub const fn delay(&self) -> Delay {
        self.delay
    }

    /// Which of the seed's payer keys.
    pub const fn index(&self) -> KeyIndex {
        self.index
    }

    /// The payee's base key.
    pub const fn base(&self) -> XOnlyPublicKey {
        self.base
    }

    /// The value of the outpoint.
    pub const fn capacity(&self) -> Sat {
        self.capacity
    }

    /// The rules that it was opened under.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What the channel started with.
    pub const fn start(&self) -> Msat {
        self.start
    }

    /// The same, to be paid on only after the payee's best voucher was seen.
    #[must_use]
    pub fn into_unsure(self) -> Self {
        Self { phase: PayerPhase::Unsure, ..self }
    }

    /// The holds that it keeps, in the order of their ids.
    #[must_use]
    pub fn holds(&self) -> &[PayerHold] {
        &self.holds.kept
    }

    /// Where the channel stands.
    pub const fn phase(&self) -> PayerPhase {
        self.phase
    }

    /// The highest `paid` that the record knows of.
    pub const fn signed(&self) -> Msat {
        self.signed
    }

    /// The bytes to store, envelope included.
    ///
    /// # Errors
    /// None: see [`Self::key`].
    pub fn encode(&self) -> Result<Vec<u8>, StreamError> {
        let mut w = Writer::with_capacity(256);
        w.u32(self.index.to_u32());
        w.bytes(&self.base.serialize());
        w.u16(self.delay.to_u16());
        w.bytes(&self.terms);
        w.change(&self.change);
        w.outpoint(self.outpoint);
        w.sat(self.capacity);
        self.rules.write(&mut w);
        w.msat(self.start);
        w.height(self.confirmed);
        w.msat(self.signed);
        match self.phase {
            PayerPhase::Open | PayerPhase::Unsure => w.u8(0),
            PayerPhase::Leaving { stated } => {
                w.u8(1);
                w.msat(stated);
            }
            PayerPhase::Spent { by, at } => {
                w.u8(2);
                w.bytes(by.as_byte_array());
                w.height(at);
            }
            PayerPhase::Closed => w.u8(3),
        }
        Ok(record::seal(&self.key()?, w, self.rules.holds, |w| self.holds.write(w)))
    }

    /// Reads what [`Self::encode`] wrote under `key`; an open or leaving channel comes back as
    /// [`PayerPhase::Unsure`], because payments are not written one by one.
    ///
    /// # Errors
    /// [`StreamError::Store`] for an unknown version or rot, [`StreamError::BrokenRecord`].
    pub fn decode(key: &Key, bytes: &[u8]) -> Result<Self, StreamError> {
        let fits = |record: &Self| Ok(record.key()? == *key && record.holds_together());
        record::open(key, bytes, Self::read, fits)
    }

    fn read(r: &mut Reader<'_>, with_holds: bool) -> Option<Self> {
        let mut record = Self {
            index: KeyIndex::new(r.u32()?).ok()?,
            base: r.key()?,
            delay: Delay::new(r.u16()?).ok()?,
            terms: *r.array::<32>()?,
            change: r.change()?,
            outpoint: r.outpoint()?,
            capacity: r.sat()?,
            rules: Rules::read(r)?,
            start: r.msat()?,
            confirmed: r.height()?,
            signed: r.msat()?,
            holds: PayerHolds::NONE,
            phase: match r.u8()? {
                0 => PayerPhase::Unsure,
                // S7: payments after it were not written either.
                1 => r.msat().map(|_| PayerPhase::Unsure)?,
                2 => PayerPhase::Spent {
                    by: Txid::from_byte_array(*r.array::<32>()?),
                    at: r.height()?,
                },
                3 => PayerPhase::Closed,
                _ => return None,
            },
        };
        record.rules.holds = record::read_rules(r, with_holds)?;
        if with_holds {
            record.holds = PayerHolds::read(r, record.rules.claim_delay()?)?;
        }
        Some(record)
    }

    /// Whether this record and `other` are of one channel.
    pub(in crate::stream) fn is_same_channel(&self, other: &Self) -> bool {
        self.outpoint == other.outpoint
            && self.index == other.index
            && self.base == other.base
            && self.delay == other.delay
            && self.capacity == other.capacity
            && self.rules.holds == other.rules.holds
    }

    /// Whether this record may replace `before`: signed never falls (S7), and a closed channel
    /// stays closed.
    pub(in crate::stream) fn may_follow(&self, before: &Self) -> bool {
        let reopens = before.phase == PayerPhase::Closed && self.phase != PayerPhase::Closed;
        // S9: a step from before an offer would forget a hold that may have left.
        self.signed >= before.signed && !reopens && self.holds.may_follow(&before.holds)
    }

    /// P1: capacity is what is signed and the rest. S1: what is signed lies between the start and
    /// the capacity, in any record.
    pub(in crate::stream) fn holds_together(&self) -> bool {
        self.start <= self.signed
            && self.signed <= self.capacity.to_msat()
            && self.holds.holds_together()
    }
}
