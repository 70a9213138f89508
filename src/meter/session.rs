//! The machine: one metered session, the same on both sides.

use crate::units::{Msat, Overflow, Ppm, Quantity, Seconds, SessionId, UtcSeconds};

use super::record::Account;
use super::tariff::segment::Exact;
use super::tariff::{Tariff, TariffHash};
use super::tick::Pace;
use super::{MeterError, Record, Role, State, Window};

/// What a session is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// Service begins at the seller's stamp `at`, under the tariff with this hash.
    Start {
        /// The seller's stamp.
        at: UtcSeconds,
        /// The tariff on which was agreed.
        tariff: TariffHash,
    },
    /// The own meter's total since the start. The seller's is stamped `now` and priced; the
    /// buyer's is what claims are compared with.
    Meter {
        /// Total since the start.
        total: Quantity,
    },
    /// The seller's reading, as it reached the buyer.
    Claim {
        /// The seller's stamp.
        at: UtcSeconds,
        /// The seller's total since the start.
        total: Quantity,
        /// Idle seconds since the start that the seller bills.
        idle: Seconds,
    },
    /// The cumulative payment for this session: on the buyer's side what it has signed (told when
    /// it signs, so that it never lags behind the seller's), on the seller's side what is durable
    /// there.
    ///
    /// A buyer that restarts from an older record has paid more than that record owes: it is told
    /// the smaller of what was paid and [`Session::pay_to`], and the rest after the next claim.
    /// What it signed before the claim that it pays it is told at that claim's stamp, in place of
    /// the own clock: it does not know when the seller had it (M3).
    Paid {
        /// Cumulative, msat.
        total: Msat,
    },
    /// From the stamp on another tariff counts, which [`Session::accept_tariff`] was told before.
    Change {
        /// The seller's stamp.
        at: UtcSeconds,
        /// The new tariff.
        tariff: TariffHash,
    },
    /// Service ends. What was not read before is not billed.
    End {
        /// The stamp of whoever ends it.
        at: UtcSeconds,
    },
}

impl Input {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Meter { .. } => "meter",
            Self::Claim { .. } => "claim",
            Self::Paid { .. } => "paid",
            Self::Change { .. } => "change",
            Self::End { .. } => "end",
        }
    }
}

/// What an input leads to: nothing has changed before [`Session::apply`].
#[must_use = "a step that is not applied did not happen"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The session after it.
    pub record: Record,
    /// The state entered, if it is another one: switch the service accordingly.
    pub entered: Option<State>,
}

/// One side of one metered session.
///
/// ```
/// use millstream::meter::tariff::{Measure, Tariff};
/// use millstream::meter::{Input, Role, Session, State, Window};
/// use millstream::units::{Msat, Price, Quantity, SessionId, UtcSeconds};
///
/// let price = Price::new(Msat::new(450_000)?, 3_600_000)?;
/// let tariff = Tariff::flat(Measure::WattSecond, price)?;
/// let window = Window { credit: Msat::new(2_000)?, prepay: Msat::ZERO };
/// let mut seller = Session::offer(SessionId::new(7)?, Role::Seller, window, tariff);
///
/// let now = UtcSeconds::new(1_700_000_000)?;
/// let start = Input::Start { at: now, tariff: seller.tariff().hash() };
/// seller.apply(&seller.decide(now, start)?.record)?;
/// assert_eq!(seller.tick(now, now, Quantity::new(16_000)?)?, State::Active);
/// assert_eq!(seller.owed(), Msat::new(2_000)?);
/// assert_eq!(seller.tick(now, now, Quantity::new(8)?)?, State::Paused);
/// seller.apply(&seller.decide(now, Input::Paid { total: seller.owed() })?.record)?;
/// assert_eq!(seller.record().state(), State::Active);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub(super) record: Record,
    pub(super) tariff: Tariff,
    /// A tariff that the buyer agreed to and that does not count yet. A document, not state: it is
    /// not stored, and after a restart the buyer is asked again.
    accepted: Option<Tariff>,
    /// The price that counts just now; a shortcut that `tick` fills and `apply` empties.
    pub(super) pace: Option<Pace>,
}

impl Session {
    /// A session that was agreed on and has not begun.
    #[must_use]
    pub fn offer(id: SessionId, role: Role, window: Window, tariff: Tariff) -> Self {
        let account = Account::none(tariff.hash());
        let record = Record { id, role, window, state: State::Offered, account };
        Self { record, tariff, accepted: None, pace: None }
    }

