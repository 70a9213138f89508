//! A naive verifier, by other crates' hashes, against the desk on any story; and many against one.

use std::collections::BTreeSet;

use bitcoin::hashes::{Hash, sha256d};
use proptest::prelude::*;

use super::*;
use crate::sha256::{Engine, Kernel};

const SPACE: [u8; 4] = [0, 0, 0, 1];

#[derive(Debug, Clone, Copy)]
enum Deed {
    /// Whether with a coinbase; the root or the template's number; bits of work; the mask.
    Assign {
        rolled: bool,
        root: u8,
        bits: u8,
        mask: u32,
    },
    NewTip,
    Wait(u32),
    Share(Share),
    /// The last share once more.
    Repeat,
}

/// What the model knows of a job.
struct Known {
    rolled: bool,
    root: u8,
    bits: u8,
    mask: u32,
    tip: u8,
}

/// Keeps everything, looks through everything, and never forgets.
struct Model {
    policy: Policy,
    jobs: Vec<Known>,
    tip: u8,
    since: u32,
    now: u32,
    counted: Vec<BTreeSet<[u8; 80]>>,
    tokens: u32,
}

/// The hashes that a good share is worth, and whether it is a block.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Worth(u128, bool);

/// The answers by name.
fn named(answer: Result<Good, Refused>) -> Result<Worth, &'static str> {
    answer.map(|good| Worth(good.work().hashes(), good.is_block())).map_err(|refused| match refused
    {
        Refused::UnknownJob { .. } => "unknown job",
        Refused::Stale { .. } => "stale",
        Refused::BadVersion { .. } => "version",
        Refused::BadTime { .. } => "time",
        Refused::NotYourSpace { .. } => "space",
        Refused::OverBudget { .. } => "budget",
        Refused::Low { .. } => "low",
        Refused::Duplicate { .. } => "duplicate",
    })
}

/// The parts that [`made`] and the model agree on.
fn root_of(known: &Known, extranonce: u64) -> [u8; 32] {
    if !known.rolled {
        return [known.root; 32];
    }
    let extranonce = u16::try_from(extranonce).unwrap().to_be_bytes();
    let text = [&[known.root; 70][..], &SPACE, &extranonce, &[2; 50]].concat();
    let leaf = sha256d::Hash::hash(&text).to_byte_array();
    sha256d::Hash::hash(&[leaf, [7; 32]].concat()).to_byte_array()
}

fn made(known: &Known) -> Arc<PoolJob> {
    let head = Head { version_mask: known.mask, ..head(known.tip) };
    let coinbase = Coinbase {
        prefix: &[known.root; 70],
        suffix: &[2; 50],
        space_size: 4,
        extranonce_size: 2,
        branches: &[[7; 32]],
    };
    Arc::new(if known.rolled {
        PoolJob::with_coinbase(head, &coinbase).unwrap()
    } else {
        PoolJob::header_only(head, [known.root; 32]).unwrap()
    })
}

