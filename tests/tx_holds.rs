//! Conditional payments on the chain: exact sizes, both sides of every limit, and the state's
//! arithmetic and digest against a simpler model and `bitcoin`'s own.

mod tx_support;

use bitcoin::hashes::Hash;
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::taproot::TapTweakHash;
use bitcoin::{ScriptBuf, Transaction, TxIn, Weight, Witness, absolute, transaction};
use millstream::tx::hold::{
    ClaimDelay, Held, HeldChecked, Hold, HoldCoin, HoldOutput, HoldSettlement, HoldSpend,
    PaymentHash, Preimage,
};
use millstream::tx::{Channel, PayeeSpend, TxError, payee_script};
use millstream::units::{FeeRate, Height, HoldId, Sat};
use proptest::prelude::*;
use tx_support::{
    CONTEXT, NO_AUX, channel, consensus, fee_coin, fee_of, fee_witness, msat, outpoint, output_of,
    p2tr, payee_key, payer_key, sat,
};

const OWN: u8 = 0;
const CAPACITY: u64 = 1_000_000;
const FEE: u64 = 500;

fn rate(sat_per_kvb: u64) -> FeeRate {
    FeeRate::new(sat_per_kvb).unwrap()
}

fn preimage(id: u64) -> Preimage {
    Preimage::new(tx_support::bytes_of(9, id))
}

fn hold(id: u64, amount: u64) -> Hold {
    Hold {
        id: HoldId::new(id).unwrap(),
        amount: sat(amount),
        hash: preimage(id).hash(),
        expiry: Height::new(900_000).unwrap(),
        delay: ClaimDelay::new(144).unwrap(),
    }
}

fn held(paid_msat: u64, holds: Vec<Hold>) -> Result<Held, TxError> {
    Held::new(&CONTEXT, channel(1, CAPACITY, OWN), msat(paid_msat), sat(FEE), holds)
}

fn signed(held: Held) -> HeldChecked {
    let signature = held.sign(&CONTEXT, &payer_key(1), &NO_AUX).unwrap();
    held.verify(&CONTEXT, &signature).unwrap()
}

/// The finished settlement, checked by Bitcoin Core's interpreter.
fn settle(checked: HeldChecked, coins: u64) -> Transaction {
    let inputs: Vec<_> = (0..coins).map(|id| fee_coin(id, 50_000, true)).collect();
    let settlement = HoldSettlement::new(checked, &inputs).unwrap();
    let payee = payee_key(1).sign(&CONTEXT, settlement.digest().unwrap(), &NO_AUX);
    let (tx, spent) = (settlement.transaction(), settlement.spent().to_vec());
    let witness = |id| fee_witness(id, tx, &spent, usize::try_from(id).unwrap() + 1);
    let witnesses = (0..coins).map(witness).collect();
    let fee = settlement.fee().unwrap();
    let tx = settlement.clone().finish(&payee, witnesses).unwrap();
    consensus(&tx, &spent).unwrap();
    assert_eq!(fee.to_sat(), fee_of(&tx, &spent));
    tx
}

fn coin_of(expiry: u32, delay: u16, value: u64) -> HoldCoin {
    let (expiry, delay) = (Height::new(expiry).unwrap(), ClaimDelay::new(delay).unwrap());
    let output =
        HoldOutput::new(&CONTEXT, &output_of(1, 144), preimage(1).hash(), expiry, delay).unwrap();
    HoldCoin::new(outpoint(5), sat(value), output)
}

fn finish(spend: HoldSpend) -> Transaction {
    let key = if spend.is_claim() { payee_key(1) } else { payer_key(1) };
    let signature = key.sign(&CONTEXT, spend.digest().unwrap(), &NO_AUX);
    let spent = [spend.coin().to_txout()];
    let tx = spend.finish(&signature).unwrap();
    consensus(&tx, &spent).unwrap();
    tx
}

