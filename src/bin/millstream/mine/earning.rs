//! The payee beside the miner: our pool pays into its channels, and it stops when it is not paid.
//!
//! ```text
//!  pool's channel port <--link--> Driver: payee's node --vouchers--> Books --> may it work on?
//!                                    '--> settles before a last call, and in the end if asked
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::Network;
use millstream::chain::ChainSource;
use millstream::chain::remote::RemoteChain;
use millstream::keys::{Context, Seed};
use millstream::ledger::{Credit, HashPrice};
use millstream::node::{Command, Event, LinkId, Node};
use millstream::rt::{Driver, News, RtError, Told};
use millstream::signer::MemorySigner;
use millstream::stratum::client::Task;
use millstream::stream::payee::PayeePhase;
use millstream::stream::{Payee, Terms};
use millstream::tx::Delay;
use millstream::units::{Blocks, Msat, WorkBits};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::books::Books;
use crate::failure::Failure;
use crate::machine::{self, NetworkArgs};
use crate::settling::{self, Settling};
use crate::told;

/// How long it waits for the vouchers of its last shares.
const LAST_VOUCHER: Duration = Duration::from_secs(10);
/// How long it waits for the block of its settlement.
const SETTLED: Duration = Duration::from_secs(60);
/// How often it asks the chain meanwhile.
const LOOK: Duration = Duration::from_millis(100);
/// How often it looks whether a channel must settle, and connects again.
const TEND: Duration = Duration::from_secs(1);
/// Prices are for 2^20 hashes.
pub(crate) const PRICE_BITS: u8 = 20;

/// How our pool pays it.
#[derive(Debug, clap::Args)]
pub(super) struct EarningArgs {
    /// The folder of the payee that our pool pays, its seed and its store; made if it does not
    /// exist
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where our pool makes channels, as it prints it
    #[arg(long, default_value = "127.0.0.1:9736", requires = "dir")]
    channels: SocketAddr,
    /// Where the simulated chain is offered, as the pool prints it
    #[arg(long, default_value = "127.0.0.1:9737", requires = "dir")]
    chain: SocketAddr,
    /// The least price it works for, in msat for 2^20 hashes
    #[arg(long, default_value_t = 10_000, requires = "dir")]
    msat_per_mhash: u64,
    /// Unpaid work above which it stops, in msat
    #[arg(long, default_value_t = 5_000_000, requires = "dir")]
    risk_msat: u64,
    /// Bring what was earned to the chain in the end
    #[arg(long, requires = "dir")]
    settle: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

pub(super) struct Earning {
    driver: Driver<MemorySigner>,
    news: News,
    chain: RemoteChain,
    pool: SocketAddr,
    link: Link,
    user: String,
    price: HashPrice,
    books: Books,
    settling: Settling,
    tended: Instant,
}

/// The link to the pool.
enum Link {
    Up(LinkId),
    Trying(JoinHandle<Result<LinkId, RtError>>),
    Down,
}

impl Earning {
    /// Starts the payee; none, if no folder is given.
    pub(super) async fn start(args: &EarningArgs) -> Result<Option<Self>, Failure> {
        let Some(dir) = &args.dir else { return Ok(None) };
        let network = args.network.with_chain()?;
        let price =
            HashPrice::per_bits(Msat::new(args.msat_per_mhash)?, WorkBits::new(PRICE_BITS)?)?;
        let chain = RemoteChain::connect(args.chain)?;
        let seed = machine::seed_or_new(dir)?;
        let store = machine::store(dir)?;
        let books = Books::open(dir, Msat::new(args.risk_msat)?)?;
        let (terms, settling) = (terms(&seed, network)?, Settling::new(&seed, network)?);
        let user = terms.base.to_string();
        let (source, options) =
            (RemoteChain::connect(args.chain)?, machine::options(network, false));
        let driver = machine::start(seed, Some(terms), store, false, source, options).await?;
        let (news, tended) = (driver.news(), Instant::now());
        let (link, pool) = (Link::Down, args.channels);
        let mut earning =
            Self { driver, news, chain, pool, link, user, price, books, settling, tended };
        earning.look().await?;
        earning.connect();
        Ok(Some(earning))
    }

    /// Its name at the pool.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// A share of this task was submitted.
    pub(super) fn done(&mut self, task: &Task) {
        if let Some(share) = self.worth(task) {
            self.books.done(&share);
        }
    }

    /// A share of a task of a tip that was left is not paid.
    pub(super) fn too_late(&mut self, task: &Task) {
        if let Some(share) = self.worth(task) {
            self.books.take_back(&share);
        }
    }

    fn worth(&self, task: &Task) -> Option<Credit> {
        Credit::priced(task.target.work(), self.price).ok()
    }

    /// Whether what is unpaid is within what it risks.
    pub(super) fn may_work(&self) -> bool {
        self.books.may_work()
    }

    /// What is unpaid.
    pub(super) fn unpaid(&self) -> Msat {
        self.books.at_risk()
    }

    /// All that vouchers have brought.
    pub(super) const fn earned(&self) -> Msat {
        self.books.earned()
    }

