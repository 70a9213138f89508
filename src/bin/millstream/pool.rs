//! `pool`: serves Stratum V1 with jobs of the simulated chain, and pays each share by vouchers.
//!
//! ```text
//!  miner --Stratum--> StratumServer --Credit--> this task --CreditWork--> payer's node, its ledger
//!    ^                     ^ jobs                   | a block                    | vouchers
//!    |                     '------- Works ----------'                            |
//!    '------- the miner's payee <--link-- Payroll: terms, fund, bind <-----------'
//! ```
//!
//! Its first lines on the standard output are what a miner needs: `stratum`, `channels`, `chain`;
//! its last ones what each worker was credited and paid, ever.

mod payroll;
mod table;
mod works;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use millstream::chain::remote::{ChainHost, ChainServer};
use millstream::ledger::{self, HashPrice, LedgerError, WorkerKey};
use millstream::node::{Command, WorkPolicy};
use millstream::rt::stratum::{Connections, Credit, Credits, ServerOptions, StratumServer};
use millstream::rt::{Driver, Options, Told};
use millstream::shares::{Grace, Policy};
use millstream::signer::MemorySigner;
use millstream::tx::Delay;
use millstream::units::{Msat, Sat, Seconds, Target, WorkBits};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::failure::Failure;
use crate::funding::Funded;
use crate::machine::{self, NetworkArgs};
use crate::mine::PRICE_BITS;
use crate::stop::Stop;
use payroll::{Offer, Payroll};
use table::Table;
use works::Works;

/// How often it looks for a new tip, and at its channels.
const LOOK: Duration = Duration::from_millis(200);
/// Shares that are credited in one step.
const DRAIN_MAX: usize = 1_024;
/// For how long shares of the tip before are paid: they were on their way.
const GRACE_S: u64 = 5;
/// A share of each worker so often; and the bounds of its work, with which it begins in the middle.
const AIM_S: u64 = 2;
const WORK_BITS: (u8, u8, u8) = (10, 64, 20);

/// The pool.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of its seed, its store and the simulated chain; made if it does not exist
    #[arg(long)]
    dir: PathBuf,
    /// Where miners connect by Stratum
    #[arg(long, default_value = "127.0.0.1:3333")]
    listen: SocketAddr,
    /// Where their payees connect, to be paid through channels
    #[arg(long, default_value = "127.0.0.1:9736")]
    channels: SocketAddr,
    /// Where the simulated chain is offered; loopback only
    #[arg(long, default_value = "127.0.0.1:9737")]
    chain: SocketAddr,
    /// Allow miners from beyond this machine, although nothing encrypts or authenticates links
    #[arg(long)]
    expose_unencrypted_beyond_loopback: bool,
    /// What it pays, in msat for 2^20 hashes; dear, so that a minute is worth looking at
    #[arg(long, default_value_t = 10_000)]
    msat_per_mhash: u64,
    /// A voucher is signed once so much is due, in msat, or after a second
    #[arg(long, default_value_t = 1)]
    pay_at_msat: u64,
    /// Who is owed so much gets a channel, in msat: about what its funding costs, so that nobody
    /// locks the pool's coins for nothing
    #[arg(long, default_value_t = 100_000)]
    channel_at_msat: u64,
    /// A block takes 2^N hashes: by the chain's own rule nearly every hash is one
    #[arg(long, default_value_t = 28)]
    block_bits: u8,
    /// Milliseconds after which the chain gets a block although no share was one; 0: never
    #[arg(long, default_value_t = 5_000)]
    block_ms: u64,
    /// Shares of 2^N hashes for everybody; else a share of each worker every two seconds
    #[arg(long)]
    share_bits: Option<u8>,
    /// What a new channel holds, in sat
    #[arg(long, default_value_t = 1_000_000)]
    capacity: u64,
    /// After how many blocks a new channel can be refunded
    #[arg(long, default_value_t = 1_008)]
    delay: u16,
    #[command(flatten)]
    network: NetworkArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    machine::block_on(pool(args))
}

