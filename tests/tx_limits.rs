//! Exact sizes of every kind of transaction, and both sides of every limit.

mod tx_support;

use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, ScriptBuf, TxOut, Weight, Witness};
use millstream::tx::{
    ChangeScript, Channel, Delay, FeeInput, JointSpend, Refund, Settled, Settlement, TxError,
    VoucherKind, WalletScript,
};
use millstream::units::{FeeRate, Msat, Sat};
use tx_support::{
    CONTEXT, NO_AUX, change_of, channel, fee_coin, fee_witness, finish, finish_joint,
    finish_refund, msat, outpoint, output_of, p2tr, p2wpkh, p2wsh, payee_key, payer_key, sat,
    settled,
};

const OWN: u8 = 0;
const P2TR: u8 = 1;
const P2WPKH: u8 = 2;
const P2WSH: u8 = 3;

fn rate(sat_per_kvb: u64) -> FeeRate {
    FeeRate::new(sat_per_kvb).unwrap()
}

/// `count` channels of 100,000 sat that paid 60,000, or all.
fn parts(count: u64, kind: u8, full: bool) -> Vec<Settled> {
    let paid = msat(if full { 100_000_000 } else { 60_000_000 });
    (0..count).map(|id| settled(id, channel(id, 100_000, kind), paid)).collect()
}

fn coins(count: u64) -> Vec<FeeInput> {
    (0..count).map(|id| fee_coin(id, 50_000, true)).collect()
}

fn settle(parts: Vec<Settled>, coins: u64) -> Result<Settlement, TxError> {
    Settlement::at_rate(parts, &self::coins(coins), p2tr(500), rate(2_000))
}

/// The weight of the finished transaction, every signature a real one.
fn final_weight(settlement: Settlement, coins: u64) -> u64 {
    let number = |at: OutPoint| (0..=u64::from(u8::MAX)).find(|id| outpoint(*id) == at).unwrap();
    finish(settlement, number, &(0..coins).collect::<Vec<_>>()).weight().to_wu()
}

fn script_of(bytes: usize) -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51; bytes])
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what `err()` gives")]
fn too_large(vbytes: u64, limit: u64) -> Option<TxError> {
    Some(TxError::TooLarge { vbytes, limit })
}

#[test]
fn funding_output_has_43_vbytes() {
    let output = channel(1, 100_000, OWN).to_txout();
    assert_eq!(Weight::from_non_witness_data_size(output.size() as u64).to_wu(), 172);
    assert_eq!(output.weight().to_vbytes_ceil(), 43);
}

#[test]
fn settlement_alone_has_its_exact_weight() {
    for (kind, full, weight) in [
        (OWN, false, 817),
        (P2TR, false, 817),
        (P2WSH, false, 817),
        (P2WPKH, false, 769),
        (P2TR, true, 645),
    ] {
        assert_eq!(final_weight(settle(parts(1, kind, full), 0).unwrap(), 0), weight);
    }
    // 204.25 vB, which is 205 as nodes count.
    assert_eq!(Weight::from_wu(817).to_vbytes_ceil(), 205);
}

#[test]
fn settlement_of_60_channels_has_at_most_153_vbytes_a_channel() {
    let weight = final_weight(settle(parts(60, P2TR, false), 1).unwrap(), 1);
    assert_eq!(weight, 817 + 59 * 603 + 230);
    assert_eq!(Weight::from_wu(weight).to_vbytes_ceil(), 9_156); // 152.6 a channel
    assert!(weight <= 153 * 60 * 4);
}

#[test]
fn largest_settlements_fit_and_one_channel_more_is_refused() {
    // (change, full, channels, fee inputs, weight, vB of one channel more without fee inputs)
    for (kind, full, count, fee_inputs, weight, more) in [
        (P2TR, false, 65, 2, 39_869, 10_003),
        (OWN, false, 65, 2, 39_869, 10_003),
        (P2WPKH, false, 71, 1, 39_849, 10_044),
        (P2TR, true, 92, 0, 39_866, 10_075),
    ] {
        let largest = settle(parts(count, kind, full), fee_inputs).unwrap();
        assert_eq!(final_weight(largest, fee_inputs), weight);
        let refused = settle(parts(count + 1, kind, full), 0).err();
        assert_eq!(refused, too_large(more, 10_000));
    }
    assert_eq!(settle(parts(65, P2TR, false), 3).err(), too_large(10_025, 10_000));
}

