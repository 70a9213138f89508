//! What the hub makes of what it is told: one function, the table of the room's page.

use alloc::vec::Vec;

use bitcoin::OutPoint;

use super::step::Change;
use super::{Forward, HoldRef, Hub, HubError, HubStep, Incoming, Load, Onward, Stage, Upstream};
use crate::tx::hold::Preimage;
use crate::units::{Height, HoldId};

/// What the machines of both sides and the chain have shown.
///
/// The driver gives what is durable in its machines or stands on its chain. Any of them may come
/// again, and in any order: what is old is refused, or changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// The sender asks for a forward of its hold. A refusal leaves nothing behind, and the incoming
    /// hold may be released: nothing was offered for it.
    Order {
        /// The incoming hold, durable and open.
        incoming: Incoming,
        /// What goes on.
        onward: Onward,
        /// The tip's height.
        tip: Height,
    },
    /// The payer made a step with the outgoing hold: its record is in the same batch.
    Offered {
        /// The incoming hold.
        incoming: HoldRef,
        /// The id that the outgoing hold has.
        id: HoldId,
    },
    /// The payer refuses the hold for good: nothing was offered.
    Declined {
        /// The incoming hold.
        incoming: HoldRef,
    },
    /// A preimage, from the receiver or from the chain. It decides every forward of its hash.
    Preimage(Preimage),
    /// The payer folded the outgoing hold: its record is in the same batch.
    Folded {
        /// The outgoing hold.
        outgoing: HoldRef,
    },
    /// The outgoing channel's output is unspent in the chain up to and with `tip`.
    Unspent {
        /// The outgoing channel.
        channel: OutPoint,
        /// The height of the tip that was looked at.
        tip: Height,
    },
    /// The outgoing hold has come to an end, which cannot be undone.
    Over {
        /// The outgoing hold.
        outgoing: HoldRef,
        /// Which.
        end: End,
    },
    /// The payee released the incoming hold: its record is in the same batch.
    Released {
        /// The incoming hold.
        incoming: HoldRef,
    },
    /// The incoming hold was folded, or its claim on the chain is `depth` deep.
    Paid {
        /// The incoming hold.
        incoming: HoldRef,
    },
    /// The incoming hold can bring nothing any more: its expiry is `depth` blocks past and it was
    /// not claimed, or its channel's output is spent without it, `depth` deep.
    Past {
        /// The incoming hold.
        incoming: HoldRef,
    },
    /// The tip's height: what was not offered in time is not offered.
    Tip(Height),
}

/// How an outgoing hold ended, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The channel's output is spent `depth` deep, by a transaction without the hold: a settlement
    /// of another voucher, a close, a top-up, a refund. Holds of equal hash and expiry have one
    /// script, and nothing on the chain tells them apart: an output of it is either's.
    Absent,
    /// The hub's own timeout of the hold is `depth` deep; of every output of its script.
    TimedOut,
    /// No voucher with the hold can cost more than the channel has paid since: publishing one would
    /// only hurt the receiver. The payer forgets such a hold.
    Covered,
    /// The receiver's claim is `depth` deep. Its preimage comes first.
    Claimed,
}

impl Hub {
    /// Decides on an input; nothing changes before the step is staged and applied.
    ///
    /// # Errors
    /// Whatever an order gets wrong; [`HubError::NoForward`] for a hold that is not forwarded, or
    /// not any more; [`HubError::WrongStage`], [`HubError::NoPreimage`],
    /// [`HubError::OutgoingTaken`] for a driver that is confused.
    pub fn decide(&self, input: &Input) -> Result<HubStep, HubError> {
        match *input {
            Input::Order { incoming, onward, tip } => self.order(&incoming, onward, tip),
            Input::Offered { incoming, id } => self.offered(incoming, id),
            Input::Declined { incoming } => self.declined(incoming),
            Input::Preimage(preimage) => Ok(self.known(preimage)),
            Input::Folded { outgoing } => self.folded(outgoing),
            Input::Unspent { channel, tip } => Ok(self.unspent(channel, tip)),
            Input::Over { outgoing, end } => self.over(outgoing, end),
            Input::Released { incoming } => self.released(incoming),
            Input::Paid { incoming } => self.upstream(incoming, Upstream::Paid),
            Input::Past { incoming } => self.upstream(incoming, Upstream::Past),
            Input::Tip(tip) => Ok(self.too_late(tip)),
        }
    }

