//! `backup`: writes what a payer needs beside its seed, once a channel.

use std::fs::OpenOptions;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use bitcoin::OutPoint;
use millstream::node::Node;
use millstream::signer::MemorySigner;
use millstream::store::Store;
use millstream::stream::Backup;

use crate::coin::to_text;
use crate::failure::Failure;
use crate::machine::{self, NetworkArgs};

/// Of which channel, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The payer's folder
    #[arg(long)]
    dir: PathBuf,
    /// The channel, by the outpoint at which it was funded; else the newest
    #[arg(long)]
    channel: Option<OutPoint>,
    /// A new file for the 136 sealed bytes; else they are printed as text, fit for a QR code
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let network = args.network.checked()?;
    let seed = machine::seed(&machine::seed_path(&args.dir))?;
    let store = machine::reader(&args.dir)?;
    // Opened as well, so that a backup which cannot be is noticed while the channel is alive.
    let mut found: Vec<(Backup, Vec<u8>)> = Vec::new();
    for sealed in sealed_backups(&store)? {
        found.push((Backup::open(&sealed, &seed, network)?, sealed));
    }
    let chosen = match args.channel {
        Some(outpoint) => found
            .into_iter()
            .find(|(backup, _)| backup.outpoint == outpoint)
            .ok_or(Failure::NoBackup { outpoint })?,
        None => found
            .into_iter()
            .max_by_key(|(backup, _)| backup.index)
            .ok_or_else(|| Failure::NoBackups { path: args.dir.clone() })?,
    };
    let (backup, sealed) = chosen;
    match &args.out {
        None => println!("{}", to_text(&sealed)),
        Some(path) => {
            let failed = |source| Failure::File { path: path.clone(), source };
            let mut file =
                OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
            file.write_all(&sealed).and_then(|()| file.sync_all()).map_err(failed)?;
            println!("backup of {}, {} bytes", backup.outpoint, sealed.len());
        }
    }
    Ok(())
}

/// The sealed backups in a store.
pub(crate) fn sealed_backups(store: &dyn Store) -> Result<Vec<Vec<u8>>, Failure> {
    let mut found = Vec::new();
    store.scan(&Node::<MemorySigner>::BACKUPS, &mut |_, sealed| {
        found.push(sealed.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(found)
}
