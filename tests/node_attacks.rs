//! The node against hostile strangers, lost messages, power cuts and callers that repeat
//! themselves: each test is one attack or failure, on machines of a small world.

#[path = "node_attacks/street.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod street;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Txid};
use millstream::meter::State;
use millstream::node::{Command, Event, Input, LinkId, NodeError, Now};
use millstream::sim::world::WorldError;
use millstream::store::MemoryStore;
use millstream::stream::StreamError;
use millstream::stream::payer::Ending;
use millstream::units::{ChannelAlias, Msat, Seconds, UtcSeconds};
use millstream::wire::{
    self, Change, Message, Refusal, Resume, SessionEnd, SessionOffer, SessionStart,
};
use street::{Street, blocks, id, msat, sat, tariff};

fn alias(alias: u32) -> ChannelAlias {
    ChannelAlias::new(alias).unwrap()
}

fn is_refused(result: Result<(), NodeError>) -> bool {
    result.is_err()
}

#[test]
fn stranger_that_resumes_a_channel_hears_no_readings_and_ends_no_session() {
    let mut street = Street::in_session();
    let stranger = street.stranger_at(street.station);
    let resume = Resume { alias: alias(9), outpoint: Some(street.outpoint) };
    street.inject(street.station, stranger, resume).unwrap();
    let end = SessionEnd { session: id(7), time: street.time(), quantity: street.quantity() };
    assert!(is_refused(street.inject(street.station, stranger, end)));
    street.tick();
    assert_eq!(street.state(street.station, 7), State::Active);
    assert_eq!(street.paid(), street.owed());
}

#[test]
fn stranger_that_knows_a_session_cannot_take_it_while_its_buyer_is_there() {
    let mut street = Street::in_session();
    let stranger = street.stranger_at(street.station);
    let resume = Resume { alias: alias(9), outpoint: Some(street.outpoint) };
    street.inject(street.station, stranger, resume).unwrap();
    let start = SessionStart {
        session: id(7),
        alias: alias(9),
        offer: Street::offer_message(7).hash(),
        time: street.time(),
    };
    assert!(is_refused(street.inject(street.station, stranger, start)));
    for _ in 0..3 {
        street.tick();
    }
    assert_eq!(street.paid(), street.owed());
}

#[test]
fn stranger_cannot_have_its_session_paid_from_another_payers_channel() {
    let mut street = Street::open();
    let stranger = street.stranger_at(street.station);
    let resume = Resume { alias: alias(9), outpoint: Some(street.outpoint) };
    street.inject(street.station, stranger, resume).unwrap();
    street.offer(stranger, 8);
    let start = SessionStart {
        session: id(8),
        alias: alias(9),
        offer: Street::offer_message(8).hash(),
        time: street.time(),
    };
    assert!(is_refused(street.inject(street.station, stranger, start)));
}

#[test]
fn offers_of_a_stranger_are_bounded_and_take_no_place_of_others() {
    let mut street = Street::open();
    let stranger = street.stranger_at(street.car);
    let mut taken = 0;
    for session in 0..2_000 {
        let offer = SessionOffer {
            session: id(session),
            tariff_hash: tariff().hash().0,
            credit: msat(1),
            prepay: Msat::ZERO,
            skew: Seconds::MIN,
            tolerance: millstream::units::Ppm::MIN,
            tariff: Some(wire::Bytes::new(tariff().encode()).unwrap()),
        };
        taken += u32::from(street.inject(street.car, stranger, offer).is_ok());
    }
    assert!(taken <= 16, "{taken} offers kept");
    street.start_session(7);
    street.tick();
    assert_eq!(street.paid(), street.owed());
}

