//! Grouping: who is due, who is worth it, and who goes with whom.

use alloc::vec::Vec;

use bitcoin::{OutPoint, Txid, Weight};

use super::weigh::{self, Scale};
use super::{Candidate, Group, Outlook, Plan, Policy, Waiting};
use crate::tx::FeeInput;
use crate::units::{FeeRate, Height, Sat};

/// Where a channel stands at this tip.
#[derive(Debug, Clone, Copy)]
enum Stand {
    /// Settles, at this rate if it were alone.
    Now(FeeRate),
    /// Has time until a height; joins a group at the chain's own rate.
    May(Height),
    /// Waits.
    Later(Option<Height>),
}

/// The groups of one plan in the making.
#[derive(Debug)]
pub(super) struct Groups<'a> {
    outlook: &'a Outlook,
    policy: &'a Policy,
    scale: &'a Scale,
    drafts: Vec<Draft>,
}

/// One group in the making.
#[derive(Debug)]
struct Draft {
    outpoints: Vec<OutPoint>,
    rate: FeeRate,
    weight: u64,
    balance: Sat,
    child_of: Option<Txid>,
    /// Somebody else spends its only channel.
    contested: bool,
    /// The first and the last of its deadlines.
    deadlines: (Height, Height),
    confirm_by: Option<Height>,
}

impl<'a> Groups<'a> {
    pub(super) const fn new(outlook: &'a Outlook, policy: &'a Policy, scale: &'a Scale) -> Self {
        Self { outlook, policy, scale, drafts: Vec::new() }
    }

    /// Puts each of `free` into its place.
    pub(super) fn fill(
        mut self,
        plan: &mut Plan,
        free: Vec<&Candidate>,
        coins: &mut Vec<&FeeInput>,
    ) {
        let (mut solid, mut small, mut may) = (Vec::new(), Vec::new(), Vec::new());
        let market = self.market();
        for candidate in free {
            match self.stand(candidate) {
                Stand::Now(rate) => {
                    let (balance, alone) = (candidate.balance, self.scale.alone(candidate));
                    let most = self.scale.affordable(balance, alone).filter(|most| *most >= market);
                    match most {
                        // What presses must not make worthless what is worth it.
                        Some(most) => solid.push((rate.min(most), candidate)),
                        None => small.push((market, candidate)),
                    }
                }
                Stand::May(until) => may.push((until, candidate)),
                Stand::Later(until) => self.wait(plan, candidate, until),
            }
        }
        solid.sort_by_key(|(_, candidate)| order(candidate));
        let (plain, special): (Vec<_>, Vec<_>) =
            solid.into_iter().partition(|(_, it)| it.deadline.is_some() && it.rival.is_none());
        self.arrange(&plain);
        for (rate, candidate) in special {
            if !self.join(candidate, rate, FeeRate::MAX) {
                if self.may_open(candidate) {
                    self.drafts.push(Draft::open(candidate, rate, self.scale));
                } else {
                    self.wait(plan, candidate, None);
                }
            }
        }
        small.sort_by_key(|(_, candidate)| order(candidate));
        small.retain(|(rate, candidate)| !self.join(candidate, *rate, FeeRate::MAX));
        for (until, candidate) in may {
            // What presses others makes a place with them dear; there will be other groups.
            if !self.join(candidate, market, market) {
                self.wait(plan, candidate, Some(until));
            }
        }
        for draft in &self.drafts {
            plan.groups.push(draft.group(None));
        }
        self.fill_small(plan, &small, coins);
    }

    /// Channels that alone are not worth their fee may be so together, or with a coin that keeps
    /// the payee's output above dust.
    fn fill_small(
        &self,
        plan: &mut Plan,
        small: &[(FeeRate, &Candidate)],
        coins: &mut Vec<&FeeInput>,
    ) {
        let mut groups = Self::new(self.outlook, self.policy, self.scale);
        let mut left = Vec::new();
        for (rate, candidate) in small.iter().copied() {
            let brings = candidate.balance > weigh::fee(rate, candidate.weight.to_wu());
            let brings = brings && self.may_open(candidate);
            if brings && groups.join(candidate, rate, FeeRate::MAX) {
                continue;
            }
            if brings && groups.may_open(candidate) {
                groups.drafts.push(Draft::open(candidate, rate, self.scale));
            } else {
                left.push(candidate);
            }
        }
        for draft in groups.drafts {
            if self.scale.pays(draft.balance, draft.weight, draft.rate) {
                plan.groups.push(draft.group(None));
            } else if let Some(coin) = draft.coin(coins, self.scale) {
                plan.groups.push(draft.group(Some(coin)));
            } else {
                let of = |at: &&Candidate| draft.outpoints.contains(&at.outpoint);
                left.extend(small.iter().map(|(_, candidate)| *candidate).filter(of));
            }
        }
        for candidate in left {
            match candidate.latest(self.policy) {
                Some(latest) if self.outlook.tip >= latest => {
                    plan.unworthy.push(candidate.outpoint);
                }
                latest => self.wait(plan, candidate, latest),
            }
        }
    }

