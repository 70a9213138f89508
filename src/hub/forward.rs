//! One forward: the incoming hold, what goes on, and where both sides stand.

use bitcoin::hashes::Hash as _;
use bitcoin::{OutPoint, Txid};

use super::HubError;
use crate::tx::hold::{ClaimDelay, Hold, PaymentHash, Preimage};
use crate::units::{Blocks, Height, HoldId, Msat, Sat};

/// 2^20: what one batch, and so one bundle, has at most.
const ITEMS_MAX: u32 = 1 << 20;

/// One hold of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldRef {
    /// The channel's outpoint.
    pub channel: OutPoint,
    /// The hold's id in it.
    pub id: HoldId,
}

impl HoldRef {
    /// The first of all in their order.
    pub(super) fn first() -> Self {
        Self { channel: OutPoint { txid: Txid::all_zeros(), vout: 0 }, id: HoldId::MIN }
    }
}

/// What a hold carries: one payment, or a bundle of many behind one hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// One payment.
    Single(Sat),
    /// A bundle: the root of the tree over its items, how many there are, and what they cost.
    Bundle {
        /// The root.
        root: [u8; 32],
        /// The items, 1 ..= 2^20.
        items: u32,
        /// What a fold pays.
        total: Msat,
    },
}

impl Load {
    /// What a fold pays.
    #[must_use]
    pub const fn due(&self) -> Msat {
        match self {
            Self::Single(amount) => amount.to_msat(),
            Self::Bundle { total, .. } => *total,
        }
    }

    /// What the hold is worth on the chain: the due amount in whole satoshis, rounded down.
    #[must_use]
    pub const fn amount(&self) -> Sat {
        self.due().floor_to_sat()
    }

    pub(super) const fn check(&self) -> Result<(), HubError> {
        match *self {
            Self::Bundle { items, .. } if items == 0 || items > ITEMS_MAX => {
                Err(HubError::BundleItems { got: items, max: ITEMS_MAX })
            }
            Self::Single(_) | Self::Bundle { .. } => Ok(()),
        }
    }
}

/// An incoming hold that is durable and open in the best voucher of the hub's payee machine.
///
/// A hold that was released is not open: it is never forwarded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming {
    /// The incoming channel's outpoint.
    pub channel: OutPoint,
    /// The hold.
    pub hold: Hold,
    /// What a fold of it pays: its bundle's total, or its own amount.
    pub due: Msat,
    /// The incoming channel's settle margin.
    pub margin: Blocks,
}

impl Incoming {
    /// Which hold it is.
    #[must_use]
    pub const fn at(&self) -> HoldRef {
        HoldRef { channel: self.channel, id: self.hold.id }
    }

    /// By when its settlement must be confirmed if its preimage is known: t - k - margin.
    #[must_use]
    pub fn settle_by(&self) -> Height {
        let after = self.hold.delay.to_blocks();
        self.hold.expiry.saturating_before(after).saturating_before(self.margin)
    }
}

/// What goes on to the receiver, under the hash of the incoming hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Onward {
    /// The outgoing channel's outpoint.
    pub channel: OutPoint,
    /// The claim's delay in that channel, by its terms.
    pub delay: ClaimDelay,
    /// How much.
    pub load: Load,
    /// Until when.
    pub expiry: Height,
}

/// Where the outgoing side stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The order is durable; nothing was offered.
    Ready,
    /// A voucher with the outgoing hold may have left.
    Offered {
        /// The outgoing hold.
        id: HoldId,
    },
    /// The preimage is known: what came in is claimed, what went out is folded.
    Won {
        /// The outgoing hold.
        id: HoldId,
        /// The preimage.
        preimage: Preimage,
        /// Whether nothing is left to do for the receiver: it was folded, claimed, or has lapsed.
        settled: bool,
    },
    /// Nothing was offered, or the outgoing hold can never be claimed any more.
    Dead,
}

impl Stage {
    /// The stage in one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Offered { .. } => "offered",
            Self::Won { .. } => "won",
            Self::Dead => "dead",
        }
    }

    /// The order in which they follow each other.
    const fn rank(&self) -> u8 {
        match self {
            Self::Ready => 0,
            Self::Offered { .. } => 1,
            Self::Won { settled: false, .. } => 2,
            Self::Won { settled: true, .. } | Self::Dead => 3,
        }
    }
}

