//! What is sold and for how much: the price document that both sides hold and both sides hash.
//!
//! ```text
//! fixed_fee + sum over readings of quantity x price(band of the stamp, tier of the total) + idle
//! ```
//!
//! The words are those of OCPP 2.1 and OCPI 2.2: `fixedFee` (OCPI: FLAT), `minCost`, `idleTime`
//! with its grace, `validFrom`. Tax is not part of a tariff. There is no time zone: bands are
//! offsets into the UTC day or week, and whoever writes a tariff puts local time into them.
//!
//! Prices are exact rationals. A tariff knows the smallest common denominator of all its prices
//! (its scale), so that a session's cost is one whole number of millisatoshis and one remainder,
//! and never depends on how a reading was cut into ticks.
//!
//! Used by [`Session`](super::Session); its hash stands in the payee's terms, in receipts and in
//! the final statement.

mod bytes;
pub(super) mod segment;

use alloc::vec::Vec;
use core::fmt;

use crate::keys::tagged_hash;
use crate::units::{Blame, Msat, Price, Quantity, Seconds, UnitError, UtcSeconds};

/// What one unit of [`Quantity`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Measure {
    /// Energy in watt-seconds; a price per watt-hour is a [`Price`] per 3,600, one per
    /// kilowatt-hour per 3,600,000.
    WattSecond,
    /// Time of service in seconds.
    Second,
    /// Bytes carried or stored.
    Byte,
    /// Pieces: calls, shares, cups.
    Item,
}

/// How often the bands of a tariff come round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Repeat {
    /// Every UTC day; offset 0 is 00:00.
    Daily,
    /// Every week; offset 0 is Monday 00:00 UTC.
    Weekly,
}

impl Repeat {
    /// Length of one round.
    #[must_use]
    pub const fn cycle(self) -> Seconds {
        match Seconds::new(self.cycle_s()) {
            Ok(seconds) => seconds,
            Err(_) => Seconds::MAX,
        }
    }

    const fn cycle_s(self) -> u64 {
        match self {
            Self::Daily => DAY_S,
            Self::Weekly => WEEK_S,
        }
    }
}

/// A price from a session quantity on (an OCPI tariff element restricted by `min_kwh`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tier {
    /// The session's total quantity from which on this price counts; 0 in the first tier.
    pub from: Quantity,
    /// The price of each further unit.
    pub price: Price,
}

/// A part of the day or week with prices of its own (time of use).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Band {
    /// First second of the band, counted from the start of the round.
    pub from: Seconds,
    /// First second after the band; at most the length of the round. A band over midnight is two.
    pub to: Seconds,
    /// Its prices, 1 ..= 8, rising in `from`, the first from 0.
    pub tiers: Vec<Tier>,
}

/// Tagged SHA-256 of a tariff's bytes: `SHA256(SHA256(tag) || SHA256(tag) || bytes)`, tag
/// "millstream/tariff".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TariffHash(pub [u8; 32]);

impl fmt::Display for TariffHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TariffHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A complete, checked price document.
///
/// A stamp inside a band takes the band's prices, any other stamp takes the base tiers: a gap
/// between bands is not an error, it is the base price. Bands never overlap.
///
/// ```
/// use millstream::meter::tariff::{Band, Measure, Repeat, Tariff, Tier};
/// use millstream::units::{Msat, Price, Quantity, Seconds};
///
/// // 450 sat a kilowatt-hour, 300 sat from 22:00 to midnight UTC.
/// let day = Price::new(Msat::new(450_000)?, 3_600_000)?;
/// let night = Price::new(Msat::new(300_000)?, 3_600_000)?;
/// let late = Band {
///     from: Seconds::new(79_200)?,
///     to: Seconds::new(86_400)?,
///     tiers: vec![Tier { from: Quantity::ZERO, price: night }],
/// };
/// let tariff = Tariff::flat(Measure::WattSecond, day)?.with_bands(Repeat::Daily, vec![late])?;
/// assert_eq!(Tariff::parse(&tariff.encode())?, tariff);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tariff {
    measure: Measure,
    valid_from: UtcSeconds,
    valid_to: UtcSeconds,
    fixed_fee: Msat,
    min_cost: Msat,
    idle: Price,
    idle_grace: Seconds,
    base: Vec<Tier>,
    repeat: Repeat,
    bands: Vec<Band>,
    /// The smallest common multiple of all prices' `per`: follows from the above.
    scale: u64,
    /// Of the bytes: follows from the above.
    hash: TariffHash,
}

