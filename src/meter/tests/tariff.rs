//! Limits of tariffs, both sides of each.

use super::super::tariff::TariffError;
use super::*;

#[test]
fn tariff_with_everything_in_it_parses_to_itself() {
    let full = golden::full_tariff();
    assert_eq!(Tariff::parse(&full.encode()), Ok(full));
}

#[test]
fn tiers_must_begin_at_zero_and_rise() {
    let try_tiers = |tiers: &[Tier]| flat().with_tiers(tiers.to_vec());
    assert_eq!(try_tiers(&[]), Err(TariffError::TierCount { got: 0, max: 8 }));
    let of = |n: u64| (0..n).map(|i| tier(i, 1, 1)).collect::<Vec<_>>();
    assert!(try_tiers(&of(8)).is_ok());
    assert_eq!(try_tiers(&of(9)), Err(TariffError::TierCount { got: 9, max: 8 }));
    assert_eq!(try_tiers(&[tier(1, 1, 1)]), Err(TariffError::TierOrder { from: units(1) }));
    let equal = [tier(0, 1, 1), tier(5, 2, 1), tier(5, 3, 1)];
    assert_eq!(try_tiers(&equal), Err(TariffError::TierOrder { from: units(5) }));
}

#[test]
fn bands_that_are_empty_overlap_or_leave_the_round_are_refused() {
    let one = [tier(0, 1, 1)];
    let try_bands = |repeat, bands: &[(u64, u64)]| {
        let bands = bands.iter().map(|&(from, to)| band(from, to, &one)).collect();
        flat().with_bands(repeat, bands)
    };
    assert!(try_bands(Repeat::Daily, &[(0, 10), (10, 20), (30, 86_400)]).is_ok());
    let overlap = TariffError::BandOverlap { from: secs(9), free_from: secs(10) };
    assert_eq!(try_bands(Repeat::Daily, &[(0, 10), (9, 20)]), Err(overlap));
    let empty = TariffError::BandEmpty { from: secs(10), to: secs(10) };
    assert_eq!(try_bands(Repeat::Daily, &[(10, 10)]), Err(empty));
    assert!(try_bands(Repeat::Daily, &[(11, 10)]).is_err());
    let beyond = TariffError::BandBeyondCycle { to: secs(86_401), cycle: secs(86_400) };
    assert_eq!(try_bands(Repeat::Daily, &[(0, 86_401)]), Err(beyond));
    assert!(try_bands(Repeat::Weekly, &[(0, 604_800)]).is_ok());
    assert!(try_bands(Repeat::Weekly, &[(0, 604_801)]).is_err());
    let of = |n: u64| (0..n).map(|i| (i, i + 1)).collect::<Vec<_>>();
    assert!(try_bands(Repeat::Daily, &of(96)).is_ok());
    let many = TariffError::BandCount { got: 97, max: 96 };
    assert_eq!(try_bands(Repeat::Daily, &of(97)), Err(many));
}

#[test]
fn largest_tariff_fits_one_message_and_one_price_more_is_refused() {
    let with_prices = |n: u64| {
        // 95 bands of one tier and one band of the rest, beside the base and the idle price.
        let mut bands: Vec<_> = (0..96).map(|i| band(i, i + 1, &[tier(0, 1, 1)])).collect();
        let mut left = n - 98;
        for band in &mut bands {
            for from in 1..8 {
                if left > 0 {
                    band.tiers.push(tier(from, 1, 1));
                    left -= 1;
                }
            }
        }
        flat().with_bands(Repeat::Daily, bands)
    };
    assert_eq!(with_prices(128).unwrap().encode().len(), 3_973);
    assert_eq!(with_prices(129), Err(TariffError::PriceCount { got: 129, max: 128 }));
}

