//! Eight nonces in the registers of AVX2.
//!
//! The rounds stand here once, eight that make words and eight that make none, and both hashes run
//! through them: a core keeps few instructions at hand, and fewer if it runs two threads. With all
//! rounds where they are used, and every word of padding left out, a hash takes 4 % fewer
//! instructions; but on a Zen 3 it takes 8 % more time, and 11 to 20 % more beside a busy thread.
#![allow(unsafe_code)] // Reason: words are read and written where the compiler would keep them.
#![expect(clippy::many_single_char_names, reason = "the names of FIPS 180-4")]

use core::arch::x86_64::{
    __m256i, _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_min_epu32, _mm256_movemask_ps,
    _mm256_set_epi64x, _mm256_setr_epi32, _mm256_shuffle_epi8,
};

use super::prepared::{Prepared, Start, Words};
use super::rounds::{
    END, HASH_BITS, HEADER_BITS, HEADER_PADDING, INITIAL, eight, fixed, last_round, next, round,
    schedule, stored,
};
use super::{Group, Span};
use crate::sha256::avx2::{
    add, big_sigma0, big_sigma1, ch, maj, small_sigma0, small_sigma1, splat,
};
use crate::sha256::rounds::K;

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

#[target_feature(enable = "avx2")]
fn search(prepared: &Prepared, span: Span) -> Option<Group> {
    let Prepared { start, words, top } = prepared;
    let [_, constants @ ..] = &CONSTANTS;
    let mut at = 0_u32;
    while at < span.count {
        let nonce = nonces(span.nonce(at));
        let mut state = began(start, nonce);
        rounds(&mut state, &mut header_words(words, nonce), constants);
        let tops = reversed(second_hash(start, state));
        if let Some(group) = span.group(at, LANES, [at_most(tops, splat(*top))]) {
            return Some(group);
        }
        at = at.saturating_add(LANES);
    }
    None
}

#[target_feature(enable = "avx2")]
fn search_of<const N: usize>(
    starts: &[Start; N],
    words: &Words,
    top: u32,
    span: Span,
) -> Option<Group<N>> {
    let mut at = 0_u32;
    while at < span.count {
        let nonce = nonces(span.nonce(at));
        let schedule = schedule!(words, nonce);
        let mut found = [0; N];
        for (found, start) in found.iter_mut().zip(starts) {
            let mut state = began(start, nonce);
            rounds_of(&mut state, schedule.as_flattened().as_chunks().0);
            *found = at_most(reversed(second_hash(start, state)), splat(top));
        }
        if let Some(group) = span.group(at, LANES, found) {
            return Some(group);
        }
        at = at.saturating_add(LANES);
    }
    None
}

/// The constants of all rounds.
// SAFETY: both are 64 vectors, and every pattern of bits is a value of either.
static CONSTANTS: [[__m256i; 8]; 8] =
    unsafe { core::mem::transmute::<[[u32; 8]; 64], [[__m256i; 8]; 8]>(spread(K.as_flattened())) };

/// Words 8 to 15 of a header's second block, with their constants.
// SAFETY: as above, of 8 vectors.
static PADDING: [__m256i; 8] = unsafe {
    core::mem::transmute::<[[u32; 8]; 8], [__m256i; 8]>(spread(HEADER_PADDING.split_at(4).1))
};

/// Each word for every lane.
const fn spread<const N: usize>(mut words: &[u32]) -> [[u32; 8]; N] {
    let mut all = [[0; 8]; N];
    let mut rest: &mut [[u32; 8]] = &mut all;
    while let (Some((lanes, after)), Some((word, more))) =
        (rest.split_first_mut(), words.split_first())
    {
        *lanes = [*word; 8];
        (rest, words) = (after, more);
    }
    all
}

