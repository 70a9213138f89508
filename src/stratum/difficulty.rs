//! Difficulty: the decimal number by which Stratum V1 states a share's target.

use core::fmt;
use core::str::FromStr;

use crate::units::{Blame, Target};

pub use encapsulate::Difficulty;

/// 64 characters: nobody needs more, and a number of a peer is read in one pass.
const TEXT_MAX: usize = 64;
/// 37 significant digits: sixteen times such a number still fits 128 bits.
const DIGITS_MAX: usize = 37;
/// 48 digits behind the point: with 37 of them a number is below the smallest there is.
const SCALE_MAX: u8 = 48;
/// 10^12: what is printed has 13 digits, which a binary double holds with eight bits to spare.
const PRINTED_MIN: u128 = 1_000_000_000_000;
/// The hardest target is of difficulty 7.93 x 10^28.
const PRINTED_MAX: u128 = 100_000_000_000_000_000_000_000_000_000;
/// 2^-43 of the number, where more than 13 digits stand before the point: ten bits above what a
/// double rounds away.
const MARGIN_BITS: u32 = 43;

mod encapsulate {
    use super::{DifficultyError, SCALE_MAX};
    use crate::units::Target;

    /// How much harder than [`Target::DIFFICULTY_ONE`] a share is: an exact decimal fraction.
    ///
    /// Its target is `0xffff x 2^208 / difficulty`, rounded down, within 2^128 ..= 2^256 - 1. So it
    /// lies between 2.3 x 10^-10 (one hash) and 7.9 x 10^28. At most 37 significant digits.
    ///
    /// There is no floating point in it: 0.1 is a tenth. `FromStr` reads what JSON allows as a
    /// number, exponents included; `Display` prints it without one.
    ///
    /// ```
    /// use millstream::stratum::Difficulty;
    /// use millstream::units::Target;
    ///
    /// let tenth: Difficulty = "1.0e-1".parse()?;
    /// assert_eq!(tenth.to_string(), "0.1");
    /// assert_eq!("1".parse::<Difficulty>()?.target(), Target::DIFFICULTY_ONE);
    /// # Ok::<(), millstream::stratum::DifficultyError>(())
    /// ```
    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Difficulty {
        /// Not zero, and without a zero at its end that stands behind the point.
        digits: u128,
        /// How many of them stand behind the point.
        scale: u8,
        target: Target,
    }

    impl Difficulty {
        /// That of [`Target::DIFFICULTY_ONE`].
        pub const ONE: Self = Self { digits: 1, scale: 0, target: Target::DIFFICULTY_ONE };
        /// That of [`Target::MIN`].
        pub const HARDEST: Self = Self { digits: 0xffff << 80, scale: 0, target: Target::MIN };

        /// `digits / 10^scale`.
        pub(super) fn of(mut digits: u128, mut scale: u8) -> Result<Self, DifficultyError> {
            if digits == 0 {
                return Err(DifficultyError::Zero);
            }
            while scale > 0 && digits.is_multiple_of(10) {
                digits /= 10;
                scale = scale.saturating_sub(1);
            }
            if scale > SCALE_MAX {
                return Err(DifficultyError::TooEasy);
            }
            let target = super::target_of(digits, scale)?;
            Ok(Self { digits, scale, target })
        }

        /// The easiest target that it stands for: a hash meets it, or is no share.
        pub const fn target(self) -> Target {
            self.target
        }

        pub(super) const fn digits(self) -> u128 {
            self.digits
        }

        pub(super) const fn scale(self) -> u8 {
            self.scale
        }
    }
}

