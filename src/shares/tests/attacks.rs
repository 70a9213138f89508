//! What a worker may try, and what becomes of it (SECURITY.md, the attacks on shares).

use super::*;

#[test]
fn share_that_is_replayed_counts_once() {
    let mut desk = desk();
    let good = mined(&desk, share(1, 0));
    assert_eq!(desk.take(utc(START), good.share()), Ok(good));
    assert_eq!(desk.counted(), 1);
    for _ in 0..3 {
        let again = refused(&desk, utc(START + 5), good.share());
        assert_eq!(again, Refused::Duplicate { job: id(1) });
    }
    assert_eq!(desk.apply(&good), Err(JobError::NotChecked));
    assert_eq!(desk.counted(), 1);
}

#[test]
fn same_header_under_another_job_counts_once() {
    let mut desk = desk();
    // The same template at an easier target: the same headers.
    desk.assign(id(2), fixed(0, 9), bits(2)).unwrap();
    let good = mined(&desk, share(1, 0));
    let under_two = Share { job: id(2), ..*good.share() };
    assert_eq!(desk.check(utc(START), &under_two).unwrap().hash(), good.hash());
    desk.apply(&good).unwrap();
    assert_eq!(refused(&desk, utc(START), &under_two), Refused::Duplicate { job: id(2) });
}

#[test]
fn share_twice_in_one_batch_counts_once() {
    let mut desk = desk();
    let good = mined(&desk, share(1, 0));
    let mut answers = Vec::new();
    desk.check_many(utc(START), &[*good.share(); 3], &mut |_, answer| answers.push(answer));
    let twice = Err(Refused::Duplicate { job: id(1) });
    assert_eq!(answers, [Ok(good), twice, twice]);
}

/// The desk outlives the line. One that is made anew has another space, and so other headers.
#[test]
fn share_counted_before_a_reconnect_is_not_counted_again() {
    let mut desk = desk_of(1, rolled(0));
    let good = mined(&desk, share(1, 0));
    desk.apply(&good).unwrap();
    let kept = desk.clone();
    assert!(matches!(refused(&kept, utc(START), good.share()), Refused::Duplicate { .. }));
    let anew = desk_of(2, rolled(0));
    assert!(matches!(refused(&anew, utc(START), good.share()), Refused::Low { .. }));
}

#[test]
fn share_of_a_job_of_the_tip_before_is_stale_and_costs_no_hash() {
    let mut desk = desk();
    let good = mined(&desk, share(1, 0));
    desk.new_tip([1; 32], utc(START + 3)).unwrap();
    desk.assign(id(2), fixed(1, 9), bits(4)).unwrap();
    let stale = Refused::Stale { job: id(1), ago: seconds(7) };
    assert_eq!(refused(&desk, utc(START + 10), good.share()), stale);
    // One that would be low is stale all the same.
    assert_eq!(refused(&desk, utc(START + 10), &share(1, 1_000_000)), stale);
    assert_eq!(stale.blame(), Blame::World);
    assert_eq!(desk.apply(&good), Err(JobError::NotChecked));
}

#[test]
fn grace_takes_the_tip_before_for_its_seconds_and_counts_each_share_once() {
    for (grace, worth) in [(Grace::Unpaid(seconds(5)), 0), (Grace::Paid(seconds(5)), 16)] {
        let mut desk = desk_with(Policy { grace, ..policy() }, 1, fixed(0, 9));
        let mut mining = mined_all(&desk, share(1, 0));
        let (first, second) = (mining.next().unwrap(), mining.next().unwrap());
        drop(mining);
        desk.apply(&first).unwrap();
        desk.new_tip([1; 32], utc(START + 10)).unwrap();
        let at = |seconds| utc(START + 10 + seconds);
        let duplicate = Refused::Duplicate { job: id(1) };
        assert_eq!(refused(&desk, at(5), first.share()), duplicate);
        assert!(matches!(refused(&desk, at(6), second.share()), Refused::Stale { .. }));
        let good = desk.take(at(5), second.share()).unwrap();
        assert_eq!(good.work(), Work::new(worth));
        assert_eq!(refused(&desk, at(5), second.share()), duplicate);
        // It is for one tip only.
        desk.new_tip([2; 32], at(5)).unwrap();
        assert!(matches!(refused(&desk, at(5), second.share()), Refused::Stale { .. }));
    }
}

