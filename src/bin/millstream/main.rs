//! `millstream`: the command line of the crate. One subcommand, one file.
//!
//! A subcommand is a variant of [`Command`] with its arguments, which `run` does or says why not.
//! What a command prints for programs goes to the standard output, all else to the error output.
//! It ends with 0 if it did what it was asked, with 2 if it refuses what it was given, with 1 if
//! that was right and something went wrong on the way.

mod backup;
mod bench;
mod coin;
mod failure;
mod funding;
mod generate;
mod inspect;
mod machine;
mod mine;
mod pay;
mod pool;
mod refund;
mod restore;
mod serve;
mod settling;
mod soak;
mod standing;
mod stop;
mod told;
mod verify_receipt;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// What stands below the list of commands.
const AFTER_HELP: &str = "\
In two terminals:
  millstream serve --dir house                           prints its addresses; Ctrl-C stops it
  millstream pay --dir car --amount 1000 --times 50      pays it 50 sat

Likewise, with work for money:
  millstream pool --dir house                            pays for shares of proof of work
  millstream mine --dir rig --seconds 60 --settle        earns some, and brings it to the chain

1 sat is 1000 msat. The chain is simulated, its coins are worth nothing.
Exit codes: 0 done, 1 it went wrong on the way, 2 refused for what it was given.";

/// Payment channels for machines, on Bitcoin.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, propagate_version = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What it can do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Be paid: publish terms, sell a metered demo service, host the simulated chain
    Serve(serve::Args),
    /// Pay a payee over TCP: an amount, or a metered session
    Pay(pay::Args),
    /// Print every record of a store, without writing to it
    Inspect(inspect::Args),
    /// Write the sealed backups of a payer's channels
    Backup(backup::Args),
    /// Make a store anew from the seed and one backup
    Restore(restore::Args),
    /// Take a channel's coin back after its deadline, from the seed and one backup
    Refund(refund::Args),
    /// Search shares of proof of work for a Stratum pool, and be paid through a channel by ours
    Mine(mine::Args),
    /// Serve Stratum on the simulated chain, and pay every share through channels
    Pool(pool::Args),
    /// Have the simulated chain mine blocks at once
    Generate(generate::Args),
    /// Check a receipt: what was paid, in which channel, by which tariff
    VerifyReceipt(verify_receipt::Args),
    /// Measure every figure that this project claims, on this machine
    Bench(bench::Args),
    /// Run simulated pairs with faults, and count what they lose
    Soak(soak::Args),
}

impl Command {
    fn run(&self) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Serve(args) => Ok(serve::run(args)?),
            Self::Pay(args) => Ok(pay::run(args)?),
            Self::Inspect(args) => Ok(inspect::run(args)?),
            Self::Backup(args) => Ok(backup::run(args)?),
            Self::Restore(args) => Ok(restore::run(args)?),
            Self::Refund(args) => Ok(refund::run(args)?),
            Self::Mine(args) => Ok(mine::run(args)?),
            Self::Pool(args) => Ok(pool::run(args)?),
            Self::Generate(args) => Ok(generate::run(args)?),
            Self::VerifyReceipt(args) => Ok(verify_receipt::run(args)?),
            Self::Bench(args) => bench::run(args),
            Self::Soak(args) => soak::run(args),
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failure = error.downcast_ref::<Failure>();
            let hint = failure.and_then(Failure::hint).map(|hint| format!("; {hint}"));
            eprintln!("millstream: {error}{}", hint.unwrap_or_default());
            if failure.is_some_and(Failure::is_input) {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
