//! Properties of the settlement planner on random fleets: every channel in one place, every group
//! built and weighed, nobody forgotten at its latest height, and never dearer than simpler rules.

mod tx_support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, ScriptBuf, Txid, Weight};
use millstream::node::plan::{Candidate, Cause, Forecast, Group, Outlook, Pending, Plan, Policy};
use millstream::tx::{FeeInput, Settled, Settlement, dust_limit};
use millstream::units::{Blocks, FeeRate, Height, Sat};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use tx_support::{bytes_of, channel, fee_coin, msat, p2tr, p2wpkh, sat, settled};

/// Channels that are made once: their vouchers cost a signature and a verification each.
const POOL: usize = 160;
/// A settlement of nothing to a P2TR till, and an input on the settle leaf.
const BASE: u64 = 214;
const INPUT: u64 = 431;
const TIP: u32 = 100_000;

/// Each channel of the pool with its best voucher: some are spent whole, some hold next to nothing.
static PARTS: LazyLock<Vec<Settled>> = LazyLock::new(|| {
    let make = |number: u64| {
        let kind = u8::try_from(number % 4).unwrap();
        let channel = channel(number, 20_000 + number * 7, kind);
        let most = channel.largest_with_change().to_msat();
        let paid = match number % 7 {
            0 => channel.capacity().to_msat(),
            1 => msat(100_000 + 9_000 * number),
            2 => msat(1 + number * 300_000 / 160),
            _ => msat(most * (number % 11 + 1) / 12),
        };
        settled(number, channel, paid)
    };
    (0..u64::try_from(POOL).unwrap()).map(make).collect()
});

fn part(outpoint: OutPoint) -> Settled {
    PARTS.iter().find(|part| part.channel().outpoint() == outpoint).unwrap().clone()
}

fn height(height: u32) -> Height {
    Height::new(height).unwrap()
}

fn blocks(blocks: u32) -> Blocks {
    Blocks::new(blocks).unwrap()
}

fn rate(rate: u64) -> FeeRate {
    FeeRate::new(rate).unwrap()
}

fn parent(number: u8) -> Txid {
    Txid::from_byte_array(bytes_of(9, u64::from(number)))
}

/// A channel of the pool whose deadline is `left` blocks after the tip, or which is in no block.
fn candidate(number: usize, left: u32, how: u8) -> Candidate {
    let part = &PARTS[number];
    let (channel, paid) = (part.channel(), part.voucher().voucher().paid);
    let change = channel.change_output(paid).unwrap();
    let change = change.map_or(0, |output| 4 * (9 + output.script_pubkey.len() as u64));
    let unconfirmed = how < 3;
    Candidate {
        outpoint: channel.outpoint(),
        balance: paid.floor_to_sat(),
        weight: Weight::from_wu(INPUT + change),
        pinnable: !number.is_multiple_of(4),
        deadline: (!unconfirmed).then(|| height(TIP + left)),
        margin: blocks(20),
        child_of: (how < 2).then(|| parent(how)),
        rival: (how == 3).then(|| parent(7)),
    }
}

/// A fleet and everything that a plan of it depends on.
#[derive(Debug, Clone)]
struct Case {
    candidates: Vec<Candidate>,
    pending: Vec<Pending>,
    coins: Vec<FeeInput>,
    outlook: Outlook,
    policy: Policy,
}

impl Case {
    fn plan(&self) -> Plan {
        Plan::of(&self.candidates, &self.pending, &self.coins, &self.outlook, &self.policy)
    }

    fn of(&self, outpoint: OutPoint) -> Candidate {
        *self.candidates.iter().find(|candidate| candidate.outpoint == outpoint).unwrap()
    }

    fn alone(&self, outpoint: OutPoint) -> u64 {
        BASE + self.of(outpoint).weight.to_wu()
    }

    fn latest(&self, candidate: &Candidate) -> Option<Height> {
        candidate.settle_by().map(|by| by.saturating_before(self.policy.lead))
    }

    /// The rate at which a channel settles if it is the only one; the market's if it does not.
    fn own_rate(&self, outpoint: OutPoint) -> FeeRate {
        let only = [self.of(outpoint)];
        let plan = Plan::of(&only, &[], &[], &self.outlook, &self.policy);
        plan.groups.first().map_or(self.outlook.rate, |group| group.rate)
    }
}

