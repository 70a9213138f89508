//! Holds that end on the chain: two nodes that nobody drives, but for a rate and a script.

#[path = "node_holds_chain/street.rs"]
mod street;

use millstream::chain::regtest::Regtest;
use millstream::node::Command;
use millstream::store::fault::Cut;
use street::{AMOUNT, EXPIRY, K, MARGIN, Street, hold, preimage, sat};

/// Blocks until everything at both ends is buried.
const LIFE: u32 = 90;

/// A street where one hold is fulfilled and its payer is gone.
fn fulfilled() -> Street {
    let mut street = Street::open();
    street.offer();
    street.part();
    street.tend(street.station);
    street.command(street.station, street.fulfil());
    street
}

#[test]
fn payee_settles_and_claims_in_time_when_its_payer_has_vanished() {
    let mut street = fulfilled();
    let exposure = street.exposure();
    assert!(exposure >= Some(sat(AMOUNT).to_msat()), "{exposure:?}");
    street.pass_until_claimed();
    let (station, car) = (street.story(street.station), street.story(street.car));
    let settled = station.settled.unwrap();
    assert!(settled <= street.expiry() - u32::from(K) - MARGIN, "settled in {settled}");
    assert_eq!(station.claims, [(settled + u32::from(K), false)]);
    // The payer has its proof of payment off the chain, and owes no more than it did.
    assert_eq!((car.revealed, car.claims), (vec![preimage()], station.claims));
    assert_eq!(street.exposure(), exposure);
    let paid = street.paid_to(street.station);
    assert!(paid > sat(AMOUNT - 1_000) && paid < sat(AMOUNT), "{paid}");
    street.pass(5);
    for end in [street.car, street.station] {
        let story = street.story(end);
        assert!(story.is_over && story.is_closed, "{story:?}");
        assert_eq!(street.node(end).watches().count(), 0);
        street.check_stored(end);
    }
    assert_eq!(street.exposure(), None);
}

#[test]
fn payer_times_out_at_its_exact_height_when_the_payee_settles_and_claims_nothing() {
    let mut street = Street::open();
    street.offer();
    street.tend(street.car);
    street.settle();
    street.part();
    street.pass(LIFE);
    let story = street.story(street.car);
    assert_eq!((story.timeouts, story.claims), (vec![(street.expiry() + 1, false)], vec![]));
    let back = street.paid_to(street.car);
    assert!(back > sat(AMOUNT - 1_000) && back < sat(AMOUNT), "{back}");
    assert!(story.is_over && story.is_closed);
    // It never knew the preimage, so nothing of it was lost to the payee either.
    let story = street.story(street.station);
    assert_eq!(story.timeouts, [(street.expiry() + 1, false)]);
    assert!(story.is_over && story.is_closed);
}

#[test]
fn payee_that_claims_an_old_voucher_after_its_release_is_reported() {
    let mut street = Street::open();
    street.offer();
    let old = street.sign_as_payee();
    street.command(street.station, Command::ReleaseHold { outpoint: street.outpoint, id: hold(1) });
    street.settle_down();
    street.tend(street.car);
    let exposure = street.exposure();
    assert!(exposure >= Some(sat(AMOUNT).to_msat()), "a released hold is at risk: {exposure:?}");
    let (settlement, claim) = old;
    street.submit(&settlement);
    street.pass(u32::from(K));
    street.submit(&claim);
    street.pass(1);
    let story = street.story(street.car);
    assert_eq!(story.published, [hold(1)]);
    assert_eq!((story.claims.len(), story.claims[0].1), (1, true));
    assert_eq!(story.revealed, [preimage()]);
    assert!(sat(AMOUNT).to_msat() <= exposure.unwrap());
}

#[test]
fn claim_and_settlement_that_a_reorg_undoes_are_made_again() {
    for depth in [1, 2, u32::from(K) + 1] {
        let mut street = fulfilled();
        street.pass_until_claimed();
        street.reorg(depth);
        street.settle_down();
        street.pass(LIFE);
        for end in [street.station, street.car] {
            let story = street.story(end);
            assert!(story.claims.len() > 1, "depth {depth}: {story:?}");
            assert!(
                story.claims.iter().all(|(height, after)| !after && *height <= street.expiry())
            );
            assert!(story.is_over && story.is_closed, "depth {depth}: {story:?}");
            assert_eq!(story.timeouts, []);
        }
        assert_eq!(street.story(street.car).revealed, [preimage()]);
    }
}

