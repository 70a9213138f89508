//! The end of a run in lines, the same as JSON, and the plot of the shift.

use std::fmt::Write;

use serde::Serialize;

use super::books::NAMES;
use super::crew::Habit;
use super::shift::{Answers, Earned, Outcome, Sample};
use crate::common::output::sat;
use crate::common::plot::{BLUE, GREEN, ORANGE, PURPLE, Panel, Series, draw};
use crate::common::{Error, Options};

/// The whole run in numbers.
#[derive(Serialize)]
struct Whole<'a> {
    seed: u64,
    chaos: u8,
    minutes: u64,
    answers: Answers,
    good_work: u64,
    suspects: u64,
    rewards_msat: u64,
    schemes: Vec<Row>,
    channels_paid_msat: u64,
    vouchers: u64,
    commits: u64,
    faults: u64,
    settled_workers: u64,
    settlement_fees_sat: u64,
    workers_got_sat: u64,
    checks: u64,
    broken: &'a [String],
}

/// A scheme: what it owes in all, what the pool has left, what a thousand hashes earned.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    owed_msat: u64,
    fee_msat: u64,
    /// Blocks' rewards less all that is owed: the pool's luck and fee.
    pool_msat: i64,
    honest_msat_per_kilohash: u64,
    hopper_msat_per_kilohash: u64,
    withholder_msat_per_kilohash: u64,
}

fn rows(outcome: &Outcome) -> Vec<Row> {
    let row = |(scheme, name): (usize, &&'static str)| {
        let owed: u64 = outcome.earned.iter().map(|earned| earned.owed[scheme]).sum();
        let rate = |habit: Habit| {
            let mine = || outcome.earned.iter().filter(|earned| earned.habit == habit);
            let (owed, hashes) = mine().fold((0, 0), |(owed, hashes), earned| {
                (owed + u128::from(earned.owed[scheme]), hashes + u128::from(earned.hashes))
            });
            u64::try_from(owed * 1_000 / hashes.max(1)).unwrap_or(u64::MAX)
        };
        Row {
            name,
            owed_msat: owed,
            fee_msat: outcome.fees[scheme],
            pool_msat: outcome.rewards.cast_signed() - owed.cast_signed(),
            honest_msat_per_kilohash: rate(Habit::Honest),
            hopper_msat_per_kilohash: rate(Habit::Hops),
            withholder_msat_per_kilohash: rate(Habit::Withholds),
        }
    };
    NAMES.iter().enumerate().map(row).collect()
}

fn suspects(outcome: &Outcome) -> u64 {
    outcome.earned.iter().filter(|earned| earned.suspect).count() as u64
}

/// As JSON.
pub(crate) fn json(options: &Options, outcome: &Outcome) -> Result<String, Error> {
    let paid = &outcome.paid;
    let whole = Whole {
        seed: options.seed,
        chaos: options.chaos,
        minutes: outcome.samples.len() as u64,
        answers: outcome.answers,
        good_work: outcome.earned.iter().map(|earned| earned.work).sum(),
        suspects: suspects(outcome),
        rewards_msat: outcome.rewards,
        schemes: rows(outcome),
        channels_paid_msat: paid.msat,
        vouchers: paid.vouchers,
        commits: paid.commits,
        faults: paid.faults,
        settled_workers: paid.settled,
        settlement_fees_sat: paid.fees,
        workers_got_sat: paid.got,
        checks: outcome.checks,
        broken: &outcome.broken,
    };
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}

