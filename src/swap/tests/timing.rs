//! The rules between the two clocks, each at its last good value and its first bad one.

use super::*;

fn respond(deal: Deal, tips: Tips) -> Result<Swap, SwapError> {
    Swap::respond(deal, &policy(), &tips).map(|step| *step.swap())
}

fn initiate(deal: Deal, tips: Tips) -> Result<Swap, SwapError> {
    Swap::initiate(secret(7), deal, &policy(), &tips).map(|step| *step.swap())
}

fn with_first(change: impl Fn(&mut Leg)) -> Deal {
    let mut deal = deal();
    change(&mut deal.first);
    deal
}

fn with_second(change: impl Fn(&mut Leg)) -> Deal {
    let mut deal = deal();
    change(&mut deal.second);
    deal
}

#[test]
fn first_leg_that_ends_a_block_early_is_refused_by_the_responder() {
    assert!(respond(deal(), start()).is_ok());
    let early = with_first(|leg| leg.expiry = at(T1 - 1));
    let near = SwapError::ExpiryTooNear { got: at(T1 - 1), want: at(T1) };
    assert_eq!(respond(early, start()), Err(near));
    // The initiator loses nothing by it.
    assert!(initiate(early, start()).is_ok());
}

#[test]
fn first_expiry_counts_every_block_that_the_responder_needs() {
    let (k, margin) = (ClaimDelay::new(12).unwrap(), blocks(8));
    let want = |policy: Policy, tips: Tips, k, margin| {
        policy.first_expiry(at(T2), k, margin, &tips).unwrap().to_u32()
    };
    assert_eq!(want(policy(), start(), k, margin), T1);
    assert_eq!(want(policy(), start(), ClaimDelay::new(13).unwrap(), margin), T1 + 1);
    assert_eq!(want(policy(), start(), k, blocks(9)), T1 + 1);
    assert_eq!(want(policy(), tips(FIRST + 1, SECOND), k, margin), T1 + 1);
    let changed = |change: &dyn Fn(&mut Policy)| {
        let mut policy = policy();
        change(&mut policy);
        want(policy, start(), k, margin)
    };
    assert_eq!(changed(&|policy| policy.first.settling = blocks(7)), T1 + 1);
    // 23,625 s fill 59.06 blocks of 400 s: a block of the second chain is 0.56 of one.
    assert_eq!(changed(&|policy| policy.second.reaction = blocks(7)), T1);
    assert_eq!(changed(&|policy| policy.second.reaction = blocks(8)), T1 + 1);
    assert_eq!(changed(&|policy| policy.second.depth = blocks(6)), T1 + 1);
    assert_eq!(changed(&|policy| policy.second.slack = seconds(2_175)), T1);
    assert_eq!(changed(&|policy| policy.second.slack = seconds(2_176)), T1 + 1);
    assert_eq!(changed(&|policy| policy.first.slack = seconds(7_576)), T1 + 1);
    assert_eq!(changed(&|policy| policy.second.slow = seconds(231)), T1 + 1);
    assert_eq!(changed(&|policy| policy.first.fast = seconds(393)), T1 + 1);
    // Time that passes as it should asks for nothing more; a first chain that runs ahead does.
    assert_eq!(want(policy(), tips(FIRST + 5, SECOND + 20), k, margin), T1 - 7);
    assert_eq!(want(policy(), tips(FIRST + 5, SECOND), k, margin), T1 + 5);
}

#[test]
fn any_run_of_blocks_within_both_paces_leaves_the_responder_its_blocks() {
    // The slowest second chain against the fastest first one, block by block, as integers.
    let (policy, deal) = (policy(), deal());
    let last = T2 + 6 + 4 - SECOND;
    let latest = 225 * u64::from(last) + 1_800;
    let needed = T1 - 12 - 8 - 6;
    let earliest = 400 * u64::from(needed - FIRST) - 7_200;
    assert!(earliest >= latest, "{earliest} {latest}");
    assert!(earliest - 400 < latest, "a block less would do");
    assert!(Swap::respond(deal, &policy, &start()).is_ok());
}

