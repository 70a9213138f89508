//! What is stored of a session: all of it, in one fixed layout.

use crate::units::{Msat, Ppm, Quantity, Seconds, SessionId, UtcSeconds};

use super::tariff::TariffHash;
use super::{MeterError, Role, State, Window};

/// The whole state of one side of a session; the newest one wins.
///
/// Between two vouchers it need not be stored: what is durable is what was paid, and ticks that
/// were not paid are inside the risk window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub(super) id: SessionId,
    pub(super) role: Role,
    pub(super) window: Window,
    pub(super) state: State,
    pub(super) account: Account,
}

/// What the readings and payments add up to; all zero but the hash before the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    /// The tariff that counts.
    pub(super) tariff: TariffHash,
    pub(super) started: UtcSeconds,
    /// The last stamp; after the end that of the end: a buyer's own one, whatever comes later.
    pub(super) at: UtcSeconds,
    /// When something was delivered last, or service was resumed; see `after` for an ended buyer.
    pub(super) quiet_since: UtcSeconds,
    /// The total that was priced.
    pub(super) quantity: Quantity,
    /// The buyer's own total; zero on the seller's side.
    pub(super) measured: Quantity,
    /// Idle seconds that were priced.
    pub(super) idle: Seconds,
    /// The exact cost: whole millisatoshis, and parts of one (the tariff's scale makes one).
    pub(super) accrued: Msat,
    pub(super) rest: u64,
    /// The largest minimum cost of the tariffs that counted.
    pub(super) min_cost: Msat,
    pub(super) paid: Msat,
}

impl Account {
    pub(super) const fn none(tariff: TariffHash) -> Self {
        Self {
            tariff,
            started: UtcSeconds::MIN,
            at: UtcSeconds::MIN,
            quiet_since: UtcSeconds::MIN,
            quantity: Quantity::ZERO,
            measured: Quantity::ZERO,
            idle: Seconds::MIN,
            accrued: Msat::ZERO,
            rest: 0,
            min_cost: Msat::ZERO,
            paid: Msat::ZERO,
        }
    }
}

impl Record {
    /// Length of the bytes.
    pub const LENGTH: usize = 167;

    /// The session's id.
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// Which side this is.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The mutual-risk window.
    pub const fn window(&self) -> Window {
        self.window
    }

    /// Where the session stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// The tariff that counts: whoever restores the record must bring it.
    pub const fn tariff(&self) -> TariffHash {
        self.account.tariff
    }

    /// The stamp of the start, 0 before it.
    pub const fn started(&self) -> UtcSeconds {
        self.account.started
    }

    /// The last stamp, 0 before the start.
    pub const fn at(&self) -> UtcSeconds {
        self.account.at
    }

    /// The total that was priced.
    pub const fn quantity(&self) -> Quantity {
        self.account.quantity
    }

    /// The idle seconds that were priced.
    pub const fn idle(&self) -> Seconds {
        self.account.idle
    }

    /// The buyer's own total.
    pub const fn measured(&self) -> Quantity {
        self.account.measured
    }

    /// What was paid, cumulative.
    pub const fn paid(&self) -> Msat {
        self.account.paid
    }

    /// What is owed, cumulative: M1, and at least the minimum cost.
    #[must_use]
    pub fn owed(&self) -> Msat {
        self.account.accrued.max(self.account.min_cost)
    }

    /// What is owed and not paid.
    #[must_use]
    pub fn debt(&self) -> Msat {
        self.owed().saturating_sub(self.account.paid)
    }

    /// M4: whether a session that has begun is served.
    pub(super) fn serving(&self) -> State {
        if self.debt() > self.window.credit { State::Paused } else { State::Active }
    }

