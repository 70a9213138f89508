//! Core's mempool policy, as our transactions meet it: fees, dust, replacement, version 3, packages.

use crate::coins::{Coin, anybody, funded, p2tr, padded, pass_on, refused, spend, to, versioned};
use bitcoin::{Amount, ScriptBuf, TxOut};

#[test]
fn fee_of_a_tenth_of_a_satoshi_a_vbyte_is_the_minimum() {
    let (mut core, coins) = funded(2);
    // 96 vB at 100 sat/kvB, rounded up.
    let vbytes = u64::try_from(pass_on(&coins[0], 0).vsize()).unwrap();
    let least = (vbytes * 100).div_ceil(1_000);
    refused(core.submit(&pass_on(&coins[0], least - 1)), "min relay fee not met");
    assert_eq!(core.mempool(), []);
    core.submit(&pass_on(&coins[0], least)).unwrap();
    // Consensus does not care.
    core.mine(&[pass_on(&coins[1], 0)]).unwrap();
}

#[test]
fn taproot_output_below_330_is_dust() {
    let (mut core, coins) = funded(1);
    let pay = |value: u64| {
        let small = TxOut { value: Amount::from_sat(value), script_pubkey: p2tr() };
        spend(&[&coins[0]], vec![to(1_000_000, &anybody()), small])
    };
    refused(core.submit(&pay(329)), "dust");
    core.test_block(&core.next_block(&[pay(329)])).unwrap();
    core.submit(&pay(330)).unwrap();
}

#[test]
fn test_accept_judges_and_changes_nothing() {
    let (mut core, coins) = funded(1);
    core.test_accept(&pass_on(&coins[0], 1_000)).unwrap();
    assert_eq!(core.mempool(), []);
    refused(core.test_accept(&pass_on(&coins[0], 0)), "min relay fee not met");
}

#[test]
fn replacement_pays_the_old_fee_and_the_relay_of_its_own_bytes() {
    let (mut core, coins) = funded(1);
    let first = pass_on(&coins[0], 1_000);
    let vbytes = u64::try_from(first.vsize()).unwrap();
    let more = (vbytes * 100).div_ceil(1_000);
    core.submit(&first).unwrap();
    refused(core.submit(&first), "txn-already-in-mempool");
    refused(core.submit(&pass_on(&coins[0], 1_000)), "txn-already-in-mempool");
    refused(core.submit(&pass_on(&coins[0], 999)), "insufficient fee");
    refused(core.submit(&pass_on(&coins[0], 1_000 + more - 1)), "insufficient fee");
    let second = pass_on(&coins[0], 1_000 + more);
    core.submit(&second).unwrap();
    assert_eq!(core.mempool(), [second.compute_txid()]);
}

#[test]
fn replacement_pays_for_the_children_that_it_evicts_too() {
    let (mut core, coins) = funded(1);
    let first = pass_on(&coins[0], 1_000);
    let child = pass_on(&Coin::of(&first, 0, &anybody()), 5_000);
    core.submit(&first).unwrap();
    core.submit(&child).unwrap();
    refused(core.submit(&pass_on(&coins[0], 6_000)), "insufficient fee");
    core.submit(&pass_on(&coins[0], 6_020)).unwrap();
    assert!(!core.contains(child.compute_txid()));
}

#[test]
fn version_3_child_of_1000_vbytes_is_accepted_and_of_1001_refused() {
    let (mut core, coins) = funded(1);
    let parent = versioned(pass_on(&coins[0], 1_000), 3);
    core.submit(&parent).unwrap();
    let plain = versioned(pass_on(&Coin::of(&parent, 0, &anybody()), 5_000), 3);
    refused(core.submit(&padded(plain.clone(), 1_001)), "TRUC-violation");
    core.submit(&padded(plain, 1_000)).unwrap();
}

#[test]
fn version_3_transaction_of_10000_vbytes_is_accepted_and_of_10001_refused() {
    let (mut core, coins) = funded(1);
    let plain = versioned(pass_on(&coins[0], 20_000), 3);
    refused(core.submit(&padded(plain.clone(), 10_001)), "TRUC-violation");
    core.submit(&padded(plain, 10_000)).unwrap();
}

