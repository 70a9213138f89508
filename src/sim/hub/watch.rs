//! What the hub does at each block: it looks at its channels, tells the table what it sees, takes
//! to the chain what must be there, and does its duties. `node` will do the same.

use std::collections::BTreeMap;

use bitcoin::{Transaction, Txid};

use super::Flaw;
use super::cast::{AUX, funded, tip, view};
use super::counters::Count;
use super::house::Stop;
use super::world::{DEPTH, SETTLE_WAITS, TIMEOUT_WAITS, World};
use crate::hub::{Duty, End, Forward, HoldRef, Input, Load, Onward, Stage, Upstream};
use crate::keys::Context;
use crate::signer::SignerError;
use crate::stream::bundle::{BundleSum, Bundling};
use crate::stream::payee::{PayeeHold, PayeeHoldState, PayeePhase};
use crate::stream::payer::{HoldStep, PayerHold};
use crate::stream::{Payee, Payer, StreamError, View};
use crate::tx::hold::{HoldCoin, HoldSpend, PaymentHash, Preimage};
use crate::tx::seen::{OutputStatus, Spend};
use crate::units::{Blocks, FeeRate, Height, HoldId, Msat};

/// What every claim and timeout here pays.
pub(super) fn rate() -> FeeRate {
    FeeRate::new(1_000).unwrap_or(FeeRate::MIN)
}

/// A settlement, and the holds that were looked for in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    txid: Txid,
    ids: Vec<HoldId>,
}

/// The holds' outputs that were found already: looking for one is a point multiplication, and the
/// hub looks at every block.
#[derive(Default)]
pub(super) struct Coins {
    published: BTreeMap<Seen, Vec<(PayerHold, HoldCoin)>>,
    settled: BTreeMap<Seen, Vec<(PayeeHold, HoldCoin)>>,
}

impl Coins {
    pub(super) fn published(
        &mut self,
        context: &Context,
        payer: &Payer,
        tx: &Transaction,
    ) -> Result<Vec<(PayerHold, HoldCoin)>, Flaw> {
        let ids = payer.holds().iter().map(|kept| kept.hold.id).collect();
        let key = Seen { txid: tx.compute_txid(), ids };
        if let Some(found) = self.published.get(&key) {
            return Ok(found.clone());
        }
        let found = payer.published(context, tx)?;
        self.published.insert(key, found.clone());
        Ok(found)
    }

    fn settled(
        &mut self,
        context: &Context,
        payee: &Payee,
        tx: &Transaction,
    ) -> Result<Vec<(PayeeHold, HoldCoin)>, Flaw> {
        let ids = payee.holds().iter().map(|held| held.hold.id).collect();
        let key = Seen { txid: tx.compute_txid(), ids };
        if !self.settled.contains_key(&key) {
            self.settled.insert(key.clone(), payee.published(context, tx)?);
        }
        // Whether it was fulfilled or released since is as new as the payee's record.
        let now = |(held, coin): &(PayeeHold, HoldCoin)| {
            let held = payee.holds().iter().find(|now| now.hold.id == held.hold.id)?;
            Some((*held, coin.clone()))
        };
        Ok(self.settled.get(&key).into_iter().flatten().filter_map(now).collect())
    }
}

