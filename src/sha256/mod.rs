//! The compression function of SHA-256: one block, or many independent ones at once.
//!
//! ```text
//!   Tag ("millstream/..", its block absorbed in a constant)      messages of many lanes
//!     |                                                                |
//!     v                                                                v
//!   State --------------------> Engine::absorb ------------------> State -> 32 bytes
//!                    portable | SHA-NI x1, x2, x4 | AVX2 x8 | AVX-512 x16
//! ```
//!
//! An [`Engine`] is a kernel that this processor was found to have. [`Engine::absorb`] takes any
//! number of lanes, each a [`State`] with blocks of its own, and deals them out to the kernel;
//! every kernel gives the same words as the portable one, which the tests show lane by lane. The
//! choice is made when the engine is made: at run time with feature `std`, else by what the build
//! was told of the processor.
//!
//! Hashing whole messages is done by hand here, because the callers know their lengths: start from
//! [`State::INITIAL`] or the state of a [`Tag`], absorb full blocks, and close with [`last_block`]
//! or [`Tail`]. [`Engine::tagged`] does all of it for one message.
//!
//! Rank 0: builds on `core` alone and imports nothing. Used by `merkle`, whose levels fill the
//! lanes, and by `miner`, for midstates, and whose kernels are made of these operations on words.
//! `unsafe` stands in the three SIMD files only: calls of functions for a feature that was found,
//! and registers taken as arrays of the same size. Source: FIPS 180-4; tags as in BIP340. Nothing
//! here is secret, and nothing is wiped.

mod engine;
pub(crate) mod portable;
pub(crate) mod rounds;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod shani;

#[cfg(test)]
mod tests;

pub use engine::{Engine, Kernel};

/// The chaining value of SHA-256: eight words. After the last padded block it is the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State([u32; 8]);

impl State {
    /// Where every hash begins (FIPS 180-4, section 5.3.3).
    pub const INITIAL: Self = Self([
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ]);

    /// Takes the eight words, the first one first.
    #[must_use]
    pub const fn from_words(words: [u32; 8]) -> Self {
        Self(words)
    }

    /// The eight words.
    #[must_use]
    pub const fn words(self) -> [u32; 8] {
        self.0
    }

    /// The hash: the words in big-endian order.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.write_to(&mut bytes);
        bytes
    }

    /// Writes the hash where it is wanted.
    ///
    /// A copy of bytes that were just written as words waits for them: a dozen cycles on x86.
    #[inline]
    pub(crate) fn write_to(self, bytes: &mut [u8; 32]) {
        for (four, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(&self.0) {
            *four = word.to_be_bytes();
        }
    }

    /// The state after one block, in plain integers: for constants. Elsewhere an [`Engine`] is
    /// faster.
    #[must_use]
    pub const fn compressed(self, block: &[u8; 64]) -> Self {
        Self(portable::compress(self.0, block))
    }
}

/// The beginning of hashes for one purpose: `SHA256(tag) || SHA256(tag)`, one block, absorbed.
///
/// The construction of BIP340. Make it a constant, and a tagged hash costs no more than a plain
/// one.
///
/// ```
/// use millstream::sha256::{Engine, Tag};
///
/// const CHALLENGE: Tag = Tag::new("BIP0340/challenge");
/// let hash = Engine::best().tagged(&CHALLENGE, b"");
/// assert_eq!(hash[..2], [0xc2, 0x16]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag(State);

impl Tag {
    /// Bytes that a tagged hash absorbed before its message: the padding counts them.
    pub const BYTES: u64 = 64;

    /// The tag of this name. Works in constants.
    #[must_use]
    pub const fn new(name: &str) -> Self {
        let hash = in_constants(name.as_bytes());
        let mut block = [0; 64];
        let (first, second) = block.split_at_mut(32);
        write_words(first, &hash);
        write_words(second, &hash);
        Self(State::INITIAL.compressed(&block))
    }

    /// The state after the tag's block.
    #[must_use]
    pub const fn state(self) -> State {
        self.0
    }
}

impl Engine {
    /// The tagged hash of one message.
    #[must_use]
    pub fn tagged(self, tag: &Tag, message: &[u8]) -> [u8; 32] {
        let mut state = tag.state();
        let (blocks, rest) = message.as_chunks::<64>();
        self.absorb_one(&mut state, blocks);
        self.absorb_one(&mut state, Tail::new(after_tag(message.len()), rest).blocks());
        state.to_bytes()
    }
}