    /// Takes what was told, and does what is due; some lines for whoever watches.
    pub(super) async fn tend(&mut self) -> Result<Vec<String>, Failure> {
        let mut lines = Vec::new();
        while let Some(told) = self.news.now() {
            lines.extend(self.hear(&told)?);
        }
        if let Link::Trying(trying) = &mut self.link
            && trying.is_finished()
        {
            let tried = trying.await;
            self.link = match tried {
                Ok(Ok(link)) => Link::Up(link),
                _ => Link::Down,
            };
        }
        self.look().await?;
        if self.tended.elapsed() >= TEND {
            self.tended = Instant::now();
            self.connect();
            lines.extend(self.settle_due().await?);
            self.books.keep()?;
        }
        Ok(lines)
    }

    fn connect(&mut self) {
        if matches!(self.link, Link::Down) {
            let (driver, pool) = (self.driver.clone(), self.pool);
            self.link = Link::Trying(tokio::spawn(async move { driver.connect(pool).await }));
        }
    }

    fn hear(&mut self, told: &Told) -> Result<Option<String>, Failure> {
        Ok(match told {
            // What stands is looked up.
            Told::LinkDown { why, .. } => Some(format!("no link to {}: {why}", self.pool)),
            Told::Node(Event::Opened { outpoint, capacity }) => {
                Some(format!("channel {outpoint}, {capacity}"))
            }
            Told::Node(Event::Spent { outpoint, by, at: Some(height), .. }) => {
                Some(format!("channel {outpoint} spent by {by}, at height {height}"))
            }
            Told::Node(Event::RolledOver { to, capacity, .. }) => {
                Some(format!("channel {to}, {capacity}, goes on"))
            }
            _ => told::line(told)?,
        })
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let seen = |node: &mut Node<MemorySigner>| {
            let held = node.payees().map(|payee| (payee.outpoint(), payee.earned()));
            (held.collect::<Vec<_>>(), node.links().collect::<Vec<_>>())
        };
        let (held, links) = self.driver.look(seen).await?;
        self.books.hold(&held);
        // Its end may have been told before it was known here by its name, or was missed.
        if matches!(self.link, Link::Up(up) if !links.contains(&up)) {
            self.link = Link::Down;
        }
        Ok(())
    }

    /// Settles what must not wait any longer. While the chain is away nothing can be settled.
    async fn settle_due(&mut self) -> Result<Vec<String>, Failure> {
        let Ok(seen) = self.settling.look(&self.chain) else { return Ok(Vec::new()) };
        self.settling.settle(&self.driver, seen).await
    }

    /// Waits for what is still to be paid, and settles if that is asked for.
    pub(super) async fn end(mut self, args: &EarningArgs) -> Result<(), Failure> {
        let until = Instant::now() + LAST_VOUCHER;
        while self.unpaid() > Msat::ZERO && Instant::now() < until {
            sleep(LOOK).await;
            self.tend().await?;
        }
        println!("earned {} in vouchers, {} unpaid", self.earned(), self.unpaid());
        let settled = if args.settle { self.settle().await } else { Ok(()) };
        let kept = self.books.keep();
        machine::stop(self.driver, settled.and(kept)).await
    }

    /// Settles all that was earned, and waits until it is a coin.
    async fn settle(&mut self) -> Result<(), Failure> {
        let open = |node: &mut Node<MemorySigner>| {
            let earns = node.payees().filter(|payee| payee.earned() > Msat::ZERO);
            let earns = earns.filter(|payee| payee.phase() == PayeePhase::Open);
            earns.map(Payee::outpoint).collect::<Vec<_>>()
        };
        let outpoints = self.driver.look(open).await?;
        if outpoints.is_empty() {
            println!("nothing to settle");
            return Ok(());
        }
        let (script, rate) = (self.settling.script().clone(), settling::rate(&self.chain)?);
        self.driver.command(Command::Settle { outpoints, script, rate }).await?;
        let what = "the settlement in a block";
        let seconds = SETTLED.as_secs();
        let spent = timeout(SETTLED, self.spent()).await;
        spent.map_err(|_| Failure::TooSlow { what, seconds })??;
        for (outpoint, status) in self.chain.outputs_of(self.settling.script())? {
            if let (Some(height), None) = (status.confirmed, status.spent) {
                println!("coin {outpoint} of {} at height {height}", status.value);
            }
        }
        Ok(())
    }

    async fn spent(&mut self) -> Result<(), Failure> {
        while let Some(told) = self.news.next().await {
            let is_spent = matches!(told, Told::Node(Event::Spent { at: Some(_), .. }));
            if let Some(line) = self.hear(&told)? {
                println!("{line}");
            }
            if is_spent {
                return Ok(());
            }
        }
        Err(RtError::Ended.into())
    }
}

/// What the pool's channels must be like. One block above a channel is enough: what a reorg can
/// take is what was earned since, and that is as good as unpaid.
fn terms(seed: &Seed, network: Network) -> Result<Terms, Failure> {
    let base = seed.base_key(&Context::new(), network)?.public();
    let mut terms = Terms::new(network, base)?;
    terms.delay = (Delay::new(100)?, Delay::new(10_000)?);
    terms.confirmation_depth = Blocks::new(1)?;
    terms.settle_margin = Blocks::new(20)?;
    terms.check()?;
    Ok(terms)
}

#[cfg(test)]
mod tests;