/// Words 8 to 23 of a header's second block.
#[inline]
#[target_feature(enable = "avx2")]
fn header_words(words: &Words, nonce: __m256i) -> [__m256i; 16] {
    let (w16, w17) = (splat(words.w16), splat(words.w17));
    let w18 = add(splat(words.w18), small_sigma0(nonce));
    let w19 = add(splat(words.w19), nonce);
    let w20 = add(splat(END), small_sigma1(w18));
    let w21 = small_sigma1(w19);
    let w22 = add(splat(HEADER_BITS), small_sigma1(w20));
    let w23 = add(w16, small_sigma1(w21));
    let (o, length) = (splat(0), splat(HEADER_BITS));
    [o, o, o, o, o, o, o, length, w16, w17, w18, w19, w20, w21, w22, w23]
}

/// Rounds 3 to 7 of the first hash.
#[inline]
#[target_feature(enable = "avx2")]
fn began(start: &Start, nonce: __m256i) -> [__m256i; 8] {
    let [mut f, mut g, mut h] = start.abc.map(|word| splat(word));
    let [mut b, mut c, mut d] = start.efg.map(|word| splat(word));
    let (mut e, mut a) = (add(splat(start.a), nonce), add(splat(start.e), nonce));
    let padding = &HEADER_PADDING;
    round!(fixed!(0 [padding]); e f g h a b c d);
    round!(fixed!(1 [padding]); d e f g h a b c);
    round!(fixed!(2 [padding]); c d e f g h a b);
    round!(fixed!(3 [padding]); b c d e f g h a);
    [a, b, c, d, e, f, g, h]
}

/// The last word of the second hash; `state`: of the first, less what it began with.
#[inline]
#[target_feature(enable = "avx2")]
fn second_hash(start: &Start, state: [__m256i; 8]) -> __m256i {
    let [a, b, c, d, e, f, g, h] = state;
    let [ma, mb, mc, md, me, mf, mg, mh] = start.midstate.map(|word| splat(word));
    let [w0, w1, w2, w3] = [add(ma, a), add(mb, b), add(mc, c), add(md, d)];
    let [w4, w5, w6, w7] = [add(me, e), add(mf, f), add(mg, g), add(mh, h)];
    let (o, end, length) = (splat(0), splat(END), splat(HASH_BITS));
    let mut w = [w0, w1, w2, w3, w4, w5, w6, w7, end, o, o, o, o, o, o, length];
    let [constants @ .., _] = &CONSTANTS;
    let mut state = INITIAL.map(|word| splat(word));
    rounds(&mut state, &mut w, constants);
    let [mut a, mut b, mut c, mut d, e, f, g, mut h] = state;
    let [_, _, _, k3] = &K;
    round!(next!(8 [w k3]); a b c d e f g h);
    last_round!(next!(9 [w k3]); c d e f g);
    last_round!(next!(10 [w k3]); b c d e f);
    last_round!(next!(11 [w k3]); a b c d e);
    last_round!(next!(12 [w k3]); h a b c d);
    add(splat(INITIAL[7]), h)
}

/// A round that adds word and constant one by one, each from memory.
macro_rules! round_by {
    ($word:expr, $constant:expr;
     $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        $h = add(add($h, read(&$word)), $constant);
        $h = add(add($h, ch($e, $f, $g)), big_sigma1($e));
        $d = add($d, $h);
        $h = add(add($h, big_sigma0($a)), maj($a, $b, $c));
    };
}

/// Eight rounds by the words `$w`.
macro_rules! eight_by {
    ($w:ident $k:ident;
     $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        round_by!($w[0], $k[0]; $a $b $c $d $e $f $g $h);
        round_by!($w[1], $k[1]; $h $a $b $c $d $e $f $g);
        round_by!($w[2], $k[2]; $g $h $a $b $c $d $e $f);
        round_by!($w[3], $k[3]; $f $g $h $a $b $c $d $e);
        round_by!($w[4], $k[4]; $e $f $g $h $a $b $c $d);
        round_by!($w[5], $k[5]; $d $e $f $g $h $a $b $c);
        round_by!($w[6], $k[6]; $c $d $e $f $g $h $a $b);
        round_by!($w[7], $k[7]; $b $c $d $e $f $g $h $a);
    };
}

