//! Tests of opening: what either side refuses to begin with.

use super::*;
use crate::tx::TxError;

fn request() -> OpenRequest {
    opening(ChangeScript::Own, CAPACITY).funded(outpoint(1)).2
}

fn shown() -> OutputStatus {
    status(Pair::open().payee.channel(), Some(CONFIRMED))
}

fn open(request: &OpenRequest, shown: Option<&OutputStatus>) -> Result<PayeeRecord, StreamError> {
    let opened = Payee::open(&Context::new(), &terms(), request, shown, &view(DEEP));
    opened.map(|payee| payee.record().clone())
}

#[test]
fn payee_opens_what_the_chain_shows_however_long_ago_it_was_funded() {
    assert!(open(&request(), Some(&shown())).is_ok());
    let late = view(LAST_CALL - 1);
    assert!(Payee::open(&Context::new(), &terms(), &request(), Some(&shown()), &late).is_ok());
    let refused =
        Payee::open(&Context::new(), &terms(), &request(), Some(&shown()), &view(LAST_CALL));
    let (height, last_call) = (at(LAST_CALL), at(LAST_CALL));
    assert_eq!(refused, Err(StreamError::TooLate { height, last_call }));
}

#[test]
fn payee_refuses_an_unknown_spent_underfunded_or_foreign_output() {
    let outpoint = outpoint(1);
    assert_eq!(open(&request(), None), Err(StreamError::NoOutput { outpoint }));
    let mut pair = Pair::open();
    let tx = pair.refund();
    let gone = spent(pair.payee.channel(), &tx, None);
    assert_eq!(open(&request(), Some(&gone)), Err(StreamError::SpentOutput { outpoint }));
    let other = OutputStatus { script: wallet(3), ..shown() };
    assert_eq!(open(&request(), Some(&other)), Err(StreamError::WrongScript { outpoint }));
    let (from, to) = terms().capacity;
    for got in [from.to_sat() - 1, to.to_sat() + 1] {
        let got = sat(got);
        let refused = StreamError::CapacityOutOfTerms { got, from, to };
        let status = OutputStatus { value: got, ..shown() };
        assert_eq!(open(&request(), Some(&status)), Err(refused));
    }
    for value in [from, to] {
        assert!(open(&request(), Some(&OutputStatus { value, ..shown() })).is_ok());
    }
}

#[test]
fn payee_refuses_a_request_for_another_network_payee_or_terms() {
    let refused = |change: fn(&mut OpenRequest)| {
        let mut request = request();
        change(&mut request);
        open(&request, Some(&shown())).unwrap_err()
    };
    let (want, got) = (Network::Regtest, Network::Bitcoin);
    assert_eq!(
        refused(|request| request.network = Network::Bitcoin),
        StreamError::WrongNetwork { want, got }
    );
    let (want, got) = (base(2), base(3));
    assert_eq!(refused(|request| request.base = base(3)), StreamError::WrongPayee { want, got });
    assert_eq!(refused(|request| request.terms = [0; 32]), StreamError::OtherTerms);
    let script = StreamError::WrongScript { outpoint: outpoint(1) };
    assert_eq!(refused(|request| request.payer = payer_key(1)), script);
    assert_eq!(refused(|request| request.delay = Delay::new(145).unwrap()), script);
    let delay = |got| StreamError::DelayOutOfTerms { got, from: 50, to: 1_000 };
    assert_eq!(refused(|request| request.delay = Delay::new(49).unwrap()), delay(49));
    assert_eq!(refused(|request| request.delay = Delay::new(1_001).unwrap()), delay(1_001));
}

#[test]
fn payee_refuses_expired_terms_and_a_stalled_tip() {
    let (context, request, shown) = (Context::new(), request(), shown());
    let open = |view: &View| Payee::open(&context, &terms(), &request, Some(&shown), view);
    let mut late = view(DEEP);
    late.now = terms().expiry;
    assert!(open(&late).is_ok());
    late.now = UtcSeconds::new(NOW + 1_001).unwrap();
    let (expiry, now) = (terms().expiry, late.now);
    assert_eq!(open(&late), Err(StreamError::TermsExpired { expiry, now }));
    let mut stalled = view(DEEP);
    stalled.tip.time = UtcSeconds::new(NOW - 7_200).unwrap();
    assert!(open(&stalled).is_ok());
    stalled.tip.time = UtcSeconds::new(NOW - 7_201).unwrap();
    let (age, max) = (Seconds::new(7_201).unwrap(), Seconds::new(7_200).unwrap());
    assert_eq!(open(&stalled), Err(StreamError::StalledTip { age, max }));
}

