//! Conditional payments as the payee takes them: accepted by the rules, fulfilled or released,
//! settled in time, claimed with the preimage.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bitcoin::{ScriptBuf, Transaction};

use super::accept::{Accepted, AcceptedProof};
use super::holds::{PayeeHold, PayeeHoldState};
use super::{Payee, PayeePhase, PayeeRecord};
use crate::keys::{Context, Entropy};
use crate::signer::Signer;
use crate::stream::bundle::due;
use crate::stream::error::StreamError;
use crate::stream::hold::{HoldVoucher, coins, sign_spend};
use crate::stream::view::View;
use crate::tx::hold::{Hold, HoldCoin, HoldSettlement, HoldSpend, Preimage};
use crate::tx::{FeeInput, TxError};
use crate::units::{FeeRate, Height, HoldId, Msat, Sat};

impl Payee {
    /// Decides on a voucher with holds, or on one without that ends the holds of the last one.
    ///
    /// S8, beside the rules of [`Payee::accept`]: every hold of the best voucher is there
    /// unchanged, or grown (same id, hash and expiry), or folded (paid rises by its full amount),
    /// or released by this payee, or past its expiry. New ones have rising ids, at least the terms'
    /// dust, an expiry that can still be enforced and lies below the last call, and a deep output
    /// under them. A fold needs no preimage: what is paid is paid. A hold that is a bundle is worth
    /// the bundle's satoshis, and grows with it only. One verification.
    ///
    /// # Errors
    /// As [`Payee::accept`]; [`StreamError::HoldChanged`], [`StreamError::HoldReused`],
    /// [`StreamError::NotFolded`], [`StreamError::HoldTooNear`], [`StreamError::HoldTooFar`],
    /// [`StreamError::WrongBundle`]; [`TxError`] for holds below dust, too many, out of order, or
    /// above the capacity.
    pub fn accept_held(
        &self,
        context: &Context,
        offered: &HoldVoucher,
        view: &View,
    ) -> Result<Accepted, StreamError> {
        self.accept_held_beside(context, offered, Msat::ZERO, view)
    }

    /// The same beside what was accepted elsewhere, as [`Payee::accept_beside`].
    ///
    /// # Errors
    /// As [`Payee::accept_held`].
    pub fn accept_held_beside(
        &self,
        context: &Context,
        offered: &HoldVoucher,
        beside: Msat,
        view: &View,
    ) -> Result<Accepted, StreamError> {
        let voucher = offered.voucher();
        let same = self.record.holds.stated() == offered.holds
            && self.record.holds.bundles() == offered.bundles;
        if self.record.best == Some(voucher) && same {
            return Ok(self.repeated());
        }
        self.check_newer(voucher.paid, beside, view)?;
        if self.record.phase != PayeePhase::Open && !same {
            // A settlement that has left states its own holds, and no other.
            return Err(self.wrong_phase("change holds"));
        }
        let list = self.next_holds(voucher.paid, offered, view)?;
        if self.record.best == Some(voucher) {
            // Ids and bundles are not signed, and the best voucher is shown to whoever asks: what
            // its payer meant came with it first.
            let id = offered.holds.first().map_or(HoldId::MIN, |hold| hold.id);
            return Err(StreamError::HoldChanged { id });
        }
        // Last, because it is the only check that costs anything.
        let proof = if offered.holds.is_empty() {
            AcceptedProof::Newer(self.channel.verify(context, voucher)?)
        } else {
            let checked = offered.check(context, &self.channel, &self.record.rules)?;
            AcceptedProof::Held(Box::new(checked))
        };
        let equal_paid = self.record.best.is_some_and(|best| best.paid == voucher.paid);
        if equal_paid && same {
            // Another signature of the same state: a payer must not cause writes for nothing.
            return Ok(self.repeated());
        }
        let mut record = self.record.clone();
        record.best = Some(voucher);
        let newest = offered.holds.last().map_or(HoldId::MIN, |hold| hold.id);
        record.holds.last = record.holds.last.max(newest);
        record.holds.list = list;
        Ok(self.accepted(record, proof))
    }

