//! The ledger: what accepted work is worth, who is owed how much of it, and what was paid.
//!
//! ```text
//!   shares verified        Credit, folded           Account of each worker
//!   work x job's price --> one a worker and drain --> owed, exactly ----.
//!                                                                        pay_to: a cumulative
//!   the channel's voucher, in the same commit -----> paid <------------- amount, whole msat
//! ```
//!
//! A share is worth its work, which is that of the target that it was assigned, times the
//! [`HashPrice`] that its job was issued with. Both are integers, and so is [`Exact`], their
//! product in 2^-96 millisatoshis: a share of a device is worth far less than a millisatoshi, and
//! a floor of each would pay it nothing, for ever.
//!
//! The ledger talks to no channel: `node` brings it [`Credit`]s of what `shares` verified, asks an
//! [`Account`] for [`Account::pay_to`], lets the payer's machine sign that, and stages the payer's
//! record and [`Input::Paid`] into one batch. Without a channel what a worker earns is kept under
//! its key, until one is bound. The worker's own side is a [`WorkWindow`], which
//! says when to stop: the limit of what is unpaid is either's.
//!
//! A [`scheme`] says whether a share has a price or is paid by blocks. The latter are logged, and a
//! block's reward is shared over the log: at once ([`Input::Log`], [`Input::Block`]), or when the
//! chain has buried it, over the log of the moment when it was found ([`Input::Found`],
//! [`Input::Buried`], [`Input::Lost`]).
//!
//! # Rules
//!
//! * L1. Nothing is rounded but a derived price: owed is the sum of work x price, in any order.
//! * L2. A share is worth the price of its job at issue; what changes later changes later jobs.
//! * L3. A step stands in the batch before it is applied, and the batch is committed before a share
//!   is acknowledged or a voucher leaves.
//! * L4. What is signed is cumulative: what the channel had paid when it was bound, and all that is
//!   owed and was not paid by channels before. A crash, a repeat or a reconnect computes the same
//!   amount again; nothing is ever "paid once more". A channel is bound to an account only after
//!   the last word of the one before.
//! * L5. What was credited is what accounts were paid and are owed, with parts of a millisatoshi,
//!   and the pool's fee: exactly, at any moment ([`Ledger::holds_together`]).
//! * L6. The number of accounts is bounded, and none is forgotten that money stands in: at most a
//!   part of a millisatoshi falls to the pool with it. Only a block goes above the limit, for whom
//!   it pays.
//!
//! * L7. A block is shared whole, once, over work that is counted once in it: the parts add up to
//!   the reward, and the weights to the reach. One that the chain drops before is not shared.
//!
//! | rule | kept in |
//! | --- | --- |
//! | L1, L2 | [`Exact::of`], [`Exact::plus`]; [`HashPrice`] is of a job |
//! | L3 | [`LedgerStep::stage`] comes before [`Ledger::apply`] |
//! | L4 | [`Account::pay_to`]; `Ledger::paid`, `Ledger::bind` |
//! | L5 | `Totals::holds`, asked when it is loaded |
//! | L6 | `Ledger::excess_with`, [`Account::is_idle`] |
//! | L7 | `scheme::split`, `Window::weights`, the `Blocks` that were decided last, `Pending` |
//!
//! What a device can check of all this by itself is a [`receipt`] of its shares.
//!
//! # What a power cut does
//!
//! Credits, the payer's record and [`Input::Paid`] are one commit, so all are there or none. A
//! commit that was lazy may be lost after its voucher left: then the worker shows it
//! ([`Input::Shown`]), it counts as paid, and the account is ahead until new work has caught up.
//! So nothing is paid twice; and what was credited with a barrier is paid in the end.
//!
//! Rank 2. Used by `node` and by `sim`; imports `keys` (to check a signature), `merkle`, `store`,
//! `wire` (its reader), `units`.
//!
//! ```
//! use bitcoin::OutPoint;
//! use millstream::ledger::{Credit, HashPrice, Input, Ledger, Limits, WorkerKey};
//! use millstream::store::{Batch, Durability, MemoryStore, Store};
//! use millstream::units::{Msat, Ppm, Work};
//!
//! let mut store = MemoryStore::default();
//! let limits = Limits { unpaid_max: Msat::new(1_000_000)?, workers_max: 1_000 };
//! let mut ledger = Ledger::load(limits, &store)?;
//!
//! // The price goes out with a job: reward, fee of 1 %, work of the network.
//! let (reward, network) = (Msat::new(313_000_000_000)?, Work::new(144_000_000_000_000 << 32));
//! let price = HashPrice::pps(reward, Ppm::new(10_000)?, network)?;
//!
//! // Shares come back, and are settled in one drain.
//! let (worker, channel) = (WorkerKey::new([7; 32]), OutPoint::null());
//! let credit = Credit::priced(Work::new(1 << 52), price)?;
//! let inputs = [
//!     Input::Credit { worker, credit },
//!     Input::Bind { worker, channel, paid: Msat::ZERO },
//! ];
//! let mut batch = Batch::default();
//! for input in &inputs {
//!     let staged = ledger.decide(input)?.stage(&mut batch)?;
//!     ledger.apply(&staged)?;
//! }
//! let (_, paid) = ledger.account(worker).and_then(|account| account.pay_to()).ok_or("bound")?;
//! // Here the payer's machine signs a voucher of `paid`; its record goes into the same batch.
//! let staged = ledger.decide(&Input::Paid { worker, channel, paid })?.stage(&mut batch)?;
//! ledger.apply(&staged)?;
//! store.commit(&batch, Durability::Barrier)?;
//!
//! assert_eq!(ledger.due(worker), Msat::ZERO);
//! assert_eq!(Ledger::load(limits, &store)?.account(worker), ledger.account(worker));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod account;
mod block;
mod decide;
mod error;
mod exact;
mod own;
mod pending;
pub mod receipt;
mod room;
pub mod scheme;
mod step;
mod totals;
mod wide;
mod window;

