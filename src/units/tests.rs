//! Unit tests of `units`: one behaviour each, named for it.

use core::num::NonZeroU64;

use bitcoin::pow;
use proptest::prelude::*;

use super::*;

#[test]
fn amount_at_all_money_is_accepted_and_above_refused() {
    let all = 2_100_000_000_000_000;
    assert_eq!(Sat::new(all).unwrap(), Sat::MAX);
    assert_eq!(Sat::new(all + 1), Err(UnitError::TooLarge { unit: "Sat", got: all + 1, max: all }));
    assert_eq!(Sat::MAX.to_msat(), Msat::MAX);
    assert!(Msat::new(all * 1000 + 1).is_err());
}

#[test]
fn msat_rounds_as_its_names_say() {
    for (msat, floor, ceil, rest) in
        [(0, 0, 0, 0), (1, 0, 1, 1), (999, 0, 1, 999), (1000, 1, 1, 0), (1001, 1, 2, 1)]
    {
        let amount = Msat::new(msat).unwrap();
        assert_eq!(amount.floor_to_sat().to_sat(), floor);
        assert_eq!(amount.ceil_to_sat().to_sat(), ceil);
        assert_eq!(amount.sub_sat(), rest);
    }
}

#[test]
fn sum_above_all_money_is_an_overflow_and_below_zero_too() {
    let one = Sat::new(1).unwrap();
    assert_eq!(Sat::MAX.add(one), Err(Overflow { unit: "Sat" }));
    assert_eq!(Sat::ZERO.sub(one), Err(Overflow { unit: "Sat" }));
    assert_eq!(Sat::ZERO.saturating_sub(one), Sat::ZERO);
    assert_eq!(Sat::MAX.saturating_add(one), Sat::MAX);
}

#[test]
fn fee_rate_of_zero_or_absurd_is_refused_and_fees_round_up() {
    assert_eq!(FeeRate::new(0), Err(UnitError::Zero { unit: "FeeRate" }));
    let (got, max) = (1_000_000_001, 1_000_000_000);
    assert_eq!(FeeRate::new(max), Ok(FeeRate::MAX));
    assert_eq!(FeeRate::new(got), Err(UnitError::TooLarge { unit: "FeeRate", got, max }));
    let smallest = FeeRate::new(100).unwrap();
    // 817 weight units at 0.1 sat/vB are 20.425 sat.
    assert_eq!(smallest.ceil_fee(817).unwrap().to_sat(), 21);
    assert_eq!(smallest.ceil_fee(800).unwrap().to_sat(), 20);
    assert!(FeeRate::MAX.ceil_fee(u64::MAX).is_err());
}

#[test]
fn depth_counts_the_tip_block_as_one() {
    let at = |height| Height::new(height).unwrap();
    assert_eq!(at(10).depth_at(at(9)).to_u32(), 0);
    assert_eq!(at(10).depth_at(at(10)).to_u32(), 1);
    assert_eq!(at(10).depth_at(at(15)).to_u32(), 6);
    assert!(Height::new(500_000_000).is_err());
}

#[test]
fn price_is_exact_and_never_above_money() {
    let third = Price::new(Msat::new(1).unwrap(), 3).unwrap();
    let of = |n| Quantity::new(n).unwrap();
    assert_eq!(third.floor_msat(of(2)).unwrap(), Msat::ZERO);
    assert_eq!(third.ceil_msat(of(2)).unwrap().to_msat(), 1);
    assert_eq!(third.floor_msat(of(3)).unwrap().to_msat(), 1);
    let dear = Price::new(Msat::MAX, 1).unwrap();
    assert_eq!(dear.floor_msat(of(1)).unwrap(), Msat::MAX);
    assert!(dear.floor_msat(of(2)).is_err());
    assert!(dear.floor_msat(of(u64::MAX)).is_err());
    assert!(Price::new(Msat::ZERO, 0).is_err());
}

#[test]
fn part_per_million_of_an_amount_is_never_more_than_it() {
    assert_eq!(Ppm::MAX.floor_of(Msat::MAX), Msat::MAX);
    assert_eq!(Ppm::new(25_000).unwrap().floor_of(Msat::new(999).unwrap()).to_msat(), 24);
    assert!(Ppm::new(1_000_001).is_err());
}

