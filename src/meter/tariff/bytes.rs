//! A tariff as bytes: one encoding, hashed and sent as it is.

use alloc::vec::Vec;

use crate::units::{Msat, Price, Quantity, Seconds, UtcSeconds};

use super::{Band, MAX_BANDS, MAX_TIERS, Measure, Repeat, Tariff, TariffError, TariffHash, Tier};

impl Tariff {
    /// The canonical bytes, version 1; numbers are big-endian.
    ///
    /// | at | bytes | what |
    /// | --- | --- | --- |
    /// | 0 | 1 | version, 1 |
    /// | 1 | 1 | measure: 0 watt-second, 1 second, 2 byte, 3 item |
    /// | 2 | 8 | first second of validity, UTC |
    /// | 10 | 8 | first second after it |
    /// | 18 | 8 | fixed fee, msat |
    /// | 26 | 8 | minimum cost, msat |
    /// | 34 | 8 + 8 | idle price: msat, for how many seconds |
    /// | 50 | 8 | idle grace, seconds |
    /// | 58 | 1 | repetition: 0 daily, 1 weekly |
    /// | 59 | 1 | number of base tiers, 1 ..= 8 |
    /// | 60 | 24 each | tier: from quantity 8, price msat 8, for how many units 8 |
    /// | | 1 | number of bands, 0 ..= 96 |
    /// | | 9 + 24 each tier | band: from second 4, to second 4, number of tiers 1, tiers |
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend([VERSION, measure_byte(self.measure)]);
        out.extend(self.valid_from.to_u64().to_be_bytes());
        out.extend(self.valid_to.to_u64().to_be_bytes());
        out.extend(self.fixed_fee.to_msat().to_be_bytes());
        out.extend(self.min_cost.to_msat().to_be_bytes());
        put_price(&mut out, self.idle);
        out.extend(self.idle_grace.to_u64().to_be_bytes());
        out.push(match self.repeat {
            Repeat::Daily => 0,
            Repeat::Weekly => 1,
        });
        put_tiers(&mut out, &self.base);
        // A checked tariff has at most MAX_BANDS and MAX_TIERS, so no count saturates.
        out.push(u8::try_from(self.bands.len()).unwrap_or(u8::MAX));
        for band in &self.bands {
            for border in [band.from, band.to] {
                out.extend(u32::try_from(border.to_u64()).unwrap_or(u32::MAX).to_be_bytes());
            }
            put_tiers(&mut out, &band.tiers);
        }
        out
    }

    /// Reads exactly one tariff.
    ///
    /// Allocates at most what its counts, which are checked first, allow.
    ///
    /// # Errors
    /// [`TariffError`] names what is wrong; a tariff that parses encodes to the same bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, TariffError> {
        let mut reader = Reader { rest: bytes, length: bytes.len() };
        let version = reader.byte()?;
        if version != VERSION {
            return Err(TariffError::UnknownVersion { got: version });
        }
        let measure = match reader.byte()? {
            0 => Measure::WattSecond,
            1 => Measure::Second,
            2 => Measure::Byte,
            3 => Measure::Item,
            got => return Err(TariffError::UnknownMeasure { got }),
        };
        let valid_from = UtcSeconds::new(reader.number()?)?;
        let valid_to = UtcSeconds::new(reader.number()?)?;
        let fixed_fee = Msat::new(reader.number()?)?;
        let min_cost = Msat::new(reader.number()?)?;
        let idle = reader.price()?;
        let idle_grace = Seconds::new(reader.number()?)?;
        let repeat = match reader.byte()? {
            0 => Repeat::Daily,
            1 => Repeat::Weekly,
            got => return Err(TariffError::UnknownRepeat { got }),
        };
        let base = reader.tiers()?;
        let bands = reader.bands()?;
        if !reader.rest.is_empty() {
            return Err(TariffError::TrailingBytes { extra: reader.rest.len() });
        }
        let hash = TariffHash([0; 32]);
        let tariff = Self {
            measure,
            valid_from,
            valid_to,
            fixed_fee,
            min_cost,
            idle,
            idle_grace,
            base,
            repeat,
            bands,
            scale: 1,
            hash,
        };
        tariff.sealed()
    }
}

const fn measure_byte(measure: Measure) -> u8 {
    match measure {
        Measure::WattSecond => 0,
        Measure::Second => 1,
        Measure::Byte => 2,
        Measure::Item => 3,
    }
}

fn put_price(out: &mut Vec<u8>, price: Price) {
    out.extend(price.msat().to_msat().to_be_bytes());
    out.extend(price.per().get().to_be_bytes());
}

fn put_tiers(out: &mut Vec<u8>, tiers: &[Tier]) {
    out.push(u8::try_from(tiers.len()).unwrap_or(u8::MAX));
    for tier in tiers {
        out.extend(tier.from.to_u64().to_be_bytes());
        put_price(out, tier.price);
    }
}

/// What is left of the bytes, and how many there were.
struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], TariffError> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or(TariffError::Truncated { at: self.length })?;
        self.rest = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, TariffError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, TariffError> {
        self.array().map(u64::from_be_bytes)
    }

    fn seconds(&mut self) -> Result<Seconds, TariffError> {
        Ok(Seconds::new(self.array().map(u32::from_be_bytes)?.into())?)
    }

    fn price(&mut self) -> Result<Price, TariffError> {
        let msat = Msat::new(self.number()?)?;
        Ok(Price::new(msat, self.number()?)?)
    }

    fn tiers(&mut self) -> Result<Vec<Tier>, TariffError> {
        let got = usize::from(self.byte()?);
        if got == 0 || got > MAX_TIERS {
            return Err(TariffError::TierCount { got, max: MAX_TIERS });
        }
        (0..got)
            .map(|_| Ok(Tier { from: Quantity::new(self.number()?)?, price: self.price()? }))
            .collect()
    }

    fn bands(&mut self) -> Result<Vec<Band>, TariffError> {
        let got = usize::from(self.byte()?);
        if got > MAX_BANDS {
            return Err(TariffError::BandCount { got, max: MAX_BANDS });
        }
        (0..got)
            .map(|_| Ok(Band { from: self.seconds()?, to: self.seconds()?, tiers: self.tiers()? }))
            .collect()
    }
}

/// The only version.
const VERSION: u8 = 1;