#[test]
fn settlement_with_holds_has_248_vbytes_and_43_for_each_more() {
    for count in [1, 2, 5, 100] {
        let holds = (1..=count).map(|id| hold(id, 1_000)).collect();
        let tx = settle(signed(held(20_000_000, holds).unwrap()), 0);
        assert_eq!(tx.weight().to_wu(), 989 + (count - 1) * 172, "{count} holds");
        assert!(tx.vsize() as u64 <= 248 + (count - 1) * 43);
    }
    // Without payee output, without change, with neither, and with an added input.
    let payee_left_out = held(0, vec![hold(1, 1_000)]).unwrap();
    let change_left_out = held(20_000_000, vec![hold(1, CAPACITY - 20_000)]).unwrap();
    let both = held(0, vec![hold(1, CAPACITY - FEE)]).unwrap();
    for (held, coins, weight) in [
        (payee_left_out, 0, 817),
        (change_left_out, 0, 817),
        (both.clone(), 0, 645),
        (both, 1, 875),
    ] {
        assert_eq!(settle(signed(held), coins).weight().to_wu(), weight);
    }
}

#[test]
fn largest_settlement_with_holds_fits_and_one_hold_more_is_refused() {
    let many = |count| (1..=count).map(|id| hold(id, 330)).collect::<Vec<_>>();
    let largest = settle(signed(held(20_000_000, many(225)).unwrap()), 2);
    assert_eq!(largest.weight().to_wu(), 989 + 224 * 172 + 2 * 230);
    assert_eq!(largest.vsize(), 9_995);
    let refused = held(20_000_000, many(226)).err();
    assert_eq!(refused, Some(TxError::TooManyHolds { got: 226, max: Held::HOLDS_MAX }));

    let coins: Vec<_> = (0..3).map(|id| fee_coin(id, 50_000, true)).collect();
    let largest = signed(held(20_000_000, many(225)).unwrap());
    let refused = HoldSettlement::new(largest, &coins).err();
    assert_eq!(refused, Some(TxError::TooLarge { vbytes: 10_052, limit: 10_000 }));
}

#[test]
fn claim_has_its_exact_weight_for_each_size_of_its_delay() {
    for (delay, weight) in
        [(2, 619), (16, 619), (17, 620), (127, 620), (128, 621), (32_767, 621), (65_535, 622)]
    {
        let coin = coin_of(900_000, delay, 20_000);
        let claim = HoldSpend::claim(coin.clone(), preimage(1), p2tr(1), rate(2_000)).unwrap();
        let tx = finish(claim.clone());
        assert_eq!(tx.weight().to_wu(), weight, "k {delay}");
        assert!(tx.vsize() <= 156);
        assert_eq!(fee_of(&tx, &[coin.to_txout()]), weight.div_ceil(2));
        assert_eq!(tx.input[0].sequence.to_consensus_u32(), u32::from(delay));
        let settled = Height::new(700_000).unwrap();
        assert_eq!(claim.earliest(settled).to_u32(), 700_000 + u32::from(delay));
    }
}

#[test]
fn timeout_has_its_exact_weight_for_each_size_of_its_height() {
    for (expiry, weight) in [
        (1, 548),
        (16, 548),
        (17, 549),
        (127, 549),
        (128, 550),
        (32_767, 550),
        (32_768, 551),
        (8_388_607, 551),
        (8_388_608, 552),
        (499_999_999, 552),
    ] {
        let coin = coin_of(expiry, 144, 20_000);
        let timeout = HoldSpend::time_out(coin, p2tr(1), rate(2_000)).unwrap();
        let tx = finish(timeout.clone());
        assert_eq!(tx.weight().to_wu(), weight, "t {expiry}");
        assert!(tx.vsize() <= 138);
        assert_eq!(tx.lock_time, absolute::LockTime::from_height(expiry).unwrap());
        assert_eq!(timeout.earliest(Height::MIN).to_u32(), (expiry + 1).min(499_999_999));
        let late = Height::new(expiry).unwrap().saturating_after(millstream::units::Blocks::MAX);
        assert!(timeout.earliest(late) >= late);
    }
}

