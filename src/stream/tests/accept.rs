//! Tests of paying and accepting: every rule a voucher must keep.

use super::payee::PayeePhase;
use super::*;
use crate::signer::SignerError;
use crate::signer::budget::Budget;
use crate::tx::TxError;
use crate::units::Blame;

#[test]
fn voucher_that_is_newer_counts_by_its_difference() {
    let mut pair = Pair::open();
    let first = pair.sign(1_500).unwrap();
    let accepted = pair.accept(first).unwrap();
    assert_eq!((accepted.paid(), accepted.gained()), (msat(1_500), msat(1_500)));
    let second = pair.sign(1_501).unwrap();
    let accepted = pair.accept(second).unwrap();
    assert_eq!((accepted.paid(), accepted.gained()), (msat(1_501), msat(1)));
    assert!(accepted.is_new());
}

#[test]
fn voucher_that_was_lost_is_healed_by_the_next() {
    let mut pair = Pair::open();
    let _lost = pair.sign(1_000).unwrap();
    assert_eq!(pair.pay(2_000).paid, msat(2_000));
    assert_eq!(pair.payee.paid(), msat(2_000));
}

#[test]
fn voucher_that_is_stale_is_refused_with_the_best() {
    let mut pair = Pair::open();
    let old = pair.pay(1_000);
    pair.pay(2_000);
    let refused = StreamError::Stale { got: msat(1_000), best: msat(2_000) };
    assert_eq!(pair.accept(old), Err(refused));
}

#[test]
fn voucher_that_is_equal_is_repeated_without_a_write() {
    let mut pair = Pair::open();
    let voucher = pair.pay(1_000);
    let again = pair.accept(voucher).unwrap();
    assert!(!again.is_new());
    assert_eq!((again.paid(), again.gained()), (msat(1_000), Msat::ZERO));
    assert_eq!(again.record(), pair.payee.record());
    // Another nonce: the same state, and no write either.
    let key = seed(1).payer_key(&pair.context, Network::Regtest, KeyIndex::new(0).unwrap());
    let aux = Entropy::new([1; 32]);
    let channel = pair.payee.channel();
    let other = channel.sign(&pair.context, &key.unwrap(), msat(1_000), &aux).unwrap();
    assert_ne!(other.signature, voucher.signature);
    let again = pair.accept(other).unwrap();
    assert!(!again.is_new());
    assert_eq!(again.record(), pair.payee.record());
    // A wrong signature is no repetition.
    let forged = Voucher { paid: msat(1_000), signature: pair.sign(1_001).unwrap().signature };
    let refused = StreamError::Tx(TxError::BadSignature { paid: msat(1_000) });
    assert_eq!(pair.accept(forged), Err(refused));
}

#[test]
fn voucher_above_the_capacity_is_refused() {
    let mut pair = Pair::open();
    let limit = msat(CAPACITY * 1_000);
    let paid = msat(CAPACITY * 1_000 + 1);
    let above = StreamError::Tx(TxError::AboveCapacity { paid, limit });
    let voucher = Voucher { paid, ..pair.pay(1_000) };
    assert_eq!(pair.accept(voucher), Err(above));
    let huge = Voucher { paid: Msat::MAX, ..voucher };
    assert_eq!(
        pair.accept(huge),
        Err(StreamError::Tx(TxError::AboveCapacity { paid: Msat::MAX, limit }))
    );
}

#[test]
fn payment_above_the_capacity_is_refused_with_both_amounts() {
    let mut pair = Pair::open();
    pair.pay(1_000);
    let (before, signer) = (pair.payer.clone(), pair.payer_signer.snapshot());
    let (limit, paid) = (msat(CAPACITY * 1_000), msat(CAPACITY * 1_000 + 1));
    let refused = StreamError::Signer(SignerError::Tx(TxError::AboveCapacity { paid, limit }));
    assert_eq!(pair.sign_at(paid.to_msat(), Ending::GivesUpChange, DEEP), Err(refused));
    assert_eq!(pair.sign_at(paid.to_msat(), Ending::KeepsChange, DEEP), Err(refused));
    // What our own caller chose is ours; the same in a peer's voucher is the peer's.
    assert_eq!(refused.blame(), Blame::Us);
    assert_eq!(StreamError::Tx(TxError::AboveCapacity { paid, limit }).blame(), Blame::Peer);
    assert_eq!((pair.payer, pair.payer_signer.snapshot()), (before, signer));
}

