//! Claims and timeouts: when they are due, at which fee, and against whom.

use bitcoin::Weight;

use super::pace::{Pressure, Rival, before, fee};
use super::record::Stage;
use super::see::Placed;
use super::{Act, Fate, MonitorError, Policy, Side, Sight, Step};
use crate::tx::dust_limit;
use crate::tx::hold::HoldSpend;
use crate::units::{FeeRate, Height, Sat};

/// Adds the spends that are due of holds whose settlement is in a block.
pub(super) fn spend(
    coins: &[Placed<'_>],
    sight: &Sight<'_>,
    policy: &Policy,
    step: &mut Step,
) -> Result<(), MonitorError> {
    let Stage::Spent { at: Some(settled), .. } = step.record.stage else { return Ok(()) };
    let side = step.record.subject.side;
    for coin in coins.iter().filter(|coin| coin.is_open()) {
        let Some(due) = Due::of(coin, side, settled, sight.tip, policy) else { continue };
        match due.answer(coin, sight, policy) {
            Answer::Send(fee) => step.acts.push(Act::Spend(due.draft.with_fee(fee)?)),
            Answer::Leave => {}
            Answer::Unworthy => step.unworthy.push(coin.held.hold.id),
        }
    }
    Ok(())
}

/// A spend that mempools take by now.
struct Due {
    draft: HoldSpend,
    pressure: Pressure,
    /// What spends the output is this side's own.
    ours: bool,
}

enum Answer {
    /// With this fee.
    Send(Sat),
    Leave,
    Unworthy,
}

impl Due {
    fn of(
        coin: &Placed<'_>,
        side: Side,
        settled: Height,
        tip: Height,
        policy: &Policy,
    ) -> Option<Self> {
        let hold = &coin.held.hold;
        let (script, lowest) = (policy.till.clone(), FeeRate::MIN);
        // The least fee: an output of which not even that can be paid is nobody's.
        let claimable = settled.saturating_after(hold.delay.to_blocks());
        let (draft, last, races) = match side {
            Side::Payee => {
                // W2: what it promised not to claim it does not claim.
                let known = coin.held.preimage.filter(|_| !coin.held.standing.is_released())?;
                let draft = HoldSpend::claim(coin.coin.clone(), known, script, lowest).ok()?;
                (draft, hold.expiry, true)
            }
            Side::Payer => {
                let draft = HoldSpend::time_out(coin.coin.clone(), script, lowest).ok()?;
                // From the block that allows it, a hub and a swap count on it within so many.
                let allowed = hold.expiry.max(settled);
                let last = allowed.saturating_after(policy.reaction);
                // Published late: from then on a claim can be in a block too.
                let race = Some(before(claimable)).filter(|last| *last > allowed);
                (draft, race.map_or(last, |race| race.min(last)), race.is_some())
            }
        };
        // Mempools judge by the next block.
        let since = before(draft.earliest(settled));
        let ours = match side {
            Side::Payee => matches!(coin.held.fate, Fate::Claimed { .. }),
            Side::Payer => matches!(coin.held.fate, Fate::TimedOut { .. }),
        };
        // A payer that was away for long asks at the rate of the chain first: nobody races it yet,
        // and what it would bid too much is its own.
        let is_first = !races && coin.spend().is_none();
        let pressure = if is_first { Pressure::NONE } else { Pressure::of(tip, last, policy) };
        (tip >= since).then_some(Self { draft, pressure, ours })
    }

    fn answer(&self, coin: &Placed<'_>, sight: &Sight<'_>, policy: &Policy) -> Answer {
        let weight = self.draft.transaction().weight();
        let rate = self.pressure.rate(sight.rate, policy);
        let rival = coin.spend().map(|spend| Rival::new(&spend.tx, coin.value_in(&spend.tx)));
        if self.ours && rival.is_some_and(|rival| rival.pays(rate, self.pressure)) {
            return Answer::Leave;
        }
        let Some(fee) = self.fee(coin.value(), rival, rate, weight, policy) else {
            // What is in the mempool may still come into a block.
            return if self.ours { Answer::Leave } else { Answer::Unworthy };
        };
        Answer::Send(fee)
    }

    /// W4: by the rate, or all that can be paid where time is short; never less than what replaces
    /// `rival`.
    fn fee(
        &self,
        value: Sat,
        rival: Option<Rival>,
        rate: FeeRate,
        weight: Weight,
        policy: &Policy,
    ) -> Option<Sat> {
        let most = value.checked_sub(dust_limit(&policy.till))?;
        let least = rival.map_or_else(
            || fee(policy.relay_floor, weight),
            |rival| rival.bid(weight, most, self.pressure, policy),
        );
        let wanted = fee(rate, weight).max(least);
        if wanted <= most {
            return Some(wanted);
        }
        (self.pressure.is_high() && most >= least).then_some(most)
    }
}
