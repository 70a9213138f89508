//! The swap: money of one chain for money of another, by two holds of one hash; both or neither.
//!
//! ```text
//!                first chain:  a hold until t1, offered first, ends last
//!   initiator ----------------------------------------------------> responder
//!   (has the   <----------------------------------------------------
//!    secret)     second chain: a hold until t2 of the same hash
//!
//!    1. offers the first hold               2. has it durably, and offers the second
//!    3. has that durably, in time: tells    4. knows the secret: folds the second, and claims
//!       the secret, or claims on the chain     the first, in its channel or on its chain
//! ```
//!
//! A [`Swap`] is one party's side of it. It talks to no machine: whoever drives it tells it what
//! its payer in one channel, its payee in the other, and both chains have shown, as [`Input`]s, and
//! does what [`Swap::duties`] says. Duties are a function of the record and of the tips, so that
//! nothing is forgotten by a power cut. Heights of two chains cannot be compared: a [`Pace`] says
//! what one counts on of each, and [`Policy::first_expiry`] what t1 must be for a t2.
//!
//! ```text
//!  initiator                   its hold           the other's hold is here, in time
//!           Agreed --- offered -------> Waiting -------------------------.
//!              | called off, too late      | called off, too late        v
//!              '-------------------------> Stopped                      Won --> over
//!                                            ^                           ^
//!              .------ called off, too late -+- dead for sure -.         |
//!              |                             |                 |         |
//!           Agreed --- the other's ---> Taken --- offered --> Open ------'
//!  responder            hold is here              its hold     preimage, told or on a chain
//! ```
//!
//! # Rules
//!
//! * X1. The initiator offers first, and only what leaves it time to show its secret.
//! * X2. The responder offers only where the first hold ends late enough: when the secret comes out
//!   at the last moment, `t2 + reaction + depth` at the slowest that the second chain may be, then
//!   `settling + k + margin` blocks before t1 are left at the fastest that the first may be.
//! * X3. The secret is shown only while the second hold can still be enforced: before `t2 - k -
//!   margin - settling`. That it may be shown is durable before it is; a swap that was stopped
//!   never shows it.
//! * X4. No own hold lasts longer than `lock_max`, at the slowest.
//! * X5. Nobody offers or shows a secret while a chain that it counts on stands still, or hides, or
//!   is dated ahead. Blocks that may be hidden count as if they were there.
//! * X6. The responder releases the first hold only when the second is dead for sure. **The
//!   initiator's release is no proof**: its old vouchers stay valid until t2. Proof is that nothing
//!   was offered, an output that is unspent `depth` blocks after t2, or an [`End`]. Each own hold's
//!   k is above `reaction + depth`, so that what is published late is timed out first.
//! * X7. A preimage is durable before it is used.
//! * X8. The initiator folds after it was paid; the responder as soon as it knows the secret.
//!
//! | rule | kept in |
//! | --- | --- |
//! | X1, X2, X4, X5 | `Policy::check_offer`, asked by [`Swap::initiate`], [`Swap::respond`], on a hold, and by the duty to offer |
//! | X3 | `Policy::check_reveal`, asked on a hold and by the duty to fulfil; `Stopped` leads to no `Won` |
//! | X6 | `Swap::ended`, `Swap::unspent`; [`Input::Released`] is refused in any stage but `Stopped` |
//! | X7 | [`SwapStep::stage`] comes before [`Swap::apply`], and duties are of what was applied |
//! | X8 | `Swap::won` |
//!
//! # Who can lose what
//!
//! A party that is on its chains in time, as its policy says, ends with both legs or with neither,
//! less what the chains take. What a swap costs without ending in a payment is time: the initiator
//! may let t2 pass and owes nothing for it, so that the responder's hold is an option that it gives
//! away for that long (`lock_max`). A chain that is slower or faster than its [`Pace`] can cost the
//! responder the second leg; the policy is its choice.
//!
//! The whole table of stages and inputs, refused cells included, is a test:
//! `src/swap/tests/matrix.rs`. Two parties on two chains, who vanish at every step, are another:
//! `tests/swap.rs`.
//!
//! Rank 4. Used by the example `swap`; imports `tx`, `store`, `wire` (its
//! reader), `units`.
//!
//! ```
//! # use bitcoin::hashes::Hash;
//! # use bitcoin::{BlockHash, OutPoint, Txid};
//! use millstream::store::MemoryStore;
//! use millstream::swap::{Deal, Duty, Leg, Pace, Policy, Swap, Tips};
//! # use millstream::tx::hold::{ClaimDelay, Preimage};
//! # use millstream::tx::seen::Tip;
//! # use millstream::units::{Blocks, Height, Sat, Seconds, UtcSeconds};
//! # let channel = |txid| OutPoint::new(Txid::from_byte_array([txid; 32]), 0);
//! # let now = UtcSeconds::new(1_900_000_000)?;
//! # let tip = |height| Height::new(height).map(|height| {
//! #     Tip { height, hash: BlockHash::all_zeros(), time: now }
//! # });
//! // A block every ten minutes on the first chain, every two and a half on the second.
//! let policy = Policy {
//!     first: Pace::new(Seconds::new(600)?, Blocks::new(3)?),
//!     second: Pace::new(Seconds::new(150)?, Blocks::new(6)?),
//!     lock_max: Seconds::new(3 * 86_400)?,
//! };
//! let tips = Tips { first: tip(900_000)?, second: tip(2_800_000)?, now };
//! let (k, margin) = (ClaimDelay::new(20)?, Blocks::new(10)?);
//! let second = Leg {
//!     channel: channel(2),
//!     amount: Sat::new(7_000_000)?,
//!     expiry: Height::new(2_800_100)?,
//!     delay: k,
//!     margin,
//! };
//! // How much longer must the first hold last? Two blocks more, for the time that offers take.
//! let least = policy.first_expiry(second.expiry, k, margin, &tips)?;
//! assert_eq!(least, Height::new(900_122)?);
//! let expiry = least.saturating_after(Blocks::new(2)?);
//! let first = Leg { channel: channel(1), amount: Sat::new(100_000)?, expiry, ..second };
//!
//! let secret = Preimage::new([7; 32]); // 32 random bytes, never used before
//! let deal = Deal { hash: secret.hash(), first, second };
//! let mut store = MemoryStore::default();
//! let step = Swap::initiate(secret, deal, &policy, &tips)?;
//! let swap = *step.commit(&mut store)?.swap();
//! let duty = swap.duties(&policy, &tips).next();
//! assert_eq!(duty, Some(Duty::Offer { hash: deal.hash, leg: first }));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod deal;
mod decide;
mod error;
mod record;
mod step;

