//! What an item of a batch costs on each side: `cargo bench --bench batch`.
//!
//! Windows of 100,000 items: `push` is one call each on the payer's side and the sealing, `check`
//! all that the payee does, with a visit at each item; both have their half of the hashing inside.
//! `visit` is the decoding alone. Beside them a receipt, and the ticks of a run. The bytes an item
//! are printed first, with the 120 bytes of voucher, root and start.

use core::hint::black_box;

use bitcoin::{Network, OutPoint, XOnlyPublicKey};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millstream::batch::item::{Charge, Item, LeafSize, Run};
use millstream::batch::lanes::Lanes;
use millstream::batch::receipt::{Receipt, Statement};
use millstream::batch::{Batch, Builder, Channel, Sealed};
use millstream::keys::{Context, Entropy, Seed};
use millstream::units::{ItemId, Lane, Msat, Price, Quantity};

const WINDOW: u64 = 100_000;

struct At(XOnlyPublicKey);

impl Channel for At {
    fn outpoint(&self) -> OutPoint {
        OutPoint::null()
    }

    fn payee(&self) -> XOnlyPublicKey {
        self.0
    }

    fn paid(&self) -> Msat {
        Msat::ZERO
    }

    fn room(&self) -> Msat {
        Msat::MAX
    }
}

fn lanes() -> Lanes {
    let mut lanes = Lanes::new(Msat::ZERO);
    lanes.open(Lane::MIN, Msat::MAX).unwrap();
    lanes
}

/// The mixes of AGGREGATION.md, from a seeded xorshift64*.
fn mixes() -> [(&'static str, Vec<Item>); 5] {
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20) % below
    };
    let amount = |msat| Charge::Amount(Msat::new(msat).unwrap());
    let price = Price::new(Msat::new(450_000).unwrap(), 3_600_000).unwrap();
    let mut mix = |charge: &mut dyn FnMut(&mut dyn FnMut(u64) -> u64) -> Charge| {
        let item = |number| Item {
            lane: Lane::MIN,
            id: ItemId::new(number).unwrap(),
            charge: charge(&mut random),
            hash: None,
        };
        (1..=WINDOW).map(item).collect::<Vec<_>>()
    };
    [
        ("constant", mix(&mut |_| amount(10))),
        ("uniform_1000", mix(&mut |random| amount(random(1_001)))),
        ("uniform_1000000", mix(&mut |random| amount(random(1_000_001)))),
        (
            "skewed",
            mix(&mut |random| {
                amount(if random(100) == 0 { random(1_000_001) } else { random(101) })
            }),
        ),
        (
            "metered",
            mix(&mut |random| Charge::Metered {
                count: Quantity::new(1 + random(22_000)).unwrap(),
                price,
            }),
        ),
    ]
}

fn seal(channel: &At, lanes: &Lanes, items: &[Item], leaf_size: u8) -> Sealed {
    let size = LeafSize::new(leaf_size).unwrap();
    let mut builder = Builder::new(channel, lanes, size).unwrap();
    for item in items {
        builder.push(item).unwrap();
    }
    builder.seal().unwrap()
}

fn windows(criterion: &mut Criterion) {
    let context = Context::new();
    let key = Seed::new([2; 32]).base_key(&context, Network::Regtest).unwrap();
    let (channel, lanes) = (At(key.public()), lanes());
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(WINDOW)).sample_size(20);
    for (name, items) in &mixes() {
        let bytes = seal(&channel, &lanes, items, 16).bytes.len();
        let each = (bytes + 120) as f64 / WINDOW as f64;
        println!("{name}: {bytes} bytes a window, {each:.4} an item with voucher, root and start");
        for leaf_size in [1, 16] {
            let push = BenchmarkId::new(format!("push_leaf{leaf_size}"), name);
            group.bench_function(push, |bencher| {
                bencher.iter(|| seal(&channel, &lanes, black_box(items), leaf_size));
            });
            let sealed = seal(&channel, &lanes, items, leaf_size);
            let check = BenchmarkId::new(format!("check_leaf{leaf_size}"), name);
            group.bench_function(check, |bencher| {
                bencher.iter(|| {
                    let batch = Batch::parse(black_box(&sealed.bytes)).unwrap();
                    let (mut visits, claim) = (0, sealed.credited.claim);
                    let each = |item: &Item, amount: Msat| {
                        black_box((item.id, amount));
                        visits += 1;
                    };
                    let credited = batch.check(&channel, &lanes, &claim, each).unwrap();
                    assert_eq!((visits, credited.claim.items), (WINDOW, claim.items));
                });
            });
        }
        let sealed = seal(&channel, &lanes, items, 16);
        group.bench_function(BenchmarkId::new("visit", name), |bencher| {
            bencher.iter(|| {
                let mut visits = 0;
                let batch = Batch::parse(black_box(&sealed.bytes)).unwrap();
                batch.visit(|_, _| visits += 1).unwrap();
                assert_eq!(visits, WINDOW);
            });
        });
    }
    group.finish();
}

fn ticks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("run");
    group.throughput(Throughput::Elements(WINDOW));
    let price = Price::new(Msat::new(450_000).unwrap(), 3_600_000).unwrap();
    let units = Quantity::new(22_000).unwrap();
    group.bench_function("tick", |bencher| {
        bencher.iter(|| {
            let mut run = Run::new(price, Msat::MAX);
            for _ in 0..WINDOW {
                run.tick(black_box(units)).unwrap();
            }
            run.charge()
        });
    });
    group.finish();
}

fn receipts(criterion: &mut Criterion) {
    let context = Context::new();
    let key = Seed::new([2; 32]).base_key(&context, Network::Regtest).unwrap();
    let (channel, lanes) = (At(key.public()), lanes());
    let charge = |number: u64| Charge::Amount(Msat::new(number * 7 % 1_001).unwrap());
    let item = |number: u64| Item {
        lane: Lane::MIN,
        id: ItemId::new(number).unwrap(),
        charge: charge(number),
        hash: None,
    };
    let items: Vec<_> = (1..=1_000_000).map(item).collect();
    let sealed = seal(&channel, &lanes, &items, 1);
    let statement = Statement::new(&channel, &sealed.credited.claim, [0; 32]);
    let signature = key.pair().sign(&context, statement.digest(), &Entropy::new([0; 32]));
    let batch = Batch::parse(&sealed.bytes).unwrap();
    let receipt = Receipt::new(&batch, 777_777, statement, key.public(), signature).unwrap();
    let bytes = receipt.encode();
    println!("receipt of one of 1,000,000 at leaf 1: {} bytes", bytes.len());
    let mut group = criterion.benchmark_group("receipt");
    group.bench_function("all_but_the_signature", |bencher| {
        bencher.iter(|| Receipt::decode(black_box(&bytes)).unwrap());
    });
    group.bench_function("the_signature", |bencher| {
        bencher.iter(|| receipt.verify(&context, key.public()).unwrap());
    });
    group.finish();
}

criterion_group!(benches, windows, ticks, receipts);
criterion_main!(benches);
