//! Timing two things in turns, so that whatever disturbs the machine disturbs both.

use std::error::Error;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

/// Which time counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    /// What this thread computed.
    Cpu,
    /// What passed: waiting for a disk is part of the figure.
    Wall,
}

/// How often to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) clock: Clock,
    /// Rounds that count; one more comes before them.
    pub(crate) rounds: u32,
    /// Changes between the two in a round.
    pub(crate) turns: u32,
    /// Operations of each in a turn.
    pub(crate) operations: u32,
}

/// The medians over all rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compared {
    /// Seconds of one operation of ours.
    pub(crate) ours: f64,
    /// Seconds of one bare operation.
    pub(crate) bare: f64,
    /// Ours by bare, each round by itself.
    pub(crate) ratio: f64,
}

/// Measures `ours` and `bare` in turns.
pub(crate) fn compare(
    plan: Plan,
    ours: &mut dyn FnMut() -> Result<(), Box<dyn Error>>,
    bare: &mut dyn FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<Compared, Box<dyn Error>> {
    let (mut all_ours, mut all_bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=plan.rounds {
        let (mut of_ours, mut of_bare) = (Duration::ZERO, Duration::ZERO);
        for turn in 0..plan.turns {
            // Who is first changes, so that neither always finds the other's caches.
            if turn % 2 == 0 {
                of_ours += lap(plan, ours)?;
                of_bare += lap(plan, bare)?;
            } else {
                of_bare += lap(plan, bare)?;
                of_ours += lap(plan, ours)?;
            }
        }
        if round > 0 {
            let operations = f64::from(plan.turns) * f64::from(plan.operations);
            all_ours.push(of_ours.as_secs_f64() / operations);
            all_bare.push(of_bare.as_secs_f64() / operations);
            ratios.push(of_ours.as_secs_f64() / of_bare.as_secs_f64());
        }
    }
    Ok(Compared { ours: median(all_ours), bare: median(all_bare), ratio: median(ratios) })
}

#[expect(clippy::disallowed_methods, reason = "a bench needs the clock; the rule is the core's")]
fn lap(
    plan: Plan,
    operation: &mut dyn FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    match plan.clock {
        Clock::Cpu => {
            let began = ThreadTime::now();
            for _ in 0..plan.operations {
                operation()?;
            }
            Ok(began.elapsed())
        }
        Clock::Wall => {
            let began = Instant::now();
            for _ in 0..plan.operations {
                operation()?;
            }
            Ok(began.elapsed())
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
