//! A metered session, both sides: 64 ticks with their readings, and the voucher that pays them:
//! `cargo bench --bench session`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "../src/bin/millstream/bench/meters.rs"]
mod meters;
#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "../src/bin/millstream/bench/stage.rs"]
mod stage;

use meters::{Meters, TICKS};
use stage::Stage;

fn session(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    group.throughput(Throughput::Elements(TICKS.into()));
    let mut stage = Stage::own(1).unwrap();
    let mut meters = Meters::start(stage.view.now).unwrap();
    group.bench_function("64_ticks_and_voucher", |bencher| {
        bencher.iter(|| {
            for _ in 0..TICKS {
                meters.tick().unwrap();
            }
            meters.pay(|more| stage.pay(0, more).map(drop)).unwrap();
        });
    });
    let mut meters = Meters::start(stage.view.now).unwrap();
    group.bench_function("64_ticks_without_voucher", |bencher| {
        bencher.iter(|| {
            for _ in 0..TICKS {
                meters.tick().unwrap();
            }
            meters.pay(|_| Ok(())).unwrap();
        });
    });
    group.finish();
}

criterion_group!(benches, session);
criterion_main!(benches);