#[test]
fn openings_shown_on_one_link_are_bounded_and_forgotten_with_it() {
    let mut street = Street::open();
    let (first, second) = (street.stranger_at(street.station), street.stranger_at(street.station));
    let open = street.open_message();
    let flood = |street: &mut Street, link| {
        let shown = (0..1_000_u32).filter(|n| {
            let txid = Txid::from_byte_array([(n % 251) as u8; 32]);
            let outpoint = OutPoint { txid, vout: *n };
            let open = wire::Open { outpoint, alias: alias(*n), ..open.clone() };
            street.inject(street.station, link, open).is_ok()
        });
        shown.count()
    };
    let shown = flood(&mut street, first);
    assert!((1..=64).contains(&shown), "{shown} openings wait");
    assert_eq!(flood(&mut street, second), shown);
    street.handle(street.station, Input::Disconnected(first)).unwrap();
    let third = street.stranger_at(street.station);
    assert_eq!(flood(&mut street, third), shown);
}

#[test]
fn channel_shown_by_two_links_before_the_chain_answers_is_answered_on_both() {
    let mut street = Street::unopened();
    let other = street.stranger_at(street.station);
    let open = street.open_message();
    street.inject(street.station, street.link, open.clone()).unwrap();
    street.inject(street.station, other, open).unwrap();
    let sends = street.flush(street.station);
    for link in [street.link, other] {
        let answered = sends.iter().any(|(to, message)| {
            *to == link && matches!(message, Message::Accepted(_) | Message::Best(_))
        });
        assert!(answered, "{link:?}: {sends:?}");
    }
}

#[test]
fn change_script_squatted_before_the_first_voucher_is_named_anew() {
    let mut street = Street::unopened();
    let other = street.stranger_at(street.station);
    let open = street.open_message();
    let squatted = wire::Open { change: Change::P2tr(open.payer.serialize()), ..open.clone() };
    street.inject(street.station, other, squatted).unwrap();
    let _ = street.flush(street.station);
    street.show();
    street.start_session(7);
    street.tick();
    assert_eq!(street.paid(), street.owed());
    assert!(street.paid() > Msat::ZERO);
}

#[test]
fn funding_told_twice_leaves_what_was_signed() {
    let mut street = Street::in_session();
    let signed = street.signed();
    assert!(signed > Msat::ZERO);
    let fund = street.fund_command(Some(street.link));
    street.world.command(street.car, fund).unwrap();
    assert_eq!(street.signed(), signed);
    street.world.settle_down().unwrap();
    assert_eq!(street.signed(), signed);
    street.tick();
    assert_eq!(street.paid(), street.owed());
}

#[test]
fn funding_for_a_link_that_is_not_there_leaves_nothing_behind() {
    let mut street = Street::unfunded();
    let fund = street.fund_command(Some(LinkId(99)));
    assert!(street.world.command(street.car, fund).is_err());
    assert_eq!(street.world.end(street.car).unwrap().node().payers().count(), 0);
    let outbox = street.flush(street.car);
    assert!(outbox.is_empty());
    // The room's own records (backups, lines of descent), and the payer's.
    assert_eq!(street.records(street.car, &[0x01]) + street.records(street.car, &[0x03]), 0);
}

#[test]
fn funding_of_another_amount_script_or_index_is_refused_and_leaves_nothing_behind() {
    let mut street = Street::unfunded();
    let spoilt: [fn(&mut bitcoin::Transaction, &mut u32); 3] = [
        |funding, vout| funding.output[*vout as usize].value += bitcoin::Amount::ONE_SAT,
        |funding, vout| funding.output[*vout as usize].script_pubkey = bitcoin::ScriptBuf::new(),
        |funding, vout| *vout = u32::try_from(funding.output.len()).unwrap(),
    ];
    for spoil in spoilt {
        let mut fund = street.fund_command(Some(street.link));
        let Command::Fund { funding, vout, .. } = &mut fund else { panic!("{fund:?}") };
        spoil(funding, vout);
        let refused = WorldError::Node(NodeError::WrongFunding { vout: *vout });
        assert_eq!(street.world.command(street.car, fund), Err(refused));
        assert_eq!(street.world.end(street.car).unwrap().node().payers().count(), 0);
        assert!(street.flush(street.car).is_empty());
        assert_eq!(street.records(street.car, &[0x01]) + street.records(street.car, &[0x03]), 0);
    }
    let good = street.fund_command(Some(street.link));
    street.world.command(street.car, good).unwrap();
}

