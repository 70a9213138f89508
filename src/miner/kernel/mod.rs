//! Double SHA-256 of one header with many nonces: which of its hashes meet a target.
//!
//! ```text
//!   midstate, end of the header, target        first nonce, how many
//!        |                                        |
//!        '----> what no nonce changes, once ------+--> groups of lanes, two hashes each,
//!                                                 |    of the second only its last word
//!                                                 |        | highest 32 bits <= target's?
//!                                                 |        v
//!                                                 '--> the whole hash, compared whole --> hit
//! ```
//!
//! A [`Kernel`] is a way to compute them that this processor was found to have. All give the same
//! hits in the same order, as the tests show lane by lane: a kernel only proposes nonces, and each
//! is hashed again without any shortcut. The target may be any, easier than difficulty 1 too: what
//! is compared first is a number, never only a zero.
//!
//! On bare metal the kernel is chosen by its type, so that no other is linked: [`Compact`],
//! [`Portable`] or [`Fast`], or a type of the firmware that drives the SHA engine of its chip. All
//! of them are a [`Backend`], and so is [`Kernel`].
//!
//! Used by `miner`'s search. `unsafe` stands in the files of SIMD kernels only, as in `sha256`,
//! whose operations on words these kernels are made of. Source: FIPS 180-4.

mod compact;
mod plain;
mod prepared;
mod rounds;
mod words;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod shani;

#[cfg(test)]
mod tests;

pub use compact::Compact;
pub use plain::{Fast, Portable};

use crate::sha256::State;
use crate::units::Target;
use prepared::Prepared;
#[cfg(target_arch = "x86_64")]
use prepared::{Start, Words};
use rounds::{END, HASH_BITS, HEADER_BITS};

/// The ways in which nonces can be searched. All find the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Plain integers in little flash: every machine.
    Compact,
    /// Plain integers: every machine.
    Portable,
    /// Plain integers in much flash: every machine.
    Fast,
    /// AVX2, eight nonces.
    Avx2,
    /// The SHA instructions of x86 (with AVX), four nonces interleaved.
    ShaNi,
    /// AVX-512 (F and BW), sixteen nonces.
    Avx512,
}

impl Kind {
    /// Every kind, from the slowest to the one that is preferred.
    pub const ALL: [Self; 6] =
        [Self::Compact, Self::Portable, Self::Fast, Self::Avx2, Self::ShaNi, Self::Avx512];

    /// Whether this processor has it: asked of the processor with feature `std`, else what the
    /// build was told to expect (`-C target-feature`).
    #[must_use]
    pub fn available(self) -> bool {
        Kernel::of(self).is_some()
    }

    /// Its name in benches and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compact => "compact",
            Self::Portable => "portable",
            Self::Fast => "fast",
            Self::Avx2 => "AVX2 x8",
            Self::ShaNi => "SHA-NI x4",
            Self::Avx512 => "AVX-512 x16",
        }
    }

    /// How many nonces it works on at once: a step of fewer wastes the rest.
    #[must_use]
    pub const fn lanes(self) -> u32 {
        match self {
            Self::Compact | Self::Portable | Self::Fast => 1,
            Self::Avx2 => 8,
            Self::ShaNi => 4,
            Self::Avx512 => 16,
        }
    }

    /// Whether [`Kernel::scan_versions`] is faster than as many scans.
    ///
    /// AVX2 was measured to gain a twentieth by four versions, a tenth by eight and nothing by two.
    /// AVX-512 is estimated to gain a fifth by four (41 and 50 MH/s), and was not measured. The
    /// others hash one version after the other.
    #[must_use]
    pub const fn shares_versions(self) -> bool {
        match self {
            Self::Compact | Self::Portable | Self::Fast | Self::ShaNi => false,
            Self::Avx2 | Self::Avx512 => true,
        }
    }
}

