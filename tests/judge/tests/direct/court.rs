//! Core as an arena: its words become classes, and a wrong expectation is caught.

use bitcoin::Transaction;
use millstream::chain::{Reason, regtest};
use millstream::sim::scenario::{Arena, Scenario, Step, Verdict, run};
use millstream::units::{Blocks, Height};
use millstream_judge::Court;

use crate::coins::{Coin, anybody, pass_on, spend_coinbase, to, versioned};

fn blocks(count: u32) -> Blocks {
    Blocks::new(count).unwrap()
}

/// Spends the coinbase of height 1, known before there is a chain, to one coin, leaving `fee`.
fn first_spend(fee: u64) -> Transaction {
    let coinbase = regtest::coinbase(Height::new(1).unwrap());
    spend_coinbase(&coinbase, vec![to(5_000_000_000 - fee, &anybody())])
}

fn submit(tx: &Transaction, expect: Verdict) -> Step {
    Step::Submit { what: "spend", tx: tx.clone(), expect }
}

#[test]
fn scenario_of_known_coins_gives_the_expected_verdicts() {
    let tx = first_spend(1_000);
    let early = Verdict::Refuse(Reason::Immature);
    let connect = |expect| Step::Connect { what: "spend", txs: vec![tx.clone()], expect };
    let in_mempool = |expect| Step::InMempool { what: "spend", txid: tx.compute_txid(), expect };
    let scenario = Scenario {
        name: "coinbase_is_spent_undone_and_spent_again",
        steps: vec![
            Step::Mine { blocks: blocks(99) },
            submit(&tx, early),
            connect(early),
            connect(early),
            Step::Mine { blocks: blocks(1) },
            submit(&first_spend(0), Verdict::Refuse(Reason::MinRelayFee)),
            submit(&tx, Verdict::Accept),
            submit(&first_spend(999), Verdict::Refuse(Reason::InsufficientReplacement)),
            Step::Mine { blocks: blocks(2) },
            in_mempool(false),
            Step::Reorg { depth: blocks(2), branch: vec![vec![]; 3] },
            in_mempool(true),
            Step::Mine { blocks: blocks(1) },
            in_mempool(false),
            submit(&tx, Verdict::Refuse(Reason::AlreadyKnown)),
        ],
    };
    let mut court = Court::new();
    let report = run(&scenario, &mut court).unwrap();
    assert_eq!((report.accepted, report.refused, report.reorgs), (1, 6, 1));
    assert_eq!(court.heard().len(), 12);
}

#[test]
fn wrong_expectation_is_caught_at_its_step() {
    let scenario = Scenario {
        name: "immature_coinbase_is_accepted",
        steps: vec![
            Step::Mine { blocks: blocks(99) },
            submit(&first_spend(1_000), Verdict::Accept),
            Step::Mine { blocks: blocks(1) },
        ],
    };
    let mismatch = run(&scenario, &mut Court::new()).unwrap_err();
    assert_eq!(
        mismatch.to_string(),
        "immature_coinbase_is_accepted, step 1 (spend): expected Verdict(Accept), \
         got Verdict(Refuse(Immature))"
    );
}

#[test]
fn package_gives_its_own_reason_or_that_of_its_last_own_refusal() {
    let mut court = Court::new();
    court.mine(blocks(100));
    let parent = versioned(first_spend(0), 3);
    let coin = Coin::of(&parent, 0, &anybody());
    let child = |fee: u64, version: i32| versioned(pass_on(&coin, fee), version);
    // Signatures commit to the version, so that this parent's is wrong.
    let package = [parent.clone(), child(5_000, 3)];
    assert_eq!(court.submit_package(&package), Verdict::Refuse(Reason::BadScript));
    let package = [parent, child(5_000, 2)];
    assert_eq!(court.submit_package(&package), Verdict::Refuse(Reason::Truc));
    let parent = first_spend(0);
    let coin = Coin::of(&parent, 0, &anybody());
    let package = [parent.clone(), pass_on(&coin, 10)];
    assert_eq!(court.submit_package(&package), Verdict::Refuse(Reason::MinRelayFee));
    let package = [pass_on(&coin, 1_000), parent.clone()];
    assert_eq!(court.submit_package(&package), Verdict::Refuse(Reason::BadPackage));
    let package = [parent, pass_on(&coin, 1_000)];
    assert_eq!(court.submit_package(&package), Verdict::Accept);
}
