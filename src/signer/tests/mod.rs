//! What the tests of this room share: two machines, their channels, and every kind of request.

mod budgets;
mod held;
mod matrix;
mod model;
mod payee;
mod payer;
mod records;

use alloc::vec;
use alloc::vec::Vec;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::Message;
use bitcoin::{Amount, Network, ScriptBuf, TxOut, Txid};

use super::budget::{Budget, Policy};
use super::*;
use crate::keys::{Context, Seed};
use crate::store::{MemoryStore, Store};
use crate::tx::hold::{ClaimDelay, Hold, Preimage};
use crate::tx::{
    ChangeScript, Delay, FundingOutput, PayeeSpend, Settled, TxError, Voucher, VoucherChecked,
    WalletScript,
};
use crate::units::{FeeRate, HoldId, Sat};

pub(super) const AUX: Entropy = Entropy::new([0; 32]);
/// A moment in the middle of an hour and of a day.
pub(super) const NOON: u64 = 1_800_000_000 - 1_800_000_000 % 86_400 + 43_200 + 1_800;
pub(super) const CAPACITY: u64 = 100_000;

pub(super) fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

pub(super) fn at(second: u64) -> UtcSeconds {
    UtcSeconds::new(second).unwrap()
}

pub(super) fn session(id: u64) -> SessionId {
    SessionId::new(id).unwrap()
}

pub(super) fn key_index(number: u32) -> KeyIndex {
    KeyIndex::new(number).unwrap()
}

pub(super) fn open_policy() -> Policy {
    Policy { hour: Msat::MAX, day: Msat::MAX, peer: Msat::MAX, slice: Msat::MAX }
}

pub(super) fn seed(byte: u8) -> Seed {
    Seed::new([byte; 32])
}

/// The payer of these tests has the seed 1, the payee 2, another payee 3.
pub(super) fn signer(byte: u8, policy: Policy) -> MemorySigner {
    let mut signer = MemorySigner::new(seed(byte), Network::Regtest, policy, None, &AUX).unwrap();
    signer.release_day_budget_without_record(at(NOON)).unwrap();
    signer
}

pub(super) fn base(byte: u8) -> XOnlyPublicKey {
    seed(byte).base_key(&Context::new(), Network::Regtest).unwrap().public()
}

pub(super) fn peer(byte: u8) -> PeerId {
    PeerId::new(base(byte))
}

/// Channel `outpoint` of the payer's key `index` with the payee `payee`.
pub(super) fn channel_with(payee: u8, index: u32, outpoint: u8) -> Channel {
    let context = Context::new();
    let payer = seed(1).payer_key(&context, Network::Regtest, key_index(index)).unwrap().public();
    let delay = Delay::new(144).unwrap();
    let output = FundingOutput::new(&context, payer, base(payee), delay).unwrap();
    let outpoint = OutPoint::new(Txid::from_byte_array([outpoint; 32]), 0);
    Channel::new(outpoint, Sat::new(CAPACITY).unwrap(), output, ChangeScript::Own).unwrap()
}

pub(super) fn channel(index: u32, outpoint: u8) -> Channel {
    channel_with(2, index, outpoint)
}

pub(super) fn payer_role(index: u32, past: Past) -> Role {
    Role::Payer { index: key_index(index), peer: peer(2), past }
}

/// Makes what `signer` wants to reserve durable, and opens it.
pub(super) fn reserve(signer: &mut MemorySigner, store: &mut dyn Store, now: u64) {
    if let Some(next) = signer.reserve(at(now), None).unwrap() {
        signer.apply(next.commit(store).unwrap()).unwrap();
    }
}

/// A payer with channel (0, 1), new, and session 1 open without a limit.
pub(super) fn paying(policy: Policy) -> (MemorySigner, Channel) {
    let mut signer = signer(1, policy);
    let channel = channel(0, 1);
    signer.register(&channel, payer_role(0, Past::New)).unwrap();
    signer.open_session(peer(2), session(1), Msat::MAX).unwrap();
    reserve(&mut signer, &mut MemoryStore::default(), NOON);
    (signer, channel)
}

pub(super) fn pay_at(
    signer: &mut MemorySigner,
    channel: &Channel,
    paid: u64,
    now: u64,
) -> Result<Voucher, SignerError> {
    let before = signer.snapshot();
    let request = Request::Voucher { channel, paid: msat(paid), session: session(1) };
    match signer.sign(&request, at(now), &AUX) {
        Ok(signature) => {
            let voucher = Voucher { paid: msat(paid), signature };
            Ok(channel.verify(signer.context(), voucher).unwrap().voucher())
        }
        Err(refused) => {
            assert_eq!(signer.snapshot(), before, "refused, and changed: {refused}");
            Err(refused)
        }
    }
}

