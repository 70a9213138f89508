//! The kernels in plain integers: one text, compiled for little flash and for speed.
#![expect(clippy::many_single_char_names, reason = "the names of FIPS 180-4")]

use super::prepared::Prepared;
use super::rounds::round;
use super::words::{add, big_sigma0, big_sigma1, ch, maj, small_sigma0, small_sigma1};
use super::{Backend, Span, groups};
use crate::sha256::State;
use crate::sha256::rounds::K;
use crate::units::Target;

/// A kernel whose general rounds are the function that `$rolled` makes, called twice for a nonce:
/// sixteen of them run over and over, or every one stands there once.
macro_rules! plain {
    ($(#[$doc:meta])* $name:ident, $module:ident, $row:ident, $rolled:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name;

        impl Backend for $name {
            fn absorb(&mut self, state: State, block: &[u32; 16]) -> State {
                let (mut state, mut w) = (state.words(), *block);
                compress(&mut state, &mut w);
                State::from_words(state)
            }

            fn scan(
                &mut self,
                midstate: &State,
                tail: &[u32; 3],
                first: u32,
                count: u32,
                target: &Target,
                hit: &mut impl FnMut(u32, [u8; 32]),
            ) {
                let prepared = Prepared::new(midstate, tail, target);
                let next = |span| $module::next(&prepared, span);
                groups(Span { first, count }, 1, next, |_, nonce| {
                    $module::check(midstate, tail, target, nonce, hit);
                });
            }
        }

        pub(super) mod $module {
            use super::compress;
            use crate::miner::kernel::prepared::Prepared;
            use crate::miner::kernel::rounds::{
                $rolled, END, HASH_BITS, HEADER_BITS, first, second,
            };
            use crate::miner::kernel::{Group, Span};
            use crate::miner::kernel::words::{
                add, big_sigma0, big_sigma1, ch, kept, maj, small_sigma0, small_sigma1, splat,
            };
            use crate::sha256::State;
            use crate::units::Target;

            #[inline(never)]
            /// The first nonce of the span whose hash may meet the target.
            pub(in crate::miner::kernel) fn next(prepared: &Prepared, span: Span) -> Option<Group> {
                let Prepared { start, words, .. } = prepared;
                let mut state: [u32; 8];
                let mut w = [0; 16];
                let mut at = 0;
                while at < span.count {
                    let nonce = span.nonce(at).swap_bytes();
                    first!(start, words, nonce, w, state, more);
                    if prepared.may_meet(second!(w, state, $row, more)) {
                        return Some(Group { at, lanes: [1] });
                    }
                    // Less than the count, so it does not wrap.
                    at = add(at, 1);
                }
                None
            }

            $rolled! { u32 }

            /// Hashes a candidate without any shortcut, and tells `hit` if the whole hash meets the
            /// target.
            ///
            /// Not inlined, as `next` is not: a device has them on its stack by turns.
            #[inline(never)]
            pub(super) fn check(
                midstate: &State,
                tail: &[u32; 3],
                target: &Target,
                nonce: u32,
                hit: &mut impl FnMut(u32, [u8; 32]),
            ) {
                let [w0, w1, w2] = *tail;
                let w3 = nonce.swap_bytes();
                let mut state = midstate.words();
                let mut w = [w0, w1, w2, w3, END, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, HEADER_BITS];
                compress(&mut state, &mut w);
                let [w0, w1, w2, w3, w4, w5, w6, w7] = state;
                w = [w0, w1, w2, w3, w4, w5, w6, w7, END, 0, 0, 0, 0, 0, 0, HASH_BITS];
                state = State::INITIAL.words();
                compress(&mut state, &mut w);
                let mut hash = [0; 32];
                for (four, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(&state) {
                    *four = word.to_be_bytes();
                }
                if target.is_met_by(&hash) {
                    hit(nonce, hash);
                }
            }
        }
    };
}

/// Leads a state over one block, whose words are used up: one text of a round, for what is seldom
/// done, in little flash and stack.
#[inline(never)]
fn compress(state: &mut [u32; 8], w: &mut [u32; 16]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (at, k) in K.as_flattened().iter().enumerate() {
        let word = |on: usize| w.get(at.wrapping_add(on) & 15).map_or(0, |word| *word);
        let now = word(0);
        let on = add(add(now, small_sigma0(word(1))), add(word(9), small_sigma1(word(14))));
        if let Some(word) = w.get_mut(at & 15) {
            *word = on;
        }
        round!(add(now, *k); a b c d e f g h);
        (a, b, c, d, e, f, g, h) = (h, a, b, c, d, e, f, g);
    }
    for (word, made) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = add(*word, made);
    }
}

plain! {
    /// The kernel for every device: it leaves out what no nonce changes, in 8 KiB of flash.
    Portable, portable, any_row, rolled
}

plain! {
    /// [`Portable`] with every round where it is used: faster, in 12 KiB of flash.
    Fast, fast, hash_row, unrolled
}
