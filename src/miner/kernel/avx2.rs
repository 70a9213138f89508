//! Eight nonces in the registers of AVX2.
#![allow(unsafe_code)] // Reason: lanes are read from arrays of words.

use core::arch::x86_64::{
    __m256i, _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_min_epu32, _mm256_movemask_ps,
    _mm256_set_epi64x, _mm256_setr_epi32, _mm256_shuffle_epi8,
};

use super::lanes::searches;
use super::prepared::{Prepared, Start, Words};
use super::rounds::{first, first_of, schedule, second, unrolled};
use super::{Group, Span};
use crate::sha256::avx2::{
    add, big_sigma0, big_sigma1, ch, maj, small_sigma0, small_sigma1, splat,
};

/// Nonces of a group.
pub(super) const LANES: u32 = 8;

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

    /// The first group of the span in which a hash may meet the target.
    #[expect(clippy::unused_self, reason = "having it is the proof")]
    pub(super) fn next(self, prepared: &Prepared, span: Span) -> Option<Group> {
        // SAFETY: `self` exists only if `detect` found the feature that `search` is built with.
        unsafe { search(prepared, span) }
    }

    /// The same for several versions of a header, whose words are the same.
    #[expect(clippy::unused_self, reason = "having it is the proof")]
    pub(super) fn next_of<const N: usize>(
        self,
        starts: &[Start; N],
        words: &Words,
        top: u32,
        span: Span,
    ) -> Option<Group<N>> {
        // SAFETY: `self` exists only if `detect` found what `search_of` is built with.
        unsafe { search_of(starts, words, top, span) }
    }
}

searches! {
    #[target_feature(enable = "avx2")]
    LANES
}

/// Eight nonces as the words that SHA-256 reads.
#[inline]
#[target_feature(enable = "avx2")]
fn nonces(first: u32) -> __m256i {
    reversed(add(splat(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)))
}

/// The bytes of each word in the other order.
#[inline]
#[target_feature(enable = "avx2")]
fn reversed(words: __m256i) -> __m256i {
    let order = _mm256_set_epi64x(
        0x0c0d_0e0f_0809_0a0b,
        0x0405_0607_0001_0203,
        0x0c0d_0e0f_0809_0a0b,
        0x0405_0607_0001_0203,
    );
    _mm256_shuffle_epi8(words, order)
}

/// A bit for each word that is at most the limit, the lowest for the first.
#[inline]
#[target_feature(enable = "avx2")]
fn at_most(words: __m256i, limit: __m256i) -> u32 {
    let meets = _mm256_cmpeq_epi32(_mm256_min_epu32(words, limit), words);
    _mm256_movemask_ps(_mm256_castsi256_ps(meets)).cast_unsigned()
}

unrolled! {
    #[target_feature(enable = "avx2")]
    __m256i
}

/// Hides nothing: the compiler does well with what it knows.
#[inline]
const fn kept<T>(value: T) -> T {
    value
}
