//! What the example does, apart from its command line: tests run it too.

mod evening;
mod outcome;
mod studio;
mod summary;
mod viewer;

use crate::common::output::{Lines, Report, Screen};
use crate::common::{Error, Options};

/// An evening of ten viewers, and the night after it.
pub(crate) fn run(options: &Options, screen: &mut Screen) -> Result<Report, Error> {
    let mut lines = Lines::default();
    let outcome = evening::Evening::open(options, screen, &mut lines)?.play()?;
    let text = summary::text(options, &outcome);
    let mut report = Report::new(text.clone(), outcome.broken.clone());
    report.file("summary.txt", text);
    report.file("summary.json", summary::json(options, &outcome)?);
    report.file("log.jsonl", lines.into_text());
    report.file("stream.svg", summary::picture(&outcome)?);
    Ok(report)
}
