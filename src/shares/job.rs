//! A template as workers get it.

use super::text::Text;
use super::{JobError, Share, Space};
use crate::sha256::{Engine, State};
use crate::units::{Seconds, Target, Work};

/// What all headers of a job have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The version; a share may differ from it within the mask.
    pub version: u32,
    /// Bits that a worker may roll: within [`Self::MASK_MAX`]; zero if none.
    pub version_mask: u32,
    /// Hash of the block before, as it stands in a header.
    pub previous: [u8; 32],
    /// The network's target in its compact form.
    pub bits: u32,
    /// The first time that a block may have: the median of the last eleven, and one second.
    pub min_time: u32,
    /// The time that the job tells workers to start from.
    pub start: u32,
    /// How far above `start` a share's time may be.
    pub roll_max: Seconds,
}

impl Head {
    /// The bits that BIP320 leaves to miners.
    pub const MASK_MAX: u32 = 0x1fff_e000;
}

/// The parts of a coinbase transaction, without its witness: what is hashed for its id is `prefix`,
/// the worker's space, its extranonce, `suffix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coinbase<'a> {
    /// Before the space.
    pub prefix: &'a [u8],
    /// After the extranonce.
    pub suffix: &'a [u8],
    /// Bytes of a worker's [`Space`], at most [`Space::SIZE_MAX`].
    pub space_size: u8,
    /// Bytes of the worker's own extranonce, at most [`Self::EXTRANONCE_MAX`].
    pub extranonce_size: u8,
    /// The other side of each level of the merkle tree, from the bottom.
    pub branches: &'a [[u8; 32]],
}

impl Coinbase<'_> {
    /// 8 bytes: a share carries the extranonce in 64 bits.
    pub const EXTRANONCE_MAX: usize = 8;
    /// 64 KiB: some 1,500 outputs, should the coinbase pay the miners itself. A check hashes what
    /// stands behind the hole.
    pub const LENGTH_MAX: usize = 65_536;
    /// 32: four milliard transactions, when no block can hold 2^15.
    pub const BRANCHES_MAX: usize = 32;
}

/// A job that can be given to workers: checked, and hashed as far as all of its headers agree.
///
/// One job serves all workers whose spaces have its size; share it by `Arc`. With a fixed root it
/// is one worker's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolJob {
    head: Head,
    network: Target,
    network_work: Work,
    /// Last time that the worker may roll to.
    time_max: u32,
    root: Root,
    /// The two blocks of a header with this version; root, time and nonce are zero, but for a fixed
    /// root.
    blocks: [[u8; 64]; 2],
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Root {
    /// The state after the first block of a header whose version is the job's.
    Fixed(State),
    Of(Text),
}

impl PoolJob {
    /// A job whose headers all have this merkle root, for one worker: what Stratum V2 calls a
    /// standard job. The root must be of a coinbase that no other worker has.
    ///
    /// # Errors
    /// [`JobError::MaskTooWide`], [`JobError::Bits`], [`JobError::BadWindow`].
    pub fn header_only(head: Head, root: [u8; 32]) -> Result<Self, JobError> {
        let mut job = Self::new(head, Root::Fixed(State::INITIAL))?;
        let [mut first, mut second] = job.blocks;
        set_root(&mut first, &mut second, &root);
        job.blocks = [first, second];
        let mut state = State::INITIAL;
        Engine::best().absorb_one(&mut state, &[first]);
        job.root = Root::Fixed(state);
        Ok(job)
    }

    /// A job whose workers make merkle roots of their own, in their spaces.
    ///
    /// # Errors
    /// As [`Self::header_only`], and [`JobError::TooMany`] above the limits of [`Coinbase`].
    pub fn with_coinbase(head: Head, coinbase: &Coinbase<'_>) -> Result<Self, JobError> {
        Self::new(head, Root::Of(Text::new(coinbase)?))
    }

    fn new(head: Head, root: Root) -> Result<Self, JobError> {
        if head.version_mask & !Head::MASK_MAX != 0 {
            return Err(JobError::MaskTooWide { got: head.version_mask, allowed: Head::MASK_MAX });
        }
        let network = Target::from_compact(head.bits)?;
        let roll_max = u32::try_from(head.roll_max.to_u64()).ok();
        let time_max = roll_max.and_then(|roll| head.start.checked_add(roll));
        let window = time_max.filter(|_| head.min_time <= head.start);
        let Some(time_max) = window else {
            let Head { min_time, start, roll_max, .. } = head;
            return Err(JobError::BadWindow { min_time, start, roll_max });
        };
        let blocks = blocks(&head);
        Ok(Self { head, network, network_work: network.work(), time_max, root, blocks })
    }

