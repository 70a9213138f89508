//! `millstream soak`: simulated pairs, or hubs, by the thousand, and nothing lost.

mod hub;

use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use millstream::sim::pair::{Counters, Failure, Flaw, Pairs, Report};

/// How many failures are printed one by one.
const FAILURES_SHOWN: usize = 200;
/// Fewer runs need not meet every fault.
const EVERY_FAULT_FROM: u64 = 300;

/// Runs seeded pairs or hubs with faults; fails if anything wedges, is lost, or was never tried.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How many runs
    #[arg(long, default_value_t = 10_000)]
    runs: u64,
    /// The first seed; the others follow it
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Replays one seed and tells every step
    #[arg(long, conflicts_with_all = ["runs", "seed"])]
    only_seed: Option<u64>,
    /// How many threads share the runs; as many as there are cores if not given
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: Option<u8>,
    /// Hubs between hostile senders and receivers, instead of pairs
    #[arg(long)]
    hub: bool,
}

/// Gives each seed to one of the threads.
fn spread(args: &Args, run: impl Fn(u64) + Sync) -> Result<(), Box<dyn Error>> {
    let bar = ProgressBar::new(args.runs);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {per_sec}, {eta}")?);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.map_or(cores, usize::from);
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= args.runs {
                        return;
                    }
                    run(args.seed.wrapping_add(number));
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    Ok(())
}

/// What all runs came to.
#[derive(Debug, Default)]
struct Sum {
    counters: Counters,
    wedges: u64,
    broken: u64,
    lost_msat: u64,
    failures: Vec<(u64, Failure)>,
}

impl Sum {
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

    fn verdict(&self, runs: u64) -> Result<(), Box<dyn Error>> {
        if !self.failures.is_empty() {
            return Err(format!("{} of {runs} runs failed", self.failures.len()).into());
        }
        let missing = self.counters.iter().find(|(_, number)| *number == 0);
        match missing.filter(|_| runs >= EVERY_FAULT_FROM) {
            Some((count, _)) => Err(format!("no {} in {runs} runs", count.name()).into()),
            None => Ok(()),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if args.hub {
        return hub::run(args);
    }
    let pairs = Pairs::new();
    if let Some(seed) = args.only_seed {
        let report = pairs.run_told(seed, &mut |step| println!("{step}"));
        let mut sum = Sum::default();
        sum.add(&report);
        sum.print(1);
        return sum.verdict(1);
    }
    let sum = Mutex::new(Sum::default());
    spread(args, |seed| {
        let report = pairs.run(seed);
        sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(&report);
    })?;
    let mut sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Threads end in any order; a report does not.
    sum.failures.sort_unstable_by_key(|(seed, _)| *seed);
    sum.print(args.runs);
    sum.verdict(args.runs)
}
