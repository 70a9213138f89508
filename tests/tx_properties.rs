//! Properties of the transactions: digests against `bitcoin`'s own, settlements, refunds and joint
//! spends of random channels against plain sums and Bitcoin Core's interpreter.

mod tx_support;

use std::cell::Cell;

use bitcoin::hashes::Hash;
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::{OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Witness, absolute, transaction};
use millstream::tx::{
    Channel, FeeInput, JointSpend, Refund, Settled, Settlement, TxError, dust_limit,
};
use millstream::units::{FeeRate, Msat};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use tx_support::{
    CONTEXT, bytes_of, change_of, channel, consensus, fee_coin, fee_of, finish, finish_joint,
    finish_refund, msat, outpoint, output_of, p2tr, p2wpkh, p2wsh, sat, settled,
};

/// The largest size of a TRUC transaction, in weight units.
const TRUC_WEIGHT: u64 = 40_000;

/// A case that failed once is kept beside this file and tried first from then on.
fn cases(cases: u32) -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("regressions");
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(kept)),
        source_file: Some(file!()),
        ..Default::default()
    }
}

/// An amount that a voucher of `channel` can state: the full capacity, or `fraction` of the rest.
fn payable(channel: &Channel, full: bool, fraction: u64) -> Msat {
    if full {
        return channel.capacity().to_msat();
    }
    let most = channel.largest_with_change().to_msat();
    msat(u64::try_from(u128::from(most) * u128::from(fraction) / u128::from(u64::MAX)).unwrap())
}

fn p2pkh() -> ScriptBuf {
    ScriptBuf::new_p2pkh(&bitcoin::PubkeyHash::from_byte_array([7; 20]))
}

/// ceil(weight x rate / 4,000), the fee of a rate in satoshis per 1,000 virtual bytes.
fn fee_model(weight: u64, rate: u64) -> u64 {
    (u128::from(weight) * u128::from(rate)).div_ceil(4_000).try_into().unwrap()
}

fn unsigned(tx: &Transaction) -> Transaction {
    let mut tx = tx.clone();
    tx.input.iter_mut().for_each(|input| input.witness = Witness::new());
    tx
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn digest_of_a_voucher_is_the_sighash_of_its_template(
        id in 0_u64..50, capacity in 330_u64..2_100_000_000_000_000, kind in 0_u8..4,
        full in any::<bool>(), fraction in any::<u64>(), extra in 0_u64..3,
    ) {
        let channel = channel(id, capacity, kind);
        let paid = payable(&channel, full, fraction);
        let change = channel.change_output(paid).unwrap();
        let kind = match change {
            Some(_) => TapSighashType::SinglePlusAnyoneCanPay,
            None => TapSighashType::NonePlusAnyoneCanPay,
        };
        let mut tx = Transaction {
            version: transaction::Version(3),
            lock_time: absolute::LockTime::ZERO,
            input: vec![TxIn {
                previous_output: channel.outpoint(),
                sequence: Channel::sequence(paid),
                ..TxIn::default()
            }],
            output: change.into_iter().collect(),
        };
        // What the payee adds changes nothing.
        for added in 0..extra {
            tx.input.push(TxIn { previous_output: outpoint(900 + added), ..TxIn::default() });
            tx.output.push(TxOut { value: sat_amount(added), script_pubkey: p2tr(added) });
        }
        let spent = channel.to_txout();
        let expected = SighashCache::new(&tx)
            .taproot_script_spend_signature_hash(
                0,
                &Prevouts::One(0, &spent),
                channel.output().settle_leaf_hash(),
                kind,
            )
            .unwrap();
        prop_assert_eq!(channel.digest(paid).unwrap(), expected.to_byte_array());
    }

    #[test]
    fn digest_changes_with_every_field(
        id in 0_u64..50, capacity in 1_000_u64..1_000_000_000, kind in 0_u8..4,
        full in any::<bool>(), fraction in any::<u64>(), delay in 1_u16..u16::MAX,
    ) {
        let make = |outpoint: OutPoint, capacity, scripts: u64, delay, change: u8, wallet| {
            let output = output_of(scripts, delay);
            Channel::new(outpoint, sat(capacity), output, change_of(change, wallet)).unwrap()
        };
        let at = outpoint(id);
        let paid = payable(&make(at, capacity, id, delay, kind, id), full, fraction);
        let digest = make(at, capacity, id, delay, kind, id).digest(paid).unwrap();
        let other_txid = OutPoint { txid: outpoint(id + 1).txid, ..at };
        let other_vout = OutPoint { vout: at.vout + 1, ..at };
        // One satoshi less capacity would not leave the full amount payable, one more might leave
        // dust only; by the dust limit more, both cases of `full` stay payable.
        let others = [
            ("txid", make(other_txid, capacity, id, delay, kind, id)),
            ("vout", make(other_vout, capacity, id, delay, kind, id)),
            ("capacity", make(at, capacity + 330, id, delay, kind, id)),
            ("keys", make(at, capacity, id + 1, delay, kind, id)),
            ("delay", make(at, capacity, id, delay + 1, kind, id)),
        ];
        for (field, other) in others {
            prop_assert_ne!(other.digest(paid).unwrap(), digest, "{}", field);
        }
        let less = msat(paid.to_msat().saturating_sub(1));
        if let Ok(other) = make(at, capacity, id, delay, kind, id).digest(less) {
            prop_assert_eq!(other == digest, less == paid);
        }
        // The last voucher signs no output, so it alone does not depend on the change script.
        let moved = make(at, capacity, id, delay, 1, id + 1).digest(paid).unwrap();
        prop_assert_eq!(moved == digest, full);
    }
}

