//! A pair of machines under faults that the bytes choose.

use std::sync::OnceLock;

use crate::sim::pair::Pairs;

/// Runs the pair of the seed in the first eight bytes.
///
/// # Panics
/// If a promise is broken.
pub fn pair(data: &[u8]) {
    static PAIRS: OnceLock<Pairs> = OnceLock::new();
    let Some(seed) = data.first_chunk::<8>() else { return };
    let report = PAIRS.get_or_init(Pairs::unchecked).run(u64::from_le_bytes(*seed));
    assert_eq!(report.failure, None, "seed {}", report.seed);
}
