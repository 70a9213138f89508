//! Vouchers that are on the disk when they count, beside a bare file with the same bytes.

use std::error::Error;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use millstream::db::RedbStore;
use millstream::store::{Batch, Durability, Store};

use super::Args;
use super::clock::{Clock, Compared, Plan, compare};
use super::row::{Goal, Row};
use super::stage::{STEP, Stage, Stored};

/// What this file gives.
pub(crate) const NAMES: &[&str] =
    &["durable_vouchers_per_s", "durable_vs_fdatasync", "durable_vouchers_per_s_64"];

/// The file is written from its start again when it is full.
const FILE_BYTES: usize = 8 << 20;
/// Vouchers of the grouped row's commit.
const GROUP: u32 = 64;
/// Operations of a turn.
const OPERATIONS: u32 = 8;
const TURNS: u32 = 8;

/// A pre-allocated file: the least that any store can do.
struct Log {
    file: File,
    at: usize,
}

impl Log {
    fn create(path: &Path) -> Result<Self, Box<dyn Error>> {
        let mut file = File::create(path)?;
        file.write_all(&vec![0x55; FILE_BYTES])?;
        file.sync_all()?;
        Ok(Self { file, at: 0 })
    }

    fn commit(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        if self.at + bytes.len() > FILE_BYTES {
            self.at = 0;
        }
        self.file.seek(SeekFrom::Start(u64::try_from(self.at)?))?;
        self.file.write_all(bytes)?;
        self.file.sync_data()?;
        self.at += bytes.len();
        Ok(())
    }
}

/// What each figure needs: machines, a store and a file.
struct Desk {
    stage: Stage,
    store: RedbStore,
    log: Log,
    /// As many bytes as a commit has.
    bytes: Vec<u8>,
}

impl Desk {
    fn new(dir: &Path, channels: u32) -> Result<Self, Box<dyn Error>> {
        let mut stage = Stage::own(channels)?;
        let stored = stage.pay(0, STEP)?;
        let mut bytes = [stored.key.as_bytes(), &stored.record].concat();
        bytes = bytes.repeat(usize::try_from(channels)?);
        let store = RedbStore::open(&dir.join(format!("{channels}.redb")))?;
        Ok(Self { stage, store, log: Log::create(&dir.join(format!("{channels}.log")))?, bytes })
    }

    /// Every channel's newest record is the one in the store, and `vouchers` were accepted.
    fn check(&self, vouchers: u64) -> Result<(), Box<dyn Error>> {
        self.stage.check(vouchers)?;
        for lane in &self.stage.lanes {
            let record = lane.payee.record();
            if self.store.get(&record.key()?)? != Some(record.encode()?) {
                return Err("the store holds another record".into());
            }
        }
        Ok(())
    }
}

fn commit(store: &mut RedbStore, records: &[Stored]) -> Result<(), Box<dyn Error>> {
    let mut batch = Batch::default();
    for stored in records {
        batch.put(stored.key, &stored.record)?;
    }
    Ok(store.commit(&batch, Durability::Barrier)?)
}

/// One by one and grouped, against `fdatasync` of the same bytes.
pub(crate) fn rows(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let dir = tempfile::Builder::new().prefix(".millstream-bench-").tempdir_in(&args.dir)?;
    let rounds = args.rounds;
    let plan = Plan { clock: Clock::Wall, rounds, turns: TURNS, operations: OPERATIONS };
    let whole = one_by_one(&mut Desk::new(dir.path(), 1)?, plan)?;
    let payee = payee_only(dir.path(), plan)?;
    let group = grouped(dir.path(), Plan { turns: 2, ..plan })?;
    let per = f64::from(GROUP);
    Ok(vec![
        Row::new("durable_vouchers_per_s", 1.0 / whole.ours, "1/s")
            .goal(Goal::AtLeast(1_000.0))
            .against("bare fdatasync of the same bytes, 1/s", 1.0 / whole.bare)
            .note("one by one, wall time, both sides: pay() to the durable record (redb)"),
        Row::new("durable_vs_fdatasync", 1.0 / payee.ratio, "x")
            .goal(Goal::AtLeast(0.4))
            .against("bare fdatasync of the same bytes, us", payee.bare * 1e6)
            .note(format!("one by one, payee: accept() and commit in {:.1} us", payee.ours * 1e6)),
        Row::new("durable_vouchers_per_s_64", per / group.ours, "1/s")
            .against("bare fdatasync of the same bytes, records/s", per / group.bare)
            .note("64 channels, one commit; both sides"),
    ])
}

/// From `pay()` to the durable record.
fn one_by_one(desk: &mut Desk, plan: Plan) -> Result<Compared, Box<dyn Error>> {
    let Desk { stage, store, log, bytes } = desk;
    let mut vouchers = 1;
    let cost = compare(
        plan,
        &mut || {
            vouchers += 1;
            commit(store, &[stage.pay(0, STEP)?])
        },
        &mut || log.commit(bytes),
    )?;
    desk.check(vouchers)?;
    Ok(cost)
}

/// Verification and commit alone: the vouchers are signed before the clock runs.
fn payee_only(dir: &Path, plan: Plan) -> Result<Compared, Box<dyn Error>> {
    let dir = dir.join("payee");
    std::fs::create_dir(&dir)?;
    let mut desk = Desk::new(&dir, 1)?;
    let count = (plan.rounds + 1) * plan.turns * plan.operations;
    let mut signed = Vec::new();
    for _ in 0..count {
        signed.push(desk.stage.sign(0, STEP)?);
    }
    let mut signed = signed.into_iter();
    let Desk { stage, store, log, bytes } = &mut desk;
    let cost = compare(
        plan,
        &mut || {
            let voucher = signed.next().ok_or("no more vouchers")?;
            commit(store, &[stage.accept(0, voucher)?])
        },
        &mut || log.commit(bytes),
    )?;
    desk.check(u64::from(count) + 1)?;
    Ok(cost)
}

/// One voucher of each of 64 channels, and one commit.
fn grouped(dir: &Path, plan: Plan) -> Result<Compared, Box<dyn Error>> {
    let mut desk = Desk::new(dir, GROUP)?;
    let Desk { stage, store, log, bytes } = &mut desk;
    let mut vouchers = 1;
    let cost = compare(
        plan,
        &mut || {
            let records = (0..usize::try_from(GROUP)?).map(|lane| stage.pay(lane, STEP));
            vouchers += u64::from(GROUP);
            commit(store, &records.collect::<Result<Vec<_>, _>>()?)
        },
        &mut || log.commit(bytes),
    )?;
    desk.check(vouchers)?;
    Ok(cost)
}
