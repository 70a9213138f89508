//! What the payer can hang on a settlement, close or top-up to make replacing it dear.

use bitcoin::{Sequence, Transaction};

use crate::chain::Reason;
use crate::sim::scenario::fees::min_fee;
use crate::sim::scenario::lab::{Draft, FEE, Lab, LabCoin, Tale};
use crate::sim::scenario::stream_lab::{PAID, RATE, StreamLab};
use crate::sim::scenario::{BuildError, Scenario};
use crate::tx::{ChangeScript, WalletScript};

pub(super) fn scenarios(lab: &Lab) -> Result<Vec<Scenario>, BuildError> {
    let streams = StreamLab::new(lab)?;
    Ok(vec![
        wallet_change(&streams)?,
        own_change(&streams)?,
        older_close(&streams)?,
        older_top_up(&streams)?,
        batch_against_refund(&streams)?,
    ])
}

/// A version-3 child of `vsize` virtual bytes on `coin`.
fn child(
    streams: &StreamLab<'_>,
    coin: &LabCoin,
    vsize: usize,
    fee: u64,
) -> Result<Transaction, BuildError> {
    let script = streams.wallet()?;
    let draft = || Draft::sweep(coin, &script, fee).version(3);
    let base = streams.lab.sign(draft())?.vsize();
    streams.lab.sign(draft().padded(vsize.saturating_sub(base)))
}

fn wallet_change(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let change = ChangeScript::Wallet(WalletScript::parse(streams.wallet()?)?);
    let (funding, stream) = streams.one(1, "payer", change)?;
    let settle = streams.settle(&[(&stream, PAID)], &[], RATE)?;
    let paid = streams.settle_with_fee(&stream, PAID, 0)?.vsize();
    let settle_fee = fee_of(&settle, PAID);
    let coin = streams.wallet_coin(&settle, 0)?;
    // Just below twice the settlement's rate: enough that miners leave it, dear to replace.
    let pin_fee = 3_900;
    let pin = child(streams, &coin, 1_000, pin_fee)?;
    let larger = child(streams, &coin, 1_001, pin_fee)?;
    let step = u64::try_from(paid).unwrap_or(u64::MAX).div_ceil(10);
    let needed = settle_fee.saturating_add(pin_fee).saturating_add(step);
    let short = streams.settle_with_fee(&stream, PAID, needed.saturating_sub(1))?;
    let enough = streams.settle_with_fee(&stream, PAID, needed)?;
    Ok(Tale::new("child_on_a_wallet_change_must_be_paid_for_by_the_replacement")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("settlement", &settle)
        .refuse("child of 1,001 vB", &larger, Reason::Truc)
        .submit("child of 1,000 vB", &pin)
        .refuse("replacement a satoshi short", &short, Reason::InsufficientReplacement)
        .submit("replacement that pays for the child", &enough)
        .absent("pinned settlement", &settle)
        .absent("child", &pin)
        .mine(1)?
        .absent("mined", &enough)
        .end())
}

fn own_change(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let settle = streams.settle(&[(&stream, PAID)], &[], RATE)?;
    let next = streams.rolled_over(&stream, &settle)?;
    let refund = streams.refund(&next, FEE)?;
    let mut impatient = refund.clone();
    for input in &mut impatient.input {
        input.sequence = Sequence::ENABLE_RBF_NO_LOCKTIME;
    }
    let as_truc = |tx: &Transaction| {
        let mut tx = tx.clone();
        tx.version = bitcoin::transaction::Version(3);
        tx
    };
    let step = min_fee(&settle);
    let needed = fee_of(&settle, PAID).saturating_add(step);
    let enough = streams.settle_with_fee(&stream, PAID, needed)?;
    Ok(Tale::new("own_change_cannot_be_pinned_before_its_delay")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("settlement", &settle)
        .refuse("refund of the change", &refund, Reason::NotFinal)
        .refuse("refund of the change, version 3", &as_truc(&refund), Reason::NotFinal)
        .refuse("without its lock", &impatient, Reason::Truc)
        .refuse("without its lock, version 3", &as_truc(&impatient), Reason::BadScript)
        .submit("replacement at its own cost only", &enough)
        .absent("replaced", &settle)
        .end())
}

