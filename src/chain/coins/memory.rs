//! Coins in memory: the P2TR key-path outputs of one key.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::key::TweakedPublicKey;
use bitcoin::psbt::{Psbt, PsbtSighashType};
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::taproot::TapTweakHash;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, TapSighash, Transaction, TxIn, TxOut, Witness,
};

use crate::chain::coins::{Coins, CoinsError, Payment, pick, unsigned_psbt};
use crate::keys::{ChannelKey, Context, Entropy};
use crate::tx::seen::ChainEvent;
use crate::tx::{FeeInput, dust_limit};
use crate::units::{Blocks, FeeRate, Height, Sat};

/// Blocks above a coinbase before it may be spent.
const COINBASE_MATURITY: Blocks = match Blocks::new(100) {
    Ok(blocks) => blocks,
    Err(_) => Blocks::MAX,
};
/// Most coins in one funding transaction: it stays below the 10,000 vB of version 3.
const INPUTS_MAX: usize = 150;

/// The P2TR key-path coins (BIP86) of one key; change comes back to the same key.
///
/// For simulations, tests and machines without another wallet. It learns its coins from the events
/// of the chain, from the first block that it is told of.
pub struct MemoryCoins {
    context: Context,
    /// Signs for the output key.
    key: ChannelKey,
    script: ScriptBuf,
    coins: BTreeMap<OutPoint, Owned>,
    reserved: BTreeSet<OutPoint>,
    height: Height,
}

/// An output of the key.
#[derive(Debug, Clone)]
struct Owned {
    output: TxOut,
    /// `None` after its block left the chain.
    confirmed: Option<Height>,
    coinbase: bool,
    /// Where it was spent.
    spent: Option<Height>,
}

impl MemoryCoins {
    /// The coins of `key`, none of them known yet.
    ///
    /// # Errors
    /// [`CoinsError::Key`] for a key that its own BIP341 tweak cancels, which nobody can find.
    pub fn new(context: Context, key: &ChannelKey) -> Result<Self, CoinsError> {
        let tweak = TapTweakHash::from_key_and_tweak(key.public(), None).to_byte_array();
        let key = key.tweaked(&context, tweak)?;
        let output_key = TweakedPublicKey::dangerous_assume_tweaked(key.public());
        Ok(Self {
            context,
            key,
            script: ScriptBuf::new_p2tr_tweaked(output_key),
            coins: BTreeMap::new(),
            reserved: BTreeSet::new(),
            height: Height::MIN,
        })
    }

    /// The script that pays to these coins.
    pub fn script(&self) -> &ScriptBuf {
        &self.script
    }

    /// The coins that may be spent in the next block.
    fn free(&self) -> Vec<FeeInput> {
        let next = self.height.saturating_after(Blocks::new(1).unwrap_or(Blocks::MIN));
        self.coins
            .iter()
            .filter(|(outpoint, coin)| {
                let ripe = coin.confirmed.is_some_and(|at| {
                    !coin.coinbase || next.saturating_since(at) >= COINBASE_MATURITY
                });
                ripe && coin.spent.is_none() && !self.reserved.contains(*outpoint)
            })
            .filter_map(|(outpoint, coin)| FeeInput::new(*outpoint, coin.output.clone()).ok())
            .collect()
    }

    fn connected(&mut self, height: Height, txs: &[Transaction]) {
        for tx in txs {
            for input in &tx.input {
                if let Some(coin) = self.coins.get_mut(&input.previous_output) {
                    coin.spent = Some(height);
                    // Stays so when a reorganisation takes the block away: it waits again.
                    self.reserved.insert(input.previous_output);
                }
            }
            let txid = tx.compute_txid();
            for (vout, output) in (0_u32..).zip(&tx.output) {
                if output.script_pubkey == self.script {
                    let coin = Owned {
                        output: output.clone(),
                        confirmed: Some(height),
                        coinbase: tx.is_coinbase(),
                        spent: None,
                    };
                    self.coins.insert(OutPoint { txid, vout }, coin);
                }
            }
        }
    }

    fn disconnected(&mut self, height: Height) {
        for coin in self.coins.values_mut() {
            if coin.confirmed == Some(height) {
                coin.confirmed = None;
            }
            if coin.spent == Some(height) {
                coin.spent = None;
            }
        }
    }

    fn sighash(psbt: &Psbt, index: usize) -> Result<TapSighash, CoinsError> {
        let spent = psbt
            .inputs
            .iter()
            .enumerate()
            .map(|(index, input)| input.witness_utxo.as_ref().ok_or(CoinsError::NoUtxo { index }))
            .collect::<Result<Vec<&TxOut>, _>>()?;
        SighashCache::new(&psbt.unsigned_tx)
            .taproot_key_spend_signature_hash(
                index,
                &Prevouts::All(&spent),
                TapSighashType::Default,
            )
            .map_err(|_| CoinsError::NoUtxo { index })
    }
}

