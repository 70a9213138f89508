//! What a hostile or silent neighbour tries, and the hub's answer. Whole runs with real channels
//! are in `sim::hub`.

use super::*;

fn over(end: End) -> Input {
    Input::Over { outgoing: outgoing(), end }
}

#[test]
fn nothing_is_offered_before_the_incoming_hold_and_its_order_are_durable() {
    let mut hub = hub();
    let step = hub.decide(&ordered(order())).unwrap();
    // Decided is not durable: no duty, and no id is taken.
    assert_eq!(hub.due_at(TIP), []);
    let early = Input::Offered { incoming: incoming(), id: outgoing().id };
    assert_eq!(hub.decide(&early), Err(HubError::NoForward { at: incoming() }));
    let mut batch = Batch::default();
    let staged = step.stage(&mut batch).unwrap();
    assert_eq!(batch.len(), 1);
    hub.apply(&staged).unwrap();
    let (hash, onward) = (preimage(7).hash(), order().1);
    assert_eq!(hub.due_at(TIP), [Duty::Offer { incoming: incoming(), hash, onward }]);
}

#[test]
fn receivers_word_never_releases_what_a_voucher_can_still_claim() {
    let mut hub = offered();
    let released = Input::Released { incoming: incoming() };
    let refused = HubError::WrongStage { stage: "offered", act: "release" };
    let declined = HubError::WrongStage { stage: "offered", act: "decline" };
    for tip in [TIP, OUT, OUT + 2, IN + 100] {
        assert_eq!(hub.due_at(tip), []);
        assert_eq!(hub.take(released), Err(refused));
        assert_eq!(hub.take(Input::Declined { incoming: incoming() }), Err(declined));
    }
    // The last block at which it may still be settled in time, and the first after.
    hub.take(Input::Unspent { channel: channel(2), tip: at(OUT + 2) }).unwrap();
    assert_eq!(hub.due_at(OUT + 2), []);
    hub.take(Input::Unspent { channel: channel(2), tip: at(OUT + 3) }).unwrap();
    assert_eq!(hub.due_at(OUT + 3), [Duty::Release { incoming: incoming() }]);
    hub.take(released).unwrap();
    assert_eq!(hub.stage(), None);
}

#[test]
fn outgoing_hold_that_is_dead_on_the_chain_is_released_upstream() {
    for end in [End::Absent, End::TimedOut, End::Covered] {
        let mut hub = offered();
        hub.take(over(end)).unwrap();
        assert_eq!(hub.due_at(TIP), [Duty::Release { incoming: incoming() }]);
        // What could not be claimed pays nobody: a late preimage changes nothing.
        hub.take(Input::Preimage(preimage(7))).unwrap();
        assert_eq!(hub.stage(), Some(Stage::Dead));
    }
}

#[test]
fn preimage_from_the_chain_claims_upstream_until_the_last_block() {
    let mut hub = offered();
    // The latest that H2 allows for: the claim beats a timeout that was due, and a reorg.
    let latest = OUT + 6 + 3;
    assert_eq!(hub.take(over(End::Claimed)), Err(HubError::NoPreimage { outgoing: outgoing() }));
    hub.take(Input::Preimage(preimage(7))).unwrap();
    hub.take(over(End::Claimed)).unwrap();
    let (incoming, preimage) = (incoming(), preimage(7));
    let by = at(IN - 12 - 10);
    let fulfil = Duty::Fulfil { incoming, preimage };
    assert_eq!(hub.due_at(latest - 1), [fulfil]);
    // And from here on by way of the chain: the sender has been silent.
    assert_eq!(hub.due_at(latest), [fulfil, Duty::Settle { incoming, by }]);
    assert_eq!(at(latest + 4), by);
    hub.take(Input::Paid { incoming }).unwrap();
    assert_eq!(hub.stage(), None);
}

#[test]
fn preimage_is_durable_before_it_is_used_on_either_side() {
    let hub = offered();
    let step = hub.decide(&Input::Preimage(preimage(7))).unwrap();
    assert_eq!(hub.due_at(TIP), []);
    let folded = Input::Folded { outgoing: outgoing() };
    assert_eq!(hub.decide(&folded), Err(HubError::WrongStage { stage: "offered", act: "fold" }));
    let mut store = MemoryStore::default();
    let _staged = step.commit(&mut store).unwrap();
    let hub = Hub::load(policy(), &store).unwrap();
    let (incoming, outgoing, preimage) = (incoming(), outgoing(), preimage(7));
    let duties = [Duty::Fulfil { incoming, preimage }, Duty::Fold { outgoing, preimage }];
    assert_eq!(hub.due_at(TIP), duties);
}

