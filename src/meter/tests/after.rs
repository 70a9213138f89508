//! M9: claims after the end.

use super::*;

fn end(session: &mut Session, at: u64) {
    assert_eq!(step(session, at, Input::End { at: utc(at) }), Ok(Some(State::Ended)));
}

#[test]
fn buyer_takes_after_the_end_what_its_meter_bears_out_and_no_more() {
    let mut payer = started(buyer(), flat());
    meter(&mut payer, T0, 10).unwrap();
    claim(&mut payer, T0 + 5, T0 + 5, 4, 0).unwrap();
    end(&mut payer, T0 + 20);
    // Made before the end, and heard long after it.
    assert_eq!(claim(&mut payer, T0 + 300, T0 + 19, 8, 0), Ok(None));
    assert_eq!((payer.owed(), payer.record().at()), (msat(80), utc(T0 + 20)));
    let early = MeterError::TimeBackwards { got: utc(T0 + 18), last: utc(T0 + 19) };
    assert_eq!(claim(&mut payer, T0 + 300, T0 + 18, 9, 0), Err(early));
    let (got, now, allowed) = (utc(T0 + 331), utc(T0 + 300), secs(30));
    let of_the_future = MeterError::SkewTooLarge { got, now, allowed };
    assert_eq!(claim(&mut payer, T0 + 300, T0 + 331, 9, 0), Err(of_the_future));
    // A tenth and 5 above its own 10.
    let (claimed, measured, allowed) = (units(17), units(10), units(16));
    let above = MeterError::ToleranceExceeded { claimed, measured, allowed };
    assert_eq!(claim(&mut payer, T0 + 300, T0 + 300, 17, 0), Err(above));
    // The seller served on: its own meter says so too. No pause after the end.
    meter(&mut payer, T0 + 300, 11).unwrap();
    assert_eq!(claim(&mut payer, T0 + 300, T0 + 300, 17, 0), Ok(None));
    assert_eq!((payer.pay_to(), payer.record().at()), (msat(170), utc(T0 + 20)));
    paid(&mut payer, T0 + 301, 170).unwrap();
    assert_eq!(payer.debt(), Msat::ZERO);
}

#[test]
fn idle_seconds_claimed_after_the_end_are_counted_once() {
    for grace in [0, 60] {
        let tariff = flat().with_idle(price(1, 1), secs(grace)).unwrap();
        let mut payer = started(buyer(), tariff);
        let billed = 70 - grace;
        claim(&mut payer, T0 + 70, T0 + 70, 0, billed).unwrap();
        end(&mut payer, T0 + 100);
        let twice = MeterError::IdleImpossible {
            claimed: secs(billed + 21),
            least: secs(billed),
            most: secs(billed + 20),
        };
        assert_eq!(claim(&mut payer, T0 + 101, T0 + 90, 0, billed + 21), Err(twice), "{grace}");
        assert_eq!(claim(&mut payer, T0 + 101, T0 + 90, 0, billed + 20), Ok(None));
        assert!(claim(&mut payer, T0 + 101, T0 + 95, 0, billed + 26).is_err(), "{grace}");
        assert_eq!(claim(&mut payer, T0 + 101, T0 + 95, 0, billed + 25), Ok(None));
        assert_eq!(payer.owed(), msat(billed + 25));
    }
}

#[test]
fn start_that_comes_after_the_end_is_owed_once() {
    let tariff = flat().with_fees(msat(40), msat(0)).unwrap();
    let mut payer = offered(buyer(), tariff.clone());
    let start = |at| Input::Start { at: utc(at), tariff: tariff.hash() };
    end(&mut payer, T0 + 3);
    // Nothing is claimed of what has not begun.
    assert!(claim(&mut payer, T0 + 3, T0 + 3, 1, 0).is_err());
    assert_eq!(step(&mut payer, T0 + 4, start(T0 + 2)), Ok(None));
    assert_eq!((payer.owed(), payer.record().at()), (msat(40), utc(T0 + 3)));
    assert_eq!(payer.record().started(), utc(T0 + 2));
    assert!(step(&mut payer, T0 + 4, start(T0 + 2)).is_err());
    assert_eq!(claim(&mut payer, T0 + 4, T0 + 3, 1, 0), Ok(None));
    assert_eq!(payer.owed(), msat(50));
}

