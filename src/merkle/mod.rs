//! The Merkle-sum tree: one hash for a million payments, and a proof of each that counts it once.
//!
//! ```text
//!                     root = H(top, total, items, leaf size)
//!                       |
//!                      top
//!                    /     \
//!                node       leaf 4, odd twice: promoted, never doubled
//!              /      \
//!          node        node = H(left hash, left sum, right hash, right sum)
//!         /    \      /    \
//!     leaf 0    1    2      3
//! ```
//!
//! A leaf is a message that stands for one item or for a fixed number of them (the leaf size), with
//! a sum. Both children's hashes and sums are in a node's hash, so each step of a proof is checked
//! for its sums too, and whoever proves an item has proved that the total counts it once.
//!
//! [`Builder`] takes leaves one by one, in memory that grows with the logarithm of their count. It
//! hashes them, and the nodes of each level, in groups that fill the lanes of
//! [`sha256`](crate::sha256). With [`Builder::proving`] it keeps the path of one leaf on the way: a
//! proof costs as much as the tree, and no memory. [`Proof`] is checked against a [`Root`]; a root
//! says all that a third party needs.
//!
//! Rank 1, `alloc` only. Used by `batch`, which knows what is inside a leaf and what its sum is,
//! and by `shares`. Nothing here trusts a sum: builder and proof check that sums stay in range.
//!
//! # Layout
//!
//! All integers are big-endian. `H_tag(m)` is BIP340's tagged hash: SHA-256 of
//! `SHA-256(tag) || SHA-256(tag) || m`, so the tag is one block, which is precomputed. Sums are
//! millisatoshis.
//!
//! | hash | tag | message | blocks after the tag |
//! | --- | --- | --- | --- |
//! | leaf | `millstream/merkle/leaf` | the leaf's message, 0 ..= 8192 bytes | 1 up to 55 bytes |
//! | node | `millstream/merkle/node` | left hash 32, left sum 8, right hash 32, right sum 8 | 2 |
//! | root | `millstream/merkle/root` | top hash 32, total 8, item count 4, leaf size 1 | 1 |
//!
//! There are `ceil(item count / leaf size)` leaves. Level 0 is the leaves in their order; the
//! children `2 i` and `2 i + 1` of a level make node `i` of the next, whose sum is the sum of both.
//! The last child of an odd level becomes the last node of the next as it is. The level of one node
//! is the top; the tree of one leaf has that leaf as its top. So an item at leaf size 1 costs three
//! compressions: one for its leaf and, a node an item, two for nodes.
//!
//! A leaf's sum is not in its own hash, but beside it in the node above, or in the root.
//!
//! A proof is the siblings from the leaf to the top, each with hash and sum, without those that a
//! promoted child does not have. Index and item count say how many there are and on which side each
//! stands, so nothing else need be written.
//!
//! ```
//! use millstream::merkle::{Builder, Shape};
//! use millstream::units::Msat;
//!
//! let mut builder = Builder::proving(1);
//! for (message, msat) in [(b"one", 100), (b"two", 250), (b"six", 7)] {
//!     builder.push(message, Msat::new(msat)?)?;
//! }
//! let (root, proof) = builder.take_proof(Shape::new(3, 1)?)?;
//! assert_eq!(root.total, Msat::new(357)?);
//! proof.verify(&root, b"two", Msat::new(250)?)?;
//! assert!(proof.verify(&root, b"two", Msat::new(251)?).is_err());
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod builder;
mod level;
mod proof;

#[cfg(test)]
mod tests;

pub use builder::Builder;
pub use proof::Proof;

use crate::sha256::{Engine, Tag};
use crate::units::{Blame, Msat, Overflow};

/// The tag of a leaf's hash.
const LEAF: Tag = Tag::new("millstream/merkle/leaf");
/// The tag of a node's hash.
const NODE: Tag = Tag::new("millstream/merkle/node");
/// The tag of the root's hash.
const ROOT: Tag = Tag::new("millstream/merkle/root");

/// A child as a node's message has it: hash and sum.
const CHILD_BYTES: usize = 40;

/// How many items a tree has, and how many of them a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    items: u32,
    leaf_size: u8,
}

impl Shape {
    /// 2^20, more than a second of the fastest link: a proof then has at most 20 steps.
    pub const ITEMS_MAX: u32 = 1 << 20;
    /// 64: beyond it the hash is no longer what an item costs, and receipts only show more.
    pub const LEAF_SIZE_MAX: u8 = 64;

    /// `items`: 1 ..= 2^20; `leaf_size`: 1 ..= 64 items a leaf, of which the last may have fewer.
    ///
    /// # Errors
    /// [`MerkleError::Items`], [`MerkleError::LeafSize`].
    pub const fn new(items: u32, leaf_size: u8) -> Result<Self, MerkleError> {
        if items == 0 || items > Self::ITEMS_MAX {
            return Err(MerkleError::Items { got: items });
        }
        if leaf_size == 0 || leaf_size > Self::LEAF_SIZE_MAX {
            return Err(MerkleError::LeafSize { got: leaf_size });
        }
        Ok(Self { items, leaf_size })
    }

    /// Items in the tree.
    #[must_use]
    pub const fn items(self) -> u32 {
        self.items
    }