#[test]
fn secret_is_shown_until_the_last_block_in_which_the_second_leg_can_be_enforced() {
    let waiting = initiator().after(&[Input::Offered { id: id(5) }]);
    let seen = |second| Input::Held { hold: second_hold(), tips: tips(FIRST, second) };
    let fulfil = Duty::Fulfil { incoming: id(9), preimage: secret(7) };
    let won = waiting.after(&[seen(REVEAL_BY - 1)]);
    assert_eq!(won.due(tips(FIRST, REVEAL_BY - 1)), [fulfil]);
    let mut late = waiting;
    let error = late.take(seen(REVEAL_BY));
    assert_eq!(error, Err(SwapError::TooLate { tip: at(REVEAL_BY), by: at(REVEAL_BY) }));
    // Won in time and told too late: it is not told at all.
    let settle = Duty::Settle { incoming: id(9), by: at(REVEAL_BY + 6) };
    assert_eq!(won.due(tips(FIRST, REVEAL_BY)), [settle]);
    // Each block that a claim needs comes off it.
    let reveal_by = |deal: Deal| policy().reveal_by(&deal.second).to_u32();
    assert_eq!(reveal_by(deal()), REVEAL_BY);
    assert_eq!(reveal_by(with_second(|leg| leg.delay = ClaimDelay::new(17).unwrap())), 5_022);
    assert_eq!(reveal_by(with_second(|leg| leg.margin = blocks(11))), 5_022);
    assert_eq!(reveal_by(with_second(|leg| leg.expiry = at(T2 + 1))), 5_024);
}

#[test]
fn responder_that_knows_the_secret_is_told_to_settle_before_its_last_block() {
    let won = states()[12].1;
    let settle = Duty::Settle { incoming: id(5), by: at(T1 - 20) };
    assert!(!won.due(tips(T1 - 27, SECOND)).contains(&settle));
    assert!(won.due(tips(T1 - 26, SECOND)).contains(&settle));
}

#[test]
fn deal_without_time_to_show_the_secret_is_refused_by_both() {
    let (good, bad) = (tips(FIRST, REVEAL_BY - 1), tips(FIRST, REVEAL_BY));
    assert!(initiate(deal(), good).is_ok());
    assert!(respond(deal(), good).is_ok());
    let late = SwapError::TooLate { tip: at(REVEAL_BY), by: at(REVEAL_BY) };
    assert_eq!(initiate(deal(), bad), Err(late));
    assert_eq!(respond(deal(), bad), Err(late));
}

#[test]
fn claims_delay_of_the_own_hold_is_above_reaction_and_depth() {
    let k = |k| ClaimDelay::new(k).unwrap();
    assert!(initiate(with_first(|leg| leg.delay = k(10)), start()).is_ok());
    let short = SwapError::DelayShort { k: 9, above: blocks(9) };
    assert_eq!(initiate(with_first(|leg| leg.delay = k(9)), start()), Err(short));
    assert!(respond(with_second(|leg| leg.delay = k(11)), start()).is_ok());
    let short = SwapError::DelayShort { k: 10, above: blocks(10) };
    assert_eq!(respond(with_second(|leg| leg.delay = k(10)), start()), Err(short));
}

#[test]
fn own_hold_does_not_lock_longer_than_the_policy_allows() {
    // 86 blocks of 900 s and 7,200 s; 55 of 225 s and 1,800 s.
    for (role, lasts) in [(true, 84_600), (false, 14_175)] {
        for (max, fits) in [(lasts, true), (lasts - 1, false)] {
            let policy = Policy { lock_max: seconds(max), ..policy() };
            let begun = if role {
                Swap::initiate(secret(7), deal(), &policy, &start())
            } else {
                Swap::respond(deal(), &policy, &start())
            };
            let long = SwapError::LockTooLong { lasts: seconds(lasts), max: seconds(max) };
            assert_eq!(begun.err(), (!fits).then_some(long));
        }
    }
}

#[test]
fn nobody_offers_or_tells_while_a_chain_stands_still() {
    let aged = |first: u64, second: u64| {
        let mut tips = start();
        tips.first.time = UtcSeconds::new(NOW - first).unwrap();
        tips.second.time = UtcSeconds::new(NOW - second).unwrap();
        tips
    };
    // 900 + 7,200 and 225 + 1,800 seconds.
    assert!(initiate(deal(), aged(8_100, 2_025)).is_ok());
    assert!(respond(with_first(|leg| leg.expiry = at(T1 + 20)), aged(8_100, 2_025)).is_ok());
    for (first, second, age, max) in [(8_101, 0, 8_101, 8_100), (0, 2_026, 2_026, 2_025)] {
        let stalled = SwapError::StalledTip { age: seconds(age), max: seconds(max) };
        assert_eq!(respond(deal(), aged(first, second)), Err(stalled));
        assert_eq!(initiate(deal(), aged(first, second)), Err(stalled));
        assert!(states()[8].1.due(aged(first, second)).is_empty());
    }
    // The second chain's money is all that the secret is shown for.
    let fulfil = Duty::Fulfil { incoming: id(9), preimage: secret(7) };
    assert_eq!(states()[2].1.due(aged(8_101, 2_025)), [fulfil]);
    assert!(states()[2].1.due(aged(0, 2_026)).is_empty());
}