#[test]
fn block_on_the_tip_before_is_told_in_a_grace() {
    let grace = Grace::Unpaid(seconds(5));
    let mut desk = desk_with(Policy { grace, ..policy() }, 1, fixed(0, 9));
    let block = mined_all(&desk, share(1, 0)).find(Good::is_block).unwrap();
    desk.new_tip([1; 32], utc(START)).unwrap();
    let rival = desk.take(utc(START + 1), block.share()).unwrap();
    assert!(rival.is_block());
    assert_eq!(rival.work(), Work::ZERO);
}

/// A chain that goes back to a tip would find what was counted there forgotten.
#[test]
fn chain_that_returns_to_a_tip_needs_another_space() {
    let mut desk = desk();
    for tip in 1..=16 {
        desk.new_tip([tip; 32], utc(START)).unwrap();
        let before = desk.clone();
        for left in 0..tip {
            assert_eq!(desk.new_tip([left; 32], utc(START)), Err(JobError::TipLeft));
        }
        assert_eq!(desk.new_tip([tip; 32], utc(START)), Ok(()));
        assert_eq!(desk, before);
    }
}

#[test]
fn share_above_its_target_is_low_and_at_it_good() {
    let mut desk = desk();
    let hash = *mined(&desk, share(1, 0)).hash();
    let good = *mined(&desk, share(1, 0)).share();
    let exact = |hash: [u8; 32]| {
        let mut bytes = hash;
        bytes.reverse();
        Target::from_be_bytes(&bytes).unwrap()
    };
    let mut below = hash;
    below[0] -= 1;
    assert!(hash[0] > 0, "another share is needed here");
    desk.assign(id(2), fixed(0, 9), exact(hash)).unwrap();
    desk.assign(id(3), fixed(0, 9), exact(below)).unwrap();
    let at = Share { job: id(2), ..good };
    assert_eq!(desk.check(utc(START), &at).unwrap().work(), exact(hash).work());
    let above = Share { job: id(3), ..good };
    let low = Refused::Low { hash, target: exact(below) };
    assert_eq!(refused(&desk, utc(START), &above), low);
}

#[test]
fn share_of_another_worker_or_channel_is_refused() {
    // Jobs of one template: another space makes other headers.
    let (alice, bob) = (desk_of(1, rolled(0)), desk_of(2, rolled(0)));
    let mut taken = 0;
    for good in mined_all(&alice, share(1, 0)).take(64) {
        match bob.check(utc(START), good.share()) {
            Ok(stolen) => {
                taken += 1;
                assert_ne!(stolen.hash(), good.hash());
            }
            Err(refused) => assert!(matches!(refused, Refused::Low { .. }), "{refused}"),
        }
    }
    // By chance a sixteenth of all nonces are good for anybody.
    assert!(taken < 16, "{taken} of 64");
    // Jobs with a root of one's own, and ids that the other does not have.
    let template = rolled(0);
    let root = |space| template.root(&Space::numbered(space, 4).unwrap(), 0).unwrap();
    assert_ne!(root(1), root(2));
    let mut carol = desk();
    carol.assign(id(5), fixed(0, 7), bits(4)).unwrap();
    let good = mined(&carol, share(5, 0));
    assert_eq!(refused(&desk(), utc(START), good.share()), Refused::UnknownJob { job: id(5) });
}

