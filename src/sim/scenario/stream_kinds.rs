//! Every transaction kind of a stream channel: accepted and mined, undone and redone, refused when
//! early, forged, underpaid or in conflict.

use bitcoin::{Sequence, Transaction, Witness};

use crate::chain::Reason;
use crate::sim::scenario::fees::min_fee;
use crate::sim::scenario::lab::{FEE, Lab, Tale, forged};
use crate::sim::scenario::stream_lab::{CAPACITY, DELAY, PAID, RATE, Stream, StreamLab};
use crate::sim::scenario::{BuildError, Scenario};
use crate::tx::{ChangeScript, WalletScript};

pub(super) fn scenarios(lab: &Lab) -> Result<Vec<Scenario>, BuildError> {
    let streams = StreamLab::new(lab)?;
    let own = ChangeScript::Own;
    let p2tr = ChangeScript::Wallet(WalletScript::parse(streams.wallet()?)?);
    Ok(vec![
        settlement(&streams, "settlement_with_own_change", own)?,
        settlement(&streams, "settlement_with_wallet_change", p2tr)?,
        mutated_settlement(&streams)?,
        last_voucher(&streams)?,
        refund(&streams)?,
        settlement_against_refund(&streams)?,
        rollover(&streams)?,
        close(&streams)?,
        top_up(&streams)?,
        unconfirmed_funding(&streams)?,
        batch(&streams)?,
    ])
}

/// Submits and mines a transaction, takes it out of the chain again and mines it once more.
fn mined_undone_redone(
    tale: Tale,
    what: &'static str,
    tx: &Transaction,
) -> Result<Tale, BuildError> {
    Ok(tale
        .submit(what, tx)
        .mine(1)?
        .absent("mined", tx)
        .reorg(1, &[&[], &[]])?
        .present("undone", tx)
        .mine(1)?
        .absent("redone", tx))
}

/// The same transaction with one bit of another witness item changed: the payer's signature stands
/// behind the payee's.
fn forged_payer(tx: &Transaction) -> Transaction {
    let mut forged = tx.clone();
    if let Some(input) = forged.input.first_mut() {
        let mut items = input.witness.to_vec();
        if let Some(byte) = items.get_mut(1).and_then(|signature| signature.get_mut(40)) {
            *byte ^= 1;
        }
        input.witness = Witness::from_slice(&items);
    }
    forged
}

fn settlement(
    streams: &StreamLab<'_>,
    name: &'static str,
    change: ChangeScript,
) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", change)?;
    let settle = streams.settle(&[(&stream, PAID)], &[], RATE)?;
    let floor = min_fee(&settle);
    let below = streams.settle_with_fee(&stream, PAID, floor.saturating_sub(1))?;
    let exact = streams.settle_with_fee(&stream, PAID, floor)?;
    let older = streams.settle(&[(&stream, PAID / 2)], &[], RATE)?;
    let tale = Tale::new(name)?
        .submit("funding", &funding)
        .mine(1)?
        .refuse("forged by the payee", &forged(&settle), Reason::BadScript)
        .refuse("forged by the payer", &forged_payer(&settle), Reason::BadScript)
        .refuse_block("forged in a block", &[&forged_payer(&settle)], Reason::BadScript)
        .refuse("underpaid", &below, Reason::MinRelayFee)
        .submit("at the smallest fee", &exact)
        .refuse("an older one at the same fee", &below, Reason::MinRelayFee);
    let tale = mined_undone_redone(tale, "replaced at a better rate", &settle)?;
    Ok(tale
        .refuse("older voucher afterwards", &older, Reason::MissingInputs)
        .refuse("refund afterwards", &streams.refund(&stream, FEE)?, Reason::MissingInputs)
        .end())
}

fn mutated_settlement(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let settle = streams.settle(&[(&stream, PAID)], &[], RATE)?;
    let change = |edit: &dyn Fn(&mut Transaction)| {
        let mut changed = settle.clone();
        edit(&mut changed);
        changed
    };
    let sub_satoshi = change(&|tx| {
        for input in &mut tx.input {
            input.sequence = Sequence(input.sequence.0 ^ 1);
        }
    });
    let less_change = change(&|tx| {
        for output in tx.output.iter_mut().take(1) {
            output.value = bitcoin::Amount::from_sat(output.value.to_sat().saturating_sub(1));
        }
    });
    let swapped = change(&|tx| tx.output.reverse());
    let version_2 = change(&|tx| tx.version = bitcoin::transaction::Version::TWO);
    let other_payee = change(&|tx| {
        if let Some(last) = tx.output.last_mut() {
            last.value = bitcoin::Amount::from_sat(1_000);
        }
    });
    let mut tale =
        Tale::new("settlement_changed_anywhere_is_refused")?.submit("funding", &funding).mine(1)?;
    for (what, tx) in [
        ("other sub-satoshi part", &sub_satoshi),
        ("less change", &less_change),
        ("outputs swapped", &swapped),
        ("version 2", &version_2),
        ("other payee output", &other_payee),
    ] {
        tale =
            tale.refuse(what, tx, Reason::BadScript).refuse_block(what, &[tx], Reason::BadScript);
    }
    Ok(tale.submit("unchanged", &settle).end())
}

