//! `restore`: a store anew, from the seed and one backup.

use std::fs;
use std::path::PathBuf;

use millstream::db::seed_file;
use millstream::node::Node;
use millstream::signer::MemorySigner;
use millstream::store::{Batch, Durability, Store};
use millstream::stream::Terms;

use crate::coin::CoinArgs;
use crate::failure::Failure;
use crate::machine::{self, NetworkArgs};

/// From what, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The new folder
    #[arg(long)]
    dir: PathBuf,
    #[command(flatten)]
    coin: CoinArgs,
    /// The payee's terms as text; else it pays on under rules that wait longer than most
    #[arg(long)]
    terms: Option<String>,
    #[command(flatten)]
    network: NetworkArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let network = args.network.with_chain()?;
    let terms = args.terms.as_deref().map(Terms::from_text).transpose()?;
    let seed_path = machine::seed_path(&args.dir);
    if seed_path.exists() {
        args.coin.check_seed(&seed_path, network)?;
    }
    let coins = args.coin.find(network)?;
    let (coin, record) = (&coins.coin, coins.record(&coins.coin, terms.as_ref())?);
    let failed = |source| Failure::File { path: args.dir.clone(), source };
    fs::create_dir_all(&args.dir).map_err(failed)?;
    if seed_path != args.coin.seed_file && !seed_path.exists() {
        copy_seed(&args.coin.seed_file, &seed_path)?;
    }
    let mut store = machine::new_store(&args.dir)?;
    let mut batch = Batch::default();
    batch.put(record.key()?, &record.encode()?)?;
    // Under the outpoint at which it was funded, so that its key index is not used again.
    batch.put(Node::<MemorySigner>::backup_key(coins.backup.outpoint)?, &coins.sealed)?;
    store.commit(&batch, Durability::Barrier)?;
    println!("restored {}, {}", coin.outpoint, coin.status.value);
    println!("it pays on once the payee has shown its best voucher; today's budget counts as used");
    println!("until pay is called with --release-day-budget");
    Ok(())
}

/// The bytes go from file to file without a stop in a value that could be copied.
fn copy_seed(from: &std::path::Path, to: &std::path::Path) -> Result<(), Failure> {
    let failed = |source| Failure::File { path: from.to_path_buf(), source };
    let text = zeroize::Zeroizing::new(fs::read_to_string(from).map_err(failed)?);
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        let digits = text.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        *byte = digits.ok_or_else(|| seed_file::SeedFileError::Malformed {
            path: from.to_path_buf(),
            got: text.len(),
        })?;
    }
    Ok(seed_file::create(to, &bytes)?)
}
