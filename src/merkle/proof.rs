//! The proof that a leaf is in a tree and that the tree's total counts it once.

use alloc::vec::Vec;

use super::level::node;
use super::{Child, LEAF, MerkleError, Root, Shape};
use crate::sha256::Engine;
use crate::units::Msat;

/// The path from a leaf to the top: the sibling of each child on the way.
///
/// It has as many steps as its leaf has in a tree of its shape: nothing else can be made or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    shape: Shape,
    index: u32,
    steps: Vec<Child>,
}

impl Proof {
    /// The path of leaf `index` in a tree of this shape: siblings, the leaf's own first.
    ///
    /// # Errors
    /// [`MerkleError::NoSuchLeaf`], [`MerkleError::Steps`] if there are not [`Shape::steps`] of
    /// them.
    pub fn new(shape: Shape, index: u32, steps: Vec<Child>) -> Result<Self, MerkleError> {
        let leaves = shape.leaves();
        if index >= leaves {
            return Err(MerkleError::NoSuchLeaf { index, leaves });
        }
        let (got, want) = (steps.len(), shape.steps(index));
        if got != want {
            return Err(MerkleError::Steps { got, want });
        }
        Ok(Self { shape, index, steps })
    }

    /// The tree's shape, as this proof has it.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The leaf's index.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// The siblings on the way, the leaf's own first.
    #[must_use]
    pub fn steps(&self) -> &[Child] {
        &self.steps
    }

    /// Checks that the leaf of this message and sum is at its index under `root`, and that every
    /// sum on the way is in range and the last one the root's total.
    ///
    /// # Errors
    /// [`MerkleError::Shape`], [`MerkleError::Overflow`], [`MerkleError::Total`],
    /// [`MerkleError::NotUnderRoot`].
    pub fn verify(&self, root: &Root, message: &[u8], sum: Msat) -> Result<(), MerkleError> {
        if self.shape != root.shape {
            return Err(MerkleError::Shape { got: self.shape, want: root.shape });
        }
        let found = self.root(message, sum)?;
        if found.total != root.total {
            return Err(MerkleError::Total { got: found.total, want: root.total });
        }
        if found.hash != root.hash {
            return Err(MerkleError::NotUnderRoot);
        }
        Ok(())
    }

    /// The root that the path leads to from the leaf of this message and sum: to be compared with
    /// one that is known, as [`Self::verify`] does.
    ///
    /// Costs two compressions a step, one for the root, and those of the leaf.
    ///
    /// # Errors
    /// [`MerkleError::Overflow`] if a sum on the way leaves the range of amounts.
    pub fn root(&self, message: &[u8], sum: Msat) -> Result<Root, MerkleError> {
        let engine = Engine::best();
        let mut child = Child { hash: engine.tagged(&LEAF, message), sum };
        let (mut index, mut width) = (self.index, self.shape.leaves());
        let mut steps = self.steps.iter();
        while width > 1 {
            // The odd one has no sibling and goes up as it is.
            if index ^ 1 < width
                && let Some(step) = steps.next()
            {
                let sum = child.sum.add(step.sum)?;
                let (left, right) = if index & 1 == 0 { (&child, step) } else { (step, &child) };
                child = Child { hash: node(engine, left, right), sum };
            }
            (index, width) = (index >> 1, width.div_ceil(2));
        }
        Ok(Root::above(engine, child, self.shape))
    }
}
