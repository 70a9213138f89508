//! What a nonce costs each kernel: `cargo bench --bench mine`.
//!
//! Each kernel that this processor has, alone and on four versions of a header at once, and in
//! steps of the least size, where what is computed once for all nonces counts. Times an element are
//! nanoseconds a hash.

use core::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millstream::miner::kernel::{Kernel, Kind};
use millstream::sha256::State;
use millstream::units::{Target, WorkBits};

const TAIL: [u32; 3] = [1, 2, 3];

/// The kernels of this processor; names the ones that it has not.
fn kernels() -> Vec<Kernel> {
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.available()) {
        println!("{}: n/a, this processor has it not", kind.name());
    }
    Kernel::all().collect()
}

fn scans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("nonce");
    let target = Target::of_work_bits(WorkBits::new(10).unwrap());
    for count in [256_u32, 65_536] {
        group.throughput(Throughput::Elements(count.into()));
        for kernel in kernels() {
            let (mut first, mut hits) = (0_u32, 0_u32);
            group.bench_function(BenchmarkId::new(kernel.name(), count), |bencher| {
                bencher.iter(|| {
                    let midstate = black_box(&State::INITIAL);
                    kernel.scan(midstate, &TAIL, first, count, &target, &mut |_, _| hits += 1);
                    first = first.wrapping_add(count);
                });
            });
            // One of 1,024 hits: none at all would mean that nothing was hashed.
            assert!(hits > 0, "{}", kernel.name());
        }
    }
    group.finish();
}

fn versions(criterion: &mut Criterion) {
    const COUNT: u32 = 16_384;
    let mut group = criterion.benchmark_group("four versions");
    let target = Target::of_work_bits(WorkBits::new(10).unwrap());
    let states = [1, 2, 3, 4].map(|byte| State::INITIAL.compressed(&[byte; 64]));
    group.throughput(Throughput::Elements((COUNT * 4).into()));
    for kernel in kernels() {
        let (mut first, mut hits) = (0_u32, [0_u32; 4]);
        group.bench_function(kernel.name(), |bencher| {
            bencher.iter(|| {
                let states = black_box(&states);
                kernel.scan_versions(states, &TAIL, first, COUNT, &target, &mut |version, _, _| {
                    hits[version] += 1;
                });
                first = first.wrapping_add(COUNT);
            });
        });
        assert!(hits.iter().all(|hits| *hits > 0), "{}", kernel.name());
    }
    group.finish();
}

criterion_group!(benches, scans, versions);
criterion_main!(benches);
