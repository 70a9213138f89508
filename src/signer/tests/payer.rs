//! The payer's channels: never backwards, one outpoint a script, resumed after a restart.

use super::*;

#[test]
fn voucher_of_equal_paid_is_the_identical_signature_and_a_lower_one_is_refused() {
    let (mut signer, channel) = paying(open_policy());
    let first = pay(&mut signer, &channel, 5_000).unwrap();
    let spent = signer.snapshot();
    assert_eq!(pay(&mut signer, &channel, 5_000).unwrap(), first);
    assert_eq!(signer.snapshot(), spent);
    let refused = SignerError::Backwards { signed: msat(5_000), asked: msat(4_999) };
    assert_eq!(pay(&mut signer, &channel, 4_999), Err(refused));
    pay(&mut signer, &channel, 5_001).unwrap();
    assert_eq!(signer.exposure(channel.outpoint()), Some(msat(5_001)));
}

#[test]
fn voucher_at_capacity_is_signed_and_above_it_or_into_the_dust_is_refused() {
    let (mut signer, channel) = paying(open_policy());
    let most = channel.largest_with_change().to_msat();
    pay(&mut signer, &channel, most).unwrap();
    let refused = pay(&mut signer, &channel, most + 1).unwrap_err();
    assert!(matches!(refused, SignerError::Tx(TxError::ChangeBelowDust { .. })), "{refused}");
    let limit = msat(CAPACITY * 1_000);
    pay(&mut signer, &channel, limit.to_msat()).unwrap();
    let above = TxError::AboveCapacity { paid: msat(CAPACITY * 1_000 + 1), limit };
    assert_eq!(pay(&mut signer, &channel, CAPACITY * 1_000 + 1), Err(SignerError::Tx(above)));
}

#[test]
fn request_for_a_channel_with_other_values_is_refused() {
    let (mut signer, ours) = paying(open_policy());
    let (outpoint, output) = (ours.outpoint(), ours.output().clone());
    let refused = Err(SignerError::OtherChannel { outpoint });
    let larger = Sat::new(CAPACITY + 1).unwrap();
    let larger = Channel::new(outpoint, larger, output.clone(), ChangeScript::Own).unwrap();
    let change = ChangeScript::Wallet(WalletScript::parse(wallet(7)).unwrap());
    let elsewhere = Channel::new(outpoint, ours.capacity(), output, change).unwrap();
    for other in [larger, elsewhere, channel(1, 1), channel_with(3, 0, 1)] {
        let request = Request::Voucher { channel: &other, paid: msat(1), session: session(1) };
        assert_eq!(signer.sign(&request, at(NOON), &AUX), refused);
        let refund = refund(&other);
        let joint = close(&other, 0, 300);
        assert_eq!(signer.sign(&Request::Close { spend: &joint }, at(NOON), &AUX), refused);
        if other.output() != ours.output() {
            assert_eq!(signer.sign(&Request::Refund { refund: &refund }, at(NOON), &AUX), refused);
        }
        let again = signer.register(&other, payer_role(0, Past::New));
        assert_eq!(again, Err(SignerError::AlreadyRegistered { outpoint }));
    }
}

#[test]
fn channel_of_another_key_is_not_registered() {
    let mut signer = signer(1, open_policy());
    let channel = channel(0, 1);
    let got = signer.public(KeyName::Payer(key_index(1))).unwrap();
    let refused = SignerError::WrongKey { want: channel.output().payer(), got };
    assert_eq!(signer.register(&channel, payer_role(1, Past::New)), Err(refused));
    let refused = signer.register(&channel, Role::Payee { stated: None });
    assert!(matches!(refused, Err(SignerError::WrongKey { .. })));
    assert!(signer.exposure(channel.outpoint()).is_none());
}

#[test]
fn channel_of_unknown_past_goes_on_from_the_presented_voucher_only() {
    let (mut signer, _) = paying(open_policy());
    let known = channel(1, 2);
    let outpoint = known.outpoint();
    signer.register(&known, payer_role(1, Past::Unknown { from: None })).unwrap();
    assert_eq!(pay(&mut signer, &known, 9_000), Err(SignerError::MustResume { outpoint }));
    assert_eq!(signer.exposure(outpoint), None);

    // Checked against a channel of the payee's own making, with the same outpoint.
    let context = Context::new();
    let mallory = seed(9).payer_key(&context, Network::Regtest, key_index(0)).unwrap();
    let delay = Delay::new(144).unwrap();
    let output = FundingOutput::new(&context, mallory.public(), base(2), delay).unwrap();
    let theirs = Channel::new(outpoint, known.capacity(), output, ChangeScript::Own).unwrap();
    let forged = theirs.sign(&context, &mallory, msat(8_000), &AUX).unwrap();
    let forged = theirs.verify(&context, forged).unwrap();
    let before = signer.snapshot();
    let refused = SignerError::Tx(TxError::BadSignature { paid: msat(8_000) });
    assert_eq!(signer.resume(&forged), Err(refused));
    assert_eq!(signer.snapshot(), before);

    signer.resume(&old_voucher(&known, 1, 9_000)).unwrap();
    assert_eq!(signer.exposure(outpoint), Some(msat(9_000)));
    let refused = SignerError::Backwards { signed: msat(9_000), asked: msat(8_999) };
    assert_eq!(pay(&mut signer, &known, 8_999), Err(refused));
    pay(&mut signer, &known, 9_000).unwrap();
    pay(&mut signer, &known, 9_001).unwrap();

    // An older voucher, shown later, lowers nothing.
    signer.resume(&old_voucher(&known, 1, 100)).unwrap();
    assert_eq!(signer.exposure(outpoint), Some(msat(9_001)));
}

