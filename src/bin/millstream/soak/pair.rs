//! `millstream soak`: pairs of a payer and a payee under faults, and nothing lost.

use millstream::sim::pair::{Counters, Failure, Flaw, Report};

use super::FAILURES_SHOWN;

/// What all runs came to.
#[derive(Debug, Default)]
pub(super) struct Sum {
    counters: Counters,
    wedges: u64,
    broken: u64,
    lost_msat: u64,
    failures: Vec<(u64, Failure)>,
}

impl super::Sum for Sum {
    type Report = Report;

    fn add(&mut self, report: &Report) {
        self.counters.add(&report.counters);
        self.lost_msat = self.lost_msat.saturating_add(report.lost.to_msat());
        let Some(failure) = report.failure else { return };
        match failure.flaw {
            Flaw::Wedged { .. } | Flaw::Refused { .. } => {
                self.wedges = self.wedges.saturating_add(1);
            }
            _ => self.broken = self.broken.saturating_add(1),
        }
        self.failures.push((report.seed, failure));
    }

    fn sort(&mut self) {
        self.failures.sort_unstable_by_key(|(seed, _)| *seed);
    }

    fn print(&self, runs: u64) {
        println!("{runs:>10} runs");
        for (count, number) in self.counters.iter() {
            println!("{number:>10} {}", count.name());
        }
        println!("{:>10} wedges", self.wedges);
        println!("{:>10} other broken promises", self.broken);
        println!("{:>10} msat lost beyond the window", self.lost_msat);
        for (seed, failure) in self.failures.iter().take(FAILURES_SHOWN) {
            println!("seed {seed} {failure}; replay: millstream soak --only-seed {seed}");
        }
    }

    fn failed(&self) -> Option<usize> {
        Some(self.failures.len()).filter(|failed| *failed > 0)
    }

    fn missing(&self) -> Option<&'static str> {
        let missing = self.counters.iter().find(|(_, number)| *number == 0);
        missing.map(|(count, _)| count.name())
    }
}
