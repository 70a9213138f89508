//! The lanes of channels: opened and closed by the payer, stored on both sides.

use alloc::boxed::Box;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Txid};

use super::{Sending, decode, encode, key};
use crate::batch::flight::{Flight, FlightLimits, Front};
use crate::batch::lanes::{Lanes, LanesError};
use crate::node::lineage::Side;
use crate::node::{Node, NodeError, Now};
use crate::signer::Signer;
use crate::store::Key;
use crate::units::{Lane, Msat, SessionId};
use crate::wire::Reader;

/// One fewer than a channel can have: what is lost of a lane that is closed, or was paid in none,
/// is billed in one of its own.
const LANES_MAX: usize = 63;

impl<S: Signer> Node<S> {
    /// The lanes of a channel as this side stores them: a payer's with everything that it has
    /// signed, a payee's with everything that counts. What plain vouchers paid since the last batch
    /// is not in them yet.
    pub fn lanes(&self, outpoint: OutPoint) -> Option<&Lanes> {
        let payer = || self.payers.get(&outpoint)?.batches.as_deref().map(|sending| &sending.lanes);
        let payee = || self.payees.get(&outpoint)?.lanes.as_deref();
        payer().or_else(payee)
    }

    /// A payer's batches that are sent and not acknowledged: their number, and what is at risk.
    pub fn flight(&self, outpoint: OutPoint) -> Option<&Flight> {
        self.payers.get(&outpoint)?.batches.as_deref().map(|sending| &sending.flight)
    }

    /// Where the next batch of a payer's channel starts; [`Front::after`] is the one behind it.
    ///
    /// # Errors
    /// [`NodeError::NoLanes`] before the first lane is opened; [`NodeError::InFlight`] while a
    /// batch waits for its budget, or is to be billed anew.
    pub fn front(&self, outpoint: OutPoint) -> Result<Front, NodeError> {
        let slot = self.slot(outpoint)?;
        let sending = slot.batches.as_deref().ok_or(NodeError::NoLanes { outpoint })?;
        if sending.unsigned.is_some() || sending.asking {
            return Err(NodeError::InFlight { outpoint });
        }
        let lanes = sending.lanes.caught_up(slot.machine.signed())?;
        Ok(Front::new(&slot.machine, lanes))
    }

    pub(in crate::node) fn open_lane(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        (lane, limit): (Lane, Msat),
        session: SessionId,
    ) -> Result<(), NodeError> {
        self.check_no_work(outpoint)?;
        let slot = self.slot_mut(outpoint)?;
        if let Some(sending) = slot.batches.as_deref() {
            let mut lanes = sending.lanes.clone();
            if lanes.iter().count() >= LANES_MAX {
                return Err(LanesError::TooMany { max: LANES_MAX }.into());
            }
            lanes.open(lane, limit)?;
            return self.change_lanes(outpoint, lanes);
        }
        // What plain vouchers paid since is no part of it: their records may not be durable. And a
        // payer that was restored from its backup may have had lanes here before.
        let (start, signed) = (slot.machine.start(), slot.machine.signed());
        let mut lanes = Lanes::new(start);
        lanes.open(lane, limit)?;
        let asking = signed > start;
        slot.batches = Some(Box::new(Sending::new(lanes, session, asking)));
        self.put_payer_lanes(outpoint)?;
        if asking { self.ask_for_lanes(now, outpoint) } else { Ok(()) }
    }

    pub(in crate::node) fn limit_lane(
        &mut self,
        outpoint: OutPoint,
        lane: Lane,
        limit: Msat,
    ) -> Result<(), NodeError> {
        let mut lanes = self.sending(outpoint)?.lanes.clone();
        lanes.set_limit(lane, limit)?;
        self.change_lanes(outpoint, lanes)
    }

    pub(in crate::node) fn close_lane(
        &mut self,
        outpoint: OutPoint,
        lane: Lane,
    ) -> Result<(), NodeError> {
        let mut lanes = self.sending(outpoint)?.lanes.clone();
        lanes.close(lane)?;
        self.change_lanes(outpoint, lanes)
    }

