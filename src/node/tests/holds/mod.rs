//! Holds over the wire: offered, fulfilled, released, expired; every message lost, every restart.

mod bundles;
mod hostile;

use super::scenes::{fulfil_hold, hold, offer_hold, preimage, release_hold};
use super::*;
use crate::batch::item::{Charge, Item, LeafSize};
use crate::stream::StreamError;
use crate::stream::bundle::{Bundle, BundleSum, Bundling};
use crate::stream::payee::PayeeHoldState;
use crate::stream::payer::PayerHoldState;
use crate::tx::TxError;
use crate::tx::hold::Preimage;
use crate::tx::seen::Spend;
use crate::units::ItemId;
use crate::wire::{self, Bytes};

/// An open channel and a budget.
fn open() -> Stage {
    let mut stage = Scene::Open.build();
    stage.open_budget();
    stage
}

impl Stage {
    /// What the two hold: (signed, holds of the payer's newest voucher), (paid, holds of the best).
    fn held(&self) -> [(u64, Vec<u64>); 2] {
        let payer = self.nodes[BUYER].payer(self.outpoint).unwrap();
        let payee = self.nodes[SELLER].payee(self.outpoint).unwrap();
        let open = payer.holds().iter().filter(|kept| kept.state.is_present());
        let held = payee.holds().iter().map(|held| held.hold.amount.to_sat());
        [
            (payer.signed().to_msat(), open.map(|kept| kept.hold.amount.to_sat()).collect()),
            (payee.paid().to_msat(), held.collect()),
        ]
    }

    fn check_held(&self, paid: u64, holds: &[u64]) {
        assert_eq!(self.held(), [(paid, holds.to_vec()), (paid, holds.to_vec())]);
        for node in &self.nodes {
            node.check_invariants().unwrap();
        }
    }

    /// The power fails at one side or both, and the line comes back.
    fn restart(&mut self, sides: &[usize]) {
        for side in sides {
            self.nodes[*side] = load(*side, &self.stores[*side], &self.now);
            self.handle(*side, Input::Tip(tip(DEEP))).unwrap();
            let watched: Vec<_> = self.nodes[*side].watched().collect();
            for outpoint in watched {
                let status = self.chain.get(&outpoint).cloned();
                self.handle(*side, Input::Output(outpoint, status)).unwrap();
            }
        }
        for side in [BUYER, SELLER] {
            self.handle(side, Input::Disconnected(LINK)).unwrap();
        }
        for side in [BUYER, SELLER] {
            self.handle(side, Input::Connected(LINK)).unwrap();
        }
        let _again = self.nodes[BUYER].signer.open_session(
            crate::signer::PeerId::new(base()),
            id(3),
            msat(500_000_000),
        );
        let outpoint = self.outpoint;
        self.run(BUYER, Command::Attach { link: LINK, outpoint });
        self.settle_down();
    }

    /// Time passes until everything that was lost is said again.
    fn heal(&mut self) {
        for _ in 0..4 {
            self.pass(100);
            for side in [BUYER, SELLER] {
                self.handle(side, Input::Woken).unwrap();
            }
            self.settle_down();
        }
    }

    fn events(&mut self, side: usize) -> Vec<Event> {
        self.flush(side).events
    }

    fn refused(&mut self, side: usize, command: Command) -> NodeError {
        self.handle(side, Input::Do(command)).unwrap_err()
    }
}

fn bundle_of(amounts: &[u64], expiry: u32) -> (Bundle, Vec<u8>) {
    let mut builder = BundleSum::builder(LeafSize::ONE).unwrap();
    let mut bundling = Bundling::new(preimage().hash(), height(expiry));
    for (number, amount) in (1..).zip(amounts) {
        let (lane, id) = (crate::units::Lane::MIN, ItemId::new(number).unwrap());
        let charge = Charge::Amount(msat(*amount));
        builder.push(&Item { lane, id, charge, hash: None }).unwrap();
        bundling.push(msat(*amount)).unwrap();
    }
    let sealed = builder.seal().unwrap();
    (bundling.seal(BundleSum::of(&sealed).unwrap()).unwrap(), sealed.bytes)
}

fn offer_bundle(outpoint: OutPoint, amounts: &[u64]) -> Command {
    let (bundle, items) = bundle_of(amounts, 200);
    Command::OfferBundle { outpoint, bundle, items, session: id(3) }
}