#[test]
fn settlement_of_10_000_vbytes_is_built_and_of_10_001_refused() {
    let build = |bytes| {
        let payee = vec![TxOut { value: Amount::from_sat(1_000), script_pubkey: script_of(bytes) }];
        Settlement::with_outputs(parts(65, P2TR, false), &coins(2), payee)
    };
    assert_eq!(build(66).unwrap().transaction().vsize(), 10_000);
    assert_eq!(build(67).err(), too_large(10_001, 10_000));
}

#[test]
fn settlement_of_six_channels_fits_a_truc_child_and_of_seven_does_not() {
    assert_eq!(settle(parts(6, P2TR, false), 0).unwrap().transaction().vsize(), 958);
    assert_eq!(settle(parts(7, P2TR, false), 0).unwrap().transaction().vsize(), 1_109);
}

#[test]
fn refund_has_its_exact_weight_for_each_size_of_the_delay() {
    for (delay, weight) in [
        (1, 547),
        (16, 547),
        (17, 548),
        (127, 548),
        (128, 549),
        (32_767, 549),
        (32_768, 550),
        (u16::MAX, 550),
    ] {
        let from = output_of(1, delay);
        let refund = Refund::at_rate(outpoint(1), sat(50_000), from, p2tr(1), rate(1_000)).unwrap();
        assert_eq!(finish_refund(refund, 1).weight().to_wu(), weight, "{delay}");
    }
    assert!(Weight::from_wu(550).to_vbytes_ceil() <= 138);
}

#[test]
fn close_and_top_up_have_their_exact_weights() {
    let channel = || channel(1, 100_000, OWN);
    let close = JointSpend::close(channel(), msat(50_000_000), p2tr(1), p2tr(2), sat(300)).unwrap();
    assert_eq!(finish_joint(close, 1, &[]).weight().to_wu(), 816);
    for (payout, weight) in [(None, 874), (Some(p2tr(2)), 1_046)] {
        let paid = msat(50_000_000);
        let spend = JointSpend::top_up(channel(), paid, &coins(1), sat(90_000), payout).unwrap();
        assert_eq!(finish_joint(spend, 1, &[0]).weight().to_wu(), weight);
    }
}

#[test]
fn top_up_of_1_000_vbytes_is_built_and_of_1_001_refused() {
    let mut inputs = coins(12);
    inputs.push(fee_coin(12, 50_000, false));
    let build = |bytes| {
        let (channel, payout) = (channel(1, 100_000, OWN), Some(script_of(bytes)));
        JointSpend::top_up(channel, msat(50_000_000), &inputs, sat(90_000), payout)
    };
    assert_eq!(build(72).unwrap().transaction().weight().to_wu(), 4_000);
    assert_eq!(build(73).err(), too_large(1_001, 1_000));
}

#[test]
fn delay_is_1_to_65_535() {
    assert_eq!(Delay::new(0), Err(TxError::ZeroDelay));
    assert_eq!(Delay::new(1).unwrap().to_blocks().to_u32(), 1);
    assert_eq!(Delay::new(u16::MAX).unwrap().to_blocks().to_u32(), 65_535);
}

#[test]
fn capacity_of_dust_is_the_smallest() {
    let build =
        |capacity| Channel::new(outpoint(1), sat(capacity), output_of(1, 144), change_of(OWN, 1));
    assert!(build(330).is_ok());
    let refused = TxError::CapacityBelowDust { capacity: sat(329), dust: sat(330) };
    assert_eq!(build(329).err(), Some(refused));
    assert!(Channel::new(outpoint(1), Sat::MAX, output_of(1, 1), change_of(OWN, 1)).is_ok());
}

