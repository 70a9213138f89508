//! One payer, one payee, one chain, and everything that can go wrong, drawn from a seed.
//!
//! ```text
//!   seed --> Rates, terms --> open (zero-conf or deep) --> 20..=60 steps --> calm --> the end
//!                                                          |   ^
//!   pay, tick, settle, batch, replace, top up, close,      |   '-- oracles after every step
//!   open, replace a funding, change the tariff, ..         |
//!   cut, reboot, full, rot, reorg, stall, ..               '-- duties of the two owners
//! ```
//!
//! The machines are the real node, store and signer; the weather, the disks and the chain are the
//! world's. What leaves a machine is seen by an observer, so that the oracles hold the machines
//! against what was really signed and really acknowledged, not against what they remember. After
//! the faults stop, a payment must go through where the channel allows one, and every channel must
//! end on the chain within a bounded number of blocks; then each outpoint's account is made up, and
//! every buried spend is held against the vouchers that left the payer.
//!
//! One run is a function of its seed: the trace is the SHA-256 of everything both sides told.
//! Used by `millstream soak`, by `tests/sim_pair.rs` and by the fuzz target `pair`.
//!
//! ```
//! use millstream::sim::pair::Pairs;
//!
//! let pairs = Pairs::unchecked();
//! let report = pairs.run(7);
//! assert_eq!(report.failure, None);
//! assert_eq!(report.trace, pairs.run(7).trace);
//! ```

mod accounts;
mod counters;
mod duties;
mod ending;
mod faults;
mod lines;
mod metered;
mod oracle;
mod sky;
mod stage;
mod standing;
mod statements;
mod steps;
mod topup;

pub use counters::{Count, Counters};

use bitcoin::OutPoint;

use crate::chain::regtest::Regtest;
use crate::node::NodeError;
use crate::sim::world::{World, WorldError};
use crate::store::fault::Cut;
use crate::units::{Msat, Sat, SessionId};
use stage::{Keys, Pair, Plan};

/// One run in this many checks scripts by Bitcoin Core's interpreter, where it is built in.
const CHECKED_EVERY: u64 = 16;

/// What one run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The seed that repeats it.
    pub seed: u64,
    /// What happened, how often.
    pub counters: Counters,
    /// The hash of everything that both sides told.
    pub trace: [u8; 32],
    /// How many commits the payer's and the payee's store were asked for.
    pub commits: [u64; 2],
    /// What the payee lost beyond its window, over all outpoints.
    pub lost: Msat,
    /// The first promise that was broken.
    pub failure: Option<Failure>,
}

/// One power cut of a run: crash points are enumerated with it, not sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerCut {
    /// Whether it is the payer's power, else the payee's.
    pub payer: bool,
    /// At which commit of its store, counted from 1; 0 for never.
    pub commit: u64,
    /// Before the commit reached the medium, or after it.
    pub side: Cut,
}

/// Where a run failed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("after step {step}: {flaw}")]
#[non_exhaustive]
pub struct Failure {
    /// How many steps were done.
    pub step: usize,
    /// What is wrong.
    pub flaw: Flaw,
}

/// A broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// A machine stopped, or contradicts itself.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Something did not come to its end in calm weather.
    #[error("wedged: {what}")]
    Wedged {
        /// What.
        what: &'static str,
    },
    /// In calm weather a payment is refused that the channel allows.
    #[error("a payment is refused: {error}")]
    Refused {
        /// Why.
        error: NodeError,
    },
    /// The payee forgot a payment that it had acknowledged.
    #[error("{outpoint}: {acked} was acknowledged, {paid} counts as paid")]
    Forgotten {
        /// Where.
        outpoint: OutPoint,
        /// What was acknowledged.
        acked: Msat,
        /// What the payee counts.
        paid: Msat,
    },
    /// The payee counts or takes more than the payer signed.
    #[error("{outpoint}: {paid} counts as paid, {signed} was signed")]
    NotSigned {
        /// Where.
        outpoint: OutPoint,
        /// What was signed.
        signed: Msat,
        /// What the payee counts.
        paid: Msat,
    },
    /// The payer paid more than it was told to pay and owed.
    #[error("{signed} was paid, {allowed} was owed")]
    Overpaid {
        /// Over all outpoints, or in a session.
        signed: Msat,
        /// What it was told to pay, and what its sessions owed.
        allowed: Msat,
    },
    /// The payer signed less than it had signed before, or had been shown.
    #[error("{outpoint}: {paid} is signed after {signed}")]
    Backwards {
        /// Where.
        outpoint: OutPoint,
        /// The largest amount until then.
        signed: Msat,
        /// What was signed.
        paid: Msat,
    },
    /// The payer signed vouchers on two fundings of one script.
    #[error("vouchers on {first} and on {second}")]
    SecondOutpoint {
        /// The one.
        first: OutPoint,
        /// The other.
        second: OutPoint,
    },
    /// The two sides, or one and the chain, do not mean the same channel.
    #[error("{outpoint}: both sides speak of another channel")]
    Disagree {
        /// Where.
        outpoint: OutPoint,
    },
    /// The payee counted a payment that nothing secures.
    #[error("{outpoint}: {unsecured} is not secured, {limit} may be")]
    Unsecured {
        /// Where.
        outpoint: OutPoint,
        /// What depth does not secure.
        unsecured: Msat,
        /// The zero-conf limit; nothing on a version-2 funding.
        limit: Sat,
    },
    /// The outputs and the fee of a spend are not what its owners agreed on.
    #[error("{outpoint}: its spend pays {got}, not {want}")]
    Unbalanced {
        /// The first channel that it spends.
        outpoint: OutPoint,
        /// What it pays its owner.
        got: Sat,
        /// What it should.
        want: Sat,
    },
    /// The chain took more from the payee than the window allows.
    #[error("{outpoint}: {lost} of what was acknowledged is lost, {allowed} may be")]
    LostMoney {
        /// Where.
        outpoint: OutPoint,
        /// What was acknowledged and not settled.
        lost: Msat,
        /// The zero-conf limit, or what is not worth settling.
        allowed: Msat,
    },
    /// Service went on beyond the credit.
    #[error("debt of {debt} beyond the credit of {credit}")]
    BeyondCredit {
        /// What is owed and not paid.
        debt: Msat,
        /// Credit and one tick.
        credit: Msat,
    },
    /// A session that has ended on both sides came to no statement.
    #[error("{session} has ended and is not stated")]
    Unstated {
        /// Which.
        session: SessionId,
    },
    /// Damage to a stored record was not noticed.
    #[error("a rotten record was read")]
    RotUnnoticed,
}

