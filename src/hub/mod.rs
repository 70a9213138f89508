//! The hub: forwards conditional payments from channel to channel, for a fee, and never loses.
//!
//! ```text
//!  sender ---- incoming channel ----> hub ---- outgoing channel ----> receiver
//!         a hold until t in            |        a hold until t out, of the same hash
//!              Payee, monitor ----> Input      Input <---- Payer, monitor
//!                               decide, stage, apply
//!              fulfil, settle <---- Duty       Duty ----> offer, fold
//!              release
//! ```
//!
//! A [`Forward`] joins one incoming hold to one outgoing hold of the same hash. The hub talks to no
//! machine: whoever drives it (`node`) tells it what the machines and the chain have shown, as
//! [`Input`]s, and does what [`Hub::duties`] says. Duties are a function of the records and of the
//! tip, so that nothing is forgotten by a power cut: after [`Hub::load`] they are the same ones.
//!
//! ```text
//!          order            offered           preimage, told or on the chain
//!  (none) -------> Ready ------------> Offered ------------------------------> Won --.
//!                    |                    |                        folded or over    |
//!       declined, or |                    | dead for sure            on the chain,   |
//!           too late |                    v                        and paid or past  |
//!                    '-----------------> Dead -- released, paid, past --> (none) <---'
//! ```
//!
//! # Rules
//!
//! * H1. What comes in covers what goes on and the fee: a fold by a fold, and in whole satoshis a
//!   claim by a fold ([`Policy::price`]).
//! * H2. A preimage that the chain shows at the last moment leaves time for the incoming claim: t
//!   in >= t out + `reaction` + `depth` + `settling` + the incoming k and margin
//!   ([`Policy::expiry`]), and the outgoing k > `reaction` + `depth`, so that a settlement that is
//!   published after t out is timed out for good before it can be claimed.
//! * H3. The incoming hold and its forward are durable before the outgoing hold is offered:
//!   `Offered` is staged into the batch of the payer's step, whose voucher waits for the barrier.
//! * H4. A preimage is durable in the forward before it is used on either side.
//! * H5. Upstream is released only when the outgoing hold is dead for sure. **The receiver's
//!   release is no proof**: every voucher that ever left can be settled with its holds until their
//!   expiry, and the hub takes no message from the receiver as one. Proof is that nothing was
//!   offered; an output that is unspent `depth` blocks after t out; or an [`End`].
//! * H6. One incoming hold is forwarded once, and one outgoing hold belongs to one forward: a
//!   bundle that the payer would merge into another forward's hold is refused. A driver whose payer
//!   holds such a bundle for another reason declines the order.
//! * H7. A forward is forgotten only when both sides are over.
//!
//! | rule | kept in |
//! | --- | --- |
//! | H1, H2 | `Policy::check`, asked by [`Hub::decide`] on an order |
//! | H3 | [`HubStep::stage`] comes before [`Hub::apply`], and duties are of what was applied |
//! | H4 | `Hub::duties`: a fold and a fulfilment stand in `Won` alone |
//! | H5 | `Hub::unspent`, `Hub::over`; [`Input::Released`] is refused in any stage but `Dead` |
//! | H6 | `Hub::order`, `Hub::check_merge`, `Hub::offered` |
//! | H7 | `Forward::is_over` |
//!
//! What the hub counts on: from the block that allows it, it gets a timeout confirmed within
//! `reaction` blocks, and a settlement within `settling`; what is `depth` deep stays. What it pays
//! the chain (the part of the agreed fee that a young channel's balance does not cover, timeouts,
//! claims) is each channel's own cost, as without a hub.
//!
//! # State and input
//!
//! | | `Ready` | `Offered` | `Won` | `Dead` |
//! | --- | --- | --- | --- | --- |
//! | order, the same | nothing | nothing | nothing | nothing |
//! | offered | `Offered` | refused | refused | refused |
//! | declined, too late | `Dead` | refused | refused | nothing |
//! | preimage | nothing | `Won` | nothing | nothing |
//! | folded | - | refused | settled | - |
//! | unspent after t out | nothing | `Dead` | settled | nothing |
//! | over: without it, timed out, covered | - | `Dead` | settled | - |
//! | over: claimed | - | refused: the preimage first | settled | - |
//! | released | refused | refused | refused | forgotten |
//! | paid upstream | stays, paid | stays, paid | forgotten once settled | forgotten |
//! | past upstream | forgotten | stays | forgotten once settled | forgotten |
//!
//! The whole table, refused cells included, is a test: `src/hub/tests/matrix.rs`.
//!
//! Rank 4. Used by `node` and by `sim`; imports `tx`, `store`, `wire` (its
//! reader), `units`.
//!
//! ```
//! # use bitcoin::hashes::Hash;
//! # use bitcoin::{OutPoint, Txid};
//! use millstream::hub::{Duty, Hub, Incoming, Input, Load, Onward, Policy};
//! # use millstream::store::{Batch, Durability, MemoryStore, Store};
//! # use millstream::tx::hold::{ClaimDelay, Hold, Preimage};
//! # use millstream::units::{Blocks, Height, HoldId, Msat, Ppm, Sat};
//! # let at = |txid| OutPoint::new(Txid::from_byte_array([txid; 32]), 0);
//! # let (from, to) = (at(1), at(2));
//! # let (id, k, margin) = (HoldId::new(1)?, ClaimDelay::new(12)?, Blocks::new(10)?);
//! # let tip = Height::new(900_000)?;
//! let mut hub = Hub::new(Policy {
//!     base: Msat::new(1_000)?,
//!     rate: Ppm::new(100)?,
//!     least: Sat::new(1_000)?,
//!     lock_max: Blocks::new(1_008)?,
//!     reaction: Blocks::new(6)?,
//!     settling: Blocks::new(6)?,
//!     depth: Blocks::new(3)?,
//!     forwards_max: 1_000,
//! })?;
//! let secret = Preimage::new([7; 32]);
//! let (load, expiry) = (Load::Single(Sat::new(50_000)?), Height::new(900_100)?);
//! // A sender asks first what it costs, and how much longer its own hold must last.
//! let due = hub.policy().price(&load)?;
//! assert_eq!(due, Msat::new(50_006_000)?);
//! let until = hub.policy().expiry(expiry, k, margin)?;
//! assert_eq!(until, Height::new(900_137)?);
//!
//! let amount = due.ceil_to_sat();
//! let hold = Hold { id, amount, hash: secret.hash(), expiry: until, delay: k };
//! let incoming = Incoming { channel: from, hold, due: amount.to_msat(), margin };
//! let onward = Onward { channel: to, delay: k, load, expiry };
//! let step = hub.decide(&Input::Order { incoming, onward, tip })?;
//! # let mut store = MemoryStore::default();
//! let mut batch = Batch::default();
//! hub.apply(&step.stage(&mut batch)?)?;
//! store.commit(&batch, Durability::Barrier)?;
//! assert!(matches!(hub.duties(tip).next(), Some(Duty::Offer { .. })));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod decide;
mod error;
mod forward;
mod policy;
mod record;
mod step;