#[test]
fn hold_at_its_dust_limit_is_taken_and_below_refused() {
    assert!(held(0, vec![hold(1, 330)]).is_ok());
    let refused = held(0, vec![hold(1, 1_000), hold(2, 329)]).err();
    let (id, amount) = (HoldId::new(2).unwrap(), sat(329));
    assert_eq!(refused, Some(TxError::HoldBelowDust { id, amount, dust: sat(330) }));
}

#[test]
fn outputs_at_their_dust_limit_stay_and_below_go_to_the_miner() {
    for (rest, stays) in [(330, true), (329, false)] {
        let change = held(20_000_000, vec![hold(1, CAPACITY - 20_000 - rest)]).unwrap();
        assert_eq!((change.has_change(), change.has_payee()), (stays, true));
        assert_eq!(change.payer_fee(), if stays { Sat::ZERO } else { sat(329) });
        assert_eq!(change.first_hold(), if stays { 2 } else { 1 });
        let payee = held((FEE + rest) * 1_000, vec![hold(1, 1_000)]).unwrap();
        assert_eq!((payee.has_change(), payee.has_payee()), (true, stays));
        assert_eq!(payee.payer_fee(), Sat::ZERO);
    }
    // The rest of the fee comes out of the change.
    let missing = held(200_999, vec![hold(1, 1_000)]).unwrap();
    assert_eq!(missing.payer_fee(), sat(FEE - 200));
    assert_eq!(missing.outputs()[0].value.to_sat(), CAPACITY - 1_000 - FEE);
}

#[test]
fn settlement_that_could_not_be_paid_for_is_refused() {
    assert!(held(0, vec![hold(1, CAPACITY - FEE)]).is_ok());
    let refused = held(0, vec![hold(1, CAPACITY - FEE + 1)]).err();
    let (needed, capacity) = (sat(CAPACITY + 1), sat(CAPACITY));
    assert_eq!(refused, Some(TxError::HoldsAboveCapacity { needed, capacity }));
    assert!(held(CAPACITY * 1_000 - 1_000_000, vec![hold(1, 1_000)]).is_ok());
    let refused = held(CAPACITY * 1_000 - 999_000, vec![hold(1, 1_000)]).err();
    assert_eq!(refused, Some(TxError::HoldsAboveCapacity { needed, capacity }));
    let (paid, limit) = (msat(CAPACITY * 1_000 + 1), msat(CAPACITY * 1_000));
    let refused = held(CAPACITY * 1_000 + 1, vec![hold(1, 1_000)]).err();
    assert_eq!(refused, Some(TxError::AboveCapacity { paid, limit }));
}

#[test]
fn holds_that_do_not_rise_or_that_a_wallets_change_would_pin_are_refused() {
    assert_eq!(held(0, vec![]).err(), Some(TxError::NoHolds));
    for (first, second) in [(2, 2), (3, 2)] {
        let refused = held(0, vec![hold(first, 1_000), hold(second, 1_000)]).err();
        let (before, after) = (HoldId::new(first).unwrap(), HoldId::new(second).unwrap());
        assert_eq!(refused, Some(TxError::HoldOrder { before, after }));
    }
    for change in 1..=3 {
        let channel = channel(1, CAPACITY, change);
        let outpoint = channel.outpoint();
        let refused = Held::new(&CONTEXT, channel, msat(0), sat(FEE), vec![hold(1, 1_000)]).err();
        assert_eq!(refused, Some(TxError::HoldsNeedOwnChange { outpoint }));
    }
}

#[test]
fn claim_delay_below_two_is_refused() {
    for got in [0, 1] {
        assert_eq!(ClaimDelay::new(got), Err(TxError::ClaimDelayTooShort { got }));
    }
    assert!(ClaimDelay::new(2).is_ok() && ClaimDelay::new(u16::MAX).is_ok());
}