impl Model {
    fn take(&mut self, share: &Share) -> Result<Worth, &'static str> {
        let at = usize::try_from(share.job.to_u32()).unwrap();
        let known = at.checked_sub(1).and_then(|at| self.jobs.get(at)).ok_or("unknown job")?;
        let passed = self.now - self.since;
        let before = known.tip != self.tip;
        let lasts = match self.policy.grace {
            Grace::None => None,
            Grace::Unpaid(lasts) | Grace::Paid(lasts) => Some(lasts.to_u64()),
        };
        if before && (known.tip + 1 != self.tip || lasts.is_none_or(|lasts| lasts < passed.into()))
        {
            return Err("stale");
        }
        if (0..32)
            .any(|bit| (share.version ^ VERSION) >> bit & 1 == 1 && known.mask >> bit & 1 == 0)
        {
            return Err("version");
        }
        if !(START - 100..=START + ROLL).contains(&share.time)
            || u64::from(share.time) > u64::from(self.now) + self.policy.ahead_max.to_u64()
        {
            return Err("time");
        }
        if share.extranonce > if known.rolled { 0xffff } else { 0 } {
            return Err("space");
        }
        let counted = &mut self.counted[usize::from(known.tip)];
        let room = counted.len() < usize::try_from(self.policy.shares_per_tip).unwrap();
        let over = !room || self.tokens == 0;
        let header = [
            &share.version.to_le_bytes()[..],
            &[known.tip; 32],
            &root_of(known, share.extranonce),
            &share.time.to_le_bytes(),
            &BITS.to_le_bytes(),
            &share.nonce.to_le_bytes(),
        ]
        .concat();
        let mut hash = sha256d::Hash::hash(&header).to_byte_array();
        hash.reverse();
        let zeros = |bits: u8| (0..bits).all(|bit| hash[usize::from(bit / 8)] << (bit % 8) < 128);
        // The network's target is 0xffff x 2^224: sixteen zeros, and not sixteen ones behind them.
        let block = zeros(16) && hash[2..4] != [0xff; 2];
        if over {
            let header = header.try_into().unwrap();
            return match (block, counted.contains(&header)) {
                (false, _) => Err("budget"),
                (true, true) => Err("duplicate"),
                (true, false) => {
                    if room {
                        counted.insert(header);
                    }
                    Ok(Worth(0, true))
                }
            };
        }
        if !zeros(known.bits) {
            return Err("low");
        }
        if !counted.insert(header.try_into().unwrap()) {
            return Err("duplicate");
        }
        self.tokens -= 1;
        let unpaid = before && matches!(self.policy.grace, Grace::Unpaid(_));
        Ok(Worth(if unpaid { 0 } else { 1 << known.bits }, block))
    }
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let masks = prop_oneof![Just(0), Just(0x2000), Just(Head::MASK_MAX)];
    let assign = (any::<bool>(), 0..3_u8, 0..4_u8, masks)
        .prop_map(|(rolled, root, bits, mask)| Deed::Assign { rolled, root, bits, mask });
    let versions = prop_oneof![
        8 => Just(VERSION),
        2 => Just(VERSION ^ 0x2000),
        1 => Just(VERSION ^ 1),
    ];
    let times = prop_oneof![
        8 => Just(START),
        2 => START - 100..=START + ROLL,
        1 => prop_oneof![Just(START - 101), Just(START + ROLL + 1), any::<u32>()],
    ];
    let extranonces = prop_oneof![8 => Just(0_u64), 2 => 1..=0xffff_u64, 1 => any::<u64>()];
    let share = (0..8_u32, extranonces, versions, times, 0..24_u32).prop_map(
        |(job, extranonce, version, time, nonce)| {
            Deed::Share(Share { job: id(job), extranonce, version, time, nonce })
        },
    );
    let deed = prop_oneof![
        3 => assign,
        1 => Just(Deed::NewTip),
        1 => (0..4_u32).prop_map(Deed::Wait),
        20 => share,
        3 => Just(Deed::Repeat),
    ];
    prop::collection::vec(deed, 1..160)
}

fn policies() -> impl Strategy<Value = Policy> {
    let graces = prop_oneof![
        Just(Grace::None),
        (0..4_u64).prop_map(|lasts| Grace::Unpaid(seconds(lasts))),
        (0..4_u64).prop_map(|lasts| Grace::Paid(seconds(lasts))),
    ];
    (1..40_u32, 0..8_u32, 1..60_u32, graces, 0..700_u64).prop_map(
        |(shares_per_tip, shares_per_second, burst, grace, ahead)| Policy {
            shares_per_tip,
            shares_per_second,
            burst,
            grace,
            ahead_max: seconds(ahead),
        },
    )
}