#[test]
fn change_of_dust_is_the_smallest_for_each_kind() {
    for (kind, dust) in [(OWN, 330), (P2TR, 330), (P2WPKH, 294), (P2WSH, 330)] {
        let channel = channel(1, 10_000, kind);
        let change = |paid| channel.change_output(msat(paid)).map(|c| c.map(|c| c.value.to_sat()));
        let last = (10_000 - dust) * 1_000 + 999;
        assert_eq!(channel.largest_with_change(), msat(last));
        assert_eq!(change(last), Ok(Some(dust)));
        let below = |change| Err(TxError::ChangeBelowDust { change: sat(change), dust: sat(dust) });
        assert_eq!(change(last + 1), below(dust - 1));
        assert_eq!(change(10_000_000 - 1), below(1));
        assert_eq!(change(10_000_000), Ok(None));
        let (paid, limit) = (msat(10_000_001), msat(10_000_000));
        assert_eq!(change(10_000_001), Err(TxError::AboveCapacity { paid, limit }));
        // Digest and signature have the same limits.
        assert_eq!(channel.digest(paid), Err(TxError::AboveCapacity { paid, limit }));
        let signed = channel.sign(&CONTEXT, &payer_key(1), msat(last + 1), &NO_AUX);
        assert_eq!(signed.err(), below(dust - 1).err());
    }
}

#[test]
fn channel_at_dust_pays_less_than_a_satoshi_or_all() {
    for (kind, largest) in [(OWN, 999), (P2WPKH, 36_999)] {
        assert_eq!(channel(1, 330, kind).largest_with_change(), msat(largest));
    }
    assert!(channel(1, 330, OWN).change_output(Msat::ZERO).unwrap().is_some());
    assert_eq!(channel(1, 330, OWN).change_output(msat(330_000)), Ok(None));
}

#[test]
fn change_script_of_another_kind_is_refused() {
    let hash = [7; 20];
    let witness = |version, bytes: usize| {
        ScriptBuf::from_bytes(
            [vec![version, u8::try_from(bytes).unwrap()], vec![3; bytes]].concat(),
        )
    };
    for script in [
        ScriptBuf::new(),
        ScriptBuf::new_p2pkh(&bitcoin::PubkeyHash::from_byte_array(hash)),
        ScriptBuf::new_p2sh(&bitcoin::ScriptHash::from_byte_array(hash)),
        ScriptBuf::new_op_return(hash),
        witness(0x51, 2),
        witness(0x51, 31),
        witness(0x51, 33),
        witness(0x52, 32),
        witness(0x00, 31),
    ] {
        let bytes = script.len();
        assert_eq!(WalletScript::parse(script).err(), Some(TxError::NonStandardChange { bytes }));
    }
    for script in [p2tr(1), p2wpkh(1), p2wsh(1)] {
        assert!(WalletScript::parse(script).is_ok());
    }
}

#[test]
fn voucher_of_a_witness_has_64_bytes_and_its_type() {
    for (paid, kind, other) in [(9_000_999, 0x83, 0x82), (10_000_000, 0x82, 0x83)] {
        let channel = channel(1, 10_000, OWN);
        let part = settled(1, channel.clone(), msat(paid));
        let voucher = part.voucher().voucher();
        let typed = channel.kind(msat(paid)).unwrap();
        assert_eq!(part.voucher().kind(), typed);
        let whole = typed.witness_signature(&voucher.signature).to_vec();
        assert_eq!(whole[64], kind);
        assert_eq!(channel.parse_witness(msat(paid), &whole), Ok(voucher));
        let refused = |bytes: &[u8]| {
            let (kind, implied) = (bytes.get(64).copied(), kind);
            let error = TxError::SignatureForm { bytes: bytes.len(), kind, implied };
            assert_eq!(channel.parse_witness(msat(paid), bytes), Err(error));
        };
        refused(&[]);
        refused(&whole[..64]);
        refused(&[&whole[..], &[0]].concat());
        refused(&[&whole[..64], &[other]].concat());
        refused(&[&whole[..64], &[VoucherKind::All.sighash_byte()]].concat());
    }
}

