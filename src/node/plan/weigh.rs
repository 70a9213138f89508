//! Weights, fees and what they leave: a settlement's size is a sum, so nothing is built to know it.

use alloc::vec::Vec;

use bitcoin::{Script, Weight};

use super::{Candidate, Cause, Outlook, Policy, Risk};
use crate::tx::{Channel, FeeInput, dust_limit};
use crate::units::{Blocks, FeeRate, Height, Msat, Sat};

/// Version, lock time and the two counts, of which fewer than 253 inputs and outputs make one byte
/// each, count four times; marker and flag once.
const FRAME: u64 = 42;
/// An input on the settle leaf with its witness: two signatures, of which one has a type byte, the
/// leaf and its control block.
const INPUT: u64 = 431;
/// An output without its script: eight bytes of value and one of length, four times.
const OUTPUT: u64 = 36;
/// A fee input: P2TR by its key, and P2WPKH.
const COIN_P2TR: u64 = 230;
const COIN_P2WPKH: u64 = 272;
/// A version-3 transaction, and the child of one that is in no block (BIP431).
const LIMIT: u64 = 40_000;
const CHILD_LIMIT: u64 = 4_000;
/// Six times a half more is eleven times the chain's own rate: what no block takes then is kept out
/// by something else, and who comes back after a week must not burn what it can still get.
const RAISES_MAX: u32 = 6;
/// What a payer can hang on a change that is a wallet's: a child of 1,000 vB.
const PINNING: u64 = 4_000;

/// What every settlement to one till weighs beside its channels, and its dust limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    base: u64,
    dust: Sat,
}

impl Scale {
    pub(super) fn new(till: &Script) -> Self {
        Self { base: FRAME.saturating_add(output(till)), dust: dust_limit(till) }
    }

    /// The weight of a settlement before its channels.
    pub(super) const fn base(&self) -> u64 {
        self.base
    }

    pub(super) const fn alone(&self, candidate: &Candidate) -> u64 {
        self.base.saturating_add(candidate.weight.to_wu())
    }

    /// Whether `balance` pays for `weight` at `rate` and leaves an output that is relayed.
    pub(super) fn pays(&self, balance: Sat, weight: u64, rate: FeeRate) -> bool {
        balance.checked_sub(fee(rate, weight)).is_some_and(|left| left >= self.dust)
    }

    /// The highest rate at which it does; none if it does at no rate.
    pub(super) fn affordable(&self, balance: Sat, weight: u64) -> Option<FeeRate> {
        let most = balance.checked_sub(self.dust)?;
        let rate = most.to_sat().checked_mul(4_000)?.checked_div(weight)?;
        FeeRate::new(rate.min(FeeRate::MAX.to_sat_per_kvb())).ok()
    }
}

/// A channel's input and its change, if a voucher of `paid` leaves one.
pub(super) fn part(channel: &Channel, paid: Msat) -> Weight {
    let change =
        if paid == channel.capacity().to_msat() { 0 } else { output(channel.change_script()) };
    Weight::from_wu(INPUT.saturating_add(change))
}

pub(super) fn coin(coin: &FeeInput) -> u64 {
    if coin.output().script_pubkey.is_p2tr() { COIN_P2TR } else { COIN_P2WPKH }
}

/// The largest weight of a group before its fee inputs.
pub(super) fn limit(is_child: bool, policy: &Policy) -> u64 {
    if is_child {
        // No room to spare: a child that is to be dearer is built again.
        return CHILD_LIMIT;
    }
    LIMIT.saturating_sub(COIN_P2WPKH.saturating_mul(u64::from(policy.coins_max)))
}

/// The largest weight of a transaction with all that is in it.
pub(super) const fn hard_limit(is_child: bool) -> u64 {
    if is_child { CHILD_LIMIT } else { LIMIT }
}

/// The fee; all money where it is above that.
pub(super) fn fee(rate: FeeRate, weight: u64) -> Sat {
    rate.ceil_fee(weight).unwrap_or(Sat::MAX)
}

/// The least rate whose fee of `weight` is at least `fee`; the highest there is if none is.
pub(super) fn rate_for(fee: Sat, weight: u64) -> FeeRate {
    // The fee rounds up: whatever is above one satoshi less is enough.
    let below = u128::from(fee.to_sat().saturating_sub(1)).saturating_mul(4_000);
    let rate = below.div_euclid(u128::from(weight.max(1))).saturating_add(1);
    let rate = if fee == Sat::ZERO { 1 } else { rate };
    u64::try_from(rate).ok().and_then(|rate| FeeRate::new(rate).ok()).unwrap_or(FeeRate::MAX)
}

/// The rate of a settlement that must not wait any longer: the chain's, and half as much more for
/// every `raise_every` blocks since its latest height, up to eleven times as much.
pub(super) fn pressed(outlook: &Outlook, latest: Height, policy: &Policy) -> FeeRate {
    let late = outlook.tip.saturating_since(latest);
    let every = policy.raise_every.max(Blocks::new(1).unwrap_or(Blocks::MAX));
    let steps = late.to_u32().checked_div(every.to_u32()).unwrap_or(0).min(RAISES_MAX);
    let mut rate = outlook.rate.min(policy.rate_max);
    for _ in 0..steps {
        if rate >= policy.rate_max {
            break;
        }
        let now = rate.to_sat_per_kvb();
        // At least one more, so that it ends.
        let half = now.checked_div(2).unwrap_or(0).max(1);
        rate = FeeRate::new(now.saturating_add(half)).unwrap_or(FeeRate::MAX).min(policy.rate_max);
    }
    rate
}

/// What each channel could lose, and by what.
pub(super) fn risks(candidates: &[Candidate], outlook: &Outlook, scale: &Scale) -> Vec<Risk> {
    let mut risks = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let Candidate { outpoint, balance, deadline: until, .. } = *candidate;
        let mut add = |amount, cause| risks.push(Risk { outpoint, amount, cause, until });
        add(balance, if until.is_some() { Cause::Refund } else { Cause::ZeroConf });
        if !scale.pays(balance, scale.alone(candidate), outlook.rate) {
            add(balance, Cause::Fee);
        } else if candidate.pinnable {
            add(fee(outlook.rate, PINNING).min(balance), Cause::Pinning);
        }
    }
    risks
}

fn output(script: &Script) -> u64 {
    let len = u64::try_from(script.len()).unwrap_or(u64::MAX);
    OUTPUT.saturating_add(len.saturating_mul(4))
}
