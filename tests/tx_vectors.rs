//! The vectors of the on-chain format, rebuilt through the public builders of `tx`.
//!
//! From each case come the secrets, the outpoints, the amounts and what only the payee chooses (its
//! outputs, its fee coins); every script, digest, signature and transaction is computed here and
//! compared byte for byte.
//!
//! `MILLSTREAM_VECTORS=DIR` reads `stream_v1.json` from DIR; if it is not there, that is printed. A
//! DIR without any file fails, and so does a file without cases.

#[path = "tx_vectors/holds.rs"]
mod holds;
mod tx_support;
mod vector_support;

use std::collections::BTreeMap;
use std::str::FromStr;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Message, XOnlyPublicKey, schnorr};
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::taproot::{TapLeafHash, TapNodeHash};
use bitcoin::{
    OutPoint, Script, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute, transaction,
};
use hex::{DisplayHex, FromHex};
use millstream::keys::{BaseKey, ChannelKey, payee_key, tagged_hash};
use millstream::tx::{
    ChangeScript, Channel, Delay, FeeInput, FundingOutput, JointSpend, Refund, Settled, Settlement,
    TxError, Voucher, WalletScript, payee_script,
};
use millstream::units::{FeeRate, Msat, Sat};
use serde_json::Value;
use tx_support::{CONTEXT, NO_AUX, consensus, fee_of, msat, sat};
use vector_support::document;

const FILE: &str = "stream_v1";

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no number {key} in {value}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list {key} in {value}"))
}

fn bytes32(value: &Value, key: &str) -> [u8; 32] {
    <[u8; 32]>::from_hex(text(value, key)).unwrap()
}

fn script(value: &Value, key: &str) -> ScriptBuf {
    ScriptBuf::from_hex(text(value, key)).unwrap()
}

fn x_only(value: &Value, key: &str) -> XOnlyPublicKey {
    XOnlyPublicKey::from_str(text(value, key)).unwrap()
}

/// The signature without its type byte, and the byte.
fn signature(value: &Value) -> (schnorr::Signature, Option<u8>) {
    let bytes = Vec::<u8>::from_hex(text(value, "signature")).unwrap();
    (schnorr::Signature::from_slice(&bytes[..64]).unwrap(), bytes.get(64).copied())
}

/// A channel of the file with its secrets; making one checks every derived value.
struct Known {
    channel: Channel,
    payer: ChannelKey,
    payee: ChannelKey,
    payee_script: ScriptBuf,
}

impl Known {
    fn new(value: &Value) -> Self {
        let payer = ChannelKey::from_secret(&CONTEXT, &bytes32(value, "payer_secret")).unwrap();
        let base = BaseKey::from_secret(&CONTEXT, &bytes32(value, "base_secret")).unwrap();
        assert_eq!(payer.public(), x_only(value, "payer"));
        assert_eq!(base.public(), x_only(value, "base"));
        assert_eq!(number(value, "version"), 1);

        let payee = base.for_payer(&CONTEXT, payer.public()).unwrap();
        let known = ChannelKey::from_secret(&CONTEXT, &bytes32(value, "payee_secret")).unwrap();
        assert_eq!(payee.public(), x_only(value, "payee"));
        assert_eq!(payee.public(), known.public());
        let computed = payee_key(&CONTEXT, base.public(), payer.public()).unwrap();
        assert_eq!(payee.public(), computed);

        let delay = Delay::new(number(value, "delay").try_into().unwrap()).unwrap();
        let output = FundingOutput::new(&CONTEXT, payer.public(), base.public(), delay).unwrap();
        check_output(&output, value, base.public());

        let wanted = script(value, "change_script");
        let change = if wanted == *output.script() {
            ChangeScript::Own
        } else {
            ChangeScript::Wallet(WalletScript::parse(wanted.clone()).unwrap())
        };
        let outpoint = OutPoint::from_str(text(value, "outpoint")).unwrap();
        let capacity = sat(number(value, "capacity"));
        let channel = Channel::new(outpoint, capacity, output, change).unwrap();
        assert_eq!(channel.change_script(), wanted.as_script());

        let payee_script = payee_script(&CONTEXT, payee.public()).unwrap();
        assert_eq!(payee_script, script(value, "payee_script"));
        Self { channel, payer, payee, payee_script }
    }
}

