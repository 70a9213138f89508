//! Conditional payments on the chain: settled in time, claimed, timed out, and what an old voucher
//! can do after a fold or a release.

use super::held::{EXPIRY, FEE, K, RULES, SETTLE_BY, preimage};
use super::payee::{PayeePhase, SettleAdvice, SettlePolicy};
use super::payer::PayerPhase;
use super::*;
use crate::tx::TxError;
use crate::tx::hold::{HoldCoin, HoldSettlement};

/// Where the settlements of these tests confirm.
const SETTLED: u32 = 120;

/// The payee's signature on what it would settle now, without the record that says so.
fn publish(pair: &mut Pair) -> Transaction {
    let settlement = pair.payee.hold_settlement(&pair.context, &[]).unwrap();
    sign(pair, settlement)
}

fn sign(pair: &mut Pair, settlement: HoldSettlement) -> Transaction {
    let request = Request::HoldSettlement { settlement: &settlement };
    let now = UtcSeconds::new(NOW).unwrap();
    let signature = pair.payee_signer.sign(&request, now, &AUX).unwrap();
    settlement.finish(&signature, Vec::new()).unwrap()
}

fn coins(pair: &Pair, settled: &Transaction) -> Vec<(u64, bool, HoldCoin)> {
    let found = pair.payer.published(&pair.context, settled).unwrap();
    found
        .into_iter()
        .map(|(kept, coin)| (kept.hold.id.to_u64(), kept.state.is_released(), coin))
        .collect()
}

fn time_out(pair: &mut Pair, coin: &HoldCoin, height: u32) -> Result<Transaction, StreamError> {
    let (signer, settled, view) = (&mut pair.payer_signer, at(SETTLED), view(height));
    let (payer, coin) = (&pair.payer, coin.clone());
    payer.time_out(signer, coin, settled, wallet(8), rate(1_000), &view, &AUX)
}

fn claim(
    pair: &mut Pair,
    coin: &HoldCoin,
    number: u8,
    height: u32,
) -> Result<Transaction, StreamError> {
    let (signer, settled, view) = (&mut pair.payee_signer, at(SETTLED), view(height));
    let (payee, coin) = (&pair.payee, coin.clone());
    payee.claim(signer, coin, preimage(number), settled, wallet(9), rate(1_000), &view, &AUX)
}

#[test]
fn settlement_with_holds_is_promised_seen_claimed_and_timed_out() {
    let mut pair = Pair::holding();
    pair.pay(20_000_250);
    pair.held(1, 5_000);
    pair.held(2, 6_000);
    pair.fulfil(1);
    let settlement = pair.payee.hold_settlement(&pair.context, &[]).unwrap();
    let (record, successor) = pair.payee.promise_held(&settlement).unwrap();
    pair.payee.apply(&record).unwrap();
    assert_eq!(pair.payee.phase(), PayeePhase::Promised { stated: msat(20_000_250) });
    let successor = successor.unwrap();
    assert_eq!(successor.capacity(), sat(CAPACITY - 20_000 - 11_000));
    assert_eq!(successor.start(), msat(250));
    let settled = sign(&mut pair, settlement);
    // What has left states its own holds, and no other.
    let more = pair.offer(3, 5_000).unwrap();
    let refused = pair.hear(&more).map(|step| step.paid()).unwrap_err();
    assert!(matches!(refused, StreamError::WrongPhase { .. }), "{refused}");

    let kind = SpendKind::of(pair.payee.channel(), &settled).unwrap();
    let (outpoint, capacity) = (successor.outpoint(), successor.capacity());
    let want = SpendKind::HoldSettlement { rest: msat(250), rollover: Some((outpoint, capacity)) };
    assert_eq!(kind, want);
    let seen = spent(pair.payee.channel(), &settled, Some(SETTLED));
    pair.notice(&seen, SETTLED);
    assert!(matches!(pair.payer.phase(), PayerPhase::Spent { .. }));
    let claimable = pair.payee.claimable(&pair.context, &settled).unwrap();
    assert_eq!(claimable.iter().map(|(_, known)| *known).collect::<Vec<_>>(), [preimage(1)]);
    let published = coins(&pair, &settled);
    assert_eq!(published.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(published[0].2, claimable[0].0);

    // Both sides of each height: mempools judge by the next block.
    let first = SETTLED + u32::from(K);
    let early = claim(&mut pair, &published[0].2, 1, first - 2).unwrap_err();
    assert_eq!(early, StreamError::TooEarly { height: at(first - 2), from: at(first - 1) });
    let claimed = claim(&mut pair, &published[0].2, 1, first - 1).unwrap();
    assert_eq!(published[0].2.preimage_in(&claimed), Some(preimage(1)));
    let early = time_out(&mut pair, &published[1].2, EXPIRY - 1).unwrap_err();
    assert_eq!(early, StreamError::TooEarly { height: at(EXPIRY - 1), from: at(EXPIRY) });
    let timeout = time_out(&mut pair, &published[1].2, EXPIRY).unwrap();
    assert_eq!(timeout.lock_time.to_consensus_u32(), EXPIRY);
    let wrong = claim(&mut pair, &published[1].2, 1, EXPIRY).unwrap_err();
    assert_eq!(wrong, TxError::WrongPreimage { want: preimage(2).hash() }.into());
}

#[test]
fn hold_claimed_after_its_release_is_known_as_such_and_timed_out_if_late() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    pair.held(1, 5_000);
    let old = publish(&mut pair);
    pair.release(1);
    let dropped = pair.drop_holds(DEEP).unwrap();
    let _accepted = pair.hear(&dropped).unwrap();
    let _voucher = pair.pay(21_000_000);
    // A payee that keeps the old voucher publishes it.
    let seen = spent(pair.payer.channel(), &old, Some(SETTLED));
    pair.notice(&seen, SETTLED);
    pair.restart_payer();
    let published = coins(&pair, &old);
    let [(1, true, coin)] = &published[..] else { panic!("{published:?}") };
    pair.payer.register(&mut pair.payer_signer, Past::Unknown { from: None }).unwrap();
    assert!(time_out(&mut pair, coin, EXPIRY).is_ok());
    let claimed = claim(&mut pair, coin, 1, SETTLED + u32::from(K)).unwrap();
    assert_eq!(coin.preimage_in(&claimed), Some(preimage(1)));
}

