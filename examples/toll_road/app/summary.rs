//! The end of a run in lines, the same as JSON, and the plot of the hour.

use std::collections::BTreeMap;

use serde::Serialize;

use super::outcome::Outcome;
use super::road::{CREDIT, OWNERS};
use super::rush::Sample;
use crate::common::books::{Kept, Kind};
use crate::common::output::sat;
use crate::common::plot::{BLUE, GREEN, ORANGE, PURPLE, Panel, Series, draw};
use crate::common::{Error, Options};

/// What a million payments cost, in thousandths.
#[derive(Debug, Clone, Copy, Serialize)]
struct PerMillion {
    signatures: u64,
    wire_bytes: u64,
    bundle_bytes: u64,
    records: u64,
    barriers: u64,
    on_chain_vbytes: u64,
}

impl PerMillion {
    fn of(outcome: &Outcome) -> Self {
        let each = |count: u64| -> u64 {
            let count = u128::from(count) * 1_000_000_000;
            let each = count.checked_div(u128::from(outcome.payments)).unwrap_or(0);
            u64::try_from(each).unwrap_or(u64::MAX)
        };
        let kinds = outcome.night.cars.kinds.values().chain(outcome.night.relay.kinds.values());
        Self {
            signatures: each(outcome.signatures),
            wire_bytes: each(outcome.wire.1),
            bundle_bytes: each(outcome.bundle_bytes),
            records: each(outcome.commits.0),
            barriers: each(outcome.commits.1),
            on_chain_vbytes: each(kinds.map(|kept| kept.vbytes).sum()),
        }
    }
}

/// The whole run in numbers.
#[derive(Serialize)]
struct Whole<'a> {
    seed: u64,
    chaos: u8,
    cars: u64,
    payments: u64,
    worth_msat: u64,
    paid_msat: u64,
    owners_msat: BTreeMap<&'static str, u64>,
    hub_msat: u64,
    gantry_msat: u64,
    unpaid_msat: u64,
    unpaid_cars: u64,
    window_msat: u64,
    peak_msat: u64,
    windows: u64,
    items: u64,
    bundles: u64,
    tolls: u64,
    signatures: u64,
    messages: u64,
    wire_bytes: u64,
    bundle_bytes: u64,
    commits: u64,
    barriers: u64,
    faults: u64,
    lost: u64,
    per_million_payments_thousandths: PerMillion,
    on_chain: &'a BTreeMap<Kind, Kept>,
    on_chain_behind: &'a BTreeMap<Kind, Kept>,
    checks: u64,
    broken: &'a [String],
}

/// As JSON.
pub(crate) fn json(options: &Options, outcome: &Outcome) -> Result<String, Error> {
    let whole = Whole {
        seed: options.seed,
        chaos: options.chaos,
        cars: outcome.cars,
        payments: outcome.payments,
        worth_msat: outcome.worth,
        paid_msat: outcome.paid,
        owners_msat: OWNERS.into_iter().zip(outcome.owners).collect(),
        hub_msat: outcome.hub,
        gantry_msat: outcome.gantry,
        unpaid_msat: outcome.unpaid.0,
        unpaid_cars: outcome.unpaid.1,
        window_msat: CREDIT,
        peak_msat: peak(outcome),
        windows: outcome.windows,
        items: outcome.items,
        bundles: outcome.bundles,
        tolls: outcome.tolls,
        signatures: outcome.signatures,
        messages: outcome.wire.0,
        wire_bytes: outcome.wire.1,
        bundle_bytes: outcome.bundle_bytes,
        commits: outcome.commits.0,
        barriers: outcome.commits.1,
        faults: outcome.faults,
        lost: outcome.lost,
        per_million_payments_thousandths: PerMillion::of(outcome),
        on_chain: &outcome.night.cars.kinds,
        on_chain_behind: &outcome.night.relay.kinds,
        checks: outcome.checks,
        broken: &outcome.broken,
    };
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}

fn peak(outcome: &Outcome) -> u64 {
    outcome.samples.iter().map(|sample| sample.peak).max().unwrap_or(0)
}

