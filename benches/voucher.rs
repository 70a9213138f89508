//! What a voucher costs each side, beside the bare operations: `cargo bench --bench voucher`.
//!
//! Key pairs and contexts are cached on both sides. For the figure that counts, taken in turns, see
//! `millstream bench --only voucher_cpu_ratio`.

use std::cell::RefCell;
use std::hint::black_box;

use bitcoin::secp256k1::{Keypair, Message, Secp256k1};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "../src/bin/millstream/bench/stage.rs"]
mod stage;

use stage::{STEP, Stage};

fn ours(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("voucher");
    let stage = RefCell::new(Stage::own(1).unwrap());
    group.bench_function("pay_to_accepted_record", |bencher| {
        bencher.iter(|| stage.borrow_mut().pay(0, STEP).unwrap());
    });
    group.bench_function("accept", |bencher| {
        bencher.iter_batched(
            || stage.borrow_mut().sign(0, STEP).unwrap(),
            |voucher| stage.borrow_mut().accept(0, voucher).unwrap(),
            // One by one: a voucher must not be older than the one before it.
            BatchSize::PerIteration,
        );
    });
    // Last, because what it signs is never accepted.
    group.bench_function("pay", |bencher| {
        bencher.iter(|| stage.borrow_mut().sign(0, STEP).unwrap());
    });
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("voucher_parts");
    let mut stage = Stage::own(1).unwrap();
    stage.pay(0, STEP).unwrap();
    let lane = &stage.lanes[0];
    let (channel, payer, payee) = (lane.payer.channel(), lane.payer.record(), lane.payee.record());
    let paid = lane.payer.signed();
    group.bench_function("digest", |bencher| {
        bencher.iter(|| channel.digest(black_box(paid)).unwrap());
    });
    group.bench_function("encode_payee_record", |bencher| {
        bencher.iter(|| black_box(payee).encode().unwrap());
    });
    group.bench_function("clone_both_records", |bencher| {
        bencher.iter(|| (black_box(payer).clone(), black_box(payee).clone()));
    });
    group.finish();
}

fn bare(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bare");
    let mut secp = Secp256k1::new();
    secp.seeded_randomize(&[1; 32]);
    let pair = Keypair::from_seckey_slice(&secp, &[1; 32]).unwrap();
    let key = pair.x_only_public_key().0;
    let message = Message::from_digest([7; 32]);
    let sign = || secp.sign_schnorr_with_aux_rand(&message, &pair, &[3; 32]);
    let signature = sign();
    group.bench_function("sign", |bencher| bencher.iter(sign));
    group.bench_function("verify", |bencher| {
        bencher.iter(|| secp.verify_schnorr(&signature, &message, &key).unwrap());
    });
    group.finish();
}

criterion_group!(benches, ours, parts, bare);
criterion_main!(benches);
