//! What the examples share: options, output that is the same for the same seed, dice, payers with
//! their channels, the books of the chain, and plots.

pub(crate) mod books;
#[allow(dead_code, reason = "not every example has many payers")]
pub(crate) mod crowd;
pub(crate) mod dice;
pub(crate) mod output;
pub(crate) mod plot;
#[allow(dead_code, reason = "not every example sells energy")]
pub(crate) mod prices;
#[allow(dead_code, reason = "not every example sets up the same")]
pub(crate) mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};

use output::{Report, Screen};

/// Whatever ends an example early.
pub(crate) type Error = Box<dyn std::error::Error>;

/// What every example understands.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// Where the files go [default: out/<name of the example>]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// The same seed gives the same files, byte for byte
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// 0: nothing goes wrong; 1: each fault once; 2: and connections break; 3: and break often
    #[arg(long, value_name = "0..3", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub(crate) chaos: u8,
    /// Prints nothing but what is broken
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Breaks one invariant on purpose, to see the run fail
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) sabotage: Option<Sabotage>,
}

/// An invariant that a run can be told to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// A satoshi goes missing between the vouchers and the chain.
    Conservation,
    /// The station serves twice the credit that was agreed.
    Window,
    /// The final statement claims a millisatoshi more than was metered.
    Statement,
}

impl Options {
    /// What `cargo run --example NAME` without arguments means, for tests.
    #[allow(dead_code, reason = "the examples parse theirs, the tests build theirs")]
    pub(crate) fn new(seed: u64, chaos: u8) -> Self {
        Self { out: None, seed, chaos, quiet: true, sabotage: None }
    }
}

/// Runs an example: options, the work, its files, its exit code.
#[allow(dead_code, reason = "the tests call the work itself")]
pub(crate) fn run(
    name: &'static str,
    about: &'static str,
    work: fn(&Options, &mut Screen) -> Result<Report, Error>,
) -> ExitCode {
    let matches = Options::command().name(name).about(about).get_matches();
    let options = Options::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let mut screen = Screen::new(options.quiet);
    #[expect(clippy::disallowed_methods, reason = "shown on the terminal only")]
    let started = Instant::now();
    let report = match work(&options, &mut screen) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{name}: {error} (seed {}, chaos {})", options.seed, options.chaos);
            return ExitCode::from(2);
        }
    };
    let folder = options.out.clone().unwrap_or_else(|| PathBuf::from("out").join(name));
    screen.line(report.summary());
    match report.write(&folder) {
        Ok(files) => screen.line(&format!("wrote {} to {}", files.join(", "), folder.display())),
        Err(error) => {
            eprintln!("{name}: cannot write to {}: {error}", folder.display());
            return ExitCode::from(2);
        }
    }
    // The only measured time; it is in no file.
    screen.line(&format!("{:.1} s", started.elapsed().as_secs_f64()));
    for broken in report.broken() {
        eprintln!("BROKEN: {broken} (seed {}, chaos {})", options.seed, options.chaos);
    }
    if report.broken().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
