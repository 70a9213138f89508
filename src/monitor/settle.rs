//! The payee's settlement with holds: when it is due, and who pays for its fee: a child of the
//! payee's own output, or coins that are added and consumed whole.

use alloc::vec::Vec;

use bitcoin::{Transaction, Weight};

use super::pace::{Pressure, Rival, fee, next};
use super::record::{Stage, Subject};
use super::{Act, Monitor, MonitorError, Policy, Side, Sight, Standing, Step, Watch, Watched};
use crate::keys::Context;
use crate::tx::hold::{Held, Hold, HoldSettlement};
use crate::tx::seen::Spend;
use crate::tx::{Channel, FeeInput, PayeeSpend, VoucherKind, dust_limit};
use crate::units::{FeeRate, Height, Sat};

/// A claim with its outputs, k up to 32,767: what bringing home one hold weighs.
const CLAIM: Weight = Weight::from_wu(622);
/// The witness of a settle-leaf spend: two signatures, the script and the control block.
const SETTLE_ITEMS: usize = 4;

/// Adds the settlement if it is due and pays.
pub(super) fn settle(
    monitor: &Monitor,
    context: &Context,
    sight: &Sight<'_>,
    policy: &Policy,
    step: &mut Step,
) -> Result<(), MonitorError> {
    let watch = &step.record;
    if watch.subject.side == Side::Payer || matches!(watch.stage, Stage::Spent { at: Some(_), .. })
    {
        return Ok(());
    }
    let status = sight.of(monitor.outpoint());
    let Some(spend) = status.map(|status| status.spent.as_ref()) else { return Ok(()) };
    let Some(due) = Due::of(monitor, context, watch, sight, policy) else { return Ok(()) };
    if due.stake == Sat::ZERO {
        step.unworthy.extend(due.claims.iter().map(|held| held.hold.id));
        return Ok(());
    }
    let found = match spend.map(|spend| (spend, Kind::of(&monitor.channel, &spend.tx))) {
        // What both signed, or settles without holds, was the channel's own machine's wish.
        Some((_, Kind::Other)) => return Ok(()),
        Some((spend, Kind::WithHolds)) => due.raise(spend, sight, policy)?,
        Some((spend, Kind::Refund)) => {
            due.choose(Some(rival(spend, &monitor.channel, sight)), sight, policy)?
        }
        None => due.send(sight, policy)?,
    };
    step.missing_fee = found.missing;
    step.acts.extend(found.act);
    Ok(())
}

/// What is sent, and what of its fee is missing all the same.
#[derive(Debug, Default)]
struct Found {
    act: Option<Act>,
    missing: Option<Sat>,
}

/// The whole fee that a replacement of `spend` is measured by.
fn rival(spend: &Spend, channel: &Channel, sight: &Sight<'_>) -> Rival {
    let mut inputs = spend.tx.input.iter().map(|input| input.previous_output);
    let value = inputs.try_fold(Sat::ZERO, |sum, at| {
        let coin = sight.coins.iter().find(|coin| coin.outpoint() == at);
        let own = (at == channel.outpoint()).then_some(channel.capacity());
        Some(sum.saturating_add(own.or_else(|| coin.map(value_of))?))
    });
    Rival::new(&spend.tx, value)
}

/// How an unconfirmed transaction spends the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// This payee's settlement of some voucher with holds.
    WithHolds,
    Refund,
    Other,
}

impl Kind {
    fn of(channel: &Channel, tx: &Transaction) -> Self {
        let input = tx.input.iter().find(|input| input.previous_output == channel.outpoint());
        let Some(witness) = input.map(|input| &input.witness) else { return Self::Other };
        let script = witness.nth(SETTLE_ITEMS.saturating_sub(2));
        if witness.len() != SETTLE_ITEMS
            || script != Some(channel.output().settle_script().as_bytes())
        {
            return Self::Refund;
        }
        let kind = witness.nth(1).filter(|signature| signature.len() == 65);
        match kind.and_then(<[u8]>::last) {
            Some(byte) if *byte == VoucherKind::All.sighash_byte() => Self::WithHolds,
            _ => Self::Other,
        }
    }
}

/// 3: beyond that the coins' own inputs take what they bring.
const COINS_MAX: usize = 3;

/// A settlement that must not wait any longer.
struct Due<'a> {
    monitor: &'a Monitor,
    context: &'a Context,
    watch: &'a Watch,
    /// The holds that it brings home.
    claims: Vec<&'a Watched>,
    /// What can be lost by not settling now: the fee never is above it.
    stake: Sat,
    rate: FeeRate,
    pressure: Pressure,
}

