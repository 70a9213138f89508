//! The payee's record: the whole state of one channel, the same size after a million payments.

use alloc::vec::Vec;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{XOnlyPublicKey, schnorr};
use bitcoin::{OutPoint, Txid};

use crate::store::Key;
use crate::stream::bytes::{Reader, Writer};
use crate::stream::channel::Rules;
use crate::stream::error::StreamError;
use crate::stream::payee::holds::PayeeHolds;
use crate::stream::record;
use crate::tx::{ChangeScript, Delay, Voucher};
use crate::units::{Height, Msat, Sat};

/// The store's room byte of payee records.
const ROOM: u8 = 0x04;

/// What the payee stores of a channel, under [`PayeeRecord::key`]; newest wins.
///
/// P7: nothing in it grows with the number of payments.
///
/// | bytes | field, numbers big-endian |
/// | --- | --- |
/// | 32 + 2 | payer's key, delay |
/// | 1, 23 or 35 | change script: its length (0: the channel's own), then it |
/// | 36 + 8 | outpoint, capacity in sat |
/// | 2 + 2 + 8 | rules: confirmation depth, settle margin, zero-conf limit in sat |
/// | 1 | 1 if the funding transaction is version 3 |
/// | 8 | what the channel started with, msat |
/// | 4 | confirmation height, or 0xffffffff |
/// | 1, or 1 + 8 + 64 | best voucher: 0, or 1 with paid and signature |
/// | 1 + .. | phase: 0 open; 1 promised + 8 stated; 2 spent + 32 txid + 4 height + 1 or 9 before; 3 closed + 8 kept |
/// | 1 | 0: no holds |
///
/// That is version 1, at most 229 bytes with the envelope while it is open. Where the terms took
/// holds, the record has version 2 and in place of the last byte:
///
/// | bytes | field |
/// | --- | --- |
/// | 2 + 4 + 4 + 1 | rules for holds: k, agreed fee, dust, count, as in the terms |
/// | 8 | highest id that was ever used; 0 if none was |
/// | 1 | number of holds in the best voucher |
/// | 52 each | id, sat, hash, expiry |
/// | 1, or 1 + 32 after each | 0 open; 1 released; 2 fulfilled + preimage |
/// | 1, or 1 + 44 after that | 0; 1 and its bundle: root, items, total in msat |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayeeRecord {
    pub(in crate::stream) payer: XOnlyPublicKey,
    pub(in crate::stream) delay: Delay,
    pub(in crate::stream) change: ChangeScript,
    pub(in crate::stream) outpoint: OutPoint,
    pub(in crate::stream) capacity: Sat,
    pub(in crate::stream) rules: Rules,
    /// Zero-conf credit needs it: settlements of a version-2 parent may not be relayable.
    pub(in crate::stream) truc: bool,
    pub(in crate::stream) start: Msat,
    pub(in crate::stream) confirmed: Option<Height>,
    /// With holds, `holds` is a part of what it states, and its signature of the third kind.
    pub(in crate::stream) best: Option<Voucher>,
    pub(in crate::stream) holds: PayeeHolds,
    pub(in crate::stream) phase: PayeePhase,
}

/// Where a payee's channel stands.
///
/// ```text
/// Open --settle, close, top-up signed--> Promised --+
///   |                                               | spend seen
///   +------------------ refund seen ----------------+--> Spent --buried--> Closed
///                                                         | spend undone by a reorg
///                                                         '--> what it was before
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayeePhase {
    /// Vouchers are accepted.
    Open,
    /// A payee signature on the outpoint has left and cannot be revoked: vouchers above `stated`
    /// are zero-conf credit, and replacements change the fee only.
    Promised {
        /// The `paid` that the signature states.
        stated: Msat,
    },
    /// The output is spent, in the mempool or in a block.
    Spent {
        /// The spending transaction.
        by: Txid,
        /// Its height.
        at: Option<Height>,
        /// What was stated before, if a payee signature had left.
        stated: Option<Msat>,
    },
    /// The spend is buried; the record may be forgotten.
    Closed {
        /// What the payee got, before fees.
        kept: Msat,
    },
}

impl PayeePhase {
    /// The phase in one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Promised { .. } => "promised",
            Self::Spent { .. } => "spent",
            Self::Closed { .. } => "closed",
        }
    }

    /// What a payee signature that has left states.
    #[must_use]
    pub const fn stated(&self) -> Option<Msat> {
        match *self {
            Self::Promised { stated } => Some(stated),
            Self::Spent { stated, .. } => stated,
            Self::Open | Self::Closed { .. } => None,
        }
    }
}

