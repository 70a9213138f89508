//! What the example does, apart from its command line: tests run it too, with fewer cars.

mod desk;
mod hub;
mod night;
mod outcome;
mod owner;
mod relay;
mod road;
mod rush;
mod sender;
mod summary;

use crate::common::output::{Lines, Report, Screen};
use crate::common::{Error, Options};

/// 10,000: 154 settlements of 65 channels.
const CARS: u64 = 10_000;

/// A rush hour and the night after it.
#[allow(dead_code, reason = "tests take fewer cars")]
pub(crate) fn run(options: &Options, screen: &mut Screen) -> Result<Report, Error> {
    run_with(options, screen, CARS)
}

/// The same of so many cars.
pub(crate) fn run_with(options: &Options, screen: &mut Screen, cars: u64) -> Result<Report, Error> {
    let mut lines = Lines::default();
    let outcome = rush::Rush::open(options, screen, &mut lines, cars)?.play()?;
    let text = summary::text(options, &outcome);
    let mut report = Report::new(text.clone(), outcome.broken.clone());
    report.file("summary.txt", text);
    report.file("summary.json", summary::json(options, &outcome)?);
    report.file("log.jsonl", lines.into_text());
    report.file("rush.svg", summary::picture(&outcome)?);
    Ok(report)
}
