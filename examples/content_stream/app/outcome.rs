//! The night, and whether every millisatoshi is where it should be.

use std::collections::BTreeSet;

use bitcoin::OutPoint;
use millstream::units::FeeRate;

use super::evening::{Evening, Mark, Sample};
use super::studio::{CREDIT, worth};
use super::viewer::Stage;
use crate::common::Error;
use crate::common::books::Books;
use crate::common::crowd::Crowd;
use crate::common::stage::{night, settle, wrong};

/// 1 sat a virtual byte: the night is cheap.
const RATE: u64 = 1_000;

/// All of it in numbers.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) viewers: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) marks: Vec<Mark>,
    /// Seconds that were sent, and the sessions that they were sent in.
    pub(crate) seconds: u64,
    pub(crate) sessions: u64,
    /// What they are worth, and what was paid, msat; what was not, of how many viewers.
    pub(crate) worth: u64,
    pub(crate) paid: u64,
    pub(crate) unpaid: (u64, u64),
    pub(crate) peak: u64,
    pub(crate) statements: u64,
    pub(crate) vouchers: u64,
    pub(crate) wire: (u64, u64),
    pub(crate) commits: (u64, u64),
    pub(crate) faults: u64,
    pub(crate) books: Books,
    pub(crate) checks: u64,
    pub(crate) broken: Vec<String>,
}

impl Evening<'_> {
    /// The night, and every sum.
    pub(super) fn outcome(mut self, peak: u64) -> Result<Outcome, Error> {
        let (mut all, mut unpaid, mut paid) = (0, (0, 0), Vec::new());
        for number in 0..self.viewers.len() {
            self.checks += 1;
            let Some(viewer) = self.viewers.get(number) else { continue };
            let bills = viewer.bills.iter().map(|bill| worth(bill.seconds, bill.minute));
            let (want, got, stage) = (bills.sum::<u64>(), self.studio.paid(number), viewer.stage);
            let billed: u64 = viewer.bills.iter().map(|bill| bill.seconds).sum();
            let (watched, owes) = (viewer.watched, want.saturating_sub(got));
            all += want;
            paid.push(got);
            let cut = stage == Stage::CutOff;
            if cut {
                unpaid = (unpaid.0 + owes, unpaid.1 + 1);
            }
            let wrong = got > want || owes > if cut { CREDIT } else { 0 };
            if wrong || billed != watched {
                self.fail(format!(
                    "viewer {number}: {got} msat of {want}, {billed} of {watched} s"
                ));
            }
        }
        let settled = self.night()?;
        let books = self.studio.crowd.books();
        let fundings = self.studio.crowd.fundings.iter().zip(&paid);
        let due = fundings.filter(|(at, _)| settled.contains(at)).map(|(_, paid)| paid / 1_000);
        self.checks += 2;
        self.broken.extend(wrong(&self.studio.crowd.world, &[(&books, due.sum())], self.sabotage));
        let sent = self.studio.crowd.world.sent();
        let count = |name| sent.get(name).map_or(0, |sent| sent.messages);
        let bills = || self.viewers.iter().flat_map(|viewer| &viewer.bills);
        Ok(Outcome {
            viewers: self.viewers.len() as u64,
            seconds: bills().map(|bill| bill.seconds).sum(),
            sessions: bills().filter(|bill| bill.seconds > 0).count() as u64,
            worth: all,
            paid: paid.iter().sum(),
            unpaid,
            peak,
            statements: self.viewers.iter().map(|viewer| viewer.stated.len() as u64).sum(),
            vouchers: count("Voucher"),
            wire: self.studio.crowd.wire(),
            commits: self.studio.crowd.commits(),
            faults: self.faults,
            books,
            checks: self.checks,
            samples: self.samples,
            marks: self.marks,
            broken: self.broken,
        })
    }

    /// One settlement of all channels; a reorg undoes it once, if anything goes wrong.
    fn night(&mut self) -> Result<BTreeSet<OutPoint>, Error> {
        let Crowd { world, payee, till, .. } = &mut self.studio.crowd;
        let plan = settle(world, *payee, till, FeeRate::new(RATE)?, usize::MAX)?;
        let settled: BTreeSet<OutPoint> =
            plan.groups.iter().flat_map(|group| group.outpoints.clone()).collect();
        let reorg = self.chaos >= 1;
        self.faults += u64::from(reorg);
        night(world, reorg)?;
        let count = settled.len();
        self.screen.line(&format!("the night settles {count} channels"));
        Ok(settled)
    }
}
