//! What an item of a batch costs on each side: `cargo bench --bench batch`.
//!
//! `both_ends`: windows of 1,000, 10,000 and 100,000 items from the payer's first call to the
//! acknowledgement, with both roots, a signature, a verification and one synced record a window, one
//! and sixteen items a leaf, in the mixes of the fixture. Their bytes are printed first, with voucher
//! and framing. Then the parts of a window of 100,000: `push` is one call each on the payer's side
//! and the sealing, `check` all that the payee does, with a visit at each item; both have their half
//! of the hashing inside. `visit` is the decoding alone. Beside them a receipt, and the ticks of a
//! run. Times are wall time; `millstream bench` gives CPU time beside the bare hash.

#[path = "../src/bin/millstream/bench/windows.rs"]
mod windows;

use core::hint::black_box;

use bitcoin::Network;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millstream::batch::Batch;
use millstream::batch::item::LeafSize;
use millstream::batch::receipt::Receipt;
use millstream::keys::{Context, Entropy, Seed};
use windows::{Mix, Windows};

const WINDOW: u32 = 100_000;

const MIXES: [(&str, Mix); 4] = [
    ("constant", Mix::Constant),
    ("0-1000", Mix::To1000),
    ("0-1000000", Mix::To1000000),
    ("skewed", Mix::Skewed),
];

fn both_ends(criterion: &mut Criterion) {
    let scratch = tempfile::tempdir_in(".").unwrap();
    let mut channel = Windows::new(Some(scratch.path())).unwrap();
    channel.refuses_changes().unwrap();
    let mut group = criterion.benchmark_group("both_ends");
    for window in [1_000, 10_000, WINDOW] {
        group.throughput(Throughput::Elements(window.into()));
        for (mix_name, mix) in MIXES {
            let charges = mix.charges(window);
            for leaf_size in [1, 16].map(|items| LeafSize::new(items).unwrap()) {
                let bytes = channel.pay(&charges, leaf_size).unwrap();
                let name = format!("leaf{}_{window}", leaf_size.to_u8());
                println!("{name} {mix_name}: {bytes} bytes a window");
                group.bench_function(BenchmarkId::new(name, mix_name), |bencher| {
                    bencher.iter(|| channel.pay(black_box(&charges), leaf_size).unwrap());
                });
            }
        }
    }
    assert_eq!(channel.visited, channel.acknowledged);
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("part");
    group.throughput(Throughput::Elements(WINDOW.into())).sample_size(20);
    for (mix_name, mix) in MIXES {
        let charges = mix.charges(WINDOW);
        for leaf_size in [1, 16].map(|items| LeafSize::new(items).unwrap()) {
            let mut channel = Windows::new(None).unwrap();
            let name = format!("push_leaf{}", leaf_size.to_u8());
            group.bench_function(BenchmarkId::new(name, mix_name), |bencher| {
                bencher.iter(|| channel.seal(black_box(&charges), leaf_size).unwrap());
            });
            let sealed = channel.seal(&charges, leaf_size).unwrap();
            let name = format!("check_leaf{}", leaf_size.to_u8());
            group.bench_function(BenchmarkId::new(name, mix_name), |bencher| {
                bencher.iter(|| {
                    channel.check(black_box(&sealed.bytes), &sealed.credited.claim).unwrap()
                });
            });
            let name = format!("visit_leaf{}", leaf_size.to_u8());
            group.bench_function(BenchmarkId::new(name, mix_name), |bencher| {
                bencher.iter(|| {
                    let mut visits = 0;
                    let batch = Batch::parse(black_box(&sealed.bytes)).unwrap();
                    batch.visit(|_, _| visits += 1).unwrap();
                    assert_eq!(visits, WINDOW);
                });
            });
        }
    }
    group.finish();
}

fn ticks(criterion: &mut Criterion) {
    let mut channel = Windows::new(None).unwrap();
    let mut group = criterion.benchmark_group("ticks");
    for window in [1_000, 10_000, WINDOW] {
        group.throughput(Throughput::Elements(window.into()));
        group.bench_function(BenchmarkId::from_parameter(window), |bencher| {
            bencher.iter(|| channel.tick(black_box(window)).unwrap());
        });
    }
    group.finish();
}

fn receipts(criterion: &mut Criterion) {
    let context = Context::new();
    let key = Seed::new([2; 32]).base_key(&context, Network::Regtest).unwrap();
    let mut channel = Windows::new(None).unwrap();
    let sealed = channel.seal(&Mix::To1000.charges(1_000_000), LeafSize::ONE).unwrap();
    let statement = channel.statement(&sealed.credited.claim);
    let signature = key.pair().sign(&context, statement.digest(), &Entropy::new([0; 32]));
    let batch = Batch::parse(&sealed.bytes).unwrap();
    let receipt = Receipt::new(&batch, 777_777, statement, key.public(), signature).unwrap();
    let bytes = receipt.encode();
    println!("receipt of one of 1,000,000 at leaf 1: {} bytes", bytes.len());
    let mut group = criterion.benchmark_group("receipt");
    group.sample_size(20);
    group.bench_function("made", |bencher| {
        bencher.iter(|| {
            Receipt::new(&batch, 777_777, statement, key.public(), signature).unwrap().encode()
        });
    });
    group.bench_function("all_but_the_signature", |bencher| {
        bencher.iter(|| Receipt::decode(black_box(&bytes)).unwrap());
    });
    group.bench_function("the_signature", |bencher| {
        bencher.iter(|| receipt.verify(&context, key.public()).unwrap());
    });
    group.finish();
}

criterion_group!(benches, both_ends, parts, ticks, receipts);
criterion_main!(benches);