#[test]
fn last_sats_below_dust_are_paid_only_by_the_last_voucher() {
    let mut pair = Pair::open();
    let most = pair.payer.channel().largest_with_change().to_msat();
    assert_eq!(most, (CAPACITY - 330) * 1_000 + 999);
    pair.pay(most);
    for paid in [most + 1, CAPACITY * 1_000 - 1] {
        assert!(pair.sign(paid).is_err());
        let voucher = Voucher { paid: msat(paid), ..pair.payee.best().unwrap() };
        let refused = pair.accept(voucher).unwrap_err();
        assert!(matches!(refused, StreamError::Tx(TxError::ChangeBelowDust { .. })));
    }
    let capacity = msat(CAPACITY * 1_000);
    assert_eq!(pair.sign(CAPACITY * 1_000), Err(StreamError::LastNotAllowed { capacity }));
    let last = pair.sign_at(CAPACITY * 1_000, Ending::GivesUpChange, DEEP).unwrap();
    assert_eq!(pair.accept(last).unwrap().paid(), capacity);
    assert_eq!(pair.payer.spendable(), Msat::ZERO);
}

#[test]
fn voucher_of_another_channel_or_an_earlier_point_is_refused() {
    let mut pair = Pair::open();
    let voucher = pair.sign(1_000).unwrap();
    let bad = StreamError::Tx(TxError::BadSignature { paid: msat(1_000) });
    let mut others = Vec::new();
    // Another outpoint, another capacity, another change, another payer.
    let record = pair.payee.record();
    others.push(PayeeRecord { outpoint: outpoint(2), ..record.clone() });
    others.push(PayeeRecord { outpoint: OutPoint { vout: 1, ..outpoint(1) }, ..record.clone() });
    others.push(PayeeRecord { capacity: sat(CAPACITY + 1), ..record.clone() });
    others.push(PayeeRecord { change: wallet_change(5), ..record.clone() });
    others.push(PayeeRecord { payer: payer_key(1), ..record.clone() });
    others.push(PayeeRecord { delay: Delay::new(145).unwrap(), ..record.clone() });
    for record in others {
        let other = Payee::load(&pair.context, base(2), record).unwrap();
        let refused = other.accept(&pair.context, voucher, &view(DEEP));
        assert_eq!(refused.map(|_| ()), Err(bad));
    }
    let foreign = Payee::load(&pair.context, base(3), pair.payee.record().clone()).unwrap();
    let refused = foreign.accept(&pair.context, voucher, &view(DEEP));
    assert_eq!(refused.map(|_| ()), Err(bad));
    // After the rollover: a voucher from before it.
    let _accepted = pair.accept(voucher).unwrap();
    pair.pay(20_000_000);
    let (_, successor) = pair.settle(1_000);
    pair.payee = Payee::load(&pair.context, base(2), successor.unwrap()).unwrap();
    assert_eq!(pair.accept(voucher), Err(bad));
}

#[test]
fn voucher_signed_for_another_amount_is_refused_at_every_bit() {
    let mut pair = Pair::open();
    let voucher = pair.sign(1_000).unwrap();
    for bit in 0..20 {
        let paid = msat(0x3e8 ^ (1 << bit));
        let refused = pair.accept(Voucher { paid, ..voucher }).unwrap_err();
        assert_eq!(refused, StreamError::Tx(TxError::BadSignature { paid }));
    }
    let _accepted = pair.accept(voucher).unwrap();
}

