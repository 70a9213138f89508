//! The payer's side: funding, payments and resuming.

use alloc::vec::Vec;

use bitcoin::{OutPoint, Transaction};

use super::effects::Event;
use super::hold::Order;
use super::lineage::Side;
use super::link::{chain_hash, change_from_wire, change_to_wire};
use super::{CHANNELS_MAX, LinkId, Node, NodeError, Now, PayerSlot, Payment, Repeat};
use crate::keys::{Entropy, tagged_hash};
use crate::signer::budget::Ahead;
use crate::signer::{KeyName, Past, Signer, SignerError};
use crate::stream::payer::{Ending, Opening, PayerRecord};
use crate::stream::{Payer, StreamError, Terms};
use crate::tx::Voucher;
use crate::units::{ChannelAlias, Msat, Sat, Seconds, SessionId};
use crate::wire::{self, Resume, TermsQuery};

impl PayerSlot {
    pub(super) const fn new(machine: Payer, alias: ChannelAlias) -> Self {
        let acked = machine.start();
        Self {
            machine,
            link: None,
            alias,
            acked,
            resend_at: None,
            asked: None,
            shown_again: false,
            next: None,
            conflict: None,
            batches: None,
            held: super::hold::Holding::NONE,
            top_up: None,
            parent: None,
        }
    }
}

impl PayerSlot {
    /// Whether the payee's lanes are asked for.
    fn is_asking(&self) -> bool {
        self.batches.as_deref().is_some_and(super::batch::Sending::is_asking)
    }
}

/// 32,768: twice the channels of a node. Who is full itself must still follow what its payees make
/// of its channels, once each: the money is there. The signer has room once what came before is
/// buried, and the new channel waits until then.
pub(super) const SUCCEEDING_MAX: usize = CHANNELS_MAX.saturating_mul(2);

impl<S: Signer> Node<S> {
    pub(super) fn ask_terms(&mut self, link: LinkId) -> Result<(), NodeError> {
        if !self.links.contains_key(&link) {
            return Err(NodeError::NoLink { link });
        }
        self.effects.send(link, TermsQuery {});
        Ok(())
    }

    pub(super) fn receive_terms(
        &mut self,
        link: LinkId,
        message: &wire::Terms,
    ) -> Result<(), NodeError> {
        let terms = Terms::parse(message.terms.as_slice()).map_err(StreamError::from)?;
        self.effects.tell(Event::TermsReceived { link, terms });
        Ok(())
    }

    /// The funding is signed: record and backup become durable, then it is broadcast and shown.
    pub(super) fn fund(
        &mut self,
        now: &Now,
        link: Option<LinkId>,
        opening: &Opening,
        funding: Transaction,
        vout: u32,
        backup: &[u8],
    ) -> Result<(), NodeError> {
        let output = usize::try_from(vout).ok().and_then(|vout| funding.output.get(vout));
        let right = output.is_some_and(|output| {
            output.script_pubkey == *opening.script()
                && output.value.to_sat() == opening.capacity().to_sat()
        });
        if !right {
            return Err(NodeError::WrongFunding { vout });
        }
        if let Some(link) = link.filter(|link| !self.links.contains_key(link)) {
            return Err(NodeError::NoLink { link });
        }
        let outpoint = OutPoint { txid: funding.compute_txid(), vout };
        // Told again after a power cut: its record knows more, only the broadcast may be missing.
        if !self.payers.contains_key(&outpoint) {
            self.check_place(outpoint, CHANNELS_MAX)?;
            let machine = opening.machine(outpoint)?;
            // An opening that another seed made: nobody here could ever refund it.
            if self.signer.public(KeyName::Payer(machine.record().index()))? != opening.key() {
                return Err(NodeError::WrongFunding { vout });
            }
            machine.register(&mut self.signer, Past::New)?;
            // P4: the refund leaf's only copy is durable before there is anything to refund.
            self.effects.put(Self::backup_key(outpoint)?, backup)?;
            self.keep_payer(machine, None)?;
        }
        self.send_to_chain(funding)?;
        self.effects.look_up(outpoint);
        match link {
            Some(link) => self.show(now, link, outpoint),
            None => Ok(()),
        }
    }

    /// A restored channel: paid on only after the payee's best voucher was seen.
    pub(super) fn adopt(&mut self, record: PayerRecord) -> Result<(), NodeError> {
        let outpoint = record.outpoint();
        self.adopt_payer(record.into_unsure(), None)?;
        self.effects.look_up(outpoint);
        Ok(())
    }

