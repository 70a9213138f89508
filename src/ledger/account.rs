//! What one worker has earned and was paid, and its record.

use alloc::vec::Vec;
use core::fmt;

use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::{OutPoint, Txid};

use super::exact::{Exact, HashPrice};
use super::{LedgerError, ROOM};
use crate::store::{Key, envelope};
use crate::units::{Msat, Overflow, Work};
use crate::wire::Reader;

/// The second byte of an account's key.
const KIND: u8 = 0x01;
const VERSION: u8 = 1;

/// Who is paid: the x-only base key of the worker's [`Terms`](crate::stream::Terms).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerKey([u8; 32]);

impl WorkerKey {
    /// The key with these bytes. Whether they are a point is seen when a channel is made for it.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<XOnlyPublicKey> for WorkerKey {
    fn from(base: XOnlyPublicKey) -> Self {
        Self(base.serialize())
    }
}

impl fmt::Display for WorkerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for WorkerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Accepted work and what it is worth: of one share, or of as many as a drain brings.
///
/// Credits of one worker add up exactly, at whatever prices, so that a million shares become one
/// step and one record.
///
/// ```
/// use millstream::ledger::{Credit, Exact, HashPrice};
/// use millstream::units::{Msat, Work, WorkBits};
///
/// let price = HashPrice::per_bits(Msat::new(1_000)?, WorkBits::new(32)?)?;
/// let mut drain = Credit::NONE;
/// for _ in 0..1 << 12 {
///     drain = drain.plus(&Credit::priced(Work::new(1 << 20), price)?)?;
/// }
/// assert_eq!(drain.value(), Exact::from(Msat::new(1_000)?));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    value: Exact,
    work: Work,
    shares: u64,
}

impl Credit {
    /// No share.
    pub const NONE: Self = Self { value: Exact::ZERO, work: Work::ZERO, shares: 0 };

    /// One share of `work`, which is the assigned target's and not the hash's, at its job's price.
    ///
    /// # Errors
    /// [`Overflow`] above all money.
    pub fn priced(work: Work, price: HashPrice) -> Result<Self, Overflow> {
        Ok(Self { value: Exact::of(work, price)?, work, shares: 1 })
    }

    /// One share that is paid when a block is found: it counts as work alone.
    #[must_use]
    pub const fn unpriced(work: Work) -> Self {
        Self { value: Exact::ZERO, work, shares: 1 }
    }

    /// Both together.
    ///
    /// # Errors
    /// [`Overflow`] above all money, or all work.
    pub fn plus(&self, other: &Self) -> Result<Self, Overflow> {
        let value = self.value.plus(other.value)?;
        let shares = self.shares.checked_add(other.shares).ok_or(Overflow { unit: "shares" })?;
        Ok(Self { value, work: self.work.add(other.work)?, shares })
    }

    /// What it is worth.
    pub const fn value(&self) -> Exact {
        self.value
    }

    /// How much work it is.
    pub const fn work(&self) -> Work {
        self.work
    }

    /// How many shares it is.
    pub const fn shares(&self) -> u64 {
        self.shares
    }
}

/// The channel that pays a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) channel: OutPoint,
    /// What the channel had paid before, for anything.
    pub(super) base: Msat,
    /// What it has paid by now; at least `base`.
    pub(super) paid: Msat,
}

/// The whole state of one worker: what it has earned, exactly, and what it was paid.
///
/// ```text
///   owed    |==================================|....|   whole msat, and parts of one
///   paid    |== before ==|== bound channel ==|
///                                            |== due ==|
/// ```
///
/// Both run up for the account's life. What is signed is [`Self::pay_to`], a cumulative amount, so
/// that doing it twice is doing it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub(super) worker: WorkerKey,
    pub(super) owed: Exact,
    /// Paid by channels that are not bound any more.
    pub(super) before: Msat,
    pub(super) bound: Option<Bound>,
    pub(super) shares: u64,
    pub(super) work: Work,
}

impl Account {
    /// The prefix of every account's record, for a scan.
    pub const PREFIX: [u8; 2] = [ROOM, KIND];
    /// Length of a record without its envelope.
    pub const LENGTH: usize = 105;

    pub(super) const fn new(worker: WorkerKey) -> Self {
        Self {
            worker,
            owed: Exact::ZERO,
            before: Msat::ZERO,
            bound: None,
            shares: 0,
            work: Work::ZERO,
        }
    }

    /// Whose it is.
    pub const fn worker(&self) -> WorkerKey {
        self.worker
    }

    /// All that it has earned.
    pub const fn owed(&self) -> Exact {
        self.owed
    }

    /// All that it was paid.
    #[must_use]
    pub fn paid(&self) -> Msat {
        // `holds_together`: base <= paid, and the sum is an amount.
        let here = self.bound.map_or(Msat::ZERO, |bound| bound.paid.saturating_sub(bound.base));
        self.before.saturating_add(here)
    }

    /// What is to be paid: the whole millisatoshis that are owed and not paid.
    #[must_use]
    pub fn due(&self) -> Msat {
        self.owed.floor_msat().saturating_sub(self.paid())
    }

    /// What was paid above what is owed: by a voucher that outlived the credits that it paid.
    #[must_use]
    pub fn ahead(&self) -> Msat {
        self.paid().saturating_sub(self.owed.floor_msat())
    }