#[test]
fn voucher_from_the_last_call_on_is_refused_by_both() {
    let mut pair = Pair::open();
    let voucher = pair.sign_at(1_000, Ending::KeepsChange, LAST_CALL - 1).unwrap();
    let _accepted = pair.accept_at(voucher, LAST_CALL - 1).unwrap();
    let late = pair.sign(2_000).unwrap();
    for height in [LAST_CALL, LAST_CALL + 10, LAST_CALL + 11, 10_000] {
        let refused = StreamError::TooLate { height: at(height), last_call: at(LAST_CALL) };
        assert_eq!(pair.accept_at(late, height), Err(refused));
        assert_eq!(pair.sign_at(3_000, Ending::KeepsChange, height), Err(refused));
    }
    assert_eq!(pair.payee.deadline(), Some(at(CONFIRMED + u32::from(DELAY))));
    assert_eq!(pair.payee.last_call(), Some(at(LAST_CALL)));
}

#[test]
fn voucher_on_a_stalled_chain_is_refused_and_a_repeated_one_acknowledged() {
    let mut pair = Pair::open();
    let first = pair.pay(1_000);
    let second = pair.sign(2_000).unwrap();
    let mut view = view(DEEP);
    view.tip.time = UtcSeconds::new(NOW - 7_201).unwrap();
    let (age, max) = (Seconds::new(7_201).unwrap(), Seconds::new(7_200).unwrap());
    let before = pair.payee.clone();
    let refused = pair.payee.accept(&pair.context, second, &view);
    assert_eq!(refused, Err(StreamError::StalledTip { age, max }));
    assert_eq!(pair.payee, before);
    assert!(!pair.payee.accept(&pair.context, first, &view).unwrap().is_new());
    view.tip.time = UtcSeconds::new(NOW - 7_200).unwrap();
    assert!(pair.payee.accept(&pair.context, second, &view).unwrap().is_new());
}

#[test]
fn voucher_on_a_shallow_output_is_within_the_zero_conf_limit() {
    let limit = ZERO_CONF_SAT * 1_000;
    for (confirmed, height) in [(None, DEEP), (Some(CONFIRMED), 100), (Some(CONFIRMED), 101)] {
        let mut pair = Pair::with(Choice { confirmed, ..Choice::default() });
        let most = pair.sign(limit).unwrap();
        let _accepted = pair.accept_at(most, height).unwrap();
        let above = pair.sign(limit + 1).unwrap();
        let depth = blocks(confirmed.map_or(0, |from| height + 1 - from));
        let (asked, limit) = (msat(limit + 1), msat(limit));
        let refused = StreamError::NotDeepEnough { asked, depth, limit };
        assert_eq!(pair.accept_at(above, height), Err(refused));
        if confirmed.is_some() {
            let _accepted = pair.accept_at(above, 102).unwrap();
        }
    }
}

#[test]
fn voucher_on_a_shallow_version_2_funding_is_refused() {
    for (confirmed, height) in [(None, DEEP), (Some(CONFIRMED), 101)] {
        let mut pair = Pair::with(Choice { confirmed, truc: false, ..Choice::default() });
        let voucher = pair.sign(1).unwrap();
        let refused = pair.accept_at(voucher, height).unwrap_err();
        let is_zero = matches!(
            refused,
            StreamError::NotDeepEnough { limit, .. } if limit == Msat::ZERO
        );
        assert!(is_zero, "{refused:?}");
        if confirmed.is_some() {
            let _accepted = pair.accept_at(voucher, 102).unwrap();
        }
    }
}

#[test]
fn voucher_on_an_unconfirmed_rollover_is_credit_above_its_first_debt() {
    let mut pair = Pair::open();
    pair.pay(20_000_999);
    let (tx, successor) = pair.settle(1_000);
    let seen = spent(pair.payer.channel(), &tx, None);
    let seen = pair.payer.notice(Some(&seen), &tip(DEEP)).unwrap();
    let next = seen.successor().unwrap().clone();
    let from = pair.payer.outpoint();
    pair.payer.apply(seen.record()).unwrap();
    pair.payee = Payee::load(&pair.context, base(2), successor.unwrap()).unwrap();
    pair.payer = Payer::load(&pair.context, payer_key(0), next).unwrap();
    let past = Past::Descends { from, carried: msat(999) };
    pair.payer.register(&mut pair.payer_signer, past).unwrap();
    assert_eq!(pair.sign(998), Err(StreamError::Backwards { got: msat(998), signed: msat(999) }));
    let most = pair.sign(999 + ZERO_CONF_SAT * 1_000).unwrap();
    let _accepted = pair.accept(most).unwrap();
    assert_eq!(pair.payee.earned(), msat(ZERO_CONF_SAT * 1_000));
    let above = pair.sign(1_000 + ZERO_CONF_SAT * 1_000).unwrap();
    assert!(matches!(pair.accept(above), Err(StreamError::NotDeepEnough { .. })));
    let confirmed = status(pair.payee.channel(), Some(DEEP));
    pair.notice(&confirmed, DEEP + 2);
    let _accepted = pair.accept_at(above, DEEP + 2).unwrap();
    assert_eq!(pair.payee.deadline(), Some(at(DEEP + u32::from(DELAY))));
}