/// Tweaks, keys, scripts, hashes and control blocks.
fn check_output(output: &FundingOutput, value: &Value, base: XOnlyPublicKey) {
    let (payer, payee) = (output.payer().serialize(), output.payee().serialize());
    let tweak = tagged_hash(b"millstream/stream/payee", &[&base.serialize(), &payer]);
    assert_eq!(tweak, bytes32(value, "payee_tweak"));
    let delay = output.delay().to_u16().to_le_bytes();
    let shift = tagged_hash(b"millstream/stream/internal", &[&[1], &payer, &payee, &delay]);
    assert_eq!(shift, bytes32(value, "internal_tweak"));
    assert_eq!(output.internal_key(), x_only(value, "internal"));

    let expected = &value["output"];
    assert_eq!(*output.script(), script(expected, "script"));
    assert_eq!(output.script().as_bytes()[2..], bytes32(expected, "output_key"));
    let leaves = (output.settle_leaf_hash(), output.refund_leaf_hash());
    let root = TapNodeHash::from_node_hashes(leaves.0.into(), leaves.1.into());
    assert_eq!(root.to_byte_array(), bytes32(expected, "merkle_root"));
    for (leaf, script, control, hash) in [
        ("settle", output.settle_script(), output.settle_control(), leaves.0),
        ("refund", output.refund_script(), output.refund_control(), leaves.1),
    ] {
        let expected_leaf = &expected[leaf];
        assert_eq!(script.to_hex_string(), text(expected_leaf, "script"), "{leaf}");
        assert_eq!(control.to_lower_hex_string(), text(expected_leaf, "control"), "{leaf}");
        assert_eq!(hash.to_byte_array(), bytes32(expected_leaf, "leaf_hash"), "{leaf}");
        assert_eq!(u64::from(control[0] & 1), number(expected, "output_parity"), "{leaf}");
    }
}

/// One voucher: template, sequence, type, digest, signature; the result is the checked part.
fn check_voucher(known: &Known, value: &Value) -> Settled {
    let (channel, paid) = (&known.channel, msat(number(value, "paid_msat")));
    let template: Vec<TxOut> = channel.change_output(paid).unwrap().into_iter().collect();
    assert_eq!(template, outputs(value, "template_outputs"));
    let sequence = u64::from(Channel::sequence(paid).to_consensus_u32());
    assert_eq!(sequence, number(value, "sequence"));
    assert_eq!(channel.digest(paid).unwrap(), bytes32(value, "sighash"));

    let voucher = channel.sign(&CONTEXT, &known.payer, paid, &NO_AUX).unwrap();
    let (expected, kind) = signature(value);
    assert_eq!(voucher.signature, expected);
    assert_eq!(kind.map(u64::from), value["type"].as_u64());
    let checked = channel.verify(&CONTEXT, voucher).unwrap();
    Settled::new(channel.clone(), checked).unwrap()
}

fn outputs(value: &Value, key: &str) -> Vec<TxOut> {
    list(value, key)
        .iter()
        .map(|output| TxOut {
            value: bitcoin::Amount::from_sat(number(output, "value")),
            script_pubkey: script(output, "script"),
        })
        .collect()
}

/// The coins after the channels' inputs. Their outpoints stand nowhere but in the transaction.
fn fee_inputs(tx: &Value, channels: usize) -> Vec<FeeInput> {
    let unsigned: Transaction = deserialize_hex(text(tx, "unsigned")).unwrap();
    unsigned
        .input
        .iter()
        .zip(list(tx, "inputs"))
        .skip(channels)
        .map(|(input, coin)| {
            let value = bitcoin::Amount::from_sat(number(coin, "value"));
            let output = TxOut { value, script_pubkey: script(coin, "script") };
            FeeInput::new(input.previous_output, output).unwrap()
        })
        .collect()
}