#[test]
fn payments_that_wait_for_one_reservation_add_up() {
    let mut street = Street::open();
    street.open_budget(8);
    for _ in 0..2 {
        let pay = Command::Pay {
            outpoint: street.outpoint,
            more: msat(1_000),
            session: id(8),
            ending: Ending::KeepsChange,
        };
        street.world.command(street.car, pay).unwrap();
    }
    street.world.settle_down().unwrap();
    assert_eq!(street.signed(), msat(2_000));
}

#[test]
fn clock_that_steps_back_does_not_keep_a_payee_from_answering() {
    let mut street = Street::open();
    let back = UtcSeconds::new(street.time().to_u64() - 3_600).unwrap();
    let now = Now { time: back, aux: street.world.now().aux };
    let link = street.link;
    let node = street.world.end_mut(street.station).unwrap().node_mut();
    node.handle(&now, Input::Received(link, wire::TermsQuery {}.into())).unwrap();
    let outbox = node.flush(&now, &mut MemoryStore::default()).unwrap();
    assert_eq!(outbox.sends.len(), 1);
}

#[test]
fn clock_that_steps_back_does_not_keep_a_session_from_ending() {
    let mut street = Street::in_session();
    let back = UtcSeconds::new(street.time().to_u64() - 3_600).unwrap();
    let now = Now { time: back, aux: street.world.now().aux };
    for end in [street.station, street.car] {
        let node = street.world.end_mut(end).unwrap().node_mut();
        node.handle(&now, Input::Do(Command::EndSession(id(7)))).unwrap();
        assert_eq!(street.state(end, 7), State::Ended);
    }
}

#[test]
fn channel_pays_one_session_at_a_time() {
    let mut street = Street::in_session();
    street.offer(street.link, 8);
    street.world.settle_down().unwrap();
    assert!(street.accept(8).is_err());
    // If the payer says that it takes another one, the seller ends the first.
    let start = SessionStart {
        session: id(8),
        alias: alias(0),
        offer: Street::offer_message(8).hash(),
        time: street.time(),
    };
    street.inject(street.station, street.link, start).unwrap();
    assert_eq!(street.state(street.station, 7), State::Ended);
    assert_eq!(street.state(street.station, 8), State::Active);
}

#[test]
fn session_of_a_lower_number_after_another_is_paid_and_stated() {
    let mut street = Street::in_session();
    street.end_session(7);
    street.start_session(3);
    street.session = 3;
    street.reset_meter();
    for _ in 0..5 {
        street.tick();
    }
    street.end_session(3);
    let agreed = street.statements();
    assert_eq!(agreed.iter().map(|s| s.session).collect::<Vec<_>>(), [id(7), id(3)]);
    assert!(agreed.iter().all(|statement| statement.owed == statement.paid));
}

#[test]
fn payment_outside_the_meter_repeats_no_statement() {
    let mut street = Street::in_session();
    street.end_session(7);
    assert_eq!(street.statements().len(), 1);
    street.open_budget(8);
    for _ in 0..3 {
        let pay = Command::Pay {
            outpoint: street.outpoint,
            more: msat(1_000),
            session: id(8),
            ending: Ending::KeepsChange,
        };
        street.world.command(street.car, pay).unwrap();
        street.world.settle_down().unwrap();
    }
    let events = street.world.take_events(street.car).unwrap();
    let noise =
        |event: &&Event| matches!(event, Event::StatementAgreed { .. } | Event::Misbehaved { .. });
    assert_eq!(events.iter().filter(noise).count(), 0, "{events:?}");
}

