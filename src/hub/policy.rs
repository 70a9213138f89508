//! What the hub asks for a forward: its fee, and the blocks that keep it from losing.

use super::{HubError, Incoming, Load, Onward};
use crate::tx::hold::ClaimDelay;
use crate::units::{Blocks, Height, Msat, Ppm, Sat};

/// The hub's prices and its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The fee of each forward.
    pub base: Msat,
    /// The fee on what goes on, rounded up to the millisatoshi.
    pub rate: Ppm,
    /// The smallest incoming hold: what is worth claiming on the chain.
    pub least: Sat,
    /// The longest that an outgoing hold may lock the hub's money, from the order on.
    pub lock_max: Blocks,
    /// Within how many blocks a timeout of the hub's confirms.
    pub reaction: Blocks,
    /// Within how many blocks a settlement of the hub's confirms.
    pub settling: Blocks,
    /// How deep a block must be to stay.
    pub depth: Blocks,
    /// The most forwards at once, over all channels: each is a record of some 200 bytes.
    pub forwards_max: u32,
}

impl Policy {
    /// The hub's fee for passing `due` on: base + ceil(due x rate / 10^6).
    ///
    /// # Errors
    /// [`HubError::Fee`] above all money.
    pub fn fee(&self, due: Msat) -> Result<Msat, HubError> {
        Ok(self.base.add(self.rate.ceil_of(due))?)
    }

    /// What an incoming hold must pay at least for `load` to go on: the load and the fee, and no
    /// less than the load in whole satoshis, which is all that a claim on the chain brings.
    ///
    /// # Errors
    /// [`HubError::Fee`] above all money.
    pub fn price(&self, load: &Load) -> Result<Msat, HubError> {
        let due = load.due();
        Ok(due.add(self.fee(due)?)?.max(due.ceil_to_sat().to_msat()))
    }

    /// The earliest expiry of an incoming hold with claim delay `k` and settle margin `margin`, if
    /// the outgoing one ends at `onward`: onward + reaction + depth + settling + k + margin.
    ///
    /// # Errors
    /// [`HubError::NoHeight`] above all heights.
    pub fn expiry(
        &self,
        onward: Height,
        k: ClaimDelay,
        margin: Blocks,
    ) -> Result<Height, HubError> {
        let delta = [self.reaction, self.depth, self.settling, k.to_blocks(), margin];
        let sum =
            delta.iter().try_fold(onward.to_u32(), |sum, more| sum.checked_add(more.to_u32()));
        sum.and_then(|sum| Height::new(sum).ok()).ok_or(HubError::NoHeight { onward })
    }

    pub(super) fn check_itself(&self) -> Result<(), HubError> {
        let blocks = [self.reaction, self.settling, self.depth];
        if blocks.contains(&Blocks::MIN) {
            let Self { reaction, settling, depth, .. } = *self;
            return Err(HubError::Policy { reaction, settling, depth });
        }
        Ok(())
    }

    /// H1 and H2 for a new forward.
    pub(super) fn check(
        &self,
        incoming: &Incoming,
        onward: &Onward,
        tip: Height,
    ) -> Result<(), HubError> {
        onward.load.check()?;
        let hold = &incoming.hold;
        let channel = onward.channel;
        if incoming.channel == channel {
            return Err(HubError::SameChannel { channel });
        }
        if incoming.due.floor_to_sat() != hold.amount {
            return Err(HubError::WrongDue { held: hold.amount, due: incoming.due });
        }
        if hold.amount < self.least {
            return Err(HubError::BelowLeast { got: hold.amount, least: self.least });
        }
        let want = self.price(&onward.load)?;
        if incoming.due < want {
            return Err(HubError::Underpaid { got: incoming.due, want });
        }
        let want = self.reaction.saturating_add(self.depth);
        if onward.delay.to_blocks() <= want {
            return Err(HubError::DelayShort { k: onward.delay.to_u16(), above: want });
        }
        let last = tip.saturating_after(self.lock_max);
        if onward.expiry <= tip || onward.expiry > last {
            return Err(HubError::LockTooLong { expiry: onward.expiry, tip, last });
        }
        let want = self.expiry(onward.expiry, hold.delay, incoming.margin)?;
        if hold.expiry < want {
            return Err(HubError::ExpiryTooNear { got: hold.expiry, want });
        }
        Ok(())
    }
}
