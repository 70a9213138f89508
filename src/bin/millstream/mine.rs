//! `mine`: searches shares for a Stratum V1 pool, ours or any other, on this machine's processors.
//!
//! ```text
//!  pool <--StratumClient--> this task --order (watch)--> a thread a processor, each its own nonces
//!                                     <--finds (bounded)--'
//! ```
//!
//! It ends by `--shares`, by `--seconds` or by the operator's word, and then says what came of it.

mod crew;

use std::collections::VecDeque;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use millstream::ledger::{Credit, HashPrice};
use millstream::miner::kernel::Kernel;
use millstream::rt::stratum::client::{ClientNews, ClientOptions, StratumClient};
use millstream::stratum::client::{Find, Task};
use millstream::units::{Msat, Ppm, Target};
use tokio::time::{Instant, interval, sleep_until};

use crate::failure::Failure;
use crate::machine;
use crate::stop::Stop;
use crew::{Crew, Finds, Order};

/// Tasks that are remembered: as many as our own pool knows of.
const TASKS_MAX: usize = 64;
/// Shares whose answers are waited for: as many as a connection may owe.
const SENT_MAX: usize = 1_024;
/// A pool that never gave a job is left after so many connections: its address is wrong, or it
/// does not want this user. One that did is tried for much longer.
const FIRST_TRIES: u32 = 3;
/// How often the status is said: on a terminal, and every so many times of it elsewhere.
const STATUS: Duration = Duration::from_secs(1);
const PLAIN_EVERY: u64 = 10;

/// Where, for whom, and how much.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pool, as HOST:PORT
    #[arg(long, default_value = "127.0.0.1:3333")]
    pool: String,
    /// Who is paid: at our pool the base key of one's terms, elsewhere what that pool says
    #[arg(long)]
    user: String,
    /// Threads that search; 0: one for each processor
    #[arg(long, default_value_t = 1)]
    threads: u16,
    /// Ends after so many accepted shares
    #[arg(long)]
    shares: Option<u64>,
    /// Ends after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// What a block of the pool's chain brings, in sat: for the estimate of what the work is worth
    #[arg(long, default_value_t = 312_500_000)]
    reward: u64,
    /// Allow a pool beyond this machine, although nothing encrypts or authenticates the link
    #[arg(long)]
    expose_unencrypted_beyond_loopback: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    machine::block_on(mine(args))
}

async fn mine(args: &Args) -> Result<(), Failure> {
    // Before the first line is printed: whoever reads it may end this process at once.
    let stop = Stop::listen()?;
    let client = args.client()?;
    let (crew, finds) = Crew::start(args.threads);
    println!("kernel {}, {} threads", Kernel::best().name(), crew.count());
    let mut mining = Mining {
        args,
        client,
        crew,
        tasks: VecDeque::new(),
        orders: 0,
        sent: VecDeque::new(),
        sum: Sum::default(),
        tries_left: FIRST_TRIES,
        shown: (Instant::now(), 0),
        bar: ProgressBar::new_spinner(),
    };
    let done = mining.all(finds, stop).await;
    mining.bar.finish_and_clear();
    mining.end();
    done
}

impl Args {
    fn client(&self) -> Result<StratumClient, Failure> {
        let no_pool = || Failure::NoPool { pool: self.pool.clone() };
        let (host, port) = self.pool.rsplit_once(':').ok_or_else(no_pool)?;
        let port = port.parse().map_err(|_| no_pool())?;
        // A name that means nothing is said at once, not after many tries.
        self.pool.to_socket_addrs().map_err(|_| no_pool())?;
        let mut options = ClientOptions::new(host, port, &self.user);
        options.expose_unencrypted_beyond_loopback = self.expose_unencrypted_beyond_loopback;
        Ok(StratumClient::start(options))
    }
}

/// What came of it.
#[derive(Debug)]
struct Sum {
    accepted: u64,
    refused: u64,
    lost: u64,
    /// What was accepted, by its average worth.
    work: Credit,
}

impl Default for Sum {
    fn default() -> Self {
        Self { accepted: 0, refused: 0, lost: 0, work: Credit::NONE }
    }
}

struct Mining<'a> {
    args: &'a Args,
    client: StratumClient,
    crew: Crew,
    /// The newest last; those of a tip that was left are not kept.
    tasks: VecDeque<Order>,
    /// How many there were.
    orders: u32,
    /// Shares without an answer.
    sent: VecDeque<(Find, Arc<Task>)>,
    sum: Sum,
    /// Connections that may end before there was ever a job.
    tries_left: u32,
    /// When the hash rate was said last, and how many hashes were done then.
    shown: (Instant, u64),
    bar: ProgressBar,
}

