//! The walk beside a model that hashes every header of every job.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::miner::job::{Parts, Root, TimeRoll};
use crate::miner::kernel::{Compact, Kernel};
use crate::miner::{Coinbase, Header};
use crate::sha256::Engine;
use crate::units::{JobId, Target, WorkBits};
use groups::Together;

mod groups;

const TIME: u32 = 1_800_000_000;

fn utc(seconds: u32) -> UtcSeconds {
    UtcSeconds::new(seconds.into()).unwrap()
}

/// One version, one time, four nonces, no extranonce; every hash is a share.
fn parts() -> Parts<'static> {
    Parts {
        id: JobId::MIN,
        version: 0x2000_0000,
        version_mask: 0,
        previous: [7; 32],
        root: Root::Fixed([8; 32]),
        bits: 0x1d00_ffff,
        time: TIME,
        roll: TimeRoll::Free(0),
        nonce_first: 10,
        nonce_last: 13,
        target: Target::MAX,
        expires: UtcSeconds::MAX,
    }
}

fn job(parts: Parts<'_>) -> Job<'_> {
    Job::new(parts).unwrap()
}

fn coinbase(prefix: &[u8], size: u8) -> Root<'_> {
    Root::Coinbase(Coinbase::new(prefix, b"one", size, b"suffix", &[[3; 32]]).unwrap())
}

/// One step of every hash as a share.
fn walk(search: &mut Search, job: &Job<'_>, now: u32, hashes: u32) -> (Vec<Found>, Step) {
    walk_by(&mut Compact, search, job, now, hashes)
}

fn walk_by(
    by: &mut impl Backend,
    search: &mut Search,
    job: &Job<'_>,
    now: u32,
    hashes: u32,
) -> (Vec<Found>, Step) {
    let mut all = Vec::new();
    let step = search.step(job, utc(now), hashes, by, &mut |found| all.push(found));
    (all, step)
}

/// Every header of a job in the order of the walk, by the words of the contract.
fn model(job: &Job<'_>) -> Vec<(u64, Header)> {
    let Parts { previous, bits, version, version_mask, time, nonce_first, nonce_last, .. } =
        *job.parts();
    let bits_of_mask: Vec<_> = (0..32).filter(|bit| version_mask >> bit & 1 != 0).collect();
    let (extranonces, roll) = match (job.parts().root, job.parts().roll) {
        (Root::Fixed(_), TimeRoll::Free(roll) | TimeRoll::Clock(roll)) => (0, roll),
        (Root::Coinbase(coinbase), TimeRoll::Free(roll) | TimeRoll::Clock(roll)) => {
            (coinbase.extranonce_max(), roll)
        }
    };
    let mut all = Vec::new();
    for extranonce in 0..=extranonces {
        let merkle_root = match job.parts().root {
            Root::Fixed(root) => root,
            Root::Coinbase(coinbase) => coinbase.root(Engine::best(), extranonce).unwrap(),
        };
        for time in time..=time + u32::from(roll) {
            for index in 0..1_u32 << bits_of_mask.len() {
                let flipped = bits_of_mask.iter().enumerate();
                let version =
                    flipped.fold(version, |version, (at, bit)| version ^ (index >> at & 1) << bit);
                for nonce in nonce_first..=nonce_last {
                    let header = Header { version, previous, merkle_root, time, bits, nonce };
                    all.push((extranonce, header));
                }
            }
        }
    }
    all
}

/// Jobs of a small space: few nonces, versions, times and roots, so that they often overlap.
fn jobs(kinds: impl Strategy<Value = u8>) -> impl Strategy<Value = Parts<'static>> {
    let nonces = (0_u32..3, 0_u32..4);
    let masks = prop::sample::select(vec![0, 0x2000, 0x0001_2000, 0x8000_0001, 0xe000]);
    (kinds, nonces, masks, 0_u32..4, 0_u16..4, any::<bool>()).prop_map(
        |(kind, (first, more), version_mask, later, roll, clock)| {
            let prefix: &'static [u8] = [b"a".as_slice(), b"b", b"c"][usize::from(kind % 3)];
            let root = match kind / 3 {
                0 => Root::Fixed([kind; 32]),
                1 => coinbase(prefix, 0),
                _ => coinbase(prefix, 1),
            };
            let roll = if clock { TimeRoll::Clock(roll) } else { TimeRoll::Free(roll) };
            let (nonce_first, nonce_last) = (first, first + more);
            let time = TIME + later;
            Parts { version_mask, root, time, roll, nonce_first, nonce_last, ..parts() }
        },
    )
}

