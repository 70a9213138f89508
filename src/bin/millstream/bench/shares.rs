//! What a pool pays for the check of a share, beside the compressions that no check can do without.
//!
//! ```text
//!   tip -> jobs -> shares of 2^0 hashes -> take, or check_many -> all of them good
//! ```
//!
//! Every nonce is good at a target of one hash, so that nothing has to be mined, and each share
//! goes through every check there is: a look-up of its job, the windows, the hash, the target, the
//! network's target, the set of what was counted, the count. The bare side hashes headers of the
//! same number one after the other on one lane, and nothing else. What is mined for is in
//! [`tiny_rows`].

use core::hint::black_box;
use std::error::Error;
use std::sync::Arc;

use millstream::sha256::{Engine, State};
use millstream::shares::{Coinbase, Desk, Good, Head, Policy, PoolJob, Refused, Share, Space};
use millstream::units::{JobId, Seconds, Target, UtcSeconds, Work, WorkBits};

use super::Args;
use super::batch::check_count;
use super::clock::{Clock, Compared, Plan, compare};
use super::row::{Goal, Row};

/// What this file gives.
pub(crate) const NAMES: &[&str] = &[
    "share_check_ratio",
    "share_check_unrolled_ratio",
    "share_check_many_ratio",
    "shares_checked_per_s",
    "share_check_full_ratio",
];

/// What it gives beside them, where there is time.
pub(crate) const LONG_NAMES: &[&str] = &["tiny_shares_hashes"];

/// Shares of a tip: as many as the policy of a worker at a share a minute allows.
const SHARES: u32 = 1_024;
/// Tips of a lap.
const TIPS: u32 = 8;
/// Jobs of a tip, which the shares go through in turns.
const JOBS: u32 = 4;
const START: u32 = 1_800_000_000;
const VERSION: u32 = 0x2000_0000;
const BRANCHES: usize = 12;
/// Blocks of the hashes of an 80-byte header: three compressions.
const OF_HEADER: &[usize] = &[2, 1];
/// Of a coinbase of 250 bytes, twelve nodes above it and a header: 45 compressions.
const OF_ALL: &[usize] = &[
    5, 1, //
    2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, //
    2, 1,
];

/// How a job's root comes about.
#[derive(Clone, Copy)]
enum Kind {
    /// Fixed, and versions as the job says.
    Fixed,
    /// Fixed, and every version rolled: no block is the same for two shares of two versions.
    FixedRolled,
    /// From a coinbase of 250 bytes and twelve branches.
    Coinbase,
}

/// How the shares come.
#[derive(Clone, Copy)]
enum Way {
    OneByOne,
    Many,
}

/// Measures all of them.
pub(crate) fn rows(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let name = Engine::best().kernel().name();
    let header = |kind, way| ratio(args, kind, way, OF_HEADER);
    let rolled = header(Kind::FixedRolled, Way::OneByOne)?;
    let unrolled = header(Kind::Fixed, Way::OneByOne)?;
    let many = header(Kind::FixedRolled, Way::Many)?;
    let full = ratio(args, Kind::Coinbase, Way::OneByOne, OF_ALL)?;
    let shares = f64::from(SHARES * TIPS);
    let each = |seconds: f64| seconds * 1e9 / shares;
    let row = |name, cost: &Compared, what: &'static str, note: String| {
        let note = format!("{:.1} ns a share; {note}", each(cost.ours));
        Row::new(name, cost.ratio, "x").against(what, each(cost.bare)).note(note)
    };
    let three = "three compressions on one lane, ns";
    let rate = Row::new("shares_checked_per_s", shares / many.ours, "1/s");
    Ok(vec![
        row(NAMES[0], &rolled, three, format!("{name}; one by one, every version rolled"))
            .goal(Goal::AtMost(1.8)),
        row(NAMES[1], &unrolled, three, "the first block is the same, two compressions".into()),
        row(NAMES[2], &many, three, format!("{name}; many at once, every version rolled")),
        rate.against("three compressions on one lane, 1/s", shares / many.bare)
            .note("many at once, every version rolled"),
        row(
            NAMES[4],
            &full,
            "45 compressions on one lane, ns",
            "a coinbase of 250 bytes, 12 branches, the header".into(),
        )
        .goal(Goal::AtMost(1.3)),
    ])
}

/// Laps of shares against as many bare compressions on the lane.
fn ratio(args: &Args, kind: Kind, way: Way, hashes: &[usize]) -> Result<Compared, Box<dyn Error>> {
    let engine = Engine::best();
    let mut pool = Pool::new(kind)?;
    let blocks = [[0x5a; 64]; 8];
    let plan = Plan { clock: Clock::Cpu, rounds: args.rounds, turns: 4, operations: 1 };
    let mut tips = 0_u64;
    let cost = compare(
        plan,
        &mut || {
            tips += u64::from(TIPS);
            (0..TIPS).try_for_each(|_| pool.tip(way))
        },
        &mut || {
            for _ in 0..SHARES * TIPS {
                // Each waits for the one before, as those of one share do.
                let mut state = State::INITIAL;
                for count in hashes {
                    let message = blocks.get(..*count).unwrap_or_default();
                    engine.absorb_one(&mut state, black_box(message));
                }
                black_box(state);
            }
            Ok(())
        },
    )?;
    let submitted = tips * u64::from(SHARES);
    check_count("good shares", pool.good, submitted)?;
    check_count("hashes credited", u64::try_from(pool.work.hashes())?, submitted)?;
    Ok(cost)
}

/// A pool of one worker, tip after tip.
struct Pool {
    kind: Kind,
    desk: Desk,
    tips: u64,
    job: u32,
    shares: Vec<Share>,
    good: u64,
    work: Work,
}