/// Signs the fee coins by their output keys and compares digests and signatures.
fn fee_witnesses(
    tx: &Value,
    draft: &Transaction,
    spent: &[TxOut],
    channels: usize,
) -> Vec<Witness> {
    (channels..draft.input.len())
        .map(|index| {
            let coin = &list(tx, "inputs")[index];
            let digest = SighashCache::new(draft)
                .taproot_key_spend_signature_hash(
                    index,
                    &Prevouts::All(spent),
                    TapSighashType::Default,
                )
                .unwrap()
                .to_byte_array();
            assert_eq!(digest, bytes32(coin, "sighash"));
            let key = ChannelKey::from_secret(&CONTEXT, &bytes32(coin, "output_secret")).unwrap();
            let signature = key.sign(&CONTEXT, digest, &NO_AUX);
            assert_eq!(signature.to_string(), text(coin, "signature"));
            Witness::from_slice(&[signature.serialize()])
        })
        .collect()
}

/// Signs an input of a channel by `key` and compares digest and signature.
fn sign_input(tx: &Value, index: usize, key: &ChannelKey, digest: [u8; 32]) -> schnorr::Signature {
    let input = &list(tx, "inputs")[index];
    assert_eq!(digest, bytes32(input, "sighash"));
    let signature = key.sign(&CONTEXT, digest, &NO_AUX);
    assert_eq!(signature.to_string(), text(input, "signature"));
    signature
}

/// The finished transaction against the file and against Bitcoin Core's interpreter.
fn check_transaction(tx: &Transaction, spent: &[TxOut], expected: &Value) {
    let mut unsigned = tx.clone();
    unsigned.input.iter_mut().for_each(|input| input.witness.clear());
    assert_eq!(serialize_hex(&unsigned), text(expected, "unsigned"));
    assert_eq!(serialize_hex(tx), text(expected, "hex"));
    assert_eq!(tx.compute_txid().to_string(), text(expected, "txid"));
    assert_eq!(tx.compute_wtxid().to_string(), text(expected, "wtxid"));
    assert_eq!(tx.weight().to_wu(), number(expected, "weight"));
    assert_eq!(tx.vsize() as u64, number(expected, "vsize"));
    assert_eq!(fee_of(tx, spent), number(expected, "fee"));
    assert_eq!(u64::try_from(tx.version.0).unwrap(), number(expected, "version"));
    assert_eq!(u64::from(tx.lock_time.to_consensus_u32()), number(expected, "lock_time"));
    for (input, output) in list(expected, "inputs").iter().zip(spent) {
        assert_eq!(script(input, "script"), output.script_pubkey);
        assert_eq!(number(input, "value"), output.value.to_sat());
    }
    consensus(tx, spent).unwrap();
}

fn check_settlement(known: &[Known], parts: Vec<Settled>, tx: &Value) {
    let coins = fee_inputs(tx, parts.len());
    let unsigned: Transaction = deserialize_hex(text(tx, "unsigned")).unwrap();
    let changes = parts.iter().filter(|part| has_change(part)).count();
    let payee_outputs = unsigned.output[changes..].to_vec();
    let settlement =
        Settlement::with_outputs(parts.clone(), &coins, payee_outputs.clone()).unwrap();
    assert_eq!(settlement.fee().unwrap().to_sat(), number(tx, "fee"));
    if let [output] = &payee_outputs[..] {
        // The same by the fee's rate: below 4,000 weight units one rate gives exactly this fee.
        let rate = FeeRate::new(number(tx, "fee") * 4_000 / number(tx, "weight")).unwrap();
        let payee = output.script_pubkey.clone();
        assert_eq!(Settlement::at_rate(parts, &coins, payee, rate).unwrap(), settlement);
    }
    let signatures: Vec<_> = (0..known.len())
        .map(|index| sign_input(tx, index, &known[index].payee, settlement.digest(index).unwrap()))
        .collect();
    let witnesses =
        fee_witnesses(tx, settlement.transaction(), settlement.spent(), settlement.parts().len());
    let spent = settlement.spent().to_vec();
    check_transaction(&settlement.finish(&signatures, witnesses).unwrap(), &spent, tx);
}