/// As lines.
pub(crate) fn text(options: &Options, outcome: &Outcome) -> String {
    let (answers, paid) = (&outcome.answers, &outcome.paid);
    let hashes: u64 = outcome.earned.iter().map(|earned| earned.hashes).sum();
    let mut text = format!("\nseed {}, chaos {}\n", options.seed, options.chaos);
    let _always = writeln!(
        text,
        "{} workers did {hashes} hashes in {} minutes: {} good shares, {} blocks of {} sat in all",
        outcome.earned.len(),
        outcome.samples.len(),
        answers.good,
        answers.blocks,
        outcome.rewards / 1_000,
    );
    let _always = writeln!(
        text,
        "  refused: {} sent twice, {} above their target, {} stale, {} ahead of time, {} else; {} \
         blocks were thrown away, {} workers found fewer than luck explains",
        answers.duplicate,
        answers.low,
        answers.stale,
        answers.bad_time,
        answers.other,
        answers.withheld,
        suspects(outcome),
    );
    let _always = writeln!(
        text,
        "  of a thousand hashes, in sat       honest   hopper withholds   the pool's rest"
    );
    for row in rows(outcome) {
        let _always = writeln!(
            text,
            "  {:<30} {:>10} {:>8} {:>9} {:>17}",
            row.name,
            short(row.honest_msat_per_kilohash),
            short(row.hopper_msat_per_kilohash),
            short(row.withholder_msat_per_kilohash),
            row.pool_msat / 1_000,
        );
    }
    let _always = writeln!(
        text,
        "paid by PPS through channels: {} sat in {} vouchers, {} store commits, {} faults",
        sat(paid.msat),
        paid.vouchers,
        paid.commits,
        paid.faults,
    );
    let _always = writeln!(
        text,
        "on the chain: {} workers settled for {} sat of fees and got {} sat; the others earned too \
         little for a transaction, and go on",
        paid.settled, paid.fees, paid.got,
    );
    let checks = outcome.checks;
    let _always =
        writeln!(text, "invariants checked {checks} times, {} broken", outcome.broken.len());
    text
}

/// Satoshis with one digit behind the point.
fn short(msat: u64) -> String {
    format!("{}.{}", msat / 1_000, msat % 1_000 / 100)
}

/// The work, what each scheme owes, the pool's luck, and what the workers earned by their power.
pub(crate) fn picture(outcome: &Outcome) -> Result<String, Error> {
    let end = outcome.samples.len() as f64 / 60.0;
    let points = |value: &dyn Fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        outcome.samples.iter().map(|sample| (sample.minute as f64 / 60.0, value(sample))).collect()
    };
    let line = |label, color, points| Series { label, color, filled: false, points };
    let panel = |title: &str, unit, top, series| Panel {
        title: title.into(),
        unit,
        end,
        top,
        series,
        limit: None,
        marks: vec![],
    };
    let owed = |scheme: usize| points(&|sample| sample.owed[scheme] as f64 / 1e9);
    let rewards = points(&|sample| sample.rewards as f64 / 1e9);
    let most = outcome.samples.iter().map(|s| s.rewards.max(s.owed[0])).max().unwrap_or(1);
    let most = most as f64 / 1e9 * 1.5;
    let colors = [BLUE, ORANGE, GREEN, PURPLE];
    let schemes = colors.into_iter().enumerate();
    let schemes = schemes.map(|(scheme, color)| line(NAMES[scheme], color, owed(scheme)));
    let work = points(&|sample| sample.work as f64 / 1e3);
    let busiest = work.iter().map(|point| point.1).fold(1.0, f64::max) * 1.2;
    let panels = [
        panel("Good work a minute", "kilohashes", busiest, vec![line("", BLUE, work)]),
        panel("What is owed by each scheme", "million sat", most, schemes.collect()),
        panel(
            "What blocks brought, and what PPS has paid for them through channels",
            "million sat",
            most,
            vec![
                line("blocks", ORANGE, rewards),
                line("paid", GREEN, points(&|sample| sample.paid as f64 / 1e9)),
            ],
        ),
        by_power(outcome, end),
    ];
    draw("A shift of a hundred workers", "hours", 1, (1_000, 240), &panels)
}

/// Earnings of a thousand hashes by worker, slowest first: a level line is a fair scheme.
fn by_power(outcome: &Outcome, end: f64) -> Panel {
    let mut by_power: Vec<&Earned> =
        outcome.earned.iter().filter(|earned| earned.hashes > 0).collect();
    by_power.sort_by_key(|earned| earned.power);
    let step = end / by_power.len().max(1) as f64;
    let points = |scheme: usize| {
        let rate = |earned: &&Earned| earned.owed[scheme] as f64 / earned.hashes as f64 / 1e3;
        by_power.iter().enumerate().map(|(at, earned)| (at as f64 * step, rate(earned))).collect()
    };
    let series = |scheme: usize, color| Series {
        label: NAMES[scheme],
        color,
        filled: false,
        points: points(scheme),
    };
    Panel {
        title: "What a hash earned, from the slowest worker (left) to the fastest".into(),
        unit: "sat",
        end,
        top: 6.0,
        series: vec![series(0, BLUE), series(1, ORANGE), series(2, GREEN), series(3, PURPLE)],
        limit: None,
        marks: vec![],
    }
}
