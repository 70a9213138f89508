//! A worker's desk against any story of jobs, tips, waits and shares.

use std::collections::BTreeSet;
use std::sync::Arc;

use bitcoin::hashes::{Hash, sha256d};

use crate::shares::{Coinbase, Desk, Good, Grace, Head, Policy, PoolJob, Refused, Share, Space};
use crate::units::{JobId, Seconds, Target, UtcSeconds, WorkBits};

const START: u32 = 1_800_000_000;
const VERSION: u32 = 0x2000_0000;

/// Plays `data` on a desk, and each run of shares at once on a second one.
///
/// | bytes | what |
/// | --- | --- |
/// | 3 | shares a tip, burst, and grace (2 bits of kind, the rest seconds) |
/// | 1 | deed: its lowest three bits say which |
/// | - | 0: a job; the rest are its root (1 bit), whether it has a coinbase (1), bits of work (3) |
/// | - | 1: a new tip; the rest is its number, left ones among them |
/// | - | 2: a wait of as many seconds |
/// | 4 | 3: a share: job, extranonce, nonce, and version (4 bits) and time (4 bits) |
/// | 24 | 4 to 7: any share |
///
/// # Panics
/// If a share is good that a naive verifier refuses, counts twice or is worth another target; if a
/// refused one leaves a trace; or if many at once have other answers than one by one.
pub fn share_verify(data: &[u8]) {
    let Some(([per_tip, burst, grace], mut rest)) = data.split_first_chunk::<3>() else { return };
    let Some(mut story) = Story::new(*per_tip, *burst, *grace) else { return };
    while let Some((deed, after)) = rest.split_first() {
        rest = after;
        let more = deed >> 3;
        let share = match deed & 7 {
            0 => {
                story.assign(more);
                continue;
            }
            1 => {
                story.new_tip(more);
                continue;
            }
            2 => {
                story.wait(more);
                continue;
            }
            3 => {
                let Some((bytes, after)) = rest.split_first_chunk::<4>() else { break };
                rest = after;
                Story::near(*bytes)
            }
            _ => {
                let Some((bytes, after)) = rest.split_first_chunk() else { break };
                rest = after;
                Share::decode(bytes)
            }
        };
        assert_eq!(Share::decode(&share.encode()), share);
        story.show(share);
    }
    story.catch_up();
}

struct Story {
    desk: Desk,
    /// Takes shares in runs.
    many: Desk,
    run: Vec<(Share, Result<Good, Refused>)>,
    now: UtcSeconds,
    tip: u8,
    jobs: Vec<Known>,
    counted: BTreeSet<[u8; 80]>,
}

/// A job as the naive verifier has it.
struct Known {
    rolled: bool,
    root: u8,
    bits: u8,
    tip: u8,
}

impl Story {
    fn new(per_tip: u8, burst: u8, grace: u8) -> Option<Self> {
        let lasts = Seconds::new((grace >> 2).into()).ok()?;
        let policy = Policy {
            shares_per_tip: per_tip.into(),
            shares_per_second: 2,
            burst: burst.into(),
            grace: match grace & 3 {
                0 => Grace::Unpaid(lasts),
                1 => Grace::Paid(lasts),
                _ => Grace::None,
            },
            ..Policy::for_aim(Seconds::MIN)
        };
        let now = UtcSeconds::new(START.into()).ok()?;
        let desk = Desk::new(Space::new(&[5; 4]).ok()?, policy, [0; 32], now);
        let (many, run, jobs) = (desk.clone(), Vec::new(), Vec::new());
        Some(Self { desk, many, run, now, tip: 0, jobs, counted: BTreeSet::new() })
    }

    fn assign(&mut self, more: u8) {
        self.catch_up();
        let known = Known { rolled: more & 2 != 0, root: more & 1, bits: more >> 2, tip: self.tip };
        let number = u32::try_from(self.jobs.len()).ok().and_then(|id| JobId::new(id).ok());
        let (Some(id), Some(job), Ok(bits)) = (number, known.job(), WorkBits::new(known.bits))
        else {
            return;
        };
        let target = Target::of_work_bits(bits);
        assert_eq!(self.desk.assign(id, job.clone(), target), Ok(target));
        assert_eq!(self.many.assign(id, job, target), Ok(target));
        self.jobs.push(known);
    }

