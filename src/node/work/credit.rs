//! What is credited, to whom, and which channel pays it.

use bitcoin::OutPoint;
use bitcoin::secp256k1::schnorr::Signature;

use super::line::{WorkLine, key};
use super::{WorkPolicy, Works};
use crate::ledger::receipt::Statement;
use crate::ledger::{Account, Credit, Exact, Input, Ledger, LedgerError, LedgerStep, WorkerKey};
use crate::node::{Node, NodeError, Now};
use crate::signer::{Attest, PeerId, Request, Signer};
use crate::store::Key;
use crate::stream::StreamError;
use crate::stream::payer::PayerPhase;
use crate::units::{Msat, SessionId};

impl<S: Signer> Node<S> {
    /// What work has earned, of whom, and what of it is paid.
    pub const fn ledger(&self) -> &Ledger {
        &self.works.ledger
    }

    /// What is owed to a worker and not signed in any voucher; also of one without a channel.
    pub fn work_due(&self, worker: WorkerKey) -> Msat {
        self.works.ledger.due(worker)
    }

    /// Signs what a window of a worker's shares came to, with this node's base key: every share of
    /// it has its receipt then. One signature; nothing is stored. Only once its credits are flushed
    /// is it sure that they last.
    ///
    /// # Errors
    /// [`LedgerError::AboveOwed`] for more than was credited to the worker; [`NodeError::Signer`].
    pub fn sign_shares(
        &mut self,
        statement: &Statement,
        now: &Now,
    ) -> Result<Signature, NodeError> {
        let (worker, to) = (statement.worker, statement.to);
        let owed = self.works.ledger.account(worker).map_or(Exact::ZERO, Account::owed);
        if to > owed {
            let by = to.floor_msat().saturating_sub(owed.floor_msat());
            return Err(LedgerError::AboveOwed { worker, by }.into());
        }
        let request = Request::Attest { kind: Attest::Shares, bytes: &statement.encode() };
        Ok(self.signer.sign(&request, now.time, &now.aux)?)
    }

    pub(in crate::node) fn tend_work(&mut self, policy: WorkPolicy) {
        self.works.policy = policy;
        self.works.owing.extend(self.works.lines.keys().copied());
    }

    /// Accepted work of a worker; what is due of it is paid by the flush.
    pub(in crate::node) fn credit_work(
        &mut self,
        worker: WorkerKey,
        credit: Credit,
    ) -> Result<(), NodeError> {
        let (due, max) = (self.work_due(worker), self.works.policy.owed_max);
        if due > max {
            return Err(LedgerError::UnpaidLimit { worker, due, max }.into());
        }
        self.keep_account(&Input::Credit { worker, credit })?;
        self.works.owing.insert(worker);
        Ok(())
    }

    /// P4: what the ledger decides stands in the commit before anybody is told of it.
    pub(super) fn keep_account(&mut self, input: &Input) -> Result<(), NodeError> {
        // Whoever floods the ledger with keys must not keep those out who come later. But where a
        // line stands the account stays, which both are read back by.
        let Works { ledger, lines, .. } = &self.works;
        let step = ledger.decide_with_room(input, |worker| !lines.contains_key(&worker))?;
        self.take_step(step)
    }

    /// A block is a step of many records: with those of the drain they may be too many.
    pub(super) fn take_step(&mut self, step: LedgerStep) -> Result<(), NodeError> {
        if step.is_empty() {
            return Ok(());
        }
        self.effects.check_room_for(step.writes())?;
        let staged = step.stage(self.effects.batch_for_barrier())?;
        Ok(self.works.ledger.apply(&staged)?)
    }

    /// Lets a channel pay a worker's work from now on, out of a budget of its own.
    pub(in crate::node) fn bind_worker(
        &mut self,
        worker: WorkerKey,
        outpoint: OutPoint,
        (session, budget): (SessionId, Msat),
    ) -> Result<(), NodeError> {
        self.check_bindable(worker, outpoint)?;
        let peer = PeerId::new(self.slot(outpoint)?.machine.record().base());
        self.signer.open_session(peer, session, budget)?;
        let line = match self.works.lines.get(&worker) {
            Some(line) if line.outpoint() == Some(outpoint) => line.with_budget(session, budget),
            before => {
                let left = before.and_then(WorkLine::outpoint);
                if let Some(channel) = left {
                    let paid = self.signed_on(channel);
                    self.keep_account(&Input::Unbind { worker, channel, paid })?;
                }
                let from = self.signed_on(outpoint);
                self.keep_account(&Input::Bind { worker, channel: outpoint, paid: from })?;
                let account = self.works.ledger.account(worker);
                let earlier = account.map_or(Msat::ZERO, Account::paid);
                WorkLine::new(outpoint, earlier, from).with_budget(session, budget)
            }
        };
        // What was signed before is paid for something else: so much of it must be durable.
        self.put_payer(outpoint)?;
        self.keep_line(worker, line)?;
        self.works.owing.insert(worker);
        Ok(())
    }