impl Pool {
    fn new(kind: Kind) -> Result<Self, Box<dyn Error>> {
        let policy = Policy {
            shares_per_tip: SHARES,
            shares_per_second: u32::MAX,
            burst: u32::MAX,
            ..Policy::for_aim(Seconds::new(1)?)
        };
        let desk = Desk::new(Space::numbered(1, 4)?, policy, [0; 32], UtcSeconds::MIN);
        let share = |nonce| {
            let (extranonce, rolled) = match kind {
                Kind::Fixed => (0, 0),
                Kind::FixedRolled => (0, 1 + nonce % 0xfff),
                Kind::Coinbase => (u64::from(nonce), 0),
            };
            // The jobs of the first tip.
            let (job, version) = (JobId::new(1 + nonce % JOBS)?, VERSION ^ rolled << 13);
            Ok(Share { job, extranonce, version, time: START, nonce })
        };
        let shares = (0..SHARES).map(share).collect::<Result<_, Box<dyn Error>>>()?;
        Ok(Self { kind, desk, tips: 0, job: 0, shares, good: 0, work: Work::ZERO })
    }

    /// A tip with its jobs, and all shares that may be counted on it.
    fn tip(&mut self, way: Way) -> Result<(), Box<dyn Error>> {
        let now = UtcSeconds::new(START.into())?;
        self.tips += 1;
        let mut previous = [0; 32];
        previous[..8].copy_from_slice(&self.tips.to_le_bytes());
        self.desk.new_tip(previous, now)?;
        for _ in 0..JOBS {
            self.job += 1;
            let job = job(self.kind, previous, self.job)?;
            let every = Target::of_work_bits(WorkBits::MIN);
            self.desk.assign(JobId::new(self.job)?, Arc::new(job), every)?;
        }
        let Self { desk, shares, good, work, .. } = self;
        let mut count = |answer: Result<Good, Refused>| {
            if let Ok(share) = answer {
                *good += 1;
                *work = work.saturating_add(share.work());
            }
        };
        match way {
            Way::OneByOne => shares.iter().for_each(|share| count(desk.take(now, share))),
            Way::Many => desk.check_many(now, shares, &mut |_, answer| count(answer)),
        }
        for share in shares {
            share.job = JobId::new(share.job.to_u32() + JOBS)?;
        }
        Ok(())
    }
}

fn job(kind: Kind, previous: [u8; 32], number: u32) -> Result<PoolJob, Box<dyn Error>> {
    let head = Head {
        version: VERSION,
        version_mask: Head::MASK_MAX,
        previous,
        bits: 0x1702_0a8f,
        min_time: START - 3_600,
        start: START,
        roll_max: Seconds::new(600)?,
    };
    let mut root = [0; 32];
    root[..4].copy_from_slice(&number.to_le_bytes());
    Ok(match kind {
        Kind::Fixed | Kind::FixedRolled => PoolJob::header_only(head, root)?,
        Kind::Coinbase => {
            // 42 bytes before the script, its height and the pool's name; two outputs behind it.
            let (prefix, suffix, branches) = ([1; 90], [2; 152], [root; BRANCHES]);
            let coinbase = Coinbase {
                prefix: &prefix,
                suffix: &suffix,
                space_size: 4,
                extranonce_size: 4,
                branches: &branches,
            };
            PoolJob::with_coinbase(head, &coinbase)?
        }
    })
}

/// Shares of the smallest devices, really mined: 500 at 2^19 hashes, over a change of job, and 500
/// at 2^20, each credited its target's work and nothing lost. Some 800 million hashes.
pub(crate) fn tiny_rows(_: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    const EACH: u32 = 250;
    let now = UtcSeconds::new(START.into())?;
    let policy = Policy { burst: u32::MAX, ..Policy::for_aim(Seconds::new(1)?) };
    let mut desk = Desk::new(Space::numbered(1, 4)?, policy, [7; 32], now);
    let (mut work, mut good, mut want) = (Work::ZERO, 0, Work::ZERO);
    for (number, bits) in [(1, 19), (2, 19), (3, 20), (4, 20)] {
        let (id, bits) = (JobId::new(number)?, WorkBits::new(bits)?);
        let target = Target::of_work_bits(bits);
        desk.assign(id, Arc::new(job(Kind::Fixed, [7; 32], number)?), target)?;
        let from = Share { job: id, extranonce: 0, version: VERSION, time: START, nonce: 0 };
        let found = mine(&desk, now, from, EACH)?;
        for share in &found {
            let share = desk.take(now, share)?;
            work = work.add(share.work())?;
            good += 1;
            want = want.add(Work::of_bits(bits))?;
        }
        for share in &found {
            if !matches!(desk.take(now, share), Err(Refused::Duplicate { .. })) {
                return Err("a share counted twice".into());
            }
        }
    }
    check_count("tiny shares", good, 4 * u64::from(EACH))?;
    let credited = f64::from(u32::try_from(work.hashes())?);
    Ok(vec![
        Row::new(LONG_NAMES[0], credited, "hashes")
            .goal(Goal::Exactly(f64::from(u32::try_from(want.hashes())?)))
            .against("the work of 500 shares at 2^19 and 500 at 2^20", 786_432_000.0)
            .note("difficulty 0.00012 and 0.00024, mined, over changes of target and job"),
    ])
}

/// The first `count` shares of a job that the desk finds good.
fn mine(
    desk: &Desk,
    now: UtcSeconds,
    from: Share,
    count: u32,
) -> Result<Vec<Share>, Box<dyn Error>> {
    let mut found = Vec::new();
    let mut share = from;
    while found.len() < usize::try_from(count)? {
        if desk.check(now, &share).is_ok() {
            found.push(share);
        }
        share.nonce = share.nonce.checked_add(1).ok_or("no nonces are left")?;
    }
    Ok(found)
}