impl<'a> Due<'a> {
    fn of(
        monitor: &'a Monitor,
        context: &'a Context,
        watch: &'a Watch,
        sight: &Sight<'_>,
        policy: &Policy,
    ) -> Option<Self> {
        let Subject { margin, delay, .. } = watch.subject;
        watch.best?;
        watch.holds.iter().find(|held| held.standing.is_present())?;
        // W3: settled in the next block, and claimed k later, it is still before the expiry.
        let in_time = |held: &&Watched| {
            let claim = next(sight.tip).saturating_after(held.hold.delay.to_blocks());
            held.standing == Standing::Open && held.preimage.is_some() && claim <= held.hold.expiry
        };
        let claims: Vec<&Watched> = watch.holds.iter().filter(in_time).collect();
        let settle_by = |hold: &Hold| {
            hold.expiry.saturating_before(hold.delay.to_blocks()).saturating_before(margin)
        };
        let last_call = watch.confirmed.map(|confirmed| {
            confirmed.saturating_after(delay.to_blocks()).saturating_before(margin)
        });
        let by = claims.iter().map(|held| settle_by(&held.hold)).chain(last_call).min()?;
        let is_due = |by: Height| sight.tip >= by.saturating_before(policy.lead);
        if !is_due(by) {
            return None;
        }
        let pressure = Pressure::of(sight.tip, by, policy);
        let rate = pressure.rate(sight.rate, policy);
        // Before the last call the balance has time, and only the holds, less what their claims
        // cost, are at stake.
        let best = watch.best.filter(|_| last_call.is_some_and(is_due));
        let balance = best
            .map_or(Sat::ZERO, |best| best.paid.floor_to_sat().saturating_sub(watch.subject.fee));
        let claim = fee(sight.rate, CLAIM);
        let stake = claims
            .iter()
            .fold(balance, |sum, held| sum.saturating_add(held.hold.amount.saturating_sub(claim)));
        Some(Self { monitor, context, watch, claims, stake, rate, pressure })
    }

    /// The first settlement: as it is, or with a child that pays for both, or with coins.
    fn send(&self, sight: &Sight<'_>, policy: &Policy) -> Result<Found, MonitorError> {
        let Some(bare) = self.build(&[])? else { return Ok(Found::default()) };
        if self.missing(&bare, None, policy)?.is_none() {
            return Ok(Found { act: Some(Act::Settle(bare, None)), missing: None });
        }
        let alone = Rival::new(bare.transaction(), Some(self.monitor.channel.capacity()));
        let child = self.child(bare.transaction(), alone, None, policy)?;
        if let Some((child, true)) = child {
            return Ok(Found { act: Some(Act::Settle(bare, Some(child))), missing: None });
        }
        let mut found = self.choose(None, sight, policy)?;
        // Neither is enough, and there is no time for one that is: the better one of both.
        if let (Some((child, _)), Some(Act::Settle(other, _)), Some(_)) =
            (child, &found.act, found.missing)
            && self.pressure.is_high()
        {
            let both = alone.with(Some(Rival::new(child.transaction(), Some(child.value()))));
            if both.is_above(&Rival::paying(other.fee()?, other.transaction().weight())) {
                found.missing = Some(both.lacks(Weight::ZERO, self.rate));
                found.act = Some(Act::Settle(bare, Some(child)));
            }
        }
        Ok(found)
    }

    /// One that is in the mempool: by a child, by coins, or by all that its payee output can pay.
    fn raise(
        &self,
        spend: &Spend,
        sight: &Sight<'_>,
        policy: &Policy,
    ) -> Result<Found, MonitorError> {
        let own = self.watch.own_coin();
        let status = own.and_then(|own| sight.of(own));
        if own.is_some() && status.is_none() {
            // It is looked up first: a child may be there.
            return Ok(Found::default());
        }
        let alone = rival(spend, &self.monitor.channel, sight);
        let below = status.and_then(|status| {
            let child = &status.spent.as_ref()?.tx;
            Some(Rival::new(child, (child.input.len() == 1).then_some(status.value)))
        });
        if alone.with(below).pays(self.rate, self.pressure) {
            return Ok(Found::default());
        }
        let child = self.child(&spend.tx, alone, below, policy)?;
        if let Some((child, true)) = child {
            return Ok(Found { act: Some(Act::Bump(child)), missing: None });
        }
        let both = alone.with(below);
        let mut found = self.choose(Some(both), sight, policy)?;
        // A child adds to what it does not replace, whatever that pays.
        if (found.act.is_none() || !both.is_known()) && self.pressure.is_high() && child.is_some() {
            found.act = child.map(|(child, _)| Act::Bump(child));
        }
        Ok(found)
    }