/// Every voucher that was ever signed is published: the payer loses its stated exposure at most.
#[test]
fn old_voucher_published_costs_no_more_than_the_stated_exposure() {
    let mut pair = Pair::holding();
    let mut all = Vec::new();
    pair.pay(2_000_000);
    all.push(pair.held(1, 5_000));
    all.push(pair.held(2, 6_000));
    pair.fulfil(1);
    let folded = pair.fold(1).unwrap();
    let _accepted = pair.hear(&folded).unwrap();
    all.push(folded);
    pair.release(2);
    let dropped = pair.drop_holds(DEEP).unwrap();
    let _accepted = pair.hear(&dropped).unwrap();
    all.push(pair.held(3, 1_500));
    let exposure = pair.payer.exposure_at(at(DEEP));
    let later = pair.payer.exposure_at(at(EXPIRY + 1));
    assert_eq!(exposure, msat(13_000_000));
    let mut tried = 0;
    for voucher in all.into_iter().filter(|voucher| !voucher.holds.is_empty()) {
        let rules = pair.payer.record().rules;
        let checked = voucher.check(&pair.context, pair.payer.channel(), &rules).unwrap();
        let settlement = HoldSettlement::new(checked, &[]).unwrap();
        let tx = settlement.transaction();
        let change = tx.output[0].value.to_sat();
        // The payee claims everything that it can; after the expiry the payer takes back all that
        // it keeps.
        assert!(msat((CAPACITY - change) * 1_000) <= exposure, "{voucher:?}");
        let back: u64 = coins(&pair, tx).iter().map(|(_, _, coin)| coin.value().to_sat()).sum();
        assert!(msat((CAPACITY - change - back) * 1_000) <= later, "{voucher:?}");
        tried += 1;
    }
    assert_eq!(tried, 4);
}

#[test]
fn first_hold_of_a_fresh_channel_settles_at_the_payers_fee() {
    let mut pair = Pair::holding();
    pair.held(1, 5_000);
    assert_eq!(pair.payer.exposure(), msat((5_000 + FEE) * 1_000));
    let settled = publish(&mut pair);
    assert_eq!(settled.output.len(), 2);
    assert_eq!(settled.output[0].value.to_sat(), CAPACITY - 5_000 - FEE);
}

