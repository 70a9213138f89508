//! `millstream soak --hub`: forwards between neighbours that do what they like, and nothing lost.

use std::error::Error;
use std::sync::Mutex;

use millstream::sim::hub::{Counters, Flaw, Hubs, Report};

use super::{Args, EVERY_FAULT_FROM, FAILURES_SHOWN, spread};

/// What all runs came to.
#[derive(Debug, Default)]
struct Sum {
    counters: Counters,
    commits: u64,
    lost_msat: u64,
    earned_msat: u64,
    flaws: Vec<(u64, Flaw)>,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.counters.add(&report.counters);
        self.commits = self.commits.saturating_add(report.commits);
        self.lost_msat = self.lost_msat.saturating_add(report.lost.to_msat());
        self.earned_msat = self.earned_msat.saturating_add(report.earned.to_msat());
        self.flaws.extend(report.flaw.map(|flaw| (report.seed, flaw)));
    }

    fn print(&self, runs: u64) {
        println!("{runs:>10} runs");
        for (count, number) in self.counters.iter() {
            println!("{number:>10} {}", count.name());
        }
        println!("{:>10} commits", self.commits);
        println!("{:>10} msat earned", self.earned_msat);
        println!("{:>10} broken promises", self.flaws.len());
        println!("{:>10} msat lost", self.lost_msat);
        for (seed, flaw) in self.flaws.iter().take(FAILURES_SHOWN) {
            println!("seed {seed} {flaw}; replay: millstream soak --hub --only-seed {seed}");
        }
    }

    fn verdict(&self, runs: u64) -> Result<(), Box<dyn Error>> {
        if !self.flaws.is_empty() || self.lost_msat > 0 {
            return Err(format!("{} of {runs} runs failed", self.flaws.len()).into());
        }
        let missing = self.counters.iter().find(|(_, number)| *number == 0);
        match missing.filter(|_| runs >= EVERY_FAULT_FROM) {
            Some((count, _)) => Err(format!("no {} in {runs} runs", count.name()).into()),
            None => Ok(()),
        }
    }
}

pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let hubs = Hubs::new()?;
    if let Some(seed) = args.only_seed {
        let report = hubs.run_told(seed, &mut |step| println!("{step}"));
        let mut sum = Sum::default();
        sum.add(&report);
        sum.print(1);
        return sum.verdict(1);
    }
    let sum = Mutex::new(Sum::default());
    spread(args, |seed| {
        let report = hubs.run(seed);
        sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(&report);
    })?;
    let mut sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Threads end in any order; a report does not.
    sum.flaws.sort_unstable_by_key(|(seed, _)| *seed);
    sum.print(args.runs);
    sum.verdict(args.runs)
}
