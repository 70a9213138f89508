//! Work that is paid by blocks: logged, and shared out when one is found.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::pending::Pending;
use super::scheme::{FoundBlock, Reach, split};
use super::step::{Change, PendingChange};
use super::window::Slot;
use super::{Account, Credit, Exact, Ledger, LedgerError, LedgerStep, ROOM, Totals, WorkerKey};
use crate::store::{Key, envelope};
use crate::units::{Msat, Ppm, Work};

/// The second byte of the key.
const KIND: u8 = 0x03;
const VERSION: u8 = 1;

/// The ids of the last blocks that were shared out or lost, oldest first, so that each is once.
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
        let before = self.account_or_new(worker);
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

    /// Shares a block's reward at once.
    pub(super) fn block(
        &self,
        id: [u8; 32],
        reward: Msat,
        fee: Ppm,
        reach: Reach,
    ) -> Result<LedgerStep, LedgerError> {
        if self.knows(id) {
            return Ok(self.step(None, None));
        }
        let weights = self.worked(reach)?;
        let mut step = self.share(reward, fee, &weights)?;
        step.changes.slots = self.round_over(reach);
        step.changes.blocks = Some(self.blocks.with(id));
        Ok(step)
    }

    /// Keeps a block with the work of now until the chain has decided on it.
    pub(super) fn found(&self, block: &FoundBlock) -> Result<LedgerStep, LedgerError> {
        let mut step = self.step(None, None);
        if self.knows(block.id) {
            return Ok(step);
        }
        if self.pending.len() >= Pending::MAX {
            return Err(LedgerError::TooManyBlocks { max: Pending::MAX });
        }
        let weights = self.worked(block.reach)?;
        // What could not be owed could never be shared either.
        let _could_be = self.share(block.reward, block.fee, &weights)?;
        let pending = Pending { block: *block, weights };
        step.changes.pending = PendingChange::New(Box::new(pending));
        step.changes.slots = self.round_over(block.reach);
        Ok(step)
    }

    pub(super) fn buried(&self, id: [u8; 32]) -> Result<LedgerStep, LedgerError> {
        let Some(pending) = self.waits(id)? else { return Ok(self.step(None, None)) };
        let FoundBlock { reward, fee, .. } = pending.block;
        let mut step = self.share(reward, fee, &pending.weights)?;
        step.changes.pending = PendingChange::Over(Box::new(pending.clone()));
        step.changes.blocks = Some(self.blocks.with(id));
        Ok(step)
    }

    pub(super) fn lost(&self, id: [u8; 32]) -> Result<LedgerStep, LedgerError> {
        let mut step = self.step(None, None);
        let Some(pending) = self.waits(id)? else { return Ok(step) };
        if pending.block.reach == Reach::Round {
            step.changes.slots = self.window.given_back(&pending.weights);
        }
        step.changes.pending = PendingChange::Over(Box::new(pending.clone()));
        step.changes.blocks = Some(self.blocks.with(id));
        Ok(step)
    }

    /// Whether a block was told before.
    fn knows(&self, id: [u8; 32]) -> bool {
        self.blocks.0.contains(&id) || self.pending.contains_key(&id)
    }

    /// The block if its fate is open; none if that was told.
    fn waits(&self, id: [u8; 32]) -> Result<Option<&Pending>, LedgerError> {
        match self.pending.get(&id) {
            None if !self.blocks.0.contains(&id) => Err(LedgerError::NoBlock { id }),
            pending => Ok(pending),
        }
    }

    /// Who worked for a block that is found now, by key; never none.
    fn worked(&self, reach: Reach) -> Result<Vec<(WorkerKey, Work)>, LedgerError> {
        let weights = self.window.weights(reach);
        if weights.is_empty() {
            return Err(LedgerError::NobodyWorked);
        }
        Ok(weights.into_iter().collect())
    }

    /// A block ends the round that it is shared over.
    fn round_over(&self, reach: Reach) -> Vec<Slot> {
        if reach == Reach::Round { self.window.cleared() } else { Vec::new() }
    }

    /// Shares a reward: the pool's fee, rounded down, then each worker by its work.
    fn share(
        &self,
        reward: Msat,
        fee: Ppm,
        weights: &[(WorkerKey, Work)],
    ) -> Result<LedgerStep, LedgerError> {
        let mut step = self.step(None, None);
        let kept = fee.floor_of(reward);
        let shared = u128::from(reward.saturating_sub(kept).to_msat());
        let weights = weights.iter().map(|(worker, work)| (*worker, work.hashes()));
        for (worker, part) in split(shared, weights) {
            // A part is at most the reward.
            let part = u64::try_from(part).ok().and_then(|part| Msat::new(part).ok());
            let part = part.filter(|part| *part > Msat::ZERO);
            let Some(part) = part else { continue };
            // Whoever has earned it gets it, whatever the limit of accounts: see `excess_with`.
            let before = self.account_or_new(worker);
            let owed = before.owed.plus(Exact::from(part))?;
            step.changes.accounts.push(Change { worker, after: Some(Account { owed, ..before }) });
        }
        step.changes.totals = Some(Totals {
            credited: self.totals.credited.plus(Exact::from(reward))?,
            fee: self.totals.fee.plus(Exact::from(kept))?,
            ..self.totals
        });
        Ok(step)
    }
}
