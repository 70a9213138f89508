//! Lock times: BIP65/BIP113 (absolute) and BIP68 (relative), as the next block sees them.

use bitcoin::absolute::LockTime;
use bitcoin::{Sequence, Transaction};

use crate::chain::regtest::ledger::{Ledger, Prevout};
use crate::units::{Height, UtcSeconds};

/// Switches the relative lock of an input off.
const DISABLE_FLAG: u32 = 1 << 31;
/// The relative lock counts units of 512 s, not blocks.
const TIME_FLAG: u32 = 1 << 22;
/// The bits that hold the length of the lock.
const LOCK_MASK: u32 = 0xffff;
/// Shift from units of 512 s to seconds.
const TIME_SHIFT: u32 = 9;

/// Whether the absolute lock time of `tx` lets it into a block at `height` on top of a chain with
/// this median time past.
pub(super) fn is_final(tx: &Transaction, height: Height, median_time: UtcSeconds) -> bool {
    let passed = match tx.lock_time {
        LockTime::Blocks(lock) => lock.to_consensus_u32() < height.to_u32(),
        LockTime::Seconds(lock) => u64::from(lock.to_consensus_u32()) < median_time.to_u64(),
    };
    passed
        || tx.lock_time == LockTime::ZERO
        || tx.input.iter().all(|input| input.sequence == Sequence::MAX)
}

/// Whether every relative lock of `tx` has passed in a block at `height`, the next of `chain`.
pub(super) fn sequence_locks_passed(
    tx: &Transaction,
    prevouts: &[Prevout],
    chain: &Ledger,
    height: Height,
) -> bool {
    // BIP68 reads the version as unsigned, so that only 0 and 1 are without relative locks.
    if tx.version.0.cast_unsigned() < 2 {
        return true;
    }
    tx.input.iter().zip(prevouts).all(|(input, prevout)| {
        let sequence = input.sequence.to_consensus_u32();
        if sequence & DISABLE_FLAG != 0 {
            return true;
        }
        let length = sequence & LOCK_MASK;
        if sequence & TIME_FLAG == 0 {
            return prevout.height.to_u32().saturating_add(length) <= height.to_u32();
        }
        // Time counts from the median time before the block that holds the output.
        let before = Height::new(prevout.height.to_u32().saturating_sub(1)).unwrap_or(Height::MIN);
        let seconds = u64::from(length).wrapping_shl(TIME_SHIFT);
        let until = chain.median_time_past(before).to_u64().saturating_add(seconds);
        until <= chain.median_time_past(chain.tip().height).to_u64()
    })
}
