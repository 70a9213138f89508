//! What the ledger makes of what it is told.

use alloc::vec::Vec;

use bitcoin::OutPoint;

use super::account::Bound;
use super::scheme::{FoundBlock, Reach};
use super::step::{Change, Changes, PendingChange};
use super::{Account, Credit, Ledger, LedgerError, LedgerStep, Totals, WorkerKey};
use crate::units::{Msat, Overflow, Ppm};

/// What shares, channels and the operator bring to the ledger.
///
/// L3 by input: what must be durable, behind a barrier, before what leaves.
///
/// | input | in one commit with | before |
/// | --- | --- | --- |
/// | `Credit`, `Log` | nothing | the share is acknowledged to the worker |
/// | `Block`, `Found`, `Buried`, `Lost` | nothing | anybody is told of it, and a voucher that pays it |
/// | `Bind`, `Unbind`, `Moved` | the record that says which channel pays | a voucher of the channel |
/// | `Paid` | the payer's record of the voucher | the voucher |
/// | `Shown` | the payer's record that took the voucher up | the next voucher |
/// | `Forget` | nothing | the account's last word is told |
///
/// A lazy commit keeps the order, and not the time: with one a power cut may take back what was
/// told. For `Paid` that is made good by `Shown`, for all others by nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// Verified shares of a worker, as many as a drain has.
    Credit {
        /// Who did the work.
        worker: WorkerKey,
        /// What it is worth.
        credit: Credit,
    },
    /// Verified shares of a worker that blocks will pay: credits without a price.
    Log {
        /// Who did the work.
        worker: WorkerKey,
        /// How much it is.
        credit: Credit,
        /// What a block that is found now is shared over.
        reach: Reach,
    },
    /// A block was found; what it brings is owed from now on, whether or not the chain keeps it.
    /// Told later, it is shared over the work of then. Again: nothing.
    Block {
        /// Its hash.
        id: [u8; 32],
        /// Subsidy and fees.
        reward: Msat,
        /// What the pool keeps of it.
        fee: Ppm,
        /// What it is shared over.
        reach: Reach,
    },
    /// A block was found that is to be buried before it is shared: over the work of now, which is
    /// kept for it. Again, or once its fate is known: nothing.
    Found(FoundBlock),
    /// A block that was found lies deep enough: what it brings is owed from now on. Again: nothing.
    Buried {
        /// Its hash.
        id: [u8; 32],
    },
    /// The chain has dropped a block that was found: it brings nothing. The work of its round
    /// counts in the next one. Again: nothing.
    Lost {
        /// Its hash.
        id: [u8; 32],
    },
    /// From now on this channel pays the worker. Again for the same channel: nothing. The account
    /// begins with it if there is none.
    Bind {
        /// Who is paid.
        worker: WorkerKey,
        /// By which channel.
        channel: OutPoint,
        /// What the channel has paid so far, for anything else.
        paid: Msat,
    },
    /// A voucher of the bound channel was signed: its record is in the same batch. Again, or older:
    /// nothing.
    Paid {
        /// Who is paid.
        worker: WorkerKey,
        /// By which channel.
        channel: OutPoint,
        /// The voucher's cumulative amount.
        paid: Msat,
    },
    /// The worker shows a newer voucher of ours than the records know: a power cut took them. It
    /// is paid, even if the credits that it paid are gone too; later ones work it off.
    Shown {
        /// Who was paid.
        worker: WorkerKey,
        /// By which channel.
        channel: OutPoint,
        /// The voucher's cumulative amount.
        paid: Msat,
    },
    /// The bound channel pays the worker no more: it ends, or is used for something else.
    Unbind {
        /// Who was paid.
        worker: WorkerKey,
        /// By which channel.
        channel: OutPoint,
        /// The channel's last cumulative amount.
        paid: Msat,
    },
    /// The bound channel goes on at another outpoint, went back to one, or is spent and has ended:
    /// what was paid is told anew, as the chain shows it. It may be less than was signed, where an
    /// older voucher was settled: then the rest is due again.
    Moved {
        /// Who is paid.
        worker: WorkerKey,
        /// What was paid before it came to `channel`.
        before: Msat,
        /// By which channel it is paid now; none where it has ended.
        channel: Option<OutPoint>,
        /// What the channel had paid when the account came to it; zero without one.
        base: Msat,
        /// What the channel has paid by now; zero without one.
        paid: Msat,
    },
    /// The account is closed. What it has of a millisatoshi falls to the pool.
    Forget {
        /// Whose account.
        worker: WorkerKey,
    },
}

impl Ledger {
    /// Decides on an input; nothing changes before the step is staged and applied.
    ///
    /// # Errors
    /// [`LedgerError::UnpaidLimit`], [`LedgerError::TooManyWorkers`] for work that must not be
    /// accepted; the others for a driver that is confused.
    pub fn decide(&self, input: &Input) -> Result<LedgerStep, LedgerError> {
        if self.excess_with(input) > 0 {
            return Err(self.full());
        }
        self.decide_in_room(input)
    }

