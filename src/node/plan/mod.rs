//! The settlement planner: which channels a payee settles now, in which transactions, at which fee
//! rate; which wait, and until when; which pending settlement is raised; what each of them risks.
//!
//! ```text
//!          early                              lead            settle margin
//!   |------------------|------------------------|----------|------------------|--> height
//!   opened          eligible                  latest    settle_by          deadline: refund
//!       waits        joins a group,          settles,      must be         the payer may take
//!                    or settles while        raised by     in a block      everything back
//!                    it is cheap             halves
//!
//!   candidates --sort by deadline--> where it costs least --> groups
//!        |                              |            <= 10,000 vB, similar deadlines
//!        |                              |            <= 1,000 vB of one unconfirmed parent
//!        |                              '- joins only if that costs no more than to settle alone,
//!        |                                 and less than it brings
//!        '--> waiting, in flight (raised or not), unworthy: each channel is in exactly one place
//! ```
//!
//! [`Plan::of`] is a pure function of values. [`super::Node::plan`] fills it from the node's own
//! state; the caller turns each [`Group`] into one [`super::Command::Settle`], or, with coins that
//! pay fees, into [`super::Node::draft_settlement`] and [`super::Command::SettleDrafted`].
//!
//! # The rules
//!
//! 1. A channel is due from its latest height on, `lead` blocks before it must be confirmed; and
//!    before that once its balance reaches `balance_max`, or, from `early` blocks before its latest
//!    height on, while no cheaper time is forecast: the night settles what the day has paid. In
//!    that time, with nothing forecast, it goes along with a group at the chain's own rate.
//! 2. It is worth settling if its balance is at least the fee of its own settlement and the dust
//!    limit of the payee's output; or, in a group, more than the fee of its part.
//! 3. A group is in the limits of version 3 (BIP431) with room for `coins_max` fee inputs: 65
//!    channels with P2TR changes. Its deadlines are similar, because one foreign refund after its
//!    deadline voids the whole. A channel that somebody else's transaction spends stays alone.
//! 4. From its latest height on the rate rises by a half every `raise_every` blocks, six times, and
//!    never above what the balance can pay. A pending settlement is replaced by the same channels
//!    at that rate, with an absolute fee that nodes take for a replacement (BIP125).
//! 5. The fees of a plan are never above those of settling one by one, nor, for what must settle,
//!    above those of filling one transaction after the other.
//!
//! Rank 5. Used by `serve` of the command line and by `examples/fleet`.

mod fill;
mod group;
mod raise;
#[cfg(test)]
mod tests;
mod weigh;

use alloc::vec::Vec;

use bitcoin::{OutPoint, ScriptBuf, Txid, Weight};

use crate::tx::FeeInput;
use crate::units::{Blocks, FeeRate, Height, Sat};
use group::Groups;
use raise::Raising;
use weigh::Scale;

/// The chain as the planner sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// The height of the tip.
    pub tip: Height,
    /// The rate at which a settlement confirms within the policy's `lead`.
    pub rate: FeeRate,
    /// The cheapest time that is expected; none if nothing is known of what comes.
    pub forecast: Option<Forecast>,
}

/// A cheap time that is expected, or the one that it is: the night.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// From this height on.
    pub from: Height,
    /// At this rate.
    pub rate: FeeRate,
}

/// How a payee likes to settle.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Where the money goes: its kind fixes the weight and the dust limit of the payee's output.
    pub till: ScriptBuf,
    /// How many blocks before a channel must be settled it is settled at the latest.
    pub lead: Blocks,
    /// How many blocks before that it may be, if now is cheap or a group takes it along.
    pub early: Blocks,
    /// How far the deadlines in one group may be apart.
    pub similar: Blocks,
    /// After so many blocks in which a settlement that is late was not confirmed it pays half as
    /// much more; at least 1.
    pub raise_every: Blocks,
    /// What a replacement pays more at least, for its own size (BIP125, rule 4).
    pub relay_floor: FeeRate,
    /// No rate is above this one.
    pub rate_max: FeeRate,
    /// The balance from which on a channel settles whatever its deadline; [`Sat::MAX`] for never.
    pub balance_max: Sat,
    /// For how many fee inputs each group leaves room, so that it can still be raised.
    pub coins_max: u8,
}

impl Policy {
    /// A policy that settles to `till` from 6 blocks before the margin on, or cheaply in the week
    /// before that; that knows no largest balance; and that leaves room for two fee inputs.
    #[must_use]
    pub fn new(till: ScriptBuf) -> Self {
        let blocks = |blocks| Blocks::new(blocks).unwrap_or(Blocks::MAX);
        Self {
            till,
            lead: blocks(6),
            early: blocks(1_008),
            similar: blocks(144),
            raise_every: blocks(3),
            relay_floor: FeeRate::new(100).unwrap_or(FeeRate::MIN),
            rate_max: FeeRate::MAX,
            balance_max: Sat::MAX,
            coins_max: 2,
        }
    }
}

