//! The end of a run in lines, the same as JSON, and the plot of the day.

use serde::Serialize;

use super::day::{Outcome, Sample};
use super::depot::CREDIT;
use crate::common::books::{Kept, Kind};
use crate::common::output::sat;
use crate::common::plot::{BLUE, GREEN, PURPLE, Panel, Series, draw};
use crate::common::prices::kwh;
use crate::common::{Error, Options};

/// The whole run in numbers.
#[derive(Serialize)]
struct Whole<'a> {
    seed: u64,
    chaos: u8,
    cars: u64,
    energy_ws: u64,
    ticks: u64,
    faults: u64,
    paid_msat: u64,
    peak_msat: u64,
    window_msat: u64,
    statements: u64,
    vouchers: u64,
    messages: u64,
    wire_bytes: u64,
    commits: u64,
    barriers: u64,
    on_chain: &'a std::collections::BTreeMap<Kind, Kept>,
    operator_got_sat: u64,
    still_in_channels_sat: u64,
    checks: u64,
    broken: &'a [String],
}

/// As JSON.
pub(crate) fn json(options: &Options, outcome: &Outcome) -> Result<String, Error> {
    let whole = Whole {
        seed: options.seed,
        chaos: options.chaos,
        cars: outcome.cars,
        energy_ws: outcome.energy,
        ticks: outcome.ticks,
        faults: outcome.faults,
        paid_msat: outcome.paid,
        peak_msat: outcome.peak,
        window_msat: CREDIT,
        statements: outcome.statements,
        vouchers: outcome.vouchers,
        messages: outcome.messages,
        wire_bytes: outcome.bytes,
        commits: outcome.commits.0,
        barriers: outcome.commits.1,
        on_chain: &outcome.books.kinds,
        operator_got_sat: outcome.books.to_payee,
        still_in_channels_sat: outcome.books.open,
        checks: outcome.checks,
        broken: &outcome.broken,
    };
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}

/// As lines.
pub(crate) fn text(options: &Options, outcome: &Outcome) -> String {
    let (funding, settled) =
        (outcome.books.kept(Kind::Funding), outcome.books.kept(Kind::Settlement));
    let each = (settled.vbytes * 10).checked_div(settled.channels).unwrap_or(0);
    format!(
        "\nseed {}, chaos {}\n\
         {} cars took {} kWh for {} sat: {} vouchers, {} statements that both agree on\n\
         {} faults; largest debt {} of a window of {} sat a car\n\
         {} messages with {} bytes, {} store commits ({} barriers)\n\
         on the chain: {} fundings ({} vB) for {} channels,\n\
         {} settlements ({} vB, {}.{} a channel) for {} sat of fees; the operator got {} sat,\n\
         {} sat go on in the channels\n\
         invariants checked {} times, {} broken\n",
        options.seed,
        options.chaos,
        outcome.cars,
        kwh(outcome.energy),
        sat(outcome.paid),
        outcome.vouchers,
        outcome.statements,
        outcome.faults,
        sat(outcome.peak),
        CREDIT / 1_000,
        outcome.messages,
        outcome.bytes,
        outcome.commits.0,
        outcome.commits.1,
        funding.transactions,
        funding.vbytes,
        funding.channels,
        settled.transactions,
        settled.vbytes,
        each / 10,
        each % 10,
        settled.fees_sat,
        outcome.books.to_payee,
        outcome.books.open,
        outcome.checks,
        outcome.broken.len(),
    )
}

/// Power, price, debt and money over the day.
pub(crate) fn picture(outcome: &Outcome) -> Result<String, Error> {
    let hours = |t: u64| t as f64 / 3_600.0;
    let points = |value: &dyn Fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        outcome.samples.iter().map(|sample| (hours(sample.t), value(sample))).collect()
    };
    let top = |points: &[(f64, f64)]| points.iter().map(|(_, y)| *y).fold(1.0, f64::max) * 1.2;
    let panel = |title: String, unit, color, top: f64, points, limit| Panel {
        title,
        unit,
        end: 24.0,
        top,
        series: vec![Series { label: "", color, filled: true, points }],
        limit,
        marks: vec![],
    };
    let power = points(&|sample| sample.power_w as f64 / 1_000.0);
    let price = points(&|sample| sample.price as f64);
    let debt = points(&|sample| sample.peak as f64 / 1_000.0);
    let owed = points(&|sample| sample.owed as f64 / 1_000.0);
    let window = CREDIT as f64 / 1_000.0;
    let settled = outcome.books.kept(Kind::Settlement);
    let money = format!(
        "Earned by the operator; at midnight {} channels settle in {} transactions",
        settled.channels, settled.transactions
    );
    let panels = [
        panel(format!("Power into {} cars", outcome.cars), "kW", BLUE, top(&power), power, None),
        panel("Price".into(), "sat/kWh", PURPLE, 750.0, price, None),
        panel(
            "Largest debt of any car, just before it paid".into(),
            "sat",
            GREEN,
            window * 1.3,
            debt,
            Some((window, "window of each car")),
        ),
        panel(money, "sat", BLUE, top(&owed), owed, None),
    ];
    draw("A fleet's day", "hour of the day, UTC", 1, (1_000, 230), &panels)
}