#[test]
fn share_found_before_a_change_of_target_keeps_its_worth() {
    let mut desk = desk();
    desk.assign(id(2), fixed(0, 8), bits(8)).unwrap();
    desk.assign(id(3), fixed(0, 7), bits(2)).unwrap();
    for (job, worth) in [(1, 16), (2, 256), (3, 4), (1, 16)] {
        let from = share(job, 1_000 + desk.counted() * 10_000);
        let good = mined(&desk, from);
        assert_eq!(desk.take(utc(START), good.share()).unwrap().work(), Work::new(worth));
    }
    // What meets the old target only does not meet the new one.
    let easy = mined_all(&desk, share(3, 0)).find(|good| !bits(8).is_met_by(good.hash())).unwrap();
    desk.assign(id(4), fixed(0, 7), bits(8)).unwrap();
    let as_new = Share { job: id(4), ..*easy.share() };
    assert!(matches!(refused(&desk, utc(START), &as_new), Refused::Low { .. }));
    assert!(desk.take(utc(START), easy.share()).is_ok());
}

#[test]
fn share_outside_its_time_window_is_refused() {
    let of = |time| Share { time, ..share(2, 0) };
    let ahead = |ahead_max| {
        let mut desk = desk_with(Policy { ahead_max, ..policy() }, 1, fixed(0, 9));
        desk.assign(id(2), fixed(0, 9), bits(0)).unwrap();
        desk
    };
    let desk = ahead(Policy::AHEAD_MAX);
    let now = utc(START);
    for (first, last, now) in [
        // From the median of the last blocks to as far as the worker may roll,
        (START - 100, START + ROLL, now),
        // and no further ahead of the clock than nodes take a block.
        (START - 100, START - 20, utc(START - 20 - 7_200)),
        (START - 100, START + ROLL, utc(u32::MAX)),
    ] {
        assert!(desk.check(now, &of(first)).is_ok());
        assert!(desk.check(now, &of(last)).is_ok());
        for got in [first - 1, last + 1, 0, u32::MAX] {
            let bad = Refused::BadTime { got, first, last };
            assert_eq!(refused(&desk, now, &of(got)), bad);
        }
    }
    let desk = ahead(seconds(10));
    assert!(desk.check(now, &of(START + 10)).is_ok());
    assert!(matches!(refused(&desk, now, &of(START + 11)), Refused::BadTime { .. }));
    // A policy cannot allow more than nodes do.
    let desk = ahead(Seconds::MAX);
    let early = utc(START - 7_200);
    assert!(desk.check(early, &of(START)).is_ok());
    assert!(matches!(refused(&desk, early, &of(START + 1)), Refused::BadTime { .. }));
}

/// 1,000 shares, really mined: here at 2^5 and 2^6 hashes, because a test build hashes slowly;
/// `millstream bench --only tiny_shares` does the same at 2^19 and 2^20.
#[test]
fn tiny_shares_are_counted_to_the_last_hash_over_changes_of_target_and_job() {
    let limits = Policy { burst: 2_000, ..policy() };
    let mut desk = desk_with(limits, 1, fixed(0, 9));
    let (mut work, mut good) = (Work::ZERO, 0_u32);
    for (job, zeros) in [(2, 5), (3, 5), (4, 6), (5, 6)] {
        desk.assign(id(job), fixed(0, 9 + u8::try_from(job).unwrap()), bits(zeros)).unwrap();
        let found: Vec<_> = mined_all(&desk, share(job, 0)).take(250).collect();
        for found in found {
            let counted = desk.take(utc(START), found.share()).unwrap();
            assert!(counted.work() > Work::ZERO);
            work = work.add(counted.work()).unwrap();
            good += 1;
        }
    }
    assert_eq!((good, work), (1_000, Work::new(500 * 32 + 500 * 64)));
}

