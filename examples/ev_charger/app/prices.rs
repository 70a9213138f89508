//! What the station asks for a kilowatt-hour, by the time of the day.

use millstream::meter::tariff::{Band, Measure, Repeat, Tariff, Tier};
use millstream::units::{Msat, Price, Quantity, Seconds};

use super::curve::KWH;
use crate::common::Error;

const HOUR: u64 = 3_600;

/// Prices in sat a kilowatt-hour; UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prices {
    /// At other times.
    pub(crate) day: u64,
    /// From 17:00 to 21:00.
    pub(crate) peak: u64,
    /// From 22:00 to 06:00.
    pub(crate) night: u64,
}

impl Prices {
    /// What the station asks at first.
    pub(crate) const USUAL: Self = Self { day: 450, peak: 600, night: 300 };

    /// The bands of a day: from, to, sat.
    const fn bands(self) -> [(u64, u64, u64); 3] {
        [
            (0, 6 * HOUR, self.night),
            (17 * HOUR, 21 * HOUR, self.peak),
            (22 * HOUR, 24 * HOUR, self.night),
        ]
    }

    /// The price at a UTC time, sat a kilowatt-hour. Computed here and not by the library, because
    /// the library is checked against it.
    pub(crate) fn at(self, utc: u64) -> u64 {
        let second = utc % (24 * HOUR);
        let band = self.bands().into_iter().find(|(from, to, _)| (*from..*to).contains(&second));
        band.map_or(self.day, |(_, _, sat)| sat)
    }

    /// The document that both sides hash.
    pub(crate) fn tariff(self) -> Result<Tariff, Error> {
        let tier = |sat: u64| -> Result<Tier, Error> {
            let price = Price::new(Msat::new(sat * 1_000)?, KWH)?;
            Ok(Tier { from: Quantity::ZERO, price })
        };
        let bands = self.bands().into_iter().map(|(from, to, sat)| {
            let (from, to) = (Seconds::new(from)?, Seconds::new(to)?);
            Ok(Band { from, to, tiers: vec![tier(sat)?] })
        });
        let bands = bands.collect::<Result<Vec<_>, Error>>()?;
        let flat = Tariff::flat(Measure::WattSecond, tier(self.day)?.price)?;
        Ok(flat.with_bands(Repeat::Daily, bands)?)
    }
}
