//! Generic scenarios of plain coins: spends, forgeries, conflicts, standardness, reorganisations.

use bitcoin::script::Builder;
use bitcoin::{ScriptBuf, Sequence, Witness};

use crate::chain::Reason;
use crate::sim::scenario::lab::{Draft, FEE, Lab, START, Tale, forged, output_of};
use crate::sim::scenario::{BuildError, Scenario};

/// One coin of a coinbase in satoshis.
const COINBASE: u64 = 5_000_000_000;

pub(super) fn scenarios(lab: &Lab) -> Result<Vec<Scenario>, BuildError> {
    Ok(vec![
        spend(lab)?,
        maturity(lab)?,
        conflicts_in_blocks(lab)?,
        conflict_with_mempool(lab)?,
        non_standard(lab)?,
        reorg_undo_redo(lab)?,
        reorg_with_conflict(lab)?,
        reorg_of_a_chain(lab)?,
    ])
}

fn spend(lab: &Lab) -> Result<Scenario, BuildError> {
    let script = lab.p2tr(&lab.key("anna")?);
    let coin = lab.coin(1)?;
    let tx = lab.sign(Draft::sweep(&coin, &script, FEE))?;
    let mut greedy = Draft::sweep(&coin, &script, FEE);
    if let Some(first) = greedy.outputs.first_mut() {
        first.value = bitcoin::Amount::from_sat(COINBASE + 1);
    }
    let greedy = lab.sign(greedy)?;
    let mut stripped = tx.clone();
    for input in &mut stripped.input {
        input.witness = Witness::new();
    }
    let twice = lab.sign(Draft::sweep(&coin, &script, FEE).with(&coin))?;
    let rival = lab.sign(Draft::sweep(&coin, &script, FEE * 2))?;
    let of_rival = output_of(&rival, 0, &lab.key("anna")?);
    let orphan = lab.sign(Draft::sweep(&of_rival, &script, FEE))?;
    Ok(Tale::new("coin_spent_forged_or_overspent")?
        .refuse("forged signature", &forged(&tx), Reason::BadScript)
        .refuse_block("block with a forged signature", &[&forged(&tx)], Reason::BadScript)
        .refuse("no witness", &stripped, Reason::BadScript)
        .refuse("more out than in", &greedy, Reason::Overspend)
        .refuse_block("block with more out than in", &[&greedy], Reason::Overspend)
        .refuse("one input twice", &twice, Reason::Malformed)
        .refuse("child of the unknown", &orphan, Reason::MissingInputs)
        .submit("spend", &tx)
        .refuse("the same again", &tx, Reason::AlreadyKnown)
        .present("waiting", &tx)
        .mine(1)?
        .absent("mined", &tx)
        .refuse("already mined", &tx, Reason::AlreadyKnown)
        .refuse("spent coin", &rival, Reason::MissingInputs)
        .refuse_block("block that spends a spent coin", &[&rival], Reason::MissingInputs)
        .end())
}

fn maturity(lab: &Lab) -> Result<Scenario, BuildError> {
    let script = lab.p2tr(&lab.key("anna")?);
    let ripe = lab.sign(Draft::sweep(&lab.coin(START - 99)?, &script, FEE))?;
    let young = lab.sign(Draft::sweep(&lab.coin(START - 98)?, &script, FEE))?;
    Ok(Tale::new("coinbase_spent_at_its_hundredth_block_and_not_before")?
        .refuse("one block early", &young, Reason::Immature)
        .refuse_block("block with it", &[&young], Reason::Immature)
        .submit("old enough", &ripe)
        .mine(1)?
        .submit("now old enough", &young)
        .mine(1)?
        .absent("mined", &young)
        .end())
}

fn conflicts_in_blocks(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let coin = lab.coin(1)?;
    let one = lab.sign(Draft::sweep(&coin, &script, FEE))?;
    let two = lab.sign(Draft::sweep(&coin, &script, FEE + 1))?;
    let child = lab.sign(Draft::sweep(&output_of(&one, 0, &key), &script, FEE))?;
    Ok(Tale::new("blocks_with_conflicts_or_children_before_parents_are_refused")?
        .refuse_block("two spends of one coin", &[&one, &two], Reason::MissingInputs)
        .refuse_block("child before its parent", &[&child, &one], Reason::MissingInputs)
        .connect("parent, then child", &[&one, &child])
        .end())
}

