//! The night, and whether every millisatoshi is where it should be.

use super::day::{Day, Sample};
use super::home::PAY_AT;
use super::work::share_msat;
use crate::common::books::Books;
use crate::common::stage::wrong;
use crate::common::{Error, Sabotage};

/// All of it in numbers.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) samples: Vec<Sample>,
    pub(crate) hashes: u64,
    pub(crate) shares: u64,
    pub(crate) refused: u64,
    /// Seconds in which it rested because the house owed it enough.
    pub(crate) stopped: u64,
    /// What was credited for shares, and paid, msat.
    pub(crate) credited: u64,
    pub(crate) earned: u64,
    /// Watt-seconds, what they are worth, and what was paid, msat.
    pub(crate) energy: u64,
    pub(crate) bill: u64,
    pub(crate) spent: u64,
    pub(crate) risks: (u64, u64),
    pub(crate) hottest: i64,
    pub(crate) vouchers: u64,
    pub(crate) faults: u64,
    pub(crate) books: Books,
    pub(crate) checks: u64,
    pub(crate) broken: Vec<String>,
}

impl Day<'_> {
    /// The end of the session, the settlements, and every sum.
    pub(super) fn outcome(mut self) -> Result<Outcome, Error> {
        let agreed = self.home.end_power()?;
        let (earned, spent) = self.home.held();
        let (bill, credited) = (self.bill.msat(), self.credited * share_msat());
        let off = u64::from(self.sabotage == Some(Sabotage::Statement));
        self.checks += 5;
        if agreed.map(|(owed, paid)| (owed + off, paid)) != Some((bill, bill)) {
            self.fail(format!("power: {bill} msat, both agree on {agreed:?}"));
        }
        // What is less than a voucher's worth waits for its time.
        if earned > credited || credited - earned >= PAY_AT {
            self.fail(format!("work: {earned} msat are paid of {credited}"));
        }
        let (due, books) = self.home.night()?;
        self.broken.extend(wrong(&self.home.world, &[(&books, due)], self.sabotage));
        if books.open + books.to_payee + books.payee_fees() != books.funded {
            self.fail(format!("something of the channels went elsewhere: {books:?}"));
        }
        let sent = self.home.world.sent();
        Ok(Outcome {
            vouchers: sent.get("Voucher").map_or(0, |sent| sent.messages),
            samples: self.samples,
            hashes: self.miner.hashes,
            shares: self.office.shares,
            refused: self.office.refused,
            stopped: self.miner.stopped,
            credited,
            earned,
            energy: self.read,
            bill,
            spent,
            risks: self.risks,
            hottest: self.hottest,
            faults: self.faults,
            books,
            checks: self.checks,
            broken: self.broken,
        })
    }
}
