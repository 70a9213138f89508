//! The smallest code: one loop of rounds and one of words, and nothing left out.
#![expect(clippy::many_single_char_names, reason = "the names of FIPS 180-4")]

use super::Backend;
use super::rounds::{eight, given};
use super::words::{add, big_sigma0, big_sigma1, ch, maj, small_sigma0, small_sigma1, splat};
use crate::sha256::State;
use crate::sha256::rounds::K;

/// The kernel for flash of a few kilobytes: one compression, called twice for each nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compact;

impl Backend for Compact {
    fn absorb(&mut self, state: State, block: &[u32; 16]) -> State {
        State::from_words(compress(state.words(), block))
    }
}

/// The state after one block.
///
/// Eight rounds by the older half of sixteen words, then these words sixteen places on: so one text
/// of each does for all, and both halves change places.
#[inline(never)]
pub(super) fn compress(state: [u32; 8], block: &[u32; 16]) -> [u32; 8] {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
    let (mut older, mut newer) = ([0; 8], [0; 8]);
    if let [first, second] = block.as_chunks().0 {
        (older, newer) = (*first, *second);
    }
    let (mut w, mut v) = (&mut older, &mut newer);
    for k in K.as_flattened().as_chunks::<8>().0 {
        eight!(given [w k]; 0 1 2 3 4 5 6 7; a b c d e f g h);
        // After the last eight rounds nobody asks for words; to leave them out would cost more.
        w[0] = next(w[0], w[1], v[1], v[6]);
        w[1] = next(w[1], w[2], v[2], v[7]);
        w[2] = next(w[2], w[3], v[3], w[0]);
        w[3] = next(w[3], w[4], v[4], w[1]);
        w[4] = next(w[4], w[5], v[5], w[2]);
        w[5] = next(w[5], w[6], v[6], w[3]);
        w[6] = next(w[6], w[7], v[7], w[4]);
        w[7] = next(w[7], v[0], w[0], w[5]);
        core::mem::swap(&mut w, &mut v);
    }
    let mut sum = state;
    for (sum, word) in sum.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *sum = add(*sum, word);
    }
    sum
}

/// A word of the schedule by the words 16, 15, 7 and 2 places before it.
#[inline]
const fn next(w0: u32, w1: u32, w9: u32, w14: u32) -> u32 {
    add(add(w0, small_sigma0(w1)), add(w9, small_sigma1(w14)))
}
