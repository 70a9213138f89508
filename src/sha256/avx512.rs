//! Sixteen lanes in the registers of AVX-512: its rotations and three-operand logic make a round
//! about half of what it is in AVX2, on twice the lanes.
#![allow(unsafe_code)] // Reason: vector registers are read and written as arrays of words.
#![expect(clippy::large_types_passed_by_value, reason = "they are registers")]

use core::arch::x86_64::{
    __m256i, __m512i, _mm512_add_epi32, _mm512_castsi256_si512, _mm512_castsi512_si256,
    _mm512_extracti64x4_epi64, _mm512_inserti64x4, _mm512_ror_epi32, _mm512_set1_epi32,
    _mm512_set4_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i32x4,
    _mm512_srli_epi32, _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::engine::nth_blocks;
use super::{State, avx2, rounds};

/// Lanes in a register.
pub(super) const LANES: usize = 16;

/// The proof that this processor has AVX-512 with its foundation and byte instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found(());

impl Found {
    pub(super) fn detect() -> Option<Self> {
        #[cfg(feature = "std")]
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw");
        #[cfg(not(feature = "std"))]
        let found = cfg!(all(
            target_feature = "avx2",
            target_feature = "avx512f",
            target_feature = "avx512bw"
        ));
        found.then_some(Self(()))
    }

    /// Each state absorbs its message; messages are as long as the shortest.
    #[expect(clippy::unused_self, reason = "having it is the proof")]
    pub(super) fn absorb(self, states: &mut [State; LANES], messages: &[&[[u8; 64]]; LANES]) {
        // SAFETY: `self` exists only if `detect` found every feature that `lanes` is built with.
        unsafe { lanes(states, messages) }
    }
}

#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn lanes(states: &mut [State; LANES], messages: &[&[[u8; 64]]; LANES]) {
    let mut state = load(states);
    let mut at = 0_usize;
    while let Some(blocks) = nth_blocks(messages, at) {
        state = rounds::compress!(state, words(blocks));
        at = at.saturating_add(1);
    }
    store(state, states);
}

/// The states as columns.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn load(states: &[State; LANES]) -> [__m512i; 8] {
    let mut joined = [_mm512_setzero_si512(); 8];
    let (groups, _) = states.as_chunks::<{ avx2::LANES }>();
    if let [first, second] = groups {
        let first = avx2::transpose(avx2::rows(first));
        let second = avx2::transpose(avx2::rows(second));
        for ((joined, low), high) in joined.iter_mut().zip(first).zip(second) {
            *joined = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
        }
    }
    joined
}

/// The columns back into the states.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn store(columns: [__m512i; 8], states: &mut [State; LANES]) {
    let zero = core::arch::x86_64::_mm256_setzero_si256();
    let (mut first, mut second) = ([zero; 8], [zero; 8]);
    for ((low, high), column) in first.iter_mut().zip(&mut second).zip(columns) {
        *low = _mm512_castsi512_si256(column);
        *high = _mm512_extracti64x4_epi64::<1>(column);
    }
    let rows = avx2::transpose(first).into_iter().chain(avx2::transpose(second));
    for (state, row) in states.iter_mut().zip(rows) {
        // SAFETY: both are 32 bytes, and every pattern of bits is a value of either.
        *state = State::from_words(unsafe { core::mem::transmute::<__m256i, [u32; 8]>(row) });
    }
}

/// The sixteen words of a block of each lane.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn words(blocks: [&[u8; 64]; LANES]) -> [__m512i; 16] {
    // Reverses the bytes of each 32-bit word.
    let swap = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    let mut rows = [_mm512_setzero_si512(); 16];
    for (row, block) in rows.iter_mut().zip(blocks) {
        // SAFETY: both are 64 bytes, and every pattern of bits is a value of either.
        let bytes = unsafe { core::mem::transmute::<[u8; 64], __m512i>(*block) };
        *row = _mm512_shuffle_epi8(bytes, swap);
    }
    transpose(rows)
}

