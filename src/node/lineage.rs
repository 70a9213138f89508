//! Which outpoint a channel's outpoint descends from: durable, because a spend may be replaced.
//!
//! A settlement that is replaced, or undone by a reorg and settled anew, leaves a successor that
//! never exists. When the predecessor's spend is buried, every descendant that it did not make is
//! forgotten; without this record a restart would keep such a channel for ever. A payee keeps it
//! for what its own signature made, until that channel is buried itself.

use alloc::vec::Vec;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Txid};

use super::{Node, NodeError};
use crate::signer::Signer;
use crate::store::{Key, envelope};
use crate::tx::seen::Tip;
use crate::units::Msat;
use crate::wire;

/// The store's room byte of the node's own records, and which of them these are.
pub(super) const PREFIX: [u8; 2] = [0x01, 0x04];
/// The format that this release writes and reads.
const VERSION: u8 = 1;

/// The side of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Payee,
    Payer,
}

impl Side {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Payee => 0,
            Self::Payer => 1,
        }
    }
}

impl<S: Signer> Node<S> {
    /// | bytes | field, numbers big-endian |
    /// | --- | --- |
    /// | 32 + 4 | the predecessor's outpoint |
    pub(super) fn put_parent(
        &mut self,
        side: Side,
        outpoint: OutPoint,
        parent: Option<OutPoint>,
    ) -> Result<(), NodeError> {
        let Some(from) = parent else { return Ok(()) };
        if side == Side::Payee {
            self.heirs.insert((from, outpoint));
        }
        let key = key(side, outpoint)?;
        let mut body = Vec::with_capacity(36);
        body.extend_from_slice(from.txid.as_byte_array());
        body.extend_from_slice(&from.vout.to_be_bytes());
        Ok(self.effects.put(key, &envelope::seal(&key, VERSION, &body))?)
    }

    pub(super) fn delete_parent(
        &mut self,
        side: Side,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let slot = self.payees.get(&outpoint).filter(|_| side == Side::Payee);
        if let Some(from) = slot.and_then(|slot| slot.parent) {
            self.heirs.remove(&(from, outpoint));
        }
        Ok(self.effects.delete(key(side, outpoint)?)?)
    }

    pub(super) fn load_parent(&mut self, key: &Key, bytes: &[u8]) -> Result<(), NodeError> {
        let mut of = wire::Reader::new(key.as_bytes());
        let _prefix = of.take(PREFIX.len())?;
        let side = of.u8()?;
        let outpoint = read_outpoint(&mut of)?;
        let mut from = wire::Reader::new(envelope::open(key, VERSION, bytes)?);
        let parent = read_outpoint(&mut from)?;
        let broken = |what| NodeError::BrokenRecord { key: *key, what };
        if !of.rest().is_empty() || !from.rest().is_empty() {
            return Err(broken("length"));
        }
        // The record's own name is in its key alone.
        if parent == outpoint {
            return Err(broken("parent"));
        }
        let kept = match side {
            side if side == Side::Payee.byte() => {
                self.payees.get_mut(&outpoint).map(|slot| &mut slot.parent)
            }
            side if side == Side::Payer.byte() => {
                self.payers.get_mut(&outpoint).map(|slot| &mut slot.parent)
            }
            _ => return Err(broken("side")),
        };
        if let Some(kept) = kept {
            *kept = Some(parent);
            if side == Side::Payee.byte() {
                self.heirs.insert((parent, outpoint));
            }
        }
        Ok(())
    }

    /// The descendants of `outpoint` that its spend `by` did not make, and theirs.
    pub(super) fn void_descendants(
        &self,
        side: Side,
        outpoint: OutPoint,
        by: Option<Txid>,
    ) -> Vec<OutPoint> {
        let mut void = self.children(side, outpoint);
        void.retain(|next| Some(next.txid) != by);
        let mut done = 0;
        // Ends: every outpoint has one parent, and a cycle of transactions cannot be.
        while let Some(parent) = void.get(done).copied() {
            let more = self.children(side, parent);
            void.extend(more.into_iter().filter(|next| *next != outpoint));
            done = done.saturating_add(1);
            if done > self.payees.len().saturating_add(self.payers.len()) {
                break;
            }
        }
        void
    }

    /// An outpoint and what it descends from, as far as that is known.
    pub(super) fn line_up(&self, side: Side, outpoint: OutPoint) -> impl Iterator<Item = OutPoint> {
        let parent = move |of: &OutPoint| match side {
            Side::Payee => self.payees.get(of).and_then(|slot| slot.parent),
            Side::Payer => self.payers.get(of).and_then(|slot| slot.parent),
        };
        // Ends: as above.
        let most = self.payees.len().saturating_add(self.payers.len()).saturating_add(1);
        core::iter::successors(Some(outpoint), parent).take(most)
    }

    /// P2: what a payee accepted on the shallow outpoints that come, as `outpoint` does, out of one
    /// whose spend is not buried: top-ups with coins that do not exist, settlements that were
    /// replaced. One of them can get deep, so that they share one zero-conf limit.
    pub(super) fn credit_beside(&self, outpoint: OutPoint, tip: &Tip) -> Msat {
        let Some(root) = self.line_up(Side::Payee, outpoint).skip(1).last() else {
            return Msat::ZERO;
        };
        let mut line = self.void_descendants(Side::Payee, root, None);
        line.retain(|other| *other != outpoint);
        let slots = line.iter().filter_map(|other| self.payees.get(other));
        let shallow = slots.map(|slot| slot.machine.shallow(tip));
        shallow.fold(Msat::ZERO, Msat::saturating_add)
    }

    pub(super) fn children(&self, side: Side, outpoint: OutPoint) -> Vec<OutPoint> {
        match side {
            Side::Payee => {
                let first = OutPoint { txid: Txid::all_zeros(), vout: 0 };
                let last = OutPoint { txid: Txid::from_byte_array([0xff; 32]), vout: u32::MAX };
                let next = self.heirs.range((outpoint, first)..=(outpoint, last));
                next.map(|(_, next)| *next).collect()
            }
            Side::Payer => {
                let of = |parent: Option<OutPoint>| parent == Some(outpoint);
                let slots = self.payers.iter().filter(|(_, slot)| of(slot.parent));
                slots.map(|(next, _)| *next).collect()
            }
        }
    }
}

fn key(side: Side, outpoint: OutPoint) -> Result<Key, NodeError> {
    let [room, kind] = PREFIX;
    let vout = outpoint.vout.to_be_bytes();
    Ok(Key::from_parts(&[&[room, kind, side.byte()], outpoint.txid.as_byte_array(), &vout])?)
}

fn read_outpoint(from: &mut wire::Reader<'_>) -> Result<OutPoint, NodeError> {
    let txid = Txid::from_byte_array(from.array::<32>()?);
    Ok(OutPoint { txid, vout: from.u32()? })
}
