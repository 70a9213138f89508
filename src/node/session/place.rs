//! Where a session is paid: over reconnects, and over spends that may be replaced.

use alloc::vec::Vec;

use bitcoin::OutPoint;

use super::super::lineage::Side;
use super::super::{LinkId, Node, NodeError, Now};
use super::line::{BEFORE_MAX, Place};
use super::{Meeting, SessionSlot, last_reading};
use crate::meter::Role;
use crate::signer::{PeerId, Signer};
use crate::units::{Msat, Quantity, SessionId};
use crate::wire::{SessionEnd, SessionStart};

impl<S: Signer> Node<S> {
    /// Buyer: after a reconnect its sessions on this channel go on; the seller repeats its claims.
    pub(in crate::node) fn restart_sessions(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let first = self.first_repeat(now);
        let payer = self.slot(outpoint)?;
        let (link, alias) = (payer.link, payer.alias);
        let peer = PeerId::new(payer.machine.record().base());
        // The last one too: its statement may have been lost.
        let last = || {
            let on = self.sessions.iter().filter(|(_, slot)| slot.is_on(outpoint));
            on.max_by_key(|(_, slot)| slot.meter.record().at()).map(|(id, _)| *id)
        };
        let Some(session) = self.unstated_on(outpoint).or_else(last) else { return Ok(()) };
        // A channel takes the next session when the one before is over, even if a restart has
        // forgotten that.
        let before = self
            .sessions
            .iter_mut()
            .filter(|(id, slot)| **id != session && slot.is_on(outpoint) && slot.is_settled());
        before.for_each(|(_, slot)| slot.over = true);
        let slot = self.sessions.get_mut(&session).ok_or(NodeError::NoSession { session })?;
        let Role::Buyer { budget, .. } = slot.meter.record().role() else { return Ok(()) };
        // Until the statement claims may come that are to be paid.
        if !slot.is_settled() || !slot.over {
            self.signer.open_session(peer, session, budget)?;
        }
        (slot.link, slot.peer) = (link, Some(peer));
        slot.met = Some(Meeting::of(now.time, slot.meter.record()));
        slot.repeat = link.map(|_| first);
        let (record, ended) = (*slot.meter.record(), slot.is_ended());
        let offer = slot.taken_offer();
        if let (Some(link), Some(offer)) = (link, offer) {
            self.start_sent(session);
            self.effects.send(link, SessionStart { session, alias, offer, time: now.time });
            if ended {
                let (time, quantity) = (record.at(), record.quantity());
                self.effects.send(link, SessionEnd { session, time, quantity });
            }
        }
        self.count_signed(None, outpoint)?;
        self.pay_due(now, session)
    }

    /// Where a session that begins on `outpoint` would have been paid before: one that the spend of
    /// an earlier outpoint leads to follows it also when that spend is replaced, or undone.
    ///
    /// What has been paid there until now was paid before the session, and never counts for it.
    pub(super) fn line_before(&self, side: Side, outpoint: OutPoint) -> Vec<Place> {
        let paid = |at: &OutPoint| match side {
            // One that lost its store knows by the spend alone what was paid.
            Side::Payee => self.payees.get(at).map(|slot| {
                let stated = slot.machine.phase().stated().unwrap_or(Msat::ZERO);
                slot.machine.paid().max(stated)
            }),
            Side::Payer => self.payers.get(at).map(|slot| slot.machine.signed()),
        };
        // One whose spend is buried is known no more: nothing leads back to it.
        let before = self.line_up(side, outpoint).skip(1).map_while(|at| {
            paid(&at).map(|from| Place { outpoint: at, earlier: Msat::ZERO, from })
        });
        let mut before: Vec<Place> = before.take(BEFORE_MAX).collect();
        before.reverse();
        before
    }

    /// Seller: what is not paid, or else the last reading, which a buyer may have paid and lost in
    /// a power cut; one that has counted it passes over it.
    pub(super) fn read_out(&mut self, link: LinkId, session: SessionId) {
        self.resend_claims(link, session);
        let Some(slot) = self.sessions.get(&session).filter(|slot| slot.claims.is_empty()) else {
            return;
        };
        let last = last_reading(slot.meter.record());
        if last.quantity > Quantity::ZERO || last.idle.is_some() {
            self.effects.send(link, last);
        }
    }

