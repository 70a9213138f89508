//! The end of a run in a table, and the same as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::episode::{Outcome, Released};
use crate::common::books::{Kept, Kind};
use crate::common::output::{episodes_json, sat};
use crate::common::{Error, Options};

/// One episode in numbers.
#[derive(Serialize)]
struct Row<'a> {
    episode: &'a str,
    title: &'a str,
    ok: bool,
    quotes: u64,
    drops: u64,
    paid_sat: u64,
    claimed_sat: u64,
    buyer_lost_sat: u64,
    machine_lost_sat: u64,
    exposure_max_msat: u64,
    at_risk_max_msat: u64,
    released: &'a [Released],
    messages: u64,
    wire_bytes: u64,
    commits: u64,
    on_chain: std::collections::BTreeMap<Kind, Kept>,
    machine_got_sat: u64,
    buyer_got_back_sat: u64,
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
        quotes: outcome.quotes,
        drops: outcome.drops,
        paid_sat: outcome.got.0,
        claimed_sat: outcome.got.1,
        buyer_lost_sat: outcome.losses.buyer,
        machine_lost_sat: outcome.losses.machine,
        exposure_max_msat: outcome.exposure_max,
        at_risk_max_msat: outcome.at_risk_max,
        released: &outcome.released,
        messages: outcome.messages,
        wire_bytes: outcome.bytes,
        commits: outcome.commits,
        on_chain: outcome.books.kinds.clone(),
        machine_got_sat: outcome.books.to_payee,
        buyer_got_back_sat: outcome.books.to_payer,
        checks: outcome.checks,
        broken: &outcome.broken,
    }
}

/// As tables.
pub(crate) fn text(options: &Options, outcomes: &[Outcome]) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _written = write_table(&mut out, options, outcomes)
        .and_then(|()| write_released(&mut out, outcomes))
        .and_then(|()| write_sums(&mut out, outcomes));
    out
}

fn write_table(out: &mut String, options: &Options, outcomes: &[Outcome]) -> std::fmt::Result {
    writeln!(out, "\nseed {}, chaos {}; sat", options.seed, options.chaos)?;
    writeln!(
        out,
        "{:<10} {:>6} {:>5} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7} {:>6} {:>6}  verdict",
        "episode",
        "shown",
        "drop",
        "paid",
        "claimed",
        "machine",
        "buyer",
        "fees",
        "at most",
        "b. lost",
        "m. lost",
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
            "{:<10} {:>6} {:>5} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7} {:>6} {:>6}  {}",
            outcome.episode.name,
            outcome.quotes,
            outcome.drops,
            outcome.got.0,
            outcome.got.1,
            outcome.books.to_payee,
            outcome.books.to_payer,
            outcome.books.payee_fees() + outcome.books.payer_fees(),
            outcome.exposure_max / 1_000,
            outcome.losses.buyer,
            outcome.losses.machine,
            transactions,
            vbytes,
            if outcome.broken.is_empty() { "ok" } else { "BROKEN" },
        )?;
    }
    Ok(())
}

fn write_released(out: &mut String, outcomes: &[Outcome]) -> std::fmt::Result {
    if outcomes.iter().all(|outcome| outcome.released.is_empty()) {
        return Ok(());
    }
    writeln!(
        out,
        "\nreleased holds: at risk until their height, or until a close of the channel is buried"
    )?;
    for outcome in outcomes {
        for released in &outcome.released {
            writeln!(
                out,
                "{:<10} {:<9} {:>5} sat  released in block {}, AT RISK until {}: the channel could \
                 cost {} sat, {} of it neither paid nor reserved{}",
                outcome.episode.name,
                released.item,
                released.price,
                released.at,
                released.at_risk_until,
                sat(released.exposure),
                sat(released.at_risk),
                if released.claimed { "; CLAIMED all the same" } else { "" },
            )?;
        }
    }
    Ok(())
}

fn write_sums(out: &mut String, outcomes: &[Outcome]) -> std::fmt::Result {
    let sum = |value: fn(&Outcome) -> u64| outcomes.iter().map(value).sum::<u64>();
    let funded = sum(|o| o.books.funded);
    let fees = sum(|o| o.books.payee_fees() + o.books.payer_fees());
    writeln!(
        out,
        "\n{} sat went into channels = {} to machines + {} back to buyers + {fees} to miners. {} items \
         dropped for holds;\n{} messages with {} bytes, {} store commits; invariants checked {} times, \
         {} broken",
        funded,
        sum(|o| o.books.to_payee),
        sum(|o| o.books.to_payer),
        sum(|o| o.drops),
        sum(|o| o.messages),
        sum(|o| o.bytes),
        sum(|o| o.commits),
        sum(|o| o.checks),
        outcomes.iter().map(|outcome| outcome.broken.len()).sum::<usize>(),
    )
}
