//! Unit tests of `chain::coins`: one behaviour each, named for it.

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, Sequence, TxIn};

use super::*;
use crate::chain::regtest::{Cursor, Regtest, miner_coins};
use crate::keys::{ChannelKey, Context};
use crate::units::{Blocks, Height};

const COIN_SAT: u64 = 100_000;
const COINS: u64 = 4;

fn sat(value: u64) -> Sat {
    Sat::new(value).unwrap()
}

fn blocks(count: u32) -> Blocks {
    Blocks::new(count).unwrap()
}

fn rate(sat_per_kvb: u64) -> FeeRate {
    FeeRate::new(sat_per_kvb).unwrap()
}

/// A chain with its events given to two parties: the miner, and the one under test.
struct World<C> {
    chain: Regtest,
    cursor: Cursor,
    miner: MemoryCoins,
    coins: C,
}

impl<C: Coins> World<C> {
    /// The party owns [`COINS`] confirmed coins of [`COIN_SAT`].
    fn new(coins: C) -> Self {
        let chain = Regtest::new().unwrap();
        let miner = miner_coins().unwrap();
        let mut world = Self { chain, cursor: Cursor::default(), miner, coins };
        world.mine(110);
        let script = world.coins.change_script().unwrap();
        for _ in 0..COINS {
            let payment = Payment::new(script.clone(), sat(COIN_SAT), rate(1_000));
            let mut psbt = world.miner.fund(&payment).unwrap();
            world.miner.sign(&mut psbt).unwrap();
            world.chain.submit(&final_tx(psbt)).unwrap();
        }
        world.mine(1);
        assert_eq!(world.coins.balance(), sat(COINS * COIN_SAT));
        world
    }

    fn mine(&mut self, count: u32) {
        self.chain.mine(blocks(count));
        self.follow();
    }

    fn follow(&mut self) {
        while let Some(event) = self.chain.next_event(&mut self.cursor) {
            self.miner.apply(&event).unwrap();
            self.coins.apply(&event).unwrap();
        }
    }
}

fn final_tx(psbt: Psbt) -> Transaction {
    psbt.extract_tx_unchecked_fee_rate()
}

fn channel_script() -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x51, 0x20][..], &[7; 32]].concat())
}

fn memory() -> MemoryCoins {
    let context = Context::new();
    let key = ChannelKey::from_secret(&context, &[9; 32]).unwrap();
    MemoryCoins::new(context, &key).unwrap()
}

fn funding_is_relayed_at_its_rate_and_mined(coins: impl Coins) {
    let mut world = World::new(coins);
    for version in [3, 2] {
        let payment =
            Payment::new(channel_script(), sat(30_000), rate(2_500)).with_version(version);
        let mut psbt = world.coins.fund(&payment).unwrap();
        world.coins.sign(&mut psbt).unwrap();
        let fee = psbt.fee().unwrap().to_sat();
        let tx = final_tx(psbt);
        assert_eq!(tx.version.0, version);
        assert_eq!(tx.output[0].script_pubkey, payment.script);
        assert_eq!(tx.output[0].value, Amount::from_sat(30_000));
        let due = payment.rate.ceil_fee(tx.weight().to_wu()).unwrap().to_sat();
        assert!((due..due + 5).contains(&fee), "fee {fee}, due {due}");
        world.chain.submit(&tx).unwrap();
        world.mine(1);
        let output = world.chain.output(OutPoint { txid: tx.compute_txid(), vout: 0 }).unwrap();
        assert_eq!((output.value, output.truc), (sat(30_000), version == 3));
        assert!(output.confirmed.is_some());
    }
    let left = world.coins.balance().to_sat();
    assert!((338_000..340_000).contains(&left), "{left} left of 400,000 less 60,000 and fees");
}

fn reserved_coins_are_not_used_twice_until_released(coins: impl Coins) {
    let mut world = World::new(coins);
    let first = world.coins.fee_inputs(sat(150_000), rate(1_000), 2).unwrap();
    assert_eq!(first.len(), 2);
    assert_eq!(world.coins.balance(), sat(200_000));
    let second = world.coins.fee_inputs(sat(150_000), rate(1_000), 2).unwrap();
    let mut all: Vec<OutPoint> = first.iter().chain(&second).map(FeeInput::outpoint).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4);
    assert!(world.coins.fee_inputs(sat(1), rate(1_000), 1).is_err());
    assert!(world.coins.fund(&Payment::new(channel_script(), sat(1_000), rate(1_000))).is_err());
    world.coins.release(&all);
    assert_eq!(world.coins.balance(), sat(400_000));
}

