//! The payee's side: terms, opening, vouchers, settlement, and its answers to close and top-up.

use alloc::vec::Vec;

use bitcoin::secp256k1::schnorr;
use bitcoin::{OutPoint, ScriptBuf, Transaction, Witness};

use super::effects::Event;
use super::lineage::Side;
use super::link::{chain_hash, change_from_wire, change_to_wire, coins_from_wire};
use super::{CHANNELS_MAX, LinkId, Node, NodeError, Now, PayeeSlot};
use crate::signer::{Request, Role, Signer};
use crate::stream::payee::{PayeeRecord, SettlementPlan};
use crate::stream::{CloseProposal, OpenRequest, Payee, StreamError, Terms, TopUpProposal, View};
use crate::tx::hold::HoldSettlement;
use crate::tx::seen::OutputStatus;
use crate::tx::{Delay, FeeInput, Settlement, Voucher, payee_script};
use crate::units::{ChannelAlias, FeeRate, Msat};
use crate::wire::{self, Accepted, Ack, Best, Bytes, CloseSigned, Standing, TopUpSigned};

/// An opening that waits for the chain's word about its output.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) link: LinkId,
    pub(super) alias: ChannelAlias,
    pub(super) request: OpenRequest,
    pub(super) claimed: Msat,
}

/// 64 channels that one link shows before the chain has answered for the first.
const ASKED_MAX: usize = 64;
/// 8 outpoints that top-ups of one channel could make: fee bumps, and coins that were spent
/// elsewhere. A payer signs them for nothing, so there must be an end to them.
pub(super) const SUCCESSORS_MAX: usize = 8;

impl<S: Signer> Node<S> {
    fn terms(&self) -> Result<&Terms, NodeError> {
        self.config.terms.as_ref().ok_or(NodeError::NotAPayee)
    }

    pub(super) fn answer_terms(&mut self, link: LinkId) -> Result<(), NodeError> {
        let terms = Bytes::new(self.terms()?.encode())?;
        self.effects.send(link, wire::Terms { terms });
        Ok(())
    }

    /// A payer shows a channel. What the chain knows of its output is asked first.
    pub(super) fn receive_open(
        &mut self,
        link: LinkId,
        open: &wire::Open,
    ) -> Result<(), NodeError> {
        let terms = self.terms()?;
        let network = if open.chain == chain_hash(terms.network) {
            terms.network
        } else {
            let (want, got) = (terms.network, other_network(terms.network));
            return Err(StreamError::WrongNetwork { want, got }.into());
        };
        let outpoint = open.outpoint;
        let change = change_from_wire(open.change)?;
        if let Some(slot) = self.payees.get(&outpoint) {
            // Before the first voucher whoever showed it may have named another's change script.
            let fresh = slot.machine.is_fresh() && slot.parent.is_none();
            if !fresh || *slot.machine.channel().change() == change {
                // Shown again, or a rollover that this payee made itself.
                self.name(link, open.alias, outpoint)?;
                return self.present(link, open.alias, outpoint);
            }
        }
        if self.asked.keys().filter(|(_, shown)| *shown == link).count() >= ASKED_MAX {
            return Err(NodeError::TooMany { what: "openings on a link", max: ASKED_MAX });
        }
        if self.channels().saturating_add(self.asked.len()) >= CHANNELS_MAX {
            return Err(NodeError::TooMany { what: "channels", max: CHANNELS_MAX });
        }
        let request = OpenRequest {
            network,
            base: open.payee_base,
            payer: open.payer,
            delay: Delay::new(open.delay.get())?,
            outpoint,
            change,
            terms: open.terms_hash,
        };
        self.asked.insert(
            (outpoint, link),
            Asked { link, alias: open.alias, request, claimed: open.paid },
        );
        self.effects.look_up(outpoint);
        Ok(())
    }