impl PayeeRecord {
    /// The prefix of every payee record, for a scan.
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
        Ok(crate::stream::bytes::outpoint_key(ROOM, outpoint)?)
    }

    /// The channel's outpoint.
    pub const fn outpoint(&self) -> OutPoint {
        self.outpoint
    }

    /// The payer's key in it.
    pub const fn payer(&self) -> XOnlyPublicKey {
        self.payer
    }

    /// The refund's delay.
    pub const fn delay(&self) -> Delay {
        self.delay
    }

    /// The value of the outpoint.
    pub const fn capacity(&self) -> Sat {
        self.capacity
    }

    /// What the channel started with.
    pub const fn start(&self) -> Msat {
        self.start
    }

    /// The cumulative amount that counts as paid once this record is durable.
    #[must_use]
    pub fn paid(&self) -> Msat {
        self.best.map_or(self.start, |voucher| voucher.paid.max(self.start))
    }

    /// Where the channel stands.
    pub const fn phase(&self) -> PayeePhase {
        self.phase
    }

    /// The rules that it was opened under.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The bytes to store, envelope included.
    ///
    /// # Errors
    /// None: see [`Self::key`].
    pub fn encode(&self) -> Result<Vec<u8>, StreamError> {
        let mut w = Writer::with_capacity(256);
        w.bytes(&self.payer.serialize());
        w.u16(self.delay.to_u16());
        w.change(&self.change);
        w.outpoint(self.outpoint);
        w.sat(self.capacity);
        self.rules.write(&mut w);
        w.u8(u8::from(self.truc));
        w.msat(self.start);
        w.height(self.confirmed);
        match self.best {
            None => w.u8(0),
            Some(best) => {
                w.u8(1);
                w.msat(best.paid);
                w.bytes(&best.signature.serialize());
            }
        }
        self.write_phase(&mut w);
        Ok(record::seal(&self.key()?, w, self.rules.holds, |w| self.holds.write(w)))
    }

    fn write_phase(&self, w: &mut Writer) {
        match self.phase {
            PayeePhase::Open => w.u8(0),
            PayeePhase::Promised { stated } => {
                w.u8(1);
                w.msat(stated);
            }
            PayeePhase::Spent { by, at, stated } => {
                w.u8(2);
                w.bytes(by.as_byte_array());
                w.height(at);
                w.optional_msat(stated);
            }
            PayeePhase::Closed { kept } => {
                w.u8(3);
                w.msat(kept);
            }
        }
    }

    /// Reads what [`Self::encode`] wrote under `key`.
    ///
    /// # Errors
    /// [`StreamError::Store`] for an unknown version or rot, [`StreamError::BrokenRecord`].
    pub fn decode(key: &Key, bytes: &[u8]) -> Result<Self, StreamError> {
        let fits = |record: &Self| Ok(record.key()? == *key && record.holds_together());
        record::open(key, bytes, Self::read, fits)
    }

    fn read(r: &mut Reader<'_>, with_holds: bool) -> Option<Self> {
        let mut record = Self {
            payer: r.key()?,
            delay: Delay::new(r.u16()?).ok()?,
            change: r.change()?,
            outpoint: r.outpoint()?,
            capacity: r.sat()?,
            rules: Rules::read(r)?,
            truc: r.flag()?,
            start: r.msat()?,
            confirmed: r.height()?,
            best: if r.flag()? {
                let paid = r.msat()?;
                let signature = schnorr::Signature::from_slice(r.array::<64>()?).ok()?;
                Some(Voucher { paid, signature })
            } else {
                None
            },
            holds: PayeeHolds::NONE,
            phase: Self::read_phase(r)?,
        };
        record.rules.holds = record::read_rules(r, with_holds)?;
        if with_holds {
            record.holds = PayeeHolds::read(r, record.rules.claim_delay()?)?;
        }
        Some(record)
    }

    fn read_phase(r: &mut Reader<'_>) -> Option<PayeePhase> {
        Some(match r.u8()? {
            0 => PayeePhase::Open,
            1 => PayeePhase::Promised { stated: r.msat()? },
            2 => PayeePhase::Spent {
                by: Txid::from_byte_array(*r.array::<32>()?),
                at: r.height()?,
                stated: r.optional_msat()?,
            },
            3 => PayeePhase::Closed { kept: r.msat()? },
            _ => return None,
        })
    }

    /// P1: capacity is what is paid and the rest. S1: what is paid never exceeds the capacity, in
    /// any record.
    pub(in crate::stream) fn holds_together(&self) -> bool {
        let capacity = self.capacity.to_msat();
        self.paid() <= capacity
            && self.best.is_none_or(|best| best.paid >= self.start)
            && self.phase.stated().is_none_or(|stated| stated <= capacity)
            && self.holds.holds_together(self.best.is_some())
    }

    /// Whether this record and `other` are of one channel: what never changes is equal.
    pub(in crate::stream) fn is_same_channel(&self, other: &Self) -> bool {
        self.outpoint == other.outpoint
            && self.payer == other.payer
            && self.delay == other.delay
            && self.change == other.change
            && self.capacity == other.capacity
            && self.start == other.start
            && self.rules.holds == other.rules.holds
    }

    /// Whether this record may replace `before`: paid never falls (S3), a statement is never taken
    /// back or raised (S6), and a closed channel stays closed.
    pub(in crate::stream) fn may_follow(&self, before: &Self) -> bool {
        if let PayeePhase::Closed { .. } = self.phase {
            return self.paid() >= before.paid();
        }
        // S8: ids are never used again, and what was fulfilled or released stays it.
        if !self.holds.may_follow(&before.holds) {
            return false;
        }
        let kept = match (before.phase.stated(), self.phase.stated()) {
            (Some(before), Some(now)) => now <= before,
            (Some(_), None) => false,
            (None, _) => true,
        };
        kept && self.paid() >= before.paid() && !matches!(before.phase, PayeePhase::Closed { .. })
    }
}
