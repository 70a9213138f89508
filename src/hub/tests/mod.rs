//! What the tests of this room share: one sender, one receiver, one hash.

mod attacks;
mod matrix;
mod policy;
mod records;

use bitcoin::hashes::Hash as _;
use bitcoin::{OutPoint, Txid};

use super::*;
use crate::store::{Batch, MemoryStore};
use crate::tx::hold::{ClaimDelay, Hold, Preimage};
use crate::units::{Blocks, HoldId, Msat, Ppm, Sat};

pub(super) const TIP: u32 = 1_000;
/// When the outgoing hold ends.
pub(super) const OUT: u32 = 1_050;
/// The earliest end of the incoming one: 6 + 3 + 4 + 12 + 10 blocks later.
pub(super) const IN: u32 = 1_085;
pub(super) const K: u16 = 12;

pub(super) fn at(height: u32) -> Height {
    Height::new(height).unwrap()
}

pub(super) fn blocks(count: u32) -> Blocks {
    Blocks::new(count).unwrap()
}

pub(super) fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

pub(super) fn sat(amount: u64) -> Sat {
    Sat::new(amount).unwrap()
}

pub(super) fn channel(byte: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([byte; 32]), 0)
}

pub(super) fn hold_of(byte: u8, id: u64) -> HoldRef {
    HoldRef { channel: channel(byte), id: HoldId::new(id).unwrap() }
}

/// The incoming hold that [`order`] forwards, from channel 1 to channel 2.
pub(super) fn incoming() -> HoldRef {
    hold_of(1, 5)
}

pub(super) fn outgoing() -> HoldRef {
    hold_of(2, 9)
}

pub(super) fn preimage(byte: u8) -> Preimage {
    Preimage::new([byte; 32])
}

/// A fee of 1,000 msat and 100 parts per million; 6 blocks to react, 4 to settle, 3 to be sure.
pub(super) fn policy() -> Policy {
    Policy {
        base: msat(1_000),
        rate: Ppm::new(100).unwrap(),
        least: sat(1_000),
        lock_max: blocks(100),
        reaction: blocks(6),
        settling: blocks(4),
        depth: blocks(3),
        forwards_max: 3,
    }
}

/// What passes by one block and, its amount being whole satoshis, by less than one of them.
pub(super) fn order() -> (Incoming, Onward) {
    let (delay, hash) = (ClaimDelay::new(K).unwrap(), preimage(7).hash());
    let id = incoming().id;
    let hold = Hold { id, amount: sat(50_006), hash, expiry: at(IN), delay };
    let (channel_in, due, margin) = (channel(1), msat(50_006_000), blocks(10));
    let incoming = Incoming { channel: channel_in, hold, due, margin };
    let load = Load::Single(sat(50_000));
    (incoming, Onward { channel: channel(2), delay, load, expiry: at(OUT) })
}

pub(super) fn ordered((incoming, onward): (Incoming, Onward)) -> Input {
    Input::Order { incoming, onward, tip: at(TIP) }
}

pub(super) fn hub() -> Hub {
    Hub::new(policy()).unwrap()
}

impl Hub {
    /// Decides, makes durable in `store`, applies.
    pub(super) fn take_into(
        &mut self,
        input: Input,
        store: &mut MemoryStore,
    ) -> Result<(), HubError> {
        let before = self.clone();
        let step = self.decide(&input);
        assert_eq!(*self, before);
        for forward in step.as_ref().iter().flat_map(|step| step.forwards()) {
            if let Some(before) = self.forward(forward.incoming()) {
                assert!(forward.may_follow(before), "{forward:?} after {before:?}");
            }
        }
        let staged = step?.commit(store)?;
        self.apply(&staged)?;
        self.check_invariants()
    }

    pub(super) fn take(&mut self, input: Input) -> Result<(), HubError> {
        self.take_into(input, &mut MemoryStore::default())
    }

    /// The forward of [`order`].
    pub(super) fn stage(&self) -> Option<Stage> {
        self.forward(incoming()).map(Forward::stage)
    }

    pub(super) fn due_at(&self, tip: u32) -> alloc::vec::Vec<Duty> {
        self.duties(at(tip)).collect()
    }
}

/// A hub whose forward of [`order`] is offered.
pub(super) fn offered() -> Hub {
    let mut hub = hub();
    hub.take(ordered(order())).unwrap();
    hub.take(Input::Offered { incoming: incoming(), id: outgoing().id }).unwrap();
    hub
}
