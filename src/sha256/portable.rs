//! One lane in plain integers: works on every machine, and in constants.

use super::rounds;

pub(crate) const fn add(a: u32, b: u32) -> u32 {
    // FIPS 180-4 adds modulo 2^32.
    a.wrapping_add(b)
}

pub(crate) const fn splat(k: u32) -> u32 {
    k
}

pub(crate) const fn ch(e: u32, f: u32, g: u32) -> u32 {
    g ^ (e & (f ^ g))
}

pub(crate) const fn maj(a: u32, b: u32, c: u32) -> u32 {
    (a & b) | (c & (a | b))
}

pub(crate) const fn big_sigma0(a: u32) -> u32 {
    a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22)
}

pub(crate) const fn big_sigma1(e: u32) -> u32 {
    e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25)
}

pub(crate) const fn small_sigma0(w: u32) -> u32 {
    w.rotate_right(7) ^ w.rotate_right(18) ^ (w >> 3)
}

pub(crate) const fn small_sigma1(w: u32) -> u32 {
    w.rotate_right(17) ^ w.rotate_right(19) ^ (w >> 10)
}

/// Word number `$i` of a block.
macro_rules! word {
    ($block:ident, $i:literal) => {
        u32::from_be_bytes([
            $block[4 * $i],
            $block[4 * $i + 1],
            $block[4 * $i + 2],
            $block[4 * $i + 3],
        ])
    };
}

/// The state after one block.
pub(super) const fn compress(state: [u32; 8], block: &[u8; 64]) -> [u32; 8] {
    let words = [
        word!(block, 0),
        word!(block, 1),
        word!(block, 2),
        word!(block, 3),
        word!(block, 4),
        word!(block, 5),
        word!(block, 6),
        word!(block, 7),
        word!(block, 8),
        word!(block, 9),
        word!(block, 10),
        word!(block, 11),
        word!(block, 12),
        word!(block, 13),
        word!(block, 14),
        word!(block, 15),
    ];
    rounds::compress!(state, words)
}
