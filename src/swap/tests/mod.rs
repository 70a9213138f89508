//! What the tests of this room share: one deal between two chains, and its two sides.

mod matrix;
mod records;
mod timing;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, OutPoint, Txid};

use super::*;
use crate::store::MemoryStore;
use crate::tx::hold::{ClaimDelay, Hold};
use crate::tx::seen::Tip;
use crate::units::{Blocks, Height, Sat, Seconds, UtcSeconds};

const NOW: u64 = 1_900_000_000;
/// The tips when the deal is made.
pub(super) const FIRST: u32 = 1_000;
pub(super) const SECOND: u32 = 5_000;
/// When the second leg ends: 23 blocks are left to show the secret.
pub(super) const T2: u32 = 5_055;
/// 5,055 - 16 - 10 - 6.
pub(super) const REVEAL_BY: u32 = 5_023;
/// 65 blocks of 225 s and 1,800 s and 7,200 s are 23,625 s: 60 blocks of 400 s; 6, 12, 8 on top.
pub(super) const T1: u32 = 1_086;

pub(super) fn at(height: u32) -> Height {
    Height::new(height).unwrap()
}

pub(super) fn blocks(count: u32) -> Blocks {
    Blocks::new(count).unwrap()
}

pub(super) fn seconds(count: u64) -> Seconds {
    Seconds::new(count).unwrap()
}

pub(super) fn sat(amount: u64) -> Sat {
    Sat::new(amount).unwrap()
}

pub(super) fn secret(byte: u8) -> Preimage {
    Preimage::new([byte; 32])
}

pub(super) fn id(number: u64) -> HoldId {
    HoldId::new(number).unwrap()
}

pub(super) fn policy() -> Policy {
    Policy {
        first: Pace::new(seconds(600), blocks(3)),
        second: Pace::new(seconds(150), blocks(4)),
        lock_max: seconds(200_000),
    }
}

pub(super) fn tips(first: u32, second: u32) -> Tips {
    let now = UtcSeconds::new(NOW).unwrap();
    let tip = |height| Tip { height: at(height), hash: BlockHash::all_zeros(), time: now };
    Tips { first: tip(first), second: tip(second), now }
}

pub(super) fn start() -> Tips {
    tips(FIRST, SECOND)
}

fn leg(byte: u8, amount: u64, expiry: u32, k: u16, margin: u32) -> Leg {
    Leg {
        channel: OutPoint::new(Txid::from_byte_array([byte; 32]), u32::from(byte)),
        amount: sat(amount),
        expiry: at(expiry),
        delay: ClaimDelay::new(k).unwrap(),
        margin: blocks(margin),
    }
}

/// What passes at [`start`] by nothing at all.
pub(super) fn deal() -> Deal {
    Deal {
        hash: secret(7).hash(),
        first: leg(1, 100_000, T1, 12, 8),
        second: leg(2, 7_000_000, T2, 16, 10),
    }
}

pub(super) fn hold_of(leg: &Leg, number: u64) -> Hold {
    let Leg { amount, expiry, delay, .. } = *leg;
    Hold { id: id(number), amount, hash: secret(7).hash(), expiry, delay }
}

/// The first hold has id 5, the second id 9.
pub(super) fn first_hold() -> Hold {
    hold_of(&deal().first, 5)
}

pub(super) fn second_hold() -> Hold {
    hold_of(&deal().second, 9)
}

pub(super) fn initiator() -> Swap {
    *Swap::initiate(secret(7), deal(), &policy(), &start()).unwrap().swap()
}

pub(super) fn responder() -> Swap {
    *Swap::respond(deal(), &policy(), &start()).unwrap().swap()
}

impl Swap {
    /// Decides, makes durable in `store`, applies.
    pub(super) fn take_into(
        &mut self,
        input: Input,
        store: &mut MemoryStore,
    ) -> Result<(), SwapError> {
        let before = *self;
        let step = self.decide(&policy(), &input)?;
        assert!(step.swap().may_follow(&before), "{:?} after {before:?}", step.swap());
        assert_eq!(step.is_empty(), *step.swap() == before);
        let staged = step.commit(store)?;
        self.apply(&staged)?;
        assert!(self.holds_together());
        Ok(())
    }

    pub(super) fn take(&mut self, input: Input) -> Result<(), SwapError> {
        self.take_into(input, &mut MemoryStore::default())
    }

    /// The swap after these inputs.
    pub(super) fn after(mut self, inputs: &[Input]) -> Self {
        for input in inputs {
            self.take(*input).unwrap();
        }
        self
    }

    pub(super) fn due(&self, tips: Tips) -> alloc::vec::Vec<Duty> {
        self.duties(&policy(), &tips).collect()
    }
}

pub(super) fn held(hold: Hold) -> Input {
    Input::Held { hold, tips: start() }
}

/// Every stage of both sides that inputs lead to, with its name.
pub(super) fn states() -> alloc::vec::Vec<(&'static str, Swap)> {
    let offered = |number| Input::Offered { id: id(number) };
    let waiting = initiator().after(&[offered(5)]);
    let won = waiting.after(&[held(second_hold())]);
    let taken = responder().after(&[held(first_hold())]);
    let open = taken.after(&[offered(9)]);
    let known = open.after(&[Input::Preimage(secret(7))]);
    let dead = Input::Over(End::TimedOut);
    alloc::vec![
        ("initiator agreed", initiator()),
        ("initiator waiting", waiting),
        ("initiator won", won),
        ("initiator won, paid", won.after(&[Input::Paid])),
        ("initiator won, past", won.after(&[Input::Past])),
        ("initiator won, own over", won.after(&[dead])),
        ("initiator stopped, own left", waiting.after(&[Input::CallOff])),
        ("responder agreed", responder()),
        ("responder taken", taken),
        ("responder open", open),
        ("responder open, paid", open.after(&[Input::Paid])),
        ("responder open, past", open.after(&[Input::Past])),
        ("responder won", known),
        ("responder won, paid", known.after(&[Input::Paid])),
        ("responder won, past", known.after(&[Input::Past])),
        ("responder won, folded", known.after(&[Input::Over(End::Folded)])),
        ("responder stopped", open.after(&[dead])),
        ("over", initiator().after(&[Input::CallOff])),
    ]
}