pub use deal::{Deal, Leg, Pace, Policy, Tips};
pub use decide::{End, Input};
pub use error::SwapError;
pub use step::{Duty, SwapStaged, SwapStep};

use crate::tx::hold::Preimage;
use crate::units::HoldId;

/// Whose side of the swap it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Drew the secret; pays on the first chain, and is paid on the second.
    Initiator {
        /// What unlocks both holds. Shown on the second chain first, or not at all.
        secret: Preimage,
    },
    /// Is paid on the first chain, and pays on the second.
    Responder,
}

/// Where the other side's hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// It can still be claimed.
    Held {
        /// Its id.
        id: HoldId,
    },
    /// It was folded, or claimed on the chain for good.
    Paid,
    /// It can bring nothing any more: released, past, or spent without it.
    Past,
}

impl Incoming {
    pub(super) const fn id(self) -> Option<HoldId> {
        match self {
            Self::Held { id } => Some(id),
            Self::Paid | Self::Past => None,
        }
    }
}

/// How far a swap has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is offered.
    Agreed,
    /// The responder has the first hold, and offers the second.
    Taken {
        /// The first hold.
        incoming: HoldId,
    },
    /// The initiator has offered the first hold, and waits for the second.
    Waiting {
        /// The first hold.
        outgoing: HoldId,
    },
    /// The responder has offered the second hold too: it waits for the preimage, or for its end.
    Open {
        /// The first hold.
        incoming: Incoming,
        /// The second hold.
        outgoing: HoldId,
    },
    /// The preimage may be used on both sides.
    Won {
        /// The preimage.
        preimage: Preimage,
        /// Where the other side's hold stands.
        incoming: Incoming,
        /// The own hold, until it has ended.
        outgoing: Option<HoldId>,
    },
    /// The preimage is not used, whatever comes.
    Stopped {
        /// The other side's hold, until it is released or past.
        incoming: Option<HoldId>,
        /// The own hold, until it has ended.
        outgoing: Option<HoldId>,
    },
}

impl Stage {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::Taken { .. } => "taken",
            Self::Waiting { .. } => "waiting",
            Self::Open { .. } => "open",
            Self::Won { .. } => "won",
            Self::Stopped { .. } => "stopped",
        }
    }

    /// The order in which they follow each other, and their byte in the record.
    const fn rank(&self) -> u8 {
        match self {
            Self::Agreed => 0,
            Self::Taken { .. } => 1,
            Self::Waiting { .. } => 2,
            Self::Open { .. } => 3,
            Self::Won { .. } => 4,
            Self::Stopped { .. } => 5,
        }
    }

    const fn upstream(&self) -> Option<Incoming> {
        match self {
            Self::Taken { incoming: id } | Self::Stopped { incoming: Some(id), .. } => {
                Some(Incoming::Held { id: *id })
            }
            Self::Open { incoming, .. } | Self::Won { incoming, .. } => Some(*incoming),
            Self::Agreed | Self::Waiting { .. } | Self::Stopped { incoming: None, .. } => None,
        }
    }

    /// The other side's hold, as long as it can be claimed or released.
    #[must_use]
    pub fn incoming(&self) -> Option<HoldId> {
        self.upstream().and_then(Incoming::id)
    }

    /// The own hold, until it has ended for good.
    #[must_use]
    pub const fn outgoing(&self) -> Option<HoldId> {
        match self {
            Self::Waiting { outgoing } | Self::Open { outgoing, .. } => Some(*outgoing),
            Self::Won { outgoing, .. } | Self::Stopped { outgoing, .. } => *outgoing,
            Self::Agreed | Self::Taken { .. } => None,
        }
    }
}