    pub(super) fn resend_claims(&mut self, link: LinkId, session: SessionId) {
        let claims = self.sessions.get(&session).map(|slot| &slot.claims);
        for (_, reading) in claims.into_iter().flatten() {
            self.effects.send(link, *reading);
        }
    }

    /// Seller: a new voucher came over `link`, so its payer is there, and nobody else.
    ///
    /// What it may have missed is repeated before any newer reading leaves over this line: the
    /// buyer would count it at the newer one's price (M7).
    pub(in crate::node) fn sessions_are_at(&mut self, link: LinkId, outpoint: OutPoint) {
        let mut moved = Vec::new();
        for (session, slot) in &mut self.sessions {
            if slot.is_seller() && slot.is_on(outpoint) && slot.link != Some(link) {
                slot.link = Some(link);
                moved.push(*session);
            }
        }
        for session in moved {
            self.resend_claims(link, session);
        }
    }

    /// A reorg has undone the spend of `outpoint`: the sessions that followed it go back to where
    /// they were. What was paid on the outpoint that is no more is owed again, and the buyer signs
    /// it here; if the spend comes back, they follow it once more.
    pub(in crate::node) fn return_sessions(&mut self, outpoint: OutPoint) -> Result<(), NodeError> {
        let went = |(session, slot): (&SessionId, &mut SessionSlot)| {
            slot.goes_back(outpoint).then_some(*session)
        };
        let moved: Vec<SessionId> = self.sessions.iter_mut().filter_map(went).collect();
        moved.into_iter().try_for_each(|session| self.store_session(session))
    }

    /// Whether a session is paid somewhere on the line up to `outpoint`: there, or on what it
    /// descends from. Each side may have seen spends of that line that the other has not.
    pub(super) fn is_of_line(&self, side: Side, slot: &SessionSlot, outpoint: OutPoint) -> bool {
        self.line_up(side, outpoint).any(|at| slot.is_at_or_before(at))
    }

    /// A spend is buried: where its sessions were before it nothing brings them back.
    pub(in crate::node) fn settle_lines(&mut self, outpoint: OutPoint) {
        self.sessions.values_mut().for_each(|slot| slot.is_past(outpoint));
    }

    /// The channel goes on at another outpoint: `stated` was settled on the old one, `start` is
    /// what the new one begins with. A spend that replaces another starts from where the session
    /// was before that one.
    pub(in crate::node) fn move_sessions(
        &mut self,
        from: OutPoint,
        to: OutPoint,
        stated: Msat,
        start: Msat,
    ) -> Result<(), NodeError> {
        self.go_on(from, to, stated, start, |_| true)
    }

    /// Seller: the payer has seen the spend before, so its sessions on `from` go on at `to`, with
    /// the least that was promised taken for what the spend states until the chain says that.
    ///
    /// Those that are there, or came past it, stay as they are. P2: the chain has said what they
    /// bring with them, and what was paid above the least that was promised would be owed again.
    pub(in crate::node) fn bring_sessions(
        &mut self,
        from: OutPoint,
        to: OutPoint,
        stated: Msat,
        start: Msat,
    ) -> Result<(), NodeError> {
        self.go_on(from, to, stated, start, |slot| !slot.is_at_or_before(to))
    }

    /// In the commit that makes the new outpoint known: after a cut both are there, or neither.
    fn go_on(
        &mut self,
        from: OutPoint,
        to: OutPoint,
        stated: Msat,
        start: Msat,
        which: impl Fn(&SessionSlot) -> bool,
    ) -> Result<(), NodeError> {
        let sessions = self.sessions.iter_mut().filter(|(_, slot)| which(slot));
        let moved = sessions.filter_map(|(session, slot)| {
            slot.goes_on(from, to, stated, start).then_some(*session)
        });
        let moved: Vec<SessionId> = moved.collect();
        moved.into_iter().try_for_each(|session| self.store_session(session))
    }
}
