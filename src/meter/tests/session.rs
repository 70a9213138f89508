//! The session's rules one by one, and the whole state x input matrix.

use super::*;

/// The seller or buyer of a 10 msat tariff in each of the four states.
fn in_state(role: Role, state: State) -> Session {
    let mut session = started(role, flat());
    let deliver = |session: &mut Session, total| match role {
        Role::Seller => meter(session, T0, total),
        Role::Buyer { .. } => {
            meter(session, T0, total).unwrap();
            claim(session, T0, T0, total, 0)
        }
    };
    match state {
        State::Offered => session = offered(role, flat()),
        State::Active => {
            deliver(&mut session, 10).unwrap();
        }
        State::Paused => {
            assert_eq!(deliver(&mut session, 11), Ok(Some(State::Paused)));
        }
        State::Ended => {
            step(&mut session, T0, Input::End { at: utc(T0) }).unwrap();
        }
    }
    session.accept_tariff(flat().with_fees(msat(0), msat(1)).unwrap()).unwrap();
    session
}

#[test]
fn every_state_takes_and_refuses_the_inputs_of_its_table() {
    let other = flat().with_fees(msat(0), msat(1)).unwrap().hash();
    let mut printed = String::new();
    let mut cells = 0;
    for role in [Role::Seller, buyer()] {
        for state in [State::Offered, State::Active, State::Paused, State::Ended] {
            let session = in_state(role, state);
            let total = units(session.record().quantity().to_u64() + 1);
            let inputs = [
                Input::Start { at: utc(T0), tariff: flat().hash() },
                Input::Meter { total },
                Input::Claim { at: utc(T0), total, idle: Seconds::MIN },
                Input::Paid { total: session.owed() },
                Input::Change { at: utc(T0), tariff: other },
                Input::End { at: utc(T0) },
            ];
            let side = if role == Role::Seller { "seller" } else { "buyer " };
            printed.extend([side, " ", &format!("{state:?}"), ":"]);
            for input in inputs {
                let mut session = session.clone();
                let cell = match step(&mut session, T0, input) {
                    Ok(_) => format!(" {:?}", session.record().state()),
                    Err(MeterError::WrongState { .. }) => " -".to_owned(),
                    Err(MeterError::WrongRole { .. }) => " role".to_owned(),
                    Err(MeterError::ServicePaused { .. }) => " debt".to_owned(),
                    Err(error) => format!(" {error}"),
                };
                printed.push_str(&cell);
                cells += 1;
            }
            printed += "\n";
        }
    }
    println!("Start Meter Claim Paid Change End, {cells} cells\n{printed}");
    assert_eq!(cells, 2 * 4 * 6);
    assert_eq!(
        printed,
        "seller Offered: Active - role - - Ended\n\
         seller Active: - Paused role Active Active Ended\n\
         seller Paused: - debt role Active Paused Ended\n\
         seller Ended: - - role Ended - -\n\
         buyer  Offered: Active - - - - Ended\n\
         buyer  Active: - Active Paused Active Active Ended\n\
         buyer  Paused: - Paused debt Active Paused Ended\n\
         buyer  Ended: - Ended Ended Ended - -\n"
    );
}

#[test]
fn service_pauses_above_the_credit_and_resumes_at_it() {
    let mut seller = started(Role::Seller, flat());
    assert_eq!(meter(&mut seller, T0, 10), Ok(None));
    assert_eq!(seller.debt(), msat(100));
    assert!(!seller.may_deliver(utc(T0), units(1)).unwrap());
    assert_eq!(meter(&mut seller, T0, 11), Ok(Some(State::Paused)));
    let refused = MeterError::ServicePaused { debt: msat(110), credit: msat(100) };
    assert_eq!(meter(&mut seller, T0, 12), Err(refused));
    assert_eq!(paid(&mut seller, T0, 9), Ok(None));
    assert_eq!(paid(&mut seller, T0, 10), Ok(Some(State::Active)));
    assert_eq!(
        paid(&mut seller, T0, 9),
        Err(MeterError::PaidBackwards { got: msat(9), last: msat(10) })
    );
}

