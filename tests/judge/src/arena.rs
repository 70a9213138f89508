//! Core as the arena of the scenarios: its words become the classes that both judges use.
//!
//! Used by `tests/scenarios.rs`.

use bitcoin::{Block, Transaction, Txid};
use millstream::chain::Reason;
use millstream::sim::scenario::{Arena, Verdict};
use millstream::tx::seen::Tip;
use millstream::units::Blocks;

use crate::node::{Core, Reject};

/// A node that hears a scenario and writes down what it said.
///
/// ```
/// use millstream::sim::scenario::{Arena, Verdict};
/// use millstream::units::Blocks;
///
/// let mut court = millstream_judge::Court::new();
/// assert_eq!(court.mine(Blocks::new(2)?), Verdict::Accept);
/// assert_eq!(court.tip().height.to_u32(), 2);
/// assert_eq!(court.heard().len(), 1);
/// # Ok::<(), millstream::units::UnitError>(())
/// ```
#[derive(Debug)]
pub struct Court {
    core: Core,
    heard: Vec<Heard>,
}

/// One verdict of Core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// As the scenarios know it.
    pub verdict: Verdict,
    /// Core's words; empty if it accepted.
    pub words: String,
}

impl Court {
    /// Opens on a fresh node; see [`Core::new`].
    #[expect(clippy::new_without_default, reason = "starting a node is too much for a default")]
    pub fn new() -> Self {
        Self { core: Core::new(), heard: Vec::new() }
    }

    /// Every verdict so far, one for each call that gave one, in order.
    pub fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// The node itself.
    pub fn core(&self) -> &Core {
        &self.core
    }

    fn note(&mut self, said: Result<(), Reject>) -> Verdict {
        let (verdict, words) = match said {
            Ok(()) => (Verdict::Accept, String::new()),
            Err(Reject { reason }) => (Verdict::Refuse(class(&reason)), reason),
        };
        self.heard.push(Heard { verdict, words });
        verdict
    }
}

impl Arena for Court {
    fn submit(&mut self, tx: &Transaction) -> Verdict {
        let said = self.core.submit(tx);
        self.note(said)
    }

    fn submit_package(&mut self, txs: &[Transaction]) -> Verdict {
        let said = self.core.submit_package(txs);
        self.note(said)
    }

    fn mine(&mut self, blocks: Blocks) -> Verdict {
        let mut said = Ok(());
        if let Some(empty) = blocks.to_u32().checked_sub(1) {
            said = self.core.mine_mempool().map(|_| ());
            if said.is_ok() {
                self.core.mine_empty(empty);
            }
        }
        self.note(said)
    }

    fn connect(&mut self, txs: &[Transaction]) -> Verdict {
        let said = self.core.mine(txs).map(|_| ());
        self.note(said)
    }

    fn connect_block(&mut self, block: &Block) -> Verdict {
        // Tested first, because Core remembers a refused block and keeps branches of less work.
        let said =
            self.core.test_block(block).and_then(|()| self.core.connect_block(block).map(drop));
        self.note(said)
    }

    fn reorg(&mut self, depth: Blocks, branch: &[Vec<Transaction>]) -> Verdict {
        let said = self.core.reorg(depth.to_u32(), branch);
        self.note(said)
    }

    fn tip(&self) -> Tip {
        self.core.tip()
    }

    fn in_mempool(&self, txid: Txid) -> bool {
        self.core.contains(txid)
    }
}

/// # Panics
/// If Core says something that the crate does not know: then the crate must learn it.
fn class(words: &str) -> Reason {
    if words == "TX decode failed" {
        return Reason::Malformed;
    }
    Reason::from_core(words).unwrap_or_else(|| panic!("no class for Core's words {words:?}"))
}
