//! From what is due to a voucher, and along the line.

use alloc::vec::Vec;

use bitcoin::OutPoint;

use super::Works;
use super::line::WorkLine;
use crate::ledger::{Account, Input, Ledger, WorkerKey};
use crate::node::effects::Event;
use crate::node::{Node, NodeError, Now, Payment};
use crate::signer::{PeerId, Signer};
use crate::stream::payer::{Ending, PayerPhase};
use crate::units::{Msat, Seconds, SessionId};

impl<S: Signer> Node<S> {
    /// Signs for everybody who was credited or met since the last flush, as far as the commit has
    /// room. Whether it has looked at all of them.
    pub(in crate::node) fn settle_work(&mut self, now: &Now) -> bool {
        while self.effects.check_room().is_ok() {
            let Some(worker) = self.works.owing.pop_first() else { return true };
            self.pay_work(now, worker);
        }
        self.works.owing.is_empty()
    }

    /// The timers that are due: whatever is due then is paid, be it less than a voucher's worth.
    ///
    /// By the flush, which commits in between where the batch is full: after a restart all timers
    /// are of one second.
    pub(in crate::node) fn work_woken(&mut self, now: &Now) {
        let Works { timers, owing, late, .. } = &mut self.works;
        timers.retain(|worker, at| {
            let waits = *at > now.time;
            if !waits {
                owing.insert(*worker);
                late.insert(*worker);
            }
            waits
        });
    }

    /// One voucher for what is due to a worker, if it is worth one or has waited long enough.
    fn pay_work(&mut self, now: &Now, worker: WorkerKey) {
        let (due, policy) = (self.work_due(worker), self.works.policy);
        let is_late = self.works.late.remove(&worker);
        if due == Msat::ZERO {
            self.works.timers.remove(&worker);
        } else if is_late || due >= policy.pay_at {
            self.sign_work(now, worker, is_late);
        } else if policy.pay_after < Seconds::MAX && self.works.lines.contains_key(&worker) {
            let at = now.time.saturating_after(policy.pay_after);
            self.works.timers.entry(worker).or_insert(at);
        }
    }

    /// What is due leaves as far as the channel has room. What does not stays owed, and is told.
    fn sign_work(&mut self, now: &Now, worker: WorkerKey, is_late: bool) {
        let Some(session) = self.works.lines.get(&worker).map(|line| line.session) else { return };
        let account = self.works.ledger.account(worker);
        let Some((outpoint, to)) = account.and_then(Account::pay_to) else { return };
        let Some(slot) = self.payers.get(&outpoint) else { return };
        let machine = &slot.machine;
        let (signed, most) = (machine.signed(), machine.channel().largest_with_change());
        // W4: it is looked at again once the worker has said what it holds.
        if to <= signed || machine.phase() == PayerPhase::Unsure {
            return;
        }
        // What is signed now the top-up would not state: it is finished first, if it is soon.
        if slot.top_up.is_some() && !is_late {
            let at = self.first_repeat(now).at;
            self.works.timers.entry(worker).or_insert(at);
            return;
        }
        let (paid, ending) = (to.min(most).max(signed), Ending::KeepsChange);
        let sent = if paid > signed {
            self.pay_to(now, Payment { outpoint, paid, session, ending })
        } else {
            Ok(())
        };
        let room = most.saturating_sub(signed);
        let full = if to > most { Err(NodeError::NoRoom { outpoint, room }) } else { Ok(()) };
        match sent.and(full) {
            Ok(()) => {
                self.works.unpaid.remove(&worker);
                self.works.timers.remove(&worker);
            }
            Err(why) => self.tell_unpaid(now, worker, why),
        }
    }

    /// Whose budget pays the work that a channel pays.
    pub(in crate::node) fn work_session(&self, outpoint: OutPoint) -> Option<SessionId> {
        let worker = self.works.at.get(&outpoint)?;
        self.works.lines.get(worker).map(|line| line.session)
    }

    fn tell_unpaid(&mut self, now: &Now, worker: WorkerKey, why: NodeError) {
        if why.heals() {
            let at = self.first_repeat(now).at;
            self.works.timers.insert(worker, at);
        }
        if self.works.unpaid.insert(worker) {
            let due = self.work_due(worker);
            self.effects.tell(Event::WorkUnpaid { worker, due, why });
        }
    }

    /// A payment that waited for its budget was refused by it.
    pub(in crate::node) fn work_refused(&mut self, now: &Now, outpoint: OutPoint, why: NodeError) {
        if let Some(worker) = self.works.at.get(&outpoint).copied() {
            self.tell_unpaid(now, worker, why);
        }
    }