/// Why a number is no difficulty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DifficultyError {
    /// Not what JSON calls a number.
    #[error("difficulty is not a number")]
    NotANumber,
    /// More characters than any difficulty has.
    #[error("difficulty of {got} characters, above {max}")]
    TooLong {
        /// How many.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// More significant digits than are kept exactly.
    #[error("difficulty of {got} significant digits, above {max}")]
    TooFine {
        /// How many.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// Zero, which has no target.
    #[error("difficulty of zero")]
    Zero,
    /// Below zero.
    #[error("difficulty is negative")]
    Negative,
    /// Less than one hash a share.
    #[error("difficulty is below one hash a share")]
    TooEasy,
    /// More than 2^128 hashes a share.
    #[error("difficulty is above 2^128 hashes a share")]
    TooHard,
}

impl DifficultyError {
    /// The peer's: only what a peer sent is read as a difficulty.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::NotANumber
            | Self::TooLong { .. }
            | Self::TooFine { .. }
            | Self::Zero
            | Self::Negative
            | Self::TooEasy
            | Self::TooHard => Blame::Peer,
        }
    }
}

impl Difficulty {
    /// The difficulty to state to a miner that shall find shares of `target`.
    ///
    /// It is rounded up, to 13 digits and one unit more, because miners compute their target from
    /// it in binary doubles, which round either way: theirs must not be easier than `target`, or a
    /// share in between would be refused. So they do up to 2 x 10^-12 more than they are paid for.
    /// A target of difficulty 2^n, which a double holds exactly, is not rounded.
    ///
    /// About 60 targets are computed for it (20 us): once a change of the target, not once a job.
    #[must_use]
    pub fn not_easier_than(target: Target) -> Self {
        // Only what is harder than the hardest is refused.
        Self::printed(target).unwrap_or(Self::HARDEST)
    }

    fn printed(target: Target) -> Result<Self, DifficultyError> {
        let is_met = |digits, scale| match target_of(digits, scale) {
            Ok(found) => found <= target,
            Err(DifficultyError::TooEasy) => false,
            Err(_) => true,
        };
        // The first scale at which it has 13 digits.
        let mut scale = 0;
        while scale < SCALE_MAX && is_met(PRINTED_MIN, scale) {
            scale = scale.saturating_add(1);
        }
        // What is easier, and what is not: the border lies between them.
        let mut low = PRINTED_MIN;
        let mut high = if scale == 0 { PRINTED_MAX } else { PRINTED_MIN.saturating_mul(10) };
        while high.saturating_sub(low) > 1 {
            let middle = low.midpoint(high);
            if is_met(middle, scale) {
                high = middle;
            } else {
                low = middle;
            }
        }
        if is_power_of_two(target) {
            let exact = Self::of(high, scale)?;
            if exact.target() == target {
                return Ok(exact);
            }
        }
        let margin = (high >> MARGIN_BITS).saturating_add(1);
        Self::of(high.saturating_add(margin), scale)
    }
}

/// Whether the target's difficulty is a power of two: its only ones are those of 0xffff.
fn is_power_of_two(target: Target) -> bool {
    let bytes = target.to_be_bytes();
    let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
    let first = bytes.iter().position(|byte| *byte != 0).and_then(|at| bytes.get(at..));
    let Some(&[first, second, ref rest @ ..]) = first else { return false };
    let third = rest.first().copied().unwrap_or(0);
    let head = u32::from_be_bytes([0, first, second, third]);
    // Sixteen ones in the first three bytes without a gap.
    ones == 16 && (head >> head.trailing_zeros()) == 0xffff
}

/// `0xffff x 2^208 x 10^scale / digits`, rounded down.
///
/// The product has more than 256 bits, so the quotient is built factor by factor: with `q` and `r`
/// for `n`, those for `10 n` are `10 q + 10 r / d` and `10 r mod d`.
fn target_of(digits: u128, scale: u8) -> Result<Target, DifficultyError> {
    // 0xffff x 2^208 / 2^128 is the hardest.
    if digits.checked_mul(16).is_none() {
        return Err(DifficultyError::TooHard);
    }
    let mut quotient = [0_u32; 8];
    let mut rest = 0xffff;
    carry_into(&mut quotient, 1, &mut rest, digits)?;
    let tens = core::iter::repeat_n(10, usize::from(scale));
    // 2^208 is 16^52.
    for factor in tens.chain(core::iter::repeat_n(16, 52)) {
        rest = rest.checked_mul(u128::from(factor)).ok_or(DifficultyError::TooHard)?;
        carry_into(&mut quotient, factor, &mut rest, digits)?;
    }
    let mut bytes = [0; 32];
    for (bytes, limb) in bytes.chunks_exact_mut(4).zip(quotient) {
        bytes.copy_from_slice(&limb.to_be_bytes());
    }
    Target::from_be_bytes(&bytes).map_err(|_| DifficultyError::TooHard)
}