#[test]
fn fees_are_owed_from_the_start_and_pause_a_session_that_gives_less_credit() {
    let tariff = flat().with_fees(msat(40), msat(100)).unwrap();
    let mut seller = started(Role::Seller, tariff.clone());
    assert_eq!((seller.owed(), seller.record().state()), (msat(100), State::Active));
    meter(&mut seller, T0, 6).unwrap();
    assert_eq!(seller.owed(), msat(100));
    meter(&mut seller, T0, 7).unwrap();
    assert_eq!(seller.owed(), msat(110));
    let dearer = tariff.with_fees(msat(40), msat(101)).unwrap();
    assert_eq!(started(Role::Seller, dearer).record().state(), State::Paused);
}

#[test]
fn buyer_refuses_to_be_ahead_by_more_than_the_prepayment() {
    let mut payer = started(buyer(), flat());
    assert_eq!(payer.pay_to(), msat(50));
    assert_eq!(paid(&mut payer, T0, 50), Ok(None));
    let ahead = MeterError::PrepayExceeded { paid: msat(51), owed: msat(0), prepay: msat(50) };
    assert_eq!(paid(&mut payer, T0, 51), Err(ahead));
    assert_eq!(payer.ahead(), msat(50));
    step(&mut payer, T0, Input::End { at: utc(T0) }).unwrap();
    // A repeated payment is harmless, a further one is not owed.
    assert_eq!(paid(&mut payer, T0, 50), Ok(None));
    assert!(paid(&mut payer, T0, 51).is_err());
    assert_eq!(payer.pay_to(), msat(50));
}

#[test]
fn buyer_never_owes_or_pays_above_its_budget() {
    let mut payer = started(buyer(), flat());
    meter(&mut payer, T0, 200).unwrap();
    for total in (10..=100).step_by(10) {
        claim(&mut payer, T0, T0, total, 0).unwrap();
        let due = payer.pay_to().to_msat();
        paid(&mut payer, T0, due).unwrap();
    }
    assert_eq!((payer.owed(), payer.pay_to()), (msat(1_000), msat(1_000)));
    let over = MeterError::BudgetExceeded { amount: msat(1_010), budget: msat(1_000) };
    assert_eq!(claim(&mut payer, T0, T0, 101, 0), Err(over));
    let over = MeterError::BudgetExceeded { amount: msat(1_001), budget: msat(1_000) };
    assert_eq!(paid(&mut payer, T0, 1_001), Err(over));
    let dear = flat().with_fees(msat(1_001), msat(0)).unwrap();
    let start = Input::Start { at: utc(T0), tariff: dear.hash() };
    assert!(step(&mut offered(buyer(), dear), T0, start).is_err());
}

#[test]
fn buyer_takes_what_its_own_meter_bears_out_and_one_unit_more_is_refused() {
    let mut payer = started(buyer(), flat());
    // Before its own meter has counted: the slack alone.
    claim(&mut payer, T0, T0, 5, 0).unwrap();
    let refused =
        MeterError::ToleranceExceeded { claimed: units(6), measured: units(0), allowed: units(5) };
    assert_eq!(claim(&mut payer, T0, T0, 6, 0), Err(refused));
    // 19 + floor(1.9) + 5 = 25.
    meter(&mut payer, T0, 19).unwrap();
    paid(&mut payer, T0, 100).unwrap();
    assert!(claim(&mut payer, T0, T0, 26, 0).is_err());
    assert!(payer.tick(utc(T0), utc(T0), units(21)).is_err());
    assert!(payer.tick(utc(T0), utc(T0), units(1)).is_ok());
    assert!(payer.tick(utc(T0), utc(T0), units(19)).is_ok());
    let back = MeterError::MeterBackwards { got: units(18), last: units(19) };
    assert_eq!(meter(&mut payer, T0, 18), Err(back));
}

#[test]
fn stamp_within_the_skew_counts_and_one_second_more_is_refused() {
    for sign in [-1_i64, 1] {
        let mut payer = started(buyer(), flat());
        let now = T0 + 1_000;
        let stamp = |away: i64| now.checked_add_signed(sign * away).unwrap();
        let refused =
            MeterError::SkewTooLarge { got: utc(stamp(31)), now: utc(now), allowed: secs(30) };
        assert_eq!(claim(&mut payer, now, stamp(31), 1, 0), Err(refused));
        assert_eq!(claim(&mut payer, now, stamp(30), 1, 0), Ok(None));
    }
    let mut seller = started(Role::Seller, flat());
    assert!(seller.tick(utc(T0 + 1), utc(T0 + 2), units(1)).is_err());
    assert!(step(&mut seller, T0 + 1, Input::End { at: utc(T0 + 2) }).is_err());
}