    /// A child of `parent` that brings both to the rate, and whether it does: else it pays all that
    /// it may. None if there is no output for it, or mempools would not take it for `below`.
    fn child(
        &self,
        parent: &Transaction,
        alone: Rival,
        below: Option<Rival>,
        policy: &Policy,
    ) -> Result<Option<(PayeeSpend, bool)>, MonitorError> {
        let (channel, till) = (&self.monitor.channel, policy.till.clone());
        let made = PayeeSpend::of(self.context, channel, parent, till, Sat::ZERO);
        let Ok(Some(free)) = made else { return Ok(None) };
        let weight = free.transaction().weight();
        let most = free.value().saturating_sub(dust_limit(&policy.till)).min(self.stake);
        let least = below.map_or_else(
            || fee(policy.relay_floor, weight),
            |below| below.bid(weight, most, self.pressure, policy),
        );
        let wanted = alone.lacks(weight, self.rate).max(least);
        if most < least {
            return Ok(None);
        }
        Ok(Some((free.with_fee(wanted.min(most))?, wanted <= most)))
    }

    /// The settlement of the best voucher. One verification.
    fn build(&self, coins: &[FeeInput]) -> Result<Option<HoldSettlement>, MonitorError> {
        let Some(best) = self.watch.best else { return Ok(None) };
        let present = self.watch.holds.iter().filter(|held| held.standing.is_present());
        let holds: Vec<Hold> = present.map(|held| held.hold).collect();
        let (channel, fee) = (self.monitor.channel.clone(), self.watch.subject.fee);
        let held = Held::new(self.context, channel, best.paid, fee, holds)?;
        let checked = held.verify(self.context, &best.signature)?;
        Ok(Some(HoldSettlement::new(checked, coins)?))
    }

    /// The settlement as it is, or with the smallest coin that brings it to its rate, or with the
    /// largest few; and what of the fee they do not bring. Coins are consumed whole, so never more
    /// of them than what is at stake.
    fn choose(
        &self,
        rival: Option<Rival>,
        sight: &Sight<'_>,
        policy: &Policy,
    ) -> Result<Found, MonitorError> {
        let Some(mut best) = self.build(&[])? else { return Ok(Found::default()) };
        let settle = |best| Some(Act::Settle(best, None));
        let Some(lacks) = self.missing(&best, rival, policy)? else {
            return Ok(Found { act: settle(best), missing: None });
        };
        let mut coins: Vec<&FeeInput> =
            sight.coins.iter().filter(|coin| value_of(coin) <= self.stake).collect();
        coins.sort_by_key(|coin| (value_of(coin), coin.outpoint()));
        // What brings too little needs no signature check to be known.
        for coin in coins.iter().filter(|coin| value_of(coin) > lacks) {
            if let Some(with) = self.build(core::slice::from_ref(*coin))?
                && self.missing(&with, rival, policy)?.is_none()
            {
                return Ok(Found { act: settle(with), missing: None });
            }
        }
        let (mut added, mut sum) = (Vec::new(), Sat::ZERO);
        for coin in coins.into_iter().rev().take(COINS_MAX) {
            sum = sum.saturating_add(value_of(coin));
            if sum > self.stake {
                break;
            }
            added.push(coin.clone());
            let Some(with) = self.build(&added)? else { break };
            best = with;
            if self.missing(&best, rival, policy)?.is_none() {
                return Ok(Found { act: settle(best), missing: None });
            }
        }
        // Better than nothing, if mempools take it.
        let missing = self.missing(&best, rival, policy)?;
        let least = rival.and_then(|rival| rival.least(best.transaction().weight(), policy));
        let enough = best.fee()? >= least.unwrap_or(Sat::ZERO);
        Ok(Found { act: settle(best).filter(|_| enough), missing })
    }

    /// What `settlement` lacks of the fee that it should pay.
    fn missing(
        &self,
        settlement: &HoldSettlement,
        rival: Option<Rival>,
        policy: &Policy,
    ) -> Result<Option<Sat>, MonitorError> {
        let weight = settlement.transaction().weight();
        // All that it may cost is what is at stake.
        let bid = |rival: Rival| rival.bid(weight, self.stake, self.pressure, policy);
        let want = fee(self.rate, weight).max(rival.map_or(Sat::ZERO, bid));
        Ok(want.checked_sub(settlement.fee()?).filter(|missing| *missing > Sat::ZERO))
    }
}

fn value_of(coin: &FeeInput) -> Sat {
    Sat::new(coin.output().value.to_sat()).unwrap_or(Sat::ZERO)
}
