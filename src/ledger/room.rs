//! Room for who comes to a ledger that is full: idle accounts are forgotten in the same step.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::step::Change;
use super::{Account, Input, Ledger, LedgerError, LedgerStep, WorkerKey};

/// 16 accounts at most leave for one that comes, so that a step stays small. More than one is too
/// many only after a block, or under a lower limit; the next ones that come find the rest.
const LEAVE_MAX: usize = 16;

impl Ledger {
    /// Decides as [`Self::decide`] does. In a ledger that is full, who comes takes the place of
    /// idle accounts that `may_go`: of those that lose least, all that are too many, within
    /// [`LEAVE_MAX`]. One has to leave, so the number never rises above the limit by this.
    ///
    /// # Errors
    /// As [`Self::decide`]; [`LedgerError::TooManyWorkers`] if nobody can leave. Nobody has then.
    pub(crate) fn decide_with_room(
        &self,
        input: &Input,
        may_go: impl Fn(WorkerKey) -> bool,
    ) -> Result<LedgerStep, LedgerError> {
        let excess = self.excess_with(input);
        if excess == 0 {
            return self.decide_in_room(input);
        }
        let leaving = self.least_idle(excess.min(LEAVE_MAX), may_go);
        if leaving.is_empty() {
            return Err(self.full());
        }
        let mut step = self.decide_in_room(input)?;
        if step.is_empty() {
            return Ok(step);
        }
        let mut totals = step.changes.totals.unwrap_or(self.totals);
        for account in leaving {
            totals = totals.without(account)?;
            step.changes.accounts.push(Change { worker: account.worker, after: None });
        }
        step.changes.totals = Some(totals);
        Ok(step)
    }

    /// How many accounts would be too many, if the input begins one; none if it does not.
    pub(super) fn excess_with(&self, input: &Input) -> usize {
        let worker = match input {
            Input::Credit { worker, .. }
            | Input::Log { worker, .. }
            | Input::Bind { worker, .. } => worker,
            // A block may begin many, and asks for no room: what it brings is owed to those who
            // worked for it, wherever their accounts are by now, and no full ledger keeps it from
            // being shared. So many it may be above the limit as its window has workers, each owed
            // money. All others are of an account that is there.
            Input::Block { .. }
            | Input::Found(_)
            | Input::Buried { .. }
            | Input::Lost { .. }
            | Input::Paid { .. }
            | Input::Shown { .. }
            | Input::Unbind { .. }
            | Input::Moved { .. }
            | Input::Forget { .. } => return 0,
        };
        let max = usize::try_from(self.limits.workers_max).unwrap_or(usize::MAX);
        let excess = self.accounts.len().saturating_add(1).saturating_sub(max);
        if excess == 0 || self.accounts.contains_key(worker) { 0 } else { excess }
    }

    pub(super) const fn full(&self) -> LedgerError {
        LedgerError::TooManyWorkers { max: self.limits.workers_max }
    }

    /// L6: the accounts that lose least if they are forgotten, never a whole millisatoshi.
    fn least_idle(&self, count: usize, may_go: impl Fn(WorkerKey) -> bool) -> Vec<&Account> {
        let idle = self.accounts.values().filter(|account| account.is_idle());
        let mut least = BTreeSet::new();
        for account in idle.filter(|account| may_go(account.worker)) {
            least.insert((account.owed.fraction(), account.worker));
            if least.len() > count {
                least.pop_last();
            }
        }
        least.iter().filter_map(|(_, worker)| self.accounts.get(worker)).collect()
    }
}
