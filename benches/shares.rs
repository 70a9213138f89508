//! What a check of a share costs: `cargo bench --bench shares`.
//!
//! Every nonce is good at a target of one hash, so that each share goes through all checks; shares
//! with rolled versions cost three compressions, others two, and roots of coinbases some forty
//! more. Beside them one compression, of which those are made.

use core::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use millstream::sha256::{Engine, State};
use millstream::shares::{Coinbase, Desk, Head, Policy, PoolJob, Share, Space};
use millstream::units::{JobId, Seconds, Target, UtcSeconds, WorkBits};

const SHARES: u32 = 1_024;
const START: u32 = 1_800_000_000;
const VERSION: u32 = 0x2000_0000;

fn head() -> Head {
    Head {
        version: VERSION,
        version_mask: Head::MASK_MAX,
        previous: [7; 32],
        bits: 0x1702_0a8f,
        min_time: START - 3_600,
        start: START,
        roll_max: Seconds::new(600).unwrap(),
    }
}

fn desk(job: PoolJob) -> Desk {
    let policy = Policy { burst: u32::MAX, ..Policy::for_aim(Seconds::new(1).unwrap()) };
    let now = UtcSeconds::new(START.into()).unwrap();
    let mut desk = Desk::new(Space::numbered(1, 4).unwrap(), policy, [7; 32], now);
    let every = Target::of_work_bits(WorkBits::MIN);
    desk.assign(JobId::new(1).unwrap(), Arc::new(job), every).unwrap();
    desk
}

fn checks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("share");
    let now = UtcSeconds::new(START.into()).unwrap();
    let coinbase = Coinbase {
        prefix: &[1; 90],
        suffix: &[2; 152],
        space_size: 4,
        extranonce_size: 4,
        branches: &[[3; 32]; 12],
    };
    let header_only = || PoolJob::header_only(head(), [9; 32]).unwrap();
    let with_coinbase = PoolJob::with_coinbase(head(), &coinbase).unwrap();
    group.throughput(Throughput::Elements(SHARES.into()));
    for (name, job, rolled) in [
        ("header only", header_only(), 0),
        ("header only, rolled", header_only(), 0x2000),
        ("coinbase", with_coinbase, 0),
    ] {
        let fresh = desk(job);
        let share = |nonce| Share {
            job: JobId::new(1).unwrap(),
            extranonce: 0,
            version: VERSION ^ rolled,
            time: START,
            nonce,
        };
        let shares: Vec<Share> = (0..SHARES).map(share).collect();
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || fresh.clone(),
                |desk| {
                    let good = shares.iter().filter(|share| desk.take(now, share).is_ok());
                    assert_eq!(good.count(), shares.len());
                },
                BatchSize::LargeInput,
            );
        });
        group.bench_function(format!("{name}, many"), |bencher| {
            bencher.iter_batched_ref(
                || fresh.clone(),
                |desk| {
                    let mut good = 0;
                    desk.check_many(now, &shares, &mut |_, answer| {
                        good += u32::from(answer.is_ok());
                    });
                    assert_eq!(good, SHARES);
                },
                BatchSize::LargeInput,
            );
        });
    }
    let engine = Engine::best();
    group.bench_function("one compression", |bencher| {
        let mut state = State::INITIAL;
        bencher.iter(|| {
            for _ in 0..SHARES {
                engine.absorb_one(&mut state, black_box(&[[0x5a; 64]]));
            }
            state
        });
    });
    group.finish();
}

criterion_group!(benches, checks);
criterion_main!(benches);
