//! A payer's coin from nothing but its seed and one backup.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use bitcoin::{Network, OutPoint};
use millstream::chain::ChainSource;
use millstream::chain::remote::RemoteChain;
use millstream::keys::{Context, Seed};
use millstream::stream::payer::PayerRecord;
use millstream::stream::{Backup, Payer, Terms};
use millstream::tx::seen::OutputStatus;

use millstream::units::Height;

use crate::failure::Failure;
use crate::machine;

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
}

/// What was found.
pub(crate) struct Coin {
    pub(crate) seed: Seed,
    pub(crate) chain: RemoteChain,
    pub(crate) sealed: Vec<u8>,
    pub(crate) backup: Backup,
    pub(crate) outpoint: OutPoint,
    pub(crate) status: OutputStatus,
    pub(crate) record: PayerRecord,
}

impl CoinArgs {
    /// Opens the backup, and finds its coin by its script: also after a rollover or a replaced
    /// funding transaction.
    pub(crate) fn find(&self, network: Network, terms: Option<&Terms>) -> Result<Coin, Failure> {
        let seed = machine::seed(&self.seed_file)?;
        let sealed = self.sealed()?;
        let backup = Backup::open(&sealed, &seed, network)?;
        let chain = RemoteChain::connect(self.chain)?;
        let context = Context::new();
        let output = backup.output(&context, &seed)?;
        let found = chain.outputs_of(output.script())?;
        let unspent = |status: &OutputStatus| {
            // A spend in the mempool may still be replaced.
            status.spent.as_ref().is_none_or(|spend| spend.confirmed.is_none())
        };
        let (outpoint, status) = found
            .into_iter()
            .filter(|(_, status)| unspent(status))
            // After a rollover the newest.
            .max_by_key(|(_, status)| status.confirmed.map_or(u32::MAX, Height::to_u32))
            .ok_or_else(|| Failure::NoCoin { script: output.script().to_hex_string() })?;
        let key = seed.payer_key(&context, network, backup.index)?.public();
        let record = Payer::restore(&context, key, &backup, terms, outpoint, &status)?;
        Ok(Coin { seed, chain, sealed, backup, outpoint, status, record })
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