/// What nobody tends is told at every block at which something is due, and sent as soon as somebody
/// does.
#[test]
fn node_that_nobody_tends_says_what_is_due_and_sends_nothing() {
    let mut street = Street::open();
    street.offer();
    street.part();
    street.command(street.station, street.fulfil());
    let due = EXPIRY - u32::from(K) - MARGIN - 6;
    street.pass(due - 1);
    assert_eq!(street.story(street.station).untended, 0);
    street.pass(3);
    let story = street.story(street.station);
    assert_eq!((story.untended, story.settled), (3, None));
    street.tend(street.station);
    street.settle_down();
    street.pass(1);
    assert!(street.story(street.station).settled.is_some());
}

/// Settlement and fee child go as one package where mempools take neither alone.
#[test]
fn settlement_below_the_rate_is_sent_with_a_child_and_confirms_in_time() {
    let mut street = Street::open();
    street.pay(20_000_000);
    street.offer();
    street.part();
    street.command(street.station, street.fulfil());
    street.weather(20_000);
    street.tend_at(street.station, 20_000);
    street.pass_until_claimed();
    let settled = street.story(street.station).settled.unwrap();
    assert!(settled <= street.expiry() - u32::from(K) - MARGIN, "settled in {settled}");
}

#[test]
fn settlement_that_only_a_coin_can_raise_is_asked_for_and_sent_with_it() {
    let mut street = Street::open();
    street.offer();
    street.part();
    street.command(street.station, street.fulfil());
    let coin = street.coin(10_000);
    street.weather(10_000);
    street.tend_with(street.station, 10_000, vec![coin]);
    let mut asked = 0;
    for _ in 0..EXPIRY {
        street.pass(1);
        for settlement in street.take_due() {
            asked += 1;
            let (tx, spent) = (settlement.transaction(), settlement.spent());
            let witnesses = street.world.sign_coins(tx, spent).unwrap();
            let settlement = Box::new(settlement);
            street.command(street.station, Command::SettleHeld { settlement, witnesses });
            street.settle_down();
        }
    }
    assert!(asked > 0);
    let story = street.story(street.station);
    assert!(story.settled.unwrap() <= street.expiry() - u32::from(K) - MARGIN, "{story:?}");
    assert_eq!(story.claims.len(), 1);
}

/// From the offer to the grave with a power cut before or behind each write of either side.
#[test]
fn power_cut_at_every_write_of_a_hold_that_ends_on_the_chain_loses_nothing() {
    let mut chain = Regtest::unchecked_scripts();
    millstream::sim::world::World::fill(&mut chain);
    let mut cuts = 0;
    for (is_payee, times_out) in [(true, false), (false, false), (false, true), (true, true)] {
        for write in 1.. {
            let mut street = Street::on(chain.clone());
            let end = if is_payee { street.station } else { street.car };
            let side = if write % 2 == 0 { Cut::Before } else { Cut::After };
            cut_at(&mut street, end, write, side);
            let hit = street.live(times_out, LIFE);
            let (station, car) = (street.story(street.station), street.story(street.car));
            let what = format!("write {write}, payee {is_payee}: {station:?} {car:?}");
            let to = if times_out { street.car } else { street.station };
            let (got, other) = (street.paid_to(to), street.paid_to(street.other(to)));
            assert!(got > sat(AMOUNT - 1_000) && other == sat(0), "{what}: {got} {other}");
            for end in [street.car, street.station] {
                assert!(street.is_gone(end), "{what}");
                street.check_stored(end);
            }
            if !hit {
                assert!(station.is_closed && car.is_closed, "{what}");
                break;
            }
            cuts += 1;
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 30, "{cuts}");
}

fn cut_at(street: &mut Street, end: millstream::sim::world::EndId, write: u64, side: Cut) {
    let store = street.world.end_mut(end).unwrap().store_mut();
    let now = store.commits();
    store.cut_at(now + write, side);
}
