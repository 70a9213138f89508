//! One figure, and how figures are shown.

use std::fmt;

use serde::{Serialize, Serializer};

/// One figure with what it is measured against.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// `None`: it cannot be measured here, and the note says why.
    pub(crate) value: Option<f64>,
    pub(crate) unit: &'static str,
    pub(crate) goal: Option<Goal>,
    pub(crate) compared_with: Option<&'static str>,
    pub(crate) compared_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    Exactly(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
            Self::Exactly(want) => (value - want).abs() < 1e-9,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<= {limit}"),
            Self::AtLeast(limit) => write!(f, ">= {limit}"),
            Self::Exactly(want) => write!(f, "= {want}"),
        }
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Row {
    pub(crate) const fn new(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self {
            name,
            value: Some(value),
            unit,
            goal: None,
            compared_with: None,
            compared_value: None,
            note: None,
        }
    }

    /// A figure that cannot be had here.
    pub(crate) fn missing(name: &'static str, unit: &'static str, why: &str) -> Self {
        let note = Some(format!("n/a: {why}"));
        Self { value: None, note, ..Self::new(name, 0.0, unit) }
    }

    pub(crate) fn goal(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }

    pub(crate) fn against(self, what: &'static str, value: f64) -> Self {
        Self { compared_with: Some(what), compared_value: Some(value), ..self }
    }

    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

/// Prints the rows for people.
pub(crate) fn print_table(rows: &[Row]) {
    println!("{:<34} {:>12} {:<8} {:<12} against", "figure", "value", "unit", "goal");
    for row in rows {
        let value = row.value.map_or_else(|| "n/a".into(), number);
        let goal = row.goal.map_or_else(String::new, |goal| goal.to_string());
        print!("{:<34} {value:>12} {:<8} {goal:<12}", row.name, row.unit);
        if let (Some(what), Some(value)) = (row.compared_with, row.compared_value) {
            print!(" {what}: {}", number(value));
        }
        if let (Some(goal), Some(value)) = (row.goal, row.value)
            && !goal.is_met(value)
        {
            print!(" MISSED");
        }
        println!();
        if let Some(note) = &row.note {
            println!("{:<34} {note}", "");
        }
    }
}

/// With as many places as a reader needs.
fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1_000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}
