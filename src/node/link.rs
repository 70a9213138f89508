//! Connections: which message goes to which machine, and the short names of channels.

use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

use bitcoin::constants::ChainHash;
use bitcoin::{OutPoint, ScriptBuf, TxOut};

use super::effects::Event;
use super::{ALIASES_MAX, LinkId, Node, NodeError, Now, PayeeSlot};
use crate::batch::BatchError;
use crate::meter::MeterError;
use crate::signer::Signer;
use crate::stream::StreamError;
use crate::tx::{ChangeScript, FeeInput, TxError, WalletScript};
use crate::units::{ChannelAlias, Msat, SessionId};
use crate::wire::{self, Change, Message, Pong, Refusal, Refused};

impl<S: Signer> Node<S> {
    /// The connections that stand: for a caller that has missed news of them.
    pub fn links(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.links.keys().copied()
    }

    pub(super) fn disconnected(&mut self, link: LinkId) {
        self.links.remove(&link);
        self.asked.retain(|(_, shown), _| *shown != link);
        self.assemblies.remove(&link);
        self.pending_holds.remove(&link);
        self.offers.retain(|(from, _), _| *from != link);
        for outpoint in self.placed.remove(&link).unwrap_or_default() {
            let slot = self.payees.get_mut(&outpoint);
            // Its payer may have come by another line since.
            if let Some(slot) = slot.filter(|slot| slot.at.is_some_and(|(at, _)| at == link)) {
                (slot.at, slot.proved, slot.told) = (None, None, None);
            }
        }
        for slot in self.payers.values_mut() {
            if slot.link == Some(link) {
                (slot.link, slot.resend_at, slot.asked, slot.next) = (None, None, None, None);
                slot.shown_again = false;
            }
        }
        self.rest_sessions(link);
    }

    /// A message of a peer. What is refused is answered, and reported as an error.
    pub(super) fn received(
        &mut self,
        now: &Now,
        link: LinkId,
        message: Message,
    ) -> Result<(), NodeError> {
        if !self.links.contains_key(&link) {
            return Err(NodeError::NoLink { link });
        }
        let (name, alias) = (message.name(), alias_of(&message));
        let start = match &message {
            Message::SessionStart(m) => Some(m.session),
            _ => None,
        };
        let result = self.dispatch(now, link, message);
        if let Err(error) = &result {
            match alias {
                Some(alias) => self.refuse(link, alias, start, error),
                None if error.is_ours() => {}
                None => self.effects.tell(Event::Misbehaved { link, message: name }),
            }
        }
        result
    }

    fn dispatch(&mut self, now: &Now, link: LinkId, message: Message) -> Result<(), NodeError> {
        match message {
            Message::Voucher(m) => self.receive_voucher(now, link, m),
            Message::Ack(m) => self.receive_ack(now, link, m.alias, m.paid),
            Message::BatchVoucher(m) => self.receive_batch(now, link, m),
            Message::BatchPart(m) => self.receive_part(now, link, &m),
            Message::LanesQuery(m) => self.receive_lanes_query(now, link, m),
            Message::LanesTold(m) => self.receive_lanes_told(now, link, &m),
            Message::Reading(m) => self.receive_reading(now, link, m),
            Message::TermsQuery(_) => self.answer_terms(link),
            Message::Terms(m) => self.receive_terms(link, &m),
            Message::Open(m) => self.receive_open(link, &m),
            Message::Accepted(m) => self.receive_accepted(now, link, m),
            Message::Resume(m) => self.receive_resume(link, m),
            Message::Best(m) => self.receive_best(now, link, &m),
            Message::CloseRequest(m) => self.receive_close(now, &m, link),
            Message::TopUpRequest(m) => self.receive_top_up(now, &m, link),
            Message::TopUpSigned(m) => self.receive_top_up_signed(link, &m),
            Message::SessionOffer(m) => self.receive_offer(link, &m),
            Message::SessionStart(m) => {
                self.check_start_beside_holds(link, &m)?;
                self.receive_start(now, link, &m)
            }
            Message::SessionEnd(m) => self.receive_end(now, link, &m),
            Message::Statement(m) => self.receive_statement(now, link, &m),
            Message::Ping(m) => {
                if let Ok(padding) = wire::Padding::new(m.wanted) {
                    self.effects.send(link, Pong { padding });
                }
                Ok(())
            }
            Message::Refused(m) => {
                let (alias, code) = (m.alias, m.code);
                self.effects.tell(Event::Refused { link, alias, code });
                self.receive_refused(now, link, m)
            }
            Message::HoldVoucher(m) => self.receive_hold_voucher(now, link, m),
            Message::HoldItems(m) => self.receive_hold_items(now, link, &m),
            Message::HoldAck(m) => self.receive_hold_ack(now, link, m),
            Message::HoldFulfilled(m) => self.receive_fulfilled(now, link, m),
            Message::HoldReleased(m) => self.receive_released(now, link, m),
            Message::BestHeld(m) => self.receive_best_held(now, link, &m),
            // What only informs: the session's own readings say the same.
            Message::CloseSigned(_)
            | Message::SessionPause(_)
            | Message::Init(_)
            | Message::PeerWarning(_)
            | Message::PeerError(_)
            | Message::Pong(_) => Ok(()),
        }
    }