#[test]
fn sessions_that_are_settled_do_not_pile_up() {
    let mut street = Street::open();
    for session in 0..80 {
        street.start_session(session);
        street.session = session;
        street.reset_meter();
        street.tick();
        street.end_session(session);
        street.world.pass(Seconds::new(1).unwrap()).unwrap();
    }
    for end in [street.car, street.station] {
        let kept = street.records(end, &[0x05]);
        assert!(kept <= 65, "{kept} sessions kept");
    }
}

#[test]
fn session_is_forgotten_when_its_owner_says_so() {
    let mut street = Street::in_session();
    let forget = || Command::ForgetSession(id(7));
    assert!(street.world.command(street.car, forget()).is_err(), "it still runs");
    street.end_session(7);
    for end in [street.car, street.station] {
        street.world.command(end, forget()).unwrap();
        street.world.settle_down().unwrap();
        assert_eq!(street.records(end, &[0x05]), 0);
        assert!(street.world.end(end).unwrap().node().session(id(7)).is_none());
    }
}

#[test]
fn offer_tells_the_buyer_what_it_would_risk() {
    let mut street = Street::open();
    street.offer(street.link, 7);
    street.world.settle_down().unwrap();
    let events = street.world.take_events(street.car).unwrap();
    let offered = events.iter().find_map(|event| match event {
        Event::SessionOffered { window, skew, tolerance, .. } => {
            Some((window.credit, window.prepay, *skew, tolerance.to_ppm()))
        }
        _ => None,
    });
    let five = Seconds::new(5).unwrap();
    assert_eq!(offered, Some((msat(5_000_000), Msat::ZERO, five, 25_000)));
}

#[test]
fn session_is_not_taken_before_a_restarted_payer_knows_what_it_signed() {
    let mut street = Street::in_session();
    street.end_session(7);
    street.world.reboot(street.car).unwrap();
    street.link = street.world.connect(street.car, street.station).unwrap();
    street.offer(street.link, 8);
    street.world.settle_down().unwrap();
    assert!(street.accept(8).is_err());
    street.attach();
    street.accept(8).unwrap();
    street.world.settle_down().unwrap();
    (street.session, street.total) = (8, 0);
    street.tick();
    assert_eq!(street.paid(), street.owed());
}

#[test]
fn session_ended_while_apart_is_ended_and_stated_on_meeting_again() {
    for who in 0..2 {
        let mut street = Street::in_session();
        street.world.disconnect(street.link).unwrap();
        let end = if who == 0 { street.station } else { street.car };
        street.world.command(end, Command::EndSession(id(7))).unwrap();
        street.world.pass(Seconds::new(60).unwrap()).unwrap();
        street.world.settle_down().unwrap();
        street.reconnect();
        for end in [street.car, street.station] {
            assert_eq!(street.state(end, 7), State::Ended, "{who}");
        }
        assert_eq!(street.statements().len(), 1, "{who}: {:?}", street.refusals());
    }
}

#[test]
fn session_taken_just_before_a_cut_starts_on_meeting_again() {
    let mut street = Street::open();
    street.offer(street.link, 7);
    street.world.settle_down().unwrap();
    street.accept(7).unwrap();
    street.world.disconnect(street.link).unwrap();
    street.world.settle_down().unwrap();
    street.world.pass(Seconds::new(60).unwrap()).unwrap();
    street.reconnect();
    street.tick();
    assert!(street.paid() > Msat::ZERO, "{:?}", street.refusals());
    assert_eq!(street.paid(), street.owed());
}

#[test]
fn session_over_a_rollover_survives_a_power_cut_of_either_side() {
    for who in 0..2 {
        let mut street = Street::in_session();
        let before = street.paid();
        street.settle(1_000);
        let end = if who == 0 { street.station } else { street.car };
        street.world.reboot(end).unwrap();
        street.outpoint = street.newest();
        street.reconnect();
        for _ in 0..5 {
            street.tick();
        }
        assert!(street.paid() > before, "{who}: {:?}", street.refusals());
        assert_eq!(street.paid(), street.owed(), "{who}: {:?}", street.refusals());
    }
}