#[test]
fn hold_is_offered_fulfilled_and_folded() {
    let mut stage = open();
    let outpoint = stage.outpoint;
    stage.run(BUYER, offer_hold(outpoint, 5_000));
    let signed = stage.flush(BUYER);
    let [Event::HoldSigned { id: one, exposure, .. }] = signed.events[..] else { panic!() };
    // The agreed fee of 500 sat is in the exposure until the balance covers it.
    assert_eq!((one, exposure), (hold(1), msat(5_500_000)));
    for (link, message) in signed.sends {
        stage.handle(SELLER, Input::Received(link, message)).unwrap();
    }
    let taken = stage.flush(SELLER);
    assert!(matches!(taken.events[..], [Event::HoldOffered { bundle: None, .. }]));
    for (link, message) in taken.sends {
        stage.handle(BUYER, Input::Received(link, message)).unwrap();
    }
    assert!(matches!(stage.events(BUYER)[..], [Event::HoldsAcknowledged { .. }]));
    stage.check_held(0, &[5_000]);
    stage.run(SELLER, fulfil_hold(outpoint));
    let revealed = stage.flush(SELLER);
    for (link, message) in revealed.sends {
        stage.handle(BUYER, Input::Received(link, message)).unwrap();
    }
    let folded = stage.flush(BUYER);
    assert!(
        matches!(folded.events[..], [Event::HoldRevealed { preimage: p, .. }] if p == preimage())
    );
    for (link, message) in folded.sends {
        stage.handle(SELLER, Input::Received(link, message)).unwrap();
    }
    let paid = stage.flush(SELLER);
    let [Event::Received { gained, .. }, Event::HoldFolded { .. }] = paid.events[..] else {
        panic!("{:?}", paid.events)
    };
    assert_eq!(gained, msat(5_000_000));
    for (link, message) in paid.sends {
        stage.handle(BUYER, Input::Received(link, message)).unwrap();
    }
    stage.check_held(5_000_000, &[]);
    // Nobody has anything left to say.
    assert!(stage.nodes.iter().all(|node| node.wake().is_none()));
}

#[test]
fn hold_is_released_dropped_and_at_risk_until_its_expiry() {
    let mut stage = open();
    let outpoint = stage.outpoint;
    stage.run(BUYER, offer_hold(outpoint, 5_000));
    stage.settle_down();
    stage.run(SELLER, release_hold(outpoint));
    let left = stage.flush(SELLER);
    for (link, message) in left.sends {
        stage.handle(BUYER, Input::Received(link, message)).unwrap();
    }
    let events = stage.flush(BUYER);
    let [Event::HoldReleased { at_risk_until, .. }] = events.events[..] else { panic!() };
    assert_eq!(at_risk_until, height(200));
    for (link, message) in events.sends {
        stage.handle(SELLER, Input::Received(link, message)).unwrap();
    }
    assert!(matches!(stage.flush(SELLER).events[..], [Event::HoldDropped { .. }]));
    stage.heal();
    stage.check_held(0, &[]);
    assert_eq!(stage.nodes[BUYER].exposure(outpoint), Some(msat(5_500_000)));
    stage.handle(BUYER, Input::Tip(tip(201))).unwrap();
    // A settlement that is published late still costs its fee.
    assert_eq!(stage.nodes[BUYER].exposure(outpoint), Some(msat(500_000)));
    // A release is for good.
    let gone = stage.refused(SELLER, fulfil_hold(outpoint));
    assert_eq!(gone, StreamError::NoSuchHold { id: hold(1) }.into());
}

#[test]
fn hold_past_its_expiry_is_dropped_at_the_tip_and_never_fulfilled() {
    let mut stage = open();
    let outpoint = stage.outpoint;
    stage.run(BUYER, offer_hold(outpoint, 5_000));
    stage.settle_down();
    // k and the margin before it, its settlement could not be in time any more.
    stage.handle(SELLER, Input::Tip(tip(186))).unwrap();
    let late = stage.refused(SELLER, fulfil_hold(outpoint));
    assert_eq!(late, StreamError::HoldPast { id: hold(1), expiry: height(200) }.into());
    for side in [SELLER, BUYER] {
        stage.handle(side, Input::Tip(tip(200))).unwrap();
    }
    stage.settle_down();
    stage.check_held(0, &[5_000]);
    for side in [SELLER, BUYER] {
        stage.handle(side, Input::Tip(tip(201))).unwrap();
    }
    stage.settle_down();
    stage.check_held(0, &[]);
    let kept = stage.nodes[BUYER].payer(outpoint).unwrap().holds()[0];
    assert_eq!(kept.state, PayerHoldState::Expired);
}

