//! The story: an evening's charge, and then what can go wrong, one thing at a time.

use super::episode::{Ending, Episode, Fault};
use crate::common::dice::Dice;
use crate::common::prices::Prices;

/// Monday, 2 March 2026, 00:00 UTC.
const MONDAY: u64 = 1_772_409_600;
const HOUR: u64 = 3_600;
/// Two in the afternoon: no price border is near.
const AFTERNOON: u64 = MONDAY + 14 * HOUR;

/// The episodes for this much chaos; when exactly things go wrong depends on the seed.
pub(crate) fn episodes(seed: u64, chaos: u8) -> Vec<Episode> {
    let mut dice = Dice::new(seed, "story");
    let mut story = vec![Episode {
        name: "evening",
        title: "a charge from 8 to 82 %, over the end of the peak and a settlement",
        start: MONDAY + 20 * HOUR + 45 * 60,
        charge: (8, 82),
        station: 150_000,
        faults: vec![],
        ending: Ending::Agreed,
    }];
    if chaos >= 1 {
        story.extend(single_faults(&mut dice));
    }
    if chaos >= 2 {
        story.push(storm(&mut dice, usize::from(chaos) * 3));
    }
    story
}

fn single_faults(dice: &mut Dice) -> Vec<Episode> {
    use Ending::{Agreed, Deserted, Quarrel};
    let at = dice.between(60, 150);
    let dearer = |day| Fault::Prices(Prices { day, ..Prices::USUAL });
    let quick = |name, title, faults, ending| Episode {
        name,
        title,
        start: AFTERNOON,
        charge: (20, 30),
        station: 150_000,
        faults,
        ending,
    };
    vec![
        quick("line", "the data line is lost", vec![(at, Fault::LineDown(45))], Agreed),
        quick("car-off", "the car's computer reboots", vec![(at, Fault::CarReboot(20))], Agreed),
        quick(
            "station-off",
            "the station's computer reboots",
            vec![(at, Fault::StationReboot(20))],
            Agreed,
        ),
        quick(
            "price",
            "the price rises twice",
            vec![(at, dearer(520)), (at + 90, dearer(900))],
            Agreed,
        ),
        quick("drift", "the meter runs 1.8 % fast", vec![(at, Fault::Drift(18_000))], Agreed),
        quick("cheat", "the meter claims 15 % more", vec![(at, Fault::Drift(150_000))], Quarrel),
        quick("silent", "the car stops paying", vec![(at, Fault::CarSilent)], Quarrel),
        quick("gone", "the station vanishes", vec![(at, Fault::StationGone)], Deserted),
        Episode {
            name: "reorg",
            title: "a reorg undoes the settlement",
            start: AFTERNOON,
            charge: (50, 61),
            station: 22_000,
            faults: vec![(480, Fault::Settle), (600 + at, Fault::Reorg(1))],
            ending: Agreed,
        },
    ]
}

/// `count` faults of either side's machine and of the line, at any time.
fn storm(dice: &mut Dice, count: usize) -> Episode {
    let faults = (0..count).map(|_| {
        let (at, seconds) = (dice.between(30, 900), dice.between(2, 30));
        let fault = match dice.between(0, 4) {
            0 => Fault::CarReboot(seconds),
            1 => Fault::StationReboot(seconds),
            2 => Fault::Reorg(1 + u32::try_from(seconds % 2).unwrap_or(0)),
            _ => Fault::LineDown(seconds),
        };
        (at, fault)
    });
    Episode {
        name: "storm",
        title: "everything at any time",
        start: AFTERNOON,
        charge: (10, 40),
        station: 150_000,
        faults: faults.collect(),
        ending: Ending::Agreed,
    }
}