/// Whatever a worker writes, it is credited the target that it was given, and only for a header
/// that was really found.
#[test]
fn share_is_worth_its_assigned_target_whatever_its_hash() {
    let desk = desk();
    let (mut blocks, mut sum) = (0, Work::ZERO);
    for good in mined_all(&desk, share(1, 0)).take(20_000) {
        sum = sum.add(good.work()).unwrap();
        blocks += u32::from(good.is_block());
    }
    assert_eq!(sum, Work::new(20_000 * 16));
    // 2^16 hashes a block, 320,000 hashes.
    assert!(blocks > 0);
}

#[test]
fn share_with_any_bit_changed_is_not_the_one_that_was_found() {
    let mut desk = desk_of(1, rolled(0));
    desk.assign(id(2), rolled(0), bits(14)).unwrap();
    let good = mined(&desk, Share { extranonce: 5, ..share(2, 0) });
    desk.apply(&good).unwrap();
    let bytes = good.share().encode();
    for bit in 0..Share::LENGTH * 8 {
        let mut changed = bytes;
        changed[bit / 8] ^= 1 << (bit % 8);
        let refused = refused(&desk, utc(START), &Share::decode(&changed));
        let duplicate = matches!(refused, Refused::Duplicate { .. });
        assert!(!duplicate, "bit {bit}: {refused}");
    }
}

#[test]
fn shares_above_the_budget_of_a_second_are_refused_whatever_their_hash() {
    let limits = Policy { burst: 3, shares_per_second: 2, ..policy() };
    let mut desk = desk_with(limits, 1, fixed(0, 9));
    let found: Vec<_> = mined_all(&desk, share(1, 0)).take(9).collect();
    let take = |desk: &mut Desk, good: &Good, time| desk.take(utc(time), good.share());
    let over = Refused::OverBudget { limit: 2, span: "second" };
    for good in &found[..3] {
        assert_eq!(take(&mut desk, good, START).unwrap().hash(), good.hash());
    }
    assert_eq!(refused(&desk, utc(START), found[3].share()), over);
    // One that is not good, or that was counted, has the same answer.
    assert_eq!(refused(&desk, utc(START), &share(1, 1_000_000)), over);
    assert_eq!(refused(&desk, utc(START), found[0].share()), over);
    // A clock that goes back brings nothing, and nothing twice.
    assert_eq!(refused(&desk, utc(START - 50), found[3].share()), over);
    for good in &found[3..5] {
        assert!(take(&mut desk, good, START + 1).is_ok());
    }
    assert_eq!(refused(&desk, utc(START + 1), found[5].share()), over);
    // Not even where shares are counted while it is back.
    for (good, time) in found[5..8].iter().zip([START + 100, START + 50, START + 50]) {
        assert!(take(&mut desk, good, time).is_ok());
    }
    assert_eq!(refused(&desk, utc(START + 100), found[8].share()), over);
}

#[test]
fn block_above_the_budget_is_a_block_and_worth_no_work() {
    let now = utc(START);
    // 256 hashes a block, two a share.
    let head = Head { bits: 0x2000_ffff, ..head(0) };
    let easy = || Arc::new(PoolJob::header_only(head, [9; 32]).unwrap());
    let of = |limits| {
        let mut desk = Desk::new(Space::numbered(1, 4).unwrap(), limits, [0; 32], now);
        desk.assign(id(1), easy(), bits(1)).unwrap();
        desk
    };
    let found: Vec<_> = mined_all(&of(policy()), share(1, 0)).take(3_000).collect();
    let block = found.iter().find(|good| good.is_block()).unwrap();
    let other = found.iter().find(|good| !good.is_block()).unwrap();
    // Nothing left of a second: it is told once. Nothing left of the tip: as often as it comes.
    let spent = of(Policy { burst: 0, shares_per_second: 0, ..policy() });
    let mut full = of(Policy { shares_per_tip: 1, ..policy() });
    full.apply(other).unwrap();
    for (mut desk, tells) in [(spent, 1), (full, 3)] {
        let limits_hold = |desk: &Desk, good: &Good| {
            matches!(refused(desk, now, good.share()), Refused::OverBudget { .. })
        };
        assert!(limits_hold(&desk, other));
        let answers: Vec<_> = (0..3).map(|_| desk.take(now, block.share())).collect();
        let told: Vec<_> = answers.iter().flatten().collect();
        assert_eq!(told.len(), tells);
        assert!(told.iter().all(|good| good.is_block() && good.work() == Work::ZERO));
        assert_eq!(told[0].hash(), block.hash());
        assert_eq!(desk.header(told[0]).map(|_| ()), Some(()));
        assert!(desk.counted() <= 1 && limits_hold(&desk, other));
        let mut many = Vec::new();
        desk.clone().check_many(now, &[*block.share()], &mut |_, answer| many.push(answer));
        assert_eq!(many, [desk.check(now, block.share())]);
    }
}

