//! One level of a tree under construction: the children that wait for a full group.

use core::num::NonZeroUsize;

use super::{CHILD_BYTES, Child, NODE};
use crate::sha256::{Engine, State, Tag};
use crate::units::Msat;

/// Leaves, and nodes of a level, that are hashed at once.
///
/// 16 fills the widest kernel (AVX-512) and is a whole number of groups of the others. Without
/// `std` the processor is rarely one of those, and a group is memory (144 bytes a node and level):
/// then 4. The tree is the same whatever it is.
pub(super) const GROUP: usize = if cfg!(feature = "std") { 16 } else { 4 };

/// Children that a level holds at most: those of a full group of nodes.
const HELD_MAX: usize = 2 * GROUP;

/// Bytes of a node's message: two children.
const NODE_BYTES: u64 = 80;

/// Blocks of a node's message with its padding.
const NODE_BLOCKS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// The message of a node: two children and, written once, the padding.
const EMPTY_NODE: [[u8; 64]; 2] = {
    let mut second = [0; 64];
    // After two children: 80 bytes, of which 16 are in the second block.
    second[16] = 0x80;
    // The length in bits fits the last two bytes: the tag's block and the message.
    let [.., high, low] = ((Tag::BYTES + NODE_BYTES) * 8).to_be_bytes();
    second[62] = high;
    second[63] = low;
    [[0; 64], second]
};

/// Which child is kept on the way, for a proof, and what it was.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    position: u32,
    found: Option<Child>,
}

/// The children of a level that have no parent yet: at most one group's.
///
/// Between calls of the builder the level holds none or [`GROUP`], because every level but the one
/// below the leaves' end is filled in groups: so a group always fits.
#[derive(Debug, Clone)]
pub(super) struct Level {
    /// Padded messages; the children held are written into them as they come.
    nodes: [[[u8; 64]; 2]; GROUP],
    sums: [Msat; HELD_MAX],
    held: usize,
    /// Children that this level had so far.
    seen: u32,
    wanted: Option<Wanted>,
}

impl Level {
    /// An empty level; `index`: the position of the child whose sibling a proof needs.
    pub(super) const fn new(index: Option<u32>) -> Self {
        let wanted = match index {
            Some(index) => Some(Wanted { position: index ^ 1, found: None }),
            None => None,
        };
        Self { nodes: [EMPTY_NODE; GROUP], sums: [Msat::ZERO; HELD_MAX], held: 0, seen: 0, wanted }
    }

    pub(super) const fn seen(&self) -> u32 {
        self.seen
    }

    pub(super) const fn is_full(&self) -> bool {
        self.held >= HELD_MAX
    }

    /// The sibling of the child that a proof is of, if it has one.
    pub(super) fn sibling(&self) -> Option<Child> {
        self.wanted.and_then(|wanted| wanted.found)
    }

    /// Takes the next children. There must be room for them.
    pub(super) fn extend(&mut self, states: &[State], sums: &[Msat]) {
        for (state, sum) in states.iter().zip(sums) {
            self.put(*sum, |hash| state.write_to(hash));
        }
    }

    /// Takes the next child: its sum, and what writes its hash. There must be room for it.
    #[inline]
    fn put(&mut self, sum: Msat, write: impl Fn(&mut [u8; 32])) {
        debug_assert!(!self.is_full());
        if let Some(wanted) = &mut self.wanted
            && wanted.position == self.seen
        {
            let child = wanted.found.insert(Child { hash: [0; 32], sum });
            write(&mut child.hash);
        }
        // A node is 80 bytes of message: the first child, then the second.
        let from = if self.held.is_multiple_of(2) { 0 } else { CHILD_BYTES };
        if let Some(node) = self.nodes.get_mut(self.held / 2)
            && let Some((_, child)) = node.as_flattened_mut().split_at_mut_checked(from)
            && let Some((hash, rest)) = child.split_first_chunk_mut()
            && let Some(slot) = rest.first_chunk_mut()
        {
            write(hash);
            *slot = sum.to_msat().to_be_bytes();
        }
        if let Some(slot) = self.sums.get_mut(self.held) {
            *slot = sum;
        }
        // Both are bounded by the leaves of a tree.
        self.held = self.held.saturating_add(1);
        self.seen = self.seen.saturating_add(1);
    }

    /// Hashes the pairs held into `above`, the odd last child after them as it is, and empties the
    /// level.
    pub(super) fn raise_into(&mut self, above: &mut Self, engine: Engine) {
        let pairs = self.held / 2;
        let mut states = [NODE.state(); GROUP];
        let messages = self.nodes.as_flattened();
        let states = states.get_mut(..pairs).unwrap_or_default();
        if let Some(messages) = messages.get(..pairs.saturating_mul(NODE_BLOCKS.get())) {
            engine.absorb(states, messages, NODE_BLOCKS);
        }
        let (sums, _) = self.sums.as_chunks::<2>();
        for (state, [left, right]) in states.iter().zip(sums) {
            // The builder's total has every leaf in it and is in range, so a part of it is too.
            let sum = left.checked_add(*right).unwrap_or(Msat::MAX);
            above.put(sum, |hash| state.write_to(hash));
        }
        if !self.held.is_multiple_of(2) {
            let Child { hash, sum } = self.promoted();
            above.put(sum, |to| *to = hash);
        }
        self.held = 0;
    }

    /// The odd last child held, which goes up as it is.
    pub(super) fn promoted(&self) -> Child {
        let last = self.held.saturating_sub(1);
        let node = self.nodes.get(last / 2).map(|node| node.as_flattened());
        let hash = node.and_then(|bytes| bytes.first_chunk::<32>()).copied().unwrap_or_default();
        Child { hash, sum: self.sums.get(last).copied().unwrap_or(Msat::ZERO) }
    }
}

/// The hash of one node, for proofs.
pub(super) fn node(engine: Engine, left: &Child, right: &Child) -> [u8; 32] {
    let mut message = EMPTY_NODE;
    let (first, second) = message.as_flattened_mut().split_at_mut(CHILD_BYTES);
    first.copy_from_slice(&left.to_bytes());
    if let Some(second) = second.first_chunk_mut() {
        *second = right.to_bytes();
    }
    let mut state = NODE.state();
    engine.absorb_one(&mut state, &message);
    state.to_bytes()
}
