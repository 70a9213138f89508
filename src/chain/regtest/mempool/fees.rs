//! The smallest fee that is relayed.

use bitcoin::Transaction;

use crate::chain::Reason;
use crate::chain::regtest::consensus;
use crate::chain::regtest::ledger::Prevout;
use crate::units::FeeRate;

/// Weight units in a virtual byte.
const WEIGHT_PER_VBYTE: u64 = 4;
/// Weight units that a unit of signature-operation cost counts for at least.
const WEIGHT_PER_SIGOP: u64 = 20;

/// The fee at `rate` for `vsize` virtual bytes, in satoshis, rounded up.
pub(super) fn fee_at(rate: FeeRate, vsize: u64) -> u64 {
    let weight = vsize.saturating_mul(WEIGHT_PER_VBYTE);
    rate.ceil_fee(weight).map_or(u64::MAX, crate::units::Sat::to_sat)
}

/// Checks a fee, of a transaction or of a whole package, against the floor.
pub(super) fn check(fee: u64, vsize: u64, floor: FeeRate) -> Result<(), Reason> {
    if fee < fee_at(floor, vsize) { Err(Reason::MinRelayFee) } else { Ok(()) }
}

/// The weight that fees are counted by, and the cost of the signature operations.
pub(super) fn weight_and_sigops(tx: &Transaction, prevouts: &[Prevout]) -> (u64, u64) {
    let sigops = u64::try_from(consensus::sigop_cost(tx, prevouts)).unwrap_or(u64::MAX);
    (tx.weight().to_wu().max(sigops.saturating_mul(WEIGHT_PER_SIGOP)), sigops)
}

/// Virtual bytes of a weight, rounded up.
pub(super) fn vsize(weight: u64) -> u64 {
    weight.div_ceil(WEIGHT_PER_VBYTE)
}
