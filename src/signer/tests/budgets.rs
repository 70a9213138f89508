//! Budgets: both sides of each limit, the windows, the order of commit and use.

use super::super::budget::{Ahead, PEERS_MAX, SESSIONS_MAX};
use super::*;

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

fn policy(hour: u64, day: u64, peer: u64, slice: u64) -> Policy {
    Policy { hour: msat(hour), day: msat(day), peer: msat(peer), slice: msat(slice) }
}

fn over(budget: Budget, limit: u64, used: u64, asked: u64) -> Result<Voucher, SignerError> {
    let (limit, used, asked) = (msat(limit), msat(used), msat(asked));
    Err(SignerError::OverBudget { budget, limit, used, asked })
}

fn needs(budget: Budget, ready: u64, amount: u64) -> Result<Voucher, SignerError> {
    let ahead = Ahead { peer: peer(2), session: session(1), amount: msat(amount) };
    Err(SignerError::NeedsReservation { budget, ready: msat(ready), ahead })
}

/// Pays and commits whatever is asked for.
fn pay_on(
    signer: &mut MemorySigner,
    channel: &Channel,
    paid: u64,
    now: u64,
) -> Result<Voucher, SignerError> {
    let mut store = MemoryStore::default();
    reserve(signer, &mut store, now);
    let refused = match pay_at(signer, channel, paid, now) {
        Err(SignerError::NeedsReservation { ahead, .. }) => ahead,
        other => return other,
    };
    let next = signer.reserve(at(now), Some(refused)).unwrap().unwrap();
    signer.apply(next.commit(&mut store).unwrap()).unwrap();
    pay_at(signer, channel, paid, now)
}

#[test]
fn each_budget_allows_its_last_millisatoshi_and_refuses_the_next() {
    let most = 1_000_000;
    for budget in [Budget::Session, Budget::Hour, Budget::Day, Budget::Peer] {
        let limit = |of| if of == budget { 1_000 } else { most };
        let [hour, day, of_peer] = [Budget::Hour, Budget::Day, Budget::Peer].map(limit);
        let (mut signer, channel) = paying(policy(hour, day, of_peer, most));
        let of_session = msat(limit(Budget::Session));
        signer.open_session(peer(2), session(1), of_session).unwrap();
        pay_on(&mut signer, &channel, 400, NOON).unwrap();
        assert_eq!(pay(&mut signer, &channel, 1_001), over(budget, 1_000, 400, 601));
        pay(&mut signer, &channel, 1_000).unwrap();
        assert_eq!(pay(&mut signer, &channel, 1_001), over(budget, 1_000, 1_000, 1));
        // Signing again what was signed costs nothing.
        pay(&mut signer, &channel, 1_000).unwrap();
    }
}

#[test]
fn hour_and_day_open_with_their_first_second_and_not_before() {
    let (mut signer, channel) = paying(policy(1_000, 1_500, 9_000, 9_000));
    let next_hour = (NOON / HOUR + 1) * HOUR;
    pay_on(&mut signer, &channel, 1_000, NOON).unwrap();
    let refused = pay_on(&mut signer, &channel, 1_001, next_hour - 1);
    assert_eq!(refused, over(Budget::Hour, 1_000, 1_000, 1));
    pay_on(&mut signer, &channel, 1_500, next_hour).unwrap();
    let next_day = (NOON / DAY + 1) * DAY;
    let refused = pay_on(&mut signer, &channel, 1_501, next_day - 1);
    assert_eq!(refused, over(Budget::Day, 1_500, 1_500, 1));
    pay_on(&mut signer, &channel, 2_500, next_day).unwrap();
    let refused = pay_on(&mut signer, &channel, 2_501, next_day);
    assert_eq!(refused, over(Budget::Hour, 1_000, 1_000, 1));
}

#[test]
fn first_payment_after_the_full_hour_waits_for_no_write() {
    let (mut signer, channel) = paying(policy(1_000, 9_000, 9_000, 100));
    let next_hour = (NOON / HOUR + 1) * HOUR;
    pay(&mut signer, &channel, 50).unwrap();
    pay_at(&mut signer, &channel, 60, next_hour).unwrap();
    // Two hours on nothing is reserved.
    let refused = pay_at(&mut signer, &channel, 70, next_hour + 2 * HOUR);
    assert_eq!(refused, needs(Budget::Hour, 0, 10));
    pay_on(&mut signer, &channel, 70, next_hour + 2 * HOUR).unwrap();
}