#[test]
fn own_script_given_as_a_wallets_is_still_a_rollover() {
    let output = output_of(1, 144);
    let own = ChangeScript::Wallet(WalletScript::parse(output.script().clone()).unwrap());
    let channel = Channel::new(outpoint(1), sat(10_000), output, own).unwrap();
    assert_eq!(*channel.change(), ChangeScript::Own);
    let settlement = settle(vec![settled(1, channel, msat(5_000_000))], 0).unwrap();
    assert_eq!(settlement.rollover(0).unwrap().map(|next| next.capacity()), Some(sat(5_000)));
    let full = settle(parts(1, OWN, true), 0).unwrap();
    assert_eq!(full.rollover(0), Ok(None));
    let wallet = settle(parts(1, P2TR, false), 0).unwrap();
    assert_eq!(wallet.rollover(0), Ok(None));
}

#[test]
fn voucher_by_another_key_is_refused() {
    let (channel, foreign) = (channel(1, 10_000, OWN), payer_key(2));
    let want = payer_key(1).public();
    let refused = channel.sign(&CONTEXT, &foreign, msat(1), &NO_AUX).err();
    assert_eq!(refused, Some(TxError::WrongKey { want }));
}

#[test]
fn voucher_checked_elsewhere_is_no_part_of_a_settlement() {
    let paid = msat(5_000_000);
    let checked = *settled(1, channel(1, 10_000, OWN), paid).voucher();
    let other = Settled::new(channel(2, 10_000, OWN), checked).err();
    let (want, got) = (outpoint(2), outpoint(1));
    assert_eq!(other, Some(TxError::OtherChannel { want, got }));
    // The same outpoint with anything else about it that the signature covers.
    let make = |capacity, id, delay, kind| {
        Channel::new(outpoint(1), sat(capacity), output_of(id, delay), change_of(kind, 1)).unwrap()
    };
    assert!(Settled::new(make(10_000, 1, 144, OWN), checked).is_ok());
    for channel in [
        make(10_001, 1, 144, OWN),
        make(10_000, 2, 144, OWN),
        make(10_000, 1, 145, OWN),
        make(10_000, 1, 144, P2TR),
    ] {
        let refused = Settled::new(channel, checked).err();
        assert_eq!(refused, Some(TxError::BadSignature { paid }));
    }
}

#[test]
fn settlement_without_parts_or_outputs_is_refused() {
    assert_eq!(settle(vec![], 1).err(), Some(TxError::NoParts));
    let full = Settlement::with_outputs(parts(1, OWN, true), &[], vec![]).err();
    assert_eq!(full, Some(TxError::NoOutputs));
    // With a change there is an output; the payee then gives everything to the miner.
    let fee = Settlement::with_outputs(parts(1, OWN, false), &[], vec![]).unwrap().fee();
    assert_eq!(fee, Ok(sat(60_000)));
}

#[test]
fn outpoint_spent_twice_is_refused() {
    let twice = |outpoint| Some(TxError::SpentTwice { outpoint });
    let same = [parts(2, OWN, false), parts(1, OWN, false)].concat();
    assert_eq!(settle(same, 0).err(), twice(outpoint(0)));
    let coin = fee_coin(1, 50_000, true);
    let coins = [coin.clone(), coin.clone()];
    let refused = Settlement::at_rate(parts(1, OWN, false), &coins, p2tr(1), rate(1_000)).err();
    assert_eq!(refused, twice(coin.outpoint()));
    let output = coin.output().clone();
    let funding = [FeeInput::new(outpoint(0), output).unwrap()];
    let refused = Settlement::at_rate(parts(1, OWN, false), &funding, p2tr(1), rate(1_000)).err();
    assert_eq!(refused, twice(outpoint(0)));
    let refused =
        JointSpend::top_up(channel(1, 100_000, OWN), msat(0), &coins, sat(90_000), None).err();
    assert_eq!(refused, twice(coin.outpoint()));
}

#[test]
fn fee_input_of_an_unknown_kind_is_refused() {
    let outpoint = outpoint(1);
    for script_pubkey in [p2wsh(1), script_of(3), ScriptBuf::new()] {
        let output = TxOut { value: Amount::from_sat(1), script_pubkey };
        let refused = FeeInput::new(outpoint, output).err();
        assert_eq!(refused, Some(TxError::FeeInputKind { outpoint }));
    }
}

