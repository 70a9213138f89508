//! The end of a run in lines, the same as JSON, and the plot of the day.

use std::fmt::Write;

use serde::Serialize;

use super::day::Sample;
use super::economics::{MACHINES, decimal, worth};
use super::home::CREDIT;
use super::outcome::Outcome;
use super::work::{TOO_HOT, WINDOW};
use crate::common::books::Kind;
use crate::common::output::sat;
use crate::common::plot::{BLUE, GREEN, ORANGE, PURPLE, Panel, Series, draw};
use crate::common::prices::kwh;
use crate::common::{Error, Options};

/// Seconds of a day.
const DAY: u128 = 86_400;

/// The whole run in numbers.
#[derive(Serialize)]
struct Whole<'a> {
    seed: u64,
    chaos: u8,
    hours: u64,
    hashes: u64,
    shares: u64,
    refused: u64,
    seconds_stopped: u64,
    credited_msat: u64,
    earned_msat: u64,
    energy_ws: u64,
    power_msat: u64,
    spent_msat: u64,
    work_risk_msat: u64,
    power_risk_msat: u64,
    board_millicelsius_max: i64,
    vouchers: u64,
    faults: u64,
    checks: u64,
    broken: &'a [String],
}

/// As JSON.
pub(crate) fn json(options: &Options, outcome: &Outcome) -> Result<String, Error> {
    let whole = Whole {
        seed: options.seed,
        chaos: options.chaos,
        hours: outcome.samples.len() as u64 / 60,
        hashes: outcome.hashes,
        shares: outcome.shares,
        refused: outcome.refused,
        seconds_stopped: outcome.stopped,
        credited_msat: outcome.credited,
        earned_msat: outcome.earned,
        energy_ws: outcome.energy,
        power_msat: outcome.bill,
        spent_msat: outcome.spent,
        work_risk_msat: outcome.risks.0,
        power_risk_msat: outcome.risks.1,
        board_millicelsius_max: outcome.hottest,
        vouchers: outcome.vouchers,
        faults: outcome.faults,
        checks: outcome.checks,
        broken: &outcome.broken,
    };
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}

/// As lines.
pub(crate) fn text(options: &Options, outcome: &Outcome) -> String {
    let mut text = format!("\nseed {}, chaos {}\n", options.seed, options.chaos);
    let part = outcome.earned * 1_000 / outcome.spent.max(1);
    let settled = outcome.books.kept(Kind::Settlement);
    let lines = [
        format!(
            "it drew {} kWh for {} sat, and earned {} sat by {} shares: {}.{} % of its power",
            kwh(outcome.energy),
            sat(outcome.spent),
            sat(outcome.earned),
            outcome.shares,
            part / 10,
            part % 10,
        ),
        format!(
            "  {} hashes, {} shares refused, {} seconds stopped because it was owed enough",
            outcome.hashes, outcome.refused, outcome.stopped,
        ),
        format!(
            "  at risk at most: {} sat of work (window {}), {} sat of power (window {}); board {} C \
             of {}",
            sat(outcome.risks.0),
            sat(WINDOW),
            sat(outcome.risks.1),
            sat(CREDIT),
            outcome.hottest / 1_000,
            TOO_HOT / 1_000,
        ),
        format!("  {} vouchers in both channels, {} faults", outcome.vouchers, outcome.faults),
        format!(
            "on the chain: {} settlements ({} vB) for {} sat of fees",
            settled.transactions, settled.vbytes, settled.fees_sat,
        ),
        "honest economics: the price above is private. What a day of hashing without rest brings"
            .to_string(),
        "on the real network (difficulty 1.44e14, 3.125 bitcoin a block), in msat:".to_string(),
    ];
    for line in lines {
        let _always = writeln!(text, "{line}");
    }
    for (machine, rate) in MACHINES {
        let worth = worth(rate * DAY).map_or_else(|error| error.to_string(), decimal);
        let _always = writeln!(text, "  {machine:<24} {rate:>17} H/s {worth:>16}");
    }
    let (checks, broken) = (outcome.checks, outcome.broken.len());
    let _always = writeln!(text, "invariants checked {checks} times, {broken} broken");
    text
}

/// Temperatures, what ran, what was owed, what went both ways.
pub(crate) fn picture(outcome: &Outcome) -> Result<String, Error> {
    let end = outcome.samples.last().map_or(1.0, |sample| hours(sample.t));
    let points = |value: &dyn Fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        outcome.samples.iter().map(|sample| (hours(sample.t), value(sample))).collect()
    };
    let series = |label, color, filled, points| Series { label, color, filled, points };
    let panel = |title: &str, unit, top, series, limit| Panel {
        title: title.into(),
        unit,
        end,
        top,
        series,
        limit,
        marks: vec![],
    };
    let most = outcome.samples.last().map_or(1, |sample| sample.spent.max(sample.earned));
    let window = WINDOW as f64 / 1e3;
    let panels = [
        panel(
            "Temperatures: the board and the inside",
            "C",
            70.0,
            vec![
                series("board", ORANGE, false, points(&|sample| sample.board as f64 / 1e3)),
                series("inside", BLUE, false, points(&|sample| sample.inside as f64 / 1e3)),
            ],
            Some((f64::from(TOO_HOT) / 1e3, "too hot to mine")),
        ),
        panel(
            "Of each minute: cooling, and hashing in what is left of it",
            "%",
            160.0,
            vec![
                series("compressor", BLUE, true, points(&|sample| sample.cooling as f64 / 10.0)),
                series("miner", PURPLE, true, points(&|sample| sample.hashing as f64 / 10.0)),
            ],
            None,
        ),
        panel(
            "What the house owes for work, by the fridge's own books",
            "sat",
            window * 1.4,
            vec![series("", GREEN, false, points(&|sample| sample.owed as f64 / 1e3))],
            Some((window, "window: there it stops")),
        ),
        panel(
            "Vouchers: earned by work, spent on power",
            "sat",
            most as f64 / 1e3 * 1.4,
            vec![
                series("spent", ORANGE, false, points(&|sample| sample.spent as f64 / 1e3)),
                series("earned", GREEN, false, points(&|sample| sample.earned as f64 / 1e3)),
            ],
            None,
        ),
    ];
    draw("A fridge that mines for a part of its power", "hours", 1, (1_000, 230), &panels)
}

fn hours(seconds: u64) -> f64 {
    seconds as f64 / 3_600.0
}