    /// A stored session with the tariff that counts in it.
    ///
    /// # Errors
    /// [`MeterError::TariffUnknown`] if it is another tariff; [`MeterError::Misfit`] if the record
    /// contradicts itself.
    pub fn restore(record: &Record, tariff: Tariff) -> Result<Self, MeterError> {
        if record.account.tariff != tariff.hash() {
            return Err(MeterError::TariffUnknown { got: record.account.tariff });
        }
        let session = Self { record: *record, tariff, accepted: None, pace: None };
        session.check_invariants()?;
        Ok(session)
    }

    /// Remembers a tariff to which a later [`Input::Change`] may switch, in place of one told
    /// before. The seller says so of a tariff that it announced and the buyer accepted.
    ///
    /// # Errors
    /// [`MeterError::MeasureChanged`] if it counts something else.
    pub fn accept_tariff(&mut self, tariff: Tariff) -> Result<(), MeterError> {
        let (got, want) = (tariff.measure(), self.tariff.measure());
        if got != want {
            return Err(MeterError::MeasureChanged { got, want });
        }
        self.accepted = Some(tariff);
        Ok(())
    }

    /// Takes over a decided or stored record; the only change of state beside [`Self::tick`].
    ///
    /// # Errors
    /// [`MeterError::Misfit`] for a record of another session, [`MeterError::TariffUnknown`] for
    /// one under a tariff that this session was not told; neither happens to a decided record.
    pub fn apply(&mut self, record: &Record) -> Result<(), MeterError> {
        let own = &self.record;
        if (record.id, record.role, record.window) != (own.id, own.role, own.window) {
            return Err(MeterError::Misfit { field: "session" });
        }
        let hash = record.account.tariff;
        if hash != self.tariff.hash() {
            let accepted = self.accepted.take_if(|tariff| tariff.hash() == hash);
            self.tariff = accepted.ok_or(MeterError::TariffUnknown { got: hash })?;
        }
        self.record = *record;
        self.pace = None;
        debug_assert_eq!(self.check_invariants(), Ok(()));
        Ok(())
    }

    /// Says what `input` leads to, and changes nothing.
    ///
    /// `now`: the own clock.
    ///
    /// | | Start | Meter | Claim | Paid | Change | End |
    /// | --- | --- | --- | --- | --- | --- | --- |
    /// | Offered | Active, Paused | - | - | - | - | Ended |
    /// | Active | - | Active, Paused | Active, Paused | same | Active, Paused | Ended |
    /// | Paused | - | buyer: same | - | Paused, Active | Paused | Ended |
    /// | Ended | - | buyer: same | buyer: same | same | - | - |
    ///
    /// The seller takes no Claim. A refused input (-) is an error and has no effect. What a buyer
    /// takes after the end is M9; there too belongs a Start that comes after an end before it.
    ///
    /// # Errors
    /// [`MeterError`] names the rule that the input breaks.
    pub fn decide(&self, now: UtcSeconds, input: Input) -> Result<Step, MeterError> {
        if self.record.state == State::Ended {
            return self.decide_after_end(now, input);
        }
        let mut next = self.record;
        let account = &mut next.account;
        match (input, self.record.state, self.record.role) {
            (Input::Claim { .. }, _, Role::Seller) => {
                return Err(MeterError::WrongRole { input: input.name() });
            }
            (Input::Start { at, tariff: hash }, State::Offered, _) => {
                self.check_stamp(now, at)?;
                if hash != self.tariff.hash() {
                    return Err(MeterError::TariffUnknown { got: hash });
                }
                account.start(at, &self.tariff)?;
            }
            (Input::Meter { total }, State::Active, Role::Seller) => {
                self.check_stamp(now, now)?;
                self.check_reading(now, total)?;
                let delivers = total > account.quantity;
                let idle = if delivers { account.idle } else { self.idle_most(now) };
                self.read(account, now, total, idle)?;
            }
            (Input::Meter { total }, State::Active | State::Paused, Role::Buyer { .. }) => {
                account.measure(total)?;
            }
            (Input::Claim { at, total, idle }, State::Active, Role::Buyer { .. }) => {
                self.check_stamp(now, at)?;
                self.check_reading(at, total)?;
                self.check_tolerance(total)?;
                self.check_idle(at, idle)?;
                self.read(account, at, total, idle)?;
            }
            (Input::Meter { .. } | Input::Claim { .. }, State::Paused, _) => {
                let (debt, credit) = (self.debt(), self.record.window.credit);
                return Err(MeterError::ServicePaused { debt, credit });
            }
            (Input::Paid { total }, State::Active | State::Paused, _) => {
                self.check_paid(total)?;
                account.paid = total;
            }
            (Input::Change { at, tariff: hash }, State::Active | State::Paused, _) => {
                self.check_stamp(now, at)?;
                account.change(at, self.known(hash)?)?;
            }
            (Input::End { at }, State::Offered | State::Active | State::Paused, _) => {
                self.check_stamp(now, at)?;
                if self.record.state == State::Offered {
                    account.started = at;
                } else {
                    account.quiet_since = self.idle_before(account);
                }
                account.at = at;
                next.state = State::Ended;
            }
            (_, state, _) => return Err(MeterError::WrongState { state, input: input.name() }),
        }
        self.finish(now, next)
    }

