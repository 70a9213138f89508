//! The chain's news: each watched outpoint's status goes to its machine, and successors are taken.

use bitcoin::{OutPoint, Txid};

use super::effects::Event;
use super::lineage::Side;
use super::{Node, NodeError, Now};
use crate::signer::{Past, Signer, SignerError};
use crate::stream::payee::PayeeNews;
use crate::stream::payer::{PayerNews, PayerRecord};
use crate::stream::{SpendKind, StreamError};
use crate::tx::seen::OutputStatus;
use crate::units::Msat;

impl<S: Signer> Node<S> {
    /// What the chain shows of an outpoint now; `None`: it knows no such output.
    pub(super) fn output(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        status: Option<&OutputStatus>,
    ) -> Result<(), NodeError> {
        if let Some(asked) = self.asked.remove(&outpoint) {
            let result = self.open_asked(now, &asked, status);
            if let Err(error) = &result {
                self.refuse(asked.link, asked.alias, error);
            }
            return result;
        }
        if self.payees.contains_key(&outpoint) {
            self.payee_output(outpoint, status)?;
        }
        if self.payers.contains_key(&outpoint) {
            self.payer_output(outpoint, status)?;
        }
        Ok(())
    }

    fn payee_output(
        &mut self,
        outpoint: OutPoint,
        status: Option<&OutputStatus>,
    ) -> Result<(), NodeError> {
        let tip = self.tip.ok_or(NodeError::NoTip)?;
        let slot = self.payees.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let noticed = slot.machine.notice(status, &tip)?;
        if noticed.news().is_empty() {
            return Ok(());
        }
        let record = noticed.record();
        self.effects.put(record.key()?, &record.encode()?)?;
        slot.machine.apply(record)?;
        for news in noticed.news() {
            match *news {
                PayeeNews::Confirmed { deadline } => {
                    self.effects.tell(Event::Confirmed { outpoint, deadline });
                }
                PayeeNews::Unconfirmed => self.effects.tell(Event::Unconfirmed { outpoint }),
                PayeeNews::Spent { by, kind, at } => {
                    self.effects.tell(Event::Spent { outpoint, by, kind, at });
                    self.follow_spend(outpoint, kind);
                }
                PayeeNews::SpendUndone => self.effects.tell(Event::SpendUndone { outpoint }),
                PayeeNews::Closed { .. } => {
                    let by = status.and_then(spender);
                    self.forget_payee(outpoint, by)?;
                }
            }
        }
        Ok(())
    }

    /// Of several settlements that this payee signed the chain has chosen one: its sessions go on
    /// where that one leads.
    fn follow_spend(&mut self, from: OutPoint, kind: SpendKind) {
        let Some((to, _, start)) = kind.successor() else { return };
        let parent = self.payees.get(&to).and_then(|slot| slot.parent);
        if let Some((_, stated)) = parent.filter(|(parent, _)| *parent == from) {
            self.move_sessions(from, to, stated, start);
        }
    }

    /// The spend is buried: the record goes, and successors that it did not make go with it.
    fn forget_payee(&mut self, outpoint: OutPoint, by: Option<Txid>) -> Result<(), NodeError> {
        for gone in self.void_descendants(Side::Payee, outpoint, by).into_iter().chain([outpoint]) {
            if self.payees.remove(&gone).is_some_and(|slot| slot.parent.is_some()) {
                self.delete_parent(Side::Payee, gone)?;
            }
            self.effects.delete(crate::stream::payee::PayeeRecord::key_of(gone)?)?;
            forgotten(self.signer.forget(gone))?;
        }
        self.effects.tell(Event::Closed { outpoint });
        Ok(())
    }

