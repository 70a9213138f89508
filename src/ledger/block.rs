//! Work that is paid by blocks: logged, and shared out when one is found.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::scheme::{Reach, split};
use super::step::Change;
use super::{Account, Credit, Exact, Ledger, LedgerError, LedgerStep, ROOM, Totals, WorkerKey};
use crate::store::{Key, envelope};
use crate::units::{Msat, Ppm};

/// The second byte of the key.
const KIND: u8 = 0x03;
const VERSION: u8 = 1;

/// The ids of the last blocks that were shared out, oldest first, so that each is once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Blocks(VecDeque<[u8; 32]>);

impl Blocks {
    /// 64: deeper than any honest reorganisation, and 2 kB a block.
    const MAX: usize = 64;

    pub(super) fn key() -> Result<Key, LedgerError> {
        Ok(Key::new(&[ROOM, KIND])?)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, LedgerError> {
        let body: Vec<u8> = self.0.iter().flatten().copied().collect();
        Ok(envelope::seal(&Self::key()?, VERSION, &body))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, LedgerError> {
        let body = envelope::open(&Self::key()?, VERSION, bytes)?;
        let (ids, rest) = body.as_chunks::<32>();
        if !rest.is_empty() || ids.len() > Self::MAX {
            return Err(LedgerError::BrokenRecord { at: body.len() });
        }
        Ok(Self(ids.iter().copied().collect()))
    }

    fn with(&self, id: [u8; 32]) -> Self {
        let skip = self.0.len().saturating_add(1).saturating_sub(Self::MAX);
        Self(self.0.iter().skip(skip).copied().chain([id]).collect())
    }
}

impl Ledger {
    /// Work is kept for the next blocks; the account counts its shares.
    pub(super) fn log(
        &self,
        worker: WorkerKey,
        credit: &Credit,
        reach: Reach,
    ) -> Result<LedgerStep, LedgerError> {
        let before = self.account_or_new(worker)?;
        if credit.value() != Exact::ZERO {
            return Err(LedgerError::Priced { worker });
        }
        if credit.work().hashes() == 0 {
            return Ok(self.step(None, None));
        }
        let mut step = self.step(Some((worker, Some(before.with(credit)?))), None);
        step.changes.slots = self.window.log(worker, credit.work(), reach)?;
        Ok(step)
    }

    /// Shares a block's reward: the pool's fee, rounded down, then each worker by its work.
    pub(super) fn block(
        &self,
        id: [u8; 32],
        reward: Msat,
        fee: Ppm,
        reach: Reach,
    ) -> Result<LedgerStep, LedgerError> {
        let mut step = self.step(None, None);
        if self.blocks.0.contains(&id) {
            return Ok(step);
        }
        let weights = self.window.weights(reach);
        if weights.is_empty() {
            return Err(LedgerError::NobodyWorked);
        }
        let kept = fee.floor_of(reward);
        let shared = u128::from(reward.saturating_sub(kept).to_msat());
        let weights = weights.iter().map(|(worker, work)| (*worker, work.hashes()));
        for (worker, part) in split(shared, weights) {
            // A part is at most the reward.
            let part = u64::try_from(part).ok().and_then(|part| Msat::new(part).ok());
            let part = part.filter(|part| *part > Msat::ZERO);
            let Some(part) = part else { continue };
            // Whoever has earned it gets it, whatever the limit of accounts.
            let before = self.accounts.get(&worker).copied().unwrap_or(Account::new(worker));
            let owed = before.owed.plus(Exact::from(part))?;
            step.changes.accounts.push(Change { worker, after: Some(Account { owed, ..before }) });
        }
        step.changes.totals = Some(Totals {
            credited: self.totals.credited.plus(Exact::from(reward))?,
            fee: self.totals.fee.plus(Exact::from(kept))?,
            ..self.totals
        });
        if reach == Reach::Round {
            step.changes.slots = self.window.cleared();
        }
        step.changes.blocks = Some(self.blocks.with(id));
        Ok(step)
    }
}
