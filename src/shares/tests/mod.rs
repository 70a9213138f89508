//! Jobs, desks and shares for the tests of this room.

mod attacks;
mod bounds;
mod model;
mod statistics;
mod vectors;

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::*;
use crate::units::{UtcSeconds, Work, WorkBits};

/// The time of every job and most shares.
const START: u32 = 1_800_000_000;
const ROLL: u32 = 600;
const VERSION: u32 = 0x2000_0000;
/// 65,537 hashes a block.
const BITS: u32 = 0x1f00_ffff;

fn utc(time: u32) -> UtcSeconds {
    UtcSeconds::new(time.into()).unwrap()
}

fn seconds(seconds: u64) -> Seconds {
    Seconds::new(seconds).unwrap()
}

fn id(job: u32) -> JobId {
    JobId::new(job).unwrap()
}

fn bits(bits: u8) -> Target {
    Target::of_work_bits(WorkBits::new(bits).unwrap())
}

fn head(previous: u8) -> Head {
    Head {
        version: VERSION,
        version_mask: Head::MASK_MAX,
        previous: [previous; 32],
        bits: BITS,
        min_time: START - 100,
        start: START,
        roll_max: seconds(ROLL.into()),
    }
}

fn fixed(previous: u8, root: u8) -> Arc<PoolJob> {
    Arc::new(PoolJob::header_only(head(previous), [root; 32]).unwrap())
}

/// A coinbase of 150 bytes with room for four of space and four of extranonce; three branches.
fn rolled(previous: u8) -> Arc<PoolJob> {
    let coinbase = Coinbase {
        prefix: &[1; 42],
        suffix: &[2; 100],
        space_size: 4,
        extranonce_size: 4,
        branches: &[[3; 32], [4; 32], [5; 32]],
    };
    Arc::new(PoolJob::with_coinbase(head(previous), &coinbase).unwrap())
}

fn policy() -> Policy {
    Policy::for_aim(seconds(60))
}

/// A desk on tip 0 with job 1, sixteen hashes a share.
fn desk() -> Desk {
    desk_of(1, fixed(0, 9))
}

fn desk_of(space: u64, job: Arc<PoolJob>) -> Desk {
    desk_with(policy(), space, job)
}

fn desk_with(policy: Policy, space: u64, job: Arc<PoolJob>) -> Desk {
    let space = Space::numbered(space, 4).unwrap();
    let mut desk = Desk::new(space, policy, [0; 32], utc(START));
    assert_eq!(desk.assign(id(1), job, bits(4)), Ok(bits(4)));
    desk
}

fn share(job: u32, nonce: u32) -> Share {
    Share { job: id(job), extranonce: 0, version: VERSION, time: START, nonce }
}

/// The first share from this one on, by nonce, that the desk finds good.
fn mined(desk: &Desk, from: Share) -> Good {
    mined_all(desk, from).next().unwrap()
}

fn mined_all(desk: &Desk, from: Share) -> impl Iterator<Item = Good> {
    (from.nonce..).filter_map(move |nonce| {
        let answer = desk.check(utc(from.time), &Share { nonce, ..from });
        assert!(matches!(answer, Ok(_) | Err(Refused::Low { .. })), "{answer:?}");
        answer.ok()
    })
}

/// That a share is refused so, and leaves no trace; whether alone or among many.
#[track_caller]
fn refused(desk: &Desk, now: UtcSeconds, share: &Share) -> Refused {
    let (before, mut desk) = (desk, desk.clone());
    let refused = desk.check(now, share).unwrap_err();
    assert_eq!(desk.take(now, share), Err(refused));
    let mut answers = Vec::new();
    desk.check_many(now, &[*share], &mut |_, answer| answers.push(answer));
    assert_eq!(answers, [Err(refused)]);
    assert_eq!(&desk, before, "a refused share left a trace");
    refused
}