    pub(super) fn adopt_payer(
        &mut self,
        record: PayerRecord,
        parent: Option<OutPoint>,
    ) -> Result<(), NodeError> {
        let machine = self.new_payer(record, parent)?;
        self.keep_payer(machine, parent)
    }

    /// Everything about a payer's channel that can be refused; `parent` is where it comes from.
    pub(super) fn new_payer(
        &self,
        record: PayerRecord,
        parent: Option<OutPoint>,
    ) -> Result<Payer, NodeError> {
        let max = if parent.is_some() { SUCCEEDING_MAX } else { CHANNELS_MAX };
        self.check_place(record.outpoint(), max)?;
        if let Some(before) = parent.and_then(|from| self.payers.get(&from)) {
            return Ok(before.machine.beside(record)?);
        }
        let key = self.signer.public(KeyName::Payer(record.index()))?;
        Ok(Payer::load(&self.context, key, record)?)
    }

    /// Whether there is a place for one more payer's channel in a node of at most `max`.
    fn check_place(&self, outpoint: OutPoint, max: usize) -> Result<(), NodeError> {
        if self.payers.contains_key(&outpoint) {
            return Err(NodeError::ChannelExists { outpoint });
        }
        if self.channels() >= max {
            return Err(NodeError::TooMany { what: "channels", max });
        }
        Ok(())
    }

    /// P4: the channel's record goes into the commit, and is durable before anything leaves.
    pub(super) fn put_payer(&mut self, outpoint: OutPoint) -> Result<(), NodeError> {
        let record = self.slot(outpoint)?.machine.record();
        let (key, bytes) = (record.key()?, record.encode()?);
        Ok(self.effects.put(key, &bytes)?)
    }

    fn keep_payer(&mut self, machine: Payer, parent: Option<OutPoint>) -> Result<(), NodeError> {
        let record = machine.record();
        let outpoint = machine.outpoint();
        self.effects.put(record.key()?, &record.encode()?)?;
        self.put_parent(Side::Payer, outpoint, parent)?;
        let link =
            parent.and_then(|outpoint| self.payers.get(&outpoint)).and_then(|slot| slot.link);
        let alias = self.new_alias(outpoint);
        let slot = PayerSlot { link, parent, ..PayerSlot::new(machine, alias) };
        self.payers.insert(outpoint, slot);
        Ok(())
    }

    /// Shows a channel to the payee: its answer is `Accepted`.
    pub(super) fn show(
        &mut self,
        now: &Now,
        link: LinkId,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        if !self.links.contains_key(&link) {
            return Err(NodeError::NoLink { link });
        }
        let asked = Some(self.first_repeat(now));
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        (slot.link, slot.asked) = (Some(link), asked);
        let request = slot.machine.open_request(self.config.network);
        let delay = core::num::NonZeroU16::new(request.delay.to_u16());
        let open = wire::Open {
            alias: slot.alias,
            chain: chain_hash(self.config.network),
            payer: request.payer,
            delay: delay.unwrap_or(core::num::NonZeroU16::MIN),
            outpoint,
            change: change_to_wire(&request.change),
            paid: slot.machine.signed(),
            payee_base: request.base,
            terms_hash: request.terms,
        };
        self.effects.send(link, open);
        Ok(())
    }

    pub(super) fn attach(
        &mut self,
        now: &Now,
        link: LinkId,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        if !self.links.contains_key(&link) {
            return Err(NodeError::NoLink { link });
        }
        let asked = Some(self.first_repeat(now));
        let slot = self.slot_mut(outpoint)?;
        (slot.link, slot.asked) = (Some(link), asked);
        let alias = slot.alias;
        self.effects.send(link, Resume { alias, outpoint: Some(outpoint) });
        Ok(())
    }

    /// The payee has taken the channel, or holds no voucher of it yet.
    pub(super) fn receive_accepted(
        &mut self,
        now: &Now,
        link: LinkId,
        message: wire::Accepted,
    ) -> Result<(), NodeError> {
        let outpoint = self.payer_named(link, message.alias)?;
        self.resumed(now, outpoint, None)
    }

    /// The payee presents its best voucher.
    pub(super) fn receive_best(
        &mut self,
        now: &Now,
        link: LinkId,
        message: &wire::Best,
    ) -> Result<(), NodeError> {
        let outpoint = message.outpoint;
        self.check_asked(link, outpoint)?;
        let voucher = Voucher { paid: message.paid, signature: message.signature };
        self.resumed(now, outpoint, Some((voucher, &change_from_wire(message.change)?)))
    }

