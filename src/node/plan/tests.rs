//! The planner's arithmetic, at both sides of each limit; the plans themselves are in `tests/`.

use bitcoin::hashes::Hash;
use bitcoin::{Amount, TxOut};

use super::weigh::{fee, pressed, rate_for};
use super::*;

fn rate(rate: u64) -> FeeRate {
    FeeRate::new(rate).unwrap()
}

fn sat(sat: u64) -> Sat {
    Sat::new(sat).unwrap()
}

fn height(height: u32) -> Height {
    Height::new(height).unwrap()
}

/// A P2TR till.
fn till() -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x51, 32][..], &[7; 32]].concat())
}

fn outlook(tip: u32, now: u64) -> Outlook {
    Outlook { tip: height(tip), rate: rate(now), forecast: None }
}

/// A channel with a P2TR change whose latest height is 100.
fn candidate(vout: u32, balance: u64) -> Candidate {
    Candidate {
        outpoint: OutPoint { txid: Txid::from_byte_array([1; 32]), vout },
        balance: sat(balance),
        weight: Weight::from_wu(603),
        pinnable: false,
        deadline: Some(height(126)),
        margin: Blocks::new(20).unwrap(),
        child_of: None,
        rival: None,
    }
}

fn coin(value: u64) -> FeeInput {
    let output = TxOut { value: Amount::from_sat(value), script_pubkey: till() };
    FeeInput::new(OutPoint { txid: Txid::from_byte_array([2; 32]), vout: 0 }, output).unwrap()
}

#[test]
fn rate_of_what_is_late_rises_by_a_half_every_three_blocks_up_to_the_largest() {
    let mut policy = Policy::new(till());
    policy.rate_max = rate(5_000);
    let at =
        |late: u32| pressed(&outlook(100 + late, 1_000), height(100), &policy).to_sat_per_kvb();
    let rates = [0, 2, 3, 5, 6, 9, 12, 100_000].map(at);
    assert_eq!(rates, [1_000, 1_000, 1_500, 1_500, 2_250, 3_375, 5_000, 5_000]);
    policy.rate_max = FeeRate::MAX;
    let at = |late: u32| pressed(&outlook(100 + late, 1_000), height(100), &policy);
    assert_eq!([17, 18, 21, 100_000].map(at), [7_593, 11_389, 11_389, 11_389].map(rate));
    // The smallest rate rises too, and a step of no blocks is one of a block.
    policy.raise_every = Blocks::MIN;
    assert_eq!(pressed(&outlook(102, 1), height(100), &policy), rate(3));
}

#[test]
fn rate_for_a_fee_is_the_least_that_pays_it() {
    for (want, weight) in [(1, 817), (204, 817), (205, 817), (9_968, 39_869), (0, 817)] {
        let found = rate_for(sat(want), weight);
        assert!(fee(found, weight) >= sat(want), "{want}");
        let less = found.to_sat_per_kvb().saturating_sub(1);
        assert!(FeeRate::new(less).map_or(true, |less| fee(less, weight) < sat(want)), "{want}");
    }
    assert_eq!(rate_for(Sat::MAX, 1), FeeRate::MAX);
}

#[test]
fn channel_settles_alone_down_to_its_fee_and_the_dust_limit() {
    let policy = Policy::new(till());
    let plan = |balance, tip| {
        let plan = Plan::of(&[candidate(0, balance)], &[], &[], &outlook(tip, 1_000), &policy);
        (plan.groups.len(), plan.waiting.len(), plan.unworthy.len())
    };
    // 205 of fee, 330 of dust; and not before its latest height.
    assert_eq!(plan(535, 99), (0, 1, 0));
    assert_eq!(plan(535, 100), (1, 0, 0));
    assert_eq!(plan(534, 100), (0, 0, 1));
    // What presses it takes all but the dust limit, and never makes it worthless.
    let late = Plan::of(&[candidate(0, 535)], &[], &[], &outlook(120, 1_000), &policy);
    assert_eq!(late.groups[0].brings, sat(330));
}