impl World<'_> {
    /// One look at the chain and everything that follows from it.
    pub(super) fn watch(&mut self) -> Result<(), Stop> {
        for number in 0..self.receivers.len() {
            self.watch_out(number)?;
        }
        for number in 0..self.senders.len() {
            self.watch_in(number)?;
        }
        self.house.tell(Input::Tip(self.sky.tip()))?;
        self.do_duties()
    }

    fn status(&self, payer: &Payer) -> OutputStatus {
        OutputStatus { spent: self.sky.spend_of(payer.outpoint()), ..funded(payer) }
    }

    pub(super) fn is_deep(&self, at: Option<Height>) -> bool {
        let depth = Blocks::new(DEPTH).unwrap_or(Blocks::MAX);
        at.is_some_and(|at| at.depth_at(self.sky.tip()) >= depth)
    }

    /// An outgoing channel: what was published, which preimage stands there, what is dead.
    fn watch_out(&mut self, number: usize) -> Result<(), Stop> {
        let payer = self.house.payer(number)?;
        let channel = payer.outpoint();
        let status = self.status(payer);
        let seen = payer.notice(Some(&status), &tip(self.sky.tip()))?;
        if seen.record() != payer.record() {
            let record = seen.record().clone();
            self.house.keep_payer(number, &record)?;
        }
        if let Some(spend) = status.spent {
            self.watch_spend(number, &spend)?;
        } else {
            let (tip, before) = (self.sky.tip(), self.dead());
            self.house.tell(Input::Unspent { channel, tip })?;
            for _ in before..self.dead() {
                self.counters.count(Count::Lapsed);
            }
        }
        // What the payer forgot could only hurt whoever published it.
        let payer = self.house.payer(number)?;
        let kept: Vec<_> = payer.holds().iter().map(|kept| kept.hold.id).collect();
        let offered = self.house.hub.into_channel(channel).filter_map(|forward| {
            let offered = matches!(
                forward.stage(),
                Stage::Offered { .. } | Stage::Won { settled: false, .. }
            );
            forward.outgoing().filter(|hold| offered && !kept.contains(&hold.id))
        });
        for outgoing in offered.collect::<Vec<_>>() {
            self.counters.count(Count::Covered);
            self.house.tell(Input::Over { outgoing, end: End::Covered })?;
        }
        Ok(())
    }

    fn dead(&self) -> usize {
        self.house.hub.forwards().filter(|forward| forward.stage() == Stage::Dead).count()
    }

    fn watch_spend(&mut self, number: usize, spend: &Spend) -> Result<(), Stop> {
        let payer = self.house.payer(number)?;
        let (channel, script) = (payer.outpoint(), payer.channel().output().script().clone());
        let published = self.coins.published(&self.cast.context, payer, &spend.tx)?;
        let is_deep = self.is_deep(spend.confirmed);
        for (kept, coin) in &published {
            let taken = self.sky.spend_of(coin.outpoint());
            if let Some(preimage) = taken.as_ref().and_then(|spend| coin.preimage_in(&spend.tx))
                && self.house.tell(Input::Preimage(preimage))?
            {
                self.counters.count(Count::Read);
            }
            let is_due = self.sky.tip() >= kept.hold.expiry && spend.confirmed.is_some();
            if is_due && taken.is_none_or(|taken| taken.confirmed.is_none()) {
                let timeout = HoldSpend::time_out(coin.clone(), script.clone(), rate())?;
                self.sky.broadcast(timeout.transaction().clone(), Some(TIMEOUT_WAITS));
            }
        }
        if is_deep {
            for (outgoing, end) in self.ends(number, &published)? {
                self.house.tell(Input::Over { outgoing, end })?;
            }
        } else if spend.confirmed.is_none() {
            // Until a block holds it, it is late by its expiry as if it had never come.
            self.house.tell(Input::Unspent { channel, tip: self.sky.tip() })?;
        }
        Ok(())
    }

    /// What a settlement for good makes of the holds that the table waits for. Holds of equal hash
    /// and expiry have one script: an output of it may be either's, so it counts for both.
    fn ends(
        &self,
        number: usize,
        published: &[(PayerHold, HoldCoin)],
    ) -> Result<Vec<(HoldRef, End)>, Flaw> {
        let payer = self.house.payer(number)?;
        let mut ends = Vec::new();
        for outgoing in self.house.hub.into_channel(payer.outpoint()).filter_map(Forward::outgoing)
        {
            let mut kept = payer.holds().iter();
            let Some(kept) = kept.find(|kept| kept.hold.id == outgoing.id) else { continue };
            let same = published.iter().filter(|(other, _)| {
                (other.hold.hash, other.hold.expiry) == (kept.hold.hash, kept.hold.expiry)
            });
            let taken = same.map(|(_, coin)| {
                let spend = self.sky.spend_of(coin.outpoint());
                let spend = spend.filter(|spend| self.is_deep(spend.confirmed))?;
                Some(coin.preimage_in(&spend.tx).is_some())
            });
            // Nothing is over while one of them is open.
            let Some(taken) = taken.collect::<Option<Vec<_>>>() else { continue };
            let end = match taken.as_slice() {
                [] => End::Absent,
                all if all.contains(&true) => End::Claimed,
                _ => End::TimedOut,
            };
            ends.push((outgoing, end));
        }
        Ok(ends)
    }

    /// An incoming channel: what the hub settled, what it can claim, what is paid or past.
    fn watch_in(&mut self, number: usize) -> Result<(), Stop> {
        let payee = self.house.payee(number)?;
        let channel = payee.outpoint();
        let sender = self.senders.get(number).ok_or(Flaw::Stage)?;
        let status = self.status(&sender.payer);
        let seen = payee.notice(Some(&status), &tip(self.sky.tip()))?;
        if seen.record() != payee.record() {
            let record = seen.record().clone();
            self.house.keep_payee(number, &record, &[])?;
        }
        let spend = status.spent.filter(|spend| spend.confirmed.is_some());
        let payee = self.house.payee(number)?;
        let settled = match &spend {
            Some(spend) => self.coins.settled(&self.cast.context, payee, &spend.tx)?,
            None => Vec::new(),
        };
        if let Some(spend) = &spend {
            self.collect(number, spend, &settled)?;
        }
        let held = self.house.hub.forwards().filter(|forward| {
            forward.incoming().channel == channel && forward.upstream() == Upstream::Held
        });
        for incoming in held.map(Forward::incoming).collect::<Vec<_>>() {
            if let Some(input) = self.end_of(number, incoming, spend.as_ref(), &settled)? {
                self.house.tell(input)?;
            }
        }
        Ok(())
    }

    /// Claims what the settlement brought, once it can be.
    fn collect(
        &mut self,
        number: usize,
        spend: &Spend,
        published: &[(PayeeHold, HoldCoin)],
    ) -> Result<(), Stop> {
        let script = self.house.payee(number)?.channel().output().script().clone();
        let Some(settled) = spend.confirmed else { return Ok(()) };
        for (held, coin) in published {
            let PayeeHoldState::Fulfilled(preimage) = held.state else { continue };
            let claim = HoldSpend::claim(coin.clone(), preimage, script.clone(), rate())?;
            let next = self.sky.tip().saturating_after(Blocks::new(1).unwrap_or(Blocks::MIN));
            if next >= claim.earliest(settled) {
                self.sky.broadcast(claim.transaction().clone(), Some(SETTLE_WAITS));
            }
        }
        Ok(())
    }

    /// What the chain says of an incoming hold that was not folded.
    fn end_of(
        &self,
        number: usize,
        incoming: HoldRef,
        spend: Option<&Spend>,
        published: &[(PayeeHold, HoldCoin)],
    ) -> Result<Option<Input>, Flaw> {
        let payee = self.house.payee(number)?;
        let past = Some(Input::Past { incoming });
        let Some(held) = payee.holds().iter().find(|held| held.hold.id == incoming.id) else {
            // Folded and dropped ones are told with the voucher that said so.
            return Ok(past);
        };
        let depth = Blocks::new(DEPTH).unwrap_or(Blocks::MAX);
        let is_past = self.sky.tip() >= held.hold.expiry.saturating_after(depth);
        let Some(spend) = spend else { return Ok(past.filter(|_| is_past)) };
        // By its script, not by its place: a reorg can bring an older settlement back.
        let coin = published.iter().find(|(other, _)| other.hold.id == held.hold.id);
        let Some((_, coin)) = coin else {
            return Ok(past.filter(|_| self.is_deep(spend.confirmed)));
        };
        let Some(taken) = self.sky.spend_of(coin.outpoint()) else {
            // The sender may never fetch it; without a preimage it is nothing to the hub.
            let is_ours = matches!(held.state, PayeeHoldState::Fulfilled(_));
            return Ok(past.filter(|_| is_past && !is_ours));
        };
        if !self.is_deep(taken.confirmed) {
            return Ok(None);
        }
        let claimed = coin.preimage_in(&taken.tx).is_some();
        Ok(if claimed { Some(Input::Paid { incoming }) } else { past })
    }

    /// Every duty once, the table being asked again after each, since one can end another.
    pub(super) fn do_duties(&mut self) -> Result<(), Stop> {
        let duties: Vec<_> = self.house.hub.duties(self.sky.tip()).collect();
        for duty in duties {
            if !self.house.hub.duties(self.sky.tip()).any(|now| now == duty) {
                continue;
            }
            match duty {
                Duty::Offer { incoming, hash, onward } => self.offer(incoming, hash, &onward)?,
                Duty::Fulfil { incoming, preimage } => self.fulfil(incoming, preimage)?,
                Duty::Settle { incoming, .. } => self.settle(incoming)?,
                Duty::Fold { outgoing, preimage } => self.fold(outgoing, preimage)?,
                Duty::Release { incoming } => self.release(incoming)?,
            }
        }
        Ok(())
    }

    fn out_of(&self, channel: bitcoin::OutPoint) -> Result<usize, Flaw> {
        let at = self.house.payers.iter().position(|payer| payer.outpoint() == channel);
        at.ok_or(Flaw::Stage)
    }

    fn offer(&mut self, incoming: HoldRef, hash: PaymentHash, onward: &Onward) -> Result<(), Stop> {
        let number = self.out_of(onward.channel)?;
        let height = self.sky.tip();
        let step =
            self.house.step_of(number, height, |payer, context, signer, session, view| {
                offer_of(payer, context, signer, hash, onward, session, view)
            })?;
        let step = match step {
            Ok(step) => step,
            // After a cut the receiver must show its best voucher first.
            Err(
                StreamError::MustResume { .. }
                | StreamError::Signer(SignerError::MustResume { .. }),
            ) => return Ok(()),
            Err(_) => return self.decline(incoming),
        };
        let same =
            |hold: &&crate::tx::hold::Hold| (hold.hash, hold.expiry) == (hash, onward.expiry);
        let id = step.holds().iter().rev().find(same).map_or(HoldId::MIN, |hold| hold.id);
        let offered = Input::Offered { incoming, id };
        if self.house.hub.decide(&offered).is_err() {
            // A bundle that would grow another forward's hold: H6.
            return self.decline(incoming);
        }
        let voucher = self.house.keep_step(number, step, Some(offered))?;
        self.counters.count(Count::Offered);
        if let Load::Bundle { .. } = onward.load {
            self.counters.count(Count::Bundle);
        }
        self.send(number, &voucher)
    }

    fn decline(&mut self, incoming: HoldRef) -> Result<(), Stop> {
        self.counters.count(Count::Declined);
        self.house.tell(Input::Declined { incoming })?;
        Ok(())
    }

    fn fulfil(&mut self, incoming: HoldRef, preimage: Preimage) -> Result<(), Stop> {
        let number = self.sender_of(incoming).ok_or(Flaw::Stage)?;
        let payee = self.house.payee(number)?;
        // Too late, or not there any more: the chain decides.
        let Ok(record) = payee.fulfil(incoming.id, preimage, &view(self.sky.tip())) else {
            return Ok(());
        };
        if record != *payee.record() {
            self.house.keep_payee(number, &record, &[])?;
        }
        // Revealed, again and again; it may be lost each time.
        if self.dice.chance(600) {
            let sender = self.senders.get_mut(number).ok_or(Flaw::Stage)?;
            sender.told.push(preimage);
        }
        Ok(())
    }

    fn settle(&mut self, incoming: HoldRef) -> Result<(), Stop> {
        let number = self.sender_of(incoming).ok_or(Flaw::Stage)?;
        let payee = self.house.payee(number)?;
        if !matches!(payee.phase(), PayeePhase::Open | PayeePhase::Promised { .. }) {
            return Ok(());
        }
        let settlement = payee.hold_settlement(&self.cast.context, &[])?;
        let (record, _) = payee.promise_held(&settlement)?;
        if record != *payee.record() {
            self.counters.count(Count::Settled);
            self.house.keep_payee(number, &record, &[])?;
        }
        self.sky.broadcast(settlement.transaction().clone(), Some(SETTLE_WAITS));
        Ok(())
    }

    fn fold(&mut self, outgoing: HoldRef, preimage: Preimage) -> Result<(), Stop> {
        let number = self.out_of(outgoing.channel)?;
        let height = self.sky.tip();
        let step =
            self.house.step_of(number, height, |payer, context, signer, session, view| {
                payer.fold(context, signer, outgoing.id, &preimage, session, view, &AUX)
            })?;
        // Dropped after a release, past, on the chain, or to be resumed: the receiver has its way.
        let Ok(step) = step else { return Ok(()) };
        let voucher = self.house.keep_step(number, step, Some(Input::Folded { outgoing }))?;
        self.counters.count(Count::Folded);
        self.send(number, &voucher)
    }

    pub(super) fn release(&mut self, incoming: HoldRef) -> Result<(), Stop> {
        let number = self.sender_of(incoming).ok_or(Flaw::Stage)?;
        let payee = self.house.payee(number)?;
        // Settled: its outputs stand on the chain, and lapse there.
        let Ok(record) = payee.release(incoming.id) else { return Ok(()) };
        self.house.keep_payee(number, &record, &[Input::Released { incoming }])?;
        self.counters.count(Count::Backward);
        if self.dice.chance(700) {
            let sender = self.senders.get_mut(number).ok_or(Flaw::Stage)?;
            sender.released.insert(incoming.id);
        }
        Ok(())
    }
}

/// A single hold, or a bundle of two items.
fn offer_of(
    payer: &Payer,
    context: &Context,
    signer: &mut crate::signer::MemorySigner,
    hash: PaymentHash,
    onward: &Onward,
    session: crate::units::SessionId,
    view: &View,
) -> Result<HoldStep, StreamError> {
    match onward.load {
        Load::Single(amount) => {
            payer.offer(context, signer, hash, amount, onward.expiry, session, view, &AUX)
        }
        Load::Bundle { root, total, .. } => {
            let bundle = bundle(hash, onward.expiry, root, total)?;
            payer.offer_bundle(context, signer, &bundle, session, view, &AUX)
        }
    }
}

/// The items of every bundle here: one millisatoshi, and the rest.
pub(super) const ITEMS: u32 = 2;

pub(super) fn bundle(
    hash: PaymentHash,
    expiry: Height,
    root: [u8; 32],
    total: Msat,
) -> Result<crate::stream::bundle::Bundle, StreamError> {
    let one = Msat::new(1).unwrap_or(Msat::ZERO);
    let mut bundling = Bundling::new(hash, expiry);
    bundling.push(one)?;
    bundling.push(total.saturating_sub(one))?;
    bundling.seal(BundleSum::new(root, ITEMS, total)?)
}
