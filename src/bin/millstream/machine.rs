//! A machine in a folder: its seed, its store, and the node that they make.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::{Network, ScriptBuf};
use millstream::chain::{ChainSource, MemoryCoins};
use millstream::db::{RedbReader, RedbStore, seed_file};
use millstream::keys::{Context, Entropy, Seed};
use millstream::node::{Config, Node, Now};
use millstream::rt::{Driver, Options, Parts};
use millstream::signer::MemorySigner;
use millstream::signer::budget::{BudgetRecord, Policy};
use millstream::store::Store;
use millstream::stream::Terms;
use millstream::units::{FeeRate, KeyIndex, Msat, Seconds, SessionId, UtcSeconds};

use crate::failure::Failure;

/// Which chain, and whether real money is meant.
#[derive(Debug, clap::Args)]
pub(crate) struct NetworkArgs {
    /// The chain: regtest, signet, testnet, testnet4 or bitcoin
    #[arg(long, default_value_t = Network::Regtest)]
    network: Network,
    /// Allow network bitcoin: real money, by software that nobody has audited
    #[arg(long)]
    mainnet_i_accept_the_risk: bool,
}

impl NetworkArgs {
    /// The network, mainnet only with its switch.
    pub(crate) fn checked(&self) -> Result<Network, Failure> {
        match self.network {
            Network::Bitcoin if !self.mainnet_i_accept_the_risk => {
                Err(Failure::MainnetWithoutSwitch)
            }
            network => Ok(network),
        }
    }

    /// The network of a command that needs the chain: there is only the simulated one.
    pub(crate) fn with_chain(&self) -> Result<Network, Failure> {
        match self.checked()? {
            Network::Regtest => Ok(Network::Regtest),
            network => Err(Failure::NoChain { network }),
        }
    }
}

/// The file of a folder that holds the seed.
pub(crate) fn seed_path(dir: &Path) -> PathBuf {
    dir.join("seed")
}

fn store_path(dir: &Path) -> PathBuf {
    dir.join("store.redb")
}

/// Makes the folder, and the seed if there is none; loads the seed.
pub(crate) fn seed_or_new(dir: &Path) -> Result<Seed, Failure> {
    let failed = |source| Failure::File { path: dir.to_path_buf(), source };
    fs::create_dir_all(dir).map_err(failed)?;
    let path = seed_path(dir);
    if !path.exists() {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        randomize(&mut *bytes)?;
        seed_file::create(&path, &bytes)?;
    }
    Ok(seed_file::load(&path)?)
}

/// The seed of a folder that has one.
pub(crate) fn seed(path: &Path) -> Result<Seed, Failure> {
    if !path.exists() {
        return Err(Failure::NoSeed { path: path.to_path_buf() });
    }
    Ok(seed_file::load(path)?)
}

/// The folder's store, made if there is none.
pub(crate) fn store(dir: &Path) -> Result<RedbStore, Failure> {
    Ok(RedbStore::open(&store_path(dir))?)
}

/// A store that does not exist yet.
pub(crate) fn new_store(dir: &Path) -> Result<RedbStore, Failure> {
    let path = store_path(dir);
    if path.exists() {
        return Err(Failure::StoreExists { path });
    }
    store(dir)
}

/// The folder's store, for reading only.
pub(crate) fn reader(dir: &Path) -> Result<RedbReader, Failure> {
    let path = store_path(dir);
    if !path.exists() {
        return Err(Failure::NoStore { path });
    }
    Ok(RedbReader::open(&path)?)
}

/// Fills `bytes` from the operating system.
pub(crate) fn randomize(bytes: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(bytes).map_err(|_| Failure::NoEntropy)
}

/// The machine's time and fresh randomness.
#[expect(clippy::disallowed_methods, reason = "a command has the machine's clock")]
pub(crate) fn now() -> Result<Now, Failure> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = UtcSeconds::new(since.as_secs()).unwrap_or(UtcSeconds::MAX);
    let mut aux = [0; 32];
    randomize(&mut aux)?;
    Ok(Now { time, aux: Entropy::new(aux) })
}

/// A session's name that no other has.
pub(crate) fn fresh_session() -> Result<SessionId, Failure> {
    let mut id = [0; 8];
    randomize(&mut id)?;
    // Small enough for every reader of JSON.
    Ok(SessionId::new(u64::from_be_bytes(id) >> 12)?)
}

/// Where a machine's own on-chain money goes.
pub(crate) fn coin_script(seed: &Seed, network: Network) -> Result<ScriptBuf, Failure> {
    let context = Context::new();
    let key = seed.coin_key(&context, network, KeyIndex::MIN)?;
    Ok(MemoryCoins::new(context, &key)?.script().clone())
}

