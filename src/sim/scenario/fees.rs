//! Generic scenarios of fees, dust and replacement, each at its exact limit.

use bitcoin::{ScriptBuf, Sequence, Transaction};

use crate::chain::Reason;
use crate::sim::scenario::lab::{Draft, FEE, Lab, LabCoin, Tale, output_of};
use crate::sim::scenario::{BuildError, Scenario};

pub(super) fn scenarios(lab: &Lab) -> Result<Vec<Scenario>, BuildError> {
    Ok(vec![
        min_relay(lab)?,
        dust(lab)?,
        ephemeral_dust(lab)?,
        replacement(lab)?,
        replacement_of_a_family(lab)?,
        replacement_of_two(lab)?,
        replacement_at_a_lower_rate(lab)?,
        replacement_of_its_own_parent(lab)?,
        cluster(lab)?,
    ])
}

/// The smallest fee of a transaction of this size: 0.1 sat/vB, rounded up.
pub(super) fn min_fee(tx: &Transaction) -> u64 {
    u64::try_from(tx.vsize()).unwrap_or(u64::MAX).div_ceil(10)
}

/// A sweep of `coin` and what it must pay at least.
fn smallest(lab: &Lab, coin: &LabCoin, script: &ScriptBuf) -> Result<u64, BuildError> {
    Ok(min_fee(&lab.sign(Draft::sweep(coin, script, FEE))?))
}

fn min_relay(lab: &Lab) -> Result<Scenario, BuildError> {
    let script = lab.p2tr(&lab.key("anna")?);
    let coin = lab.coin(1)?;
    let floor = smallest(lab, &coin, &script)?;
    let zero = lab.sign(Draft::sweep(&coin, &script, 0))?;
    let below = lab.sign(Draft::sweep(&coin, &script, floor.saturating_sub(1)))?;
    let exact = lab.sign(Draft::sweep(&coin, &script, floor))?;
    Ok(Tale::new("fee_of_a_tenth_of_a_satoshi_a_vbyte_is_relayed_and_less_is_not")?
        .refuse("no fee", &zero, Reason::MinRelayFee)
        .refuse("a satoshi too little", &below, Reason::MinRelayFee)
        .submit("just enough", &exact)
        .connect("no fee in a block", &[&zero])
        .absent("its conflict", &exact)
        .end())
}

fn dust(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let taproot = lab.p2tr(&key);
    let v0_key = ScriptBuf::from_bytes([&[0x00, 0x14][..], &[7; 20]].concat());
    let v0_script = ScriptBuf::from_bytes([&[0x00, 0x20][..], &[7; 32]].concat());
    let mut tale = Tale::new("outputs_below_their_dust_limit_are_refused")?;
    let kinds = [(1, &taproot, 330_u64), (2, &v0_key, 294), (3, &v0_script, 330)];
    for (height, script, limit) in kinds {
        let coin = lab.coin(height)?;
        let pays = |value: u64| lab.sign(Draft::sweep(&coin, &taproot, FEE).and(value, script));
        tale = tale
            .refuse("a satoshi below", &pays(limit.saturating_sub(1))?, Reason::Dust)
            .submit("at the limit", &pays(limit)?);
    }
    let below = lab.sign(Draft::sweep(&lab.coin(4)?, &taproot, FEE).and(1, &taproot))?;
    Ok(tale.connect("dust in a block", &[&below]).end())
}

fn ephemeral_dust(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let coin = lab.coin(1)?;
    let pays = |fee: u64| lab.sign(Draft::sweep(&coin, &script, fee).version(3).and(100, &script));
    let parent = pays(0)?;
    let paying = pays(FEE)?;
    let large = output_of(&parent, 0, &key);
    let leaves = lab.sign(Draft::sweep(&large, &script, FEE).version(3))?;
    let sweeps = Draft::sweep(&large, &script, FEE).version(3);
    let sweeps = lab.sign(sweeps.with(&output_of(&parent, 1, &key)))?;
    let two = Draft::sweep(&lab.coin(2)?, &script, 0).and(100, &script).and(100, &script);
    let two = lab.sign(two)?;
    Ok(Tale::new("dust_is_relayed_only_without_fee_and_swept_by_the_child")?
        .refuse("dust with a fee", &paying, Reason::Dust)
        .refuse("two dust outputs", &two, Reason::Dust)
        .refuse_package("child leaves the dust", &[&parent, &leaves], Reason::Dust)
        .package("child sweeps the dust", &[&parent, &sweeps])
        .mine(1)?
        .absent("mined", &sweeps)
        .end())
}

