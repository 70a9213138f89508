//! The threads that search: each has its own part of the nonces of every job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use millstream::miner::job::{Parts, TimeRoll};
use millstream::miner::kernel::Kernel;
use millstream::miner::search::Next;
use millstream::miner::{Job, Search};
use millstream::stratum::client::{Find, Task};
use millstream::units::{JobId, UtcSeconds};
use tokio::sync::{mpsc, watch};

use crate::machine;

/// Hashes between two looks at the order: some milliseconds; less where shares are easy, so that a
/// look comes after a few finds, and no less than what a look costs nothing beside.
const STEP: (u32, u32) = (1 << 12, 1 << 17);
/// Finds that wait for the connection.
const FINDS_MAX: usize = 64;
/// A job is searched for so long at most: two hours, the tolerance of Bitcoin's nodes.
const JOB_LASTS: u64 = 7_200;
/// For how long a thread rests that has nothing to search.
const REST: Duration = Duration::from_millis(50);

/// What is searched, and by what number the threads know it.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) number: u32,
    pub(super) task: Arc<Task>,
}

/// The threads.
pub(super) struct Crew {
    orders: watch::Sender<Option<Order>>,
    hashes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// So many threads, one for each processor if zero; and what they find: a share, and the number
    /// of its order.
    pub(super) fn start(threads: u16) -> (Self, mpsc::Receiver<(u32, Find)>) {
        let count = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            some => usize::from(some),
        };
        let (orders, order) = watch::channel(None);
        let (found, finds) = mpsc::channel(FINDS_MAX);
        let (hashes, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let threads = (0..count).map(|number| {
            let searcher = Searcher {
                part: (u64::try_from(number).unwrap_or(0), u64::try_from(count).unwrap_or(1)),
                order: order.clone(),
                found: found.clone(),
                hashes: Arc::clone(&hashes),
                stop: Arc::clone(&stop),
            };
            std::thread::spawn(move || searcher.run())
        });
        let threads = threads.collect();
        (Self { orders, hashes, stop, threads }, finds)
    }

    /// What is searched from now on; nothing, if there is none.
    pub(super) fn order(&self, order: Option<Order>) {
        self.orders.send_replace(order);
    }

    /// How many threads there are.
    pub(super) fn count(&self) -> usize {
        self.threads.len()
    }

    /// How many hashes were done.
    pub(super) fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }

    /// Ends the threads; says how many hashes they did.
    pub(super) fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ended = thread.join();
        }
        self.hashes.load(Ordering::Relaxed)
    }
}

/// One thread.
struct Searcher {
    /// Which of how many.
    part: (u64, u64),
    order: watch::Receiver<Option<Order>>,
    found: mpsc::Sender<(u32, Find)>,
    hashes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Searcher {
    fn run(self) {
        let mut search = Search::new();
        while !self.stop.load(Ordering::Relaxed) {
            let order = self.order.borrow().clone();
            // A job that cannot be searched is left for the next one.
            let searched = order.as_ref().is_some_and(|order| self.search(&mut search, order));
            if !searched {
                rest();
            }
        }
    }

    /// Until there is another order; whether there was anything to search.
    fn search(&self, search: &mut Search, Order { number, task }: &Order) -> bool {
        let Some(job) = self.job(*number, task) else { return false };
        if search.take(&job).is_err() {
            // It has searched more jobs of this tip than it remembers.
            *search = Search::new();
            return search.take(&job).is_ok();
        }
        let mut kernel = Kernel::best();
        let work = u32::try_from(task.target.work().hashes()).unwrap_or(u32::MAX);
        let length = work.clamp(STEP.0, STEP.1);
        let mut found = |found| {
            // Whoever cannot send its finds as fast as it makes them has too easy ones.
            let _full = self.found.try_send((*number, Find::from(found)));
        };
        while self.order.borrow().as_ref().is_some_and(|order| order.number == *number) {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let Ok(now) = machine::now() else { return false };
            let step = search.step(&job, now.time, length, &mut kernel, &mut found);
            self.hashes.fetch_add(step.hashes.into(), Ordering::Relaxed);
            if step.next != Next::More {
                rest();
            }
        }
        true
    }

    /// The job with this thread's nonces.
    fn job<'a>(&self, number: u32, task: &'a Task) -> Option<Job<'a>> {
        let time = u64::from(task.job.time);
        let expires = UtcSeconds::new(time.saturating_add(JOB_LASTS)).ok()?;
        let roll = TimeRoll::Clock(u16::try_from(JOB_LASTS).ok()?);
        let job = task.job(JobId::new(number).ok()?, roll, expires).ok()?;
        let (mine, all) = self.part;
        let from = |part: u64| (1_u64 << 32) * part / all;
        let nonce_first = u32::try_from(from(mine)).ok()?;
        let nonce_last = u32::try_from(from(mine + 1).saturating_sub(1)).ok()?;
        Job::new(Parts { nonce_first, nonce_last, ..*job.parts() }).ok()
    }
}

/// There is nothing to search for the moment.
#[expect(clippy::disallowed_methods, reason = "a thread of its own that has nothing else to do")]
fn rest() {
    std::thread::sleep(REST);
}
