//! What the two agree on, what they count on of each chain, and the rules between the two clocks.

use bitcoin::OutPoint;

use super::{Role, SwapError};
use crate::tx::hold::{ClaimDelay, Hold, PaymentHash};
use crate::tx::seen::Tip;
use crate::units::{Blocks, Height, Sat, Seconds, UtcSeconds};

/// One side of the exchange: a hold in a channel of one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// The channel.
    pub channel: OutPoint,
    /// How much, in satoshis of its chain.
    pub amount: Sat,
    /// Until which height of its chain.
    pub expiry: Height,
    /// The claim's delay of its channel (k).
    pub delay: ClaimDelay,
    /// The settle margin of its channel.
    pub margin: Blocks,
}

impl Leg {
    /// By when its payee has its settlement confirmed: expiry - k - margin.
    #[must_use]
    pub fn settle_by(&self) -> Height {
        self.expiry.saturating_before(self.delay.to_blocks()).saturating_before(self.margin)
    }

    /// Refuses a hold that is not, or is less than, what was agreed.
    pub(super) fn check(&self, hash: PaymentHash, hold: &Hold) -> Result<(), SwapError> {
        if hold.hash != hash {
            return Err(SwapError::WrongHash { want: hash });
        }
        if hold.amount < self.amount {
            return Err(SwapError::Underpaid { got: hold.amount, want: self.amount });
        }
        if hold.expiry < self.expiry {
            return Err(SwapError::EndsEarly { got: hold.expiry, want: self.expiry });
        }
        if hold.delay > self.delay {
            let (got, want) = (hold.delay.to_u16(), self.delay.to_u16());
            return Err(SwapError::ClaimsLate { got, want });
        }
        Ok(())
    }
}

/// What both agree on before anything is offered: one hash, and a hold on each chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deal {
    /// The hash of the initiator's secret. A hash that was used before is nobody's secret.
    pub hash: PaymentHash,
    /// From the initiator to the responder; offered first, and ends last.
    pub first: Leg,
    /// From the responder to the initiator, on the other chain.
    pub second: Leg,
}

impl Deal {
    /// The leg that `role` is paid by.
    #[must_use]
    pub const fn incoming(&self, role: Role) -> &Leg {
        match role {
            Role::Initiator { .. } => &self.second,
            Role::Responder => &self.first,
        }
    }

    /// The leg that `role` pays.
    #[must_use]
    pub const fn outgoing(&self, role: Role) -> &Leg {
        match role {
            Role::Initiator { .. } => &self.first,
            Role::Responder => &self.second,
        }
    }
}

/// What one counts on of one chain: how fast its blocks come, and how many our transactions take.
///
/// `n` blocks take `fast` x n - `slack` at least, and `slow` x n + `slack` at most. Blocks come by
/// chance, so that single ones may come at any time; the slack is for a run of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Seconds from block to block at the fastest.
    pub fast: Seconds,
    /// Seconds from block to block at the slowest.
    pub slow: Seconds,
    /// How much sooner or later than that a run of blocks may be.
    pub slack: Seconds,
    /// Within how many blocks a timeout of ours confirms.
    pub reaction: Blocks,
    /// Within how many blocks a settlement of ours confirms, our own absence included.
    pub settling: Blocks,
    /// How deep a block must be to stay.
    pub depth: Blocks,
}

impl Pace {
    /// A chain with a block every `spacing` on average, in which what is `depth` deep stays: two
    /// thirds of it at the fastest, half more at the slowest, and twelve blocks of slack; six
    /// blocks for a timeout, and six for a settlement.
    ///
    /// Where miners do not change and the difficulty holds, a run of any length is outside of that
    /// with a probability below 1 in 10,000 (the largest: 14 blocks that take more than 33).
    #[must_use]
    pub fn new(spacing: Seconds, depth: Blocks) -> Self {
        let seconds = spacing.to_u64();
        let scaled = |by: u64, of: u64| {
            Seconds::new(seconds.saturating_mul(by).div_ceil(of)).unwrap_or(Seconds::MAX)
        };
        let six = Blocks::new(6).unwrap_or(Blocks::MAX);
        Self {
            fast: Seconds::new(seconds.saturating_mul(2).div_euclid(3)).unwrap_or(Seconds::MIN),
            slow: scaled(3, 2),
            slack: scaled(12, 1),
            reaction: six,
            settling: six,
            depth,
        }
    }

    fn check(&self) -> Result<(), SwapError> {
        let blocks = [self.reaction, self.settling, self.depth];
        if self.fast.to_u64() == 0 || self.fast > self.slow || blocks.contains(&Blocks::MIN) {
            return Err(SwapError::Pace { fast: self.fast, slow: self.slow });
        }
        Ok(())
    }

    /// X5: a tip that is older than blocks can be is not the chain's.
    fn check_live(&self, tip: &Tip, now: UtcSeconds) -> Result<(), SwapError> {
        let (age, max) = (age_of(tip, now)?, self.slow.saturating_add(self.slack));
        if age > max { Err(SwapError::StalledTip { age, max }) } else { Ok(()) }
    }

    /// The time by which `blocks` more blocks have come, at the slowest.
    fn latest(&self, blocks: Blocks) -> Option<u64> {
        let run = self.slow.to_u64().checked_mul(u64::from(blocks.to_u32()))?;
        run.checked_add(self.slack.to_u64())
    }