    /// H1, H2, H6: the order itself.
    fn order(&self, incoming: &Incoming, onward: Onward, tip: Height) -> Result<HubStep, HubError> {
        let after = Forward::new(incoming, onward);
        let at = after.incoming;
        if let Some(known) = self.forwards.get(&at) {
            // A hold that has grown since is the same hold; what it grew by is the hub's.
            let same = known.onward == onward && known.hash == after.hash;
            return if same { Ok(HubStep::default()) } else { Err(HubError::Twice { at }) };
        }
        self.policy.check(incoming, &onward, tip)?;
        self.check_merge(&after)?;
        let max = self.policy.forwards_max;
        if u32::try_from(self.forwards.len()).map_or(true, |open| open >= max) {
            return Err(HubError::TooMany { max });
        }
        Ok(HubStep { changes: Vec::from([Change { before: None, after }]) })
    }

    /// H6: a payer merges bundles of equal hash and expiry into one hold, which is one forward's.
    fn check_merge(&self, new: &Forward) -> Result<(), HubError> {
        let is_bundle = |forward: &Forward| matches!(forward.onward.load, Load::Bundle { .. });
        let mut into = self.into_channel(new.onward.channel);
        let other = into.find(|other| {
            let open = matches!(
                other.stage,
                Stage::Ready | Stage::Offered { .. } | Stage::Won { settled: false, .. }
            );
            let same = (other.hash, other.onward.expiry) == (new.hash, new.onward.expiry);
            open && same && is_bundle(other) && is_bundle(new)
        });
        other.map_or(Ok(()), |other| Err(HubError::WouldMerge { with: other.incoming }))
    }

    fn offered(&self, incoming: HoldRef, id: HoldId) -> Result<HubStep, HubError> {
        let before = self.get(incoming)?;
        let Stage::Ready = before.stage else {
            return Err(wrong(before, "offer"));
        };
        let outgoing = HoldRef { channel: before.onward.channel, id };
        if self.of_outgoing(outgoing).is_ok() {
            return Err(HubError::OutgoingTaken { outgoing });
        }
        Ok(to_stage(before, Stage::Offered { id }))
    }

    fn declined(&self, incoming: HoldRef) -> Result<HubStep, HubError> {
        let before = self.get(incoming)?;
        match before.stage {
            Stage::Ready => Ok(to_stage(before, Stage::Dead)),
            Stage::Dead => Ok(HubStep::default()),
            // H5: what was offered once is claimed until it is dead for sure.
            Stage::Offered { .. } | Stage::Won { .. } => Err(wrong(before, "decline")),
        }
    }

    fn known(&self, preimage: Preimage) -> HubStep {
        let hash = preimage.hash();
        let from = self.by_hash.range((hash, HoldRef::first())..).take_while(|(of, _)| *of == hash);
        let forwards = from.filter_map(|(_, at)| self.forwards.get(at));
        let changes = forwards.filter_map(|before| match before.stage {
            Stage::Offered { id } => {
                let stage = Stage::Won { id, preimage, settled: false };
                Some(Change { before: Some(*before), after: Forward { stage, ..*before } })
            }
            // Not offered: nobody can ask the hub for it. Dead: nobody can any more.
            Stage::Ready | Stage::Won { .. } | Stage::Dead => None,
        });
        HubStep { changes: changes.collect() }
    }

