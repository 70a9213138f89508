//! Amounts that are not whole millisatoshis, and the price of a hash: only a price is rounded.

use core::fmt;
use core::num::NonZeroU128;

use super::LedgerError;
use super::wide::Wide;
use crate::units::{Msat, Overflow, Ppm, Work, WorkBits};

/// Bits behind the point of a price and of an amount.
const POINT: u32 = 96;
/// The parts of a millisatoshi: 96 ones.
const PARTS: u128 = (1 << POINT) - 1;

/// An amount in millisatoshis and 2^-96 parts of one, 0 ..= [`Msat::MAX`] and its parts.
///
/// A sum of it is the same in every order, and a share of a millionth of a millisatoshi counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exact {
    msat: Msat,
    /// Below 2^96.
    parts: u128,
}

impl Exact {
    /// Nothing.
    pub const ZERO: Self = Self { msat: Msat::ZERO, parts: 0 };
    /// Length of the bytes.
    pub const LENGTH: usize = 20;

    /// What `work` costs at `price`, exactly.
    ///
    /// # Errors
    /// [`Overflow`] above all money.
    pub fn of(work: Work, price: HashPrice) -> Result<Self, Overflow> {
        let Wide { high, low } = Wide::product(work.hashes(), price.q96());
        let over = Overflow { unit: "Exact" };
        if high >> 32 != 0 {
            return Err(over);
        }
        let whole = u64::try_from(high << 32 | low >> POINT).map_err(|_| over)?;
        Ok(Self { msat: Msat::new(whole).map_err(|_| over)?, parts: low & PARTS })
    }

    /// The whole millisatoshis in it.
    #[must_use]
    pub const fn floor_msat(self) -> Msat {
        self.msat
    }

    /// What is behind the point.
    #[must_use]
    pub const fn fraction(self) -> Self {
        Self { msat: Msat::ZERO, parts: self.parts }
    }

    /// The sum.
    ///
    /// # Errors
    /// [`Overflow`] above all money.
    pub fn plus(self, other: Self) -> Result<Self, Overflow> {
        // Both below 2^96.
        let parts = self.parts.wrapping_add(other.parts);
        let carry = if parts > PARTS { Msat::new(1).unwrap_or(Msat::ZERO) } else { Msat::ZERO };
        let msat = self.msat.add(other.msat)?.add(carry)?;
        Ok(Self { msat, parts: parts & PARTS })
    }

    /// The difference, or `None` below nothing.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        let borrow = Msat::new(u64::from(self.parts < other.parts)).ok()?;
        let msat = self.msat.checked_sub(other.msat)?.checked_sub(borrow)?;
        Some(Self { msat, parts: self.parts.wrapping_sub(other.parts) & PARTS })
    }

    /// Millisatoshis in 8 bytes, and the parts in 12, big-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let (msat, parts) = bytes.split_at_mut(8);
        msat.copy_from_slice(&self.msat.to_msat().to_be_bytes());
        let from = self.parts.to_be_bytes();
        for (to, byte) in parts.iter_mut().zip(from.iter().skip(4)) {
            *to = *byte;
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] gives.
    ///
    /// # Errors
    /// [`Overflow`] above all money.
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Result<Self, Overflow> {
        let over = Overflow { unit: "Exact" };
        let (msat, behind) = bytes.split_first_chunk::<8>().ok_or(over)?;
        let mut parts = [0; 16];
        for (to, byte) in parts.iter_mut().skip(4).zip(behind) {
            *to = *byte;
        }
        let msat = Msat::new(u64::from_be_bytes(*msat)).map_err(|_| over)?;
        Ok(Self { msat, parts: u128::from_be_bytes(parts) })
    }
}

impl From<Msat> for Exact {
    fn from(msat: Msat) -> Self {
        Self { msat, parts: 0 }
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} + {}/2^96", self.msat, self.parts)
    }
}

/// Millisatoshis for one hash, as a multiple of 2^-96; never zero, below 2^32.
///
/// It is fixed when a job is issued and goes with it, so that neither a new difficulty nor another
/// fee changes what an issued job pays. Derived prices are rounded down, by less than 2^-96: at the
/// reward and difficulty of 2026 that is one part in 2^55.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashPrice(NonZeroU128);

