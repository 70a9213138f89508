//! The car: a battery, and how fast it may be filled.

use crate::common::prices::KWH;

/// What a Polestar 2 (2020, long range) draws at a 150 kW station: state of charge in percent, and
/// kilowatts. Its usable battery is 72.5 kWh.
///
/// Source: Open EV Data by Chargeprice, `data/ev-data.json` of 2022-04-07
/// (<https://github.com/chargeprice/open-ev-data>), which simplifies measured charts such as
/// Fastned's. Between the points the power is a straight line.
const CURVE: [(u64, u64); 10] = [
    (0, 150),
    (18, 150),
    (20, 130),
    (40, 130),
    (42, 100),
    (55, 90),
    (57, 70),
    (79, 70),
    (80, 25),
    (100, 11),
];
/// 72.5 kWh.
const BATTERY: u64 = 72_500 * KWH / 1_000;

/// A battery that is being filled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Battery {
    held: u64,
}

impl Battery {
    /// A battery charged to `percent`.
    pub(crate) fn at(percent: u64) -> Self {
        Self { held: BATTERY / 100 * percent }
    }

    /// The power that it takes from a station of `station` watts, watts.
    pub(crate) fn takes(self, station: u64) -> u64 {
        // A millionth of the battery each, so that the line between two points has no steps.
        let scale = 10_000;
        let level = self.held / (BATTERY / 100 / scale);
        let upper = CURVE.iter().position(|(percent, _)| percent * scale > level);
        let Some(upper) = upper.filter(|upper| *upper > 0) else { return 0 };
        let ((from, low), (to, high)) = (CURVE[upper - 1], CURVE[upper]);
        let (along, whole) = (level - from * scale, (to - from) * scale);
        let watts = (low * 1_000 * (whole - along) + high * 1_000 * along) / whole;
        watts.min(station)
    }

    /// Takes energy in, watt-seconds.
    pub(crate) fn fill(&mut self, energy: u64) {
        self.held = (self.held + energy).min(BATTERY);
    }

    /// State of charge, hundredths of a percent.
    pub(crate) fn charge(self) -> u64 {
        self.held / (BATTERY / 10_000)
    }
}
