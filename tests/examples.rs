//! The examples as tests: same seed, same bytes; every invariant holds whatever goes wrong; a broken
//! one is seen; and the README's first code block is the program that it seems to be.

#[path = "../examples/common/mod.rs"]
mod common;
#[path = "../examples/compute_market/app/mod.rs"]
mod compute_market;
#[path = "../examples/content_stream/app/mod.rs"]
mod content_stream;
#[path = "../examples/ev_charger/app/mod.rs"]
mod ev_charger;
#[path = "../examples/fleet/app/mod.rs"]
mod fleet;
#[path = "../examples/mine_to_pay/app/mod.rs"]
mod mine_to_pay;
#[path = "../examples/pool/app/mod.rs"]
mod pool;
#[path = "../examples/swap/app/mod.rs"]
mod swap;
#[path = "../examples/toll_road/app/mod.rs"]
mod toll_road;
#[path = "../examples/vending/app/mod.rs"]
mod vending;

use common::output::{Report, Screen};
use common::{Options, Sabotage};

/// Enough for three settlements: 65 channels are one.
const CARS: u64 = 131;

fn ev_charger(options: &Options) -> Report {
    ev_charger::run(options, &mut Screen::new(true)).unwrap()
}

fn fleet(options: &Options) -> Report {
    fleet::run_with(options, &mut Screen::new(true), CARS).unwrap()
}

fn swap(options: &Options) -> Report {
    swap::run(options, &mut Screen::new(true)).unwrap()
}

fn content_stream(options: &Options) -> Report {
    content_stream::run(options, &mut Screen::new(true)).unwrap()
}

fn compute_market(options: &Options) -> Report {
    compute_market::run(options, &mut Screen::new(true)).unwrap()
}

/// Three hours: everything that goes wrong has gone wrong once.
fn mine_to_pay(options: &Options) -> Report {
    mine_to_pay::run_with(options, &mut Screen::new(true), 3).unwrap()
}

/// An hour and a half: a few blocks.
fn pool(options: &Options) -> Report {
    pool::run_with(options, &mut Screen::new(true), 90).unwrap()
}

fn toll_road(options: &Options) -> Report {
    toll_road::run_with(options, &mut Screen::new(true), CARS).unwrap()
}

fn sabotaged(what: Sabotage) -> Options {
    Options { sabotage: Some(what), ..Options::new(1, 1) }
}

#[test]
fn ev_charger_with_the_same_seed_leaves_the_same_bytes_and_with_another_seed_others() {
    let (one, again) = (ev_charger(&Options::new(7, 1)), ev_charger(&Options::new(7, 1)));
    assert_eq!(one.files(), again.files());
    assert_eq!(one.files().len(), 5);
    assert_ne!(one.files(), ev_charger(&Options::new(8, 1)).files());
}

#[test]
fn ev_charger_keeps_every_invariant_whatever_the_chaos() {
    for chaos in 0..=3 {
        for seed in 1..=3 {
            let report = ev_charger(&Options::new(seed, chaos));
            assert!(report.broken().is_empty(), "{seed}, {chaos}: {:?}", report.broken());
            let log = report.files().get("log.jsonl").unwrap();
            assert!(log.lines().count() > 200, "hardly anything happened");
        }
    }
}

#[test]
fn ev_charger_sees_every_kind_of_broken_invariant() {
    for what in [Sabotage::Conservation, Sabotage::Window, Sabotage::Statement] {
        let report = ev_charger(&sabotaged(what));
        assert!(!report.broken().is_empty(), "{what:?} went unseen");
        assert!(report.summary().contains("BROKEN"), "{what:?} is not in the summary");
    }
}

#[test]
fn fleet_with_the_same_seed_leaves_the_same_bytes() {
    let (one, again) = (fleet(&Options::new(7, 1)), fleet(&Options::new(7, 1)));
    assert_eq!(one.files(), again.files());
    assert_eq!(one.files().len(), 4);
}

#[test]
fn fleet_keeps_every_invariant_whatever_the_chaos() {
    for chaos in 0..=3 {
        let report = fleet(&Options::new(2, chaos));
        assert!(report.broken().is_empty(), "{chaos}: {:?}", report.broken());
        assert!(report.summary().contains("3 settlements"), "{}", report.summary());
    }
}

#[test]
fn fleet_sees_money_that_goes_missing() {
    let report = fleet(&sabotaged(Sabotage::Conservation));
    assert!(!report.broken().is_empty());
}

fn vending(options: &Options) -> Report {
    vending::run(options, &mut Screen::new(true)).unwrap()
}