#[test]
fn time_that_runs_backwards_is_refused_and_a_jump_gives_nothing_back() {
    let (mut signer, channel) = paying(policy(1_000, 1_000, 1_000, 1_000));
    pay(&mut signer, &channel, 1_000).unwrap();
    let before = signer.snapshot();
    let refused = SignerError::ClockBackwards { last: at(NOON), now: at(NOON - 1) };
    assert_eq!(pay_at(&mut signer, &channel, 1_000, NOON - 1), Err(refused));
    assert_eq!(signer.reserve(at(NOON - 1), None), Err(refused));
    assert_eq!(signer.snapshot(), before);
    pay_on(&mut signer, &channel, 1_001, NOON + DAY).unwrap();
    let refused = SignerError::ClockBackwards { last: at(NOON + DAY), now: at(NOON) };
    assert_eq!(pay(&mut signer, &channel, 1_001), Err(refused));
    assert_eq!(
        pay_on(&mut signer, &channel, 2_001, NOON + DAY),
        over(Budget::Hour, 1_000, 1, 1_000)
    );
}

#[test]
fn slice_opens_when_its_record_is_applied_and_not_when_it_is_made() {
    let mut signer = signer(1, policy(1_000, 1_000, 1_000, 100));
    let channel = channel(0, 1);
    signer.register(&channel, payer_role(0, Past::New)).unwrap();
    let closed = Err(SignerError::NoSuchSession { session: session(1) });
    assert_eq!(pay(&mut signer, &channel, 1), closed);
    signer.open_session(peer(2), session(1), msat(1_000)).unwrap();
    assert_eq!(pay(&mut signer, &channel, 1), needs(Budget::Session, 0, 1));
    let next = signer.reserve(at(NOON), None).unwrap().unwrap();
    assert_eq!(pay(&mut signer, &channel, 1), needs(Budget::Session, 0, 1));
    let committed = next.commit(&mut MemoryStore::default()).unwrap();
    assert_eq!(pay(&mut signer, &channel, 1), needs(Budget::Session, 0, 1));
    signer.apply(committed).unwrap();
    // Half of the slice is above the mark, and one more is below.
    assert_eq!(signer.reserve(at(NOON), None).unwrap(), None);
    pay(&mut signer, &channel, 50).unwrap();
    assert_eq!(signer.reserve(at(NOON), None).unwrap(), None);
    pay(&mut signer, &channel, 51).unwrap();
    assert!(signer.reserve(at(NOON), None).unwrap().is_some());
    pay(&mut signer, &channel, 100).unwrap();
    assert_eq!(pay(&mut signer, &channel, 101), needs(Budget::Session, 0, 1));
    pay_on(&mut signer, &channel, 101, NOON).unwrap();
    assert_eq!(pay(&mut signer, &channel, 500), needs(Budget::Session, 99, 399));
    pay_on(&mut signer, &channel, 500, NOON).unwrap();
}

#[test]
fn older_reservation_is_refused_after_a_newer_one_was_made() {
    let (mut signer, channel) = paying(policy(1_000, 1_000, 1_000, 100));
    pay(&mut signer, &channel, 60).unwrap();
    let mut store = MemoryStore::default();
    let older = signer.reserve(at(NOON), None).unwrap().unwrap().commit(&mut store).unwrap();
    let newer = signer.reserve(at(NOON), None).unwrap().unwrap().commit(&mut store).unwrap();
    let before = signer.snapshot();
    let refused = SignerError::StaleReservation { got: 2, want: 3 };
    assert_eq!(signer.apply(older), Err(refused));
    assert_eq!(signer.snapshot(), before);
    signer.apply(newer).unwrap();
    pay(&mut signer, &channel, 160).unwrap();
}

#[test]
fn peers_budget_adds_over_channels_and_sessions_and_not_over_peers() {
    let (mut signer, first) = paying(policy(9_000, 9_000, 1_000, 9_000));
    let second = channel(1, 2);
    signer.register(&second, payer_role(1, Past::New)).unwrap();
    pay(&mut signer, &first, 600).unwrap();
    assert_eq!(pay(&mut signer, &second, 401), over(Budget::Peer, 1_000, 600, 401));
    pay(&mut signer, &second, 400).unwrap();

    let third = channel_with(3, 2, 3);
    let role = Role::Payer { index: key_index(2), peer: peer(3), past: Past::New };
    signer.register(&third, role).unwrap();
    signer.open_session(peer(3), session(1), msat(1_000)).unwrap();
    pay_on(&mut signer, &third, 1_000, NOON).unwrap();
}

