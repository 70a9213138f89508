//! SAFETY's rows of aggregation, each as a test.

use super::*;
use crate::batch::flight::{Flight, FlightError};

fn hundred() -> Vec<Item> {
    (1..=100).map(|n| amount(n, n * 7)).collect()
}

#[test]
fn batch_with_the_same_root_twice_is_refused() {
    let sealed = sealed(&hundred(), 16);
    let claim = sealed.credited.claim;
    let (first, _) = check(&sealed.bytes, &claim).unwrap();
    let batch = Batch::parse(&sealed.bytes).unwrap();
    let stands = channel(claim.paid.to_msat());
    let again = batch.check(&stands, &first.lanes, &claim, |_, _| {});
    assert_eq!(again, Err(BatchError::WrongStart { got: Msat::ZERO, paid: claim.paid }));
    // Claimed as if it came next, its items are old.
    let start = claim.paid;
    let moved = Claim { start, paid: start.add(start).unwrap(), ..claim };
    let error = ItemError::NotRising { lane: lane(0), id: id(1), last: 100 };
    let again = batch.check(&stands, &first.lanes, &moved, |_, _| {});
    assert_eq!(again, Err(BatchError::Item { at: 0, error }));
}

#[test]
fn batch_with_a_missing_item_is_refused() {
    let claim = sealed(&hundred(), 16).credited.claim;
    let mut list = hundred();
    list.remove(50);
    let other = sealed(&list, 16);
    let differ = BatchError::ItemsDiffer { got: 99, claimed: 100 };
    assert_eq!(check(&other.bytes, &claim).unwrap_err(), differ);
    // With the number set right the sum is wrong; with an empty item in its place too.
    let fewer = Claim { items: 99, ..claim };
    assert!(matches!(check(&other.bytes, &fewer), Err(BatchError::SumDiffers { .. })));
    let mut list = hundred();
    list[50] = amount(51, 0);
    let other = sealed(&list, 16);
    assert!(matches!(check(&other.bytes, &claim), Err(BatchError::SumDiffers { .. })));
}

#[test]
fn batch_with_a_duplicate_item_is_refused() {
    let mut builder = Builder::new(&channel(0), &open_lanes(0), size(1)).unwrap();
    builder.push(&amount(5, 1)).unwrap();
    let error = ItemError::NotRising { lane: lane(0), id: id(5), last: 5 };
    assert_eq!(builder.push(&amount(5, 1)), Err(error));
    // Ids are written as rising gaps: there are no bytes for the same id twice. The same payment
    // under the next id is another item, and another root.
    let claim = sealed(&hundred(), 1).credited.claim;
    let mut list = hundred();
    list[51] = amount(52, 51 * 7);
    list[52] = amount(53, 53 * 7 + 7);
    assert_eq!(check(&sealed(&list, 1).bytes, &claim).unwrap_err(), BatchError::RootDiffers);
}

#[test]
fn batch_with_reordered_items_is_refused() {
    let mut builder = Builder::new(&channel(0), &open_lanes(0), size(1)).unwrap();
    builder.push(&amount(5, 1)).unwrap();
    let error = ItemError::NotRising { lane: lane(0), id: id(4), last: 5 };
    assert_eq!(builder.push(&amount(4, 1)), Err(error));
    for leaf_size in [1, 16, 64] {
        let claim = sealed(&hundred(), leaf_size).credited.claim;
        let mut list = hundred();
        (list[3].charge, list[4].charge) = (list[4].charge, list[3].charge);
        let swapped = sealed(&list, leaf_size);
        assert_eq!(check(&swapped.bytes, &claim).unwrap_err(), BatchError::RootDiffers);
        // Items of two lanes in another order.
        let mut list = hundred();
        list[0].lane = lane(1);
        let claim = sealed(&list, leaf_size).credited.claim;
        list.swap(0, 1);
        let swapped = sealed(&list, leaf_size);
        assert_eq!(check(&swapped.bytes, &claim).unwrap_err(), BatchError::RootDiffers);
    }
}

#[test]
fn batch_with_another_leaf_size_or_root_is_refused() {
    let sealed = sealed(&hundred(), 16);
    let mut bytes = sealed.bytes.clone();
    bytes[1] = 15;
    let claim = sealed.credited.claim;
    assert_eq!(check(&bytes, &claim).unwrap_err(), BatchError::RootDiffers);
    for bit in 0..256 {
        let mut root = claim.root;
        root[bit / 8] ^= 1 << (bit % 8);
        let changed = check(&sealed.bytes, &Claim { root, ..claim });
        assert_eq!(changed.unwrap_err(), BatchError::RootDiffers);
    }
}