impl Tariff {
    /// One price at all times and quantities, valid for ever, without any fee.
    ///
    /// # Errors
    /// [`TariffError::PriceTooFine`] if the price is for more than 2^62 units.
    pub fn flat(measure: Measure, price: Price) -> Result<Self, TariffError> {
        let tariff = Self {
            measure,
            valid_from: UtcSeconds::MIN,
            valid_to: UtcSeconds::MAX,
            fixed_fee: Msat::ZERO,
            min_cost: Msat::ZERO,
            // Free: nothing for each second.
            idle: Price::new(Msat::ZERO, 1)?,
            idle_grace: Seconds::MIN,
            base: alloc::vec![Tier { from: Quantity::ZERO, price }],
            repeat: Repeat::Daily,
            bands: Vec::new(),
            scale: 1,
            hash: TariffHash([0; 32]),
        };
        tariff.sealed()
    }

    /// Replaces the prices outside every band.
    ///
    /// # Errors
    /// [`TariffError`] if the tiers are none, too many or out of order, or the prices too fine.
    pub fn with_tiers(mut self, base: Vec<Tier>) -> Result<Self, TariffError> {
        self.base = base;
        self.sealed()
    }

    /// Replaces the bands.
    ///
    /// # Errors
    /// [`TariffError`] if a band is empty, overlaps, is out of order or ends after the round.
    pub fn with_bands(mut self, repeat: Repeat, bands: Vec<Band>) -> Result<Self, TariffError> {
        self.repeat = repeat;
        self.bands = bands;
        self.sealed()
    }

    /// Sets the fee charged at the start, and the least that a started session costs.
    ///
    /// Both are owed from the start on, so that no end of a session can leave the risk window.
    ///
    /// # Errors
    /// None today; the signature is that of its sisters.
    pub fn with_fees(mut self, fixed_fee: Msat, min_cost: Msat) -> Result<Self, TariffError> {
        self.fixed_fee = fixed_fee;
        self.min_cost = min_cost;
        self.sealed()
    }

    /// Sets the price of a unit of time (in seconds) in which nothing was delivered, and the
    /// seconds after the last delivery that are free of it.
    ///
    /// # Errors
    /// [`TariffError::PriceTooFine`] if the price has no common denominator with the others.
    pub fn with_idle(mut self, price: Price, grace: Seconds) -> Result<Self, TariffError> {
        self.idle = price;
        self.idle_grace = grace;
        self.sealed()
    }

    /// Sets the first second of validity, and the first second after it.
    ///
    /// # Errors
    /// [`TariffError::ValidityEmpty`] if `to` is not after `from`.
    pub fn with_validity(mut self, from: UtcSeconds, to: UtcSeconds) -> Result<Self, TariffError> {
        self.valid_from = from;
        self.valid_to = to;
        self.sealed()
    }

    /// What a unit of quantity counts.
    pub const fn measure(&self) -> Measure {
        self.measure
    }

    /// The fee charged at the start.
    pub const fn fixed_fee(&self) -> Msat {
        self.fixed_fee
    }

    /// The least that a started session costs.
    pub const fn min_cost(&self) -> Msat {
        self.min_cost
    }

    /// What is owed at the start, before anything is delivered: the larger of both fees. It is what
    /// the buyer risks beside the prepayment.
    #[must_use]
    pub fn upfront(&self) -> Msat {
        self.fixed_fee.max(self.min_cost)
    }