fn case() -> impl Strategy<Value = Case> {
    let channel = (0..POOL, prop_oneof![0_u32..60, 0_u32..3_000], 0_u8..40);
    let fleet = prop::collection::vec(channel, 1..POOL);
    let pending =
        prop::collection::vec((0_usize..90, 1_usize..70, 0_u64..30_000, any::<bool>()), 0..4);
    let chain = (100_u64..20_000, prop::option::of((0_u32..400, 100_u64..20_000)));
    let likes = (0_u32..300, prop_oneof![Just(u64::MAX), 1_000_u64..30_000], 0_u8..3, 0_u32..1_500);
    let coins = prop::collection::vec(400_u64..3_000, 0..3);
    (fleet, pending, chain, likes, coins).prop_map(|(fleet, pending, chain, likes, coins)| {
        let mut seen = BTreeSet::new();
        let candidates: Vec<_> = fleet
            .into_iter()
            .filter(|(number, ..)| seen.insert(*number))
            .map(|(number, left, how)| candidate(number, left, how))
            .collect();
        let pending = pending
            .into_iter()
            .zip(100_u8..)
            .map(|((from, count, fee, seen), n)| {
                let channels: Vec<OutPoint> = candidates
                    .iter()
                    .skip(from)
                    .take(count)
                    .filter(|candidate| candidate.deadline.is_some())
                    .map(|candidate| candidate.outpoint)
                    .take(60)
                    .collect();
                let weight = Weight::from_wu(BASE + 603 * channels.len().max(1) as u64);
                Pending { txid: parent(n), channels, fee: sat(fee), weight, seen }
            })
            .collect();
        let coins = coins.iter().zip(0_u64..).map(|(v, n)| fee_coin(n, *v, n % 2 == 0)).collect();
        let forecast =
            chain.1.map(|(from, at)| Forecast { from: height(TIP + from), rate: rate(at) });
        let outlook = Outlook { tip: height(TIP), rate: rate(chain.0), forecast };
        let mut policy = Policy::new(p2tr(77));
        policy.similar = blocks(likes.0);
        policy.balance_max = Sat::new(likes.1).unwrap_or(Sat::MAX);
        policy.coins_max = likes.2;
        policy.early = blocks(likes.3);
        Case { candidates, pending, coins, outlook, policy }
    })
}

/// The transaction that a group stands for, to the till of the policy.
fn built(group: &Group, case: &Case) -> Settlement {
    let parts = group.outpoints.iter().map(|outpoint| part(*outpoint)).collect();
    let coins: Vec<_> =
        case.coins.iter().filter(|coin| group.coin == Some(coin.outpoint())).cloned().collect();
    Settlement::at_rate(parts, &coins, case.policy.till.clone(), group.rate).unwrap()
}

fn check_group(group: &Group, case: &Case) {
    let tx = built(group, case);
    assert_eq!(tx.transaction().weight(), group.weight);
    assert_eq!(tx.fee().unwrap(), group.fee);
    let output = tx.transaction().output.last().unwrap();
    assert_eq!(sat(output.value.to_sat()), group.brings);
    assert!(group.brings >= dust_limit(&case.policy.till));
    let members: Vec<_> = group.outpoints.iter().map(|outpoint| case.of(*outpoint)).collect();
    let balance: u64 = members.iter().map(|member| member.balance.to_sat()).sum();
    assert!(group.fee.to_sat() <= balance, "a fee of {} for {balance}", group.fee);
    let by = members.iter().filter_map(Candidate::settle_by).min();
    assert_eq!(group.confirm_by, by);
    if members.iter().any(|member| member.deadline.is_none()) {
        assert!(group.weight.to_vbytes_ceil() <= 1_000);
        let parents: BTreeSet<_> = members.iter().map(|member| member.child_of.unwrap()).collect();
        assert_eq!(parents.len(), 1);
        return;
    }
    if group.replaces.is_some() {
        return;
    }
    let room = 272 * u64::from(case.policy.coins_max);
    if group.coin.is_none() {
        assert!(group.weight.to_wu() + room <= 40_000, "{}", group.weight);
    }
    let deadlines = || members.iter().filter_map(|member| member.deadline);
    let apart = deadlines().max().unwrap().saturating_since(deadlines().min().unwrap());
    assert!(apart <= case.policy.similar);
    assert!(members.len() == 1 || members.iter().all(|member| member.rival.is_none()));
}

