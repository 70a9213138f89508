//! Tests of resuming: restarts, restores, and payees that lie.

use super::payer::PayerPhase;
use super::*;
use crate::tx::TxError;

/// The record that a payer restores from its seed and its backup alone.
fn restored(pair: &Pair, outpoint: OutPoint, status: &OutputStatus) -> PayerRecord {
    let backup = opening(ChangeScript::Own, CAPACITY).funded(super::outpoint(1)).1;
    let bytes = backup.seal(&seed(1).backup_key(Network::Regtest));
    let backup = Backup::open(&bytes, &seed(1), Network::Regtest).unwrap();
    let (context, key) = (&pair.context, payer_key(0));
    Payer::restore(context, key, &backup, Some(&terms()), outpoint, status).unwrap()
}

#[test]
fn payer_after_a_restart_signs_nothing_before_it_resumed() {
    let mut pair = Pair::open();
    pair.pay(2_000);
    pair.restart_payer();
    let refused = StreamError::MustResume { at_least: msat(2_000) };
    assert_eq!(pair.sign(3_000), Err(refused));
    assert_eq!(joint::propose_close(&mut pair, sat(300)).err(), Some(refused));
    assert_eq!(joint::propose_top_up(&mut pair, true).err(), Some(refused));
    assert_eq!(pair.resume(), Ok(Msat::ZERO));
    pair.pay(3_000);
}

#[test]
fn payer_that_was_leaving_resumes_too() {
    // Payments after the proposal were not written: the stored amount is a lower bound.
    let mut pair = Pair::open();
    pair.pay(2_000);
    let _proposal = joint::propose_close(&mut pair, sat(300)).unwrap();
    let stored = pair.payer.record().clone();
    pair.pay(3_000);
    let bytes = stored.encode().unwrap();
    pair.reload_payer(PayerRecord::decode(&stored.key().unwrap(), &bytes).unwrap());
    assert_eq!(pair.sign(2_500), Err(StreamError::MustResume { at_least: msat(2_000) }));
    assert_eq!(pair.resume(), Ok(Msat::ZERO));
    assert_eq!(pair.payer.signed(), msat(3_000));
}

#[test]
fn payer_with_nothing_but_seed_and_backup_pays_on_and_refunds() {
    for change in [ChangeScript::Own, wallet_change(5)] {
        let mut pair = Pair::with(Choice { change, ..Choice::default() });
        pair.pay(2_000_000);
        let status = status(pair.payee.channel(), Some(CONFIRMED));
        let record = restored(&pair, outpoint(1), &status);
        assert_eq!((record.phase(), record.signed()), (PayerPhase::Unsure, Msat::ZERO));
        pair.reload_payer(record);
        // As a driver may do on loading, before the change script is known.
        pair.payer.register(&mut pair.payer_signer, Past::Unknown { from: None }).unwrap();
        assert_eq!(pair.resume(), Ok(Msat::ZERO));
        assert_eq!(pair.payer.signed(), msat(2_000_000));
        assert_eq!(pair.payer.channel(), pair.payee.channel());
        pair.pay(2_000_001);
        pair.refund();
    }
}

#[test]
fn payer_restores_after_a_rollover_and_a_replaced_funding() {
    // The same script at another outpoint with another value, found by its script.
    let mut pair = Pair::open();
    pair.pay(20_000_500);
    let (_, successor) = pair.settle(1_000);
    let successor = successor.unwrap();
    let replaced = PayeeRecord { outpoint: outpoint(9), ..pair.payee.record().clone() };
    for record in
        [successor, PayeeRecord { best: None, phase: payee::PayeePhase::Open, ..replaced }]
    {
        let start = record.paid().to_msat();
        pair.payee = Payee::load(&pair.context, base(2), record).unwrap();
        let shown = status(pair.payee.channel(), Some(DEEP));
        pair.reload_payer(restored(&pair, pair.payee.outpoint(), &shown));
        assert_eq!(pair.payer.channel(), pair.payee.channel());
        assert_eq!(pair.resume(), Ok(Msat::ZERO));
        pair.notice(&shown, DEEP + 5);
        let voucher = pair.sign_at(start + 3_000, Ending::KeepsChange, DEEP + 5).unwrap();
        let _accepted = pair.accept_at(voucher, DEEP + 5).unwrap();
        pair.refund();
    }
}

#[test]
fn restore_of_another_script_terms_or_a_spent_output_is_refused() {
    let mut pair = Pair::open();
    pair.pay(1_000);
    let backup = opening(ChangeScript::Own, CAPACITY).funded(outpoint(1)).1;
    let good = status(pair.payee.channel(), Some(CONFIRMED));
    let restore = |terms: &Terms, status: &OutputStatus| {
        let (context, key, outpoint) = (&pair.context, payer_key(0), outpoint(1));
        Payer::restore(context, key, &backup, Some(terms), outpoint, status).map(|_| ())
    };
    assert_eq!(restore(&terms(), &good), Ok(()));
    let mut other = terms();
    other.credit = msat(1);
    assert_eq!(restore(&other, &good), Err(StreamError::OtherTerms));
    let script = OutputStatus { script: wallet(3), ..good.clone() };
    let outpoint = outpoint(1);
    assert_eq!(restore(&terms(), &script), Err(StreamError::WrongScript { outpoint }));
    let tx = { Pair::open().refund() };
    let gone = spent(pair.payee.channel(), &tx, None);
    assert_eq!(restore(&terms(), &gone), Err(StreamError::SpentOutput { outpoint }));
}

