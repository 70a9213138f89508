//! Who mines, how fast, and for how much: a table on a terminal, lines elsewhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use bitcoin::OutPoint;
use indicatif::{ProgressBar, ProgressStyle};
use millstream::ledger::{Account, WorkerKey};
use millstream::node::Node;
use millstream::rt::Driver;
use millstream::rt::stratum::{Credit, ServerNews};
use millstream::signer::MemorySigner;
use millstream::units::Msat;
use tokio::time::Instant;

use crate::failure::Failure;

/// How often the table is drawn on a terminal, and lines are written elsewhere.
const DRAW: Duration = Duration::from_secs(1);
const WRITE: Duration = Duration::from_secs(5);
/// Rows that a terminal shows, the fastest first.
const ROWS_MAX: usize = 20;
/// Rows that are kept of workers that have left: each key may be a stranger's with one cheap share.
const LEFT_MAX: usize = 1_024;
/// The hash rate is that of so many seconds.
const RATE_S: u64 = 30;

/// What the ledger says of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Books {
    worker: WorkerKey,
    shares: u64,
    credited: Msat,
    paid: Msat,
    channel: Option<OutPoint>,
}

impl Books {
    fn of(account: &Account) -> Self {
        Self {
            worker: account.worker(),
            shares: account.shares(),
            credited: account.owed().floor_msat(),
            paid: account.paid(),
            channel: account.channel(),
        }
    }
}

/// What was seen of a worker since this start.
#[derive(Debug, Default)]
struct Row {
    miners: BTreeSet<SocketAddr>,
    /// Of its last share, hashes.
    work: u128,
    accepted: u64,
    refused: u64,
    /// Work of each second, the newest last.
    recent: VecDeque<(u64, u128)>,
    /// The line that was written last.
    written: String,
}

/// All workers.
pub(super) struct Table {
    started: Instant,
    shown: Instant,
    rows: BTreeMap<WorkerKey, Row>,
    books: BTreeMap<WorkerKey, Books>,
    bar: ProgressBar,
}

impl Table {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        let bar = match ProgressStyle::with_template("{msg}") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        let (rows, books) = (BTreeMap::new(), BTreeMap::new());
        Self { started: Instant::now(), shown: Instant::now(), rows, books, bar }
    }

    /// A line between the tables.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }

    pub(super) fn hear(&mut self, news: &ServerNews) {
        match news {
            ServerNews::Up { peer, key } => {
                self.rows.entry((*key).into()).or_default().miners.insert(*peer);
            }
            ServerNews::Refused { key, .. } => {
                self.rows.entry((*key).into()).or_default().refused += 1;
            }
            ServerNews::Down { peer, .. } => {
                self.rows.retain(|_, row| {
                    row.miners.remove(peer);
                    // Names that never brought anything are not kept.
                    row.accepted > 0 || !row.miners.is_empty()
                });
            }
            _ => {}
        }
    }

    /// A share was accepted.
    pub(super) fn found(&mut self, credit: &Credit) {
        let (second, work) = (self.started.elapsed().as_secs(), credit.good.work().hashes());
        let row = self.rows.entry(credit.worker.key.into()).or_default();
        row.accepted += 1;
        row.work = work;
        match row.recent.back_mut() {
            Some((last, sum)) if *last == second => *sum = sum.saturating_add(work),
            _ => row.recent.push_back((second, work)),
        }
    }

    /// Keeps the rows of those that have left within their limit; who brought least goes first.
    fn forget(&mut self) {
        let left = self.rows.iter().filter(|(_, row)| row.miners.is_empty());
        let mut left: Vec<_> = left.map(|(worker, row)| (row.accepted, *worker)).collect();
        left.sort_unstable();
        let over = left.len().saturating_sub(LEFT_MAX);
        for (_, worker) in left.into_iter().take(over) {
            self.rows.remove(&worker);
        }
    }

    /// Reads the ledger.
    pub(super) async fn look(&mut self, driver: &Driver<MemorySigner>) -> Result<(), Failure> {
        let look = |node: &mut Node<MemorySigner>| {
            node.ledger().accounts().map(Books::of).collect::<Vec<_>>()
        };
        let books = driver.look(look).await?;
        self.books = books.into_iter().map(|books| (books.worker, books)).collect();
        Ok(())
    }

    /// Shows what has changed, if it is time to.
    pub(super) async fn show(&mut self, driver: &Driver<MemorySigner>) -> Result<(), Failure> {
        let is_plain = self.bar.is_hidden();
        if self.shown.elapsed() < if is_plain { WRITE } else { DRAW } {
            return Ok(());
        }
        self.shown = Instant::now();
        self.forget();
        self.look(driver).await?;
        let second = self.started.elapsed().as_secs();
        for row in self.rows.values_mut() {
            let old = |at: u64| at.saturating_add(RATE_S) <= second;
            while row.recent.front().is_some_and(|(at, _)| old(*at)) {
                row.recent.pop_front();
            }
        }
        if is_plain {
            self.write(second);
        } else {
            self.draw(second);
        }
        Ok(())
    }

    fn write(&mut self, second: u64) {
        for (worker, row) in &mut self.rows {
            let line = plain(*worker, row, self.books.get(worker), second);
            if line != row.written {
                println!("{line}");
                row.written = line;
            }
        }
    }

    fn draw(&self, second: u64) {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.rate(second)));
        let mut text = format!(
            "{:<18} {:>10} {:>12} {:>9} {:>8} {:>14} {:>14}  {}",
            "worker",
            "hashes/s",
            "a share",
            "accepted",
            "refused",
            "credited msat",
            "paid msat",
            "channel"
        );
        for (worker, row) in rows.iter().take(ROWS_MAX) {
            let books = self.books.get(worker);
            let msat = |of: fn(&Books) -> Msat| books.map_or(0, |books| of(books).to_msat());
            // Writing to a text does not fail.
            let _written = write!(
                text,
                "\n{:<18} {:>10} {:>12} {:>9} {:>8} {:>14} {:>14}  {}",
                short(&worker.to_string()),
                row.rate(second),
                row.work,
                row.accepted,
                row.refused,
                msat(|books| books.credited),
                msat(|books| books.paid),
                channel(books),
            );
        }
        if rows.len() > ROWS_MAX {
            let _written = write!(text, "\nand {} more", rows.len() - ROWS_MAX);
        }
        self.bar.set_message(text);
        self.bar.tick();
    }

    /// What every worker was credited and paid, ever, also those of earlier starts.
    pub(super) fn last_lines(&self) -> Vec<String> {
        self.bar.finish_and_clear();
        let lines = self.books.values().map(|books| {
            let Books { worker, shares, credited, paid, .. } = books;
            format!("worker {worker}: {shares} shares, credited {credited}, paid {paid}")
        });
        lines.collect()
    }
}