/// What happens to a search.
#[derive(Debug, Clone)]
enum Event {
    Take(Parts<'static>),
    /// Hashes, seconds by which the clock is after the first job's time, and whether by a kernel
    /// that wants groups.
    Step(u32, u32, bool),
    Restart,
    Tip,
}

fn stories(kinds: impl Strategy<Value = u8>) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => jobs(kinds).prop_map(Event::Take),
        6 => (0_u32..40, 0_u32..8, any::<bool>())
            .prop_map(|(hashes, now, groups)| Event::Step(hashes, now, groups)),
        2 => Just(Event::Restart),
        1 => Just(Event::Tip),
    ];
    prop::collection::vec(event, 1..60)
}

fn restarted(search: &Search) -> Search {
    search.checkpoint().map_or_else(Search::new, |checkpoint| {
        Search::resume(Checkpoint::from_bytes(checkpoint.to_bytes()))
    })
}

/// Plays a story and checks each hash: never twice, of its job, within its limits.
fn play(story: Vec<Event>) {
    let (mut search, mut tip, mut current) = (Search::new(), 0, None);
    // Headers; and of the last hash with extranonce, the tip and the extranonce.
    let (mut seen, mut last) = (BTreeSet::new(), None);
    let mut start = Start::Fresh;
    for event in story {
        match event {
            Event::Restart => (search, current) = (restarted(&search), None),
            Event::Tip => tip += 1,
            Event::Take(parts) => {
                let job = job(Parts { previous: [tip; 32], ..parts });
                start = search.take(&job).unwrap_or(start);
                current = Some((tip, job));
            }
            Event::Step(hashes, now, groups) => {
                let Some((tip, job)) = &current else { continue };
                let (all, step) = if groups {
                    walk_by(&mut Together::default(), &mut search, job, TIME + now, hashes)
                } else {
                    walk(&mut search, job, TIME + now, hashes)
                };
                assert!(step.hashes <= hashes);
                assert_eq!(all.len(), step.hashes as usize);
                for found in all {
                    let header = job.header_of(&found, Engine::best()).unwrap();
                    assert_eq!(header.hash(Engine::best()), found.hash);
                    assert!(seen.insert(header.to_bytes()), "hashed twice: {found:?}");
                    let clock = job.parts().time.max(TIME + now);
                    assert!(found.time <= clock || matches!(job.parts().roll, TimeRoll::Free(_)));
                    if job.rolls_extranonce() {
                        // N2: never back, and another job only behind what was used.
                        let this = (*tip, found.extranonce);
                        assert!(last < Some(this) || last == Some(this) && start != Start::Past);
                        (last, start) = (Some(this), Start::Continued);
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn header_is_never_hashed_twice_over_jobs_tips_and_restarts(story in stories(0_u8..9)) {
        play(story);
    }

    #[test]
    fn header_is_never_hashed_twice_without_extranonce(story in stories(0_u8..6)) {
        play(story);
    }

    #[test]
    fn header_is_never_hashed_twice_with_extranonce(story in stories(6_u8..9)) {
        play(story);
    }

    #[test]
    fn any_bytes_are_a_checkpoint_that_gives_them_back(bytes: [u8; 16], parts in jobs(0_u8..9)) {
        let checkpoint = Checkpoint::from_bytes(bytes);
        prop_assert_eq!(checkpoint.to_bytes(), bytes);
        let mut search = Search::resume(checkpoint);
        let job = job(parts);
        if search.take(&job).is_ok() {
            let (mut all, one) = walk(&mut search, &job, TIME, 20);
            let (more, two) = walk_by(&mut Together::default(), &mut search, &job, TIME, 20);
            all.extend(more);
            prop_assert_eq!(all.len(), one.hashes as usize + two.hashes as usize);
        }
    }
}

proptest! {
    // Each walks up to 32,768 headers, and hashes them again.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn walk_in_any_steps_over_restarts_and_new_terms_is_the_whole_job_in_order(
        parts in jobs(0_u8..7),
        steps in prop::collection::vec((1_u32..60, 0_u8..4), 1..20),
    ) {
        let roll = match parts.roll {
            TimeRoll::Free(roll) | TimeRoll::Clock(roll) => TimeRoll::Free(roll),
        };
        let parts = Parts { roll, ..parts };
        let (mut search, mut all) = (Search::new(), Vec::new());
        for (number, (hashes, change)) in steps.iter().cycle().enumerate() {
            // The same headers under another name, for another price, until another time.
            let id = JobId::new(u32::try_from(number).unwrap()).unwrap();
            let expires = if *change == 1 { utc(TIME + 9) } else { UtcSeconds::MAX };
            let job = job(Parts { id, expires, ..parts });
            if *change == 2 {
                search = restarted(&search);
            }
            let start = search.take(&job).unwrap();
            prop_assert_eq!(start == Start::Fresh, number == 0 || all.is_empty());
            let (found, step) = walk(&mut search, &job, TIME + 5, *hashes);
            prop_assert!(found.iter().all(|found| found.job == id));
            all.extend(found);
            if step.next != Next::More {
                prop_assert_eq!(step.next, Next::Exhausted);
                break;
            }
        }
        let job = job(parts);
        let headers = all.iter().map(|found| {
            (found.extranonce, job.header_of(found, Engine::best()).unwrap())
        });
        prop_assert_eq!(headers.collect::<Vec<_>>(), model(&job));
    }

    #[test]
    fn shares_are_those_of_hashing_every_header(
        parts in jobs(0_u8..7), bits in 0_u8..6, hashes in 50_u32..500,
    ) {
        let target = Target::of_work_bits(WorkBits::new(bits).unwrap());
        let job = job(Parts { target, ..parts });
        let (mut search, mut shares) = (Search::new(), Vec::new());
        search.take(&job).unwrap();
        for kernel in Kernel::all().collect::<Vec<_>>().into_iter().cycle() {
            let mut by = kernel;
            let mut push = |found| shares.push(found);
            let step = search.step(&job, utc(TIME + 9), hashes, &mut by, &mut push);
            if step.next == Next::Exhausted {
                break;
            }
        }
        let expected = model(&job).into_iter().filter_map(|(extranonce, header)| {
            let hash = header.hash(Engine::best());
            let Header { version, time, nonce, .. } = header;
            let found = Found { job: JobId::MIN, extranonce, version, time, nonce, hash };
            target.is_met_by(&hash).then_some(found)
        });
        // Some of the kernels walk groups of versions.
        shares.sort_by_key(groups::place);
        let mut expected: Vec<_> = expected.collect();
        expected.sort_by_key(groups::place);
        prop_assert_eq!(shares, expected);
    }
}

#[test]
fn genesis_nonce_is_found_from_its_job() {
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).header;
    let bytes: [u8; 80] = bitcoin::consensus::serialize(&genesis).try_into().unwrap();
    let header = Header::from_bytes(&bytes);
    let job = job(Parts {
        version: header.version,
        previous: header.previous,
        root: Root::Fixed(header.merkle_root),
        bits: header.bits,
        time: header.time,
        nonce_first: 2_083_236_893 - 700,
        nonce_last: u32::MAX,
        target: header.target().unwrap(),
        ..parts()
    });
    for mut kernel in Kernel::all() {
        let (mut search, mut all) = (Search::new(), Vec::new());
        search.take(&job).unwrap();
        while all.is_empty() {
            let step = search.step(&job, utc(TIME), 256, &mut kernel, &mut |found| all.push(found));
            assert_eq!(step, Step { hashes: 256, next: Next::More });
        }
        assert_eq!(all[0].nonce, 2_083_236_893);
        assert_eq!(all[0].hash, *<_ as AsRef<[u8; 32]>>::as_ref(&genesis.block_hash()));
        assert_eq!(job.header_of(&all[0], Engine::best()).unwrap(), header);
    }
}

#[test]
fn new_job_of_the_tip_never_goes_back_to_an_extranonce_that_was_used() {
    let jobs = [b"first", b"other", b"first"]
        .map(|prefix| job(Parts { root: coinbase(prefix, 4), ..parts() }));
    let mut search = Search::new();
    for (number, job) in (0_u64..).zip(&jobs) {
        search.take(job).unwrap();
        let (all, _) = walk(&mut search, job, TIME, 6);
        let expected = [0, 0, 0, 0, 1, 1].map(|more| number * 2 + more);
        assert_eq!(all.iter().map(|found| found.extranonce).collect::<Vec<_>>(), expected);
    }
    let next = job(Parts { previous: [9; 32], ..*jobs[0].parts() });
    assert_eq!(search.take(&next), Ok(Start::Fresh));
    assert_eq!(walk(&mut search, &next, TIME, 1).0[0].extranonce, 0);
}

#[test]
fn extranonce_of_a_job_that_was_not_worked_on_is_left_for_the_next() {
    let jobs =
        [b"first", b"other"].map(|prefix| job(Parts { root: coinbase(prefix, 4), ..parts() }));
    let mut search = Search::new();
    for job in &jobs {
        search.take(job).unwrap();
    }
    assert_eq!(walk(&mut search, &jobs[1], TIME, 1).0[0].extranonce, 0);
}

#[test]
fn last_extranonce_used_leaves_nothing_for_another_job_of_the_tip() {
    let jobs =
        [b"first", b"other"].map(|prefix| job(Parts { root: coinbase(prefix, 1), ..parts() }));
    let mut search = Search::new();
    search.take(&jobs[0]).unwrap();
    assert_eq!(
        walk(&mut search, &jobs[0], TIME, 2_000).1,
        Step { hashes: 1_024, next: Next::Exhausted }
    );
    // However many there are, the first one again among them.
    for mut search in [restarted(&search), search] {
        for job in [&jobs[1], &jobs[0], &jobs[1]] {
            assert_eq!(search.take(job), Ok(Start::Past));
            assert_eq!(
                walk(&mut search, job, TIME, 1).1,
                Step { hashes: 0, next: Next::Exhausted }
            );
        }
    }
}

#[test]
fn root_that_comes_back_goes_on_with_later_times_only() {
    let [one, two] = [1, 2].map(|root| {
        job(Parts { root: Root::Fixed([root; 32]), roll: TimeRoll::Free(9), ..parts() })
    });
    let mut search = Search::new();
    assert_eq!(search.take(&one), Ok(Start::Fresh));
    let _ = walk(&mut search, &one, TIME, 5);
    assert_eq!(search.take(&two), Ok(Start::Fresh));
    let _ = walk(&mut search, &two, TIME, 1);
    assert_eq!(search.take(&one), Ok(Start::Past));
    // Four nonces a time: the first job came to the second one.
    assert_eq!(walk(&mut search, &one, TIME, 1).0[0].time, TIME + 2);
    let mut search = restarted(&search);
    assert_eq!(search.take(&two), Ok(Start::Past));
    assert_eq!(walk(&mut search, &two, TIME, 1).0[0].time, TIME + 3);
}

#[test]
fn time_that_follows_the_clock_waits_for_it_and_not_where_there_is_an_extranonce() {
    let fixed = job(Parts { roll: TimeRoll::Clock(2), ..parts() });
    let mut search = Search::new();
    search.take(&fixed).unwrap();
    let wait = |seconds| Next::Wait { until: utc(TIME + seconds) };
    // A clock that is behind the job gives its own time alone.
    assert_eq!(walk(&mut search, &fixed, 5, 9).1, Step { hashes: 4, next: wait(1) });
    assert_eq!(walk(&mut search, &fixed, TIME + 1, 9).1, Step { hashes: 4, next: wait(2) });
    assert_eq!(
        walk(&mut search, &fixed, TIME + 90, 9).1,
        Step { hashes: 4, next: Next::Exhausted }
    );
    let longer = job(Parts { roll: TimeRoll::Clock(3), ..parts() });
    assert_eq!(search.take(&longer), Ok(Start::Continued));
    assert_eq!(walk(&mut search, &longer, TIME + 90, 2).1, Step { hashes: 2, next: Next::More });
    // Set back in the middle of a lap.
    assert_eq!(walk(&mut search, &longer, TIME, 2).1, Step { hashes: 0, next: wait(3) });

    let rolling = job(Parts { root: coinbase(b"first", 1), roll: TimeRoll::Clock(2), ..parts() });
    let mut search = Search::new();
    search.take(&rolling).unwrap();
    let (all, _) = walk(&mut search, &rolling, TIME + 1, 9);
    assert_eq!((all[7].extranonce, all[7].time, all[8].extranonce), (0, TIME + 1, 1));
    let _ = walk(&mut search, &rolling, TIME + 1, 4);
    let (all, _) = walk(&mut search, &rolling, TIME, 1);
    assert_eq!((all[0].extranonce, all[0].time), (2, TIME));
    assert_eq!(
        rolling.header_of(&all[0], Engine::best()).unwrap().hash(Engine::best()),
        all[0].hash
    );
}

#[test]
fn job_that_expired_or_was_not_taken_is_idle_with_the_reason() {
    let expires = utc(TIME + 9);
    let [one, two] =
        [1, 2].map(|root| job(Parts { root: Root::Fixed([root; 32]), expires, ..parts() }));
    let mut search = Search::new();
    assert_eq!(walk(&mut search, &one, TIME, 1).1, Step { hashes: 0, next: Next::NotTaken });
    search.take(&one).unwrap();
    assert_eq!(walk(&mut search, &two, TIME, 1).1, Step { hashes: 0, next: Next::NotTaken });
    assert_eq!(walk(&mut search, &one, TIME + 8, 1).1, Step { hashes: 1, next: Next::More });
    let expired = Step { hashes: 0, next: Next::Expired { at: expires } };
    assert_eq!(walk(&mut search, &one, TIME + 9, 1).1, expired);
    assert_eq!(walk(&mut search, &one, TIME + 8, 0).1, Step { hashes: 0, next: Next::More });
    assert_eq!(walk(&mut restarted(&search), &one, TIME, 1).1.next, Next::NotTaken);
}

#[test]
fn jobs_with_and_without_extranonce_are_not_mixed_on_a_tip() {
    let [fixed, rolling] =
        [parts().root, coinbase(b"first", 4)].map(|root| job(Parts { root, ..parts() }));
    let mut search = Search::new();
    search.take(&fixed).unwrap();
    assert_eq!(search.take(&rolling), Err(MinerError::Mixed));
    assert_eq!(walk(&mut search, &fixed, TIME, 1).1.hashes, 1);
    assert_eq!(restarted(&search).take(&rolling), Err(MinerError::Mixed));
    let next = job(Parts { previous: [9; 32], ..*rolling.parts() });
    assert_eq!(search.take(&next), Ok(Start::Fresh));
}

#[test]
fn whole_range_of_nonces_is_walked_to_its_last() {
    let whole =
        job(Parts { nonce_first: 0, nonce_last: u32::MAX, roll: TimeRoll::Free(1), ..parts() });
    let mut search = Search::new();
    search.take(&whole).unwrap();
    let mut place = search.at.unwrap().place;
    assert_eq!(place.nonces_left(&whole), u32::MAX);
    assert!(place.advance(&whole, u32::MAX));
    assert_eq!((place.nonce, place.nonces_left(&whole)), (u32::MAX, 1));
    assert!(!place.advance(&whole, 1));
    assert_eq!((place.nonce, place.time), (0, TIME + 1));
}

#[test]
fn checkpoint_is_these_sixteen_bytes() {
    let rolling = job(Parts { root: coinbase(b"first", 4), version_mask: 0x6000, ..parts() });
    let mut search = Search::new();
    assert_eq!(search.checkpoint(), None);
    search.take(&rolling).unwrap();
    let _ = walk(&mut search, &rolling, TIME, 16 + 6);
    let bytes = search.checkpoint().unwrap().to_bytes();
    assert_eq!(bytes[1] & 1, 1);
    assert_eq!(bytes[4..], [1, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0]);

    let fixed = job(Parts { roll: TimeRoll::Free(9), ..parts() });
    let mut search = Search::new();
    search.take(&fixed).unwrap();
    let _ = walk(&mut search, &fixed, TIME, 5);
    let bytes = search.checkpoint().unwrap().to_bytes();
    let [a, b, c, d] = (TIME + 1).to_le_bytes();
    assert_eq!(bytes[4..], [a, b, c, d, 0, 0, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn latest_time_too_far_ahead_to_store_gives_up_what_is_before_it() {
    let [late, early] = [TIME + 70_000, TIME]
        .map(|time| job(Parts { time, root: Root::Fixed([time.to_le_bytes()[0]; 32]), ..parts() }));
    let mut search = Search::new();
    for job in [&late, &early] {
        assert_eq!(search.take(job), Ok(Start::Fresh));
        assert_eq!(walk(&mut search, job, TIME, 2).1.hashes, 2);
    }
    let mut search = restarted(&search);
    search.take(&early).unwrap();
    assert_eq!(walk(&mut search, &early, TIME, 2).1.next, Next::Exhausted);
    search.take(&late).unwrap();
    assert_eq!(walk(&mut search, &late, TIME, 2).1.next, Next::Exhausted);
}