#[test]
fn unconfirmed_version_3_parent_takes_one_child_of_version_3_and_no_grandchild() {
    let (mut core, coins) = funded(1);
    let half = coins[0].value / 2;
    let outputs = vec![to(half, &anybody()), to(half - 1_000, &anybody())];
    let parent = versioned(spend(&[&coins[0]], outputs), 3);
    core.submit(&parent).unwrap();
    let (left, right) = (Coin::of(&parent, 0, &anybody()), Coin::of(&parent, 1, &anybody()));
    refused(core.submit(&pass_on(&left, 1_000)), "TRUC-violation");
    let child = versioned(pass_on(&left, 1_000), 3);
    core.submit(&child).unwrap();
    let grandchild = versioned(pass_on(&Coin::of(&child, 0, &anybody()), 1_000), 3);
    refused(core.submit(&grandchild), "TRUC-violation");
    // A second child evicts its sibling, if it pays for that.
    refused(core.submit(&versioned(pass_on(&right, 1_000), 3)), "insufficient fee");
    let sibling = versioned(pass_on(&right, 2_000), 3);
    core.submit(&sibling).unwrap();
    assert!(!core.contains(child.compute_txid()));
    // Confirmed, the parent binds nobody.
    core.mine(&[parent, sibling]).unwrap();
    core.submit(&pass_on(&left, 1_000)).unwrap();
}

#[test]
fn zero_fee_version_3_parent_enters_with_the_child_that_pays_for_both() {
    let (mut core, coins) = funded(1);
    let parent = versioned(pass_on(&coins[0], 0), 3);
    let coin = Coin::of(&parent, 0, &anybody());
    refused(core.submit(&parent), "min relay fee not met");
    let child = |fee: u64| versioned(pass_on(&coin, fee), 3);
    let vbytes = u64::try_from(parent.vsize() + child(0).vsize()).unwrap();
    let least = (vbytes * 100).div_ceil(1_000);
    refused(core.submit_package(&[parent.clone(), child(least - 1)]), "min relay fee not met");
    assert_eq!(core.mempool(), []);
    core.submit_package(&[parent.clone(), child(least)]).unwrap();
    assert_eq!(core.mempool(), [parent.compute_txid(), child(least).compute_txid()]);
    core.mine_mempool().unwrap();
}

#[test]
fn package_child_first_is_refused_as_a_whole() {
    let (mut core, coins) = funded(1);
    let parent = pass_on(&coins[0], 1_000);
    let child = pass_on(&Coin::of(&parent, 0, &anybody()), 1_000);
    refused(core.submit_package(&[child, parent]), "package-not-sorted");
    assert_eq!(core.mempool(), []);
}

#[test]
fn package_says_the_reason_of_the_transaction_that_failed_for_itself() {
    let (mut core, coins) = funded(1);
    let mut parent = pass_on(&coins[0], 1_000);
    parent.input[0].witness = bitcoin::Witness::from_slice(&[[0x52]]);
    let child = pass_on(&Coin::of(&parent, 0, &anybody()), 1_000);
    refused(core.submit_package(&[parent, child]), "mempool-script-verify-flag-failed");
}

#[test]
fn anchor_of_zero_satoshis_enters_only_in_a_package_that_spends_it() {
    let (mut core, coins) = funded(2);
    let anchor = ScriptBuf::from(vec![0x51, 0x02, 0x4e, 0x73]);
    let outputs =
        vec![to(coins[0].value, &anybody()), TxOut { value: Amount::ZERO, script_pubkey: anchor }];
    let parent = versioned(spend(&[&coins[0]], outputs), 3);
    refused(core.submit(&parent), "min relay fee not met");
    let mut spends = Coin::of(&parent, 1, &anybody());
    spends.script = ScriptBuf::new();
    let mut child = spend(&[&spends, &coins[1]], vec![to(coins[1].value - 1_000, &anybody())]);
    child.input[0].witness = bitcoin::Witness::new();
    core.submit_package(&[parent, versioned(child, 3)]).unwrap();
}

#[test]
fn future_version_is_not_relayed_and_is_mined() {
    let (mut core, coins) = funded(1);
    let tx = versioned(pass_on(&coins[0], 1_000), 4);
    refused(core.submit(&tx), "version");
    core.mine(&[tx]).unwrap();
}

#[test]
fn transaction_without_inputs_is_refused_and_is_no_failure_of_the_judge() {
    let (mut core, _) = funded(1);
    refused(core.submit(&spend(&[], vec![to(1_000, &anybody())])), "TX decode failed");
}

#[test]
fn transaction_without_outputs_is_refused() {
    let (mut core, coins) = funded(1);
    refused(core.submit(&spend(&[&coins[0]], vec![])), "bad-txns-vout-empty");
}
