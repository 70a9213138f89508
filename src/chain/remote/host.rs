//! The chain that is offered, the coins that fund channels on it, and the file that keeps it.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::{Block, ScriptBuf, Transaction};

use super::RemoteError;
use super::file::{BlockFile, Kept};
use crate::chain::regtest::{Regtest, Shared, Source, miner_coins};
use crate::chain::{ChainSource, Coins, CoinsError, MemoryCoins, Payment};
use crate::tx::seen::Tip;
use crate::units::{Blocks, FeeRate, Sat, Seconds, UtcSeconds};

/// 100 confirmations make a coinbase spendable; ten coins are mature from the first day.
const FIRST_BLOCKS: u32 = 110;
/// 2 sat/vB: a funding is never refused for its fee.
const FUNDING_RATE: u64 = 2_000;

/// The simulated chain of one machine, with coins for everybody.
#[derive(Debug)]
pub struct ChainHost {
    chain: Shared,
    purse: Mutex<Purse>,
    file: Option<Mutex<BlockFile>>,
}

#[derive(Debug)]
struct Purse {
    coins: MemoryCoins,
    events: Source,
}

impl ChainHost {
    /// Offers a chain that is forgotten when the process ends.
    ///
    /// # Errors
    /// [`RemoteError::Coins`], in theory.
    pub fn new(chain: Regtest) -> Result<Self, RemoteError> {
        Self::with(chain, None)
    }

    /// Starts the chain whose blocks are in the file at `path`, or a new one: with mature coins,
    /// and a tip of the present. Every script is run again.
    ///
    /// # Errors
    /// [`RemoteError::File`], [`RemoteError::BadBlock`], [`RemoteError::Chain`] without the feature
    /// `consensus`.
    pub fn kept_in(path: &Path) -> Result<Self, RemoteError> {
        let mut chain = Regtest::new()?;
        let file = BlockFile::open(path, |block| match block {
            Kept::Own(time, txs) => chain.connect_at(txs, *time).is_ok(),
            Kept::Whole(block) => chain.connect_block(block).is_ok(),
        })?;
        let host = Self::with(chain, Some(Mutex::new(file)))?;
        host.first_blocks()?;
        // A chain whose tip is old counts as stalled.
        host.mine(Blocks::new(1).unwrap_or(Blocks::MIN))?;
        Ok(host)
    }

    /// Mines blocks of the present with what the mempool holds.
    ///
    /// # Errors
    /// [`RemoteError::Refused`], [`RemoteError::File`].
    pub fn mine(&self, blocks: Blocks) -> Result<Tip, RemoteError> {
        let second = Seconds::new(1).unwrap_or(Seconds::MIN);
        let mut tip = self.chain.with(|chain| chain.tip());
        for _ in 0..blocks.to_u32() {
            tip = self.mine_above(|tip| utc().max(tip.time.saturating_after(second)))?;
        }
        Ok(tip)
    }

    /// Takes a block that was mined outside, on top of the tip.
    ///
    /// # Errors
    /// [`RemoteError::Refused`], with [`Reason::StaleBlock`](crate::chain::Reason::StaleBlock) for
    /// one on another block; [`RemoteError::File`] if the file has no room: the block is connected
    /// then, and written before the next.
    pub fn connect(&self, block: &Block) -> Result<Tip, RemoteError> {
        // Held throughout, so that the file has the blocks in their order.
        let mut file = self.file.as_ref().map(lock);
        if let Some(file) = &mut file {
            file.write()?;
        }
        let tip = self.chain.with(|chain| chain.connect_block(block));
        let tip = tip.map_err(RemoteError::Refused)?;
        if let Some(file) = &mut file {
            file.push_whole(block);
            file.write()?;
        }
        Ok(tip)
    }

    /// A signed version-3 transaction whose output 0 pays `value` to `script`; not broadcast, since
    /// a payer's backup must be durable before that.
    ///
    /// # Errors
    /// [`RemoteError::Coins`].
    pub fn fund(&self, script: ScriptBuf, value: Sat) -> Result<Transaction, RemoteError> {
        let mut purse = lock(&self.purse);
        let Purse { coins, events } = &mut *purse;
        while let Ok(Some(event)) = events.next_event() {
            coins.apply(&event)?;
        }
        let rate = FeeRate::new(FUNDING_RATE).unwrap_or(FeeRate::MIN);
        let mut psbt = coins.fund(&Payment::new(script, value, rate))?;
        coins.sign(&mut psbt)?;
        // Its fee is a few hundred satoshis, by the rate above.
        Ok(psbt.extract_tx_unchecked_fee_rate())
    }

    /// The chain itself.
    pub const fn chain(&self) -> &Shared {
        &self.chain
    }

    fn with(chain: Regtest, file: Option<Mutex<BlockFile>>) -> Result<Self, RemoteError> {
        let chain = chain.share();
        let purse = Mutex::new(Purse { coins: miner_coins()?, events: chain.source() });
        Ok(Self { chain, purse, file })
    }

    /// Mines what is missing of them: all, or what a cut left.
    fn first_blocks(&self) -> Result<(), RemoteError> {
        loop {
            let tip = self.chain.with(|chain| chain.tip());
            if tip.height.to_u32() >= FIRST_BLOCKS {
                return Ok(());
            }
            let ten_minutes = Seconds::new(600).unwrap_or(Seconds::MIN);
            self.mine_above(|tip| tip.time.saturating_after(ten_minutes))?;
        }
    }

    /// A block of the time that `when` says above this tip: several may mine at once, and each
    /// needs a time above what the others have mined.
    fn mine_above(&self, when: impl FnOnce(&Tip) -> UtcSeconds) -> Result<Tip, RemoteError> {
        // Held throughout, so that the file has the blocks in their order.
        let mut file = self.file.as_ref().map(lock);
        if let Some(file) = &mut file {
            file.write()?;
        }
        let (tip, txs) = self.chain.with(|chain| {
            let time = when(&chain.tip());
            let tip = chain.mine_at(time).map_err(RemoteError::Refused)?;
            let txs = chain.block(tip.height).map(|block| block.txdata.clone());
            Ok::<_, RemoteError>((tip, txs.unwrap_or_default()))
        })?;
        if let Some(file) = &mut file {
            file.push(tip.time, &txs);
            file.write()?;
        }
        Ok(tip)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "its blocks are of the present, as a machine sees it"
)]
fn utc() -> UtcSeconds {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcSeconds::new(now.as_secs()).unwrap_or(UtcSeconds::MAX)
}

/// Coins that do not suffice are a refusal to the one that asked.
pub(super) const fn is_short(error: &RemoteError) -> bool {
    matches!(error, RemoteError::Coins(CoinsError::Insufficient { .. } | CoinsError::Dust { .. }))
}
