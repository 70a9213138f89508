//! Both sides of every limit.

use super::*;

#[test]
fn job_with_bits_outside_bip320_is_refused_and_each_bit_inside_taken() {
    for bit in 0..32 {
        let mask = 1 << bit;
        let job = PoolJob::header_only(Head { version_mask: mask, ..head(0) }, [0; 32]);
        if (13..=28).contains(&bit) {
            assert!(job.is_ok(), "{bit}");
        } else {
            let allowed = Head::MASK_MAX;
            assert_eq!(job, Err(JobError::MaskTooWide { got: mask, allowed }), "{bit}");
        }
    }
}

#[test]
fn job_with_an_impossible_target_or_window_is_refused() {
    let of = |head| PoolJob::header_only(head, [0; 32]).map(drop);
    for bits in [0, 0x0180_0001, 0x2300_ffff, 0x0400_0001] {
        assert!(matches!(of(Head { bits, ..head(0) }), Err(JobError::Bits(_))), "{bits:#x}");
    }
    let bad = |head: Head| {
        let Head { min_time, start, roll_max, .. } = head;
        assert_eq!(of(head), Err(JobError::BadWindow { min_time, start, roll_max }));
    };
    bad(Head { min_time: START + 1, ..head(0) });
    assert_eq!(of(Head { min_time: START, ..head(0) }), Ok(()));
    let most = u64::from(u32::MAX - START);
    bad(Head { roll_max: seconds(most + 1), ..head(0) });
    bad(Head { roll_max: Seconds::MAX, ..head(0) });
    assert_eq!(of(Head { roll_max: seconds(most), ..head(0) }), Ok(()));
}

#[test]
fn coinbase_above_its_limits_is_refused_and_at_them_taken() {
    let long = alloc::vec![0; Coinbase::LENGTH_MAX];
    let branches = [[0; 32]; Coinbase::BRANCHES_MAX + 1];
    let least =
        Coinbase { prefix: &[], suffix: &[], space_size: 0, extranonce_size: 0, branches: &[] };
    let of = |coinbase: Coinbase<'_>| PoolJob::with_coinbase(head(0), &coinbase).map(drop);
    let many = |what, got, most| Err(JobError::TooMany { what, got, most });
    assert_eq!(of(least), Ok(()));
    assert_eq!(of(Coinbase { prefix: &long[8..], extranonce_size: 8, ..least }), Ok(()));
    let text = Coinbase { suffix: &long, extranonce_size: 1, ..least };
    assert_eq!(of(text), many("bytes of a coinbase", 65_537, 65_536));
    assert_eq!(of(Coinbase { branches: &branches[1..], ..least }), Ok(()));
    assert_eq!(of(Coinbase { branches: &branches, ..least }), many("branches", 33, 32));
    let wide = Coinbase { extranonce_size: 9, ..least };
    assert_eq!(of(wide), many("bytes of an extranonce", 9, 8));
    assert_eq!(of(Coinbase { space_size: 16, ..least }), Ok(()));
    assert_eq!(of(Coinbase { space_size: 17, ..least }), many("bytes of a space", 17, 16));
}

#[test]
fn space_of_more_bytes_or_a_larger_number_than_fit_is_refused() {
    assert!(Space::new(&[0; 16]).is_ok());
    assert!(Space::new(&[0; 17]).is_err());
    assert_eq!(Space::numbered(255, 1).unwrap().as_slice(), [255]);
    assert!(Space::numbered(256, 1).is_err());
    assert!(Space::numbered(0, 0).unwrap().as_slice().is_empty());
    assert!(Space::numbered(1, 0).is_err());
    assert_eq!(Space::numbered(u64::MAX, 16).unwrap().as_slice()[7..9], [0, 255]);
    assert!(Space::numbered(0, 17).is_err());
}

#[test]
fn job_is_assigned_in_rising_order_on_the_tip_and_into_its_space() {
    let mut desk = desk();
    let before = desk.clone();
    let backwards = |got| Err(JobError::JobBackwards { got: id(got), last: id(1) });
    assert_eq!(desk.assign(id(1), fixed(0, 8), bits(4)), backwards(1));
    assert_eq!(desk.assign(id(0), fixed(0, 8), bits(4)), backwards(0));
    assert_eq!(desk.assign(id(2), fixed(1, 8), bits(4)), Err(JobError::WrongTip));
    let mut other = Desk::new(Space::new(&[0; 3]).unwrap(), policy(), [0; 32], utc(START));
    let misfit = Err(JobError::SpaceMisfit { got: 3, room: 4 });
    assert_eq!(other.assign(id(2), rolled(0), bits(4)), misfit);
    assert_eq!(desk, before);
    assert_eq!(desk.assign(id(2), rolled(0), bits(4)), Ok(bits(4)));
}

