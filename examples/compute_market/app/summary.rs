//! The end of a run in lines, the same as JSON, and the plot of the day.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::day::{Sample, Units};
use super::hall::CREDIT;
use super::outcome::Outcome;
use super::task::KINDS;
use crate::common::books::{Kept, Kind};
use crate::common::output::sat;
use crate::common::plot::{BLUE, GREEN, ORANGE, PURPLE, Panel, Series, draw};
use crate::common::{Error, Options};

/// The whole run in numbers.
#[derive(Serialize)]
struct Whole<'a> {
    seed: u64,
    chaos: u8,
    jobs_finished: u64,
    jobs_given_up: u64,
    trades: u64,
    units: Units,
    worth_msat: u64,
    paid_msat: u64,
    window_msat: u64,
    peak_msat: u64,
    statements: u64,
    vouchers: u64,
    providers: Vec<Row>,
    faults: u64,
    on_chain: &'a BTreeMap<Kind, Kept>,
    providers_got_sat: u64,
    checks: u64,
    broken: &'a [String],
}

/// A provider.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    standing: u32,
    contracts: u64,
    units: u64,
    paid_msat: u64,
}

/// As JSON.
pub(crate) fn json(options: &Options, outcome: &Outcome) -> Result<String, Error> {
    let row = |earned: &super::outcome::Earned| Row {
        name: earned.name,
        standing: earned.standing,
        contracts: earned.contracts,
        units: earned.verified,
        paid_msat: earned.paid,
    };
    let whole = Whole {
        seed: options.seed,
        chaos: options.chaos,
        jobs_finished: outcome.jobs.0,
        jobs_given_up: outcome.jobs.1,
        trades: outcome.trades,
        units: outcome.units,
        worth_msat: outcome.worth,
        paid_msat: outcome.paid,
        window_msat: CREDIT,
        peak_msat: outcome.peak,
        statements: outcome.statements,
        vouchers: outcome.vouchers,
        providers: outcome.earned.iter().map(row).collect(),
        faults: outcome.faults,
        on_chain: &outcome.books.kinds,
        providers_got_sat: outcome.books.to_payee,
        checks: outcome.checks,
        broken: &outcome.broken,
    };
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}

/// As lines.
pub(crate) fn text(options: &Options, outcome: &Outcome) -> String {
    let settled = outcome.books.kept(Kind::Settlement);
    let mut text = format!("\nseed {}, chaos {}\n", options.seed, options.chaos);
    let _always = writeln!(
        text,
        "{} contracts for {} jobs, {} of them finished",
        outcome.trades,
        outcome.jobs.0 + outcome.jobs.1,
        outcome.jobs.0,
    );
    let _always = writeln!(
        text,
        "  {} units verified and worth {} sat, {} sat paid; {} wrong units, none paid \
         ({} claimed in vain)",
        outcome.units.verified,
        sat(outcome.worth),
        sat(outcome.paid),
        outcome.units.wrong,
        outcome.units.claims_refused,
    );
    let _always = writeln!(
        text,
        "  {} vouchers, {} statements that both agree on; {} faults; largest debt {} of a window \
         of {} sat",
        outcome.vouchers,
        outcome.statements,
        outcome.faults,
        sat(outcome.peak),
        CREDIT / 1_000,
    );
    let _always = writeln!(text, "  provider   standing  contracts  units  paid sat");
    for earned in &outcome.earned {
        let _always = writeln!(
            text,
            "  {:<9} {:>9} {:>10} {:>6} {:>9}",
            earned.name,
            earned.standing,
            earned.contracts,
            earned.verified,
            sat(earned.paid),
        );
    }
    let _always = writeln!(
        text,
        "on the chain: {} settlements ({} vB) of {} channels for {} sat of fees; the providers \
         got {} sat",
        settled.transactions,
        settled.vbytes,
        settled.channels,
        settled.fees_sat,
        outcome.books.to_payee,
    );
    let _always = writeln!(
        text,
        "invariants checked {} times, {} broken",
        outcome.checks,
        outcome.broken.len()
    );
    text
}

/// Who works, what a unit costs, what is on credit, and whom one trusts.
pub(crate) fn picture(outcome: &Outcome) -> Result<String, Error> {
    let last = outcome.samples.iter().rev().find(|sample| sample.working > 0);
    let end = last.map_or(1.0, |sample| minutes(sample.t)) * 1.03;
    let points = |value: &dyn Fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        let samples = outcome.samples.iter().filter(|sample| minutes(sample.t) <= end);
        samples.map(|sample| (minutes(sample.t), value(sample))).collect()
    };
    let one = |color, filled, points| vec![Series { label: "", color, filled, points }];
    let panel = |title: &str, unit, top, series, limit| Panel {
        title: title.into(),
        unit,
        end,
        top,
        series,
        limit,
        marks: vec![],
    };
    let working = points(&|sample| sample.working as f64);
    let most = working.iter().map(|point| point.1).fold(1.0, f64::max) * 1.2;
    let paid = points(&|sample| sample.paid as f64 / 1e3);
    let all = paid.last().map_or(1.0, |(_, paid)| *paid) * 1.2;
    let window = CREDIT as f64 / 1e3;
    let colors = [BLUE, ORANGE, GREEN, PURPLE];
    let prices = KINDS.iter().enumerate().zip(colors).map(|((kind, task), color)| Series {
        label: task.what(),
        color,
        filled: false,
        points: points(&|sample| sample.prices[kind] as f64 / 1e3),
    });
    // An honest one, the one that makes results up, the one that vanishes, a dear one.
    let shown = [0, 2, 3, 6].into_iter().zip(colors).map(|(provider, color)| Series {
        label: outcome.names[provider],
        color,
        filled: false,
        points: points(&|sample| f64::from(sample.standings[provider])),
    });
    let panels = [
        panel("Contracts at work", "contracts", most, one(BLUE, true, working), None),
        panel("The last price of a unit", "sat", 90.0, prices.collect(), None),
        panel(
            "The largest debt of a contract, just before it is paid, against the window",
            "sat",
            window * 1.3,
            one(GREEN, false, points(&|sample| sample.peak as f64 / 1e3)),
            Some((window, "window: all that a provider risks with a requester")),
        ),
        panel("Standing: a wrong unit halves it", "of 1,000", 1_900.0, shown.collect(), None),
        panel("Paid to all providers", "sat", all, one(ORANGE, true, paid), None),
    ];
    draw("A day at the market for computing", "minutes", 1, (1_000, 210), &panels)
}

fn minutes(seconds: u64) -> f64 {
    seconds as f64 / 60.0
}
