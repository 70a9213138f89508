//! The governor in front of a device of a simulated pace, whose clock may jump.

use proptest::prelude::*;

use super::*;

fn limits() -> Limits {
    Limits {
        duty: Ppm::new(50_000).unwrap(),
        slice: Micros::new(10_000),
        hashes_max: NonZeroU32::MAX,
        heat: None,
        energy: None,
    }
}

fn energy(microjoules_an_hour: u64, microjoules_a_day: u64) -> Energy {
    let picojoules_a_hash = NonZeroU64::new(1_000_000).unwrap();
    Energy { picojoules_a_hash, microjoules_an_hour, microjoules_a_day }
}

/// One slice of work: when it began and ended, and its hashes.
#[derive(Debug, Clone, Copy)]
struct Slice {
    from: u64,
    to: u64,
    hashes: u64,
}

/// Mines for as many calls: a hash takes one `cost` in us after the other, as if the device were
/// interrupted; `late` is how long after a pause it is called.
fn mine(governor: &mut Governor, cost: &[u64], calls: usize, late: &[u64]) -> Vec<Slice> {
    let (mut now, mut slices) = (1_000_000, Vec::new());
    for (cost, late) in cost.iter().cycle().zip(late.iter().cycle()).take(calls) {
        match governor.grant(Micros::new(now), Some(20_000)) {
            Grant::Hash(hashes) => {
                let hashes = u64::from(hashes.get());
                let slice = Slice { from: now, to: now + hashes * cost, hashes };
                now = slice.to;
                governor.worked(Micros::new(now), u32::try_from(hashes).unwrap());
                slices.push(slice);
            }
            Grant::Rest { pause, .. } => now = now.saturating_add(pause.to_u64()),
        }
        now = now.saturating_add(*late);
    }
    slices
}

proptest! {
    #[test]
    fn duty_over_any_window_is_at_most_its_part_and_a_slice(
        duty in 1_000_u32..=1_000_000, slice in 1_000_u64..100_000,
        cost in prop::collection::vec(1_u64..900, 1..9),
        late in prop_oneof![Just(vec![0]), prop::collection::vec(0_u64..5_000, 1..9)],
    ) {
        let duty = Ppm::new(duty).unwrap();
        let limits = Limits { duty, slice: Micros::new(slice), ..limits() };
        let slices = mine(&mut Governor::new(limits).unwrap(), &cost, 300, &late);
        prop_assert!(slices.len() > 50);
        let lengths = slices.iter().map(|one| one.to - one.from);
        let longest = lengths.clone().max().unwrap_or(0);
        prop_assert!(longest <= slice || cost.len() > 1);
        for (at, first) in slices.iter().enumerate() {
            let mut work = 0;
            for last in &slices[at..] {
                work += last.to - first.from.max(last.from);
                let window = u128::from(last.to - first.from) * u128::from(duty.to_ppm());
                let beyond = u128::from(work - longest.min(work));
                prop_assert!(beyond * 1_000_000 <= window + 1_000_000);
            }
        }
        // And it is used: of a steady device that is called in time, more than a third of it, as
        // the slice that is learnt is rounded down to hashes.
        if cost.len() == 1 && late.iter().all(|late| *late == 0) {
            let (first, last) = (slices[slices.len() - 11], slices[slices.len() - 1]);
            let work: u64 = lengths.skip(slices.len() - 10).sum();
            let allowed = (last.to - first.to) * u64::from(duty.to_ppm()) / 1_000_000;
            prop_assert!(work * 3 >= allowed);
        }
    }

    #[test]
    fn energy_over_any_hour_and_day_is_at_most_its_budget(
        hour in 0_u64..20_000, day in 0_u64..200_000, cost in 100_u64..100_000,
        late in prop::collection::vec(0_u64..500_000_000, 1..9),
    ) {
        let duty = Ppm::MAX;
        let slice = Micros::new(1_000_000);
        let limits = Limits { duty, slice, energy: Some(energy(hour, day)), ..limits() };
        let slices = mine(&mut Governor::new(limits).unwrap(), &[cost], 1_000, &late);
        for (budget, window) in [(hour, 3_600_000_000), (day, 86_400_000_000)] {
            let (mut first, mut spent) = (0, 0);
            for last in &slices {
                spent += last.hashes;
                while slices[first].from + window < last.from {
                    spent -= slices[first].hashes;
                    first += 1;
                }
                prop_assert!(spent <= budget, "{spent} of {budget}");
            }
        }
        prop_assert!(slices.is_empty() == (hour == 0 || day == 0) || hour.min(day) < 16);
    }

    /// The clock shows the true time, or one that is behind by a jump, whenever it is looked at.
    #[test]
    fn clock_that_jumps_back_and_forth_earns_nothing(
        duty in 1_000_u32..500_000, cost in 1_u64..900,
        jumps in prop::collection::vec((0_u64..60_000, any::<bool>(), any::<bool>()), 10..200),
    ) {
        let duty = Ppm::new(duty).unwrap();
        let mut governor = Governor::new(Limits { duty, ..limits() }).unwrap();
        let (start, mut now, mut work) = (1_000_000_000, 1_000_000_000, 0);
        let _ = governor.grant(Micros::new(start), None);
        for (wait, before, after) in jumps {
            now += wait;
            let shown = |jumped, now: u64| {
                Micros::new(if jumped { now - 900_000_000 } else { now })
            };
            if let Grant::Hash(hashes) = governor.grant(shown(before, now), None) {
                work += u64::from(hashes.get()) * cost;
                now += u64::from(hashes.get()) * cost;
                governor.worked(shown(after, now), hashes.get());
            }
            let allowed = u128::from(now - start) * u128::from(duty.to_ppm());
            prop_assert!(u128::from(work.saturating_sub(10_000)) * 1_000_000 <= allowed);
        }
    }
}

