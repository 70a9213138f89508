//! The safe door: a kernel that this processor has, and how lanes are dealt out to it.

use core::num::NonZeroUsize;

use super::{State, portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512, shani};

/// The ways in which a compression can be computed. All give the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kernel {
    /// Plain integers, one lane: every machine.
    Portable,
    /// AVX2, eight lanes.
    Avx2,
    /// AVX-512 (F and BW), sixteen lanes.
    Avx512,
    /// The SHA instructions of x86, up to four lanes interleaved.
    ShaNi,
}

impl Kernel {
    /// Every kernel, from the slowest to the one that is preferred.
    ///
    /// SHA-NI comes last because it needs no company: it is as fast as AVX-512 on many lanes and
    /// several times faster on one.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::ShaNi];

    /// Whether this processor has it: asked of the processor with feature `std`, else what the
    /// build was told to expect (`-C target-feature`).
    #[must_use]
    pub fn available(self) -> bool {
        Engine::of(self).is_some()
    }

    /// Its name in benches and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "AVX2 x8",
            Self::Avx512 => "AVX-512 x16",
            Self::ShaNi => "SHA-NI x4",
        }
    }

    /// How many lanes it works on at once; more messages than that are dealt out in groups.
    #[must_use]
    pub const fn lanes(self) -> usize {
        match self {
            Self::Portable => 1,
            Self::ShaNi => 4,
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }
}

/// A kernel that this processor is known to have: the proof is in having one.
///
/// Small and `Copy`; make it once and keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine(Inner);

/// The kernel with its proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inner {
    Portable,
    #[cfg(target_arch = "x86_64")]
    ShaNi(shani::Found),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Found),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Found, avx2::Found),
}

impl Default for Engine {
    fn default() -> Self {
        Self::best()
    }
}

impl Engine {
    /// The best kernel that there is: the last of [`Kernel::ALL`] that is available.
    #[must_use]
    pub fn best() -> Self {
        Kernel::ALL.into_iter().rev().find_map(Self::of).unwrap_or(Self(Inner::Portable))
    }

    /// This kernel, if it is available: for benches, and for tests that compare them.
    #[must_use]
    pub fn of(kernel: Kernel) -> Option<Self> {
        match kernel {
            Kernel::Portable => Some(Self(Inner::Portable)),
            #[cfg(target_arch = "x86_64")]
            Kernel::ShaNi => Some(Self(Inner::ShaNi(shani::Found::detect()?))),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => Some(Self(Inner::Avx2(avx2::Found::detect()?))),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => {
                Some(Self(Inner::Avx512(avx512::Found::detect()?, avx2::Found::detect()?)))
            }
            #[cfg(not(target_arch = "x86_64"))]
            Kernel::ShaNi | Kernel::Avx2 | Kernel::Avx512 => None,
        }
    }

    /// Which kernel it is.
    #[must_use]
    pub const fn kernel(self) -> Kernel {
        match self.0 {
            Inner::Portable => Kernel::Portable,
            #[cfg(target_arch = "x86_64")]
            Inner::ShaNi(_) => Kernel::ShaNi,
            #[cfg(target_arch = "x86_64")]
            Inner::Avx2(_) => Kernel::Avx2,
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512(..) => Kernel::Avx512,
        }
    }

