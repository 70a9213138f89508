//! Every transaction kind of a stream channel: accepted and mined, undone and redone, refused when
//! early, forged, underpaid or in conflict.

use bitcoin::hashes::Hash;
use bitcoin::{ScriptBuf, Sequence, Transaction, WPubkeyHash, WScriptHash, Witness};

use crate::chain::Reason;
use crate::sim::scenario::fees::min_fee;
use crate::sim::scenario::lab::{FEE, Lab, Tale, forged};
use crate::sim::scenario::stream_lab::{CAPACITY, DELAY, PAID, RATE, Stream, StreamLab};
use crate::sim::scenario::{BuildError, Scenario};
use crate::tx::{ChangeScript, WalletScript};

pub(super) fn scenarios(lab: &Lab) -> Result<Vec<Scenario>, BuildError> {
    let streams = StreamLab::new(lab)?;
    let wallet = |script| Ok::<_, BuildError>(ChangeScript::Wallet(WalletScript::parse(script)?));
    Ok(vec![
        settlement(&streams, "settlement_with_own_change", ChangeScript::Own)?,
        settlement(&streams, "settlement_with_p2tr_change", wallet(streams.wallet()?)?)?,
        settlement(&streams, "settlement_with_p2wpkh_change", wallet(p2wpkh())?)?,
        settlement(&streams, "settlement_with_p2wsh_change", wallet(p2wsh())?)?,
        mutated_settlement(&streams)?,
        last_voucher(&streams)?,
        refund(&streams)?,
        settlement_against_refund(&streams)?,
        rollover(&streams)?,
        close(&streams)?,
        top_up(&streams)?,
        carrying_top_up(&streams)?,
        unconfirmed_funding(&streams)?,
    ])
}

/// Somebody's script of a key's hash.
pub(super) fn p2wpkh() -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([7; 20]))
}

/// Somebody's script of a script's hash.
fn p2wsh() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&WScriptHash::from_byte_array([7; 32]))
}

/// Submits and mines a transaction, takes it out of the chain again and mines it once more.
pub(super) fn mined_undone_redone(
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
pub(super) fn forged_payer(tx: &Transaction) -> Transaction {
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

fn carrying_top_up(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let coin = streams.lab.coin(2)?;
    let top_up = streams.top_up_carrying(&stream, PAID, &coin, FEE)?;
    let below =
        streams.top_up_carrying(&stream, PAID, &coin, min_fee(&top_up).saturating_sub(1))?;
    let next = streams.rolled_over(&stream, &top_up)?;
    // More than the channel could hold before.
    let paid = CAPACITY.saturating_mul(1_000).saturating_add(PAID);
    let carried = streams.settle(&[(&next, PAID)], &[], RATE)?;
    let settle = streams.settle(&[(&next, paid)], &[], RATE.saturating_mul(2))?;
    let close = streams.close(&next, paid, FEE)?;
    let older = streams.settle(&[(&stream, PAID)], &[], RATE)?;
    let tale = Tale::new("top_up_that_carries_the_balance_is_mined_and_the_next_voucher_settles")?
        .submit("funding", &funding)
        .mine(1)?
        .refuse("forged by the payee", &forged(&top_up), Reason::BadScript)
        .refuse("forged by the payer", &forged_payer(&top_up), Reason::BadScript)
        .refuse("underpaid", &below, Reason::MinRelayFee);
    let tale = mined_undone_redone(tale, "top-up", &top_up)?
        .refuse("voucher of the old outpoint", &older, Reason::MissingInputs)
        .refuse("forged by the payer", &forged_payer(&carried), Reason::BadScript)
        .submit("voucher of the carried balance", &carried);
    Ok(mined_undone_redone(tale, "replaced by the next voucher", &settle)?
        .reorg(1, &[&[], &[]])?
        .present("undone", &settle)
        .connect("cooperative close in its place", &[&close])
        .absent("settlement voided by the close", &settle)
        .end())
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