#[test]
fn governor_begins_with_nothing_and_grows_to_its_pace() {
    let mut governor = Governor::new(limits()).unwrap();
    let rest = |pause| Grant::Rest { reason: Reason::Duty, pause: Micros::new(pause) };
    assert_eq!(governor.grant(Micros::new(5), None), rest(200_000));
    assert_eq!(governor.grant(Micros::new(200_004), None), rest(1));
    let slices = mine(&mut Governor::new(limits()).unwrap(), &[100], 100, &[0]);
    let hashes: Vec<_> = slices.iter().map(|slice| slice.hashes).take(9).collect();
    assert_eq!(hashes, [1, 2, 4, 8, 16, 32, 64, 100, 100]);
    let few = Limits { hashes_max: NonZeroU32::new(5).unwrap(), ..limits() };
    let slices = mine(&mut Governor::new(few).unwrap(), &[100], 100, &[0]);
    assert_eq!(slices.last().unwrap().hashes, 5);
}

#[test]
fn no_duty_is_no_mining_and_all_of_it_is_no_rest() {
    let mut governor = Governor::new(Limits { duty: Ppm::MIN, ..limits() }).unwrap();
    let never = Grant::Rest { reason: Reason::Duty, pause: Micros::new(u64::MAX) };
    assert_eq!(governor.grant(Micros::new(0), None), never);
    assert_eq!(governor.grant(Micros::new(u64::MAX), None), never);
    let mut governor = Governor::new(Limits { duty: Ppm::MAX, ..limits() }).unwrap();
    let slices = mine(&mut governor, &[100], 50, &[0]);
    assert!(slices.len() >= 40);
    let [.., before, last] = slices[..] else { panic!("no slices") };
    assert_eq!(before.to, last.from);
}

#[test]
fn heat_stops_at_its_limit_and_goes_on_below_another() {
    let heat = Some(Heat { stop_at_millicelsius: 70_000, resume_at_millicelsius: 65_000 });
    let mut governor = Governor::new(Limits { heat, duty: Ppm::MAX, ..limits() }).unwrap();
    let mut now = 0;
    let mut is_hot = |millicelsius| {
        now += 1_000_000;
        let grant = governor.grant(Micros::new(now), millicelsius);
        grant == Grant::Rest { reason: Reason::Heat, pause: Governor::HEAT_PAUSE }
    };
    for (millicelsius, hot) in [
        (Some(69_999), false),
        (Some(70_000), true),
        (Some(65_001), true),
        (Some(65_000), false),
        (Some(69_999), false),
        (None, true),
        (Some(65_001), true),
        (Some(-40_000), false),
    ] {
        assert_eq!(is_hot(millicelsius), hot, "{millicelsius:?}");
    }
}

#[test]
fn grant_that_is_never_accounted_for_is_used_up() {
    let limits = Limits { duty: Ppm::MAX, energy: Some(energy(800, 80_000)), ..limits() };
    let mut governor = Governor::new(limits).unwrap();
    let (mut now, mut granted) = (0, 0);
    while now < 3_600_000_000 {
        match governor.grant(Micros::new(now), None) {
            Grant::Hash(hashes) => granted += hashes.get(),
            Grant::Rest { pause, .. } => now += pause.to_u64(),
        }
    }
    assert!((600..=800).contains(&granted), "{granted}");
}

#[test]
fn hashes_that_were_not_done_are_given_back() {
    let limits = Limits { duty: Ppm::MAX, energy: Some(energy(16, 1_000_000)), ..limits() };
    let mut governor = Governor::new(limits).unwrap();
    let _ = governor.grant(Micros::new(0), None);
    // Two of sixteen at once: from then on nothing comes back, as no time goes by.
    let now = Micros::new(3_600_000_000);
    let mut works = |hashes| {
        let grant = governor.grant(now, None);
        governor.worked(now, hashes);
        matches!(grant, Grant::Hash(_))
    };
    assert_eq!([0, 0, 1, 0, 1, 0].map(&mut works), [true, true, true, false, false, false]);
}

#[test]
fn limits_that_contradict_themselves_are_refused() {
    for (got, good) in [(0, false), (1, true), (60_000_000, true), (60_000_001, false)] {
        let made = Governor::new(Limits { slice: Micros::new(got), ..limits() });
        assert_eq!(made.err(), (!good).then_some(GovernorError::Slice { got }));
    }
    for (stop, resume, good) in [(5, 4, true), (5, 5, false), (-5, -4, false)] {
        let heat = Some(Heat { stop_at_millicelsius: stop, resume_at_millicelsius: resume });
        let made = Governor::new(Limits { heat, ..limits() });
        assert_eq!(made.err(), (!good).then_some(GovernorError::Heat { stop, resume }));
    }
}

#[test]
fn energy_of_any_size_is_counted_in_hashes_without_overflow() {
    let of = |picojoules_a_hash, microjoules| {
        let picojoules_a_hash = NonZeroU64::new(picojoules_a_hash).unwrap();
        Energy { picojoules_a_hash, microjoules_an_hour: 0, microjoules_a_day: 0 }
            .hashes(microjoules)
    };
    assert_eq!(of(6_400_000, 64), 10);
    assert_eq!(of(15, 1), 66_666);
    assert_eq!(of(1, u64::MAX), u64::MAX);
    assert_eq!(of(u64::MAX, u64::MAX), 1_000_000);
    assert_eq!(of(u64::MAX, 1), 0);
}
