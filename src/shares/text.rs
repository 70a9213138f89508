//! The text of a coinbase with a hole, as the blocks that are hashed.
//!
//! Everything before the hole's first block is absorbed once a job. A share then costs the blocks
//! from there on, the second hash, and three compressions a branch.

use alloc::vec::Vec;

use super::job::Coinbase;
use super::{JobError, Space};
use crate::sha256::{Engine, State, Tail};

/// A coinbase, padded for the hash, with zeros where space and extranonce go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    /// After the blocks before `head`.
    midstate: State,
    /// The block in which the hole begins, and the one after it, if there is one.
    head: [[u8; 64]; 2],
    /// Blocks of `head` that there are.
    head_used: usize,
    /// The blocks after them.
    rest: Vec<[u8; 64]>,
    /// Where the hole begins in `head`.
    at: usize,
    /// Bytes of the worker's space.
    pub(super) space_size: u8,
    /// Bytes of the worker's extranonce.
    pub(super) extranonce_size: u8,
    branches: Vec<[u8; 32]>,
}

impl Text {
    pub(super) fn new(coinbase: &Coinbase<'_>) -> Result<Self, JobError> {
        let Coinbase { prefix, suffix, space_size, extranonce_size, branches } = *coinbase;
        let hole = usize::from(space_size).saturating_add(usize::from(extranonce_size));
        let length = prefix.len().saturating_add(suffix.len()).saturating_add(hole);
        at_most("bytes of a space", space_size.into(), Space::SIZE_MAX)?;
        at_most("bytes of an extranonce", extranonce_size.into(), Coinbase::EXTRANONCE_MAX)?;
        at_most("bytes of a coinbase", length, Coinbase::LENGTH_MAX)?;
        at_most("branches", branches.len(), Coinbase::BRANCHES_MAX)?;
        let mut text = Vec::with_capacity(length);
        text.extend_from_slice(prefix);
        text.resize(prefix.len().saturating_add(hole), 0);
        text.extend_from_slice(suffix);
        let (full, rest) = text.as_chunks::<64>();
        let bytes = u64::try_from(length).unwrap_or(u64::MAX);
        let mut blocks = Vec::with_capacity(full.len().saturating_add(2));
        blocks.extend_from_slice(full);
        blocks.extend_from_slice(Tail::new(bytes, rest).blocks());
        let (before, at) = (prefix.len().div_euclid(64), prefix.len().rem_euclid(64));
        let (absorbed, after) = blocks.split_at_checked(before).unwrap_or((&[], &blocks));
        let mut midstate = State::INITIAL;
        Engine::best().absorb_one(&mut midstate, absorbed);
        let mut head = [[0; 64]; 2];
        for (block, from) in head.iter_mut().zip(after) {
            *block = *from;
        }
        let head_used = after.len().min(2);
        let rest = after.get(head_used..).unwrap_or_default().to_vec();
        let branches = branches.to_vec();
        Ok(Self { midstate, head, head_used, rest, at, space_size, extranonce_size, branches })
    }

    /// The merkle root with this space and this extranonce.
    pub(super) fn root(&self, engine: Engine, space: &Space, extranonce: u64) -> [u8; 32] {
        let mut head = self.head;
        let hole = head.as_flattened_mut().iter_mut().skip(self.at);
        let skipped = size_of::<u64>().saturating_sub(self.extranonce_size.into());
        let extranonce = extranonce.to_be_bytes();
        let filling = space.as_slice().iter().chain(extranonce.iter().skip(skipped));
        for (byte, from) in hole.zip(filling) {
            *byte = *from;
        }
        let mut state = self.midstate;
        engine.absorb_one(&mut state, head.get(..self.head_used).unwrap_or_default());
        engine.absorb_one(&mut state, &self.rest);
        let mut root = rehashed(engine, state);
        for branch in &self.branches {
            root = node(engine, &root, branch);
        }
        root
    }
}

/// The second of two hashes.
#[inline]
pub(super) fn rehashed(engine: Engine, first: State) -> [u8; 32] {
    let mut state = State::INITIAL;
    engine.absorb_one(&mut state, &[second_block(first)]);
    state.to_bytes()
}

/// The one block that the second hash absorbs.
#[inline]
pub(super) fn second_block(first: State) -> [u8; 64] {
    let mut block = SECOND;
    if let Some(hash) = block.first_chunk_mut::<32>() {
        first.write_to(hash);
    }
    block
}

/// Two hashes under one, as blocks hash their transactions.
fn node(engine: Engine, left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut block = [0; 64];
    let (low, high) = block.split_at_mut(32);
    low.copy_from_slice(left);
    high.copy_from_slice(right);
    let mut state = State::INITIAL;
    engine.absorb_one(&mut state, &[block, NODE_END]);
    rehashed(engine, state)
}

fn at_most(what: &'static str, got: usize, most: usize) -> Result<(), JobError> {
    if got > most { Err(JobError::TooMany { what, got, most }) } else { Ok(()) }
}

/// The padding of 32 bytes, behind zeros in their place.
const SECOND: [u8; 64] = padding(32, 256);
/// The padding of 64 bytes: a block of its own.
const NODE_END: [u8; 64] = padding(0, 512);

/// The last block of a hash of `bits` bits: `text` zeros where its text goes, then the padding.
const fn padding(text: usize, bits: u64) -> [u8; 64] {
    let mut block = [0; 64];
    if let Some((_, [first, zeros @ ..])) = block.split_at_mut_checked(text)
        && let Some(end) = zeros.last_chunk_mut::<8>()
    {
        *first = 0x80;
        *end = bits.to_be_bytes();
    }
    block
}
