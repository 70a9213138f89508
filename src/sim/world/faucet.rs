//! Money for the world: the simulated chain's own coinbase coins.

use std::sync::OnceLock;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::key::TapTweak;
use bitcoin::secp256k1::{All, Keypair, Message, Secp256k1};
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn, TxOut, Witness,
};

use crate::chain::regtest::{Regtest, coinbase, miner_key};
use crate::units::{Blocks, Height, Sat};

/// Replaceable, and of a version that lets its outputs be spent unconfirmed.
const TRUC: Version = Version(3);

/// 100 confirmations make a coinbase spendable (consensus).
const MATURITY: u32 = 100;
/// Coinbases that the faucet has; the subsidy of the first 149 blocks is 50 bitcoin.
const COINS: u32 = 40;
/// What a funding transaction of one input and its change pays: above 111 vB at 1 sat/vB.
const FEE: u64 = 150;
/// What a replacement pays: more than it and any one child of what it replaces, at 50 sat/vB.
const FEE_AGAIN: u64 = 60_000;
/// What each further P2TR output pays: above its 43 vB at 1 sat/vB.
const FEE_OUTPUT: u64 = 50;

/// Spends one coinbase after the other.
#[derive(Debug)]
pub(super) struct Faucet {
    next: u32,
}

/// At the first coin, on a chain that is filled.
impl Default for Faucet {
    fn default() -> Self {
        Self { next: 1 }
    }
}

impl Faucet {
    /// Mines until its coins are mature.
    pub(super) fn fill(chain: &mut Regtest) {
        chain.mine(Blocks::new(MATURITY.saturating_add(COINS)).unwrap_or(Blocks::MIN));
    }

    /// A signed version-3 transaction with `outputs` first and the change last.
    ///
    /// Each takes a fresh coinbase, because an unconfirmed version-3 parent allows one child only.
    pub(super) fn pay(
        &mut self,
        outputs: Vec<(ScriptBuf, Sat)>,
    ) -> Option<(Transaction, Vec<OutPoint>)> {
        self.pay_as(TRUC, outputs)
    }

    /// The same in another version.
    pub(super) fn pay_as(
        &mut self,
        version: Version,
        outputs: Vec<(ScriptBuf, Sat)>,
    ) -> Option<(Transaction, Vec<OutPoint>)> {
        let coin = self.fresh()?;
        pay(coin, version, FEE, outputs)
    }

    /// The same with the coin that was spent last.
    pub(super) fn pay_again(
        &mut self,
        outputs: Vec<(ScriptBuf, Sat)>,
    ) -> Option<(Transaction, Vec<OutPoint>)> {
        self.next = self.next.checked_sub(1).filter(|next| *next > 0)?;
        self.pay(outputs)
    }

    /// Other outputs out of the coin that `tx` spends, at a fee that replaces it in any mempool.
    pub(super) fn replace(
        tx: &Transaction,
        outputs: Vec<(ScriptBuf, Sat)>,
    ) -> Option<(Transaction, Vec<OutPoint>)> {
        let spent = tx.input.first()?.previous_output;
        let coin = (1..=COINS).filter_map(coin_of).find(|(outpoint, _)| *outpoint == spent)?;
        pay(coin, tx.version, FEE_AGAIN, outputs)
    }

    /// The witnesses of the miner's coins among the inputs, in their order.
    pub(super) fn sign(tx: &Transaction, spent: &[TxOut]) -> Option<Vec<Witness>> {
        static SIGNER: OnceLock<Option<(Secp256k1<All>, Keypair)>> = OnceLock::new();
        let signer = SIGNER.get_or_init(|| {
            let secp = Secp256k1::new();
            let pair = miner_key(&secp).ok()?.tap_tweak(&secp, None).to_keypair();
            Some((secp, pair))
        });
        let (secp, pair) = signer.as_ref()?;
        let mut cache = SighashCache::new(tx);
        let own = coinbase(Height::new(1).ok()?).output.first()?.script_pubkey.clone();
        let mine = spent.iter().enumerate().filter(|(_, output)| output.script_pubkey == own);
        mine.map(|(index, _)| {
            let prevouts = Prevouts::All(spent);
            let digest = cache
                .taproot_key_spend_signature_hash(index, &prevouts, TapSighashType::Default)
                .ok()?;
            let message = Message::from_digest(digest.to_byte_array());
            let signature = secp.sign_schnorr_no_aux_rand(&message, pair);
            Some(Witness::from_slice(&[signature.serialize()]))
        })
        .collect()
    }

    fn fresh(&mut self) -> Option<(OutPoint, TxOut)> {
        if self.next > COINS {
            return None;
        }
        let coin = coin_of(self.next);
        self.next = self.next.saturating_add(1);
        coin
    }
}

/// What the coinbase of the block at `height` pays.
fn coin_of(height: u32) -> Option<(OutPoint, TxOut)> {
    let tx = coinbase(Height::new(height).ok()?);
    let output = tx.output.first()?.clone();
    Some((OutPoint { txid: tx.compute_txid(), vout: 0 }, output))
}

/// Spends one coin to `outputs`, and the rest less `fee` back to where it came from.
fn pay(
    (outpoint, coin): (OutPoint, TxOut),
    version: Version,
    fee: u64,
    outputs: Vec<(ScriptBuf, Sat)>,
) -> Option<(Transaction, Vec<OutPoint>)> {
    let mut rest = coin.value.to_sat().checked_sub(fee)?;
    let mut paid = Vec::with_capacity(outputs.len().saturating_add(1));
    for (script_pubkey, value) in outputs {
        rest = rest.checked_sub(value.to_sat())?.checked_sub(FEE_OUTPUT)?;
        paid.push(TxOut { value: Amount::from_sat(value.to_sat()), script_pubkey });
    }
    let count = u32::try_from(paid.len()).ok()?;
    paid.push(TxOut { value: Amount::from_sat(rest), script_pubkey: coin.script_pubkey.clone() });
    let mut tx = Transaction {
        version,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::new(),
        }],
        output: paid,
    };
    let witness = Faucet::sign(&tx, &[coin])?.pop()?;
    if let Some(input) = tx.input.first_mut() {
        input.witness = witness;
    }
    let txid = tx.compute_txid();
    Some((tx, (0..count).map(|vout| OutPoint { txid, vout }).collect()))
}