/// As lines.
pub(crate) fn text(options: &Options, outcome: &Outcome) -> String {
    let (million, settled) = (PerMillion::of(outcome), outcome.night.cars.kept(Kind::Settlement));
    let each = (settled.vbytes * 10).checked_div(settled.channels).unwrap_or(0);
    let [motorway, bridge, tunnel] = outcome.owners;
    format!(
        "\nseed {}, chaos {}\n\
         {} cars drove {} metres and paid {} sat, each metre a payment:\n\
         \u{20} {} windows with {} items; {} bundles with {} tolls, each of them checked\n\
         \u{20} the motorway got {} sat, bridge {}, tunnel {}; the hub kept {}, the gantry {}\n\
         {} faults, {} messages lost behind the gantry\n\
         {} cars stopped paying and left {} sat unpaid\n\
         \u{20} largest debt {} of a window of {} sat a car\n\
         on the chain: {} settlements of {} channels ({} vB, {}.{} a channel) for {} sat of fees\n\
         a million payments cost {} signatures, {} commits of records ({} barriers),\n\
         \u{20} {} bytes between cars and gantry, {} of bundles, {} vB on the chain, fundings too\n\
         invariants checked {} times, {} broken\n",
        options.seed,
        options.chaos,
        outcome.cars,
        outcome.payments,
        sat(outcome.paid),
        outcome.windows,
        outcome.items,
        outcome.bundles,
        outcome.tolls,
        sat(motorway),
        sat(bridge),
        sat(tunnel),
        sat(outcome.hub),
        sat(outcome.gantry),
        outcome.faults,
        outcome.lost,
        outcome.unpaid.1,
        sat(outcome.unpaid.0),
        sat(peak(outcome)),
        CREDIT / 1_000,
        settled.transactions,
        settled.channels,
        settled.vbytes,
        each / 10,
        each % 10,
        settled.fees_sat,
        sat(million.signatures),
        sat(million.records),
        sat(million.barriers),
        sat(million.wire_bytes),
        sat(million.bundle_bytes),
        sat(million.on_chain_vbytes),
        outcome.checks,
        outcome.broken.len(),
    )
}

/// Cars, payments, money and debt over the hour.
pub(crate) fn picture(outcome: &Outcome) -> Result<String, Error> {
    let end = outcome.samples.last().map_or(1.0, |sample| minutes(sample.t));
    let points = |value: &dyn Fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        outcome.samples.iter().map(|sample| (minutes(sample.t), value(sample))).collect()
    };
    let top = |points: &[(f64, f64)]| points.iter().map(|(_, y)| *y).fold(1.0, f64::max) * 1.2;
    let panel = |title: String, unit, top, series, limit| Panel {
        title,
        unit,
        end,
        top,
        series,
        limit,
        marks: vec![],
    };
    let one = |color, filled, points| vec![Series { label: "", color, filled, points }];
    let cars = points(&|sample| sample.cars as f64);
    let payments = points(&|sample| sample.payments as f64 / 1e6);
    let paid = points(&|sample| sample.paid as f64 / 1e9);
    let received = points(&|sample| sample.received as f64 / 1e9);
    let debt = points(&|sample| sample.peak as f64 / 1e3);
    let window = CREDIT as f64 / 1e3;
    let money_top = top(&paid);
    let money = vec![
        Series { label: "paid by the cars", color: BLUE, filled: true, points: paid },
        Series { label: "received by the owners", color: ORANGE, filled: false, points: received },
    ];
    let panels = [
        panel(
            format!("Cars on the road, of {}", outcome.cars),
            "cars",
            top(&cars),
            one(BLUE, true, cars),
            None,
        ),
        panel(
            "Payments: one a metre".into(),
            "million a minute",
            top(&payments),
            one(PURPLE, true, payments),
            None,
        ),
        panel(
            format!("Money: {} bundles through the hub", outcome.bundles),
            "million sat",
            money_top,
            money,
            None,
        ),
        panel(
            "Largest debt of any car in the minute".into(),
            "sat",
            window * 1.3,
            one(GREEN, false, debt),
            Some((window, "window of each car")),
        ),
    ];
    draw("A road paid by the metre", "minutes", 1, (1_000, 230), &panels)
}

fn minutes(seconds: u64) -> f64 {
    seconds as f64 / 60.0
}