    /// The tariff that counts.
    pub const fn tariff(&self) -> &Tariff {
        &self.tariff
    }

    /// The session's whole state.
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// The last reading as the buyer takes it; `None` while nothing can be claimed. It covers all
    /// readings since the last price border, so that only the newest has to arrive (M7).
    #[must_use]
    pub const fn claim(&self) -> Option<Input> {
        match self.record.state {
            State::Offered | State::Ended => None,
            State::Active | State::Paused => {
                let Account { at, quantity, idle, .. } = self.record.account;
                Some(Input::Claim { at, total: quantity, idle })
            }
        }
    }

    /// Checks what must hold after every step; for restored records, simulation and fuzzing.
    ///
    /// # Errors
    /// [`MeterError::Misfit`] with the first field that contradicts the others.
    pub fn check_invariants(&self) -> Result<(), MeterError> {
        self.record.check()?;
        if self.record.account.rest >= self.tariff.scale() {
            return Err(MeterError::Misfit { field: "rest" });
        }
        if self.record.account.tariff != self.tariff.hash() {
            return Err(MeterError::Misfit { field: "tariff" });
        }
        Ok(())
    }

    /// Settles the state that follows from the account, and the buyer's budget.
    pub(super) fn finish(&self, now: UtcSeconds, mut next: Record) -> Result<Step, MeterError> {
        let before = self.record.state;
        let owed = next.owed();
        if let Role::Buyer { budget, .. } = next.role
            && owed > budget
        {
            // M5: a session that would cost more than its budget ends here.
            return Err(MeterError::BudgetExceeded { amount: owed, budget });
        }
        if next.state != State::Ended {
            next.state = next.serving();
        }
        if before == State::Paused && next.state == State::Active {
            next.account.quiet_since = self.resumed_at(now);
        }
        let entered = (next.state != before).then_some(next.state);
        Ok(Step { record: next, entered })
    }

    /// M3: idle time begins anew after a pause. The buyer may see the resumption later than the
    /// seller by their clocks, so it allows for the skew.
    fn resumed_at(&self, now: UtcSeconds) -> UtcSeconds {
        let early = now.to_u64().saturating_sub(self.skew().to_u64());
        let resumed = UtcSeconds::new(early).unwrap_or(now);
        resumed.max(self.record.account.quiet_since)
    }

    pub(super) fn read(
        &self,
        account: &mut Account,
        at: UtcSeconds,
        total: Quantity,
        idle: Seconds,
    ) -> Result<(), Overflow> {
        // M3: a claim of fewer idle seconds than were counted takes none of them back.
        let idle = idle.max(account.idle);
        let scale = self.tariff.scale();
        let step = total.sub(account.quantity)?;
        let mut sum = Exact { msat: account.accrued, rest: account.rest };
        sum = sum.plus(self.tariff.cost(at, account.quantity, step)?, scale)?;
        let billed = idle.sub(account.idle)?;
        sum = sum.plus(self.tariff.idle_cost(billed)?, scale)?;
        if step > Quantity::ZERO {
            account.quiet_since = at;
        }
        account.accrued = sum.msat;
        account.rest = sum.rest;
        account.at = at;
        account.quantity = total;
        account.idle = idle;
        Ok(())
    }

    /// The largest total of idle seconds that a reading can bill (M3).
    fn idle_most(&self, at: UtcSeconds) -> Seconds {
        let account = &self.record.account;
        let free_to = account.quiet_since.saturating_after(self.tariff.idle_grace());
        let billed = at.saturating_since(free_to.max(account.at));
        account.idle.saturating_add(billed)
    }

    pub(super) const fn skew(&self) -> Seconds {
        match self.record.role {
            // The seller's stamp is its own clock.
            Role::Seller => Seconds::MIN,
            Role::Buyer { skew, .. } => skew,
        }
    }

    pub(super) fn check_stamp(&self, now: UtcSeconds, at: UtcSeconds) -> Result<(), MeterError> {
        let last = self.record.account.at;
        if at < last {
            return Err(MeterError::TimeBackwards { got: at, last });
        }
        self.check_skew(now, at)
    }

    pub(super) fn check_skew(&self, now: UtcSeconds, at: UtcSeconds) -> Result<(), MeterError> {
        let allowed = self.skew();
        if at.to_u64().abs_diff(now.to_u64()) > allowed.to_u64() {
            return Err(MeterError::SkewTooLarge { got: at, now, allowed });
        }
        Ok(())
    }

