//! Durable commits of each store beside a pre-allocated file with the same bytes, interleaved.
//!
//! `cargo bench --bench store`. Records of 256 bytes over 64 keys; one by one and 64 a commit.
//! Prints the median time of a commit over all rounds, and its ratio to the file's.
#![allow(clippy::print_stdout, clippy::disallowed_methods, missing_docs)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use millstream::db::{RedbStore, SqliteStore};
use millstream::store::{Batch, Durability, Key, Store, StoreError};

/// A pre-allocated file that is written from its start again when it is full: the least that any
/// store can do.
struct Log {
    file: File,
    at: u64,
}

const LOG_BYTES: u64 = 8 << 20;
const RECORD_BYTES: usize = 256;
/// What verifying a voucher's signature costs, about; the payee pays it before each commit.
const VERIFY: Duration = Duration::from_micros(33);

impl Log {
    fn open(path: &Path) -> Self {
        let file = File::create(path).expect("a file");
        file.write_all_at(&vec![0x55; usize::try_from(LOG_BYTES).unwrap()], 0).expect("room");
        file.sync_all().expect("a disk");
        Self { file, at: 0 }
    }

    fn commit(&mut self, bytes: &[u8]) {
        let len = u64::try_from(bytes.len()).unwrap();
        if self.at + len > LOG_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at).expect("room");
        self.file.sync_data().expect("a disk");
        self.at += len;
    }
}

fn batch(group: u64, round: u64) -> Result<Batch, StoreError> {
    let mut batch = Batch::default();
    for n in 0..group {
        let id = (round * group + n) % 64;
        let key = Key::from_parts(&[&[4], &[7; 30], &id.to_be_bytes()])?;
        batch.put(key, &[u8::try_from(round % 251).unwrap(); RECORD_BYTES])?;
    }
    Ok(batch)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds: u64 = std::env::var("ROUNDS").map_or(Ok(15), |rounds| rounds.parse())?;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut log = Log::open(&dir.path().join("log"));
    let mut stores: Vec<(&str, Box<dyn Store>)> = vec![
        ("redb", Box::new(RedbStore::open(&dir.path().join("redb"))?)),
        ("sqlite", Box::new(SqliteStore::open(&dir.path().join("sqlite"))?)),
    ];
    for (group, commits) in [(1, 200_u64), (64, 50)] {
        let mut times: Vec<Vec<Duration>> = vec![Vec::new(); stores.len() + 1];
        // One round of warm-up, not counted.
        for round in 0..=rounds {
            let mut lap = |at: usize, work: &mut dyn FnMut(u64)| {
                for commit in 0..commits {
                    let began = Instant::now();
                    work(round * commits + commit);
                    if round > 0 {
                        times[at].push(began.elapsed());
                    }
                }
            };
            let bytes = vec![7; RECORD_BYTES * usize::try_from(group)?];
            lap(0, &mut |_| log.commit(&bytes));
            for (at, (_, store)) in stores.iter_mut().enumerate() {
                lap(at + 1, &mut |n| {
                    let batch = batch(group, n).expect("within the limits");
                    store.commit(&batch, Durability::Barrier).expect("a disk");
                });
            }
        }
        let names = std::iter::once("file").chain(stores.iter().map(|(name, _)| *name));
        let mut file = Duration::ZERO;
        for (name, times) in names.zip(&mut times) {
            times.sort_unstable();
            let median = times[times.len() / 2];
            let mean = times.iter().sum::<Duration>() / u32::try_from(times.len())?;
            if name == "file" {
                file = median;
            }
            println!(
                "{group:>2} a commit  {name:<7} median {:>6.1} us  mean {:>6.1} us  \
                 file/(verify+commit) {:.2}  commits/s {:>6.0}  records/s {:>7.0}",
                median.as_secs_f64() * 1e6,
                mean.as_secs_f64() * 1e6,
                file.as_secs_f64() / (VERIFY + median).as_secs_f64(),
                1.0 / (VERIFY + mean).as_secs_f64(),
                f64::from(u32::try_from(group)?) / mean.as_secs_f64(),
            );
        }
    }
    Ok(())
}
