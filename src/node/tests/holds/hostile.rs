//! What nobody signed: ids, bundles and items that a peer or a stranger states otherwise.

use super::*;
use crate::signer::PeerId;
use crate::stream::payer::Ending;
use crate::units::HoldId;
use crate::wire::{BestHeld, HeldAmounts, HeldBundle, HeldBundles, HoldFulfilled, HoldItems};

const STRANGER: LinkId = LinkId(5);
const ALIAS: ChannelAlias = ChannelAlias::MIN;

fn told() -> HoldFulfilled {
    HoldFulfilled { alias: ALIAS, id: hold(1), preimage: *preimage().as_bytes() }
}

fn pay(outpoint: OutPoint, more: u64) -> Command {
    Command::Pay { outpoint, more: msat(more), session: id(3), ending: Ending::KeepsChange }
}

/// `first`, as a payee presents it, with its hold under another id.
fn renumbered(outpoint: OutPoint, first: &wire::HoldVoucher, to: u64) -> BestHeld {
    let mut holds = first.holds.as_slice().to_vec();
    holds[0].id = hold(to);
    let (paid, signature) = (first.paid, first.signature);
    BestHeld { outpoint, paid, signature, holds: HeldAmounts::new(holds).unwrap(), bundles: None }
}

/// Anybody who names a channel is shown its best voucher.
fn best_shown_to_a_stranger(stage: &mut Stage) -> BestHeld {
    let outpoint = stage.outpoint;
    stage.handle(SELLER, Input::Connected(STRANGER)).unwrap();
    let ask = wire::Resume { alias: ALIAS, outpoint: Some(outpoint) };
    stage.handle(SELLER, Input::Received(STRANGER, ask.into())).unwrap();
    let Message::BestHeld(best) = stage.flush(SELLER).sends.remove(0).1 else { panic!() };
    best
}

/// One hold of 5,000 sat, folded, and the voucher that offered it.
fn folded() -> (Stage, wire::HoldVoucher) {
    let mut stage = open();
    let outpoint = stage.outpoint;
    let first = voucher_of(&mut stage, offer_hold(outpoint, 5_000));
    stage.handle(SELLER, Input::Received(LINK, first.clone().into())).unwrap();
    stage.settle_down();
    stage.run(SELLER, fulfil_hold(outpoint));
    stage.settle_down();
    stage.check_held(5_000_000, &[]);
    (stage, first)
}

#[test]
fn folded_hold_is_not_held_again_under_another_id() {
    for restarted in [false, true] {
        let (mut stage, first) = folded();
        let outpoint = stage.outpoint;
        if restarted {
            stage.restart(&[BUYER]);
        }
        for round in 2..5 {
            let best = renumbered(outpoint, &first, round);
            stage.handle(BUYER, Input::Received(LINK, best.into())).unwrap();
            let again = HoldFulfilled { id: hold(round), ..told() };
            let _refused = stage.handle(BUYER, Input::Received(LINK, again.into()));
            stage.run(BUYER, pay(outpoint, 0));
            stage.settle_down();
        }
        stage.run(BUYER, pay(outpoint, 1_000));
        stage.settle_down();
        stage.check_held(5_001_000, &[]);
    }
}

#[test]
fn released_hold_is_not_held_again_under_another_id() {
    for restarted in [false, true] {
        let mut stage = open();
        let outpoint = stage.outpoint;
        let first = voucher_of(&mut stage, offer_hold(outpoint, 5_000));
        stage.handle(SELLER, Input::Received(LINK, first.clone().into())).unwrap();
        stage.settle_down();
        stage.run(SELLER, release_hold(outpoint));
        stage.settle_down();
        stage.check_held(0, &[]);
        if restarted {
            stage.restart(&[BUYER]);
        }
        let best = renumbered(outpoint, &first, 2);
        stage.handle(BUYER, Input::Received(LINK, best.into())).unwrap();
        stage.run(BUYER, pay(outpoint, 1_000));
        stage.settle_down();
        stage.check_held(1_000, &[]);
    }
}

