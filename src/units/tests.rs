//! Unit tests of `units`: one behaviour each, named for it.

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