#[test]
fn settling_is_advised_before_a_known_preimage_is_worthless() {
    let mut pair = Pair::holding();
    pair.held(1, 5_000);
    let policy = SettlePolicy { rate: rate(1_000), lead: blocks(6), balance_max: Sat::MAX };
    let advice = |pair: &Pair, height| pair.payee.settle_advice(&view(height), &policy).unwrap();
    assert_eq!(advice(&pair, SETTLE_BY), SettleAdvice::Wait { until: at(LAST_CALL - 6) });
    pair.fulfil(1);
    assert_eq!(advice(&pair, SETTLE_BY - 7), SettleAdvice::Wait { until: at(SETTLE_BY - 6) });
    let now = SettleAdvice::Now { by: at(SETTLE_BY), worth: sat(5_000) };
    assert_eq!(advice(&pair, SETTLE_BY - 6), now);
}

#[test]
fn preimage_learnt_after_the_settlement_confirmed_is_claimed_until_the_expiry() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    pair.held(1, 5_000);
    let settled = publish(&mut pair);
    let seen = spent(pair.payee.channel(), &settled, None);
    pair.notice(&seen, SETTLED);
    let known = preimage(1);
    let past = StreamError::HoldPast { id: super::held::id(1), expiry: at(EXPIRY) };
    let fulfil = |pair: &Pair, height| pair.payee.fulfil(super::held::id(1), known, &view(height));
    assert_eq!(fulfil(&pair, SETTLE_BY).unwrap_err(), past, "it may never confirm in time");
    let seen = spent(pair.payee.channel(), &settled, Some(SETTLED));
    pair.notice(&seen, SETTLED);
    assert!(pair.payee.claimable(&pair.context, &settled).unwrap().is_empty());
    assert_eq!(fulfil(&pair, EXPIRY).unwrap_err(), past);
    let record = fulfil(&pair, EXPIRY - 1).unwrap();
    pair.payee.apply(&record).unwrap();
    let [(coin, preimage)] = &pair.payee.claimable(&pair.context, &settled).unwrap()[..] else {
        panic!("one output is claimed")
    };
    assert_eq!(*preimage, known);
    assert!(claim(&mut pair, coin, 1, EXPIRY - 1).is_ok());
}

#[test]
fn settlement_of_another_state_is_not_promised() {
    let mut pair = Pair::holding();
    pair.held(1, 5_000);
    let old = pair.payee.hold_settlement(&pair.context, &[]).unwrap();
    pair.held(2, 5_000);
    let want = StreamError::WrongProposal { want: Msat::ZERO, got: Msat::ZERO };
    assert_eq!(pair.payee.promise_held(&old).unwrap_err(), want);
    let mut twin = Pair::with(Choice { holds: RULES, capacity: 90_000, ..Choice::default() });
    twin.held(1, 5_000);
    assert_eq!(twin.payee.promise_held(&old).unwrap_err(), StreamError::NothingToSettle);
    let plain = Pair::holding();
    let refused = plain.payee.hold_settlement(&plain.context, &[]).unwrap_err();
    assert_eq!(refused, StreamError::NothingToSettle);
}

#[test]
fn holds_of_one_script_are_told_apart_by_their_order() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    for amount in [5_000, 6_000] {
        let voucher = pair.offer_at(preimage(1).hash(), amount, EXPIRY, DEEP).unwrap();
        let _accepted = pair.hear(&voucher).unwrap();
    }
    let settled = publish(&mut pair);
    let found: Vec<_> =
        coins(&pair, &settled).iter().map(|(id, _, coin)| (*id, coin.value().to_sat())).collect();
    assert_eq!(found, [(1, 5_000), (2, 6_000)]);
}

#[test]
fn output_of_a_later_hold_of_one_script_may_be_named_by_a_released_one() {
    // The payer keeps the released hold, whose voucher stays valid; the newest voucher has another
    // one of the same hash and expiry. Nothing in the script says whose its output is, so whoever
    // waits for either must take it for both: a hub that did not lost the later one.
    let mut pair = Pair::holding();
    let hash = preimage(1).hash();
    let first = pair.offer_at(hash, 5_000, EXPIRY, DEEP).unwrap();
    let _accepted = pair.hear(&first).unwrap();
    pair.release(1);
    let dropped = pair.drop_holds(DEEP).unwrap();
    let _accepted = pair.hear(&dropped).unwrap();
    let later = pair.offer_at(hash, 6_000, EXPIRY, DEEP).unwrap();
    let _accepted = pair.hear(&later).unwrap();
    let settled = publish(&mut pair);
    let found = pair.payer.published(&pair.context, &settled).unwrap();
    let [(kept, coin)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((kept.hold.id, coin.value()), (super::held::id(1), sat(6_000)));
    let present = pair.payer.record().holds.open();
    assert!(present.iter().all(|open| (open.hash, open.expiry) == (kept.hold.hash, at(EXPIRY))));
}
