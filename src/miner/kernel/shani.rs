//! The SHA instructions of x86: four nonces, interleaved.
//!
//! Of the 64 `SHA256RNDS2` of two hashes 61 are left. A Zen 3 can begin one in each cycle, and a
//! nonce takes it 101 cycles: everything else counts as much, all the more beside a busy thread of
//! the same core. The instructions are in the order that `sha256` found for its four lanes, and
//! most of them are its own. The order of the words in the registers is Intel's: ABEF and CDGH.
#![allow(unsafe_code)] // Reason: assembly reads the tables beside it.
#![expect(clippy::many_single_char_names, reason = "the names of FIPS 180-4")]

use core::arch::asm;
use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_min_epu32, _mm_movemask_ps,
    _mm_set_epi32, _mm_set1_epi32, _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_shuffle_epi8,
    _mm_unpacklo_epi32, _mm_unpacklo_epi64,
};

use super::prepared::Prepared;
use super::rounds::{
    END, HASH_BITS, HASH_PADDING, HEADER_30, HEADER_BITS, HEADER_PADDING, INITIAL,
};
use super::{Group, Span};
use crate::sha256::rounds::K;
use crate::sha256::shani::{Lane, from_words, last_quad_of, quad_of, quads, to_halves};

/// Nonces of a group.
pub(super) const LANES: u32 = 4;

/// The proof that this processor has the SHA instructions, and AVX beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found(());

impl Found {
    pub(super) fn detect() -> Option<Self> {
        #[cfg(feature = "std")]
        let found = is_x86_feature_detected!("sha") && is_x86_feature_detected!("avx");
        #[cfg(not(feature = "std"))]
        let found = cfg!(all(target_feature = "sha", target_feature = "avx"));
        found.then_some(Self(()))
    }

    /// The first group of the span in which a hash may meet the target.
    #[expect(clippy::unused_self, reason = "having it is the proof")]
    pub(super) fn next(self, prepared: &Prepared, span: Span) -> Option<Group> {
        // SAFETY: `self` exists only if `detect` found the features that `search` is built with;
        // AVX brings SSSE3 and SSE4.1.
        unsafe { search(prepared, span) }
    }
}

/// Words that are the same for all nonces, where the assembly finds them.
#[repr(C, align(16))]
struct Table {
    /// Byte 0: the constants of all rounds.
    k: [[u32; 16]; 4],
    /// Byte 256: words 4 to 15 of a header's second block, with their constants.
    header: [u32; 12],
    /// Byte 304: words 8 to 15 of the second hash's block, with their constants.
    hash: [u32; 8],
    /// Byte 336: what no nonce changes of words 20 to 23 of the header's schedule.
    w20: [u32; 4],
    /// Byte 352: the same of words 28 to 31.
    w28: [u32; 4],
    /// Byte 368: words 8 to 11 of the second hash's block.
    end: [u32; 4],
    /// Byte 384: words 12 to 15 of it.
    length: [u32; 4],
}

/// Four rounds of one of four lanes whose words are fixed, and the four words that come sixteen
/// places after them: `$lines` compute all but what `sha256msg2` adds, in `{x}`.
///
/// `$sum`: where the table has the words with their constants; `$to`: which four of the schedule.
macro_rules! fixed_quad_of {
    ($lane:ident, $words:ident, $table:ident, $sum:literal, $to:literal, [$($lines:literal),+]) => {
        asm!(
            "vmovdqa xmm0, [{table} + {sum}]",
            "sha256rnds2 {cdgh}, {abef}",
            $($lines,)+
            "vmovq xmm0, qword ptr [{table} + {sum} + 8]",
            "sha256rnds2 {abef}, {cdgh}",
            "sha256msg2 {x}, {newest}",
            "vmovdqa [{words} + {to}], {x}",
            words = in(reg) $words,
            table = in(reg) $table,
            sum = const $sum,
            to = const 16 * $to,
            abef = inout(xmm_reg) $lane.abef,
            cdgh = inout(xmm_reg) $lane.cdgh,
            newest = in(xmm_reg) $lane.newest,
            x = out(xmm_reg) $lane.newest,
            out("xmm0") _,
            options(nostack, preserves_flags),
        )
    };
}

/// The first hash's second quad of rounds (the first is done by the table) and the next two, with
/// words 20 to 31.
macro_rules! header_quad_of {
    ($lane:ident, $words:ident, $table:ident, 1) => {
        fixed_quad_of!($lane, $words, $table, 256, 1, ["vmovdqa {x}, [{table} + 336]"])
    };
    ($lane:ident, $words:ident, $table:ident, 2) => {
        fixed_quad_of!($lane, $words, $table, 272, 2, ["vpalignr {x}, {newest}, [{words}], 4"])
    };
    ($lane:ident, $words:ident, $table:ident, 3) => {
        fixed_quad_of!(
            $lane,
            $words,
            $table,
            288,
            3,
            ["vpalignr {x}, {newest}, [{words} + 16], 4", "vpaddd {x}, {x}, [{table} + 352]"]
        )
    };
}