    fn folded(&self, outgoing: HoldRef) -> Result<HubStep, HubError> {
        let before = self.of_outgoing(outgoing)?;
        match before.stage {
            Stage::Won { .. } => Ok(settled(before)),
            Stage::Ready | Stage::Offered { .. } | Stage::Dead => Err(wrong(before, "fold")),
        }
    }

    /// H5: `depth` blocks after its expiry an output that is still unspent can only be settled too
    /// late, by any voucher: the hub has k - 1 blocks to time its holds out (H2).
    fn unspent(&self, channel: OutPoint, tip: Height) -> HubStep {
        let lapsed = self
            .into_channel(channel)
            .filter(|forward| tip >= forward.onward.expiry.saturating_after(self.policy.depth));
        let changes = lapsed.flat_map(|before| match before.stage {
            Stage::Offered { .. } => to_stage(before, Stage::Dead).changes,
            Stage::Won { .. } => settled(before).changes,
            Stage::Ready | Stage::Dead => Vec::new(),
        });
        HubStep { changes: changes.collect() }
    }

    fn over(&self, outgoing: HoldRef, end: End) -> Result<HubStep, HubError> {
        let before = self.of_outgoing(outgoing)?;
        match (before.stage, end) {
            (Stage::Won { .. }, _) => Ok(settled(before)),
            (Stage::Offered { .. }, End::Claimed) => Err(HubError::NoPreimage { outgoing }),
            (Stage::Offered { .. }, End::Absent | End::TimedOut | End::Covered) => {
                Ok(to_stage(before, Stage::Dead))
            }
            (Stage::Ready | Stage::Dead, _) => Err(wrong(before, "end")),
        }
    }

    /// H5: a release that comes before the outgoing hold is dead is refused, so that the payee's
    /// record of it is never staged.
    fn released(&self, incoming: HoldRef) -> Result<HubStep, HubError> {
        let before = self.get(incoming)?;
        match before.stage {
            Stage::Dead => self.upstream(incoming, Upstream::Past),
            Stage::Ready | Stage::Offered { .. } | Stage::Won { .. } => {
                Err(wrong(before, "release"))
            }
        }
    }

    fn upstream(&self, incoming: HoldRef, now: Upstream) -> Result<HubStep, HubError> {
        let before = self.get(incoming)?;
        if before.upstream != Upstream::Held {
            return Ok(HubStep::default());
        }
        Ok(change(before, Forward { upstream: now, ..*before }))
    }

    fn too_late(&self, tip: Height) -> HubStep {
        let late = self.forwards.values().filter(|forward| {
            matches!(forward.stage, Stage::Ready) && tip >= forward.onward.expiry
        });
        HubStep { changes: late.flat_map(|before| to_stage(before, Stage::Dead).changes).collect() }
    }

    fn get(&self, at: HoldRef) -> Result<&Forward, HubError> {
        self.forwards.get(&at).ok_or(HubError::NoForward { at })
    }

    fn of_outgoing(&self, at: HoldRef) -> Result<&Forward, HubError> {
        let mut into = self.into_channel(at.channel);
        into.find(|forward| forward.outgoing() == Some(at)).ok_or(HubError::NoForward { at })
    }
}

const fn wrong(forward: &Forward, act: &'static str) -> HubError {
    HubError::WrongStage { stage: forward.stage.name(), act }
}

fn change(before: &Forward, after: Forward) -> HubStep {
    debug_assert!(after.may_follow(before), "{after:?} after {before:?}");
    HubStep { changes: Vec::from([Change { before: Some(*before), after }]) }
}

fn to_stage(before: &Forward, stage: Stage) -> HubStep {
    change(before, Forward { stage, ..*before })
}

/// Nothing is left to do for the receiver.
fn settled(before: &Forward) -> HubStep {
    match before.stage {
        Stage::Won { id, preimage, settled: false } => {
            to_stage(before, Stage::Won { id, preimage, settled: true })
        }
        _ => HubStep::default(),
    }
}
