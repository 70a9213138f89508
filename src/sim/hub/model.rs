//! The model: what could be taken of the hub, and what it holds for it, by addition alone.

use std::collections::BTreeMap;

use bitcoin::OutPoint;

use super::Flaw;
use super::world::{DEPTH, World};
use crate::hub::{Forward, HoldRef, Stage};
use crate::stream::payee::{PayeeHold, PayeeHoldState};
use crate::stream::{HoldVoucher, Payee};
use crate::tx::hold::Hold;
use crate::tx::seen::Spend;
use crate::units::{Blocks, Msat};

/// The items of a claim's witness.
const CLAIM_ITEMS: usize = 4;

/// What only adds: which hold stands for which, and what was paid beside all forwards.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// By outgoing hold.
    links: BTreeMap<HoldRef, HoldRef>,
    /// Of each channel: up to which total, how much more.
    plain: BTreeMap<OutPoint, Vec<(Msat, Msat)>>,
    /// The hub's own, whose record a power cut may have swallowed.
    pending: Option<(OutPoint, Msat, Msat)>,
}

/// What became of a hold's output on the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coin {
    Unspent,
    Claimed,
    TakenBack,
}

impl Model {
    pub(super) fn link(&mut self, outgoing: HoldRef, forward: &Forward) {
        self.links.insert(outgoing, forward.incoming());
    }

    /// A payment beside all forwards, on the way to the total `paid`.
    pub(super) fn gift(&mut self, channel: OutPoint, paid: Msat, amount: Msat) {
        self.plain.entry(channel).or_default().push((paid, amount));
    }

    /// The hub's own payment: it counts once its record is durable.
    pub(super) fn pay(&mut self, channel: OutPoint, paid: Msat, amount: Msat) {
        self.pending = Some((channel, paid, amount));
    }

    /// What of a total was paid beside forwards.
    fn plain_of(&self, channel: OutPoint, paid: Msat) -> Msat {
        let all = self.plain.get(&channel).into_iter().flatten();
        all.filter(|(at, _)| *at <= paid)
            .fold(Msat::ZERO, |sum, (_, more)| sum.saturating_add(*more))
    }
}