/// The second hash's first four quads of rounds, with words 16 to 31.
macro_rules! hash_quad_of {
    ($lane:ident, $words:ident, $table:ident, 2) => {
        fixed_quad_of!($lane, $words, $table, 304, 2, [
            "vpalignr {x}, {newest}, [{words}], 4",
            "vpaddd {x}, {x}, [{table} + 368]"
        ])
    };
    ($lane:ident, $words:ident, $table:ident, 3) => {
        fixed_quad_of!($lane, $words, $table, 320, 3, [
            "vmovdqa {x}, [{table} + 384]",
            "sha256msg1 {x}, [{words}]",
            "vpalignr xmm0, {newest}, [{words} + 16], 4",
            "vpaddd {x}, {x}, xmm0"
        ])
    };
    ($lane:ident, $words:ident, $table:ident, 0) => {
        asm!(
            "vmovdqa {x}, [{words}]",
            "vpaddd xmm0, {x}, [{table}]",
            "sha256msg1 {x}, [{words} + 16]",
            "sha256rnds2 {cdgh}, {abef}",
            "vpshufd xmm0, xmm0, 14",
            "sha256msg2 {x}, [{table} + 384]",
            "sha256rnds2 {abef}, {cdgh}",
            "vmovdqa [{words}], {x}",
            words = in(reg) $words,
            table = in(reg) $table,
            abef = inout(xmm_reg) $lane.abef,
            cdgh = inout(xmm_reg) $lane.cdgh,
            x = out(xmm_reg) $lane.newest,
            out("xmm0") _,
            options(nostack, preserves_flags),
        )
    };
    ($lane:ident, $words:ident, $table:ident, 1) => {
        asm!(
            "vmovdqa {x}, [{words} + 16]",
            "vpaddd xmm0, {x}, [{table} + 16]",
            "sha256msg1 {x}, [{table} + 368]",
            "sha256rnds2 {cdgh}, {abef}",
            "vpalignr {t}, {newest}, [{table} + 384], 4",
            "vpshufd xmm0, xmm0, 14",
            "vpaddd {x}, {x}, {t}",
            "sha256rnds2 {abef}, {cdgh}",
            "sha256msg2 {x}, {newest}",
            "vmovdqa [{words} + 16], {x}",
            words = in(reg) $words,
            table = in(reg) $table,
            abef = inout(xmm_reg) $lane.abef,
            cdgh = inout(xmm_reg) $lane.cdgh,
            newest = in(xmm_reg) $lane.newest,
            x = out(xmm_reg) $lane.newest,
            t = out(xmm_reg) _,
            out("xmm0") _,
            options(nostack, preserves_flags),
        )
    };
}

/// The last two rounds that are wanted, 60 and 61: what was `cdgh` then is `abef`.
macro_rules! end_of {
    ($lane:ident, $words:ident, $table:ident, 15) => {
        asm!(
            "vmovdqa xmm0, [{words} + 48]",
            "vpaddd xmm0, xmm0, [{table} + 240]",
            "sha256rnds2 {cdgh}, {abef}",
            words = in(reg) $words,
            table = in(reg) $table,
            abef = in(xmm_reg) $lane.abef,
            cdgh = inout(xmm_reg) $lane.cdgh,
            out("xmm0") _,
            options(nostack, preserves_flags, readonly),
        )
    };
}