    /// S8: what becomes of every hold, and whether the new ones may be there.
    fn next_holds(
        &self,
        paid: Msat,
        voucher: &HoldVoucher,
        view: &View,
    ) -> Result<Vec<PayeeHold>, StreamError> {
        let offered = &voucher.holds;
        self.record.rules.check_count(offered.len())?;
        for pair in offered.windows(2) {
            if let [before, after] = pair
                && before.id >= after.id
            {
                return Err(TxError::HoldOrder { before: before.id, after: after.id }.into());
            }
        }
        voucher.check_bundles()?;
        let mut gone = Msat::ZERO;
        for held in &self.record.holds.list {
            let id = held.hold.id;
            match offered.iter().find(|hold| hold.id == id) {
                Some(now) if !held.hold.may_grow_to(now) => {
                    return Err(StreamError::HoldChanged { id });
                }
                Some(_) => {}
                None if may_be_dropped(held, view.tip.height) => {}
                None => gone = gone.saturating_add(due(&held.hold, held.bundle.as_ref())),
            }
        }
        let rose = paid.saturating_sub(self.paid());
        if rose < gone {
            return Err(StreamError::NotFolded { want: gone, got: rose });
        }
        let last = self.record.holds.last;
        offered
            .iter()
            .map(|hold| {
                let known = self.record.holds.get(hold.id);
                match known {
                    Some(held) if held.hold.amount == hold.amount => {}
                    None if hold.id <= last => {
                        return Err(StreamError::HoldReused { id: hold.id, last });
                    }
                    // More of one is judged as a new one.
                    Some(_) | None => self.check_new(hold, view)?,
                }
                let bundle = voucher.bundle(hold.id).copied();
                let before = known.and_then(|held| held.bundle);
                if before.is_some_and(|sum| bundle.is_none_or(|now| !sum.may_grow_to(&now))) {
                    return Err(StreamError::WrongBundle { id: hold.id });
                }
                let state = known.map_or(PayeeHoldState::Open, |held| held.state);
                Ok(PayeeHold { hold: *hold, state, bundle })
            })
            .collect()
    }

    /// What is newly held must be enforceable.
    fn check_new(&self, hold: &Hold, view: &View) -> Result<(), StreamError> {
        let rules = &self.record.rules;
        if rules.claim_delay() != Some(hold.delay) {
            return Err(StreamError::HoldChanged { id: hold.id });
        }
        rules.check_dust(hold)?;
        self.check_deep(hold.amount, view)?;
        let outpoint = self.outpoint();
        let last_call = self.last_call().ok_or(StreamError::Unconfirmed { outpoint })?;
        rules.check_expiry(hold.expiry, view.tip.height, last_call)
    }

    /// The holds of the best voucher, in the order of their ids.
    #[must_use]
    pub fn holds(&self) -> &[PayeeHold] {
        &self.record.holds.list
    }

    /// Whether this payee may still claim hold `id`. Of one that its best voucher does not have, or
    /// that it refused, it may say so to the payer as of a release: the payer then drops it, where
    /// the two would wait for each other until the expiry.
    #[must_use]
    pub fn may_claim(&self, id: HoldId) -> bool {
        self.record.holds.get(id).is_some_and(|held| held.state != PayeeHoldState::Released)
    }

    /// The best voucher with its holds: what the payee presents to a payer that lost its memory.
    #[must_use]
    pub fn best_held(&self) -> Option<HoldVoucher> {
        let best = self.record.best?;
        let (holds, bundles) = (self.record.holds.stated(), self.record.holds.bundles());
        Some(HoldVoucher { paid: best.paid, holds, bundles, signature: best.signature })
    }

