//! A column of numbers: one value if all are equal, else blocks of 512.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1.. | length of the blocks in bytes, LEB128; 0 if all numbers are equal |
//! | 1..=10 | that number, LEB128; or |
//! | length | the blocks (see [`block`]), each of 512 numbers but the last |
//!
//! How many numbers a column has is known before it is read. Memory is one block on either side,
//! whatever the count; a column that says a million times the same is three bytes and stays three
//! bytes.

mod block;
mod pack;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::ops::Range;

use super::{BatchError, LEAF_ITEMS_MAX, varint};

/// 512 numbers a block: on the mixes of benches/batch.rs the bytes an item are 1.2552 (uniform to
/// 1,000), 2.5071 (to 1,000,000), 0.912 (skewed); blocks of 128 take 0.012, 0.019 and 0.018 more,
/// blocks of 2,048 take 0.003 to 0.004 less but twice the memory of a first-level cache line set,
/// and follow a drifting level worse (1.126 against 1.237 for a random walk).
const BLOCK: usize = 512;

/// Writes a column, one number at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct ColumnWriter {
    /// What all numbers are as long as `blocks` is `None`.
    first: u64,
    count: u64,
    blocks: Option<Blocks>,
}

#[derive(Debug, Clone)]
struct Blocks {
    open: Vec<u64>,
    bytes: Vec<u8>,
}

impl Blocks {
    #[inline]
    fn extend(&mut self, values: &[u64]) {
        let mut rest = values;
        while !rest.is_empty() {
            let free = BLOCK.saturating_sub(self.open.len());
            let (taken, after) = rest.split_at_checked(free).unwrap_or((rest, &[]));
            self.open.extend_from_slice(taken);
            rest = after;
            if self.open.len() >= BLOCK {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        block::put(&mut self.open, &mut self.bytes);
        self.open.clear();
    }
}

impl ColumnWriter {
    /// Appends `value`.
    #[inline]
    pub(super) fn push(&mut self, value: u64) {
        self.push_run(value, 1);
    }

    /// Appends `value` `times` over.
    #[inline]
    pub(super) fn push_run(&mut self, value: u64, times: usize) {
        if times == 0 {
            return;
        }
        if self.blocks.is_none() && self.count > 0 && value != self.first {
            self.unfold();
        }
        match &mut self.blocks {
            Some(blocks) => (0..times).for_each(|_| blocks.extend(&[value])),
            None => self.first = value,
        }
        self.count = self.count.saturating_add(u64::try_from(times).unwrap_or(0));
    }

    /// Appends `values`.
    #[inline]
    pub(super) fn extend(&mut self, values: &[u64]) {
        let Some(first) = values.first() else { return };
        let all = if self.count == 0 { *first } else { self.first };
        if self.blocks.is_none() {
            if values.iter().all(|value| *value == all) {
                return self.push_run(all, values.len());
            }
            self.first = all;
            self.unfold();
        }
        if let Some(blocks) = &mut self.blocks {
            blocks.extend(values);
        }
        self.count = self.count.saturating_add(u64::try_from(values.len()).unwrap_or(0));
    }

    /// How many numbers it has.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The number that all are, if they are; zero for a column without any.
    pub(super) const fn constant(&self) -> Option<u64> {
        match self.blocks {
            None => Some(self.first),
            Some(_) => None,
        }
    }

    /// Appends the column to `out`; nothing if it has no numbers.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        match self.blocks {
            None if self.count == 0 => {}
            None => {
                varint::put(0, out);
                varint::put(self.first, out);
            }
            Some(mut blocks) => {
                if !blocks.open.is_empty() {
                    blocks.close();
                }
                varint::put(u64::try_from(blocks.bytes.len()).unwrap_or(u64::MAX), out);
                out.append(&mut blocks.bytes);
            }
        }
    }

    /// A number comes that is not like the others: these are written out now.
    #[cold]
    fn unfold(&mut self) {
        let mut blocks = Blocks { open: Vec::with_capacity(BLOCK), bytes: Vec::new() };
        for _ in 0..self.count {
            blocks.extend(&[self.first]);
        }
        self.blocks = Some(blocks);
    }
}

/// A column in received bytes: found, not read yet.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column<'a> {
    /// All numbers are this one.
    Constant(u64),
    /// Blocks.
    Packed(&'a [u8]),
}

impl<'a> Column<'a> {
    /// Takes a column off the front of `from`.
    pub(super) fn take(from: &mut &'a [u8]) -> Result<Self, BatchError> {
        match varint::take(from)? {
            0 => varint::take(from).map(Self::Constant),
            length => varint::take_bytes(from, length).map(Self::Packed),
        }
    }

