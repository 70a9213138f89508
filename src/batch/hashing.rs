//! Stretches on their way into the tree: cut into leaves, written out, hashed many at once.

use alloc::vec::Vec;

use super::item::LeafSize;
use super::leaf::{LeafWriter, head, width_code};
use super::stretch::Stretch;
use super::{BatchError, LEAF_ITEMS_MAX};
use crate::merkle::{Builder, MerkleError, Proof, Root, Shape};
use crate::units::{ItemId, Msat};

/// The tree of one batch under construction.
#[derive(Debug)]
pub(super) struct Hashing {
    leaf_size: LeafSize,
    items_a_leaf: usize,
    leaf: LeafWriter,
    tree: Builder,
    /// Why the tree refused a leaf, which it never does: the checks of a batch are narrower.
    refused: Option<MerkleError>,
    /// The leaf whose bytes are kept, and they.
    kept: Option<(u32, Vec<u8>)>,
}

impl Hashing {
    pub(super) fn new(leaf_size: LeafSize) -> Self {
        Self::with(leaf_size, Builder::default(), None)
    }

    /// Keeps leaf `index` and its path.
    pub(super) fn proving(leaf_size: LeafSize, index: u32) -> Self {
        Self::with(leaf_size, Builder::proving(index), Some((index, Vec::new())))
    }

    fn with(leaf_size: LeafSize, tree: Builder, kept: Option<(u32, Vec<u8>)>) -> Self {
        let items_a_leaf = usize::from(leaf_size.to_u8());
        Self { leaf_size, items_a_leaf, leaf: LeafWriter::new(), tree, refused: None, kept }
    }

    /// Appends `stretch`, whose items cost `amounts`.
    #[inline]
    pub(super) fn extend(&mut self, stretch: &Stretch<'_>, amounts: &[Msat]) {
        if self.items_a_leaf == 1 && stretch.hash.is_none() && self.kept.is_none() {
            return self.singles(stretch, amounts);
        }
        let mut rest = *stretch;
        let mut amounts = amounts;
        while !rest.values.is_empty() {
            let free = self.items_a_leaf.saturating_sub(self.leaf.items()).min(LEAF_ITEMS_MAX);
            let (now, after) = rest.values.split_at_checked(free).unwrap_or((rest.values, &[]));
            let (costs, left) = amounts.split_at_checked(free).unwrap_or((amounts, &[]));
            // Does not saturate: the batch's total was checked before.
            let sum = costs.iter().fold(Msat::ZERO, |sum, amount| sum.saturating_add(*amount));
            self.leaf.extend(&Stretch { values: now, ..rest }, sum);
            if self.leaf.items() >= self.items_a_leaf {
                self.flush();
            }
            let next = rest.first.to_u64().saturating_add(u64::try_from(now.len()).unwrap_or(0));
            rest.first = ItemId::new(next).unwrap_or(ItemId::MAX);
            rest.values = after;
            amounts = left;
        }
    }

    /// One leaf an item: the same bytes as by [`LeafWriter`], without its detours.
    fn singles(&mut self, stretch: &Stretch<'_>, amounts: &[Msat]) {
        let first = stretch.first.to_u64();
        let priced = stretch.price.map(|price| {
            let (mut bytes, msat) = ([0; 16], price.msat().to_msat().to_be_bytes());
            let (left, right) = bytes.split_at_mut(8);
            left.copy_from_slice(&msat);
            right.copy_from_slice(&price.per().get().to_be_bytes());
            bytes
        });
        for ((place, value), amount) in (0_u64..).zip(stretch.values).zip(amounts) {
            let id = first.wrapping_add(place);
            let code = width_code(*value);
            let head = head(code, stretch.price.is_some(), false, 1, stretch.lane, id);
            let pushed = match (&priced, code) {
                (None, 0) => self.tree.push(&single::<1, 13>(&head, *value), *amount),
                (None, 1) => self.tree.push(&single::<2, 14>(&head, *value), *amount),
                (None, 2) => self.tree.push(&single::<4, 16>(&head, *value), *amount),
                (None, _) => self.tree.push(&single::<8, 20>(&head, *value), *amount),
                (Some(price), code) => {
                    let mut message = [0; 36];
                    let length = priced_single(&mut message, &head, price, code, *value);
                    self.tree.push(message.get(..length).unwrap_or_default(), *amount)
                }
            };
            if let Err(error) = pushed {
                self.refused.get_or_insert(error);
            }
        }
    }

    fn flush(&mut self) {
        let (message, sum) = self.leaf.message();
        if let Some((index, bytes)) = &mut self.kept
            && self.tree.leaves() == *index
        {
            bytes.extend_from_slice(message);
        }
        if let Err(error) = self.tree.push(message, sum) {
            self.refused.get_or_insert(error);
        }
        self.leaf.clear();
    }

    /// The root of a batch of `items`.
    pub(super) fn finish(mut self, items: u32) -> Result<Root, BatchError> {
        let shape = self.end(items)?;
        Ok(self.tree.take_root(shape)?)
    }

    /// The root, the bytes of the leaf that was to be proved, and its path.
    pub(super) fn finish_proof(mut self, items: u32) -> Result<(Root, Vec<u8>, Proof), BatchError> {
        let shape = self.end(items)?;
        let (root, proof) = self.tree.take_proof(shape)?;
        Ok((root, self.kept.take().map_or_else(Vec::new, |(_, bytes)| bytes), proof))
    }

    fn end(&mut self, items: u32) -> Result<Shape, BatchError> {
        if self.leaf.items() > 0 {
            self.flush();
        }
        match self.refused {
            Some(error) => Err(error.into()),
            None => Ok(Shape::new(items, self.leaf_size.to_u8())?),
        }
    }
}

/// A head and the `N` lowest bytes of `value`, `M` bytes in all.
#[inline]
fn single<const N: usize, const M: usize>(head: &[u8; 12], value: u64) -> [u8; M] {
    let mut message = [0; M];
    if let Some((front, back)) = message.split_first_chunk_mut::<12>() {
        *front = *head;
        if let (Some(to), Some(low)) =
            (back.first_chunk_mut::<N>(), value.to_be_bytes().last_chunk::<N>())
        {
            *to = *low;
        }
    }
    message
}

/// Writes head, price and the lowest bytes of `value`; returns how many bytes these are.
#[inline]
fn priced_single(
    message: &mut [u8; 36],
    head: &[u8; 12],
    price: &[u8; 16],
    code: u8,
    value: u64,
) -> usize {
    let width = 1_usize.wrapping_shl(u32::from(code));
    if let Some((front, rest)) = message.split_first_chunk_mut::<12>()
        && let Some((middle, back)) = rest.split_first_chunk_mut::<16>()
        && let Some(to) = back.first_chunk_mut::<8>()
    {
        *front = *head;
        *middle = *price;
        // The lowest bytes first in order, the others cut off by the length.
        let unused = u32::try_from(8_usize.saturating_sub(width)).unwrap_or(0);
        *to = value.checked_shl(unused.saturating_mul(8)).unwrap_or(0).to_be_bytes();
    }
    width.saturating_add(28)
}