#[test]
fn vending_with_the_same_seed_leaves_the_same_bytes_and_with_another_seed_others() {
    let (one, again) = (vending(&Options::new(7, 3)), vending(&Options::new(7, 3)));
    assert_eq!(one.files(), again.files());
    assert_eq!(one.files().len(), 4);
    assert_ne!(one.files(), vending(&Options::new(8, 3)).files());
}

#[test]
fn vending_keeps_every_invariant_whatever_the_chaos() {
    for chaos in 0..=3 {
        for seed in 1..=3 {
            let report = vending(&Options::new(seed, chaos));
            assert!(report.broken().is_empty(), "{seed}, {chaos}: {:?}", report.broken());
        }
    }
}

/// Every way in which a hold can end is in the run, and the summary names what a release is worth.
#[test]
fn vending_shows_every_end_of_a_hold_and_what_is_at_risk() {
    let report = vending(&Options::new(1, 1));
    let log = report.files().get("log.jsonl").unwrap();
    for end in [
        "paid: the buyer has the preimage",
        "stay at risk until block",
        "the machine has claimed the hold in block",
        "against its word",
        "the buyer has taken the hold back in block",
        "sold out meanwhile",
        "does not stand any more",
    ] {
        assert!(log.contains(end), "no hold ended so: {end}");
    }
    for at in ["AT RISK until", "CLAIMED all the same"] {
        assert!(report.summary().contains(at), "{at} is not in the summary");
    }
}

#[test]
fn vending_sees_every_kind_of_broken_invariant() {
    for what in [Sabotage::Conservation, Sabotage::Window, Sabotage::Statement] {
        let report = vending(&sabotaged(what));
        assert!(!report.broken().is_empty(), "{what:?} went unseen");
        assert!(report.summary().contains("BROKEN"), "{what:?} is not in the summary");
    }
}

#[test]
fn swap_with_the_same_seed_leaves_the_same_bytes_and_with_another_seed_others() {
    let (one, again) = (swap(&Options::new(7, 1)), swap(&Options::new(7, 1)));
    assert_eq!(one.files(), again.files());
    assert_eq!(one.files().len(), 4);
    assert_ne!(one.files(), swap(&Options::new(8, 1)).files());
}

#[test]
fn swap_pays_both_legs_or_neither_whatever_the_chaos() {
    for (chaos, swaps) in [(0, 1), (1, 19), (2, 23), (3, 47)] {
        let report = swap(&Options::new(2, chaos));
        assert!(report.broken().is_empty(), "{chaos}: {:?}", report.broken());
        assert!(report.summary().contains(&format!("{swaps} swaps: ")), "{}", report.summary());
    }
}

#[test]
fn swap_sees_money_that_goes_missing() {
    let report = swap(&sabotaged(Sabotage::Conservation));
    assert!(report.summary().contains("BROKEN"), "{}", report.summary());
    assert!(!report.broken().is_empty());
}

#[test]
fn toll_road_with_the_same_seed_leaves_the_same_bytes() {
    let (one, again) = (toll_road(&Options::new(7, 3)), toll_road(&Options::new(7, 3)));
    assert_eq!(one.files(), again.files());
    assert_eq!(one.files().len(), 4);
}

#[test]
fn toll_road_pays_every_toll_to_the_millisatoshi_whatever_the_chaos() {
    for (chaos, seed) in [(0, 2), (1, 2), (2, 2), (3, 2), (3, 3)] {
        let report = toll_road(&Options::new(seed, chaos));
        assert!(report.broken().is_empty(), "{seed}, {chaos}: {:?}", report.broken());
        assert!(report.summary().contains("each of them checked"), "{}", report.summary());
    }
}

#[test]
fn toll_road_sees_every_kind_of_broken_invariant() {
    for what in [Sabotage::Conservation, Sabotage::Window, Sabotage::Statement] {
        let report = toll_road(&sabotaged(what));
        assert!(!report.broken().is_empty(), "{what:?} went unseen");
    }
}

#[test]
fn content_stream_with_the_same_seed_leaves_the_same_bytes() {
    let (one, again) = (content_stream(&Options::new(7, 2)), content_stream(&Options::new(7, 2)));
    assert_eq!(one.files(), again.files());
    assert_eq!(one.files().len(), 4);
}

#[test]
fn content_stream_keeps_every_invariant_whatever_the_chaos() {
    for (chaos, seed) in [(0, 2), (1, 2), (2, 2), (3, 2), (3, 3)] {
        let report = content_stream(&Options::new(seed, chaos));
        assert!(report.broken().is_empty(), "{seed}, {chaos}: {:?}", report.broken());
        assert!(report.summary().contains("1 settlement"), "{}", report.summary());
    }
}

