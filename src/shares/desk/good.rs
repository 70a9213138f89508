//! The proof that a share was checked.

use crate::shares::Share;
use crate::units::{UtcSeconds, Work};

/// A share that was checked and found good: only a [`Desk`](super::Desk) makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it counts once it is applied"]
pub struct Good {
    pub(super) share: Share,
    pub(super) hash: [u8; 32],
    pub(super) work: Work,
    pub(super) network_work: Work,
    pub(super) block: bool,
    /// Number of the job's tip on its desk.
    pub(super) tip: u32,
    /// Whether the budget allowed it: else it is a block, and worth nothing beside.
    pub(super) within: bool,
    /// When it was checked.
    pub(super) at: UtcSeconds,
}

impl Good {
    /// What the worker sent.
    #[must_use]
    pub const fn share(&self) -> &Share {
        &self.share
    }

    /// What it is worth: the work of the target assigned to it, or nothing in an unpaid grace, and
    /// of a block above the budget.
    #[must_use]
    pub const fn work(&self) -> Work {
        self.work
    }

    /// The work that a block took on the share's tip.
    #[must_use]
    pub const fn network_work(&self) -> Work {
        self.network_work
    }

    /// Whether it is a block: then submit it at once. Its header is [`Desk::header`](super::Desk).
    #[must_use]
    pub const fn is_block(&self) -> bool {
        self.block
    }

    /// The double hash of its header; the last byte counts most.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }
}