    pub(super) fn check_reading(&self, at: UtcSeconds, total: Quantity) -> Result<(), MeterError> {
        let last = self.record.account.quantity;
        if total < last {
            return Err(MeterError::MeterBackwards { got: total, last });
        }
        check_valid(&self.tariff, at)
    }

    pub(super) fn check_tolerance(&self, claimed: Quantity) -> Result<(), MeterError> {
        let measured = self.record.account.measured;
        let allowed = self.record.allowed();
        if claimed > allowed {
            return Err(MeterError::ToleranceExceeded { claimed, measured, allowed });
        }
        Ok(())
    }

    fn check_idle(&self, at: UtcSeconds, claimed: Seconds) -> Result<(), MeterError> {
        let least = self.record.account.idle;
        let most = self.idle_most(at);
        if claimed > most {
            return Err(MeterError::IdleImpossible { claimed, least, most });
        }
        Ok(())
    }

    pub(super) fn check_paid(&self, total: Msat) -> Result<(), MeterError> {
        let last = self.record.account.paid;
        if total < last {
            return Err(MeterError::PaidBackwards { got: total, last });
        }
        let Role::Buyer { budget, .. } = self.record.role else { return Ok(()) };
        if total > budget {
            return Err(MeterError::BudgetExceeded { amount: total, budget });
        }
        let (owed, prepay) = (self.owed(), self.record.window.prepay);
        // M5. After the end nothing is owed ahead; what was ahead before stays as it is.
        let ahead = if self.record.state == State::Ended { Msat::ZERO } else { prepay };
        if total > last && total > owed.saturating_add(ahead) {
            return Err(MeterError::PrepayExceeded { paid: total, owed, prepay: ahead });
        }
        Ok(())
    }

    fn known(&self, hash: TariffHash) -> Result<&Tariff, MeterError> {
        // The one that counts already: a repeated change.
        [Some(&self.tariff), self.accepted.as_ref()]
            .into_iter()
            .flatten()
            .find(|tariff| tariff.hash() == hash)
            .ok_or(MeterError::TariffUnknown { got: hash })
    }
}

impl Record {
    /// The largest total that the buyer takes from the seller now.
    pub(crate) fn allowed(&self) -> Quantity {
        let measured = self.account.measured;
        match self.role {
            Role::Seller => Quantity::MAX,
            Role::Buyer { meter_ppm, meter_slack, .. } => {
                measured.saturating_add(part_of(meter_ppm, measured)).saturating_add(meter_slack)
            }
        }
    }
}

impl Account {
    /// The buyer's own meter.
    pub(super) fn measure(&mut self, total: Quantity) -> Result<(), MeterError> {
        let last = self.measured;
        if total < last {
            return Err(MeterError::MeterBackwards { got: total, last });
        }
        self.measured = total;
        Ok(())
    }

    pub(super) fn start(&mut self, at: UtcSeconds, tariff: &Tariff) -> Result<(), MeterError> {
        check_valid(tariff, at)?;
        self.started = at;
        self.at = at;
        self.quiet_since = at;
        self.accrued = tariff.fixed_fee();
        self.min_cost = tariff.min_cost();
        Ok(())
    }

    fn change(&mut self, at: UtcSeconds, tariff: &Tariff) -> Result<(), MeterError> {
        check_valid(tariff, at)?;
        if self.tariff == tariff.hash() {
            return Ok(());
        }
        // M1: the rest under the old tariff is dropped. The start fee is not charged again, and
        // what is owed never falls.
        self.rest = 0;
        self.min_cost = self.min_cost.max(tariff.min_cost());
        self.tariff = tariff.hash();
        self.at = at;
        Ok(())
    }
}

fn check_valid(tariff: &Tariff, at: UtcSeconds) -> Result<(), MeterError> {
    if tariff.is_valid_at(at) {
        return Ok(());
    }
    let (from, to) = tariff.validity();
    Err(MeterError::TariffNotValid { at, from, to })
}

/// This part of `quantity`, rounded down.
fn part_of(ppm: Ppm, quantity: Quantity) -> Quantity {
    let (quantity, ppm) = (quantity.to_u64(), u64::from(ppm.to_ppm()));
    let part = match quantity.checked_mul(ppm) {
        Some(parts) => parts.div_euclid(PPM),
        // At most `quantity`, because the factor is at most one.
        None => u64::try_from(
            u128::from(quantity).saturating_mul(u128::from(ppm)).div_euclid(u128::from(PPM)),
        )
        .unwrap_or(quantity),
    };
    Quantity::new(part).unwrap_or(Quantity::MAX)
}

/// Parts in a million.
const PPM: u64 = 1_000_000;