#[test]
fn second_outpoint_of_a_script_is_refused_until_the_first_is_forgotten() {
    let (mut signer, first) = paying(open_policy());
    let second = channel(0, 2);
    signer.register(&second, payer_role(0, Past::New)).unwrap();
    pay(&mut signer, &first, 1).unwrap();
    let refused = SignerError::SecondOutpoint { first: first.outpoint() };
    assert_eq!(pay(&mut signer, &second, 1), Err(refused));
    // It is refunded, though.
    let refund = refund(&second);
    signer.sign(&Request::Refund { refund: &refund }, at(NOON), &AUX).unwrap();
    pay(&mut signer, &first, 2).unwrap();
    signer.forget(first.outpoint()).unwrap();
    pay(&mut signer, &second, 1).unwrap();
}

#[test]
fn second_outpoint_is_refused_while_the_first_ones_past_is_unknown() {
    let mut signer = paying(open_policy()).0;
    let (old, new) = (channel(1, 2), channel(1, 3));
    signer.register(&old, payer_role(1, Past::Unknown { from: None })).unwrap();
    signer.register(&new, payer_role(1, Past::New)).unwrap();
    let refused = SignerError::SecondOutpoint { first: old.outpoint() };
    assert_eq!(pay(&mut signer, &new, 1), Err(refused));
    // A deposit that nobody asked for, found after a restart, does not stop the real channel.
    let stray = channel(1, 4);
    signer.register(&stray, payer_role(1, Past::Unknown { from: None })).unwrap();
    signer.resume(&old_voucher(&old, 1, 7)).unwrap();
    pay(&mut signer, &old, 8).unwrap();
}

#[test]
fn descendant_carries_its_exposure_once_and_no_more_than_there_was() {
    let slice = msat(1_000_000);
    let policy = Policy { hour: slice, day: slice, peer: slice, slice };
    let (mut signer, first) = paying(policy);
    pay(&mut signer, &first, 600_007).unwrap();
    let from = first.outpoint();
    let rolled = channel(0, 2);
    let too_much = payer_role(0, Past::Descends { from, carried: msat(600_008) });
    let refused = SignerError::AboveExposure { exposure: msat(600_007), asked: msat(600_008) };
    assert_eq!(signer.register(&rolled, too_much), Err(refused));
    let foreign = payer_role(1, Past::Descends { from, carried: msat(7) });
    let refused = SignerError::NotADescendant { from };
    assert_eq!(signer.register(&channel(1, 2), foreign), Err(refused));

    let past = Past::Descends { from, carried: msat(7) };
    signer.register(&rolled, payer_role(0, past)).unwrap();
    assert_eq!(signer.exposure(rolled.outpoint()), Some(msat(7)));
    // Both of the line are paid on, the old one too: the rollover may never confirm.
    pay(&mut signer, &rolled, 7).unwrap();
    pay(&mut signer, &first, 600_008).unwrap();
    // 600,008 are used; 399,992 are left, on top of the 7 carried.
    pay(&mut signer, &rolled, 7 + 399_992).unwrap();
    let refused = pay(&mut signer, &rolled, 7 + 399_993).unwrap_err();
    assert!(matches!(refused, SignerError::OverBudget { .. }), "{refused}");
    let past = Past::Unknown { from: Some(rolled.outpoint()) };
    let third = channel(0, 3);
    signer.register(&third, payer_role(0, past)).unwrap();
    signer.resume(&old_voucher(&third, 0, 3)).unwrap();
    pay(&mut signer, &third, 3).unwrap();
}