fn has_change(part: &Settled) -> bool {
    part.channel().change_output(part.voucher().voucher().paid).unwrap().is_some()
}

fn check_refund(known: &Known, tx: &Value) {
    let channel = &known.channel;
    let unsigned: Transaction = deserialize_hex(text(tx, "unsigned")).unwrap();
    let target = unsigned.output[0].script_pubkey.clone();
    let fee = sat(number(tx, "fee"));
    let (outpoint, value) = (channel.outpoint(), channel.capacity());
    let refund =
        Refund::with_fee(outpoint, value, channel.output().clone(), target.clone(), fee).unwrap();
    let rate = FeeRate::new(fee.to_sat() * 4_000 / number(tx, "weight")).unwrap();
    let again = Refund::at_rate(outpoint, value, channel.output().clone(), target, rate).unwrap();
    assert_eq!(again, refund);
    let signature = sign_input(tx, 0, &known.payer, refund.digest().unwrap());
    check_transaction(&refund.finish(&signature).unwrap(), &[channel.to_txout()], tx);
}

/// The sub-satoshi part of a joint spend's `paid` stands in its sequence.
fn paid_of(tx: &Value, balance: u64) -> Msat {
    let unsigned: Transaction = deserialize_hex(text(tx, "unsigned")).unwrap();
    let low = unsigned.input[0].sequence.to_consensus_u32() & !(1 << 31);
    msat(balance * 1_000 + u64::from(low))
}

fn check_joint(known: &Known, spend: JointSpend, tx: &Value) {
    let digest = spend.digest().unwrap();
    let payee = sign_input(tx, 0, &known.payee, digest);
    let payer = known.payer.sign(&CONTEXT, digest, &NO_AUX);
    spend.verify_payer(&CONTEXT, &payer).unwrap();
    spend.verify_payee(&CONTEXT, &payee).unwrap();
    assert!(spend.verify_payer(&CONTEXT, &payee).is_err());
    assert!(spend.verify_payee(&CONTEXT, &payer).is_err());
    let witnesses = fee_witnesses(tx, spend.transaction(), spend.spent(), 1);
    let spent = spend.spent().to_vec();
    check_transaction(&spend.finish(&payer, &payee, witnesses).unwrap(), &spent, tx);
}

fn check_close(known: &Known, name: &str, tx: &Value) {
    let unsigned: Transaction = deserialize_hex(text(tx, "unsigned")).unwrap();
    let balance = match &unsigned.output[..] {
        [_, payee] => payee.value.to_sat(),
        _ => name.split_whitespace().find_map(|word| word.parse().ok()).unwrap(),
    };
    let spend = JointSpend::close(
        known.channel.clone(),
        paid_of(tx, balance),
        known.channel.change_script().into(),
        known.payee_script.clone(),
        sat(number(tx, "fee")),
    );
    check_joint(known, spend.unwrap(), tx);
}

fn check_top_up(known: &[Known], vouchers: &[Value], tx: &Value) {
    let unsigned: Transaction = deserialize_hex(text(tx, "unsigned")).unwrap();
    let capacity = sat(unsigned.output[0].value.to_sat());
    let (paid, payout) = match unsigned.output.get(1) {
        Some(payee) => (paid_of(tx, payee.value.to_sat()), Some(known[0].payee_script.clone())),
        None => (msat(number(&vouchers[0], "paid_msat")), None),
    };
    let coins = fee_inputs(tx, 1);
    let spend =
        JointSpend::top_up(known[0].channel.clone(), paid, &coins, capacity, payout).unwrap();
    if let Some(next) = known.get(1) {
        assert_eq!(spend.topped_up().unwrap().as_ref(), Some(&next.channel));
    }
    check_joint(&known[0], spend, tx);
}