fn last_voucher(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let all = streams.settle(&[(&stream, CAPACITY.saturating_mul(1_000))], &[], RATE)?;
    let tale = Tale::new("last_voucher_of_the_whole_capacity_is_settled_without_change")?
        .submit("funding", &funding)
        .mine(1)?
        .refuse("forged by the payer", &forged_payer(&all), Reason::BadScript);
    Ok(mined_undone_redone(tale, "settlement", &all)?.end())
}

fn refund(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let refund = streams.refund(&stream, FEE)?;
    let below = streams.refund(&stream, min_fee(&refund).saturating_sub(1))?;
    let mut impatient = refund.clone();
    for input in &mut impatient.input {
        input.sequence = Sequence::from_height(1);
    }
    let tale = Tale::new("refund_is_taken_at_its_exact_height_and_not_before")?
        .submit("funding", &funding)
        .refuse("on the unconfirmed funding", &refund, Reason::NotFinal)
        .mine(1)?
        // The funding is one deep: D - 2 more and the next block is still one early.
        .mine(u32::from(DELAY).saturating_sub(2))?
        .refuse("one block early", &refund, Reason::NotFinal)
        .refuse_block("block one early", &[&refund], Reason::NotFinal)
        .refuse_block("with a shorter lock", &[&impatient], Reason::BadScript)
        .mine(1)?
        .refuse("forged", &forged(&refund), Reason::BadScript)
        .refuse("underpaid", &below, Reason::MinRelayFee);
    Ok(mined_undone_redone(tale, "at its height", &refund)?.end())
}

fn settlement_against_refund(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let settle = streams.settle(&[(&stream, PAID)], &[], RATE)?;
    let cheap = streams.refund(&stream, min_fee(&settle))?;
    let dear = streams.refund(&stream, FEE)?;
    Ok(Tale::new("late_settlement_is_replaced_only_by_a_refund_that_pays_more")?
        .submit("funding", &funding)
        .mine(u32::from(DELAY))?
        .submit("late settlement", &settle)
        .refuse("cheap refund", &cheap, Reason::InsufficientReplacement)
        .submit("dear refund", &dear)
        .absent("replaced settlement", &settle)
        .mine(1)?
        .refuse("settlement after the refund", &settle, Reason::MissingInputs)
        .reorg(1, &[&[&settle], &[]])?
        .absent("refund voided by the settlement", &dear)
        .end())
}

fn rollover(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let first = streams.settle(&[(&stream, PAID)], &[], RATE)?;
    let next = streams.rolled_over(&stream, &first)?;
    let second = streams.settle(&[(&next, 100_000_700)], &[], RATE)?;
    let refund = streams.refund(&next, FEE)?;
    Ok(Tale::new("rollover_goes_on_with_a_fresh_delay")?
        .submit("funding", &funding)
        .mine(10)?
        .submit("rollover", &first)
        .mine(1)?
        .mine(u32::from(DELAY).saturating_sub(2))?
        .refuse("refund by the old delay", &refund, Reason::NotFinal)
        .submit("settlement of the rollover", &second)
        .mine(1)?
        .absent("mined", &second)
        .reorg(1, &[&[], &[&refund]])?
        .absent("settlement voided by the refund at its height", &second)
        .end())
}

fn close(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let close = streams.close(&stream, PAID, FEE)?;
    let floor = min_fee(&close);
    let below = streams.close(&stream, PAID, floor.saturating_sub(1))?;
    let exact = streams.close(&stream, PAID, floor)?;
    let tale = Tale::new("cooperative_close_is_mined")?
        .submit("funding", &funding)
        .mine(1)?
        .refuse("forged by the payee", &forged(&close), Reason::BadScript)
        .refuse("forged by the payer", &forged_payer(&close), Reason::BadScript)
        .refuse("underpaid", &below, Reason::MinRelayFee)
        .submit("at the smallest fee", &exact);
    Ok(mined_undone_redone(tale, "at a better fee", &close)?.end())
}