    /// The record with the preimage of an open hold. Commit it, then reveal the preimage: from then
    /// on [`Payee::settle_by`] is a duty, unless the payer folds.
    ///
    /// # Errors
    /// [`StreamError::NoSuchHold`], [`StreamError::HoldReleased`]; [`StreamError::HoldPast`] once
    /// it could not be enforced any more, or, with its settlement confirmed, at its expiry;
    /// [`TxError::WrongPreimage`].
    pub fn fulfil(
        &self,
        id: HoldId,
        preimage: Preimage,
        view: &View,
    ) -> Result<PayeeRecord, StreamError> {
        let held = self.record.holds.get(id).ok_or(StreamError::NoSuchHold { id })?;
        preimage.check(held.hold.hash)?;
        match held.state {
            PayeeHoldState::Fulfilled(_) => return Ok(self.record.clone()),
            PayeeHoldState::Released => return Err(StreamError::HoldReleased { id }),
            PayeeHoldState::Open => {}
        }
        let (expiry, height) = (held.hold.expiry, view.live_height()?);
        let is_past = match self.record.phase {
            // Its output is on the chain: it is claimed there k blocks later, and from the expiry
            // on the payer's timeout can be first.
            PayeePhase::Spent { at: Some(settled), .. } => {
                height >= expiry || settled.saturating_after(held.hold.delay.to_blocks()) > expiry
            }
            // Revealed later, the payer could keep both service and money.
            _ => height >= self.record.rules.settle_by(expiry),
        };
        if is_past {
            return Err(StreamError::HoldPast { id, expiry });
        }
        Ok(self.with_state(id, PayeeHoldState::Fulfilled(preimage)))
    }

    /// The record after this payee promised not to claim a hold. Commit it, then tell the payer.
    ///
    /// # Errors
    /// [`StreamError::NoSuchHold`]; [`StreamError::HoldFulfilled`] if its preimage was revealed;
    /// [`StreamError::WrongPhase`] once a settlement has left.
    pub fn release(&self, id: HoldId) -> Result<PayeeRecord, StreamError> {
        if self.record.phase != PayeePhase::Open {
            return Err(self.wrong_phase("release a hold"));
        }
        let held = self.record.holds.get(id).ok_or(StreamError::NoSuchHold { id })?;
        if let PayeeHoldState::Fulfilled(_) = held.state {
            return Err(StreamError::HoldFulfilled { id });
        }
        Ok(self.with_state(id, PayeeHoldState::Released))
    }

    fn with_state(&self, id: HoldId, state: PayeeHoldState) -> PayeeRecord {
        let mut record = self.record.clone();
        if let Some(held) = record.holds.list.iter_mut().find(|held| held.hold.id == id) {
            held.state = state;
        }
        record
    }

    /// Below which height a settlement must be confirmed: the last call, or earlier where a hold
    /// whose preimage is known must be claimed before its expiry. None while unconfirmed.
    #[must_use]
    pub fn settle_by(&self) -> Option<Height> {
        let claims = self.fulfilled().map(|(hold, _)| self.record.rules.settle_by(hold.expiry));
        self.last_call().map(|last_call| claims.fold(last_call, Height::min))
    }

    /// The holds whose preimage is known.
    pub(super) fn fulfilled(&self) -> impl Iterator<Item = (&Hold, Preimage)> {
        self.record.holds.list.iter().filter_map(|held| match held.state {
            PayeeHoldState::Fulfilled(preimage) => Some((&held.hold, preimage)),
            PayeeHoldState::Open | PayeeHoldState::Released => None,
        })
    }

    /// What settling with holds brings home after its agreed fee, before the claims' own fees.
    pub(super) fn worth_with_holds(&self) -> Sat {
        let balance = self.paid().floor_to_sat().saturating_sub(self.record.rules.holds.fee);
        self.fulfilled().fold(balance, |sum, (hold, _)| sum.saturating_add(hold.amount))
    }

    /// Refuses what a channel with holds does not do.
    pub(super) fn check_no_holds(&self) -> Result<(), StreamError> {
        match self.record.holds.list.len() {
            0 => Ok(()),
            count => Err(StreamError::HoldsOpen { count }),
        }
    }

    /// Refuses a close or top-up, which would void holds that can still be paid.
    pub(super) fn check_no_live_holds(&self, tip: Height) -> Result<(), StreamError> {
        let live = self.record.holds.list.iter().filter(|held| !may_be_dropped(held, tip));
        match live.count() {
            0 => Ok(()),
            count => Err(StreamError::HoldsOpen { count }),
        }
    }