#[test]
fn preimage_of_another_length_or_hash_is_refused() {
    let bytes = [5; 40];
    for length in [0, 31, 33, 40] {
        let refused = Preimage::parse(&bytes[..length]);
        assert_eq!(refused, Err(TxError::PreimageLength { bytes: length }));
    }
    assert!(Preimage::parse(&bytes[..32]).is_ok());
    let wrong = HoldSpend::claim(coin_of(9, 2, 20_000), preimage(2), p2tr(1), rate(2_000)).err();
    assert_eq!(wrong, Some(TxError::WrongPreimage { want: preimage(1).hash() }));
    let shown = format!("{:?}", preimage(1));
    assert_eq!(shown, format!("Preimage(of {})", preimage(1).hash()));
}

#[test]
fn spend_whose_rest_would_be_dust_is_refused() {
    let spend = HoldSpend::time_out(coin_of(900_000, 2, 1_000), p2tr(1), rate(2_000)).unwrap();
    assert!(spend.clone().with_fee(sat(670)).is_ok());
    let (left, fee, dust) = (sat(1_000), sat(671), sat(330));
    assert_eq!(spend.with_fee(fee).err(), Some(TxError::NotWorthIt { left, fee, dust }));
    let refused = HoldSpend::time_out(coin_of(900_000, 2, 1_000), p2tr(1), rate(6_000)).err();
    assert_eq!(refused, Some(TxError::NotWorthIt { left, fee: sat(827), dust }));
}

#[test]
fn claim_shows_its_preimage_and_nothing_else_does() {
    let checked = signed(held(20_000_000, vec![hold(1, 1_000), hold(2, 2_000)]).unwrap());
    let settlement = HoldSettlement::new(checked.clone(), &[]).unwrap();
    let coins = settlement.coins().unwrap();
    let tx = settle(checked, 0);
    for (coin, id) in coins.iter().zip([1, 2]) {
        assert_eq!(HoldCoin::find(coin.scripts().clone(), &tx, 0).as_ref(), Some(coin));
        assert_eq!(HoldCoin::find(coin.scripts().clone(), &tx, 1), None);
        assert_eq!(settlement.hold_at(coin.outpoint()), HoldId::new(id).ok());
        let claim = HoldSpend::claim(coin.clone(), preimage(id), p2tr(1), rate(1_000)).unwrap();
        let claim = finish(claim);
        let shown: Vec<_> = coins.iter().map(|coin| coin.preimage_in(&claim)).collect();
        assert_eq!(shown.iter().flatten().collect::<Vec<_>>(), [&preimage(id)]);
        assert_eq!(coin.preimage_in(&claim), Some(preimage(id)));
        let timeout = finish(HoldSpend::time_out(coin.clone(), p2tr(1), rate(1_000)).unwrap());
        assert_eq!(coin.preimage_in(&timeout), None);
        // A foreign preimage in the right place is not this hold's.
        let mut forged = claim;
        let mut items = forged.input[0].witness.to_vec();
        items[1][0] ^= 1;
        forged.input[0].witness = Witness::from_slice(&items);
        assert_eq!(coin.preimage_in(&forged), None);
        assert!(consensus(&forged, &[coin.to_txout()]).is_err());
    }
    assert_eq!(settlement.hold_at(outpoint(1)), None);
}

#[test]
fn equal_hash_expiry_and_delay_give_two_outputs_of_one_script() {
    let twin = Hold { id: HoldId::new(2).unwrap(), amount: sat(2_000), ..hold(1, 1_000) };
    let checked = signed(held(20_000_000, vec![hold(1, 1_000), twin]).unwrap());
    let coins = HoldSettlement::new(checked.clone(), &[]).unwrap().coins().unwrap();
    let tx = settle(checked, 0);
    for (skip, coin) in coins.iter().enumerate() {
        assert_eq!(HoldCoin::find(coin.scripts().clone(), &tx, skip).as_ref(), Some(coin));
    }
}

