//! The fee to the millisatoshi, and every limit of an order on both sides.

use super::*;

fn refused(change: impl FnOnce(&mut Incoming, &mut Onward)) -> Option<HubError> {
    let (mut incoming, mut onward) = order();
    change(&mut incoming, &mut onward);
    let hub = hub();
    hub.decide(&ordered((incoming, onward))).err()
}

#[test]
fn fee_is_base_and_rate_rounded_up() {
    let policy = policy();
    for (due, fee) in [
        (0, 1_000),
        (1, 1_001),
        (10_000, 1_001),
        (10_001, 1_002),
        (50_000_000, 6_000),
        (50_000_001, 6_001),
    ] {
        assert_eq!(policy.fee(msat(due)), Ok(msat(fee)), "{due}");
    }
}

#[test]
fn fee_above_all_money_is_an_error() {
    let greedy = Policy { base: Msat::MAX, ..policy() };
    assert!(matches!(greedy.fee(msat(1)), Err(HubError::Fee(_))));
    assert!(matches!(policy().price(&Load::Single(Sat::MAX)), Err(HubError::Fee(_))));
    let most = refused(|_, onward| onward.load = Load::Single(Sat::MAX));
    assert!(matches!(most, Some(HubError::Fee(_))));
}

#[test]
fn price_covers_the_load_in_whole_satoshis() {
    let free = Policy { base: Msat::ZERO, rate: Ppm::new(0).unwrap(), ..policy() };
    let bundle = |total| Load::Bundle { root: [1; 32], items: 3, total: msat(total) };
    assert_eq!(free.price(&bundle(900_000)), Ok(msat(900_000)));
    assert_eq!(free.price(&bundle(900_001)), Ok(msat(901_000)));
    assert_eq!(policy().price(&bundle(900_001)), Ok(msat(901_092)));
}

#[test]
fn order_that_pays_exactly_is_taken_and_one_satoshi_less_refused() {
    assert_eq!(refused(|_, _| {}), None);
    let short = refused(|incoming, _| {
        incoming.hold.amount = sat(50_005);
        incoming.due = msat(50_005_999);
    });
    let (got, want) = (msat(50_005_999), msat(50_006_000));
    assert_eq!(short, Some(HubError::Underpaid { got, want }));
}

#[test]
fn order_whose_incoming_hold_ends_a_block_early_is_refused() {
    let early = refused(|incoming, _| incoming.hold.expiry = at(IN - 1));
    assert_eq!(early, Some(HubError::ExpiryTooNear { got: at(IN - 1), want: at(IN) }));
    let longer = refused(|incoming, _| incoming.margin = blocks(11));
    assert_eq!(longer, Some(HubError::ExpiryTooNear { got: at(IN), want: at(IN + 1) }));
    let slower = refused(|incoming, _| incoming.hold.delay = ClaimDelay::new(K + 1).unwrap());
    assert_eq!(slower, Some(HubError::ExpiryTooNear { got: at(IN), want: at(IN + 1) }));
    let endless = refused(|incoming, _| incoming.margin = Blocks::MAX);
    assert_eq!(endless, Some(HubError::NoHeight { onward: at(OUT) }));
}

#[test]
fn order_to_a_channel_whose_claims_come_too_early_is_refused() {
    let delay = |k| ClaimDelay::new(k).unwrap();
    assert_eq!(refused(|_, onward| onward.delay = delay(10)), None);
    let short = refused(|_, onward| onward.delay = delay(9));
    assert_eq!(short, Some(HubError::DelayShort { k: 9, above: blocks(9) }));
}

#[test]
fn order_that_is_past_or_locks_too_long_is_refused() {
    let until = |expiry| {
        refused(move |incoming, onward| {
            onward.expiry = at(expiry);
            incoming.hold.expiry = at(expiry + IN - OUT);
        })
    };
    let last = at(TIP + 100);
    assert_eq!(until(TIP + 100), None);
    let (expiry, tip) = (at(TIP + 101), at(TIP));
    assert_eq!(until(TIP + 101), Some(HubError::LockTooLong { expiry, tip, last }));
    assert_eq!(until(TIP + 1), None);
    assert_eq!(until(TIP), Some(HubError::LockTooLong { expiry: tip, tip, last }));
}

#[test]
fn order_that_is_small_or_says_another_amount_or_goes_back_is_refused() {
    let small = |amount| {
        refused(move |incoming, onward| {
            incoming.hold.amount = sat(amount);
            incoming.due = sat(amount).to_msat();
            onward.load = Load::Single(sat(900));
        })
    };
    assert_eq!(small(1_000), None);
    let (got, least) = (sat(999), sat(1_000));
    assert_eq!(small(999), Some(HubError::BelowLeast { got, least }));
    let more = refused(|incoming, _| incoming.due = msat(50_007_000));
    let (held, due) = (sat(50_006), msat(50_007_000));
    assert_eq!(more, Some(HubError::WrongDue { held, due }));
    let back = refused(|incoming, onward| onward.channel = incoming.channel);
    assert_eq!(back, Some(HubError::SameChannel { channel: channel(1) }));
}

#[test]
fn order_of_a_bundle_without_items_or_with_too_many_is_refused() {
    let bundle = |items| {
        let total = msat(49_999_999);
        refused(move |_, onward| onward.load = Load::Bundle { root: [1; 32], items, total })
    };
    let max = 1 << 20;
    assert_eq!((bundle(1), bundle(max)), (None, None));
    for got in [0, max + 1] {
        assert_eq!(bundle(got), Some(HubError::BundleItems { got, max }));
    }
}

#[test]
fn policy_without_time_is_refused() {
    let zero = Blocks::MIN;
    for broken in [
        Policy { reaction: zero, ..policy() },
        Policy { settling: zero, ..policy() },
        Policy { depth: zero, ..policy() },
    ] {
        assert!(matches!(Hub::new(broken), Err(HubError::Policy { .. })));
    }
}

#[test]
fn table_takes_as_many_forwards_as_it_says() {
    let mut hub = hub();
    for id in 1..=4 {
        let (mut incoming, onward) = order();
        incoming.hold.id = HoldId::new(id).unwrap();
        let taken = hub.take(ordered((incoming, onward)));
        let want = if id > 3 { Err(HubError::TooMany { max: 3 }) } else { Ok(()) };
        assert_eq!(taken, want);
    }
    // What is over makes room.
    let first = hold_of(1, 1);
    hub.take(Input::Declined { incoming: first }).unwrap();
    hub.take(Input::Released { incoming: first }).unwrap();
    hub.take(ordered(order())).unwrap();
}
