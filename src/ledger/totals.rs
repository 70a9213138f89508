//! What all accounts add up to, so that not a part of a millisatoshi can go missing unseen.

use alloc::vec::Vec;

use super::exact::Exact;
use super::{Account, LedgerError, ROOM};
use crate::store::{Key, envelope};
use crate::units::{Msat, Overflow};
use crate::wire::Reader;

/// The second byte of the key.
const KIND: u8 = 0x02;
const VERSION: u8 = 1;

/// What was ever credited, and what of it is in no account any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// All that shares and blocks brought into the ledger.
    pub(super) credited: Exact,
    /// The pool's part of blocks, and the parts of a millisatoshi of accounts that were forgotten.
    pub(super) fee: Exact,
    /// What forgotten accounts were paid.
    pub(super) gone: Msat,
}

impl Totals {
    pub(super) const NONE: Self =
        Self { credited: Exact::ZERO, fee: Exact::ZERO, gone: Msat::ZERO };

    /// All that shares and blocks brought into the ledger.
    pub const fn credited(&self) -> Exact {
        self.credited
    }

    /// The pool's part of blocks, and the parts of a millisatoshi of accounts that were forgotten.
    ///
    /// The fee in a price per hash is not here: who mines for a price is never credited it.
    pub const fn fee(&self) -> Exact {
        self.fee
    }

    /// What accounts that were forgotten had been paid.
    pub const fn gone(&self) -> Msat {
        self.gone
    }

    /// L5: whether accounts that add up to `owed` are all that there is beside the rest.
    pub(super) fn holds(&self, owed: Exact) -> Result<bool, Overflow> {
        Ok(owed.plus(self.fee)?.plus(Exact::from(self.gone))? == self.credited)
    }

    /// What remains when an idle account is forgotten.
    pub(super) fn without(&self, account: &Account) -> Result<Self, Overflow> {
        let fee = self.fee.plus(account.owed.fraction())?;
        Ok(Self { fee, gone: self.gone.add(account.before)?, ..*self })
    }

    /// The store key: two bytes.
    ///
    /// # Errors
    /// None: two bytes are a key.
    pub fn key() -> Result<Key, LedgerError> {
        Ok(Key::new(&[ROOM, KIND])?)
    }

    /// The bytes to store, envelope included: credited (20), fee (20), gone (8), big-endian.
    ///
    /// # Errors
    /// None: see [`Self::key`].
    pub fn encode(&self) -> Result<Vec<u8>, LedgerError> {
        let (credited, fee) = (self.credited.to_bytes(), self.fee.to_bytes());
        let body = [&credited[..], &fee, &self.gone.to_msat().to_be_bytes()].concat();
        Ok(envelope::seal(&Self::key()?, VERSION, &body))
    }

    /// Reads what [`Self::encode`] wrote under `key`.
    ///
    /// # Errors
    /// [`LedgerError::Store`] for an unknown version or rot, [`LedgerError::BrokenRecord`].
    pub fn decode(key: &Key, bytes: &[u8]) -> Result<Self, LedgerError> {
        let body = envelope::open(key, VERSION, bytes)?;
        let mut r = Reader::new(body);
        let read = Self::read(&mut r).filter(|_| r.rest().is_empty());
        let at = body.len().saturating_sub(r.rest().len());
        read.ok_or(LedgerError::BrokenRecord { at })
    }

    fn read(r: &mut Reader<'_>) -> Option<Self> {
        let credited = Exact::from_bytes(&r.array().ok()?).ok()?;
        let fee = Exact::from_bytes(&r.array().ok()?).ok()?;
        Some(Self { credited, fee, gone: Msat::new(r.u64().ok()?).ok()? })
    }
}
