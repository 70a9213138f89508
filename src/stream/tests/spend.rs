//! Tests of what a spend says: every kind that can stand on the chain.

use super::*;

fn kind(pair: &Pair, tx: &Transaction) -> SpendKind {
    SpendKind::of(pair.payee.channel(), tx).unwrap()
}

#[test]
fn settlement_with_own_change_is_a_rollover_of_the_rest() {
    let mut pair = Pair::open();
    pair.pay(20_000_500);
    let (tx, successor) = pair.settle(1_000);
    let next = OutPoint::new(tx.compute_txid(), 0);
    let paid = msat(20_000_500);
    let seen = kind(&pair, &tx);
    assert_eq!(seen, SpendKind::Settlement { paid, rollover: Some((next, sat(80_000))) });
    assert_eq!(seen.successor(), Some((next, sat(80_000), msat(500))));
    let successor = successor.unwrap();
    assert_eq!((successor.outpoint(), successor.paid()), (next, msat(500)));
}

#[test]
fn settlement_with_a_wallets_change_goes_on_nowhere() {
    let mut pair = Pair::with(Choice { change: wallet_change(5), ..Choice::default() });
    pair.pay(20_000_500);
    let (tx, successor) = pair.settle(1_000);
    assert_eq!(successor, None);
    let seen = kind(&pair, &tx);
    assert_eq!(seen, SpendKind::Settlement { paid: msat(20_000_500), rollover: None });
    assert_eq!(seen.successor(), None);
}

#[test]
fn settlement_of_everything_states_the_capacity() {
    let mut pair = Pair::open();
    let full = CAPACITY * 1_000;
    let voucher = pair.sign_at(full, Ending::GivesUpChange, DEEP).unwrap();
    let _accepted = pair.accept(voucher).unwrap();
    let (tx, successor) = pair.settle(1_000);
    assert_eq!(successor, None);
    assert_eq!(kind(&pair, &tx), SpendKind::Settlement { paid: msat(full), rollover: None });
}

#[test]
fn close_and_top_up_are_joint_and_a_top_up_goes_on() {
    let mut pair = Pair::open();
    pair.pay(20_000_500);
    let close = joint::close(&mut pair);
    assert_eq!(kind(&pair, &close), SpendKind::Joint { rest: msat(500), top_up: None });
    let mut pair = Pair::open();
    pair.pay(20_000_500);
    let (tx, _) = joint::top_up(&mut pair, true);
    let next = OutPoint::new(tx.compute_txid(), 0);
    let seen = kind(&pair, &tx);
    let want = SpendKind::Joint { rest: msat(500), top_up: Some((next, sat(150_000))) };
    assert_eq!(seen, want);
}

#[test]
fn refund_is_a_refund_with_or_without_an_annex() {
    let mut pair = Pair::open();
    let mut tx = pair.refund();
    assert_eq!(kind(&pair, &tx), SpendKind::Refund);
    assert_eq!(kind(&pair, &tx).successor(), None);
    tx.input[0].witness.push([0x50, 1]);
    assert_eq!(kind(&pair, &tx), SpendKind::Refund);
}

#[test]
fn transaction_of_another_outpoint_is_no_spend() {
    let mut pair = Pair::open();
    let mut tx = pair.refund();
    tx.input[0].previous_output = outpoint(2);
    assert_eq!(SpendKind::of(pair.payee.channel(), &tx), None);
}

#[test]
fn batch_of_channels_shows_each_its_own_amount() {
    // Two channels of the same keys at two outpoints, settled in one transaction.
    let mut first = Pair::open();
    first.pay(30_000_000);
    let mut second = Pair::open();
    let mut record = second.payee.record().clone();
    record.outpoint = outpoint(2);
    second.payee = Payee::load(&second.context, base(2), record).unwrap();
    let key = seed(1).payer_key(&second.context, Network::Regtest, KeyIndex::new(0).unwrap());
    let channel = second.payee.channel().clone();
    let voucher = channel.sign(&second.context, &key.unwrap(), msat(7_001), &AUX).unwrap();
    let _accepted = second.accept(voucher).unwrap();
    let plan = SettlementPlan::new(&first.context, [&first.payee, &second.payee]).unwrap();
    let settlement = plan.build(&[], wallet(9), rate(1_000)).unwrap();
    let tx = settlement.transaction();
    let next = |vout| OutPoint { txid: tx.compute_txid(), vout };
    // Unsigned placeholders have the form of signatures, which is all that is read.
    assert_eq!(
        kind(&first, tx),
        SpendKind::Settlement { paid: msat(30_000_000), rollover: Some((next(0), sat(70_000))) }
    );
    assert_eq!(
        kind(&second, tx),
        SpendKind::Settlement { paid: msat(7_001), rollover: Some((next(1), sat(99_993))) }
    );
    let (_, successor) = second.payee.promise(&settlement).unwrap();
    assert_eq!(successor.map(|record| record.outpoint()), Some(next(1)));
}
