//! `serve`: a payee that sells a metered demo service, and hosts the simulated chain.
//!
//! Its first lines on the standard output are what a payer needs: `terms`, `listening`, `chain`;
//! and `hash`, of one thing that it delivers against a hold.

mod goods;
mod receipts;
mod vanished;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::{Network, OutPoint};
use millstream::chain::remote::{ChainHost, ChainServer, RemoteError};
use millstream::keys::{Context, Seed};
use millstream::meter::tariff::{Measure, Tariff};
use millstream::meter::{Role, State, Window};
use millstream::monitor::Policy;
use millstream::node::{Command, Event, LinkId, Node};
use millstream::rt::{Driver, Options, RtError, Told};
use millstream::signer::MemorySigner;
use millstream::stream::{HoldRules, Terms};
use millstream::tx::Delay;
use millstream::units::{
    Blocks, FeeRate, HoldId, Msat, Ppm, Price, Quantity, Sat, Seconds, SessionId,
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::failure::Failure;
use crate::machine::{self, NetworkArgs};
use crate::settling::{LEAD, Settling};
use crate::stop::Stop;
use crate::told;
use goods::Goods;
use receipts::Counter;
use vanished::{Act, Patience, Vanished};

/// How often the demo's meter is read.
const READING: Duration = Duration::from_millis(200);
/// How often it looks whether a channel must settle.
const SETTLING: Duration = Duration::from_secs(1);
/// The claim's lock of a hold, in blocks; what its settlement pays, which is agreed ahead; and the
/// smallest.
const HOLD_K: u16 = 6;
const HOLD_FEE: u64 = 500;
const HOLD_DUST: u64 = 1_000;
/// Watt-seconds of a kilowatt-hour.
const WS_PER_KWH: u64 = 3_600_000;

/// The shop.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of its seed, its store and the simulated chain; made if it does not exist
    #[arg(long)]
    dir: PathBuf,
    /// Where payers connect
    #[arg(long, default_value = "127.0.0.1:9736")]
    listen: SocketAddr,
    /// Where the simulated chain is offered; loopback only
    #[arg(long, default_value = "127.0.0.1:9737")]
    chain: SocketAddr,
    /// Allow payers from beyond this machine, although nothing encrypts or authenticates links
    #[arg(long)]
    expose_unencrypted_beyond_loopback: bool,
    /// Milliseconds between blocks of the simulated chain; 0: only when somebody asks for one
    #[arg(long, default_value_t = 2_000)]
    block_ms: u64,
    /// What the demo delivers, in watts
    #[arg(long, default_value_t = 11_000)]
    watts: u64,
    /// What it costs, in msat a kilowatt-hour; dear, so that a minute is worth looking at
    #[arg(long, default_value_t = 4_500_000)]
    msat_per_kwh: u64,
    /// Unpaid service that is given before it pauses, in msat
    #[arg(long, default_value_t = 100_000)]
    credit_msat: u64,
    /// How many holds a channel may have at once; 0: it takes none
    #[arg(long, default_value_t = 8)]
    holds: u8,
    /// Writes a receipt of each item that comes in on a lane into this folder: of the first hundred
    /// of a window
    #[arg(long, value_name = "DIR")]
    receipts: Option<PathBuf>,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    network: NetworkArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    machine::block_on(serve(args))
}

