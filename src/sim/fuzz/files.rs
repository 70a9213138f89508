//! The two text files that a machine reads at its start: its seed, and the blocks of its chain.

use crate::chain::regtest::Regtest;
use crate::chain::remote::{line, parse};
use crate::db::seed_file;

/// Blocks of one input: a coin is mature after 100, and more would only be slower.
const BLOCKS_MAX: usize = 256;

/// Reads `data` as a seed file, and as the file of a chain.
///
/// # Panics
/// If either is read from bytes that it is not written as, or a block that is refused has an
/// effect on the chain.
pub fn files(data: &[u8]) {
    seed(data);
    blocks(data);
}

fn seed(data: &[u8]) {
    let Some(seed) = seed_file::parse(data) else { return };
    let written = format!("{}\n", bitcoin::hex::DisplayHex::to_lower_hex_string(&seed[..]));
    assert_eq!(data.to_ascii_lowercase(), written.as_bytes(), "a seed has a second form");
}

fn blocks(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let mut chain = Regtest::unchecked_scripts();
    for text in text.lines().take(BLOCKS_MAX) {
        let Some((time, txs)) = parse(text) else { return };
        let (before, cursor) = (chain.tip(), chain.cursor());
        let Ok(tip) = chain.connect_at(&txs, time) else {
            assert_eq!((chain.tip(), chain.cursor()), (before, cursor), "a refused block stays");
            return;
        };
        let stored = chain.block(tip.height).map(|block| block.txdata.as_slice());
        let again = line(time, stored.unwrap_or_default());
        assert_eq!(parse(&again), Some((time, txs)), "a block is kept as another");
    }
}
