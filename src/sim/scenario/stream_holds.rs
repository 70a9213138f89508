//! Conditional payments on the chain: settled, claimed with the preimage, timed out, bumped;
//! refused when early, forged, with another preimage or by the other side.

use bitcoin::hashes::Hash;
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::taproot::TapTweakHash;
use bitcoin::{Amount, OutPoint, Sequence, Transaction, Witness};

use crate::chain::Reason;
use crate::sim::scenario::lab::{Draft, FEE, Lab, LabCoin, START, Tale, forged};
use crate::sim::scenario::stream_lab::{PAID, Stream, StreamLab, fee_inputs};
use crate::sim::scenario::{BuildError, Scenario};
use crate::tx::hold::{ClaimDelay, Held, Hold, HoldCoin, HoldSettlement, HoldSpend, Preimage};
use crate::tx::{ChangeScript, PayeeSpend};
use crate::units::{FeeRate, Height, HoldId, Msat, Sat};

/// Where the settlements confirm: the funding is in the first block after [`START`].
pub(super) const SETTLED: u32 = START + 2;
/// The claim's delay: block [`SETTLED`] + 4 is the first that can hold it.
pub(super) const K: u16 = 4;
/// The expiry: block `EXPIRY + 1` is the first that can hold the timeout.
pub(super) const EXPIRY: u32 = SETTLED + 8;
/// What each hold is worth.
pub(super) const AMOUNT: u64 = 50_000;
/// The agreed fee, two satoshis a virtual byte.
pub(super) const AGREED: u64 = 500;

pub(super) fn scenarios(lab: &Lab) -> Result<Vec<Scenario>, BuildError> {
    let streams = StreamLab::new(lab)?;
    Ok(vec![
        settlement(&streams)?,
        without_payee_output(&streams)?,
        claim(&streams)?,
        timeout(&streams)?,
        published_late(&streams)?,
        bumped_by_an_input(&streams)?,
        bumped_by_a_child(&streams)?,
    ])
}

pub(super) fn preimage(id: u8) -> Preimage {
    Preimage::new([id; 32])
}

/// A state with this many holds, all of one amount and expiry.
pub(super) fn held(
    streams: &StreamLab<'_>,
    stream: &Stream,
    paid: u64,
    fee: u64,
    count: u8,
) -> Result<Held, BuildError> {
    let holds: Vec<(u8, u64, u32)> = (1..=count).map(|id| (id, AMOUNT, EXPIRY)).collect();
    state(streams, stream, paid, fee, K, &holds)
}

/// A state with these holds: the number of each, its amount and its expiry.
pub(super) fn state(
    streams: &StreamLab<'_>,
    stream: &Stream,
    paid: u64,
    fee: u64,
    delay: u16,
    holds: &[(u8, u64, u32)],
) -> Result<Held, BuildError> {
    let holds = holds.iter().map(|(id, amount, expiry)| {
        Ok(Hold {
            id: HoldId::new(u64::from(*id))?,
            amount: Sat::new(*amount)?,
            hash: preimage(*id).hash(),
            expiry: Height::new(*expiry)?,
            delay: ClaimDelay::new(delay)?,
        })
    });
    let holds = holds.collect::<Result<Vec<_>, BuildError>>()?;
    let (paid, fee) = (Msat::new(paid)?, Sat::new(fee)?);
    Ok(Held::new(&streams.context, stream.channel.clone(), paid, fee, holds)?)
}

/// The signed settlement of a state, and its holds' outputs.
pub(super) fn settle(
    streams: &StreamLab<'_>,
    stream: &Stream,
    held: Held,
    added: &[LabCoin],
) -> Result<(Transaction, Vec<HoldCoin>), BuildError> {
    let voucher = streams.signature(&stream.payer, held.digest()?);
    let checked = held.verify(&streams.context, &voucher)?;
    let settlement = HoldSettlement::new(checked, &fee_inputs(added)?)?;
    let payee = streams.signature(&stream.payee, settlement.digest()?);
    let (tx, spent) = (settlement.transaction(), settlement.spent());
    let witnesses = streams.fee_witnesses(tx, spent, 1, added)?;
    let coins = settlement.coins()?;
    Ok((settlement.finish(&payee, witnesses)?, coins))
}

/// A claim or timeout, signed by payee or payer, or by the other one.
fn sign(
    streams: &StreamLab<'_>,
    stream: &Stream,
    spend: HoldSpend,
    foreign: bool,
) -> Result<Transaction, BuildError> {
    let key = if spend.is_claim() == foreign { &stream.payer } else { &stream.payee };
    let signature = streams.signature(key, spend.digest()?);
    Ok(spend.finish(&signature)?)
}

