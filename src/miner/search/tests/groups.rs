//! The walk of groups of versions, beside the model.

use super::*;
use crate::miner::kernel::Kind;
use crate::sha256::State;

/// A backend that wants groups; it counts what it is given one by one and in groups.
#[derive(Debug, Default)]
pub(super) struct Together {
    alone: u32,
    grouped: u32,
}

impl Backend for Together {
    fn absorb(&mut self, state: State, block: &[u32; 16]) -> State {
        Compact.absorb(state, block)
    }

    fn scan(
        &mut self,
        midstate: &State,
        tail: &[u32; 3],
        first: u32,
        count: u32,
        target: &Target,
        hit: &mut impl FnMut(u32, [u8; 32]),
    ) {
        self.alone += count;
        Compact.scan(midstate, tail, first, count, target, hit);
    }

    fn shares_versions(&self) -> bool {
        true
    }

    fn scan_versions<const N: usize>(
        &mut self,
        midstates: &[State; N],
        tail: &[u32; 3],
        first: u32,
        count: u32,
        target: &Target,
        hit: &mut impl FnMut(usize, u32, [u8; 32]),
    ) {
        self.grouped += count * u32::try_from(N).unwrap();
        Compact.scan_versions(midstates, tail, first, count, target, hit);
    }
}

/// Where a hash was found, for an order without the one of the walk.
pub(super) fn place(found: &Found) -> (u64, u32, u32, u32) {
    (found.extranonce, found.time, found.version, found.nonce)
}

/// Sixteen versions of four nonces.
fn job_of_four_bits() -> Job<'static> {
    job(Parts { version_mask: 0xf0, version: 0, ..parts() })
}

/// Numbers of the versions, and nonces from the first on, of what was hashed.
fn pairs(all: &[Found]) -> Vec<(u32, u32)> {
    all.iter().map(|found| (found.version >> 4, found.nonce - 10)).collect()
}

/// One step by a kernel that wants groups: what was hashed, and how much of it one by one.
fn together(search: &mut Search, job: &Job<'_>, hashes: u32) -> (Vec<(u32, u32)>, u32) {
    let mut by = Together::default();
    let (all, step) = walk_by(&mut by, search, job, TIME, hashes);
    assert_eq!((all.len(), by.alone + by.grouped), (step.hashes as usize, step.hashes));
    (pairs(&all), by.alone)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn walk_by_kernels_in_turn_in_any_steps_over_restarts_is_every_header_once(
        parts in jobs(0_u8..7),
        mask in prop::sample::select(vec![0, 1, 0x2100, 0xe0, 0x8401_0001]),
        steps in prop::collection::vec((0_u32..40, 0_usize..4, any::<bool>()), 1..20),
    ) {
        // Of many extranonces one time is enough.
        let roll = match (parts.roll, parts.root) {
            (_, Root::Coinbase(coinbase)) if coinbase.extranonce_max() > 0 => TimeRoll::Free(0),
            (TimeRoll::Free(roll) | TimeRoll::Clock(roll), _) => TimeRoll::Free(roll),
        };
        let job = job(Parts { roll, version_mask: mask, ..parts });
        let mut shared = Kernel::of(Kind::Avx2).unwrap_or_default();
        let (mut search, mut all) = (Search::new(), Vec::new());
        search.take(&job).unwrap();
        // One hash at the least, so that it ends.
        for (hashes, by, cut) in steps.into_iter().chain([(1, 1, false)]).cycle() {
            if cut {
                search = restarted(&search);
                search.take(&job).unwrap();
            }
            let (found, step) = match by {
                0 => walk(&mut search, &job, TIME, hashes),
                1 => walk_by(&mut shared, &mut search, &job, TIME, hashes),
                _ => walk_by(&mut Together::default(), &mut search, &job, TIME, hashes),
            };
            prop_assert_eq!(found.len(), step.hashes as usize);
            all.extend(found);
            if step.next != Next::More {
                prop_assert_eq!(step.next, Next::Exhausted);
                break;
            }
            prop_assert_eq!(step.hashes, hashes);
        }
        let key = |header: &Header| header.to_bytes();
        let mut headers: Vec<_> =
            all.iter().map(|found| job.header_of(found, Engine::best()).unwrap()).collect();
        let mut expected: Vec<_> = model(&job).into_iter().map(|(_, header)| header).collect();
        headers.sort_by_key(key);
        expected.sort_by_key(key);
        prop_assert_eq!(headers, expected);
    }

    #[test]
    fn checkpoint_without_a_group_is_read_as_before_there_were_any(
        marks: u32, high: u32, seconds in prop_oneof![0..=7_201_u16, Just(u16::MAX)], low: u16,
        version: u16, nonce: u32,
    ) {
        for (marks, low) in [(marks | 0x100, seconds), (marks & !0x100, low)] {
            let middle = u32::from(version) << 16 | u32::from(low);
            let bytes: Vec<_> =
                [marks, high, middle, nonce].into_iter().flat_map(u32::to_le_bytes).collect();
            let (marks, place, latest) =
                Checkpoint::from_bytes(bytes.try_into().unwrap()).open(true);
            let (low, wanted) = (u32::from(low), Place { version, nonce, ..Place::at_time(0) });
            if marks.roll() {
                prop_assert_eq!(place, Place { extranonce: high, time: low, ..wanted });
                prop_assert_eq!(latest, None);
            } else {
                prop_assert_eq!(place, Place { time: high, ..wanted });
                prop_assert_eq!(latest, Some(high.saturating_add(low)));
            }
        }
    }
}