impl Row {
    /// Hashes a second that its shares stand for.
    fn rate(&self, second: u64) -> u128 {
        let work = self.recent.iter().fold(0_u128, |sum, (_, work)| sum.saturating_add(*work));
        let since = self.recent.front().map_or(0, |(at, _)| second.saturating_sub(*at));
        work / u128::from(since.clamp(1, RATE_S))
    }
}

fn plain(worker: WorkerKey, row: &Row, books: Option<&Books>, second: u64) -> String {
    let (credited, paid) = books.map_or((Msat::ZERO, Msat::ZERO), |it| (it.credited, it.paid));
    format!(
        "{} {} hashes/s, {} hashes a share, {} accepted, {} refused, credited {credited}, paid \
         {paid}, channel {}",
        short(&worker.to_string()),
        row.rate(second),
        row.work,
        row.accepted,
        row.refused,
        channel(books),
    )
}

fn channel(books: Option<&Books>) -> String {
    let outpoint = books.and_then(|books| books.channel);
    outpoint.map_or("none".into(), |outpoint| {
        format!("{}:{}", short(&outpoint.txid.to_string()), outpoint.vout)
    })
}

/// The ends of a long name.
fn short(name: &str) -> String {
    let end = name.len().saturating_sub(4);
    match (name.get(..8), name.get(end..)) {
        (Some(start), Some(end)) if name.len() > 12 => format!("{start}..{end}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crowd_that_has_left_is_forgotten_and_neither_miners_nor_those_who_brought_most() {
        let mut table = Table::new();
        let worker = |number: u32| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            WorkerKey::new(key)
        };
        let crowd = u32::try_from(LEFT_MAX).unwrap() + 100;
        for number in 0..crowd {
            table.rows.insert(worker(number), Row { accepted: 1, ..Row::default() });
        }
        let miners = BTreeSet::from(["127.0.0.1:1".parse().unwrap()]);
        table.rows.insert(worker(crowd), Row { miners, ..Row::default() });
        table.rows.insert(worker(0), Row { accepted: 2, ..Row::default() });
        table.forget();
        assert_eq!(table.rows.len(), LEFT_MAX + 1);
        assert!(table.rows.contains_key(&worker(0)) && table.rows.contains_key(&worker(crowd)));
        table.forget();
        assert_eq!(table.rows.len(), LEFT_MAX + 1);
    }
}