#[target_feature(enable = "sha,ssse3,sse4.1,avx")]
fn search(prepared: &Prepared, span: Span) -> Option<Group> {
    let Prepared { start, words, top } = prepared;
    let table = table(prepared);
    let [b, c, d] = start.abc;
    let [f, g, h] = start.efg;
    let (abef, cdgh) = from_words([start.a, b, c, d, start.e, f, g, h]);
    let (middle_abef, middle_cdgh) = from_words(start.midstate);
    let (initial_abef, initial_cdgh) = from_words(INITIAL);
    let zero = _mm_setzero_si128();
    let w16 = vector([words.w16, words.w17, words.w18, words.w19]);
    let (last, limit) = (_mm_set1_epi32(INITIAL[7].cast_signed()), vector([*top; 4]));
    let mut schedules = [[zero; 4]; 4];
    let mut lanes = [Lane { abef, cdgh, newest: zero }; 4];
    let mut at = 0_u32;
    while at < span.count {
        let nonces = _mm_add_epi32(vector([span.nonce(at); 4]), _mm_set_epi32(3, 2, 1, 0));
        for ((lane, schedule), spread) in lanes.iter_mut().zip(&mut schedules).zip(SPREAD) {
            let nonce = _mm_shuffle_epi8(nonces, vector(spread));
            lane.abef = _mm_add_epi32(abef, nonce);
            lane.cdgh = cdgh;
            let [_, _, _, word] = spread;
            let word = _mm_shuffle_epi8(nonces, vector([NONE, NONE, NONE, word]));
            lane.newest = _mm_add_epi32(w16, _mm_sha256msg1_epu32(word, zero));
            let [first, ..] = schedule;
            *first = lane.newest;
        }
        rounds_of_header(&mut lanes, &mut schedules, &table);
        for (lane, schedule) in lanes.iter_mut().zip(&mut schedules) {
            let abef = _mm_add_epi32(lane.abef, middle_abef);
            let cdgh = _mm_add_epi32(lane.cdgh, middle_cdgh);
            let [first, second, ..] = schedule;
            [*first, *second] = to_halves(abef, cdgh);
            (lane.abef, lane.cdgh) = (initial_abef, initial_cdgh);
        }
        rounds_of_hash(&mut lanes, &mut schedules, &table);
        let [a, b, c, d] = lanes.map(|lane| lane.cdgh);
        let ends = _mm_unpacklo_epi64(_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
        let reverse = vector([REVERSE, REVERSE + FOUR, REVERSE + 2 * FOUR, REVERSE + 3 * FOUR]);
        let tops = _mm_shuffle_epi8(_mm_add_epi32(ends, last), reverse);
        let meets = _mm_cmpeq_epi32(_mm_min_epu32(tops, limit), tops);
        let found = _mm_movemask_ps(_mm_castsi128_ps(meets)).cast_unsigned();
        if let Some(group) = span.group(at, LANES, [found]) {
            return Some(group);
        }
        at = at.saturating_add(LANES);
    }
    None
}

/// Rounds 4 to 63 of the first hash; of the schedules the first vectors are words 16 to 19.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1,avx")]
fn rounds_of_header(lanes: &mut [Lane; 4], schedules: &mut [[__m128i; 4]; 4], table: &Table) {
    let table = core::ptr::from_ref(table).cast::<u8>();
    let [in_a, in_b, in_c, in_d] = schedules.each_mut().map(core::ptr::from_mut);
    let [mut a, mut b, mut c, mut d] = *lanes;
    // SAFETY: `table` is a `Table`, which is only read; each of the words are the 64 bytes of a
    // schedule, borrowed for as long; both are aligned to a vector as `sha256msg1` and `vmovdqa`
    // need it, and every offset is within them. The caller has the instructions.
    unsafe {
        quads!(header_quad_of, table, [a in_a, b in_b, c in_c, d in_d], 1 2 3);
        quads!(quad_of, table, [a in_a, b in_b, c in_c, d in_d], 4 5 6 7 8 9 10 11);
        quads!(last_quad_of, table, [a in_a, b in_b, c in_c, d in_d], 12 13 14 15);
    }
    *lanes = [a, b, c, d];
}

/// Rounds 0 to 61 of the second hash, and then `cdgh` is ABEF; of the schedules the first two
/// vectors are its words.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1,avx")]
fn rounds_of_hash(lanes: &mut [Lane; 4], schedules: &mut [[__m128i; 4]; 4], table: &Table) {
    let table = core::ptr::from_ref(table).cast::<u8>();
    let [in_a, in_b, in_c, in_d] = schedules.each_mut().map(core::ptr::from_mut);
    let [mut a, mut b, mut c, mut d] = *lanes;
    // SAFETY: as in `rounds_of_header`.
    unsafe {
        quads!(hash_quad_of, table, [a in_a, b in_b, c in_c, d in_d], 0 1 2 3);
        quads!(quad_of, table, [a in_a, b in_b, c in_c, d in_d], 4 5 6 7 8 9 10 11);
        quads!(last_quad_of, table, [a in_a, b in_b, c in_c, d in_d], 12 13 14);
        quads!(end_of, table, [a in_a, b in_b, c in_c, d in_d], 15);
    }
    *lanes = [a, b, c, d];
}

/// What the assembly reads.
fn table(prepared: &Prepared) -> Table {
    Table {
        k: K,
        header: HEADER_PADDING,
        hash: HASH_PADDING,
        w20: [END, 0, HEADER_BITS, prepared.words.w16],
        w28: [0, 0, HEADER_30, prepared.words.w31],
        end: [END, 0, 0, 0],
        length: [0, 0, 0, HASH_BITS],
    }
}

/// Four words, the first one lowest.
#[inline]
const fn vector(words: [u32; 4]) -> __m128i {
    // SAFETY: both are 16 bytes, and every pattern of bits is a value of either.
    unsafe { core::mem::transmute::<[u32; 4], __m128i>(words) }
}

/// For `PSHUFB`: four zero bytes.
const NONE: u32 = 0x8080_8080;
/// For `PSHUFB`: the first word, its bytes reversed.
const REVERSE: u32 = 0x0001_0203;
/// From there to the next word.
const FOUR: u32 = 0x0404_0404;

/// For `PSHUFB`: nonces to the places of `a` and `e` in ABEF, as the words that SHA-256 reads.
const SPREAD: [[u32; 4]; 4] = [
    [NONE, REVERSE, NONE, REVERSE],
    [NONE, REVERSE + FOUR, NONE, REVERSE + FOUR],
    [NONE, REVERSE + 2 * FOUR, NONE, REVERSE + 2 * FOUR],
    [NONE, REVERSE + 3 * FOUR, NONE, REVERSE + 3 * FOUR],
];
