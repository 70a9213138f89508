//! What a share, a settlement, a shared block and a leaf of a receipt cost:
//! `cargo bench --bench ledger`.

use core::hint::black_box;

use bitcoin::OutPoint;
use bitcoin::hashes::Hash;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millstream::ledger::receipt::{Opening, ShareWindow};
use millstream::ledger::scheme::Reach;
use millstream::ledger::{Account, Credit, Exact, HashPrice, Input, Ledger, Limits, WorkerKey};
use millstream::store::Batch;
use millstream::units::{Msat, Ppm, Work};

const WORKERS: u16 = 1_000;
const WORK: Work = Work::new(1 << 40);

fn price() -> HashPrice {
    let network = Work::new(144_000_000_000_000 << 32);
    HashPrice::pps(Msat::new(313_000_000_000).unwrap(), Ppm::MIN, network).unwrap()
}

fn key(number: u16) -> WorkerKey {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    WorkerKey::new(bytes)
}

fn take(ledger: &mut Ledger, input: &Input, batch: &mut Batch) {
    let staged = ledger.decide(input).unwrap().stage(batch).unwrap();
    ledger.apply(&staged).unwrap();
}

fn ledger(batch: &mut Batch) -> Ledger {
    let limits = Limits { unpaid_max: Msat::MAX, workers_max: WORKERS.into() };
    let mut ledger = Ledger::new(limits).unwrap();
    for number in 0..WORKERS {
        let channel = OutPoint::new(bitcoin::Txid::all_zeros(), number.into());
        take(&mut ledger, &Input::Bind { worker: key(number), channel, paid: Msat::ZERO }, batch);
    }
    ledger
}

fn shares(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("share");
    group.throughput(Throughput::Elements(1));
    let (price, mut sum) = (price(), Credit::NONE);
    group.bench_function("priced and folded", |bencher| {
        bencher.iter(|| {
            let credit = Credit::priced(black_box(WORK), price).unwrap();
            sum = sum.plus(&credit).unwrap();
        });
    });
    let each = Credit::priced(WORK, price).unwrap().value().floor_msat().to_msat();
    assert!(sum.value().floor_msat().to_msat() >= each * sum.shares());
    group.finish();
}

fn settlements(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("settlement");
    group.throughput(Throughput::Elements(1));
    let mut batch = Batch::default();
    let mut ledger = ledger(&mut batch);
    let credit = Credit::priced(Work::new(1 << 50), price()).unwrap();
    let (mut turn, mut turns) = (0, 0_u64);
    group.bench_function("credit and payment of a worker", |bencher| {
        bencher.iter(|| {
            let worker = key(turn);
            (turn, turns) = ((turn + 1) % WORKERS, turns + 1);
            take(&mut ledger, &Input::Credit { worker, credit }, &mut batch);
            let (channel, paid) = ledger.account(worker).and_then(Account::pay_to).unwrap();
            take(&mut ledger, &Input::Paid { worker, channel, paid }, &mut batch);
        });
    });
    ledger.holds_together().unwrap();
    assert_eq!(ledger.accounts().map(Account::shares).sum::<u64>(), turns);
    assert!(ledger.accounts().all(|account| account.due() == Msat::ZERO));
    group.finish();
}

fn blocks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block");
    group.throughput(Throughput::Elements(WORKERS.into()));
    let mut batch = Batch::default();
    let mut ledger = ledger(&mut batch);
    let reach = Reach::Last(Work::new(8 << 50));
    for number in 0..8 * WORKERS {
        let credit = Credit::unpriced(Work::new(1 << 40));
        let worker = key(number % WORKERS);
        take(&mut ledger, &Input::Log { worker, credit, reach }, &mut batch);
    }
    let reward = Msat::new(312_500_000_000).unwrap();
    let block = Input::Block { id: [1; 32], reward, fee: Ppm::MIN, reach };
    group.bench_function("shared and staged, by worker", |bencher| {
        bencher.iter(|| ledger.decide(&block).unwrap().stage(&mut Batch::default()).unwrap());
    });
    take(&mut ledger, &block, &mut batch);
    assert_eq!(ledger.totals().credited(), Exact::from(reward));
    ledger.holds_together().unwrap();
    group.finish();
}

fn leaves(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receipt");
    let count = 10_000_u32;
    group.throughput(Throughput::Elements(count.into()));
    let opening =
        Opening { worker: key(0), channel: OutPoint::null(), window: 0, owed: Exact::ZERO };
    let credit = Credit::priced(WORK, price()).unwrap();
    group.bench_function("leaf of a window", |bencher| {
        bencher.iter(|| {
            let mut window = ShareWindow::new(opening);
            for _ in 0..count {
                window.push(black_box(&[0x5a; 28]), &credit).unwrap();
            }
            let statement = window.seal().unwrap();
            assert_eq!(statement.shares, count);
        });
    });
    group.finish();
}

criterion_group!(benches, shares, settlements, blocks, leaves);
criterion_main!(benches);
