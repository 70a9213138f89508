//! What must hold after every step, whatever happened in it.

use bitcoin::OutPoint;

use super::Flaw;
use super::counters::Count;
use super::metered::TICK_MOST;
use super::stage::Pair;
use crate::meter::Role;
use crate::node::NodeError;
use crate::sim::world::WorldError;
use crate::stream::payer::PayerPhase;
use crate::stream::{Payee, Payer};
use crate::units::{Height, Msat, Sat, SessionId};

impl Pair {
    pub(super) fn check(&mut self) -> Result<(), Flaw> {
        if let Some(offence) = self.observer.seen().take_offence() {
            return Err(offence);
        }
        self.check_payee()?;
        self.check_payer()?;
        self.check_both()?;
        self.check_one_outpoint()?;
        self.check_session()
    }

    /// What the payee counts left the payer, to the last bit, and what it acknowledged it still
    /// counts.
    ///
    /// That a voucher is true is known without the curve: the observer saw it leave. Records that
    /// come back from the store are verified by the run's end, see `verify_payees`.
    fn check_payee(&self) -> Result<(), Flaw> {
        let node = self.world.end(self.payee).ok_or(WorldError::NoSuchEnd)?.node();
        let seen = self.observer.seen();
        for payee in node.payees() {
            let (outpoint, paid) = (payee.outpoint(), payee.paid());
            let capacity = payee.channel().capacity().to_msat();
            let signed = seen.signed(outpoint).max(payee.start());
            let true_voucher = payee.best().is_none_or(|best| seen.has_left(outpoint, best));
            if paid > signed || paid > capacity || !true_voucher {
                return Err(Flaw::NotSigned { outpoint, signed, paid });
            }
            let acked = seen.acked(outpoint);
            if acked > paid {
                return Err(Flaw::Forgotten { outpoint, acked, paid });
            }
        }
        Ok(())
    }

    /// Every voucher of the payee's records, by the curve.
    pub(super) fn verify_payees(&self) -> Result<(), Flaw> {
        let node = self.world.end(self.payee).ok_or(WorldError::NoSuchEnd)?.node();
        for payee in node.payees() {
            payee.check_invariants(node.context()).map_err(NodeError::from)?;
        }
        Ok(())
    }

    /// A payer that does not wait for the payee's word knows all that it signed since its start,
    /// and all that the payee has presented to it since.
    ///
    /// Not what it signed in an earlier life: a plain payment needs no durable write on the
    /// payer's side, by design, and a payee that presents an older voucher than it has hurts
    /// itself alone. Until it has heard the payee the payer signs nothing; that it then signs
    /// nothing below is P6, which the observer holds every voucher against.
    fn check_payer(&self) -> Result<(), Flaw> {
        let node = self.world.end(self.payer).ok_or(WorldError::NoSuchEnd)?.node();
        let seen = self.observer.seen();
        for payer in node.payers() {
            payer.check_invariants().map_err(NodeError::from)?;
            let (outpoint, knows) = (payer.outpoint(), payer.signed());
            let capacity = payer.channel().capacity().to_msat();
            let (ever, lately) = (seen.signed(outpoint), seen.signed_in_life(outpoint));
            let exact = matches!(payer.phase(), PayerPhase::Open | PayerPhase::Leaving { .. });
            if ever > capacity || knows > capacity || (exact && knows < lately) {
                return Err(Flaw::NotSigned { outpoint, signed: knows, paid: ever });
            }
        }
        Ok(())
    }

    /// P1: both sides and the chain speak of the same money.
    fn check_both(&self) -> Result<(), Flaw> {
        let payers = self.world.end(self.payer).ok_or(WorldError::NoSuchEnd)?.node();
        let payees = self.world.end(self.payee).ok_or(WorldError::NoSuchEnd)?.node();
        for payee in payees.payees() {
            let (ours, outpoint) = (payee.channel(), payee.outpoint());
            let on_chain = self.world.chain().with(|chain| chain.output(outpoint));
            let same_coin = on_chain.is_none_or(|status| {
                status.value == ours.capacity() && status.script == *ours.output().script()
            });
            // Before a voucher proves it, the change script is hearsay: one that pays the whole
            // capacity has no change output to sign.
            let most = ours.largest_with_change();
            let proves_change = payee.best().is_some_and(|best| best.paid <= most);
            let same = payers.payer(outpoint).is_none_or(|payer| {
                let theirs = payer.channel();
                theirs.capacity() == ours.capacity()
                    && theirs.output().script() == ours.output().script()
                    && (!proves_change || theirs.change() == ours.change())
            });
            if !same_coin || !same {
                return Err(Flaw::Disagree { outpoint });
            }
        }
        Ok(())
    }

