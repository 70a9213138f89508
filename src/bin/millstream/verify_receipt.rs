//! `verify-receipt`: what a receipt proves to a third party, from its file alone.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use bitcoin::XOnlyPublicKey;
use bitcoin::hex::DisplayHex;
use millstream::batch::item::Charge;
use millstream::batch::receipt::{Proven, Receipt};
use millstream::keys::Context;
use millstream::stream::Terms;

use crate::failure::Failure;

/// The largest receipt has less than 6,000 bytes: 64 items with all that they can have, and a path
/// of 20 steps. More of a file is not read.
const FILE_MAX: u64 = 8_192;

/// Which receipt, and whose it should be.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The receipt
    file: PathBuf,
    /// The payee's base key: 64 hex digits
    #[arg(long, value_name = "KEY")]
    payee: Option<XOnlyPublicKey>,
    /// The file of the payee's terms, as text or as bytes, instead of its key
    #[arg(long, value_name = "FILE", conflicts_with = "payee")]
    terms: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let bytes = read(&args.file)?;
    let payee = match &args.terms {
        Some(path) => Some(terms(path)?.base),
        None => args.payee,
    };
    let context = Context::new();
    let receipt = Receipt::decode(&bytes)?;
    let proven = match payee {
        Some(payee) => receipt.verify(&context, payee)?,
        None => receipt.verify_signer_unknown(&context)?,
    };
    println!("{}", Sentence { proven, known: payee.is_some() });
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |source| Failure::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn terms(path: &Path) -> Result<Terms, Failure> {
    let failed = |source| Failure::File { path: path.to_owned(), source };
    let bytes = fs::read(path).map_err(failed)?;
    Ok(match str::from_utf8(&bytes) {
        Ok(text) => Terms::from_text(text.trim())?,
        Err(_) => Terms::parse(&bytes)?,
    })
}

/// What was paid, in which channel, by which tariff, and who says so.
struct Sentence {
    proven: Proven,
    known: bool,
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { proven, known } = self;
        let item = &proven.item;
        write!(f, "{} were paid for item {} of lane {}", proven.amount, item.id, item.lane)?;
        if let Charge::Metered { count, price } = item.charge {
            write!(f, " ({count} units at {} per {})", price.msat(), price.per())?;
        }
        if let Some(hash) = item.hash {
            write!(f, ", which refers to document {}", hash.to_lower_hex_string())?;
        }
        let statement = &proven.statement;
        match proven.items {
            1 => write!(f, ", alone")?,
            items => write!(f, ", one of {items} items of {} together", proven.total)?,
        }
        write!(f, ", in channel {}", statement.outpoint)?;
        write!(f, ", which had then paid {}", statement.paid)?;
        if statement.tariff == [0; 32] {
            write!(f, ", by no tariff")?;
        } else {
            write!(f, ", by tariff {}", statement.tariff.to_lower_hex_string())?;
        }
        if *known {
            write!(f, ", signed by the payee {}", proven.payee)
        } else {
            write!(f, ", signed by {}: not verified against a known payee", proven.payee)
        }
    }
}
