//! What the signer counts of conditional payments, and which it never signs.

use proptest::prelude::*;

use super::*;

fn height(height: u32) -> Height {
    Height::new(height).unwrap()
}

fn sign_at(signer: &mut MemorySigner, held: &Held, tip: u32) -> Result<Signature, SignerError> {
    let before = signer.snapshot();
    let (session, confirmed) = (session(1), Height::new(100).ok());
    let request = Request::Held { held, session, tip: height(tip), confirmed };
    let signed = signer.sign(&request, at(NOON), &AUX);
    if signed.is_err() {
        assert_eq!(signer.snapshot(), before);
    }
    signed
}

fn used_of_day(signer: &mut MemorySigner, channel: &Channel) -> Msat {
    // A payment above every limit says what is used.
    let refused = pay(signer, channel, CAPACITY * 1_000).unwrap_err();
    match refused {
        SignerError::OverBudget { used, .. } => used,
        other => panic!("{other}"),
    }
}

#[test]
fn hold_is_charged_once_and_its_fold_costs_nothing() {
    let policy = Policy { day: msat(60_000_000), ..open_policy() };
    let (mut signer, channel) = paying(policy);
    sign_at(&mut signer, &held_of(&channel, 1_000_000), 110).unwrap();
    assert_eq!(signer.exposure(channel.outpoint()), Some(msat(6_000_000)));
    assert_eq!(used_of_day(&mut signer, &channel), msat(6_000_000));
    // Grown, then folded in full.
    let grown = held_with(&channel, 1_000_000, vec![hold(1, 7_000)]);
    sign_at(&mut signer, &grown, 110).unwrap();
    pay(&mut signer, &channel, 8_000_000).unwrap();
    assert_eq!(used_of_day(&mut signer, &channel), msat(8_000_000));
    assert_eq!(signer.exposure(channel.outpoint()), Some(msat(8_000_000)));
}

#[test]
fn hold_over_the_budget_is_refused() {
    let policy = Policy { day: msat(5_000_000), ..open_policy() };
    let (mut signer, channel) = paying(policy);
    let refused = sign_at(&mut signer, &held_of(&channel, 1_000), 110).unwrap_err();
    assert!(matches!(refused, SignerError::OverBudget { budget: Budget::Day, .. }), "{refused}");
}

#[test]
fn released_hold_counts_until_its_expiry_has_passed() {
    let (mut signer, channel) = paying(open_policy());
    sign_at(&mut signer, &held_of(&channel, 1_000_000), 110).unwrap();
    pay(&mut signer, &channel, 1_000_000).unwrap();
    let exposure = |signer: &MemorySigner, at| {
        signer.exposure_at(channel.outpoint(), height(at)).unwrap().to_msat()
    };
    assert_eq!(exposure(&signer, EXPIRY), 6_000_000);
    assert_eq!(exposure(&signer, EXPIRY + 1), 1_000_000);
    // Only one of the two vouchers can be published: the larger counts, never the sum.
    sign_at(&mut signer, &held_with(&channel, 1_000_000, vec![hold(2, 5_500)]), 110).unwrap();
    assert_eq!(exposure(&signer, 110), 6_500_000);
}

#[test]
fn exposure_of_a_restart_is_taken_over_and_only_rises() {
    let (mut signer, channel) = paying(open_policy());
    let known = Exposure::NONE.with(&held_of(&channel, 1_000_000));
    signer.resume_exposure(channel.outpoint(), &known).unwrap();
    assert_eq!(signer.exposure(channel.outpoint()), Some(msat(6_000_000)));
    signer.resume_exposure(channel.outpoint(), &Exposure::NONE).unwrap();
    assert_eq!(signer.exposure(channel.outpoint()), Some(msat(6_000_000)));
    let (mut signer, _) = paying(open_policy());
    signer.resume_held(&old_held(held_of(&channel, 1_000_000))).unwrap();
    assert_eq!(signer.exposure(channel.outpoint()), Some(msat(6_000_000)));
    let backwards = pay(&mut signer, &channel, 999_999).unwrap_err();
    assert_eq!(backwards, SignerError::Backwards { signed: msat(1_000_000), asked: msat(999_999) });
}

