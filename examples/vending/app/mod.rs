//! What the example does, apart from its command line: tests run it too.

mod drive;
mod ending;
mod episode;
mod guard;
mod keeper;
mod picture;
mod scene;
mod serve;
mod story;
mod summary;
mod vendor;

use crate::common::output::{Lines, Report, Screen};
use crate::common::{Error, Options};

use drive::Drive;

/// Plays the story. The report says what every episode came to, and what did not hold.
pub(crate) fn run(options: &Options, screen: &mut Screen) -> Result<Report, Error> {
    let breaks = match options.chaos {
        0 | 1 => 0,
        2 => 10_000,
        _ => 50_000,
    };
    let mut lines = Lines::default();
    let mut outcomes = Vec::new();
    for episode in story::episodes(options.seed, options.chaos) {
        screen.line(&format!("-- {}: {}", episode.name, episode.title));
        let drive = Drive::new(episode, options, screen, &mut lines)?;
        outcomes.push(drive.play(breaks)?);
    }
    let broken = outcomes.iter().flat_map(|outcome| {
        outcome.broken.iter().map(|broken| format!("{}: {broken}", outcome.episode.name))
    });
    let text = summary::text(options, &outcomes);
    let mut report = Report::new(text.clone(), broken.collect());
    report.file("summary.txt", text);
    report.file("summary.json", summary::json(options, &outcomes)?);
    report.file("log.jsonl", lines.into_text());
    report.file("holds.svg", picture::holds(&outcomes)?);
    Ok(report)
}
