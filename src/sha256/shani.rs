//! The SHA instructions of x86: one lane has a latency that two to four interleaved lanes hide.
//!
//! `SHA256RNDS2` does two rounds and waits for the two before it; with several independent lanes
//! the unit is never idle. The order of the words in the registers is Intel's ("Intel SHA
//! Extensions", 2013): ABEF and CDGH.
#![allow(unsafe_code)] // Reason: vector registers are read and written as arrays of words.

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_set_epi64x, _mm_setzero_si128,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32,
};

use super::State;
use super::engine::nth_blocks;
use super::rounds::K;

/// The proof that this processor has the SHA instructions, and whether it has AVX beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Then sums and shuffles need no copies, because they name a third register.
    avx: bool,
}

impl Found {
    pub(super) fn detect() -> Option<Self> {
        #[cfg(feature = "std")]
        let found = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        #[cfg(not(feature = "std"))]
        let found =
            cfg!(all(target_feature = "sha", target_feature = "ssse3", target_feature = "sse4.1"));
        #[cfg(feature = "std")]
        let avx = is_x86_feature_detected!("avx");
        #[cfg(not(feature = "std"))]
        let avx = cfg!(target_feature = "avx");
        found.then_some(Self { avx })
    }

    /// Each state absorbs its message; messages are as long as the shortest.
    pub(super) fn absorb<const N: usize>(
        self,
        states: &mut [State; N],
        messages: &[&[[u8; 64]]; N],
    ) {
        if self.avx {
            // SAFETY: `self` exists only if `detect` found the features of `ways`, and AVX.
            unsafe { ways_avx(states, messages) }
        } else {
            // SAFETY: `self` exists only if `detect` found every feature that `ways` is built with.
            unsafe { ways(states, messages) }
        }
    }
}

/// One of the interleaved lanes.
#[derive(Clone, Copy)]
struct Way {
    abef: __m128i,
    cdgh: __m128i,
    /// The sixteen newest words of the message schedule, oldest first.
    words: [__m128i; 4],
}

/// [`ways`] with the three-register forms of its instructions.
#[target_feature(enable = "sha,ssse3,sse4.1,avx")]
fn ways_avx<const N: usize>(states: &mut [State; N], messages: &[&[[u8; 64]]; N]) {
    ways(states, messages);
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn ways<const N: usize>(states: &mut [State; N], messages: &[&[[u8; 64]]; N]) {
    let zero = _mm_setzero_si128();
    let mut ways = [Way { abef: zero, cdgh: zero, words: [zero; 4] }; N];
    for (way, state) in ways.iter_mut().zip(states.iter()) {
        (way.abef, way.cdgh) = from_words(state.words());
    }
    let mut at = 0_usize;
    while let Some(blocks) = nth_blocks(messages, at) {
        let before = ways;
        for (way, block) in ways.iter_mut().zip(blocks) {
            way.words = words(block);
        }
        let [k0, k1, k2, k3] = &K;
        for k in [k0, k1, k2] {
            quad::<N, 0>(&mut ways, constants::<0>(k));
            quad::<N, 1>(&mut ways, constants::<1>(k));
            quad::<N, 2>(&mut ways, constants::<2>(k));
            quad::<N, 3>(&mut ways, constants::<3>(k));
        }
        last_quad::<N, 0>(&mut ways, constants::<0>(k3));
        last_quad::<N, 1>(&mut ways, constants::<1>(k3));
        last_quad::<N, 2>(&mut ways, constants::<2>(k3));
        last_quad::<N, 3>(&mut ways, constants::<3>(k3));
        for (way, before) in ways.iter_mut().zip(before) {
            way.abef = _mm_add_epi32(way.abef, before.abef);
            way.cdgh = _mm_add_epi32(way.cdgh, before.cdgh);
        }
        at = at.saturating_add(1);
    }
    for (state, way) in states.iter_mut().zip(ways) {
        *state = State::from_words(to_words(way.abef, way.cdgh));
    }
}

/// Four rounds of every lane.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn last_quad<const N: usize, const AT: usize>(ways: &mut [Way; N], constants: __m128i) {
    for way in ways {
        rounds(way, _mm_add_epi32(pick::<AT>(&way.words), constants));
    }
}

