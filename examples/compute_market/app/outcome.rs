//! The night, and whether every millisatoshi is where it should be.

use millstream::units::FeeRate;

use super::contract::Stage;
use super::day::{Day, Sample, Units};
use super::hall::CREDIT;
use crate::common::Error;
use crate::common::books::Books;
use crate::common::stage::{night, wrong};

/// 1 sat a virtual byte: the night is cheap.
const RATE: u64 = 1_000;

/// A provider at the end of the day.
#[derive(Debug)]
pub(crate) struct Earned {
    pub(crate) name: &'static str,
    pub(crate) standing: u32,
    pub(crate) contracts: u64,
    /// Units that were verified, and what it holds for them, msat.
    pub(crate) verified: u64,
    pub(crate) paid: u64,
}

/// All of it in numbers.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) samples: Vec<Sample>,
    pub(crate) names: Vec<&'static str>,
    /// Jobs: finished, given up.
    pub(crate) jobs: (u64, u64),
    pub(crate) trades: u64,
    pub(crate) units: Units,
    /// What the verified units are worth, and what was paid, msat.
    pub(crate) worth: u64,
    pub(crate) paid: u64,
    pub(crate) peak: u64,
    pub(crate) statements: u64,
    pub(crate) earned: Vec<Earned>,
    pub(crate) vouchers: u64,
    pub(crate) faults: u64,
    pub(crate) books: Books,
    pub(crate) checks: u64,
    pub(crate) broken: Vec<String>,
}

impl Day<'_> {
    /// The night, and every sum.
    pub(super) fn outcome(mut self) -> Result<Outcome, Error> {
        let (mut worth, mut paid) = (0, Vec::new());
        for at in 0..self.hall.channels.len() {
            let got = self.hall.paid(at);
            worth += self.check_channel(at, got);
            paid.push(got);
        }
        let due = self.night(&paid)?;
        let books = self.hall.books();
        self.checks += 2;
        self.broken.extend(wrong(&self.hall.world, &[(&books, due)], self.sabotage));
        let sent = self.hall.world.sent();
        let finished = self.jobs.iter().filter(|job| job.next() == job.units).count() as u64;
        Ok(Outcome {
            names: self.providers.iter().map(|provider| provider.name).collect(),
            jobs: (finished, self.jobs.len() as u64 - finished),
            trades: self.trades,
            units: self.units,
            worth,
            paid: paid.iter().sum(),
            peak: self.peak.1,
            statements: self.statements,
            earned: self.earned(&paid),
            vouchers: sent.get("Voucher").map_or(0, |sent| sent.messages),
            faults: self.faults,
            books,
            checks: self.checks,
            samples: self.samples,
            broken: self.broken,
        })
    }

    /// What a channel's verified units are worth, msat: paid to the millisatoshi, but for what was
    /// on credit where a contract broke.
    fn check_channel(&mut self, at: usize, got: u64) -> u64 {
        let Some(channel) = self.hall.channels.get(at) else { return 0 };
        let (mut worth, mut risked) = (0, 0);
        for contract in &self.contracts {
            if contract.provider == channel.provider
                && self.requester_of(contract) == channel.requester
            {
                worth += contract.verified * contract.price;
                risked += if contract.stage == Stage::Broken { CREDIT } else { 0 };
            }
        }
        self.checks += 1;
        if got > worth || worth - got > risked {
            self.fail(format!("channel {at} paid {got} msat of {worth}, {risked} at risk"));
        }
        worth
    }

    fn earned(&self, paid: &[u64]) -> Vec<Earned> {
        let earned = |(number, provider): (usize, &super::cast::Provider)| {
            let own = || self.contracts.iter().filter(|contract| contract.provider == number);
            let channels = self.hall.channels.iter().zip(paid);
            Earned {
                name: provider.name,
                standing: provider.standing,
                contracts: own().count() as u64,
                verified: own().map(|contract| contract.verified).sum(),
                paid: channels.filter(|(c, _)| c.provider == number).map(|(_, paid)| paid).sum(),
            }
        };
        self.providers.iter().enumerate().map(earned).collect()
    }

    /// Everybody settles, also who was away. Returns what the chain owes, sat.
    fn night(&mut self, paid: &[u64]) -> Result<u64, Error> {
        let settled = self.hall.settle(FeeRate::new(RATE)?)?;
        let due = self.hall.channels.iter().zip(paid);
        let due = due.filter(|(channel, _)| settled.contains(&channel.outpoint));
        let due = due.map(|(_, paid)| paid / 1_000).sum();
        let reorg = self.chaos >= 1;
        self.faults += u64::from(reorg);
        night(&mut self.hall.world, reorg)?;
        self.screen.line(&format!("the night settles {} channels", settled.len()));
        Ok(due)
    }
}
