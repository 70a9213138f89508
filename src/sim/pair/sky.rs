//! The weather of one run, and what an all-seeing observer of its link knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::OutPoint;
use bitcoin::secp256k1::schnorr::Signature;

use super::Flaw;
use super::counters::{Count, Counters};
use crate::sim::dice::Dice;
use crate::sim::world::{EndId, Fate, Weather};
use crate::tx::Voucher;
use crate::units::{ChannelAlias, Msat, SessionId};
use crate::wire::Message;

/// How often what happens to a message, in per mille. Drawn for each run; all 0 in calm weather.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rates {
    pub(super) lost: u64,
    pub(super) twice: u64,
    pub(super) overtakes: u64,
    pub(super) corrupted: u64,
}

/// The truth about signatures and promises: what left a machine, whatever it remembers.
#[derive(Debug, Default)]
pub(super) struct Seen {
    aliases: BTreeMap<ChannelAlias, OutPoint>,
    signed: BTreeMap<OutPoint, Msat>,
    /// Since the payer's last start; before it, the payee's word counts.
    signed_in_life: BTreeMap<OutPoint, Msat>,
    vouched_in_life: BTreeSet<OutPoint>,
    /// Of which the payee's store was lost altogether.
    lost: BTreeSet<OutPoint>,
    acked: BTreeMap<OutPoint, Msat>,
    /// Every voucher that left the payer, so that nobody needs the curve to know a true one.
    vouchers: BTreeSet<(OutPoint, Msat, [u8; 64])>,
    /// The first vouchers on what top-ups make, which the request does not name.
    carried: BTreeSet<(Msat, [u8; 64])>,
    /// What the top-ups make that the payee has signed.
    agreed: BTreeSet<OutPoint>,
    /// The amounts at which the payer proposed to close or to top up.
    joint: BTreeSet<(OutPoint, Msat)>,
    /// The most that a payee ever had of each outpoint without security.
    credit: BTreeMap<OutPoint, Msat>,
    /// The sessions of which a reading was changed on the way, or made out of something else.
    changed: BTreeSet<SessionId>,
    /// The ids under which an offer came that the seller had not made so.
    misoffered: BTreeSet<SessionId>,
    /// The sessions of which any message was changed: a stamp, for instance, that is believed.
    garbled: BTreeSet<SessionId>,
    /// The sessions of which a reading was lost, or overtaken, on a line that stayed up.
    missed: BTreeSet<SessionId>,
    /// The sessions of which a statement has left the seller.
    stated: BTreeSet<SessionId>,
    /// The first voucher that broke P6, until an oracle takes it.
    offence: Option<Flaw>,
    pub(super) counters: Counters,
    pub(super) rates: Rates,
}

impl Seen {
    /// The largest amount of which a voucher has left the payer.
    pub(super) fn signed(&self, outpoint: OutPoint) -> Msat {
        self.signed.get(&outpoint).copied().unwrap_or(Msat::ZERO)
    }

    /// The same, since the payer's last start.
    pub(super) fn signed_in_life(&self, outpoint: OutPoint) -> Msat {
        self.signed_in_life.get(&outpoint).copied().unwrap_or(Msat::ZERO)
    }

    /// Whether this voucher left the payer, to the last bit of its signature.
    pub(super) fn has_left(&self, outpoint: OutPoint, voucher: Voucher) -> bool {
        let Voucher { paid, signature } = voucher;
        let bytes = signature.serialize();
        self.vouchers.contains(&(outpoint, paid, bytes)) || self.carried.contains(&(paid, bytes))
    }

    /// Whether a voucher of exactly `paid` left the payer.
    pub(super) fn has_stated(&self, outpoint: OutPoint, paid: Msat) -> bool {
        let from = (outpoint, paid, [0; 64]);
        let stated = self.vouchers.range(from..).next();
        stated.is_some_and(|(at, of, _)| (*at, *of) == (outpoint, paid))
            || self.carried.iter().any(|(carried, _)| *carried == paid)
    }

