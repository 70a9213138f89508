//! The weather of one run, and what an all-seeing observer of its link knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::OutPoint;

use super::counters::{Count, Counters};
use super::dice::Dice;
use crate::sim::world::{EndId, Fate, Weather};
use crate::units::{ChannelAlias, Msat};
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
    acked: BTreeMap<OutPoint, Msat>,
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

    /// The payer starts anew.
    pub(super) fn new_life(&mut self) {
        self.signed_in_life.clear();
    }

    /// The largest amount that the payee has acknowledged.
    pub(super) fn acked(&self, outpoint: OutPoint) -> Msat {
        self.acked.get(&outpoint).copied().unwrap_or(Msat::ZERO)
    }

    /// Forgets the payee's promises above `paid`: its store was lost.
    pub(super) fn forgive(&mut self, outpoint: OutPoint, paid: Msat) {
        if let Some(acked) = self.acked.get_mut(&outpoint) {
            *acked = paid.min(*acked);
        }
    }

    fn signs(&mut self, outpoint: OutPoint, paid: Msat) {
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
                    self.signs(outpoint, m.paid);
                }
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
    pub(super) dice: Dice,
    pub(super) observer: Observer,
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
            (Count::Corrupted, Fate::Corrupted { at, mask: 1_u8.wrapping_shl(bit) })
        } else {
            return Fate::Arrives;
        };
        seen.counters.count(count);
        fate
    }

    fn sees(&mut self, _from: EndId, message: &Message) {
        self.observer.seen().see(message);
    }
}
