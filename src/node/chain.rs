//! The chain's news: each watched outpoint's status goes to its machine, and successors are taken.

use alloc::vec::Vec;

use bitcoin::{OutPoint, Txid};

use super::effects::Event;
use super::lineage::Side;
use super::{LinkId, Node, NodeError, Now, PayerSlot};
use crate::signer::{Past, Signer, SignerError};
use crate::stream::payee::{PayeeNews, PayeePhase, PayeeRecord};
use crate::stream::payer::{PayerNews, PayerNoticed, PayerPhase, PayerRecord};
use crate::stream::{SpendKind, StreamError};
use crate::tx::seen::OutputStatus;
use crate::units::{Blocks, Height, Msat};

/// 144: with a timeout due at the expiry, time enough to have it in a block.
const BLOCKS_A_DAY: u32 = 144;

impl<S: Signer> Node<S> {
    /// What the chain shows of an outpoint now; `None`: it knows no such output.
    pub(super) fn output(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        status: Option<&OutputStatus>,
    ) -> Result<(), NodeError> {
        // Own channels first, and whatever becomes of what strangers say of the same output.
        let payee = if self.payees.contains_key(&outpoint) {
            let noticed = self.payee_output(now, outpoint, status);
            noticed.and_then(|()| self.forget_gone(now, outpoint, status.is_some()))
        } else {
            Ok(())
        };
        let payer = if self.payers.contains_key(&outpoint) {
            self.payer_output(now, outpoint, status)
        } else {
            Ok(())
        };
        let held = self.hold_output(now, outpoint, status);
        let found = self.block_output(outpoint, status);
        self.coin_seen(outpoint, status);
        self.rest_funding(outpoint)?;
        let shown = self.answer_asked(now, outpoint, status);
        payee.and(payer).and(held).and(found).and(shown)
    }

    /// Answers everybody who showed the output.
    fn answer_asked(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        status: Option<&OutputStatus>,
    ) -> Result<(), NodeError> {
        let by_all = (outpoint, LinkId(u64::MIN))..=(outpoint, LinkId(u64::MAX));
        let links: Vec<LinkId> = self.asked.range(by_all).map(|((_, link), _)| *link).collect();
        let mut first = Ok(());
        for link in links {
            let Some(asked) = self.asked.remove(&(outpoint, link)) else { continue };
            if let Err(error) = self.open_asked(now, &asked, status) {
                self.refuse(link, asked.alias, None, &error);
                first = first.and(Err(error));
            }
        }
        first
    }