    /// The chain has answered about an output that a payer showed.
    pub(super) fn open_asked(
        &mut self,
        now: &Now,
        asked: &Asked,
        status: Option<&OutputStatus>,
    ) -> Result<(), NodeError> {
        let view = self.view(now.time)?;
        let terms = self.terms()?;
        let outpoint = asked.request.outpoint;
        // Opened by another link, or made by a top-up, since this one asked: what is held stays.
        let known = self.payees.get(&outpoint);
        let kept = known.is_some_and(|slot| {
            let same = *slot.machine.channel().change() == asked.request.change;
            same || !slot.machine.is_fresh() || slot.parent.is_some()
        });
        if !kept {
            let machine = Payee::open(&self.context, terms, &asked.request, status, &view)?;
            let capacity = machine.channel().capacity();
            if known.is_some() {
                self.signer.forget(outpoint)?;
            } else {
                self.make_room(now, status.is_some_and(|status| status.confirmed.is_some()))?;
            }
            let parent = self.parent_by_spend(outpoint);
            self.enlist_payee(&machine)?;
            self.keep_payee(machine, parent)?;
            self.effects.tell(Event::Opened { outpoint, capacity });
            if asked.claimed > Msat::ZERO {
                let claimed = asked.claimed;
                self.effects.tell(Event::RecoveredOnPayersWord { outpoint, claimed });
            }
        }
        self.name(asked.link, asked.alias, outpoint)?;
        self.present(asked.link, asked.alias, outpoint)
    }

    /// The channel that goes on at `to`, as far as this payee knows: of a rollover that it signed
    /// before it lost its store. Other outputs of the same spend, and those of a refund, are the
    /// payer's own making, as any that it shows.
    fn parent_by_spend(&self, to: OutPoint) -> Option<OutPoint> {
        self.payees.iter().find_map(|(from, slot)| (slot.leads == Some(to)).then_some(*from))
    }

    /// Everything about a new channel that can be refused: nothing is stored yet.
    fn enlist_payee(&mut self, machine: &Payee) -> Result<(), NodeError> {
        if !self.is_payee_of(machine.outpoint()) && self.channels() >= CHANNELS_MAX {
            return Err(NodeError::TooMany { what: "channels", max: CHANNELS_MAX });
        }
        let stated = machine.phase().stated();
        Ok(self.signer.register(machine.channel(), Role::Payee { stated })?)
    }

    /// The same of what `record` says of the channel where `from` goes on.
    fn enlist_successor(
        &mut self,
        from: OutPoint,
        record: &PayeeRecord,
    ) -> Result<Payee, NodeError> {
        let before = self.payees.get(&from).ok_or(NodeError::NoChannel { outpoint: from })?;
        let machine = before.machine.beside(&self.context, record.clone())?;
        self.enlist_payee(&machine)?;
        Ok(machine)
    }

    fn keep_payee(&mut self, machine: Payee, parent: Option<OutPoint>) -> Result<(), NodeError> {
        let (outpoint, record) = (machine.outpoint(), machine.record());
        self.effects.put(record.key()?, &record.encode()?)?;
        self.put_parent(Side::Payee, outpoint, parent)?;
        let at = parent.and_then(|outpoint| self.payees.get(&outpoint)).and_then(|slot| slot.at);
        self.payees.insert(outpoint, PayeeSlot::new(machine, parent));
        if let Some((link, alias)) = at {
            self.place(outpoint, link, alias);
        }
        Ok(())
    }

    fn answer_standing(
        &mut self,
        link: LinkId,
        alias: ChannelAlias,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let slot = self.payees.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let standing = match slot.machine.deadline() {
            Some(_) => Standing::Ready,
            None if slot.machine.takes_zero_conf() => Standing::ZeroConf,
            None => Standing::Waiting,
        };
        let paid = slot.machine.paid();
        self.effects.send(link, Accepted { alias, paid, standing });
        Ok(())
    }

    pub(super) fn receive_resume(
        &mut self,
        link: LinkId,
        resume: wire::Resume,
    ) -> Result<(), NodeError> {
        if let Some(outpoint) = resume.outpoint {
            if !self.payees.contains_key(&outpoint) {
                return Err(NodeError::NoChannel { outpoint });
            }
            self.name(link, resume.alias, outpoint)?;
        }
        let outpoint = self.named(link, resume.alias)?;
        self.present(link, resume.alias, outpoint)
    }

    /// What this payee holds of a channel: its best voucher, if there is one. Nothing of the
    /// sessions on it, because whoever knows the outpoint may ask.
    fn present(
        &mut self,
        link: LinkId,
        alias: ChannelAlias,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        if self.present_held(link, outpoint)? {
            return Ok(());
        }
        let slot = self.payees.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let Some(Voucher { paid, signature }) = slot.machine.best() else {
            return self.answer_standing(link, alias, outpoint);
        };
        let change = change_to_wire(slot.machine.channel().change());
        self.effects.send(link, Best { outpoint, paid, signature, change });
        Ok(())
    }

