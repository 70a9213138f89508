//! Tests of settling and refunding: when, what it brings, what replaces it.

use super::payee::{PayeePhase, SettleAdvice, SettlePolicy};
use super::*;
use crate::tx::TxError;
use crate::units::Blame;

fn policy(sat_per_kvb: u64) -> SettlePolicy {
    SettlePolicy { rate: rate(sat_per_kvb), lead: blocks(20), balance_max: Sat::MAX }
}

fn advice(pair: &Pair, height: u32, policy: &SettlePolicy) -> SettleAdvice {
    pair.payee.settle_advice(&view(height), policy).unwrap()
}

#[test]
fn settling_is_due_from_the_lead_before_the_last_call() {
    let mut pair = Pair::open();
    assert_eq!(advice(&pair, 300, &policy(1_000)), SettleAdvice::Nothing);
    pair.pay(20_000_000);
    let until = at(LAST_CALL - 20);
    assert_eq!(advice(&pair, LAST_CALL - 21, &policy(1_000)), SettleAdvice::Wait { until });
    // 204.25 vB at 1 sat/vB.
    let now = SettleAdvice::Now { by: at(LAST_CALL), worth: sat(20_000 - 205) };
    assert_eq!(advice(&pair, LAST_CALL - 20, &policy(1_000)), now);
    let eager = SettlePolicy { balance_max: sat(20_000), ..policy(1_000) };
    assert_eq!(advice(&pair, DEEP, &eager), now);
    let (tx, _) = pair.settle(1_000);
    let paid: u64 = tx.output[1].value.to_sat();
    assert_eq!(paid, 20_000 - 205);
}

#[test]
fn balance_below_its_settlements_cost_is_unsecured() {
    let mut pair = Pair::open();
    pair.pay(534_000);
    let due = LAST_CALL - 20;
    let poor = SettleAdvice::NotWorthIt { balance: sat(534), cost: sat(205) };
    assert_eq!(advice(&pair, due, &policy(1_000)), poor);
    assert_eq!(pair.payee.unsecured(rate(1_000)).unwrap(), msat(534_000));
    pair.pay(535_000);
    let now = SettleAdvice::Now { by: at(LAST_CALL), worth: sat(330) };
    assert_eq!(advice(&pair, due, &policy(1_000)), now);
    assert_eq!(pair.payee.unsecured(rate(1_000)).unwrap(), Msat::ZERO);
    assert_eq!(pair.payee.unsecured(rate(2_000)).unwrap(), msat(535_000));
}

#[test]
fn wallets_change_costs_what_the_payer_can_pin() {
    let own = Pair::open();
    let other = Pair::with(Choice { change: wallet_change(5), ..Choice::default() });
    assert_eq!(own.payee.settle_cost(rate(1_000)).unwrap(), sat(205));
    assert_eq!(other.payee.settle_cost(rate(1_000)).unwrap(), sat(1_205));
    assert_eq!(own.payee.unsecured(FeeRate::MAX).unwrap(), own.payee.paid());
}

#[test]
fn replacement_of_a_promised_settlement_changes_the_fee_alone() {
    let mut pair = Pair::open();
    pair.pay(20_000_500);
    let (first, one) = pair.settle(1_000);
    let (second, two) = pair.settle(3_000);
    assert_eq!(pair.payee.phase(), PayeePhase::Promised { stated: msat(20_000_500) });
    assert_ne!(first.compute_txid(), second.compute_txid());
    assert_eq!(first.input[0].previous_output, second.input[0].previous_output);
    assert_eq!(first.output[0], second.output[0]);
    assert!(first.output[1].value > second.output[1].value);
    // The successor is another outpoint with the same state.
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.outpoint(), two.outpoint());
    assert_eq!(PayeeRecord { outpoint: two.outpoint(), ..one }, two);
}

#[test]
fn settlement_of_another_amount_than_held_is_not_promised() {
    let mut pair = Pair::open();
    pair.pay(20_000_000);
    let old = pair.settlement(1_000);
    pair.pay(30_000_000);
    let refused = StreamError::WrongProposal { want: msat(30_000_000), got: msat(20_000_000) };
    assert_eq!(pair.payee.promise(&old), Err(refused));
    let other = Pair::with(Choice { change: wallet_change(5), ..Choice::default() });
    assert_eq!(other.payee.promise(&old), Err(StreamError::NothingToSettle));
}

