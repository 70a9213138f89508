//! The floor of the market: jobs become orders, orders contracts, contracts results.

use super::cast::{HIRED_FROM, Habit};
use super::contract::{Contract, Job, Stage};
use super::day::{Day, OFFER_LOST};
use super::hall::CREDIT;
use super::task::KINDS;
use crate::common::Error;
use crate::common::output::sat;

impl Day<'_> {
    /// Every provider offers its slots.
    pub(super) fn offer_slots(&mut self) {
        for (number, provider) in self.providers.iter().enumerate() {
            for (kind, price) in &provider.asks {
                for _ in 0..provider.slots {
                    self.book.ask(number, *kind, *price);
                }
            }
        }
    }

    /// Requesters come with their jobs, and look for as many providers as these need.
    pub(super) fn ask_for_work(&mut self) -> Result<(), Error> {
        let due: Vec<_> = self.wants.iter().filter(|want| want.at == self.t).copied().collect();
        for want in due {
            let Some(requester) = self.requesters.get(want.requester).copied() else { continue };
            let needs = KINDS[want.kind].verifier().providers();
            let cost = want.limit * want.units * needs as u64;
            let what = KINDS[want.kind].what();
            if requester.mute_from.is_some_and(|from| from <= self.t) {
                continue;
            }
            if cost > self.requesters[want.requester].budget {
                let over = format!("cannot afford {} units of {what}", want.units);
                self.say(requester.name, &over)?;
                continue;
            }
            self.requesters[want.requester].budget -= cost;
            let asks = format!("wants {} units of {what} for {} sat", want.units, sat(want.limit));
            self.say(requester.name, &asks)?;
            self.jobs.push(Job {
                requester: want.requester,
                kind: want.kind,
                limit: want.limit,
                decided: Vec::new(),
                units: want.units,
                needs,
                done: false,
                moved: self.t,
            });
        }
        for number in 0..self.jobs.len() {
            let Some(job) = self.jobs.get(number) else { continue };
            let alive = self.contracts.iter().filter(|c| c.job == number && c.alive()).count();
            let found = alive + self.book.wishes(number);
            for _ in found..if job.done { found } else { job.needs } {
                self.book.bid(number, job.kind, job.limit, HIRED_FROM);
            }
        }
        Ok(())
    }

    /// Whatever meets in the book becomes a contract.
    pub(super) fn trade(&mut self) -> Result<(), Error> {
        loop {
            let (contracts, providers) = (&self.contracts, &self.providers);
            let trade = self.book.meet(&|bid, provider| {
                let known = contracts.iter().any(|c| c.job == bid.job && c.provider == provider);
                let standing = providers.get(provider).map_or(0, |provider| provider.standing);
                !known && standing >= bid.standing
            });
            let Some(trade) = trade else { return Ok(()) };
            let Some(job) = self.jobs.get(trade.job) else { continue };
            self.trades += 1;
            self.checks += 1;
            if trade.price > job.limit {
                self.fail(format!("traded at {}, above the limit", trade.price));
            }
            let first = self.jobs.get(trade.job).map_or(0, Job::next);
            self.prices[trade.kind] = trade.price;
            self.contracts.push(Contract {
                job: trade.job,
                provider: trade.provider,
                price: trade.price,
                stage: Stage::Agreed,
                first,
                results: Vec::new(),
                verified: 0,
                noted: 0,
                ready: self.t,
                offered: None,
                clear: self.t,
            });
            let what = KINDS[trade.kind].what();
            self.tell(trade.provider, &format!("sells {what} at {} sat a unit", sat(trade.price)))?;
        }
    }

    /// Providers offer the sessions of their contracts, requesters take them.
    pub(super) fn bargain(&mut self) -> Result<(), Error> {
        for accepts in [false, true] {
            for number in 0..self.contracts.len() {
                let Some(contract) = self.contracts.get(number) else { continue };
                if contract.stage != Stage::Agreed {
                    continue;
                }
                let (requester, price) = (self.requester_of(contract), contract.price);
                let at = self.hall.between(requester, contract.provider)?;
                let asked = contract.offered;
                if accepts && asked.is_some() {
                    let units = self.jobs.get(contract.job).map_or(0, |job| job.units);
                    if self.hall.accept(number, at, (price, units * price))?
                        && let Some(contract) = self.contracts.get_mut(number)
                    {
                        (contract.stage, contract.clear) = (Stage::Works, self.t);
                        contract.ready = self.t + 1;
                    }
                } else if !accepts
                    && asked.is_none_or(|asked| self.t > asked + OFFER_LOST)
                    && self.hall.offer(number, at, price)?
                    && let Some(contract) = self.contracts.get_mut(number)
                {
                    contract.offered = Some(self.t);
                }
            }
            self.hall.world.settle_down()?;
        }
        Ok(())
    }

    /// A provider that has credit for another unit does it, and shows its result.
    pub(super) fn deliver(&mut self) -> Result<(), Error> {
        self.peak.0 = 0;
        for number in 0..self.contracts.len() {
            let Some(contract) = self.contracts.get(number) else { continue };
            let (Some(job), Some(provider)) =
                (self.jobs.get(contract.job), self.providers.get(contract.provider))
            else {
                continue;
            };
            let unit = contract.first + contract.results.len() as u64;
            let (kind, pace) = (job.kind, provider.pace);
            let at = self.hall.between(job.requester, contract.provider)?;
            let line = self.hall.channels.get(at).is_some_and(|channel| channel.link.is_some());
            let works = contract.stage == Stage::Works && contract.ready <= self.t;
            if !works || !line || provider.gone || unit >= job.units {
                continue;
            }
            let Some(debt) = self.may_do(number)? else { continue };
            let truth = truth(kind, contract.job, unit);
            let makes_up = provider.habit == Habit::MakesUp && unit % 3 == 2;
            let Some(contract) = self.contracts.get_mut(number) else { continue };
            contract.results.push(if makes_up { truth + 1 } else { truth });
            (contract.ready, contract.clear) = (self.t + pace, self.t);
            self.peak = (self.peak.0.max(debt), self.peak.1.max(debt));
            self.checks += 1;
            if debt > CREDIT {
                self.fail(format!("{debt} msat on credit, the window is {CREDIT}"));
            }
        }
        Ok(())
    }
}

/// The number that a job's unit asks about: jobs ask about different ones.
pub(super) const fn asked(job: usize, unit: u64) -> u64 {
    job as u64 * 1_000 + unit
}

/// What is right: the example's own knowledge, which no requester has.
pub(super) fn truth(kind: usize, job: usize, unit: u64) -> u64 {
    KINDS[kind].work(asked(job, unit))
}