    fn check_bindable(&self, worker: WorkerKey, outpoint: OutPoint) -> Result<(), NodeError> {
        let slot = self.slot(outpoint)?;
        let record = slot.machine.record();
        if WorkerKey::from(record.base()) != worker {
            return Err(NodeError::OtherPayee { outpoint });
        }
        match record.phase() {
            PayerPhase::Open => {}
            // More may be signed than is known.
            PayerPhase::Unsure => {
                return Err(StreamError::MustResume { at_least: record.signed() }.into());
            }
            phase => {
                let phase = phase.name();
                return Err(StreamError::WrongPhase { phase, act: "pay work" }.into());
            }
        }
        if let Some(session) = self.unstated_on(outpoint) {
            return Err(NodeError::Busy { session });
        }
        if slot.batches.is_some() || slot.next.is_some() {
            return Err(NodeError::Taken { outpoint });
        }
        self.check_no_holds(outpoint)?;
        if self.waiting.iter().any(|(waiting, _)| waiting.outpoint == outpoint) {
            return Err(NodeError::InFlight { outpoint });
        }
        self.check_done(worker, outpoint)
    }

    /// Whether nothing is open on the channels that have paid the worker, so that another may.
    fn check_done(&self, worker: WorkerKey, next: OutPoint) -> Result<(), NodeError> {
        let Some(line) = self.works.lines.get(&worker) else { return Ok(()) };
        if line.outpoint() == Some(next) {
            return Ok(());
        }
        // A spend that may be replaced, or undone, would count again.
        if let Some(outpoint) = line.before().find(|before| self.payers.contains_key(before)) {
            return Err(NodeError::InFlight { outpoint });
        }
        let Some(outpoint) = line.outpoint() else { return Ok(()) };
        let Some(slot) = self.payers.get(&outpoint) else { return Ok(()) };
        let waits = self.waiting.iter().any(|(waiting, _)| waiting.outpoint == outpoint);
        if waits || slot.acked < slot.machine.signed() {
            return Err(NodeError::InFlight { outpoint });
        }
        Ok(())
    }

    /// A channel that pays work pays nothing else (W5).
    pub(in crate::node) fn check_no_work(&self, outpoint: OutPoint) -> Result<(), NodeError> {
        if self.works.at.contains_key(&outpoint) {
            return Err(NodeError::Taken { outpoint });
        }
        Ok(())
    }

    pub(super) fn signed_on(&self, outpoint: OutPoint) -> Msat {
        self.payers.get(&outpoint).map_or(Msat::ZERO, |slot| slot.machine.signed())
    }

    /// Stores a line, which is where its account stands.
    pub(super) fn keep_line(&mut self, worker: WorkerKey, line: WorkLine) -> Result<(), NodeError> {
        let key = key(worker)?;
        self.effects.put(key, &line.encode(&key))?;
        self.enlist_line(worker, line);
        Ok(())
    }

    fn enlist_line(&mut self, worker: WorkerKey, line: WorkLine) {
        let outpoint = line.outpoint();
        let before = self.works.lines.insert(worker, line).and_then(|line| line.outpoint());
        if let Some(before) = before {
            self.works.at.remove(&before);
        }
        if let Some(outpoint) = outpoint {
            self.works.at.insert(outpoint, worker);
        }
    }

    pub(in crate::node) fn load_work(&mut self, ledger: Ledger) {
        self.works.ledger = ledger;
    }

    pub(in crate::node) fn load_line(&mut self, key: &Key, bytes: &[u8]) -> Result<(), NodeError> {
        let (worker, line) = WorkLine::decode(key, bytes)?;
        // Assert twice: both records are of one commit.
        let account = self.works.ledger.account(worker);
        if account.is_none_or(|account| account.channel() != line.outpoint()) {
            return Err(NodeError::BrokenRecord { key: *key, what: "channel" });
        }
        self.enlist_line(worker, line);
        Ok(())
    }
}
