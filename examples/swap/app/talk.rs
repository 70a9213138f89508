//! What a party says and answers: messages, and the duties of its swap.

use millstream::store::Batch;
use millstream::stream::payee::{PayeeHoldState, PayeePhase};
use millstream::stream::payer::PayerPhase;
use millstream::stream::{HoldVoucher, StreamError};
use millstream::swap::{Duty, End, Input, Leg, Tips};
use millstream::tx::hold::{PaymentHash, Preimage};
use millstream::units::{Blocks, HoldId, Msat, Sat};

use super::ends::{AUX, session};
use super::party::{Lie, Message, Party, Sky, Stop};

impl Party {
    /// A message has come.
    pub(crate) fn hear(&mut self, message: &Message, sky: &mut Sky<'_>) -> Result<(), Stop> {
        match message {
            Message::Hello => {
                self.outbox.push(Message::Best(self.inn.payee.best_held()));
                self.told = false;
            }
            Message::Best(best) => self.resume(best.as_ref(), sky)?,
            Message::Voucher(voucher) => self.accept(voucher, sky)?,
            Message::Preimage(preimage) => {
                let known = self.swap.is_some_and(|swap| swap.deal().hash == preimage.hash());
                if known {
                    self.take(&Input::Preimage(*preimage), Batch::default())?;
                }
            }
            Message::Release(id) => self.dropped(*id, sky)?,
        }
        self.act(sky)
    }

    /// The payee shows its best voucher: both go on from there, and the newest is sent again.
    fn resume(&mut self, best: Option<&HoldVoucher>, sky: &Sky<'_>) -> Result<(), Stop> {
        let view = sky.chains[self.pays_on].view(sky.now)?;
        if self.out.payer.phase() == PayerPhase::Unsure {
            let (payer, signer) = (&self.out.payer, &mut self.out.signer);
            let resumed = match best {
                Some(best) => payer.resume_held(&self.context, signer, best),
                None => payer.resume(&self.context, signer, None),
            };
            let Ok(resumed) = resumed else { return Ok(()) };
            let record = resumed.record().clone();
            let mut batch = Batch::default();
            batch.put(record.key()?, &record.encode()?)?;
            self.commit(&batch)?;
            self.out.payer.apply(&record)?;
        }
        let shown =
            best.map_or_else(|| (Msat::ZERO, Vec::new()), |best| (best.paid, best.holds.clone()));
        let kept = self.out.payer.holds().iter().filter(|kept| kept.state.is_present());
        let ours = (self.out.payer.signed(), kept.map(|kept| kept.hold).collect::<Vec<_>>());
        if shown == ours {
            return Ok(());
        }
        let (payer, signer) = (&self.out.payer, &mut self.out.signer);
        let again = payer.pay_held(&self.context, signer, payer.signed(), session(), &view, &AUX);
        match again {
            Ok(step) => self.put_step(step, None),
            // Spent, or too late: the chain decides.
            Err(_) => Ok(()),
        }
    }

    fn accept(&mut self, voucher: &HoldVoucher, sky: &Sky<'_>) -> Result<(), Stop> {
        let view = sky.chains[self.paid_on()].view(sky.now)?;
        // Refused are those that come late, or of a channel that is on the chain already.
        let Ok(accepted) = self.inn.payee.accept_held(&self.context, voucher, &view) else {
            return Ok(());
        };
        if !accepted.is_new() {
            return Ok(());
        }
        let record = accepted.record().clone();
        let incoming = self.swap.and_then(|swap| swap.stage().incoming());
        let was = incoming
            .and_then(|id| self.inn.payee.holds().iter().find(|held| held.hold.id == id).copied());
        let rose = record.paid().saturating_sub(self.inn.payee.paid());
        let still = voucher.holds.iter().any(|hold| Some(hold.id) == incoming);
        let input = was.filter(|_| !still).map(|held| {
            let folded = rose >= held.hold.amount.to_msat();
            if folded { Input::Paid } else { Input::Past }
        });
        let step = match (self.swap, input) {
            (Some(swap), Some(input)) => Some(swap.decide(&self.policy, &input)?),
            _ => None,
        };
        if input == Some(Input::Paid) {
            self.say("is paid off the chain");
        }
        self.put_payee(&record, step)
    }

    /// The payee says that it will not claim: the hold is dropped, and watched until it ends.
    fn dropped(&mut self, id: HoldId, sky: &Sky<'_>) -> Result<(), Stop> {
        let Ok(record) = self.out.payer.released(id) else { return Ok(()) };
        let mut payer = self.out.payer.clone();
        payer.apply(&record)?;
        let view = sky.chains[self.pays_on].view(sky.now)?;
        let signer = &mut self.out.signer;
        match payer.drop_holds(&self.context, signer, session(), &view, &AUX) {
            Ok(step) => {
                self.out.payer = payer;
                self.say("drops its hold, which the other side gave up");
                self.put_step(step, None)
            }
            Err(_) => Ok(()),
        }
    }

