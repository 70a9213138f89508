//! Sixteen nonces in the registers of AVX-512.
#![allow(unsafe_code)] // Reason: what is compiled for a feature is called once it was found.

use core::arch::x86_64::{
    __m512i, _mm512_cmple_epu32_mask, _mm512_set4_epi32, _mm512_setr_epi32, _mm512_shuffle_epi8,
};

use super::prepared::{Prepared, Start, Words};
use super::rounds::{first, first_of, schedule, second, unrolled};
use super::{Group, Span};
use crate::sha256::avx512::{
    add, big_sigma0, big_sigma1, ch, maj, small_sigma0, small_sigma1, splat,
};

/// Nonces of a group.
pub(super) const LANES: u32 = 16;

/// The proof that this processor has AVX-512 with its foundation and byte instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found(());

impl Found {
    pub(super) fn detect() -> Option<Self> {
        #[cfg(feature = "std")]
        let found = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        #[cfg(not(feature = "std"))]
        let found = cfg!(all(target_feature = "avx512f", target_feature = "avx512bw"));
        found.then_some(Self(()))
    }

    /// The first group of the span in which a hash may meet the target.
    #[expect(clippy::unused_self, reason = "having it is the proof")]
    pub(super) fn next(self, prepared: &Prepared, span: Span) -> Option<Group> {
        // SAFETY: `self` exists only if `detect` found the features that `search` is built with.
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

#[target_feature(enable = "avx512f,avx512bw")]
fn search(prepared: &Prepared, span: Span) -> Option<Group> {
    let Prepared { start, words, top } = prepared;
    let mut w = [splat(0); 16];
    let mut state;
    let mut at = 0_u32;
    while at < span.count {
        let nonce = nonces(span.nonce(at));
        first!(start, words, nonce, w, state, more);
        let tops = reversed(second!(w, state, hash_row, more));
        if let Some(group) = span.group(at, LANES, [at_most(tops, splat(*top))]) {
            return Some(group);
        }
        at = at.saturating_add(LANES);
    }
    None
}

#[target_feature(enable = "avx512f,avx512bw")]
fn search_of<const N: usize>(
    starts: &[Start; N],
    words: &Words,
    top: u32,
    span: Span,
) -> Option<Group<N>> {
    let mut w = [splat(0); 16];
    let mut state;
    let mut at = 0_u32;
    while at < span.count {
        let nonce = nonces(span.nonce(at));
        let schedule = schedule!(words, nonce);
        let mut found = [0; N];
        for (found, start) in found.iter_mut().zip(starts) {
            first_of!(start, schedule, nonce, w);
            let tops = reversed(second!(w, state, hash_row, more));
            *found = at_most(tops, splat(top));
        }
        if let Some(group) = span.group(at, LANES, found) {
            return Some(group);
        }
        at = at.saturating_add(LANES);
    }
    None
}

/// Sixteen nonces as the words that SHA-256 reads.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn nonces(first: u32) -> __m512i {
    let order = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    reversed(add(splat(first), order))
}

/// The bytes of each word in the other order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn reversed(words: __m512i) -> __m512i {
    let order = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    _mm512_shuffle_epi8(words, order)
}

/// A bit for each word that is at most the limit, the lowest for the first.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn at_most(words: __m512i, limit: __m512i) -> u32 {
    u32::from(_mm512_cmple_epu32_mask(words, limit))
}

unrolled! {
    #[target_feature(enable = "avx512f,avx512bw")]
    __m512i
}

/// Hides nothing: the compiler does well with what it knows.
#[inline]
const fn kept<T>(value: T) -> T {
    value
}