fn sat_amount(value: u64) -> bitcoin::Amount {
    bitcoin::Amount::from_sat(value)
}

/// One channel of a random settlement: capacity, change kind, full or not, fraction paid.
type Plan = (u64, u8, bool, u64);

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let capacity = prop_oneof![1_000_u64..30_000, 20_000_u64..5_000_000];
    let plan = (capacity, 0_u8..4, prop::bool::weighted(0.2), any::<u64>());
    prop_oneof![prop::collection::vec(plan.clone(), 1..=4), prop::collection::vec(plan, 9..=65),]
}

fn parts_of(plans: &[Plan]) -> Vec<Settled> {
    (0_u64..)
        .zip(plans)
        .map(|(id, (capacity, kind, full, fraction))| {
            let channel = channel(id, *capacity, *kind);
            let paid = payable(&channel, *full, *fraction);
            settled(id, channel, paid)
        })
        .collect()
}

/// Input i pays change i, for every channel with a change; full ones and fee inputs come after.
fn check_pairs(settlement: &Settlement, parts: &[Settled], coins: &[FeeInput]) {
    let tx = settlement.transaction();
    let (with, without): (Vec<_>, Vec<_>) = parts.iter().partition(|part| change(part).is_some());
    let order: Vec<OutPoint> = with
        .iter()
        .chain(&without)
        .map(|part| part.channel().outpoint())
        .chain(coins.iter().map(FeeInput::outpoint))
        .collect();
    let inputs: Vec<OutPoint> = tx.input.iter().map(|input| input.previous_output).collect();
    assert_eq!(inputs, order);
    for (index, part) in with.iter().enumerate() {
        assert_eq!(Some(&tx.output[index]), change(part).as_ref());
        let rollover = settlement.rollover(index).unwrap();
        let own = part.channel().change_script() == part.channel().output().script().as_script();
        assert_eq!(rollover.is_some(), own);
        if let Some(next) = rollover {
            assert_eq!(next.to_txout(), tx.output[index]);
            assert_eq!(
                next.outpoint(),
                OutPoint::new(tx.compute_txid(), u32::try_from(index).unwrap())
            );
        }
    }
    assert_eq!(tx.output.len(), with.len() + 1);
    assert_eq!((tx.version.0, tx.lock_time.to_consensus_u32()), (3, 0));
}

fn change(part: &Settled) -> Option<TxOut> {
    part.channel().change_output(part.voucher().voucher().paid).unwrap()
}