pub(super) fn claim_of(
    streams: &StreamLab<'_>,
    stream: &Stream,
    coin: &HoldCoin,
    foreign: bool,
) -> Result<Transaction, BuildError> {
    let rate = FeeRate::new(2_000)?;
    let spend = HoldSpend::claim(coin.clone(), preimage(1), streams.wallet()?, rate)?;
    sign(streams, stream, spend, foreign)
}

pub(super) fn timeout_of(
    streams: &StreamLab<'_>,
    stream: &Stream,
    coin: &HoldCoin,
    foreign: bool,
) -> Result<Transaction, BuildError> {
    let rate = FeeRate::new(2_000)?;
    let spend = HoldSpend::time_out(coin.clone(), streams.wallet()?, rate)?;
    sign(streams, stream, spend, foreign)
}

pub(super) fn first(coins: &[HoldCoin]) -> Result<&HoldCoin, BuildError> {
    coins.first().ok_or(BuildError::Taproot)
}

/// The same transaction, changed.
fn edited(tx: &Transaction, edit: impl FnOnce(&mut Transaction)) -> Transaction {
    let mut tx = tx.clone();
    edit(&mut tx);
    tx
}

/// The same transaction with another item in place of its first input's `index`-th.
fn with_item(tx: &Transaction, index: usize, item: Vec<u8>) -> Transaction {
    edited(tx, |tx| {
        if let Some(input) = tx.input.first_mut() {
            let mut items = input.witness.to_vec();
            if let Some(old) = items.get_mut(index) {
                *old = item;
            }
            input.witness = Witness::from_slice(&items);
        }
    })
}

/// The payer's signature says another amount of the same type.
fn forged_voucher(tx: &Transaction) -> Transaction {
    let item = tx.input.first().and_then(|input| input.witness.nth(1)).unwrap_or_default();
    let mut item = item.to_vec();
    if let Some(byte) = item.get_mut(40) {
        *byte ^= 1;
    }
    with_item(tx, 1, item)
}

fn settlement(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let (tx, coins) = settle(streams, &stream, held(streams, &stream, PAID, AGREED, 3)?, &[])?;
    let plain = streams.settle(&[(&stream, PAID)], &[], 10_000)?;
    let shifted = edited(&tx, |tx| {
        // A hold's satoshi for the payee.
        for output in tx.output.iter_mut().skip(1).take(1) {
            output.value = output.value.checked_add(Amount::ONE_SAT).unwrap_or(Amount::MAX_MONEY);
        }
        for output in tx.output.iter_mut().skip(2).take(1) {
            output.value = output.value.checked_sub(Amount::ONE_SAT).unwrap_or(Amount::ZERO);
        }
    });
    let dropped = edited(&tx, |tx| tx.output.truncate(4));
    let swapped = edited(&tx, |tx| tx.output.swap(2, 3));
    let mut tale = Tale::new("settlement_with_holds_is_mined_as_signed_and_in_no_other_form")?
        .submit("funding", &funding)
        .mine(1)?
        .refuse("forged by the payee", &forged(&tx), Reason::BadScript)
        .refuse("forged by the payer", &forged_voucher(&tx), Reason::BadScript);
    for (what, tx) in [("shifted", &shifted), ("dropped", &dropped), ("swapped", &swapped)] {
        tale =
            tale.refuse(what, tx, Reason::BadScript).refuse_block(what, &[tx], Reason::BadScript);
    }
    let claim = claim_of(streams, &stream, first(&coins)?, false)?;
    Ok(tale
        .submit("settlement", &tx)
        .refuse("claim of an unconfirmed settlement", &claim, Reason::NotFinal)
        .mine(1)?
        .absent("mined", &tx)
        .reorg(1, &[&[], &[]])?
        .present("undone", &tx)
        .mine(1)?
        .absent("redone", &tx)
        .refuse("an older plain voucher", &plain, Reason::MissingInputs)
        .end())
}

fn without_payee_output(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let (tx, coins) = settle(streams, &stream, held(streams, &stream, 0, AGREED, 1)?, &[])?;
    let claim = claim_of(streams, &stream, first(&coins)?, false)?;
    Ok(Tale::new("first_hold_of_a_fresh_channel_is_enforced_at_the_payers_fee")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("settlement of nothing paid", &tx)
        .mine(u32::from(K))?
        .submit("claim", &claim)
        .mine(1)?
        .absent("mined", &claim)
        .end())
}

