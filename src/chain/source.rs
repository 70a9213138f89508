//! The trait of everything that shows us the chain and takes our transactions.

use bitcoin::{OutPoint, Script, Transaction};

use crate::chain::Reason;
use crate::tx::seen::{ChainEvent, OutputStatus, Tip};
use crate::units::{Blame, Blocks, FeeRate};

/// A view of the best chain and the mempool, with a place in its own stream of events.
///
/// One endpoint owns one source. Events are handed out once, in order; look-ups answer for the
/// chain as it is now, which may be ahead of the events not yet taken, and reach back before the
/// source was made: a payee judges a channel funded yesterday, a payer finds its coin by script.
pub trait ChainSource {
    /// The next event, or `None` when there is no news.
    ///
    /// # Errors
    /// [`ChainError::Unavailable`] while the source is cut off.
    fn next_event(&mut self) -> Result<Option<ChainEvent>, ChainError>;

    /// Hands one transaction, or one package (parents first, the child last), to the network.
    ///
    /// A transaction that is already in the mempool is accepted again, so that the holder of an
    /// unconfirmed settlement can repeat it at every block.
    ///
    /// # Errors
    /// [`ChainError::Refused`] with the class of the first refusal.
    fn broadcast(&mut self, package: &[Transaction]) -> Result<(), ChainError>;

    /// The last block of the best chain.
    ///
    /// # Errors
    /// [`ChainError::Unavailable`] while the source is cut off.
    fn tip(&self) -> Result<Tip, ChainError>;

    /// The rate that confirms within `target` blocks, as far as anybody can tell.
    ///
    /// # Errors
    /// [`ChainError::Unavailable`] while the source is cut off.
    fn fee_rate(&self, target: Blocks) -> Result<FeeRate, ChainError>;

    /// The output at `outpoint` and what spends it; `None` if no known transaction has it.
    ///
    /// # Errors
    /// [`ChainError::Unavailable`] while the source is cut off.
    fn output(&self, outpoint: OutPoint) -> Result<Option<OutputStatus>, ChainError>;

    /// Every output, spent or not, that ever paid to `script`, by outpoint.
    ///
    /// # Errors
    /// [`ChainError::Unavailable`] while the source is cut off.
    fn outputs_of(&self, script: &Script) -> Result<Vec<(OutPoint, OutputStatus)>, ChainError>;
}

/// Why a source did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The network does not take the transaction.
    #[error("the transaction was refused: {0}")]
    Refused(Reason),
    /// The source is cut off from the network; try again later.
    #[error("the chain source is cut off")]
    Unavailable,
}

impl ChainError {
    /// What the reason says of a refused transaction; that a source is cut off is the world's.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Refused(reason) => reason.blame(),
            Self::Unavailable => Blame::World,
        }
    }
}
