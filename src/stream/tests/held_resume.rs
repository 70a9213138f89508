//! Conditional payments over restarts: what each side takes up again, and its record.

use alloc::vec::Vec;

use super::held::{FEE, SETTLE_BY, hold, id, preimage};
use super::payee::PayeeHoldState;
use super::*;
use crate::tx::TxError;

#[test]
fn payer_restarted_with_holds_resumes_from_any_voucher_that_the_payee_shows() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    let older = pair.held(1, 5_000);
    pair.held(2, 6_000);
    let state = pair.payer.record().clone();
    for shown in [Some(older), pair.payee.best_held()] {
        pair.restart_payer();
        let refused = pair.offer(3, 5_000).unwrap_err();
        assert_eq!(refused, StreamError::MustResume { at_least: msat(20_000_000) });
        let shown = shown.unwrap();
        let resumed = pair.payer.resume_held(&pair.context, &mut pair.payer_signer, &shown);
        pair.payer.apply(resumed.unwrap().record()).unwrap();
        assert_eq!(*pair.payer.record(), state, "the durable record stands");
        assert_eq!(pair.payer_signer.exposure(outpoint(1)), Some(msat(31_000_000)));
        let again = pair.pay_held(20_000_000).unwrap();
        assert_eq!(again.holds, [hold(1, 5_000), hold(2, 6_000)]);
        assert!(!pair.hear(&again).unwrap().is_new());
    }
    let mut forged = pair.payee.best_held().unwrap();
    forged.holds[0].amount = sat(4_000);
    pair.restart_payer();
    let refused = pair.payer.resume_held(&pair.context, &mut pair.payer_signer, &forged);
    assert!(matches!(refused.unwrap_err(), StreamError::Tx(TxError::BadSignature { .. })));
}

#[test]
fn payer_with_an_older_record_takes_over_the_holds_that_it_signed() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    let older = pair.payer.record().clone().into_unsure();
    pair.held(1, 5_000);
    let paid = pair.pay_held(21_000_000).unwrap();
    let _accepted = pair.hear(&paid).unwrap();
    pair.reload_payer(older);
    let shown = pair.payee.best_held().unwrap();
    let resumed = pair.payer.resume_held(&pair.context, &mut pair.payer_signer, &shown).unwrap();
    pair.payer.apply(resumed.record()).unwrap();
    assert_eq!(pair.payer.holds()[0].hold, hold(1, 5_000));
    assert_eq!(pair.offer(2, 5_000).unwrap().holds[1].id, id(2));
}

#[test]
fn payer_restored_from_its_backup_takes_over_the_holds_of_a_channel_that_paid_nothing() {
    let mut pair = Pair::holding();
    let fresh = pair.payer.record().clone().into_unsure();
    pair.held(1, 5_000);
    let grown = pair.grow(1, 6_000).unwrap();
    let _accepted = pair.hear(&grown).unwrap();
    pair.reload_payer(fresh);
    let shown = pair.payee.best_held().unwrap();
    let resumed = pair.payer.resume_held(&pair.context, &mut pair.payer_signer, &shown).unwrap();
    pair.payer.apply(resumed.record()).unwrap();
    assert_eq!(pair.payer.holds()[0].hold, hold(1, 6_000));
    assert_eq!(pair.payer.exposure(), msat((6_000 + FEE) * 1_000));
    let next = pair.offer(2, 5_000).unwrap();
    assert!(pair.hear(&next).is_ok());
}

#[test]
fn payer_that_lost_a_fold_takes_the_plain_voucher_that_ended_the_holds() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    pair.held(1, 5_000);
    let before = pair.payer.record().clone().into_unsure();
    let folded = pair.fold(1).unwrap();
    let _accepted = pair.hear(&folded).unwrap();
    pair.reload_payer(before);
    assert_eq!(pair.resume().unwrap(), Msat::ZERO);
    assert!(pair.payer.holds().is_empty());
    assert_eq!(pair.payer.signed(), msat(25_000_000));
    pair.pay(26_000_000);
}

#[test]
fn payee_restarted_keeps_preimages_and_releases() {
    let mut pair = Pair::holding();
    pair.held(1, 5_000);
    pair.held(2, 6_000);
    pair.fulfil(1);
    pair.release(2);
    pair.restart_payee();
    let states: Vec<_> = pair.payee.holds().iter().map(|held| held.state).collect();
    assert_eq!(states, [PayeeHoldState::Fulfilled(preimage(1)), PayeeHoldState::Released]);
    assert_eq!(pair.payee.settle_by(), Some(at(SETTLE_BY)));
}

#[test]
fn records_with_holds_are_of_version_2_and_refused_at_every_cut_and_byte() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    pair.held(1, 5_000);
    pair.held(2, 6_000);
    pair.fulfil(1);
    pair.release(2);
    let payee = (pair.payee.record().key().unwrap(), pair.payee.record().encode().unwrap());
    let payer = (pair.payer.record().key().unwrap(), pair.payer.record().encode().unwrap());
    for ((key, bytes), is_payee) in [(payee, true), (payer, false)] {
        assert_eq!(bytes[0], 2);
        let good = |bytes: &[u8]| {
            if is_payee {
                PayeeRecord::decode(&key, bytes).is_ok()
            } else {
                PayerRecord::decode(&key, bytes).is_ok()
            }
        };
        assert!(good(&bytes));
        for cut in 0..bytes.len() {
            assert!(!good(&bytes[..cut]), "cut at {cut}");
            let mut rotten = bytes.clone();
            rotten[cut] ^= 1;
            assert!(!good(&rotten), "rotten at {cut}");
        }
        // A body that says otherwise under a good checksum.
        let body = crate::store::envelope::open(&key, 2, &bytes).unwrap();
        let seal = |version, body: &[u8]| crate::store::envelope::seal(&key, version, body);
        assert!(!good(&seal(1, body)) && !good(&seal(3, body)));
        assert!(!good(&seal(2, &[body, &[0]].concat())));
        assert!(!good(&seal(2, &body[..body.len() - 1])));
    }
    assert_eq!(Pair::open().payee.record().encode().unwrap()[0], 1);
    assert_eq!(Pair::open().payer.record().encode().unwrap()[0], 1);
}

#[test]
fn step_decided_before_an_offer_cannot_forget_the_hold() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    let before = pair.payer.record().clone();
    let seen = pair.payee.record().clone();
    pair.held(1, 5_000);
    assert_eq!(pair.payer.apply(&before), Err(StreamError::OldStep { phase: "open" }));
    assert_eq!(pair.payee.apply(&seen), Err(StreamError::OldStep { phase: "open" }));
}
