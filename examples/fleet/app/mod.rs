//! What the example does, apart from its command line: tests run it too, with fewer cars.

mod day;
mod depot;
mod summary;

use crate::common::output::{Lines, Report, Screen};
use crate::common::{Error, Options};

/// 1,000: fifteen settlements of 65 channels, and one of the rest.
const CARS: u64 = 1_000;

/// A day and a night of the whole fleet.
#[allow(dead_code, reason = "tests take fewer cars")]
pub(crate) fn run(options: &Options, screen: &mut Screen) -> Result<Report, Error> {
    run_with(options, screen, CARS)
}

/// A day and a night of so many cars.
pub(crate) fn run_with(options: &Options, screen: &mut Screen, cars: u64) -> Result<Report, Error> {
    let mut lines = Lines::default();
    let outcome = day::Day::open(options, screen, &mut lines, cars)?.play()?;
    let text = summary::text(options, &outcome);
    let mut report = Report::new(text.clone(), outcome.broken.clone());
    report.file("summary.txt", text);
    report.file("summary.json", summary::json(options, &outcome)?);
    report.file("log.jsonl", lines.into_text());
    report.file("day.svg", summary::picture(&outcome)?);
    Ok(report)
}