    /// The blocks that may come within `seconds`, at the fastest.
    fn most_within(&self, seconds: u64) -> Option<Blocks> {
        let blocks = seconds.checked_add(self.slack.to_u64())?.div_ceil(self.fast.to_u64());
        u32::try_from(blocks).ok().and_then(|blocks| Blocks::new(blocks).ok())
    }
}

/// How long the chain has shown no block. Of a tip that is dated ahead nobody can say.
fn age_of(tip: &Tip, now: UtcSeconds) -> Result<Seconds, SwapError> {
    if tip.time > now {
        return Err(SwapError::TipAhead { time: tip.time, now });
    }
    Ok(now.saturating_since(tip.time))
}

/// The last blocks of both chains, and the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tips {
    /// Of the first leg's chain.
    pub first: Tip,
    /// Of the second leg's chain.
    pub second: Tip,
    /// The time.
    pub now: UtcSeconds,
}

/// What a party counts on, and for how long it lets its money be locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The first leg's chain.
    pub first: Pace,
    /// The second leg's chain.
    pub second: Pace,
    /// The longest that its own hold may last, at the slowest that its chain may be.
    pub lock_max: Seconds,
}

impl Policy {
    /// The last height of the second chain, exclusive, at which the secret may be shown: after it
    /// the settlement might come too late (X3).
    #[must_use]
    pub fn reveal_by(&self, second: &Leg) -> Height {
        second.settle_by().saturating_before(self.second.settling)
    }

    /// The earliest expiry of a first leg with claim delay `k` and settle margin `margin`, if the
    /// second one ends at `second` (X2).
    ///
    /// The secret may come out until `second` + `reaction` + `depth` on the second chain, at its
    /// slowest; from then on `settling` + `margin` + `k` blocks must be left on the first one, at
    /// its fastest, counted from the time of its tip: blocks since then may be there, and hidden.
    /// Whoever makes a deal adds a few blocks for the time that the offers take.
    ///
    /// # Errors
    /// [`SwapError::NoHeight`] above all heights; [`SwapError::TipAhead`].
    pub fn first_expiry(
        &self,
        second: Height,
        k: ClaimDelay,
        margin: Blocks,
        tips: &Tips,
    ) -> Result<Height, SwapError> {
        let none = SwapError::NoHeight { second };
        let last =
            second.saturating_after(self.second.reaction).saturating_after(self.second.depth);
        let blocks = last.saturating_since(tips.second.height);
        let seconds = self.second.latest(blocks).ok_or(none)?;
        let hidden = age_of(&tips.first, tips.now)?.to_u64();
        let passed = seconds.checked_add(hidden).and_then(|all| self.first.most_within(all));
        let passed = passed.ok_or(none)?;
        let delta = [passed, self.first.settling, k.to_blocks(), margin];
        let from = tips.first.height.to_u32();
        let sum = delta.iter().try_fold(from, |sum, more| sum.checked_add(more.to_u32()));
        sum.and_then(|sum| Height::new(sum).ok()).ok_or(none)
    }

    /// X1, X2, X4, X5: whether `role` may offer its leg now.
    pub(super) fn check_offer(
        &self,
        deal: &Deal,
        role: Role,
        tips: &Tips,
    ) -> Result<(), SwapError> {
        self.first.check()?;
        self.second.check()?;
        self.check_live(tips)?;
        let (pace, tip) = match role {
            Role::Initiator { .. } => (&self.first, tips.first.height),
            Role::Responder => (&self.second, tips.second.height),
        };
        let leg = deal.outgoing(role);
        let above = pace.reaction.saturating_add(pace.depth);
        if leg.delay.to_blocks() <= above {
            return Err(SwapError::DelayShort { k: leg.delay.to_u16(), above });
        }
        let lasts = pace.latest(leg.expiry.saturating_since(tip));
        let lasts = lasts.and_then(|lasts| Seconds::new(lasts).ok()).unwrap_or(Seconds::MAX);
        if lasts > self.lock_max {
            return Err(SwapError::LockTooLong { lasts, max: self.lock_max });
        }
        self.check_time_to_reveal(deal, tips)?;
        match role {
            Role::Initiator { .. } => Ok(()),
            Role::Responder => self.check_order(deal, tips),
        }
    }

    /// X3, X5: whether the initiator may show its secret now.
    pub(super) fn check_reveal(&self, deal: &Deal, tips: &Tips) -> Result<(), SwapError> {
        // Money comes from the second chain alone; what the first one does is the responder's care.
        self.second.check_live(&tips.second, tips.now)?;
        self.check_time_to_reveal(deal, tips)
    }

    pub(super) fn check_time_to_reveal(&self, deal: &Deal, tips: &Tips) -> Result<(), SwapError> {
        let (tip, by) = (tips.second.height, self.reveal_by(&deal.second));
        if tip >= by { Err(SwapError::TooLate { tip, by }) } else { Ok(()) }
    }

    /// X2: the first leg ends late enough after the second.
    fn check_order(&self, deal: &Deal, tips: &Tips) -> Result<(), SwapError> {
        let Leg { expiry: got, delay, margin, .. } = deal.first;
        let want = self.first_expiry(deal.second.expiry, delay, margin, tips)?;
        if got < want { Err(SwapError::ExpiryTooNear { got, want }) } else { Ok(()) }
    }

    fn check_live(&self, tips: &Tips) -> Result<(), SwapError> {
        self.first.check_live(&tips.first, tips.now)?;
        self.second.check_live(&tips.second, tips.now)
    }
}