    /// A payment: one verification, then its record and the session that it pays in one commit.
    pub(super) fn receive_voucher(
        &mut self,
        now: &Now,
        link: LinkId,
        message: wire::Voucher,
    ) -> Result<(), NodeError> {
        let outpoint = self.named(link, message.alias)?;
        let view = self.view(now.time)?;
        let beside = self.credit_beside(outpoint, &view.tip);
        let slot = self.payees.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let voucher = Voucher { paid: message.paid, signature: message.signature };
        let presented = slot.machine.best();
        let accepted = slot.machine.accept_beside(&self.context, voucher, beside, &view)?;
        let paid = accepted.paid();
        let is_new = accepted.is_new();
        if is_new {
            let (record, before) = (accepted.record(), slot.machine.holds().to_vec());
            // P4: the record is in the batch before the acknowledgement is in the outbox.
            self.effects.put(record.key()?, &record.encode()?)?;
            slot.machine.apply(record)?;
            let gained = accepted.gained();
            self.effects.tell(Event::Received { outpoint, gained, paid });
            if !before.is_empty() {
                // It ends every hold.
                self.tell_holds(outpoint, &before, &[], view.tip.height);
                self.follow_holds(Side::Payee, outpoint)?;
            }
        }
        self.effects.send(link, Ack { alias: message.alias, paid });
        // Anybody can repeat the voucher that is presented; only the payer can make another.
        if presented != Some(voucher) {
            self.payer_is_at(link, message.alias, outpoint);
        }
        if is_new {
            self.follow_payer(outpoint)?;
            self.count_paid(now, outpoint)?;
        }
        Ok(())
    }

    pub(super) fn payer_is_at(&mut self, link: LinkId, alias: ChannelAlias, outpoint: OutPoint) {
        if let Some(slot) = self.place(outpoint, link, alias) {
            slot.proved = Some(link);
        }
        self.sessions_are_at(link, outpoint);
    }

    /// The payer pays on a successor, so it has seen the spend that makes it before this side did.
    pub(super) fn follow_payer(&mut self, to: OutPoint) -> Result<(), NodeError> {
        let Some(slot) = self.payees.get(&to) else { return Ok(()) };
        let (Some(from), start) = (slot.parent, slot.machine.start()) else { return Ok(()) };
        let Some(before) = self.payees.get(&from) else { return Ok(()) };
        let stated = before.machine.phase().stated().unwrap_or_else(|| before.machine.paid());
        self.bring_sessions(from, to, stated, start)
    }

    /// A settlement of these channels' best vouchers, before the payee has signed: reads only.
    ///
    /// For a settlement with coins: whoever has their keys signs [`Settlement::transaction`] with
    /// [`Settlement::spent`], and gives both to [`super::Command::SettleDrafted`]. The coins are
    /// confirmed (BIP431) and are consumed whole.
    ///
    /// # Errors
    /// [`NodeError::NoChannel`]; [`NodeError::Stream`] for a channel that has nothing to settle,
    /// and for a fee that takes everything or a transaction above 10,000 vB.
    pub fn draft_settlement(
        &self,
        outpoints: &[OutPoint],
        coins: &[FeeInput],
        script: ScriptBuf,
        rate: FeeRate,
    ) -> Result<Settlement, NodeError> {
        let machines = self.machines(outpoints.iter().copied())?;
        Ok(SettlementPlan::new(&self.context, machines)?.build(coins, script, rate)?)
    }

    fn machines(
        &self,
        outpoints: impl Iterator<Item = OutPoint>,
    ) -> Result<Vec<&Payee>, NodeError> {
        let machine = |outpoint| self.payee(outpoint).ok_or(NodeError::NoChannel { outpoint });
        outpoints.map(machine).collect()
    }

    /// Settles channels in one transaction whose fee comes out of what they bring.
    pub(super) fn settle(
        &mut self,
        now: &Now,
        outpoints: &[OutPoint],
        script: ScriptBuf,
        rate: FeeRate,
    ) -> Result<(), NodeError> {
        let settlement = self.draft_settlement(outpoints, &[], script, rate)?;
        self.settle_drafted(now, settlement, Vec::new())
    }