/// The same, and after each round its word becomes the one sixteen places on; `$v`: the eight words
/// after `$w`.
macro_rules! eight_making {
    ($w:ident $v:ident $k:ident;
     $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        round_by!($w[0], $k[0]; $a $b $c $d $e $f $g $h);
        write(word(&$w[0], &$w[1], &$v[1], &$v[6]), &mut $w[0]);
        round_by!($w[1], $k[1]; $h $a $b $c $d $e $f $g);
        write(word(&$w[1], &$w[2], &$v[2], &$v[7]), &mut $w[1]);
        round_by!($w[2], $k[2]; $g $h $a $b $c $d $e $f);
        write(word(&$w[2], &$w[3], &$v[3], &$w[0]), &mut $w[2]);
        round_by!($w[3], $k[3]; $f $g $h $a $b $c $d $e);
        write(word(&$w[3], &$w[4], &$v[4], &$w[1]), &mut $w[3]);
        round_by!($w[4], $k[4]; $e $f $g $h $a $b $c $d);
        write(word(&$w[4], &$w[5], &$v[5], &$w[2]), &mut $w[4]);
        round_by!($w[5], $k[5]; $d $e $f $g $h $a $b $c);
        write(word(&$w[5], &$w[6], &$v[6], &$w[3]), &mut $w[5]);
        round_by!($w[6], $k[6]; $c $d $e $f $g $h $a $b);
        write(word(&$w[6], &$w[7], &$v[7], &$w[4]), &mut $w[6]);
        round_by!($w[7], $k[7]; $b $c $d $e $f $g $h $a);
        write(word(&$w[7], &$v[0], &$w[0], &$w[5]), &mut $w[7]);
    };
}

/// Fifty-six rounds, of which the first forty make words: of `w` these are then the last sixteen
/// that the rounds have used, the older eight behind the newer.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn rounds(state: &mut [__m256i; 8], w: &mut [__m256i; 16], constants: &[[__m256i; 8]; 7]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    if let ([w, v], _) = w.as_chunks_mut::<8>() {
        let (mut w, mut v) = (w, v);
        let [making @ .., sixth, seventh] = constants;
        for k in making {
            eight_making!(w v k; a b c d e f g h);
            core::mem::swap(&mut w, &mut v);
        }
        for k in [sixth, seventh] {
            eight_by!(w k; a b c d e f g h);
            core::mem::swap(&mut w, &mut v);
        }
    }
    *state = [a, b, c, d, e, f, g, h];
}

/// The same rounds of the first hash, by words that have their constants, from 16 on.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn rounds_of(state: &mut [__m256i; 8], sums: &[[__m256i; 8]]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for row in core::iter::once(&PADDING).chain(sums) {
        eight!(stored [row]; 0 1 2 3 4 5 6 7; a b c d e f g h);
    }
    *state = [a, b, c, d, e, f, g, h];
}

/// A word of the schedule by the words 16, 15, 7 and 2 places before it.
#[inline]
#[target_feature(enable = "avx2")]
fn word(w0: &__m256i, w1: &__m256i, w9: &__m256i, w14: &__m256i) -> __m256i {
    let sum = add(small_sigma0(read(w1)), read(w0));
    add(add(sum, read(w9)), small_sigma1(read(w14)))
}

/// A word from memory: the compiler would keep it from one use to the next, and move others away.
#[inline]
fn read(word: &__m256i) -> __m256i {
    // SAFETY: it is a reference.
    unsafe { core::ptr::read_volatile(word) }
}

/// See [`read`].
#[inline]
fn write(value: __m256i, word: &mut __m256i) {
    // SAFETY: it is a reference.
    unsafe { core::ptr::write_volatile(word, value) }
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
