//! `millstream bench`: every figure that this project claims, measured where it runs.
//!
//! ```text
//!   Args --> groups of rows --> Stage: a payer and a payee, channels open and deep
//!              |  pay, meter: CPU time of this thread, ours and bare operations in turns
//!              |  ledger:     shares into credits, credits into payments
//!              |  batch:      windows of items on both ends, and their bytes
//!              |  grid:       the same for every window, leaf and mix of amounts; long
//!              |  tcp:        windows of items between two processes, wall time; some long
//!              |  durable:    wall time, a store and a bare file in turns
//!              |  settled:    shares of work, verified, credited and paid, wall time
//!              |  shares:     checks of proof of work beside bare compressions; some long
//!              |  planner:    what settles now, of many channels
//!              |  sizes:      bytes and virtual bytes of what was really signed
//!              |  mine:       nonces searched by each kernel, and by `sha2`
//!              |  holds:      virtual bytes of holds, as the simulated chain takes them
//!              '- memory:     resident bytes of many idle channels
//!            Vec<Row> --> a table, or JSON
//! ```
//!
//! A figure with a peer is a ratio within its own run. Each group asserts that what it counts
//! happened (accepted = submitted, paid = owed) before it gives its rows. What is long is measured
//! with `--full`, or when it is named.

mod batch;
mod clock;
mod durable;
mod grid;
mod holds;
mod ledger;
mod memory;
mod messages;
mod meter;
mod meters;
mod mine;
mod pay;
mod planner;
mod row;
mod settled;
mod shares;
mod sizes;
mod stage;
mod tcp;
mod windows;

use std::error::Error;
use std::path::PathBuf;

pub(crate) use row::Row;

/// Arguments of `millstream bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the rows as JSON
    #[arg(long)]
    json: bool,
    /// Measure the long rows too: minutes, which the others do not take
    #[arg(long)]
    full: bool,
    /// Measure only the rows whose name starts so, long or not; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Where the stores that are measured lie; must be on the medium that is meant
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Rounds of each timed figure, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 15)]
    #[arg(value_parser = clap::value_parser!(u32).range(9..=999))]
    rounds: u32,
    /// Be the payee of another process that measures
    #[arg(long, hide = true)]
    payee: bool,
}

impl Args {
    /// Whether a row was asked for.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only))
    }
}

/// Rows that are measured together.
struct Group {
    /// The first names that it gives, so that `--only` need not run it to know.
    names: &'static [&'static str],
    /// Measured only if it is named, or if all are.
    long: bool,
    #[expect(clippy::type_complexity, reason = "the house has no type aliases")]
    run: fn(&Args) -> Result<Vec<Row>, Box<dyn Error>>,
}

/// In the order of the report. Memory first: later the allocator has pages to give back.
const GROUPS: &[Group] = &[
    Group { names: memory::NAMES, long: false, run: memory::rows },
    Group { names: pay::NAMES, long: false, run: pay::rows },
    Group { names: meter::NAMES, long: false, run: meter::rows },
    Group { names: ledger::NAMES, long: false, run: ledger::rows },
    Group { names: batch::NAMES, long: false, run: batch::rows },
    Group { names: grid::NAMES, long: true, run: grid::rows },
    Group { names: tcp::NAMES, long: false, run: tcp::rows },
    Group { names: tcp::LONG_NAMES, long: true, run: tcp::long_rows },
    Group { names: durable::NAMES, long: false, run: durable::rows },
    Group { names: sizes::NAMES, long: false, run: sizes::rows },
    Group { names: holds::NAMES, long: false, run: holds::rows },
    Group { names: messages::NAMES, long: false, run: messages::rows },
    Group { names: mine::NAMES, long: false, run: mine::rows },
    Group { names: planner::NAMES, long: false, run: planner::rows },
    Group { names: settled::NAMES, long: false, run: settled::rows },
    Group { names: shares::NAMES, long: false, run: shares::rows },
    Group { names: shares::LONG_NAMES, long: true, run: shares::tiny_rows },
];

/// Measures and prints.
pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if args.payee {
        return tcp::run_payee(&args.dir);
    }
    let wanted = |name: &str| args.wants(name);
    let mut rows = Vec::new();
    for group in GROUPS.iter().filter(|group| group.names.iter().any(|name| wanted(name))) {
        if group.long && !args.full && args.only.is_empty() {
            continue;
        }
        let given = (group.run)(args)?;
        for name in group.names {
            assert!(given.iter().any(|row| row.name == *name), "no row {name}");
        }
        assert_eq!(given.len(), group.names.len(), "a row without a listed name");
        rows.extend(given.into_iter().filter(|row| wanted(row.name)));
    }
    if rows.is_empty() {
        let known: Vec<_> = GROUPS.iter().flat_map(|group| group.names).copied().collect();
        return Err(format!("no row {:?}; there are: {}", args.only, known.join(", ")).into());
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        row::print_table(&rows);
    }
    Ok(())
}