impl Mining<'_> {
    async fn all(&mut self, mut finds: Finds, mut stop: Stop) -> Result<(), Failure> {
        let (mut ticks, mut tick) = (interval(STATUS), 0_u64);
        let lasts = self.args.seconds.map(Duration::from_secs);
        let end = lasts.and_then(|lasts| Instant::now().checked_add(lasts));
        loop {
            tokio::select! {
                news = self.client.next() => match news {
                    Some(news) => self.hear(news)?,
                    None => return Err(self.gone("it has ended".into())),
                },
                find = finds.recv() => {
                    let Some((number, find)) = find else { return Ok(()) };
                    self.submit(number, find);
                }
                _ = ticks.tick() => {
                    tick += 1;
                    self.status(tick);
                }
                () = until(end) => return Ok(()),
                () = stop.said() => return Ok(()),
            }
            if self.args.shares.is_some_and(|shares| self.sum.accepted >= shares) {
                return Ok(());
            }
        }
    }

    fn hear(&mut self, news: ClientNews) -> Result<(), Failure> {
        match news {
            ClientNews::Task(task) => self.take(task),
            ClientNews::VersionMask(version_mask) => {
                if let Some(last) = self.tasks.back() {
                    let mut task = Task::clone(&last.task);
                    task.version_mask = version_mask;
                    self.take(Arc::new(task));
                }
            }
            ClientNews::Judged { find, answer } => {
                let at = self.sent.iter().position(|(sent, _)| *sent == find);
                let task = at.and_then(|at| self.sent.remove(at)).map(|(_, task)| task);
                match (answer, task) {
                    (Ok(()), task) => {
                        self.sum.accepted += 1;
                        self.count(task.as_deref());
                    }
                    (Err(refusal), _) => {
                        self.sum.refused += 1;
                        let (code, text) = (refusal.code.to_i32(), refusal.text);
                        self.say(&format!("refused, code {code}: {text}"));
                    }
                }
            }
            ClientNews::Lost(find) => {
                self.sum.lost += 1;
                self.sent.retain(|(sent, _)| *sent != find);
            }
            ClientNews::Message(text) => self.say(&format!("the pool says: {text}")),
            ClientNews::Down(why) => {
                // What was told belongs to the connection that is gone.
                self.tasks.clear();
                self.sent.clear();
                self.crew.order(None);
                self.tries_left = self.tries_left.saturating_sub(1);
                if self.tries_left == 0 {
                    return Err(self.gone(why.to_string()));
                }
                self.say(&format!("no pool: {why}"));
            }
            ClientNews::GaveUp => return Err(self.gone("it was tried too often".into())),
            _ => {}
        }
        Ok(())
    }

    fn gone(&self, why: String) -> Failure {
        Failure::PoolGone { pool: self.args.pool.clone(), why }
    }

    fn take(&mut self, task: Arc<Task>) {
        // From now on the pool is one that can be waited for.
        self.tries_left = u32::MAX;
        if task.job.clean {
            self.tasks.clear();
        }
        // Never one that the crew has had: it would not see that this is another.
        self.orders = self.orders.wrapping_add(1).max(1);
        let number = self.orders;
        let tip = if task.job.clean { "a new tip" } else { "the same tip" };
        self.say(&format!("a job for {tip}: {} hashes a share", task.target.work().hashes()));
        let order = Order { number, task };
        self.tasks.push_back(order.clone());
        while self.tasks.len() > TASKS_MAX {
            self.tasks.pop_front();
        }
        self.crew.order(Some(order));
    }

    fn submit(&mut self, number: u32, find: Find) {
        let order = self.tasks.iter().find(|order| order.number == number);
        let task = order.map(|order| Arc::clone(&order.task));
        match task.filter(|task| self.client.submit(task, find)) {
            Some(task) => {
                self.sent.push_back((find, task));
                while self.sent.len() > SENT_MAX {
                    self.sent.pop_front();
                }
            }
            // Of a tip that was left, or of a connection that is gone.
            None => self.sum.lost += 1,
        }
    }

    /// An accepted share by its average worth on the chain that the job is for.
    fn count(&mut self, task: Option<&Task>) {
        let worth = || -> Option<Credit> {
            let task = task?;
            let network = Target::from_compact(task.job.bits).ok()?.work();
            let reward = Msat::new(self.args.reward.checked_mul(1_000)?).ok()?;
            let price = HashPrice::pps(reward, Ppm::MIN, network).ok()?;
            Credit::priced(task.target.work(), price).ok()
        };
        let sum = worth().and_then(|worth| self.sum.work.plus(&worth).ok());
        self.sum.work = sum.unwrap_or(self.sum.work);
    }

    fn status(&mut self, tick: u64) {
        let is_plain = self.bar.is_hidden();
        if is_plain && !tick.is_multiple_of(PLAIN_EVERY) {
            return;
        }
        let (now, hashes) = (Instant::now(), self.crew.hashes());
        let (then, before) = std::mem::replace(&mut self.shown, (now, hashes));
        let ms = u64::try_from(now.duration_since(then).as_millis()).unwrap_or(u64::MAX).max(1);
        let Sum { accepted, refused, work, .. } = &self.sum;
        let line = format!(
            "{} kH/s, {accepted} shares accepted, {refused} refused, worth {} on average",
            hashes.saturating_sub(before) / ms,
            work.value().floor_msat(),
        );
        if is_plain {
            println!("{line}");
        } else {
            self.bar.set_message(line);
            self.bar.tick();
        }
    }

    fn say(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }

    fn end(self) {
        let hashes = self.crew.end();
        let Sum { accepted, refused, lost, .. } = self.sum;
        println!("{hashes} hashes, {accepted} shares accepted, {refused} refused, {lost} lost");
    }
}

/// At the time that is given; never, if none is.
async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}