    /// Whether the same quantity costs more or less at another time: bands, or a price of idle
    /// seconds. Then each reading must be remembered with its stamp (M7).
    #[must_use]
    pub const fn depends_on_time(&self) -> bool {
        !self.bands.is_empty() || self.idle.msat().to_msat() > 0
    }

    /// The first second of validity, and the first second after it.
    pub const fn validity(&self) -> (UtcSeconds, UtcSeconds) {
        (self.valid_from, self.valid_to)
    }

    /// The seconds after the last delivery that cost nothing.
    pub const fn idle_grace(&self) -> Seconds {
        self.idle_grace
    }

    /// The tariff's identity; computed once, when the tariff was made.
    pub const fn hash(&self) -> TariffHash {
        self.hash
    }

    /// Checks everything and fills what follows from it.
    fn sealed(mut self) -> Result<Self, TariffError> {
        if self.valid_from >= self.valid_to {
            return Err(TariffError::ValidityEmpty { from: self.valid_from, to: self.valid_to });
        }
        check_tiers(&self.base)?;
        check_bands(self.repeat, &self.bands)?;
        let prices = self.prices().count();
        if prices > MAX_PRICES {
            return Err(TariffError::PriceCount { got: prices, max: MAX_PRICES });
        }
        self.scale = scale_of(self.prices())?;
        Ok(self.hashed())
    }

    fn hashed(mut self) -> Self {
        self.hash = TariffHash(tagged_hash(b"millstream/tariff", &[&self.encode()]));
        self
    }

    fn prices(&self) -> impl Iterator<Item = Price> + Clone {
        let bands = self.bands.iter().flat_map(|band| band.tiers.iter());
        self.base.iter().chain(bands).map(|tier| tier.price).chain([self.idle])
    }
}

fn check_tiers(tiers: &[Tier]) -> Result<(), TariffError> {
    if tiers.is_empty() || tiers.len() > MAX_TIERS {
        return Err(TariffError::TierCount { got: tiers.len(), max: MAX_TIERS });
    }
    let mut last = None;
    for tier in tiers {
        let in_order = match last {
            None => tier.from == Quantity::ZERO,
            Some(last) => tier.from > last,
        };
        if !in_order {
            return Err(TariffError::TierOrder { from: tier.from });
        }
        last = Some(tier.from);
    }
    Ok(())
}

fn check_bands(repeat: Repeat, bands: &[Band]) -> Result<(), TariffError> {
    if bands.len() > MAX_BANDS {
        return Err(TariffError::BandCount { got: bands.len(), max: MAX_BANDS });
    }
    let mut free_from = Seconds::MIN;
    for band in bands {
        if band.from >= band.to {
            return Err(TariffError::BandEmpty { from: band.from, to: band.to });
        }
        if band.to > repeat.cycle() {
            return Err(TariffError::BandBeyondCycle { to: band.to, cycle: repeat.cycle() });
        }
        // Sorted bands that do not begin before the last one ended cannot overlap.
        if band.from < free_from {
            return Err(TariffError::BandOverlap { from: band.from, free_from });
        }
        check_tiers(&band.tiers)?;
        free_from = band.to;
    }
    Ok(())
}

/// The smallest common denominator, such that every price over it fits 64 bits.
fn scale_of(prices: impl Iterator<Item = Price> + Clone) -> Result<u64, TariffError> {
    let mut scale = 1_u64;
    for price in prices.clone() {
        let per = price.per().get();
        scale = per
            .checked_div(gcd(scale, per))
            .and_then(|factor| scale.checked_mul(factor))
            .filter(|&scale| scale <= MAX_SCALE)
            .ok_or(TariffError::PriceTooFine { price })?;
    }
    for price in prices {
        segment::rate_of(price, scale).ok_or(TariffError::PriceTooFine { price })?;
    }
    Ok(scale)
}

/// Euclid's; both numbers are at least one.
fn gcd(mut a: u64, mut b: u64) -> u64 {
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a
}

