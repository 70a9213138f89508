//! What must hold after every step, whatever happened in it.

use super::Flaw;
use super::stage::{Pair, TICK_MOST};
use crate::meter::Role;
use crate::node::NodeError;
use crate::sim::world::WorldError;
use crate::stream::Payer;
use crate::stream::payer::PayerPhase;
use crate::units::Msat;

impl Pair {
    pub(super) fn check(&mut self) -> Result<(), Flaw> {
        self.check_machines()?;
        self.check_payee()?;
        self.check_payer()?;
        self.check_session()
    }

    /// The machines' promises to themselves. Those of a payee are a function of its record and cost
    /// a verification, so they are checked when the record is another one.
    fn check_machines(&mut self) -> Result<(), Flaw> {
        let payer = self.world.end(self.payer).ok_or(WorldError::NoSuchEnd)?.node();
        for machine in payer.payers() {
            machine.check_invariants().map_err(NodeError::from)?;
        }
        let payee = self.world.end(self.payee).ok_or(WorldError::NoSuchEnd)?.node();
        for machine in payee.payees() {
            let record = machine.record();
            if self.sound.get(&record.outpoint()) != Some(record) {
                machine.check_invariants(payee.context()).map_err(NodeError::from)?;
                self.sound.insert(record.outpoint(), record.clone());
            }
        }
        Ok(())
    }

    /// What the payee counts was signed, and what it acknowledged it still counts.
    fn check_payee(&self) -> Result<(), Flaw> {
        let node = self.world.end(self.payee).ok_or(WorldError::NoSuchEnd)?.node();
        let seen = self.observer.seen();
        for payee in node.payees() {
            let (outpoint, paid) = (payee.outpoint(), payee.paid());
            let signed = seen.signed(outpoint).max(payee.start());
            if paid > signed {
                return Err(Flaw::NotSigned { outpoint, signed, paid });
            }
            let acked = seen.acked(outpoint);
            if acked > paid {
                return Err(Flaw::Forgotten { outpoint, acked, paid });
            }
        }
        Ok(())
    }

    /// A payer that does not wait for the payee's word knows all that it signed since its start.
    fn check_payer(&self) -> Result<(), Flaw> {
        let node = self.world.end(self.payer).ok_or(WorldError::NoSuchEnd)?.node();
        let seen = self.observer.seen();
        for payer in node.payers() {
            let (outpoint, knows) = (payer.outpoint(), payer.signed());
            let capacity = payer.channel().capacity().to_msat();
            let (ever, lately) = (seen.signed(outpoint), seen.signed_in_life(outpoint));
            let exact = payer.phase() == PayerPhase::Open;
            if ever > capacity || (exact && knows < lately) {
                return Err(Flaw::NotSigned { outpoint, signed: knows, paid: ever });
            }
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
            if matches!(meter.record().role(), Role::Seller) && debt > credit {
                return Err(Flaw::BeyondCredit { debt, credit });
            }
        }
        Ok(())
    }

    /// What the payer signed over all outpoints, each from where it started, is what it was told to
    /// pay by hand, what its sessions owed, and at most one tick of each.
    pub(super) fn check_overpaid(&self, realised: Msat) -> Result<(), Flaw> {
        let allowed = self.told.saturating_add(self.metered.owed);
        let sessions = self.metered.all.iter().map(|_| Msat::new(TICK_MOST).unwrap_or(Msat::MAX));
        let allowed = sessions.fold(allowed, Msat::saturating_add);
        if realised > allowed {
            return Err(Flaw::Overpaid { signed: realised, allowed });
        }
        Ok(())
    }

    pub(super) fn spendable(payer: &Payer) -> Msat {
        payer.channel().largest_with_change().saturating_sub(payer.signed())
    }
}