    fn payer_output(
        &mut self,
        outpoint: OutPoint,
        status: Option<&OutputStatus>,
    ) -> Result<(), NodeError> {
        let tip = self.tip.ok_or(NodeError::NoTip)?;
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let noticed = slot.machine.notice(status, &tip)?;
        if noticed.news().is_empty() {
            return Ok(());
        }
        let record = noticed.record();
        self.effects.put(record.key()?, &record.encode()?)?;
        slot.machine.apply(record)?;
        let mut closed = false;
        for news in noticed.news() {
            match *news {
                PayerNews::Confirmed { deadline } => {
                    self.effects.tell(Event::Confirmed { outpoint, deadline });
                }
                PayerNews::Unconfirmed => self.effects.tell(Event::Unconfirmed { outpoint }),
                PayerNews::Spent { by, kind, at } => {
                    self.effects.tell(Event::Spent { outpoint, by, kind, at });
                    self.continue_payer(outpoint, kind, noticed.successor())?;
                }
                PayerNews::SettledAboveSigned { .. } => {}
                PayerNews::SpendUndone => self.effects.tell(Event::SpendUndone { outpoint }),
                PayerNews::Closed => closed = true,
            }
        }
        if closed {
            self.forget_payer(outpoint, status.and_then(spender))?;
        }
        Ok(())
    }

    /// A rollover or top-up is seen: the channel goes on at its new outpoint.
    fn continue_payer(
        &mut self,
        from: OutPoint,
        kind: SpendKind,
        successor: Option<&PayerRecord>,
    ) -> Result<(), NodeError> {
        let Some(successor) = successor.cloned() else { return Ok(()) };
        let to = successor.outpoint();
        if self.payers.contains_key(&to) {
            return Ok(());
        }
        let (capacity, start) = (successor.capacity(), successor.start());
        let stated = match kind {
            SpendKind::Settlement { paid, .. } => paid,
            SpendKind::Joint { .. } | SpendKind::Refund => self.slot(from)?.machine.signed(),
        };
        self.adopt_payer(successor, Some((from, stated)))?;
        let machine = self.slot(to)?.machine.clone();
        let past = Past::Descends { from, carried: start };
        match machine.register(&mut self.signer, past) {
            Ok(()) => {}
            // After a restart the signer knows neither, or less than was settled: the payee's word
            // comes first.
            Err(StreamError::Signer(
                SignerError::UnknownChannel { .. }
                | SignerError::AboveExposure { .. }
                | SignerError::MustResume { .. },
            )) => {
                let record = machine.record().clone().into_unsure();
                self.slot_mut(to)?.machine.apply(&record)?;
            }
            Err(error) => return Err(error.into()),
        }
        self.move_sessions(from, to, stated, start);
        self.effects.tell(Event::RolledOver { from, to, capacity });
        self.effects.look_up(to);
        match self.slot(to)?.link {
            Some(link) => self.show(link, to),
            None => Ok(()),
        }
    }

    fn forget_payer(&mut self, outpoint: OutPoint, by: Option<Txid>) -> Result<(), NodeError> {
        for gone in self.void_descendants(Side::Payer, outpoint, by).into_iter().chain([outpoint]) {
            if let Some(slot) = self.payers.remove(&gone) {
                self.aliases.remove(&slot.alias);
                if slot.parent.is_some() {
                    self.delete_parent(Side::Payer, gone)?;
                }
            }
            self.effects.delete(PayerRecord::key_of(gone)?)?;
            forgotten(self.signer.forget(gone))?;
        }
        self.effects.tell(Event::Closed { outpoint });
        Ok(())
    }

    /// How much of what was paid on `from` a sibling outpoint already counts.
    pub(super) fn parent_of(&self, outpoint: OutPoint) -> Option<(OutPoint, Msat)> {
        let payee = self.payees.get(&outpoint).and_then(|slot| slot.parent);
        payee.or_else(|| self.payers.get(&outpoint).and_then(|slot| slot.parent))
    }
}

fn spender(status: &OutputStatus) -> Option<Txid> {
    status.spent.as_ref().map(|spend| spend.tx.compute_txid())
}

/// A channel that the signer does not know, after a restart for instance, is forgotten already.
fn forgotten(result: Result<(), SignerError>) -> Result<(), NodeError> {
    match result {
        Ok(()) | Err(SignerError::UnknownChannel { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
