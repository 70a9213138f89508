//! The builder: leaves in, one root out, in memory that grows with the logarithm of their count.

use alloc::vec::Vec;
use core::num::NonZeroUsize;

use super::level::{GROUP, Level};
use super::{Child, LEAF, MerkleError, Proof, Root, Shape};
use crate::sha256::{Engine, Tag, Tail, pad};
use crate::units::Msat;

/// Takes the leaves of a tree in their order and hashes them in groups.
///
/// ```text
///   push, push, ..  ->  16 leaves  ->  level 0: 32 children  ->  level 1: 32 children  ->  top
///                     hashed at once         16 nodes at once        16 nodes at once
/// ```
///
/// A level keeps its children until they fill a group of nodes, so that the lanes are full at every
/// level of a large tree, however the leaves arrive. Memory: 2.4 kB a level, 20 levels at most, and
/// the messages of one group of leaves. After `take_root` or `take_proof` it is empty and can be
/// used again, without new allocations. A refused leaf leaves it as it was.
#[derive(Debug, Clone)]
pub struct Builder {
    engine: Engine,
    /// The leaf whose path is kept.
    index: Option<u32>,
    /// Padded messages of the leaves that wait, one after the other.
    blocks: Vec<[u8; 64]>,
    /// Of each leaf that waits: how many blocks, and its sum.
    lengths: [usize; GROUP],
    sums: [Msat; GROUP],
    waiting: usize,
    leaves: u32,
    total: Msat,
    levels: Vec<Level>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new(Engine::best())
    }
}

impl Builder {
    /// 8192: 64 items of a leaf at twice the size of the largest that fits one block.
    pub const LEAF_BYTES_MAX: usize = 8_192;