    /// The bytes, version 1; numbers are big-endian.
    ///
    /// | at | bytes | what |
    /// | --- | --- | --- |
    /// | 0 | 1 | version, 1 |
    /// | 1 | 1 | role: 0 seller, 1 buyer |
    /// | 2 | 1 | state: 0 offered, 1 active, 2 paused, 3 ended |
    /// | 3 | 8 | session id |
    /// | 11 | 8 + 8 | window: credit, prepay, msat |
    /// | 27 | 4 + 8 | buyer: meter tolerance in ppm, and quantity; seller: 0 |
    /// | 39 | 8 + 8 | buyer: skew in seconds, budget in msat; seller: 0 |
    /// | 55 | 32 | tariff hash |
    /// | 87 | 8 + 8 + 8 | started, last stamp, quiet since |
    /// | 111 | 8 + 8 + 8 | quantity priced, own measured, idle seconds |
    /// | 135 | 8 + 8 | cost: msat, parts of one |
    /// | 151 | 8 + 8 | minimum cost, paid |
    ///
    /// The store's envelope around it holds the checksum.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let (role, ppm, slack, skew, budget) = match self.role {
            Role::Seller => (0, 0, 0, 0, 0),
            Role::Buyer { meter_ppm, meter_slack, skew, budget } => {
                let (slack, skew) = (meter_slack.to_u64(), skew.to_u64());
                (1, meter_ppm.to_ppm(), slack, skew, budget.to_msat())
            }
        };
        let state = match self.state {
            State::Offered => 0,
            State::Active => 1,
            State::Paused => 2,
            State::Ended => 3,
        };
        let account = &self.account;
        let mut out = [0; Self::LENGTH];
        let mut writer = Writer(&mut out);
        writer.put(&[VERSION, role, state]);
        writer.put(&self.id.to_u64().to_be_bytes());
        writer.put(&self.window.credit.to_msat().to_be_bytes());
        writer.put(&self.window.prepay.to_msat().to_be_bytes());
        writer.put(&ppm.to_be_bytes());
        for number in [slack, skew, budget] {
            writer.put(&number.to_be_bytes());
        }
        writer.put(&account.tariff.0);
        for number in [
            account.started.to_u64(),
            account.at.to_u64(),
            account.quiet_since.to_u64(),
            account.quantity.to_u64(),
            account.measured.to_u64(),
            account.idle.to_u64(),
            account.accrued.to_msat(),
            account.rest,
            account.min_cost.to_msat(),
            account.paid.to_msat(),
        ] {
            writer.put(&number.to_be_bytes());
        }
        out
    }

    /// Reads exactly one record.
    ///
    /// # Errors
    /// [`MeterError::UnknownVersion`], [`MeterError::WrongLength`], or [`MeterError::Misfit`] with
    /// the field that no session writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, MeterError> {
        let mut reader = Reader::after_version(VERSION, Self::LENGTH, bytes)?;
        let [role, state] = reader.array()?;
        let id = SessionId::new(reader.number()?).map_err(|_| misfit("id"))?;
        let credit = reader.msat("credit")?;
        let prepay = reader.msat("prepay")?;
        let role = reader.role(role)?;
        let state = match state {
            0 => State::Offered,
            1 => State::Active,
            2 => State::Paused,
            3 => State::Ended,
            _ => return Err(misfit("state")),
        };
        let account = Account {
            tariff: TariffHash(reader.array()?),
            started: reader.utc("started")?,
            at: reader.utc("at")?,
            quiet_since: reader.utc("quiet_since")?,
            quantity: reader.quantity("quantity")?,
            measured: reader.quantity("measured")?,
            idle: reader.seconds("idle")?,
            accrued: reader.msat("accrued")?,
            rest: reader.number()?,
            min_cost: reader.msat("min_cost")?,
            paid: reader.msat("paid")?,
        };
        let record = Self { id, role, window: Window { credit, prepay }, state, account };
        record.check()?;
        Ok(record)
    }

    /// What holds in every record that a session writes.
    pub(super) fn check(&self) -> Result<(), MeterError> {
        let account = &self.account;
        // M9: a claim that crossed a buyer's end bills idle time by the seller's clock.
        let last = match (self.state, self.role) {
            (State::Ended, Role::Buyer { skew, .. }) => account.at.saturating_after(skew),
            _ => account.at,
        };
        let begun = match self.state {
            State::Offered => *account == Account::none(account.tariff),
            // M4: served if and only if the debt is within the credit.
            State::Active | State::Paused => self.serving() == self.state,
            State::Ended => true,
        };
        // M9: so may a start.
        let late = self.state == State::Ended && self.role != Role::Seller;
        let rules = [
            (begun, "state"),
            (late || account.started <= account.at, "at"),
            (account.idle <= last.saturating_since(account.started), "idle"),
        ];
        let buyer = match self.role {
            Role::Seller => [(account.measured == Quantity::ZERO, "measured"), (true, "budget")],
            Role::Buyer { budget, .. } => {
                let most = self.owed().saturating_add(self.window.prepay);
                [
                    (account.paid <= most, "paid"),
                    (self.owed().max(account.paid) <= budget, "budget"),
                ]
            }
        };
        match rules.into_iter().chain(buyer).find(|(holds, _)| !holds) {
            Some((_, field)) => Err(misfit(field)),
            None => Ok(()),
        }
    }
}