    /// Starts reading `count` numbers.
    pub(super) fn read(self, count: u64) -> ColumnReader<'a> {
        let state = match self {
            Self::Constant(value) => State::Constant(value),
            Self::Packed(rest) => State::Packed { rest, first: None, varies: false },
        };
        ColumnReader { block: Vec::new(), at: 0, left: count, state }
    }
}

/// Reads a column: single numbers, runs of equal ones, or slices.
#[derive(Debug)]
pub(super) struct ColumnReader<'a> {
    /// The block that is being read; of a constant, copies of it to show as a slice.
    block: Vec<u64>,
    at: usize,
    /// Numbers that no block was read for yet; of a constant, numbers that were not read yet.
    left: u64,
    state: State<'a>,
}

#[derive(Debug)]
enum State<'a> {
    Constant(u64),
    Packed { rest: &'a [u8], first: Option<u64>, varies: bool },
}

impl ColumnReader<'_> {
    /// The next number, which stays the next one.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<u64, BatchError> {
        if let State::Constant(value) = self.state {
            return if self.left > 0 { Ok(value) } else { Err(BatchError::Miscounted) };
        }
        match self.block.get(self.at) {
            Some(value) => Ok(*value),
            None => self.refill(),
        }
    }

    /// The next number.
    pub(super) fn next(&mut self) -> Result<u64, BatchError> {
        let value = self.peek()?;
        self.advance(1);
        Ok(value)
    }

    /// How many of the next numbers are `value`, at most `most`; fewer where a block ends.
    #[inline]
    pub(super) fn run_of(&self, value: u64, most: usize) -> usize {
        match self.state {
            State::Constant(all) if all != value => 0,
            State::Constant(_) => most.min(usize::try_from(self.left).unwrap_or(usize::MAX)),
            State::Packed { .. } => {
                let ahead = self.block.get(self.at..).unwrap_or_default().iter();
                ahead.take(most).take_while(|next| **next == value).count()
            }
        }
    }

    /// Leaves `count` numbers behind, which [`Self::run_of`] has seen.
    #[inline]
    pub(super) fn advance(&mut self, count: usize) {
        match self.state {
            State::Constant(_) => {
                self.left = self.left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
            }
            State::Packed { .. } => self.at = self.at.saturating_add(count),
        }
    }

    /// Leaves at least one number behind, at most `most`, for [`Self::taken`].
    #[inline]
    pub(super) fn grab(&mut self, most: usize) -> Result<Range<usize>, BatchError> {
        let value = self.peek()?;
        if let State::Constant(_) = self.state {
            let most = most.min(usize::try_from(self.left).unwrap_or(usize::MAX));
            if self.block.len() < most.min(LEAF_ITEMS_MAX) {
                self.block.resize(most.min(LEAF_ITEMS_MAX), value);
            }
            let count = most.min(self.block.len());
            self.advance(count);
            return Ok(0..count);
        }
        let (start, end) = (self.at, self.block.len().min(self.at.saturating_add(most)));
        self.at = end;
        Ok(start..end)
    }

    /// The numbers that [`Self::grab`] has just left behind.
    #[inline]
    pub(super) fn taken(&self, range: Range<usize>) -> &[u64] {
        self.block.get(range).unwrap_or_default()
    }

    /// Reads the next block, and shows its first number.
    #[cold]
    fn refill(&mut self) -> Result<u64, BatchError> {
        let State::Packed { rest, first, varies } = &mut self.state else {
            return Err(BatchError::Miscounted);
        };
        let count = usize::try_from(self.left).unwrap_or(BLOCK).min(BLOCK);
        if count == 0 {
            return Err(BatchError::Miscounted);
        }
        self.block.resize(count, 0);
        block::take(rest, &mut self.block)?;
        let own = self.block.first().copied().ok_or(BatchError::Miscounted)?;
        let first = *first.get_or_insert(own);
        *varies = *varies || self.block.iter().any(|value| *value != first);
        self.left = self.left.saturating_sub(u64::try_from(count).unwrap_or(0));
        self.at = 0;
        Ok(own)
    }

    /// Checks that every number was read, that no byte is left, and that the numbers are not all
    /// equal if they are written one by one.
    pub(super) fn finish(&self) -> Result<(), BatchError> {
        match self.state {
            _ if self.left > 0 => Err(BatchError::Miscounted),
            State::Packed { .. } if self.at != self.block.len() => Err(BatchError::Miscounted),
            State::Packed { rest, .. } if !rest.is_empty() => {
                Err(BatchError::Trailing { bytes: rest.len() })
            }
            State::Packed { varies: false, .. } => Err(BatchError::NotMinimal { what: "column" }),
            State::Constant(_) | State::Packed { .. } => Ok(()),
        }
    }
}