    /// Items in each leaf but the last, which has what is left.
    #[must_use]
    pub const fn leaf_size(self) -> u8 {
        self.leaf_size
    }

    /// Leaves of the tree.
    #[must_use]
    pub fn leaves(self) -> u32 {
        self.items.div_ceil(u32::from(self.leaf_size))
    }

    /// Steps of the proof of leaf `index`, at most 20: those levels in which it, or what it is
    /// under, is not the odd one.
    #[must_use]
    pub fn steps(self, index: u32) -> usize {
        let (mut index, mut width, mut steps) = (index, self.leaves(), 0_usize);
        while width > 1 {
            if index ^ 1 < width {
                // At most one step a level.
                steps = steps.saturating_add(1);
            }
            (index, width) = (index >> 1, width.div_ceil(2));
        }
        steps
    }
}

/// All that a tree commits to: what a voucher or a receipt carries.
///
/// Read from a peer it is a claim: a payee builds the tree and compares, a third party checks a
/// [`Proof`]. Each field but `hash` is in `hash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Root {
    /// The root's hash.
    pub hash: [u8; 32],
    /// The sum of all leaves.
    pub total: Msat,
    /// How many items, and how many a leaf.
    pub shape: Shape,
}

impl Root {
    /// The root above this top.
    fn above(engine: Engine, top: Child, shape: Shape) -> Self {
        let mut message = [0; 45];
        let (child, rest) = message.split_at_mut(CHILD_BYTES);
        child.copy_from_slice(&top.to_bytes());
        let (items, leaf_size) = rest.split_at_mut(4);
        items.copy_from_slice(&shape.items.to_be_bytes());
        leaf_size.copy_from_slice(&[shape.leaf_size]);
        Self { hash: engine.tagged(&ROOT, &message), total: top.sum, shape }
    }
}

/// A leaf or a node as the one above it sees it; a step of a proof is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Child {
    /// The hash of the leaf or node.
    pub hash: [u8; 32],
    /// Its sum.
    pub sum: Msat,
}

impl Child {
    const NONE: Self = Self { hash: [0; 32], sum: Msat::ZERO };

    fn to_bytes(self) -> [u8; CHILD_BYTES] {
        let mut bytes = [0; CHILD_BYTES];
        let (hash, sum) = bytes.split_at_mut(32);
        hash.copy_from_slice(&self.hash);
        sum.copy_from_slice(&self.sum.to_msat().to_be_bytes());
        bytes
    }
}

/// What is wrong with a tree or a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MerkleError {
    /// No items, or too many.
    #[error("{got} items in a tree of 1 to 1048576")]
    Items {
        /// What was given.
        got: u32,
    },
    /// A leaf size outside 1 ..= 64.
    #[error("{got} items a leaf of 1 to 64")]
    LeafSize {
        /// What was given.
        got: u8,
    },
    /// A leaf's message is above the limit.
    #[error("a leaf of {got} bytes, above {max}")]
    LeafBytes {
        /// Its length.
        got: usize,
        /// The longest.
        max: usize,
    },
    /// One more leaf than a tree can have.
    #[error("more than {max} leaves")]
    TooManyLeaves {
        /// The most.
        max: u32,
    },
    /// The leaves pushed are not those of the shape.
    #[error("{got} leaves where the shape has {want}")]
    Leaves {
        /// How many were pushed.
        got: u32,
        /// How many the shape has.
        want: u32,
    },
    /// The tree has no such leaf.
    #[error("leaf {index} of {leaves}")]
    NoSuchLeaf {
        /// Its index.
        index: u32,
        /// How many there are.
        leaves: u32,
    },
    /// A proof's length is not the one of its leaf.
    #[error("a path of {got} steps where the leaf's has {want}")]
    Steps {
        /// What was given.
        got: usize,
        /// Its length.
        want: usize,
    },
    /// The sums leave the range of amounts.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// The proof is of a tree of another shape.
    #[error("the proof is for a tree of {} items, {} a leaf, the root for {}, {} a leaf",
        got.items, got.leaf_size, want.items, want.leaf_size)]
    Shape {
        /// The shape of the proof's tree.
        got: Shape,
        /// The shape of the root's.
        want: Shape,
    },
    /// The sums on the path do not make the root's total.
    #[error("the path sums up to {got}, the root to {want}")]
    Total {
        /// What the path makes.
        got: Msat,
        /// What the root says.
        want: Msat,
    },
    /// The path leads to another root.
    #[error("the path does not lead to the root")]
    NotUnderRoot,
    /// The builder was not made to prove a leaf.
    #[error("the builder does not keep a path")]
    NotProving,
}

impl MerkleError {
    /// Ours where a caller built a tree wrongly, the peer's where a proof is wrong; a room that
    /// builds from a peer's items wraps the former.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Items { .. }
            | Self::LeafSize { .. }
            | Self::LeafBytes { .. }
            | Self::TooManyLeaves { .. }
            | Self::Leaves { .. }
            | Self::Overflow(_)
            | Self::NotProving => Blame::Us,
            Self::NoSuchLeaf { .. }
            | Self::Steps { .. }
            | Self::Shape { .. }
            | Self::Total { .. }
            | Self::NotUnderRoot => Blame::Peer,
        }
    }
}