    fn resumed(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        best: Option<(Voucher, &crate::tx::ChangeScript)>,
    ) -> Result<(), NodeError> {
        self.register_line(outpoint, best.is_some())?;
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let resumed = slot.machine.resume(&self.context, &mut self.signer, best)?;
        let record = resumed.record();
        self.effects.put_lazily(record.key()?, &record.encode()?)?;
        slot.machine.apply(record)?;
        let behind = resumed.behind();
        slot.acked = slot.machine.signed().saturating_sub(behind);
        slot.asked = None;
        let signed = slot.machine.signed();
        self.follow_holds(Side::Payer, outpoint)?;
        self.effects.tell(Event::Ready { outpoint, signed, behind });
        self.work_met(outpoint)?;
        // It also shows the payee who is here, before the sessions are taken up.
        let holds = self.holds_stand(outpoint);
        let shows = behind > Msat::ZERO || holds || self.unstated_on(outpoint).is_some();
        let sent = match self.windows_resumed(now, outpoint) {
            // What is behind are batches, which say what it is for.
            Ok(true) => Ok(()),
            Ok(false) if shows => self.show_payer(now, outpoint),
            resumed => resumed.map(|_| ()),
        };
        let sent = match sent {
            // No session pays for it any more; the caller knows from the event, and the next
            // payment covers it.
            Err(NodeError::Stream(StreamError::Signer(SignerError::NoSuchSession { .. }))) => {
                Ok(())
            }
            sent => sent,
        };
        let folded = self.fold_known(now, outpoint);
        self.restart_sessions(now, outpoint).and(sent).and(folded)
    }

    /// After a restart the signer knows no outpoint of the line yet: it goes by the first one's
    /// name, whichever of them are resumed, and in whatever order.
    pub(super) fn register_line(
        &mut self,
        outpoint: OutPoint,
        is_paid: bool,
    ) -> Result<(), NodeError> {
        let first = self.line_up(Side::Payer, outpoint).skip(1).last();
        let slot = self.payers.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let Some(from) = first else { return Ok(()) };
        // The signer must know it as a descendant, or it would take it for a second outpoint.
        let past =
            if is_paid { Past::Unknown { from: Some(from) } } else { Past::Follows { from } };
        match slot.machine.register(&mut self.signer, past) {
            // With another change script, which the voucher is to prove.
            Err(StreamError::Signer(SignerError::AlreadyRegistered { .. })) => Ok(()),
            registered => Ok(registered?),
        }
    }

