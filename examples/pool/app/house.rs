//! The pool's side: templates, a desk for each worker, and the ledgers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, ScriptBuf};
use millstream::chain::template::{BlockPlan, Layout, Solution, Template};
use millstream::ledger::WorkerKey;
use millstream::shares::{
    Coinbase, Desk, Good, Head, Policy, PoolJob, Refused, Share, Space, Tally, Vardiff,
};
use millstream::units::{Height, JobId, Sat, Seconds, Target, UtcSeconds, Work, WorkBits};

use super::books::{Books, Prices};
use crate::common::Error;
use crate::common::dice::Dice;

/// A target of 2^20 hashes, nearly: the network is that small.
pub(crate) const NETWORK_BITS: u32 = 0x1e0f_ffff;
/// What a block brings without fees, sat: that of the years after 2052.
const SUBSIDY: u64 = 2_441_406;
/// A worker's part of the coinbase.
pub(crate) const EXTRANONCE_SIZE: u8 = 4;
/// The pool's part.
const SPACE_SIZE: u8 = 4;
/// Shares are wanted each two minutes.
const AIM: u64 = 120;
/// From 2^4 to 2^16 hashes a share; a new worker begins at 2^8.
const BITS: [u8; 3] = [4, 16, 8];
/// How far a header's time may be ahead of its job's.
const ROLL: u64 = 1_200;

/// What workers are told of a job: all but its number and target, which are their own.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub(crate) head: Head,
    pub(crate) prefix: Vec<u8>,
    pub(crate) suffix: Vec<u8>,
    pub(crate) branches: Vec<[u8; 32]>,
}

/// A worker as the pool knows it.
pub(crate) struct Place {
    pub(crate) key: WorkerKey,
    pub(crate) desk: Desk,
    vardiff: Vardiff,
    pub(crate) tally: Tally,
}

/// A job that is out: its block, if it becomes one, and what its shares are worth.
struct Out {
    plan: Arc<BlockPlan>,
    /// For each worker, because its shares have their own size.
    prices: Vec<Prices>,
}

/// The pool.
pub(crate) struct House {
    pub(crate) places: Vec<Place>,
    pub(crate) books: Books,
    plan: Arc<BlockPlan>,
    out: BTreeMap<JobId, Out>,
    job: u32,
    dice: Dice,
    /// Good work since the last block.
    pub(crate) round: u128,
    pub(crate) blocks: Vec<BlockHash>,
    /// What they brought, msat.
    pub(crate) rewards: u64,
}

impl House {
    /// A pool for the owners of these keys.
    pub(crate) fn open(keys: &[WorkerKey], seed: u64, now: UtcSeconds) -> Result<Self, Error> {
        let mut dice = Dice::new(seed, "fees");
        let tip = BlockHash::from_byte_array(dice.secret());
        let plan = Arc::new(plan(tip, 0, now, &mut dice)?);
        let [least, most, start] = BITS.map(WorkBits::new);
        let (least, most, start) = (least?, most?, start?);
        let policy = Policy::for_aim(Seconds::new(AIM)?);
        let place = |(number, key): (u64, &WorkerKey)| -> Result<Place, Error> {
            let space = Space::numbered(number + 1, SPACE_SIZE)?;
            let desk = Desk::new(space, policy, tip.to_byte_array(), now);
            let vardiff = Vardiff::new(least, most, start, Seconds::new(AIM)?, now);
            Ok(Place { key: *key, desk, vardiff, tally: Tally::new(now) })
        };
        let places = (0..).zip(keys).map(place).collect::<Result<_, Error>>()?;
        let (books, out, blocks) = (Books::open()?, BTreeMap::new(), Vec::new());
        Ok(Self { places, books, plan, out, job: 0, dice, round: 0, blocks, rewards: 0 })
    }