    fn payee_output(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        status: Option<&OutputStatus>,
    ) -> Result<(), NodeError> {
        let tip = self.tip.ok_or(NodeError::NoTip)?;
        let slot = self.payees.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        if let PayeePhase::Closed { .. } = slot.machine.phase() {
            return self.close_once_over(now, Side::Payee, outpoint, status);
        }
        let noticed = slot.machine.notice(status, &tip)?;
        let spend = status.and_then(|status| status.spent.as_ref());
        let kind = spend.and_then(|spend| SpendKind::of(slot.machine.channel(), &spend.tx));
        slot.leads = kind.and_then(|kind| kind.successor()).map(|(to, ..)| to);
        if noticed.news().is_empty() {
            return Ok(());
        }
        let record = noticed.record();
        let (before, held) = (slot.machine.phase(), slot.machine.paid());
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
                    let stated = match kind {
                        SpendKind::Settlement { paid, .. } => paid,
                        _ => before.stated().unwrap_or(held),
                    };
                    let told = matches!(before, PayeePhase::Spent { by: was, .. } if was == by);
                    self.follow_payee(now, outpoint, kind, stated, told)?;
                    if kind.successor().is_none() {
                        self.end_sessions_on(now, outpoint)?;
                    }
                }
                PayeeNews::SpendUndone => {
                    self.effects.tell(Event::SpendUndone { outpoint });
                    self.return_sessions(outpoint)?;
                }
                PayeeNews::Closed { .. } => {
                    self.close_once_over(now, Side::Payee, outpoint, status)?;
                }
            }
        }
        Ok(())
    }

    /// A rollover or top-up is seen: the sessions go on where it leads.
    fn follow_payee(
        &mut self,
        now: &Now,
        from: OutPoint,
        kind: SpendKind,
        stated: Msat,
        told: bool,
    ) -> Result<(), NodeError> {
        let Some((to, capacity, _)) = kind.successor() else { return Ok(()) };
        let Some(next) = self.payees.get(&to) else { return Ok(()) };
        let start = next.machine.start();
        self.move_sessions(from, to, stated, start)?;
        if !told {
            self.effects.tell(Event::RolledOver { from, to, capacity });
            self.effects.look_up(to);
        }
        self.count_paid(now, to)
    }

    fn payer_output(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        status: Option<&OutputStatus>,
    ) -> Result<(), NodeError> {
        let tip = self.tip.ok_or(NodeError::NoTip)?;
        let slot = self.payers.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        if slot.machine.phase() == PayerPhase::Closed {
            return self.close_once_over(now, Side::Payer, outpoint, status);
        }
        let noticed = slot.machine.notice(status, &tip)?;
        if noticed.news().is_empty() {
            return Ok(());
        }
        self.check_successor(slot, &noticed)?;
        let record = noticed.record();
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let before = slot.machine.phase();
        let stated = match before {
            PayerPhase::Leaving { stated } => stated,
            _ => slot.machine.signed(),
        };
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
                    let stated = match kind {
                        SpendKind::Settlement { paid, .. } => paid,
                        _ => stated,
                    };
                    let told = is_told(before, &noticed);
                    self.continue_payer(now, outpoint, stated, told, noticed.successor())?;
                    match noticed.successor() {
                        Some(next) => {
                            self.move_work(outpoint, next.outpoint(), stated, next.start())?;
                        }
                        None => self.rest_work(outpoint, stated)?,
                    }
                }
                PayerNews::SettledAboveSigned { paid, signed } => {
                    self.effects.tell(Event::SettledAboveSigned { outpoint, paid, signed });
                }
                PayerNews::SpendUndone => self.go_back(now, outpoint)?,
                PayerNews::Closed => closed = true,
            }
        }
        if closed {
            self.close_once_over(now, Side::Payer, outpoint, status)?;
        }
        Ok(())
    }

    /// The channel's spend is buried. Where it put holds on the chain, claims and timeouts are
    /// still to be signed: its record and its keys stay until its watch is over, or, where the
    /// source shows nothing of the spend any more, until a day after the last expiry.
    fn close_once_over(
        &mut self,
        now: &Now,
        side: Side,
        outpoint: OutPoint,
        status: Option<&OutputStatus>,
    ) -> Result<(), NodeError> {
        let (tip, last) = (self.tip.ok_or(NodeError::NoTip)?, self.last_expiry(side, outpoint));
        let channel = match side {
            Side::Payee => self.payees.get(&outpoint).map(|slot| slot.machine.channel()),
            Side::Payer => self.payers.get(&outpoint).map(|slot| slot.machine.channel()),
        };
        let spend = status.and_then(|status| status.spent.as_ref());
        let kind = channel.and_then(|channel| SpendKind::of(channel, &spend?.tx));
        let day = Blocks::new(BLOCKS_A_DAY).unwrap_or(Blocks::MIN);
        // P2: a source that forgets spent outputs must not take the keys away.
        let waits = match kind {
            None => last.is_some_and(|last| tip.height < last.saturating_after(day)),
            Some(SpendKind::HoldSettlement { .. }) => self.watches.has(side, outpoint),
            Some(_) => false,
        };
        if waits {
            return Ok(());
        }
        self.close_channel(now, side, outpoint, status.and_then(spender))
    }

    fn last_expiry(&self, side: Side, outpoint: OutPoint) -> Option<Height> {
        match side {
            Side::Payee => {
                let holds = self.payees.get(&outpoint)?.machine.holds().iter();
                holds.map(|held| held.hold.expiry).max()
            }
            Side::Payer => {
                let holds = self.payers.get(&outpoint)?.machine.holds().iter();
                holds.map(|kept| kept.hold.expiry).max()
            }
        }
    }

    /// P2: what cannot be taken over now must not be stored as seen, or no later look would try
    /// again. It is tried at every look until there is room.
    fn check_successor(&self, slot: &PayerSlot, noticed: &PayerNoticed) -> Result<(), NodeError> {
        let Some(next) = noticed.successor() else { return Ok(()) };
        if self.payers.contains_key(&next.outpoint()) || is_told(slot.machine.phase(), noticed) {
            return Ok(());
        }
        self.new_payer(next.clone(), Some(slot.machine.outpoint())).map(|_| ())
    }

    /// A rollover or top-up is seen: the channel goes on at its new outpoint.
    fn continue_payer(
        &mut self,
        now: &Now,
        from: OutPoint,
        stated: Msat,
        told: bool,
        successor: Option<&PayerRecord>,
    ) -> Result<(), NodeError> {
        let Some(successor) = successor.cloned() else { return Ok(()) };
        let to = successor.outpoint();
        if let Some(known) = self.payers.get(&to) {
            let start = known.machine.start();
            return self.move_sessions(from, to, stated, start);
        }
        // P2: what the same spend made before and is known no more has come to its own end, and its
        // sessions have gone on. Taken up anew it would know of no payment, and they paid again.
        if told {
            return Ok(());
        }
        let (capacity, start) = (successor.capacity(), successor.start());
        self.adopt_payer(successor, Some(from))?;
        let machine = self.slot(to)?.machine.clone();
        let past = Past::Descends { from, carried: start };
        match machine.register(&mut self.signer, past) {
            Ok(()) => {}
            // After a restart the signer knows too little: the payee's word comes first.
            Err(StreamError::Signer(_)) => {
                let record = machine.record().clone().into_unsure();
                self.slot_mut(to)?.machine.apply(&record)?;
            }
            Err(error) => return Err(error.into()),
        }
        self.move_sessions(from, to, stated, start)?;
        self.effects.tell(Event::RolledOver { from, to, capacity });
        self.effects.look_up(to);
        match self.slot(to)?.link.or_else(|| self.sibling_link(from)) {
            Some(link) => self.show(now, link, to),
            None => Ok(()),
        }
    }

    /// Payer: where the payee of a channel is that was spent before a restart and never attached:
    /// on the line of what its spend had made before it was replaced.
    fn sibling_link(&self, from: OutPoint) -> Option<LinkId> {
        let slots = self.payers.values().filter(|slot| slot.parent == Some(from));
        slots.filter_map(|slot| slot.link).find(|link| self.links.contains_key(link))
    }

    /// A reorg has undone the spend: the channel and its sessions go on where they were, once the
    /// payee has said what it holds there.
    fn go_back(&mut self, now: &Now, outpoint: OutPoint) -> Result<(), NodeError> {
        self.effects.tell(Event::SpendUndone { outpoint });
        self.return_sessions(outpoint)?;
        self.return_work(outpoint)?;
        match self.slot(outpoint)?.link {
            Some(link) => self.attach(now, link, outpoint),
            None => Ok(()),
        }
    }

    /// The spend `by` is buried: the record goes, and successors that it did not make go with it.
    /// Of none of these a seller's session outlives its channel.
    pub(super) fn close_channel(
        &mut self,
        now: &Now,
        side: Side,
        outpoint: OutPoint,
        by: Option<Txid>,
    ) -> Result<(), NodeError> {
        self.settle_lines(outpoint);
        let void = self.void_descendants(side, outpoint, by);
        for next in self.children(side, outpoint) {
            // What this payee's own signature made it remembers: nobody opens that on other terms.
            if side == Side::Payee && self.is_own_successor(outpoint, next) {
                continue;
            }
            // What the spend made stands by itself from now on.
            self.delete_parent(side, next)?;
            match side {
                Side::Payee => self.payees.get_mut(&next).map(|slot| slot.parent = None),
                Side::Payer => self.payers.get_mut(&next).map(|slot| slot.parent = None),
            };
        }
        for gone in void.into_iter().chain([outpoint]) {
            if side == Side::Payee {
                self.end_sessions_on(now, gone)?;
            }
            self.forget_channel(side, gone)?;
        }
        self.effects.tell(Event::Closed { outpoint });
        Ok(())
    }

    /// Whether a payee's channel goes on as its predecessor was: a stranger that showed it to a
    /// payee without a store may have named another change script, and the payer corrects that.
    fn is_own_successor(&self, from: OutPoint, to: OutPoint) -> bool {
        let change =
            |outpoint| self.payees.get(&outpoint).map(|slot| slot.machine.channel().change());
        change(from) == change(to)
    }

    /// Drops a channel's machine with its names, its records and its keys.
    fn forget_channel(&mut self, side: Side, outpoint: OutPoint) -> Result<(), NodeError> {
        self.delete_parent(side, outpoint)?;
        self.delete_lanes(side, outpoint)?;
        self.delete_items(side, outpoint)?;
        self.forget_watch(side, outpoint)?;
        let key = match side {
            Side::Payee => {
                let at = self.payees.remove(&outpoint).and_then(|slot| slot.at);
                if let Some(placed) = at.and_then(|(link, _)| self.placed.get_mut(&link)) {
                    placed.remove(&outpoint);
                }
                for names in self.links.values_mut() {
                    names.retain(|_, named| *named != outpoint);
                }
                PayeeRecord::key_of(outpoint)?
            }
            Side::Payer => {
                self.close_budgets(outpoint);
                self.forget_work(outpoint)?;
                if let Some(slot) = self.payers.remove(&outpoint) {
                    self.aliases.remove(&slot.alias);
                }
                PayerRecord::key_of(outpoint)?
            }
        };
        self.effects.delete(key)?;
        forgotten(self.signer.forget(outpoint))
    }
}

/// Whether the same spend was seen before: what it made is taken over, or has come to its end.
fn is_told(before: PayerPhase, noticed: &PayerNoticed) -> bool {
    let PayerPhase::Spent { by: was, .. } = before else { return false };
    noticed.news().iter().any(|news| matches!(*news, PayerNews::Spent { by, .. } if by == was))
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