#[test]
fn rollover_of_a_settlement_with_holds_is_its_change() {
    let settlement = |holds| HoldSettlement::new(signed(held(20_000_250, holds).unwrap()), &[]);
    let rolled = settlement(vec![hold(1, 1_000)]).unwrap().rollover().unwrap().unwrap();
    assert_eq!(rolled.capacity(), sat(CAPACITY - 21_000));
    assert_eq!(rolled.outpoint().vout, 0);
    let without = settlement(vec![hold(1, CAPACITY - 20_000)]).unwrap();
    assert_eq!(without.rollover(), Ok(None));
    assert!(without.payee_output().is_some());
}

#[test]
fn signature_of_another_state_is_refused() {
    let states = [
        held(20_000_000, vec![hold(1, 1_000)]),
        held(20_000_001, vec![hold(1, 1_000)]),
        held(20_000_000, vec![hold(1, 1_001)]),
        held(20_000_000, vec![hold(2, 1_000)]),
        held(20_000_000, vec![hold(1, 1_000), hold(2, 1_000)]),
        held(20_000_000, vec![Hold { delay: ClaimDelay::new(145).unwrap(), ..hold(1, 1_000) }]),
        held(20_000_000, vec![Hold { expiry: Height::new(900_001).unwrap(), ..hold(1, 1_000) }]),
    ];
    for (at, signer) in states.iter().enumerate() {
        let signature = signer.as_ref().unwrap().sign(&CONTEXT, &payer_key(1), &NO_AUX).unwrap();
        for (other, state) in states.iter().enumerate() {
            let verdict = state.clone().unwrap().verify(&CONTEXT, &signature);
            assert_eq!(verdict.is_ok(), at == other, "{at} for {other}");
        }
    }
    let foreign = states[0].as_ref().unwrap().sign(&CONTEXT, &payer_key(2), &NO_AUX);
    assert_eq!(foreign.err(), Some(TxError::WrongKey { want: payer_key(1).public() }));
}

