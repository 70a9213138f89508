//! Eight lanes in the registers of AVX2, a word of each lane beside the same word of the others.
#![allow(unsafe_code)] // Reason: vector registers are read and written as arrays of words.

use core::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_or_si256, _mm256_permute2x128_si256,
    _mm256_set_epi64x, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_slli_epi32, _mm256_srli_epi32, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256,
};

use super::engine::nth_blocks;
use super::{State, rounds};

/// Lanes in a register.
pub(super) const LANES: usize = 8;

/// The proof that this processor has AVX2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found(());

impl Found {
    pub(super) fn detect() -> Option<Self> {
        #[cfg(feature = "std")]
        let found = is_x86_feature_detected!("avx2");
        #[cfg(not(feature = "std"))]
        let found = cfg!(target_feature = "avx2");
        found.then_some(Self(()))
    }

    /// Each state absorbs its message; messages are as long as the shortest.
    #[expect(clippy::unused_self, reason = "having it is the proof")]
    pub(super) fn absorb(self, states: &mut [State; LANES], messages: &[&[[u8; 64]]; LANES]) {
        // SAFETY: `self` exists only if `detect` found the feature that `lanes` is built with.
        unsafe { lanes(states, messages) }
    }
}

#[target_feature(enable = "avx2")]
fn lanes(states: &mut [State; LANES], messages: &[&[[u8; 64]]; LANES]) {
    let mut state = transpose(rows(states));
    let mut at = 0_usize;
    while let Some(blocks) = nth_blocks(messages, at) {
        state = rounds::compress!(state, words(blocks));
        at = at.saturating_add(1);
    }
    for (state, row) in states.iter_mut().zip(transpose(state)) {
        // SAFETY: both are 32 bytes, and every pattern of bits is a value of either.
        *state = State::from_words(unsafe { core::mem::transmute::<__m256i, [u32; 8]>(row) });
    }
}

/// Each lane's state in a register of its own.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn rows(states: &[State; LANES]) -> [__m256i; 8] {
    let mut rows = [_mm256_setzero_si256(); 8];
    for (row, state) in rows.iter_mut().zip(states) {
        // SAFETY: both are 32 bytes, and every pattern of bits is a value of either.
        *row = unsafe { core::mem::transmute::<[u32; 8], __m256i>(state.words()) };
    }
    rows
}

/// The sixteen words of a block of each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn words(blocks: [&[u8; 64]; LANES]) -> [__m256i; 16] {
    // Reverses the bytes of each 32-bit word.
    let swap = _mm256_set_epi64x(
        0x0c0d_0e0f_0809_0a0b,
        0x0405_0607_0001_0203,
        0x0c0d_0e0f_0809_0a0b,
        0x0405_0607_0001_0203,
    );
    let zero = _mm256_setzero_si256();
    let (mut firsts, mut seconds) = ([zero; 8], [zero; 8]);
    for ((first, second), block) in firsts.iter_mut().zip(&mut seconds).zip(blocks) {
        // SAFETY: both are 64 bytes, and every pattern of bits is a value of either.
        let [low, high] = unsafe { core::mem::transmute::<[u8; 64], [__m256i; 2]>(*block) };
        *first = _mm256_shuffle_epi8(low, swap);
        *second = _mm256_shuffle_epi8(high, swap);
    }
    let [w0, w1, w2, w3, w4, w5, w6, w7] = transpose(firsts);
    let [w8, w9, w10, w11, w12, w13, w14, w15] = transpose(seconds);
    [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15]
}

/// Rows to columns: word `i` of row `j` becomes word `j` of row `i`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    // Pairs of rows: words 0, 0, 1, 1 of each half, then 2, 2, 3, 3.
    let [a0, a1] = [_mm256_unpacklo_epi32(r0, r1), _mm256_unpackhi_epi32(r0, r1)];
    let [a2, a3] = [_mm256_unpacklo_epi32(r2, r3), _mm256_unpackhi_epi32(r2, r3)];
    let [a4, a5] = [_mm256_unpacklo_epi32(r4, r5), _mm256_unpackhi_epi32(r4, r5)];
    let [a6, a7] = [_mm256_unpacklo_epi32(r6, r7), _mm256_unpackhi_epi32(r6, r7)];
    // Fours of rows: one word of each half, of four rows.
    let [b0, b1] = [_mm256_unpacklo_epi64(a0, a2), _mm256_unpackhi_epi64(a0, a2)];
    let [b2, b3] = [_mm256_unpacklo_epi64(a1, a3), _mm256_unpackhi_epi64(a1, a3)];
    let [b4, b5] = [_mm256_unpacklo_epi64(a4, a6), _mm256_unpackhi_epi64(a4, a6)];
    let [b6, b7] = [_mm256_unpacklo_epi64(a5, a7), _mm256_unpackhi_epi64(a5, a7)];
    // The low halves beside each other, then the high halves.
    [
        _mm256_permute2x128_si256::<0x20>(b0, b4),
        _mm256_permute2x128_si256::<0x20>(b1, b5),
        _mm256_permute2x128_si256::<0x20>(b2, b6),
        _mm256_permute2x128_si256::<0x20>(b3, b7),
        _mm256_permute2x128_si256::<0x31>(b0, b4),
        _mm256_permute2x128_si256::<0x31>(b1, b5),
        _mm256_permute2x128_si256::<0x31>(b2, b6),
        _mm256_permute2x128_si256::<0x31>(b3, b7),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn splat(k: u32) -> __m256i {
    _mm256_set1_epi32(k.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

/// Rotates right by `R`; `L` is 32 less `R`.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const R: i32, const L: i32>(a: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_srli_epi32::<R>(a), _mm256_slli_epi32::<L>(a))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn ch(e: __m256i, f: __m256i, g: __m256i) -> __m256i {
    _mm256_xor_si256(g, _mm256_and_si256(e, _mm256_xor_si256(f, g)))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn maj(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    // The two differences are shared with the rounds before and after: the compiler keeps them.
    let differ = _mm256_and_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(b, c));
    _mm256_xor_si256(b, differ)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn big_sigma0(a: __m256i) -> __m256i {
    xor3(rotate::<2, 30>(a), rotate::<13, 19>(a), rotate::<22, 10>(a))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn big_sigma1(e: __m256i) -> __m256i {
    xor3(rotate::<6, 26>(e), rotate::<11, 21>(e), rotate::<25, 7>(e))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn small_sigma0(w: __m256i) -> __m256i {
    xor3(rotate::<7, 25>(w), rotate::<18, 14>(w), _mm256_srli_epi32::<3>(w))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn small_sigma1(w: __m256i) -> __m256i {
    xor3(rotate::<17, 15>(w), rotate::<19, 13>(w), _mm256_srli_epi32::<10>(w))
}