async fn pool(args: &Args) -> Result<(), Failure> {
    // Before the first line is printed: whoever reads it may end this process at once.
    let stop = Stop::listen()?;
    let mut pool = Pool::open(args).await?;
    pool.say_where();
    let driver = pool.driver.clone();
    let served = pool.serve(stop).await;
    let closed = pool.close().await;
    machine::close(driver, &args.dir, served.and(closed)).await
}

impl Args {
    fn offer(&self, network: Network) -> Result<Offer, Failure> {
        let (capacity, delay) = (Sat::new(self.capacity)?, Delay::new(self.delay)?);
        let due_min = Msat::new(self.channel_at_msat)?;
        Ok(Offer { network, capacity, delay, due_min })
    }

    fn price(&self) -> Result<HashPrice, Failure> {
        let bits = WorkBits::new(PRICE_BITS)?;
        Ok(HashPrice::per_bits(Msat::new(self.msat_per_mhash)?, bits)?)
    }

    fn policy(&self) -> Result<WorkPolicy, Failure> {
        let pay_at = Msat::new(self.pay_at_msat.max(1))?;
        let pay_after = Seconds::new(1)?;
        Ok(WorkPolicy { pay_at, pay_after, ..WorkPolicy::default() })
    }

    fn stratum(&self) -> Result<ServerOptions, Failure> {
        let aim = Seconds::new(AIM_S)?;
        let (least, most, start) = match self.share_bits {
            Some(bits) => (bits, bits, bits),
            None => WORK_BITS,
        };
        let mut options = ServerOptions::new(self.listen);
        options.expose_unencrypted_beyond_loopback = self.expose_unencrypted_beyond_loopback;
        options.work = (WorkBits::new(least)?, WorkBits::new(most)?, WorkBits::new(start)?);
        options.aim = aim;
        options.extranonce2_size = works::EXTRANONCE2_SIZE;
        // Until its target fits, a fast miner sends thousands.
        options.desk = Policy {
            shares_per_tip: 1 << 16,
            shares_per_second: 1_024,
            burst: 8_192,
            grace: Grace::Paid(Seconds::new(GRACE_S)?),
            ..Policy::for_aim(aim)
        };
        options.lines = (1_024, 8_192);
        options.bytes = (262_144, 2_097_152);
        Ok(options)
    }

    fn options(&self, network: Network) -> Options {
        let mut options = machine::options(network, self.expose_unencrypted_beyond_loopback);
        options.listen = Some(self.channels);
        options
    }
}

struct Pool {
    driver: Driver<MemorySigner>,
    /// Where miners connect.
    stratum: SocketAddr,
    chain: ChainServer,
    price: HashPrice,
    works: Works,
    credits: Credits,
    connections: Connections,
    payroll: Payroll,
    table: Table,
}

impl Pool {
    /// Takes connections from now on.
    async fn open(args: &Args) -> Result<Self, Failure> {
        let network = args.network.with_chain()?;
        let (price, house) = (args.price()?, Target::of_work_bits(WorkBits::new(args.block_bits)?));
        // First: a port that is taken, and a folder that is in use, are said before anything is
        // made.
        let (server, credits) = StratumServer::start(args.stratum()?).await?;
        let seed = machine::seed_or_new(&args.dir)?;
        let store = machine::store(&args.dir)?;
        let funded = Funded::load(&store, &seed, network)?;
        let script = machine::coin_script(&seed, network)?;
        let host = Arc::new(ChainHost::kept_in(&args.dir.join("chain.txt"))?);
        let chain = ChainServer::start(Arc::clone(&host), args.chain)?;
        let (source, options) = (host.chain().source_from_now(), args.options(network));
        let driver = machine::start(seed, None, store, false, source, options).await?;
        driver.command(Command::TendWork(args.policy()?)).await?;
        let (stratum, connections) = (server.address(), server.news());
        let offer = args.offer(network)?;
        let block_every = (args.block_ms > 0).then(|| Duration::from_millis(args.block_ms));
        Ok(Self {
            driver: driver.clone(),
            stratum,
            chain,
            price,
            works: Works::new(Arc::clone(&host), server, script, house, block_every),
            credits,
            connections,
            payroll: Payroll::new(driver, host, offer, funded),
            table: Table::new(),
        })
    }