/// One party's side of one swap: machine and record at once, keyed by role and hash. See
/// [`encode`](Self::encode) for its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swap {
    deal: Deal,
    role: Role,
    stage: Stage,
}

impl Swap {
    /// The side of who drew `secret`. It must be fresh: whoever knows a preimage can claim the
    /// first hold without paying the second.
    ///
    /// # Errors
    /// [`SwapError::Tx`] if the deal is on another hash; [`SwapError::Pace`],
    /// [`SwapError::DelayShort`], [`SwapError::LockTooLong`], [`SwapError::TooLate`],
    /// [`SwapError::StalledTip`], [`SwapError::TipAhead`].
    pub fn initiate(
        secret: Preimage,
        deal: Deal,
        policy: &Policy,
        tips: &Tips,
    ) -> Result<SwapStep, SwapError> {
        secret.check(deal.hash)?;
        Self::begin(Role::Initiator { secret }, deal, policy, tips)
    }

    /// The side of who answers.
    ///
    /// # Errors
    /// As [`Self::initiate`]; [`SwapError::ExpiryTooNear`] if the first leg ends too early,
    /// [`SwapError::NoHeight`] if no height is late enough.
    pub fn respond(deal: Deal, policy: &Policy, tips: &Tips) -> Result<SwapStep, SwapError> {
        Self::begin(Role::Responder, deal, policy, tips)
    }

    fn begin(role: Role, deal: Deal, policy: &Policy, tips: &Tips) -> Result<SwapStep, SwapError> {
        policy.check_offer(&deal, role, tips)?;
        let after = Self { deal, role, stage: Stage::Agreed };
        Ok(SwapStep { before: None, after })
    }

    /// Takes what a step staged. The only mutation.
    ///
    /// # Errors
    /// [`SwapError::OldStep`] if it is another swap's, or another step was applied after this one
    /// was decided; nothing changes.
    pub fn apply(&mut self, staged: &SwapStaged) -> Result<(), SwapError> {
        if staged.before != Some(*self) {
            return Err(SwapError::OldStep);
        }
        *self = staged.after;
        Ok(())
    }

    /// What was agreed.
    #[must_use]
    pub const fn deal(&self) -> &Deal {
        &self.deal
    }

    /// Whose side it is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// How far it has come.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// The leg that this party is paid by.
    #[must_use]
    pub const fn incoming(&self) -> &Leg {
        self.deal.incoming(self.role)
    }

    /// The leg that this party pays.
    #[must_use]
    pub const fn outgoing(&self) -> &Leg {
        self.deal.outgoing(self.role)
    }

    /// Whether nothing is left on either side, so that it may be forgotten.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        match self.stage {
            Stage::Won { incoming: Incoming::Paid | Incoming::Past, outgoing: None, .. } => true,
            Stage::Stopped { incoming, outgoing } => incoming.is_none() && outgoing.is_none(),
            _ => false,
        }
    }

    /// Whether this party may have to pay, or has paid, for nothing: it was not on its chain in
    /// time, or the chains were not as its policy counts on. The driver says it loudly. (An
    /// initiator that was gone before it told its secret to anybody takes its own hold back.)
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self.stage, Stage::Won { incoming: Incoming::Past, .. })
    }

    /// A record can be one of its role, and its preimages fit.
    fn holds_together(&self) -> bool {
        let own = match self.role {
            Role::Initiator { secret } => {
                secret.hash() == self.deal.hash
                    && !matches!(self.stage, Stage::Taken { .. } | Stage::Open { .. })
            }
            Role::Responder => !matches!(self.stage, Stage::Waiting { .. }),
        };
        let known = match self.stage {
            Stage::Won { preimage, .. } => preimage.hash() == self.deal.hash,
            _ => true,
        };
        own && known
    }

    /// Whether it may come after `before` by one step or more: stages do not go back, and neither
    /// `Won` nor `Stopped` leads to the other.
    fn may_follow(&self, before: &Self) -> bool {
        let forward = match (before.stage, self.stage) {
            (Stage::Won { preimage: was, .. }, Stage::Won { preimage: now, .. }) => was == now,
            (Stage::Won { .. }, _) => false,
            (was, now) => was.rank() <= now.rank(),
        };
        forward && self.deal == before.deal && self.role == before.role && self.holds_together()
    }
}

#[cfg(test)]
mod tests;