/// The rule without a planner: what is due goes by outpoint into the transaction that is being
/// filled, and into the next one when that is full; at the rate of the most pressing.
fn naive_fee(outpoints: &[OutPoint], case: &Case) -> u64 {
    let fee = |chunk: &[Candidate]| {
        let weight: u64 = chunk.iter().map(|member| member.weight.to_wu()).sum();
        let rate = chunk.iter().map(|member| case.own_rate(member.outpoint)).max();
        rate.map_or(0, |rate| rate.ceil_fee(BASE + weight).unwrap().to_sat())
    };
    let room = 40_000 - 272 * u64::from(case.policy.coins_max);
    let mut sorted = outpoints.to_vec();
    sorted.sort_unstable();
    let (mut chunk, mut total): (Vec<Candidate>, u64) = (Vec::new(), 0);
    for outpoint in sorted {
        let next = case.of(outpoint);
        let weight: u64 = chunk.iter().chain([&next]).map(|member| member.weight.to_wu()).sum();
        let deadlines = || chunk.iter().chain([&next]).filter_map(|member| member.deadline);
        let apart = deadlines().max().unwrap().saturating_since(deadlines().min().unwrap());
        if BASE + weight > room || apart > case.policy.similar {
            total += fee(&chunk);
            chunk.clear();
        }
        chunk.push(next);
    }
    total + fee(&chunk)
}

fn cases(cases: u32) -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("regressions");
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(kept)),
        source_file: Some(file!()),
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn every_channel_is_in_exactly_one_place(case in case()) {
        let plan = case.plan();
        let mut places: Vec<OutPoint> =
            plan.groups.iter().flat_map(|group| group.outpoints.clone()).collect();
        places.extend(plan.waiting.iter().map(|waiting| waiting.outpoint));
        places.extend(&plan.in_flight);
        places.extend(&plan.unworthy);
        places.sort_unstable();
        let mut all: Vec<_> = case.candidates.iter().map(|candidate| candidate.outpoint).collect();
        all.sort_unstable();
        prop_assert_eq!(places, all);
        let coins: Vec<_> = plan.groups.iter().filter_map(|group| group.coin).collect();
        let once: BTreeSet<_> = coins.iter().collect();
        prop_assert_eq!(once.len(), coins.len());
    }

    #[test]
    fn group_is_built_in_its_limits_with_the_weight_and_the_fee_that_it_states(case in case()) {
        let plan = case.plan();
        plan.groups.iter().for_each(|group| check_group(group, &case));
        let children: Vec<_> = plan.groups.iter()
            .filter_map(|group| case.of(group.outpoints[0]).child_of).collect();
        let parents: BTreeSet<_> = children.iter().collect();
        prop_assert_eq!(parents.len(), children.len());
    }

    #[test]
    fn channel_that_is_worth_it_does_not_pass_its_latest_height(case in case()) {
        let plan = case.plan();
        let settled: BTreeSet<_> = plan.groups.iter().flat_map(|group| &group.outpoints).collect();
        for candidate in &case.candidates {
            let late = case.latest(candidate).is_some_and(|latest| latest <= case.outlook.tip);
            let cost = case.outlook.rate.ceil_fee(case.alone(candidate.outpoint)).unwrap();
            let floor = cost.saturating_add(dust_limit(&case.policy.till));
            let flies = plan.in_flight.contains(&candidate.outpoint);
            if late && candidate.balance >= floor {
                prop_assert!(settled.contains(&candidate.outpoint) || flies, "{candidate:?}");
            }
            let waits = plan.waiting.iter().find(|it| it.outpoint == candidate.outpoint);
            if let Some(waiting) = waits {
                prop_assert!(!late, "{waiting:?}");
                prop_assert!(waiting.until.is_none_or(|until| Some(until) <= waiting.latest));
                prop_assert!(waiting.until.is_none_or(|until| until > case.outlook.tip));
            }
        }
    }

    #[test]
    fn plan_is_the_same_in_every_order(case in case(), at in any::<prop::sample::Index>()) {
        let mut other = case.clone();
        let middle = at.index(other.candidates.len());
        other.candidates.rotate_left(middle);
        other.candidates.reverse();
        other.pending.reverse();
        prop_assert_eq!(case.plan(), other.plan());
    }

    #[test]
    fn fees_are_never_above_those_of_one_by_one(case in case()) {
        let alone = |outpoint: &OutPoint| {
            case.own_rate(*outpoint).ceil_fee(case.alone(*outpoint)).unwrap().to_sat()
        };
        let plan = case.plan();
        let anew = plan.groups.iter().filter(|it| it.replaces.is_none() && it.coin.is_none());
        let (mut fees, mut apart) = (0, 0);
        for group in anew {
            fees += group.fee.to_sat();
            apart += group.outpoints.iter().map(alone).sum::<u64>();
        }
        prop_assert!(fees <= apart, "{fees} > {apart}");
    }

    #[test]
    fn fees_are_never_above_those_of_the_naive_rule(mut case in case()) {
        // What must settle, and is worth it alone: the naive rule knows nothing else.
        case.policy.early = blocks(0);
        let worth = |it: &Candidate| {
            let cost = case.outlook.rate.ceil_fee(BASE + it.weight.to_wu()).unwrap();
            it.balance >= cost.saturating_add(dust_limit(&case.policy.till))
        };
        case.candidates.retain(worth);
        let plan = Plan::of(&case.candidates, &[], &[], &case.outlook, &case.policy);
        let plain = |group: &&Group| {
            let first = case.of(group.outpoints[0]);
            first.deadline.is_some() && first.rival.is_none()
        };
        let groups: Vec<_> = plan.groups.iter().filter(plain).collect();
        let fees: u64 = groups.iter().map(|group| group.fee.to_sat()).sum();
        let settled: Vec<_> = groups.iter().flat_map(|group| group.outpoints.clone()).collect();
        let naive = naive_fee(&settled, &case);
        prop_assert!(fees <= naive, "{fees} > {naive}, {} groups", groups.len());
    }

    #[test]
    fn raise_is_late_and_pays_what_replacing_takes(case in case()) {
        let plan = case.plan();
        let pending: BTreeMap<_, _> = case.pending.iter().map(|it| (it.txid, it)).collect();
        for group in plan.groups.iter().filter(|group| group.replaces.is_some()) {
            let before = pending[&group.replaces.unwrap()];
            let members: BTreeSet<_> = group.outpoints.iter().collect();
            prop_assert_eq!(&members, &before.channels.iter().collect());
            let latest = group.outpoints.iter().filter_map(|at| case.latest(&case.of(*at))).min();
            prop_assert!(latest.unwrap() <= case.outlook.tip);
            if before.seen {
                let relay = case.policy.relay_floor.ceil_fee(group.weight.to_wu()).unwrap();
                prop_assert!(group.fee >= before.fee.saturating_add(relay));
            }
        }
    }

    #[test]
    fn risks_name_the_whole_balance_once_and_what_is_unsecured(case in case()) {
        let plan = case.plan();
        for candidate in &case.candidates {
            let risks: Vec<_> =
                plan.risks.iter().filter(|risk| risk.outpoint == candidate.outpoint).collect();
            let whole = if candidate.deadline.is_some() { Cause::Refund } else { Cause::ZeroConf };
            prop_assert_eq!((risks[0].cause, risks[0].amount), (whole, candidate.balance));
            let cost = case.outlook.rate.ceil_fee(case.alone(candidate.outpoint)).unwrap();
            let secured = candidate.balance >= cost.saturating_add(dust_limit(&case.policy.till));
            prop_assert_eq!(risks.iter().any(|risk| risk.cause == Cause::Fee), !secured);
            let pinned = risks.iter().any(|risk| risk.cause == Cause::Pinning);
            prop_assert_eq!(pinned, secured && candidate.pinnable);
            prop_assert!(risks.iter().all(|risk| risk.until == candidate.deadline));
            prop_assert!(risks.iter().all(|risk| risk.amount <= candidate.balance));
        }
    }
}