use alloc::collections::BTreeMap;

pub use account::{Account, Credit, WorkerKey};
pub use decide::Input;
pub use error::LedgerError;
pub use exact::{Exact, HashPrice};
pub use own::WorkWindow;
pub use step::{LedgerStaged, LedgerStep};
pub use totals::Totals;

use crate::store::Store;
use crate::units::{Msat, Overflow, Work};
use block::Blocks;
use pending::{Pending, each};
use scheme::{FoundBlock, Reach};
use step::PendingChange;
use window::{Slot, Window};

/// The store's room byte of the ledger's records.
const ROOM: u8 = 0x06;

/// What the ledger risks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A worker that is owed as much is credited no more until it is paid, or has a channel.
    pub unpaid_max: Msat,
    /// How many accounts there are at most: 1 ..= [`Self::WORKERS_MAX`].
    pub workers_max: u32,
}

impl Limits {
    /// 32,768: a block that pays each of them is one commit, of half a batch.
    pub const WORKERS_MAX: u32 = 32_768;
}

/// No limit of what is owed, and as many workers as there can be.
impl Default for Limits {
    fn default() -> Self {
        Self { unpaid_max: Msat::MAX, workers_max: Self::WORKERS_MAX }
    }
}

/// The accounts of all workers.
///
/// One decision costs the look-up of an account and two records; a drain needs one a worker.
#[derive(Debug, Clone)]
pub struct Ledger {
    limits: Limits,
    accounts: BTreeMap<WorkerKey, Account>,
    totals: Totals,
    window: Window,
    blocks: Blocks,
    /// Found, and not buried.
    pending: BTreeMap<[u8; 32], Pending>,
    /// Steps applied since it was loaded.
    applied: u64,
}

/// Without accounts, within [`Limits::default`].
impl Default for Ledger {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            accounts: BTreeMap::new(),
            totals: Totals::NONE,
            window: Window::new(Window::ENTRIES_MAX),
            blocks: Blocks::default(),
            pending: BTreeMap::new(),
            applied: 0,
        }
    }
}

impl Ledger {
    /// The prefix of every record, for a scan.
    pub const PREFIX: [u8; 1] = [ROOM];

    /// A ledger without accounts.
    ///
    /// # Errors
    /// [`LedgerError::Limits`].
    pub fn new(limits: Limits) -> Result<Self, LedgerError> {
        let (got, max) = (limits.workers_max, Limits::WORKERS_MAX);
        if got == 0 || got > max {
            return Err(LedgerError::Limits { got, max });
        }
        Ok(Self { limits, ..Self::default() })
    }