    pub(in crate::node) fn limit_flight(
        &mut self,
        outpoint: OutPoint,
        limits: FlightLimits,
    ) -> Result<(), NodeError> {
        let sending = self.sending(outpoint)?;
        sending.limits = limits;
        sending.flight.set_limits(limits);
        Ok(())
    }

    pub(super) fn sending(&mut self, outpoint: OutPoint) -> Result<&mut Sending, NodeError> {
        let sending = self.slot_mut(outpoint)?.batches.as_deref_mut();
        sending.ok_or(NodeError::NoLanes { outpoint })
    }

    /// The payee is told with the next batch. One that was built before is refused by then.
    fn change_lanes(&mut self, outpoint: OutPoint, lanes: Lanes) -> Result<(), NodeError> {
        let sending = self.sending(outpoint)?;
        if sending.unsigned.is_some() {
            return Err(NodeError::InFlight { outpoint });
        }
        (sending.lanes, sending.changed) = (lanes, true);
        self.put_payer_lanes(outpoint)
    }

    pub(super) fn put_payer_lanes(&mut self, outpoint: OutPoint) -> Result<(), NodeError> {
        let key = key(Side::Payer, outpoint)?;
        let sending = self.sending(outpoint)?;
        let bytes = encode(&key, sending.session, &sending.lanes);
        Ok(self.effects.put(key, &bytes)?)
    }

    pub(super) fn put_payee_lanes(
        &mut self,
        outpoint: OutPoint,
        lanes: Lanes,
    ) -> Result<(), NodeError> {
        let key = key(Side::Payee, outpoint)?;
        let slot = self.payees.get_mut(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        self.effects.put(key, &encode(&key, SessionId::MIN, &lanes))?;
        slot.lanes = Some(Box::new(lanes));
        Ok(())
    }

    /// With the channel its lanes are forgotten.
    pub(in crate::node) fn delete_lanes(
        &mut self,
        side: Side,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let known = match side {
            Side::Payee => self.payees.get(&outpoint).is_some_and(|slot| slot.lanes.is_some()),
            Side::Payer => self.payers.get(&outpoint).is_some_and(|slot| slot.batches.is_some()),
        };
        if known { Ok(self.effects.delete(key(side, outpoint)?)?) } else { Ok(()) }
    }

    /// A record of lanes becomes part of its channel; one without a channel is passed over.
    pub(in crate::node) fn load_lanes(&mut self, key: &Key, bytes: &[u8]) -> Result<(), NodeError> {
        let mut of = Reader::new(key.as_bytes());
        let _prefix = of.take(super::PREFIX.len())?;
        let side = of.u8()?;
        let txid = Txid::from_byte_array(of.array::<32>()?);
        let outpoint = OutPoint { txid, vout: of.u32()? };
        let broken = |what| NodeError::BrokenRecord { key: *key, what };
        if !of.rest().is_empty() {
            return Err(broken("key"));
        }
        let (session, lanes) = decode(key, bytes)?;
        // They were written with the channel's record, which never goes back.
        let above = |paid: Msat| lanes.paid().is_ok_and(|total| total > paid);
        if side == Side::Payee.byte() {
            let Some(slot) = self.payees.get_mut(&outpoint) else { return Ok(()) };
            if above(slot.machine.paid()) {
                return Err(LanesError::SumDiffers.into());
            }
            slot.lanes = Some(Box::new(lanes));
        } else if side == Side::Payer.byte() {
            let Some(slot) = self.payers.get_mut(&outpoint) else { return Ok(()) };
            if above(slot.machine.signed()) {
                return Err(LanesError::SumDiffers.into());
            }
            slot.batches = Some(Box::new(Sending::new(lanes, session, true)));
        } else {
            return Err(broken("side"));
        }
        Ok(())
    }
}
