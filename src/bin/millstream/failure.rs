//! Why a command did not do what it was asked: one sentence each, with the value in it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use bitcoin::{Network, OutPoint};
use millstream::batch::BatchError;
use millstream::batch::item::ItemError;
use millstream::batch::receipt::ReceiptError;
use millstream::chain::remote::RemoteError;
use millstream::chain::template::TemplateError;
use millstream::chain::{ChainError, CoinsError};
use millstream::db::DbError;
use millstream::db::seed_file::SeedFileError;
use millstream::hub::HubError;
use millstream::keys::KeyError;
use millstream::ledger::LedgerError;
use millstream::meter::tariff::TariffError;
use millstream::monitor::MonitorError;
use millstream::node::NodeError;
use millstream::rt::RtError;
use millstream::shares::JobError;
use millstream::signer::SignerError;
use millstream::store::StoreError;
use millstream::stream::{BackupError, StreamError, TermsError};
use millstream::tx::TxError;
use millstream::units::{Blame, Height, Msat, UnitError};

/// What a command refuses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(
        "network bitcoin is real money: this needs --mainnet-i-accept-the-risk, and this release \
         has not been audited"
    )]
    MainnetWithoutSwitch,
    #[error("network {network} has no chain source in this release; only regtest is simulated")]
    NoChain { network: Network },
    #[error("{} cannot be used: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is no Bech32m text with the prefix {prefix}", text)]
    NotText { text: String, prefix: &'static str },
    #[error("{} holds no seed; serve or pay make one", path.display())]
    NoSeed { path: PathBuf },
    #[error("{} holds no store", path.display())]
    NoStore { path: PathBuf },
    #[error("{} exists already; a restore makes a new one", path.display())]
    StoreExists { path: PathBuf },
    #[error("no backup of channel {outpoint}")]
    NoBackup { outpoint: OutPoint },
    #[error("no backup in {}", path.display())]
    NoBackups { path: PathBuf },
    #[error("a backup must be given, by --backup or by --text")]
    NoBackupGiven,
    #[error("the chain has no unspent output of the backup's script {script}")]
    NoCoin { script: String },
    #[error("the chain has no unspent output {outpoint} of the backup's script {script}")]
    NoSuchCoin { outpoint: OutPoint, script: String },
    #[error(
        "{} holds another seed than {}, whose backup this is; a restore needs a folder without a \
         seed, or with the same",
        path.display(),
        given.display()
    )]
    OtherSeed { path: PathBuf, given: PathBuf },
    #[error("coin {outpoint} is not confirmed yet")]
    NotConfirmed { outpoint: OutPoint },
    #[error(
        "a refund of {outpoint} can confirm at height {deadline} at the earliest; the tip is {tip}"
    )]
    TooEarly { outpoint: OutPoint, deadline: Height, tip: Height },
    #[error("{pool} is no pool: it must be HOST:PORT, and the host must be known")]
    NoPool { pool: String },
    #[error("pool {pool} was left: {why}")]
    PoolGone { pool: String, why: String },
    #[error("the payee's terms are not the ones of --terms")]
    OtherTerms,
    #[error("the payee takes no holds")]
    NoHolds,
    #[error("the address is not one of network {network}")]
    WrongAddress { network: Network },
    #[error("the payee's terms are for network {got}, not {want}")]
    WrongNetwork { want: Network, got: Network },
    #[error("{} records cannot be read; the first: {first}", count)]
    Records { count: usize, first: Box<Failure> },
    #[error("the payee refused: {code}")]
    Refused { code: String },
    #[error("no answer within {seconds} s: {what}")]
    TooSlow { what: &'static str, seconds: u64 },
    #[error("the link to {address} ended: {why}")]
    LinkDown { address: SocketAddr, why: String },
    #[error("the session came to {owed} on both sides, of which {paid} is paid")]
    NotPaid { owed: Msat, paid: Msat },
    #[error("no runtime: {0}")]
    Runtime(io::Error),
    #[error("the operating system gives no randomness")]
    NoEntropy,
    #[error(transparent)]
    SeedFile(#[from] SeedFileError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Rt(#[from] RtError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Coins(#[from] CoinsError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Signer(#[from] SignerError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Item(#[from] ItemError),
    #[error("the receipt is refused: {0}")]
    Receipt(#[from] ReceiptError),
    #[error(transparent)]
    Terms(#[from] TermsError),
    #[error(transparent)]
    Tariff(#[from] TariffError),
    #[error(transparent)]
    Meter(#[from] millstream::meter::MeterError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Tx(#[from] TxError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Unit(#[from] UnitError),
}

impl Failure {
    /// What to do about it, where the sentence does not say so.
    pub(crate) const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Rt(RtError::PortInUse { .. }) => {
                Some("end that one, or give --listen another port, 0 for any free one")
            }
            Self::Remote(RemoteError::PortInUse { .. }) => {
                Some("end that one, or give --chain another port, 0 for any free one")
            }
            Self::Db(DbError::Locked { .. }) => Some("end that one first, or give another --dir"),
            Self::SeedFile(SeedFileError::OthersCanRead { .. }) => {
                Some("chmod 600 it if nobody else has read it, else begin with another --dir")
            }
            Self::Rt(RtError::Connect { .. }) | Self::Remote(RemoteError::Unreachable { .. }) => {
                Some("is serve running, and are these the addresses that it printed?")
            }
            Self::TooSlow { .. } => {
                Some("what was signed is kept: the same command again takes it up")
            }
            _ => None,
        }
    }

    /// Whether what the command was given is refused; else it went wrong on the way.
    pub(crate) fn is_input(&self) -> bool {
        match self {
            Self::LinkDown { .. }
            | Self::TooSlow { .. }
            | Self::NotPaid { .. }
            | Self::Refused { .. }
            | Self::PoolGone { .. }
            | Self::Runtime(_)
            | Self::NoEntropy
            | Self::Chain(_)
            | Self::Coins(_) => false,
            Self::File { source, .. } | Self::SeedFile(SeedFileError::Refused { source, .. }) => {
                is_named(source)
            }
            Self::Records { first, .. } => first.is_input(),
            Self::Store(error) => is_of_the_file(error),
            Self::Db(error) => match error {
                DbError::Refused { source, .. } => is_named(source),
                DbError::Unreadable { source, .. } => is_of_the_file(source),
                _ => true,
            },
            Self::Remote(error) => matches!(
                error,
                RemoteError::NotLoopback { .. }
                    | RemoteError::PortInUse { .. }
                    | RemoteError::Listen { .. }
                    | RemoteError::BadBlock { .. }
            ),
            Self::Rt(error) => match error {
                RtError::NotLoopback { .. }
                | RtError::PortInUse { .. }
                | RtError::Listen { .. } => true,
                RtError::Node(error) => is_asked(error),
                _ => false,
            },
            Self::Node(error) => is_asked(error),
            // The world's are fees, depth, time and the tip: none of them was given.
            Self::Signer(error) => error.blame() != Blame::World,
            Self::Stream(error) => error.blame() != Blame::World,
            Self::Tx(error) => error.blame() != Blame::World,
            _ => true,
        }
    }
}

/// Whether a file was named that cannot be had, and not a disk that fails.
fn is_named(source: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied,
    };
    matches!(
        source.kind(),
        AlreadyExists | InvalidInput | IsADirectory | NotADirectory | NotFound | PermissionDenied
    )
}

/// Whether it is what a store's file holds, and not its medium.
const fn is_of_the_file(error: &StoreError) -> bool {
    !matches!(error, StoreError::Full | StoreError::Medium { .. } | StoreError::PowerLost { .. })
}

fn is_asked(error: &NodeError) -> bool {
    match error {
        NodeError::Store(error) => is_of_the_file(error),
        error => error.blame() == Blame::Us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_links_and_failing_disks_are_told_from_refused_input() {
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        let (path, io) = (PathBuf::from("x"), |kind: io::ErrorKind| io::Error::from(kind));
        let (gone, disk) = (io::ErrorKind::ConnectionRefused, io::ErrorKind::StorageFull);
        let unreachable = RemoteError::Unreachable { address, source: ChainError::Unavailable };
        for failure in [
            Failure::TooSlow { what: "x", seconds: 1 },
            Failure::LinkDown { address, why: String::new() },
            Failure::Rt(RtError::Connect { address, source: io(gone) }),
            Failure::Remote(unreachable),
            Failure::Chain(ChainError::Unavailable),
            Failure::File { path: path.clone(), source: io(disk) },
            Failure::Db(DbError::Refused { path: path.clone(), source: io(disk) }),
            Failure::Store(StoreError::Full),
            Failure::Node(NodeError::Store(StoreError::Full)),
            Failure::Records { count: 1, first: Box::new(Failure::Store(StoreError::Full)) },
        ] {
            assert!(!failure.is_input(), "{failure}");
        }
        let missing = io::ErrorKind::NotFound;
        for failure in [
            Failure::MainnetWithoutSwitch,
            Failure::OtherTerms,
            Failure::Rt(RtError::PortInUse { address }),
            Failure::Remote(RemoteError::BadBlock { path: path.clone(), line: 2 }),
            Failure::File { path: path.clone(), source: io(missing) },
            Failure::Db(DbError::Locked { path }),
            Failure::Store(StoreError::UnknownVersion { got: 9, known: 1 }),
            Failure::Stream(StreamError::OtherTerms),
        ] {
            assert!(failure.is_input(), "{failure}");
        }
    }
}