#[test]
fn blocks_that_a_chain_may_hide_count_as_if_they_were_there() {
    let (k, margin) = (ClaimDelay::new(12).unwrap(), blocks(8));
    let aged = |age: u64| {
        let mut tips = start();
        tips.first.time = UtcSeconds::new(NOW - age).unwrap();
        tips
    };
    // 23,625 s of 60 blocks of 400 s leave 375 s.
    for (age, more) in [(0, 0), (375, 0), (376, 1), (775, 1), (776, 2), (8_100, 20)] {
        let want = policy().first_expiry(at(T2), k, margin, &aged(age));
        assert_eq!(want, Ok(at(T1 + more)), "{age}");
        let ending = |expiry| respond(with_first(|leg| leg.expiry = at(expiry)), aged(age));
        assert!(ending(T1 + more).is_ok());
        let (got, want) = (at(T1 + more - 1), at(T1 + more));
        assert_eq!(ending(T1 + more - 1), Err(SwapError::ExpiryTooNear { got, want }));
    }
}

#[test]
fn tip_that_is_dated_ahead_of_the_time_is_refused() {
    let now = UtcSeconds::new(NOW).unwrap();
    let time = UtcSeconds::new(NOW + 1).unwrap();
    let ahead = Err(SwapError::TipAhead { time, now });
    let (mut first, mut second) = (start(), start());
    (first.first.time, second.second.time) = (time, time);
    for tips in [first, second] {
        assert_eq!(respond(deal(), tips), ahead);
        assert_eq!(initiate(deal(), tips), ahead);
        assert!(states()[8].1.due(tips).is_empty());
    }
    let (k, margin) = (ClaimDelay::new(12).unwrap(), blocks(8));
    assert_eq!(
        policy().first_expiry(at(T2), k, margin, &first).map(|_| ()),
        ahead.map(|_: Swap| ())
    );
    // The secret is not shown for a second chain of unknown age.
    assert!(states()[2].1.due(second).is_empty());
}

#[test]
fn hold_that_is_less_than_agreed_is_refused() {
    let first = first_hold();
    let want = sat(100_000);
    let cases = [
        (Hold { hash: secret(8).hash(), ..first }, SwapError::WrongHash { want: first.hash }),
        (Hold { amount: sat(99_999), ..first }, SwapError::Underpaid { got: sat(99_999), want }),
        (
            Hold { expiry: at(T1 - 1), ..first },
            SwapError::EndsEarly { got: at(T1 - 1), want: at(T1) },
        ),
        (
            Hold { delay: ClaimDelay::new(13).unwrap(), ..first },
            SwapError::ClaimsLate { got: 13, want: 12 },
        ),
    ];
    for (hold, error) in cases {
        let mut swap = responder();
        assert_eq!(swap.take(held(hold)), Err(error));
        assert_eq!(swap, responder());
    }
    for better in [
        Hold { amount: sat(100_001), ..first },
        Hold { expiry: at(T1 + 1), ..first },
        Hold { delay: ClaimDelay::new(11).unwrap(), ..first },
    ] {
        responder().take(held(better)).unwrap();
    }
    let mut waiting = initiator().after(&[Input::Offered { id: id(5) }]);
    let less = Hold { amount: sat(6_999_999), ..second_hold() };
    let want = sat(7_000_000);
    assert_eq!(waiting.take(held(less)), Err(SwapError::Underpaid { got: less.amount, want }));
}

#[test]
fn policy_without_time_and_heights_above_all_are_errors() {
    type Change = fn(&mut Pace);
    let changes: [Change; 5] = [
        |pace| pace.fast = seconds(0),
        |pace| pace.slow = seconds(99),
        |pace| pace.reaction = blocks(0),
        |pace| pace.settling = blocks(0),
        |pace| pace.depth = blocks(0),
    ];
    for change in changes {
        for first in [true, false] {
            let mut policy = policy();
            change(if first { &mut policy.first } else { &mut policy.second });
            let refused = Swap::respond(deal(), &policy, &start());
            assert!(matches!(refused, Err(SwapError::Pace { .. })), "{refused:?}");
        }
    }
    let none = SwapError::NoHeight { second: at(T2) };
    let (k, margin) = (ClaimDelay::new(12).unwrap(), blocks(8));
    for slow in [u64::MAX, u64::MAX / 100] {
        let mut policy = policy();
        policy.second.slow = Seconds::new(slow).unwrap_or(Seconds::MAX);
        assert_eq!(policy.first_expiry(at(T2), k, margin, &start()), Err(none));
    }
    let top = tips(499_999_980, SECOND);
    assert_eq!(policy().first_expiry(at(T2), k, margin, &top), Err(none));
    assert_eq!(
        Swap::initiate(secret(8), deal(), &policy(), &start()).map(|_| ()),
        Err(SwapError::Tx(crate::tx::TxError::WrongPreimage { want: deal().hash }))
    );
}