#[test]
fn content_stream_sees_every_kind_of_broken_invariant() {
    for what in [Sabotage::Conservation, Sabotage::Window, Sabotage::Statement] {
        let report = content_stream(&sabotaged(what));
        assert!(!report.broken().is_empty(), "{what:?} went unseen");
    }
}

#[test]
fn compute_market_with_the_same_seed_leaves_the_same_bytes() {
    let (one, again) = (compute_market(&Options::new(7, 2)), compute_market(&Options::new(7, 2)));
    assert_eq!(one.files(), again.files());
    assert_eq!(one.files().len(), 4);
}

#[test]
fn compute_market_keeps_every_invariant_and_pays_no_wrong_unit_whatever_the_chaos() {
    for (chaos, seed) in [(0, 2), (1, 1), (2, 2), (3, 2), (3, 3)] {
        let report = compute_market(&Options::new(seed, chaos));
        assert!(report.broken().is_empty(), "{seed}, {chaos}: {:?}", report.broken());
        let found = report.summary().contains("0 wrong units");
        assert_eq!(found, chaos == 0, "{}", report.summary());
    }
}

#[test]
fn compute_market_sees_every_kind_of_broken_invariant() {
    for what in [Sabotage::Conservation, Sabotage::Window, Sabotage::Statement] {
        let report = compute_market(&sabotaged(what));
        assert!(!report.broken().is_empty(), "{what:?} went unseen");
    }
}

#[test]
fn mine_to_pay_with_the_same_seed_leaves_the_same_bytes() {
    let (one, again) = (mine_to_pay(&Options::new(7, 1)), mine_to_pay(&Options::new(7, 1)));
    assert_eq!(one.files(), again.files());
    assert_eq!(one.files().len(), 4);
}

#[test]
fn mine_to_pay_keeps_every_invariant_whatever_the_chaos() {
    for chaos in 0..=3 {
        let report = mine_to_pay(&Options::new(2, chaos));
        assert!(report.broken().is_empty(), "{chaos}: {:?}", report.broken());
        // A house that stops paying is left.
        let stopped = !report.summary().contains(" 0 seconds stopped");
        assert_eq!(stopped, chaos > 0, "{}", report.summary());
    }
}

#[test]
fn mine_to_pay_sees_every_kind_of_broken_invariant() {
    for what in [Sabotage::Conservation, Sabotage::Window, Sabotage::Statement] {
        let report = mine_to_pay(&sabotaged(what));
        assert!(!report.broken().is_empty(), "{what:?} went unseen");
    }
}

#[test]
fn pool_with_the_same_seed_leaves_the_same_bytes() {
    let (one, again) = (pool(&Options::new(7, 2)), pool(&Options::new(7, 2)));
    assert_eq!(one.files(), again.files());
    assert_eq!(one.files().len(), 4);
}

#[test]
fn pool_owes_and_pays_to_the_millisatoshi_whatever_cheats_and_chaos_do() {
    for (chaos, seed) in [(0, 2), (1, 2), (3, 3)] {
        let report = pool(&Options::new(seed, chaos));
        assert!(report.broken().is_empty(), "{seed}, {chaos}: {:?}", report.broken());
        let found = report.summary().contains("refused: 0 sent twice");
        assert_eq!(found, chaos == 0, "{}", report.summary());
    }
}

#[test]
fn pool_sees_a_broken_invariant() {
    for what in [Sabotage::Conservation, Sabotage::Statement] {
        let report = pool(&sabotaged(what));
        assert!(!report.broken().is_empty(), "{what:?} went unseen");
    }
}

#[test]
fn committed_plot_is_what_the_example_draws_without_arguments() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ev_charger/charge.svg");
    let committed = std::fs::read_to_string(path).unwrap();
    let report = ev_charger(&Options::new(1, 1));
    let drawn = report.files().get("charge.svg").unwrap();
    let same = *drawn == committed;
    assert!(same, "run the example, and copy out/ev_charger/charge.svg to examples/ev_charger");
}

#[test]
fn readme_starts_with_hello_channel() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("there is no README.md");
    let example = std::fs::read_to_string(root.join("examples/hello_channel.rs")).unwrap();
    assert!(example.lines().count() <= 60, "hello_channel fits no screen");
    let (_, block) = readme.split_once("```rust\n").expect("README.md has no Rust code block");
    let (block, _) = block.split_once("```").expect("README.md's first code block has no end");
    assert_eq!(
        block, example,
        "README.md's first Rust code block is not examples/hello_channel.rs"
    );
}
