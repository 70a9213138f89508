//! Core's consensus, as our blocks meet it: maturity, locks at their exact height, scripts, amounts,
//! reorganisations.

use crate::coins::{
    Coin, after_blocks, anybody, from_height, funded, pass_on, refused, spend, spend_coinbase, to,
};
use bitcoin::absolute::LockTime;
use bitcoin::{Amount, Block, Sequence, Witness};
use millstream_judge::Core;

/// Repairs what a change of the block broke, but for the rule that the test is about.
fn mined(block: &mut Block) {
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
}

#[test]
fn coinbase_matures_at_exactly_100_blocks() {
    let mut core = Core::new();
    let first = core.mine(&[]).unwrap();
    let tx = spend_coinbase(&first.txdata[0], vec![to(1_000_000, &anybody())]);
    core.mine_empty(98);
    refused(core.submit(&tx), "bad-txns-premature-spend-of-coinbase");
    refused(core.mine(std::slice::from_ref(&tx)), "bad-txns-premature-spend-of-coinbase");
    core.mine_empty(1);
    core.submit(&tx).unwrap();
    let block = core.mine_mempool().unwrap();
    assert_eq!(block.txdata[1], tx);
    assert_eq!(core.mempool(), []);
}

#[test]
fn relative_lock_opens_at_its_exact_block_for_mempool_and_block() {
    let (mut core, coins) = funded(1);
    let script = after_blocks(7);
    let parent = spend(&[&coins[0]], vec![to(1_000_000, &script)]);
    core.mine(std::slice::from_ref(&parent)).unwrap();
    let mut tx = pass_on(&Coin::of(&parent, 0, &script), 1_000);
    tx.input[0].sequence = Sequence::from_height(7);
    // The parent has 1 confirmation; a block on top counts as the second.
    for _ in 0..6 {
        refused(core.submit(&tx), "non-BIP68-final");
        refused(core.mine(&[tx.clone()]), "bad-txns-nonfinal");
        core.mine_empty(1);
    }
    core.submit(&tx).unwrap();
    core.mine(&[tx]).unwrap();
}

#[test]
fn relative_lock_of_another_number_is_refused_by_the_script() {
    let (mut core, coins) = funded(1);
    let script = after_blocks(7);
    let parent = spend(&[&coins[0]], vec![to(1_000_000, &script)]);
    core.mine(std::slice::from_ref(&parent)).unwrap();
    core.mine_empty(10);
    let mut tx = pass_on(&Coin::of(&parent, 0, &script), 1_000);
    tx.input[0].sequence = Sequence::from_height(6);
    refused(core.submit(&tx), "mempool-script-verify-flag-failed (Locktime requirement not satisf");
    refused(core.mine(&[tx]), "block-script-verify-flag-failed (Locktime requirement not satisf");
}

#[test]
fn absolute_lock_opens_after_its_exact_height() {
    let (mut core, coins) = funded(1);
    let height = core.tip().height.to_u32() + 6;
    let script = from_height(height);
    let parent = spend(&[&coins[0]], vec![to(1_000_000, &script)]);
    core.mine(std::slice::from_ref(&parent)).unwrap();
    let mut tx = pass_on(&Coin::of(&parent, 0, &script), 1_000);
    tx.lock_time = LockTime::from_height(height).unwrap();
    // Lock time `height` allows block `height + 1`, on a tip of `height`.
    while core.tip().height.to_u32() < height {
        refused(core.submit(&tx), "non-final");
        refused(core.mine(&[tx.clone()]), "bad-txns-nonfinal");
        core.mine_empty(1);
    }
    core.submit(&tx).unwrap();
    core.mine(&[tx]).unwrap();
}

#[test]
fn forged_witness_is_refused_by_mempool_and_block_and_the_right_one_accepted() {
    let (mut core, coins) = funded(1);
    let right = pass_on(&coins[0], 1_000);
    let mut forged = right.clone();
    forged.input[0].witness = Witness::from_slice(&[[0x52]]);
    refused(core.submit(&forged), "mempool-script-verify-flag-failed (Witness program hash mismat");
    refused(core.mine(&[forged]), "block-script-verify-flag-failed (Witness program hash mismat");
    core.submit(&right).unwrap();
    core.mine(&[right]).unwrap();
}

#[test]
fn spending_more_than_there_is_is_refused() {
    let (mut core, coins) = funded(1);
    let tx = spend(&[&coins[0]], vec![to(coins[0].value + 1, &anybody())]);
    refused(core.submit(&tx), "bad-txns-in-belowout");
    refused(core.mine(&[tx]), "bad-txns-in-belowout");
}

#[test]
fn spent_coin_is_missing_in_mempool_and_block() {
    let (mut core, coins) = funded(1);
    core.mine(&[pass_on(&coins[0], 1_000)]).unwrap();
    let again = pass_on(&coins[0], 9_000);
    refused(core.submit(&again), "bad-txns-inputs-missingorspent");
    refused(core.mine(&[again]), "bad-txns-inputs-missingorspent");
}

