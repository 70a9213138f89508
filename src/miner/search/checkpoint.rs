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
/// A search in a group of four versions, which walk the nonces together, says so in bits that are
/// never set otherwise, for a job has at most 7,200 seconds: bit 15 of bytes 8..10 is set, not all
/// of them are, and bit 8 of the first four bytes is set in any case; that there is no extranonce
/// is told by bit 14 of bytes 8..10. The seconds are bits 0..14; the version is the one that is the
/// next to be hashed of the nonce.
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

    /// Of the seconds: in a group.
    const GROUP: u16 = 0x8000;
    /// Of the seconds in a group: without extranonce.
    const FIXED: u16 = 0x4000;

    /// `time_used`: the latest time that was hashed, of jobs without extranonce.
    pub(super) fn new(marks: Marks, place: Place, time_used: Option<u32>) -> Self {
        let Place { extranonce, time, version, nonce, .. } = place;
        let group = place.is_in_group();
        let latest = time_used.unwrap_or(0);
        let (high, low) = if marks.roll() {
            // A roll is at most 7,200 s; what is spent is in no group, and stays so.
            (extranonce, u16::try_from(time).unwrap_or(u16::MAX))
        } else {
            let most = if group { Self::FIXED.wrapping_sub(2) } else { u16::MAX };
            match u16::try_from(latest.saturating_sub(time)) {
                Ok(low) if low <= most => (time, low),
                // Too far to say: what is left before the latest time is given up.
                _ => {
                    let high = latest.saturating_add(1);
                    return Self { marks, high, low: 0, version: 0, nonce: 0 };
                }
            }
        };
        let flags = match (group, marks.roll()) {
            (false, _) => return Self { marks, high, low, version, nonce },
            (true, true) => Self::GROUP,
            (true, false) => Self::GROUP | Self::FIXED,
        };
        Self { marks: marks.with_roll(true), high, low: low | flags, version, nonce }
    }

    /// The names, the place, the latest time that was hashed.
    ///
    /// `groups`: whether there are any here. Without, one of a group is read as one whose seconds
    /// are behind every job's: the rest of its extranonce is given up, and a job without is refused
    /// as one of the other sort until the tip changes.
    pub(super) fn open(self, groups: bool) -> (Marks, Place, Option<u32>) {
        let Self { marks, high, low, version, nonce } = self;
        let group = groups && marks.roll() && low & Self::GROUP != 0 && low != u16::MAX;
        let roll = marks.roll() && !(group && low & Self::FIXED != 0);
        let low = u32::from(if group { low & !(Self::GROUP | Self::FIXED) } else { low });
        let (extranonce, time, time_used) =
            if roll { (high, low, None) } else { (0, high, Some(high.saturating_add(low))) };
        let place = Place { extranonce, time, version, nonce, group };
        (marks.with_roll(roll), place, time_used)
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

    const fn with_roll(self, rolls: bool) -> Self {
        Self(if rolls { self.0 | Self::ROLLS } else { self.0 & !Self::ROLLS })
    }
}
