//! Shares of several workers, from their headers to the vouchers that pay them, durable.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, BlockHash, Network, OutPoint, Transaction, TxIn, TxOut, Txid, transaction::Version,
};
use millstream::db::RedbStore;
use millstream::keys::{Context, Entropy, Seed};
use millstream::ledger::{Account, Credit, HashPrice, WorkerKey};
use millstream::node::{Command, Config, Input, LinkId, Node, Now};
use millstream::shares::{Desk, Grace, Head, Policy, PoolJob, Share, Space};
use millstream::signer::MemorySigner;
use millstream::signer::budget;
use millstream::stream::Terms;
use millstream::stream::payer::Opening;
use millstream::tx::seen::Tip;
use millstream::tx::{ChangeScript, Delay, Voucher};
use millstream::units::{
    FeeRate, Height, JobId, KeyIndex, Msat, Sat, Seconds, SessionId, Target, UtcSeconds, WorkBits,
};
use millstream::wire::Message;

use super::Args;
use super::clock::{Clock, Plan, compare};
use super::row::{Goal, Row};

/// What this file gives.
pub(crate) const NAMES: &[&str] = &["shares_settled_per_s"];

const NETWORK: Network = Network::Regtest;
const LINK: LinkId = LinkId(1);
const WORKERS: u8 = 8;
/// Shares of one worker in a window: with eight of them, what a million a second bring in 131 ms.
const WINDOW: u32 = 16_384;
/// The bench's clock, which stands still.
const TIME: u32 = 1_800_000_000;
const CAPACITY: u64 = 50_000;
const TURNS: u32 = 2;

/// One worker's desk at the pool, and the shares that it brings.
struct Bench {
    worker: WorkerKey,
    outpoint: OutPoint,
    desk: Desk,
    tip: u32,
    shares: Vec<Share>,
}

impl Bench {
    fn new(worker: WorkerKey, outpoint: OutPoint) -> Result<Self, Box<dyn Error>> {
        let policy = Policy {
            shares_per_tip: WINDOW,
            shares_per_second: u32::MAX,
            burst: u32::MAX,
            grace: Grace::None,
            ahead_max: Policy::AHEAD_MAX,
        };
        let desk = Desk::new(Space::new(&[])?, policy, previous(0), seconds()?);
        Ok(Self { worker, outpoint, desk, tip: 0, shares: Vec::new() })
    }

    /// The next tip with a job of its own, and the shares that the worker finds: each header is
    /// another one, and every one of them meets the target of one hash a share.
    fn find(&mut self) -> Result<(), Box<dyn Error>> {
        self.tip += 1;
        let previous = previous(self.tip);
        self.desk.new_tip(previous, seconds()?)?;
        let version = 0x2000_0000;
        let head = Head {
            version,
            version_mask: 0,
            previous,
            bits: 0x1702_3456,
            min_time: TIME,
            start: TIME,
            roll_max: Seconds::new(600)?,
        };
        let job = Arc::new(PoolJob::header_only(head, *self.worker.as_bytes())?);
        let id = JobId::new(self.tip)?;
        self.desk.assign(id, job, Target::of_work_bits(WorkBits::new(0)?))?;
        let share = |nonce| Share { job: id, extranonce: 0, version, time: TIME, nonce };
        self.shares = (0..WINDOW).map(share).collect();
        Ok(())
    }

    /// Verifies a window, and adds up what it is worth.
    fn check(&mut self, price: HashPrice) -> Result<Credit, Box<dyn Error>> {
        let (mut sum, mut failed) = (Credit::NONE, None);
        self.desk.check_many(seconds()?, &self.shares, &mut |_, verdict| {
            let added = verdict.map_err(|refused| refused.to_string()).and_then(|good| {
                let credit = Credit::priced(good.work(), price).map_err(|e| e.to_string())?;
                sum.plus(&credit).map_err(|e| e.to_string())
            });
            match added {
                Ok(added) => sum = added,
                Err(error) => failed = Some(error),
            }
        });
        failed.map_or(Ok(sum), |error| Err(error.into()))
    }
}

