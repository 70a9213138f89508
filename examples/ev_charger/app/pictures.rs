//! The plots: the evening's charge, and the debt in every other episode.

use super::episode::Outcome;
use super::scene::CREDIT;
use crate::common::Error;
use crate::common::plot::{BLUE, GREEN, PURPLE, Panel, Series, draw};

/// More dashed lines than this in a small plot hide it.
const MARKS_MAX: usize = 8;
const WINDOW: f64 = CREDIT as f64 / 1_000.0;

/// Power, price, debt against the window, and what was paid, of the first episode.
pub(crate) fn charge(outcomes: &[Outcome]) -> Result<String, Error> {
    let outcome = outcomes.first().ok_or("no episode")?;
    let end = outcome.samples.last().map_or(1.0, |sample| minutes(sample.t));
    let points = |value: &dyn Fn(&super::episode::Sample) -> f64| -> Vec<(f64, f64)> {
        outcome.samples.iter().map(|sample| (minutes(sample.t), value(sample))).collect()
    };
    let one = |label, color, filled, points| vec![Series { label, color, filled, points }];
    let settled = outcome.marks.iter().filter(|mark| mark.what.starts_with("the station settles"));
    let settled: Vec<_> =
        settled.map(|mark| (minutes(mark.t), "settled on the chain".into())).collect();
    let panel = |title: &str, unit, top, series, marks| Panel {
        title: title.into(),
        unit,
        end,
        top,
        series,
        limit: None,
        marks,
    };
    let paid_top = outcome.paid as f64 / 1_000.0 * 1.1;
    let mut panels = vec![
        panel(
            "Power into the car (Polestar 2, 8 to 82 %)",
            "kW",
            170.0,
            one("power", BLUE, true, points(&|s| s.power_w as f64 / 1_000.0)),
            vec![],
        ),
        panel(
            "Price: the evening peak ends at 21:00",
            "sat/kWh",
            700.0,
            one("price", PURPLE, true, points(&|s| s.price as f64)),
            vec![],
        ),
        panel(
            "Served and not yet paid, just before each payment, against the window",
            "sat",
            WINDOW * 1.3,
            one("debt", GREEN, false, on_credit(outcome)),
            vec![],
        ),
        panel(
            "Paid, a voucher a second",
            "sat",
            paid_top,
            one("paid", BLUE, true, points(&|s| s.paid as f64 / 1_000.0)),
            settled,
        ),
    ];
    if let Some(panel) = panels.get_mut(2) {
        panel.limit = Some((WINDOW, "window: all that the station risks"));
    }
    draw("One charge, paid as it flows", "minutes", 1, (1_000, 230), &panels)
}

/// Debt against the window in the other episodes.
pub(crate) fn faults(outcomes: &[Outcome]) -> Result<String, Error> {
    let panels: Vec<Panel> = outcomes.iter().skip(1).map(fault).collect();
    draw("What the station risks when things go wrong", "minutes", 2, (560, 220), &panels)
}

fn fault(outcome: &Outcome) -> Panel {
    let end = outcome.samples.last().map_or(1.0, |sample| minutes(sample.t));
    let points = on_credit(outcome);
    let inside: Vec<_> = outcome.marks.iter().filter(|mark| mark.t > 0).collect();
    // A storm has too many marks to be read.
    let few = inside.len() <= MARKS_MAX;
    let marks = inside.iter().filter(|mark| few && minutes(mark.t) < end * 0.97);
    Panel {
        title: format!("{}: {}", outcome.episode.name, outcome.episode.title),
        unit: "sat",
        end,
        top: WINDOW * 1.6,
        series: vec![Series { label: "on credit", color: GREEN, filled: true, points }],
        limit: Some((WINDOW, "window")),
        marks: marks.map(|mark| (minutes(mark.t), String::new())).collect(),
    }
}

/// What was served on credit, at its highest in each second.
fn on_credit(outcome: &Outcome) -> Vec<(f64, f64)> {
    let samples = outcome.samples.iter();
    samples.map(|sample| (minutes(sample.t), sample.peak as f64 / 1_000.0)).collect()
}

fn minutes(seconds: u64) -> f64 {
    seconds as f64 / 60.0
}
