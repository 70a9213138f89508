//! `millstream soak --hub`: forwards between neighbours that do what they like, and nothing lost.

use millstream::sim::hub::{Counters, Flaw, Report};

use super::FAILURES_SHOWN;

/// What all runs came to.
#[derive(Debug, Default)]
pub(super) struct Sum {
    counters: Counters,
    commits: u64,
    lost_msat: u64,
    earned_msat: u64,
    flaws: Vec<(u64, Flaw)>,
}

impl super::Sum for Sum {
    type Report = Report;

    fn add(&mut self, report: &Report) {
        self.counters.add(&report.counters);
        self.commits = self.commits.saturating_add(report.commits);
        self.lost_msat = self.lost_msat.saturating_add(report.lost.to_msat());
        self.earned_msat = self.earned_msat.saturating_add(report.earned.to_msat());
        self.flaws.extend(report.flaw.map(|flaw| (report.seed, flaw)));
    }

    fn sort(&mut self) {
        self.flaws.sort_unstable_by_key(|(seed, _)| *seed);
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

    fn failed(&self) -> Option<usize> {
        let lost = !self.flaws.is_empty() || self.lost_msat > 0;
        lost.then_some(self.flaws.len())
    }

    fn missing(&self) -> Option<&'static str> {
        let missing = self.counters.iter().find(|(_, number)| *number == 0);
        missing.map(|(count, _)| count.name())
    }
}