    /// The amounts at which the payer proposed to end the outpoint together, largest first.
    pub(super) fn proposed(&self, outpoint: OutPoint) -> impl Iterator<Item = Msat> + '_ {
        let of = (outpoint, Msat::ZERO)..=(outpoint, Msat::MAX);
        self.joint.range(of).rev().map(|(_, paid)| *paid)
    }

    /// Whether the payee has signed a top-up that makes the outpoint.
    pub(super) fn has_agreed(&self, outpoint: OutPoint) -> bool {
        self.agreed.contains(&outpoint)
    }

    /// Whether the payer has signed a voucher on the outpoint since its last start. What a payee
    /// presents is not one: the promise holds from then on, and what was signed on another
    /// outpoint before it is within it.
    pub(super) fn is_vouched(&self, outpoint: OutPoint) -> bool {
        self.vouched_in_life.contains(&outpoint)
    }

    /// The payer goes on from what its payee presented: it must not sign below that any more.
    pub(super) fn resumes(&mut self, outpoint: OutPoint, signed: Msat) {
        let floor = self.signed_in_life.entry(outpoint).or_insert(Msat::ZERO);
        *floor = signed.max(*floor);
    }

    /// The payee counts `unsecured` on the outpoint, which nothing secures now.
    pub(super) fn gives_credit(&mut self, outpoint: OutPoint, unsecured: Msat) {
        let most = self.credit.entry(outpoint).or_insert(Msat::ZERO);
        *most = unsecured.max(*most);
    }

    /// The most that the payee ever had of the outpoint without security.
    pub(super) fn credit(&self, outpoint: OutPoint) -> Msat {
        self.credit.get(&outpoint).copied().unwrap_or(Msat::ZERO)
    }

    /// Whether the buyer of the session may have been shown a reading that the seller never made.
    pub(super) fn is_changed(&self, session: SessionId) -> bool {
        self.changed.contains(&session)
    }

    /// Whether the buyer may have been offered something else under this id.
    pub(super) fn is_misoffered(&self, session: SessionId) -> bool {
        self.misoffered.contains(&session)
    }

    /// Whether a side may have been told of the session what the other never said.
    pub(super) fn is_garbled(&self, session: SessionId) -> bool {
        self.garbled.contains(&session)
    }

    /// Whether a reading of the session was lost or overtaken on a line that stayed up.
    pub(super) fn is_missed(&self, session: SessionId) -> bool {
        self.missed.contains(&session)
    }

    /// Whether a statement of the session has left the seller.
    pub(super) fn is_stated(&self, session: SessionId) -> bool {
        self.stated.contains(&session)
    }

    pub(super) const fn take_offence(&mut self) -> Option<Flaw> {
        self.offence.take()
    }

    /// The payer starts anew.
    pub(super) fn new_life(&mut self) {
        self.signed_in_life.clear();
        self.vouched_in_life.clear();
    }

    /// The largest amount that the payee has acknowledged.
    pub(super) fn acked(&self, outpoint: OutPoint) -> Msat {
        self.acked.get(&outpoint).copied().unwrap_or(Msat::ZERO)
    }

    /// The same, of an outpoint that started with `start`; less if its payee lost its record.
    pub(super) fn acked_from(&self, outpoint: OutPoint, start: Msat) -> Msat {
        let acked = self.acked.get(&outpoint).copied();
        acked.map_or(
            start,
            |acked| if self.lost.contains(&outpoint) { acked } else { acked.max(start) },
        )
    }

    /// Forgets the payee's promises above `paid`: its store was lost.
    pub(super) fn forgive(&mut self, outpoint: OutPoint, paid: Msat) {
        let acked = self.acked.entry(outpoint).or_insert(paid);
        *acked = paid.min(*acked);
        if paid == Msat::ZERO {
            self.lost.insert(outpoint);
        }
    }

    fn signs(&mut self, outpoint: OutPoint, paid: Msat, signature: &Signature) {
        // P6: in one life, and after a restart from the voucher that the payee presented on, never
        // less than before. The newest state may be signed again, and in another way.
        let signed = self.signed_in_life(outpoint);
        let bytes = signature.serialize();
        self.vouched_in_life.insert(outpoint);
        if paid < signed {
            self.offence.get_or_insert(Flaw::Backwards { outpoint, signed, paid });
        }
        self.vouchers.insert((outpoint, paid, bytes));
        for signed in [&mut self.signed, &mut self.signed_in_life] {
            let signed = signed.entry(outpoint).or_insert(Msat::ZERO);
            *signed = paid.max(*signed);
        }
    }

    fn see(&mut self, message: &Message) {
        match message {
            Message::Open(m) => {
                self.aliases.insert(m.alias, m.outpoint);
            }
            Message::Resume(m) => {
                if let Some(outpoint) = m.outpoint {
                    self.aliases.insert(m.alias, outpoint);
                }
            }
            Message::Voucher(m) => {
                if let Some(outpoint) = self.aliases.get(&m.alias).copied() {
                    self.signs(outpoint, m.paid, &m.signature);
                }
            }
            Message::TopUpRequest(m) => {
                if let Some(outpoint) = self.aliases.get(&m.alias).copied() {
                    self.joint.insert((outpoint, m.paid));
                }
                if let Some(first) = m.carried {
                    self.carried.insert((first.paid, first.signature.serialize()));
                }
            }
            Message::Statement(m) => {
                self.stated.insert(m.session);
            }
            Message::CloseRequest(m) => {
                if let Some(outpoint) = self.aliases.get(&m.alias).copied() {
                    self.joint.insert((outpoint, m.paid));
                }
            }
            Message::TopUpSigned(m) => {
                self.agreed.insert(OutPoint { txid: m.txid, vout: 0 });
            }
            Message::Ack(m) => {
                if let Some(outpoint) = self.aliases.get(&m.alias).copied() {
                    let acked = self.acked.entry(outpoint).or_insert(Msat::ZERO);
                    *acked = m.paid.max(*acked);
                }
            }
            _ => {}
        }
    }
}