/// Offer, grow, fulfil, fold, and the release of another: every message is lost once, and either
/// side or both restart behind every message.
#[test]
fn every_lost_message_and_every_restart_on_the_way_is_healed() {
    let mut cut = 0;
    for restarts in [&[][..], &[BUYER], &[SELLER], &[BUYER, SELLER]] {
        for lost in 0.. {
            let mut stage = open();
            let outpoint = stage.outpoint;
            let mut number = 0;
            let grow =
                Command::GrowHold { outpoint, id: hold(1), amount: sat(6_000), session: id(3) };
            let steps = [
                (BUYER, offer_hold(outpoint, 5_000)),
                (BUYER, grow),
                (BUYER, offer_bundle(outpoint, &[1_000_250, 500_500])),
                (SELLER, fulfil_hold(outpoint)),
                (SELLER, Command::ReleaseHold { outpoint, id: hold(2) }),
            ];
            for (side, command) in steps {
                stage.run(side, command);
                stage.play_losing(lost, &mut number, restarts);
                stage.heal();
            }
            stage.heal();
            stage.check_held(6_000_000, &[]);
            // Fewer messages than that: every one was lost.
            if number <= lost {
                break;
            }
            cut += 1;
        }
    }
    std::println!("{cut} cuts");
    assert!(cut > 40);
}

impl Stage {
    /// Delivers until nobody says anything; message number `lost` is not heard, and `restarts` fall
    /// behind it.
    fn play_losing(&mut self, lost: usize, number: &mut usize, restarts: &[usize]) {
        loop {
            let mut quiet = true;
            for side in [BUYER, SELLER] {
                for (link, message) in self.flush(side).sends {
                    quiet = false;
                    *number += 1;
                    if *number - 1 == lost {
                        if !restarts.is_empty() {
                            self.restart(restarts);
                        }
                        continue;
                    }
                    let _refused = self.handle(1 - side, Input::Received(link, message));
                }
            }
            if quiet {
                return;
            }
        }
    }
}

/// After a restart nobody knows whose budget pays what is above the hold: the caller says so.
/// A record is smaller than a bundle may be: the items are kept in parts, and are whole again.
/// What a payer signs for `command`, before it is heard.
fn voucher_of(stage: &mut Stage, command: Command) -> wire::HoldVoucher {
    stage.run(BUYER, command);
    match stage.flush(BUYER).sends.remove(0).1 {
        Message::HoldVoucher(voucher) => voucher,
        other => panic!("{other:?}"),
    }
}

