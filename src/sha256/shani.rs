//! The SHA instructions of x86: one lane has a latency that two to four interleaved lanes hide.
//!
//! `SHA256RNDS2` does two rounds and waits for the two before it; with several independent lanes
//! the unit is never idle. The order of the words in the registers is Intel's ("Intel SHA
//! Extensions", 2013): ABEF and CDGH.
//!
//! One and two lanes fit the sixteen registers and are written in intrinsics. Four lanes take 26
//! where the compiler has its way, and it schedules intrinsics by a model of its own, whatever
//! their order in the source; so four are written in assembly (see [`quad_of`]). On a Zen 3 a
//! compression then takes 18 to 19 ns, else 21 by two lanes, 24 by four and 27 by one.
#![allow(unsafe_code)] // Reason: vector registers are read and written as arrays of words.

use core::arch::asm;
use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_set_epi64x, _mm_setzero_si128,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32,
};

use core::mem::MaybeUninit;

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

    /// Each of four states absorbs its message; messages are as long as the shortest.
    pub(super) fn absorb_four(self, states: &mut [State; 4], messages: &[&[[u8; 64]]; 4]) {
        if self.avx {
            // SAFETY: `self` exists only if `detect` found the features of `four`, and AVX.
            return unsafe { four(states, messages) };
        }
        let [m0, m1, m2, m3] = *messages;
        if let ([first, second], _) = states.as_chunks_mut::<2>() {
            self.absorb(first, &[m0, m1]);
            self.absorb(second, &[m2, m3]);
        }
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

/// One of four lanes: of its schedule only the newest four words are in a register.
#[derive(Clone, Copy)]
pub(crate) struct Lane {
    pub(crate) abef: __m128i,
    pub(crate) cdgh: __m128i,
    pub(crate) newest: __m128i,
}

/// Four rounds of one of four lanes, and the words that the same place holds sixteen rounds later.
///
/// `$at`: which four rounds, 0..=11; `$words`: the lane's sixteen words of the schedule, of which
/// the newest four are in the lane too, because the next quad cannot wait for memory. The words are
/// computed in the shadow of the rounds; this order took the least time of some hundreds. Of the
/// registers it uses `xmm0`, which the rounds read by definition, and two more.
macro_rules! quad_of {
    ($lane:ident, $words:ident, $table:ident, $at:literal) => {
        asm!(
            "vmovdqa {x}, [{words} + {w0}]",
            "vpaddd xmm0, {x}, [{table} + {k}]",
            "sha256msg1 {x}, [{words} + {w1}]",
            "sha256rnds2 {cdgh}, {abef}",
            "vpalignr {t}, {newest}, [{words} + {w2}], 4",
            "vpshufd xmm0, xmm0, 14",
            "vpaddd {x}, {x}, {t}",
            "sha256rnds2 {abef}, {cdgh}",
            "sha256msg2 {x}, {newest}",
            "vmovdqa [{words} + {w0}], {x}",
            words = in(reg) $words,
            table = in(reg) $table,
            k = const 16 * $at,
            w0 = const 16 * ($at % 4),
            w1 = const 16 * (($at + 1) % 4),
            w2 = const 16 * (($at + 2) % 4),
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

/// Four of the last sixteen rounds of one of four lanes: no words come after theirs.
macro_rules! last_quad_of {
    ($lane:ident, $words:ident, $table:ident, $at:literal) => {
        asm!(
            "vmovdqa xmm0, [{words} + {w0}]",
            "vpaddd xmm0, xmm0, [{table} + {k}]",
            "sha256rnds2 {cdgh}, {abef}",
            "vpshufd xmm0, xmm0, 14",
            "sha256rnds2 {abef}, {cdgh}",
            words = in(reg) $words,
            table = in(reg) $table,
            k = const 16 * $at,
            w0 = const 16 * ($at % 4),
            abef = inout(xmm_reg) $lane.abef,
            cdgh = inout(xmm_reg) $lane.cdgh,
            out("xmm0") _,
            options(nostack, preserves_flags, readonly),
        )
    };
}

/// The same four rounds of all four lanes, for each place in turn.
macro_rules! quads {
    ($quad:ident, $table:ident, [$($lane:ident $words:ident),+], $($at:tt)+) => {
        $crate::sha256::shani::quads!(@ $quad, $table, [$($lane $words),+] $($at)+)
    };
    (@ $quad:ident, $table:ident, $lanes:tt $at:tt $($rest:tt)*) => {
        $crate::sha256::shani::quads!(@one $quad, $table, $lanes $at);
        $crate::sha256::shani::quads!(@ $quad, $table, $lanes $($rest)*)
    };
    (@ $quad:ident, $table:ident, $lanes:tt) => {};
    (@one $quad:ident, $table:ident, [$($lane:ident $words:ident),+] $at:tt) => {
        $($quad!($lane, $words, $table, $at);)+
    };
}

pub(crate) use {last_quad_of, quad_of, quads};

#[target_feature(enable = "sha,ssse3,sse4.1,avx")]
fn four(states: &mut [State; 4], messages: &[&[[u8; 64]]; 4]) {
    let zero = _mm_setzero_si128();
    let mut lanes = [Lane { abef: zero, cdgh: zero, newest: zero }; 4];
    for (lane, state) in lanes.iter_mut().zip(states.iter()) {
        (lane.abef, lane.cdgh) = from_words(state.words());
    }
    let mut schedules = MaybeUninit::<[[__m128i; 4]; 4]>::uninit();
    let mut at = 0_usize;
    while let Some(blocks) = nth_blocks(messages, at) {
        let before = lanes;
        let schedules = schedules.write(blocks.map(|block| words(block)));
        for (lane, [.., newest]) in lanes.iter_mut().zip(schedules.iter()) {
            lane.newest = *newest;
        }
        compress_four(&mut lanes, schedules);
        for (lane, before) in lanes.iter_mut().zip(before) {
            lane.abef = _mm_add_epi32(lane.abef, before.abef);
            lane.cdgh = _mm_add_epi32(lane.cdgh, before.cdgh);
        }
        at = at.saturating_add(1);
    }
    for (state, lane) in states.iter_mut().zip(lanes) {
        *state = State::from_words(to_words(lane.abef, lane.cdgh));
    }
}

/// All rounds of four lanes, whose blocks are the words of `schedules`; these are used up.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1,avx")]
fn compress_four(lanes: &mut [Lane; 4], schedules: &mut [[__m128i; 4]; 4]) {
    let table = core::ptr::from_ref(&K).cast::<u8>();
    let [in_a, in_b, in_c, in_d] = schedules.each_mut().map(core::ptr::from_mut);
    let [mut a, mut b, mut c, mut d] = *lanes;
    // SAFETY: `table` are the 256 bytes of the constants, which are only read; each of the words
    // are the 64 bytes of a schedule, borrowed for as long, and aligned to a vector as `sha256msg1`
    // and `vmovdqa` need it; every offset is below these. The caller has the instructions.
    unsafe {
        quads!(quad_of, table, [a in_a, b in_b, c in_c, d in_d], 0 1 2 3 4 5 6 7 8 9 10 11);
        quads!(last_quad_of, table, [a in_a, b in_b, c in_c, d in_d], 12 13 14 15);
    }
    *lanes = [a, b, c, d];
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
pub(crate) fn from_words(words: [u32; 8]) -> (__m128i, __m128i) {
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
    // SAFETY: both are 32 bytes, and every pattern of bits is a value of either.
    unsafe { core::mem::transmute::<[__m128i; 2], [u32; 8]>(to_halves(abef, cdgh)) }
}

/// ABEF and CDGH to the first four words and the last four.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(crate) fn to_halves(abef: __m128i, cdgh: __m128i) -> [__m128i; 2] {
    let feba = _mm_shuffle_epi32::<0x1b>(abef);
    let dchg = _mm_shuffle_epi32::<0xb1>(cdgh);
    let dcba = _mm_blend_epi16::<0xf0>(feba, dchg);
    [dcba, _mm_alignr_epi8::<8>(dchg, feba)]
}