#[test]
fn oldest_job_is_forgotten_above_the_limit() {
    let mut desk = desk();
    for job in 2..=64 {
        desk.assign(id(job), fixed(0, 9), bits(0)).unwrap();
    }
    let good = mined(&desk, share(1, 0));
    desk.assign(id(65), fixed(0, 9), bits(0)).unwrap();
    let unknown = Refused::UnknownJob { job: id(1) };
    assert_eq!(refused(&desk, utc(START), good.share()), unknown);
    assert!(desk.check(utc(START), &share(2, 0)).is_ok());
    assert_eq!(refused(&desk, utc(START), &share(66, 0)), Refused::UnknownJob { job: id(66) });
}

#[test]
fn version_may_differ_within_the_mask_only() {
    let narrow = Head { version_mask: 0x0000_6000, ..head(0) };
    let mut desk = desk();
    let job = Arc::new(PoolJob::header_only(narrow, [9; 32]).unwrap());
    desk.assign(id(2), job, bits(0)).unwrap();
    for bit in 0..32 {
        let version = VERSION ^ 1 << bit;
        let share = Share { version, ..share(2, 0) };
        if bit == 13 || bit == 14 {
            assert!(desk.check(utc(START), &share).is_ok(), "{bit}");
        } else {
            let bad = Refused::BadVersion { got: version, base: VERSION, mask: 0x6000 };
            assert_eq!(refused(&desk, utc(START), &share), bad);
        }
    }
}

#[test]
fn extranonce_of_more_bytes_than_the_job_has_room_for_is_not_the_workers_space() {
    let sized = |extranonce_size| {
        let coinbase = Coinbase {
            prefix: &[1; 60],
            suffix: &[2; 60],
            space_size: 4,
            extranonce_size,
            branches: &[],
        };
        let job = Arc::new(PoolJob::with_coinbase(head(0), &coinbase).unwrap());
        let mut desk = desk();
        desk.assign(id(2), job, bits(0)).unwrap();
        desk
    };
    for size in 0..=8_u8 {
        let desk = sized(size);
        let largest = u64::MAX.checked_shr(64 - u32::from(size) * 8).unwrap_or(0);
        let last = Share { extranonce: largest, ..share(2, 0) };
        assert!(desk.check(utc(START), &last).is_ok(), "{size}");
        if let Some(got) = largest.checked_add(1) {
            let above = Share { extranonce: got, ..last };
            let refused = refused(&desk, utc(START), &above);
            assert_eq!(refused, Refused::NotYourSpace { got, size });
        }
    }
    let not_fixed = Share { extranonce: 1, ..share(1, 0) };
    let foreign = Refused::NotYourSpace { got: 1, size: 0 };
    assert_eq!(refused(&desk(), utc(START), &not_fixed), foreign);
}

#[test]
fn checks_come_in_their_order() {
    // A share that is wrong in every way shows one reason after another as each is put right.
    let spent = Policy { burst: 0, shares_per_second: 0, ..policy() };
    let mut desk = desk_with(spent, 1, rolled(0));
    let now = utc(START);
    let mut share = Share { job: id(7), extranonce: 1 << 32, version: !VERSION, time: 0, nonce: 0 };
    assert!(matches!(refused(&desk, now, &share), Refused::UnknownJob { .. }));
    share.job = id(1);
    let mut later = desk.clone();
    later.new_tip([1; 32], now).unwrap();
    assert!(matches!(refused(&later, now, &share), Refused::Stale { .. }));
    assert!(matches!(refused(&desk, now, &share), Refused::BadVersion { .. }));
    share.version = VERSION;
    assert!(matches!(refused(&desk, now, &share), Refused::BadTime { .. }));
    share.time = START;
    assert!(matches!(refused(&desk, now, &share), Refused::NotYourSpace { .. }));
    share.extranonce = 1;
    assert!(matches!(refused(&desk, now, &share), Refused::OverBudget { .. }));
    desk = desk_of(1, rolled(0));
    assert!(matches!(refused(&desk, now, &share), Refused::Low { .. }));
    let good = mined(&desk, share);
    desk.apply(&good).unwrap();
    assert!(matches!(refused(&desk, now, good.share()), Refused::Duplicate { .. }));
}