#[test]
fn refund_in_the_mempool_does_not_keep_the_payee_from_settling() {
    let mut pair = Pair::open();
    pair.pay(20_000_000);
    let refund = pair.refund();
    let seen = spent(pair.payee.channel(), &refund, None);
    pair.notice(&seen, 243);
    assert!(matches!(pair.payee.phase(), PayeePhase::Spent { stated: None, .. }));
    let now = SettleAdvice::Now { by: at(LAST_CALL), worth: sat(20_000 - 205) };
    assert_eq!(advice(&pair, 243, &policy(1_000)), now);
    let (tx, _) = pair.settle(1_000);
    let replaced = spent(pair.payee.channel(), &tx, Some(244));
    pair.notice(&replaced, 246);
    assert_eq!(pair.payee.phase(), PayeePhase::Closed { kept: msat(20_000_000) });
}

#[test]
fn fee_rate_that_eats_everything_is_refused_with_the_amounts() {
    let mut pair = Pair::open();
    pair.pay(20_000_000);
    let (payer, payee) = (pair.payer.clone(), pair.payee.clone());
    let signers = [pair.payer_signer.snapshot(), pair.payee_signer.snapshot()];
    // 10,000 sat/vB: 204.25 vB cost a hundred times what was paid.
    let absurd = rate(10_000_000);
    let plan = SettlementPlan::new(&pair.context, [&pair.payee]).unwrap();
    let refused = plan.build(&[], wallet(9), absurd).unwrap_err();
    let StreamError::Tx(TxError::NotWorthIt { left, fee, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((left, fee), (sat(20_000), sat(2_042_500)));
    assert_eq!(refused.blame(), Blame::World);
    // The payer's refund of all that it put in.
    let view = view(10_000);
    let refused = pair.payer.refund(&mut pair.payer_signer, wallet(8), absurd, &view, &AUX);
    let refused = refused.unwrap_err();
    let StreamError::Tx(TxError::NotWorthIt { left, fee, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(left == sat(CAPACITY) && fee > left, "{refused}");
    assert_eq!((pair.payer, pair.payee), (payer, payee));
    assert_eq!([pair.payer_signer.snapshot(), pair.payee_signer.snapshot()], signers);
}

#[test]
fn confirmed_spend_is_not_settled_again() {
    let mut pair = Pair::open();
    pair.pay(20_000_000);
    let settlement = pair.settlement(1_000);
    let refund = pair.refund();
    for (height, phase) in [(244, "spent"), (246, "closed")] {
        let seen = spent(pair.payee.channel(), &refund, Some(244));
        pair.notice(&seen, height);
        let refused = StreamError::WrongPhase { phase, act: "settle" };
        assert_eq!(pair.payee.promise(&settlement), Err(refused));
        let plan = SettlementPlan::new(&pair.context, [&pair.payee]);
        assert_eq!(plan, Err(refused));
        assert_eq!(advice(&pair, height, &policy(1_000)), SettleAdvice::Nothing);
    }
    assert_eq!(pair.payee.phase(), PayeePhase::Closed { kept: Msat::ZERO });
}

#[test]
fn refund_is_signed_from_one_block_before_the_deadline() {
    let mut pair = Pair::open();
    pair.pay(1_000);
    let (payer, signer) = (&pair.payer, &mut pair.payer_signer);
    let mut refund =
        |height| payer.refund(signer, wallet(8), rate(1_000), &view(height), &AUX).map(|_| ());
    let early = StreamError::TooEarly { height: at(242), from: at(243) };
    assert_eq!(refund(242), Err(early));
    assert_eq!(refund(243), Ok(()));
    assert_eq!(refund(300), Ok(()));
    let tx = pair.refund();
    assert_eq!(tx.input[0].sequence.to_consensus_u32(), u32::from(DELAY));
}

#[test]
fn refund_needs_no_resumed_channel() {
    let mut pair = Pair::open();
    pair.pay(1_000);
    pair.restart_payer();
    pair.payer.register(&mut pair.payer_signer, Past::Unknown { from: None }).unwrap();
    assert_eq!(pair.refund().output.len(), 1);
}