#[test]
fn small_balances_settle_together_and_none_that_is_below_its_part() {
    let policy = Policy::new(till());
    let small = |count, balance| (0..count).map(|n| candidate(n, balance)).collect::<Vec<_>>();
    let groups = |fleet: &[Candidate]| {
        let plan = Plan::of(fleet, &[], &[], &outlook(100, 1_000), &policy);
        (plan.groups.iter().map(|group| group.outpoints.len()).sum::<usize>(), plan.unworthy.len())
    };
    // Each brings 300 and costs 151; 54 for the frame and 330 of dust are left to carry.
    assert_eq!(groups(&small(2, 300)), (0, 2));
    assert_eq!(groups(&small(3, 300)), (3, 0));
    assert_eq!(groups(&small(60, 151)), (0, 60));
    // Where a transaction leaves anyway, a place in it is all that they cost.
    let mut fleet = small(3, 152);
    fleet.push(candidate(9, 10_000));
    assert_eq!(groups(&fleet), (4, 0));
}

#[test]
fn pending_is_raised_when_it_is_late_and_pays_clearly_too_little() {
    let (policy, fleet) = (Policy::new(till()), [candidate(0, 10_000)]);
    let txid = Txid::from_byte_array([3; 32]);
    let channels = Vec::from([fleet[0].outpoint]);
    let weight = Weight::from_wu(817);
    let sent = Pending { txid, channels, fee: sat(205), weight, seen: true };
    let raised = |pending: &Pending, tip, now| {
        let plan =
            Plan::of(&fleet, core::slice::from_ref(pending), &[], &outlook(tip, now), &policy);
        assert_eq!(plan.groups.len() + plan.in_flight.len(), 1, "{plan:?}");
        plan.groups.first().map(|group| group.rate.to_sat_per_kvb())
    };
    assert_eq!(raised(&sent, 99, 9_000), None);
    assert_eq!(raised(&sent, 100, 1_000), None);
    assert_eq!(raised(&sent, 100, 1_250), None);
    assert_eq!(raised(&sent, 100, 1_260), Some(1_260));
    assert_eq!(raised(&sent, 103, 1_000), Some(1_500));
    // All but the dust limit is 9,670 sat: at most 47,343 sat/kvB.
    assert_eq!(raised(&sent, 100, 900_000), Some(47_343));
    let most = Pending { fee: sat(9_660), ..sent.clone() };
    assert_eq!(raised(&most, 100, 900_000), None);
    // In no mempool, nothing needs to be outbid.
    let lost = Pending { fee: sat(9_660), seen: false, ..sent };
    assert_eq!(raised(&lost, 100, 47_000), None, "{lost:?}");
}

#[test]
fn coin_carries_a_raise_that_the_balance_cannot() {
    let policy = Policy::new(till());
    let fleet = [candidate(0, 1_000)];
    let channels = Vec::from([fleet[0].outpoint]);
    let txid = Txid::from_byte_array([3; 32]);
    let sent = Pending { txid, channels, fee: sat(660), weight: Weight::from_wu(817), seen: true };
    let plan = |coins: &[FeeInput]| {
        Plan::of(&fleet, core::slice::from_ref(&sent), coins, &outlook(100, 9_000), &policy)
    };
    assert_eq!((plan(&[]).groups.len(), plan(&[]).in_flight.len()), (0, 1));
    let with = plan(&[coin(5_000)]);
    let group = &with.groups[0];
    assert_eq!(group.coin, Some(coin(5_000).outpoint()));
    // 660 and its own relay of 262 vB at 0.1 sat/vB.
    assert_eq!((group.fee, group.brings), (sat(687), sat(5_313)), "{group:?}");
}

#[test]
fn groups_are_filled_one_after_the_other_where_that_is_cheaper() {
    // Late by 10, 6 and 11 blocks, and what presses is bounded by the balances: the first with the
    // second saves 546 sat, and with the third, which is what going by deadlines finds, 545.
    let fleet = [(116, 6_615), (120, 6_717), (115, 13_454)];
    let fleet: Vec<_> = (0..)
        .zip(fleet)
        .map(|(vout, (deadline, balance))| Candidate {
            deadline: Some(height(deadline)),
            ..candidate(vout, balance)
        })
        .collect();
    let mut policy = Policy::new(till());
    policy.similar = Blocks::new(4).unwrap();
    let plan = Plan::of(&fleet, &[], &[], &outlook(100, 11_283), &policy);
    let vouts = |group: &Group| group.outpoints.iter().map(|at| at.vout).collect::<Vec<_>>();
    let mut groups: Vec<_> = plan.groups.iter().map(vouts).collect();
    groups.sort_unstable();
    assert_eq!(groups, [Vec::from([0, 1]), Vec::from([2])]);
}