#[test]
fn group_is_begun_by_four_versions_and_goes_on_within_a_nonce_by_any_kernel() {
    let job = job_of_four_bits();
    let mut search = Search::new();
    search.take(&job).unwrap();
    // One nonce of four versions whole, of the second one two.
    let (all, alone) = together(&mut search, &job, 6);
    assert_eq!((all, alone), (vec![(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1)], 2));
    // A kernel that does not care for groups, after a power cut.
    for mut search in [restarted(&search), search] {
        search.take(&job).unwrap();
        let all = pairs(&walk(&mut search, &job, TIME, 3).0);
        assert_eq!(all, [(2, 1), (3, 1), (0, 2)]);
        let all = pairs(&walk(&mut search, &job, TIME, 9).0);
        let rest = [(1, 2), (2, 2), (3, 2), (0, 3), (1, 3), (2, 3), (3, 3), (4, 0), (4, 1)];
        assert_eq!(all, rest);
        // And the other way round, after one more: what was begun alone ends alone, and so do the
        // versions up to the next group.
        let mut search = restarted(&search);
        search.take(&job).unwrap();
        let (all, alone) = together(&mut search, &job, 14 + 16);
        assert_eq!((all[0], all[13], all[14], alone), ((4, 2), (7, 3), (8, 0), 14));
    }
}

#[test]
fn job_of_fewer_than_four_versions_has_no_groups() {
    for (mask, grouped) in [(0, 0), (0x10, 0), (0x30, 16), (0x70, 32)] {
        let job = job(Parts { version_mask: mask, ..parts() });
        let (mut search, mut by) = (Search::new(), Together::default());
        search.take(&job).unwrap();
        let (all, step) = walk_by(&mut by, &mut search, &job, TIME, 99);
        assert_eq!((by.grouped, step.next), (grouped, Next::Exhausted));
        assert_eq!(all.len(), model(&job).len());
    }
}

#[test]
fn hits_of_a_version_in_a_group_are_in_order_of_nonces() {
    let job = job(Parts { nonce_last: 109, ..*job_of_four_bits().parts() });
    let mut search = Search::new();
    search.take(&job).unwrap();
    let (all, alone) = together(&mut search, &job, 400);
    assert_eq!((all.len(), alone), (400, 0));
    for version in 0..4 {
        assert!(all.iter().filter(|(of, _)| *of == version).is_sorted());
    }
}

