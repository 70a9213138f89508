//! What a decision changes, and what is to be done.

use super::{Incoming, Leg, Policy, Role, Stage, Swap, SwapError, Tips};
use crate::store::{Batch, Durability, Store};
use crate::tx::hold::{PaymentHash, Preimage};
use crate::units::{Height, HoldId};

/// A swap before and after. Nothing of it is done before it stands in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a step that is not staged and applied changes nothing"]
pub struct SwapStep {
    pub(super) before: Option<Swap>,
    pub(super) after: Swap,
}

/// A step whose record stands in a batch: what [`Swap::apply`] takes.
///
/// What a duty leads to leaves only after the barrier of that batch, or of a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what is staged is applied, or the swap is older than the store"]
pub struct SwapStaged {
    pub(super) before: Option<Swap>,
    pub(super) after: Swap,
}

impl SwapStep {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before == Some(self.after)
    }

    /// The swap as it will be.
    #[must_use]
    pub const fn swap(&self) -> &Swap {
        &self.after
    }

    /// Writes the record into the batch of a drain; that of a swap that is over is deleted.
    ///
    /// # Errors
    /// [`SwapError::Store`] if the batch is full.
    pub fn stage(self, batch: &mut Batch) -> Result<SwapStaged, SwapError> {
        if self.after.is_over() {
            batch.delete(self.after.key()?)?;
        } else {
            batch.put(self.after.key()?, &self.after.encode()?)?;
        }
        Ok(SwapStaged { before: self.before, after: self.after })
    }

    /// Makes the step durable in a commit of its own.
    ///
    /// # Errors
    /// [`SwapError::Store`] as the store says; nothing may be done.
    pub fn commit(self, store: &mut dyn Store) -> Result<SwapStaged, SwapError> {
        let mut batch = Batch::default();
        let staged = self.stage(&mut batch)?;
        store.commit(&batch, Durability::Barrier)?;
        Ok(staged)
    }
}

impl SwapStaged {
    /// The swap as it will be: the first one of a swap that has just begun.
    #[must_use]
    pub const fn swap(&self) -> &Swap {
        &self.after
    }
}

/// What the driver owes this party's machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Duty {
    /// Offer the own hold. Decide [`Input::Offered`](super::Input) with the id that the payer
    /// gives, and stage it into the batch of the payer's step; or
    /// [`Input::CallOff`](super::Input) if the payer will never offer it.
    Offer {
        /// The hash.
        hash: PaymentHash,
        /// How much, in which channel, until when.
        leg: Leg,
    },
    /// The payee's record with the preimage, then the preimage to the other side.
    Fulfil {
        /// The incoming hold.
        incoming: HoldId,
        /// The preimage.
        preimage: Preimage,
    },
    /// Take the incoming channel to its chain: its payer has not folded, and from here on the
    /// settlement may come too late. A payee that was not fulfilled has nothing to settle for.
    Settle {
        /// The incoming hold.
        incoming: HoldId,
        /// By when the settlement must be confirmed.
        by: Height,
    },
    /// Pay the own hold: the payer's fold.
    Fold {
        /// The own hold.
        outgoing: HoldId,
        /// The preimage.
        preimage: Preimage,
    },
    /// The payee's record with the release, then the word to the other side.
    Release {
        /// The incoming hold.
        incoming: HoldId,
    },
}

impl Swap {
    /// What is to be done while the chains stand at `tips`, what protects this party first.
    ///
    /// The same duties come again until an input says that they are done: doing one twice is
    /// harmless, since the machines say so themselves.
    pub fn duties(&self, policy: &Policy, tips: &Tips) -> impl Iterator<Item = Duty> + use<> {
        let none = [None, None, None];
        let duties = match self.stage {
            Stage::Agreed | Stage::Taken { .. } => {
                let turn = match self.role {
                    Role::Initiator { .. } => matches!(self.stage, Stage::Agreed),
                    Role::Responder => matches!(self.stage, Stage::Taken { .. }),
                };
                let may = turn && policy.check_offer(&self.deal, self.role, tips).is_ok();
                let (hash, leg) = (self.deal.hash, *self.outgoing());
                [may.then_some(Duty::Offer { hash, leg }), None, None]
            }
            Stage::Waiting { .. } | Stage::Open { .. } => none,
            Stage::Won { preimage, incoming, outgoing } => {
                self.won(preimage, incoming, outgoing, policy, tips)
            }
            Stage::Stopped { incoming, .. } => {
                [incoming.map(|incoming| Duty::Release { incoming }), None, None]
            }
        };
        duties.into_iter().flatten()
    }

    fn won(
        &self,
        preimage: Preimage,
        incoming: Incoming,
        outgoing: Option<HoldId>,
        policy: &Policy,
        tips: &Tips,
    ) -> [Option<Duty>; 3] {
        let (pace, tip) = match self.role {
            Role::Initiator { .. } => (&policy.second, tips.second.height),
            Role::Responder => (&policy.first, tips.first.height),
        };
        let held = incoming.id();
        let by = self.incoming().settle_by();
        let is_urgent = tip >= by.saturating_before(pace.settling);
        let (may_tell, may_fold) = match self.role {
            // X3: told late, the secret would be used on one chain alone. Whoever was told in time
            // folds, or is taken to the chain.
            // X8: the initiator pays after it was paid.
            Role::Initiator { .. } => {
                (policy.check_reveal(&self.deal, tips).is_ok(), incoming == Incoming::Paid)
            }
            // The other side drew it.
            Role::Responder => (true, true),
        };
        [
            held.filter(|_| may_tell).map(|incoming| Duty::Fulfil { incoming, preimage }),
            held.filter(|_| is_urgent).map(|incoming| Duty::Settle { incoming, by }),
            outgoing.filter(|_| may_fold).map(|outgoing| Duty::Fold { outgoing, preimage }),
        ]
    }
}