#[test]
fn witnesses_must_be_as_many_and_as_large_as_counted() {
    let settlement = || settle(parts(2, OWN, false), 1).unwrap();
    let signature = payee_key(0).sign(&CONTEXT, [1; 32], &NO_AUX);
    let coin = || Witness::from_slice(&[[0; 64]]);
    let count = |want, got| Some(TxError::WitnessCount { want, got });
    for got in [1, 3] {
        let refused = settlement().finish(&vec![signature; got], vec![coin()]).err();
        assert_eq!(refused, count(2, got));
    }
    for got in [0, 2] {
        let refused = settlement().finish(&[signature; 2], vec![coin(); got]).err();
        assert_eq!(refused, count(1, got));
    }
    let outpoint = fee_coin(0, 1, true).outpoint();
    for (witness, got) in [(Witness::new(), 1), (Witness::from_slice(&[[0; 65]]), 67)] {
        let refused = settlement().finish(&[signature; 2], vec![witness]).err();
        assert_eq!(refused, Some(TxError::FeeWitnessSize { outpoint, got, limit: 66 }));
    }
    assert!(settlement().finish(&[signature; 2], vec![coin()]).is_ok());

    let spend = JointSpend::top_up(channel(1, 100_000, OWN), msat(0), &coins(1), sat(90_000), None);
    let spend = spend.unwrap();
    let whole = fee_witness(0, spend.transaction(), spend.spent(), 1);
    let refused = spend.clone().finish(&signature, &signature, vec![]).err();
    assert_eq!(refused, count(1, 0));
    assert!(spend.finish(&signature, &signature, vec![whole]).is_ok());
}

#[test]
fn input_that_is_no_channels_has_no_digest() {
    let settlement = settle(parts(2, OWN, false), 1).unwrap();
    assert!(settlement.digest(1).is_ok());
    let refused = TxError::NoSuchInput { index: 2, inputs: 2 };
    assert_eq!(settlement.digest(2).err(), Some(refused));
    assert_eq!(settlement.rollover(2).err(), Some(refused));
    assert_eq!(settlement.payee(2), None);
}

#[test]
fn payee_output_of_dust_is_the_smallest() {
    let build = |value, script_pubkey| {
        let output = TxOut { value: Amount::from_sat(value), script_pubkey };
        Settlement::with_outputs(parts(1, OWN, false), &[], vec![output]).map(|s| s.fee().unwrap())
    };
    let below = |value, dust| Err(TxError::OutputBelowDust { value: sat(value), dust: sat(dust) });
    assert_eq!(build(330, p2tr(1)), Ok(sat(60_000 - 330)));
    assert_eq!(build(329, p2tr(1)), below(329, 330));
    assert_eq!(build(293, p2wpkh(1)), below(293, 294));
    assert_eq!(build(60_000, p2tr(1)), Ok(Sat::ZERO));
    let (inputs, outputs) = (sat(100_000), sat(100_001));
    assert_eq!(build(60_001, p2tr(1)), Err(TxError::OutputsAboveInputs { inputs, outputs }));
}

#[test]
fn settlement_that_leaves_less_than_dust_is_not_worth_it() {
    // 205 sat at one satoshi a virtual byte.
    let build = |paid| {
        let part = settled(1, channel(1, 100_000, OWN), msat(paid));
        Settlement::at_rate(vec![part], &[], p2tr(1), rate(1_000))
            .map(|settlement| settlement.transaction().output[1].value.to_sat())
    };
    assert_eq!(build(535_000), Ok(330));
    let (fee, dust) = (sat(205), sat(330));
    assert_eq!(build(534_999), Err(TxError::NotWorthIt { left: sat(534), fee, dust }));
    assert_eq!(build(0), Err(TxError::NotWorthIt { left: Sat::ZERO, fee, dust }));
}