fn fee_input_is_signed_and_foreign_input_left_alone(coins: impl Coins) {
    let mut world = World::new(coins);
    let fee_input = world.coins.fee_inputs(sat(5_000), rate(1_000), 1).unwrap().remove(0);
    let foreign = world.miner.fee_inputs(sat(5_000), rate(1_000), 1).unwrap().remove(0);
    let input = |coin: &FeeInput| TxIn {
        previous_output: coin.outpoint(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        ..TxIn::default()
    };
    let value = foreign.output().value + fee_input.output().value - Amount::from_sat(1_000);
    let tx = Transaction {
        version: Version(3),
        lock_time: LockTime::ZERO,
        input: vec![input(&foreign), input(&fee_input)],
        output: vec![TxOut { value, script_pubkey: channel_script() }],
    };
    let spent = [foreign.output().clone(), fee_input.output().clone()];
    assert!(matches!(unsigned_psbt(&tx, &spent[..1]), Err(CoinsError::Count { .. })));
    let mut psbt = unsigned_psbt(&tx, &spent).unwrap();
    world.coins.sign(&mut psbt).unwrap();
    assert!(psbt.inputs[0].final_script_witness.is_none());
    assert!(psbt.inputs[1].final_script_witness.is_some());
    world.miner.sign(&mut psbt).unwrap();
    world.chain.submit(&final_tx(psbt)).unwrap();
    world.mine(1);
    assert_eq!(world.coins.balance(), sat(300_000));
}

fn reorganised_coins_are_gone_until_they_confirm_again(coins: impl Coins) {
    let mut world = World::new(coins);
    world.chain.reorg(blocks(1), &[vec![], vec![]]).unwrap();
    world.follow();
    assert_eq!(world.coins.balance(), Sat::ZERO);
    world.mine(1);
    assert_eq!(world.coins.balance(), sat(400_000));
}

fn funding(world: &mut World<impl Coins>) -> Transaction {
    let payment = Payment::new(channel_script(), sat(30_000), rate(2_500));
    let mut psbt = world.coins.fund(&payment).unwrap();
    world.coins.sign(&mut psbt).unwrap();
    final_tx(psbt)
}

fn coins_of_a_reorganised_funding_are_not_used_again(coins: impl Coins) {
    let mut world = World::new(coins);
    let first = funding(&mut world);
    world.chain.submit(&first).unwrap();
    world.mine(1);
    world.chain.reorg(blocks(1), &[vec![], vec![]]).unwrap();
    world.follow();
    assert_eq!(world.coins.balance(), sat(300_000), "its change is not confirmed any more");
    for _ in 0..3 {
        let next = funding(&mut world);
        let shares = next.input.iter().any(|input| {
            input.previous_output.txid == first.compute_txid()
                || first.input.iter().any(|old| old.previous_output == input.previous_output)
        });
        assert!(!shares, "the next funding replaces the first or is its child");
        world.chain.submit(&next).unwrap();
    }
    world.mine(1);
    let at = OutPoint { txid: first.compute_txid(), vout: 0 };
    assert!(world.chain.output(at).unwrap().confirmed.is_some(), "the channel is still funded");
}

fn coins_of_a_transaction_that_left_the_mempool_are_released(coins: impl Coins) {
    let mut world = World::new(coins);
    let tx = funding(&mut world);
    world.coins.apply(&ChainEvent::TxSeen { tx: tx.clone() }).unwrap();
    assert_eq!(world.coins.balance(), sat(300_000));
    let spent: Vec<OutPoint> = tx.input.iter().map(|input| input.previous_output).collect();
    world.coins.release(&spent);
    assert_eq!(world.coins.balance(), sat(400_000));
    let again = funding(&mut world);
    world.chain.submit(&again).unwrap();
    world.mine(1);
    world.coins.release(&spent);
    assert!(world.coins.balance() < sat(400_000), "what is spent on chain stays spent");
}

fn too_large_payment_and_dust_are_refused(coins: impl Coins) {
    let mut world = World::new(coins);
    for amount in [0, 329, 400_000] {
        let payment = Payment::new(channel_script(), sat(amount), rate(1_000));
        assert!(world.coins.fund(&payment).is_err(), "{amount}");
    }
    assert_eq!(world.coins.balance(), sat(400_000));
    let payment = Payment::new(channel_script(), sat(330), rate(1_000));
    assert!(world.coins.fund(&payment).is_ok());
}

macro_rules! for_both {
    ($($name:ident),* $(,)?) => {
        mod in_memory {
            $(#[test] fn $name() { super::$name(super::memory()); })*
        }
        #[cfg(feature = "bdk")]
        mod by_bdk {
            $(#[test] fn $name() { super::$name(super::wallet::coins()); })*
        }
    };
}

for_both!(
    funding_is_relayed_at_its_rate_and_mined,
    reserved_coins_are_not_used_twice_until_released,
    fee_input_is_signed_and_foreign_input_left_alone,
    reorganised_coins_are_gone_until_they_confirm_again,
    coins_of_a_reorganised_funding_are_not_used_again,
    coins_of_a_transaction_that_left_the_mempool_are_released,
    too_large_payment_and_dust_are_refused,
);

#[cfg(feature = "bdk")]
mod wallet {
    use bdk_wallet::bitcoin::secp256k1::Secp256k1;
    use bdk_wallet::bitcoin::{Network, NetworkKind};
    use bdk_wallet::descriptor::IntoWalletDescriptor;
    use bdk_wallet::signer::SignersContainer;
    use bdk_wallet::{KeychainKind, Wallet};

    use super::*;

    /// The example key of the wallet's own documentation.
    const KEY: &str = "tprv8ZgxMBicQKsPdWAHbugK2tjtVtRjKGixYVZUdL7xLHMgXZS6BFbFi1UDb1CHT25Z5PU1F9j\
                       7wGxwUiRhqz9E3nZRztikGUV6HoRDYcqPhM4";

    pub(super) fn coins() -> WalletCoins {
        let secp = Secp256k1::new();
        let descriptors =
            [format!("tr({KEY}/86'/1'/0'/0/*)"), format!("wpkh({KEY}/84'/1'/0'/1/*)")];
        let wallet = Wallet::create(descriptors[0].clone(), descriptors[1].clone())
            .network(Network::Regtest)
            .create_wallet_no_persist()
            .unwrap();
        let kinds = [KeychainKind::External, KeychainKind::Internal];
        let signers = descriptors
            .iter()
            .zip(kinds)
            .map(|(descriptor, kind)| {
                let (_, keys) =
                    descriptor.as_str().into_wallet_descriptor(&secp, NetworkKind::Test).unwrap();
                SignersContainer::build(keys, wallet.public_descriptor(kind), &secp)
            })
            .collect();
        WalletCoins::new(wallet, signers)
    }
}

#[test]
fn young_coinbase_is_not_spent() {
    let mut chain = Regtest::new().unwrap();
    let mut miner = miner_coins().unwrap();
    let mut cursor = Cursor::default();
    let mut balance_at = |height: u32| {
        chain.mine(Height::new(height).unwrap().saturating_since(chain.tip().height));
        while let Some(event) = chain.next_event(&mut cursor) {
            miner.apply(&event).unwrap();
        }
        miner.balance().to_sat()
    };
    assert_eq!(balance_at(99), 0);
    assert_eq!(balance_at(100), 5_000_000_000);
    assert_eq!(balance_at(101), 10_000_000_000);
}

#[test]
fn own_input_with_another_sighash_is_not_signed() {
    let mut world = World::new(memory());
    let payment = Payment::new(channel_script(), sat(30_000), rate(2_500));
    let mut psbt = world.coins.fund(&payment).unwrap();
    psbt.inputs[0].sighash_type = Some(bitcoin::TapSighashType::NonePlusAnyoneCanPay.into());
    assert!(matches!(world.coins.sign(&mut psbt), Err(CoinsError::Sighash { index: 0 })));
    psbt.inputs[0].sighash_type = None;
    assert!(world.coins.sign(&mut psbt).is_ok());
}
