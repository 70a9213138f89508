//! What the example does, apart from its command line: tests run it too.

mod books;
mod crew;
mod house;
mod payroll;
mod shift;
mod summary;

use crate::common::output::{Lines, Report, Screen};
use crate::common::{Error, Options};

/// Ten hours.
#[allow(dead_code, reason = "the tests work for a shorter time")]
pub(crate) fn run(options: &Options, screen: &mut Screen) -> Result<Report, Error> {
    run_with(options, screen, 600)
}

/// A shift of so many minutes.
pub(crate) fn run_with(
    options: &Options,
    screen: &mut Screen,
    minutes: u64,
) -> Result<Report, Error> {
    let mut lines = Lines::default();
    let outcome = shift::Shift::begin(options, screen, &mut lines)?.work(minutes)?;
    let text = summary::text(options, &outcome);
    let mut report = Report::new(text.clone(), outcome.broken.clone());
    report.file("summary.txt", text);
    report.file("summary.json", summary::json(options, &outcome)?);
    report.file("log.jsonl", lines.into_text());
    report.file("pool.svg", summary::picture(&outcome)?);
    Ok(report)
}
