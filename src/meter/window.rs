//! The mutual-risk window: what is owed, what may be delivered, what should be signed now.

use crate::units::{Msat, Quantity, UtcSeconds};

use super::tariff::segment::Exact;
use super::{MeterError, Role, Session, State};

impl Session {
    /// What is owed, cumulative.
    #[must_use]
    pub fn owed(&self) -> Msat {
        self.record.owed()
    }

    /// What is owed and not paid: the seller's risk.
    #[must_use]
    pub fn debt(&self) -> Msat {
        self.record.debt()
    }

    /// What is paid and not owed: the buyer's risk.
    #[must_use]
    pub fn ahead(&self) -> Msat {
        self.record.paid().saturating_sub(self.owed())
    }

    /// What would be owed, cumulative, once `step` more was delivered and stamped `at`.
    ///
    /// # Errors
    /// [`MeterError::Overflow`] if it is above all money.
    pub fn owed_after(&self, at: UtcSeconds, step: Quantity) -> Result<Msat, MeterError> {
        let account = &self.record.account;
        let cost = self.tariff.cost(at, account.quantity, step)?;
        let sum = Exact { msat: account.accrued, rest: account.rest };
        let sum = sum.plus(cost, self.tariff.scale())?;
        Ok(sum.msat.max(account.min_cost))
    }

    /// Whether `step` more, stamped `at`, leaves the debt within the credit: for a seller that must
    /// not go over it even by one tick.
    ///
    /// # Errors
    /// [`MeterError::Overflow`] if the step costs more than all money.
    pub fn may_deliver(&self, at: UtcSeconds, step: Quantity) -> Result<bool, MeterError> {
        let debt = self.owed_after(at, step)?.saturating_sub(self.record.paid());
        Ok(self.record.state == State::Active && debt <= self.record.window.credit)
    }

    /// The cumulative amount up to which the buyer should sign now: what is owed and the
    /// prepayment, within the budget; after the end what is owed. Never below what was paid.
    ///
    /// On the seller's side it is what the seller may expect, its peer's budget aside.
    #[must_use]
    pub fn pay_to(&self) -> Msat {
        let ahead = match self.record.state {
            State::Offered | State::Ended => Msat::ZERO,
            State::Active | State::Paused => self.record.window.prepay,
        };
        let due = self.owed().saturating_add(ahead);
        // M5: the budget also bounds what is paid ahead.
        let within = match self.record.role {
            Role::Seller => due,
            Role::Buyer { budget, .. } => due.min(budget),
        };
        within.max(self.record.paid())
    }
}
