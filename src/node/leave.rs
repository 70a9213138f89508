//! How a payer leaves an outpoint: close, top-up, refund; and both, one that never confirms.

use alloc::vec::Vec;

use bitcoin::{OutPoint, ScriptBuf, Witness, secp256k1::schnorr};

use super::effects::Event;
use super::lineage::Side;
use super::link::coins_to_wire;
use super::payee::SUCCESSORS_MAX;
use super::{CHANNELS_MAX, LinkId, Node, NodeError, Now, PayerSlot};
use crate::signer::Signer;
use crate::stream::StreamError;
use crate::stream::payee::PayeePhase;
use crate::stream::payer::{PayerPhase, PayerRecord, TopUpStep};
use crate::tx::seen::OutputStatus;
use crate::tx::{FeeInput, payee_script};
use crate::units::{FeeRate, Sat, SessionId};
use crate::wire::{self, Bytes, Carried, CloseRequest, TopUpRequest};

/// A top-up on its way.
#[derive(Debug)]
pub(super) struct PendingTopUp {
    step: TopUpStep,
    /// The payee's signature, once it has come.
    payee: Option<schnorr::Signature>,
}

impl<S: Signer> Node<S> {
    pub(super) fn close(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        script: ScriptBuf,
        fee: Sat,
    ) -> Result<(), NodeError> {
        let view = self.view(now.time)?;
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let link = slot.link.ok_or(NodeError::NoChannel { outpoint })?;
        let payee = payee_script(&self.context, slot.machine.channel().output().payee())?;
        let step =
            slot.machine.propose_close(&mut self.signer, script, payee, fee, &view, &now.aux)?;
        let (record, proposal) = (step.record(), step.proposal());
        self.effects.put(record.key()?, &record.encode()?)?;
        slot.machine.apply(record)?;
        let message = CloseRequest {
            alias: slot.alias,
            paid: proposal.paid,
            fee: proposal.fee,
            script: Bytes::new(proposal.script.to_bytes())?,
            signature: proposal.signature,
        };
        self.effects.send(link, message);
        Ok(())
    }

    pub(super) fn top_up(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        inputs: Vec<FeeInput>,
        capacity: Sat,
        carries: Option<SessionId>,
    ) -> Result<(), NodeError> {
        let view = self.view(now.time)?;
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let link = slot.link.ok_or(NodeError::NoChannel { outpoint })?;
        let payee = payee_script(&self.context, slot.machine.channel().output().payee())?;
        let made = self.payers.values().filter(|slot| slot.parent == Some(outpoint)).count();
        if made >= SUCCESSORS_MAX || self.channels() >= CHANNELS_MAX {
            return Err(NodeError::TooMany { what: "top-ups", max: SUCCESSORS_MAX });
        }
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let step = slot.machine.propose_top_up(
            &mut self.signer,
            inputs,
            capacity,
            carries,
            payee,
            &view,
            &now.aux,
        )?;
        let proposal = step.proposal();
        let message = TopUpRequest {
            alias: slot.alias,
            paid: proposal.paid,
            capacity: proposal.capacity,
            coins: Bytes::new(coins_to_wire(&proposal.inputs))?,
            carried: proposal
                .carried
                .map(|voucher| Carried { paid: voucher.paid, signature: voucher.signature }),
        };
        let (record, successor) = (step.record().clone(), step.successor().clone());
        self.effects.put(record.key()?, &record.encode()?)?;
        slot.machine.apply(&record)?;
        slot.top_up = Some(PendingTopUp { step, payee: None });
        self.adopt_topped_up(successor, outpoint)?;
        self.effects.send(link, message);
        Ok(())
    }

    /// Proposed again, after a restart for instance, what is known of its outpoint stays, and only
    /// what it carries may rise.
    fn adopt_topped_up(&mut self, successor: PayerRecord, from: OutPoint) -> Result<(), NodeError> {
        let Some(known) = self.payers.get_mut(&successor.outpoint()) else {
            return self.adopt_payer(successor, Some(from));
        };
        let Some(record) = known.machine.carries_more(&successor) else { return Ok(()) };
        self.effects.put(record.key()?, &record.encode()?)?;
        known.machine.apply(&record)?;
        // The payee holds its first voucher before the outpoint can be.
        known.acked = known.acked.max(record.start());
        Ok(())
    }

    /// The payee has signed: its signature is checked, and the coins' owner asked.
    pub(super) fn receive_top_up_signed(
        &mut self,
        link: LinkId,
        message: &wire::TopUpSigned,
    ) -> Result<(), NodeError> {
        let outpoint = self.payer_named(link, message.alias)?;
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let pending = slot.top_up.as_mut().ok_or(NodeError::NotAsked { what: "a top-up" })?;
        pending.step.spend().verify_payee(&self.context, &message.signature)?;
        pending.payee = Some(message.signature);
        let spend = alloc::boxed::Box::new(pending.step.spend().clone());
        self.effects.tell(Event::TopUpAgreed { outpoint, spend });
        Ok(())
    }

