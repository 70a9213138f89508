//! What an example shows and leaves behind: a status line, lines, and files without any clock.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::Path;

use serde::Serialize;

use super::{Error, Options};

/// 10: where there is no terminal, every tenth status is a plain line.
const PLAIN_EVERY: u32 = 10;

/// The terminal, or whatever the output goes to.
#[derive(Debug)]
pub(crate) struct Screen {
    live: bool,
    quiet: bool,
    statuses: u32,
}

impl Screen {
    /// Standard output; nothing at all if `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { live: std::io::stdout().is_terminal(), quiet, statuses: 0 }
    }

    /// A line that stays.
    pub(crate) fn line(&mut self, text: &str) {
        if self.quiet {
            return;
        }
        if self.live {
            print!("\r\x1b[2K");
        }
        println!("{text}");
    }

    /// What is going on: replaces the one before on a terminal, now and then a line elsewhere.
    pub(crate) fn status(&mut self, text: &str) {
        if self.quiet {
            return;
        }
        if self.live {
            print!("\r\x1b[2K{text}");
            // A terminal that is gone shows nothing, which is no reason to stop.
            let _shown = std::io::stdout().flush();
        } else if self.statuses.is_multiple_of(PLAIN_EVERY) {
            println!("{text}");
        }
        self.statuses = self.statuses.wrapping_add(1);
    }
}

/// JSON Lines.
#[derive(Debug, Default)]
pub(crate) struct Lines(String);

impl Lines {
    /// Adds one object.
    pub(crate) fn push(&mut self, line: &impl Serialize) -> Result<(), Error> {
        self.0.push_str(&serde_json::to_string(line)?);
        self.0.push('\n');
        Ok(())
    }

    /// All of them.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// What a run ends with.
#[derive(Debug, Default)]
pub(crate) struct Report {
    files: BTreeMap<&'static str, String>,
    summary: String,
    broken: Vec<String>,
}

impl Report {
    /// A run with its summary and the invariants that it broke.
    pub(crate) fn new(summary: String, broken: Vec<String>) -> Self {
        Self { files: BTreeMap::new(), summary, broken }
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, name: &'static str, text: String) {
        self.files.insert(name, text);
    }

    /// The files.
    #[allow(dead_code, reason = "for tests")]
    pub(crate) const fn files(&self) -> &BTreeMap<&'static str, String> {
        &self.files
    }

    /// The summary.
    pub(crate) fn summary(&self) -> &str {
        &self.summary
    }

    /// The invariants that were broken; none in a good run.
    pub(crate) fn broken(&self) -> &[String] {
        &self.broken
    }

    /// Writes the files into `folder`. Returns their names.
    #[allow(dead_code, reason = "the tests compare them in memory")]
    pub(crate) fn write(&self, folder: &Path) -> Result<Vec<&'static str>, Error> {
        std::fs::create_dir_all(folder)?;
        for (name, text) in &self.files {
            std::fs::write(folder.join(name), text)?;
        }
        Ok(self.files.keys().copied().collect())
    }
}

/// `HH:MM:SS` of a UTC time.
pub(crate) fn clock(utc: u64) -> String {
    let second = utc % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

/// Millisatoshis as satoshis with three digits behind the point.
pub(crate) fn sat(msat: u64) -> String {
    format!("{}.{:03}", msat / 1_000, msat % 1_000)
}

/// A run of episodes in numbers, as JSON: what was asked for, and a row each.
#[allow(dead_code, reason = "not every example has episodes")]
pub(crate) fn episodes_json<Row: Serialize>(
    options: &Options,
    episodes: Vec<Row>,
) -> Result<String, Error> {
    #[derive(Serialize)]
    struct Whole<Row> {
        seed: u64,
        chaos: u8,
        episodes: Vec<Row>,
    }
    let whole = Whole { seed: options.seed, chaos: options.chaos, episodes };
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}