/// The pool: a node with its store, and the desks of its workers.
struct Pool {
    node: Node<MemorySigner>,
    store: RedbStore,
    benches: Vec<Bench>,
    price: HashPrice,
    submitted: u64,
    vouchers: u64,
    /// The last voucher of each worker, by its place.
    last: Vec<Option<Voucher>>,
}

impl Pool {
    fn open(dir: &Path) -> Result<Self, Box<dyn Error>> {
        let store = RedbStore::open(&dir.join("pool.redb"))?;
        let (all, zeros) = (Msat::MAX, Entropy::new([0; 32]));
        // A slice that no run uses up: budgets are the payer rows' figure.
        let policy = budget::Policy { hour: all, day: all, peer: all, slice: sat(CAPACITY)? };
        let mut signer = MemorySigner::new(Seed::new([1; 32]), NETWORK, policy, None, &zeros)?;
        signer.release_day_budget_without_record(seconds()?)?;
        let config = Config {
            network: NETWORK,
            terms: None,
            tip_age_max: Seconds::new(86_400)?,
            resend_after: Seconds::new(60)?,
            pay_step: Msat::ZERO,
            relay_floor: FeeRate::new(100)?,
        };
        let node = Node::new(config, Context::new(), signer);
        // A third of a thousandth of a millisatoshi a hash.
        let price = HashPrice::from_q96((1 << 96) / 3_000)?;
        let (benches, last) = (Vec::new(), Vec::new());
        let mut pool = Self { node, store, benches, price, submitted: 0, vouchers: 0, last };
        let tip = Tip { height: Height::new(100)?, hash: BlockHash::all_zeros(), time: seconds()? };
        pool.handle(Input::Connected(LINK))?;
        pool.handle(Input::Tip(tip))?;
        for number in 0..WORKERS {
            pool.enlist(number)?;
        }
        pool.flush()?;
        Ok(pool)
    }

    /// A worker with a channel that pays its work.
    fn enlist(&mut self, number: u8) -> Result<(), Box<dyn Error>> {
        let context = Context::new();
        let base = Seed::new([number + 10; 32]).base_key(&context, NETWORK)?.public();
        let index = KeyIndex::new(number.into())?;
        let key = Seed::new([1; 32]).payer_key(&context, NETWORK, index)?.public();
        let view = self.node.view(seconds()?)?;
        let (delay, own) = (Delay::new(1_008)?, ChangeScript::Own);
        let (terms, capacity) = (Terms::new(NETWORK, base)?, Sat::new(CAPACITY)?);
        let opening = Opening::new(&context, &terms, index, key, delay, capacity, own, &view)?;
        let coin = OutPoint { txid: Txid::from_byte_array([number + 1; 32]), vout: 0 };
        let funding = Transaction {
            version: Version(3),
            lock_time: bitcoin::absolute::LockTime::ZERO,
            input: vec![TxIn { previous_output: coin, ..TxIn::default() }],
            output: vec![TxOut {
                value: Amount::from_sat(CAPACITY),
                script_pubkey: opening.script().clone(),
            }],
        };
        let outpoint = OutPoint { txid: funding.compute_txid(), vout: 0 };
        let (opening, backup) = (Box::new(opening), vec![7; 100]);
        let link = Some(LINK);
        self.handle(Input::Do(Command::Fund { link, opening, funding, vout: 0, backup }))?;
        let (worker, session) = (WorkerKey::from(base), SessionId::new(1)?);
        let budget = sat(CAPACITY)?;
        self.handle(Input::Do(Command::BindWorker { worker, outpoint, session, budget }))?;
        self.benches.push(Bench::new(worker, outpoint)?);
        self.last.push(None);
        Ok(())
    }

    fn handle(&mut self, input: Input) -> Result<(), Box<dyn Error>> {
        Ok(self.node.handle(&now()?, input)?)
    }

    /// Commits, and keeps the vouchers that leave.
    fn flush(&mut self) -> Result<(), Box<dyn Error>> {
        for (_, message) in self.node.flush(&now()?, &mut self.store)?.sends {
            let Message::Voucher(voucher) = message else { continue };
            let at = usize::try_from(voucher.alias.to_u32())?;
            let (paid, signature) = (voucher.paid, voucher.signature);
            *self.last.get_mut(at).ok_or("a voucher of no channel")? =
                Some(Voucher { paid, signature });
            self.vouchers += 1;
        }
        Ok(())
    }

