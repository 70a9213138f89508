//! After the faults: payments and a session go through, and every channel ends.

use bitcoin::OutPoint;

use super::Flaw;
use super::counters::Count;
use super::lines::Line;
use super::sky::Rates;
use super::stage::Pair;
use super::standing::Standing;
use crate::stream::Payee;
use crate::stream::payee::PayeePhase;
use crate::stream::payer::{Ending, PayerPhase};
use crate::units::{Msat, SessionId};

/// A refund of 137 vB at 0.1 sat/vB, the least that is relayed, costs 14 sat and leaves 330 at
/// least, or is dust. Nobody can take a smaller output from the chain by any transaction that is
/// relayed, so that waiting for its end would be waiting for ever; every larger one must end.
pub(super) const WORTH_SPENDING: u64 = 344;
/// 1 sat: what the last payment is at least, and a session's last tick at most costs 251.
const LAST_PAYMENT: u64 = 1_000;

impl Pair {
    pub(super) fn come_to_rest(
        &mut self,
        tell: &mut dyn FnMut(&dyn core::fmt::Display),
    ) -> Result<(), Flaw> {
        self.calm_down()?;
        self.check()?;
        self.verify_payees()?;
        let open: Vec<OutPoint> = self.currents().collect();
        for outpoint in open {
            self.pay_once_more(outpoint, tell)?;
        }
        self.check()?;
        if self.is_wide() {
            self.state_sessions(tell)?;
            self.serve_once_more(tell)?;
            self.check()?;
        }
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
    fn pay_once_more(
        &mut self,
        outpoint: OutPoint,
        tell: &mut dyn FnMut(&dyn core::fmt::Display),
    ) -> Result<(), Flaw> {
        let more = Msat::new(LAST_PAYMENT)?;
        if !self.may_be_paid(outpoint, more) {
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
        self.counters.count(Count::FinalPayment);
        Ok(())
    }

    /// Whether nothing that either side decided stands against a payment of `more`: the output is
    /// deep, the last call has not come, there is room, and nobody has signed the channel's end.
    pub(super) fn may_be_paid(&self, outpoint: OutPoint, more: Msat) -> bool {
        let Some(payer) = self.payer_of(outpoint) else { return false };
        let tip = self.world.chain().with(|chain| chain.tip().height);
        let late = payer.last_call().is_none_or(|last_call| tip >= last_call);
        let confirmed = payer.deadline().map(|at| at.saturating_before(self.delay.to_blocks()));
        let deep = confirmed.is_some_and(|at| at.depth_at(tip) >= self.terms.confirmation_depth);
        let leaving = matches!(payer.phase(), PayerPhase::Leaving { .. });
        let promised =
            self.payee_of(outpoint).is_some_and(|payee| !matches!(payee.phase(), PayeePhase::Open));
        deep && !late && !leaving && !promised && Self::spendable(payer) >= more
    }

    /// Where a channel allows it, a new session is begun, delivered, paid, ended and stated.
    fn serve_once_more(
        &mut self,
        tell: &mut dyn FnMut(&dyn core::fmt::Display),
    ) -> Result<(), Flaw> {
        let enough = Msat::new(10_000_000)?;
        let fits = |line: &&Line| {
            let here = self.current_on(&line.script);
            here.is_some_and(|outpoint| self.may_be_paid(outpoint, enough))
        };
        // One that has paid sessions shows besides that their statements have left it free.
        let used = |line: &&Line| self.metered.sold.values().any(|sold| sold.script == line.script);
        let mut fit = self.lines.iter().filter(fits);
        let fit = fit.clone().find(used).or_else(|| fit.next()).map(|line| line.script.clone());
        let Some(fit) = fit else { return Ok(()) };
        self.focus = self.lines.iter().position(|line| line.script == fit).unwrap_or(0);
        // A session that is not paid keeps the next from its channel, until its owners let it go.
        for session in self.known_sessions() {
            if !self.metered.stated.contains(&session) {
                self.forget_session(session)?;
            }
        }
        self.metered.now = None;
        // What the buyer was told under an id stands until the line goes, also if a byte of it was
        // changed on the way: the seller's owner, whose offer is refused, takes the next id.
        while self.observer.seen().is_misoffered(SessionId::new(self.metered.next)?) {
            self.metered.next = self.metered.next.saturating_add(1);
        }
        self.start_session()?;
        let session = self.metered.now;
        let delivered = self.counters.of(Count::Tick);
        self.tick()?;
        tell(&Standing(self));
        if self.counters.of(Count::Tick) == delivered {
            return Err(Flaw::Wedged { what: "a session that does not begin" });
        }
        self.end_session()?;
        self.pass(11)?;
        self.pass(11)?;
        tell(&Standing(self));
        if session.is_none_or(|session| !self.metered.stated.contains(&session)) {
            return Err(Flaw::Wedged { what: "a session that is not stated" });
        }
        self.counters.count(Count::FinalSession);
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

    /// Whether no channel is left but such as nobody can spend: the rest would not pay the fee, or
    /// the funding was replaced. Of the latter a payee keeps what it has signed on (S6), with what
    /// that was to make.
    fn nothing_left(&self) -> bool {
        let ends = [self.payer, self.payee].map(|end| self.world.end(end));
        ends.into_iter().flatten().all(|end| {
            let void = |payee: &Payee| {
                self.world.chain().with(|chain| chain.output(payee.outpoint()).is_none())
            };
            let promised = |payee: &Payee| payee.phase().stated().is_some() && void(payee);
            let keeps = end.node().payees().any(promised);
            let payers = end.node().payers().map(crate::stream::Payer::channel);
            let payees = end.node().payees().filter(|payee| !keeps || !void(payee));
            let mut left = payers.chain(payees.map(Payee::channel));
            left.all(|channel| channel.capacity().to_sat() < WORTH_SPENDING)
        })
    }
}
