//! Scenarios: transactions and blocks as data, with the verdict that Bitcoin must give on each.
//!
//! One list, judged twice: the root tests run it on [`chain::regtest`](crate::chain::regtest), and
//! `tests/judge` on Bitcoin Core's own engine. The same verdicts there are the proof that the
//! simulated chain is right and that every transaction of ours is one that real nodes relay and
//! mine.
//!
//! Everything in a scenario is fixed before it runs: the coins are coinbases of the fixed miner
//! script, whose ids are the same in every run ([`coinbase`](crate::chain::regtest::coinbase)), so
//! that each transaction can be signed when the list is made.
//!
mod arena;
mod blocks;
mod coins;
mod fees;
mod lab;
mod locks;
mod regtest;
mod run;
mod stream_batch;
mod stream_hold_ends;
mod stream_holds;
mod stream_kinds;
mod stream_lab;
mod stream_pinning;
mod truc;

pub use arena::{Arena, Verdict};
pub use run::{Mismatch, Outcome, Report, run};

use bitcoin::{Block, Transaction, Txid};

use crate::units::{Blame, Blocks};

/// Every scenario, in a fixed order.
///
/// # Errors
/// [`BuildError`] if a transaction of the list cannot be built: a defect of the list itself.
pub fn all() -> Result<Vec<Scenario>, BuildError> {
    let lab = lab::Lab::new()?;
    let rooms = [
        coins::scenarios(&lab)?,
        locks::scenarios(&lab)?,
        fees::scenarios(&lab)?,
        truc::scenarios(&lab)?,
        stream_kinds::scenarios(&lab)?,
        stream_batch::scenarios(&lab)?,
        stream_pinning::scenarios(&lab)?,
        stream_holds::scenarios(&lab)?,
        stream_hold_ends::scenarios(&lab)?,
        blocks::scenarios(&lab)?,
    ];
    Ok(rooms.into_iter().flatten().collect())
}

/// A scenario's own transactions could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A number is outside its unit.
    #[error(transparent)]
    Unit(#[from] crate::units::UnitError),
    /// A key or signature.
    #[error(transparent)]
    Secp(#[from] bitcoin::secp256k1::Error),
    /// A transaction of a stream channel.
    #[error(transparent)]
    Tx(#[from] crate::tx::TxError),
    /// A channel's key.
    #[error(transparent)]
    Key(#[from] crate::keys::KeyError),
    /// A template or the block made of it.
    #[error(transparent)]
    Template(#[from] crate::chain::template::TemplateError),
    /// A block that the list is made with is not taken by its own chain.
    #[error("a block of the list cannot be made")]
    Block,
    /// A Taproot tree or sighash.
    #[error("a taproot tree or sighash of the list is malformed")]
    Taproot,
}

impl BuildError {
    /// Ours, every one: the list of scenarios is our own.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Unit(_)
            | Self::Secp(_)
            | Self::Tx(_)
            | Self::Key(_)
            | Self::Template(_)
            | Self::Block
            | Self::Taproot => Blame::Us,
        }
    }
}

/// A story on a fresh chain that holds the genesis block only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Its name: subject, condition, result.
    pub name: &'static str,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One step of a scenario, with what must come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A transaction is offered to the mempool.
    Submit {
        /// What it is, for the report.
        what: &'static str,
        /// The transaction.
        tx: Transaction,
        /// What the mempool must say.
        expect: Verdict,
    },
    /// A package, parents first and the child last, is offered to the mempool.
    Package {
        /// What it is, for the report.
        what: &'static str,
        /// The transactions.
        txs: Vec<Transaction>,
        /// What the mempool must say; see [`Arena::submit_package`] for which reason counts.
        expect: Verdict,
    },
    /// Blocks are mined; the first takes everything that the mempool holds, the others are empty.
    Mine {
        /// How many.
        blocks: Blocks,
    },
    /// A block of exactly these transactions after the coinbase is offered to the chain: consensus
    /// alone judges them.
    Connect {
        /// What it is, for the report.
        what: &'static str,
        /// The transactions.
        txs: Vec<Transaction>,
        /// What consensus must say; a refused block leaves the chain as it was.
        expect: Verdict,
    },
    /// A whole block, coinbase and header included, is offered to the chain.
    Block {
        /// What it is, for the report.
        what: &'static str,
        /// The block.
        block: Block,
        /// What the chain must say; a refused block leaves it as it was.
        expect: Verdict,
    },
    /// The last blocks are replaced by a longer branch.
    Reorg {
        /// How many blocks leave the chain.
        depth: Blocks,
        /// The transactions of each block of the new branch: more blocks than `depth`.
        branch: Vec<Vec<Transaction>>,
    },
    /// A transaction must be in the mempool now, or must not.
    InMempool {
        /// What it is, for the report.
        what: &'static str,
        /// Its id.
        txid: Txid,
        /// Whether it must be there.
        expect: bool,
    },
}