fn claim(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let (settled, coins) = settle(streams, &stream, held(streams, &stream, PAID, AGREED, 1)?, &[])?;
    let coin = first(&coins)?;
    let claim = claim_of(streams, &stream, coin, false)?;
    let foreign = claim_of(streams, &stream, coin, true)?;
    let hasty = edited(&claim, |tx| {
        for input in &mut tx.input {
            input.sequence = Sequence::from_height(K.saturating_sub(1));
        }
    });
    let known = preimage(1).as_bytes().to_vec();
    let mut tale = Tale::new("hold_is_claimed_at_its_exact_height_with_its_preimage_alone")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("settlement", &settled)
        .mine(1)?
        // The settlement is one deep: k - 2 more and the next block is still one early.
        .mine(u32::from(K).saturating_sub(2))?
        .refuse("one block early", &claim, Reason::NotFinal)
        .refuse_block("block one early", &[&claim], Reason::NotFinal)
        .refuse_block("with a shorter lock", &[&hasty], Reason::BadScript)
        .mine(1)?;
    for (what, preimage) in [
        ("another preimage", vec![2; 32]),
        ("31 bytes of the preimage", vec![1; 31]),
        ("33 bytes", vec![1; 33]),
        ("no preimage", Vec::new()),
    ] {
        let wrong = with_item(&claim, 1, preimage);
        tale = tale.refuse(what, &wrong, Reason::BadScript).refuse_block(
            what,
            &[&wrong],
            Reason::BadScript,
        );
    }
    Ok(tale
        .refuse("by the payer's key", &foreign, Reason::BadScript)
        .refuse("forged", &forged(&claim), Reason::BadScript)
        .submit("at its height", &with_item(&claim, 1, known))
        .mine(1)?
        .absent("mined", &claim)
        .reorg(1, &[&[], &[]])?
        .present("undone", &claim)
        .mine(1)?
        .absent("redone", &claim)
        .end())
}

fn timeout(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let (settled, coins) = settle(streams, &stream, held(streams, &stream, PAID, AGREED, 1)?, &[])?;
    let coin = first(&coins)?;
    let timeout = timeout_of(streams, &stream, coin, false)?;
    let foreign = timeout_of(streams, &stream, coin, true)?;
    let claim = claim_of(streams, &stream, coin, false)?;
    let hasty = edited(&timeout, |tx| {
        tx.lock_time = bitcoin::absolute::LockTime::from_consensus(EXPIRY.saturating_sub(1));
    });
    let unlocked = edited(&timeout, |tx| {
        for input in &mut tx.input {
            input.sequence = Sequence::MAX;
        }
    });
    Ok(Tale::new("hold_is_timed_out_in_the_block_after_its_expiry_and_not_before")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("settlement", &settled)
        .mine(1)?
        .mine(EXPIRY.saturating_sub(SETTLED).saturating_sub(1))?
        .refuse("one block early", &timeout, Reason::NotFinal)
        .refuse_block("block one early", &[&timeout], Reason::NotFinal)
        .refuse_block("with an earlier lock", &[&hasty], Reason::BadScript)
        .refuse_block("with its lock switched off", &[&unlocked], Reason::BadScript)
        .mine(1)?
        .refuse("by the payee's key", &foreign, Reason::BadScript)
        .refuse("forged", &forged(&timeout), Reason::BadScript)
        .submit("at its height", &timeout)
        .mine(1)?
        .absent("mined", &timeout)
        .refuse("claim afterwards", &claim, Reason::MissingInputs)
        .reorg(1, &[&[&claim], &[]])?
        .absent("timeout voided by the claim", &timeout)
        .end())
}

fn published_late(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let (settled, coins) = settle(streams, &stream, held(streams, &stream, PAID, AGREED, 1)?, &[])?;
    let coin = first(&coins)?;
    let timeout = timeout_of(streams, &stream, coin, false)?;
    let claim = claim_of(streams, &stream, coin, false)?;
    Ok(Tale::new("hold_published_after_its_expiry_is_the_payers_for_k_less_one_blocks")?
        .submit("funding", &funding)
        .mine(EXPIRY.saturating_sub(START).saturating_add(1))?
        .submit("settlement, late", &settled)
        .refuse_block("claim in the settlement's block", &[&settled, &claim], Reason::NotFinal)
        .mine(1)?
        .refuse("claim in the next block", &claim, Reason::NotFinal)
        .mine(u32::from(K).saturating_sub(2))?
        .refuse("claim in the payer's last block", &claim, Reason::NotFinal)
        .submit("timeout in the payer's last block", &timeout)
        .mine(1)?
        .absent("mined", &timeout)
        .refuse("claim at its height", &claim, Reason::MissingInputs)
        .end())
}

/// Two small confirmed coins, and the transaction that makes them.
fn small_coins(streams: &StreamLab<'_>) -> Result<(Transaction, LabCoin, LabCoin), BuildError> {
    let wallet = streams.wallet()?;
    let draft = Draft::sweep(&streams.lab.coin(2)?, &wallet, FEE);
    let tx = streams.lab.sign(draft.and(600, &wallet).and(3_000, &wallet))?;
    let (small, large) = (streams.wallet_coin(&tx, 1)?, streams.wallet_coin(&tx, 2)?);
    Ok((tx, small, large))
}