#[test]
fn prices_without_a_small_common_denominator_are_refused() {
    assert!(Tariff::flat(Measure::Byte, price(1, 1 << 62)).is_ok());
    assert!(Tariff::flat(Measure::Byte, price(1, (1 << 62) + 1)).is_err());
    // The denominators' product fits, the price over it does not.
    let dear = |amount| flat().with_tiers(vec![tier(0, amount, 1), tier(1, 1, 1 << 32)]);
    assert!(dear((1 << 32) - 1).is_ok());
    let too_fine = TariffError::PriceTooFine { price: price(1 << 32, 1) };
    assert_eq!(dear(1 << 32), Err(too_fine));
    let primes = [4_294_967_291, 4_294_967_279];
    let tiers = vec![tier(0, 1, primes[0]), tier(1, 1, primes[1])];
    assert!(flat().with_tiers(tiers).is_err());
}

#[test]
fn validity_must_not_be_empty() {
    assert!(flat().with_validity(utc(5), utc(6)).is_ok());
    let empty = TariffError::ValidityEmpty { from: utc(5), to: utc(5) };
    assert_eq!(flat().with_validity(utc(5), utc(5)), Err(empty));
}

#[test]
fn every_cut_and_every_extra_byte_is_refused() {
    let bytes = golden::full_tariff().encode();
    for end in 0..bytes.len() {
        assert!(Tariff::parse(&bytes[..end]).is_err(), "{end}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(Tariff::parse(&longer), Err(TariffError::TrailingBytes { extra: 1 }));
    let mut newer = bytes.clone();
    newer[0] = 2;
    assert_eq!(Tariff::parse(&newer), Err(TariffError::UnknownVersion { got: 2 }));
    let mut measure = bytes.clone();
    measure[1] = 4;
    assert_eq!(Tariff::parse(&measure), Err(TariffError::UnknownMeasure { got: 4 }));
    let mut repeat = bytes.clone();
    repeat[58] = 2;
    assert_eq!(Tariff::parse(&repeat), Err(TariffError::UnknownRepeat { got: 2 }));
    let mut per_zero = bytes;
    per_zero[42..50].fill(0);
    assert!(matches!(Tariff::parse(&per_zero), Err(TariffError::Unit(_))));
}

#[test]
fn changed_byte_is_another_hash_or_refused() {
    let full = golden::full_tariff();
    let bytes = full.encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        if let Ok(other) = Tariff::parse(&changed) {
            assert_ne!(other.hash(), full.hash(), "{at}");
            assert_eq!(other.encode(), changed);
        }
    }
}

#[test]
fn price_changes_at_the_first_second_of_a_band_and_back_at_its_end() {
    // Friday 10:00 to 10:01 in the week is day 4.
    let weekly = band(4 * 86_400 + 36_000, 4 * 86_400 + 36_060, &[tier(0, 20, 1)]);
    let daily = band(36_000, 36_060, &[tier(0, 20, 1)]);
    for (repeat, band) in [(Repeat::Weekly, weekly), (Repeat::Daily, daily)] {
        let tariff = flat().with_bands(repeat, vec![band]).unwrap();
        let at = |t: u64| tariff.cost(utc(t), Quantity::ZERO, units(1)).unwrap().msat;
        assert_eq!([T0 - 1, T0, T0 + 59, T0 + 60].map(at), [10, 20, 20, 10].map(msat));
        assert_eq!(tariff.segment(utc(T0 - 1), Quantity::ZERO).until, utc(T0));
        assert_eq!(tariff.segment(utc(T0 + 7), Quantity::ZERO).until, utc(T0 + 60));
        let next_day = if repeat == Repeat::Daily { 20 } else { 10 };
        assert_eq!(at(T0 + 86_400), msat(next_day));
        assert_eq!(at(T0 + 604_800), msat(20));
    }
}

#[test]
fn unit_costs_the_tier_of_its_place_in_the_total() {
    let tariff = flat().with_tiers(vec![tier(0, 10, 1), tier(100, 7, 1)]).unwrap();
    let cost = |from, step| tariff.cost(utc(T0), units(from), units(step)).unwrap().msat;
    assert_eq!(cost(99, 1), msat(10));
    assert_eq!(cost(100, 1), msat(7));
    assert_eq!(cost(90, 20), msat(170));
    assert!(tariff.cost(utc(T0), units(1), Quantity::MAX).is_err());
}
