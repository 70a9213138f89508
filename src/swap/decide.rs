//! What a swap makes of what it is told: one function, the table of the room's page.

use super::{Incoming, Policy, Role, Stage, Swap, SwapError, SwapStep, Tips};
use crate::tx::hold::{Hold, Preimage};
use crate::units::{Height, HoldId};

/// What this party's machines and the chains have shown.
///
/// The driver gives what is durable in its machines or stands on its chains. Any of them may come
/// again, and in any order: what is old is refused, or changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// The other side's hold is durable and open in this party's payee of the deal's channel. A
    /// refusal leaves nothing behind, and the hold may be released.
    Held {
        /// The hold.
        hold: Hold,
        /// Both tips.
        tips: Tips,
    },
    /// The payer made a step with the own hold: its record is in the same batch.
    Offered {
        /// The id that the own hold has.
        id: HoldId,
    },
    /// The user, or the payer's refusal, ends a swap that binds nobody yet.
    CallOff,
    /// A preimage, from the other side or from a chain.
    Preimage(Preimage),
    /// The own channel's output is unspent in its chain up to and with `tip`.
    Unspent {
        /// The height of the tip that was looked at.
        tip: Height,
    },
    /// The own hold has come to an end, which cannot be undone.
    Over(End),
    /// The payee released the incoming hold: its record is in the same batch.
    Released,
    /// The incoming hold was folded, or its claim on the chain is `depth` deep.
    Paid,
    /// The incoming hold can bring nothing any more: its expiry is `depth` blocks past and it was
    /// not claimed, or its channel's output is spent without it, `depth` deep.
    Past,
    /// Both tips: what was not done in time is not done.
    Tips(Tips),
}

/// How the own hold ended, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The payer folded it: its record is in the same batch.
    Folded,
    /// The other side's claim is `depth` deep. Its preimage comes first.
    Claimed,
    /// The own timeout is `depth` deep.
    TimedOut,
    /// The channel's output is spent `depth` deep, by a transaction without the hold.
    Absent,
    /// No voucher with the hold can cost more than the channel has paid since: the payer forgets
    /// such a hold.
    Covered,
}

impl Swap {
    /// Decides on an input; nothing changes before the step is staged and applied.
    ///
    /// # Errors
    /// Whatever is wrong with a hold or with its time; [`SwapError::WrongStage`],
    /// [`SwapError::NoPreimage`] for a driver that is confused.
    pub fn decide(&self, policy: &Policy, input: &Input) -> Result<SwapStep, SwapError> {
        let stage = match *input {
            Input::Held { hold, tips } => self.held(policy, &hold, &tips)?,
            Input::Offered { id } => self.offered(id)?,
            Input::CallOff => self.called_off()?,
            Input::Preimage(preimage) => self.known(preimage)?,
            Input::Unspent { tip } => self.unspent(policy, tip)?,
            Input::Over(end) => self.ended(end)?,
            Input::Released => self.released()?,
            Input::Paid => self.upstream(Incoming::Paid),
            Input::Past => self.upstream(Incoming::Past),
            Input::Tips(tips) => self.too_late(policy, &tips),
        };
        let step = SwapStep { before: Some(*self), after: Self { stage, ..*self } };
        debug_assert!(step.after.may_follow(self), "{:?} after {self:?}", step.after);
        Ok(step)
    }

    fn wrong(&self, act: &'static str) -> SwapError {
        SwapError::WrongStage { stage: self.stage.name(), act }
    }

    /// The other side has offered: the responder takes it, the initiator wins.
    fn held(&self, policy: &Policy, hold: &Hold, tips: &Tips) -> Result<Stage, SwapError> {
        let id = hold.id;
        let deal = &self.deal;
        let check = || self.incoming().check(deal.hash, hold);
        match (self.role, self.stage) {
            (Role::Responder, Stage::Agreed) => {
                check()?;
                policy.check_offer(deal, self.role, tips)?;
                Ok(Stage::Taken { incoming: id })
            }
            // X3: from here on the secret may be shown, and it is durable that it may.
            (Role::Initiator { secret }, Stage::Waiting { outgoing }) => {
                check()?;
                policy.check_reveal(deal, tips)?;
                let (incoming, outgoing) = (Incoming::Held { id }, Some(outgoing));
                Ok(Stage::Won { preimage: secret, incoming, outgoing })
            }
            _ if self.stage.incoming() == Some(id) => Ok(self.stage),
            _ => Err(self.wrong("take a hold")),
        }
    }

    fn offered(&self, id: HoldId) -> Result<Stage, SwapError> {
        match (self.role, self.stage) {
            (Role::Initiator { .. }, Stage::Agreed) => Ok(Stage::Waiting { outgoing: id }),
            (Role::Responder, Stage::Taken { incoming }) => {
                Ok(Stage::Open { incoming: Incoming::Held { id: incoming }, outgoing: id })
            }
            _ => Err(self.wrong("offer")),
        }
    }