#[test]
fn idle_seconds_after_the_end_and_the_skew_are_refused_however_late_they_are_stamped() {
    for grace in [0, 60] {
        let tariff = flat().with_idle(price(1, 1), secs(grace)).unwrap();
        let mut payer = started(buyer(), tariff.clone());
        end(&mut payer, T0 + 100);
        // Up to the end, and the 30 seconds by which the clocks may differ.
        let most = 130 - grace;
        for at in [T0 + 130, T0 + 5_000] {
            let claimed = secs(most + 1);
            let least = payer.record().idle();
            let above = MeterError::IdleImpossible { claimed, least, most: secs(most) };
            assert_eq!(claim(&mut payer, T0 + 5_000, at, 0, most + 1), Err(above), "{grace}");
            assert_eq!(claim(&mut payer, T0 + 5_000, at, 0, most), Ok(None), "{grace}");
            // What is stored bills no more after a restart.
            payer = Session::restore(payer.record(), tariff.clone()).unwrap();
        }
        // Nor does a delivery that the own meter bears out open the time after it again.
        meter(&mut payer, T0 + 5_000, 3).unwrap();
        assert_eq!(claim(&mut payer, T0 + 5_000, T0 + 5_000, 3, most), Ok(None));
        assert!(claim(&mut payer, T0 + 9_000, T0 + 9_000, 3, most + 1).is_err(), "{grace}");
        assert_eq!((payer.owed(), payer.record().at()), (msat(30 + most), utc(T0 + 100)));
    }
}

#[test]
fn sellers_later_end_moves_the_own_one_of_no_side_and_may_be_stated() {
    for mut session in [started(buyer(), flat()), started(Role::Seller, flat())] {
        end(&mut session, T0 + 10);
        assert!(step(&mut session, T0 + 100, Input::End { at: utc(T0 + 50) }).is_err());
        assert_eq!(session.record().at(), utc(T0 + 10));
    }
    let mut payer = started(buyer(), flat());
    let mut stated = started(Role::Seller, flat());
    end(&mut payer, T0 + 10);
    end(&mut stated, T0 + 131);
    let stated = stated.statement([1; 32], 0).unwrap();
    assert_eq!(payer.check_statement(&stated, [1; 32], 0), Ok(()));
    assert_eq!(payer.check_stated_end(utc(T0 + 101), &stated), Ok(()));
    let (field, got, own) = ("end", T0 + 131, T0 + 130);
    let of_the_future = MeterError::StatementDiffers { field, got, own };
    assert_eq!(payer.check_stated_end(utc(T0 + 100), &stated), Err(of_the_future));
}

#[test]
fn start_stamped_after_the_own_end_bills_no_idle_time_beyond_it() {
    // The buyer ended at 100, and the clocks may differ by 30: idle time counts up to 130.
    for (start, most) in [(90, 40), (110, 20), (129, 1), (130, 0), (400, 0)] {
        let tariff = flat().with_idle(price(1, 1), Seconds::MIN).unwrap();
        let mut payer = offered(buyer(), tariff.clone());
        end(&mut payer, T0 + 100);
        let begin = Input::Start { at: utc(T0 + start), tariff: tariff.hash() };
        assert_eq!(step(&mut payer, T0 + start, begin), Ok(None));
        assert_eq!(
            (payer.record().started(), payer.record().at()),
            (utc(T0 + start), utc(T0 + 100))
        );
        let now = T0 + 1_000;
        assert!(claim(&mut payer, now, now, 0, most + 1).is_err(), "{start}");
        assert_eq!(claim(&mut payer, now, now, 0, most), Ok(None), "{start}");
        assert!(claim(&mut payer, now, now, 0, most + 1).is_err(), "{start}");
        // What was delivered is owed, whenever it began.
        assert_eq!(claim(&mut payer, now, now, 4, most), Ok(None), "{start}");
        assert_eq!(payer.owed(), msat(40 + most));
        assert_eq!(Record::decode(&payer.record().encode()), Ok(*payer.record()));
    }
}
