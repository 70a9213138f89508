//! The simulated chain as an arena.

use bitcoin::{Block, Transaction, Txid};

use crate::chain::Reason;
use crate::chain::regtest::Regtest;
use crate::sim::scenario::{Arena, Verdict};
use crate::tx::seen::Tip;
use crate::units::Blocks;

impl Arena for Regtest {
    fn submit(&mut self, tx: &Transaction) -> Verdict {
        Self::submit(self, tx).into()
    }

    fn submit_package(&mut self, txs: &[Transaction]) -> Verdict {
        Self::submit_package(self, txs).into()
    }

    fn mine(&mut self, blocks: Blocks) -> Verdict {
        Self::mine(self, blocks);
        Verdict::Accept
    }

    fn connect(&mut self, txs: &[Transaction]) -> Verdict {
        Self::connect(self, txs).map(drop).into()
    }

    fn connect_block(&mut self, block: &Block) -> Verdict {
        Self::connect_block(self, block).map(drop).into()
    }

    fn reorg(&mut self, depth: Blocks, branch: &[Vec<Transaction>]) -> Verdict {
        Self::reorg(self, depth, branch).map(drop).into()
    }

    fn tip(&self) -> Tip {
        Self::tip(self)
    }

    fn in_mempool(&self, txid: Txid) -> bool {
        Self::in_mempool(self, txid)
    }
}

impl From<Result<(), Reason>> for Verdict {
    fn from(outcome: Result<(), Reason>) -> Self {
        match outcome {
            Ok(()) => Self::Accept,
            Err(reason) => Self::Refuse(reason),
        }
    }
}
