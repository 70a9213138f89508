//! Energy, and what a station asks for a kilowatt-hour, by the time of the day.

use millstream::meter::tariff::{Band, Measure, Repeat, Tariff, Tier};
use millstream::units::{Msat, Price, Quantity, Seconds};

use super::Error;

/// Watt-seconds in a kilowatt-hour.
pub(crate) const KWH: u64 = 3_600_000;

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

/// Energy and its price, added up without the library, in the finest parts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    /// Watt-seconds x msat a kilowatt-hour.
    parts: u128,
}

impl Sum {
    /// Adds `energy` watt-seconds at `price` sat a kilowatt-hour.
    pub(crate) fn add(&mut self, energy: u64, price: u64) {
        self.parts += u128::from(energy) * u128::from(price) * 1_000;
    }

    /// The whole millisatoshis.
    pub(crate) fn msat(self) -> u64 {
        u64::try_from(self.parts / u128::from(KWH)).unwrap_or(u64::MAX)
    }
}

/// Kilowatt-hours with two digits.
pub(crate) fn kwh(energy: u64) -> String {
    let hundredths = energy * 100 / KWH;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
