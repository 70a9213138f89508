//! What a search works on: one header template, what may be changed in it, and until when.
//!
//! ```text
//!   version    version ^ bits of the mask        all of them, the template's own first
//!   previous   fixed: it names the tip
//!   root       fixed, or of a coinbase with an extranonce
//!   time       time ..= time + roll              freely, or as the clock goes on
//!   bits       fixed
//!   nonce      nonce_first ..= nonce_last
//! ```
//!
//! [`Parts`] is what is known, [`Job`] what was checked of it, with three fingerprints by which a
//! [`Search`](super::Search) knows what it has walked already. They are no cryptographic hashes:
//! whoever makes two jobs collide makes a searcher skip some of what he pays for, and nothing else.
//!
//! Used by `miner`'s search, and by `shares`, which issues and checks the same template.

mod coinbase;
mod fingerprint;

pub use coinbase::Coinbase;

use super::{Found, Header, MinerError};
use crate::sha256::{Engine, State};
use crate::units::{JobId, Target, UtcSeconds};
use fingerprint::Mixer;

/// Where the merkle root comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Root<'a> {
    /// Given: there is no extranonce.
    Fixed([u8; 32]),
    /// Of a coinbase transaction, each extranonce another one.
    Coinbase(Coinbase<'a>),
}

/// How far the header's time may be set ahead of the job's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeRoll {
    /// By up to that many seconds, whenever the other dimensions are walked.
    Free(u16),
    /// By up to that many seconds, but never beyond the present.
    Clock(u16),
}

impl TimeRoll {
    /// 7,200 s: nodes refuse blocks that are more than two hours ahead.
    pub const MAX: u16 = 7_200;

    /// The most seconds ahead.
    const fn longest(self) -> u16 {
        match self {
            Self::Free(seconds) | Self::Clock(seconds) => seconds,
        }
    }
}

/// The parts of a job, not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the parts of Bitcoin's header and what may be changed"
)]
pub struct Parts<'a> {
    /// What the pool calls it.
    pub id: JobId,
    /// The header's version.
    pub version: u32,
    /// The bits of it that may be changed (BIP320: 0x1fffe000), at most 16.
    pub version_mask: u32,
    /// Hash of the previous block, in wire order.
    pub previous: [u8; 32],
    /// Where the merkle root comes from.
    pub root: Root<'a>,
    /// The network's target in compact form.
    pub bits: u32,
    /// The header's earliest time, in seconds UTC.
    pub time: u32,
    /// How far it may be set ahead.
    pub roll: TimeRoll,
    /// The first nonce.
    pub nonce_first: u32,
    /// The last nonce: the whole range is 0 ..= [`u32::MAX`].
    pub nonce_last: u32,
    /// What a hash must meet to be a share.
    pub target: Target,
    /// From then on shares of it are not wanted.
    pub expires: UtcSeconds,
}

/// A checked job: about 200 bytes, `Copy`, borrowing only the parts of its coinbase.
///
/// ```
/// use millstream::miner::Job;
/// use millstream::miner::job::{Parts, Root, TimeRoll};
/// use millstream::units::{JobId, Target, UtcSeconds, WorkBits};
///
/// let job = Job::new(Parts {
///     id: JobId::new(1)?,
///     version: 0x2000_0000,
///     version_mask: 0x1fff_e000,
///     previous: [7; 32],
///     root: Root::Fixed([8; 32]),
///     bits: 0x1d00_ffff,
///     time: 1_800_000_000,
///     roll: TimeRoll::Clock(600),
///     nonce_first: 0,
///     nonce_last: u32::MAX,
///     target: Target::of_work_bits(WorkBits::new(20)?),
///     expires: UtcSeconds::new(1_800_000_120)?,
/// })?;
/// assert_eq!(job.versions(), 1 << 16);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job<'a> {
    parts: Parts<'a>,
    tip: u64,
    root: u64,
    space: u64,
}

impl<'a> Job<'a> {
    /// Bits of a version that may be changed at most, as in BIP320.
    pub const VERSION_BITS_MAX: u32 = 16;