    /// The payee's channel that a peer means.
    pub(super) fn named(&self, link: LinkId, alias: ChannelAlias) -> Result<OutPoint, NodeError> {
        let names = self.links.get(&link).ok_or(NodeError::NoLink { link })?;
        names.get(&alias).copied().ok_or(NodeError::NoAlias { alias })
    }

    /// Lets a peer call a payee's channel by a short name.
    pub(super) fn name(
        &mut self,
        link: LinkId,
        alias: ChannelAlias,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let names = self.links.get_mut(&link).ok_or(NodeError::NoLink { link })?;
        if names.len() >= ALIASES_MAX && !names.contains_key(&alias) {
            return Err(NodeError::TooMany { what: "channels on a link", max: ALIASES_MAX });
        }
        names.insert(alias, outpoint);
        // A name proves nothing: who was here first stays, until a new voucher says otherwise.
        let slot = self.payees.get(&outpoint);
        let free = |at: LinkId| at == link || !self.links.contains_key(&at);
        if slot.is_some_and(|slot| slot.at.is_none_or(|(at, _)| free(at))) {
            self.place(outpoint, link, alias);
        }
        Ok(())
    }

    /// The payer of a payee's channel is at this connection now, and at no other.
    pub(super) fn place(
        &mut self,
        outpoint: OutPoint,
        link: LinkId,
        alias: ChannelAlias,
    ) -> Option<&mut PayeeSlot> {
        let slot = self.payees.get_mut(&outpoint)?;
        if let Some((before, _)) = slot.at.replace((link, alias))
            && let Some(placed) = self.placed.get_mut(&before)
        {
            placed.remove(&outpoint);
        }
        self.placed.entry(link).or_default().insert(outpoint);
        Some(slot)
    }

    /// A name that this node uses for one of its payer's channels, on whatever link.
    pub(super) fn new_alias(&mut self, outpoint: OutPoint) -> ChannelAlias {
        loop {
            let alias = ChannelAlias::new(self.next_alias).unwrap_or(ChannelAlias::MIN);
            // Wraps after 2^32 channels; a name in use then is passed over.
            self.next_alias = self.next_alias.wrapping_add(1);
            if let Entry::Vacant(free) = self.aliases.entry(alias) {
                free.insert(outpoint);
                return alias;
            }
        }
    }

    /// Answers what is refused; `start` is the session, if that is a session's start.
    pub(super) fn refuse(
        &mut self,
        link: LinkId,
        alias: ChannelAlias,
        start: Option<SessionId>,
        error: &NodeError,
    ) {
        let best = self.best_of(link, alias);
        self.effects.send(link, Refused { alias, code: refusal(error), best, session: start });
    }

    fn best_of(&self, link: LinkId, alias: ChannelAlias) -> Msat {
        let outpoint = self.named(link, alias).ok();
        let slot = outpoint.and_then(|outpoint| self.payees.get(&outpoint));
        slot.map_or(Msat::ZERO, |slot| slot.machine.paid())
    }
}

fn alias_of(message: &Message) -> Option<ChannelAlias> {
    match message {
        Message::Voucher(m) => Some(m.alias),
        Message::BatchVoucher(m) => Some(m.alias),
        Message::BatchPart(m) => Some(m.alias),
        Message::LanesQuery(m) => Some(m.alias),
        Message::HoldVoucher(m) => Some(m.alias),
        Message::HoldItems(m) => Some(m.alias),
        Message::Open(m) => Some(m.alias),
        Message::Resume(m) => Some(m.alias),
        Message::CloseRequest(m) => Some(m.alias),
        Message::TopUpRequest(m) => Some(m.alias),
        Message::SessionStart(m) => Some(m.alias),
        _ => None,
    }
}

