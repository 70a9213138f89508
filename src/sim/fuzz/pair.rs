//! A pair of machines whose every choice the bytes make.

use std::sync::OnceLock;

use crate::sim::pair::Pairs;

/// 2,048 bytes: some 200 steps, beyond which a run only gets slower.
const BYTES_MAX: usize = 2_048;

/// Runs the pair that the bytes describe: its terms, its weather, its steps. See
/// [`Pairs::run_bytes`].
///
/// # Panics
/// If a promise is broken.
pub fn pair(data: &[u8]) {
    static PAIRS: OnceLock<Pairs> = OnceLock::new();
    let Some(data) = data.get(..data.len().min(BYTES_MAX)) else { return };
    let report = PAIRS.get_or_init(Pairs::unchecked).run_bytes(data, &mut |_| {});
    assert_eq!(report.failure, None, "{} bytes", data.len());
}
