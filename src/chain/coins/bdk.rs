//! Coins kept by `bdk_wallet`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bdk_wallet::chain::{BlockId, ConfirmationBlockTime, TxUpdate};
use bdk_wallet::signer::SignersContainer;
use bdk_wallet::{KeychainKind, LocalOutput, SignOptions, TxOrdering, Update, Wallet};
use bitcoin::psbt::Psbt;
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxIn, Txid};

use crate::chain::coins::{Coins, CoinsError, Payment, pick};
use crate::tx::FeeInput;
use crate::tx::seen::{ChainEvent, Tip};
use crate::units::{FeeRate, Sat};

/// The coins of a `bdk_wallet` wallet, which the caller made and persists.
///
/// The keys are the caller's too: with no signers it is a watching wallet, whose PSBTs go to
/// another device.
///
/// Its descriptors must be SegWit (a funding's id must not change by its signatures); fee inputs
/// are taken from P2TR key-path and P2WPKH coins.
#[derive(Debug)]
pub struct WalletCoins {
    wallet: Wallet,
    signers: Vec<SignersContainer>,
    reserved: BTreeSet<OutPoint>,
    /// The time of the last block: the wallet asks when a transaction was seen, and there is no
    /// clock here.
    last: u64,
}

impl WalletCoins {
    /// Takes a wallet over, and the signers of its keychains.
    pub fn new(wallet: Wallet, signers: Vec<SignersContainer>) -> Self {
        Self { wallet, signers, reserved: BTreeSet::new(), last: 0 }
    }

    /// The wallet itself, for its addresses and for persisting what it staged.
    pub fn wallet_mut(&mut self) -> &mut Wallet {
        &mut self.wallet
    }

    /// Confirmed, mature coins that nothing uses.
    fn free(&self) -> impl Iterator<Item = LocalOutput> + '_ {
        let tip = self.wallet.latest_checkpoint().height();
        self.wallet.list_unspent().filter(move |coin| {
            coin.chain_position.is_confirmed()
                && !self.reserved.contains(&coin.outpoint)
                && self.is_mature(coin, tip)
        })
    }

    fn is_mature(&self, coin: &LocalOutput, tip: u32) -> bool {
        const MATURITY: u32 = 100;
        let coinbase =
            self.wallet.get_tx(coin.outpoint.txid).is_some_and(|tx| tx.tx_node.tx.is_coinbase());
        let made = coin.chain_position.confirmation_height_upper_bound();
        let deep = |made: u32| tip.saturating_add(1).saturating_sub(made) >= MATURITY;
        !coinbase || made.is_some_and(deep)
    }

    fn connected(&mut self, tip: &Tip, txs: &[Transaction]) -> Result<(), CoinsError> {
        let block_id = BlockId { height: tip.height.to_u32(), hash: tip.hash };
        let confirmation_time = tip.time.to_u64();
        let mut made: BTreeSet<Txid> = BTreeSet::new();
        let mut tx_update = TxUpdate::<ConfirmationBlockTime>::default();
        for tx in txs {
            let txid = tx.compute_txid();
            // It may spend what an earlier transaction of the same block made.
            let fresh = |input: &TxIn| made.contains(&input.previous_output.txid);
            if !(self.concerns(tx) || tx.input.iter().any(fresh)) {
                continue;
            }
            made.insert(txid);
            tx_update.anchors.insert((ConfirmationBlockTime { block_id, confirmation_time }, txid));
            tx_update.txs.push(Arc::new(tx.clone()));
            // They stay so when a reorganisation takes the block away: the transaction waits again.
            self.reserved.extend(self.own_inputs(tx));
        }
        // An equal height with another hash takes the old branch off the wallet's chain.
        let chain = Some(self.wallet.latest_checkpoint().insert(block_id));
        self.wallet.apply_update(Update { tx_update, chain, ..Update::default() })?;
        self.last = confirmation_time;
        Ok(())
    }

    /// What a transaction spends of the wallet.
    fn own_inputs(&self, tx: &Transaction) -> Vec<OutPoint> {
        let spends = tx.input.iter().map(|input| input.previous_output);
        spends.filter(|spent| self.wallet.spk_index().txout(*spent).is_some()).collect()
    }

    /// Whether a transaction pays to or spends from the wallet.
    fn concerns(&self, tx: &Transaction) -> bool {
        tx.output.iter().any(|output| self.wallet.is_mine(output.script_pubkey.clone()))
            || !self.own_inputs(tx).is_empty()
            || self.wallet.get_tx(tx.compute_txid()).is_some()
    }
}