    fn find(&mut self) -> Result<(), Box<dyn Error>> {
        self.benches.iter_mut().try_for_each(Bench::find)
    }

    /// A window of every worker: verified, credited, and paid by one commit.
    fn settle(&mut self) -> Result<(), Box<dyn Error>> {
        for at in 0..self.benches.len() {
            let bench = self.benches.get_mut(at).ok_or("no such worker")?;
            self.submitted += u64::try_from(bench.shares.len())?;
            let (worker, credit) = (bench.worker, bench.check(self.price)?);
            self.handle(Input::Do(Command::CreditWork { worker, credit }))?;
        }
        self.flush()
    }

    /// Accepted is submitted, paid is owed, and the vouchers that left say so.
    fn check(&self, windows: u64) -> Result<(), Box<dyn Error>> {
        let ledger = self.node.ledger();
        ledger.holds_together()?;
        let accepted: u64 = ledger.accounts().map(Account::shares).sum();
        if accepted != self.submitted || self.vouchers != windows * u64::from(WORKERS) {
            let (submitted, vouchers) = (self.submitted, self.vouchers);
            return Err(format!("{accepted} of {submitted} counted, {vouchers} vouchers").into());
        }
        for (bench, last) in self.benches.iter().zip(&self.last) {
            let account = ledger.account(bench.worker).ok_or("no account")?;
            let payer = self.node.payer(bench.outpoint).ok_or("no channel")?;
            let voucher = last.ok_or("nothing was paid")?;
            let _proof = payer.channel().verify(self.node.context(), voucher)?;
            let owed = account.owed().floor_msat();
            if account.paid() != owed || payer.signed() != owed || voucher.paid != owed {
                return Err(format!("{owed} are owed, {} are paid", voucher.paid).into());
            }
        }
        Ok(())
    }
}

/// Windows of eight workers, one commit each, beside the checks of the same shares alone.
pub(crate) fn rows(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let dir = tempfile::Builder::new().prefix(".millstream-bench-").tempdir_in(&args.dir)?;
    let mut pool = Pool::open(dir.path())?;
    let mut others = Vec::new();
    for bench in &pool.benches {
        others.push(Bench::new(bench.worker, bench.outpoint)?);
    }
    let price = pool.price;
    let mut windows = 0;
    let mut ours = || {
        windows += 1;
        pool.find()?;
        pool.settle()
    };
    let mut bare = || {
        for bench in &mut others {
            bench.find()?;
            let _sum = bench.check(price)?;
        }
        Ok(())
    };
    let rounds = args.rounds;
    let plan = Plan { clock: Clock::Wall, rounds, turns: TURNS, operations: 1 };
    let compared = compare(plan, &mut ours, &mut bare)?;
    pool.check(windows)?;
    let shares = f64::from(WINDOW) * f64::from(WORKERS);
    Ok(vec![
        Row::new("shares_settled_per_s", shares / compared.ours, "1/s")
            .goal(Goal::AtLeast(1_000_000.0))
            .against("checked and added up alone, 1/s", shares / compared.bare)
            .note(format!(
                "header-only, {WORKERS} workers: verified, credited, a voucher each, one durable \
                 commit a window of {} shares (redb); wall time of one thread",
                u32::from(WORKERS) * WINDOW
            )),
    ])
}

fn previous(tip: u32) -> [u8; 32] {
    let mut previous = [0x5a; 32];
    previous.iter_mut().zip(tip.to_le_bytes()).for_each(|(to, byte)| *to = byte);
    previous
}

fn sat(sat: u64) -> Result<Msat, Box<dyn Error>> {
    Ok(Sat::new(sat)?.to_msat())
}

fn seconds() -> Result<UtcSeconds, Box<dyn Error>> {
    Ok(UtcSeconds::new(TIME.into())?)
}

fn now() -> Result<Now, Box<dyn Error>> {
    Ok(Now { time: seconds()?, aux: Entropy::new([0; 32]) })
}