/// `quotient = quotient x factor + rest / digits`, `rest = rest mod digits`.
///
/// `quotient`: base 2^32, the highest first. `rest / digits`: below 2^16.
fn carry_into(
    quotient: &mut [u32; 8],
    factor: u32,
    rest: &mut u128,
    digits: u128,
) -> Result<(), DifficultyError> {
    let whole = rest.checked_div(digits).ok_or(DifficultyError::Zero)?;
    *rest = rest.checked_rem(digits).ok_or(DifficultyError::Zero)?;
    let mut carry = u64::try_from(whole).map_err(|_| DifficultyError::TooEasy)?;
    for limb in quotient.iter_mut().rev() {
        // Below 2^32 x 16 + 2^32, so nothing saturates.
        let sum = u64::from(*limb).saturating_mul(u64::from(factor)).saturating_add(carry);
        *limb = u32::try_from(sum & u64::from(u32::MAX)).unwrap_or(0);
        carry = sum >> 32;
    }
    if carry == 0 { Ok(()) } else { Err(DifficultyError::TooEasy) }
}

impl FromStr for Difficulty {
    type Err = DifficultyError;

    fn from_str(text: &str) -> Result<Self, DifficultyError> {
        if text.len() > TEXT_MAX {
            return Err(DifficultyError::TooLong { got: text.len(), max: TEXT_MAX });
        }
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let is_whole = whole == "0" || (is_digits(whole) && !whole.starts_with('0'));
        if !is_whole || fraction.is_some_and(|fraction| !is_digits(fraction)) {
            return Err(DifficultyError::NotANumber);
        }
        let fraction = fraction.unwrap_or_default();
        let (digits, ended) = significant(whole, fraction)?;
        if digits == 0 {
            return Err(DifficultyError::Zero);
        }
        if negative {
            return Err(DifficultyError::Negative);
        }
        // Characters of a text of 64, and an exponent below 10^4.
        let behind = i32::try_from(fraction.len()).map_err(|_| DifficultyError::TooEasy)?;
        let scale = behind.saturating_sub(ended).saturating_sub(exponent);
        match u8::try_from(scale) {
            Ok(scale) => Self::of(digits, scale),
            Err(_) if scale > 0 => Err(DifficultyError::TooEasy),
            Err(_) => {
                let power = 10_u128.checked_pow(scale.unsigned_abs());
                let digits = power.and_then(|power| digits.checked_mul(power));
                Self::of(digits.ok_or(DifficultyError::TooHard)?, 0)
            }
        }
    }
}

/// The number that the digits are without the zeros at their ends, and how many were cut off
/// behind.
fn significant(whole: &str, fraction: &str) -> Result<(u128, i32), DifficultyError> {
    let (mut number, mut length, mut zeros) = (0_u128, 0_usize, 0_i32);
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = u128::from(digit.wrapping_sub(b'0'));
        if digit == 0 {
            // Only counted until it is known that a digit follows.
            zeros = zeros.saturating_add(i32::from(number > 0));
            continue;
        }
        let zeros_before = core::mem::take(&mut zeros);
        let gap = usize::try_from(zeros_before).unwrap_or(0);
        length = length.saturating_add(gap).saturating_add(1);
        if length > DIGITS_MAX {
            return Err(DifficultyError::TooFine { got: length, max: DIGITS_MAX });
        }
        // At most 37 digits, which fit 123 bits.
        let power = 10_u128.saturating_pow(zeros_before.unsigned_abs().saturating_add(1));
        number = number.saturating_mul(power).saturating_add(digit);
    }
    Ok((number, zeros))
}