    /// Whatever is due now.
    pub(crate) fn act(&mut self, sky: &mut Sky<'_>) -> Result<(), Stop> {
        let tips = sky.tips()?;
        self.take(&Input::Tips(tips), Batch::default())?;
        self.match_holds(&tips)?;
        while let Some(swap) = self.swap {
            let before = (swap, self.outbox.len());
            for duty in swap.duties(&self.policy, &tips).collect::<Vec<_>>() {
                self.do_duty(&duty, sky)?;
            }
            if self.swap.map(|swap| (swap, self.outbox.len())) == Some(before) {
                break;
            }
        }
        if let Some(Lie::Publish) = self.lie {
            self.publish(sky)?;
        }
        Ok(())
    }

    /// Every open hold is either the swap's, or given back.
    fn match_holds(&mut self, tips: &Tips) -> Result<(), Stop> {
        let open = self.inn.payee.holds().iter();
        let open: Vec<_> = open.filter(|held| held.state == PayeeHoldState::Open).collect();
        let Some(hold) = open.first().map(|held| held.hold) else { return Ok(()) };
        if self.inn.payee.phase() != PayeePhase::Open {
            return Ok(());
        }
        let refused = match self.swap {
            Some(swap) if swap.stage().incoming() == Some(hold.id) => None,
            Some(_) => {
                self.take(&Input::Held { hold, tips: *tips }, Batch::default()).map_or_else(
                    |stop| match stop {
                        Stop::Gone => Err(Stop::Gone),
                        Stop::Broken(error) => Ok(Some(error)),
                    },
                    |()| Ok(None),
                )?
            }
            None => Some("no swap of it".into()),
        };
        if let Some(reason) = refused {
            self.say(&format!("refuses a hold: {reason}"));
            let record = self.inn.payee.release(hold.id)?;
            self.put_payee(&record, None)?;
            self.outbox.push(Message::Release(hold.id));
        }
        Ok(())
    }

    fn do_duty(&mut self, duty: &Duty, sky: &mut Sky<'_>) -> Result<(), Stop> {
        let view = sky.chains[self.paid_on()].view(sky.now)?;
        match *duty {
            Duty::Offer { hash, leg } => self.offer(hash, &leg, sky),
            Duty::Fulfil { incoming, preimage } => {
                if self.told || self.lie == Some(Lie::Silence) || self.lie == Some(Lie::Publish) {
                    return Ok(());
                }
                let Ok(record) = self.inn.payee.fulfil(incoming, preimage, &view) else {
                    return Ok(());
                };
                self.put_payee(&record, None)?;
                self.told = true;
                self.say("tells the preimage");
                self.outbox.push(Message::Preimage(preimage));
                Ok(())
            }
            Duty::Fold { outgoing, preimage } => self.fold(outgoing, &preimage, sky),
            Duty::Release { incoming } => {
                let Ok(record) = self.inn.payee.release(incoming) else { return Ok(()) };
                let Some(swap) = self.swap else { return Ok(()) };
                let step = swap.decide(&self.policy, &Input::Released)?;
                self.put_payee(&record, Some(step))?;
                self.say("gives the other side's hold up");
                self.outbox.push(Message::Release(incoming));
                Ok(())
            }
            // To settle is the monitor's, at this height and at the rate that it takes.
            _ => Ok(()),
        }
    }

    fn offer(&mut self, hash: PaymentHash, leg: &Leg, sky: &Sky<'_>) -> Result<(), Stop> {
        let view = sky.chains[self.pays_on].view(sky.now)?;
        let (mut hash, mut amount, mut expiry) = (hash, leg.amount, leg.expiry);
        match self.lie {
            Some(Lie::Hash) => hash = Preimage::new([0xbb; 32]).hash(),
            Some(Lie::Amount) => amount = Sat::new(amount.to_sat() - 1)?,
            Some(Lie::Expiry) => {
                expiry = expiry.saturating_before(Blocks::new(1)?);
            }
            Some(Lie::Silence | Lie::Publish) | None => {}
        }
        let (payer, signer) = (&self.out.payer, &mut self.out.signer);
        let offered =
            payer.offer(&self.context, signer, hash, amount, expiry, session(), &view, &AUX);
        let step = match offered {
            Ok(step) => step,
            // It must be shown its best voucher first; then the duty is there again.
            Err(StreamError::MustResume { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Some(id) = step.holds().last().map(|hold| hold.id) else { return Ok(()) };
        let Some(swap) = self.swap else { return Ok(()) };
        let also = swap.decide(&self.policy, &Input::Offered { id })?;
        self.put_step(step, Some(also))?;
        self.say(&format!("offers {} sat until {}", amount.to_sat(), expiry.to_u32()));
        Ok(())
    }

    fn fold(&mut self, id: HoldId, preimage: &Preimage, sky: &Sky<'_>) -> Result<(), Stop> {
        let view = sky.chains[self.pays_on].view(sky.now)?;
        let (payer, signer) = (&self.out.payer, &mut self.out.signer);
        let folded = payer.fold(&self.context, signer, id, preimage, session(), &view, &AUX);
        // To be resumed first, past, or on the chain: the payee has its way.
        let (Ok(step), Some(swap)) = (folded, self.swap) else { return Ok(()) };
        let also = swap.decide(&self.policy, &Input::Over(End::Folded))?;
        self.put_step(step, Some(also))?;
        self.say("pays off the chain");
        Ok(())
    }
}