    /// The payee holds more than this side knows of: it shall present it.
    pub(super) fn receive_refused(
        &mut self,
        now: &Now,
        link: LinkId,
        message: wire::Refused,
    ) -> Result<(), NodeError> {
        let Ok(outpoint) = self.payer_named(link, message.alias) else { return Ok(()) };
        let slot = self.slot_mut(outpoint)?;
        // An answer too: the caller has the event, and decides.
        slot.asked = None;
        let (start, shown) = (slot.machine.start(), slot.shown_again);
        let behind = message.best > slot.machine.signed();
        match message.code {
            wire::Refusal::Stale if behind => self.attach(now, link, outpoint),
            // The payee has lost it, or was away when it was funded: it is shown again.
            wire::Refusal::UnknownChannel => self.show(now, link, outpoint),
            // It holds nothing of it, and perhaps took it up with another change script than was
            // sent: it is shown again, once for each time that the payment is repeated, since a
            // payee that always refuses would else be answered at once for ever.
            wire::Refusal::BadSignature if message.best <= start && !shown => {
                self.slot_mut(outpoint)?.shown_again = true;
                self.show(now, link, outpoint)
            }
            wire::Refusal::Gap | wire::Refusal::OtherLanes => {
                self.window_refused(now, outpoint, &message)
            }
            wire::Refusal::UnknownSession => self.end_unheard(now, outpoint, message.session),
            // The seller says so of an offer that it has not begun, and of nothing else.
            wire::Refusal::Busy | wire::Refusal::NotConfirmed => {
                self.start_refused(outpoint, message.session, false);
                Ok(())
            }
            wire::Refusal::Unavailable => {
                self.start_refused(outpoint, message.session, true);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn receive_ack(
        &mut self,
        now: &Now,
        link: LinkId,
        alias: ChannelAlias,
        paid: Msat,
    ) -> Result<(), NodeError> {
        let outpoint = self.payer_named(link, alias)?;
        let slot = self.slot_mut(outpoint)?;
        if paid > slot.machine.signed() {
            return Err(NodeError::NotAsked { what: "an acknowledgement of more than was paid" });
        }
        self.windows_acknowledged(now, outpoint, paid)?;
        let slot = self.slot_mut(outpoint)?;
        if paid > slot.acked {
            slot.acked = paid;
            self.effects.tell(Event::Acknowledged { outpoint, paid });
        }
        let slot = self.slot_mut(outpoint)?;
        let unheard = slot.is_asking() || slot.held.is_unheard();
        if slot.acked == slot.machine.signed() && !unheard {
            slot.resend_at = None;
            return self.accept_next(now, outpoint);
        }
        Ok(())
    }

    pub(super) fn pay_more(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        more: Msat,
        session: SessionId,
        ending: Ending,
    ) -> Result<(), NodeError> {
        // What waits for a reservation comes first: amounts are cumulative.
        let waiting = self.waiting.iter().filter(|(waiting, _)| waiting.outpoint == outpoint);
        let before = waiting.map(|(waiting, _)| waiting.paid).max();
        let signed = self.slot(outpoint)?.machine.signed();
        let signed = before.map_or(signed, |paid| paid.max(signed));
        self.check_no_start(outpoint)?;
        self.check_no_work(outpoint)?;
        let paid = signed.add(more).map_err(crate::tx::TxError::from)?;
        self.pay_to(now, Payment { outpoint, paid, session, ending })
    }

    /// Signs and sends; a budget that is not reserved yet is reserved by the next flush first.
    pub(super) fn pay_to(&mut self, now: &Now, payment: Payment) -> Result<(), NodeError> {
        self.check_flight(&payment)?;
        if self.holds_stand(payment.outpoint) {
            let Payment { outpoint, paid, session, .. } = payment;
            return self.order_hold(now, outpoint, session, Order::Pay(paid));
        }
        let view = self.view(now.time)?;
        let outpoint = payment.outpoint;
        let resend_at = self.first_repeat(now).at;
        let slot = self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let Payment { paid, session, ending, .. } = payment;
        let is_news = paid > slot.machine.signed();
        let step = slot.machine.pay(&mut self.signer, paid, ending, session, &view, &now.aux);
        let step = match step {
            Err(StreamError::Signer(SignerError::NeedsReservation { ahead, .. })) => {
                self.wait(payment, ahead);
                return Ok(());
            }
            Err(error) => {
                let error = NodeError::from(error);
                if error.heals() && slot.link.is_some() {
                    slot.resend_at = Some(resend_at);
                }
                return Err(error);
            }
            Ok(step) => step,
        };
        slot.machine.apply(step.record())?;
        let voucher = step.voucher();
        slot.resend_at = slot.link.map(|_| resend_at).or(slot.resend_at);
        self.count_work(outpoint)?;
        if self.launch(outpoint, voucher, session)? {
            return Ok(());
        }
        let slot = self.slot_mut(outpoint)?;
        if let Some(link) = slot.link {
            let (alias, signature) = (slot.alias, voucher.signature);
            self.effects.send(link, wire::Voucher { alias, paid, signature });
        }
        self.count_signed(is_news.then_some(now.time), outpoint)
    }

    /// Payments wait in the order of their amounts; of one session's in a row only the largest.
    fn wait(&mut self, payment: Payment, ahead: Ahead) {
        let here = |waiting: &Payment| waiting.outpoint == payment.outpoint;
        if self.waiting.iter().any(|(other, _)| here(other) && other.paid >= payment.paid) {
            return;
        }
        let last = self.waiting.iter().rposition(|(other, _)| here(other));
        match last.and_then(|last| self.waiting.get_mut(last)) {
            Some(last) if last.0.session == payment.session => *last = (payment, ahead),
            _ => self.waiting.push((payment, ahead)),
        }
    }

    /// Signs the same state again and sends it: a lost voucher, or a payee that lost its store.
    pub(super) fn resend(&mut self, now: &Now, outpoint: OutPoint) -> Result<(), NodeError> {
        if self.resend_windows(now, outpoint)? {
            return Ok(());
        }
        if self.holds_stand(outpoint) {
            return self.show_holds(now, outpoint);
        }
        let paid = self.slot(outpoint)?.machine.signed();
        // The same state again costs no budget, so that any session will do; what a restart has
        // made the signer forget costs it anew.
        let session = self.session_on(outpoint).or_else(|| self.work_session(outpoint));
        let session = session.unwrap_or(SessionId::MIN);
        let ending = self.ending_for(outpoint, paid);
        self.pay_to(now, Payment { outpoint, paid, session, ending })
    }

    /// Signs what is signed already once more, so that the payee sees who is at this end.
    ///
    /// Whoever has seen the channel on the chain, or asked its payee, can name it and repeat its
    /// best voucher. Another signature of the same state only the payer can make; BIP340 gives one
    /// for every auxiliary value, so this one is drawn from time and line, in case the caller's is
    /// always the same. It costs no budget, and no write unless it is the channel's first.
    pub(super) fn show_payer(&mut self, now: &Now, outpoint: OutPoint) -> Result<(), NodeError> {
        let now = self.fresh(now, outpoint)?;
        self.resend(&now, outpoint)
    }

    /// The same moment with auxiliary randomness that no other line and time has.
    pub(super) fn fresh(&self, now: &Now, outpoint: OutPoint) -> Result<Now, NodeError> {
        let link = self.slot(outpoint)?.link.map_or(0, |LinkId(link)| link).to_be_bytes();
        let time = now.time.to_u64().to_be_bytes();
        let parts: [&[u8]; 3] = [now.aux.as_bytes(), &time, &link];
        let aux = Entropy::new(tagged_hash(b"millstream/node/presence", &parts));
        Ok(Now { time: now.time, aux })
    }

    /// When a question of now is asked again first.
    pub(super) fn first_repeat(&self, now: &Now) -> Repeat {
        let second = Seconds::new(1).unwrap_or(Seconds::MAX);
        Repeat::after(now.time, self.config.resend_after.max(second))
    }

    pub(super) fn ending_for(&self, outpoint: OutPoint, paid: Msat) -> Ending {
        let full = self.payers.get(&outpoint).map(|slot| slot.machine.channel().capacity());
        // The full capacity was signed before, so the caller had opted in.
        if full.map(Sat::to_msat) == Some(paid) {
            Ending::GivesUpChange
        } else {
            Ending::KeepsChange
        }
    }

    pub(super) fn woken(&mut self, now: &Now) -> Result<(), NodeError> {
        let due: Vec<OutPoint> = self
            .payers
            .iter()
            .filter(|(_, slot)| slot.resend_at.is_some_and(|at| at <= now.time))
            .map(|(outpoint, _)| *outpoint)
            .collect();
        let mut first = Ok(());
        for outpoint in due {
            self.slot_mut(outpoint)?.resend_at = None;
            let Err(error) = self.pay_again(now, outpoint) else { continue };
            if error.heals() {
                let at = self.first_repeat(now).at;
                self.slot_mut(outpoint)?.resend_at = Some(at);
            } else {
                first = first.and(Err(error));
            }
        }
        self.ask_again(now);
        self.tell_outcomes_again(now);
        self.work_woken(now);
        first.and(self.repeat_sessions(now))
    }

    /// Asks the payee again what it holds of a channel, where it has not said so.
    fn ask_again(&mut self, now: &Now) {
        let due = self.payers.values_mut().filter_map(|slot| {
            let asked = slot.asked.filter(|asked| asked.at <= now.time)?;
            slot.asked = Some(asked.again(now.time));
            Some((slot.link?, slot.alias, slot.machine.outpoint()))
        });
        // A payee that does not know the channel says so, and is shown it.
        for (link, alias, outpoint) in due.collect::<Vec<_>>() {
            self.effects.send(link, Resume { alias, outpoint: Some(outpoint) });
        }
    }

    /// What was not acknowledged, and what could not be paid when it was due.
    fn pay_again(&mut self, now: &Now, outpoint: OutPoint) -> Result<(), NodeError> {
        let slot = self.slot_mut(outpoint)?;
        slot.shown_again = false;
        let unheard = slot.is_asking() || slot.held.is_unheard();
        if slot.acked < slot.machine.signed() || unheard {
            self.resend(now, outpoint)?;
        }
        match self.session_on(outpoint) {
            Some(session) => self.pay_due(now, session),
            None => Ok(()),
        }
    }

    pub(super) fn slot(&self, outpoint: OutPoint) -> Result<&PayerSlot, NodeError> {
        self.payers.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })
    }

    pub(super) fn slot_mut(&mut self, outpoint: OutPoint) -> Result<&mut PayerSlot, NodeError> {
        self.payers.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })
    }

    /// The payer's channel that its payee means.
    pub(super) fn payer_named(
        &self,
        link: LinkId,
        alias: ChannelAlias,
    ) -> Result<OutPoint, NodeError> {
        let outpoint = self.aliases.get(&alias).copied().ok_or(NodeError::NoAlias { alias })?;
        self.check_asked(link, outpoint)?;
        Ok(outpoint)
    }

    /// Only the peer that this node chose for a channel may speak of it: a third party that did
    /// could draw its vouchers to itself, or hush a payment that never arrived.
    pub(super) fn check_asked(&self, link: LinkId, outpoint: OutPoint) -> Result<(), NodeError> {
        if self.slot(outpoint)?.link == Some(link) {
            Ok(())
        } else {
            Err(NodeError::NotAsked { what: "a message about this channel" })
        }
    }
}