#[test]
fn refund_that_leaves_less_than_dust_is_not_worth_it() {
    let build = |value| {
        Refund::with_fee(outpoint(1), sat(value), output_of(1, 1), p2tr(1), sat(100))
            .map(|refund| refund.transaction().output[0].value.to_sat())
    };
    assert_eq!(build(430), Ok(330));
    let (fee, dust) = (sat(100), sat(330));
    assert_eq!(build(429), Err(TxError::NotWorthIt { left: sat(429), fee, dust }));
    assert_eq!(build(99), Err(TxError::NotWorthIt { left: sat(99), fee, dust }));
    // 138 sat at one satoshi a virtual byte.
    let at_rate =
        Refund::at_rate(outpoint(1), sat(468), output_of(1, u16::MAX), p2tr(1), rate(1_000));
    assert_eq!(at_rate.unwrap().transaction().output[0].value.to_sat(), 330);
}

#[test]
fn close_leaves_out_what_would_be_dust() {
    let close = |paid, fee| {
        JointSpend::close(channel(1, 10_000, OWN), msat(paid), p2tr(1), p2tr(2), sat(fee)).map(
            |spend| {
                let outputs = &spend.transaction().output;
                let of = |script| {
                    let output = outputs.iter().find(|output| output.script_pubkey == script);
                    output.map_or(0, |output| output.value.to_sat())
                };
                (of(p2tr(1)), of(p2tr(2)), spend.fee().unwrap().to_sat())
            },
        )
    };
    assert_eq!(close(330_000, 200), Ok((9_470, 330, 200)));
    // The payee's dust pays the fee first; what is over goes to the miner, never to the payer.
    assert_eq!(close(329_999, 500), Ok((9_500, 0, 500)));
    assert_eq!(close(329_999, 200), Ok((9_671, 0, 329)));
    assert_eq!(close(9_470_999, 200), Ok((330, 9_470, 200)));
    assert_eq!(close(9_471_000, 200), Ok((0, 9_471, 529)));
    assert_eq!(close(9_800_000, 200), Ok((0, 9_800, 200)));
    let (fee, dust) = (sat(200), Sat::ZERO);
    assert_eq!(close(9_801_000, 200), Err(TxError::NotWorthIt { left: sat(199), fee, dust }));
    assert_eq!(close(10_000_000, 0), Ok((0, 10_000, 0)));
    let (paid, limit) = (msat(10_000_001), msat(10_000_000));
    assert_eq!(close(10_000_001, 0), Err(TxError::AboveCapacity { paid, limit }));
    assert_eq!(close(0, 9_671), Err(TxError::NoOutputs));
}

#[test]
fn top_up_whose_balance_has_no_place_is_refused() {
    let top_up = |paid, capacity, payout| {
        JointSpend::top_up(channel(1, 10_000, OWN), msat(paid), &coins(1), sat(capacity), payout)
            .map(|spend| spend.fee().unwrap().to_sat())
    };
    let out = Some(p2tr(2));
    assert_eq!(top_up(330_000, 50_000, out.clone()), Ok(9_670));
    let (value, dust) = (sat(329), sat(330));
    let refused = Err(TxError::OutputBelowDust { value, dust });
    assert_eq!(top_up(329_999, 50_000, out.clone()), refused);
    assert_eq!(top_up(329_999, 50_000, None), Ok(10_000));
    // Carried: the new channel's voucher must be able to state it.
    assert_eq!(top_up(5_000_000, 5_330, None), Ok(54_670));
    let change = sat(329);
    assert_eq!(top_up(5_000_000, 5_329, None), Err(TxError::ChangeBelowDust { change, dust }));
    assert_eq!(top_up(5_000_000, 5_000, None), Ok(55_000));
    let (paid, limit) = (msat(5_000_000), msat(4_999_000));
    assert_eq!(top_up(5_000_000, 4_999, None), Err(TxError::AboveCapacity { paid, limit }));
    let refused = TxError::CapacityBelowDust { capacity: sat(329), dust };
    assert_eq!(top_up(0, 329, None), Err(refused));
    assert_eq!(top_up(0, 60_000, None), Ok(0));
    let (inputs, outputs) = (sat(60_000), sat(60_001));
    assert_eq!(top_up(0, 60_001, None), Err(TxError::OutputsAboveInputs { inputs, outputs }));
}
