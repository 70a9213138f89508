//! The place of a search as 16 bytes.

use super::place::Place;

/// Where a search was, for [`Search::resume`](super::Search::resume): 16 bytes.
///
/// All numbers little-endian:
///
/// | bytes | what |
/// | --- | --- |
/// | 0..4 | bits 0..8 name the tip, 8 is set with an extranonce, 9..32 name the job's headers |
/// | 4..8 | extranonce; without one: the header's time |
/// | 8..10 | seconds behind the job's time; without: by which the latest time of the tip is later |
/// | 10..12 | number of the version |
/// | 12..16 | nonces of the range that are done |
///
/// Any 16 bytes are a checkpoint: it is read as one of another job and costs a part of the walk,
/// never a header hashed twice. It has no checksum; the envelope of a store has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    marks: Marks,
    /// The extranonce or the time.
    high: u32,
    /// Seconds.
    low: u16,
    version: u16,
    nonce: u32,
}

impl Checkpoint {
    /// Bytes of a checkpoint.
    pub const BYTES: usize = 16;

    /// `time_used`: the latest time that was hashed, of jobs without extranonce.
    pub(super) fn new(marks: Marks, place: Place, time_used: Option<u32>) -> Self {
        let Place { extranonce, time, version, nonce } = place;
        if marks.roll() {
            // A roll is at most 7,200 s; what is spent stays so.
            let low = u16::try_from(time).unwrap_or(u16::MAX);
            return Self { marks, high: extranonce, low, version, nonce };
        }
        let latest = time_used.unwrap_or(0);
        match u16::try_from(latest.saturating_sub(time)) {
            Ok(low) => Self { marks, high: time, low, version, nonce },
            // Too far to say: what is left before the latest time is given up.
            Err(_) => Self { marks, high: latest.saturating_add(1), low: 0, version: 0, nonce: 0 },
        }
    }

    /// The names, the place, the latest time that was hashed.
    pub(super) fn open(self) -> (Marks, Place, Option<u32>) {
        let Self { marks, high, low, version, nonce } = self;
        let low = u32::from(low);
        if marks.roll() {
            return (marks, Place { extranonce: high, time: low, version, nonce }, None);
        }
        let place = Place { extranonce: 0, time: high, version, nonce };
        (marks, place, Some(high.saturating_add(low)))
    }

    /// The 16 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let Self { marks, high, low, version, nonce } = self;
        let middle = u32::from(version).wrapping_shl(16) | u32::from(low);
        let mut bytes = [0; Self::BYTES];
        let words = [marks.0, high, middle, nonce];
        for (four, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *four = word.to_le_bytes();
        }
        bytes
    }

    /// Reads the 16 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let mut words = [0; 4];
        for (word, four) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*four);
        }
        let [marks, high, middle, nonce] = words;
        let [a, b, c, d] = middle.to_le_bytes();
        let (low, version) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        Self { marks: Marks(marks), high, low, version, nonce }
    }
}

/// Names of tip and headers, cut short.
///
/// A tip that is taken for the same only keeps the walk from beginning again. Headers that are
/// taken for the same, those of one job of 2^23, lose what is before the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks(u32);

impl Marks {
    const TIP: u32 = 0xff;
    const ROLLS: u32 = 0x100;

    #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "cut short")]
    pub(super) const fn new(tip: u64, space: u64, rolls: bool) -> Self {
        let rolls = if rolls { Self::ROLLS } else { 0 };
        Self(tip as u32 & Self::TIP | rolls | (space as u32) << 9)
    }

    #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "cut short")]
    pub(super) const fn is_of_tip(self, tip: u64) -> bool {
        (tip as u32 ^ self.0) & Self::TIP == 0
    }

    pub(super) const fn roll(self) -> bool {
        self.0 & Self::ROLLS != 0
    }
}