    /// Stores the promises and the successors, then sends.
    pub(super) fn settle_drafted(
        &mut self,
        now: &Now,
        settlement: Settlement,
        witnesses: Vec<Witness>,
    ) -> Result<(), NodeError> {
        let outpoints = settlement.parts().iter().map(|part| part.channel().outpoint());
        let promises = self
            .machines(outpoints)?
            .into_iter()
            .map(|machine| Ok(machine.promise(&settlement)?))
            .collect::<Result<Vec<_>, NodeError>>()?;
        settlement.check_fee_witnesses(&witnesses)?;
        let signatures = self.sign_settlement(now, &settlement)?;
        let tx = settlement.finish(&signatures, witnesses)?;
        // P2: with or without room for what goes on, the money comes home. A payer whose rollover
        // is not known here shows it, as any other channel.
        let mut successors = Vec::with_capacity(promises.len());
        for (record, successor) in &promises {
            let successor = successor.as_ref().filter(|next| !self.is_payee_of(next.outpoint()));
            let from = record.outpoint();
            let machine = successor.and_then(|next| self.enlist_successor(from, next).ok());
            successors.extend(machine.map(|machine| (from, machine)));
        }
        for (record, _) in &promises {
            self.promise(record.outpoint(), record)?;
        }
        for (from, machine) in successors {
            self.keep_payee(machine, Some(from))?;
        }
        self.send_to_chain(tx)
    }

