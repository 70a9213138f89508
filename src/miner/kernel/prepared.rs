//! What is computed once for all nonces of a header.
#![expect(clippy::many_single_char_names, reason = "the names of FIPS 180-4")]

use super::rounds::{END, HEADER_BITS};
use crate::sha256::State;
use crate::sha256::portable::{add, big_sigma0, big_sigma1, ch, maj, small_sigma0, small_sigma1};
use crate::sha256::rounds::K;
use crate::units::Target;

/// A header without its nonce, and the target: what the kernels search with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prepared {
    pub(super) start: Start,
    pub(super) words: Words,
    /// The highest 32 bits of the target: whose hash has more misses it.
    pub(super) top: u32,
}

impl Prepared {
    pub(super) fn new(midstate: &State, tail: &[u32; 3], target: &Target) -> Self {
        Self { start: Start::new(midstate, tail), words: Words::new(tail), top: top(target) }
    }

    /// Whether a last word of a hash does not rule it out.
    #[inline]
    pub(super) const fn may_meet(&self, last: u32) -> bool {
        last.swap_bytes() <= self.top
    }
}

/// The highest 32 bits.
pub(super) fn top(target: &Target) -> u32 {
    let bytes = target.to_be_bytes();
    bytes.first_chunk().map_or(u32::MAX, |top| u32::from_be_bytes(*top))
}

/// Of a midstate: the second block's rounds before the nonce, and the nonce's but for itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) midstate: [u32; 8],
    /// `a` and `e` after round 3, less the nonce.
    pub(super) a: u32,
    pub(super) e: u32,
    /// `b`, `c` and `d` after round 3.
    pub(super) abc: [u32; 3],
    /// `f`, `g` and `h` after round 3.
    pub(super) efg: [u32; 3],
}

impl Start {
    pub(super) fn new(midstate: &State, tail: &[u32; 3]) -> Self {
        let midstate = midstate.words();
        let mut state = midstate;
        let [k, ..] = &K;
        for (word, k) in tail.iter().zip(k) {
            state = round(state, add(*word, *k));
        }
        let [a, b, c, _, e, f, g, _] = state;
        let [next_a, _, _, _, next_e, ..] = round(state, k[3]);
        Self { midstate, a: next_a, e: next_e, abc: [a, b, c], efg: [e, f, g] }
    }
}

/// One round; `word`: with its constant.
fn round(state: [u32; 8], word: u32) -> [u32; 8] {
    let [a, b, c, d, e, f, g, h] = state;
    let sum = add(add(h, word), add(big_sigma1(e), ch(e, f, g)));
    [add(sum, add(big_sigma0(a), maj(a, b, c))), a, b, c, add(d, sum), e, f, g]
}

/// Of the end of a header without its nonce: words of the second block's schedule, or the part of
/// them that does not change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    pub(super) w16: u32,
    pub(super) w17: u32,
    /// The first two with the constants of their rounds.
    pub(super) w16_k: u32,
    pub(super) w17_k: u32,
    /// Less what the nonce gives.
    pub(super) w18: u32,
    pub(super) w19: u32,
    /// Less what later words give.
    pub(super) w31: u32,
}

impl Words {
    pub(super) fn new(tail: &[u32; 3]) -> Self {
        let [w0, w1, w2] = *tail;
        let w16 = add(w0, small_sigma0(w1));
        let w17 = add(add(w1, small_sigma0(w2)), small_sigma1(HEADER_BITS));
        Self {
            w16,
            w17,
            w16_k: add(w16, K[1][0]),
            w17_k: add(w17, K[1][1]),
            w18: add(w2, small_sigma1(w16)),
            w19: add(small_sigma0(END), small_sigma1(w17)),
            w31: add(HEADER_BITS, small_sigma0(w16)),
        }
    }
}