impl HashPrice {
    /// `q96` x 2^-96 millisatoshis a hash.
    ///
    /// # Errors
    /// [`LedgerError::PriceZero`].
    pub const fn from_q96(q96: u128) -> Result<Self, LedgerError> {
        match NonZeroU128::new(q96) {
            Some(q96) => Ok(Self(q96)),
            None => Err(LedgerError::PriceZero),
        }
    }

    /// What a hash is worth where a block of `reward` takes `network` work, without the part `fee`:
    /// floor(2^96 x `reward` x (10^6 - `fee`) / (`network` x 10^6)).
    ///
    /// # Errors
    /// [`LedgerError::NoNetworkWork`]; [`LedgerError::PriceZero`] if the fee takes all;
    /// [`LedgerError::PriceTooHigh`] of 2^32 millisatoshis a hash and more, as on a test chain with
    /// a block every other hash: sell there by [`Self::per_bits`].
    pub fn pps(reward: Msat, fee: Ppm, network: Work) -> Result<Self, LedgerError> {
        let network = NonZeroU128::new(network.hashes()).ok_or(LedgerError::NoNetworkWork)?;
        // At most 10^6.
        let kept = u128::from(Ppm::MAX.saturating_sub(fee).to_ppm());
        // Below 2^61 x 2^20.
        let value = u128::from(reward.to_msat()).saturating_mul(kept);
        let (quotient, _) = Wide { high: value >> 32, low: value << POINT }.div_rem(network);
        let (Wide { high, low }, _) = quotient.div_rem(MILLION);
        if high == 0 { Self::from_q96(low) } else { Err(LedgerError::PriceTooHigh) }
    }

    /// A price of a private table: `msat` for 2^`bits` hashes. Exact up to 96 bits.
    ///
    /// # Errors
    /// [`LedgerError::PriceZero`], [`LedgerError::PriceTooHigh`].
    pub fn per_bits(msat: Msat, bits: WorkBits) -> Result<Self, LedgerError> {
        let (msat, bits) = (u128::from(msat.to_msat()), u32::from(bits.to_u8()));
        match POINT.checked_sub(bits) {
            Some(up) if msat.leading_zeros() < up => Err(LedgerError::PriceTooHigh),
            Some(up) => Self::from_q96(msat.wrapping_shl(up)),
            None => Self::from_q96(msat.wrapping_shr(bits.saturating_sub(POINT))),
        }
    }

    /// The multiple of 2^-96 millisatoshis.
    pub const fn q96(self) -> u128 {
        self.0.get()
    }
}

impl fmt::Display for HashPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/2^96 msat a hash", self.0)
    }
}