#[test]
fn preimage_decides_every_forward_of_its_hash_and_no_other() {
    let mut hub = hub();
    for (id, byte) in [(1, 7), (2, 7), (3, 8)] {
        let (mut incoming, onward) = order();
        incoming.hold.id = HoldId::new(id).unwrap();
        incoming.hold.hash = preimage(byte).hash();
        hub.take(ordered((incoming, onward))).unwrap();
        let id = HoldId::new(id + 20).unwrap();
        hub.take(Input::Offered { incoming: incoming.at(), id }).unwrap();
    }
    hub.take(Input::Preimage(preimage(9))).unwrap();
    hub.take(Input::Preimage(preimage(7))).unwrap();
    let stages: alloc::vec::Vec<_> = hub.forwards().map(|f| f.stage().name()).collect();
    assert_eq!(stages, ["won", "won", "offered"]);
}

#[test]
fn hold_is_forwarded_once_and_to_one_receiver() {
    let mut hub = offered();
    hub.take(ordered(order())).unwrap();
    let (incoming, mut onward) = order();
    onward.channel = channel(3);
    let twice = HubError::Twice { at: incoming.at() };
    assert_eq!(hub.take(ordered((incoming, onward))), Err(twice));
    onward = Onward { load: Load::Single(sat(50_001)), ..order().1 };
    assert_eq!(hub.take(ordered((incoming, onward))), Err(twice));
    let again = Input::Offered { incoming: incoming.at(), id: HoldId::new(10).unwrap() };
    let refused = HubError::WrongStage { stage: "offered", act: "offer" };
    assert_eq!(hub.take(again), Err(refused));
    // Nor does one outgoing hold serve two.
    let mut second = order().0;
    second.hold.id = HoldId::new(6).unwrap();
    hub.take(ordered((second, order().1))).unwrap();
    let stolen = Input::Offered { incoming: second.at(), id: outgoing().id };
    assert_eq!(hub.take(stolen), Err(HubError::OutgoingTaken { outgoing: outgoing() }));
}

#[test]
fn bundle_that_the_payer_would_merge_into_another_forwards_is_refused() {
    type Change = fn(&mut (Incoming, Onward));
    let bundle = |items, id: u64| {
        let (mut incoming, mut onward) = order();
        incoming.hold.id = HoldId::new(id).unwrap();
        onward.load = Load::Bundle { root: [1; 32], items, total: msat(50_000_000) };
        (incoming, onward)
    };
    let (first, second) = (bundle(3, 5), bundle(4, 6));
    let merged = Err(HubError::WouldMerge { with: first.0.at() });
    // From its order on until nothing is left to do for it.
    let mut hub = hub();
    hub.take(ordered(first)).unwrap();
    hub.take(ordered(first)).unwrap();
    assert_eq!(hub.take(ordered(second)), merged);
    hub.take(Input::Offered { incoming: incoming(), id: outgoing().id }).unwrap();
    assert_eq!(hub.take(ordered(second)), merged);
    let mut won = hub.clone();
    won.take(Input::Preimage(preimage(7))).unwrap();
    assert_eq!(won.take(ordered(second)), merged);
    won.take(Input::Folded { outgoing: outgoing() }).unwrap();
    won.take(ordered(second)).unwrap();
    // What is a hold of its own is taken: another channel, hash or expiry, or no bundle.
    let changes: [Change; 4] = [
        |order| order.1.channel = channel(3),
        |order| order.0.hold.hash = preimage(8).hash(),
        |order| order.1.expiry = at(OUT - 1),
        |order| order.1.load = Load::Single(sat(50_000)),
    ];
    for change in changes {
        let mut other = second;
        change(&mut other);
        hub.clone().take(ordered(other)).unwrap();
    }
    // And beside a single hold, which grows by nobody's bundle.
    offered().take(ordered(second)).unwrap();
}

#[test]
fn order_that_could_not_be_offered_in_time_is_never_offered() {
    let mut hub = hub();
    hub.take(ordered(order())).unwrap();
    hub.take(Input::Tip(at(OUT - 1))).unwrap();
    assert!(matches!(hub.due_at(OUT - 1)[..], [Duty::Offer { .. }]));
    hub.take(Input::Tip(at(OUT))).unwrap();
    assert_eq!(hub.due_at(OUT), [Duty::Release { incoming: incoming() }]);
}

#[test]
fn sender_that_lets_its_hold_lapse_leaves_nothing_behind() {
    let mut hub = hub();
    hub.take(ordered(order())).unwrap();
    hub.take(Input::Past { incoming: incoming() }).unwrap();
    assert_eq!(hub.stage(), None);
    // Offered, it is watched on: the receiver may still have a claim, and the hub says so.
    let mut hub = offered();
    hub.take(Input::Past { incoming: incoming() }).unwrap();
    hub.take(Input::Preimage(preimage(7))).unwrap();
    assert!(hub.forward(incoming()).unwrap().is_lost());
}

#[test]
fn step_that_was_decided_before_another_is_refused() {
    let mut hub = offered();
    let early = hub.decide(&over(End::Absent)).unwrap().commit(&mut MemoryStore::default());
    hub.take(Input::Preimage(preimage(7))).unwrap();
    let before = hub.clone();
    assert_eq!(hub.apply(&early.unwrap()), Err(HubError::OldStep { at: incoming() }));
    assert_eq!(hub, before);
}