/// The outputs by the page's own words, without dust rules of `bitcoin`.
fn model(paid: u64, fee: u64, holds: &[Hold], capacity: u64) -> Option<Vec<(u64, ScriptBuf)>> {
    let channel = channel(1, capacity, OWN);
    let own = channel.output().script().clone();
    let payee = payee_script(&CONTEXT, channel.output().payee()).unwrap();
    let balance = i128::from(paid / 1_000);
    let sum: i128 = holds.iter().map(|hold| i128::from(hold.amount.to_sat())).sum();
    let missing = (i128::from(fee) - balance).max(0);
    let change = i128::from(capacity) - balance - sum - missing;
    if change < 0 {
        return None;
    }
    let mut outputs = vec![(change, own), ((balance - i128::from(fee)).max(0), payee)];
    outputs.retain(|(value, _)| *value >= 330);
    outputs.extend(holds.iter().map(|hold| {
        let scripts = hold.output(&CONTEXT, channel.output()).unwrap();
        (i128::from(hold.amount.to_sat()), scripts.script().clone())
    }));
    Some(outputs.into_iter().map(|(v, script)| (u64::try_from(v).unwrap(), script)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn state_conserves_and_signs_what_bitcoin_would(
        capacity in prop_oneof![Just(100_000_u64), 2_000_u64..3_000],
        paid in 0_u64..110_000_000,
        fee in prop_oneof![Just(0_u64), 0_u64..2_000],
        amounts in proptest::collection::vec(prop_oneof![330_u64..2_000, 330_u64..60_000], 1..5),
        ids in proptest::collection::btree_set(0_u64..1_000, 5),
    ) {
        let holds: Vec<Hold> =
            ids.iter().zip(&amounts).map(|(id, amount)| hold(*id, *amount)).collect();
        let channel = channel(1, capacity, OWN);
        let made = Held::new(&CONTEXT, channel.clone(), msat(paid), sat(fee), holds.clone());
        let expected = model(paid, fee, &holds, capacity).filter(|_| paid <= capacity * 1_000);
        prop_assert_eq!(made.is_ok(), expected.is_some());
        if let (Ok(held), Some(expected)) = (made, expected) {
            let got: Vec<_> = held
                .outputs()
                .iter()
                .map(|output| (output.value.to_sat(), output.script_pubkey.clone()))
                .collect();
            prop_assert_eq!(&got, &expected);
            // Every satoshi is a payee's, a hold's, a change's or the miner's.
            let outputs: u64 = got.iter().map(|(value, _)| value).sum();
            prop_assert!(outputs <= capacity);
            let change = if held.has_change() { got[0].0 } else { 0 };
            let sum: u64 = amounts.iter().take(holds.len()).sum();
            let lost = paid / 1_000 + sum + held.payer_fee().to_sat();
            prop_assert_eq!(capacity - change, lost);

            let tx = Transaction {
                version: transaction::Version(3),
                lock_time: absolute::LockTime::ZERO,
                input: vec![TxIn {
                    previous_output: channel.outpoint(),
                    sequence: Channel::sequence(msat(paid)),
                    ..TxIn::default()
                }],
                output: held.outputs().to_vec(),
            };
            let digest = SighashCache::new(&tx)
                .taproot_script_spend_signature_hash(
                    0,
                    &Prevouts::All(&[channel.to_txout()]),
                    channel.output().settle_leaf_hash(),
                    TapSighashType::AllPlusAnyoneCanPay,
                )
                .unwrap();
            prop_assert_eq!(held.digest().unwrap(), digest.to_byte_array());
        }
    }

    #[test]
    fn settlement_with_holds_is_valid_with_and_without_added_inputs(
        paid in 0_u64..30_000_000,
        amounts in proptest::collection::vec(330_u64..60_000, 1..4),
        coins in 0_u64..3,
    ) {
        let holds = (1..).zip(&amounts).map(|(id, amount)| hold(id, *amount)).collect();
        let tx = settle(signed(held(paid, holds).unwrap()), coins);
        prop_assert!(Weight::to_vbytes_ceil(tx.weight()) <= 10_000);
    }
}

#[test]
fn hash_is_shown_as_hex() {
    let hash = PaymentHash::new([0xab; 32]);
    assert_eq!(hash.to_string(), "ab".repeat(32));
}

#[test]
fn spend_of_the_payees_own_output_has_111_vbytes_is_valid_and_never_dust() {
    let held = held(20_000_000, vec![hold(1, 1_000)]).unwrap();
    let channel = held.channel().clone();
    let parent = settle(signed(held), 0);
    let spend = |fee| PayeeSpend::of(&CONTEXT, &channel, &parent, p2tr(1), sat(fee));
    let value = 20_000 - FEE;
    let child = spend(1_000).unwrap().unwrap();
    assert_eq!((child.value(), child.transaction().version.0), (sat(value), 3));
    let tweak = TapTweakHash::from_key_and_tweak(payee_key(1).public(), None).to_byte_array();
    let key = payee_key(1).tweaked(&CONTEXT, tweak).unwrap();
    let spent = [child.spent().unwrap().clone()];
    let signature = key.sign(&CONTEXT, child.digest().unwrap(), &NO_AUX);
    let tx = child.finish(&signature).unwrap();
    consensus(&tx, &spent).unwrap();
    assert_eq!((tx.weight().to_wu(), tx.vsize()), (444, 111));
    assert_eq!(tx.output[0].value.to_sat(), value - 1_000);
    // Both sides of the dust limit, and a settlement without such an output.
    assert!(spend(value - 330).is_ok());
    let (left, fee, dust) = (sat(value), sat(value - 329), sat(330));
    assert_eq!(spend(value - 329).err(), Some(TxError::NotWorthIt { left, fee, dust }));
    let none = settle(signed(self::held(0, vec![hold(1, 1_000)]).unwrap()), 0);
    assert_eq!(PayeeSpend::of(&CONTEXT, &channel, &none, p2tr(1), sat(1)).unwrap(), None);
}
