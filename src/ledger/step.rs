//! What a decision changes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::block::Blocks;
use super::pending::Pending;
use super::window::Slot;
use super::{Account, LedgerError, Totals, WorkerKey};
use crate::store::{Batch, Durability, Store};

/// An account as it will be, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) worker: WorkerKey,
    pub(super) after: Option<Account>,
}

/// What becomes of a block that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PendingChange {
    None,
    /// It waits for the chain.
    New(Box<Pending>),
    /// The chain has decided.
    Over(Box<Pending>),
}

/// Everything that changes, and where it was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changes {
    /// How many steps had been applied.
    pub(super) at: u64,
    pub(super) accounts: Vec<Change>,
    /// Only if they change.
    pub(super) totals: Option<Totals>,
    /// Of the window, in their order.
    pub(super) slots: Vec<Slot>,
    /// Only if one was shared out, or lost.
    pub(super) blocks: Option<Blocks>,
    pub(super) pending: PendingChange,
}

/// What an input changes. L3: nothing of it is told or paid before it stands in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a step that is not staged and applied changes nothing"]
pub struct LedgerStep {
    pub(super) changes: Changes,
}

/// A step whose records stand in a batch: what [`Ledger::apply`](super::Ledger::apply) takes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what is staged is applied, or the ledger is older than the store"]
pub struct LedgerStaged {
    pub(super) changes: Changes,
}

impl LedgerStep {
    /// Whether nothing changes: what was told was known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        let Changes { at: _, accounts, totals, slots, blocks, pending } = &self.changes;
        let is_same = matches!(pending, PendingChange::None);
        accounts.is_empty() && slots.is_empty() && totals.is_none() && blocks.is_none() && is_same
    }

    /// How many records of a batch it takes at most.
    #[must_use]
    pub fn writes(&self) -> usize {
        let Changes { at: _, accounts, totals, slots, blocks, pending } = &self.changes;
        let pending = match pending {
            PendingChange::None => 0,
            PendingChange::New(pending) | PendingChange::Over(pending) => pending.writes(),
        };
        let single = usize::from(totals.is_some()).saturating_add(blocks.is_some().into());
        accounts.len().saturating_add(slots.len()).saturating_add(single).saturating_add(pending)
    }

    /// The accounts as they will be; those that are forgotten are not among them.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.changes.accounts.iter().filter_map(|change| change.after.as_ref())
    }

    /// Writes the records into the batch of a drain: one of each account and the totals, and of
    /// the window what changes, all in all at most half of what a batch holds.
    ///
    /// # Errors
    /// [`LedgerError::Store`] if the batch is full; it may hold a part of the step then, and must
    /// not be committed.
    pub fn stage(self, batch: &mut Batch) -> Result<LedgerStaged, LedgerError> {
        for Change { worker, after } in &self.changes.accounts {
            let key = Account::key(*worker)?;
            match after {
                Some(account) => batch.put(key, &account.encode()?)?,
                None => batch.delete(key)?,
            }
        }
        if let Some(totals) = &self.changes.totals {
            batch.put(Totals::key()?, &totals.encode()?)?;
        }
        self.changes.slots.iter().try_for_each(|slot| slot.stage(batch))?;
        if let Some(blocks) = &self.changes.blocks {
            batch.put(Blocks::key()?, &blocks.encode()?)?;
        }
        match &self.changes.pending {
            PendingChange::None => {}
            PendingChange::New(pending) => pending.stage(batch)?,
            PendingChange::Over(pending) => pending.unstage(batch)?,
        }
        Ok(LedgerStaged { changes: self.changes })
    }

    /// Makes the step durable in a commit of its own.
    ///
    /// # Errors
    /// [`LedgerError::Store`] as the store says; nothing may be done.
    pub fn commit(self, store: &mut dyn Store) -> Result<LedgerStaged, LedgerError> {
        let mut batch = Batch::default();
        let staged = self.stage(&mut batch)?;
        store.commit(&batch, Durability::Barrier)?;
        Ok(staged)
    }
}
