//! `mine`: searches shares for a Stratum V1 pool, ours or any other, on this machine's processors.
//!
//! ```text
//!  pool <--StratumClient--> this task --order (watch)--> a thread a processor, each its own nonces
//!                                     <--finds (bounded)--'
//! ```
//!
//! With `--dir` it is paid by our pool through a channel, and stops while too much is unpaid
//! (`earning`). It ends by `--shares`, by `--seconds` or by the operator's word, and then says what
//! came of it.

mod books;
mod crew;
mod earning;

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
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};

use crate::failure::Failure;
use crate::machine;
use crate::stop::Stop;
use crew::{Crew, Order};
pub(crate) use earning::PRICE_BITS;
use earning::{Earning, EarningArgs};

/// Tasks that are remembered: as many as our own pool knows of.
const TASKS_MAX: usize = 64;
/// Shares whose answers are waited for: as many as a connection may owe.
const SENT_MAX: usize = 1_024;
/// A pool that never gave a job is left after so many connections: its address is wrong, or it
/// does not want this user. One that did is tried for much longer.
const FIRST_TRIES: u32 = 3;
/// How long it waits in the end for answers to its last shares.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// How often it looks at what it was paid.
const LOOK: Duration = Duration::from_millis(200);
/// Looks between two lines of its status: on a terminal, and elsewhere.
const STATUS_EVERY: u64 = 5;
const PLAIN_EVERY: u64 = 25;

/// Where, for whom, and how much.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pool, as HOST:PORT
    #[arg(long, default_value = "127.0.0.1:3333")]
    pool: String,
    /// Who is paid: at our pool the base key of one's terms, which --dir knows by itself, elsewhere
    /// what that pool says
    #[arg(long, required_unless_present = "dir", conflicts_with = "dir")]
    user: Option<String>,
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
    #[command(flatten)]
    earning: EarningArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    machine::block_on(mine(args))
}

async fn mine(args: &Args) -> Result<(), Failure> {
    // Before the first line is printed: whoever reads it may end this process at once.
    let stop = Stop::listen()?;
    args.check_pool()?;
    let earning = Earning::start(&args.earning).await?;
    let client = args.client(earning.as_ref().map(Earning::user))?;
    let (crew, finds) = Crew::start(args.threads);
    println!("kernel {}, {} threads", Kernel::best().name(), crew.count());
    if let Some(earning) = &earning {
        println!("worker {}", earning.user());
    }
    let mut mining = Mining {
        args,
        client,
        crew,
        earning,
        stopped: false,
        tasks: VecDeque::new(),
        orders: 0,
        sent: VecDeque::new(),
        sum: Sum::default(),
        tries_left: FIRST_TRIES,
        shown: (Instant::now(), 0),
        bar: ProgressBar::new_spinner(),
    };
    let done = mining.all(finds, stop).await;
    if done.is_ok() {
        mining.last_answers().await;
    }
    mining.bar.finish_and_clear();
    let ended = mining.end().await;
    done.and(ended)
}

impl Args {
    fn no_pool(&self) -> Failure {
        Failure::NoPool { pool: self.pool.clone() }
    }

    /// A name that means nothing is said at once, not after many tries.
    fn check_pool(&self) -> Result<(), Failure> {
        self.pool.to_socket_addrs().map(drop).map_err(|_| self.no_pool())
    }