/// What computes: one of ours, or the SHA engine of a chip.
///
/// A chip's driver needs only [`absorb`](Self::absorb); the search by it is provided.
///
/// ```
/// use millstream::miner::kernel::{Backend, Compact};
/// use millstream::sha256::State;
///
/// /// Counts what it is asked, and lets another do the work.
/// struct Counting(u32);
///
/// impl Backend for Counting {
///     fn absorb(&mut self, state: State, block: &[u32; 16]) -> State {
///         self.0 += 1;
///         Compact.absorb(state, block)
///     }
/// }
///
/// let mut engine = Counting(0);
/// let easy = millstream::units::Target::from_be_bytes(&[0xff; 32])?;
/// let mut hits = 0;
/// engine.scan(&State::INITIAL, &[0; 3], 7, 10, &easy, &mut |_nonce, _hash| hits += 1);
/// assert_eq!((engine.0, hits), (20, 10));
/// # Ok::<(), millstream::units::TargetError>(())
/// ```
pub trait Backend {
    /// The state after one block, whose words are read as big-endian numbers.
    fn absorb(&mut self, state: State, block: &[u32; 16]) -> State;

    /// Tells `hit` of every nonce whose hash meets the target, in order, with the hash.
    ///
    /// `midstate`: after the header's first 64 bytes. `tail`: its bytes 64 to 75 as three
    /// big-endian numbers, as SHA-256 reads them. `first`: the first nonce, as the number that the
    /// header holds in little-endian order; `count` nonces, and after the largest comes 0. A hash
    /// is given as double SHA-256 gives it, a number in little-endian order.
    fn scan(
        &mut self,
        midstate: &State,
        tail: &[u32; 3],
        first: u32,
        count: u32,
        target: &Target,
        hit: &mut impl FnMut(u32, [u8; 32]),
    ) where
        Self: Sized,
    {
        let top = prepared::top(target);
        for at in 0..count {
            let nonce = first.wrapping_add(at);
            let hash = hash(self, midstate, tail, nonce);
            let [.., last] = hash.words();
            // Nearly all hashes are ruled out by their highest 32 bits alone.
            if last.swap_bytes() <= top {
                let hash = hash.to_bytes();
                if target.is_met_by(&hash) {
                    hit(nonce, hash);
                }
            }
        }
    }

    /// Whether [`scan_versions`](Self::scan_versions) is faster than as many scans: the search then
    /// walks a group of versions at once.
    ///
    /// It may change its mind: what was begun as a group is finished as one.
    fn shares_versions(&self) -> bool {
        false
    }

    /// [`scan`](Self::scan) of several versions of a header, each with its midstate; `hit` is told
    /// of the version's number too. Hits of a version come in order, versions may be mixed.
    fn scan_versions<const N: usize>(
        &mut self,
        midstates: &[State; N],
        tail: &[u32; 3],
        first: u32,
        count: u32,
        target: &Target,
        hit: &mut impl FnMut(usize, u32, [u8; 32]),
    ) where
        Self: Sized,
    {
        one_by_one(self, midstates, tail, first, count, target, hit);
    }
}

/// [`Backend::scan_versions`] by as many scans.
fn one_by_one(
    by: &mut impl Backend,
    midstates: &[State],
    tail: &[u32; 3],
    first: u32,
    count: u32,
    target: &Target,
    hit: &mut impl FnMut(usize, u32, [u8; 32]),
) {
    for (version, midstate) in midstates.iter().enumerate() {
        by.scan(midstate, tail, first, count, target, &mut |nonce, hash| {
            hit(version, nonce, hash);
        });
    }
}

/// The hash of a header without any shortcut.
fn hash(by: &mut impl Backend, midstate: &State, tail: &[u32; 3], nonce: u32) -> State {
    let [w0, w1, w2] = *tail;
    let w3 = nonce.swap_bytes();
    let header = [w0, w1, w2, w3, END, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, HEADER_BITS];
    let [w0, w1, w2, w3, w4, w5, w6, w7] = by.absorb(*midstate, &header).words();
    let block = [w0, w1, w2, w3, w4, w5, w6, w7, END, 0, 0, 0, 0, 0, 0, HASH_BITS];
    by.absorb(State::INITIAL, &block)
}

/// Hashes a candidate without any shortcut, and tells `hit` if the whole hash meets the target.
fn check(
    midstate: &State,
    tail: &[u32; 3],
    target: &Target,
    nonce: u32,
    hit: &mut impl FnMut(u32, [u8; 32]),
) {
    let hash = hash(&mut Compact, midstate, tail, nonce).to_bytes();
    if target.is_met_by(&hash) {
        hit(nonce, hash);
    }
}

