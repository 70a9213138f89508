//! The share ledger: shares folded into credits, and credits settled with their payments.

use std::error::Error;

use bitcoin::OutPoint;
use bitcoin::hashes::Hash;
use millstream::ledger::{Account, Credit, Exact, HashPrice, Input, Ledger, Limits, WorkerKey};
use millstream::store::Batch;
use millstream::units::{Msat, Ppm, Work};

use super::Args;
use super::clock::{Clock, Plan, compare};
use super::row::Row;

/// What this file gives.
pub(crate) const NAMES: &[&str] = &["ledger_shares_per_s", "ledger_settlements_per_s"];

const WORKERS: u16 = 1_000;
/// Shares that a drain folds into one credit.
const FOLDED: u16 = 1_000;

/// A thousand workers, of whom each is credited and paid in turn, into batches that are not
/// committed: what a commit costs is the store's figure.
pub(crate) fn rows(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let network = Work::new(144_000_000_000_000 << 32);
    let price = HashPrice::pps(Msat::new(313_000_000_000)?, Ppm::new(10_000)?, network)?;
    let work = Work::new(1 << 40);
    let limits = Limits { unpaid_max: Msat::MAX, workers_max: WORKERS.into() };
    let mut ledger = Ledger::new(limits)?;
    let mut batch = Batch::default();
    for number in 0..WORKERS {
        let channel = OutPoint { txid: bitcoin::Txid::all_zeros(), vout: number.into() };
        let bind = Input::Bind { worker: key(number), channel, paid: Msat::ZERO };
        take(&mut ledger, &bind, &mut batch)?;
    }
    let (mut folds, mut turns, mut bare) = (0_u64, 0_u64, Credit::NONE);
    let mut folded = Credit::NONE;
    let fold = || -> Result<Credit, Box<dyn Error>> {
        let mut sum = Credit::NONE;
        for _ in 0..FOLDED {
            sum = sum.plus(&Credit::priced(work, price)?)?;
        }
        Ok(sum)
    };
    let plan = Plan { clock: Clock::Cpu, rounds: args.rounds, turns: 4, operations: 64 };
    let cost = compare(
        plan,
        &mut || {
            let worker = key(u16::try_from(turns % u64::from(WORKERS))?);
            turns += 1;
            let credit = fold()?;
            take(&mut ledger, &Input::Credit { worker, credit }, &mut batch)?;
            let pay = ledger.account(worker).and_then(Account::pay_to);
            let (channel, paid) = pay.ok_or("a worker without a channel")?;
            take(&mut ledger, &Input::Paid { worker, channel, paid }, &mut batch)
        },
        &mut || {
            folded = fold()?;
            folds += 1;
            bare = bare.plus(&folded)?;
            Ok(())
        },
    )?;
    check(&ledger, turns, folds, &bare, Exact::of(work, price)?)?;
    let settle = (cost.ours - cost.bare).max(1e-9);
    Ok(vec![
        Row::new("ledger_shares_per_s", f64::from(FOLDED) / cost.bare, "1/s")
            .note("each share priced exactly, and added to the credit of its drain"),
        Row::new("ledger_settlements_per_s", 1.0 / settle, "1/s")
            .note("a worker's drain: its credit and its payment, both records staged"),
    ])
}

fn take(ledger: &mut Ledger, input: &Input, batch: &mut Batch) -> Result<(), Box<dyn Error>> {
    let staged = ledger.decide(input)?.stage(batch)?;
    Ok(ledger.apply(&staged)?)
}

fn key(number: u16) -> WorkerKey {
    let [high, low] = number.to_be_bytes();
    let mut bytes = [7; 32];
    (bytes[0], bytes[1]) = (high, low);
    WorkerKey::new(bytes)
}

/// Every share of every turn is in the accounts, exactly, and all whole millisatoshis were paid.
fn check(
    ledger: &Ledger,
    turns: u64,
    folds: u64,
    bare: &Credit,
    share: Exact,
) -> Result<(), Box<dyn Error>> {
    ledger.holds_together()?;
    let shares: u64 = ledger.accounts().map(Account::shares).sum();
    assert_eq!(shares, turns * u64::from(FOLDED), "shares credited");
    assert_eq!(bare.shares(), folds * u64::from(FOLDED), "shares folded");
    assert_eq!(ledger.accounts().map(Account::due).max(), Some(Msat::ZERO), "due");
    let mut owed = Exact::ZERO;
    let mut left = shares;
    let mut power = share;
    // The same sum by doubling: as many steps as the count has bits.
    while left > 0 {
        if left & 1 == 1 {
            owed = owed.plus(power)?;
        }
        left >>= 1;
        power = if left > 0 { power.plus(power)? } else { power };
    }
    assert_eq!(ledger.totals().credited(), owed, "credited");
    Ok(())
}