#[test]
fn without_a_record_nothing_is_paid_until_the_day_is_released() {
    let policy = policy(1_000, 1_000, 1_000, 1_000);
    let mut signer = MemorySigner::new(seed(1), Network::Regtest, policy, None, &AUX).unwrap();
    let channel = channel(0, 1);
    signer.register(&channel, payer_role(0, Past::Unknown { from: None })).unwrap();
    signer.resume(&old_voucher(&channel, 0, 5_000)).unwrap();
    let missing = SignerError::RecordMissing;
    assert_eq!(signer.open_session(peer(2), session(1), msat(1)), Err(missing));
    assert_eq!(signer.reserve(at(NOON), None), Ok(None));
    // What was signed before may be signed again; not a millisatoshi more, tomorrow neither.
    pay(&mut signer, &channel, 5_000).unwrap();
    assert_eq!(pay(&mut signer, &channel, 5_001), Err(missing));
    assert_eq!(pay_at(&mut signer, &channel, 5_001, NOON + DAY), Err(missing));
    signer.release_day_budget_without_record(at(NOON)).unwrap();
    let present = SignerError::RecordPresent;
    assert_eq!(signer.release_day_budget_without_record(at(NOON)), Err(present));
    signer.open_session(peer(2), session(1), Msat::MAX).unwrap();
    pay_on(&mut signer, &channel, 6_000, NOON).unwrap();
    assert_eq!(pay(&mut signer, &channel, 6_001), over(Budget::Hour, 1_000, 1_000, 1));
}

#[test]
fn session_that_ended_spends_nothing_and_one_opened_again_keeps_what_it_spent() {
    let (mut signer, channel) = paying(policy(9_000, 9_000, 9_000, 9_000));
    signer.open_session(peer(2), session(1), msat(1_000)).unwrap();
    pay_on(&mut signer, &channel, 900, NOON).unwrap();
    signer.open_session(peer(2), session(1), msat(950)).unwrap();
    assert_eq!(pay(&mut signer, &channel, 951), over(Budget::Session, 950, 900, 51));
    signer.end_session(peer(2), session(1));
    let closed = Err(SignerError::NoSuchSession { session: session(1) });
    assert_eq!(pay(&mut signer, &channel, 901), closed);
    pay(&mut signer, &channel, 900).unwrap();
}

#[test]
fn session_that_ended_is_missing_in_the_next_record() {
    let (mut signer, _) = paying(policy(9_000, 9_000, 9_000, 9_000));
    signer.open_session(peer(2), session(5), msat(1_000)).unwrap();
    let mut store = MemoryStore::default();
    let longer = signer.reserve(at(NOON), None).unwrap().unwrap();
    let before = longer.record().encode().len();
    signer.apply(longer.commit(&mut store).unwrap()).unwrap();
    signer.end_session(peer(2), session(4));
    assert_eq!(signer.reserve(at(NOON), None), Ok(None), "nobody knew it");
    signer.end_session(peer(2), session(5));
    let shorter = signer.reserve(at(NOON), None).unwrap().unwrap();
    assert!(shorter.record().encode().len() < before);
    signer.apply(shorter.commit(&mut store).unwrap()).unwrap();
    assert_eq!(signer.reserve(at(NOON), None), Ok(None), "once is enough");
}

#[test]
fn session_and_peer_beyond_the_limit_are_refused_and_idle_peers_make_room() {
    let mut signer = signer(1, policy(9_000, 9_000, 9_000, 10));
    for n in 0..SESSIONS_MAX {
        signer.open_session(peer(2), session(n.try_into().unwrap()), msat(1)).unwrap();
    }
    let refused = SignerError::TooManySessions { max: SESSIONS_MAX };
    assert_eq!(signer.open_session(peer(2), session(9_999), msat(1)), Err(refused));
    for n in 0..SESSIONS_MAX {
        signer.end_session(peer(2), session(n.try_into().unwrap()));
    }
    let nth = |n: usize| {
        PeerId::from_bytes(u16::try_from(n).unwrap().to_be_bytes().repeat(16).try_into().unwrap())
    };
    let mut store = MemoryStore::default();
    reserve(&mut signer, &mut store, NOON);
    for n in 0..PEERS_MAX {
        signer.open_session(nth(n), session(1), msat(1)).unwrap();
    }
    reserve(&mut signer, &mut store, NOON);
    let refused = SignerError::TooManyPeers { max: PEERS_MAX };
    signer.end_session(nth(0), session(1));
    assert_eq!(signer.open_session(peer(2), session(1), msat(1)), Err(refused));
    // A peer's slices of today and tomorrow are given up with those days.
    reserve(&mut signer, &mut store, NOON + 2 * DAY);
    signer.open_session(peer(2), session(1), msat(1)).unwrap();
}