    /// The channel that pays it.
    #[must_use]
    pub fn channel(&self) -> Option<OutPoint> {
        self.bound.map(|bound| bound.channel)
    }

    /// The channel that pays it, and the cumulative amount that its voucher should say: L4.
    ///
    /// Less than what the channel has room for is right too: the rest stays due.
    #[must_use]
    pub fn pay_to(&self) -> Option<(OutPoint, Msat)> {
        let bound = self.bound?;
        Some((bound.channel, bound.paid.saturating_add(self.due())))
    }

    /// How many shares were credited.
    pub const fn shares(&self) -> u64 {
        self.shares
    }

    /// How much work was credited.
    pub const fn work(&self) -> Work {
        self.work
    }

    /// L6: whether forgetting it forgets no money but parts of a millisatoshi.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.bound.is_none() && self.owed.floor_msat() == self.before
    }

    /// L1: the account with a credit more.
    pub(super) fn with(&self, credit: &Credit) -> Result<Self, Overflow> {
        let earned = Credit { value: self.owed, work: self.work, shares: self.shares };
        let Credit { value: owed, work, shares } = earned.plus(credit)?;
        Ok(Self { owed, shares, work, ..*self })
    }

    pub(super) fn holds_together(&self) -> bool {
        let here = self.bound.map_or(Some(Msat::ZERO), |at| at.paid.checked_sub(at.base));
        here.is_some_and(|here| self.before.checked_add(here).is_some())
    }

    /// The store key: two bytes, and the worker's key.
    ///
    /// # Errors
    /// None: 34 bytes are a key.
    pub fn key(worker: WorkerKey) -> Result<Key, LedgerError> {
        Ok(Key::from_parts(&[&Self::PREFIX, worker.as_bytes()])?)
    }

    /// The bytes to store, envelope included; always of one length.
    ///
    /// | bytes | field, numbers big-endian |
    /// | --- | --- |
    /// | 8 + 12 | owed: msat, 2^-96 parts |
    /// | 8 | paid by channels before |
    /// | 8 | shares |
    /// | 16 | work |
    /// | 1 | 1 if a channel is bound, else 0 and zeros |
    /// | 36 | the channel's outpoint |
    /// | 8 + 8 | what it had paid when it was bound, what it has paid |
    ///
    /// 105 bytes and the envelope; P7: they do not grow.
    ///
    /// # Errors
    /// None: see [`Self::key`].
    pub fn encode(&self) -> Result<Vec<u8>, LedgerError> {
        let mut w = Vec::with_capacity(Self::LENGTH);
        w.extend_from_slice(&self.owed.to_bytes());
        w.extend_from_slice(&self.before.to_msat().to_be_bytes());
        w.extend_from_slice(&self.shares.to_be_bytes());
        w.extend_from_slice(&self.work.hashes().to_be_bytes());
        match &self.bound {
            Some(Bound { channel, base, paid }) => {
                w.push(1);
                w.extend_from_slice(channel.txid.as_byte_array());
                w.extend_from_slice(&channel.vout.to_be_bytes());
                w.extend_from_slice(&base.to_msat().to_be_bytes());
                w.extend_from_slice(&paid.to_msat().to_be_bytes());
            }
            None => w.resize(Self::LENGTH, 0),
        }
        Ok(envelope::seal(&Self::key(self.worker)?, VERSION, &w))
    }

    /// Reads what [`Self::encode`] wrote under `key`.
    ///
    /// # Errors
    /// [`LedgerError::Store`] for an unknown version or rot, [`LedgerError::BrokenRecord`].
    pub fn decode(key: &Key, bytes: &[u8]) -> Result<Self, LedgerError> {
        let body = envelope::open(key, VERSION, bytes)?;
        let mut r = Reader::new(body);
        let read = Self::read(key, &mut r);
        let at = body.len().saturating_sub(r.rest().len());
        // Assert twice: what is read must be what could have been written.
        let sound = |account: &Self| r.rest().is_empty() && account.holds_together();
        read.filter(sound).ok_or(LedgerError::BrokenRecord { at })
    }

    fn read(key: &Key, r: &mut Reader<'_>) -> Option<Self> {
        let mut k = Reader::new(key.as_bytes());
        if k.array().ok()? != Self::PREFIX {
            return None;
        }
        let worker = WorkerKey(k.array().ok()?);
        let owed = Exact::from_bytes(&r.array().ok()?).ok()?;
        let before = msat(r)?;
        let shares = r.u64().ok()?;
        let work = Work::new(u128::from_be_bytes(r.array().ok()?));
        let bound = match r.u8().ok()? {
            0 if r.array().ok()? == [0_u8; 52] => None,
            1 => {
                let txid = Txid::from_byte_array(r.array().ok()?);
                let channel = OutPoint { txid, vout: r.u32().ok()? };
                Some(Bound { channel, base: msat(r)?, paid: msat(r)? })
            }
            _ => return None,
        };
        k.rest().is_empty().then_some(Self { worker, owed, before, bound, shares, work })
    }
}

fn msat(r: &mut Reader<'_>) -> Option<Msat> {
    Msat::new(r.u64().ok()?).ok()
}