const fn misfit(field: &'static str) -> MeterError {
    MeterError::Misfit { field }
}

/// The bytes that are still to be written.
pub(super) struct Writer<'a>(pub(super) &'a mut [u8]);

impl Writer<'_> {
    pub(super) fn put(&mut self, bytes: &[u8]) {
        // The layouts are constant and golden tests pin them: the room is always there.
        if let Some((head, rest)) = core::mem::take(&mut self.0).split_at_mut_checked(bytes.len()) {
            head.copy_from_slice(bytes);
            self.0 = rest;
        } else {
            debug_assert!(false, "layout is longer than its constant");
        }
    }
}

/// The bytes that are still to be read.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// What follows the version in a layout of `length` bytes, the version's own one included.
    ///
    /// The version comes first: another one has another length.
    pub(super) fn after_version(
        version: u8,
        length: usize,
        bytes: &'a [u8],
    ) -> Result<Self, MeterError> {
        match bytes.split_first() {
            Some((got, _)) if *got != version => Err(MeterError::UnknownVersion { got: *got }),
            Some((_, rest)) if bytes.len() == length => Ok(Self(rest)),
            _ => Err(MeterError::WrongLength { got: bytes.len(), want: length }),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], MeterError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(misfit("length"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn number(&mut self) -> Result<u64, MeterError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn msat(&mut self, field: &'static str) -> Result<Msat, MeterError> {
        Msat::new(self.number()?).map_err(|_| misfit(field))
    }

    pub(super) fn utc(&mut self, field: &'static str) -> Result<UtcSeconds, MeterError> {
        UtcSeconds::new(self.number()?).map_err(|_| misfit(field))
    }

    pub(super) fn seconds(&mut self, field: &'static str) -> Result<Seconds, MeterError> {
        Seconds::new(self.number()?).map_err(|_| misfit(field))
    }

    pub(super) fn quantity(&mut self, field: &'static str) -> Result<Quantity, MeterError> {
        Quantity::new(self.number()?).map_err(|_| misfit(field))
    }

    fn role(&mut self, role: u8) -> Result<Role, MeterError> {
        let meter_ppm = Ppm::new(u32::from_be_bytes(self.array()?)).map_err(|_| misfit("ppm"))?;
        let meter_slack = self.quantity("slack")?;
        let skew = self.seconds("skew")?;
        let budget = self.msat("budget")?;
        let none = (meter_ppm, meter_slack, skew, budget)
            == (Ppm::MIN, Quantity::ZERO, Seconds::MIN, Msat::ZERO);
        match role {
            0 if none => Ok(Role::Seller),
            1 => Ok(Role::Buyer { meter_ppm, meter_slack, skew, budget }),
            _ => Err(misfit("role")),
        }
    }
}

/// The only version.
const VERSION: u8 = 1;