#[test]
fn payee_that_presents_an_older_voucher_hurts_itself_alone() {
    let mut pair = Pair::open();
    let old = pair.pay(1_000);
    pair.pay(5_000);
    pair.restart_payer();
    let change = ChangeScript::Own;
    let (payer, signer) = (&pair.payer, &mut pair.payer_signer);
    let resumed = payer.resume(&pair.context, signer, Some((old, &change))).unwrap();
    assert_eq!((resumed.record().signed(), resumed.behind()), (msat(5_000), msat(4_000)));
    pair.payer.apply(resumed.record()).unwrap();
    // The payer never goes below what it knows; the same amount again re-sends it.
    assert!(matches!(pair.sign(4_999), Err(StreamError::Backwards { .. })));
    assert_eq!(pair.sign(5_000).unwrap().paid, msat(5_000));
}

#[test]
fn payee_that_presents_a_voucher_which_is_not_the_payers_is_refused() {
    let mut pair = Pair::open();
    let best = pair.pay(1_000);
    pair.restart_payer();
    let (before, snapshot) = (pair.payer.clone(), pair.payer_signer.snapshot());
    let forged = [
        Voucher { paid: msat(1_001), ..best },
        Voucher { paid: msat(CAPACITY * 1_000), ..best },
        Voucher { paid: msat(999), ..best },
    ];
    for voucher in forged {
        let (payer, signer) = (&pair.payer, &mut pair.payer_signer);
        let refused = payer.resume(&pair.context, signer, Some((voucher, &ChangeScript::Own)));
        let bad = TxError::BadSignature { paid: voucher.paid };
        assert_eq!(refused.map(|_| ()), Err(StreamError::Tx(bad)));
    }
    assert_eq!((&pair.payer, pair.payer_signer.snapshot()), (&before, snapshot));
}

#[test]
fn payee_that_names_its_own_change_script_is_refused() {
    let mut pair = Pair::open();
    let best = pair.pay(1_000);
    pair.restart_payer();
    let own = wallet_change(9);
    let (payer, signer) = (&pair.payer, &mut pair.payer_signer);
    let refused = payer.resume(&pair.context, signer, Some((best, &own))).map(|_| ());
    assert_eq!(refused, Err(StreamError::Tx(TxError::BadSignature { paid: msat(1_000) })));
    // The last voucher signs no change, so it proves none.
    let mut pair = Pair::open();
    let last = pair.sign_at(CAPACITY * 1_000, Ending::GivesUpChange, DEEP).unwrap();
    pair.restart_payer();
    let (payer, signer) = (&pair.payer, &mut pair.payer_signer);
    let resumed = payer.resume(&pair.context, signer, Some((last, &own))).unwrap();
    pair.payer.apply(resumed.record()).unwrap();
    assert_eq!(pair.payer.channel().change(), &ChangeScript::Own);
    assert_eq!(pair.payer.signed(), msat(CAPACITY * 1_000));
}

#[test]
fn payee_that_lost_its_store_takes_the_payers_word() {
    let mut pair = Pair::open();
    let best = pair.pay(5_000);
    let request = pair.payer.open_request(Network::Regtest);
    let shown = status(pair.payer.channel(), Some(CONFIRMED));
    let opened = Payee::open(&pair.context, &terms(), &request, Some(&shown), &view(DEEP));
    pair.payee = opened.unwrap();
    assert_eq!(pair.accept(best).unwrap().gained(), msat(5_000));
    pair.pay(6_000);
}

#[test]
fn payer_resumes_without_a_voucher_where_the_payee_has_none() {
    let mut pair = Pair::open();
    let _lost = pair.sign(4_000).unwrap();
    pair.restart_payer();
    assert_eq!(pair.resume(), Ok(msat(4_000)));
    assert_eq!(pair.payer.signed(), msat(4_000));
    pair.pay(4_000);
}

#[test]
fn rollover_found_after_a_restart_is_resumed_before_it_is_paid_on() {
    let mut pair = Pair::open();
    pair.pay(20_000_500);
    let (tx, _) = pair.settle(1_000);
    let seen = spent(pair.payer.channel(), &tx, Some(DEEP));
    let live = pair.payer.notice(Some(&seen), &tip(DEEP)).unwrap();
    assert_eq!(live.successor().unwrap().phase(), PayerPhase::Open);
    pair.restart_payer();
    let after = pair.payer.notice(Some(&seen), &tip(DEEP)).unwrap();
    assert_eq!(after.successor().unwrap().phase(), PayerPhase::Unsure);
}