#[test]
fn stranger_puts_no_bundle_behind_a_hold_and_gives_it_no_other_id() {
    let (bundle, items) = bundle_of(&[5_000_999], 200);
    let sum = *bundle.sum();
    let stated =
        HeldBundle { id: hold(1), root: *sum.root(), items: sum.items(), total: sum.total() };
    let bundles = HeldBundles::new(Vec::from([stated])).unwrap();
    for (number, bundles) in [(1, bundles), (7, None)] {
        let mut stage = Scene::Holding.build();
        let outpoint = stage.outpoint;
        let BestHeld { paid, signature, holds, .. } = best_shown_to_a_stranger(&mut stage);
        let mut list = holds.as_slice().to_vec();
        list[0].id = hold(number);
        let holds = HeldAmounts::new(list).unwrap();
        let forged = wire::HoldVoucher { alias: ALIAS, paid, signature, holds, bundles };
        let refused = stage.handle(SELLER, Input::Received(STRANGER, forged.into()));
        // Under another id the first hold would be gone, and not paid.
        let want = if number == 1 {
            StreamError::HoldChanged { id: hold(1) }
        } else {
            StreamError::NotFolded { want: msat(5_000_000), got: Msat::ZERO }
        };
        assert_eq!(refused, Err(want.into()));
        let length = u32::try_from(items.len()).unwrap();
        let part = Bytes::new(items.clone()).unwrap();
        let items = HoldItems { alias: ALIAS, id: hold(1), length, offset: 0, part };
        stage.handle(SELLER, Input::Received(STRANGER, items.into())).unwrap();
        assert!(stage.flush(SELLER).bundles.is_empty());
        stage.run(SELLER, fulfil_hold(outpoint));
        stage.settle_down();
        stage.check_held(5_000_000, &[]);
    }
}

#[test]
fn stranger_does_not_reopen_a_released_hold() {
    let mut stage = Scene::Released.build();
    let outpoint = stage.outpoint;
    for side in [BUYER, SELLER] {
        stage.handle(side, Input::Disconnected(LINK)).unwrap();
    }
    let BestHeld { paid, signature, holds, .. } = best_shown_to_a_stranger(&mut stage);
    let mut list = holds.as_slice().to_vec();
    list[0].id = HoldId::MAX;
    let holds = HeldAmounts::new(list).unwrap();
    let forged = wire::HoldVoucher { alias: ALIAS, paid, signature, holds, bundles: None };
    let refused = stage.handle(SELLER, Input::Received(STRANGER, forged.into()));
    assert_eq!(refused, Err(StreamError::HoldChanged { id: HoldId::MAX }.into()));
    stage.connect();
    stage.run(BUYER, Command::Attach { link: LINK, outpoint });
    stage.settle_down();
    stage.check_held(0, &[]);
    stage.run(BUYER, offer_hold(outpoint, 2_000));
}

#[test]
fn payments_beside_a_hold_that_wait_for_a_budget_are_all_paid() {
    let mut stage = Scene::Holding.build();
    let outpoint = stage.outpoint;
    // Each is above a slice.
    for _ in 0..2 {
        stage.run(BUYER, pay(outpoint, 150_000_000));
    }
    stage.settle_down();
    stage.check_held(300_000_000, &[5_000]);
}

#[test]
fn change_is_not_given_up_beside_a_hold_without_opting_in() {
    let mut stage = Scene::Released.build();
    let outpoint = stage.outpoint;
    let signer = stage.nodes[BUYER].signer_mut();
    signer.open_session(PeerId::new(base()), id(3), msat(5_000_000_000)).unwrap();
    let _lost = stage.flush(BUYER);
    let released = wire::HoldReleased { alias: ALIAS, id: hold(1) };
    stage.handle(BUYER, Input::Received(LINK, released.into())).unwrap();
    // The voucher that drops the hold is not acknowledged.
    let _lost = stage.flush(BUYER);
    let _waits = stage.handle(BUYER, Input::Do(pay(outpoint, CAPACITY * 1_000)));
    stage.settle_down();
    assert_eq!(stage.nodes[BUYER].payer(outpoint).unwrap().signed(), Msat::ZERO);
}

