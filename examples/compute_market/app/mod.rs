//! What the example does, apart from its command line: tests run it too.

mod book;
mod cast;
mod contract;
mod day;
mod floor;
mod hall;
mod outcome;
mod summary;
mod task;
mod verify;

use crate::common::output::{Lines, Report, Screen};
use crate::common::{Error, Options};

/// A day at the market, and the night after it.
pub(crate) fn run(options: &Options, screen: &mut Screen) -> Result<Report, Error> {
    let mut lines = Lines::default();
    let outcome = day::Day::open(options, screen, &mut lines)?.play()?;
    let text = summary::text(options, &outcome);
    let mut report = Report::new(text.clone(), outcome.broken.clone());
    report.file("summary.txt", text);
    report.file("summary.json", summary::json(options, &outcome)?);
    report.file("log.jsonl", lines.into_text());
    report.file("market.svg", summary::picture(&outcome)?);
    Ok(report)
}
