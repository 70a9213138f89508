//! What the example does, apart from its command line: tests run it too.

pub(crate) mod chains;
pub(crate) mod ends;
pub(crate) mod party;
pub(crate) mod purse;
pub(crate) mod story;
pub(crate) mod summary;
mod talk;
mod watch;
pub(crate) mod world;

use crate::common::output::{Lines, Report, Screen};
use crate::common::{Error, Options, Sabotage};

use story::{Episode, Told};
use world::{Stage0, World, secret};

/// Plays the story. The report says how each swap ended, and what did not hold.
#[allow(dead_code, reason = "the matrix of power cuts plays its own")]
pub(crate) fn run(options: &Options, screen: &mut Screen) -> Result<Report, Error> {
    let stage = Stage0::new()?;
    let mut lines = Lines::default();
    let mut told = Vec::new();
    for episode in story::episodes(options.chaos) {
        screen.line(&format!("-- {}: {}", episode.name, episode.title));
        told.push(play(&stage, episode, options, screen, &mut lines)?);
    }
    let broken = told.iter().flat_map(|told| {
        told.broken.iter().map(|broken| format!("{}: {broken}", told.episode.name))
    });
    let text = summary::text(options, &told);
    let mut report = Report::new(text.clone(), broken.collect());
    report.file("summary.txt", text);
    report.file("summary.json", summary::json(options, &told)?);
    report.file("log.jsonl", lines.into_text());
    report.file("swap.svg", summary::picture(&told)?);
    Ok(report)
}

fn play(
    stage: &Stage0,
    episode: Episode,
    options: &Options,
    screen: &mut Screen,
    lines: &mut Lines,
) -> Result<Told, Error> {
    let seed = options.seed;
    let mut outcome = World::new(stage, episode.plan, seed)?.play(secret(seed))?;
    if options.sabotage == Some(Sabotage::Conservation) {
        // As if Bob's money had gone missing on the way.
        outcome.purses[0].payee = 0;
    }
    for moment in &outcome.moments {
        let Some(what) = &moment.what else { continue };
        let [first, second] = moment.heights;
        screen.line(&format!("   {:>6} s  {first:>4} {second:>4}  {what}", moment.t));
        lines.push(&summary::Line { episode: episode.name, t: moment.t, first, second, what })?;
    }
    let told = Told::judge(episode, outcome);
    screen.line(&format!("   => {}", told.verdict()));
    Ok(told)
}
