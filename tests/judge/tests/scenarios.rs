//! Every scenario of the crate before Bitcoin Core.
//!
//! Prints each step with Core's verdict in Core's words, up to the first comma (ids stand after it).
//! Fails at any verdict that the list does not expect, and if there is no scenario at all. An
//! argument picks the scenarios whose name contains it.

use std::process::ExitCode;

use millstream::sim::scenario::{self, Mismatch, Report, Scenario, Step, Verdict};
use millstream_judge::{Court, Heard};

fn main() -> ExitCode {
    // Options are for the harness of the other tests.
    let picked = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let all = match scenario::all() {
        Ok(all) => all,
        Err(error) => {
            println!("the scenarios cannot be built: {error}");
            return ExitCode::FAILURE;
        }
    };
    let chosen = all.iter().filter(|one| picked.as_deref().is_none_or(|it| one.name.contains(it)));
    let mut count = Count::default();
    for one in chosen {
        count.add(hear(one).ok());
    }
    let nothing = count.passed == 0 && picked.is_none();
    let good = count.failed == 0 && !nothing;
    println!(
        "\ntest result: {}. {} scenarios before Bitcoin Core: {} passed, {} failed; {} accepted, \
         {} refused, {} reorganisations",
        if good { "ok" } else { "FAILED" },
        count.passed + count.failed,
        count.passed,
        count.failed,
        count.accepted,
        count.refused,
        count.reorgs,
    );
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Count {
    passed: u32,
    failed: u32,
    accepted: u32,
    refused: u32,
    reorgs: u32,
}

impl Count {
    fn add(&mut self, outcome: Option<Report>) {
        match outcome {
            Some(report) => {
                self.passed += 1;
                self.accepted += report.accepted;
                self.refused += report.refused;
                self.reorgs += report.reorgs;
            }
            None => self.failed += 1,
        }
    }
}

/// Runs one scenario on a node of its own and prints what was said.
fn hear(scenario: &Scenario) -> Result<Report, Mismatch> {
    println!("\nscenario {}", scenario.name);
    let mut court = Court::new();
    let outcome = scenario::run(scenario, &mut court);
    let heard = scenario.steps.iter().filter(|step| !matches!(step, Step::InMempool { .. }));
    let lines: Vec<String> = heard
        .zip(court.heard())
        .map(|(step, heard)| format!("{}: {}", label(step), words(heard)))
        .collect();
    for same in lines.chunk_by(|line, next| line == next) {
        match same {
            [line] => println!("  {line}"),
            [line, ..] => println!("  {line} ({} times)", same.len()),
            [] => {}
        }
    }
    match &outcome {
        Ok(_) => println!("  as expected"),
        Err(mismatch) => {
            let last = court.heard().last().map_or("nothing", |heard| &heard.words);
            println!("  FAILED: {mismatch}; Core said {last:?}");
        }
    }
    outcome
}

fn label(step: &Step) -> String {
    match step {
        Step::Submit { what, .. } => format!("submit {what}"),
        Step::Package { what, .. } => format!("package {what}"),
        Step::Connect { what, .. } => format!("connect {what}"),
        Step::Block { what, .. } => format!("block {what}"),
        Step::Mine { blocks } => format!("mine {blocks}"),
        Step::Reorg { depth, branch } => format!("{depth} replaced by {}", branch.len()),
        Step::InMempool { what, .. } => format!("look for {what}"),
    }
}

fn words(heard: &Heard) -> String {
    match heard.verdict {
        Verdict::Accept => "accepted".to_owned(),
        Verdict::Refuse(reason) => {
            let said = heard.words.split(',').next().unwrap_or_default();
            format!("refused, {reason} ({said})")
        }
    }
}