#[test]
fn voucher_below_the_first_debt_of_a_rollover_is_refused() {
    let mut pair = Pair::open();
    pair.pay(20_000_999);
    let (_, successor) = pair.settle(1_000);
    let next = Payee::load(&pair.context, base(2), successor.unwrap()).unwrap();
    let key = seed(1).payer_key(&pair.context, Network::Regtest, KeyIndex::new(0).unwrap());
    let key = key.unwrap();
    let below = next.channel().sign(&pair.context, &key, msat(998), &AUX).unwrap();
    let refused = next.accept(&pair.context, below, &view(DEEP)).map(|_| ());
    let want = StreamError::BelowStart { got: msat(998), start: msat(999) };
    assert_eq!(refused, Err(want));
    let equal = next.channel().sign(&pair.context, &key, msat(999), &AUX).unwrap();
    let accepted = next.accept(&pair.context, equal, &view(DEEP)).unwrap();
    assert_eq!((accepted.is_new(), accepted.gained()), (true, Msat::ZERO));
}

#[test]
fn voucher_above_a_payees_statement_is_credit_until_the_spend_is_buried() {
    let mut pair = Pair::open();
    pair.pay(20_000_000);
    let _tx = pair.settle(1_000);
    assert_eq!(pair.payee.phase(), PayeePhase::Promised { stated: msat(20_000_000) });
    let most = 20_000_000 + ZERO_CONF_SAT * 1_000;
    pair.pay(most);
    let above = pair.sign(most + 1).unwrap();
    let refused = pair.accept(above).unwrap_err();
    let (asked, limit) = (msat(ZERO_CONF_SAT * 1_000 + 1), msat(ZERO_CONF_SAT * 1_000));
    assert_eq!(refused, StreamError::NotDeepEnough { asked, depth: blocks(11), limit });
    // Settling the newer one does not raise what the older signature states.
    let _tx = pair.settle(5_000);
    assert_eq!(pair.payee.phase(), PayeePhase::Promised { stated: msat(20_000_000) });
    assert!(pair.accept(above).is_err());
    pair.restart_payee();
    assert!(pair.accept(above).is_err());
}

#[test]
fn payment_backwards_is_refused_by_the_payer_itself() {
    let mut pair = Pair::open();
    pair.pay(2_000);
    let before = pair.payer_signer.snapshot();
    let refused = StreamError::Backwards { got: msat(1_999), signed: msat(2_000) };
    assert_eq!(pair.sign(1_999), Err(refused));
    assert_eq!(pair.payer_signer.snapshot(), before);
    assert_eq!(pair.sign(2_000).unwrap(), pair.payee.best().unwrap());
}

#[test]
fn payment_over_a_budget_leaves_the_payer_as_it_was() {
    let mut pair = Pair::open();
    let peer = PeerId::new(base(2));
    pair.payer_signer.open_session(peer, session(), msat(5_000)).unwrap();
    pair.pay(5_000);
    let (before, signer) = (pair.payer.clone(), pair.payer_signer.snapshot());
    let (limit, budget) = (msat(5_000), Budget::Session);
    let over = SignerError::OverBudget { budget, limit, used: limit, asked: msat(1) };
    assert_eq!(pair.sign(5_001), Err(StreamError::Signer(over)));
    assert_eq!((pair.payer, pair.payer_signer.snapshot()), (before, signer));
}
