//! Honest economics: what the same hashes would be worth on the real network.

use millstream::ledger::HashPrice;
use millstream::units::{Msat, Ppm, Work};

use crate::common::Error;

/// 3.125 bitcoin, in msat: the subsidy from 2024 to 2028; fees are a few percent of it.
const SUBSIDY: u64 = 312_500_000_000;
/// Difficulty of the network, and hashes of one unit of it: early 2026.
const DIFFICULTY: u128 = 144_000_000_000_000;
const UNIT: u128 = 1 << 32;
/// Machines of today, hashes a second: for comparison.
pub(crate) const MACHINES: [(&str, u128); 4] = [
    ("this fridge's board", super::work::HASH_RATE as u128),
    ("an ESP32-S3", 300_000),
    ("a desktop core", 28_000_000),
    ("a small mining machine", 1_200_000_000_000),
];

/// What so many hashes are worth on the network, in millionths of a millisatoshi.
pub(crate) fn worth(hashes: u128) -> Result<u128, Error> {
    let network = Work::new(DIFFICULTY * UNIT);
    let price = HashPrice::pps(Msat::new(SUBSIDY)?, Ppm::new(0)?, network)?;
    // Below 2^55 a hash and 2^60 hashes: the product with 10^6 fits.
    Ok((price.q96() >> 20) * hashes / (1 << 36) * 1_000_000 / (1 << 40))
}

/// Millionths as a decimal with as many digits as say something.
pub(crate) fn decimal(millionths: u128) -> String {
    let (whole, rest) = (millionths / 1_000_000, millionths % 1_000_000);
    match whole {
        0 => format!("0.{rest:06}"),
        1..100 => format!("{whole}.{:02}", rest / 10_000),
        _ => whole.to_string(),
    }
}
