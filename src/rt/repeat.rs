//! Transactions that are offered to the chain again until they are buried.

use std::collections::VecDeque;

use bitcoin::{OutPoint, Transaction, Txid};

use crate::chain::{ChainError, ChainSource};
use crate::tx::seen::Tip;
use crate::units::Blocks;

/// 1,024 packages: a day's settlements of a large station. Beyond it the oldest is forgotten, which
/// is the one most likely buried.
const PACKAGES_MAX: usize = 1_024;
/// A transaction that lost against another, confirmed one is refused for ever: given up after this
/// many blocks in a row, a day.
const REFUSALS_MAX: u32 = 144;
/// As deep as Bitcoin's users call final.
const BURIED: Blocks = match Blocks::new(6) {
    Ok(blocks) => blocks,
    Err(_) => Blocks::MAX,
};

/// Packages on their way into the chain.
///
/// A mempool forgets: under fee pressure, at a restart, or because a replacement was withdrawn. A
/// settlement must be in a block before its deadline, so it is offered with every new block.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    packages: VecDeque<Repeat>,
}

#[derive(Debug)]
struct Repeat {
    last: Txid,
    package: Vec<Transaction>,
    refused: u32,
}

impl Repeats {
    /// Offers a package now, and again with every block until it is buried.
    pub(super) fn offer(
        &mut self,
        package: Vec<Transaction>,
        chain: &mut dyn ChainSource,
    ) -> Result<(), ChainError> {
        let offered = chain.broadcast(&package);
        let Some(last) = package.last().map(Transaction::compute_txid) else { return offered };
        self.packages.retain(|repeat| repeat.last != last);
        if self.packages.len() >= PACKAGES_MAX {
            self.packages.pop_front();
        }
        self.packages.push_back(Repeat { last, package, refused: 0 });
        offered
    }

    /// There is a new tip: offers what is not buried yet.
    pub(super) fn at_tip(&mut self, tip: &Tip, chain: &mut dyn ChainSource) {
        self.packages.retain_mut(|repeat| {
            let status = chain.output(OutPoint { txid: repeat.last, vout: 0 });
            let confirmed = status.ok().flatten().and_then(|status| status.confirmed);
            if let Some(confirmed) = confirmed {
                return confirmed.depth_at(tip.height) < BURIED;
            }
            match chain.broadcast(&repeat.package) {
                Err(ChainError::Refused(_)) => repeat.refused = repeat.refused.saturating_add(1),
                Ok(()) | Err(ChainError::Unavailable) => repeat.refused = 0,
            }
            repeat.refused < REFUSALS_MAX
        });
    }
}