    /// The ledger as it was committed, after a restart.
    ///
    /// # Errors
    /// [`LedgerError::Store`], [`LedgerError::BrokenRecord`], [`LedgerError::Unbalanced`] if a
    /// record is missing or of another time; [`LedgerError::Limits`].
    pub fn load(limits: Limits, store: &dyn Store) -> Result<Self, LedgerError> {
        let mut ledger = Self::new(limits)?;
        if let Some(bytes) = store.get(&Totals::key()?)? {
            ledger.totals = Totals::decode(&Totals::key()?, &bytes)?;
        }
        if let Some(bytes) = store.get(&Blocks::key()?)? {
            ledger.blocks = Blocks::decode(&bytes)?;
        }
        each(store, &Account::PREFIX, &mut |key, bytes| {
            let account = Account::decode(key, bytes)?;
            ledger.accounts.insert(account.worker, account);
            Ok(())
        })?;
        each(store, &Slot::PREFIX, &mut |key, bytes| {
            ledger.window.apply(&[Slot::decode(key, bytes)?]);
            Ok(())
        })?;
        ledger.pending = Pending::load(store)?;
        ledger.holds_together()?;
        Ok(ledger)
    }

    /// Takes what a step staged. The only mutation.
    ///
    /// # Errors
    /// [`LedgerError::OldStep`] if another step was applied after this one was decided; nothing
    /// changes.
    pub fn apply(&mut self, staged: &LedgerStaged) -> Result<(), LedgerError> {
        let changes = &staged.changes;
        if changes.at != self.applied {
            return Err(LedgerError::OldStep { got: changes.at, want: self.applied });
        }
        self.window.apply(&changes.slots);
        for change in &changes.accounts {
            match change.after {
                Some(account) => self.accounts.insert(change.worker, account),
                None => self.accounts.remove(&change.worker),
            };
        }
        if let Some(totals) = changes.totals {
            self.totals = totals;
        }
        if let Some(blocks) = &changes.blocks {
            self.blocks = blocks.clone();
        }
        match &changes.pending {
            PendingChange::None => {}
            PendingChange::New(pending) => {
                self.pending.insert(pending.block.id, Pending::clone(pending));
            }
            PendingChange::Over(pending) => {
                self.pending.remove(&pending.block.id);
            }
        }
        // A step a nanosecond takes centuries to get there.
        self.applied = self.applied.wrapping_add(1);
        Ok(())
    }

    /// What it risks.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// A worker's account.
    #[must_use]
    pub fn account(&self, worker: WorkerKey) -> Option<&Account> {
        self.accounts.get(&worker)
    }

    /// All accounts, by key.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// What is to be paid to a worker; nothing to whom has no account.
    #[must_use]
    pub fn due(&self, worker: WorkerKey) -> Msat {
        self.accounts.get(&worker).map_or(Msat::ZERO, Account::due)
    }

    /// The accounts that [`Input::Forget`] would close, by key.
    pub fn idle(&self) -> impl Iterator<Item = WorkerKey> {
        self.accounts.values().filter(|account| account.is_idle()).map(Account::worker)
    }

    /// What was ever credited, and what of it is in no account.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How much each worker counts in a block that is found now.
    #[must_use]
    pub fn weights(&self, reach: Reach) -> BTreeMap<WorkerKey, Work> {
        self.window.weights(reach)
    }

    /// The blocks that were found and on which the chain has not decided, by id.
    pub fn pending(&self) -> impl Iterator<Item = &FoundBlock> {
        self.pending.values().map(|pending| &pending.block)
    }

    /// L5: what all accounts have earned, with the pool's fee and what forgotten accounts were
    /// paid, is exactly what was credited.
    ///
    /// # Errors
    /// [`LedgerError::Unbalanced`], [`LedgerError::BrokenRecord`].
    pub fn holds_together(&self) -> Result<(), LedgerError> {
        let accounts_hold = self.accounts.values().all(Account::holds_together);
        let blocks_hold = self.pending.values().all(Pending::holds_together);
        if !accounts_hold || !blocks_hold || !self.window.holds_together() {
            return Err(LedgerError::BrokenRecord { at: 0 });
        }
        let owed = self.sum()?;
        if self.totals.holds(owed)? { Ok(()) } else { Err(LedgerError::Unbalanced) }
    }

    fn sum(&self) -> Result<Exact, Overflow> {
        self.accounts.values().try_fold(Exact::ZERO, |sum, account| sum.plus(account.owed))
    }
}

#[cfg(test)]
mod tests;
