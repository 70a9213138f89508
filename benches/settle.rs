//! Settling 1, 10 and 60 channels at once: checking each best voucher, building the transaction,
//! signing every input: `cargo bench --bench settle`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millstream::signer::{Request, Signer};
use millstream::stream::payee::SettlementPlan;
use millstream::tx::payee_script;
use millstream::units::FeeRate;

#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "../src/bin/millstream/bench/stage.rs"]
mod stage;

use stage::Stage;

/// More than settling costs, msat.
const PAID: u64 = 5_000_000;

fn settle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("settle");
    for channels in [1_u32, 10, 60] {
        let mut stage = Stage::own(channels).unwrap();
        for lane in 0..stage.lanes.len() {
            stage.pay(lane, PAID).unwrap();
        }
        let payee = stage.lanes[0].payee.channel().output().payee();
        let script = payee_script(stage.context(), payee).unwrap();
        let rate = FeeRate::new(1_000).unwrap();
        group.throughput(Throughput::Elements(channels.into()));
        group.bench_function(BenchmarkId::from_parameter(channels), |bencher| {
            bencher.iter(|| {
                let payees = stage.lanes.iter().map(|lane| &lane.payee);
                let plan = SettlementPlan::new(stage.payee_signer.context(), payees).unwrap();
                let settlement = plan.build(&[], script.clone(), rate).unwrap();
                let (now, aux) = (stage.view.now, stage.aux);
                let signatures: Vec<_> = (0..stage.lanes.len())
                    .map(|index| {
                        let request = Request::Settlement { settlement: &settlement, index };
                        stage.payee_signer.sign(&request, now, &aux).unwrap()
                    })
                    .collect();
                settlement.finish(&signatures, Vec::new()).unwrap()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, settle);
criterion_main!(benches);