async fn serve(args: &Args) -> Result<(), Failure> {
    let network = args.network.with_chain()?;
    // Before the first line is printed: whoever reads it may end this process at once.
    let stop = Stop::listen()?;
    // A folder that is not there is not made for a start that fails; and of one that a process has
    // open already, that is the reason to give.
    let fresh = !args.dir.exists();
    if fresh {
        args.free_ports()?;
    }
    let seed = machine::seed_or_new(&args.dir)?;
    // First, so that a second process on this folder stops before it touches anything.
    let store = machine::store(&args.dir)?;
    if !fresh {
        args.free_ports()?;
    }
    let tariff = args.tariff()?;
    let terms = args.terms(&seed, network, &tariff)?;
    let settling = Settling::new(&seed, network)?;
    let host = Arc::new(ChainHost::kept_in(&args.dir.join("chain.txt"))?);
    let chain = ChainServer::start(Arc::clone(&host), args.chain)?;
    let (source, options) = (host.chain().source_from_now(), args.options(network));
    let driver = machine::start(seed, Some(terms.clone()), store, false, source, options).await?;
    println!("terms {}", terms.to_text());
    if let Some(address) = driver.address() {
        println!("listening {address}");
    }
    println!("chain {}", chain.address());
    let mut goods = Goods::load(&args.dir)?;
    if args.holds > 0 {
        println!("hash {}", goods.offer()?);
    }
    if let Some(address) = driver.address() {
        eprintln!(
            "pay it from another terminal: millstream pay --dir car --to {address} --chain {} \
             --amount 1000 --times 50\nstop it with Ctrl-C",
            chain.address()
        );
    }
    let shop = Shop {
        args,
        driver: driver.clone(),
        tariff,
        host,
        metered: BTreeMap::new(),
        vanished: Vanished::new(args.patience),
        settling,
        goods,
        stuck: BTreeSet::new(),
        counter: Counter { folder: args.receipts.clone(), tariff: terms.tariff },
    };
    let served = shop.open(stop).await;
    machine::close(driver, &args.dir, served).await
}

impl Args {
    fn tariff(&self) -> Result<Tariff, Failure> {
        let price = Price::new(Msat::new(self.msat_per_kwh)?, WS_PER_KWH)?;
        Ok(Tariff::flat(Measure::WattSecond, price)?)
    }

    fn terms(&self, seed: &Seed, network: Network, tariff: &Tariff) -> Result<Terms, Failure> {
        let base = seed.base_key(&Context::new(), network)?.public();
        let mut terms = Terms::new(network, base)?;
        terms.delay = (Delay::new(100)?, Delay::new(1_000)?);
        terms.confirmation_depth = Blocks::new(3)?;
        terms.settle_margin = Blocks::new(20)?;
        terms.tariff = tariff.hash().0;
        terms.credit = Msat::new(self.credit_msat)?;
        if self.holds > 0 {
            let (fee, dust) = (Sat::new(HOLD_FEE)?, Sat::new(HOLD_DUST)?);
            terms.holds = HoldRules { k: HOLD_K, fee, dust, count: self.holds };
        }
        terms.check()?;
        Ok(terms)
    }

    /// Both ports can be had: asked before anything is written.
    fn free_ports(&self) -> Result<(), Failure> {
        let taken = |address: SocketAddr| {
            let bound = std::net::TcpListener::bind(address);
            bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
        };
        // An address beyond loopback is refused below, by its own sentence.
        if taken(self.listen) {
            return Err(RtError::PortInUse { address: self.listen }.into());
        }
        if taken(self.chain) {
            return Err(RemoteError::PortInUse { address: self.chain }.into());
        }
        Ok(())
    }

    fn options(&self, network: Network) -> Options {
        let mut options = machine::options(network, self.expose_unencrypted_beyond_loopback);
        options.listen = Some(self.listen);
        options
    }
}

struct Shop<'a> {
    args: &'a Args,
    driver: Driver<MemorySigner>,
    tariff: Tariff,
    host: Arc<ChainHost>,
    /// Each running session's total in thousandths of a watt-second, and when it was read last.
    metered: BTreeMap<SessionId, (u128, Instant)>,
    vanished: Vanished,
    settling: Settling,
    goods: Goods,
    /// Holds that could not be answered, which was said once.
    stuck: BTreeSet<(OutPoint, HoldId)>,
    counter: Counter,
}

/// What a session looks like to the meter.
struct Running {
    session: SessionId,
    quantity: Quantity,
}