#[test]
fn preimage_is_not_revealed_when_the_claim_of_a_settled_hold_would_be_late() {
    let mut stage = Scene::Holding.build();
    let outpoint = stage.outpoint;
    let settlement = Box::new(stage.nodes[SELLER].draft_hold_settlement(outpoint, &[]).unwrap());
    stage.run(SELLER, Command::SettleHeld { settlement, witnesses: Vec::new() });
    let tx = stage.flush(SELLER).broadcasts.remove(0).remove(0);
    let k = u32::from(stage.nodes[SELLER].payee(outpoint).unwrap().record().rules().holds.k);
    // Its expiry is 200: settled k blocks before, the claim can be in that very block.
    for (settled, in_time) in [(201 - k, false), (200 - k, true)] {
        stage.handle(SELLER, Input::Tip(tip(settled))).unwrap();
        stage.spend(&tx, Some(settled));
        let status = stage.chain[&outpoint].clone();
        stage.handle(SELLER, Input::Output(outpoint, Some(status))).unwrap();
        let done = stage.handle(SELLER, Input::Do(fulfil_hold(outpoint)));
        let past = StreamError::HoldPast { id: hold(1), expiry: height(200) };
        assert_eq!(done, if in_time { Ok(()) } else { Err(past.into()) }, "{settled}");
    }
}

#[test]
fn preimage_is_not_revealed_under_a_stalled_tip() {
    let mut stage = Scene::Holding.build();
    let outpoint = stage.outpoint;
    stage.pass(1_000_001);
    let refused = stage.refused(SELLER, fulfil_hold(outpoint));
    assert!(matches!(refused, NodeError::Stream(StreamError::StalledTip { .. })), "{refused}");
}

#[test]
fn hold_that_is_folded_by_a_plain_voucher_is_told() {
    let mut stage = Scene::Fulfilled.build();
    stage.handle(BUYER, Input::Received(LINK, told().into())).unwrap();
    let Message::HoldVoucher(folded) = stage.flush(BUYER).sends.remove(0).1 else { panic!() };
    let plain = wire::Voucher { alias: ALIAS, paid: folded.paid, signature: folded.signature };
    stage.handle(SELLER, Input::Received(LINK, plain.into())).unwrap();
    let told = stage.events(SELLER);
    assert!(told.iter().any(|event| matches!(event, Event::HoldFolded { .. })), "{told:?}");
}

#[test]
fn equal_items_behind_two_hashes_or_expiries_are_both_taken() {
    let mut stage = open();
    let outpoint = stage.outpoint;
    for expiry in [200, 201] {
        let (bundle, items) = bundle_of(&[1_000_250, 500_500], expiry);
        stage.run(BUYER, Command::OfferBundle { outpoint, bundle, items, session: id(3) });
        stage.settle_down();
    }
    stage.check_held(0, &[1_500, 1_500]);
}

#[test]
fn bundle_that_grows_by_less_than_a_satoshi_is_taken() {
    let mut stage = open();
    let outpoint = stage.outpoint;
    for amounts in [&[1_500_100][..], &[1_500_100, 200]] {
        stage.run(BUYER, offer_bundle(outpoint, amounts));
        stage.settle_down();
    }
    stage.check_held(0, &[1_500]);
    let held = &stage.nodes[SELLER].payee(outpoint).unwrap().holds()[0];
    assert_eq!(held.bundle.unwrap().total(), msat(1_500_300));
}

#[test]
fn preimage_of_a_hold_that_was_given_up_is_told_and_pays_nothing() {
    let mut stage = Scene::Holding.build();
    let released = wire::HoldReleased { alias: ALIAS, id: hold(1) };
    stage.handle(BUYER, Input::Received(LINK, released.into())).unwrap();
    let _dropped = stage.flush(BUYER);
    stage.handle(BUYER, Input::Received(LINK, told().into())).unwrap();
    let told = stage.events(BUYER);
    let revealed = |event: &Event| matches!(event, Event::HoldRevealed { .. });
    assert!(told.iter().any(revealed), "{told:?}");
    assert_eq!(stage.nodes[BUYER].payer(stage.outpoint).unwrap().signed(), Msat::ZERO);
}
