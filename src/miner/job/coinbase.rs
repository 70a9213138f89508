//! The transaction that makes each extranonce a header of its own.

use crate::sha256::{Engine, State, Tail, last_block};

use crate::miner::MinerError;

/// A block's coinbase transaction with a gap for the extranonce, and the way up to the root.
///
/// ```text
///   prefix | extranonce1 | extranonce2 | suffix      hashed twice: the transaction's id
///            (the pool's)  (the search's)                 |
///                                       branches: id . branch, hashed twice, again and again
///                                                         |
///                                                    merkle root
/// ```
///
/// All of it is borrowed: a device keeps the one buffer in which it received them. The bytes are
/// those without witnesses, as pools send them.
///
/// ```
/// use millstream::miner::Coinbase;
/// use millstream::sha256::Engine;
///
/// let coinbase = Coinbase::new(b"before", &[7; 4], 4, b"behind", &[[1; 32]])?;
/// let root = coinbase.root(Engine::best(), 0x0102_0304).unwrap();
/// let extranonces = [7, 7, 7, 7, 1, 2, 3, 4];
/// let written = Coinbase::new(b"before", &extranonces, 0, b"behind", &[[1; 32]])?;
/// assert_eq!(written.root(Engine::best(), 0), Some(root));
/// # Ok::<(), millstream::miner::MinerError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coinbase<'a> {
    prefix: &'a [u8],
    extranonce1: &'a [u8],
    extranonce_size: u8,
    suffix: &'a [u8],
    branches: &'a [[u8; 32]],
}

impl<'a> Coinbase<'a> {
    /// The widest extranonce, in bytes.
    pub const EXTRANONCE_SIZE_MAX: u8 = 8;
    /// The longest way up: a block has fewer than 2^20 transactions.
    pub const BRANCHES_MAX: usize = 20;

    /// A coinbase transaction in its parts.
    ///
    /// `prefix`, `suffix`: the bytes around both extranonces. `extranonce1`: the pool's part, which
    /// names the connection; it may as well be the end of `prefix`. `extranonce_size`: bytes of the
    /// searcher's part, 0 ..= 8; with 0 the coinbase is fixed. `branches`: the lowest first.
    ///
    /// # Errors
    /// [`MinerError::ExtranonceSize`], [`MinerError::Branches`].
    pub const fn new(
        prefix: &'a [u8],
        extranonce1: &'a [u8],
        extranonce_size: u8,
        suffix: &'a [u8],
        branches: &'a [[u8; 32]],
    ) -> Result<Self, MinerError> {
        if extranonce_size > Self::EXTRANONCE_SIZE_MAX {
            return Err(MinerError::ExtranonceSize { got: extranonce_size });
        }
        if branches.len() > Self::BRANCHES_MAX {
            return Err(MinerError::Branches { got: branches.len() });
        }
        Ok(Self { prefix, extranonce1, extranonce_size, suffix, branches })
    }

    /// Bytes of the searcher's part of the extranonce.
    pub const fn extranonce_size(&self) -> u8 {
        self.extranonce_size
    }

    /// The largest extranonce that fits.
    pub fn extranonce_max(&self) -> u64 {
        let bits = u32::from(self.extranonce_size).saturating_mul(8);
        1_u64.checked_shl(bits).map_or(u64::MAX, |above| above.saturating_sub(1))
    }

    /// The merkle root of a block with this extranonce, a big-endian number in its bytes.
    ///
    /// `None` if the extranonce does not fit its bytes. Costs the compressions of the coinbase, and
    /// three for each branch and for the end.
    #[must_use]
    pub fn root(&self, engine: Engine, extranonce: u64) -> Option<[u8; 32]> {
        self.root_by(extranonce, &mut |state, block| {
            engine.absorb_one(state, core::slice::from_ref(block));
        })
    }

    /// [`Self::root`] by whatever compresses: on a device, the search's own kernel, so that no
    /// second one is linked.
    pub(in crate::miner) fn root_by(
        &self,
        extranonce: u64,
        absorb: &mut impl FnMut(&mut State, &[u8; 64]),
    ) -> Option<[u8; 32]> {
        if extranonce > self.extranonce_max() {
            return None;
        }
        let number = extranonce.to_be_bytes();
        let unused = usize::from(8_u8.saturating_sub(self.extranonce_size));
        let mut text = Text::new(absorb);
        for part in
            [self.prefix, self.extranonce1, number.get(unused..).unwrap_or(&[]), self.suffix]
        {
            text.write(part);
        }
        let mut node = text.hash_twice();
        for branch in self.branches {
            let mut text = Text::new(absorb);
            text.write(&node);
            text.write(branch);
            node = text.hash_twice();
        }
        Some(node)
    }

    /// Tells `mix` all that makes one coinbase differ from another, part by part.
    pub(super) fn for_each_part(&self, mut mix: impl FnMut(&[u8])) {
        for part in [self.prefix, self.extranonce1, self.suffix, self.branches.as_flattened()] {
            mix(part);
        }
        mix(&[self.extranonce_size]);
    }
}

/// A message on its way into SHA-256, one block in memory.
struct Text<'f, F> {
    absorb: &'f mut F,
    state: State,
    block: [u8; 64],
    /// Bytes of the block that are written, fewer than 64.
    used: usize,
    /// All bytes so far.
    length: usize,
}

impl<'f, F: FnMut(&mut State, &[u8; 64])> Text<'f, F> {
    fn new(absorb: &'f mut F) -> Self {
        Self { absorb, state: State::INITIAL, block: [0; 64], used: 0, length: 0 }
    }

    fn write(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            let room = self.block.len().saturating_sub(self.used);
            let (now, later) = part.split_at_checked(room).unwrap_or((part, &[]));
            let end = self.used.saturating_add(now.len());
            if let Some(place) = self.block.get_mut(self.used..end) {
                place.copy_from_slice(now);
            }
            self.length = self.length.wrapping_add(now.len());
            self.used = end;
            if end == self.block.len() {
                (self.absorb)(&mut self.state, &self.block);
                self.used = 0;
            }
            part = later;
        }
    }

    /// SHA-256 of SHA-256 of what was written.
    fn hash_twice(mut self) -> [u8; 32] {
        let rest = self.block.get(..self.used).unwrap_or_default();
        // No message in memory is longer than 64 bits can say.
        let length = u64::try_from(self.length).unwrap_or(u64::MAX);
        let tail = Tail::new(length, rest);
        for block in tail.blocks() {
            (self.absorb)(&mut self.state, block);
        }
        let mut state = State::INITIAL;
        // 32 bytes leave room for the padding.
        if let Some(block) = last_block(32, &self.state.to_bytes()) {
            (self.absorb)(&mut state, &block);
        }
        state.to_bytes()
    }
}