    fn stand(&self, candidate: &Candidate) -> Stand {
        let Outlook { tip, forecast, .. } = *self.outlook;
        let (policy, market) = (self.policy, self.market());
        let rich = candidate.balance >= policy.balance_max;
        let Some(latest) = candidate.latest(policy) else {
            // No deadline runs yet: nothing but a large balance is worth a child of its parent.
            let may = rich && candidate.child_of.is_some() && candidate.rival.is_none();
            return if may { Stand::Now(market) } else { Stand::Later(None) };
        };
        let earliest = latest.saturating_before(policy.early);
        if tip >= latest {
            return Stand::Now(weigh::pressed(self.outlook, latest, policy));
        }
        if candidate.rival.is_some() {
            return Stand::Later(Some(latest));
        }
        if rich {
            return Stand::Now(market);
        }
        if tip < earliest {
            return Stand::Later(Some(earliest));
        }
        match forecast {
            Some(cheap) if market <= cheap.rate => Stand::Now(market),
            Some(cheap) if cheap.from > tip && cheap.from <= latest => {
                Stand::Later(Some(cheap.from))
            }
            // Nothing is known to be cheaper in time: later pays for more.
            _ => Stand::May(latest),
        }
    }

    fn market(&self) -> FeeRate {
        self.outlook.rate.min(self.policy.rate_max)
    }

    /// Groups what must settle in two ways, and takes the cheaper: by deadlines, each channel where
    /// it costs least; and by outpoints, each transaction filled before the next. The first is
    /// nearly always as cheap; where sizes and deadlines mix badly the second can save one.
    fn arrange(&mut self, solid: &[(FeeRate, &Candidate)]) {
        for (rate, candidate) in solid {
            if !self.join(candidate, *rate, FeeRate::MAX) {
                self.drafts.push(Draft::open(candidate, *rate, self.scale));
            }
        }
        let mut other: Vec<Draft> = Vec::new();
        let mut sorted = solid.to_vec();
        sorted.sort_by_key(|(_, candidate)| candidate.outpoint);
        for (rate, candidate) in sorted {
            match other.last_mut().filter(|draft| draft.has_room(candidate, self.policy)) {
                Some(draft) => draft.add(candidate, rate),
                None => other.push(Draft::open(candidate, rate, self.scale)),
            }
        }
        // The second asks nobody whether it is worth it to go along: together they must be.
        let pays = |it: &Draft| self.scale.pays(it.balance, it.weight, it.rate);
        if fees(&other) < fees(&self.drafts) && other.iter().all(pays) {
            self.drafts = other;
        }
    }

    /// Adds the channel to the group where it costs least, if that is no more than alone, where
    /// `own` is its rate, and less than it brings. No group above `dearest` counts.
    fn join(&mut self, candidate: &Candidate, own: FeeRate, dearest: FeeRate) -> bool {
        let most = weigh::fee(own, self.scale.alone(candidate));
        let cost = |draft: &Draft| {
            let cost = draft.cost(candidate, own);
            let fits = draft.rate <= dearest && draft.has_room(candidate, self.policy);
            (fits && cost <= most && cost < candidate.balance).then_some(cost)
        };
        let costs = self.drafts.iter().enumerate().filter_map(|(at, it)| Some((cost(it)?, at)));
        let Some(draft) = costs.min().and_then(|(_, at)| self.drafts.get_mut(at)) else {
            return false;
        };
        draft.add(candidate, own);
        true
    }

    /// One unconfirmed parent has one child.
    fn may_open(&self, candidate: &Candidate) -> bool {
        !self.drafts.iter().any(|draft| draft.is_child_beside(candidate))
    }

    fn wait(&self, plan: &mut Plan, candidate: &Candidate, until: Option<Height>) {
        let (outpoint, latest) = (candidate.outpoint, candidate.latest(self.policy));
        plan.waiting.push(Waiting { outpoint, until, latest });
    }
}