#[test]
fn batch_whose_sum_overflows_is_refused() {
    let all = Msat::MAX.to_msat();
    // Nine times all money is above 64 bits.
    for count in [2_u64, 8, 9, 64] {
        let mut head = vec![0x10, 16];
        varint::put(count, &mut head);
        head.extend([0, 1, 0]);
        varint::put(all, &mut head);
        let claim = Claim {
            start: Msat::ZERO,
            paid: Msat::MAX,
            items: u32::try_from(count).unwrap(),
            root: [0; 32],
        };
        let error = ItemError::Overdrawn { lane: lane(0), by: Msat::MAX };
        let refused = check(&head, &claim).unwrap_err();
        assert_eq!(refused, BatchError::Item { at: 1, error });
    }
    // A count whose price is above all money.
    let item = metered(1, u64::MAX, (2, 1));
    let mut builder = Builder::new(&channel(0), &open_lanes(0), size(1)).unwrap();
    assert!(matches!(builder.push(&item), Err(ItemError::Overflow(_))));
    assert_eq!((builder.items(), builder.total()), (0, Msat::ZERO));
    assert_eq!(builder.seal(), Err(BatchError::Empty));
}

#[test]
fn item_replayed_in_a_later_batch_is_refused() {
    let first = sealed(&hundred(), 16);
    let paid = first.credited.claim.paid;
    let stands = channel(paid.to_msat());
    // A payer that forgot its lanes builds on fresh ones.
    let forgot = open_lanes(paid.to_msat());
    for (old, refused) in [(1, true), (100, true), (101, false)] {
        let mut builder = Builder::new(&stands, &forgot, size(16)).unwrap();
        builder.push(&amount(old, 1)).unwrap();
        let next = builder.seal().unwrap();
        let batch = Batch::parse(&next.bytes).unwrap();
        let mut visits = 0;
        let credited = &first.credited.lanes;
        let result = batch.check(&stands, credited, &next.credited.claim, |_, _| visits += 1);
        assert_eq!(result.is_err(), refused, "item {old}");
        assert_eq!(visits, u32::from(!refused), "an old item is not even shown");
    }
    // A lane that is closed and opened again goes on above its ids.
    let mut lanes = first.credited.lanes.clone();
    lanes.close(lane(0)).unwrap();
    lanes.open(lane(0), Msat::MAX).unwrap();
    let mut builder = Builder::new(&stands, &lanes, size(16)).unwrap();
    assert!(builder.push(&amount(100, 1)).is_err());
    assert!(builder.push(&amount(101, 1)).is_ok());
}

#[test]
fn batch_above_the_capacity_by_a_millisatoshi_is_refused() {
    // 1,000 sat of capacity, 998,500 msat of them paid: millisatoshis count, not whole satoshis.
    let stands = At { room: msat(1_500), ..channel(998_500) };
    let lanes = open_lanes(998_500);
    let wide = channel(998_500);
    for (value, refused) in [(1_500, false), (1_501, true)] {
        let mut builder = Builder::new(&stands, &lanes, size(1)).unwrap();
        let error = ItemError::OverRoom { by: msat(1) };
        let pushed = builder.push(&amount(1, value));
        assert_eq!(pushed, if refused { Err(error) } else { Ok(msat(value)) });
        // A payer that does not care meets the payee's check.
        let mut careless = Builder::new(&wide, &lanes, size(1)).unwrap();
        careless.push(&amount(1, value)).unwrap();
        let sent = careless.seal().unwrap();
        let batch = Batch::parse(&sent.bytes).unwrap();
        let result = batch.check(&stands, &lanes, &sent.credited.claim, |_, _| {});
        assert_eq!(result.err(), refused.then_some(BatchError::Item { at: 0, error }));
    }
}

/// Three batches of ten items each, one after the other.
fn three() -> Vec<Sealed> {
    let (mut lanes, mut paid) = (open_lanes(0), 0);
    let mut batches = Vec::new();
    for round in 0..3 {
        let mut builder = Builder::new(&channel(paid), &lanes, size(4)).unwrap();
        for n in 1..=10 {
            builder.push(&amount(round * 10 + n, 100)).unwrap();
        }
        let sealed = builder.seal().unwrap();
        lanes = sealed.credited.lanes.clone();
        paid += 1_000;
        batches.push(sealed);
    }
    batches
}

