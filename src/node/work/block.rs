//! Work that blocks pay: logged, shared when the chain has buried one, and then paid as any other.

use alloc::vec::Vec;

use bitcoin::OutPoint;

use crate::ledger::scheme::{FoundBlock, Reach};
use crate::ledger::{Account, Credit, Input, WorkerKey};
use crate::node::effects::Event;
use crate::node::{Node, NodeError};
use crate::signer::Signer;
use crate::tx::seen::OutputStatus;
use crate::units::Blocks;

/// 100 blocks beside a block that the chain does not have: nothing that deep comes back, and until
/// then its reward could not have been spent.
const LOST_AFTER: u32 = 100;

impl<S: Signer> Node<S> {
    pub(in crate::node) fn log_work(
        &mut self,
        worker: WorkerKey,
        credit: Credit,
        reach: Reach,
    ) -> Result<(), NodeError> {
        self.keep_account(&Input::Log { worker, credit, reach })
    }

    /// Of a block that is told again nothing becomes, in whatever state it is.
    pub(in crate::node) fn find_block(&mut self, block: &FoundBlock) -> Result<(), NodeError> {
        if block.depth == Blocks::MIN {
            let FoundBlock { id, reward, fee, reach, .. } = *block;
            return self.share_block(block, &Input::Block { id, reward, fee, reach });
        }
        self.keep_account(&Input::Found(*block))?;
        self.effects.look_up(block.coinbase);
        Ok(())
    }

    /// What the chain shows of an outpoint, if it is in the coinbase of a block that was found.
    pub(in crate::node) fn block_output(
        &mut self,
        outpoint: OutPoint,
        status: Option<&OutputStatus>,
    ) -> Result<(), NodeError> {
        let Some(tip) = self.tip else { return Ok(()) };
        let found = |block: &&FoundBlock| block.coinbase == outpoint;
        let Some(block) = self.works.ledger.pending().find(found).copied() else { return Ok(()) };
        let id = block.id;
        match status.and_then(|status| status.confirmed) {
            Some(at) if at.depth_at(tip.height) >= block.depth => {
                self.share_block(&block, &Input::Buried { id })
            }
            Some(_) => Ok(()),
            None => {
                let passed = block.height.depth_at(tip.height).to_u32();
                if passed <= LOST_AFTER.max(block.depth.to_u32()) {
                    return Ok(());
                }
                self.keep_account(&Input::Lost { id })?;
                self.effects.tell(Event::BlockLost { id });
                Ok(())
            }
        }
    }

    /// P4: the accounts of all who worked for it are one step, and the vouchers that the flush
    /// signs for it stand in the same commit as far as that has room.
    fn share_block(&mut self, block: &FoundBlock, input: &Input) -> Result<(), NodeError> {
        // Of no consequence is how full the ledger is: no block waits for room.
        let step = self.works.ledger.decide(input)?;
        if step.is_empty() {
            return Ok(());
        }
        let workers: Vec<_> = step.accounts().map(Account::worker).collect();
        self.take_step(step)?;
        let FoundBlock { id, reward, fee, .. } = *block;
        let count = u32::try_from(workers.len()).unwrap_or(u32::MAX);
        self.effects.tell(Event::BlockShared {
            id,
            reward,
            fee: fee.floor_of(reward),
            workers: count,
        });
        self.works.owing.extend(workers);
        Ok(())
    }

    /// The outpoints by which the chain tells what becomes of blocks that were found.
    pub(in crate::node) fn coinbases(&self) -> impl Iterator<Item = OutPoint> + '_ {
        self.works.ledger.pending().map(|block| block.coinbase)
    }
}