use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::ControlFlow;

use bitcoin::OutPoint;

pub use decide::{End, Input};
pub use error::HubError;
pub use forward::{Forward, HoldRef, Incoming, Load, Onward, Stage, Upstream};
pub use policy::Policy;
pub use step::{Duty, HubStaged, HubStep};

use crate::store::Store;
use crate::tx::hold::PaymentHash;
use crate::units::Height;

/// The forwarding table: every forward that is not over, and the policy for new ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    policy: Policy,
    forwards: BTreeMap<HoldRef, Forward>,
    /// By hash: one preimage decides them all.
    by_hash: BTreeSet<(PaymentHash, HoldRef)>,
    /// By outgoing channel.
    by_channel: BTreeSet<(OutPoint, HoldRef)>,
}

impl Hub {
    /// A hub without forwards.
    ///
    /// # Errors
    /// [`HubError::Policy`] if a number of blocks is zero where time is needed.
    pub fn new(policy: Policy) -> Result<Self, HubError> {
        policy.check_itself()?;
        let (forwards, by_hash) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { policy, forwards, by_hash, by_channel: BTreeSet::new() })
    }

    /// The hub whose records `store` holds. Forwards keep the terms that they were taken under;
    /// `policy` is for new ones, and for the blocks that the chain needs.
    ///
    /// # Errors
    /// [`HubError::Policy`]; [`HubError::Store`] for an unknown version or rot,
    /// [`HubError::BrokenRecord`].
    pub fn load(policy: Policy, store: &dyn Store) -> Result<Self, HubError> {
        let mut hub = Self::new(policy)?;
        let mut broken = Ok(());
        store.scan(&Forward::PREFIX, &mut |key, bytes| match Forward::decode(key, bytes) {
            Ok(forward) => {
                hub.put(forward);
                ControlFlow::Continue(())
            }
            Err(error) => {
                broken = Err(error);
                ControlFlow::Break(())
            }
        })?;
        broken?;
        hub.check_invariants()?;
        Ok(hub)
    }

    /// Takes what a step staged. The only mutation.
    ///
    /// # Errors
    /// [`HubError::OldStep`] if another step was applied after this one was decided; nothing
    /// changes.
    pub fn apply(&mut self, staged: &HubStaged) -> Result<(), HubError> {
        for change in staged.changes() {
            let at = change.after.incoming();
            if self.forwards.get(&at) != change.before.as_ref() {
                return Err(HubError::OldStep { at });
            }
        }
        for change in staged.changes() {
            self.remove(&change.after);
            if !change.after.is_over() {
                self.put(change.after);
            }
        }
        Ok(())
    }

    /// What new forwards must pay and leave.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The forward of an incoming hold.
    #[must_use]
    pub fn forward(&self, incoming: HoldRef) -> Option<&Forward> {
        self.forwards.get(&incoming)
    }

    /// Every forward that is not over, in the order of their incoming holds.
    pub fn forwards(&self) -> impl Iterator<Item = &Forward> {
        self.forwards.values()
    }

    /// The forwards into an outgoing channel: what to watch it for.
    pub fn into_channel(&self, channel: OutPoint) -> impl Iterator<Item = &Forward> {
        let from = self.by_channel.range((channel, HoldRef::first())..);
        let same = from.take_while(move |(of, _)| *of == channel);
        same.filter_map(|(_, at)| self.forwards.get(at))
    }

    /// What is to be done while the tip is at `tip`, in the order of the incoming holds.
    ///
    /// The same duties come again until an input says that they are done: doing one twice is
    /// harmless, since the machines say so themselves.
    pub fn duties(&self, tip: Height) -> impl Iterator<Item = Duty> {
        self.forwards.values().flat_map(move |forward| step::duties(forward, &self.policy, tip))
    }

    /// Whether the table's promises to itself hold; simulation calls it after every step.
    ///
    /// # Errors
    /// [`HubError::OutgoingTaken`] (H6), [`HubError::BrokenRecord`].
    pub fn check_invariants(&self) -> Result<(), HubError> {
        let mut outgoing = BTreeSet::new();
        for forward in self.forwards.values() {
            if forward.is_over() || !forward.holds_together() {
                return Err(HubError::BrokenRecord { at: 0 });
            }
            if let Some(hold) = forward.outgoing()
                && !outgoing.insert(hold)
            {
                return Err(HubError::OutgoingTaken { outgoing: hold });
            }
        }
        let counts = [self.forwards.len(), self.by_hash.len(), self.by_channel.len()];
        if counts.iter().any(|count| *count != self.forwards.len()) {
            return Err(HubError::BrokenRecord { at: 0 });
        }
        Ok(())
    }

    fn put(&mut self, forward: Forward) {
        let at = forward.incoming();
        self.by_hash.insert((forward.hash(), at));
        self.by_channel.insert((forward.onward().channel, at));
        self.forwards.insert(at, forward);
    }

    /// What identifies a forward never changes, so that any version of it names its places.
    fn remove(&mut self, forward: &Forward) {
        let at = forward.incoming();
        self.by_hash.remove(&(forward.hash(), at));
        self.by_channel.remove(&(forward.onward().channel, at));
        self.forwards.remove(&at);
    }
}

#[cfg(test)]
mod tests;
