//! The end of a run in a table, and the same as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::episode::Outcome;
use super::scene::CREDIT;
use crate::common::books::{Kept, Kind};
use crate::common::output::{episodes_json, sat};
use crate::common::prices::kwh;
use crate::common::{Error, Options};

/// One episode in numbers.
#[derive(Serialize)]
struct Row<'a> {
    episode: &'a str,
    title: &'a str,
    ok: bool,
    energy_ws: u64,
    ticks: u64,
    owed_msat: u64,
    paid_msat: u64,
    car_lost_msat: u64,
    station_lost_msat: u64,
    debt_max_msat: u64,
    window_msat: u64,
    vouchers: u64,
    signatures: u64,
    messages: u64,
    wire_bytes: u64,
    commits: u64,
    barriers: u64,
    on_chain: std::collections::BTreeMap<Kind, Kept>,
    station_got_sat: u64,
    car_got_back_sat: u64,
    checks: u64,
    broken: &'a [String],
}

/// As JSON.
pub(crate) fn json(options: &Options, outcomes: &[Outcome]) -> Result<String, Error> {
    episodes_json(options, outcomes.iter().map(row).collect())
}

fn row(outcome: &Outcome) -> Row<'_> {
    Row {
        episode: outcome.episode.name,
        title: outcome.episode.title,
        ok: outcome.broken.is_empty(),
        energy_ws: outcome.energy,
        ticks: outcome.ticks,
        owed_msat: outcome.owed,
        paid_msat: outcome.paid,
        car_lost_msat: outcome.losses.car,
        station_lost_msat: outcome.losses.station,
        debt_max_msat: outcome.debt_max,
        window_msat: CREDIT,
        vouchers: outcome.vouchers,
        signatures: outcome.signatures,
        messages: outcome.messages,
        wire_bytes: outcome.bytes,
        commits: outcome.commits.0,
        barriers: outcome.commits.1,
        on_chain: outcome.books.kinds.clone(),
        station_got_sat: outcome.books.to_payee,
        car_got_back_sat: outcome.books.to_payer,
        checks: outcome.checks,
        broken: &outcome.broken,
    }
}

/// As a table.
pub(crate) fn text(options: &Options, outcomes: &[Outcome]) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _written = write_table(&mut out, options, outcomes);
    out
}

fn write_table(out: &mut String, options: &Options, outcomes: &[Outcome]) -> std::fmt::Result {
    writeln!(out, "\nseed {}, chaos {}", options.seed, options.chaos)?;
    writeln!(
        out,
        "{:<12} {:>7} {:>10} {:>9} {:>9} {:>8} {:>6} {:>8} {:>9} {:>6} {:>6}  verdict",
        "episode",
        "kWh",
        "paid",
        "car lost",
        "stn lost",
        "max debt",
        "ticks",
        "vouchers",
        "wire",
        "chain",
        "vB"
    )?;
    for outcome in outcomes {
        let kinds = outcome.books.kinds.values();
        let (transactions, vbytes) = kinds.fold((0, 0), |(count, vbytes), kept| {
            (count + kept.transactions, vbytes + kept.vbytes)
        });
        writeln!(
            out,
            "{:<12} {:>7} {:>10} {:>9} {:>9} {:>8} {:>6} {:>8} {:>9} {:>6} {:>6}  {}",
            outcome.episode.name,
            kwh(outcome.energy),
            sat(outcome.paid),
            sat(outcome.losses.car),
            sat(outcome.losses.station),
            sat(outcome.debt_max),
            outcome.ticks,
            outcome.vouchers,
            outcome.bytes,
            transactions,
            vbytes,
            if outcome.broken.is_empty() { "ok" } else { "BROKEN" },
        )?;
    }
    let sum = |value: fn(&Outcome) -> u64| outcomes.iter().map(value).sum::<u64>();
    writeln!(
        out,
        "sat; wire in bytes. Largest debt {} of a window of {} sat. {} kWh for {} sat in {} ticks: \
         {} vouchers, {} signatures,\n{} messages with {} bytes, {} store commits ({} barriers); \
         invariants checked {} times, {} broken",
        sat(outcomes.iter().map(|outcome| outcome.debt_max).max().unwrap_or(0)),
        CREDIT / 1_000,
        kwh(sum(|o| o.energy)),
        sat(sum(|o| o.paid)),
        sum(|o| o.ticks),
        sum(|o| o.vouchers),
        sum(|o| o.signatures),
        sum(|o| o.messages),
        sum(|o| o.bytes),
        sum(|o| o.commits.0),
        sum(|o| o.commits.1),
        sum(|o| o.checks),
        outcomes.iter().map(|outcome| outcome.broken.len()).sum::<usize>(),
    )
}
