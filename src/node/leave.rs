//! How a payer leaves an outpoint: close, top-up, refund.

use alloc::vec::Vec;

use bitcoin::{OutPoint, ScriptBuf, Witness, secp256k1::schnorr};

use super::effects::Event;
use super::link::coins_to_wire;
use super::payee::SUCCESSORS_MAX;
use super::{CHANNELS_MAX, LinkId, Node, NodeError, Now};
use crate::signer::{Past, Signer};
use crate::stream::payer::TopUpStep;
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
        if made >= SUCCESSORS_MAX || self.payers.len() >= CHANNELS_MAX {
            return Err(NodeError::TooMany { what: "top-ups", max: SUCCESSORS_MAX });
        }
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let step = slot.machine.propose_top_up(
            &self.context,
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
        // Proposed again, after a restart for instance: what is known of its outpoint stays.
        if !self.payers.contains_key(&successor.outpoint()) {
            self.adopt_payer(successor, Some(outpoint))?;
        }
        self.effects.send(link, message);
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
        self.send_to_chain(tx)?;
        let capacity = successor.capacity();
        self.effects.tell(Event::RolledOver { from: outpoint, to, capacity });
        match self.slot(to)?.link {
            Some(link) => self.show(link, to),
            None => Ok(()),
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
        // A refund needs no resuming; the signer only has to know the key, also after a restart
        // with a settlement in the mempool. Who it knows already stays as it is.
        slot.machine.register(&mut self.signer, Past::Unknown { from: None })?;
        let step = slot.machine.refund(&mut self.signer, script, rate, &view, &now.aux)?;
        self.send_to_chain(step.transaction().clone())
    }
}