#[test]
fn balance_that_rose_before_its_top_up_was_proposed_again_is_charged_once() {
    let slice = msat(1_000_000);
    let policy = Policy { hour: slice, day: slice, peer: slice, slice };
    let (mut signer, first) = paying(policy);
    let (from, topped) = (first.outpoint(), channel(0, 2));
    let carries = |carried| payer_role(0, Past::Descends { from, carried: msat(carried) });
    pay(&mut signer, &first, 300_007).unwrap();
    signer.register(&topped, carries(300_007)).unwrap();
    pay(&mut signer, &topped, 300_007).unwrap();
    pay(&mut signer, &first, 800_007).unwrap();
    // The same transaction: it says 7 msat of either. No more is carried than was charged there,
    // and less takes nothing back.
    let before = signer.snapshot();
    let refused = SignerError::AboveExposure { exposure: msat(800_007), asked: msat(800_008) };
    assert_eq!(signer.register(&topped, carries(800_008)), Err(refused));
    signer.register(&topped, carries(7)).unwrap();
    assert_eq!(signer.snapshot(), before);
    signer.register(&topped, carries(800_007)).unwrap();
    assert_eq!(signer.exposure(topped.outpoint()), Some(msat(800_007)));
    pay(&mut signer, &topped, 800_007).unwrap();
    pay(&mut signer, &topped, 1_000_000).unwrap();
    let refused = pay(&mut signer, &topped, 1_000_001).unwrap_err();
    assert!(matches!(refused, SignerError::OverBudget { .. }), "{refused}");
    // One that was forgotten meanwhile comes back with what it had, and carries more all the same.
    let (mut signer, first) = paying(policy);
    pay(&mut signer, &first, 300_007).unwrap();
    signer.register(&topped, carries(300_007)).unwrap();
    signer.forget(topped.outpoint()).unwrap();
    pay(&mut signer, &first, 800_007).unwrap();
    signer.register(&topped, carries(800_007)).unwrap();
    assert_eq!(signer.exposure(topped.outpoint()), Some(msat(800_007)));
    // Refused, it stays forgotten.
    signer.forget(topped.outpoint()).unwrap();
    signer.forget(from).unwrap();
    let refused = SignerError::UnknownChannel { outpoint: from };
    assert_eq!(signer.register(&topped, carries(900_007)), Err(refused));
    assert_eq!(signer.exposure(topped.outpoint()), None);
}

#[test]
fn forgotten_channel_that_is_registered_again_goes_on_from_where_it_was() {
    let (mut signer, channel) = paying(open_policy());
    pay(&mut signer, &channel, 5_000).unwrap();
    signer.forget(channel.outpoint()).unwrap();
    let outpoint = channel.outpoint();
    assert_eq!(pay(&mut signer, &channel, 6_000), Err(SignerError::UnknownChannel { outpoint }));
    assert_eq!(signer.forget(outpoint), Err(SignerError::UnknownChannel { outpoint }));
    signer.register(&channel, payer_role(0, Past::New)).unwrap();
    let refused = SignerError::Backwards { signed: msat(5_000), asked: msat(4_999) };
    assert_eq!(pay(&mut signer, &channel, 4_999), Err(refused));
}

#[test]
fn close_states_what_was_signed_and_nothing_else() {
    let (mut signer, channel) = paying(open_policy());
    pay(&mut signer, &channel, 1_000_000).unwrap();
    let mut sign = |spend: JointSpend| {
        let before = signer.snapshot();
        let result = signer.sign(&Request::Close { spend: &spend }, at(NOON), &AUX);
        assert_eq!(signer.snapshot(), before, "a payer's close changes nothing");
        result.map(|_| ())
    };
    sign(close(&channel, 1_000_000, 300)).unwrap();
    sign(close(&channel, 1_000_000, 900)).unwrap();
    let backwards = SignerError::Backwards { signed: msat(1_000_000), asked: msat(999_999) };
    assert_eq!(sign(close(&channel, 999_999, 300)), Err(backwards));
    let above = SignerError::AboveExposure { exposure: msat(1_000_000), asked: msat(1_000_001) };
    assert_eq!(sign(close(&channel, 1_000_001, 300)), Err(above));
}

#[test]
fn channel_beyond_the_limit_is_refused() {
    let mut signer = signer(1, open_policy());
    let one = channel(0, 1);
    let nth = |n: usize| {
        let vout = u32::try_from(n).unwrap();
        let outpoint = OutPoint::new(one.outpoint().txid, vout);
        let output = one.output().clone();
        Channel::new(outpoint, one.capacity(), output, ChangeScript::Own).unwrap()
    };
    for n in 0..MemorySigner::CHANNELS_MAX {
        signer.register(&nth(n), payer_role(0, Past::New)).unwrap();
    }
    let one_more = nth(MemorySigner::CHANNELS_MAX);
    let refused = SignerError::TooManyChannels { max: MemorySigner::CHANNELS_MAX };
    assert_eq!(signer.register(&one_more, payer_role(0, Past::New)), Err(refused));
    signer.forget(one.outpoint()).unwrap();
    signer.register(&one_more, payer_role(0, Past::New)).unwrap();
}
