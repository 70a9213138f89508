//! The cases with holds: scripts, vouchers of type 0x81, settlements, claims and timeouts.

use bitcoin::Transaction;
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::hashes::Hash;
use bitcoin::taproot::TapNodeHash;
use hex::DisplayHex;
use millstream::tx::hold::{
    ClaimDelay, Held, HeldChecked, Hold, HoldCoin, HoldOutput, HoldSettlement, HoldSpend,
    PaymentHash, Preimage,
};
use millstream::tx::{Channel, VoucherKind};
use millstream::units::{FeeRate, Height, HoldId};
use serde_json::Value;

use super::tx_support::{CONTEXT, NO_AUX, msat, sat};
use super::{
    Known, bytes32, check_transaction, fee_inputs, fee_witnesses, list, number, outputs, script,
    sign_input, signature, text,
};

/// One case of the three kinds with holds.
pub(crate) fn check_case(known: &Known, case: &Value) {
    let tx = &case["tx"];
    let holds: Vec<(Hold, Preimage)> =
        list(case, "holds").iter().map(|hold| check_hold(known, hold)).collect();
    match (text(case, "kind"), list(case, "vouchers")) {
        ("hold_settlement", [voucher]) => {
            let checked = check_voucher(known, voucher, &holds);
            check_settlement(known, checked, tx);
        }
        ("hold_claim" | "hold_timeout", []) => check_spend(known, case, &holds),
        (other, vouchers) => panic!("{other} with holds and {} vouchers", vouchers.len()),
    }
}

/// Hash, preimage, scripts, control blocks and output key of one hold.
fn check_hold(known: &Known, value: &Value) -> (Hold, Preimage) {
    let preimage = Preimage::new(bytes32(value, "preimage"));
    let hash = PaymentHash::new(bytes32(value, "hash"));
    assert_eq!(preimage.hash(), hash);
    let msats = number(value, "msat");
    assert_eq!(msats % 1_000, 0, "holds are whole satoshis");
    let hold = Hold {
        id: HoldId::new(number(value, "id")).unwrap(),
        amount: sat(msats / 1_000),
        hash,
        expiry: Height::new(number(value, "t").try_into().unwrap()).unwrap(),
        delay: ClaimDelay::new(number(value, "k").try_into().unwrap()).unwrap(),
    };
    check_output(&hold.output(&CONTEXT, known.channel.output()).unwrap(), &value["output"]);
    (hold, preimage)
}

fn check_output(output: &HoldOutput, expected: &Value) {
    assert_eq!(*output.script(), script(expected, "script"));
    assert_eq!(output.script().as_bytes()[2..], bytes32(expected, "output_key"));
    let leaves = (output.claim_leaf_hash(), output.timeout_leaf_hash());
    let root = TapNodeHash::from_node_hashes(leaves.0.into(), leaves.1.into());
    assert_eq!(root.to_byte_array(), bytes32(expected, "merkle_root"));
    for (leaf, script, control, hash) in [
        ("claim", output.claim_script(), output.claim_control(), leaves.0),
        ("timeout", output.timeout_script(), output.timeout_control(), leaves.1),
    ] {
        let expected_leaf = &expected[leaf];
        assert_eq!(script.to_hex_string(), text(expected_leaf, "script"), "{leaf}");
        assert_eq!(control.to_lower_hex_string(), text(expected_leaf, "control"), "{leaf}");
        assert_eq!(hash.to_byte_array(), bytes32(expected_leaf, "leaf_hash"), "{leaf}");
        assert_eq!(u64::from(control[0] & 1), number(expected, "output_parity"), "{leaf}");
    }
}

/// Template, sequence, type, digest and signature.
fn check_voucher(known: &Known, value: &Value, holds: &[(Hold, Preimage)]) -> HeldChecked {
    let (paid, fee) = (msat(number(value, "paid_msat")), sat(number(value, "agreed_fee")));
    let holds = holds.iter().map(|(hold, _)| *hold).collect();
    let held = Held::new(&CONTEXT, known.channel.clone(), paid, fee, holds).unwrap();
    assert_eq!(held.outputs(), outputs(value, "template_outputs"));
    let sequence = u64::from(Channel::sequence(paid).to_consensus_u32());
    assert_eq!(sequence, number(value, "sequence"));
    assert_eq!(held.digest().unwrap(), bytes32(value, "sighash"));

    let (expected, kind) = signature(value);
    assert_eq!(held.sign(&CONTEXT, &known.payer, &NO_AUX).unwrap(), expected);
    assert_eq!(kind, Some(VoucherKind::All.sighash_byte()));
    assert_eq!(number(value, "type"), u64::from(VoucherKind::All.sighash_byte()));
    held.verify(&CONTEXT, &expected).unwrap()
}

fn check_settlement(known: &Known, checked: HeldChecked, tx: &Value) {
    let coins = fee_inputs(tx, 1);
    let settlement = HoldSettlement::new(checked, &coins).unwrap();
    assert_eq!(settlement.fee().unwrap().to_sat(), number(tx, "fee"));
    let payee = sign_input(tx, 0, &known.payee, settlement.digest().unwrap());
    let witnesses = fee_witnesses(tx, settlement.transaction(), settlement.spent(), 1);
    let spent = settlement.spent().to_vec();
    check_transaction(&settlement.finish(&payee, witnesses).unwrap(), &spent, tx);
}

fn check_spend(known: &Known, case: &Value, holds: &[(Hold, Preimage)]) {
    let tx = &case["tx"];
    let unsigned: Transaction = deserialize_hex(text(tx, "unsigned")).unwrap();
    let [(hold, preimage)] = holds else { panic!("{} holds in one spend", holds.len()) };
    let outpoint = unsigned.input[0].previous_output;
    let scripts = hold.output(&CONTEXT, known.channel.output()).unwrap();
    let coin = HoldCoin::new(outpoint, hold.amount, scripts);
    let target = unsigned.output[0].script_pubkey.clone();
    // Below 4,000 weight units one rate gives exactly this fee.
    let rate = FeeRate::new(number(tx, "fee") * 4_000 / number(tx, "weight")).unwrap();
    let claims = text(case, "kind") == "hold_claim";
    let spend = if claims {
        HoldSpend::claim(coin.clone(), *preimage, target, rate).unwrap()
    } else {
        HoldSpend::time_out(coin.clone(), target, rate).unwrap()
    };
    assert_eq!(spend.clone().with_fee(sat(number(tx, "fee"))).unwrap(), spend);
    let key = if claims { &known.payee } else { &known.payer };
    let signature = sign_input(tx, 0, key, spend.digest().unwrap());
    let spent = [coin.to_txout()];
    let done = spend.finish(&signature).unwrap();
    check_transaction(&done, &spent, tx);
    assert_eq!(coin.preimage_in(&done), claims.then_some(*preimage));
}
