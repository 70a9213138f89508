//! The log of work that blocks are shared over: newest first, bounded, exact in its sums.
//!
//! ```text
//!   oldest                                                  newest
//!   [ bucket 7 ][ bucket 8 ][ bucket 9 ] ..          [ bucket 70 ]
//!      |   '--------------- the last N work ---------------------'
//!      '-- the part of it that is inside is shared out by its workers' work
//! ```
//!
//! A bucket adds up the work of each worker until it holds a 64th of the reach; then the next one
//! begins. The order inside a bucket is forgotten, and nothing else: the weights of a reach of N
//! add up to N exactly, once so much was logged. A bucket that is wholly outside is deleted.
//!
//! At [`Window::ENTRIES_MAX`] entries the two oldest buckets become one: what is lost is when in it
//! somebody worked, never that. Only if there are more workers than entries one is refused.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::scheme::{Reach, split};
use super::{LedgerError, ROOM, WorkerKey};
use crate::store::{Batch, Key, envelope};
use crate::units::{Overflow, Work};
use crate::wire::Reader;

/// The second byte of the key of a bucket's entry.
const KIND: u8 = 0x04;
const VERSION: u8 = 1;
/// A 64th of the window is how exactly it knows when something was done.
const BUCKETS: u128 = 64;

/// The work of one worker in one bucket; none is a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    bucket: u64,
    worker: WorkerKey,
    work: Option<Work>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    buckets: BTreeMap<u64, Bucket>,
    /// Entries of all buckets.
    entries: usize,
    entries_max: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Bucket {
    total: Work,
    works: BTreeMap<WorkerKey, Work>,
}

impl Slot {
    /// The prefix of every entry, for a scan.
    pub(super) const PREFIX: [u8; 2] = [ROOM, KIND];

    /// Writes or deletes the entry: 16 bytes under the bucket's number and the worker's key.
    pub(super) fn stage(&self, batch: &mut Batch) -> Result<(), LedgerError> {
        let bucket = self.bucket.to_be_bytes();
        let key = Key::from_parts(&[&Self::PREFIX, &bucket, self.worker.as_bytes()])?;
        match self.work {
            Some(work) => {
                let body = work.hashes().to_be_bytes();
                batch.put(key, &envelope::seal(&key, VERSION, &body))?;
            }
            None => batch.delete(key)?,
        }
        Ok(())
    }

    pub(super) fn decode(key: &Key, bytes: &[u8]) -> Result<Self, LedgerError> {
        let body = envelope::open(key, VERSION, bytes)?;
        let broken = LedgerError::BrokenRecord { at: body.len() };
        let work = u128::from_be_bytes(body.try_into().map_err(|_| broken)?);
        let mut k = Reader::new(key.as_bytes());
        let at = k.take(2).and_then(|_| Ok((k.u64()?, k.array()?))).map_err(|_| broken)?;
        if work == 0 || !k.rest().is_empty() {
            return Err(broken);
        }
        Ok(Self { bucket: at.0, worker: WorkerKey::new(at.1), work: Some(Work::new(work)) })
    }
}

impl Window {
    /// 16,384: with what a block pays, half of a batch.
    pub(super) const ENTRIES_MAX: usize = 16_384;

    pub(super) const fn new(entries_max: usize) -> Self {
        Self { buckets: BTreeMap::new(), entries: 0, entries_max }
    }

    /// What logging `work` changes.
    pub(super) fn log(
        &self,
        worker: WorkerKey,
        work: Work,
        reach: Reach,
    ) -> Result<Vec<Slot>, LedgerError> {
        let total = self.total()?.add(work)?;
        let newest = self.buckets.last_key_value();
        let bucket = match (newest, reach) {
            (None, _) => 0,
            (Some((number, _)), Reach::Round) => *number,
            (Some((number, bucket)), Reach::Last(window)) => {
                let is_full = bucket.total.hashes() >= (window.hashes() / BUCKETS).max(1);
                // A bucket a nanosecond takes centuries to get there.
                number.saturating_add(u64::from(is_full))
            }
        };
        let had = newest.filter(|(number, _)| **number == bucket);
        let had = had.and_then(|(_, bucket)| bucket.works.get(&worker)).copied();
        let now = had.unwrap_or(Work::ZERO).add(work)?;
        let mut slots = Vec::from([Slot { bucket, worker, work: Some(now) }]);
        if let Reach::Last(window) = reach {
            self.expire(total, window, bucket, &mut slots);
        }
        if self.entries.saturating_add(usize::from(had.is_none())) <= self.entries_max {
            return Ok(slots);
        }
        // Once in a bucket at the most: merging makes one fewer of them.
        let mut next = self.clone();
        next.apply(&slots);
        while next.entries > next.entries_max {
            let merged = next.merge_oldest()?;
            next.apply(&merged);
            slots.extend(merged);
        }
        Ok(slots)
    }

