//! A hub between neighbours whose every choice the bytes make.

use std::sync::OnceLock;

use crate::sim::hub::{Flaw, Hubs};

/// 512 bytes: more than 80 steps take, after which every height passes.
const BYTES_MAX: usize = 512;

/// Runs the hub that the bytes describe: its channels, then what each of its neighbours does, and
/// when its power fails. See [`Hubs::run_bytes`].
///
/// # Panics
/// If a promise is broken, or a millisatoshi is lost.
pub fn hub_ops(data: &[u8]) {
    static HUBS: OnceLock<Result<Hubs, Flaw>> = OnceLock::new();
    let Some(data) = data.get(..data.len().min(BYTES_MAX)) else { return };
    let Ok(hubs) = HUBS.get_or_init(Hubs::new) else { return };
    let report = hubs.run_bytes(data);
    assert_eq!((report.flaw, report.lost.to_msat()), (None, 0), "{} bytes", data.len());
}