/// The node of a store. Its payments have no limit but the session's budget: a demo's policy.
///
/// Without a budget record the store is new or restored. Of a new one the owner says, by making it,
/// that nothing was spent today; of a restored one `release_day` must say it.
pub(crate) fn node(
    seed: Seed,
    network: Network,
    terms: Option<Terms>,
    store: &dyn Store,
    release_day: bool,
) -> Result<Node<MemorySigner>, Failure> {
    let now = now()?;
    let all = Msat::MAX;
    // 10,000 sat: what a restart costs of a session's budget.
    let policy = Policy { hour: all, day: all, peer: all, slice: Msat::new(10_000_000)? };
    let record = BudgetRecord::load(store)?;
    let mut signer = MemorySigner::new(seed, network, policy, record.as_ref(), &now.aux)?;
    let empty = is_empty(store)?;
    if record.is_none() && (empty || release_day) {
        signer.release_day_budget_without_record(now.time)?;
    }
    let config = Config {
        network,
        terms,
        // The simulated chain mines every few seconds; a day without a block is a dead one.
        tip_age_max: Seconds::new(86_400)?,
        resend_after: Seconds::new(1)?,
        pay_step: Msat::ZERO,
        relay_floor: FeeRate::new(100)?,
    };
    Ok(Node::load(config, Context::new(), signer, store)?)
}

/// How a driver behaves beside the simulated chain, whose blocks come every few seconds.
pub(crate) fn options(network: Network, expose_unencrypted_beyond_loopback: bool) -> Options {
    let mut options = Options::new(network);
    options.expose_unencrypted_beyond_loopback = expose_unencrypted_beyond_loopback;
    options.chain_interval = Duration::from_millis(100);
    options
}

/// Drives the node of a store on a chain; the arguments as for [`node`].
pub(crate) async fn start(
    seed: Seed,
    terms: Option<Terms>,
    store: RedbStore,
    release_day: bool,
    chain: impl ChainSource + Send + 'static,
    options: Options,
) -> Result<Driver<MemorySigner>, Failure> {
    let node = node(seed, options.network, terms, &store, release_day)?;
    let parts = Parts { node, store: Box::new(store), chain: Box::new(chain) };
    Ok(Driver::start(parts, options).await?)
}

/// Ends the driver, also after a failure: what was signed is worth keeping. That failure is the one
/// to tell, since a driver that has failed only says that it has ended.
pub(crate) async fn stop(
    driver: Driver<MemorySigner>,
    done: Result<(), Failure>,
) -> Result<(), Failure> {
    let stopped = driver.stop().await;
    done.and(stopped.map_err(Failure::from))
}

/// The same for a command that runs until the operator's word, and goes on when it starts again.
pub(crate) async fn close(
    driver: Driver<MemorySigner>,
    dir: &Path,
    done: Result<(), Failure>,
) -> Result<(), Failure> {
    let stopped = stop(driver, done).await;
    stopped.inspect(|()| {
        eprintln!("stopped; the next start with --dir {} goes on from here", dir.display());
    })
}

fn is_empty(store: &dyn Store) -> Result<bool, Failure> {
    let mut empty = true;
    store.scan(&[], &mut |_, _| {
        empty = false;
        std::ops::ControlFlow::Break(())
    })?;
    Ok(empty)
}

/// Runs a command's future on a runtime of its own.
pub(crate) fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().map_err(Failure::Runtime)?;
    runtime.block_on(work)
}

#[cfg(test)]
mod tests {
    use millstream::chain::remote::ChainHost;
    use millstream::rt::RtError;

    use super::*;

    #[test]
    fn failure_is_told_and_not_that_the_driver_had_ended_by_it() {
        let done = async {
            let dir = tempfile::tempdir().unwrap();
            let (seed, store) = (seed_or_new(dir.path())?, store(dir.path())?);
            let host = ChainHost::kept_in(&dir.path().join("chain.txt"))?;
            let chain = host.chain().source_from_now();
            let options = options(Network::Regtest, false);
            let driver = start(seed, None, store, false, chain, options).await?;
            let again = driver.clone();
            stop(driver, Ok(())).await?;
            let failed = stop(again.clone(), Err(Failure::NoHolds)).await;
            assert!(matches!(failed, Err(Failure::NoHolds)), "{failed:?}");
            let ended = stop(again, Ok(())).await;
            assert!(matches!(ended, Err(Failure::Rt(RtError::Ended))), "{ended:?}");
            Ok(())
        };
        block_on(done).unwrap();
    }
}