/// The two halves of a target, of every size.
fn targets() -> impl Strategy<Value = Target> {
    (1_u128.., any::<u128>(), 0_u32..128, 0_u32..128).prop_map(|(high, low, shift, cut)| {
        let (high, low) = ((high >> shift).max(1), low >> cut);
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&high.to_be_bytes());
        bytes[16..].copy_from_slice(&low.to_be_bytes());
        Target::from_be_bytes(&bytes).unwrap()
    })
}

/// The same number as the type that everybody else uses.
fn theirs(target: Target) -> pow::Target {
    pow::Target::from_be_bytes(target.to_be_bytes())
}

fn work_bits(bits: u8) -> WorkBits {
    WorkBits::new(bits).unwrap()
}

proptest! {
    #[test]
    fn work_of_a_target_is_that_of_bitcoin(target in targets()) {
        prop_assert_eq!(
            theirs(target).to_work(),
            pow::Work::from_be_bytes({
                let mut bytes = [0; 32];
                bytes[16..].copy_from_slice(&target.work().hashes().to_be_bytes());
                bytes
            })
        );
    }

    #[test]
    fn compact_form_is_read_and_written_as_bitcoin_does(target in targets(), bits: u32) {
        let compact = theirs(target).to_compact_lossy();
        prop_assert_eq!(target.floor_compact(), compact.to_consensus());
        let back = Target::from_compact(compact.to_consensus());
        match back {
            Ok(back) => prop_assert_eq!(theirs(back), pow::Target::from_compact(compact)),
            Err(error) => prop_assert!(matches!(error, TargetError::TooHard { .. }), "{}", error),
        }
        if let Ok(read) = Target::from_compact(bits) {
            let compact = pow::CompactTarget::from_consensus(bits);
            prop_assert_eq!(theirs(read), pow::Target::from_compact(compact));
        }
    }

    #[test]
    fn hash_meets_a_target_as_bitcoin_says(
        target in targets(), mut hash: [u8; 32], zeros in 0_usize..=32,
    ) {
        hash[32 - zeros..].fill(0);
        let number = {
            let mut bytes = hash;
            bytes.reverse();
            pow::Target::from_be_bytes(bytes)
        };
        prop_assert_eq!(target.is_met_by(&hash), number <= theirs(target));
        let mut same = target.to_be_bytes();
        same.reverse();
        prop_assert!(target.is_met_by(&same));
    }

    #[test]
    fn order_and_text_and_bytes_of_targets_are_those_of_the_number(a in targets(), b in targets()) {
        prop_assert_eq!(a.cmp(&b), theirs(a).cmp(&theirs(b)));
        prop_assert_eq!(a.to_string().parse(), Ok(a));
        prop_assert_eq!(a.to_string(), format!("{:064x}", theirs(a)));
        prop_assert_eq!(Target::from_be_bytes(&a.to_be_bytes()), Ok(a));
    }

    /// Whole difficulties are divisors of difficulty 1: as long division of its bytes gives them.
    #[test]
    fn difficulty_divides_difficulty_one_exactly(
        units in 1_u64.., scale in 1_u64.., cut in 0_u32..64,
    ) {
        let scale = (scale >> cut).max(1);
        let target = Target::of_difficulty(
            NonZeroU64::new(units).unwrap(), NonZeroU64::new(scale).unwrap(),
        );
        let product = (0xffff * u128::from(scale)).to_be_bytes();
        let (mut rest, mut quotient) = (0_u128, vec![]);
        for byte in product.into_iter().chain([0; 26]) {
            let dividend = rest << 8 | u128::from(byte);
            quotient.push(u8::try_from(dividend / u128::from(units)).unwrap());
            rest = dividend % u128::from(units);
        }
        let (over, bytes) = quotient.split_at(quotient.len() - 32);
        if over.iter().any(|byte| *byte != 0) {
            prop_assert_eq!(target, Target::MAX);
        } else {
            prop_assert_eq!(&target.to_be_bytes()[..], bytes);
        }
    }
}

#[test]
fn target_of_work_bits_takes_exactly_two_to_that_power() {
    for bits in 0..=127 {
        let bits = work_bits(bits);
        assert_eq!(Target::of_work_bits(bits).work(), Work::of_bits(bits));
        assert_eq!(Work::of_bits(bits).hashes(), 1 << bits.to_u8());
    }
    assert_eq!(Target::of_work_bits(WorkBits::MIN), Target::MAX);
    let refused = UnitError::TooLarge { unit: "WorkBits", got: 128, max: 127 };
    assert_eq!(WorkBits::new(128), Err(refused));
}