#[test]
fn hold_that_changes_or_takes_a_used_id_is_refused() {
    let (mut signer, channel) = paying(open_policy());
    let sign = |signer: &mut MemorySigner, hold| {
        sign_at(signer, &held_with(&channel, 0, vec![hold]), 110).map(|_| ())
    };
    sign(&mut signer, hold(3, 5_000)).unwrap();
    let reused = |id: u8| Err(SignerError::HoldReused { id: HoldId::new(id.into()).unwrap() });
    assert_eq!(sign(&mut signer, hold(3, 4_999)), reused(3));
    assert_eq!(sign(&mut signer, Hold { hash: hold(1, 1).hash, ..hold(3, 5_000) }), reused(3));
    assert_eq!(sign(&mut signer, hold(2, 5_000)), reused(2));
    sign(&mut signer, hold(3, 6_000)).unwrap();
    sign(&mut signer, hold(4, 5_000)).unwrap();
    assert_eq!(sign(&mut signer, hold(3, 6_000)), reused(3));
}

#[test]
fn claim_or_timeout_of_another_channel_is_refused() {
    let (signer, channel) = paying(open_policy());
    let mut signer = signer;
    let other = super::channel(1, 2);
    let key = seed(1).payer_key(&Context::new(), Network::Regtest, key_index(1)).unwrap();
    let held = held_of(&other, 0);
    let signature = held.sign(&Context::new(), &key, &AUX).unwrap();
    let checked = held.verify(&Context::new(), &signature).unwrap();
    let settlement = HoldSettlement::new(checked, &[]).unwrap();
    let [_, timeout] = hold_spends(&settlement);
    let request = Request::HoldSpend { channel: &channel, spend: &timeout };
    let refused = signer.sign(&request, at(NOON), &AUX).unwrap_err();
    assert_eq!(refused, SignerError::OtherChannel { outpoint: channel.outpoint() });
}

#[test]
fn payees_output_of_another_channel_is_refused() {
    let mut signer = signer(2, open_policy());
    let (own, other) = (super::channel(0, 1), super::channel(1, 2));
    signer.register(&own, Role::Payee { stated: None }).unwrap();
    let key = seed(1).payer_key(&Context::new(), Network::Regtest, key_index(1)).unwrap();
    let held = held_of(&other, 1_000_000);
    let signature = held.sign(&Context::new(), &key, &AUX).unwrap();
    let settlement = HoldSettlement::new(held.verify(&Context::new(), &signature).unwrap(), &[]);
    let spend = payee_spend(&other, &settlement.unwrap());
    let request = Request::PayeeSpend { channel: &own, spend: &spend };
    let refused = signer.sign(&request, at(NOON), &AUX).unwrap_err();
    assert_eq!(refused, SignerError::OtherChannel { outpoint: own.outpoint() });
}

/// The definition itself, over all vouchers ever signed.
fn model(vouchers: &[(u64, Vec<(u32, u64)>)], height: u32) -> u64 {
    let cost = |(base, holds): &(u64, Vec<(u32, u64)>)| {
        base + holds.iter().filter(|(t, _)| *t >= height).map(|(_, amount)| amount).sum::<u64>()
    };
    vouchers.iter().map(cost).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn exposure_is_the_largest_of_all_vouchers_at_every_height(
        vouchers in proptest::collection::vec(
            (0_u64..20_000, proptest::collection::vec((1_u32..12, 330_u64..10_000), 1..5)),
            1..8,
        ),
        many in any::<bool>(),
    ) {
        let channel = channel(0, 1);
        // With more expiries than steps it may be larger, never smaller.
        let spread = if many { 7 } else { 1 };
        let mut exposure = Exposure::NONE;
        let mut all = Vec::new();
        for (number, (balance, holds)) in (0_u32..).zip(vouchers) {
            let shift = if many { number * 11 } else { 0 };
            let holds: Vec<(u32, u64)> =
                holds.into_iter().map(|(t, amount)| (t * spread + shift, amount)).collect();
            let stated = holds.iter().zip(1..).map(|((t, amount), id)| Hold {
                expiry: height(*t),
                ..hold(id, *amount)
            });
            let held = held_with(&channel, balance * 1_000, stated.collect());
            exposure = exposure.with(&held);
            let base = balance * 1_000 + held.payer_fee().to_sat() * 1_000;
            all.push((base, holds.into_iter().map(|(t, a)| (t, a * 1_000)).collect()));
            prop_assert!(exposure.steps().len() <= Exposure::STEPS_MAX);
            let (floor, steps) = (exposure.floor(), exposure.steps().to_vec());
            prop_assert_eq!(Exposure::from_parts(floor, steps), Some(exposure.clone()));
        }
        for tip in 0..200 {
            let (got, want) = (exposure.at(height(tip)).to_msat(), model(&all, tip));
            prop_assert!(if many { got >= want } else { got == want }, "{tip}: {got} {want}");
        }
        prop_assert_eq!(exposure.at(height(1_000)).to_msat(), model(&all, 1_000));
    }
}