/// Where the incoming side stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// It can still be claimed.
    Held,
    /// It was folded, or claimed on the chain for good.
    Paid,
    /// It can bring nothing any more: released, past, or spent without it.
    Past,
}

/// One forward: the record that the hub stores, under the incoming hold. See
/// [`record`](Forward::encode) for its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    pub(super) incoming: HoldRef,
    pub(super) hash: PaymentHash,
    pub(super) due: Msat,
    pub(super) expiry: Height,
    pub(super) settle_by: Height,
    pub(super) onward: Onward,
    pub(super) stage: Stage,
    pub(super) upstream: Upstream,
}

impl Forward {
    pub(super) fn new(incoming: &Incoming, onward: Onward) -> Self {
        Self {
            incoming: incoming.at(),
            hash: incoming.hold.hash,
            due: incoming.due,
            expiry: incoming.hold.expiry,
            settle_by: incoming.settle_by(),
            onward,
            stage: Stage::Ready,
            upstream: Upstream::Held,
        }
    }

    /// The incoming hold.
    #[must_use]
    pub const fn incoming(&self) -> HoldRef {
        self.incoming
    }

    /// The outgoing hold, once it was offered and as long as it matters.
    #[must_use]
    pub const fn outgoing(&self) -> Option<HoldRef> {
        match self.stage {
            Stage::Offered { id } | Stage::Won { id, .. } => {
                Some(HoldRef { channel: self.onward.channel, id })
            }
            Stage::Ready | Stage::Dead => None,
        }
    }

    /// The hash of both holds.
    #[must_use]
    pub const fn hash(&self) -> PaymentHash {
        self.hash
    }

    /// What the receiver is offered.
    #[must_use]
    pub const fn onward(&self) -> &Onward {
        &self.onward
    }

    /// Where the outgoing side stands.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Where the incoming side stands.
    #[must_use]
    pub const fn upstream(&self) -> Upstream {
        self.upstream
    }

    /// What the hub earns if both sides are folded.
    #[must_use]
    pub const fn fee(&self) -> Msat {
        self.due.saturating_sub(self.onward.load.due())
    }

    /// By when the incoming channel's settlement must be confirmed, once the preimage is known.
    #[must_use]
    pub const fn settle_by(&self) -> Height {
        self.settle_by
    }

    /// The hub had to pay and was not paid: it missed [`Self::settle_by`]. This never happens to a
    /// hub that keeps its blocks; the driver says it loudly.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!((self.stage, self.upstream), (Stage::Won { .. }, Upstream::Past))
    }

    /// H7: whether nothing is left on either side, so that it may be forgotten.
    pub(super) const fn is_over(&self) -> bool {
        match (self.stage, self.upstream) {
            (Stage::Ready | Stage::Offered { .. }, Upstream::Held | Upstream::Paid)
            | (Stage::Offered { .. }, Upstream::Past)
            | (Stage::Won { settled: false, .. }, _)
            | (Stage::Won { settled: true, .. } | Stage::Dead, Upstream::Held) => false,
            (Stage::Ready, Upstream::Past)
            | (Stage::Won { settled: true, .. } | Stage::Dead, Upstream::Paid | Upstream::Past) => {
                true
            }
        }
    }

    /// H1 and H4 in every record: what comes in covers what goes on, and a preimage fits.
    pub(super) fn holds_together(&self) -> bool {
        let fits = match self.stage {
            Stage::Won { preimage, .. } => preimage.hash() == self.hash,
            Stage::Ready | Stage::Offered { .. } | Stage::Dead => true,
        };
        let due = self.onward.load.due();
        fits && self.onward.load.check().is_ok()
            && self.due.floor_to_sat().to_msat() >= due
            && self.onward.expiry < self.settle_by
            && self.settle_by < self.expiry
            && self.incoming.channel != self.onward.channel
    }

    /// Whether this version may come after `before`: what was agreed stays, and stages only rise.
    pub(super) fn may_follow(&self, before: &Self) -> bool {
        let agreed = Self { stage: before.stage, upstream: before.upstream, ..*self };
        let upstream = before.upstream == Upstream::Held || self.upstream == before.upstream;
        let same = match (before.outgoing(), self.outgoing()) {
            (Some(before), Some(now)) => before == now,
            _ => true,
        };
        agreed == *before && upstream && same && self.stage.rank() >= before.stage.rank()
    }
}