#[test]
fn target_below_two_to_128_is_refused_and_the_hardest_still_has_its_work() {
    let mut bytes = [0; 32];
    assert_eq!(Target::from_be_bytes(&bytes), Err(TargetError::Zero));
    bytes[16..].fill(0xff);
    assert_eq!(Target::from_be_bytes(&bytes), Err(TargetError::TooHard { got: u128::MAX }));
    assert_eq!(Target::MIN.work(), Work::MAX);
    assert_eq!(Target::MAX.work(), Work::new(1));
    assert_eq!(Target::DIFFICULTY_ONE.work(), Work::new(0x1_0001_0001));
}

#[test]
fn compact_form_is_refused_where_consensus_refuses_it() {
    // Of the tests of Bitcoin Core, arith_uint256_tests: zero, negative, overflow.
    for bits in [0, 0x0012_3456, 0x0100_3456, 0x0200_0056, 0x0300_0000, 0x0400_0000, 0x0080_0000] {
        assert_eq!(Target::from_compact(bits), Err(TargetError::Zero), "{bits:#x}");
    }
    for bits in [0x0492_3456, 0x01fe_dcba, 0x2080_0001] {
        assert_eq!(Target::from_compact(bits), Err(TargetError::Negative { bits }), "{bits:#x}");
    }
    for bits in [0xff12_3456, 0x2101_0000, 0x2200_0100, 0x2300_0001] {
        assert_eq!(Target::from_compact(bits), Err(TargetError::Overflow { bits }), "{bits:#x}");
    }
    for (bits, got) in [(0x0112_3456, 0x12), (0x0212_3456, 0x1234), (0x0500_9234, 0x9234_0000)] {
        assert_eq!(Target::from_compact(bits), Err(TargetError::TooHard { got }), "{bits:#x}");
    }
    // The easiest that fits at each size, the hardest, and regtest's.
    for bits in [0x2000_ffff, 0x2100_ffff, 0x2200_00ff, 0x1101_0000, 0x207f_ffff] {
        assert!(Target::from_compact(bits).is_ok(), "{bits:#x}");
    }
}

#[test]
fn target_of_difficulty_one_and_of_fractions_is_that_of_pools() {
    let of = |units, scale| {
        Target::of_difficulty(NonZeroU64::new(units).unwrap(), NonZeroU64::new(scale).unwrap())
    };
    assert_eq!(of(1, 1), Target::DIFFICULTY_ONE);
    assert_eq!(of(4, 1_000), of(1, 250));
    assert_eq!(of(1, 250).work().hashes(), 17_180_131);
    assert_eq!(of(1, u64::MAX), Target::MAX);
    assert_eq!(of(u64::MAX, 1).work().hashes() >> 96, 1);
}

#[test]
fn text_that_is_no_target_is_refused() {
    let digits = Target::DIFFICULTY_ONE.to_string();
    let not_hex = |length| Err(TargetError::NotHex { length });
    assert_eq!(digits[1..].parse::<Target>(), not_hex(63));
    assert_eq!(format!("{digits}0").parse::<Target>(), not_hex(65));
    assert_eq!(format!("+{}", &digits[1..]).parse::<Target>(), not_hex(64));
    assert_eq!("0".repeat(64).parse::<Target>(), Err(TargetError::Zero));
    // The middle of the text is in the middle of a character.
    assert_eq!(format!("{}\u{e9}{}", &digits[..31], &digits[..31]).parse::<Target>(), not_hex(64));
}

#[test]
fn work_beyond_its_range_is_an_overflow() {
    let one = Work::new(1);
    assert_eq!(Work::MAX.add(one), Err(Overflow { unit: "Work" }));
    assert_eq!(Work::ZERO.sub(one), Err(Overflow { unit: "Work" }));
    assert_eq!(Work::MAX.saturating_add(one), Work::MAX);
    assert_eq!(Work::ZERO.saturating_sub(one), Work::ZERO);
    assert_eq!(one.add(one).unwrap().checked_sub(one), Some(one));
}

#[cfg(feature = "serde")]
#[test]
fn work_and_target_are_data() {
    let target = Target::DIFFICULTY_ONE;
    let text = serde_json::to_string(&(target, Work::MAX, JobId::MAX)).unwrap();
    assert_eq!(serde_json::from_str(&text).ok(), Some((target, Work::MAX, JobId::MAX)));
    assert!(serde_json::from_str::<Target>("\"00\"").is_err());
}
