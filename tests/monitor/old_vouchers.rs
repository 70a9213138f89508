//! Every voucher that was ever signed is published, at every stage of a channel, at three moments,
//! with every choice of claims: the payer never loses more than its stated exposure.

use millstream::chain::regtest::Regtest;
use millstream::monitor::Side;
use millstream::stream::HoldVoucher;
use millstream::stream::payer::PayerHoldState;
use millstream::tx::hold::{Hold, HoldCoin, HoldSpend};

use crate::support::{AUX, CAPACITY, DEPTH, K, Pair, START, msat, preimage, rate, till};

const EARLY: u32 = 170;
const LATE: u32 = 190;

/// Whose hold has which preimage.
fn secret(id: u64) -> u8 {
    // Hold 4 is hold 2 again: the same hash, expiry and so the same script, for another amount.
    if id == 4 { 2 } else { u8::try_from(id).unwrap() }
}

type Stage = fn(&mut Pair);

/// The life of the channel: offers, a fold, a growth, releases, a repetition.
const STAGES: [(&str, Stage); 10] = [
    ("pay", |pair| pair.pay(20_000_000)),
    ("offer 1", |pair| pair.offer(1, 50_000, EARLY)),
    ("offer 2", |pair| pair.offer(2, 60_000, LATE)),
    ("fold 1", |pair| {
        pair.fulfil(1, 1);
        pair.fold(1, 1);
    }),
    ("offer 3", |pair| pair.offer(3, 15_000, EARLY)),
    ("grow 3", |pair| pair.grow(3, 25_000)),
    ("release 2", |pair| pair.release(2)),
    ("offer 4", |pair| pair.offer(2, 61_000, LATE)),
    ("release 3", |pair| pair.release(3)),
    ("fold 4", |pair| {
        pair.fulfil(4, 2);
        pair.fold(4, 2);
    }),
];

/// The channel after each number of stages.
fn stages() -> Vec<Pair> {
    let mut pair = Pair::open(Regtest::new().unwrap());
    let mut stages = vec![pair.copy()];
    for (_, stage) in &STAGES {
        stage(&mut pair);
        stages.push(pair.copy());
    }
    stages
}

/// The claims that a payee signs who keeps no promise.
fn claims(pair: &Pair, coins: &[(Hold, HoldCoin)], chosen: u32) -> Vec<bitcoin::Transaction> {
    let chosen = coins.iter().enumerate().filter(|(index, _)| chosen >> index & 1 == 1);
    let claims = chosen.map(|(_, (hold, coin))| {
        let known = preimage(secret(hold.id.to_u64()));
        let script = till(Side::Payee);
        let spend = HoldSpend::claim(coin.clone(), known, script, rate(20_000)).unwrap();
        let signature = pair.payee_key().sign(&pair.context, spend.digest().unwrap(), &AUX);
        spend.finish(&signature).unwrap()
    });
    claims.collect()
}

/// Publishes `voucher` with the tip at `height`, claims what is chosen, and plays to the end.
fn publish(pair: &mut Pair, voucher: &HoldVoucher, height: u32, chosen: u32) {
    let world = &mut pair.world;
    world.mine(height - START);
    let exposure = pair.payer.exposure_at(crate::support::at(height));
    let (settlement, holds) = pair.settlement_of(voucher);
    pair.world.chain.submit(&settlement).unwrap();
    pair.pass(1);
    let settled = height + 1;
    let coins: Vec<(Hold, HoldCoin)> = holds
        .iter()
        .map(|hold| {
            let scripts = hold.output(&pair.context, pair.channel().output()).unwrap();
            (*hold, HoldCoin::find(scripts, &settlement, 0).unwrap())
        })
        .collect();
    let released: Vec<u64> = pair
        .payer
        .holds()
        .iter()
        .filter(|kept| matches!(kept.state, PayerHoldState::GivenUp | PayerHoldState::Released))
        .map(|kept| kept.hold.id.to_u64())
        .collect();
    let kept: Vec<u64> = pair.payer.holds().iter().map(|kept| kept.hold.id.to_u64()).collect();
    // The payee's claims come first wherever they can.
    let mut due = [settled + u32::from(K) - 1, EARLY, EARLY + 1, LATE, LATE + 1, LATE + 2];
    due.sort_unstable();
    let claims = claims(pair, &coins, chosen);
    for height in due {
        for _ in pair.world.tip()..height {
            pair.world.mine(1);
        }
        for claim in claims.iter().filter(|_| height >= settled + u32::from(K) - 1) {
            let _refused = pair.world.chain.submit(claim);
        }
        pair.look();
        pair.pass(1);
    }
    pair.pass(DEPTH + 2);

    // What left the payer is what is not back: change on its own script, timeouts on its till.
    let mut lost = CAPACITY;
    let own = pair.channel().output().script().clone();
    let change = settlement.output.iter().filter(|output| output.script_pubkey == own);
    lost -= change.map(|output| output.value.to_sat()).sum::<u64>();
    let mut claimed = Vec::new();
    for (hold, coin) in &coins {
        let status = pair.world.chain.output(coin.outpoint()).unwrap();
        let spend = status.spent.filter(|spend| spend.confirmed.is_some());
        match spend.map(|spend| coin.preimage_in(&spend.tx)) {
            Some(None) => lost -= coin.value().to_sat(),
            Some(Some(_)) => claimed.push(hold.id.to_u64()),
            // A folded one is not this payer's: it is paid for.
            None => assert!(!kept.contains(&hold.id.to_u64()), "nobody has hold {}", hold.id),
        }
    }
    assert!(
        msat(lost * 1_000) <= exposure,
        "{lost} sat lost of {exposure} at {height}: {voucher:?}"
    );
    let told = pair.of_payer.claimed();
    let want: Vec<(u64, bool)> = claimed
        .iter()
        .filter(|id| kept.contains(id))
        .map(|id| (*id, released.contains(id)))
        .collect();
    assert_eq!(told, want, "published at {height}: {voucher:?}");
    let revealed: Vec<u64> = pair.of_payer.revealed().into_iter().collect();
    assert_eq!(revealed, want.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    assert!(pair.of_payer.monitor.record().is_over(), "{:?}", pair.of_payer.monitor.record());
}

#[test]
fn every_old_voucher_published_costs_its_exposure_at_most_and_broken_releases_are_told() {
    let (mut tried, mut broken) = (0, 0);
    for stage in stages() {
        for voucher in &stage.vouchers {
            // Before anything expires; so that a claim comes after the expiry; after everything.
            for height in [START + 1, EARLY - 3, LATE + 5] {
                for chosen in 0..1_u32 << voucher.holds.len() {
                    let mut pair = stage.copy();
                    publish(&mut pair, voucher, height, chosen);
                    tried += 1;
                    broken += pair.of_payer.claimed().iter().filter(|(_, after)| *after).count();
                }
            }
        }
    }
    println!("{tried} publications, {broken} claims after a release");
    assert!(tried > 300 && broken > 0, "{tried} tried, {broken} broken");
}