    pub(super) fn finish_top_up(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        witnesses: Vec<Witness>,
    ) -> Result<(), NodeError> {
        let view = self.view(now.time)?;
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let pending = slot.top_up.as_ref().ok_or(NodeError::NotAsked { what: "a top-up" })?;
        let payee = pending.payee.ok_or(NodeError::NotAsked { what: "a top-up" })?;
        let spend = pending.step.spend();
        let payer = slot.machine.sign_top_up(
            &self.context,
            &mut self.signer,
            spend,
            &payee,
            &view,
            &now.aux,
        )?;
        let tx = spend.clone().finish(&payer, &payee, witnesses)?;
        let (successor, stated) = (pending.step.successor().clone(), spend.paid());
        slot.top_up = None;
        let to = successor.outpoint();
        self.move_sessions(outpoint, to, stated, successor.start())?;
        self.move_work(outpoint, to, stated, successor.start())?;
        self.send_to_chain(tx)?;
        let capacity = successor.capacity();
        self.effects.tell(Event::RolledOver { from: outpoint, to, capacity });
        match self.slot(to)?.link {
            Some(link) => self.show(now, link, to),
            None => Ok(()),
        }
    }

    /// Forgets a channel that the chain has not shown in a block.
    ///
    /// A voucher that the payee holds could be settled if the funding confirmed after all, so with
    /// one signed it waits until that is impossible. Without, nothing but the lock until the refund
    /// is at stake, and its backup stays.
    pub(super) fn abandon(&mut self, now: &Now, outpoint: OutPoint) -> Result<(), NodeError> {
        if !self.payers.contains_key(&outpoint) && self.payees.contains_key(&outpoint) {
            return self.write_off(now, outpoint);
        }
        let slot = self.slot(outpoint)?;
        let (machine, txid) = (&slot.machine, outpoint.txid);
        // P3: what cannot confirm cannot be spent either, whatever was agreed on before a reorg.
        let waits = slot.conflict.is_some()
            || matches!(machine.phase(), PayerPhase::Open | PayerPhase::Unsure);
        if !waits || machine.deadline().is_some() || slot.parent.is_some() {
            let phase = machine.phase().name();
            return Err(StreamError::WrongPhase { phase, act: "abandon" }.into());
        }
        let signed = machine.signed();
        // After a restart more may be signed than is known.
        let none = signed == machine.start() && machine.phase() == PayerPhase::Open;
        if slot.conflict.is_none() && !none {
            return Err(NodeError::MayConfirm { outpoint, signed });
        }
        if let Some(session) = self.session_on(outpoint).filter(|_| slot.conflict.is_none()) {
            return Err(NodeError::Busy { session });
        }
        let others = self.payers.keys().filter(|other| other.txid == txid).count();
        // With it goes what a settlement or a top-up was to make of it.
        self.close_channel(now, Side::Payer, outpoint, None)?;
        let payers = &self.payers;
        self.waiting.retain(|(waiting, _)| payers.contains_key(&waiting.outpoint));
        // Another channel of the same transaction still waits for it.
        if others <= 1 { self.end_broadcast(txid) } else { Ok(()) }
    }

    /// Payee: what it was paid on an output that is in no block is zero-conf credit, and its
    /// owner's to give up. Else whoever replaces its fundings could fill this node with channels.
    /// S6: not where a signature of this payee is out, in whatever phase. What it states is known
    /// from the record alone, and the output may come back without the spend.
    fn write_off(&mut self, now: &Now, outpoint: OutPoint) -> Result<(), NodeError> {
        let slot = self.payees.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let machine = &slot.machine;
        let spent = matches!(machine.phase(), PayeePhase::Spent { .. } | PayeePhase::Closed { .. });
        if spent || slot.is_promised() || machine.deadline().is_some() || slot.parent.is_some() {
            let phase = machine.phase().name();
            return Err(StreamError::WrongPhase { phase, act: "abandon" }.into());
        }
        self.close_channel(now, Side::Payee, outpoint, None)
    }

    /// The coins of fundings that have not confirmed.
    pub(super) fn funding_coins(&self) -> impl Iterator<Item = OutPoint> + '_ {
        let waits = |slot: &&PayerSlot| slot.machine.deadline().is_none() && slot.parent.is_none();
        let fundings = self.payers.values().filter(waits).filter_map(|slot| {
            let funding = self.unconfirmed.get(&slot.machine.outpoint().txid)?;
            Some(funding.input.iter().map(|input| input.previous_output))
        });
        fundings.flatten()
    }

    /// What the chain shows of a coin: whether a funding of ours can still spend it.
    pub(super) fn coin_seen(&mut self, coin: OutPoint, status: Option<&OutputStatus>) {
        let Some(tip) = self.tip else { return };
        let spend = status.and_then(|status| status.spent.as_ref());
        for (outpoint, slot) in &mut self.payers {
            let Some(funding) = self.unconfirmed.get(&outpoint.txid) else { continue };
            if !funding.input.iter().any(|input| input.previous_output == coin) {
                continue;
            }
            let other = spend.filter(|spend| slot.machine.is_final(spend.confirmed, tip.height));
            let by = other.map(|spend| spend.tx.compute_txid()).filter(|by| *by != outpoint.txid);
            if let Some(by) = by.filter(|by| slot.conflict != Some(*by)) {
                slot.conflict = Some(by);
                self.effects.tell(Event::FundingConflicted { outpoint: *outpoint, by });
            }
        }
    }

    pub(super) fn refund(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        script: ScriptBuf,
        rate: FeeRate,
    ) -> Result<(), NodeError> {
        let view = self.view(now.time)?;
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let step = slot.machine.refund(&mut self.signer, script, rate, &view, &now.aux)?;
        self.send_to_chain(step.transaction().clone())
    }
}
