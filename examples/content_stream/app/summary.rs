//! The end of a run in lines, the same as JSON, and the plot of the first viewer's evening.

use std::collections::BTreeMap;

use serde::Serialize;

use super::evening::Sample;
use super::outcome::Outcome;
use super::studio::CREDIT;
use crate::common::books::{Kept, Kind};
use crate::common::output::sat;
use crate::common::plot::{BLUE, GREEN, ORANGE, PURPLE, Panel, Series, draw};
use crate::common::{Error, Options};

/// The whole run in numbers.
#[derive(Serialize)]
struct Whole<'a> {
    seed: u64,
    chaos: u8,
    viewers: u64,
    seconds: u64,
    sessions: u64,
    worth_msat: u64,
    paid_msat: u64,
    unpaid_msat: u64,
    unpaid_viewers: u64,
    window_msat: u64,
    peak_msat: u64,
    statements: u64,
    vouchers: u64,
    messages: u64,
    wire_bytes: u64,
    commits: u64,
    barriers: u64,
    faults: u64,
    on_chain: &'a BTreeMap<Kind, Kept>,
    studio_got_sat: u64,
    checks: u64,
    broken: &'a [String],
}

/// As JSON.
pub(crate) fn json(options: &Options, outcome: &Outcome) -> Result<String, Error> {
    let whole = Whole {
        seed: options.seed,
        chaos: options.chaos,
        viewers: outcome.viewers,
        seconds: outcome.seconds,
        sessions: outcome.sessions,
        worth_msat: outcome.worth,
        paid_msat: outcome.paid,
        unpaid_msat: outcome.unpaid.0,
        unpaid_viewers: outcome.unpaid.1,
        window_msat: CREDIT,
        peak_msat: outcome.peak,
        statements: outcome.statements,
        vouchers: outcome.vouchers,
        messages: outcome.wire.0,
        wire_bytes: outcome.wire.1,
        commits: outcome.commits.0,
        barriers: outcome.commits.1,
        faults: outcome.faults,
        on_chain: &outcome.books.kinds,
        studio_got_sat: outcome.books.to_payee,
        checks: outcome.checks,
        broken: &outcome.broken,
    };
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}

/// As lines.
pub(crate) fn text(options: &Options, outcome: &Outcome) -> String {
    let settled = outcome.books.kept(Kind::Settlement);
    format!(
        "\nseed {}, chaos {}\n\
         {} viewers saw {} seconds in {} sessions and paid {} sat of {}\n\
         \u{20} {} vouchers, {} statements that both agree on; {} cut off, {} sat unpaid\n\
         \u{20} {} faults; largest debt {} of a window of {} sat a viewer\n\
         \u{20} {} messages with {} bytes, {} store commits ({} barriers)\n\
         on the chain: {} settlement ({} vB) of {} channels for {} sat of fees; \
         the studio got {} sat\n\
         invariants checked {} times, {} broken\n",
        options.seed,
        options.chaos,
        outcome.viewers,
        outcome.seconds,
        outcome.sessions,
        sat(outcome.paid),
        sat(outcome.worth),
        outcome.vouchers,
        outcome.statements,
        outcome.unpaid.1,
        sat(outcome.unpaid.0),
        outcome.faults,
        sat(outcome.peak),
        CREDIT / 1_000,
        outcome.wire.0,
        outcome.wire.1,
        outcome.commits.0,
        outcome.commits.1,
        settled.transactions,
        settled.vbytes,
        settled.channels,
        settled.fees_sat,
        outcome.books.to_payee,
        outcome.checks,
        outcome.broken.len(),
    )
}

/// What the first viewer sees, what it costs, its debt, and what it has paid.
pub(crate) fn picture(outcome: &Outcome) -> Result<String, Error> {
    let last = outcome.samples.iter().rev().find(|sample| sample.sees > 0);
    let end = last.map_or(1.0, |sample| minutes(sample.t)) * 1.03;
    let points = |value: &dyn Fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        let samples = outcome.samples.iter().filter(|sample| minutes(sample.t) <= end);
        samples.map(|sample| (minutes(sample.t), value(sample))).collect()
    };
    let one = |color, filled, points| vec![Series { label: "", color, filled, points }];
    let panel = |title: &str, unit, top, series, limit, marks| Panel {
        title: title.into(),
        unit,
        end,
        top,
        series,
        limit,
        marks,
    };
    let paid = points(&|sample| sample.paid as f64 / 1e3);
    let top = paid.last().map_or(1.0, |(_, paid)| *paid) * 1.2;
    let marks = |words: &[&str]| -> Vec<(f64, String)> {
        let named = outcome.marks.iter().filter(|mark| {
            words.iter().any(|word| mark.what.starts_with(word)) && minutes(mark.t) < end
        });
        named.map(|mark| (minutes(mark.t), mark.what.clone())).collect()
    };
    let window = CREDIT as f64 / 1e3;
    let panels = [
        panel(
            "What the first viewer sees: 1 SD, 2 HD, 3 UHD, 0 nothing",
            "quality",
            4.0,
            one(BLUE, true, points(&|sample| sample.sees as f64)),
            None,
            marks(&["pauses", "wants", "its line", "its machine"]),
        ),
        panel(
            "What a minute costs: it gets dearer at ten minutes",
            "sat/min",
            110.0,
            one(PURPLE, true, points(&|sample| sample.minute as f64 / 1e3)),
            None,
            marks(&["90 sat"]),
        ),
        panel(
            "Sent and not yet paid, just before each payment, against the window",
            "sat",
            window * 1.3,
            one(GREEN, false, points(&|sample| sample.peak as f64 / 1e3)),
            Some((window, "window: all that the studio risks")),
            vec![],
        ),
        panel("Paid, a voucher a second", "sat", top, one(ORANGE, true, paid), None, vec![]),
    ];
    draw("One evening, paid by the second", "minutes", 1, (1_000, 230), &panels)
}

fn minutes(seconds: u64) -> f64 {
    seconds as f64 / 60.0
}