    /// One state absorbs the blocks of one message, in order.
    pub fn absorb_one(self, state: &mut State, message: &[[u8; 64]]) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Inner::ShaNi(found) => found.absorb(core::array::from_mut(state), &[message]),
            // The wide kernels have nothing to gain on one lane.
            _ => *state = portably(*state, message),
        }
    }

    /// Each of many states absorbs its own message of `blocks_each` blocks.
    ///
    /// `messages`: one after the other without gaps, so that the message of `states[i]` begins at
    /// block `i * blocks_each`; as many as there are states. (A state without a whole message, or a
    /// message without a state, is left alone.) The messages are independent: this is where the
    /// wide kernels are at home, with any number of lanes.
    ///
    /// ```
    /// use core::num::NonZeroUsize;
    /// use millstream::sha256::{Engine, State, last_block};
    ///
    /// let messages = [b"abc", b"abd"].map(|text| last_block(3, text).unwrap());
    /// let mut states = [State::INITIAL; 2];
    /// Engine::best().absorb(&mut states, &messages, NonZeroUsize::MIN);
    /// assert_eq!(states[0].to_bytes()[..4], [0xba, 0x78, 0x16, 0xbf]);
    /// ```
    pub fn absorb(self, states: &mut [State], messages: &[[u8; 64]], blocks_each: NonZeroUsize) {
        debug_assert_eq!(states.len().checked_mul(blocks_each.get()), Some(messages.len()));
        let lanes = Lanes { states, messages, each: blocks_each.get() };
        match self.0 {
            Inner::Portable => lanes.one_by_one(),
            #[cfg(target_arch = "x86_64")]
            Inner::ShaNi(found) => {
                let lanes = lanes.in_groups::<4>(|states, rows| found.absorb_four(states, rows));
                let lanes = lanes.in_groups::<2>(|states, rows| found.absorb(states, rows));
                let _ = lanes.in_groups::<1>(|states, rows| found.absorb(states, rows));
            }
            #[cfg(target_arch = "x86_64")]
            Inner::Avx2(found) => lanes.by_avx2(found),
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512(found, avx2) => {
                let rest = lanes.in_groups::<{ avx512::LANES }>(|states, rows| {
                    found.absorb(states, rows);
                });
                // Up to eight lanes cost less in the narrower registers than in half empty ones.
                if rest.states.len() <= avx2::LANES {
                    rest.by_avx2(avx2);
                } else {
                    rest.in_part::<{ avx512::LANES }>(|states, rows| found.absorb(states, rows));
                }
            }
        }
    }
}

/// States and their messages, not yet absorbed.
struct Lanes<'a> {
    states: &'a mut [State],
    messages: &'a [[u8; 64]],
    each: usize,
}

impl Lanes<'_> {
    fn one_by_one(self) {
        for (state, message) in self.states.iter_mut().zip(self.messages.chunks_exact(self.each)) {
            *state = portably(*state, message);
        }
    }

    /// Full groups of `N`; returns what is left, fewer than `N` lanes.
    #[cfg(target_arch = "x86_64")]
    fn in_groups<const N: usize>(
        self,
        mut run: impl FnMut(&mut [State; N], &[&[[u8; 64]]; N]),
    ) -> Self {
        let Self { states, messages, each } = self;
        let (groups, rest) = states.as_chunks_mut::<N>();
        let mut rows = messages.chunks_exact(each);
        for group in groups {
            let row: [&[[u8; 64]]; N] = core::array::from_fn(|_| rows.next().unwrap_or_default());
            run(group, &row);
        }
        let taken = messages.len().saturating_sub(rest.len().saturating_mul(each));
        Self { states: rest, messages: messages.get(taken..).unwrap_or_default(), each }
    }

    /// Fewer than `N` lanes as one group, filled up with copies of the first, whose states are
    /// thrown away.
    #[cfg(target_arch = "x86_64")]
    fn in_part<const N: usize>(self, run: impl FnOnce(&mut [State; N], &[&[[u8; 64]]; N])) {
        let mut group = [State::INITIAL; N];
        let first = self.messages.get(..self.each).unwrap_or_default();
        let mut row = [first; N];
        let messages = self.messages.chunks_exact(self.each);
        for ((lane, slot), (state, message)) in
            group.iter_mut().zip(&mut row).zip(self.states.iter().zip(messages))
        {
            (*lane, *slot) = (*state, message);
        }
        run(&mut group, &row);
        for (state, lane) in self.states.iter_mut().zip(group) {
            *state = lane;
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn by_avx2(self, found: avx2::Found) {
        let rest = self.in_groups::<{ avx2::LANES }>(|states, rows| found.absorb(states, rows));
        match rest.states.len() {
            0 => {}
            // One lane costs less in plain integers than in eight lanes, seven of them for nothing.
            1 => rest.one_by_one(),
            _ => rest.in_part::<{ avx2::LANES }>(|states, rows| found.absorb(states, rows)),
        }
    }
}

fn portably(state: State, message: &[[u8; 64]]) -> State {
    message.iter().fold(state, |state, block| State(portable::compress(state.0, block)))
}

/// [u8; 64] number `at` of every message, or `None` after the end of the shortest.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn nth_blocks<'a, const N: usize>(
    messages: &[&'a [[u8; 64]]; N],
    at: usize,
) -> Option<[&'a [u8; 64]; N]> {
    const EMPTY: &[u8; 64] = &[0; 64];
    let mut blocks = [EMPTY; N];
    for (block, message) in blocks.iter_mut().zip(messages) {
        *block = message.get(at)?;
    }
    Some(blocks)
}