/// SAFETY: dropped, shrunk, reordered, id reused, other h or t, too near, below dust, too many,
/// forged: each is refused, and nothing changes.
#[test]
fn holds_that_break_the_rules_are_refused_without_a_trace() {
    let mut stage = open();
    let outpoint = stage.outpoint;
    stage.run(BUYER, offer_hold(outpoint, 5_000));
    stage.settle_down();
    let next = voucher_of(&mut stage, offer_hold(outpoint, 2_000));
    let held = next.holds.as_slice().to_vec();
    let with = |change: &dyn Fn(&mut Vec<wire::HeldAmount>)| {
        let mut holds = held.clone();
        change(&mut holds);
        let holds = wire::HeldAmounts::new(holds).unwrap();
        wire::HoldVoucher { holds, ..next.clone() }
    };
    let cases: Vec<(&str, wire::HoldVoucher)> = Vec::from([
        ("dropped", with(&|holds| holds.truncate(0))),
        ("shrunk", with(&|holds| holds[0].amount = sat(4_999))),
        ("reordered", with(&|holds| holds.reverse())),
        ("twice", with(&|holds| holds[1].id = hold(1))),
        ("other hash", with(&|holds| holds[0].hash = [9; 32])),
        ("other expiry", with(&|holds| holds[0].expiry = height(199))),
        ("too near", with(&|holds| holds[1].expiry = height(124))),
        ("too far", with(&|holds| holds[1].expiry = height(234))),
        ("below dust", with(&|holds| holds[1].amount = sat(999))),
        (
            "too many",
            with(&|holds| {
                let last = holds[1];
                holds.extend((3..10).map(|id| wire::HeldAmount { id: hold(id), ..last }));
            }),
        ),
        ("above the capacity", with(&|holds| holds[1].amount = sat(CAPACITY))),
        ("forged", with(&|holds| holds[1].amount = sat(2_001))),
    ]);
    for (what, voucher) in cases {
        let before = std::format!("{:?}", stage.nodes[SELLER].payee(outpoint));
        let stored = stage.stores[SELLER].clone();
        let refused = stage.handle(SELLER, Input::Received(LINK, voucher.into()));
        refused.expect_err(what);
        let left = stage.flush(SELLER);
        let last = left.sends.last().unwrap();
        assert!(matches!(last.1, Message::Refused(_)), "{what}: {:?}", left.sends);
        assert_eq!(before, std::format!("{:?}", stage.nodes[SELLER].payee(outpoint)), "{what}");
        assert_eq!(stored, stage.stores[SELLER], "{what}");
    }
    stage.handle(SELLER, Input::Received(LINK, next.into())).unwrap();
    stage.settle_down();
    stage.check_held(0, &[5_000, 2_000]);
}

#[test]
fn id_that_was_folded_is_refused_when_it_comes_again() {
    let mut stage = open();
    let outpoint = stage.outpoint;
    let first = voucher_of(&mut stage, offer_hold(outpoint, 5_000));
    stage.handle(SELLER, Input::Received(LINK, first.clone().into())).unwrap();
    stage.settle_down();
    stage.run(SELLER, fulfil_hold(outpoint));
    stage.settle_down();
    stage.check_held(5_000_000, &[]);
    let stale = stage.handle(SELLER, Input::Received(LINK, first.into())).unwrap_err();
    let (got, best) = (Msat::ZERO, msat(5_000_000));
    assert_eq!(stale, StreamError::Stale { got, best }.into());
    // Folded twice is folded once.
    stage.run(BUYER, offer_hold(outpoint, 2_000));
    stage.settle_down();
    let session = id(3);
    let again = Command::FoldHold { outpoint, id: hold(1), preimage: preimage(), session };
    assert_eq!(stage.refused(BUYER, again), StreamError::NoSuchHold { id: hold(1) }.into());
}

#[test]
fn wrong_preimage_folds_nothing_and_is_told() {
    let mut stage = Scene::Holding.build();
    let outpoint = stage.outpoint;
    let other = Preimage::new([1; 32]);
    let wrong = Command::FulfilHold { outpoint, id: hold(1), preimage: other };
    let want = preimage().hash();
    assert_eq!(
        stage.refused(SELLER, wrong),
        StreamError::Tx(TxError::WrongPreimage { want }).into()
    );
    let alias = ChannelAlias::MIN;
    let lie = wire::HoldFulfilled { alias, id: hold(1), preimage: [1; 32] };
    stage.handle(BUYER, Input::Received(LINK, lie.into())).unwrap_err();
    let left = stage.flush(BUYER);
    assert!(left.sends.is_empty());
    assert!(matches!(left.events[..], [Event::Misbehaved { .. }]));
    stage.check_held(0, &[5_000]);
}

/// A release is heard while the clock is wrong: what is heard is kept, and the voucher without the
/// hold follows when it can be signed.
#[test]
fn hold_that_cannot_be_dropped_yet_is_dropped_at_a_later_tip() {
    let mut stage = Scene::Released.build();
    let good = stage.now.time;
    stage.now.time = UtcSeconds::new(good.to_u64() - 5_000).unwrap();
    let released = wire::HoldReleased { alias: ChannelAlias::MIN, id: hold(1) };
    stage.handle(BUYER, Input::Received(LINK, released.into())).unwrap();
    let told = stage.events(BUYER);
    assert!(matches!(told[..], [Event::HoldReleased { .. }]), "{told:?}");
    assert_eq!(stage.held()[BUYER].1, [5_000]);
    stage.handle(BUYER, Input::Tip(tip(DEEP + 1))).unwrap();
    stage.now.time = good;
    stage.handle(BUYER, Input::Tip(tip(DEEP + 2))).unwrap();
    stage.settle_down();
    stage.check_held(0, &[]);
}

