//! The swap on two simulated chains: each party's power goes at each of its commits, before it and
//! after it, while the two talk, while the chains decide, and while holds are published against the
//! rules; it comes back at once, in time, in the last block of all, or never. Both legs are paid or
//! neither; and who was there never loses.
//!
//! The world is the example's.

#[path = "../examples/swap/app/mod.rs"]
mod app;
#[allow(dead_code, reason = "tariffs and books of one-way channels are the other examples'")]
#[path = "../examples/common/mod.rs"]
mod common;

use std::collections::BTreeMap;

use app::chains::Weather;
use app::party::{Cut, Lie};
use app::purse::Leg;
use app::story::{Episode, Told, Want};
use app::world::{ALICE, BOB, Back, Plan, Stage0, Vanish, World, secret};

fn play(stage: &Stage0, title: &'static str, plan: Plan, want: Want, seed: u64) -> Told {
    let outcome = World::new(stage, plan, seed).unwrap().play(secret(seed)).unwrap();
    Told::judge(Episode { name: title, title, plan, want, refunds: false }, outcome)
}

const ALL: [Back; 4] = [Back::Soon, Back::InTime, Back::Last, Back::Never];

/// Cuts the power of both at every commit of `base`, and sees who comes to what.
fn every_commit(title: &'static str, base: Plan, backs: &[Back]) -> BTreeMap<&'static str, u32> {
    let stage = Stage0::new().unwrap();
    let whole = play(&stage, title, base, Want::Same, 1);
    assert_eq!(whole.broken, [""; 0], "{title} without a cut");
    let mut ends = BTreeMap::new();
    for who in [ALICE, BOB] {
        for at in 1..=whole.outcome.commits[who] {
            for cut in [Cut::Before, Cut::After] {
                for &back in backs {
                    // Bob's policy does not count on it; Alice's claim is all that she needs.
                    if (who, back) == (BOB, Back::Last) {
                        continue;
                    }
                    let vanish = Some(Vanish { who, at, cut, back });
                    let want = match back {
                        Back::Soon | Back::InTime | Back::Last => Want::Same,
                        Back::Never => Want::NotTheOther { gone: who },
                    };
                    let told = play(&stage, title, Plan { vanish, ..base }, want, 1);
                    assert_eq!(told.broken, [""; 0], "{title}: {vanish:?}");
                    *ends.entry(told.verdict()).or_default() += 1;
                }
            }
        }
    }
    println!("{title}: {ends:?}");
    ends
}

fn sum(ends: &BTreeMap<&'static str, u32>) -> u32 {
    ends.values().sum()
}

#[test]
fn power_cut_at_any_commit_of_a_swap_off_the_chain_leaves_both_legs_or_neither() {
    let ends = every_commit("off the chain", Plan::calm(), &ALL);
    assert!(ends["both are paid"] > 20, "{ends:?}");
    assert!(ends["neither is paid"] > 20, "{ends:?}");
    assert!(sum(&ends) > 80, "{ends:?}");
}

#[test]
fn power_cut_at_any_commit_of_a_swap_on_the_chains_leaves_both_legs_or_neither() {
    let ends = every_commit("on the chains", Plan { deaf: true, ..Plan::calm() }, &ALL);
    assert!(ends["both are paid"] > 60, "{ends:?}");
    assert!(sum(&ends) > 150, "{ends:?}");
}

#[test]
fn power_cut_at_any_commit_in_the_worst_weather_leaves_both_legs_or_neither() {
    let worst = Plan { weather: Weather::Worst, deaf: true, ..Plan::calm() };
    let ends = every_commit("worst weather", worst, &[Back::InTime, Back::Last]);
    assert!(ends["both are paid"] > 60, "{ends:?}");
}

#[test]
fn power_cut_at_any_commit_around_published_holds_takes_both_back() {
    let publish = Some(Lie::Publish);
    let plan = Plan { lies: [publish, publish], ..Plan::calm() };
    let ends = every_commit("published", plan, &[Back::Soon, Back::Never]);
    assert_eq!(ends.keys().copied().collect::<Vec<_>>(), ["neither is paid"]);
}

#[test]
fn swap_with_any_lie_and_any_seed_pays_neither_leg() {
    let stage = Stage0::new().unwrap();
    for seed in 1..=5 {
        for who in [ALICE, BOB] {
            for lie in [Lie::Hash, Lie::Amount, Lie::Expiry] {
                let mut plan = Plan::calm();
                plan.lies[who] = Some(lie);
                let told = play(&stage, "lie", plan, Want::Neither, seed);
                assert_eq!(told.broken, [""; 0], "{who} {lie:?} {seed}");
            }
        }
        for plan in [Plan::calm(), Plan { deaf: true, reorg: 2, ..Plan::calm() }] {
            let told = play(&stage, "honest", plan, Want::Both, seed);
            assert_eq!(told.broken, [""; 0], "{plan:?} {seed}");
        }
    }
}

#[test]
fn secret_that_is_told_at_the_last_moment_leaves_the_responder_its_claim() {
    let stage = Stage0::new().unwrap();
    // Commit 5 of Alice's is her payee's, with the preimage: it is gone before it says so.
    let vanish = Some(Vanish { who: ALICE, at: 5, cut: Cut::After, back: Back::Last });
    let plan = Plan { weather: Weather::Worst, vanish, deaf: true, ..Plan::calm() };
    let told = play(&stage, "last", plan, Want::Both, 1);
    assert_eq!(told.broken, [""; 0]);
    let [first, second] = told.outcome.purses.map(|purse| purse.spent);
    let (t1, t2) = (told.outcome.deal.first.expiry, told.outcome.deal.second.expiry);
    assert_eq!(second, Some((t2.to_u32(), true)), "the last block of Alice's claim");
    let (at, claimed) = first.unwrap();
    assert!(claimed && at <= t1.to_u32(), "{at}");
}

#[test]
fn responder_that_never_comes_back_is_the_only_one_who_can_lose() {
    let stage = Stage0::new().unwrap();
    let vanish = Some(Vanish { who: BOB, at: 5, cut: Cut::Before, back: Back::Never });
    let plan = Plan { vanish, ..Plan::calm() };
    let told = play(&stage, "never", plan, Want::NotTheOther { gone: BOB }, 1);
    assert_eq!(told.broken, [""; 0]);
    assert_eq!(told.legs, [Leg::Kept, Leg::Paid]);
    // Judged as one who is there, it would be seen.
    let told = play(&stage, "never", plan, Want::Same, 1);
    assert_eq!(told.broken, ["one leg was paid, and the other was not"]);
}