    fn say_where(&self) {
        println!("stratum {}", self.stratum);
        if let Some(address) = self.driver.address() {
            println!("channels {address}");
        }
        println!("chain {}", self.chain.address());
        eprintln!(
            "mine for it from another terminal: millstream mine --dir rig; stop it with Ctrl-C"
        );
    }

    /// Until the operator's word, or until something fails.
    async fn serve(&mut self, mut stop: Stop) -> Result<(), Failure> {
        let mut news = self.driver.news();
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                credit = self.credits.next() => match credit {
                    Some(credit) => self.take(credit).await?,
                    None => return Ok(()),
                },
                news = self.connections.next() => {
                    let Some(news) = news else { return Ok(()) };
                    self.table.hear(&news);
                }
                told = news.next() => {
                    let Some(told) = told else { return Ok(()) };
                    self.told(told).await?;
                    // One drain of credits brings many: none is to be missed for them.
                    while let Some(told) = news.now() {
                        self.told(told).await?;
                    }
                }
                _ = ticks.tick() => self.tick().await?,
                () = stop.said() => return Ok(()),
            }
        }
    }

    /// Ends the connections, and credits what is left: all that a miner was told counts, whatever
    /// the end is. Says what each was credited and paid.
    async fn close(&mut self) -> Result<(), Failure> {
        // From here on no miner is told anything; what it was told before is among the credits.
        self.works.close();
        let mut taken = Ok(());
        while let Some(credit) = self.credits.next().await {
            let drained = self.take(credit).await;
            taken = taken.and(drained);
        }
        taken?;
        self.table.look(&self.driver).await?;
        for line in self.table.last_lines() {
            println!("{line}");
        }
        println!("{} blocks", self.works.blocks());
        Ok(())
    }

    /// Credits a share with all others that wait, in one commit a worker.
    async fn take(&mut self, credit: Credit) -> Result<(), Failure> {
        let (mut drain, mut next, mut taken) = (Drain::default(), Some(credit), Ok(()));
        while let Some(credit) = next {
            // One that fails must not cost the others.
            let counted = self.count(&credit, &mut drain);
            taken = taken.and(counted);
            let ready = timeout(Duration::ZERO, self.credits.next());
            next = if drain.shares < DRAIN_MAX { ready.await.ok().flatten() } else { None };
        }
        for line in drain.credit(&self.driver).await {
            self.table.say(&line);
        }
        taken
    }

    fn count(&mut self, credit: &Credit, drain: &mut Drain) -> Result<(), Failure> {
        drain.add(credit, self.price)?;
        self.table.found(credit);
        if credit.good.is_block()
            && let Some(line) = self.works.found(credit)?
        {
            self.table.say(&line);
        }
        Ok(())
    }

    async fn told(&mut self, told: Told) -> Result<(), Failure> {
        for line in self.payroll.hear(&told).await? {
            self.table.say(&line);
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), Failure> {
        self.works.refresh()?;
        for line in self.payroll.tend().await? {
            self.table.say(&line);
        }
        self.table.show(&self.driver).await
    }
}

/// Shares that are credited together.
#[derive(Default)]
struct Drain {
    sums: BTreeMap<WorkerKey, ledger::Credit>,
    shares: usize,
}

impl Drain {
    fn add(&mut self, credit: &Credit, price: HashPrice) -> Result<(), Failure> {
        let share = ledger::Credit::priced(credit.good.work(), price).map_err(LedgerError::from)?;
        let sum = self.sums.entry(credit.worker.key.into()).or_insert(ledger::Credit::NONE);
        *sum = sum.plus(&share).map_err(LedgerError::from)?;
        self.shares += 1;
        Ok(())
    }

    /// Lines of what could not be credited.
    async fn credit(self, driver: &Driver<MemorySigner>) -> Vec<String> {
        let mut lines = Vec::new();
        for (worker, credit) in self.sums {
            let shares = credit.shares();
            if let Err(error) = driver.command(Command::CreditWork { worker, credit }).await {
                lines.push(format!("{shares} shares of {worker} not credited: {error}"));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests;