    /// Checks the parts.
    ///
    /// # Errors
    /// [`MinerError::VersionMask`], [`MinerError::Nonces`], [`MinerError::TimeRoll`].
    pub fn new(parts: Parts<'a>) -> Result<Self, MinerError> {
        let Parts { version_mask: mask, nonce_first: first, nonce_last: last, time, .. } = parts;
        if mask.count_ones() > Self::VERSION_BITS_MAX {
            return Err(MinerError::VersionMask { mask });
        }
        if first > last {
            return Err(MinerError::Nonces { first, last });
        }
        let roll = parts.roll.longest();
        // A search needs one second behind the last one.
        if roll > TimeRoll::MAX
            || time.checked_add(u32::from(roll)).is_none_or(|end| end == u32::MAX)
        {
            return Err(MinerError::TimeRoll { time, roll });
        }
        let mut mixer = Mixer::default();
        mixer.bytes(&parts.previous);
        let tip = mixer.finish();
        match &parts.root {
            Root::Fixed(root) => mixer.bytes(root),
            Root::Coinbase(coinbase) => coinbase.for_each_part(|part| mixer.bytes(part)),
        }
        let root = mixer.finish();
        for number in [parts.version, mask, parts.bits, first, last] {
            mixer.bytes(&number.to_le_bytes());
        }
        let job = Self { parts, tip, root, space: 0 };
        if job.rolls_extranonce() {
            mixer.bytes(&time.to_le_bytes());
        }
        Ok(Self { space: mixer.finish(), ..job })
    }

    /// What it was made of.
    pub const fn parts(&self) -> &Parts<'a> {
        &self.parts
    }

    /// How many versions there are: a power of two.
    pub const fn versions(&self) -> u32 {
        1_u32.wrapping_shl(self.parts.version_mask.count_ones())
    }

    /// Version number `index`; 0 is the template's own.
    ///
    /// The bits of `index` are laid out on those of the mask, the lowest on the lowest.
    pub const fn version(&self, index: u16) -> u32 {
        let (mut version, mut mask, mut index) =
            (self.parts.version, self.parts.version_mask, index);
        while mask != 0 {
            // The lowest bit of the mask, and the mask without it.
            let bit = mask & mask.wrapping_neg();
            mask ^= bit;
            if index & 1 != 0 {
                version ^= bit;
            }
            index >>= 1;
        }
        version
    }

    /// The header of a hash that was found, by which others see it.
    ///
    /// `None` if its extranonce is not one of this job's.
    #[must_use]
    pub fn header_of(&self, found: &Found, engine: Engine) -> Option<Header> {
        let mut absorb = |state: &mut State, block: &[u8; 64]| {
            engine.absorb_one(state, core::slice::from_ref(block));
        };
        let merkle_root = self.root_by(found.extranonce, &mut absorb)?;
        Some(self.header(merkle_root, found.version, found.time, found.nonce))
    }

    /// The merkle root of an extranonce.
    pub(super) fn root_by(
        &self,
        extranonce: u64,
        absorb: &mut impl FnMut(&mut State, &[u8; 64]),
    ) -> Option<[u8; 32]> {
        match &self.parts.root {
            Root::Fixed(root) => (extranonce == 0).then_some(*root),
            Root::Coinbase(coinbase) => coinbase.root_by(extranonce, absorb),
        }
    }

    /// The template filled in.
    pub(super) const fn header(
        &self,
        merkle_root: [u8; 32],
        version: u32,
        time: u32,
        nonce: u32,
    ) -> Header {
        let Parts { previous, bits, .. } = self.parts;
        Header { version, previous, merkle_root, time, bits, nonce }
    }

    /// The largest extranonce that a search walks to: 2^64 hashes are behind 32 bits of it.
    pub(super) fn extranonce_last(&self) -> u32 {
        match &self.parts.root {
            Root::Fixed(_) => 0,
            Root::Coinbase(coinbase) => {
                u32::try_from(coinbase.extranonce_max()).unwrap_or(u32::MAX)
            }
        }
    }

    /// Whether there is more than one extranonce.
    pub(super) fn rolls_extranonce(&self) -> bool {
        self.extranonce_last() > 0
    }

    /// Nonces of a lap, less one.
    pub(super) const fn nonces_behind_first(&self) -> u32 {
        self.parts.nonce_last.saturating_sub(self.parts.nonce_first)
    }

    /// Seconds by which the time may be ahead at `now`, and ever.
    pub(super) fn roll_at(&self, now: UtcSeconds) -> (u32, u32) {
        let longest = u32::from(self.parts.roll.longest());
        match self.parts.roll {
            TimeRoll::Free(_) => (longest, longest),
            TimeRoll::Clock(_) => {
                let passed = now.to_u64().saturating_sub(u64::from(self.parts.time));
                (u32::try_from(passed).map_or(longest, |passed| passed.min(longest)), longest)
            }
        }
    }

    /// Names the previous block.
    pub(super) const fn tip(&self) -> u64 {
        self.tip
    }

    /// Names where the merkle root comes from, and the tip.
    pub(super) const fn root(&self) -> u64 {
        self.root
    }

    /// Names all that a place in the walk depends on: two jobs with the same one have the same
    /// header at the same place. Not the roll, the target, the id and the expiry.
    pub(super) const fn space(&self) -> u64 {
        self.space
    }
}

#[cfg(test)]
mod tests;
