//! A hub between senders and receivers that do what they like, with power cuts at every write and
//! either side on the chain while the other is open; and a model that only adds.
//!
//! ```text
//!  senders (Payer) ---> hub: Payee, Hub, Payer, one store ---> receivers (Payee)
//!        |                 |  power cut at any commit                |
//!        '---- order, voucher, fold, silence      preimage, release, silence, any voucher that
//!                          |                      ever left: settled, claimed, early or late
//!                       a chain whose miners side with the neighbours, reorgs included
//! ```
//!
//! The machines are the real ones, every voucher is signed and verified, and what is published are
//! the real transactions; the chain checks inputs, lock times and relative locks, and no scripts
//! (`tests/judge` does). The hub is given exactly the blocks that its policy counts on, and not one
//! more: it is off for up to 2, and its own transactions confirm as late as they may.
//!
//! After every step the model asks: if every receiver published the dearest of all vouchers that
//! ever left for it, and claimed all that could still be claimed, would what the hub holds of its
//! senders cover it? And at the end, when every height has passed and the table must be empty: did
//! it? Both to the millisatoshi, miners' fees apart.
//!
//! Used by `millstream soak --hub`, by `tests/sim_hub.rs` and by the fuzz target `hub_ops`.
//!
//! ```
//! use millstream::sim::hub::Hubs;
//!
//! let hubs = Hubs::new()?;
//! let report = hubs.run(7);
//! assert_eq!((report.lost.to_msat(), report.flaw), (0, None));
//! # Ok::<(), millstream::sim::hub::Flaw>(())
//! ```

pub(in crate::sim) mod cast;
mod claims;
mod counters;
mod deeds;
mod house;
mod model;
mod sky;
mod watch;
mod world;

pub use counters::{Count, Counters};

use crate::hub::HubError;
use crate::signer::SignerError;
use crate::sim::dice::Dice;
use crate::store::StoreError;
use crate::stream::StreamError;
use crate::tx::TxError;
use crate::units::Msat;
use cast::Cast;
use world::World;

/// What one run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The seed that repeats it.
    pub seed: u64,
    /// What happened, how often.
    pub counters: Counters,
    /// What the hub lost of what it forwarded.
    pub lost: Msat,
    /// What it earned: what came in beyond what went on.
    pub earned: Msat,
    /// How many commits its store was asked for.
    pub commits: u64,
    /// The first promise that was broken.
    pub flaw: Option<Flaw>,
}

/// A broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// The receivers could take more than the hub holds.
    #[error("step {step}: receivers could take {owed}, {held} is held for it")]
    Insolvent {
        /// After how many steps.
        step: u32,
        /// What they could take together.
        owed: Msat,
        /// What is paid and can still be claimed of the senders.
        held: Msat,
    },
    /// In the end the hub paid more than it was paid.
    #[error("{lost} is lost")]
    Lost {
        /// How much.
        lost: Msat,
    },
    /// Every height has passed, and forwards are open.
    #[error("{open} forwards are not over")]
    Wedged {
        /// How many.
        open: usize,
    },
    /// The table contradicts itself.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A machine refused what it may not refuse.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A signer refused what it may not refuse.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// A transaction that could not be made.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// A record that could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stage itself is not what it should be.
    #[error("the stage is broken")]
    Stage,
}

/// Channels that were opened once, from which any number of runs start.
#[derive(Debug)]
pub struct Hubs {
    cast: Cast,
}

impl Hubs {
    /// Opens the channels.
    ///
    /// # Errors
    /// None, unless the machines cannot open a channel at all.
    pub fn new() -> Result<Self, Flaw> {
        Ok(Self { cast: Cast::new()? })
    }

    /// One run: 20 to 80 steps of everybody, then every height passes.
    pub fn run(&self, seed: u64) -> Report {
        self.run_told(seed, &mut |_| {})
    }

    /// As [`Self::run`]; `tell` is given each step, for whoever looks for a fault.
    pub fn run_told(&self, seed: u64, tell: &mut dyn FnMut(&dyn core::fmt::Display)) -> Report {
        self.run_dice(seed, Dice::new(seed, 3), None, tell)
    }

    /// As [`Self::run`] without any other power cut than one at commit `cut` of the hub's store,
    /// before it or after it. Crash points are enumerated with it, not sampled.
    pub fn run_cut(&self, seed: u64, cut: (u64, crate::store::fault::Cut)) -> Report {
        self.run_dice(seed, Dice::new(seed, 3), Some(cut), &mut |_| {})
    }

    /// A run whose every choice is made by `bytes`, as long as there are any: two bytes of setting,
    /// then steps, each a byte that names it and its choices.
    pub fn run_bytes(&self, bytes: &[u8]) -> Report {
        self.run_dice(0, Dice::of_bytes(bytes), None, &mut |_| {})
    }

    fn run_dice(
        &self,
        seed: u64,
        dice: Dice,
        cut: Option<(u64, crate::store::fault::Cut)>,
        tell: &mut dyn FnMut(&dyn core::fmt::Display),
    ) -> Report {
        let mut world = match World::new(&self.cast, dice, cut) {
            Ok(world) => world,
            Err(flaw) => return Report::stillborn(seed, flaw),
        };
        let flaw = world.live(tell).err();
        world.report(seed, flaw)
    }
}

impl Report {
    fn stillborn(seed: u64, flaw: Flaw) -> Self {
        let (counters, none) = (Counters::default(), Msat::ZERO);
        Self { seed, counters, lost: none, earned: none, commits: 0, flaw: Some(flaw) }
    }
}