fn conflict_with_mempool(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let coin = lab.coin(1)?;
    let waiting = lab.sign(Draft::sweep(&coin, &script, FEE))?;
    let child = lab.sign(Draft::sweep(&output_of(&waiting, 0, &key), &script, FEE))?;
    let other = lab.sign(Draft::sweep(&coin, &script, 0))?;
    Ok(Tale::new("block_with_a_conflict_drops_it_and_its_child_from_the_mempool")?
        .submit("spend", &waiting)
        .submit("its child", &child)
        .connect("another miner's block", &[&other])
        .absent("the spend", &waiting)
        .absent("its child", &child)
        .refuse("the spend again", &waiting, Reason::MissingInputs)
        .end())
}

fn non_standard(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let coin = lab.coin(1)?;
    let plain = || Draft::sweep(&coin, &script, FEE);
    let version_0 = lab.sign(plain().version(0))?;
    let version_4 = lab.sign(plain().version(4))?;
    let bare = Builder::new().push_int(1).push_opcode(bitcoin::opcodes::all::OP_DROP).into_script();
    let bare = lab.sign(plain().and(10_000, &bare))?;
    let large = lab.sign(plain().padded(100_200).with(&lab.coin(2)?))?;
    let unknown = ScriptBuf::from_bytes([&[0x52, 0x20][..], &[7; 32]].concat());
    let to_unknown = lab.sign(Draft::sweep(&lab.coin(3)?, &unknown, FEE))?;
    let from_unknown = lab.sign(Draft::sweep(&output_of(&to_unknown, 0, &key), &script, FEE))?;
    Ok(Tale::new("kinds_that_nodes_do_not_relay_are_refused_and_mined_all_the_same")?
        .refuse("version 0", &version_0, Reason::NonStandard)
        .refuse("version 4", &version_4, Reason::NonStandard)
        .refuse("bare script", &bare, Reason::NonStandard)
        .refuse("above the largest weight", &large, Reason::NonStandard)
        .submit("payment to a future witness version", &to_unknown)
        .refuse("spend of a future witness version", &from_unknown, Reason::NonStandard)
        .connect("version 4 in a block", &[&version_4])
        .end())
}

fn reorg_undo_redo(lab: &Lab) -> Result<Scenario, BuildError> {
    let script = lab.p2tr(&lab.key("anna")?);
    let tx = lab.sign(Draft::sweep(&lab.coin(1)?, &script, FEE))?;
    Ok(Tale::new("reorganised_spend_returns_to_the_mempool_and_is_mined_again")?
        .submit("spend", &tx)
        .mine(3)?
        .absent("mined", &tx)
        .reorg(3, &[&[], &[], &[], &[]])?
        .present("undone", &tx)
        .mine(1)?
        .absent("redone", &tx)
        .reorg(1, &[&[&tx], &[]])?
        .absent("mined on the other branch", &tx)
        .end())
}

fn reorg_with_conflict(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let coin = lab.coin(1)?;
    let first = lab.sign(Draft::sweep(&coin, &script, FEE))?;
    let child = lab.sign(Draft::sweep(&output_of(&first, 0, &key), &script, FEE))?;
    let other = lab.sign(Draft::sweep(&coin, &script, FEE * 2))?;
    let of_other = lab.sign(Draft::sweep(&output_of(&other, 0, &key), &script, FEE))?;
    Ok(Tale::new("reorganisation_to_a_conflicting_spend_voids_the_first")?
        .submit("spend", &first)
        .mine(1)?
        .submit("child of the spend", &child)
        .reorg(1, &[&[&other], &[]])?
        .absent("voided spend", &first)
        .absent("voided child", &child)
        .refuse("the first again", &first, Reason::MissingInputs)
        .submit("child of the other", &of_other)
        .end())
}

fn reorg_of_a_chain(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let parent = lab.sign(Draft::sweep(&lab.coin(1)?, &script, FEE))?;
    let coin = output_of(&parent, 0, &key);
    let late = Draft::sweep(&coin, &script, FEE).sequence(Sequence::from_height(4));
    let late = lab.sign(late)?;
    Ok(Tale::new("reorganised_parent_starts_the_relative_lock_of_its_child_again")?
        .submit("parent", &parent)
        .mine(4)?
        .submit("child after 4 blocks", &late)
        .mine(1)?
        .reorg(5, &[&[], &[], &[], &[], &[], &[]])?
        .present("parent undone", &parent)
        .absent("child no longer final", &late)
        .mine(1)?
        .refuse("lock runs again", &late, Reason::NotFinal)
        .mine(3)?
        .submit("lock passed again", &late)
        .end())
}
