//! A payer's coin from nothing but its seed and one backup.

mod found;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use bitcoin::{Network, OutPoint, XOnlyPublicKey};
use millstream::chain::ChainSource;
use millstream::chain::remote::RemoteChain;
use millstream::keys::Context;
use millstream::stream::payer::PayerRecord;
use millstream::stream::{Backup, Payer, Terms};

use crate::failure::Failure;
use crate::machine;
pub(crate) use found::Found;
use found::ranked;

/// The prefix of a backup's text form.
const HRP: &str = "millbackup";

/// The seed, the backup and the chain.
#[derive(Debug, clap::Args)]
pub(crate) struct CoinArgs {
    /// The file that holds the seed, mode 0600
    #[arg(long)]
    pub(crate) seed_file: PathBuf,
    /// The file that holds the sealed backup
    #[arg(long)]
    backup: Option<PathBuf>,
    /// The sealed backup as text, instead of a file
    #[arg(long, conflicts_with = "backup")]
    text: Option<String>,
    /// Where the simulated chain is offered, as serve prints it
    #[arg(long, default_value = "127.0.0.1:9737")]
    pub(crate) chain: SocketAddr,
    /// Which output of the channel's script; else the backup's own, what descends from it, or the
    /// largest, in this order
    #[arg(long)]
    outpoint: Option<OutPoint>,
}

/// What was found.
pub(crate) struct Coins {
    pub(crate) chain: RemoteChain,
    pub(crate) sealed: Vec<u8>,
    pub(crate) backup: Backup,
    /// The likeliest.
    pub(crate) coin: Found,
    /// The rest, the likeliest first.
    pub(crate) others: Vec<Found>,
    /// The channel's payer.
    key: XOnlyPublicKey,
}

impl Coins {
    /// A payer's record of one of them.
    pub(crate) fn record(
        &self,
        found: &Found,
        terms: Option<&Terms>,
    ) -> Result<PayerRecord, Failure> {
        let (context, Found { outpoint, status, .. }) = (Context::new(), found);
        Ok(Payer::restore(&context, self.key, &self.backup, terms, *outpoint, status)?)
    }
}

impl CoinArgs {
    /// Opens the backup, and finds its coins by its script: also after a rollover or a replaced
    /// funding transaction. Says what it found.
    pub(crate) fn find(&self, network: Network) -> Result<Coins, Failure> {
        let seed = machine::seed(&self.seed_file)?;
        let sealed = self.sealed()?;
        let backup = Backup::open(&sealed, &seed, network)?;
        let chain = RemoteChain::connect(self.chain)?;
        let context = Context::new();
        let output = backup.output(&context, &seed)?;
        let mut found = ranked(backup.outpoint, chain.outputs_of(output.script())?);
        for found in &found {
            println!("found {found}");
        }
        if let Some(outpoint) = self.outpoint {
            found.retain(|found| found.outpoint == outpoint);
        }
        let script = || output.script().to_hex_string();
        let mut found = found.into_iter();
        let coin = found.next().ok_or_else(|| match self.outpoint {
            Some(outpoint) => Failure::NoSuchCoin { outpoint, script: script() },
            None => Failure::NoCoin { script: script() },
        })?;
        let key = seed.payer_key(&context, network, backup.index)?.public();
        Ok(Coins { chain, sealed, backup, coin, others: found.collect(), key })
    }

    /// The backup opens with this seed and with the one in the file `theirs`: else they differ.
    pub(crate) fn check_seed(&self, theirs: &Path, network: Network) -> Result<(), Failure> {
        let sealed = self.sealed()?;
        Backup::open(&sealed, &machine::seed(&self.seed_file)?, network)?;
        Backup::open(&sealed, &machine::seed(theirs)?, network).map_err(|_| {
            Failure::OtherSeed { path: theirs.to_path_buf(), given: self.seed_file.clone() }
        })?;
        Ok(())
    }

    fn sealed(&self) -> Result<Vec<u8>, Failure> {
        match (&self.backup, &self.text) {
            (Some(path), _) => {
                fs::read(path).map_err(|source| Failure::File { path: path.clone(), source })
            }
            (None, Some(text)) => from_text(text),
            (None, None) => Err(Failure::NoBackupGiven),
        }
    }
}

/// A sealed backup as text, in capitals so that a QR code packs it densely.
pub(crate) fn to_text(sealed: &[u8]) -> String {
    // 136 bytes are 240 characters; Bech32m ends at 1023.
    bech32::encode_upper::<Bech32m>(Hrp::parse_unchecked(HRP), sealed).unwrap_or_default()
}

fn from_text(text: &str) -> Result<Vec<u8>, Failure> {
    let wrong = || Failure::NotText { text: text.chars().take(40).collect(), prefix: HRP };
    let checked = CheckedHrpstring::new::<Bech32m>(text.trim()).map_err(|_| wrong())?;
    if checked.hrp() != Hrp::parse_unchecked(HRP) {
        return Err(wrong());
    }
    Ok(checked.byte_iter().collect())
}
