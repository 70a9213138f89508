//! The fridge of a shop: how warm it is inside, what its compressor and its board draw.

use crate::common::dice::Dice;

/// Watts: of the electronics always, of the compressor, of the board while it hashes.
pub(crate) const WATTS: (u64, u64, u64) = (20, 700, 3);
/// Thousandths of a degree: the compressor starts above the one and stops below the other.
const WARM: i64 = 6_000;
const COLD: i64 = 3_500;
/// Thousandths of a degree a second: in at the walls, in at an open door, out by the compressor.
const LEAKS: i64 = 2;
const DOOR: i64 = 60;
const COOLS: i64 = 5;
/// The board: what a second of hashing heats it by, and how fast it comes back to the room's
/// temperature: a part in so many each second.
const HEATS: i64 = 95;
const LOSES: i64 = 600;
/// The room, thousandths of a degree: warmest in the afternoon.
const ROOM: (i64, i64) = (20_000, 8_000);

/// Its body.
#[derive(Debug, Clone)]
pub(crate) struct Fridge {
    /// Thousandths of a degree.
    pub(crate) inside: i64,
    pub(crate) board: i64,
    pub(crate) compressor: bool,
    door_until: u64,
    dice: Dice,
}

impl Fridge {
    pub(crate) fn new(seed: u64) -> Self {
        let dice = Dice::new(seed, "doors");
        Self { inside: 5_000, board: ROOM.0, compressor: false, door_until: 0, dice }
    }

    /// A second passes at this UTC time, in which it hashed for `hashing` thousandths of it.
    /// Returns the milliwatt-seconds that it drew.
    pub(crate) fn second(&mut self, utc: u64, hashing: u64) -> u64 {
        let hour = utc / 3_600 % 24;
        // Doors open in the morning and in the evening.
        let doors = if matches!(hour, 6..9 | 17..22) { 700 } else { 60 };
        if self.dice.chance(doors) {
            self.door_until = utc + self.dice.between(5, 30);
        }
        let door = if utc < self.door_until { DOOR } else { 0 };
        let cools = if self.compressor { COOLS } else { 0 };
        self.inside += LEAKS + door - cools;
        if self.inside > WARM {
            self.compressor = true;
        } else if self.inside < COLD {
            self.compressor = false;
        }
        let heat = HEATS * hashing.cast_signed() / 1_000;
        self.board += heat - (self.board - room(utc)) / LOSES;
        let (always, compressor, board) = WATTS;
        let compressor = if self.compressor { compressor } else { 0 };
        (always + compressor) * 1_000 + board * hashing
    }
}

/// A room that is warmest at three in the afternoon: a triangle over the day.
fn room(utc: u64) -> i64 {
    let minute = (utc / 60 % 1_440).cast_signed();
    let away = (minute - 900).abs().min(1_440 - (minute - 900).abs());
    ROOM.0 + ROOM.1 * (720 - away) / 720
}