fn bumped_by_an_input(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let (split, small, large) = small_coins(streams)?;
    let state = || held(streams, &stream, 0, 1, 1);
    let (bare, _) = settle(streams, &stream, state()?, &[])?;
    let (bumped, _) = settle(streams, &stream, state()?, core::slice::from_ref(&small))?;
    let (again, coins) = settle(streams, &stream, state()?, core::slice::from_ref(&large))?;
    let stolen = edited(&bumped, |tx| {
        for output in tx.output.iter_mut().take(1) {
            output.value = output.value.checked_add(Amount::ONE_SAT).unwrap_or(Amount::MAX_MONEY);
        }
    });
    let claim = claim_of(streams, &stream, first(&coins)?, false)?;
    Ok(Tale::new("settlement_with_holds_is_bumped_by_added_inputs_that_are_consumed_whole")?
        .submit("funding", &funding)
        .submit("coins", &split)
        .mine(1)?
        .refuse("at a fee of one satoshi", &bare, Reason::MinRelayFee)
        .refuse("with the added coin in the change", &stolen, Reason::BadScript)
        .submit("with a coin of 600", &bumped)
        .submit("replaced with a coin of 3,000", &again)
        .absent("replaced", &bumped)
        .refuse("the smaller one again", &bumped, Reason::InsufficientReplacement)
        .mine(u32::from(K))?
        .submit("claim of the bumped settlement", &claim)
        .end())
}

/// A version-3 child of `vsize` virtual bytes on the payee's own output.
fn child(
    streams: &StreamLab<'_>,
    stream: &Stream,
    settled: &Transaction,
    vsize: usize,
    fee: u64,
) -> Result<Transaction, BuildError> {
    let outpoint = OutPoint { txid: settled.compute_txid(), vout: 1 };
    let spent = settled.output.get(1).cloned().ok_or(BuildError::Taproot)?;
    let tweak = TapTweakHash::from_key_and_tweak(stream.payee.public(), None);
    let key = stream.payee.tweaked(&streams.context, tweak.to_byte_array())?;
    // Of a coin of the lab the shape is taken, and input and signature are the payee's.
    let shape = streams.wallet_coin(settled, 1)?;
    let wallet = streams.wallet()?;
    let draft = || Draft::sweep(&shape, &wallet, fee).version(3);
    let base = streams.lab.sign(draft())?.vsize();
    let padding = vsize.saturating_sub(base);
    let draft = if padding == 0 { draft() } else { draft().padded(padding) };
    let mut tx = streams.lab.sign(draft)?;
    let digest = SighashCache::new(&tx)
        .taproot_key_spend_signature_hash(0, &Prevouts::All(&[spent]), TapSighashType::Default)
        .map_err(|_| BuildError::Taproot)?;
    let signature = streams.signature(&key, digest.to_byte_array());
    for input in &mut tx.input {
        input.previous_output = outpoint;
        input.witness = Witness::from_slice(&[signature.serialize()]);
    }
    Ok(tx)
}

fn bumped_by_a_child(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let (settled, _) = settle(streams, &stream, held(streams, &stream, PAID, 1, 1)?, &[])?;
    // As the crate builds and signs it; the padded ones are by hand.
    let (wallet, fee) = (streams.wallet()?, Sat::new(2_000)?);
    let small = PayeeSpend::of(&streams.context, &stream.channel, &settled, wallet, fee)?;
    let small = small.ok_or(BuildError::Taproot)?;
    let tweak = TapTweakHash::from_key_and_tweak(stream.payee.public(), None);
    let key = stream.payee.tweaked(&streams.context, tweak.to_byte_array())?;
    let signature = streams.signature(&key, small.digest()?);
    let small = small.finish(&signature)?;
    let large = child(streams, &stream, &settled, 1_000, 40_000)?;
    let larger = child(streams, &stream, &settled, 1_001, 8_000)?;
    Ok(Tale::new("settlement_with_holds_is_bumped_by_a_child_of_the_payees_output")?
        .submit("funding", &funding)
        .mine(1)?
        .refuse("alone, at a fee of one satoshi", &settled, Reason::MinRelayFee)
        .refuse_package("with a child of 1,001 vB", &[&settled, &larger], Reason::Truc)
        .package("with a child", &[&settled, &small])
        .present("settlement", &settled)
        .submit("child of 1,000 vB instead", &large)
        .absent("the first child", &small)
        .mine(1)?
        .absent("mined", &settled)
        .end())
}