#[test]
fn change_script_that_is_not_standard_cannot_be_asked_for() {
    let data = ScriptBuf::from(alloc::vec![0x6a, 1, 1]);
    let key_hash = ScriptBuf::from([&[0x76, 0xa9, 20][..], &[1; 20], &[0x88, 0xac]].concat());
    let future = ScriptBuf::from([&[0x60, 32][..], &[1; 32]].concat());
    let junk = [ScriptBuf::new(), data, key_hash, future, ScriptBuf::from(alloc::vec![0; 9_999])];
    for script in junk {
        let bytes = script.len();
        assert_eq!(WalletScript::parse(script), Err(TxError::NonStandardChange { bytes }));
    }
}

#[test]
fn change_script_that_is_the_channels_own_rolls_over_on_both_sides() {
    let own = opening(ChangeScript::Own, CAPACITY).script().clone();
    let named = ChangeScript::Wallet(WalletScript::parse(own).unwrap());
    let mut pair = Pair::with(Choice { change: named, ..Choice::default() });
    assert_eq!(pair.payer.channel().change(), &ChangeScript::Own);
    assert_eq!(pair.payee.channel().change(), &ChangeScript::Own);
    pair.pay(20_000_500);
    let (tx, payees) = pair.settle(1_000);
    let seen = spent(pair.payer.channel(), &tx, None);
    let seen = pair.payer.notice(Some(&seen), &tip(DEEP)).unwrap();
    let payers = seen.successor().unwrap();
    assert_eq!(payers.outpoint(), payees.unwrap().outpoint());
}

#[test]
fn payer_opens_within_the_terms_only() {
    let (context, index) = (Context::new(), KeyIndex::new(0).unwrap());
    let open = |terms: &Terms, delay: u16, capacity: u64, now: u64| {
        let mut view = view(90);
        view.now = UtcSeconds::new(now).unwrap();
        let (key, delay) = (payer_key(0), Delay::new(delay).unwrap());
        let (capacity, change) = (sat(capacity), ChangeScript::Own);
        Opening::new(&context, terms, index, key, delay, capacity, change, &view).map(|_| ())
    };
    let good = terms();
    for (delay, capacity, now) in [(50, 10_000, NOW), (1_000, 1_000_000, NOW + 1_000)] {
        assert_eq!(open(&good, delay, capacity, now), Ok(()));
    }
    for got in [49, 1_001] {
        let refused = StreamError::DelayOutOfTerms { got, from: 50, to: 1_000 };
        assert_eq!(open(&good, got, 10_000, NOW), Err(refused));
    }
    let (from, to) = good.capacity;
    for got in [9_999, 1_000_001] {
        let refused = StreamError::CapacityOutOfTerms { got: sat(got), from, to };
        assert_eq!(open(&good, 50, got, NOW), Err(refused));
    }
    let now = UtcSeconds::new(NOW + 1_001).unwrap();
    let refused = StreamError::TermsExpired { expiry: good.expiry, now };
    assert_eq!(open(&good, 50, 10_000, NOW + 1_001), Err(refused));
    let mut bad = terms();
    bad.capacity.0 = sat(1);
    assert_eq!(open(&bad, 50, 330, NOW), Ok(()));
    let dust = TxError::CapacityBelowDust { capacity: sat(329), dust: sat(330) };
    assert_eq!(open(&bad, 50, 329, NOW), Err(StreamError::Tx(dust)));
    bad.settle_margin = blocks(1);
    assert!(matches!(open(&bad, 50, 10_000, NOW), Err(StreamError::Terms(_))));
}

#[test]
fn second_outpoint_of_the_script_is_not_paid_on() {
    let mut pair = Pair::open();
    pair.pay(1_000);
    // Somebody deposits to the same script: another channel, which this payer must not pay on.
    let record = PayerRecord { outpoint: outpoint(2), ..pair.payer.record().clone() };
    let record = PayerRecord { signed: Msat::ZERO, ..record };
    let second = Payer::load(&pair.context, payer_key(0), record).unwrap();
    second.register(&mut pair.payer_signer, Past::New).unwrap();
    let (signer, view) = (&mut pair.payer_signer, view(DEEP));
    let before = signer.snapshot();
    let refused = second.pay(signer, msat(1_000), Ending::KeepsChange, session(), &view, &AUX);
    assert!(matches!(refused, Err(StreamError::Signer(_))), "{refused:?}");
    assert_eq!(pair.payer_signer.snapshot(), before);
}

#[test]
fn payee_record_of_a_paid_channel_is_not_fresh() {
    let mut pair = Pair::open();
    assert!(pair.payee.is_fresh());
    pair.pay(1);
    assert!(!pair.payee.is_fresh());
}
