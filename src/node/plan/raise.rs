//! Raising: what is pending stays, or is replaced by the same channels at a higher rate.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use bitcoin::OutPoint;

use super::group::{grouped, value};
use super::weigh::{self, Scale};
use super::{Candidate, Group, Outlook, Pending, Plan, Policy};
use crate::tx::FeeInput;
use crate::units::{FeeRate, Height, Sat};

/// Puts what is pending into its place; the rest comes back, in the order of the outpoints.
pub(super) fn raise<'a>(
    plan: &mut Plan,
    candidates: &'a [Candidate],
    pending: &[Pending],
    coins: &mut Vec<&FeeInput>,
    raising: &Raising<'_>,
) -> Vec<&'a Candidate> {
    let mut free: BTreeMap<OutPoint, &Candidate> =
        candidates.iter().map(|candidate| (candidate.outpoint, candidate)).collect();
    let mut pending: Vec<&Pending> = pending.iter().collect();
    // The dearest first: of two that spend one channel the other is replaced, or will be.
    pending.sort_by_key(|it| (Reverse(rate_of(it)), !it.seen, it.txid));
    let mut taken = BTreeSet::new();
    for it in pending {
        let members: Vec<&Candidate> =
            it.channels.iter().filter_map(|at| free.get(at).copied()).collect();
        let void = it.channels.iter().any(|at| taken.contains(at))
            || members.iter().any(|member| member.rival.is_some());
        // A rival voids the whole: its channels are settled anew.
        if void || members.is_empty() {
            continue;
        }
        taken.extend(it.channels.iter().copied());
        for at in &it.channels {
            free.remove(at);
        }
        match raising.raised(it, &members, coins) {
            Some(group) => plan.groups.push(group),
            None => plan.in_flight.extend(members.iter().map(|member| member.outpoint)),
        }
    }
    free.into_values().collect()
}

/// What a raise depends on.
#[derive(Debug)]
pub(super) struct Raising<'a> {
    pub(super) outlook: &'a Outlook,
    pub(super) policy: &'a Policy,
    pub(super) scale: &'a Scale,
}

impl Raising<'_> {
    /// What replaces `it`, if its most pressing channel is late, and it pays clearly too little.
    fn raised(
        &self,
        it: &Pending,
        members: &[&Candidate],
        coins: &mut Vec<&FeeInput>,
    ) -> Option<Group> {
        let latest = members.iter().filter_map(|member| member.latest(self.policy)).min()?;
        if self.outlook.tip < latest || members.iter().any(|member| member.deadline.is_none()) {
            return None;
        }
        let needed = weigh::pressed(self.outlook, latest, self.policy);
        // By a quarter at least: each replacement pays its own relay, and fee weather flickers.
        let now = rate_of(it).saturating_mul(5).checked_div(4)?;
        if needed.to_sat_per_kvb() < now {
            return None;
        }
        let weight = members
            .iter()
            .fold(self.scale.base(), |sum, member| sum.saturating_add(member.weight.to_wu()));
        let balance = members.iter().fold(Sat::ZERO, |sum, m| sum.saturating_add(m.balance));
        let by: Option<Height> = members.iter().filter_map(|member| member.settle_by()).min();
        let outpoints = || members.iter().map(|member| member.outpoint).collect();
        let replaces = Some(it.txid);
        let least = self.least(it, weight);
        let most = self.scale.affordable(balance, weight).unwrap_or(FeeRate::MIN);
        let rate = needed.max(least).min(most);
        if rate >= least && rate <= self.policy.rate_max && rate.to_sat_per_kvb() > rate_of(it) {
            let group = grouped(outpoints(), rate, weight, balance, None, by);
            return Some(Group { replaces, ..group });
        }
        let at = coins.iter().position(|coin| {
            let weight = weight.saturating_add(weigh::coin(coin));
            let rate = self.least(it, weight);
            weight <= weigh::hard_limit(false)
                && rate <= self.policy.rate_max
                && weigh::fee(rate, weight) < balance
                && self.scale.pays(balance.saturating_add(value(coin)), weight, rate)
        })?;
        let coin = coins.remove(at);
        let rate = self.least(it, weight.saturating_add(weigh::coin(coin)));
        let group = grouped(outpoints(), rate, weight, balance, Some(coin), by);
        Some(Group { replaces, ..group })
    }

    /// BIP125, rules 3 and 4: the fee of what is replaced, and the replacement's own relay.
    fn least(&self, it: &Pending, weight: u64) -> FeeRate {
        if !it.seen {
            return FeeRate::MIN;
        }
        let relay = weigh::fee(self.policy.relay_floor, weight);
        weigh::rate_for(it.fee.saturating_add(relay), weight)
    }
}

/// The rate that a pending transaction pays, rounded down, sat/kvB.
fn rate_of(it: &Pending) -> u64 {
    let rate = u128::from(it.fee.to_sat()).saturating_mul(4_000);
    let rate = rate.checked_div(u128::from(it.weight.to_wu().max(1))).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}