/// A kernel that this processor is known to have: the proof is in having one.
///
/// Small and `Copy`; make it once and keep it.
///
/// ```
/// use millstream::miner::kernel::Kernel;
/// use millstream::sha256::State;
/// use millstream::units::{Target, WorkBits};
///
/// // One nonce of 2^4, on average; the hash is the number of a block's hash.
/// let target = Target::of_work_bits(WorkBits::new(4)?);
/// let mut hits = Vec::new();
/// Kernel::best().scan(&State::INITIAL, &[1, 2, 3], 0, 1_000, &target, &mut |nonce, hash| {
///     assert!(target.is_met_by(&hash));
///     hits.push(nonce);
/// });
/// assert!(hits.is_sorted() && hits.len() > 30);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Inner);

/// The kernel with its proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inner {
    Compact,
    Portable,
    Fast,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Found),
    #[cfg(target_arch = "x86_64")]
    ShaNi(shani::Found),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Found),
}

impl Default for Kernel {
    fn default() -> Self {
        Self::best()
    }
}

impl Kernel {
    /// The best that there is: the last of [`Kind::ALL`] that is available.
    #[must_use]
    pub fn best() -> Self {
        Self::best_of(Self::of)
    }

    fn best_of(have: impl FnMut(Kind) -> Option<Self>) -> Self {
        Kind::ALL.into_iter().rev().find_map(have).unwrap_or(Self(Inner::Portable))
    }

    /// Every kernel of this processor, the best one last.
    pub fn all() -> impl Iterator<Item = Self> {
        Kind::ALL.into_iter().filter_map(Self::of)
    }

    /// This kernel, if it is available: for benches, and for tests that compare them.
    #[must_use]
    pub fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Compact => Some(Self(Inner::Compact)),
            Kind::Portable => Some(Self(Inner::Portable)),
            Kind::Fast => Some(Self(Inner::Fast)),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => Some(Self(Inner::Avx2(avx2::Found::detect()?))),
            #[cfg(target_arch = "x86_64")]
            Kind::ShaNi => Some(Self(Inner::ShaNi(shani::Found::detect()?))),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => Some(Self(Inner::Avx512(avx512::Found::detect()?))),
            #[cfg(not(target_arch = "x86_64"))]
            Kind::Avx2 | Kind::ShaNi | Kind::Avx512 => None,
        }
    }

    /// Which one it is.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self.0 {
            Inner::Compact => Kind::Compact,
            Inner::Portable => Kind::Portable,
            Inner::Fast => Kind::Fast,
            #[cfg(target_arch = "x86_64")]
            Inner::Avx2(_) => Kind::Avx2,
            #[cfg(target_arch = "x86_64")]
            Inner::ShaNi(_) => Kind::ShaNi,
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512(_) => Kind::Avx512,
        }
    }

    /// Its name in benches and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.kind().name()
    }

    /// [`Backend::scan`], of a kernel that changes nothing in itself.
    pub fn scan(
        self,
        midstate: &State,
        tail: &[u32; 3],
        first: u32,
        count: u32,
        target: &Target,
        hit: &mut impl FnMut(u32, [u8; 32]),
    ) {
        if self.0 == Inner::Compact {
            return Compact.scan(midstate, tail, first, count, target, hit);
        }
        let prepared = Prepared::new(midstate, tail, target);
        let next = |span| self.next(&prepared, span);
        groups(Span { first, count }, self.kind().lanes(), next, |_, nonce| {
            check(midstate, tail, target, nonce, hit);
        });
    }

    /// [`scan`](Self::scan) of several versions of a header at once: `hit` is told of the version's
    /// number too.
    ///
    /// The version stands in the first 64 bytes, so each has a midstate of its own; the rest is the
    /// same, and AVX2 and AVX-512 compute a third of the first hash once for all. Hits of a version
    /// come in order of nonces; versions may be mixed.
    pub fn scan_versions<const N: usize>(
        self,
        midstates: &[State; N],
        tail: &[u32; 3],
        first: u32,
        count: u32,
        target: &Target,
        hit: &mut impl FnMut(usize, u32, [u8; 32]),
    ) {
        #[cfg(target_arch = "x86_64")]
        if matches!(self.0, Inner::Avx2(_) | Inner::Avx512(_)) {
            let starts = midstates.map(|midstate| Start::new(&midstate, tail));
            let (words, top) = (Words::new(tail), prepared::top(target));
            let next = |span| match self.0 {
                Inner::Avx2(found) => found.next_of(&starts, &words, top, span),
                Inner::Avx512(found) => found.next_of(&starts, &words, top, span),
                _ => None,
            };
            return groups(Span { first, count }, self.kind().lanes(), next, |version, nonce| {
                if let Some(midstate) = midstates.get(version) {
                    check(midstate, tail, target, nonce, &mut |nonce, hash| {
                        hit(version, nonce, hash);
                    });
                }
            });
        }
        one_by_one(&mut { self }, midstates, tail, first, count, target, hit);
    }

    /// The first group of the span in which a hash may meet the target.
    fn next(self, prepared: &Prepared, span: Span) -> Option<Group> {
        match self.0 {
            Inner::Compact | Inner::Portable => plain::portable::next(prepared, span),
            Inner::Fast => plain::fast::next(prepared, span),
            #[cfg(target_arch = "x86_64")]
            Inner::Avx2(found) => found.next(prepared, span),
            #[cfg(target_arch = "x86_64")]
            Inner::ShaNi(found) => found.next(prepared, span),
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512(found) => found.next(prepared, span),
        }
    }
}