fn older_close(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let floor = min_fee(&streams.close(&stream, PAID / 2, FEE)?);
    let close = streams.close(&stream, PAID / 2, floor)?;
    let pin = child(streams, &streams.wallet_coin(&close, 0)?, 1_000, 1_900)?;
    let step = min_fee(&streams.settle_with_fee(&stream, PAID, FEE)?);
    let needed = floor.saturating_add(1_900).saturating_add(step);
    let short = streams.settle_with_fee(&stream, PAID, needed.saturating_sub(1))?;
    let enough = streams.settle_with_fee(&stream, PAID, needed)?;
    Ok(Tale::new("older_close_with_a_child_is_replaced_by_the_settlement_that_pays_for_both")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("older close at the smallest fee", &close)
        .submit("the payer's child", &pin)
        .refuse("settlement a satoshi short", &short, Reason::InsufficientReplacement)
        .submit("settlement that pays for both", &enough)
        .absent("older close", &close)
        .absent("child", &pin)
        .mine(1)?
        .refuse("older close afterwards", &close, Reason::MissingInputs)
        .end())
}

fn older_top_up(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let coin = streams.lab.coin(2)?;
    let floor = min_fee(&streams.top_up(&stream, PAID / 2, &coin, FEE)?);
    let top_up = streams.top_up(&stream, PAID / 2, &coin, floor)?;
    // The payer owns no output of a top-up that it could spend at once; the payee's own child
    // stands for whoever holds that key.
    let pin = child(streams, &streams.wallet_coin(&top_up, 1)?, 1_000, 1_900)?;
    let next = streams.rolled_over(&stream, &top_up)?;
    let refund = streams.refund(&next, FEE)?;
    let step = min_fee(&streams.settle_with_fee(&stream, PAID, FEE)?);
    let needed = floor.saturating_add(1_900).saturating_add(step);
    let short = streams.settle_with_fee(&stream, PAID, needed.saturating_sub(1))?;
    let enough = streams.settle_with_fee(&stream, PAID, needed)?;
    Ok(Tale::new("older_top_up_is_replaced_by_the_settlement_that_pays_for_it_and_its_child")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("older top-up at the smallest fee", &top_up)
        .refuse("child on the channel's output", &refund, Reason::NotFinal)
        .submit("child on the payee's output", &pin)
        .refuse("settlement a satoshi short", &short, Reason::InsufficientReplacement)
        .submit("settlement that pays for both", &enough)
        .absent("older top-up", &top_up)
        .mine(1)?
        .absent("mined", &enough)
        .end())
}

fn batch_against_refund(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let payers: Vec<(&str, ChangeScript)> =
        names.into_iter().map(|name| (name, ChangeScript::Own)).collect();
    let (funding, channels) = streams.fund(1, 3, &payers)?;
    let vouchers: Vec<_> = channels.iter().map(|stream| (stream, PAID)).collect();
    let batch = streams.settle(&vouchers, &[], RATE)?;
    let first = channels.first().ok_or(BuildError::Taproot)?;
    let batch_fee = RATE.saturating_mul(batch.weight().to_wu()).div_ceil(4_000);
    let step = min_fee(&streams.refund(first, FEE)?);
    let needed = batch_fee.saturating_add(step);
    let short = streams.refund(first, needed.saturating_sub(1))?;
    let enough = streams.refund(first, needed)?;
    Ok(Tale::new("late_batch_is_voided_only_by_a_refund_that_pays_the_whole_batch")?
        .submit("funding of ten", &funding)
        .mine(u32::from(crate::sim::scenario::stream_lab::DELAY))?
        .submit("late batch", &batch)
        .refuse("refund a satoshi short", &short, Reason::InsufficientReplacement)
        .submit("refund that pays for the batch", &enough)
        .absent("batch", &batch)
        .end())
}

/// The fee of a settlement of one channel: what of `paid` is not the payee's.
fn fee_of(settle: &Transaction, paid: u64) -> u64 {
    let payee = settle.output.last().map_or(0, |output| output.value.to_sat());
    paid.div_euclid(1_000).saturating_sub(payee)
}