#[test]
fn time_and_meter_that_run_backwards_are_refused_on_both_sides() {
    let mut seller = started(Role::Seller, flat());
    let mut payer = started(buyer(), flat());
    meter(&mut seller, T0 + 5, 3).unwrap();
    claim(&mut payer, T0 + 5, T0 + 5, 3, 0).unwrap();
    let time = MeterError::TimeBackwards { got: utc(T0 + 4), last: utc(T0 + 5) };
    let back = MeterError::MeterBackwards { got: units(2), last: units(3) };
    assert_eq!(meter(&mut seller, T0 + 4, 3), Err(time));
    assert_eq!(meter(&mut seller, T0 + 5, 2), Err(back));
    assert_eq!(claim(&mut payer, T0 + 5, T0 + 4, 3, 0), Err(time));
    assert_eq!(claim(&mut payer, T0 + 5, T0 + 5, 2, 0), Err(back));
    let end = Input::End { at: utc(T0 + 4) };
    assert_eq!(step(&mut seller, T0 + 4, end), Err(time));
}

#[test]
fn repeated_reading_changes_nothing() {
    let mut payer = started(buyer(), flat().with_idle(price(1, 1), secs(0)).unwrap());
    claim(&mut payer, T0 + 5, T0 + 5, 3, 0).unwrap();
    claim(&mut payer, T0 + 9, T0 + 9, 3, 4).unwrap();
    let before = payer.clone();
    claim(&mut payer, T0 + 9, T0 + 9, 3, 4).unwrap();
    assert_eq!(payer, before);
}

#[test]
fn idle_time_begins_after_the_grace_and_stops_while_paused() {
    let tariff = flat().with_idle(price(1, 1), secs(60)).unwrap();
    let mut seller = started(Role::Seller, tariff);
    meter(&mut seller, T0 + 10, 1).unwrap();
    meter(&mut seller, T0 + 70, 1).unwrap();
    assert_eq!(seller.owed(), msat(10));
    meter(&mut seller, T0 + 71, 1).unwrap();
    assert_eq!(seller.owed(), msat(11));
    assert_eq!(meter(&mut seller, T0 + 161, 1), Ok(Some(State::Paused)));
    assert_eq!(seller.owed(), msat(101));
    paid(&mut seller, T0 + 1_000, 101).unwrap();
    meter(&mut seller, T0 + 1_060, 1).unwrap();
    assert_eq!(seller.owed(), msat(101));
    meter(&mut seller, T0 + 1_061, 1).unwrap();
    assert_eq!(seller.owed(), msat(102));
}

#[test]
fn idle_seconds_that_cannot_have_been_are_refused() {
    let tariff = flat().with_idle(price(1, 1), secs(60)).unwrap();
    let mut payer = started(buyer(), tariff);
    meter(&mut payer, T0, 10).unwrap();
    let most = |claimed, most| {
        let [claimed, least, most] = [claimed, 0, most].map(secs);
        Err(MeterError::IdleImpossible { claimed, least, most })
    };
    assert_eq!(claim(&mut payer, T0 + 60, T0 + 60, 0, 1), most(1, 0));
    assert_eq!(claim(&mut payer, T0 + 70, T0 + 70, 0, 11), most(11, 10));
    assert_eq!(claim(&mut payer, T0 + 70, T0 + 70, 1, 11), most(11, 10));
    assert_eq!(claim(&mut payer, T0 + 70, T0 + 70, 0, 10), Ok(None));
    assert_eq!(payer.owed(), msat(10));
    // A seller that forgot idle seconds asks for less: none is given back, and none billed twice.
    assert_eq!(claim(&mut payer, T0 + 71, T0 + 71, 0, 9), Ok(None));
    assert_eq!((payer.owed(), payer.record().idle()), (msat(10), secs(10)));
}

#[test]
fn lost_reading_of_idle_seconds_is_healed_by_the_next() {
    for grace in [0, 60] {
        let tariff = flat().with_idle(price(1, 1), secs(grace)).unwrap();
        let mut seller = started(Role::Seller, tariff.clone());
        let mut payer = started(buyer(), tariff);
        meter(&mut payer, T0, 10).unwrap();
        // Nobody hears of these two.
        meter(&mut seller, T0 + 70, 0).unwrap();
        meter(&mut seller, T0 + 75, 1).unwrap();
        meter(&mut seller, T0 + 80, 2).unwrap();
        let idle = seller.record().idle().to_u64();
        assert_eq!(idle, 70 - grace);
        assert_eq!(claim(&mut payer, T0 + 80, T0 + 80, 2, idle), Ok(None));
        assert_eq!(payer.owed(), seller.owed());
    }
}

