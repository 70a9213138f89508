//! The kernels in plain integers: one text, compiled for little flash and for speed.

use super::prepared::Prepared;
use super::{Backend, Compact, Span, check, groups};
use crate::sha256::State;
use crate::units::Target;

/// A kernel whose eight general rounds are one function each half (`inline(never)`), called seven
/// times for a nonce, or stand where they are used.
macro_rules! plain {
    ($(#[$doc:meta])* $name:ident, $module:ident, $inline:meta) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name;

        impl Backend for $name {
            fn absorb(&mut self, state: State, block: &[u32; 16]) -> State {
                Compact.absorb(state, block)
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
                    check(midstate, tail, target, nonce, hit);
                });
            }
        }

        pub(super) mod $module {
            use crate::miner::kernel::prepared::Prepared;
            use crate::miner::kernel::rounds::{first, halves, second};
            use crate::miner::kernel::{Group, Span};
            use crate::sha256::portable::{
                add, big_sigma0, big_sigma1, ch, maj, small_sigma0, small_sigma1, splat,
            };

            /// The first nonce of the span whose hash may meet the target.
            pub(in crate::miner::kernel) fn next(prepared: &Prepared, span: Span) -> Option<Group> {
                let Prepared { start, words, .. } = prepared;
                let mut at = 0;
                while at < span.count {
                    let nonce = span.nonce(at).swap_bytes();
                    let hash = first!(start, words, nonce, low, high);
                    if prepared.may_meet(second!(hash, low, high)) {
                        return Some(Group { at, lanes: [1] });
                    }
                    // Less than the count, so it does not wrap.
                    at = add(at, 1);
                }
                None
            }

            halves! {
                #[$inline]
                u32
            }
        }
    };
}

plain! {
    /// The kernel for every device: it leaves out what no nonce changes, in 8 KiB of flash.
    Portable, portable, inline(never)
}

plain! {
    /// [`Portable`] with every round where it is used: faster, in 12 KiB of flash.
    Fast, fast, inline(always)
}