    /// Deletes the oldest buckets without which `window` is still covered.
    fn expire(&self, total: Work, window: Work, newest: u64, slots: &mut Vec<Slot>) {
        let mut left = total;
        for (number, bucket) in self.buckets.range(..newest) {
            left = left.saturating_sub(bucket.total);
            if left < window {
                break;
            }
            slots.extend(bucket.gone(*number));
        }
    }

    /// The two oldest buckets as one.
    fn merge_oldest(&self) -> Result<Vec<Slot>, LedgerError> {
        let full = LedgerError::WindowFull { max: self.entries_max };
        let mut oldest = self.buckets.iter();
        let (Some((from, old)), Some((to, next))) = (oldest.next(), oldest.next()) else {
            return Err(full);
        };
        let mut slots: Vec<Slot> = old.gone(*from).collect();
        for (worker, work) in &old.works {
            let has = next.works.get(worker).copied().unwrap_or(Work::ZERO);
            slots.push(Slot { bucket: *to, worker: *worker, work: Some(has.add(*work)?) });
        }
        Ok(slots)
    }

    /// What ends a round: every entry deleted.
    pub(super) fn cleared(&self) -> Vec<Slot> {
        self.buckets.iter().flat_map(|(number, bucket)| bucket.gone(*number)).collect()
    }

    /// The work of a round whose block was lost, which counts again as the oldest that there is. Of
    /// workers without an entry there only so many as there is room for, by key.
    pub(super) fn given_back(&self, weights: &[(WorkerKey, Work)]) -> Vec<Slot> {
        let oldest = self.buckets.first_key_value();
        let number = oldest.map_or(0, |(number, _)| *number);
        let mut total = self.total().unwrap_or(Work::MAX);
        let mut room = self.entries_max.saturating_sub(self.entries);
        let mut slots = Vec::new();
        for (worker, work) in weights {
            let had = oldest.and_then(|(_, bucket)| bucket.works.get(worker)).copied();
            let Some(sum) = total.checked_add(*work) else { break };
            if had.is_none() && room == 0 {
                continue;
            }
            total = sum;
            room = room.saturating_sub(usize::from(had.is_none()));
            // At most the sum.
            let work = Some(had.unwrap_or(Work::ZERO).saturating_add(*work));
            slots.push(Slot { bucket: number, worker: *worker, work });
        }
        slots
    }

    /// How much each worker counts in a block that is found now, by key.
    pub(super) fn weights(&self, reach: Reach) -> BTreeMap<WorkerKey, Work> {
        let mut weights: BTreeMap<WorkerKey, Work> = BTreeMap::new();
        let mut left = match reach {
            Reach::Round => Work::MAX,
            Reach::Last(window) => window,
        };
        for bucket in self.buckets.values().rev() {
            let works = bucket.works.iter().map(|(worker, work)| (*worker, work.hashes()));
            // At most what is in the bucket, whose sum is an amount of work.
            let inside = bucket.total.min(left);
            for (worker, work) in split(inside.hashes(), works) {
                let sum = weights.entry(worker).or_default();
                *sum = sum.saturating_add(Work::new(work));
            }
            left = left.saturating_sub(inside);
        }
        weights.retain(|_, work| *work > Work::ZERO);
        weights
    }

    /// All work that is in it.
    pub(super) fn total(&self) -> Result<Work, Overflow> {
        self.buckets.values().try_fold(Work::ZERO, |sum, bucket| sum.add(bucket.total))
    }

    pub(super) fn apply(&mut self, slots: &[Slot]) {
        for Slot { bucket: number, worker, work } in slots {
            let bucket = self.buckets.entry(*number).or_default();
            let old = match work {
                Some(work) => bucket.works.insert(*worker, *work),
                None => bucket.works.remove(worker),
            };
            let without = bucket.total.saturating_sub(old.unwrap_or(Work::ZERO));
            // What `log` let in adds up; what is read from a store is counted by `holds_together`.
            bucket.total = without.saturating_add(work.unwrap_or(Work::ZERO));
            self.entries = self
                .entries
                .saturating_add(usize::from(work.is_some()))
                .saturating_sub(usize::from(old.is_some()));
            if bucket.works.is_empty() {
                self.buckets.remove(number);
            }
        }
    }

    /// Whether totals are those of the entries, and all of them an amount of work.
    pub(super) fn holds_together(&self) -> bool {
        let sums = self.buckets.values().all(|bucket| {
            let mut works = bucket.works.values();
            let sum = works.try_fold(Work::ZERO, |sum, work| sum.checked_add(*work));
            sum == Some(bucket.total)
        });
        let entries = self.buckets.values().map(|bucket| bucket.works.len());
        let counted = entries.fold(0_usize, usize::saturating_add) == self.entries;
        sums && counted && self.entries <= self.entries_max && self.total().is_ok()
    }
}

impl Bucket {
    fn gone(&self, number: u64) -> impl Iterator<Item = Slot> {
        let workers = self.works.keys();
        workers.map(move |worker| Slot { bucket: number, worker: *worker, work: None })
    }
}