#[test]
fn price_changes_only_to_an_accepted_tariff_and_what_is_owed_stays() {
    let old = Tariff::flat(Measure::Item, price(10, 3)).unwrap();
    let new = Tariff::flat(Measure::Item, price(20, 1)).unwrap();
    for role in [Role::Seller, buyer()] {
        let mut session = started(role, old.clone());
        let deliver = |session: &mut Session, total| match role {
            Role::Seller => meter(session, T0 + 1, total),
            Role::Buyer { .. } => claim(session, T0 + 1, T0 + 1, total, 0),
        };
        deliver(&mut session, 2).unwrap();
        let change = Input::Change { at: utc(T0 + 1), tariff: new.hash() };
        let unknown = MeterError::TariffUnknown { got: new.hash() };
        assert_eq!(step(&mut session, T0 + 1, change), Err(unknown));
        let bytes = Tariff::flat(Measure::Byte, price(1, 1)).unwrap();
        assert!(matches!(session.accept_tariff(bytes), Err(MeterError::MeasureChanged { .. })));
        session.accept_tariff(new.clone()).unwrap();
        assert_eq!(session.record().tariff(), old.hash());
        step(&mut session, T0 + 1, change).unwrap();
        step(&mut session, T0 + 1, change).unwrap();
        // floor(20 / 3), then 20 for one more: the third of the old rest is dropped.
        deliver(&mut session, 3).unwrap();
        assert_eq!((session.owed(), session.record().tariff()), (msat(26), new.hash()));
    }
}

#[test]
fn tariff_counts_to_the_last_second_of_its_validity() {
    let tariff = flat().with_validity(utc(T0), utc(T0 + 10)).unwrap();
    let start = |at| Input::Start { at: utc(at), tariff: tariff.hash() };
    let mut seller = offered(Role::Seller, tariff.clone());
    assert!(step(&mut seller, T0 - 1, start(T0 - 1)).is_err());
    assert!(step(&mut seller, T0 + 10, start(T0 + 10)).is_err());
    step(&mut seller, T0, start(T0)).unwrap();
    meter(&mut seller, T0 + 9, 1).unwrap();
    seller.tick(utc(T0 + 9), utc(T0 + 9), units(1)).unwrap();
    let over = MeterError::TariffNotValid { at: utc(T0 + 10), from: utc(T0), to: utc(T0 + 10) };
    assert_eq!(seller.tick(utc(T0 + 10), utc(T0 + 10), units(1)), Err(over));
    assert!(step(&mut seller, T0 + 10, Input::End { at: utc(T0 + 10) }).is_ok());
}

#[test]
fn start_under_another_tariff_is_refused() {
    let other = flat().with_fees(msat(1), msat(0)).unwrap().hash();
    let start = Input::Start { at: utc(T0), tariff: other };
    let refused = Err(MeterError::TariffUnknown { got: other });
    assert_eq!(step(&mut offered(buyer(), flat()), T0, start), refused);
}

#[test]
fn cost_above_all_money_is_an_overflow_and_nothing_changes() {
    let mut seller = started(Role::Seller, Tariff::flat(Measure::Item, price(1, 1)).unwrap());
    let all = Msat::MAX.to_msat();
    let mut other = seller.clone();
    assert!(matches!(meter(&mut seller, T0, all + 1), Err(MeterError::Overflow(_))));
    assert!(meter(&mut seller, T0, all).is_ok());
    assert!(other.tick(utc(T0), utc(T0), units(all + 1)).is_err());
    assert_eq!(other.record().quantity(), units(0));
    assert!(other.tick(utc(T0), utc(T0), units(all)).is_ok());
}

