//! `millstream soak`: simulated pairs, or hubs, by the thousand, and nothing lost.

mod hub;
mod pair;

use core::fmt::Display;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use millstream::sim::hub::Hubs;
use millstream::sim::pair::Pairs;

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

/// What all runs of one kind came to.
trait Sum: Default + Send {
    /// What one run came to.
    type Report;

    fn add(&mut self, report: &Self::Report);
    /// The failures by their seeds.
    fn sort(&mut self);
    fn print(&self, runs: u64);
    /// How many runs failed, if anything is wrong.
    fn failed(&self) -> Option<usize>;
    /// The name of something that no run met.
    fn missing(&self) -> Option<&'static str>;
}

fn verdict(sum: &impl Sum, runs: u64) -> Result<(), Box<dyn Error>> {
    if let Some(failed) = sum.failed() {
        return Err(format!("{failed} of {runs} runs failed").into());
    }
    match sum.missing().filter(|_| runs >= EVERY_FAULT_FROM) {
        Some(name) => Err(format!("no {name} in {runs} runs").into()),
        None => Ok(()),
    }
}

/// Runs all seeds by `one`, or the one that is asked for by `told`, which is given where its steps
/// go.
fn campaign<S: Sum>(
    args: &Args,
    one: impl Fn(u64) -> S::Report + Sync,
    told: impl FnOnce(u64, &mut dyn FnMut(&dyn Display)) -> S::Report,
) -> Result<(), Box<dyn Error>> {
    if let Some(seed) = args.only_seed {
        let mut sum = S::default();
        sum.add(&told(seed, &mut |step| println!("{step}")));
        sum.print(1);
        return verdict(&sum, 1);
    }
    let sum = Mutex::new(S::default());
    spread(args, |seed| {
        let report = one(seed);
        sum.lock().unwrap_or_else(PoisonError::into_inner).add(&report);
    })?;
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Threads end in any order; a report does not.
    sum.sort();
    sum.print(args.runs);
    verdict(&sum, args.runs)
}

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if args.hub {
        let hubs = Hubs::new()?;
        return campaign::<hub::Sum>(
            args,
            |seed| hubs.run(seed),
            |seed, tell| hubs.run_told(seed, tell),
        );
    }
    let pairs = Pairs::new();
    campaign::<pair::Sum>(args, |seed| pairs.run(seed), |seed, tell| pairs.run_told(seed, tell))
}