/// What the peer is told of an error.
const fn refusal(error: &NodeError) -> Refusal {
    match error {
        NodeError::NoAlias { .. } | NodeError::NoChannel { .. } => Refusal::UnknownChannel,
        NodeError::NoSession { .. }
        | NodeError::SessionExists { .. }
        | NodeError::OtherOffer { .. } => Refusal::UnknownSession,
        NodeError::TooMany { .. } | NodeError::Busy { .. } => Refusal::Busy,
        NodeError::NoTip => Refusal::StaleTip,
        NodeError::Store(_) | NodeError::NotHere { .. } => Refusal::Unavailable,
        NodeError::Tx(error) => tx_refusal(error),
        NodeError::Batch(error) | NodeError::Stream(StreamError::Batch(error)) => {
            batch_refusal(error)
        }
        NodeError::WindowTooLarge { .. } => Refusal::WrongBatch,
        NodeError::Meter(MeterError::TariffUnknown { .. }) => Refusal::WrongTerms,
        NodeError::Stream(error) => match error {
            StreamError::Stale { .. } | StreamError::BelowStart { .. } => Refusal::Stale,
            StreamError::NotDeepEnough { .. } => Refusal::NotConfirmed,
            StreamError::TooLate { .. } | StreamError::TooEarly { .. } => Refusal::TooLate,
            StreamError::StalledTip { .. } => Refusal::StaleTip,
            StreamError::WrongNetwork { .. } => Refusal::WrongNetwork,
            StreamError::WrongPayee { .. }
            | StreamError::OtherTerms
            | StreamError::TermsExpired { .. }
            | StreamError::Terms(_) => Refusal::WrongTerms,
            StreamError::DelayOutOfTerms { .. } | StreamError::CapacityOutOfTerms { .. } => {
                Refusal::OutOfRange
            }
            StreamError::NoOutput { .. }
            | StreamError::WrongScript { .. }
            | StreamError::WrongValue { .. }
            | StreamError::SpentOutput { .. } => Refusal::WrongFunding,
            StreamError::WrongPhase { .. } => Refusal::Closing,
            StreamError::Tx(error) => tx_refusal(error),
            StreamError::Store(_) => Refusal::Unavailable,
            _ => Refusal::NotAllowed,
        },
        _ => Refusal::NotAllowed,
    }
}

const fn batch_refusal(error: &BatchError) -> Refusal {
    match error {
        BatchError::WrongStart { got, paid } if got.to_msat() > paid.to_msat() => Refusal::Gap,
        // An item: a lane that is not open here, an id that is not above the last, a limit.
        BatchError::WrongStart { .. } | BatchError::Lanes(_) | BatchError::Item { .. } => {
            Refusal::OtherLanes
        }
        _ => Refusal::WrongBatch,
    }
}

const fn tx_refusal(error: &TxError) -> Refusal {
    match error {
        TxError::AboveCapacity { .. } | TxError::ChangeBelowDust { .. } => Refusal::OverCapacity,
        TxError::BadSignature { .. } => Refusal::BadSignature,
        TxError::NonStandardChange { .. } => Refusal::WrongChange,
        _ => Refusal::NotAllowed,
    }
}

/// The wire's word for a change script.
pub(super) fn change_to_wire(change: &ChangeScript) -> Change {
    let ChangeScript::Wallet(script) = change else { return Change::Own };
    let bytes = script.as_script().as_bytes();
    let program = bytes.get(2..).unwrap_or_default();
    if let Ok(program) = <[u8; 20]>::try_from(program) {
        return Change::P2wpkh(program);
    }
    let program = <[u8; 32]>::try_from(program).unwrap_or_default();
    if script.as_script().is_p2tr() { Change::P2tr(program) } else { Change::P2wsh(program) }
}

/// The change script that the wire's word means.
pub(super) fn change_from_wire(change: Change) -> Result<ChangeScript, TxError> {
    let (version, program): (u8, &[u8]) = match &change {
        Change::Own => return Ok(ChangeScript::Own),
        Change::P2tr(program) => (0x51, program),
        Change::P2wpkh(program) => (0, program),
        Change::P2wsh(program) => (0, program),
    };
    let length = u8::try_from(program.len()).unwrap_or(u8::MAX);
    let script = [&[version, length], program].concat();
    WalletScript::parse(ScriptBuf::from(script)).map(ChangeScript::Wallet)
}

/// Coins one after the other: outpoint (36), value in sat (8), length (1), script.
pub(super) fn coins_to_wire(coins: &[FeeInput]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for coin in coins {
        let script = coin.output().script_pubkey.as_bytes();
        bytes.extend_from_slice(coin.outpoint().txid.as_ref());
        bytes.extend_from_slice(&coin.outpoint().vout.to_be_bytes());
        bytes.extend_from_slice(&coin.output().value.to_sat().to_be_bytes());
        // A fee input's script is a witness program of at most 34 bytes.
        bytes.push(u8::try_from(script.len()).unwrap_or(0));
        bytes.extend_from_slice(script);
    }
    bytes
}

/// The coins of [`coins_to_wire`]; `None` if the bytes are anything else.
pub(super) fn coins_from_wire(bytes: &[u8]) -> Option<Vec<FeeInput>> {
    use bitcoin::hashes::Hash;
    let mut from = wire::Reader::new(bytes);
    let mut coins = Vec::new();
    while !from.rest().is_empty() {
        let txid = bitcoin::Txid::from_byte_array(from.array::<32>().ok()?);
        let outpoint = OutPoint { txid, vout: from.u32().ok()? };
        let value = bitcoin::Amount::from_sat(from.u64().ok()?);
        let length = usize::from(from.u8().ok()?);
        let script_pubkey = ScriptBuf::from(from.take(length).ok()?.to_vec());
        coins.push(FeeInput::new(outpoint, TxOut { value, script_pubkey }).ok()?);
    }
    Some(coins)
}

/// The wire's name of a chain (BOLT-7, `chain_hash`).
pub(super) fn chain_hash(network: bitcoin::Network) -> ChainHash {
    ChainHash::using_genesis_block_const(network)
}