/// An exponent, with or without its sign; beyond 9,999 it is cut off there.
fn exponent_of(text: &str) -> Result<i32, DifficultyError> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !is_digits(digits) {
        return Err(DifficultyError::NotANumber);
    }
    let size = digits.parse().unwrap_or(9_999_i32).min(9_999);
    Ok(size.saturating_mul(sign))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (digits, scale) = (self.digits(), usize::from(self.scale()));
        let power = 10_u128.checked_pow(self.scale().into());
        let (whole, rest) = match power {
            Some(power) => (digits.checked_div(power), digits.checked_rem(power)),
            // More digits behind the point than 10^38 has.
            None => (Some(0), Some(digits)),
        };
        write!(f, "{}", whole.unwrap_or(0))?;
        if scale == 0 { Ok(()) } else { write!(f, ".{:0scale$}", rest.unwrap_or(0)) }
    }
}

impl fmt::Debug for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;
    use crate::units::WorkBits;

    fn read(text: &str) -> Result<Difficulty, DifficultyError> {
        text.parse()
    }

    /// The target that miners compute, as pooler's minerd does it: in doubles, 64 bits of it.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is lost here is what miners lose"
    )]
    fn target_of_a_miner(difficulty: f64) -> [u8; 32] {
        let (mut difficulty, mut word) = (difficulty, 6);
        while word > 0 && difficulty > 1.0 {
            difficulty /= 4_294_967_296.0;
            word -= 1;
        }
        let bits = (4_294_901_760.0 / difficulty) as u64;
        if bits == 0 && word == 6 {
            return [0xff; 32];
        }
        let mut bytes = [0; 32];
        // Words of 32 bits, the lowest first, in a number with the highest byte first.
        bytes[32 - 4 * word - 8..32 - 4 * word].copy_from_slice(&bits.to_be_bytes());
        bytes
    }

    #[test]
    fn difficulty_is_read_exactly_whatever_its_form() {
        for (text, printed) in [
            ("1", "1"),
            ("1.0", "1"),
            ("0.1", "0.1"),
            ("0.0040", "0.004"),
            ("4e-3", "0.004"),
            ("4.0E-3", "0.004"),
            ("0.4e-002", "0.004"),
            ("1e3", "1000"),
            ("1.5e+3", "1500"),
            ("120000", "120000"),
            ("0.000000000931322574615478515625", "0.000000000931322574615478515625"),
            ("1234567890123456789.012345678901234567", "1234567890123456789.012345678901234567"),
            ("3e28", "30000000000000000000000000000"),
            ("0.3e-9", "0.0000000003"),
        ] {
            let difficulty = read(text).unwrap();
            assert_eq!(difficulty.to_string(), printed, "{text}");
            assert_eq!(read(printed), Ok(difficulty));
        }
    }

    #[test]
    fn what_is_no_difficulty_is_refused_by_name() {
        use DifficultyError::{Negative, NotANumber, TooEasy, TooFine, TooHard, TooLong, Zero};
        let long = "1".repeat(65);
        let fine = format!("1.{}1", "0".repeat(36));
        for (text, error) in [
            ("0", Zero),
            ("0.000", Zero),
            ("-0", Zero),
            ("0e5", Zero),
            ("-1", Negative),
            ("-1e400", Negative),
            ("1e400", TooHard),
            ("1e99999999999999999999", TooHard),
            ("1e-400", TooEasy),
            ("1e-99999999999999999999", TooEasy),
            ("2.3e-10", TooEasy),
            ("7.93e28", TooHard),
            (&long, TooLong { got: 65, max: 64 }),
            (&fine, TooFine { got: 38, max: 37 }),
            ("", NotANumber),
            (".5", NotANumber),
            ("5.", NotANumber),
            ("+5", NotANumber),
            ("05", NotANumber),
            ("0x5", NotANumber),
            ("1e", NotANumber),
            ("1e+", NotANumber),
            ("1e1.5", NotANumber),
            ("1 ", NotANumber),
            ("NaN", NotANumber),
            ("inf", NotANumber),
            ("\"1\"", NotANumber),
            ("--1", NotANumber),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
        // The last good ones beside them.
        for good in ["2.33e-10", "7.92e28", &fine.replace("01", "1"), &fine[..38]] {
            assert!(read(good).is_ok() || good.len() == 38, "{good}: {:?}", read(good));
        }
    }

    #[test]
    fn target_is_the_quotient_rounded_down() {
        let one = Target::DIFFICULTY_ONE;
        assert_eq!(read("1").unwrap().target(), one);
        for (text, hex) in [
            // 0xffff x 2^208 / 3 and / 7, by hand: 65,535 is divisible by 3.
            ("3", "0000000055550000000000000000000000000000000000000000000000000000"),
            ("7", "0000000024922492492492492492492492492492492492492492492492492492"),
            ("0.5", "00000001fffe0000000000000000000000000000000000000000000000000000"),
            ("0.00390625", "000000ffff000000000000000000000000000000000000000000000000000000"),
            ("65535", "0000000000010000000000000000000000000000000000000000000000000000"),
        ] {
            assert_eq!(read(text).unwrap().target().to_string(), hex, "{text}");
        }
    }

    #[test]
    fn power_of_two_is_stated_without_rounding() {
        for (text, hex) in [("1", "ffff"), ("2", "7fff8"), ("1024", "3fffc"), ("0.5", "1fffe")] {
            let target = read(text).unwrap().target();
            assert!(target.to_string().trim_start_matches('0').starts_with(hex));
            assert_eq!(Difficulty::not_easier_than(target).to_string(), text);
        }
        assert_eq!(Difficulty::not_easier_than(Target::MIN), Difficulty::HARDEST);
        assert_eq!(Difficulty::HARDEST.target(), Target::MIN);
        assert_eq!(read(&Difficulty::HARDEST.to_string()), Ok(Difficulty::HARDEST));
    }

    #[test]
    fn miner_in_doubles_never_has_an_easier_target_for_any_power_of_two_of_work() {
        for bits in 0..=127 {
            let target = Target::of_work_bits(WorkBits::new(bits).unwrap());
            let stated = Difficulty::not_easier_than(target);
            let double: f64 = stated.to_string().parse().unwrap();
            let found = target_of_a_miner(double);
            assert!(found <= target.to_be_bytes(), "2^{bits}: {stated}");
            assert!(stated.target() <= target, "2^{bits}: {stated}");
            // And not by much: the first 32 of its bits are off by a few at most.
            let near = |bytes: [u8; 32]| {
                let at = bytes.iter().position(|byte| *byte != 0).unwrap_or(0);
                u64::from_be_bytes(bytes[at.min(24)..][..8].try_into().unwrap())
            };
            let (ours, theirs) = (near(target.to_be_bytes()), near(stated.target().to_be_bytes()));
            assert!(bits > 126 || (ours - theirs) >> 26 == 0, "2^{bits}: {ours:x} {theirs:x}");
        }
    }

    proptest! {
        #[test]
        fn miner_in_doubles_never_has_an_easier_target(
            bytes in any::<[u8; 32]>(),
            zeros in 0_usize..16,
        ) {
            let mut bytes = bytes;
            bytes[..zeros].fill(0);
            let Ok(target) = Target::from_be_bytes(&bytes) else { return Ok(()) };
            let stated = Difficulty::not_easier_than(target);
            prop_assert!(stated.target() <= target);
            let double: f64 = stated.to_string().parse().unwrap();
            prop_assert!(target_of_a_miner(double) <= target.to_be_bytes(), "{}", stated);
            prop_assert_eq!(read(&stated.to_string()), Ok(stated));
        }

        /// The exact quotient by another way: times the divisor it is not above the dividend, and
        /// one more is.
        #[test]
        fn target_times_difficulty_is_difficulty_one_rounded_down(
            digits in 1_u64..=u64::MAX,
            scale in 0_u8..=9,
        ) {
            let Ok(difficulty) = Difficulty::of(digits.into(), scale) else { return Ok(()) };
            let of_units = Target::of_difficulty(
                digits.try_into().unwrap(),
                10_u64.pow(scale.into()).try_into().unwrap(),
            );
            prop_assert_eq!(difficulty.target(), of_units);
        }
    }
}