#[test]
fn every_case_is_rebuilt_byte_for_byte() {
    let Some(document) = document(FILE) else { return };
    let mut counts = BTreeMap::new();
    let mut rolled_over = None;
    for case in list(&document, "cases") {
        let (kind, name) = (text(case, "kind"), text(case, "name"));
        println!("{kind}: {name}");
        *counts.entry(kind.to_owned()).or_insert(0) += 1;
        let known: Vec<Known> = list(case, "channels").iter().map(Known::new).collect();
        if !list(case, "holds").is_empty() {
            holds::check_case(&known[0], case);
            continue;
        }
        let vouchers = list(case, "vouchers");
        // A case's vouchers belong to its channels in order, unless its name says otherwise.
        let first = name.rsplit_once("channel ").and_then(|(_, n)| n.parse().ok()).unwrap_or(0);
        let parts: Vec<Settled> =
            known.iter().skip(first).zip(vouchers).map(|(k, v)| check_voucher(k, v)).collect();
        assert_eq!(parts.len(), vouchers.len(), "a voucher without a channel");
        let tx = &case["tx"];
        match kind {
            "settlement" => check_settlement(&known, parts, tx),
            "rollover" => {
                let payee = known[0].payee_script.clone();
                let rate = FeeRate::new(number(tx, "fee") * 4_000 / number(tx, "weight")).unwrap();
                let settlement = Settlement::at_rate(parts.clone(), &[], payee, rate).unwrap();
                rolled_over = settlement.rollover(0).unwrap();
                check_settlement(&known, parts, tx);
            }
            "refund" => {
                check_refund(&known[0], tx);
                if let (true, Some(next)) = (name.contains("rolled-over"), &rolled_over) {
                    assert_eq!(*next, known[0].channel);
                }
            }
            "close" => check_close(&known[0], name, tx),
            "top_up" => check_top_up(&known, vouchers, tx),
            other => panic!("a kind without holds that this test does not know: {other}"),
        }
    }
    println!("{FILE}: cases {counts:?}");
    assert!(!counts.is_empty(), "{FILE}: 0 cases");
    // Our own file has every kind; a user's may have less.
    let ours = [
        "settlement",
        "rollover",
        "refund",
        "close",
        "top_up",
        "hold_settlement",
        "hold_claim",
        "hold_timeout",
    ];
    for kind in ours.iter().filter(|_| std::env::var_os("MILLSTREAM_VECTORS").is_none()) {
        assert!(counts.get(*kind).is_some_and(|count: &u32| *count > 0), "0 cases of {kind}");
    }
}

/// The template with one thing wrong, and what the payer signed instead of it.
struct Wrong {
    tx: Transaction,
    kind: TapSighashType,
    leaf: TapLeafHash,
    key: XOnlyPublicKey,
}

impl Wrong {
    fn new(value: &Value, known: &Known, paid: Msat, why: &str) -> Self {
        let (channel, sub_sat) = (&known.channel, u32::from(paid.sub_sat()));
        let change = channel.capacity().saturating_sub(paid.floor_to_sat()).to_sat();
        let input = TxIn {
            previous_output: channel.outpoint(),
            sequence: Sequence(1 << 31 | sub_sat),
            ..TxIn::default()
        };
        let output = TxOut {
            value: bitcoin::Amount::from_sat(change),
            script_pubkey: Script::to_owned(channel.change_script()),
        };
        let mut wrong = Self {
            tx: Transaction {
                version: transaction::Version(3),
                lock_time: absolute::LockTime::ZERO,
                input: vec![input],
                output: vec![output],
            },
            kind: TapSighashType::SinglePlusAnyoneCanPay,
            leaf: channel.output().settle_leaf_hash(),
            key: known.payer.public(),
        };
        match why {
            "sequence of paid - 1 msat" => wrong.tx.input[0].sequence.0 -= 1,
            "sequence without bit 31" => wrong.tx.input[0].sequence.0 = sub_sat,
            "version 2" => wrong.tx.version.0 = 2,
            "lock time 1" => wrong.tx.lock_time = absolute::LockTime::from_consensus(1),
            "change higher by one satoshi" => {
                wrong.tx.output[0].value += bitcoin::Amount::from_sat(1);
            }
            "change to the payee's script" => {
                wrong.tx.output[0].script_pubkey = known.payee_script.clone();
            }
            "signed with type 0x82" | "NONE for less than the capacity" => {
                wrong.kind = TapSighashType::NonePlusAnyoneCanPay;
            }
            "signed with type 0x81" => wrong.kind = TapSighashType::AllPlusAnyoneCanPay,
            "signed with type 0x03" => wrong.kind = TapSighashType::Single,
            "signed with type 0x01" => wrong.kind = TapSighashType::All,
            "by the base key" => wrong.key = x_only(value, "base"),
            "over the refund leaf" => wrong.leaf = channel.output().refund_leaf_hash(),
            _ => {}
        }
        wrong
    }

