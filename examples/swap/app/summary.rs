//! The end of a run in lines, the same as JSON, and the plot.

use std::fmt::Write;

use serde::Serialize;

use super::story::Told;
use super::world::Outcome;
use crate::common::output::episodes_json;
use crate::common::plot::{BLUE, ORANGE, Panel, Series, draw};
use crate::common::{Error, Options};

/// One line of the log.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) episode: &'a str,
    pub(crate) t: u64,
    pub(crate) first: u32,
    pub(crate) second: u32,
    pub(crate) what: &'a str,
}

/// A channel's money in the end, sat.
#[derive(Serialize)]
struct Money {
    payer: u64,
    payee: u64,
    fees: u64,
}

#[derive(Serialize)]
struct Row<'a> {
    episode: &'a str,
    title: &'a str,
    verdict: &'a str,
    first_sat: Money,
    second_sat: Money,
    commits: [u32; 2],
    checks: u64,
    broken: &'a [String],
}

/// As JSON.
pub(crate) fn json(options: &Options, told: &[Told]) -> Result<String, Error> {
    let money = |told: &Told, number: usize| {
        let purse = told.outcome.purses[number];
        Money { payer: purse.payer, payee: purse.payee, fees: purse.fees }
    };
    let row = |told| Row {
        first_sat: money(told, 0),
        second_sat: money(told, 1),
        episode: told.episode.name,
        title: told.episode.title,
        verdict: told.verdict(),
        commits: told.outcome.commits,
        checks: told.checks,
        broken: &told.broken,
    };
    episodes_json(options, told.iter().map(row).collect())
}

/// As lines.
pub(crate) fn text(options: &Options, told: &[Told]) -> String {
    let mut text = format!("\nseed {}, chaos {}\n", options.seed, options.chaos);
    for told in told {
        let [first, second] = told.outcome.purses.map(|purse| purse.fees);
        let (name, verdict) = (told.episode.name, told.verdict());
        // A String takes whatever is written.
        let _ = writeln!(text, "{name:<12} {verdict:<40} fees {first:>5} and {second:>5} sat");
    }
    let count = |legs: &str| told.iter().filter(|told| told.verdict() == legs).count();
    let checks: u64 = told.iter().map(|told| told.checks).sum();
    let broken: usize = told.iter().map(|told| told.broken.len()).sum();
    let (both, neither) = (count("both are paid"), count("neither is paid"));
    let _ = writeln!(
        text,
        "{} swaps: {both} with both legs, {neither} with neither, {} of who never came back\n\
         {checks} checks, {broken} broken",
        told.len(),
        told.len() - both - neither,
    );
    text
}

/// The blocks of both chains against the time, with what happens on them, of the swaps in which
/// they have a say.
pub(crate) fn picture(told: &[Told]) -> Result<String, Error> {
    let drawn = ["alice-mute", "deaf", "refunds", "worst-alice"];
    let shown: Vec<_> = told.iter().filter(|told| drawn.contains(&told.episode.name)).collect();
    // Without chaos there is the one swap, which is over before the first block.
    let shown = if shown.is_empty() { told.iter().collect() } else { shown };
    let panels: Vec<Panel> =
        shown.iter().map(|told| panel(told.episode.title, &told.outcome)).collect();
    draw("A swap between two chains", "hours", 1, (1_000, 300), &panels)
}

/// Who, and the verb: "Alice claims".
fn short(what: &str) -> Option<String> {
    let verbs = ["claims", "times", "settles", "publishes", "takes"];
    let mut words = what.split(' ');
    let (who, verb) = (words.next()?, words.next()?);
    let state = if verb == "is" { words.next()? } else { "" };
    match (verb, state) {
        ("is", "gone" | "back") => Some(format!("{who} is {state}")),
        ("takes", _) => Some(format!("{who} knows")),
        ("times", _) => Some(format!("{who} times out")),
        _ => verbs.contains(&verb).then(|| format!("{who} {verb}")),
    }
}

fn panel(title: &str, outcome: &Outcome) -> Panel {
    let hours = |t: u64| t as f64 / 3_600.0;
    let from = outcome.moments.first().map_or([0; 2], |moment| moment.heights);
    let points = |chain: usize| -> Vec<(f64, f64)> {
        let blocks = |heights: [u32; 2]| f64::from(heights[chain].saturating_sub(from[chain]));
        outcome.moments.iter().map(|moment| (hours(moment.t), blocks(moment.heights))).collect()
    };
    let line = |label, color, points| Series { label, color, filled: false, points };
    // Room on the right for what the last mark says.
    let end = outcome.moments.last().map_or(1.0, |moment| hours(moment.t)).max(0.1) * 1.2;
    let spoken = outcome.moments.iter().filter(|moment| moment.t > 0);
    let steps = spoken.filter_map(|moment| Some((moment.t, short(moment.what.as_deref()?)?)));
    let mut marks: Vec<(f64, String)> = Vec::new();
    for (t, what) in steps {
        // What would be written over the last mark's words stands behind them.
        let last = marks.iter_mut().rev().find(|(_, words)| !words.is_empty());
        match last.filter(|(at, words)| hours(t) - *at < end * 0.008 * words.len() as f64) {
            Some((_, words)) => {
                words.push_str(", ");
                words.push_str(&what);
                marks.push((hours(t), String::new()));
            }
            None => marks.push((hours(t), what)),
        }
    }
    let tall = points(1).last().map_or(1.0, |(_, y)| *y);
    Panel {
        title: title.into(),
        unit: "blocks since the deal",
        end,
        top: tall * 1.15,
        series: vec![line("first chain", BLUE, points(0)), line("second chain", ORANGE, points(1))],
        limit: None,
        marks,
    }
}