    /// The same job with a rule of the house: what makes a block is `target`, where that is harder
    /// than what the header says; an easier one changes nothing.
    ///
    /// For a test chain, where nearly every hash is a block: its pool asks for so much work that
    /// its workers have targets to choose from, and its blocks are rare. They meet the header's
    /// target all the more, so the chain takes them.
    ///
    /// ```
    /// use millstream::shares::{Head, PoolJob};
    /// use millstream::units::{Seconds, Target, WorkBits};
    ///
    /// let (version, bits, start) = (0x2000_0000, 0x207f_ffff, 1_800_000_000);
    /// let (version_mask, previous, min_time) = (Head::MASK_MAX, [7; 32], start);
    /// let roll_max = Seconds::new(600)?;
    /// let head = Head { version, version_mask, previous, bits, min_time, start, roll_max };
    /// let house = Target::of_work_bits(WorkBits::new(24)?);
    /// let job = PoolJob::header_only(head, [9; 32])?.with_harder_blocks(house);
    /// assert_eq!(job.network(), house);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_harder_blocks(mut self, target: Target) -> Self {
        if target < self.network {
            (self.network, self.network_work) = (target, target.work());
        }
        self
    }

    /// What its headers have in common.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The target that makes a block: the header's, or the house's where that is harder.
    #[must_use]
    pub const fn network(&self) -> Target {
        self.network
    }

    /// The work that a block takes.
    #[must_use]
    pub const fn network_work(&self) -> Work {
        self.network_work
    }

    /// Bytes of the worker's extranonce; none if the root is fixed.
    #[must_use]
    pub const fn extranonce_size(&self) -> u8 {
        match &self.root {
            Root::Fixed(_) => 0,
            Root::Of(text) => text.extranonce_size,
        }
    }

    /// The merkle root of this space and extranonce, for a block, or to make
    /// [`Self::header_only`] jobs of one template. `None` if the root is fixed.
    #[must_use]
    pub fn root(&self, space: &Space, extranonce: u64) -> Option<[u8; 32]> {
        match &self.root {
            Root::Fixed(_) => None,
            Root::Of(text) => Some(text.root(Engine::best(), space, extranonce)),
        }
    }

    /// Bytes of the space that it has room for; `None` if any will do.
    pub(super) const fn space_size(&self) -> Option<u8> {
        match &self.root {
            Root::Fixed(_) => None,
            Root::Of(text) => Some(text.space_size),
        }
    }

    /// The last time that a share may have.
    pub(super) const fn time_max(&self) -> u32 {
        self.time_max
    }

    /// Writes the header of a share, padded; returns the state after its first block, if that is
    /// known.
    #[inline]
    pub(super) fn build(
        &self,
        engine: Engine,
        space: &Space,
        share: &Share,
        first: &mut [u8; 64],
        last: &mut [u8; 64],
    ) -> Option<State> {
        [*first, *last] = self.blocks;
        put(last, 4, share.time);
        put(last, 12, share.nonce);
        match &self.root {
            Root::Fixed(state) if share.version == self.head.version => return Some(*state),
            Root::Fixed(_) => {}
            Root::Of(text) => set_root(first, last, &text.root(engine, space, share.extranonce)),
        }
        put(first, 0, share.version);
        None
    }
}

/// A header without root, time and nonce, padded.
fn blocks(head: &Head) -> [[u8; 64]; 2] {
    let (mut first, mut second) = ([0; 64], [0; 64]);
    put(&mut first, 0, head.version);
    for (byte, from) in first.iter_mut().skip(4).zip(&head.previous) {
        *byte = *from;
    }
    put(&mut second, 8, head.bits);
    // The padding of 80 bytes: a one, and their number of bits.
    for (byte, from) in second.iter_mut().skip(16).zip([0x80]) {
        *byte = from;
    }
    for (byte, from) in second.iter_mut().rev().zip([0x80, 0x02]) {
        *byte = from;
    }
    [first, second]
}

/// Writes a number as headers have it.
#[inline]
fn put(block: &mut [u8; 64], at: usize, number: u32) {
    if let Some(four) = block.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *four = number.to_le_bytes();
    }
}

/// The root lies across the border of the two blocks: 28 bytes and 4.
#[inline]
fn set_root(first: &mut [u8; 64], second: &mut [u8; 64], root: &[u8; 32]) {
    let (low, high) = root.split_at(28);
    if let (Some(end), Some(start)) = (first.get_mut(36..), second.get_mut(..4)) {
        end.copy_from_slice(low);
        start.copy_from_slice(high);
    }
}
