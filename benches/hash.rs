//! What a compression of SHA-256 and a leaf of a tree cost: `cargo bench --bench hash`.
//!
//! Each kernel that this processor has, on one lane and on many, beside `sha2`'s compression; then
//! trees of one-block leaves by each kernel. Times an element are nanoseconds a compression, and a
//! leaf; three compressions are a leaf's own work.

use core::hint::black_box;
use core::num::NonZeroUsize;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millstream::merkle::{Builder, Shape};
use millstream::sha256::{Engine, Kernel, State};
use millstream::units::Msat;
use sha2::digest::generic_array::GenericArray;

/// Enough for every kernel's lanes many times, and within the first cache.
const LANES: usize = 256;

/// The engines of this processor; names the kernels that it has not.
fn engines() -> Vec<Engine> {
    let (found, missing): (Vec<_>, Vec<_>) =
        Kernel::ALL.into_iter().partition(|kernel| kernel.available());
    for kernel in missing {
        println!("{}: n/a, this processor has it not", kernel.name());
    }
    found.into_iter().filter_map(Engine::of).collect()
}

fn compressions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compression");
    for lanes in [1, 4, LANES] {
        let blocks: Vec<[u8; 64]> = vec![[0x5a; 64]; lanes];
        group.throughput(Throughput::Elements(lanes as u64));
        for engine in engines() {
            let id = BenchmarkId::new(engine.kernel().name(), lanes);
            let mut states = vec![State::INITIAL; lanes];
            group.bench_function(id, |bencher| {
                bencher.iter(|| engine.absorb(&mut states, black_box(&blocks), NonZeroUsize::MIN));
            });
            // The first state moved on from where all began, or nothing was measured.
            assert!(states[0] != State::INITIAL);
        }
        let blocks: Vec<_> = blocks.iter().map(|block| GenericArray::from(*block)).collect();
        let mut states = vec![State::INITIAL.words(); lanes];
        group.bench_function(BenchmarkId::new("sha2", lanes), |bencher| {
            bencher.iter(|| {
                for (state, block) in states.iter_mut().zip(black_box(&blocks)) {
                    sha2::compress256(state, core::slice::from_ref(block));
                }
            });
        });
        assert!(states[0] != State::INITIAL.words());
    }
    group.finish();
}

/// Leaves of 42 bytes, so that each costs one compression and its share of nodes two.
fn trees(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("leaf");
    let sum = Msat::new(1_000).unwrap();
    for leaves in [1_000_u32, 100_000] {
        let shape = Shape::new(leaves, 1).unwrap();
        group.throughput(Throughput::Elements(u64::from(leaves)));
        for engine in engines() {
            let id = BenchmarkId::new(engine.kernel().name(), leaves);
            let mut builder = Builder::new(engine);
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    for leaf in 0..leaves {
                        let mut message = [0; 42];
                        message[..4].copy_from_slice(&leaf.to_be_bytes());
                        builder.push(black_box(&message), sum).unwrap();
                    }
                    let root = builder.take_root(shape).unwrap();
                    assert_eq!(root.total.to_msat(), u64::from(leaves) * 1_000);
                    root
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, compressions, trees);
criterion_main!(benches);