impl Coins for WalletCoins {
    fn fund(&mut self, payment: &Payment) -> Result<Psbt, CoinsError> {
        let reserved: Vec<OutPoint> = self.reserved.iter().copied().collect();
        let mut builder = self.wallet.build_tx();
        builder
            // The payment is output 0, the change follows.
            .ordering(TxOrdering::Untouched)
            .version(payment.version)
            .fee_rate(per_kwu(payment.rate))
            // It replaces the builder's list, to which the next line adds.
            .unspendable(reserved)
            .exclude_unconfirmed()
            .add_recipient(payment.script.clone(), Amount::from_sat(payment.amount.to_sat()));
        let psbt = builder.finish().map_err(|error| CoinsError::Build(Box::new(error)))?;
        self.reserved.extend(psbt.unsigned_tx.input.iter().map(|input| input.previous_output));
        Ok(psbt)
    }

    fn fee_inputs(
        &mut self,
        amount: Sat,
        rate: FeeRate,
        count_max: usize,
    ) -> Result<Vec<FeeInput>, CoinsError> {
        let free = self.free().filter_map(|coin| FeeInput::new(coin.outpoint, coin.txout).ok());
        let coins = pick(free.collect(), amount, rate, count_max)?;
        self.reserved.extend(coins.iter().map(FeeInput::outpoint));
        Ok(coins)
    }

    fn change_script(&mut self) -> Result<ScriptBuf, CoinsError> {
        let address = self.wallet.next_unused_address(KeychainKind::Internal);
        Ok(address.address.script_pubkey())
    }

    fn sign(&mut self, psbt: &mut Psbt) -> Result<(), CoinsError> {
        let inputs = psbt.unsigned_tx.input.iter().zip(&mut psbt.inputs);
        for (index, (spends, input)) in inputs.enumerate() {
            let known = self.wallet.spk_index().txout(spends.previous_output);
            if let Some((_, output)) = known {
                if input.sighash_type.is_some_and(|kind| kind.to_u32() > 1) {
                    return Err(CoinsError::Sighash { index });
                }
                // The wallet's own record counts, not what the PSBT claims.
                input.witness_utxo = Some(output.clone());
            } else if input.witness_utxo.is_none() {
                return Err(CoinsError::NoUtxo { index });
            }
        }
        // Own outputs were put in above, and the other inputs are not signed here.
        let options = SignOptions { trust_witness_utxo: true, ..SignOptions::default() };
        let signers: Vec<&SignersContainer> = self.signers.iter().collect();
        self.wallet
            .sign_with_signers(psbt, &signers, options)
            .map_err(|error| CoinsError::Sign(Box::new(error)))?;
        Ok(())
    }

    fn apply(&mut self, event: &ChainEvent) -> Result<(), CoinsError> {
        match event {
            ChainEvent::BlockConnected { tip, txs } => self.connected(tip, txs),
            // The block that takes its place says so by its hash.
            ChainEvent::BlockDisconnected { .. } => Ok(()),
            ChainEvent::TxSeen { tx } => {
                if self.concerns(tx) {
                    self.reserved.extend(self.own_inputs(tx));
                    self.wallet.apply_unconfirmed_txs([(Arc::new(tx.clone()), self.last)]);
                }
                Ok(())
            }
        }
    }

    fn release(&mut self, outpoints: &[OutPoint]) {
        for outpoint in outpoints {
            self.reserved.remove(outpoint);
        }
        // The wallet holds on to what it saw in a mempool until it is told that it left.
        let came_to_nothing = |tx: &Transaction| {
            tx.input.iter().any(|input| outpoints.contains(&input.previous_output))
        };
        let waiting = self
            .wallet
            .transactions()
            .filter(|tx| tx.chain_position.is_unconfirmed() && came_to_nothing(&tx.tx_node.tx));
        let gone: Vec<(Txid, u64)> = waiting.map(|tx| (tx.tx_node.txid, self.last)).collect();
        self.wallet.apply_evicted_txs(gone);
    }

    fn balance(&self) -> Sat {
        self.free().fold(Sat::ZERO, |sum, coin| {
            sum.saturating_add(Sat::new(coin.txout.value.to_sat()).unwrap_or(Sat::ZERO))
        })
    }
}

/// The rate in the wallet's unit, rounded up.
fn per_kwu(rate: FeeRate) -> bitcoin::FeeRate {
    bitcoin::FeeRate::from_sat_per_kwu(rate.to_sat_per_kvb().div_ceil(4))
}
