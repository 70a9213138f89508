//! After the faults: a payment goes through, every channel ends, and the accounts are made up.

use bitcoin::OutPoint;

use super::Flaw;
use super::sky::Rates;
use super::stage::{Pair, Standing};
use crate::stream::SpendKind;
use crate::stream::payee::PayeePhase;
use crate::stream::payer::{Ending, PayerPhase};
use crate::tx::dust_limit;
use crate::units::{FeeRate, Msat, Sat};

/// Weight units of a settlement of one channel, as `stream` counts it.
const ALONE_WEIGHT: u64 = 817;

/// A refund at the usual rate costs 137 sat, and leaves 330 at least.
const WORTH_SPENDING: u64 = 480;

impl Pair {
    pub(super) fn come_to_rest(
        &mut self,
        tell: &mut dyn FnMut(&dyn core::fmt::Display),
    ) -> Result<(), Flaw> {
        self.calm_down()?;
        self.check()?;
        self.pay_once_more(tell)?;
        self.check()?;
        if self.dice.chance(300) {
            tell(&"close");
            self.close()?;
        }
        tell(&Standing(self));
        self.outlive_channels(tell)?;
        self.make_up_accounts()
    }

    fn calm_down(&mut self) -> Result<(), Flaw> {
        self.observer.seen().rates = Rates::default();
        for end in [self.payer, self.payee] {
            let end = self.world.end_mut(end)?;
            end.source_mut().set_cut_off(false);
            end.store_mut().fill_at(None);
            end.store_mut().cut_at(0, crate::store::fault::Cut::Before);
        }
        self.mine_late()?;
        self.reconnect()?;
        for _ in 0..self.terms.confirmation_depth.to_u32().saturating_add(1) {
            self.mine(1)?;
            self.do_duties()?;
        }
        self.pass(11)?;
        self.reconnect()?;
        self.pass(11)
    }

    /// Where the channel allows a payment, it must come through.
    fn pay_once_more(&mut self, tell: &mut dyn FnMut(&dyn core::fmt::Display)) -> Result<(), Flaw> {
        let Some(outpoint) = self.current() else { return Ok(()) };
        let Some(payer) = self.payer_of(outpoint) else { return Ok(()) };
        let more = Msat::new(1_000)?;
        let tip = self.world.chain().with(|chain| chain.tip().height);
        let late = payer.last_call().is_none_or(|last_call| tip >= last_call);
        let confirmed = payer.deadline().map(|at| at.saturating_before(self.delay.to_blocks()));
        let deep = confirmed.is_some_and(|at| at.depth_at(tip) >= self.terms.confirmation_depth);
        let leaving = matches!(payer.phase(), PayerPhase::Leaving { .. });
        let promised =
            self.payee_of(outpoint).is_some_and(|payee| !matches!(payee.phase(), PayeePhase::Open));
        if !deep || late || leaving || promised || Self::spendable(payer) < more {
            return Ok(());
        }
        if !self.pay_more(outpoint, more, Ending::KeepsChange)? {
            let error = self.refusal.unwrap_or(crate::node::NodeError::NoTip);
            return Err(Flaw::Refused { error });
        }
        self.pass(11)?;
        let signed = self.payer_of(outpoint).map(crate::stream::Payer::signed);
        tell(&Standing(self));
        if signed != Some(self.observer.seen().acked(outpoint)) {
            return Err(Flaw::Wedged { what: "a payment that is not acknowledged" });
        }
        Ok(())
    }

    /// Blocks until both sides have forgotten every channel.
    fn outlive_channels(
        &mut self,
        tell: &mut dyn FnMut(&dyn core::fmt::Display),
    ) -> Result<(), Flaw> {
        let delay = self.delay.to_blocks().to_u32();
        let most = delay.saturating_mul(3).saturating_add(60);
        for _ in 0..most {
            if self.nothing_left() {
                return Ok(());
            }
            self.mine(1)?;
            self.do_duties()?;
            self.check()?;
        }
        tell(&Standing(self));
        Err(Flaw::Wedged { what: "a channel that does not end" })
    }

    /// Whether no channel is left but such as nobody can spend: the rest would not pay the fee.
    fn nothing_left(&self) -> bool {
        let ends = [self.payer, self.payee].map(|end| self.world.end(end));
        ends.into_iter().flatten().all(|end| {
            let payers = end.node().payers().map(crate::stream::Payer::channel);
            let payees = end.node().payees().map(crate::stream::Payee::channel);
            payers.chain(payees).all(|channel| channel.capacity().to_sat() < WORTH_SPENDING)
        })
    }

    /// What became of each outpoint on the chain, against what was acknowledged and signed there.
    fn make_up_accounts(&mut self) -> Result<(), Flaw> {
        let mut realised = Msat::ZERO;
        let mut flaw = None;
        for (outpoint, channel) in self.channels.clone() {
            let status = self.world.chain().with(|chain| chain.output(outpoint));
            let kind = status
                .and_then(|status| status.spent)
                .and_then(|spend| spend.confirmed.and_then(|_| SpendKind::of(&channel, &spend.tx)));
            let start = self.started.get(&outpoint).copied().unwrap_or(Msat::ZERO);
            let (signed, acked) = {
                let seen = self.observer.seen();
                (seen.signed(outpoint), seen.acked(outpoint))
            };
            let limit = self.terms.zero_conf_limit.to_msat();
            let cheap = self.not_worth_it(&channel)?;
            let (got, allowed) = match kind {
                Some(SpendKind::Settlement { paid, .. }) => (paid, limit),
                Some(SpendKind::Joint { .. }) => (self.closed_at(outpoint, signed), limit),
                Some(SpendKind::Refund) => (start, limit.max(cheap)),
                None => (start, limit),
            };
            if let Some(kind) = kind {
                self.count_spend(outpoint, kind);
            }
            if got > signed.max(start) {
                return Err(Flaw::NotSigned { outpoint, signed, paid: got });
            }
            realised = realised.saturating_add(got.saturating_sub(start));
            let lost = acked.saturating_sub(got);
            if lost > allowed {
                self.lost = self.lost.saturating_add(lost.saturating_sub(allowed));
                flaw = flaw.or(Some(Flaw::LostMoney { outpoint, lost, allowed }));
            }
        }
        flaw.map_or_else(|| self.check_overpaid(realised), Err)
    }

    /// What a close paid out: the whole satoshis that left to the payee.
    fn closed_at(&self, outpoint: OutPoint, signed: Msat) -> Msat {
        let status = self.world.chain().with(|chain| chain.output(outpoint));
        let spend = status.and_then(|status| status.spent);
        let payers = self.payers_script();
        let paid = spend.map_or(0, |spend| {
            let outputs = spend.tx.output.iter();
            let payees = outputs.filter(|output| output.script_pubkey != payers);
            payees.map(|output| output.value.to_sat()).fold(0, u64::saturating_add)
        });
        // Dust is given up, and the sub-satoshi part with it.
        let rest = Msat::new(331_000).unwrap_or(Msat::ZERO);
        let paid = Sat::new(paid).unwrap_or(Sat::ZERO).to_msat().saturating_add(rest);
        signed.min(paid)
    }

    /// A balance below this was not worth settling at the highest rate so far.
    fn not_worth_it(&self, channel: &crate::tx::Channel) -> Result<Msat, Flaw> {
        let rate = self.rate_most.max(FeeRate::new(1_000)?);
        let cost = rate.ceil_fee(ALONE_WEIGHT).unwrap_or(Sat::MAX);
        let least = cost.saturating_add(dust_limit(channel.output().script()));
        Ok(least.saturating_add(Sat::new(1)?).to_msat())
    }
}
