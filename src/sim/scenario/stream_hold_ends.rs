//! How holds end on the chain: old vouchers published after a fold or a release, each hold at its
//! own height, another state after a reorg, and the channel that goes on with the change.

use bitcoin::Transaction;

use crate::chain::Reason;
use crate::sim::scenario::lab::{FEE, Lab, START, Tale};
use crate::sim::scenario::stream_holds::{
    AGREED, AMOUNT, EXPIRY, K, SETTLED, claim_of, first, held, preimage, settle, state, timeout_of,
};
use crate::sim::scenario::stream_lab::{DELAY, PAID, RATE, Stream, StreamLab};
use crate::sim::scenario::{BuildError, Scenario};
use crate::tx::ChangeScript;
use crate::tx::hold::{HoldCoin, HoldSpend};
use crate::units::FeeRate;

pub(super) fn scenarios(lab: &Lab) -> Result<Vec<Scenario>, BuildError> {
    let streams = StreamLab::new(lab)?;
    Ok(vec![
        folded(&streams)?,
        released(&streams)?,
        claimed_after_release(&streams)?,
        each_at_its_height(&streams)?,
        shortest_delay(&streams)?,
        dust_limit(&streams)?,
        another_state_after_a_reorg(&streams)?,
        goes_on(&streams)?,
    ])
}

/// One channel at [`PAID`], the settlement of its voucher with hold 1, and the hold's output.
fn with_hold(
    streams: &StreamLab<'_>,
) -> Result<(Transaction, Stream, Transaction, HoldCoin), BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let (settled, coins) = settle(streams, &stream, held(streams, &stream, PAID, AGREED, 1)?, &[])?;
    let coin = first(&coins)?.clone();
    Ok((funding, stream, settled, coin))
}

fn folded(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream, old, coin) = with_hold(streams)?;
    let paid = PAID.saturating_add(AMOUNT.saturating_mul(1_000));
    let newest = streams.settle(&[(&stream, paid)], &[], RATE)?;
    let claim = claim_of(streams, &stream, &coin, false)?;
    Ok(Tale::new("old_voucher_published_after_a_fold_pays_no_more_than_was_folded")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("old settlement with the hold", &old)
        .mine(1)?
        .refuse("newest settlement", &newest, Reason::MissingInputs)
        .mine(u32::from(K).saturating_sub(1))?
        .submit("claim of what was folded", &claim)
        .mine(1)?
        .absent("mined", &claim)
        .end())
}

fn released(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream, old, coin) = with_hold(streams)?;
    let newest = streams.settle(&[(&stream, PAID)], &[], RATE)?;
    let timeout = timeout_of(streams, &stream, &coin, false)?;
    let timed_out = EXPIRY.saturating_sub(SETTLED);
    Ok(Tale::new("old_voucher_published_after_a_release_is_timed_out_after_its_expiry")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("old settlement with the released hold", &old)
        .mine(1)?
        .refuse("newest settlement", &newest, Reason::MissingInputs)
        .mine(timed_out.saturating_sub(1))?
        .refuse("timeout one block early", &timeout, Reason::NotFinal)
        .refuse_block("block one early", &[&timeout], Reason::NotFinal)
        .mine(1)?
        .submit("timeout at its height", &timeout)
        .mine(1)?
        .absent("mined", &timeout)
        .reorg(1, &[&[], &[]])?
        .present("undone", &timeout)
        .mine(1)?
        .absent("redone", &timeout)
        .end())
}

fn claimed_after_release(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream, old, coin) = with_hold(streams)?;
    let claim = claim_of(streams, &stream, &coin, false)?;
    let timeout = timeout_of(streams, &stream, &coin, false)?;
    Ok(Tale::new("hold_claimed_after_its_release_is_valid_because_a_release_is_a_promise")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("old settlement with the released hold", &old)
        .mine(u32::from(K))?
        .submit("claim all the same", &claim)
        .mine(1)?
        .mine(EXPIRY.saturating_sub(SETTLED))?
        .refuse("timeout of what was claimed", &timeout, Reason::MissingInputs)
        .end())
}

fn each_at_its_height(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let later = EXPIRY.saturating_add(3);
    let holds = [(1, AMOUNT, EXPIRY), (2, AMOUNT, EXPIRY), (3, AMOUNT, later)];
    let held = state(streams, &stream, PAID, AGREED, K, &holds)?;
    let (settled, coins) = settle(streams, &stream, held, &[])?;
    let [one, two, three] = coins.as_slice() else {
        return Err(BuildError::Taproot);
    };
    let claim = claim_of(streams, &stream, one, false)?;
    let crossed = HoldSpend::claim(two.clone(), preimage(2), streams.wallet()?, rate()?)?;
    let crossed = crossed.finish(&streams.signature(&stream.payer, [2; 32]))?;
    let of_two = timeout_of(streams, &stream, two, false)?;
    let of_three = timeout_of(streams, &stream, three, false)?;
    Ok(Tale::new("holds_of_one_settlement_end_each_at_its_own_height")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("settlement", &settled)
        .mine(u32::from(K))?
        .submit("claim of the first", &claim)
        .refuse("claim of the second with a foreign signature", &crossed, Reason::BadScript)
        .mine(1)?
        .mine(EXPIRY.saturating_sub(SETTLED).saturating_sub(u32::from(K)))?
        .submit("timeout of the second", &of_two)
        .refuse("timeout of the third, three blocks early", &of_three, Reason::NotFinal)
        .mine(2)?
        .refuse("timeout of the third, one block early", &of_three, Reason::NotFinal)
        .refuse_block("block one early", &[&of_three], Reason::NotFinal)
        .mine(1)?
        .submit("timeout of the third at its height", &of_three)
        .mine(1)?
        .absent("mined", &of_three)
        .end())
}