#[test]
fn release_after_the_preimage_and_preimage_after_the_release_are_refused() {
    let mut stage = Scene::Fulfilled.build();
    let outpoint = stage.outpoint;
    let late = stage.refused(SELLER, release_hold(outpoint));
    assert_eq!(late, StreamError::HoldFulfilled { id: hold(1) }.into());
    let mut stage = Scene::Released.build();
    let late = stage.refused(SELLER, fulfil_hold(outpoint));
    assert_eq!(late, StreamError::HoldReleased { id: hold(1) }.into());
}

/// Whoever knows the outpoint may ask for the best voucher, and may repeat it; a preimage it is not
/// told.
#[test]
fn stranger_that_names_the_channel_is_told_no_preimage() {
    let mut stage = Scene::Holding.build();
    let outpoint = stage.outpoint;
    stage.handle(SELLER, Input::Disconnected(LINK)).unwrap();
    let stranger = LinkId(5);
    stage.handle(SELLER, Input::Connected(stranger)).unwrap();
    let alias = ChannelAlias::MIN;
    let ask = wire::Resume { alias, outpoint: Some(outpoint) };
    stage.handle(SELLER, Input::Received(stranger, ask.into())).unwrap();
    let Message::BestHeld(best) = stage.flush(SELLER).sends.remove(0).1 else { panic!() };
    let wire::BestHeld { paid, signature, holds, bundles, .. } = best;
    let repeated = wire::HoldVoucher { alias, paid, signature, holds, bundles };
    stage.handle(SELLER, Input::Received(stranger, repeated.into())).unwrap();
    stage.run(SELLER, fulfil_hold(outpoint));
    let left = stage.flush(SELLER);
    let told = |(_, m): &(LinkId, Message)| matches!(m, Message::HoldFulfilled(_));
    assert!(!left.sends.iter().any(told), "{:?}", left.sends);
    stage.pass(1_000);
    stage.handle(SELLER, Input::Woken).unwrap();
    assert!(stage.flush(SELLER).sends.is_empty());
}

/// The payer neither folds nor answers: settled, claimed k blocks later, and the keys stay until
/// then; so do the payer's, until its timeouts are over.
#[test]
fn hold_that_is_not_folded_is_settled_and_claimed_on_the_chain() {
    let mut stage = Scene::Fulfilled.build();
    let outpoint = stage.outpoint;
    let settlement = stage.nodes[SELLER].draft_hold_settlement(outpoint, &[]).unwrap();
    let settlement = Box::new(settlement);
    let before = std::format!("{:?}", stage.nodes[SELLER].signer.snapshot());
    let witnesses = Vec::from([bitcoin::Witness::new()]);
    let wrong = Command::SettleHeld { settlement: settlement.clone(), witnesses };
    let refused = stage.refused(SELLER, wrong);
    assert!(matches!(refused, NodeError::Tx(TxError::WitnessCount { .. })), "{refused:?}");
    assert_eq!(before, std::format!("{:?}", stage.nodes[SELLER].signer.snapshot()));
    stage.run(SELLER, Command::SettleHeld { settlement, witnesses: Vec::new() });
    let tx = stage.flush(SELLER).broadcasts.remove(0).remove(0);
    stage.spend(&tx, Some(DEEP));
    stage.lose_all();
    stage.reboot();
    for side in [BUYER, SELLER] {
        // Far deeper than a spend is buried, long before the claim is too late.
        stage.handle(side, Input::Tip(tip(DEEP + 20))).unwrap();
        let status = stage.chain[&outpoint].clone();
        stage.handle(side, Input::Output(outpoint, Some(status))).unwrap();
        // Nor does a source that has forgotten the outpoint take the keys away.
        stage.handle(side, Input::Output(outpoint, None)).unwrap();
        stage.nodes[side].check_invariants().unwrap();
    }
    let view = stage.nodes[SELLER].view(stage.now.time).unwrap();
    let node = &mut stage.nodes[SELLER];
    let machine = node.payee(outpoint).unwrap().clone();
    let (coin, known) = machine.claimable(&Context::new(), &tx).unwrap().remove(0);
    let (rate, aux) = (FeeRate::new(1_000).unwrap(), Entropy::new([0; 32]));
    let signer = node.signer_mut();
    let claim = machine
        .claim(signer, coin.clone(), known, height(DEEP), wallet(8), rate, &view, &aux)
        .unwrap();
    assert_eq!(coin.preimage_in(&claim), Some(preimage()));
    // With the claim buried everything is over.
    let spent = Some(Spend { tx: claim, confirmed: Some(height(DEEP + 4)) });
    let (value, script) = (coin.value(), coin.scripts().script().clone());
    let confirmed = Some(height(DEEP));
    let status = OutputStatus { value, script, confirmed, truc: true, spent };
    for side in [BUYER, SELLER] {
        assert!(stage.nodes[side].watched().any(|watched| watched == coin.outpoint()));
        stage.handle(side, Input::Output(coin.outpoint(), Some(status.clone()))).unwrap();
        assert!(matches!(stage.events(side)[..], [.., Event::Closed { .. }]));
        assert_eq!(stage.nodes[side].watched().count(), 1, "where the channel goes on");
    }
}