/// Prepared chains, from which any number of runs start.
#[derive(Debug)]
pub struct Pairs {
    unchecked: Regtest,
    checked: Option<Regtest>,
    keys: Option<Keys>,
}

impl Pairs {
    /// Chains that run no scripts, and one run in 16 on a chain that runs them all.
    pub fn new() -> Self {
        let checked = Regtest::new().ok().map(filled);
        Self { checked, ..Self::unchecked() }
    }

    /// Chains that run no scripts.
    pub fn unchecked() -> Self {
        let unchecked = filled(Regtest::unchecked_scripts());
        Self { unchecked, checked: None, keys: Keys::derive() }
    }

    /// Runs one pair from the opening of its first channel to the end of its last.
    pub fn run(&self, seed: u64) -> Report {
        self.run_told(seed, &mut |_| {})
    }

    /// As [`Self::run`]; `tell` is given each step and what it came to, for whoever looks for a
    /// fault.
    pub fn run_told(&self, seed: u64, tell: &mut dyn FnMut(&dyn core::fmt::Display)) -> Report {
        self.run_plan(Plan::Wide(seed), tell)
    }

    /// A pair with one channel of the plainest kind; what a seed means here does not change.
    pub fn run_small(&self, seed: u64) -> Report {
        self.run_plan(Plan::Small(seed), &mut |_| {})
    }

    /// The scenario of `seed` in calm weather, with one power cut and no other fault.
    pub fn run_cut(&self, seed: u64, cut: PowerCut) -> Report {
        self.run_plan(Plan::Cut(seed, cut), &mut |_| {})
    }

    /// A pair whose every choice is made by `bytes`, as long as there are any.
    ///
    /// First comes one byte of luck, which messages the weather strikes; then the terms, the
    /// opening (about 20 bytes) and the weather's rates (8 to 20); then steps: each begins with a
    /// byte that names it, and goes on with its choices. A choice takes as few bytes as can name
    /// its outcomes. When the bytes are spent, the weather turns calm.
    pub fn run_bytes(&self, bytes: &[u8], tell: &mut dyn FnMut(&dyn core::fmt::Display)) -> Report {
        self.run_plan(Plan::Steered(bytes.to_vec()), tell)
    }

    fn run_plan(&self, plan: Plan, tell: &mut dyn FnMut(&dyn core::fmt::Display)) -> Report {
        let seed = plan.seed();
        let checks = seed.checked_rem(CHECKED_EVERY) == Some(0);
        let chain = self.checked.as_ref().filter(|_| checks).unwrap_or(&self.unchecked);
        let keys = self.keys.as_ref().ok_or(Flaw::Wedged { what: "the machines' keys" });
        let mut pair = match keys.and_then(|keys| Pair::new(chain.clone(), plan, keys)) {
            Ok(pair) => pair,
            Err(flaw) => return Report::stillborn(seed, flaw),
        };
        let failure = pair.live(tell).err().map(|flaw| Failure { step: pair.step, flaw });
        pair.report(failure)
    }
}

impl Default for Pairs {
    fn default() -> Self {
        Self::new()
    }
}

impl Report {
    fn stillborn(seed: u64, flaw: Flaw) -> Self {
        let failure = Some(Failure { step: 0, flaw });
        let (counters, lost) = (Counters::default(), Msat::ZERO);
        Self { seed, counters, trace: [0; 32], commits: [0; 2], lost, failure }
    }
}

fn filled(mut chain: Regtest) -> Regtest {
    World::fill(&mut chain);
    chain
}