/// Final weight against the predicted one: equal, but for short DER signatures of P2WPKH coins.
fn check_weight(tx: &Transaction, predicted: u64, spent: &[TxOut]) {
    let short: u64 = tx
        .input
        .iter()
        .zip(spent)
        .filter(|(_, output)| output.script_pubkey.is_p2wpkh())
        .map(|(input, _)| 72 - input.witness.nth(0).unwrap().len() as u64)
        .sum();
    assert_eq!(tx.weight().to_wu() + short, predicted);
}

/// One random settlement: pairs, sums, rate, replacement, weight, and Bitcoin Core's verdict.
/// Returns whether it could be built at all.
fn check_settlement(plans: &[Plan], taproot: &[bool], rate: u64) -> Result<bool, TestCaseError> {
    let parts = parts_of(plans);
    let coins: Vec<FeeInput> =
        (0_u64..).zip(taproot).map(|(id, kind)| fee_coin(id, 40_000, *kind)).collect();
    let built = Settlement::at_rate(parts.clone(), &coins, p2tr(77), FeeRate::new(rate).unwrap());
    let paid_in: u64 =
        parts.iter().map(|part| part.voucher().voucher().paid.floor_to_sat().to_sat()).sum::<u64>()
            + 40_000 * coins.len() as u64;
    let settlement = match built {
        Ok(settlement) => settlement,
        Err(TxError::TooLarge { vbytes, limit }) => {
            prop_assert!(vbytes > limit && limit == 10_000 && plans.len() > 60);
            return Ok(false);
        }
        Err(TxError::NotWorthIt { left, fee, dust }) => {
            prop_assert_eq!(left.to_sat(), paid_in);
            prop_assert!(paid_in < fee.to_sat() + dust.to_sat());
            return Ok(false);
        }
        Err(other) => return Err(TestCaseError::fail(other.to_string())),
    };
    check_pairs(&settlement, &parts, &coins);
    let weight = settlement.transaction().weight().to_wu();
    prop_assert!(weight <= TRUC_WEIGHT);
    let spent = settlement.spent().to_vec();
    prop_assert_eq!(fee_of(settlement.transaction(), &spent), fee_model(weight, rate));
    prop_assert_eq!(settlement.fee().unwrap().to_sat(), fee_model(weight, rate));
    let payee = settlement.transaction().output.last().unwrap().value.to_sat();
    prop_assert_eq!(payee + fee_model(weight, rate), paid_in);

    // A replacement: the same inputs and changes, only the payee's output pays more.
    let doubled = FeeRate::new(rate * 2).unwrap();
    if let Ok(better) = Settlement::at_rate(parts, &coins, p2tr(77), doubled) {
        let (mut old, mut new) =
            (unsigned(settlement.transaction()), unsigned(better.transaction()));
        prop_assert_eq!(better.fee().unwrap().to_sat(), fee_model(weight, rate * 2));
        let (a, b) = (old.output.pop().unwrap(), new.output.pop().unwrap());
        prop_assert!(a.value > b.value && a.script_pubkey == b.script_pubkey);
        prop_assert_eq!(old, new);
    }

    let ids: Vec<u64> = (0..coins.len() as u64).collect();
    let number = |at: OutPoint| (0..=u64::from(u8::MAX)).find(|id| outpoint(*id) == at).unwrap();
    let tx = finish(settlement, number, &ids);
    check_weight(&tx, weight, &spent);
    prop_assert_eq!(consensus(&tx, &spent), Ok(()));
    Ok(true)
}