#[test]
fn checkpoint_within_a_group_is_these_sixteen_bytes() {
    let mask = 0x000f_0000;
    let rolling = job(Parts { root: coinbase(b"first", 4), version_mask: mask, ..parts() });
    let fixed = job(Parts { version_mask: mask, roll: TimeRoll::Free(9), ..parts() });
    let [a, b, c, d] = (TIME + 1).to_le_bytes();
    // Sixteen versions of four nonces are done, and of the next time six of them and two headers.
    for (job, high, low) in [(rolling, [1, 0, 0, 0], 0x80), (fixed, [a, b, c, d], 0xc0)] {
        let mut search = Search::new();
        search.take(&job).unwrap();
        assert_eq!(together(&mut search, &job, 64 + 16 + 6).1, 2);
        let bytes = search.checkpoint().unwrap().to_bytes();
        assert_eq!(bytes[1] & 1, 1);
        assert_eq!((&bytes[4..8], &bytes[8..]), (&high[..], &[0, low, 6, 0, 1, 0, 0, 0][..]));
        assert_eq!(restarted(&search).checkpoint(), search.checkpoint());
    }
}

#[test]
fn latest_time_too_far_ahead_to_store_in_a_group_gives_up_what_is_before_it() {
    for (ahead, left) in [(0x3ffe, 16), (0x3fff, 0)] {
        let [late, early] = [TIME + ahead, TIME].map(|time| {
            let root = Root::Fixed([time.to_le_bytes()[0]; 32]);
            job(Parts { time, root, version_mask: 3, ..parts() })
        });
        let mut search = Search::new();
        for job in [&late, &early] {
            search.take(job).unwrap();
            let _ = together(&mut search, job, 1);
        }
        let mut search = restarted(&search);
        search.take(&early).unwrap();
        assert_eq!(together(&mut search, &early, 99).0.len(), left.max(1) - 1, "{ahead}");
        search.take(&late).unwrap();
        assert_eq!(together(&mut search, &late, 99).0.len(), 0);
    }
}

#[test]
fn checkpoint_within_a_group_where_there_are_none_goes_on_behind_its_extranonce() {
    let [rolling, fixed] = [coinbase(b"first", 4), parts().root]
        .map(|root| job(Parts { root, version_mask: 7, ..parts() }));
    for job in [&rolling, &fixed] {
        let mut search = Search::new();
        search.take(job).unwrap();
        let _ = together(&mut search, job, 7);
        let (marks, place, time_used) = search.checkpoint().unwrap().open(false);
        let at = Some(At { names: Names::Marked(marks), place, used: true });
        let mut search = Search { at, seen: Seen::ALL, time_used, lap: None };
        if job == &fixed {
            assert_eq!(search.take(job), Err(MinerError::Mixed));
        } else {
            assert_eq!(search.take(job), Ok(Start::Continued));
            let all = walk(&mut search, job, TIME, 1).0;
            assert_eq!((all[0].extranonce, all[0].version), (1, parts().version));
        }
    }
}

#[test]
fn stored_group_that_the_job_has_not_is_no_place_of_it() {
    let [four, two] = [3, 1].map(|mask| job(Parts { version_mask: mask, ..parts() }));
    let mut search = Search::new();
    search.take(&four).unwrap();
    let _ = together(&mut search, &four, 1);
    let place = search.at.unwrap().place;
    assert!(place.is_in(&four) && !place.is_in(&two));
}

#[test]
fn whole_range_of_nonces_is_walked_by_a_group_to_its_last() {
    let whole = Parts { nonce_first: 0, nonce_last: u32::MAX, version_mask: 7, ..parts() };
    let whole = job(Parts { roll: TimeRoll::Free(1), ..whole });
    let mut place = Place::first(&whole);
    place.begin(&whole, true);
    // As many as a budget has whole nonces of, five times: 5 * 2^30 - 5 is behind the range.
    let most = place.whole_nonces(u32::MAX);
    assert_eq!(most, (1 << 30) - 1);
    for _ in 0..4 {
        assert!(place.advance(&whole, Place::headers(most)));
    }
    assert_eq!((place.nonce, place.nonces_left(&whole)), (u32::MAX - 3, 4));
    assert!(place.advance(&whole, 15));
    assert_eq!((place.nonce, place.version, place.whole_nonces(9)), (u32::MAX, 3, 0));
    assert!(!place.advance(&whole, 1));
    assert_eq!((place.nonce, place.version, place.is_in_group()), (0, 4, false));
    place.begin(&whole, true);
    assert!(place.advance(&whole, Place::headers(most)));
    place.nonce = u32::MAX;
    assert!(!place.advance(&whole, 4));
    assert_eq!(place, Place::at_time(TIME + 1));
}
