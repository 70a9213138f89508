//! What is lost is made good: batches, acknowledgements, memories.

use super::*;

#[test]
fn windows_in_three_lanes_are_paid_and_acknowledged() {
    let mut pair = Pair::with_lanes();
    pair.open_lane(7, 1_000_000);
    for round in 1..=5 {
        pair.pay(&[(0, 10 * round), (1, 1), (0, 5), (7, 100)]).unwrap();
    }
    let outpoint = pair.stage.outpoint;
    assert_eq!(pair.buyer().flight(outpoint).unwrap().batches(), 5);
    assert_eq!(pair.buyer().at_risk(outpoint), Some(pair.signed()));
    pair.settle();
    pair.check_lanes();
    // The lanes were stated once.
    pair.pay(&[(7, 1)]).unwrap();
    pair.flush(BUYER);
    let [Message::BatchVoucher(batch)] = pair.lines[SELLER].make_contiguous() else { panic!() };
    assert_eq!(batch.lanes, None);
    pair.settle();
    pair.check_lanes();
    assert!(!pair.events[BUYER].iter().any(|event| matches!(event, Event::Misbehaved { .. })));
}

#[test]
fn lost_window_is_sent_again_with_everything_behind_it() {
    for lost in 0..4 {
        let mut pair = Pair::with_lanes();
        for n in 1..=4 {
            pair.pay(&[(0, n), (1, 7)]).unwrap();
        }
        pair.flush(BUYER);
        pair.lines[SELLER].remove(lost).unwrap();
        pair.settle();
        if lost == 3 {
            // Nothing behind it tells of it, so that it waits.
            assert!(pair.paid() < pair.signed());
        }
        pair.heal();
        pair.check_lanes();
    }
}

#[test]
fn lost_acknowledgement_is_repeated_and_nothing_counts_twice() {
    let mut pair = Pair::with_lanes();
    for n in 1..=3 {
        pair.pay(&[(0, n)]).unwrap();
    }
    pair.flush(BUYER);
    while pair.deliver(SELLER, 0).is_some() {}
    pair.flush(SELLER);
    assert_eq!(pair.lines[BUYER].len(), 3);
    pair.lines[BUYER].clear();
    let writes = pair.stage.stores[SELLER].clone();
    pair.wait();
    pair.settle();
    pair.check_lanes();
    // The repeated window was acknowledged without a write.
    assert_eq!(pair.stage.stores[SELLER], writes);
}

#[test]
fn windows_in_flight_are_sent_again_after_a_reconnect() {
    let mut pair = Pair::with_lanes();
    for n in 1..=6 {
        pair.pay(&[(0, n)]).unwrap();
    }
    pair.flush(BUYER);
    for _ in 0..2 {
        pair.deliver(SELLER, 0).unwrap().unwrap();
    }
    // The payee has two and their acknowledgements are lost; four are lost.
    pair.flush(SELLER);
    pair.reconnect();
    pair.settle();
    pair.check_lanes();
    // The same batches, not a bill: every item has its number.
    let lanes = pair.seller().lanes(pair.stage.outpoint).unwrap();
    assert_eq!(lanes.state(lane(0)).unwrap().last, ItemId::new(6).ok());
}

#[test]
fn payer_that_lost_its_batches_bills_what_is_missing_in_each_lane() {
    let mut pair = Pair::with_lanes();
    pair.pay(&[(0, 100), (1, 10)]).unwrap();
    pair.settle();
    for n in 1..=4 {
        pair.pay(&[(0, n), (1, 1_000)]).unwrap();
    }
    pair.flush(BUYER);
    pair.deliver(SELLER, 0).unwrap().unwrap();
    pair.flush(SELLER);
    pair.reboot(BUYER);
    pair.settle();
    pair.check_lanes();
    // Items that come later are above all that were ever used.
    pair.pay(&[(0, 5), (1, 5)]).unwrap();
    pair.settle();
    pair.check_lanes();
}

#[test]
fn payee_that_went_back_to_an_old_disk_is_billed_what_it_lost() {
    let mut pair = Pair::with_lanes();
    pair.pay(&[(0, 100), (1, 10)]).unwrap();
    pair.settle();
    let old = pair.stage.stores[SELLER].clone();
    for n in 1..=4 {
        pair.pay(&[(0, n), (1, 1_000)]).unwrap();
    }
    pair.settle();
    pair.pay(&[(0, 3)]).unwrap();
    pair.flush(BUYER);
    pair.stage.stores[SELLER] = old;
    // What it was shown since is shown again in the bill.
    pair.shown = BTreeMap::from([(0, 100), (1, 10)]);
    pair.reboot(SELLER);
    pair.heal();
    pair.check_lanes();
}

#[test]
fn payee_that_lost_its_store_is_billed_everything() {
    let mut pair = Pair::with_lanes();
    let empty = pair.stage.stores[SELLER].clone();
    pair.pay(&[(0, 100), (1, 10)]).unwrap();
    pair.settle();
    pair.stage.stores[SELLER] = empty;
    pair.shown.clear();
    pair.reboot(SELLER);
    pair.heal();
    pair.check_lanes();
}