pub(super) fn pay(
    signer: &mut MemorySigner,
    channel: &Channel,
    paid: u64,
) -> Result<Voucher, SignerError> {
    pay_at(signer, channel, paid, NOON)
}

/// A voucher by the payer's bare key, as an earlier life of it signed.
pub(super) fn old_voucher(channel: &Channel, index: u32, paid: u64) -> VoucherChecked {
    let context = Context::new();
    let key = seed(1).payer_key(&context, Network::Regtest, key_index(index)).unwrap();
    let voucher = channel.sign(&context, &key, msat(paid), &AUX).unwrap();
    channel.verify(&context, voucher).unwrap()
}

pub(super) fn wallet(byte: u8) -> ScriptBuf {
    ScriptBuf::from_bytes([vec![0x51, 0x20], vec![byte; 32]].concat())
}

pub(super) fn close(channel: &Channel, paid: u64, fee: u64) -> JointSpend {
    let fee = Sat::new(fee).unwrap();
    JointSpend::close(channel.clone(), msat(paid), wallet(7), wallet(8), fee).unwrap()
}

pub(super) fn top_up(channel: &Channel, paid: u64) -> JointSpend {
    let rest = channel.capacity().saturating_sub(msat(paid).ceil_to_sat());
    let rest = rest.saturating_sub(Sat::new(1_000).unwrap());
    JointSpend::top_up(channel.clone(), msat(paid), &[], rest, Some(wallet(8))).unwrap()
}

pub(super) fn settlement(channel: &Channel, voucher: VoucherChecked, fee: u64) -> Settlement {
    let paid = voucher.voucher().paid.floor_to_sat().to_sat();
    let part = Settled::new(channel.clone(), voucher).unwrap();
    let output = TxOut { value: Amount::from_sat(paid - fee), script_pubkey: wallet(8) };
    Settlement::with_outputs(vec![part], &[], vec![output]).unwrap()
}

pub(super) fn refund(channel: &Channel) -> Refund {
    let fee = Sat::new(500).unwrap();
    let output = channel.output().clone();
    Refund::with_fee(channel.outpoint(), channel.capacity(), output, wallet(7), fee).unwrap()
}

pub(super) const EXPIRY: u32 = 200;

pub(super) fn hold(id: u8, amount: u64) -> Hold {
    Hold {
        id: HoldId::new(id.into()).unwrap(),
        amount: Sat::new(amount).unwrap(),
        hash: Preimage::new([id; 32]).hash(),
        expiry: Height::new(EXPIRY).unwrap(),
        delay: ClaimDelay::new(12).unwrap(),
    }
}

pub(super) fn held_with(channel: &Channel, paid: u64, holds: Vec<Hold>) -> Held {
    let fee = Sat::new(300).unwrap();
    Held::new(&Context::new(), channel.clone(), msat(paid), fee, holds).unwrap()
}

/// One hold of 5,000 satoshis.
pub(super) fn held_of(channel: &Channel, paid: u64) -> Held {
    held_with(channel, paid, vec![hold(1, 5_000)])
}

/// The state signed by the payer's bare key.
pub(super) fn old_held(held: Held) -> HeldChecked {
    let context = Context::new();
    let key = seed(1).payer_key(&context, Network::Regtest, key_index(0)).unwrap();
    let signature = held.sign(&context, &key, &AUX).unwrap();
    held.verify(&context, &signature).unwrap()
}

pub(super) fn hold_settlement(channel: &Channel, paid: u64) -> HoldSettlement {
    HoldSettlement::new(old_held(held_of(channel, paid)), &[]).unwrap()
}

/// The claim and the timeout of a settlement's first hold.
pub(super) fn hold_spends(settlement: &HoldSettlement) -> [HoldSpend; 2] {
    let (coin, rate) = (settlement.coins().unwrap()[0].clone(), FeeRate::new(1_000).unwrap());
    [
        HoldSpend::claim(coin.clone(), Preimage::new([1; 32]), wallet(8), rate).unwrap(),
        HoldSpend::time_out(coin, wallet(7), rate).unwrap(),
    ]
}

/// A child of a settlement's payee output.
pub(super) fn payee_spend(channel: &Channel, settlement: &HoldSettlement) -> PayeeSpend {
    let (context, fee) = (Context::new(), Sat::new(200).unwrap());
    PayeeSpend::of(&context, channel, settlement.transaction(), wallet(8), fee).unwrap().unwrap()
}
