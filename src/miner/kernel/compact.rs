//! The smallest code: one loop of rounds and one of words, and nothing left out.
#![expect(clippy::many_single_char_names, reason = "the names of FIPS 180-4")]

use super::Backend;
use super::rounds::{eight, given};
use crate::sha256::State;
use crate::sha256::portable::{
    add, big_sigma0, big_sigma1, ch, maj, small_sigma0, small_sigma1, splat,
};
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
#[inline(never)]
pub(super) fn compress(state: [u32; 8], block: &[u32; 16]) -> [u32; 8] {
    let mut words = [0; 64];
    if let Some(first) = words.first_chunk_mut() {
        *first = *block;
    }
    for at in 0..48_usize {
        let rest = words.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<17>());
        if let Some([w0, w1, _, _, _, _, _, _, _, w9, _, _, _, _, w14, _, next]) = rest {
            *next = add(add(*w0, small_sigma0(*w1)), add(*w9, small_sigma1(*w14)));
        }
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
    for (w, k) in words.as_chunks::<8>().0.iter().zip(K.as_flattened().as_chunks::<8>().0) {
        eight!(given [w k]; 0 1 2 3 4 5 6 7; a b c d e f g h);
    }
    let mut sum = state;
    for (sum, word) in sum.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *sum = add(*sum, word);
    }
    sum
}
