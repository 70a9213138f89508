//! Runs a scenario on an arena and stops at the first verdict that differs.

use crate::sim::scenario::{Arena, Scenario, Step, Verdict};
use crate::units::{Blocks, Height};

/// What was run, when every verdict was as expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Report {
    /// Transactions, packages and blocks of given transactions that were taken.
    pub accepted: u32,
    /// Those that were refused, with the expected class.
    pub refused: u32,
    /// Reorganisations.
    pub reorgs: u32,
}

/// The first step whose outcome was not the expected one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{scenario}, step {step} ({what}): expected {expected:?}, got {got:?}")]
pub struct Mismatch {
    /// The scenario's name.
    pub scenario: &'static str,
    /// Which step, from 0.
    pub step: usize,
    /// What the step was about.
    pub what: &'static str,
    /// The expected outcome.
    pub expected: Outcome,
    /// The outcome.
    pub got: Outcome,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A verdict on a transaction, package or block.
    Verdict(Verdict),
    /// The height of the chain after mining or a reorganisation.
    Height(Height),
    /// Whether a transaction is in the mempool.
    InMempool(bool),
}

/// Runs `scenario` on a fresh `arena`.
///
/// # Errors
/// [`Mismatch`] at the first step whose outcome is not the expected one.
pub fn run(scenario: &Scenario, arena: &mut impl Arena) -> Result<Report, Mismatch> {
    let mut report = Report::default();
    for (index, step) in scenario.steps.iter().enumerate() {
        let (what, expected, got) = play(step, arena);
        if expected != got {
            return Err(Mismatch { scenario: scenario.name, step: index, what, expected, got });
        }
        report.count(step);
    }
    Ok(report)
}

impl Report {
    /// Counts one step that went as expected.
    fn count(&mut self, step: &Step) {
        let counter = match step {
            Step::Submit { expect, .. }
            | Step::Package { expect, .. }
            | Step::Connect { expect, .. }
            | Step::Block { expect, .. } => match expect {
                Verdict::Accept => &mut self.accepted,
                Verdict::Refuse(_) => &mut self.refused,
            },
            Step::Reorg { .. } => &mut self.reorgs,
            Step::Mine { .. } | Step::InMempool { .. } => return,
        };
        *counter = counter.saturating_add(1);
    }
}

/// Plays one step: what it is about, the expected outcome and the real one.
fn play(step: &Step, arena: &mut impl Arena) -> (&'static str, Outcome, Outcome) {
    match step {
        Step::Submit { what, tx, expect } => {
            (what, Outcome::Verdict(*expect), Outcome::Verdict(arena.submit(tx)))
        }
        Step::Package { what, txs, expect } => {
            (what, Outcome::Verdict(*expect), Outcome::Verdict(arena.submit_package(txs)))
        }
        Step::Connect { what, txs, expect } => {
            (what, Outcome::Verdict(*expect), Outcome::Verdict(arena.connect(txs)))
        }
        Step::Block { what, block, expect } => {
            (what, Outcome::Verdict(*expect), Outcome::Verdict(arena.connect_block(block)))
        }
        Step::Mine { blocks } => {
            let expected = arena.tip().height.saturating_after(*blocks);
            let verdict = arena.mine(*blocks);
            ("mine", Outcome::Height(expected), height_after(verdict, arena))
        }
        Step::Reorg { depth, branch } => {
            let branch_len = u32::try_from(branch.len()).ok().and_then(|n| Blocks::new(n).ok());
            let expected = arena
                .tip()
                .height
                .saturating_before(*depth)
                .saturating_after(branch_len.unwrap_or(Blocks::MAX));
            let verdict = arena.reorg(*depth, branch);
            ("reorganisation", Outcome::Height(expected), height_after(verdict, arena))
        }
        Step::InMempool { what, txid, expect } => {
            (what, Outcome::InMempool(*expect), Outcome::InMempool(arena.in_mempool(*txid)))
        }
    }
}

/// A refusal shows as itself, an acceptance as the height that it led to.
fn height_after(verdict: Verdict, arena: &impl Arena) -> Outcome {
    match verdict {
        Verdict::Accept => Outcome::Height(arena.tip().height),
        refused @ Verdict::Refuse(_) => Outcome::Verdict(refused),
    }
}
