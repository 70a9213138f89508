//! M9: what a session takes after its end, because the other side had not heard of it.
//!
//! ```text
//!   seller   reading --+     +--> pays it, states it
//!                       \ /
//!                        X        neither had heard of the other
//!                       / \
//!   buyer    end ------+   +---> still a claim: checked, counted, paid
//! ```
//!
//! The end's stamp takes the place of the last reading's in the record, and stays: an ended buyer
//! owes for time up to there. What later claims are held against is in `quiet_since`: at the end of
//! a buyer it moves up to where idle time is billed to.

use crate::units::{Quantity, Seconds, UtcSeconds};

use super::record::Account;
use super::{Input, MeterError, Record, Role, Session, State, Step};

impl Session {
    /// [`Session::decide`] after the end.
    pub(super) fn decide_after_end(
        &self,
        now: UtcSeconds,
        input: Input,
    ) -> Result<Step, MeterError> {
        let mut next = self.record;
        let account = &mut next.account;
        match (input, self.record.role) {
            (Input::Paid { total }, _) => {
                self.check_paid(total)?;
                account.paid = total;
            }
            (Input::Claim { .. }, Role::Seller) => {
                return Err(MeterError::WrongRole { input: input.name() });
            }
            (Input::Meter { total }, Role::Buyer { .. }) => account.measure(total)?,
            (Input::Claim { at, total, idle }, Role::Buyer { .. }) if self.record.has_begun() => {
                self.check_late(now, at)?;
                self.check_reading(at, total)?;
                self.check_tolerance(total)?;
                self.check_late_idle(at, idle)?;
                self.read(account, at, total, idle)?;
                account.quiet_since = self.idle_before(account);
                // Neither a later claim nor the seller's later end moves the own one.
                account.at = self.record.account.at;
            }
            (Input::Start { at, tariff }, Role::Buyer { .. }) if !self.record.has_begun() => {
                self.check_skew(now, at)?;
                if tariff != self.tariff.hash() {
                    return Err(MeterError::TariffUnknown { got: tariff });
                }
                account.start(at, &self.tariff)?;
                // A seller may have begun before it heard of the end, and after it: no stamp of
                // its own moves that, so that no idle time is billed beyond.
                account.at = self.record.account.at;
            }
            _ => {
                let state = self.record.state;
                return Err(MeterError::WrongState { state, input: input.name() });
            }
        }
        self.finish(now, next)
    }

    /// Idle time is billed up to here and the grace, at the end of a buyer.
    pub(super) fn idle_before(&self, account: &Account) -> UtcSeconds {
        let Role::Buyer { .. } = self.record.role else { return account.quiet_since };
        let before = account.at.to_u64().saturating_sub(self.tariff.idle_grace().to_u64());
        UtcSeconds::new(before).map_or(account.quiet_since, |at| at.max(account.quiet_since))
    }

    /// Not before what was delivered last, and not of the future: repeated however late, a claim is
    /// as good as when it was made.
    fn check_late(&self, now: UtcSeconds, at: UtcSeconds) -> Result<(), MeterError> {
        let last = self.record.account.quiet_since;
        if at < last {
            return Err(MeterError::TimeBackwards { got: at, last });
        }
        let allowed = self.skew();
        if at > now.saturating_after(allowed) {
            return Err(MeterError::SkewTooLarge { got: at, now, allowed });
        }
        Ok(())
    }

    /// Time goes on after the own end, and the seller may stamp it: idle time is taken up to the
    /// end and the skew of the two clocks, however late it is claimed.
    fn check_late_idle(&self, at: UtcSeconds, claimed: Seconds) -> Result<(), MeterError> {
        let Account { started, at: end, quiet_since, idle: least, .. } = self.record.account;
        let at = at.min(end.saturating_after(self.skew()));
        let free_to = quiet_since.saturating_after(self.tariff.idle_grace());
        let billed = at.saturating_since(free_to);
        let most = least.saturating_add(billed).min(at.saturating_since(started)).max(least);
        if claimed > most {
            return Err(MeterError::IdleImpossible { claimed, least, most });
        }
        Ok(())
    }
}

impl Record {
    /// Whether the seller's start was taken, before the end or after it.
    pub(crate) fn has_begun(&self) -> bool {
        let own = &self.account;
        let Account { started, at, measured, .. } = *own;
        *own != Account { started, at, measured, ..Account::none(own.tariff) }
    }

    /// Seller: the stamp of the last reading. The end has taken its place in the record, but what
    /// it delivered was stamped the same; idle seconds are no dearer at the end.
    pub(crate) fn read_at(&self) -> UtcSeconds {
        let Account { at, quiet_since, idle, .. } = self.account;
        if self.state == State::Ended && idle == Seconds::MIN { at.min(quiet_since) } else { at }
    }

    /// Whether a claim says no more than this record counts: it was taken before.
    pub(crate) fn covers(&self, total: Quantity, idle: Seconds) -> bool {
        total <= self.account.quantity && idle <= self.account.idle
    }
}