    /// A new job for everybody, each at the target of its own that is said here.
    pub(crate) fn issue(&mut self, now: UtcSeconds) -> Result<(JobId, Notice, Vec<Target>), Error> {
        self.job += 1;
        let id = JobId::new(self.job)?;
        let template = self.plan.template();
        let start = u32::try_from(now.to_u64())?;
        let head = Head {
            version: template.version,
            version_mask: 0,
            previous: template.previous.to_byte_array(),
            bits: NETWORK_BITS,
            min_time: start - 600,
            start,
            roll_max: Seconds::new(ROLL)?,
        };
        let coinbase = Coinbase {
            prefix: self.plan.prefix(),
            suffix: self.plan.suffix(),
            space_size: SPACE_SIZE,
            extranonce_size: EXTRANONCE_SIZE,
            branches: self.plan.branches(),
        };
        let job = Arc::new(PoolJob::with_coinbase(head, &coinbase)?);
        let market = Books::market(template.coinbase_value, job.network_work());
        let (mut targets, mut prices) = (Vec::new(), Vec::new());
        for place in &mut self.places {
            let wanted = place.vardiff.wake(now).unwrap_or_else(|| place.vardiff.target());
            let target = place.desk.assign(id, Arc::clone(&job), wanted)?;
            prices.push(self.books.prices(&market, target.work())?);
            targets.push(target);
        }
        self.out.insert(id, Out { plan: Arc::clone(&self.plan), prices });
        let notice = Notice {
            head,
            prefix: coinbase.prefix.to_vec(),
            suffix: coinbase.suffix.to_vec(),
            branches: coinbase.branches.to_vec(),
        };
        Ok((id, notice, targets))
    }

    /// A share comes in. What it is worth is in the ledgers; a block starts a new round.
    pub(crate) fn submit(
        &mut self,
        worker: usize,
        share: &Share,
        now: UtcSeconds,
    ) -> Result<Result<Good, Refused>, Error> {
        let place = self.places.get_mut(worker).ok_or("no worker")?;
        let answer = place.desk.take(now, share);
        place.tally.count(now, &answer);
        let Ok(good) = answer else { return Ok(answer) };
        let _at_the_next_job = place.vardiff.found(now, good.work());
        self.round += good.work().hashes();
        let out = self.out.get(&share.job).ok_or("a job that was never out")?;
        let prices = out.prices.get(worker).ok_or("no price")?;
        let market = Books::market(out.plan.template().coinbase_value, good.network_work());
        self.books.credit(place.key, good.work(), prices, &market)?;
        if good.is_block() {
            let solution = Solution {
                extranonce1: place.desk.space().as_slice().to_vec(),
                extranonce2: share.extranonce.to_be_bytes()[8 - usize::from(EXTRANONCE_SIZE)..]
                    .to_vec(),
                version: share.version,
                time: share.time,
                nonce: share.nonce,
            };
            // The whole block, put together from what was hashed: it meets its target, or this ends.
            let block = out.plan.solve(&solution)?;
            let reward = out.plan.template().coinbase_value;
            self.books.block(block.block_hash().to_byte_array(), &market)?;
            self.blocks.push(block.block_hash());
            self.rewards += reward.to_sat() * 1_000;
            self.round = 0;
            self.leave_tip(block.block_hash(), now)?;
        }
        Ok(Ok(good))
    }

    fn leave_tip(&mut self, tip: BlockHash, now: UtcSeconds) -> Result<(), Error> {
        let height = u32::try_from(self.blocks.len())?;
        self.plan = Arc::new(plan(tip, height, now, &mut self.dice)?);
        for place in &mut self.places {
            place.desk.new_tip(tip.to_byte_array(), now)?;
        }
        Ok(())
    }

    /// The work of a block.
    pub(crate) fn network_work() -> Result<Work, Error> {
        Ok(Target::from_compact(NETWORK_BITS)?.work())
    }
}

/// The next block: a subsidy and what its payments pay.
fn plan(tip: BlockHash, height: u32, now: UtcSeconds, dice: &mut Dice) -> Result<BlockPlan, Error> {
    let value = Sat::new(SUBSIDY + dice.between(0, 400_000))?;
    let bits = CompactTarget::from_consensus(NETWORK_BITS);
    let height = Height::new(4_000_000 + height)?;
    let mut template = Template::empty(tip, height, bits, now, value);
    template.min_time = UtcSeconds::new(now.to_u64() - 600)?;
    let to_us = ScriptBuf::from_bytes([&[0x51, 0x20][..], &[7; 32]].concat());
    let mut layout = Layout::new(to_us);
    layout.extranonce1_size = usize::from(SPACE_SIZE);
    layout.extranonce2_size = usize::from(EXTRANONCE_SIZE);
    layout.tag = b"/millstream pool/".to_vec();
    Ok(BlockPlan::new(template, &layout)?)
}