    fn new_tip(&mut self, number: u8) {
        self.catch_up();
        let before = self.desk.clone();
        let gone = self.desk.new_tip([number; 32], self.now);
        assert_eq!(self.many.new_tip([number; 32], self.now), gone);
        match gone {
            Ok(()) => self.tip = number,
            Err(_) => assert_eq!(self.desk, before),
        }
    }

    fn wait(&mut self, seconds: u8) {
        self.catch_up();
        if let Ok(seconds) = Seconds::new(seconds.into()) {
            self.now = self.now.saturating_after(seconds);
        }
    }

    /// A share that is not far from a right one.
    fn near([job, extranonce, nonce, rolled]: [u8; 4]) -> Share {
        Share {
            job: JobId::new(job.into()).unwrap_or(JobId::MAX),
            extranonce: extranonce.into(),
            version: VERSION ^ u32::from(rolled & 15) << 12,
            time: START.saturating_add(u32::from(rolled >> 4) * 60),
            nonce: nonce.into(),
        }
    }

    fn show(&mut self, share: Share) {
        let before = self.desk.clone();
        let answer = self.desk.check(self.now, &share);
        assert_eq!(self.desk.take(self.now, &share), answer);
        match answer {
            Ok(good) => self.believe(&share, &good),
            Err(_) => assert_eq!(self.desk, before, "a refused share left a trace"),
        }
        self.run.push((share, answer));
    }

    /// That a good share is one.
    fn believe(&mut self, share: &Share, good: &Good) {
        let known = usize::try_from(share.job.to_u32()).ok().and_then(|at| self.jobs.get(at));
        assert!(known.is_some(), "a share of no job");
        let Some(known) = known else { return };
        let header = known.header(share);
        assert_eq!(self.desk.header(good), Some(header));
        assert_eq!(good.hash(), &sha256d::Hash::hash(&header).to_byte_array());
        let target = WorkBits::new(known.bits).map(Target::of_work_bits);
        assert!(target.is_ok_and(|target| target.is_met_by(good.hash())));
        let worth = good.work().hashes();
        assert!(worth == 1 << known.bits || worth == 0 && known.tip != self.tip);
        // All tips are different here, so that no header is ever good again.
        assert!(self.counted.insert(header), "counted twice");
    }

    /// Shows the second desk what the first was shown.
    fn catch_up(&mut self) {
        let shares: Vec<Share> = self.run.iter().map(|(share, _)| *share).collect();
        let mut answers = self.run.drain(..);
        self.many.check_many(self.now, &shares, &mut |share, answer| {
            assert_eq!(answers.next(), Some((*share, answer)));
        });
        assert_eq!(answers.next(), None, "a share without an answer");
        drop(answers);
        assert_eq!(self.many, self.desk);
    }
}

impl Known {
    fn prefix(&self) -> [u8; 61] {
        [self.root; 61]
    }

    fn job(&self) -> Option<Arc<PoolJob>> {
        let head = Head {
            version: VERSION,
            version_mask: 0xe000,
            previous: [self.tip; 32],
            bits: 0x1b00_ffff,
            min_time: START,
            start: START,
            roll_max: Seconds::new(600).ok()?,
        };
        let coinbase = Coinbase {
            prefix: &self.prefix(),
            suffix: &[9; 70],
            space_size: 4,
            extranonce_size: 1,
            branches: &[[8; 32]],
        };
        let job = if self.rolled {
            PoolJob::with_coinbase(head, &coinbase)
        } else {
            PoolJob::header_only(head, [self.root; 32])
        };
        job.ok().map(Arc::new)
    }

    fn header(&self, share: &Share) -> [u8; 80] {
        let [.., extranonce] = share.extranonce.to_be_bytes();
        let root = if self.rolled {
            let text = [&self.prefix()[..], &[5; 4], &[extranonce], &[9; 70]].concat();
            let leaf = sha256d::Hash::hash(&text).to_byte_array();
            sha256d::Hash::hash(&[leaf, [8; 32]].concat()).to_byte_array()
        } else {
            [self.root; 32]
        };
        let parts = [
            &share.version.to_le_bytes()[..],
            &[self.tip; 32],
            &root,
            &share.time.to_le_bytes(),
            &0x1b00_ffff_u32.to_le_bytes(),
            &share.nonce.to_le_bytes(),
        ];
        let mut header = [0; 80];
        for (byte, from) in header.iter_mut().zip(parts.into_iter().flatten()) {
            *byte = *from;
        }
        header
    }
}