#[test]
fn shares_above_the_budget_of_a_tip_are_refused_until_the_next() {
    let limits = Policy { shares_per_tip: 5, ..policy() };
    let mut desk = desk_with(limits, 1, fixed(0, 9));
    let found: Vec<_> = mined_all(&desk, share(1, 0)).take(6).collect();
    for good in &found[..5] {
        assert!(desk.take(utc(START), good.share()).is_ok());
    }
    let over = Refused::OverBudget { limit: 5, span: "tip" };
    assert_eq!(refused(&desk, utc(START), found[5].share()), over);
    assert_eq!(desk.apply(&found[5]), Err(JobError::NotChecked));
    desk.new_tip([1; 32], utc(START)).unwrap();
    assert_eq!(desk.counted(), 0);
    desk.assign(id(2), fixed(1, 9), bits(4)).unwrap();
    let good = mined(&desk, share(2, 0));
    assert!(desk.take(utc(START), good.share()).is_ok());
}

#[test]
fn house_that_asks_for_more_has_harder_targets_and_fewer_blocks_and_never_easier_ones() {
    // Every other hash is a block by this header.
    let easy = Head { bits: 0x207f_ffff, ..head(0) };
    let plain = PoolJob::header_only(easy, [9; 32]).unwrap();
    let free = plain.network();
    assert_eq!(free.work(), Work::new(2));
    assert_eq!(plain.clone().with_harder_blocks(Target::of_work_bits(WorkBits::MIN)), plain);
    let desk = desk_with_target(Arc::new(plain.clone()), bits(10));
    assert_eq!(desk.1, free, "clamped to the header's");

    let house = plain.with_harder_blocks(bits(10));
    assert_eq!((house.network(), house.network_work()), (bits(10), Work::new(1 << 10)));
    // Of a house that asks for more already the header's rule and an easier one take nothing off.
    assert_eq!(house.clone().with_harder_blocks(bits(4)), house);
    let (desk, target) = desk_with_target(Arc::new(house.clone()), bits(6));
    assert_eq!(target, bits(6));
    assert_eq!(desk_with_target(Arc::new(house), bits(12)).1, bits(10), "V6 holds for the house");
    let goods: Vec<Good> = mined_all(&desk, share(1, 0)).take(64).collect();
    assert!(goods.iter().all(|good| good.work() == Work::new(64)));
    for good in &goods {
        assert_eq!(good.is_block(), bits(10).is_met_by(good.hash()));
        assert_eq!(good.network_work(), Work::new(1 << 10));
    }
    let blocks = goods.iter().filter(|good| good.is_block()).count();
    assert!((1..16).contains(&blocks), "{blocks} of 64");
}

/// A desk with one job, and the target that it was assigned.
fn desk_with_target(job: Arc<PoolJob>, wanted: Target) -> (Desk, Target) {
    let space = Space::numbered(1, 4).unwrap();
    let mut desk = Desk::new(space, policy(), [0; 32], utc(START));
    let target = desk.assign(id(1), job, wanted).unwrap();
    (desk, target)
}