fn shortest_delay(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let held = state(streams, &stream, PAID, AGREED, 2, &[(1, AMOUNT, EXPIRY)])?;
    let (settled, coins) = settle(streams, &stream, held, &[])?;
    let claim = claim_of(streams, &stream, first(&coins)?, false)?;
    Ok(Tale::new("hold_of_the_shortest_delay_leaves_the_payer_one_block")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("settlement", &settled)
        .mine(1)?
        .refuse("claim in the next block", &claim, Reason::NotFinal)
        .refuse_block("block with it", &[&claim], Reason::NotFinal)
        .mine(1)?
        .submit("claim in the block after", &claim)
        .mine(1)?
        .absent("mined", &claim)
        .end())
}

fn dust_limit(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream) = streams.one(1, "payer", ChangeScript::Own)?;
    let held = state(streams, &stream, PAID, AGREED, K, &[(1, 330, EXPIRY)])?;
    let (settled, coins) = settle(streams, &stream, held, &[])?;
    let mut below = settled.clone();
    if let Some(output) = below.output.get_mut(2) {
        output.value = bitcoin::Amount::from_sat(329);
    }
    // Of 330 satoshis no relayed spend leaves enough: the claim is refused before it is signed.
    let spend = HoldSpend::claim(first(&coins)?.clone(), preimage(1), streams.wallet()?, rate()?);
    if spend.is_ok() {
        return Err(BuildError::Taproot);
    }
    Ok(Tale::new("hold_at_its_dust_limit_is_relayed_and_below_it_is_not")?
        .submit("funding", &funding)
        .mine(1)?
        .refuse("a hold of 329 sat", &below, Reason::Dust)
        .submit("a hold of 330 sat", &settled)
        .mine(1)?
        .absent("mined", &settled)
        .end())
}

fn another_state_after_a_reorg(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream, old, coin) = with_hold(streams)?;
    let paid = PAID.saturating_add(AMOUNT.saturating_mul(1_000));
    let newest = streams.settle(&[(&stream, paid)], &[], RATE)?;
    let claim = claim_of(streams, &stream, &coin, false)?;
    let timeout = timeout_of(streams, &stream, &coin, false)?;
    Ok(Tale::new("settlement_with_holds_reorged_out_for_another_state_voids_its_claim")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("settlement with the hold", &old)
        .mine(u32::from(K))?
        .submit("claim", &claim)
        .mine(1)?
        .absent("mined", &claim)
        .reorg(u32::from(K).saturating_add(1), &[&[&newest], &[], &[], &[], &[], &[]])?
        .absent("settlement voided by the other state", &old)
        .absent("claim voided with it", &claim)
        .refuse("claim", &claim, Reason::MissingInputs)
        .mine(EXPIRY.saturating_sub(SETTLED))?
        .refuse("timeout", &timeout, Reason::MissingInputs)
        .end())
}

fn goes_on(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, stream, settled, coin) = with_hold(streams)?;
    let next = streams.rolled_over(&stream, &settled)?;
    let payment = streams.settle(&[(&next, PAID)], &[], RATE)?;
    let refund = streams.refund(&next, FEE)?;
    let claim = claim_of(streams, &stream, &coin, false)?;
    // From k blocks after the settlement to one before the first that can hold the refund.
    let left = u32::from(DELAY.saturating_sub(K)).saturating_sub(1);
    Ok(Tale::new("change_of_a_settlement_with_holds_goes_on_as_a_channel")?
        .submit("funding", &funding)
        .mine(1)?
        .submit("settlement", &settled)
        .mine(1)?
        .refuse("refund of the change", &refund, Reason::NotFinal)
        .mine(u32::from(K).saturating_sub(1))?
        .submit("claim", &claim)
        .mine(1)?
        .mine(left.saturating_sub(1))?
        .refuse("refund one block early", &refund, Reason::NotFinal)
        .submit("voucher of the channel that goes on", &payment)
        .mine(1)?
        .refuse("refund after it", &refund, Reason::MissingInputs)
        .reorg(1, &[&[], &[]])?
        .present("voucher undone", &payment)
        .connect("refund at its height", &[&refund])
        .absent("voucher voided by the refund", &payment)
        .end())
}

fn rate() -> Result<FeeRate, BuildError> {
    Ok(FeeRate::new(2_000)?)
}

/// The first block that can hold the settlements is [`START`] + 2.
const _: () = assert!(SETTLED == START + 2);