fn replacement(lab: &Lab) -> Result<Scenario, BuildError> {
    let script = lab.p2tr(&lab.key("anna")?);
    let coin = lab.coin(1)?;
    let step = smallest(lab, &coin, &script)?;
    let pays = |fee: u64| lab.sign(Draft::sweep(&coin, &script, fee).sequence(Sequence::MAX));
    let first = pays(1_000)?;
    let equal = lab.sign(Draft::sweep(&coin, &script, 1_000).version(3))?;
    let short = pays(step.saturating_add(1_000).saturating_sub(1))?;
    let enough = pays(step.saturating_add(1_000))?;
    Ok(Tale::new("replacement_pays_the_old_fee_and_its_own_relay")?
        .submit("without a signal", &first)
        .refuse("same fee", &equal, Reason::InsufficientReplacement)
        .refuse("a satoshi too little", &short, Reason::InsufficientReplacement)
        .present("still there", &first)
        .submit("just enough", &enough)
        .absent("replaced", &first)
        .refuse("the old one again", &first, Reason::InsufficientReplacement)
        .mine(1)?
        .absent("mined", &enough)
        .end())
}

fn replacement_of_a_family(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let coin = lab.coin(1)?;
    let step = smallest(lab, &coin, &script)?;
    let parent = lab.sign(Draft::sweep(&coin, &script, 1_000))?;
    let child = lab.sign(Draft::sweep(&output_of(&parent, 0, &key), &script, 5_000))?;
    let short =
        lab.sign(Draft::sweep(&coin, &script, step.saturating_add(6_000).saturating_sub(1)))?;
    let enough = lab.sign(Draft::sweep(&coin, &script, step.saturating_add(6_000)))?;
    Ok(Tale::new("replacement_pays_for_the_descendants_that_it_evicts")?
        .submit("parent", &parent)
        .submit("child", &child)
        .refuse("pays for the parent only", &short, Reason::InsufficientReplacement)
        .submit("pays for both", &enough)
        .absent("parent", &parent)
        .absent("child", &child)
        .end())
}

fn replacement_of_two(lab: &Lab) -> Result<Scenario, BuildError> {
    let script = lab.p2tr(&lab.key("anna")?);
    let (one, two) = (lab.coin(1)?, lab.coin(2)?);
    let first = lab.sign(Draft::sweep(&one, &script, 1_500))?;
    let second = lab.sign(Draft::sweep(&two, &script, 1_500))?;
    let both = |fee: u64| lab.sign(Draft::sweep(&one, &script, fee).with(&two));
    let step = min_fee(&both(FEE)?);
    let short = both(step.saturating_add(3_000).saturating_sub(1))?;
    let enough = both(step.saturating_add(3_000))?;
    Ok(Tale::new("replacement_of_two_pays_for_both")?
        .submit("first", &first)
        .submit("second", &second)
        .refuse("a satoshi too little", &short, Reason::InsufficientReplacement)
        .submit("just enough", &enough)
        .absent("first", &first)
        .absent("second", &second)
        .end())
}

fn replacement_at_a_lower_rate(lab: &Lab) -> Result<Scenario, BuildError> {
    let script = lab.p2tr(&lab.key("anna")?);
    let coin = lab.coin(1)?;
    let small = lab.sign(Draft::sweep(&coin, &script, 5_000))?;
    let large = lab.sign(Draft::sweep(&coin, &script, 20_000).padded(5_000))?;
    let large_enough = lab.sign(Draft::sweep(&coin, &script, 300_000).padded(5_000))?;
    Ok(Tale::new("replacement_with_a_larger_fee_but_a_lower_rate_is_refused")?
        .submit("small and dear", &small)
        .refuse("large and cheap", &large, Reason::InsufficientReplacement)
        .submit("large and dearer", &large_enough)
        .absent("replaced", &small)
        .end())
}

fn replacement_of_its_own_parent(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let coin = lab.coin(1)?;
    let parent = lab.sign(Draft::sweep(&coin, &script, 1_000))?;
    let both = Draft::sweep(&output_of(&parent, 0, &key), &script, FEE).with(&coin);
    let both = lab.sign(both)?;
    Ok(Tale::new("spend_of_a_coin_and_of_its_spender_is_refused")?
        .submit("parent", &parent)
        .refuse("conflicts with its own parent", &both, Reason::InsufficientReplacement)
        .end())
}

fn cluster(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let mut tale = Tale::new("cluster_of_64_is_relayed_and_the_65th_is_refused")?;
    let mut coin = lab.coin(1)?;
    for _ in 0..64 {
        let tx = lab.sign(Draft::sweep(&coin, &script, 1_000))?;
        tale = tale.submit("one more", &tx);
        coin = output_of(&tx, 0, &key);
    }
    let tx = lab.sign(Draft::sweep(&coin, &script, 1_000))?;
    Ok(tale.refuse("one too many", &tx, Reason::ClusterLimit).mine(1)?.submit("now", &tx).end())
}