/// Rows to columns: word `i` of row `j` becomes word `j` of row `i`.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn transpose(rows: [__m512i; 16]) -> [__m512i; 16] {
    let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13, r14, r15] = rows;
    // Four rows at a time: register `i` holds, in each quarter `q`, word `4q + i` of the four.
    let [a0, a1, a2, a3] = quarters(r0, r1, r2, r3);
    let [b0, b1, b2, b3] = quarters(r4, r5, r6, r7);
    let [c0, c1, c2, c3] = quarters(r8, r9, r10, r11);
    let [d0, d1, d2, d3] = quarters(r12, r13, r14, r15);
    // The quarters of four registers, exchanged as if they were the words of a 4 x 4 matrix.
    let [w0, w4, w8, w12] = exchange(a0, b0, c0, d0);
    let [w1, w5, w9, w13] = exchange(a1, b1, c1, d1);
    let [w2, w6, w10, w14] = exchange(a2, b2, c2, d2);
    let [w3, w7, w11, w15] = exchange(a3, b3, c3, d3);
    [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15]
}

/// Transposes each 4 x 4 quarter of four rows.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn quarters(r0: __m512i, r1: __m512i, r2: __m512i, r3: __m512i) -> [__m512i; 4] {
    let [low01, high01] = [_mm512_unpacklo_epi32(r0, r1), _mm512_unpackhi_epi32(r0, r1)];
    let [low23, high23] = [_mm512_unpacklo_epi32(r2, r3), _mm512_unpackhi_epi32(r2, r3)];
    [
        _mm512_unpacklo_epi64(low01, low23),
        _mm512_unpackhi_epi64(low01, low23),
        _mm512_unpacklo_epi64(high01, high23),
        _mm512_unpackhi_epi64(high01, high23),
    ]
}

/// Quarter `q` of the four registers, as register `q`.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn exchange(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> [__m512i; 4] {
    // 0x44 takes quarters 0 and 1 of both, 0xee quarters 2 and 3.
    let [low_ab, high_ab] =
        [_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0xee>(a, b)];
    let [low_cd, high_cd] =
        [_mm512_shuffle_i32x4::<0x44>(c, d), _mm512_shuffle_i32x4::<0xee>(c, d)];
    // 0x88 takes quarters 0 and 2 of both, 0xdd quarters 1 and 3.
    [
        _mm512_shuffle_i32x4::<0x88>(low_ab, low_cd),
        _mm512_shuffle_i32x4::<0xdd>(low_ab, low_cd),
        _mm512_shuffle_i32x4::<0x88>(high_ab, high_cd),
        _mm512_shuffle_i32x4::<0xdd>(high_ab, high_cd),
    ]
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn splat(k: u32) -> __m512i {
    _mm512_set1_epi32(k.cast_signed())
}

/// 0x96: the exclusive or of three bits, as a table of their eight values.
#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

/// 0xca: the second if the first is set, else the third.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn ch(e: __m512i, f: __m512i, g: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xca>(e, f, g)
}

/// 0xe8: what at least two of the three say.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn maj(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xe8>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn big_sigma0(a: __m512i) -> __m512i {
    xor3(_mm512_ror_epi32::<2>(a), _mm512_ror_epi32::<13>(a), _mm512_ror_epi32::<22>(a))
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn big_sigma1(e: __m512i) -> __m512i {
    xor3(_mm512_ror_epi32::<6>(e), _mm512_ror_epi32::<11>(e), _mm512_ror_epi32::<25>(e))
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn small_sigma0(w: __m512i) -> __m512i {
    xor3(_mm512_ror_epi32::<7>(w), _mm512_ror_epi32::<18>(w), _mm512_srli_epi32::<3>(w))
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn small_sigma1(w: __m512i) -> __m512i {
    xor3(_mm512_ror_epi32::<17>(w), _mm512_ror_epi32::<19>(w), _mm512_srli_epi32::<10>(w))
}
