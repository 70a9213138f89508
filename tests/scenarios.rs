//! The list of scenarios on the simulated chain, every script run by Bitcoin Core's interpreter.
//!
//! `tests/judge` runs the same list on Bitcoin Core's own engine: the same verdicts there show that
//! the simulated chain judges as the real one does.

use std::collections::BTreeSet;

use millstream::chain::Reason;
use millstream::chain::regtest::Regtest;
use millstream::sim::scenario::{self, Step, Verdict};

#[test]
fn every_scenario_gets_its_verdicts_on_the_simulated_chain() {
    let scenarios = scenario::all().unwrap();
    let mut mismatches = Vec::new();
    let (mut accepted, mut refused, mut reorgs) = (0, 0, 0);
    for scenario in &scenarios {
        let mut chain = Regtest::new().unwrap();
        match scenario::run(scenario, &mut chain) {
            Ok(report) => {
                accepted += report.accepted;
                refused += report.refused;
                reorgs += report.reorgs;
            }
            Err(mismatch) => mismatches.push(mismatch.to_string()),
        }
    }
    println!(
        "{} scenarios: {accepted} accepted, {refused} refused, {reorgs} reorganisations",
        scenarios.len()
    );
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
    assert!(accepted > 50 && refused > 50 && reorgs > 3);
}

#[test]
fn every_class_of_refusal_has_a_scenario() {
    let seen: BTreeSet<Reason> = scenario::all()
        .unwrap()
        .iter()
        .flat_map(|scenario| &scenario.steps)
        .filter_map(|step| match step {
            Step::Submit { expect: Verdict::Refuse(reason), .. }
            | Step::Package { expect: Verdict::Refuse(reason), .. }
            | Step::Block { expect: Verdict::Refuse(reason), .. } => Some(*reason),
            _ => None,
        })
        .collect();
    for reason in Reason::ALL {
        assert!(seen.contains(reason), "no scenario is refused as {reason}");
    }
}

#[test]
fn scenario_names_are_unique() {
    let scenarios = scenario::all().unwrap();
    let names: BTreeSet<&str> = scenarios.iter().map(|scenario| scenario.name).collect();
    assert_eq!(names.len(), scenarios.len());
}

#[test]
fn forged_scenario_without_script_check_is_noticed() {
    let scenarios = scenario::all().unwrap();
    let forged = scenarios.iter().find(|s| s.name == "coin_spent_forged_or_overspent").unwrap();
    let mut chain = Regtest::unchecked_scripts();
    let mismatch = scenario::run(forged, &mut chain).unwrap_err();
    assert_eq!(mismatch.what, "forged signature");
}