    fn called_off(&self) -> Result<Stage, SwapError> {
        match self.stage {
            Stage::Agreed => Ok(Stage::Stopped { incoming: None, outgoing: None }),
            Stage::Taken { incoming } => {
                Ok(Stage::Stopped { incoming: Some(incoming), outgoing: None })
            }
            // X3: the secret is never shown after it, so that nobody can claim the own hold.
            Stage::Waiting { outgoing } => {
                Ok(Stage::Stopped { incoming: None, outgoing: Some(outgoing) })
            }
            Stage::Stopped { .. } => Ok(self.stage),
            Stage::Open { .. } | Stage::Won { .. } => Err(self.wrong("call off")),
        }
    }

    fn known(&self, preimage: Preimage) -> Result<Stage, SwapError> {
        preimage.check(self.deal.hash)?;
        Ok(match self.stage {
            Stage::Open { incoming, outgoing } => {
                Stage::Won { preimage, incoming, outgoing: Some(outgoing) }
            }
            Stage::Agreed
            | Stage::Taken { .. }
            | Stage::Waiting { .. }
            | Stage::Won { .. }
            | Stage::Stopped { .. } => self.stage,
        })
    }

    /// X6: `depth` blocks after its expiry an output that is still unspent can only be settled too
    /// late, by any voucher: k - 1 blocks are there to time its holds out.
    fn unspent(&self, policy: &Policy, tip: Height) -> Result<Stage, SwapError> {
        let depth = match self.role {
            Role::Initiator { .. } => policy.first.depth,
            Role::Responder => policy.second.depth,
        };
        let lapsed = tip >= self.outgoing().expiry.saturating_after(depth);
        match self.stage.outgoing() {
            Some(_) if lapsed => self.ended(End::Absent),
            _ => Ok(self.stage),
        }
    }

    fn ended(&self, end: End) -> Result<Stage, SwapError> {
        let paid = matches!(end, End::Folded | End::Claimed);
        match self.stage {
            Stage::Won { preimage, incoming, .. } => {
                Ok(Stage::Won { preimage, incoming, outgoing: None })
            }
            // X7: what is paid is paid by the preimage, which is used before it is forgotten.
            Stage::Open { .. } if paid => Err(SwapError::NoPreimage),
            Stage::Open { incoming, .. } => {
                Ok(Stage::Stopped { incoming: incoming.id(), outgoing: None })
            }
            Stage::Waiting { .. } | Stage::Stopped { outgoing: Some(_), .. } => {
                // Paid here, the secret got out some other way: there is nothing left to wait for.
                let incoming = match self.stage {
                    Stage::Stopped { incoming, .. } => incoming,
                    _ => None,
                };
                Ok(Stage::Stopped { incoming, outgoing: None })
            }
            Stage::Stopped { outgoing: None, .. } => Ok(self.stage),
            Stage::Agreed | Stage::Taken { .. } => Err(self.wrong("end")),
        }
    }

    /// X6: a release that comes before the own hold is dead is refused, so that the payee's record
    /// of it is never staged.
    fn released(&self) -> Result<Stage, SwapError> {
        match self.stage {
            Stage::Stopped { outgoing, .. } => Ok(Stage::Stopped { incoming: None, outgoing }),
            Stage::Agreed
            | Stage::Taken { .. }
            | Stage::Waiting { .. }
            | Stage::Open { .. }
            | Stage::Won { .. } => Err(self.wrong("release")),
        }
    }

    fn upstream(&self, now: Incoming) -> Stage {
        let next =
            |incoming| if matches!(incoming, Incoming::Held { .. }) { now } else { incoming };
        match self.stage {
            Stage::Open { incoming, outgoing } => {
                Stage::Open { incoming: next(incoming), outgoing }
            }
            Stage::Won { preimage, incoming, outgoing } => {
                Stage::Won { preimage, incoming: next(incoming), outgoing }
            }
            // Paid without being asked, or given up: nothing was offered for it.
            Stage::Taken { .. } => Stage::Stopped { incoming: None, outgoing: None },
            Stage::Stopped { outgoing, .. } => Stage::Stopped { incoming: None, outgoing },
            Stage::Agreed | Stage::Waiting { .. } => self.stage,
        }
    }

    fn too_late(&self, policy: &Policy, tips: &Tips) -> Stage {
        match self.stage {
            Stage::Agreed | Stage::Taken { .. } | Stage::Waiting { .. }
                if policy.check_time_to_reveal(&self.deal, tips).is_err() =>
            {
                self.called_off().unwrap_or(self.stage)
            }
            _ => self.stage,
        }
    }
}