/// Plays the story on the model and on two desks, one of which takes runs of shares at once.
fn play(deeds: &[Deed], policy: Policy, engine: Engine) -> [u32; 2] {
    let space = Space::new(&SPACE).unwrap();
    let mut desk = Desk::new(space, policy, [0; 32], utc(START)).with_engine(engine);
    let mut many = desk.clone();
    let mut model = Model {
        policy,
        jobs: Vec::new(),
        tip: 0,
        since: START,
        now: START,
        counted: alloc::vec![BTreeSet::new(); 200],
        tokens: policy.burst,
    };
    let mut run: Vec<(Share, Result<Worth, &'static str>)> = Vec::new();
    let (mut last, mut ends) = (share(0, 0), [0, 0]);
    for deed in deeds.iter().copied().chain([Deed::NewTip]) {
        if let Deed::Share(_) | Deed::Repeat = deed {
            if let Deed::Share(share) = deed {
                last = share;
            }
            let expected = model.take(&last);
            let answer = named(desk.check(utc(model.now), &last));
            assert_eq!(named(desk.take(utc(model.now), &last)), answer);
            assert_eq!(answer, expected, "{last:?}");
            ends[usize::from(answer.is_err())] += 1;
            run.push((last, answer));
            continue;
        }
        let mut answers = run.iter();
        let shares: Vec<Share> = run.iter().map(|(share, _)| *share).collect();
        many.check_many(utc(model.now), &shares, &mut |share, answer| {
            assert_eq!((*share, named(answer)), *answers.next().unwrap());
        });
        assert!(answers.next().is_none());
        run.clear();
        assert_eq!(desk, many);
        match deed {
            Deed::Assign { rolled, root, bits: zeros, mask } => {
                let tip = model.tip;
                model.jobs.push(Known { rolled, root, bits: zeros, mask, tip });
                let (job, number) = (made(model.jobs.last().unwrap()), model.jobs.len());
                let number = id(u32::try_from(number).unwrap());
                desk.assign(number, job.clone(), bits(zeros)).unwrap();
                many.assign(number, job, bits(zeros)).unwrap();
            }
            Deed::NewTip => {
                model.tip += 1;
                model.since = model.now;
                desk.new_tip([model.tip; 32], utc(model.now)).unwrap();
                many.new_tip([model.tip; 32], utc(model.now)).unwrap();
            }
            Deed::Wait(seconds) => {
                model.now += seconds;
                let more = policy.shares_per_second * seconds;
                model.tokens = (model.tokens + more).min(policy.burst);
            }
            Deed::Share(_) | Deed::Repeat => {}
        }
    }
    ends
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_story_has_the_answers_of_the_model_alone_and_at_once(
        deeds in deeds(),
        policy in policies(),
        kernel in 0..Kernel::ALL.len(),
    ) {
        let engine = Engine::of(Kernel::ALL[kernel]).unwrap_or_default();
        play(&deeds, policy, engine);
    }
}

/// Many shares of all kinds, so that lots are full; on each kernel.
#[test]
fn lots_of_any_length_have_the_answers_of_single_shares_on_every_kernel() {
    let mut good = 0;
    for engine in Kernel::ALL.into_iter().filter_map(Engine::of) {
        for count in [1, 2, 31, 32, 33, 64, 65, 200] {
            let mut deeds = alloc::vec![
                Deed::Assign { rolled: false, root: 1, bits: 1, mask: Head::MASK_MAX },
                Deed::Assign { rolled: true, root: 1, bits: 0, mask: 0 },
                Deed::Assign { rolled: false, root: 2, bits: 3, mask: 0 },
            ];
            deeds.extend((0..count).map(|n| {
                let version = VERSION ^ (n % 3) << 13;
                let job = id(n % 4);
                Deed::Share(Share { job, extranonce: 0, version, time: START, nonce: n / 2 })
            }));
            let limits = Policy { shares_per_tip: 60, burst: 80, ..policy() };
            let [ok, _] = play(&deeds, limits, engine);
            good += ok;
        }
    }
    assert!(good > 100, "{good}");
}
