//! What the tests of `tx` share: keys and coins from numbers, signatures, Bitcoin Core's verdict.
//!
//! Each test file uses a part of it.
#![allow(dead_code, reason = "every test binary compiles this file for itself")]

use std::sync::LazyLock;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Message, SecretKey, schnorr};
use bitcoin::sighash::{EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::{
    Amount, CompressedPublicKey, OutPoint, ScriptBuf, Transaction, TxOut, Txid, Witness,
};
use millstream::keys::{BaseKey, ChannelKey, Context, Entropy};
use millstream::tx::{
    ChangeScript, Channel, Delay, FeeInput, FundingOutput, JointSpend, Refund, Settled, Settlement,
    WalletScript,
};
use millstream::units::{Msat, Sat};

pub(crate) static CONTEXT: LazyLock<Context> = LazyLock::new(Context::new);
pub(crate) const NO_AUX: Entropy = Entropy::new([0; 32]);

pub(crate) fn sat(value: u64) -> Sat {
    Sat::new(value).unwrap()
}

pub(crate) fn msat(value: u64) -> Msat {
    Msat::new(value).unwrap()
}

/// A secret, an id or a program from a number and the role that it plays.
pub(crate) fn bytes_of(role: u8, number: u64) -> [u8; 32] {
    millstream::keys::tagged_hash(b"test", &[&[role], &number.to_be_bytes()])
}

pub(crate) fn payer_key(number: u64) -> ChannelKey {
    ChannelKey::from_secret(&CONTEXT, &bytes_of(1, number)).unwrap()
}

pub(crate) fn base_key(number: u64) -> BaseKey {
    BaseKey::from_secret(&CONTEXT, &bytes_of(2, number)).unwrap()
}

pub(crate) fn payee_key(number: u64) -> ChannelKey {
    base_key(number).for_payer(&CONTEXT, payer_key(number).public()).unwrap()
}

pub(crate) fn outpoint(number: u64) -> OutPoint {
    OutPoint { txid: Txid::from_byte_array(bytes_of(3, number)), vout: (number % 7) as u32 }
}

pub(crate) fn p2tr(number: u64) -> ScriptBuf {
    ScriptBuf::new_p2tr(CONTEXT.secp(), payer_key(number + 1_000_000).public(), None)
}

pub(crate) fn p2wpkh(number: u64) -> ScriptBuf {
    let secret = SecretKey::from_slice(&bytes_of(4, number)).unwrap();
    let key = CompressedPublicKey(secret.public_key(CONTEXT.secp()));
    ScriptBuf::new_p2wpkh(&key.wpubkey_hash())
}

pub(crate) fn p2wsh(number: u64) -> ScriptBuf {
    ScriptBuf::from_bytes([&[0, 32], &bytes_of(5, number)[..]].concat())
}

/// Own, P2TR, P2WPKH or P2WSH.
pub(crate) fn change_of(kind: u8, number: u64) -> ChangeScript {
    let script = match kind {
        0 => return ChangeScript::Own,
        1 => p2tr(number),
        2 => p2wpkh(number),
        _ => p2wsh(number),
    };
    ChangeScript::Wallet(WalletScript::parse(script).unwrap())
}

pub(crate) fn output_of(number: u64, delay: u16) -> FundingOutput {
    let (payer, base) = (payer_key(number).public(), base_key(number).public());
    FundingOutput::new(&CONTEXT, payer, base, Delay::new(delay).unwrap()).unwrap()
}

/// Channel `number`: its keys, outpoint and wallet script all follow from the number.
pub(crate) fn channel(number: u64, capacity: u64, change_kind: u8) -> Channel {
    let change = change_of(change_kind, number);
    Channel::new(outpoint(number), sat(capacity), output_of(number, 144), change).unwrap()
}

/// A part of a settlement: channel `number` with a voucher of `paid`.
pub(crate) fn settled(number: u64, channel: Channel, paid: Msat) -> Settled {
    let voucher = channel.sign(&CONTEXT, &payer_key(number), paid, &NO_AUX).unwrap();
    let checked = channel.verify(&CONTEXT, voucher).unwrap();
    Settled::new(channel, checked).unwrap()
}

/// Coin `number` that pays fees, P2TR or P2WPKH.
pub(crate) fn fee_coin(number: u64, value: u64, taproot: bool) -> FeeInput {
    let script_pubkey = if taproot { p2tr(number) } else { p2wpkh(number) };
    let output = TxOut { value: Amount::from_sat(value), script_pubkey };
    FeeInput::new(outpoint(number + 2_000_000), output).unwrap()
}

/// The witness of coin `number` in input `index`, as its wallet would sign it.
pub(crate) fn fee_witness(number: u64, tx: &Transaction, spent: &[TxOut], index: usize) -> Witness {
    let mut cache = SighashCache::new(tx);
    if spent[index].script_pubkey.is_p2tr() {
        let digest = cache
            .taproot_key_spend_signature_hash(index, &Prevouts::All(spent), TapSighashType::Default)
            .unwrap();
        // BIP341's tweak of a key without scripts, on the public and on the secret side.
        let tweak = bitcoin::taproot::TapTweakHash::from_key_and_tweak(
            payer_key(number + 1_000_000).public(),
            None,
        );
        let key = payer_key(number + 1_000_000).tweaked(&CONTEXT, tweak.to_byte_array()).unwrap();
        let signature = key.sign(&CONTEXT, digest.to_byte_array(), &NO_AUX);
        return Witness::from_slice(&[signature.serialize()]);
    }
    let secret = SecretKey::from_slice(&bytes_of(4, number)).unwrap();
    let all = EcdsaSighashType::All;
    let (script, value) = (&spent[index].script_pubkey, spent[index].value);
    let digest = cache.p2wpkh_signature_hash(index, script, value, all).unwrap();
    let message = Message::from_digest(digest.to_byte_array());
    let signature = CONTEXT.secp().sign_ecdsa(&message, &secret);
    let signature = bitcoin::ecdsa::Signature { signature, sighash_type: all };
    Witness::p2wpkh(&signature, &secret.public_key(CONTEXT.secp()))
}

/// Signs for every payee and every fee coin; `numbers` name the channels, `coins` the fee coins.
pub(crate) fn finish(
    settlement: Settlement,
    number: impl Fn(OutPoint) -> u64,
    coins: &[u64],
) -> Transaction {
    let channels = settlement.parts().len();
    let signatures: Vec<schnorr::Signature> = (0..channels)
        .map(|index| {
            let key = payee_key(number(settlement.parts()[index].channel().outpoint()));
            assert_eq!(settlement.payee(index), Some(key.public()));
            key.sign(&CONTEXT, settlement.digest(index).unwrap(), &NO_AUX)
        })
        .collect();
    let witnesses = coins
        .iter()
        .enumerate()
        .map(|(i, coin)| {
            fee_witness(*coin, settlement.transaction(), settlement.spent(), channels + i)
        })
        .collect();
    settlement.finish(&signatures, witnesses).unwrap()
}

/// Signs for both sides of channel `number` and for the fee coins.
pub(crate) fn finish_joint(spend: JointSpend, number: u64, coins: &[u64]) -> Transaction {
    let digest = spend.digest().unwrap();
    let payer = payer_key(number).sign(&CONTEXT, digest, &NO_AUX);
    let payee = payee_key(number).sign(&CONTEXT, digest, &NO_AUX);
    spend.verify_payer(&CONTEXT, &payer).unwrap();
    spend.verify_payee(&CONTEXT, &payee).unwrap();
    let witnesses = coins
        .iter()
        .enumerate()
        .map(|(i, coin)| fee_witness(*coin, spend.transaction(), spend.spent(), 1 + i))
        .collect();
    spend.finish(&payer, &payee, witnesses).unwrap()
}

pub(crate) fn finish_refund(refund: Refund, number: u64) -> Transaction {
    let signature = payer_key(number).sign(&CONTEXT, refund.digest().unwrap(), &NO_AUX);
    refund.finish(&signature).unwrap()
}

/// Bitcoin Core's interpreter on every input, Taproot included.
pub(crate) fn consensus(tx: &Transaction, spent: &[TxOut]) -> Result<(), String> {
    let bytes = bitcoin::consensus::serialize(tx);
    let utxos: Vec<bitcoinconsensus::Utxo> = spent
        .iter()
        .map(|output| bitcoinconsensus::Utxo {
            script_pubkey: output.script_pubkey.as_bytes().as_ptr(),
            script_pubkey_len: u32::try_from(output.script_pubkey.len()).unwrap(),
            value: i64::try_from(output.value.to_sat()).unwrap(),
        })
        .collect();
    assert_eq!(tx.input.len(), spent.len());
    for (index, output) in spent.iter().enumerate() {
        let script = output.script_pubkey.as_bytes();
        bitcoinconsensus::verify(script, output.value.to_sat(), &bytes, Some(&utxos), index)
            .map_err(|error| format!("input {index}: {error}"))?;
    }
    Ok(())
}

/// What goes in less what goes out.
pub(crate) fn fee_of(tx: &Transaction, spent: &[TxOut]) -> u64 {
    let inputs: Amount = spent.iter().map(|output| output.value).sum();
    let outputs: Amount = tx.output.iter().map(|output| output.value).sum();
    (inputs - outputs).to_sat()
}
