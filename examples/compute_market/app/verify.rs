//! What is believed, what is paid, and who parts from whom.

use millstream::meter::Session;

use super::cast::judged;
use super::contract::{Contract, Stage, Verdict, judge};
use super::day::{Day, PATIENCE};
use super::floor::{asked, truth};
use super::task::KINDS;
use crate::common::Error;

/// A job in which nothing was decided for so long is given up.
const GIVEN_UP: u64 = 300;

impl Day<'_> {
    /// Requesters judge units as far as the results are there, and pay for what is right.
    pub(super) fn verify(&mut self) -> Result<(), Error> {
        for job in 0..self.jobs.len() {
            while let Some(result) = self.decide(job)? {
                self.check_truth(job, result);
                if let Some(job) = self.jobs.get_mut(job) {
                    job.decided.push(result);
                    job.moved = self.t;
                }
            }
        }
        for number in 0..self.contracts.len() {
            while let Some((unit, right)) = self.judged(number) {
                if right { self.right(number)? } else { self.wrong(number, unit)? }
            }
        }
        self.hall.world.settle_down()?;
        Ok(())
    }

    /// The result of a job's next unit, if enough is known. What proves to be wrong needs no vote.
    fn decide(&mut self, number: usize) -> Result<Option<u64>, Error> {
        let Some(job) = self.jobs.get(number) else { return Ok(None) };
        let (unit, task) = (job.next(), KINDS[job.kind]);
        if job.done || unit >= job.units {
            return Ok(None);
        }
        let of_job =
            |(_, contract): &(usize, &Contract)| contract.job == number && contract.alive();
        let said = self.contracts.iter().enumerate().filter(of_job);
        let said: Vec<_> = said.map(|(at, contract)| (at, contract.result(unit))).collect();
        let lie = |result: u64| task.proves(asked(number, unit), result) == Some(false);
        let mut results = Vec::new();
        for (at, result) in &said {
            match result {
                Some(result) if lie(*result) => self.wrong(*at, unit)?,
                Some(result) => results.push(*result),
                None => {}
            }
        }
        let silent = said.iter().filter(|(_, result)| result.is_none()).count();
        let verdict = judge(task, asked(number, unit), &results, silent);
        if verdict == Verdict::Disputed
            && let Some(job) = self.jobs.get_mut(number)
        {
            job.needs = results.len() + 1;
        }
        Ok(if let Verdict::Is(result) = verdict { Some(result) } else { None })
    }

    /// The oracle: a majority of cheats would be found here.
    fn check_truth(&mut self, number: usize, result: u64) {
        let Some((unit, kind)) = self.jobs.get(number).map(|job| (job.next(), job.kind)) else {
            return;
        };
        self.checks += 1;
        if result != truth(kind, number, unit) {
            self.fail(format!("unit {unit} of job {number} is {result}, which is wrong"));
        }
    }

    /// The next result of a contract whose unit is decided, and whether it is right.
    fn judged(&self, number: usize) -> Option<(u64, bool)> {
        let contract = self.contracts.get(number).filter(|c| c.stage == Stage::Works)?;
        let unit = contract.first + contract.verified;
        let decided = self.jobs.get(contract.job)?.decided.get(usize::try_from(unit).ok()?)?;
        Some((unit, contract.result(unit)? == *decided))
    }

    /// A unit was right: the requester's meter counts it, and the provider notes its debit.
    fn right(&mut self, number: usize) -> Result<(), Error> {
        let Some(contract) = self.contracts.get_mut(number) else { return Ok(()) };
        contract.verified += 1;
        contract.noted += 1;
        let (units, provider, job) = (contract.verified, contract.provider, contract.job);
        let requester = self.jobs.get(job).map_or(0, |job| job.requester);
        self.units.verified += 1;
        self.judge(provider, true);
        let _own = self.hall.read(number, self.hall.requester(requester)?, units)?;
        let _noted = self.hall.read(number, self.hall.provider(provider)?, units)?;
        Ok(())
    }

    /// A unit was wrong: its provider notes a debit all the same, in vain, and is let go.
    fn wrong(&mut self, number: usize, unit: u64) -> Result<(), Error> {
        let Some(contract) = self.contracts.get_mut(number) else { return Ok(()) };
        contract.noted += 1;
        let (noted, provider, job) = (contract.noted, contract.provider, contract.job);
        let requester = self.jobs.get(job).map_or(0, |job| job.requester);
        self.units.wrong += 1;
        self.judge(provider, false);
        let (buyer, seller) = (self.hall.requester(requester)?, self.hall.provider(provider)?);
        self.hall.world.settle_down()?;
        let owed = |day: &Self| day.hall.session(number, buyer).map(Session::owed);
        let before = owed(self);
        if self.hall.read(number, seller, noted)? {
            self.hall.world.settle_down()?;
            self.checks += 1;
            self.units.claims_refused += 1;
            if before != owed(self) {
                self.fail(format!("contract {number}: a wrong unit is owed"));
            }
        }
        self.break_off(number, requester, true)?;
        self.tell(provider, &format!("was wrong about unit {unit}, and is let go unpaid"))
    }

    fn judge(&mut self, provider: usize, right: bool) {
        if let Some(provider) = self.providers.get_mut(provider) {
            provider.standing = judged(provider.standing, right);
        }
    }

    /// One side ends a contract by itself; its slot is free again, if it was not yet.
    fn break_off(&mut self, number: usize, requester: usize, by_buyer: bool) -> Result<(), Error> {
        let Some(contract) = self.contracts.get_mut(number) else { return Ok(()) };
        let frees = contract.stage != Stage::Ending;
        contract.stage = Stage::Broken;
        let provider = contract.provider;
        let buyer = self.hall.requester(requester)?;
        let end = if by_buyer { buyer } else { self.hall.provider(provider)? };
        let _ended = self.hall.end(number, end)?;
        if frees {
            self.free_slot(number);
        }
        Ok(())
    }

    /// The provider offers the slot of a contract again.
    fn free_slot(&mut self, number: usize) {
        let Some(contract) = self.contracts.get(number) else { return };
        let kind = self.jobs.get(contract.job).map_or(0, |job| job.kind);
        let Some(provider) = self.providers.get(contract.provider) else { return };
        let ask = provider.asks.iter().find(|(of, _)| *of == kind);
        if let Some((kind, price)) = ask.filter(|_| !provider.gone) {
            self.book.ask(contract.provider, *kind, *price);
        }
    }

    /// Jobs that are done end their contracts; who says nothing for too long is left.
    pub(super) fn part(&mut self) -> Result<(), Error> {
        for number in 0..self.jobs.len() {
            let Some(job) = self.jobs.get_mut(number) else { continue };
            let over = job.next() == job.units || self.t > job.moved + GIVEN_UP;
            if over && !job.done {
                job.done = true;
                self.book.cancel(number);
            }
        }
        for number in 0..self.contracts.len() {
            let Some(contract) = self.contracts.get(number) else { continue };
            let (requester, provider) = (self.requester_of(contract), contract.provider);
            if contract.stage == Stage::Ending && self.t > contract.clear + PATIENCE {
                self.break_off(number, requester, false)?;
                self.tell(provider, "hears no end of its contract, and ends it itself")?;
                continue;
            }
            let Some(job) = self.jobs.get(contract.job).filter(|_| contract.alive()) else {
                continue;
            };
            let buyer = self.hall.requester(requester)?;
            let own = self.hall.session(number, buyer).map(|s| s.record().paid().to_msat());
            let paid = own == Some(contract.verified * contract.price);
            if job.done && contract.stage == Stage::Agreed {
                self.break_off(number, requester, true)?;
            } else if job.done && paid {
                if self.hall.end(number, buyer)?
                    && let Some(contract) = self.contracts.get_mut(number)
                {
                    (contract.stage, contract.clear) = (Stage::Ending, self.t);
                    self.free_slot(number);
                }
            } else if paid && contract.results.len() as u64 > contract.verified {
                // Others are to be heard first: nobody is late.
                if let Some(contract) = self.contracts.get_mut(number) {
                    contract.clear = self.t;
                }
            } else if self.t > contract.clear + PATIENCE {
                self.break_off(number, requester, false)?;
                self.tell(provider, "is parted from its requester: one of them says nothing")?;
            }
        }
        self.hall.world.settle_down()?;
        Ok(())
    }
}