/// All the bytes of a tagged hash whose message has this many.
fn after_tag(length: usize) -> u64 {
    // A message that is in memory is shorter than 2^64 bytes by far more than the tag.
    u64::try_from(length).unwrap_or(u64::MAX).saturating_add(Tag::BYTES)
}

/// The last block of a hash of `length` bytes in all, `rest` of them not yet absorbed.
///
/// `None` if `rest` leaves no room for the padding: more than 55 bytes; then see [`Tail`].
#[inline]
#[must_use]
pub fn last_block(length: u64, rest: &[u8]) -> Option<[u8; 64]> {
    let mut block = [0; 64];
    pad(&mut block, length, rest).then_some(block)
}

/// [`last_block`] into a block of zeros, in place: the parts are not copied once more. False, and
/// nothing written, if `rest` leaves no room.
#[inline]
pub(crate) fn pad(block: &mut [u8; 64], length: u64, rest: &[u8]) -> bool {
    if let Some((text, [first, padding @ ..])) = block.split_at_mut_checked(rest.len())
        && let Some(end) = padding.last_chunk_mut()
    {
        text.copy_from_slice(rest);
        *first = 0x80;
        *end = bits(length).to_be_bytes();
        return true;
    }
    false
}

/// FIPS 180-4 hashes messages of fewer than 2^64 bits.
const fn bits(length: u64) -> u64 {
    length.wrapping_mul(8)
}

/// The last one or two blocks of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    blocks: [[u8; 64]; 2],
    used: usize,
}

impl Tail {
    /// Pads a hash of `length` bytes in all, whose last bytes `rest` are not yet absorbed.
    ///
    /// `rest`: what is left after full blocks, so fewer than 64 bytes; what is beyond is ignored.
    #[must_use]
    pub fn new(length: u64, rest: &[u8]) -> Self {
        debug_assert!(rest.len() < 64);
        if let Some(block) = last_block(length, rest) {
            return Self { blocks: [block, [0; 64]], used: 1 };
        }
        let mut blocks = [[0; 64]; 2];
        let [first, second] = &mut blocks;
        for (byte, text) in first.iter_mut().zip(rest.iter().chain(&[0x80])) {
            *byte = *text;
        }
        if let Some(end) = second.last_chunk_mut() {
            *end = bits(length).to_be_bytes();
        }
        Self { blocks, used: 2 }
    }

    /// The blocks to absorb: one if `rest` had at most 55 bytes, else two.
    #[must_use]
    pub fn blocks(&self) -> &[[u8; 64]] {
        self.blocks.get(..self.used).unwrap_or_default()
    }
}

/// The hash of a whole message as words, in a constant.
const fn in_constants(message: &[u8]) -> [u32; 8] {
    // A constant cannot convert by `From`; no platform's usize is wider than 64 bits.
    #[expect(clippy::as_conversions, reason = "widens, and `From` is not const")]
    let length = message.len() as u64;
    let mut state = State::INITIAL;
    let mut rest = message;
    while let Some((block, after)) = rest.split_first_chunk::<64>() {
        state = state.compressed(block);
        rest = after;
    }
    let mut blocks = [0; 128];
    let (text, padding) = blocks.split_at_mut(rest.len());
    text.copy_from_slice(rest);
    if let Some(first) = padding.first_mut() {
        *first = 0x80;
    }
    let ([first, second], _) = blocks.as_chunks_mut::<64>() else { return state.0 };
    let last = if rest.len() < 56 { &mut *first } else { &mut *second };
    if let Some(end) = last.last_chunk_mut() {
        *end = bits(length).to_be_bytes();
    }
    state = state.compressed(first);
    if rest.len() >= 56 {
        state = state.compressed(second);
    }
    state.0
}

/// Writes eight words into 32 bytes, big-endian, in a constant.
const fn write_words(mut bytes: &mut [u8], mut words: &[u32]) {
    while let (Some((four, after)), Some((word, rest))) =
        (bytes.split_first_chunk_mut::<4>(), words.split_first())
    {
        *four = word.to_be_bytes();
        (bytes, words) = (after, rest);
    }
}
