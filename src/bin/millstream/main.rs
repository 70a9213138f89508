//! `millstream`: the command line of the crate. One subcommand, one file.
//!
//! A subcommand is a variant of [`Command`] with its arguments, which `run` does or says why not.
//! What a command prints for programs goes to the standard output, all else to the error output.

mod bench;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Payment channels for machines, on Bitcoin.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What it can do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Measure every figure that this project claims, on this machine
    Bench(bench::Args),
}

impl Command {
    fn run(&self) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Bench(args) => bench::run(args),
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millstream: {error}");
            ExitCode::FAILURE
        }
    }
}
