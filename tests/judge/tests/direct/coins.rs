//! Coins and transactions for the direct tests: scripts that need no key, amounts in satoshis.

use bitcoin::absolute::LockTime;
use bitcoin::key::TapTweak;
use bitcoin::opcodes::all::{OP_CLTV, OP_CSV, OP_DROP, OP_PUSHBYTES_0};
use bitcoin::opcodes::{OP_TRUE, Opcode};
use bitcoin::script::Builder;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, XOnlyPublicKey,
};
use millstream::chain::regtest::miner_key;
use millstream_judge::{Core, Reject};

/// An output that `script` (the witness script of P2WSH) spends.
#[derive(Debug, Clone)]
pub(crate) struct Coin {
    pub(crate) outpoint: OutPoint,
    pub(crate) value: u64,
    pub(crate) script: ScriptBuf,
}

impl Coin {
    /// The coin that output `index` of `tx` is, spent by `script`.
    pub(crate) fn of(tx: &Transaction, index: u32, script: &ScriptBuf) -> Self {
        let value = tx.output[usize::try_from(index).unwrap()].value.to_sat();
        let outpoint = OutPoint::new(tx.compute_txid(), index);
        Self { outpoint, value, script: script.clone() }
    }
}

/// What each of the coins of [`funded`] is worth.
const COIN_SAT: u64 = 100_000_000;

/// A node with `count` confirmed coins (at most 49) that anybody can spend.
pub(crate) fn funded(count: usize) -> (Core, Vec<Coin>) {
    let mut core = Core::new();
    let coinbase = core.mine(&[]).unwrap().txdata.remove(0);
    core.mine_empty(99);
    let tx = spend_coinbase(&coinbase, vec![to(COIN_SAT, &anybody()); count]);
    core.mine(std::slice::from_ref(&tx)).unwrap();
    let coins = (0..).take(count).map(|index| Coin::of(&tx, index, &anybody())).collect();
    (core, coins)
}

/// Spends a coinbase by the miner's key.
pub(crate) fn spend_coinbase(coinbase: &Transaction, outputs: Vec<TxOut>) -> Transaction {
    let secp = Secp256k1::new();
    let key = miner_key(&secp).unwrap().tap_tweak(&secp, None).to_keypair();
    let coin = Coin::of(coinbase, 0, &anybody());
    let mut tx = spend(&[&coin], outputs);
    let sighash = SighashCache::new(&tx)
        .taproot_key_spend_signature_hash(
            0,
            &Prevouts::All(&coinbase.output[..1]),
            TapSighashType::Default,
        )
        .unwrap();
    let signature = secp.sign_schnorr_no_aux_rand(&sighash.into(), &key);
    tx.input[0].witness = Witness::from_slice(&[signature.serialize()]);
    tx
}

/// `OP_TRUE`.
pub(crate) fn anybody() -> ScriptBuf {
    Builder::new().push_opcode(OP_TRUE).into_script()
}

/// `<blocks> OP_CHECKSEQUENCEVERIFY OP_DROP OP_TRUE`.
pub(crate) fn after_blocks(blocks: u16) -> ScriptBuf {
    locked(i64::from(blocks), OP_CSV)
}

/// `<height> OP_CHECKLOCKTIMEVERIFY OP_DROP OP_TRUE`.
pub(crate) fn from_height(height: u32) -> ScriptBuf {
    locked(i64::from(height), OP_CLTV)
}

fn locked(number: i64, check: Opcode) -> ScriptBuf {
    let builder = Builder::new().push_int(number).push_opcode(check);
    builder.push_opcode(OP_DROP).push_opcode(OP_TRUE).into_script()
}

/// A P2TR script of a fixed key that nobody has.
pub(crate) fn p2tr() -> ScriptBuf {
    let key = XOnlyPublicKey::from_slice(&[
        0x50, 0x92, 0x9b, 0x74, 0xc1, 0xa0, 0x49, 0x54, 0xb7, 0x8b, 0x4b, 0x60, 0x35, 0xe9, 0x7a,
        0x5e, 0x07, 0x8a, 0x5a, 0x0f, 0x28, 0xec, 0x96, 0xd5, 0x47, 0xbf, 0xee, 0x9a, 0xce, 0x80,
        0x3a, 0xc0,
    ])
    .unwrap();
    let bytes = key.serialize();
    Builder::new().push_int(1).push_slice(bytes).into_script()
}

/// An output of `value` satoshis to `script` as P2WSH.
pub(crate) fn to(value: u64, script: &ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(value), script_pubkey: script.to_p2wsh() }
}

/// Spends `coins` to `outputs`; sequence 0xfffffffd, lock time 0, version 2.
pub(crate) fn spend(coins: &[&Coin], outputs: Vec<TxOut>) -> Transaction {
    let input = coins.iter().map(|coin| TxIn {
        previous_output: coin.outpoint,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::from_slice(&[coin.script.as_bytes()]),
    });
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: input.collect(),
        output: outputs,
    }
}

/// Spends one coin to one output that anybody can spend, and leaves `fee`.
pub(crate) fn pass_on(coin: &Coin, fee: u64) -> Transaction {
    spend(&[coin], vec![to(coin.value - fee, &anybody())])
}

/// The same transaction with another version.
pub(crate) fn versioned(mut tx: Transaction, version: i32) -> Transaction {
    tx.version = Version(version);
    tx
}

/// Adds an output that makes `tx` exactly `vbytes` virtual bytes.
pub(crate) fn padded(mut tx: Transaction, vbytes: usize) -> Transaction {
    let filler = |bytes: usize| TxOut {
        value: Amount::ZERO,
        script_pubkey: Builder::new()
            .push_opcode(bitcoin::opcodes::all::OP_RETURN)
            .into_script()
            .into_bytes()
            .into_iter()
            .chain(std::iter::repeat_n(OP_PUSHBYTES_0.to_u8(), bytes))
            .collect::<Vec<u8>>()
            .into(),
    };
    // Value, the script's length in three bytes, OP_RETURN: 12 bytes besides the padding.
    let padding = vbytes - tx.vsize() - 12;
    tx.output.push(filler(padding));
    assert_eq!(tx.vsize(), vbytes);
    tx
}

/// Asserts that Core refuses, in words that begin with `words`.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(verdict: Result<T, Reject>, words: &str) {
    let reject = verdict.expect_err("Core accepts");
    assert!(reject.reason.starts_with(words), "Core says {:?}, not {words:?}", reject.reason);
}