/// A document that is not a tariff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TariffError {
    /// The first byte is not a version that this release knows.
    #[error("tariff version {got} is unknown")]
    UnknownVersion {
        /// What was given.
        got: u8,
    },
    /// The bytes end too early.
    #[error("tariff ends at byte {at}")]
    Truncated {
        /// Number of bytes that were there.
        at: usize,
    },
    /// Bytes follow the tariff.
    #[error("{extra} bytes follow the tariff")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// The measure is none of the four.
    #[error("measure {got} is unknown")]
    UnknownMeasure {
        /// What was given.
        got: u8,
    },
    /// The repetition is none of the two.
    #[error("repetition {got} is unknown")]
    UnknownRepeat {
        /// What was given.
        got: u8,
    },
    /// No tier, or too many.
    #[error("{got} tiers, not 1 to {max}")]
    TierCount {
        /// What was given.
        got: usize,
        /// The most.
        max: usize,
    },
    /// A tier does not rise above the one before, or the first does not begin at zero.
    #[error("tier from {from} is out of order")]
    TierOrder {
        /// Where it begins.
        from: Quantity,
    },
    /// Too many bands.
    #[error("{got} bands, at most {max}")]
    BandCount {
        /// What was given.
        got: usize,
        /// The most.
        max: usize,
    },
    /// Too many prices in all, base tiers, bands' tiers and the idle price together.
    #[error("{got} prices, at most {max}")]
    PriceCount {
        /// What was given.
        got: usize,
        /// The most.
        max: usize,
    },
    /// A band that ends where it begins, or before.
    #[error("band from {from} to {to} is empty")]
    BandEmpty {
        /// Where it begins.
        from: Seconds,
        /// Where it ends.
        to: Seconds,
    },
    /// A band that ends after the day or week.
    #[error("band to {to} ends after the round of {cycle}")]
    BandBeyondCycle {
        /// Where it ends.
        to: Seconds,
        /// Length of the round.
        cycle: Seconds,
    },
    /// A band that begins before the one before it has ended.
    #[error("band from {from} begins before {free_from}")]
    BandOverlap {
        /// Where it begins.
        from: Seconds,
        /// Where the one before ends.
        free_from: Seconds,
    },
    /// The validity ends where it begins, or before.
    #[error("validity from {from} to {to} is empty")]
    ValidityEmpty {
        /// Where it begins.
        from: UtcSeconds,
        /// Where it ends.
        to: UtcSeconds,
    },
    /// This price and the others have no common denominator that keeps the sums in 64 bits.
    #[error("price of {} for {} has no small common denominator", .price.msat(), .price.per())]
    PriceTooFine {
        /// The first such price.
        price: Price,
    },
    /// A number that its unit cannot hold.
    #[error(transparent)]
    Unit(#[from] UnitError),
}

impl TariffError {
    /// The seller's, who writes the document: the peer as a buyer reads it.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::UnknownVersion { .. }
            | Self::Truncated { .. }
            | Self::TrailingBytes { .. }
            | Self::UnknownMeasure { .. }
            | Self::UnknownRepeat { .. }
            | Self::TierCount { .. }
            | Self::TierOrder { .. }
            | Self::BandCount { .. }
            | Self::PriceCount { .. }
            | Self::BandEmpty { .. }
            | Self::BandBeyondCycle { .. }
            | Self::BandOverlap { .. }
            | Self::ValidityEmpty { .. }
            | Self::PriceTooFine { .. }
            | Self::Unit(_) => Blame::Peer,
        }
    }
}

/// 96: a price for each quarter of an hour of a day, which is how European power is traded.
pub(super) const MAX_BANDS: usize = 96;
/// 8: household block tariffs have two to five steps.
pub(super) const MAX_TIERS: usize = 8;
/// 128: with them a tariff is at most 3,973 bytes long and fits one message (4,096).
pub(super) const MAX_PRICES: usize = 128;
/// 2^62: two remainders below the scale add up in 64 bits with room to spare.
pub(super) const MAX_SCALE: u64 = 1 << 62;
const DAY_S: u64 = 86_400;
const WEEK_S: u64 = 604_800;
