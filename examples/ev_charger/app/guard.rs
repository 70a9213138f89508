//! What must hold after every second and at the end, checked from outside, by other sums.

use millstream::meter::{Session, Statement};
use millstream::stream::payer::PayerPhase;
use millstream::units::Msat;

use super::scene::{CREDIT, SLACK, Scene, TOLERANCE_PPM};
use crate::common::Sabotage;
use crate::common::books::{Books, Kind};
use crate::common::prices::{KWH, Sum};

/// 5: more of the same would only hide the first.
const BROKEN_MAX: usize = 5;
/// A close leaves out an output below this, sat (Core's limit for P2TR).
const DUST: u64 = 330;
/// The largest price of a second: 150 kW in the dearest hour that the car accepts, msat.
const TICK_MAX: u64 = 150_000 * 700_000 / KWH;

/// The oracle of one episode.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// What the station's meter should have come to in this session.
    pub(crate) metered: Sum,
    /// What the car's own meter bears out in this session.
    pub(crate) true_cost: Sum,
    /// The same of earlier sessions, msat.
    pub(crate) true_before: u64,
    /// Owed and paid in earlier sessions, msat, by the station's count.
    pub(crate) before: (u64, u64),
    /// The largest debt, msat.
    pub(crate) debt_max: u64,
    /// How often something was checked.
    pub(crate) checks: u64,
    /// The invariants that did not hold.
    pub(crate) broken: Vec<String>,
    sabotage: Option<Sabotage>,
}

impl Guard {
    /// An oracle; `sabotage` makes it see a world that is not.
    pub(crate) fn new(sabotage: Option<Sabotage>) -> Self {
        Self { sabotage, ..Self::default() }
    }

    /// After every second.
    pub(crate) fn check_second(&mut self, scene: &Scene, at: u64) {
        self.checks += 1;
        if let Err(error) = scene.world.check_invariants() {
            self.fail(format!("after {at} s: {error}"));
        }
        let ends = (scene.world.end(scene.car), scene.world.end(scene.station));
        let (Some(car), Some(station)) = ends else { return };
        for payer in car.node().payers() {
            let Some(payee) = station.node().payee(payer.outpoint()) else { continue };
            let (signed, held) = (payer.signed(), payee.paid());
            // After a restart the car learns from the station what it has signed.
            if payer.phase() != PayerPhase::Unsure && held > signed {
                self.fail(format!("after {at} s: the station holds {held}, signed are {signed}"));
            }
            if held > payer.channel().capacity().to_msat() {
                self.fail(format!("after {at} s: {held} is above the channel's capacity"));
            }
        }
        if let Some(session) = scene.session_of(scene.station) {
            self.check_window(session, at);
        }
    }

    /// What the station's meter says must be what these readings cost.
    pub(crate) fn check_owed(&mut self, session: &Session, at: u64) {
        let (owed, want) = (session.owed().to_msat(), self.metered.msat());
        if owed != want {
            self.fail(format!("after {at} s: {owed} msat owed, the readings cost {want}"));
        }
    }

    /// Before each second is paid: what the station serves on credit.
    pub(crate) fn check_peak(&mut self, debt: u64, at: u64) {
        self.debt_max = self.debt_max.max(debt);
        if debt > CREDIT {
            self.fail(format!("after {at} s: {debt} msat on credit, the window is {CREDIT}"));
        }
    }

    fn check_window(&mut self, session: &Session, at: u64) {
        let ahead = session.ahead().to_msat();
        self.check_peak(session.debt().to_msat(), at);
        if ahead > TICK_MAX {
            self.fail(format!("after {at} s: the car is {ahead} msat ahead, above one tick"));
        }
    }

    /// The station's signed statement against the sums of this side.
    pub(crate) fn check_statement(&mut self, statement: &Statement, session: &Session) {
        self.checks += 1;
        let off = u64::from(self.sabotage == Some(Sabotage::Statement));
        let (owed, paid) = (statement.owed.to_msat() + off, statement.paid.to_msat());
        let want = self.metered.msat();
        if owed != want || paid != want || session.owed() != statement.owed {
            self.fail(format!(
                "statement: {owed} owed, {paid} paid, the readings cost {want} msat"
            ));
        }
    }

    /// The end: who lost what, and whether the chain paid what was signed.
    ///
    /// `paid`: what the station holds for all sessions. `gone`: it never claimed it.
    pub(crate) fn check_end(
        &mut self,
        books: &Books,
        owed: Msat,
        paid: Msat,
        gone: bool,
    ) -> Losses {
        self.checks += 1;
        let (owed, paid) = (owed.to_msat(), paid.to_msat());
        let true_cost = self.true_before + self.true_cost.msat();
        let losses =
            Losses { car: paid.saturating_sub(true_cost), station: owed.saturating_sub(paid) };
        let tolerated = true_cost / 1_000_000 * TOLERANCE_PPM + SLACK * 700_000 / KWH + TICK_MAX;
        if losses.car > tolerated {
            self.fail(format!("the car lost {} msat, above {tolerated}", losses.car));
        }
        if losses.station > CREDIT {
            self.fail(format!("the station lost {} msat, above {CREDIT}", losses.station));
        }
        let stolen = u64::from(self.sabotage == Some(Sabotage::Conservation));
        let kept = (books.to_payee + books.payee_fees()).saturating_sub(stolen);
        let due = if gone { 0 } else { paid / 1_000 };
        // A close gives the miner what is too little for an output.
        let dropped = books.kept(Kind::Close).transactions > 0 && books.to_payee == 0;
        if kept > due || (due > kept && !(dropped && due - kept < DUST)) {
            self.fail(format!("the chain paid the station {kept} sat, its vouchers say {due}"));
        }
        if !books.balance() || books.open > 0 {
            self.fail(format!("the chain's books do not balance: {books:?}"));
        }
        losses
    }

    /// Notes that something did not hold.
    pub(crate) fn fail(&mut self, what: String) {
        if self.broken.len() < BROKEN_MAX {
            self.broken.push(what);
        }
    }
}

/// What each side lost in the end, fees aside, msat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Losses {
    /// Paid above what its own meter bears out.
    pub(crate) car: u64,
    /// Delivered and not paid, by its own meter.
    pub(crate) station: u64,
}