impl Shop<'_> {
    async fn open(mut self, mut stop: Stop) -> Result<(), Failure> {
        let mut news = self.driver.news();
        let mut batches = self.driver.batches();
        let mut meter = interval(READING);
        meter.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut settle = interval(SETTLING);
        let mut block = interval(Duration::from_millis(self.args.block_ms.max(1)));
        block.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                told = news.next() => match told {
                    Some(told) => self.told(&told).await?,
                    None => return Ok(()),
                },
                batch = batches.next() => match batch {
                    Ok(batch) => self.counter.take(batch, &self.driver).await?,
                    Err(RtError::NotShown { count }) => println!("{count} windows not shown"),
                    Err(_) => return Ok(()),
                },
                _ = meter.tick() => {
                    self.read_meters().await?;
                    self.deliver().await?;
                }
                _ = settle.tick() => {
                    self.settle().await?;
                    self.end_vanished().await?;
                }
                _ = block.tick(), if self.args.block_ms > 0 => {
                    self.host.mine(Blocks::new(1)?)?;
                }
                () = stop.said() => return Ok(()),
            }
        }
    }

    async fn told(&self, told: &Told) -> Result<(), Failure> {
        match told {
            Told::LinkUp { link, address, inbound: true } => {
                println!("link {} from {address}", link.0);
                self.offer(*link).await?;
            }
            Told::LinkDown { link, why } => println!("link {} ended: {why}", link.0),
            Told::Node(event) => show(event),
            _ => {
                if let Some(line) = told::line(told)? {
                    println!("{line}");
                }
            }
        }
        Ok(())
    }

    /// Offers a session to whoever connects; it costs nothing until it is taken.
    async fn offer(&self, link: LinkId) -> Result<(), Failure> {
        let session = machine::fresh_session()?;
        let offer = Command::OfferSession {
            link,
            session,
            tariff: self.tariff.clone(),
            window: Window { credit: Msat::new(self.args.credit_msat)?, prepay: Msat::ZERO },
            skew: Seconds::new(5)?,
            tolerance: Ppm::new(25_000)?,
        };
        if let Err(error) = self.driver.command(offer).await {
            println!("no session offered: {error}");
        }
        Ok(())
    }

    /// Delivers to every session that is served and connected.
    async fn read_meters(&mut self) -> Result<(), Failure> {
        let running = self.driver.look(running).await?;
        let now = Instant::now();
        self.metered.retain(|session, _| running.iter().any(|run| run.session == *session));
        for Running { session, quantity } in running {
            let start = (u128::from(quantity.to_u64()) * 1_000, now);
            let (total, last) = self.metered.entry(session).or_insert(start);
            *total += u128::from(self.args.watts) * (now - *last).as_millis();
            *last = now;
            let total = Quantity::new(u64::try_from(*total / 1_000).unwrap_or(u64::MAX))?;
            let total = total.max(quantity);
            let meter = Command::Meter { session, total };
            if let Err(error) = self.driver.command(meter).await {
                println!("reading refused: {error}");
            }
        }
        Ok(())
    }

    /// Delivers what is held for, or releases it; and has the next thing for sale.
    async fn deliver(&mut self) -> Result<(), Failure> {
        let waiting = self.driver.look(goods::waiting).await?;
        self.stuck.retain(|(at, id)| waiting.iter().any(|(o, hold)| (o, &hold.id) == (at, id)));
        for (outpoint, hold) in waiting {
            let answer = self.goods.answer(outpoint, &hold);
            let delivers = matches!(answer, Command::FulfilHold { .. });
            // Past, or folded meanwhile.
            if let Err(error) = self.driver.command(answer).await {
                if self.stuck.insert((outpoint, hold.id)) {
                    println!("hold {} of {outpoint} stays: {error}", hold.id);
                }
            } else if delivers {
                println!("delivered for {} held in {outpoint}", hold.amount);
                println!("hash {}", self.goods.offer()?);
            } else {
                println!("released {}: nothing is sold for {}", hold.amount, hold.hash);
            }
        }
        Ok(())
    }

    /// Ends the sessions of buyers that are gone, and in the end forgets them.
    async fn end_vanished(&mut self) -> Result<(), Failure> {
        let seen = self.driver.look(vanished::look).await?;
        for (seen, act) in self.vanished.due(Instant::now(), &seen) {
            let (session, debt) = (seen.session, seen.debt);
            let (command, done) = match act {
                Act::End => (Command::EndSession(session), "ended: its buyer is gone, owing"),
                Act::Forget => (Command::ForgetSession(session), "forgotten, written off:"),
            };
            // It may have come back, or paid, since it was looked at.
            match self.driver.command(command).await {
                Ok(()) => println!("session {session} {done} {debt}"),
                Err(error) => println!("session {session} stays: {error}"),
            }
        }
        Ok(())
    }

    /// Holds that nobody folds the node brings home by itself, at the rate of the moment. It is
    /// given no coins: those of the till may be in a settlement that is pending.
    async fn tend_holds(&self, rate: FeeRate) -> Result<(), Failure> {
        let mut policy = Policy::new(self.settling.script().clone());
        policy.lead = Blocks::new(LEAD)?;
        let (policy, coins) = (Box::new(policy), Vec::new());
        if let Err(error) = self.driver.command(Command::TendHolds { policy, rate, coins }).await {
            println!("holds wait: {error}");
        }
        Ok(())
    }

    /// Brings home by the chain what must not wait any longer.
    async fn settle(&mut self) -> Result<(), Failure> {
        let seen = self.settling.look(&self.host.chain().source_from_now())?;
        self.tend_holds(seen.rate).await?;
        for line in self.settling.settle(&self.driver, seen).await? {
            println!("{line}");
        }
        Ok(())
    }
}