impl core::fmt::Debug for MemoryCoins {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MemoryCoins")
            .field("script", &self.script)
            .field("coins", &self.coins.len())
            .field("height", &self.height)
            .finish_non_exhaustive()
    }
}

impl Coins for MemoryCoins {
    fn fund(&mut self, payment: &Payment) -> Result<Psbt, CoinsError> {
        let dust = dust_limit(&payment.script);
        if payment.amount < dust {
            return Err(CoinsError::Dust { amount: payment.amount, dust });
        }
        // The change is planned for, and given to the miner if it would be dust.
        let mut tx = Transaction {
            version: Version(payment.version),
            lock_time: LockTime::ZERO,
            input: Vec::new(),
            output: vec![output(payment.amount, &payment.script), output(Sat::ZERO, &self.script)],
        };
        // Two weight units more: marker and flag of a transaction with witnesses.
        let base = payment.rate.ceil_fee(tx.weight().to_wu().saturating_add(2))?;
        let target = payment.amount.add(base)?;
        let coins = pick(self.free(), target, payment.rate, INPUTS_MAX)?;
        let mut spent = Vec::new();
        let mut worth = Sat::ZERO;
        for coin in &coins {
            worth = worth.saturating_add(value(coin.output()));
            spent.push(coin.output().clone());
            tx.input.push(TxIn {
                previous_output: coin.outpoint(),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                // A placeholder of the signature's size, for the weight.
                witness: Witness::from_slice(&[[0; 64]]),
            });
        }
        let fee = payment.rate.ceil_fee(tx.weight().to_wu())?;
        let change = worth.saturating_sub(payment.amount).saturating_sub(fee);
        tx.output.pop();
        if change >= dust_limit(&self.script) {
            tx.output.push(output(change, &self.script));
        }
        let psbt = unsigned_psbt(&tx, &spent)?;
        self.reserved.extend(coins.iter().map(FeeInput::outpoint));
        Ok(psbt)
    }

    fn fee_inputs(
        &mut self,
        amount: Sat,
        rate: FeeRate,
        count_max: usize,
    ) -> Result<Vec<FeeInput>, CoinsError> {
        let coins = pick(self.free(), amount, rate, count_max)?;
        self.reserved.extend(coins.iter().map(FeeInput::outpoint));
        Ok(coins)
    }

    fn change_script(&mut self) -> Result<ScriptBuf, CoinsError> {
        Ok(self.script.clone())
    }

    fn sign(&mut self, psbt: &mut Psbt) -> Result<(), CoinsError> {
        let mut witnesses = Vec::new();
        for (index, input) in psbt.inputs.iter().enumerate() {
            let own = input.witness_utxo.as_ref().is_some_and(|utxo| {
                utxo.script_pubkey == self.script && input.final_script_witness.is_none()
            });
            if !own {
                continue;
            }
            let asked = input.sighash_type.map(PsbtSighashType::taproot_hash_ty);
            if !matches!(asked, None | Some(Ok(TapSighashType::Default))) {
                return Err(CoinsError::Sighash { index });
            }
            let digest = Self::sighash(psbt, index)?.to_byte_array();
            // BIP340 without auxiliary randomness: the nonce comes of key and message.
            let signature = self.key.sign(&self.context, digest, &Entropy::new([0; 32]));
            witnesses.push((index, Witness::from_slice(&[signature.serialize()])));
        }
        for (index, witness) in witnesses {
            if let Some(input) = psbt.inputs.get_mut(index) {
                input.final_script_witness = Some(witness);
            }
        }
        Ok(())
    }

    fn apply(&mut self, event: &ChainEvent) -> Result<(), CoinsError> {
        match event {
            ChainEvent::BlockConnected { tip, txs } => {
                self.height = tip.height;
                self.connected(tip.height, txs);
            }
            ChainEvent::BlockDisconnected { block, tip } => {
                self.height = tip.height;
                self.disconnected(block.height);
            }
            ChainEvent::TxSeen { tx } => {
                let spends = tx.input.iter().map(|input| input.previous_output);
                let own = spends.filter(|outpoint| self.coins.contains_key(outpoint));
                self.reserved.extend(own.collect::<Vec<_>>());
            }
        }
        Ok(())
    }

    fn release(&mut self, outpoints: &[OutPoint]) {
        for outpoint in outpoints {
            self.reserved.remove(outpoint);
        }
    }

    fn balance(&self) -> Sat {
        self.free().iter().fold(Sat::ZERO, |sum, coin| sum.saturating_add(value(coin.output())))
    }
}

fn output(value: Sat, script: &ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(value.to_sat()), script_pubkey: script.clone() }
}

fn value(output: &TxOut) -> Sat {
    Sat::new(output.value.to_sat()).unwrap_or(Sat::ZERO)
}