/// A channel that could be settled: it has a voucher, and no block holds a spend of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The channel.
    pub outpoint: OutPoint,
    /// The whole satoshis that its best voucher brings: all that is paid and not settled.
    pub balance: Sat,
    /// Its input and its change output.
    pub weight: Weight,
    /// Its change is a wallet's: its payer can pin the settlement with a child of that.
    pub pinnable: bool,
    /// When a refund can confirm; none while the channel's output is in no block.
    pub deadline: Option<Height>,
    /// How many blocks before that a settlement must be confirmed.
    pub margin: Blocks,
    /// The unconfirmed version-3 transaction that makes it, if a settlement may be its one child.
    pub child_of: Option<Txid>,
    /// Somebody else's unconfirmed spend of it: a refund, or what both signed.
    pub rival: Option<Txid>,
}

impl Candidate {
    /// The height below which a settlement must be confirmed.
    #[must_use]
    pub fn settle_by(&self) -> Option<Height> {
        self.deadline.map(|deadline| deadline.saturating_before(self.margin))
    }

    fn latest(&self, policy: &Policy) -> Option<Height> {
        self.settle_by().map(|by| by.saturating_before(policy.lead))
    }
}

/// A transaction of this payee's that spends channels and is in no block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Which.
    pub txid: Txid,
    /// The channels that it spends.
    pub channels: Vec<OutPoint>,
    /// What it pays, as far as it is known: the value of a foreign fee input may not be.
    pub fee: Sat,
    /// Its size.
    pub weight: Weight,
    /// The chain shows it: what replaces it must pay more. Else it may be in no mempool.
    pub seen: bool,
}

/// What to do now, and what waits.
///
/// Each candidate is in exactly one place: in the `outpoints` of one group, or in `waiting`,
/// `in_flight` or `unworthy`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a channel that does not settle in time is refunded"]
#[non_exhaustive]
pub struct Plan {
    /// What is settled now, one transaction each, the most pressing first.
    pub groups: Vec<Group>,
    /// What has time.
    pub waiting: Vec<Waiting>,
    /// Channels whose pending transaction is good as it is, or cannot be raised.
    pub in_flight: Vec<OutPoint>,
    /// Channels that are late, and whose fee would take everything at this rate.
    pub unworthy: Vec<OutPoint>,
    /// What each candidate risks until it is settled, in the order of the outpoints.
    pub risks: Vec<Risk>,
}

/// One transaction that settles channels.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// The channels.
    pub outpoints: Vec<OutPoint>,
    /// The fee rate.
    pub rate: FeeRate,
    /// The size of the transaction, fee inputs included: exact.
    pub weight: Weight,
    /// What the miner gets, to the satoshi.
    pub fee: Sat,
    /// What the till gets: balances and coins less the fee.
    pub brings: Sat,
    /// The coin without which the payee's output would be dust; consumed whole.
    pub coin: Option<OutPoint>,
    /// The pending transaction whose place this one takes.
    pub replaces: Option<Txid>,
    /// It must be confirmed below this height, if any of its channels has a deadline yet.
    pub confirm_by: Option<Height>,
}

/// A channel that has time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// The channel.
    pub outpoint: OutPoint,
    /// The tip height from which on another plan may say otherwise; none while it is in no block.
    pub until: Option<Height>,
    /// The tip height at which it settles at the latest, if it is worth it.
    pub latest: Option<Height>,
}

/// A part of a channel's balance that could be lost, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Risk {
    /// The channel.
    pub outpoint: OutPoint,
    /// How much.
    pub amount: Sat,
    /// By what.
    pub cause: Cause,
    /// Until this height it can still be averted by settling; none while it is in no block.
    pub until: Option<Height>,
}

/// By what a balance could be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Cause {
    /// The channel's output is in no block and may never be.
    ZeroConf,
    /// The payer's refund, if no settlement has confirmed by then.
    Refund,
    /// The fee of settling it alone takes all, at the rate of now: unsecured credit.
    Fee,
    /// A child of the payer's change, which replacing the settlement would have to pay for.
    Pinning,
}

impl Plan {
    /// Plans for `candidates`, of which `pending` spends some; `coins` are confirmed ones that may
    /// pay fees, and are used only where a payee's output would be dust without.
    ///
    /// Equal values give equal plans, in whatever order channels and transactions are given. No
    /// error: a fee above all money makes its channels unworthy. O(n log n + n x groups).
    pub fn of(
        candidates: &[Candidate],
        pending: &[Pending],
        coins: &[FeeInput],
        outlook: &Outlook,
        policy: &Policy,
    ) -> Self {
        let scale = Scale::new(&policy.till);
        let risks = weigh::risks(candidates, outlook, &scale);
        let (mut plan, mut coins) = (Self { risks, ..Self::default() }, coins.iter().collect());
        let raising = Raising { outlook, policy, scale: &scale };
        let free = raise::raise(&mut plan, candidates, pending, &mut coins, &raising);
        Groups::new(outlook, policy, &scale).fill(&mut plan, free, &mut coins);
        plan.sort();
        plan
    }

    /// One order, whatever the order of what was given.
    fn sort(&mut self) {
        let by = |group: &Group| group.confirm_by.unwrap_or(Height::MAX);
        self.groups.sort_by_cached_key(|group| (by(group), group.outpoints.clone()));
        self.waiting.sort_by_key(|waiting| waiting.outpoint);
        self.in_flight.sort_unstable();
        self.unworthy.sort_unstable();
        self.risks.sort_by_key(|risk| (risk.outpoint, risk.cause));
    }
}