/// The scale of [`Ppm`].
const MILLION: NonZeroU128 = NonZeroU128::MIN.saturating_add(999_999);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn msat(value: u64) -> Msat {
        Msat::new(value).unwrap()
    }

    fn price(q96: u128) -> HashPrice {
        HashPrice::from_q96(q96).unwrap()
    }

    /// Reward 3.125 bitcoin and fees, difficulty 1.44e14: what the pages of the crate say of it.
    #[test]
    fn price_of_the_present_day_is_a_few_parts_in_2_to_41() {
        let network = Work::new(144_000_000_000_000 << 32);
        let price = HashPrice::pps(msat(313_000_000_000), Ppm::new(0).unwrap(), network).unwrap();
        // A desktop core of 40 MH/s in a day.
        let day = Exact::of(Work::new(40_000_000 * 86_400), price).unwrap();
        assert_eq!(day.floor_msat(), msat(1));
        // A microcontroller: nothing whole, and still not nothing.
        let device = Exact::of(Work::new(300_000), price).unwrap();
        assert_eq!(device.floor_msat(), Msat::ZERO);
        assert!(device > Exact::ZERO);
    }

    #[test]
    fn price_at_its_limits_is_taken_and_beyond_refused() {
        let none = Ppm::new(0).unwrap();
        let most = HashPrice::pps(msat(0xffff_ffff), none, Work::new(1)).unwrap();
        assert_eq!(most.q96(), 0xffff_ffff << 96);
        let above = HashPrice::pps(msat(1 << 32), none, Work::new(1));
        assert_eq!(above, Err(LedgerError::PriceTooHigh));
        let zero = HashPrice::pps(msat(1), Ppm::MAX, Work::new(1));
        assert_eq!(zero, Err(LedgerError::PriceZero));
        let no_work = HashPrice::pps(msat(1), none, Work::ZERO);
        assert_eq!(no_work, Err(LedgerError::NoNetworkWork));
        // The hardest network there can be leaves something of a satoshi.
        assert!(
            HashPrice::pps(msat(1_000), none, Work::new(1 << 100)).is_ok_and(|p| p.q96() == 62)
        );
    }

    #[test]
    fn price_of_a_table_is_exact_up_to_96_bits() {
        let bits = |b| WorkBits::new(b).unwrap();
        assert_eq!(HashPrice::per_bits(msat(7), bits(96)).unwrap().q96(), 7);
        assert_eq!(HashPrice::per_bits(msat(7), bits(97)).unwrap().q96(), 3);
        assert_eq!(HashPrice::per_bits(msat(7), bits(99)), Err(LedgerError::PriceZero));
        assert_eq!(HashPrice::per_bits(msat(1 << 32), bits(0)), Err(LedgerError::PriceTooHigh));
        assert_eq!(HashPrice::per_bits(msat(1 << 31), bits(0)).unwrap().q96(), 1 << 127);
        let forty = HashPrice::per_bits(msat(250), bits(40)).unwrap();
        assert_eq!(Exact::of(Work::new(1 << 40), forty).unwrap(), Exact::from(msat(250)));
    }

    #[test]
    fn exact_bytes_read_back_and_above_all_money_are_refused() {
        let most = Exact { msat: Msat::MAX, parts: PARTS };
        assert_eq!(Exact::from_bytes(&most.to_bytes()), Ok(most));
        assert!(Exact::from_bytes(&[0xff; 20]).is_err());
        assert!(most.plus(Exact { msat: Msat::ZERO, parts: 1 }).is_err());
        assert_eq!(most.checked_sub(most), Some(Exact::ZERO));
        assert_eq!(Exact::ZERO.checked_sub(Exact { msat: Msat::ZERO, parts: 1 }), None);
    }

    proptest! {
        /// L1: many small shares are worth what their sum is, in any order.
        #[test]
        fn shares_one_by_one_are_worth_their_sum(
            works in proptest::collection::vec(0_u128..1 << 80, 1..40),
            q96 in 1_u128..1 << 64,
        ) {
            let price = price(q96);
            let mut sum = Exact::ZERO;
            let mut backwards = Exact::ZERO;
            for work in &works {
                sum = sum.plus(Exact::of(Work::new(*work), price).unwrap()).unwrap();
            }
            for work in works.iter().rev() {
                backwards = backwards.plus(Exact::of(Work::new(*work), price).unwrap()).unwrap();
            }
            let whole = Exact::of(Work::new(works.iter().sum()), price).unwrap();
            prop_assert_eq!(sum, whole);
            prop_assert_eq!(backwards, whole);
        }

        #[test]
        fn difference_undoes_a_sum(
            a in 0_u64..1 << 59, b in 0_u64..1 << 59, p in 0..=PARTS, q in 0..=PARTS,
        ) {
            let (a, b) = (Exact { msat: msat(a), parts: p }, Exact { msat: msat(b), parts: q });
            let sum = a.plus(b).unwrap();
            prop_assert_eq!(sum.checked_sub(b), Some(a));
            prop_assert_eq!(Exact::from_bytes(&sum.to_bytes()), Ok(sum));
            prop_assert_eq!(a.checked_sub(b).is_some(), a >= b);
        }
    }

    /// The formula in whole numbers of 128 bits, where they are enough.
    #[test]
    fn price_is_the_floor_of_the_formula() {
        for (reward, fee, network) in
            [(1_u64, 1_u32, 3_u128), (65_535, 999_999, 1 << 20), (12_345, 30_000, 777_777)]
        {
            let want =
                ((u128::from(reward) * u128::from(1_000_000 - fee)) << 64) / (network * 1_000_000);
            let got = HashPrice::pps(msat(reward), Ppm::new(fee).unwrap(), Work::new(network));
            // 64 of the 96 bits: the floor of the floor is the same.
            assert_eq!(got.unwrap().q96() >> 32, want);
        }
    }
}
