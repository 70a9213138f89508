//! What is done next, and what the senders do: they pay, ask, fold, drop, keep silent, and say
//! old things again.

use super::Flaw;
use super::cast::{AUX, K, MARGIN, session, tip, view};
use super::counters::Count;
use super::house::Stop;
use super::watch::{ITEMS, bundle, rate};
use super::world::World;
use crate::hub::{HoldRef, Incoming, Input, Load, Onward};
use crate::stream::HoldVoucher;
use crate::stream::payee::{PayeeHold, PayeeHoldState};
use crate::stream::payer::HoldStep;
use crate::tx::hold::{ClaimDelay, HoldSpend, Preimage};
use crate::tx::seen::OutputStatus;
use crate::units::{Blocks, HoldId, Msat, Sat};

/// The deeds, in the order of their numbers.
const DEEDS: u64 = 20;

impl World<'_> {
    /// One deed of somebody.
    pub(super) fn deed(
        &mut self,
        tell: &mut dyn FnMut(&dyn core::fmt::Display),
    ) -> Result<(), Stop> {
        let deed = self.dice.below(DEEDS);
        tell(&format!("{} deed {deed}", self.sky.height));
        if self.dice.chance(400) {
            self.resume()?;
        }
        match deed {
            0..=2 => self.order(),
            3 => self.resend(),
            4 | 5 => self.sender_folds(),
            6 => self.sender_drops(),
            7 => self.sender_pays(),
            8..=10 => self.reveal(),
            11 => self.receiver_releases(),
            12 => self.hub_pays(),
            13 => self.hear_order_again(),
            14 => self.publish(),
            15 => self.claim_somewhere(),
            16 => Ok(self.block()?),
            17 => {
                for _ in 0..self.dice.within(2, 12) {
                    self.block()?;
                }
                Ok(())
            }
            18 => {
                self.plan_cut();
                Ok(())
            }
            _ => {
                if self.dice.chance(500) {
                    return Ok(self.reorg()?);
                }
                Ok(self.outage()?)
            }
        }
    }

    pub(super) fn pick(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).unwrap_or(0);
        usize::try_from(self.dice.below(count)).unwrap_or(0)
    }

    /// A preimage: new, or one that was used before.
    fn secret(&mut self) -> Preimage {
        if !self.secrets.is_empty() && self.dice.chance(150) {
            self.counters.count(Count::SameHash);
            let at = self.pick(self.secrets.len());
            return self.secrets.get(at).map_or(Preimage::new([0; 32]), |(secret, _)| *secret);
        }
        let mut bytes = [0x5a; 32];
        let number = self.secrets.len().to_be_bytes();
        for (to, from) in bytes.iter_mut().zip(number) {
            *to = from;
        }
        let known = self.dice.chance(800);
        self.secrets.push((Preimage::new(bytes), known));
        Preimage::new(bytes)
    }

    /// A sender holds something for the hub, and asks for a forward of it.
    fn order(&mut self) -> Result<(), Stop> {
        let (from, to) = (self.pick(self.senders.len()), self.pick(self.receivers.len()));
        let secret = self.secret();
        let onward = self.onward(to)?;
        let policy = *self.house.hub.policy();
        let Ok(price) = policy.price(&onward.load) else { return Ok(()) };
        let delay = ClaimDelay::new(K)?;
        let margin = Blocks::new(MARGIN).map_err(|_| Flaw::Stage)?;
        let Ok(least) = policy.expiry(onward.expiry, delay, margin) else { return Ok(()) };
        // Some pay or last a little too little.
        let one = Blocks::new(1).map_err(|_| Flaw::Stage)?;
        let expiry = if self.dice.chance(50) {
            least.saturating_before(one)
        } else {
            let more = u32::try_from(self.dice.below(3)).unwrap_or(0);
            least.saturating_after(Blocks::new(more).unwrap_or(Blocks::MIN))
        };
        let less = Msat::new(u64::from(self.dice.chance(50))).unwrap_or(Msat::ZERO);
        let price = price.saturating_sub(less);
        let is_bundle = matches!(onward.load, Load::Bundle { .. });
        let height = self.sky.tip();
        let sender = self.senders.get_mut(from).ok_or(Flaw::Stage)?;
        let (payer, context, view) = (&sender.payer, &self.cast.context, view(height));
        let step = if is_bundle {
            let bundle = bundle(secret.hash(), expiry, [1; 32], price)?;
            payer.offer_bundle(context, &mut sender.signer, &bundle, session(0), &view, &AUX)
        } else {
            let amount = price.ceil_to_sat();
            let hash = secret.hash();
            payer.offer(context, &mut sender.signer, hash, amount, expiry, session(0), &view, &AUX)
        };
        let Ok(step) = step else { return Ok(()) };
        let same =
            |hold: &&crate::tx::hold::Hold| (hold.hash, hold.expiry) == (secret.hash(), expiry);
        let id = step.holds().iter().rev().find(same).map_or(HoldId::MIN, |hold| hold.id);
        sender.orders.entry(id).or_insert(onward);
        self.sender_step(from, step)?;
        self.deliver(from)?;
        self.hear_order(from, id)
    }

    /// What goes on: one payment, or a bundle that is no whole number of satoshis.
    fn onward(&mut self, to: usize) -> Result<Onward, Flaw> {
        let channel = self.house.payer(to)?.outpoint();
        let sats = self.dice.within(900, 9_000);
        let load = if self.dice.chance(500) {
            Load::Single(Sat::new(sats).map_err(|_| Flaw::Stage)?)
        } else {
            let total = sats.saturating_mul(1_000).saturating_add(self.dice.below(1_000));
            let total = Msat::new(total).map_err(|_| Flaw::Stage)?;
            Load::Bundle { root: [1; 32], items: ITEMS, total }
        };
        let blocks = u32::try_from(self.dice.within(26, 60)).unwrap_or(26);
        let expiry = self.sky.tip().saturating_after(Blocks::new(blocks).unwrap_or(Blocks::MIN));
        let delay = ClaimDelay::new(K)?;
        Ok(Onward { channel, delay, load, expiry })
    }

    /// A sender is careful with its own state, whatever it does to the hub.
    fn sender_step(&mut self, from: usize, step: HoldStep) -> Result<(), Flaw> {
        let sender = self.senders.get_mut(from).ok_or(Flaw::Stage)?;
        sender.payer.apply(step.record())?;
        sender.sent.push(step.commit(&mut crate::store::MemoryStore::default())?);
        Ok(())
    }

    /// One of a sender's vouchers arrives, mostly its newest; or none.
    fn deliver(&mut self, from: usize) -> Result<(), Stop> {
        if self.is_off() || self.dice.chance(150) {
            self.counters.count(Count::Lost);
            return Ok(());
        }
        let sender = self.senders.get(from).ok_or(Flaw::Stage)?;
        let count = sender.sent.len();
        let at = if self.dice.chance(850) { count.saturating_sub(1) } else { self.pick(count) };
        let sender = self.senders.get(from).ok_or(Flaw::Stage)?;
        let Some(voucher) = sender.sent.get(at).cloned() else { return Ok(()) };
        self.hear(from, &voucher)
    }

    /// The hub takes a voucher, and tells the table which holds it paid, in one commit.
    fn hear(&mut self, from: usize, voucher: &HoldVoucher) -> Result<(), Stop> {
        let payee = self.house.payee(from)?;
        let view = view(self.sky.tip());
        let Ok(step) = payee.accept_held(&self.cast.context, voucher, &view) else {
            return Ok(());
        };
        let channel = payee.outpoint();
        let is_gone = |held: &&PayeeHold| !voucher.holds.iter().any(|hold| hold.id == held.hold.id);
        let inputs: Vec<_> = payee
            .holds()
            .iter()
            .filter(is_gone)
            .map(|held| {
                let incoming = HoldRef { channel, id: held.hold.id };
                let may_drop =
                    held.hold.expiry <= view.tip.height || held.state == PayeeHoldState::Released;
                if may_drop { Input::Past { incoming } } else { Input::Paid { incoming } }
            })
            .collect();
        for input in &inputs {
            if let Input::Paid { .. } = input {
                self.counters.count(Count::Paid);
            }
        }
        let record = step.record().clone();
        self.house.keep_payee(from, &record, &inputs)
    }

    fn hear_order_again(&mut self) -> Result<(), Stop> {
        let from = self.pick(self.senders.len());
        let sender = self.senders.get(from).ok_or(Flaw::Stage)?;
        let orders: Vec<_> = sender.orders.keys().copied().collect();
        let at = self.pick(orders.len());
        match orders.get(at) {
            Some(id) => self.hear_order(from, *id),
            None => Ok(()),
        }
    }

    /// The hub takes an order on a hold that is durable and open; what it refuses it releases.
    fn hear_order(&mut self, from: usize, id: HoldId) -> Result<(), Stop> {
        if self.is_off() {
            return Ok(());
        }
        let sender = self.senders.get(from).ok_or(Flaw::Stage)?;
        let Some(onward) = sender.orders.get(&id).copied() else { return Ok(()) };
        let payee = self.house.payee(from)?;
        let channel = payee.outpoint();
        let mut open = payee.holds().iter();
        let open = open.find(|held| held.hold.id == id && held.state == PayeeHoldState::Open);
        let Some(held) = open else { return Ok(()) };
        let hold = held.hold;
        let due = held.bundle.map_or(hold.amount.to_msat(), |sum| sum.total());
        let margin = Blocks::new(MARGIN).unwrap_or(Blocks::MAX);
        let incoming = Incoming { channel, hold, due, margin };
        let order = Input::Order { incoming, onward, tip: self.sky.tip() };
        match self.house.hub.decide(&order) {
            Ok(step) if step.is_empty() => {}
            Ok(_) => {
                self.house.tell(order)?;
                self.counters.count(Count::Ordered);
            }
            Err(_) => {
                self.counters.count(Count::Refused);
                if self.house.hub.forward(incoming.at()).is_none() {
                    // Nothing was offered for it.
                    if let Ok(record) = self.house.payee(from)?.release(id) {
                        self.house.keep_payee(from, &record, &[])?;
                        self.senders.get_mut(from).ok_or(Flaw::Stage)?.released.insert(id);
                    }
                }
            }
        }
        if self.dice.chance(700) { self.do_duties() } else { Ok(()) }
    }

    fn resend(&mut self) -> Result<(), Stop> {
        let from = self.pick(self.senders.len());
        self.deliver(from)
    }

    /// A sender that was told a preimage pays for it; or never does.
    fn sender_folds(&mut self) -> Result<(), Stop> {
        let from = self.pick(self.senders.len());
        let height = self.sky.tip();
        let sender = self.senders.get_mut(from).ok_or(Flaw::Stage)?;
        let Some(told) = sender.told.pop() else { return Ok(()) };
        let (payer, context, view) = (&sender.payer, &self.cast.context, view(height));
        let open = payer.holds().iter().filter(|kept| kept.state.is_present());
        let same = open.filter(|kept| kept.hold.hash == told.hash()).map(|kept| kept.hold.id);
        let Some(id) = same.min() else { return Ok(()) };
        let step = payer.fold(context, &mut sender.signer, id, &told, session(0), &view, &AUX);
        let Ok(step) = step else { return Ok(()) };
        self.sender_step(from, step)?;
        self.deliver(from)
    }

    fn sender_drops(&mut self) -> Result<(), Stop> {
        let from = self.pick(self.senders.len());
        let height = self.sky.tip();
        let sender = self.senders.get_mut(from).ok_or(Flaw::Stage)?;
        for id in core::mem::take(&mut sender.released) {
            if let Ok(record) = sender.payer.released(id) {
                sender.payer.apply(&record)?;
            }
        }
        let (payer, context, view) = (&sender.payer, &self.cast.context, view(height));
        let Ok(step) = payer.drop_holds(context, &mut sender.signer, session(0), &view, &AUX)
        else {
            return Ok(());
        };
        self.sender_step(from, step)?;
        self.deliver(from)
    }

    fn sender_pays(&mut self) -> Result<(), Stop> {
        let (from, amount) = (self.pick(self.senders.len()), self.dice.below(2_000_000));
        let height = self.sky.tip();
        let sender = self.senders.get_mut(from).ok_or(Flaw::Stage)?;
        let (payer, context, view) = (&sender.payer, &self.cast.context, view(height));
        let paid = payer.signed().saturating_add(Msat::new(amount).unwrap_or(Msat::ZERO));
        let Ok(step) = payer.pay_held(context, &mut sender.signer, paid, session(0), &view, &AUX)
        else {
            return Ok(());
        };
        let channel = sender.payer.outpoint();
        self.model.gift(channel, paid, Msat::new(amount).unwrap_or(Msat::ZERO));
        self.sender_step(from, step)?;
        self.deliver(from)
    }

    /// A sender takes back what the hub settled and did not claim in time.
    pub(super) fn sender_takes_back(&mut self, from: usize) -> Result<(), Stop> {
        let sender = self.senders.get_mut(from).ok_or(Flaw::Stage)?;
        let Some(spend) = self.sky.spend_of(sender.payer.outpoint()) else { return Ok(()) };
        let status =
            OutputStatus { spent: Some(spend.clone()), ..super::cast::funded(&sender.payer) };
        let seen = sender.payer.notice(Some(&status), &tip(self.sky.tip()))?;
        sender.payer.apply(seen.record())?;
        let script = sender.payer.channel().output().script().clone();
        let published = self.coins.published(&self.cast.context, &sender.payer, &spend.tx)?;
        for (kept, coin) in published {
            if self.sky.tip() >= kept.hold.expiry && spend.confirmed.is_some() {
                let back = HoldSpend::time_out(coin, script.clone(), rate())?;
                self.sky.broadcast(back.transaction().clone(), None);
            }
        }
        Ok(())
    }
}