    /// Something was signed on a channel: if it pays work, the channel's record goes into the
    /// commit with the ledger's, before the voucher can leave (P4).
    pub(in crate::node) fn count_work(&mut self, outpoint: OutPoint) -> Result<(), NodeError> {
        let Some(worker) = self.works.at.get(&outpoint).copied() else { return Ok(()) };
        let (channel, paid) = (outpoint, self.signed_on(outpoint));
        self.count_paid_work(outpoint, worker, &Input::Paid { worker, channel, paid })
    }

    /// The worker has said what it holds of a channel (W4); what is due is paid by the next flush.
    pub(in crate::node) fn work_met(&mut self, outpoint: OutPoint) -> Result<(), NodeError> {
        let Some(worker) = self.works.at.get(&outpoint).copied() else { return Ok(()) };
        let budget = self.works.lines.get(&worker).map(|line| (line.session, line.budget));
        if let Some((session, budget)) = budget {
            let peer = PeerId::new(self.slot(outpoint)?.machine.record().base());
            self.signer.open_session(peer, session, budget)?;
        }
        self.works.owing.insert(worker);
        self.work_shown(outpoint)
    }

    /// Something is known to be signed on a channel that nobody decided to pay for work.
    pub(in crate::node) fn work_shown(&mut self, outpoint: OutPoint) -> Result<(), NodeError> {
        let Some(worker) = self.works.at.get(&outpoint).copied() else { return Ok(()) };
        let (channel, paid) = (outpoint, self.signed_on(outpoint));
        self.count_paid_work(outpoint, worker, &Input::Shown { worker, channel, paid })
    }

    fn count_paid_work(
        &mut self,
        outpoint: OutPoint,
        worker: WorkerKey,
        input: &Input,
    ) -> Result<(), NodeError> {
        let paid = |ledger: &Ledger| ledger.account(worker).map_or(Msat::ZERO, Account::paid);
        let before = paid(&self.works.ledger);
        self.keep_account(input)?;
        let total = paid(&self.works.ledger);
        let more = total.saturating_sub(before);
        if more > Msat::ZERO {
            self.put_payer(outpoint)?;
            self.effects.tell(Event::WorkPaid { worker, outpoint, paid: more, total });
        }
        Ok(())
    }

    /// The channel goes on at another outpoint, as [`Self::move_sessions`] says.
    pub(in crate::node) fn move_work(
        &mut self,
        from: OutPoint,
        to: OutPoint,
        stated: Msat,
        start: Msat,
    ) -> Result<(), NodeError> {
        self.change_lines(from, |line| line.goes_on(from, to, stated, start))
    }

    /// The channel at `outpoint` is spent, and does not go on; `stated` is what it has paid.
    pub(in crate::node) fn rest_work(
        &mut self,
        outpoint: OutPoint,
        stated: Msat,
    ) -> Result<(), NodeError> {
        self.change_lines(outpoint, |line| line.comes_to_rest(outpoint, stated))
    }

    /// A reorg has undone the spend of `outpoint`.
    pub(in crate::node) fn return_work(&mut self, outpoint: OutPoint) -> Result<(), NodeError> {
        self.change_lines(outpoint, |line| line.goes_back(outpoint))
    }

    /// The record of the channel at `outpoint` goes: its spend is buried, or it never was.
    pub(in crate::node) fn forget_work(&mut self, outpoint: OutPoint) -> Result<(), NodeError> {
        self.change_lines(outpoint, |line| line.is_past(outpoint))
    }

    /// Changes the lines that know `outpoint`: no others can be concerned.
    fn change_lines(
        &mut self,
        outpoint: OutPoint,
        mut change: impl FnMut(&mut WorkLine) -> bool,
    ) -> Result<(), NodeError> {
        let mut changed = Vec::new();
        for (worker, line) in self.works.lines.iter().filter(|(_, line)| line.knows(outpoint)) {
            let mut next = line.clone();
            if change(&mut next) {
                changed.push((*worker, next));
            }
        }
        for (worker, line) in changed {
            let (before, channel) = (line.earlier(), line.outpoint());
            let base = line.from();
            let paid = channel.map_or(base, |at| self.signed_on(at).max(base));
            self.keep_account(&Input::Moved { worker, before, channel, base, paid })?;
            self.keep_line(worker, line)?;
            self.works.owing.insert(worker);
        }
        Ok(())
    }
}
