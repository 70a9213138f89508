//! What the receivers do: they reveal, release, show any voucher after a power cut, publish any
//! voucher that ever left for them, early or late, and claim what it holds.

use bitcoin::{OutPoint, Transaction};

use super::Flaw;
use super::cast::{AUX, K, view};
use super::counters::Count;
use super::house::Stop;
use super::watch::rate;
use super::world::World;
use crate::hub::Input;
use crate::stream::payer::{HoldStep, PayerPhase};
use crate::stream::{HoldVoucher, StreamError};
use crate::tx::hold::{Held, HoldCoin, HoldSettlement, HoldSpend};
use crate::tx::{Channel, Settled, Settlement, TxError, Voucher};
use crate::units::{Blocks, Height, Msat, Sat};

impl World<'_> {
    /// A voucher leaves the hub: the receiver has it from here on, whatever it says.
    pub(super) fn send(&mut self, to: usize, voucher: &HoldVoucher) -> Result<(), Stop> {
        let receiver = self.receivers.get_mut(to).ok_or(Flaw::Stage)?;
        receiver.got.push(voucher.clone());
        let view = view(self.sky.tip());
        if let Ok(step) = receiver.payee.accept_held(&self.cast.context, voucher, &view) {
            receiver.payee.apply(step.record())?;
        }
        Ok(())
    }

    /// A receiver tells the hub a preimage of a hold that it has; or any other.
    pub(super) fn reveal(&mut self) -> Result<(), Stop> {
        if self.is_off() {
            return Ok(());
        }
        let to = self.pick(self.receivers.len());
        let receiver = self.receivers.get(to).ok_or(Flaw::Stage)?;
        let hashes: Vec<_> =
            receiver.payee.holds().iter().map(|held| (held.hold.id, held.hold.hash)).collect();
        let at = self.pick(hashes.len());
        let Some((id, hash)) = hashes.get(at) else { return Ok(()) };
        let Some((secret, true)) = self.secret_of(*hash) else { return Ok(()) };
        let receiver = self.receivers.get_mut(to).ok_or(Flaw::Stage)?;
        if let Ok(record) = receiver.payee.fulfil(*id, secret, &view(self.sky.tip())) {
            receiver.payee.apply(&record)?;
        }
        self.counters.count(Count::Told);
        self.house.tell(Input::Preimage(secret))?;
        if self.dice.chance(700) { self.do_duties() } else { Ok(()) }
    }

    /// A receiver says that it will not claim: the hub drops the hold, and believes nothing.
    pub(super) fn receiver_releases(&mut self) -> Result<(), Stop> {
        if self.is_off() {
            return Ok(());
        }
        let to = self.pick(self.receivers.len());
        let open: Vec<_> = self.house.payer(to)?.holds().iter().map(|kept| kept.hold.id).collect();
        let at = self.pick(open.len());
        let Some(id) = open.get(at).copied() else { return Ok(()) };
        let receiver = self.receivers.get_mut(to).ok_or(Flaw::Stage)?;
        receiver.released.insert(id);
        if let Ok(record) = receiver.payee.release(id) {
            receiver.payee.apply(&record)?;
        }
        self.counters.count(Count::Released);
        if let Ok(record) = self.house.payer(to)?.released(id) {
            self.house.keep_payer(to, &record)?;
        }
        let height = self.sky.tip();
        let step = self.house.step_of(to, height, |payer, context, signer, session, view| {
            payer.drop_holds(context, signer, session, view, &AUX)
        })?;
        self.send_step(to, step)
    }

    /// The hub pays a receiver of its own money, which covers what was held before.
    pub(super) fn hub_pays(&mut self) -> Result<(), Stop> {
        if self.is_off() || !self.pays {
            return Ok(());
        }
        let (to, amount) = (self.pick(self.receivers.len()), self.dice.below(9_000_000));
        let before = self.house.payer(to)?.signed();
        let paid = before.saturating_add(Msat::new(amount).unwrap_or(Msat::ZERO));
        let height = self.sky.tip();
        let step = self.house.step_of(to, height, |payer, context, signer, session, view| {
            payer.pay_held(context, signer, paid, session, view, &AUX)
        })?;
        if step.is_ok() {
            // Even if the power fails now, it may be durable, and leave later.
            let channel = self.house.payer(to)?.outpoint();
            self.model.pay(channel, paid, Msat::new(amount).unwrap_or(Msat::ZERO));
        }
        self.send_step(to, step)
    }

    fn send_step(&mut self, to: usize, step: Result<HoldStep, StreamError>) -> Result<(), Stop> {
        let Ok(step) = step else { return Ok(()) };
        let voucher = self.house.keep_step(to, step, None)?;
        self.send(to, &voucher)
    }

    /// After a power cut a receiver shows a voucher, not always its best; or keeps silent.
    pub(super) fn resume(&mut self) -> Result<(), Stop> {
        for to in 0..self.receivers.len() {
            let payer = self.house.payer(to)?;
            if self.is_off() || payer.phase() != PayerPhase::Unsure || self.dice.chance(300) {
                continue;
            }
            let receiver = self.receivers.get(to).ok_or(Flaw::Stage)?;
            let count = receiver.got.len();
            let at = if self.dice.chance(700) { count.saturating_sub(1) } else { self.pick(count) };
            let shown = self.receivers.get(to).and_then(|receiver| receiver.got.get(at)).cloned();
            let house = &mut self.house;
            let payer = house.payers.get(to).ok_or(Flaw::Stage)?;
            let resumed = match &shown {
                Some(shown) => payer.resume_held(&self.cast.context, &mut house.signer, shown),
                None => payer.resume(&self.cast.context, &mut house.signer, None),
            };
            let Ok(resumed) = resumed else { continue };
            self.counters.count(Count::Resumed);
            let record = resumed.record().clone();
            self.house.keep_payer(to, &record)?;
        }
        Ok(())
    }

    /// A receiver puts any voucher on the chain that ever left for it.
    pub(super) fn publish(&mut self) -> Result<(), Stop> {
        let to = self.pick(self.receivers.len());
        let receiver = self.receivers.get(to).ok_or(Flaw::Stage)?;
        let count = receiver.got.len();
        if count == 0 || self.dice.chance(750) {
            return Ok(());
        }
        let at = if self.dice.chance(300) { count.saturating_sub(1) } else { self.pick(count) };
        self.publish_at(to, at)
    }

    fn publish_at(&mut self, to: usize, at: usize) -> Result<(), Stop> {
        let receiver = self.receivers.get(to).ok_or(Flaw::Stage)?;
        let count = receiver.got.len();
        let Some(voucher) = receiver.got.get(at) else { return Ok(()) };
        let Some(tx) = self.settlement(receiver.payee.channel(), voucher)? else { return Ok(()) };
        let newest = at.saturating_add(1) == count;
        let late = voucher.holds.iter().any(|hold| hold.expiry < self.sky.tip());
        if self.sky.spend_of(receiver.payee.outpoint()).is_none() {
            self.counters.count(if newest { Count::Newest } else { Count::Older });
            if late {
                self.counters.count(Count::Late);
            }
        }
        if let Some(receiver) = self.receivers.get_mut(to) {
            receiver.published.insert(tx.compute_txid(), at);
        }
        self.sky.broadcast(tx, None);
        Ok(())
    }

    /// A receiver chooses its time: so that its claim and the hub's timeout become possible in one
    /// block or nearly so, or so late that only the claim's delay keeps it from both in a row.
    pub(super) fn ambush(&mut self) -> Result<(), Stop> {
        let height = self.sky.height;
        let k = u32::from(K);
        for to in 0..self.receivers.len() {
            let receiver = self.receivers.get(to).ok_or(Flaw::Stage)?;
            let is_ripe = |voucher: &HoldVoucher| {
                voucher.holds.iter().any(|hold| {
                    let expiry = hold.expiry.to_u32();
                    let race =
                        expiry.saturating_sub(k)..=expiry.saturating_sub(k).saturating_add(3);
                    let late = expiry..=expiry.saturating_add(4);
                    let known = matches!(self.secret_of(hold.hash), Some((_, true)));
                    known && (race.contains(&height) || late.contains(&height))
                })
            };
            let Some(at) = receiver.got.iter().position(is_ripe) else { continue };
            if self.dice.chance(120) {
                self.publish_at(to, at)?;
            }
        }
        Ok(())
    }

    /// The settlement of any voucher; none of one that is not worth a fee.
    fn settlement(
        &self,
        channel: &Channel,
        voucher: &HoldVoucher,
    ) -> Result<Option<Transaction>, Flaw> {
        let context = &self.cast.context;
        if voucher.holds.is_empty() {
            let plain = Voucher { paid: voucher.paid, signature: voucher.signature };
            let part = Settled::new(channel.clone(), channel.verify(context, plain)?)?;
            let script = channel.output().script().clone();
            return match Settlement::at_rate(vec![part], &[], script, rate()) {
                Ok(settlement) => Ok(Some(settlement.transaction().clone())),
                Err(TxError::NotWorthIt { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            };
        }
        let fee = Sat::new(300).map_err(|_| Flaw::Stage)?;
        let held = Held::new(context, channel.clone(), voucher.paid, fee, voucher.holds.clone())?;
        let checked = held.verify(context, &voucher.signature)?;
        Ok(Some(HoldSettlement::new(checked, &[])?.transaction().clone()))
    }

    /// Whoever can take a hold's output on the chain does so, or waits.
    pub(super) fn claim_somewhere(&mut self) -> Result<(), Stop> {
        for to in 0..self.receivers.len() {
            if self.dice.chance(400) {
                self.receiver_claims(to)?;
            }
        }
        for from in 0..self.senders.len() {
            if self.dice.chance(400) {
                self.sender_takes_back(from)?;
            }
        }
        Ok(())
    }

    fn receiver_claims(&mut self, to: usize) -> Result<(), Stop> {
        let receiver = self.receivers.get(to).ok_or(Flaw::Stage)?;
        let channel = receiver.payee.channel();
        let Some(spend) = self.sky.spend_of(channel.outpoint()) else { return Ok(()) };
        let (txid, Some(settled)) = (spend.tx.compute_txid(), spend.confirmed) else {
            return Ok(());
        };
        let at = receiver.published.get(&txid);
        let Some(voucher) = at.and_then(|at| receiver.got.get(*at)) else { return Ok(()) };
        let first = spend.tx.output.len().saturating_sub(voucher.holds.len());
        let mut claims = Vec::new();
        for (number, hold) in voucher.holds.iter().enumerate() {
            let vout = u32::try_from(first.saturating_add(number)).map_err(|_| Flaw::Stage)?;
            let outpoint = OutPoint { txid, vout };
            let Some((secret, true)) = self.secret_of(hold.hash) else { continue };
            let early = self.next_block() < settled.saturating_after(hold.delay.to_blocks());
            if early || self.sky.spend_of(outpoint).is_some_and(|taken| taken.confirmed.is_some()) {
                continue;
            }
            let scripts = hold.output(&self.cast.context, channel.output())?;
            let coin = HoldCoin::new(outpoint, hold.amount, scripts);
            let script = channel.output().script().clone();
            let claim = HoldSpend::claim(coin, secret, script, rate())?;
            claims.push((claim.transaction().clone(), receiver.released.contains(&hold.id)));
        }
        for (claim, released) in claims {
            if self.sky.broadcast(claim, None) && released {
                self.counters.count(Count::Betrayed);
            }
        }
        Ok(())
    }

    fn next_block(&self) -> Height {
        self.sky.tip().saturating_after(Blocks::new(1).unwrap_or(Blocks::MIN))
    }
}