#[test]
fn restored_session_goes_on_and_one_under_another_tariff_is_refused() {
    let mut seller = started(Role::Seller, flat());
    meter(&mut seller, T0, 3).unwrap();
    let record = Record::decode(&seller.record().encode()).unwrap();
    let mut again = Session::restore(&record, flat()).unwrap();
    assert_eq!(again, seller);
    meter(&mut again, T0, 4).unwrap();
    let other = flat().with_fees(msat(1), msat(0)).unwrap();
    let unknown = Err(MeterError::TariffUnknown { got: flat().hash() });
    assert_eq!(Session::restore(&record, other), unknown);
    let mut foreign = Session::offer(SessionId::new(8).unwrap(), Role::Seller, window(), flat());
    assert_eq!(foreign.apply(&record), Err(MeterError::Misfit { field: "session" }));
}

#[test]
fn buyer_takes_a_statement_that_says_no_more_than_it_counted() {
    let mut payer = started(buyer(), flat());
    claim(&mut payer, T0 + 5, T0 + 5, 3, 0).unwrap();
    paid(&mut payer, T0 + 5, 40).unwrap();
    assert!(matches!(payer.statement([1; 32], 0), Err(MeterError::WrongState { .. })));
    step(&mut payer, T0 + 5, Input::End { at: utc(T0 + 5) }).unwrap();
    let own = payer.statement([1; 32], 0).unwrap();
    assert_eq!((own.owed, own.paid, own.quantity), (msat(30), msat(40), units(3)));
    let check = |change: fn(&mut Statement)| {
        let mut stated = own;
        change(&mut stated);
        payer.check_statement(&stated, [1; 32], 0)
    };
    assert_eq!(check(|_| ()), Ok(()));
    assert_eq!(check(|stated| stated.end = utc(T0 + 35)), Ok(()));
    assert_eq!(check(|stated| stated.owed = msat(29)), Ok(()));
    let more = MeterError::StatementDiffers { field: "owed", got: 31, own: 30 };
    assert_eq!(check(|stated| stated.owed = msat(31)), Err(more));
    assert!(check(|stated| stated.paid = msat(41)).is_err());
    assert!(check(|stated| stated.quantity = units(4)).is_err());
    assert!(check(|stated| stated.idle = secs(1)).is_err());
    assert_eq!(check(|stated| stated.vout = 1), Err(MeterError::Misfit { field: "channel" }));
    assert!(check(|stated| stated.txid = [2; 32]).is_err());
    assert!(check(|stated| stated.start = utc(T0 + 1)).is_err());
    assert!(check(|stated| stated.session = SessionId::new(8).unwrap()).is_err());
    assert!(check(|stated| stated.tariff = TariffHash([0; 32])).is_err());
}

#[test]
fn statement_is_verified_against_the_sellers_base_key_and_every_bit() {
    use crate::keys::{BaseKey, Context, Entropy};
    let mut seller = started(Role::Seller, flat());
    step(&mut seller, T0, Input::End { at: utc(T0) }).unwrap();
    let statement = seller.statement([1; 32], 0).unwrap();
    let context = Context::new();
    let base = BaseKey::from_secret(&context, &[7; 32]).unwrap();
    let other = BaseKey::from_secret(&context, &[8; 32]).unwrap();
    let signature = base.pair().sign(&context, statement.digest(), &Entropy::new([0; 32]));
    assert_eq!(statement.verify(&context, base.public(), &signature), Ok(()));
    let refused = Err(MeterError::BadSignature { session: statement.session });
    assert_eq!(statement.verify(&context, other.public(), &signature), refused);
    let mut changed = statement;
    changed.owed = msat(1);
    assert_eq!(changed.verify(&context, base.public(), &signature), refused);
}

#[test]
fn buyer_restarted_from_an_older_record_catches_up_without_a_wedge() {
    let mut payer = started(buyer(), flat());
    meter(&mut payer, T0, 30).unwrap();
    // The stored record is paused, the lost ones went on to 270 msat paid.
    claim(&mut payer, T0, T0, 11, 0).unwrap();
    let stored = *payer.record();
    let mut payer = Session::restore(&stored, flat()).unwrap();
    assert!(matches!(paid(&mut payer, T0, 270), Err(MeterError::PrepayExceeded { .. })));
    let due = payer.pay_to().to_msat().min(270);
    assert_eq!(paid(&mut payer, T0, due), Ok(Some(State::Active)));
    assert_eq!(claim(&mut payer, T0, T0, 25, 0), Ok(None));
    assert_eq!(paid(&mut payer, T0, 270), Ok(None));
    assert_eq!(payer.ahead(), msat(20));
}