    fn client(&self, user: Option<&str>) -> Result<StratumClient, Failure> {
        let (host, port) = self.pool.rsplit_once(':').ok_or_else(|| self.no_pool())?;
        let port = port.parse().map_err(|_| self.no_pool())?;
        let user = user.or(self.user.as_deref()).unwrap_or_default();
        let mut options = ClientOptions::new(host, port, user);
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
    earning: Option<Earning>,
    /// Too much is unpaid.
    stopped: bool,
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
    async fn all(
        &mut self,
        mut finds: mpsc::Receiver<(u32, Find)>,
        mut stop: Stop,
    ) -> Result<(), Failure> {
        let (mut ticks, mut tick) = (interval(LOOK), 0_u64);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                    self.tend().await?;
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
            ClientNews::Judged { find, answer } => {
                let at = self.sent.iter().position(|(sent, _)| *sent == find);
                let task = at.and_then(|at| self.sent.remove(at)).map(|(_, task)| task);
                match (answer, task) {
                    (Ok(()), task) => {
                        self.sum.accepted += 1;
                        self.count(task.as_deref());
                    }
                    (Err(refusal), task) => {
                        self.sum.refused += 1;
                        self.take_back(task.as_ref());
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
            // Other bits of the version hold from the next job on.
            _ => {}
        }
        Ok(())
    }

    /// A refused share of a tip that was left since is not to be paid, by this side's own eyes; of
    /// any other the pool's word is not enough.
    fn take_back(&mut self, task: Option<&Arc<Task>>) {
        let (Some(task), Some(earning)) = (task, &mut self.earning) else { return };
        if !self.tasks.iter().any(|order| Arc::ptr_eq(&order.task, task)) {
            earning.too_late(task);
        }
    }

    /// Takes the answers that are still to come.
    async fn last_answers(&mut self) {
        self.crew.order(None);
        let until = Instant::now() + LAST_ANSWERS;
        while !self.sent.is_empty() {
            let Ok(Some(news)) = timeout_at(until, self.client.next()).await else { return };
            // A job that comes now is not searched, and a pool that goes now is not missed.
            if matches!(news, ClientNews::Judged { .. } | ClientNews::Lost(_)) {
                let _never = self.hear(news);
            }
        }
    }

    /// Looks at what was paid, and stops or goes on.
    async fn tend(&mut self) -> Result<(), Failure> {
        let Some(earning) = &mut self.earning else { return Ok(()) };
        for line in earning.tend().await? {
            self.say(&line);
        }
        self.steer();
        Ok(())
    }

    /// Stops once too much is unpaid, and goes on when it is paid.
    fn steer(&mut self) {
        let Some(earning) = &self.earning else { return };
        let (stops, unpaid) = (!earning.may_work(), earning.unpaid());
        if stops != self.stopped {
            self.stopped = stops;
            if stops {
                self.crew.order(None);
                self.say(&format!("stopped: {unpaid} unpaid, more than is risked"));
            } else {
                self.crew.order(self.tasks.back().cloned());
                self.say("paid: it goes on");
            }
        }
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
        if !self.stopped {
            self.crew.order(Some(order));
        }
    }

    fn submit(&mut self, number: u32, find: Find) {
        let order = self.tasks.iter().find(|order| order.number == number);
        let task = order.map(|order| Arc::clone(&order.task));
        match task.filter(|task| self.client.submit(task, find)) {
            Some(task) => {
                if let Some(earning) = &mut self.earning {
                    earning.done(&task);
                }
                self.sent.push_back((find, task));
                while self.sent.len() > SENT_MAX {
                    self.sent.pop_front();
                }
                self.steer();
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
        if !tick.is_multiple_of(if is_plain { PLAIN_EVERY } else { STATUS_EVERY }) {
            return;
        }
        let (now, hashes) = (Instant::now(), self.crew.hashes());
        let (then, before) = std::mem::replace(&mut self.shown, (now, hashes));
        let ms = u64::try_from(now.duration_since(then).as_millis()).unwrap_or(u64::MAX).max(1);
        let worth = match &self.earning {
            Some(earning) => format!("earned {}, {} unpaid", earning.earned(), earning.unpaid()),
            None => format!("worth {} on average", self.sum.work.value().floor_msat()),
        };
        let Sum { accepted, refused, .. } = &self.sum;
        let rate = hashes.saturating_sub(before) / ms;
        let line = format!("{rate} kH/s, {accepted} shares accepted, {refused} refused, {worth}");
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

    /// Shares that are on their way are answered and paid, as far as the pool does that soon.
    async fn end(self) -> Result<(), Failure> {
        let hashes = self.crew.end();
        let paid = match self.earning {
            Some(earning) => earning.end(&self.args.earning).await,
            None => Ok(()),
        };
        let Sum { accepted, refused, lost, .. } = self.sum;
        println!("{hashes} hashes, {accepted} shares accepted, {refused} refused, {lost} lost");
        paid
    }
}

/// At the time that is given; never, if none is.
async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}