impl World<'_> {
    /// Whether what the hub holds covers the dearest that its receivers could do.
    pub(super) fn check_solvent(&mut self, step: u32) -> Result<(), Flaw> {
        if let Some((channel, paid, amount)) = self.model.pending.take() {
            let mut payers = self.house.payers.iter();
            if payers.any(|payer| payer.outpoint() == channel && payer.signed() == paid) {
                self.model.gift(channel, paid, amount);
            }
        }
        let held = self.held();
        let owed = (0..self.receivers.len())
            .try_fold(Msat::ZERO, |sum, to| Ok::<_, Flaw>(sum.saturating_add(self.dearest(to)?)))?;
        if owed > held { Err(Flaw::Insolvent { step, owed, held }) } else { Ok(()) }
    }

    /// What is paid into the hub for forwards, what it has claimed on the chain, and what it can
    /// still claim by a preimage that it knows for good.
    fn held(&self) -> Msat {
        self.house.payees.iter().fold(Msat::ZERO, |sum, payee| {
            let paid = payee.paid();
            let plain = self.model.plain_of(payee.outpoint(), paid);
            let claims = payee.holds().iter().filter(|held| {
                self.incoming_coin(payee, held.hold.id) == Some(Coin::Claimed)
                    || (self.may_claim(payee, held) && self.knows(payee, held))
            });
            let claims =
                claims.fold(Msat::ZERO, |sum, held| sum.saturating_add(held.hold.amount.to_msat()));
            sum.saturating_add(paid.saturating_sub(plain)).saturating_add(claims)
        })
    }

    /// Whether an incoming hold is neither released, taken nor past.
    fn may_claim(&self, payee: &Payee, held: &PayeeHold) -> bool {
        let in_time = match self.incoming_coin(payee, held.hold.id) {
            Some(coin) => coin == Coin::Unspent,
            None => self.sky.tip() <= held.hold.expiry,
        };
        in_time && held.state != PayeeHoldState::Released
    }

    /// Whether its preimage is durable in the hub.
    fn knows(&self, payee: &Payee, held: &PayeeHold) -> bool {
        let incoming = HoldRef { channel: payee.outpoint(), id: held.hold.id };
        let forward = self.house.hub.forward(incoming);
        matches!(held.state, PayeeHoldState::Fulfilled(_))
            || forward.is_some_and(|forward| matches!(forward.stage(), Stage::Won { .. }))
    }

    fn incoming_coin(&self, payee: &Payee, id: crate::units::HoldId) -> Option<Coin> {
        let spend =
            self.sky.spend_of(payee.outpoint()).filter(|spend| spend.confirmed.is_some())?;
        let number = payee.holds().iter().position(|held| held.hold.id == id)?;
        Some(self.coin(&spend, payee.holds().len(), number))
    }

    /// Hold `number` of `count` in a settlement: its outputs are the last ones.
    fn coin(&self, spend: &Spend, count: usize, number: usize) -> Coin {
        let index = spend.tx.output.len().saturating_sub(count).saturating_add(number);
        let vout = u32::try_from(index).unwrap_or(u32::MAX);
        let outpoint = OutPoint { txid: spend.tx.compute_txid(), vout };
        let taken = self.sky.spend_of(outpoint).filter(|taken| taken.confirmed.is_some());
        let Some(taken) = taken else { return Coin::Unspent };
        let mut inputs = taken.tx.input.iter();
        let input = inputs.find(|input| input.previous_output == outpoint);
        match input.map(|input| input.witness.len()) {
            Some(CLAIM_ITEMS) => Coin::Claimed,
            _ => Coin::TakenBack,
        }
    }

    /// What the hub could claim if it learnt the preimage of an outgoing hold by its claim.
    fn secured(&self, outgoing: HoldRef) -> Msat {
        let secured = || {
            let incoming = self.model.links.get(&outgoing)?;
            let mut payees = self.house.payees.iter();
            let payee = payees.find(|payee| payee.outpoint() == incoming.channel)?;
            let held = payee.holds().iter().find(|held| held.hold.id == incoming.id)?;
            let may = self.may_claim(payee, held) && !self.knows(payee, held);
            may.then(|| held.hold.amount.to_msat())
        };
        secured().unwrap_or(Msat::ZERO)
    }

    /// The dearest that receiver `to` could do, beside what the hub paid it of its own.
    fn dearest(&self, to: usize) -> Result<Msat, Flaw> {
        let receiver = self.receivers.get(to).ok_or(Flaw::Stage)?;
        let channel = receiver.payee.outpoint();
        let spend = self.sky.spend_of(channel).filter(|spend| spend.confirmed.is_some());
        let published = spend
            .as_ref()
            .and_then(|spend| receiver.published.get(&spend.tx.compute_txid()).copied());
        let is_final = spend.as_ref().is_some_and(|spend| self.is_deep(spend.confirmed));
        let costs = receiver.got.iter().enumerate().map(|(at, voucher)| {
            let there = spend.as_ref().filter(|_| published == Some(at));
            if is_final && there.is_none() {
                return Msat::ZERO;
            }
            self.cost(channel, voucher, there)
        });
        Ok(costs.max().unwrap_or(Msat::ZERO))
    }

    /// What a voucher costs the hub beyond what it can claim for it, if it is published, or as it
    /// stands on the chain.
    fn cost(&self, channel: OutPoint, voucher: &HoldVoucher, there: Option<&Spend>) -> Msat {
        let depth = Blocks::new(DEPTH).unwrap_or(Blocks::MAX);
        let count = voucher.holds.len();
        let cost = voucher.holds.iter().enumerate().fold(voucher.paid, |sum, (number, hold)| {
            let amount = hold.amount.to_msat();
            let rest = amount.saturating_sub(self.secured(HoldRef { channel, id: hold.id }));
            let cost = match there {
                Some(spend) => match self.coin(spend, count, number) {
                    Coin::Unspent if !is_late(spend, hold) => rest,
                    Coin::Claimed => rest,
                    Coin::Unspent | Coin::TakenBack => Msat::ZERO,
                },
                None if self.sky.tip() < hold.expiry.saturating_after(depth) => rest,
                None => Msat::ZERO,
            };
            sum.saturating_add(cost)
        });
        self.beside(channel, cost)
    }

    /// What is left of a cost when the hub's own payments are taken out: whoever publishes an older
    /// voucher forgoes the later ones.
    fn beside(&self, channel: OutPoint, cost: Msat) -> Msat {
        cost.saturating_sub(self.model.plain_of(channel, Msat::MAX))
    }

    /// What came of it when every height has passed: lost, and earned.
    pub(super) fn balance(&self) -> (Msat, Msat) {
        let held = self.held();
        let cost = self.receivers.iter().fold(Msat::ZERO, |sum, receiver| {
            let channel = receiver.payee.outpoint();
            let spend = self.sky.spend_of(channel).filter(|spend| spend.confirmed.is_some());
            let there = spend.as_ref().and_then(|spend| {
                let at = receiver.published.get(&spend.tx.compute_txid())?;
                Some((spend, receiver.got.get(*at)?))
            });
            let cost = match there {
                Some((spend, voucher)) => self.taken(voucher, spend),
                None => receiver.got.iter().map(|got| got.paid).max().unwrap_or(Msat::ZERO),
            };
            sum.saturating_add(self.beside(channel, cost))
        });
        (cost.saturating_sub(held), held.saturating_sub(cost))
    }

    /// What a settlement paid the receiver, its claims included.
    fn taken(&self, voucher: &HoldVoucher, spend: &Spend) -> Msat {
        let count = voucher.holds.len();
        voucher.holds.iter().enumerate().fold(voucher.paid, |sum, (number, hold)| {
            match self.coin(spend, count, number) {
                Coin::Claimed => sum.saturating_add(hold.amount.to_msat()),
                Coin::Unspent | Coin::TakenBack => sum,
            }
        })
    }

    pub(super) fn lost(&self) -> Msat {
        self.balance().0
    }
}

/// Whether a settlement came after the hold's end: the hub alone can take it for k - 1 blocks.
fn is_late(spend: &Spend, hold: &Hold) -> bool {
    spend.confirmed.is_some_and(|at| at > hold.expiry)
}