fn running(node: &mut Node<MemorySigner>) -> Vec<Running> {
    let served = node.sessions().filter(|(meter, link)| {
        let record = meter.record();
        link.is_some() && record.state() == State::Active && record.role() == Role::Seller
    });
    let served = served.map(|(meter, _)| meter.record());
    served.map(|at| Running { session: at.id(), quantity: at.quantity() }).collect()
}

fn show(event: &Event) {
    match event {
        Event::Opened { outpoint, capacity } => println!("opened {outpoint}, {capacity}"),
        Event::Received { outpoint, gained, paid } => {
            println!("received {gained} on {outpoint}, in all {paid}");
        }
        Event::ServiceOn { session } => println!("service on, session {session}"),
        Event::ServiceOff { session, debt } => {
            println!("service off, session {session}: {debt} unpaid");
        }
        Event::SessionEnded { session, owed } => {
            println!("ended, session {session}: {owed} in all");
        }
        Event::Confirmed { outpoint, deadline } => {
            println!("confirmed {outpoint}, deadline height {deadline}");
        }
        Event::RolledOver { from, to, capacity } => {
            println!("rolled over {from} to {to}, {capacity}");
        }
        Event::Spent { outpoint, by, at, .. } => match at {
            Some(height) => println!("spent {outpoint} by {by}, at height {height}"),
            None => println!("spent {outpoint} by {by}, not confirmed yet"),
        },
        Event::HoldFolded { outpoint, id } => println!("hold {id} of {outpoint} is paid"),
        Event::HoldDropped { outpoint, id } => println!("hold {id} of {outpoint} is gone"),
        Event::HoldPublished { outpoint, id, amount } => {
            println!("hold {id} of {outpoint} is on the chain, {amount}");
        }
        Event::HoldClaimed { outpoint, id, at: Some(at), .. } => {
            println!("hold {id} of {outpoint} is claimed, at height {at}");
        }
        Event::HoldTimedOut { outpoint, id, at: Some(at), .. } => {
            println!("hold {id} of {outpoint} is taken back, at height {at}");
        }
        Event::HoldFeeMissing { outpoint, missing } => {
            println!("{missing} of fees are missing to settle {outpoint} with its holds");
        }
        Event::Closed { outpoint } => println!("closed {outpoint}"),
        _ => {}
    }
}