#[test]
fn replaced_settlement_leaves_no_record_behind_across_a_power_cut() {
    let mut street = Street::in_session();
    street.settle(1_000);
    for end in [street.station, street.car] {
        street.world.reboot(end).unwrap();
    }
    street.outpoint = street.first;
    street.settle(3_000);
    street.world.mine(blocks(4));
    street.world.settle_down().unwrap();
    let (car, station) = (street.car, street.station);
    assert_eq!(street.world.end(station).unwrap().node().payees().count(), 1);
    assert_eq!(street.world.end(car).unwrap().node().payers().count(), 1);
    street.outpoint = street.newest();
    street.reconnect();
    for _ in 0..5 {
        street.tick();
    }
    assert_eq!(street.paid(), street.owed(), "{:?}", street.refusals());
}

#[test]
fn top_up_that_is_never_finished_stops_no_session() {
    let mut street = Street::in_session();
    street.top_up(0).unwrap();
    street.world.settle_down().unwrap();
    for _ in 0..10 {
        street.tick();
    }
    assert_eq!(street.paid(), street.owed(), "{:?}", street.refusals());
}

#[test]
fn top_ups_that_are_never_finished_are_bounded_on_both_sides() {
    let mut street = Street::in_session();
    for nth in 0..40 {
        let _refused = street.top_up(nth);
        street.world.settle_down().unwrap();
    }
    for (end, payee) in [(street.station, true), (street.car, false)] {
        let node = street.world.end(end).unwrap().node();
        let kept = if payee { node.payees().count() } else { node.payers().count() };
        assert!(kept <= 9, "{kept} channels kept");
    }
}

#[test]
fn top_up_out_of_the_terms_is_refused() {
    let mut street = Street::in_session();
    street.top_up_to(0, sat(20_000_000)).unwrap();
    street.world.settle_down().unwrap();
    let events = street.world.take_events(street.car).unwrap();
    let refused = |event: &Event| matches!(event, Event::Refused { code: Refusal::OutOfRange, .. });
    assert!(events.iter().any(refused), "{events:?}");
}

#[test]
fn rollovers_on_one_long_link_do_not_use_up_its_names() {
    let mut street = Street::in_session();
    for _ in 0..3 {
        for _ in 0..5 {
            street.tick();
        }
        street.outpoint = street.newest();
        street.settle(1_000);
        street.world.mine(blocks(4));
        street.world.settle_down().unwrap();
    }
    let known = (0..16).filter(|name| {
        let resume = Resume { alias: alias(*name), outpoint: None };
        let named = street.inject(street.station, street.link, resume);
        !matches!(named, Err(NodeError::NoAlias { .. }))
    });
    assert_eq!(known.count(), 1);
}

#[test]
fn adopted_record_is_paid_on_only_after_the_payees_word() {
    let mut street = Street::in_session();
    let record = street.fresh_record();
    street.world.command(street.car, Command::Adopt(Box::new(record))).unwrap_err();
    let pay = Command::Pay {
        outpoint: street.outpoint,
        more: Msat::ZERO,
        session: id(7),
        ending: Ending::KeepsChange,
    };
    let mut other = Street::unfunded();
    let record = other.fresh_record();
    let outpoint = record.outpoint();
    other.world.command(other.car, Command::Adopt(Box::new(record))).unwrap();
    let pay_there =
        Command::Pay { outpoint, more: Msat::ZERO, session: id(7), ending: Ending::KeepsChange };
    let refused = other.world.end_mut(other.car).unwrap();
    let now = Now { time: UtcSeconds::new(2_000_000_000).unwrap(), aux: street.world.now().aux };
    let refused = refused.node_mut().handle(&now, Input::Do(pay_there));
    let must = |e: &NodeError| matches!(e, NodeError::Stream(StreamError::MustResume { .. }));
    assert!(refused.as_ref().is_err_and(must), "{refused:?}");
    street.world.command(street.car, pay).unwrap();
}
