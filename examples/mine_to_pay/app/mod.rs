//! What the example does, apart from its command line: tests run it too.

mod day;
mod economics;
mod fridge;
mod home;
mod outcome;
mod summary;
mod work;

use crate::common::output::{Lines, Report, Screen};
use crate::common::{Error, Options};

/// A whole day.
#[allow(dead_code, reason = "the tests run a part of it")]
pub(crate) fn run(options: &Options, screen: &mut Screen) -> Result<Report, Error> {
    run_with(options, screen, 24)
}

/// So many hours.
pub(crate) fn run_with(
    options: &Options,
    screen: &mut Screen,
    hours: u64,
) -> Result<Report, Error> {
    let mut lines = Lines::default();
    let outcome = day::Day::begin(options, screen, &mut lines)?.live(hours)?;
    let text = summary::text(options, &outcome);
    let mut report = Report::new(text.clone(), outcome.broken.clone());
    report.file("summary.txt", text);
    report.file("summary.json", summary::json(options, &outcome)?);
    report.file("log.jsonl", lines.into_text());
    report.file("day.svg", summary::picture(&outcome)?);
    Ok(report)
}