#[test]
fn coinbase_that_claims_one_satoshi_too_much_is_refused() {
    let mut core = Core::new();
    let mut block = core.next_block(&[]);
    block.txdata[0].output[0].value += Amount::ONE_SAT;
    mined(&mut block);
    refused(core.connect_block(&block), "bad-cb-amount");
    assert_eq!(core.tip().height.to_u32(), 0);
    // Core remembers the hash.
    refused(core.connect_block(&block), "duplicate-invalid");
    core.mine_empty(1);
}

#[test]
fn block_without_its_witness_commitment_is_refused() {
    let (mut core, coins) = funded(1);
    let mut block = core.next_block(&[pass_on(&coins[0], 1_000)]);
    block.txdata[0].output.truncate(1);
    mined(&mut block);
    refused(core.connect_block(&block), "unexpected-witness");
}

#[test]
fn reorg_undoes_a_spend_into_the_mempool_and_a_second_one_redoes_it() {
    let (mut core, coins) = funded(2);
    let tx = pass_on(&coins[0], 1_000);
    let before = core.tip();
    core.mine(std::slice::from_ref(&tx)).unwrap();
    assert!(!core.contains(tx.compute_txid()));

    core.reorg(1, &[vec![], vec![]]).unwrap();
    assert_eq!(core.tip().height.to_u32(), before.height.to_u32() + 2);
    assert_eq!(core.mempool(), [tx.compute_txid()]);

    core.reorg(2, &[vec![tx.clone()], vec![], vec![]]).unwrap();
    assert_eq!(core.mempool(), []);
    refused(core.submit(&tx), "txn-already-known");
}

#[test]
fn reorg_drops_a_conflict_and_its_child_from_the_mempool() {
    let (mut core, coins) = funded(1);
    let first = pass_on(&coins[0], 1_000);
    let child = pass_on(&Coin::of(&first, 0, &anybody()), 1_000);
    let rival = pass_on(&coins[0], 2_000);
    core.mine(&[first]).unwrap();
    core.submit(&child).unwrap();
    core.reorg(1, &[vec![rival], vec![]]).unwrap();
    assert_eq!(core.mempool(), []);
    refused(core.submit(&child), "bad-txns-inputs-missingorspent");
}

#[test]
fn reorg_that_makes_a_lock_premature_again_drops_the_spend() {
    let (mut core, coins) = funded(1);
    let script = after_blocks(3);
    let parent = spend(&[&coins[0]], vec![to(1_000_000, &script)]);
    core.mine(std::slice::from_ref(&parent)).unwrap();
    core.mine_empty(2);
    let mut tx = pass_on(&Coin::of(&parent, 0, &script), 1_000);
    tx.input[0].sequence = Sequence::from_height(3);
    core.submit(&tx).unwrap();
    // The parent is confirmed two blocks later than before: the chain grew by one only.
    core.reorg(3, &[vec![], vec![], vec![parent], vec![]]).unwrap();
    assert_eq!(core.mempool(), []);
    refused(core.submit(&tx), "non-BIP68-final");
    core.mine_empty(1);
    core.submit(&tx).unwrap();
}

#[test]
fn invalidated_blocks_give_their_transactions_back() {
    let (mut core, coins) = funded(1);
    let tx = pass_on(&coins[0], 1_000);
    let before = core.tip();
    core.mine(std::slice::from_ref(&tx)).unwrap();
    core.mine_empty(1);
    core.invalidate(2);
    assert_eq!(core.tip(), before);
    assert_eq!(core.mempool_txs(), [tx]);
    core.mine_empty(1);
    core.mine_mempool().unwrap();
    assert_eq!(core.mempool(), []);
}

#[test]
fn weaker_branch_is_stored_and_the_tip_stays() {
    let mut core = Core::new();
    let mut rival = core.next_block(&[]);
    rival.header.time += 1;
    mined(&mut rival);
    core.mine_empty(1);
    let tip = core.tip();
    core.connect_block(&rival).unwrap();
    assert_eq!(core.tip(), tip);
    refused(core.connect_block(&rival), "duplicate");
}

#[test]
fn branch_that_begins_like_an_earlier_one_wins_again() {
    let (mut core, _) = funded(1);
    core.mine_empty(1);
    core.reorg(1, &[vec![], vec![]]).unwrap();
    core.reorg(2, &[vec![], vec![], vec![]]).unwrap();
    assert_eq!(core.tip().height.to_u32(), 104);
}

#[test]
fn block_refused_once_is_refused_for_the_same_reason_again() {
    let (mut core, coins) = funded(1);
    let tx = spend(&[&coins[0]], vec![to(coins[0].value + 1, &anybody())]);
    for _ in 0..2 {
        refused(core.mine(std::slice::from_ref(&tx)), "bad-txns-in-belowout");
    }
}

#[test]
fn second_node_of_a_process_starts_from_the_genesis_block_alone() {
    let mut first = Core::new();
    first.mine_empty(3);
    drop(first);
    let second = Core::new();
    assert_eq!(second.tip().height.to_u32(), 0);
    assert_eq!(second.mempool(), []);
}

#[test]
#[should_panic(expected = "already has a Core")]
fn second_node_on_one_thread_panics_instead_of_waiting_for_itself() {
    let _first = Core::new();
    let _second = Core::new();
}