fn top_up(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let coin = streams.lab.coin(2)?;
    let top_up = streams.top_up(&stream, PAID, &coin, FEE)?;
    let below = streams.top_up(&stream, PAID, &coin, min_fee(&top_up).saturating_sub(1))?;
    let next = streams.rolled_over(&stream, &top_up)?;
    let settle = streams.settle(&[(&next, PAID)], &[], RATE)?;
    let tale = Tale::new("top_up_is_mined_and_its_channel_goes_on")?
        .submit("funding", &funding)
        .mine(1)?
        .refuse("forged by the payee", &forged(&top_up), Reason::BadScript)
        .refuse("forged by the payer", &forged_payer(&top_up), Reason::BadScript)
        .refuse("underpaid", &below, Reason::MinRelayFee);
    let tale = mined_undone_redone(tale, "top-up", &top_up)?;
    Ok(mined_undone_redone(tale, "settlement of the larger channel", &settle)?.end())
}

fn unconfirmed_funding(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let own = || ChangeScript::Own;
    let (three, of_three) = streams.fund(1, 3, &[("payer", own())])?;
    let (two, of_second) = streams.fund(2, 2, &[("payer", own())])?;
    let many: Vec<(&str, ChangeScript)> =
        ["a", "b", "c", "d", "e", "f", "g"].into_iter().map(|name| (name, own())).collect();
    let (seven, of_seven) = streams.fund(3, 3, &many)?;
    let child = streams.settle(&first(&of_three, 1), &[], RATE)?;
    let of_two = streams.settle(&first(&of_second, 1), &[], RATE)?;
    let dearer = streams.settle(&first(&of_second, 1), &[], RATE * 2)?;
    let six = streams.settle(&first(&of_seven, 6), &[], RATE)?;
    let all_seven = streams.settle(&first(&of_seven, 7), &[], RATE)?;
    Ok(Tale::new("unconfirmed_channels_are_settled_only_on_version_3_and_at_most_six")?
        .submit("funding of version 3", &three)
        .submit("funding of version 2", &two)
        .submit("funding of seven", &seven)
        .submit("settlement on version 3", &child)
        .refuse("settlement on version 2", &of_two, Reason::Truc)
        .refuse("settlement of seven", &all_seven, Reason::Truc)
        .submit("settlement of six", &six)
        .mine(1)?
        .absent("mined", &six)
        .submit("version 2 once confirmed", &of_two)
        .reorg(1, &[&[], &[]])?
        .present("still waiting on the unconfirmed funding", &of_two)
        .refuse("its replacement", &dearer, Reason::Truc)
        .mine(1)?
        .absent("both mined", &of_two)
        .end())
}

/// The first `count` channels, each by the same voucher.
fn first(streams: &[Stream], count: usize) -> Vec<(&Stream, u64)> {
    streams.iter().take(count).map(|stream| (stream, PAID)).collect()
}

fn batch(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let names: Vec<String> = (0..65).map(|number| format!("payer {number}")).collect();
    let payers: Vec<(&str, ChangeScript)> =
        names.iter().map(|name| (name.as_str(), ChangeScript::Own)).collect();
    let (funding, channels) = streams.fund(1, 3, &payers)?;
    let coins = [streams.lab.coin(2)?, streams.lab.coin(3)?];
    let vouchers: Vec<_> = (0..)
        .zip(&channels)
        .map(|(number, stream)| (stream, PAID.saturating_add(number)))
        .collect();
    let batch = streams.settle(&vouchers, &coins, RATE)?;
    let without_one = streams.settle(vouchers.split_at(64).0, &coins, RATE)?;
    let first = channels.first().ok_or(BuildError::Taproot)?;
    let single = streams.settle(&[(first, PAID)], &[], RATE * 10)?;
    let tale = Tale::new("batch_of_65_channels_and_two_fee_inputs_is_relayed_and_mined")?
        .submit("funding of 65 channels", &funding)
        .mine(1)?
        .refuse("forged by one payer", &forged_payer(&batch), Reason::BadScript)
        .submit("64 of them", &without_one)
        .refuse("one alone in conflict", &single, Reason::InsufficientReplacement)
        .connect("one alone in a block", &[&single])
        .absent("batch voided by it", &without_one)
        .reorg(1, &[&[], &[]])?;
    Ok(tale
        .present("single back", &single)
        .mine(1)?
        .refuse("batch with a spent channel", &batch, Reason::MissingInputs)
        .reorg(1, &[&[&batch], &[]])?
        .absent("single voided by the batch", &single)
        .end())
}