    /// S4, S5, as the payee saw the chain when it counted: what is not secured by depth, or by the
    /// least that a payee's signature states, is within the zero-conf limit, and none of it on a
    /// version-2 funding; nothing is taken at the last call.
    pub(super) fn check_received(&mut self, outpoint: OutPoint, paid: Msat) -> Result<(), Flaw> {
        let end = self.world.end(self.payee).ok_or(WorldError::NoSuchEnd)?;
        let Some(payee) = end.node().payee(outpoint) else { return Ok(()) };
        let tip = end.node().view(self.world.now().time)?.tip.height;
        let shallow = self.is_shallow(payee, tip);
        let version2 = self.is_version2(outpoint);
        let limit = if shallow && version2 { Sat::ZERO } else { self.terms.zero_conf_limit };
        let unsecured = self.unsecured(payee, paid, tip);
        if unsecured > limit.to_msat() {
            return Err(Flaw::Unsecured { outpoint, unsecured, limit });
        }
        if shallow {
            self.counters.count(Count::ZeroConf);
        }
        Ok(())
    }

    fn is_shallow(&self, payee: &Payee, tip: Height) -> bool {
        let confirmed = payee.deadline().map(|at| at.saturating_before(self.delay.to_blocks()));
        let depth = confirmed.map(|at| at.depth_at(tip));
        depth.is_none_or(|depth| depth < self.terms.confirmation_depth)
    }

    /// What is neither deep nor stated by the payee's own signature.
    fn unsecured(&self, payee: &Payee, paid: Msat, tip: Height) -> Msat {
        match payee.phase().stated() {
            _ if self.is_shallow(payee, tip) => paid.saturating_sub(payee.start()),
            Some(stated) => paid.saturating_sub(stated),
            None => Msat::ZERO,
        }
    }

    /// What the payee counts without security now, it may lose at the end; nothing else.
    pub(super) fn note_credit(&self) -> Result<(), Flaw> {
        let node = self.world.end(self.payee).ok_or(WorldError::NoSuchEnd)?.node();
        let Ok(view) = node.view(self.world.now().time) else { return Ok(()) };
        let mut seen = self.observer.seen();
        for payee in node.payees() {
            let unsecured = self.unsecured(payee, payee.paid(), view.tip.height);
            seen.gives_credit(payee.outpoint(), unsecured);
        }
        Ok(())
    }

    /// Service stops at the credit; the buyer pays no more than its own count.
    fn check_session(&self) -> Result<(), Flaw> {
        let Some(session) = self.metered.now else { return Ok(()) };
        for end in [self.payer, self.payee] {
            let end = self.world.end(end).ok_or(WorldError::NoSuchEnd)?;
            let Some(meter) = end.node().session(session) else { continue };
            meter.check_invariants().map_err(NodeError::from)?;
            let debt = meter.debt();
            let credit = self.metered.credit.saturating_add(self.metered.tick_most);
            let seller = matches!(meter.record().role(), Role::Seller);
            if seller && debt > credit {
                return Err(Flaw::BeyondCredit { debt, credit });
            }
            // Nobody counts more than was delivered, and the buyer pays no more than it counts.
            let (owed, paid) = (meter.owed(), meter.record().paid());
            let slack = if seller { Msat::ZERO } else { self.slack(session) };
            let most = self.metered.costs.saturating_add(slack);
            if owed > most || (!seller && paid > owed) {
                let (signed, allowed) = (owed.max(paid), most.min(owed));
                return Err(Flaw::Overpaid { signed, allowed });
            }
        }
        Ok(())
    }

    /// What the chain took from the payer over all outpoints, each from where it started, is no
    /// more than it was told to pay by hand and its sessions owed: not one tick more, but for what
    /// a changed reading may claim within each buyer's slack.
    pub(super) fn check_overpaid(&self, realised: Msat) -> Result<(), Flaw> {
        let sessions = self.metered.all.iter().map(|session| self.slack(*session));
        let slack = sessions.fold(Msat::ZERO, Msat::saturating_add);
        let allowed = self.told.saturating_add(self.metered.owed).saturating_add(slack);
        if realised > allowed {
            return Err(Flaw::Overpaid { signed: realised, allowed });
        }
        Ok(())
    }

    /// A buyer gives the seller's reading a slack of one tick beside its own meter, so a byte that
    /// changed on the way can make it count that much more in that session, and no more than that.
    fn slack(&self, session: SessionId) -> Msat {
        let changed = self.observer.seen().is_changed(session);
        let claims = if changed { Msat::new(TICK_MOST).unwrap_or(Msat::MAX) } else { Msat::ZERO };
        claims.saturating_add(self.repriced(session))
    }

    pub(super) fn spendable(payer: &Payer) -> Msat {
        payer.channel().largest_with_change().saturating_sub(payer.signed())
    }
}
