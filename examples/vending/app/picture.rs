//! The plot: what each channel can cost its buyer, over the hours of each episode.

use super::episode::{Outcome, Sample};
use crate::common::Error;
use crate::common::plot::{BLUE, GREEN, ORANGE, Panel, Series, draw};

/// More dashed lines than this in a small plot hide it.
const MARKS_MAX: usize = 10;

/// Paid, reserved, and at risk: a panel for each episode.
pub(crate) fn holds(outcomes: &[Outcome]) -> Result<String, Error> {
    let panels: Vec<Panel> = outcomes.iter().map(panel).collect();
    let columns = if panels.len() > 1 { 2 } else { 1 };
    let title = "What a channel with a vending machine can cost its buyer";
    draw(title, "hours", columns, (620, 250), &panels)
}

fn panel(outcome: &Outcome) -> Panel {
    // An hour beyond the last change: nothing happens until the records are forgotten.
    let stands = |sample: &Sample| (sample.paid, sample.reserved, sample.exposure);
    let pairs = outcome.samples.iter().zip(outcome.samples.iter().skip(1));
    let last = pairs.rev().find(|(a, b)| stands(a) != stands(b)).map_or(0, |(_, b)| b.t);
    let end = hours(last) + 1.0;
    let points = |value: fn(&Sample) -> u64| -> Vec<(f64, f64)> {
        let shown = outcome.samples.iter().filter(|sample| hours(sample.t) <= end);
        steps(shown.map(|sample| (hours(sample.t), value(sample))))
    };
    let line = |label, color, filled, points| Series { label, color, filled, points };
    let releases = outcome.marks.iter().filter(|mark| mark.what.starts_with("released"));
    let releases: Vec<_> = releases.map(|mark| (hours(mark.t), String::new())).collect();
    Panel {
        title: format!("{}: {}", outcome.episode.name, outcome.episode.title),
        unit: "sat",
        end,
        top: outcome.exposure_max as f64 / 1_000.0 * 1.8,
        series: vec![
            line("at most: released holds are at risk", ORANGE, true, points(|s| s.exposure)),
            line("paid and reserved", GREEN, false, points(|s| s.paid + s.reserved)),
            line("paid", BLUE, false, points(|s| s.paid)),
        ],
        limit: None,
        marks: if releases.len() > MARKS_MAX { vec![] } else { releases },
    }
}

/// Amounts jump: a line between two instants would show what never was.
fn steps(points: impl Iterator<Item = (f64, u64)>) -> Vec<(f64, f64)> {
    let mut drawn: Vec<(f64, f64)> = Vec::new();
    for (at, msat) in points {
        let sat = msat as f64 / 1_000.0;
        if let Some((_, before)) = drawn.last().copied() {
            drawn.push((at, before));
        }
        drawn.push((at, sat));
    }
    drawn
}

fn hours(seconds: u64) -> f64 {
    seconds as f64 / 3_600.0
}