/// What is paid below the agreed fee goes into it, so that one signature fits each such amount. The
/// payer's own record says which it meant.
#[test]
fn payee_that_presents_another_amount_below_the_fee_gains_nothing() {
    let mut stage = Scene::Holding.build();
    let outpoint = stage.outpoint;
    stage.run(BUYER, Command::Attach { link: LINK, outpoint });
    let (_, resume) = stage.flush(BUYER).sends.remove(0);
    stage.handle(SELLER, Input::Received(LINK, resume)).unwrap();
    let Message::BestHeld(best) = stage.flush(SELLER).sends.remove(0).1 else { panic!() };
    let more = wire::BestHeld { paid: msat(499_000), ..best };
    stage.handle(BUYER, Input::Received(LINK, more.into())).unwrap();
    assert_eq!(stage.nodes[BUYER].payer(outpoint).unwrap().signed(), Msat::ZERO);
}

#[test]
fn session_batch_and_holds_do_not_share_a_channel() {
    let mut stage = Scene::Holding.build();
    let outpoint = stage.outpoint;
    stage.run(SELLER, offer(7));
    stage.settle_down();
    let open = NodeError::Stream(StreamError::HoldsOpen { count: 1 });
    assert_eq!(stage.refused(BUYER, accept(7, outpoint)), open);
    let mut stage = Scene::Running.build();
    stage.open_budget();
    let busy = stage.refused(BUYER, offer_hold(outpoint, 5_000));
    assert_eq!(busy, NodeError::Busy { session: id(7) });
    let mut stage = Scene::Flying.build();
    let flying = stage.refused(BUYER, offer_hold(outpoint, 5_000));
    assert_eq!(flying, NodeError::InFlight { outpoint });
}

#[test]
fn payment_beside_a_hold_is_taken_and_changes_nothing_of_it() {
    let mut stage = Scene::Holding.build();
    let outpoint = stage.outpoint;
    let ending = crate::stream::payer::Ending::KeepsChange;
    let more = msat(1_000_001);
    stage.run(BUYER, Command::Pay { outpoint, more, session: id(3), ending });
    stage.settle_down();
    stage.check_held(1_000_001, &[5_000]);
    let payee = stage.nodes[SELLER].payee(outpoint).unwrap();
    assert_eq!(payee.holds()[0].state, PayeeHoldState::Open);
}

#[test]
fn hold_is_durable_at_the_payer_before_its_voucher_leaves() {
    let mut stage = open();
    let outpoint = stage.outpoint;
    stage.run(BUYER, offer_hold(outpoint, 5_000));
    let effects = stage.nodes[BUYER].drain();
    let before = stage.stores[BUYER].clone();
    let left = effects.commit(&mut stage.stores[BUYER]).unwrap();
    if left.sends.is_empty() {
        // The budget was reserved first: the voucher comes with the next drain.
        assert_eq!(stage.flush(BUYER).sends.len(), 1);
    }
    assert_ne!(before, stage.stores[BUYER]);
    stage.restart(&[BUYER]);
    stage.check_held(0, &[5_000]);
}