impl Backend for Kernel {
    fn absorb(&mut self, state: State, block: &[u32; 16]) -> State {
        Compact.absorb(state, block)
    }

    fn scan(
        &mut self,
        midstate: &State,
        tail: &[u32; 3],
        first: u32,
        count: u32,
        target: &Target,
        hit: &mut impl FnMut(u32, [u8; 32]),
    ) {
        Self::scan(*self, midstate, tail, first, count, target, hit);
    }

    fn shares_versions(&self) -> bool {
        self.kind().shares_versions()
    }

    fn scan_versions<const N: usize>(
        &mut self,
        midstates: &[State; N],
        tail: &[u32; 3],
        first: u32,
        count: u32,
        target: &Target,
        hit: &mut impl FnMut(usize, u32, [u8; 32]),
    ) {
        Self::scan_versions(*self, midstates, tail, first, count, target, hit);
    }
}

/// Nonces one after the other; 0 comes after the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: u32,
    count: u32,
}

impl Span {
    /// Nonce number `at`.
    const fn nonce(self, at: u32) -> u32 {
        self.first.wrapping_add(at)
    }

    /// The group at `at`, if a lane is found that the span reaches.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn group<const N: usize>(self, at: u32, lanes: u32, mut found: [u32; N]) -> Option<Group<N>> {
        if found == [0; N] {
            return None;
        }
        let left = self.count.wrapping_sub(at);
        if left < lanes {
            // Lanes are 16 at most, so that a shift by fewer is one of fewer than the bits.
            found = found.map(|lanes| lanes & !u32::MAX.wrapping_shl(left));
        }
        (found != [0; N]).then_some(Group { at, lanes: found })
    }
}

/// Nonces that a kernel worked on together, of which some may meet the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group<const N: usize = 1> {
    /// The number of the group's first nonce in the span.
    at: u32,
    /// Of each version a bit for each nonce, the lowest for the first.
    lanes: [u32; N],
}

/// Tells `candidate` of all nonces that `next` gives in groups of so many lanes, each with the
/// number of its version, in order.
fn groups<const N: usize>(
    mut span: Span,
    lanes: u32,
    mut next: impl FnMut(Span) -> Option<Group<N>>,
    mut candidate: impl FnMut(usize, u32),
) {
    while let Some(Group { at, lanes: found }) = next(span) {
        for (version, mut left) in found.into_iter().enumerate() {
            while left != 0 {
                let lane = left.trailing_zeros();
                candidate(version, span.nonce(at.wrapping_add(lane)));
                // The lowest bit that is set is no more.
                left &= left.wrapping_sub(1);
            }
        }
        // The last group may be longer than what is left.
        let done = at.saturating_add(lanes).min(span.count);
        span = Span { first: span.nonce(done), count: span.count.wrapping_sub(done) };
    }
}