    /// A settlement of a channel's best voucher with its holds, before the payee has signed: reads
    /// only. `coins` raise its fee.
    ///
    /// # Errors
    /// [`NodeError::NoChannel`]; [`NodeError::Stream`] for a channel without holds, or spent.
    pub fn draft_hold_settlement(
        &self,
        outpoint: OutPoint,
        coins: &[FeeInput],
    ) -> Result<HoldSettlement, NodeError> {
        let machine = self.payee(outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        Ok(machine.hold_settlement(&self.context, coins)?)
    }

    /// The same as [`Self::settle_drafted`], of one channel with its holds.
    pub(super) fn settle_held(
        &mut self,
        now: &Now,
        settlement: HoldSettlement,
        witnesses: Vec<Witness>,
    ) -> Result<(), NodeError> {
        let tx = self.promise_held(now, settlement, witnesses)?;
        self.effects.broadcast(Vec::from([tx]));
        Ok(())
    }

    /// Promised, signed and stored, to be sent at every tip; the first time by the caller.
    pub(super) fn promise_held(
        &mut self,
        now: &Now,
        settlement: HoldSettlement,
        witnesses: Vec<Witness>,
    ) -> Result<Transaction, NodeError> {
        let outpoint = settlement.held().channel().outpoint();
        let machine = self.payee(outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let (record, successor) = machine.promise_held(&settlement)?;
        settlement.check_fee_witnesses(&witnesses)?;
        let request = Request::HoldSettlement { settlement: &settlement };
        let signature = self.signer.sign(&request, now.time, &now.aux)?;
        let tx = settlement.finish(&signature, witnesses)?;
        // As there: what finds no room here its payer shows again.
        let successor = successor.filter(|next| !self.is_payee_of(next.outpoint()));
        let next = successor.and_then(|next| self.enlist_successor(outpoint, &next).ok());
        self.promise(outpoint, &record)?;
        if let Some(machine) = next {
            self.keep_payee(machine, Some(outpoint))?;
        }
        self.keep_for_chain(&tx)?;
        Ok(tx)
    }

    fn is_payee_of(&self, outpoint: OutPoint) -> bool {
        self.payees.contains_key(&outpoint)
    }

    fn sign_settlement(
        &mut self,
        now: &Now,
        settlement: &Settlement,
    ) -> Result<Vec<schnorr::Signature>, NodeError> {
        (0..settlement.parts().len())
            .map(|index| {
                let request = Request::Settlement { settlement, index };
                Ok(self.signer.sign(&request, now.time, &now.aux)?)
            })
            .collect()
    }

    pub(super) fn receive_close(
        &mut self,
        now: &Now,
        request: &wire::CloseRequest,
        link: LinkId,
    ) -> Result<(), NodeError> {
        let (machine, script, view) = self.asked_to_sign(now, link, request.alias)?;
        let outpoint = machine.outpoint();
        let proposal = CloseProposal {
            paid: request.paid,
            script: ScriptBuf::from(request.script.as_slice().to_vec()),
            fee: request.fee,
            signature: request.signature,
        };
        let answer = machine.answer_close(&self.context, &proposal, script, &view)?;
        let spend = answer.spend();
        let earlier = self.earlier_closes(machine, spend)?;
        let signature = self.signer.sign(&Request::Close { spend }, now.time, &now.aux)?;
        let tx = spend.clone().finish(answer.payer(), &signature, Vec::new())?;
        let txid = tx.compute_txid();
        // Asked again, because the answer was lost: the chain has it.
        if !earlier.contains(&txid) {
            self.promise(outpoint, answer.record())?;
            self.send_to_chain(tx)?;
            // P5: one close an outpoint is kept and sent again, the dearest.
            earlier.into_iter().try_for_each(|txid| self.end_broadcast(txid))?;
        }
        let (alias, paid) = (request.alias, request.paid);
        self.effects.send(link, CloseSigned { alias, paid, txid, signature });
        Ok(())
    }

    pub(super) fn receive_top_up(
        &mut self,
        now: &Now,
        request: &wire::TopUpRequest,
        link: LinkId,
    ) -> Result<(), NodeError> {
        let (machine, script, view) = self.asked_to_sign(now, link, request.alias)?;
        let outpoint = machine.outpoint();
        let inputs = coins_from_wire(request.coins.as_slice());
        let carried = request
            .carried
            .map(|carried| Voucher { paid: carried.paid, signature: carried.signature });
        let proposal = TopUpProposal {
            paid: request.paid,
            capacity: request.capacity,
            inputs: inputs.ok_or(NodeError::NotAsked { what: "a coin of another kind" })?,
            carried,
        };
        let (from, to) = self.terms()?.capacity;
        let got = proposal.capacity;
        if got < from || got > to {
            return Err(StreamError::CapacityOutOfTerms { got, from, to }.into());
        }
        let answer = machine.answer_top_up(&self.context, &proposal, script, &view)?;
        let known = self.is_payee_of(answer.successor().outpoint());
        let made = self.payees.values().filter(|slot| slot.parent == Some(outpoint)).count();
        if !known && made >= SUCCESSORS_MAX {
            return Err(NodeError::TooMany { what: "top-ups", max: SUCCESSORS_MAX });
        }
        // Its sessions follow only when the spend is seen, or paid upon: it may never come, and
        // the payer pays where it was until then.
        let next = if known {
            None
        } else {
            self.make_room(now, true)?;
            Some(self.enlist_successor(outpoint, answer.successor())?)
        };
        let spend = answer.spend();
        let signed = self.signer.sign(&Request::TopUp { spend }, now.time, &now.aux);
        if let (Err(_), Some(next)) = (&signed, &next) {
            self.signer.forget(next.outpoint())?;
        }
        let signature = signed?;
        let txid = spend.transaction().compute_txid();
        self.promise(outpoint, answer.record())?;
        next.map_or(Ok(()), |next| self.keep_payee(next, Some(outpoint)))?;
        let (alias, paid) = (request.alias, request.paid);
        self.effects.send(link, TopUpSigned { alias, paid, txid, signature });
        Ok(())
    }

    /// The channel that a peer wants to close or top up, where its payee takes its part, and the
    /// world in which that is decided.
    fn asked_to_sign(
        &self,
        now: &Now,
        link: LinkId,
        alias: ChannelAlias,
    ) -> Result<(&Payee, ScriptBuf, View), NodeError> {
        let (outpoint, view) = (self.named(link, alias)?, self.view(now.time)?);
        let slot = self.payees.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let key = slot.machine.channel().output().payee();
        Ok((&slot.machine, payee_script(&self.context, key)?, view))
    }

    /// P4: what a payee's signature states is durable before the signature leaves.
    fn promise(&mut self, outpoint: OutPoint, record: &PayeeRecord) -> Result<(), NodeError> {
        self.effects.put(record.key()?, &record.encode()?)?;
        let slot = self.payees.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        Ok(slot.machine.apply(record)?)
    }
}

/// Some network that is not `network`: the wire's hash does not say which it was.
const fn other_network(network: bitcoin::Network) -> bitcoin::Network {
    match network {
        bitcoin::Network::Bitcoin => bitcoin::Network::Testnet,
        _ => bitcoin::Network::Bitcoin,
    }
}