    /// An empty builder that hashes by `engine`.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            index: None,
            blocks: Vec::new(),
            lengths: [0; GROUP],
            sums: [Msat::ZERO; GROUP],
            waiting: 0,
            leaves: 0,
            total: Msat::ZERO,
            levels: Vec::new(),
        }
    }

    /// An empty builder that keeps the path of leaf `index`, for [`Self::take_proof`].
    #[must_use]
    pub fn proving(index: u32) -> Self {
        Self { index: Some(index), ..Self::default() }
    }

    /// Adds the next leaf: its message, up to 55 bytes for one compression, and its sum.
    ///
    /// Inlined, so that a message of a length known to the caller's compiler is written by a few
    /// moves, where it is hashed; one leaf in sixteen pays for the hashing of all.
    ///
    /// # Errors
    /// [`MerkleError::LeafBytes`], [`MerkleError::TooManyLeaves`], [`MerkleError::Overflow`].
    #[expect(clippy::inline_always, reason = "by a call, the message is copied byte by byte")]
    #[inline(always)]
    pub fn push(&mut self, message: &[u8], sum: Msat) -> Result<(), MerkleError> {
        if self.leaves >= Shape::ITEMS_MAX {
            return Err(MerkleError::TooManyLeaves { max: Shape::ITEMS_MAX });
        }
        let total = self.total.add(sum)?;
        self.blocks.push([0; 64]);
        let padded =
            self.blocks.last_mut().is_some_and(|to| pad(to, after_tag(message.len()), message));
        let length = if padded { 1 } else { self.put_long(message)? };
        if let (Some(slot), Some(sum_slot)) =
            (self.lengths.get_mut(self.waiting), self.sums.get_mut(self.waiting))
        {
            (*slot, *sum_slot) = (length, sum);
        }
        self.total = total;
        // Below ITEMS_MAX and below GROUP.
        self.leaves = self.leaves.saturating_add(1);
        self.waiting = self.waiting.saturating_add(1);
        if self.waiting == GROUP {
            self.hash_group();
        }
        Ok(())
    }

    /// Leaves pushed so far.
    #[must_use]
    pub const fn leaves(&self) -> u32 {
        self.leaves
    }

    /// The sum of the leaves pushed so far.
    #[must_use]
    pub const fn total(&self) -> Msat {
        self.total
    }

    /// Finishes the tree and empties the builder.
    ///
    /// # Errors
    /// [`MerkleError::Leaves`] if `shape` has another number of leaves; then nothing is changed.
    pub fn take_root(&mut self, shape: Shape) -> Result<Root, MerkleError> {
        self.check(shape)?;
        let top = self.finish();
        self.clear();
        Ok(Root::above(self.engine, top, shape))
    }

    /// Finishes the tree, empties the builder, and returns the proof of the leaf it was made for.
    ///
    /// # Errors
    /// [`MerkleError::Leaves`] if `shape` has another number of leaves,
    /// [`MerkleError::NotProving`] if the builder keeps no path, [`MerkleError::NoSuchLeaf`]; then
    /// nothing is changed.
    pub fn take_proof(&mut self, shape: Shape) -> Result<(Root, Proof), MerkleError> {
        self.check(shape)?;
        let index = self.index.ok_or(MerkleError::NotProving)?;
        if index >= self.leaves {
            return Err(MerkleError::NoSuchLeaf { index, leaves: self.leaves });
        }
        let top = self.finish();
        let steps = self.levels.iter().filter_map(Level::sibling).collect();
        self.clear();
        Ok((Root::above(self.engine, top, shape), Proof::new(shape, index, steps)?))
    }

    /// Forgets all leaves; the memory and the leaf to prove stay.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.levels.clear();
        (self.waiting, self.leaves, self.total) = (0, 0, Msat::ZERO);
    }

    fn check(&self, shape: Shape) -> Result<(), MerkleError> {
        let want = shape.leaves();
        if self.leaves == want {
            Ok(())
        } else {
            Err(MerkleError::Leaves { got: self.leaves, want })
        }
    }

    /// Pads a message of more than one block, in place of the empty last one; returns its blocks.
    #[inline(never)]
    fn put_long(&mut self, message: &[u8]) -> Result<usize, MerkleError> {
        self.blocks.pop();
        let max = Self::LEAF_BYTES_MAX;
        if message.len() > max {
            return Err(MerkleError::LeafBytes { got: message.len(), max });
        }
        let before = self.blocks.len();
        let (full, rest) = message.as_chunks::<64>();
        self.blocks.extend_from_slice(full);
        self.blocks.extend_from_slice(Tail::new(after_tag(message.len()), rest).blocks());
        Ok(self.blocks.len().saturating_sub(before))
    }

    /// Hashes a full group of leaves, and the nodes that it completes.
    #[inline(never)]
    fn hash_group(&mut self) {
        self.hash_leaves();
        self.carry();
    }

    /// Hashes the leaves that wait, those of equal length at once, into level 0.
    fn hash_leaves(&mut self) {
        let mut states = [LEAF.state(); GROUP];
        let mut rest = self.blocks.as_slice();
        let lengths = self.lengths.get(..self.waiting).unwrap_or_default();
        let mut from = 0_usize;
        for run in lengths.chunk_by(PartialEq::eq) {
            let each =
                run.first().copied().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN);
            let Some((messages, after)) =
                rest.split_at_checked(run.len().saturating_mul(each.get()))
            else {
                break;
            };
            let to = from.saturating_add(run.len());
            if let Some(states) = states.get_mut(from..to) {
                self.engine.absorb(states, messages, each);
            }
            (rest, from) = (after, to);
        }
        let (states, sums) = (states.get(..self.waiting), self.sums.get(..self.waiting));
        let (states, sums) = (states.unwrap_or_default(), sums.unwrap_or_default());
        if let Some(level) = level(&mut self.levels, 0, self.index) {
            level.extend(states, sums);
        }
        self.blocks.clear();
        self.waiting = 0;
    }

    /// Hashes every full level into the next one.
    fn carry(&mut self) {
        let mut at = 0_usize;
        while self.levels.get(at).is_some_and(Level::is_full) {
            at = self.raise(at);
        }
    }

    /// Hashes what level `at` holds into the next one; returns the next one's number.
    fn raise(&mut self, at: usize) -> usize {
        let next = at.saturating_add(1);
        let _ = level(&mut self.levels, next, self.index);
        let (lower, upper) = self.levels.split_at_mut_checked(next).unwrap_or_default();
        if let (Some(level), Some(above)) = (lower.last_mut(), upper.first_mut()) {
            level.raise_into(above, self.engine);
        }
        next
    }

    /// Hashes all that is left, level by level, to the top. There is at least one leaf.
    fn finish(&mut self) -> Child {
        self.hash_leaves();
        let mut at = 0_usize;
        while self.levels.get(at).is_some_and(|level| level.seen() > 1) {
            at = self.raise(at);
        }
        self.levels.get(at).map_or(Child::NONE, Level::promoted)
    }
}

/// Level number `at`, made if it is the first above those that there are.
fn level(levels: &mut Vec<Level>, at: usize, index: Option<u32>) -> Option<&mut Level> {
    if levels.len() == at {
        let position = index.and_then(|index| index.checked_shr(u32::try_from(at).ok()?));
        levels.push(Level::new(position));
    }
    levels.get_mut(at)
}

/// The length of a tagged message, for its padding; the message is far from the limit of 2^61.
fn after_tag(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX).saturating_add(Tag::BYTES)
}