/// The payer's store of before the last windows: it signed more than it knows, and its lanes are
/// behind those of the payee.
#[test]
fn payer_that_went_back_to_an_old_disk_takes_the_payees_lanes() {
    let mut pair = Pair::with_lanes();
    pair.pay(&[(0, 100), (1, 10)]).unwrap();
    pair.settle();
    let old = pair.stage.stores[BUYER].clone();
    pair.pay(&[(0, 50), (1, 1)]).unwrap();
    pair.settle();
    pair.stage.stores[BUYER] = old;
    pair.reboot(BUYER);
    pair.heal();
    pair.check_lanes();
    pair.pay(&[(0, 7)]).unwrap();
    pair.heal();
    pair.check_lanes();
}

/// Restored from its backup: without any record of its lanes.
#[test]
fn payer_without_a_record_of_its_lanes_asks_for_them_first() {
    let mut pair = Pair::new();
    let old = pair.stage.stores[BUYER].clone();
    pair.open_lane(0, 10_000);
    pair.open_lane(1, 10_000);
    pair.flush(BUYER);
    pair.pay(&[(0, 100), (1, 10)]).unwrap();
    pair.settle();
    pair.stage.stores[BUYER] = old;
    pair.reboot(BUYER);
    pair.settle();
    pair.open_lane(1, 10_000);
    let outpoint = pair.stage.outpoint;
    assert_eq!(pair.buyer().front(outpoint).err(), Some(NodeError::InFlight { outpoint }));
    pair.heal();
    // Lane 0 is not open here, so the next batch closes it.
    pair.pay(&[(1, 7)]).unwrap();
    pair.settle();
    pair.check_all_paid();
    assert_eq!((pair.total_of(SELLER, 0), pair.total_of(SELLER, 1)), (None, Some(17)));
}

#[test]
fn lanes_close_and_open_again_also_around_a_restart() {
    for restarts in [None, Some(BUYER), Some(SELLER)] {
        let mut pair = Pair::with_lanes();
        pair.pay(&[(0, 100), (1, 10)]).unwrap();
        pair.settle();
        pair.pay(&[(0, 50)]).unwrap();
        pair.close_lane(0);
        pair.pay(&[(1, 20)]).unwrap();
        pair.open_lane(0, 1_000);
        pair.pay(&[(0, 7)]).unwrap();
        pair.flush(BUYER);
        if let Some(side) = restarts {
            pair.reboot(side);
        }
        pair.heal();
        pair.check_all_paid();
        for side in [BUYER, SELLER] {
            assert_eq!(pair.total_of(side, 0), Some(7), "{restarts:?}");
            assert_eq!(pair.total_of(side, 1), Some(30), "{restarts:?}");
        }
        // What a bill put beside the lanes is closed by the next batch.
        pair.pay(&[(0, 1)]).unwrap();
        pair.settle();
        pair.check_all_paid();
        let seller = pair.seller().lanes(pair.stage.outpoint).unwrap();
        assert_eq!(Some(seller), pair.buyer().lanes(pair.stage.outpoint));
    }
}

#[test]
fn window_of_many_parts_survives_the_loss_of_any() {
    // 13 bits each: 98 kB, two messages.
    let amounts: Vec<(u16, u64)> = (0..60_000).map(|n| (0, (n * 7_919) % 8_191)).collect();
    let mut parts = 0;
    for lost in 0..3 {
        let mut pair = Pair::with_lanes();
        pair.limit_flight(3, 100_000_000_000);
        pair.pay(&amounts).unwrap();
        // Its budget is reserved by the flush.
        pair.flush(BUYER);
        pair.pay(&[(1, 1)]).unwrap();
        pair.flush(BUYER);
        parts = pair.lines[SELLER].len();
        pair.lines[SELLER].remove(lost).unwrap();
        pair.heal();
        pair.check_lanes();
    }
    assert_eq!(parts, 3);
}

#[test]
fn restart_of_either_side_at_every_write_loses_nothing() {
    let mut cuts = 0;
    for side in [BUYER, SELLER] {
        for before_the_commit in [true, false] {
            for cut in 0.. {
                let mut pair = Pair::with_lanes();
                let mut flushes = 0;
                let mut done = false;
                for n in 1..=4_u64 {
                    // A payment that the cut takes with it was never told.
                    let paid = pair.pay(&[(0, n), (1, 2 * n)]);
                    for to in [BUYER, SELLER, BUYER] {
                        if to == side && flushes == cut && !done {
                            done = true;
                            let before = pair.signed();
                            if !before_the_commit {
                                pair.flush(side);
                            }
                            pair.reboot(side);
                            if pair.signed() < before && paid.is_ok() && side == BUYER {
                                *pair.told.get_mut(&0).unwrap() -= n;
                                *pair.told.get_mut(&1).unwrap() -= 2 * n;
                            }
                        }
                        flushes += usize::from(to == side);
                        pair.flush(to);
                        while pair.deliver(1 - to, 0).is_some() {}
                    }
                    if pair.buyer().front(pair.stage.outpoint).is_err() {
                        pair.heal();
                    }
                }
                if !done {
                    break;
                }
                cuts += 1;
                pair.heal();
                pair.check_lanes();
            }
        }
    }
    std::println!("{cuts} cuts");
    assert!(cuts >= 16);
}
