//! What a decision changes, and what is to be done.

use alloc::vec::Vec;

use super::{Forward, HoldRef, HubError, Onward, Policy, Stage, Upstream};
use crate::store::{Batch, Durability, Store};
use crate::tx::hold::{PaymentHash, Preimage};
use crate::units::Height;

/// One forward before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) before: Option<Forward>,
    pub(super) after: Forward,
}

/// What an input changes. H3: nothing of it is done before it stands in a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a step that is not staged and applied changes nothing"]
pub struct HubStep {
    pub(super) changes: Vec<Change>,
}

/// A step whose records stand in a batch: what [`Hub::apply`](super::Hub::apply) takes.
///
/// What a duty leads to leaves only after the barrier of that batch, or of a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what is staged is applied, or the table is older than the store"]
pub struct HubStaged {
    changes: Vec<Change>,
}

impl HubStep {
    /// Whether nothing changes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The forwards as they will be.
    pub fn forwards(&self) -> impl Iterator<Item = &Forward> {
        self.changes.iter().map(|change| &change.after)
    }

    /// Writes the records into the batch of a drain; those of forwards that are over are deleted.
    ///
    /// # Errors
    /// [`HubError::Store`] if the batch is full; it may hold a part of the step then, and must not
    /// be committed.
    pub fn stage(self, batch: &mut Batch) -> Result<HubStaged, HubError> {
        for Change { after, .. } in &self.changes {
            if after.is_over() {
                batch.delete(after.key()?)?;
            } else {
                batch.put(after.key()?, &after.encode()?)?;
            }
        }
        Ok(HubStaged { changes: self.changes })
    }

    /// Makes the step durable in a commit of its own.
    ///
    /// # Errors
    /// [`HubError::Store`] as the store says; nothing may be done.
    pub fn commit(self, store: &mut dyn Store) -> Result<HubStaged, HubError> {
        let mut batch = Batch::default();
        let staged = self.stage(&mut batch)?;
        store.commit(&batch, Durability::Barrier)?;
        Ok(staged)
    }
}

impl HubStaged {
    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }
}

/// What the driver owes the machines of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Duty {
    /// Offer onward. Decide [`Input::Offered`](super::Input) with the id that the payer gives, and
    /// stage it into the batch of the payer's step; or [`Input::Declined`](super::Input) if the
    /// payer will never offer it.
    Offer {
        /// The incoming hold.
        incoming: HoldRef,
        /// The hash.
        hash: PaymentHash,
        /// What, to whom, until when.
        onward: Onward,
    },
    /// Fulfil backward: the payee's record with the preimage, then the preimage to the sender.
    Fulfil {
        /// The incoming hold.
        incoming: HoldRef,
        /// The preimage.
        preimage: Preimage,
    },
    /// Take the incoming channel to the chain: its payer has not folded, and from here on the
    /// settlement may come too late.
    Settle {
        /// The incoming hold.
        incoming: HoldRef,
        /// By when the settlement must be confirmed.
        by: Height,
    },
    /// Pay the receiver for its preimage.
    Fold {
        /// The outgoing hold.
        outgoing: HoldRef,
        /// The preimage.
        preimage: Preimage,
    },
    /// Release backward: the payee's record, then the word to the sender.
    Release {
        /// The incoming hold.
        incoming: HoldRef,
    },
}

/// What is to be done for one forward, what protects the hub first.
pub(super) fn duties(
    forward: &Forward,
    policy: &Policy,
    tip: Height,
) -> impl Iterator<Item = Duty> + use<> {
    let incoming = forward.incoming;
    let is_held = forward.upstream == Upstream::Held;
    let none = [None, None, None];
    let duties = match forward.stage {
        Stage::Ready => {
            let (hash, onward) = (forward.hash, forward.onward);
            [Some(Duty::Offer { incoming, hash, onward }), None, None]
        }
        Stage::Offered { .. } => none,
        // H4: the preimage is in the record.
        Stage::Won { preimage, settled, .. } => {
            let by = forward.settle_by;
            let is_urgent = is_held && tip >= by.saturating_before(policy.settling);
            let outgoing = forward.outgoing().filter(|_| !settled);
            [
                is_held.then_some(Duty::Fulfil { incoming, preimage }),
                is_urgent.then_some(Duty::Settle { incoming, by }),
                outgoing.map(|outgoing| Duty::Fold { outgoing, preimage }),
            ]
        }
        // H5: dead for sure.
        Stage::Dead => [is_held.then_some(Duty::Release { incoming }), None, None],
    };
    duties.into_iter().flatten()
}