#[test]
fn batch_half_acknowledged_before_a_crash_is_sent_again() {
    let mut flight = Flight::new(Msat::ZERO, 3, msat(3_000));
    for batch in three() {
        flight.launch(batch).unwrap();
    }
    assert_eq!((flight.at_risk(), flight.end()), (msat(3_000), msat(3_000)));
    assert_eq!(flight.acknowledge(msat(1_000)), Ok(1));
    // The payee had stored the second one when the link broke; its acknowledgement was lost.
    let again: Vec<_> = flight.resend_from(msat(2_000)).unwrap().cloned().collect();
    assert_eq!(again, three()[2..]);
    assert_eq!((flight.batches(), flight.at_risk()), (1, msat(1_000)));
    // A late acknowledgement changes nothing, one inside a batch or above all is refused.
    assert_eq!(flight.acknowledge(msat(1_000)), Ok(0));
    for got in [msat(2_500), msat(3_001)] {
        let error = FlightError::NotSent { got, sent: msat(3_000) };
        assert_eq!(flight.acknowledge(got), Err(error));
        assert_eq!(flight.resend_from(got).err(), Some(error));
    }
    // A payee that went back behind what it acknowledged.
    assert!(flight.resend_from(msat(1_000)).is_err());
    assert_eq!((flight.batches(), flight.at_risk()), (1, msat(1_000)));
    // Each one counts once, whoever repeats it.
    let mut lanes = open_lanes(0);
    let mut paid = 0;
    for (batch, counts) in [(0, true), (0, false), (1, true), (2, true), (1, false)] {
        let batch = &three()[batch];
        let claim = &batch.credited.claim;
        let parsed = Batch::parse(&batch.bytes).unwrap();
        match parsed.check(&channel(paid), &lanes, claim, |_, _| {}) {
            Ok(credited) => {
                assert!(counts);
                paid = credited.claim.paid.to_msat();
                lanes = credited.lanes;
            }
            Err(error) => assert!(!counts, "{error}"),
        }
    }
    assert_eq!(lanes.paid(), Ok(msat(3_000)));
}

#[test]
fn batch_lost_with_the_payers_memory_is_billed_in_a_new_one() {
    let batches = three();
    let (ours, theirs) = (&batches[2].credited.lanes, &batches[0].credited.lanes);
    // The payer kept its lanes and lost the bytes; the payee has the first batch.
    let missing = ours.missing_at(theirs).unwrap();
    assert_eq!(missing, [(lane(0), msat(2_000))]);
    let mut builder = Builder::new(&channel(1_000), theirs, size(1)).unwrap();
    let next = ours.state(lane(0)).unwrap().last.unwrap().to_u64() + 1;
    for (lane, amount) in missing {
        let charge = Charge::Amount(amount);
        builder.push(&Item { lane, id: id(next), charge, hash: None }).unwrap();
    }
    let billed = builder.seal().unwrap();
    let batch = Batch::parse(&billed.bytes).unwrap();
    let credited = batch.check(&channel(1_000), theirs, &billed.credited.claim, |_, _| {}).unwrap();
    assert_eq!(credited.lanes.paid(), ours.paid());
    // The lost batches, should they still arrive, count no more.
    let late = &batches[1];
    let parsed = Batch::parse(&late.bytes).unwrap();
    let result = parsed.check(&channel(3_000), &credited.lanes, &late.credited.claim, |_, _| {});
    assert!(matches!(result, Err(BatchError::WrongStart { .. })));
    // A payee that says more than was paid is not believed.
    assert!(theirs.missing_at(ours).is_err());
}

#[test]
fn windows_in_flight_are_bounded_in_number_and_amount() {
    let batches = three();
    let mut few = Flight::new(Msat::ZERO, 2, Msat::MAX);
    let mut little = Flight::new(Msat::ZERO, 9, msat(2_999));
    for flight in [&mut few, &mut little] {
        let not_next = FlightError::NotNext { got: msat(1_000), want: Msat::ZERO };
        assert_eq!(flight.launch(batches[1].clone()), Err(not_next));
        flight.launch(batches[0].clone()).unwrap();
        flight.launch(batches[1].clone()).unwrap();
        assert_eq!(flight.lanes(), Some(&batches[1].credited.lanes));
    }
    assert_eq!(few.launch(batches[2].clone()), Err(FlightError::TooMany { max: 2 }));
    let too_much = FlightError::TooMuch { amount: msat(3_000), max: msat(2_999) };
    assert_eq!(little.launch(batches[2].clone()), Err(too_much));
    assert_eq!(little.check_room(msat(999), 10), Ok(()));
    assert_eq!((few.batches(), little.at_risk()), (2, msat(2_000)));
    assert_eq!(few.bytes(), batches[0].bytes.len() + batches[1].bytes.len());
    few.acknowledge(msat(2_000)).unwrap();
    few.launch(batches[2].clone()).unwrap();
}