/// `count` rich channels of one change kind, all late by one block; alike to the planner.
fn alike(count: u32, change: u64, till: ScriptBuf) -> Plan {
    let candidates: Vec<_> = (0..count)
        .map(|n| Candidate {
            outpoint: OutPoint { txid: parent(1), vout: n },
            balance: sat(10_000),
            weight: Weight::from_wu(INPUT + change),
            pinnable: false,
            deadline: Some(height(TIP + 25)),
            margin: blocks(20),
            child_of: None,
            rival: None,
        })
        .collect();
    let outlook = Outlook { tip: height(TIP), rate: rate(1_000), forecast: None };
    Plan::of(&candidates, &[], &[], &outlook, &Policy::new(till))
}

#[test]
fn group_holds_65_channels_with_p2tr_changes_and_room_for_two_coins() {
    let sizes = |plan: &Plan| plan.groups.iter().map(|it| it.outpoints.len()).collect::<Vec<_>>();
    assert_eq!(sizes(&alike(65, 172, p2tr(1))), [65]);
    assert_eq!(sizes(&alike(66, 172, p2tr(1))), [65, 1]);
    // With P2WPKH changes 71 leave room for one coin, 70 for two.
    assert_eq!(sizes(&alike(71, 124, p2tr(1))), [70, 1]);
    assert_eq!(sizes(&alike(92, 0, p2wpkh(1))), [91, 1]);
}