    /// The settlement of the best voucher with its holds, with coins added for its fee. One
    /// verification.
    ///
    /// # Errors
    /// [`StreamError::WrongPhase`], [`StreamError::NothingToSettle`] without a voucher,
    /// [`TxError::NoHolds`] if it has none ([`super::SettlementPlan`] takes it then).
    pub fn hold_settlement(
        &self,
        context: &Context,
        added: &[FeeInput],
    ) -> Result<HoldSettlement, StreamError> {
        if !self.may_settle() {
            return Err(self.wrong_phase("settle"));
        }
        let best = self.best_held().ok_or(StreamError::NothingToSettle)?;
        let checked = best.check(context, &self.channel, &self.record.rules)?;
        Ok(HoldSettlement::new(checked, added)?)
    }

    /// The record after the payee's signature on `settlement` has left, and the record of the
    /// channel that goes on with its change. Commit both, then sign.
    ///
    /// # Errors
    /// [`StreamError::WrongPhase`], [`StreamError::NothingToSettle`] for another channel's;
    /// [`StreamError::WrongProposal`] if it is of another state.
    pub fn promise_held(
        &self,
        settlement: &HoldSettlement,
    ) -> Result<(PayeeRecord, Option<PayeeRecord>), StreamError> {
        if !self.may_settle() {
            return Err(self.wrong_phase("settle"));
        }
        let held = settlement.held();
        if *held.channel() != self.channel {
            return Err(StreamError::NothingToSettle);
        }
        let (got, want) = (held.paid(), self.paid());
        let same = held.holds().iter().map(|(hold, _)| hold);
        if got != want || !same.eq(self.record.holds.list.iter().map(|held| &held.hold)) {
            return Err(StreamError::WrongProposal { want, got });
        }
        let successor = settlement.rollover()?.map(|next| {
            let rest = Msat::new(u64::from(got.sub_sat())).unwrap_or(Msat::ZERO);
            self.successor(next.outpoint(), next.capacity(), rest)
        });
        Ok((self.promised(got), successor))
    }

    /// The outputs of `settlement` that are holds of this payee's best voucher. After a reorg an
    /// older settlement may stand, which has not all of them.
    ///
    /// # Errors
    /// [`StreamError::Tx`] for scripts that cannot be made, which nobody can provoke.
    pub fn published(
        &self,
        context: &Context,
        settlement: &Transaction,
    ) -> Result<Vec<(PayeeHold, HoldCoin)>, StreamError> {
        let holds = self.record.holds.list.iter().map(|held| &held.hold);
        let found = coins(context, &self.channel, holds, settlement)?;
        let with_held =
            |(hold, coin): (Hold, HoldCoin)| Some((*self.record.holds.get(hold.id)?, coin));
        Ok(found.into_iter().filter_map(with_held).collect())
    }

    /// The holds that `settlement` put on the chain and whose preimage is known.
    ///
    /// # Errors
    /// [`StreamError::Tx`] for scripts that cannot be made, which nobody can provoke.
    pub fn claimable(
        &self,
        context: &Context,
        settlement: &Transaction,
    ) -> Result<Vec<(HoldCoin, Preimage)>, StreamError> {
        let found = self.published(context, settlement)?;
        let known = |(held, coin): (PayeeHold, HoldCoin)| match held.state {
            PayeeHoldState::Fulfilled(preimage) => Some((coin, preimage)),
            PayeeHoldState::Open | PayeeHoldState::Released => None,
        };
        Ok(found.into_iter().filter_map(known).collect())
    }

    /// Claims a hold's output to `script`, k blocks after its settlement confirmed at `settled`.
    ///
    /// # Errors
    /// [`StreamError::TooEarly`], [`StreamError::Tx`], [`StreamError::Signer`].
    #[expect(clippy::too_many_arguments, reason = "each is one choice of the payee")]
    pub fn claim(
        &self,
        signer: &mut dyn Signer,
        coin: HoldCoin,
        preimage: Preimage,
        settled: Height,
        script: ScriptBuf,
        rate: FeeRate,
        view: &View,
        aux: &Entropy,
    ) -> Result<Transaction, StreamError> {
        let spend = HoldSpend::claim(coin, preimage, script, rate)?;
        sign_spend(&self.channel, spend, settled, signer, view, aux)
    }
}

/// Whether the payer may leave the hold out without paying it. At the expiry's own height the
/// payer's timeout is one block away, so a payer that is a block ahead is not refused.
fn may_be_dropped(held: &PayeeHold, tip: Height) -> bool {
    held.state == PayeeHoldState::Released || held.hold.expiry <= tip
}