impl Draft {
    fn open(candidate: &Candidate, rate: FeeRate, scale: &Scale) -> Self {
        let deadline = candidate.deadline.unwrap_or(Height::MAX);
        let mut draft = Self {
            outpoints: Vec::new(),
            rate,
            weight: scale.base(),
            balance: Sat::ZERO,
            child_of: candidate.child_of,
            contested: candidate.rival.is_some(),
            deadlines: (deadline, deadline),
            confirm_by: None,
        };
        draft.add(candidate, rate);
        draft
    }

    /// Whether nothing but its cost keeps the channel out: parent, contest, size and deadlines.
    fn has_room(&self, candidate: &Candidate, policy: &Policy) -> bool {
        if self.contested || candidate.rival.is_some() || self.child_of != candidate.child_of {
            return false;
        }
        let weight = self.weight.saturating_add(candidate.weight.to_wu());
        let deadline = candidate.deadline.unwrap_or(Height::MAX);
        let (first, last) = (self.deadlines.0.min(deadline), self.deadlines.1.max(deadline));
        weight <= weigh::limit(self.child_of.is_some(), policy)
            && last.saturating_since(first) <= policy.similar
    }

    /// By how much the channel raises the fee, which is the group's and its own most pressing.
    fn cost(&self, candidate: &Candidate, own: FeeRate) -> Sat {
        let weight = self.weight.saturating_add(candidate.weight.to_wu());
        weigh::fee(self.rate.max(own), weight).saturating_sub(self.fee())
    }

    fn fee(&self) -> Sat {
        weigh::fee(self.rate, self.weight)
    }

    fn add(&mut self, candidate: &Candidate, own: FeeRate) {
        let deadline = candidate.deadline.unwrap_or(Height::MAX);
        self.outpoints.push(candidate.outpoint);
        self.rate = self.rate.max(own);
        self.weight = self.weight.saturating_add(candidate.weight.to_wu());
        self.balance = self.balance.saturating_add(candidate.balance);
        self.deadlines = (self.deadlines.0.min(deadline), self.deadlines.1.max(deadline));
        let by = candidate.settle_by();
        self.confirm_by = self.confirm_by.map_or(by, |now| Some(by.map_or(now, |by| by.min(now))));
    }

    fn is_child_beside(&self, candidate: &Candidate) -> bool {
        self.child_of.is_some() && self.child_of == candidate.child_of
    }

    /// The first coin with which the balance still pays the fee and the output is above dust.
    fn coin<'c>(&self, coins: &mut Vec<&'c FeeInput>, scale: &Scale) -> Option<&'c FeeInput> {
        let is_child = self.child_of.is_some();
        let at = coins.iter().position(|coin| {
            let weight = self.weight.saturating_add(weigh::coin(coin));
            let value = self.balance.saturating_add(value(coin));
            weight <= weigh::hard_limit(is_child)
                && weigh::fee(self.rate, weight) < self.balance
                && scale.pays(value, weight, self.rate)
        })?;
        Some(coins.remove(at))
    }

    fn group(&self, coin: Option<&FeeInput>) -> Group {
        grouped(self.outpoints.clone(), self.rate, self.weight, self.balance, coin, self.confirm_by)
    }
}

/// The group as the plan shows it.
pub(super) fn grouped(
    outpoints: Vec<OutPoint>,
    rate: FeeRate,
    weight: u64,
    balance: Sat,
    coin: Option<&FeeInput>,
    confirm_by: Option<Height>,
) -> Group {
    let weight = weight.saturating_add(coin.map_or(0, weigh::coin));
    let fee = weigh::fee(rate, weight);
    let brings = balance.saturating_add(coin.map_or(Sat::ZERO, value)).saturating_sub(fee);
    let (weight, coin) = (Weight::from_wu(weight), coin.map(FeeInput::outpoint));
    Group { outpoints, rate, weight, fee, brings, coin, replaces: None, confirm_by }
}

/// What a coin is worth.
pub(super) fn value(coin: &FeeInput) -> Sat {
    Sat::new(coin.output().value.to_sat()).unwrap_or(Sat::ZERO)
}

/// What all these groups pay.
fn fees(drafts: &[Draft]) -> Sat {
    drafts.iter().fold(Sat::ZERO, |sum, draft| sum.saturating_add(draft.fee()))
}

fn order(candidate: &Candidate) -> (Height, OutPoint) {
    (candidate.deadline.unwrap_or(Height::MAX), candidate.outpoint)
}
