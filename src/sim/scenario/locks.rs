//! Generic scenarios of locks: refused before their block, accepted in it.

use bitcoin::absolute::LockTime;
use bitcoin::opcodes::all::{OP_CLTV, OP_CSV};
use bitcoin::script::Builder;
use bitcoin::{Sequence, Transaction};

use crate::chain::Reason;
use crate::sim::scenario::lab::{Draft, FEE, Lab, START, Tale, leaf_of, output_of};
use crate::sim::scenario::{BuildError, Scenario};

/// Header time of the genesis block of regtest.
const GENESIS_TIME: u32 = 1_296_688_602;
/// Header time from block to block.
const BLOCK_TIME: u32 = 600;

pub(super) fn scenarios(lab: &Lab) -> Result<Vec<Scenario>, BuildError> {
    Ok(vec![
        relative_blocks(lab)?,
        relative_script(lab)?,
        relative_time(lab)?,
        absolute_height(lab)?,
        absolute_script(lab)?,
        absolute_time(lab)?,
    ])
}

/// A spend that is refused one block before its time and accepted in it, by policy and consensus.
fn ripens(tale: Tale, early_blocks: u32, spend: &Transaction) -> Result<Tale, BuildError> {
    Ok(tale
        .mine(early_blocks)?
        .refuse("one block early", spend, Reason::NotFinal)
        .refuse_block("block with it", &[spend], Reason::NotFinal)
        .mine(1)?
        .submit("at its height", spend)
        .mine(1)?
        .absent("mined", spend))
}

fn relative_blocks(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let parent = lab.sign(Draft::sweep(&lab.coin(1)?, &script, FEE))?;
    let coin = output_of(&parent, 0, &key);
    let late = Draft::sweep(&coin, &script, FEE).sequence(Sequence::from_height(10));
    let late = lab.sign(late)?;
    let other = lab.sign(Draft::sweep(&lab.coin(2)?, &script, FEE))?;
    let free = Draft::sweep(&output_of(&other, 0, &key), &script, FEE).version(1);
    let free = lab.sign(free.sequence(Sequence::from_height(10)))?;
    let tale = Tale::new("relative_lock_of_ten_blocks_ends_at_its_height")?
        .submit("parent", &parent)
        .submit("another parent", &other)
        .refuse("while the parent waits", &late, Reason::NotFinal)
        .submit("version 1 has no relative locks", &free)
        .mine(1)?;
    // The parent is at START + 1, so the spend may stand at START + 11: after the tip START + 10.
    Ok(ripens(tale, 8, &late)?.end())
}

fn relative_script(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let (script, leaf) = lab.locked(&key, Builder::new().push_int(10).push_opcode(OP_CSV))?;
    let parent = lab.sign(Draft::sweep(&lab.coin(1)?, &script, FEE))?;
    let coin = leaf_of(&parent, 0, &key, &leaf);
    let spend = |sequence: Sequence, version: i32| {
        lab.sign(Draft::sweep(&coin, &script, FEE).sequence(sequence).version(version))
    };
    let late = spend(Sequence::from_height(10), 2)?;
    let off = spend(Sequence(0x8000_000a), 2)?;
    let short = spend(Sequence::from_height(9), 2)?;
    let version_1 = spend(Sequence::from_height(10), 1)?;
    let tale = Tale::new("script_with_csv_is_spent_only_by_its_own_lock")?
        .submit("parent", &parent)
        .mine(1)?;
    Ok(ripens(tale, 8, &late)?
        .reorg(1, &[&[], &[]])?
        .refuse_block("lock switched off", &[&off], Reason::BadScript)
        .refuse_block("shorter lock", &[&short], Reason::BadScript)
        .refuse_block("version 1", &[&version_1], Reason::BadScript)
        .end())
}

fn relative_time(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let parent = lab.sign(Draft::sweep(&lab.coin(1)?, &script, FEE))?;
    let coin = output_of(&parent, 0, &key);
    let units = Sequence::from_512_second_intervals(10);
    let late = lab.sign(Draft::sweep(&coin, &script, FEE).sequence(units))?;
    let tale = Tale::new("relative_lock_of_seconds_counts_median_times")?
        .submit("parent", &parent)
        .mine(1)?;
    // 5,120 s are 9 blocks of 600 s; they count between the median times before the parent's block
    // (START) and before the spend's (the tip): the first tip is START + 9.
    Ok(ripens(tale, 7, &late)?.end())
}

fn absolute_height(lab: &Lab) -> Result<Scenario, BuildError> {
    let script = lab.p2tr(&lab.key("anna")?);
    let lock = LockTime::from_consensus(START + 10);
    let draft = Draft::sweep(&lab.coin(1)?, &script, FEE).lock_time(lock);
    let late = lab.sign(draft)?;
    let tale = Tale::new("lock_time_of_a_height_ends_after_it")?;
    Ok(ripens(tale, 9, &late)?.end())
}

fn absolute_script(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let lock = START + 10;
    let guard = Builder::new().push_int(i64::from(lock)).push_opcode(OP_CLTV);
    let (script, leaf) = lab.locked(&key, guard)?;
    let parent = lab.sign(Draft::sweep(&lab.coin(1)?, &script, FEE))?;
    let coin = leaf_of(&parent, 0, &key, &leaf);
    let spend = |lock: u32, sequence: Sequence| {
        let draft = Draft::sweep(&coin, &script, FEE).sequence(sequence);
        lab.sign(draft.lock_time(LockTime::from_consensus(lock)))
    };
    let late = spend(lock, Sequence::ENABLE_LOCKTIME_NO_RBF)?;
    let earlier = spend(lock.saturating_sub(1), Sequence::ENABLE_LOCKTIME_NO_RBF)?;
    let off = spend(lock, Sequence::MAX)?;
    let tale = Tale::new("script_with_cltv_is_spent_only_after_its_height")?
        .submit("parent", &parent)
        .mine(1)?
        .refuse("lock time switched off", &off, Reason::BadScript);
    Ok(ripens(tale, 8, &late)?
        .reorg(1, &[&[], &[]])?
        .refuse_block("earlier lock time", &[&earlier], Reason::BadScript)
        .end())
}

fn absolute_time(lab: &Lab) -> Result<Scenario, BuildError> {
    let script = lab.p2tr(&lab.key("anna")?);
    // The median of eleven headers is five blocks behind the tip, and must be above the lock.
    let lock = LockTime::from_consensus(GENESIS_TIME + BLOCK_TIME * (START + 5));
    let late = lab.sign(Draft::sweep(&lab.coin(1)?, &script, FEE).lock_time(lock))?;
    let tale = Tale::new("lock_time_of_a_second_ends_by_the_median_time")?;
    Ok(ripens(tale, 10, &late)?.end())
}