#[test]
fn settlement_pairs_conserves_and_pays_its_rate() {
    let (built, refused, channels) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let coins = prop::collection::vec(any::<bool>(), 0..=2);
    TestRunner::new(cases(64))
        .run(&(plans(), coins, 100_u64..200_000), |(plans, coins, rate)| {
            let count = if check_settlement(&plans, &coins, rate)? { &built } else { &refused };
            count.set(count.get() + 1);
            channels.set(channels.get() + plans.len());
            Ok(())
        })
        .unwrap();
    let (built, refused, channels) = (built.get(), refused.get(), channels.get());
    println!("settlements: {built} built, {refused} too large or too small, {channels} channels");
    assert!(built > refused);
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn refund_to_any_script_pays_its_rate_and_is_valid(
        id in 0_u64..50, delay in 1_u16..=u16::MAX, value in 20_000_u64..10_000_000_000,
        rate in 1_u64..100_000, kind in 0_usize..4,
    ) {
        let script = [p2tr(id), p2wpkh(id), p2wsh(id), p2pkh()][kind].clone();
        let from = output_of(id, delay);
        let refund = Refund::at_rate(
            outpoint(id), sat(value), from.clone(), script.clone(), FeeRate::new(rate).unwrap(),
        ).unwrap();
        let weight = refund.transaction().weight().to_wu();
        let tx = finish_refund(refund, id);
        let spent = [TxOut { value: sat_amount(value), script_pubkey: from.script().clone() }];
        prop_assert_eq!(tx.weight().to_wu(), weight);
        prop_assert_eq!(fee_of(&tx, &spent), fee_model(weight, rate));
        prop_assert_eq!(&tx.output[0].script_pubkey, &script);
        prop_assert_eq!((tx.version.0, tx.lock_time.to_consensus_u32()), (2, 0));
        prop_assert_eq!(tx.input[0].sequence.to_consensus_u32(), u32::from(delay));
        prop_assert_eq!(consensus(&tx, &spent), Ok(()));
    }

    #[test]
    fn close_pays_the_payee_in_full_and_the_payer_the_rest(
        id in 0_u64..50, capacity in 1_000_u64..50_000, paid in any::<u64>(), fee in 0_u64..2_000,
    ) {
        let channel = channel(id, capacity, 0);
        let paid = msat(paid % (capacity * 1_000 + 1));
        let (payer, payee) = (p2wpkh(id), p2tr(id));
        let balance = paid.floor_to_sat().to_sat();
        let rest = capacity - balance;
        let given_up = if balance < 330 { balance } else { 0 };
        let built =
            JointSpend::close(channel.clone(), paid, payer.clone(), payee.clone(), sat(fee));
        let spend = match built {
            Ok(spend) => spend,
            Err(TxError::NotWorthIt { .. }) => {
                prop_assert!(rest + given_up < fee);
                return Ok(());
            }
            Err(TxError::NoOutputs) => {
                prop_assert!(balance < 330 && rest.min(capacity - fee) < 294);
                return Ok(());
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        };
        let tx = finish_joint(spend, id, &[]);
        let worth = |script: &ScriptBuf| {
            let outputs = tx.output.iter().filter(|output| output.script_pubkey == *script);
            outputs.map(|output| output.value.to_sat()).sum::<u64>()
        };
        prop_assert_eq!(worth(&payee), if balance < 330 { 0 } else { balance });
        let left = (rest + given_up - fee).min(rest);
        prop_assert_eq!(worth(&payer), if left < 294 { 0 } else { left });
        if tx.output.len() == 2 {
            prop_assert_eq!(&tx.output[0].script_pubkey, &payer);
            prop_assert_eq!(fee_of(&tx, &[channel.to_txout()]), fee);
        }
        prop_assert!(fee_of(&tx, &[channel.to_txout()]) >= fee);
        prop_assert_eq!(tx.input[0].sequence, Channel::sequence(paid));
        prop_assert_eq!(consensus(&tx, &[channel.to_txout()]), Ok(()));
    }

    #[test]
    fn top_up_pays_out_or_carries_exactly_the_balance(
        id in 0_u64..50, capacity in 1_000_u64..5_000_000, fraction in any::<u64>(),
        carried in any::<bool>(), coin in 1_000_u64..5_000_000, taproot in any::<bool>(),
        fee in 0_u64..5_000,
    ) {
        let channel = channel(id, capacity, 0);
        let paid = payable(&channel, false, fraction);
        let balance = paid.floor_to_sat().to_sat();
        let payout = (!carried).then(|| p2tr(id));
        let out = if carried { 0 } else { balance };
        let coins = [fee_coin(id, coin, taproot)];
        prop_assume!(capacity + coin >= out + fee + 330 && (carried || balance >= 330));
        let next = capacity + coin - out - fee;
        let built = JointSpend::top_up(channel.clone(), paid, &coins, sat(next), payout.clone());
        if carried && next * 1_000 < paid.to_msat() {
            let above = matches!(built, Err(TxError::AboveCapacity { .. }));
            prop_assert!(above, "a balance that the new channel does not hold");
            return Ok(());
        }
        let spend = match built {
            Err(TxError::ChangeBelowDust { .. }) => {
                prop_assert!(carried && next < balance + 330);
                return Ok(());
            }
            built => built.unwrap(),
        };
        let topped_up = spend.topped_up().unwrap().unwrap();
        prop_assert_eq!(topped_up.capacity(), sat(next));
        prop_assert_eq!(topped_up.output(), channel.output());
        let spent = spend.spent().to_vec();
        let tx = finish_joint(spend, id, &[id]);
        prop_assert_eq!(topped_up.outpoint(), OutPoint::new(tx.compute_txid(), 0));
        prop_assert_eq!(&tx.output[0], &topped_up.to_txout());
        prop_assert_eq!(tx.output.get(1).map(|output| output.value.to_sat()),
            payout.map(|_| balance));
        prop_assert_eq!(fee_of(&tx, &spent), fee);
        prop_assert_eq!(consensus(&tx, &spent), Ok(()));
    }
}

#[test]
fn settlement_that_anybody_changed_is_invalid() {
    // The payee's SIGHASH_DEFAULT: no output, no input, no amount, and no order can be changed.
    let parts = parts_of(&[(50_000, 1, false, u64::MAX / 2), (60_000, 0, true, 0)]);
    let rate = FeeRate::new(2_000).unwrap();
    let settlement = Settlement::at_rate(parts, &[], p2tr(9), rate).unwrap();
    let spent = settlement.spent().to_vec();
    let tx = finish(settlement, |at| u64::from(at == outpoint(1)), &[]);
    assert_eq!(consensus(&tx, &spent), Ok(()));
    let changes: [fn(&mut Transaction); 6] = [
        |tx| tx.output[1].value -= sat_amount(1),
        |tx| tx.output[0].script_pubkey = p2tr(10),
        |tx| tx.output.push(TxOut { value: sat_amount(0), script_pubkey: p2tr(10) }),
        |tx| tx.input[0].sequence.0 ^= 1,
        |tx| tx.version.0 = 2,
        |tx| tx.lock_time = absolute::LockTime::from_consensus(1),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = tx.clone();
        change(&mut changed);
        assert!(consensus(&changed, &spent).is_err(), "change {number}");
    }
    let mut foreign = tx.clone();
    foreign.input[0].witness = foreign.input[1].witness.clone();
    assert!(consensus(&foreign, &spent).is_err());
}

#[test]
fn payee_signature_by_another_key_is_invalid() {
    let part = parts_of(&[(50_000, 1, false, u64::MAX / 2)]);
    let settlement = Settlement::at_rate(part, &[], p2tr(9), FeeRate::new(2_000).unwrap()).unwrap();
    let spent = settlement.spent().to_vec();
    let digest = settlement.digest(0).unwrap();
    let foreign = tx_support::payee_key(5).sign(&CONTEXT, digest, &tx_support::NO_AUX);
    let tx = settlement.finish(&[foreign], vec![]).unwrap();
    assert!(consensus(&tx, &spent).is_err());
}

#[test]
fn dust_limits_are_those_of_bitcoin_core() {
    let of = |script: ScriptBuf| dust_limit(&script).to_sat();
    let p2sh = ScriptBuf::new_p2sh(&bitcoin::ScriptHash::from_byte_array([7; 20]));
    let scripts =
        [p2tr(1), p2wsh(1), p2wpkh(1), p2pkh(), p2sh, ScriptBuf::new_op_return(bytes_of(1, 1))];
    assert_eq!(scripts.map(of), [330, 330, 294, 546, 540, 0]);
}