/// Four rounds of every lane, and the words that the same place holds sixteen rounds later.
///
/// Lane by lane, and the words first: they are what the lane's own rounds need not wait for. On a
/// Zen 3 this order takes 0.88 of the time of all lanes' rounds before all lanes' words.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn quad<const N: usize, const AT: usize>(ways: &mut [Way; N], constants: __m128i) {
    for way in ways {
        let sum = _mm_add_epi32(pick::<AT>(&way.words), constants);
        let [w0, w1, w2, w3] = way.words;
        let [w0, w1, w2, w3] = match AT {
            0 => [next_words(w0, w1, w2, w3), w1, w2, w3],
            1 => [w0, next_words(w1, w2, w3, w0), w2, w3],
            2 => [w0, w1, next_words(w2, w3, w0, w1), w3],
            _ => [w0, w1, w2, next_words(w3, w0, w1, w2)],
        };
        way.words = [w0, w1, w2, w3];
        rounds(way, sum);
    }
}

/// Four rounds of one lane; `sum`: words and constants.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn rounds(way: &mut Way, sum: __m128i) {
    way.cdgh = _mm_sha256rnds2_epu32(way.cdgh, way.abef, sum);
    way.abef = _mm_sha256rnds2_epu32(way.abef, way.cdgh, _mm_shuffle_epi32::<0x0e>(sum));
}

/// The four words of the schedule after these sixteen.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn next_words(w0: __m128i, w1: __m128i, w2: __m128i, w3: __m128i) -> __m128i {
    let partial = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
    _mm_sha256msg2_epu32(partial, w3)
}

#[inline]
const fn pick<const AT: usize>(words: &[__m128i; 4]) -> __m128i {
    let [w0, w1, w2, w3] = *words;
    match AT {
        0 => w0,
        1 => w1,
        2 => w2,
        _ => w3,
    }
}

/// Four round constants of a row.
#[inline]
const fn constants<const AT: usize>(row: &[u32; 16]) -> __m128i {
    // SAFETY: both are 64 bytes, and every pattern of bits is a value of either.
    pick::<AT>(&unsafe { core::mem::transmute::<[u32; 16], [__m128i; 4]>(*row) })
}

/// A block as words.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn words(block: &[u8; 64]) -> [__m128i; 4] {
    // SAFETY: both are 64 bytes, and every pattern of bits is a value of either.
    let [w0, w1, w2, w3] = unsafe { core::mem::transmute::<[u8; 64], [__m128i; 4]>(*block) };
    // Reverses the bytes of each 32-bit word.
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    [
        _mm_shuffle_epi8(w0, swap),
        _mm_shuffle_epi8(w1, swap),
        _mm_shuffle_epi8(w2, swap),
        _mm_shuffle_epi8(w3, swap),
    ]
}

/// A state to ABEF and CDGH.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn from_words(words: [u32; 8]) -> (__m128i, __m128i) {
    // SAFETY: both are 32 bytes, and every pattern of bits is a value of either.
    let [dcba, hgfe] = unsafe { core::mem::transmute::<[u32; 8], [__m128i; 2]>(words) };
    let cdab = _mm_shuffle_epi32::<0xb1>(dcba);
    let efgh = _mm_shuffle_epi32::<0x1b>(hgfe);
    (_mm_alignr_epi8::<8>(cdab, efgh), _mm_blend_epi16::<0xf0>(efgh, cdab))
}

/// ABEF and CDGH to a state.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn to_words(abef: __m128i, cdgh: __m128i) -> [u32; 8] {
    let feba = _mm_shuffle_epi32::<0x1b>(abef);
    let dchg = _mm_shuffle_epi32::<0xb1>(cdgh);
    let dcba = _mm_blend_epi16::<0xf0>(feba, dchg);
    let hgfe = _mm_alignr_epi8::<8>(dchg, feba);
    // SAFETY: both are 32 bytes, and every pattern of bits is a value of either.
    unsafe { core::mem::transmute::<[__m128i; 2], [u32; 8]>([dcba, hgfe]) }
}
