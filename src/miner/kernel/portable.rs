//! The kernel of every machine, in plain integers.

use super::prepared::Prepared;
use super::rounds::{first, second};
use super::{Backend, Compact, Group, Span, groups, meeting};
use crate::sha256::State;
use crate::sha256::portable::{
    add, big_sigma0, big_sigma1, ch, maj, small_sigma0, small_sigma1, splat,
};
use crate::units::Target;

/// The kernel in plain integers that leaves out what no nonce changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Portable;

impl Backend for Portable {
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
        let candidate = meeting(midstate, tail, target, hit);
        groups(Span { first, count }, 1, |span| next(&prepared, span), candidate);
    }
}

/// The first nonce of the span whose hash may meet the target.
pub(super) fn next(prepared: &Prepared, span: Span) -> Option<Group> {
    let Prepared { start, words, .. } = prepared;
    let mut at = 0;
    while at < span.count {
        let nonce = span.nonce(at).swap_bytes();
        if prepared.may_meet(second!(first!(start, words, nonce))) {
            return Some(Group { at, lanes: 1 });
        }
        // Less than the count, so it does not wrap.
        at = add(at, 1);
    }
    None
}