/// The session that a message is about.
const fn session_of(message: &Message) -> Option<SessionId> {
    match message {
        Message::SessionOffer(m) => Some(m.session),
        Message::SessionStart(m) => Some(m.session),
        Message::Reading(m) => Some(m.session),
        Message::SessionPause(m) => Some(m.session),
        Message::SessionEnd(m) => Some(m.session),
        Message::Statement(m) => Some(m.session),
        _ => None,
    }
}

/// One observer for the weather and the oracles.
#[derive(Debug, Clone, Default)]
pub(super) struct Observer(Arc<Mutex<Seen>>);

impl Observer {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Weather by dice.
#[derive(Debug)]
pub(super) struct Sky {
    dice: Dice,
    observer: Observer,
    /// The message that is about to travel.
    last: Option<Message>,
}

impl Sky {
    pub(super) const fn new(dice: Dice, observer: Observer) -> Self {
        Self { dice, observer, last: None }
    }

    /// What the last message becomes, if it is still one.
    fn changed(&self, at: usize, mask: u8) -> Option<Message> {
        let mut bytes = Vec::new();
        self.last.as_ref()?.encode(&mut bytes);
        *bytes.get_mut(at)? ^= mask;
        Message::decode(&bytes).ok().flatten()
    }
}

impl Weather for Sky {
    fn fate(&mut self, _from: EndId, bytes: usize) -> Fate {
        let mut seen = self.observer.seen();
        let Rates { lost, twice, overtakes, corrupted } = seen.rates;
        let drawn = self.dice.below(1_000);
        let bounds = [lost, twice, overtakes, corrupted].map({
            let mut sum = 0_u64;
            move |rate| {
                sum = sum.saturating_add(rate);
                sum
            }
        });
        let [lost, twice, overtakes, corrupted] = bounds.map(|bound| drawn < bound);
        let (count, fate) = if lost {
            (Count::Lost, Fate::Lost)
        } else if twice {
            (Count::Twice, Fate::Twice)
        } else if overtakes {
            (Count::Overtakes, Fate::Overtakes)
        } else if corrupted {
            let length = u64::try_from(bytes).unwrap_or(1);
            let at = usize::try_from(self.dice.below(length)).unwrap_or(0);
            let bit = u32::try_from(self.dice.below(8)).unwrap_or(0);
            let mask = 1_u8.wrapping_shl(bit);
            match self.changed(at, mask) {
                Some(Message::Reading(reading)) => {
                    seen.changed.insert(reading.session);
                }
                Some(Message::SessionOffer(offer)) => {
                    seen.misoffered.insert(offer.session);
                }
                _ => {}
            }
            seen.garbled.extend(self.last.as_ref().and_then(session_of));
            (Count::Corrupted, Fate::Corrupted { at, mask })
        } else {
            return Fate::Arrives;
        };
        if let (Fate::Lost | Fate::Overtakes, Some(Message::Reading(m))) = (&fate, &self.last) {
            seen.missed.insert(m.session);
        }
        seen.counters.count(count);
        fate
    }

    fn sees(&mut self, _from: EndId, message: &Message) {
        self.observer.seen().see(message);
        self.last = Some(message.clone());
    }
}