    fn fits(&self, known: &Known, signature: &schnorr::Signature) -> bool {
        let spent = [known.channel.to_txout()];
        let digest = SighashCache::new(&self.tx)
            .taproot_script_spend_signature_hash(0, &Prevouts::All(&spent), self.leaf, self.kind)
            .unwrap();
        let message = Message::from_digest(digest.to_byte_array());
        CONTEXT.secp().verify_schnorr(signature, &message, &self.key).is_ok()
    }

    /// The file does not say which other outpoint was signed.
    fn fits_some_outpoint(&mut self, known: &Known, signature: &schnorr::Signature) -> bool {
        let OutPoint { txid, vout } = known.channel.outpoint();
        (0..=16).filter(|other| *other != vout).any(|other| {
            self.tx.input[0].previous_output = OutPoint { txid, vout: other };
            self.fits(known, signature)
        })
    }
}

#[test]
fn every_refused_voucher_is_refused_for_its_reason() {
    let Some(document) = document(FILE) else { return };
    let Some(refused) = document["refused_vouchers"].as_array() else {
        // A user's file may have none; ours must.
        assert!(std::env::var_os("MILLSTREAM_VECTORS").is_some(), "{FILE}: no refused vouchers");
        println!("{FILE}: no refused vouchers");
        return;
    };
    for case in refused {
        let why = text(case, "why");
        let known = Known::new(&case["channel"]);
        let paid = msat(number(case, "paid_msat"));
        let form = Vec::<u8>::from_hex(text(case, "signature")).unwrap();
        let (signature, kind) = signature(case);
        let parsed = known.channel.parse_witness(paid, &form);
        let verdict = known.channel.verify(&CONTEXT, Voucher { paid, signature });

        let dust = Sat::new(330).unwrap();
        let limit = known.channel.capacity().to_msat();
        let expected = if paid > limit {
            TxError::AboveCapacity { paid, limit }
        } else if known.channel.capacity().saturating_sub(paid.floor_to_sat()) < dust {
            TxError::ChangeBelowDust { change: sat(329), dust }
        } else if kind != Some(0x83) {
            TxError::SignatureForm { bytes: form.len(), kind, implied: 0x83 }
        } else {
            TxError::BadSignature { paid }
        };
        let refusal = match parsed {
            Ok(voucher) => known.channel.verify(&CONTEXT, voucher).unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(refusal, expected, "{why}");
        // Without its type byte, only a signature whose byte alone is wrong would be a good one.
        assert_eq!(verdict.is_ok(), why.contains("type byte"), "{why}");
        // The signature is a good one, of exactly the wrong thing that the case names.
        let mut wrong = Wrong::new(&case["channel"], &known, paid, why);
        let named = wrong.fits(&known, &signature)
            || why == "another outpoint" && wrong.fits_some_outpoint(&known, &signature);
        assert!(named, "{why}: the signature is not of that");
        println!("refused: {why}: {refusal}");
    }
    println!("{FILE}: {} refused vouchers", refused.len());
    assert!(!refused.is_empty());
}