    /// The same, however many accounts there are.
    pub(super) fn decide_in_room(&self, input: &Input) -> Result<LedgerStep, LedgerError> {
        match *input {
            Input::Credit { worker, credit } => self.credit(worker, &credit),
            Input::Log { worker, credit, reach } => self.log(worker, &credit, reach),
            Input::Block { id, reward, fee, reach } => self.block(id, reward, fee, reach),
            Input::Found(block) => self.found(&block),
            Input::Buried { id } => self.buried(id),
            Input::Lost { id } => self.lost(id),
            Input::Bind { worker, channel, paid } => self.bind(worker, channel, paid),
            Input::Paid { worker, channel, paid } => {
                let step = self.paid(worker, channel, paid)?;
                // L4: not above what is owed; nobody has seen this voucher yet.
                let was = self.accounts.get(&worker).map_or(Msat::ZERO, Account::ahead);
                let above = step.accounts().find(|after| after.ahead() > was);
                above.map_or(Ok(()), |after| {
                    Err(LedgerError::AboveOwed { worker, by: after.ahead() })
                })?;
                Ok(step)
            }
            Input::Shown { worker, channel, paid } => self.paid(worker, channel, paid),
            Input::Unbind { worker, channel, paid } => self.unbind(worker, channel, paid),
            Input::Moved { worker, before, channel, base, paid } => {
                let bound = channel.map(|channel| Bound { channel, base, paid });
                self.moved(worker, before, bound)
            }
            Input::Forget { worker } => self.forget(worker),
        }
    }

    fn credit(&self, worker: WorkerKey, credit: &Credit) -> Result<LedgerStep, LedgerError> {
        let before = self.account_or_new(worker);
        let (due, max) = (before.due(), self.limits.unpaid_max);
        // What was verified is taken whole, so that the last credit may go above the limit.
        if due >= max {
            return Err(LedgerError::UnpaidLimit { worker, due, max });
        }
        if *credit == Credit::NONE {
            return Ok(self.step(None, None));
        }
        let after = before.with(credit)?;
        let credited = self.totals.credited.plus(credit.value())?;
        Ok(self.step(Some((worker, Some(after))), Some(Totals { credited, ..self.totals })))
    }

    fn bind(
        &self,
        worker: WorkerKey,
        channel: OutPoint,
        paid: Msat,
    ) -> Result<LedgerStep, LedgerError> {
        let before = self.account_or_new(worker);
        match before.bound {
            Some(Bound { channel: bound, .. }) if bound == channel => Ok(self.step(None, None)),
            // L4: what the other one paid last must be told first.
            Some(Bound { channel: bound, .. }) => {
                Err(LedgerError::OtherChannel { worker, got: channel, bound })
            }
            None => {
                let bound = Some(Bound { channel, base: paid, paid });
                Ok(self.step(Some((worker, Some(Account { bound, ..before }))), None))
            }
        }
    }

    fn paid(
        &self,
        worker: WorkerKey,
        channel: OutPoint,
        paid: Msat,
    ) -> Result<LedgerStep, LedgerError> {
        let (before, bound) = self.bound(worker, channel)?;
        if paid <= bound.paid {
            return Ok(self.step(None, None));
        }
        let after = Account { bound: Some(Bound { paid, ..bound }), ..*before };
        if !after.holds_together() {
            return Err(LedgerError::AboveOwed { worker, by: paid.saturating_sub(bound.paid) });
        }
        Ok(self.step(Some((worker, Some(after))), None))
    }

    fn unbind(
        &self,
        worker: WorkerKey,
        channel: OutPoint,
        paid: Msat,
    ) -> Result<LedgerStep, LedgerError> {
        let (account, bound) = self.bound(worker, channel)?;
        let paid = paid.max(bound.paid);
        let here = paid.sub(bound.base)?;
        let after = Account { before: account.before.add(here)?, bound: None, ..*account };
        Ok(self.step(Some((worker, Some(after))), None))
    }

    fn moved(
        &self,
        worker: WorkerKey,
        before: Msat,
        bound: Option<Bound>,
    ) -> Result<LedgerStep, LedgerError> {
        let account = self.accounts.get(&worker).ok_or(LedgerError::NoWorker { worker })?;
        let after = Account { before, bound, ..*account };
        if !after.holds_together() {
            return Err(Overflow { unit: "paid" }.into());
        }
        Ok(self.step(Some((worker, Some(after))), None))
    }

    fn forget(&self, worker: WorkerKey) -> Result<LedgerStep, LedgerError> {
        let account = self.accounts.get(&worker).ok_or(LedgerError::NoWorker { worker })?;
        if !account.is_idle() {
            let (due, ahead) = (account.due(), account.ahead());
            return Err(LedgerError::NotIdle { worker, due, ahead });
        }
        Ok(self.step(Some((worker, None)), Some(self.totals.without(account)?)))
    }

    pub(super) fn account_or_new(&self, worker: WorkerKey) -> Account {
        self.accounts.get(&worker).copied().unwrap_or(Account::new(worker))
    }

    /// The account, if this channel is bound to it.
    fn bound(
        &self,
        worker: WorkerKey,
        channel: OutPoint,
    ) -> Result<(&Account, Bound), LedgerError> {
        let account = self.accounts.get(&worker).ok_or(LedgerError::NoWorker { worker })?;
        let bound = account.bound.ok_or(LedgerError::NotBound { worker })?;
        if bound.channel != channel {
            let bound = bound.channel;
            return Err(LedgerError::OtherChannel { worker, got: channel, bound });
        }
        Ok((account, bound))
    }

    pub(super) fn step(
        &self,
        change: Option<(WorkerKey, Option<Account>)>,
        totals: Option<Totals>,
    ) -> LedgerStep {
        let accounts: Vec<_> =
            change.into_iter().map(|(worker, after)| Change { worker, after }).collect();
        let (slots, blocks, pending) = (Vec::new(), None, PendingChange::None);
        LedgerStep {
            changes: Changes { at: self.applied, accounts, totals, slots, blocks, pending },
        }
    }
}
